//! The archive: full segments, compressed, without the encrypted lists that were copied out beside
//! the logs (docs/format/archive.md). [`Segments`] reads a ledger's segments wherever they are;
//! [`keeper`] moves them.
//!
//! Invariants:
//! - A segment leaves the write-ahead log's folder only when its archive was synced and read back,
//!   all that is derived from it and a snapshot beyond it are durable, and a frame has told that the
//!   record of the archive's digest is.
//! - A record is never deleted. What is left out is encrypted, and its commitment stays.
//! - An archive that a record contradicts is never read past that record.

mod bytes;
mod keeper;
mod lists;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use event::record::{self, Body};
use event::{Digest, LogId};

use self::bytes::{FILE_BYTES_MAX, archive_name, archive_number, decompress, expand};
use self::lists::CopiedLists;
use crate::LedgerError;
use crate::frame::{Frame, FrameKind};
use crate::io::{DiskIo, Io, IoFile};
use crate::list::sha256;
use crate::logs::store::{DiskStore, Store};
use crate::recover::corruption;
use crate::wal::{segment_name, segment_number};

pub(crate) use keeper::{Archiver, Beyond};
pub use keeper::{HOT_SEGMENTS, HOT_SEGMENTS_MIN};
pub use survey::{Survey, Verified, survey, verify};

/// The folder of the archive, in that of the ledger.
pub const FOLDER: &str = "archive";

/// Where the archive is, and what it leaves out.
#[derive(Clone)]
pub struct Archive {
    /// Its files.
    pub files: Arc<dyn Io>,
    /// The folder of the logs, with the lists beside them.
    pub lists: Arc<dyn Store>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Archive(..)")
    }
}

impl Archive {
    /// Whether no segment is in it.
    pub(crate) fn is_empty(&self) -> bool {
        let names = self.files.list().unwrap_or_default();
        names.iter().all(|name| archive_number(name).is_none())
    }
}

/// The segments of a ledger, wherever they are: as files of the write-ahead log's folder.
pub struct Segments {
    hot: Arc<dyn Io>,
    archive: Arc<dyn Io>,
    /// `None`: what the archive left out stays left out.
    lists: Option<Arc<dyn Store>>,
    read: Mutex<Read>,
}

/// What was read from the archive.
#[derive(Default)]
struct Read {
    newest: Option<(u32, Arc<Vec<u8>>)>,
    digests: BTreeMap<u32, Digest>,
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Segments(..)")
    }
}

impl Segments {
    pub(crate) fn over(
        hot: Arc<dyn Io>,
        archive: Arc<dyn Io>,
        lists: Option<Arc<dyn Store>>,
    ) -> Self {
        Self {
            hot,
            archive,
            lists,
            read: Mutex::default(),
        }
    }

    fn of(folder: &Path, lists: Option<Arc<dyn Store>>) -> Self {
        let io = |name| Arc::new(DiskIo::at(&folder.join(name)));
        Self::over(io("wal"), io(FOLDER), lists)
    }

    /// Those of the ledger in `folder`, with the lists that still stand beside its logs.
    pub fn with_lists(folder: &Path) -> Self {
        Self::of(folder, Some(Arc::new(DiskStore::at(&folder.join("logs")))))
    }

    /// Those of the ledger in `folder`, without what the archive left out: to read records, and to
    /// derive the logs, beside which it stands.
    pub fn without_lists(folder: &Path) -> Self {
        Self::of(folder, None)
    }

    fn unpacked(&self, number: u32) -> io::Result<Arc<Vec<u8>>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((newest, bytes)) = &read.newest
            && *newest == number
        {
            return Ok(Arc::clone(bytes));
        }
        let name = archive_name(number);
        let file =
            self.archive
                .read(&name, FILE_BYTES_MAX)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => io::Error::new(
                        error.kind(),
                        format!("the segment is missing, and so is its archive {name}"),
                    ),
                    kind => io::Error::new(kind, format!("its archive {name}: {error}")),
                })?;
        let changed = |error| {
            let what = format!("its archive {name} {error}");
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let content = decompress(&file, number).map_err(changed)?;
        let mut lists = self.lists.as_deref().map(CopiedLists::new);
        let mut find = |log, index| lists.as_mut()?.attachment(log, index);
        let bytes = Arc::new(expand(&content, &mut find).map_err(changed)?);
        read.digests.insert(number, sha256(&file));
        read.newest = Some((number, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// What the hot folder gives, or else the archive if the file is a segment.
    fn either<T>(
        &self,
        name: &str,
        hot: io::Result<T>,
        archived: impl FnOnce(&[u8]) -> io::Result<T>,
    ) -> io::Result<T> {
        match (hot, segment_number(name)) {
            (Err(error), Some(number)) if error.kind() == io::ErrorKind::NotFound => {
                archived(&self.unpacked(number)?)
            }
            (hot, _) => hot,
        }
    }
}

impl Io for Segments {
    fn create(&self, name: &str) -> io::Result<Box<dyn IoFile>> {
        self.hot.create(name)
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.either(name, self.hot.read(name, bytes_max), |bytes| {
            if bytes.len() as u64 > bytes_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(bytes.to_vec())
        })
    }

    fn read_at(&self, name: &str, offset: u64, count: u64) -> io::Result<Vec<u8>> {
        self.either(name, self.hot.read_at(name, offset, count), |bytes| {
            let place = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
            Ok(bytes[place(offset)..place(offset.saturating_add(count))].to_vec())
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.hot.list()?;
        // After those: a segment that moves meanwhile is in the archive before it leaves.
        let archived = match self.archive.list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let numbers = archived.iter().filter_map(|name| archive_number(name));
        names.extend(numbers.map(segment_name));
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.hot.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.hot.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.hot.sync_folder()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.hot.free_bytes()
    }

    fn archived(&self, segment: u32) -> Option<Digest> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.digests.get(&segment).copied()
    }
}

/// The kind of [`Body::Archived`] as a record begins: `map of 6 pairs`, 0: 17.
const ARCHIVED: [u8; 3] = [0xa6, 0x00, 0x11];

/// Whether a frame's record contradicts the archive that a segment was read from.
///
/// # Errors
/// If it does.
pub(crate) fn check_archived(io: &dyn Io, frame: &Frame<'_>) -> Result<(), LedgerError> {
    let centre = frame.head.kind == FrameKind::Record && frame.head.log == LogId::Centre;
    if !centre || !frame.record.starts_with(&ARCHIVED) {
        return Ok(());
    }
    let Ok(Body::Archived {
        segment, digest, ..
    }) = record::decode(frame.record)
    else {
        return Ok(());
    };
    if io.archived(segment).is_some_and(|read| read != digest) {
        let what = format!(
            "its archive {} is not the one that record {} names",
            archive_name(segment),
            frame.head.sequence
        );
        return Err(corruption(segment, 0, what));
    }
    Ok(())
}
