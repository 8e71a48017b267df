//! Start-up packets: what a driver sends before any message with a type byte.
//!
//! Invariants: at most [`STARTUP_BYTES_MAX`] bytes are looked at or asked for, as in PostgreSQL
//! (MAX_STARTUP_PACKET_LENGTH). Whether the version and its options are supported is the
//! caller's to judge; [`crate::backend::write_negotiate_protocol_version`] answers.

use std::fmt;

use bytes::{BufMut, BytesMut};

use crate::wire::{DecodeError, EncodeError, Reader, patch_length, put_string};

/// The longest start-up packet, in bytes, its length field included.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// Options with this prefix belong to the protocol, not to the session.
pub const PROTOCOL_OPTION_PREFIX: &str = "_pq_.";

/// The shortest and longest secret of a cancel request in bytes (protocol 3.0 has 4).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 4..=256;

const CODE_MAJOR: u16 = 1234;
const MINOR_CANCEL: u16 = 5678;
const MINOR_SSL: u16 = 5679;
const MINOR_GSS: u16 = 5680;

/// What a driver opens a connection with.
#[derive(Clone, PartialEq, Eq)]
pub enum StartupPacket {
    /// The session's start.
    Startup {
        /// Major version; 3 is the only one in use.
        major: u16,
        /// Minor version.
        minor: u16,
        /// Names and values as sent: `user`, `database`, settings, `_pq_.` options.
        parameters: Vec<(String, String)>,
    },
    /// Asks for TLS; answered with one byte, `S` or `N`.
    SslRequest,
    /// Asks for GSSAPI encryption; answered with one byte, `G` or `N`.
    GssEncRequest,
    /// Asks to cancel what another session runs; never answered.
    Cancel {
        /// The process id of that session.
        pid: i32,
        /// Its secret: compare in constant time.
        secret: Vec<u8>,
    },
}

impl StartupPacket {
    /// The value of a start-up parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        match self {
            Self::Startup { parameters, .. } => parameters
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str()),
            _ => None,
        }
    }

    /// The `_pq_.` options that were asked for, with their prefix.
    pub fn protocol_options(&self) -> impl Iterator<Item = &str> {
        let parameters = match self {
            Self::Startup { parameters, .. } => parameters.as_slice(),
            _ => &[],
        };
        parameters
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| name.starts_with(PROTOCOL_OPTION_PREFIX))
    }

    /// Writes the packet.
    pub fn write(&self, buf: &mut BytesMut) -> Result<(), EncodeError> {
        let start = buf.len();
        buf.put_i32(0);
        let written = self.write_body(buf).and_then(|()| patch_length(buf, start));
        if written.is_err() {
            buf.truncate(start);
        }
        written
    }

    fn write_body(&self, buf: &mut BytesMut) -> Result<(), EncodeError> {
        let mut version = |major: u16, minor: u16| {
            buf.put_u16(major);
            buf.put_u16(minor);
        };
        match self {
            Self::Startup {
                major,
                minor,
                parameters,
            } => {
                version(*major, *minor);
                for (name, value) in parameters {
                    put_string(buf, name.as_bytes())?;
                    put_string(buf, value.as_bytes())?;
                }
                buf.put_u8(0);
            }
            Self::SslRequest => version(CODE_MAJOR, MINOR_SSL),
            Self::GssEncRequest => version(CODE_MAJOR, MINOR_GSS),
            Self::Cancel { pid, secret } => {
                version(CODE_MAJOR, MINOR_CANCEL);
                buf.put_i32(*pid);
                buf.put_slice(secret);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for StartupPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Startup { major, minor, .. } => write!(f, "Startup({major}.{minor} ..)"),
            Self::SslRequest => f.write_str("SslRequest"),
            Self::GssEncRequest => f.write_str("GssEncRequest"),
            Self::Cancel { pid, .. } => write!(f, "Cancel({pid} ..)"),
        }
    }
}

/// What stands at the front of a fresh connection's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartupStep {
    /// A whole packet.
    Packet {
        /// The packet.
        packet: StartupPacket,
        /// How far to advance, in bytes. After `SslRequest` and `GssEncRequest` the buffer must
        /// be empty beyond it: bytes sent ahead of encryption are an attack (CVE-2021-23214).
        total: usize,
    },
    /// A part of one.
    NeedMore {
        /// How many further bytes must come, at least.
        at_least: usize,
    },
}

/// Why a start-up packet is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length field is below 8 or above [`STARTUP_BYTES_MAX`].
    #[error("invalid length of start-up packet")]
    Length,
    /// A name or value is not UTF-8.
    #[error("start-up packet: a parameter is not valid UTF-8")]
    NotUtf8,
    /// Anything else out of form.
    #[error(transparent)]
    Layout(#[from] DecodeError),
}

/// Looks at the front of `buf` for a start-up packet.
pub fn next_startup(buf: &[u8]) -> Result<StartupStep, StartupError> {
    let Some((length, rest)) = buf.split_first_chunk::<4>() else {
        return Ok(StartupStep::NeedMore {
            at_least: 4 - buf.len(),
        });
    };
    let total = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| StartupError::Length)?;
    if !(8..=STARTUP_BYTES_MAX).contains(&total) {
        return Err(StartupError::Length);
    }
    match rest.get(..total - 4) {
        None => Ok(StartupStep::NeedMore {
            at_least: total - buf.len(),
        }),
        Some(body) => Ok(StartupStep::Packet {
            packet: decode(body)?,
            total,
        }),
    }
}

fn decode(body: &[u8]) -> Result<StartupPacket, StartupError> {
    let mut reader = Reader::new("start-up", body);
    let (major, minor) = (reader.u16()?, reader.u16()?);
    let packet = match (major, minor) {
        (CODE_MAJOR, MINOR_SSL) => StartupPacket::SslRequest,
        (CODE_MAJOR, MINOR_GSS) => StartupPacket::GssEncRequest,
        (CODE_MAJOR, MINOR_CANCEL) => {
            let pid = reader.i32()?;
            let secret = reader.rest();
            if !SECRET_BYTES.contains(&secret.len()) {
                return Err(reader.invalid("cancel secret").into());
            }
            StartupPacket::Cancel {
                pid,
                secret: secret.to_vec(),
            }
        }
        // Another major version has a layout of its own; the caller refuses it by its number.
        _ if major != 3 => {
            reader.rest();
            StartupPacket::Startup {
                major,
                minor,
                parameters: Vec::new(),
            }
        }
        _ => {
            let parameters = decode_parameters(&mut reader)?;
            StartupPacket::Startup {
                major,
                minor,
                parameters,
            }
        }
    };
    reader.finish()?;
    Ok(packet)
}

fn decode_parameters(reader: &mut Reader<'_>) -> Result<Vec<(String, String)>, StartupError> {
    let text = |bytes: &[u8]| {
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| StartupError::NotUtf8)
    };
    let mut parameters = Vec::new();
    loop {
        let name = reader.string()?;
        if name.is_empty() {
            return Ok(parameters);
        }
        parameters.push((text(name)?, text(reader.string()?)?));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(packet: &StartupPacket) -> BytesMut {
        let mut buf = BytesMut::new();
        packet.write(&mut buf).unwrap();
        buf
    }

    #[test]
    fn packets_round_trip() {
        let parameters = vec![
            ("user".to_owned(), "operator1".to_owned()),
            ("_pq_.magic".to_owned(), String::new()),
        ];
        for packet in [
            StartupPacket::Startup {
                major: 3,
                minor: 2,
                parameters,
            },
            StartupPacket::SslRequest,
            StartupPacket::GssEncRequest,
            StartupPacket::Cancel {
                pid: -7,
                secret: vec![0; 4],
            },
            StartupPacket::Cancel {
                pid: 7,
                secret: vec![9; 256],
            },
        ] {
            let bytes = written(&packet);
            let total = bytes.len();
            assert_eq!(
                next_startup(&bytes),
                Ok(StartupStep::Packet {
                    packet: packet.clone(),
                    total
                })
            );
            assert_eq!(
                next_startup(&bytes[..total - 1]),
                Ok(StartupStep::NeedMore { at_least: 1 })
            );
        }
    }

    #[test]
    fn options_of_the_protocol_are_found() {
        let packet = StartupPacket::Startup {
            major: 3,
            minor: 0,
            parameters: vec![
                ("user".to_owned(), "a".to_owned()),
                ("_pq_.x".to_owned(), "1".to_owned()),
            ],
        };
        assert_eq!(packet.protocol_options().collect::<Vec<_>>(), ["_pq_.x"]);
        assert_eq!(packet.parameter("user"), Some("a"));
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(next_startup(b"\0\0\0\x07"), Err(StartupError::Length));
        assert_eq!(
            next_startup(&10_001i32.to_be_bytes()),
            Err(StartupError::Length)
        );
        assert_eq!(
            next_startup(&10_000i32.to_be_bytes()),
            Ok(StartupStep::NeedMore { at_least: 9_996 })
        );
        assert_eq!(next_startup(b"\xff\xff\xff\xff"), Err(StartupError::Length));
        for len in [3, 257] {
            let cancel = StartupPacket::Cancel {
                pid: 1,
                secret: vec![1; len],
            };
            assert!(matches!(
                next_startup(&written(&cancel)),
                Err(StartupError::Layout(_))
            ));
        }
    }

    #[test]
    fn layout_errors() {
        let packet = |body: &[u8]| {
            let mut bytes = u32::try_from(body.len() + 4)
                .unwrap()
                .to_be_bytes()
                .to_vec();
            bytes.extend(body);
            next_startup(&bytes)
        };
        assert!(packet(b"\0\x03\0\0user\0a\0\0").is_ok());
        assert!(packet(b"\0\x03\0\0user\0a\0").is_err(), "no terminator");
        assert!(
            packet(b"\0\x03\0\0user\0a\0\0x").is_err(),
            "bytes after the terminator"
        );
        assert!(packet(b"\0\x03\0\0user\0").is_err(), "no value");
        assert_eq!(
            packet(b"\0\x03\0\0user\0\xff\0\0"),
            Err(StartupError::NotUtf8)
        );
        assert!(
            packet(b"\x04\xd2\x16\x2fx").is_err(),
            "a TLS request is eight bytes"
        );
        assert!(
            packet(b"\0\x02\0\0anything").is_ok(),
            "refused by its number"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let packet = StartupPacket::Cancel {
            pid: 5,
            secret: b"abcd".to_vec(),
        };
        assert_eq!(format!("{packet:?}"), "Cancel(5 ..)");
    }
}
