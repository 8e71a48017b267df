//! From statement text to a plan: which values have to be sealed, which are probes, and what is
//! impossible on sealed columns.
//!
//! [`Catalogue::mentions`] is the scan that every statement passes; [`plan`] parses the few that
//! may name something sealed; [`Statement::render`] writes a planned statement out again with
//! cells in place of values.
//!
//! Pure: no I/O, no clock, no keys. What is not understood is a [`Refusal`], never a pass.
//!
//! Never here: sealing itself, policy, budgets. A refusal's text never holds a value of the
//! statement, only names of pinned relations and columns.
//!
//! The parser is `squawk-syntax` (PostgreSQL's grammar, lossless). Its recursion is bounded by a
//! check of the tokens' nesting before it runs (see `lex`).

// A refusal ends its statement: it is rare, and read once.
#![allow(clippy::result_large_err)]

mod catalogue;
mod lex;
mod plan;
mod planner;
mod refusal;
mod render;
mod tree;
mod types;

pub use catalogue::{Catalogue, Relation, View, ViewColumn};
pub use plan::plan;
pub use refusal::Refusal;
pub use types::{
    ClientOf, CopyClient, CopyFormat, CopyIn, CopyOptions, CopyOut, Kind, NoNames, ParameterForm,
    ParameterUse, RelationRef, Rendered, Script, SessionNames, Settings, Site, Statement, Use,
    Value,
};

/// Most values that one statement may bring for sealed columns, literals and list elements
/// together, in values.
pub const VALUES_MAX: usize = 65_535;
/// Most places in one script that have to become cells, in places.
pub const SITES_MAX: usize = 100_000;
/// Deepest nesting of parentheses, brackets and CASE, and longest chain of operators without one
/// of them, in tokens.
pub const DEPTH_MAX: usize = 500;
/// More probed values than this have to be durable before the statement goes out, in values.
pub const PROBES_RIDING_MAX: usize = 16;

#[cfg(test)]
mod tests;
