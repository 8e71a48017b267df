//! What went through the gate from sealed tables, for comparison with what PostgreSQL counted itself.
//!
//! Invariants: a session hands over what it did when PostgreSQL does so too, at the end of a transaction
//! or of the session, so that both sides of the comparison move together; nothing here waits for
//! anything but a lock that is held for a few additions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use event::Digest;

/// Shapes of statements that are told apart in a database between two looks; the others count as one
/// that is never known.
const SHAPES_MAX: usize = 4096;
/// Databases that are kept.
const DATABASES_MAX: usize = 1_000;

/// What went through, of one database.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Passed {
    /// Rows of statements that name something sealed, and rows with cells of others.
    pub rows: u64,
    /// How often statements of each shape were sent.
    pub statements: HashMap<Digest, u64>,
    /// And of shapes beyond what is told apart.
    pub others: u64,
}

impl Passed {
    fn statement(&mut self, shape: Digest, times: u64) {
        if self.statements.len() < SHAPES_MAX || self.statements.contains_key(&shape) {
            *self.statements.entry(shape).or_default() += times;
        } else {
            self.others += times;
        }
    }

    fn is_empty(&self) -> bool {
        self.rows == 0 && self.others == 0 && self.statements.is_empty()
    }
}

/// What went through, of all databases, since somebody took it.
#[derive(Debug, Default)]
pub struct Tally(Mutex<HashMap<String, Passed>>);

impl Tally {
    /// Takes what went through since it was taken before.
    pub fn take(&self, database: &str) -> Passed {
        let mut databases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        databases.remove(database).unwrap_or_default()
    }

    fn add(&self, database: &str, passed: Passed) {
        let mut databases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if databases.len() >= DATABASES_MAX && !databases.contains_key(database) {
            return;
        }
        let of = databases.entry(database.to_owned()).or_default();
        of.rows += passed.rows;
        of.others += passed.others;
        for (shape, times) in passed.statements {
            of.statement(shape, times);
        }
    }
}

/// One session's part, until its transaction ends.
#[derive(Debug)]
pub(crate) struct Own {
    tally: Arc<Tally>,
    database: String,
    passed: Passed,
}

impl Own {
    pub(crate) fn new(tally: &Arc<Tally>, database: &str) -> Self {
        Self {
            tally: Arc::clone(tally),
            database: database.to_owned(),
            passed: Passed::default(),
        }
    }

    pub(crate) fn row(&mut self) {
        self.passed.rows += 1;
    }

    pub(crate) fn statement(&mut self, shape: Digest) {
        self.passed.statement(shape, 1);
    }

    /// The transaction is over.
    pub(crate) fn hand_over(&mut self) {
        if !self.passed.is_empty() {
            let passed = std::mem::take(&mut self.passed);
            self.tally.add(&self.database, passed);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_session_did_counts_when_its_transaction_is_over() {
        let tally = Arc::new(Tally::default());
        let mut own = Own::new(&tally, "crm");
        own.statement(Digest([1; 32]));
        own.row();
        assert_eq!(tally.take("crm"), Passed::default());
        own.hand_over();
        own.statement(Digest([1; 32]));
        drop(own);
        let passed = tally.take("crm");
        assert_eq!((passed.rows, passed.others), (1, 0));
        assert_eq!(passed.statements, HashMap::from([(Digest([1; 32]), 2)]));
        assert_eq!(tally.take("crm"), Passed::default());
        assert_eq!(tally.take("other"), Passed::default());
    }

    #[test]
    fn shapes_beyond_what_is_told_apart_are_counted_together() {
        let mut passed = Passed::default();
        for number in 0..SHAPES_MAX as u64 + 5 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            passed.statement(Digest(digest), 1);
        }
        passed.statement(Digest([0; 32]), 1);
        assert_eq!((passed.statements.len(), passed.others), (SHAPES_MAX, 5));
        assert_eq!(passed.statements[&Digest([0; 32])], 2);
    }
}
