//! Encrypted lists: fingerprints and free texts that travel beside the log.
//!
//! `version 1 | nonce 12 | AES-256-GCM ciphertext | tag 16`. The caller's associated data binds a
//! list to its place (record, salt); what it commits to is the caller's business. One key, of one
//! client and month, may seal at most 2^32 lists (NIST SP 800-38D section 8.3, random nonces).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use event::Plain;

/// The first byte of a sealed list.
const LIST_VERSION: u8 = 1;

/// How many bytes longer a sealed list is than its content.
pub const LIST_OVERHEAD_BYTES: usize = 1 + NONCE_LEN + TAG_BYTES;
pub(crate) const TAG_BYTES: usize = 16;

/// Why a list could not be sealed or opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// Too short, or of a version that this program does not know.
    #[error("this is no encrypted list of a known version")]
    NotAList,
    /// Another key, other associated data, or altered bytes.
    #[error("the encrypted list does not open: another key, another record, or altered bytes")]
    DoesNotOpen,
    /// The system gave no random bytes.
    #[error("the system's random number generator failed")]
    Entropy,
    /// Not the file of a month's key of this client.
    #[error("this is not the key of that client and month, or of a later version")]
    NotAKey,
    /// Wrapped under another key, or altered.
    #[error("the month's key does not open: wrapped under another key, or altered")]
    KeyDoesNotOpen,
}

/// The key of one client's lists of one month.
pub struct ListKey {
    /// Wiped by its own `Drop` (AWS-LC cleanses AEAD contexts).
    key: LessSafeKey,
}

impl ListKey {
    /// Takes 32 uniformly random bytes; the caller wipes its copy.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are an AES-256 key");
        Self {
            key: LessSafeKey::new(key),
        }
    }
}

impl fmt::Debug for ListKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListKey(..)")
    }
}

/// Encrypts a list. `aad` has to be given again to [`open_list`].
///
/// # Errors
/// [`ListError::Entropy`] when the system gives no nonce.
pub fn seal_list(key: &ListKey, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, ListError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| ListError::Entropy)?;
    let mut out = Vec::with_capacity(plaintext.len() + LIST_OVERHEAD_BYTES);
    out.push(LIST_VERSION);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plaintext);
    let tag = key
        .key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut out[1 + NONCE_LEN..],
        )
        .expect("a list is shorter than AES-GCM's 64 GiB");
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Decrypts what [`seal_list`] made with the same key and associated data.
///
/// # Errors
/// [`ListError::NotAList`] or [`ListError::DoesNotOpen`]; nothing of the content is released then.
pub fn open_list(key: &ListKey, aad: &[u8], sealed: &[u8]) -> Result<Plain<Vec<u8>>, ListError> {
    if sealed.len() < LIST_OVERHEAD_BYTES || sealed[0] != LIST_VERSION {
        return Err(ListError::NotAList);
    }
    let (nonce, content) = sealed[1..].split_at(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| ListError::NotAList)?;
    let mut out = Plain::new(content.to_vec());
    let length = key
        .key
        .open_in_place(nonce, Aad::from(aad), out.expose_mut())
        .map_err(|_| ListError::DoesNotOpen)?
        .len();
    out.expose_mut().truncate(length);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(aad: Vec<u8>, content: Vec<u8>) {
            let key = ListKey::new(&[1; 32]);
            let sealed = seal_list(&key, &aad, &content).unwrap();
            prop_assert_eq!(sealed.len(), content.len() + LIST_OVERHEAD_BYTES);
            let opened = open_list(&key, &aad, &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &content);
        }

        #[test]
        fn any_flipped_bit_closes_it(content: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let key = ListKey::new(&[1; 32]);
            let mut sealed = seal_list(&key, b"salt", &content).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(open_list(&key, b"salt", &sealed).is_err());
        }

        #[test]
        fn hostile_bytes_are_an_error(sealed: Vec<u8>) {
            prop_assert!(open_list(&ListKey::new(&[1; 32]), b"", &sealed).is_err());
        }
    }

    #[test]
    fn another_key_or_record_does_not_open() {
        let sealed = seal_list(&ListKey::new(&[1; 32]), b"a", b"list").unwrap();
        let opened = open_list(&ListKey::new(&[2; 32]), b"a", &sealed);
        assert_eq!(opened.unwrap_err(), ListError::DoesNotOpen);
        let opened = open_list(&ListKey::new(&[1; 32]), b"b", &sealed);
        assert_eq!(opened.unwrap_err(), ListError::DoesNotOpen);
    }
}
