//! Tests of the crate as its users see it: vectors of the specifications, brute force, mutations,
//! two independent crates as judges, hostile bytes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // helpers of tests are not tests to clippy

mod common;
mod hostile;
mod merkle;
mod notes;
mod oracle;
mod page;
mod policy;
mod proof;
mod speed;
mod tiles;
mod witness;
