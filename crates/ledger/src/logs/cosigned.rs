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
        let length = Note::first_length(&bytes[at..]);
        if Note::parse(&bytes[at..at + length]).is_err() {
            break;
        }
        at += length;
    }
    at
}

#[cfg(test)]
mod tests {
    use tlog::{Checkpoint, Hash, SigningKey};

    use super::*;
    use crate::sim::Sim;

    fn note(size: u64) -> String {
        let key = SigningKey::new("example.com/log", &[1; 32]).unwrap();
        let root = Hash::from_slice(&[2; 32]).unwrap();
        let checkpoint = Checkpoint::new("example.com/log", size, root).unwrap();
        checkpoint.sign(&[&key]).unwrap().to_string()
    }

    #[test]
    fn a_torn_checkpoint_is_cut_before_the_next() {
        let (first, second, third) = (note(1), note(2), note(3));
        let second_s = 1_775_000_000;
        let path = format!("root/cosigned/{}", day(second_s * 1000));
        for kept in 0..second.len() {
            let store = Sim::default().logs();
            store.append(&path, 0, first.as_bytes()).unwrap();
            let mut torn = second.as_bytes()[..kept].to_vec();
            torn.resize(second.len(), 0);
            store.append(&path, first.len() as u64, &torn).unwrap();
            keep(&store, second_s, &third).unwrap();
            let due = format!("{first}{third}");
            let is = store.read(&path, 1 << 20).unwrap();
            assert_eq!(String::from_utf8(is).unwrap(), due, "cut at {kept}");
        }
        let store = Sim::default().logs();
        for note in [&first, &second, &third] {
            keep(&store, second_s, note).unwrap();
        }
        let is = store.read(&path, 1 << 20).unwrap();
        assert_eq!(is, format!("{first}{second}{third}").into_bytes());
    }
}
