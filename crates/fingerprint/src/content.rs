//! What is in an encrypted list: the fingerprints that were released or probed, and the purpose.
//!
//! Plaintext (docs/format/record.md): `salt 32 | version 1 | purpose length 2, purpose | entries of
//! probes 4 | entries`, an entry `code 1 | key 8 [| weight 4]`, little endian; the weight is there if
//! the code's highest bit is set, and is 1 otherwise. The record beside it holds SHA-256 of all of
//! it: without the salt a list of one telephone number would be found by 3 x 10^8 tries after its
//! key was destroyed.

use aws_lc_rs::digest::{SHA256, digest};
use event::{Digest, Plain};

/// Bytes of salt.
pub const SALT_BYTES: usize = 32;
/// The longest purpose, in bytes.
pub const PURPOSE_BYTES_MAX: usize = 1024;
/// Bytes of a list's plaintext without purpose and entries.
pub const LIST_FIXED_BYTES: usize = SALT_BYTES + 1 + 2 + 4;

const VERSION: u8 = 1;
const WEIGHTED: u8 = 0x80;
const ENTRY: usize = 9;

/// An entry of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListEntry {
    /// Which set it counts in: 0x01 to 0x08 a cell in clear, of the class with that code; 0x10 a row
    /// tag; 0x21 to 0x28 a masked cell; 0x40 a probe, 0x41 one that counts for the actor too.
    pub code: u8,
    /// The fingerprint or the row tag.
    pub key: u64,
    /// For how many it counts: 1, or more for free text.
    pub weight: u32,
}

impl ListEntry {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        if self.weight > 1 { ENTRY + 4 } else { ENTRY }
    }
}

/// A list that was read.
#[derive(Debug)]
pub struct ListContent {
    /// Entries charged for probes, in order.
    pub probes: Vec<ListEntry>,
    /// Entries charged for rows, in order.
    pub rows: Vec<ListEntry>,
    /// The purpose that was in force.
    pub purpose: Option<Plain<String>>,
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Digest(sum)
}

/// The commitment to a list: SHA-256 of its plaintext.
pub fn commitment(plaintext: &[u8]) -> Digest {
    sha256(plaintext)
}

/// The commitment to a purpose: SHA-256(salt, a zero byte, its text). A list has its version where
/// this has the zero.
pub fn purpose_commitment(salt: &[u8; SALT_BYTES], purpose: &Plain<String>) -> Digest {
    let mut bytes = Plain::new(salt.to_vec());
    bytes.expose_mut().push(0);
    bytes
        .expose_mut()
        .extend_from_slice(purpose.expose().as_bytes());
    sha256(bytes.expose())
}

/// A list's plaintext. A purpose is cut at 65,535 bytes.
pub fn encode_list(
    salt: &[u8; SALT_BYTES],
    purpose: Option<&Plain<String>>,
    probes: impl Iterator<Item = ListEntry>,
    rows: impl Iterator<Item = ListEntry>,
) -> Plain<Vec<u8>> {
    let mut list = Plain::new(Vec::with_capacity(LIST_FIXED_BYTES + PURPOSE_BYTES_MAX));
    let out = list.expose_mut();
    out.extend_from_slice(salt);
    out.push(VERSION);
    let text = purpose.map_or(&[][..], |purpose| purpose.expose().as_bytes());
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text[..usize::from(length)]);
    let count_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for entry in probes {
        put(out, entry);
        count += 1;
    }
    out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    rows.for_each(|entry| put(out, entry));
    list
}

fn put(out: &mut Vec<u8>, entry: ListEntry) {
    let weighted = entry.weight > 1;
    out.push(entry.code | if weighted { WEIGHTED } else { 0 });
    out.extend_from_slice(&entry.key.to_le_bytes());
    if weighted {
        out.extend_from_slice(&entry.weight.to_le_bytes());
    }
}

/// Reads a list's plaintext; `None` if it is none. Codes are not judged.
pub fn decode_list(plaintext: &[u8]) -> Option<ListContent> {
    let (_salt, rest) = plaintext.split_at_checked(SALT_BYTES)?;
    let (&version, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    if version != VERSION {
        return None;
    }
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, after) = take(rest)?;
        entries.push(entry);
        rest = after;
    }
    let probes = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    if probes > entries.len() {
        return None;
    }
    let rows = entries.split_off(probes);
    let purpose = match text {
        [] => None,
        text => Some(Plain::new(std::str::from_utf8(text).ok()?.to_owned())),
    };
    Some(ListContent {
        probes: entries,
        rows,
        purpose,
    })
}

fn take(bytes: &[u8]) -> Option<(ListEntry, &[u8])> {
    let (&code, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_first_chunk::<8>()?;
    let (weight, rest) = if code & WEIGHTED == 0 {
        (1, rest)
    } else {
        let (weight, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*weight), rest)
    };
    let entry = ListEntry {
        code: code & !WEIGHTED,
        key: u64::from_le_bytes(*key),
        weight,
    };
    Some((entry, rest))
}

/// The month of a wall-clock time, as yyyymm in UTC.
pub fn month(wall_ms: u64) -> u32 {
    day(wall_ms) / 100
}

/// The day of a wall-clock time, as yyyymmdd in UTC.
pub fn day(wall_ms: u64) -> u32 {
    // Of u64 milliseconds there are few enough days.
    let (year, month, day) = event::calendar::civil((wall_ms / 86_400_000) as i64);
    u32::try_from((year * 100 + month) * 100 + day).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = ListEntry> {
        (0..0x80_u8, any::<u64>(), 1_u32..9).prop_map(|(code, key, weight)| ListEntry {
            code,
            key,
            weight,
        })
    }

    proptest! {
        #[test]
        fn lists_come_back(
            probes in vec(entry(), 0..9),
            rows in vec(entry(), 0..9),
            purpose in proptest::option::of(".{1,40}"),
        ) {
            let text = purpose.clone().map(Plain::new);
            let list = encode_list(
                &[9; SALT_BYTES], text.as_ref(), probes.iter().copied(), rows.iter().copied(),
            );
            let entries: usize = probes.iter().chain(&rows).map(ListEntry::bytes).sum();
            let length = LIST_FIXED_BYTES + entries + purpose.as_ref().map_or(0, String::len);
            prop_assert_eq!(list.expose().len(), length);
            let list = decode_list(list.expose()).unwrap();
            prop_assert_eq!(list.probes, probes);
            prop_assert_eq!(list.rows, rows);
            prop_assert_eq!(list.purpose.map(|p| p.expose().clone()), purpose);
        }

        #[test]
        fn hostile_lists(bytes in vec(any::<u8>(), 0..200)) {
            let _ = decode_list(&bytes);
        }
    }

    #[test]
    fn a_salt_changes_the_commitments() {
        let entry = ListEntry {
            code: 4,
            key: 5,
            weight: 1,
        };
        let of = |salt| {
            let rows = std::iter::once(entry);
            let list = encode_list(&[salt; SALT_BYTES], None, std::iter::empty(), rows);
            commitment(list.expose())
        };
        assert_ne!(of(1), of(2));
        let purpose = Plain::new("call".to_owned());
        assert_ne!(
            purpose_commitment(&[1; 32], &purpose),
            purpose_commitment(&[2; 32], &purpose)
        );
    }

    #[test]
    fn months() {
        let one_day = 86_400_000;
        assert_eq!(month(0), 197_001);
        assert_eq!(month(31 * one_day - 1), 197_001);
        assert_eq!(month(31 * one_day), 197_002);
        // 2024-02-29 and 2024-03-01.
        assert_eq!(month(1_709_164_800_000), 202_402);
        assert_eq!(month(1_709_251_200_000), 202_403);
        assert_eq!(day(1_709_164_800_000), 20_240_229);
        assert_eq!(day(1_798_761_600_000 - 1), 20_261_231);
        assert_eq!(month(1_798_761_600_000 - 1), 202_612);
        assert_eq!(month(1_798_761_600_000), 202_701);
    }
}
