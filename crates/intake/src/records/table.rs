//! CSV with a header.

use std::io::{self, BufRead, Read};

use csv::ByteRecord;

use super::Options;
use super::build;
use super::field::Field;
use super::value::{Value, Values};
use crate::lines::LINE_BYTES_MAX;
use crate::names::Names;
use crate::source::{ReadError, Source, Taken};
use crate::summary::{Note, Reason, Summary};

/// Bytes that the reader takes ahead of the record that it is at.
const AHEAD_BYTES: usize = 64 << 10;

/// Gives bytes until a record has had more than it may. Without it a quote that is never closed would
/// take a whole file into memory.
pub(crate) struct Bounded<R> {
    reader: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("a record that is too long"));
        }
        let read = self.reader.read(buffer)?;
        self.left = self.left.saturating_sub(read);
        Ok(read)
    }
}

/// Rows of a CSV file, of bounded length.
pub(crate) struct Rows<R> {
    reader: csv::Reader<Bounded<R>>,
}

impl<R: Read> Rows<R> {
    pub(crate) fn new(reader: R, delimiter: u8) -> Self {
        let bounded = Bounded { reader, left: 0 };
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .buffer_capacity(AHEAD_BYTES)
            .from_reader(bounded);
        Self { reader }
    }

    /// The next row and the line where it begins; `None` at the end.
    ///
    /// # Errors
    /// If it cannot be read, or a row has no end.
    pub(crate) fn next(&mut self, row: &mut ByteRecord) -> Result<Option<u64>, ReadError> {
        self.reader.get_mut().left = LINE_BYTES_MAX + AHEAD_BYTES;
        let begins = self.reader.position().line();
        match self.reader.read_byte_record(row) {
            Ok(true) => Ok(Some(row.position().map_or(begins, |place| place.line()))),
            Ok(false) => Ok(None),
            Err(_) if self.reader.get_ref().left == 0 => Err(ReadError::Form(format!(
                "the record that begins on line {begins} has no end within {} MiB; a quotation mark lacks there, or before it",
                LINE_BYTES_MAX >> 20
            ))),
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Io(error) => Err(ReadError::Io(error)),
                kind => Err(ReadError::Form(format!("line {begins}: {kind:?}"))),
            },
        }
    }
}

/// What separates the fields of a line: whatever of comma, semicolon and tab it has most of.
pub(crate) fn delimiter(begin: &[u8]) -> u8 {
    let line = begin.split(|byte| *byte == b'\n').next().unwrap_or(begin);
    let count = |mark: u8| line.iter().filter(|byte| **byte == mark).count();
    let mut best = b',';
    for mark in [b';', b'\t'] {
        if count(mark) > count(best) {
            best = mark;
        }
    }
    best
}

/// Records of a CSV file.
pub(super) struct Table<R> {
    rows: Rows<R>,
    /// The fields that each column is.
    columns: Vec<Vec<Field>>,
    /// Names of the others; counted when the file is at its end.
    ignored: Vec<String>,
    row: ByteRecord,
    options: Options,
    summary: Summary,
}

impl<R: BufRead> Table<R> {
    /// Reads the header.
    pub(super) fn open(mut reader: R, options: Options) -> Result<Self, ReadError> {
        let delimiter = delimiter(reader.fill_buf()?);
        let mut rows = Rows::new(reader, delimiter);
        let mut row = ByteRecord::new();
        rows.next(&mut row)?;
        let mut columns = Vec::with_capacity(row.len());
        let mut ignored = Vec::new();
        for (at, name) in row.iter().enumerate() {
            let name = match at {
                0 => name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name),
                _ => name,
            };
            let name = String::from_utf8_lossy(name);
            let fields = options.mapping.fields(&name).list();
            if fields.is_empty() {
                ignored.push(name.into_owned());
            }
            columns.push(fields);
        }
        if columns.iter().all(Vec::is_empty) {
            return Err(ReadError::Form(
                "its first line is no JSON object, and as the header of a CSV file names no known field; \
                 name its columns with --map (docs/format/records.md)"
                    .to_owned(),
            ));
        }
        Ok(Self {
            rows,
            columns,
            ignored,
            row,
            options,
            summary: Summary::default(),
        })
    }
}

impl<R: BufRead> Source for Table<R> {
    fn next(&mut self, names: &mut Names, taken: &mut Taken) -> Result<bool, ReadError> {
        while let Some(number) = self.rows.next(&mut self.row)? {
            if self
                .row
                .get(0)
                .is_some_and(|first| first.starts_with(b"//"))
            {
                continue;
            }
            self.summary.lines += 1;
            taken.keys.clear();
            let mut values = Values::new(&self.options.mapping, &mut taken.keys);
            let mut is_text = true;
            for (value, fields) in self.row.iter().zip(&self.columns) {
                for field in fields {
                    match std::str::from_utf8(value) {
                        Ok(text) => values.set(*field, Value::text(text), &mut taken.keys),
                        Err(_) => is_text = false,
                    }
                }
            }
            if values.twice {
                self.summary.note(Note::Twice, number);
            }
            let mut line = build::Line {
                values: &values,
                keys: taken.keys.len(),
                number,
                offset_minutes: self.options.offset_minutes,
                names,
                summary: &mut self.summary,
            };
            let record = match is_text {
                true => line.record(),
                false => Err(Reason::NotUtf8),
            };
            match record {
                Ok(record) => {
                    self.summary.record(record.at_ms);
                    taken.set(record);
                    return Ok(true);
                }
                Err(reason) => self.summary.skip(reason, number),
            }
        }
        for name in self.ignored.drain(..) {
            self.summary
                .ignored_fields
                .add_many(&name, self.summary.lines);
        }
        Ok(false)
    }

    fn summary(&self) -> &Summary {
        &self.summary
    }
}
