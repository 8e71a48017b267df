//! Bytes from outside: an error, never a panic; and what parses encodes to the same bytes, so that
//! nothing can be said in two ways.

use proptest::prelude::*;
use tlog::witness::{AddCheckpoint, decide, parse_conflict};
use tlog::{
    Bundle, Checkpoint, Cosigner, Edge, Hash, MemoryTree, Note, Policy, SigningKey, Tile,
    TlogProof, VerifierKey, bundle, encode_signatures, leaf_hash, parse_signatures,
    verify_consistency, verify_inclusion,
};

use crate::common::{edited, edits, leaves, log_key, signed};

/// One good example of each form, to be damaged.
fn examples() -> Vec<Vec<u8>> {
    let tree = MemoryTree::new(leaves(300));
    let mut note = signed(&tree);
    let witness = Cosigner::new("w.example", &[1; 32]).unwrap();
    note.add(witness.cosign(note.text(), 1_800_000_000).unwrap())
        .unwrap();
    let request = AddCheckpoint {
        old_size: 7,
        proof: tree.consistency(7).unwrap(),
        checkpoint: note.clone(),
    };
    let proof = TlogProof {
        extra: b"extra".to_vec(),
        index: 5,
        hashes: tree.proof(5).unwrap(),
        checkpoint: note.clone(),
    };
    let mut edge = Edge::new();
    leaves(300)
        .into_iter()
        .for_each(|leaf| drop(edge.push(leaf)));
    let mut entries = Vec::new();
    for entry in [&b"one"[..], b"", b"three"] {
        bundle::append(&mut entries, entry).unwrap();
    }
    let policy = format!(
        "log {}\nwitness w {} https://w.example\ngroup g any w\nquorum g\n",
        log_key().verifier(),
        witness.verifier()
    );
    vec![
        note.to_string().into_bytes(),
        note.text().as_bytes().to_vec(),
        encode_signatures(note.signatures()).into_bytes(),
        request.encode().into_bytes(),
        proof.to_string().into_bytes(),
        policy.into_bytes(),
        edge.to_bytes(),
        entries,
        log_key().verifier().to_string().into_bytes(),
        log_key().encode().as_bytes().to_vec(),
        witness.encode().as_bytes().to_vec(),
        b"tile/0/x001/x234/067.p/8".to_vec(),
        b"tile/entries/x001/x234/067".to_vec(),
        tree.root().to_string().into_bytes(),
        b"12345\n".to_vec(),
    ]
}

/// Gives the bytes to every parser; gives how many took them.
fn all_parsers(bytes: &[u8]) -> usize {
    let mut taken = 0;
    let mut same = |again: Vec<u8>| {
        assert_eq!(again, bytes, "parsed, but encodes otherwise");
        taken += 1;
    };
    if let Ok(it) = Note::parse(bytes) {
        let _ = it.verify(&[log_key().verifier().clone()]);
        let _ = Checkpoint::open(&it, &[log_key().verifier().clone()]);
        same(it.to_string().into_bytes());
    }
    if let Ok(it) = AddCheckpoint::parse(bytes) {
        let _ = decide(&it, None, &[log_key().verifier().clone()]);
        same(it.encode().into_bytes());
    }
    if let Ok(it) = TlogProof::parse(bytes) {
        let none: Policy = "quorum none\n".parse().unwrap();
        let _ = it.verify(&leaf_hash(b"x"), &[log_key().verifier().clone()], &none);
        same(it.to_string().into_bytes());
    }
    if let Ok(it) = Edge::from_bytes(bytes) {
        it.root();
        same(it.to_bytes());
    }
    if let Ok(it) = bundle::entries(bytes).collect::<Result<Vec<_>, _>>() {
        let mut again = Vec::new();
        for entry in it {
            bundle::append(&mut again, entry).unwrap();
        }
        same(again);
    }
    if let Some(it) = parse_conflict(bytes) {
        same(format!("{it}\n").into_bytes());
    }
    if let Ok(it) = Policy::parse(bytes) {
        it.quorum(["w"]);
        taken += 1;
    }
    taken + std::str::from_utf8(bytes).map_or(0, text_parsers)
}

fn text_parsers(text: &str) -> usize {
    let mut taken = 0;
    let mut same = |again: String| {
        assert_eq!(again, text, "parsed, but encodes otherwise");
        taken += 1;
    };
    if let Ok(it) = Checkpoint::parse(text) {
        same(it.to_string());
    }
    if let Ok(it) = parse_signatures(text) {
        same(encode_signatures(&it));
    }
    if let Ok(it) = text.parse::<VerifierKey>() {
        same(it.to_string());
    }
    if let Ok(it) = text.parse::<Tile>() {
        same(it.to_string());
    }
    if let Ok(it) = text.parse::<Bundle>() {
        same(it.to_string());
    }
    if let Ok(it) = text.parse::<Hash>() {
        same(it.to_string());
    }
    if let Ok(it) = SigningKey::parse(text) {
        same(it.encode().to_string());
    }
    if let Ok(it) = Cosigner::parse(text) {
        same(it.encode().to_string());
    }
    taken
}

#[test]
fn each_example_is_taken_by_a_parser() {
    for example in examples() {
        let shown = String::from_utf8_lossy(&example).into_owned();
        assert!(all_parsers(&example) >= 1, "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(bytes: Vec<u8>) {
        all_parsers(&bytes);
    }

    #[test]
    fn random_text(text in "[\\PC\n\t —+=/0-9]{0,200}") {
        all_parsers(text.as_bytes());
    }

    #[test]
    fn damaged_examples(which: proptest::sample::Index, edits in edits()) {
        let examples = examples();
        let example: &Vec<u8> = which.get(&examples);
        all_parsers(&edited(example, &edits));
    }

    #[test]
    fn random_proofs(
        leaf: [u8; 32], root: [u8; 32], a: u64, b: u64,
        shift in 0u32..64, hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let (leaf, root) = (Hash(leaf), Hash(root));
        let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let (a, b) = (a >> shift, b >> shift);
        prop_assert!(verify_inclusion(&leaf, a, b, &hashes, &root).is_err());
        let equal = a == b && leaf == root;
        let got = verify_consistency(a, &leaf, b, &root, &hashes);
        prop_assert!(got.is_err() || equal || a == 0);
    }
}
