//! The recorder on its thread and on a real disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use event::record::{Body, RefusalReason, decode};
use event::{LogId, SessionId};
use tokio::runtime::Runtime;

use super::{OPERATOR, Rig, TestClock, TestSealer, charge, options};
use crate::batch::{Answer, Batch, Refusal, Row, StatementScope};
use crate::recorder::{Handle, Recorder};
use crate::sim::{Fault, Sim};
use crate::{LedgerError, Reader};

fn start(sim: &Sim, clock: &Arc<TestClock>) -> Recorder {
    let folders = super::folders(sim, false);
    let sealer = Arc::new(TestSealer::default());
    let (recorder, _) =
        Recorder::start(folders, sealer, Arc::clone(clock) as _, options(), None).unwrap();
    recorder
}

/// A set-up ledger on the simulated disk, stopped.
fn prepared() -> (Sim, Arc<TestClock>) {
    let mut rig = Rig::new();
    rig.propose(super::numbers(100_000)).unwrap();
    rig.core.stop();
    (rig.sim, rig.clock)
}

pub(super) fn batch(handle: &Handle, session: u64, rows: &[(u32, u64)]) -> Batch<u64> {
    let state = handle.state();
    Batch {
        who: event::record::Who {
            actor: OPERATOR,
            role: event::Role::Operator,
            session: SessionId(session),
            grant: None,
        },
        scope: StatementScope {
            shape: Arc::new((event::Digest([1; 32]), "select".into())),
            purpose: None,
            policy: event::Digest([2; 32]),
            generation: state.generation,
            order: event::record::Order::default(),
            terminal: None,
            purpose_ms: 0,
            found: None,
        },
        probes: Vec::new(),
        rows: rows
            .iter()
            .map(|&(of, subject)| Row {
                charges: vec![charge(of, subject)],
                payload: subject,
            })
            .collect(),
    }
}

fn rows<R>(answer: Answer<R>) -> Vec<R> {
    match answer {
        Answer::Released(released) => released.into_rows(),
        Answer::Cut { released, .. } => released.into_rows(),
        Answer::Refused(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn many_sessions_share_a_sync_and_get_their_own_rows() {
    let (sim, clock) = prepared();
    let recorder = start(&sim, &clock);
    let before = sim.syncs();
    let runtime = Runtime::new().unwrap();
    let tasks: Vec<_> = (0..64_u64)
        .map(|session| {
            let handle = recorder.handle();
            runtime.spawn(async move {
                for turn in 0..20 {
                    let subject = session * 1000 + turn;
                    let batch = batch(&handle, session, &[(1, subject), (2, subject)]);
                    assert_eq!(rows(handle.append(batch).await), [subject, subject]);
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert!(sim.syncs() > before);
    recorder.close();
    let recorded = super::recorded(&sim);
    assert_eq!(recorded.len(), 64 * 20);
    let sequences: Vec<u64> = super::entries(&sim)
        .iter()
        .map(|entry| entry.sequence)
        .collect();
    assert!(sequences.iter().copied().eq(0..sequences.len() as u64));
}

#[test]
fn jobs_that_wait_are_one_commit() {
    let mut rig = Rig::new();
    let syncs = rig.sim.syncs();
    let (mut answers, first) = (Vec::new(), rig.batch([(1, 0)]));
    drop(first);
    for subject in 0..5 {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let ask = rig.batch([(1, subject)]);
        rig.core
            .take(crate::core::Job::Append(Arc::new(ask), answer));
        answers.push(answered);
    }
    assert!(
        answers.iter_mut().all(|answer| answer.try_recv().is_err()),
        "not before the sync"
    );
    rig.core.flush().unwrap();
    assert_eq!(rig.sim.syncs(), syncs + 1);
    assert!(
        answers
            .iter_mut()
            .all(|answer| answer.try_recv().unwrap().unwrap().rows == 1)
    );
}

#[test]
fn a_failed_sync_refuses_everything_and_calls_the_hook() {
    let (sim, clock) = prepared();
    let (told, fatal) = std::sync::mpsc::channel();
    let (recorder, _) = Recorder::start(
        super::folders(&sim, false),
        Arc::new(TestSealer::default()),
        Arc::clone(&clock) as _,
        crate::Options {
            on_fatal: Arc::new(move |fatal| told.send(fatal.to_string()).unwrap()),
            ..options()
        },
        None,
    )
    .unwrap();
    let handle = recorder.handle();
    let runtime = Runtime::new().unwrap();
    // Wait for the segment that is prepared ahead, so that the next steps are the commit's.
    while !crate::io::Io::list(&sim)
        .unwrap()
        .contains(&crate::wal::segment_name(2))
    {
        std::thread::yield_now();
    }
    runtime.block_on(async {
        assert_eq!(rows(handle.append(batch(&handle, 1, &[(1, 1)])).await), [1]);
        sim.set_fault(Fault {
            step: sim.steps() + 1,
            persisted: true,
        });
        for _ in 0..2 {
            let answer = handle.append(batch(&handle, 1, &[(1, 2)])).await;
            assert!(matches!(answer, Answer::Refused(Refusal::Unavailable(_))));
        }
    });
    assert!(!handle.is_alive());
    assert!(fatal.recv().unwrap().contains("fdatasync"));
}

#[test]
fn a_stopped_recorder_refuses() {
    let (sim, clock) = prepared();
    let recorder = start(&sim, &clock);
    let handle = recorder.handle();
    recorder.close();
    let answer = Runtime::new()
        .unwrap()
        .block_on(handle.append(batch(&handle, 1, &[(1, 1)])));
    assert!(matches!(answer, Answer::Refused(Refusal::Unavailable(_))));
}

#[test]
fn refusals_are_recorded_together_after_the_first_few() {
    let (sim, clock) = prepared();
    let recorder = start(&sim, &clock);
    let handle = recorder.handle();
    for _ in 0..100 {
        let terminal = Some("192.0.2.1".into());
        handle.refused(None, RefusalReason::Login, None, terminal, &[]);
    }
    recorder.close();
    let counts: Vec<u32> = super::bodies(&sim)
        .iter()
        .filter_map(|body| match body {
            Body::Refused { count, .. } => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [1, 1, 1, 1, 1, 95]);
}

#[test]
fn a_refusal_stands_in_the_log_of_each_client_that_there_is() {
    let (sim, clock) = prepared();
    let recorder = start(&sim, &clock);
    let who = batch(&recorder.handle(), 1, &[]).who;
    let concerned = [super::client(2), super::client(3), super::client(99)];
    let handle = recorder.handle();
    handle.refused(Some(who), RefusalReason::Policy, None, None, &concerned);
    recorder.close();
    let logs: Vec<LogId> = super::entries(&sim)
        .iter()
        .filter(|entry| matches!(decode(&entry.record), Ok(Body::Refused { .. })))
        .map(|entry| entry.log)
        .collect();
    let of = |number| LogId::Client(super::client(number));
    assert_eq!(logs, [LogId::Centre, of(2), of(3)]);
}

#[test]
fn only_some_kinds_are_recorded_for_others() {
    let (sim, clock) = prepared();
    let recorder = start(&sim, &clock);
    let handle = recorder.handle();
    let session = handle.new_session();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let closed = Body::SessionClosed { session };
        let first = handle.record(LogId::Centre, closed.clone()).await.unwrap();
        let second = handle.record(LogId::Centre, closed).await.unwrap();
        assert_eq!(second.index, first.index + 1);
        let refused = handle.record(LogId::Centre, Body::Stopped).await;
        assert_eq!(refused.unwrap_err(), Refusal::NotYours(3));
    });
    recorder.close();
    assert!(super::bodies(&sim).contains(&Body::SessionClosed { session }));
}

#[test]
fn a_folder_on_disk_with_two_writers_and_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::Options {
        segment_bytes: 64 << 10,
        ..options()
    };
    let sealer = || Arc::new(TestSealer::default());
    assert!(matches!(
        Recorder::open(folder.path(), sealer(), options.clone()),
        Err(LedgerError::Missing)
    ));
    Recorder::create(folder.path(), "Centre", &options).unwrap();
    assert!(matches!(
        Recorder::create(folder.path(), "Centre", &options),
        Err(LedgerError::Exists)
    ));
    let (recorder, report) = Recorder::open(folder.path(), sealer(), options.clone()).unwrap();
    assert_eq!(report.records, 1);
    match Recorder::open(folder.path(), sealer(), options.clone()) {
        Err(LedgerError::InUse { folder: named }) => {
            assert_eq!(named, folder.path().display().to_string());
        }
        other => panic!("{other:?}"),
    }
    // A reader follows while the writer runs.
    let mut reader = Reader::open(folder.path()).unwrap();
    let handle = recorder.handle();
    let runtime = Runtime::new().unwrap();
    let session = handle.new_session();
    let mut seen = Vec::new();
    for _ in 0..2000 {
        let body = Body::SessionClosed { session };
        runtime
            .block_on(handle.record(LogId::Centre, body))
            .unwrap();
        while let Some(entry) = reader.next_entry().unwrap() {
            seen.push(entry);
        }
    }
    assert!(
        seen.len() > 1990,
        "at most the last commits are not told: {}",
        seen.len()
    );
    recorder.close();
    while let Some(entry) = reader.next_entry().unwrap() {
        seen.push(entry);
    }
    assert_eq!(decode(&seen.last().unwrap().record).unwrap(), Body::Stopped);
    assert!(
        seen.iter()
            .map(|entry| entry.sequence)
            .eq(0..seen.len() as u64)
    );
    assert!(folder.path().join("wal/0000000002.wal").exists());
    let (recorder, report) = Recorder::open(folder.path(), sealer(), options).unwrap();
    assert_eq!((report.records, report.tail_cut), (seen.len() as u64, 0));
    recorder.close();
}

#[test]
fn two_boots_have_two_ids() {
    use crate::clock::{Clock, SystemClock};
    let clock = SystemClock::new().unwrap();
    assert_ne!(clock.boot_id(), [0; 16]);
    assert!(clock.boot_ms() > 0 && clock.wall_ms() > 1_600_000_000_000);
    let test = TestClock::new();
    test.boot.store(5, Ordering::Relaxed);
    assert_ne!(test.boot_id(), TestClock::new().boot_id());
}
