//! Ids. Each is a number that means nothing outside its ledger.

use std::fmt;

/// A client (委託元): a company that entrusts its customers' data. 1 to 2^24 - 1, as in a cell's
/// header; 0 is no client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(u32);

impl ClientId {
    /// The greatest client number.
    pub const MAX: u32 = 0xff_ffff;

    /// `None` unless `1 <= number <= 2^24 - 1`.
    pub fn new(number: u32) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// The number, 1 to 2^24 - 1.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A natural person who works on the system, numbered from 1 in order of enrolment.
    ActorId(u32)
);
id!(
    /// One connection of a driver; unique in a ledger.
    SessionId(u64)
);
id!(
    /// A grant, numbered from 1.
    GrantId(u32)
);
id!(
    /// A proposed change, numbered from 1.
    ChangeId(u32)
);
id!(
    /// A label for columns whose values may be compared with each other; 0 is no domain.
    Domain(u16)
);
id!(
    /// 64 bits of a PRF, under a client's fingerprint key, of (class, normalised value).
    Fingerprint(u64)
);

/// Which log a record belongs to: the centre's own, or a client's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogId {
    /// The centre's log; number 0 on disk.
    Centre,
    /// A client's log; the client's number on disk.
    Client(ClientId),
}

impl LogId {
    /// The number on disk.
    pub fn number(self) -> u32 {
        match self {
            Self::Centre => 0,
            Self::Client(client) => client.get(),
        }
    }

    /// The inverse of [`LogId::number`]; `None` above 2^24 - 1.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Centre),
            n => ClientId::new(n).map(Self::Client),
        }
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Bytes as they are, one string of bytes in a record.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Octets(pub Vec<u8>);
