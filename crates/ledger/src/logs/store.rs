//! Where derived files are written. They are not synced one by one: what one tick wrote is made
//! durable by one [`Store::sync`], and only then do checkpoints get their names.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::is_full;
use crate::wal::Fatal;

/// Files by their paths, with `/` between folders.
pub trait Store: Send + Sync + 'static {
    /// A file's bytes.
    ///
    /// # Errors
    /// As of the operating system; longer than `bytes_max` is [`io::ErrorKind::FileTooLarge`].
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// Writes a file whole: a reader sees the old bytes or the new ones.
    ///
    /// # Errors
    /// As of the operating system.
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.stage(path, bytes)?;
        self.publish(path)
    }

    /// Writes the bytes that [`Store::publish`] will give the file.
    ///
    /// # Errors
    /// As of the operating system.
    fn stage(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file the bytes that were staged for it.
    ///
    /// # Errors
    /// As of the operating system.
    fn publish(&self, path: &str) -> io::Result<()>;

    /// Cuts a file to `at` bytes and appends.
    ///
    /// # Errors
    /// As of the operating system; shorter than `at` is [`io::ErrorKind::UnexpectedEof`].
    fn append(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Sees to it that a file goes on after its first `at` bytes by those of `head` and `more`: a file
    /// that is long enough stays as it is, another one gets `head` and zeros there.
    ///
    /// # Errors
    /// As of the operating system; shorter than `at` is [`io::ErrorKind::UnexpectedEof`].
    fn hold(&self, path: &str, at: u64, head: &[u8], more: u64) -> io::Result<()>;

    /// Removes a folder with all in it, if it is there.
    ///
    /// # Errors
    /// As of the operating system.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// As of the operating system.
    fn remove_file(&self, path: &str) -> io::Result<()>;

    /// How long a file is.
    ///
    /// # Errors
    /// As of the operating system.
    fn length(&self, path: &str) -> io::Result<u64>;

    /// The names of the files in a folder, sorted; none if it is not there.
    ///
    /// # Errors
    /// As of the operating system.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// As of the operating system: then nothing that was written since the last one counts.
    fn sync(&self) -> io::Result<()>;
}

/// A store whose first failed sync is its last: what had been written may never reach the disk, though
/// it can be read, so nothing is written or named after it. Lack of space is no such failure: then
/// what was written is written again.
pub(crate) struct Vital {
    store: Arc<dyn Store>,
    failed: AtomicBool,
    /// Told once; in production the process ends there.
    on_fatal: Box<dyn Fn(&Fatal) + Send + Sync>,
}

impl Vital {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        on_fatal: impl Fn(&Fatal) + Send + Sync + 'static,
    ) -> Self {
        Self {
            store,
            failed: AtomicBool::new(false),
            on_fatal: Box::new(on_fatal),
        }
    }

    fn alive(&self) -> io::Result<&dyn Store> {
        match self.failed.load(Ordering::Acquire) {
            true => Err(io::Error::other("a sync of the derived logs failed")),
            false => Ok(&*self.store),
        }
    }
}

impl Store for Vital {
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.store.read(path, bytes_max)
    }

    fn stage(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.alive()?.stage(path, bytes)
    }

    fn publish(&self, path: &str) -> io::Result<()> {
        self.alive()?.publish(path)
    }

    fn append(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.alive()?.append(path, at, bytes)
    }

    fn hold(&self, path: &str, at: u64, head: &[u8], more: u64) -> io::Result<()> {
        self.alive()?.hold(path, at, head, more)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.alive()?.remove(path)
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.alive()?.remove_file(path)
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        self.store.length(path)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.store.list(folder)
    }

    fn sync(&self) -> io::Result<()> {
        let done = self.alive()?.sync();
        if let Err(error) = &done
            && !is_full(error)
            && !self.failed.swap(true, Ordering::AcqRel)
        {
            (self.on_fatal)(&Fatal::new("sync of the derived logs", error));
        }
        done
    }
}

/// A folder.
#[derive(Debug)]
pub struct DiskStore {
    folder: PathBuf,
    /// The folder, opened before anything was written: a sync through it tells every failure since,
    /// one that another program was told of, too.
    opened: OnceLock<File>,
}

impl DiskStore {
    /// A folder that may not be there: then it has no files.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            opened: OnceLock::new(),
        }
    }

    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// As of the operating system.
    pub fn new(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            opened: OnceLock::from(File::open(folder)?),
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Paths come from numbers and fixed words, never from outside.
    fn place(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    fn staged(&self, path: &str) -> PathBuf {
        self.folder.join(format!("{path}.new"))
    }

    /// Opens a file to write, and makes its folder when that is missing.
    fn open(&self, place: &Path, options: &OpenOptions) -> io::Result<File> {
        match options.open(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = place.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                options.open(place)
            }
            opened => opened,
        }
    }
}

impl Store for DiskStore {
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.place(path))?
            .take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn stage(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        self.open(&self.staged(path), &options)?.write_all(bytes)
    }

    fn publish(&self, path: &str) -> io::Result<()> {
        std::fs::rename(self.staged(path), self.place(path))
    }

    fn append(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        let mut file = self.open(&self.place(path), &options)?;
        if file.metadata()?.len() < at {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.set_len(at)?;
        file.write_all(bytes)
    }

    fn hold(&self, path: &str, at: u64, head: &[u8], more: u64) -> io::Result<()> {
        let end = at + head.len() as u64 + more;
        let length = std::fs::metadata(self.place(path)).map_or(0, |it| it.len());
        if length >= end {
            return Ok(());
        }
        self.append(path, at, head)?;
        let file = OpenOptions::new().write(true).open(self.place(path))?;
        file.set_len(end)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match std::fs::remove_dir_all(self.place(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        match std::fs::remove_file(self.place(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        std::fs::metadata(self.place(path)).map(|it| it.len())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.place(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string();
            if entry.file_type()?.is_file()
                && let Ok(name) = name
                && !name.ends_with(".new")
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        // Some tens of files in as many folders a tick: one call for all of them.
        let opened = match self.opened.get() {
            Some(opened) => opened,
            None => {
                let opened = File::open(&self.folder)?;
                self.opened.get_or_init(|| opened)
            }
        };
        rustix::fs::syncfs(opened)?;
        Ok(())
    }
}
