//! What a batch costs, what its record says, and what a restart keeps of it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use budget::{Kind, SetKind};
use event::record::{Body, Change, Grant, GrantKind};
use event::{Class, GrantId, Outcome};
use proptest::prelude::*;

use super::{MINUTE, OPERATOR, Rig, bodies, charge, client, exposures, probe, recorded};
use crate::batch::{Refusal, Spent};
use crate::clock::{CREDIT_INTERVAL_MS, Clock};

#[test]
fn rows_are_cut_at_the_budget_and_recorded() {
    let mut rig = Rig::new();
    let ask = rig.batch((0..15).map(|n| (1, n)));
    let paid = rig.append(ask).unwrap();
    assert_eq!(paid.rows, 10);
    let cut = paid.cut.unwrap();
    assert_eq!(cut.subjects_released, 10);
    assert!(matches!(cut.spent, Spent::Budget(refusal) if refusal.kind == Kind::Subjects));
    rig.core.stop();
    assert_eq!(recorded(&rig.sim), (0..10).collect());
    let (exposure, list) = exposures(&rig.sim).remove(0);
    assert_eq!((exposure.rows, exposure.subjects.charged), (10, 10));
    assert_eq!(exposure.subjects.windows, [10; 4]);
    assert_eq!(list.purpose.unwrap().expose(), "call 42");
    assert!(exposure.purpose.is_some());
}

#[test]
fn a_purpose_is_nowhere_in_clear() {
    let mut rig = Rig::new();
    let mut ask = rig.batch([(1, 1)]);
    ask.scope.purpose = Some(std::sync::Arc::new(event::Plain::new(
        "KANARIENVOGEL".into(),
    )));
    rig.append(ask).unwrap();
    rig.core.stop();
    let bytes = rig.sim.bytes(&crate::wal::segment_name(1));
    assert!(!bytes.windows(13).any(|window| window == b"KANARIENVOGEL"));
    let (_, list) = exposures(&rig.sim).remove(0);
    assert_eq!(list.purpose.unwrap().expose(), "KANARIENVOGEL");
}

#[test]
fn the_same_exposure_twice_has_different_commitments() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        let ask = rig.batch([(1, 1)]);
        rig.append(ask).unwrap();
    }
    rig.core.stop();
    let all = exposures(&rig.sim);
    let [(first, one), (second, other)] = all.as_slice() else {
        panic!("two exposures");
    };
    assert_eq!((&one.rows, &one.purpose), (&other.rows, &other.purpose));
    assert!(first.purpose.is_some());
    assert_ne!(first.list, second.list);
    assert_ne!(first.purpose, second.purpose);
}

#[test]
fn budgets_survive_a_restart() {
    let mut rig = Rig::new();
    let ask = rig.batch((0..7).map(|n| (1 + n % 2, u64::from(n))));
    rig.append(ask).unwrap();
    let minute = rig.core.now().1 / MINUTE;
    let before = std::mem::replace(&mut rig.core.budgets, budget::Budgets::new(0));
    let (mut rig, _) = rig.restart();
    assert!(rig.core.budgets.same_state(&before, minute));
    let ask = rig.batch((0..20).map(|n| (1 + n % 2, u64::from(n))));
    // Seven were seen before and cost nothing; three more are left.
    assert_eq!(rig.append(ask).unwrap().rows, 10);
}

#[test]
fn one_record_for_each_client_and_the_shape_once() {
    let mut rig = Rig::new();
    for start in [0, 4] {
        let ask = rig.batch((start..start + 4).map(|n| (1 + (n % 2) as u32, n)));
        rig.append(ask).unwrap();
    }
    rig.core.stop();
    let bodies = bodies(&rig.sim);
    let shapes = bodies
        .iter()
        .filter(|body| matches!(body, Body::Shape { .. }))
        .count();
    let exposures = bodies
        .iter()
        .filter(|body| matches!(body, Body::Exposure(_)))
        .count();
    assert_eq!((shapes, exposures), (1, 4));
    let entries = super::entries(&rig.sim);
    let of = |log| -> Vec<u64> {
        entries
            .iter()
            .filter(|e| e.log == event::LogId::Client(log))
            .map(|e| e.index)
            .collect()
    };
    // The first one opens the log.
    assert_eq!(of(client(1)), [0, 1, 2]);
    assert_eq!(of(client(2)), [0, 1, 2]);
}

#[test]
fn rows_without_cells_cost_nothing_and_probes_without_rows_are_recorded() {
    let mut rig = Rig::new();
    let syncs = rig.sim.syncs();
    let ask = rig.rows(vec![Vec::new(), Vec::new()], Vec::new());
    assert_eq!(rig.append(ask).unwrap().rows, 2);
    assert_eq!(rig.sim.syncs(), syncs);
    let ask = rig.rows(Vec::new(), vec![probe(1, 5, true), probe(2, 5, false)]);
    assert_eq!(rig.append(ask).unwrap().rows, 0);
    rig.core.stop();
    let exposures = exposures(&rig.sim);
    assert_eq!(exposures.len(), 2);
    assert!(
        exposures
            .iter()
            .all(|(e, _)| e.rows == 0 && e.probes == 1 && e.probed.charged == 1)
    );
    let primary = SetKind::Probe { primary: true };
    assert_eq!(exposures[0].1.probes, [(primary, 5, 1)]);
}

#[test]
fn probes_over_the_budget_release_nothing_and_leave_no_record() {
    let mut rig = Rig::new();
    let probes = (0..11).map(|n| probe(1, n, true)).collect();
    let ask = rig.rows(vec![vec![charge(1, 1)]], probes);
    let paid = rig.append(ask).unwrap();
    assert_eq!(paid.rows, 0);
    assert!(matches!(paid.cut.unwrap().spent, Spent::Budget(r) if r.kind == Kind::Probes));
    rig.core.stop();
    assert!(exposures(&rig.sim).is_empty());
}

#[test]
fn a_probe_under_a_mask_is_an_exposure_too() {
    let mut rig = Rig::new();
    let masked = crate::batch::Probe {
        as_exposure: true,
        ..probe(1, 5, true)
    };
    let ask = rig.rows(Vec::new(), vec![masked]);
    rig.append(ask).unwrap();
    rig.core.stop();
    let (exposure, list) = exposures(&rig.sim).remove(0);
    assert_eq!((exposure.probed.charged, exposure.subjects.charged), (1, 1));
    assert!(list.probes.contains(&(SetKind::Clear(Class::Phone), 5, 1)));
}

#[test]
fn tags_that_disagree_in_a_row_are_counted() {
    let mut rig = Rig::new();
    let other = crate::batch::Charge {
        class: Class::Kana,
        ..charge(1, 2)
    };
    let untagged = crate::batch::Charge {
        class: Class::Phone,
        tag: 0,
        ..charge(1, 3)
    };
    let ask = rig.rows(
        vec![
            vec![charge(1, 1), untagged, other],
            vec![untagged, charge(1, 1)],
        ],
        vec![],
    );
    rig.append(ask).unwrap();
    rig.core.stop();
    let (exposure, _) = exposures(&rig.sim).remove(0);
    assert_eq!((exposure.rows, exposure.row_tags_disagree), (2, 1));
    let cells: u32 = exposure.classes.iter().map(|class| class.cells).sum();
    assert_eq!(cells, 5);
    assert!(
        exposure
            .classes
            .is_sorted_by_key(|class| (class.class, class.outcome))
    );
}

#[test]
fn a_policy_that_moved_or_an_actor_withdrawn_releases_nothing() {
    let mut rig = Rig::new();
    let ask = rig.batch([(1, 1)]);
    rig.propose(super::numbers(9)).unwrap();
    assert_eq!(rig.append(ask).unwrap_err(), Refusal::PolicyMoved);
    let Change::ActorSet {
        actor,
        login,
        role,
        clients,
        ..
    } = super::actor(OPERATOR, "operator", event::Role::Operator)
    else {
        unreachable!()
    };
    rig.propose(Change::ActorSet {
        actor,
        login,
        role,
        clients,
        active: false,
    })
    .unwrap();
    let ask = rig.batch([(1, 1)]);
    assert_eq!(rig.append(ask).unwrap_err(), Refusal::Revoked);
    rig.core.stop();
    assert!(exposures(&rig.sim).is_empty());
}

fn grant(rig: &mut Rig, what: GrantKind, amount: u64) {
    let until_ms = rig.clock.wall_ms() + 10 * MINUTE;
    rig.propose(Change::Grant(Grant {
        grant: GrantId(1),
        actor: OPERATOR,
        client: client(1),
        what,
        amount,
        until_ms,
        ticket: "T-1".into(),
    }))
    .unwrap();
}

pub(super) fn under_grant(mut ask: crate::charge::Ask) -> crate::charge::Ask {
    ask.who.grant = Some(GrantId(1));
    ask
}

#[test]
fn a_grant_pays_row_by_row_over_restarts_and_ends() {
    let mut rig = Rig::new();
    grant(&mut rig, GrantKind::See, 30);
    let ask = under_grant(rig.batch((0..20).map(|n| (1, n))));
    assert_eq!(rig.append(ask).unwrap().rows, 20);
    let (mut rig, _) = rig.restart();
    // The same people again cost again; the budget of ten is untouched.
    let ask = under_grant(rig.batch((0..20).map(|n| (1, n))));
    let paid = rig.append(ask).unwrap();
    assert_eq!(paid.rows, 10);
    let cut = paid.cut.unwrap();
    assert!(
        matches!(
            cut.spent,
            Spent::Grant {
                limit: 30,
                used: 30,
                ..
            }
        ),
        "{cut:?}"
    );
    let ask = rig.batch((100..110).map(|n| (1, n)));
    assert_eq!(rig.append(ask).unwrap().rows, 10);
    let ask = under_grant(rig.batch([(2, 1)]));
    assert!(
        matches!(rig.append(ask), Err(Refusal::Grant { .. })),
        "another client"
    );
    rig.clock.pass(10 * MINUTE);
    let ask = under_grant(rig.batch([(1, 1)]));
    assert!(matches!(
        rig.append(ask),
        Err(Refusal::Grant {
            why: "has expired",
            ..
        })
    ));
}

#[test]
fn setting_the_clock_back_does_not_revive_a_grant() {
    let mut rig = Rig::new();
    grant(&mut rig, GrantKind::See, 30);
    rig.clock.pass(11 * MINUTE);
    let ask = under_grant(rig.batch([(1, 1)]));
    assert!(rig.append(ask).is_err());
    rig.propose(super::numbers(11)).unwrap();
    rig.clock.wall_ms.fetch_sub(11 * MINUTE, Ordering::Relaxed);
    let (mut rig, _) = rig.restart();
    let ask = under_grant(rig.batch([(1, 1)]));
    assert!(rig.append(ask).is_err());
}

#[test]
fn an_import_is_paid_by_its_grant_all_or_nothing() {
    let mut rig = Rig::new();
    grant(&mut rig, GrantKind::Import, 30);
    let probes = |n| (0..n).map(|v| probe(1, v, true)).collect::<Vec<_>>();
    let ask = under_grant(rig.rows(Vec::new(), probes(20)));
    assert!(rig.append(ask).unwrap().cut.is_none());
    let ask = under_grant(rig.rows(Vec::new(), probes(11)));
    let cut = rig.append(ask).unwrap().cut.unwrap();
    assert!(matches!(
        cut.spent,
        Spent::Grant {
            limit: 30,
            used: 20,
            ..
        }
    ));
    let minute = rig.core.now().1 / MINUTE;
    assert_eq!(
        rig.core.budgets.actor_totals(OPERATOR, minute).probes,
        [0; 4]
    );
    let (rig, _) = rig.restart();
    assert_eq!(
        rig.core.budgets.actor_totals(OPERATOR, minute).probes,
        [0; 4]
    );
    assert_eq!(rig.core.state.grants[&GrantId(1)].used, 20);
}

#[test]
fn a_destroyed_list_counts_by_its_effects() {
    let mut rig = Rig::new();
    let ask = rig.batch((0..6).map(|n| (1, n)));
    rig.append(ask).unwrap();
    rig.sealer.destroyed.store(1, Ordering::Relaxed);
    let (mut rig, report) = rig.restart();
    assert_eq!(report.lists_destroyed, 1);
    let ask = rig.batch((100..120).map(|n| (2, n)));
    assert_eq!(rig.append(ask).unwrap().rows, 4);
    let ask = rig.batch([(1, 1)]);
    assert!(matches!(
        rig.append(ask),
        Err(Refusal::Key { .. }) | Ok(crate::charge::Paid { rows: 0, .. })
    ));
}

/// A batch that fits is looked at once; one that has to wait for room, again.
#[test]
fn the_clock_is_read_once_unless_room_was_made() {
    let mut rig = Rig::new();
    rig.propose(super::numbers(100_000)).unwrap();
    rig.clock.ticks.store(1, Ordering::Relaxed);
    let mut reads = Vec::new();
    for batch in 0..8_u64 {
        let ask = std::sync::Arc::new(rig.batch((0..150).map(|n| (1, batch * 1_000 + n))));
        let segment = rig.core.segment();
        let before = rig.clock.boot_ms.load(Ordering::Relaxed);
        rig.core.append(&ask).unwrap();
        let passed = rig.clock.boot_ms.load(Ordering::Relaxed) - before;
        rig.core.flush().unwrap();
        let moved = rig.core.segment() != segment;
        assert_eq!(passed, 1 + u64::from(moved), "batch {batch}");
        reads.push(moved);
    }
    assert!(reads.contains(&true) && reads.contains(&false), "{reads:?}");
}

#[test]
fn windows_run_on_elapsed_time() {
    let mut rig = Rig::new();
    let numbers = budget::Numbers::default();
    let toml = numbers.to_toml();
    let hourly = numbers
        .role(event::Role::Operator)
        .subjects_per_client
        .hour
        .unwrap();
    rig.propose(Change::Numbers { toml }).unwrap();
    let ask = rig.batch((0..hourly).map(|n| (1, n)));
    assert_eq!(rig.append(ask).unwrap().rows as u64, hourly);
    let more = |rig: &mut Rig| {
        let ask = rig.batch([(1, 1_000_000)]);
        rig.append(ask).unwrap().rows
    };
    // The wall clock forward by a day frees nothing; nor does a restart within the same boot.
    rig.clock
        .wall_ms
        .fetch_add(24 * 60 * MINUTE, Ordering::Relaxed);
    assert_eq!(more(&mut rig), 0);
    let (mut rig, report) = rig.restart();
    assert_eq!((report.elapsed_credit_ms, more(&mut rig)), (0, 0));
    // Over a boot the wall clock's step is credited once,
    let (mut rig, report) = rig.reboot(10 * MINUTE);
    assert_eq!((report.elapsed_credit_ms, more(&mut rig)), (10 * MINUTE, 0));
    // and not again within an hour of elapsed time.
    let (mut rig, report) = rig.reboot(24 * 60 * MINUTE);
    assert_eq!(report.elapsed_credit_ms, 0);
    assert_eq!(
        report.wall_step_ms,
        i64::try_from(24 * 60 * MINUTE).unwrap()
    );
    assert_eq!(more(&mut rig), 0);
    rig.clock.pass(CREDIT_INTERVAL_MS);
    assert_eq!(more(&mut rig), 1);
}

/// The clock back an hour and forward a year, while it runs and over a restart: nothing is gained,
/// and what is due is not held back.
#[test]
fn a_clock_that_is_set_moves_no_budget() {
    const HOUR: u64 = 60 * MINUTE;
    const YEAR: u64 = 365 * 24 * HOUR;
    let numbers = budget::Numbers::default();
    let mut rig = Rig::new();
    let toml = numbers.to_toml();
    let operator = numbers.role(event::Role::Operator).subjects_per_client;
    rig.propose(Change::Numbers { toml }).unwrap();
    let ask = rig.batch((0..operator.hour.unwrap()).map(|n| (1, n)));
    rig.append(ask).unwrap();
    let mut subject = 1_000_000;
    let mut more = |rig: &mut Rig| {
        subject += 1;
        let ask = rig.batch([(1, subject)]);
        rig.append(ask).unwrap().rows
    };
    for (forward, ms) in [(false, HOUR), (true, YEAR), (false, HOUR)] {
        let wall = &rig.clock.wall_ms;
        match forward {
            true => wall.fetch_add(ms, Ordering::Relaxed),
            false => wall.fetch_sub(ms, Ordering::Relaxed),
        };
        assert_eq!(more(&mut rig), 0);
        let (again, report) = rig.restart();
        rig = again;
        assert_eq!((report.elapsed_credit_ms, more(&mut rig)), (0, 0));
    }
    // An hour that passes is an hour, whatever the wall clock says.
    rig.clock
        .boot_ms
        .fetch_add(HOUR + MINUTE, Ordering::Relaxed);
    assert_eq!(more(&mut rig), 1);
    rig.core.stop();
    let entries = super::entries(&rig.sim);
    assert!(entries.is_sorted_by_key(|entry| (entry.wall_ms, entry.elapsed_ms)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Random batches and restarts against a model that keeps all names ever released.
    #[test]
    fn the_ledger_holds_exactly_what_was_released(
        batches in proptest::collection::vec(
            (proptest::collection::vec((1_u32..4, 0_u64..40, any::<bool>()), 0..12), any::<bool>()),
            1..12,
        )
    ) {
        let mut rig = Rig::new();
        let mut clear = BTreeSet::new();
        for (rows, restart) in batches {
            let charges: Vec<_> = rows
                .iter()
                .map(|&(of, subject, clear)| vec![crate::batch::Charge {
                    outcome: if clear { Outcome::Clear } else { Outcome::Masked },
                    ..charge(of, subject)
                }])
                .collect();
            let ask = rig.rows(charges, Vec::new());
            let paid = rig.append(ask).unwrap();
            prop_assert_eq!(paid.rows < rows.len(), paid.cut.is_some());
            clear.extend(rows[..paid.rows].iter().filter(|r| r.2).map(|r| r.1));
            prop_assert!(clear.len() <= 10);
            if restart {
                let minute = rig.core.now().1 / MINUTE;
                let before = std::mem::replace(&mut rig.core.budgets, budget::Budgets::new(0));
                rig = rig.restart().0;
                prop_assert!(rig.core.budgets.same_state(&before, minute));
            }
        }
        rig.core.stop();
        prop_assert_eq!(recorded(&rig.sim), clear);
    }
}
