//! What can go wrong with a ledger as a whole.

use std::io;

/// A ledger that cannot be opened, made or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Bytes that were durable once no longer verify. Restore the segment from a copy; nothing
    /// after this place may be trusted.
    #[error("ledger: corruption in segment {segment} at byte {offset}: {what}")]
    Corruption {
        /// The segment's number.
        segment: u32,
        /// Bytes from its start.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// Another process writes to it.
    #[error("ledger: {folder} is in use by another process; stop it first")]
    InUse {
        /// The folder.
        folder: String,
    },
    /// The disk is full.
    #[error("ledger: no space: {what}; free some, nothing is released until then")]
    NoSpace {
        /// What was to be written.
        what: String,
    },
    /// The operating system refused.
    #[error("ledger: cannot {what}: {source}")]
    Io {
        /// What was tried, and on which file.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// There is none in this folder.
    #[error("ledger: there is none in this folder; `sekisho init` makes one")]
    Missing,
    /// There is one already.
    #[error("ledger: there is one in this folder already")]
    Exists,
    /// The records contradict each other, or this program cannot follow them.
    #[error("ledger: record {sequence}: {what}")]
    Fold {
        /// The record's place among all.
        sequence: u64,
        /// What is wrong.
        what: String,
    },
    /// The start could not be recorded.
    #[error("{0}")]
    Refused(crate::Refusal),
    /// The ledger ends before a checkpoint of its own: it was restored from an old copy.
    #[error(
        "ledger: a checkpoint of ours has {size} leaves of the root log, this ledger has {known}: records were lost or an old copy was restored; put the newer one back, or declare the loss: `sekisho ledger generation --help`"
    )]
    Rollback {
        /// Leaves in the checkpoint.
        size: u64,
        /// Leaves that the ledger holds.
        known: u64,
    },
    /// The ledger contradicts a checkpoint of its own.
    #[error(
        "ledger: its records contradict our own checkpoint of {size} leaves of the root log: they were altered after that; put the true ones back, or declare the loss: `sekisho ledger generation --help`"
    )]
    Fork {
        /// Leaves in the checkpoint.
        size: u64,
    },
    /// The ledger ends before an entry whose receipt a client has acknowledged.
    #[error(
        "ledger: client {client} acknowledged receipts of {acknowledged} entries of its log, this ledger has {known}: records were lost or an old copy was restored; put the newer one back, or declare the loss: `sekisho ledger generation --help`"
    )]
    Unkept {
        /// Whose.
        client: event::ClientId,
        /// Entries whose receipts it holds.
        acknowledged: u64,
        /// Entries that there are.
        known: u64,
    },
    /// A setting is out of its bounds.
    #[error("ledger: {0}")]
    Setting(String),
}

impl LedgerError {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        if is_full(&source) {
            return Self::NoSpace { what };
        }
        Self::Io { what, source }
    }
}

/// Whether the disk or a quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
