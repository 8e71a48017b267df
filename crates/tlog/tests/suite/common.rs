//! Trees by the letter of RFC 6962, tiles in memory, keys, and mutations of bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use tlog::{
    Checkpoint, Edge, Hash, MemoryTree, SigningKey, Tile, TileSource, leaf_hash, node_hash,
};

/// Leaf hashes that all differ.
pub(crate) fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn split(count: usize) -> usize {
    let mut k = 1;
    while 2 * k < count {
        k *= 2;
    }
    k
}

/// MTH of RFC 6962 section 2.1, by the letter.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => tlog::EMPTY_ROOT,
        [one] => *one,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// PATH of RFC 6962 section 2.1.1, by the letter.
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut found, sibling) = if m < k {
        (path(m, left), mth(right))
    } else {
        (path(m - k, right), mth(left))
    };
    found.push(sibling);
    found
}

/// SUBPROOF of RFC 6962 section 2.1.2, by the letter.
pub(crate) fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut found, sibling) = if m <= k {
        (subproof(m, left, whole), mth(right))
    } else {
        (subproof(m - k, right, false), mth(left))
    };
    found.push(sibling);
    found
}

/// The tiles of a tree of one size, as a server would have them.
#[derive(Default)]
pub(crate) struct Tiles(pub(crate) BTreeMap<Tile, Vec<u8>>);

impl Tiles {
    pub(crate) fn of(leaves: &[Hash]) -> Self {
        let mut edge = Edge::new();
        let full: Vec<_> = leaves.iter().flat_map(|leaf| edge.push(*leaf)).collect();
        Self(
            full.into_iter()
                .chain(edge.partials())
                .map(|it| (it.tile, it.bytes))
                .collect(),
        )
    }
}

impl TileSource for Tiles {
    type Error = String;

    fn tile(&self, tile: Tile) -> Result<Cow<'_, [u8]>, String> {
        // The narrowest that is wide enough; a server would know the name of its newest one.
        let widest = tile.full();
        let found = self.0.range(tile..=widest).map(|it| it.1).next();
        found
            .map(|bytes| Cow::Borrowed(&bytes[..]))
            .ok_or_else(|| format!("no {tile}"))
    }
}

pub(crate) const ORIGIN: &str = "ledger.example/client-7";

pub(crate) fn log_key() -> SigningKey {
    SigningKey::new(ORIGIN, &[7; 32]).unwrap()
}

/// The signed checkpoint of a tree.
pub(crate) fn signed(tree: &MemoryTree) -> tlog::Note {
    checkpoint(tree).sign(&[&log_key()]).unwrap()
}

pub(crate) fn checkpoint(tree: &MemoryTree) -> Checkpoint {
    Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap()
}

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    CutAt(usize),
    Repeat(usize, usize),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        match *self {
            Self::Set(at, byte) => {
                if let Some(it) = bytes.get_mut(at % length) {
                    *it = byte;
                }
            }
            Self::Insert(at, byte) => bytes.insert(at % (bytes.len() + 1), byte),
            Self::Remove(at) => {
                if !bytes.is_empty() {
                    bytes.remove(at % length);
                }
            }
            Self::CutAt(at) => bytes.truncate(at % length),
            Self::Repeat(a, b) => {
                let (a, b) = (a % length, b % length);
                let part = bytes.get(a.min(b)..a.max(b)).unwrap_or_default().to_vec();
                bytes.splice(a.min(b)..a.min(b), part);
            }
        }
    }
}

pub(crate) fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits {
        edit.apply(&mut bytes);
    }
    bytes
}

/// A few edits, with the bytes that matter to text formats more often than others.
pub(crate) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let byte = prop_oneof![
        proptest::sample::select(b"\n +=0123456789ABZabz/ \t#\xe2\x80\x94".to_vec()),
        any::<u8>()
    ];
    let edit = prop_oneof![
        (any::<usize>(), byte.clone()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<usize>(), byte).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        any::<usize>().prop_map(Edit::Remove),
        any::<usize>().prop_map(Edit::CutAt),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Edit::Repeat(a, b)),
    ];
    proptest::collection::vec(edit, 0..4)
}
