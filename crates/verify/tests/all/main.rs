//! Tests of the verifier over logs that an independent producer makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod flips;
mod mutations;
mod papers;
mod producer;
mod promises;
mod ways;
mod web;
mod witness;
