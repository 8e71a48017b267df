//! Where a log's files are read from. Whatever comes from there is hostile: lengths are bounded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Why a file could not be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Longer than any such file can be.
    #[error("{path} is longer than {max} bytes, which no such file is")]
    TooLong {
        /// The file.
        path: String,
        /// The bound.
        max: u64,
    },
    /// The disk, the network or the server.
    #[error("{path}: {why}")]
    Unreachable {
        /// The file or address.
        path: String,
        /// What it said.
        why: String,
    },
}

/// A file's bytes, if it is there.
pub type Found = Result<Option<Vec<u8>>, StoreError>;

/// A place with the layout of docs/format/logs.md.
pub trait Store {
    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    /// If it is longer than `max` bytes or cannot be had.
    fn read(&self, path: &str, max: u64) -> Found;

    /// Reads several files, in any order or at once.
    fn read_all(&self, paths: &[(String, u64)]) -> Vec<Found> {
        paths
            .iter()
            .map(|(path, max)| self.read(path, *max))
            .collect()
    }

    /// How many bundles it pays to ask for together.
    fn ahead(&self) -> u64 {
        1
    }
}

/// A folder.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    fn open(&self, path: &str) -> Result<Option<File>, StoreError> {
        match File::open(self.0.join(path)) {
            Ok(file) => Ok(Some(file)),
            // A file where a folder is expected is no such file either.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(unreachable_at(path, &error)),
        }
    }
}

fn unreachable_at(path: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreachable {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Reads to the end, at most `max` bytes.
pub(crate) fn bounded(from: impl Read, path: &str, max: u64, hint: u64) -> Found {
    let mut bytes = Vec::with_capacity(usize::try_from(hint.min(max)).unwrap_or(0) + 1);
    from.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreachable_at(path, &error))?;
    if bytes.len() as u64 > max {
        return Err(StoreError::TooLong {
            path: path.to_owned(),
            max,
        });
    }
    Ok(Some(bytes))
}

impl Store for Folder {
    fn read(&self, path: &str, max: u64) -> Found {
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        let about = file
            .metadata()
            .map_err(|error| unreachable_at(path, &error))?;
        if about.is_dir() {
            return Ok(None);
        }
        bounded(file, path, max, about.len())
    }
}

impl Folder {
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Files in memory: for tests.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Memory(pub BTreeMap<String, Vec<u8>>);

impl Store for Memory {
    fn read(&self, path: &str, max: u64) -> Found {
        match self.0.get(path) {
            Some(bytes) if bytes.len() as u64 > max => Err(StoreError::TooLong {
                path: path.to_owned(),
                max,
            }),
            found => Ok(found.cloned()),
        }
    }
}
