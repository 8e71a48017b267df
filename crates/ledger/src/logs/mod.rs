//! The logs that leave the system: a pure function of the write-ahead log's frames, in the C2SP
//! tlog-tiles layout (docs/format/logs.md).
//!
//! [`sequence`] folds frames into trees and says what to write; [`follow`] reads frames as they
//! become durable; [`publish`] writes, syncs, signs, in that order; [`slots`] proves to a client
//! what the root log says of it.
//!
//! Invariants: derived again, every file has the same bytes; a checkpoint is written only after the
//! tiles below it were synced; the size of a published checkpoint never goes back: a write-ahead
//! log that ends before one is refused.

pub(crate) mod cosigned;
pub mod follow;
pub mod keys;
pub mod mirror;
pub mod places;
pub mod proof;
#[cfg(test)]
mod pruning_tests;
pub mod publish;
pub mod receipts;
mod saved;
pub mod sequence;
pub mod serve;
pub mod slots;
pub mod stamping;
pub mod store;
#[cfg(test)]
pub(crate) mod tests;
pub mod witness;

pub use follow::Follower;
pub use keys::{KeyList, ListedKey, LogKeys};
pub use mirror::{Copied, Mirror, Selection};
pub use places::{Generation, Tree};
pub use publish::{Published, Publisher};
pub use receipts::{ReceiptSetup, Receipts, Receiver, SpanKey};
pub use serve::{Logs, Progress, Setup};
pub use slots::{SaltKey, SlotProver};
pub use stamping::Authority;
pub use store::{DiskStore, Store};
pub use witness::Witnesses;
