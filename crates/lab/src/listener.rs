//! What the guest says, line by line, and what is done about it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::outcome::Outcome;
use crate::qmp::Qmp;

/// A line of the guest is shorter.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// QEMU gives a device's name and medium free within this after the guest let it go.
const LET_GO_MAX: Duration = Duration::from_secs(10);
const LET_GO_POLL: Duration = Duration::from_millis(50);

/// The host's end of the line.
pub(crate) struct Listener<'a> {
    pub(crate) qmp: Qmp,
    pub(crate) outcome: &'a mut Outcome,
    pub(crate) log: File,
    pub(crate) begun: Instant,
    /// The part that is running.
    pub(crate) part: String,
    pub(crate) keys: Keys,
    /// The gate behind this guest.
    pub(crate) gate: Option<&'a mut Gate>,
    /// Where the guest waits for what was done.
    pub(crate) answers: UnixStream,
}

/// Keys that are pressed one at a time, each when the one before arrived.
#[derive(Default)]
pub(crate) struct Keys {
    /// How long each took, in milliseconds, by the label that the guest gave.
    pub(crate) took: BTreeMap<String, Vec<f64>>,
    label: String,
    left: u32,
    pressed: Option<Instant>,
}

impl Listener<'_> {
    /// Listens until the guest is done; a guest that stops before is an error.
    pub(crate) fn listen(&mut self, mut from: impl BufRead) -> Result<()> {
        loop {
            let mut line = Vec::new();
            let read = std::io::Read::take(&mut from, LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .with_context(|| format!("the guest says nothing in part {}", self.part))?;
            if read == 0 {
                bail!("the guest ended in part {}", self.part);
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            writeln!(
                self.log,
                "{:8.3} {line}",
                self.begun.elapsed().as_secs_f64()
            )?;
            if !self.word(line)? {
                return Ok(());
            }
        }
    }

    /// Does what a line says; false when it was the last.
    fn word(&mut self, line: &str) -> Result<bool> {
        let mut words = line.split('|');
        let word = words.next().unwrap_or_default();
        let mut next = || words.next().unwrap_or_default();
        match word {
            "@part" => {
                next().clone_into(&mut self.part);
                self.outcome.print(&format!("== {}", self.part));
            }
            "@pass" => self.check(next(), true, next()),
            "@fail" => {
                let name = next();
                // A condition may hold the sign that parts words.
                let rest = line.splitn(3, '|').nth(2).unwrap_or_default();
                self.check(name, false, rest);
            }
            "@number" => {
                let (name, value, unit, bound) = (next(), next(), next(), next());
                let number = |text: &str| text.trim().parse().unwrap_or(f64::NAN);
                let name = format!("{}/{name}", self.part);
                self.outcome.below(name, number(value), unit, number(bound));
            }
            "@note" => self
                .outcome
                .print(&format!("     {}", line.trim_start_matches("@note|"))),
            "@qmp" => {
                let command: Value = serde_json::from_str(line.trim_start_matches("@qmp|"))
                    .with_context(|| format!("the guest's command is no JSON: {line}"))?;
                if let Err(error) = self.obeyed(&command) {
                    self.check("QEMU does what it is told", false, &format!("{error:#}"));
                }
            }
            "@keys" => {
                next().clone_into(&mut self.keys.label);
                self.keys.left = next().parse().unwrap_or(0);
                self.press()?;
            }
            "@key" => self.arrived()?,
            "@gate" => {
                let (what, name) = (next().to_owned(), next().to_owned());
                let gate = self
                    .gate
                    .as_deref_mut()
                    .context("no gate is behind this guest")?;
                let (ok, seen) = match gate.asked(&what) {
                    Ok(seen) => seen,
                    Err(error) => (false, format!("{error:#}")),
                };
                self.check(&name, ok, &seen);
                let answer = format!("{}\n", seen.replace('\n', " "));
                self.answers.write_all(answer.as_bytes())?;
            }
            "@done" => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    /// Runs a command; again for a while where QEMU has not let go of a device that the guest has.
    fn obeyed(&mut self, command: &Value) -> Result<()> {
        let end = Instant::now() + LET_GO_MAX;
        loop {
            match self.qmp.run(command) {
                Err(error) if Instant::now() < end && still_held(&error.to_string()) => {
                    std::thread::sleep(LET_GO_POLL);
                }
                other => return other,
            }
        }
    }

    fn check(&mut self, name: &str, ok: bool, detail: &str) {
        let name = format!("{}/{name}", self.part);
        self.outcome.check(name, ok, detail);
    }

    fn press(&mut self) -> Result<()> {
        if self.keys.left > 0 {
            self.keys.left -= 1;
            self.keys.pressed = Some(Instant::now());
            let key = json!({"type": "qcode", "data": "a"});
            self.qmp.run(
                &json!({"execute": "send-key", "arguments": {"keys": [key], "hold-time": 5}}),
            )?;
        }
        Ok(())
    }

    fn arrived(&mut self) -> Result<()> {
        if let Some(pressed) = self.keys.pressed.take() {
            let took = pressed.elapsed().as_secs_f64() * 1e3;
            let label = self.keys.label.clone();
            self.keys.took.entry(label).or_default().push(took);
        }
        self.press()
    }
}

fn still_held(error: &str) -> bool {
    ["Duplicate device ID", "is in use", "Permission conflict"]
        .iter()
        .any(|it| error.contains(it))
}
