//! Cases: who closes them, what they suspend, and what is beside their records.

use event::record::{Body, CaseFinding};
use event::{ActorId, Digest, LogId, Plain};
use event::{CloseReason, Response};
use tokio::sync::oneshot;

use super::{ADMINISTRATOR, ALICE, BOB, OPERATOR, Rig, client};
use crate::batch::{Position, Refusal};
use crate::beside::{Beside, Found, Noted};
use crate::core::Job;
use crate::list;

fn finding(actor: Option<ActorId>) -> CaseFinding {
    CaseFinding {
        detector: 11,
        actor,
        others: Vec::new(),
        client: Some(client(1)),
        bits: 24 << 8,
        version: 1,
        numbers: vec![1],
        cause: Some(7),
        at_ms: 5,
        rests_on: vec![7],
        days: Vec::new(),
    }
}

fn found(actor: Option<ActorId>, join: Option<u32>, grave: bool, response: Response) -> Found {
    let copy = CaseFinding {
        cause: None,
        ..finding(actor)
    };
    Found {
        join,
        finding: finding(actor),
        copies: vec![(client(1), copy.clone()), (client(99), copy)],
        grave,
        response,
    }
}

impl Rig {
    fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut crate::core::Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask(|answer: oneshot::Sender<Result<T, Refusal>>| {
            Job::Do(Box::new(move |core| {
                let done = work(core);
                Box::new(move |failed| {
                    let _ = answer.send(failed.map_or(done, Err));
                })
            }))
        })
    }

    fn found(&mut self, found: Found) -> u32 {
        self.with(|core| core.record_found(found)).unwrap().0
    }

    fn noted(&mut self, body: Body, text: &str) -> Result<Position, Refusal> {
        let noted = Noted {
            log: LogId::Centre,
            copies: vec![client(1)],
            body,
            beside: Beside::Text(Plain::new(text.to_owned())),
            keys: None,
        };
        self.with(|core| core.record_noted(noted))
    }

    fn close(
        &mut self,
        case: u32,
        by: ActorId,
        asked: Option<ActorId>,
    ) -> Result<Position, Refusal> {
        let body = Body::CaseClosed {
            case,
            by,
            asked,
            reason: CloseReason::Explained,
            text: Digest([0; 32]),
        };
        self.noted(body, "why")
    }
}

#[test]
fn a_case_suspends_until_two_people_closed_it() {
    let mut rig = Rig::new();
    let shows = |rig: &mut Rig| {
        let ask = rig.batch([(1, 5)]);
        rig.append(ask)
    };
    shows(&mut rig).unwrap();
    let case = rig.found(found(Some(OPERATOR), None, true, Response::Suspend));
    assert_eq!(case, 1);
    assert_eq!(shows(&mut rig), Err(Refusal::Suspended { case: 1 }));
    // The same case, though this finding asks for nothing.
    assert_eq!(
        rig.found(found(Some(OPERATOR), Some(1), false, Response::Nothing)),
        1
    );

    assert!(rig.close(1, OPERATOR, None).is_err(), "about himself");
    assert!(rig.close(1, ALICE, Some(BOB)).is_err(), "nobody asked");
    rig.close(1, ALICE, None).unwrap();
    assert!(rig.close(1, ALICE, Some(ALICE)).is_err(), "one is not two");
    assert_eq!(shows(&mut rig), Err(Refusal::Suspended { case: 1 }));
    // What came since, the first one did not know of.
    rig.found(found(Some(OPERATOR), Some(1), false, Response::Nothing));
    assert!(rig.close(1, BOB, Some(ALICE)).is_err());
    rig.close(1, ALICE, None).unwrap();
    rig.close(1, BOB, Some(ALICE)).unwrap();
    shows(&mut rig).unwrap();
    assert!(rig.close(1, BOB, None).is_err(), "closed already");

    // A closed case takes nothing: another one is opened; and it can be opened again.
    assert_eq!(
        rig.found(found(Some(OPERATOR), Some(1), false, Response::Nothing)),
        2
    );
    shows(&mut rig).unwrap();
    let reopened = Body::CaseReopened {
        case: 1,
        by: BOB,
        text: Digest([0; 32]),
    };
    rig.noted(reopened.clone(), "x").unwrap();
    assert!(rig.noted(reopened, "x").is_err(), "open already");
    assert_eq!(shows(&mut rig), Err(Refusal::Suspended { case: 1 }));
    let case = rig.core.state.cases.all[&1].clone();
    assert_eq!((case.findings, case.clients.len()), (3, 1));

    // A replay comes to the same, and a snapshot's bytes do.
    let state = rig.core.state.clone();
    let (sim, clock) = (rig.sim.clone(), rig.clock.clone());
    drop(rig);
    let (again, _) = Rig::open(&sim, &clock).unwrap();
    assert_eq!(again.core.state.cases, state.cases);
    let mut bytes = Vec::new();
    crate::cases::put(&mut bytes, &state.cases);
    let mut from = crate::snapshot::bytes::Take(&bytes);
    assert_eq!(crate::cases::take(&mut from).as_ref(), Some(&*state.cases));
}

#[test]
fn one_person_closes_what_is_not_grave() {
    let mut rig = Rig::new();
    let case = rig.found(found(None, None, false, Response::Nothing));
    assert!(rig.close(case, ALICE, Some(BOB)).is_err());
    rig.close(case, ALICE, None).unwrap();
    let body = |case| Body::CaseNoted {
        case,
        by: BOB,
        text: Digest([0; 32]),
    };
    assert!(rig.noted(body(9), "there is no such case").is_err());
    let long = "x".repeat(list::PURPOSE_BYTES_MAX + 1);
    assert!(matches!(
        rig.noted(body(case), &long),
        Err(Refusal::TooLarge { .. })
    ));
    let log = LogId::Centre;
    let by_hand = Box::new(body(case));
    let refused = rig.ask(|answer| Job::Record(log, by_hand, answer));
    assert_eq!(refused.unwrap_err(), Refusal::NotYours(27));
}

#[test]
fn two_people_rebaseline_and_none_of_them_himself() {
    let mut rig = Rig::new();
    let mut say = |by, asked| {
        let body = Box::new(Body::Rebaselined {
            actor: OPERATOR,
            by,
            asked,
        });
        rig.ask(|answer| Job::Record(LogId::Centre, body, answer))
    };
    assert!(say(OPERATOR, None).is_err());
    assert!(say(ALICE, Some(ADMINISTRATOR)).is_err());
    say(ADMINISTRATOR, None).unwrap();
    assert!(say(ADMINISTRATOR, Some(ADMINISTRATOR)).is_err());
    say(ALICE, Some(ADMINISTRATOR)).unwrap();
    assert!(say(BOB, Some(ADMINISTRATOR)).is_err(), "it is done");
}

#[test]
fn texts_are_encrypted_beside_the_record() {
    let mut rig = Rig::new();
    let case = rig.found(found(Some(OPERATOR), None, true, Response::Nothing));
    let body = Body::CaseNoted {
        case,
        by: ALICE,
        text: Digest([0; 32]),
    };
    let position = rig.noted(body, "ticket R-88").unwrap();
    // Readers see what a later frame says is durable.
    rig.found(found(Some(OPERATOR), Some(case), true, Response::Nothing));
    let entries = super::entries(&rig.sim);
    let entry = &entries[position.sequence as usize];
    let Ok(Body::CaseNoted { text, .. }) = event::record::decode(&entry.record) else {
        panic!("{entry:?}")
    };
    // The test's keys flip bits.
    let plaintext: Vec<u8> = entry.attachment.iter().map(|byte| byte ^ 0x5a).collect();
    assert_eq!(list::commitment(&plaintext), text);
    let content = list::decode(&plaintext).unwrap();
    assert_eq!(content.purpose.unwrap().expose(), "ticket R-88");
    let copy = &entries[position.sequence as usize + 1];
    assert_eq!(
        (copy.log, &copy.record),
        (LogId::Client(client(1)), &entry.record)
    );
    assert!(copy.attachment.is_empty());
}
