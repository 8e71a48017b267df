//! `root/cosigned/YYYYMMDD`: one checkpoint a minute that a quorum of witnesses cosigned. From them
//! a client sees since when which leaf was covered.

use super::store::Store;
use crate::LedgerError;
use crate::list::day;

/// A day of checkpoints of at most 64 KiB, one a minute.
const DAY_BYTES_MAX: u64 = 24 * 60 * (64 << 10);

/// Appends a checkpoint to the file of its day.
pub(super) fn keep(store: &dyn Store, first_s: u64, note: &str) -> Result<(), LedgerError> {
    let path = format!("root/cosigned/{}", day(first_s.saturating_mul(1000)));
    let failed = |error| LedgerError::io(format!("write {path}"), error);
    let known = match store.read(&path, DAY_BYTES_MAX) {
        Ok(bytes) => bytes.len() as u64,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(failed(error)),
    };
    store.append(&path, known, note.as_bytes()).map_err(failed)
}
