//! The real gate, on the host: the guest's agent reports to it, and what a session through the
//! terminal shows is looked at from outside the guest.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::tools;

/// Whose login the terminal's user has, and what he may see.
const LOGIN: &str = "tanaka";
const DATABASE: &str = "callcentre";
const NAMES: &str = "SELECT name FROM customers WHERE client_id = 1 ORDER BY id LIMIT 40";
const NAME: &str = "SELECT name FROM customers WHERE client_id = 1 ORDER BY id LIMIT 1";
/// Devices that work on the terminal, and how often it is heard.
const POLICY: &str = "version = 1\n[devices]\nhub = \"allow\"\npointer = \"allow\"\nkeyboard = \"confirm\"\n[storage]\ncompany = \"broker\"\nkeys = [\"KEY\"]\n[terminal]\nguard = \"required\"\nheartbeat_s = 2\n";
/// The client whose data may be on the company medium.
const CLIENT: &str = "c01";
/// Nothing in clear but through a healthy terminal.
const RULE: &str =
    "\nforbid (principal, action == Action::\"see_clear\", resource) unless { context.healthy };\n";

/// Anything comes true within this, also under emulation on a busy machine.
const SOON: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);
/// A session that hangs is ended.
const SESSION_S_MAX: &str = "600";

/// A gate with a database of made-up customers; it ends with this value.
pub(crate) struct Gate {
    program: PathBuf,
    folder: PathBuf,
    child: Child,
    port: u16,
    /// Where it listens for terminals, and its pin.
    terminals: (u16, String),
    /// The host's port that leads to the terminal's tunnel.
    pub(crate) tunnel: u16,
    /// What is to be protected.
    names: BTreeSet<String>,
    /// Public half of the key that signs company media.
    key: String,
    session: Option<Session>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        // SIGTERM: it stops its PostgreSQL.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Gate {
    /// Starts one from the program, and remembers what it shows while no terminal is asked for.
    /// The agent's program makes the key that signs company media.
    pub(crate) fn start(guest: &str, program: &Path, agent: &Path) -> Result<Self> {
        // Not in the target folder: PostgreSQL's user has to pass.
        let folder = format!("sekisho-lab-{guest}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let mut child = Command::new(program)
            .args(["demo", "--stage-only", "--port", "0"])
            .args(["--customers-per-client", "100", "--dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the gate")?;
        let printed = child.stdout.take().context("no output")?;
        let mut gate = Self {
            program: program.to_owned(),
            folder,
            child,
            port: 0,
            terminals: (0, String::new()),
            tunnel: free_port()?,
            names: BTreeSet::new(),
            key: String::new(),
            session: None,
        };
        let mut lines = BufReader::new(printed).lines();
        let up = lines.by_ref().map_while(Result::ok);
        ensure!(
            up.into_iter().any(|line| line.contains("stays up")),
            "the gate did not come up"
        );
        // Read on, so that it never blocks.
        std::thread::spawn(move || lines.for_each(drop));
        let text = std::fs::read_to_string(gate.folder.join("sekisho.toml"))?;
        let port = text.split("127.0.0.1:").nth(1);
        let port = port.and_then(|rest| rest.split('"').next());
        gate.port = port.context("the gate has no port")?.parse()?;
        let told = gate.command(&["terminal", "pin"])?;
        let place = told["gate"].as_str().and_then(|it| it.rsplit_once(':'));
        let (_, port) = place.context("the gate listens for no terminals")?;
        let pin = told["pin"].as_str().context("the gate has no pin")?;
        gate.terminals = (port.parse()?, pin.to_owned());
        let mut make = Command::new(agent);
        make.args(["token", "key"])
            .arg(gate.folder.join("token.key"));
        let printed = String::from_utf8(tools::output(&mut make)?)?;
        let key = printed.split('"').nth(1).context("no key was made")?;
        key.clone_into(&mut gate.key);
        let mut here = gate.connect(gate.port)?;
        gate.names = here.ask(NAMES)?.into_iter().collect();
        ensure!(gate.names.len() > 30, "the gate shows nothing");
        Ok(gate)
    }

    /// What the guest has to know, as a shell reads it. QEMU's host is 10.0.2.2.
    pub(crate) fn settings(&self) -> String {
        let (port, pin) = &self.terminals;
        format!("GATE=10.0.2.2:{port}\nPIN={pin}\nCLIENT={CLIENT}\n")
    }

    /// The key that signs company media.
    pub(crate) fn token_key(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.folder.join("token.key"))?)
    }

    /// Does what the guest asks for; whether it came out as it should, and what was seen.
    pub(crate) fn asked(&mut self, what: &str) -> Result<(bool, String)> {
        match what {
            "approve" => {
                self.approve()?;
                Ok((true, String::new()))
            }
            "clear" => self.comes(|it| it.clear(it.tunnel)),
            "masked" => self.comes(|it| it.masked(it.tunnel)),
            "masked-elsewhere" => self.comes(|it| it.masked(it.port)),
            "no-session" => self.comes(|it| Ok(it.connect(it.tunnel)?.ask(NAME).is_err())),
            "unhealthy" => self.comes(|it| {
                let told = it.command(&["terminal", "list"])?;
                Ok(told["healthy"] == false)
            }),
            "cursor" => self.cursor(),
            "stops" => self.stops(),
            "carry" => self.carry(),
            "on-record" => self.comes(Self::copies_are_on_record),
            what if what.starts_with("confirm ") => {
                let code = what.split(' ').nth(1).unwrap_or_default();
                self.comes(|it| {
                    let mut session = it.connect(it.tunnel)?;
                    session.ask(&format!("SET sekisho.copy = '{code}'"))?;
                    // What PostgreSQL has of it is what the gate made of it.
                    Ok(session.ask("SHOW sekisho.copy")? == ["confirmed"])
                })
            }
            what => bail!("the guest asks for `{what}`"),
        }
    }

    /// Whether it comes true in time; an error on the way counts as not yet.
    fn comes(&self, is_so: impl Fn(&Self) -> Result<bool>) -> Result<(bool, String)> {
        let begun = Instant::now();
        loop {
            let seen = is_so(self);
            let took = begun.elapsed();
            match seen {
                Ok(true) => return Ok((true, format!("{} ms", took.as_millis()))),
                Ok(false) if took > SOON => return Ok((false, String::new())),
                Err(error) if took > SOON => return Ok((false, format!("{error:#}"))),
                _ => std::thread::sleep(POLL),
            }
        }
    }

    fn clear(&self, port: u16) -> Result<bool> {
        let shown = self.connect(port)?.ask(NAME)?;
        Ok(shown.len() == 1 && self.names.contains(&shown[0]))
    }

    fn masked(&self, port: u16) -> Result<bool> {
        let shown = self.connect(port)?.ask(NAME)?;
        Ok(shown.len() == 1 && !self.names.contains(&shown[0]))
    }

    /// A cursor through the terminal, of which two rows are read.
    fn cursor(&mut self) -> Result<(bool, String)> {
        let mut session = self.connect(self.tunnel)?;
        session.ask("BEGIN")?;
        session.ask(&format!("DECLARE c NO SCROLL CURSOR FOR {NAMES}"))?;
        let shown = session.ask("FETCH 2 FROM c")?;
        let clear = shown.iter().filter(|it| self.names.contains(*it)).count();
        self.session = Some(session);
        Ok((clear == 2, format!("{clear} names")))
    }

    /// Reads on with that cursor until it shows nothing in clear: it has to, before its rows end.
    fn stops(&mut self) -> Result<(bool, String)> {
        let session = self.session.take();
        let mut session = session.context("there is no cursor")?;
        for row in 0..38 {
            let shown = session.ask("FETCH 1 FROM c").unwrap_or_default();
            if !shown.iter().any(|it| self.names.contains(it)) {
                let after = format!("{row} rows later");
                // And it stays so.
                let rest = session.ask("FETCH 2 FROM c").unwrap_or_default();
                let none = !rest.iter().any(|it| self.names.contains(it));
                return Ok((none, after));
            }
            std::thread::sleep(POLL);
        }
        Ok((false, "it was read to its end".to_owned()))
    }

    /// The terminal's policy and its approval by two people, once it asks; then the gate's own policy
    /// needs a healthy terminal.
    fn approve(&self) -> Result<()> {
        let file = self.folder.join("terminal-policy.toml");
        std::fs::write(&file, POLICY.replace("KEY", &self.key))?;
        let asked = self.command(&["terminal", "policy", "set", &file.display().to_string()])?;
        self.sign(&asked)?;
        let (asks, why) = self.comes(|it| {
            let told = it.command(&["terminal", "list"])?;
            Ok(told["standing"] == "asks")
        })?;
        ensure!(asks, "the terminal does not ask the gate: {why}");
        let told = self.command(&["terminal", "list"])?;
        let name = told["name"].as_str().context("it has no name")?;
        let asked = self.command(&["terminal", "approve", name])?;
        self.sign(&asked)?;
        let policy = self.folder.join("policy/policy.cedar");
        let mut text = std::fs::read_to_string(&policy)?;
        text.push_str(RULE);
        std::fs::write(&policy, text)?;
        let asked = self.command(&["policy", "propose"])?;
        ensure!(asked["in_force"] == true, "the rule is not in force");
        Ok(())
    }

    /// Two people grant that three people may be carried; gives the grant's number.
    fn carry(&self) -> Result<(bool, String)> {
        let asked = self.command(&[
            "grant", "request", "--actor", LOGIN, "--client", CLIENT, "--what", "carry",
            "--amount", "3", "--hours", "1", "--ticket", "T-1",
        ])?;
        self.sign(&asked)?;
        let number = asked["grant"].as_u64().or_else(|| asked["number"].as_u64());
        Ok((true, number.context("the grant has no number")?.to_string()))
    }

    /// One file was written, one had too many people, and of one the medium was gone.
    fn copies_are_on_record(&self) -> Result<bool> {
        let mut command = Command::new(&self.program);
        command.args(["log", "--client", CLIENT, "--json", "--dir"]);
        let printed = String::from_utf8(tools::output(command.arg(&self.folder))?)?;
        let mut copies = Vec::new();
        for line in printed.lines().filter(|it| it.contains("terminal-copy")) {
            let it: Value = serde_json::from_str(line)?;
            copies.push((it["subjects"].clone(), it["refused"].clone()));
        }
        let expected = [(2, Value::Null), (2, "grant".into()), (1, Value::Null)];
        Ok(copies == expected.map(|(subjects, refused)| (subjects.into(), refused)))
    }

    fn sign(&self, asked: &Value) -> Result<()> {
        let change = asked["change"].as_u64().context("no change")?.to_string();
        for approver in ["approver-1", "approver-2"] {
            self.command(&["approve", &change, "--as", approver, "--yes"])?;
        }
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .args(["--json", "--dir"])
            .arg(&self.folder);
        let printed = tools::output(&mut command)?;
        Ok(serde_json::from_slice(&printed)?)
    }

    fn connect(&self, port: u16) -> Result<Session> {
        let password = self.folder.join(format!("people/{LOGIN}.password"));
        let password = std::fs::read_to_string(password)?;
        let psql = tools::find("psql").context("psql is gone")?;
        let mut child = Command::new("timeout")
            .arg(SESSION_S_MAX)
            .arg(psql)
            .args([
                "-X",
                "-q",
                "-At",
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
            ])
            .args(["-U", LOGIN, "-d", DATABASE])
            .env("PGPASSWORD", password.trim_end())
            .env("PGCONNECT_TIMEOUT", "20")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start psql")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Session {
            stdin: stdin.context("no input")?,
            lines: BufReader::new(stdout.context("no output")?),
            child,
        })
    }
}

/// psql, asked one statement after the other.
struct Session {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Session {
    /// The rows of a statement, none if it fails; an error if the session is gone.
    fn ask(&mut self, sql: &str) -> Result<Vec<String>> {
        const END: &str = "@end";
        writeln!(self.stdin, "{sql};\n\\echo {END}")?;
        self.stdin.flush()?;
        let mut rows = Vec::new();
        loop {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "the session is gone");
            match line.trim_end() {
                END => return Ok(rows),
                row => rows.push(row.to_owned()),
            }
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
