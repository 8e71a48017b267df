//! `sekisho-verify`: what a client, an auditor or a witness runs. See docs/verify.md.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people prints"
)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
