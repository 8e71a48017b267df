//! The fingerprint list of an exposure: what was released or probed, and the purpose, encrypted,
//! beside its record. The record holds `SHA-256(plaintext)`, whose first 32 bytes are a random salt:
//! without it a list of one telephone number would be found by 3 x 10^8 tries after its key was
//! destroyed (design/crypto.md).
//!
//! Plaintext (docs/format/record.md): `salt 32 | version 1 | purpose length 2, purpose | entries of
//! probes 4 | entries`, an entry `code 1 | key 8 [| weight 4]`, little endian; the weight is there if
//! the code's highest bit is set, and is 1 otherwise.

use aws_lc_rs::digest::{SHA256, digest};
use budget::{Item, SetKind};
use event::{ClientId, Digest, Plain};

/// Bytes of salt.
pub const SALT_BYTES: usize = 32;
/// The longest purpose, in bytes.
pub const PURPOSE_BYTES_MAX: usize = 1024;

const VERSION: u8 = 1;
const WEIGHTED: u8 = 0x80;
const ENTRY: usize = 9;
/// Bytes of a list without purpose and entries.
const FIXED: usize = SALT_BYTES + 1 + 2 + 4;
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

/// Bytes of an entry.
pub(crate) fn entry_bytes(weight: u32) -> usize {
    if weight > 1 { ENTRY + 4 } else { ENTRY }
}

/// Most bytes an encrypted list takes, of the bytes of its entries and its purpose.
pub(crate) fn bytes_bound(entries: usize, purpose: usize) -> usize {
    FIXED + purpose + entries + SEALING
}

/// A list's plaintext.
pub(crate) fn encode<'a>(
    salt: &[u8; SALT_BYTES],
    purpose: Option<&Plain<String>>,
    probes: impl Iterator<Item = &'a Item>,
    rows: impl Iterator<Item = &'a Item>,
) -> Plain<Vec<u8>> {
    let mut list = Plain::new(Vec::with_capacity(FIXED + PURPOSE_BYTES_MAX));
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
    for item in probes {
        put(out, item);
        count += 1;
    }
    out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    rows.for_each(|item| put(out, item));
    list
}

fn put(out: &mut Vec<u8>, item: &Item) {
    let weighted = item.weight > 1;
    out.push(item.kind.code() | if weighted { WEIGHTED } else { 0 });
    out.extend_from_slice(&item.fingerprint.to_le_bytes());
    if weighted {
        out.extend_from_slice(&item.weight.to_le_bytes());
    }
}

/// Reads a list's plaintext; `None` if it is none.
pub fn decode(plaintext: &[u8]) -> Option<List> {
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
    Some(List {
        probes: entries,
        rows,
        purpose,
    })
}

fn take(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (&code, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_first_chunk::<8>()?;
    let kind = SetKind::from_code(code & !WEIGHTED)?;
    let (weight, rest) = if code & WEIGHTED == 0 {
        (1, rest)
    } else {
        let (weight, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*weight), rest)
    };
    Some(((kind, u64::from_le_bytes(*key), weight), rest))
}

/// The month of a wall-clock time, as yyyymm in UTC (civil-from-days of H. Hinnant,
/// <https://howardhinnant.github.io/date_algorithms.html>, for days after 1970).
pub fn month(wall_ms: u64) -> u32 {
    day(wall_ms) / 100
}

/// The day of a wall-clock time, as yyyymmdd in UTC.
pub fn day(wall_ms: u64) -> u32 {
    let days = wall_ms / 86_400_000 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    u32::try_from((year * 100 + month) * 100 + day).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use event::Class;
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

    #[test]
    fn a_salt_changes_the_commitments() {
        let item = Item {
            client: ClientId::new(1).unwrap(),
            kind: SetKind::Clear(Class::Phone),
            fingerprint: 5,
            weight: 1,
        };
        let of = |salt| {
            let list = encode(&[salt; SALT_BYTES], None, std::iter::empty(), [item].iter());
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
