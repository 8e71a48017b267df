//! Bytes to text: strictly, where a decoding with one error is not that encoding, and of every
//! encoding that fits. To guess one would be to look away from the others.

use encoding_rs::{EUC_JP, Encoding, ISO_2022_JP, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE};
use event::Plain;

use crate::Closed;

/// Text that stands for something else than it says: its letters draw other letters.
const DRAWN: [&[u8]; 3] = [b"%PDF-", b"{\\rtf", b"%!PS"];
/// How far into a file a reader of PDF looks for its header.
const HEADER_BYTES_MAX: usize = 1024;
/// How compressed data begins: zip (which is no text either), gzip, bzip2, xz, Zstandard, LZ4, 7-Zip,
/// RAR.
const PACKED: [&[u8]; 10] = [
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x07\x08",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"7z\xbc\xaf",
    b"Rar!\x1a",
];
/// How a stream of bzip2 goes on after its magic and a digit.
const BZIP2_BLOCKS: [&[u8]; 2] = [b"1AY&SY", b"\x17rE8P\x90"];
/// Byte order marks; those of UTF-16 first.
const MARKS: [&[u8]; 3] = [b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"];
const UTF_16_MARKS: usize = 2;
const ESCAPE: u8 = 0x1b;
/// The sequences of ISO-2022-JP (RFC 1468), and of JIS X 0201's kana.
const ESCAPES: [&[u8]; 5] = [b"\x1b(B", b"\x1b(J", b"\x1b(I", b"\x1b$@", b"\x1b$B"];

/// What takes the readings, one after the other.
type Look<'a> = dyn FnMut(&str) -> Result<(), Closed> + 'a;

/// Gives every text that the bytes may be; whether they are text at all.
///
/// UTF-16 without a mark, and ISO-2022-JP whose escape sequences nobody obeys, are looked into only
/// beside another reading: half of all short binary files are such text, too. UTF-16 without a mark
/// is none where all bytes are ASCII: it would have no digits, no line breaks and one name in 500.
pub(crate) fn each(bytes: &[u8], look: &mut Look<'_>) -> Result<bool, Closed> {
    let (rest, marked) = unmarked(bytes);
    if is_other(bytes) || is_other(rest) {
        return Ok(false);
    }
    let mut any = octets(rest, look)?;
    if rest.contains(&ESCAPE) {
        any |= strictly(ISO_2022_JP, rest, look)?;
    }
    // Marks may be part of the text that they stand in front of.
    let behind_first = match MARKS.iter().find(|mark| bytes.starts_with(mark)) {
        Some(mark) => &bytes[mark.len()..],
        None => bytes,
    };
    let starts = [rest, behind_first];
    let starts = &starts[..if behind_first.len() == rest.len() {
        1
    } else {
        2
    }];
    if marked || any && !rest.is_ascii() {
        for start in starts {
            // Half a character at the end is passed over by whoever reads UTF-16.
            let whole = &start[..start.len() & !1];
            for encoding in [UTF_16LE, UTF_16BE] {
                let read = !whole.is_empty() && strictly(encoding, whole, look)?;
                any |= read && marked;
            }
        }
    }
    if any && rest.contains(&ESCAPE) {
        octets(without_escapes(rest).expose(), look)?;
    }
    Ok(any || rest.is_empty())
}

/// Whether the bytes are text by any reading.
pub(crate) fn is_any(bytes: &[u8]) -> Result<bool, Closed> {
    each(bytes, &mut |_| Ok(()))
}

/// Gives what may be read in bytes that are no text: every reading, with line breaks for what is
/// none. For few bytes: everything is read seven times.
pub(crate) fn pieces(bytes: &[u8], look: &mut Look<'_>) -> Result<(), Closed> {
    let shifted = bytes.get(1..).unwrap_or_default();
    for (encoding, bytes) in [
        (UTF_8, bytes),
        (SHIFT_JIS, bytes),
        (EUC_JP, bytes),
        (UTF_16LE, bytes),
        (UTF_16BE, bytes),
        (UTF_16LE, shifted),
        (UTF_16BE, shifted),
    ] {
        let (text, _) = encoding.decode_without_bom_handling(bytes);
        let text = Plain::new(text.into_owned());
        let broken = |c: char| {
            if c.is_control() || c == char::REPLACEMENT_CHARACTER {
                '\n'
            } else {
                c
            }
        };
        let text = Plain::new(text.expose().chars().map(broken).collect::<String>());
        look(text.expose())?;
    }
    Ok(())
}

/// Whether bytes are of a kind that is no text, or none that says what it means.
fn is_other(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
    let drawn = |mark: &&[u8]| head.windows(mark.len()).any(|window| window == *mark);
    let packed = |mark: &&[u8]| match bytes.strip_prefix(*mark) {
        Some(rest) if *mark == b"BZh" => {
            let block = rest.get(1..).unwrap_or_default();
            BZIP2_BLOCKS.iter().any(|it| block.starts_with(it))
        }
        rest => rest.is_some(),
    };
    DRAWN.iter().any(drawn) || PACKED.iter().any(packed)
}

/// What follows the byte order marks, and whether one was of UTF-16.
fn unmarked(mut bytes: &[u8]) -> (&[u8], bool) {
    let mut marked = false;
    while let Some(at) = MARKS.iter().position(|mark| bytes.starts_with(mark)) {
        marked |= at < UTF_16_MARKS;
        bytes = &bytes[MARKS[at].len()..];
    }
    (bytes, marked)
}

/// The encodings whose units are bytes.
fn octets(bytes: &[u8], look: &mut Look<'_>) -> Result<bool, Closed> {
    let mut any = strictly(UTF_8, bytes, look)?;
    if !bytes.is_ascii() {
        any |= strictly(SHIFT_JIS, bytes, look)?;
        any |= strictly(EUC_JP, bytes, look)?;
    }
    Ok(any)
}

fn strictly(
    encoding: &'static Encoding,
    bytes: &[u8],
    look: &mut Look<'_>,
) -> Result<bool, Closed> {
    let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(bytes) else {
        return Ok(false);
    };
    let text = Plain::new(text.into_owned());
    let is_text = is_text(text.expose());
    if is_text {
        look(text.expose())?;
    }
    Ok(is_text)
}

/// The bytes as who knows no ISO-2022-JP sees them.
fn without_escapes(bytes: &[u8]) -> Plain<Vec<u8>> {
    let mut out = Plain::new(Vec::with_capacity(bytes.len()));
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == ESCAPE) {
        out.expose_mut().extend_from_slice(&rest[..at]);
        out.expose_mut().push(b'\t');
        rest = &rest[at..];
        let length = ESCAPES.iter().find(|it| rest.starts_with(it));
        rest = &rest[length.map_or(1, |it| it.len())..];
    }
    out.expose_mut().extend_from_slice(rest);
    out
}

/// Whether there are no control characters besides tabulators and ends of lines and pages.
fn is_text(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n' | '\u{c}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "氏名,電話\r\n山田 太郎,090-1234-5678\r\n";

    fn read(bytes: &[u8]) -> Vec<String> {
        let mut readings = Vec::new();
        let any = each(bytes, &mut |text| {
            readings.push(text.to_owned());
            Ok(())
        });
        if any.unwrap() { readings } else { Vec::new() }
    }

    fn utf_16(big: bool, text: &str) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        let bytes = |unit: u16| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        };
        units.flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_is_read() {
        let one = [TEXT.to_owned()];
        for bytes in [
            TEXT.as_bytes(),
            format!("\u{feff}{TEXT}").as_bytes(),
            &utf_16(false, TEXT),
            &utf_16(true, TEXT),
        ] {
            assert!(read(bytes).contains(&one[0]), "{bytes:?}");
        }
        for encoding in [SHIFT_JIS, EUC_JP, ISO_2022_JP] {
            let (bytes, _, errors) = encoding.encode(TEXT);
            assert!(!errors);
            assert!(read(&bytes).contains(&one[0]), "{}", encoding.name());
        }
        // windows-31j: ① and 髙 are beyond JIS X 0208.
        let (bytes, _, errors) = SHIFT_JIS.encode("①髙橋");
        assert!(!errors);
        assert!(read(&bytes).contains(&"①髙橋".to_owned()));
    }

    #[test]
    fn what_is_no_text() {
        for bytes in [
            b"\0".as_slice(),
            b"abc\x01",
            b"abc\x7f",
            b"\x1b[31mred",
            b"\xef\xbb\xbf\xff",
            b"\xff\xfe\x00\x00a\0\0\0",
            b"\xff\xd8\xff\xe0",
            b"\x82",
            b"%PDF-1.7\n% only text",
            b"\n\n%PDF-1.4\n",
            b"{\\rtf1 text}",
            b"%!PS-Adobe",
            "\u{85}".as_bytes(),
            b"\x1f\x8b\x08\x08abc\x02",
            b"\xff\xfe\x1f\x8b\x08\x08abc\x02",
            b"BZh91AY&SY",
            &utf_16(false, TEXT)[2..],
        ] {
            assert_eq!(read(bytes), [""; 0], "{bytes:?}");
        }
    }
}
