//! Recovery, which is the normal start: reads and verifies segments, all of them or from a snapshot's
//! place on, cuts a torn tail, and
//! writes the last segment anew under a new epoch before anything is appended.
//!
//! After a crash the page cache may hold frames that never reached the disk (failed pages are
//! marked clean): so the tail is copied into a new file, file and folder are synced, and only then
//! is anything derived from it or promised.
//!
//! Invariants: a frame that does not verify below the furthest durable mark that was told is
//! corruption and stops the start; above it it is a torn tail and is cut. Recovering twice gives
//! the same frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::LogId;

use crate::LedgerError;
use crate::archive::check_archived;
use crate::frame::{self, Found, Frame, FrameKind, Head, Mark, SEGMENT_HEADER, SegmentHeader};
use crate::io::Io;
use crate::wal::{
    NoNext, Prepare, SEGMENT_BYTES_MAX, Wal, segment_name, segment_number, temporary_name,
    write_segment,
};

/// Where the next record goes, and what the last frame said.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Cursor {
    /// The next record's sequence.
    pub(crate) sequence: u64,
    /// The next index of each log.
    pub(crate) indexes: BTreeMap<LogId, u64>,
    /// The next root frame's index.
    pub(crate) roots: u64,
    /// The last frame's wall clock, ms.
    pub(crate) wall_ms: u64,
    /// The last frame's elapsed time, ms.
    pub(crate) elapsed_ms: u64,
}

impl Cursor {
    /// The next index of a log.
    pub(crate) fn index(&self, log: LogId) -> u64 {
        self.indexes.get(&log).copied().unwrap_or(0)
    }

    /// The next root frame's index.
    pub(crate) fn roots(&self) -> u64 {
        self.roots
    }

    /// Moves past a frame.
    pub(crate) fn advance(&mut self, head: &Head) {
        self.wall_ms = head.wall_ms;
        self.elapsed_ms = head.elapsed_ms;
        if head.kind == FrameKind::Record {
            self.sequence = head.sequence + 1;
            self.indexes.insert(head.log, head.index + 1);
        } else {
            self.roots = head.index + 1;
        }
    }

    /// What contradicts the frames before, if something does.
    pub(crate) fn contradiction(&self, head: &Head) -> Option<String> {
        if head.sequence != self.sequence {
            return Some(format!(
                "record {} where record {} is due",
                head.sequence, self.sequence
            ));
        }
        let due = match head.kind {
            FrameKind::Record => self.index(head.log),
            FrameKind::Root => self.roots,
        };
        if head.index != due {
            let log = head.log.number();
            return Some(format!(
                "index {} of log {log} where {due} is due",
                head.index
            ));
        }
        if head.wall_ms < self.wall_ms || head.elapsed_ms < self.elapsed_ms {
            return Some("time goes back".into());
        }
        None
    }
}

/// A place where a frame begins, and what the frames before it come to.
pub(crate) struct Start {
    pub(crate) at: Mark,
    pub(crate) cursor: Cursor,
    pub(crate) ledger: [u8; 16],
}

/// What a scan found: verified, and nothing changed on disk.
pub(crate) struct Scanned {
    pub(crate) cursor: Cursor,
    /// Bytes of torn tail, to be cut.
    pub(crate) tail_cut: u64,
    /// Where the frames began that were shown.
    pub(crate) from: Mark,
    /// Bytes of frames that were shown.
    pub(crate) bytes: u64,
    last: Segment,
    /// Segments after the last one with a frame: prepared ahead, or torn in their first commit.
    empty: Vec<u32>,
    epoch: u64,
}

/// A verified segment.
struct Segment {
    header: SegmentHeader,
    bytes: Vec<u8>,
    /// Where its last frame ends.
    end: usize,
    /// Bytes from `end` to the last that is not zero.
    torn: u64,
}

pub(crate) type Visit<'a> = dyn FnMut(&Frame<'_>) -> Result<(), LedgerError> + 'a;

/// The numbers of the segments in a folder from one on, ascending, without a gap.
pub(crate) fn segments(io: &dyn Io, from: u32) -> Result<Vec<u32>, LedgerError> {
    let names = io
        .list()
        .map_err(|error| LedgerError::io("list the folder", error))?;
    let numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .filter(|&number| number >= from)
        .collect();
    for (due, &number) in (from..).zip(&numbers) {
        if number != due {
            return Err(corruption(due, 0, "the segment is missing"));
        }
    }
    Ok(numbers)
}

pub(crate) fn corruption(segment: u32, offset: usize, what: impl Into<String>) -> LedgerError {
    LedgerError::Corruption {
        segment,
        offset: offset as u64,
        what: what.into(),
    }
}

/// Makes the first segment of a new ledger.
pub(crate) fn create(
    io: Arc<dyn Io>,
    prepare: Prepare,
    ledger: [u8; 16],
    size: u32,
) -> Result<Wal, LedgerError> {
    remove_blank(&*io)?;
    let header = SegmentHeader {
        number: 1,
        epoch: 1,
        ledger,
        size,
        durable: SEGMENT_HEADER as u32,
    };
    let file = write_segment(&*io, &header, &[]).map_err(start_error)?;
    Ok(Wal::new(
        io,
        prepare,
        file,
        header,
        SEGMENT_HEADER as u32,
        size,
    ))
}

/// Removes what a creation left that ended before the first record was durable.
fn remove_blank(io: &dyn Io) -> Result<(), LedgerError> {
    let numbers = segments(io, 1)?;
    for &number in &numbers {
        let (header, bytes) = read_header(io, number)?;
        if frame::furthest_told(&bytes[SEGMENT_HEADER..], header.seed()).is_some() {
            return Err(LedgerError::Exists);
        }
    }
    for number in numbers.into_iter().rev() {
        let name = segment_name(number);
        io.remove(&name)
            .map_err(|error| LedgerError::io(format!("remove {name}"), error))?;
    }
    Ok(())
}

fn start_error(error: NoNext) -> LedgerError {
    match error {
        NoNext::Refused(what) => LedgerError::NoSpace { what },
        NoNext::Fatal(fatal) => LedgerError::Io {
            what: fatal.what.clone(),
            source: std::io::Error::other(fatal.why),
        },
    }
}

/// Verifies the segments, from that of `start` on; `visit` sees each frame from there, in order.
pub(crate) fn scan(
    io: &dyn Io,
    start: Option<&Start>,
    visit: &mut Visit<'_>,
) -> Result<Scanned, LedgerError> {
    let mut cursor = start.map_or_else(Cursor::default, |start| start.cursor.clone());
    let from = start.map_or(mark(1, SEGMENT_HEADER), |start| start.at);
    let mut ledger = start.map(|start| start.ledger);
    let mut last: Option<Segment> = None;
    let mut epoch = 0;
    let mut tail_cut = 0;
    let mut bytes = 0;
    let mut empty = Vec::new();
    let mut visit = |frame: &Frame<'_>| {
        check_archived(io, frame)?;
        visit(frame)
    };
    for number in segments(io, from.segment)? {
        let (header, content) = read_header(io, number)?;
        if *ledger.get_or_insert(header.ledger) != header.ledger {
            return Err(corruption(number, 0, "the segment is of another ledger"));
        }
        epoch = epoch.max(header.epoch);
        let before = last
            .as_ref()
            .map(|last| (last.header.number, last.end, last.torn));
        let from = if number == from.segment {
            from.offset as usize
        } else {
            SEGMENT_HEADER
        };
        let segment = verify(header, content, &mut cursor, (before, from), &mut visit)?;
        bytes += segment.end.saturating_sub(from) as u64;
        if segment.end == SEGMENT_HEADER && number > 1 {
            tail_cut += segment.torn;
            empty.push(number);
            continue;
        }
        if let Some(&skipped) = empty.first() {
            return Err(corruption(skipped, SEGMENT_HEADER, "the segment is empty"));
        }
        last = Some(segment);
    }
    let last = last.ok_or(LedgerError::Missing)?;
    tail_cut += last.torn;
    Ok(Scanned {
        cursor,
        tail_cut,
        from,
        bytes,
        last,
        empty,
        epoch,
    })
}

/// Makes the writing end: removes empty segments, and writes the last one anew under a new epoch.
/// Segments made from here on have `size` bytes.
pub(crate) fn recover(
    io: Arc<dyn Io>,
    prepare: Prepare,
    size: u32,
    scanned: &Scanned,
) -> Result<Wal, LedgerError> {
    remove_temporaries(&*io)?;
    for &number in scanned.empty.iter().rev() {
        let name = segment_name(number);
        io.remove(&name)
            .map_err(|error| LedgerError::io(format!("remove {name}"), error))?;
    }
    rewrite(io, prepare, size, scanned.epoch, &scanned.last)
}

fn remove_temporaries(io: &dyn Io) -> Result<(), LedgerError> {
    let names = io
        .list()
        .map_err(|error| LedgerError::io("list the folder", error))?;
    for name in names {
        let number = name.strip_suffix(".new").and_then(segment_number);
        if number.is_some_and(|number| temporary_name(number) == name) {
            io.remove(&name)
                .map_err(|error| LedgerError::io(format!("remove {name}"), error))?;
        }
    }
    Ok(())
}

/// A segment's header and all its bytes.
pub(crate) fn read_header(
    io: &dyn Io,
    number: u32,
) -> Result<(SegmentHeader, Vec<u8>), LedgerError> {
    let name = segment_name(number);
    let bytes = io
        .read(&name, u64::from(SEGMENT_BYTES_MAX))
        .map_err(|error| LedgerError::io(format!("read {name}"), error))?;
    // A segment has its name only when it was durable: no crash excuses a bad header.
    let header = SegmentHeader::decode(&bytes)
        .ok_or_else(|| corruption(number, 0, "its header does not verify"))?;
    if header.number != number {
        let what = format!("it says that it is segment {}", header.number);
        return Err(corruption(number, 0, what));
    }
    if header.size as usize != bytes.len() {
        let what = format!("{} bytes long instead of {}", bytes.len(), header.size);
        return Err(corruption(number, 0, what));
    }
    Ok((header, bytes))
}

/// Verifies a segment's frames against those before, and shows those from `from` on to `visit`;
/// `cursor` stands there. `before`: number, end and torn bytes of the segment before.
fn verify(
    header: SegmentHeader,
    bytes: Vec<u8>,
    cursor: &mut Cursor,
    (before, from): (Option<(u32, usize, u64)>, usize),
    visit: &mut Visit<'_>,
) -> Result<Segment, LedgerError> {
    let seed = header.seed();
    let mut at = SEGMENT_HEADER;
    while let Found::Frame(frame) = frame::look(&bytes[at..], seed) {
        if at == SEGMENT_HEADER
            && let Some((number, end, torn)) = before
            && (torn > 0 || mark(number, end) != frame.head.durable)
        {
            // This segment was begun only when the one before was durable to its end.
            return Err(corruption(
                number,
                end,
                "a frame that was durable does not verify",
            ));
        }
        if at >= from {
            if let Some(what) = cursor.contradiction(&frame.head) {
                return Err(corruption(header.number, at, what));
            }
            cursor.advance(&frame.head);
            visit(&frame)?;
        } else if at + frame.len > from {
            return Err(corruption(header.number, from, "no frame begins there"));
        }
        at += frame.len;
    }
    if at < from {
        return Err(corruption(header.number, at, "it ends before its snapshot"));
    }
    let rest = &bytes[at..];
    let torn = frame::used(rest) as u64;
    let told = frame::furthest_told(rest, seed)
        .into_iter()
        .chain([mark(header.number, header.durable as usize)])
        .max();
    if told.is_some_and(|told| told > mark(header.number, at)) {
        return Err(corruption(
            header.number,
            at,
            "a frame that was durable does not verify",
        ));
    }
    Ok(Segment {
        header,
        end: at,
        torn,
        bytes,
    })
}

fn mark(segment: u32, offset: usize) -> Mark {
    Mark {
        segment,
        // A segment is at most `SEGMENT_BYTES_MAX` long.
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
    }
}

/// Copies the last segment's frames, at their places, into a new file of a new epoch.
fn rewrite(
    io: Arc<dyn Io>,
    prepare: Prepare,
    size: u32,
    epoch: u64,
    last: &Segment,
) -> Result<Wal, LedgerError> {
    let header = SegmentHeader {
        epoch: epoch + 1,
        size: if last.end <= size as usize {
            size
        } else {
            last.header.size
        },
        durable: last.end as u32,
        ..last.header
    };
    let (old, new) = (last.header.seed(), header.seed());
    let mut frames = Vec::with_capacity(last.end);
    let mut at = SEGMENT_HEADER;
    while at < last.end {
        let Found::Frame(frame) = frame::look(&last.bytes[at..], old) else {
            return Err(corruption(
                last.header.number,
                at,
                "a frame changed while it was read",
            ));
        };
        if frame.left_out > 0 {
            // It came from the archive: the segments after it are gone.
            let what = "the segments that follow it are missing";
            return Err(corruption(last.header.number, at, what));
        }
        frame::put(
            &mut frames,
            new,
            &frame.head,
            frame.record,
            frame.attachment,
        );
        at += frame.len;
    }
    let file = write_segment(&*io, &header, &frames).map_err(start_error)?;
    Ok(Wal::new(io, prepare, file, header, header.durable, size))
}
