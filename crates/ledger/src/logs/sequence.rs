//! Frames to logs: a pure function. The same frames give the same files, whenever and however often
//! they are derived.
//!
//! A record's frame appends an entry to its log; a root frame appends a leaf to the root log that
//! commits to the heads of all logs. What became complete is handed to a [`Sink`] at once; what is
//! unfinished is asked for when it is to be published ([`Sequencer::unfinished`]).

use std::collections::{BTreeMap, BTreeSet};

use event::record::Body;
use event::{ClientId, LogId};
use tlog::{Bundle, Edge, Hash, TILE_WIDTH, Tile, leaf_hash};

use super::places::{Tree, number_path};
use super::slots::{
    LEAVES_PER_BUNDLE, SaltKey, SlotHead, SlotKeys, heads_base, heads_changed, heads_path,
    root_leaf,
};
use crate::frame::{Frame, FrameKind, Head};

/// The kind of [`Body::EntriesPruned`].
const ENTRIES_PRUNED: u16 = 24;

/// Takes what is derived. Paths are relative to the folder of the logs, or to that of the heads.
pub(crate) trait Sink {
    /// A file with all its bytes; it never changes again, unless its name ends in `.p/WIDTH`.
    fn whole(&mut self, path: String, bytes: Vec<u8>);
    /// Bytes at the end of a file that had `at` bytes.
    fn append(&mut self, path: String, at: u64, bytes: Vec<u8>);
    /// Bytes that stand in a file after its first `at`, and cannot be derived again: they begin with
    /// `head`, and `more` follow.
    fn hold(&mut self, path: String, at: u64, head: Vec<u8>, more: u64);
}

/// One tree and the entries of its unfinished bundle.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Grown {
    pub(crate) edge: Edge,
    pub(crate) bundle: Vec<u8>,
    /// Bytes in the file of lists of the unfinished bundle.
    pub(crate) lists: u64,
    /// The declared minimum: entries below are published no more, but for those of the first bundle.
    pub(crate) minimum: u64,
    /// The minimum below which bundles were removed.
    pub(crate) removed: u64,
}

impl Grown {
    /// Adds an entry; hands out what became full.
    fn push(&mut self, tree: Tree, entry: &[u8], sink: &mut dyn Sink) {
        // Entries are bounded by the record's and the attachment's limits.
        if tlog::bundle::append(&mut self.bundle, entry).is_err() {
            return;
        }
        let index = self.edge.size();
        for full in self.edge.push(leaf_hash(entry)) {
            sink.whole(format!("{}{}", tree.folder(), full.tile), full.bytes);
        }
        if (index + 1).is_multiple_of(u64::from(TILE_WIDTH)) {
            let bundle = Bundle::new(index / u64::from(TILE_WIDTH), TILE_WIDTH);
            let bytes = std::mem::take(&mut self.bundle);
            if let Some(bundle) = bundle {
                sink.whole(format!("{}{bundle}", tree.folder()), bytes);
            }
            self.lists = 0;
        }
    }

    fn unfinished(&self, tree: Tree, sink: &mut dyn Sink) {
        for partial in self.edge.partials() {
            sink.whole(format!("{}{}", tree.folder(), partial.tile), partial.bytes);
        }
        let width = (self.edge.size() % u64::from(TILE_WIDTH)) as u16;
        if let Some(bundle) = Bundle::new(self.edge.size() / u64::from(TILE_WIDTH), width) {
            sink.whole(format!("{}{bundle}", tree.folder()), self.bundle.clone());
        }
    }
}

/// A leaf that was appended to the root log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootLeaf {
    /// Its index.
    pub index: u64,
    /// The wall clock, ms.
    pub wall_ms: u64,
    /// Elapsed time, ms.
    pub elapsed_ms: u64,
}

/// A frame that no ledger of ours has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// An index that is not due.
    #[error("entry {found} of log {log} where {due} is due")]
    Index {
        /// The log.
        log: u32,
        /// What is due.
        due: u64,
        /// What stands there.
        found: u64,
    },
    /// A record that does not fit into an entry.
    #[error("a record of {0} bytes is too long for an entry")]
    TooLong(usize),
}

/// The state of all logs.
pub struct Sequencer {
    salt: SaltKey,
    keys: SlotKeys,
    pub(super) logs: BTreeMap<LogId, Grown>,
    pub(super) root: Grown,
    /// Heads as of the last leaf of the root log, by slot.
    pub(super) heads: Vec<SlotHead>,
    /// Bytes in the file of heads of the unfinished bundle of the root log.
    pub(super) heads_bytes: u64,
    /// Logs that grew since the last leaf.
    grown: BTreeSet<LogId>,
    /// Logs that grew since [`Sequencer::unfinished`] was asked, with their sizes then.
    unpublished: BTreeMap<LogId, u64>,
    root_published: u64,
}

impl std::fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sequencer({} leaves)", self.root.edge.size())
    }
}

/// The bytes of an entry: docs/format/logs.md.
pub fn entry_bytes(wall_ms: u64, elapsed_ms: u64, record: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(17 + record.len());
    entry.push(1);
    entry.extend_from_slice(&wall_ms.to_be_bytes());
    entry.extend_from_slice(&elapsed_ms.to_be_bytes());
    entry.extend_from_slice(record);
    entry
}

impl Sequencer {
    /// Before the first frame.
    pub fn new(salt: SaltKey) -> Self {
        Self {
            salt,
            keys: SlotKeys::default(),
            logs: BTreeMap::new(),
            root: Grown::default(),
            heads: Vec::new(),
            heads_bytes: 0,
            grown: BTreeSet::new(),
            unpublished: BTreeMap::new(),
            root_published: 0,
        }
    }

    /// From a saved state.
    pub(super) fn resume(
        salt: SaltKey,
        logs: BTreeMap<LogId, Grown>,
        root: Grown,
        heads: Vec<SlotHead>,
        heads_bytes: u64,
    ) -> Self {
        let root_published = root.edge.size();
        Self {
            logs,
            root,
            heads,
            heads_bytes,
            root_published,
            ..Self::new(salt)
        }
    }

    /// Leaves of the root log.
    pub fn roots(&self) -> u64 {
        self.root.edge.size()
    }

    /// Size and root of a log.
    pub fn head(&self, tree: Tree) -> (u64, Hash) {
        let grown = match tree {
            Tree::Root => Some(&self.root),
            Tree::Log(log) => self.logs.get(&log),
        };
        grown.map_or((0, tlog::EMPTY_ROOT), |grown| {
            (grown.edge.size(), grown.edge.root())
        })
    }

    /// Every log's head as the newest leaf of the root log says it.
    pub fn committed(&self) -> &[SlotHead] {
        &self.heads
    }

    /// Folds a frame; gives the leaf if it is a root frame.
    ///
    /// # Errors
    /// If the frame is not the next one.
    pub(crate) fn frame(
        &mut self,
        frame: &Frame<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Option<RootLeaf>, SequenceError> {
        match frame.head.kind {
            FrameKind::Record => self.record(frame, sink).map(|()| None),
            FrameKind::Root => self.leaf(&frame.head, sink).map(Some),
        }
    }

    fn record(&mut self, frame: &Frame<'_>, sink: &mut dyn Sink) -> Result<(), SequenceError> {
        let head = &frame.head;
        let grown = self.logs.entry(head.log).or_default();
        let due = grown.edge.size();
        if head.index != due {
            return Err(SequenceError::Index {
                log: head.log.number(),
                due,
                found: head.index,
            });
        }
        let entry = entry_bytes(head.wall_ms, head.elapsed_ms, frame.record);
        if entry.len() > tlog::bundle::ENTRY_BYTES_MAX {
            return Err(SequenceError::TooLong(frame.record.len()));
        }
        if due == 0 {
            // Slots are given in the order in which logs begin: the centre's with the genesis, a
            // client's with its entry `log-opened`, which says so.
            self.heads.push(SlotHead {
                log: head.log.number(),
                size: 0,
                root: tlog::EMPTY_ROOT,
            });
        }
        if !frame.attachment.is_empty() {
            let bytes = list_bytes(due, frame.attachment);
            let added = bytes.len() as u64;
            sink.append(lists_path(head.log, due), grown.lists, bytes);
            grown.lists += added;
        } else if frame.left_out > 0 {
            let more = frame.left_out as u64;
            let start = list_head(due, frame.left_out);
            let added = start.len() as u64 + more;
            sink.hold(lists_path(head.log, due), grown.lists, start, more);
            grown.lists += added;
        }
        self.unpublished.entry(head.log).or_insert(due);
        grown.push(Tree::Log(head.log), &entry, sink);
        if let LogId::Client(client) = head.log
            && let Some(below) = minimum(frame.record)
        {
            grown.minimum = below.clamp(grown.minimum, due);
            let path = minimum_path(client);
            sink.whole(path, format!("{}\n", grown.minimum).into_bytes());
        }
        self.grown.insert(head.log);
        Ok(())
    }

    fn leaf(&mut self, head: &Head, sink: &mut dyn Sink) -> Result<RootLeaf, SequenceError> {
        let index = self.root.edge.size();
        if head.index != index {
            return Err(SequenceError::Index {
                log: u32::MAX,
                due: index,
                found: head.index,
            });
        }
        if index.is_multiple_of(LEAVES_PER_BUNDLE) {
            self.heads_bytes = 0;
            self.put_heads(index, heads_base(&self.heads), sink);
        }
        let changed = self.take_changed();
        let bytes = heads_changed(changed.iter().map(|&slot| (slot, &self.heads[slot])));
        self.put_heads(index, bytes, sink);
        self.keys.grow(&self.salt, self.heads.len());
        let tree = self.keys.tree(index, &self.heads);
        let leaf = root_leaf(head.wall_ms, head.elapsed_ms, &tree);
        self.root.push(Tree::Root, &leaf, sink);
        Ok(RootLeaf {
            index,
            wall_ms: head.wall_ms,
            elapsed_ms: head.elapsed_ms,
        })
    }

    fn put_heads(&mut self, leaf: u64, bytes: Vec<u8>, sink: &mut dyn Sink) {
        let added = bytes.len() as u64;
        let path = heads_path(leaf / LEAVES_PER_BUNDLE);
        sink.append(path, self.heads_bytes, bytes);
        self.heads_bytes += added;
    }

    /// Brings the heads up to date; gives the slots that changed, ascending.
    fn take_changed(&mut self) -> Vec<usize> {
        let grown = std::mem::take(&mut self.grown);
        let mut changed = Vec::with_capacity(grown.len());
        for (slot, head) in self.heads.iter_mut().enumerate() {
            let log = LogId::from_number(head.log).filter(|log| grown.contains(log));
            if let Some(log) = log.and_then(|log| self.logs.get(&log)) {
                head.size = log.edge.size();
                head.root = log.edge.root();
                changed.push(slot);
            }
        }
        changed
    }

    /// Whether nothing grew since [`Sequencer::unfinished`] was asked.
    pub(crate) fn is_published(&self) -> bool {
        self.unpublished.is_empty() && self.root_published == self.root.edge.size()
    }

    /// Hands out the partial tiles and bundles of what grew since this was asked last; gives those
    /// logs.
    pub(crate) fn unfinished(&mut self, sink: &mut dyn Sink) -> Vec<(Tree, u64)> {
        let mut grown: Vec<(Tree, u64)> = std::mem::take(&mut self.unpublished)
            .into_iter()
            .map(|(log, before)| (Tree::Log(log), before))
            .collect();
        if self.root_published < self.root.edge.size() {
            grown.push((Tree::Root, self.root_published));
            self.root_published = self.root.edge.size();
        }
        for (tree, _) in &grown {
            match tree {
                Tree::Root => self.root.unfinished(*tree, sink),
                Tree::Log(log) => {
                    if let Some(grown) = self.logs.get(log) {
                        grown.unfinished(*tree, sink);
                    }
                }
            }
        }
        grown
    }

    /// Entry bundles that are to go, once a checkpoint is published that has the records of it: of
    /// each client's log those below its minimum, but for the first, which says whose log it is.
    pub(crate) fn pruned(&self) -> impl Iterator<Item = String> {
        self.logs.iter().flat_map(|(log, grown)| {
            let tree = Tree::Log(*log);
            pruned_bundles(grown.removed, grown.minimum)
                .map(move |bundle| format!("{}{bundle}", tree.folder()))
        })
    }

    /// Those of [`Sequencer::pruned`] are gone.
    pub(crate) fn were_removed(&mut self) {
        for grown in self.logs.values_mut() {
            grown.removed = grown.minimum;
        }
    }

    /// Hands out the partial tiles and the bundle of the root log.
    pub(crate) fn root_unfinished(&self, sink: &mut dyn Sink) {
        self.root.unfinished(Tree::Root, sink);
    }

    /// Folders of the partial tiles and bundles of a tree of `before` entries that are full when it
    /// has `size`.
    pub(crate) fn filled(tree: Tree, before: u64, size: u64) -> Vec<String> {
        let mut folders = Vec::new();
        for tile in Tile::partials(before) {
            let full = size >> (8 * (u32::from(tile.level()) + 1)) > tile.index();
            if !full {
                continue;
            }
            folders.push(format!("{}{}.p", tree.folder(), tile.full()));
            if tile.level() == 0 {
                let bundle = Bundle::new(tile.index(), TILE_WIDTH);
                folders.extend(bundle.map(|bundle| format!("{}{bundle}.p", tree.folder())));
            }
        }
        folders
    }
}

/// The minimum that a record declares, if it does.
fn minimum(record: &[u8]) -> Option<u64> {
    if event::record::kind(record) != Some(ENTRIES_PRUNED) {
        return None;
    }
    match event::record::decode(record) {
        Ok(Body::EntriesPruned { below, .. }) => Some(below),
        _ => None,
    }
}

/// The file with a client's declared minimum, in decimal: it spares readers a look for what is gone,
/// and proves nothing.
pub(crate) fn minimum_path(client: ClientId) -> String {
    format!("{}minimum", Tree::client(client).folder())
}

/// The bundles that go when a minimum of `old` becomes `new`, ascending. Never the first.
pub(crate) fn pruned_bundles(old: u64, new: u64) -> impl DoubleEndedIterator<Item = Bundle> {
    let width = u64::from(TILE_WIDTH);
    ((old / width).max(1)..new / width).filter_map(|number| Bundle::new(number, TILE_WIDTH))
}

/// The file of the lists beside the bundle of an entry.
pub(crate) fn lists_path(log: LogId, entry: u64) -> String {
    let bundle = entry / u64::from(TILE_WIDTH);
    format!("{}lists/{}", Tree::Log(log).folder(), number_path(bundle))
}

fn list_bytes(entry: u64, attachment: &[u8]) -> Vec<u8> {
    let mut bytes = list_head(entry, attachment.len());
    bytes.extend_from_slice(attachment);
    bytes
}

/// What an attachment begins with in its file.
fn list_head(entry: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + length);
    bytes.push((entry % u64::from(TILE_WIDTH)) as u8);
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
    bytes
}
