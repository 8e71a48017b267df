//! Looks into the bytes of a file that somebody wants to copy to a company medium, and finds the
//! personal values in it.
//!
//! - [`look`]: text in the encodings of Japan, and zip archives (office documents are such) of it.
//! - [`Found`]: values in the form that fingerprints are made of, each once.
//! - [`Closed`]: why a file cannot be looked into. Such a file is refused.
//!
//! Pure: no I/O, no keys, no clock. Invariants: any bytes give values or a refusal, never a panic;
//! time and memory are linear in the bytes and bounded by [`Limits`]; sizes are counted while
//! inflating and never believed; values stand in [`event::Plain`] and in no `Debug` or error.
//!
//! Not seen: see "What it does not see" at [`look`].

mod added;
mod address;
mod archive;
mod decode;
mod email;
mod extra;
mod fields;
mod found;
#[cfg(test)]
mod hidden;
mod markup;
mod numbers;
#[cfg(test)]
mod tests;
mod text;

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
/// Every reading of the bytes that is text is looked into, whatever they begin with: the encodings
/// above, both byte orders, as markup and as they stand, with and without characters that nobody
/// sees.
///
/// # What it does not see
/// - Values that are encoded on top of text: base64, percent and quoted-printable encoding, UTF-7,
///   any cipher whose output is text. PDF, RTF and PostScript are refused for that reason.
/// - Values in several fields (a telephone number in three columns), numbers written as words or in
///   digits of other scripts, letters of other scripts that look like Latin ones, names within
///   sentences.
/// - What a spreadsheet made of a value: dates of birth as day numbers, customer numbers that lost
///   their zeros. (Telephone numbers that lost their zero are possible.)
/// - UTF-16 without a byte order mark all of whose bytes are ASCII: it has no digits, no line breaks
///   and hardly a name. (Without a mark and with a zero byte it is refused.)
/// - In an archive: numbers, times, owners and attributes in the headers of its entries, of which
///   extra fields may have up to 64 bytes besides zeros (their forms are checked, and telephone
///   numbers and e-mail addresses in them are seen); the bytes of at most 32 KiB of small pictures,
///   printer settings and line breaks that office programs add, together, where they are no text
///   (what can be read between them is seen).
/// - In a spreadsheet: places of cells (`r="XFD1048576"`), and numbers of shared strings of up to
///   seven digits.
///
/// # Errors
/// [`Closed`]: the file is to be refused.
pub fn look(bytes: &[u8], limits: &Limits) -> Result<Found, Closed> {
    let mut work = Work {
        text_bytes_left: limits.text_bytes_max,
        entries_left: limits.entries_max,
        levels_left: limits.depth_max,
        added_left: added::BYTES_MAX,
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
    /// Bytes of what office programs add, of all archives together.
    added_left: usize,
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
    let look = &mut |text: &str| text::look(text, &mut work.collector);
    if decode::each(bytes, look)? {
        Ok(())
    } else {
        Err(Closed::Unknown)
    }
}
