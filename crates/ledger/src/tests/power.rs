//! The whole ledger over losses of power: write-ahead log, snapshots, derived logs with their saved
//! state, checkpoints. And the check of that check: each sync left out once is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use event::record::Body;
use tlog::{Checkpoint, MemoryTree, Note, leaf_hash};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{Rig, TestClock, bodies, client, folders, recorded};
use crate::core::Job;
use crate::logs::publish::Tiles;
use crate::logs::{Generation, LogKeys, Publisher, Store, Tree, cosigned};
use crate::recorder::Durable;
use crate::sim::{Crash, Fault, Sim, SimStore, Synced};

const GENERATION: Generation = Generation {
    ledger: [7; 16],
    number: 1,
};
/// Appends of one commit.
const ROWS: u64 = 12;
/// Entries of the first client before: its first tile becomes full in the work.
const BEFORE: u64 = 250;

/// What others were told.
#[derive(Default)]
struct Told {
    released: BTreeSet<u64>,
    /// Leaves of the root log under a published checkpoint.
    published: u64,
}

fn publisher(sim: &Sim, store: &SimStore) -> Publisher {
    let (io, store) = (Arc::new(sim.clone()), Arc::new(store.clone()));
    Publisher::open(io, store, [7; 16], &[9; 32]).leaving_root()
}

fn durable(rig: &Rig) -> Durable {
    *rig.core.shared().durable_now()
}

/// As the two tasks of [`crate::logs::Logs`] do, one after the other.
fn publish(rig: &Rig, publisher: &mut Publisher, store: &SimStore, told: &mut Told) -> Option<()> {
    let keys = LogKeys::new(vec![Zeroizing::new([3; 32])]);
    let advanced = publisher.advance(durable(rig), &GENERATION, &keys).ok()?;
    let Some(published) = advanced else {
        return Some(());
    };
    let note = published.root.to_string();
    cosigned::write_root(store, &note).ok()?;
    told.published = published.leaf.index + 1;
    let kept = cosigned::keep(store, published.leaf.wall_ms / 1000, &note);
    kept.ok().map(|_| ())
}

fn commit(rig: &mut Rig, first: u64, of: u32, told: &mut Told) -> Option<()> {
    let mut answers = Vec::new();
    for subject in first..first + ROWS {
        let (answer, answered) = oneshot::channel();
        let ask = rig.batch([(if subject == first { 2 } else { of }, subject)]);
        rig.core.take(Job::Append(Arc::new(ask), answer));
        answers.push((subject, answered));
    }
    // Making room may have told some before.
    let _ = rig.core.flush();
    let mut all = Some(());
    for (subject, mut answered) in answers {
        match answered.try_recv() {
            Ok(Ok(_)) => drop(told.released.insert(subject)),
            _ => all = None,
        }
    }
    all
}

/// Two runs on a ledger that was in use; until something fails.
fn work(sim: &Sim) -> Told {
    let mut told = Told::default();
    let _ = try_work(sim, &mut told);
    told
}

fn try_work(sim: &Sim, told: &mut Told) -> Option<()> {
    let (clock, store) = (TestClock::new(), sim.logs());
    for run in 1..=2 {
        clock.pass(5000);
        let mut rig = open(sim, &clock).ok()?;
        let mut publisher = publisher(sim, &store);
        publisher.derive(durable(&rig), &mut |_| {}).ok()?;
        for round in 0..2 {
            let commits = commit(&mut rig, run * 10_000 + round * 1000, 1, told);
            clock.pass(1500);
            rig.core.tick();
            commits?;
            publish(&rig, &mut publisher, &store, told)?;
            if round == 0 {
                publisher.save().ok()?;
                rig.core.snapshot_now();
            }
        }
        rig.core.stop();
        // The saved state stays behind: the next run derives.
        publish(&rig, &mut publisher, &store, told)?;
    }
    Some(())
}

fn open(sim: &Sim, clock: &Arc<TestClock>) -> Result<Rig, crate::LedgerError> {
    Rig::open_in(folders(sim, true), (sim, clock, &Arc::default())).map(|(rig, _)| rig)
}

/// A ledger that was in use, all of it durable.
fn base() -> Sim {
    let (sim, clock) = (Sim::default(), TestClock::new());
    Rig::create(&sim, &clock).unwrap();
    let mut rig = open(&sim, &clock).unwrap();
    rig.set_up().unwrap();
    rig.propose(super::numbers(100_000)).unwrap();
    let (store, mut told) = (sim.logs(), Told::default());
    let mut publisher = publisher(&sim, &store);
    for first in (0..BEFORE).step_by(ROWS as usize) {
        commit(&mut rig, first, 1, &mut told).unwrap();
    }
    rig.core.stop();
    publish(&rig, &mut publisher, &store, &mut told).unwrap();
    publisher.save().unwrap();
    drop(rig);
    sim.after(Crash::Kept)
}

/// What does not depend on when it was published.
fn lasting(store: &SimStore) -> BTreeMap<String, Vec<u8>> {
    let mut files = store.files();
    files.retain(|path, _| {
        let passing = path.contains(".p/") || path.ends_with("state") || path.ends_with(".new");
        !passing && !path.starts_with("root/cosigned/")
    });
    files
}

/// Each checkpoint that stands there has its tiles and entries.
fn what_was_published_is_there(store: &SimStore) -> Result<(), String> {
    let clients = (1..=3).map(|number| Tree::client(client(number)));
    for tree in clients.chain([Tree::Root, Tree::Log(event::LogId::Centre)]) {
        let Ok(bytes) = store.read(&format!("{tree}/checkpoint"), 1 << 20) else {
            continue;
        };
        let note = Note::parse(&bytes).map_err(|error| format!("{tree}/checkpoint: {error}"))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
        let size = checkpoint.size();
        let root = tlog::root(Tiles::new(store, tree, size), size)
            .map_err(|error| format!("tiles of {tree} below {size}: {error}"))?;
        let entries = entries(store, tree, size)?;
        let tree_of_entries = MemoryTree::new(entries.iter().map(|it| leaf_hash(it)).collect());
        if root != checkpoint.root() || tree_of_entries.root() != root {
            return Err(format!("{tree} below {size} is not what was signed"));
        }
    }
    Ok(())
}

fn entries(store: &SimStore, tree: Tree, size: u64) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    for bundle in tlog::Bundle::grown(0, size) {
        let named = [bundle, bundle.full()].map(|it| format!("{tree}/{it}"));
        let read = |path: &String| store.read(path, 1 << 30).ok();
        let bytes = named.iter().find_map(read);
        let bytes = bytes.ok_or_else(|| format!("{} is not there", named[0]))?;
        let entries = tlog::bundle::entries(&bytes).take(usize::from(bundle.width()));
        for entry in entries {
            all.push(entry.map_err(|error| error.to_string())?.to_vec());
        }
    }
    Ok(all)
}

/// Starts from what a crash left: everything that was told holds, and goes on.
fn holds(left: &Sim, told: &Told) -> Result<(), String> {
    let store = left.logs();
    what_was_published_is_there(&store)?;
    let said = |error: crate::LedgerError| error.to_string();
    let clock = TestClock::new();
    clock.pass(60_000);
    let open = Rig::open_in(folders(left, true), (left, &clock, &Arc::default()));
    let (mut rig, report) = open.map_err(said)?;
    let mut publisher = publisher(left, &store);
    if publisher.roots() == 0 {
        return Err("there is no saved state: all is derived anew".into());
    }
    publisher.derive(durable(&rig), &mut |_| {}).map_err(said)?;
    if let Some(ours) = publisher.published().map_err(said)? {
        publisher.check_prefix(&ours).map_err(said)?;
    }
    if publisher.roots() < told.published {
        return Err(format!("{} leaves were published", told.published));
    }
    clock.pass(1500);
    rig.core.tick();
    let taken = bodies(left).into_iter().rev().find_map(|body| match body {
        Body::Snapshot { sequence, .. } => Some(sequence),
        _ => None,
    });
    if report.snapshot != taken {
        return Err(format!("{taken:?} was recorded, the start: {report:?}"));
    }
    rig.core.stop();
    publish(&rig, &mut publisher, &store, &mut Told::default()).ok_or("it does not publish")?;
    what_was_published_is_there(&store)?;
    let recorded = recorded(left);
    if let Some(lost) = told.released.difference(&recorded).next() {
        return Err(format!("{lost} was released and is not recorded"));
    }
    cosigned_is_whole(&store)?;
    same_as_anew(left, &rig)
}

fn cosigned_is_whole(store: &SimStore) -> Result<(), String> {
    for (path, bytes) in store.files() {
        let whole = || cosigned::whole(&bytes, "") == (bytes.len(), 0);
        if path.starts_with("root/cosigned/") && !whole() {
            return Err(format!("{path} is torn"));
        }
    }
    Ok(())
}

/// Derived from nothing, the logs have the same bytes.
fn same_as_anew(left: &Sim, rig: &Rig) -> Result<(), String> {
    let anew = Sim::default().logs();
    let mut publisher = publisher(left, &anew);
    publish(rig, &mut publisher, &anew, &mut Told::default()).ok_or("it does not derive")?;
    let (is, due) = (lasting(&left.logs()), lasting(&anew));
    for path in is.keys().chain(due.keys()) {
        if is.get(path) != due.get(path) {
            return Err(format!("{path} is not what is derived anew"));
        }
    }
    Ok(())
}

/// The saved state reached the disk, and nothing that it stands for.
const STATE_ALONE: Crash = Crash::One("logs/heads/state");

fn crashes(seed: u64) -> [Crash; 5] {
    let torn = Crash::Torn(seed);
    [Crash::Lost, Crash::Names, Crash::Kept, STATE_ALONE, torn]
}

#[test]
fn a_calm_run_holds() {
    let sim = base();
    let told = work(&sim);
    assert_eq!(told.released.len() as u64, 4 * ROWS);
    assert!(sim.logs().files().contains_key("client/1/tile/0/000"));
    for crash in crashes(1) {
        assert_eq!(holds(&sim.after(crash), &told), Ok(()), "{crash:?}");
    }
}

/// Each step of all that writes, failed with and without effect, before each kind of crash.
#[test]
fn a_crash_at_any_step_of_everything() {
    let base = base();
    let calm = base.after(Crash::Kept);
    work(&calm);
    assert!(calm.steps() > 300, "{}", calm.steps());
    for step in 0..calm.steps() {
        for persisted in [false, true] {
            let sim = base.after(Crash::Kept);
            sim.set_fault(Fault { step, persisted });
            let told = work(&sim);
            let turn = step as usize * 2 + usize::from(persisted);
            let crash = crashes(step)[turn % 5];
            let held = holds(&sim.after(crash), &told);
            assert_eq!(
                held,
                Ok(()),
                "step {step}, persisted {persisted}, {crash:?}"
            );
        }
    }
}

/// Each step that takes space finds none: refused or tried again, nothing lost.
#[test]
fn a_full_disk_at_any_step_of_everything() {
    let base = base();
    let calm = base.after(Crash::Kept);
    calm.set_space(Some(u64::MAX));
    work(&calm);
    let takes = u64::MAX - calm.space().unwrap();
    assert!(takes > 150, "{takes}");
    for space in 0..takes {
        let sim = base.after(Crash::Kept);
        sim.set_space(Some(space));
        let told = work(&sim);
        let left = sim.after(Crash::Lost);
        left.set_space(None);
        assert_eq!(holds(&left, &told), Ok(()), "after {space} of {takes}");
    }
}

/// Syncs after one that was left out until its effect is made up for, at most.
const MADE_UP: usize = 8;

/// Whether a sync that was left out is missed by some crash after it.
fn is_missed(base: &Sim, number: usize, asked: &[Synced]) -> bool {
    let missed_after = |fault: Option<u64>| {
        let sim = base.after(Crash::Kept);
        sim.drop_sync(number);
        if let Some(step) = fault {
            let persisted = false;
            sim.set_fault(Fault { step, persisted });
        }
        let told = work(&sim);
        let seed = asked[number].step;
        [Crash::Lost, Crash::Names, STATE_ALONE, Crash::Torn(seed)]
            .iter()
            .any(|&crash| holds(&sim.after(crash), &told).is_err())
    };
    match asked.get(number + MADE_UP) {
        Some(last) => (asked[number].step + 1..last.step).any(|step| missed_after(Some(step))),
        None => {
            let last = asked[asked.len() - 1].step;
            let mut steps = asked[number].step + 1..last + 1;
            steps.any(|step| missed_after(Some(step))) || missed_after(None)
        }
    }
}

/// A commit that tells nobody anything: its loss is that of a record of the start, the stop or a
/// snapshot, which the next start makes up for. The line that syncs it is that of all commits.
fn tells_nobody(sync: &Synced) -> bool {
    let silent = ["Started", "Stopped", "Snapshot"];
    let frames = sync.what.split_once(".wal: ").map(|(_, frames)| frames);
    frames.is_some_and(|frames| frames.split(' ').all(|frame| silent.contains(&frame)))
}

/// Whether the folder is synced again, for the next segment, before a commit tells somebody
/// something: so it is where a start finds its segment nearly full.
fn made_up(asked: &[Synced]) -> bool {
    let [sync, after @ ..] = asked else {
        return false;
    };
    let mut after = after.iter();
    let next = after
        .find(|next| next.what == "folder " || next.what.contains(".wal: ") && !tells_nobody(next));
    sync.what == "folder " && next.is_some_and(|next| next.what == "folder ")
}

/// What would tell that a sync is gone from the code.
#[test]
fn each_sync_that_is_left_out_is_missed() {
    let base = base();
    let calm = base.after(Crash::Kept);
    work(&calm);
    let asked = calm.asked();
    assert!(asked.len() > 30, "{}", asked.len());
    for kind in [
        ".wal: ",
        ".wal.new",
        "folder ",
        "folder snapshots/",
        "all for state",
    ] {
        assert!(asked.iter().any(|sync| sync.what.contains(kind)), "{kind}");
    }
    let told = (0..asked.len())
        .filter(|&number| !tells_nobody(&asked[number]) && !made_up(&asked[number..]));
    let unmissed: Vec<_> = told
        .filter(|&number| !is_missed(&base, number, &asked))
        .map(|number| (number, &asked[number]))
        .collect();
    assert!(unmissed.is_empty(), "of {}: {unmissed:#?}", asked.len());
}
