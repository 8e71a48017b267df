//! The list of log keys, signed by the identity (docs/format/logs.md "keys"). Pure.

use std::str::FromStr;

use tlog::{Algorithm, Note, VerifierKey};

use crate::key::KeyFile;
use crate::places::{Tree, hex};

/// A key of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogKey {
    /// Its number, from 1.
    pub number: u32,
    /// Ed25519.
    pub public: [u8; 32],
    /// It counts from here, ms since the Unix epoch.
    pub from_ms: u64,
    /// And before here.
    pub until_ms: Option<u64>,
}

/// The list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyList {
    /// Grows with each list.
    pub serial: u64,
    /// Ascending by number.
    pub keys: Vec<LogKey>,
}

/// Why bytes are not the list of this ledger's keys.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyListError {
    /// Not signed by the identity.
    #[error("it is not signed by the identity in your key file ({0})")]
    Signature(String),
    /// Signed, and not a list.
    #[error("line {0} of it is no line of a list of keys")]
    Line(usize),
}

fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn key(line: &str) -> Option<LogKey> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    let number_of = number(next()?)?;
    let public = next()?.parse::<tlog::Hash>().ok()?.0;
    let from_ms = number(next()?)?;
    let until_ms = match next()? {
        "-" => None,
        until => Some(number(until)?),
    };
    next().is_none().then_some(LogKey {
        number: number_of,
        public,
        from_ms,
        until_ms,
    })
}

impl KeyList {
    /// Reads the signed list and checks who signed it.
    ///
    /// # Errors
    /// If the identity did not sign it, or it is no list.
    pub fn open(bytes: &[u8], key_file: &KeyFile) -> Result<Self, KeyListError> {
        let signature = |error: &dyn std::error::Error| KeyListError::Signature(error.to_string());
        let note = Note::parse(bytes).map_err(|error| signature(&error))?;
        note.verify(std::slice::from_ref(&key_file.identity))
            .map_err(|error| signature(&error))?;
        let first = format!("sekisho/{}/keys", hex(&key_file.ledger));
        let mut lines = note.text().lines();
        if lines.next() != Some(first.as_str()) {
            return Err(KeyListError::Line(1));
        }
        let serial = lines.next().and_then(number).ok_or(KeyListError::Line(2))?;
        let mut keys: Vec<LogKey> = Vec::new();
        for (at, line) in (3..).zip(lines) {
            let key = key(line).ok_or(KeyListError::Line(at))?;
            if keys.last().is_some_and(|last| last.number >= key.number) {
                return Err(KeyListError::Line(at));
            }
            keys.push(key);
        }
        Ok(Self { serial, keys })
    }

    /// The keys as verifiers of a log's checkpoints.
    pub fn verifiers(&self, key_file: &KeyFile, tree: Tree) -> Vec<VerifierKey> {
        let origin = key_file.origin(tree);
        self.keys
            .iter()
            .filter_map(|key| VerifierKey::new(&origin, Algorithm::Ed25519, key.public).ok())
            .collect()
    }

    /// The key with these public bytes.
    pub fn find(&self, public: &[u8; 32]) -> Option<&LogKey> {
        self.keys.iter().find(|key| key.public == *public)
    }
}

impl LogKey {
    /// Whether its span holds a moment of `from..=to`. `open`: or begins after `to`.
    pub fn counts(&self, from_ms: u64, to_ms: u64, open: bool) -> bool {
        (self.from_ms <= to_ms || open) && self.until_ms.is_none_or(|until| from_ms < until)
    }
}
