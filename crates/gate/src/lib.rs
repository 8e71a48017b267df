//! The gate: a PostgreSQL checkpoint between drivers and a server that holds only ciphertext.
//!
//! The main path, in the order of DESIGN.md section 2:
//! [`listener`](Gate::serve) -> `login` -> `session` (the shell) -> `engine` (the state machine)
//! -> `way_in` (values become cells) and `way_out` (rows are judged and opened) -> the ledger's
//! `append` -> `engine::output` (released rows leave).
//!
//! Invariants: no opened value leaves but as `ledger::Released`; unknown stays sealed or is
//! refused; values for sealed columns reach PostgreSQL only as cells; only what verifies counts;
//! everything is bounded ([`Limits`]).
//!
//! Never here: how a cell is made (`seal`), what is permitted (`policy`), what is charged and
//! recorded (`ledger`), what a statement means (`sql`).

mod arrays;
mod catalogue;
mod copies;
mod copy_format;
mod engine;
mod errors;
mod limits;
mod listener;
mod login;
mod net;
mod order;
mod refusals;
mod rights;
mod rules;
mod session;
mod shape;
mod shared;
mod tally;
mod upstream;
mod way_in;
mod way_out;

pub use copies::Copies;
pub use limits::Limits;
pub use listener::{Door, Gate, Listen, Stopper};
pub use login::terminal_number;
pub use rules::Rules;
pub use shared::{Address, Parts, ServerTls, UpstreamLogin, Verifiers};
pub use tally::{Passed, Tally};
pub use upstream::{Conversation, Upstream, UpstreamError};
