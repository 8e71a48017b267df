//! What all sessions of a gate share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use event::record::{Body, FindingKind, Who};
use event::{ActorId, LogId, Role};
use pgwire::scram::Verifier;
use tokio::sync::{Notify, Semaphore};

use crate::catalogue::Catalogues;
use crate::copies::Copies;
use crate::limits::Limits;
use crate::rules::Rules;
use crate::tally::Tally;
use crate::upstream::Upstream;

/// Where password verifiers are found. The ledger holds commitments to them; whoever implements
/// this has compared them.
pub trait Verifiers: Send + Sync + 'static {
    /// The verifier of an actor, if it has a credential.
    fn verifier(&self, actor: ActorId) -> Option<Verifier>;
}

/// TLS towards drivers.
#[derive(Clone)]
pub struct ServerTls {
    /// The acceptor's configuration.
    pub config: Arc<rustls::ServerConfig>,
    /// Channel-binding data of the certificate (RFC 5929, tls-server-end-point).
    pub end_point: Vec<u8>,
}

/// What a gate is made of.
pub struct Parts {
    /// Its limits.
    pub limits: Limits,
    /// The ledger.
    pub recorder: ledger::Handle,
    /// The clients' keys.
    pub keyring: Arc<seal::Keyring>,
    /// The actors' password verifiers.
    pub verifiers: Arc<dyn Verifiers>,
    /// PostgreSQL.
    pub upstream: Upstream,
    /// TLS; without it only loopback and Unix sockets are served.
    pub tls: Option<ServerTls>,
    /// Makes the answers to unknown accounts look like those to known ones.
    pub mock_secret: [u8; 32],
    /// Which upstream role serves which role of actors.
    pub logins: HashMap<Role, UpstreamLogin>,
    /// Whose statements look at the schema.
    pub catalogue_login: UpstreamLogin,
}

/// An account at PostgreSQL.
#[derive(Clone)]
pub struct UpstreamLogin {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: zeroize::Zeroizing<String>,
}

impl std::fmt::Debug for UpstreamLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UpstreamLogin({})", self.user)
    }
}

/// What all sessions share. Fields are read by all; the maps are locked for a look-up only.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) recorder: ledger::Handle,
    pub(crate) keyring: Arc<seal::Keyring>,
    pub(crate) verifiers: Arc<dyn Verifiers>,
    pub(crate) upstream: Upstream,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) mock_secret: [u8; 32],
    pub(crate) logins: HashMap<Role, UpstreamLogin>,
    pub(crate) catalogues: Catalogues,
    rules: ArcSwap<(u64, Arc<Rules>)>,
    /// Cancel keys of sessions: (pid, secret) to the same of PostgreSQL.
    pub(crate) cancels: Mutex<HashMap<CancelKey, UpstreamKey>>,
    /// Failed logins by address, in the current minute.
    failures: Mutex<(Instant, HashMap<String, u32>)>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) sessions: AtomicUsize,
    pub(crate) draining: Notify,
    pub(crate) is_draining: std::sync::atomic::AtomicBool,
    findings: Arc<Semaphore>,
    /// What went through from sealed tables.
    pub(crate) tally: Arc<Tally>,
    /// Copies to company media that wait to be confirmed.
    pub(crate) copies: Copies,
}

/// Addresses remembered for failed logins; past it every unknown address counts as one.
const FAILURE_ADDRESSES_MAX: usize = 10_000;
/// Findings that wait to be recorded.
const FINDINGS_MAX: usize = 256;

impl Shared {
    pub(crate) fn new(parts: Parts) -> Result<Arc<Self>, String> {
        let generation = parts.recorder.generation();
        let rules = Rules::of(&parts.recorder.state())?;
        let sessions_max = parts.limits.sessions_max;
        Ok(Arc::new(Self {
            limits: parts.limits,
            recorder: parts.recorder,
            keyring: parts.keyring,
            verifiers: parts.verifiers,
            upstream: parts.upstream,
            tls: parts.tls,
            mock_secret: parts.mock_secret,
            logins: parts.logins,
            catalogues: Catalogues::new(parts.catalogue_login),
            rules: ArcSwap::from_pointee((generation, Arc::new(rules))),
            cancels: Mutex::default(),
            failures: Mutex::new((Instant::now(), HashMap::new())),
            places: Arc::new(Semaphore::new(sessions_max)),
            sessions: AtomicUsize::new(0),
            draining: Notify::new(),
            is_draining: false.into(),
            findings: Arc::new(Semaphore::new(FINDINGS_MAX)),
            tally: Arc::default(),
            copies: Copies::default(),
        }))
    }

    /// The rules in force. If they cannot be read, the last ones that could stay, and every append
    /// fails because their generation has passed.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        let generation = self.recorder.generation();
        let known = self.rules.load();
        if known.0 == generation {
            return Arc::clone(&known.1);
        }
        match Rules::of(&self.recorder.state()) {
            Ok(rules) => {
                let rules = Arc::new(rules);
                self.rules.store(Arc::new((generation, Arc::clone(&rules))));
                rules
            }
            Err(_) => Arc::clone(&known.1),
        }
    }

    /// ms since the Unix epoch; never before the newest record that came into force.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        now.max(self.recorder.state().times.wall_ms)
    }

    /// 0 to 23, wall clock, UTC+9: call centres of this design work in Japan.
    pub(crate) fn hour(&self) -> u8 {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        u8::try_from((seconds / 3_600 + 9) % 24).unwrap_or(0)
    }

    /// Records a finding without waiting for it.
    pub(crate) fn finding(
        self: &Arc<Self>,
        who: Who,
        kind: FindingKind,
        count: u32,
        relation: Option<String>,
    ) {
        // Full: the ledger is behind by hundreds of findings; the refusals that go with them are
        // counted by the recorder itself.
        let Ok(place) = Arc::clone(&self.findings).try_acquire_owned() else {
            return;
        };
        let recorder = self.recorder.clone();
        tokio::spawn(async move {
            let _ = recorder
                .record(
                    LogId::Centre,
                    Body::Finding {
                        who,
                        kind,
                        count,
                        relation,
                    },
                )
                .await;
            drop(place);
        });
    }

    /// Whether an address may try to log in now.
    pub(crate) fn may_try(&self, terminal: &str) -> bool {
        let failures = self.failures.lock().expect("no panic while it is held");
        failures.0.elapsed() >= Duration::from_secs(60)
            || failures
                .1
                .get(terminal)
                .is_none_or(|n| *n < self.limits.login_failures_per_minute_max)
    }

    /// Counts a failed login.
    pub(crate) fn failed(&self, terminal: &str) {
        let mut failures = self.failures.lock().expect("no panic while it is held");
        if failures.0.elapsed() >= Duration::from_secs(60) {
            *failures = (Instant::now(), HashMap::new());
        }
        if failures.1.len() < FAILURE_ADDRESSES_MAX || failures.1.contains_key(terminal) {
            *failures.1.entry(terminal.to_owned()).or_insert(0) += 1;
        }
    }

    pub(crate) fn entered(self: &Arc<Self>) -> Entered {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        Entered(Arc::clone(self))
    }
}

/// Counts a session while it lives.
pub(crate) struct Entered(Arc<Shared>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a terminal is this machine.
pub(crate) fn is_local(terminal: &str) -> bool {
    terminal == "unix" || terminal.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What a driver cancels by: process id and the gate's own secret.
pub(crate) type CancelKey = (i32, u32);
/// What PostgreSQL cancels by: process id and its secret.
pub(crate) type UpstreamKey = (i32, Vec<u8>);

/// Where PostgreSQL listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// A Unix socket's path.
    Unix(PathBuf),
}
