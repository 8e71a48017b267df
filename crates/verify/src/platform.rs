//! Files: the one module that knows what differs between systems. On Unix a private file is 0600
//! and a folder is synced after a rename; elsewhere the system's own rules hold.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The owner.
    Private,
    /// As the system has it.
    Shared,
}

/// Reads a text of at most `max` bytes.
///
/// # Errors
/// If it cannot be read, is longer or is no UTF-8 ([`io::ErrorKind::InvalidData`]).
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let bytes = read_bytes(path, max)?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
}

/// Reads at most `max` bytes.
///
/// # Errors
/// If it cannot be read or is longer ([`io::ErrorKind::InvalidData`]).
pub fn read_bytes(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let why = format!("it is longer than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}

/// Writes a file whole or not at all, and durably: a new file beside it, synced, renamed over it.
///
/// # Errors
/// If the disk refuses; what was there before is there still.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let new = beside(path);
    let done = write_new(&new, bytes, mode)
        .and_then(|()| std::fs::rename(&new, path))
        .and_then(|()| sync_folder(path));
    if done.is_err() {
        // What is left of it is of no use to anyone.
        let _ = std::fs::remove_file(&new);
    }
    done
}

/// Writes a file that must not be there yet, durably.
///
/// # Errors
/// If it is there already or the disk refuses.
pub fn create(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    write_new(path, bytes, mode)?;
    sync_folder(path)
}

fn write_new(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    restrict(&mut options, mode);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name of its own for each process and write.
fn beside(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}-{number}.new", std::process::id()));
    path.with_file_name(name)
}

/// Locks a file for this process; the lock ends with it. `false`: another one has it.
///
/// # Errors
/// If the file cannot be made.
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(unix)]
fn restrict(options: &mut OpenOptions, mode: Mode) {
    use std::os::unix::fs::OpenOptionsExt;
    if mode == Mode::Private {
        options.mode(0o600);
    }
}

#[cfg(not(unix))]
fn restrict(_: &mut OpenOptions, _: Mode) {}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether others than the owner may read a file; `false` where that cannot be told.
///
/// # Errors
/// If there is no such file.
#[cfg(unix)]
pub fn exposed(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Whether others than the owner may read a file; `false` where that cannot be told.
///
/// # Errors
/// If there is no such file.
#[cfg(not(unix))]
pub fn exposed(path: &Path) -> io::Result<bool> {
    std::fs::metadata(path).map(|_| false)
}
