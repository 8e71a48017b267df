//! A copy of what a client may read, brought up to date: so that everything works with the network
//! unplugged. Each file is written whole or not at all, checkpoints last: a copy that is interrupted
//! is the older one with more files, and goes on from there. Nothing is believed until `check` has
//! read it; only the checkpoints' signatures are looked at before anything is fetched, and that they
//! continue the copy's.
//!
//! What was signed and contradicts something that is signed is evidence: neither is ever overwritten.

mod kept;

use std::io;
use std::path::{Path, PathBuf};

use stamp::{INDEX, INDEX_BYTES_MAX, Index, Over, TOKEN_BYTES_MAX};
use tlog::{Bundle, Checkpoint, Note, TILE_WIDTH, Tile};

use crate::entry::Entry;
use crate::key::KeyFile;
use crate::keys::KeyList;
use crate::places::{
    self, BUNDLE_BYTES_MAX, COSIGNED_BYTES_MAX, KEYS, LISTS_BYTES_MAX, NOTE_BYTES_MAX, Tree,
};
use crate::platform::{self, Mode};
use crate::store::{Folder, Store, StoreError};

const DAY_MS: u64 = 86_400_000;
const TILE_BYTES_MAX: u64 = 256 * 32;
/// A number.
const MINIMUM_BYTES_MAX: u64 = 32;
/// Files asked for together.
const TOGETHER: usize = 32;

/// Why a copy could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Nothing is there.
    #[error("there is no log here: {0} is missing")]
    Missing(String),
    /// A file that a log of this size has.
    #[error("{0} is missing there: the copy stays as it was, with what was fetched")]
    Incomplete(String),
    /// Network, server.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Keys or checkpoints that do not count.
    #[error("{path}: {why}")]
    Forged {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The copy is newer than what the server shows.
    #[error(
        "{tree} has {has} entries there, your copy {had}: an older log is shown, nothing was changed"
    )]
    Older {
        /// Which log.
        tree: Tree,
        /// In the copy.
        had: u64,
        /// There.
        has: u64,
    },
    /// Signed twice, differently.
    #[error(
        "{tree}: the checkpoint of {has} entries there does not continue the one of {had} entries in your copy: the log was forked, or tiles there are altered; nothing was overwritten: {beside} is the new checkpoint, beside your old one. Show both to your auditor"
    )]
    Forked {
        /// Which log.
        tree: Tree,
        /// In the copy.
        had: u64,
        /// There.
        has: u64,
        /// Where the new checkpoint is kept.
        beside: String,
    },
    /// Tiles that are needed to see that the copy is continued.
    #[error("{tree}: whether it continues your copy cannot be seen: {why}")]
    Unproven {
        /// Which log.
        tree: Tree,
        /// What is missing.
        why: String,
    },
    /// The copy is of an earlier generation, or of another log.
    #[error(
        "your copy is of the log {had}, and there is {has}: a new generation is another log; copy it into a folder of its own, and keep this one"
    )]
    OtherLog {
        /// Origin in the copy.
        had: String,
        /// Origin there.
        has: String,
    },
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// What was copied.
#[derive(Clone, Default, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Copied {
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Entries of the own log.
    pub entries: u64,
    /// Root leaves.
    pub root_leaves: u64,
    /// Entry bundles that are not in the copy, and published no more by the minimum that is told there.
    pub gone: u64,
    /// What contradicts what the copy has.
    pub contradictions: Vec<Contradiction>,
}

/// A file that may only grow, or never changes, and is another one there.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Contradiction {
    /// In the copy, as it was.
    pub path: String,
    /// What stands there now is kept here.
    pub beside: String,
}

struct Mirror<'a> {
    key_file: &'a KeyFile,
    from: &'a dyn Store,
    to: &'a Folder,
    copied: Copied,
}

/// Brings a folder up to date.
///
/// # Errors
/// See [`MirrorError`]; what was copied before is still a whole copy.
pub fn mirror(
    key_file: &KeyFile,
    from: &dyn Store,
    to: &Path,
    now_ms: u64,
) -> Result<Copied, MirrorError> {
    let to = Folder(to.to_owned());
    let mut it = Mirror {
        key_file,
        from,
        to: &to,
        copied: Copied::default(),
    };
    let tree = key_file.tree();
    let root_path = places::checkpoint(Tree::Root);
    let own_path = places::checkpoint(tree);
    let needed = |path: &str| {
        let found = from.read(path, NOTE_BYTES_MAX)?;
        found.ok_or_else(|| MirrorError::Missing(path.to_owned()))
    };
    let root_note = needed(&root_path)?;
    let own_note = needed(&own_path)?;
    let keys = needed(KEYS)?;
    let list = KeyList::open(&keys, key_file).map_err(|error| MirrorError::Forged {
        path: KEYS.into(),
        why: error.to_string(),
    })?;
    let root = it.size(Tree::Root, &root_note, &list)?;
    let own = it.size(tree, &own_note, &list)?;
    let had = it.had(tree)?.map_or(0, |it| it.size());
    it.tree(Tree::Root, root)?;
    it.tree(tree, own)?;
    it.slots(root)?;
    it.lists(had, own, now_ms)?;
    it.cosigned(root, now_ms)?;
    it.stamps(root)?;
    it.keys(&keys, &list)?;
    it.checkpoint(&own_path, &own_note)?;
    it.checkpoint(&root_path, &root_note)?;
    it.copied.entries = own;
    it.copied.root_leaves = root;
    Ok(it.copied)
}

impl Mirror<'_> {
    /// The size in a checkpoint that a listed key signed, and that continues the copy's.
    fn size(&mut self, tree: Tree, note: &[u8], list: &KeyList) -> Result<u64, MirrorError> {
        let forged = |why: String| MirrorError::Forged {
            path: places::checkpoint(tree),
            why,
        };
        let parsed = Note::parse(note).map_err(|error| forged(error.to_string()))?;
        let keys = list.verifiers(self.key_file, tree);
        let opened = Checkpoint::open(&parsed, &keys).map_err(|error| forged(error.to_string()))?;
        let has = opened.checkpoint.size();
        if let Some(had) = self.had(tree)? {
            self.continues(tree, &had, &opened.checkpoint, note)?;
        }
        Ok(has)
    }

    /// The copy's checkpoint; `None` if there is none yet.
    fn had(&self, tree: Tree) -> Result<Option<Checkpoint>, MirrorError> {
        let found = self.to.read(&places::checkpoint(tree), NOTE_BYTES_MAX)?;
        let note = found.and_then(|bytes| Note::parse(&bytes).ok());
        Ok(note.and_then(|note| Checkpoint::parse(note.text()).ok()))
    }

    fn tree(&mut self, tree: Tree, size: u64) -> Result<(), MirrorError> {
        let tiles = Tile::grown(0, size).map(|tile| {
            let full = places::tiles(tree, tile.full());
            (places::tiles(tree, tile), full, TILE_BYTES_MAX)
        });
        self.fetch_all(tiles)?;
        let minimum = self.minimum(tree)?;
        let mut gone = 0;
        let to = self.to;
        let bundles = Bundle::grown(0, size).filter_map(|bundle| {
            let full = places::tiles(tree, bundle.full());
            let end = bundle.first() + u64::from(TILE_WIDTH);
            if bundle.index() > 0 && end <= minimum {
                gone += u64::from(!there_at(to, &full));
                return None;
            }
            Some((places::tiles(tree, bundle), full, BUNDLE_BYTES_MAX))
        });
        self.fetch_all(bundles)?;
        self.copied.gone += gone;
        Ok(())
    }

    /// From which entry on bundles are published, by what is told there. Whether the log says so,
    /// `check` sees.
    fn minimum(&self, tree: Tree) -> Result<u64, MirrorError> {
        if tree == Tree::Root {
            return Ok(0);
        }
        let found = self.from.read(&places::minimum(tree), MINIMUM_BYTES_MAX)?;
        let text = found.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.and_then(|it| it.trim_end().parse().ok()).unwrap_or(0))
    }

    fn slots(&mut self, root: u64) -> Result<(), MirrorError> {
        let tree = self.key_file.tree();
        let slots = Bundle::grown(0, root).map(|bundle| {
            let full = places::slots(tree, bundle.full());
            (places::slots(tree, bundle), full, BUNDLE_BYTES_MAX)
        });
        self.fetch_all(slots)
    }

    /// Fetches files that are not there: a path, the path of the full one in its place, the longest
    /// it may be.
    fn fetch_all(
        &mut self,
        files: impl Iterator<Item = (String, String, u64)>,
    ) -> Result<(), MirrorError> {
        let mut wanted = Vec::with_capacity(TOGETHER);
        for (path, full, max) in files {
            let there = |path: &str| self.to.path().join(path).is_file();
            if there(&path) || there(&full) {
                continue;
            }
            wanted.push((path, full, max));
            if wanted.len() == TOGETHER {
                self.fetch(&std::mem::take(&mut wanted))?;
            }
        }
        self.fetch(&wanted)
    }

    fn fetch(&mut self, wanted: &[(String, String, u64)]) -> Result<(), MirrorError> {
        let paths: Vec<(String, u64)> = wanted
            .iter()
            .map(|(path, _, max)| (path.clone(), *max))
            .collect();
        for ((path, full, max), found) in wanted.iter().zip(self.from.read_all(&paths)) {
            match found? {
                Some(bytes) => self.write(path, &bytes)?,
                None if full == path => return Err(MirrorError::Incomplete(path.clone())),
                // It became full meanwhile.
                None => match self.from.read(full, *max)? {
                    Some(bytes) => self.write(full, &bytes)?,
                    None => return Err(MirrorError::Incomplete(path.clone())),
                },
            }
        }
        Ok(())
    }

    /// Lists beside bundles that may have grown since, and the months' keys.
    fn lists(&mut self, had: u64, own: u64, now_ms: u64) -> Result<(), MirrorError> {
        let tree = self.key_file.tree();
        for bundle in Bundle::grown(0, own) {
            let path = places::lists(tree, bundle);
            let done = bundle.first() + 256 <= had;
            if done && self.to.path().join(&path).is_file() {
                continue;
            }
            // Entries without lists have none.
            let found = self.from.read(&path, LISTS_BYTES_MAX);
            self.grow_found(&path, found)?;
        }
        let Some(first) = self.first_ms(tree, own)? else {
            return Ok(());
        };
        let mut month = fingerprint::month(first);
        while month <= fingerprint::month(now_ms) {
            let path = places::month_key(tree, month);
            if !self.to.path().join(&path).is_file() {
                // No list of that month, or its key was destroyed.
                let found = self.from.read(&path, NOTE_BYTES_MAX);
                self.grow_found(&path, found)?;
            }
            month += if month % 100 == 12 { 89 } else { 1 };
        }
        Ok(())
    }

    /// The time of a log's first entry; a root leaf begins as an entry does.
    fn first_ms(&self, tree: Tree, size: u64) -> Result<Option<u64>, MirrorError> {
        let Some(bundle) = Bundle::holding(0, size) else {
            return Ok(None);
        };
        let mut found = self
            .to
            .read(&places::tiles(tree, bundle), BUNDLE_BYTES_MAX)?;
        if found.is_none() {
            found = self
                .to
                .read(&places::tiles(tree, bundle.full()), BUNDLE_BYTES_MAX)?;
        }
        let bytes = found.unwrap_or_default();
        let entry = tlog::bundle::entries(&bytes).next().and_then(Result::ok);
        let entry = entry.and_then(|entry| Entry::parse(entry).ok());
        // Before Sekisho was, there is no month to ask for.
        const BEGINNING_MS: u64 = 1_735_689_600_000;
        Ok(entry.map(|entry| entry.times.wall_ms.max(BEGINNING_MS)))
    }

    /// Days of cosigned checkpoints: those before the newest one in the copy do not change any more.
    fn cosigned(&mut self, root: u64, now_ms: u64) -> Result<(), MirrorError> {
        let today = now_ms / DAY_MS + 1;
        let first = (self.first_ms(Tree::Root, root)?.unwrap_or(now_ms) / DAY_MS).saturating_sub(1);
        let there = |day: &u64| there_at(self.to, &places::cosigned(*day));
        let newest = (first..=today).rev().find(there).unwrap_or(first);
        for day in newest..=today {
            let path = places::cosigned(day);
            let found = self.from.read(&path, COSIGNED_BYTES_MAX);
            self.grow_found(&path, found)?;
        }
        Ok(())
    }

    /// Time stamps of at most so many leaves that the copy's index does not name; the index last.
    fn stamps(&mut self, root: u64) -> Result<(), MirrorError> {
        let Some(there) = self.from.read(INDEX, INDEX_BYTES_MAX)? else {
            return Ok(());
        };
        let forged = |why: String| MirrorError::Forged {
            path: INDEX.into(),
            why,
        };
        let text = String::from_utf8(there).map_err(|error| forged(error.to_string()))?;
        let index = Index::parse(&text).map_err(|error| forged(error.to_string()))?;
        let had = self.to.read(INDEX, INDEX_BYTES_MAX)?.unwrap_or_default();
        if !text.as_bytes().starts_with(&had) && !had.starts_with(text.as_bytes()) {
            return self.beside(INDEX, text.as_bytes());
        }
        let known = had.iter().filter(|byte| **byte == b'\n').count();
        let mut taken = String::new();
        for (number, line) in index.lines().iter().enumerate() {
            if matches!(line.over, Over::Checkpoint(size) if size > root) {
                break;
            }
            taken += &line.to_string();
            if number < known {
                continue;
            }
            let note = line.over.note().map(|path| (path, NOTE_BYTES_MAX));
            let token = (line.over.token(), TOKEN_BYTES_MAX as u64);
            for (path, max) in note.into_iter().chain([token]) {
                let found = self.from.read(&path, max)?;
                self.once(&path, &found.ok_or(MirrorError::Incomplete(path.clone()))?)?;
            }
        }
        if had.starts_with(taken.as_bytes()) {
            return Ok(());
        }
        self.write(INDEX, taken.as_bytes())
    }

    /// Writes a file whole; nothing if it is there with the same bytes.
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), MirrorError> {
        let full = self.to.path().join(path);
        let io_at = |error| MirrorError::Io {
            path: full.clone(),
            error,
        };
        if std::fs::read(&full).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        if let Some(folder) = full.parent() {
            std::fs::create_dir_all(folder).map_err(io_at)?;
        }
        platform::write_atomically(&full, bytes, Mode::Shared).map_err(io_at)?;
        self.copied.files += 1;
        self.copied.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn there_at(to: &Folder, path: &str) -> bool {
    to.path().join(path).is_file()
}
