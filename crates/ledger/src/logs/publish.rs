//! Writes what is derived and publishes checkpoints, in this order: tiles, bundles, lists; one sync;
//! the names of the checkpoints. What goes wrong on the way is derived again from the saved state.
//!
//! Files beyond the saved state that are there when it is opened are not trusted: after a failed sync
//! they can be read and may not be on disk. They are written anew beside, synced, and then renamed, so
//! that what is promised already is there all the time.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use event::LogId;
use tlog::{Checkpoint, Hash, Note, Tile, TileSource};

use super::follow::Follower;
use super::keys::LogKeys;
use super::places::{Generation, Tree};
use super::saved;
use super::sequence::{RootLeaf, Sequencer, Sink};
use super::slots::SaltKey;
use super::store::Store;
use crate::LedgerError;
use crate::frame::{Frame, Mark};
use crate::io::Io;
use crate::recorder::Durable;

/// The saved state, in the store.
const STATE: &str = "heads/state";
/// State that is longer is not ours.
const STATE_BYTES_MAX: u64 = 1 << 32;
/// Longest checkpoint with its signatures, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 64 << 10;
/// A full tile.
const TILE_BYTES_MAX: u64 = 256 * 32;
/// Files that wait beside their place at most.
const AGAIN_MAX: usize = 4096;
/// The state is saved after so many leaves of the root log.
const LEAVES_PER_SAVE: u64 = 60;

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// The newest leaf of the root log.
    pub leaf: RootLeaf,
    /// The root log's checkpoint, signed.
    pub root: Note,
    /// Logs that grew, the root log among them.
    pub grown: Vec<Tree>,
}

/// Up to where the logs are derived.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    /// The place in the write-ahead log behind the newest derived leaf of the root log.
    pub(crate) at: Mark,
    /// Entries of each log before it.
    pub(crate) sizes: Arc<BTreeMap<LogId, u64>>,
}

/// Derives a ledger's logs and publishes them in a store.
pub struct Publisher {
    store: Arc<dyn Store>,
    follower: Follower,
    sequencer: Sequencer,
    ledger: [u8; 16],
    /// Leaves of the root log when the state was saved last.
    saved: u64,
    /// Up to where the saved state has folded.
    saved_at: Mark,
    /// What was derived from frames before it is durable, and so is a saved state of at least that.
    derived: Mark,
    /// What was written before it was opened.
    again: Again,
    /// Something failed: what is in memory is ahead of what was written.
    broken: bool,
    /// The root log's checkpoint is published elsewhere.
    leaves_root: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Publisher({} leaves)", self.sequencer.roots())
    }
}

/// Files that were there before, until all that is derived was synced once.
#[derive(Default)]
struct Again {
    trusted: bool,
    /// Staged anew, not renamed yet.
    staged: BTreeSet<String>,
}

impl Again {
    /// What was staged anew is made durable and gets its names.
    fn rename(&mut self, store: &dyn Store) -> Result<(), LedgerError> {
        if self.staged.is_empty() {
            return Ok(());
        }
        sync(store)?;
        for path in std::mem::take(&mut self.staged) {
            let done = store.publish(&path);
            done.map_err(|error| LedgerError::io(format!("write {path}"), error))?;
        }
        Ok(())
    }
}

fn sync(store: &dyn Store) -> Result<(), LedgerError> {
    store
        .sync()
        .map_err(|error| LedgerError::io("sync the derived logs", error))
}

/// Writes at once; keeps the first error.
struct Writer<'a> {
    store: &'a dyn Store,
    again: &'a mut Again,
    failed: Option<LedgerError>,
}

impl<'a> Writer<'a> {
    fn new(store: &'a dyn Store, again: &'a mut Again) -> Self {
        let failed = None;
        Self {
            store,
            again,
            failed,
        }
    }

    fn keep(&mut self, path: &str, done: std::io::Result<()>) {
        if let Err(error) = done
            && self.failed.is_none()
        {
            self.failed = Some(LedgerError::io(format!("write {path}"), error));
        }
    }

    fn check(&mut self) -> Result<(), LedgerError> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl Sink for Writer<'_> {
    fn whole(&mut self, path: String, bytes: Vec<u8>) {
        // What is there may be promised already: written anew in its place it would not be durable
        // until the next sync.
        let there = self.store.read(&path, bytes.len() as u64);
        if there.is_ok_and(|there| there == bytes) {
            if !self.again.trusted {
                let done = self.store.stage(&path, &bytes);
                self.keep(&path, done);
                self.again.staged.insert(path);
            }
            return;
        }
        // What was staged of it is staged over, and gets its name here.
        self.again.staged.remove(&path);
        let done = self.store.write(&path, &bytes);
        self.keep(&path, done);
    }

    fn append(&mut self, path: String, at: u64, bytes: Vec<u8>) {
        let done = self.store.append(&path, at, &bytes);
        self.keep(&path, done);
    }

    fn hold(&mut self, path: String, at: u64, head: Vec<u8>, more: u64) {
        let done = self.store.hold(&path, at, &head, more);
        self.keep(&path, done);
    }
}

impl Publisher {
    /// Resumes from the saved state, or begins at the first frame.
    pub fn open(io: Arc<dyn Io>, store: Arc<dyn Store>, ledger: [u8; 16], salt: &[u8; 32]) -> Self {
        let found = store.read(STATE, STATE_BYTES_MAX).ok();
        let found = found.and_then(|bytes| saved::decode(&bytes, &ledger, SaltKey::new(salt)));
        let saved_at = found.as_ref().map_or(Mark::default(), |(at, _)| *at);
        let (follower, sequencer) = match found {
            Some((at, sequencer)) => (Follower::from(io, at), sequencer),
            None => (Follower::new(io), Sequencer::new(SaltKey::new(salt))),
        };
        Self {
            store,
            follower,
            saved: sequencer.roots(),
            saved_at,
            derived: Mark::default(),
            sequencer,
            ledger,
            again: Again::default(),
            broken: false,
            leaves_root: false,
        }
    }

    /// Leaves the root log's checkpoint to who asks the witnesses for cosignatures: two who publish
    /// one file would take each other's bytes, and a slow one would put an old size in its place.
    #[must_use]
    pub fn leaving_root(self) -> Self {
        Self {
            leaves_root: true,
            ..self
        }
    }

    /// Leaves of the root log that are derived.
    pub fn roots(&self) -> u64 {
        self.sequencer.roots()
    }

    /// Up to where frames are needed no more to derive the logs: all that comes from those before it
    /// is durable, and a start goes on from there.
    pub fn derived(&self) -> Mark {
        self.derived
    }

    /// Up to where it has derived.
    pub(crate) fn tail(&self) -> Tail {
        let logs = self.sequencer.logs.iter();
        Tail {
            at: self.follower.at(),
            sizes: Arc::new(logs.map(|(log, grown)| (*log, grown.edge.size())).collect()),
        }
    }

    /// Whether something failed: then it has to be opened again.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Derives all leaves of the root log that are durable, and publishes the newest. `None`: there
    /// is no new one.
    ///
    /// # Errors
    /// If frames do not verify or files cannot be written. Then it is to be opened again.
    pub fn advance(
        &mut self,
        durable: Durable,
        generation: &Generation,
        keys: &LogKeys,
    ) -> Result<Option<Published>, LedgerError> {
        let done = self
            .derive(durable, &mut |_| {})
            .and_then(|leaf| match leaf {
                Some(leaf) => self.publish(leaf, generation, keys).map(Some),
                None => Ok(None),
            });
        self.broken |= done.is_err();
        done
    }

    /// Derives up to the newest durable leaf, which it gives. `progress` hears of each leaf.
    ///
    /// # Errors
    /// As [`Publisher::advance`].
    pub fn derive(
        &mut self,
        durable: Durable,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<RootLeaf>, LedgerError> {
        if self.sequencer.roots() > durable.roots {
            // The saved state is ahead of the write-ahead log: that one is an old copy.
            return Err(LedgerError::Rollback {
                size: self.sequencer.roots(),
                known: durable.roots,
            });
        }
        if self.sequencer.roots() == durable.roots {
            return Ok(None);
        }
        let mut newest = None;
        let mut writer = Writer::new(&*self.store, &mut self.again);
        let sequencer = &mut self.sequencer;
        let mut take = |frame: &Frame<'_>, _: Mark| -> Result<bool, LedgerError> {
            let leaf = sequencer
                .frame(frame, &mut writer)
                .map_err(|error| LedgerError::Fold {
                    sequence: frame.head.sequence,
                    what: error.to_string(),
                })?;
            writer.check()?;
            let Some(leaf) = leaf else {
                return Ok(false);
            };
            if writer.again.staged.len() >= AGAIN_MAX {
                writer.again.rename(writer.store)?;
            }
            newest = Some(leaf);
            progress(leaf.index + 1);
            Ok(leaf.index + 1 >= durable.roots)
        };
        let done = self.follower.frames(durable.mark, &mut take);
        let done = done.and_then(|()| self.again.rename(&*self.store));
        self.broken |= done.is_err();
        done.map(|()| newest)
    }

    fn publish(
        &mut self,
        leaf: RootLeaf,
        generation: &Generation,
        keys: &LogKeys,
    ) -> Result<Published, LedgerError> {
        let mut writer = Writer::new(&*self.store, &mut self.again);
        let grown = self.sequencer.unfinished(&mut writer);
        writer.check()?;
        self.again.rename(&*self.store)?;
        let mut root = None;
        for (tree, _) in &grown {
            let note = keys.sign(generation, *tree, self.sequencer.head(*tree))?;
            if self.names(*tree) {
                self.on(tree, "stage", |path| {
                    self.store.stage(path, note.to_string().as_bytes())
                })?;
            }
            if *tree == Tree::Root {
                root = Some(note);
            }
        }
        let root = root.ok_or_else(|| LedgerError::Setting("the root log did not grow".into()))?;
        let save = leaf.index + 1 >= self.saved + LEAVES_PER_SAVE;
        if save {
            self.stage_state()?;
        }
        self.sync()?;
        self.again.trusted = true;
        for (tree, _) in grown.iter().filter(|(tree, _)| self.names(*tree)) {
            self.on(tree, "publish", |path| self.store.publish(path))?;
        }
        if save {
            self.publish_state()?;
        }
        self.remove_partials(&grown)?;
        self.prune()?;
        Ok(Published {
            leaf,
            root,
            grown: grown.into_iter().map(|(tree, _)| tree).collect(),
        })
    }

    /// Whether a log's checkpoint is published here.
    fn names(&self, tree: Tree) -> bool {
        !(self.leaves_root && tree == Tree::Root)
    }

    fn on(
        &self,
        tree: &Tree,
        what: &str,
        action: impl Fn(&str) -> std::io::Result<()>,
    ) -> Result<(), LedgerError> {
        let path = checkpoint_path(*tree);
        action(&path).map_err(|error| LedgerError::io(format!("{what} {path}"), error))
    }

    /// Partial tiles of before go when the tile that they became part of is full; a reader that
    /// still wants one asks for the full one (C2SP tlog-tiles).
    fn remove_partials(&self, grown: &[(Tree, u64)]) -> Result<(), LedgerError> {
        for &(tree, before) in grown {
            let (size, _) = self.sequencer.head(tree);
            for folder in Sequencer::filled(tree, before, size) {
                self.store
                    .remove(&folder)
                    .map_err(|error| LedgerError::io(format!("remove {folder}"), error))?;
            }
        }
        Ok(())
    }

    /// Removes the bundles below the declared minimums, whose records are published by now. The next
    /// saved state that says so is named after a sync of it.
    fn prune(&mut self) -> Result<(), LedgerError> {
        for path in self.sequencer.pruned() {
            self.store
                .remove_file(&path)
                .map_err(|error| LedgerError::io(format!("remove {path}"), error))?;
        }
        self.sequencer.were_removed();
        Ok(())
    }

    fn stage_state(&self) -> Result<(), LedgerError> {
        let state = saved::encode(&self.ledger, self.follower.at(), &self.sequencer);
        self.store
            .stage(STATE, &state)
            .map_err(|error| LedgerError::io(format!("stage {STATE}"), error))
    }

    fn publish_state(&mut self) -> Result<(), LedgerError> {
        self.store
            .publish(STATE)
            .map_err(|error| LedgerError::io(format!("write {STATE}"), error))?;
        self.saved = self.sequencer.roots();
        self.saved_at = self.follower.at();
        Ok(())
    }

    /// Saves the state: the next start goes on from here. Not while logs grew that are not published
    /// yet: that start would not know of them.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&mut self) -> Result<(), LedgerError> {
        let saved = self.saved == self.sequencer.roots();
        if self.broken || saved || !self.sequencer.is_published() {
            return Ok(());
        }
        self.stage_state()?;
        // A torn state would be noticed, and cost the derivation of everything.
        self.sync()?;
        self.publish_state()
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        sync(&*self.store)?;
        // The saved state's name, too.
        self.derived = self.saved_at;
        Ok(())
    }

    /// Writes what is unfinished of the root log as it is now: any of its former roots can be had
    /// from the tiles then.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_root(&mut self) -> Result<(), LedgerError> {
        let mut writer = Writer::new(&*self.store, &mut self.again);
        self.sequencer.root_unfinished(&mut writer);
        writer.check()?;
        self.again.rename(&*self.store)
    }

    /// Whether a checkpoint of the root log is a prefix of what is derived.
    ///
    /// # Errors
    /// [`LedgerError::Rollback`] if the checkpoint is larger, [`LedgerError::Fork`] if it has
    /// another root.
    pub fn check_prefix(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        let (size, known) = (checkpoint.size(), self.sequencer.roots());
        if size > known {
            return Err(LedgerError::Rollback { size, known });
        }
        let root = self.root_at(size)?;
        if root == checkpoint.root() {
            Ok(())
        } else {
            Err(LedgerError::Fork { size })
        }
    }

    /// The root of the root log when it had `size` leaves.
    ///
    /// # Errors
    /// If the tiles cannot be read.
    pub fn root_at(&self, size: u64) -> Result<Hash, LedgerError> {
        tlog::root(Tiles::new(&*self.store, Tree::Root, self.roots()), size)
            .map_err(|error| LedgerError::Setting(format!("read the root log's tiles: {error}")))
    }

    /// The proof that the root log of `new` leaves continues the one of `old`.
    ///
    /// # Errors
    /// If the tiles cannot be read.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LedgerError> {
        tlog::consistency_proof(Tiles::new(&*self.store, Tree::Root, self.roots()), old, new)
            .map_err(|error| LedgerError::Setting(format!("read the root log's tiles: {error}")))
    }

    /// The root log's checkpoint that stands in the store.
    ///
    /// # Errors
    /// If there is one and it cannot be read.
    pub fn published(&self) -> Result<Option<Checkpoint>, LedgerError> {
        published(&*self.store, Tree::Root)
    }
}

/// A log's checkpoint that stands in a store.
///
/// # Errors
/// If there is one and it cannot be read.
pub(crate) fn published(store: &dyn Store, tree: Tree) -> Result<Option<Checkpoint>, LedgerError> {
    let path = checkpoint_path(tree);
    let bytes = match store.read(&path, CHECKPOINT_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LedgerError::io(format!("read {path}"), error)),
    };
    let note = Note::parse(&bytes).ok();
    note.and_then(|note| Checkpoint::parse(note.text()).ok())
        .map(Some)
        .ok_or_else(|| LedgerError::Setting(format!("{path} is no checkpoint")))
}

/// Where a log's checkpoint stands.
pub fn checkpoint_path(tree: Tree) -> String {
    format!("{}checkpoint", tree.folder())
}

/// The tiles of a log of `size` entries in a store.
pub struct Tiles<'a> {
    store: &'a dyn Store,
    tree: Tree,
    size: u64,
}

impl std::fmt::Debug for Tiles<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tiles({}, {})", self.tree, self.size)
    }
}

impl<'a> Tiles<'a> {
    /// Of a log that has `size` entries.
    pub fn new(store: &'a dyn Store, tree: Tree, size: u64) -> Self {
        Self { store, tree, size }
    }
}

impl TileSource for Tiles<'_> {
    type Error = std::io::Error;

    fn tile(&self, tile: Tile) -> Result<Cow<'_, [u8]>, Self::Error> {
        // As it was when a checkpoint of that size was published; what it has become since; what it
        // is now, for sizes in between.
        let widest = Tile::holding(tile.level(), tile.index() << 8, self.size);
        let mut missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        for known in [Some(tile), Some(tile.full()), widest]
            .into_iter()
            .flatten()
        {
            let path = format!("{}{known}", self.tree.folder());
            match self.store.read(&path, TILE_BYTES_MAX) {
                Ok(mut bytes) => {
                    bytes.truncate(tile.bytes());
                    return Ok(Cow::Owned(bytes));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing = error,
                Err(error) => return Err(error),
            }
        }
        Err(missing)
    }
}
