//! Records: the entries of the ledger. See docs/format/record.md and record.cddl.
//!
//! Types only carry what DESIGN.md section 5 allows in clear: no literals, aliases, comments,
//! application names, purposes, no unsalted hashes of values, no password verifiers.

mod case;
mod cbor;
mod codec;

pub use case::CaseFinding;
pub use codec::{
    BYTES_MAX, DecodeError, EncodeError, change_bytes, decode, decode_change, decode_pin, encode,
    encode_change, encode_pin, kind,
};

use crate::{
    ActorId, ChangeId, Class, ClientId, CloseReason, Digest, GrantId, Octets, Outcome, Pin,
    Response, Role, SessionId, System, TerminalEvent,
};

/// Who acts, from where, by which right: the same for all records of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// The person.
    pub actor: ActorId,
    /// The actor's role when it acted.
    pub role: Role,
    /// The connection.
    pub session: SessionId,
    /// The grant it was charged to, if one was used.
    pub grant: Option<GrantId>,
}

/// What a batch did to the budgets of (actor, client).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Effects {
    /// Units charged by this record (subjects, or probes for probe records), the maximum over the classes.
    pub charged: u64,
    /// Of these, never charged before by this actor for this client.
    pub newly_distinct: u64,
    /// Totals after it, per window: hour, day, 30 days, all time.
    pub windows: [u64; 4],
}

/// Cells of one class that were released with one outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassCount {
    /// The class.
    pub class: Class,
    /// Clear or masked.
    pub outcome: Outcome,
    /// Cells released.
    pub cells: u32,
}

/// An exposure and the probes that led to it: what one statement's batch released of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exposure {
    /// Who.
    pub who: Who,
    /// Rows released.
    pub rows: u32,
    /// Cells released, ordered by (class, outcome).
    pub classes: Vec<ClassCount>,
    /// Probes made (values for which an exact cell was computed).
    pub probes: u32,
    /// Rows in which two different non-zero row tags were seen.
    pub row_tags_disagree: u32,
    /// What it did to the budget of distinct subjects.
    pub subjects: Effects,
    /// What it did to the budget of probes.
    pub probed: Effects,
    /// What it did to the budget of masked values.
    pub masked: Effects,
    /// Digest of the statement's shape; the shape itself is a record of the centre's log, once.
    pub shape: Digest,
    /// Digest of the policy that was in force.
    pub policy: Digest,
    /// SHA-256(salt, list): commits to the encrypted list that travels beside the record.
    pub list: Digest,
    /// Salted commitment to the purpose in force, whose text travels encrypted beside the record.
    pub purpose: Option<Digest>,
    /// How what was shown or probed lies to what came before it.
    pub order: Order,
}

/// Whether subjects are taken in order, counted where the plaintext is: sortable values of one class
/// (telephone number, customer number, the first characters of a reading) against those before them in
/// the session, from statement to statement. Within one result they say nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Order {
    /// Comparisons made.
    pub pairs: u32,
    /// Of these, the later value was the greater one.
    pub ascending: u32,
    /// Of these, the later value lay next to one of those before it.
    pub near: u32,
    /// Probes of statements that found nobody, of this record's; `None`: not known.
    pub missed: Option<u32>,
}

/// Why something was refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum RefusalReason {
    /// A budget of distinct subjects ended.
    SubjectBudget = 1,
    /// A budget of probes ended.
    ProbeBudget = 2,
    /// A budget of masked values ended.
    MaskedBudget = 3,
    /// The policy gives no right to do it.
    Policy = 4,
    /// A grant had ended, was used up or did not cover it.
    Grant = 5,
    /// The statement cannot be planned on sealed columns.
    Statement = 6,
    /// The live schema differs from its pin.
    Pin = 7,
    /// A value has no canonical form, or a cell that was handed in does not verify.
    Value = 8,
    /// The ledger could not make it durable.
    Ledger = 9,
    /// A key is missing or destroyed.
    Key = 10,
    /// A password was wrong, or the account is unknown or may not log in.
    Login = 11,
    /// The session's actor or policy changed under it.
    Revoked = 12,
}

/// A finding that the gate makes itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum FindingKind {
    /// Something that looks like a cell does not verify.
    CellDoesNotVerify = 1,
    /// A cell of another class or domain came out of a pinned column.
    CellOutOfPlace = 2,
    /// A cell of a client outside the session's scope came out.
    CellOutOfScope = 3,
    /// The live schema differs from its pin.
    PinDiffers = 4,
    /// Cells came back where no sealed statement was sent.
    UnexpectedCells = 5,
}

/// A change to what is in force. Numbers, policies and pins are carried whole: records rule, files propose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A client is known, with its code and display name (companies, not personal data).
    ClientAdded {
        /// Its number.
        client: ClientId,
        /// Its code: 1 to 32 of `a-z 0-9 -`.
        code: String,
        /// Its name.
        name: String,
    },
    /// An actor is enrolled, or its role and clients are changed.
    ActorSet {
        /// The actor.
        actor: ActorId,
        /// The login name: 1 to 63 of `a-z 0-9 . _ -`.
        login: String,
        /// The role.
        role: Role,
        /// Clients it may touch, ascending; empty: none, unless the role needs no clients.
        clients: Vec<ClientId>,
        /// Whether it may log in.
        active: bool,
    },
    /// A new credential: salted commitments to what stands in the file of verifiers.
    Credential {
        /// Whose.
        actor: ActorId,
        /// SHA-256(salt, verifier line).
        commitment: Digest,
    },
    /// A one-time code for enrolment was made (salted commitment, never the code).
    EnrolmentCode {
        /// Whose.
        actor: ActorId,
        /// SHA-256(salt, code).
        commitment: Digest,
        /// Until when, ms since the Unix epoch.
        until_ms: u64,
    },
    /// A public key (Ed25519, 32 bytes) that signs for an actor.
    SigningKey {
        /// Whose.
        actor: ActorId,
        /// The key.
        public_key: [u8; 32],
    },
    /// A policy comes into force: its Cedar text.
    Policy {
        /// The whole text.
        cedar: String,
        /// Masks per class, as `policy` reads them.
        masks: String,
    },
    /// Numbers come into force: `budget::Numbers` in canonical TOML.
    Numbers {
        /// The whole text.
        toml: String,
    },
    /// A pin comes into force.
    Pin(Pin),
    /// A grant.
    Grant(Grant),
    /// A grant is ended before its time.
    GrantEnded {
        /// Which.
        grant: GrantId,
    },
    /// A client's key was made; its wrapped form stands in the key folder.
    ClientKey {
        /// Whose.
        client: ClientId,
        /// Epoch.
        epoch: u8,
    },
    /// A key signs the logs' checkpoints from here on, beside the one before (Ed25519, 32 bytes).
    LogKey {
        /// Its number, from 1.
        number: u32,
        /// The public key.
        public_key: [u8; 32],
    },
    /// A client's keys are destroyed: its cells, fingerprints and lists cannot be read any more.
    ClientDestroyed {
        /// Whose.
        client: ClientId,
    },
    /// How long fingerprint lists stay: their month, and so many full months after it.
    Retention {
        /// 0: for ever.
        months: u32,
    },
    /// How long entries stay in the published copies of clients' logs: their month, and so many full
    /// months after it.
    EntryRetention {
        /// 0: for ever.
        months: u32,
    },
    /// The logs go on under a new generation, because records were lost.
    Generation {
        /// Its number: 1 more than the one before.
        number: u32,
        /// The newest root checkpoint that a witness held, as a signed note.
        checkpoint: String,
        /// What was lost, in the approvers' words.
        lost: String,
    },
    /// A machine is a terminal from here on, or is none any more.
    Terminal {
        /// SHA-256 of its public key, or of its name where it has no agent.
        terminal: Digest,
        /// Its name.
        name: String,
        /// Its system.
        system: System,
        /// Sessions from this address are its sessions, of one without an agent; else empty.
        address: String,
        /// Whether it is one.
        active: bool,
    },
    /// What terminals let in: the whole text (docs/terminal-policy.md).
    TerminalPolicy {
        /// TOML.
        toml: String,
    },
    /// One file may be made of the keys that open a client's lists and fingerprints, for its officer.
    OfficerFile {
        /// Whose.
        client: ClientId,
    },
    /// How many subjects may be exposed in all before a quorum of witnesses has seen it.
    UncoveredCap {
        /// `None`: any number.
        subjects: Option<u64>,
    },
    /// How many subjects of a client may be released before it has acknowledged their receipts.
    ReceiptCap {
        /// Whose.
        client: ClientId,
        /// `None`: any number.
        subjects: Option<u64>,
    },
    /// What detection does.
    Watch {
        /// Cases a day for 1,000 actors.
        cases_per_day: u32,
        /// What is done about a case about an actor.
        response: Response,
    },
}

/// An approved exception.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Its number.
    pub grant: GrantId,
    /// Who may use it.
    pub actor: ActorId,
    /// Of which client.
    pub client: ClientId,
    /// What for.
    pub what: GrantKind,
    /// How many: distinct subjects are not tracked under a grant, rows released are charged one by one.
    pub amount: u64,
    /// Until when, ms since the Unix epoch.
    pub until_ms: u64,
    /// What for, as a code, call or ticket id: 1 to 64 of `A-Z a-z 0-9 - _ / .`.
    pub ticket: String,
}

/// What a grant allows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum GrantKind {
    /// Subjects seen in clear.
    See = 1,
    /// Values probed and sealed on the way in.
    Import = 2,
    /// Subjects in files that the broker writes to company media.
    Carry = 3,
}

/// An approver's signature on a proposed change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Approval {
    /// Who signed.
    pub approver: ActorId,
    /// Ed25519 over [`change_bytes`].
    pub signature: [u8; 64],
}

/// The content of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "bodies are made, encoded and dropped one by one; a box would cost an allocation each"
)]
pub enum Body {
    /// The first record of a ledger.
    Genesis {
        /// The centre's name.
        centre: String,
        /// A random id of this ledger.
        ledger: [u8; 16],
    },
    /// Sekisho started on this ledger.
    Started {
        /// Version of the program.
        version: String,
        /// Bytes of torn tail that recovery cut.
        tail_cut: u64,
        /// Wall clock's step over the restart that was credited to elapsed time, in ms.
        elapsed_credit_ms: u64,
        /// Wall clock's step that was not credited, in ms (negative: it went back).
        wall_step_ms: i64,
        /// The kernel's boot id: elapsed time over a restart within it is `boot_ms`' difference.
        boot_id: [u8; 16],
        /// CLOCK_BOOTTIME at this record's elapsed time, in ms.
        boot_ms: u64,
    },
    /// Sekisho stopped in order.
    Stopped,
    /// A driver logged in.
    SessionOpened {
        /// Who.
        who: Who,
        /// The peer's address without port, `unix` for a Unix socket.
        terminal: String,
        /// The database's name.
        database: String,
        /// Whether TLS protects it.
        tls: bool,
    },
    /// A session ended.
    SessionClosed {
        /// Which.
        session: SessionId,
    },
    /// Refusals of one kind, aggregated after the first few a second.
    Refused {
        /// Who; `None` before login.
        who: Option<Who>,
        /// Why.
        reason: RefusalReason,
        /// How many.
        count: u32,
        /// The statement's shape, if there was one.
        shape: Option<Digest>,
        /// The peer's address, for refusals before login.
        terminal: Option<String>,
    },
    /// A shape of statements, once.
    Shape {
        /// SHA-256 of the text.
        digest: Digest,
        /// The text: keywords and pinned identifiers; everything else replaced.
        text: String,
    },
    /// An exposure.
    Exposure(Exposure),
    /// A finding of the gate itself.
    Finding {
        /// Who.
        who: Who,
        /// What.
        kind: FindingKind,
        /// How many.
        count: u32,
        /// The pinned relation it was about, `schema.name`, if one was.
        relation: Option<String>,
    },
    /// A change was proposed; in force only by [`Body::InForce`].
    Proposed {
        /// Its number.
        change: ChangeId,
        /// Who proposed.
        by: ActorId,
        /// What.
        what: Change,
    },
    /// An approver signed.
    Approved {
        /// Which change.
        change: ChangeId,
        /// The signature.
        approval: Approval,
    },
    /// A change is in force from here on.
    InForce {
        /// Which change.
        change: ChangeId,
        /// Whether it is looser than what was in force, and so needed two approvals.
        loosens: bool,
        /// Whether it came into force unsigned because the ledger had not yet two approvers.
        bootstrap: bool,
    },
    /// A proposal was withdrawn or rejected.
    Withdrawn {
        /// Which change.
        change: ChangeId,
        /// By whom.
        by: ActorId,
    },
    /// The first record of a client's log.
    LogOpened {
        /// The ledger's id.
        ledger: [u8; 16],
        /// The log's slot in every leaf of the root log.
        slot: u32,
    },
    /// The wall clock jumped while Sekisho ran.
    ClockStepped {
        /// By how much, in ms (negative: it went back, and records keep the latest time).
        step_ms: i64,
    },
    /// A snapshot of the folds was taken.
    Snapshot {
        /// Version of the fold.
        fold: u16,
        /// The first record that is not in it.
        sequence: u64,
        /// SHA-256 of its bytes.
        digest: Digest,
    },
    /// A full segment of the write-ahead log was compressed into the archive.
    Archived {
        /// The segment's number.
        segment: u32,
        /// SHA-256 of the archive's file.
        digest: Digest,
        /// Its length, bytes.
        bytes: u64,
    },
    /// A time stamp (RFC 3161) over a root checkpoint was received.
    TimeStamped {
        /// Size of the root log in the checkpoint.
        size: u64,
        /// SHA-256 of the token.
        digest: Digest,
    },
    /// The disk of the ledger ran full, or has space again.
    Space {
        /// Whether it is full.
        full: bool,
    },
    /// Records were lost in a disaster, and the logs go on under a new generation: in each log, just
    /// after the change came into force.
    LossDeclared {
        /// The generation from then on.
        generation: u32,
        /// Leaves of the root log in the newest checkpoint of the generation before.
        size: u64,
        /// And its root.
        root: Digest,
        /// What was lost, in the words of who declared it.
        lost: String,
    },
    /// A client's fingerprint lists of old months are destroyed: their keys, and then their files.
    ListsDestroyed {
        /// The first month that stays, yyyymm (UTC).
        before: u32,
    },
    /// The officer's file that was approved was made; in the client's log.
    OfficerFile {
        /// By whom.
        by: ActorId,
    },
    /// From here on at most so many subjects of this client are released before it has acknowledged
    /// their receipts; in the client's log.
    ReceiptCap {
        /// `None`: any number.
        subjects: Option<u64>,
    },
    /// Old entries of a client's log are published no more, by age; in that log.
    EntriesPruned {
        /// The minimum index (C2SP tlog-tiles): entries from here on stay, and those of the first
        /// bundle. A multiple of 256.
        below: u64,
        /// All entries below are of months before this one, yyyymm (UTC).
        before: u32,
        /// The change that says for how long entries stay, in the centre's log.
        change: ChangeId,
    },
    /// A finding opened a case or joined one: in the centre's log, and once more in the log of the client
    /// that it is about (about an administrator: of every client).
    Case {
        /// The case's number, from 1.
        case: u32,
        /// Whether it was opened.
        new: bool,
        /// What was found.
        finding: CaseFinding,
        /// Whether closing it takes two people.
        grave: bool,
        /// What is done about it until it is closed.
        response: Response,
    },
    /// Somebody noted something in a case; the text travels encrypted beside the record.
    CaseNoted {
        /// Which.
        case: u32,
        /// Who.
        by: ActorId,
        /// Commitment to the text.
        text: Digest,
    },
    /// A case was closed; a grave one when a second person says so too.
    CaseClosed {
        /// Which.
        case: u32,
        /// Who.
        by: ActorId,
        /// Who asked for it before; `None` for a grave case: this asks.
        asked: Option<ActorId>,
        /// Why.
        reason: CloseReason,
        /// Commitment to the words, which travel encrypted beside the record in the centre's log.
        text: Digest,
    },
    /// A closed case was opened again.
    CaseReopened {
        /// Which.
        case: u32,
        /// Who.
        by: ActorId,
        /// Commitment to why, which travels encrypted beside the record in the centre's log.
        text: Digest,
    },
    /// Two people decided that an actor's pace so far is its usual one.
    Rebaselined {
        /// Whose.
        actor: ActorId,
        /// Who.
        by: ActorId,
        /// Who asked for it before; `None`: this asks.
        asked: Option<ActorId>,
    },
    /// Fictitious subjects are about to be planted; their fingerprints travel encrypted beside the record.
    Canary {
        /// How many.
        count: u32,
        /// By whom.
        by: ActorId,
        /// Commitment to their fingerprints.
        list: Digest,
    },
    /// Records of calls were brought in; who was called when travels encrypted beside the record.
    Calls {
        /// How many.
        count: u32,
        /// By whom; its own calls explain nothing.
        by: ActorId,
        /// Commitment to them.
        list: Digest,
    },
    /// A terminal, or its system, said something.
    Terminal {
        /// Its address or name.
        terminal: String,
        /// Who was logged in there, if known.
        actor: Option<ActorId>,
        /// What.
        said: TerminalEvent,
        /// Bytes concerned; 0: unknown or none.
        bytes: u64,
        /// When, ms since the Unix epoch.
        at_ms: u64,
    },
    /// A machine asks to be a terminal.
    TerminalAsked {
        /// SHA-256 of its public key (SubjectPublicKeyInfo), or of its name where it has no agent.
        terminal: Digest,
        /// What it calls itself.
        name: String,
        /// Its system.
        system: System,
    },
    /// What a terminal's agent reported.
    TerminalReport {
        /// Which.
        terminal: Digest,
        /// The first of its reports that this record stands for: those before `sequence` said again
        /// that nothing had changed.
        since: u64,
        /// The report's number.
        sequence: u64,
        /// Its bytes (docs/format/terminal.md).
        report: Octets,
    },
    /// What the system of a terminal without an agent wrote was brought in and compared with the
    /// policy in force.
    TerminalEvidence {
        /// Which.
        terminal: Digest,
        /// By whom.
        by: ActorId,
        /// When its settings were applied there, ms since the Unix epoch; `None`: not brought in.
        settings_at_ms: Option<u64>,
        /// SHA-256 of the policy that they were compared with.
        policy: Digest,
        /// Places in which they differ.
        differences: u32,
        /// The newest event of its logs, ms since the Unix epoch; `None`: not brought in.
        events_until_ms: Option<u64>,
    },
    /// A terminal became healthy, or is not any more.
    TerminalHealth {
        /// Which.
        terminal: Digest,
        /// Whether everything that has to be proven is.
        healthy: bool,
        /// What lacks, a phrase each.
        lacks: Vec<String>,
    },
    /// A file was given to a terminal's broker, and judged by what is in it; in the client's log. The
    /// fingerprints of what was found travel encrypted beside the record.
    TerminalCopy {
        /// Who, in the session in which the copy was confirmed, by which grant.
        who: Who,
        /// Where the broker is.
        terminal: Digest,
        /// The number of the company medium, from its token.
        medium: Octets,
        /// The file's length, bytes.
        bytes: u64,
        /// Distinct values found, by class: in clear.
        classes: Vec<ClassCount>,
        /// Distinct subjects, the maximum over the classes; charged to the grant if it may be written.
        subjects: u64,
        /// Why it may not be written; `None`: it may.
        refused: Option<RefusalReason>,
        /// Commitment to the fingerprints of what was found.
        list: Digest,
    },
    /// What PostgreSQL counted itself since the count before.
    Counters {
        /// The database.
        database: String,
        /// Rows that PostgreSQL says it read from sealed tables.
        rows: u64,
        /// Rows that the gate passed, and those that what it sent may have read besides.
        accounted: u64,
        /// Whether its counters were set back meanwhile: what was read is not known, `rows` is the least.
        set_back: bool,
    },
    /// A record of a kind this version does not know, kept as it is.
    Unknown {
        /// Its kind.
        kind: u16,
        /// Whether folding over it would be wrong.
        critical: bool,
    },
}
