//! Company media. A medium is the company's if a token on it is signed by a key of the policy for this
//! serial and this size; a serial alone is a claim that any stick can make.
//!
//! The token stands at byte 65,536 of the medium, outside of all partitions: behind a GPT of 512 or 4096
//! byte sectors and before the first megabyte, where partitions begin. Layout: `docs/format/terminal.md`.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde::Serialize;

use crate::Malformed;
use crate::cbor::{In, Out, canonical};
use crate::device::SERIAL_BYTES_MAX;

/// Where the token begins, in bytes from the medium's start.
pub const TOKEN_OFFSET: u64 = 65_536;
/// Bytes of the block in which it stands.
pub const TOKEN_BYTES: usize = 1024;
/// Bytes of the client's code.
pub const CLIENT_BYTES_MAX: usize = 64;

const MAGIC: &[u8; 16] = b"sekisho.token\0v1";
const CONTEXT: &[u8] = b"sekisho token v1\0";
const SIGNATURE_BYTES: usize = 64;
const BODY_BYTES_MAX: usize = TOKEN_BYTES - MAGIC.len() - 2 - SIGNATURE_BYTES;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// The serial, as the device says it.
    pub serial: String,
    /// The medium's size in bytes.
    pub size: u64,
    /// Its own number, random.
    pub id: [u8; 16],
    /// Code of the client whose data may be on it.
    pub client: String,
    /// Valid until, ms since 1970 UTC.
    pub until_ms: u64,
}

/// The medium that a token was read from.
#[derive(Debug, Clone, Copy)]
pub struct Medium<'a> {
    /// The serial, as the device says it.
    pub serial: &'a str,
    /// Its size in bytes, as the kernel has it.
    pub size: u64,
}

/// Why a block holds no token that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("there is no token on the medium")]
    Missing,
    /// There is something that is none.
    #[error("the token is damaged: {0}")]
    Malformed(#[from] Malformed),
    /// No key of the policy signed it.
    #[error("no key of the policy signed the token")]
    Signature,
    /// It is of another device.
    #[error("the token was made for another serial: copied from another medium")]
    Serial,
    /// It is of another medium.
    #[error("the token was made for a medium of another size: copied from another medium")]
    Size,
    /// Its time is over.
    #[error("the token has expired; have the medium signed again")]
    Expired,
    /// A field is too long to be written.
    #[error("the token's serial or client is too long")]
    TooLong,
}

impl Token {
    fn body(&self) -> Vec<u8> {
        let mut out = Out::new();
        out.array(6)
            .uint(1u8)
            .text(&self.serial)
            .uint(self.size)
            .bytes(&self.id);
        out.text(&self.client).uint(self.until_ms);
        out.done()
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = In::new(bytes);
        from.array(6, "token")?;
        match from.uint::<u64>("token version")? {
            1 => {}
            other => return Err(Malformed::Version(other)),
        }
        let token = Self {
            serial: from.text(SERIAL_BYTES_MAX, "token serial")?,
            size: from.uint("token size")?,
            id: from.fixed("token id")?,
            client: from.text(CLIENT_BYTES_MAX, "token client")?,
            until_ms: from.uint("token until")?,
        };
        canonical(bytes, token, Self::body)
    }

    /// What is signed: `sekisho token v1`, a zero byte, the body.
    #[must_use]
    pub fn to_sign(&self) -> Vec<u8> {
        let mut out = CONTEXT.to_vec();
        out.extend_from_slice(&self.body());
        out
    }

    /// The block to write at [`TOKEN_OFFSET`].
    ///
    /// # Errors
    /// A serial or client that is too long.
    pub fn block(&self, signature: &[u8; 64]) -> Result<[u8; TOKEN_BYTES], TokenError> {
        let body = self.body();
        if self.serial.len() > SERIAL_BYTES_MAX
            || self.client.len() > CLIENT_BYTES_MAX
            || body.len() > BODY_BYTES_MAX
        {
            return Err(TokenError::TooLong);
        }
        let length = u16::try_from(body.len()).map_err(|_| TokenError::TooLong)?;
        let mut out = [0; TOKEN_BYTES];
        let parts: [&[u8]; 4] = [MAGIC, &length.to_be_bytes(), &body, signature];
        let mut at = 0;
        for part in parts {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(out)
    }
}

/// The token in `block` (what stands at [`TOKEN_OFFSET`]), if a key signed it for this medium and its
/// time is not over.
///
/// # Errors
/// Why it does not count.
pub fn verify(
    block: &[u8],
    keys: &[[u8; 32]],
    medium: Medium<'_>,
    now_ms: u64,
) -> Result<Token, TokenError> {
    let rest = block
        .strip_prefix(MAGIC.as_slice())
        .ok_or(TokenError::Missing)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(TokenError::Missing)?;
    let (body, rest) = rest
        .split_at_checked(u16::from_be_bytes(*length).into())
        .ok_or(Malformed::Field("token length"))?;
    let signature = rest
        .get(..SIGNATURE_BYTES)
        .ok_or(Malformed::Field("token signature"))?;
    let token = Token::read(body)?;
    let signed = token.to_sign();
    if !keys.iter().any(|key| {
        UnparsedPublicKey::new(&ED25519, key)
            .verify(&signed, signature)
            .is_ok()
    }) {
        return Err(TokenError::Signature);
    }
    // An empty serial binds to nothing.
    if token.serial.is_empty() || token.serial != medium.serial {
        return Err(TokenError::Serial);
    }
    if token.size != medium.size {
        return Err(TokenError::Size);
    }
    if now_ms > token.until_ms {
        return Err(TokenError::Expired);
    }
    Ok(token)
}

#[cfg(test)]
mod tests;
