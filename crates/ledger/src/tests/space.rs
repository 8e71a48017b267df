//! A full disk is a state: refused and said so, nothing lost, and it ends when there is space.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use event::record::{Body, Change, decode};
use event::{LogId, Role};

use super::{Rig, TestSealer, bodies, entries, recorded};
use crate::batch::{Answer, Refusal};
use crate::recorder::Recorder;
use crate::sim::Crash;
use crate::{Options, Reader};

fn spaces(bodies: &[Body]) -> Vec<bool> {
    bodies
        .iter()
        .filter_map(|body| match body {
            Body::Space { full } => Some(*full),
            _ => None,
        })
        .collect()
}

/// Appends until it is refused; gives what was released and the refusal.
fn until_refused(rig: &mut Rig, first: u64, released: &mut BTreeSet<u64>) -> Refusal {
    for batch in 0..500 {
        let rows: Vec<_> = (0..20).map(|n| (1, first + batch * 100 + n)).collect();
        let ask = rig.batch(rows.clone());
        match rig.append(ask) {
            Ok(paid) => released.extend(rows[..paid.rows].iter().map(|(_, n)| n)),
            Err(refusal) => return refusal,
        }
    }
    panic!("never full");
}

fn one(rig: &mut Rig, subject: u64) -> Result<usize, Refusal> {
    let ask = rig.batch([(1, subject)]);
    rig.append(ask).map(|paid| paid.rows)
}

/// Whatever step of preparing the next segment finds no space.
#[test]
fn no_space_at_any_step() {
    let mut told = 0;
    for steps in 0..12 {
        let mut rig = Rig::new();
        rig.propose(super::numbers(100_000)).unwrap();
        rig.sim.set_space(Some(steps));
        let mut released = BTreeSet::new();
        let refusal = until_refused(&mut rig, 0, &mut released);
        assert!(
            matches!(&refusal, Refusal::NoSpace(_)),
            "{steps}: {refusal}"
        );
        // Small ones too, logins among them; what needs no record goes on.
        assert_eq!(one(&mut rig, 900_000), Err(refusal.clone()), "{steps}");
        let closed = Body::SessionClosed {
            session: event::SessionId(1),
        };
        let login =
            rig.ask(|answer| crate::core::Job::Record(LogId::Centre, closed.into(), answer));
        assert_eq!(login, Err(refusal), "{steps}");
        let free = rig.rows(vec![Vec::new(); 3], Vec::new());
        assert_eq!(rig.append(free).unwrap().rows, 3, "{steps}");
        assert_eq!(
            spaces(&bodies(&rig.sim)),
            [true],
            "{steps}: recorded, and told durable"
        );
        for _ in 0..3 {
            rig.clock.pass(1000);
            rig.core.tick();
        }
        assert!(rig.core.alive().is_ok(), "{steps}: no sync failed");
        let crashed = rig.sim.after(Crash::Lost);
        crashed.set_space(None);
        let (mut again, _) = Rig::open(&crashed, &rig.clock).unwrap();
        again.core.stop();
        assert_eq!(recorded(&crashed), released, "{steps}: nothing is lost");
        // Space returns; the next second finds it.
        rig.sim.set_space(None);
        rig.clock.pass(1000);
        rig.core.tick();
        assert_eq!(one(&mut rig, 900_001), Ok(1), "{steps}");
        released.insert(900_001);
        rig.core.stop();
        assert_eq!(recorded(&rig.sim), released, "{steps}");
        assert_eq!(spaces(&bodies(&rig.sim)), [true, false], "{steps}");
        let all = entries(&rig.sim);
        assert!(all.is_sorted_by(|a, b| a.sequence + 1 == b.sequence));
        told += 1;
    }
    assert_eq!(told, 12);
}

/// An attempt that may write much waits for its second; one that the free space forbids does not.
#[test]
fn it_is_tried_each_second_and_at_need() {
    let mut rig = Rig::new();
    rig.propose(super::numbers(100_000)).unwrap();
    rig.sim.set_space(Some(2));
    until_refused(&mut rig, 0, &mut BTreeSet::new());
    let steps = rig.sim.steps();
    assert!(
        one(&mut rig, 1).is_err() && rig.sim.steps() == steps,
        "not tried"
    );
    rig.sim.set_space(None);
    assert!(one(&mut rig, 1).is_err(), "its second has not passed");
    rig.clock.pass(1000);
    assert_eq!(one(&mut rig, 1), Ok(1), "at need");
    rig.sim.set_full(true);
    until_refused(&mut rig, 50_000, &mut BTreeSet::new());
    rig.sim.set_full(false);
    assert_eq!(one(&mut rig, 2), Ok(1), "at once");
}

/// The job that finds space is charged and recorded after the record of that.
#[test]
fn times_do_not_go_back_when_space_is_found() {
    let mut rig = Rig::new();
    rig.propose(super::numbers(100_000)).unwrap();
    rig.sim.set_full(true);
    until_refused(&mut rig, 0, &mut BTreeSet::new());
    rig.sim.set_full(false);
    rig.clock.ticks.store(7, Ordering::Relaxed);
    for subject in 0..3 {
        assert_eq!(one(&mut rig, subject), Ok(1));
    }
    rig.core.stop();
    let (rig, _) = rig.restart_stopped();
    assert!(entries(&rig.sim).len() > 10);
}

/// A tmpfs of half a megabyte.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "none"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "this test mounts a tmpfs: run it as root"
        );
        Self(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_real_filesystem_runs_full_and_is_freed() {
    let disk = Small::mount();
    let folder = disk.0.path().join("ledger");
    let options = Options {
        segment_bytes: 64 << 10,
        ..super::options()
    };
    Recorder::create(&folder, "Centre", &options).unwrap();
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 200 << 10]).unwrap();
    let sealer = Arc::new(TestSealer::default());
    let (recorder, _) = Recorder::open(&folder, sealer, options).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = recorder.handle();
    let mut released = Vec::new();
    runtime.block_on(async {
        let added = Change::ClientAdded {
            client: super::client(1),
            code: "c1".into(),
            name: "One".into(),
        };
        let operator = super::actor(super::OPERATOR, "operator", Role::Operator);
        for what in [added, operator, super::numbers(1 << 30)] {
            handle.propose(super::ADMINISTRATOR, what).await.unwrap();
        }
        let mut next = 0;
        let mut append = async |handle: &crate::Handle| {
            let rows: Vec<_> = (next..next + 20).map(|n| (1, n)).collect();
            next += 20;
            handle.append(super::threads::batch(handle, 1, &rows)).await
        };
        let refusal = loop {
            match append(&handle).await {
                Answer::Released(rows) => released.extend(rows.into_rows()),
                Answer::Cut { refusal, .. } => panic!("{refusal:?}"),
                Answer::Refused(refusal) => break refusal,
            }
        };
        assert!(matches!(refusal, Refusal::NoSpace(_)), "{refusal}");
        let free = handle.append(super::threads::batch(&handle, 1, &[])).await;
        assert!(matches!(free, Answer::Released(_)));
        std::fs::remove_file(&ballast).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match append(&handle).await {
                Answer::Released(rows) => {
                    released.extend(rows.into_rows());
                    break;
                }
                Answer::Refused(Refusal::NoSpace(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                _ => panic!("it does not recover"),
            }
        }
    });
    recorder.close();
    let mut reader = Reader::open(&folder).unwrap();
    let (mut found, mut all) = (0, Vec::new());
    while let Some(entry) = reader.next_entry().unwrap() {
        let body = decode(&entry.record).unwrap();
        if let Body::Exposure(exposure) = &body {
            found += exposure.rows as usize;
        }
        all.push(body);
    }
    assert_eq!(found, released.len());
    assert_eq!(spaces(&all), [true, false]);
}
