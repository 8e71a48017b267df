//! The ledger's records into detection, one after the other: live and in a replay the same.
//!
//! Invariant: what detection is told depends on the records and on the lists that are left alone. A
//! record of the ledger may be several of detection's: each has the ledger's sequence, shifted by
//! [`PARTS_BITS`], and its place among them.

use std::sync::Arc;

use anyhow::{Context, Result};
use event::record::Body;
use ledger::state::Meta;
use ledger::{Entry, ListSealer, State};
use watch::{Record, Said, Watch};

use super::adapt::{self, Adapter};
use super::own;

/// Bits of a sequence that tell the parts of one record of the ledger.
pub const PARTS_BITS: u32 = 16;

/// The ledger's sequence of a record that detection names.
pub fn ledger_sequence(of_detection: u64) -> u64 {
    of_detection >> PARTS_BITS
}

/// Detection over a ledger.
pub struct Feed {
    lists: Arc<dyn ListSealer>,
    adapter: Adapter,
    /// A buffer for an exposure's keys.
    keys: Vec<u64>,
    /// As of the last record.
    pub state: State,
    /// The fold.
    pub watch: Watch,
    /// Parts beyond what a sequence can tell; none that this program writes.
    pub left_out: u64,
}

impl Feed {
    /// Before the first record.
    pub fn new(lists: Arc<dyn ListSealer>, settings: watch::Settings) -> Self {
        Self {
            adapter: Adapter::default(),
            keys: Vec::new(),
            lists,
            state: State::default(),
            watch: Watch::new(settings),
            left_out: 0,
        }
    }

    /// Takes the next record; adds what it led to, and gives its content.
    ///
    /// # Errors
    /// If it cannot be read, or the fold does not take it.
    pub fn take(&mut self, entry: &Entry, said: &mut Vec<Said>) -> Result<Body> {
        let body = crate::reading::body(entry)?;
        let Self {
            lists,
            adapter,
            keys,
            watch,
            left_out,
            state,
        } = self;
        let mut part = 0_u64;
        let mut step = |at_ms, what: watch::What<'_>| {
            if part >> PARTS_BITS != 0 {
                *left_out += 1;
                return;
            }
            let sequence = entry.sequence << PARTS_BITS | part;
            part += 1;
            let record = Record {
                sequence,
                at_ms,
                what,
            };
            watch.step(&record, said);
        };
        if !own::give(&**lists, entry, &body, &mut step)? {
            let list = adapt::open_list(&**lists, entry, &body).map_err(anyhow::Error::msg)?;
            let record = adapter.adapt(state, entry, &body, list.as_ref(), keys);
            step(record.at_ms, record.what);
        }
        let meta = Meta {
            log: entry.log,
            sequence: entry.sequence,
            wall_ms: entry.wall_ms,
            elapsed_ms: entry.elapsed_ms,
        };
        self.state
            .apply(&meta, &body)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("record {}", entry.sequence))?;
        Ok(body)
    }
}
