//! What `cargo xtask bench ledger` runs: each part measures and prints `name=value` pairs, a line a
//! round. By hand:
//!
//! ```text
//! cargo run --release -p ledger --example ledger_bench -- rates FOLDER ROUNDS APPENDS
//! ... -- shown FOLDER SECONDS SEKISHO-VERIFY
//! ... -- fill FOLDER RECORDS, then tail FOLDER, then start FOLDER
//! ```
#![expect(clippy::print_stdout, reason = "it prints its results")]

mod common;
mod rates;
mod shown;
mod years;

use std::path::Path;

use common::Outcome;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["rates", folder, rounds, appends] => {
            rates::measure(Path::new(folder), rounds.parse()?, appends.parse()?)
        }
        ["shown", folder, seconds, verify] => {
            shown::measure(Path::new(folder), seconds.parse()?, Path::new(verify))
        }
        ["fill", folder, records] => years::fill(Path::new(folder), records.parse()?),
        ["tail", folder] => years::tail(Path::new(folder)),
        ["start", folder] => years::start(Path::new(folder)),
        _ => Err("usage: ledger_bench rates|shown|fill|tail|start FOLDER ...".into()),
    }
}
