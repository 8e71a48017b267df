//! Invariant 1 at the ledger: what was released is in the ledger, whatever step the crash hits.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Rig, TestClock, bodies, entries, recorded};
use crate::LedgerError;
use crate::sim::{Crash, Fault, Sim};

/// Makes a ledger and releases rows until something fails; gives what was released. Goes through
/// several segments and a restart.
fn work(sim: &Sim) -> BTreeSet<u64> {
    let mut released = BTreeSet::new();
    let clock = TestClock::new();
    if Rig::create(sim, &clock).is_err() {
        return released;
    }
    for run in 0..2 {
        let Ok((mut rig, _)) = Rig::open(sim, &clock) else {
            return released;
        };
        if run == 0 && rig.set_up().is_err() {
            return released;
        }
        if run == 0 && rig.propose(super::numbers(100_000)).is_err() {
            return released;
        }
        for batch in 0..5 {
            let first = run * 10_000 + batch * 1_000;
            // About 5 KiB a batch over two clients: a segment takes two or three.
            let rows: Vec<_> = (first..first + 200)
                .map(|n| (1 + (n % 2) as u32, n))
                .collect();
            let ask = rig.batch(rows.clone());
            match rig.append(ask) {
                Ok(paid) => released.extend(rows[..paid.rows].iter().map(|(_, n)| n)),
                Err(_) => return released,
            }
            clock.pass(1500);
            rig.core.tick();
        }
        rig.core.stop();
    }
    released
}

/// Opens what a crash left, twice; gives what the ledger says was released.
fn recover(sim: &Sim) -> BTreeSet<u64> {
    let clock = TestClock::new();
    let mut rig = match Rig::open(sim, &clock) {
        Ok((rig, _)) => rig,
        // The genesis was never acknowledged.
        Err(LedgerError::Missing) => return BTreeSet::new(),
        Err(error) => panic!("does not recover: {error}"),
    };
    rig.core.stop();
    drop(rig);
    let first = entries(sim);
    let (rig, _) = Rig::open(sim, &clock).unwrap();
    drop(rig);
    let again = entries(sim);
    assert_eq!(
        again[..first.len()],
        first,
        "recovering twice gives the same frames"
    );
    recorded(sim)
}

/// What was released and is not in the ledger after this fault and crash.
fn missing(sim: &Sim, crash: Crash) -> Vec<u64> {
    let released = work(sim);
    let after = sim.after(crash);
    let recorded = recover(&after);
    released.difference(&recorded).copied().collect()
}

/// Each step of the whole work, failed with and without effect, before one kind of crash.
fn at_any_step(crash: impl Fn(u64) -> Crash) {
    let calm = Sim::default();
    let all = work(&calm);
    assert_eq!(all.len(), 2000);
    let steps = calm.steps();
    assert!(steps > 60, "{steps} steps");
    for step in 0..steps {
        for persisted in [false, true] {
            let sim = Sim::with_fault(Fault { step, persisted });
            let missing = missing(&sim, crash(step));
            assert!(
                missing.is_empty(),
                "step {step}, persisted {persisted}: {missing:?}"
            );
        }
    }
}

#[test]
fn what_was_released_is_recorded_when_all_that_was_not_synced_is_lost() {
    at_any_step(|_| Crash::Lost);
}

#[test]
fn what_was_released_is_recorded_when_the_process_alone_is_killed() {
    at_any_step(|_| Crash::Kept);
}

#[test]
fn what_was_released_is_recorded_when_sectors_and_names_are_torn() {
    at_any_step(Crash::Torn);
}

/// After a failed sync the page cache shows what the disk may not have: what a new process takes
/// from there is on disk before anyone sees it.
#[test]
fn what_a_restart_shows_survives_a_later_crash() {
    let calm = Sim::default();
    work(&calm);
    for step in 0..calm.steps() {
        let sim = Sim::with_fault(Fault {
            step,
            persisted: false,
        });
        let released = work(&sim);
        let sim = sim.restarted();
        let recorded = recover(&sim);
        assert!(released.is_subset(&recorded), "at step {step}");
        let after = recover(&sim.after(Crash::Lost));
        assert_eq!(after, recorded, "at step {step}");
    }
}

#[test]
fn a_creation_that_was_cut_short_can_be_done_again() {
    let calm = Sim::default();
    let clock = TestClock::new();
    Rig::create(&calm, &clock).unwrap();
    for step in 0..calm.steps() {
        for persisted in [false, true] {
            for crash in [Crash::Lost, Crash::Kept, Crash::Torn(step)] {
                let sim = Sim::with_fault(Fault { step, persisted });
                assert!(Rig::create(&sim, &clock).is_err());
                let sim = sim.after(crash);
                match Rig::create(&sim, &clock) {
                    Ok(()) | Err(LedgerError::Exists) => {}
                    Err(error) => panic!("{error}"),
                }
                let (mut rig, _) = Rig::open(&sim, &clock).unwrap();
                rig.set_up().unwrap();
            }
        }
    }
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_seen_by_these_tests() {
    let sim = Sim::default();
    sim.lie();
    // The names were never durable: nothing is left at all.
    assert_eq!(missing(&sim, Crash::Lost).len(), 2000);
}

#[test]
fn a_crash_while_recovering_loses_nothing() {
    let sim = Sim::default();
    let released = work(&sim);
    let calm = sim.after(Crash::Lost);
    recover(&calm);
    for step in 0..calm.steps() {
        let sim = sim.after(Crash::Lost);
        sim.set_fault(Fault {
            step,
            persisted: step % 2 == 0,
        });
        let clock = TestClock::new();
        let _ = Rig::open(&sim, &clock);
        let after = sim.after(Crash::Torn(step));
        assert_eq!(recover(&after), released, "at step {step}");
    }
}

#[test]
fn what_recovery_cuts_is_counted_in_the_record_of_the_start() {
    let sim = Sim::default();
    let clock = TestClock::new();
    Rig::create(&sim, &clock).unwrap();
    let (mut rig, _) = Rig::open(&sim, &clock).unwrap();
    rig.set_up().unwrap();
    // The write of the next commit is torn.
    sim.set_fault(Fault {
        step: sim.steps(),
        persisted: false,
    });
    let ask = rig.batch([(1, 1), (1, 2)]);
    assert!(rig.append(ask).is_err());
    let after = sim.after(Crash::Kept);
    let (_, report) = Rig::open(&after, &clock).unwrap();
    assert!(report.tail_cut > 0);
    let starts: Vec<u64> = bodies(&after)
        .iter()
        .filter_map(|body| match body {
            event::record::Body::Started { tail_cut, .. } => Some(*tail_cut),
            _ => None,
        })
        .collect();
    // The last start is shown when a frame after it tells that it is durable.
    assert_eq!(starts, [0]);
    let (mut rig, _) = Rig::open(&after, &clock).unwrap();
    rig.core.stop();
    assert!(bodies(&after).iter().any(|body| matches!(
        body,
        event::record::Body::Started { tail_cut, .. } if *tail_cut == report.tail_cut
    )));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn torn_in_any_way(step in 0_u64..90, persisted: bool, seed: u64) {
        let sim = Sim::with_fault(Fault { step, persisted });
        prop_assert_eq!(missing(&sim, Crash::Torn(seed)), Vec::<u64>::new());
    }
}
