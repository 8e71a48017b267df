//! The key file of a client or auditor, and the client officer's own (docs/format/logs.md).

use std::str::FromStr;

use base64_simd::{STANDARD, URL_SAFE_NO_PAD};
use event::{ClientId, LogId, Plain};
use fingerprint::FingerprintKey;
use stamp::Roots;
use tlog::VerifierKey;
use tlog::policy::Policy;

use crate::places::{self, Tree, hex};

/// The longest key file, in bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 1 << 20;

/// What a client or auditor was given, by a way of its own: whom to believe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFile {
    /// The ledger's id.
    pub ledger: [u8; 16],
    /// Whose log.
    pub log: LogId,
    /// The client's code; empty for the centre.
    pub code: String,
    /// The generation of the logs.
    pub generation: u32,
    /// The log's slot of the root log; `None`: the key file, of an earlier version, does not say.
    pub slot: Option<u32>,
    /// Signs the list of log keys.
    pub identity: VerifierKey,
    /// For so long records may be without cosignatures, ms.
    pub uncovered_ms_max: u64,
    /// Root leaves are at most so far apart, ms.
    pub heartbeat_ms_max: u64,
    /// What was promised about time stamps, if anything was.
    pub timestamps: Option<Timestamps>,
    /// The witnesses, and how many of them it takes.
    pub policy: Policy,
}

/// Time stamps as a key file promises them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timestamps {
    /// They are at most so far apart, ms.
    pub ms_max: u64,
    /// The authorities to trust.
    pub roots: Roots,
}

/// Why a text is no key file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The first line.
    #[error("this is not a key file: its first line is not `{0}`")]
    First(&'static str),
    /// A line.
    #[error("line {line} of the key file: expected {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What should be there.
        what: &'static str,
    },
    /// The policy.
    #[error("the key file's policy, after its empty line: {0}")]
    Policy(String),
}

struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self, word: &str, what: &'static str) -> Result<&'a str, KeyFileError> {
        self.line += 1;
        let error = KeyFileError::Line {
            line: self.line,
            what,
        };
        let (line, rest) = self.rest.split_once('\n').ok_or(error.clone())?;
        self.rest = rest;
        match line.strip_prefix(word) {
            Some("") => Ok(""),
            Some(value) => value.strip_prefix(' ').ok_or(error),
            None => Err(error),
        }
    }

    fn read<T>(
        &mut self,
        word: &str,
        what: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, KeyFileError> {
        let value = self.next(word, what)?;
        read(value).ok_or(KeyFileError::Line {
            line: self.line,
            what,
        })
    }
}

impl<'a> Lines<'a> {
    /// What both files begin with: their first line, and the ledger's id.
    fn begin(text: &'a str, first: &'static str) -> Result<(Self, [u8; 16]), KeyFileError> {
        let mut lines = Self {
            rest: text,
            line: 0,
        };
        let rest = lines.next(first, "").ok();
        rest.filter(|rest| rest.is_empty())
            .ok_or(KeyFileError::First(first))?;
        let ledger = lines.read("ledger", LEDGER, ledger)?;
        Ok((lines, ledger))
    }

    /// `timestamp-ms-max`, then a `timestamp-root` or several; or nothing.
    fn timestamps(&mut self) -> Result<Option<Timestamps>, KeyFileError> {
        if !self.rest.starts_with("timestamp-ms-max") {
            return Ok(None);
        }
        let what = "`timestamp-ms-max` and a number";
        let ms_max = self.read("timestamp-ms-max", what, number)?;
        let mut roots = Roots::default();
        let what = "`timestamp-root` and a certificate (DER) in base64";
        loop {
            let root = self.read("timestamp-root", what, |value| {
                STANDARD.decode_to_vec(value).ok()
            })?;
            roots.add_der(root).map_err(|_| KeyFileError::Line {
                line: self.line,
                what,
            })?;
            if !self.rest.starts_with("timestamp-root") {
                return Ok(Some(Timestamps { ms_max, roots }));
            }
        }
    }
}

fn ledger(text: &str) -> Option<[u8; 16]> {
    let ledger = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
    (hex(&ledger) == text).then_some(ledger)
}

/// A plain decimal number.
fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn client(text: &str) -> Option<ClientId> {
    number(text).and_then(ClientId::new)
}

const LEDGER: &str = "`ledger` and 32 hexadecimal digits";

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    /// At the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let (mut lines, ledger) = Lines::begin(text, "sekisho client 1")?;
        let (log, code) = if lines.rest.starts_with("centre\n") {
            lines.next("centre", "`centre`")?;
            (LogId::Centre, String::new())
        } else {
            let what = "`client`, its number and its code; or `centre`";
            lines.read("client", what, |value| {
                let (number, code) = value.split_once(' ')?;
                let fine = !code.is_empty() && !code.contains(char::is_whitespace);
                fine.then_some((LogId::Client(client(number)?), code.to_owned()))
            })?
        };
        let generation = lines.read("generation", "`generation` and a number", |value| {
            number(value).filter(|it| *it > 0)
        })?;
        let slot = match log {
            LogId::Client(_) if lines.rest.starts_with("slot ") => {
                Some(lines.read("slot", "`slot` and a number", number)?)
            }
            LogId::Client(_) => None,
            LogId::Centre => Some(0),
        };
        let name = format!("sekisho/{}/identity", hex(&ledger));
        let what = "`identity` and the public key of this ledger's identity";
        let identity = lines.read("identity", what, |value| {
            let key: VerifierKey = value.parse().ok()?;
            let fine = key.name() == name && key.algorithm() == tlog::Algorithm::Ed25519;
            fine.then_some(key)
        })?;
        let what = "`uncovered-ms-max` and a number";
        let uncovered_ms_max = lines.read("uncovered-ms-max", what, number)?;
        let what = "`heartbeat-ms-max` and a number";
        let heartbeat_ms_max = lines.read("heartbeat-ms-max", what, number)?;
        let timestamps = lines.timestamps()?;
        lines.next("", "an empty line before the policy")?;
        let policy = Policy::parse(lines.rest.as_bytes())
            .map_err(|it| KeyFileError::Policy(it.to_string()))?;
        if !policy.logs().is_empty() {
            return Err(KeyFileError::Policy(
                "log lines do not belong here: the list of log keys is signed by the identity"
                    .into(),
            ));
        }
        Ok(Self {
            ledger,
            log,
            code,
            generation,
            slot,
            identity,
            uncovered_ms_max,
            heartbeat_ms_max,
            timestamps,
            policy,
        })
    }

    /// The log that it is for.
    pub fn tree(&self) -> Tree {
        Tree::Log(self.log)
    }

    /// The origin of a log's checkpoints.
    pub fn origin(&self, tree: Tree) -> String {
        places::origin(&self.ledger, self.generation, tree)
    }
}

/// The client officer's file: opens lists, computes fingerprints.
#[derive(Debug)]
pub struct OfficerFile {
    /// The ledger's id.
    pub ledger: [u8; 16],
    /// Whose.
    pub client: ClientId,
    /// Computes fingerprints.
    pub fingerprint: FingerprintKey,
    /// Unwraps the months' list keys.
    pub lists: Plain<[u8; 32]>,
}

impl OfficerFile {
    /// Reads an officer's file.
    ///
    /// # Errors
    /// At the first line that is wrong; never shows what stands there.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let (mut lines, ledger) = Lines::begin(text, "sekisho officer 1")?;
        let client = lines.read("client", "`client` and its number", client)?;
        let what = "`fingerprint` and 32 bytes in base64url";
        let fingerprint = lines.read("fingerprint", what, secret)?;
        let what = "`lists` and 32 bytes in base64url";
        let lists = lines.read("lists", what, secret)?;
        if !lines.rest.is_empty() {
            return Err(KeyFileError::Line {
                line: lines.line + 1,
                what: "nothing more",
            });
        }
        Ok(Self {
            ledger,
            client,
            fingerprint: FingerprintKey::new(fingerprint.expose()),
            lists,
        })
    }
}

fn secret(text: &str) -> Option<Plain<[u8; 32]>> {
    let bytes = Plain::new(URL_SAFE_NO_PAD.decode_to_vec(text).ok()?);
    let mut key = Plain::new([0; 32]);
    if bytes.expose().len() != 32 {
        return None;
    }
    key.expose_mut().copy_from_slice(bytes.expose());
    Some(key)
}
