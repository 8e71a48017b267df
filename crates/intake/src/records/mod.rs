//! The documented import: JSON lines and CSV (docs/format/records.md).

mod build;
mod field;
mod json;
pub mod mapping;
mod table;
mod value;
mod write;

use std::io::BufRead;

pub(crate) use field::Field;
pub(crate) use table::{Rows, delimiter};
pub(crate) use value::{Value, Values};
pub use write::write;

use crate::source::{ReadError, Source};
use mapping::Mapping;

/// How a file is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which columns are which fields.
    pub mapping: Mapping,
    /// Minutes that times without an offset are ahead of UTC.
    pub offset_minutes: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mapping: Mapping::default(),
            offset_minutes: 540,
        }
    }
}

/// Records of a file: JSON lines if its first character is `{`, `[` or `/`, else CSV. UTF-8, or UTF-16
/// with its mark.
///
/// # Errors
/// If it cannot be read, or is CSV and has no header.
pub fn open<'a>(
    reader: impl BufRead + 'a,
    options: Options,
) -> Result<Box<dyn Source + 'a>, ReadError> {
    let mut reader = crate::decode::utf8(reader)?;
    let begin = reader.fill_buf()?;
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    match begin.trim_ascii_start().first() {
        Some(b'{' | b'[' | b'/') | None => Ok(Box::new(json::JsonLines::new(reader, options))),
        Some(_) => Ok(Box::new(table::Table::open(reader, options)?)),
    }
}

#[cfg(test)]
mod tests;
