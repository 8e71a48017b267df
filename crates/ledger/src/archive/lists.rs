//! Attachments that were copied out beside the logs (docs/format/logs.md "lists"), found again.

use std::collections::BTreeMap;

use event::LogId;
use tlog::TILE_WIDTH;

use crate::logs::sequence::lists_path;
use crate::logs::store::Store;

/// Longest file of lists that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of files that are kept in memory.
const KEPT_BYTES_MAX: usize = 128 << 20;

/// Reads them; each file once, as long as they fit in memory.
pub(crate) struct CopiedLists<'a> {
    store: &'a dyn Store,
    /// Empty: not there.
    files: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

impl<'a> CopiedLists<'a> {
    pub(crate) fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            files: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The one beside an entry.
    pub(crate) fn attachment(&mut self, log: LogId, entry: u64) -> Option<Vec<u8>> {
        let path = lists_path(log, entry);
        if !self.files.contains_key(&path) {
            if self.bytes > KEPT_BYTES_MAX {
                self.files.clear();
                self.bytes = 0;
            }
            let file = self.store.read(&path, FILE_BYTES_MAX).unwrap_or_default();
            self.bytes += file.len();
            self.files.insert(path.clone(), file);
        }
        let due = (entry % u64::from(TILE_WIDTH)) as u8;
        let mut rest = self.files.get(&path)?.as_slice();
        while let Some((&[index, a, b, c, d], after)) = rest.split_first_chunk::<5>() {
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
            let (item, after) = after.split_at_checked(length)?;
            if index == due {
                return Some(item.to_vec());
            }
            rest = after;
        }
        None
    }
}
