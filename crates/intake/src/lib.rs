//! What other systems recorded, as records for detection.
//!
//! [`records`] is the documented format (docs/format/records.md); the other modules read what
//! PostgreSQL and Windows write of their own accord. All are a [`Source`]: one record at a time,
//! names turned into numbers by [`Names`], and a [`Summary`] of what could not be read.
//!
//! Invariants: any bytes give records and counts, never a panic, and memory is bounded by the limits
//! below, whatever the length of a file; nothing is skipped without being counted; a summary names
//! lines and fields, never what stands in them; subjects leave as hashes ([`key`]).
//!
//! Pure: readers in, records out. No files are opened here and no clock is read.

mod decode;
pub mod evidence;
pub mod heaviest;
pub mod key;
mod lines;
mod names;
pub mod postgres;
pub mod records;
mod source;
mod summary;
pub mod time;
pub mod windows;

pub use lines::LINE_BYTES_MAX;
pub use names::{NAME_BYTES_MAX, NAMES_MAX, Names};
pub use records::mapping::{BadMapping, Mapping};
pub use source::{Merged, ReadError, Source, Taken};
pub use summary::{FIRST_LINES, Note, Places, Reason, Summary, TALLY_MAX, Tally};
