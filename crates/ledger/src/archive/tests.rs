//! Segments that move to the archive: nothing is lost on the way, and everything reads as before.

use std::sync::{Arc, Mutex};

use super::*;
use crate::Reader;
use crate::core::{Core, Report};
use crate::frame::Mark;
use crate::logs::Publisher;
use crate::logs::tests::{GENERATION, MemoryStore, SALT, keys, lasting};
use crate::reader::Entry;
use crate::recorder::{Folders, Options};
use crate::sim::{Crash, Fault, Sim};
use crate::tests::{MINUTE, OPERATOR, Rig, TestClock, TestSealer, numbers, options};
use crate::wal::Prepare;

/// A ledger on the simulated disk, with its logs and its archive.
struct Hall {
    rig: Rig,
    store: MemoryStore,
    publisher: Publisher,
    said: Arc<Mutex<Vec<String>>>,
}

fn archive(sim: &Sim, store: &MemoryStore) -> Archive {
    Archive {
        files: Arc::new(sim.archive()),
        lists: Arc::new(store.clone()),
    }
}

fn segments(sim: &Sim, lists: Option<&MemoryStore>) -> Arc<dyn Io> {
    let lists = lists.map(|store| Arc::new(store.clone()) as _);
    Arc::new(Segments::over(
        Arc::new(sim.clone()),
        Arc::new(sim.archive()),
        lists,
    ))
}

/// All that a reader is shown.
fn entries(sim: &Sim, lists: Option<&MemoryStore>) -> Result<Vec<Entry>, LedgerError> {
    let mut reader = Reader::over(segments(sim, lists))?;
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        all.push(entry);
    }
    Ok(all)
}

impl Hall {
    fn new() -> Self {
        let (sim, clock) = (Sim::default(), TestClock::new());
        Rig::create(&sim, &clock).unwrap();
        let store = MemoryStore::new();
        let (mut hall, _) = Self::open(&sim, &store, &clock, true).unwrap();
        hall.rig.set_up().unwrap();
        hall.rig.propose(numbers(100_000)).unwrap();
        hall
    }

    fn open(
        sim: &Sim,
        store: &MemoryStore,
        clock: &Arc<TestClock>,
        with_snapshots: bool,
    ) -> Result<(Self, Report), LedgerError> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&said);
        let options = Options {
            say: Arc::new(move |line| hears.lock().unwrap().push(line.to_owned())),
            ..options()
        };
        let folders = Folders {
            wal: Arc::new(sim.clone()),
            snapshots: with_snapshots.then(|| Arc::new(sim.snapshots()) as _),
            archive: Some(archive(sim, store)),
        };
        let sealer: Arc<TestSealer> = Arc::default();
        let (core, report) = Core::open(
            folders,
            Prepare::Inline,
            Arc::clone(&sealer) as _,
            Arc::clone(clock) as _,
            options,
        )?;
        let hall = Self {
            rig: Rig {
                core,
                sim: sim.clone(),
                clock: Arc::clone(clock),
                sealer,
            },
            store: store.clone(),
            publisher: Self::publisher(sim, store),
            said,
        };
        Ok((hall, report))
    }

    fn publisher(sim: &Sim, store: &MemoryStore) -> Publisher {
        let io = segments(sim, None);
        Publisher::open(io, Arc::new(store.clone()), [7; 16], &SALT)
    }

    /// Opens what the crash left, with another disk for the archive's lists to stand on.
    fn after(&self, crash: Crash) -> (Sim, MemoryStore) {
        let store = MemoryStore::new();
        store.lose(&self.store.files());
        (self.rig.sim.after(crash), store)
    }

    /// Releases some rows, and publishes what is durable.
    fn work(&mut self, batches: std::ops::Range<u64>) {
        for batch in batches {
            let rows = (0..60).map(|row| (1 + (row % 3) as u32, batch * 42 + row));
            let ask = self.rig.batch(rows.collect::<Vec<_>>());
            self.rig.append(ask).unwrap();
            self.rig.clock.pass(1_500);
            self.rig.core.tick();
            if batch % 4 == 3 {
                self.rig.core.snapshot_now();
            }
            self.publish();
        }
    }

    fn publish(&mut self) {
        let durable = *self.rig.core.shared().durable_now();
        self.publisher
            .advance(durable, &GENERATION, &keys())
            .unwrap();
        self.publisher.save().unwrap();
        self.rig.core.shared().set_derived(self.publisher.derived());
    }

    /// What is due is archived, or fails.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.rig.clock.pass(1_500);
            self.rig.core.tick();
        }
    }

    fn archived(&self) -> u32 {
        let archived = self.rig.core.state.archived;
        archived.map_or(0, |last| last.segment)
    }

    fn hot(&self) -> Vec<u32> {
        hot(&self.rig.sim)
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

fn hot(sim: &Sim) -> Vec<u32> {
    let names = sim.list().unwrap();
    names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect()
}

/// One that has archived some segments.
fn with_archive() -> Hall {
    let mut hall = Hall::new();
    hall.work(0..40);
    hall.settle();
    assert!(hall.archived() >= 4, "{}", hall.archived());
    assert_eq!(hall.hot()[0], hall.archived() + 1);
    assert!(hall.hot().len() >= 3, "{:?}", hall.hot());
    hall
}

#[test]
fn what_was_archived_reads_as_before() {
    let mut hall = Hall::new();
    let mut reader = Reader::over(segments(&hall.rig.sim, Some(&hall.store))).unwrap();
    let mut followed = Vec::new();
    for batch in 0..40 {
        hall.work(batch..batch + 1);
        // This reader sees every segment before it moves.
        followed.extend(std::iter::from_fn(|| reader.next_entry().unwrap()));
    }
    hall.settle();
    assert!(hall.archived() >= 4);
    followed.extend(std::iter::from_fn(|| reader.next_entry().unwrap()));
    let now = entries(&hall.rig.sim, Some(&hall.store)).unwrap();
    assert!(now == followed, "with the lists, byte for byte");
    let without = entries(&hall.rig.sim, None).unwrap();
    assert_eq!(without.len(), followed.len());
    let mut left_out = 0;
    for (is, was) in without.iter().zip(&followed) {
        left_out += usize::from(is.attachment != was.attachment);
        assert!(is.attachment.is_empty() || is.attachment == was.attachment);
        let attachment = was.attachment.clone();
        assert!(
            Entry {
                attachment,
                ..is.clone()
            } == *was
        );
    }
    assert!(left_out > 10);
    let bytes: usize = hall
        .rig
        .sim
        .archive()
        .list()
        .unwrap()
        .iter()
        .map(|name| hall.rig.sim.archive().bytes(name).len())
        .sum();
    let was = hall.archived() as usize * (16 << 10);
    assert!(bytes * 3 < was, "{bytes} of {was} bytes");
}

#[test]
fn a_full_replay_of_the_archive_gives_the_same_folds() {
    let hall = with_archive();
    let (sim, store) = hall.after(Crash::Kept);
    let (quick, report) = Hall::open(&sim, &store, &hall.rig.clock, true).unwrap();
    assert!(report.snapshot.is_some() && report.from.segment > hall.archived());
    let (sim, store) = hall.after(Crash::Kept);
    let (full, report) = Hall::open(&sim, &store, &hall.rig.clock, false).unwrap();
    assert_eq!((report.snapshot, report.lists_destroyed), (None, 0));
    assert_eq!(quick.rig.core.state, full.rig.core.state);
    assert_eq!(quick.rig.core.cursor(), full.rig.core.cursor());
    let minute = report.records.max(1) + 10;
    assert!(
        quick
            .rig
            .core
            .budgets
            .same_state(&full.rig.core.budgets, minute)
    );
}

#[test]
fn destroyed_lists_count_by_their_effects_and_never_less() {
    let hall = with_archive();
    let (sim, store) = hall.after(Crash::Kept);
    let (mut quick, _) = Hall::open(&sim, &store, &hall.rig.clock, true).unwrap();
    let (sim, _) = hall.after(Crash::Kept);
    let without = MemoryStore::new();
    let (full, report) = Hall::open(&sim, &without, &hall.rig.clock, false).unwrap();
    assert!(report.lists_destroyed > 10);
    assert_eq!(quick.rig.core.state, full.rig.core.state);
    let minute = quick.rig.core.now().1 / MINUTE;
    let (due, strict) = (
        quick.rig.core.budgets.actor_totals(OPERATOR, minute),
        full.rig.core.budgets.actor_totals(OPERATOR, minute),
    );
    let (due, strict) = (format!("{due:?}"), format!("{strict:?}"));
    let digits = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect()
    };
    let (due, strict) = (digits(&due), digits(&strict));
    assert_eq!(due.len(), strict.len());
    assert!(
        due.iter().zip(&strict).all(|(due, strict)| due <= strict),
        "{due:?} {strict:?}"
    );
    assert!(due != strict, "subjects that were seen before count again");
}

#[test]
fn the_logs_are_derived_again_from_the_archive() {
    let hall = with_archive();
    let whole = lasting(&hall.store.files());
    let is_list = |path: &str| path.contains("/lists/");
    // Everything is cut but the lists.
    let mut cut = whole.clone();
    for (path, bytes) in &mut cut {
        if !is_list(path) {
            bytes.truncate(bytes.len() / 2);
        }
    }
    let durable = *hall.rig.core.shared().durable_now();
    let derived = |files: &BTreeMap<String, Vec<u8>>| {
        let store = MemoryStore::new();
        store.lose(files);
        let mut publisher = Hall::publisher(&hall.rig.sim, &store);
        publisher.advance(durable, &GENERATION, &keys()).unwrap();
        lasting(&store.files())
    };
    let now = hall.store.files();
    let mut newest = Hall::publisher(&hall.rig.sim, &hall.store);
    newest.advance(durable, &GENERATION, &keys()).unwrap();
    let whole_now = lasting(&hall.store.files());
    assert!(!whole_now.is_empty() && now.len() > 10);
    assert!(derived(&cut) == whole_now, "the same bytes");
    // Without the lists: those of archived segments are lost, and the rest stands where it stood.
    cut.retain(|path, _| !is_list(path));
    let without = derived(&cut);
    let mut lost = 0;
    for (path, bytes) in &whole_now {
        let is = &without[path];
        assert!(is_list(path) || is == bytes, "{path}");
        assert_eq!(is.len(), bytes.len(), "{path}");
        lost += usize::from(is != bytes);
    }
    assert!(lost > 0);
}

/// The state of disk and lists right before the first segment is due, and what its log says.
struct Ready {
    hall: Hall,
    before: Vec<Entry>,
    derived: Mark,
}

fn ready() -> Ready {
    let mut hall = Hall::new();
    // Nothing is archived: there is but one snapshot at a time.
    for batch in 0..20 {
        let rows = (0..60).map(|row| (1 + (row % 3) as u32, batch * 42 + row));
        let ask = hall.rig.batch(rows.collect::<Vec<_>>());
        hall.rig.append(ask).unwrap();
        hall.rig.clock.pass(1_500);
        hall.rig.core.tick();
    }
    let mut derived = Mark::default();
    for _ in 0..2 {
        let durable = *hall.rig.core.shared().durable_now();
        hall.publisher
            .advance(durable, &GENERATION, &keys())
            .unwrap();
        hall.publisher.save().unwrap();
        derived = hall.publisher.derived();
        hall.rig.clock.pass(7 * MINUTE);
        hall.rig.core.tick();
        let ask = hall.rig.batch([(1, 1)]);
        hall.rig.append(ask).unwrap();
        hall.rig.core.snapshot_now();
        hall.rig.clock.pass(1_500);
        hall.rig.core.tick();
    }
    assert_eq!(hall.archived(), 0);
    assert!(derived.segment > 4, "{derived:?}");
    let before = entries(&hall.rig.sim, Some(&hall.store)).unwrap();
    Ready {
        hall,
        before,
        derived,
    }
}

impl Ready {
    /// Opens a copy of the disk and archives what is due, until `fault`.
    fn run(&self, fault: Option<Fault>) -> (Sim, MemoryStore, u64) {
        let (sim, store) = self.hall.after(Crash::Kept);
        if let Some(fault) = fault {
            sim.set_fault(fault);
        }
        if let Ok((mut hall, _)) = Hall::open(&sim, &store, &self.hall.rig.clock, true) {
            hall.rig.core.shared().set_derived(self.derived);
            hall.settle();
        }
        let steps = sim.steps();
        (sim, store, steps)
    }

    /// What is left works, is whole, and is archived in the end.
    fn finishes(&self, sim: &Sim, store: &MemoryStore, what: &str) {
        let opened = Hall::open(sim, store, &self.hall.rig.clock, true);
        let (mut hall, _) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        hall.rig.core.shared().set_derived(self.derived);
        hall.settle();
        assert!(hall.archived() >= 2, "{what}: {:?}", hall.said());
        assert_eq!(hall.hot()[0], hall.archived() + 1, "{what}");
        assert!(hall.said().is_empty(), "{what}: {:?}", hall.said());
        let now = entries(sim, Some(store)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(now.starts_with(&self.before), "{what}");
        let temporary = |name: &String| name.ends_with(".new");
        assert!(
            !sim.archive().list().unwrap().iter().any(temporary),
            "{what}"
        );
    }
}

#[test]
fn a_crash_at_any_step_is_finished_by_the_next_start() {
    let ready = ready();
    let (_, _, steps) = ready.run(None);
    let (sim, store, _) = ready.run(None);
    ready.finishes(&sim, &store, "no fault");
    assert!(steps > 30);
    for step in 0..steps {
        for (persisted, crash) in [
            (false, Crash::Lost),
            (true, Crash::Kept),
            (true, Crash::Lost),
            (step % 2 == 0, Crash::Torn(step)),
        ] {
            let (sim, store, _) = ready.run(Some(Fault { step, persisted }));
            let what = format!("step {step} of {steps}, {persisted}, {crash:?}");
            ready.finishes(&sim.after(crash), &store, &what);
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_said_once() {
    let ready = ready();
    let mut refused = 0;
    for space in 0..9 {
        let (sim, store) = ready.hall.after(Crash::Kept);
        let (mut hall, _) = Hall::open(&sim, &store, &ready.hall.rig.clock, true).unwrap();
        hall.rig.core.shared().set_derived(ready.derived);
        sim.set_space(Some(space));
        for _ in 0..200 {
            hall.rig.clock.pass(1_500);
            hall.rig.core.tick();
        }
        if hall.archived() == 0 {
            refused += 1;
            let said = hall.said();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].contains("segment 1 cannot write 0000000001.zst"),
                "{said:?}"
            );
            let now = entries(&sim, Some(&store)).unwrap();
            assert!(now.starts_with(&ready.before));
        }
        sim.set_space(None);
        for _ in 0..200 {
            hall.rig.clock.pass(1_500);
            hall.rig.core.tick();
        }
        assert!(hall.archived() >= 2);
        assert_eq!(hall.hot()[0], hall.archived() + 1);
        let now = entries(&sim, Some(&store)).unwrap();
        assert!(now.starts_with(&ready.before));
    }
    assert!(refused >= 3, "{refused}");
}

#[test]
fn what_is_not_beside_the_logs_keeps_its_segment() {
    let ready = ready();
    let (sim, _) = ready.hall.after(Crash::Kept);
    let nothing = MemoryStore::new();
    let (mut hall, _) = Hall::open(&sim, &nothing, &ready.hall.rig.clock, true).unwrap();
    hall.rig.core.shared().set_derived(ready.derived);
    hall.settle();
    assert_eq!(hall.archived(), 0);
    assert!(
        hall.said()[0].contains("does not stand beside that log"),
        "{:?}",
        hall.said()
    );
    assert_eq!(hot(&sim)[0], 1);
}

/// A crash after the record and before the removal, and then the lists beside the logs are lost: the
/// next start does not remove the segment, which has the only ones that are left.
#[test]
fn a_segment_that_is_leaving_stays_while_its_lists_are_not_beside_the_logs() {
    let ready = ready();
    let (_, _, steps) = ready.run(None);
    let mut found = 0;
    for step in 0..steps {
        let fault = Fault {
            step,
            persisted: true,
        };
        let (sim, store, _) = ready.run(Some(fault));
        let sim = sim.after(Crash::Kept);
        let open = |lists: &MemoryStore| {
            let (hall, _) = Hall::open(&sim, lists, &ready.hall.rig.clock, true).unwrap();
            hall.rig.core.shared().set_derived(ready.derived);
            hall
        };
        let nothing = MemoryStore::new();
        let mut hall = open(&nothing);
        let leaving = hall.archived();
        if leaving == 0 || hot(&sim)[0] != leaving {
            continue;
        }
        found += 1;
        hall.settle();
        assert_eq!(hot(&sim)[0], leaving, "step {step}");
        let said = hall.said();
        assert!(
            said[0].contains("does not stand beside that log"),
            "{said:?}"
        );
        drop(hall);
        let mut hall = open(&store);
        hall.settle();
        assert!(hot(&sim)[0] > leaving, "step {step}: {:?}", hall.said());
    }
    assert!(found > 0);
}

#[test]
fn nothing_is_archived_before_its_time() {
    let ready = ready();
    let at = |segment| Mark {
        segment,
        offset: 64,
    };
    // The publisher is not beyond it.
    let (sim, store) = ready.hall.after(Crash::Kept);
    let (mut hall, _) = Hall::open(&sim, &store, &ready.hall.rig.clock, true).unwrap();
    hall.rig.core.shared().set_derived(at(2));
    hall.settle();
    assert_eq!((hall.archived(), hall.hot()[0]), (1, 2));
    // No snapshot is.
    let (sim, store) = ready.hall.after(Crash::Kept);
    for name in sim.snapshots().list().unwrap() {
        sim.snapshots().remove(&name).unwrap();
    }
    let (mut hall, _) = Hall::open(&sim, &store, &ready.hall.rig.clock, true).unwrap();
    hall.rig.core.shared().set_derived(ready.derived);
    hall.settle();
    assert_eq!((hall.archived(), hall.hot()[0]), (0, 1));
    // A snapshot that does not read back as it was recorded.
    let (sim, store) = ready.hall.after(Crash::Kept);
    let (mut hall, _) = Hall::open(&sim, &store, &ready.hall.rig.clock, true).unwrap();
    let name = sim.snapshots().list().unwrap().pop().unwrap();
    sim.snapshots().alter(&name, |bytes| bytes[100] ^= 1);
    hall.rig.core.shared().set_derived(ready.derived);
    hall.settle();
    assert_eq!((hall.archived(), hall.hot()[0]), (0, 1));
    assert!(
        hall.said()[0].contains("does not read back"),
        "{:?}",
        hall.said()
    );
}

#[test]
fn a_missing_or_changed_archive_is_named() {
    let hall = with_archive();
    type Spoil = fn(&Sim);
    let spoils: [(Spoil, &str); 4] = [
        (
            |sim| sim.archive().remove("0000000002.zst").unwrap(),
            "segment 2",
        ),
        (
            |sim| {
                sim.archive()
                    .alter("0000000002.zst", |bytes| bytes.truncate(bytes.len() / 2))
            },
            "0000000002.zst is cut or was changed",
        ),
        (
            |sim| {
                sim.archive().alter("0000000002.zst", |bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                });
            },
            "0000000002.zst is cut or was changed",
        ),
        // The same content, but not the file that was recorded.
        (
            |sim| {
                sim.archive().alter("0000000002.zst", |bytes| {
                    let content = decompress(bytes, 2).unwrap();
                    *bytes = zstd::stream::encode_all(&content[..], 1).unwrap();
                });
            },
            "0000000002.zst is not the one that record",
        ),
    ];
    for (spoil, due) in spoils {
        let (sim, store) = hall.after(Crash::Kept);
        spoil(&sim);
        let error = entries(&sim, Some(&store)).unwrap_err().to_string();
        assert!(error.contains(due), "{error}");
        // Derived from nothing: refused.
        let (fresh, durable) = (MemoryStore::new(), *hall.rig.core.shared().durable_now());
        let error = Hall::publisher(&sim, &fresh).advance(durable, &GENERATION, &keys());
        assert!(error.is_err());
        // A start from a snapshot goes on, and says what is missing.
        let (opened, report) = Hall::open(&sim, &store, &hall.rig.clock, true).unwrap();
        assert!(report.snapshot.is_some());
        if due == "segment 2" {
            assert!(opened.said()[0].contains("1 archived segments are missing, the first is 2"));
        }
        drop(opened);
        // Without one it is refused.
        let (sim, store) = hall.after(Crash::Kept);
        spoil(&sim);
        let error = Hall::open(&sim, &store, &hall.rig.clock, false)
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains(due), "{error}");
    }
}

#[test]
fn each_archive_is_compared_with_its_record() {
    let hall = with_archive();
    let verified = |sim: &Sim| {
        let mut seen = 0;
        let done = survey::verify_in(sim, &sim.archive(), &mut |_| seen += 1).unwrap();
        (done, seen)
    };
    let (done, seen) = verified(&hall.rig.sim);
    assert_eq!(
        (done.sound, seen),
        (u64::from(hall.archived()), hall.archived())
    );
    assert!(done.bytes > 1000 && done.problems.is_empty(), "{done:?}");
    let spoiled = |spoil: &dyn Fn(&Sim)| {
        let (sim, _) = hall.after(Crash::Kept);
        spoil(&sim);
        verified(&sim).0.problems
    };
    let missing = spoiled(&|sim| sim.archive().remove("0000000001.zst").unwrap());
    assert_eq!(missing, [(1, "0000000001.zst is missing".to_owned())]);
    let other = spoiled(&|sim| {
        sim.archive().alter("0000000003.zst", |bytes| {
            let content = decompress(bytes, 3).unwrap();
            *bytes = zstd::stream::encode_all(&content[..], 1).unwrap();
        });
    });
    let due = "0000000003.zst is not the file that was archived".to_owned();
    assert_eq!(other, [(3, due)]);
    let cut = spoiled(&|sim| {
        sim.archive()
            .alter("0000000002.zst", |bytes| bytes.truncate(40))
    });
    assert!(
        cut.len() == 1 && cut[0].1.contains("is cut or was changed"),
        "{cut:?}"
    );
    let neither = spoiled(&|sim| {
        sim.remove(&segment_name(hall.archived() + 1)).unwrap();
    });
    let due = format!(
        "{} is missing, and not archived",
        segment_name(hall.archived() + 1)
    );
    assert!(neither.iter().any(|(_, what)| *what == due), "{neither:?}");
}

#[test]
fn a_hot_segment_that_was_not_archived_may_not_be_missing() {
    let hall = with_archive();
    let (sim, store) = hall.after(Crash::Kept);
    sim.remove(&segment_name(hall.archived() + 1)).unwrap();
    let error = Hall::open(&sim, &store, &hall.rig.clock, true)
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("is missing"), "{error}");
}

#[test]
fn a_new_ledger_is_not_made_beside_an_archive() {
    let hall = with_archive();
    let (sim, store) = hall.after(Crash::Kept);
    for number in hot(&sim) {
        sim.remove(&segment_name(number)).unwrap();
    }
    let folders = Folders {
        wal: Arc::new(sim.clone()),
        snapshots: None,
        archive: Some(archive(&sim, &store)),
    };
    let clock = TestClock::new();
    let made = Core::create(&folders, Prepare::Inline, &*clock, &options(), "C", [8; 16]);
    assert!(matches!(made, Err(LedgerError::Exists)));
}
