//! Moves full segments into the archive, one at a time, on a thread of its own that gives way to
//! others. The recorder's thread decides when, and records what came of it.
//!
//! Steps, each of which may be the last one before a crash; the next start finishes:
//! 1. what is kept of the segment is compressed, written under a temporary name, synced, renamed,
//!    the folder synced, the file read back and compared with the segment;
//! 2. `Archived {segment, digest, bytes}` is recorded;
//! 3. when a frame has told that this is durable, the archive is read again, and the segment removed.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use aws_lc_rs::digest::{Context, SHA256};
use event::record::Body;
use event::{Digest, LogId};

use super::Archive;
use super::bytes::{
    ArchiveError, FILE_BYTES_MAX, archive_name, archive_number, compress, decompress, pack,
};
use super::lists::CopiedLists;
use crate::core::Core;
use crate::frame::{Found, Mark, SEGMENT_HEADER, SegmentHeader, look};
use crate::io::Io;
use crate::list::sha256;
use crate::state::LastArchived;
use crate::wal::{Prepare, SEGMENT_BYTES_MAX, segment_name, segment_number};

/// Segments that stay in the write-ahead log's folder by default, the one in use included: at their
/// default size 256 MiB.
pub const HOT_SEGMENTS: u32 = 16;
/// The least: the one in use, and the one before it.
pub const HOT_SEGMENTS_MIN: u32 = 2;
/// What failed is tried again so much later, in ms.
const RETRY_MS: u64 = 60_000;
/// Of the files of snapshots, read at a time.
const CHUNK: u64 = 1 << 20;
/// Gives way to everything else on the machine.
const NICE: i32 = 19;

/// A snapshot that a start can begin from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Beyond {
    pub(crate) name: u64,
    pub(crate) digest: Digest,
}

/// An archive that is durable.
struct Made {
    segment: u32,
    digest: Digest,
    bytes: u64,
    /// The snapshot that was read back.
    read: Option<Beyond>,
}

enum Done {
    Made(Result<Made, String>),
    Removed(Result<(), String>),
}

/// Owned by the recorder.
pub(crate) struct Archiver {
    work: Option<Arc<Work>>,
    prepare: Prepare,
    /// Segments that stay.
    hot_segments: u32,
    working: Option<Receiver<Done>>,
    /// Archived and recorded: goes when a frame has told that the log is durable up to there.
    leaving: Option<(LastArchived, Mark)>,
    /// The snapshot that was read back last.
    read: Option<Beyond>,
    /// BOOTTIME before which nothing is tried again, ms.
    rest_until_ms: u64,
    /// Something failed, and was told.
    failing: bool,
}

impl Archiver {
    /// `last`: what the log says is archived; its segment may still be there.
    pub(crate) fn new(
        hot: Arc<dyn Io>,
        snapshots: Option<Arc<dyn Io>>,
        archive: Option<Archive>,
        (prepare, hot_segments): (Prepare, u32),
        last: Option<LastArchived>,
    ) -> Self {
        let work = archive.zip(snapshots).map(|(archive, snapshots)| {
            Arc::new(Work {
                hot,
                snapshots,
                archive,
            })
        });
        Self {
            leaving: last
                .filter(|last| {
                    let work = work.as_ref();
                    work.is_some_and(|work| work.is_hot(last.segment))
                })
                .map(|last| (last, Mark::default())),
            work,
            prepare,
            hot_segments: hot_segments.max(HOT_SEGMENTS_MIN),
            working: None,
            read: None,
            rest_until_ms: 0,
            failing: false,
        }
    }

    /// Segments up to `last` that neither folder has.
    pub(crate) fn missing(&self, last: u32) -> Vec<u32> {
        let Some(work) = &self.work else {
            return Vec::new();
        };
        let (archived, hot) = (work.archive.files.list(), work.hot.list());
        let (archived, hot) = (archived.unwrap_or_default(), hot.unwrap_or_default());
        let archived = archived.iter().filter_map(|name| archive_number(name));
        let hot = hot.iter().filter_map(|name| segment_number(name));
        let there: BTreeSet<u32> = archived.chain(hot).collect();
        (1..=last)
            .filter(|number| !there.contains(number))
            .collect()
    }

    fn begin(&mut self, job: impl FnOnce(&Work) -> Done + Send + 'static) {
        let Some(work) = self.work.clone() else {
            return;
        };
        let (done, working) = mpsc::sync_channel(1);
        let run = move || {
            // The recorder waits for it before it ends.
            let _ = done.send(job(&work));
        };
        match self.prepare {
            Prepare::Ahead => {
                let thread = std::thread::Builder::new().name("ledger-archive".into());
                let nice = move || {
                    // Refused: then it does not give way.
                    let _ = rustix::process::nice(NICE);
                    run();
                };
                if thread.spawn(nice).is_err() {
                    return;
                }
            }
            #[cfg(test)]
            Prepare::Inline => run(),
        }
        self.working = Some(working);
    }

    fn finished(&mut self) -> Option<Done> {
        match self.working.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => None,
            done => {
                self.working = None;
                done.ok()
            }
        }
    }

    /// Waits for the work in hand, so that nothing is written to a folder that is no longer ours.
    fn wait(&mut self) -> Option<Done> {
        self.working.take()?.recv().ok()
    }

    fn is_idle(&self, now_ms: u64) -> bool {
        self.work.is_some() && self.working.is_none() && now_ms >= self.rest_until_ms
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

impl Core {
    /// Records the archive that is done, and begins what is due.
    pub(crate) fn archive_if_due(&mut self) {
        if let Some(done) = self.archiver.finished() {
            self.archive_done(done);
        }
        let now_ms = self.boot_ms();
        if self.alive().is_err() || !self.archiver.is_idle(now_ms) {
            return;
        }
        if let Some((last, mark)) = self.archiver.leaving {
            if self.wal.told() >= mark {
                self.archiver
                    .begin(move |work| Done::Removed(work.remove(last).map_err(told)));
            }
        } else if self.full.is_none()
            && let Some(number) = self.segment_to_archive()
            && let Some(beyond) = self.snapshots.newest()
        {
            let read = self.archiver.read == Some(beyond);
            let beyond = (!read).then_some(beyond);
            self.archiver
                .begin(move |work| Done::Made(work.make(number, beyond).map_err(told)));
        }
    }

    /// Records what is done, before the end.
    pub(crate) fn archive_wait(&mut self) {
        if let Some(done) = self.archiver.wait() {
            self.archive_done(done);
        }
    }

    /// The next one, if enough stay, and all that is derived from it is durable.
    fn segment_to_archive(&self) -> Option<u32> {
        let number = self.state.archived.map_or(0, |last| last.segment) + 1;
        let in_use = self.wal.durable().segment;
        let stay = number.checked_add(self.archiver.hot_segments)? <= in_use;
        let derived = self.derived().segment > number;
        (stay && derived && self.snapshots.oldest_segment() > number).then_some(number)
    }

    fn archive_done(&mut self, done: Done) {
        let recorded = match done {
            Done::Made(Ok(made)) => self.archive_made(&made),
            Done::Removed(Ok(())) => {
                self.archiver.leaving = None;
                Ok(())
            }
            Done::Made(Err(why)) | Done::Removed(Err(why)) => Err(why),
        };
        match recorded {
            Ok(()) if std::mem::take(&mut self.archiver.failing) => {
                self.say("ledger: segments are archived again");
            }
            Ok(()) => {}
            Err(why) => {
                self.archiver.rest_until_ms = self.boot_ms().saturating_add(RETRY_MS);
                if !std::mem::replace(&mut self.archiver.failing, true) {
                    self.say(&format!(
                        "ledger: {why}; nothing is lost, it stays and is tried again"
                    ));
                }
            }
        }
    }

    fn archive_made(&mut self, made: &Made) -> Result<(), String> {
        let body = Body::Archived {
            segment: made.segment,
            digest: made.digest,
            bytes: made.bytes,
        };
        self.put(LogId::Centre, &body)
            .and_then(|_| self.flush())
            .map_err(|refusal| format!("segment {}: {refusal}", made.segment))?;
        self.archiver.read = made.read.or(self.archiver.read);
        let last = LastArchived {
            segment: made.segment,
            digest: made.digest,
        };
        self.archiver.leaving = Some((last, self.wal.durable()));
        Ok(())
    }
}

/// What an operator is told of it.
fn told((segment, why): (u32, ArchiveError)) -> String {
    format!("segment {segment} {why}")
}

/// What the thread works with.
struct Work {
    hot: Arc<dyn Io>,
    snapshots: Arc<dyn Io>,
    archive: Archive,
}

impl Work {
    fn is_hot(&self, segment: u32) -> bool {
        let names = self.hot.list().unwrap_or_default();
        names
            .iter()
            .any(|name| segment_number(name) == Some(segment))
    }

    /// Step 1. `beyond`: a snapshot to be read back first.
    fn make(&self, segment: u32, beyond: Option<Beyond>) -> Result<Made, (u32, ArchiveError)> {
        let made = || {
            beyond.map_or(Ok(()), |beyond| self.read_back_snapshot(beyond))?;
            let (digest, bytes) = self.write(segment)?;
            Ok(Made {
                segment,
                digest,
                bytes,
                read: beyond,
            })
        };
        made().map_err(|error| (segment, error))
    }

    /// Step 3. An archive that is not there as it was recorded is written once more.
    fn remove(&self, last: LastArchived) -> Result<(), (u32, ArchiveError)> {
        let removed = || {
            let file = self
                .archive
                .files
                .read(&archive_name(last.segment), FILE_BYTES_MAX);
            if !file.is_ok_and(|file| sha256(&file) == last.digest)
                && self.write(last.segment)?.0 != last.digest
            {
                let what = "its archive is not the one that was recorded; put that one back";
                return Err(ArchiveError::Unfit(what.into()));
            }
            let name = segment_name(last.segment);
            // From here on they stand beside the logs only; since they were looked at, they may have
            // been lost.
            match self.hot.read(&name, u64::from(SEGMENT_BYTES_MAX)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                segment => {
                    self.check_lists(&segment.map_err(failed(format!("read {name}")))?)?;
                }
            }
            match self.hot.remove(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(failed(format!("remove {name}")))?,
            }
            self.hot
                .sync_folder()
                .map_err(failed("sync the folder of the segments"))
        };
        removed().map_err(|error| (last.segment, error))
    }

    /// Writes a segment's archive; gives its digest and length.
    fn write(&self, number: u32) -> Result<(Digest, u64), ArchiveError> {
        let name = segment_name(number);
        let segment = self
            .hot
            .read(&name, u64::from(SEGMENT_BYTES_MAX))
            .map_err(failed(format!("read {name}")))?;
        self.check_lists(&segment)?;
        let content = pack(&segment)?;
        let file = compress(&content).map_err(failed("compress it"))?;
        self.write_file(number, &file, segment.len() as u64)?;
        // Read back: what the disk gives is what the frames say.
        let name = archive_name(number);
        let read = self
            .archive
            .files
            .read(&name, FILE_BYTES_MAX)
            .map_err(failed(format!("read {name} back")))?;
        if decompress(&read, number)? != content {
            return Err(ArchiveError::Changed("it was not read back as written"));
        }
        Ok((sha256(&read), read.len() as u64))
    }

    fn write_file(&self, number: u32, file: &[u8], segment: u64) -> Result<(), ArchiveError> {
        let files = &self.archive.files;
        let name = archive_name(number);
        let temporary = format!("{name}.new");
        // The write-ahead log's next segments come first.
        let free = files.free_bytes().map_err(failed("ask for space"))?;
        if free < file.len() as u64 + 2 * segment {
            let full = io::ErrorKind::StorageFull.into();
            return Err(failed(format!("write {name}"))(full));
        }
        let written = || {
            match files.remove(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut to = files.create(&temporary)?;
            to.write_at(0, file)?;
            to.sync_all()?;
            files.rename(&temporary, &name)?;
            files.sync_folder()
        };
        written().map_err(|error| {
            // Best effort: the next attempt removes it first.
            let _ = files.remove(&temporary);
            failed(format!("write {name}"))(error)
        })
    }

    /// Each attachment was copied out, byte for byte.
    fn check_lists(&self, segment: &[u8]) -> Result<(), ArchiveError> {
        let header = SegmentHeader::decode(segment);
        let seed = header.map_or(0, |header| header.seed());
        let mut lists = CopiedLists::new(&*self.archive.lists);
        let mut at = SEGMENT_HEADER;
        while let Some(Found::Frame(frame)) = segment.get(at..).map(|rest| look(rest, seed)) {
            let head = &frame.head;
            if !frame.attachment.is_empty()
                && lists.attachment(head.log, head.index).as_deref() != Some(frame.attachment)
            {
                return Err(ArchiveError::Unfit(format!(
                    "the list of entry {} of log {} does not stand beside that log; remove \
                     logs/heads/state to have it derived again",
                    head.index,
                    head.log.number()
                )));
            }
            at += frame.len;
        }
        Ok(())
    }

    fn read_back_snapshot(&self, beyond: Beyond) -> Result<(), ArchiveError> {
        let name = crate::snapshot::snapshot_name(beyond.name);
        let mut context = Context::new(&SHA256);
        let mut at = 0;
        loop {
            let chunk = self
                .snapshots
                .read_at(&name, at, CHUNK)
                .map_err(failed(format!("read snapshot {name} back")))?;
            if chunk.is_empty() {
                break;
            }
            context.update(&chunk);
            at += chunk.len() as u64;
        }
        if context.finish().as_ref() != beyond.digest.0 {
            let what = format!("snapshot {name} does not read back as it was written");
            return Err(ArchiveError::Unfit(what));
        }
        Ok(())
    }
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ArchiveError {
    let what = what.into();
    |source| ArchiveError::Io { what, source }
}
