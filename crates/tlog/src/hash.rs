//! SHA-256 Merkle hashes (RFC 6962 section 2.1): leaves and nodes are told apart by their first
//! byte, so that a node can never pass for a leaf.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;

use crate::text;

/// A SHA-256 hash. Its text is standard base64, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; Hash::BYTES]);

impl Hash {
    /// How many bytes a hash has.
    pub const BYTES: usize = 32;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The hash that 32 bytes are; `None` for another length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::base64(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not the canonical base64 of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is not the base64 of a 32-byte hash")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(given: &str) -> Result<Self, HashError> {
        // The length first: nothing is allocated for a hostile megabyte.
        if given.len() != 44 {
            return Err(HashError);
        }
        text::unbase64(given)
            .and_then(|bytes| Self::from_slice(&bytes))
            .ok_or(HashError)
    }
}

/// The root of the tree without leaves: SHA-256 of nothing (RFC 6962 section 2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The hash of a leaf: SHA-256(0x00 || entry). Short ones are hashed from a buffer on the stack, in
/// one call; most are shorter than 256 bytes, and a larger buffer would cost more to clear.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    if entry.len() < 256 {
        return short_leaf::<256>(entry);
    }
    if entry.len() < 1024 {
        return short_leaf::<1024>(entry);
    }
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(entry);
    finished(context.finish().as_ref())
}

/// Of an entry of fewer than `N` bytes.
fn short_leaf<const N: usize>(entry: &[u8]) -> Hash {
    let mut buffer = [0; N];
    buffer[1..=entry.len()].copy_from_slice(entry);
    sha256(&buffer[..=entry.len()])
}

/// The hash of an inner node: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut buffer = [1; 1 + 2 * Hash::BYTES];
    buffer[1..=Hash::BYTES].copy_from_slice(&left.0);
    buffer[1 + Hash::BYTES..].copy_from_slice(&right.0);
    sha256(&buffer)
}

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    finished(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn finished(digest: &[u8]) -> Hash {
    Hash::from_slice(digest).expect("SHA-256 has 32 bytes")
}

/// The hashes of a tile's bytes. The caller has checked that the length is a multiple of 32.
pub(crate) fn hashes(bytes: &[u8]) -> impl ExactSizeIterator<Item = Hash> {
    let (chunks, _) = bytes.as_chunks::<{ Hash::BYTES }>();
    chunks.iter().map(|chunk| Hash(*chunk))
}
