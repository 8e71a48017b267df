//! Tests of the crate as its users see it: vectors of the specifications, brute force, mutations,
//! two independent crates as judges, hostile bytes.

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
