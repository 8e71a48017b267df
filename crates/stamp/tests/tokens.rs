//! Tokens of a real authority (`openssl ts`), and everything that can be done to them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests"
)]
// Each test file uses another part of the authority.
#[allow(dead_code, unreachable_pub)]
mod authority;

use std::time::{SystemTime, UNIX_EPOCH};

use authority::{Authority, EC, P384, Plan, RSA, USUAL, verifies};
use proptest::prelude::*;
use stamp::{Roots, Stamp, StampError, Token, request, sha256};

const DATA: &[u8] = b"a checkpoint\n";
const NONCE: u64 = 0x0123_4567_89ab_cdef;

struct Made {
    _dir: tempfile::TempDir,
    authority: Authority,
    roots: Roots,
    token: Vec<u8>,
}

fn make(plan: Plan) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), plan);
    let roots = Roots::from_pem(&authority.root()).unwrap();
    let token = authority.answer(&request(&sha256(DATA), NONCE));
    Made {
        _dir: dir,
        authority,
        roots,
        token,
    }
}

fn check(token: &[u8], roots: &Roots) -> Result<Stamp, StampError> {
    Token::parse(token)?.check(&sha256(DATA), Some(NONCE), roots)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[test]
fn authorities_of_every_kind_are_understood() {
    let plans = [
        USUAL,
        Plan { key: EC, ..USUAL },
        Plan {
            between: true,
            ..USUAL
        },
        Plan {
            key: P384,
            between: true,
            answers: "signer_digest = sha384\ness_cert_id_alg = sha1\nclock_precision_digits = 3\n",
            ..USUAL
        },
        Plan {
            answers: "signer_digest = sha512\ness_cert_id_alg = sha512\ness_cert_id_chain = yes\n",
            ..USUAL
        },
    ];
    for (number, plan) in plans.into_iter().enumerate() {
        let made = make(plan);
        let stamp = check(&made.token, &made.roots);
        let stamp = stamp.unwrap_or_else(|error| panic!("plan {number}: {error}"));
        assert!(stamp.authority.contains("Test TSA"), "{stamp:?}");
        assert_eq!(stamp.serial, "02");
        assert!(stamp.time_ms.abs_diff(now_ms()) < 60_000, "{stamp:?}");
        let days = (stamp.until_ms - stamp.time_ms) / 86_400_000;
        assert!((3648..=3650).contains(&days), "{stamp:?}");
        // OpenSSL thinks the same of it.
        let dir = made.authority.dir();
        std::fs::write(dir.join("data"), DATA).unwrap();
        assert!(verifies(
            &made.authority,
            &dir.join("answer.tsr"),
            &dir.join("data")
        ));
    }
}

#[test]
fn the_first_end_of_a_chain_counts() {
    let made = make(Plan {
        between: true,
        days: 30_000,
        ..USUAL
    });
    let stamp = check(&made.token, &made.roots).unwrap();
    let days = (stamp.until_ms - stamp.time_ms) / 86_400_000;
    assert!((19_998..=20_000).contains(&days), "{days}");
}

#[test]
fn what_is_not_what_was_asked_is_refused() {
    let made = make(Plan { key: EC, ..USUAL });
    let token = Token::parse(&made.token).unwrap();
    let digest = sha256(DATA);
    let with = |digest: &[u8; 32], nonce| token.check(digest, nonce, &made.roots);
    assert_eq!(with(&sha256(b"else"), None), Err(StampError::Imprint));
    assert_eq!(with(&digest, Some(NONCE + 1)), Err(StampError::Nonce));
    assert!(with(&digest, None).is_ok());
    // Another root with the same name.
    let other = make(Plan { key: EC, ..USUAL });
    let said = check(&made.token, &other.roots);
    assert!(matches!(said, Err(StampError::Chain(_))), "{said:?}");
    let none = check(&made.token, &Roots::default());
    assert!(matches!(none, Err(StampError::Chain(_))), "{none:?}");
    // The authority says no: a digest that it does not take.
    let mut sha1 = request(&digest, NONCE);
    let place = sha1
        .windows(9)
        .position(|it| it == [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]);
    sha1[place.unwrap() + 8] = 4;
    let answer = made.authority.answer(&sha1);
    let said = Token::parse(&answer).map(|_| ());
    assert!(
        matches!(said, Err(StampError::Refused { status: 2, .. })),
        "{said:?}"
    );
    assert_eq!(
        Token::parse(&vec![0x30; 70_000]).map(|_| ()),
        Err(StampError::TooLong(65_536))
    );
}

#[test]
fn certificates_for_anything_else_do_not_count() {
    let made = make(USUAL);
    let signed_by = |extensions| {
        let request = request(&sha256(DATA), NONCE);
        let answer = made.authority.answer_with(&request, RSA, extensions);
        check(&answer, &made.roots).map(|_| ())
    };
    assert_eq!(signed_by("tsa"), Ok(()));
    for extensions in ["lax", "wide", "none"] {
        assert_eq!(
            signed_by(extensions),
            Err(StampError::Usage),
            "{extensions}"
        );
    }
}

/// No changed byte leaves a token valid that says another time, and none panics.
#[test]
fn every_changed_byte_is_found() {
    for plan in [USUAL, Plan { key: EC, ..USUAL }] {
        let made = make(plan);
        let honest = check(&made.token, &made.roots).unwrap();
        for at in 0..made.token.len() {
            for change in [1, 0x80] {
                let mut token = made.token.clone();
                token[at] ^= change;
                // What is not signed may change: it says nothing.
                if let Ok(stamp) = check(&token, &made.roots) {
                    assert_eq!(stamp, honest, "byte {at}");
                }
            }
        }
    }
}

fn tokens() -> &'static [Made; 2] {
    static TOKENS: std::sync::OnceLock<[Made; 2]> = std::sync::OnceLock::new();
    TOKENS.get_or_init(|| {
        [
            make(Plan { key: RSA, ..USUAL }),
            make(Plan { key: EC, ..USUAL }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn hostile_bytes_are_errors(
        which in 0..2_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6),
    ) {
        let made = &tokens()[which];
        let mut token = made.token.clone();
        for (at, byte, how) in edits {
            let at = at.index(token.len());
            match how {
                0 => token[at] = byte,
                1 => token.insert(at, byte),
                2 if token.len() > 1 => { token.remove(at); }
                _ => token.truncate(at.max(1)),
            }
        }
        if let Ok(stamp) = check(&token, &made.roots) {
            prop_assert_eq!(stamp, check(&made.token, &made.roots).unwrap());
        }
    }

    #[test]
    fn any_bytes_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Token::parse(&bytes).is_err());
    }
}
