//! The fold as a whole: what a small made-up centre leads to.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use event::record::{FindingKind, RefusalReason};
use event::{ActorId, ClientId, GrantId, Role, SessionId};
use proptest::prelude::*;
use watch::{
    Call, Cause, Detector, Exposure, IdentityKind, Order, Part, Record, Said, Settings,
    TerminalEvent, TerminalId, Watch, What,
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Midnight in Japan, 2024-01-08, a Monday.
const BEGIN: u64 = 1_704_639_600_000;
const ACTORS: u32 = 40;

struct Centre {
    watch: Watch,
    said: Vec<Said>,
    sequence: u64,
    random: u64,
}

impl Centre {
    fn new() -> Self {
        Self {
            watch: Watch::new(Settings::default()),
            said: Vec::new(),
            sequence: 0,
            random: 1,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn step(&mut self, at_ms: u64, what: What<'_>) {
        self.sequence += 1;
        let record = Record {
            sequence: self.sequence,
            at_ms,
            what,
        };
        self.watch.step(&record, &mut self.said);
    }

    fn show(&mut self, at_ms: u64, actor: u32, subjects: u32, grant: Option<GrantId>) {
        let key = [self.random(1 << 40)];
        let exposure = Exposure {
            actor: ActorId(actor),
            role: if actor > ACTORS {
                Role::Maintainer
            } else {
                Role::Operator
            },
            session: Some(SessionId(u64::from(actor))),
            client: client(actor % 2 + 1),
            grant,
            rows: subjects,
            subjects,
            new: Some(subjects),
            masked: 0,
            probes: 1,
            missed: Some(0),
            order: Order {
                pairs: 1,
                ascending: self.random(2) as u32,
                near: 0,
            },
            shape: 1,
            keys: if subjects == 1 { &key } else { &[] },
        };
        self.step(at_ms, What::Exposure(exposure));
    }

    /// Days of 30 to 39 calls for each, one subject a call, by turns. `extra`: what else happens at a
    /// minute of the day.
    fn work(&mut self, days: std::ops::Range<u64>, mut extra: impl FnMut(&mut Self, u64, u64)) {
        for day in days {
            if day % 7 >= 5 {
                continue;
            }
            for minute in 0..480_u64 {
                let at = BEGIN + day * DAY + 9 * HOUR + minute * MINUTE;
                for actor in 1..=ACTORS {
                    if (minute + u64::from(actor)) % 14 == 0 {
                        let call = Call {
                            actor: ActorId(actor),
                            client: client(actor % 2 + 1),
                            subject: None,
                            from_ms: at - MINUTE,
                            until_ms: at + 3 * MINUTE,
                        };
                        self.step(at, What::Call(call));
                        self.show(at, actor, 1, None);
                        if self.random(40) == 0 {
                            self.show(at + MINUTE, actor, 1, None);
                        }
                    }
                }
                extra(self, day, minute);
            }
        }
    }

    fn found(&self) -> Vec<(Detector, Option<u32>)> {
        self.said
            .iter()
            .map(|said| {
                let actor = said.finding.actor.map(|actor| actor.0);
                (said.finding.cause.detector(), actor)
            })
            .collect()
    }
}

fn client(number: u32) -> ClientId {
    ClientId::new(number).unwrap()
}

/// One subject, and nothing else known.
fn exposure(actor: u32, client: ClientId) -> Exposure<'static> {
    Exposure {
        actor: ActorId(actor),
        role: Role::Operator,
        session: None,
        client,
        grant: None,
        rows: 1,
        subjects: 1,
        new: None,
        masked: 0,
        probes: 0,
        missed: None,
        order: Order::default(),
        shape: 0,
        keys: &[],
    }
}

#[test]
fn a_year_of_ordinary_work_is_no_finding() {
    let mut centre = Centre::new();
    centre.work(0..365, |_, _, _| {});
    assert_eq!(centre.found(), []);
    assert_eq!(centre.watch.skipped(), watch::Skipped::default());
}

#[test]
fn the_case_is_seen_while_it_happens() {
    let mut centre = Centre::new();
    let mut taken = 0;
    centre.work(0..60, |centre, day, minute| {
        if day == 50 && minute < 40 && centre.said.is_empty() {
            let at = BEGIN + day * DAY + 9 * HOUR + minute * MINUTE;
            centre.show(at, 90, 50, None);
            taken += 50;
        }
    });
    let [first, ..] = &centre.said[..] else {
        panic!("nothing found")
    };
    assert_eq!(first.finding.actor, Some(ActorId(90)));
    assert!(
        matches!(first.finding.cause, Cause::Burst { .. }),
        "{first:?}"
    );
    assert!(first.case.new && taken <= 200, "{taken}");
}

#[test]
fn a_budget_that_ends_in_an_unusual_hour_is_a_burst() {
    let mut centre = Centre::new();
    let refused = What::Refused {
        actor: Some(ActorId(1)),
        client: Some(client(1)),
        reason: RefusalReason::SubjectBudget,
        count: 1,
    };
    centre.show(BEGIN + HOUR, 1, 30, None);
    centre.step(BEGIN + HOUR, refused);
    assert_eq!(centre.found(), [], "an ordinary hour");
    centre.show(BEGIN + HOUR + MINUTE, 1, 50, None);
    assert_eq!(centre.found(), []);
    centre.step(BEGIN + HOUR + MINUTE, refused);
    assert_eq!(centre.found(), [(Detector::Burst, Some(1))]);
}

#[test]
fn lookups_without_calls_are_found_and_told_by_the_balance() {
    let mut centre = Centre::new();
    let mut taken = 0;
    centre.work(0..120, |centre, day, minute| {
        if day >= 40 && minute % 96 == 50 && centre.said.is_empty() {
            let at = BEGIN + day * DAY + 9 * HOUR + minute * MINUTE;
            centre.show(at, 7, 1, None);
            taken += 1;
        }
    });
    assert_eq!(centre.found().first(), Some(&(Detector::Balance, Some(7))));
    assert!(taken < 100, "{taken} at five a day");
}

#[test]
fn only_the_excess_over_a_grant_counts() {
    let mut centre = Centre::new();
    let granted = What::Granted {
        grant: GrantId(1),
        actor: ActorId(90),
        client: client(1),
        amount: 5_000,
        until_ms: BEGIN + 60 * DAY,
    };
    centre.step(BEGIN, granted);
    let at = |minute| BEGIN + 50 * DAY + 10 * HOUR + minute * MINUTE;
    centre.work(0..50, |_, _, _| {});
    (0..50).for_each(|minute| centre.show(at(minute), 90, 100, Some(GrantId(1))));
    assert_eq!(centre.found(), []);
    (50..60).for_each(|minute| centre.show(at(minute), 90, 100, Some(GrantId(1))));
    assert_eq!(centre.found(), [(Detector::Burst, Some(90))]);
}

#[test]
fn what_is_never_dropped_is_told_at_once() {
    let mut centre = Centre::new();
    centre.work(0..5, |_, _, _| {});
    let at = BEGIN + 7 * DAY + 9 * HOUR;
    let subject = 77;
    let planted = What::Canary {
        client: client(1),
        subject,
    };
    centre.step(at, planted);
    let keys = [subject];
    let exposure = Exposure {
        keys: &keys,
        ..exposure(2, client(1))
    };
    centre.step(at + 1, What::Exposure(exposure));
    let gap = What::Gap {
        part: Part::Gate,
        from_ms: at,
        until_ms: at + 5,
        missing: 3,
    };
    centre.step(at + 5, gap);
    let returned = What::Returned {
        rows: 90_000,
        accounted: 40,
    };
    centre.step(at + 6, returned);
    let (session, terminal) = (SessionId(9), TerminalId(1));
    let opened = What::SessionOpened {
        actor: ActorId(3),
        role: Role::Operator,
        session,
        terminal,
    };
    centre.step(at + 7, opened);
    let many = Exposure {
        actor: ActorId(3),
        session: Some(session),
        subjects: 120,
        rows: 120,
        keys: &[],
        ..exposure
    };
    centre.step(at + 8, What::Exposure(many));
    let written = What::Terminal {
        terminal,
        actor: None,
        event: TerminalEvent::MediaWritten,
        bytes: 9,
    };
    centre.step(at + 9, written);
    let mut found = centre.found();
    found.retain(|(detector, _)| *detector != Detector::Burst);
    assert_eq!(
        found,
        [
            (Detector::Canary, Some(2)),
            (Detector::Silence, None),
            (Detector::Silence, None),
            (Detector::Chain, Some(3)),
        ]
    );
}

#[test]
fn an_account_that_is_not_one_person() {
    let mut centre = Centre::new();
    centre.work(0..5, |_, _, _| {});
    let at = BEGIN + 7 * DAY + 9 * HOUR;
    for (session, terminal) in [(1, 1), (2, 2)] {
        let opened = What::SessionOpened {
            actor: ActorId(5),
            role: Role::Operator,
            session: SessionId(session),
            terminal: TerminalId(terminal),
        };
        centre.step(at, opened);
    }
    for turn in 0..12 {
        let exposure = Exposure {
            session: Some(SessionId(turn % 2 + 1)),
            ..exposure(5, client(1))
        };
        centre.step(at + (turn + 1) * MINUTE, What::Exposure(exposure));
    }
    let left = What::Actor {
        actor: ActorId(6),
        role: Role::Operator,
        active: false,
    };
    centre.step(at + HOUR, left);
    centre.show(at + HOUR, 6, 1, None);
    let kinds: Vec<_> = centre.said.iter().map(|said| said.finding.cause).collect();
    let [
        Cause::Identity { kind: first, .. },
        Cause::Identity { kind: second, .. },
    ] = kinds[..]
    else {
        panic!("{kinds:?}")
    };
    let expected = (IdentityKind::Terminals, IdentityKind::Left);
    assert_eq!((first, second), expected);
}

#[test]
fn a_walk_between_other_work_is_found() {
    let mut centre = Centre::new();
    let mut taken = 0;
    centre.work(0..60, |centre, day, minute| {
        if day >= 30 && minute % 24 == 5 && centre.said.is_empty() {
            let at = BEGIN + day * DAY + 9 * HOUR + minute * MINUTE;
            taken += 1;
            let exposure = Exposure {
                order: Order {
                    pairs: 1,
                    ascending: 1,
                    near: 1,
                },
                ..exposure(9, client(2))
            };
            centre.step(at, What::Exposure(exposure));
        }
    });
    assert_eq!(centre.found().first(), Some(&(Detector::Walk, Some(9))));
    assert!(taken < 30, "{taken}");
}

#[test]
fn an_hour_without_records_among_working_hours_is_silence() {
    let mut centre = Centre::new();
    for day in 0..40 {
        let gap = day == 38;
        let mut hours = Vec::new();
        for hour in 9..18 {
            if !(gap && hour == 13) {
                hours.push(hour);
            }
        }
        for hour in hours {
            for minute in 0..60 {
                let at = BEGIN + day * DAY + hour * HOUR + minute * MINUTE;
                centre.show(at, (minute % 20) as u32 + 1, 1, None);
            }
        }
    }
    let silent: Vec<_> = centre
        .said
        .iter()
        .filter_map(|said| match said.finding.cause {
            Cause::Silence { from_ms, .. } => Some(from_ms),
            _ => None,
        })
        .collect();
    assert_eq!(silent, [BEGIN + 38 * DAY + 13 * HOUR]);
}

/// The telephone system's file of a day comes in the next morning.
#[test]
fn calls_of_yesterday_explain_yesterday() {
    let mut centre = Centre::new();
    for day in 0..40 {
        let at = |minute| BEGIN + day * DAY + 9 * HOUR + minute * MINUTE;
        for minute in (0..480).step_by(12) {
            (1..=ACTORS).for_each(|actor| centre.show(at(minute), actor, 1, None));
        }
        for minute in (0..480).step_by(12) {
            for actor in 1..=ACTORS {
                let call = Call {
                    actor: ActorId(actor),
                    client: client(actor % 2 + 1),
                    subject: None,
                    from_ms: at(minute),
                    until_ms: at(minute + 3),
                };
                centre.step(BEGIN + (day + 1) * DAY + 7 * HOUR, What::Call(call));
            }
        }
        // Somebody looks without a call from then on.
        if day >= 30 && centre.said.is_empty() {
            let minutes = (480..540).step_by(10);
            minutes.for_each(|minute| centre.show(at(minute), 7, 1, None));
        }
    }
    assert_eq!(centre.found().first(), Some(&(Detector::Balance, Some(7))));
    assert_eq!(centre.watch.skipped().late, 0);
    // What comes after noon is late.
    let call = Call {
        actor: ActorId(1),
        client: client(1),
        subject: None,
        from_ms: BEGIN + 30 * DAY,
        until_ms: BEGIN + 30 * DAY,
    };
    centre.step(BEGIN + 41 * DAY, What::Call(call));
    assert_eq!(centre.watch.skipped().late, 1);
}

/// A subject that was shown a moment ago costs nothing, and still stands in the list.
#[test]
fn more_keys_than_subjects_are_no_way_around() {
    let mut centre = Centre::new();
    centre.work(0..5, |_, _, _| {});
    let at = BEGIN + 7 * DAY + 9 * HOUR;
    let (client, subject) = (client(1), 77);
    centre.step(at, What::Canary { client, subject });
    let keys = [5, 77, 6];
    let exposure = Exposure {
        rows: 1,
        subjects: 1,
        keys: &keys,
        ..exposure(2, client)
    };
    centre.step(at + 1, What::Exposure(exposure));
    assert_eq!(centre.found(), [(Detector::Canary, Some(2))]);
    assert_eq!(centre.watch.skipped(), watch::Skipped::default());
}

/// Whoever makes findings about many does not keep others from being told.
#[test]
fn a_flood_of_findings_does_not_silence_the_rest() {
    let mut centre = Centre::new();
    centre.work(0..5, |_, _, _| {});
    let at = BEGIN + 7 * DAY + 9 * HOUR;
    for actor in 1..=ACTORS {
        let spoilt = What::Gate {
            actor: ActorId(actor),
            client: None,
            kind: FindingKind::CellDoesNotVerify,
            count: 9,
        };
        centre.step(at + u64::from(actor), spoilt);
    }
    assert_eq!(centre.said.len(), ACTORS as usize);
    // Two days on there is budget again.
    centre.step(at + 2 * DAY, What::Tick);
    let away = What::Away {
        actor: ActorId(90),
        from_ms: at,
        until_ms: at + 9 * DAY,
    };
    centre.show(at + 2 * DAY, 90, 1, None);
    centre.step(at + 2 * DAY + 1, away);
    (0..6).for_each(|n| centre.show(at + 2 * DAY + 2 + n, 90, 1, None));
    let last = centre.found().pop();
    assert_eq!(last, Some((Detector::Identity, Some(90))));
}

/// Each client whose calls lack is told.
#[test]
fn calls_that_lack_are_told_for_each_client() {
    let mut centre = Centre::new();
    centre.work(0..20, |_, _, _| {});
    for minute in 0..400_u64 {
        let at = BEGIN + 21 * DAY + 9 * HOUR + minute * MINUTE;
        centre.show(at, (minute % 40) as u32 + 1, 1, None);
    }
    centre.step(BEGIN + 23 * DAY, What::Tick);
    let silent: Vec<_> = centre
        .said
        .iter()
        .filter(|said| said.finding.cause.detector() == Detector::Silence)
        .map(|said| said.finding.client)
        .collect();
    assert_eq!(silent, [Some(client(1)), Some(client(2))]);
}

#[test]
fn what_makes_no_sense_is_counted() {
    let mut centre = Centre::new();
    centre.show(BEGIN + 30 * DAY, 1, 1, None);
    centre.show(BEGIN + 10 * DAY, 1, 1, None);
    centre.show(BEGIN + 300 * DAY, 1, 1, None);
    centre.show(BEGIN + 31 * DAY, 1, 1, None);
    let call = Call {
        actor: ActorId(1),
        client: client(1),
        subject: None,
        from_ms: 9,
        until_ms: 8,
    };
    centre.step(BEGIN + 31 * DAY, What::Call(call));
    centre.sequence -= 1;
    centre.step(BEGIN + 31 * DAY, What::Tick);
    let skipped = centre.watch.skipped();
    assert_eq!(
        (
            skipped.late,
            skipped.future,
            skipped.impossible,
            skipped.repeated
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(centre.watch.taken(), 2);
}

fn what() -> impl Strategy<Value = What<'static>> {
    let actor = || prop_oneof![1..5_u32, any::<u32>()].prop_map(ActorId);
    let some_client = || (1..4_u32).prop_map(client);
    let numbers = prop_oneof![0..5_u32, any::<u32>()];
    prop_oneof![
        Just(What::Tick),
        (
            (actor(), some_client(), numbers.clone(), numbers.clone()),
            (
                numbers.clone(),
                numbers.clone(),
                any::<Option<u32>>(),
                any::<Option<u32>>()
            ),
        )
            .prop_map(
                |((actor, client, rows, subjects), (pairs, near, new, missed))| {
                    What::Exposure(Exposure {
                        actor,
                        role: Role::Operator,
                        session: Some(SessionId(u64::from(rows))),
                        client,
                        grant: Some(GrantId(1)),
                        rows,
                        subjects,
                        new,
                        masked: 0,
                        probes: subjects,
                        missed,
                        order: Order {
                            pairs,
                            ascending: pairs / 2,
                            near,
                        },
                        shape: 0,
                        keys: &[1, 2, 3],
                    })
                }
            ),
        (actor(), some_client(), any::<u64>(), any::<u64>()).prop_map(
            |(actor, client, from_ms, until_ms)| What::Call(Call {
                actor,
                client,
                subject: None,
                from_ms,
                until_ms,
            })
        ),
        (actor(), any::<u64>(), any::<u64>()).prop_map(|(actor, from_ms, until_ms)| What::Away {
            actor,
            from_ms,
            until_ms
        }),
        (actor(), some_client(), any::<u64>(), any::<u64>()).prop_map(
            |(actor, client, amount, until_ms)| What::Granted {
                grant: GrantId(1),
                actor,
                client,
                amount,
                until_ms
            }
        ),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(from_ms, until_ms, missing)| {
            What::Gap {
                part: Part::Gate,
                from_ms,
                until_ms,
                missing,
            }
        }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(rows, accounted)| What::Returned { rows, accounted }),
        (any::<u64>(), any::<u64>()).prop_map(|(terminal, bytes)| What::Terminal {
            terminal: TerminalId(terminal % 3),
            actor: None,
            event: TerminalEvent::Sent,
            bytes
        }),
        Just(What::Alive { part: Part::Gate }),
        (actor(), any::<u32>()).prop_map(|(actor, count)| What::Gate {
            actor,
            client: None,
            kind: FindingKind::CellDoesNotVerify,
            count
        }),
        (actor(), any::<u32>()).prop_map(|(actor, count)| What::Refused {
            actor: Some(actor),
            client: None,
            reason: RefusalReason::Statement,
            count
        }),
    ]
}

proptest! {
    /// Whatever the records: no panic, and the same findings again.
    #[test]
    fn any_records_fold_the_same_way_twice(
        records in proptest::collection::vec((what(), 0..40 * HOUR, any::<bool>()), 0..120),
    ) {
        let fold = || {
            let mut watch = Watch::new(Settings::default());
            let (mut said, mut at_ms) = (Vec::new(), BEGIN);
            for (sequence, (what, later, back)) in records.iter().enumerate() {
                at_ms = if *back { at_ms - later / 4 } else { at_ms + later };
                let record = Record { sequence: sequence as u64, at_ms, what: *what };
                watch.step(&record, &mut said);
            }
            watch.finish(&mut said);
            (said, watch.skipped())
        };
        prop_assert_eq!(fold(), fold());
    }
}
