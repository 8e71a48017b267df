//! The few file operations the write-ahead log needs, behind a trait, so that tests can fail and
//! lose each of them. [`DiskIo`] is the real one; the simulated one is `sim`.
//!
//! Invariant: nothing here syncs by itself; what is not synced may be lost by a crash, names too.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, IFlags};

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

    /// Up to `bytes` of a file from `offset` on; fewer where it ends.
    ///
    /// # Errors
    /// As of the operating system.
    fn read_at(&self, name: &str, offset: u64, bytes: u64) -> io::Result<Vec<u8>>;

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

    /// The digest of the archive's file that a segment was read from, if it was.
    fn archived(&self, _segment: u32) -> Option<event::Digest> {
        None
    }
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

/// Btrfs, as `statfs` says it (linux/magic.h).
const BTRFS_SUPER_MAGIC: i64 = 0x9123_683e;

/// Whether overwriting a written block there allocates another one: then a full disk would fail a
/// sync, and not the preparation of a segment.
fn allocates_on_overwrite(filesystem: i64, flags: IFlags) -> bool {
    filesystem == BTRFS_SUPER_MAGIC && !flags.contains(IFlags::NOCOW)
}

impl DiskIo {
    /// A folder that may not be there: then it has no files.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

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

    /// Whether a write-ahead log may be written there.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] on btrfs with copy on write.
    pub fn check_overwrites(&self) -> io::Result<()> {
        let folder = File::open(&self.folder)?;
        let filesystem = rustix::fs::fstatfs(&folder)?.f_type;
        if filesystem != BTRFS_SUPER_MAGIC {
            return Ok(());
        }
        if allocates_on_overwrite(filesystem, rustix::fs::ioctl_getflags(&folder)?) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "btrfs copies on write; `chattr +C` an empty folder, or use another filesystem",
            ));
        }
        Ok(())
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

    fn read_at(&self, name: &str, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.folder.join(name))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut read = Vec::new();
        file.take(bytes).read_to_end(&mut read)?;
        Ok(read)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn btrfs_needs_nocow() {
        assert!(allocates_on_overwrite(BTRFS_SUPER_MAGIC, IFlags::empty()));
        assert!(!allocates_on_overwrite(BTRFS_SUPER_MAGIC, IFlags::NOCOW));
        assert!(!allocates_on_overwrite(0xef53, IFlags::empty()));
    }

    #[test]
    fn a_file_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let io = DiskIo::new(&folder.path().join("wal")).unwrap();
        let mut file = io.create("a").unwrap();
        file.write_at(3, b"bytes").unwrap();
        file.sync_data().unwrap();
        io.rename("a", "b").unwrap();
        io.sync_folder().unwrap();
        assert_eq!(io.list().unwrap(), ["b"]);
        assert_eq!(io.read("b", 8).unwrap(), b"\0\0\0bytes");
        assert_eq!(
            io.read("b", 7).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        assert!(io.free_bytes().unwrap() > 0);
        io.remove("b").unwrap();
        assert!(io.list().unwrap().is_empty());
    }
}
