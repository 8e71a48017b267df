//! Retention by age: how long fingerprint lists and published entries stay is a change in force
//! (shorter needs two approvers); that they go is a record in the client's log, before anything does.
//!
//! Age is counted twice, and both have to say so: by the wall clock, in months, and in the time that
//! this ledger measured itself since the last list of a month (CLOCK_BOOTTIME; what a restart credits
//! does not count, nor does time in which the machine was off). A clock put forward destroys nothing.
//!
//! Of lists, the month's key is destroyed; the files go when their segments were archived. Records,
//! commitments and proofs stay, and budgets count such records by their effects.
//!
//! Of entries, the bundles below a declared minimum (C2SP tlog-tiles "Pruning") leave the published
//! copies; `logs::publish` removes them. The write-ahead log and its archive keep every record, and
//! hash tiles stay, so that every proof still verifies.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use event::record::Body;
use event::{ChangeId, ClientId, LogId};
use tlog::{Bundle, TILE_WIDTH};

use crate::LedgerError;
use crate::batch::Refusal;
use crate::core::Core;
use crate::frame::{Found, FrameKind, SEGMENT_HEADER, look};
use crate::io::{DiskIo, Io};
use crate::list;
use crate::logs::Tree;
use crate::logs::publish::published;
use crate::logs::sequence::lists_path;
use crate::logs::store::{DiskStore, Store};
use crate::recover::read_header;
use crate::state::{FoldError, Meta, Pruned, State};
use crate::wal::segment_number;

/// Longest retention, in months.
pub const MONTHS_MAX: u32 = 1200;
/// A day, in ms.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Days of measured time that count as a month.
const MONTH_DAYS: u64 = 28;
/// Longest entry bundle, in bytes.
const BUNDLE_BYTES_MAX: u64 = TILE_WIDTH as u64 * (2 + u16::MAX as u64);

/// The month (yyyymm) so many months before another.
fn months_before(month: u32, months: u32) -> u32 {
    let count = (month / 100 * 12 + month % 100).saturating_sub(months + 1);
    count / 12 * 100 + count % 12 + 1
}

/// What may be destroyed of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// The first month (yyyymm) whose lists stay.
    pub before: u32,
    /// The same by the wall clock alone: never an earlier one.
    pub by_clock: u32,
}

impl State {
    /// The first month (yyyymm, UTC) whose lists stay at that time by the wall clock: each stays for
    /// its month and at least so many full months after it as are in force. `None`: all stay.
    pub fn lists_stay_from(&self, wall_ms: u64) -> Option<u32> {
        let month = list::month(wall_ms);
        (self.retention_months > 0).then(|| months_before(month, self.retention_months))
    }

    /// What may be destroyed of a client at these times; `None`: all stay. A clock that is set
    /// destroys nothing: as many months of 28 days have to be measured since the last list, too.
    pub fn lists_due(&self, client: ClientId, wall_ms: u64, elapsed_ms: u64) -> Option<Due> {
        let by_clock = self.lists_stay_from(wall_ms)?;
        let day = self.measured_ms(elapsed_ms) / DAY_MS;
        let old = u64::from(self.retention_months) * MONTH_DAYS;
        let mut lists = self.lists.range((client, 0)..(client, by_clock));
        let young = lists.find(|(_, last)| u64::from(**last) + old > day);
        let before = young.map_or(by_clock, |((_, month), _)| *month);
        Some(Due { before, by_clock })
    }

    /// Elapsed time without what restarts credited.
    fn measured_ms(&self, elapsed_ms: u64) -> u64 {
        elapsed_ms.saturating_sub(self.times.credited_ms)
    }

    /// An exposure has a list.
    pub(crate) fn saw_list(&mut self, meta: &Meta) {
        let LogId::Client(client) = meta.log else {
            return;
        };
        let key = (client, list::month(meta.wall_ms));
        // The day's end, so that this changes once a day and errs on the strict side.
        let day = self.measured_ms(meta.elapsed_ms) / DAY_MS + 1;
        let day = u32::try_from(day).unwrap_or(u32::MAX);
        if self.lists.get(&key) != Some(&day) {
            Arc::make_mut(&mut self.lists).insert(key, day);
        }
    }

    /// Whether a client's lists of the months before `before` may be destroyed.
    pub(crate) fn may_destroy_lists(
        &self,
        log: LogId,
        before: u32,
        (wall_ms, elapsed_ms): (u64, u64),
    ) -> Result<ClientId, FoldError> {
        let LogId::Client(client) = log else {
            return Err("lists are destroyed in a client's log".into());
        };
        let due = self.lists_due(client, wall_ms, elapsed_ms);
        if due.is_none_or(|due| before > due.before) {
            return Err(format!(
                "the lists of the month before {before} have to stay"
            ));
        }
        match self.lists_destroyed.get(&client) {
            Some(done) if *done >= before => {
                Err(format!("the lists before {done} are destroyed already"))
            }
            _ => Ok(client),
        }
    }

    /// The first month (yyyymm, UTC) whose entries stay in published copies at that time. `None`: all
    /// stay.
    pub fn entries_stay_from(&self, wall_ms: u64) -> Option<u32> {
        let month = list::month(wall_ms);
        let months = self.entry_retention_months;
        (months > 0).then(|| months_before(month, months))
    }

    /// The minimum index of a client's log: entries below it are published no more, but for those of
    /// the first bundle.
    pub fn minimum(&self, client: ClientId) -> u64 {
        let all = self.entries_pruned.get(&client);
        all.and_then(|all| all.last()).map_or(0, |it| it.below)
    }

    /// Whether a client's entries below a minimum may go.
    pub(crate) fn may_prune(
        &self,
        log: LogId,
        Pruned { below, before }: Pruned,
        change: ChangeId,
        wall_ms: u64,
    ) -> Result<ClientId, FoldError> {
        let LogId::Client(client) = log else {
            return Err("a minimum is declared in a client's log".into());
        };
        if !below.is_multiple_of(u64::from(TILE_WIDTH)) {
            return Err(format!("a minimum of {below} lies within a bundle"));
        }
        if self
            .entries_stay_from(wall_ms)
            .is_none_or(|from| before > from)
        {
            return Err(format!(
                "the entries of the month before {before} have to stay"
            ));
        }
        if change != self.entry_retention_change {
            return Err(format!("change {change} says not how long entries stay"));
        }
        let minimum = self.minimum(client);
        if below <= minimum {
            return Err(format!("the minimum is {minimum} already"));
        }
        Ok(client)
    }

    pub(crate) fn pruned_entries(
        &mut self,
        meta: &Meta,
        pruned: Pruned,
        change: ChangeId,
    ) -> Result<(), FoldError> {
        let client = self.may_prune(meta.log, pruned, change, meta.wall_ms)?;
        let all = Arc::make_mut(&mut self.entries_pruned);
        all.entry(client).or_default().push(pruned);
        Ok(())
    }

    pub(crate) fn destroyed_lists(&mut self, meta: &Meta, before: u32) -> Result<(), FoldError> {
        let client = self.may_destroy_lists(meta.log, before, (meta.wall_ms, meta.elapsed_ms))?;
        Arc::make_mut(&mut self.lists_destroyed).insert(client, before);
        Arc::make_mut(&mut self.lists).retain(|(of, month), _| *of != client || *month >= before);
        Ok(())
    }
}

impl Core {
    /// Whether a record of destroyed lists, or of a minimum, may be made now.
    pub(crate) fn check_retention(&mut self, log: LogId, body: &Body) -> Result<(), Refusal> {
        let now = self.now();
        let checked = match body {
            Body::ListsDestroyed { before } => self.state.may_destroy_lists(log, *before, now),
            Body::EntriesPruned { below, .. } if *below > self.cursor.index(log) => {
                Err(format!("the log has fewer than {below} entries"))
            }
            Body::EntriesPruned {
                below,
                before,
                change,
            } => {
                let (below, before) = (*below, *before);
                let pruned = Pruned { below, before };
                self.state.may_prune(log, pruned, *change, now.0)
            }
            _ => return Ok(()),
        };
        checked.map(|_| ()).map_err(Refusal::Change)
    }
}

/// Removes the files of lists beside the logs in `folder` whose entries are all of months before the
/// client's, archived, and their bundle full. Gives how many. Repeating it removes what has become
/// so since.
///
/// # Errors
/// If files cannot be read or removed.
pub fn remove_lists(
    folder: &Path,
    before: &BTreeMap<ClientId, u32>,
    pruned: &BTreeMap<ClientId, Vec<Pruned>>,
) -> Result<u64, LedgerError> {
    if before.is_empty() {
        return Ok(0);
    }
    let first_hot = first_hot(&DiskIo::at(&folder.join("wal")))?;
    let place = folder.join("logs");
    let store = DiskStore::at(&place);
    let mut removed = 0;
    for (&client, &before) in before {
        let log = LogId::Client(client);
        let archived = first_hot.get(&log).copied().unwrap_or(u64::MAX);
        let pruned = pruned.get(&client).map_or(&[][..], Vec::as_slice);
        for number in 0_u64.. {
            let first = number * u64::from(TILE_WIDTH);
            let end = first.saturating_add(u64::from(TILE_WIDTH));
            // Of a bundle that is gone, its minimum says how old it was.
            let known = pruned.iter().find(|it| end <= it.below);
            let old = known.is_some_and(|it| it.before <= before)
                || is_before(&store, log, number, before)?;
            if end > archived || !old {
                break;
            }
            let path = lists_path(log, first);
            match std::fs::remove_file(place.join(&path)) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(LedgerError::io(format!("remove {path}"), error)),
            }
        }
    }
    if removed > 0 {
        store
            .sync()
            .map_err(|error| LedgerError::io("sync the derived logs", error))?;
    }
    Ok(removed)
}

/// The greatest minimum of a client's log so that all published entries below it are of months
/// before one; `None` if that is not above `minimum`, the one in force.
///
/// # Errors
/// If files cannot be read.
pub fn prunable(
    folder: &Path,
    client: ClientId,
    minimum: u64,
    before: u32,
) -> Result<Option<u64>, LedgerError> {
    let store = DiskStore::at(&folder.join("logs"));
    let log = LogId::Client(client);
    let width = u64::from(TILE_WIDTH);
    let Some(checkpoint) = published(&store, Tree::Log(log))? else {
        return Ok(None);
    };
    // Times never go back: bundles that are old come before those that are not. The first one stays.
    let (mut old, mut young) = ((minimum / width).max(1), checkpoint.size() / width);
    while old < young {
        let middle = old + (young - old) / 2;
        if is_before(&store, log, middle, before)? {
            old = middle + 1;
        } else {
            young = middle;
        }
    }
    let below = old * width;
    Ok((below > minimum.max(width)).then_some(below))
}

/// Whether the last entry of a full bundle is of a month before `before`; times never go back.
fn is_before(store: &dyn Store, log: LogId, number: u64, before: u32) -> Result<bool, LedgerError> {
    let Some(bundle) = Bundle::new(number, TILE_WIDTH) else {
        return Ok(false);
    };
    let path = format!("{}{bundle}", Tree::Log(log).folder());
    let bytes = match store.read(&path, BUNDLE_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        bytes => bytes.map_err(|error| LedgerError::io(format!("read {path}"), error))?,
    };
    let entries = tlog::bundle::exactly(&bytes, TILE_WIDTH).unwrap_or_default();
    let wall_ms = entries
        .last()
        .and_then(|entry| entry.get(1..9)?.try_into().ok())
        .map(u64::from_be_bytes);
    Ok(wall_ms.is_some_and(|ms| list::month(ms) < before))
}

/// The first index of each log in the segments that are not archived.
fn first_hot(io: &dyn Io) -> Result<BTreeMap<LogId, u64>, LedgerError> {
    let names = io
        .list()
        .map_err(|error| LedgerError::io("list the folder", error))?;
    let mut first = BTreeMap::new();
    for number in names.iter().filter_map(|name| segment_number(name)) {
        let (header, bytes) = read_header(io, number)?;
        let mut at = SEGMENT_HEADER;
        while let Found::Frame(frame) = look(&bytes[at..], header.seed()) {
            if frame.head.kind == FrameKind::Record {
                first.entry(frame.head.log).or_insert(frame.head.index);
            }
            at += frame.len;
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use event::record::Change;

    use super::*;
    use crate::core::Job;
    use crate::logs::{Logs, Setup};
    use crate::tests::{Rig, client};
    use crate::{Options, Recorder};

    /// 2023-11-14, the test clock's beginning.
    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn months() {
        assert_eq!(months_before(202_311, 0), 202_311);
        assert_eq!(months_before(202_311, 1), 202_310);
        assert_eq!(months_before(202_311, 11), 202_212);
        assert_eq!(months_before(202_301, 1), 202_212);
        assert_eq!(months_before(202_312, 12), 202_212);
        assert_eq!(months_before(202_312, 24), 202_112);
        assert_eq!(months_before(1, MONTHS_MAX), 1);
    }

    fn destroyed(rig: &mut Rig, of: LogId, before: u32) -> Result<(), Refusal> {
        rig.ask(|answer| Job::Record(of, Box::new(Body::ListsDestroyed { before }), answer))
            .map(|_| ())
    }

    #[test]
    fn nothing_is_destroyed_before_its_time_or_twice() {
        let mut rig = Rig::new();
        let of = LogId::Client(client(1));
        // None is in force.
        assert!(destroyed(&mut rig, of, 202_001).is_err());
        rig.propose(Change::Retention { months: 12 }).unwrap();
        assert_eq!(rig.core.state.lists_stay_from(NOW), Some(202_211));
        assert!(destroyed(&mut rig, of, 202_212).is_err());
        assert!(destroyed(&mut rig, LogId::Centre, 202_211).is_err());
        destroyed(&mut rig, of, 202_211).unwrap();
        assert!(destroyed(&mut rig, of, 202_211).is_err());
        destroyed(&mut rig, LogId::Client(client(2)), 202_210).unwrap();
        let due = BTreeMap::from([(client(1), 202_211), (client(2), 202_210)]);
        assert_eq!(*rig.core.state.lists_destroyed, due);
        let (rig, _) = rig.restart();
        assert_eq!(*rig.core.state.lists_destroyed, due);
        assert_eq!(rig.core.state.retention_months, 12);
    }

    const DAY: u64 = DAY_MS;

    fn with_lists(rig: &Rig) -> Vec<u32> {
        rig.core
            .state
            .lists
            .keys()
            .map(|(_, month)| *month)
            .collect()
    }

    /// A wall clock put forward, over a restart, too, makes no list old; measured time does.
    #[test]
    fn a_clock_that_is_put_forward_destroys_nothing() {
        let mut rig = Rig::new();
        rig.propose(Change::Retention { months: 2 }).unwrap();
        let of = LogId::Client(client(1));
        let show = |rig: &mut Rig| {
            let ask = rig.batch([(1, 1)]);
            rig.append(ask).unwrap();
        };
        show(&mut rig);
        assert_eq!(with_lists(&rig), [202_311]);
        // 2024-02-22: older than two months by the clock.
        rig.clock.wall_ms.fetch_add(100 * DAY, Ordering::Relaxed);
        assert!(destroyed(&mut rig, of, 202_312).is_err());
        let forged = rig.core.state.clone().apply(
            &Meta {
                log: of,
                sequence: 99,
                wall_ms: NOW + 100 * DAY,
                elapsed_ms: rig.core.state.times.elapsed_ms,
            },
            &Body::ListsDestroyed { before: 202_312 },
        );
        assert!(forged.is_err(), "nor does a replay take it");
        // What a start credits does not count.
        let (mut rig, report) = rig.reboot(400 * DAY);
        assert!(report.elapsed_credit_ms >= 400 * DAY);
        assert!(destroyed(&mut rig, of, 202_312).is_err());
        let now = rig.core.now();
        let due = rig.core.state.lists_due(client(1), now.0, now.1).unwrap();
        assert_eq!((due.before, due.by_clock), (202_311, 202_501));
        // A later month's list does not make the older one young.
        rig.clock.pass(30 * DAY);
        show(&mut rig);
        assert_eq!(with_lists(&rig), [202_311, 202_504]);
        rig.clock.pass(26 * DAY);
        assert!(destroyed(&mut rig, of, 202_312).is_err());
        rig.clock.pass(2 * DAY);
        destroyed(&mut rig, of, 202_312).unwrap();
        assert_eq!(with_lists(&rig), [202_504]);
        let (rig, _) = rig.restart();
        assert_eq!(with_lists(&rig), [202_504]);
        assert_eq!(rig.core.state.lists_destroyed[&client(1)], 202_312);
    }

    #[test]
    fn shorter_is_looser() {
        let state = |retention_months| State {
            retention_months,
            ..State::default()
        };
        let looser =
            |from, to| crate::change::loosens(&state(from), &Change::Retention { months: to });
        assert!(looser(0, 120) && looser(12, 11));
        assert!(!looser(11, 12) && !looser(11, 0));
        let check = |from, months| {
            crate::change::check(&state(from), &Change::Retention { months }, NOW).is_ok()
        };
        assert!(check(0, MONTHS_MAX) && !check(0, MONTHS_MAX + 1) && !check(7, 7));
    }

    fn pruned(rig: &mut Rig, of: LogId, (below, before): (u64, u32)) -> Result<(), Refusal> {
        let body = Body::EntriesPruned {
            below,
            before,
            change: rig.core.state.entry_retention_change,
        };
        rig.ask(|answer| Job::Record(of, Box::new(body), answer))
            .map(|_| ())
    }

    #[test]
    fn a_minimum_is_declared_within_what_is_in_force_and_rises() {
        let mut rig = Rig::new();
        rig.propose(crate::tests::numbers(1 << 20)).unwrap();
        let of = LogId::Client(client(1));
        for row in 0..600 {
            let ask = rig.batch([(1, row)]);
            rig.append(ask).unwrap();
        }
        // None is in force.
        assert!(pruned(&mut rig, of, (256, 202_001)).is_err());
        let (change, _) = rig.propose(Change::EntryRetention { months: 12 }).unwrap();
        assert_eq!(rig.core.state.entry_retention_change, change);
        assert_eq!(rig.core.state.entries_stay_from(NOW), Some(202_211));
        for wrong in [(256, 202_212), (255, 202_211), (768, 202_211), (0, 202_211)] {
            assert!(pruned(&mut rig, of, wrong).is_err(), "{wrong:?}");
        }
        assert!(pruned(&mut rig, LogId::Centre, (256, 202_211)).is_err());
        let other = Body::EntriesPruned {
            below: 256,
            before: 202_211,
            change: event::ChangeId(change.0 - 1),
        };
        let refused = rig.ask(|answer| Job::Record(of, Box::new(other), answer));
        assert!(refused.is_err(), "another change says nothing of it");
        pruned(&mut rig, of, (256, 202_210)).unwrap();
        assert!(pruned(&mut rig, of, (256, 202_211)).is_err());
        pruned(&mut rig, of, (512, 202_211)).unwrap();
        let (rig, _) = rig.restart();
        assert_eq!(rig.core.state.minimum(client(1)), 512);
        assert_eq!(rig.core.state.minimum(client(2)), 0);
        let due = [(256, 202_210), (512, 202_211)].map(|(below, before)| Pruned { below, before });
        assert_eq!(rig.core.state.entries_pruned[&client(1)], due);
    }

    #[test]
    fn entries_that_go_sooner_are_looser() {
        let state = |entry_retention_months| State {
            entry_retention_months,
            ..State::default()
        };
        let to = |months| Change::EntryRetention { months };
        let looser = |from, months| crate::change::loosens(&state(from), &to(months));
        assert!(looser(0, 120) && looser(12, 11));
        assert!(!looser(11, 12) && !looser(11, 0));
        let check = |from, months| crate::change::check(&state(from), &to(months), NOW).is_ok();
        assert!(check(0, MONTHS_MAX) && !check(0, MONTHS_MAX + 1) && !check(7, 7));
    }

    #[tokio::test]
    async fn what_may_be_pruned_is_old_full_and_published() {
        let folder = tempfile::tempdir().unwrap();
        published(folder.path(), 1000).await;
        let prunable =
            |minimum, before| prunable(folder.path(), client(1), minimum, before).unwrap();
        // 2026-... to 9999-12: all of it is old; the last bundle is not full.
        assert_eq!(prunable(0, 999_912), Some(768));
        assert_eq!(prunable(512, 999_912), Some(768));
        assert_eq!(prunable(768, 999_912), None);
        assert_eq!(prunable(0, 200_001), None);
        let nobody = super::prunable(folder.path(), client(9), 0, 999_912);
        assert_eq!(nobody.unwrap(), None);
        // Lists of bundles that are gone: their minimum says how old they were.
        let logs = folder.path().join("logs/client/1");
        std::fs::create_dir_all(logs.join("lists")).unwrap();
        for name in ["000", "001", "002"] {
            std::fs::write(logs.join("lists").join(name), b"list").unwrap();
        }
        for name in ["001", "002"] {
            std::fs::remove_file(logs.join("tile/entries").join(name)).unwrap();
        }
        let wal = folder.path().join("wal");
        std::fs::remove_dir_all(&wal).unwrap();
        std::fs::create_dir(&wal).unwrap();
        let due = BTreeMap::from([(client(1), 999_911)]);
        let all = [(512, 999_910), (768, 999_912)];
        let all = all.map(|(below, before)| Pruned { below, before });
        let all = BTreeMap::from([(client(1), all.to_vec())]);
        assert_eq!(remove_lists(folder.path(), &due, &all).unwrap(), 2);
        assert!(logs.join("lists/002").is_file(), "its minimum is younger");
    }

    /// The log of client 1 in a folder, with so many entries, published.
    async fn published(folder: &Path, entries: u64) {
        let options = Options {
            segment_bytes: 16 << 10,
            ..Options::default()
        };
        Recorder::create(folder, "Centre", &options).unwrap();
        let sealer = Arc::new(crate::tests::TestSealer::default());
        let (recorder, _) = Recorder::open(folder, sealer, options).unwrap();
        let handle = recorder.handle();
        let added = Change::ClientAdded {
            client: client(1),
            code: "one".into(),
            name: "One".into(),
        };
        handle.propose(event::ActorId(1), added).await.unwrap();
        let setup = Setup {
            salt: zeroize::Zeroizing::new([9; 32]),
            keys: Arc::new(|_| Ok(crate::logs::tests::keys())),
            witnesses: None,
            authority: None,
            say: Arc::new(|line| panic!("{line}")),
        };
        let logs = Logs::start(folder, handle.clone(), setup, &mut |_, _| {}).await;
        for session in 0..entries {
            let session = event::SessionId(session);
            let body = Body::SessionClosed { session };
            handle.record(LogId::Client(client(1)), body).await.unwrap();
        }
        recorder.close();
        logs.unwrap().finish().await.unwrap();
    }

    #[tokio::test]
    async fn files_go_when_their_bundle_is_full_old_and_archived() {
        let folder = tempfile::tempdir().unwrap();
        published(folder.path(), 700).await;
        let lists = folder.path().join("logs/client/1/lists");
        std::fs::create_dir_all(&lists).unwrap();
        let files = || {
            let names = std::fs::read_dir(&lists).unwrap();
            let mut names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
            names.sort();
            names
        };
        for name in ["000", "001", "002"] {
            std::fs::write(lists.join(name), b"list").unwrap();
        }
        let none = BTreeMap::new();
        let remove =
            |before| remove_lists(folder.path(), &BTreeMap::from([(client(1), before)]), &none);
        // All of it is hot.
        assert_eq!(remove(999_912).unwrap(), 0);
        let wal = folder.path().join("wal");
        let io = DiskIo::at(&wal);
        let numbers: Vec<u32> = io
            .list()
            .unwrap()
            .iter()
            .filter_map(|it| segment_number(it))
            .collect();
        for number in numbers {
            let first = first_hot(&io).unwrap()[&LogId::Client(client(1))];
            if first >= 256 {
                break;
            }
            std::fs::remove_file(wal.join(crate::wal::segment_name(number))).unwrap();
        }
        // Archived, but not old.
        assert_eq!(remove(200_001).unwrap(), 0);
        assert_eq!(remove(999_912).unwrap(), 1);
        assert_eq!(files(), ["001", "002"]);
        assert_eq!(remove(999_912).unwrap(), 0);
        // The last bundle is not full.
        std::fs::remove_dir_all(&wal).unwrap();
        std::fs::create_dir(&wal).unwrap();
        assert_eq!(remove(999_912).unwrap(), 1);
        assert_eq!(files(), ["002"]);
    }
}
