//! Deriving: the same bytes however it is done, and nothing promised before it is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use event::LogId;
use tlog::{Checkpoint, Hash, MemoryTree, Note, leaf_hash, verify_inclusion};
use zeroize::Zeroizing;

use super::store::Vital;
use super::*;
use crate::LedgerError;
use crate::io::Io;
use crate::recorder::Durable;
use crate::sim::Sim;
use crate::tests::{Rig, client, entries};

pub(crate) const SALT: [u8; 32] = [9; 32];

/// Files in memory; fails or forgets on purpose.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    files: BTreeMap<String, Vec<u8>>,
    staged: BTreeMap<String, Vec<u8>>,
    /// Written since the last sync.
    unsynced: BTreeSet<String>,
    /// What the disk holds of files that are not named by a publication.
    durable: BTreeMap<String, Vec<u8>>,
    /// Operations until each further one fails; `u64::MAX`: never.
    left: u64,
    /// Checkpoints that got their names before what they promise was synced.
    early: Vec<String>,
}

impl MemoryStore {
    pub(crate) fn new() -> Self {
        let store = Self::default();
        store.0.lock().unwrap().left = u64::MAX;
        store
    }

    fn with<T>(&self, path: &str, act: impl FnOnce(&mut Files) -> T) -> io::Result<T> {
        let mut files = self.0.lock().unwrap();
        if files.left == 0 {
            return Err(io::Error::other(format!("told to fail at {path}")));
        }
        if files.left != u64::MAX {
            files.left -= 1;
        }
        Ok(act(&mut files))
    }

    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().files.clone()
    }

    pub(crate) fn fail_after(&self, operations: u64) {
        self.0.lock().unwrap().left = operations;
    }

    /// What was not synced since is lost, as if the machine had lost its power.
    pub(crate) fn lose(&self, synced: &BTreeMap<String, Vec<u8>>) {
        let mut files = self.0.lock().unwrap();
        files.files = synced.clone();
        files.staged.clear();
        files.unsynced.clear();
        files.left = u64::MAX;
    }
}

impl Store for MemoryStore {
    fn read(&self, path: &str, _bytes_max: u64) -> io::Result<Vec<u8>> {
        let files = self.0.lock().unwrap();
        let bytes = files.files.get(path).cloned();
        bytes.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn stage(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(path, |files| {
            files.staged.insert(path.into(), bytes.into());
        })
    }

    fn publish(&self, path: &str) -> io::Result<()> {
        self.with(path, |files| {
            if path.ends_with("checkpoint") && !files.unsynced.is_empty() {
                files.early.push(path.into());
            }
            let bytes = files.staged.remove(path).unwrap();
            files.files.insert(path.into(), bytes);
            if !path.ends_with("checkpoint") && !path.ends_with("state") {
                files.unsynced.insert(path.into());
            }
        })
    }

    fn append(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(path, |files| {
            let file = files.files.entry(path.into()).or_default();
            if (file.len() as u64) < at {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.truncate(at as usize);
            file.extend_from_slice(bytes);
            files.unsynced.insert(path.into());
            Ok(())
        })?
    }

    fn hold(&self, path: &str, at: u64, head: &[u8], more: u64) -> io::Result<()> {
        let end = at as usize + head.len() + more as usize;
        if self
            .read(path, u64::MAX)
            .is_ok_and(|file| file.len() >= end)
        {
            return Ok(());
        }
        self.append(path, at, head)?;
        self.append(path, at + head.len() as u64, &vec![0; more as usize])
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let folder = format!("{path}/");
        self.with(path, |files| {
            files.files.retain(|name, _| !name.starts_with(&folder))
        })
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.with(path, |files| {
            files.files.remove(path);
        })
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        self.read(path, u64::MAX).map(|bytes| bytes.len() as u64)
    }

    fn list(&self, _folder: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn sync(&self) -> io::Result<()> {
        let done = self.with("sync", |files| {
            for path in &files.unsynced {
                let bytes = files.files.get(path).cloned();
                files
                    .durable
                    .insert(path.clone(), bytes.unwrap_or_default());
            }
            files.unsynced.clear();
        });
        if done.is_err() {
            // Pages that could not be written count as clean: no later sync writes them.
            self.0.lock().unwrap().unsynced.clear();
        }
        done
    }
}

/// A ledger with three clients, some hundred records over several segments, and its leaves.
struct Written {
    sim: Sim,
    /// How far it was durable at each leaf.
    leaves: Vec<Durable>,
}

fn written(batches: u64) -> Written {
    let mut rig = Rig::new();
    rig.propose(crate::tests::numbers(1 << 20)).unwrap();
    let mut leaves = Vec::new();
    for batch in 0..batches {
        let rows = (0..3).map(|row| (1 + ((batch + row) % 3) as u32, batch * 10 + row));
        let ask = rig.batch(rows.collect::<Vec<_>>());
        rig.append(ask).unwrap();
        if batch % 3 == 0 {
            rig.clock.pass(1_000);
            rig.core.tick();
            leaves.push(*rig.core.shared().durable_now());
        }
    }
    rig.core.stop();
    leaves.push(*rig.core.shared().durable_now());
    Written {
        sim: rig.sim.clone(),
        leaves,
    }
}

pub(crate) fn keys() -> LogKeys {
    LogKeys::new(vec![Zeroizing::new([3; 32])])
}

pub(crate) const GENERATION: Generation = Generation {
    ledger: [7; 16],
    number: 1,
};

fn open(sim: &Sim, store: &MemoryStore) -> Publisher {
    let io: Arc<dyn Io> = Arc::new(sim.clone());
    Publisher::open(io, Arc::new(store.clone()), [7; 16], &SALT)
}

/// What does not depend on when it was published.
pub(crate) fn lasting(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let lasts = |path: &str| !path.contains(".p/") && !path.ends_with("state");
    files
        .iter()
        .filter(|(path, _)| lasts(path))
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect()
}

fn at_once(written: &Written) -> BTreeMap<String, Vec<u8>> {
    let store = MemoryStore::new();
    let mut publisher = open(&written.sim, &store);
    let last = *written.leaves.last().unwrap();
    publisher
        .advance(last, &GENERATION, &keys())
        .unwrap()
        .unwrap();
    store.files()
}

#[test]
fn step_by_step_gives_the_same_bytes_as_at_once() {
    let written = written(400);
    let store = MemoryStore::new();
    let mut publisher = open(&written.sim, &store);
    for (step, leaf) in written.leaves.iter().enumerate() {
        publisher.advance(*leaf, &GENERATION, &keys()).unwrap();
        if step % 7 == 0 {
            publisher.save().unwrap();
            publisher = open(&written.sim, &store);
        }
    }
    let once = at_once(&written);
    assert_eq!(lasting(&store.files()), lasting(&once));
    assert!(once.contains_key("client/1/tile/0/000"), "a full tile");
    assert!(once.contains_key("client/1/tile/entries/000"));
    assert!(store.0.lock().unwrap().early.is_empty());
}

/// Each operation fails once; what follows is derived again, to the same bytes.
#[test]
fn a_failure_at_any_step_changes_nothing() {
    let written = written(40);
    let whole = lasting(&at_once(&written));
    for operations in 0.. {
        let store = MemoryStore::new();
        let mut publisher = open(&written.sim, &store);
        store.fail_after(operations);
        let mut failed = false;
        for leaf in &written.leaves {
            if publisher.advance(*leaf, &GENERATION, &keys()).is_err() {
                failed = true;
                assert!(publisher.is_broken());
                store.fail_after(u64::MAX);
                publisher = open(&written.sim, &store);
                publisher.advance(*leaf, &GENERATION, &keys()).unwrap();
            }
        }
        assert_eq!(lasting(&store.files()), whole, "failed at {operations}");
        assert!(store.0.lock().unwrap().early.is_empty());
        if !failed {
            assert!(operations > 50);
            return;
        }
    }
}

/// The first sync that fails is the last thing that this process does to the logs; the next one writes
/// anew what only seems to be there.
#[test]
fn after_a_failed_sync_nothing_is_published_and_nothing_trusted() {
    let written = written(40);
    let whole = lasting(&at_once(&written));
    let mut fatal = 0;
    for operations in 0.. {
        let store = MemoryStore::new();
        let told = Arc::new(AtomicU64::new(0));
        let tell = Arc::clone(&told);
        let on_fatal = move |_: &crate::Fatal| {
            tell.fetch_add(1, Ordering::Relaxed);
        };
        let vital: Arc<dyn Store> = Arc::new(Vital::new(Arc::new(store.clone()), on_fatal));
        let io: Arc<dyn Io> = Arc::new(written.sim.clone());
        let open = || Publisher::open(Arc::clone(&io), Arc::clone(&vital), [7; 16], &SALT);
        let mut publisher = open();
        store.fail_after(operations);
        let mut leaves = written.leaves.iter();
        let failed = leaves.find(|leaf| publisher.advance(**leaf, &GENERATION, &keys()).is_err());
        let Some(_) = failed else {
            assert!(fatal > 10, "{fatal} syncs");
            return;
        };
        store.fail_after(u64::MAX);
        let last = *written.leaves.last().unwrap();
        if told.load(Ordering::Relaxed) == 1 {
            fatal += 1;
            // It would work again.
            let before = store.files();
            assert!(open().advance(last, &GENERATION, &keys()).is_err());
            assert_eq!(store.files(), before, "operation {operations}");
        }
        assert!(told.load(Ordering::Relaxed) <= 1);
        let mut next = self::open(&written.sim, &store);
        next.advance(last, &GENERATION, &keys()).unwrap();
        let files = store.files();
        assert_eq!(lasting(&files), whole, "operation {operations}");
        let durable = &store.0.lock().unwrap().durable;
        for (path, bytes) in lasting(&files) {
            let is_named = path.ends_with("checkpoint");
            let on_disk = durable.get(&path) == Some(&bytes);
            assert!(is_named || on_disk, "operation {operations}: {path}");
        }
    }
}

/// The power goes between two leaves: files that were not synced are gone, those that were stay.
#[test]
fn lost_files_are_derived_again() {
    let written = written(60);
    let whole = lasting(&at_once(&written));
    let store = MemoryStore::new();
    let mut publisher = open(&written.sim, &store);
    let (first, rest) = written.leaves.split_at(5);
    for leaf in first {
        publisher.advance(*leaf, &GENERATION, &keys()).unwrap();
    }
    publisher.save().unwrap();
    let synced = store.files();
    let last = rest.last().unwrap();
    publisher.derive(*last, &mut |_| {}).unwrap();
    store.lose(&synced);
    let mut publisher = open(&written.sim, &store);
    publisher.advance(*last, &GENERATION, &keys()).unwrap();
    assert_eq!(lasting(&store.files()), whole);
}

/// Any derived file, cut anywhere, comes back from the write-ahead log.
#[test]
fn a_cut_file_comes_back() {
    let written = written(30);
    let whole = lasting(&at_once(&written));
    for (path, bytes) in &whole {
        let some = (0..bytes.len()).step_by((bytes.len() / 12).max(1));
        for length in some.chain([bytes.len() - 1]) {
            let store = MemoryStore::new();
            let mut cut = whole.clone();
            cut.get_mut(path).unwrap().truncate(length);
            store.lose(&cut);
            let mut publisher = open(&written.sim, &store);
            let last = *written.leaves.last().unwrap();
            publisher.advance(last, &GENERATION, &keys()).unwrap();
            assert_eq!(lasting(&store.files()), whole, "{path} cut at {length}");
        }
    }
}

fn checkpoint(files: &BTreeMap<String, Vec<u8>>, tree: &str) -> Checkpoint {
    let note = Note::parse(&files[&format!("{tree}/checkpoint")]).unwrap();
    Checkpoint::parse(note.text()).unwrap()
}

/// Roots are those of RFC 6962 over the records; slots prove them in every leaf.
#[test]
fn every_leaf_proves_every_log() {
    let written = written(300);
    let files = at_once(&written);
    let store = MemoryStore::new();
    store.lose(&files);
    let all = entries(&written.sim);
    let tree_of = |log: LogId| {
        let leaves = all.iter().filter(|entry| entry.log == log).map(|entry| {
            leaf_hash(&sequence::entry_bytes(
                entry.wall_ms,
                entry.elapsed_ms,
                &entry.record,
            ))
        });
        MemoryTree::new(leaves.collect())
    };
    let trees: Vec<(u32, MemoryTree)> = (1..=3)
        .map(|number| (number, tree_of(LogId::Client(client(number)))))
        .collect();
    assert_eq!(
        checkpoint(&files, "centre").root(),
        tree_of(LogId::Centre).root()
    );
    let leaves = checkpoint(&files, "root").size();
    assert_eq!(leaves, written.leaves.len() as u64);
    let salt = SaltKey::new(&SALT);
    let mut salts = BTreeSet::new();
    for (number, tree) in &trees {
        assert_eq!(
            checkpoint(&files, &format!("client/{number}")).root(),
            tree.root()
        );
        let mut sizes = 0;
        for bundle in 0..leaves.div_ceil(256) {
            let width = (leaves - bundle * 256).min(256) as u16;
            let proofs = SlotProver::new(&store, &salt)
                .bundle(*number, bundle, width)
                .unwrap();
            let roots = root_leaves(&files, bundle, width);
            for (proof, leaf) in tlog::bundle::entries(&proofs).zip(roots) {
                let proof = proof.unwrap();
                sizes = slot(proof, &leaf, *number, tree, sizes);
                assert!(salts.insert(proof[..32].to_vec()), "a salt is used once");
            }
        }
        assert_eq!(sizes, tree.size(), "the last leaf has all of it");
    }
}

fn root_leaves(files: &BTreeMap<String, Vec<u8>>, bundle: u64, width: u16) -> Vec<Vec<u8>> {
    let name = tlog::Bundle::new(bundle, width).unwrap();
    let bytes = &files[&format!("root/{name}")];
    let entries = tlog::bundle::exactly(bytes, width).unwrap();
    entries.into_iter().map(<[u8]>::to_vec).collect()
}

/// Checks a slot proof against its leaf and the client's tree; gives the size that it says.
fn slot(proof: &[u8], leaf: &[u8], number: u32, tree: &MemoryTree, before: u64) -> u64 {
    let size = u64::from_be_bytes(proof[32..40].try_into().unwrap());
    let root = Hash::from_slice(&proof[40..72]).unwrap();
    assert!(size >= before);
    assert_eq!(tree.root_at(size).unwrap(), root);
    let slots = u32::from_be_bytes(leaf[17..21].try_into().unwrap());
    assert_eq!(slots, 64);
    let mut bytes = proof[..32].to_vec();
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&proof[32..72]);
    let path: Vec<Hash> = proof[72..]
        .chunks_exact(32)
        .map(|hash| Hash::from_slice(hash).unwrap())
        .collect();
    let expected = Hash::from_slice(&leaf[21..]).unwrap();
    let index = u64::from(number);
    verify_inclusion(
        &leaf_hash(&bytes),
        index,
        u64::from(slots),
        &path,
        &expected,
    )
    .unwrap();
    size
}

/// A write-ahead log from an old backup, and one whose records were altered.
#[test]
fn our_own_checkpoints_bind() {
    let older = written(10);
    let newer = written(20);
    let store = MemoryStore::new();
    let mut publisher = open(&newer.sim, &store);
    let last = *newer.leaves.last().unwrap();
    publisher.advance(last, &GENERATION, &keys()).unwrap();
    let published = publisher.published().unwrap().unwrap();
    publisher.check_prefix(&published).unwrap();

    let before = MemoryStore::new();
    let mut restored = open(&older.sim, &before);
    restored
        .derive(*older.leaves.last().unwrap(), &mut |_| {})
        .unwrap();
    assert!(matches!(
        restored.check_prefix(&published),
        Err(LedgerError::Rollback { .. })
    ));
    // With the saved state of the newer one beside it, too.
    publisher.save().unwrap();
    let mut ahead = open(&older.sim, &store);
    assert!(matches!(
        ahead.derive(*older.leaves.last().unwrap(), &mut |_| {}),
        Err(LedgerError::Rollback { .. })
    ));
    let other = Checkpoint::new("x", published.size(), Hash::from_slice(&[1; 32]).unwrap());
    assert!(matches!(
        publisher.check_prefix(&other.unwrap()),
        Err(LedgerError::Fork { .. })
    ));
}

/// A start finds what was published though it has derived more since, which has no tiles yet.
#[test]
fn what_was_published_is_found_after_more_was_derived() {
    let written = written(60);
    let store = MemoryStore::new();
    let mut publisher = open(&written.sim, &store);
    for leaf in &written.leaves[..7] {
        publisher.advance(*leaf, &GENERATION, &keys()).unwrap();
    }
    let mut publisher = open(&written.sim, &store);
    publisher
        .derive(*written.leaves.last().unwrap(), &mut |_| {})
        .unwrap();
    let published = publisher.published().unwrap().unwrap();
    assert!(published.size() < publisher.roots());
    publisher.check_prefix(&published).unwrap();
}

#[test]
fn a_saved_state_of_another_ledger_or_with_a_flipped_bit_is_not_used() {
    let written = written(10);
    let store = MemoryStore::new();
    let mut publisher = open(&written.sim, &store);
    let last = *written.leaves.last().unwrap();
    publisher.advance(last, &GENERATION, &keys()).unwrap();
    publisher.save().unwrap();
    assert_eq!(open(&written.sim, &store).roots(), last.roots);
    let io: Arc<dyn Io> = Arc::new(written.sim.clone());
    let other = Publisher::open(io, Arc::new(store.clone()), [8; 16], &SALT);
    assert_eq!(other.roots(), 0);
    let count = AtomicU64::new(0);
    let length = store.files()["heads/state"].len();
    for at in (0..length).step_by(97) {
        let mut files = store.files();
        files.get_mut("heads/state").unwrap()[at] ^= 1;
        let damaged = MemoryStore::new();
        damaged.lose(&files);
        assert_eq!(open(&written.sim, &damaged).roots(), 0);
        count.fetch_add(1, Ordering::Relaxed);
    }
    assert!(count.into_inner() > 10);
}
