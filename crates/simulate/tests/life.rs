//! The simulated life is the same each time, plausible, and its truth is what its records show.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use event::{ActorId, Role};
use proptest::prelude::*;
use simulate::{Family, Life, Loss, Simulation, Sink, Thief, cast};
use watch::{Record, What};

fn life(days: u32) -> Life {
    Life {
        seed: 11,
        actors: 60,
        days,
        ..Life::default()
    }
}

fn run<S: Sink>(life: Life, thieves: &[Thief], mut sink: S) -> S {
    Simulation::new(life, thieves).run(&mut sink);
    sink
}

/// FNV-1a of what matters of each record.
struct Digest(u64);

impl Digest {
    fn add(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

impl Sink for Digest {
    fn record(&mut self, record: &Record<'_>) {
        self.add(record.sequence);
        self.add(record.at_ms);
        if let What::Exposure(it) = record.what {
            let order = it.order;
            for number in [it.actor.0, it.client.get(), it.subjects, it.probes] {
                self.add(u64::from(number));
            }
            for number in [it.new.unwrap(), order.pairs, order.ascending, order.near] {
                self.add(u64::from(number));
            }
            it.keys.iter().for_each(|key| self.add(*key));
        }
    }
}

#[test]
fn the_same_settings_give_the_same_records() {
    let thieves = cast(11, 60, Family::Constant(20), 1, 10);
    let digest = |thieves: &[Thief]| run(life(30), thieves, Digest(0xcbf2_9ce4_8422_2325)).0;
    assert_eq!(format!("{:016x}", digest(&thieves)), "56eb375800a19a0d");
    assert_ne!(digest(&thieves), digest(&[]));
}

/// Counts over a life.
#[derive(Default)]
struct Census {
    records: u64,
    last: (u64, u64),
    actor_days: BTreeMap<(ActorId, u64), u32>,
    operators: BTreeSet<ActorId>,
    probes: u64,
    missed: u64,
    looks: u64,
    new: u64,
    calls: u64,
    granted: u64,
    canaries: BTreeSet<u64>,
    canary_looks: u64,
}

impl Sink for Census {
    fn record(&mut self, record: &Record<'_>) {
        self.records += 1;
        assert!(record.at_ms >= self.last.0, "out of order");
        assert!(record.sequence > self.last.1, "numbers go up");
        self.last = (record.at_ms, record.sequence);
        match record.what {
            What::Actor {
                actor,
                role: Role::Operator,
                ..
            } => {
                self.operators.insert(actor);
            }
            What::Canary { subject, .. } => {
                self.canaries.insert(subject);
            }
            What::Call(call) => {
                self.calls += 1;
                assert!(call.from_ms < call.until_ms && call.until_ms == record.at_ms);
            }
            What::Granted { .. } => self.granted += 1,
            What::Exposure(it) => {
                assert_eq!(it.keys.len() as u32, it.subjects);
                assert!(it.new.unwrap() <= it.subjects && it.missed.unwrap() <= it.probes);
                if it.grant.is_none() && self.operators.contains(&it.actor) {
                    let day = record.at_ms / 86_400_000;
                    *self.actor_days.entry((it.actor, day)).or_default() += it.subjects;
                    self.probes += u64::from(it.probes);
                    self.missed += u64::from(it.missed.unwrap());
                    self.looks += u64::from(it.subjects);
                    self.new += u64::from(it.new.unwrap());
                }
                let canaries = it.keys.iter().filter(|key| self.canaries.contains(key));
                if it.grant.is_none() {
                    self.canary_looks += canaries.count() as u64;
                }
            }
            _ => {}
        }
    }
}

#[test]
fn life_is_plausible() {
    let census = run(life(365), &[], Census::default());
    let a_day: Vec<u32> = census.actor_days.values().copied().collect();
    let mean = a_day.iter().sum::<u32>() / a_day.len() as u32;
    assert!((25..50).contains(&mean), "{mean} lookups a day at work");
    let most = *a_day.iter().max().unwrap();
    assert!((80..260).contains(&most), "{most} on the busiest day");
    let missed = census.missed * 1000 / census.probes;
    assert!(
        (60..100).contains(&missed),
        "{missed} of 1,000 searches miss"
    );
    let new = census.new * 1000 / census.looks;
    assert!((700..930).contains(&new), "{new} of 1,000 are new");
    let calls = census.calls * 1000 / census.looks;
    assert!(
        (750..1000).contains(&calls),
        "{calls} calls for 1,000 looks"
    );
    assert!(census.granted > 30, "{} grants", census.granted);
    assert!(census.canaries.len() > 80);
    assert_eq!(census.canary_looks, 0, "nobody looks at who does not exist");
    let actors: BTreeSet<ActorId> = census.actor_days.keys().map(|it| it.0).collect();
    assert!((60..110).contains(&actors.len()), "people come and go");
}

/// What was lost, and what the records showed the thieves.
#[derive(Default)]
struct Truth {
    thieves: BTreeSet<ActorId>,
    lost: BTreeMap<u32, BTreeSet<u64>>,
    times: u64,
    shown: BTreeMap<ActorId, BTreeSet<u64>>,
    by: BTreeMap<u32, BTreeSet<ActorId>>,
}

impl Sink for Truth {
    fn record(&mut self, record: &Record<'_>) {
        if let What::Exposure(it) = record.what
            && self.thieves.contains(&it.actor)
        {
            self.shown.entry(it.actor).or_default().extend(it.keys);
        }
    }

    fn lost(&mut self, loss: &Loss<'_>) {
        self.lost.entry(loss.gang).or_default().extend(loss.keys);
        self.by.entry(loss.gang).or_default().insert(loss.actor);
        self.times += loss.keys.len() as u64;
    }
}

#[test]
fn thieves_read_what_the_truth_says() {
    let small = Life {
        actors: 30,
        ..life(120)
    };
    for family in Family::ALL {
        let thieves = cast(11, 30, family, 1, 20);
        let truth = Truth {
            thieves: thieves.iter().map(|it| ActorId(it.seat + 1)).collect(),
            ..Truth::default()
        };
        let truth = run(small, &thieves, truth);
        assert_eq!(truth.lost.len(), 1, "{family}");
        let lost = &truth.lost[&0];
        assert_eq!(lost.len() as u64, truth.times, "{family}: none twice");
        let actors = &truth.by[&0];
        assert_eq!(actors.len() as u32, family.parts(), "{family}");
        let shown: BTreeSet<u64> = actors
            .iter()
            .filter_map(|it| truth.shown.get(it))
            .flatten()
            .copied()
            .collect();
        if family == Family::Gap {
            assert!(lost.intersection(&shown).count() < lost.len() / 2);
        } else {
            assert!(lost.is_subset(&shown), "{family}");
        }
        let range = match family {
            Family::Case => 270_000..380_000,
            Family::Constant(a_day) => u64::from(a_day) * 40..u64::from(a_day) * 90,
            Family::Ramp => 300..3000,
            Family::Insider(_) => 100..200,
            Family::SharedAccount | Family::Walk => 800..1800,
            Family::Window => 13_000..18_001,
            Family::ColludersClients | Family::ColludersList => 1600..3600,
            Family::Gap => 9000..12_001,
            Family::Poisoned => 5000..9000,
            Family::NoCalls => 300..1100,
            Family::Guess => 1800..4000,
        };
        let lost = lost.len() as u64;
        assert!(range.contains(&lost), "{family}: {lost}");
    }
}

#[test]
fn a_theft_changes_nothing_for_the_others() {
    struct Others(BTreeSet<ActorId>, Digest);
    impl Sink for Others {
        fn record(&mut self, record: &Record<'_>) {
            if let What::Exposure(it) = record.what
                && !self.0.contains(&it.actor)
                && it.role == Role::Operator
            {
                self.1.add(record.at_ms);
                it.keys.iter().for_each(|key| self.1.add(*key));
            }
        }
    }
    let thieves = cast(11, 60, Family::Constant(100), 2, 5);
    let actors: BTreeSet<ActorId> = thieves.iter().map(|it| ActorId(it.seat + 1)).collect();
    let digest = |thieves: &[Thief]| {
        run(life(20), thieves, Others(actors.clone(), Digest(1)))
            .1
            .0
    };
    assert_eq!(digest(&thieves), digest(&[]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// The census looks at order, numbers and keys of each record.
    #[test]
    fn any_life_and_theft_give_records_in_order(
        seed: u64,
        actors in 10_u32..40,
        days in 1_u32..12,
        family in 0..Family::ALL.len(),
        bare: bool,
    ) {
        let life = Life { seed, actors, days, calls: !bare, canaries: !bare, ..Life::default() };
        let thieves = cast(seed, actors, Family::ALL[family], 2, 0);
        let census = run(life, &thieves, Census::default());
        prop_assert!(census.records > u64::from(days) * 144);
        prop_assert_eq!(census.calls == 0, bare);
        prop_assert_eq!(census.canaries.is_empty(), bare);
    }
}
