//! Bytes to text, strictly: a decoding with one error is not that encoding.

use encoding_rs::{EUC_JP, Encoding, ISO_2022_JP, SHIFT_JIS, UTF_16BE, UTF_16LE};
use event::Plain;

/// Text that stands for something else than it says: its letters draw other letters.
const DRAWN: [&[u8]; 3] = [b"%PDF-", b"{\\rtf", b"%!PS"];
/// How far into a file a reader of PDF looks for its header.
const HEADER_BYTES_MAX: usize = 1024;
const ESCAPE: u8 = 0x1b;

/// The texts that the bytes may be: none, one, or two where Shift_JIS and EUC-JP both fit. Then both
/// are looked into: to guess wrongly would be to look away.
pub(crate) fn readings(bytes: &[u8]) -> Vec<Plain<String>> {
    let head = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
    let drawn = |mark: &&[u8]| head.windows(mark.len()).any(|window| window == *mark);
    if DRAWN.iter().any(drawn) {
        return Vec::new();
    }
    let (encodings, bytes): (&[&'static Encoding], &[u8]) = match bytes {
        [0xff, 0xfe, rest @ ..] => (&[UTF_16LE], rest),
        [0xfe, 0xff, rest @ ..] => (&[UTF_16BE], rest),
        _ => {
            let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            match std::str::from_utf8(rest) {
                Ok(text) if is_text(text) => return vec![Plain::new(text.to_owned())],
                _ if rest.len() < bytes.len() => return Vec::new(),
                _ if bytes.contains(&ESCAPE) => (&[ISO_2022_JP], bytes),
                Ok(_) => return Vec::new(),
                Err(_) => (&[SHIFT_JIS, EUC_JP], bytes),
            }
        }
    };
    let decoded = |encoding: &&'static Encoding| {
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
        let text = Plain::new(text.into_owned());
        is_text(text.expose()).then_some(text)
    };
    encodings.iter().filter_map(decoded).collect()
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
        let readings = readings(bytes);
        readings.iter().map(|text| text.expose().clone()).collect()
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
        assert_eq!(read(TEXT.as_bytes()), one);
        assert_eq!(read(format!("\u{feff}{TEXT}").as_bytes()), one);
        assert_eq!(read(&utf_16(false, TEXT)), one);
        assert_eq!(read(&utf_16(true, TEXT)), one);
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
        let cut = &utf_16(false, "山田")[..5];
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
            cut,
        ] {
            assert!(readings(bytes).is_empty(), "{bytes:?}");
        }
    }
}
