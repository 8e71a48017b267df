//! Notes, keys, checkpoints and cosignatures: vectors of the specifications and of real logs.

use proptest::prelude::*;
use tlog::{
    Algorithm, Checkpoint, CheckpointError, Cosigner, EMPTY_ROOT, KeyError, Note, NoteError,
    NoteSignature, NoteVerifyError, OpenError, SIGNATURES_MAX, SIZE_MAX, SigningKey, TimeError,
    Verified, VerifierKey, leaf_hash, parse_signatures,
};

use crate::common::{ORIGIN, log_key};

/// C2SP signed-note, "Example".
const EXAMPLE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// A head of a public log (a staging log of Certificate Transparency, 2026), with cosignatures of
/// public witnesses: signed and cosigned by programs that nobody here wrote.
const PUBLIC: &str = "\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
";
const PUBLIC_KEYS: [&str; 4] = [
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
];

fn keys(texts: &[&str]) -> Vec<VerifierKey> {
    texts.iter().map(|it| it.parse().unwrap()).collect()
}

#[test]
fn the_example_of_signed_note() {
    let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.to_string(), EXAMPLE);
    let known = keys(&[EXAMPLE_KEY]);
    assert_eq!(known[0].to_string(), EXAMPLE_KEY);
    assert_eq!(known[0].id(), 0x530d_903a);
    let key = &known[0];
    assert_eq!(note.verify(&known), Ok(vec![Verified { key, time: None }]));
    assert_eq!(note.verify(&[]), Err(NoteVerifyError::Unknown));
}

#[test]
fn a_public_log_with_public_witnesses() {
    let note = Note::parse(PUBLIC.as_bytes()).unwrap();
    assert_eq!(note.to_string(), PUBLIC);
    let known = keys(&PUBLIC_KEYS);
    let opened = Checkpoint::open(&note, &known).unwrap();
    assert_eq!(
        opened.checkpoint.origin(),
        "arche2025h1.staging.ct.transparency.dev"
    );
    assert_eq!(opened.checkpoint.size(), 1_432_088_532);
    assert_eq!(opened.checkpoint.to_string(), note.text());
    let found: Vec<_> = opened
        .signatures
        .iter()
        .map(|it| (it.key, it.time))
        .collect();
    let time = Some(1_779_573_024);
    let wanted = [
        (&known[0], None),
        (&known[2], time),
        (&known[3], time),
        (&known[1], time),
    ];
    assert_eq!(found, wanted);

    // Another size: every signature is wrong. Witnesses alone do not make a log's checkpoint.
    let other = Note::parse(PUBLIC.replace("1432088532", "1432088533").as_bytes()).unwrap();
    for key in &known {
        let got = other.verify(std::slice::from_ref(key));
        assert!(matches!(got, Err(NoteVerifyError::Bad { .. })), "{got:?}");
    }
    let got = Checkpoint::open(&note, &known[1..]);
    assert!(matches!(got, Err(OpenError::OtherLog(_))), "{got:?}");
}

#[test]
fn a_cosignature_with_another_time_is_refused() {
    let note = Note::parse(PUBLIC.as_bytes()).unwrap();
    let known = keys(&PUBLIC_KEYS[1..2]);
    for time in [0u64, 1_779_573_023, 1_779_573_025, SIZE_MAX + 1, u64::MAX] {
        let signatures = note.signatures().iter().map(|it| {
            let mut it = it.clone();
            it.bytes[..8].copy_from_slice(&time.to_be_bytes());
            it
        });
        let other = Note::new(note.text(), signatures.collect()).unwrap();
        let got = other.verify(&known);
        assert!(
            matches!(got, Err(NoteVerifyError::Bad { .. })),
            "{time}: {got:?}"
        );
    }
}

#[test]
fn keys_of_go() {
    // golang.org/x/mod/sumdb/note: the checksum database, and the key of a zero seed.
    let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    assert_eq!(keys(&[text])[0].to_string(), text);
    let zero = SigningKey::new("EnochRoot", &[0; 32]).unwrap();
    assert_eq!(zero.verifier().id(), 0xaf0c_fe78);
    let text = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n";
    assert_eq!(
        zero.sign(text).to_string(),
        "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
    );
    assert_eq!(
        *zero.encode(),
        "PRIVATE+KEY+EnochRoot+af0cfe78+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    );
}

#[test]
fn secret_keys_go_there_and_back_and_are_never_shown() {
    let log = SigningKey::new("log.example", &[0x5a; 32]).unwrap();
    let witness = Cosigner::new("log.example", &[0x5a; 32]).unwrap();
    let again = SigningKey::parse(&log.encode()).unwrap();
    assert_eq!(again.verifier(), log.verifier());
    assert_eq!(again.sign("x\n"), log.sign("x\n"));
    let again = Cosigner::parse(&witness.encode()).unwrap();
    assert_eq!(again.cosign("x\n", 5), witness.cosign("x\n", 5));
    // The same bytes for two purposes have two ids.
    assert_ne!(log.verifier().id(), witness.verifier().id());

    let other = SigningKey::parse(&witness.encode()).unwrap_err();
    let (given, needed) = (Algorithm::CosignatureV1, Algorithm::Ed25519);
    assert_eq!(other, KeyError::OtherAlgorithm { given, needed });
    assert!(Cosigner::parse(&log.encode()).is_err());
    let secret = log.encode();
    let base64 = secret.rsplit('+').next().unwrap();
    for shown in [
        format!("{log:?}"),
        format!("{witness:?}"),
        format!("{other}"),
    ] {
        assert!(
            !shown.contains(base64) && !shown.contains("WlpaWlpa"),
            "{shown}"
        );
    }
    let damaged = secret.replace("WlpaW", "WlpbW");
    assert_eq!(SigningKey::parse(&damaged).unwrap_err(), KeyError::OtherId);
}

#[test]
fn keys_that_are_none() {
    let good = EXAMPLE_KEY;
    let wrong = [
        ("", KeyError::Format("NAME+ID+BASE64")),
        (
            "example.com/foo+530d903a",
            KeyError::Format("NAME+ID+BASE64"),
        ),
        (
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Id,
        ),
        (
            "example.com/foo+30d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Id,
        ),
        (
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
            KeyError::Bytes,
        ),
        ("example.com/foo+530d903a+Aeky", KeyError::Bytes),
        ("example.com/foo+530d903a+", KeyError::Bytes),
        (
            "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Name,
        ),
        (
            "a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Name,
        ),
        (
            "a\u{3000}b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Name,
        ),
        (
            "a\nb+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Name,
        ),
        (
            "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::OtherId,
        ),
        (
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::OtherId,
        ),
        (
            "example.com/foo+530d903a+BOkyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::OtherId,
        ),
        (
            "example.com/foo+530d903a+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Unsupported(6),
        ),
    ];
    for (text, error) in wrong {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text}");
    }
    assert!(good.parse::<VerifierKey>().is_ok());
    let long = "x".repeat(1025);
    assert_eq!(
        SigningKey::new(&long, &[1; 32]).unwrap_err(),
        KeyError::Name
    );
    assert!(SigningKey::new(&long[1..], &[1; 32]).is_ok());
    // A key whose base64 has a plus.
    let plus = "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6";
    assert_eq!(keys(&[plus])[0].to_string(), plus);
}

#[test]
fn notes_that_are_none() {
    let signature = "— a AAAAAAA=\n";
    let cases = [
        (String::new(), NoteError::Unsigned),
        ("text\n".to_owned(), NoteError::Unsigned),
        ("text\n\n".to_owned(), NoteError::Unsigned),
        (format!("text\n{signature}"), NoteError::Unsigned),
        ("text\n\n— a AAAAAAA=".to_owned(), NoteError::CutOff),
        (
            "text\n\n- a AAAAAAA=\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n—a AAAAAAA=\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n—  AAAAAAA=\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n— a+b AAAAAAA=\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n— a\u{a0}b AAAAAAA=\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n— a  AAAAAAA=\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n— a AAAAAAA= \n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n— a AAAAAAB=\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n— a AAAAAAA\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            "text\n\n— a AAAAAA==\n".to_owned(),
            NoteError::Signature { line: 1 },
        ),
        (
            format!("text\n\n{signature}x\n"),
            NoteError::Signature { line: 2 },
        ),
        (
            format!("te\txt\n\n{signature}"),
            NoteError::Characters { at: 2 },
        ),
        (
            format!("text\r\n\n{signature}"),
            NoteError::Characters { at: 4 },
        ),
    ];
    for (text, error) in cases {
        assert_eq!(Note::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    assert_eq!(
        Note::parse(b"\xff\n\n"),
        Err(NoteError::Characters { at: 0 })
    );
    let many = |count| format!("text\n\n{}", signature.repeat(count));
    assert!(Note::parse(many(SIGNATURES_MAX).as_bytes()).is_ok());
    let error = Note::parse(many(SIGNATURES_MAX + 1).as_bytes());
    assert_eq!(error, Err(NoteError::TooManySignatures));
    let long = format!("{}\n\n{signature}", "x".repeat(70_000));
    assert_eq!(
        Note::parse(long.as_bytes()),
        Err(NoteError::TooLong(long.len()))
    );

    // Empty lines belong to the text, but for the last.
    let empty = format!("\n\na\n\n\n\n{signature}");
    let note = Note::parse(empty.as_bytes()).unwrap();
    assert_eq!(note.text(), "\n\na\n\n\n");
    assert_eq!(note.to_string(), empty);
    assert_eq!(Note::new("x", Vec::new()), Err(NoteError::TextEnd));
}

#[test]
fn signatures_are_replaced_and_bounded() {
    let log = log_key();
    let mut note = Note::new("text\n", vec![log.sign("text\n")]).unwrap();
    let witness = Cosigner::new("w", &[1; 32]).unwrap();
    note.add(witness.cosign("text\n", 5).unwrap()).unwrap();
    note.add(witness.cosign("text\n", 6).unwrap()).unwrap();
    let known = [log.verifier().clone(), witness.verifier().clone()];
    let times: Vec<_> = note
        .verify(&known)
        .unwrap()
        .iter()
        .map(|it| it.time)
        .collect();
    assert_eq!(times, [None, Some(6)]);
    let before = note.clone();
    let spaced = NoteSignature {
        name: "a b".into(),
        key_id: 1,
        bytes: vec![1],
    };
    assert!(note.add(spaced).is_err());
    let huge = NoteSignature {
        name: "a".into(),
        key_id: 1,
        bytes: vec![1; 70_000],
    };
    assert!(matches!(note.add(huge), Err(NoteError::TooLong(_))));
    for id in 0..98 {
        note.add(NoteSignature {
            name: "a".into(),
            key_id: id,
            bytes: vec![1],
        })
        .unwrap();
    }
    let one = NoteSignature {
        name: "a".into(),
        key_id: 99,
        bytes: vec![1],
    };
    assert_eq!(note.add(one), Err(NoteError::TooManySignatures));
    assert_eq!(note.signatures().len(), SIGNATURES_MAX);
    assert_eq!(before.signatures().len(), 2);
}

#[test]
fn one_wrong_signature_of_a_known_key_spoils_the_note() {
    let (a, b) = (
        SigningKey::new("a", &[1; 32]).unwrap(),
        SigningKey::new("b", &[2; 32]).unwrap(),
    );
    let known = [a.verifier().clone(), b.verifier().clone()];
    let good = Note::new("x\n", vec![a.sign("x\n"), b.sign("x\n")]).unwrap();
    assert_eq!(good.verify(&known).unwrap().len(), 2);
    let bad = Note::new("x\n", vec![a.sign("x\n"), b.sign("y\n")]).unwrap();
    let id = b.verifier().id();
    let error = NoteVerifyError::Bad {
        name: "b".into(),
        key_id: id,
    };
    assert_eq!(bad.verify(&known), Err(error));
    assert_eq!(bad.verify(&known[..1]).unwrap().len(), 1);
    // The same name with another id, and the other way round, are strangers.
    let other = NoteSignature {
        key_id: id ^ 1,
        ..b.sign("y\n")
    };
    let note = Note::new("x\n", vec![a.sign("x\n"), other]).unwrap();
    assert_eq!(note.verify(&known).unwrap().len(), 1);
    let other = NoteSignature {
        name: "c".into(),
        ..b.sign("y\n")
    };
    let note = Note::new("x\n", vec![other]).unwrap();
    assert_eq!(note.verify(&known), Err(NoteVerifyError::Unknown));
    // A repeated line that is wrong is found, too.
    let twice = format!("{good}{}\n", b.sign("y\n"));
    let note = Note::parse(twice.as_bytes()).unwrap();
    assert!(note.verify(&known).is_err());
}

#[test]
fn a_cosignature_is_no_signature_and_the_other_way_round() {
    let text = "o\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let log = SigningKey::new("o", &[3; 32]).unwrap();
    let witness = Cosigner::new("o", &[3; 32]).unwrap();
    let (plain, cosigned) = (log.sign(text), witness.cosign(text, 9).unwrap());
    for (signature, key) in [(&plain, witness.verifier()), (&cosigned, log.verifier())] {
        let forged = NoteSignature {
            key_id: key.id(),
            ..signature.clone()
        };
        let note = Note::new(text, vec![forged]).unwrap();
        assert!(note.verify(std::slice::from_ref(key)).is_err());
    }
    assert_eq!(witness.cosign(text, 0), Err(TimeError(0)));
    assert_eq!(
        witness.cosign(text, SIZE_MAX + 1),
        Err(TimeError(SIZE_MAX + 1))
    );
    // A witness of the log's name does not stand for the log.
    let note = Note::new(text, vec![cosigned]).unwrap();
    let known = [witness.verifier().clone()];
    assert_eq!(
        Checkpoint::open(&note, &known),
        Err(OpenError::OtherLog("o".into()))
    );
}

#[test]
fn checkpoints() {
    let root = leaf_hash(b"x");
    let plain = Checkpoint::new(ORIGIN, 123, root).unwrap();
    assert_eq!(plain.to_string(), format!("{ORIGIN}\n123\n{root}\n"));
    let more = plain
        .clone()
        .with_extension("abc")
        .unwrap()
        .with_extension("def")
        .unwrap();
    assert_eq!(
        more.to_string(),
        format!("{ORIGIN}\n123\n{root}\nabc\ndef\n")
    );
    for it in [&plain, &more] {
        assert_eq!(Checkpoint::parse(&it.to_string()).as_ref(), Ok(it));
    }
    let log = log_key();
    let known = [log.verifier().clone()];
    let note = more.sign(&[&log]).unwrap();
    assert_eq!(Checkpoint::open(&note, &known).unwrap().checkpoint, more);
    // A key of another log does not sign for this one.
    let other = SigningKey::new("other.example", &[9; 32]).unwrap();
    let note = more.sign(&[&other]).unwrap();
    let error = OpenError::OtherLog(ORIGIN.to_owned());
    assert_eq!(
        Checkpoint::open(&note, &[other.verifier().clone()]),
        Err(error)
    );

    let wrong = [
        ("", CheckpointError::Lines),
        ("o\n1\n", CheckpointError::Lines),
        ("o\n1\nROOT", CheckpointError::Lines),
        ("\n1\nROOT\n", CheckpointError::Origin),
        ("o\n01\nROOT\n", CheckpointError::Size),
        ("o\n-1\nROOT\n", CheckpointError::Size),
        ("o\n+1\nROOT\n", CheckpointError::Size),
        ("o\n\nROOT\n", CheckpointError::Size),
        ("o\n9223372036854775808\nROOT\n", CheckpointError::Size),
        ("o\n18446744073709551616\nROOT\n", CheckpointError::Size),
        ("o\n1\nROO=\n", CheckpointError::Root),
        ("o\n1\nROOT\n\n", CheckpointError::Extension { line: 4 }),
        (
            "o\n1\nROOT\na\n\nb\n",
            CheckpointError::Extension { line: 5 },
        ),
    ];
    for (text, error) in wrong {
        let text = text.replace("ROOT", &root.to_string());
        assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
    }
    assert!(Checkpoint::new("a\nb", 1, root).is_err());
    assert!(Checkpoint::new("o", SIZE_MAX + 1, root).is_err());
    assert!(plain.with_extension("a\nb").is_err());
    assert!(Checkpoint::new("o", SIZE_MAX, EMPTY_ROOT).is_ok());
}

#[test]
fn answers_of_witnesses() {
    let lines = PUBLIC.split_once("\n\n").unwrap().1;
    let found = parse_signatures(lines).unwrap();
    assert_eq!(found.len(), 5);
    assert_eq!(tlog::encode_signatures(&found), lines);
    assert_eq!(parse_signatures(""), Err(NoteError::Unsigned));
    assert_eq!(
        parse_signatures("\n"),
        Err(NoteError::Signature { line: 1 })
    );
    assert_eq!(
        parse_signatures(&lines[..lines.len() - 1]),
        Err(NoteError::CutOff)
    );
}

proptest! {
    #[test]
    fn every_flipped_bit_of_a_signed_note_is_refused(seed: [u8; 32], at: usize, bit in 0u32..8) {
        let log = SigningKey::new(ORIGIN, &seed).unwrap();
        let witness = Cosigner::new("w.example", &seed).unwrap();
        let mut note = Checkpoint::new(ORIGIN, 77, leaf_hash(&seed)).unwrap().sign(&[&log]).unwrap();
        note.add(witness.cosign(note.text(), 1_800_000_000).unwrap()).unwrap();
        let known = [log.verifier().clone(), witness.verifier().clone()];
        let good = note.to_string().into_bytes();
        prop_assert_eq!(Checkpoint::open(&note, &known).unwrap().signatures.len(), 2);

        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let opened = Note::parse(&bytes).ok().and_then(|note| {
            let opened = Checkpoint::open(&note, &known).ok()?;
            Some((opened.checkpoint, opened.signatures.len()))
        });
        // A changed name or id makes a signature a stranger's; what was signed is never different.
        if let Some((checkpoint, count)) = opened {
            prop_assert_eq!(count, 1);
            prop_assert_eq!(checkpoint.to_string(), note.text());
        }
    }
}
