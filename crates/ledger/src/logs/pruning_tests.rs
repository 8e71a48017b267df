//! Entries below a declared minimum leave what is derived, and what is copied from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use event::LogId;
use event::record::{Body, Change};
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

use super::proof::entry_proof;
use super::tests::{GENERATION, MemoryStore, SALT, keys, lasting};
use super::*;
use crate::core::Job;
use crate::io::Io;
use crate::recorder::Durable;
use crate::sim::Sim;
use crate::tests::{Rig, client, entries, numbers};

type Files = BTreeMap<String, Vec<u8>>;

/// A ledger whose client 1 has four bundles of old entries, and its leaves; minimums of 512 and 768
/// are declared.
struct Written {
    sim: Sim,
    leaves: Vec<Durable>,
}

fn written() -> Written {
    let mut rig = Rig::new();
    rig.propose(numbers(1 << 20)).unwrap();
    rig.propose(Change::EntryRetention { months: 1 }).unwrap();
    let mut leaves = Vec::new();
    let leaf = |rig: &mut Rig, leaves: &mut Vec<Durable>| {
        rig.clock.pass(1_000);
        rig.core.tick();
        leaves.push(*rig.core.shared().durable_now());
    };
    for row in 0..1000 {
        let ask = rig.batch([(1 + u32::from(row % 50 == 0), row)]);
        rig.append(ask).unwrap();
        if row % 100 == 0 {
            leaf(&mut rig, &mut leaves);
        }
    }
    rig.clock.pass(100 * 86_400_000);
    leaf(&mut rig, &mut leaves);
    for below in [512, 768] {
        let body = Body::EntriesPruned {
            below,
            before: 202_312,
            change: rig.core.state.entry_retention_change,
        };
        let of = LogId::Client(client(1));
        rig.ask(|answer| Job::Record(of, Box::new(body), answer))
            .unwrap();
        leaf(&mut rig, &mut leaves);
    }
    rig.core.stop();
    leaves.push(*rig.core.shared().durable_now());
    Written {
        sim: rig.sim.clone(),
        leaves,
    }
}

fn open(sim: &Sim, store: &MemoryStore) -> Publisher {
    let io: Arc<dyn Io> = Arc::new(sim.clone());
    Publisher::open(io, Arc::new(store.clone()), [7; 16], &SALT)
}

/// Derived and published up to a leaf, in a store that may have something already.
fn derived(written: &Written, leaf: usize, store: &MemoryStore) -> Files {
    let durable = written.leaves[leaf];
    let mut publisher = open(&written.sim, store);
    publisher.advance(durable, &GENERATION, &keys()).unwrap();
    publisher.save().unwrap();
    store.files()
}

fn bundle(number: u64) -> String {
    format!("client/1/tile/entries/{number:03}")
}

#[test]
fn bundles_below_the_minimum_go_and_proofs_stay() {
    let written = written();
    let last = written.leaves.len() - 1;
    let store = MemoryStore::new();
    let before = derived(&written, last - 3, &store);
    assert!((0..3).all(|number| before.contains_key(&bundle(number))));
    assert!(!before.contains_key("client/1/minimum"));
    let one = derived(&written, last - 2, &store);
    assert!(!one.contains_key(&bundle(1)) && one.contains_key(&bundle(2)));
    assert_eq!(one["client/1/minimum"], b"512\n");
    let after = derived(&written, last, &store);
    // The first says whose log it is.
    let there: Vec<u64> = (0..4)
        .filter(|it| after.contains_key(&bundle(*it)))
        .collect();
    assert_eq!(there, [0], "the fourth is partial");
    assert_eq!(after["client/1/minimum"], b"768\n");
    for path in before
        .keys()
        .filter(|it| it.contains("/tile/") && !it.contains(".p/"))
    {
        let gone = [bundle(1), bundle(2)].contains(path);
        assert_eq!(after.contains_key(path), !gone, "{path}");
    }
    // A pure function of the frames: the same set, however and how often it is derived.
    let lasts = lasting(&after);
    assert_eq!(
        lasting(&derived(&written, last, &MemoryStore::new())),
        lasts
    );
    let store = MemoryStore::new();
    let mut publisher = open(&written.sim, &store);
    for (step, durable) in written.leaves.iter().enumerate() {
        publisher.advance(*durable, &GENERATION, &keys()).unwrap();
        if step % 2 == 0 {
            publisher.save().unwrap();
            publisher = open(&written.sim, &store);
        }
    }
    assert_eq!(lasting(&store.files()), lasts);
    // And a proof of an entry that is gone is made with the one that the write-ahead log keeps.
    let all = entries(&written.sim);
    let of = LogId::Client(client(1));
    let entry = all
        .iter()
        .find(|it| it.log == of && it.index == 300)
        .unwrap();
    let bytes = sequence::entry_bytes(entry.wall_ms, entry.elapsed_ms, &entry.record);
    let salt = SaltKey::new(&SALT);
    let prove = |kept: Option<Vec<u8>>| entry_proof(&store, &salt, (of, 300), &|| Ok(kept.clone()));
    // Without a list of keys there is no proof; any will do here.
    store.write("keys", b"keys\n").unwrap();
    assert!(prove(None).is_err());
    let proof = prove(Some(bytes)).unwrap();
    assert!(proof.contains("index 300\n"), "{proof}");
}

/// Each operation fails once, also each removal; the next start does the rest.
#[test]
fn a_failure_at_any_step_of_pruning_changes_nothing() {
    let written = written();
    let last = written.leaves.len() - 1;
    let whole = lasting(&derived(&written, last, &MemoryStore::new()));
    let begun = MemoryStore::new();
    let begun = derived(&written, last - 3, &begun);
    for operations in 0.. {
        let store = MemoryStore::new();
        store.lose(&begun);
        let mut publisher = open(&written.sim, &store);
        store.fail_after(operations);
        let mut failed = false;
        for leaf in &written.leaves[last - 2..] {
            if publisher.advance(*leaf, &GENERATION, &keys()).is_err() {
                failed = true;
                store.fail_after(u64::MAX);
                publisher = open(&written.sim, &store);
                publisher.advance(*leaf, &GENERATION, &keys()).unwrap();
            }
        }
        assert_eq!(lasting(&store.files()), whole, "failed at {operations}");
        if !failed {
            assert!(operations > 20, "{operations}");
            return;
        }
    }
}

/// Files of a folder, as a mirror sees them.
async fn there(target: &LocalFileSystem, store: &MemoryStore) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in store.files().into_keys().chain((0..4).map(bundle)) {
        if target.head(&Path::from(path.as_str())).await.is_ok() {
            found.insert(path);
        }
    }
    found
}

fn bundles(files: &BTreeSet<String>) -> Vec<u64> {
    (0..3).filter(|it| files.contains(&bundle(*it))).collect()
}

#[tokio::test]
async fn mirrors_follow_or_keep() {
    let written = written();
    let last = written.leaves.len() - 1;
    let selection = Selection {
        clients: vec![client(1)],
        centre: false,
    };
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let target = |at: usize| LocalFileSystem::new_with_prefix(folders[at].path()).unwrap();
    let store = MemoryStore::new();
    let source: Arc<dyn Store> = Arc::new(store.clone());
    let mirror = |at: usize| {
        let to = Arc::new(target(at));
        Mirror::new(Arc::clone(&source), &SALT, to, Path::default())
    };
    let (mut follows, mut keeps) = (mirror(0).pruning(), mirror(1));
    derived(&written, last - 3, &store);
    store.write("keys", b"keys\n").unwrap();
    for mirror in [&mut follows, &mut keeps] {
        mirror.copy(&selection).await.unwrap();
    }
    for at in [0, 1] {
        assert_eq!(bundles(&there(&target(at), &store).await), [0, 1, 2]);
    }
    derived(&written, last - 2, &store);
    follows.copy(&selection).await.unwrap();
    assert_eq!(bundles(&there(&target(0), &store).await), [0, 2]);
    derived(&written, last, &store);
    // A new process.
    let mut follows = mirror(0).pruning();
    for mirror in [&mut follows, &mut keeps] {
        mirror.copy(&selection).await.unwrap();
    }
    assert_eq!(bundles(&there(&target(0), &store).await), [0]);
    assert_eq!(bundles(&there(&target(1), &store).await), [0, 1, 2]);
    // One that begins later has all that is published, and no more is asked of it.
    mirror(2).copy(&selection).await.unwrap();
    let files = there(&target(2), &store).await;
    assert_eq!(bundles(&files), [0]);
    assert!(files.contains("client/1/minimum") && files.contains("client/1/tile/0/001"));
    // A bundle that no minimum covers has to be there.
    store.remove_file(&bundle(0)).unwrap();
    let nowhere = tempfile::tempdir().unwrap();
    let to = Arc::new(LocalFileSystem::new_with_prefix(nowhere.path()).unwrap());
    let mut fresh = Mirror::new(Arc::clone(&source), &SALT, to, Path::default());
    let error = fresh.copy(&selection).await.unwrap_err().to_string();
    assert!(
        error.contains("client/1/tile/entries/000 is missing"),
        "{error}"
    );
}

/// What did not change is not written again, by a process that knows it or one that does not.
#[tokio::test]
async fn only_what_changed_is_written() {
    let written = written();
    let place = tempfile::tempdir().unwrap();
    let store = Arc::new(DiskStore::new(place.path()).unwrap());
    let io: Arc<dyn Io> = Arc::new(written.sim.clone());
    let mut publisher = Publisher::open(io, Arc::clone(&store) as _, [7; 16], &SALT);
    publisher
        .advance(written.leaves[9], &GENERATION, &keys())
        .unwrap();
    store.write("keys", b"keys\n").unwrap();
    let days: Vec<String> = (1..=5)
        .map(|day| format!("root/cosigned/2026010{day}"))
        .collect();
    for day in &days {
        store.write(day, day.as_bytes()).unwrap();
    }
    let target = tempfile::tempdir().unwrap();
    let selection = Selection {
        clients: vec![client(1)],
        centre: true,
    };
    let mirror = || {
        let to = Arc::new(LocalFileSystem::new_with_prefix(target.path()).unwrap());
        Mirror::new(Arc::clone(&store) as _, &SALT, to, Path::default())
    };
    let mut first = mirror();
    let all = first.copy(&selection).await.unwrap().files;
    assert!(all > 20, "{all}");
    // The three checkpoints, and the list that goes with the partial bundle: as they are written.
    let least = first.copy(&selection).await.unwrap().files;
    assert!(least < all - days.len() as u64, "{least} of {all}");
    assert_eq!(mirror().copy(&selection).await.unwrap().files, least);
    store
        .append(&days[4], days[4].len() as u64, b"more")
        .unwrap();
    assert_eq!(first.copy(&selection).await.unwrap().files, least + 1);
    assert_eq!(mirror().copy(&selection).await.unwrap().files, least);
    let is = std::fs::read(target.path().join(&days[4])).unwrap();
    assert!(is.ends_with(b"more"));
    // A day more; one of before that is shorter there is written whole.
    store.write("root/cosigned/20260106", b"x").unwrap();
    std::fs::write(target.path().join(&days[1]), b"cut").unwrap();
    assert_eq!(mirror().copy(&selection).await.unwrap().files, least + 2);
    let is = std::fs::read(target.path().join(&days[1])).unwrap();
    assert_eq!(is, days[1].as_bytes());
    let mut keys_of = mirror();
    for (bytes, files) in [(b"a", 1), (b"a", 0), (b"b", 1)] {
        let before = keys_of.copy(&selection).await.unwrap().files;
        keys_of
            .put_changed("client/1/lists/202601.key", bytes.to_vec())
            .await
            .unwrap();
        let written = keys_of.copied().files - before;
        assert_eq!(written, files);
    }
}
