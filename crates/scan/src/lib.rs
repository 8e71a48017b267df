//! Looks into the bytes of a file that somebody wants to copy to a company medium, and finds the
//! personal values in it.
//!
//! - [`look`]: text in the encodings of Japan, and zip archives (office documents are such) of it.
//! - [`Found`]: values in the form that fingerprints are made of, each once.
//! - [`Closed`]: why a file cannot be looked into. Such a file is refused.
//!
//! Pure: no I/O, no keys, no clock. Invariants: any bytes give values or a refusal, never a panic;
//! time and memory are linear in the bytes and bounded by [`Limits`]; sizes are counted while
//! inflating and never believed; values stand in [`Plain`] and in no `Debug` or error.
//!
//! Not seen: see "What it does not see" at [`look`].

mod address;
mod archive;
mod decode;
mod email;
mod fields;
mod found;
mod markup;
mod numbers;
#[cfg(test)]
mod tests;
mod text;

use event::Plain;

use found::Collector;
pub use found::Found;

/// What a file may be at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of text altogether, before it is decoded; of an archive: of its entries, inflated.
    pub text_bytes_max: usize,
    /// Entries of an archive and of the archives in it, together.
    pub entries_max: usize,
    /// Levels of archives within archives: 0 allows an archive, but none in it.
    pub depth_max: usize,
    /// Distinct values, certain and possible ones together.
    pub values_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes_max: 64 << 20,
            entries_max: 10_000,
            depth_max: 2,
            values_max: 200_000,
        }
    }
}

/// Why a file cannot be looked into. Never carries anything of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Closed {
    /// Neither text nor an archive that can be read.
    #[error("neither text nor an archive that can be read: copy it as text, CSV or an office file")]
    Unknown,
    /// An archive with encrypted entries.
    #[error("an encrypted archive: copy it without a password")]
    Encrypted,
    /// More than [`Limits`] allow.
    #[error("more {what} than can be looked into: copy it in parts")]
    TooMuch {
        /// Of what.
        what: &'static str,
    },
    /// An archive that is broken, or in which bytes belong to no entry.
    #[error(
        "a damaged archive, or one with bytes that belong to none of its entries: pack it anew"
    )]
    Damaged,
}

/// Finds the personal values in a file.
///
/// # What it does not see
/// - Values that are encoded on top of text: base64, percent and quoted-printable encoding, any
///   cipher whose output is text. PDF, RTF and PostScript are refused for that reason.
/// - Values in several fields (a telephone number in three columns), numbers written as words,
///   names within sentences.
/// - What a spreadsheet made of a value: dates of birth as day numbers, customer numbers that lost
///   their zeros. (Telephone numbers that lost their zero are possible.)
/// - UTF-16 without a byte order mark that has neither Latin letters, digits nor line breaks.
/// - In an archive: up to 64 bytes besides zeros in the extra fields of each header, times and
///   attributes, names of XML elements, places of a spreadsheet's cells, and 32 KiB of small pictures and printer settings that
///   office programs add.
///
/// # Errors
/// [`Closed`]: the file is to be refused.
pub fn look(bytes: &[u8], limits: &Limits) -> Result<Found, Closed> {
    let mut work = Work {
        text_bytes_left: limits.text_bytes_max,
        entries_left: limits.entries_max,
        levels_left: limits.depth_max,
        collector: Collector::new(limits.values_max),
    };
    file(bytes, &mut work)?;
    Ok(work.collector.finish())
}

/// What is left of the limits, and what was found.
struct Work {
    text_bytes_left: usize,
    entries_left: usize,
    levels_left: usize,
    collector: Collector,
}

/// A file, or an entry of an archive.
fn file(bytes: &[u8], work: &mut Work) -> Result<(), Closed> {
    if archive::is_one(bytes) {
        return archive::look(bytes, work);
    }
    work.text_bytes_left = work
        .text_bytes_left
        .checked_sub(bytes.len())
        .ok_or(Closed::TooMuch { what: "text" })?;
    whole_text(bytes, work)
}

/// Bytes that have to be text: a file, a name, a comment.
fn whole_text(bytes: &[u8], work: &mut Work) -> Result<(), Closed> {
    if bytes.is_empty() {
        return Ok(());
    }
    let readings: Vec<Plain<String>> = decode::readings(bytes);
    if readings.is_empty() {
        return Err(Closed::Unknown);
    }
    for reading in &readings {
        text::look(reading.expose(), &mut work.collector)?;
    }
    Ok(())
}
