//! Inclusion and consistency proofs (RFC 6962 section 2.1): made from tiles or from a small tree in
//! memory, verified from nothing but hashes.
//!
//! Making a proof trusts its source; only a verification against a signed root says that it holds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::frontier::Frontier;
use crate::hash::{EMPTY_ROOT, Hash, hashes, node_hash};
use crate::text::SIZE_MAX;
use crate::tile::{TILE_WIDTH, Tile, fold};

/// The most hashes that a proof of a tree of at most [`SIZE_MAX`] entries has (tlog-witness too).
pub const PROOF_HASHES_MAX: usize = 63;

/// Where tiles come from: a folder, a server, memory.
pub trait TileSource {
    /// What can go wrong there.
    type Error;

    /// The bytes of a tile: at least its `width` hashes; a wider tile of the same level and index
    /// does as well, its first hashes are the same. Where a partial tile is gone, the source looks
    /// for [`Tile::full`].
    ///
    /// # Errors
    /// If the tile cannot be had.
    fn tile(&self, tile: Tile) -> Result<Cow<'_, [u8]>, Self::Error>;
}

impl<S: TileSource + ?Sized> TileSource for &S {
    type Error = S::Error;

    fn tile(&self, tile: Tile) -> Result<Cow<'_, [u8]>, S::Error> {
        (**self).tile(tile)
    }
}

/// Why a proof cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError<E> {
    /// The source's own error.
    #[error(transparent)]
    Source(#[from] E),
    /// The source gave too few bytes, too many, or no whole number of hashes.
    #[error("{tile} has {given} bytes, expected {}", tile.bytes())]
    TileLength {
        /// Which tile.
        tile: Tile,
        /// What the source gave.
        given: usize,
    },
    /// No such entry in the tree.
    #[error("a tree of {size} entries has no entry {index}")]
    NoEntry {
        /// The entry asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The old tree is larger than the new one.
    #[error("a tree of {old} entries cannot be the past of one of {new}")]
    OldLarger {
        /// The old size.
        old: u64,
        /// The new size.
        new: u64,
    },
    /// A size past [`SIZE_MAX`].
    #[error("a tree of {0} entries is larger than any log may be")]
    Size(u64),
}

/// Gives the root of the perfect subtree of 2^`height` leaves, number `index` from the left.
trait Perfect {
    type Error;
    fn perfect(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Reads perfect subtrees from tiles, each tile once.
struct Reader<S> {
    source: S,
    size: u64,
    read: BTreeMap<(u8, u64), Vec<u8>>,
}

impl<S: TileSource> Reader<S> {
    fn new(source: S, size: u64) -> Result<Self, ProofError<S::Error>> {
        if size > SIZE_MAX {
            return Err(ProofError::Size(size));
        }
        Ok(Self {
            source,
            size,
            read: BTreeMap::new(),
        })
    }
}

impl<S: TileSource> Perfect for Reader<S> {
    type Error = ProofError<S::Error>;

    fn perfect(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error> {
        // Subtree `index` of 2^height leaves is 2^(height mod 8) hashes of the level below it.
        let level = (height / 8) as u8;
        let within = height % 8;
        let first = index << within;
        let tile = Tile::holding(level, first, self.size)
            .expect("proofs ask only for subtrees that lie in the tree");
        let key = (level, tile.index());
        if !self.read.contains_key(&key) {
            let bytes = self.source.tile(tile)?;
            let most = usize::from(TILE_WIDTH) * Hash::BYTES;
            if !(tile.bytes()..=most).contains(&bytes.len()) || bytes.len() % Hash::BYTES != 0 {
                return Err(ProofError::TileLength {
                    tile,
                    given: bytes.len(),
                });
            }
            self.read.insert(key, bytes.into_owned());
        }
        let start = (first & 0xff) as usize * Hash::BYTES;
        let bytes = &self.read[&key][start..start + (Hash::BYTES << within)];
        let mut row: Vec<Hash> = hashes(bytes).collect();
        fold(&mut row);
        Ok(row[0])
    }
}

/// The roots of the perfect subtrees of leaves `start..end`, the largest first. `start` is a
/// multiple of the largest one's size, as all ranges that RFC 6962 splits off are.
fn peaks<P: Perfect>(from: &mut P, start: u64, end: u64) -> Result<Vec<Hash>, P::Error> {
    let mut found = Vec::new();
    let mut at = start;
    while at < end {
        let height = (end - at).ilog2();
        found.push(from.perfect(height, at >> height)?);
        at += 1 << height;
    }
    Ok(found)
}

/// MTH(D\[start:end\]).
fn range_root<P: Perfect>(from: &mut P, start: u64, end: u64) -> Result<Hash, P::Error> {
    let peaks = peaks(from, start, end)?;
    Ok(bagged(&peaks).unwrap_or(EMPTY_ROOT))
}

fn bagged(peaks: &[Hash]) -> Option<Hash> {
    let (last, rest) = peaks.split_last()?;
    Some(
        rest.iter()
            .rev()
            .fold(*last, |right, left| node_hash(left, &right)),
    )
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// PATH(index, D\[size\]) of RFC 6962 section 2.1.1.
fn path<P: Perfect>(from: &mut P, size: u64, index: u64) -> Result<Vec<Hash>, P::Error> {
    let (mut start, mut end) = (0, size);
    let mut found = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            found.push(range_root(from, middle, end)?);
            end = middle;
        } else {
            found.push(range_root(from, start, middle)?);
            start = middle;
        }
    }
    found.reverse();
    Ok(found)
}

/// PROOF(old, D\[new\]) of RFC 6962 section 2.1.2, for 0 < old < new.
fn subproof<P: Perfect>(from: &mut P, old: u64, new: u64) -> Result<Vec<Hash>, P::Error> {
    let (mut start, mut end) = (0, new);
    let mut found = Vec::new();
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            found.push(range_root(from, middle, end)?);
            end = middle;
        } else {
            found.push(range_root(from, start, middle)?);
            start = middle;
        }
    }
    // Where the old tree is whole subtrees on the left edge, the verifier knows its root already.
    if start != 0 {
        found.push(range_root(from, start, end)?);
    }
    found.reverse();
    Ok(found)
}

fn check_entry<E>(size: u64, index: u64) -> Result<(), ProofError<E>> {
    if index >= size {
        return Err(ProofError::NoEntry { index, size });
    }
    Ok(())
}

/// The proof that entry `index` is in the tree of the first `size` entries: hashes from the leaf's
/// sibling up.
///
/// # Errors
/// If there is no such entry, or a tile cannot be had.
pub fn inclusion_proof<S: TileSource>(
    source: S,
    size: u64,
    index: u64,
) -> Result<Vec<Hash>, ProofError<S::Error>> {
    check_entry(size, index)?;
    path(&mut Reader::new(source, size)?, size, index)
}

/// The proof that the tree of `old` entries is the past of the one of `new`; empty if old is 0 or
/// equals new.
///
/// # Errors
/// If the old tree is larger, or a tile cannot be had.
pub fn consistency_proof<S: TileSource>(
    source: S,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProofError<S::Error>> {
    if old > new {
        return Err(ProofError::OldLarger { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    subproof(&mut Reader::new(source, new)?, old, new)
}

/// The root of the first `size` entries.
///
/// # Errors
/// If a tile cannot be had.
pub fn root<S: TileSource>(source: S, size: u64) -> Result<Hash, ProofError<S::Error>> {
    range_root(&mut Reader::new(source, size)?, 0, size)
}

/// The frontier of the first `size` entries, to go on from there.
///
/// # Errors
/// If a tile cannot be had.
pub fn frontier<S: TileSource>(source: S, size: u64) -> Result<Frontier, ProofError<S::Error>> {
    let peaks = peaks(&mut Reader::new(source, size)?, 0, size)?;
    Ok(Frontier::from_hashes(size, &peaks).expect("one peak for each bit of the size"))
}

/// A tree held in memory: for few leaves, such as the slots of a root log's entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryTree {
    /// Row `h` has the roots of the perfect subtrees of 2^h leaves. Never empty.
    rows: Vec<Vec<Hash>>,
}

impl Perfect for &MemoryTree {
    type Error = std::convert::Infallible;

    fn perfect(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error> {
        Ok(self.rows[height as usize][index as usize])
    }
}

fn infallible<T>(it: Result<T, std::convert::Infallible>) -> T {
    match it {
        Ok(it) => it,
        Err(never) => match never {},
    }
}

impl MemoryTree {
    /// The tree over these leaf hashes (see [`crate::leaf_hash`]).
    pub fn new(leaves: Vec<Hash>) -> Self {
        let mut rows = vec![leaves];
        while let Some(row) = rows.last()
            && row.len() > 1
        {
            let (pairs, _) = row.as_chunks::<2>();
            let next = pairs.iter().map(|[l, r]| node_hash(l, r)).collect();
            rows.push(next);
        }
        Self { rows }
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.rows[0].len() as u64
    }

    /// The root of all leaves.
    pub fn root(&self) -> Hash {
        infallible(range_root(&mut { self }, 0, self.size()))
    }

    /// The root of the first leaves; `None` if there are fewer.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        (size <= self.size()).then(|| infallible(range_root(&mut { self }, 0, size)))
    }

    /// The inclusion proof of a leaf; `None` if there is no such leaf.
    pub fn proof(&self, index: u64) -> Option<Vec<Hash>> {
        (index < self.size()).then(|| infallible(path(&mut { self }, self.size(), index)))
    }

    /// The proof that its first `old` leaves are its past; `None` if there are fewer.
    pub fn consistency(&self, old: u64) -> Option<Vec<Hash>> {
        let new = self.size();
        (old <= new).then(|| {
            if old == 0 || old == new {
                return Vec::new();
            }
            infallible(subproof(&mut { self }, old, new))
        })
    }
}

/// Why a proof does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// The index lies outside the tree.
    #[error("a tree of {size} entries has no entry {index}")]
    NoEntry {
        /// The entry.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A size past [`SIZE_MAX`].
    #[error("a tree of {0} entries is larger than any log may be")]
    Size(u64),
    /// Too many or too few hashes for these sizes.
    #[error("this proof has {given} hashes, these sizes need {expected}")]
    Length {
        /// What the sizes need.
        expected: usize,
        /// What the proof has.
        given: usize,
    },
    /// The leaf and the proof do not lead to the root.
    #[error("the proof does not lead from this leaf to the root: entry, proof or root is altered")]
    Root,
    /// The old tree is larger than the new one.
    #[error("a tree of {old} entries cannot be the past of one of {new}")]
    OldLarger {
        /// The old size.
        old: u64,
        /// The new size.
        new: u64,
    },
    /// The same size with two roots: the log was forked, or a root is altered.
    #[error("two roots of the same size {0} differ")]
    TwoRoots(u64),
    /// A root of the empty tree that is not the empty root.
    #[error("the root of an empty tree is not the empty hash")]
    EmptyRoot,
    /// The proof does not contain the old root: history was changed, or the proof is altered.
    #[error("the proof does not start from the old root: the past or the proof is altered")]
    OldRoot,
    /// The proof does not lead to the new root.
    #[error("the proof does not lead to the new root: the new tree or the proof is altered")]
    NewRoot,
}

/// How many hashes of an inclusion proof lie below the right edge of the tree, and how many on it.
fn lengths(index: u64, size: u64) -> (usize, usize) {
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (inner as usize, border as usize)
}

/// Climbs below the right edge: the bits of `index` say on which side each sibling is.
fn climb(start: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings
        .iter()
        .enumerate()
        .fold(start, |at, (height, sibling)| match index >> height & 1 {
            0 => node_hash(&at, sibling),
            _ => node_hash(sibling, &at),
        })
}

/// As [`climb`], without the siblings on the right: what the tree was before they came.
fn climb_left(start: Hash, siblings: &[Hash], index: u64) -> Hash {
    siblings
        .iter()
        .enumerate()
        .filter(|(height, _)| index >> height & 1 == 1)
        .fold(start, |at, (_, sibling)| node_hash(sibling, &at))
}

/// Climbs the right edge, where all siblings are on the left.
fn climb_edge(start: Hash, siblings: &[Hash]) -> Hash {
    siblings
        .iter()
        .fold(start, |at, sibling| node_hash(sibling, &at))
}

/// Checks that `leaf` is entry `index` of the tree with this size and root (RFC 9162 section
/// 2.1.3.2).
///
/// # Errors
/// If it is not, or nothing shows that it is.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), VerifyError> {
    if size > SIZE_MAX {
        return Err(VerifyError::Size(size));
    }
    if index >= size {
        return Err(VerifyError::NoEntry { index, size });
    }
    let (inner, border) = lengths(index, size);
    check_length(proof, inner + border)?;
    let (below, edge) = proof.split_at(inner);
    if climb_edge(climb(*leaf, below, index), edge) != *root {
        return Err(VerifyError::Root);
    }
    Ok(())
}

/// Checks that the tree of `old` entries is the past of the tree of `new` entries (RFC 9162 section
/// 2.1.4.2). The empty tree is the past of every tree and needs an empty proof, as equal sizes do.
///
/// # Errors
/// If it is not, or nothing shows that it is.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), VerifyError> {
    if new > SIZE_MAX {
        return Err(VerifyError::Size(new));
    }
    if old > new {
        return Err(VerifyError::OldLarger { old, new });
    }
    if (old == 0 && *old_root != EMPTY_ROOT) || (new == 0 && *new_root != EMPTY_ROOT) {
        return Err(VerifyError::EmptyRoot);
    }
    if old == new && old_root != new_root {
        return Err(VerifyError::TwoRoots(old));
    }
    if old == 0 || old == new {
        return check_length(proof, 0);
    }
    let (inner, border) = lengths(old - 1, new);
    // The old tree's last perfect subtree is where the two trees' paths part.
    let shift = old.trailing_zeros() as usize;
    let inner = inner - shift;
    let whole = old.is_power_of_two();
    check_length(proof, usize::from(!whole) + inner + border)?;
    let (seed, rest) = match proof.split_first() {
        Some((first, rest)) if !whole => (*first, rest),
        _ => (*old_root, proof),
    };
    let (below, edge) = rest.split_at(inner);
    let index = (old - 1) >> shift;
    if climb_edge(climb_left(seed, below, index), edge) != *old_root {
        return Err(VerifyError::OldRoot);
    }
    if climb_edge(climb(seed, below, index), edge) != *new_root {
        return Err(VerifyError::NewRoot);
    }
    Ok(())
}

fn check_length(proof: &[Hash], expected: usize) -> Result<(), VerifyError> {
    if proof.len() != expected {
        return Err(VerifyError::Length {
            expected,
            given: proof.len(),
        });
    }
    Ok(())
}
