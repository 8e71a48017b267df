//! Frames as they become durable, read from the segments again: what is derived comes from the
//! disk's content, live as after a start.

use std::sync::Arc;

use crate::LedgerError;
use crate::archive::check_archived;
use crate::frame::{Found, Frame, Mark, SEGMENT_HEADER, SegmentHeader, look};
use crate::io::Io;
use crate::recover::corruption;
use crate::wal::segment_name;

/// Bytes read at once; a frame that is longer is read whole.
const CHUNK: u64 = 1 << 20;

/// Reads the frames of a ledger in order.
pub struct Follower {
    io: Arc<dyn Io>,
    /// Everything before it was given.
    at: Mark,
    /// The header of the segment of `at`; read when first needed.
    header: Option<SegmentHeader>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Follower({:?})", self.at)
    }
}

impl Follower {
    /// Before the first frame.
    pub fn new(io: Arc<dyn Io>) -> Self {
        let at = Mark {
            segment: 1,
            offset: SEGMENT_HEADER as u32,
        };
        Self::from(io, at)
    }

    /// From a place where a frame begins.
    pub fn from(io: Arc<dyn Io>, at: Mark) -> Self {
        Self {
            io,
            at,
            header: None,
        }
    }

    /// Everything before it was given.
    pub fn at(&self) -> Mark {
        self.at
    }

    /// Gives frames that lie before `durable` to `take`, until that says that it is enough.
    ///
    /// # Errors
    /// If they do not verify, cannot be read, or `take` fails.
    pub fn frames<E: From<LedgerError>>(
        &mut self,
        durable: Mark,
        take: &mut dyn FnMut(&Frame<'_>, Mark) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut chunk = CHUNK;
        while self.at < durable {
            let header = self.header()?;
            let end = if durable.segment == self.at.segment {
                durable.offset
            } else {
                header.size
            };
            let left = u64::from(end.saturating_sub(self.at.offset));
            let name = segment_name(self.at.segment);
            let bytes = self
                .io
                .read_at(&name, u64::from(self.at.offset), left.min(chunk))
                .map_err(|error| LedgerError::io(format!("read {name}"), error))?;
            let whole = bytes.len() as u64 == left;
            let before = self.at;
            let (found, enough) = self.take_from(&bytes, header.seed(), take)?;
            if enough {
                return Ok(());
            }
            if self.at > before {
                chunk = CHUNK;
            } else if !whole && found == Found::Bad {
                // The frame is longer than what was read.
                chunk = chunk.saturating_mul(4);
            } else if found == Found::Nothing && durable.segment > self.at.segment {
                self.at = Mark {
                    segment: self.at.segment + 1,
                    offset: SEGMENT_HEADER as u32,
                };
                self.header = None;
            } else {
                let what = "a frame that was durable does not verify";
                return Err(corruption(self.at.segment, self.at.offset as usize, what).into());
            }
        }
        Ok(())
    }

    /// Gives the frames in `bytes`; says what stands after them, and whether it was enough.
    fn take_from<E: From<LedgerError>>(
        &mut self,
        bytes: &[u8],
        seed: u32,
        take: &mut dyn FnMut(&Frame<'_>, Mark) -> Result<bool, E>,
    ) -> Result<(Found<'static>, bool), E> {
        let mut at = 0;
        loop {
            match look(&bytes[at..], seed) {
                Found::Frame(frame) => {
                    check_archived(&*self.io, &frame)?;
                    at += frame.len;
                    self.at.offset += frame.len as u32;
                    if take(&frame, self.at)? {
                        return Ok((Found::Nothing, true));
                    }
                }
                Found::Nothing => return Ok((Found::Nothing, false)),
                Found::Bad => return Ok((Found::Bad, false)),
            }
        }
    }

    fn header(&mut self) -> Result<SegmentHeader, LedgerError> {
        if let Some(header) = self.header {
            return Ok(header);
        }
        let name = segment_name(self.at.segment);
        let bytes = self
            .io
            .read_at(&name, 0, SEGMENT_HEADER as u64)
            .map_err(|error| LedgerError::io(format!("read {name}"), error))?;
        let header = SegmentHeader::decode(&bytes)
            .filter(|header| header.number == self.at.segment)
            .ok_or_else(|| corruption(self.at.segment, 0, "its header does not verify"))?;
        self.header = Some(header);
        Ok(header)
    }
}
