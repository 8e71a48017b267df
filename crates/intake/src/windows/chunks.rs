//! A text cut into events: JSON objects, or `Event` elements, each of bounded length. What lies
//! between them is passed over, so that a damaged place costs no more than itself.

use std::io::{self, BufRead};

use crate::LINE_BYTES_MAX;

/// What a text is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Chunk {
    /// `{...}`: one a line, one after the other, or in an array.
    Json,
    /// `<Event ...>...</Event>`.
    Xml,
}

/// How an event ends.
const XML_END: &[u8] = b"</Event>";
/// How it begins; another letter behind it, and it is another element.
const XML_BEGIN: &[u8] = b"<Event";

/// Cuts a text.
pub(crate) struct Chunks<R> {
    reader: R,
    chunk: Chunk,
    buffer: Vec<u8>,
    line: u64,
}

/// How far a JSON object is.
#[derive(Clone, Copy, Default)]
struct Json {
    depth: u32,
    in_text: bool,
    escaped: bool,
}

impl<R: BufRead> Chunks<R> {
    pub(crate) fn new(reader: R, chunk: Chunk) -> Self {
        Self {
            reader,
            chunk,
            buffer: Vec::new(),
            line: 1,
        }
    }

    /// The next event with the line where it begins; without its bytes if it is longer than
    /// [`LINE_BYTES_MAX`]. `None` at the end.
    #[expect(clippy::type_complexity, reason = "two answers and a place")]
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Option<&[u8]>)>> {
        self.buffer.clear();
        let mut begins = None;
        let mut json = Json::default();
        let mut too_long = false;
        loop {
            let given = self.reader.fill_buf()?;
            if given.is_empty() {
                // One that has no end counts as one that cannot be read.
                let whole = begins.map(|line| (line, (!too_long).then_some(&*self.buffer)));
                return Ok(whole);
            }
            let mut used = 0;
            let mut ended = false;
            for byte in given {
                used += 1;
                self.line += u64::from(*byte == b'\n');
                if begins.is_none() {
                    if self.chunk.begins(&mut self.buffer, *byte) {
                        begins = Some(self.line);
                        json.depth = 1;
                    }
                    continue;
                }
                if self.buffer.len() < LINE_BYTES_MAX {
                    self.buffer.push(*byte);
                } else {
                    too_long = true;
                    // The end of the buffer is where the end of the element is looked for.
                    let end = self.buffer.len();
                    self.buffer
                        .copy_within(end - XML_END.len() + 1.., end - XML_END.len());
                    self.buffer[end - 1] = *byte;
                }
                ended = match self.chunk {
                    Chunk::Json => json.ends(*byte),
                    Chunk::Xml => self.buffer.ends_with(XML_END),
                };
                if ended {
                    break;
                }
            }
            self.reader.consume(used);
            if let (true, Some(line)) = (ended, begins) {
                return Ok(Some((line, (!too_long).then_some(&*self.buffer))));
            }
        }
    }
}

impl Chunk {
    /// Whether an event begins with this byte; the buffer holds what of its beginning was read.
    fn begins(self, buffer: &mut Vec<u8>, byte: u8) -> bool {
        match self {
            Self::Json => {
                if byte == b'{' {
                    buffer.push(byte);
                }
                byte == b'{'
            }
            Self::Xml => {
                if buffer.len() == XML_BEGIN.len()
                    && matches!(byte, b' ' | b'>' | b'\t' | b'\r' | b'\n')
                {
                    buffer.push(byte);
                    return true;
                }
                if XML_BEGIN.get(buffer.len()) != Some(&byte) {
                    buffer.clear();
                }
                if XML_BEGIN.get(buffer.len()) == Some(&byte) {
                    buffer.push(byte);
                }
                false
            }
        }
    }
}

impl Json {
    /// Whether the object ends with this byte.
    fn ends(&mut self, byte: u8) -> bool {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' => self.depth = self.depth.saturating_add(1),
            b'}' => self.depth -= 1,
            _ => {}
        }
        self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], chunk: Chunk) -> Vec<(u64, Option<String>)> {
        let mut chunks = Chunks::new(text, chunk);
        let mut all = Vec::new();
        while let Some((line, bytes)) = chunks.next().unwrap() {
            let text = bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            all.push((line, text));
        }
        all
    }

    #[test]
    fn objects_are_found() {
        let text = b"[{\"a\":\"}\\\"{\"},\n {\"b\":{}}\n] x {\"c\":1";
        let text = all(text, Chunk::Json);
        let found = |line, text: &str| (line, Some(text.to_owned()));
        let expected = [
            found(1, "{\"a\":\"}\\\"{\"}"),
            found(2, "{\"b\":{}}"),
            found(3, "{\"c\":1"),
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn elements_are_found() {
        let text =
            b"<?xml?><Events>\n<Event x='1'><EventData/></Event><<Event>2</Event>\n</Events>";
        let expected = [
            (2, Some("<Event x='1'><EventData/></Event>".to_owned())),
            (2, Some("<Event>2</Event>".to_owned())),
        ];
        assert_eq!(all(text, Chunk::Xml), expected);
    }

    #[test]
    fn what_is_too_long_is_passed_over() {
        for (chunk, begin, end, next) in [
            (Chunk::Json, "{\"", "\"}", "{}"),
            (Chunk::Xml, "<Event>", "</Event>", "<Event></Event>"),
        ] {
            let text = format!("{begin}{}{end}{next}", "x".repeat(LINE_BYTES_MAX));
            let expected = [(1, None), (1, Some(next.to_owned()))];
            assert_eq!(all(text.as_bytes(), chunk), expected);
        }
    }
}
