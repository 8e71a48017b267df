//! Normalisation, fingerprints and encrypted lists: what a client officer's keys open.
//!
//! - [`canonical`]: the one form of a value of an exact class, or a refusal; [`display`] formats it
//!   again when it is unsealed.
//! - [`normalise`]: the light form that fingerprints are made of.
//! - [`FingerprintKey`]: 64-bit fingerprints, with which budgets count and tracing compares.
//! - [`ListKey`], [`seal_list`], [`open_list`]: lists that travel beside the log;
//!   [`encode_list`], [`decode_list`]: what is in them; [`open_month_key`]: their wrapped keys.
//!
//! Pure: no I/O, no clock. Invariants: canonical and normalised forms are fixed points of their
//! functions; no key or value shows in `Debug` or in an error. Never here: anything that opens a
//! cell. Formats: docs/format/fingerprint.md.

mod area;
mod canonical;
mod content;
mod date;
mod key;
mod list;
mod month_key;
mod normalise;
mod phone;
mod variants;

pub use canonical::{NotCanonical, VALUE_BYTES_MAX, canonical, display};
pub use content::{
    LIST_FIXED_BYTES, ListContent, ListEntry, PURPOSE_BYTES_MAX, SALT_BYTES, commitment, day,
    decode_list, encode_list, month, purpose_commitment,
};
pub use key::FingerprintKey;
pub use list::{LIST_OVERHEAD_BYTES, ListError, ListKey, open_list, seal_list};
pub use month_key::{open_month_key, wrap_month_key};
pub use normalise::{NORMALISER_VERSION, normalise};
pub use phone::{is_hyphen, is_invisible};

/// Version of the canonical forms. Part of the meaning of every exact cell: a new version means
/// sealing exact columns anew.
pub const CANONICAL_VERSION: u8 = 1;
