//! Bytes of segments and frames: docs/format/wal.md. Pure.
//!
//! A segment is a header and then frames, each on an 8-byte border; after the last frame all bytes
//! are zero. A frame's checksum is seeded with its segment's number and epoch, so that a frame of
//! another segment, or of this one before a recovery, does not verify. All numbers are little endian.
//!
//! Never: a panic or an allocation by a length that was read, whatever the bytes.

use event::LogId;

/// Bytes of a segment's header.
pub const SEGMENT_HEADER: usize = 64;
/// Bytes of a frame's header.
pub const FRAME_HEADER: usize = 64;
/// Frames begin on borders of this many bytes.
pub const ALIGN: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"SEKISHO\x01";
const FRAME_MAGIC: [u8; 4] = *b"SKF\x01";
/// Byte 9 of a frame from the archive without its attachment. Never on disk.
const LEFT_OUT: u8 = 1;

/// A place in the write-ahead log: everything before it is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Mark {
    /// The segment's number, from 1.
    pub segment: u32,
    /// Bytes from the segment's start.
    pub offset: u32,
}

/// The header of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Its number, from 1.
    pub number: u32,
    /// Grows with every start; part of the checksums.
    pub epoch: u64,
    /// The ledger's id.
    pub ledger: [u8; 16],
    /// The segment's size in bytes.
    pub size: u32,
    /// Up to where, in bytes from the segment's start, it was durable when the file got its name.
    pub durable: u32,
}

impl SegmentHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.ledger);
        bytes[40..44].copy_from_slice(&self.size.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.durable.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The inverse; `None` if it does not verify.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER)?;
        let sound = bytes[..8] == SEGMENT_MAGIC
            && bytes[12..16] == [0; 4]
            && bytes[48..60] == [0; 12]
            && u32_at(bytes, 60) == crc32c::crc32c(&bytes[..60]);
        sound.then(|| Self {
            number: u32_at(bytes, 8),
            epoch: u64_at(bytes, 16),
            ledger: array_at(bytes, 24),
            size: u32_at(bytes, 40),
            durable: u32_at(bytes, 44),
        })
    }

    /// What the checksums of its frames start from.
    pub fn seed(&self) -> u32 {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..].copy_from_slice(&self.epoch.to_le_bytes());
        crc32c::crc32c(&bytes)
    }
}

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// A record, and what travels beside it.
    Record,
    /// A leaf of the root log, over the records before it: says how far the log is durable, too. Its
    /// log is the centre's, its index the leaf's, its sequence that of the next record.
    Root,
}

/// The header of a frame, lengths and checksum apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// What it carries.
    pub kind: FrameKind,
    /// The record's log.
    pub log: LogId,
    /// The record's place in its log, from 0.
    pub index: u64,
    /// The record's place among all, from 0.
    pub sequence: u64,
    /// The wall clock, ms since the Unix epoch; never less than the frame before says.
    pub wall_ms: u64,
    /// Elapsed time of the ledger, ms; never less than the frame before says.
    pub elapsed_ms: u64,
    /// Up to where the log was durable when this frame was written.
    pub durable: Mark,
}

/// Bytes of a frame in the log.
pub fn frame_bytes(record: usize, attachment: usize) -> usize {
    (FRAME_HEADER + record + attachment).next_multiple_of(ALIGN)
}

/// Appends a frame to `out`. The caller keeps the record within 65,535 bytes and the attachment
/// within a segment.
pub fn put(out: &mut Vec<u8>, seed: u32, head: &Head, record: &[u8], attachment: &[u8]) {
    debug_assert!(record.len() <= usize::from(u16::MAX));
    let start = out.len();
    let mut header = [0; FRAME_HEADER];
    header[..4].copy_from_slice(&FRAME_MAGIC);
    header[8] = match head.kind {
        FrameKind::Record => 1,
        FrameKind::Root => 3,
    };
    header[10..12].copy_from_slice(&(record.len() as u16).to_le_bytes());
    header[12..16].copy_from_slice(&(attachment.len() as u32).to_le_bytes());
    header[16..20].copy_from_slice(&head.log.number().to_le_bytes());
    header[20..24].copy_from_slice(&head.durable.segment.to_le_bytes());
    header[24..32].copy_from_slice(&head.index.to_le_bytes());
    header[32..40].copy_from_slice(&head.sequence.to_le_bytes());
    header[40..48].copy_from_slice(&head.wall_ms.to_le_bytes());
    header[48..56].copy_from_slice(&head.elapsed_ms.to_le_bytes());
    header[56..60].copy_from_slice(&head.durable.offset.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(record);
    out.extend_from_slice(attachment);
    out.resize(start + frame_bytes(record.len(), attachment.len()), 0);
    let sum = crc32c::crc32c_append(seed, &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}

/// A verified frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub head: Head,
    /// The record's bytes.
    pub record: &'a [u8],
    /// The encrypted bytes that travel beside it.
    pub attachment: &'a [u8],
    /// Bytes of the attachment that the archive left out; then `attachment` is empty.
    pub left_out: usize,
    /// Its length in the log, in bytes.
    pub len: usize,
}

/// What stands at a place in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// A frame that verifies.
    Frame(Frame<'a>),
    /// Zeros as far as a header reaches, or less than a header before the segment's end.
    Nothing,
    /// Something that does not verify.
    Bad,
}

/// Looks at the beginning of `bytes`, which reach to the segment's end.
pub fn look(bytes: &[u8], seed: u32) -> Found<'_> {
    let Some(header) = bytes.get(..FRAME_HEADER) else {
        return if is_zero(bytes) {
            Found::Nothing
        } else {
            Found::Bad
        };
    };
    if header[..4] != FRAME_MAGIC {
        return if is_zero(header) {
            Found::Nothing
        } else {
            Found::Bad
        };
    }
    parse(bytes, header, seed).map_or(Found::Bad, Found::Frame)
}

fn parse<'a>(bytes: &'a [u8], header: &[u8], seed: u32) -> Option<Frame<'a>> {
    let record_len = usize::from(u16::from_le_bytes(array_at(header, 10)));
    let attachment_len = usize::try_from(u32_at(header, 12)).ok()?;
    let len = (FRAME_HEADER + record_len)
        .checked_add(attachment_len)?
        .checked_next_multiple_of(ALIGN)?;
    let covered = bytes.get(8..len)?;
    if crc32c::crc32c_append(seed, covered) != u32_at(header, 4) {
        return None;
    }
    let kind = match header[8] {
        1 => FrameKind::Record,
        3 => FrameKind::Root,
        _ => return None,
    };
    let record_end = FRAME_HEADER + record_len;
    let (left_out, beside) = match header[9] {
        0 => (0, attachment_len),
        LEFT_OUT => (attachment_len, 0),
        _ => return None,
    };
    Some(Frame {
        head: Head {
            kind,
            log: LogId::from_number(u32_at(header, 16))?,
            index: u64_at(header, 24),
            sequence: u64_at(header, 32),
            wall_ms: u64_at(header, 40),
            elapsed_ms: u64_at(header, 48),
            durable: Mark {
                segment: u32_at(header, 20),
                offset: u32_at(header, 56),
            },
        },
        record: &bytes[FRAME_HEADER..record_end],
        attachment: &bytes[record_end..record_end + beside],
        left_out,
        len,
    })
}

/// What a frame's header says of it, verified or not.
pub(crate) struct Outline {
    /// Length of the record.
    pub(crate) record: usize,
    /// Length of the attachment.
    pub(crate) attachment: usize,
    pub(crate) log: LogId,
    pub(crate) index: u64,
}

impl Outline {
    pub(crate) fn of(header: &[u8; FRAME_HEADER]) -> Option<Self> {
        Some(Self {
            record: usize::from(u16::from_le_bytes(array_at(header, 10))),
            attachment: usize::try_from(u32_at(header, 12)).ok()?,
            log: LogId::from_number(u32_at(header, 16))?,
            index: u64_at(header, 24),
        })
    }
}

/// Marks a whole frame, whose attachment is zeros, as one whose attachment the archive left out.
pub(crate) fn leave_out(frame: &mut [u8], seed: u32) {
    frame[9] = LEFT_OUT;
    let sum = crc32c::crc32c_append(seed, &frame[8..]);
    frame[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// The furthest durable mark that any frame in `bytes` tells that verifies, at whatever border it
/// begins; `None` if there is no frame. `bytes` begin on a border.
pub fn furthest_told(bytes: &[u8], seed: u32) -> Option<Mark> {
    let mut furthest = None;
    let mut at = 0;
    // No frame begins in the zeros that follow.
    let used = used(bytes);
    while at < used && at + FRAME_HEADER <= bytes.len() {
        match look(&bytes[at..], seed) {
            Found::Frame(frame) => {
                furthest = furthest.max(Some(frame.head.durable));
                at += frame.len;
            }
            Found::Nothing | Found::Bad => at += ALIGN,
        }
    }
    furthest
}

/// Compared at once: the unused rest of a segment is megabytes.
static ZEROS: [u8; 4096] = [0; 4096];

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let mut parts = bytes.chunks(ZEROS.len());
    parts.all(|part| *part == ZEROS[..part.len()])
}

/// How many bytes there are without the zeros at the end.
pub fn used(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    while end > 0 {
        let begin = end.saturating_sub(ZEROS.len());
        let part = &bytes[begin..end];
        if *part != ZEROS[..part.len()] {
            let last = part.iter().rposition(|byte| *byte != 0);
            return begin + last.map_or(0, |last| last + 1);
        }
        end = begin;
    }
    0
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            number: 3,
            epoch: 2,
            ledger: [7; 16],
            size: 65_536,
            durable: 64,
        }
    }

    fn head(sequence: u64) -> Head {
        Head {
            kind: FrameKind::Record,
            log: LogId::Centre,
            index: 5,
            sequence,
            wall_ms: 1_700_000_000_000,
            elapsed_ms: 60_000,
            durable: Mark {
                segment: 2,
                offset: 4096,
            },
        }
    }

    #[test]
    fn zeros_are_found_wherever_they_begin() {
        for length in [0, 1, 7, 4095, 4096, 4097, 9000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes) && used(&bytes) == 0, "{length}");
            for at in [0, 1, 4094, 4095, 4096, 4097, 8191, 8192, 8999] {
                if at < length {
                    bytes[at] = 1;
                    assert!(!is_zero(&bytes), "{at} of {length}");
                    assert_eq!(used(&bytes), at + 1, "of {length}");
                    bytes[at] = 0;
                }
            }
        }
    }

    #[test]
    fn test_vectors() {
        let page: String = include_str!("../../../docs/format/wal.md")
            .split_whitespace()
            .collect();
        let mut frame = Vec::new();
        let record = event::record::encode(&event::record::Body::Stopped).unwrap();
        put(
            &mut frame,
            header().seed(),
            &head(9),
            &record,
            &[0xaa, 0xbb],
        );
        for bytes in [header().encode().to_vec(), frame] {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(page.contains(&hex), "not in docs/format/wal.md: {hex}");
        }
    }

    proptest! {
        #[test]
        fn frames_come_back(record in vec(any::<u8>(), 0..99), beside in vec(any::<u8>(), 0..99), sequence: u64) {
            let mut bytes = Vec::new();
            put(&mut bytes, header().seed(), &head(sequence), &record, &beside);
            prop_assert_eq!(bytes.len(), frame_bytes(record.len(), beside.len()));
            let Found::Frame(frame) = look(&bytes, header().seed()) else {
                return Err(TestCaseError::fail("it does not verify"));
            };
            prop_assert_eq!((frame.record, frame.attachment), (&record[..], &beside[..]));
            prop_assert_eq!((frame.head, frame.len), (head(sequence), bytes.len()));
            let other = SegmentHeader { epoch: 3, ..header() };
            prop_assert_eq!(look(&bytes, other.seed()), Found::Bad);
        }

        #[test]
        fn any_flipped_bit_is_seen(record in vec(any::<u8>(), 0..99), at: prop::sample::Index, bit in 0_u32..8) {
            let mut bytes = Vec::new();
            put(&mut bytes, header().seed(), &head(1), &record, &[]);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(look(&bytes, header().seed()), Found::Bad);
        }

        #[test]
        fn hostile_bytes(mut bytes in vec(any::<u8>(), 0..300), magic: bool) {
            if magic && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&FRAME_MAGIC);
            }
            prop_assert!(!matches!(look(&bytes, 1), Found::Frame(_)));
            prop_assert_eq!(furthest_told(&bytes, 1), None);
            prop_assert_eq!(SegmentHeader::decode(&bytes), None);
        }

        #[test]
        fn a_frame_is_found_behind_rubbish(rubbish in 0_usize..40) {
            let mut bytes = vec![0xff; rubbish * ALIGN];
            put(&mut bytes, 7, &head(1), b"record", &[]);
            prop_assert_eq!(furthest_told(&bytes, 7), Some(head(1).durable));
        }

        #[test]
        fn headers_come_back(number: u32, epoch: u64, at in 0_usize..60, bit in 0_u32..8) {
            let header = SegmentHeader { number, epoch, ..header() };
            let mut bytes = header.encode();
            prop_assert_eq!(SegmentHeader::decode(&bytes), Some(header));
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(SegmentHeader::decode(&bytes), None);
        }
    }
}
