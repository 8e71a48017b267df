//! What agent and gate say to each other inside TLS (`docs/format/terminal.md`): frames of a 4-byte
//! big-endian length and one CBOR value.

use crate::cbor::{In, Out, canonical};
use crate::policy::POLICY_BYTES_MAX;
use crate::report::REPORT_BYTES_MAX;
use crate::{Digest, Malformed};

/// TLS application protocol of reports.
pub const ALPN_TERMINAL: &[u8] = b"sekisho-terminal/1";
/// TLS application protocol of a session of PostgreSQL's protocol.
pub const ALPN_SESSION: &[u8] = b"sekisho-session/1";
/// The version of these messages.
pub const VERSION: u8 = 1;
/// Bytes of a frame without its length.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Reports that an agent sends before the first of them is acknowledged.
pub const UNACKNOWLEDGED_MAX: usize = 128;
/// Bytes of a terminal's name.
pub const TERMINAL_NAME_BYTES_MAX: usize = 64;

/// The agent's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What the terminal calls itself.
    pub name: String,
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// The sequence number of the oldest report that was not acknowledged, or of the next one.
    pub next: u64,
    /// Digest of the report before it; zeros if there was none.
    pub last: Digest,
    /// The agent's clock, ms since 1970 UTC.
    pub at_ms: u64,
    /// Ms since the kernel's start, sleep included.
    pub uptime_ms: u64,
}

/// What a terminal is to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not known, and no place to wait.
    Unknown,
    /// Waits for approval.
    Waiting,
    /// Approved: its reports are taken.
    Approved,
    /// Retired: nothing is taken.
    Retired,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromAgent {
    /// Who it is and where its reports are.
    Hello(Hello),
    /// One report, as it was hashed.
    Report(Vec<u8>),
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromGate {
    /// The answer to Hello.
    Welcome {
        /// What the terminal is to the gate.
        standing: Standing,
        /// The last report that is durable; 0: none.
        acknowledged: u64,
        /// How often a heartbeat is wanted.
        heartbeat_ms: u32,
        /// The policy that should be in force there; zeros: none yet.
        policy: Digest,
    },
    /// A policy to take.
    Policy {
        /// TOML, as [`crate::policy::Policy::parse`] reads it.
        text: String,
    },
    /// Reports up to this one are durable.
    Ack {
        /// The last of them.
        sequence: u64,
    },
}

impl FromAgent {
    /// The bytes of a frame, without its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new();
        match self {
            Self::Hello(it) => {
                out.array(8)
                    .uint(VERSION)
                    .uint(1u8)
                    .text(&it.name)
                    .bytes(&it.boot);
                out.uint(it.next)
                    .bytes(&it.last)
                    .uint(it.at_ms)
                    .uint(it.uptime_ms);
            }
            Self::Report(bytes) => {
                out.array(3).uint(VERSION).uint(2u8).bytes(bytes);
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
        version(&mut from)?;
        let message = match (from.uint::<u64>("message")?, length) {
            (1, 8) => Self::Hello(Hello {
                name: from.text(TERMINAL_NAME_BYTES_MAX, "name")?,
                boot: from.fixed("boot")?,
                next: from.uint("next")?,
                last: from.fixed("last")?,
                at_ms: from.uint("time")?,
                uptime_ms: from.uint("uptime")?,
            }),
            (2, 3) => Self::Report(from.bytes(REPORT_BYTES_MAX, "report")?.to_vec()),
            (1 | 2, _) => return Err(Malformed::Field("message")),
            (code, _) => {
                return Err(Malformed::Code {
                    what: "message",
                    code,
                });
            }
        };
        canonical(bytes, message, Self::encode)
    }
}

impl FromGate {
    /// The bytes of a frame, without its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new();
        match self {
            Self::Welcome {
                standing,
                acknowledged,
                heartbeat_ms,
                policy,
            } => {
                out.array(6).uint(VERSION).uint(1u8).uint(standing.code());
                out.uint(*acknowledged).uint(*heartbeat_ms).bytes(policy);
            }
            Self::Policy { text } => {
                out.array(3).uint(VERSION).uint(2u8).text(text);
            }
            Self::Ack { sequence } => {
                out.array(3).uint(VERSION).uint(3u8).uint(*sequence);
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
        version(&mut from)?;
        let message = match (from.uint::<u64>("message")?, length) {
            (1, 6) => Self::Welcome {
                standing: Standing::from_code(from.uint("standing")?)?,
                acknowledged: from.uint("acknowledged")?,
                heartbeat_ms: from.uint("heartbeat")?,
                policy: from.fixed("policy")?,
            },
            (2, 3) => Self::Policy {
                text: from.text(POLICY_BYTES_MAX, "policy")?,
            },
            (3, 3) => Self::Ack {
                sequence: from.uint("sequence")?,
            },
            (1..=3, _) => return Err(Malformed::Field("message")),
            (code, _) => {
                return Err(Malformed::Code {
                    what: "message",
                    code,
                });
            }
        };
        canonical(bytes, message, Self::encode)
    }
}

pub(crate) fn version(from: &mut In<'_>) -> Result<(), Malformed> {
    match from.uint::<u64>("version")? {
        1 => Ok(()),
        other => Err(Malformed::Version(other)),
    }
}

impl Standing {
    fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Waiting => 1,
            Self::Approved => 2,
            Self::Retired => 3,
        }
    }

    fn from_code(code: u64) -> Result<Self, Malformed> {
        match code {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Waiting),
            2 => Ok(Self::Approved),
            3 => Ok(Self::Retired),
            _ => Err(Malformed::Code {
                what: "standing",
                code,
            }),
        }
    }
}

/// A frame: the length of `message`, then `message`.
///
/// # Errors
/// A message longer than [`FRAME_BYTES_MAX`].
pub fn frame(message: &[u8]) -> Result<Vec<u8>, Malformed> {
    let length = u32::try_from(message.len())
        .ok()
        .filter(|_| message.len() <= FRAME_BYTES_MAX)
        .ok_or(Malformed::TooLong {
            what: "frame",
            max: FRAME_BYTES_MAX,
        })?;
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(message);
    Ok(out)
}

/// The first frame's message in what was read so far, and how many bytes it took; `None`: read on.
/// At most `4 + FRAME_BYTES_MAX` bytes need to be held.
///
/// # Errors
/// A length above [`FRAME_BYTES_MAX`], as soon as it is there, or an empty frame.
pub fn unframe(read: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    let Some((length, rest)) = read.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(Malformed::TooLong {
            what: "frame",
            max: FRAME_BYTES_MAX,
        });
    }
    if length == 0 {
        return Err(Malformed::Field("frame"));
    }
    Ok(rest.get(..length).map(|message| (message, 4 + length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Hello {
        Hello {
            name: "seat-14".to_owned(),
            boot: [7; 16],
            next: 42,
            last: [9; 32],
            at_ms: 1_795_000_000_000,
            uptime_ms: 60_000,
        }
    }

    fn from_gate() -> [FromGate; 3] {
        [
            FromGate::Welcome {
                standing: Standing::Approved,
                acknowledged: 41,
                heartbeat_ms: 20_000,
                policy: [3; 32],
            },
            FromGate::Policy {
                text: crate::policy::STANDARD.to_owned(),
            },
            FromGate::Ack { sequence: 42 },
        ]
    }

    #[test]
    fn messages_read_back_and_no_other_encoding_does() {
        for message in [FromAgent::Hello(hello()), FromAgent::Report(vec![1; 100])] {
            let bytes = message.encode();
            assert_eq!(FromAgent::decode(&bytes).unwrap(), message);
            assert!(FromAgent::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
            assert!(FromAgent::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        for message in from_gate() {
            let bytes = message.encode();
            assert_eq!(FromGate::decode(&bytes).unwrap(), message);
            assert!(FromGate::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        }
        for standing in [
            Standing::Unknown,
            Standing::Waiting,
            Standing::Approved,
            Standing::Retired,
        ] {
            assert_eq!(
                Standing::from_code(standing.code().into()).unwrap(),
                standing
            );
        }
        // 1 written in two bytes.
        assert_eq!(
            FromGate::decode(&[0x83, 1, 3, 0x18, 1]),
            Err(Malformed::NotCanonical)
        );
        assert_eq!(
            FromGate::decode(&[0x83, 2, 3, 1]),
            Err(Malformed::Version(2))
        );
        assert_eq!(
            FromGate::decode(&[0x83, 1, 9, 1]),
            Err(Malformed::Code {
                what: "message",
                code: 9
            })
        );
    }

    #[test]
    fn limits_are_kept() {
        let mut long = hello();
        long.name = "x".repeat(TERMINAL_NAME_BYTES_MAX + 1);
        assert!(matches!(
            FromAgent::decode(&FromAgent::Hello(long).encode()),
            Err(Malformed::TooLong { what: "name", .. })
        ));
        let report = FromAgent::Report(vec![0; REPORT_BYTES_MAX + 1]).encode();
        assert!(matches!(
            FromAgent::decode(&report),
            Err(Malformed::TooLong { .. })
        ));
        let policy = FromGate::Policy {
            text: "#".repeat(POLICY_BYTES_MAX),
        };
        let framed = frame(&policy.encode()).unwrap();
        assert!(framed.len() <= 4 + FRAME_BYTES_MAX);
        assert!(frame(&vec![0; FRAME_BYTES_MAX + 1]).is_err());
        // A length is refused before a byte of the message is there.
        assert!(unframe(&[0, 1, 0, 1]).is_err());
        assert!(unframe(&[0, 0, 0, 0]).is_err());
        assert_eq!(unframe(&[0, 1, 0, 0]).unwrap(), None);
    }

    #[test]
    fn frames_are_found_byte_by_byte() {
        let messages: Vec<Vec<u8>> = from_gate().iter().map(FromGate::encode).collect();
        let stream: Vec<u8> = messages.iter().flat_map(|it| frame(it).unwrap()).collect();
        let (mut held, mut found) = (Vec::new(), Vec::new());
        for byte in stream {
            held.push(byte);
            while let Some((message, took)) = unframe(&held).unwrap() {
                found.push(message.to_vec());
                held.drain(..took);
            }
        }
        assert_eq!(found, messages);
        assert!(held.is_empty());
    }

    proptest! {
        #[test]
        fn hostile_bytes_give_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // What reads is what would have been written.
            if let Ok(message) = FromAgent::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes.clone());
            }
            if let Ok(message) = FromGate::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes.clone());
            }
            let _ = unframe(&bytes);
        }

        #[test]
        fn a_changed_bit_never_reads_as_the_same(at in 0_usize..80, bit in 0_u8..8) {
            let message = FromAgent::Hello(hello());
            let mut bytes = message.encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(other) = FromAgent::decode(&bytes) {
                prop_assert_ne!(other, message);
            }
        }
    }
}
