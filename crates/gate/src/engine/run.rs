//! A sealed statement under way: judged rows, the batches that wait for their record, and the cut.
//!
//! There is one at most; while there is, the driver's later messages wait (the barrier). Its rows
//! leave in the order judged -> recorded -> released, and in no other.

use std::collections::VecDeque;
use std::sync::Arc;

use event::ClientId;
use event::record::RefusalReason;
use ledger::{Answer, Batch, BudgetRefusal, Probe, Row};
use pgwire::backend::{self, Severity};
use pgwire::frontend::{self, Target};

use super::awaited::{Awaited, Show, Undo};
use super::output::{Held, Ticket};
use super::{Engine, Setting};
use crate::errors::{self, GateError};
use crate::rights::Scope;
use crate::way_in::{Effect, Portal};
use crate::way_out::{Judge, Verdict};

/// Rows in the first batch of a statement; doubled with each up to the limit.
const FIRST_BATCH_ROWS: usize = 16;

/// How the statement came.
#[derive(Debug)]
pub(super) enum Origin {
    /// By Execute; its bytes, and whether the driver's Sync behind it goes with it
    /// ([`Engine::sync_may_ride`]).
    Extended { execute: Vec<u8>, sync: bool },
    /// As a part of a simple Query.
    Simple,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Its probes are being recorded; nothing was sent.
    Proving(Ticket),
    /// PostgreSQL is at it.
    Sent,
    /// The driver has its error; what PostgreSQL still sends is dropped.
    Cut,
    /// PostgreSQL is done; rows or the end may still wait.
    Ended { succeeded: bool },
}

/// The sealed statement that holds the barrier.
pub(super) struct Run {
    portal: Arc<Portal>,
    origin: Origin,
    state: State,
    /// Probes that no batch has charged yet.
    probes: Vec<Probe>,
    open: Vec<Row<Held>>,
    open_bytes: usize,
    batch_rows: usize,
    judge: Judge,
    /// Relations whose live shape PostgreSQL still has to tell.
    checks: VecDeque<event::PinnedRelation>,
    differs: Option<String>,
    /// The ReadyForQuery of a Sync that went with it, until its rows are released.
    ready: Option<bytes::Bytes>,
}

impl Run {
    fn has_its_sync(&self) -> bool {
        matches!(self.origin, Origin::Extended { sync: true, .. })
    }
}

impl Engine {
    /// Takes the barrier and starts a sealed statement.
    pub(super) fn begin_run(&mut self, portal: Arc<Portal>, origin: Origin) {
        let simple = matches!(origin, Origin::Simple);
        let with_sync = simple || matches!(origin, Origin::Extended { sync: true, .. });
        let probes = match self.rights_for(&portal) {
            Ok(probes) => probes,
            Err(error) => {
                if simple {
                    self.simple = None;
                }
                self.poison(error, with_sync);
                return;
            }
        };
        let judge = Judge::new(&portal, &self.live.known());
        let early = portal.prepared.early() || probes.len() > sql::PROBES_RIDING_MAX;
        self.run = Some(Run {
            portal,
            origin,
            state: State::Sent,
            probes,
            open: Vec::new(),
            open_bytes: 0,
            batch_rows: FIRST_BATCH_ROWS,
            judge,
            checks: VecDeque::new(),
            differs: None,
            ready: None,
        });
        if !early {
            self.send_run();
            return;
        }
        // A write without probes is asked for too: what allowed it must still be in force.
        if let Some(batch) = self.take_batch() {
            let ticket = self.output.ask_aside(batch);
            if let Some(run) = &mut self.run {
                run.state = State::Proving(ticket);
            }
        }
    }

    /// Sends the statement and what the gate wants to know beside it.
    fn send_run(&mut self) {
        let Some(run) = &mut self.run else { return };
        run.state = State::Sent;
        let portal = Arc::clone(&run.portal);
        let prepared = &portal.prepared;
        if prepared.statement().sealed {
            self.tally.statement(prepared.shape().0);
        }
        let buf = &mut self.to_server;
        if matches!(run.origin, Origin::Simple) {
            prepared.write_parse(buf, b"");
            let of = Some(Arc::clone(prepared));
            self.waiting.push(Awaited::Parse {
                hide: true,
                undo: Default::default(),
                of,
            });
            frontend::write_bind(buf, b"", b"", [], [], []).expect("an empty Bind fits");
            self.waiting.push(Awaited::Bind {
                hide: true,
                undo: Default::default(),
            });
            frontend::write_describe(buf, Target::Portal(b"")).expect("an empty name fits");
            let of = Some(Arc::clone(prepared));
            self.waiting.push(Awaited::Describe {
                show: Show::Rows,
                of,
            });
        } else if prepared.columns().is_none() {
            frontend::write_describe(buf, Target::Portal(&portal.name))
                .expect("the name came in a message");
            let of = Some(Arc::clone(prepared));
            self.waiting.push(Awaited::Describe {
                show: Show::Nothing,
                of,
            });
        }
        for (written, relation) in prepared.checks(&self.live.known()) {
            if !self.check_prepared {
                self.own.write_prepare_check(buf);
                self.waiting.push(Awaited::Close {
                    hide: true,
                    undo: Undo::Nothing,
                });
                self.waiting.push(Awaited::Parse {
                    hide: true,
                    undo: Undo::Check,
                    of: None,
                });
                self.check_prepared = true;
            }
            self.own.write_check(buf, &written);
            self.waiting.push(Awaited::Bind {
                hide: true,
                undo: Default::default(),
            });
            self.waiting.push(Awaited::Check);
            self.waiting.push(Awaited::Close {
                hide: true,
                undo: Default::default(),
            });
            run.checks.push_back(relation);
        }
        match &run.origin {
            Origin::Extended { execute, .. } => buf.extend_from_slice(execute),
            Origin::Simple => frontend::write_execute(buf, b"", 0).expect("an empty name fits"),
        }
        self.waiting.push(Awaited::Run);
        if run.has_its_sync() {
            frontend::write_sync(buf);
            self.waiting.push(Awaited::Sync);
        } else {
            frontend::write_flush(buf);
        }
    }

    /// Keeps the ReadyForQuery of a Sync that went with the statement until its rows are released;
    /// false: it is of something else.
    pub(super) fn keep_ready(&mut self, message: &[u8]) -> bool {
        match &mut self.run {
            Some(run) if run.has_its_sync() && run.state != State::Cut => {
                run.ready = Some(bytes::Bytes::copy_from_slice(message));
                true
            }
            _ => false,
        }
    }

    /// A row of the gate's comparison came.
    pub(super) fn check_row(&mut self, body: &[u8]) {
        let Some(run) = &mut self.run else { return };
        let shape = backend::DataRow::decode(body)
            .ok()
            .and_then(|row| row.values.iter().next().flatten());
        let Some(relation) = run.checks.front() else {
            return;
        };
        let expected = super::own::expected_shape(relation);
        if shape != Some(expected.as_bytes()) && run.differs.is_none() {
            run.differs = Some(format!("{}.{}", relation.schema, relation.name));
        }
    }

    /// The comparison of one relation ended.
    pub(super) fn check_ended(&mut self) {
        let Some(run) = &mut self.run else { return };
        // Without a row PostgreSQL does not find the relation, and its own error will say so. A view
        // or a table of another schema has a row, and differs.
        run.checks.pop_front();
        if run.checks.is_empty()
            && run.state == State::Sent
            && let Some(name) = run.differs.take()
        {
            self.finding(event::record::FindingKind::PinDiffers, Some(name.clone()));
            self.cut(errors::pin_differs(&name));
        }
    }

    /// A DataRow of the statement.
    pub(super) fn run_row(&mut self, message: &[u8]) {
        let Some(run) = &mut self.run else { return };
        if run.state == State::Cut {
            return;
        }
        self.tally.row();
        let verdict = run.judge.row(&mut self.rights, &run.portal, message);
        self.hold(message, verdict);
    }

    /// A CopyData of the statement's COPY TO STDOUT.
    pub(super) fn run_copy_row(&mut self, message: &[u8]) {
        let Some(run) = &mut self.run else { return };
        if run.state == State::Cut {
            return;
        }
        self.tally.row();
        let verdict = run.judge.copy_row(&mut self.rights, message);
        self.hold(message, verdict);
    }

    fn hold(&mut self, message: &[u8], verdict: Verdict) {
        let Some(run) = &mut self.run else { return };
        let (charges, payload) = match verdict {
            Verdict::AsItIs if run.open.is_empty() && run.probes.is_empty() => {
                self.output.push(message, true);
                return;
            }
            Verdict::AsItIs => (Vec::new(), message.to_vec()),
            Verdict::Opened { message, charges } => (charges, message),
            Verdict::Refused(error) => {
                self.cut(error);
                return;
            }
        };
        run.open_bytes += payload.len();
        run.open.push(Row {
            charges,
            payload: Held::new(payload),
        });
        let limits = &self.shared.limits;
        if run.open.len() >= run.batch_rows || run.open_bytes >= limits.batch_bytes_max {
            run.batch_rows = (run.batch_rows * 2).min(limits.batch_rows_max);
            self.close_batch();
        }
    }

    /// Asks the ledger for the rows that are held.
    pub(super) fn close_batch(&mut self) {
        if self.run.as_ref().is_some_and(|run| !run.open.is_empty()) {
            self.close_answers();
        }
    }

    /// Asks the ledger for the rows that are held and the probes that no batch has charged, before
    /// something else is told to the driver.
    pub(super) fn close_answers(&mut self) {
        let owed = |run: &Run| !run.open.is_empty() || !run.probes.is_empty();
        if self.run.as_ref().is_some_and(owed)
            && let Some(batch) = self.take_batch()
        {
            self.output.ask(batch);
        }
    }

    /// What is held and not yet charged, as a batch.
    fn take_batch(&mut self) -> Option<Batch<Held>> {
        let run = self.run.as_mut()?;
        let rows = std::mem::take(&mut run.open);
        run.open_bytes = 0;
        let mut scope = self.rights.statement_scope(run.portal.prepared.shape());
        // A row that shows nothing of it tells that somebody was found, too; the end of a search
        // without a row, that nobody was.
        let ended = matches!(run.state, State::Ended { .. });
        scope.found = match (rows.is_empty(), run.portal.prepared.searches()) {
            (false, _) => Some(true),
            (true, true) if ended => Some(false),
            (true, _) => None,
        };
        Some(Batch {
            who: self.rights.who(&self.person),
            scope,
            probes: std::mem::take(&mut run.probes),
            rows,
        })
    }

    /// PostgreSQL ended the statement with `message` (CommandComplete, PortalSuspended,
    /// EmptyQueryResponse, or an ErrorResponse).
    pub(super) fn end_run(&mut self, message: &[u8], succeeded: bool) {
        let Some(run) = &mut self.run else { return };
        if run.state == State::Cut {
            self.run = None;
            return;
        }
        run.state = State::Ended { succeeded };
        // The end is an answer too: a probe that found nothing is recorded before it is told.
        self.close_answers();
        self.rights.sequence().next_statement();
        self.output.push(message, true);
        self.output.run_over();
        self.report_judgement();
    }

    /// Moves released bytes on, and opens the barrier if the statement is over.
    pub(super) fn settle(&mut self) {
        if !self.output.settle() {
            return;
        }
        let Some(run) = self.run.take() else { return };
        let succeeded = run.state == State::Ended { succeeded: true };
        if succeeded {
            self.apply(&run.portal.prepared.effect);
        }
        if let Some(ready) = &run.ready {
            self.output.push(ready, false);
        }
        if matches!(run.origin, Origin::Simple) {
            self.next_simple(succeeded);
        }
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::None => {}
            Effect::Setting(setting) => self.apply_setting(setting.clone()),
            // To UTF-8 only when PostgreSQL tells so: an error may take it back before.
            Effect::Encoding(utf8) => self.utf8 &= *utf8,
            Effect::Keep(name, prepared) => {
                self.prepared
                    .insert(name.clone().into_bytes(), Arc::clone(prepared));
            }
            Effect::Drop(Some(name)) => drop(self.prepared.remove(name.as_bytes())),
            Effect::Drop(None) => {
                self.prepared.clear();
                self.check_prepared = false;
            }
            Effect::OpenCursor(name) => drop(self.cursors.insert(name.clone())),
            Effect::CloseCursor(Some(name)) => drop(self.cursors.remove(name)),
            Effect::CloseCursor(None) => self.cursors.clear(),
            Effect::Reset { statements } => {
                let all = Scope::new(self.rights.clients().to_vec());
                self.apply_setting(Setting::Scope(all));
                self.apply_setting(Setting::Purpose(None));
                self.apply_setting(Setting::Grant(None));
                if *statements {
                    self.prepared.clear();
                    self.portals.clear();
                    self.cursors.clear();
                    self.check_prepared = false;
                }
            }
            Effect::Schema => self.live.stale(),
        }
    }

    pub(super) fn apply_setting(&mut self, setting: Setting) {
        match setting {
            Setting::Scope(scope) => self.rights.set_scope(scope),
            Setting::Purpose(purpose) => self.rights.set_purpose(purpose),
            Setting::Grant(grant) => self.rights.set_grant(grant),
            Setting::Copy(code) => {
                let who = self.rights.who(&self.person);
                if let Some(terminal) = self.person.terminal_id {
                    self.shared.copies.confirm(terminal, code, who);
                }
            }
        }
    }

    /// The ledger answered.
    pub(crate) fn answered(&mut self, ticket: Ticket, answer: Answer<Held>) {
        if self.copy_in_asked(ticket) {
            self.copy_in_answered(answer);
            return;
        }
        let proving = self
            .run
            .as_ref()
            .is_some_and(|run| run.state == State::Proving(ticket));
        if !proving && !self.output.head_is(ticket) {
            return; // of a statement that was cut
        }
        let refusal = match answer {
            Answer::Released(released) => {
                if proving {
                    self.send_run();
                } else {
                    self.output.release(released.into_rows());
                }
                return;
            }
            Answer::Cut { released, refusal } => {
                if !proving {
                    self.output.release(released.into_rows());
                }
                self.budget_error(&refusal)
            }
            Answer::Refused(refusal) => self.ledger_error(&refusal),
        };
        self.cut(refusal);
    }

    /// Ends the statement where it stands: the driver gets `error`, the rest is drained, and
    /// PostgreSQL is made to fail, so that nothing of an open transaction stays.
    pub(super) fn cut(&mut self, error: GateError) {
        self.cut_at(error, false);
    }

    /// The same while PostgreSQL waits for COPY data: it is told that none comes.
    pub(super) fn cut_copy(&mut self, error: GateError) {
        self.cut_at(error, true);
    }

    fn cut_at(&mut self, error: GateError, copying: bool) {
        let Some(run) = &mut self.run else { return };
        self.output.drop_run();
        let simple = matches!(run.origin, Origin::Simple);
        let has_its_sync = run.has_its_sync();
        let ready = run.ready.take();
        let state = std::mem::replace(&mut run.state, State::Cut);
        run.open.clear();
        run.probes.clear();
        self.copying_in = None;
        self.tell(&error);
        if has_its_sync {
            // Nothing to undo, and nothing behind it to skip.
            if let Some(ready) = ready {
                self.output.push(&ready, false);
            }
        } else if copying {
            frontend::write_copy_fail(&mut self.to_server, b"refused by the gate")
                .expect("a short text fits");
            if simple {
                frontend::write_sync(&mut self.to_server);
                self.waiting.push(Awaited::Sync);
            } else {
                frontend::write_flush(&mut self.to_server);
            }
        } else {
            self.poison_with(None, simple);
        }
        if simple {
            self.simple = None;
        } else if !has_its_sync {
            self.skip_to_sync = true;
        }
        if matches!(state, State::Proving(_) | State::Ended { .. }) {
            self.run = None;
        }
        self.report_judgement();
    }

    /// PostgreSQL skips what comes after an error, up to the Sync; so does the gate with a statement
    /// that was `sent` behind it, or that still waits for the record of its probes.
    pub(super) fn skip_run(&mut self, sent: bool) {
        let proving = |run: &Run| matches!(run.state, State::Proving(_));
        if self.run.as_ref().is_some_and(|run| sent || proving(run)) {
            self.run = None;
            self.copying_in = None;
            self.simple = None;
        }
    }

    /// Gives the driver an error of the gate, and the ledger its refusal.
    pub(super) fn tell(&mut self, error: &GateError) {
        error.write(self.output.tail(false), Severity::Error);
        if let Some(reason) = error.reason {
            self.refused(reason, error.client);
        }
    }

    /// It concerns the client that it is about, or all that the statement could have touched.
    fn refused(&self, reason: RefusalReason, about: Option<ClientId>) {
        let shape = self.run.as_ref().map(|run| run.portal.prepared.shape().0);
        let who = Some(self.rights.who(&self.person));
        let scope = self.rights.scope().clients();
        let clients = about.as_ref().map_or(scope, std::slice::from_ref);
        self.shared
            .recorder
            .refused(who, reason, shape, None, clients);
    }

    pub(super) fn finding(&self, kind: event::record::FindingKind, relation: Option<String>) {
        self.shared
            .finding(self.rights.who(&self.person), kind, 1, relation);
    }

    /// Findings that the judge counted in this statement.
    fn report_judgement(&mut self) {
        let Some(run) = &mut self.run else { return };
        for (kind, count) in run.judge.take_findings() {
            self.shared
                .finding(self.rights.who(&self.person), kind, count, None);
        }
    }

    pub(super) fn run_is_copy_out(&mut self) {
        if let Some(run) = &mut self.run {
            run.judge.copying_out();
        }
    }

    /// Whether the driver has had the statement's error already.
    pub(super) fn run_is_cut(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.state == State::Cut)
    }

    pub(super) fn run_portal(&self) -> Option<Arc<Portal>> {
        self.run.as_ref().map(|run| Arc::clone(&run.portal))
    }

    fn budget_error(&self, refusal: &BudgetRefusal) -> GateError {
        crate::refusals::budget(refusal, &self.person)
    }

    fn ledger_error(&self, refusal: &ledger::Refusal) -> GateError {
        crate::refusals::ledger(refusal)
    }
}
