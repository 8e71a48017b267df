//! Everything that needs the real program. One binary: each links all of it, which costs more time and
//! disk than the tests.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout
)]

// What the tests share.
#[allow(dead_code, unreachable_pub)] // the stamp crate's tests use the rest
#[path = "../../../stamp/tests/authority/mod.rs"]
mod authority;
mod centre;
mod driver;
mod evidence;
mod program;
mod receiver;
mod stage;
mod verifier;

mod answers;
mod attacks;
mod case;
mod cases;
mod cli;
mod copies;
mod counters;
mod cuts;
mod faults;
mod gate;
mod kill;
mod ledger;
mod notices;
mod receipts;
mod responses;
mod serve;
mod stamps;
mod terminals;
mod watch;
mod windows;
