//! Cases in records: what a finding says, how it is answered, why a case was closed.

use crate::{ActorId, ClientId};

/// A finding of a detector, as it stands in a record. Its numbers: `watch::numbers`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaseFinding {
    /// The detector's code.
    pub detector: u8,
    /// About whom; `None`: about no actor.
    pub actor: Option<ActorId>,
    /// Others whom it concerns, ascending.
    pub others: Vec<ActorId>,
    /// About which client; `None`: about several, or none.
    pub client: Option<ClientId>,
    /// How surprising it is, in 1/256 bits.
    pub bits: u32,
    /// Version of the meaning of `numbers`.
    pub version: u8,
    /// The finding's numbers, as its detector means them.
    pub numbers: Vec<u64>,
    /// The record at which it was said: in the centre's log its sequence, in a client's log its index
    /// there; `None`: it stands in another log.
    pub cause: Option<u64>,
    /// That record's time, ms since the Unix epoch.
    pub at_ms: u64,
    /// Records that it rests on, ascending, counted as `cause` is; those of other logs are left out.
    pub rests_on: Vec<u64>,
    /// What the detector counts, by day, up to the finding's.
    pub days: Vec<u32>,
}

/// What an installation does about a case by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Response {
    /// It tells people.
    #[default]
    Nothing = 0,
    /// The actor sees nothing in clear until a person has closed the case.
    Suspend = 3,
}

impl Response {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Nothing, Self::Suspend];

    /// Its name in configuration and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Suspend => "suspend",
        }
    }
}

/// Why a case was closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CloseReason {
    /// The work was as it should be, and there is an explanation.
    Explained = 1,
    /// The finding was wrong.
    FalseAlarm = 2,
    /// It was what it looked like, and something was done about it.
    Acted = 3,
    /// Another case holds it.
    Duplicate = 4,
}

impl CloseReason {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Explained,
        Self::FalseAlarm,
        Self::Acted,
        Self::Duplicate,
    ];

    /// Its name in commands and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Explained => "explained",
            Self::FalseAlarm => "false-alarm",
            Self::Acted => "acted",
            Self::Duplicate => "duplicate",
        }
    }
}

/// What a terminal says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum TerminalSaid {
    /// A file was written that may hold a list.
    FileWritten = 1,
    /// Removable media were attached.
    MediaAttached = 2,
    /// Removable media were refused.
    MediaRefused = 3,
    /// Something was written to removable media.
    MediaWritten = 4,
    /// Something was sent to a foreign place by network.
    Sent = 5,
}

impl TerminalSaid {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::FileWritten,
        Self::MediaAttached,
        Self::MediaRefused,
        Self::MediaWritten,
        Self::Sent,
    ];

    /// Its name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::FileWritten => "file-written",
            Self::MediaAttached => "media-attached",
            Self::MediaRefused => "media-refused",
            Self::MediaWritten => "media-written",
            Self::Sent => "sent",
        }
    }
}
