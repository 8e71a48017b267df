//! Changes: what needs two approvers, and that the fold insists.

use event::record::{Body, Change};
use event::{ActorId, ChangeId, Digest, LogId, Role};

use super::{ADMINISTRATOR, ALICE, BOB, OPERATOR, Rig, actor, bodies, numbers, sign, signing_key};
use crate::batch::Refusal;
use crate::core::Progress;
use crate::state::{Meta, State};

/// A ledger with its first two approvers.
pub(super) fn approved() -> Rig {
    let mut rig = Rig::new();
    rig.propose(actor(ALICE, "alice", Role::Approver)).unwrap();
    rig.propose(actor(BOB, "bob", Role::Approver)).unwrap();
    rig.propose(signing_key(ALICE, 1)).unwrap();
    assert!(!rig.core.state.bootstrapped);
    rig.propose(signing_key(BOB, 2)).unwrap();
    assert!(rig.core.state.bootstrapped);
    rig
}

fn is_waiting(progress: Progress) -> bool {
    matches!(progress, Progress::Waiting { .. })
}

#[test]
fn two_different_approvers_put_a_looser_change_in_force() {
    let mut rig = approved();
    let generation = rig.core.state.generation;
    let what = numbers(11);
    let (change, progress) = rig.propose(what.clone()).unwrap();
    assert!(is_waiting(progress));
    assert!(is_waiting(
        rig.approve(change, sign(ALICE, 1, change, &what)).unwrap()
    ));
    assert!(
        rig.approve(change, sign(ALICE, 1, change, &what)).is_err(),
        "twice the same"
    );
    assert_eq!(rig.core.state.generation, generation);
    let progress = rig.approve(change, sign(BOB, 2, change, &what)).unwrap();
    assert_eq!(
        progress,
        Progress::InForce {
            generation: generation + 1
        }
    );
    let (rig, _) = rig.restart();
    assert_eq!(rig.core.state.generation, generation + 1);
    assert_eq!(rig.core.state, *rig.core.shared_state());
}

#[test]
fn signatures_that_do_not_count() {
    let mut rig = approved();
    let what = numbers(11);
    let (change, _) = rig.propose(what.clone()).unwrap();
    let wrong = [
        sign(ALICE, 2, change, &what),
        sign(BOB, 1, change, &what),
        sign(ALICE, 1, ChangeId(change.0 + 1), &what),
        sign(ALICE, 1, change, &numbers(12)),
        sign(OPERATOR, 1, change, &what),
        sign(ADMINISTRATOR, 9, change, &what),
        sign(ActorId(99), 9, change, &what),
    ];
    for approval in wrong {
        assert!(matches!(
            rig.approve(change, approval),
            Err(Refusal::Change(_))
        ));
    }
    assert!(rig.core.state.proposals[&change].approvals.is_empty());
}

#[test]
fn an_approver_withdrawn_before_the_second_signature_does_not_count() {
    let mut rig = approved();
    let what = numbers(11);
    let (change, _) = rig.propose(what.clone()).unwrap();
    rig.approve(change, sign(ALICE, 1, change, &what)).unwrap();
    let Change::ActorSet {
        actor,
        login,
        role,
        clients,
        ..
    } = actor(ALICE, "alice", Role::Approver)
    else {
        unreachable!()
    };
    let (_, progress) = rig
        .propose(Change::ActorSet {
            actor,
            login,
            role,
            clients,
            active: false,
        })
        .unwrap();
    assert!(!is_waiting(progress), "withdrawing needs no signature");
    let progress = rig.approve(change, sign(BOB, 2, change, &what)).unwrap();
    assert!(is_waiting(progress));
}

#[test]
fn one_administrator_alone_loosens_nothing() {
    let mut rig = approved();
    let waits = [
        numbers(11),
        actor(ActorId(9), "mallory", Role::Operator),
        actor(OPERATOR, "operator", Role::Supervisor),
        actor(OPERATOR, "someone-else", Role::Operator),
        signing_key(ALICE, 9),
        Change::Credential {
            actor: OPERATOR,
            commitment: Digest([0; 32]),
        },
        Change::EnrolmentCode {
            actor: BOB,
            commitment: Digest([0; 32]),
            until_ms: u64::MAX,
        },
        Change::Policy {
            cedar: "permit(principal, action, resource);".into(),
            masks: String::new(),
        },
    ];
    for what in waits {
        assert!(is_waiting(rig.propose(what).unwrap().1));
    }
    let tighter = [
        numbers(9),
        Change::ClientAdded {
            client: super::client(9),
            code: "nine".into(),
            name: "Nine".into(),
        },
    ];
    for what in tighter {
        assert!(!is_waiting(rig.propose(what).unwrap().1));
    }
}

#[test]
fn enrolment_uses_its_code_up() {
    let mut rig = approved();
    let commitment = Digest([3; 32]);
    let code = Change::EnrolmentCode {
        actor: OPERATOR,
        commitment,
        until_ms: u64::MAX,
    };
    assert!(!is_waiting(rig.propose(code.clone()).unwrap().1));
    let credential = Change::Credential {
        actor: OPERATOR,
        commitment,
    };
    assert!(!is_waiting(rig.propose(credential.clone()).unwrap().1));
    // A second one is a reset, and so is a new code.
    assert!(is_waiting(rig.propose(credential).unwrap().1));
    assert!(is_waiting(rig.propose(code).unwrap().1));
}

#[test]
fn nonsense_is_refused_and_not_recorded() {
    let mut rig = approved();
    let before = rig.core.state.last_change;
    for what in [
        actor(ActorId(0), "zero", Role::Operator),
        actor(ActorId(9), "Capital", Role::Operator),
        actor(ActorId(9), "operator", Role::Operator),
        Change::Numbers { toml: "?".into() },
        Change::GrantEnded {
            grant: event::GrantId(5),
        },
        signing_key(OPERATOR, 1),
    ] {
        assert!(matches!(rig.propose(what), Err(Refusal::Change(_))));
    }
    assert_eq!(rig.core.state.last_change, before);
}

#[test]
fn the_bootstrap_is_marked_in_its_records() {
    let mut rig = approved();
    let what = numbers(11);
    let (change, _) = rig.propose(what.clone()).unwrap();
    rig.approve(change, sign(ALICE, 1, change, &what)).unwrap();
    rig.approve(change, sign(BOB, 2, change, &what)).unwrap();
    rig.core.stop();
    let marks: Vec<(bool, bool)> = bodies(&rig.sim)
        .iter()
        .filter_map(|body| match body {
            Body::InForce {
                loosens, bootstrap, ..
            } => Some((*loosens, *bootstrap)),
            _ => None,
        })
        .collect();
    assert_eq!(marks.last(), Some(&(true, false)));
    assert_eq!(
        marks.iter().filter(|mark| **mark == (true, true)).count(),
        6
    );
}

#[test]
fn the_fold_stops_at_a_forged_record() {
    let mut rig = approved();
    let (change, _) = rig.propose(numbers(11)).unwrap();
    let meta = |state: &State| Meta {
        log: LogId::Centre,
        sequence: 99,
        wall_ms: state.times.wall_ms,
        elapsed_ms: state.times.elapsed_ms,
    };
    let forged = [
        Body::InForce {
            change,
            loosens: true,
            bootstrap: false,
        },
        Body::InForce {
            change,
            loosens: true,
            bootstrap: true,
        },
        Body::InForce {
            change: ChangeId(77),
            loosens: false,
            bootstrap: false,
        },
        Body::Approved {
            change,
            approval: sign(ALICE, 9, change, &numbers(11)),
        },
        Body::Genesis {
            centre: "Other".into(),
            ledger: [1; 16],
        },
        Body::Unknown {
            kind: 900,
            critical: true,
        },
    ];
    for body in forged {
        let mut state = rig.core.state.clone();
        assert!(
            state.apply(&meta(&state.clone()), &body).is_err(),
            "{body:?}"
        );
    }
    // Nor is one approval enough, whatever the record says.
    for bootstrap in [false, true] {
        let mut state = rig.core.state.clone();
        let approval = sign(ALICE, 1, change, &numbers(11));
        let approved = Body::Approved { change, approval };
        state.apply(&meta(&state.clone()), &approved).unwrap();
        let forged = Body::InForce {
            change,
            loosens: true,
            bootstrap,
        };
        assert!(
            state.apply(&meta(&state.clone()), &forged).is_err(),
            "{forged:?}"
        );
    }
    let mut state = rig.core.state.clone();
    let harmless = Body::Unknown {
        kind: 900,
        critical: false,
    };
    assert!(state.apply(&meta(&state.clone()), &harmless).is_ok());
    // A signing key needs signatures, whatever its record claims.
    let (change, _) = rig.propose(signing_key(ALICE, 9)).unwrap();
    let mut state = rig.core.state.clone();
    let claims = Body::InForce {
        change,
        loosens: false,
        bootstrap: false,
    };
    assert!(state.apply(&meta(&state.clone()), &claims).is_err());
}

/// Two approvers allow one officer's file, and the fold insists on it.
#[test]
fn an_approval_is_good_for_one_officers_file() {
    use crate::core::Job;
    let mut rig = approved();
    let what = Change::OfficerFile {
        client: super::client(2),
    };
    let made = |rig: &mut Rig, log| {
        let body = Box::new(Body::OfficerFile { by: ADMINISTRATOR });
        rig.ask(|answer| Job::Record(log, body, answer)).is_ok()
    };
    let of = |number| LogId::Client(super::client(number));
    let (change, progress) = rig.propose(what.clone()).unwrap();
    assert!(is_waiting(progress) && !made(&mut rig, of(2)));
    rig.approve(change, sign(ALICE, 1, change, &what)).unwrap();
    assert!(!made(&mut rig, of(2)), "one approval is none");
    rig.approve(change, sign(BOB, 2, change, &what)).unwrap();
    assert!(rig.propose(what.clone()).is_err(), "one waits already");
    let (mut rig, _) = rig.restart();
    assert!(!made(&mut rig, of(1)) && !made(&mut rig, LogId::Centre));
    assert!(made(&mut rig, of(2)));
    assert!(!made(&mut rig, of(2)), "used up");
    assert!(rig.propose(what).is_ok(), "and asked for again");
}
