//! The part of CBOR (RFC 8949) that records use, written and read in its deterministic form
//! (section 4.2.1): shortest integers, definite lengths, keys ascending, no floats, no tags.
//!
//! Invariants: [`check`] and [`Decoder`] accept exactly one encoding of a value; nothing here allocates
//! more than its input is long, recurses deeper than [`DEPTH_MAX`], or panics, whatever the bytes.

use minicbor::Encoder;

use super::codec::DecodeError;
use crate::{
    ActorId, ChangeId, Class, ClientId, CloseReason, Digest, Domain, GrantId, Mode, Octets,
    Outcome, Response, Role, SessionId, System, TerminalEvent,
};

/// Levels of maps and arrays in a record.
const DEPTH_MAX: usize = 12;

/// What the encoder writes to; writing to memory cannot fail.
pub(super) type Out = Encoder<Vec<u8>>;

/// Something with one place in a record.
pub(super) trait Value: Sized {
    /// Writes it.
    fn put(&self, out: &mut Out);
    /// Reads it.
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError>;
}

/// Where a value is read. Each read accepts its one deterministic encoding only.
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Not what was asked for, or not in its one encoding. The place is the decoder's.
pub(super) struct Unlike;

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether all bytes were read.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The argument of a head of this major type.
    #[inline]
    fn argument(&mut self, major: u8) -> Result<u64, Unlike> {
        match head(self.bytes, self.at) {
            Ok((is, argument, next)) if is == major => {
                self.at = next;
                Ok(argument)
            }
            _ => Err(Unlike),
        }
    }

    fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Unlike> {
        T::try_from(self.argument(0)?).map_err(|_| Unlike)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Unlike> {
        self.number()
    }

    pub(super) fn u16(&mut self) -> Result<u16, Unlike> {
        self.number()
    }

    fn u32(&mut self) -> Result<u32, Unlike> {
        self.number()
    }

    fn u64(&mut self) -> Result<u64, Unlike> {
        self.argument(0)
    }

    fn i64(&mut self) -> Result<i64, Unlike> {
        if self.bytes.get(self.at).is_some_and(|first| first >> 5 == 0) {
            return self.number();
        }
        let below = i64::try_from(self.argument(1)?).map_err(|_| Unlike)?;
        Ok(-1 - below)
    }

    fn bool(&mut self) -> Result<bool, Unlike> {
        let value = match self.bytes.get(self.at) {
            Some(0xf4) => false,
            Some(0xf5) => true,
            _ => return Err(Unlike),
        };
        self.at += 1;
        Ok(value)
    }

    /// Passes a null, if one stands there.
    #[inline]
    fn null(&mut self) -> bool {
        let there = self.bytes.get(self.at) == Some(&0xf6);
        self.at += usize::from(there);
        there
    }

    fn string(&mut self, major: u8) -> Result<&'a [u8], Unlike> {
        let length = usize::try_from(self.argument(major)?).map_err(|_| Unlike)?;
        let (content, _) = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.split_at_checked(length))
            .ok_or(Unlike)?;
        self.at += length;
        Ok(content)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Unlike> {
        self.string(2)
    }

    fn str(&mut self) -> Result<&'a str, Unlike> {
        std::str::from_utf8(self.string(3)?).map_err(|_| Unlike)
    }

    fn array(&mut self) -> Result<u64, Unlike> {
        self.argument(4)
    }

    /// How many fields a map has.
    pub(super) fn map(&mut self) -> Result<u64, Unlike> {
        self.argument(5)
    }
}

/// Unwraps the encoder's result: memory takes every write.
pub(super) fn wrote<T, E>(result: Result<T, E>) {
    debug_assert!(result.is_ok());
}

pub(super) fn malformed(from: &Decoder<'_>, what: &'static str) -> DecodeError {
    DecodeError::Malformed {
        at: from.position(),
        what,
    }
}

macro_rules! primitive {
    ($($ty:ty, $method:ident, $what:literal;)+) => {$(
        impl Value for $ty {
            fn put(&self, out: &mut Out) {
                wrote(out.$method(*self).map(|_| ()));
            }
            fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                from.$method().map_err(|_| malformed(from, $what))
            }
        }
    )+};
}

primitive! {
    u8, u8, "a number from 0 to 255";
    u16, u16, "a number from 0 to 65535";
    u32, u32, "a number below 2^32";
    u64, u64, "a number below 2^64";
    i64, i64, "a signed number";
    bool, bool, "true or false";
}

macro_rules! ids {
    ($($ty:ident),+) => {$(
        impl Value for $ty {
            fn put(&self, out: &mut Out) { self.0.put(out) }
            fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> { Value::get(from).map($ty) }
        }
    )+};
}

ids!(ActorId, SessionId, GrantId, ChangeId, Domain, Digest);

impl Value for ClientId {
    fn put(&self, out: &mut Out) {
        ClientId::get(*self).put(out);
    }
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Self::new(Value::get(from)?).ok_or_else(|| malformed(from, "a client number"))
    }
}

macro_rules! codes {
    ($($ty:ident $what:literal),+) => {$(
        impl Value for $ty {
            fn put(&self, out: &mut Out) { self.code().put(out) }
            fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                $ty::from_code(Value::get(from)?).ok_or_else(|| malformed(from, $what))
            }
        }
    )+};
}

codes!(
    Class "a class", Mode "a mode", Outcome "an outcome", Role "a role", Response "a response",
    CloseReason "a reason of closing", TerminalEvent "what a terminal says",
    System "a system"
);

impl Value for String {
    fn put(&self, out: &mut Out) {
        wrote(out.str(self).map(|_| ()));
    }
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let text = from.str().map_err(|_| malformed(from, "a text"))?;
        Ok(text.to_owned())
    }
}

impl<const N: usize> Value for [u8; N] {
    fn put(&self, out: &mut Out) {
        wrote(out.bytes(self).map(|_| ()));
    }
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let bytes = from.bytes().map_err(|_| malformed(from, "bytes"))?;
        Self::try_from(bytes).map_err(|_| malformed(from, "bytes of a fixed length"))
    }
}

impl Value for Octets {
    fn put(&self, out: &mut Out) {
        wrote(out.bytes(&self.0).map(|_| ()));
    }
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let bytes = from.bytes().map_err(|_| malformed(from, "bytes"))?;
        Ok(Self(bytes.to_vec()))
    }
}

impl<T: Value> Value for Option<T> {
    fn put(&self, out: &mut Out) {
        match self {
            Some(value) => value.put(out),
            None => wrote(out.null().map(|_| ())),
        }
    }
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        if from.null() {
            return Ok(None);
        }
        T::get(from).map(Some)
    }
}

impl<T: Value> Value for Vec<T> {
    fn put(&self, out: &mut Out) {
        wrote(out.array(self.len() as u64).map(|_| ()));
        self.iter().for_each(|item| item.put(out));
    }
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = array(from)?;
        // Nothing is reserved: a false count ends at the end of the bytes.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(T::get(from)?);
        }
        Ok(items)
    }
}

/// Reads the head of an array.
pub(super) fn array(from: &mut Decoder<'_>) -> Result<u64, DecodeError> {
    from.array().map_err(|_| malformed(from, "an array"))
}

/// Reads the head of an array of exactly `count` items.
pub(super) fn array_of(from: &mut Decoder<'_>, count: u64) -> Result<(), DecodeError> {
    if array(from)? == count {
        Ok(())
    } else {
        Err(malformed(from, "an array of another length"))
    }
}

/// A map with integer keys in ascending order, being written.
pub(super) struct Fields {
    count: u64,
    out: Out,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self {
            count: 0,
            out: Encoder::new(Vec::new()),
        }
    }

    /// Adds a field. Keys are given in ascending order.
    pub(super) fn put(&mut self, key: u8, value: &impl Value) {
        self.count += 1;
        key.put(&mut self.out);
        value.put(&mut self.out);
    }

    /// Writes the map.
    pub(super) fn finish(self, out: &mut Out) {
        wrote(out.map(self.count).map(|_| ()));
        out.writer_mut().extend_from_slice(self.out.writer());
    }
}

/// A map being read: each key is asked for in order, and [`MapReader::finish`] sees to it that
/// none was left.
pub(super) struct MapReader<'a, 'b> {
    pub(super) from: &'a mut Decoder<'b>,
    left: u64,
}

impl<'a, 'b> MapReader<'a, 'b> {
    pub(super) fn new(from: &'a mut Decoder<'b>) -> Result<Self, DecodeError> {
        match from.map() {
            Ok(left) => Ok(Self { from, left }),
            Err(_) => Err(malformed(from, "a map")),
        }
    }

    /// The value of the next field, which has to have this key.
    pub(super) fn get<T: Value>(&mut self, key: u8) -> Result<T, DecodeError> {
        if self.left == 0 || u8::get(self.from)? != key {
            return Err(malformed(self.from, "a field that is missing"));
        }
        self.left -= 1;
        T::get(self.from)
    }

    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.left == 0 {
            Ok(())
        } else {
            Err(malformed(self.from, "no further field"))
        }
    }
}

/// Whether `bytes` are one CBOR item in deterministic form, of the types that records use.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    let end = item(bytes, 0, 0)?;
    if end == bytes.len() {
        Ok(())
    } else {
        Err(DecodeError::NotCanonical { at: end })
    }
}

/// Checks the item at `at`, gives the place after it.
fn item(bytes: &[u8], at: usize, depth: usize) -> Result<usize, DecodeError> {
    let wrong = || DecodeError::NotCanonical { at };
    if depth > DEPTH_MAX {
        return Err(wrong());
    }
    let (major, argument, mut next) = head(bytes, at)?;
    match major {
        // Unsigned and negative integers.
        0 | 1 => Ok(next),
        // Byte and text strings.
        2 | 3 => {
            let length = usize::try_from(argument).map_err(|_| wrong())?;
            let end = next.checked_add(length).ok_or_else(wrong)?;
            let content = bytes.get(next..end).ok_or_else(wrong)?;
            if major == 3 && std::str::from_utf8(content).is_err() {
                return Err(wrong());
            }
            Ok(end)
        }
        4 => {
            for _ in 0..argument {
                next = inner(bytes, next, depth)?;
            }
            Ok(next)
        }
        5 => {
            let mut before: Option<u64> = None;
            for _ in 0..argument {
                let (kind, key, value) = head(bytes, next)?;
                if kind != 0 || before.is_some_and(|before| before >= key) {
                    return Err(DecodeError::NotCanonical { at: next });
                }
                before = Some(key);
                next = inner(bytes, value, depth)?;
            }
            Ok(next)
        }
        // false, true, null; no other simple value, no float, no tag.
        7 if matches!(bytes[at], 0xf4..=0xf6) => Ok(next),
        _ => Err(wrong()),
    }
}

/// An item in one of depth `depth`. Most are of one byte: a number below 24, false, true or null.
#[inline]
fn inner(bytes: &[u8], at: usize, depth: usize) -> Result<usize, DecodeError> {
    match bytes.get(at) {
        Some(0x00..=0x17 | 0xf4..=0xf6) if depth < DEPTH_MAX => Ok(at + 1),
        _ => item(bytes, at, depth + 1),
    }
}

/// Major type, argument in its shortest form, and the place after both.
#[inline]
fn head(bytes: &[u8], at: usize) -> Result<(u8, u64, usize), DecodeError> {
    let wrong = || DecodeError::NotCanonical { at };
    let first = *bytes.get(at).ok_or_else(wrong)?;
    let (major, low) = (first >> 5, first & 0x1f);
    let width = match low {
        0..=23 => return Ok((major, u64::from(low), at + 1)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(wrong()),
    };
    let content = bytes.get(at + 1..at + 1 + width).ok_or_else(wrong)?;
    let argument = content
        .iter()
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let least = match width {
        1 => 24,
        2 => 1 << 8,
        4 => 1 << 16,
        _ => 1 << 32,
    };
    if argument < least {
        return Err(wrong());
    }
    Ok((major, argument, at + 1 + width))
}
