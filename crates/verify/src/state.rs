//! What a client remembers between two looks. Written whole or not at all.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use event::LogId;
use tlog::Hash;

use crate::entry::Times;
use crate::key::KeyFile;
use crate::places::hex;
use crate::platform;

/// The longest state file, in bytes.
const STATE_BYTES_MAX: u64 = 16 << 20;
const VERSION: u32 = 1;

/// A log as it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Entries.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
}

/// What was verified when a client looked last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The ledger's id.
    pub ledger: [u8; 16],
    /// Whose log.
    pub log: LogId,
    /// The generation.
    pub generation: u32,
    /// The client's or centre's log.
    pub own: Head,
    /// The root log.
    pub root: Head,
    /// Peaks of the root log's tree, the largest first: reading goes on from there.
    pub peaks: Vec<Hash>,
    /// Times of the newest root leaf.
    pub leaf: Times,
    /// Slots in that leaf.
    pub slots: u32,
    /// Entries of the log in that leaf's slot.
    pub slot_size: u64,
    /// Wall clock of the first root leaf whose slot had that size.
    pub slot_since_ms: u64,
    /// Root leaves that a quorum has cosigned.
    pub covered: u64,
    /// When they were; and from when on the rest waits (wall clock of the first leaf).
    pub covered_ms: u64,
    /// Wall clock of the first leaf that no quorum has cosigned, and the log's size before it.
    pub pending: Option<(u64, u64)>,
    /// Serial of the list of log keys.
    pub keys_serial: u64,
    /// The log keys by number.
    pub keys: BTreeMap<u32, [u8; 32]>,
    /// Time stamps, if they were checked.
    pub stamps: Option<StampsSeen>,
    /// When this was written, by the local clock.
    pub checked_ms: u64,
}

/// Time stamps that were verified.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StampsSeen {
    /// Lines of their index.
    pub lines: u64,
    /// SHA-256 of these lines, hexadecimal.
    pub index: String,
    /// Which authorities were trusted ([`stamp::Roots::digest`]), hexadecimal.
    pub roots: String,
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not one of this version.
    #[error("this is not a state file of sekisho-verify: {0}")]
    Format(String),
    /// Of another log.
    #[error("the state file remembers {0}, the key file is for another log")]
    Other(String),
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    ledger: String,
    log: u32,
    generation: u32,
    own_size: u64,
    own_root: String,
    root_size: u64,
    root_root: String,
    peaks: Vec<String>,
    leaf_wall_ms: u64,
    leaf_elapsed_ms: u64,
    slots: u32,
    slot_size: u64,
    slot_since_ms: u64,
    covered: u64,
    covered_ms: u64,
    pending: Option<(u64, u64)>,
    keys_serial: u64,
    keys: BTreeMap<u32, String>,
    #[serde(default)]
    stamps: Option<StampsSeen>,
    checked_ms: u64,
}

impl Remembered {
    /// Reads a state file; `None` if there is none.
    ///
    /// # Errors
    /// If it is none, or of another log.
    pub fn load(path: &Path, key_file: &KeyFile) -> Result<Option<Self>, StateError> {
        let text = match platform::read_text(path, STATE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(StateError::Format(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let it = Self::decode(&text)?;
        if it.ledger != key_file.ledger || it.log != key_file.log {
            return Err(StateError::Other(format!(
                "log {} of ledger {}",
                it.log.number(),
                hex(&it.ledger)
            )));
        }
        Ok(Some(it))
    }

    /// Writes it in place of the one before: whole or not at all.
    ///
    /// # Errors
    /// If the disk refuses; then the one before is still there.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        platform::write_atomically(path, self.encode().as_bytes(), platform::Mode::Private)
    }

    fn encode(&self) -> String {
        let file = File {
            version: VERSION,
            ledger: hex(&self.ledger),
            log: self.log.number(),
            generation: self.generation,
            own_size: self.own.size,
            own_root: self.own.root.to_string(),
            root_size: self.root.size,
            root_root: self.root.root.to_string(),
            peaks: self.peaks.iter().map(Hash::to_string).collect(),
            leaf_wall_ms: self.leaf.wall_ms,
            leaf_elapsed_ms: self.leaf.elapsed_ms,
            slots: self.slots,
            slot_size: self.slot_size,
            slot_since_ms: self.slot_since_ms,
            covered: self.covered,
            covered_ms: self.covered_ms,
            pending: self.pending,
            keys_serial: self.keys_serial,
            keys: self
                .keys
                .iter()
                .map(|(number, key)| (*number, Hash(*key).to_string()))
                .collect(),
            stamps: self.stamps.clone(),
            checked_ms: self.checked_ms,
        };
        let mut text = serde_json::to_string_pretty(&file).expect("numbers and texts are JSON");
        text.push('\n');
        text
    }

    fn decode(text: &str) -> Result<Self, StateError> {
        let format = |why: &str| StateError::Format(why.to_owned());
        let file: File = serde_json::from_str(text).map_err(|error| format(&error.to_string()))?;
        if file.version != VERSION {
            return Err(format("its version is not 1"));
        }
        let hash = |text: &String| {
            text.parse::<Hash>()
                .map_err(|error| format(&error.to_string()))
        };
        let ledger = u128::from_str_radix(&file.ledger, 16)
            .map_err(|_| format("its ledger is no id"))?
            .to_be_bytes();
        let log = LogId::from_number(file.log).ok_or_else(|| format("its log is none"))?;
        let keys = file
            .keys
            .iter()
            .map(|(number, key)| Ok((*number, hash(key)?.0)));
        Ok(Self {
            ledger,
            log,
            generation: file.generation,
            own: Head {
                size: file.own_size,
                root: hash(&file.own_root)?,
            },
            root: Head {
                size: file.root_size,
                root: hash(&file.root_root)?,
            },
            peaks: file.peaks.iter().map(hash).collect::<Result<_, _>>()?,
            leaf: Times {
                wall_ms: file.leaf_wall_ms,
                elapsed_ms: file.leaf_elapsed_ms,
            },
            slots: file.slots,
            slot_size: file.slot_size,
            slot_since_ms: file.slot_since_ms,
            covered: file.covered,
            covered_ms: file.covered_ms,
            pending: file.pending,
            keys_serial: file.keys_serial,
            keys: keys.collect::<Result<_, StateError>>()?,
            stamps: file.stamps,
            checked_ms: file.checked_ms,
        })
    }
}
