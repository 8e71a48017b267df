//! Snapshots as the recorder takes them: begun when due, recorded when they are on disk.

use std::sync::Arc;

use event::LogId;
use event::record::Body;

use super::Core;
use crate::snapshot::{FOLD_VERSION, Fold, Kept, Taken};

impl Core {
    /// Records the snapshot that is done, and begins one that is due.
    pub(super) fn snapshot_if_due(&mut self) {
        if self.failed.is_some() {
            return;
        }
        if let Some(taken) = self.snapshots.finished() {
            self.snapshot_taken(&taken);
        }
        let (_, elapsed_ms) = self.now();
        if self.snapshots.is_due(elapsed_ms) {
            self.begin_snapshot();
        }
    }

    /// Takes one now if something changed, and waits for it.
    pub(crate) fn snapshot_now(&mut self) {
        if let Some(taken) = self.snapshots.wait() {
            self.snapshot_taken(&taken);
        }
        if self.failed.is_none() && self.snapshots.may_begin() {
            self.begin_snapshot();
            if let Some(taken) = self.snapshots.wait() {
                self.snapshot_taken(&taken);
            }
        }
    }

    fn begin_snapshot(&mut self) {
        // What the folds hold is durable now.
        if self.flush().is_err() {
            return;
        }
        let fold = Fold {
            at: self.wal.durable(),
            state: self.state.clone(),
            cursor: self.cursor.clone(),
            shapes: Arc::clone(&self.shapes),
            budgets: self.budgets.clone(),
        };
        self.snapshots.begin(fold, Arc::clone(&self.sealer));
    }

    /// A snapshot is on disk: its record makes it one to start from.
    fn snapshot_taken(&mut self, taken: &Taken) {
        let sequence = taken.sequence;
        let recorded = match &taken.digest {
            Ok(digest) => {
                let body = Body::Snapshot {
                    fold: FOLD_VERSION,
                    sequence,
                    digest: *digest,
                };
                self.put(LogId::Centre, &body)
                    .and_then(|_| self.flush())
                    .map_err(|refusal| refusal.to_string())
            }
            Err(why) => Err(why.clone()),
        };
        match recorded {
            Ok(()) => self.snapshots.recorded(Kept {
                sequence,
                segment: taken.segment,
                digest: taken.digest.as_ref().ok().copied(),
            }),
            Err(why) => (self.options.say)(&format!(
                "ledger: there is no snapshot before record {sequence}: {why}; the next start replays more"
            )),
        }
    }
}
