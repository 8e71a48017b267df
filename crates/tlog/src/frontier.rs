//! The compact range of a growing tree: the roots of its perfect subtrees from left to right, one
//! for each bit set in its size. Enough to go on and to know the root; no allocation.

use crate::hash::{EMPTY_ROOT, Hash, node_hash};
use crate::text::SIZE_MAX;

/// The right frontier of a tree.
#[derive(Clone)]
pub struct Frontier {
    size: u64,
    /// The first `size.count_ones()` are roots of perfect subtrees, the largest first.
    peaks: [Hash; 64],
}

/// Hashes that are not a frontier of the size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrontierError {
    /// The size is past [`SIZE_MAX`].
    #[error("a tree of {0} entries is larger than any log may be")]
    Size(u64),
    /// One hash for each bit set in the size.
    #[error("the frontier of {size} entries has {expected} hashes, not {given}")]
    Hashes {
        /// The tree size.
        size: u64,
        /// How many it needs.
        expected: usize,
        /// How many were given.
        given: usize,
    },
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Frontier {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.hashes() == other.hashes()
    }
}

impl Eq for Frontier {}

impl std::fmt::Debug for Frontier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frontier")
            .field("size", &self.size)
            .field("hashes", &self.hashes())
            .finish()
    }
}

impl Frontier {
    /// Of the empty tree.
    pub fn new() -> Self {
        Self {
            size: 0,
            peaks: [EMPTY_ROOT; 64],
        }
    }

    /// From what [`Frontier::hashes`] gave at that size.
    ///
    /// # Errors
    /// If the number of hashes does not fit the size. A wrong hash shows only in the root.
    pub fn from_hashes(size: u64, hashes: &[Hash]) -> Result<Self, FrontierError> {
        if size > SIZE_MAX {
            return Err(FrontierError::Size(size));
        }
        let expected = size.count_ones() as usize;
        if hashes.len() != expected {
            return Err(FrontierError::Hashes {
                size,
                expected,
                given: hashes.len(),
            });
        }
        let mut it = Self::new();
        it.size = size;
        it.peaks[..expected].copy_from_slice(hashes);
        Ok(it)
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, the largest first.
    pub fn hashes(&self) -> &[Hash] {
        &self.peaks[..self.size.count_ones() as usize]
    }

    /// One leaf more. Never overflows: 2^63 pushes past [`SIZE_MAX`] take longer than there is.
    pub fn push(&mut self, leaf: Hash) {
        let mut count = self.size.count_ones() as usize;
        let mut carry = leaf;
        // One merge for each 1 at the low end, as in adding one.
        for _ in 0..self.size.trailing_ones() {
            count -= 1;
            carry = node_hash(&self.peaks[count], &carry);
        }
        self.peaks[count] = carry;
        self.size += 1;
    }

    /// The root: at most 63 hashes are computed.
    pub fn root(&self) -> Hash {
        let Some((last, rest)) = self.hashes().split_last() else {
            return EMPTY_ROOT;
        };
        rest.iter()
            .rev()
            .fold(*last, |right, left| node_hash(left, &right))
    }
}
