//! `cargo xtask lab` and `cargo xtask bench`: programs of their own, so that this one is built in
//! seconds.
#![allow(clippy::print_stdout)] // a command's output

use std::path::Path;
use std::process::{Command, ExitCode};

/// Builds and starts the program of a crate with these arguments; its exit status is ours.
pub(crate) fn run(name: &str, arguments: &[String]) -> ExitCode {
    let status = Command::new("cargo")
        .args(["run", "--quiet", "--package", name, "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
        .arg("--")
        .args(arguments)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
