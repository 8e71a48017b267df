//! Text to lines: of plain text and of markup, with a bound on what is looked at at once.
//!
//! What a text begins with chooses nothing: one with tags or entities in it is read as markup and as
//! it stands, one with escapes or characters that nobody sees with them and without.

use event::Plain;
use fingerprint::is_invisible;

use crate::Closed;
use crate::fields::{self, Scope};
use crate::found::Collector;
use crate::markup;

/// The longest piece of a line that is looked at at once, in bytes.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// How much of a piece comes again with the next one, so that no value is lost at the cut; more than
/// any value has.
const OVERLAP_BYTES: usize = 1024;
/// What ends a line, and what ends a piece of markup that is read as it stands.
const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{c}', '\u{2028}', '\u{2029}'];
const PIECE_ENDS: [char; 7] = ['\n', '\r', '\u{c}', '\u{2028}', '\u{2029}', '<', '>'];

/// Looks into a text.
pub(crate) fn look(text: &str, collector: &mut Collector) -> Result<(), Closed> {
    forms(text, collector)?;
    match seen(text) {
        Some(seen) => forms(seen.expose(), collector),
        None => Ok(()),
    }
}

/// Looks into a text for what is certain by itself.
pub(crate) fn patterns(text: &str, collector: &mut Collector) -> Result<(), Closed> {
    lines(text, &LINE_ENDS, Scope::Patterns, collector)
}

/// As markup, where some is in it, and as it stands.
fn forms(text: &str, collector: &mut Collector) -> Result<(), Closed> {
    if !markup::is_in(text) {
        return lines(text, &LINE_ENDS, Scope::All, collector);
    }
    let read = markup::read(text);
    let readings = [Some(&read.apart), Some(&read.tags), read.joined.as_ref()];
    for reading in readings.into_iter().flatten() {
        lines(reading.expose(), &LINE_ENDS, Scope::All, collector)?;
    }
    // Of a document everything but places of cells stands in those readings; of what only begins
    // like one nothing is believed.
    let (ends, scope): (&[char], Scope) = match text.trim_start().starts_with('<') {
        false => (&LINE_ENDS, Scope::All),
        true if read.is_well_formed => (&PIECE_ENDS, Scope::Patterns),
        true => (&PIECE_ENDS, Scope::All),
    };
    lines(text, ends, scope, collector)
}

/// Lines as they stand, and with their escapes decoded.
fn lines(text: &str, ends: &[char], scope: Scope, collector: &mut Collector) -> Result<(), Closed> {
    split(text, ends, scope, collector)?;
    match unescaped(text) {
        Some(text) => split(text.expose(), ends, scope, collector),
        None => Ok(()),
    }
}

fn split(text: &str, ends: &[char], scope: Scope, collector: &mut Collector) -> Result<(), Closed> {
    for line in text.split(ends) {
        let mut rest = line;
        while rest.len() > PIECE_BYTES_MAX {
            let end = rest.floor_char_boundary(PIECE_BYTES_MAX);
            fields::look(&rest[..end], scope, collector)?;
            rest = &rest[rest.floor_char_boundary(PIECE_BYTES_MAX - OVERLAP_BYTES)..];
        }
        fields::look(rest, scope, collector)?;
    }
    Ok(())
}

/// A text as it looks: without what nobody sees, with plain letters and digits for drawn ones;
/// `None` if it is that.
fn seen(text: &str) -> Option<Plain<String>> {
    if text.is_ascii() || !text.chars().any(|c| shown(c) != Some(c)) {
        return None;
    }
    let mut out = Plain::new(String::with_capacity(text.len()));
    out.expose_mut().extend(text.chars().filter_map(shown));
    Some(out)
}

/// A character as it looks: nothing where it has neither width nor form of its own (Unicode's
/// `Default_Ignorable_Code_Point` and combining marks), the plain one for mathematical letters and
/// digits, digits of old displays, and those that stand high or low.
fn shown(c: char) -> Option<char> {
    let from = |first: char, start: u32, count: u32| {
        char::from_u32(first as u32 + (c as u32 - start) % count)
    };
    match c {
        '\u{300}'..='\u{36f}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2061}'..='\u{206f}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => None,
        '\u{1d400}'..='\u{1d6a3}' => match (c as u32 - 0x1d400) % 52 {
            small @ 26.. => char::from_u32('a' as u32 + small - 26),
            large => char::from_u32('A' as u32 + large),
        },
        '\u{1d7ce}'..='\u{1d7ff}' => from('0', 0x1d7ce, 10),
        '\u{1fbf0}'..='\u{1fbf9}' => from('0', 0x1fbf0, 10),
        '\u{2070}' | '\u{2074}'..='\u{2079}' => from('0', 0x2070, 10),
        '\u{2080}'..='\u{2089}' => from('0', 0x2080, 10),
        '¹' => Some('1'),
        '²' | '³' => from('2', 0xb2, 10),
        c if is_invisible(c) => None,
        c => Some(c),
    }
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
    use super::{seen, unescaped};

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
    #[test]
    fn what_a_text_looks_like() {
        for (given, expected) in [
            ("0\u{200b}9\u{2060}0", "090"),
            ("𝟎𝟡𝟬 🯰🯹 ⁰₉ ¹²³", "090 09 09 123"),
            ("\u{1d42d}\u{1d41a}@b", "ta@b"),
            ("葛\u{e0100}飾", "葛飾"),
            ("0\u{332}9\u{332}", "09"),
        ] {
            assert_eq!(seen(given).unwrap().expose(), expected);
        }
        assert!(seen("山田 太郎, ｱｲｳ").is_none());
    }
}
