//! The project's own commands: `cargo xtask ci` is everything CI runs, `cargo xtask bench` measures,
//! `cargo xtask lab` runs our programs on real kernels with real devices.
//!
//! Each step of CI prints what it is and how long it took; all steps run even after one failed, and
//! the last line is the count of tests.

mod ci;
mod deb;
mod fuzz;
mod package;
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
    /// Fuzzes every parser of outside bytes, one target after the other
    Fuzz {
        /// How long each target runs
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Run only the targets of these names
        #[arg(long, value_name = "TARGET")]
        only: Vec<String>,
    },
    /// Measures speed beside what one would use otherwise; `cargo xtask bench --help` lists what
    #[command(disable_help_flag = true)]
    Bench {
        /// What the benchmark gets
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENT"
        )]
        arguments: Vec<String>,
    },
    /// The Debian package of the terminal agent
    Deb {
        /// Installs, upgrades, removes and purges it in a folder, by dpkg itself
        #[arg(long)]
        check: bool,
    },
    /// Real kernels and devices around our programs; `cargo xtask lab --help` lists them
    #[command(disable_help_flag = true)]
    Lab {
        /// What the laboratory gets
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENT"
        )]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Ci { only } => ci::run(&only),
        Command::Fuzz { seconds, only } => fuzz::run(seconds, &only),
        Command::Bench { arguments } => package::run("bench", &arguments),
        Command::Deb { check } => deb::run(check),
        Command::Lab { arguments } => package::run("lab", &arguments),
    }
}
