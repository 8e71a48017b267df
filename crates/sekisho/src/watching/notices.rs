//! Notices of cases to people outside: webhooks (JSON, signed) and e-mail. What is to be told is read
//! from the ledger, so a crash loses no notice; one may come twice, with the same number.
//!
//! Invariants: no personal value and no login in a notice, actors by number; each receiver has its own
//! thread, queue and place in the ledger, so one that is slow holds up no other, and detection never;
//! the queue is bounded, and what it drops is told.

use std::collections::VecDeque;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use event::Role;
use event::record::Body;
use ledger::logs::places::hex;
use ledger::{Entry, State};
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{Message, SmtpTransport, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::config::{MailConfig, MailTls, WatchConfig, WebhookConfig};
use crate::commands::{case_words, time};
use crate::folder::Folder;

/// Notices that wait for one receiver.
const QUEUE_MAX: usize = 1000;
/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// After a failure it is tried again so much later, doubled with each.
const RETRY: Duration = Duration::from_millis(500);
/// And at most so much later.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A notice that nobody takes for so long is given up, and told.
const GIVE_UP: Duration = Duration::from_secs(24 * 60 * 60);
/// An answer's body is not read further.
const ANSWER_BYTES_MAX: u64 = 4 << 10;
/// Fewest bytes of a webhook's secret.
const SECRET_BYTES_MIN: usize = 16;

/// What is told.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The record's place in the ledger: the notice's number.
    sequence: u64,
    wall_ms: u64,
    subject: String,
    text: String,
    body: String,
}

impl Notice {
    /// Of a case's record.
    pub fn of(state: &State, entry: &Entry, body: &Body) -> Self {
        let mut notice = Self {
            sequence: entry.sequence,
            wall_ms: entry.wall_ms,
            subject: String::new(),
            text: String::new(),
            body: String::new(),
        };
        let Body::Case {
            case,
            new,
            finding,
            grave,
            response,
        } = body
        else {
            return notice;
        };
        let detector = case_words::detector(finding.detector);
        let known = finding.actor.and_then(|actor| state.actors.get(&actor));
        let role = known.map(|actor| actor.role.name());
        let client = finding.client.and_then(|client| state.clients.get(&client));
        let client = client.map(|client| client.code.as_str());
        let findings = state.cases.all.get(case).map_or(1, |case| case.findings);
        let what = if *new { "is opened" } else { "grows" };
        let at = time::rfc3339(entry.wall_ms);
        let says = case_words::sentence_outside(state, finding);
        notice.subject = format!("[Sekisho] case {case} {what}: {detector}");
        notice.body = json!({
            "version": 1, "notice": entry.sequence, "ledger": hex(&state.ledger), "centre": state.centre,
            "at": at, "case": case, "new": new, "findings": findings, "detector": detector,
            "says": says, "numbers": finding.numbers, "bits": finding.bits / 256,
            "actor": finding.actor.map(|actor| actor.0), "role": role, "client": client,
            "grave": grave, "response": response.name(),
        })
        .to_string();
        let administrator = known.is_some_and(|actor| actor.role == Role::Administrator);
        notice.text = format!(
            "Case {case} {what} at {at} ({}).\n\n{says}\n\nResponse: {}.{}{}\n\n\
             Look at it:  sekisho case show {case}\n\
             Close it:    sekisho case close {case} --reason REASON --text WORDS\n",
            state.centre,
            response.name(),
            if *grave {
                " Closing it takes two people."
            } else {
                ""
            },
            if administrator {
                " It is about an administrator."
            } else {
                ""
            },
        );
        notice
    }
}

/// Where notices go.
enum Way {
    Webhook {
        url: String,
        secret: Box<hmac::Key>,
        agent: Box<ureq::Agent>,
    },
    Mail {
        transport: Box<SmtpTransport>,
        from: lettre::message::Mailbox,
        to: Vec<lettre::message::Mailbox>,
    },
}

/// A queue that its receiver's thread empties.
#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Notice>>,
    news: Condvar,
    stop: AtomicBool,
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Notice>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Outlet {
    name: String,
    queue: Arc<Queue>,
    /// Records before it were told.
    from: u64,
    /// And records before this time, where no place is known yet, ms.
    since_ms: u64,
    thread: JoinHandle<()>,
}

/// All receivers of notices.
pub struct Notices {
    outlets: Vec<Outlet>,
    say: Arc<dyn Fn(String) + Send + Sync>,
}

impl Notices {
    /// Of a configuration; `None`: nobody is to be told.
    ///
    /// # Errors
    /// If a secret, certificate or address cannot be used.
    pub fn start(
        folder: &Folder,
        config: &WatchConfig,
        say: Arc<dyn Fn(String) + Send + Sync>,
    ) -> Result<Option<Self>> {
        let mut ways = Vec::new();
        for given in &config.webhooks {
            let name = ledger::logs::receipts::shown_name(given.url.as_str());
            ways.push((name, webhook(folder, given)?));
        }
        if let Some(given) = &config.mail {
            ways.push((
                format!("mail server {}", given.server),
                mail(folder, given)?,
            ));
        }
        if ways.is_empty() {
            return Ok(None);
        }
        let outlets = ways
            .into_iter()
            .map(|(name, way)| outlet(folder, name, way, &say))
            .collect::<Result<_>>()?;
        Ok(Some(Self { outlets, say }))
    }

    /// Queues a notice for whoever has not had it.
    pub fn offer(&self, notice: Notice) {
        for outlet in &self.outlets {
            if notice.sequence < outlet.from || notice.wall_ms < outlet.since_ms {
                continue;
            }
            let mut waiting = outlet.queue.lock();
            if waiting.len() >= QUEUE_MAX {
                waiting.pop_front();
                (self.say)(format!(
                    "notices to {}: more than {QUEUE_MAX} wait; the oldest is dropped",
                    outlet.name
                ));
            }
            waiting.push_back(notice.clone());
            outlet.queue.news.notify_one();
        }
    }
}

impl Drop for Notices {
    /// What waits is told after the next start.
    fn drop(&mut self) {
        for outlet in &self.outlets {
            outlet.queue.stop.store(true, Ordering::Release);
            outlet.queue.news.notify_all();
        }
        for outlet in self.outlets.drain(..) {
            let _ = outlet.thread.join();
        }
    }
}

fn outlet(
    folder: &Folder,
    name: String,
    way: Way,
    say: &Arc<dyn Fn(String) + Send + Sync>,
) -> Result<Outlet> {
    let place = folder.ledger().join("notices");
    std::fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, way.address().as_bytes());
    let path = place.join(hex(&digest.as_ref()[..8]));
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let (from, since_ms) = match known.trim().strip_prefix("since ") {
        Some(time) => (0, time.parse().unwrap_or(0)),
        None => match known.trim().parse() {
            Ok(from) => (from, 0),
            // A new receiver is told of what comes from now on.
            Err(_) => (0, crate::service::now_ms()),
        },
    };
    if known.is_empty() {
        keep(&path, &format!("since {since_ms}"))?;
    }
    let queue = Arc::new(Queue::default());
    let sender = Sender {
        name: name.clone(),
        way,
        path,
        queue: Arc::clone(&queue),
        say: Arc::clone(say),
    };
    let thread = std::thread::Builder::new()
        .name("notices".into())
        .spawn(move || sender.run())
        .context("a thread for notices cannot be started")?;
    Ok(Outlet {
        name,
        queue,
        since_ms,
        from,
        thread,
    })
}

fn webhook(folder: &Folder, given: &WebhookConfig) -> Result<Way> {
    let path = folder.path(&given.secret.to_string_lossy());
    let secret = std::fs::read(&path)
        .with_context(|| format!("{}: watch.webhooks.secret cannot be read", path.display()))?;
    let secret = secret.trim_ascii();
    ensure!(
        secret.len() >= SECRET_BYTES_MIN,
        "{}: a webhook's secret has at least {SECRET_BYTES_MIN} bytes",
        path.display()
    );
    let own = match &given.root_certificates {
        None => Vec::new(),
        Some(path) => {
            let path = folder.path(&path.to_string_lossy());
            let found: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&path)
                .and_then(Iterator::collect)
                .with_context(|| format!("{}: watch.webhooks.root_certificates", path.display()))?;
            found
        }
    };
    Ok(Way::Webhook {
        url: given.url.as_str().to_owned(),
        secret: Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)),
        agent: Box::new(agent(&own)),
    })
}

fn agent(own: &[CertificateDer<'static>]) -> ureq::Agent {
    let roots = rustls_native_certs::load_native_certs().certs;
    let owned = |der: &CertificateDer<'_>| Certificate::from_der(der).to_owned();
    let roots: Vec<Certificate<'static>> = roots.iter().chain(own).map(owned).collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(ATTEMPT_MAX))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent("sekisho")
        .build();
    config.into()
}

fn mail(folder: &Folder, given: &MailConfig) -> Result<Way> {
    let (host, port) = given.place()?;
    let builder = match given.tls {
        MailTls::Starttls => SmtpTransport::starttls_relay(&host)?,
        MailTls::Implicit => SmtpTransport::relay(&host)?,
        MailTls::None => SmtpTransport::builder_dangerous(&host),
    };
    let mut builder = builder.port(port).timeout(Some(ATTEMPT_MAX));
    if let (Some(user), Some(password)) = (&given.user, &given.password) {
        let path = folder.path(&password.to_string_lossy());
        let password = std::fs::read_to_string(&path)
            .with_context(|| format!("{}: watch.mail.password cannot be read", path.display()))?;
        builder = builder.credentials(Credentials::new(user.clone(), password.trim().to_owned()));
    }
    let mailbox = |text: &String| {
        text.parse::<lettre::message::Mailbox>()
            .with_context(|| format!("watch.mail: {text:?} is no address"))
    };
    Ok(Way::Mail {
        transport: Box::new(builder.build()),
        from: mailbox(&given.from)?,
        to: given.to.iter().map(mailbox).collect::<Result<_>>()?,
    })
}

impl Way {
    /// What tells it from others.
    fn address(&self) -> String {
        match self {
            Self::Webhook { url, .. } => url.clone(),
            Self::Mail { from, to, .. } => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                format!("{from}>{}", to.join(","))
            }
        }
    }

    fn deliver(&self, notice: &Notice) -> Result<()> {
        match self {
            Self::Webhook { url, secret, agent } => {
                let at = crate::service::now_ms() / 1000;
                let signed = format!("v1:{at}:{}", notice.body);
                let signature = hmac::sign(secret, signed.as_bytes());
                let answer = agent
                    .post(url)
                    .header("content-type", "application/json")
                    .header("sekisho-notice", notice.sequence.to_string())
                    .header("sekisho-timestamp", at.to_string())
                    .header(
                        "sekisho-signature",
                        format!("v1={}", hex(signature.as_ref())),
                    )
                    .send(notice.body.as_bytes())?;
                let status = answer.status().as_u16();
                let mut body = answer.into_body().into_reader().take(ANSWER_BYTES_MAX);
                // What it says does not matter; read, so that the connection can be used again.
                let _ = std::io::copy(&mut body, &mut std::io::sink());
                ensure!(
                    (200..300).contains(&status),
                    "answered with status {status}"
                );
                Ok(())
            }
            Self::Mail {
                transport,
                from,
                to,
            } => {
                let mut message = Message::builder()
                    .from(from.clone())
                    .subject(&notice.subject)
                    .message_id(Some(format!("<{}.sekisho@localhost>", notice.sequence)))
                    .header(ContentType::TEXT_PLAIN);
                for address in to {
                    message = message.to(address.clone());
                }
                transport.send(&message.body(notice.text.clone())?)?;
                Ok(())
            }
        }
    }
}

/// One receiver's thread.
struct Sender {
    name: String,
    way: Way,
    path: PathBuf,
    queue: Arc<Queue>,
    say: Arc<dyn Fn(String) + Send + Sync>,
}

impl Sender {
    fn run(&self) {
        while let Some(notice) = self.next() {
            if !self.deliver(&notice) {
                return;
            }
            let mut waiting = self.queue.lock();
            if waiting
                .front()
                .is_some_and(|it| it.sequence == notice.sequence)
            {
                waiting.pop_front();
            }
            drop(waiting);
            if let Err(error) = keep(&self.path, &(notice.sequence + 1).to_string()) {
                (self.say)(format!(
                    "notices to {}: {error:#}; after the next start some come again",
                    self.name
                ));
            }
        }
    }

    /// The oldest that waits; `None`: it is to stop.
    fn next(&self) -> Option<Notice> {
        let mut waiting = self.queue.lock();
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(notice) = waiting.front() {
                return Some(notice.clone());
            }
            let woken = self.queue.news.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_stopped(&self) -> bool {
        self.queue.stop.load(Ordering::Acquire)
    }

    /// Until it is taken, or given up; `false`: it is to stop.
    fn deliver(&self, notice: &Notice) -> bool {
        let began = Instant::now();
        let mut retry = RETRY;
        let mut told = false;
        loop {
            let error = match self.way.deliver(notice) {
                Ok(()) => {
                    if told {
                        (self.say)(format!("notices to {}: taken again", self.name));
                    }
                    return true;
                }
                Err(error) => error,
            };
            if began.elapsed() >= GIVE_UP {
                (self.say)(format!(
                    "notice {} to {} is given up: {error:#}",
                    notice.sequence, self.name
                ));
                return true;
            }
            if !std::mem::replace(&mut told, true) {
                (self.say)(format!(
                    "notices to {} are not taken: {error:#}; it is tried again",
                    self.name
                ));
            }
            if self.rest(retry) {
                return false;
            }
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Waits; `true`: it is to stop.
    fn rest(&self, time: Duration) -> bool {
        let waiting = self.queue.lock();
        let stopped = |_: &mut VecDeque<Notice>| !self.is_stopped();
        let waited = self.queue.news.wait_timeout_while(waiting, time, stopped);
        drop(waited);
        self.is_stopped()
    }
}

/// Writes how far a receiver is.
fn keep(path: &Path, next: &str) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, format!("{next}\n")).with_context(|| new.display().to_string())?;
    std::fs::rename(&new, path).with_context(|| path.display().to_string())
}
