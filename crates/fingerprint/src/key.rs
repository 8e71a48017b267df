//! The fingerprint key of a client.
//!
//! A fingerprint is the first 64 bits of HMAC-SHA-256 over (version, class, normalised value).
//! The key's schedule is computed once; a fingerprint costs two SHA-256 blocks for short values.

use std::fmt;

use aws_lc_rs::hmac;
use event::{Class, Fingerprint};

use crate::normalise::{NORMALISER_VERSION, normalise};

/// The key of one client's fingerprints. Whoever holds it can test guesses against fingerprints,
/// but opens no cell with it.
pub struct FingerprintKey {
    /// Wiped by its own `Drop` (AWS-LC cleanses HMAC contexts).
    mac: hmac::Key,
}

impl FingerprintKey {
    /// Takes 32 uniformly random bytes; the caller wipes its copy.
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            mac: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// The fingerprint of a value, which is normalised first.
    pub fn fingerprint(&self, class: Class, value: &str) -> Fingerprint {
        self.fingerprint_normalised(class, normalise(class, value).expose())
    }

    /// The fingerprint of what [`normalise`] returned. Tracing normalises a suspect list once and
    /// tries the keys of many clients.
    pub fn fingerprint_normalised(&self, class: Class, normalised: &str) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(&[NORMALISER_VERSION, class.code()]);
        context.update(normalised.as_bytes());
        let tag = context.sign();
        let mut first = [0; 8];
        first.copy_from_slice(&tag.as_ref()[..8]);
        Fingerprint(u64::from_be_bytes(first))
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_depends_on_key_class_and_value_only() {
        let key = FingerprintKey::new(&[7; 32]);
        let one = key.fingerprint(Class::Phone, "090-1234-5678");
        assert_eq!(
            one,
            key.fingerprint(Class::Phone, "０９０ー１２３４ー５６７８")
        );
        assert_eq!(
            one,
            key.fingerprint_normalised(Class::Phone, "+819012345678")
        );
        assert_ne!(one, key.fingerprint(Class::Phone, "090-1234-5679"));
        assert_ne!(one, key.fingerprint(Class::FreeText, "+819012345678"));
        assert_ne!(
            one,
            FingerprintKey::new(&[8; 32]).fingerprint(Class::Phone, "090-1234-5678")
        );
    }

    /// Judged by Python: hmac.new(b"\x07"*32, b"\x01\x04+819012345678", "sha256").hexdigest()[:16]
    #[test]
    fn known_value() {
        let key = FingerprintKey::new(&[7; 32]);
        let given = key.fingerprint(Class::Phone, "090-1234-5678");
        assert_eq!(format!("{:016x}", given.0), "45502dde44eadd22");
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(
            format!("{:?}", FingerprintKey::new(&[7; 32])),
            "FingerprintKey(..)"
        );
    }
}
