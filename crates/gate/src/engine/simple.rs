//! A simple Query that names something sealed: its statements run one after the other by the
//! extended protocol, without a Sync between them, which keeps the implicit transaction.

use std::collections::VecDeque;
use std::sync::Arc;

use pgwire::frontend;

use super::Engine;
use super::awaited::Awaited;
use super::run::Origin;
use crate::errors::GateError;
use crate::way_in::Portal;

/// The statements that are still to run.
pub(super) struct Simple {
    rest: VecDeque<sql::Statement>,
}

impl Engine {
    pub(super) fn begin_simple(&mut self, script: sql::Script) {
        self.simple = Some(Simple {
            rest: script.statements.into(),
        });
        self.next_simple(true);
    }

    /// Starts the next statement, or ends the Query.
    pub(super) fn next_simple(&mut self, go_on: bool) {
        let Some(simple) = &mut self.simple else {
            return;
        };
        let next = if go_on { simple.rest.pop_front() } else { None };
        let Some(statement) = next else {
            self.end_simple();
            return;
        };
        match self
            .prepare(statement, &[])
            .and_then(|prepared| self.bind_nothing(Arc::new(prepared)))
        {
            Ok(portal) => self.begin_run(Arc::new(portal), Origin::Simple),
            Err(error) => self.refuse_simple(error),
        }
    }

    fn refuse_simple(&mut self, error: GateError) {
        self.simple = None;
        self.poison(error, true);
    }

    /// Ends the Query with a Sync, whose ReadyForQuery the driver waits for.
    pub(super) fn end_simple(&mut self) {
        if self.simple.take().is_some() {
            frontend::write_sync(&mut self.to_server);
            self.waiting.push(Awaited::Sync);
        }
    }

    fn bind_nothing(&self, prepared: Arc<crate::way_in::Prepared>) -> Result<Portal, GateError> {
        Ok(Portal::of_literals(prepared))
    }
}
