//! Rows in text format: `(1,"a b",,"c ""d"" \\")` (record_in, record_out).

use super::{Cells, Found};

/// The cells that are whole columns.
pub(super) fn cells(value: &[u8]) -> Option<Cells> {
    let mut cells = Cells(Vec::new());
    let mut at = 1;
    if value.first() != Some(&b'(') {
        return None;
    }
    loop {
        let end = column_end(value, at)?;
        cells.add(Found::element(value, at..end))?;
        at = end + 1;
        if value.get(end) == Some(&b')') {
            return (at == value.len()).then_some(cells);
        }
    }
}

/// Where the column that begins at `from` ends: at a comma or parenthesis outside of quotes.
fn column_end(value: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut quoted) = (from, false);
    loop {
        match *value.get(at)? {
            b'\\' => {
                value.get(at + 1)?;
                at += 1;
            }
            // A doubled quote closes and opens again.
            b'"' => quoted = !quoted,
            b',' | b')' if !quoted => return Some(at),
            b'(' if !quoted => return None,
            _ => {}
        }
        at += 1;
    }
}

/// Writes a column, in quotes where record_out would.
pub(super) fn put_column(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let special = |byte: &u8| {
        matches!(
            byte,
            b'"' | b'\\' | b'(' | b')' | b',' | b' ' | b'\t'..=b'\r'
        )
    };
    if !text.is_empty() && !text.iter().any(special) {
        out.extend_from_slice(text);
        return Some(());
    }
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'"');
    Some(())
}
