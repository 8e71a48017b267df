//! Deterministic CBOR (RFC 8949 section 4.2.1) of what terminals and gates tell each other: arrays of
//! fixed order, shortest integers, definite lengths. Readers refuse every other encoding.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// Why bytes are no value of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not the CBOR that is expected here.
    #[error("{0} is not encoded as expected")]
    Field(&'static str),
    /// A text, byte string or list is longer than its limit.
    #[error("{what} is longer than {max}")]
    TooLong {
        /// The field.
        what: &'static str,
        /// Its limit, in bytes or entries.
        max: usize,
    },
    /// A version that this program does not know.
    #[error("version {0} is not known; a newer program is needed")]
    Version(u64),
    /// A code that this program does not know.
    #[error("{what} {code} is not known; a newer program is needed")]
    Code {
        /// The field.
        what: &'static str,
        /// The code.
        code: u64,
    },
    /// Bytes follow the value, or it is not in its one deterministic form.
    #[error("not the deterministic encoding of its value")]
    NotCanonical,
}

const VECTOR: &str = "a vector takes what is written into it";

/// Writes values; lengths are the caller's promise.
pub(crate) struct Out(Encoder<Vec<u8>>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(Encoder::new(Vec::new()))
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0.into_writer()
    }

    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        self.0.array(length as u64).expect(VECTOR);
        self
    }

    pub(crate) fn uint(&mut self, value: impl Into<u64>) -> &mut Self {
        self.0.u64(value.into()).expect(VECTOR);
        self
    }

    pub(crate) fn int(&mut self, value: i64) -> &mut Self {
        self.0.i64(value).expect(VECTOR);
        self
    }

    pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
        self.0.bool(value).expect(VECTOR);
        self
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.bytes(value).expect(VECTOR);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.0.str(value).expect(VECTOR);
        self
    }

    /// Null, or what `some` writes.
    pub(crate) fn option<T>(
        &mut self,
        value: Option<&T>,
        some: impl FnOnce(&mut Self, &T),
    ) -> &mut Self {
        match value {
            None => {
                self.0.null().expect(VECTOR);
            }
            Some(value) => some(self, value),
        }
        self
    }

    pub(crate) fn list<T>(
        &mut self,
        values: &[T],
        mut one: impl FnMut(&mut Self, &T),
    ) -> &mut Self {
        self.array(values.len());
        for value in values {
            one(self, value);
        }
        self
    }
}

/// Reads values. Nothing is allocated beyond the named limits.
pub(crate) struct In<'a>(Decoder<'a>);

impl<'a> In<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Decoder::new(bytes))
    }

    /// An array of exactly this length.
    pub(crate) fn array(&mut self, length: usize, what: &'static str) -> Result<(), Malformed> {
        (self.length(length, what)? == length)
            .then_some(())
            .ok_or(Malformed::Field(what))
    }

    /// The length of an array of at most `max` entries.
    pub(crate) fn length(&mut self, max: usize, what: &'static str) -> Result<usize, Malformed> {
        let length = self
            .0
            .array()
            .ok()
            .flatten()
            .ok_or(Malformed::Field(what))?;
        usize::try_from(length)
            .ok()
            .filter(|it| *it <= max)
            .ok_or(Malformed::TooLong { what, max })
    }

    pub(crate) fn uint<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Malformed> {
        let value = self.0.u64().map_err(|_| Malformed::Field(what))?;
        T::try_from(value).map_err(|_| Malformed::Field(what))
    }

    pub(crate) fn int<T: TryFrom<i64>>(&mut self, what: &'static str) -> Result<T, Malformed> {
        let value = self.0.i64().map_err(|_| Malformed::Field(what))?;
        T::try_from(value).map_err(|_| Malformed::Field(what))
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        self.0.bool().map_err(|_| Malformed::Field(what))
    }

    pub(crate) fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let bytes = self.0.bytes().map_err(|_| Malformed::Field(what))?;
        if bytes.len() > max {
            return Err(Malformed::TooLong { what, max });
        }
        Ok(bytes)
    }

    pub(crate) fn fixed<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], Malformed> {
        self.bytes(N, what)?
            .try_into()
            .map_err(|_| Malformed::Field(what))
    }

    pub(crate) fn text(&mut self, max: usize, what: &'static str) -> Result<String, Malformed> {
        let text = self.0.str().map_err(|_| Malformed::Field(what))?;
        if text.len() > max {
            return Err(Malformed::TooLong { what, max });
        }
        Ok(text.to_owned())
    }

    pub(crate) fn option<T>(
        &mut self,
        what: &'static str,
        some: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.0.datatype().map_err(|_| Malformed::Field(what))? == Type::Null {
            self.0.null().map_err(|_| Malformed::Field(what))?;
            return Ok(None);
        }
        some(self).map(Some)
    }

    pub(crate) fn list<T>(
        &mut self,
        max: usize,
        what: &'static str,
        mut one: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = self.length(max, what)?;
        // An entry takes a byte at least: the input's own length bounds what is allocated.
        let mut out = Vec::new();
        for _ in 0..length {
            out.push(one(self)?);
        }
        Ok(out)
    }
}

/// Checks that `bytes` are the one encoding of the value read from them.
pub(crate) fn canonical<T>(
    bytes: &[u8],
    value: T,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, Malformed> {
    if encode(&value) == bytes {
        Ok(value)
    } else {
        Err(Malformed::NotCanonical)
    }
}

/// The largest part of `text` that has at most `max` bytes and ends at a character.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// An enum whose variants have a stable code and a stable name.
macro_rules! coded {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$doc:meta])* $variant:ident = $code:literal, $word:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable code in reports.
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The stable name in policies and output.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// By its code.
            ///
            /// # Errors
            /// A code that this program does not know.
            pub fn from_code(code: u8) -> Result<Self, $crate::Malformed> {
                match code {
                    $($code => Ok(Self::$variant),)+
                    _ => Err($crate::Malformed::Code { what: $what, code: u64::from(code) }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use coded;
