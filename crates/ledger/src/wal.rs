//! The write-ahead log's writing end: segments of written zeros, one write and one fdatasync a
//! commit. Opening it is recovery ([`recover`]); see docs/format/wal.md.
//!
//! Invariants:
//! - A segment has its name only when header and zeros are durable; a write never allocates.
//! - A commit lies in one segment; a segment is left only when all its frames are durable.
//! - After a failed write or sync nothing is written any more ([`Fatal`]).
//! - Lack of space is found while the next segment is prepared, and is a refusal.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use crate::error::is_full;
use crate::frame::{self, Head, Mark, SEGMENT_HEADER, SegmentHeader};
use crate::io::{Io, IoFile};

/// Default size of a segment, in bytes.
pub const SEGMENT_BYTES: u32 = 16 << 20;
/// Least size of a segment, in bytes.
pub const SEGMENT_BYTES_MIN: u32 = 16 << 10;
/// Greatest size of a segment, in bytes.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// Zeros written at a time.
const ZEROS: usize = 256 << 10;
const _: () = assert!(ZEROS.is_multiple_of(4096));

/// A write or sync failed: what is on disk is not known, and the process has to end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("ledger: {what} failed: {why}; the process ends, and a restart recovers")]
pub struct Fatal {
    /// What failed.
    pub what: String,
    /// The operating system's reason.
    pub why: String,
}

impl Fatal {
    pub(crate) fn new(what: impl Into<String>, why: &io::Error) -> Self {
        Self {
            what: what.into(),
            why: why.to_string(),
        }
    }
}

/// Why there is no next segment.
#[derive(Clone, Debug)]
pub(crate) enum NoNext {
    /// No space, or another refusal of the operating system before anything was promised.
    Refused(String),
    /// A sync failed.
    Fatal(Fatal),
}

/// The name of a segment.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:010}.wal")
}

/// The number in a segment's name.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".wal")?;
    let number = digits.parse().ok()?;
    (digits.len() == 10 && segment_name(number) == name).then_some(number)
}

/// The temporary name under which a segment is written.
pub(crate) fn temporary_name(number: u32) -> String {
    format!("{number:010}.wal.new")
}

/// Writes a segment (header, `frames`, zeros) under its temporary name and syncs it, then names it
/// and syncs the folder.
pub(crate) fn write_segment(
    io: &dyn Io,
    header: &SegmentHeader,
    frames: &[u8],
) -> Result<Box<dyn IoFile>, NoNext> {
    let name = temporary_name(header.number);
    match fill(io, &name, header, frames) {
        Ok(file) => Ok(file),
        Err(NoNext::Refused(why)) => {
            // Best effort: the next attempt empties the file, and recovery removes it.
            let _ = io.remove(&name);
            Err(NoNext::Refused(why))
        }
        Err(fatal) => Err(fatal),
    }
}

fn fill(
    io: &dyn Io,
    name: &str,
    header: &SegmentHeader,
    frames: &[u8],
) -> Result<Box<dyn IoFile>, NoNext> {
    let refused = |what: &str| {
        let what = format!("{what} {name}");
        move |error: io::Error| {
            NoNext::Refused(if is_full(&error) {
                format!("no space for {name}")
            } else {
                format!("cannot {what}: {error}")
            })
        }
    };
    // A sync that says that there is no space has promised nothing: the file has no name yet.
    let sync = |what: &'static str| {
        move |error: io::Error| {
            if is_full(&error) {
                NoNext::Refused(format!("no space for {name}"))
            } else {
                NoNext::Fatal(Fatal::new(format!("{what} {name}"), &error))
            }
        }
    };
    let size = u64::from(header.size);
    if io.free_bytes().map_err(refused("ask for space for"))? < size {
        return Err(NoNext::Refused(format!(
            "no space for {name} ({size} bytes)"
        )));
    }
    let mut file = io.create(name).map_err(refused("create"))?;
    let mut start = header.encode().to_vec();
    start.extend_from_slice(frames);
    file.write_at(0, &start).map_err(refused("write"))?;
    let zeros = vec![0; ZEROS.min(header.size as usize)];
    let mut at = start.len() as u64;
    while at < size {
        let count = usize::try_from(size - at).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_at(at, &zeros[..count])
            .map_err(refused("write"))?;
        at += count as u64;
    }
    file.sync_all().map_err(sync("fsync of"))?;
    io.rename(name, &segment_name(header.number))
        .map_err(refused("rename"))?;
    // The name may or may not be durable now: recovery takes it either way.
    io.sync_folder()
        .map_err(sync("fsync of the folder after"))?;
    Ok(file)
}

/// Where next segments are prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Prepare {
    /// On a thread of its own, ahead of need.
    Ahead,
    /// By the writer, when needed: for the simulator, where each step has its place.
    #[cfg(test)]
    Inline,
}

/// The writing end. One thread owns it.
pub(crate) struct Wal {
    io: Arc<dyn Io>,
    prepare: Prepare,
    file: Box<dyn IoFile>,
    header: SegmentHeader,
    seed: u32,
    /// Where the next commit begins.
    end: u32,
    /// Everything before it is durable: in this segment after its first commit, until then in the
    /// one before.
    durable: Mark,
    /// Size of segments to come.
    size: u32,
    /// Frames of the commit in hand.
    buffer: Vec<u8>,
    /// Up to where a frame has told that the log is durable; a heartbeat's own bytes included.
    told: Mark,
    /// The answer of the helper thread, when one was started.
    next: Option<Receiver<Result<Box<dyn IoFile>, NoNext>>>,
}

impl Wal {
    /// Takes over a segment that [`write_segment`] made, with frames up to `end`.
    pub(crate) fn new(
        io: Arc<dyn Io>,
        prepare: Prepare,
        file: Box<dyn IoFile>,
        header: SegmentHeader,
        end: u32,
        size: u32,
    ) -> Self {
        let durable = Mark {
            segment: header.number,
            offset: end,
        };
        let mut wal = Self {
            io,
            prepare,
            file,
            header,
            seed: header.seed(),
            end,
            durable,
            size,
            buffer: Vec::new(),
            told: durable,
            next: None,
        };
        wal.ask();
        wal
    }

    /// Everything before it is durable.
    pub(crate) fn durable(&self) -> Mark {
        self.durable
    }

    /// Up to where a frame has told that the log is durable.
    pub(crate) fn told(&self) -> Mark {
        self.told
    }

    /// Whether the log is durable further than any frame tells.
    pub(crate) fn untold(&self) -> bool {
        self.durable > self.told
    }

    /// Bytes that still fit into this segment.
    pub(crate) fn room(&self) -> usize {
        self.header.size as usize - self.end as usize - self.buffer.len()
    }

    /// Bytes of frames that an empty segment takes.
    pub(crate) fn capacity(&self) -> usize {
        self.size as usize - SEGMENT_HEADER
    }

    /// Adds a frame to the commit in hand; there is room for it.
    pub(crate) fn push(&mut self, head: &Head, record: &[u8], attachment: &[u8]) {
        debug_assert!(frame::frame_bytes(record.len(), attachment.len()) <= self.room());
        frame::put(&mut self.buffer, self.seed, head, record, attachment);
        self.told = self.told.max(head.durable);
    }

    /// Adds a root frame, which tells how far the log is durable. Its own bytes need no telling.
    pub(crate) fn push_root(&mut self, head: &Head) {
        self.push(head, &[], &[]);
        self.told = Mark {
            segment: self.header.number,
            offset: self.end + self.buffer.len() as u32,
        };
    }

    /// Writes the commit in hand and makes it durable.
    pub(crate) fn commit(&mut self) -> Result<(), Fatal> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let name = segment_name(self.header.number);
        self.file
            .write_at(u64::from(self.end), &self.buffer)
            .map_err(|error| Fatal::new(format!("write to {name}"), &error))?;
        self.file
            .sync_data()
            .map_err(|error| Fatal::new(format!("fdatasync of {name}"), &error))?;
        // Fits: the buffer was filled within the segment's size.
        self.end += self.buffer.len() as u32;
        self.durable = Mark {
            segment: self.header.number,
            offset: self.end,
        };
        self.buffer.clear();
        Ok(())
    }

    /// Moves on to the next segment. Nothing is pending.
    pub(crate) fn rotate(&mut self) -> Result<(), NoNext> {
        debug_assert!(self.buffer.is_empty());
        let header = self.next_header()?;
        let file = match self.next.take() {
            Some(answer) => answer.recv().unwrap_or_else(|_| {
                Err(NoNext::Refused(
                    "cannot prepare a segment: its thread ended".into(),
                ))
            })?,
            None => write_segment(&*self.io, &header, &[])?,
        };
        self.file = file;
        self.header = header;
        self.seed = header.seed();
        self.end = SEGMENT_HEADER as u32;
        self.ask();
        Ok(())
    }

    /// Whether the filesystem says that it has space for the next segment.
    pub(crate) fn may_have_space(&self) -> bool {
        let free = self.io.free_bytes();
        free.is_ok_and(|free| free >= u64::from(self.size))
    }

    fn next_header(&self) -> Result<SegmentHeader, NoNext> {
        let number = self.header.number.checked_add(1);
        let number = number.ok_or_else(|| NoNext::Refused("segment numbers ended".into()))?;
        Ok(SegmentHeader {
            number,
            size: self.size,
            durable: SEGMENT_HEADER as u32,
            ..self.header
        })
    }

    /// Starts preparing the next segment. One that fails is tried again when it is needed.
    fn ask(&mut self) {
        self.next = match (self.prepare, self.next_header()) {
            (Prepare::Ahead, Ok(header)) => {
                let (answer, next) = mpsc::sync_channel(1);
                let io = Arc::clone(&self.io);
                std::thread::Builder::new()
                    .name("ledger-prepare".into())
                    .spawn(move || {
                        // Nobody waits any more if the ledger was closed.
                        let _ = answer.send(write_segment(&*io, &header, &[]));
                    })
                    .ok()
                    .map(|_| next)
            }
            _ => None,
        };
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        // The helper thread must not rename a segment into a folder that is no longer ours.
        if let Some(next) = self.next.take() {
            let _ = next.recv();
        }
    }
}
