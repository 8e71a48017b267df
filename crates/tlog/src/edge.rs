//! The right edge of a growing tree: for each level the hashes of its unfinished tile. All that is
//! needed to write the tiles of a log as it grows, and its root.

use crate::frontier::Frontier;
use crate::hash::{Hash, hashes};
use crate::text::SIZE_MAX;
use crate::tile::{LEVELS, TILE_WIDTH, Tile, fold};

/// What saved edges begin with.
const MAGIC: &[u8; 8] = b"tlogedg1";

/// A tile and its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TileBytes {
    /// Which tile.
    pub tile: Tile,
    /// Its hashes, 32 bytes each.
    pub bytes: Vec<u8>,
}

/// The unfinished tiles of a tree.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    /// At most 255 hashes a level; level `l` has `size / 256^l mod 256`.
    levels: [Vec<Hash>; LEVELS as usize],
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Bytes that are no saved edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EdgeError {
    /// They begin otherwise, or are cut off.
    #[error("these bytes are no saved edge of a tree")]
    Format,
    /// The size is past [`SIZE_MAX`].
    #[error("a tree of {0} entries is larger than any log may be")]
    Size(u64),
    /// Too many or too few hashes for the size.
    #[error("the saved edge of {size} entries has {expected} bytes, not {given}")]
    Length {
        /// The tree size.
        size: u64,
        /// What such an edge has.
        expected: usize,
        /// What was given.
        given: usize,
    },
}

impl Edge {
    /// Of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// One leaf more; gives the tiles that became full, lower levels first (none 255 of 256 times,
    /// and then nothing is allocated for them).
    pub fn push(&mut self, leaf: Hash) -> Vec<TileBytes> {
        let mut full = Vec::new();
        let mut carry = leaf;
        for (level, row) in (0..LEVELS).zip(&mut self.levels) {
            row.push(carry);
            if row.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let index = self.size.checked_shr(8 * (u32::from(level) + 1));
            // Past SIZE_MAX, which counting does not reach, there is no such tile.
            if let Some(tile) = index.and_then(|index| Tile::new(level, index, TILE_WIDTH)) {
                full.push(TileBytes {
                    tile,
                    bytes: joined(row),
                });
            }
            fold(row);
            carry = row[0];
            row.clear();
        }
        self.size += 1;
        full
    }

    /// The partial tiles as they are now, lower levels first.
    pub fn partials(&self) -> impl Iterator<Item = TileBytes> {
        Tile::partials(self.size).map(|tile| TileBytes {
            tile,
            bytes: joined(&self.levels[usize::from(tile.level())]),
        })
    }

    /// The frontier of the same tree; at most 254 hashes a level are computed.
    pub fn frontier(&self) -> Frontier {
        let mut peaks = Vec::with_capacity(64);
        // The largest subtrees are in the highest level.
        for row in self.levels.iter().rev() {
            let mut rest = &row[..];
            while !rest.is_empty() {
                let (first, others) = rest.split_at(1 << rest.len().ilog2());
                let mut first = first.to_vec();
                fold(&mut first);
                peaks.push(first[0]);
                rest = others;
            }
        }
        Frontier::from_hashes(self.size, &peaks)
            .expect("the widths of the levels are the digits of the size")
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        self.frontier().root()
    }

    /// To save it: `tlogedg1`, the size (8 bytes, big-endian), the hashes from level 0 up. Nothing
    /// here detects a changed hash: compare the root with a checkpoint after loading.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(saved_bytes(self.size));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        for row in &self.levels {
            bytes.extend_from_slice(&joined(row));
        }
        bytes
    }

    /// From [`Edge::to_bytes`].
    ///
    /// # Errors
    /// If the bytes are no edge of the size they state.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EdgeError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(EdgeError::Format)?;
        let (size, mut rest) = rest.split_first_chunk().ok_or(EdgeError::Format)?;
        let size = u64::from_be_bytes(*size);
        if size > SIZE_MAX {
            return Err(EdgeError::Size(size));
        }
        let expected = saved_bytes(size);
        if bytes.len() != expected {
            return Err(EdgeError::Length {
                size,
                expected,
                given: bytes.len(),
            });
        }
        let mut it = Self {
            size,
            ..Self::default()
        };
        for (level, row) in (0..LEVELS).zip(&mut it.levels) {
            let (here, others) = rest.split_at(width(size, level) * Hash::BYTES);
            row.extend(hashes(here));
            rest = others;
        }
        Ok(it)
    }
}

fn width(size: u64, level: u8) -> usize {
    (size >> (8 * u32::from(level)) & 0xff) as usize
}

fn saved_bytes(size: u64) -> usize {
    let hashes: usize = (0..LEVELS).map(|level| width(size, level)).sum();
    MAGIC.len() + 8 + hashes * Hash::BYTES
}

fn joined(row: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(row.len() * Hash::BYTES);
    for hash in row {
        bytes.extend_from_slice(hash.as_bytes());
    }
    bytes
}
