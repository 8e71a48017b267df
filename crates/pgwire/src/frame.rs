//! The splitter: finds where messages begin and end in a stream of bytes.
//!
//! Invariants: it looks at five bytes a message and copies none; what it says depends only on
//! the bytes given, so a stream may be cut anywhere. Start-up packets, which have no type byte,
//! are in [`crate::startup`].

use std::fmt;

/// Bytes before a message's body: its type and its length.
pub const HEADER_BYTES: usize = 5;

/// One whole message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The type byte.
    pub tag: u8,
    /// What follows the length field.
    pub body: &'a [u8],
    /// Bytes from the type byte to the body's end: how far to advance.
    pub total: usize,
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:?} {} bytes)", char::from(self.tag), self.total)
    }
}

/// What stands at the front of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// A whole message.
    Frame(Frame<'a>),
    /// A part of one.
    NeedMore {
        /// How many further bytes must come, at least, before another look is worth it.
        at_least: usize,
    },
    /// A message above the limit: the caller streams its `total` bytes through, or refuses it.
    /// Said as soon as the header is there.
    Oversize {
        /// The type byte.
        tag: u8,
        /// Bytes of the whole message, its header included.
        total: usize,
    },
}

/// The stream is out of step: there is no way to find the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length field below 4; it counts itself.
    #[error("message type 0x{tag:02x}: invalid length {length}")]
    Length {
        /// The type byte.
        tag: u8,
        /// The length field.
        length: i32,
    },
}

/// Looks at the front of `buf` for a message of at most `limit` bytes, header included.
#[inline]
pub fn next_frame(buf: &[u8], limit: usize) -> Result<Step<'_>, FrameError> {
    let Some((&[tag, l0, l1, l2, l3], rest)) = buf.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(Step::NeedMore {
            at_least: HEADER_BYTES - buf.len(),
        });
    };
    let length = i32::from_be_bytes([l0, l1, l2, l3]);
    let Some(body_len) = length
        .checked_sub(4)
        .and_then(|len| usize::try_from(len).ok())
    else {
        return Err(FrameError::Length { tag, length });
    };
    let total = HEADER_BYTES.saturating_add(body_len);
    if total > limit {
        return Ok(Step::Oversize { tag, total });
    }
    Ok(match rest.get(..body_len) {
        Some(body) => Step::Frame(Frame { tag, body, total }),
        None => Step::NeedMore {
            at_least: body_len - rest.len(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_says_what_is_missing() {
        let sync = b"S\0\0\0\x04Q\0\0\0\x07ab\0";
        assert_eq!(next_frame(b"", 100), Ok(Step::NeedMore { at_least: 5 }));
        assert_eq!(next_frame(b"S\0", 100), Ok(Step::NeedMore { at_least: 3 }));
        assert_eq!(
            next_frame(sync, 100),
            Ok(Step::Frame(Frame {
                tag: b'S',
                body: b"",
                total: 5
            }))
        );
        assert_eq!(
            next_frame(&sync[5..11], 100),
            Ok(Step::NeedMore { at_least: 2 })
        );
        assert_eq!(
            next_frame(&sync[5..], 100),
            Ok(Step::Frame(Frame {
                tag: b'Q',
                body: b"ab\0",
                total: 8
            }))
        );
    }

    #[test]
    fn oversize_is_said_at_the_header() {
        assert_eq!(
            next_frame(b"D\0\0\0\x07", 7),
            Ok(Step::Oversize {
                tag: b'D',
                total: 8
            })
        );
        assert_eq!(
            next_frame(b"D\0\0\0\x07", 8),
            Ok(Step::NeedMore { at_least: 3 })
        );
        assert_eq!(
            next_frame(b"D\x7f\xff\xff\xff", 8),
            Ok(Step::Oversize {
                tag: b'D',
                total: 0x8000_0000
            })
        );
    }

    #[test]
    fn short_and_negative_lengths_are_errors() {
        for length in [3, 0, -1, i32::MIN] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length.to_be_bytes());
            assert_eq!(
                next_frame(&bytes, 100),
                Err(FrameError::Length { tag: b'Q', length })
            );
        }
    }
}
