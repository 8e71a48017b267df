//! Cells and their keys: the only crate that opens a cell.
//!
//! - [`CellHeader::peek`]: what a cell says about itself, without keys.
//! - [`ClientKeys`]: seals, opens and fingerprints values of one client.
//! - [`Keyring`], [`Master`]: the key folder; clients' keys are loaded on demand.
//! - [`check_expression`]: the CHECK constraint that declares a column sealed.
//!
//! Pure but for the key folder ([`Keyring`], [`Master`]), whose calls block on files. Invariants: a
//! cell opens only as what its header says, for the client whose key it was; a class has at most
//! four cell lengths over both modes; nothing of a value is released before its tag verified.
//! Never here: policy, records, SQL. Formats: docs/format/cell.md and keys.md.

mod cell;
mod check;
mod client;
mod entropy;
mod keyfile;
mod keyring;
mod master;
#[cfg(test)]
mod tests;

pub use cell::{
    CELL_PREFIX, CELL_VERSION, CellHeader, cell_lengths, looks_sealed, value_bytes_max,
};
pub use check::check_expression;
pub use client::{ClientKeys, OfficerKeys, OpenError, Opened, SealError};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use fingerprint::{ListKey, NotCanonical};
pub use keyfile::KeyError;
pub use keyring::{CLIENTS_CACHED_MAX, Keyring, Month, lists_before};
pub use master::{MASTER_FILE, Master};
