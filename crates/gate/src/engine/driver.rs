//! What the driver sends: forwarded, planned, or refused.

use std::sync::{Arc, LazyLock};

use aho_corasick::AhoCorasick;
use bytes::Buf;
use pgwire::frame::{Frame, Step, next_frame};
use pgwire::frontend::{self, Target};

use super::awaited::{Awaited, Show, Undo};
use super::run::Origin;
use super::{Engine, Fatal};
use crate::errors::{self, GateError};
use crate::way_in::{Planned, Portal};

/// The longest message whose body is looked at although it is no statement (names of portals and
/// statements stand at its beginning), in bytes.
const NAMES_BYTES_MAX: usize = 8 << 10;
/// A Sync, and its length.
const SYNC: [u8; SYNC_BYTES] = [b'S', 0, 0, 0, 4];
const SYNC_BYTES: usize = 5;
/// The first of [`SESSION_WORDS`]: what may drop prepared statements.
const DROPPING_WORDS: usize = 2;
/// Words by which a text changes what the session has prepared and declared, anywhere in it.
static SESSION_WORDS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(["deallocate", "discard", "prepare", "close"])
        .expect("four short words make an automaton")
});

impl Engine {
    pub(super) fn look_at_driver(&mut self) -> Result<(), Fatal> {
        while self.to_server.len() < self.shared.limits.output_buffer_bytes_max {
            if !self.driver_step()? {
                break;
            }
        }
        Ok(())
    }

    /// Bytes that the message now being received needs in the buffer.
    pub(super) fn driver_message_bytes(&self) -> usize {
        match self.driver_in.get(..5) {
            Some(head) => {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                length
                    .saturating_add(1)
                    .min(self.buffered_bytes_max(head[0]))
            }
            None => 5,
        }
    }

    /// How many bytes of a message of this kind are buffered whole.
    fn buffered_bytes_max(&self, tag: u8) -> usize {
        let limits = &self.shared.limits;
        match tag {
            b'Q' | b'P' => limits.statement_bytes_max,
            b'B' => limits.bind_bytes_max,
            b'd' => limits.copy_row_bytes_max,
            _ => NAMES_BYTES_MAX,
        }
    }

    /// Looks at one message. False: nothing more can be done now.
    fn driver_step(&mut self) -> Result<bool, Fatal> {
        if self.drop_from_driver > 0 {
            let n = self.drop_from_driver.min(self.driver_in.len());
            self.driver_in.advance(n);
            self.drop_from_driver -= n;
            return Ok(n > 0);
        }
        if self.through_to_server > 0 {
            let n = self.through_to_server.min(self.driver_in.len());
            let bytes = self.driver_in.split_to(n);
            self.to_server.extend_from_slice(&bytes);
            self.through_to_server -= n;
            return Ok(n > 0);
        }
        let Some(&tag) = self.driver_in.first() else {
            return Ok(false);
        };
        if !self.may_look_at(tag) {
            return Ok(false);
        }
        let limit = self.buffered_bytes_max(tag);
        match next_frame(&self.driver_in, limit).map_err(errors::driver_protocol)? {
            Step::NeedMore { .. } => Ok(false),
            Step::Oversize { tag, total } => self.driver_oversize(tag, total),
            Step::Frame(Frame { tag, total, .. }) => {
                let message = self.driver_in.split_to(total).freeze();
                self.driver_message(tag, &message)?;
                Ok(true)
            }
        }
    }

    /// The barrier: what may be looked at while a sealed statement is under way.
    fn may_look_at(&self, tag: u8) -> bool {
        if self.skip_to_sync {
            return true;
        }
        match tag {
            b'd' | b'c' | b'f' => {
                if let Some(copying) = &self.copying_in {
                    return copying.has_room();
                }
                // A plain COPY that PostgreSQL has not answered yet.
                self.run.is_none()
                    && self.simple.is_none()
                    && (self.copying_plain || self.waiting.is_empty())
            }
            b'H' | b'S' if self.copying_in.is_some() => true,
            _ => self.run.is_none() && self.simple.is_none(),
        }
    }

    /// A message above the limit: streamed if nothing in it has to be looked at, else refused.
    fn driver_oversize(&mut self, tag: u8, total: usize) -> Result<bool, Fatal> {
        match tag {
            b'd' if self.copying_plain && self.copying_in.is_none() => {
                self.through_to_server = total;
            }
            b'B' => {
                if self.driver_in.len() < NAMES_BYTES_MAX {
                    return Ok(false);
                }
                match bind_names(&self.driver_in[5..]) {
                    Some((portal, statement)) if !self.prepared.contains_key(&statement) => {
                        let undo = self.forget_portal(&portal);
                        self.waiting.push(Awaited::Bind { hide: false, undo });
                        self.through_to_server = total;
                    }
                    _ => {
                        self.drop_from_driver = total;
                        let limit = self.shared.limits.bind_bytes_max;
                        self.poison(errors::too_long("Bind", "bind_bytes_max", limit), false);
                    }
                }
            }
            b'Q' | b'P' => {
                self.drop_from_driver = total;
                let limit = self.shared.limits.statement_bytes_max;
                let error = errors::too_long("statement", "statement_bytes_max", limit);
                self.poison(error, tag == b'Q');
            }
            _ => return Err(errors::driver_message_too_long(tag).into()),
        }
        Ok(true)
    }

    fn driver_message(&mut self, tag: u8, message: &[u8]) -> Result<(), Fatal> {
        let body = &message[5..];
        if self.skip_to_sync {
            match tag {
                b'S' => self.skip_to_sync = false,
                b'X' => {}
                _ => return Ok(()),
            }
        }
        let bad = errors::driver_protocol;
        match tag {
            b'Q' => self.query(message, frontend::decode_query(body).map_err(bad)?),
            b'P' => self.parse(message, &frontend::Parse::decode(body).map_err(bad)?),
            b'B' => self.bind(message, &frontend::Bind::decode(body).map_err(bad)?),
            b'D' => self.describe(message, Target::decode_body(body).map_err(bad)?),
            b'E' => self.execute(message, &frontend::Execute::decode(body).map_err(bad)?),
            b'C' => self.close(message, Target::decode_body(body).map_err(bad)?),
            b'S' if self.copying_in.is_some() => {}
            b'H' if self.copying_in.is_some() => {}
            b'S' => {
                self.executed = false;
                self.to_server.extend_from_slice(message);
                self.waiting.push(Awaited::Sync);
            }
            b'H' => self.to_server.extend_from_slice(message),
            b'd' | b'c' | b'f' => self.copy_message(tag, message),
            b'F' => self.function_call(message, body)?,
            b'X' => {
                self.to_server.extend_from_slice(message);
                self.terminated = true;
            }
            _ => return Err(errors::unexpected_message(tag).into()),
        }
        Ok(())
    }

    /// Whether a text has to be planned: it may name something sealed, or something that the
    /// session's state depends on. Takes note of one that may drop all prepared statements, the
    /// gate's own among them.
    fn may_be_sealed(&mut self, text: &[u8]) -> bool {
        // The catalogue's scan finds settings, EXECUTE, FETCH, MOVE, DEALLOCATE and DISCARD, too.
        let mentions = self.live.known().catalogue().mentions(text);
        let drops = mentions && self.check_prepared;
        let names =
            !(self.prepared.is_empty() && self.portals.is_empty() && self.cursors.is_empty());
        if !drops && (mentions || !names) {
            return mentions;
        }
        let mut named = false;
        for word in SESSION_WORDS.find_iter(text) {
            if word.pattern().as_usize() < DROPPING_WORDS {
                self.check_prepared = false;
            } else {
                named |= names;
            }
        }
        mentions || named
    }

    fn query(&mut self, message: &[u8], text: &[u8]) {
        let undo = (self.forget_statement(b""), self.forget_portal(b""));
        // A simple Query destroys both for good, whatever becomes of it.
        drop(undo);
        if !self.may_be_sealed(text) {
            self.to_server.extend_from_slice(message);
            self.waiting.push(Awaited::Query);
            return;
        }
        match self.plan_script(text) {
            Ok(None) => {
                self.to_server.extend_from_slice(message);
                self.waiting.push(Awaited::Query);
            }
            Ok(Some(script)) => self.begin_simple(script),
            Err(error) => self.poison(error, true),
        }
    }

    fn parse(&mut self, message: &[u8], parse: &frontend::Parse<'_>) {
        let planned = if self.may_be_sealed(parse.sql) {
            self.plan_one(parse.sql, parse.types)
        } else {
            Ok(Planned::Plain)
        };
        match planned {
            Ok(Planned::Plain) => {
                let undo = self.forget_statement(parse.name);
                self.to_server.extend_from_slice(message);
                self.waiting.push(Awaited::Parse {
                    hide: false,
                    undo,
                    of: None,
                });
            }
            Ok(Planned::Sealed(prepared)) => {
                if self.prepared.len() >= self.shared.limits.prepared_max {
                    let limit = self.shared.limits.prepared_max;
                    self.poison(errors::too_many_prepared(limit), false);
                    return;
                }
                let prepared: Arc<crate::way_in::Prepared> = Arc::from(prepared);
                prepared.write_parse(&mut self.to_server, parse.name);
                let old = self
                    .prepared
                    .insert(parse.name.to_vec(), Arc::clone(&prepared));
                let undo = Undo::Statement(parse.name.to_vec(), old);
                self.waiting.push(Awaited::Parse {
                    hide: false,
                    undo,
                    of: Some(prepared),
                });
            }
            Err(error) => self.poison(error, false),
        }
    }

    fn bind(&mut self, message: &[u8], bind: &frontend::Bind<'_>) {
        let Some(prepared) = self.prepared.get(bind.statement).cloned() else {
            let undo = self.forget_portal(bind.portal);
            self.to_server.extend_from_slice(message);
            self.waiting.push(Awaited::Bind { hide: false, undo });
            return;
        };
        match self.bind_sealed(prepared, bind) {
            Ok(portal) => {
                let old = self.portals.insert(bind.portal.to_vec(), Arc::new(portal));
                let undo = Undo::Portal(bind.portal.to_vec(), old);
                self.waiting.push(Awaited::Bind { hide: false, undo });
            }
            Err(error) => self.poison(error, false),
        }
    }

    fn describe(&mut self, message: &[u8], target: Target<'_>) {
        let of = match target {
            Target::Statement(name) => self.prepared.get(name).cloned(),
            Target::Portal(name) => self
                .portals
                .get(name)
                .map(|portal| Arc::clone(&portal.prepared)),
        };
        self.to_server.extend_from_slice(message);
        self.waiting.push(Awaited::Describe {
            show: Show::All,
            of,
        });
    }

    fn execute(&mut self, message: &[u8], execute: &frontend::Execute<'_>) {
        let first = !std::mem::replace(&mut self.executed, true);
        match self.portals.get(execute.portal).cloned() {
            Some(portal) => {
                let sync = first && self.sync_may_ride(&portal);
                if sync {
                    self.driver_in.advance(SYNC_BYTES);
                    self.executed = false;
                }
                let execute = message.to_vec();
                self.begin_run(portal, Origin::Extended { execute, sync });
            }
            None => {
                self.to_server.extend_from_slice(message);
                self.waiting.push(Awaited::Execute);
            }
        }
    }

    /// Whether the Sync behind an Execute may pass with it, before its rows are judged: it commits
    /// nothing that a cut would have to undo, since the statement is the only one of its
    /// transaction, reads, and calls nothing that is not known to be harmless. It saves PostgreSQL
    /// and the gate a round trip.
    fn sync_may_ride(&self, portal: &Portal) -> bool {
        let statement = portal.prepared.statement();
        self.transaction == b'I'
            && matches!(statement.kind, sql::Kind::Select)
            && !statement.early
            && !statement.sets
            && self.driver_in.starts_with(&SYNC)
            && self.waiting.is_settled()
    }

    fn close(&mut self, message: &[u8], target: Target<'_>) {
        let undo = match target {
            Target::Statement(name) => self.forget_statement(name),
            Target::Portal(name) => self.forget_portal(name),
        };
        self.to_server.extend_from_slice(message);
        self.waiting.push(Awaited::Close { hide: false, undo });
    }

    fn copy_message(&mut self, tag: u8, message: &[u8]) {
        if self.copying_in.is_some() {
            self.copy_in_message(tag, message);
        } else if self.copying_plain {
            self.to_server.extend_from_slice(message);
        }
        // Otherwise no COPY is under way (any more): PostgreSQL would ignore it, and what was
        // meant for a sealed table must not be sent in plain.
    }

    /// Functions called by number: only those that come with PostgreSQL (large objects); another
    /// one may reach sealed tables with values that cannot be planned.
    fn function_call(&mut self, message: &[u8], body: &[u8]) -> Result<(), Fatal> {
        let oid = body
            .get(..4)
            .ok_or_else(|| errors::unexpected_message(b'F'))?;
        let oid = u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]);
        if oid < 16_384 {
            self.to_server.extend_from_slice(message);
            self.waiting.push(Awaited::Query);
        } else {
            self.poison(errors::function_call(), true);
        }
        Ok(())
    }

    /// Refuses in place: PostgreSQL is made to fail where the statement would have stood, so that
    /// transaction, pipeline and Sync behave as after an error of its own; the driver gets `error`.
    pub(super) fn poison(&mut self, error: GateError, simple: bool) {
        self.poison_with(Some(error), simple);
    }

    /// The same; without an error the driver gets none (it had one already).
    pub(super) fn poison_with(&mut self, error: Option<GateError>, sync: bool) {
        self.own.write_poison(&mut self.to_server);
        self.waiting.push(Awaited::Poison {
            error: error.map(Box::new),
        });
        if sync {
            frontend::write_sync(&mut self.to_server);
            self.waiting.push(Awaited::Sync);
        } else {
            frontend::write_flush(&mut self.to_server);
            // PostgreSQL will skip what follows; a Bind to a statement that was refused would
            // bring it values in clear all the same.
            self.skip_to_sync = true;
        }
    }

    pub(super) fn forget_statement(&mut self, name: &[u8]) -> Undo {
        if self.prepared.is_empty() {
            return Undo::Nothing;
        }
        match self.prepared.remove(name) {
            Some(old) => Undo::Statement(name.to_vec(), Some(old)),
            None => Undo::Nothing,
        }
    }

    pub(super) fn forget_portal(&mut self, name: &[u8]) -> Undo {
        if self.portals.is_empty() {
            return Undo::Nothing;
        }
        match self.portals.remove(name) {
            Some(old) => Undo::Portal(name.to_vec(), Some(old)),
            None => Undo::Nothing,
        }
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Nothing => {}
            Undo::Check => self.check_prepared = false,
            Undo::Statement(name, Some(old)) => drop(self.prepared.insert(name, old)),
            Undo::Statement(name, None) => drop(self.prepared.remove(&name)),
            Undo::Portal(name, Some(old)) => drop(self.portals.insert(name, old)),
            Undo::Portal(name, None) => drop(self.portals.remove(&name)),
        }
    }
}

/// The portal's and the statement's name at the beginning of a Bind; `None`: not terminated.
fn bind_names(body: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = body.splitn(3, |&byte| byte == 0);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(portal), Some(statement), Some(_)) => Some((portal.to_vec(), statement.to_vec())),
        _ => None,
    }
}
