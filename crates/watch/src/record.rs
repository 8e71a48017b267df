//! What the detectors see of the world. Whoever feeds [`crate::Watch`] translates into this: the live
//! ledger, a ledger replayed, imported access records, a simulation.
//!
//! Never: a personal value. Subjects are keys without meaning (fingerprints), people are numbers.

use event::record::{FindingKind, RefusalReason};
use event::{ActorId, ClientId, GrantId, Role, SessionId, TerminalEvent};

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its place in its source: the ledger's sequence, or the number of the imported record. Findings
    /// name what they rest on by it.
    pub sequence: u64,
    /// The wall clock, ms since the Unix epoch.
    pub at_ms: u64,
    /// What happened.
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What<'a> {
    /// Time went by; nothing else.
    Tick,
    /// An actor is known; again when its role or whether it may log in changed.
    Actor {
        /// Who.
        actor: ActorId,
        /// In which role.
        role: Role,
        /// Whether it may log in; a leaver may not.
        active: bool,
    },
    /// An actor is on leave, or otherwise not at work, from one time to another.
    Away {
        /// Who.
        actor: ActorId,
        /// From, ms since the Unix epoch.
        from_ms: u64,
        /// Until, ms since the Unix epoch.
        until_ms: u64,
    },
    /// A driver logged in.
    SessionOpened {
        /// Who.
        actor: ActorId,
        /// In which role.
        role: Role,
        /// Its session.
        session: SessionId,
        /// From which terminal.
        terminal: TerminalId,
    },
    /// A session ended.
    SessionClosed {
        /// Which.
        session: SessionId,
    },
    /// Subjects of a client were shown, or values probed.
    Exposure(Exposure<'a>),
    /// Something was refused.
    Refused {
        /// To whom; `None`: before login.
        actor: Option<ActorId>,
        /// About which client, if one.
        client: Option<ClientId>,
        /// Why.
        reason: RefusalReason,
        /// How often.
        count: u32,
    },
    /// The gate found something itself.
    Gate {
        /// Whose statement.
        actor: ActorId,
        /// About which client, if one.
        client: Option<ClientId>,
        /// What.
        kind: FindingKind,
        /// How often.
        count: u32,
    },
    /// A grant is in force.
    Granted {
        /// Its number.
        grant: GrantId,
        /// Who may use it.
        actor: ActorId,
        /// Of which client.
        client: ClientId,
        /// Subjects, or values probed.
        amount: u64,
        /// Until when, ms since the Unix epoch.
        until_ms: u64,
    },
    /// A grant ended before its time.
    GrantEnded {
        /// Which.
        grant: GrantId,
    },
    /// A fictitious subject was planted.
    Canary {
        /// Among whose.
        client: ClientId,
        /// Its key.
        subject: u64,
    },
    /// A reason to look at a subject: a call, a ticket, a delivery.
    Call(Call),
    /// A terminal's agent, or its system, says something.
    Terminal {
        /// Which.
        terminal: TerminalId,
        /// Who was logged in there, if known.
        actor: Option<ActorId>,
        /// What.
        event: TerminalEvent,
        /// Bytes concerned; 0: unknown or none.
        bytes: u64,
    },
    /// What PostgreSQL counted itself since the count before: rows read from sealed tables, beside
    /// the rows that the gate accounts for.
    Returned {
        /// Rows that PostgreSQL says it returned.
        rows: u64,
        /// Rows that the gate passed, and what its statements may have read besides.
        accounted: u64,
    },
    /// A part says that it lives.
    Alive {
        /// Which.
        part: Part,
    },
    /// A part was silent, and said so afterwards, or its numbering has a gap.
    Gap {
        /// Which.
        part: Part,
        /// From, ms since the Unix epoch.
        from_ms: u64,
        /// Until, ms since the Unix epoch.
        until_ms: u64,
        /// How many records are missing; 0: unknown.
        missing: u64,
    },
    /// A part stopped in order: its silence is expected.
    Stopped {
        /// Which.
        part: Part,
    },
    /// Two people decided that an actor's pace so far is its usual one.
    Rebaselined {
        /// Whose.
        actor: ActorId,
    },
    /// Lists of a client were destroyed by age or with its keys: keys of subjects may lack.
    ListsDestroyed {
        /// Whose.
        client: ClientId,
    },
}

/// Subjects of one client that were shown to an actor, and values probed for it, by one batch of a
/// statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exposure<'a> {
    /// To whom.
    pub actor: ActorId,
    /// In which role.
    pub role: Role,
    /// In which session, if known.
    pub session: Option<SessionId>,
    /// Of which client.
    pub client: ClientId,
    /// By which grant, if one was used.
    pub grant: Option<GrantId>,
    /// Rows.
    pub rows: u32,
    /// Distinct subjects shown in clear.
    pub subjects: u32,
    /// Of these, never shown to this actor before; `None`: not known, then `keys` tell, and without
    /// them every subject counts as new.
    pub new: Option<u32>,
    /// Values shown masked.
    pub masked: u32,
    /// Values probed.
    pub probes: u32,
    /// Of these, found nobody; `None`: not known.
    pub missed: Option<u32>,
    /// How this batch lies to those before it.
    pub order: Order,
    /// The statement's shape: the first 8 bytes of its digest; 0: unknown.
    pub shape: u64,
    /// Keys of the subjects shown; may be fewer than `subjects`, or none, where lists are destroyed.
    pub keys: &'a [u64],
}

/// Whether subjects are taken in order, as computed where the plaintext is. Values of one class
/// (telephone number, customer number, kana, whatever is shown or probed) are compared with those
/// before them, from statement to statement; within one sorted result they say nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Order {
    /// Comparisons made.
    pub pairs: u32,
    /// Of these, the later value was the greater one. By chance: half.
    pub ascending: u32,
    /// Of these, the later value lay next to one of the 64 before it: a number at most 16 further,
    /// or the next page of a key. By chance: almost none.
    pub near: u32,
}

/// A reason to look at a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Whose.
    pub actor: ActorId,
    /// For which client.
    pub client: ClientId,
    /// About whom, if known.
    pub subject: Option<u64>,
    /// It began, ms since the Unix epoch.
    pub from_ms: u64,
    /// It ended, ms since the Unix epoch.
    pub until_ms: u64,
}

/// A terminal, by a number that stands for its address or name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TerminalId(pub u64);

/// What can fall silent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// The gate and its ledger.
    Gate,
    /// A witness, by its place in the policy.
    Witness(u32),
    /// A terminal.
    Terminal(TerminalId),
    /// The records of one client's calls.
    Calls(ClientId),
    /// A source of imported access records.
    Source,
    /// PostgreSQL's own counters, which are set back: what was read before is not known.
    Counters,
}
