//! The few file operations the write-ahead log needs, behind a trait, so that tests can fail and
//! lose each of them. [`DiskIo`] is the real one; the simulated one is `sim`.
//!
//! Invariant: nothing here syncs by itself; what is not synced may be lost by a crash, names too.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// One folder of files with plain names.
pub trait Io: Send + Sync + 'static {
    /// Creates or empties a file for writing.
    ///
    /// # Errors
    /// As of the operating system.
    fn create(&self, name: &str) -> io::Result<Box<dyn IoFile>>;

    /// The whole content of a file.
    ///
    /// # Errors
    /// As of the operating system; longer than `bytes_max` is [`io::ErrorKind::FileTooLarge`].
    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// All names in the folder, sorted.
    ///
    /// # Errors
    /// As of the operating system.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Renames a file over another.
    ///
    /// # Errors
    /// As of the operating system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As of the operating system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// As of the operating system.
    fn sync_folder(&self) -> io::Result<()>;

    /// Bytes that may still be written to the folder's filesystem.
    ///
    /// # Errors
    /// As of the operating system.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
pub trait IoFile: Send {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As of the operating system; part may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the content durable (fdatasync).
    ///
    /// # Errors
    /// As of the operating system; afterwards nobody knows what is on disk.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Makes content, length and allocation durable (fsync).
    ///
    /// # Errors
    /// As of the operating system; afterwards nobody knows what is on disk.
    fn sync_all(&mut self) -> io::Result<()>;
}

/// A folder on disk.
#[derive(Debug)]
pub struct DiskIo {
    folder: PathBuf,
}

impl DiskIo {
    /// Makes the folder if it is not there, durably.
    ///
    /// # Errors
    /// As of the operating system.
    pub fn new(folder: &Path) -> io::Result<Self> {
        if !folder.is_dir() {
            std::fs::create_dir_all(folder)?;
            if let Some(parent) = folder.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }
}

impl Io for DiskIo {
    fn create(&self, name: &str) -> io::Result<Box<dyn IoFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.folder.join(name))?;
        Ok(Box::new(DiskFile(file)))
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.folder.join(name))?
            .take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            // A name that is not UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

struct DiskFile(File);

impl IoFile for DiskFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// The right to write to a ledger's folder; given back when dropped, and by the kernel when the
/// process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks `folder` (a file `lock` in it).
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process holds it.
    pub fn take(folder: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("lock"))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { _file: file })
    }
}
