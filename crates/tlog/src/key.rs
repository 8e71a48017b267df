//! Keys of signed notes (C2SP signed-note): their text forms, what they sign, what they verify.
//!
//! Two kinds: a log's key signs the text of a note (0x01), a witness's key cosigns a checkpoint
//! with a time (0x04, C2SP tlog-cosignature). They are different types where they sign, so that a
//! log cannot cosign and a witness cannot sign. Secrets are never shown, and wiped.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::hash::sha256;
use crate::note::NoteSignature;
use crate::text::{self, SIZE_MAX};

/// Bytes of an Ed25519 seed and of a public key.
pub const KEY_BYTES: usize = 32;

/// Bytes of an Ed25519 signature.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// The longest name of a key, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;

/// The longest text of a key: name, `PRIVATE+KEY+`, id, base64.
const KEY_TEXT_MAX: usize = NAME_BYTES_MAX + 128;

/// What a key signs: the signature type of signed-note.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    /// 0x01: Ed25519 over the note's text.
    Ed25519,
    /// 0x04: Ed25519 over a time and a checkpoint, `cosignature/v1`.
    CosignatureV1,
}

impl Algorithm {
    /// Its byte in keys.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::CosignatureV1),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519 (0x01)",
            Self::CosignatureV1 => "cosignature/v1 (0x04)",
        })
    }
}

/// Why a text is no key. Never shows the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not three parts with a plus between them (and `PRIVATE+KEY+` before a secret one).
    #[error("this is not a key: expected {0}")]
    Format(&'static str),
    /// Empty, too long, or with a space, a plus or a control character.
    #[error("the key's name is empty, longer than 1024 bytes, or has a space, plus or control")]
    Name,
    /// Not eight lowercase hexadecimal digits.
    #[error("the key's id is not eight lowercase hexadecimal digits")]
    Id,
    /// Not base64 of a type byte and 32 bytes.
    #[error("the key is not the base64 of a type and 32 bytes")]
    Bytes,
    /// A signature type that is not supported.
    #[error("keys of type {0:#04x} are not supported, only 0x01 and 0x04")]
    Unsupported(u8),
    /// A log's key where a witness's is needed, or the other way round.
    #[error("this key is {given}, needed is {needed}")]
    OtherAlgorithm {
        /// What it is.
        given: Algorithm,
        /// What it has to be.
        needed: Algorithm,
    },
    /// The id is not that of the name and the key: one of them was changed.
    #[error("the key's id does not belong to its name and bytes: one of them was changed")]
    OtherId,
}

const VKEY_FORM: &str = "NAME+ID+BASE64";
const SKEY_FORM: &str = "PRIVATE+KEY+NAME+ID+BASE64";

/// A public key with its name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerifierKey {
    name: String,
    algorithm: Algorithm,
    id: u32,
    public: [u8; KEY_BYTES],
}

impl VerifierKey {
    /// A key from its parts.
    ///
    /// # Errors
    /// If the name cannot be one.
    pub fn new(
        name: &str,
        algorithm: Algorithm,
        public: [u8; KEY_BYTES],
    ) -> Result<Self, KeyError> {
        if name.len() > NAME_BYTES_MAX || !text::is_key_name(name) {
            return Err(KeyError::Name);
        }
        Ok(Self {
            id: key_id(name, algorithm, &public),
            name: name.to_owned(),
            algorithm,
            public,
        })
    }

    /// Its name; a log's is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The first four bytes of SHA-256(name || newline || type || public key).
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The Ed25519 public key.
    pub fn public(&self) -> &[u8; KEY_BYTES] {
        &self.public
    }

    /// Whether a signature line says that it is of this key.
    pub(crate) fn signed(&self, signature: &NoteSignature) -> bool {
        self.id == signature.key_id && self.name == signature.name
    }

    /// Whether a signature verifies; the cosignature's time in seconds since 1970, if it is one.
    pub(crate) fn check(&self, text: &str, signature: &[u8]) -> Option<Option<u64>> {
        match self.algorithm {
            Algorithm::Ed25519 => self.check_bytes(text.as_bytes(), signature).then_some(None),
            Algorithm::CosignatureV1 => {
                let (time, signature) = signature.split_first_chunk()?;
                let time = u64::from_be_bytes(*time);
                let message = cosigned_message(text, time)?;
                self.check_bytes(message.as_bytes(), signature)
                    .then_some(Some(time))
            }
        }
    }

    fn check_bytes(&self, message: &[u8], signature: &[u8]) -> bool {
        // The length is checked here too: nothing is left to the library's tolerance.
        signature.len() == SIGNATURE_BYTES
            && UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(message, signature)
                .is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.algorithm.byte()];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{:08x}+{}", self.name, self.id, text::base64(&key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        let parts = Parts::split(vkey, VKEY_FORM)?;
        let it = Self::new(parts.name, parts.algorithm, *parts.key)?;
        parts.check_id(&it)?;
        Ok(it)
    }
}

/// What is after the prefix in both text forms.
struct Parts<'a> {
    name: &'a str,
    id: u32,
    algorithm: Algorithm,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl<'a> Parts<'a> {
    fn split(given: &'a str, form: &'static str) -> Result<Self, KeyError> {
        if given.len() > KEY_TEXT_MAX {
            return Err(KeyError::Format(form));
        }
        let mut parts = given.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Format(form));
        };
        let lowercase = id.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        if id.len() != 8 || !lowercase {
            return Err(KeyError::Id);
        }
        let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Id)?;
        let bytes = Zeroizing::new(text::unbase64(key).ok_or(KeyError::Bytes)?);
        let (byte, key) = bytes.split_first().ok_or(KeyError::Bytes)?;
        let algorithm = Algorithm::from_byte(*byte).ok_or(KeyError::Unsupported(*byte))?;
        let key = key.try_into().map_err(|_| KeyError::Bytes)?;
        Ok(Self {
            name,
            id,
            algorithm,
            key: Zeroizing::new(key),
        })
    }

    fn check_id(&self, key: &VerifierKey) -> Result<(), KeyError> {
        if self.id != key.id {
            return Err(KeyError::OtherId);
        }
        Ok(())
    }
}

fn key_id(name: &str, algorithm: Algorithm, public: &[u8; KEY_BYTES]) -> u32 {
    let mut input = Vec::with_capacity(name.len() + 2 + KEY_BYTES);
    input.extend_from_slice(name.as_bytes());
    input.extend_from_slice(&[b'\n', algorithm.byte()]);
    input.extend_from_slice(public);
    let [a, b, c, d, ..] = sha256(&input).0;
    u32::from_be_bytes([a, b, c, d])
}

/// What a witness signs (tlog-cosignature, "Ed25519 signed message"); `None` for a time that no
/// cosignature has: 0, or past 2^63 - 1.
fn cosigned_message(text: &str, time: u64) -> Option<String> {
    (1..=SIZE_MAX)
        .contains(&time)
        .then(|| format!("cosignature/v1\ntime {time}\n{text}"))
}

/// A secret key of either kind.
struct Secret {
    seed: Zeroizing<[u8; KEY_BYTES]>,
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl Secret {
    fn new(name: &str, algorithm: Algorithm, seed: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Bytes)?;
        let public = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| KeyError::Bytes)?;
        Ok(Self {
            seed: Zeroizing::new(*seed),
            pair,
            verifier: VerifierKey::new(name, algorithm, public)?,
        })
    }

    fn parse(skey: &str, needed: Algorithm) -> Result<Self, KeyError> {
        let rest = skey
            .strip_prefix("PRIVATE+KEY+")
            .ok_or(KeyError::Format(SKEY_FORM))?;
        let parts = Parts::split(rest, SKEY_FORM)?;
        if parts.algorithm != needed {
            return Err(KeyError::OtherAlgorithm {
                given: parts.algorithm,
                needed,
            });
        }
        let it = Self::new(parts.name, needed, &parts.key)?;
        parts.check_id(&it.verifier)?;
        Ok(it)
    }

    fn encode(&self) -> Zeroizing<String> {
        let mut key = Zeroizing::new([0; 1 + KEY_BYTES]);
        key[0] = self.verifier.algorithm.byte();
        key[1..].copy_from_slice(&*self.seed);
        let key = Zeroizing::new(text::base64(&*key));
        let VerifierKey { name, id, .. } = &self.verifier;
        // Allocated at once: growing would leave copies behind.
        let mut skey = String::with_capacity(KEY_TEXT_MAX);
        skey.push_str("PRIVATE+KEY+");
        skey.push_str(name);
        skey.push_str(&format!("+{id:08x}+"));
        skey.push_str(&key);
        Zeroizing::new(skey)
    }

    fn line(&self, bytes: Vec<u8>) -> NoteSignature {
        NoteSignature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.id,
            bytes,
        }
    }

    fn show(&self, what: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(what)
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

/// A log's secret key: signs the text of notes (0x01).
pub struct SigningKey(Secret);

impl SigningKey {
    /// From an Ed25519 seed of 32 random bytes.
    ///
    /// # Errors
    /// If the name cannot be one.
    pub fn new(name: &str, seed: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        Secret::new(name, Algorithm::Ed25519, seed).map(Self)
    }

    /// From `PRIVATE+KEY+NAME+ID+BASE64`, the form of golang.org/x/mod/sumdb/note.
    ///
    /// # Errors
    /// If it is not such a key.
    pub fn parse(skey: &str) -> Result<Self, KeyError> {
        Secret::parse(skey, Algorithm::Ed25519).map(Self)
    }

    /// The text form. Secret.
    pub fn encode(&self) -> Zeroizing<String> {
        self.0.encode()
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.0.verifier
    }

    /// The signature line for a note with this text.
    pub fn sign(&self, text: &str) -> NoteSignature {
        self.0
            .line(self.0.pair.sign(text.as_bytes()).as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("SigningKey", f)
    }
}

/// A witness's secret key: cosigns checkpoints with a time (0x04).
pub struct Cosigner(Secret);

/// A time that no cosignature can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} seconds since 1970 is no time for a cosignature: set the clock")]
pub struct TimeError(pub u64);

impl Cosigner {
    /// From an Ed25519 seed of 32 random bytes, of a key that nothing else uses.
    ///
    /// # Errors
    /// If the name cannot be one.
    pub fn new(name: &str, seed: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        Secret::new(name, Algorithm::CosignatureV1, seed).map(Self)
    }

    /// From `PRIVATE+KEY+NAME+ID+BASE64` with type 0x04.
    ///
    /// # Errors
    /// If it is not such a key.
    pub fn parse(skey: &str) -> Result<Self, KeyError> {
        Secret::parse(skey, Algorithm::CosignatureV1).map(Self)
    }

    /// The text form. Secret.
    pub fn encode(&self) -> Zeroizing<String> {
        self.0.encode()
    }

    /// The public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.0.verifier
    }

    /// The cosignature line for a checkpoint's text, at a time in seconds since 1970. Says that this
    /// is the largest consistent tree of the log that the cosigner has seen: a witness calls
    /// [`crate::witness::decide`] first and stores what it decided.
    ///
    /// # Errors
    /// If the time is 0 or past 2^63 - 1.
    pub fn cosign(&self, text: &str, time: u64) -> Result<NoteSignature, TimeError> {
        let message = cosigned_message(text, time).ok_or(TimeError(time))?;
        let mut bytes = time.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.0.pair.sign(message.as_bytes()).as_ref());
        Ok(self.0.line(bytes))
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("Cosigner", f)
    }
}
