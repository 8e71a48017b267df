//! Tests of the verifier over logs that an independent producer makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

// Each crate uses another part of the authority.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../stamp/tests/authority/mod.rs"]
mod authority;

mod answers;
mod evidence;
mod flips;
mod mutations;
mod papers;
mod producer;
mod promises;
mod pruned;
mod stamps;
mod ways;
mod web;
mod witness;
