//! Reads a log from its entry bundles in order, compares every tile on the way, and says which entry
//! differs. Memory: a few bundles.
//!
//! Where entries and their level-0 tile differ, whichever leads to the signed tree is believed, so
//! that what follows is judged against the right tree. An entry that is not believed is not
//! *sound*: its hash counts, its content does not.

use std::borrow::Cow;
use std::collections::VecDeque;

use tlog::{
    Bundle, Hash, TILE_WIDTH, Tile, TileSource, TreeHead, bundle, inclusion_proof, leaf_hash,
    verify_inclusion,
};

use super::levels::{Finished, Levels};
use crate::places::{self, BUNDLE_BYTES_MAX, Tree};
use crate::problem::{Problem, Problems};
use crate::store::{Found, Store, StoreError};

const TILE_BYTES_MAX: u64 = TILE_WIDTH as u64 * 32;

/// A log that is being read.
pub(crate) struct LogReader<'a> {
    store: &'a dyn Store,
    tree: Tree,
    /// What its checkpoint says.
    head: TreeHead,
    levels: Levels,
    ahead: VecDeque<(Bundle, Found, Found)>,
    now: Loaded,
    finished: Vec<Finished>,
    /// Something is missing: nothing more is read.
    ended: bool,
    /// Full bundles that are not there, while their tiles are; `None`: each bundle has to be.
    absent: Option<Absent>,
}

/// Runs of bundles that are not there, and whose hashes come from their tiles.
#[derive(Default)]
pub(crate) struct Absent {
    /// First bundle, and the one after the last; ascending.
    runs: Vec<(u64, u64)>,
    /// More runs than are kept: none of them counts as pruned.
    over: bool,
}

/// Runs that are kept: a copy has one for each time that it was brought up to date too late.
const RUNS_MAX: usize = 4096;

impl Absent {
    fn add(&mut self, bundle: u64) {
        if let Some((_, end)) = self.runs.last_mut().filter(|it| it.1 == bundle) {
            *end += 1;
        } else if self.runs.len() < RUNS_MAX {
            self.runs.push((bundle, bundle + 1));
        } else {
            self.over = true;
        }
    }

    /// The first absent entry and how many there are, below a minimum.
    pub(crate) fn below(&self, minimum: u64) -> Option<(u64, u64)> {
        let width = u64::from(TILE_WIDTH);
        let runs = self.runs.iter();
        let cut = runs.filter_map(|&(first, end)| {
            let end = end.min(minimum / width);
            (first < end).then(|| (first * width, (end - first) * width))
        });
        cut.reduce(|(first, count), (_, more)| (first, count + more))
    }

    /// Bundles that are absent and not below a minimum. Bounded by those that are kept.
    pub(crate) fn not_below(&self, minimum: u64) -> impl Iterator<Item = u64> {
        let minimum = minimum / u64::from(TILE_WIDTH);
        let runs = self.runs.iter();
        runs.flat_map(move |&(first, end)| first.max(minimum)..end)
    }

    /// Whether more is absent than is known here.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }
}

/// The bundle in hand.
#[derive(Default)]
struct Loaded {
    bytes: Vec<u8>,
    /// For each entry: where it is in `bytes`, and whether it is sound.
    entries: Vec<(usize, usize, bool)>,
    hashes: Vec<Hash>,
    next: usize,
    absent: bool,
}

/// The next entry.
pub(crate) struct Read<'r> {
    pub(crate) index: u64,
    /// `None` if it is not sound.
    pub(crate) entry: Option<&'r [u8]>,
    /// Its leaf hash.
    pub(crate) hash: Hash,
    /// Its bundle is not there.
    pub(crate) absent: bool,
}

impl<'a> LogReader<'a> {
    /// From the first entry, or from a tree that was read before.
    pub(crate) fn new(
        store: &'a dyn Store,
        tree: Tree,
        head: TreeHead,
        levels: Option<Levels>,
    ) -> Self {
        Self {
            store,
            tree,
            head,
            levels: levels.unwrap_or_else(Levels::new),
            ahead: VecDeque::new(),
            now: Loaded::default(),
            finished: Vec::new(),
            ended: false,
            absent: None,
        }
    }

    /// Goes on by the tiles where full bundles are not there, the first excepted; what that means is
    /// judged at the end.
    pub(crate) fn may_be_pruned(self) -> Self {
        Self {
            absent: Some(Absent::default()),
            ..self
        }
    }

    /// Bundles that were not there.
    pub(crate) fn absent(&self) -> Option<&Absent> {
        self.absent.as_ref()
    }

    /// How many entries were read; reading may have begun later.
    pub(crate) fn size(&self) -> u64 {
        self.levels.size()
    }

    /// The root over what was read.
    pub(crate) fn root(&self) -> Hash {
        self.levels.root()
    }

    /// Whether the entries could be had to the end of the log.
    pub(crate) fn is_whole(&self) -> bool {
        !self.ended && self.size() == self.head.size
    }

    pub(crate) fn levels(&self) -> &Levels {
        &self.levels
    }

    /// The next entry; `None` at the end, or where something is missing.
    pub(crate) fn next(&mut self, problems: &mut Problems) -> Option<Read<'_>> {
        if self.now.next >= self.now.hashes.len() && !self.load(problems) {
            return None;
        }
        let index = self.levels.size();
        let at = self.now.next;
        self.now.next += 1;
        self.levels.push(self.now.hashes[at], &mut self.finished);
        if !self.finished.is_empty() {
            for finished in std::mem::take(&mut self.finished) {
                self.compare(&finished, problems);
            }
        }
        if self.levels.size() == self.head.size {
            let partials: Vec<Finished> = self.levels.partials().collect();
            for partial in &partials {
                self.compare(partial, problems);
            }
        }
        let entry = self.now.entries.get(at).filter(|entry| entry.2);
        Some(Read {
            index,
            hash: self.now.hashes[at],
            absent: self.now.absent,
            entry: entry.map(|&(start, end, _)| &self.now.bytes[start..end]),
        })
    }

    /// Compares a tile above level 0 with the store's.
    fn compare(&self, ours: &Finished, problems: &mut Problems) {
        let Some(given) = self.tile(ours.tile, problems) else {
            return;
        };
        let theirs = given.as_chunks::<32>().0.iter().skip(ours.skipped);
        if let Some(at) = theirs.zip(&ours.hashes).position(|(a, b)| *a != b.0) {
            let (level, hash) = (ours.tile.level(), (ours.skipped + at) as u64);
            let first = ours.tile.index() * u64::from(TILE_WIDTH) + hash;
            problems.add(Problem::Tile {
                path: places::tiles(self.tree, ours.tile),
                first: first << (8 * u32::from(level)),
            });
        }
    }

    /// A tile's bytes, exactly as many as it has; the full one if a partial one is gone.
    fn tile(&self, tile: Tile, problems: &mut Problems) -> Option<Vec<u8>> {
        let path = places::tiles(self.tree, tile);
        let found = self.store.read(&path, TILE_BYTES_MAX);
        self.tile_found(tile, found, problems)
    }

    fn tile_found(&self, tile: Tile, found: Found, problems: &mut Problems) -> Option<Vec<u8>> {
        let mut path = places::tiles(self.tree, tile);
        let mut expected = tile.bytes();
        let mut found = found;
        if matches!(found, Ok(None)) && tile.is_partial() {
            let full = places::tiles(self.tree, tile.full());
            let other = self.store.read(&full, TILE_BYTES_MAX);
            if !matches!(other, Ok(None)) {
                (path, expected, found) = (full, tile.full().bytes(), other);
            }
        }
        let mut bytes = taken(&path, found, problems)?;
        if bytes.len() != expected {
            problems.add(Problem::TileLength {
                path,
                given: bytes.len() as u64,
                expected: expected as u64,
            });
            return None;
        }
        bytes.truncate(tile.bytes());
        Some(bytes)
    }

    /// Loads the next bundle.
    fn load(&mut self, problems: &mut Problems) -> bool {
        let from = self.levels.size();
        if self.ended || from >= self.head.size {
            return false;
        }
        if self.ahead.is_empty() {
            self.fetch(from);
        }
        let Some((bundle, entries, tile)) = self.ahead.pop_front() else {
            self.ended = true;
            return false;
        };
        let gone = matches!(entries, Ok(None)) && !bundle.is_partial() && bundle.index() > 0;
        let tile = self.tile_found(bundle.tile(), tile, problems);
        if let (true, Some(absent), Some(tile)) = (gone, &mut self.absent, &tile) {
            absent.add(bundle.index());
            self.now = Loaded {
                hashes: tile.as_chunks().0.iter().map(|it| Hash(*it)).collect(),
                absent: true,
                ..Loaded::default()
            };
            return true;
        }
        let loaded = match self.bundle_found(bundle, entries, problems) {
            Some(bytes) => self.judge(bundle, bytes, tile.as_deref(), problems),
            None => false,
        };
        self.ended = !loaded;
        loaded
    }

    fn fetch(&mut self, from: u64) {
        let width = u64::from(TILE_WIDTH);
        let bundles: Vec<Bundle> = (0..self.store.ahead())
            .filter_map(|i| Bundle::holding(from + i * width, self.head.size))
            .collect();
        let mut paths = Vec::with_capacity(2 * bundles.len());
        for bundle in &bundles {
            paths.push((places::tiles(self.tree, bundle), BUNDLE_BYTES_MAX));
            paths.push((places::tiles(self.tree, bundle.tile()), TILE_BYTES_MAX));
        }
        let mut found = self.store.read_all(&paths).into_iter();
        for bundle in bundles {
            if let (Some(entries), Some(tile)) = (found.next(), found.next()) {
                self.ahead.push_back((bundle, entries, tile));
            }
        }
    }

    fn bundle_found(
        &self,
        bundle: Bundle,
        mut found: Found,
        problems: &mut Problems,
    ) -> Option<Vec<u8>> {
        let mut path = places::tiles(self.tree, bundle);
        if matches!(found, Ok(None)) && bundle.is_partial() {
            let full = places::tiles(self.tree, bundle.full());
            let other = self.store.read(&full, BUNDLE_BYTES_MAX);
            if !matches!(other, Ok(None)) {
                (path, found) = (full, other);
            }
        }
        taken(&path, found, problems)
    }

    /// Takes a bundle in hand. `false`: neither its entries nor its tile can be used.
    fn judge(
        &mut self,
        bundle: Bundle,
        bytes: Vec<u8>,
        tile: Option<&[u8]>,
        problems: &mut Problems,
    ) -> bool {
        let width = usize::from(bundle.width());
        let (mut entries, mut hashes, mut broken) = (Vec::new(), Vec::new(), None);
        let mut end = 0;
        for entry in bundle::entries(&bytes).take(usize::from(TILE_WIDTH) + 1) {
            match entry {
                Ok(entry) => {
                    let start = end + 2;
                    end = start + entry.len();
                    entries.push((start, end, true));
                    hashes.push(leaf_hash(entry));
                }
                Err(error) => broken = Some(error.to_string()),
            }
        }
        if bundle.is_partial() && hashes.len() == usize::from(TILE_WIDTH) {
            // The full bundle in place of the partial one.
            entries.truncate(width);
            hashes.truncate(width);
        }
        let tile: Option<Vec<Hash>> = tile.map(|tile| {
            tile.as_chunks::<32>()
                .0
                .iter()
                .map(|it| Hash(*it))
                .collect()
        });
        let whole = broken.is_none() && hashes.len() == width;
        let hashes = match tile {
            Some(tile) if tile == hashes && whole => hashes,
            None if whole => hashes,
            None => {
                self.damaged(bundle, broken, hashes.len(), problems);
                return false;
            }
            Some(tile) => {
                let believed = self.believed(bundle, whole.then_some(&hashes[..]), &tile);
                if believed == Believed::Entries {
                    self.wrong_tile(bundle, &hashes, &tile, problems);
                    hashes
                } else {
                    if !self.differ(bundle, &hashes, &tile, problems) || broken.is_some() {
                        self.damaged(bundle, broken, hashes.len(), problems);
                    }
                    entries.resize(width, (0, 0, false));
                    for (at, entry) in entries.iter_mut().enumerate() {
                        entry.2 &= hashes.get(at) == tile.get(at);
                    }
                    if believed == Believed::Neither && whole {
                        hashes
                    } else {
                        tile
                    }
                }
            }
        };
        self.now = Loaded {
            bytes,
            entries,
            hashes,
            next: 0,
            absent: false,
        };
        true
    }

    /// Which of the two leads to the signed tree.
    fn believed(&self, bundle: Bundle, entries: Option<&[Hash]>, tile: &[Hash]) -> Believed {
        if entries.is_some_and(|entries| self.leads(bundle, entries)) {
            Believed::Entries
        } else if self.leads(bundle, tile) {
            Believed::Tile
        } else {
            Believed::Neither
        }
    }

    /// Whether a bundle's hashes lead to the signed root, beside the store's other tiles.
    fn leads(&self, bundle: Bundle, hashes: &[Hash]) -> bool {
        let source = Candidate {
            reader: self,
            index: bundle.index(),
            bytes: hashes.iter().flat_map(|it| it.0).collect(),
        };
        let TreeHead { size, root } = self.head;
        let first = bundle.first();
        let proof = inclusion_proof(&source, size, first);
        hashes
            .first()
            .zip(proof.ok())
            .is_some_and(|(leaf, proof)| verify_inclusion(leaf, first, size, &proof, &root).is_ok())
    }

    fn wrong_tile(&self, bundle: Bundle, hashes: &[Hash], tile: &[Hash], problems: &mut Problems) {
        let at = hashes.iter().zip(tile).position(|(a, b)| a != b);
        problems.add(Problem::Tile {
            path: places::tiles(self.tree, bundle.tile()),
            first: bundle.first() + at.unwrap_or(0) as u64,
        });
    }

    fn damaged(
        &self,
        bundle: Bundle,
        broken: Option<String>,
        given: usize,
        problems: &mut Problems,
    ) {
        let width = bundle.width();
        problems.add(Problem::Bundle {
            path: places::tiles(self.tree, bundle),
            first: bundle.first(),
            why: broken.unwrap_or_else(|| format!("{given} entries in place of {width}")),
        });
    }

    /// Says how entries differ from the hashes that they should have. `false`: they do not.
    fn differ(
        &self,
        bundle: Bundle,
        hashes: &[Hash],
        tile: &[Hash],
        problems: &mut Problems,
    ) -> bool {
        let pairs = hashes.iter().zip(tile);
        let Some(first) = pairs.clone().position(|(a, b)| a != b) else {
            return false;
        };
        let tree = self.tree;
        let index = bundle.first() + first as u64;
        let (given, due) = (&hashes[first..], &tile[first..]);
        let starts = |longer: &[Hash], shorter: &[Hash]| {
            let common = longer.len().saturating_sub(1).min(shorter.len());
            common > 0 && longer[1..=common] == shorter[..common]
        };
        let last = pairs.clone().rposition(|(a, b)| a != b).unwrap_or(first);
        let sorted = |hashes: &[Hash]| {
            let mut hashes = hashes.to_vec();
            hashes.sort_unstable();
            hashes
        };
        if last == first && hashes.len() == tile.len() {
            problems.add(Problem::Altered { tree, index });
        } else if hashes.len() == tile.len() && sorted(given) == sorted(due) {
            let other = bundle.first() + last as u64;
            problems.add(Problem::Reordered { tree, index, other });
        } else if starts(due, given) {
            problems.add(Problem::Dropped { tree, index });
        } else if starts(given, due) {
            problems.add(Problem::Inserted { tree, index });
        } else {
            for (at, _) in pairs.enumerate().filter(|(_, (a, b))| a != b) {
                let index = bundle.first() + at as u64;
                problems.add(Problem::Altered { tree, index });
            }
        }
        true
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Believed {
    Entries,
    Tile,
    Neither,
}

/// The store's tiles, but for one of level 0.
struct Candidate<'r> {
    reader: &'r LogReader<'r>,
    index: u64,
    bytes: Vec<u8>,
}

impl TileSource for Candidate<'_> {
    /// What is wrong with a tile is said when it is compared.
    type Error = ();

    fn tile(&self, tile: Tile) -> Result<Cow<'_, [u8]>, ()> {
        if tile.level() == 0 && tile.index() == self.index {
            return Ok(Cow::Borrowed(&self.bytes));
        }
        let found = self.reader.tile(tile, &mut Problems::default());
        found.map(Cow::Owned).ok_or(())
    }
}

/// The bytes, or the problem that they cannot be had.
pub(crate) fn taken(path: &str, found: Found, problems: &mut Problems) -> Option<Vec<u8>> {
    let path = path.to_owned();
    match found {
        Ok(Some(bytes)) => return Some(bytes),
        Ok(None) => problems.add(Problem::Missing { path }),
        Err(StoreError::TooLong { max, .. }) => problems.add(Problem::TooLong { path, max }),
        Err(StoreError::Unreachable { why, .. }) => {
            problems.add(Problem::Unreachable { path, why });
        }
    }
    None
}
