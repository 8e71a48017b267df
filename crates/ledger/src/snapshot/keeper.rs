//! When snapshots are taken, where, and which are kept. Encoding and writing happen on a helper
//! thread; the recorder's thread only shares the folds with it and records the digest.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use event::Digest;
use event::record::Body;

use super::{Fold, snapshot_name, snapshot_sequence, write};
use crate::archive::Beyond;
use crate::io::Io;
use crate::list::ListSealer;
use crate::wal::Prepare;

/// A snapshot is taken when so many bytes of frames were written since the last one.
pub const SNAPSHOT_BYTES: u64 = 64 << 20;
/// Or so long after the last one, in ms of elapsed time, if something was recorded since.
pub const SNAPSHOT_MS: u64 = 10 * 60_000;
/// How many snapshots are kept.
pub const SNAPSHOTS_KEPT: usize = 2;

/// A recorded snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    pub(crate) sequence: u64,
    /// Of its place; 0: not known.
    pub(crate) segment: u32,
    /// Of its bytes, if they were looked at.
    pub(crate) digest: Option<Digest>,
}

/// A snapshot that is durable, or why there is none.
pub(crate) struct Taken {
    pub(crate) sequence: u64,
    /// Of its place.
    pub(crate) segment: u32,
    pub(crate) digest: Result<Digest, String>,
}

/// Owned by the recorder.
pub(crate) struct Keeper {
    /// `None`: no snapshots are taken.
    io: Option<Arc<dyn Io>>,
    prepare: Prepare,
    /// Recorded ones, ascending.
    kept: Vec<Kept>,
    taking: Option<Receiver<Taken>>,
    /// Bytes of frames since the last one.
    bytes: u64,
    /// Something was recorded since that a start does not make by itself.
    changed: bool,
    /// Elapsed time of the last one, ms.
    last_ms: u64,
}

impl Keeper {
    /// `kept`: those that were recorded, ascending; `bytes`, `changed`: of what was replayed.
    pub(crate) fn new(
        io: Option<Arc<dyn Io>>,
        prepare: Prepare,
        kept: Vec<Kept>,
        (bytes, changed): (u64, bool),
        elapsed_ms: u64,
    ) -> Self {
        Self {
            io,
            prepare,
            kept,
            taking: None,
            bytes,
            changed,
            last_ms: elapsed_ms,
        }
    }

    /// A record was added to the commit in hand.
    pub(crate) fn saw(&mut self, body: &Body, bytes: usize) {
        self.bytes += bytes as u64;
        self.changed |= counts_as_change(body);
    }

    /// Whether one has to be begun.
    pub(crate) fn is_due(&self, elapsed_ms: u64) -> bool {
        let due =
            self.bytes >= SNAPSHOT_BYTES || elapsed_ms.saturating_sub(self.last_ms) >= SNAPSHOT_MS;
        due && self.may_begin()
    }

    /// Whether a last one is worth taking at the end.
    pub(crate) fn may_begin(&self) -> bool {
        self.io.is_some() && self.changed && self.taking.is_none()
    }

    /// Begins one.
    pub(crate) fn begin(&mut self, fold: Fold, sealer: Arc<dyn ListSealer>) {
        let Some(io) = self.io.clone() else { return };
        (self.bytes, self.changed, self.last_ms) = (0, false, fold.cursor.elapsed_ms);
        let (done, taking) = mpsc::sync_channel(1);
        let work = move || {
            let taken = Taken {
                sequence: fold.cursor.sequence,
                segment: fold.at.segment,
                digest: write(&*io, &fold, &*sealer).map_err(|error| error.to_string()),
            };
            // Before the answer: until then the recorder copies what it changes.
            drop(fold);
            // The recorder waits for it before it ends.
            let _ = done.send(taken);
        };
        match self.prepare {
            Prepare::Ahead => {
                let thread = std::thread::Builder::new().name("ledger-snapshot".into());
                if thread.spawn(work).is_err() {
                    // Tried again when the next one is due.
                    return;
                }
            }
            #[cfg(test)]
            Prepare::Inline => work(),
        }
        self.taking = Some(taking);
    }

    /// The one that was begun, if it is done.
    pub(crate) fn finished(&mut self) -> Option<Taken> {
        match self.taking.as_ref()?.try_recv() {
            Ok(taken) => {
                self.taking = None;
                Some(taken)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.taking = None;
                None
            }
        }
    }

    /// The segment from which on a start may have to read the log: that of the oldest one kept; 0 if
    /// there are not as many as are to be kept.
    pub(crate) fn oldest_segment(&self) -> u32 {
        match self.kept.first() {
            Some(kept) if self.kept.len() >= SNAPSHOTS_KEPT => kept.segment,
            _ => 0,
        }
    }

    /// The newest one.
    pub(crate) fn newest(&self) -> Option<Beyond> {
        let kept = self.kept.last()?;
        Some(Beyond {
            name: kept.sequence,
            digest: kept.digest?,
        })
    }

    /// Waits for the one that was begun, if there is one.
    pub(crate) fn wait(&mut self) -> Option<Taken> {
        self.taking.take()?.recv().ok()
    }

    /// The record of one is durable: older ones are removed, and what was never recorded.
    pub(crate) fn recorded(&mut self, taken: Kept) {
        self.kept.push(taken);
        let surplus = self.kept.len().saturating_sub(SNAPSHOTS_KEPT);
        self.kept.drain(..surplus);
        let Some(io) = &self.io else { return };
        // Best effort: the next one tries again.
        for name in io.list().unwrap_or_default() {
            let ours = name.strip_suffix(".new").unwrap_or(&name);
            let Some(of) = snapshot_sequence(ours) else {
                continue;
            };
            let is_kept = self.kept.iter().any(|kept| kept.sequence == of);
            if name != snapshot_name(of) || !is_kept {
                let _ = io.remove(&name);
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The helper thread must not write to a folder that is no longer ours.
        let _ = self.wait();
    }
}

/// Whether a record is a reason for a snapshot: those of a start and a stop alone are not.
pub(crate) fn counts_as_change(body: &Body) -> bool {
    !matches!(
        body,
        Body::Started { .. }
            | Body::Stopped
            | Body::Snapshot { .. }
            | Body::Archived { .. }
            | Body::Space { .. }
    )
}
