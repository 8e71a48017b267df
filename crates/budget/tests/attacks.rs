//! The attacks of design/crypto.md "Budgets" on the counting itself, each bounded by the budget.

#![allow(clippy::unwrap_used)]

use budget::{Batch, Budgets, Kind, Level, Limits, Numbers, Window};
use event::{ActorId, Class, ClientId, Outcome, Role};

const ACTOR: ActorId = ActorId(4);

fn client(number: u32) -> ClientId {
    ClientId::new(number).unwrap()
}

/// A limit of `hour` subjects an hour for each client, everything else wide.
fn numbers(hour: u64) -> Numbers {
    let wide = Limits::new(1_000_000, 1_000_000, 1_000_000, 1_000_000);
    let mut numbers = Numbers::default();
    numbers.client.subjects = wide;
    numbers.client.probes = wide;
    let role = numbers.roles.get_mut(&Role::Operator).unwrap();
    role.subjects_per_client = Limits {
        hour: Some(hour),
        ..wide
    };
    role.subjects = wide;
    role.probes_per_client = Limits {
        hour: Some(5),
        ..wide
    };
    role.probes = Limits {
        hour: Some(5),
        ..wide
    };
    numbers
}

/// A row of cells of client 1 in clear.
fn row(batch: &mut Batch, cells: &[(Class, u64)]) {
    for &(class, fingerprint) in cells {
        batch.cell(client(1), class, Outcome::Clear, fingerprint, 1);
    }
    batch.end_row();
}

fn released(numbers: &Numbers, batch: &Batch) -> usize {
    let mut budgets = Budgets::new(numbers.entries_max);
    budgets
        .charge(numbers, ACTOR, Role::Operator, 0, batch)
        .rows
}

#[test]
fn ids_aliases_and_order_do_not_matter() {
    // `SELECT 1 AS customer_id, phone`, a self-join with a constant id: only cells are seen.
    let mut batch = Batch::new();
    (0..1_000).for_each(|person| row(&mut batch, &[(Class::Phone, person)]));
    assert_eq!(released(&numbers(60), &batch), 60);

    let mut backwards = Batch::new();
    (0..1_000)
        .rev()
        .for_each(|person| row(&mut backwards, &[(Class::Phone, person)]));
    assert_eq!(released(&numbers(60), &backwards), 60);
}

#[test]
fn three_columns_of_three_people_undercount_by_three_at_most() {
    let mut batch = Batch::new();
    (0..1_000u64).for_each(|person| {
        row(
            &mut batch,
            &[
                (Class::Name, person),
                (Class::Phone, person + 1),
                (Class::Email, person + 2),
            ],
        );
    });
    assert_eq!(released(&numbers(60), &batch), 60);
}

#[test]
fn three_columns_of_one_class_count_three() {
    // `SELECT a.phone, b.phone, c.phone`, or array_agg: all cells of the row are one charge.
    let mut batch = Batch::new();
    (0..1_000u64).for_each(|person| {
        row(
            &mut batch,
            &[0, 1, 2].map(|other| (Class::Phone, 3 * person + other)),
        );
    });
    assert_eq!(released(&numbers(60), &batch), 20);
    // The row that does not fit whole leaves no trace: 61 / 3.
    assert_eq!(released(&numbers(61), &batch), 20);
}

#[test]
fn a_name_shared_by_fifty_counts_by_row_tags() {
    let mut batch = Batch::new();
    for person in 1..=50u64 {
        batch.cell(client(1), Class::Name, Outcome::Clear, 7, 1);
        batch.row_tag(client(1), person);
        batch.end_row();
    }
    assert_eq!(released(&numbers(20), &batch), 20);
}

#[test]
fn one_note_that_holds_many_people_costs_by_length() {
    let numbers = Numbers {
        free_text_bytes_per_subject: 100,
        ..numbers(60)
    };
    let mut batch = Batch::new();
    for note in 0..3 {
        let weight = numbers.free_text_weight(2_500);
        batch.cell(client(1), Class::FreeText, Outcome::Clear, note, weight);
        batch.end_row();
    }
    assert_eq!(released(&numbers, &batch), 2);
}

#[test]
fn a_set_read_again_at_the_end_of_its_window_begins_it_anew() {
    let numbers = numbers(60);
    let mut budgets = Budgets::new(1_000);
    let of = |people: std::ops::Range<u64>| {
        let mut batch = Batch::new();
        people.for_each(|person| row(&mut batch, &[(Class::Phone, person)]));
        batch
    };
    let mut charge = |minute, batch: &Batch| {
        budgets
            .charge(&numbers, ACTOR, Role::Operator, minute, batch)
            .rows
    };
    assert_eq!(charge(0, &of(0..60)), 60);
    assert_eq!(charge(60, &of(0..60)), 60);
    // Counted by first release, 60 new ones would fit now; they were read a minute ago.
    assert_eq!(charge(61, &of(60..120)), 0);
    assert_eq!(charge(121, &of(60..120)), 60);
}

#[test]
fn time_that_goes_back_frees_nothing() {
    let numbers = numbers(1);
    let mut budgets = Budgets::new(1_000);
    let (mut one, mut two) = (Batch::new(), Batch::new());
    row(&mut one, &[(Class::Phone, 1)]);
    row(&mut two, &[(Class::Phone, 2)]);
    assert_eq!(
        budgets
            .charge(&numbers, ACTOR, Role::Operator, 500, &one)
            .rows,
        1
    );
    assert_eq!(
        budgets
            .charge(&numbers, ACTOR, Role::Operator, 3, &two)
            .rows,
        0
    );
    assert_eq!(
        budgets
            .charge(&numbers, ACTOR, Role::Operator, 560, &two)
            .rows,
        0
    );
    assert_eq!(
        budgets
            .charge(&numbers, ACTOR, Role::Operator, 561, &two)
            .rows,
        1
    );
}

#[test]
fn sessions_that_race_for_one_unit_get_one() {
    // 64 sessions at one recorder: whatever their order, one distinct subject more is released.
    let numbers = numbers(11);
    for first in 0..64u64 {
        let mut budgets = Budgets::new(1_000);
        let mut batch = Batch::new();
        (0..10).for_each(|person| row(&mut batch, &[(Class::Phone, person)]));
        assert_eq!(
            budgets
                .charge(&numbers, ACTOR, Role::Operator, 0, &batch)
                .rows,
            10
        );
        let rows: usize = (0..64u64)
            .map(|session| {
                let mut batch = Batch::new();
                row(&mut batch, &[(Class::Phone, 100 + (session + first) % 64)]);
                budgets
                    .charge(&numbers, ACTOR, Role::Operator, session / 32, &batch)
                    .rows
            })
            .sum();
        assert_eq!(rows, 1);
    }
}

#[test]
fn probes_that_do_not_fit_release_nothing() {
    let numbers = numbers(60);
    let mut budgets = Budgets::new(1_000);
    let mut batch = Batch::new();
    (0..6).for_each(|value| batch.probe(client(1), Class::Phone, value, true, false));
    row(&mut batch, &[(Class::Phone, 1)]);
    let charged = budgets.charge(&numbers, ACTOR, Role::Operator, 0, &batch);
    assert!(!charged.probes_granted);
    assert_eq!((charged.rows, charged.effects.len()), (0, 0));
    assert_eq!(batch.released(&charged).count(), 0);
    let refusal = charged.refusal.unwrap();
    assert_eq!(
        (refusal.kind, refusal.level),
        (Kind::Probes, Level::ActorAndClient)
    );
    assert_eq!((refusal.window, refusal.limit), (Window::Hour, 5));
    assert_eq!((refusal.used, refusal.wanted), (0, 6));
    assert_eq!(budgets.entries(), 0);
}

#[test]
fn a_value_probed_over_many_clients_is_one_for_the_actor() {
    let numbers = numbers(60);
    let mut budgets = Budgets::new(1_000);
    for value in 0..5u64 {
        let mut batch = Batch::new();
        for number in 1..=9 {
            let fingerprint = value * 100 + u64::from(number);
            batch.probe(
                client(number),
                Class::Phone,
                fingerprint,
                number == 1,
                false,
            );
        }
        assert!(
            budgets
                .charge(&numbers, ACTOR, Role::Operator, 0, &batch)
                .probes_granted
        );
    }
    assert_eq!(budgets.actor_totals(ACTOR, 0).probes, [5; 4]);
    assert_eq!(budgets.totals(ACTOR, client(9), 0).probes, [5; 4]);
    let mut batch = Batch::new();
    batch.probe(client(10), Class::Phone, 1, true, false);
    let refusal = budgets
        .charge(&numbers, ACTOR, Role::Operator, 0, &batch)
        .refusal
        .unwrap();
    assert_eq!((refusal.kind, refusal.level), (Kind::Probes, Level::Actor));
}

#[test]
fn a_mask_solved_by_searching_costs_subjects() {
    let mut numbers = numbers(3);
    let role = numbers.roles.get_mut(&Role::Operator).unwrap();
    role.probes = Limits::new(100, 100, 100, 100);
    role.probes_per_client = role.probes;
    let mut budgets = Budgets::new(1_000);
    let granted = (0..10_000)
        .filter(|&value| {
            let mut batch = Batch::new();
            batch.probe(client(1), Class::Phone, value, true, true);
            budgets
                .charge(&numbers, ACTOR, Role::Operator, 0, &batch)
                .probes_granted
        })
        .count();
    assert_eq!(granted, 3);
    assert_eq!(budgets.totals(ACTOR, client(1), 0).subjects, [3; 4]);
}

#[test]
fn twenty_operators_together_meet_the_clients_budget() {
    let mut numbers = numbers(60);
    numbers.client.subjects = Limits::renewing(100, 200, 300);
    let mut budgets = Budgets::new(100_000);
    let mut of_hour = |minute: u64| -> usize {
        (0..20u32)
            .map(|actor| {
                let mut batch = Batch::new();
                for person in 0..60 {
                    row(
                        &mut batch,
                        &[(
                            Class::Phone,
                            minute * 10_000 + u64::from(actor) * 60 + person,
                        )],
                    );
                }
                budgets
                    .charge(&numbers, ActorId(actor), Role::Operator, minute, &batch)
                    .rows
            })
            .sum()
    };
    assert_eq!(of_hour(0), 100);
    assert_eq!(of_hour(61), 100);
    assert_eq!(of_hour(122), 0, "the day's 200 are used");
    assert_eq!(of_hour(1_502), 100);
    assert_eq!(of_hour(3_000), 0, "the month's 300 are used");
}

#[test]
fn a_role_without_numbers_gets_nothing() {
    let numbers = Numbers::default();
    let mut batch = Batch::new();
    row(&mut batch, &[(Class::Name, 1)]);
    for role in [
        Role::Maintainer,
        Role::Administrator,
        Role::Approver,
        Role::Importer,
    ] {
        let mut budgets = Budgets::new(1_000);
        let charged = budgets.charge(&numbers, ACTOR, role, 0, &batch);
        assert_eq!((charged.rows, charged.refusal.unwrap().limit), (0, 0));
    }
}

#[test]
fn tightened_numbers_hold_for_what_was_read_already() {
    let mut budgets = Budgets::new(1_000);
    let mut batch = Batch::new();
    (0..10).for_each(|person| row(&mut batch, &[(Class::Phone, person)]));
    assert_eq!(
        budgets
            .charge(&numbers(60), ACTOR, Role::Operator, 0, &batch)
            .rows,
        10
    );
    assert_eq!(
        budgets
            .charge(&numbers(5), ACTOR, Role::Operator, 0, &batch)
            .rows,
        0
    );
}
