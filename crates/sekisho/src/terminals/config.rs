//! `[terminals]` of `sekisho.toml`.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Most connections of terminals at a time.
const CONNECTIONS: std::ops::RangeInclusive<usize> = 1..=100_000;

/// Where terminals connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TerminalsConfig {
    /// Address and port for terminals' agents; none: there are no terminals with agents.
    pub listen: Option<SocketAddr>,
    /// SHA-256 (hexadecimal) of the agents' program files that may run; empty: any.
    pub agents: Vec<String>,
    /// Connections of terminals at a time: one for each agent, and one for each session.
    pub connections_max: usize,
}

impl Default for TerminalsConfig {
    fn default() -> Self {
        Self {
            listen: None,
            agents: Vec::new(),
            connections_max: 4096,
        }
    }
}

impl TerminalsConfig {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<()> {
        let most = self.connections_max;
        if !CONNECTIONS.contains(&most) {
            bail!("terminals.connections_max: {most}; allowed: 1 to 100000");
        }
        if let Some(wrong) = self.agents.iter().find(|it| digest(it).is_none()) {
            bail!(
                "terminals.agents: {wrong:?}; allowed: 64 hexadecimal digits, as `sha256sum` prints them"
            );
        }
        Ok(())
    }
}

/// 64 hexadecimal digits as bytes.
pub fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}
