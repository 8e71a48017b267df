//! What is kept of a password, in PostgreSQL's form, and the stand-in for unknown users.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::{digest, pbkdf2};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{KEY_BYTES, sign};

/// PostgreSQL's default number of iterations (SCRAM_SHA_256_DEFAULT_ITERATIONS).
pub const ITERATIONS_DEFAULT: NonZeroU32 = NonZeroU32::new(4_096).expect("4096 is not zero");

/// The length of a mock's salt in bytes, and PostgreSQL's for real ones (SCRAM_DEFAULT_SALT_LEN).
pub const MOCK_SALT_BYTES: usize = 16;

/// The longest salt that is read, in bytes: it must fit into a server-first message.
const SALT_BYTES_MAX: usize = 512;

/// What is kept of a password: enough to check a proof, and enough to guess the password
/// offline, so it is a secret.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
    /// Stands in for a user that does not exist: no proof is right.
    mock: bool,
}

/// The text is not of the form `SCRAM-SHA-256$iterations:salt$stored-key:server-key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a SCRAM verifier: expected SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>"
)]
pub struct VerifierError;

impl Verifier {
    /// Derives the verifier of a password (RFC 5802, section 3). The password is prepared with
    /// SASLprep; where that does not apply (not UTF-8, prohibited characters, nothing left) its
    /// bytes are taken as they are, as PostgreSQL and its drivers do. Drivers refuse more than
    /// some number of iterations (100,000 is common).
    pub fn from_password(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let prepared = prepare(password);
        let mut salted = Zeroizing::new([0; KEY_BYTES]);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(
            algorithm,
            iterations,
            salt,
            &prepared,
            salted.as_mut_slice(),
        );
        let client_key = Zeroizing::new(sign(salted.as_slice(), b"Client Key"));
        let hashed = digest::digest(&digest::SHA256, client_key.as_slice());
        let mut stored_key = [0; KEY_BYTES];
        for (to, from) in stored_key.iter_mut().zip(hashed.as_ref()) {
            *to = *from;
        }
        Self {
            salt: salt.to_vec(),
            iterations: iterations.get(),
            stored_key,
            server_key: sign(salted.as_slice(), b"Server Key"),
            mock: false,
        }
    }

    /// The stand-in for a user that does not exist. The same secret and name always give the
    /// same salt, so that asking twice does not tell; no login against it succeeds. `iterations`
    /// and a salt of [`MOCK_SALT_BYTES`] must be what real verifiers of this installation have.
    pub fn mock(secret: &[u8], user: &str, iterations: NonZeroU32) -> Self {
        let derive = |label: &str| {
            let mut message = Zeroizing::new(label.as_bytes().to_vec());
            message.push(0);
            message.extend_from_slice(user.as_bytes());
            sign(secret, &message)
        };
        Self {
            salt: derive("mock salt")
                .iter()
                .take(MOCK_SALT_BYTES)
                .copied()
                .collect(),
            iterations: iterations.get(),
            stored_key: derive("mock stored key"),
            server_key: derive("mock server key"),
            mock: true,
        }
    }

    /// PostgreSQL's text form. It is a secret. A mock has none that is of use.
    pub fn to_text(&self) -> Zeroizing<String> {
        let base64 = |bytes: &[u8]| base64_simd::STANDARD.encode_to_string(bytes);
        Zeroizing::new(format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            base64(&self.salt),
            base64(&self.stored_key),
            base64(&self.server_key),
        ))
    }

    /// The salt, which every driver that asks is told.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// How many times the password was hashed.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    pub(super) fn stored_key(&self) -> &[u8; KEY_BYTES] {
        &self.stored_key
    }

    pub(super) fn server_key(&self) -> &[u8; KEY_BYTES] {
        &self.server_key
    }

    pub(super) fn is_mock(&self) -> bool {
        self.mock
    }
}

impl FromStr for Verifier {
    type Err = VerifierError;

    /// Reads PostgreSQL's text form, as in `pg_authid.rolpassword`.
    fn from_str(text: &str) -> Result<Self, VerifierError> {
        let parse = || {
            let rest = text.strip_prefix("SCRAM-SHA-256$")?;
            let (parameters, keys) = rest.split_once('$')?;
            let (iterations, salt) = parameters.split_once(':')?;
            let (stored, server) = keys.split_once(':')?;
            let iterations: i32 = iterations.parse().ok().filter(|count| *count > 0)?;
            let salt = base64_simd::STANDARD.decode_to_vec(salt).ok()?;
            if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
                return None;
            }
            let key = |text: &str| {
                base64_simd::STANDARD
                    .decode_to_vec(text)
                    .ok()?
                    .try_into()
                    .ok()
            };
            let (stored_key, server_key) = (key(stored)?, key(server)?);
            let iterations = iterations.unsigned_abs();
            Some(Self {
                salt,
                iterations,
                stored_key,
                server_key,
                mock: false,
            })
        };
        parse().ok_or(VerifierError)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// SASLprep (RFC 4013), or the bytes as they are.
fn prepare(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let prepared = std::str::from_utf8(password)
        .ok()
        .and_then(|text| stringprep::saslprep(text).ok())
        .map(|text| text.into_owned().into_bytes())
        .filter(|text| !text.is_empty());
    Zeroizing::new(prepared.unwrap_or_else(|| password.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by PostgreSQL's rules from the password of RFC 7677's example.
    fn pencil() -> Verifier {
        let salt = base64_simd::STANDARD
            .decode_to_vec("W22ZaJ0SNY7soEsUEjb6gQ==")
            .unwrap();
        Verifier::from_password(b"pencil", &salt, ITERATIONS_DEFAULT)
    }

    #[test]
    fn text_form_round_trips() {
        let text = pencil().to_text();
        assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"));
        assert_eq!(text.parse::<Verifier>(), Ok(pencil()));
    }

    #[test]
    fn other_texts_are_refused() {
        let good = pencil().to_text();
        for bad in [
            "",
            "md5c4ca4238a0b923820dcc509a6f75849b",
            &good.replace("4096", "0"),
            &good.replace("4096", "-4096"),
            &good.replace("4096", "4294967296"),
            &good.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            &good.replace("W22Z", "W2_Z"),
            &good[..good.len() - 4],
            &format!("{}AAAA", good.as_str()),
        ] {
            assert_eq!(bad.parse::<Verifier>(), Err(VerifierError), "{bad}");
        }
    }

    #[test]
    fn passwords_are_prepared() {
        let derive = |password: &[u8]| {
            Verifier::from_password(password, b"salt", NonZeroU32::new(2).unwrap())
        };
        // RFC 4013, section 3: soft hyphen mapped to nothing, NFKC of U+2168 and U+00AA.
        assert_eq!(derive("I\u{ad}X".as_bytes()), derive(b"IX"));
        assert_eq!(derive("\u{2168}".as_bytes()), derive(b"IX"));
        assert_eq!(derive("\u{aa}".as_bytes()), derive(b"a"));
        assert_ne!(derive(b"USER"), derive(b"user"));
        // Raw: not UTF-8, prohibited, nothing left.
        for raw in [&b"\xff\xfe"[..], b"a\x07b", "\u{ad}".as_bytes()] {
            assert_eq!(prepare(raw).as_slice(), raw);
        }
    }

    #[test]
    fn mocks_are_stable_and_differ() {
        let mock = |secret: &[u8], user| Verifier::mock(secret, user, ITERATIONS_DEFAULT);
        assert_eq!(mock(b"k", "a"), mock(b"k", "a"));
        assert_ne!(mock(b"k", "a").salt(), mock(b"k", "b").salt());
        assert_ne!(mock(b"k", "a").salt(), mock(b"l", "a").salt());
        assert_eq!(mock(b"k", "a").salt().len(), MOCK_SALT_BYTES);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", pencil()), "Verifier(..)");
    }
}
