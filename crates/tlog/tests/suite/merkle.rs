//! Roots and proofs: vectors, brute force, mutations.

use proptest::prelude::*;
use tlog::{
    EMPTY_ROOT, Frontier, Hash, MemoryTree, ProofError, SIZE_MAX, VerifyError, consistency_proof,
    frontier, inclusion_proof, leaf_hash, root, verify_consistency, verify_inclusion,
};

use crate::common::{Tiles, leaves, mth, path, subproof};

fn hex(text: &str) -> Hash {
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    Hash::from_slice(&bytes).unwrap()
}

/// The leaves of the Certificate Transparency project's tests.
fn known_leaves() -> Vec<Hash> {
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    entries.into_iter().map(leaf_hash).collect()
}

const KNOWN_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn known_roots() {
    let tree = MemoryTree::new(known_leaves());
    for (size, known) in (0..).zip(KNOWN_ROOTS) {
        assert_eq!(tree.root_at(size), Some(hex(known)), "{size}");
    }
    assert_eq!(tree.root_at(9), None);
    assert_eq!(EMPTY_ROOT, hex(KNOWN_ROOTS[0]));
}

#[test]
fn known_paths() {
    // The vectors count leaves from 1.
    let known: [(u64, usize, &[&str]); 4] = [
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            3,
            3,
            &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
        (
            2,
            5,
            &[
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (leaf, size, hashes) in known {
        let hashes: Vec<Hash> = hashes.iter().map(|it| hex(it)).collect();
        let tree = MemoryTree::new(known_leaves()[..size].to_vec());
        assert_eq!(tree.proof(leaf - 1), Some(hashes.clone()));
        let it = known_leaves()[leaf as usize - 1];
        verify_inclusion(&it, leaf - 1, size as u64, &hashes, &tree.root()).unwrap();
    }
    assert_eq!(MemoryTree::new(known_leaves()).proof(8), None);
}

#[test]
fn known_consistency() {
    let known: [(u64, usize, &[&str]); 3] = [
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (old, new, hashes) in known {
        let hashes: Vec<Hash> = hashes.iter().map(|it| hex(it)).collect();
        let tree = MemoryTree::new(known_leaves()[..new].to_vec());
        assert_eq!(tree.consistency(old), Some(hashes.clone()));
        let old_root = tree.root_at(old).unwrap();
        verify_consistency(old, &old_root, new as u64, &tree.root(), &hashes).unwrap();
    }
}

#[test]
fn leaves_of_every_length_hash_alike() {
    // Around the border between the two ways of hashing; the oracle is the node's prefix rule.
    for length in [0, 1, 1022, 1023, 1024, 1025, 65_535] {
        let entry = vec![0x5a; length];
        let mut prefixed = vec![0];
        prefixed.extend_from_slice(&entry);
        let plain = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &prefixed);
        assert_eq!(leaf_hash(&entry).as_bytes(), plain.as_ref(), "{length}");
    }
}

#[test]
fn all_proofs_of_small_trees_are_those_of_the_rfc() {
    let all = leaves(70);
    let mut growing = Frontier::new();
    for size in 0..=70 {
        let here = &all[..size];
        let tree = MemoryTree::new(here.to_vec());
        assert_eq!(tree.root(), mth(here));
        assert_eq!(growing.root(), mth(here));
        for (index, leaf) in here.iter().enumerate() {
            let proof = tree.proof(index as u64).unwrap();
            assert_eq!(proof, path(index, here));
            verify_inclusion(leaf, index as u64, size as u64, &proof, &tree.root()).unwrap();
        }
        for old in 0..=size {
            let proof = tree.consistency(old as u64).unwrap();
            if old > 0 {
                assert_eq!(proof, subproof(old, here, true), "{old} of {size}");
            }
            let old_root = mth(&here[..old]);
            verify_consistency(old as u64, &old_root, size as u64, &tree.root(), &proof).unwrap();
        }
        if let Some(next) = all.get(size) {
            growing.push(*next);
        }
    }
}

#[test]
fn refusals_are_precise() {
    let all = leaves(6);
    let tree = MemoryTree::new(all.clone());
    let root6 = tree.root();
    let proof = tree.proof(2).unwrap();
    let check = |index, size, proof: &[Hash]| verify_inclusion(&all[2], index, size, proof, &root6);
    assert_eq!(
        check(6, 6, &proof),
        Err(VerifyError::NoEntry { index: 6, size: 6 })
    );
    assert_eq!(
        check(0, 0, &[]),
        Err(VerifyError::NoEntry { index: 0, size: 0 })
    );
    assert_eq!(check(2, u64::MAX, &proof), Err(VerifyError::Size(u64::MAX)));
    assert_eq!(
        check(2, 6, &proof[1..]),
        Err(VerifyError::Length {
            expected: 3,
            given: 2
        })
    );
    assert_eq!(check(3, 6, &proof), Err(VerifyError::Root));

    let (old, new) = (mth(&all[..3]), root6);
    let proof = tree.consistency(3).unwrap();
    let check = |a, old: &Hash, b, new: &Hash, proof: &[Hash]| {
        verify_consistency(a, old, b, new, proof).unwrap_err()
    };
    let other = leaf_hash(b"other");
    assert_eq!(
        check(7, &old, 6, &new, &proof),
        VerifyError::OldLarger { old: 7, new: 6 }
    );
    assert_eq!(check(3, &other, 6, &new, &proof), VerifyError::OldRoot);
    assert_eq!(check(3, &old, 6, &other, &proof), VerifyError::NewRoot);
    assert_eq!(
        check(3, &old, 6, &new, &[]),
        VerifyError::Length {
            expected: 4,
            given: 0
        }
    );
    assert_eq!(check(6, &other, 6, &new, &[]), VerifyError::TwoRoots(6));
    assert_eq!(
        check(6, &new, 6, &new, &proof),
        VerifyError::Length {
            expected: 0,
            given: 4
        }
    );
    assert_eq!(check(0, &other, 6, &new, &[]), VerifyError::EmptyRoot);
    assert_eq!(
        check(0, &EMPTY_ROOT, 0, &other, &[]),
        VerifyError::EmptyRoot
    );
    let first = [other];
    assert_eq!(
        check(0, &EMPTY_ROOT, 6, &new, &first),
        VerifyError::Length {
            expected: 0,
            given: 1
        }
    );
    let size = SIZE_MAX + 1;
    assert_eq!(check(3, &old, size, &new, &proof), VerifyError::Size(size));
}

#[test]
fn the_largest_trees_verify_without_overflow() {
    // No such tree can be made; a wrong proof of the right length must be refused, not panic.
    let some = leaf_hash(b"x");
    for (index, length) in [(0, 63), (SIZE_MAX - 1, 62), (SIZE_MAX / 2, 63)] {
        let proof = vec![some; length];
        let got = verify_inclusion(&some, index, SIZE_MAX, &proof, &some);
        assert!(
            matches!(got, Err(VerifyError::Root | VerifyError::Length { .. })),
            "{got:?}"
        );
    }
    for old in [1, 2, 1 << 62, (1 << 62) + 1, SIZE_MAX - 1] {
        for length in 0..=64 {
            let proof = vec![some; length];
            verify_consistency(old, &some, SIZE_MAX, &leaf_hash(b"y"), &proof).unwrap_err();
        }
    }
    assert!(Frontier::from_hashes(SIZE_MAX, &[some; 63]).is_ok());
    assert!(Frontier::from_hashes(SIZE_MAX, &[some; 62]).is_err());
    assert!(Frontier::from_hashes(SIZE_MAX + 1, &[some]).is_err());
}

#[test]
fn a_source_that_fails_or_lies_is_an_error() {
    let tree = leaves(1000);
    let good = Tiles::of(&tree);
    let wanted = inclusion_proof(&good, 1000, 700).unwrap();

    let mut cut = Tiles(good.0.clone());
    cut.0.values_mut().for_each(|bytes| bytes.truncate(33));
    let got = inclusion_proof(&cut, 1000, 700);
    assert!(
        matches!(got, Err(ProofError::TileLength { given: 33, .. })),
        "{got:?}"
    );

    let mut long = Tiles(good.0.clone());
    long.0
        .values_mut()
        .for_each(|bytes| bytes.resize(257 * 32, 0));
    let got = inclusion_proof(&long, 1000, 700);
    assert!(matches!(got, Err(ProofError::TileLength { .. })), "{got:?}");

    let got = inclusion_proof(Tiles::default(), 1000, 700);
    assert!(matches!(got, Err(ProofError::Source(_))), "{got:?}");
    let got = inclusion_proof(&good, 1000, 1000);
    assert_eq!(
        got,
        Err(ProofError::NoEntry {
            index: 1000,
            size: 1000
        })
    );
    let got = consistency_proof(&good, 1001, 1000);
    assert_eq!(
        got,
        Err(ProofError::OldLarger {
            old: 1001,
            new: 1000
        })
    );
    assert_eq!(root(&good, u64::MAX), Err(ProofError::Size(u64::MAX)));

    // A wider tile than asked for: of a later tree, and after the partial ones were removed.
    let mut later = Tiles::of(&leaves(70_000));
    later.0.retain(|tile, _| !tile.is_partial());
    assert_eq!(inclusion_proof(&later, 1000, 700), Ok(wanted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn proofs_from_tiles_are_those_of_the_rfc(size in 1u64..3000, a: u64, b: u64) {
        let all = leaves(size);
        let (index, old) = (a % size, b % (size + 1));
        let tiles = Tiles::of(&all);
        let tree = MemoryTree::new(all.clone());

        let head = root(&tiles, size).unwrap();
        prop_assert_eq!(head, mth(&all));
        prop_assert_eq!(head, tree.root());
        prop_assert_eq!(root(&tiles, old).unwrap(), mth(&all[..old as usize]));

        let proof = inclusion_proof(&tiles, size, index).unwrap();
        prop_assert_eq!(&proof, &path(index as usize, &all));
        prop_assert_eq!(Some(proof), tree.proof(index));

        let proof = consistency_proof(&tiles, old, size).unwrap();
        if old > 0 {
            prop_assert_eq!(&proof, &subproof(old as usize, &all, true));
        }
        prop_assert_eq!(Some(proof.clone()), tree.consistency(old));
        verify_consistency(old, &mth(&all[..old as usize]), size, &head, &proof).unwrap();
    }

    #[test]
    fn a_frontier_goes_on_from_any_size(size in 0u64..2000, cut: u64) {
        let all = leaves(size);
        let cut = cut % (size + 1);
        let mut whole = Frontier::new();
        all.iter().for_each(|leaf| whole.push(*leaf));
        prop_assert_eq!(whole.root(), mth(&all));

        let mut first = Frontier::new();
        all[..cut as usize].iter().for_each(|leaf| first.push(*leaf));
        let mut second = Frontier::from_hashes(cut, first.hashes()).unwrap();
        prop_assert_eq!(&frontier(Tiles::of(&all), cut).unwrap(), &second);
        all[cut as usize..].iter().for_each(|leaf| second.push(*leaf));
        prop_assert_eq!(second, whole);
    }

    #[test]
    fn every_mutated_inclusion_proof_is_refused(size in 1u64..600, a: u64, bit in 0usize..256) {
        let all = leaves(size);
        let index = a % size;
        let tree = MemoryTree::new(all.clone());
        let (leaf, head) = (all[index as usize], tree.root());
        let proof = tree.proof(index).unwrap();
        let check = |leaf: &Hash, index, proof: &[Hash], head: &Hash| {
            verify_inclusion(leaf, index, size, proof, head)
        };
        prop_assert!(check(&leaf, index, &proof, &head).is_ok());
        prop_assert!(check(&flip(leaf, bit), index, &proof, &head).is_err());
        prop_assert!(check(&leaf, index, &proof, &flip(head, bit)).is_err());
        for at in 0..proof.len() {
            let mut other = proof.clone();
            other[at] = flip(other[at], bit);
            prop_assert!(check(&leaf, index, &other, &head).is_err());
            other.remove(at);
            prop_assert!(check(&leaf, index, &other, &head).is_err());
            let mut swapped = proof.clone();
            swapped.swap(at, 0);
            prop_assert!(at == 0 || check(&leaf, index, &swapped, &head).is_err());
        }
        let mut longer = proof.clone();
        longer.push(head);
        prop_assert!(check(&leaf, index, &longer, &head).is_err());
        for other in (0..size).filter(|other| *other != index) {
            prop_assert!(check(&leaf, other, &proof, &head).is_err());
        }
    }

    #[test]
    fn every_mutated_consistency_proof_is_refused(size in 2u64..600, a: u64, bit in 0usize..256) {
        let all = leaves(size);
        let old = 1 + a % (size - 1);
        let tree = MemoryTree::new(all);
        let (old_head, head) = (tree.root_at(old).unwrap(), tree.root());
        let proof = tree.consistency(old).unwrap();
        let check = |old_head: &Hash, head: &Hash, proof: &[Hash]| {
            verify_consistency(old, old_head, size, head, proof)
        };
        prop_assert!(check(&old_head, &head, &proof).is_ok());
        prop_assert!(check(&flip(old_head, bit), &head, &proof).is_err());
        prop_assert!(check(&old_head, &flip(head, bit), &proof).is_err());
        for at in 0..proof.len() {
            let mut other = proof.clone();
            other[at] = flip(other[at], bit);
            prop_assert!(check(&old_head, &head, &other).is_err());
            other.remove(at);
            prop_assert!(check(&old_head, &head, &other).is_err());
        }
        let mut longer = proof.clone();
        longer.push(head);
        prop_assert!(check(&old_head, &head, &longer).is_err());
    }
}

fn flip(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash(bytes)
}
