//! The replies that PostgreSQL owes, in order.
//!
//! Every message that is forwarded, by the driver's wish or the gate's, has one entry. An error
//! ends all entries up to the Sync (or the simple Query) that is waited for, and takes back what
//! was entered optimistically.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::errors::GateError;
use crate::way_in::{Portal, Prepared};

/// One reply that is owed.
#[derive(Debug)]
pub(super) enum Awaited {
    /// ParseComplete.
    Parse {
        hide: bool,
        undo: Undo,
        of: Option<Arc<Prepared>>,
    },
    /// BindComplete.
    Bind { hide: bool, undo: Undo },
    /// CloseComplete.
    Close { hide: bool, undo: Undo },
    /// ParameterDescription, if of a statement, then RowDescription or NoData. What is learnt
    /// about a sealed statement's columns is kept with it.
    Describe {
        show: Show,
        of: Option<Arc<Prepared>>,
    },
    /// Rows and an end, nothing sealed.
    Execute,
    /// Rows and an end of the sealed statement that holds the barrier.
    Run,
    /// The row of the gate's comparison of the live schema with the pin.
    Check,
    /// ReadyForQuery.
    Sync,
    /// A simple Query of the driver: everything up to ReadyForQuery.
    Query,
    /// The error that a Bind to no statement causes; in its place the driver gets this one.
    Poison { error: Option<Box<GateError>> },
}

/// What of a description the driver gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Show {
    /// All of it: the driver asked.
    All,
    /// RowDescription but not NoData: it stands in a simple Query.
    Rows,
    /// Nothing: the gate asked.
    Nothing,
}

/// How to take back what an entry did to the session's names.
#[derive(Debug, Default)]
pub(super) enum Undo {
    #[default]
    Nothing,
    Statement(Vec<u8>, Option<Arc<Prepared>>),
    Portal(Vec<u8>, Option<Arc<Portal>>),
    /// The gate's comparison of the live schema was not prepared.
    Check,
}

/// All replies that are owed.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: VecDeque<Awaited>,
}

impl Waiting {
    pub(super) fn push(&mut self, awaited: Awaited) {
        self.queue.push_back(awaited);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn head(&self) -> Option<&Awaited> {
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<Awaited> {
        self.queue.pop_front()
    }

    /// Whether nothing is owed but replies to messages that run nothing, so that the transaction's
    /// status is the one told last.
    pub(super) fn is_settled(&self) -> bool {
        self.queue.iter().all(|awaited| {
            matches!(
                awaited,
                Awaited::Parse { .. }
                    | Awaited::Bind { .. }
                    | Awaited::Close { .. }
                    | Awaited::Describe { .. }
            )
        })
    }

    /// After an error: drops entries up to the one whose ReadyForQuery ends it, last first, and
    /// gives back what has to be taken back, and the head's poison if the error was its own.
    pub(super) fn fail(&mut self) -> Failed {
        let end = self
            .queue
            .iter()
            .position(|awaited| matches!(awaited, Awaited::Sync | Awaited::Query))
            .unwrap_or(self.queue.len());
        let mut failed = Failed {
            undo: Vec::new(),
            ran: false,
            poison: None,
            ends: end < self.queue.len(),
        };
        let rest = self.queue.split_off(end);
        while let Some(awaited) = self.queue.pop_back() {
            let is_head = self.queue.is_empty();
            match awaited {
                Awaited::Parse { undo: u, .. }
                | Awaited::Bind { undo: u, .. }
                | Awaited::Close { undo: u, .. } => failed.undo.push(u),
                Awaited::Run => failed.ran = true,
                Awaited::Poison { error } if is_head => failed.poison = Some(error),
                _ => {}
            }
        }
        self.queue = rest;
        failed
    }
}

/// What an error ended.
pub(super) struct Failed {
    /// What has to be taken back, in this order.
    pub(super) undo: Vec<Undo>,
    /// Whether a ReadyForQuery is on its way already.
    pub(super) ends: bool,
    /// The barrier's statement was among it.
    pub(super) ran: bool,
    /// The error was caused by the gate; the driver gets this one instead, or none.
    pub(super) poison: Option<Option<Box<GateError>>>,
}
