//! The shell of a session: sockets, the ledger's answers, deadlines. What to do is the engine's.
//!
//! One task a session for both directions. Each turn polls everything that may move, and sleeps
//! when nothing did.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use event::LogId;
use event::record::{Body, Who};
use ledger::Answer;
use pgwire::backend::{self, Severity, TransactionStatus};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use crate::engine::{Engine, Fatal, Held, Person, Ticket};
use crate::errors::GateError;
use crate::login::LoggedIn;
use crate::net::Stream;
use crate::rights::Rights;
use crate::shared::Shared;
use crate::upstream::{Connected, UpstreamError};

/// Bytes that are read at a time.
const READ_BYTES: usize = 16 << 10;

type Append = Pin<Box<dyn Future<Output = Answer<Held>> + Send>>;

/// Serves a driver that has logged in, until either side ends.
pub(crate) async fn serve(shared: Arc<Shared>, mut driver: LoggedIn) {
    match open(&shared, &driver).await {
        Err(error) => {
            let mut out = BytesMut::new();
            error.write(&mut out, Severity::Fatal);
            let _ = driver.stream.write_all(&out).await;
            let _ = driver.stream.shutdown().await;
        }
        Ok((engine, server, key)) => {
            let session = engine.person.session;
            let recorder = shared.recorder.clone();
            let session = Session {
                shared: Arc::clone(&shared),
                driver: driver.stream,
                server,
                engine,
                appends: VecDeque::new(),
                scratch: vec![0; READ_BYTES],
                driver_closed: false,
                server_closed: false,
            }
            .run()
            .await
            .unwrap_or(session);
            shared
                .cancels
                .lock()
                .expect("no panic while it is held")
                .remove(&key);
            let _ = recorder
                .record(LogId::Centre, Body::SessionClosed { session })
                .await;
        }
    }
}

type Opened = (Engine, Stream, (i32, u32));

/// Connects upstream, records the session, and greets the driver.
async fn open(shared: &Arc<Shared>, driver: &LoggedIn) -> Result<Opened, GateError> {
    let refused = |message: String| GateError::new("28000", message);
    let login = shared
        .logins
        .get(&driver.role)
        .ok_or_else(|| refused(format!("role {} does not work on databases", driver.role)))?;
    let connected = shared.upstream.connect(login, &driver.parameters).await;
    let connected = connected.map_err(|error| upstream_error(&error))?;
    let live = shared.catalogues.of(shared, &driver.database).await?;
    let person = Person {
        actor: driver.actor,
        login: driver.login.clone(),
        role: driver.role,
        session: shared.recorder.new_session(),
        terminal: driver.terminal.clone(),
        terminal_id: driver.terminal_id,
        passed_on: driver.passed_on,
        tls: driver.stream.is_tls(),
    };
    let rights = Rights::new(Arc::clone(shared), &person)?;
    let opened = Body::SessionOpened {
        who: Who {
            actor: person.actor,
            role: person.role,
            session: person.session,
            grant: None,
        },
        terminal: person.terminal.clone(),
        database: driver.database.clone(),
        tls: person.tls,
    };
    shared
        .recorder
        .record(LogId::Centre, opened)
        .await
        .map_err(|refusal| crate::refusals::ledger(&refusal))?;
    let mut random = [0; 12];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| refused("no random bytes".to_owned()))?;
    let (own, cancel) = random.split_at(8);
    let own = u64::from_be_bytes(own.try_into().unwrap_or_default());
    let cancel = u32::from_be_bytes(cancel.try_into().unwrap_or_default());
    let mut engine = Engine::new(Arc::clone(shared), person, live, rights, own);
    engine.start_settings(&driver.settings)?;
    let Connected {
        stream,
        parameters,
        pid,
        secret,
        rest,
        notices,
    } = connected;
    let key = (pid, cancel);
    shared
        .cancels
        .lock()
        .expect("no panic while it is held")
        .insert(key, (pid, secret));
    let greeting = engine.output().ready();
    greeting.extend_from_slice(&notices);
    for (name, value) in &parameters {
        // The driver is shown the name it logged in with.
        let shown: &[u8] = if name == b"session_authorization" {
            driver.login.as_bytes()
        } else {
            value
        };
        backend::write_parameter_status(greeting, name, shown)
            .map_err(|e| refused(e.to_string()))?;
    }
    backend::write_backend_key_data(greeting, pid, &cancel.to_be_bytes())
        .map_err(|e| refused(e.to_string()))?;
    backend::write_ready_for_query(greeting, TransactionStatus::Idle);
    for (name, value) in &parameters {
        engine.learn_parameter(name, value);
    }
    engine.take_from_server(&rest);
    Ok((engine, stream, key))
}

fn upstream_error(error: &UpstreamError) -> GateError {
    match error {
        UpstreamError::Refused { message, .. } => GateError::new(
            "08004",
            format!("PostgreSQL refused the session: {message}"),
        ),
        _ => GateError::new("08006", error.to_string())
            .hint("`sekisho doctor` looks at the connection to PostgreSQL."),
    }
}

struct Session {
    shared: Arc<Shared>,
    driver: Stream,
    server: Stream,
    engine: Engine,
    /// Appends under way, in the order in which they were asked for.
    appends: VecDeque<(Ticket, Append)>,
    scratch: Vec<u8>,
    driver_closed: bool,
    server_closed: bool,
}

/// Why a session ended.
enum End {
    /// One side closed its connection.
    Closed,
    Fatal(GateError),
}

impl Session {
    /// Runs the session; `Some` never: it is over when this returns.
    async fn run(mut self) -> Option<event::SessionId> {
        let session = self.engine.person.session;
        let idle = self.shared.limits.idle_ms_max;
        let shared = Arc::clone(&self.shared);
        let mut last_heard = Instant::now();
        let end = loop {
            let draining = shared.draining.notified();
            let quiet = async {
                if idle == 0 {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep_until(last_heard + Duration::from_millis(idle)).await;
            };
            if shared
                .is_draining
                .load(std::sync::atomic::Ordering::Acquire)
                && self.engine.is_idle()
            {
                break End::Fatal(GateError::new("57P01", "the gate is stopping"));
            }
            tokio::select! {
                biased;
                turn = poll_fn(|cx| self.turn(cx)) => match turn {
                    Ok(heard) => if heard { last_heard = Instant::now(); },
                    Err(end) => break end,
                },
                () = draining => {}
                () = quiet => {
                    break End::Fatal(GateError::new("57P05", "the session was idle for too long")
                        .hint("The limit is `idle_ms_max` in table [limits]."));
                }
            }
        };
        self.finish(end).await;
        Some(session)
    }

    /// One turn: everything that can move moves. Ready when something was heard or the session is
    /// over; else all wakers are set.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
        let mut heard = false;
        loop {
            let mut moved = false;
            moved |= self.write_server(cx)?;
            moved |= self.write_driver(cx)?;
            moved |= self.poll_appends(cx);
            let (server_moved, server_dry) = self.read_server(cx)?;
            moved |= server_moved;
            if self.read_driver(cx)? {
                moved = true;
                heard = true;
            }
            if !moved && !self.engine.has_work() {
                if self.engine.terminated() || self.server_closed {
                    let flushed =
                        self.engine.output().ready().is_empty() && self.appends.is_empty();
                    if flushed && self.engine.server_bytes().is_empty() {
                        return Poll::Ready(Err(End::Closed));
                    }
                }
                return if heard {
                    Poll::Ready(Ok(true))
                } else {
                    Poll::Pending
                };
            }
            self.engine
                .advance(server_dry)
                .map_err(|Fatal(error)| End::Fatal(error))?;
            for (ticket, batch) in self.engine.output().take_asks() {
                let recorder = self.shared.recorder.clone();
                let append = Box::pin(async move { recorder.append(batch).await });
                self.appends.push_back((ticket, append));
            }
        }
    }

    fn poll_appends(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some((ticket, append)) = self.appends.front_mut() {
            let Poll::Ready(answer) = append.as_mut().poll(cx) else {
                break;
            };
            let ticket = *ticket;
            self.appends.pop_front();
            self.engine.answered(ticket, answer);
            moved = true;
        }
        moved
    }

    fn write_server(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        write_all(&mut self.server, self.engine.server_bytes(), cx).map_err(|_| lost_server())
    }

    fn write_driver(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.server_closed && self.engine.holds_back() {
            return Ok(false);
        }
        write_all(&mut self.driver, self.engine.output().ready(), cx).map_err(|_| End::Closed)
    }

    /// Whether bytes came, and whether the socket has no more for now.
    fn read_server(&mut self, cx: &mut Context<'_>) -> Result<(bool, bool), End> {
        if self.server_closed || !self.engine.wants_server() {
            return Ok((false, false));
        }
        match read_some(&mut self.server, &mut self.scratch, cx) {
            Poll::Pending => Ok((false, true)),
            Poll::Ready(Ok(0)) => {
                self.server_closed = true;
                Ok((true, true))
            }
            Poll::Ready(Ok(n)) => {
                self.engine.take_from_server(&self.scratch[..n]);
                // A short read: the socket is dry for now.
                Ok((true, n < READ_BYTES))
            }
            Poll::Ready(Err(_)) => Err(lost_server()),
        }
    }

    fn read_driver(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if self.driver_closed || !self.engine.wants_driver() {
            return Ok(false);
        }
        match read_some(&mut self.driver, &mut self.scratch, cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0) | Err(_)) => Err(End::Closed),
            Poll::Ready(Ok(n)) => {
                self.engine.take_from_driver(&self.scratch[..n]);
                Ok(true)
            }
        }
    }

    async fn finish(mut self, end: End) {
        if let End::Fatal(error) = end {
            let mut out = std::mem::take(self.engine.output().ready());
            error.write(&mut out, Severity::Fatal);
            let _ = tokio::time::timeout(Duration::from_secs(1), self.driver.write_all(&out)).await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.driver.shutdown()).await;
        let mut bye = BytesMut::new();
        pgwire::frontend::write_terminate(&mut bye);
        let _ = tokio::time::timeout(Duration::from_secs(1), self.server.write_all(&bye)).await;
    }
}

fn lost_server() -> End {
    End::Fatal(
        GateError::new("08006", "the connection to PostgreSQL was lost")
            .hint("Reconnect. `sekisho doctor` looks at the connection to PostgreSQL."),
    )
}

/// Writes what the socket takes.
fn write_all(
    stream: &mut Stream,
    bytes: &mut BytesMut,
    cx: &mut Context<'_>,
) -> std::io::Result<bool> {
    let mut moved = false;
    while !bytes.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => {
                bytes.advance(n);
                moved = true;
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    if moved && stream.is_tls() {
        // rustls keeps records back until flushed; pending is woken as a write would be.
        if let Poll::Ready(Err(error)) = Pin::new(stream).poll_flush(cx) {
            return Err(error);
        }
    }
    Ok(moved)
}

fn read_some(
    stream: &mut Stream,
    scratch: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    let mut buf = ReadBuf::new(scratch);
    match Pin::new(stream).poll_read(cx, &mut buf) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().len())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
    }
}
