//! The fold.

use event::ActorId;

use crate::finding::Finding;
use crate::record::Record;
use crate::settings::Settings;

/// A case's number, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CaseNumber(pub u32);

/// A case that a finding belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Its number.
    pub case: CaseNumber,
    /// About whom; `None`: about no actor.
    pub actor: Option<ActorId>,
    /// Whether this finding opened it; otherwise it joined it.
    pub new: bool,
}

/// What a record led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// What was found.
    pub finding: Finding,
    /// The case it belongs to; findings below the alert budget are not said.
    pub case: Opened,
}

/// Records that were not counted, by reason.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// More than two days older than the newest.
    pub late: u64,
    /// The same sequence as, or one before, a record that was taken.
    pub repeated: u64,
    /// More than a day ahead of all others.
    pub future: u64,
    /// Numbers that cannot be: more new subjects than subjects, an end before its begin.
    pub impossible: u64,
}

/// Detection over records in order.
#[derive(Debug)]
pub struct Watch {
    settings: Settings,
    skipped: Skipped,
}

impl Watch {
    /// Before the first record.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            skipped: Skipped::default(),
        }
    }

    /// Takes a record; adds what it led to.
    pub fn step(&mut self, record: &Record<'_>, said: &mut Vec<Said>) {
        let _ = (record, said, self.settings);
    }

    /// Ends the day of the newest record, as when a later one came: at the end of an import.
    pub fn finish(&mut self, said: &mut Vec<Said>) {
        let _ = said;
    }

    /// A case was closed: later findings about its actor open a new one.
    pub fn close(&mut self, case: CaseNumber) {
        let _ = case;
    }

    /// What was not counted.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }
}
