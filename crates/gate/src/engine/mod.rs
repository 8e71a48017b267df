//! A session between its driver and PostgreSQL, as a state machine over bytes.
//!
//! Two directions meet here. What the driver sends is split into messages; what names nothing
//! sealed is forwarded as it is. A sealed statement becomes a [`run::Run`] and a *barrier*: nothing
//! that the driver sent after it is looked at until its rows are judged, recorded and released.
//! What PostgreSQL sends goes through one FIFO ([`output::Output`]), so that nothing overtakes
//! rows that wait for their record.
//!
//! Invariants:
//! - a row with an opened cell leaves only as `ledger::Released` (invariant 1);
//! - what is not understood about a sealed statement is refused before it is sent (invariant 2);
//! - every message that the gate adds has an [`Awaited`] of its own, and its reply is hidden;
//! - buffers are bounded by [`crate::Limits`].
//!
//! No sockets, clocks or tasks: [`crate::session`] drives it and polls the ledger for it.

mod awaited;
mod copy_in;
mod driver;
mod output;
mod own;
mod plan;
mod run;
mod server;
mod simple;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::BytesMut;
use event::{ActorId, Digest, GrantId, Plain, Role, SessionId};

use self::awaited::Waiting;
use self::copy_in::CopyingIn;
use self::output::Output;
pub(crate) use self::output::{Held, Ticket};
pub(crate) use self::own::Own;
use self::run::Run;
use self::simple::Simple;
use crate::catalogue::Live;
use crate::errors::GateError;
use crate::rights::{Rights, Scope};
use crate::shared::Shared;
use crate::tally;
use crate::way_in::{Portal, Prepared};

/// Who is at the driver's end.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) actor: ActorId,
    pub(crate) login: String,
    pub(crate) role: Role,
    pub(crate) session: SessionId,
    pub(crate) terminal: String,
    /// The terminal that it is, if it is known.
    pub(crate) terminal_id: Option<Digest>,
    /// Its agent passes the session on.
    pub(crate) passed_on: bool,
    pub(crate) tls: bool,
}

/// What `SET sekisho....` said, applied when PostgreSQL has answered it.
#[derive(Clone, Debug)]
pub(crate) enum Setting {
    Scope(Scope),
    Purpose(Option<Arc<Plain<String>>>),
    Grant(Option<GrantId>),
    /// The code of a copy that waits at this session's terminal.
    Copy(String),
}

/// The state of one session. Owned by its task; nothing else reads or writes it.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) person: Person,
    live: Arc<Live>,
    rights: Rights,
    own: Own,
    /// What it passed and sent in the transaction under way.
    tally: tally::Own,

    /// Statements as the session knows them; only sealed ones are kept. Optimistic: entered when
    /// forwarded, taken back if PostgreSQL refuses ([`awaited::Undo`]).
    prepared: HashMap<Vec<u8>, Arc<Prepared>>,
    /// Sealed portals of the protocol, likewise.
    portals: HashMap<Vec<u8>, Arc<Portal>>,
    /// Sealed cursors of SQL; stale entries cost a barrier and nothing else.
    cursors: HashSet<String>,
    /// Whether the session's encoding is UTF-8 for certain: as PostgreSQL has told, and no SET has
    /// gone through since.
    utf8: bool,
    /// What PostgreSQL told last; it tells of every change before a ReadyForQuery.
    told_utf8: bool,
    standard_conforming_strings: bool,
    /// The status of the last ReadyForQuery: `I`, `T` or `E`.
    transaction: u8,

    /// Bytes of the driver not yet looked at.
    driver_in: BytesMut,
    /// Bytes of PostgreSQL not yet looked at.
    server_in: BytesMut,
    /// Towards PostgreSQL.
    to_server: BytesMut,
    /// Towards the driver.
    output: Output,
    /// Bytes of a long message that still go through unread.
    through_to_server: usize,
    through_to_driver: usize,
    /// Bytes of a refused long message that are still dropped.
    drop_from_driver: usize,
    /// Replies that PostgreSQL owes.
    waiting: Waiting,
    /// The sealed statement that holds the barrier.
    run: Option<Run>,
    /// Its COPY data, while it copies in.
    copying_in: Option<CopyingIn>,
    /// The simple Query that it is part of.
    simple: Option<Simple>,
    /// After a cut: messages are skipped up to the driver's Sync, as PostgreSQL does.
    skip_to_sync: bool,
    /// Something was executed since the last Sync.
    executed: bool,
    /// A plain COPY FROM is under way.
    copying_plain: bool,
    /// Cells came back in a statement that was taken for unsealed.
    unexpected_cells: bool,
    /// Whether PostgreSQL has the statement that compares the live schema with the pin.
    check_prepared: bool,
    /// The driver said Terminate.
    terminated: bool,
}

/// The session cannot go on; the connection is closed after the text was sent.
#[derive(Debug)]
pub(crate) struct Fatal(pub(crate) GateError);

impl From<GateError> for Fatal {
    fn from(error: GateError) -> Self {
        Self(error)
    }
}

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        person: Person,
        live: Arc<Live>,
        rights: Rights,
        secret: u64,
    ) -> Self {
        let tally = tally::Own::new(&shared.tally, live.database());
        Self {
            tally,
            shared,
            person,
            live,
            rights,
            own: Own::new(secret),
            prepared: HashMap::new(),
            portals: HashMap::new(),
            cursors: HashSet::new(),
            utf8: true,
            told_utf8: true,
            standard_conforming_strings: true,
            transaction: b'I',
            driver_in: BytesMut::new(),
            server_in: BytesMut::new(),
            to_server: BytesMut::new(),
            output: Output::default(),
            through_to_server: 0,
            through_to_driver: 0,
            drop_from_driver: 0,
            waiting: Waiting::default(),
            run: None,
            copying_in: None,
            simple: None,
            skip_to_sync: false,
            executed: false,
            copying_plain: false,
            unexpected_cells: false,
            check_prepared: false,
            terminated: false,
        }
    }

    /// Takes bytes that the driver sent. [`Engine::advance`] looks at them.
    pub(crate) fn take_from_driver(&mut self, bytes: &[u8]) {
        self.driver_in.extend_from_slice(bytes);
    }

    /// Takes bytes that PostgreSQL sent.
    pub(crate) fn take_from_server(&mut self, bytes: &[u8]) {
        self.server_in.extend_from_slice(bytes);
    }

    /// Looks at everything that can be looked at now. `server_dry`: PostgreSQL's socket has
    /// nothing more for the moment, so rows should not wait for company.
    pub(crate) fn advance(&mut self, server_dry: bool) -> Result<(), Fatal> {
        loop {
            let before = self.progress_mark();
            self.look_at_server()?;
            self.settle();
            self.look_at_driver()?;
            if self.progress_mark() == before {
                break;
            }
        }
        if server_dry {
            self.close_batch();
            self.settle();
        }
        Ok(())
    }

    /// Anything that moved shows in one of these.
    fn progress_mark(&self) -> (usize, usize, usize, u64) {
        (
            self.driver_in.len(),
            self.server_in.len(),
            self.to_server.len(),
            self.output.moves(),
        )
    }

    /// Whether bytes of the driver are wanted.
    pub(crate) fn wants_driver(&self) -> bool {
        let limits = &self.shared.limits;
        !self.terminated
            && self.driver_in.len()
                < limits
                    .driver_buffer_bytes_max
                    .max(self.driver_message_bytes())
            && self.to_server.len() < limits.output_buffer_bytes_max
    }

    /// Whether bytes of PostgreSQL are wanted.
    pub(crate) fn wants_server(&self) -> bool {
        self.output.has_room(&self.shared.limits)
    }

    pub(crate) fn server_bytes(&mut self) -> &mut BytesMut {
        &mut self.to_server
    }

    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Whether what is ready for the driver waits, so that it goes out with what comes next.
    pub(crate) fn holds_back(&self) -> bool {
        let sync_is_next = matches!(self.waiting.head(), Some(awaited::Awaited::Sync));
        !self.terminated && self.output.may_wait(sync_is_next, &self.shared.limits)
    }

    /// Whether there are bytes to look at or to send, or appends to ask for.
    pub(crate) fn has_work(&self) -> bool {
        self.output.has_asks()
    }

    /// Whether the driver ended the session.
    pub(crate) fn terminated(&self) -> bool {
        self.terminated
    }

    /// Whether the session is between statements and outside a transaction.
    pub(crate) fn is_idle(&self) -> bool {
        self.transaction == b'I'
            && self.run.is_none()
            && self.simple.is_none()
            && self.waiting.is_empty()
    }
}
