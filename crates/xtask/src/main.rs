//! The project's own commands: `cargo xtask ci` is everything CI runs, `cargo xtask bench` measures.
//!
//! Each step of CI prints what it is and how long it took; all steps run even after one failed, and
//! the last line is the count of tests.

mod bench;
mod ci;
mod rules;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for working on Sekisho.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything CI runs: formatting, lints, rules of the workspace, tests, drivers
    Ci {
        /// Run only the steps of these names
        #[arg(long, value_name = "STEP")]
        only: Vec<String>,
    },
    /// Measures speed beside what one would use otherwise; exit status 1 if a target is missed
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Ci { only } => ci::run(&only),
        Command::Bench(what) => bench::run(what),
    }
}
