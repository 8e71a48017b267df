//! Text of XML and HTML: what stands between tags, and in them.
//!
//! Nothing is checked: what is no tag is text, what is no entity stays as it is. Nothing is left out
//! but names of elements, places of cells and numbers of shared strings, and the signs themselves.

use event::Plain;

/// Elements within which a word goes on: pieces of text of word processors, spreadsheets and HTML.
const INLINE: [&str; 40] = [
    "r",
    "t",
    "rPr",
    "rFonts",
    "rStyle",
    "b",
    "bCs",
    "i",
    "iCs",
    "u",
    "s",
    "sz",
    "szCs",
    "color",
    "lang",
    "kern",
    "highlight",
    "vertAlign",
    "noProof",
    "proofErr",
    "bookmarkStart",
    "bookmarkEnd",
    "lastRenderedPageBreak",
    "spacing",
    "ins",
    "hyperlink",
    "latin",
    "ea",
    "cs",
    "solidFill",
    "srgbClr",
    "span",
    "a",
    "em",
    "strong",
    "font",
    "small",
    "big",
    "family",
    "wbr",
];
/// Elements that end a row.
const ROWS: [&str; 12] = [
    "row",
    "tr",
    "table-row",
    "si",
    "li",
    "br",
    "div",
    "h",
    "h1",
    "h2",
    "item",
    "record",
];
/// Entities of XML, and the space of HTML.
const ENTITIES: [(&str, &str); 6] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", "\u{a0}"),
];
/// The longest entity that is looked at, in bytes: `#x10ffff`.
const ENTITY_BYTES_MAX: usize = 10;
/// The longest name of an element that is passed over, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Most letters and digits of a cell's place: XFD1048576.
const PLACE_LETTERS_MAX: usize = 3;
const PLACE_DIGITS_MAX: usize = 7;

/// The texts of a document.
pub(crate) struct Texts {
    /// Every tag ends a field.
    pub(crate) apart: Plain<String>,
    /// Tags within words are nothing; `None`: there are none.
    pub(crate) joined: Option<Plain<String>>,
    /// What stands in tags, in comments and instructions: a line each.
    pub(crate) tags: Plain<String>,
}

/// Reads a document.
pub(crate) fn read(document: &str) -> Texts {
    let mut reader = Reader {
        apart: Plain::new(String::with_capacity(document.len())),
        joined: Plain::new(String::with_capacity(document.len())),
        tags: Plain::new(String::with_capacity(document.len())),
        is_joined: false,
        is_index: false,
        rows: 0,
    };
    let mut rest = document;
    while let Some(at) = rest.find('<') {
        reader.text(&rest[..at]);
        rest = reader.tag(&rest[at..]);
    }
    reader.text(rest);
    Texts {
        apart: reader.apart,
        joined: reader.is_joined.then_some(reader.joined),
        tags: reader.tags,
    }
}

struct Reader {
    apart: Plain<String>,
    joined: Plain<String>,
    tags: Plain<String>,
    is_joined: bool,
    /// In a cell that holds the number of a shared string, not a value.
    is_index: bool,
    /// Rows that are open: a paragraph within one ends a field, not a line.
    rows: usize,
}

impl Reader {
    fn text(&mut self, text: &str) {
        let short = text.len() <= PLACE_DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
        if self.is_index && short {
            return;
        }
        decode(text, self.apart.expose_mut());
        decode(text, self.joined.expose_mut());
    }

    fn ends(&mut self, end: char) {
        self.apart.expose_mut().push(end);
        self.joined.expose_mut().push(end);
    }

    fn aside(&mut self, text: &str) {
        decode(text, self.tags.expose_mut());
        self.tags.expose_mut().push('\n');
    }

    /// Reads what begins with `<`; what comes after it.
    fn tag<'a>(&mut self, rest: &'a str) -> &'a str {
        for (open, close) in [("<!--", "-->"), ("<?", "?>")] {
            if let Some(inner) = rest.strip_prefix(open) {
                let (inner, after) = inner.split_once(close).unwrap_or((inner, ""));
                self.aside(inner);
                return after;
            }
        }
        if let Some(inner) = rest.strip_prefix("<![CDATA[") {
            let (inner, after) = inner.split_once("]]>").unwrap_or((inner, ""));
            self.apart.expose_mut().push_str(inner);
            self.joined.expose_mut().push_str(inner);
            return after;
        }
        let starts = |c: char| c.is_alphabetic() || matches!(c, '/' | '_' | '!' | ':');
        if !rest[1..].starts_with(starts) {
            self.text("<");
            return &rest[1..];
        }
        let Some(end) = rest.find('>') else {
            // No tag ends any more.
            self.text(rest);
            return "";
        };
        self.element(&rest[1..end]);
        &rest[end + 1..]
    }

    fn element(&mut self, inner: &str) {
        let closing = inner.starts_with('/');
        let empty = inner.ends_with('/');
        let inner = inner.trim_matches('/');
        let end = inner.find(char::is_whitespace).unwrap_or(inner.len());
        let (name, attributes) = inner.split_at(end);
        if name.len() > NAME_BYTES_MAX
            || !name.is_ascii()
            || name.bytes().filter(u8::is_ascii_digit).count() > 2
        {
            self.aside(name);
        }
        let local = name.rsplit(':').next().unwrap_or(name);
        let attributes = match local {
            "c" | "row" => without_place(attributes),
            _ => [attributes, ""],
        };
        self.is_index = match local {
            "c" => !closing && attributes.iter().any(|it| it.contains("t=\"s\"")),
            _ => self.is_index,
        };
        for attributes in attributes.iter().filter(|it| !it.trim().is_empty()) {
            self.aside(attributes);
        }
        if INLINE.contains(&local) {
            self.is_joined = true;
            self.apart.expose_mut().push('\t');
            return;
        }
        let row = ROWS.contains(&local);
        if row && !empty {
            self.rows = if closing {
                self.rows.saturating_sub(1)
            } else {
                self.rows + 1
            };
        }
        let paragraph = local == "p" && self.rows == 0;
        self.ends(if row || paragraph { '\n' } else { '\t' });
    }
}

/// The attributes of a spreadsheet's cell or row without its place (`r="AB12"`): there are as many
/// places as cells, and none is a value.
fn without_place(attributes: &str) -> [&str; 2] {
    let split = || {
        let (before, rest) = attributes.split_once(" r=\"")?;
        let (place, after) = rest.split_once('"')?;
        let digits = place.trim_start_matches(|c: char| c.is_ascii_uppercase());
        let fits = place.len() - digits.len() <= PLACE_LETTERS_MAX
            && (1..=PLACE_DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then_some([before, after])
    };
    split().unwrap_or([attributes, ""])
}

/// Writes text with its entities decoded.
fn decode(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let window = &rest.as_bytes()[..rest.len().min(ENTITY_BYTES_MAX)];
        let length = window.iter().position(|b| *b == b';');
        match length.and_then(|length| Some((length, entity(rest.get(..length)?)?))) {
            Some((length, c)) => {
                out.push(c);
                rest = &rest[length + 1..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let number = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(number);
    }
    let (_, text) = ENTITIES.iter().find(|(entity, _)| *entity == name)?;
    text.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_lines(text: &str) -> Vec<&str> {
        text.split(['\n', '\t'])
            .filter(|it| !it.trim().is_empty())
            .collect()
    }

    #[test]
    fn text_attributes_and_comments() {
        let texts = read(
            "<a:p x=\"1 &gt; 0\"><!-- c --><?pi d?>e &amp; &#x5c71;&#30000;<![CDATA[<f>&amp;]]></a:p>",
        );
        assert_eq!(read_lines(texts.apart.expose()), ["e & 山田<f>&amp;"]);
        assert_eq!(
            read_lines(texts.tags.expose()),
            [" x=\"1 > 0\"", " c ", "pi d"]
        );
        assert!(texts.joined.is_none());
    }

    #[test]
    fn runs_of_a_word_are_joined() {
        let texts = read(
            "<w:p><w:r><w:t>090-12</w:t></w:r><w:r><w:rPr/><w:t>34-5678</w:t></w:r></w:p><w:p>x</w:p>",
        );
        let joined = texts.joined.unwrap();
        assert_eq!(read_lines(joined.expose()), ["090-1234-5678", "x"]);
        assert_eq!(read_lines(texts.apart.expose()), ["090-12", "34-5678", "x"]);
    }

    #[test]
    fn cells_of_a_row_are_one_line() {
        let texts = read("<tr><td><p>a</p></td><td><p>b</p></td></tr><tr><td>c</td></tr>");
        let lines: Vec<&str> = texts
            .apart
            .expose()
            .lines()
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains('a') && lines[0].contains('b'));
    }

    #[test]
    fn places_of_cells_and_numbers_of_strings_are_passed_over() {
        let texts = read(
            "<row r=\"12\" ht=\"15\"><c r=\"AB12\" s=\"3\" t=\"s\"><v>4</v></c><c r=\"C12\"><v>5</v></c>\
             <c r=\"AB12345678\" t=\"s\"><v>12345678</v></c><c r=\"taro\"/></row><x r=\"AB13\"/>",
        );
        assert_eq!(read_lines(texts.apart.expose()), ["5", "12345678"]);
        let tags = texts.tags.expose();
        for (text, there) in [
            ("AB12\"", false),
            ("\"12\"", false),
            ("C12", false),
            ("15", true),
            ("AB12345678", true),
            ("taro", true),
            ("AB13", true),
        ] {
            assert_eq!(tags.contains(text), there, "{text}");
        }
    }

    #[test]
    fn what_is_no_tag_is_text() {
        for document in [
            "<1 090",
            "<",
            "a < b",
            "<a 090",
            "<!-- 090",
            "<![CDATA[090",
            "&#xd800; &bad; &",
            "<山090>",
        ] {
            let texts = read(document);
            let all = [texts.apart.expose().as_str(), texts.tags.expose()].concat();
            assert_eq!(all.contains("090"), document.contains("090"), "{document}");
        }
    }
}
