//! Snapshots of the folds at a place in the write-ahead log: a start loads the newest and replays
//! only what follows (docs/format/snapshot.md).
//!
//! Invariants:
//! - What a snapshot holds was durable in the write-ahead log before, and is a function of it.
//! - A snapshot is believed only if the log, after its place, has the record of its digest; nothing
//!   is folded onto it before that was found.
//! - Fingerprints are encrypted under their client's key. A client whose keys were destroyed keeps
//!   what its sets count, and each subject counts as new.
//! - It is a copy: one that fails, is damaged or of another version costs time, never a record.

pub(crate) mod bytes;
mod fold;
mod keeper;
mod start;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use aws_lc_rs::rand;
use budget::{Budgets, NotRestored, Numbers, Remembered, Restore, SetCounts, SetId};
use event::{ActorId, ClientId, Digest, Plain};

use self::bytes::{Put, Source, Take, Writer};
use crate::frame::Mark;
use crate::io::Io;
use crate::list::{self, ListClosed, ListSealer, SALT_BYTES};
use crate::recover::Cursor;
use crate::state::State;

pub(crate) use keeper::{Keeper, Kept, Taken, counts_as_change};
pub use keeper::{SNAPSHOT_BYTES, SNAPSHOT_MS, SNAPSHOTS_KEPT};
pub(crate) use start::{Begun, begin};

/// The version of the folds: grows whenever the same records give another state, or its bytes
/// change. A snapshot of another version is not loaded.
pub const FOLD_VERSION: u16 = 5;

const MAGIC: [u8; 8] = *b"SEKISNP\x01";
const HEADER: usize = 64;
const END: u8 = 0;
const STATE: u8 = 1;
const SHAPES: u8 = 2;
const COUNTS: u8 = 3;
const KEYS: u8 = 4;
/// Keys that are encrypted together at most.
const PART_KEYS_MAX: usize = 1 << 16;
/// Shapes in one block at most.
const SHAPES_MAX: usize = 1 << 15;

/// Why there is no snapshot, or one is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the keys of client {client}: {why}")]
    Key { client: ClientId, why: ListClosed },
    #[error("the system gave no random bytes")]
    Entropy,
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    #[error("it is of version {0} of the folds, this program has version {FOLD_VERSION}")]
    Version(u16),
    #[error("it is malformed: {0}")]
    Budgets(#[from] NotRestored),
    #[error("the log has no record of its digest after its place")]
    NotRecorded,
    #[error("{0}")]
    Log(#[from] crate::LedgerError),
}

/// All folds, as of a durable place. Cheap to make: what is large is shared.
pub(crate) struct Fold {
    /// Everything before it is in.
    pub(crate) at: Mark,
    pub(crate) state: State,
    pub(crate) cursor: Cursor,
    pub(crate) shapes: Arc<HashSet<Digest>>,
    pub(crate) budgets: Budgets,
}

/// A snapshot that was read; whether to believe it is not decided yet.
pub(crate) struct Loaded {
    pub(crate) fold: Fold,
    pub(crate) numbers: Option<Numbers>,
    pub(crate) digest: Digest,
    /// Parts whose keys were destroyed.
    pub(crate) parts_destroyed: u64,
}

/// The name of a snapshot of what is before a record.
pub(crate) fn snapshot_name(sequence: u64) -> String {
    format!("{sequence:020}")
}

fn temporary_name(sequence: u64) -> String {
    format!("{sequence:020}.new")
}

/// The record's number in a snapshot's name.
fn snapshot_sequence(name: &str) -> Option<u64> {
    let sequence = name.parse().ok()?;
    (snapshot_name(sequence) == name).then_some(sequence)
}

/// Writes a snapshot under its name, durably; gives the digest of its bytes.
pub(crate) fn write(
    io: &dyn Io,
    fold: &Fold,
    sealer: &dyn ListSealer,
) -> Result<Digest, SnapshotError> {
    let sequence = fold.cursor.sequence;
    let temporary = temporary_name(sequence);
    let written = fill(io, &temporary, fold, sealer).and_then(|digest| {
        io.rename(&temporary, &snapshot_name(sequence))?;
        io.sync_folder()?;
        Ok(digest)
    });
    if written.is_err() {
        // Best effort: the next snapshot removes what is left.
        let _ = io.remove(&temporary);
    }
    written
}

fn fill(
    io: &dyn Io,
    name: &str,
    fold: &Fold,
    sealer: &dyn ListSealer,
) -> Result<Digest, SnapshotError> {
    let month = list::month(fold.cursor.wall_ms);
    let mut writer = Writer::new(io.create(name)?);
    let mut header = MAGIC.to_vec();
    header.u16(FOLD_VERSION);
    header.u16(0);
    header.u32(fold.at.segment);
    header.u32(fold.at.offset);
    header.u32(month);
    header.u64(fold.cursor.sequence);
    header.extend_from_slice(&fold.state.ledger);
    header.u32(fold.budgets.minute());
    header.resize(HEADER, 0);
    writer.raw(&header)?;
    let mut block = Vec::new();
    fold::put_cursor(&mut block, &fold.cursor);
    fold::put_state(&mut block, &fold.state);
    writer.block(STATE, &block)?;
    let mut shapes: Vec<_> = fold.shapes.iter().collect();
    shapes.sort_unstable();
    for some in shapes.chunks(SHAPES_MAX) {
        let bytes: Vec<u8> = some.iter().flat_map(|digest| digest.0).collect();
        writer.block(SHAPES, &bytes)?;
    }
    put_budgets(&mut writer, &fold.budgets, month, sealer)?;
    writer.block(END, &[])?;
    Ok(writer.finish()?)
}

fn put_budgets(
    writer: &mut Writer,
    budgets: &Budgets,
    month: u32,
    sealer: &dyn ListSealer,
) -> Result<(), SnapshotError> {
    let mut part: Option<Part> = None;
    for counts in budgets.counts() {
        let id = counts.id;
        if let Some(done) = part.take_if(|part| part.client != id.client) {
            done.seal(writer, month, sealer)?;
        }
        writer.block(COUNTS, &counts_bytes(&counts))?;
        for keys in budgets.remembered(id).chunks(PART_KEYS_MAX) {
            if let Some(done) = part.take_if(|part| part.keys + keys.len() > PART_KEYS_MAX) {
                done.seal(writer, month, sealer)?;
            }
            part.get_or_insert_with(|| Part::new(id.client))
                .add(id, keys);
        }
    }
    match part {
        Some(last) => last.seal(writer, month, sealer),
        None => Ok(()),
    }
}

fn counts_bytes(counts: &SetCounts) -> Vec<u8> {
    let SetCounts {
        id: SetId {
            client,
            actor,
            number,
        },
        minute,
        all,
        minutes,
    } = counts;
    let mut bytes = Vec::with_capacity(25 + 12 * minutes.len());
    bytes.u32(client.get());
    bytes.u32(actor.0);
    bytes.u8(*number);
    bytes.u32(*minute);
    bytes.u64(*all);
    bytes.count(minutes.len());
    for &(minute, weight) in minutes {
        bytes.u32(minute);
        bytes.u64(weight);
    }
    bytes
}

fn take_counts(bytes: &[u8]) -> Option<SetCounts> {
    let mut from = Take(bytes);
    let id = SetId {
        client: ClientId::new(from.u32()?)?,
        actor: ActorId(from.u32()?),
        number: from.u8()?,
    };
    let counts = SetCounts {
        id,
        minute: from.u32()?,
        all: from.u64()?,
        minutes: from.list(|from| Some((from.u32()?, from.u64()?)))?,
    };
    from.end(counts)
}

/// Keys of one client that are encrypted together.
struct Part {
    client: ClientId,
    keys: usize,
    plaintext: Plain<Vec<u8>>,
}

impl Part {
    fn new(client: ClientId) -> Self {
        Self {
            client,
            keys: 0,
            // The salt's place.
            plaintext: Plain::new(vec![0; SALT_BYTES]),
        }
    }

    fn add(&mut self, id: SetId, keys: &[Remembered]) {
        let bytes = self.plaintext.expose_mut();
        bytes.reserve(9 + 16 * keys.len());
        bytes.u32(id.actor.0);
        bytes.u8(id.number);
        bytes.count(keys.len());
        for key in keys {
            bytes.u64(key.key);
            bytes.u32(key.minute);
            bytes.u32(key.weight);
        }
        self.keys += keys.len();
    }

    fn seal(
        mut self,
        writer: &mut Writer,
        month: u32,
        sealer: &dyn ListSealer,
    ) -> Result<(), SnapshotError> {
        let client = self.client;
        let salt = &mut self.plaintext.expose_mut()[..SALT_BYTES];
        rand::fill(salt).map_err(|_| SnapshotError::Entropy)?;
        let plaintext = self.plaintext.expose();
        let commitment = list::commitment(plaintext);
        let sealed = match sealer.seal_list(client, month, &commitment, plaintext) {
            Ok(sealed) => sealed,
            // What its sets count is written; nobody may know the keys any more.
            Err(ListClosed::Destroyed) => return Ok(()),
            Err(why) => return Err(SnapshotError::Key { client, why }),
        };
        let mut block = Vec::with_capacity(36 + sealed.len());
        block.u32(client.get());
        block.extend_from_slice(&commitment.0);
        block.extend_from_slice(&sealed);
        Ok(writer.block(KEYS, &block)?)
    }
}

/// Reads a snapshot.
pub(crate) fn read(
    io: &dyn Io,
    sequence: u64,
    sealer: &dyn ListSealer,
) -> Result<Loaded, SnapshotError> {
    let name = snapshot_name(sequence);
    let mut source = Source::new(io, &name);
    let header = Header::take(&source.raw(HEADER)?)?;
    let (kind, block) = source.block()?;
    let (cursor, state) = Some(kind)
        .filter(|&kind| kind == STATE)
        .and_then(|_| take_folds(&block))
        .ok_or(SnapshotError::Malformed("its state"))?;
    let fits =
        header.sequence == sequence && cursor.sequence == sequence && state.ledger == header.ledger;
    if !fits {
        return Err(SnapshotError::Malformed("its place"));
    }
    let numbers = match &state.numbers {
        Some(toml) => Some(Numbers::parse(toml).map_err(|_| SnapshotError::Malformed("numbers"))?),
        None => None,
    };
    let entries_max = numbers.as_ref().map_or_else(
        || Numbers::default().entries_max,
        |numbers| numbers.entries_max,
    );
    let mut parts = Parts {
        shapes: HashSet::new(),
        restore: Restore::new(entries_max, header.minute),
        destroyed: 0,
        month: header.month,
        sealer,
    };
    loop {
        let (kind, block) = source.block()?;
        if kind == END {
            break;
        }
        parts.take(kind, &block)?;
    }
    let digest = source
        .finish()?
        .ok_or(SnapshotError::Malformed("its end"))?;
    let fold = Fold {
        at: header.at,
        state,
        cursor,
        shapes: Arc::new(parts.shapes),
        budgets: parts.restore.finish()?,
    };
    Ok(Loaded {
        fold,
        numbers,
        digest,
        parts_destroyed: parts.destroyed,
    })
}

fn take_folds(block: &[u8]) -> Option<(Cursor, State)> {
    let mut from = Take(block);
    let folds = (fold::take_cursor(&mut from)?, fold::take_state(&mut from)?);
    from.end(folds)
}

/// The segment of a snapshot's place; 0 if that cannot be read.
fn segment_of(io: &dyn Io, sequence: u64) -> u32 {
    let header = io.read_at(&snapshot_name(sequence), 0, HEADER as u64);
    let header = header.ok().and_then(|bytes| Header::take(&bytes).ok());
    header.map_or(0, |header| header.at.segment)
}

struct Header {
    at: Mark,
    month: u32,
    sequence: u64,
    ledger: [u8; 16],
    minute: u32,
}

impl Header {
    fn take(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut from = Take(bytes);
        let bad = SnapshotError::Malformed("its header");
        if from.array() != Some(MAGIC) {
            return Err(bad);
        }
        match (from.u16(), from.u16()) {
            (Some(FOLD_VERSION), Some(0)) => {}
            (Some(version), Some(0)) => return Err(SnapshotError::Version(version)),
            _ => return Err(bad),
        }
        let mut rest = || {
            let header = Self {
                at: Mark {
                    segment: from.u32()?,
                    offset: from.u32()?,
                },
                month: from.u32()?,
                sequence: from.u64()?,
                ledger: from.array()?,
                minute: from.u32()?,
            };
            let zeros = from.0.iter().all(|&byte| byte == 0);
            zeros.then_some(header)
        };
        rest().ok_or(bad)
    }
}

/// What the blocks after the first are taken into.
struct Parts<'a> {
    shapes: HashSet<Digest>,
    restore: Restore,
    destroyed: u64,
    month: u32,
    sealer: &'a dyn ListSealer,
}

impl Parts<'_> {
    fn take(&mut self, kind: u8, block: &[u8]) -> Result<(), SnapshotError> {
        match kind {
            SHAPES => {
                let (shapes, rest) = block.as_chunks();
                self.shapes
                    .extend(shapes.iter().map(|&shape| Digest(shape)));
                if rest.is_empty() {
                    Ok(())
                } else {
                    Err(SnapshotError::Malformed("shapes"))
                }
            }
            COUNTS => {
                let counts = take_counts(block).ok_or(SnapshotError::Malformed("counts"))?;
                Ok(self.restore.counts(&counts)?)
            }
            KEYS => self.keys(block),
            _ => Err(SnapshotError::Malformed("a block of unknown kind")),
        }
    }

    fn keys(&mut self, block: &[u8]) -> Result<(), SnapshotError> {
        let mut from = Take(block);
        let head = from
            .u32()
            .and_then(ClientId::new)
            .zip(from.array().map(Digest));
        let (client, commitment) = head.ok_or(SnapshotError::Malformed("keys"))?;
        let opened = self
            .sealer
            .open_list(client, self.month, &commitment, from.0);
        let plaintext = match opened {
            Ok(plaintext) => plaintext,
            Err(ListClosed::Destroyed) => {
                self.destroyed += 1;
                return Ok(());
            }
            Err(why) => return Err(SnapshotError::Key { client, why }),
        };
        if list::commitment(plaintext.expose()) != commitment {
            return Err(SnapshotError::Malformed("keys"));
        }
        let mut from = Take(plaintext.expose());
        let _salt = from.raw(SALT_BYTES);
        while !from.0.is_empty() {
            let (id, keys) = take_run(&mut from, client).ok_or(SnapshotError::Malformed("keys"))?;
            self.restore.remembered(id, &keys)?;
        }
        Ok(())
    }
}

fn take_run(from: &mut Take<'_>, client: ClientId) -> Option<(SetId, Vec<Remembered>)> {
    let id = SetId {
        client,
        actor: ActorId(from.u32()?),
        number: from.u8()?,
    };
    let keys = from.list(|from| {
        Some(Remembered {
            key: from.u64()?,
            minute: from.u32()?,
            weight: from.u32()?,
        })
    })?;
    Some((id, keys))
}
