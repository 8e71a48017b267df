//! The fingerprint list of an exposure: what was released or probed, and the purpose, encrypted,
//! beside its record. The record holds `SHA-256(plaintext)`, whose first 32 bytes are a random salt:
//! without it a list of one telephone number would be found by 3 x 10^8 tries after its key was
//! destroyed (design/crypto.md). The plaintext's bytes: `fingerprint`, docs/format/record.md.

use aws_lc_rs::digest::{SHA256, digest};
use budget::{Item, SetKind};
use event::{ClientId, Digest, Plain};
use fingerprint::{LIST_FIXED_BYTES, ListEntry};

pub use fingerprint::{PURPOSE_BYTES_MAX, SALT_BYTES, commitment, month, purpose_commitment};

/// Allowance for what encryption adds, in bytes.
const SEALING: usize = 64;

/// Why a list is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListClosed {
    /// Its key was destroyed: its record counts by its effects.
    #[error("its key was destroyed")]
    Destroyed,
    /// It should open and does not.
    #[error("{0}")]
    Failed(String),
}

/// Encrypts lists with the client's key of a month (yyyymm, UTC). The commitment in the record is
/// given as associated data: it binds a list to its record.
pub trait ListSealer: Send + Sync + 'static {
    /// Encrypts; makes the month's key when there is none yet. Adds at most 64 bytes.
    ///
    /// # Errors
    /// If the client's keys are missing or destroyed, or the new key could not be made durable.
    fn seal_list(
        &self,
        client: ClientId,
        month: u32,
        commitment: &Digest,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, ListClosed>;

    /// Decrypts.
    ///
    /// # Errors
    /// [`ListClosed`].
    fn open_list(
        &self,
        client: ClientId,
        month: u32,
        commitment: &Digest,
        sealed: &[u8],
    ) -> Result<Plain<Vec<u8>>, ListClosed>;
}

/// An entry: the set it counts in, the fingerprint or row tag, the weight.
pub type Entry = (SetKind, u64, u32);

/// A list that was read.
#[derive(Debug)]
pub struct List {
    /// Entries charged for probes, in order.
    pub probes: Vec<Entry>,
    /// Entries charged for rows, in order.
    pub rows: Vec<Entry>,
    /// The purpose that was in force.
    pub purpose: Option<Plain<String>>,
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Digest(sum)
}

/// Bytes of an entry.
pub(crate) fn entry_bytes(weight: u32) -> usize {
    ListEntry {
        code: 0,
        key: 0,
        weight,
    }
    .bytes()
}

/// Most bytes an encrypted list takes, of the bytes of its entries and its purpose.
pub(crate) fn bytes_bound(entries: usize, purpose: usize) -> usize {
    LIST_FIXED_BYTES + purpose + entries + SEALING
}

/// A list's plaintext.
pub(crate) fn encode<'a>(
    salt: &[u8; SALT_BYTES],
    purpose: Option<&Plain<String>>,
    probes: impl Iterator<Item = &'a Item>,
    rows: impl Iterator<Item = &'a Item>,
) -> Plain<Vec<u8>> {
    let entry = |item: &Item| ListEntry {
        code: item.kind.code(),
        key: item.fingerprint,
        weight: item.weight,
    };
    fingerprint::encode_list(salt, purpose, probes.map(entry), rows.map(entry))
}

/// Reads a list's plaintext; `None` if it is none.
pub fn decode(plaintext: &[u8]) -> Option<List> {
    let list = fingerprint::decode_list(plaintext)?;
    let entries = |given: Vec<ListEntry>| -> Option<Vec<Entry>> {
        let known = |entry: &ListEntry| {
            SetKind::from_code(entry.code).map(|kind| (kind, entry.key, entry.weight))
        };
        given.iter().map(known).collect()
    };
    Some(List {
        probes: entries(list.probes)?,
        rows: entries(list.rows)?,
        purpose: list.purpose,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn item() -> impl Strategy<Value = Item> {
        let kinds: Vec<SetKind> = (0..=u8::MAX).filter_map(SetKind::from_code).collect();
        (prop::sample::select(kinds), any::<u64>(), 1_u32..9).prop_map(
            |(kind, fingerprint, weight)| Item {
                client: ClientId::new(1).unwrap(),
                kind,
                fingerprint,
                weight,
            },
        )
    }

    proptest! {
        #[test]
        fn lists_come_back(
            probes in vec(item(), 0..9),
            rows in vec(item(), 0..9),
            purpose in proptest::option::of(".{1,40}"),
        ) {
            let text = purpose.clone().map(Plain::new);
            let plaintext = encode(&[9; SALT_BYTES], text.as_ref(), probes.iter(), rows.iter());
            let entries = probes.iter().chain(&rows).map(|item| entry_bytes(item.weight)).sum();
            let bound = bytes_bound(entries, purpose.as_ref().map_or(0, String::len));
            prop_assert_eq!(plaintext.expose().len() + SEALING, bound);
            let list = decode(plaintext.expose()).unwrap();
            let entries = |items: &[Item]| -> Vec<Entry> {
                items.iter().map(|i| (i.kind, i.fingerprint, i.weight)).collect()
            };
            prop_assert_eq!(list.probes, entries(&probes));
            prop_assert_eq!(list.rows, entries(&rows));
            prop_assert_eq!(list.purpose.map(|p| p.expose().clone()), purpose);
        }

        #[test]
        fn hostile_lists(bytes in vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
