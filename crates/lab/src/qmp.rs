//! QEMU's monitor: JSON over a Unix socket (QEMU Machine Protocol Specification).

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A connection after its greeting.
pub(crate) struct Qmp {
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Qmp {
    /// Over a connection to QEMU.
    pub(crate) fn over(to: UnixStream) -> Result<Self> {
        to.set_read_timeout(Some(ANSWER_MAX))?;
        let from = BufReader::new(to.try_clone()?);
        let mut qmp = Self { to, from };
        qmp.line()?; // the greeting
        qmp.run(&json!({"execute": "qmp_capabilities"}))?;
        Ok(qmp)
    }

    /// Runs a command and waits for its answer; events on the way are left out.
    pub(crate) fn run(&mut self, command: &Value) -> Result<()> {
        writeln!(self.to, "{command}").context("QEMU's monitor is closed")?;
        loop {
            let answer = self.line()?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refused {command}: {}", error["desc"]);
            }
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.from
            .read_line(&mut line)
            .context("QEMU's monitor does not answer")?;
        serde_json::from_str(&line).context("QEMU's monitor is closed")
    }
}
