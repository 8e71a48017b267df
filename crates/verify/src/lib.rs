//! Checks a client's Sekisho log with public keys and files alone.
//!
//! A client (or auditor) holds a key file: the ledger's identity key, the witnesses and how many of
//! them it takes. Everything else (folder, server, the centre that runs it) is not believed. The
//! formats are docs/format/logs.md; docs/verify.md tells a client how to use it.
//!
//! Invariants: nothing here opens a cell or links what does; what is read is bounded, whatever the
//! bytes; a problem names its place; what is remembered is written whole or not at all.

pub mod check;
pub mod entry;
pub mod http;
pub mod key;
pub mod keys;
pub mod lang;
pub mod mirror;
pub mod places;
pub mod platform;
pub mod problem;
pub mod proof;
pub mod receipt;
pub mod report;
pub mod stamps;
pub mod state;
pub mod store;
pub mod time;
pub mod witness;
