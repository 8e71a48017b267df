//! Offline proofs.

use proptest::prelude::*;
use tlog::{
    Cosigner, Hash, MemoryTree, OpenError, Policy, TlogProof, TlogProofError, TlogProofVerifyError,
    VerifierKey, VerifyError, leaf_hash,
};

use crate::common::{leaves, log_key, signed};

fn witness(seed: u8) -> Cosigner {
    Cosigner::new(&format!("w{seed}.example"), &[seed; 32]).unwrap()
}

/// Two of three witnesses.
fn policy() -> Policy {
    let mut text = String::new();
    for seed in 1..=3 {
        text += &format!("witness w{seed} {}\n", witness(seed).verifier());
    }
    (text + "group all 2 w1 w2 w3\nquorum all\n")
        .parse()
        .unwrap()
}

fn log_keys() -> Vec<VerifierKey> {
    vec![log_key().verifier().clone()]
}

fn proof(size: u64, index: u64, extra: &[u8], witnesses: &[u8]) -> (TlogProof, Hash) {
    let all = leaves(size);
    let tree = MemoryTree::new(all.clone());
    let mut checkpoint = signed(&tree);
    for seed in witnesses {
        let line = witness(*seed).cosign(checkpoint.text(), 1_800_000_000 + u64::from(*seed));
        checkpoint.add(line.unwrap()).unwrap();
    }
    let it = TlogProof {
        extra: extra.to_vec(),
        index,
        hashes: tree.proof(index).unwrap(),
        checkpoint,
    };
    (it, all[index as usize])
}

#[test]
fn a_proof_holds_with_enough_witnesses() {
    let (it, leaf) = proof(100, 42, b"", &[1, 3]);
    let text = it.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 42\n"));
    let again = TlogProof::parse(text.as_bytes()).unwrap();
    assert_eq!(again, it);
    let head = again.verify(&leaf, &log_keys(), &policy()).unwrap();
    assert_eq!(head.checkpoint.size(), 100);
    let times: Vec<u64> = head.cosigned.iter().map(|it| it.1).collect();
    assert_eq!(times, [1_800_000_001, 1_800_000_003]);

    let (few, leaf) = proof(100, 42, b"", &[1]);
    let got = few.verify(&leaf, &log_keys(), &policy());
    assert_eq!(got, Err(TlogProofVerifyError::Quorum));
    // The same witness twice is one witness.
    let line = witness(1).cosign(few.checkpoint.text(), 5).unwrap();
    let twice = format!("{few}{line}\n");
    let twice = TlogProof::parse(twice.as_bytes()).unwrap();
    let got = twice.verify(&leaf, &log_keys(), &policy());
    assert_eq!(got, Err(TlogProofVerifyError::Quorum));
    // Without a quorum the log's signature is needed all the same.
    let none: Policy = "quorum none\n".parse().unwrap();
    assert!(few.verify(&leaf, &log_keys(), &none).is_ok());
    let got = few.verify(&leaf, &[], &none);
    assert!(matches!(
        got,
        Err(TlogProofVerifyError::Checkpoint(OpenError::Signature(_)))
    ));
    let got = it.verify(&leaf, &[], &policy());
    assert!(matches!(
        got,
        Err(TlogProofVerifyError::Checkpoint(OpenError::OtherLog(_)))
    ));
    let got = it.verify(&leaf_hash(b"another entry"), &log_keys(), &policy());
    assert_eq!(got, Err(VerifyError::Root.into()));
}

#[test]
fn files_that_are_none() {
    let (it, _) = proof(5, 3, b"some extra", &[1]);
    let good = it.to_string();
    assert_eq!(TlogProof::parse(good.as_bytes()).unwrap(), it);
    let extra = "extra c29tZSBleHRyYQ==\n";
    assert!(good.contains(extra));
    let hash = good.lines().nth(3).unwrap();
    let cases = [
        (String::new(), TlogProofError::Header),
        (good.replace("@v1", "@v2"), TlogProofError::Header),
        (good.replace("c2sp", " c2sp"), TlogProofError::Header),
        (good.replace(extra, "extra \n"), TlogProofError::Extra),
        (good.replace(extra, "extra x\n"), TlogProofError::Extra),
        (good.replace(extra, "extra\n"), TlogProofError::Index),
        (good.replace(extra, &extra.repeat(2)), TlogProofError::Index),
        (good.replace("index 3", "index 03"), TlogProofError::Index),
        (good.replace("index 3", "index -3"), TlogProofError::Index),
        (good.replace("index 3\n", ""), TlogProofError::Index),
        ("c2sp.org/tlog-proof@v1\n".into(), TlogProofError::Index),
        (good.replace(hash, "x"), TlogProofError::Hash { line: 1 }),
        (
            good.replace(hash, format!("{hash}\n").repeat(64).trim_end()),
            TlogProofError::TooManyHashes,
        ),
        (
            "c2sp.org/tlog-proof@v1\nindex 0\n".into(),
            TlogProofError::CutOff,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(TlogProof::parse(text.as_bytes()), Err(error), "{text}");
    }
    let cut = &good[..good.len() - 1];
    assert!(matches!(
        TlogProof::parse(cut.as_bytes()),
        Err(TlogProofError::Note(_))
    ));
    let long = vec![b'x'; tlog::PROOF_BYTES_MAX + 1];
    assert!(matches!(
        TlogProof::parse(&long),
        Err(TlogProofError::TooLong(_))
    ));
    // The most extra data there may be fits, one byte more does not.
    let (mut it, _) = proof(5, 3, &vec![7; tlog::EXTRA_BYTES_MAX], &[1]);
    assert_eq!(TlogProof::parse(it.to_string().as_bytes()).unwrap(), it);
    it.extra.push(7);
    assert!(TlogProof::parse(it.to_string().as_bytes()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A changed bit is refused, or changes nothing that was proven: the extra data, or a
    /// cosignature beyond the quorum that becomes a stranger's.
    #[test]
    fn every_flipped_bit_is_refused_or_harmless(size in 1u64..50, index: u64, at: usize, bit in 0u32..8) {
        let (it, leaf) = proof(size, index % size, b"extra", &[1, 2, 3]);
        let wanted = it.verify(&leaf, &log_keys(), &policy()).unwrap();
        let mut bytes = it.to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let Ok(other) = TlogProof::parse(&bytes) else { return Ok(()) };
        let Ok(got) = other.verify(&leaf, &log_keys(), &policy()) else { return Ok(()) };
        prop_assert_eq!(&got.checkpoint, &wanted.checkpoint);
        prop_assert_eq!(&other.hashes, &it.hashes);
        prop_assert_eq!(other.index, it.index);
        prop_assert!(other.extra != it.extra || got.cosigned.len() == 2);
    }
}
