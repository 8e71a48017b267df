use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use proptest::prelude::*;

use super::*;

fn pair(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

fn token() -> Token {
    Token {
        serial: "4C530001".to_owned(),
        size: 8_000_000_000,
        id: [5; 16],
        client: "acme".to_owned(),
        until_ms: 1_800_000_000_000,
    }
}

const MEDIUM: Medium<'static> = Medium {
    serial: "4C530001",
    size: 8_000_000_000,
};
const NOW: u64 = 1_795_000_000_000;

fn signed(token: &Token, seed: u8) -> [u8; TOKEN_BYTES] {
    let signature = pair(seed).0.sign(&token.to_sign());
    token.block(signature.as_ref().try_into().unwrap()).unwrap()
}

#[test]
fn a_token_counts_for_its_own_medium_its_keys_and_its_time() {
    let block = signed(&token(), 1);
    let keys = [pair(9).1, pair(1).1];
    assert_eq!(verify(&block, &keys, MEDIUM, NOW), Ok(token()));
    assert_eq!(
        verify(&block, &keys, MEDIUM, 1_800_000_000_000),
        Ok(token())
    );
    for (keys, medium, now_ms, error) in [
        (&keys[..1], MEDIUM, NOW, TokenError::Signature),
        (&[], MEDIUM, NOW, TokenError::Signature),
        (
            &keys,
            Medium {
                serial: "4C530002",
                ..MEDIUM
            },
            NOW,
            TokenError::Serial,
        ),
        (
            &keys,
            Medium {
                serial: "",
                ..MEDIUM
            },
            NOW,
            TokenError::Serial,
        ),
        (
            &keys,
            Medium {
                size: 8_000_000_512,
                ..MEDIUM
            },
            NOW,
            TokenError::Size,
        ),
        (&keys, MEDIUM, 1_800_000_000_001, TokenError::Expired),
    ] {
        assert_eq!(verify(&block, keys, medium, now_ms), Err(error));
    }
    // A medium without a serial cannot be bound.
    let unnamed = Token {
        serial: String::new(),
        ..token()
    };
    let medium = Medium {
        serial: "",
        ..MEDIUM
    };
    assert_eq!(
        verify(&signed(&unnamed, 1), &keys, medium, NOW),
        Err(TokenError::Serial)
    );
}

#[test]
fn what_is_no_token_is_said_to_be_none_or_damaged() {
    let keys = [pair(1).1];
    assert_eq!(verify(&[], &keys, MEDIUM, NOW), Err(TokenError::Missing));
    assert_eq!(
        verify(&[0; TOKEN_BYTES], &keys, MEDIUM, NOW),
        Err(TokenError::Missing)
    );
    assert_eq!(verify(MAGIC, &keys, MEDIUM, NOW), Err(TokenError::Missing));
    let block = signed(&token(), 1);
    for length in 18..18 + token().body().len() + 64 {
        assert!(
            matches!(
                verify(&block[..length], &keys, MEDIUM, NOW),
                Err(TokenError::Malformed(_))
            ),
            "{length} bytes"
        );
    }
    assert!(verify(&block[..18 + token().body().len() + 64], &keys, MEDIUM, NOW).is_ok());
}

#[test]
fn the_greatest_token_fits_its_block_and_a_greater_one_is_not_written() {
    let mut token = Token {
        serial: "s".repeat(SERIAL_BYTES_MAX),
        size: u64::MAX,
        id: [255; 16],
        client: "c".repeat(CLIENT_BYTES_MAX),
        until_ms: u64::MAX,
    };
    let medium = Medium {
        serial: &token.serial.clone(),
        size: u64::MAX,
    };
    assert_eq!(
        verify(&signed(&token, 1), &[pair(1).1], medium, NOW),
        Ok(token.clone())
    );
    token.client.push('c');
    assert_eq!(token.block(&[0; 64]), Err(TokenError::TooLong));
}

/// The vector of docs/format/terminal.md.
#[test]
fn the_documented_token_verifies() {
    let page = include_str!("../../../../docs/format/terminal.md");
    let hex = page
        .split("vector:token\n")
        .nth(1)
        .and_then(|it| it.split("```").next())
        .unwrap();
    let digits: String = hex.split_whitespace().collect();
    let mut block: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    assert_eq!(block, signed(&token(), 1)[..block.len()]);
    assert_eq!(verify(&block, &[pair(1).1], MEDIUM, NOW), Ok(token()));
    *block.last_mut().unwrap() ^= 1;
    assert!(verify(&block, &[pair(1).1], MEDIUM, NOW).is_err());
}

proptest! {
    /// No bit of what is signed can be changed.
    #[test]
    fn a_changed_bit_does_not_count(at in 0_usize..200, bit in 0_u8..8) {
        let mut block = signed(&token(), 1);
        let signed_bytes = 18 + token().body().len() + 64;
        block[at % signed_bytes] ^= 1 << bit;
        prop_assert!(verify(&block, &[pair(1).1], MEDIUM, NOW).is_err());
    }

    #[test]
    fn hostile_blocks_give_errors(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic: bool) {
        let block = if magic { [MAGIC.as_slice(), &bytes].concat() } else { bytes };
        prop_assert!(verify(&block, &[pair(1).1], MEDIUM, NOW).is_err());
    }
}
