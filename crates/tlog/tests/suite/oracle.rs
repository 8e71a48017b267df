//! The crates `tlog_tiles` and `signed_note` (Cloudflare's ports of Go's sumdb packages) as
//! independent judges: what they compute and accept, we do, and the other way round.
//!
//! Where the two differ on purpose, the test says so: ours has lower limits (64 KiB a note, 1 KiB a
//! name, sizes below 2^63), verifies repeated signature lines too, and takes only lowercase ids.

use std::collections::BTreeMap;

use proptest::prelude::*;
use signed_note::{StandardSigner, StandardVerifier, Verifier, VerifierList};
use tlog::{
    Algorithm, Checkpoint, Cosigner, Frontier, Hash, MemoryTree, Note, SigningKey, Tile,
    VerifierKey, consistency_proof, inclusion_proof, root, verify_consistency, verify_inclusion,
};
use tlog_tiles::{HashReader, TileHashReader, TileReader};

use crate::common::{ORIGIN, Tiles, edited, edits, leaves};

fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash.as_bytes())
}

fn ours(hashes: Vec<tlog_tiles::Hash>) -> Vec<Hash> {
    hashes.into_iter().map(|it| Hash(it.0)).collect()
}

/// Their tree, stored their way.
#[derive(Default)]
struct Stored(Vec<tlog_tiles::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|it| self.0[*it as usize]).collect())
    }
}

impl Stored {
    fn of(entries: u64) -> Self {
        let mut it = Self::default();
        for i in 0..entries {
            let new = tlog_tiles::stored_hashes(i, &i.to_be_bytes(), &it).unwrap();
            it.0.extend(new);
        }
        it
    }
}

/// Our tiles, read and authenticated by their reader.
struct Served(Tiles);

impl TileReader for Served {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |it: &tlog_tiles::Tile| {
            let tile = Tile::new(it.level(), it.level_index(), it.width() as u16).unwrap();
            // A narrower tile is the beginning of the one that is there.
            let here = |found: &&Tile| {
                (found.level(), found.index()) == (tile.level(), tile.index())
                    && found.width() >= tile.width()
            };
            let found = self.0.0.keys().find(here).unwrap();
            self.0.0[found][..tile.bytes()].to_vec()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn roots_and_proofs(size in 1u64..2500, a: u64, b: u64) {
        let (index, old) = (a % size, 1 + b % size);
        let (stored, all) = (Stored::of(size), leaves(size));
        let tiles = Tiles::of(&all);
        let their_root = tlog_tiles::tree_hash(size, &stored).unwrap();
        let head = root(&tiles, size).unwrap();
        prop_assert_eq!(theirs(head), their_root);
        let mut frontier = Frontier::new();
        all.iter().for_each(|leaf| frontier.push(*leaf));
        prop_assert_eq!(theirs(frontier.root()), their_root);
        prop_assert_eq!(theirs(MemoryTree::new(all.clone()).root()), their_root);

        let proof = inclusion_proof(&tiles, size, index).unwrap();
        let leaf = all[index as usize];
        let their_proof = tlog_tiles::prove_record(size, index, &stored).unwrap();
        prop_assert_eq!(&proof, &ours(their_proof.clone()));
        tlog_tiles::check_record(&their_proof, size, their_root, index, theirs(leaf)).unwrap();
        verify_inclusion(&leaf, index, size, &proof, &head).unwrap();

        let old_root = tlog_tiles::tree_hash(old, &stored).unwrap();
        let proof = consistency_proof(&tiles, old, size).unwrap();
        let their_proof = tlog_tiles::prove_tree(size, old, &stored).unwrap();
        prop_assert_eq!(&proof, &ours(their_proof.clone()));
        tlog_tiles::check_tree(&their_proof, size, their_root, old, old_root).unwrap();
        verify_consistency(old, &Hash(old_root.0), size, &head, &proof).unwrap();

        // Their reader authenticates our tiles against the root and finds the same proofs in them.
        let served = Served(tiles);
        let reader = TileHashReader::new(size, their_root, &served);
        let read = tlog_tiles::prove_record(size, index, &reader).unwrap();
        prop_assert_eq!(inclusion_proof(&served.0, size, index).unwrap(), ours(read));
        let read = tlog_tiles::prove_tree(size, old, &reader).unwrap();
        prop_assert_eq!(proof, ours(read));
    }

    /// Damaged proofs: the same verdict.
    #[test]
    fn verdicts(
        size in 1u64..300, a: u64, b: u64, claimed in 1u64..320,
        at: usize, bit in 0usize..256, how in 0u8..5,
    ) {
        let (index, old) = (a % size, 1 + b % size);
        let all = leaves(size);
        let tree = MemoryTree::new(all.clone());
        let (head, leaf) = (tree.root(), all[index as usize]);
        let damage = |mut proof: Vec<Hash>| {
            match how {
                0 => {}
                1 => drop(proof.pop()),
                2 => proof.push(leaf),
                _ => {
                    let length = proof.len().max(1);
                    if let Some(it) = proof.get_mut(at % length) {
                        it.0[bit / 8] ^= 1 << (bit % 8);
                    }
                }
            }
            proof
        };
        let proof = damage(tree.proof(index).unwrap());
        let given: Vec<_> = proof.iter().map(|it| theirs(*it)).collect();
        for size in [size, claimed] {
            let mine = verify_inclusion(&leaf, index, size, &proof, &head).is_ok();
            let other = tlog_tiles::check_record(&given, size, theirs(head), index, theirs(leaf));
            prop_assert_eq!(mine, other.is_ok(), "index {} of {}", index, size);
        }
        let old_root = tree.root_at(old).unwrap();
        let proof = damage(tree.consistency(old).unwrap());
        let given: Vec<_> = proof.iter().map(|it| theirs(*it)).collect();
        for size in [size, claimed] {
            let mine = verify_consistency(old, &old_root, size, &head, &proof).is_ok();
            let other = tlog_tiles::check_tree(&given, size, theirs(head), old, theirs(old_root));
            prop_assert_eq!(mine, other.is_ok(), "{} of {}", old, size);
        }
    }

    #[test]
    fn names_of_tiles(old in 0u64..200_000, more in 0u64..200_000) {
        let named = |tiles: Vec<tlog_tiles::Tile>| -> BTreeMap<(u8, u64, u32), String> {
            let it = tiles.iter();
            it.map(|it| ((it.level(), it.level_index(), it.width()), plain(&it.path()))).collect()
        };
        let mine: BTreeMap<_, _> = Tile::grown(old, old + more)
            .map(|it| ((it.level(), it.index(), u32::from(it.width())), it.to_string()))
            .collect();
        let other = tlog_tiles::Tile::new_tiles(8, old, old + more);
        prop_assert_eq!(mine, named(other));
    }

    /// Both take the same paths, and mean the same by them.
    #[test]
    fn paths(
        level in 0u8..64,
        place in "(x[0-9]{3}/|[0-9]{3}/|x00[0-9]/){0,3}[0-9]{2,4}(\\.p/[0-9]{1,3})?",
    ) {
        // Their parser panics on levels from 64 on, and on a width of 0 (`assert!` in `Tile::new`).
        prop_assume!(!place.ends_with(".p/0") && !place.ends_with(".p/00") && !place.ends_with(".p/000"));
        let mine = format!("tile/{level}/{place}").parse::<Tile>();
        let other = tlog_tiles::Tile::from_path(&format!("tile/8/{level}/{place}"));
        let possible = other.as_ref().ok().and_then(|it| {
            Tile::new(it.level(), it.level_index(), it.width() as u16)
        });
        prop_assert_eq!(mine.ok(), possible);
    }

    #[test]
    fn checkpoints(size in 0..=tlog::SIZE_MAX, root: [u8; 32], lines in 0usize..3, edits in edits()) {
        let mut it = Checkpoint::new(ORIGIN, size, Hash(root)).unwrap();
        for line in 0..lines {
            it = it.with_extension(&format!("line {line}")).unwrap();
        }
        let text = it.to_string();
        let other = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
        prop_assert_eq!(other.to_bytes(), text.as_bytes());
        prop_assert_eq!((other.origin(), other.size(), other.hash().0), (ORIGIN, size, root));

        // Damaged: the same verdict but for control characters (not in a note anyway) and 2^63.
        let damaged = edited(text.as_bytes(), &edits);
        let mine = std::str::from_utf8(&damaged).ok().and_then(|it| Checkpoint::parse(it).ok());
        let other = tlog_tiles::Checkpoint::from_bytes(&damaged).ok();
        if let Some(mine) = &mine {
            let other = other.as_ref().expect("theirs takes what ours takes");
            prop_assert_eq!(mine.to_string().into_bytes(), other.to_bytes());
        }
        if let Some(other) = other {
            let control = damaged.iter().any(|it| *it < 0x20 && *it != b'\n');
            prop_assert!(mine.is_some() || control || other.size() > tlog::SIZE_MAX);
        }
    }

    #[test]
    fn keys(seed: [u8; 32], name in "[a-z./é]{1,20}", edits in edits()) {
        let key = SigningKey::new(&name, &seed).unwrap();
        let signer = StandardSigner::new(&key.encode()).unwrap();
        let vkey = key.verifier().to_string();
        let verifier = StandardVerifier::new(&vkey).unwrap();
        prop_assert_eq!(verifier.key_id(), key.verifier().id());
        let text = "a text\n";
        let line = key.sign(text);
        prop_assert!(verifier.verify(text.as_bytes(), &line.bytes));
        prop_assert_eq!(signed_note::Signer::sign(&signer, text.as_bytes()).unwrap(), line.bytes);

        let damaged = edited(vkey.as_bytes(), &edits);
        let Ok(damaged) = std::str::from_utf8(&damaged) else { return Ok(()) };
        let mine = damaged.parse::<VerifierKey>();
        let other = StandardVerifier::new(damaged);
        // They do not know cosigners' keys. Ours refuses what is no lowercase id.
        if let Ok(it) = &mine && it.algorithm() == Algorithm::Ed25519 {
            let other = other.as_ref().expect("theirs takes what ours takes");
            prop_assert_eq!(it.id(), other.key_id());
        }
        if other.is_ok() {
            prop_assert!(mine.is_ok() || damaged.bytes().any(|it| it < 0x20 || it.is_ascii_uppercase()));
        }
    }

    #[test]
    fn notes(seed: [u8; 32], text in "(\\PC{0,20}\n){1,4}", edits in edits()) {
        let (a, b) = (SigningKey::new("a", &seed).unwrap(), SigningKey::new("b", &[9; 32]).unwrap());
        let note = Note::new(&text, vec![a.sign(&text), b.sign(&text)]).unwrap();
        let bytes = note.to_string().into_bytes();
        let other = signed_note::Note::from_bytes(&bytes).unwrap();
        prop_assert_eq!(other.text(), note.text().as_bytes());
        prop_assert_eq!(other.to_bytes(), bytes.clone());
        let known = [a.verifier().clone(), b.verifier().clone()];
        let verifiers = VerifierList::new(
            known
                .iter()
                .map(|it| Box::new(StandardVerifier::new(&it.to_string()).unwrap()) as Box<dyn Verifier>)
                .collect(),
        );
        prop_assert_eq!(other.verify(&verifiers).unwrap().0.len(), 2);
        prop_assert_eq!(note.verify(&known).unwrap().len(), 2);

        // Damaged: both take it or neither, and with the same verdict, where no line is repeated.
        let damaged = edited(&bytes, &edits);
        match (Note::parse(&damaged), signed_note::Note::from_bytes(&damaged)) {
            (Ok(mine), Ok(other)) => {
                prop_assert_eq!(mine.text().as_bytes(), other.text());
                prop_assert_eq!(mine.to_string().into_bytes(), other.to_bytes());
                let (mine_holds, other_holds) = (mine.verify(&known), other.verify(&verifiers));
                let repeated = mine.signatures().len() > 2;
                prop_assert!(other_holds.is_ok() || mine_holds.is_err());
                prop_assert!(mine_holds.is_ok() || other_holds.is_err() || repeated);
            }
            (mine, other) => prop_assert_eq!(mine.is_ok(), other.is_ok()),
        }
    }

    /// A cosignature, checked by their Ed25519 over the message of the specification, spelled out.
    #[test]
    fn cosignatures(seed: [u8; 32], time in 1..=tlog::SIZE_MAX, size: u32) {
        let cosigner = Cosigner::new("w.example", &seed).unwrap();
        let text = format!("{ORIGIN}\n{size}\n{}\n", Hash(seed));
        let line = cosigner.cosign(&text, time).unwrap();
        prop_assert_eq!(&line.bytes[..8], time.to_be_bytes());
        let message = format!("cosignature/v1\ntime {time}\n{text}");
        let plain = VerifierKey::new("w.example", Algorithm::Ed25519, *cosigner.verifier().public());
        let theirs = StandardVerifier::new(&plain.unwrap().to_string()).unwrap();
        prop_assert!(theirs.verify(message.as_bytes(), &line.bytes[8..]));
        let note = Note::new(&text, vec![line]).unwrap();
        let known = [cosigner.verifier().clone()];
        prop_assert_eq!(note.verify(&known).unwrap()[0].time, Some(time));
        // The id is by their rule for ids, with our type byte.
        let mut key = vec![4];
        key.extend_from_slice(cosigner.verifier().public());
        prop_assert_eq!(signed_note::key_id("w.example", &key), cosigner.verifier().id());
    }
}

/// Their paths name the height; those of tlog-tiles do not.
fn plain(path: &str) -> String {
    path.replacen("tile/8/", "tile/", 1)
}
