//! Making a ledger, and opening one: recovery, replay, the record of the start.

use std::sync::Arc;

use event::LogId;
use event::record::{self, Body, Change};

use super::{Core, Report};
use crate::LedgerError;
use crate::archive::Archiver;
use crate::batch::Refusal;
use crate::clock::{Clock, LastTimes, Resumed, Times, resume};
use crate::frame::{FrameKind, Head};
use crate::list::ListSealer;
use crate::recorder::{Folders, Options, Shared};
use crate::recover::{corruption, create, recover, segments};
use crate::snapshot::{Begun, Keeper, begin};
use crate::uncovered::Uncovered;
use crate::wal::Prepare;

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
        let shared = Arc::new(Shared::new(
            replay.state.clone(),
            Arc::clone(&clock),
            Arc::clone(&options.on_fatal),
        ));
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
        core.started(&report, &resumed, clock.boot_id(), boot_ms)?;
        core.settle_and_cap().map_err(LedgerError::Refused)?;
        let before = core.state.uncovered_cap.unwrap_or(0);
        core.uncovered.add(before);
        Ok((core, report))
    }

    /// Records what a crash left out, and which cap is in force from here: that of the settings if it
    /// is tighter than the record's, otherwise it waits for its signatures.
    fn settle_and_cap(&mut self) -> Result<(), Refusal> {
        self.settle()?;
        let subjects = self.options.uncovered_subjects_max;
        if self.state.uncovered_cap != subjects
            && let Some(change) = self.ask_for(&Change::UncoveredCap { subjects })?
        {
            let shown =
                |cap: Option<u64>| cap.map_or("any number".to_owned(), |cap| cap.to_string());
            let (asked, held) = (shown(subjects), shown(self.state.uncovered_cap));
            self.say(&format!(
                "ledger: the settings let {asked} of people be seen before witnesses cosign (uncovered_subjects_max); {held} is in force until two approvers sign change {change}"
            ));
        }
        self.flush()
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
}
