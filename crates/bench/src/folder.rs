//! The gate's folder, made by the commands that an administrator would type.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use postgres_embedded::{Password, Roles, UpstreamRole};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::stage::{DATABASE, OPERATOR};

/// Budgets that never end: they are charged all the same.
const NUMBERS: &str = r#"entries_max = 100000000
free_text_bytes_per_subject = 2000
[client]
subjects = LIMITS
probes = LIMITS
masked = LIMITS
[role.operator]
subjects_per_client = LIMITS
probes_per_client = LIMITS
masked_per_client = LIMITS
subjects = LIMITS
probes = LIMITS
masked = LIMITS
statement_probes_max = 1000000
"#;
const UNLIMITED: &str =
    r#"{ hour = "unlimited", day = "unlimited", month = "unlimited", all = "unlimited" }"#;

/// The folder and the program that works on it.
pub(super) struct GateFolder {
    program: PathBuf,
    dir: PathBuf,
}

impl GateFolder {
    pub(super) fn new(program: &Path, dir: PathBuf) -> Self {
        Self {
            program: program.to_owned(),
            dir,
        }
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes it: configuration, one client, one operator, budgets. Gives the operator's password.
    pub(super) async fn make(&self, port: u16, upstream: u16, roles: &Roles) -> Result<Password> {
        let dir = self.dir.display().to_string();
        let init = ["init", &dir, "--external", "--no-passphrase", "--json"];
        self.run(&init, "").await?;
        self.configure(port, upstream, roles)?;
        self.ask(&["client", "add", "bench", "--name", "Benchmark"])
            .await?;
        let add = ["actor", "add", OPERATOR, "--role", "operator"];
        self.put_in_force(&[&add[..], &["--clients", "bench"]].concat())
            .await?;
        let code = self.ask(&["actor", "code", OPERATOR]).await?;
        let code = code["code"]
            .as_str()
            .context("no one-time code")?
            .to_owned();
        let password = Password::random()?;
        let enrol = [
            "actor", "enrol", OPERATOR, "--code", &code, "--json", "--dir", &dir,
        ];
        self.run(&enrol, &format!("{}\n", password.expose()))
            .await?;
        std::fs::write(
            self.dir.join("policy/numbers.toml"),
            NUMBERS.replace("LIMITS", UNLIMITED),
        )?;
        self.put_in_force(&["numbers", "propose"]).await?;
        Ok(password)
    }

    /// TCP on loopback without TLS on both sides, as PgBouncer has it here.
    fn configure(&self, port: u16, upstream: u16, roles: &Roles) -> Result<()> {
        let users = [
            ("owner", UpstreamRole::Owner),
            ("catalogue", UpstreamRole::Catalogue),
            ("operator", UpstreamRole::Operator),
        ];
        let mut text = format!(
            "centre = \"Benchmark\"\n[listen]\ntcp = [\"127.0.0.1:{port}\"]\ntls = false\n\
             [postgresql]\nembedded = false\nhost = \"127.0.0.1\"\nport = {upstream}\n\
             [postgresql.users]\n"
        );
        let mut passwords = String::new();
        for (name, role) in users {
            let password = roles.password(role).context("a role has no password")?;
            text.push_str(&format!("{name} = \"{role}\"\n"));
            passwords.push_str(&format!("{role} = \"{}\"\n", password.expose()));
        }
        std::fs::write(self.dir.join("sekisho.toml"), text)?;
        super::stage::write_private(&self.dir.join("secrets/upstream.toml"), &passwords)
    }

    /// Seals the columns of the empty table.
    pub(super) async fn seal(&self, table: &str) -> Result<()> {
        let mut arguments = vec!["seal", "--database", DATABASE, "--table", table];
        arguments.extend(["--client-column", "client_id"]);
        for column in ["name=name", "kana=kana", "phone=phone:exact"] {
            arguments.extend(["--column", column]);
        }
        self.put_in_force(&arguments).await
    }

    /// A command that proposes a change, and both approvers' signatures.
    async fn put_in_force(&self, arguments: &[&str]) -> Result<()> {
        let proposed = self.ask(arguments).await?;
        let change = proposed["change"]
            .as_u64()
            .context("no change")?
            .to_string();
        let mut last = proposed;
        for approver in ["approver-1", "approver-2"] {
            if last["in_force"] == Value::Bool(true) {
                break;
            }
            last = self
                .ask(&["approve", &change, "--as", approver, "--yes"])
                .await?;
        }
        ensure!(
            last["in_force"] == Value::Bool(true),
            "sekisho {}: not in force: {last}",
            arguments.join(" ")
        );
        Ok(())
    }

    /// A command on the folder, and what it prints last.
    async fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let dir = self.dir.display().to_string();
        let said = self
            .run(&[arguments, &["--json", "--dir", &dir]].concat(), "")
            .await?;
        let last = said.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("sekisho {}", arguments.join(" ")))
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads nothing may have gone already.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        let what = arguments.get(..2).unwrap_or(arguments).join(" ");
        ensure!(
            output.status.success(),
            "sekisho {what}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The program, without what the environment may say to it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_remove("SEKISHO_DIR")
            .env_remove("SEKISHO_PASSPHRASE")
            .kill_on_drop(true);
        command
    }
}
