//! Files of wrapped keys: text lines, written once, never overwritten.
//!
//! Invariants: a key file is complete and on disk before its key is used; it belongs to its owner
//! alone (0600, refused when others may read it); an existing file is never replaced. See
//! docs/format/keys.md.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use base64_simd::URL_SAFE_NO_PAD;
use event::ClientId;
use zeroize::Zeroizing;

use crate::cell::{NONCE_BYTES, TAG_BYTES};
use crate::client::Secret;
use crate::entropy::{Entropy, EntropyError};

/// The longest key file that is read, in bytes: 255 epochs of 90 bytes fit.
const KEY_FILE_BYTES_MAX: u64 = 32 * 1024;
/// Bytes of a wrapped key: nonce, key, tag.
const WRAPPED_BYTES: usize = NONCE_BYTES + 32 + TAG_BYTES;

/// Why a key could not be made or had. Never carries key bytes or a passphrase.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key file.
    #[error("there is no key at {0}")]
    Missing(PathBuf),
    /// The client's keys were destroyed.
    #[error("the keys of client {0} were destroyed")]
    Destroyed(ClientId),
    /// The client's list keys of the months before one were destroyed.
    #[error("the list keys of client {0} before {1} were destroyed")]
    ListsDestroyed(ClientId, u32),
    /// A key file that would have been overwritten.
    #[error("{0} is there already, and keys are never overwritten")]
    Exists(PathBuf),
    /// Not a key file, or of a version that this program does not know.
    #[error("{path}: not a key file of a known version ({what})")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// Readable by others.
    #[error("{path} can be read by others (mode {mode:03o}): run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A wrong passphrase, another master key, or an altered file.
    #[error("{0} does not open: wrong passphrase, another master key, or an altered file")]
    DoesNotOpen(PathBuf),
    /// The file system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl KeyError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::AlreadyExists => Self::Exists(path),
            _ => Self::Io { path, error },
        }
    }

    pub(crate) fn malformed(path: &Path, what: &'static str) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            what,
        }
    }
}

/// 32 fresh random bytes.
pub(crate) fn fresh(entropy: &dyn Entropy) -> Result<Secret, EntropyError> {
    let mut key = Zeroizing::new([0; 32]);
    entropy.fill(&mut *key)?;
    Ok(key)
}

/// Wraps a key: base64url of `nonce 12 | AES-256-GCM ciphertext 32 | tag 16`.
pub(crate) fn wrap(
    under: &LessSafeKey,
    aad: &[u8],
    key: &Secret,
    entropy: &dyn Entropy,
) -> Result<String, EntropyError> {
    let mut nonce = [0; NONCE_BYTES];
    entropy.fill(&mut nonce)?;
    let mut bytes = Zeroizing::new([0; WRAPPED_BYTES]);
    bytes[..NONCE_BYTES].copy_from_slice(&nonce);
    let (content, tag) = bytes[NONCE_BYTES..].split_at_mut(32);
    content.copy_from_slice(&**key);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let made = under
        .seal_in_place_separate_tag(nonce, Aad::from(aad), content)
        .expect("a key is shorter than AES-GCM's 64 GiB");
    tag.copy_from_slice(made.as_ref());
    Ok(URL_SAFE_NO_PAD.encode_to_string(bytes.as_slice()))
}

/// The inverse of [`wrap`]; `None` if it does not verify.
pub(crate) fn unwrap(under: &LessSafeKey, aad: &[u8], wrapped: &str) -> Option<Secret> {
    let bytes = URL_SAFE_NO_PAD.decode_to_vec(wrapped).ok()?;
    if bytes.len() != WRAPPED_BYTES {
        return None;
    }
    let mut bytes = Zeroizing::new(bytes);
    let (nonce, content) = bytes.split_at_mut(NONCE_BYTES);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let opened = under.open_in_place(nonce, Aad::from(aad), content).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(opened);
    Some(key)
}

/// Reads a key file that only its owner may read.
pub(crate) fn read(path: &Path) -> Result<String, KeyError> {
    let file = File::open(path).map_err(KeyError::io(path))?;
    let mode = file
        .metadata()
        .map_err(KeyError::io(path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode: mode & 0o777,
        });
    }
    let mut text = String::new();
    file.take(KEY_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => KeyError::malformed(path, "text"),
            _ => KeyError::io(path)(error),
        })?;
    if text.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(KeyError::malformed(path, "at most 32 KiB"));
    }
    Ok(text)
}

/// Writes a key file and waits until it is on disk. Fails if it is there already.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), KeyError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}-{number}", std::process::id()));
    // A link and not a rename: a rename would replace a key that is there.
    let written = write_durably(&temporary, text)
        .and_then(|()| fs::hard_link(&temporary, path).map_err(KeyError::io(path)));
    // What fails to be removed is a complete, wrapped, private copy: harmless.
    let _ = fs::remove_file(&temporary);
    written?;
    sync_folder(folder)
}

/// Puts another text in a key file's place and waits until that is on disk.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), KeyError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}-new", std::process::id()));
    write_durably(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path).map_err(KeyError::io(path)))?;
    sync_folder(folder)
}

/// Removes all files of a folder, and waits until that is on disk.
pub(crate) fn remove_files(folder: &Path) -> Result<(), KeyError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(KeyError::io(folder))?,
    };
    for entry in entries {
        let path = entry.map_err(KeyError::io(folder))?.path();
        fs::remove_file(&path).map_err(KeyError::io(&path))?;
    }
    sync_folder(folder)
}

fn write_durably(path: &Path, text: &str) -> Result<(), KeyError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(KeyError::io(path))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(KeyError::io(path))
}

/// Makes a folder (0700) and its parents, durably, if it is not there.
pub(crate) fn make_folder(path: &Path) -> Result<(), KeyError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(KeyError::io(path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

pub(crate) fn sync_folder(path: &Path) -> Result<(), KeyError> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(KeyError::io(path))
}

/// A client's number as three bytes, for associated data.
pub(crate) fn client_bytes(client: ClientId) -> [u8; 3] {
    let [_, a, b, c] = client.get().to_be_bytes();
    [a, b, c]
}

/// The rest of the next line, which has to begin with `word` and a space (or be `word` alone).
pub(crate) fn line<'a>(
    lines: &mut impl Iterator<Item = &'a str>,
    word: &'static str,
    path: &Path,
) -> Result<&'a str, KeyError> {
    lines
        .next()
        .and_then(|line| line.strip_prefix(word))
        .and_then(|rest| match rest {
            "" => Some(rest),
            _ => rest.strip_prefix(' '),
        })
        .ok_or_else(|| KeyError::malformed(path, word))
}
