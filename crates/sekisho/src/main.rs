//! `sekisho`: the checkpoint between call-centre work and the personal data it needs.

// In a binary nothing is public: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]
// It talks to a person at a terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod admin;
mod cli;
mod commands;
mod config;
mod demo;
mod doctor;
mod folder;
mod init;
mod keys;
mod logs;
mod officer;
mod people;
mod reading;
mod receipts;
mod retention;
mod sealing;
mod serve;
mod service;
mod terminals;
mod watching;

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("sekisho: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli::run()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sekisho: {error:#}");
            ExitCode::FAILURE
        }
    }
}
