//! Starts from a snapshot: the same folds as a full replay, whatever happened to the files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use budget::Budgets;
use event::record::{Body, Change};
use event::{Digest, Role};
use proptest::prelude::*;

use super::{ALICE, MINUTE, OPERATOR, Rig, TestClock, TestSealer, actor, client, folders, numbers};
use crate::LedgerError;
use crate::core::{Core, Job, Report};
use crate::io::{DiskIo, Io};
use crate::list::ListSealer;
use crate::sim::{Crash, Fault, Sim};
use crate::snapshot::{SNAPSHOT_MS, begin, read, snapshot_name, write};
use crate::wal::Prepare;
use crate::wal::segment_name;

fn open(sim: &Sim, clock: &Arc<TestClock>, sealer: &Arc<TestSealer>) -> (Rig, Report) {
    Rig::open_in(folders(sim, true), (sim, clock, sealer)).unwrap()
}

/// A set-up ledger that takes snapshots.
fn new() -> Rig {
    let (sim, clock) = (Sim::default(), TestClock::new());
    Rig::create(&sim, &clock).unwrap();
    let (mut rig, _) = open(&sim, &clock, &Arc::default());
    rig.set_up().unwrap();
    rig.propose(numbers(500)).unwrap();
    rig
}

fn names(sim: &Sim) -> Vec<String> {
    sim.snapshots().list().unwrap()
}

fn append(rig: &mut Rig, rows: impl IntoIterator<Item = (u32, u64)>) -> usize {
    let ask = rig.batch(rows);
    rig.append(ask).unwrap().rows
}

/// A ledger with two snapshots and records after them, stopped hard.
fn with_two() -> Rig {
    let mut rig = new();
    append(&mut rig, (0..20).map(|n| (1 + (n % 3) as u32, n)));
    rig.core.snapshot_now();
    rig.clock.pass(7 * MINUTE);
    append(&mut rig, (10..40).map(|n| (1 + (n % 2) as u32, n)));
    rig.core.snapshot_now();
    rig.clock.pass(90 * MINUTE);
    append(&mut rig, (30..50).map(|n| (1 + (n % 3) as u32, n)));
    assert_eq!(names(&rig.sim).len(), 2);
    rig
}

/// Opens copies of the disk with and without its snapshots: the same folds. Gives the first.
fn same_as_full(
    sim: &Sim,
    clock: &Arc<TestClock>,
    sealer: &Arc<TestSealer>,
) -> Result<(Rig, Report), TestCaseError> {
    let (mut quick, report) = open(&sim.after(Crash::Kept), clock, sealer);
    let copy = sim.after(Crash::Kept);
    let (mut full, all) = Rig::open_in(folders(&copy, false), (&copy, clock, sealer)).unwrap();
    prop_assert_eq!(all.snapshot, None);
    prop_assert_eq!(report.records, all.records);
    prop_assert_eq!(&quick.core.state, &full.core.state);
    prop_assert_eq!(&quick.core.shapes, &full.core.shapes);
    prop_assert_eq!(quick.core.cursor(), full.core.cursor());
    prop_assert_eq!(&quick.core.numbers, &full.core.numbers);
    let minute = quick.core.now().1 / MINUTE;
    let (budgets, due) = (&quick.core.budgets, &full.core.budgets);
    prop_assert!(budgets.same_state(due, minute));
    prop_assert_eq!(budgets.entries(), due.entries());
    for later in [0, 61, 1500, 50_000] {
        let at = minute + later;
        prop_assert_eq!(
            budgets.actor_totals(OPERATOR, at),
            due.actor_totals(OPERATOR, at)
        );
    }
    // And they go on alike.
    let rows: Vec<_> = (0..600).map(|n| (1 + (n % 3) as u32, n)).collect();
    for chunk in rows.chunks(100) {
        let paid = [&mut quick, &mut full].map(|rig| {
            let ask = rig.batch(chunk.iter().copied());
            rig.append(ask)
        });
        prop_assert_eq!(&paid[0], &paid[1]);
    }
    Ok((quick, report))
}

#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<(u32, u64)>),
    Pass(u64),
    Snapshot,
    Change(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let row = (1_u32..4, 0_u64..60);
    prop_oneof![
        4 => proptest::collection::vec(row, 1..12).prop_map(Step::Rows),
        2 => (0_u64..3000).prop_map(Step::Pass),
        2 => Just(Step::Snapshot),
        1 => (0_u8..5).prop_map(Step::Change),
        1 => Just(Step::Restart),
    ]
}

fn change(rig: &mut Rig, number: u8) {
    let what = match number {
        0 => numbers(300),
        1 => actor(ALICE, "alice", Role::Approver),
        2 => super::signing_key(ALICE, 1),
        3 => Change::ClientAdded {
            client: client(9),
            code: "c9".into(),
            name: "Nine".into(),
        },
        _ => Change::Policy {
            cedar: "permit(principal, action, resource);".into(),
            masks: String::new(),
        },
    };
    // Some make no sense a second time.
    let _ = rig.propose(what);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_start_from_a_snapshot_is_a_full_replay(steps in proptest::collection::vec(step(), 1..25)) {
        let mut rig = new();
        for step in steps {
            match step {
                Step::Rows(rows) => { append(&mut rig, rows); }
                Step::Pass(minutes) => {
                    rig.clock.pass(minutes * MINUTE);
                    rig.core.tick();
                }
                Step::Snapshot => rig.core.snapshot_now(),
                Step::Change(number) => change(&mut rig, number),
                Step::Restart => {
                    rig.core.stop();
                    let Rig { core, sim, clock, sealer } = rig;
                    drop(core);
                    let (again, report) = open(&sim, &clock, &sealer);
                    prop_assert_eq!(report.snapshots_passed_over, 0);
                    prop_assert!(report.snapshot.is_some());
                    rig = again;
                }
            }
        }
        let Rig { core, sim, clock, sealer } = rig;
        drop(core);
        same_as_full(&sim, &clock, &sealer)?;
    }
}

#[test]
fn only_what_follows_the_snapshot_is_read() {
    let mut rig = new();
    for batch in 0..6_u64 {
        append(&mut rig, (0..80).map(|n| (1, batch * 1000 + n)));
    }
    rig.core.stop();
    let (sim, clock, sealer) = (rig.sim, rig.clock, rig.sealer);
    sim.alter(&segment_name(1), |bytes| bytes[200] ^= 1);
    let (_, report) = open(&sim, &clock, &sealer);
    assert!(
        report.from.segment > 1 && report.snapshot.is_some(),
        "{report:?}"
    );
    assert!(report.replayed <= 2, "{report:?}");
    let full = Rig::open_in(folders(&sim, false), (&sim, &clock, &sealer));
    assert!(matches!(
        full,
        Err(LedgerError::Corruption { segment: 1, .. })
    ));
}

#[test]
fn one_is_taken_after_ten_minutes_or_at_the_end_if_something_changed() {
    let mut rig = new();
    rig.clock.pass(SNAPSHOT_MS - 1);
    rig.core.tick();
    assert!(names(&rig.sim).is_empty());
    rig.clock.pass(1);
    rig.core.tick();
    rig.core.tick();
    assert_eq!(names(&rig.sim).len(), 1);
    rig.clock.pass(3 * SNAPSHOT_MS);
    rig.core.tick();
    assert_eq!(names(&rig.sim).len(), 1, "nothing changed");
    for subject in 0..3 {
        append(&mut rig, [(1, subject)]);
        rig.clock.pass(SNAPSHOT_MS);
        rig.core.tick();
        rig.core.tick();
        assert_eq!(names(&rig.sim).len(), 2);
    }
    append(&mut rig, [(1, 9)]);
    rig.core.stop();
    let last = names(&rig.sim).pop().unwrap();
    let bodies = super::bodies(&rig.sim);
    let recorded: Vec<_> = bodies
        .iter()
        .filter_map(|body| match body {
            Body::Snapshot { sequence, .. } => Some(snapshot_name(*sequence)),
            _ => None,
        })
        .collect();
    assert_eq!(recorded.len(), 5);
    assert_eq!(recorded.last(), Some(&last));
    let Rig {
        core,
        sim,
        clock,
        sealer,
    } = rig;
    drop(core);
    let (mut rig, _) = open(&sim, &clock, &sealer);
    rig.core.stop();
    assert_eq!(
        names(&sim).pop(),
        Some(last),
        "a start and a stop change nothing"
    );
}

#[test]
fn a_flipped_byte_costs_time_and_never_a_budget() {
    let Rig {
        core,
        sim,
        clock,
        sealer,
    } = with_two();
    drop(core);
    let names = names(&sim);
    let files = sim.snapshots();
    let lists: Arc<dyn ListSealer> = sealer.clone();
    let full = begin(&sim, None, &lists).unwrap().replay;
    let minute = full.state.times.elapsed_ms / MINUTE;
    for (place, name) in names.iter().enumerate() {
        let sequence: u64 = name.parse().unwrap();
        let due = read(&files, sequence, &*sealer).unwrap().digest;
        for at in 0..files.bytes(name).len() {
            files.alter(name, |bytes| bytes[at] ^= 0x20);
            // What the log has no record of is not believed.
            let read = read(&files, sequence, &*sealer);
            assert!(read.is_err() || read.is_ok_and(|loaded| loaded.digest != due));
            if at % 61 == 0 {
                let begun = begin(&sim, Some(&files), &lists).unwrap();
                // The newest is passed over; the older one is not looked at.
                assert_eq!(begun.passed_over.len(), place, "{name} {at}");
                let believed = names[1 - place].parse().ok();
                assert_eq!(begun.snapshot, believed, "{name} {at}");
                assert_eq!(begun.replay.state, full.state, "{name} {at}");
                let budgets = &begun.replay.budgets;
                assert!(budgets.same_state(&full.budgets, minute), "{name} {at}");
            }
            files.alter(name, |bytes| bytes[at] ^= 0x20);
        }
    }
    for at in (0..200).step_by(13) {
        let sim = sim.after(Crash::Kept);
        for name in &names {
            sim.snapshots().alter(name, |bytes| bytes[at * 2] ^= 1);
        }
        let (_, report) = same_as_full(&sim, &clock, &sealer).unwrap();
        assert_eq!((report.snapshot, report.snapshots_passed_over), (None, 2));
    }
    for cut in [0, 1, 63, 64, 69, 500] {
        let sim = sim.after(Crash::Kept);
        sim.snapshots()
            .alter(&names[1], |bytes| bytes.truncate(cut));
        let (_, report) = same_as_full(&sim, &clock, &sealer).unwrap();
        assert_eq!(report.snapshots_passed_over, 1, "cut at {cut}");
    }
    sim.snapshots().alter(&names[1], |bytes| bytes.push(0));
    let (_, report) = same_as_full(&sim, &clock, &sealer).unwrap();
    assert_eq!(report.snapshots_passed_over, 1);
}

/// Attack: a snapshot that is well made, with other budgets.
#[test]
fn an_edited_budget_is_not_believed() {
    let Rig {
        core,
        sim,
        clock,
        sealer,
    } = with_two();
    drop(core);
    let files = sim.snapshots();
    let newest: u64 = names(&sim)[1].parse().unwrap();
    let mut fold = read(&files, newest, &*sealer).unwrap().fold;
    let minute = fold.budgets.minute().into();
    assert!(fold.budgets.actor_totals(OPERATOR, minute).subjects[3] > 0);
    fold.budgets = Budgets::new(1 << 20);
    write(&files, &fold, &*sealer).unwrap();
    assert!(read(&files, newest, &*sealer).is_ok(), "it is well made");
    let (_, report) = same_as_full(&sim, &clock, &sealer).unwrap();
    assert_eq!(report.snapshots_passed_over, 1);
    // Nor an old one under the newest's name.
    let older = files.bytes(&names(&sim)[0]);
    files.alter(&snapshot_name(newest), |bytes| *bytes = older);
    let (_, report) = same_as_full(&sim, &clock, &sealer).unwrap();
    assert_eq!(report.snapshots_passed_over, 1);
}

#[test]
fn a_log_older_than_its_snapshots_is_replayed() {
    let mut rig = new();
    append(&mut rig, [(1, 1)]);
    let old = rig.sim.after(Crash::Kept);
    append(&mut rig, [(1, 2)]);
    rig.core.snapshot_now();
    let bytes = old.bytes(&segment_name(1));
    rig.sim.alter(&segment_name(1), |now| *now = bytes);
    let Rig {
        core,
        sim,
        clock,
        sealer,
    } = rig;
    drop(core);
    let (_, report) = same_as_full(&sim, &clock, &sealer).unwrap();
    assert_eq!((report.snapshot, report.snapshots_passed_over), (None, 1));
}

#[test]
fn a_crash_at_any_step_of_taking_one() {
    let base = with_two();
    let (disk, clock, sealer) = (base.sim.clone(), base.clock.clone(), base.sealer.clone());
    let take = |fault: Option<Fault>| {
        let sim = disk.after(Crash::Kept);
        let (mut rig, _) = open(&sim, &clock, &sealer);
        append(&mut rig, (100..120).map(|n| (2, n)));
        let before = sim.steps();
        if let Some(fault) = fault {
            sim.set_fault(Fault {
                step: fault.step + before,
                ..fault
            });
        }
        rig.core.snapshot_now();
        let steps = sim.steps() - before;
        drop(rig);
        (sim, steps)
    };
    let (_, steps) = take(None);
    assert!(steps >= 8, "{steps} steps");
    for step in 0..steps {
        for persisted in [false, true] {
            let (sim, _) = take(Some(Fault { step, persisted }));
            for crash in [Crash::Lost, Crash::Kept, Crash::Torn(step)] {
                let left = sim.after(crash);
                let (mut rig, report) = same_as_full(&left, &clock, &sealer).unwrap();
                assert!(report.snapshot.is_some(), "step {step}: {report:?}");
                rig.core.snapshot_now();
                let names = names(&rig.sim);
                assert_eq!(
                    names.len(),
                    2,
                    "step {step}: what was left is removed: {names:?}"
                );
            }
        }
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_stops_nothing() {
    let mut rig = new();
    rig.sealer.destroyed.store(0, Ordering::Relaxed);
    rig.sim.set_full(true);
    append(&mut rig, [(1, 1)]);
    rig.core.snapshot_now();
    assert!(names(&rig.sim).is_empty());
    append(&mut rig, [(1, 2)]);
    rig.sim.set_full(false);
    rig.core.snapshot_now();
    assert_eq!(names(&rig.sim).len(), 1);
}

#[test]
fn a_destroyed_client_keeps_its_counts_and_loses_its_fingerprints() {
    let mut rig = new();
    append(&mut rig, (0..10).map(|n| (1, n)));
    append(&mut rig, (100..105).map(|n| (2, n)));
    rig.core.snapshot_now();
    let file = rig.sim.snapshots().bytes(&names(&rig.sim)[0]);
    for subject in 1_000_005_u64..1_000_010 {
        let key = subject.to_le_bytes();
        assert!(!file.windows(8).any(|window| window == key), "in clear");
    }
    let minute = rig.core.now().1 / MINUTE;
    let before = rig.core.budgets.clone();
    let Rig {
        core,
        sim,
        clock,
        sealer,
    } = rig;
    drop(core);
    sealer.destroyed.store(1, Ordering::Relaxed);
    for _ in 0..2 {
        let (mut rig, report) = open(&sim, &clock, &sealer);
        assert!(report.snapshot.is_some());
        for of in 1..=2 {
            assert_eq!(
                rig.core.budgets.totals(OPERATOR, client(of), minute),
                before.totals(OPERATOR, client(of), minute),
            );
        }
        // Client 2's are known; nothing of client 1 is.
        assert_eq!(append(&mut rig, [(2, 100)]), 1);
        let charged = rig.core.budgets.totals(OPERATOR, client(2), minute);
        assert_eq!(charged.subjects[3], 5);
        let again = super::charge(1, 0);
        let kind = budget::SetKind::Clear(again.class);
        let mut strict = rig.core.budgets.clone();
        let effects = strict
            .replay(
                minute,
                OPERATOR,
                client(1),
                [(kind, again.fingerprint.0, 1)],
            )
            .unwrap();
        assert_eq!(effects.subjects.newly_distinct, 1);
        // The next snapshot is taken without its keys.
        rig.core.snapshot_now();
    }
}

#[test]
fn hostile_bytes_are_an_error() {
    let rig = with_two();
    let files = rig.sim.snapshots();
    let newest: u64 = names(&rig.sim)[1].parse().unwrap();
    let good = files.bytes(&snapshot_name(newest));
    for at in 0..good.len() {
        for value in [0, 0xff] {
            files.alter(&snapshot_name(newest), |bytes| bytes[at] = value);
            // An error, or another content with another digest.
            let read = read(&files, newest, &*rig.sealer);
            if let Ok(loaded) = read {
                let budgets = &loaded.fold.budgets;
                let _ = budgets.actor_totals(OPERATOR, 1 << 33);
            }
            files.alter(&snapshot_name(newest), |bytes| bytes[at] = good[at]);
        }
    }
    assert_ne!(
        read(&files, newest, &*rig.sealer).unwrap().digest,
        Digest([0; 32])
    );
}

/// Start times after many batches, as many as budgets pay for: `LEDGER_RECORDS` (default 2,000,000) in a folder below
/// `LEDGER_FOLDER` (default: the temporary one).
#[test]
#[ignore = "writes about a gigabyte"]
fn start_times() {
    let records: u64 = std::env::var("LEDGER_RECORDS").map_or(2_000_000, |n| n.parse().unwrap());
    let parent = std::env::var_os("LEDGER_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(parent).unwrap();
    let wal: Arc<dyn Io> = Arc::new(DiskIo::new(&folder.path().join("wal")).unwrap());
    let files: Arc<dyn Io> = Arc::new(DiskIo::new(&folder.path().join("snapshots")).unwrap());
    let (clock, sealer) = (TestClock::new(), Arc::new(TestSealer::default()));
    let opened = |snapshots: bool| {
        let folders = crate::Folders {
            wal: Arc::clone(&wal),
            snapshots: snapshots.then(|| Arc::clone(&files)),
            archive: None,
        };
        let options = crate::Options {
            on_fatal: Arc::new(|fatal| panic!("{fatal}")),
            ..crate::Options::default()
        };
        let begun = std::time::Instant::now();
        let (sealer, clock) = (Arc::clone(&sealer) as _, Arc::clone(&clock) as _);
        let (core, report) = Core::open(folders, Prepare::Ahead, sealer, clock, options).unwrap();
        (core, report, begun.elapsed())
    };
    let folders = crate::Folders {
        wal: Arc::clone(&wal),
        snapshots: None,
        archive: None,
    };
    let options = crate::Options::default();
    Core::create(&folders, Prepare::Ahead, &*clock, &options, "C", [7; 16]).unwrap();
    let mut rig = Rig {
        core: opened(true).0,
        sim: Sim::default(),
        clock: Arc::clone(&clock),
        sealer: Arc::clone(&sealer),
    };
    rig.set_up().unwrap();
    rig.propose(numbers(1 << 40)).unwrap();
    let begun = std::time::Instant::now();
    let mut longest = std::time::Duration::ZERO;
    for commit in 0..records / 1000 {
        let one = std::time::Instant::now();
        for n in 0..1000 {
            // Half of them were seen before.
            let subject = (commit * 1000 + n) % (records / 2).max(1);
            let ask = Arc::new(rig.batch([(1 + (n % 3) as u32, subject)]));
            rig.core
                .take(Job::Append(ask, tokio::sync::oneshot::channel().0));
        }
        rig.core.flush().unwrap();
        rig.core.housekeep();
        clock.pass(1000);
        longest = longest.max(one.elapsed());
    }
    eprintln!(
        "{records} batches in {:.1?}, the longest commit of 1000 with its snapshot {longest:.1?}",
        begun.elapsed()
    );
    let stop = std::time::Instant::now();
    rig.core.stop();
    eprintln!("stop with its snapshot {:.1?}", stop.elapsed());
    drop(rig);
    for name in files.list().unwrap() {
        let bytes = std::fs::metadata(folder.path().join("snapshots").join(&name)).unwrap();
        eprintln!("snapshot {name}: {} bytes", bytes.len());
    }
    let segments = wal.list().unwrap().len();
    let (core, report, took) = opened(true);
    eprintln!("start from a snapshot {took:.1?}: {report:?}, {segments} segments");
    assert!(report.snapshot.is_some());
    drop(core);
    let (_, report, took) = opened(false);
    eprintln!("start with a full replay {took:.1?}: {report:?}");
}
