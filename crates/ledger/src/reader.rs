//! Reading a ledger, also while it is written, without its lock: `sekisho log`.
//!
//! Invariants: shows each record once, in order; never one beyond the furthest durable mark that
//! was told: what is shown will still be there after a crash. So a reader is behind the writer by
//! at most a heartbeat.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use event::LogId;

use crate::LedgerError;
use crate::archive::{Segments, check_archived};
use crate::frame::{Found, FrameKind, Mark, SEGMENT_HEADER, look};
use crate::io::Io;
use crate::recover::{Cursor, corruption, read_header, segments};

/// A record as it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place among all records, from 0.
    pub sequence: u64,
    /// Its log.
    pub log: LogId,
    /// Its index in that log, from 0.
    pub index: u64,
    /// The wall clock, ms since the Unix epoch.
    pub wall_ms: u64,
    /// Elapsed time of the ledger, ms.
    pub elapsed_ms: u64,
    /// The record's bytes: [`event::record::decode`].
    pub record: Vec<u8>,
    /// The encrypted bytes beside it; empty: none, or they were left out of the archive.
    pub attachment: Vec<u8>,
}

/// Reads records in order.
pub struct Reader {
    io: Arc<dyn Io>,
    cursor: Cursor,
    segment: u32,
    offset: usize,
    /// The furthest mark told so far.
    durable: Mark,
    /// Verified records with the place where they end, not yet shown.
    read: VecDeque<(Mark, Entry)>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader(segment {}, byte {})", self.segment, self.offset)
    }
}

impl Reader {
    /// Begins at the first record of the ledger in `folder`. Records from the archive come without
    /// what was beside them.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        Self::of(folder, Segments::without_lists(folder))
    }

    /// The same with what was beside archived records, where it still stands beside the logs.
    ///
    /// # Errors
    /// If there is none.
    pub fn with_lists(folder: &Path) -> Result<Self, LedgerError> {
        Self::of(folder, Segments::with_lists(folder))
    }

    fn of(folder: &Path, segments: Segments) -> Result<Self, LedgerError> {
        let wal = folder.join("wal");
        if !wal.is_dir() {
            return Err(LedgerError::Missing);
        }
        Self::over(Arc::new(segments))
    }

    pub(crate) fn over(io: Arc<dyn Io>) -> Result<Self, LedgerError> {
        if segments(&*io, 1)?.is_empty() {
            return Err(LedgerError::Missing);
        }
        Ok(Self {
            io,
            cursor: Cursor::default(),
            segment: 1,
            offset: SEGMENT_HEADER,
            durable: Mark::default(),
            read: VecDeque::new(),
        })
    }

    /// The next durable record; `None`: there is none yet. Ask again to follow.
    ///
    /// # Errors
    /// If the log does not verify where it was durable, or cannot be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LedgerError> {
        if self.is_shown() {
            self.fill()?;
        }
        if self.is_shown() {
            return Ok(None);
        }
        Ok(self.read.pop_front().map(|(_, entry)| entry))
    }

    /// Whether nothing that was read may be shown.
    fn is_shown(&self) -> bool {
        self.read.front().is_none_or(|(end, _)| *end > self.durable)
    }

    /// Reads on from where it stands: the rest of this segment, or the next one.
    fn fill(&mut self) -> Result<(), LedgerError> {
        loop {
            let numbers = segments(&*self.io, self.segment)?;
            let last = numbers.last().copied().unwrap_or(0);
            if self.segment > last {
                return Ok(());
            }
            // Recovery may have put the segment in a new file: frames keep their places.
            let (header, bytes) = read_header(&*self.io, self.segment)?;
            let told = Mark {
                segment: self.segment,
                offset: header.durable,
            };
            self.durable = self.durable.max(told);
            let advanced = self.read_frames(&bytes, header.seed())?;
            if !self.is_shown() {
                return Ok(());
            }
            let here = Mark {
                segment: self.segment,
                offset: self.offset as u32,
            };
            if self.durable > here {
                // Told durable, and not there: unless the file was written since it was read.
                if advanced {
                    continue;
                }
                return Err(corruption(
                    self.segment,
                    self.offset,
                    "a frame that was durable does not verify",
                ));
            }
            if self.segment >= last || !self.next_has_begun()? {
                return Ok(());
            }
        }
    }

    /// Takes verified frames from where it stands.
    fn read_frames(&mut self, bytes: &[u8], seed: u32) -> Result<bool, LedgerError> {
        let mut advanced = false;
        while let Some(Found::Frame(frame)) = bytes.get(self.offset..).map(|rest| look(rest, seed))
        {
            if let Some(what) = self.cursor.contradiction(&frame.head) {
                return Err(corruption(self.segment, self.offset, what));
            }
            check_archived(&*self.io, &frame)?;
            let head = frame.head;
            self.cursor.advance(&head);
            self.durable = self.durable.max(head.durable);
            self.offset += frame.len;
            advanced = true;
            if head.kind == FrameKind::Record {
                let end = Mark {
                    segment: self.segment,
                    offset: self.offset as u32,
                };
                let entry = Entry {
                    sequence: head.sequence,
                    log: head.log,
                    index: head.index,
                    wall_ms: head.wall_ms,
                    elapsed_ms: head.elapsed_ms,
                    record: frame.record.to_vec(),
                    attachment: frame.attachment.to_vec(),
                };
                self.read.push_back((end, entry));
            }
        }
        Ok(advanced)
    }

    /// Moves on to the next segment if it has a frame: then this one was left for good.
    fn next_has_begun(&mut self) -> Result<bool, LedgerError> {
        let next = self.segment + 1;
        let (header, bytes) = read_header(&*self.io, next)?;
        match look(&bytes[SEGMENT_HEADER..], header.seed()) {
            Found::Frame(frame) => {
                self.durable = self.durable.max(frame.head.durable);
                let here = Mark {
                    segment: self.segment,
                    offset: self.offset as u32,
                };
                if self.durable > here && self.durable.segment == self.segment {
                    // More of this segment was written since it was read.
                    return Ok(true);
                }
                self.segment = next;
                self.offset = SEGMENT_HEADER;
                Ok(true)
            }
            Found::Nothing | Found::Bad => Ok(false),
        }
    }
}
