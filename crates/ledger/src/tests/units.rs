//! A change and the records that it brings along: one unit, whatever step a crash hits.

use std::sync::Arc;

use aws_lc_rs::signature::KeyPair;
use event::LogId;
use event::record::{Body, Change};

use super::changes::approved;
use super::{ALICE, BOB, Rig, bodies, key_pair, sign};
use crate::core::Progress;
use crate::list::ListSealer;
use crate::sim::{Crash, Fault, Sim};
use crate::snapshot::begin;

/// All that a change brought along is there, once, wherever the crash was.
fn is_whole(rig: &Rig) -> bool {
    let state = &rig.core.state;
    assert!(state.owed.is_empty());
    let added = state.clients.contains_key(&super::client(4));
    let (mut opened, mut declared) = (0, Vec::new());
    let mut first = true;
    for entry in super::entries(&rig.sim) {
        let body = event::record::decode(&entry.record).unwrap();
        if entry.log == LogId::Client(super::client(4)) && std::mem::take(&mut first) {
            assert!(matches!(body, Body::LogOpened { slot: 4, .. }), "{body:?}");
        }
        opened += u32::from(matches!(body, Body::LogOpened { slot: 4, .. }));
        if let Body::LossDeclared { lost, .. } = body {
            assert_eq!(lost.len(), 1_500);
            declared.push(entry.log);
        }
    }
    assert_eq!(opened, u32::from(added));
    let lost = state.log_generation == 2;
    let all = declared.len();
    declared.sort_unstable();
    declared.dedup();
    assert_eq!(declared.len(), all);
    assert_eq!(
        declared.len(),
        if lost { state.clients.len() + 1 } else { 0 }
    );
    added && lost
}

/// A client is added and a loss declared, until something fails.
fn declare(rig: &mut Rig) -> Result<(), crate::Refusal> {
    rig.propose(Change::ClientAdded {
        client: super::client(4),
        code: "c4".into(),
        name: "Client 4".into(),
    })?;
    rig.propose(generation(rig))?;
    Ok(())
}

fn generation(rig: &Rig) -> Change {
    let origin = crate::logs::Generation {
        ledger: rig.core.state.ledger,
        number: 1,
    };
    let origin = origin.origin(crate::logs::Tree::Root);
    let key = tlog::SigningKey::new(&origin, &[3; 32]).unwrap();
    let root = tlog::Hash::from_slice(&[1; 32]).unwrap();
    let checkpoint = tlog::Checkpoint::new(&origin, 9, root).unwrap();
    Change::Generation {
        number: 2,
        checkpoint: checkpoint.sign(&[&key]).unwrap().to_string(),
        lost: "x".repeat(1_500),
    }
}

#[test]
fn a_change_and_what_it_brings_along_are_one() {
    let log_key = |rig: &mut Rig| {
        let public_key = key_pair(3).public_key().as_ref().try_into().unwrap();
        rig.propose(Change::LogKey {
            number: 1,
            public_key,
        })
        .unwrap();
    };
    let mut rig = Rig::new();
    log_key(&mut rig);
    rig.core.stop();
    let (sim, clock) = (rig.sim.clone(), Arc::clone(&rig.clock));
    drop(rig);
    let open = |sim: &Sim| Rig::open(sim, &clock).unwrap().0;
    let calm = sim.after(Crash::Kept);
    let mut rig = open(&calm);
    let opened = calm.steps();
    declare(&mut rig).unwrap();
    rig.core.stop();
    assert!(is_whole(&rig));
    let mut torn = 0;
    for step in opened..calm.steps() {
        for persisted in [false, true] {
            for crash in [
                Crash::Lost,
                Crash::Kept,
                Crash::Torn(step),
                Crash::Torn(99 + step),
            ] {
                let sim = sim.after(Crash::Kept);
                let mut rig = open(&sim);
                sim.set_fault(Fault { step, persisted });
                let answered = declare(&mut rig);
                drop(rig);
                let left = sim.after(crash);
                let before = begin(&left, None, &sealer()).unwrap();
                torn += u32::from(!before.replay.state.owed.is_empty());
                let mut rig = open(&left);
                rig.core.stop();
                let whole = is_whole(&rig);
                assert!(whole || answered.is_err(), "step {step}: {crash:?}");
            }
        }
    }
    assert!(torn > 0, "some of these crashes tear a commit");
}

fn sealer() -> Arc<dyn ListSealer> {
    Arc::new(super::TestSealer::default())
}

/// Two approvals are on record, and the crash came before the change was in force: either of them
/// signs again.
#[test]
fn what_two_signed_before_a_crash_can_be_put_in_force() {
    let what = Change::OfficerFile {
        client: super::client(2),
    };
    let mut rig = approved();
    let (change, _) = rig.propose(what.clone()).unwrap();
    rig.approve(change, sign(ALICE, 1, change, &what)).unwrap();
    let approval = sign(BOB, 2, change, &what);
    let body = Body::Approved {
        change,
        approval: approval.clone(),
    };
    rig.core.put(LogId::Centre, &body).unwrap();
    let (mut rig, _) = rig.restart();
    let records = super::entries(&rig.sim).len();
    let progress = rig.approve(change, approval.clone()).unwrap();
    assert!(matches!(progress, Progress::InForce { .. }));
    assert!(rig.approve(change, approval).is_err(), "once");
    rig.core.stop();
    let later: Vec<_> = bodies(&rig.sim).drain(records..).collect();
    assert!(
        !later
            .iter()
            .any(|body| matches!(body, Body::Approved { .. })),
        "{later:?}"
    );
}
