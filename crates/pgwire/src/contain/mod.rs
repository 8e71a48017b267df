//! Whole cells inside values: plain texts, text arrays, json documents, row types.
//!
//! A cell here is a whole string that begins with `sealed:` and goes on in base64url characters
//! alone; whether it opens is for the keys to say. A replacement is written by the rules of what
//! contains it.
//!
//! Invariants: the callback sees a value's cells only if the whole value is well formed;
//! otherwise, above a limit, or where a replacement cannot be written, the value stays as it is.
//! No recursion; memory in proportion to the value. One level: cells in an array inside a row, in
//! json inside an array and the like stay sealed; so do json strings that spell a cell with
//! escapes, and keys.

mod binary_array;
mod json;
mod record;
mod text_array;

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use zeroize::Zeroizing;

/// What every cell begins with.
pub const CELL_PREFIX: &[u8] = b"sealed:";

/// The most cells that are looked at in one value; a value with more stays as it is.
pub const CELLS_PER_VALUE_MAX: usize = 65_536;

/// The deepest nesting of a json document; a deeper one stays as it is.
pub const JSON_DEPTH_MAX: usize = 256;

/// The most dimensions of an array (PostgreSQL's MAXDIM).
pub const ARRAY_DIMENSIONS_MAX: usize = 6;

/// How a value contains texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It is one text: text, varchar and the like in both formats.
    Text,
    /// An array in text format.
    TextArray,
    /// json in both formats, jsonb in text format.
    Json,
    /// A row in text format.
    Record,
    /// An array of text, varchar, bpchar, name or unknown in binary format.
    BinaryTextArray,
    /// jsonb in binary format: a version byte, 1, and the text.
    BinaryJsonb,
    /// A type this crate does not know, in text format: the value's own form decides.
    Guess,
}

/// Object ids of types (pg_type.dat).
mod oid {
    pub(super) const NAME: u32 = 19;
    pub(super) const TEXT: u32 = 25;
    pub(super) const JSON: u32 = 114;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const NAME_ARRAY: u32 = 1003;
    pub(super) const TEXT_ARRAY: u32 = 1009;
    pub(super) const BPCHAR_ARRAY: u32 = 1014;
    pub(super) const VARCHAR_ARRAY: u32 = 1015;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const RECORD: u32 = 2249;
    pub(super) const JSONB: u32 = 3802;
}

/// Whether elements of this type are plain texts in binary format.
fn is_text_type(type_oid: u32) -> bool {
    matches!(
        type_oid,
        oid::NAME | oid::TEXT | oid::UNKNOWN | oid::BPCHAR | oid::VARCHAR
    )
}

impl Kind {
    /// The kind of a column by its type and format as RowDescription says. `None`: its cells
    /// stay sealed.
    pub fn of(type_oid: u32, format: i16) -> Option<Self> {
        match (type_oid, format) {
            (oid, 0 | 1) if is_text_type(oid) => Some(Self::Text),
            (oid::JSON, 0 | 1) | (oid::JSONB, 0) => Some(Self::Json),
            (oid::JSONB, 1) => Some(Self::BinaryJsonb),
            (
                oid::NAME_ARRAY | oid::TEXT_ARRAY | oid::BPCHAR_ARRAY | oid::VARCHAR_ARRAY,
                format,
            ) => match format {
                0 => Some(Self::TextArray),
                1 => Some(Self::BinaryTextArray),
                _ => None,
            },
            (oid::RECORD, 0) => Some(Self::Record),
            (_, 0) => Some(Self::Guess),
            _ => None,
        }
    }
}

/// Whether these bytes hold the beginning of a cell anywhere: a cheap look at a whole row before
/// its values are taken apart.
#[inline]
pub fn may_contain(bytes: &[u8]) -> bool {
    static PREFIX: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CELL_PREFIX));
    PREFIX.find(bytes).is_some()
}

/// Whether a text has the form of a cell.
pub fn is_cell(text: &[u8]) -> bool {
    text.strip_prefix(CELL_PREFIX).is_some_and(|rest| {
        let base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !rest.is_empty() && rest.iter().all(base64url)
    })
}

/// A cell in a value.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    /// The cell's text.
    text: Range<usize>,
    /// What a replacement takes the place of: the text with its quotes, if it has any.
    whole: Range<usize>,
}

impl Found {
    /// The element at `whole`, quoted or not, if it is a cell.
    fn element(value: &[u8], whole: Range<usize>) -> Option<Self> {
        let element = value.get(whole.clone())?;
        let text = match element {
            [b'"', .., b'"'] => whole.start + 1..whole.end - 1,
            _ => whole.clone(),
        };
        is_cell(value.get(text.clone())?).then_some(Self { text, whole })
    }
}

/// The cells of a value, in order; `None` where the value is not well formed, or has too many.
struct Cells(Vec<Found>);

impl Cells {
    fn add(&mut self, found: Option<Found>) -> Option<()> {
        if let Some(found) = found {
            if self.0.len() >= CELLS_PER_VALUE_MAX {
                return None;
            }
            self.0.push(found);
        }
        Some(())
    }
}

/// Gives each whole cell in `field` to `replace`, in order, and puts what it gives back in the
/// cell's place. `None`: nothing was replaced. What is given back holds personal values: the
/// caller wipes it.
pub fn each_cell(
    kind: Kind,
    field: &[u8],
    mut replace: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    if kind == Kind::Text {
        return if is_cell(field) { replace(field) } else { None };
    }
    if !may_contain(field) {
        return None;
    }
    match kind {
        Kind::Text => None,
        Kind::TextArray => rebuild(
            field,
            &text_array::cells(field)?,
            replace,
            text_array::put_element,
        ),
        Kind::Record => rebuild(field, &record::cells(field)?, replace, record::put_column),
        Kind::Json => rebuild(field, &json::cells(field)?, replace, json::put_string),
        Kind::BinaryTextArray => rebuild(
            field,
            &binary_array::cells(field)?,
            replace,
            binary_array::put_element,
        ),
        Kind::BinaryJsonb => {
            let text = field.strip_prefix(&[1])?;
            let mut new = each_cell(Kind::Json, text, replace).map(Zeroizing::new)?;
            let mut out = Vec::with_capacity(new.len() + 1);
            out.push(1);
            out.append(&mut new);
            Some(out)
        }
        Kind::Guess if is_cell(field) => replace(field),
        Kind::Guess => match field.first()? {
            b'(' => each_cell(Kind::Record, field, replace),
            b'{' | b'[' => {
                // An object has a colon after its first key, an array of texts never parses so:
                // what json takes is json.
                if json::cells(field).is_some() {
                    each_cell(Kind::Json, field, replace)
                } else {
                    each_cell(Kind::TextArray, field, replace)
                }
            }
            _ => None,
        },
    }
}

/// Copies the value, with replacements written by `put`; a replacement that it refuses is left.
fn rebuild(
    field: &[u8],
    cells: &Cells,
    mut replace: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    put: impl Fn(&mut Vec<u8>, &[u8]) -> Option<()>,
) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    for found in &cells.0 {
        let Some(new) = replace(field.get(found.text.clone())?).map(Zeroizing::new) else {
            continue;
        };
        let out = out.get_or_insert_with(|| Vec::with_capacity(field.len() + new.len()));
        let before = out.len();
        out.extend_from_slice(field.get(copied..found.whole.start)?);
        copied = match put(out, &new) {
            Some(()) => found.whole.end,
            None => {
                out.truncate(before);
                copied
            }
        };
    }
    let mut out = out.filter(|_| copied > 0)?;
    out.extend_from_slice(field.get(copied..)?);
    Some(out)
}

#[cfg(test)]
mod tests;
