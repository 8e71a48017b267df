//! What witnesses are asked and how they decide.

use proptest::prelude::*;
use tlog::witness::{AddCheckpoint, Refusal, RequestError, decide, parse_conflict};
use tlog::{
    Checkpoint, Cosigner, EMPTY_ROOT, MemoryTree, Note, SigningKey, TreeHead, VerifierKey,
    VerifyError, leaf_hash,
};

use crate::common::{ORIGIN, checkpoint, leaves, log_key, signed};

/// C2SP tlog-witness, "Example request body".
const EXAMPLE: &str = "\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

#[test]
fn the_example_of_the_specification() {
    let request = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(request.old_size, 20_852_014);
    assert_eq!(request.proof.len(), 4);
    assert_eq!(request.origin().unwrap(), "example.com/behind-the-sofa");
    assert_eq!(request.encode(), EXAMPLE);
}

#[test]
fn bodies_that_are_none() {
    let proof = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
    let rest = EXAMPLE.split_once("\n\n").unwrap().1;
    let cases = [
        (String::new(), RequestError::OldSize),
        ("old 1".into(), RequestError::OldSize),
        (format!("old 01\n\n{rest}"), RequestError::OldSize),
        (format!("old  1\n\n{rest}"), RequestError::OldSize),
        (format!("size 1\n\n{rest}"), RequestError::OldSize),
        (
            format!("old 9223372036854775808\n\n{rest}"),
            RequestError::OldSize,
        ),
        ("old 1\n".into(), RequestError::CutOff),
        (format!("old 1\n{proof}"), RequestError::CutOff),
        (
            format!("old 1\n{proof}x\n\n{rest}"),
            RequestError::Proof { line: 2 },
        ),
        (
            format!("old 1\n{}\n{rest}", proof.repeat(64)),
            RequestError::ProofTooLong,
        ),
    ];
    for (body, error) in cases {
        assert_eq!(AddCheckpoint::parse(body.as_bytes()), Err(error), "{body}");
    }
    let most = format!("old 1\n{}\n{rest}", proof.repeat(63));
    assert!(AddCheckpoint::parse(most.as_bytes()).is_ok());
    let long = vec![b'x'; tlog::witness::REQUEST_BYTES_MAX + 1];
    assert!(matches!(
        AddCheckpoint::parse(&long),
        Err(RequestError::TooLong(_))
    ));
}

#[test]
fn conflicts() {
    assert_eq!(parse_conflict(b"20852014\n"), Some(20_852_014));
    assert_eq!(parse_conflict(b"0\n"), Some(0));
    for wrong in [
        &b""[..],
        b"\n",
        b"1",
        b"01\n",
        b"1\n\n",
        b"1\r\n",
        b"-1\n",
        b"\xff\n",
    ] {
        assert_eq!(parse_conflict(wrong), None);
    }
    let refusal = Refusal::Conflict { known: 7 };
    assert_eq!((refusal.status(), refusal.body()), (409, "7\n".to_owned()));
}

fn known_keys() -> Vec<VerifierKey> {
    let other = SigningKey::new("other.example", &[1; 32]).unwrap();
    // A witness's key of the log's name is no key of the log.
    let cosigner = Cosigner::new(ORIGIN, &[2; 32]).unwrap();
    vec![
        other.verifier().clone(),
        cosigner.verifier().clone(),
        log_key().verifier().clone(),
    ]
}

fn request(tree: &MemoryTree, old: u64) -> AddCheckpoint {
    AddCheckpoint {
        old_size: old,
        proof: tree.consistency(old).unwrap_or_default(),
        checkpoint: signed(tree),
    }
}

#[test]
fn each_refusal() {
    let all = leaves(20);
    let tree = |count: usize| MemoryTree::new(all[..count].to_vec());
    let head = |count: usize| {
        Some(TreeHead {
            size: count as u64,
            root: tree(count).root(),
        })
    };
    let keys = known_keys();
    let status = |request: &AddCheckpoint, known| match decide(request, known, &keys) {
        Ok(_) => 200,
        Err(refusal) => refusal.status(),
    };
    assert_eq!(status(&request(&tree(9), 0), None), 200);
    assert_eq!(status(&request(&tree(9), 4), head(4)), 200);
    assert_eq!(status(&request(&tree(9), 9), head(9)), 200);

    // 404: a log that it does not know; a cosigner's key alone does not make it known.
    let it = request(&tree(9), 0);
    for few in [&keys[..0], &keys[..2]] {
        assert_eq!(decide(&it, None, few).unwrap_err(), Refusal::UnknownLog);
    }
    // 403: signed by a stranger, or wrongly.
    let text = checkpoint(&tree(9)).to_string();
    let stranger = SigningKey::new(ORIGIN, &[99; 32]).unwrap();
    let by = |line| AddCheckpoint {
        checkpoint: Note::new(&text, vec![line]).unwrap(),
        ..it.clone()
    };
    assert_eq!(status(&by(stranger.sign(&text)), None), 403);
    assert_eq!(status(&by(log_key().sign("another text\n")), None), 403);
    // 400: no checkpoint; a larger old size.
    let note = Note::new("no checkpoint\n", vec![log_key().sign("no checkpoint\n")]).unwrap();
    assert_eq!(
        status(
            &AddCheckpoint {
                checkpoint: note,
                ..it.clone()
            },
            None
        ),
        400
    );
    assert_eq!(
        status(
            &AddCheckpoint {
                old_size: 10,
                ..it.clone()
            },
            head(10)
        ),
        400
    );
    // 409: another old size than it knows.
    let refused = decide(&request(&tree(9), 4), head(5), &keys).unwrap_err();
    assert_eq!(refused, Refusal::Conflict { known: 5 });
    assert_eq!(status(&request(&tree(9), 4), None), 409);
    assert_eq!(status(&request(&tree(9), 0), head(4)), 409);
    // 422: a fork, a wrong proof, a proof from nothing, two roots of a size.
    let fork = Some(TreeHead {
        size: 4,
        root: leaf_hash(b"fork"),
    });
    assert_eq!(status(&request(&tree(9), 4), fork), 422);
    let mut wrong = request(&tree(9), 4);
    wrong.proof[0] = leaf_hash(b"wrong");
    assert_eq!(status(&wrong, head(4)), 422);
    wrong.old_size = 0;
    assert_eq!(status(&wrong, None), 422);
    let fork = Some(TreeHead {
        size: 9,
        root: leaf_hash(b"fork"),
    });
    let refused = decide(&request(&tree(9), 9), fork, &keys).unwrap_err();
    assert_eq!(refused, Refusal::Inconsistent(VerifyError::TwoRoots(9)));
    // 422: an empty tree with a root.
    let empty = Checkpoint::new(ORIGIN, 0, leaf_hash(b"x")).unwrap();
    let checkpoint = empty.sign(&[&log_key()]).unwrap();
    let it = AddCheckpoint {
        old_size: 0,
        proof: Vec::new(),
        checkpoint,
    };
    assert_eq!(status(&it, None), 422);
    let empty = Checkpoint::new(ORIGIN, 0, EMPTY_ROOT).unwrap();
    let checkpoint = empty.sign(&[&log_key()]).unwrap();
    assert_eq!(status(&AddCheckpoint { checkpoint, ..it }, None), 200);
}

#[test]
fn what_it_cosigns_verifies() {
    let tree = MemoryTree::new(leaves(9));
    let cosign = decide(&request(&tree, 0), None, &known_keys()).unwrap();
    assert_eq!(
        cosign.head(),
        TreeHead {
            size: 9,
            root: tree.root()
        }
    );
    assert_eq!(cosign.checkpoint().origin(), ORIGIN);
    let witness = Cosigner::new("w.example", &[5; 32]).unwrap();
    let line = cosign.sign(&witness, 1_800_000_000).unwrap();
    // The answer, as the log reads it.
    let answer = format!("{line}\n");
    let mut note = signed(&tree);
    for line in tlog::parse_signatures(&answer).unwrap() {
        note.add(line).unwrap();
    }
    let keys = [log_key().verifier().clone(), witness.verifier().clone()];
    let opened = Checkpoint::open(&note, &keys).unwrap();
    assert_eq!(opened.signatures[1].time, Some(1_800_000_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However requests come, what a witness has cosigned is one history.
    #[test]
    fn a_witness_never_cosigns_a_fork(steps in proptest::collection::vec((0u64..40, 0u64..40, any::<bool>()), 1..12)) {
        let honest = leaves(40);
        let mut forged = honest.clone();
        forged[3] = leaf_hash(b"forged");
        let keys = known_keys();
        let mut known: Option<TreeHead> = None;
        let mut cosigned: Vec<(u64, tlog::Hash)> = Vec::new();
        for (old, new, fork) in steps {
            let all = if fork { &forged } else { &honest };
            let tree = MemoryTree::new(all[..new as usize].to_vec());
            let old = known.map_or(old, |it| if old % 2 == 0 { it.size } else { old });
            match decide(&request(&tree, old), known, &keys) {
                Ok(cosign) => {
                    known = Some(cosign.head());
                    cosigned.push((new, tree.root()));
                }
                Err(refusal) => prop_assert!([400, 409, 422].contains(&refusal.status())),
            }
        }
        prop_assert!(cosigned.is_sorted_by_key(|it| it.0));
        let of = |leaves: &[tlog::Hash], size: u64| MemoryTree::new(leaves[..size as usize].to_vec()).root();
        let all_honest = cosigned.iter().all(|(size, root)| of(&honest, *size) == *root);
        let all_forged = cosigned.iter().all(|(size, root)| of(&forged, *size) == *root);
        prop_assert!(all_honest || all_forged);
    }
}
