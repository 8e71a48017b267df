//! Detection over the ledger and over imported records.

pub mod adapt;
pub mod names;
pub mod replay;
pub mod show;
