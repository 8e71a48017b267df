//! The tree over the entries read so far, kept by levels of tiles, so that its tiles can be compared
//! and its root be known at every size. Pure; memory is 8 rows of at most 256 hashes.

use tlog::{EMPTY_ROOT, Frontier, Hash, LEVELS, TILE_WIDTH, Tile, node_hash};

const LEVEL_COUNT: usize = LEVELS as usize;

/// A growing tree.
#[derive(Clone)]
pub(crate) struct Levels {
    size: u64,
    tops: [Frontier; LEVEL_COUNT],
    rows: [Row; LEVEL_COUNT],
}

/// Hashes of a level's unfinished tile. Level 0 keeps none: its tiles are compared before.
#[derive(Clone, Default)]
struct Row {
    /// How many hashes before these are not known, because reading began later.
    skipped: usize,
    hashes: Vec<Hash>,
}

/// A tile that is finished, or as far as it goes.
pub(crate) struct Finished {
    pub(crate) tile: Tile,
    /// Hashes before these are not known.
    pub(crate) skipped: usize,
    pub(crate) hashes: Vec<Hash>,
}

impl Levels {
    /// The empty tree.
    pub(crate) fn new() -> Self {
        Self {
            size: 0,
            tops: std::array::from_fn(|_| Frontier::new()),
            rows: std::array::from_fn(|_| Row::default()),
        }
    }

    /// The largest tree of whole bundles in the tree with these peaks (one for each bit set in
    /// `size`, the largest first). `None` if there are too many or too few peaks.
    pub(crate) fn resume(size: u64, peaks: &[Hash]) -> Option<Self> {
        let mut it = Self::new();
        if peaks.len() != size.count_ones() as usize {
            return None;
        }
        it.size = size & !0xff;
        let mut rest = peaks;
        for level in (1..LEVEL_COUNT).rev() {
            let digit = digit(size, level);
            let (here, others) = rest.split_at_checked(digit.count_ones() as usize)?;
            it.tops[level] = Frontier::from_hashes(digit, here).ok()?;
            it.rows[level].skipped = usize::try_from(digit).ok()?;
            rest = others;
        }
        Some(it)
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// One leaf more; gives the tiles above level 0 that it finishes.
    pub(crate) fn push(&mut self, leaf: Hash, finished: &mut Vec<Finished>) {
        self.tops[0].push(leaf);
        self.size += 1;
        let mut level = 0;
        while self.tops[level].size() == u64::from(TILE_WIDTH) && level + 1 < LEVEL_COUNT {
            let root = self.tops[level].root();
            self.tops[level] = Frontier::new();
            if level > 0 {
                let row = std::mem::take(&mut self.rows[level]);
                let index = (self.size - 1) >> (8 * (level + 1));
                finished.extend(row.finished(level, index));
            }
            level += 1;
            self.tops[level].push(root);
            self.rows[level].hashes.push(root);
        }
    }

    /// The unfinished tiles above level 0.
    pub(crate) fn partials(&self) -> impl Iterator<Item = Finished> {
        (1..LEVEL_COUNT).filter_map(|level| {
            let index = self.size.checked_shr(8 * (level as u32 + 1)).unwrap_or(0);
            self.rows[level].clone().finished(level, index)
        })
    }

    /// The roots of the perfect subtrees, the largest first: what [`Levels::resume`] takes.
    pub(crate) fn peaks(&self) -> impl DoubleEndedIterator<Item = &Hash> {
        self.tops.iter().rev().flat_map(Frontier::hashes)
    }

    pub(crate) fn root(&self) -> Hash {
        self.peaks()
            .copied()
            .rev()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or(EMPTY_ROOT)
    }
}

impl Row {
    fn finished(self, level: usize, index: u64) -> Option<Finished> {
        let width = self.skipped + self.hashes.len();
        let tile = Tile::new(level as u8, index, u16::try_from(width).ok()?)?;
        (!self.hashes.is_empty()).then_some(Finished {
            tile,
            skipped: self.skipped,
            hashes: self.hashes,
        })
    }
}

fn digit(size: u64, level: usize) -> u64 {
    size >> (8 * level) & 0xff
}

#[cfg(test)]
mod tests {
    use tlog::{Edge, leaf_hash};

    use super::*;

    #[test]
    fn the_same_tree_as_an_edge() {
        let (mut levels, mut edge) = (Levels::new(), Edge::new());
        let mut finished = Vec::new();
        let mut resumed: Vec<Levels> = Vec::new();
        for i in 0..70_000_u32 {
            let leaf = leaf_hash(&i.to_be_bytes());
            let full = edge.push(leaf);
            levels.push(leaf, &mut finished);
            resumed
                .iter_mut()
                .for_each(|it| it.push(leaf, &mut Vec::new()));
            let above: Vec<_> = full.into_iter().filter(|it| it.tile.level() > 0).collect();
            assert_eq!(above.len(), finished.len());
            for (ours, theirs) in finished.drain(..).zip(above) {
                assert_eq!((ours.tile, ours.skipped), (theirs.tile, 0));
                let bytes: Vec<u8> = ours.hashes.iter().flat_map(|it| it.0).collect();
                assert_eq!(bytes, theirs.bytes);
            }
            if i % 997 == 0 || i > 69_900 {
                assert_eq!(levels.root(), edge.root(), "{i}");
                assert!(resumed.iter().all(|it| it.root() == edge.root()));
            }
            if i == 255 || i == 30_463 || i == 65_535 {
                let peaks: Vec<Hash> = levels.peaks().copied().collect();
                resumed.push(Levels::resume(levels.size(), &peaks).unwrap());
            }
        }
    }

    #[test]
    fn resumed_within_a_bundle_it_begins_at_the_bundle() {
        let mut levels = Levels::new();
        let leaf = |i: u32| leaf_hash(&i.to_be_bytes());
        (0..1000).for_each(|i| levels.push(leaf(i), &mut Vec::new()));
        let peaks: Vec<Hash> = levels.peaks().copied().collect();
        let mut again = Levels::resume(1000, &peaks).unwrap();
        assert_eq!(again.size(), 768);
        (768..1000).for_each(|i| again.push(leaf(i), &mut Vec::new()));
        assert_eq!(again.root(), levels.root());
        assert!(Levels::resume(1001, &peaks).is_none());
    }
}
