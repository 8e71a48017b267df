//! The keys that sign checkpoints, and the list of them that the offline identity key signs
//! (docs/format/logs.md "keys").

use base64_simd::STANDARD;
use tlog::{Checkpoint, Note, SigningKey};
use zeroize::Zeroizing;

use super::places::{Generation, Tree, keys_name};
use crate::LedgerError;

/// The seeds of the log keys that sign now: one, or two while keys rotate.
pub struct LogKeys(Vec<Zeroizing<[u8; 32]>>);

impl std::fmt::Debug for LogKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogKeys({})", self.0.len())
    }
}

impl LogKeys {
    /// From seeds, the oldest first.
    pub fn new(seeds: Vec<Zeroizing<[u8; 32]>>) -> Self {
        Self(seeds)
    }

    /// Signs a log's checkpoint with all of them.
    ///
    /// # Errors
    /// If there is no key, or the origin is too long to be a name.
    pub(crate) fn sign(
        &self,
        generation: &Generation,
        tree: Tree,
        (size, root): (u64, tlog::Hash),
    ) -> Result<Note, LedgerError> {
        let origin = generation.origin(tree);
        let bad = |error: String| LedgerError::Setting(format!("sign {origin}: {error}"));
        let keys: Vec<SigningKey> = self
            .0
            .iter()
            .map(|seed| SigningKey::new(&origin, seed).map_err(|error| bad(error.to_string())))
            .collect::<Result<_, _>>()?;
        let checkpoint =
            Checkpoint::new(&origin, size, root).map_err(|error| bad(error.to_string()))?;
        if keys.is_empty() {
            return Err(bad("there is no log key".into()));
        }
        let keys: Vec<&SigningKey> = keys.iter().collect();
        checkpoint
            .sign(&keys)
            .map_err(|error| bad(error.to_string()))
    }
}

/// A key of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedKey {
    /// Its number, from 1.
    pub number: u32,
    /// Ed25519.
    pub public: [u8; 32],
    /// It counts for root leaves from here on, ms since the Unix epoch.
    pub from_ms: u64,
    /// And before here; `None`: still.
    pub until_ms: Option<u64>,
}

/// The list of log keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyList {
    /// The ledger's id.
    pub ledger: [u8; 16],
    /// Grows with each list.
    pub serial: u32,
    /// Ascending by number.
    pub keys: Vec<ListedKey>,
}

impl KeyList {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n", keys_name(&self.ledger), self.serial);
        for key in &self.keys {
            let until = key.until_ms.map_or("-".to_owned(), |ms| ms.to_string());
            let public = STANDARD.encode_to_string(key.public);
            text += &format!("{} {public} {} {until}\n", key.number, key.from_ms);
        }
        text
    }

    /// Reads a list; its signature is checked by whoever has the identity's public key.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let ledger = lines
            .next()?
            .strip_prefix("sekisho/")?
            .strip_suffix("/keys")?;
        let ledger = u128::from_str_radix(ledger, 16).ok()?.to_be_bytes();
        let serial = lines.next()?.parse().ok()?;
        let keys = lines.map(key_line).collect::<Option<_>>()?;
        let list = Self {
            ledger,
            serial,
            keys,
        };
        (list.text() == text).then_some(list)
    }

    /// The signed note.
    ///
    /// # Errors
    /// If the list is too long for a note.
    pub fn sign(&self, identity: &SigningKey) -> Result<String, LedgerError> {
        let text = self.text();
        Note::new(&text, vec![identity.sign(&text)])
            .map(|note| note.to_string())
            .map_err(|error| LedgerError::Setting(format!("sign the list of keys: {error}")))
    }
}

fn key_line(line: &str) -> Option<ListedKey> {
    let mut words = line.split(' ');
    let number = words.next()?.parse().ok()?;
    let public = STANDARD
        .decode_to_vec(words.next()?)
        .ok()?
        .try_into()
        .ok()?;
    let from_ms = words.next()?.parse().ok()?;
    let until_ms = match words.next()? {
        "-" => None,
        ms => Some(ms.parse().ok()?),
    };
    words.next().is_none().then_some(ListedKey {
        number,
        public,
        from_ms,
        until_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back() {
        let list = KeyList {
            ledger: [7; 16],
            serial: 2,
            keys: vec![
                ListedKey {
                    number: 1,
                    public: [1; 32],
                    from_ms: 5,
                    until_ms: Some(9),
                },
                ListedKey {
                    number: 2,
                    public: [2; 32],
                    from_ms: 7,
                    until_ms: None,
                },
            ],
        };
        assert_eq!(KeyList::parse(&list.text()), Some(list.clone()));
        assert_eq!(KeyList::parse(&list.text().replace("7 -", "07 -")), None);
        let identity = SigningKey::new("identity", &[3; 32]).unwrap();
        let note = list.sign(&identity).unwrap();
        assert!(note.starts_with(&list.text()));
    }
}
