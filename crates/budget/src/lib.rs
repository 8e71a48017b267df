//! Budgets: how many distinct subjects, probes and masked values an actor may have in a window.
//!
//! [`Numbers`] is what two approvers put in force (docs/format/numbers.md). [`Budgets`] is the
//! state, a fold over what was released: [`Budgets::charge`] when it happens, [`Budgets::replay`]
//! when it is read back from the ledger; both give the same state.
//!
//! Invariants:
//! - What a window holds, per actor and client, is the greatest number of distinct fingerprints
//!   of one class (row tags being one more class) by the time of their last release. No order of
//!   rows, alias, join or id in a row lowers it (design/crypto.md "Budgets").
//! - A row is charged whole or not at all; a refused row leaves no trace.
//! - Nothing is ever refunded.
//! - Time is elapsed minutes given by the caller; a minute that goes back is taken as the latest.
//!
//! Never here: I/O, a clock, plain values. Fingerprints are keyed and 64 bits long.

mod batch;
mod frozen;
mod numbers;
mod pair;
mod report;
mod set;
mod state;

pub use batch::{Batch, Item, SetKind};
pub use frozen::{NotRestored, Remembered, Restore, SetCounts, SetId};
pub use numbers::{ClientNumbers, Limits, Numbers, NumbersError, RoleNumbers};
pub use report::{Charged, ClientEffects, Kind, Level, Refusal, Totals};
pub use state::Budgets;

/// A sliding window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Window {
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// 30 days.
    Month,
    /// Since the ledger began.
    All,
}

impl Window {
    /// From the shortest to the longest; the order of every `[u64; 4]` here and in
    /// [`event::record::Effects`].
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Month, Self::All];

    /// How it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "30 days",
            Self::All => "all time",
        }
    }

    /// Its length in minutes; `None` for all time.
    pub fn minutes(self) -> Option<u32> {
        match self {
            Self::Hour => Some(60),
            Self::Day => Some(24 * 60),
            Self::Month => Some(30 * 24 * 60),
            Self::All => None,
        }
    }
}
