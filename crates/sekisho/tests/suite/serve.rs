//! `sekisho serve` on a PostgreSQL of its own, when that goes wrong: what is said, and that the
//! command ends instead of serving nobody.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before it counts as hanging.
const DEADLINE: Duration = Duration::from_secs(60);

/// A data folder where PostgreSQL's user can pass to it; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = crate::program::unused_path(name);
        let made = Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .args(["init", "--no-passphrase"])
            .arg(&dir)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let path = dir.join("sekisho.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("127.0.0.1:6432", "127.0.0.1:0")).unwrap();
        Self(dir)
    }

    fn data(&self) -> PathBuf {
        postgres_embedded::folder_for(&self.0).join("data")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for folder in [postgres_embedded::folder_for(&self.0), self.0.clone()] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// A running `sekisho serve`, and what it says, line by line.
struct Serve {
    child: Child,
    lines: Receiver<String>,
}

impl Serve {
    fn start(folder: &Path, postgresql: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command.args(["serve", "--dir"]).arg(folder);
        if let Some(path) = postgresql {
            command.env(postgres_embedded::VARIABLE, path);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits until it says something.
    fn says(&self, what: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("it never said `{what}`: {error}"));
            if line.contains(what) {
                return;
            }
        }
    }

    /// It ends by itself, in failure.
    fn fails(mut self) {
        let end = Instant::now() + DEADLINE;
        let left = || end.saturating_duration_since(Instant::now());
        // Its lines end when it does.
        while self.lines.recv_timeout(left()).is_ok() {}
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(1));
                return;
            }
            assert!(Instant::now() < end, "it goes on");
            std::thread::yield_now();
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_postgresql_that_ends_ends_the_gate_and_a_lost_password_is_named() {
    let folder = Folder::new("ends");
    let serve = Serve::start(&folder.0, None);
    serve.says("listening at");
    let text = std::fs::read_to_string(folder.data().join("postmaster.pid")).unwrap();
    let pid = text.lines().next().unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    serve.says("the embedded PostgreSQL ended by itself");
    serve.fails();

    // It can be started again, and stops in order.
    let mut serve = Serve::start(&folder.0, None);
    serve.says("listening at");
    let pid = Pid::from_raw(serve.child.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    serve.says("stopped");
    assert!(serve.child.wait().unwrap().success());

    // No new password is made for a database that has another.
    let secret = folder.0.join("secrets/postgres");
    std::fs::remove_file(&secret).unwrap();
    let serve = Serve::start(&folder.0, None);
    serve.says("secrets/postgres: is missing");
    serve.fails();
    assert!(!secret.exists());
}

#[test]
fn programs_named_in_the_environment_are_taken_or_refused() {
    let folder = Folder::new("variable");
    let serve = Serve::start(&folder.0, Some("/nonexistent"));
    serve.says("/nonexistent (named in SEKISHO_POSTGRESQL) holds no usable PostgreSQL");
    serve.fails();
}
