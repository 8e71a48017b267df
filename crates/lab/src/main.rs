//! Laboratories: real kernels and devices around our programs. `cargo xtask lab post` starts this
//! program; a crate of its own, so that building it stays small.
//!
//! `post`: Debian's own kernel in QEMU, devices plugged while it runs, the terminal agent inside
//! (docs/lab.md).
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command's output

mod archive;
mod gate;
mod kernel;
mod listener;
mod machine;
mod media;
mod outcome;
mod parts;
mod post;
mod program;
mod qmp;
mod sabotage;
mod system;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Laboratories around Sekisho's programs.
#[derive(Parser)]
#[command(name = "cargo xtask lab")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The terminal agent on Debian's kernel in QEMU, with devices that come and go
    #[command(after_help = "\
Examples:
  cargo xtask lab post
  cargo xtask lab post --only devices --json checks.json
  cargo xtask lab post --sabotage allow-all     # has to end with exit status 1")]
    Post(post::Options),
}

fn main() -> ExitCode {
    let Command::Post(options) = Arguments::parse().command;
    match post::run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
