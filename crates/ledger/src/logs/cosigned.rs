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

/// Behind so many damaged ones of a day the next is looked for.
const DAMAGED_MAX: u64 = 64;

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
/// Gives how many before are damaged: they stay as they are, and so do those behind them.
pub(crate) fn keep(store: &dyn Store, first_s: u64, note: &str) -> Result<u64, LedgerError> {
    let path = format!("root/cosigned/{}", day(first_s.saturating_mul(1000)));
    let failed = |error| LedgerError::io(format!("write {path}"), error);
    let (known, damaged) = match store.read(&path, DAY_BYTES_MAX) {
        Ok(bytes) => whole(&bytes, note),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (0, 0),
        Err(error) => return Err(failed(error)),
    };
    store
        .append(&path, known as u64, note.as_bytes())
        .map_err(failed)?;
    Ok(damaged)
}

/// Where the last whole checkpoint ends, and how many damaged ones are before it. `like`: one of the
/// same log, which begins as they do.
pub(crate) fn whole(bytes: &[u8], like: &str) -> (usize, u64) {
    let first = like.split_inclusive('\n').next().unwrap_or_default();
    let (mut at, mut end) = (0, 0);
    let (mut damaged, mut bad) = (0, 0);
    while at < bytes.len() {
        let length = Note::first_length(&bytes[at..]);
        let one = &bytes[at..at + length];
        if Note::parse(one).is_ok() {
            at += length;
            end = at;
            damaged = bad;
        } else {
            bad += 1;
            let next = Note::next_beginning(one, first);
            at += next.filter(|_| bad < DAMAGED_MAX).unwrap_or(length);
        }
    }
    (end, damaged)
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
            assert_eq!(keep(&store, second_s, note).unwrap(), 0);
        }
        let is = store.read(&path, 1 << 20).unwrap();
        assert_eq!(is, format!("{first}{second}{third}").into_bytes());
    }

    #[test]
    fn behind_a_damaged_checkpoint_nothing_is_cut() {
        let notes: Vec<String> = (1..=4).map(note).collect();
        let at_s = 1_775_000_000;
        let path = format!("root/cosigned/{}", day(at_s * 1000));
        let whole = notes[..3].concat();
        // Any byte of the second: its text, its empty line, its signature, its end.
        for at in notes[0].len()..notes[0].len() + notes[1].len() {
            let store = Sim::default().logs();
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 0x81;
            store.append(&path, 0, &bytes).unwrap();
            let damaged = keep(&store, at_s, &notes[3]).unwrap();
            bytes.extend_from_slice(notes[3].as_bytes());
            let is = store.read(&path, 1 << 20).unwrap();
            assert!(is == bytes, "byte {at}");
            assert!(damaged >= 1, "byte {at}");
        }
    }
}
