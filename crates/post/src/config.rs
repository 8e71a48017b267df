//! The agent's own settings: where things are. What devices may do is the policy, in its own file,
//! because the gate hands it out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// A configuration is a page of text.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not as it should be.
    #[error("{path}: {message}")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong, and where.
        message: String,
    },
}

/// `/etc/sekisho-post/agent.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The policy's file.
    pub policy: PathBuf,
    /// Where the queue, the key and what is known are kept.
    pub state: PathBuf,
    /// Where running state is shown: the status file, the broker's mounts.
    pub run: PathBuf,
    /// The compiled guard; empty: none, which the heartbeat says.
    pub guard: PathBuf,
    /// Where the guard is pinned.
    pub pins: PathBuf,
    /// Disks that belong to the machine beside those the system runs from, by name (`nvme1n1`).
    pub own_disks: Vec<String>,
    /// Whether foreign disks get the kernel's read-only flag. Not in early boot: a disk of the system
    /// whose place or serial is another one since the enrolment would not start any more.
    pub read_only_flags: bool,
    /// Filesystems without a disk into which nothing is written, by type, unless they were mounted
    /// when the agent was enrolled.
    pub closed_filesystems: Vec<String>,
    /// The gate; none: reports wait in the queue.
    pub gate: Option<Gate>,
    /// The door for sessions on this terminal.
    pub tunnel: Option<Tunnel>,
}

/// Where the gate is, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// `host:port` of its listener for terminals.
    pub address: String,
    /// SHA-256 of its certificate, in hexadecimal.
    pub pin: String,
    /// What this terminal calls itself; the machine's name if it is not given.
    #[serde(default)]
    pub name: Option<String>,
}

/// The listener for drivers on this terminal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// An address of this machine itself: `127.0.0.1:5432`.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: "/etc/sekisho-post/policy.toml".into(),
            state: "/var/lib/sekisho-post".into(),
            run: "/run/sekisho-post".into(),
            guard: "/usr/lib/sekisho-post/guard.bpf.o".into(),
            pins: "/sys/fs/bpf/sekisho".into(),
            own_disks: Vec::new(),
            read_only_flags: true,
            closed_filesystems: ["fuse", "9p", "virtiofs", "cifs", "smb3", "vboxsf"]
                .map(str::to_owned)
                .to_vec(),
            gate: None,
            tunnel: None,
        }
    }
}

impl Config {
    /// Reads a configuration; without a file everything has its usual place.
    ///
    /// # Errors
    /// [`ConfigError`]: the file, what is wrong.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let usual = Path::new("/etc/sekisho-post/agent.toml");
        let path = match path {
            Some(path) => path,
            None if usual.exists() => usual,
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&text).map_err(|message| ConfigError::Wrong {
            path: path.display().to_string(),
            message,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(format!("longer than {CONFIG_BYTES_MAX} bytes"));
        }
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if let Some(gate) = &config.gate {
            pin(&gate.pin).ok_or("gate.pin: expected 64 hexadecimal digits")?;
            if gate.address.rsplit_once(':').is_none() {
                return Err("gate.address: expected host:port".to_owned());
            }
        }
        let far = |it: &&Tunnel| !it.listen.ip().is_loopback();
        if let Some(tunnel) = config.tunnel.as_ref().filter(far) {
            return Err(format!(
                "tunnel.listen: {} is reached from other machines, whose sessions would pass for \
                 this terminal's; give 127.0.0.1 or [::1]",
                tunnel.listen
            ));
        }
        Ok(config)
    }
}

/// A digest in hexadecimal, as bytes.
#[must_use]
pub fn pin(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        use std::fmt::Write;
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused() {
        let pin = "ab".repeat(32);
        for (text, says) in [
            ("polcy = 'x'", "unknown field"),
            ("[gate]\naddress = 'a:1'\npin = 'ab'", "gate.pin"),
            (
                &format!("[gate]\naddress = 'a'\npin = '{pin}'"),
                "gate.address",
            ),
            ("[tunnel]\nlisten = '0.0.0.0:5432'", "tunnel.listen"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let good =
            format!("[gate]\naddress = 'gate:7432'\npin = '{pin}'\n[tunnel]\nlisten = '[::1]:1'");
        assert_eq!(Config::parse(&good).unwrap().gate.unwrap().pin, pin);
    }

    #[test]
    fn the_agent_of_early_boot_sets_no_read_only_flag() {
        let early = Config::parse(include_str!("../packaging/early.toml")).unwrap();
        assert!(!early.read_only_flags);
        let usual = Config::parse(include_str!("../packaging/agent.toml")).unwrap();
        assert!(usual.read_only_flags);
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(pin(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!(pin(&"é".repeat(32)), None);
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
