//! COPY data in the text and csv formats, as PostgreSQL 14 to 18 read and write it
//! (documentation of COPY, section "File Formats"; copyfromparse.c, copyto.c).
//!
//! [`RowSplitter`] cuts a stream into rows, wherever its chunks end; [`decode_row`] and
//! [`encode_row`] read and write one row; [`rewrite_row`] changes some fields and keeps the
//! bytes of all others.
//!
//! Invariants: a row's length and its number of fields are bounded; where the server would see
//! another row border than this crate, or where versions of the server disagree, the data is
//! refused, never guessed at. Bytes are taken to be UTF-8 or another encoding whose trail bytes
//! are never ASCII (not Shift_JIS).
//!
//! Never here: the binary format, and which option holds for which column: DEFAULT of a column,
//! FORCE_NULL and FORCE_NOT_NULL are the plan's to judge. They do not change rows that are
//! decoded and encoded again, but they change what a value means.

mod field;
mod split;

pub use field::{decode_row, encode_row, rewrite_row};
pub use split::{CopyRow, RowKind, RowSplitter};

/// The most fields of one row: more than a table can have columns (1,600).
pub const FIELDS_MAX: usize = 1_664;

/// How rows are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopyFormat {
    /// FORMAT text.
    Text {
        /// DELIMITER, a tab by default.
        delimiter: u8,
        /// NULL, `\N` by default.
        null: Vec<u8>,
        /// HEADER: the first row holds names.
        header: bool,
    },
    /// FORMAT csv.
    Csv {
        /// DELIMITER, a comma by default.
        delimiter: u8,
        /// NULL, nothing by default. Only a field without quotes is NULL.
        null: Vec<u8>,
        /// QUOTE, `"` by default.
        quote: u8,
        /// ESCAPE, the quote by default.
        escape: u8,
        /// FORCE_QUOTE: which columns are always quoted when written.
        force_quote: ForceQuote,
        /// HEADER: the first row holds names.
        header: bool,
    },
}

/// Columns whose values are always quoted in csv.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ForceQuote {
    /// None.
    #[default]
    None,
    /// All but NULLs.
    All,
    /// These, by their place in the row, from 0.
    Columns(Vec<usize>),
}

impl ForceQuote {
    fn holds(&self, column: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Columns(columns) => columns.contains(&column),
        }
    }
}

/// Why COPY data is refused. Carries no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// Options that PostgreSQL does not take, or that make rows ambiguous.
    #[error("COPY option {0} is not allowed")]
    Option(&'static str),
    /// A row above the limit.
    #[error("COPY row is longer than {bytes_max} bytes")]
    RowTooLong {
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// A row with more than [`FIELDS_MAX`] fields.
    #[error("COPY row has more than {FIELDS_MAX} fields")]
    TooManyFields,
    /// A carriage return where rows end otherwise.
    #[error("literal carriage return found in COPY data; use \\r or quote it")]
    CarriageReturn,
    /// A newline where rows end otherwise.
    #[error("literal newline found in COPY data; use \\n or quote it")]
    Newline,
    /// `\.` beside other data. Versions of PostgreSQL read it differently.
    #[error("end-of-copy marker is not alone on its line")]
    EndMarker,
    /// Quotes of a csv field that do not end.
    #[error("unterminated CSV quoted field")]
    UnterminatedQuote,
}

impl CopyFormat {
    /// FORMAT text with PostgreSQL's defaults.
    pub fn text() -> Self {
        Self::Text {
            delimiter: b'\t',
            null: b"\\N".to_vec(),
            header: false,
        }
    }

    /// FORMAT csv with PostgreSQL's defaults.
    pub fn csv() -> Self {
        Self::Csv {
            delimiter: b',',
            null: Vec::new(),
            quote: b'"',
            escape: b'"',
            force_quote: ForceQuote::None,
            header: false,
        }
    }

    /// Whether PostgreSQL takes these options together (ProcessCopyOptions). More is refused
    /// here: a backslash as delimiter or quote in csv, with which versions disagree on `\.`; a
    /// quote, delimiter or escape that is not ASCII.
    pub fn check(&self) -> Result<(), CopyError> {
        let (delimiter, null) = match self {
            Self::Text {
                delimiter, null, ..
            }
            | Self::Csv {
                delimiter, null, ..
            } => (*delimiter, null),
        };
        let plain = |byte: u8| byte.is_ascii() && !matches!(byte, 0 | b'\r' | b'\n');
        if !plain(delimiter) {
            return Err(CopyError::Option("DELIMITER"));
        }
        let no_line = null.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) || null == b"\\.";
        if no_line || null.contains(&delimiter) {
            return Err(CopyError::Option("NULL"));
        }
        match self {
            Self::Text { .. } => {
                // These would make escapes ambiguous.
                let taken = matches!(delimiter, b'\\' | b'.' | b'a'..=b'z' | b'0'..=b'9');
                if taken {
                    Err(CopyError::Option("DELIMITER"))
                } else {
                    Ok(())
                }
            }
            Self::Csv { quote, escape, .. } => {
                if !plain(*quote) || *quote == delimiter || *quote == b'\\' || null.contains(quote)
                {
                    return Err(CopyError::Option("QUOTE"));
                }
                if !plain(*escape) || *escape == delimiter {
                    return Err(CopyError::Option("ESCAPE"));
                }
                if delimiter == b'\\' {
                    return Err(CopyError::Option("DELIMITER"));
                }
                Ok(())
            }
        }
    }

    /// Whether the first row holds names.
    pub fn header(&self) -> bool {
        match self {
            Self::Text { header, .. } | Self::Csv { header, .. } => *header,
        }
    }
}

#[cfg(test)]
mod tests;
