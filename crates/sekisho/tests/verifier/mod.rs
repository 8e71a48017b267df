//! `sekisho-verify` as a client runs it.

// Each test uses another part of it.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::centre::Centre;

/// What a client has: its key file, its copy of its log.
pub(crate) struct Client {
    code: &'static str,
    pub(crate) key: String,
    pub(crate) copy: String,
}

impl Client {
    /// A new one, whose key file and copy stand in `folder`.
    pub(crate) async fn new(centre: &Centre, folder: &Path, code: &'static str) -> Self {
        let place = |what: &str| folder.join(what).display().to_string();
        let client = Self {
            code,
            key: place(&format!("{code}.sekisho")),
            copy: place(&format!("{code}-log")),
        };
        let made = ["ledger", "key-file", code, "--out", &client.key];
        centre.run(&made, "").await.unwrap();
        client
    }

    /// Brings the copy up to date.
    pub(crate) async fn export(&self, centre: &Centre) {
        let export = ["ledger", "export", self.code, "--to", &self.copy];
        centre.run(&export, "").await.unwrap();
    }

    /// A command on the copy: its exit status and JSON.
    pub(crate) fn verify(&self, command: &str, more: &[&str], input: &str) -> (i32, Value) {
        let mut child = Command::new(program())
            .args([command, "--key", &self.key, "--from", &self.copy])
            .args(more)
            .args(["--json", "--lang", "en"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing may have gone already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text + &errors));
        (output.status.code().unwrap(), value)
    }

    /// A report, which has to be given.
    pub(crate) fn report(&self, more: &[&str], input: &str) -> Value {
        let (exit, said) = self.verify("report", more, input);
        assert_eq!(exit, 0, "{said:#}");
        said
    }
}

/// The workspace builds it beside `sekisho`.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_sekisho")).with_file_name("sekisho-verify");
    assert!(
        program.is_file(),
        "build the whole workspace: {program:?} is missing"
    );
    program
}
