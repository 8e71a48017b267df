//! The one vocabulary of Sekisho: ids, classes, outcomes, pins, changes and records.
//!
//! Every other crate speaks in these words (DESIGN.md section 1). Pure: no I/O, no clock, no
//! randomness. What is written to the ledger is a [`record::Body`], encoded as deterministic CBOR
//! ([`record::encode`]); its bytes are hashed as stored and never encoded again.
//!
//! Never here: keys, personal values in clear (they live in [`Plain`]), anything to guess them from.

pub mod calendar;
mod ids;
mod pin;
mod plain;
pub mod record;
mod words;

pub use ids::{
    ActorId, ChangeId, ClientId, Digest, Domain, Fingerprint, GrantId, LogId, Octets, SessionId,
};
pub use pin::{ClientSource, Pin, PinnedColumn, PinnedRelation, Sealing};
pub use plain::Plain;
pub use words::{
    Class, CloseReason, Mode, Outcome, Response, Role, System, TerminalEvent, UnknownCode,
};
