//! Arrays of texts in binary format (array_recv, array_send): dimensions, a flag, the elements'
//! type, each dimension's length and lower bound, then each element with its length.

use super::{ARRAY_DIMENSIONS_MAX, Cells, Found, is_cell, is_text_type};
use crate::wire::{DecodeError, Reader};

/// The cells that are whole elements; their length fields belong to what is replaced.
pub(super) fn cells(value: &[u8]) -> Option<Cells> {
    let mut cells = Cells(Vec::new());
    let mut reader = Reader::new("array", value);
    let elements = header(&mut reader).ok()?;
    let mut at = value.len() - reader.rest().len();
    let mut reader = Reader::new("array", value.get(at..)?);
    for _ in 0..elements {
        let Some(element) = reader.value().ok()? else {
            at += 4;
            continue;
        };
        let text = at + 4..at + 4 + element.len();
        if is_cell(element) {
            cells.add(Some(Found {
                text: text.clone(),
                whole: at..text.end,
            }))?;
        }
        at = text.end;
    }
    reader.finish().ok()?;
    Some(cells)
}

/// Reads what comes before the elements; gives their number.
fn header(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let dimensions = reader.u32()?;
    let flags = reader.u32()?;
    let element_type = reader.u32()?;
    let known = usize::try_from(dimensions).is_ok_and(|count| count <= ARRAY_DIMENSIONS_MAX);
    if !known || flags > 1 || !is_text_type(element_type) {
        return Err(reader.invalid("header"));
    }
    let mut elements: u64 = u64::from(dimensions > 0);
    for _ in 0..dimensions {
        let length = u64::from(reader.u32()?);
        elements = elements
            .checked_mul(length)
            .ok_or_else(|| reader.invalid("dimensions"))?;
        reader.u32()?;
    }
    Ok(elements)
}

/// Writes an element with its length.
pub(super) fn put_element(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    out.extend_from_slice(&i32::try_from(text.len()).ok()?.to_be_bytes());
    out.extend_from_slice(text);
    Some(())
}
