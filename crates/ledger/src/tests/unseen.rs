//! What may be shown before witnesses have seen it, or the client has its receipt.

use std::sync::Arc;

use event::record::{Body, Change, Grant, GrantKind, decode};
use event::{GrantId, LogId, Role, SessionId};
use tokio::runtime::Runtime;

use super::threads::batch;
use super::{ALICE, BOB, MINUTE, OPERATOR, Rig, TestClock, TestSealer, client, folders, options};
use crate::batch::{Answer, Refusal};
use crate::clock::Clock;
use crate::core::Progress;
use crate::core::changes::BY_SETTINGS;
use crate::promised::Promise;
use crate::recorder::{Handle, Options, Recorder};
use crate::sim::Sim;

const CAP: u64 = 3;

fn start(sim: &Sim, clock: &Arc<TestClock>, cap: Option<u64>) -> Recorder {
    let options = Options {
        uncovered_subjects_max: cap,
        uncovered_wait_ms_max: 1,
        ..options()
    };
    let sealer = Arc::new(TestSealer::default());
    let clock = Arc::clone(clock) as _;
    let (recorder, _) = Recorder::start(folders(sim, false), sealer, clock, options, None).unwrap();
    recorder
}

/// A set-up ledger with a grant of five subjects for ten minutes, stopped.
fn prepared() -> (Sim, Arc<TestClock>) {
    let mut rig = Rig::new();
    rig.propose(super::numbers(100_000)).unwrap();
    let until_ms = rig.clock.wall_ms() + 10 * MINUTE;
    rig.propose(Change::Grant(Grant {
        grant: GrantId(1),
        actor: OPERATOR,
        client: client(1),
        what: GrantKind::See,
        amount: 5,
        until_ms,
        ticket: "T-1".into(),
    }))
    .unwrap();
    rig.core.stop();
    (rig.sim, rig.clock)
}

async fn shows(handle: &Handle, subject: u64) -> Result<(), Refusal> {
    match handle.append(batch(handle, 1, &[(1, subject)])).await {
        Answer::Released(_) => Ok(()),
        Answer::Refused(refusal) => Err(refusal),
        Answer::Cut { refusal, .. } => panic!("{refusal:?}"),
    }
}

/// Waits for a leaf that covers what there is, and says that a quorum has cosigned it.
async fn cover(handle: &Handle, clock: &TestClock) {
    let mut durable = handle.durable();
    let before = durable.borrow_and_update().roots;
    clock.pass(2_000);
    let session = SessionId(9);
    let body = event::record::Body::SessionClosed { session };
    handle.record(event::LogId::Centre, body).await.unwrap();
    let leaf = durable.wait_for(|durable| durable.roots > before).await;
    let roots = leaf.unwrap().roots;
    handle.set_covered(roots);
}

fn is_uncovered(answer: &Result<(), Refusal>) -> bool {
    matches!(answer, Err(Refusal::Uncovered { .. }))
}

/// Who was seen before is shown again, and a restart gives nothing.
#[test]
fn no_more_is_shown_than_may_go_unseen() {
    let (sim, clock) = prepared();
    let runtime = Runtime::new().unwrap();
    for _ in 0..2 {
        let recorder = start(&sim, &clock, Some(CAP));
        let handle = recorder.handle();
        runtime.block_on(async {
            assert!(
                is_uncovered(&shows(&handle, 1).await),
                "right after a start"
            );
            cover(&handle, &clock).await;
            for _ in 0..CAP {
                assert_eq!(shows(&handle, 1).await, Ok(()));
            }
            assert!(is_uncovered(&shows(&handle, 1).await));
            cover(&handle, &clock).await;
            assert_eq!(shows(&handle, 1).await, Ok(()));
        });
        recorder.close();
    }
}

async fn cap_receipts(handle: &Handle, subjects: Option<u64>) -> Result<Progress, Refusal> {
    let client = client(1);
    let what = Change::ReceiptCap { client, subjects };
    Ok(handle.propose(BY_SETTINGS, what).await?.1)
}

/// Looser settings change nothing until two approvers have signed; tighter ones are in force, and on
/// record, with the start.
#[test]
fn a_cap_is_loosened_by_two_approvers_and_no_file() {
    let (sim, clock) = prepared();
    let runtime = Runtime::new().unwrap();
    let recorder = start(&sim, &clock, Some(5));
    let handle = recorder.handle();
    assert_eq!(handle.state().uncovered_cap, Some(5));
    runtime.block_on(async {
        for (actor, login, seed) in [(ALICE, "alice", 1), (BOB, "bob", 2)] {
            let approver = super::actor(actor, login, Role::Approver);
            handle.propose(BY_SETTINGS, approver).await.unwrap();
            let key = super::signing_key(actor, seed);
            handle.propose(BY_SETTINGS, key).await.unwrap();
        }
    });
    assert!(handle.state().bootstrapped);
    recorder.close();
    for (asked, in_force) in [(Some(9), 5), (None, 5), (Some(9), 5), (Some(CAP), CAP)] {
        let recorder = start(&sim, &clock, asked);
        let handle = recorder.handle();
        assert_eq!(handle.state().uncovered_cap, Some(in_force), "{asked:?}");
        // Each wish is proposed once.
        assert!(handle.state().proposals.len() <= 2);
        runtime.block_on(async {
            cover(&handle, &clock).await;
            for subject in 0..in_force {
                assert_eq!(shows(&handle, subject).await, Ok(()));
            }
            assert!(is_uncovered(&shows(&handle, 1).await), "{asked:?}");
        });
        recorder.close();
    }
    let recorder = start(&sim, &clock, None);
    let handle = recorder.handle();
    let what = Change::UncoveredCap { subjects: None };
    let state = handle.state();
    let mut open = state.proposals.iter();
    let (&change, _) = open.find(|(_, proposal)| proposal.what == what).unwrap();
    runtime.block_on(async {
        for (approver, seed) in [(ALICE, 1), (BOB, 2)] {
            assert!(is_uncovered(&shows(&handle, 1).await));
            let approval = super::sign(approver, seed, change, &what);
            handle.approve(change, approval).await.unwrap();
        }
        for subject in 0..2 * CAP {
            assert_eq!(shows(&handle, subject).await, Ok(()));
        }
    });
    recorder.close();
    assert_eq!(
        Rig::open(&sim, &clock).unwrap().0.core.state.uncovered_cap,
        None
    );
}

/// A client's cap stands in its own log, and holds when nobody is there to acknowledge.
#[test]
fn a_clients_cap_is_in_its_log_and_outlives_its_receiver() {
    let (sim, clock) = prepared();
    let runtime = Runtime::new().unwrap();
    let recorder = start(&sim, &clock, None);
    let handle = recorder.handle();
    runtime.block_on(async {
        assert_eq!(shows(&handle, 1).await, Ok(()));
        cap_receipts(&handle, Some(1)).await.unwrap();
        let refused = shows(&handle, 1).await;
        assert!(matches!(
            refused,
            Err(Refusal::Unacknowledged { limit: 1, .. })
        ));
        assert!(
            cap_receipts(&handle, Some(1)).await.is_err(),
            "it is in force"
        );
        // The bootstrap: unsigned, and it says so.
        cap_receipts(&handle, None).await.unwrap();
        assert_eq!(shows(&handle, 1).await, Ok(()));
    });
    recorder.close();
    let told: Vec<_> = super::entries(&sim)
        .into_iter()
        .filter(|entry| entry.log == LogId::Client(client(1)))
        .filter_map(|entry| match decode(&entry.record).unwrap() {
            Body::ReceiptCap { subjects } => Some(subjects),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Some(1), None]);
}

/// A read that waited for the client's receipt is not released under a grant that ended meanwhile.
#[test]
fn a_grant_that_ends_while_a_receipt_is_waited_for_releases_nothing() {
    let (sim, clock) = prepared();
    let recorder = start(&sim, &clock, None);
    let handle = recorder.handle();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(cap_receipts(&handle, Some(1))).unwrap();
    handle.promise(&[Promise {
        client: client(1),
        wait_ms_max: 60_000,
    }]);
    handle.backlog(client(1), 0, 0);
    let read = || {
        let mut read = batch(&handle, 1, &[(1, 1), (1, 2)]);
        read.who.grant = Some(GrantId(1));
        handle.append(read)
    };
    let mut due = handle.receipts_due(client(1)).unwrap();
    runtime.block_on(async {
        let within = async {
            due.changed().await.unwrap();
            let entries = *due.borrow_and_update();
            handle.receipts_acknowledged(client(1), entries);
        };
        assert!(matches!(
            tokio::join!(read(), within).0,
            Answer::Released(_)
        ));
        let too_late = async {
            due.changed().await.unwrap();
            let entries = *due.borrow_and_update();
            clock.pass(11 * MINUTE);
            handle.receipts_acknowledged(client(1), entries);
        };
        let answer = tokio::join!(read(), too_late).0;
        assert!(
            matches!(answer, Answer::Refused(Refusal::Grant { .. })),
            "{answer:?}"
        );
    });
    recorder.close();
}
