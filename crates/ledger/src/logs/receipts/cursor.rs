//! How many receipts a client has acknowledged: `receipts/N` in the ledger's folder, a few lines of
//! text. When it is missing or damaged everything is sent again, which loses nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use event::ClientId;

use crate::LedgerError;
use crate::logs::places::hex;

const FIRST: &str = "sekisho receipts 1";
/// A longer file is not ours.
const BYTES_MAX: u64 = 1 << 10;

/// One client's file.
pub(super) struct CursorFile {
    path: PathBuf,
    client: ClientId,
    ledger: [u8; 16],
}

/// How many receipts a client has acknowledged, as of some seconds ago; `None`: it was sent none.
pub fn acknowledged(folder: &Path, client: ClientId, ledger: &[u8; 16]) -> Option<u64> {
    let file = CursorFile::new(folder, client, *ledger);
    file.read().ok().flatten().map(|(_, entries)| entries)
}

impl CursorFile {
    pub(super) fn new(folder: &Path, client: ClientId, ledger: [u8; 16]) -> Self {
        Self {
            path: folder.join("receipts").join(client.to_string()),
            client,
            ledger,
        }
    }

    /// Where to go on in a log of `end` entries. A new generation is another log: all of it is
    /// promised anew.
    pub(super) fn begin(
        &self,
        generation: u32,
        end: u64,
        say: &(dyn Fn(String) + Send + Sync),
    ) -> Result<u64, LedgerError> {
        let client = self.client;
        let (of, acknowledged) = match self.read() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(0),
            Err(error) => {
                let path = self.path.display();
                say(format!(
                    "{path}: {error}; all receipts of client {client} are sent again"
                ));
                return Ok(0);
            }
        };
        if of != generation {
            return Ok(0);
        }
        if acknowledged > end {
            return Err(LedgerError::Unkept {
                client,
                acknowledged,
                known: end,
            });
        }
        Ok(acknowledged)
    }

    /// (Generation, entries).
    fn read(&self) -> io::Result<Option<(u32, u64)>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let text = io::read_to_string(io::Read::take(file, BYTES_MAX))?;
        let damaged = || io::Error::other("is no record of acknowledged receipts of this ledger");
        self.parse(&text).map(Some).ok_or_else(damaged)
    }

    fn parse(&self, text: &str) -> Option<(u32, u64)> {
        let ledger = hex(&self.ledger);
        let rest = text.strip_prefix(&format!("{FIRST}\nledger {ledger}\ngeneration "))?;
        let (generation, entries) = rest.strip_suffix('\n')?.split_once("\nacknowledged ")?;
        Some((generation.parse().ok()?, entries.parse().ok()?))
    }

    /// Replaces it: the old content or the new one is there, also after a crash.
    pub(super) fn write(&self, generation: u32, entries: u64) -> io::Result<()> {
        let ledger = hex(&self.ledger);
        let text =
            format!("{FIRST}\nledger {ledger}\ngeneration {generation}\nacknowledged {entries}\n");
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_was_or_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let client = ClientId::new(7).unwrap();
        let file = CursorFile::new(folder.path(), client, [1; 16]);
        let quiet = |line: String| panic!("{line}");
        assert_eq!(file.begin(1, 90, &quiet).unwrap(), 0);
        assert_eq!(acknowledged(folder.path(), client, &[1; 16]), None);
        file.write(1, 80).unwrap();
        assert_eq!(file.begin(1, 90, &quiet).unwrap(), 80);
        assert_eq!(acknowledged(folder.path(), client, &[1; 16]), Some(80));
        // The ledger is an old copy: the client holds what it lost.
        let lost = file.begin(1, 79, &quiet).unwrap_err();
        assert!(lost.to_string().contains("acknowledged receipts of 80"));
        // The loss was declared.
        assert_eq!(file.begin(2, 79, &quiet).unwrap(), 0);
        // Another ledger's, or damaged.
        let said = std::sync::Mutex::new(0);
        let told = |_: String| *said.lock().unwrap() += 1;
        let other = CursorFile::new(folder.path(), client, [2; 16]);
        assert_eq!(other.begin(1, 90, &told).unwrap(), 0);
        std::fs::write(folder.path().join("receipts/7"), "sekisho receipts 1\n").unwrap();
        assert_eq!(file.begin(1, 90, &told).unwrap(), 0);
        assert_eq!(*said.lock().unwrap(), 2);
    }
}
