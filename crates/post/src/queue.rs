//! Reports that wait for the gate, on the disk: one hash chain that goes on over restarts, synced
//! before a report counts, bounded.
//!
//! Files of frames (a 4-byte big-endian length, then the report), named by the first sequence number
//! in them. A file goes when every report in it is acknowledged and a later file exists: the last
//! report is always there, and with it where the chain goes on. A torn end, which a power cut may
//! leave, is cut off when the queue is opened; it was never promised to anybody.
//!
//! What finds no room is not given a sequence number; it is counted, and the count is the first
//! thing said when there is room again.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use terminal::report::{REPORT_BYTES_MAX, Report, Said, digest};
use terminal::{Digest, Malformed};
use thiserror::Error;

/// Bytes after which a new file is begun.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// A file may exceed that by one report and the count of what was lost.
const FILE_BYTES_READ_MAX: u64 = FILE_BYTES_MAX + 4 * REPORT_BYTES_MAX as u64;
/// Above this share of the queue only essential reports are taken.
const ESSENTIAL_ONLY_PERCENT: u64 = 75;

/// Why the queue cannot be used.
#[derive(Debug, Error)]
pub enum QueueError {
    /// A file or folder.
    #[error("the queue, {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Whole reports that do not continue each other: somebody changed them.
    #[error(
        "the queue was changed by somebody: {path} does not continue the report before it; it was put aside as {aside}"
    )]
    Changed {
        /// Which file.
        path: String,
        /// Where it was moved.
        aside: String,
    },
    /// A report that is longer than it may be: a fault of this program.
    #[error("a report cannot be written: {0}")]
    Report(#[from] Malformed),
}

/// When something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// Ms since 1970 UTC.
    pub at_ms: u64,
    /// Ms since the kernel's start.
    pub uptime_ms: u64,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    last: u64,
    bytes: u64,
}

/// The queue. One owner at a time: it is locked by whoever pushes or sends.
#[derive(Debug)]
pub struct Queue {
    folder: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// The newest file, open at its end; none after a failed write, until it was looked at again.
    file: Option<File>,
    next: u64,
    last: Digest,
    acknowledged: u64,
    lost: u64,
    /// The last report that was found when the queue was opened.
    found: Option<Report>,
}

impl Queue {
    /// Opens the queue in a folder, which is made; cuts off a torn end.
    ///
    /// # Errors
    /// [`QueueError`]; with [`QueueError::Changed`] the files were put aside, and opening again
    /// begins a new chain, which the gate will notice.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, QueueError> {
        fs::create_dir_all(folder).map_err(file(folder))?;
        let mut queue = Self {
            folder: folder.to_owned(),
            bytes_max,
            segments: VecDeque::new(),
            file: None,
            next: 1,
            last: [0; 32],
            acknowledged: 0,
            lost: 0,
            found: None,
        };
        queue.recover()?;
        let acknowledged = fs::read_to_string(folder.join("acknowledged")).unwrap_or_default();
        // Only a hint: the gate says what it has. It never reaches beyond what is here.
        queue.acknowledged = acknowledged.trim().parse().unwrap_or(0).min(queue.next - 1);
        queue.forget();
        Ok(queue)
    }

    /// The last report of the agent's life before, if there was one.
    #[must_use]
    pub fn found(&self) -> Option<&Report> {
        self.found.as_ref()
    }

    /// The sequence number of the next report.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The oldest report that waits, or the next one; and the digest of the one before it, zeros if
    /// there was none or it is not here any more.
    #[must_use]
    pub fn oldest(&self) -> (u64, Digest) {
        let first = self.acknowledged + 1;
        if first == self.next {
            return (first, self.last);
        }
        let before = self
            .read(first - 1, 1)
            .ok()
            .and_then(|reports| reports.into_iter().next())
            .filter(|(sequence, _)| *sequence == first - 1)
            .map_or([0; 32], |(_, bytes)| digest(&bytes));
        (first, before)
    }

    /// Reports that wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.next - 1 - self.acknowledged
    }

    /// Reports that found no room since the last [`Said::Lost`].
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Another bound, with another policy.
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// Adds a report, on the disk when this returns. `None`: there is no room; it is counted.
    ///
    /// # Errors
    /// A report that cannot be encoded. A disk that refuses is no error but a loss.
    pub fn push(&mut self, stamp: Stamp, said: Said) -> Result<Option<u64>, QueueError> {
        if !self.has_room(&said) {
            self.lost += 1;
            return Ok(None);
        }
        if self.lost > 0 {
            let count = self.lost;
            if self.append(stamp, Said::Lost { count })?.is_none() {
                self.lost += 1;
                return Ok(None);
            }
            self.lost = 0;
        }
        let pushed = self.append(stamp, said)?;
        if pushed.is_none() {
            self.lost += 1;
        }
        Ok(pushed)
    }

    fn has_room(&self, said: &Said) -> bool {
        let used: u64 = self
            .segments
            .iter()
            .filter(|it| it.last > self.acknowledged)
            .map(|it| it.bytes)
            .sum();
        let limit = if is_essential(said) {
            self.bytes_max
        } else {
            self.bytes_max / 100 * ESSENTIAL_ONLY_PERCENT
        };
        used + 2 * REPORT_BYTES_MAX as u64 <= limit
    }

    fn append(&mut self, stamp: Stamp, said: Said) -> Result<Option<u64>, QueueError> {
        let report = Report {
            sequence: self.next,
            boot: stamp.boot,
            at_ms: stamp.at_ms,
            uptime_ms: stamp.uptime_ms,
            before: self.last,
            body: said,
        };
        let bytes = report.encode()?;
        let length = u32::try_from(bytes.len()).map_err(|_| Malformed::Field("report"))?;
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend_from_slice(&bytes);
        if self.write(&frame).is_err() {
            return Ok(None);
        }
        self.last = digest(&bytes);
        self.next += 1;
        Ok(Some(report.sequence))
    }

    /// Writes and syncs a frame. After a failure the file is cut back to where it was: a sync that
    /// failed says nothing about what is on the disk.
    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let full = self
            .segments
            .back()
            .is_none_or(|it| it.bytes >= FILE_BYTES_MAX);
        if full {
            self.file = None;
            let file = self.create(self.next)?;
            self.file = Some(file);
            self.segments.push_back(Segment {
                first: self.next,
                last: self.next - 1,
                bytes: 0,
            });
        }
        let Some(segment) = self.segments.back_mut() else {
            return Err(io::Error::other("a queue without a file"));
        };
        if self.file.is_none() {
            let path = path(&self.folder, segment.first);
            let file = OpenOptions::new().append(true).open(path)?;
            file.set_len(segment.bytes)?;
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("a queue without a file"));
        };
        if let Err(error) = file.write_all(frame).and_then(|()| file.sync_data()) {
            let _ = file.set_len(segment.bytes);
            self.file = None;
            if segment.last < segment.first {
                // Nothing is in it: its name would say what is not so.
                let _ = fs::remove_file(path(&self.folder, segment.first));
                self.segments.pop_back();
            }
            return Err(error);
        }
        segment.bytes += frame.len() as u64;
        segment.last = self.next;
        Ok(())
    }

    fn create(&self, first: u64) -> io::Result<File> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path(&self.folder, first))?;
        file.set_len(0)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(file)
    }

    /// At most `count_max` reports after the one numbered `after`, oldest first, as they were hashed.
    ///
    /// # Errors
    /// What the system says.
    pub fn after(&self, after: u64, count_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.read(after + 1, count_max)
    }

    fn read(&self, from: u64, count_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut found = Vec::new();
        for segment in self.segments.iter().filter(|it| it.last >= from) {
            let bytes = contents(&path(&self.folder, segment.first))?;
            let numbered = (segment.first..=segment.last).zip(frames(&bytes));
            for (sequence, (report, _)) in numbered.filter(|(sequence, _)| *sequence >= from) {
                if found.len() == count_max {
                    return Ok(found);
                }
                found.push((sequence, report.to_vec()));
            }
            if found.len() == count_max {
                break;
            }
        }
        Ok(found)
    }

    /// The gate has everything up to `sequence` on its disk.
    pub fn acknowledge(&mut self, sequence: u64) {
        let sequence = sequence.min(self.next - 1);
        if sequence <= self.acknowledged {
            return;
        }
        self.acknowledged = sequence;
        // A hint for the next start: the gate says it again.
        let _ = fs::write(self.folder.join("acknowledged"), sequence.to_string());
        self.forget();
    }

    fn forget(&mut self) {
        while self.segments.len() > 1
            && self
                .segments
                .front()
                .is_some_and(|it| it.last <= self.acknowledged)
        {
            if let Some(segment) = self.segments.pop_front() {
                let _ = fs::remove_file(path(&self.folder, segment.first));
            }
        }
    }

    fn recover(&mut self) -> Result<(), QueueError> {
        let mut names: Vec<u64> = fs::read_dir(&self.folder)
            .map_err(file(&self.folder))?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                name.strip_suffix(".reports")?.parse().ok()
            })
            .collect();
        names.sort_unstable();
        let newest = names.last().copied();
        for (at, first) in names.iter().enumerate() {
            let path = path(&self.folder, *first);
            let bytes = contents(&path).map_err(file(&path))?;
            // The oldest file continues what was acknowledged and is gone.
            let good = self.chain(*first, &bytes, at == 0);
            let torn = bytes.len() as u64 - good;
            let whole = frames(bytes.get(to_usize(good)..).unwrap_or_default()).next();
            if (torn > 0 || good == 0) && (Some(*first) != newest || whole.is_some()) {
                return Err(self.put_aside(&path));
            }
            if good == 0 {
                // A file that was begun, and nothing more.
                fs::remove_file(&path).map_err(file(&path))?;
                continue;
            }
            if torn > 0 {
                let open = OpenOptions::new().write(true).open(&path);
                open.and_then(|it| it.set_len(good).and_then(|()| it.sync_all()))
                    .map_err(file(&path))?;
            }
            self.segments.push_back(Segment {
                first: *first,
                last: self.next - 1,
                bytes: good,
            });
        }
        Ok(())
    }

    /// Follows the chain through a file's bytes; gives the length of what continues it.
    fn chain(&mut self, first: u64, bytes: &[u8], oldest: bool) -> u64 {
        let mut good = 0;
        for (bytes, end) in frames(bytes) {
            let Ok(report) = Report::decode(bytes) else {
                break;
            };
            let begins = good == 0 && oldest && report.sequence == first;
            let continues = report.sequence == self.next && report.before == self.last;
            if !begins && !continues {
                break;
            }
            self.next = report.sequence + 1;
            self.last = digest(bytes);
            self.found = Some(report);
            good = end;
        }
        good as u64
    }

    fn put_aside(&self, path: &Path) -> QueueError {
        let aside = self.folder.with_extension(format!("changed-{}", self.next));
        let moved = fs::rename(&self.folder, &aside);
        match moved {
            Ok(()) => QueueError::Changed {
                path: path.display().to_string(),
                aside: aside.display().to_string(),
            },
            Err(source) => QueueError::File {
                path: aside.display().to_string(),
                source,
            },
        }
    }
}

/// Whether a report is kept when the queue is nearly full.
fn is_essential(said: &Said) -> bool {
    !matches!(said, Said::Heartbeat(_) | Said::Detached { .. })
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.reports"))
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > FILE_BYTES_READ_MAX {
        return Err(io::Error::other("longer than this program writes"));
    }
    fs::read(path)
}

/// The whole frames of a file, each with the place where it ends.
fn frames(bytes: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
        let length = to_usize(u32::from_be_bytes(*length).into());
        let frame = rest.get(..length).filter(|it| !it.is_empty())?;
        at += 4 + length;
        Some((frame, at))
    })
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> QueueError {
    let path = path.display().to_string();
    move |source| QueueError::File { path, source }
}
