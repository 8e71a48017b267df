//! UTF-16, as programs of Windows write it, to UTF-8.

use std::io::{self, BufRead, BufReader, Read};

/// Bytes decoded at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A reader of UTF-8: the one given, or what it comes to if it begins with a mark of UTF-16.
pub(crate) fn utf8<'a>(mut reader: impl BufRead + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let little = match reader.fill_buf()? {
        [0xff, 0xfe, ..] => true,
        [0xfe, 0xff, ..] => false,
        _ => return Ok(Box::new(reader)),
    };
    reader.consume(2);
    let decoder = Utf16 {
        reader,
        little,
        high: None,
        ready: Vec::new(),
        at: 0,
    };
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)))
}

struct Utf16<R> {
    reader: R,
    little: bool,
    /// The first half of a pair.
    high: Option<u16>,
    /// What was decoded, and how much of it was given.
    ready: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Utf16<R> {
    /// Decodes some more; nothing at the end.
    fn fill(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.at = 0;
        let mut units = Vec::with_capacity(BUFFER_BYTES / 4);
        units.extend(self.high.take());
        while units.len() < BUFFER_BYTES / 4 {
            let mut pair = [0; 2];
            match self.reader.read_exact(&mut pair) {
                Ok(()) => units.push(match self.little {
                    true => u16::from_le_bytes(pair),
                    false => u16::from_be_bytes(pair),
                }),
                // A lone byte at the end says nothing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        let whole = units.len() == BUFFER_BYTES / 4;
        if whole
            && units
                .last()
                .is_some_and(|unit| (0xd800..0xdc00).contains(unit))
        {
            self.high = units.pop();
        }
        let mut bytes = [0; 4];
        for unit in char::decode_utf16(units) {
            let letter = unit.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.ready.extend(letter.encode_utf8(&mut bytes).as_bytes());
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.fill()?;
        }
        let rest = &self.ready[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8]) -> String {
        let mut text = String::new();
        utf8(bytes).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    proptest! {
        #[test]
        fn texts_come_back(text in "[a-z山𠮷\n]{0,100}", times in 1_usize..400, little: bool) {
            let text = text.repeat(times);
            let mut bytes = if little { vec![0xff, 0xfe] } else { vec![0xfe, 0xff] };
            for unit in text.encode_utf16() {
                bytes.extend(if little { unit.to_le_bytes() } else { unit.to_be_bytes() });
            }
            prop_assert_eq!(decoded(&bytes), text.clone());
            if !text.is_empty() {
                prop_assert_eq!(decoded(text.as_bytes()), text);
            }
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let mut marked = vec![0xff, 0xfe];
            marked.extend(bytes);
            let _ = decoded(&marked);
        }
    }
}
