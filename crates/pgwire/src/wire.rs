//! What both directions share: reading fields of a message body, and writing a message around
//! its fields.
//!
//! Invariant: nothing here indexes or slices without a check; a reader that fails stays failed
//! with an error, never with a panic.

use std::fmt;

use bytes::{BufMut, BytesMut};

/// Why a message body could not be read. Carries no content of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ends inside a field.
    #[error("{message} message ends too early")]
    Truncated {
        /// The name of the message.
        message: &'static str,
    },
    /// The body goes on after its last field.
    #[error("{message} message has {bytes} bytes too many")]
    Trailing {
        /// The name of the message.
        message: &'static str,
        /// How many bytes are left over.
        bytes: usize,
    },
    /// A field has a value that the protocol does not allow.
    #[error("{message} message: invalid {what}")]
    Invalid {
        /// The name of the message.
        message: &'static str,
        /// The field.
        what: &'static str,
    },
    /// No message of this direction has this type byte.
    #[error("unknown message type 0x{tag:02x}")]
    UnknownTag {
        /// The type byte.
        tag: u8,
    },
}

/// Why a message could not be written; the buffer is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string holds a zero byte, which ends strings in this protocol.
    #[error("a string to be sent contains a zero byte")]
    ZeroByte,
    /// More items than the count field can say (65,535).
    #[error("more than 65535 items in one message")]
    TooMany,
    /// A value or message longer than 2,147,483,647 bytes.
    #[error("a message or value is longer than 2147483647 bytes")]
    TooLong,
}

/// `Debug` that names the type and shows nothing of what it carries.
macro_rules! quiet_debug {
    ($($name:ident),+ $(,)?) => {$(
        impl ::std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}
pub(crate) use quiet_debug;

/// Reads the fields of one message body, front to back.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self {
            rest: body,
            message,
        }
    }

    pub(crate) fn invalid(&self, what: &'static str) -> DecodeError {
        DecodeError::Invalid {
            message: self.message,
            what,
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated {
                message: self.message,
            })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated {
                message: self.message,
            })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn bytes4(&mut self) -> Result<[u8; 4], DecodeError> {
        self.array()
    }

    /// A string up to its zero byte, which is taken and not given.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let end = memchr::memchr(0, self.rest).ok_or(DecodeError::Truncated {
            message: self.message,
        })?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// A length and as many bytes; length -1 is NULL.
    pub(crate) fn value(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            len => {
                let len = usize::try_from(len).map_err(|_| self.invalid("value length"))?;
                self.take(len).map(Some)
            }
        }
    }

    /// `count` values, checked here, so that walking them later cannot fail.
    pub(crate) fn values(&mut self, count: u16) -> Result<Values<'a>, DecodeError> {
        let all = self.rest;
        for _ in 0..count {
            self.value()?;
        }
        let bytes = all.get(..all.len() - self.rest.len()).unwrap_or_default();
        Ok(Values { count, bytes })
    }

    /// A count and as many format codes.
    pub(crate) fn formats(&mut self) -> Result<Formats<'a>, DecodeError> {
        let count = self.u16()?;
        Ok(Formats(self.take(usize::from(count) * 2)?))
    }

    /// A count and as many object ids.
    pub(crate) fn oids(&mut self) -> Result<Oids<'a>, DecodeError> {
        let count = self.u16()?;
        Ok(Oids(self.take(usize::from(count) * 4)?))
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing {
                message: self.message,
                bytes,
            }),
        }
    }
}

/// Format codes of columns or parameters: 0 text, 1 binary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Formats<'a>(&'a [u8]);

impl<'a> Formats<'a> {
    /// How many codes were sent.
    pub fn len(self) -> usize {
        self.0.len() / 2
    }

    /// Whether none was sent, which means text for all.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The codes as sent.
    pub fn iter(self) -> impl ExactSizeIterator<Item = i16> + 'a {
        self.0
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| i16::from_be_bytes(*pair))
    }

    /// The code that holds for item `index`: none sent, text; one sent, that one for all; else
    /// one each. `None` where the sender gave too few.
    pub fn of(self, index: usize) -> Option<i16> {
        match self.len() {
            0 => Some(0),
            1 => self.iter().next(),
            _ => self.iter().nth(index),
        }
    }

    /// Whether the number of codes can serve `items` items.
    pub fn fits(self, items: usize) -> bool {
        matches!(self.len(), 0 | 1) || self.len() == items
    }
}

/// Object ids of types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Oids<'a>(&'a [u8]);

impl<'a> Oids<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        self.0.len() / 4
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The ids in order; 0 stands for "not given".
    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.0
            .as_chunks::<4>()
            .0
            .iter()
            .map(|four| u32::from_be_bytes(*four))
    }
}

/// Values with their lengths, as in DataRow and Bind. Their lengths were checked when they were
/// decoded, so walking them neither fails nor allocates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Values<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Values<'a> {
    /// How many values, NULLs included.
    pub fn len(self) -> usize {
        usize::from(self.count)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The values in order; `None` is NULL.
    pub fn iter(self) -> ValuesIter<'a> {
        ValuesIter {
            left: self.len(),
            bytes: self.bytes,
        }
    }

    /// The values with their length fields, as they stand in the message.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> IntoIterator for Values<'a> {
    type Item = Option<&'a [u8]>;
    type IntoIter = ValuesIter<'a>;

    fn into_iter(self) -> ValuesIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({} ..)", self.count)
    }
}

/// Walks [`Values`].
#[derive(Clone)]
pub struct ValuesIter<'a> {
    left: usize,
    bytes: &'a [u8],
}

quiet_debug!(ValuesIter);

impl<'a> Iterator for ValuesIter<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (len, rest) = self.bytes.split_first_chunk::<4>()?;
        let Ok(len) = usize::try_from(i32::from_be_bytes(*len)) else {
            self.bytes = rest;
            return Some(None);
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.bytes = rest;
        Some(Some(value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ValuesIter<'_> {}

/// Writes a message: type byte, length, and what `body` appends. On an error the buffer is cut
/// back to what it was.
pub(crate) fn message(
    buf: &mut BytesMut,
    tag: u8,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = buf.len();
    buf.put_u8(tag);
    buf.put_i32(0);
    let written = body(buf).and_then(|()| patch_length(buf, start + 1));
    if written.is_err() {
        buf.truncate(start);
    }
    written
}

/// Writes the distance from `at` to the end of the buffer into the four bytes at `at`.
pub(crate) fn patch_length(buf: &mut BytesMut, at: usize) -> Result<(), EncodeError> {
    let length = i32::try_from(buf.len().saturating_sub(at)).map_err(|_| EncodeError::TooLong)?;
    if let Some(field) = buf.get_mut(at..at + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Writes a message without a body.
pub(crate) fn bare(buf: &mut BytesMut, tag: u8) {
    buf.put_slice(&[tag, 0, 0, 0, 4]);
}

pub(crate) fn put_string(buf: &mut BytesMut, text: &[u8]) -> Result<(), EncodeError> {
    if memchr::memchr(0, text).is_some() {
        return Err(EncodeError::ZeroByte);
    }
    buf.put_slice(text);
    buf.put_u8(0);
    Ok(())
}

pub(crate) fn put_value(buf: &mut BytesMut, value: Option<&[u8]>) -> Result<(), EncodeError> {
    match value {
        None => buf.put_i32(-1),
        Some(bytes) => {
            buf.put_i32(i32::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?);
            buf.put_slice(bytes);
        }
    }
    Ok(())
}

/// Writes a 16-bit count and then each item.
pub(crate) fn put_counted<I: IntoIterator>(
    buf: &mut BytesMut,
    items: I,
    mut put: impl FnMut(&mut BytesMut, I::Item) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let at = buf.len();
    buf.put_u16(0);
    let mut count: u16 = 0;
    for item in items {
        count = count.checked_add(1).ok_or(EncodeError::TooMany)?;
        put(buf, item)?;
    }
    if let Some(field) = buf.get_mut(at..at + 2) {
        field.copy_from_slice(&count.to_be_bytes());
    }
    Ok(())
}

pub(crate) fn put_formats(
    buf: &mut BytesMut,
    formats: impl IntoIterator<Item = i16>,
) -> Result<(), EncodeError> {
    put_counted(buf, formats, |buf, format| {
        buf.put_i16(format);
        Ok(())
    })
}

pub(crate) fn put_oids(
    buf: &mut BytesMut,
    oids: impl IntoIterator<Item = u32>,
) -> Result<(), EncodeError> {
    put_counted(buf, oids, |buf, oid| {
        buf.put_u32(oid);
        Ok(())
    })
}
