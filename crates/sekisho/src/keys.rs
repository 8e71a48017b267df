//! The master key, the keyring, and the ledger's view of it.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use event::{ClientId, Digest, Plain};
use ledger::{ListClosed, ListSealer};
use seal::{KeyError, Keyring, Master, Month};

/// The environment variable that holds the master key's passphrase, for services.
pub const PASSPHRASE_VARIABLE: &str = "SEKISHO_PASSPHRASE";

/// Opens the keyring; asks for the passphrase if the master key has one.
pub fn open(folder: &Path) -> Result<Arc<Keyring>> {
    let asks = Master::asks_passphrase(folder).context(
        "the master key cannot be read; restore it from its backup: without it no cell can be opened",
    )?;
    let passphrase = if asks {
        passphrase("Passphrase of the master key: ")?
    } else {
        Plain::new(String::new())
    };
    open_with(folder, passphrase.expose())
}

/// Opens the keyring with a passphrase.
pub fn open_with(folder: &Path, passphrase: &str) -> Result<Arc<Keyring>> {
    let master = Master::load(folder, passphrase).context("the master key cannot be opened")?;
    Ok(Arc::new(Keyring::open(folder, master)?))
}

/// A passphrase from the environment, or asked for at the terminal.
pub fn passphrase(prompt: &str) -> Result<Plain<String>> {
    if let Ok(value) = std::env::var(PASSPHRASE_VARIABLE) {
        return Ok(Plain::new(value));
    }
    ask_hidden(prompt)
        .with_context(|| format!("no passphrase; set {PASSPHRASE_VARIABLE} or run in a terminal"))
}

/// A new passphrase, never empty: from the environment, or asked for twice at the terminal.
pub fn new_passphrase() -> Result<Plain<String>> {
    let given = passphrase("A passphrase for the master key: ")?;
    let asked = std::env::var_os(PASSPHRASE_VARIABLE).is_none();
    if asked && std::io::stdin().is_terminal() {
        let again = ask_hidden("Again: ")?;
        ensure!(
            given == again,
            "the two passphrases differ; nothing was made"
        );
    }
    ensure!(
        !given.expose().is_empty(),
        "the passphrase is empty; give one, or --no-passphrase for a trial"
    );
    Ok(given)
}

/// Asks at the terminal without echo; from a pipe, reads one line.
pub fn ask_hidden(prompt: &str) -> Result<Plain<String>> {
    let stdin = std::io::stdin();
    let terminal = stdin.is_terminal();
    let before = if terminal {
        write!(std::io::stderr(), "{prompt}")?;
        let before = rustix::termios::tcgetattr(&stdin)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
        rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &hidden)?;
        Some(before)
    } else {
        None
    };
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(before) = before {
        rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &before)?;
        writeln!(std::io::stderr())?;
    }
    let n = read?;
    let mut line = Plain::new(line);
    if n == 0 {
        bail!("nothing was given");
    }
    let end = line.expose().trim_end_matches(['\n', '\r']).len();
    line.expose_mut().truncate(end);
    Ok(line)
}

/// The keyring as the ledger uses it: keys of fingerprint lists.
pub struct Lists(pub Arc<Keyring>);

impl Lists {
    fn key(&self, client: ClientId, month: u32) -> Result<Arc<fingerprint::ListKey>, ListClosed> {
        let month = Month::new(month / 100, month % 100)
            .ok_or_else(|| ListClosed::Failed(format!("{month} is no month")))?;
        self.0.list_key(client, month).map_err(|error| match error {
            KeyError::Destroyed(_) | KeyError::ListsDestroyed(..) => ListClosed::Destroyed,
            error => ListClosed::Failed(error.to_string()),
        })
    }
}

impl ListSealer for Lists {
    fn seal_list(
        &self,
        client: ClientId,
        month: u32,
        commitment: &Digest,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, ListClosed> {
        let key = self.key(client, month)?;
        fingerprint::seal_list(&key, &commitment.0, plaintext)
            .map_err(|error| ListClosed::Failed(error.to_string()))
    }

    fn open_list(
        &self,
        client: ClientId,
        month: u32,
        commitment: &Digest,
        sealed: &[u8],
    ) -> Result<Plain<Vec<u8>>, ListClosed> {
        let key = self.key(client, month)?;
        fingerprint::open_list(&key, &commitment.0, sealed)
            .map_err(|error| ListClosed::Failed(error.to_string()))
    }
}
