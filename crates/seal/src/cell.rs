//! The cell's layout, without keys. See docs/format/cell.md.
//!
//! `sealed:` and base64url without padding of `class 1, domain 2 | client 3 | version 1, epoch 1,
//! mode 1 | nonce 12 | ciphertext | tag 16`. Invariants: one value has one header; every length is
//! one of its class's, and all of these are multiples of three bytes, so that a cell has exactly
//! one base64url text.

use base64_simd::URL_SAFE_NO_PAD;
use event::{Class, ClientId, Domain, Mode};

/// What every cell begins with.
pub const CELL_PREFIX: &str = "sealed:";
/// The version of the layout and of the key derivation. 2 is reserved for keys of which the
/// client holds a share.
pub const CELL_VERSION: u8 = 1;

pub(crate) const HEADER_BYTES: usize = 9;
pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes of the row tag that begins the plaintext of a random cell.
pub(crate) const ROW_TAG_BYTES: usize = 8;
/// All that is not padded plaintext.
const OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;
/// Characters of the header in base64url.
const HEADER_CHARS: usize = HEADER_BYTES / 3 * 4;

/// The padded plaintext lengths of a class in bytes, ascending, over both modes. Each is 2 modulo
/// 3 (with the 37 other bytes: no partial base64 group). The first takes nearly all values of its
/// class, so that lengths tell people apart as little as storage allows.
pub(crate) fn padded_lengths(class: Class) -> &'static [usize] {
    match class {
        Class::Name => &[32, 62, 128, 512],
        Class::Kana => &[62, 128, 254, 512],
        Class::Address => &[128, 254, 512, 2048],
        Class::Phone => &[32, 62, 128],
        Class::Email => &[62, 128, 320],
        Class::BirthDate => &[32, 62],
        Class::CustomerNumber => &[32, 62, 128],
        Class::FreeText => &[254, 1022, 8192, 65534],
    }
}

/// The lengths that a cell of a class can have, in characters (which are bytes), ascending: at
/// most four.
pub fn cell_lengths(class: Class) -> impl ExactSizeIterator<Item = usize> {
    padded_lengths(class)
        .iter()
        .map(|padded| CELL_PREFIX.len() + (OVERHEAD_BYTES + padded) / 3 * 4)
}

/// The longest value of a class that can be sealed in a mode, in bytes of UTF-8.
pub fn value_bytes_max(class: Class, mode: Mode) -> usize {
    let longest = padded_lengths(class).last().copied().unwrap_or_default();
    longest - 1 - plaintext_start(mode)
}

/// Where the value begins in the plaintext.
pub(crate) fn plaintext_start(mode: Mode) -> usize {
    match mode {
        Mode::Random => ROW_TAG_BYTES,
        Mode::Exact => 0,
    }
}

/// Whether a value claims to be a cell. On the way in such a value has to verify, or is refused:
/// it is never sealed again and never stored as it is.
pub fn looks_sealed(value: &[u8]) -> bool {
    value.starts_with(CELL_PREFIX.as_bytes())
}

/// What a cell says about itself. Not to be believed before the cell opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CellHeader {
    /// The kind of value.
    pub class: Class,
    /// Which cells it may be compared with.
    pub domain: Domain,
    /// Whose key seals it.
    pub client: ClientId,
    /// The layout and key derivation; always [`CELL_VERSION`] so far.
    pub version: u8,
    /// The generation of the client's key, from 1.
    pub epoch: u8,
    /// Random or exact.
    pub mode: Mode,
}

impl CellHeader {
    /// The header of a whole cell; `None` for anything else: other prefix or alphabet, a class,
    /// client, version, epoch or mode that does not exist, a length that the class does not have.
    /// Constant memory, no keys.
    pub fn peek(cell: &[u8]) -> Option<Self> {
        let text = cell.strip_prefix(CELL_PREFIX.as_bytes())?;
        let header = Self::of_text(text, cell.len())?;
        URL_SAFE_NO_PAD.check(&text[HEADER_CHARS..]).ok()?;
        Some(header)
    }

    /// As [`CellHeader::peek`], leaving the alphabet after the header to whoever decodes it.
    pub(crate) fn of_text(text: &[u8], cell_chars: usize) -> Option<Self> {
        let header = text.get(..HEADER_CHARS)?;
        let mut bytes = [0; HEADER_BYTES];
        for (four, three) in header.chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
            let mut group = 0;
            for &c in four {
                group = group << 6 | u32::from(sextet(c)?);
            }
            three.copy_from_slice(&group.to_be_bytes()[1..]);
        }
        let header = Self::from_bytes(&bytes)?;
        cell_lengths(header.class)
            .any(|length| length == cell_chars)
            .then_some(header)
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let [class, d1, d0, c2, c1, c0, version, epoch, mode] = *bytes;
        let class = Class::from_code(class)?;
        let mode = Mode::from_code(mode)?;
        if version != CELL_VERSION || epoch == 0 || (mode == Mode::Exact && !class.may_be_exact()) {
            return None;
        }
        Some(Self {
            class,
            domain: Domain(u16::from_be_bytes([d1, d0])),
            client: ClientId::new(u32::from_be_bytes([0, c2, c1, c0]))?,
            version,
            epoch,
            mode,
        })
    }

    /// The header's bytes, which are also the cell's associated data.
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [d1, d0] = self.domain.0.to_be_bytes();
        let [_, c2, c1, c0] = self.client.get().to_be_bytes();
        [
            self.class.code(),
            d1,
            d0,
            c2,
            c1,
            c0,
            self.version,
            self.epoch,
            self.mode.code(),
        ]
    }
}

/// The value of a base64url character.
fn sextet(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn at_most_four_lengths_that_grow_and_leave_no_partial_group() {
        for &class in Class::ALL {
            let lengths = padded_lengths(class);
            assert!((1..=4).contains(&lengths.len()));
            assert!(lengths.is_sorted_by(|a, b| a < b));
            assert!(
                lengths
                    .iter()
                    .all(|l| (l + OVERHEAD_BYTES).is_multiple_of(3))
            );
        }
    }

    /// B-tree keys end at 2,704 bytes; exact columns have to be indexed.
    #[test]
    fn exact_cells_fit_into_an_index() {
        for &class in Class::ALL.iter().filter(|class| class.may_be_exact()) {
            assert!(cell_lengths(class).all(|length| length < 2_600));
        }
    }

    pub(crate) fn header() -> impl Strategy<Value = CellHeader> {
        let class = prop::sample::select(Class::ALL);
        let mode = prop::sample::select(Mode::ALL);
        (class, any::<u16>(), 1..=ClientId::MAX, 1..=u8::MAX, mode).prop_map(
            |(class, domain, client, epoch, mode)| CellHeader {
                class,
                domain: Domain(domain),
                client: ClientId::new(client).unwrap(),
                version: CELL_VERSION,
                epoch,
                mode: if class.may_be_exact() {
                    mode
                } else {
                    Mode::Random
                },
            },
        )
    }

    proptest! {
        #[test]
        fn headers_come_back(header in header(), which: prop::sample::Index, fill: u8) {
            let lengths: Vec<_> = cell_lengths(header.class).collect();
            let length = lengths[which.index(lengths.len())];
            let mut bytes = header.to_bytes().to_vec();
            bytes.resize((length - CELL_PREFIX.len()) / 4 * 3, fill);
            let cell = format!("{CELL_PREFIX}{}", URL_SAFE_NO_PAD.encode_to_string(&bytes));
            prop_assert_eq!(cell.len(), length);
            prop_assert_eq!(CellHeader::peek(cell.as_bytes()), Some(header));
            // Not one character more or less, and no other alphabet anywhere.
            prop_assert_eq!(CellHeader::peek(&cell.as_bytes()[..length - 1]), None);
            prop_assert_eq!(CellHeader::peek(format!("{cell}A").as_bytes()), None);
            let mut other = cell.into_bytes();
            let at = which.index(length);
            other[at] = b"+/=\n\0 \xe3"[at % 7];
            prop_assert_eq!(CellHeader::peek(&other), None);
        }

        #[test]
        fn hostile_bytes_are_no_cell(bytes: Vec<u8>, text in "sealed:[A-Za-z0-9_-]{0,200}") {
            prop_assert_eq!(CellHeader::peek(&bytes), None);
            let _ = CellHeader::peek(text.as_bytes());
        }
    }
}
