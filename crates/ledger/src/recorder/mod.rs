//! The recorder's thread and its handle: group commit.
//!
//! The thread takes what waits, without a timer: small jobs first, then large ones, up to
//! [`COMMIT_BYTES_MAX`]; one write, one fdatasync; then it answers all. While one commit syncs the
//! next one gathers. A large job waits for at most one commit more than its turn.
//!
//! Never: a payload on this thread (rows stay in the task that asked), an unbounded queue.

mod handle;
mod options;

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use event::LogId;
use event::record::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::archive::{self, Archive, Segments};
use crate::clock::{Clock, SystemClock};
use crate::core::{Core, Job, Report};
use crate::error::LedgerError;
use crate::frame::Mark;
use crate::io::{DiskIo, FolderLock, Io};
use crate::list::ListSealer;
use crate::logs::store::DiskStore;
use crate::promised::Promised;
use crate::refusals::Refusals;
use crate::state::State;
use crate::wal::{Fatal, Prepare};

pub use handle::Handle;
pub use options::{Options, PolicyLooser};

/// Bytes of frames after which a commit takes no further job.
pub const COMMIT_BYTES_MAX: usize = 128 << 10;
/// Jobs whose frames take at most so many bytes go first.
pub const SMALL_JOB_BYTES_MAX: usize = 16 << 10;
/// Jobs that wait for the recorder at most; further ones wait at their session.
pub const QUEUE_MAX: usize = 1024;

/// The folders of a ledger.
#[derive(Clone)]
pub struct Folders {
    /// Of the write-ahead log.
    pub wal: Arc<dyn Io>,
    /// Of the snapshots; `None`: none are taken, and a start replays everything.
    pub snapshots: Option<Arc<dyn Io>>,
    /// Of the archive; `None`: nothing is archived.
    pub archive: Option<Archive>,
}

impl Folders {
    /// The segments, wherever they are.
    pub(crate) fn segments(&self) -> Arc<dyn Io> {
        match &self.archive {
            None => Arc::clone(&self.wal),
            Some(archive) => {
                let (hot, files) = (Arc::clone(&self.wal), Arc::clone(&archive.files));
                Arc::new(Segments::over(hot, files, Some(Arc::clone(&archive.lists))))
            }
        }
    }
}

impl fmt::Debug for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Folders(..)")
    }
}

/// How far a ledger is durable.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Durable {
    /// Everything before it is on disk.
    pub mark: Mark,
    /// Root frames before it.
    pub roots: u64,
}

/// What the recorder and its handles share.
pub(crate) struct Shared {
    /// Replaced by the recorder alone.
    state: ArcSwap<State>,
    /// That state's generation; written after it.
    generation: AtomicU64,
    /// The last session number given out.
    last_session: AtomicU64,
    refusals: Mutex<Refusals>,
    /// A [`Job::Wake`] is on its way.
    woken: AtomicBool,
    /// Nothing is recorded any more.
    pub(crate) stopped: AtomicBool,
    /// Up to where the log is durable, and how many leaves of the root log are. Set by the recorder.
    durable: watch::Sender<Durable>,
    /// Leaves of the root log that a quorum of witnesses has cosigned. Set by the publisher.
    covered: watch::Sender<u64>,
    /// Up to where nothing has to be derived again: segment and offset. Set by the publisher.
    derived: AtomicU64,
    /// Clients that get receipts. Set once, before anything can be released.
    promised: OnceLock<Promised>,
    pub(crate) clock: Arc<dyn Clock>,
    /// [`Options::on_fatal`].
    on_fatal: Arc<dyn Fn(&Fatal) + Send + Sync>,
}

impl Shared {
    pub(crate) fn new(
        state: State,
        clock: Arc<dyn Clock>,
        on_fatal: Arc<dyn Fn(&Fatal) + Send + Sync>,
    ) -> Self {
        Self {
            generation: AtomicU64::new(state.generation),
            last_session: AtomicU64::new(state.last_session),
            state: ArcSwap::from_pointee(state),
            refusals: Mutex::default(),
            woken: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            durable: watch::channel(Durable::default()).0,
            covered: watch::channel(0).0,
            derived: AtomicU64::new(0),
            promised: OnceLock::new(),
            clock,
            on_fatal,
        }
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub(crate) fn publish(&self, state: State) {
        let generation = state.generation;
        self.state.store(Arc::new(state));
        self.generation.store(generation, Ordering::Release);
    }

    pub(crate) fn durable(&self, mark: Mark, roots: u64) {
        // Readers are woken for a new leaf; between leaves they need not know.
        self.durable.send_if_modified(|durable| {
            let news = durable.roots != roots;
            *durable = Durable { mark, roots };
            news
        });
    }

    #[cfg(test)]
    pub(crate) fn durable_now(&self) -> watch::Ref<'_, Durable> {
        self.durable.borrow()
    }

    /// A write or sync failed: nothing is recorded from here on.
    pub(crate) fn fatal(&self, fatal: &Fatal) {
        self.stopped.store(true, Ordering::Release);
        (self.on_fatal)(fatal);
    }

    pub(crate) fn covered(&self) -> u64 {
        *self.covered.borrow()
    }

    pub(crate) fn set_derived(&self, mark: Mark) {
        let both = u64::from(mark.segment) << 32 | u64::from(mark.offset);
        self.derived.fetch_max(both, Ordering::Relaxed);
    }

    pub(crate) fn derived(&self) -> Mark {
        let both = self.derived.load(Ordering::Relaxed);
        Mark {
            segment: (both >> 32) as u32,
            offset: both as u32,
        }
    }

    pub(crate) fn promised(&self) -> Option<&Promised> {
        self.promised.get()
    }

    pub(crate) fn take_refusals(&self, now_ms: u64) -> Vec<(LogId, Body)> {
        self.woken.store(false, Ordering::Release);
        self.lock_refusals().take(now_ms)
    }

    fn lock_refusals(&self) -> std::sync::MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job in the queue, with its place there.
struct Queued {
    job: Job,
    bytes: usize,
    /// Given back when the recorder takes the job.
    _place: Option<OwnedSemaphorePermit>,
}

/// The one writer of a ledger. [`Recorder::close`] or dropping it ends it in order.
pub struct Recorder {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    /// Given back after the thread ended.
    _lock: Option<FolderLock>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder(..)")
    }
}

impl Recorder {
    /// Makes a ledger in `folder`: its first record names the centre.
    ///
    /// # Errors
    /// If there is one already, or it cannot be written.
    pub fn create(folder: &Path, centre: &str, options: &Options) -> Result<(), LedgerError> {
        options.check()?;
        let (_lock, folders, clock) = prepare_folder(folder)?;
        let mut ledger = [0; 16];
        aws_lc_rs::rand::fill(&mut ledger)
            .map_err(|_| LedgerError::Setting("the system gave no random bytes".into()))?;
        Core::create(&folders, Prepare::Ahead, &clock, options, centre, ledger)
    }

    /// Opens the ledger in `folder`: verifies and replays what follows the newest snapshot, or all
    /// of it if there is none, cuts a torn tail, records the start.
    ///
    /// # Errors
    /// If another process has it open, it is corrupt, or there is no space.
    pub fn open(
        folder: &Path,
        sealer: Arc<dyn ListSealer>,
        options: Options,
    ) -> Result<(Self, Report), LedgerError> {
        options.check()?;
        let (lock, folders, clock) = prepare_folder(folder)?;
        Self::start(folders, sealer, Arc::new(clock), options, Some(lock))
    }

    /// As [`Recorder::open`], on other files and clocks.
    ///
    /// # Errors
    /// As [`Recorder::open`].
    pub fn start(
        folders: Folders,
        sealer: Arc<dyn ListSealer>,
        clock: Arc<dyn Clock>,
        options: Options,
        lock: Option<FolderLock>,
    ) -> Result<(Self, Report), LedgerError> {
        let uncovered_wait_ms_max = options.uncovered_wait_ms_max;
        let (core, report) = Core::open(folders, Prepare::Ahead, sealer, clock, options)?;
        let shared = core.shared();
        let (jobs, taken) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("ledger-recorder".into())
            .spawn(move || run(core, &taken))
            .map_err(|error| LedgerError::io("start the recorder's thread", error))?;
        let handle = Handle {
            shared,
            uncovered_wait_ms_max,
            places: Arc::new(Semaphore::new(QUEUE_MAX)),
            jobs,
        };
        let recorder = Self {
            handle,
            thread: Some(thread),
            _lock: lock,
        };
        Ok((recorder, report))
    }

    /// A handle; there may be many.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Does what was asked so far, records the stop and ends the thread. Blocks meanwhile.
    pub fn close(self) {}
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.handle.send(Job::Stop, 0, None);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its own hook; all answers were dropped.
            let _ = thread.join();
        }
    }
}

fn prepare_folder(folder: &Path) -> Result<(FolderLock, Folders, SystemClock), LedgerError> {
    let show = folder.display().to_string();
    std::fs::create_dir_all(folder)
        .map_err(|error| LedgerError::io(format!("make {show}"), error))?;
    let lock = FolderLock::take(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => LedgerError::InUse {
            folder: show.clone(),
        },
        _ => LedgerError::io(format!("lock {show}"), error),
    })?;
    let io = DiskIo::new(&folder.join("wal"))
        .map_err(|error| LedgerError::io(format!("make {show}/wal"), error))?;
    io.check_overwrites()
        .map_err(|error| LedgerError::io(format!("use {show}/wal"), error))?;
    let snapshots = DiskIo::new(&folder.join("snapshots"))
        .map_err(|error| LedgerError::io(format!("make {show}/snapshots"), error))?;
    let files = DiskIo::new(&folder.join(archive::FOLDER))
        .map_err(|error| LedgerError::io(format!("make {show}/archive"), error))?;
    let lists = DiskStore::at(&folder.join("logs"));
    let clock = SystemClock::new().map_err(|error| LedgerError::io("read the boot id", error))?;
    let folders = Folders {
        wal: Arc::new(io),
        snapshots: Some(Arc::new(snapshots)),
        archive: Some(Archive {
            files: Arc::new(files),
            lists: Arc::new(lists),
        }),
    };
    Ok((lock, folders, clock))
}

/// The recorder's thread.
fn run(mut core: Core, jobs: &Receiver<Queued>) {
    let shared = core.shared();
    let mut waiting = Waiting::default();
    while !waiting.stop || !waiting.is_empty() {
        if waiting.is_empty() {
            match jobs.recv_timeout(Duration::from_millis(core.rest_ms())) {
                Ok(queued) => waiting.add(queued),
                Err(RecvTimeoutError::Timeout) => {
                    core.tick();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Bounded: each job but a few has a place of `QUEUE_MAX`.
        while let Ok(queued) = jobs.try_recv() {
            waiting.add(queued);
        }
        core.root_if_due();
        waiting.fill(&mut core);
        core.put_refusals(shared.clock.boot_ms());
        let _ = core.flush();
        core.housekeep();
    }
    core.stop();
}

/// Jobs taken from the queue that are in no commit yet.
#[derive(Default)]
struct Waiting {
    small: VecDeque<Queued>,
    large: VecDeque<Queued>,
    /// The last commit took no large job though one waited.
    passed_over: bool,
    stop: bool,
}

impl Waiting {
    fn add(&mut self, queued: Queued) {
        match queued.job {
            Job::Stop => self.stop = true,
            Job::Wake => {}
            _ if queued.bytes <= SMALL_JOB_BYTES_MAX => self.small.push_back(queued),
            _ => self.large.push_back(queued),
        }
    }

    fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// One commit: small jobs, then large ones, as far as they fit; at least one job, and a large
    /// one if the commit before passed it over.
    fn fill(&mut self, core: &mut Core) {
        let mut filled = 0;
        if self.passed_over
            && let Some(queued) = self.large.pop_front()
        {
            filled += queued.bytes;
            core.take(queued.job);
        }
        let mut large_taken = filled > 0;
        filled += Self::take_from(&mut self.small, core, filled);
        if !large_taken || filled < COMMIT_BYTES_MAX {
            let before = self.large.len();
            Self::take_from(&mut self.large, core, filled);
            large_taken |= self.large.len() < before;
        }
        self.passed_over = !large_taken && !self.large.is_empty();
    }

    /// Takes jobs while they fit beside `filled` bytes; gives the bytes taken.
    fn take_from(queue: &mut VecDeque<Queued>, core: &mut Core, filled: usize) -> usize {
        let mut taken = 0;
        while let Some(next) = queue.front() {
            let sum = filled + taken + next.bytes;
            if sum > COMMIT_BYTES_MAX && filled + taken > 0 {
                break;
            }
            taken += next.bytes;
            if let Some(queued) = queue.pop_front() {
                core.take(queued.job);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::batch::Refusal;
    use crate::tests::Rig;

    /// A job whose answer tells when it was taken.
    fn queued(
        rig: &Rig,
        rows: u64,
    ) -> (
        Queued,
        oneshot::Receiver<Result<crate::charge::Paid, Refusal>>,
    ) {
        let (answer, answered) = oneshot::channel();
        let ask = rig.batch((0..rows).map(|n| (1, n)));
        let queued = Queued {
            bytes: ask.bytes_bound().max(rows as usize * 1024),
            job: Job::Append(Arc::new(ask), answer),
            _place: None,
        };
        (queued, answered)
    }

    fn is_answered<T>(answer: &mut oneshot::Receiver<T>) -> bool {
        answer.try_recv().is_ok()
    }

    #[test]
    fn small_jobs_go_first_and_a_commit_is_capped() {
        let mut rig = Rig::new();
        let mut waiting = Waiting::default();
        // Each counts as 100 KiB: one fits into a commit beside a few small ones.
        let (large, mut first_large) = queued(&rig, 100);
        waiting.add(large);
        let (large, mut second_large) = queued(&rig, 100);
        waiting.add(large);
        let (small, mut first_small) = queued(&rig, 1);
        waiting.add(small);
        waiting.fill(&mut rig.core);
        rig.core.flush().unwrap();
        assert!(is_answered(&mut first_small) && is_answered(&mut first_large));
        assert!(!is_answered(&mut second_large));
        waiting.fill(&mut rig.core);
        rig.core.flush().unwrap();
        assert!(is_answered(&mut second_large) && waiting.is_empty());
    }

    #[test]
    fn a_large_job_is_passed_over_once_at_most() {
        let mut rig = Rig::new();
        let mut waiting = Waiting::default();
        let (large, mut answer) = queued(&rig, 120);
        waiting.add(large);
        for commit in 0..2 {
            for _ in 0..10 {
                // Ten of 12 KiB: small, and with them a commit is nearly full.
                waiting.add(queued(&rig, 12).0);
            }
            waiting.fill(&mut rig.core);
            rig.core.flush().unwrap();
            assert_eq!(is_answered(&mut answer), commit == 1);
        }
    }

    #[test]
    fn a_job_longer_than_the_cap_is_a_commit_of_its_own() {
        let mut rig = Rig::new();
        let mut waiting = Waiting::default();
        let (large, mut answer) = queued(&rig, 200);
        waiting.add(large);
        waiting.fill(&mut rig.core);
        rig.core.flush().unwrap();
        assert!(is_answered(&mut answer));
    }
}
