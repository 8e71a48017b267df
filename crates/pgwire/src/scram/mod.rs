//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: RFC 5802, RFC 7677, channel
//! binding tls-server-end-point (RFC 5929), as PostgreSQL speaks it (auth-scram.c).
//!
//! A pure state machine: `first` takes client-first and gives server-first, `last` takes
//! client-final and gives server-final, or an error; each step can be taken once.
//!
//! Invariants: proofs are compared in constant time; an unknown user costs the same steps and
//! sees the same kind of answers as a known one ([`Verifier::mock`]); secrets are wiped when
//! dropped and never in `Debug`. Randomness is the caller's. The name inside the messages is
//! ignored, as in PostgreSQL: the start-up packet's counts. Authorisation identities and
//! mandatory extensions are refused.

mod certificate;
mod verifier;

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};

pub use certificate::tls_server_end_point;
pub use verifier::{ITERATIONS_DEFAULT, MOCK_SALT_BYTES, Verifier, VerifierError};

/// The mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding; offered first, and only over TLS.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The longest SASL message taken from a driver, in bytes (PG_MAX_SASL_MESSAGE_LENGTH).
pub const SASL_BYTES_MAX: usize = 1_024;

/// The server's nonce before base64, in bytes (SCRAM_RAW_NONCE_LEN).
pub const NONCE_BYTES: usize = 18;

/// A SHA-256 value: key, signature or proof.
pub(crate) const KEY_BYTES: usize = 32;

/// Why a login failed. The driver is told no more than "authentication failed", or that it broke
/// the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// Not one of the two mechanisms, or one that was not offered.
    #[error("SASL mechanism was not offered")]
    Mechanism,
    /// A message out of form.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// Something of RFC 5802 that is not supported here.
    #[error("SCRAM message asks for what is not supported: {0}")]
    Unsupported(&'static str),
    /// The driver says that the server offers no channel binding, but it does: somebody between
    /// the two has changed the offer.
    #[error("driver believes that channel binding was not offered: possible downgrade attack")]
    Downgrade,
    /// The driver is bound to another TLS certificate.
    #[error("SCRAM channel binding does not match")]
    ChannelBinding,
    /// The nonce is not the one of this exchange.
    #[error("SCRAM nonce does not match")]
    Nonce,
    /// The password is wrong, or the user unknown.
    #[error("SCRAM proof is wrong")]
    Proof,
    /// A step out of turn.
    #[error("SCRAM message out of turn")]
    OutOfTurn,
}

impl ScramError {
    /// Whether the driver broke the protocol (08P01), rather than failed to prove itself (28P01).
    pub fn is_protocol_violation(self) -> bool {
        !matches!(self, Self::Proof)
    }
}

/// One login.
pub struct Server {
    verifier: Verifier,
    /// The server's part of the nonce, printable.
    nonce: String,
    /// What tls-server-end-point gives for our certificate; present when PLUS was offered.
    channel_binding: Option<Vec<u8>>,
    exchanged: Option<Exchanged>,
}

/// What `first` leaves for `last`.
struct Exchanged {
    client_first_bare: Vec<u8>,
    server_first: String,
    /// Both nonces, one after the other.
    nonce: String,
    /// What client-final's `c=` must hold, base64.
    binding: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scram::Server(..)")
    }
}

impl Server {
    /// A login against this verifier. `nonce` is fresh randomness. `channel_binding` is what
    /// [`tls_server_end_point`] gives for the certificate of this TLS connection; `Some` exactly
    /// if SCRAM-SHA-256-PLUS was offered to the driver.
    pub fn new(
        verifier: Verifier,
        nonce: &[u8; NONCE_BYTES],
        channel_binding: Option<Vec<u8>>,
    ) -> Self {
        let nonce = base64_simd::STANDARD.encode_to_string(nonce);
        Self {
            verifier,
            nonce,
            channel_binding,
            exchanged: None,
        }
    }

    /// The mechanisms to offer, the preferred one first.
    pub fn mechanisms(channel_binding: bool) -> &'static [&'static str] {
        if channel_binding {
            &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256]
        } else {
            &[SCRAM_SHA_256]
        }
    }

    /// Takes the mechanism that the driver chose and its client-first message; gives the
    /// server-first message, to be sent as AuthenticationSASLContinue.
    pub fn first(&mut self, mechanism: &str, client_first: &[u8]) -> Result<Vec<u8>, ScramError> {
        if self.exchanged.is_some() {
            return Err(ScramError::OutOfTurn);
        }
        let plus = match mechanism {
            SCRAM_SHA_256 => false,
            SCRAM_SHA_256_PLUS if self.channel_binding.is_some() => true,
            _ => return Err(ScramError::Mechanism),
        };
        let first = parse_client_first(client_first)?;
        let binding = self.binding(plus, first.flag)?;
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let salt = base64_simd::STANDARD.encode_to_string(self.verifier.salt());
        let server_first = format!("r={nonce},s={salt},i={}", self.verifier.iterations());
        let answer = server_first.clone().into_bytes();
        let client_first_bare = first.bare.to_vec();
        self.exchanged = Some(Exchanged {
            client_first_bare,
            server_first,
            nonce,
            binding,
        });
        Ok(answer)
    }

    /// What `c=` must hold: the GS2 header, and the channel binding if there is one.
    fn binding(&self, plus: bool, flag: BindingFlag<'_>) -> Result<String, ScramError> {
        let mut bytes = match (flag, plus) {
            (BindingFlag::None, false) => b"n,,".to_vec(),
            (BindingFlag::NotOffered, false) if self.channel_binding.is_some() => {
                return Err(ScramError::Downgrade);
            }
            (BindingFlag::NotOffered, false) => b"y,,".to_vec(),
            (BindingFlag::Bound(name), true) => {
                if name != "tls-server-end-point" {
                    return Err(ScramError::Unsupported("channel binding type"));
                }
                b"p=tls-server-end-point,,".to_vec()
            }
            _ => {
                return Err(ScramError::Malformed(
                    "channel binding flag of another mechanism",
                ));
            }
        };
        if plus {
            bytes.extend_from_slice(self.channel_binding.as_deref().unwrap_or_default());
        }
        Ok(base64_simd::STANDARD.encode_to_string(&bytes))
    }

    /// Takes the client-final message; gives the server-final message, to be sent as
    /// AuthenticationSASLFinal, if the driver has proven that it knows the password.
    pub fn last(self, client_final: &[u8]) -> Result<Vec<u8>, ScramError> {
        let exchanged = self.exchanged.ok_or(ScramError::OutOfTurn)?;
        let last = parse_client_final(client_final)?;
        if !equal(last.binding.as_bytes(), exchanged.binding.as_bytes()) {
            return Err(ScramError::ChannelBinding);
        }
        if !equal(last.nonce.as_bytes(), exchanged.nonce.as_bytes()) {
            return Err(ScramError::Nonce);
        }
        let mut auth_message = exchanged.client_first_bare;
        for part in [exchanged.server_first.as_str(), last.without_proof] {
            auth_message.push(b',');
            auth_message.extend_from_slice(part.as_bytes());
        }
        let signature = sign(self.verifier.stored_key(), &auth_message);
        let mut client_key = zeroize::Zeroizing::new([0; KEY_BYTES]);
        for ((key, proof), signature) in client_key.iter_mut().zip(last.proof).zip(signature) {
            *key = proof ^ signature;
        }
        let stored_key = digest::digest(&digest::SHA256, client_key.as_slice());
        let proven = equal(stored_key.as_ref(), self.verifier.stored_key());
        if !proven || self.verifier.is_mock() {
            return Err(ScramError::Proof);
        }
        let signature = sign(self.verifier.server_key(), &auth_message);
        Ok(format!("v={}", base64_simd::STANDARD.encode_to_string(signature)).into_bytes())
    }
}

/// HMAC-SHA-256.
pub(crate) fn sign(key: &[u8], message: &[u8]) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; KEY_BYTES];
    for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    bytes
}

/// Comparison in constant time; lengths are no secret.
fn equal(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

/// The first letter of the GS2 header.
#[derive(Clone, Copy)]
enum BindingFlag<'a> {
    /// `n`: the driver has no channel binding.
    None,
    /// `y`: it has, and believes that the server has not.
    NotOffered,
    /// `p=`: it uses this type.
    Bound(&'a str),
}

struct ClientFirst<'a> {
    flag: BindingFlag<'a>,
    /// What follows the GS2 header.
    bare: &'a [u8],
    nonce: &'a str,
}

fn parse_client_first(message: &[u8]) -> Result<ClientFirst<'_>, ScramError> {
    let text = checked_text(message)?;
    let (flag, rest) = text
        .split_once(',')
        .ok_or(ScramError::Malformed("no GS2 header"))?;
    let flag = match flag {
        "n" => BindingFlag::None,
        "y" => BindingFlag::NotOffered,
        _ => BindingFlag::Bound(
            flag.strip_prefix("p=")
                .ok_or(ScramError::Malformed("channel binding flag"))?,
        ),
    };
    let (identity, bare) = rest
        .split_once(',')
        .ok_or(ScramError::Malformed("no GS2 header"))?;
    if !identity.is_empty() {
        return Err(ScramError::Unsupported("authorization identity"));
    }
    if bare.starts_with("m=") {
        return Err(ScramError::Unsupported("mandatory extension"));
    }
    let mut attributes = bare.split(',');
    attribute(attributes.next(), "n=", "no user name")?;
    let nonce = attribute(attributes.next(), "r=", "no nonce")?;
    if nonce.is_empty() || !nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err(ScramError::Malformed(
            "nonce has characters that are not printable",
        ));
    }
    check_extensions(attributes)?;
    Ok(ClientFirst {
        flag,
        bare: bare.as_bytes(),
        nonce,
    })
}

struct ClientFinal<'a> {
    binding: &'a str,
    nonce: &'a str,
    proof: [u8; KEY_BYTES],
    /// Everything before `,p=`.
    without_proof: &'a str,
}

fn parse_client_final(message: &[u8]) -> Result<ClientFinal<'_>, ScramError> {
    let text = checked_text(message)?;
    let (without_proof, last) = text
        .rsplit_once(',')
        .ok_or(ScramError::Malformed("no proof"))?;
    let proof = attribute(Some(last), "p=", "no proof at the end")?;
    let proof = base64_simd::STANDARD
        .decode_to_vec(proof)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(ScramError::Malformed("proof"))?;
    let mut attributes = without_proof.split(',');
    let binding = attribute(attributes.next(), "c=", "no channel binding")?;
    let nonce = attribute(attributes.next(), "r=", "no nonce")?;
    check_extensions(attributes)?;
    Ok(ClientFinal {
        binding,
        nonce,
        proof,
        without_proof,
    })
}

fn checked_text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > SASL_BYTES_MAX {
        return Err(ScramError::Malformed("longer than 1024 bytes"));
    }
    let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))?;
    if text.contains('\0') {
        Err(ScramError::Malformed("zero byte"))
    } else {
        Ok(text)
    }
}

fn attribute<'a>(
    part: Option<&'a str>,
    prefix: &'static str,
    missing: &'static str,
) -> Result<&'a str, ScramError> {
    part.and_then(|part| part.strip_prefix(prefix))
        .ok_or(ScramError::Malformed(missing))
}

/// Optional extensions are ignored, but must be attributes: a letter, `=`, a value.
fn check_extensions<'a>(mut parts: impl Iterator<Item = &'a str>) -> Result<(), ScramError> {
    let well_formed =
        |part: &str| matches!(part.as_bytes(), [letter, b'=', ..] if letter.is_ascii_alphabetic());
    if parts.all(well_formed) {
        Ok(())
    } else {
        Err(ScramError::Malformed("extension"))
    }
}

#[cfg(test)]
mod tests;
