//! The demo's stage as a place to test on: a process of its own, stopped when dropped.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use aho_corasick::AhoCorasick;
use demo_data::Customers;
use tokio_postgres::{Client, NoTls};

/// Seed of the demo's customers (crates/sekisho/src/demo/stage.rs).
const SEED: u64 = 20_231_017;

pub(crate) struct Stage {
    pub(crate) dir: PathBuf,
    port: u16,
    child: Child,
    values: AhoCorasick,
}

impl Stage {
    pub(crate) fn start() -> Self {
        let dir = crate::program::unused_path("stage");
        let mut child = Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .args([
                "demo",
                "--stage-only",
                "--port",
                "0",
                "--customers-per-client",
                "100",
                "--dir",
            ])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let up = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("stays up"));
        assert!(up, "the stage did not come up");
        // Read on, so that the child never blocks.
        std::thread::spawn(move || lines.for_each(drop));
        let text =
            std::fs::read_to_string(dir.join("sekisho.toml")).expect("there is a configuration");
        let port = text
            .split("127.0.0.1:")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .and_then(|port| port.parse().ok())
            .expect("it names a port");
        let mut values = vec![
            "新規 花子".to_owned(),
            "二人 目子".to_owned(),
            "罠 太郎".to_owned(),
            "0311112222".to_owned(),
        ];
        for client in 1..=59 {
            for customer in Customers::of_client(SEED, client).take(100) {
                values.push(customer.phone.expose().clone());
                values.push(customer.email.expose().clone());
                values.push(customer.name.expose().clone());
                values.push(customer.address.expose().clone());
            }
        }
        Self {
            dir,
            port,
            child,
            values: AhoCorasick::new(values).expect("the values are few"),
        }
    }

    pub(crate) fn holds_plaintext(&self, bytes: &[u8]) -> bool {
        self.values.is_match(bytes)
    }

    pub(crate) async fn connect(&self, login: &str, database: &str) -> Client {
        let password = std::fs::read_to_string(self.dir.join(format!("people/{login}.password")))
            .expect("the demo wrote the password");
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.port)
            .user(login)
            .password(password)
            .dbname(database)
            .connect(NoTls)
            .await
            .expect("the gate lets him in");
        tokio::spawn(connection);
        client
    }

    /// A session that uses a new grant for so many subjects.
    pub(crate) async fn with_grant(&self, login: &str, client: u32, amount: u32) -> Client {
        let asked = self.command(&[
            "grant",
            "request",
            "--actor",
            login,
            "--client",
            &client.to_string(),
            "--what",
            "see",
            "--amount",
            &amount.to_string(),
            "--hours",
            "1",
            "--ticket",
            "TEST",
        ]);
        let number = |name: &str| {
            asked[name]
                .as_u64()
                .unwrap_or_else(|| panic!("no {name}: {asked}"))
        };
        let change = number("change").to_string();
        for approver in ["approver-1", "approver-2"] {
            self.command(&["approve", &change, "--as", approver, "--yes"]);
        }
        let driver = self.connect(login, "callcentre").await;
        let grant = asked["grant"]
            .as_u64()
            .or_else(|| asked["number"].as_u64())
            .expect("the grant's number");
        driver
            .batch_execute(&format!("SET sekisho.grant_id TO '{grant}'"))
            .await
            .expect("the grant is in force");
        driver
    }

    /// A command of the program, with its JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .args(arguments)
            .args(["--json", "--dir"])
            .arg(&self.dir)
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed());
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
