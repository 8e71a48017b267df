//! Text of XML and HTML: what stands between tags, and in them.
//!
//! What is no tag is text, what is no entity stays as it is. Nothing is left out but places of cells
//! and numbers of shared strings, and the signs themselves.

use std::collections::BTreeSet;

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
/// Distinct names of elements that are remembered, to be written once.
const NAMES_MAX: usize = 4096;
/// Elements within each other; with more, a document counts as not well-formed.
const OPEN_MAX: usize = 256;
/// Most letters and digits of a cell's place: XFD1048576.
const PLACE_LETTERS_MAX: usize = 3;
const PLACE_DIGITS_MAX: usize = 7;

/// The texts of a document.
pub(crate) struct Texts {
    /// Every tag ends a field.
    pub(crate) apart: Plain<String>,
    /// Tags within words are nothing; `None`: there are none.
    pub(crate) joined: Option<Plain<String>>,
    /// What stands in tags, in comments and instructions: a line each, names of elements once.
    pub(crate) tags: Plain<String>,
    /// Whether all of it is one element of XML, and what may stand before and after it.
    pub(crate) is_well_formed: bool,
}

/// Whether a text has anything in it that only a reader of markup reads: a tag or an entity.
pub(crate) fn is_in(text: &str) -> bool {
    text.match_indices(['<', '&']).any(|(at, sign)| {
        let rest = &text[at + 1..];
        match sign {
            "<" => rest.starts_with(starts_tag) || rest.starts_with('?'),
            _ => entity_at(rest).is_some(),
        }
    })
}

/// Reads a document.
pub(crate) fn read(document: &str) -> Texts {
    let mut reader = Reader {
        apart: Plain::new(String::with_capacity(document.len())),
        joined: Plain::new(String::with_capacity(document.len())),
        tags: Plain::new(String::with_capacity(document.len())),
        is_joined: false,
        is_shared: false,
        is_index: false,
        rows: 0,
        names: BTreeSet::new(),
        open: Vec::new(),
        is_rooted: false,
        is_well_formed: true,
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
        is_well_formed: reader.is_well_formed && reader.is_rooted && reader.open.is_empty(),
    }
}

struct Reader<'a> {
    apart: Plain<String>,
    joined: Plain<String>,
    tags: Plain<String>,
    is_joined: bool,
    /// After the start of a cell that holds the number of a shared string.
    is_shared: bool,
    /// After the start of its value: what comes next is a number, once.
    is_index: bool,
    /// Rows that are open: a paragraph within one ends a field, not a line.
    rows: usize,
    /// Names of elements that were written.
    names: BTreeSet<&'a str>,
    /// Elements that are open, while the document is well-formed.
    open: Vec<&'a str>,
    /// There was an element.
    is_rooted: bool,
    is_well_formed: bool,
}

impl<'a> Reader<'a> {
    fn text(&mut self, text: &str) {
        let short = text.len() <= PLACE_DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
        if std::mem::take(&mut self.is_index) && short {
            return;
        }
        self.is_well_formed &= !self.open.is_empty() || text.trim().is_empty();
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
    fn tag(&mut self, rest: &'a str) -> &'a str {
        for (open, close) in [("<!--", "-->"), ("<?", "?>")] {
            if let Some(inner) = rest.strip_prefix(open) {
                self.is_well_formed &= inner.contains(close);
                let (inner, after) = inner.split_once(close).unwrap_or((inner, ""));
                self.aside(inner);
                return after;
            }
        }
        if let Some(inner) = rest.strip_prefix("<![CDATA[") {
            self.is_well_formed &= inner.contains("]]>") && !self.open.is_empty();
            let (inner, after) = inner.split_once("]]>").unwrap_or((inner, ""));
            self.apart.expose_mut().push_str(inner);
            self.joined.expose_mut().push_str(inner);
            return after;
        }
        if !rest[1..].starts_with(starts_tag) {
            self.is_well_formed = false;
            self.text("<");
            return &rest[1..];
        }
        let Some(end) = rest.find('>') else {
            // No tag ends any more.
            self.is_well_formed = false;
            self.text(rest);
            return "";
        };
        self.element(&rest[1..end]);
        &rest[end + 1..]
    }

    fn element(&mut self, inner: &'a str) {
        let closing = inner.starts_with('/');
        let empty = inner.ends_with('/');
        let bare = inner.strip_prefix('/').unwrap_or(inner);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let end = bare.find(char::is_whitespace).unwrap_or(bare.len());
        let (name, attributes) = bare.split_at(end);
        self.check(name, attributes, closing, empty);
        let local = name.rsplit(':').next().unwrap_or(name);
        let shared = std::mem::take(&mut self.is_shared);
        self.is_shared = local == "c" && !closing && !empty && attributes.contains(" t=\"s\"");
        self.is_index = shared && local == "v" && !closing && !empty;
        let seen = match local {
            "c" | "row" => without_place(bare),
            _ => [bare, ""],
        };
        for seen in seen.into_iter().filter(|it| !it.trim().is_empty()) {
            if seen != name {
                self.aside(seen);
            } else if !self.names.contains(name) {
                self.aside(name);
                if self.names.len() < NAMES_MAX {
                    self.names.insert(name);
                }
            }
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

    /// Whether a tag fits the ones before it.
    fn check(&mut self, name: &'a str, attributes: &str, closing: bool, empty: bool) {
        if !self.is_well_formed || name.starts_with('!') && self.open.is_empty() {
            return;
        }
        let part = |c: char| c.is_ascii_alphanumeric() || "_:.-".contains(c);
        self.is_well_formed = name.chars().all(part)
            && are_attributes(attributes)
            && if closing {
                !empty && self.open.pop() == Some(name)
            } else {
                let root = self.open.is_empty();
                if !empty {
                    self.open.push(name);
                }
                !(root && std::mem::replace(&mut self.is_rooted, true))
                    && self.open.len() <= OPEN_MAX
            };
    }
}

fn starts_tag(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '/' | '_' | '!' | ':')
}

/// Whether a tag goes on as XML does: names with quoted values.
fn are_attributes(mut rest: &str) -> bool {
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return true;
        }
        let Some((name, value)) = rest.split_once('=') else {
            return false;
        };
        let quote = value.trim_start().chars().next();
        let quoted = quote.filter(|c| matches!(c, '"' | '\''));
        let value = value.trim_start().get(1..);
        let Some((_, after)) = quoted.zip(value).and_then(|(q, it)| it.split_once(q)) else {
            return false;
        };
        if name.trim().contains(char::is_whitespace) {
            return false;
        }
        rest = after;
    }
}

/// The tag of a spreadsheet's cell or row without its place (`r="AB12"`): there are as many
/// places as cells, and none is a value.
fn without_place(tag: &str) -> [&str; 2] {
    let split = || {
        let (before, rest) = tag.split_once(" r=\"")?;
        let (place, after) = rest.split_once('"')?;
        let digits = place.trim_start_matches(|c: char| c.is_ascii_uppercase());
        let fits = place.len() - digits.len() <= PLACE_LETTERS_MAX
            && (1..=PLACE_DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then_some([before, after])
    };
    split().unwrap_or([tag, ""])
}

/// Writes text with its entities decoded.
fn decode(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match entity_at(rest) {
            Some((length, c)) => {
                out.push(c);
                rest = &rest[length + 1..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
}

/// The entity whose name a text begins with: its length without the semicolon, and what it is.
fn entity_at(text: &str) -> Option<(usize, char)> {
    let window = &text.as_bytes()[..text.len().min(ENTITY_BYTES_MAX)];
    let length = window.iter().position(|b| *b == b';')?;
    Some((length, entity(text.get(..length)?)?))
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
            ["a:p x=\"1 > 0\"", " c ", "pi d", "a:p"]
        );
        assert!(texts.joined.is_none());
        assert!(texts.is_well_formed);
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
            "<c t=\"s\"><v>1<!-- -->090</v></c>",
            "<c t=\"s\"/>090<b/>090",
            "<c t=\"s\"><f/>090</c>",
        ] {
            let texts = read(document);
            let all = [texts.apart.expose().as_str(), texts.tags.expose()].concat();
            assert_eq!(all.contains("090"), document.contains("090"), "{document}");
        }
    }

    #[test]
    fn well_formed_documents() {
        for (document, is) in [
            (
                "<?xml version=\"1.0\"?>\n<!DOCTYPE a><a b='1' c = \"2\"><!-- --><d/>x</a>\n",
                true,
            ),
            ("<a>", false),
            ("<a/>x", false),
            ("<a/><a/>", false),
            ("<a></b>", false),
            ("<a b/>", false),
            ("<a b=1/>", false),
            ("<a><山/></a>", false),
            ("<a>1 < 2</a>", false),
            ("<a@b.jp/>", false),
            ("<!-- <a/>", false),
            ("<a><![CDATA[</a>", false),
            ("", false),
        ] {
            assert_eq!(read(document).is_well_formed, is, "{document}");
        }
        let deep = |levels| ["<a>".repeat(levels), "</a>".repeat(levels)].concat();
        assert!(read(&deep(OPEN_MAX)).is_well_formed);
        assert!(!read(&deep(OPEN_MAX + 1)).is_well_formed);
    }
}
