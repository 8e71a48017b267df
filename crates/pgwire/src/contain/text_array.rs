//! Arrays in text format: `{a,"b c",NULL}`, `[0:1]={...}`, nested braces (array_in, array_out).

use super::{ARRAY_DIMENSIONS_MAX, Cells, Found};

/// The cells that are whole elements.
pub(super) fn cells(value: &[u8]) -> Option<Cells> {
    let mut cells = Cells(Vec::new());
    let mut at = bounds(value)?;
    let mut depth: usize = 0;
    // Whether an element or an inner array may begin here; else a comma or a brace must come.
    let mut open = true;
    loop {
        match *value.get(at)? {
            b'{' if open && depth < ARRAY_DIMENSIONS_MAX => {
                depth += 1;
                at += 1;
            }
            b'}' if depth > 0 && (!open || value.get(at.checked_sub(1)?) == Some(&b'{')) => {
                depth -= 1;
                at += 1;
                open = false;
                if depth == 0 {
                    return (at == value.len()).then_some(cells);
                }
            }
            b',' if !open => {
                at += 1;
                open = true;
            }
            b'{' | b'}' | b',' => return None,
            _ if open && depth > 0 => {
                let end = element_end(value, at)?;
                cells.add(Found::element(value, at..end))?;
                at = end;
                open = false;
            }
            _ => return None,
        }
    }
}

/// Skips `[1:2][0:3]=`, which stands before arrays with unusual bounds.
fn bounds(value: &[u8]) -> Option<usize> {
    if value.first() != Some(&b'[') {
        return Some(0);
    }
    let end = memchr::memchr(b'=', value)?;
    let allowed = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'[' | b']' | b':' | b'-');
    value.get(..end)?.iter().all(allowed).then_some(end + 1)
}

/// Where the element that begins at `from` ends: at a comma or brace outside of quotes.
fn element_end(value: &[u8], from: usize) -> Option<usize> {
    let quoted = value.get(from) == Some(&b'"');
    let mut at = if quoted { from + 1 } else { from };
    loop {
        match *value.get(at)? {
            b'\\' => {
                value.get(at + 1)?;
                at += 2;
            }
            b'"' if quoted => return Some(at + 1),
            b'"' | b'{' if !quoted => return None,
            b',' | b'}' if !quoted => return Some(at),
            _ => at += 1,
        }
    }
}

/// Writes an element, in quotes where array_out would.
pub(super) fn put_element(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case(b"NULL")
        && !text.iter().any(|byte| {
            matches!(
                byte,
                b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t'..=b'\r'
            )
        });
    if plain {
        out.extend_from_slice(text);
        return Some(());
    }
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    Some(())
}
