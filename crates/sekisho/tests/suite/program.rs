//! The program itself, run as a person would.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A path for a folder that nobody else has. Not below a folder of one user: PostgreSQL's has to pass.
pub(crate) fn unused_path(name: &str) -> PathBuf {
    static USED: AtomicU32 = AtomicU32::new(0);
    let nth = USED.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sekisho-{name}-{}-{nth}", std::process::id()))
}

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
