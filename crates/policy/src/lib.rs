//! Policy: who may see, search, write and administer, in Cedar, and what a mask shows.
//!
//! [`Policy`] is what two approvers put in force (docs/policy.md). A session asks it once when its
//! actor, scope or circumstances change, through a [`Judgement`], and looks rows up in the table
//! that comes out.
//!
//! Invariants:
//! - What is not permitted is sealed. An error while a rule is evaluated is a refusal of the whole
//!   request, not of the rule alone.
//! - Maintainers, administrators and approvers see, search and write nothing, and nobody touches a
//!   client that is not in his list: decided here, before Cedar is asked, whatever the text says.
//! - A policy is loaded whole or not at all.
//!
//! Never here: I/O, a clock, numbers (they are `budget`'s), keys, cells.

mod compare;
mod defaults;
mod engine;
mod error;
mod judgement;
mod mask;

pub use defaults::{default_masks, default_policy_text};
pub use engine::{Actor, Circumstances, Policy};
pub use error::PolicyError;
pub use judgement::{ClientTable, Judgement};
pub use mask::{Keep, Mask, Masks};
