//! What there is of a ledger's segments, and whether each archive is what its record says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use event::record::{self, Body};
use event::{Digest, LogId};

use super::bytes::{FILE_BYTES_MAX, archive_name, archive_number, decompress, expand};
use super::{ARCHIVED, FOLDER};
use crate::LedgerError;
use crate::frame::{Found, FrameKind, SEGMENT_HEADER, SegmentHeader, look};
use crate::io::{DiskIo, Io};
use crate::list::sha256;
use crate::wal::{SEGMENT_BYTES_MAX, segment_name, segment_number};

/// How many segments there are, and where.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Survey {
    /// Segments in the write-ahead log's folder.
    pub hot: u64,
    /// Their bytes.
    pub hot_bytes: u64,
    /// Segments in the archive.
    pub archived: u64,
    /// Their bytes there.
    pub archived_bytes: u64,
}

/// Counts the segments of the ledger in `folder`.
///
/// # Errors
/// If the folders cannot be listed.
pub fn survey(folder: &Path) -> Result<Survey, LedgerError> {
    let count = |name: &str, ours: fn(&str) -> Option<u32>| {
        let place = folder.join(name);
        let (mut files, mut bytes) = (0, 0);
        for name in names(&DiskIo::at(&place), ours)?.values() {
            // One that moves meanwhile counts where it went.
            if let Ok(it) = std::fs::metadata(place.join(name)) {
                files += 1;
                bytes += it.len();
            }
        }
        Ok::<_, LedgerError>((files, bytes))
    };
    let (hot, hot_bytes) = count("wal", segment_number)?;
    let (archived, archived_bytes) = count(FOLDER, archive_number)?;
    Ok(Survey {
        hot,
        hot_bytes,
        archived,
        archived_bytes,
    })
}

fn names(
    io: &dyn Io,
    ours: impl Fn(&str) -> Option<u32>,
) -> Result<BTreeMap<u32, String>, LedgerError> {
    let names = match io.list() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(|error| LedgerError::io("list the segments", error))?,
    };
    let numbered = names
        .into_iter()
        .filter_map(|name| Some((ours(&name)?, name)));
    Ok(numbered.collect())
}

/// What reading the whole archive came to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Archives that are what their records say.
    pub sound: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong, one line each, by segment.
    pub problems: Vec<(u32, String)>,
}

/// Reads every archive of the ledger in `folder` and compares it with its record, which a later
/// segment holds. `progress` hears each number.
///
/// # Errors
/// If the folders cannot be listed.
pub fn verify(folder: &Path, progress: &mut dyn FnMut(u32)) -> Result<Verified, LedgerError> {
    verify_in(
        &DiskIo::at(&folder.join("wal")),
        &DiskIo::at(&folder.join(FOLDER)),
        progress,
    )
}

pub(crate) fn verify_in(
    hot: &dyn Io,
    archive: &dyn Io,
    progress: &mut dyn FnMut(u32),
) -> Result<Verified, LedgerError> {
    let mut done = Verified::default();
    let mut recorded: BTreeMap<u32, (Digest, u64)> = BTreeMap::new();
    let mut found: BTreeMap<u32, (Digest, u64)> = BTreeMap::new();
    // Hot ones first: what leaves meanwhile is in the archive by then.
    let hot_names = names(hot, segment_number)?;
    for &number in names(archive, archive_number)?.keys() {
        progress(number);
        match read(archive, number) {
            Ok((digest, bytes, segment)) => {
                records(&segment, &mut recorded);
                found.insert(number, (digest, bytes));
            }
            Err(what) => done.problems.push((number, what)),
        }
    }
    for name in hot_names.values() {
        if let Ok(segment) = hot.read(name, u64::from(SEGMENT_BYTES_MAX)) {
            records(&segment, &mut recorded);
        }
    }
    let bad: BTreeSet<u32> = done.problems.iter().map(|(number, _)| *number).collect();
    for (number, due) in &recorded {
        let name = archive_name(*number);
        match found.get(number) {
            Some(is) if is == due => {
                done.sound += 1;
                done.bytes += is.1;
            }
            Some(_) => {
                let what = format!("{name} is not the file that was archived");
                done.problems.push((*number, what));
            }
            None if bad.contains(number) || hot_names.contains_key(number) => {}
            None => done.problems.push((*number, format!("{name} is missing"))),
        }
    }
    for number in found.keys().filter(|number| !recorded.contains_key(number)) {
        // Its record may stand in one that cannot be read, or is not written yet.
        if bad.is_empty() && !hot_names.contains_key(number) {
            let what = format!("no record names {}", archive_name(*number));
            done.problems.push((*number, what));
        }
    }
    let last = hot_names.keys().chain(found.keys()).max().copied();
    for number in 1..last.unwrap_or(0) {
        let known = [&found, &recorded]
            .iter()
            .any(|map| map.contains_key(&number));
        if !known && !bad.contains(&number) && !hot_names.contains_key(&number) {
            let name = segment_name(number);
            done.problems
                .push((number, format!("{name} is missing, and not archived")));
        }
    }
    done.problems.sort();
    Ok(done)
}

fn read(archive: &dyn Io, number: u32) -> Result<(Digest, u64, Vec<u8>), String> {
    let name = archive_name(number);
    let file = archive
        .read(&name, FILE_BYTES_MAX)
        .map_err(|error| format!("cannot read {name}: {error}"))?;
    let segment = decompress(&file, number)
        .and_then(|content| expand(&content, &mut |_, _| None))
        .map_err(|error| format!("{name} {error}"))?;
    Ok((sha256(&file), file.len() as u64, segment))
}

/// Adds what a segment's records say is archived.
fn records(segment: &[u8], recorded: &mut BTreeMap<u32, (Digest, u64)>) {
    let Some(header) = SegmentHeader::decode(segment) else {
        return;
    };
    let mut at = SEGMENT_HEADER;
    while let Some(Found::Frame(frame)) = segment.get(at..).map(|rest| look(rest, header.seed())) {
        at += frame.len;
        let head = &frame.head;
        if head.kind == FrameKind::Record
            && head.log == LogId::Centre
            && frame.record.starts_with(&ARCHIVED)
            && let Ok(Body::Archived {
                segment,
                digest,
                bytes,
            }) = record::decode(frame.record)
        {
            recorded.insert(segment, (digest, bytes));
        }
    }
}
