//! How a ledger is run.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use crate::archive::HOT_SEGMENTS;
use crate::error::LedgerError;
use crate::state::PolicyText;
use crate::wal::{Fatal, SEGMENT_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// Whether a policy (Cedar, masks) is looser than the one in force anywhere.
pub type PolicyLooser = dyn Fn(Option<&PolicyText>, &str, &str) -> bool + Send + Sync;

/// How a ledger is run.
#[derive(Clone)]
pub struct Options {
    /// Size of new segments, in bytes: 16 KiB to 1 GiB, a multiple of 4096.
    pub segment_bytes: u32,
    /// Segments that stay in the write-ahead log's folder, the one in use included, before the
    /// oldest one is archived; at least 2.
    pub hot_segments: u32,
    /// The program's version, for the record of its start.
    pub version: String,
    /// Compares policies; by default every policy counts as looser.
    pub policy_looser: Arc<PolicyLooser>,
    /// How many subjects may be exposed in all before a quorum of witnesses has seen it; `None`:
    /// there are no witnesses.
    pub uncovered_subjects_max: Option<u64>,
    /// How long a read waits for a quorum before it is refused, ms.
    pub uncovered_wait_ms_max: u64,
    /// Told what an operator should know and nothing waits for, a line each.
    pub say: Arc<dyn Fn(&str) + Send + Sync>,
    /// Called once when a write or sync failed. By default the process ends there; when it comes
    /// back, everything is refused from then on.
    pub on_fatal: Arc<dyn Fn(&Fatal) + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            hot_segments: HOT_SEGMENTS,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_looser: Arc::new(|_, _, _| true),
            uncovered_subjects_max: None,
            uncovered_wait_ms_max: 10_000,
            say: Arc::new(|line| {
                let _ = writeln!(std::io::stderr(), "{line}");
            }),
            on_fatal: Arc::new(|fatal| {
                // Nothing can be done about a standard error that does not take it.
                let _ = writeln!(std::io::stderr(), "{fatal}");
                std::process::abort();
            }),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Options {
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        let bytes = self.segment_bytes;
        let allowed = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes);
        if allowed && bytes.is_multiple_of(4096) {
            return Ok(());
        }
        Err(LedgerError::Setting(format!(
            "segments of {bytes} bytes; allowed: {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}, a multiple of 4096"
        )))
    }
}
