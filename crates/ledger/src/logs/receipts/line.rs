//! The bytes of a receipt. Pure.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64_simd::STANDARD;
use tlog::leaf_hash;

use super::SpanKey;

/// What a receipt's signature begins with.
const DOMAIN: &[u8] = b"sekisho receipt v1\0";

/// The keys of a request, ready to sign.
pub(super) struct Signers(Vec<(SpanKey, Ed25519KeyPair)>);

impl Signers {
    pub(super) fn new(keys: Vec<SpanKey>) -> Self {
        let pair = |key: SpanKey| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&*key.seed).ok()?;
            Some((key, pair))
        };
        Self(keys.into_iter().filter_map(pair).collect())
    }

    /// The newest key that counts at a time.
    fn at(&self, wall_ms: u64) -> Option<&Ed25519KeyPair> {
        let counts = |key: &SpanKey| {
            key.from_ms <= wall_ms && key.until_ms.is_none_or(|until| wall_ms < until)
        };
        let mut newest = self.0.iter().rev();
        newest.find(|(key, _)| counts(key)).map(|(_, pair)| pair)
    }
}

/// The wall clock of an entry, ms.
pub(super) fn wall_ms(entry: &[u8]) -> Option<u64> {
    let (version, rest) = entry.split_first()?;
    let (wall, _) = rest.split_first_chunk::<8>()?;
    (*version == 1).then_some(u64::from_be_bytes(*wall))
}

/// An entry's receipt as a JSON line. `None`: no key that is here counts at its time.
pub(super) fn line(
    signers: &Signers,
    origin: &str,
    (index, entry): (u64, &[u8]),
    (wall_ms, shown_ms): (u64, u64),
) -> Option<String> {
    let leaf = leaf_hash(entry);
    let shown_by_ms = wall_ms.saturating_add(shown_ms);
    let mut message = DOMAIN.to_vec();
    message.extend_from_slice(&u16::try_from(origin.len()).ok()?.to_be_bytes());
    message.extend_from_slice(origin.as_bytes());
    message.extend_from_slice(&index.to_be_bytes());
    message.extend_from_slice(leaf.as_bytes());
    message.extend_from_slice(&wall_ms.to_be_bytes());
    message.extend_from_slice(&shown_by_ms.to_be_bytes());
    let signature = STANDARD.encode_to_string(signers.at(wall_ms)?.sign(&message));
    // Nothing in it has to be escaped.
    Some(format!(
        "{{\"log\":\"{origin}\",\"index\":{index},\"leaf\":\"{leaf}\",\"wall_ms\":{wall_ms},\
         \"shown_by_ms\":{shown_by_ms},\"signature\":\"{signature}\"}}\n"
    ))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair;
    use zeroize::Zeroizing;

    use super::*;

    fn key(seed: u8, from_ms: u64, until_ms: Option<u64>) -> SpanKey {
        SpanKey {
            seed: Zeroizing::new([seed; 32]),
            from_ms,
            until_ms,
        }
    }

    #[test]
    fn the_newest_key_that_counts_signs() {
        let signers = Signers::new(vec![key(1, 0, Some(200)), key(2, 100, None)]);
        let public = |at| {
            signers
                .at(at)
                .map(|pair| pair.public_key().as_ref().to_vec())
        };
        let of = |seed| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
            Some(pair.public_key().as_ref().to_vec())
        };
        assert_eq!((public(99), public(100)), (of(1), of(2)));
        assert_eq!(public(500), of(2));
        let retired = Signers::new(vec![key(1, 0, Some(200))]);
        assert!(retired.at(200).is_none(), "its key is not here any more");
    }

    /// The same entry gives the same receipt: docs/format/receipt.md "Test vector".
    #[test]
    fn known_bytes() {
        let signers = Signers::new(vec![key(3, 0, None)]);
        let entry = super::super::super::sequence::entry_bytes(1_700_000_000_000, 5, b"record");
        let origin = "sekisho/07070707070707070707070707070707/1/client/1";
        assert_eq!(wall_ms(&entry), Some(1_700_000_000_000));
        let line = line(&signers, origin, (7, &entry), (1_700_000_000_000, 60_000)).unwrap();
        let vector = include_str!("../../../../../docs/format/receipt.md")
            .lines()
            .find(|line| line.starts_with("{\"log\""));
        assert_eq!(Some(line.trim_end()), vector);
        assert_eq!(wall_ms(&entry[..8]), None);
        assert_eq!(wall_ms(&[2; 20]), None);
    }
}
