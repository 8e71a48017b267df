//! The witness's HTTP: `POST /add-checkpoint`, `GET /checkpoint/HEX`. Bounded in connections, bytes
//! and time. TLS is a reverse proxy's business.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tlog::witness::{REQUEST_BYTES_MAX, Refusal, SIZE_CONTENT_TYPE};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use super::{Answered, Witness, WitnessError};

/// How much at once, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the system's queue.
    pub connections_max: usize,
    /// A connection's whole life, seconds.
    pub connection_seconds_max: u64,
    /// From the beginning of a request to the end of its header or of its body, seconds.
    pub read_seconds_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 128,
            connection_seconds_max: 60,
            read_seconds_max: 10,
        }
    }
}

type Answer = Response<Full<Bytes>>;

/// Serves until what was decided cannot be kept any more.
///
/// # Errors
/// Why not.
pub async fn serve(
    witness: Arc<Witness>,
    listener: TcpListener,
    limits: Limits,
) -> Result<(), WitnessError> {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let (broken, mut ended) = mpsc::channel::<WitnessError>(1);
    loop {
        let place = places.clone().acquire_owned().await;
        let accepted = tokio::select! {
            error = ended.recv() => return error.map_or(Ok(()), Err),
            accepted = listener.accept() => accepted,
        };
        // Out of file descriptors, or gone again: the next one may go.
        let (Ok((stream, _)), Ok(place)) = (accepted, place) else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (witness, broken) = (witness.clone(), broken.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&witness, &broken, limits, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(limits.read_seconds_max))
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(stream), service);
            let life = Duration::from_secs(limits.connection_seconds_max);
            // A client that goes away or stalls is no error of the witness.
            let _ = tokio::time::timeout(life, connection).await;
            drop(place);
        });
    }
}

async fn answer(
    witness: &Arc<Witness>,
    broken: &mpsc::Sender<WitnessError>,
    limits: Limits,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    Ok(match (method, path.as_str()) {
        (Method::POST, "/add-checkpoint") => add(witness, broken, limits, request).await,
        (Method::GET, path) => match path.strip_prefix("/checkpoint/") {
            Some(name) => match witness.checkpoint(name) {
                Some(note) => plain(StatusCode::OK, note.to_vec()),
                None => plain(
                    StatusCode::NOT_FOUND,
                    "no checkpoint of that log was cosigned\n",
                ),
            },
            None => plain(StatusCode::NOT_FOUND, "there is nothing here\n"),
        },
        (_, "/add-checkpoint") => plain(StatusCode::METHOD_NOT_ALLOWED, "POST a checkpoint here\n"),
        _ => plain(StatusCode::NOT_FOUND, "there is nothing here\n"),
    })
}

async fn add(
    witness: &Arc<Witness>,
    broken: &mpsc::Sender<WitnessError>,
    limits: Limits,
    request: Request<Incoming>,
) -> Answer {
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect();
    let body = match tokio::time::timeout(Duration::from_secs(limits.read_seconds_max), body).await
    {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "longer than any add-checkpoint\n",
            );
        }
        Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "the body ended early\n"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n"),
    };
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| it.as_secs());
    let deciding = witness.clone();
    let answered =
        tokio::task::spawn_blocking(move || deciding.add_checkpoint(&body, seconds)).await;
    match answered {
        Ok(Answered::Cosigned(line)) => plain(StatusCode::OK, line),
        Ok(Answered::Refused(refusal)) => refused(&refusal),
        Ok(Answered::Broken(error)) => {
            // The first one ends the witness; others say the same.
            let _ = broken.try_send(error);
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the witness cannot remember\n",
            )
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed\n"),
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = plain(status, refusal.body());
    if matches!(refusal, Refusal::Conflict { .. }) {
        let size = HeaderValue::from_static(SIZE_CONTENT_TYPE);
        answer.headers_mut().insert(CONTENT_TYPE, size);
    }
    answer
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}
