//! Fields of one row of COPY data: reading, writing, changing some.
//!
//! Follows CopyReadAttributesText, CopyReadAttributesCSV, CopyAttributeOutText and
//! CopyAttributeOutCSV. Invariant: what is written reads back as the same values, except for an
//! empty text in the text format under `NULL ''`, which that format cannot tell from NULL.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{CopyError, CopyFormat, FIELDS_MAX, ForceQuote};

/// The fields of a row without its end; `None` is NULL. They hold personal values: the caller
/// wipes them.
pub fn decode_row(row: &[u8], format: &CopyFormat) -> Result<Vec<Option<Vec<u8>>>, CopyError> {
    let mut fields = Vec::new();
    let mut reader = FieldReader::new(row, format);
    while let Some(field) = reader.next_field()? {
        fields.push((!field.null).then(|| reader.value.to_vec()));
    }
    Ok(fields)
}

/// Appends a row of these fields, without an end.
pub fn encode_row<V: AsRef<[u8]>>(fields: &[Option<V>], format: &CopyFormat, out: &mut Vec<u8>) {
    let single = fields.len() == 1;
    for (column, field) in fields.iter().enumerate() {
        if column > 0 {
            out.push(match format {
                CopyFormat::Text { delimiter, .. } | CopyFormat::Csv { delimiter, .. } => {
                    *delimiter
                }
            });
        }
        put_field(
            out,
            field.as_ref().map(AsRef::as_ref),
            column,
            single,
            format,
        );
    }
}

/// Gives each field's place (from 0) and value to `replace`; where it gives a new value, that is
/// written in the field's place. All other bytes stay as they are. `None` where nothing was
/// replaced. What is given back holds personal values: the caller wipes it.
pub fn rewrite_row(
    row: &[u8],
    format: &CopyFormat,
    mut replace: impl FnMut(usize, Option<&[u8]>) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, CopyError> {
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut reader = FieldReader::new(row, format);
    while let Some(field) = reader.next_field()? {
        let value = (!field.null).then_some(reader.value.as_slice());
        let Some(new) = replace(field.column, value).map(Zeroizing::new) else {
            continue;
        };
        let out = out.get_or_insert_with(|| Vec::with_capacity(row.len() + new.len()));
        out.extend_from_slice(row.get(copied..field.raw.start).unwrap_or_default());
        let single = field.column == 0 && reader.at.is_none();
        put_field(out, Some(&new), field.column, single, format);
        copied = field.raw.end;
    }
    Ok(out.map(|mut out| {
        out.extend_from_slice(row.get(copied..).unwrap_or_default());
        out
    }))
}

/// A field as it stands in the row; its value is in [`FieldReader::value`].
struct RawField {
    column: usize,
    raw: Range<usize>,
    null: bool,
}

struct FieldReader<'a> {
    row: &'a [u8],
    format: &'a CopyFormat,
    /// Where the next field begins; `None` after the last.
    at: Option<usize>,
    column: usize,
    /// The value of the field read last.
    value: Zeroizing<Vec<u8>>,
}

impl<'a> FieldReader<'a> {
    fn new(row: &'a [u8], format: &'a CopyFormat) -> Self {
        Self {
            row,
            format,
            at: Some(0),
            column: 0,
            value: Zeroizing::default(),
        }
    }

    fn next_field(&mut self) -> Result<Option<RawField>, CopyError> {
        let Some(start) = self.at else {
            return Ok(None);
        };
        let column = self.column;
        if column >= FIELDS_MAX {
            return Err(CopyError::TooManyFields);
        }
        self.column += 1;
        self.value.clear();
        let rest = self.row.get(start..).unwrap_or_default();
        let (len, null) = match self.format {
            CopyFormat::Text {
                delimiter, null, ..
            } => {
                let (len, compared) = read_text(rest, *delimiter, &mut self.value);
                (len, rest.get(..compared) == Some(null))
            }
            CopyFormat::Csv {
                delimiter,
                null,
                quote,
                escape,
                ..
            } => {
                let (len, quoted) = read_csv(rest, *delimiter, *quote, *escape, &mut self.value)?;
                (len, !quoted && rest.get(..len) == Some(null))
            }
        };
        // A field that does not reach the end was ended by a delimiter of one byte.
        self.at = (len < rest.len()).then_some(start + len + 1);
        Ok(Some(RawField {
            column,
            raw: start..start + len,
            null,
        }))
    }
}

/// Reads a field up to its delimiter: its raw length, and the length that is compared with the
/// null marker, which leaves out a lone backslash at the row's end.
fn read_text(rest: &[u8], delimiter: u8, value: &mut Vec<u8>) -> (usize, usize) {
    let mut at = 0;
    loop {
        let plain = rest.get(at..).unwrap_or_default();
        let run = memchr::memchr2(delimiter, b'\\', plain).unwrap_or(plain.len());
        value.extend_from_slice(plain.get(..run).unwrap_or_default());
        at += run;
        if rest.get(at) != Some(&b'\\') {
            return (at, at);
        }
        let Some(&letter) = rest.get(at + 1) else {
            return (at + 1, at);
        };
        let after = rest.get(at + 2..).unwrap_or_default();
        let (byte, digits) = match letter {
            b'0'..=b'7' => number(letter - b'0', after, 8, 2),
            b'x' => match after.first().and_then(|digit| digit_value(*digit, 16)) {
                Some(first) => {
                    let (byte, more) = number(first, after.get(1..).unwrap_or_default(), 16, 1);
                    (byte, more + 1)
                }
                None => (b'x', 0),
            },
            b'b' => (0x08, 0),
            b'f' => (0x0c, 0),
            b'n' => (b'\n', 0),
            b'r' => (b'\r', 0),
            b't' => (b'\t', 0),
            b'v' => (0x0b, 0),
            other => (other, 0),
        };
        value.push(byte);
        at += 2 + digits;
    }
}

fn digit_value(byte: u8, radix: u32) -> Option<u8> {
    char::from(byte)
        .to_digit(radix)
        .and_then(|value| u8::try_from(value).ok())
}

/// Goes on with a number whose first digit was read, by at most `digits_max` more; keeps the low
/// eight bits. Gives how many digits it took.
fn number(first: u8, after: &[u8], radix: u8, digits_max: usize) -> (u8, usize) {
    let digits = after
        .iter()
        .map_while(|byte| digit_value(*byte, u32::from(radix)));
    digits
        .take(digits_max)
        .fold((first, 0), |(value, taken), digit| {
            (value.wrapping_mul(radix).wrapping_add(digit), taken + 1)
        })
}

/// Reads a field up to its delimiter: its raw length, and whether there were quotes in it.
fn read_csv(
    rest: &[u8],
    delimiter: u8,
    quote: u8,
    escape: u8,
    value: &mut Vec<u8>,
) -> Result<(usize, bool), CopyError> {
    let mut bytes = rest.iter().copied().enumerate().peekable();
    let mut quoted = false;
    while let Some((at, byte)) = bytes.next() {
        if byte == delimiter {
            return Ok((at, quoted));
        }
        if byte != quote {
            value.push(byte);
            continue;
        }
        quoted = true;
        loop {
            let (_, byte) = bytes.next().ok_or(CopyError::UnterminatedQuote)?;
            let escaped = bytes.peek().map(|(_, next)| *next);
            match escaped {
                Some(next) if byte == escape && (next == escape || next == quote) => {
                    value.push(next);
                    bytes.next();
                }
                _ if byte == quote => break,
                _ => value.push(byte),
            }
        }
    }
    Ok((rest.len(), quoted))
}

/// Writes one field.
fn put_field(
    out: &mut Vec<u8>,
    value: Option<&[u8]>,
    column: usize,
    single: bool,
    format: &CopyFormat,
) {
    match (format, value) {
        (CopyFormat::Text { null, .. } | CopyFormat::Csv { null, .. }, None) => {
            out.extend_from_slice(null);
        }
        (
            CopyFormat::Text {
                delimiter, null, ..
            },
            Some(value),
        ) => {
            put_text(out, value, *delimiter, null);
        }
        (
            CopyFormat::Csv {
                delimiter,
                null,
                quote,
                escape,
                force_quote,
                ..
            },
            Some(value),
        ) => {
            let special =
                |byte: &u8| matches!(*byte, b'\n' | b'\r') || byte == delimiter || byte == quote;
            if must_quote(value, null, column, single, force_quote) || value.iter().any(special) {
                put_quoted(out, value, *quote, *escape);
            } else {
                out.extend_from_slice(value);
            }
        }
    }
}

/// Quotes that a value needs whatever its characters: it reads as NULL, or as the end-of-copy
/// marker, or its column is always quoted.
fn must_quote(
    value: &[u8],
    null: &[u8],
    column: usize,
    single: bool,
    force_quote: &ForceQuote,
) -> bool {
    value == null || (single && value == b"\\.") || force_quote.holds(column)
}

fn put_quoted(out: &mut Vec<u8>, value: &[u8], quote: u8, escape: u8) {
    out.push(quote);
    for &byte in value {
        if byte == quote || byte == escape {
            out.push(escape);
        }
        out.push(byte);
    }
    out.push(quote);
}

fn put_text(out: &mut Vec<u8>, value: &[u8], delimiter: u8, null: &[u8]) {
    let mut value = value;
    // As it stands it would read as NULL: write its first byte by its number.
    if value == null
        && let Some((first, rest)) = value.split_first()
        && !null.contains(&b'\\')
    {
        out.extend_from_slice(format!("\\x{first:02x}").as_bytes());
        value = rest;
    }
    for &byte in value {
        let letter = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            _ if byte == delimiter => byte,
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}
