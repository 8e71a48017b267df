//! PostgreSQL protocol 3.0: bytes to types and back, in both directions, for a gate that stands
//! between drivers and a server.
//!
//! Invariants: every decoder is a plain function over `&[u8]`, gives an error for anything that
//! is not well formed (trailing bytes too), and takes memory in proportion to its input at most;
//! splitting frames and walking a DataRow do not allocate. Writers append to a buffer, and leave
//! it as it was when they fail.
//!
//! Never here: I/O, clocks, randomness, policy, keys of cells. `Debug` of a message shows its
//! kind, never what it carries.
//!
//! Layouts: PostgreSQL documentation, chapter "Frontend/Backend Protocol", section "Message
//! Formats".

pub mod backend;
pub mod contain;
pub mod copy;
pub mod frame;
pub mod frontend;
pub mod scram;
pub mod startup;
mod wire;

pub use wire::{DecodeError, EncodeError, Formats, Oids, Values, ValuesIter};
