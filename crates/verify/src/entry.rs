//! The bytes of docs/format/logs.md: entries, root leaves, slot proofs. Pure.

use tlog::{Hash, leaf_hash, verify_inclusion};

const VERSION: u8 = 1;
const TIMES: usize = 17;
/// Bytes of a root leaf.
pub const ROOT_LEAF_BYTES: usize = 53;
const SLOT_HEAD: usize = 72;

/// The two clocks of an entry or a root leaf. Neither goes back from one to the next.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Times {
    /// ms since the Unix epoch.
    pub wall_ms: u64,
    /// ms of the ledger's own time.
    pub elapsed_ms: u64,
}

/// An entry of the centre's or a client's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// When.
    pub times: Times,
    /// The record's bytes.
    pub record: &'a [u8],
}

/// An entry of the root log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RootLeaf {
    /// When.
    pub times: Times,
    /// How many slots: a power of two, at least 64.
    pub slots: u32,
    /// The root of the tree over them.
    pub slot_root: Hash,
}

/// What a root leaf says of one log, and the proof of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotProof {
    salt: [u8; 32],
    /// Entries of the log.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
    path: Vec<Hash>,
}

/// Bytes that are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct LayoutError(pub &'static str);

fn times(bytes: &[u8]) -> Result<(Times, &[u8]), LayoutError> {
    let (&version, rest) = bytes.split_first().ok_or(LayoutError("it is empty"))?;
    if version != VERSION {
        return Err(LayoutError(
            "its version is not 1: a newer sekisho-verify may read it",
        ));
    }
    let short = LayoutError("it is too short for its two times");
    let (wall, rest) = rest.split_first_chunk().ok_or(short)?;
    let (elapsed, rest) = rest.split_first_chunk().ok_or(short)?;
    let times = Times {
        wall_ms: u64::from_be_bytes(*wall),
        elapsed_ms: u64::from_be_bytes(*elapsed),
    };
    Ok((times, rest))
}

impl<'a> Entry<'a> {
    /// Reads an entry; its record is not looked at.
    ///
    /// # Errors
    /// If it is too short or of another version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LayoutError> {
        let (times, record) = times(bytes)?;
        Ok(Self { times, record })
    }

    /// The bytes.
    pub fn encode(times: Times, record: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TIMES + record.len());
        put_times(&mut bytes, times);
        bytes.extend_from_slice(record);
        bytes
    }
}

fn put_times(bytes: &mut Vec<u8>, times: Times) {
    bytes.push(VERSION);
    bytes.extend_from_slice(&times.wall_ms.to_be_bytes());
    bytes.extend_from_slice(&times.elapsed_ms.to_be_bytes());
}

impl RootLeaf {
    /// Reads a root leaf.
    ///
    /// # Errors
    /// If it is none, or its number of slots cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, LayoutError> {
        let (times, rest) = times(bytes)?;
        if bytes.len() != ROOT_LEAF_BYTES {
            return Err(LayoutError("a root leaf has 53 bytes"));
        }
        let (slots, root) = rest.split_at(4);
        let slots = slots
            .iter()
            .fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        if !slots.is_power_of_two() || slots < 64 {
            return Err(LayoutError(
                "its number of slots is no power of two from 64 on",
            ));
        }
        let slot_root = Hash::from_slice(root).ok_or(LayoutError("a root leaf has 53 bytes"))?;
        Ok(Self {
            times,
            slots,
            slot_root,
        })
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ROOT_LEAF_BYTES);
        put_times(&mut bytes, self.times);
        bytes.extend_from_slice(&self.slots.to_be_bytes());
        bytes.extend_from_slice(self.slot_root.as_bytes());
        bytes
    }
}

impl SlotProof {
    /// Reads a slot proof that is not empty.
    ///
    /// # Errors
    /// If it has another layout.
    pub fn parse(bytes: &[u8]) -> Result<Self, LayoutError> {
        let short = LayoutError("it is too short for a salt, a size and a root");
        let (head, path) = bytes.split_first_chunk::<SLOT_HEAD>().ok_or(short)?;
        let (salt, rest) = head.split_first_chunk::<32>().ok_or(short)?;
        let (size, root) = rest.split_first_chunk::<8>().ok_or(short)?;
        let (path, odd) = path.as_chunks::<32>();
        if !odd.is_empty() || path.len() > 32 {
            return Err(LayoutError("its path is no whole number of hashes"));
        }
        Ok(Self {
            salt: *salt,
            size: u64::from_be_bytes(*size),
            root: Hash::from_slice(root).ok_or(short)?,
            path: path.iter().map(|hash| Hash(*hash)).collect(),
        })
    }

    /// The bytes.
    pub fn encode(salt: &[u8; 32], size: u64, root: &Hash, path: &[Hash]) -> Vec<u8> {
        let mut bytes = salt.to_vec();
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(root.as_bytes());
        path.iter()
            .for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        bytes
    }

    /// Whether this is what `leaf` says of log `log` in slot `slot`.
    pub fn holds(&self, leaf: &RootLeaf, slot: u32, log: u32) -> bool {
        let hash = slot_hash(&self.salt, log, self.size, &self.root);
        verify_inclusion(
            &hash,
            u64::from(slot),
            u64::from(leaf.slots),
            &self.path,
            &leaf.slot_root,
        )
        .is_ok()
    }
}

/// The leaf hash of a slot.
pub fn slot_hash(salt: &[u8; 32], log: u32, size: u64, root: &Hash) -> Hash {
    let mut bytes = [0; 76];
    bytes[..32].copy_from_slice(salt);
    bytes[32..36].copy_from_slice(&log.to_be_bytes());
    bytes[36..44].copy_from_slice(&size.to_be_bytes());
    bytes[44..].copy_from_slice(root.as_bytes());
    leaf_hash(&bytes)
}
