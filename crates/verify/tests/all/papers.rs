//! What leaves a world beside its files: proofs, receipts, a folder.

use aws_lc_rs::signature::Ed25519KeyPair;
use tlog::{Bundle, Note, TlogProof, bundle, leaf_hash};
use verify::entry::Entry;
use verify::places::{self, Tree};
use verify::store::Memory;

use crate::producer::{LEDGER, World, own};

/// The proof of an entry of client 1's log in root leaf `leaf` (docs/format/logs.md).
pub(crate) fn proof_text(world: &World, files: &Memory, entry: u64, leaf: u64) -> String {
    let base64 = |bytes: &[u8]| base64_simd::STANDARD.encode_to_string(bytes);
    let size = world.leaves[leaf as usize].sizes[1];
    let wall = world.leaves[leaf as usize].times.wall_ms;
    let tree = World::tree(&world.logs[1].entries[..size as usize]);
    let own = TlogProof {
        extra: Vec::new(),
        index: entry,
        hashes: tree.proof(entry).unwrap(),
        checkpoint: world.sign(own(), size, tree.root(), wall),
    };
    let leaves = world.leaves.len() as u64;
    let part = |prefix: &str, index: u64, total: u64| {
        let bundle = Bundle::holding(index, total).unwrap().to_string();
        let number = bundle.strip_prefix("tile/entries/").unwrap().to_owned();
        let bytes = &files.0[&format!("{prefix}{number}")];
        let mut all = bundle::entries(bytes).map(|it| it.unwrap().to_vec());
        all.nth((index & 0xff) as usize).unwrap()
    };
    let leaf_bytes = part("root/tile/entries/", leaf, leaves);
    let slot = part("client/1/slots/", leaf, leaves);
    let root = root_proof(files, leaf, leaves, Vec::new());
    format!(
        "sekisho proof 1\nlog client/1\nentry {}\nslot 1 {}\nleaf {}\nkeys {}\n{own}{root}",
        base64(&world.logs[1].entries[entry as usize]),
        base64(&slot),
        base64(&leaf_bytes),
        base64(&files.0["keys"]),
    )
}

/// A plain C2SP proof of a root leaf in the newest root checkpoint.
pub(crate) fn root_proof(files: &Memory, leaf: u64, leaves: u64, extra: Vec<u8>) -> TlogProof {
    let mut all = Vec::new();
    for it in Bundle::grown(0, leaves) {
        let bytes = &files.0[&places::tiles(Tree::Root, it)];
        all.extend(bundle::entries(bytes).map(|it| it.unwrap().to_vec()));
    }
    TlogProof {
        extra,
        index: leaf,
        hashes: World::tree(&all).proof(leaf).unwrap(),
        checkpoint: Note::parse(&files.0["root/checkpoint"]).unwrap(),
    }
}

/// A receipt for an entry of client 1's log, as a line.
pub(crate) fn receipt(world: &World, index: u64, shown_by_ms: u64) -> verify::receipt::Receipt {
    let entry = &world.logs[1].entries[index as usize];
    let wall_ms = Entry::parse(entry).unwrap().times.wall_ms;
    let key = world
        .keys
        .iter()
        .find(|key| key.from_ms <= wall_ms && key.until_ms.is_none_or(|it| wall_ms < it));
    let mut receipt = verify::receipt::Receipt {
        log: places::origin(&LEDGER, world.generation, own()),
        index,
        leaf: leaf_hash(entry).to_string(),
        wall_ms,
        shown_by_ms,
        signature: String::new(),
    };
    let pair = Ed25519KeyPair::from_seed_unchecked(&key.unwrap().seed).unwrap();
    let signature = pair.sign(&receipt.message().unwrap());
    receipt.signature = base64_simd::STANDARD.encode_to_string(signature.as_ref());
    receipt
}

/// Writes files below a folder.
pub(crate) fn write_files(folder: &std::path::Path, files: &Memory) {
    for (path, bytes) in &files.0 {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
