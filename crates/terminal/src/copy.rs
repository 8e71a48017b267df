//! What a terminal's broker and the gate say to each other about a file that is to go to a company
//! medium (`docs/format/terminal.md`): frames as in [`crate::wire`], on a connection of their own.
//!
//! The broker offers, a person confirms the code in a session through the same terminal, the broker
//! sends the bytes, the gate judges them. The gate reads them itself: what a terminal says about a
//! file would be the word of whoever holds the terminal.

use crate::cbor::{In, Out, canonical};
use crate::report::{FINDINGS_MAX, TEXT_BYTES_MAX};
use crate::token::CLIENT_BYTES_MAX;
use crate::{Malformed, wire};

/// TLS application protocol of copies.
pub const ALPN_COPY: &[u8] = b"sekisho-copy/1";
/// Bytes of a file.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a file's name (linux/limits.h).
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a part of a file in one message.
pub const PART_BYTES_MAX: usize = 32 << 10;
/// Letters of a code.
pub const CODE_LETTERS: usize = 8;
/// What a code is made of: 32 letters and digits that nobody mistakes for each other.
pub const CODE_ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// How long a person may take to confirm.
pub const CONFIRM_MS_MAX: u64 = 300_000;

/// A file that is to go to a company medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The code that a person confirms.
    pub code: String,
    /// The grant that is to pay for it.
    pub grant: u32,
    /// Code of the client whose data may be on the medium, from its token.
    pub client: String,
    /// The token's number of the medium.
    pub medium: [u8; 16],
    /// Bytes of the file.
    pub bytes: u64,
    /// Its name on the medium.
    pub name: String,
}

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromBroker {
    /// First.
    Offer(Offer),
    /// The next bytes of the file.
    Part(Vec<u8>),
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToBroker {
    /// Somebody confirmed: the bytes may come.
    Confirmed,
    /// The judgement; the last message.
    Judged {
        /// Whether the file may be written; recorded before this was said.
        may: bool,
        /// Why not; empty if it may.
        why: String,
        /// Distinct people in it.
        subjects: u64,
        /// Distinct values, by class (code of a cell's class) and number.
        findings: Vec<(u8, u32)>,
    },
}

impl FromBroker {
    /// The bytes of a frame, without its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new();
        match self {
            Self::Offer(it) => {
                out.array(8).uint(wire::VERSION).uint(1u8).text(&it.code);
                out.uint(it.grant).text(&it.client).bytes(&it.medium);
                out.uint(it.bytes).text(&it.name);
            }
            Self::Part(bytes) => {
                out.array(3).uint(wire::VERSION).uint(2u8).bytes(bytes);
            }
        }
        out.done()
    }

    /// Reads a frame's bytes.
    ///
    /// # Errors
    /// Anything but the deterministic encoding of a known message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = In::new(bytes);
        let length = from.length(8, "message")?;
        wire::version(&mut from)?;
        let message = match (from.uint::<u64>("message")?, length) {
            (1, 8) => Self::Offer(Offer {
                code: from.text(CODE_LETTERS, "code")?,
                grant: from.uint("grant")?,
                client: from.text(CLIENT_BYTES_MAX, "client")?,
                medium: from.fixed("medium")?,
                bytes: from.uint("bytes")?,
                name: from.text(NAME_BYTES_MAX, "name")?,
            }),
            (2, 3) => Self::Part(from.bytes(PART_BYTES_MAX, "part")?.to_vec()),
            _ => return Err(Malformed::Field("message")),
        };
        canonical(bytes, message, Self::encode)
    }
}

impl ToBroker {
    /// The bytes of a frame, without its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new();
        match self {
            Self::Confirmed => {
                out.array(2).uint(wire::VERSION).uint(1u8);
            }
            Self::Judged {
                may,
                why,
                subjects,
                findings,
            } => {
                out.array(6).uint(wire::VERSION).uint(2u8).flag(*may);
                out.text(why).uint(*subjects);
                out.list(findings, |out, (class, count)| {
                    out.array(2).uint(*class).uint(*count);
                });
            }
        }
        out.done()
    }

    /// Reads a frame's bytes.
    ///
    /// # Errors
    /// Anything but the deterministic encoding of a known message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = In::new(bytes);
        let length = from.length(6, "message")?;
        wire::version(&mut from)?;
        let message = match (from.uint::<u64>("message")?, length) {
            (1, 2) => Self::Confirmed,
            (2, 6) => Self::Judged {
                may: from.flag("verdict")?,
                why: from.text(TEXT_BYTES_MAX, "reason")?,
                subjects: from.uint("subjects")?,
                findings: from.list(FINDINGS_MAX, "findings", |from| {
                    from.array(2, "finding")?;
                    Ok((from.uint("class")?, from.uint("count")?))
                })?,
            },
            _ => return Err(Malformed::Field("message")),
        };
        canonical(bytes, message, Self::encode)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from_broker() -> [FromBroker; 2] {
        [
            FromBroker::Offer(Offer {
                code: "ABCD2345".to_owned(),
                grant: 7,
                client: "acme".to_owned(),
                medium: [3; 16],
                bytes: 1 << 20,
                name: "list.csv".to_owned(),
            }),
            FromBroker::Part(vec![1; PART_BYTES_MAX]),
        ]
    }

    fn to_broker() -> [ToBroker; 2] {
        [
            ToBroker::Confirmed,
            ToBroker::Judged {
                may: false,
                why: "there is a fictitious person in it".to_owned(),
                subjects: 40,
                findings: vec![(1, 40), (4, 39)],
            },
        ]
    }

    #[test]
    fn messages_read_back_and_no_other_encoding_does() {
        for message in from_broker() {
            let bytes = message.encode();
            assert_eq!(FromBroker::decode(&bytes).unwrap(), message);
            assert!(FromBroker::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
            assert!(wire::frame(&bytes).is_ok());
        }
        for message in to_broker() {
            let bytes = message.encode();
            assert_eq!(ToBroker::decode(&bytes).unwrap(), message);
            assert!(ToBroker::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        let long = FromBroker::Part(vec![0; PART_BYTES_MAX + 1]).encode();
        assert!(FromBroker::decode(&long).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_give_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = FromBroker::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes.clone());
            }
            if let Ok(message) = ToBroker::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes.clone());
            }
        }
    }
}
