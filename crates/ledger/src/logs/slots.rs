//! Slots: what a leaf of the root log says of each log, salted so that nobody learns another's
//! activity (docs/format/logs.md).
//!
//! The heads that went into each leaf are kept in files of their own (`heads/`, never published):
//! a base for each bundle of 256 leaves, then what changed from leaf to leaf. From them
//! [`SlotProver`] makes a client's proofs when asked.

use aws_lc_rs::hmac;
use tlog::{Hash, MemoryTree, leaf_hash};
use zeroize::Zeroizing;

use super::places::number_path;
use super::store::Store;
use crate::LedgerError;

/// Least number of slots in a leaf.
pub const SLOTS_MIN: usize = 64;
/// Leaves in a bundle of the root log.
pub const LEAVES_PER_BUNDLE: u64 = 256;
/// Bytes of a leaf of the root log.
pub const ROOT_LEAF_BYTES: usize = 53;

const FREE: u32 = u32::MAX;
const HEAD_BYTES: usize = 48;
/// The longest file of heads: 256 leaves in which a few thousand logs changed.
const HEADS_BYTES_MAX: u64 = 1 << 30;

/// A log's head, as it stands in its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotHead {
    /// The log's number; 0 is the centre's.
    pub log: u32,
    /// Entries.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
}

/// The salt secret: from it come all salts.
pub struct SaltKey(hmac::Key);

impl std::fmt::Debug for SaltKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SaltKey(..)")
    }
}

impl SaltKey {
    /// From the ledger's secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The key of a slot's salts.
    fn slot(&self, slot: u32) -> hmac::Key {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"sekisho slot 1");
        context.update(&slot.to_be_bytes());
        let key = Zeroizing::new(context.sign().as_ref().to_vec());
        hmac::Key::new(hmac::HMAC_SHA256, &key)
    }
}

/// The keys of all slots that a leaf has.
#[derive(Default)]
pub(crate) struct SlotKeys(Vec<hmac::Key>);

impl SlotKeys {
    /// As many as a leaf over `heads` logs has slots.
    pub(crate) fn grow(&mut self, salt: &SaltKey, heads: usize) {
        let slots = heads.next_power_of_two().max(SLOTS_MIN);
        while self.0.len() < slots {
            // Slots are counted in 32 bits; so many logs there are never.
            self.0.push(salt.slot(self.0.len() as u32));
        }
    }

    fn salt(&self, slot: usize, leaf: u64) -> [u8; 32] {
        let mut salt = [0; 32];
        salt.copy_from_slice(hmac::sign(&self.0[slot], &leaf.to_be_bytes()).as_ref());
        salt
    }

    /// The tree over the slots of a leaf of the root log.
    pub(crate) fn tree(&self, leaf: u64, heads: &[SlotHead]) -> MemoryTree {
        let hashes = (0..self.0.len()).map(|slot| {
            let salt = self.salt(slot, leaf);
            leaf_hash(&slot_bytes(&salt, heads.get(slot)))
        });
        MemoryTree::new(hashes.collect())
    }
}

fn slot_bytes(salt: &[u8; 32], head: Option<&SlotHead>) -> [u8; 76] {
    let (log, size, root) = head.map_or((FREE, 0, [0; 32]), |head| {
        (head.log, head.size, *head.root.as_bytes())
    });
    let mut bytes = [0; 76];
    bytes[..32].copy_from_slice(salt);
    bytes[32..36].copy_from_slice(&log.to_be_bytes());
    bytes[36..44].copy_from_slice(&size.to_be_bytes());
    bytes[44..].copy_from_slice(&root);
    bytes
}

/// A leaf of the root log.
pub(crate) fn root_leaf(wall_ms: u64, elapsed_ms: u64, tree: &MemoryTree) -> [u8; ROOT_LEAF_BYTES] {
    let mut leaf = [0; ROOT_LEAF_BYTES];
    leaf[0] = 1;
    leaf[1..9].copy_from_slice(&wall_ms.to_be_bytes());
    leaf[9..17].copy_from_slice(&elapsed_ms.to_be_bytes());
    leaf[17..21].copy_from_slice(&(tree.size() as u32).to_be_bytes());
    leaf[21..].copy_from_slice(tree.root().as_bytes());
    leaf
}

/// The file of heads for a bundle of the root log.
pub(crate) fn heads_path(bundle: u64) -> String {
    format!("heads/{}", number_path(bundle))
}

/// A file of heads begins with all heads before its first leaf.
pub(crate) fn heads_base(heads: &[SlotHead]) -> Vec<u8> {
    heads_changed(heads.iter().enumerate())
}

/// What one leaf adds to its file of heads.
pub(crate) fn heads_changed<'a>(
    changed: impl ExactSizeIterator<Item = (usize, &'a SlotHead)>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + changed.len() * HEAD_BYTES);
    bytes.extend_from_slice(&(changed.len() as u32).to_be_bytes());
    for (slot, head) in changed {
        bytes.extend_from_slice(&(slot as u32).to_be_bytes());
        bytes.extend_from_slice(&head.log.to_be_bytes());
        bytes.extend_from_slice(&head.size.to_be_bytes());
        bytes.extend_from_slice(head.root.as_bytes());
    }
    bytes
}

/// Reads one step of a file of heads into `heads`; gives the rest.
fn take_heads<'a>(bytes: &'a [u8], heads: &mut Vec<SlotHead>) -> Option<&'a [u8]> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    for _ in 0..u32::from_be_bytes(*count) {
        let (head, after) = rest.split_first_chunk::<HEAD_BYTES>()?;
        let slot = u32::from_be_bytes(head[..4].try_into().ok()?) as usize;
        let new = SlotHead {
            log: u32::from_be_bytes(head[4..8].try_into().ok()?),
            size: u64::from_be_bytes(head[8..16].try_into().ok()?),
            root: Hash::from_slice(&head[16..])?,
        };
        if slot < heads.len() {
            heads[slot] = new;
        } else if slot == heads.len() {
            heads.push(new);
        } else {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

/// Makes a client's slot proofs from the files of heads.
pub struct SlotProver<'a> {
    store: &'a dyn Store,
    salt: &'a SaltKey,
    keys: SlotKeys,
}

impl std::fmt::Debug for SlotProver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SlotProver(..)")
    }
}

impl<'a> SlotProver<'a> {
    /// Over the derived files of a ledger.
    pub fn new(store: &'a dyn Store, salt: &'a SaltKey) -> Self {
        Self {
            store,
            salt,
            keys: SlotKeys::default(),
        }
    }

    /// The bundle of slot proofs of `log` for the first `width` leaves of a bundle of the root log.
    ///
    /// # Errors
    /// If the heads cannot be read.
    pub fn bundle(&mut self, log: u32, bundle: u64, width: u16) -> Result<Vec<u8>, LedgerError> {
        let path = heads_path(bundle);
        let bytes = self
            .store
            .read(&path, HEADS_BYTES_MAX)
            .map_err(|error| LedgerError::io(format!("read {path}"), error))?;
        self.proofs(&bytes, log, bundle, width)
            .ok_or_else(|| LedgerError::Setting(format!("{path} does not hold {width} leaves")))
    }

    /// The slot of `log` in a leaf of the root log.
    ///
    /// # Errors
    /// If the heads cannot be read.
    pub fn slot(&self, log: u32, leaf: u64) -> Result<Option<u32>, LedgerError> {
        let path = heads_path(leaf / LEAVES_PER_BUNDLE);
        let bytes = self
            .store
            .read(&path, HEADS_BYTES_MAX)
            .map_err(|error| LedgerError::io(format!("read {path}"), error))?;
        let mut heads = Vec::new();
        let mut rest = take_heads(&bytes, &mut heads);
        for _ in 0..=leaf % LEAVES_PER_BUNDLE {
            rest = rest.and_then(|rest| take_heads(rest, &mut heads));
        }
        if rest.is_none() {
            return Err(LedgerError::Setting(format!(
                "{path} does not hold leaf {leaf}"
            )));
        }
        let slot = heads.iter().position(|head| head.log == log);
        Ok(slot.map(|slot| slot as u32))
    }

    fn proofs(&mut self, heads_file: &[u8], log: u32, bundle: u64, width: u16) -> Option<Vec<u8>> {
        let mut heads = Vec::new();
        let mut rest = take_heads(heads_file, &mut heads)?;
        let mut out = Vec::new();
        for place in 0..u64::from(width) {
            rest = take_heads(rest, &mut heads)?;
            let leaf = bundle * LEAVES_PER_BUNDLE + place;
            let slot = heads.iter().position(|head| head.log == log);
            let proof = match slot {
                None => Vec::new(),
                Some(slot) => self.proof(leaf, slot, &heads)?,
            };
            tlog::bundle::append(&mut out, &proof).ok()?;
        }
        Some(out)
    }

    fn proof(&mut self, leaf: u64, slot: usize, heads: &[SlotHead]) -> Option<Vec<u8>> {
        self.keys.grow(self.salt, heads.len());
        let tree = self.keys.tree(leaf, heads);
        let head = &heads[slot];
        let mut proof = self.keys.salt(slot, leaf).to_vec();
        proof.extend_from_slice(&head.size.to_be_bytes());
        proof.extend_from_slice(head.root.as_bytes());
        for hash in tree.proof(slot as u64)? {
            proof.extend_from_slice(hash.as_bytes());
        }
        Some(proof)
    }
}
