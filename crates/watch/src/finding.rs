//! What the detectors say.

use event::{ActorId, ClientId};

use crate::record::{Part, TerminalId};
use event::TerminalEvent;

/// Surprise in 1/256 bits: `-256 log2(p)`, or `256 log2(e)` of an e-value.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bits(pub u32);

/// A finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The record at which it was said.
    pub sequence: u64,
    /// Its time, ms since the Unix epoch.
    pub at_ms: u64,
    /// About whom; `None`: about no actor.
    pub actor: Option<ActorId>,
    /// Others whom it concerns, ascending: `together`, and a shared terminal.
    pub others: Vec<ActorId>,
    /// About which client; `None`: about several, or none.
    pub client: Option<ClientId>,
    /// How surprising it is.
    pub bits: Bits,
    /// What was found, with its numbers.
    pub cause: Cause,
    /// Records that it rests on, ascending; the newest ones.
    pub rests_on: Vec<u64>,
    /// What the detector counts, by day, up to the finding's.
    pub days: Vec<u32>,
}

/// Most records that a finding names.
pub const RESTS_ON_MAX: usize = 16;
/// Most days in a finding's chart.
pub const DAYS_MAX: usize = 30;
/// Most other actors that a finding names.
pub const OTHERS_MAX: usize = 16;

/// The detectors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Detector {
    /// Many subjects in a session, an hour, a day, beyond the role's history.
    Burst = 1,
    /// A sustained rise of new subjects over the actor's own pace.
    Step = 2,
    /// Distinct subjects over a year and in all, against the cohort.
    Ledger = 3,
    /// Subjects taken in order.
    Walk = 4,
    /// Probes that find nobody, or in sequence.
    Guess = 5,
    /// Cells or rows that somebody changed.
    Tamper = 6,
    /// Bulk exposure, then a file, then media or network, on one terminal.
    Chain = 7,
    /// Exposures of several actors that add up to a list.
    Together = 8,
    /// One account, several people; an absent actor at work.
    Identity = 9,
    /// Something that should speak does not, or rows went past the gate.
    Silence = 10,
    /// A fictitious subject was looked at.
    Canary = 11,
    /// Exposures that no call explains.
    Balance = 12,
}

/// The time a burst was seen in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Window {
    /// One session.
    Session,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// How an account is not one person at work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum IdentityKind {
    /// In use on several terminals at the same time.
    Terminals,
    /// More hours a day than one person works.
    Hours,
    /// In use while its actor is on leave.
    Away,
    /// In use after its actor left.
    Left,
}

/// What was tampered with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TamperKind {
    /// Cells that do not verify.
    Cells,
    /// Cells of another column, or another client.
    Moved,
    /// The schema differs from its pin.
    Schema,
    /// Cells came back where no sealed statement was sent.
    Unexpected,
    /// Values near sealed columns that were refused.
    Literals,
}

/// What was found, with its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// [`Detector::Burst`].
    Burst {
        /// In which time.
        window: Window,
        /// Subjects in it beyond what grants allow.
        subjects: u64,
        /// Minutes from the first of them to the last.
        minutes: u64,
        /// The most the role had in such a time, in the year before.
        usual_max: u64,
        /// Subjects in it that grants allowed.
        granted: u64,
    },
    /// [`Detector::Step`].
    Step {
        /// New subjects since the rise began.
        subjects: u64,
        /// Days since.
        days: u32,
        /// What the actor's own pace, bounded by the cohort's spread, would have been.
        expected: u64,
    },
    /// [`Detector::Ledger`].
    Ledger {
        /// Distinct subjects.
        subjects: u64,
        /// In the last so many days; 0: ever.
        days: u32,
        /// The cohort's median for the same time at work.
        median: u64,
        /// The most of anybody else in it.
        highest: u64,
    },
    /// [`Detector::Walk`].
    Walk {
        /// Steps from value to value.
        steps: u64,
        /// Of these, upwards.
        ascending: u64,
        /// Of these, to a neighbour.
        near: u64,
        /// Days since it began.
        days: u32,
    },
    /// [`Detector::Guess`].
    Guess {
        /// Values probed.
        probes: u64,
        /// Of these, found nobody.
        missed: u64,
        /// Of a thousand probes, the role's usual misses.
        usual_permille: u32,
        /// Days since it began.
        days: u32,
    },
    /// [`Detector::Tamper`].
    Tamper {
        /// What.
        kind: TamperKind,
        /// How often.
        count: u64,
    },
    /// [`Detector::Chain`].
    Chain {
        /// Subjects shown on the terminal before it.
        subjects: u64,
        /// What happened there.
        event: TerminalEvent,
        /// Which terminal.
        terminal: TerminalId,
        /// Bytes; 0: unknown.
        bytes: u64,
        /// Minutes from the first exposure to the event.
        minutes: u64,
    },
    /// [`Detector::Together`].
    Together {
        /// How many actors.
        actors: u32,
        /// Distinct subjects of the client that they have seen together, beyond what their number explains.
        subjects: u64,
        /// What so many of the cohort see.
        expected: u64,
        /// In so many days.
        days: u32,
    },
    /// [`Detector::Identity`].
    Identity {
        /// How.
        kind: IdentityKind,
        /// Terminals, hours, or exposures.
        count: u64,
    },
    /// [`Detector::Silence`].
    Silence {
        /// What was silent; `None`: rows went past the gate.
        part: Option<Part>,
        /// From, ms since the Unix epoch.
        from_ms: u64,
        /// Until, ms since the Unix epoch.
        until_ms: u64,
        /// Records or rows that are missing; 0: unknown.
        missing: u64,
    },
    /// [`Detector::Canary`].
    Canary {
        /// Exposures of fictitious subjects.
        count: u64,
    },
    /// [`Detector::Balance`].
    Balance {
        /// Subjects shown that nothing explains.
        unexplained: u64,
        /// Subjects shown in the same time.
        subjects: u64,
        /// Of a thousand, the role's usual ones without explanation.
        usual_permille: u32,
        /// Days since the excess began.
        days: u32,
    },
}

impl Cause {
    /// Which detector says this.
    pub fn detector(&self) -> Detector {
        match self {
            Self::Burst { .. } => Detector::Burst,
            Self::Step { .. } => Detector::Step,
            Self::Ledger { .. } => Detector::Ledger,
            Self::Walk { .. } => Detector::Walk,
            Self::Guess { .. } => Detector::Guess,
            Self::Tamper { .. } => Detector::Tamper,
            Self::Chain { .. } => Detector::Chain,
            Self::Together { .. } => Detector::Together,
            Self::Identity { .. } => Detector::Identity,
            Self::Silence { .. } => Detector::Silence,
            Self::Canary { .. } => Detector::Canary,
            Self::Balance { .. } => Detector::Balance,
        }
    }
}
