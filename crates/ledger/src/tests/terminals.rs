//! Terminals: who is one, in which order they report, and that what was decided for one ends with its
//! health.

use event::record::{Body, Change, Grant, GrantKind, RefusalReason, Who};
use event::{ActorId, Digest, GrantId, LogId, Octets, Role, SessionId, System};

use super::changes::approved;
use super::{ALICE, BOB, OPERATOR, Rig, client, sign};
use crate::batch::{Position, Refusal};
use crate::beside::{Beside, Noted};
use crate::clock::Clock;
use crate::core::Job;
use crate::list::sha256;
use crate::terminals::{Standing, WAITING_MAX};

const SEAT: Digest = Digest([7; 32]);

impl Rig {
    fn said(&mut self, body: Body) -> Result<Position, Refusal> {
        self.ask(|answer| Job::Record(LogId::Centre, Box::new(body), answer))
    }

    fn asks(&mut self, terminal: Digest, name: &str) -> Result<Position, Refusal> {
        self.said(Body::TerminalAsked {
            terminal,
            name: name.to_owned(),
            system: System::Linux,
        })
    }

    fn reports(&mut self, since: u64, sequence: u64) -> Result<Position, Refusal> {
        self.said(Body::TerminalReport {
            terminal: SEAT,
            since,
            sequence,
            report: Octets(sequence.to_be_bytes().to_vec()),
        })
    }

    fn health(&mut self, lacks: &[&str]) -> Result<Position, Refusal> {
        self.said(Body::TerminalHealth {
            terminal: SEAT,
            healthy: lacks.is_empty(),
            lacks: lacks.iter().map(ToString::to_string).collect(),
        })
    }

    fn signed(&mut self, what: &Change) {
        let (change, _) = self.propose(what.clone()).unwrap();
        self.approve(change, sign(ALICE, 1, change, what)).unwrap();
        self.approve(change, sign(BOB, 2, change, what)).unwrap();
    }
}

fn seat(active: bool) -> Change {
    Change::Terminal {
        terminal: SEAT,
        name: "seat-7".into(),
        system: System::Linux,
        address: String::new(),
        active,
    }
}

/// A ledger with an approved terminal.
fn with_seat() -> Rig {
    let mut rig = approved();
    rig.asks(SEAT, "seat-7").unwrap();
    rig.signed(&seat(true));
    rig
}

#[test]
fn asking_gives_nothing_and_one_approver_is_not_enough() {
    let mut rig = approved();
    assert!(rig.propose(seat(true)).is_err(), "it never asked");
    rig.asks(SEAT, "seat-7").unwrap();
    assert!(rig.reports(1, 1).is_err());
    assert!(rig.health(&[]).is_err(), "nobody waiting is healthy");
    let what = seat(true);
    let (change, _) = rig.propose(what.clone()).unwrap();
    rig.approve(change, sign(ALICE, 1, change, &what)).unwrap();
    assert_eq!(
        rig.core.state.terminals.all[&SEAT].standing,
        Standing::Waiting
    );
    rig.approve(change, sign(BOB, 2, change, &what)).unwrap();
    assert_eq!(
        rig.core.state.terminals.all[&SEAT].standing,
        Standing::Approved
    );
    assert!(!rig.core.state.terminals.is_healthy(&SEAT));
}

#[test]
fn as_many_may_ask_as_there_are_places() {
    let mut rig = approved();
    for number in 0..WAITING_MAX {
        let terminal = sha256(&number.to_be_bytes());
        rig.asks(terminal, &format!("m{number}")).unwrap();
    }
    assert!(rig.asks(SEAT, "seat-7").is_err());
    assert!(rig.asks(sha256(&0_usize.to_be_bytes()), "again").is_ok());
    assert!(approved().asks(SEAT, "two words").is_err());
}

#[test]
fn reports_are_taken_in_order_and_once() {
    let mut rig = with_seat();
    rig.reports(1, 1).unwrap();
    assert!(rig.reports(1, 1).is_err(), "twice");
    assert!(rig.reports(3, 3).is_err(), "a gap");
    rig.reports(2, 9).unwrap();
    assert!(rig.reports(11, 10).is_err());
    let known = &rig.core.state.terminals.all[&SEAT];
    assert_eq!(
        (known.reported, known.head),
        (9, sha256(&9_u64.to_be_bytes()))
    );
}

#[test]
fn a_start_believes_nobody_to_be_healthy() {
    let mut rig = with_seat();
    rig.health(&[]).unwrap();
    assert!(rig.core.state.terminals.is_healthy(&SEAT));
    let epoch = rig.core.state.terminals.epoch(&SEAT);
    let (rig, _) = rig.restart();
    assert!(!rig.core.state.terminals.is_healthy(&SEAT));
    assert_ne!(rig.core.state.terminals.epoch(&SEAT), epoch);
    assert_eq!(rig.core.state, *rig.core.shared_state());
}

#[test]
fn what_was_decided_for_a_healthy_terminal_ends_with_its_health() {
    let mut rig = with_seat();
    rig.health(&[]).unwrap();
    let judged = rig.core.state.terminals.epoch(&SEAT).unwrap();
    let ask = |rig: &Rig| {
        let mut ask = rig.batch([(1, 1)]);
        ask.scope.terminal = Some((SEAT, judged));
        ask
    };
    let first = ask(&rig);
    rig.append(first).unwrap();
    rig.health(&["a stick is plugged in"]).unwrap();
    let second = ask(&rig);
    assert_eq!(rig.append(second).unwrap_err(), Refusal::TerminalMoved);
    // Somebody else's rows go on.
    let other = rig.batch([(1, 2)]);
    rig.append(other).unwrap();
}

#[test]
fn a_retired_terminal_says_nothing_and_begins_anew() {
    let mut rig = with_seat();
    rig.reports(1, 4).unwrap();
    rig.health(&[]).unwrap();
    rig.propose(seat(false)).unwrap();
    assert!(!rig.core.state.terminals.is_healthy(&SEAT));
    assert!(rig.reports(5, 5).is_err());
    rig.signed(&seat(true));
    assert!(rig.reports(5, 5).is_err(), "it was installed again");
    rig.reports(1, 1).unwrap();
}

/// A grant to carry ten people of client 1.
fn carry(grant: u32, until_ms: u64) -> Change {
    Change::Grant(Grant {
        grant: GrantId(grant),
        actor: OPERATOR,
        client: client(1),
        what: GrantKind::Carry,
        amount: 10,
        until_ms,
        ticket: "T-1".into(),
    })
}

impl Rig {
    /// A file of so many people, judged.
    fn copied(
        &mut self,
        (actor, grant): (ActorId, u32),
        of: u32,
        subjects: u64,
        refused: Option<RefusalReason>,
    ) -> Result<Position, Refusal> {
        let noted = Noted {
            log: LogId::Client(client(of)),
            copies: Vec::new(),
            body: Body::TerminalCopy {
                who: Who {
                    actor,
                    role: Role::Operator,
                    session: SessionId(1),
                    grant: Some(GrantId(grant)),
                },
                terminal: SEAT,
                medium: Octets(vec![3; 16]),
                bytes: 100,
                classes: Vec::new(),
                subjects,
                refused,
                list: Digest([0; 32]),
            },
            beside: Beside::Keys(Vec::new()),
            keys: Some(client(of)),
        };
        self.core.record_copy(noted).map(|(position, due)| {
            let capped = self.core.state.clients[&client(of)].receipt_cap.is_some();
            let out = subjects > 0 && refused.is_none();
            assert_eq!(due.is_some(), capped && out, "what waits for a receipt");
            position
        })
    }
}

#[test]
fn a_file_is_carried_only_under_its_grant_from_a_healthy_terminal() {
    let mut rig = with_seat();
    let sato = |clients: &[u32]| Change::ActorSet {
        actor: OPERATOR,
        login: "sato".into(),
        role: Role::Operator,
        clients: clients.iter().copied().map(client).collect(),
        active: true,
    };
    rig.signed(&sato(&[1, 2]));
    let until_ms = rig.clock.wall_ms() + 600_000;
    rig.signed(&carry(1, until_ms));
    let by_sato = (OPERATOR, 1);
    assert!(rig.copied(by_sato, 1, 1, None).is_err(), "not healthy");
    // What may not be written is on record whatever else is wrong, and costs nothing.
    rig.copied(by_sato, 1, 100, Some(RefusalReason::Policy))
        .unwrap();
    rig.health(&[]).unwrap();
    rig.copied(by_sato, 1, 6, None).unwrap();
    assert!(rig.copied(by_sato, 1, 5, None).is_err(), "four are left");
    assert!(rig.copied(by_sato, 2, 1, None).is_err(), "another client");
    assert!(rig.copied((ALICE, 1), 1, 1, None).is_err(), "another's");
    assert!(rig.copied((OPERATOR, 2), 1, 1, None).is_err(), "no grant");
    let ask = super::append::under_grant(rig.batch([(1, 1)]));
    assert!(rig.append(ask).is_err(), "it shows nothing in a session");
    let (mut rig, _) = rig.restart();
    assert!(
        rig.copied(by_sato, 1, 4, None).is_err(),
        "health is proven anew"
    );
    rig.health(&[]).unwrap();
    rig.copied(by_sato, 1, 4, None).unwrap();
    assert!(rig.copied(by_sato, 1, 1, None).is_err(), "used up");
    assert!(rig.copied(by_sato, 1, 0, None).is_err(), "also for nobody");
    rig.signed(&carry(2, until_ms));
    rig.propose(Change::GrantEnded { grant: GrantId(2) })
        .unwrap();
    assert!(rig.copied((OPERATOR, 2), 1, 1, None).is_err(), "ended");
    let now = rig.clock.wall_ms();
    rig.signed(&carry(3, now + 60_000));
    rig.copied((OPERATOR, 3), 1, 1, None).unwrap();
    rig.propose(sato(&[2])).unwrap();
    assert!(
        rig.copied((OPERATOR, 3), 1, 1, None).is_err(),
        "not his client any more"
    );
    rig.signed(&sato(&[1, 2]));
    rig.copied((OPERATOR, 3), 1, 1, None).unwrap();
    rig.clock.pass(61_000);
    assert!(rig.copied((OPERATOR, 3), 1, 1, None).is_err(), "expired");
}

/// What leaves in files counts to what witnesses and the client have not seen, as what is shown does.
#[test]
fn files_are_under_the_caps_of_what_nobody_has_seen() {
    let mut rig = with_seat();
    rig.signed(&Change::ActorSet {
        actor: OPERATOR,
        login: "sato".into(),
        role: Role::Operator,
        clients: vec![client(1)],
        active: true,
    });
    rig.signed(&carry(1, rig.clock.wall_ms() + 600_000));
    rig.health(&[]).unwrap();
    rig.propose(Change::UncoveredCap { subjects: Some(7) })
        .unwrap();
    rig.propose(Change::ReceiptCap {
        client: client(1),
        subjects: Some(3),
    })
    .unwrap();
    let by_sato = (OPERATOR, 1);
    assert!(matches!(
        rig.copied(by_sato, 1, 8, None),
        Err(Refusal::Uncovered { waiting: 0, .. })
    ));
    rig.copied(by_sato, 1, 5, None).unwrap();
    assert!(matches!(
        rig.copied(by_sato, 1, 3, None),
        Err(Refusal::Uncovered { waiting: 5, .. })
    ));
    // What may not leave is on record all the same.
    rig.copied(by_sato, 1, 100, Some(RefusalReason::Policy))
        .unwrap();
    rig.copied(by_sato, 1, 2, None).unwrap();
}
