//! `sekisho-verify` as a client runs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::centre::Centre;
use crate::stage::Stage;

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

    /// The same of the demo's stage, with its copy.
    pub(crate) fn of_stage(stage: &Stage, folder: &Path, code: &'static str) -> Self {
        let place = |what: &str| folder.join(what).display().to_string();
        let client = Self {
            code,
            key: place(&format!("{code}.sekisho")),
            copy: place(&format!("{code}-log")),
        };
        for ledger in [
            ["key-file", code, "--out", &client.key],
            ["export", code, "--to", &client.copy],
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
            command.arg("ledger").args(ledger).arg("--dir");
            let output = command.arg(&stage.dir).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{ledger:?}: {error}");
        }
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
        answer(&child.wait_with_output().unwrap())
    }

    /// Checks the copy.
    pub(crate) fn check(&self) -> (i32, Value) {
        self.verify("check", &[], "")
    }

    /// It holds.
    pub(crate) fn holds(&self) -> Value {
        let (exit, said) = self.check();
        assert_eq!(exit, 0, "{said:#}");
        said
    }

    /// It does not.
    pub(crate) fn is_wrong(&self, what: &str) -> Value {
        let (exit, said) = self.check();
        assert_eq!(exit, 1, "{what}: {said:#}");
        said
    }

    /// A report, which has to be given.
    pub(crate) fn report(&self, more: &[&str], input: &str) -> Value {
        let (exit, said) = self.verify("report", more, input);
        assert_eq!(exit, 0, "{said:#}");
        said
    }
}

/// The exit status and JSON of any command.
pub(crate) fn verify(arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(program());
    command.args(arguments).args(["--json", "--lang", "en"]);
    answer(&command.output().unwrap())
}

fn answer(output: &Output) -> (i32, Value) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let first = text.lines().next().unwrap_or("null");
    let value = serde_json::from_str(&text).or_else(|_| serde_json::from_str(first));
    let value = value.unwrap_or(Value::String(text + &errors));
    (output.status.code().unwrap(), value)
}

/// The workspace builds it beside `sekisho`.
pub(crate) fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_sekisho")).with_file_name("sekisho-verify");
    assert!(
        program.is_file(),
        "build the whole workspace: {program:?} is missing"
    );
    program
}
