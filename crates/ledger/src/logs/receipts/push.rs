//! One receiver: batches of JSON lines, one request at a time, again until it takes them.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::record::decode;
use tokio::sync::{oneshot, watch};
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::cursor::CursorFile;
use super::line::{Signers, line, wall_ms};
use super::source::Source;
use super::{Receiver, SpanKeys};
use crate::LedgerError;
use crate::logs::places::{Generation, Tree};
use crate::logs::publish::Tail;
use crate::promised::Promise;
use crate::recorder::Handle;

/// Receipts in one request.
const LINES_MAX: u64 = 256;
/// Bytes of one request.
const BODY_BYTES_MAX: usize = 128 << 10;
/// How long a request may take, all in all.
const REQUEST_MS_MAX: u64 = 10_000;
/// How long a stop waits for receivers, all in all: what they have not taken then is sent after the
/// next start.
const STOP_MS_MAX: u64 = 1_000;
/// An answer's body is not read further.
const ANSWER_BYTES_MAX: u64 = 4 << 10;
/// After a failure it is tried again so much later, doubled with each, in ms.
const RETRY_MS: u64 = 500;
/// And at most so much later.
const RETRY_MS_MAX: u64 = 30_000;
/// How far the receiver is gets written at most so often, in ms: a sync each time.
const SAVE_MS: u128 = 5_000;
/// Bytes in front of an entry's record.
const TIMES_BYTES: usize = 17;

/// Why a receiver did not take receipts.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("answered with status {0}")]
    Refused(u16),
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

/// What came of one step.
enum Step {
    Sent,
    Nothing,
    Failed,
}

/// Pushes to one receiver. Owned by its task alone.
pub(super) struct Pusher {
    receiver: Receiver,
    name: String,
    source: Source,
    file: CursorFile,
    handle: Handle,
    /// Of the logs at the start.
    generation: u32,
    keys: Arc<SpanKeys>,
    say: Arc<dyn Fn(String) + Send + Sync>,
    agent: ureq::Agent,
    /// The request in hand, until it is taken.
    body: String,
    /// The first entry that is not in it.
    next: u64,
    acknowledged: u64,
    /// What the file says, and since when.
    saved: (u64, Instant),
    /// The log's end at the start, while what was released before is not counted yet.
    backlog: Option<u64>,
    /// It did not take the last request.
    failing: bool,
}

/// Whether receipts may be pushed there: `https`, or `http` to a loopback address.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn check_url(url: &str) -> Result<(), String> {
    let allowed = "allowed: https://HOST/PATH, or http:// with a loopback address";
    let uri: Uri = url
        .parse()
        .map_err(|_| format!("{url:?} is no URL; {allowed}"))?;
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| format!("{url:?} names no host; {allowed}"))?;
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(format!("{url:?} names a user; {allowed}"));
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if host == "localhost" || address.is_ok_and(|it| it.is_loopback()) => Ok(()),
        _ => Err(format!("{url:?} would not be encrypted; {allowed}")),
    }
}

/// A receiver's URL as it is shown: without its path, which may hold a secret.
pub fn shown_name(url: &str) -> String {
    let uri = url.parse::<Uri>().ok();
    let shown = uri.as_ref().and_then(|uri| {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        Some(format!("{scheme}://{authority}"))
    });
    shown.unwrap_or_default()
}

/// The machine's certificate authorities.
pub(super) fn machine_roots() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    let owned = |root: &_| Certificate::from_der(root).to_owned();
    found.iter().map(|root| owned(root)).collect()
}

fn agent(receiver: &Receiver, roots: &[Certificate<'static>]) -> ureq::Agent {
    let own = receiver.certificates.iter();
    let own = own.map(|der| Certificate::from_der(der).to_owned());
    let roots = roots.iter().cloned().chain(own).collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(Duration::from_millis(REQUEST_MS_MAX)))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent("sekisho")
        .build();
    config.into()
}

impl Pusher {
    pub(super) fn new(
        receiver: Receiver,
        (source, file): (Source, CursorFile),
        handle: Handle,
        (keys, say): (Arc<SpanKeys>, Arc<dyn Fn(String) + Send + Sync>),
        roots: &[Certificate<'static>],
    ) -> Self {
        Self {
            agent: agent(&receiver, roots),
            name: shown_name(&receiver.url),
            receiver,
            source,
            file,
            generation: handle.state().log_generation,
            handle,
            keys,
            say,
            body: String::new(),
            next: 0,
            acknowledged: 0,
            saved: (0, Instant::now()),
            backlog: None,
            failing: false,
        }
    }

    /// After `acknowledged` receipts, in a log of `end` entries.
    pub(super) fn at(self, acknowledged: u64, end: u64) -> Self {
        Self {
            next: acknowledged,
            acknowledged,
            saved: (acknowledged, Instant::now()),
            backlog: Some(end),
            ..self
        }
    }

    pub(super) fn promise(&self) -> Promise {
        Promise {
            client: self.receiver.client,
            wait_ms_max: self.receiver.wait_ms_max,
        }
    }

    /// Pushes what becomes durable until it is told to stop; then what is there, for as long as a stop
    /// waits.
    pub(super) async fn run(
        mut self,
        mut news: watch::Receiver<u64>,
        mut tail: watch::Receiver<Option<Tail>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (mut retry_ms, mut until) = (RETRY_MS, None);
        loop {
            news.borrow_and_update();
            let ready = tail.borrow_and_update().is_some();
            let stopping = *stop.borrow_and_update();
            let work = tokio::task::spawn_blocking(move || {
                let prepared = self.prepare();
                (self, prepared)
            });
            let Ok((back, prepared)) = work.await else {
                return; // it panicked, and its hook said so
            };
            self = back;
            let sent = match prepared {
                Ok(true) => tokio::select! {
                    answer = self.post() => answer.map(|()| true),
                    () = given_up(&mut stop, &mut until) => break,
                },
                prepared => prepared,
            };
            match self.settle(sent) {
                Step::Sent => retry_ms = RETRY_MS,
                _ if stopping => break,
                Step::Nothing => tokio::select! {
                    changed = news.changed() => if changed.is_err() { break },
                    changed = tail.changed(), if !ready => if changed.is_err() { break },
                    _ = stop.changed() => {}
                },
                Step::Failed => tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(retry_ms)) => {
                        retry_ms = (retry_ms * 2).min(RETRY_MS_MAX);
                    }
                    _ = stop.changed() => break,
                },
            }
        }
        let _ = tokio::task::spawn_blocking(move || self.save()).await;
    }

    /// What came of a request, or of making one.
    fn settle(&mut self, sent: Result<bool, PushError>) -> Step {
        match sent {
            Ok(true) => {
                self.body.clear();
                self.acknowledged = self.next;
                self.handle
                    .receipts_acknowledged(self.receiver.client, self.acknowledged);
                if std::mem::take(&mut self.failing) {
                    let (client, name) = (self.receiver.client, &self.name);
                    (self.say)(format!(
                        "receipts of client {client}: {name} takes them again"
                    ));
                }
                Step::Sent
            }
            Ok(false) => Step::Nothing,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let (client, name) = (self.receiver.client, &self.name);
                    (self.say)(format!(
                        "receipts of client {client}: {name} does not take them: {error}; they wait"
                    ));
                }
                Step::Failed
            }
        }
    }

    /// Makes a request if none is in hand; `false`: there is nothing to send.
    fn prepare(&mut self) -> Result<bool, PushError> {
        if self.saved.1.elapsed().as_millis() >= SAVE_MS {
            self.save();
        }
        if !self.source.is_ready() {
            return Ok(false);
        }
        if let Some(end) = self.backlog {
            let subjects = self.released_before(end)?;
            self.handle.backlog(self.receiver.client, end, subjects);
            self.backlog = None;
        }
        if self.body.is_empty() {
            self.collect()?;
        }
        Ok(!self.body.is_empty())
    }

    /// Subjects in the entries that were not acknowledged before the start, counted until they are
    /// more than the cap.
    fn released_before(&mut self, end: u64) -> Result<u64, LedgerError> {
        let state = self.handle.state();
        let known = state.clients.get(&self.receiver.client);
        let Some(limit) = known.and_then(|known| known.receipt_cap) else {
            return Ok(0);
        };
        let mut sum = 0_u64;
        if self.acknowledged >= end {
            return Ok(0);
        }
        self.source.peek(self.acknowledged, &mut |index, entry| {
            let record = entry.get(TIMES_BYTES..).unwrap_or_default();
            if let Ok(body) = decode(record) {
                sum = sum.saturating_add(crate::charge::let_out(&body));
            }
            Ok(index + 1 < end && sum <= limit)
        })?;
        Ok(sum)
    }

    /// Makes the next request.
    fn collect(&mut self) -> Result<(), LedgerError> {
        let signers = Signers::new((self.keys)()?);
        let state = self.handle.state();
        let generation = Generation {
            ledger: state.ledger,
            number: state.log_generation,
        };
        let client = self.receiver.client;
        let origin = generation.origin(Tree::client(client));
        let shown_ms = self.receiver.shown_ms;
        let (body, next) = (&mut self.body, &mut self.next);
        let first = *next;
        self.source.entries(first, &mut |index, entry| {
            let broken = || LedgerError::Setting(format!("entry {index} of client {client} has no time"));
            let wall_ms = wall_ms(entry).ok_or_else(broken)?;
            let line = line(&signers, &origin, (index, entry), (wall_ms, shown_ms));
            let line = line.ok_or_else(|| {
                LedgerError::Setting(format!(
                    "entry {index} of client {client} needs the log key of its time, which is not here; put its secrets/log-N.key back"
                ))
            })?;
            body.push_str(&line);
            *next = index + 1;
            Ok(*next - first < LINES_MAX && body.len() + line.len() <= BODY_BYTES_MAX)
        })
    }

    /// Sends the request in hand, on a thread that nothing waits for: whoever stops may leave it.
    async fn post(&self) -> Result<(), PushError> {
        let (agent, url, body) = (
            self.agent.clone(),
            self.receiver.url.clone(),
            self.body.clone(),
        );
        let (answer, answered) = oneshot::channel();
        let thread = std::thread::Builder::new().name("ledger-receipts".into());
        // Without a thread the other end is dropped.
        let _ = thread.spawn(move || {
            // Nobody waits any more: it is sent again after the next start.
            let _ = answer.send(post(&agent, &url, &body));
        });
        let no_thread = |_| Err(PushError::Unreachable("there is no thread for it".into()));
        answered.await.unwrap_or_else(no_thread)
    }

    /// Writes down how far it is.
    fn save(&mut self) {
        if self.saved.0 != self.acknowledged
            && let Err(error) = self.file.write(self.generation, self.acknowledged)
        {
            // Sent again after a restart.
            let client = self.receiver.client;
            (self.say)(format!(
                "receipts of client {client}: how far they are cannot be written: {error}"
            ));
        }
        self.saved = (self.acknowledged, Instant::now());
    }
}

/// Ends when a stop was asked for and has waited as long as it may.
async fn given_up(stop: &mut watch::Receiver<bool>, until: &mut Option<tokio::time::Instant>) {
    // Who could ask for it is gone: as if it was asked for.
    let _ = stop.wait_for(|stop| *stop).await;
    let wait = Duration::from_millis(STOP_MS_MAX);
    let until = until.get_or_insert_with(|| tokio::time::Instant::now() + wait);
    tokio::time::sleep_until(*until).await;
}

fn post(agent: &ureq::Agent, url: &str, body: &str) -> Result<(), PushError> {
    let unreachable = |error: ureq::Error| PushError::Unreachable(error.to_string());
    let mut answer = agent
        .post(url)
        .header("content-type", "application/jsonl")
        .send(body.as_bytes())
        .map_err(unreachable)?;
    let status = answer.status();
    // Read, so that the connection can be used again.
    let body = answer.body_mut().as_reader().take(ANSWER_BYTES_MAX);
    let _ = std::io::copy(&mut { body }, &mut std::io::sink());
    if status.is_success() {
        Ok(())
    } else {
        Err(PushError::Refused(status.as_u16()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_ways_and_this_machine() {
        for url in [
            "https://client.example/receipts",
            "https://10.1.2.3:8443/x?y=z",
            "http://127.0.0.1:8080/",
            "http://127.9.9.9/",
            "http://[::1]:80/x",
            "http://localhost:1/x",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "http://client.example/receipts",
            "http://10.1.2.3/",
            "http://[::2]/",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "ftp://127.0.0.1/",
            "https://",
            "https:///x",
            "https://user:secret@client.example/",
            "/receipts",
            "client.example",
            "",
        ] {
            let refused = check_url(url).unwrap_err();
            assert!(refused.contains("allowed: https://"), "{url}: {refused}");
        }
    }

    #[test]
    fn a_path_is_not_shown() {
        let shown = shown_name("https://client.example:8443/secret?token=1");
        assert_eq!(shown, "https://client.example:8443");
    }
}
