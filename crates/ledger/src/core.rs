//! The recorder without its thread: one value that owns the write-ahead log, the state and the
//! budgets, and takes one job after the other. Charging, generation, grant expiry and the record
//! are one step here.
//!
//! Invariants:
//! - An answer leaves only from [`Core::flush`], after the fdatasync that made its frames durable.
//! - Readers see a state only when its records are durable.
//! - After a failed write or sync every answer is a refusal ([`Core::fail`]), and the hook is called,
//!   which in production ends the process.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use budget::{Budgets, Numbers};
use event::record::{self, Approval, Body, Change, Exposure};
use event::{ActorId, ChangeId, ClientId, Digest, LogId};
use tokio::sync::oneshot;

use crate::LedgerError;
use crate::archive::Archiver;
use crate::batch::{Position, Refusal};
use crate::change;
use crate::charge::{self, Ask, Paid};
use crate::clock::{Clock, LastTimes, Resumed, Times, resume};
use crate::frame::{FrameKind, Head, Mark, frame_bytes};
use crate::list::ListSealer;
use crate::promised::Due;
use crate::recorder::{Folders, Options, Shared};
use crate::recover::{Cursor, corruption, create, recover, segments};
use crate::replay::numbers_changed;
use crate::snapshot::{Begun, FOLD_VERSION, Fold, Keeper, Kept, Taken, begin};
use crate::space::Full;
use crate::state::{APPROVALS, Meta, State};
use crate::uncovered::Uncovered;
use crate::wal::{Fatal, Prepare, Wal};

/// A leaf of the root log at most so often when something was recorded, in ms.
pub(crate) const ROOT_MS: u64 = 1000;
/// A leaf of the root log when nothing was recorded so long, in ms: the heartbeat.
pub(crate) const HEARTBEAT_MS: u64 = 60_000;
/// A record that exposes so many subjects gets its leaf at once.
pub const BULK_SUBJECTS: u64 = 256;
/// The wall clock jumped if it went this much further than elapsed time did, in ms.
const CLOCK_STEP_MS: i64 = 2_000;
/// Room that a job about a change or a small record asks for, beside its record, in bytes.
const SMALL_BYTES: usize = 512;

/// How far a change is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It is in force, in this generation.
    InForce {
        /// The generation since.
        generation: u64,
    },
    /// It waits for signatures.
    Waiting {
        /// Valid signatures so far.
        approvals: usize,
        /// How many it needs.
        needed: usize,
    },
}

/// What the recorder is asked to do.
pub(crate) enum Job {
    Append(Arc<Ask>, oneshot::Sender<Result<Paid, Refusal>>),
    Record(LogId, Box<Body>, oneshot::Sender<Result<Position, Refusal>>),
    Propose(
        ActorId,
        Change,
        oneshot::Sender<Result<(ChangeId, Progress), Refusal>>,
    ),
    Approve(
        ChangeId,
        Approval,
        oneshot::Sender<Result<Progress, Refusal>>,
    ),
    Withdraw(ChangeId, ActorId, oneshot::Sender<Result<(), Refusal>>),
    /// Work on the recorder that gives its answer.
    Do(Box<dyn FnOnce(&mut Core) -> Answer + Send>),
    /// Refusals wait to be recorded.
    Wake,
    Stop,
}

/// An answer that waits for its frames to be durable: told whether they are.
pub(crate) type Answer = Box<dyn FnOnce(Option<Refusal>) + Send>;

/// What opening found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Records in the ledger.
    pub records: u64,
    /// Records replayed: those after the snapshot.
    pub replayed: u64,
    /// Where reading began; earlier segments were not looked at.
    pub from: Mark,
    /// The first record that the snapshot does not hold; `None`: everything was replayed.
    pub snapshot: Option<u64>,
    /// Snapshots that were not believed.
    pub snapshots_passed_over: u32,
    /// Bytes of torn tail that were cut.
    pub tail_cut: u64,
    /// Lists and parts of the snapshot that did not open because their keys were destroyed.
    pub lists_destroyed: u64,
    /// The wall clock's step that was credited to elapsed time, ms.
    pub elapsed_credit_ms: u64,
    /// The wall clock's step that was not, ms.
    pub wall_step_ms: i64,
}

pub(crate) struct Core {
    pub(crate) wal: Wal,
    cursor: Cursor,
    times: Times,
    /// The state with the commit in hand.
    pub(crate) state: State,
    /// `state` differs from what readers see.
    dirty: bool,
    pub(crate) budgets: Budgets,
    pub(crate) numbers: Numbers,
    pub(crate) sealer: Arc<dyn ListSealer>,
    /// Shapes that have a record.
    pub(crate) shapes: Arc<HashSet<Digest>>,
    shared: Arc<Shared>,
    options: Options,
    answers: Vec<Answer>,
    failed: Option<Fatal>,
    /// BOOTTIME of the last root frame, ms.
    last_root_ms: u64,
    /// A bulk release waits for its leaf.
    bulk: bool,
    /// What was exposed and no quorum of witnesses has seen yet.
    uncovered: Uncovered,
    pub(crate) snapshots: Keeper,
    pub(crate) archiver: Archiver,
    /// Logs of clients that get receipts, with their entries, in the commit in hand.
    owed: Vec<(ClientId, u64)>,
    /// There is no space for the next segment.
    pub(crate) full: Option<Full>,
}

impl Core {
    /// Makes a ledger with its genesis in an empty folder.
    pub(crate) fn create(
        folders: &Folders,
        prepare: Prepare,
        clock: &dyn Clock,
        options: &Options,
        centre: &str,
        ledger: [u8; 16],
    ) -> Result<(), LedgerError> {
        let genesis = Body::Genesis {
            centre: centre.to_owned(),
            ledger,
        };
        let bytes = record::encode(&genesis)
            .map_err(|error| LedgerError::Setting(format!("the centre's name: {error}")))?;
        let archive = folders.archive.as_ref();
        if archive.is_some_and(|archive| !archive.is_empty()) {
            return Err(LedgerError::Exists);
        }
        let io = Arc::clone(&folders.wal);
        let mut wal = create(io, prepare, ledger, options.segment_bytes)?;
        let head = Head {
            kind: FrameKind::Record,
            log: LogId::Centre,
            index: 0,
            sequence: 0,
            wall_ms: clock.wall_ms(),
            elapsed_ms: 0,
            durable: wal.durable(),
        };
        wal.push(&head, &bytes, &[]);
        wal.commit().map_err(|fatal| LedgerError::Io {
            what: fatal.what,
            source: std::io::Error::other(fatal.why),
        })
    }

    /// Recovers a ledger, replays it and records the start.
    pub(crate) fn open(
        folders: Folders,
        prepare: Prepare,
        sealer: Arc<dyn ListSealer>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<(Self, Report), LedgerError> {
        let Begun {
            replay,
            scanned,
            snapshot,
            kept,
            passed_over,
        } = begin(&*folders.segments(), folders.snapshots.as_deref(), &sealer)?;
        for (sequence, why) in &passed_over {
            (options.say)(&format!(
                "ledger: the snapshot before record {sequence} is passed over: {why}"
            ));
        }
        let archived = replay.state.archived;
        let last = archived.map_or(0, |last| last.segment);
        // What was not archived is in the write-ahead log's folder, whole.
        if segments(&*folders.wal, last + 1)?.is_empty() {
            return Err(corruption(last + 1, 0, "the segment is missing"));
        }
        let archiver = Archiver::new(
            Arc::clone(&folders.wal),
            folders.snapshots.clone(),
            folders.archive,
            (prepare, options.hot_segments),
            archived,
        );
        let missing = archiver.missing(last);
        if let Some(first) = missing.first() {
            (options.say)(&format!(
                "ledger: {} archived segments are missing, the first is {first}: their records cannot be read; put them back",
                missing.len()
            ));
        }
        let wal = recover(folders.wal, prepare, options.segment_bytes, &scanned)?;
        if scanned.cursor.sequence == 0 {
            return Err(LedgerError::Missing);
        }
        let boot_ms = clock.boot_ms();
        // The last frame may be a root frame, which no state folds.
        let last = LastTimes {
            wall_ms: scanned.cursor.wall_ms,
            elapsed_ms: scanned.cursor.elapsed_ms,
            ..replay.state.times
        };
        let resumed = resume(&last, clock.wall_ms(), clock.boot_id(), boot_ms);
        let report = Report {
            records: scanned.cursor.sequence,
            replayed: replay.records,
            from: scanned.from,
            snapshot,
            snapshots_passed_over: u32::try_from(passed_over.len()).unwrap_or(u32::MAX),
            tail_cut: scanned.tail_cut,
            lists_destroyed: replay.lists_destroyed,
            elapsed_credit_ms: resumed.credit_ms,
            wall_step_ms: resumed.wall_step_ms,
        };
        let numbers = replay.numbers;
        let replayed = (scanned.bytes, replay.changed);
        let elapsed_ms = scanned.cursor.elapsed_ms;
        let snapshots = Keeper::new(folders.snapshots, prepare, kept, replayed, elapsed_ms);
        let shared = Arc::new(Shared::new(replay.state.clone(), Arc::clone(&clock)));
        let mut core = Self {
            wal,
            cursor: scanned.cursor,
            times: Times::new(Arc::clone(&clock), &last, &resumed, boot_ms),
            state: replay.state,
            dirty: true,
            budgets: replay.budgets,
            numbers,
            sealer,
            shapes: replay.shapes,
            shared,
            options,
            answers: Vec::new(),
            failed: None,
            last_root_ms: boot_ms,
            bulk: false,
            uncovered: Uncovered::default(),
            owed: Vec::new(),
            snapshots,
            archiver,
            full: None,
        };
        // What was exposed before may not be covered: a restart must not be a way to expose as much
        // again. Nothing is exposed until a quorum has cosigned a leaf of this run.
        let before = core.options.uncovered_subjects_max.unwrap_or(0);
        core.uncovered.add(before);
        core.started(&report, &resumed, clock.boot_id(), boot_ms)?;
        Ok((core, report))
    }

    fn started(
        &mut self,
        report: &Report,
        resumed: &Resumed,
        boot_id: [u8; 16],
        boot_ms: u64,
    ) -> Result<(), LedgerError> {
        let started = Body::Started {
            version: self.options.version.clone(),
            tail_cut: report.tail_cut,
            elapsed_credit_ms: report.elapsed_credit_ms,
            wall_step_ms: resumed.wall_step_ms,
            boot_id,
            // Elapsed time grew by what passed since `boot_ms` was read.
            boot_ms,
        };
        let now = (self.times.now().0, resumed.elapsed_ms);
        self.put_at(LogId::Centre, &started, now)
            .and_then(|_| self.flush())
            .map_err(LedgerError::Refused)
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What readers see.
    #[cfg(test)]
    pub(crate) fn shared_state(&self) -> Arc<State> {
        self.shared.state()
    }

    #[cfg(test)]
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// (wall, elapsed) in ms: read once a job, used for its charge and its frames.
    pub(crate) fn now(&mut self) -> (u64, u64) {
        self.times.now()
    }

    /// How long the thread may sleep, ms.
    pub(crate) fn rest_ms(&self) -> u64 {
        if self.failed.is_some() {
            return HEARTBEAT_MS;
        }
        if self.bulk {
            return 0;
        }
        let every = if self.wal.untold() {
            ROOT_MS
        } else {
            HEARTBEAT_MS
        };
        let passed = self
            .shared
            .clock
            .boot_ms()
            .saturating_sub(self.last_root_ms);
        // The wall clock is looked at once a second.
        every.saturating_sub(passed).clamp(1, ROOT_MS)
    }

    /// Does a job; its answer leaves with the next [`Core::flush`], or at once if it needs no record.
    pub(crate) fn take(&mut self, job: Job) {
        match job {
            Job::Append(ask, answer) => {
                let paid = self.append(&ask);
                self.answer(answer, paid);
            }
            Job::Record(log, body, answer) => {
                let position = self.record(log, &body);
                self.answer(answer, position);
            }
            Job::Propose(by, what, answer) => {
                let proposed = self.propose(by, what);
                self.answer(answer, proposed);
            }
            Job::Approve(change, approval, answer) => {
                let approved = self.approve(change, approval);
                self.answer(answer, approved);
            }
            Job::Withdraw(change, by, answer) => {
                let withdrawn = self.withdraw(change, by);
                self.answer(answer, withdrawn);
            }
            Job::Do(work) => {
                let answer = work(self);
                self.answers.push(answer);
            }
            Job::Wake | Job::Stop => {}
        }
    }

    /// Keeps an answer until its frames are durable. Who asked may have gone: then it is dropped.
    fn answer<T: Send + 'static>(
        &mut self,
        to: oneshot::Sender<Result<T, Refusal>>,
        what: Result<T, Refusal>,
    ) {
        self.answers.push(Box::new(move |failed| {
            let _ = to.send(match failed {
                Some(refusal) => Err(refusal),
                None => what,
            });
        }));
    }

    /// Makes the commit in hand durable and answers for it.
    pub(crate) fn flush(&mut self) -> Result<(), Refusal> {
        if self.failed.is_none()
            && let Err(fatal) = self.wal.commit()
        {
            self.fail(fatal);
        }
        let failed = self.alive().err();
        if failed.is_none() {
            if std::mem::take(&mut self.dirty) {
                self.shared.publish(self.state.clone());
            }
            self.shared.durable(self.wal.durable(), self.cursor.roots());
        }
        for (client, entries) in self.owed.drain(..) {
            if let (None, Some(promised)) = (&failed, self.shared.promised()) {
                promised.durable(client, entries);
            }
        }
        for answer in self.answers.drain(..) {
            answer(failed.clone());
        }
        failed.map_or(Ok(()), Err)
    }

    pub(crate) fn fail(&mut self, fatal: Fatal) {
        self.shared.stopped.store(true, Ordering::Release);
        (self.options.on_fatal)(&fatal);
        self.failed = Some(fatal);
    }

    /// # Errors
    /// If the ledger has failed.
    pub(crate) fn alive(&self) -> Result<(), Refusal> {
        match &self.failed {
            Some(fatal) => Err(Refusal::Unavailable(fatal.to_string())),
            None => Ok(()),
        }
    }

    pub(crate) fn boot_ms(&self) -> u64 {
        self.shared.clock.boot_ms()
    }

    /// Tells the operator.
    pub(crate) fn say(&self, line: &str) {
        (self.options.say)(line);
    }

    /// Encodes and adds a record; room is made for it.
    pub(crate) fn put(&mut self, log: LogId, body: &Body) -> Result<Position, Refusal> {
        let bytes = encode(body)?;
        self.make_room(frame_bytes(bytes.len(), 0))?;
        // After that: making room may have recorded something.
        let now = self.now();
        self.push(log, body, &bytes, &[], now)
    }

    fn put_at(&mut self, log: LogId, body: &Body, now: (u64, u64)) -> Result<Position, Refusal> {
        let bytes = encode(body)?;
        self.make_room(frame_bytes(bytes.len(), 0))?;
        self.push(log, body, &bytes, &[], now)
    }

    /// Adds an encoded record to the commit in hand, with log and index, and folds it. There is room.
    pub(crate) fn push(
        &mut self,
        log: LogId,
        body: &Body,
        record: &[u8],
        attachment: &[u8],
        (wall_ms, elapsed_ms): (u64, u64),
    ) -> Result<Position, Refusal> {
        let head = Head {
            kind: FrameKind::Record,
            log,
            index: self.cursor.index(log),
            sequence: self.cursor.sequence,
            wall_ms,
            elapsed_ms,
            durable: self.wal.durable(),
        };
        let meta = Meta {
            log,
            sequence: head.sequence,
            wall_ms,
            elapsed_ms,
        };
        let mut after = self.state.clone();
        after.apply(&meta, body).map_err(Refusal::Change)?;
        if let Some(numbers) = numbers_changed(&self.state, &after) {
            let numbers = numbers.map_err(Refusal::Change)?;
            self.budgets.set_entries_max(numbers.entries_max);
            self.numbers = numbers;
        }
        if let Body::Exposure(exposure) = body {
            // Who was seen before is seen again: the record of it could be erased as well.
            let subjects = charge::released_subjects(exposure);
            self.bulk |= subjects >= BULK_SUBJECTS;
            self.uncovered.add(subjects);
        }
        self.dirty |= !matches!(body, Body::Exposure(exposure) if exposure.who.grant.is_none());
        self.state = after;
        self.wal.push(&head, record, attachment);
        self.snapshots
            .saw(body, frame_bytes(record.len(), attachment.len()));
        self.cursor.advance(&head);
        if let (LogId::Client(client), Some(promised)) = (log, self.shared.promised())
            && promised.holds(client)
        {
            self.owed.push((client, head.index + 1));
        }
        Ok(Position {
            log,
            index: head.index,
            sequence: head.sequence,
        })
    }

    /// What the release of an exposure has to ask for.
    pub(crate) fn due(&self, client: ClientId, index: u64, exposure: &Exposure) -> Option<Due> {
        let subjects = charge::released_subjects(exposure);
        self.shared.promised()?.due(client, index, subjects)
    }

    fn record(&mut self, log: LogId, body: &Body) -> Result<Position, Refusal> {
        self.check_retention(log, body)?;
        match body {
            Body::SessionOpened { .. }
            | Body::SessionClosed { .. }
            | Body::Refused { .. }
            | Body::ListsDestroyed { .. }
            | Body::OfficerFile { .. }
            | Body::Finding { .. }
            | Body::Rebaselined { .. }
            | Body::Terminal { .. }
            | Body::Counters { .. }
            | Body::TimeStamped { .. } => self.put(log, body),
            _ => Err(Refusal::NotYours(body.kind().0)),
        }
    }

    fn propose(&mut self, by: ActorId, what: Change) -> Result<(ChangeId, Progress), Refusal> {
        self.alive()?;
        let (wall_ms, _) = self.now();
        change::check(&self.state, &what, wall_ms).map_err(Refusal::Change)?;
        let change = ChangeId(self.state.last_change.saturating_add(1));
        let loosens = self.loosens(&what);
        let proposed = Body::Proposed { change, by, what };
        let bytes = encode(&proposed)?;
        self.make_room(frame_bytes(bytes.len(), 0) + SMALL_BYTES)?;
        self.put(LogId::Centre, &proposed)?;
        let bootstrap = loosens && !self.state.bootstrapped;
        if loosens && !bootstrap {
            let waiting = Progress::Waiting {
                approvals: 0,
                needed: APPROVALS,
            };
            return Ok((change, waiting));
        }
        let progress = self.in_force(change, loosens, bootstrap)?;
        Ok((change, progress))
    }

    fn approve(&mut self, change: ChangeId, approval: Approval) -> Result<Progress, Refusal> {
        self.alive()?;
        self.state
            .verify_approval(change, &approval)
            .map_err(Refusal::Change)?;
        self.make_room(2 * SMALL_BYTES)?;
        self.put(LogId::Centre, &Body::Approved { change, approval })?;
        let approvals = self.state.approvals_held(change);
        if approvals < APPROVALS {
            return Ok(Progress::Waiting {
                approvals,
                needed: APPROVALS,
            });
        }
        let (wall_ms, _) = self.now();
        // What was true when it was proposed may have changed: then it stays open, to be withdrawn.
        if let Some(proposal) = self.state.proposals.get(&change) {
            change::check(&self.state, &proposal.what, wall_ms).map_err(Refusal::Change)?;
        }
        self.in_force(change, true, false)
    }

    fn withdraw(&mut self, change: ChangeId, by: ActorId) -> Result<(), Refusal> {
        self.alive()?;
        if !self.state.proposals.contains_key(&change) {
            return Err(Refusal::Change(format!("change {change} is not open")));
        }
        self.put(LogId::Centre, &Body::Withdrawn { change, by })
            .map(|_| ())
    }

    fn in_force(
        &mut self,
        change: ChangeId,
        loosens: bool,
        bootstrap: bool,
    ) -> Result<Progress, Refusal> {
        let body = Body::InForce {
            change,
            loosens,
            bootstrap,
        };
        let opens = self.log_to_open(change);
        self.declare_loss(change)?;
        self.put(LogId::Centre, &body)?;
        if let Some((log, opened)) = opens {
            self.put(log, &opened)?;
        }
        Ok(Progress::InForce {
            generation: self.state.generation,
        })
    }

    /// A client that comes into force has a log from then on.
    fn log_to_open(&self, change: ChangeId) -> Option<(LogId, Body)> {
        match self.state.proposals.get(&change)?.what {
            Change::ClientAdded { client, .. } => {
                let (ledger, slot) = (self.state.ledger, self.state.slots);
                Some((LogId::Client(client), Body::LogOpened { ledger, slot }))
            }
            _ => None,
        }
    }

    /// A loss is told in every log that there is.
    fn declare_loss(&mut self, change: ChangeId) -> Result<(), Refusal> {
        let proposal = self.state.proposals.get(&change);
        let Some(Change::Generation {
            number,
            checkpoint,
            lost,
        }) = proposal.map(|proposal| &proposal.what)
        else {
            return Ok(());
        };
        let (size, root) =
            change::declared_head(&self.state, checkpoint).map_err(Refusal::Change)?;
        let declared = Body::LossDeclared {
            generation: *number,
            size,
            root,
            lost: lost.clone(),
        };
        let clients: Vec<_> = self.state.clients.keys().copied().collect();
        for log in clients
            .into_iter()
            .map(LogId::Client)
            .chain([LogId::Centre])
        {
            self.put(log, &declared)?;
        }
        Ok(())
    }

    /// What may still be exposed before a quorum of witnesses has seen what was.
    pub(crate) fn check_covered(&mut self, subjects: u64) -> Result<(), Refusal> {
        let Some(limit) = self.options.uncovered_subjects_max else {
            return Ok(());
        };
        let waiting = self.uncovered.subjects(self.shared.covered());
        if waiting > 0 && waiting.saturating_add(subjects) > limit {
            return Err(Refusal::Uncovered { waiting, limit });
        }
        Ok(())
    }

    fn loosens(&self, what: &Change) -> bool {
        change::loosens(&self.state, what)
            || match what {
                Change::Policy { cedar, masks } => {
                    (self.options.policy_looser)(self.state.policy.as_deref(), cedar, masks)
                }
                Change::Numbers { toml } => {
                    Numbers::parse(toml).map_or(true, |new| new.looser_than(&self.numbers))
                }
                _ => false,
            }
    }

    /// Records refusals that wait, a jump of the wall clock, and a root frame when one is due.
    pub(crate) fn tick(&mut self) {
        if self.failed.is_some() {
            return;
        }
        self.put_refusals(self.shared.clock.boot_ms());
        let _ = self.flush();
        self.root_if_due();
        if let Some(step_ms) = self.times.step(CLOCK_STEP_MS) {
            let _ = self.put(LogId::Centre, &Body::ClockStepped { step_ms });
        }
        let _ = self.flush();
        self.housekeep();
    }

    /// Begins the commit in hand with a root frame if one is due: it covers the commits before,
    /// which are durable, and says so.
    pub(crate) fn root_if_due(&mut self) {
        let now_ms = self.shared.clock.boot_ms();
        let passed = now_ms.saturating_sub(self.last_root_ms);
        let due = self.bulk || (self.wal.untold() && passed >= ROOT_MS) || passed >= HEARTBEAT_MS;
        if due && self.failed.is_none() && self.has_room_for_root() {
            self.root(now_ms);
        }
    }

    /// Adds the refusals that wait to the commit in hand.
    pub(crate) fn put_refusals(&mut self, now_ms: u64) {
        for (log, body) in self.shared.take_refusals(now_ms) {
            let known = match log {
                LogId::Centre => true,
                // A statement can name a client that there is not.
                LogId::Client(client) => self.state.clients.contains_key(&client),
            };
            if known {
                // Without space refusals are not recorded; what they refused was not released.
                let _ = self.put(log, &body);
            }
        }
    }

    /// Looks after space and snapshots; the commit in hand is empty.
    pub(crate) fn housekeep(&mut self) {
        if self.failed.is_none() {
            self.space_if_due();
        }
        self.snapshot_if_due();
        self.archive_if_due();
    }

    /// Up to where nothing has to be derived again.
    pub(crate) fn derived(&self) -> Mark {
        self.shared.derived()
    }

    /// Records the snapshot that is done, and begins one that is due.
    fn snapshot_if_due(&mut self) {
        if self.failed.is_some() {
            return;
        }
        if let Some(taken) = self.snapshots.finished() {
            self.snapshot_taken(&taken);
        }
        let (_, elapsed_ms) = self.now();
        if self.snapshots.is_due(elapsed_ms) {
            self.begin_snapshot();
        }
    }

    /// Takes one now if something changed, and waits for it.
    pub(crate) fn snapshot_now(&mut self) {
        if let Some(taken) = self.snapshots.wait() {
            self.snapshot_taken(&taken);
        }
        if self.failed.is_none() && self.snapshots.may_begin() {
            self.begin_snapshot();
            if let Some(taken) = self.snapshots.wait() {
                self.snapshot_taken(&taken);
            }
        }
    }

    fn begin_snapshot(&mut self) {
        // What the folds hold is durable now.
        if self.flush().is_err() {
            return;
        }
        let fold = Fold {
            at: self.wal.durable(),
            state: self.state.clone(),
            cursor: self.cursor.clone(),
            shapes: Arc::clone(&self.shapes),
            budgets: self.budgets.clone(),
        };
        self.snapshots.begin(fold, Arc::clone(&self.sealer));
    }

    /// A snapshot is on disk: its record makes it one to start from.
    fn snapshot_taken(&mut self, taken: &Taken) {
        let sequence = taken.sequence;
        let recorded = match &taken.digest {
            Ok(digest) => {
                let body = Body::Snapshot {
                    fold: FOLD_VERSION,
                    sequence,
                    digest: *digest,
                };
                self.put(LogId::Centre, &body)
                    .and_then(|_| self.flush())
                    .map_err(|refusal| refusal.to_string())
            }
            Err(why) => Err(why.clone()),
        };
        match recorded {
            Ok(()) => self.snapshots.recorded(Kept {
                sequence,
                segment: taken.segment,
                digest: taken.digest.as_ref().ok().copied(),
            }),
            Err(why) => (self.options.say)(&format!(
                "ledger: there is no snapshot before record {sequence}: {why}; the next start replays more"
            )),
        }
    }

    pub(crate) fn root(&mut self, now_ms: u64) {
        let (wall_ms, elapsed_ms) = self.now();
        let head = Head {
            kind: FrameKind::Root,
            log: LogId::Centre,
            index: self.cursor.roots(),
            sequence: self.cursor.sequence,
            wall_ms,
            elapsed_ms,
            durable: self.wal.durable(),
        };
        self.wal.push_root(&head);
        self.cursor.advance(&head);
        self.uncovered.root(head.index);
        self.last_root_ms = now_ms;
        self.bulk = false;
    }

    /// Records the end, and that it is durable.
    pub(crate) fn stop(&mut self) {
        self.put_refusals(u64::MAX);
        let _ = self.flush();
        self.snapshot_now();
        self.archive_wait();
        let stopped = self.put(LogId::Centre, &Body::Stopped);
        let flushed = self.flush();
        if stopped.is_ok() && flushed.is_ok() && self.has_room_for_root() {
            self.root(self.shared.clock.boot_ms());
            let _ = self.flush();
        }
        self.shared.stopped.store(true, Ordering::Release);
    }
}

/// A record's bytes.
pub(crate) fn encode(body: &Body) -> Result<Vec<u8>, Refusal> {
    record::encode(body).map_err(|error| match error {
        record::EncodeError::TooLong { bytes } => Refusal::TooLarge {
            what: "a record",
            bytes,
            limit: record::BYTES_MAX,
        },
        record::EncodeError::Unknown { kind } => Refusal::NotYours(kind),
    })
}
