//! Evidence in a copy: what is never overwritten, and that a new checkpoint continues the old one.

use std::borrow::Cow;

use stamp::sha256;
use tlog::{Checkpoint, Note, Tile, TileSource, consistency_proof, verify_consistency};

use super::{Contradiction, Mirror, MirrorError, TILE_BYTES_MAX};
use crate::keys::KeyList;
use crate::places::{self, KEYS, NOTE_BYTES_MAX, Tree, hex};
use crate::store::{Found, Store};

/// A log's tiles as they are shown.
struct Shown<'a> {
    from: &'a dyn Store,
    tree: Tree,
}

impl TileSource for Shown<'_> {
    type Error = String;

    fn tile(&self, tile: Tile) -> Result<Cow<'_, [u8]>, String> {
        let path = places::tiles(self.tree, tile);
        let read = |path: &str| {
            let found = self.from.read(path, TILE_BYTES_MAX);
            found.map_err(|error| error.to_string())
        };
        let mut found = read(&path)?;
        if found.is_none() && tile.is_partial() {
            found = read(&places::tiles(self.tree, tile.full()))?;
        }
        let mut bytes = found.ok_or_else(|| format!("{path} is missing"))?;
        bytes.truncate(tile.bytes());
        Ok(Cow::Owned(bytes))
    }
}

impl Mirror<'_> {
    /// That a checkpoint continues the copy's, before anything of it is fetched. One that does not is
    /// kept beside.
    pub(super) fn continues(
        &mut self,
        tree: Tree,
        old: &Checkpoint,
        new: &Checkpoint,
        note: &[u8],
    ) -> Result<(), MirrorError> {
        if old.origin() != new.origin() {
            let (had, has) = (old.origin().to_owned(), new.origin().to_owned());
            return Err(MirrorError::OtherLog { had, has });
        }
        let (had, has) = (old.size(), new.size());
        if has < had {
            return Err(MirrorError::Older { tree, had, has });
        }
        let shown = Shown {
            from: self.from,
            tree,
        };
        let proof = match had {
            0 => return Ok(()),
            _ if had == has => Vec::new(),
            _ => consistency_proof(&shown, had, has).map_err(|error| MirrorError::Unproven {
                tree,
                why: error.to_string(),
            })?,
        };
        if verify_consistency(had, &old.root(), has, &new.root(), &proof).is_ok() {
            return Ok(());
        }
        let path = places::checkpoint(tree);
        let beside = format!("{path}.forked-{has}-{}", name(note));
        self.write(&beside, note)?;
        Err(MirrorError::Forked {
            tree,
            had,
            has,
            beside,
        })
    }

    /// The list of keys, unless the copy's is newer, or another one with the same number.
    pub(super) fn keys(&mut self, bytes: &[u8], list: &KeyList) -> Result<(), MirrorError> {
        let had = self.to.read(KEYS, NOTE_BYTES_MAX)?;
        let had = had.and_then(|bytes| KeyList::open(&bytes, self.key_file).ok());
        let contradicts =
            |had: &KeyList| had.serial > list.serial || had.serial == list.serial && had != list;
        match had {
            Some(had) if contradicts(&had) => self.beside(KEYS, bytes),
            _ => self.write(KEYS, bytes),
        }
    }

    /// A checkpoint that continues the copy's. Of the same one, the signatures of both.
    pub(super) fn checkpoint(&mut self, path: &str, bytes: &[u8]) -> Result<(), MirrorError> {
        let had = self.to.read(path, NOTE_BYTES_MAX)?;
        let had = had.and_then(|bytes| Note::parse(&bytes).ok());
        let Some((had, mut both)) = had.zip(Note::parse(bytes).ok()) else {
            return self.write(path, bytes);
        };
        if had.text() != both.text() {
            return self.write(path, bytes);
        }
        for signature in had.signatures() {
            let of_key = (&signature.name, signature.key_id);
            let there = both.signatures().iter();
            if !there.clone().any(|it| (&it.name, it.key_id) == of_key) {
                // More than a note may have: those of the new one stay.
                let _ = both.add(signature.clone());
            }
        }
        self.write(path, both.to_string().as_bytes())
    }

    pub(super) fn grow_found(&mut self, path: &str, found: Found) -> Result<(), MirrorError> {
        match found? {
            Some(bytes) => self.grow(path, &bytes),
            None => Ok(()),
        }
    }

    /// A file that only grows.
    fn grow(&mut self, path: &str, bytes: &[u8]) -> Result<(), MirrorError> {
        let had = self.to.read(path, u64::MAX - 1)?.unwrap_or_default();
        if bytes.starts_with(untorn(&had)) {
            self.write(path, bytes)
        } else if had.starts_with(bytes) {
            Ok(())
        } else {
            self.beside(path, bytes)
        }
    }

    /// A file that never changes.
    pub(super) fn once(&mut self, path: &str, bytes: &[u8]) -> Result<(), MirrorError> {
        match self.to.read(path, u64::MAX - 1)? {
            Some(had) if had != bytes => self.beside(path, bytes),
            _ => self.write(path, bytes),
        }
    }

    /// Keeps what contradicts a file of the copy.
    pub(super) fn beside(&mut self, path: &str, bytes: &[u8]) -> Result<(), MirrorError> {
        let beside = format!("{path}.other-{}", name(bytes));
        self.write(&beside, bytes)?;
        let path = path.to_owned();
        self.copied
            .contradictions
            .push(Contradiction { path, beside });
        Ok(())
    }
}

/// Enough to tell contents apart.
fn name(bytes: &[u8]) -> String {
    hex(&sha256(bytes)[..8])
}

/// Without a note at the end that a loss of power tore before it was copied.
fn untorn(bytes: &[u8]) -> &[u8] {
    let mut at = 0;
    while at < bytes.len() {
        let length = Note::first_length(&bytes[at..]);
        if Note::parse(&bytes[at..at + length]).is_err() {
            let last = at > 0 && at + length == bytes.len();
            return if last { &bytes[..at] } else { bytes };
        }
        at += length;
    }
    bytes
}
