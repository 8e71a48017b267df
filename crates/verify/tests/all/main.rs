//! Tests of the verifier over logs that an independent producer makes.

mod mutations;
mod producer;
