//! The kept root checkpoints that witnesses cosigned: `root/cosigned/YYYYMMDD`, a day in memory.

use std::collections::VecDeque;

use tlog::{Checkpoint, Hash, Note, Verified, VerifierKey};

use super::reader::taken;
use crate::key::KeyFile;
use crate::places::{self, COSIGNED_BYTES_MAX, Tree};
use crate::problem::{Problem, Problems};
use crate::store::Store;

const DAY_MS: u64 = 86_400_000;
/// So many days are looked for at most: a log whose first leaf claims to be older is not believed.
const DAYS_MAX: u64 = 40_000;

/// A root checkpoint whose signatures verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cosigned {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    /// When a quorum of the key file's witnesses had cosigned it, ms; `None`: it has not.
    pub(crate) quorum_ms: Option<u64>,
    /// Public keys of the log keys that signed.
    pub(crate) signers: Vec<[u8; 32]>,
    /// Where it was found.
    pub(crate) path: String,
}

/// Opens a root checkpoint.
///
/// # Errors
/// What is wrong with it, as a text.
pub(crate) fn open(
    note: &[u8],
    path: &str,
    keys: &[VerifierKey],
    key_file: &KeyFile,
) -> Result<(Checkpoint, Cosigned), String> {
    let note = Note::parse(note).map_err(|error| error.to_string())?;
    let opened = Checkpoint::open(&note, keys).map_err(|error| error.to_string())?;
    let signers = opened
        .signatures
        .iter()
        .filter(|it| it.time.is_none())
        .map(|it| *it.key.public())
        .collect();
    let cosigned = Cosigned {
        size: opened.checkpoint.size(),
        root: opened.checkpoint.root(),
        quorum_ms: quorum_ms(&opened.signatures, key_file),
        signers,
        path: path.to_owned(),
    };
    Ok((opened.checkpoint, cosigned))
}

/// The time at which a quorum was reached.
pub(crate) fn quorum_ms(signatures: &[Verified<'_>], key_file: &KeyFile) -> Option<u64> {
    let policy = &key_file.policy;
    if policy.needs_none() {
        return None;
    }
    let witness = |key: &VerifierKey| policy.witnesses().iter().find(|it| it.key == *key);
    let mut times: Vec<(u64, &str)> = signatures
        .iter()
        .filter_map(|it| Some((it.time?, witness(it.key)?.name.as_str())))
        .collect();
    times.sort_unstable();
    (1..=times.len())
        .find(|&count| policy.quorum(times[..count].iter().map(|it| it.1)))
        .map(|count| times[count - 1].0.saturating_mul(1000))
}

/// Behind so many damaged ones of a day the next is looked for.
const DAMAGED_MAX: u32 = 64;

/// Walks the kept checkpoints, smallest first.
pub(crate) struct Kept<'a> {
    store: &'a dyn Store,
    key_file: &'a KeyFile,
    keys: &'a [VerifierKey],
    day: u64,
    /// The first day that is not looked for.
    end: u64,
    notes: VecDeque<Cosigned>,
    /// Those of at most so many leaves were looked at before.
    seen: u64,
    /// Leaves of the newest one so far.
    last: u64,
}

impl<'a> Kept<'a> {
    /// From a day before `from_ms` to a day after `now_ms`; those of at most `size` leaves are left
    /// out.
    pub(crate) fn new(
        store: &'a dyn Store,
        key_file: &'a KeyFile,
        keys: &'a [VerifierKey],
        (from_ms, now_ms): (u64, u64),
        size: u64,
    ) -> Self {
        let end = now_ms / DAY_MS + 2;
        Self {
            store,
            key_file,
            keys,
            day: (from_ms / DAY_MS)
                .saturating_sub(1)
                .max(end.saturating_sub(DAYS_MAX)),
            end,
            notes: VecDeque::new(),
            seen: size,
            last: size,
        }
    }

    /// The next one if it has at most `size` leaves.
    pub(crate) fn up_to(&mut self, size: u64, problems: &mut Problems) -> Option<Cosigned> {
        while self.notes.is_empty() && self.day < self.end {
            let day = self.day;
            self.day += 1;
            self.load(day, problems);
        }
        self.notes.pop_front_if(|next| next.size <= size)
    }

    fn load(&mut self, day: u64, problems: &mut Problems) {
        let path = places::cosigned(day);
        let found = self.store.read(&path, COSIGNED_BYTES_MAX);
        if matches!(found, Ok(None)) {
            return;
        }
        let Some(bytes) = taken(&path, found, problems) else {
            return;
        };
        let first = format!("{}\n", self.key_file.origin(Tree::Root));
        let (mut at, mut damaged) = (0, 0);
        while at < bytes.len() {
            let mut length = Note::first_length(&bytes[at..]);
            let one = &bytes[at..at + length];
            if self.is_of_before(one) {
                at += length;
                continue;
            }
            match open(one, &path, self.keys, self.key_file) {
                Ok((_, cosigned)) => self.take(cosigned, problems),
                Err(why) => {
                    let (path, at) = (path.clone(), at as u64);
                    problems.add(Problem::CosignedUnread { path, at, why });
                    damaged += 1;
                    let next = Note::next_beginning(one, &first);
                    length = next.filter(|_| damaged < DAMAGED_MAX).unwrap_or(length);
                }
            }
            at += length;
        }
    }

    /// Whether a note is of an earlier generation: what that one promised, a declared loss may have
    /// ended, and its own key file checks it.
    fn is_of_before(&self, note: &[u8]) -> bool {
        let ours = format!("sekisho/{}/", places::hex(&self.key_file.ledger));
        let generation = std::str::from_utf8(note)
            .ok()
            .and_then(|note| {
                note.lines()
                    .next()?
                    .strip_prefix(&ours)?
                    .strip_suffix("/root")
            })
            .and_then(|number| number.parse::<u32>().ok());
        generation.is_some_and(|generation| generation < self.key_file.generation)
    }

    fn take(&mut self, cosigned: Cosigned, problems: &mut Problems) {
        let size = cosigned.size;
        if size > self.last {
            self.last = size;
            self.notes.push_back(cosigned);
        } else if size > self.seen {
            let path = cosigned.path;
            problems.add(Problem::CosignedOrder { path, size });
        }
    }
}
