//! The recorder without its thread: one value that owns the write-ahead log, the state and the
//! budgets, and takes one job after the other. Charging, generation, grant expiry and the record
//! are one step here.
//!
//! Invariants:
//! - An answer leaves only from [`Core::flush`], after the fdatasync that made its frames durable.
//! - Readers see a state only when its records are durable.
//! - After a failed write or sync every answer is a refusal ([`Core::fail`]), and the hook is called,
//!   which in production ends the process.

pub(crate) mod changes;
mod leaves;
mod open;
mod snapshots;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use budget::{Budgets, Numbers};
use event::record::{self, Approval, Body, Change};
use event::{ActorId, ChangeId, ClientId, Digest, LogId};
use tokio::sync::oneshot;

use crate::archive::Archiver;
use crate::batch::{Position, Refusal};
use crate::charge::{self, Ask, Paid};
use crate::clock::Times;
use crate::frame::{FrameKind, Head, Mark, frame_bytes};
use crate::list::ListSealer;
use crate::promised::Due;
use crate::recorder::{Options, Shared};
use crate::recover::Cursor;
use crate::replay::numbers_changed;
use crate::snapshot::Keeper;
use crate::space::Full;
use crate::state::{Meta, State};
use crate::uncovered::Uncovered;
use crate::wal::{Fatal, Wal};

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
    pub(crate) cursor: Cursor,
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
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What readers see.
    #[cfg(test)]
    pub(crate) fn shared_state(&self) -> Arc<State> {
        self.shared.state()
    }

    /// The segment in use.
    #[cfg(test)]
    pub(crate) fn segment(&self) -> u32 {
        self.wal.durable().segment
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
        self.shared.fatal(&fatal);
        self.failed = Some(fatal);
    }

    /// # Errors
    /// If the ledger has failed.
    pub(crate) fn alive(&self) -> Result<(), Refusal> {
        match &self.failed {
            Some(fatal) => Err(Refusal::Unavailable(fatal.to_string())),
            None if self.shared.stopped.load(Ordering::Acquire) => {
                Err(Refusal::Unavailable("it was stopped".into()))
            }
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
        // Who was seen before is seen again: the record of it could be erased as well.
        let subjects = charge::let_out(body);
        self.bulk |= subjects >= BULK_SUBJECTS;
        self.uncovered.add(subjects);
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

    /// What a record that lets subjects out has to ask for.
    pub(crate) fn due(&self, client: ClientId, index: u64, body: &Body) -> Option<Due> {
        let subjects = charge::let_out(body);
        let limit = self.state.clients.get(&client)?.receipt_cap?;
        (subjects > 0).then_some(Due {
            client,
            index,
            subjects,
            limit,
        })
    }

    fn record(&mut self, log: LogId, body: &Body) -> Result<Position, Refusal> {
        self.check_retention(log, body)?;
        match body {
            Body::SessionOpened { .. }
            | Body::SessionClosed { .. }
            | Body::Refused { .. }
            | Body::ListsDestroyed { .. }
            | Body::EntriesPruned { .. }
            | Body::OfficerFile { .. }
            | Body::Finding { .. }
            | Body::Rebaselined { .. }
            | Body::Terminal { .. }
            | Body::Counters { .. }
            | Body::TerminalAsked { .. }
            | Body::TerminalReport { .. }
            | Body::TerminalEvidence { .. }
            | Body::TerminalHealth { .. }
            | Body::TimeStamped { .. } => self.put(log, body),
            _ => Err(Refusal::NotYours(body.kind().0)),
        }
    }

    /// What may still be exposed before a quorum of witnesses has seen what was. Where nothing waits, a
    /// batch beyond that may be the first; a file may not.
    pub(crate) fn check_covered(&mut self, subjects: u64, file: bool) -> Result<(), Refusal> {
        let Some(limit) = self.state.uncovered_cap else {
            return Ok(());
        };
        let waiting = self.uncovered.subjects(self.shared.covered());
        if (waiting > 0 || file) && waiting.saturating_add(subjects) > limit {
            return Err(Refusal::Uncovered { waiting, limit });
        }
        Ok(())
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
            if !self.state.owed.is_empty() && self.settle().is_ok() {
                let _ = self.flush();
            }
        }
        self.snapshot_if_due();
        self.archive_if_due();
    }

    /// Up to where nothing has to be derived again.
    pub(crate) fn derived(&self) -> Mark {
        self.shared.derived()
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
