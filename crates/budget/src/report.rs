//! What a charge comes back with: how much was granted, what it did, which budget ended.

use std::fmt;

use event::ClientId;
use event::record::{Effects, RefusalReason};

use crate::Window;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Distinct subjects in clear.
    Subjects,
    /// Distinct values probed.
    Probes,
    /// Distinct values seen masked.
    Masked,
}

impl Kind {
    /// The reason that goes into the record.
    pub fn reason(self) -> RefusalReason {
        match self {
            Self::Subjects => RefusalReason::SubjectBudget,
            Self::Probes => RefusalReason::ProbeBudget,
            Self::Masked => RefusalReason::MaskedBudget,
        }
    }
}

/// Over whom a budget counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// One actor, one client.
    ActorAndClient,
    /// One actor, the sum over all clients.
    Actor,
    /// One client, the sum over all actors.
    Client,
}

/// Which budget ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What is counted.
    pub kind: Kind,
    /// Over whom.
    pub level: Level,
    /// In which window; the longest, if several ended.
    pub window: Window,
    /// The client of the row, or of the probe.
    pub client: ClientId,
    /// The limit.
    pub limit: u64,
    /// What the window holds; the refused row is not in it.
    pub used: u64,
    /// What it would hold with the refused row, or probes.
    pub wanted: u64,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Subjects => "distinct subjects",
            Kind::Probes => "searched or written values",
            Kind::Masked => "masked values",
        };
        let whose = match self.level {
            Level::ActorAndClient => format!("of this actor for client {}", self.client),
            Level::Actor => "of this actor over all clients".to_owned(),
            Level::Client => format!("of all actors for client {}", self.client),
        };
        let window = match self.window {
            Window::All => "in all".to_owned(),
            window => format!("in any {}", window.name()),
        };
        write!(
            f,
            "budget of {kind} {whose}: {} {window}, {} used",
            self.limit, self.used
        )
    }
}

/// What a batch did to one client's budgets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientEffects {
    /// The client.
    pub client: ClientId,
    /// Distinct subjects.
    pub subjects: Effects,
    /// Probes.
    pub probes: Effects,
    /// Masked values.
    pub masked: Effects,
}

/// What came of a charge. Nothing of it is refunded.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Charged {
    /// Rows that may be released: the first so many of the batch.
    pub rows: usize,
    /// Whether the probes were charged. If not, nothing of the batch may be released, nor the
    /// statement sent.
    pub probes_granted: bool,
    /// One for each client of which something was charged, ascending.
    pub effects: Vec<ClientEffects>,
    /// Why it stopped before the end.
    pub refusal: Option<Refusal>,
}

/// What the windows hold: hour, day, 30 days, all time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    /// Distinct subjects in clear.
    pub subjects: [u64; 4],
    /// Probes.
    pub probes: [u64; 4],
    /// Masked values.
    pub masked: [u64; 4],
}

impl Refusal {
    /// With what the window held before the refused row.
    pub(crate) fn before(self, used: u64) -> Self {
        Self { used, ..self }
    }
}
