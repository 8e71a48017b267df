//! The budgets against a brute-force model: a list of all releases, from which everything is
//! recomputed. The model knows nothing of sets, minute rings or sums.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use budget::{
    Batch, Budgets, Charged, ClientNumbers, Item, Kind, Level, Limits, Numbers, RoleNumbers,
    SetKind, Window,
};
use event::{ActorId, Class, ClientId, Outcome, Role};
use proptest::prelude::*;

const ROLE: Role = Role::Operator;

#[derive(Clone, Copy)]
struct Release {
    minute: u64,
    actor: u32,
    item: Item,
}

#[derive(Clone, Default)]
struct Model {
    releases: Vec<Release>,
}

impl Model {
    /// Distinct units per set of (actor, client) in the window that ends at `now`.
    fn sets(
        &self,
        actor: u32,
        client: ClientId,
        now: u64,
        window: Window,
    ) -> BTreeMap<String, u64> {
        let mut last: BTreeMap<(String, u64, u8), (u64, u32)> = BTreeMap::new();
        for release in &self.releases {
            if release.actor != actor || release.item.client != client {
                continue;
            }
            let (sets, class): (Vec<String>, u8) = match release.item.kind {
                SetKind::Clear(class) => (vec![format!("clear {class}")], 0),
                SetKind::RowTag => (vec!["clear tag".into()], 0),
                SetKind::Masked(class) => (vec!["masked".into()], class.code()),
                SetKind::Probe { primary: false } => (vec!["probe".into()], 0),
                SetKind::Probe { primary: true } => (vec!["probe".into(), "primary".into()], 0),
            };
            for set in sets {
                let entry = last
                    .entry((set, release.item.fingerprint, class))
                    .or_default();
                entry.0 = release.minute;
                entry.1 = entry.1.max(release.item.weight);
            }
        }
        let mut sets = BTreeMap::new();
        for ((set, ..), (minute, weight)) in last {
            if window
                .minutes()
                .is_none_or(|length| now - minute <= u64::from(length))
            {
                *sets.entry(set).or_default() += u64::from(weight);
            }
        }
        sets
    }

    fn pair(&self, kind: Kind, actor_level: bool, pair: (u32, ClientId), at: (u64, Window)) -> u64 {
        let prefix = match kind {
            Kind::Subjects => "clear",
            Kind::Probes if actor_level => "primary",
            Kind::Probes => "probe",
            Kind::Masked => "masked",
        };
        let sets = self.sets(pair.0, pair.1, at.0, at.1);
        sets.iter()
            .filter(|(set, _)| set.starts_with(prefix))
            .map(|(_, &n)| n)
            .max()
            .unwrap_or(0)
    }

    fn held(&self, kind: Kind, level: Level, pair: (u32, ClientId), at: (u64, Window)) -> u64 {
        let all_pairs = (1..=ACTORS).flat_map(|actor| clients().map(move |c| (actor, c)));
        match level {
            Level::ActorAndClient => self.pair(kind, false, pair, at),
            Level::Actor => all_pairs
                .filter(|&(actor, _)| actor == pair.0)
                .map(|pair| self.pair(kind, true, pair, at))
                .sum(),
            Level::Client => all_pairs
                .filter(|&(_, client)| client == pair.1)
                .map(|pair| self.pair(kind, false, pair, at))
                .sum(),
        }
    }

    /// All or nothing; true if it fitted.
    fn charge_items(&mut self, numbers: &Numbers, minute: u64, actor: u32, items: &[Item]) -> bool {
        let before = self.releases.len();
        self.releases.extend(items.iter().map(|&item| Release {
            minute,
            actor,
            item,
        }));
        let fits = items.iter().all(|item| {
            let kind = match item.kind {
                SetKind::Clear(_) | SetKind::RowTag => Kind::Subjects,
                SetKind::Masked(_) => Kind::Masked,
                SetKind::Probe { .. } => Kind::Probes,
            };
            [Level::ActorAndClient, Level::Actor, Level::Client]
                .into_iter()
                .all(|level| {
                    Window::ALL.into_iter().all(|window| {
                        limits(numbers, kind, level)
                            .window(window)
                            .is_none_or(|limit| {
                                self.held(kind, level, (actor, item.client), (minute, window))
                                    <= limit
                            })
                    })
                })
        });
        if !fits {
            self.releases.truncate(before);
        }
        fits
    }

    fn charge(
        &mut self,
        numbers: &Numbers,
        minute: u64,
        actor: u32,
        batch: &Batch,
    ) -> Option<usize> {
        if !self.charge_items(numbers, minute, actor, batch.probes()) {
            return None;
        }
        let fits = |row: &usize| self.charge_items(numbers, minute, actor, batch.row(*row));
        Some((0..batch.rows()).take_while(fits).count())
    }
}

fn limits(numbers: &Numbers, kind: Kind, level: Level) -> Limits {
    let role = numbers.role(ROLE);
    match (kind, level) {
        (Kind::Subjects, Level::ActorAndClient) => role.subjects_per_client,
        (Kind::Subjects, Level::Actor) => role.subjects,
        (Kind::Subjects, Level::Client) => numbers.client.subjects,
        (Kind::Probes, Level::ActorAndClient) => role.probes_per_client,
        (Kind::Probes, Level::Actor) => role.probes,
        (Kind::Probes, Level::Client) => numbers.client.probes,
        (Kind::Masked, Level::ActorAndClient) => role.masked_per_client,
        (Kind::Masked, Level::Actor) => role.masked,
        (Kind::Masked, Level::Client) => numbers.client.masked,
    }
}

const ACTORS: u32 = 3;
const CLIENTS: u32 = 3;

fn client(number: u32) -> ClientId {
    ClientId::new(number).unwrap()
}

fn clients() -> impl Iterator<Item = ClientId> {
    (1..=CLIENTS).map(client)
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let limit = |most: u64| proptest::option::weighted(0.8, 1..most);
    (limit(8), limit(12), limit(16), limit(24)).prop_map(|(hour, day, month, all)| Limits {
        hour,
        day,
        month,
        all,
    })
}

fn any_numbers() -> impl Strategy<Value = Numbers> {
    proptest::array::uniform9(any_limits()).prop_map(|l| {
        let role = RoleNumbers {
            subjects_per_client: l[0],
            subjects: l[1],
            probes_per_client: l[2],
            probes: l[3],
            masked_per_client: l[4],
            masked: l[5],
            statement_probes_max: 9,
        };
        let client = ClientNumbers {
            subjects: l[6],
            probes: l[7],
            masked: l[8],
        };
        let roles = [(ROLE, role)].into();
        Numbers {
            entries_max: 1_000,
            free_text_bytes_per_subject: 1,
            client,
            roles,
        }
    })
}

/// Few fingerprints and classes, so that they meet again.
#[derive(Clone, Debug)]
enum Part {
    Cell {
        client: u32,
        class: Class,
        masked: bool,
        fingerprint: u64,
        weight: u32,
    },
    Tag {
        client: u32,
        tag: u64,
    },
}

fn any_part() -> impl Strategy<Value = Part> {
    let class = proptest::sample::select(&[Class::Name, Class::Phone, Class::FreeText][..]);
    prop_oneof![
        4 => (1..=CLIENTS, class, proptest::bool::weighted(0.3), 0..12u64, 1..3u32).prop_map(
            |(client, class, masked, fingerprint, weight)| Part::Cell {
                client,
                class,
                masked,
                fingerprint,
                weight,
            }
        ),
        1 => (1..=CLIENTS, 0..12u64).prop_map(|(client, tag)| Part::Tag { client, tag }),
    ]
}

#[derive(Clone, Debug)]
struct Charge {
    minutes_later: u64,
    actor: u32,
    probes: Vec<(u32, u64, bool, bool)>,
    rows: Vec<Vec<Part>>,
}

fn any_charge() -> impl Strategy<Value = Charge> {
    let minutes = prop_oneof![
        4 => Just(0u64), 4 => 1..4u64, 2 => 58..63u64, 1 => 1438..1443u64, 1 => 43_198..43_203u64,
    ];
    let probe = (
        1..=CLIENTS,
        0..8u64,
        any::<bool>(),
        proptest::bool::weighted(0.2),
    );
    let row = proptest::collection::vec(any_part(), 0..4);
    (
        minutes,
        1..=ACTORS,
        proptest::collection::vec(probe, 0..3),
        proptest::collection::vec(row, 0..4),
    )
        .prop_map(|(minutes_later, actor, probes, rows)| Charge {
            minutes_later,
            actor,
            probes,
            rows,
        })
}

fn batch(charge: &Charge) -> Batch {
    let mut batch = Batch::new();
    for &(number, fingerprint, primary, as_exposure) in &charge.probes {
        batch.probe(
            client(number),
            Class::Phone,
            fingerprint,
            primary,
            as_exposure,
        );
    }
    for row in &charge.rows {
        for part in row {
            match *part {
                Part::Cell {
                    client: number,
                    class,
                    masked,
                    fingerprint,
                    weight,
                } => {
                    let outcome = if masked {
                        Outcome::Masked
                    } else {
                        Outcome::Clear
                    };
                    batch.cell(client(number), class, outcome, fingerprint, weight);
                }
                Part::Tag {
                    client: number,
                    tag,
                } => batch.row_tag(client(number), tag),
            }
        }
        batch.end_row();
    }
    batch
}

fn of_weight_one(charge: &Charge) -> Charge {
    let mut charge = charge.clone();
    for part in charge.rows.iter_mut().flatten() {
        if let Part::Cell { weight, .. } = part {
            *weight = 1;
        }
    }
    charge
}

/// Feeds a replica what a record of each client would say.
fn replay(replica: &mut Budgets, minute: u64, actor: u32, batch: &Batch, charged: &Charged) {
    for effects in &charged.effects {
        let entries = batch
            .released(charged)
            .filter(|item| item.client == effects.client)
            .map(|item| (item.kind, item.fingerprint, item.weight));
        let replayed = replica.replay(minute, ActorId(actor), effects.client, entries);
        assert_eq!(replayed.as_ref(), Some(effects));
    }
}

/// Written down in parts and read back.
fn restored(budgets: &Budgets, entries_max: u64) -> Budgets {
    let mut restore = budget::Restore::new(entries_max, budgets.minute());
    for counts in budgets.counts() {
        restore.counts(&counts).unwrap();
        restore
            .remembered(counts.id, &budgets.remembered(counts.id))
            .unwrap();
    }
    let again = restore.finish().unwrap();
    assert_eq!(again.entries(), budgets.entries());
    again
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn budgets_are_the_model(
        numbers in any_numbers(),
        charges in proptest::collection::vec(any_charge(), 1..14),
    ) {
        let mut model = Model::default();
        let mut budgets = Budgets::new(numbers.entries_max);
        let mut replica = budgets.clone();
        let mut minute = 0;
        for charge in &charges {
            minute += charge.minutes_later;
            let actor = charge.actor;
            let batch = batch(charge);
            let before = model.clone();
            let expected = model.charge(&numbers, minute, actor, &batch);
            let charged = budgets.charge(&numbers, ActorId(actor), ROLE, minute, &batch);
            prop_assert_eq!(charged.probes_granted.then_some(charged.rows), expected);
            prop_assert_eq!(charged.refusal.is_some(), expected != Some(batch.rows()));
            if let Some(refusal) = charged.refusal {
                let at = (minute, refusal.window);
                let used = model.held(refusal.kind, refusal.level, (actor, refusal.client), at);
                prop_assert_eq!(refusal.used, used);
                prop_assert!(refusal.wanted > refusal.limit);
                let limit = limits(&numbers, refusal.kind, refusal.level).window(refusal.window);
                prop_assert_eq!(Some(refusal.limit), limit);
            }
            for effects in &charged.effects {
                check_effects(&model, &before, effects, actor, minute);
            }
            replay(&mut replica, minute, actor, &batch, &charged);
            prop_assert!(budgets.same_state(&replica, minute));
            let again = restored(&budgets, numbers.entries_max);
            prop_assert!(again.same_state(&budgets, minute));
            if charge.minutes_later % 2 == 0 {
                budgets = again;
            }
        }
        for later in [0, 30, 61, 1_441, 43_201] {
            check_totals(&model, &budgets, minute + later);
        }
    }

    /// Past the cap nothing that a window holds is ever less than the exact number. (A value has
    /// one weight while the numbers do not change, so weights are 1 here.)
    #[test]
    fn past_the_cap_more_is_counted_never_less(
        entries_max in 0..6u64,
        charges in proptest::collection::vec(any_charge(), 1..10),
    ) {
        let numbers = unlimited();
        let mut model = Model::default();
        let mut budgets = Budgets::new(entries_max);
        let mut minute = 0;
        for charge in &charges {
            minute += charge.minutes_later;
            let batch = batch(&of_weight_one(charge));
            model.charge(&numbers, minute, charge.actor, &batch);
            let charged = budgets.charge(&numbers, ActorId(charge.actor), ROLE, minute, &batch);
            prop_assert_eq!(charged.refusal, None);
            prop_assert!(budgets.entries() <= entries_max);
            for window in Window::ALL {
                let pair = (charge.actor, client(1));
                let exact = model.held(Kind::Subjects, Level::Client, pair, (minute, window));
                let held = budgets.client_totals(client(1), minute).subjects[window as usize];
                prop_assert!(held >= exact);
            }
        }
    }
}

fn check_effects(
    model: &Model,
    before: &Model,
    effects: &budget::ClientEffects,
    actor: u32,
    minute: u64,
) {
    let pair = (actor, effects.client);
    for (kind, prefix, given) in [
        (Kind::Subjects, "clear", effects.subjects),
        (Kind::Probes, "probe", effects.probes),
        (Kind::Masked, "masked", effects.masked),
    ] {
        for window in Window::ALL {
            let held = model.held(kind, Level::ActorAndClient, pair, (minute, window));
            assert_eq!(given.windows[window as usize], held, "{kind:?} {window:?}");
        }
        let grew = |window| {
            let old = before.sets(actor, effects.client, minute, window);
            let new = model.sets(actor, effects.client, minute, window);
            let of = new.into_iter().filter(|(set, _)| set.starts_with(prefix));
            of.map(|(set, units)| units - old.get(&set).unwrap_or(&0))
                .max()
                .unwrap_or(0)
        };
        assert_eq!(given.charged, grew(Window::Hour), "{kind:?}");
        assert_eq!(given.newly_distinct, grew(Window::All), "{kind:?}");
    }
}

fn check_totals(model: &Model, budgets: &Budgets, minute: u64) {
    for actor in 1..=ACTORS {
        for client in clients() {
            let id = ActorId(actor);
            for (level, totals) in [
                (Level::ActorAndClient, budgets.totals(id, client, minute)),
                (Level::Actor, budgets.actor_totals(id, minute)),
                (Level::Client, budgets.client_totals(client, minute)),
            ] {
                for window in Window::ALL {
                    let held = |kind| model.held(kind, level, (actor, client), (minute, window));
                    let index = window as usize;
                    assert_eq!(totals.subjects[index], held(Kind::Subjects));
                    assert_eq!(totals.probes[index], held(Kind::Probes));
                    assert_eq!(totals.masked[index], held(Kind::Masked));
                }
            }
        }
    }
}

fn unlimited() -> Numbers {
    let free = Limits {
        hour: None,
        day: None,
        month: None,
        all: None,
    };
    let role = RoleNumbers {
        subjects_per_client: free,
        subjects: free,
        probes_per_client: free,
        probes: free,
        masked_per_client: free,
        masked: free,
        statement_probes_max: 16,
    };
    Numbers {
        entries_max: 1_000_000,
        free_text_bytes_per_subject: 100,
        client: ClientNumbers {
            subjects: free,
            probes: free,
            masked: free,
        },
        roles: [(ROLE, role)].into(),
    }
}
