//! Lines of bounded length.

use std::io::{self, BufRead, Read};

/// Longest line, and longest record of a CSV file, in bytes.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// Reads lines one by one into one buffer.
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The number of the line in the buffer, from 1.
    number: u64,
}

/// A line that was read.
pub(crate) enum Line<'a> {
    /// Its number and its bytes, without the end of the line.
    Read(u64, &'a [u8]),
    /// It is longer than [`LINE_BYTES_MAX`], and was passed over.
    TooLong(u64),
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1);
        if limited.read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.buffer.last() != Some(&b'\n') && self.buffer.len() > LINE_BYTES_MAX {
            self.reader.skip_until(b'\n')?;
            return Ok(Some(Line::TooLong(self.number)));
        }
        let mut line = self.buffer.as_slice();
        if self.number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(Line::Read(self.number, line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Option<String>> {
        let mut lines = Lines::new(bytes);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(match line {
                Line::Read(_, line) => Some(String::from_utf8(line.to_vec()).unwrap()),
                Line::TooLong(number) => {
                    assert_eq!(number, all.len() as u64 + 1);
                    None
                }
            });
        }
        all
    }

    #[test]
    fn lines_end_in_several_ways() {
        let read = all(b"\xef\xbb\xbfa\r\n\n b \nc");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read, [text("a"), text(""), text(" b "), text("c")]);
    }

    #[test]
    fn long_lines_are_passed_over() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX + 1];
        bytes.extend(b"\nnext\n");
        assert_eq!(all(&bytes), [None, Some("next".to_owned())]);
        // One that just fits.
        bytes.remove(0);
        assert_eq!(
            all(&bytes)[0].as_ref().map(String::len),
            Some(LINE_BYTES_MAX)
        );
    }
}
