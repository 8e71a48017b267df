//! docs/format/tlog.md repeats what the code makes, so that someone with the page alone can check
//! an implementation.

use tlog::{Checkpoint, Cosigner, Edge, MemoryTree, SigningKey, TlogProof, bundle, leaf_hash};

const PAGE: &str = include_str!("../../../../docs/format/tlog.md");

#[test]
fn the_vectors_of_the_page() {
    let log = SigningKey::new("ledger.example/centre", &[1; 32]).unwrap();
    let witness = Cosigner::new("w.example", &[2; 32]).unwrap();
    let entries = [&b"a"[..], b"bc", b""];
    let mut edge = Edge::new();
    let mut bundle = Vec::new();
    for entry in entries {
        assert!(edge.push(leaf_hash(entry)).is_empty());
        bundle::append(&mut bundle, entry).unwrap();
    }
    let tree = MemoryTree::new(entries.map(leaf_hash).to_vec());
    let mut checkpoint = Checkpoint::new("ledger.example/centre", 3, tree.root())
        .unwrap()
        .sign(&[&log])
        .unwrap();
    let line = witness.cosign(checkpoint.text(), 1_800_000_000).unwrap();
    checkpoint.add(line).unwrap();
    let proof = TlogProof {
        extra: b"bc".to_vec(),
        index: 1,
        hashes: tree.proof(1).unwrap(),
        checkpoint,
    };
    let hex: String = bundle.iter().map(|it| format!("{it:02x}")).collect();
    for vector in [
        log.encode().to_string(),
        log.verifier().to_string(),
        witness.encode().to_string(),
        witness.verifier().to_string(),
        format!("`{hex}`"),
        format!("`{}`", edge.root()),
        format!("```\n{proof}```\n"),
    ] {
        assert!(
            PAGE.contains(&vector),
            "docs/format/tlog.md lacks:\n{vector}"
        );
    }
}
