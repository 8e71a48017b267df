//! Text to lines: of plain text and of markup, with a bound on what is looked at at once.

use event::Plain;

use crate::Closed;
use crate::fields;
use crate::found::Collector;
use crate::markup;

/// The longest piece of a line that is looked at at once, in bytes.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// How much of a piece comes again with the next one, so that no value is lost at the cut; more than
/// any value has.
const OVERLAP_BYTES: usize = 1024;

/// Looks into a text.
pub(crate) fn look(text: &str, collector: &mut Collector) -> Result<(), Closed> {
    if text.trim_start().starts_with('<') {
        let read = markup::read(text);
        lines(read.apart.expose(), collector)?;
        lines(read.tags.expose(), collector)?;
        return match read.joined {
            Some(joined) => lines(joined.expose(), collector),
            None => Ok(()),
        };
    }
    match unescaped(text) {
        Some(text) => lines(text.expose(), collector),
        None => lines(text, collector),
    }
}

fn lines(text: &str, collector: &mut Collector) -> Result<(), Closed> {
    for line in text.split(['\n', '\r', '\u{c}', '\u{2028}', '\u{2029}']) {
        let mut rest = line;
        while rest.len() > PIECE_BYTES_MAX {
            let end = rest.floor_char_boundary(PIECE_BYTES_MAX);
            fields::look(&rest[..end], collector)?;
            rest = &rest[rest.floor_char_boundary(PIECE_BYTES_MAX - OVERLAP_BYTES)..];
        }
        fields::look(rest, collector)?;
    }
    Ok(())
}

/// `\u5c71` as JSON and many programming languages write it, decoded; `None` if there is none.
fn unescaped(text: &str) -> Option<Plain<String>> {
    if !text.contains("\\u") {
        return None;
    }
    let unit = |rest: &str| {
        let digits = rest.strip_prefix("\\u")?.get(..4)?;
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
    };
    let mut out = Plain::new(String::with_capacity(text.len()));
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        out.expose_mut().push_str(&rest[..at]);
        rest = &rest[at..];
        // An escape has six bytes; a pair of surrogates two of them.
        let Some(first) = unit(rest) else {
            out.expose_mut().push_str("\\u");
            rest = &rest[2..];
            continue;
        };
        let second = unit(&rest[6..]);
        let pair = second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
        match (char::from_u32(first.into()), pair) {
            (Some(c), _) => {
                out.expose_mut().push(c);
                rest = &rest[6..];
            }
            (None, Some(c)) => {
                out.expose_mut().push(c);
                rest = &rest[12..];
            }
            (None, None) => {
                out.expose_mut().push(char::REPLACEMENT_CHARACTER);
                rest = &rest[6..];
            }
        }
    }
    out.expose_mut().push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escapes() {
        for (given, expected) in [
            (r"\u5c71\u7530 a", "山田 a"),
            (r"\ud842\udfb7\u91ce", "𠮷野"),
            (r"\ud842x", "\u{fffd}x"),
            (r"C:\users\u", r"C:\users\u"),
            (r"\u12", r"\u12"),
            ("\\u山田", "\\u山田"),
        ] {
            assert_eq!(unescaped(given).unwrap().expose(), expected);
        }
        assert!(unescaped("山田").is_none());
    }
}
