//! Records whose lists are gone count by their effects: never less than the lists would.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use event::record::{Change, Grant, GrantKind};
use event::{Class, Fingerprint, GrantId, Outcome};
use proptest::prelude::*;

use super::{MINUTE, OPERATOR, Rig, client};
use crate::batch::{Charge, Probe};
use crate::clock::Clock as _;
use crate::list::ListSealer;
use crate::snapshot::begin;

/// A cell: client, class, masked or not, value, row tag.
type Cell = (u32, usize, bool, u64, u64);
/// A probe: client, value, primary, charged as an exposure too.
type Search = (u32, u64, bool, bool);

#[derive(Clone, Debug)]
struct Step {
    minutes: u64,
    granted: bool,
    rows: Vec<Vec<Cell>>,
    probes: Vec<Search>,
}

const CLASSES: [Class; 3] = [Class::Name, Class::Phone, Class::FreeText];

fn step() -> impl Strategy<Value = Step> {
    let minutes = prop_oneof![
        3 => Just(0_u64), 4 => 1_u64..4, 4 => 30_u64..62, 1 => 1_438_u64..1_443,
    ];
    let cell = (
        1_u32..3,
        0..CLASSES.len(),
        any::<bool>(),
        0_u64..6,
        0_u64..4,
    );
    let row = proptest::collection::vec(cell, 1..4);
    let probe = (1_u32..3, 0_u64..6, any::<bool>(), any::<bool>());
    (
        minutes,
        proptest::bool::weighted(0.2),
        proptest::collection::vec(row, 0..4),
        proptest::collection::vec(probe, 0..3),
    )
        .prop_map(|(minutes, granted, rows, probes)| Step {
            minutes,
            granted,
            rows,
            probes,
        })
}

/// Fingerprints are 64 bits of a PRF: none is a record's number.
fn fingerprint(value: u64) -> Fingerprint {
    Fingerprint((value + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn cell((of, class, masked, value, tag): Cell) -> Charge {
    let class = CLASSES[class];
    Charge {
        client: client(of),
        class,
        outcome: if masked {
            Outcome::Masked
        } else {
            Outcome::Clear
        },
        fingerprint: fingerprint(value),
        // A text has one length.
        weight: if class == Class::FreeText {
            1 + value as u32
        } else {
            1
        },
        tag: if tag == 0 {
            0
        } else {
            fingerprint(1000 + tag).0
        },
    }
}

fn search((of, value, primary, as_exposure): Search) -> Probe {
    Probe {
        client: client(of),
        class: Class::Phone,
        fingerprint: fingerprint(value),
        primary,
        as_exposure,
    }
}

fn append(rig: &mut Rig, step: &Step) {
    rig.clock.pass(step.minutes * MINUTE);
    let grant = step.granted.then_some(GrantId(1));
    let mut rows: Vec<Vec<Charge>> = Vec::new();
    for row in &step.rows {
        let cells = row.iter().copied().map(cell);
        // The grant is for the first client alone.
        rows.push(
            cells
                .filter(|it| grant.is_none() || it.client == client(1))
                .collect(),
        );
    }
    let probes = step.probes.iter().copied().map(search).collect();
    let mut ask = rig.rows(rows, probes);
    ask.who.grant = grant;
    rig.append(ask).unwrap();
}

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.propose(super::numbers(100_000)).unwrap();
    let until_ms = rig.clock.wall_ms() + (1 << 40);
    let grant = Grant {
        grant: GrantId(1),
        actor: OPERATOR,
        client: client(1),
        what: GrantKind::See,
        amount: 1 << 20,
        until_ms,
        ticket: "T-1".into(),
    };
    rig.propose(Change::Grant(grant)).unwrap();
    rig
}

/// What a replay with the lists of a client destroyed holds, beside what the live budgets hold.
fn never_less(rig: &mut Rig, destroyed: u32) -> Result<(), TestCaseError> {
    // A root frame tells that all of it is durable.
    rig.clock.pass(1_500);
    rig.core.tick();
    rig.sealer
        .destroyed
        .store(u64::from(destroyed), Ordering::Relaxed);
    let sealer: Arc<dyn ListSealer> = rig.sealer.clone();
    let again = begin(&rig.sim, None, &sealer).unwrap().replay;
    rig.sealer.destroyed.store(0, Ordering::Relaxed);
    let (live, counted) = (&rig.core.budgets, &again.budgets);
    let minute = rig.core.state.times.elapsed_ms / MINUTE;
    for later in [0, 1, 30, 59, 61, 100, 1_441, 43_201] {
        let at = minute + later;
        let both = |of: &dyn Fn(&budget::Budgets) -> budget::Totals| (of(live), of(counted));
        for (live, counted) in [
            both(&|it| it.totals(OPERATOR, client(destroyed), at)),
            both(&|it| it.client_totals(client(destroyed), at)),
            both(&|it| it.actor_totals(OPERATOR, at)),
        ] {
            for (live, counted) in [
                (live.subjects, counted.subjects),
                (live.probes, counted.probes),
                (live.masked, counted.masked),
            ] {
                let least = live
                    .iter()
                    .zip(counted)
                    .all(|(live, counted)| *live <= counted);
                prop_assert!(least, "{later} minutes later {live:?}, counted {counted:?}");
            }
        }
        let other = client(3 - destroyed);
        prop_assert_eq!(
            live.totals(OPERATOR, other, at),
            counted.totals(OPERATOR, other, at)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]
    #[test]
    fn a_record_without_its_list_never_counts_less(
        steps in proptest::collection::vec(step(), 1..12),
        destroyed in 1_u32..3,
    ) {
        let mut rig = rig();
        for step in &steps {
            append(&mut rig, step);
            if step.minutes > 30 {
                never_less(&mut rig, destroyed)?;
            }
        }
        never_less(&mut rig, destroyed)?;
    }
}

/// What was seen again, and so charges nothing, is held for longer.
#[test]
fn what_is_seen_again_is_held_again() {
    let mut rig = rig();
    let seen = |minutes| Step {
        minutes,
        granted: false,
        rows: vec![vec![(1, 0, false, 1, 1), (1, 1, true, 2, 1)]],
        probes: vec![(1, 3, true, false), (1, 4, true, false)],
    };
    append(&mut rig, &seen(0));
    append(&mut rig, &seen(50));
    rig.clock.pass(50 * MINUTE);
    never_less(&mut rig, 1).unwrap();
    let minute = rig.core.now().1 / MINUTE;
    let totals = rig.core.budgets.totals(OPERATOR, client(1), minute);
    assert_eq!(
        (totals.subjects[0], totals.probes[0], totals.masked[0]),
        (1, 2, 1)
    );
}
