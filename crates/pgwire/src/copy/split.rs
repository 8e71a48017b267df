//! Cuts a stream of COPY data into rows.
//!
//! Follows CopyReadLineText: the first row's end decides how all rows end; a backslash (text)
//! takes the next byte with it, a newline too; inside csv quotes nothing ends a row. Invariant:
//! what comes out does not depend on where the chunks end; each byte is looked at once.

use zeroize::Zeroizing;

use super::{CopyError, CopyFormat};

/// What a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowKind {
    /// The first row under HEADER.
    Header,
    /// Data.
    Data,
    /// The marker `\.`: no data follows. PostgreSQL 18 takes it for data in csv.
    End,
}

/// One row of the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CopyRow<'a> {
    /// What it is.
    pub kind: RowKind,
    /// The row without its end.
    pub line: &'a [u8],
    /// Its end: `\n`, `\r\n`, `\r`, or nothing for a last row without one.
    pub end: &'a [u8],
}

crate::wire::quiet_debug!(CopyRow);

/// How rows end; decided by the first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Unknown,
    Newline,
    Return,
    Both,
}

/// Where the scan stands inside a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of anything.
    Plain,
    /// After a carriage return that may be half of an end.
    Return,
    /// Text: after a backslash.
    Backslash,
    /// Text: after `\.` at the start of a row.
    Marker,
    /// Csv: inside quotes; whether an escape came just before.
    Quoted { escaped: bool },
}

/// Cuts a stream into rows. Its buffer is wiped when it is dropped.
pub struct RowSplitter {
    /// `Some((quote, escape))` for csv.
    csv: Option<(u8, u8)>,
    row_bytes_max: usize,
    buffer: Zeroizing<Vec<u8>>,
    /// Where the current row begins in `buffer`.
    start: usize,
    /// How far `buffer` was looked at.
    scanned: usize,
    state: State,
    line_end: LineEnd,
    first_kind: RowKind,
    ended: bool,
}

impl std::fmt::Debug for RowSplitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowSplitter({} bytes held)", self.buffer.len())
    }
}

impl RowSplitter {
    /// A splitter for one COPY. Rows above `row_bytes_max` bytes, their ends included, are an
    /// error; so are options that [`CopyFormat::check`] refuses.
    pub fn new(format: &CopyFormat, row_bytes_max: usize) -> Result<Self, CopyError> {
        format.check()?;
        let csv = match format {
            CopyFormat::Text { .. } => None,
            CopyFormat::Csv { quote, escape, .. } => Some((*quote, *escape)),
        };
        Ok(Self {
            csv,
            row_bytes_max,
            buffer: Zeroizing::default(),
            start: 0,
            scanned: 0,
            state: State::Plain,
            line_end: LineEnd::Unknown,
            first_kind: if format.header() {
                RowKind::Header
            } else {
                RowKind::Data
            },
            ended: false,
        })
    }

    /// Appends a chunk. Take all rows with [`Self::next_row`] before the next one, so that no
    /// more than a row and a chunk is held.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), CopyError> {
        if self.ended {
            return Ok(()); // as CopyReadLine: ignored up to the protocol's end of the data
        }
        let held = self.buffer.len();
        self.buffer.copy_within(self.start.min(held).., 0);
        self.buffer.truncate(held.saturating_sub(self.start));
        self.scanned = self.scanned.saturating_sub(self.start);
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    /// The next whole row; `None` until more is pushed.
    pub fn next_row(&mut self) -> Result<Option<CopyRow<'_>>, CopyError> {
        if self.ended {
            return Ok(None);
        }
        let found = self.scan()?;
        let seen = found.map_or(self.buffer.len(), |end| end.after);
        if seen.saturating_sub(self.start) > self.row_bytes_max {
            return Err(CopyError::RowTooLong {
                bytes_max: self.row_bytes_max,
            });
        }
        match found {
            Some(end) => self.cut(end).map(Some),
            None => Ok(None),
        }
    }

    /// What is left when the stream has ended, such as a last row without an end. Call it until
    /// it gives `None`.
    pub fn finish(&mut self) -> Result<Option<CopyRow<'_>>, CopyError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(end) = self.scan()? {
            return self.cut(end).map(Some);
        }
        let len = self.buffer.len();
        if self.start >= len {
            return Ok(None);
        }
        let line = match self.state {
            State::Return => self.close_return(len)?.line,
            State::Quoted { .. } => return Err(CopyError::UnterminatedQuote),
            State::Plain | State::Backslash | State::Marker => len,
        };
        self.cut(End { line, after: len }).map(Some)
    }

    /// Cuts the row off that ends here.
    fn cut(&mut self, end: End) -> Result<CopyRow<'_>, CopyError> {
        let start = std::mem::replace(&mut self.start, end.after);
        self.scanned = end.after;
        self.state = State::Plain;
        let line = self.buffer.get(start..end.line).unwrap_or_default();
        let mut kind = std::mem::replace(&mut self.first_kind, RowKind::Data);
        if line == b"\\." {
            // Without an end of its own, csv takes it for data, text for corrupt.
            if end.line == end.after {
                return Err(CopyError::EndMarker);
            }
            self.ended = true;
            kind = RowKind::End;
        }
        let end = self.buffer.get(end.line..end.after).unwrap_or_default();
        Ok(CopyRow { kind, line, end })
    }

    /// Looks for the end of the current row.
    fn scan(&mut self) -> Result<Option<End>, CopyError> {
        while let Some(&byte) = self.buffer.get(self.scanned) {
            let at = self.scanned;
            match self.state {
                State::Return if byte == b'\n' && self.line_end != LineEnd::Return => {
                    self.line_end = LineEnd::Both;
                    return Ok(Some(End {
                        line: at - 1,
                        after: at + 1,
                    }));
                }
                State::Return => return self.close_return(at).map(Some),
                State::Backslash if byte == b'.' => {
                    if at != self.start + 1 {
                        return Err(CopyError::EndMarker);
                    }
                    self.state = State::Marker;
                }
                State::Backslash => self.state = State::Plain,
                State::Marker if matches!(byte, b'\n' | b'\r') => {
                    self.state = State::Plain;
                    continue;
                }
                State::Marker => return Err(CopyError::EndMarker),
                State::Quoted { escaped } => self.state = self.quoted(byte, escaped),
                State::Plain => match byte {
                    b'\n' => return self.newline(at).map(Some),
                    b'\r' if self.line_end == LineEnd::Newline => {
                        return Err(CopyError::CarriageReturn);
                    }
                    // The end is known without another byte: do not wait for one.
                    b'\r' if self.line_end == LineEnd::Return => {
                        return Ok(Some(End {
                            line: at,
                            after: at + 1,
                        }));
                    }
                    b'\r' => self.state = State::Return,
                    b'\\' if self.csv.is_none() => self.state = State::Backslash,
                    _ if self.csv.is_some_and(|(quote, _)| quote == byte) => {
                        self.state = State::Quoted { escaped: false };
                    }
                    _ => {}
                },
            }
            self.scanned += 1;
            if self.state == State::Plain {
                self.skip_plain();
            }
        }
        Ok(None)
    }

    /// Jumps over bytes that mean nothing.
    fn skip_plain(&mut self) {
        let special = self.csv.map_or(b'\\', |(quote, _)| quote);
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        self.scanned += memchr::memchr3(b'\n', b'\r', special, rest).unwrap_or(rest.len());
    }

    /// The state after a byte inside csv quotes. An escape other than the quote protects one
    /// following quote; escape and quote in one, the doubled quote closes and opens again.
    fn quoted(&self, byte: u8, escaped: bool) -> State {
        match self.csv {
            Some((quote, escape)) if quote != escape => {
                let escaped_now = if byte == escape { !escaped } else { escaped };
                if byte == quote && !escaped_now {
                    State::Plain
                } else {
                    State::Quoted {
                        escaped: byte == escape && escaped_now,
                    }
                }
            }
            Some((quote, _)) if byte == quote => State::Plain,
            _ => State::Quoted { escaped: false },
        }
    }

    fn newline(&mut self, at: usize) -> Result<End, CopyError> {
        match self.line_end {
            LineEnd::Unknown | LineEnd::Newline => {
                self.line_end = LineEnd::Newline;
                Ok(End {
                    line: at,
                    after: at + 1,
                })
            }
            LineEnd::Return | LineEnd::Both => Err(CopyError::Newline),
        }
    }

    /// A carriage return before `at` that no newline follows.
    fn close_return(&mut self, at: usize) -> Result<End, CopyError> {
        match self.line_end {
            LineEnd::Both | LineEnd::Newline => Err(CopyError::CarriageReturn),
            LineEnd::Unknown | LineEnd::Return => {
                self.line_end = LineEnd::Return;
                Ok(End {
                    line: at - 1,
                    after: at,
                })
            }
        }
    }
}

/// The end of a row: where its line ends, and where the next begins.
#[derive(Clone, Copy)]
struct End {
    line: usize,
    after: usize,
}
