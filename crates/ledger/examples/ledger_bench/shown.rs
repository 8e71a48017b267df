//! From an append to the published checkpoint that covers it, and to the one that a real witness
//! has cosigned; and how large tiles are.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::record::{Body, decode};
use event::{ClientId, LogId};
use ledger::LedgerError;
use ledger::frame::{Frame, FrameKind, Mark};
use ledger::io::{DiskIo, Io};
use ledger::logs::sequence::entry_bytes;
use ledger::logs::{Follower, Generation, LogKeys, Logs, Progress, Setup, Tree, Witnesses};
use ledger::{Handle, Options, Recorder};
use tlog::SigningKey;
use zeroize::Zeroizing;

use crate::common::{Outcome, Sealer, Work, quantile_ms, say, set_up};

/// Appends a second.
const PER_S: u64 = 1000;
/// The log key's seed.
const SEED: [u8; 32] = [4; 32];
const WITNESS: &str = "bench.example/w";
/// How long the last leaf may take to be cosigned.
const COVERED_MAX: Duration = Duration::from_secs(30);

/// `sekisho-verify witness run`, ended when dropped.
struct Witness {
    child: Child,
    policy: String,
}

impl Witness {
    fn start(verify: &Path, folder: &Path, log: &str) -> Outcome<Self> {
        let made = Command::new(verify)
            .args(["witness", "key", "--name", WITNESS, "--dir"])
            .arg(folder)
            .output()?;
        let key = String::from_utf8(made.stdout)?;
        std::fs::write(folder.join("logs"), format!("{log}\n"))?;
        let mut child = Command::new(verify)
            .args(["witness", "run", "--listen", "127.0.0.1:0", "--dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let url = line.trim().rsplit(' ').next().unwrap_or_default();
        let policy = format!("witness w {} {url}\nquorum w\n", key.trim());
        Ok(Self { child, policy })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// When how many leaves were published and cosigned.
type Seen = Vec<(Instant, Progress)>;

pub(crate) fn measure(folder: &Path, seconds: u64, verify: &Path) -> Outcome<()> {
    Recorder::create(folder, "Bench", &Options::default())?;
    let (recorder, _) = Recorder::open(folder, Arc::new(Sealer), Options::default())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let handle = recorder.handle();
    runtime.block_on(set_up(&handle))?;
    let state = handle.state();
    let generation = Generation {
        ledger: state.ledger,
        number: state.log_generation,
    };
    let key = SigningKey::new(&generation.origin(Tree::Root), &SEED)?;
    let witness = Witness::start(verify, &folder.join("witness"), &key.verifier().to_string())?;
    let setup = Setup {
        salt: Zeroizing::new([9; 32]),
        keys: Arc::new(|_| Ok(LogKeys::new(vec![Zeroizing::new(SEED)]))),
        witnesses: Some(Arc::new(Witnesses::new(tlog::Policy::parse(
            witness.policy.as_bytes(),
        )?))),
        authority: None,
        say: Arc::new(|line| println!("said {line}")),
    };
    let logs = runtime.block_on(Logs::start(folder, handle.clone(), setup, &mut |_, _| {}))?;
    let (sent, seen) = runtime.block_on(work(&handle, &logs, seconds))?;
    let durable = *handle.durable().borrow();
    recorder.close();
    runtime.block_on(logs.finish())?;
    drop(witness);
    let written = Written::read(folder, durable.mark)?;
    let delays = |covered: fn(&Progress) -> u64| -> Outcome<Vec<Duration>> {
        let delay = |(session, at): (&u64, &Instant)| {
            let leaf = written.leaf_of.get(session)?;
            let (shown, _) = seen.iter().find(|(_, it)| covered(it) > *leaf)?;
            Some(shown.saturating_duration_since(*at))
        };
        let all: Option<Vec<Duration>> = sent.iter().map(delay).collect();
        Ok(all.ok_or("an append that no checkpoint covers")?)
    };
    let mut published = delays(|it| it.published)?;
    let mut cosigned = delays(|it| it.covered)?;
    say(&[
        ("published_p50_ms", quantile_ms(&mut published, 0.5)),
        ("published_p99_ms", quantile_ms(&mut published, 0.99)),
        ("cosigned_p50_ms", quantile_ms(&mut cosigned, 0.5)),
        ("cosigned_p99_ms", quantile_ms(&mut cosigned, 0.99)),
        ("cosigned_max_ms", quantile_ms(&mut cosigned, 1.0)),
        ("tile_bytes_per_entry", written.tile_bytes(folder)?),
    ]);
    Ok(())
}

/// Appends at even distances, each with a session of its own; gives when each was asked for, and
/// how far the logs were when.
async fn work(
    handle: &Handle,
    logs: &Logs,
    seconds: u64,
) -> Outcome<(BTreeMap<u64, Instant>, Seen)> {
    let mut progress = logs.progress();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let watcher = tokio::spawn(async move {
        let mut seen = Seen::new();
        loop {
            let now = progress.borrow_and_update().clone();
            seen.push((Instant::now(), now));
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return seen },
                _ = &mut stopped => {
                    // What woke both may be new to this one.
                    seen.push((Instant::now(), progress.borrow().clone()));
                    return seen;
                }
            }
        }
    });
    let subjects = Arc::default();
    let mut sent = BTreeMap::new();
    let mut tasks = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..seconds * 100 {
        tick.tick().await;
        for _ in 0..PER_S / 100 {
            let work = Work::new(handle, &subjects);
            sent.insert(work.session().0, Instant::now());
            tasks.push(tokio::spawn(async move { work.append_first(1).await }));
        }
    }
    for task in tasks {
        task.await?;
    }
    let leaves = handle.durable().borrow().roots;
    // The leaf that covers one more covers all.
    Work::new(handle, &subjects).append_first(1).await;
    let last = leaves + 1;
    let mut progress = logs.progress();
    let covered = progress.wait_for(|it| it.covered >= last);
    tokio::time::timeout(COVERED_MAX, covered).await??;
    drop(stop);
    Ok((sent, watcher.await?))
}

/// What the write-ahead log holds.
struct Written {
    /// The first client's.
    log: LogId,
    /// The leaf of the root log that covers the append of a session.
    leaf_of: BTreeMap<u64, u64>,
    waiting: Vec<u64>,
    entries: u64,
    /// Bytes of the first client's entries.
    bytes: u64,
}

impl Written {
    fn read(folder: &Path, durable: Mark) -> Outcome<Self> {
        let io: Arc<dyn Io> = Arc::new(DiskIo::new(&folder.join("wal"))?);
        let mut written = Self {
            log: LogId::Client(ClientId::new(1).ok_or("no client number")?),
            leaf_of: BTreeMap::new(),
            waiting: Vec::new(),
            entries: 0,
            bytes: 0,
        };
        let mut take = |frame: &Frame<'_>, _: Mark| -> Result<bool, LedgerError> {
            written.take(frame);
            Ok(false)
        };
        Follower::new(io).frames(durable, &mut take)?;
        Ok(written)
    }

    fn take(&mut self, frame: &Frame<'_>) {
        if frame.head.kind == FrameKind::Root {
            let leaf = frame.head.index;
            self.leaf_of
                .extend(self.waiting.drain(..).map(|session| (session, leaf)));
            return;
        }
        if frame.head.log == self.log {
            self.entries += 1;
            let (wall_ms, elapsed_ms) = (frame.head.wall_ms, frame.head.elapsed_ms);
            self.bytes += entry_bytes(wall_ms, elapsed_ms, frame.record).len() as u64;
        }
        if let Ok(Body::Exposure(exposure)) = decode(frame.record) {
            self.waiting.push(exposure.who.session.0);
        }
    }

    /// Bytes of tiles and bundles beyond the entries, for each of them.
    fn tile_bytes(&self, folder: &Path) -> Outcome<f64> {
        let tiles = format!("logs/{}tile", Tree::Log(self.log).folder());
        let bytes = bytes_below(&folder.join(tiles))?;
        Ok(bytes.saturating_sub(self.bytes) as f64 / self.entries as f64)
    }
}

fn bytes_below(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => bytes_below(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}
