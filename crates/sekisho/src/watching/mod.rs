//! Detection over the ledger and over imported records.

pub mod adapt;
