//! Records as they become durable, read from the disk: for whoever folds them beside the recorder
//! without being in its way.

use std::path::Path;
use std::sync::Arc;

use crate::LedgerError;
use crate::archive::Segments;
use crate::frame::{FrameKind, Mark};
use crate::logs::Follower;
use crate::reader::Entry;

/// Reads the records of a ledger in order.
#[derive(Debug)]
pub struct Tail {
    follower: Follower,
}

impl Tail {
    /// Before the first record of the ledger in `folder`. What was beside archived records comes along
    /// where it still stands beside the logs.
    pub fn new(folder: &Path) -> Self {
        Self {
            follower: Follower::new(Arc::new(Segments::with_lists(folder))),
        }
    }

    /// Everything before it was given.
    pub fn at(&self) -> Mark {
        self.follower.at()
    }

    /// Gives at most `most` records that lie before `durable` to `take`; says how many.
    ///
    /// # Errors
    /// If they do not verify, cannot be read, or `take` fails.
    pub fn entries<E: From<LedgerError>>(
        &mut self,
        durable: Mark,
        most: usize,
        take: &mut dyn FnMut(Entry) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut given = 0;
        if most == 0 {
            return Ok(given);
        }
        self.follower.frames::<E>(durable, &mut |frame, _| {
            if frame.head.kind != FrameKind::Record {
                return Ok(false);
            }
            take(Entry {
                sequence: frame.head.sequence,
                log: frame.head.log,
                index: frame.head.index,
                wall_ms: frame.head.wall_ms,
                elapsed_ms: frame.head.elapsed_ms,
                record: frame.record.to_vec(),
                attachment: frame.attachment.to_vec(),
            })?;
            given += 1;
            Ok(given >= most)
        })?;
        Ok(given)
    }
}
