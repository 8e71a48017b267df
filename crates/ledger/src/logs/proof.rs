//! One entry, proved with nothing but a text file and a client's key file: docs/format/logs.md
//! "Proof of one entry".

use std::fmt::Write as _;

use base64_simd::STANDARD;
use tlog::{Bundle, Checkpoint, Note, TILE_WIDTH, TlogProof, inclusion_proof};

use super::places::Tree;
use super::publish::{Tiles, checkpoint_path};
use super::slots::{LEAVES_PER_BUNDLE, SaltKey, SlotProver};
use super::store::Store;
use crate::LedgerError;
use event::LogId;

/// Longest derived file that is read here, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The proof of entry `index` of a log against the published checkpoint of the root log.
///
/// `kept` gives the entry out of the write-ahead log: it is asked if its bundle is published no more.
///
/// # Errors
/// If the entry is not covered by that checkpoint yet, or files cannot be read.
pub fn entry_proof(
    store: &dyn Store,
    salt: &SaltKey,
    (log, index): (LogId, u64),
    kept: &dyn Fn() -> Result<Option<Vec<u8>>, LedgerError>,
) -> Result<String, LedgerError> {
    let tree = Tree::Log(log);
    let (root, root_note) = checkpoint(store, Tree::Root)?;
    let leaf = root
        .size()
        .checked_sub(1)
        .ok_or_else(|| LedgerError::Setting("the root log is empty".into()))?;
    let place = (leaf % LEAVES_PER_BUNDLE) as u16;
    let slots =
        SlotProver::new(store, salt).bundle(log.number(), leaf / LEAVES_PER_BUNDLE, place + 1)?;
    let slot = nth(&slots, place).filter(|slot| slot.len() >= 72);
    let slot = slot.ok_or_else(|| LedgerError::Setting(format!("{tree} is not published yet")))?;
    let (log_checkpoint, log_note) = checkpoint(store, tree)?;
    let size = log_checkpoint.size();
    let said = slot[32..40].try_into().map_or(0, u64::from_be_bytes);
    if said != size {
        return Err(LedgerError::Setting(format!(
            "{tree} is ahead of the root log's checkpoint just now; try again in a second"
        )));
    }
    if index >= size {
        return Err(LedgerError::Setting(format!(
            "{tree} has {size} published entries, so none with index {index}; `sekisho log` shows indexes"
        )));
    }
    let mut text = format!("sekisho proof 1\nlog {tree}\n");
    let bytes = match entry(store, tree, size, index)? {
        Some(bytes) => bytes,
        None => kept()?.ok_or_else(|| gone(tree, index))?,
    };
    let _ = writeln!(text, "entry {}", base64(&bytes));
    let number = slot_number(store, salt, log, leaf)?;
    let _ = writeln!(text, "slot {number} {}", base64(&slot));
    let newest = entry(store, Tree::Root, root.size(), leaf)?;
    let newest = newest.ok_or_else(|| gone(Tree::Root, leaf))?;
    let _ = writeln!(text, "leaf {}", base64(&newest));
    let _ = writeln!(text, "keys {}", base64(&read(store, "keys")?));
    text += &proof(store, tree, size, index, log_note)?;
    text += &proof(store, Tree::Root, root.size(), leaf, root_note)?;
    Ok(text)
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode_to_string(bytes)
}

fn slot_number(
    store: &dyn Store,
    salt: &SaltKey,
    log: LogId,
    leaf: u64,
) -> Result<u32, LedgerError> {
    SlotProver::new(store, salt)
        .slot(log.number(), leaf)?
        .ok_or_else(|| LedgerError::Setting(format!("log {} has no slot", log.number())))
}

fn proof(
    store: &dyn Store,
    tree: Tree,
    size: u64,
    index: u64,
    checkpoint: Note,
) -> Result<String, LedgerError> {
    let hashes = inclusion_proof(Tiles::new(store, tree, size), size, index)
        .map_err(|error| LedgerError::Setting(format!("read the tiles of {tree}: {error}")))?;
    let proof = TlogProof {
        extra: Vec::new(),
        index,
        hashes,
        checkpoint,
    };
    Ok(proof.to_string())
}

fn checkpoint(store: &dyn Store, tree: Tree) -> Result<(Checkpoint, Note), LedgerError> {
    let path = checkpoint_path(tree);
    let note = Note::parse(&read(store, &path)?).ok();
    note.and_then(|note| Some((Checkpoint::parse(note.text()).ok()?, note)))
        .ok_or_else(|| LedgerError::Setting(format!("{path} is no checkpoint")))
}

fn read(store: &dyn Store, path: &str) -> Result<Vec<u8>, LedgerError> {
    store
        .read(path, FILE_BYTES_MAX)
        .map_err(|error| LedgerError::io(format!("read {path}"), error))
}

fn gone(tree: Tree, index: u64) -> LedgerError {
    LedgerError::Setting(format!("the bundle of entry {index} of {tree} is missing"))
}

/// The bytes of an entry, out of its bundle; `None` if that is not there.
fn entry(
    store: &dyn Store,
    tree: Tree,
    size: u64,
    index: u64,
) -> Result<Option<Vec<u8>>, LedgerError> {
    let bundle = Bundle::holding(index, size)
        .ok_or_else(|| LedgerError::Setting(format!("{tree} has no entry {index}")))?;
    let folder = tree.folder();
    let mut found = None;
    for bundle in [bundle, bundle.full()] {
        let path = format!("{folder}{bundle}");
        match store.read(&path, FILE_BYTES_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(LedgerError::io(format!("read {path}"), error)),
            Ok(bytes) => {
                found = Some(bytes);
                break;
            }
        }
    }
    let Some(bytes) = found else {
        return Ok(None);
    };
    let place = (index % u64::from(TILE_WIDTH)) as u16;
    let entry = nth(&bytes, place);
    entry
        .map(Some)
        .ok_or_else(|| LedgerError::Setting(format!("{bundle} of {tree} is damaged")))
}

fn nth(bundle: &[u8], place: u16) -> Option<Vec<u8>> {
    let entry = tlog::bundle::entries(bundle).nth(usize::from(place))?;
    entry.ok().map(<[u8]>::to_vec)
}
