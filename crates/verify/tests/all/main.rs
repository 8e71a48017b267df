//! Tests of the verifier over logs that an independent producer makes.

mod answers;
mod flips;
mod mutations;
mod producer;
mod web;
mod witness;
