//! What the gate hands in and gets back: a batch in, the released prefix or a refusal out.
//!
//! Invariant: [`Released`] is made in one place, when the record that names its rows is durable, and
//! consumes them: one batch's permission cannot release another.

use std::fmt;
use std::sync::Arc;

use event::record::{Order, RefusalReason, Who};
use event::{Class, ClientId, Digest, Fingerprint, GrantId, Outcome, Plain};

use crate::list::ListClosed;
use crate::state::State;

/// What all batches of a statement have in common.
#[derive(Clone, Debug)]
pub struct StatementScope {
    /// The statement's shape: its digest (SHA-256 of the text) and its text.
    pub shape: Arc<(Digest, String)>,
    /// Why, as the actor said. At most [`crate::list::PURPOSE_BYTES_MAX`] bytes.
    pub purpose: Option<Arc<Plain<String>>>,
    /// The policy under which the outcomes were judged.
    pub policy: Digest,
    /// When the purpose was set, ms since the Unix epoch.
    pub purpose_ms: u64,
    /// The state's generation under which they were judged ([`crate::Handle::generation`]).
    pub generation: u64,
    /// How what it shows or searches for lies to what came before it; its `missed` follows from `found`.
    pub order: Order,
    /// Whether the statement's probes found anybody; `None`: not known.
    pub found: Option<bool>,
    /// The terminal for which they were judged, and its epoch then
    /// ([`crate::terminals::Terminals::epoch`]).
    pub terminal: Option<(Digest, u64)>,
}

impl StatementScope {
    /// Whether what it was judged by is in force in this state.
    pub(crate) fn check(&self, state: &State) -> Result<(), Refusal> {
        if self.generation != state.generation {
            return Err(Refusal::PolicyMoved);
        }
        match self.terminal {
            Some((of, epoch)) if state.terminals.epoch(&of) != Some(epoch) => {
                Err(Refusal::TerminalMoved)
            }
            _ => Ok(()),
        }
    }
}

/// A value for which an exact cell was computed, for one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The client.
    pub client: ClientId,
    /// The value's class.
    pub class: Class,
    /// Its fingerprint for that client.
    pub fingerprint: Fingerprint,
    /// Whether it is the first client of the scope: a value probed over several clients counts
    /// once for the actor, and once for each client.
    pub primary: bool,
    /// The actor's outcome is masked: charged as a clear exposure too.
    pub as_exposure: bool,
}

/// A cell that a row would show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Charge {
    /// The client in the cell's header.
    pub client: ClientId,
    /// The class in the cell's header.
    pub class: Class,
    /// Clear or masked; others cost nothing and are left out.
    pub outcome: Outcome,
    /// Of the value.
    pub fingerprint: Fingerprint,
    /// Subjects it counts for: 1, or more for free text.
    pub weight: u32,
    /// Its row tag; 0: none.
    pub tag: u64,
}

/// A row, and what it costs. A row without charges costs nothing.
#[derive(Debug)]
pub struct Row<R> {
    /// Its cells.
    pub charges: Vec<Charge>,
    /// What the gate releases when it is paid for.
    pub payload: R,
}

/// Rows of one statement, in order, and the probes that led to them.
#[derive(Debug)]
pub struct Batch<R> {
    /// Who asks. With a grant: [`event::record::GrantKind::See`] pays for the rows,
    /// [`event::record::GrantKind::Import`] for the probes; budgets pay for the rest.
    pub who: Who,
    /// What the statement is.
    pub scope: StatementScope,
    /// Charged first, all or nothing.
    pub probes: Vec<Probe>,
    /// Charged in order.
    pub rows: Vec<Row<R>>,
}

/// Rows whose record is durable. Only this crate makes one.
///
/// A batch is consumed by [`crate::Handle::append`], so it cannot be released twice:
///
/// ```compile_fail,E0382
/// async fn twice(ledger: &ledger::Handle, batch: ledger::Batch<Vec<u8>>) {
///     ledger.append(batch).await;
///     ledger.append(batch).await;
/// }
/// ```
///
/// and nobody else can make a `Released`:
///
/// ```compile_fail,E0451
/// let forged = ledger::Released { rows: vec![1] };
/// ```
///
/// What compiles is one release of one batch:
///
/// ```
/// async fn once(ledger: &ledger::Handle, batch: ledger::Batch<Vec<u8>>) -> Vec<Vec<u8>> {
///     match ledger.append(batch).await {
///         ledger::Answer::Released(released) => released.into_rows(),
///         ledger::Answer::Cut { released, .. } => released.into_rows(),
///         ledger::Answer::Refused(_) => Vec::new(),
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "rows that were charged and recorded are to be sent"]
pub struct Released<R> {
    rows: Vec<R>,
}

impl<R> Released<R> {
    /// The first `count` rows. Called when their record is durable, and nowhere else.
    pub(crate) fn prefix(mut rows: Vec<R>, count: usize) -> Self {
        rows.truncate(count);
        Self { rows }
    }

    /// The rows, to be sent.
    pub fn into_rows(self) -> Vec<R> {
        self.rows
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// What came of a batch.
#[derive(Debug)]
#[must_use]
pub enum Answer<R> {
    /// All rows.
    Released(Released<R>),
    /// The first rows; the next would have passed a budget. The statement ends here. When the
    /// probes passed it, there is no row, and the statement must not be sent.
    Cut {
        /// The rows within the budget.
        released: Released<R>,
        /// Which budget ended.
        refusal: BudgetRefusal,
    },
    /// Nothing was released.
    Refused(Refusal),
}

/// Which budget ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spent {
    /// A budget.
    Budget(budget::Refusal),
    /// A grant.
    Grant {
        /// Which.
        grant: GrantId,
        /// Its amount.
        limit: u64,
        /// What was used of it, this batch's released rows included.
        used: u64,
    },
}

/// Why a batch was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BudgetRefusal {
    /// Which budget ended.
    pub spent: Spent,
    /// Subjects of this batch that were charged and released.
    pub subjects_released: u64,
    /// The case that lowers the actor's budgets meanwhile.
    pub lowered_by: Option<u32>,
}

impl BudgetRefusal {
    /// The reason in the record.
    pub fn reason(&self) -> RefusalReason {
        match self.spent {
            Spent::Budget(refusal) => refusal.kind.reason(),
            Spent::Grant { .. } => RefusalReason::Grant,
        }
    }
}

impl fmt::Display for BudgetRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.spent {
            Spent::Budget(refusal) => refusal.fmt(f),
            Spent::Grant { grant, limit, used } => {
                write!(f, "grant {grant}: {limit} in all, {used} used")
            }
        }
    }
}

/// Why nothing was released or recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The ledger stopped.
    #[error("ledger: unavailable: {0}")]
    Unavailable(String),
    /// No space for the next segment.
    #[error("ledger: {0}; nothing is released until there is space again")]
    NoSpace(String),
    /// More was exposed than may be before a quorum of witnesses has seen it.
    #[error(
        "ledger: {waiting} people seen lately are not covered by a quorum of witnesses yet, at most {limit} may be; try again, and tell the security team if it lasts"
    )]
    Uncovered {
        /// Subjects exposed that no quorum has seen.
        waiting: u64,
        /// At most so many.
        limit: u64,
    },
    /// It was recorded, and its receipt was not acknowledged in time.
    #[error(
        "ledger: client {client} has not acknowledged the receipts of {waiting} people seen lately, and with this result it would be more than {limit}; try again, and tell the security team if it lasts"
    )]
    Unacknowledged {
        /// Whose receipts.
        client: ClientId,
        /// Subjects released whose receipts are not acknowledged.
        waiting: u64,
        /// At most so many.
        limit: u64,
    },
    /// A batch, record or purpose is longer than fits.
    #[error("ledger: {what} takes {bytes} bytes, at most {limit} fit; use smaller batches")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its length or a bound of it.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Something came into force since the outcomes were judged: judge again.
    #[error("policy changed while the statement ran; run it again")]
    PolicyMoved,
    /// The terminal became healthy, or is not any more, since the outcomes were judged.
    #[error("the health of this terminal changed while the statement ran; run it again")]
    TerminalMoved,
    /// The actor is not active any more, or has another role.
    #[error("this actor's rights were withdrawn")]
    Revoked,
    /// A case about the actor is open that asks for a reason, and no purpose was set since.
    #[error(
        "case {case} asks for a reason: set a purpose before anything is shown or searched for"
    )]
    ReasonAsked {
        /// Which.
        case: u32,
    },
    /// A case about the actor is open that suspends what it sees.
    #[error(
        "case {case} suspends what this actor sees in clear and searches for, until it is reviewed"
    )]
    Suspended {
        /// Which.
        case: u32,
    },
    /// The grant does not cover it.
    #[error("grant {grant} {why}")]
    Grant {
        /// Which.
        grant: GrantId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A client's list could not be encrypted.
    #[error("ledger: the list keys of client {client} are not usable: {why}")]
    Key {
        /// Whose.
        client: ClientId,
        /// Why.
        why: ListClosed,
    },
    /// A change that cannot be made.
    #[error("change refused: {0}")]
    Change(String),
    /// Such records are made by the recorder alone.
    #[error("ledger: records of kind {0} are made by the recorder alone")]
    NotYours(u16),
}

impl Refusal {
    /// The reason in records.
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::Unavailable(_)
            | Self::NoSpace(_)
            | Self::Uncovered { .. }
            | Self::Unacknowledged { .. }
            | Self::TooLarge { .. }
            | Self::NotYours(_) => RefusalReason::Ledger,
            Self::PolicyMoved
            | Self::TerminalMoved
            | Self::Revoked
            | Self::ReasonAsked { .. }
            | Self::Suspended { .. } => RefusalReason::Revoked,
            Self::Grant { .. } => RefusalReason::Grant,
            Self::Key { .. } => RefusalReason::Key,
            Self::Change(_) => RefusalReason::Policy,
        }
    }
}

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// Its log.
    pub log: event::LogId,
    /// Its index in that log, from 0.
    pub index: u64,
    /// Its place among all records, from 0.
    pub sequence: u64,
}
