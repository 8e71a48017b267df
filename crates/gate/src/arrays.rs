//! Arrays of text on their way in: PostgreSQL's text and binary forms, one dimension.

use event::Plain;

/// Most elements of an array that meets a sealed column.
const ELEMENTS_MAX: usize = 65_535;

/// The elements of an array; `None` if it is not an array of text of at most one dimension.
pub(crate) fn elements(value: &[u8], binary: bool) -> Option<Vec<Option<Plain<String>>>> {
    if binary {
        of_binary(value)
    } else {
        of_text(std::str::from_utf8(value).ok()?)
    }
}

/// int32 dimensions, int32 flags, oid, then for each dimension int32 length and lower bound, then
/// each element with an int32 length, -1 for NULL (`array_recv`).
fn of_binary(value: &[u8]) -> Option<Vec<Option<Plain<String>>>> {
    let mut rest = value;
    let int = |rest: &mut &[u8]| -> Option<i32> {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(i32::from_be_bytes(*head))
    };
    let dimensions = int(&mut rest)?;
    let _flags = int(&mut rest)?;
    let oid = int(&mut rest)?;
    if !matches!(oid, 25 | 1043 | 705) {
        return None;
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = usize::try_from(int(&mut rest)?).ok()?;
            int(&mut rest)?;
            count
        }
        _ => return None,
    };
    if count > ELEMENTS_MAX {
        return None;
    }
    let mut elements = Vec::new();
    for _ in 0..count {
        let length = int(&mut rest)?;
        if length == -1 {
            elements.push(None);
            continue;
        }
        let length = usize::try_from(length).ok()?;
        let (element, tail) = rest.split_at_checked(length)?;
        rest = tail;
        elements.push(Some(Plain::new(String::from_utf8(element.to_vec()).ok()?)));
    }
    rest.is_empty().then_some(elements)
}

/// `{a,"b c",NULL}` (`array_in`).
fn of_text(text: &str) -> Option<Vec<Option<Plain<String>>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Some(elements);
    }
    let mut chars = inner.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let mut element = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        let mut escaped = false;
        if quoted {
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => element.push(chars.next()?),
                    c => element.push(c),
                }
            }
            while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                match c {
                    '{' | '}' | '"' => return None,
                    '\\' => {
                        escaped = true;
                        element.push(chars.next()?);
                    }
                    c => element.push(c),
                }
            }
            element.truncate(element.trim_end().len());
            if element.is_empty() {
                return None;
            }
        }
        let null = !quoted && !escaped && element.eq_ignore_ascii_case("null");
        elements.push((!null).then(|| Plain::new(element)));
        if elements.len() > ELEMENTS_MAX {
            return None;
        }
        match chars.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// An array of cells, in text form: cells need no quotes.
pub(crate) fn of_cells(cells: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + cells.iter().map(|cell| cell.len() + 1).sum::<usize>());
    out.push(b'{');
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(cell.as_bytes());
    }
    out.push(b'}');
    out
}

/// The same with NULLs.
pub(crate) fn of_nullable_cells(cells: &[Option<String>]) -> Vec<u8> {
    let texts: Vec<String> = cells
        .iter()
        .map(|cell| cell.clone().unwrap_or_else(|| "NULL".to_owned()))
        .collect();
    of_cells(&texts)
}

#[cfg(test)]
mod tests {
    use super::{elements, of_cells};

    fn shown(value: &[u8], binary: bool) -> Option<Vec<Option<String>>> {
        let all = elements(value, binary)?;
        Some(
            all.into_iter()
                .map(|e| e.map(|p| p.expose().clone()))
                .collect(),
        )
    }

    #[test]
    fn text_arrays_are_read_as_postgresql_reads_them() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(shown(b"{}", false), Some(vec![]));
        assert_eq!(
            shown(br#"{a, b c ,"d,e",NULL,"NULL",f\,g}"#, false),
            Some(vec![
                some("a"),
                some("b c"),
                some("d,e"),
                None,
                some("NULL"),
                some("f,g")
            ])
        );
        for wrong in ["", "a", "{", "{a", "{{a}}", "{a,}", r#"{"a}"#, r#"{"a"b}"#] {
            assert_eq!(shown(wrong.as_bytes(), false), None, "{wrong}");
        }
    }

    #[test]
    fn binary_arrays_are_bounded_and_whole() {
        let mut value = Vec::new();
        for int in [1i32, 0, 25, 2, 1, 1] {
            value.extend_from_slice(&int.to_be_bytes());
        }
        value.extend_from_slice(b"x");
        value.extend_from_slice(&(-1i32).to_be_bytes());
        assert_eq!(shown(&value, true), Some(vec![Some("x".to_owned()), None]));
        for cut in 0..value.len() {
            assert_eq!(shown(&value[..cut], true), None);
        }
        let mut huge = value.clone();
        huge[12..16].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(shown(&huge, true), None);
    }

    #[test]
    fn cells_go_back_as_an_array() {
        assert_eq!(
            of_cells(&["sealed:A".to_owned(), "sealed:B".to_owned()]),
            b"{sealed:A,sealed:B}"
        );
    }
}
