//! Time stamps (RFC 3161) of root checkpoints, one an interval, from an authority that is not ours:
//! what it stamped existed then, whoever holds our keys (docs/format/logs.md "Time stamps").
//!
//! Invariants: an answer is checked before anything of it is written; a token and its note are
//! durable before the index names them, and the index before the ledger records it; a line of the
//! index stays. An authority that is slow, gone or lies holds up nothing: it is said once, and asked
//! again.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event::record::Body;
use event::{Digest, LogId};
use stamp::{
    INDEX, INDEX_BYTES_MAX, Index, Line, Over, Roots, Stamp, StampError, TOKEN_BYTES_MAX,
    TOLERANCE_MS, Token, sha256,
};
use tokio::sync::{oneshot, watch};

use super::store::Store;
use crate::LedgerError;
use crate::batch::Refusal;
use crate::recorder::Handle;

/// How long an authority may take, all in all.
pub const AUTHORITY_MS_MAX: u64 = 10_000;
/// A checkpoint that is older is not stamped any more: a newer one is waited for.
const READY_MS_MAX: u64 = 120_000;
/// After a failure it is asked again so much later, doubled each time.
const RETRY_MS_MIN: u64 = 2_000;
const RETRY_MS_MAX: u64 = 300_000;
/// How many lines of the index are recorded in the ledger; beside the derived state, not exported.
const RECORDED: &str = "heads/stamps";

type Say = Arc<dyn Fn(String) + Send + Sync>;

/// A time stamp authority, and how often it is asked.
pub struct Authority {
    url: String,
    roots: Roots,
    interval_ms: u64,
    /// A token is stamped again so long before its authority's certificate ends.
    ahead_ms: u64,
    agent: ureq::Agent,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.url)
    }
}

/// Why there is no new time stamp.
#[derive(Debug, thiserror::Error)]
enum StampingError {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("it answers with what is no time stamp of ours: {0}")]
    Token(#[from] StampError),
    #[error(
        "it says that it is {theirs} ms since 1970, here it is {ours}: one of the two clocks is wrong"
    )]
    Clock { theirs: u64, ours: u64 },
    #[error("its time goes back behind its last token's")]
    Back,
    #[error("it stamps again with a certificate that ends no later than the one before")]
    NoLonger,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the time stamp is not recorded: {0}")]
    Recorded(Refusal),
}

impl Authority {
    /// The authority at an http(s) address, below `roots`.
    pub fn new(url: &str, roots: Roots, interval_ms: u64, ahead_ms: u64) -> Self {
        Self {
            url: url.to_owned(),
            roots,
            interval_ms,
            ahead_ms,
            agent: super::witness::agent(AUTHORITY_MS_MAX),
        }
    }

    /// RFC 3161 section 3.4.
    fn post(&self, request: &[u8]) -> Result<Vec<u8>, StampingError> {
        let unreachable =
            |error: &dyn std::fmt::Display| StampingError::Unreachable(error.to_string());
        let mut answer = self
            .agent
            .post(&self.url)
            .header("content-type", "application/timestamp-query")
            .send(request)
            .map_err(|error| unreachable(&error))?;
        if answer.status() != 200 {
            return Err(StampingError::Status(answer.status().as_u16()));
        }
        let mut bytes = Vec::new();
        answer
            .body_mut()
            .as_reader()
            .take(TOKEN_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreachable(&error))?;
        Ok(bytes)
    }
}

/// A root checkpoint to be stamped.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    size: u64,
    /// The wall clock of its last leaf, ms.
    wall_ms: u64,
    note: String,
    since: Instant,
}

impl Ready {
    pub(super) fn new(size: u64, wall_ms: u64, note: String) -> Self {
        Self {
            size,
            wall_ms,
            note,
            since: Instant::now(),
        }
    }
}

/// The index of a ledger's tokens; empty if there is none. A line that was not written to its end is
/// left out.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn load(store: &dyn Store) -> Result<Index, LedgerError> {
    let mut bytes = match store.read(INDEX, INDEX_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Index::default()),
        Err(error) => return Err(LedgerError::io(format!("read {INDEX}"), error)),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.truncate(whole.map_or(0, |end| end + 1));
    let bad = |error: String| LedgerError::Setting(format!("{INDEX}: {error}"));
    let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
    Index::parse(&text).map_err(|error| bad(error.to_string()))
}

/// What the task knows of the store.
struct Kept {
    index: Index,
    /// The index as it stands.
    text: String,
    /// Lines that are recorded in the ledger.
    recorded: usize,
}

/// The task that has checkpoints stamped.
pub(super) struct Stamper {
    authority: Arc<Authority>,
    handle: Handle,
    store: Arc<dyn Store>,
    say: Say,
    ready: watch::Receiver<Option<Ready>>,
    /// `None`: not read yet.
    kept: Option<Kept>,
    failures: u32,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}

impl Stamper {
    pub(super) fn new(
        authority: Arc<Authority>,
        handle: Handle,
        store: Arc<dyn Store>,
        say: Say,
        ready: watch::Receiver<Option<Ready>>,
    ) -> Self {
        Self {
            authority,
            handle,
            store,
            say,
            ready,
            kept: None,
            failures: 0,
        }
    }

    /// Until it is told to stop, whatever happens. What a stop interrupts is not written, or found
    /// by the next start.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let wait = Duration::from_millis(self.wait_ms());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.changed() => return,
            }
            let done = tokio::select! {
                done = self.step() => done,
                _ = stop.changed() => return,
            };
            self.tell(done);
        }
    }

    fn tell(&mut self, done: Result<(), StampingError>) {
        match done {
            Ok(()) if self.failures == 0 => {}
            Ok(()) => {
                self.failures = 0;
                (self.say)("root checkpoints are time-stamped again".to_owned());
            }
            Err(error) => {
                if self.failures == 0 {
                    let url = &self.authority.url;
                    (self.say)(format!(
                        "no time stamp of the root log (authority {url}): {error}; tried again"
                    ));
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// How long to wait before the next step.
    fn wait_ms(&self) -> u64 {
        let interval_ms = self.authority.interval_ms;
        if self.failures > 0 {
            let doubled = RETRY_MS_MIN << (self.failures - 1).min(16);
            return doubled.min(RETRY_MS_MAX).min(interval_ms);
        }
        let Some(kept) = &self.kept else { return 0 };
        if kept.recorded < kept.index.lines().len() || self.is_weak(&kept.index) {
            return 0;
        }
        self.due_ms(&kept.index)
    }

    /// How long until the next checkpoint is due. A clock that was set back does not put it off by
    /// more than an interval.
    fn due_ms(&self, index: &Index) -> u64 {
        let interval_ms = self.authority.interval_ms;
        let newest = index.newest().map_or(0, |it| it.time_ms);
        let due = newest.saturating_add(interval_ms);
        due.saturating_sub(now_ms()).min(interval_ms)
    }

    /// Whether tokens have to be stamped again, and the authority has a key that lasts longer.
    fn is_weak(&self, index: &Index) -> bool {
        let now = now_ms();
        let longest = index.newest().map_or(0, |it| it.until_ms);
        index.weakest(now).is_some_and(|until_ms| {
            until_ms < longest && until_ms < now.saturating_add(self.authority.ahead_ms)
        })
    }

    /// One thing that is due.
    async fn step(&mut self) -> Result<(), StampingError> {
        if self.kept.is_none() {
            let store = Arc::clone(&self.store);
            self.kept = Some(super::serve::blocking(move || read(&*store)).await?);
        }
        self.record().await?;
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        // Checkpoints first: an authority that cannot stamp again does not hold them up.
        let (over, bytes, near_ms) = if self.due_ms(&kept.index) == 0 {
            self.checkpoint_ready().await
        } else if self.is_weak(&kept.index) {
            let lines = kept.index.lines().len() as u64;
            (Over::Index(lines), kept.text.clone().into_bytes(), now_ms())
        } else {
            return Ok(());
        };
        self.stamp(over, bytes, near_ms).await?;
        self.record().await
    }

    /// The newest checkpoint that is not stamped yet; waits for one.
    async fn checkpoint_ready(&mut self) -> (Over, Vec<u8>, u64) {
        let before = self.kept.as_ref().and_then(|it| it.index.size());
        let fits = |ready: &Option<Ready>| {
            ready.as_ref().is_some_and(|it| {
                Some(it.size) > before && it.since.elapsed().as_millis() < READY_MS_MAX.into()
            })
        };
        let ready = match self.ready.wait_for(fits).await {
            Ok(ready) => ready.clone(),
            Err(_) => None,
        };
        match ready {
            Some(it) => (Over::Checkpoint(it.size), it.note.into_bytes(), it.wall_ms),
            // Nobody publishes any more: the task is about to be stopped.
            None => std::future::pending().await,
        }
    }

    /// Asks, checks, writes.
    async fn stamp(
        &mut self,
        over: Over,
        bytes: Vec<u8>,
        near_ms: u64,
    ) -> Result<(), StampingError> {
        let (token, stamp) = self.ask(sha256(&bytes)).await?;
        if stamp.time_ms.abs_diff(near_ms) > TOLERANCE_MS {
            return Err(StampingError::Clock {
                theirs: stamp.time_ms,
                ours: near_ms,
            });
        }
        let line = Line {
            over,
            time_ms: stamp.time_ms,
            until_ms: stamp.until_ms,
            digest: sha256(&token),
        };
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        if let Over::Index(_) = over
            && kept.index.weakest(now_ms()) >= Some(line.until_ms)
        {
            return Err(StampingError::NoLonger);
        }
        kept.index.push(line).map_err(|_| StampingError::Back)?;
        let at = kept.text.len() as u64;
        kept.text += &line.to_string();
        let store = Arc::clone(&self.store);
        let written = super::serve::blocking(move || write(&*store, &line, &bytes, &token, at));
        if let Err(error) = written.await {
            // What is there is read again.
            self.kept = None;
            return Err(error.into());
        }
        Ok(())
    }

    /// The answer over a digest, checked. A thread of its own waits for the network, so that a stop
    /// does not have to.
    async fn ask(&self, digest: [u8; 32]) -> Result<(Vec<u8>, Stamp), StampingError> {
        let mut nonce = [0; 8];
        aws_lc_rs::rand::fill(&mut nonce)
            .map_err(|_| LedgerError::Setting("the system gave no random bytes".into()))?;
        let nonce = u64::from_be_bytes(nonce);
        let request = stamp::request(&digest, nonce);
        let (sender, answer) = oneshot::channel();
        let authority = Arc::clone(&self.authority);
        std::thread::Builder::new()
            .name("time-stamp".into())
            .spawn(move || sender.send(authority.post(&request)))
            .map_err(|error| LedgerError::io("start a thread", error))?;
        let ended = |_| StampingError::Unreachable("its thread ended".into());
        let token = answer.await.map_err(ended)??;
        let stamp = Token::parse(&token)?.check(&digest, Some(nonce), &self.authority.roots)?;
        Ok((token, stamp))
    }

    /// Records in the centre's log what the index says and the ledger does not.
    async fn record(&mut self) -> Result<(), StampingError> {
        let Some(kept) = &mut self.kept else {
            return Ok(());
        };
        let mut size = 0;
        for (number, line) in kept.index.lines().iter().enumerate() {
            if let Over::Checkpoint(leaves) = line.over {
                size = leaves;
            }
            if number < kept.recorded {
                continue;
            }
            let body = Body::TimeStamped {
                size,
                digest: Digest(line.digest),
            };
            let recorded = self.handle.record(LogId::Centre, body).await;
            recorded.map_err(StampingError::Recorded)?;
            kept.recorded = number + 1;
            // If this is lost, the line is recorded twice.
            self.store
                .write(RECORDED, kept.recorded.to_string().as_bytes())
                .map_err(|error| LedgerError::io(format!("write {RECORDED}"), error))?;
        }
        Ok(())
    }
}

fn read(store: &dyn Store) -> Result<Kept, LedgerError> {
    let index = load(store)?;
    let lines = index.lines().len();
    let recorded = store.read(RECORDED, 32).ok();
    let recorded = recorded.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    Ok(Kept {
        text: index.lines().iter().map(ToString::to_string).collect(),
        index,
        // Without the file the last line may be the one that was not recorded.
        recorded: recorded.map_or(lines.saturating_sub(1), |it: usize| it.min(lines)),
    })
}

/// Token and note, then the line that names them.
fn write(
    store: &dyn Store,
    line: &Line,
    stamped: &[u8],
    token: &[u8],
    at: u64,
) -> Result<(), LedgerError> {
    let failed = |path: &str, error| LedgerError::io(format!("write {path}"), error);
    let sync = || {
        let synced = store.sync();
        synced.map_err(|error| LedgerError::io("sync the time stamps", error))
    };
    let path = line.over.token();
    store
        .write(&path, token)
        .map_err(|error| failed(&path, error))?;
    if let Some(path) = line.over.note() {
        store
            .write(&path, stamped)
            .map_err(|error| failed(&path, error))?;
    }
    sync()?;
    store
        .append(INDEX, at, line.to_string().as_bytes())
        .map_err(|error| failed(INDEX, error))?;
    sync()
}
