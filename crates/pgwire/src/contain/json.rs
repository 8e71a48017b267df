//! JSON documents (RFC 8259) as PostgreSQL keeps them: json as it was written, jsonb in its own
//! form. A scanner with a stack of its own, no recursion.

use super::{Cells, Found, JSON_DEPTH_MAX};

/// What a container awaits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Array,
    Object,
}

/// The cells that are whole strings and no keys.
pub(super) fn cells(value: &[u8]) -> Option<Cells> {
    let mut scanner = Scanner {
        value,
        at: 0,
        stack: Vec::with_capacity(8),
        cells: Cells(Vec::new()),
    };
    scanner.document()?;
    Some(scanner.cells)
}

struct Scanner<'a> {
    value: &'a [u8],
    at: usize,
    stack: Vec<Inside>,
    cells: Cells,
}

impl Scanner<'_> {
    fn document(&mut self) -> Option<()> {
        loop {
            // A value begins here. If it opened a container, its first value comes next.
            if self.begin_value()? {
                continue;
            }
            // A value has ended: close what ends with it.
            loop {
                self.space();
                let Some(inside) = self.stack.last().copied() else {
                    return (self.at == self.value.len()).then_some(());
                };
                match (self.take()?, inside) {
                    (b',', Inside::Array) => break,
                    (b',', Inside::Object) => {
                        self.key()?;
                        break;
                    }
                    (b']', Inside::Array) | (b'}', Inside::Object) => {
                        self.stack.pop();
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Takes a scalar or an empty container, or opens a container: then it gives true.
    fn begin_value(&mut self) -> Option<bool> {
        self.space();
        match *self.value.get(self.at)? {
            b'[' => {
                self.at += 1;
                self.space();
                if self.value.get(self.at) == Some(&b']') {
                    self.at += 1;
                    return Some(false);
                }
                self.open(Inside::Array)
            }
            b'{' => {
                self.at += 1;
                self.space();
                if self.value.get(self.at) == Some(&b'}') {
                    self.at += 1;
                    return Some(false);
                }
                self.key()?;
                self.open(Inside::Object)
            }
            b'"' => {
                let start = self.at;
                self.string()?;
                self.cells.add(Found::element(self.value, start..self.at))?;
                Some(false)
            }
            _ => self.literal().map(|()| false),
        }
    }

    fn open(&mut self, inside: Inside) -> Option<bool> {
        if self.stack.len() >= JSON_DEPTH_MAX {
            return None;
        }
        self.stack.push(inside);
        Some(true)
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        self.string()?;
        self.space();
        (self.take()? == b':').then_some(())
    }

    /// Takes a string with its quotes.
    fn string(&mut self) -> Option<()> {
        if self.take()? != b'"' {
            return None;
        }
        loop {
            match self.take()? {
                b'"' => return Some(()),
                b'\\' => match self.take()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.take().filter(u8::is_ascii_hexdigit)?;
                        }
                    }
                    _ => return None,
                },
                0..=0x1f => return None,
                _ => {}
            }
        }
    }

    /// Takes a number, `true`, `false` or `null`.
    fn literal(&mut self) -> Option<()> {
        let rest = self.value.get(self.at..)?;
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let len = rest
            .iter()
            .position(|byte| !part(byte))
            .unwrap_or(rest.len());
        let word = rest.get(..len)?;
        self.at += len;
        (matches!(word, b"true" | b"false" | b"null") || is_number(word)).then_some(())
    }

    fn space(&mut self) {
        while matches!(self.value.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.value.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }
}

/// `-? (0 | [1-9] digits) (. digits)? ([eE] [+-]? digits)?`
fn is_number(word: &[u8]) -> bool {
    let digits = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    let word = word.strip_prefix(b"-").unwrap_or(word);
    let mut parts = word.splitn(2, |byte| matches!(byte, b'e' | b'E'));
    let mantissa = parts.next().unwrap_or_default();
    let exponent_ok = parts.next().is_none_or(|exponent| {
        let unsigned = exponent
            .strip_prefix(b"-")
            .or_else(|| exponent.strip_prefix(b"+"));
        digits(unsigned.unwrap_or(exponent))
    });
    let mut parts = mantissa.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let leading_zero = whole.len() > 1 && whole.first() == Some(&b'0');
    exponent_ok && digits(whole) && !leading_zero && parts.next().is_none_or(digits)
}

/// Writes a string in quotes. A text that is not UTF-8 cannot stand in JSON.
pub(super) fn put_string(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    std::str::from_utf8(text).ok()?;
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    Some(())
}
