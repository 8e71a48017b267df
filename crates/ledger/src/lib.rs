//! The recorder: the one part of the ledger that charges and appends.
//!
//! [`Recorder`] owns a folder's write-ahead log (docs/format/wal.md) on a thread of its own.
//! [`Handle::append`] takes a batch and gives back the rows that its durable record paid for, and
//! nothing else does ([`Released`]). [`state::State`] is the fold over the records; [`Reader`]
//! reads a ledger that may be written meanwhile.
//!
//! Invariants: a row is released only after its record's fdatasync; log and index of a record are
//! assigned in its frame and never again; a failed write or sync ends the process; everything else
//! is a pure function of the frames.
//!
//! Never here: plain values (the one free text, the purpose, is encrypted before it is written),
//! sockets, keys of cells.

pub mod archive;
mod batch;
pub mod beside;
pub mod cases;
mod change;
mod charge;
pub mod clock;
mod core;
mod error;
pub mod frame;
pub mod io;
pub mod list;
pub mod logs;
mod promised;
mod reader;
mod recorder;
mod recover;
mod refusals;
mod replay;
pub mod retention;
#[cfg(test)]
mod sim;
mod snapshot;
mod space;
pub mod state;
mod tail;
pub mod terminals;
#[cfg(test)]
pub(crate) mod tests;
mod uncovered;
mod wal;

pub use batch::{
    Answer, Batch, BudgetRefusal, Charge, Position, Probe, Refusal, Released, Row, Spent,
    StatementScope,
};
pub use core::{BULK_SUBJECTS, Progress, Report};
pub use error::LedgerError;
pub use list::{ListClosed, ListSealer};
pub use promised::Promise;
pub use reader::{Entry, Reader};
pub use recorder::{
    COMMIT_BYTES_MAX, Durable, Folders, Handle, Options, PolicyLooser, QUEUE_MAX, Recorder,
    SMALL_JOB_BYTES_MAX,
};
pub use snapshot::{FOLD_VERSION, SNAPSHOT_BYTES, SNAPSHOT_MS, SNAPSHOTS_KEPT};
pub use state::State;
pub use tail::Tail;
pub use wal::{Fatal, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
