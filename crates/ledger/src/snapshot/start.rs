//! The start: the newest snapshot that the log confirms and what follows it, or else everything.

use std::sync::Arc;

use event::record::{self, Body};
use event::{Digest, LogId};

use super::{FOLD_VERSION, Kept, Loaded, SnapshotError, read, segment_of, snapshot_sequence};
use crate::LedgerError;
use crate::frame::FrameKind;
use crate::io::Io;
use crate::list::ListSealer;
use crate::recover::{Scanned, Start, scan};
use crate::replay::Replay;

/// Snapshots that are tried before everything is replayed.
const TRIES_MAX: usize = 3;

/// What a start found.
pub(crate) struct Begun {
    pub(crate) replay: Replay,
    pub(crate) scanned: Scanned,
    /// The first record that the snapshot does not hold; `None`: everything was replayed.
    pub(crate) snapshot: Option<u64>,
    /// Snapshots to keep, ascending.
    pub(crate) kept: Vec<Kept>,
    /// Those that were not believed, and why.
    pub(crate) passed_over: Vec<(u64, String)>,
}

/// Folds the log, from a snapshot on where there is one. Changes nothing on disk.
///
/// # Errors
/// If the log is corrupt where it was read, or its records contradict each other.
pub(crate) fn begin(
    wal: &dyn Io,
    snapshots: Option<&dyn Io>,
    sealer: &Arc<dyn ListSealer>,
) -> Result<Begun, LedgerError> {
    let mut passed_over = Vec::new();
    // A folder that cannot be listed is one without snapshots.
    let names = snapshots.and_then(|io| io.list().ok()).unwrap_or_default();
    let mut sequences: Vec<u64> = names
        .iter()
        .filter_map(|name| snapshot_sequence(name))
        .collect();
    sequences.sort_unstable();
    for (place, &sequence) in sequences.iter().enumerate().rev().take(TRIES_MAX) {
        let Some(io) = snapshots else { break };
        match from_snapshot(wal, io, sequence, sealer) {
            Ok((replay, scanned, digest)) => {
                // The one before was not looked at; if it is bad, a later start passes it over.
                let kept = sequences[place.saturating_sub(1)..=place].iter();
                let kept = kept.map(|&of| Kept {
                    sequence: of,
                    segment: segment_of(io, of),
                    digest: (of == sequence).then_some(digest),
                });
                return Ok(Begun {
                    replay,
                    scanned,
                    snapshot: Some(sequence),
                    kept: kept.collect(),
                    passed_over,
                });
            }
            Err(why) => passed_over.push((sequence, why.to_string())),
        }
    }
    let mut replay = Replay::new(Arc::clone(sealer));
    let scanned = scan(wal, None, &mut |frame| replay.frame(frame))?;
    Ok(Begun {
        replay,
        scanned,
        snapshot: None,
        kept: Vec::new(),
        passed_over,
    })
}

fn from_snapshot(
    wal: &dyn Io,
    snapshots: &dyn Io,
    sequence: u64,
    sealer: &Arc<dyn ListSealer>,
) -> Result<(Replay, Scanned, Digest), SnapshotError> {
    let loaded = read(snapshots, sequence, &**sealer)?;
    let start = Start {
        at: loaded.fold.at,
        cursor: loaded.fold.cursor.clone(),
        ledger: loaded.fold.state.ledger,
    };
    if !is_recorded(wal, &start, &loaded)? {
        return Err(SnapshotError::NotRecorded);
    }
    let digest = loaded.digest;
    let mut replay = Replay::from(loaded, Arc::clone(sealer));
    let scanned = scan(wal, Some(&start), &mut |frame| replay.frame(frame))?;
    Ok((replay, scanned, digest))
}

/// Whether the log, after the snapshot's place, has the record of its digest.
fn is_recorded(wal: &dyn Io, start: &Start, loaded: &Loaded) -> Result<bool, SnapshotError> {
    let due = Body::Snapshot {
        fold: FOLD_VERSION,
        sequence: loaded.fold.cursor.sequence,
        digest: loaded.digest,
    };
    let due = record::encode(&due).map_err(|_| SnapshotError::Malformed("its place"))?;
    let mut found = false;
    scan(wal, Some(start), &mut |frame| {
        found |= frame.head.kind == FrameKind::Record
            && frame.head.log == LogId::Centre
            && frame.record == due;
        Ok(())
    })?;
    Ok(found)
}
