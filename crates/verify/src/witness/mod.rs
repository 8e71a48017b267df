//! A C2SP tlog-witness: cosigns checkpoints that continue what it cosigned before, and remembers.
//!
//! A witness that forgets could be made to cosign a fork, so what it decided is on disk before the
//! cosignature leaves; a failed write ends it; two processes on one folder are refused. Killed at
//! any moment it has either not decided, or decided and remembers.
//!
//! The folder: `witness.key` (secret, 0600), `logs` (public keys of logs, one a line, `#` comments),
//! `heads/HEX` (the newest checkpoint of the log whose origin has that SHA-256), `lock`.

mod server;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use tlog::witness::{AddCheckpoint, Refusal, decide};
use tlog::{Algorithm, Checkpoint, Cosigner, KEY_BYTES, Note, TreeHead, VerifierKey};
use tlog::{NOTE_BYTES_MAX, encode_signatures};
use zeroize::Zeroizing;

use crate::places::hex;
use crate::platform::{self, Mode};

pub use server::{Limits, serve};

const KEY: &str = "witness.key";
const LOGS: &str = "logs";
const HEADS: &str = "heads";
const LOCK: &str = "lock";
/// The longest list of logs, in bytes.
const LOGS_BYTES_MAX: u64 = 1 << 20;

/// Why a witness cannot be made or started.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A file.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A key that is none, or a name that cannot be one.
    #[error("{path}: {why}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Others may read the key.
    #[error("{0} can be read by others: run `chmod 600` on it")]
    Exposed(PathBuf),
    /// Another process has the folder.
    #[error("{0} is in use by another witness: two on one folder could cosign a fork")]
    Locked(PathBuf),
    /// What it remembers is damaged.
    #[error(
        "{path}: what was remembered is damaged ({why}): do not delete it, or this witness may be tricked into cosigning a fork; make a new witness with a new key"
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> WitnessError {
    let path = path.to_owned();
    move |error| WitnessError::Io { path, error }
}

/// Makes a key in a folder; gives the public key. An existing key is never replaced.
///
/// # Errors
/// If there is one, the name cannot be one, or the disk refuses.
pub fn make_key(folder: &Path, name: &str) -> Result<VerifierKey, WitnessError> {
    std::fs::create_dir_all(folder.join(HEADS)).map_err(io_at(folder))?;
    let path = folder.join(KEY);
    let mut seed = Zeroizing::new([0; KEY_BYTES]);
    rand::fill(&mut *seed)
        .map_err(|_| io_at(&path)(io::Error::other("the system gave no random bytes")))?;
    let cosigner = Cosigner::new(name, &seed).map_err(|error| WitnessError::Key {
        path: path.clone(),
        why: error.to_string(),
    })?;
    let mut text = cosigner.encode();
    text.push('\n');
    platform::create(&path, text.as_bytes(), Mode::Private).map_err(io_at(&path))?;
    let logs = folder.join(LOGS);
    if !logs.exists() {
        let text = "# Public keys of logs to witness, one a line: NAME+ID+BASE64\n";
        platform::create(&logs, text.as_bytes(), Mode::Shared).map_err(io_at(&logs))?;
    }
    Ok(cosigner.verifier().clone())
}

/// Reads a folder's key.
///
/// # Errors
/// If it is none, or others may read it.
pub fn read_key(folder: &Path) -> Result<Cosigner, WitnessError> {
    let path = folder.join(KEY);
    if platform::exposed(&path).map_err(io_at(&path))? {
        return Err(WitnessError::Exposed(path));
    }
    let text = platform::read_text(&path, 4096).map_err(io_at(&path))?;
    let text = Zeroizing::new(text);
    Cosigner::parse(text.trim_end_matches('\n')).map_err(|error| WitnessError::Key {
        path,
        why: error.to_string(),
    })
}

/// Reads a folder's list of logs.
///
/// # Errors
/// If a line is no public key of a log.
pub fn read_logs(folder: &Path) -> Result<Vec<VerifierKey>, WitnessError> {
    let path = folder.join(LOGS);
    let text = platform::read_text(&path, LOGS_BYTES_MAX).map_err(io_at(&path))?;
    let mut keys = Vec::new();
    for (at, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key: Result<VerifierKey, String> =
            line.parse().map_err(|it: tlog::KeyError| it.to_string());
        let key = key.and_then(|key| match key.algorithm() {
            Algorithm::Ed25519 => Ok(key),
            other => Err(format!("it is a key of {other}, not of a log")),
        });
        keys.push(key.map_err(|why| WitnessError::Key {
            path: path.clone(),
            why: format!("line {at}: {why}"),
        })?);
    }
    Ok(keys)
}

/// The name of what is remembered of a log.
pub fn origin_hex(origin: &str) -> String {
    hex(digest(&SHA256, origin.as_bytes()).as_ref())
}

/// The checkpoint in a file of `heads`.
fn remembered(path: &Path) -> Result<Option<(Vec<u8>, TreeHead, String)>, WitnessError> {
    let bytes = match platform::read_bytes(path, NOTE_BYTES_MAX as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
    };
    let damaged = |why: String| WitnessError::Memory {
        path: path.to_owned(),
        why,
    };
    let note = Note::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| damaged(error.to_string()))?;
    let named = path
        .file_name()
        .is_some_and(|name| *name == *origin_hex(checkpoint.origin()));
    if !named {
        return Err(damaged("it is the checkpoint of another log".into()));
    }
    Ok(Some((
        bytes,
        checkpoint.head(),
        checkpoint.origin().to_owned(),
    )))
}

/// The newest checkpoint of each log in a folder: origin and head.
///
/// # Errors
/// If one is damaged.
pub fn heads(folder: &Path) -> Result<Vec<(String, TreeHead)>, WitnessError> {
    let path = folder.join(HEADS);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(io_at(&path))? {
        let entry = entry.map_err(io_at(&path))?.path();
        // What a killed write left behind.
        if entry.extension().is_some_and(|it| it == "new") {
            continue;
        }
        if let Some((_, head, origin)) = remembered(&entry)? {
            found.push((origin, head));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// A running witness.
pub struct Witness {
    folder: PathBuf,
    cosigner: Cosigner,
    /// The last list of logs that could be read.
    logs: Mutex<Arc<Vec<VerifierKey>>>,
    /// What is remembered of each log, by its hex name: one request of a log at a time.
    heads: Mutex<HashMap<String, Arc<Mutex<Remembered>>>>,
    _lock: File,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Witness({})", self.folder.display())
    }
}

/// The newest checkpoint of a log.
#[derive(Default)]
struct Remembered {
    note: Option<Arc<Vec<u8>>>,
    head: Option<TreeHead>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Answered {
    /// The cosignature's line.
    Cosigned(String),
    /// An answer by the protocol.
    Refused(Refusal),
    /// What was decided could not be kept: the witness must end.
    Broken(WitnessError),
}

impl Witness {
    /// Opens a folder and everything that is remembered there.
    ///
    /// # Errors
    /// If something is missing, damaged, or in use.
    pub fn open(folder: &Path) -> Result<Self, WitnessError> {
        let lock = folder.join(LOCK);
        let held = platform::lock(&lock).map_err(io_at(&lock))?;
        let held = held.ok_or_else(|| WitnessError::Locked(folder.to_owned()))?;
        let cosigner = read_key(folder)?;
        let logs = read_logs(folder)?;
        let mut known = HashMap::new();
        for (origin, _) in heads(folder)? {
            let name = origin_hex(&origin);
            let found = remembered(&folder.join(HEADS).join(&name))?;
            let found = found.map_or_else(Remembered::default, |(note, head, _)| Remembered {
                note: Some(Arc::new(note)),
                head: Some(head),
            });
            known.insert(name, Arc::new(Mutex::new(found)));
        }
        Ok(Self {
            folder: folder.to_owned(),
            cosigner,
            logs: Mutex::new(Arc::new(logs)),
            heads: Mutex::new(known),
            _lock: held,
        })
    }

    /// Its public key.
    pub fn verifier(&self) -> &VerifierKey {
        self.cosigner.verifier()
    }

    /// The list of logs, read anew: keys rotate while it runs. A list that cannot be read changes
    /// nothing.
    fn logs(&self) -> Arc<Vec<VerifierKey>> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(now) = read_logs(&self.folder)
            && now != **logs
        {
            *logs = Arc::new(now);
        }
        logs.clone()
    }

    fn of(&self, name: &str, make: bool) -> Option<Arc<Mutex<Remembered>>> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if make {
            return Some(heads.entry(name.to_owned()).or_default().clone());
        }
        heads.get(name).cloned()
    }

    /// Answers `add-checkpoint`. Blocks on the disk.
    pub fn add_checkpoint(&self, body: &[u8], seconds: u64) -> Answered {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(error) => return Answered::Refused(error.into()),
        };
        let origin = match request.origin() {
            Ok(origin) => origin,
            Err(error) => {
                return Answered::Refused(tlog::witness::RequestError::from(error).into());
            }
        };
        let logs = self.logs();
        // Nothing is kept of a log that is not known.
        if !logs.iter().any(|key| key.name() == origin) {
            return Answered::Refused(Refusal::UnknownLog);
        }
        let name = origin_hex(&origin);
        let Some(known) = self.of(&name, true) else {
            return Answered::Refused(Refusal::UnknownLog);
        };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let cosign = match decide(&request, known.head, &logs) {
            Ok(cosign) => cosign,
            Err(refusal) => return Answered::Refused(refusal),
        };
        let path = self.folder.join(HEADS).join(&name);
        if known.head != Some(cosign.head()) {
            let note = request.checkpoint.to_string().into_bytes();
            let kept = platform::write_atomically(&path, &note, Mode::Shared);
            if let Err(error) = kept {
                return Answered::Broken(io_at(&path)(error));
            }
            known.head = Some(cosign.head());
            known.note = Some(Arc::new(note));
        }
        match cosign.sign(&self.cosigner, seconds) {
            Ok(line) => Answered::Cosigned(encode_signatures(&[line])),
            Err(error) => Answered::Broken(io_at(&path)(io::Error::other(error.to_string()))),
        }
    }

    /// The newest checkpoint of the log with this name (hexadecimal SHA-256 of its origin).
    pub fn checkpoint(&self, name: &str) -> Option<Arc<Vec<u8>>> {
        let known = self.of(name, false)?;
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.note.clone()
    }
}
