//! Bytes of an archive file: docs/format/archive.md. Pure.
//!
//! A segment without what stands elsewhere or is zero: attachments, padding, the rest after the last
//! frame; compressed. [`expand`] gives the segment back, every frame at its place.
//!
//! Never: a panic or an allocation beyond a segment's greatest size, whatever the bytes.

use std::io::{self, Read, Write};

use event::LogId;

use crate::frame::{
    FRAME_HEADER, Found, Outline, SEGMENT_HEADER, SegmentHeader, frame_bytes, is_zero, leave_out,
    look,
};
use crate::wal::SEGMENT_BYTES_MAX;

const MAGIC: [u8; 8] = *b"SEKIARC\x01";
/// Of zstd: about as fast as disks are, and near the best ratio on records.
const LEVEL: i32 = 9;
/// Memory that a file may ask for when it is read, log2 of bytes.
const WINDOW_LOG_MAX: u32 = 27;
/// Longest archive file, in bytes: zstd adds little to what it cannot compress.
pub(crate) const FILE_BYTES_MAX: u64 = SEGMENT_BYTES_MAX as u64 + (8 << 20);

/// Why a segment cannot be archived, or read from the archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The file is not what was archived.
    #[error("is cut or was changed: {0}")]
    Changed(&'static str),
    /// The segment is not fit to be archived.
    #[error("cannot be archived: {0}")]
    Unfit(String),
    #[error("cannot {what}: {source}")]
    Io { what: String, source: io::Error },
}

/// The name of a segment's archive.
pub(crate) fn archive_name(number: u32) -> String {
    format!("{number:010}.zst")
}

/// The number in the name of an archive.
pub(crate) fn archive_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".zst")?.parse().ok()?;
    (archive_name(number) == name).then_some(number)
}

/// What is kept of a segment. Each of its frames verifies, and zeros follow them.
pub(crate) fn pack(segment: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let unfit = |what: &str| ArchiveError::Unfit(what.to_owned());
    let header = SegmentHeader::decode(segment).ok_or_else(|| unfit("its header is unsound"))?;
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&segment[..SEGMENT_HEADER]);
    let mut at = SEGMENT_HEADER;
    while let Found::Frame(frame) = look(&segment[at..], header.seed()) {
        if frame.left_out > 0 {
            return Err(unfit("it was archived before"));
        }
        out.extend_from_slice(&segment[at..at + FRAME_HEADER]);
        out.extend_from_slice(frame.record);
        at += frame.len;
    }
    if !is_zero(&segment[at..]) {
        return Err(unfit("a frame does not verify"));
    }
    Ok(out)
}

/// The bytes of an archive file with this content.
pub(crate) fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(content.len() as u64))?;
    encoder.write_all(content)?;
    encoder.finish()
}

/// The content of the archive file of segment `number`.
pub(crate) fn decompress(file: &[u8], number: u32) -> Result<Vec<u8>, ArchiveError> {
    let bad = |_| ArchiveError::Changed("it does not decompress");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(file)
        .map_err(bad)?
        .single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(bad)?;
    let mut content = Vec::new();
    let most = u64::from(SEGMENT_BYTES_MAX) + MAGIC.len() as u64;
    let mut limited = decoder.take(most + 1);
    limited.read_to_end(&mut content).map_err(bad)?;
    if content.len() as u64 > most {
        return Err(ArchiveError::Changed("it is longer than a segment"));
    }
    if !limited.into_inner().finish().is_empty() {
        return Err(ArchiveError::Changed("bytes follow its end"));
    }
    if header(&content)?.number != number {
        return Err(ArchiveError::Changed("it is of another segment"));
    }
    Ok(content)
}

fn header(content: &[u8]) -> Result<SegmentHeader, ArchiveError> {
    content
        .strip_prefix(&MAGIC)
        .and_then(SegmentHeader::decode)
        .filter(|header| header.size <= SEGMENT_BYTES_MAX)
        .ok_or(ArchiveError::Changed("its header is unsound"))
}

/// The attachment of a record's frame, if it is known.
pub(crate) type Find<'a> = dyn FnMut(LogId, u64) -> Option<Vec<u8>> + 'a;

/// The segment as it was. An attachment that is not found, or is not the one that the frame was
/// written with, is left out: zeros at its place, and the frame says so.
pub(crate) fn expand(content: &[u8], find: &mut Find<'_>) -> Result<Vec<u8>, ArchiveError> {
    const BAD: ArchiveError = ArchiveError::Changed("a frame is unsound");
    let header = header(content)?;
    let (seed, size) = (header.seed(), header.size as usize);
    let mut out = header.encode().to_vec();
    let mut rest = &content[MAGIC.len() + SEGMENT_HEADER..];
    while let Some((head, after)) = rest.split_first_chunk::<FRAME_HEADER>() {
        let outline = Outline::of(head).ok_or(BAD)?;
        let (record, after) = after.split_at_checked(outline.record).ok_or(BAD)?;
        rest = after;
        let start = out.len();
        if outline.attachment > size || start + frame_bytes(record.len(), outline.attachment) > size
        {
            return Err(BAD);
        }
        out.extend_from_slice(head);
        out.extend_from_slice(record);
        let beside = out.len();
        out.resize(start + frame_bytes(record.len(), outline.attachment), 0);
        let len = out.len() - start;
        let verifies =
            |frame: &[u8]| matches!(look(frame, seed), Found::Frame(it) if it.len == len);
        if outline.attachment > 0 {
            let place = beside..beside + outline.attachment;
            if let Some(found) = find(outline.log, outline.index)
                && found.len() == outline.attachment
            {
                out[place.clone()].copy_from_slice(&found);
            }
            if !verifies(&out[start..]) {
                out[place].fill(0);
                leave_out(&mut out[start..], seed);
            }
        }
        if !verifies(&out[start..]) {
            return Err(BAD);
        }
    }
    if !rest.is_empty() || out.len() > size {
        return Err(BAD);
    }
    out.resize(size, 0);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use event::ClientId;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{FrameKind, Head, Mark, put};

    fn segment(frames: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let header = SegmentHeader {
            number: 3,
            epoch: 2,
            ledger: [7; 16],
            size: 16 << 10,
            durable: 64,
        };
        let mut bytes = header.encode().to_vec();
        for (index, (record, attachment)) in frames.iter().enumerate() {
            let head = Head {
                kind: FrameKind::Record,
                log: LogId::Client(ClientId::new(1).unwrap()),
                index: index as u64,
                sequence: index as u64,
                wall_ms: 1,
                elapsed_ms: 1,
                durable: Mark::default(),
            };
            put(&mut bytes, header.seed(), &head, record, attachment);
        }
        bytes.resize(header.size as usize, 0);
        bytes
    }

    fn frames() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        vec((vec(any::<u8>(), 0..99), vec(any::<u8>(), 0..99)), 0..20)
    }

    proptest! {
        #[test]
        fn segments_come_back(frames in frames()) {
            let bytes = segment(&frames);
            let content = pack(&bytes).unwrap();
            let file = compress(&content).unwrap();
            prop_assert_eq!(&decompress(&file, 3).unwrap(), &content);
            prop_assert!(decompress(&file, 4).is_err());
            let found = expand(&content, &mut |_, index| Some(frames[index as usize].1.clone()));
            prop_assert_eq!(found.unwrap(), bytes.clone());
            // Without the lists: the same records at the same places.
            for wrong in [None, Some(vec![1; 50])] {
                let without = expand(&content, &mut |_, _| wrong.clone()).unwrap();
                prop_assert_eq!(without.len(), bytes.len());
                let (mut at, seed) = (SEGMENT_HEADER, SegmentHeader::decode(&bytes).unwrap().seed());
                for (_, attachment) in &frames {
                    let (Found::Frame(was), Found::Frame(is)) =
                        (look(&bytes[at..], seed), look(&without[at..], seed))
                    else {
                        return Err(TestCaseError::fail("no frame"));
                    };
                    prop_assert_eq!((was.head, was.record, was.len), (is.head, is.record, is.len));
                    prop_assert_eq!(is.attachment.len() + is.left_out, attachment.len());
                    at += was.len;
                }
            }
        }

        #[test]
        fn what_is_cut_or_changed_is_an_error(
            frames in frames(),
            at: prop::sample::Index,
            bit in 0_u32..8,
            cut: bool,
        ) {
            let mut file = compress(&pack(&segment(&frames)).unwrap()).unwrap();
            let at = at.index(file.len());
            if cut {
                file.truncate(at);
            } else {
                file[at] ^= 1_u8 << bit;
            }
            let whole = pack(&segment(&frames)).unwrap();
            // A bit of the frame's header may mean nothing; the file's digest sees it all the same.
            prop_assert!(decompress(&file, 3).map_or(true, |content| !cut && content == whole));
        }

        #[test]
        fn hostile_bytes(bytes in vec(any::<u8>(), 0..300), frames in frames(), at: prop::sample::Index) {
            prop_assert!(decompress(&bytes, 3).is_err());
            prop_assert!(expand(&bytes, &mut |_, _| None).is_err());
            let mut content = pack(&segment(&frames)).unwrap();
            let at = at.index(content.len());
            content[at] ^= 0xff;
            let _ = expand(&content, &mut |_, _| None);
            prop_assert!(expand(&content[..at], &mut |_, _| None).map_or(true, |bytes| bytes.len() == 16 << 10));
        }
    }
}
