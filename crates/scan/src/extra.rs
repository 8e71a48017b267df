//! Extra fields of an archive's headers: times, owners, sizes (APPNOTE.TXT 4.5, and Info-ZIP's
//! extrafld.txt). Blocks of a known form are passed over but for what can be read in them; others are
//! text, or next to nothing.

use crate::{Closed, Work, decode, text};

/// Bytes besides zeros in the extra fields of a header; office programs leave room, in zeros.
const BYTES_MAX: usize = 64;
/// Bytes besides zeros of a block that nobody here knows and that is no text: an alignment.
const UNKNOWN_BYTES_MAX: usize = 4;
/// The bytes before the name or comment in a block that repeats it in Unicode: version, checksum.
const UNICODE_BYTES: usize = 5;
/// How NTFS's times begin: reserved, the tag 1 and its length.
const NTFS: &[u8] = b"\0\0\0\0\x01\0\x18\0";

/// Looks into the extra fields of a header.
pub(crate) fn look(extra: &[u8], work: &mut Work) -> Result<(), Closed> {
    let shown = |bytes: &[u8]| bytes.iter().filter(|byte| **byte != 0).count();
    if shown(extra) > BYTES_MAX {
        return Err(Closed::Damaged);
    }
    if shown(extra) == 0 {
        return Ok(());
    }
    let collector = &mut work.collector;
    decode::pieces(extra, &mut |text| text::patterns(text, collector))?;
    let mut rest = extra;
    while !rest.is_empty() {
        let (block, length) = match rest {
            [a, b, c, d, data @ ..] => {
                let length = usize::from(u16::from_le_bytes([*c, *d]));
                let id = u16::from_le_bytes([*a, *b]);
                (data.get(..length).map(|data| (id, data)), length + 4)
            }
            _ => (None, 0),
        };
        // What is no block is what it is.
        let (id, data) = block.unwrap_or((0, rest));
        let data = if is_unicode(id, data) {
            &data[UNICODE_BYTES..]
        } else {
            data
        };
        let read = decode::each(data, &mut |text| text::look(text, &mut work.collector))?;
        if !read && !is_known(id, data) && shown(data) > UNKNOWN_BYTES_MAX {
            return Err(Closed::Damaged);
        }
        if block.is_none() {
            break;
        }
        rest = &rest[length..];
    }
    Ok(())
}

/// Whether a block repeats a name or a comment.
fn is_unicode(id: u16, data: &[u8]) -> bool {
    matches!(id, 0x7075 | 0x6375) && data.len() >= UNICODE_BYTES
}

/// Whether a block has the form of its kind.
fn is_known(id: u16, data: &[u8]) -> bool {
    match id {
        // Zip64's sizes and place.
        0x0001 => matches!(data.len(), 8 | 16 | 24 | 28),
        0x000a => data.len() == 32 && data.starts_with(NTFS),
        // Times of Unix, with owners in the older one.
        0x5455 => matches!(data.len(), 1 | 5 | 9 | 13),
        0x5855 => matches!(data.len(), 8 | 12),
        // Owners.
        0x7855 => matches!(data.len(), 0 | 4),
        0x7875 => data.len() == 11 && data.starts_with(b"\x01\x04") && data[6] == 4,
        _ => false,
    }
}
