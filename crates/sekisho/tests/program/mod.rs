//! The program itself, run as a person would.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// A command with what it reads from standard input, to its end.
pub(crate) fn sekisho(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .args(arguments)
        .env_remove("SEKISHO_DIR")
        .env_remove("SEKISHO_PASSPHRASE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that reads nothing may have gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}
