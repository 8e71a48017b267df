//! `root/cosigned/YYYYMMDD`: one checkpoint a minute that a quorum of witnesses cosigned. From them
//! a client sees since when which leaf was covered.

use tlog::Note;

use super::places::Tree;
use super::publish::checkpoint_path;
use super::store::Store;
use crate::LedgerError;
use crate::list::day;

/// A day of checkpoints of at most 64 KiB, one a minute.
const DAY_BYTES_MAX: u64 = 24 * 60 * (64 << 10);

/// Publishes the root log's checkpoint: its bytes are durable before it gets its name, or a loss of
/// power could leave an empty one, which stops the next start.
pub(crate) fn write_root(store: &dyn Store, note: &str) -> Result<(), LedgerError> {
    let path = checkpoint_path(Tree::Root);
    store
        .stage(&path, note.as_bytes())
        .and_then(|()| store.sync())
        .and_then(|()| store.publish(&path))
        .map_err(|error| LedgerError::io(format!("write {path}"), error))
}

/// Appends a checkpoint to the file of its day. One at the end that a loss of power tore is cut.
pub(crate) fn keep(store: &dyn Store, first_s: u64, note: &str) -> Result<(), LedgerError> {
    let path = format!("root/cosigned/{}", day(first_s.saturating_mul(1000)));
    let failed = |error| LedgerError::io(format!("write {path}"), error);
    let known = match store.read(&path, DAY_BYTES_MAX) {
        Ok(bytes) => whole(&bytes) as u64,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(failed(error)),
    };
    store.append(&path, known, note.as_bytes()).map_err(failed)
}

/// How many bytes are whole checkpoints.
pub(crate) fn whole(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        let length = note_length(&bytes[at..]);
        if Note::parse(&bytes[at..at + length]).is_err() {
            break;
        }
        at += length;
    }
    at
}

/// Where a note ends: behind the last of its lines that begin with a dash, or at the end.
fn note_length(bytes: &[u8]) -> usize {
    let (mut at, mut signatures) = (0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let signature = line.starts_with("— ".as_bytes());
        if signatures && !signature {
            return at;
        }
        signatures |= signature;
        at += line.len();
    }
    at
}
