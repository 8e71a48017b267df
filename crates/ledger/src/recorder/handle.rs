//! Asking the recorder: what sessions, commands and the publisher hold of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use event::record::{Approval, Body, Change, RefusalReason, Who};
use event::{ActorId, ChangeId, ClientId, Digest, GrantId, LogId, SessionId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::{Durable, Queued, Shared};
use crate::batch::{Answer, Batch, Position, Refusal, Released, StatementScope};
use crate::charge::{Ask, Paid};
use crate::core::{Job, Progress};
use crate::frame::Mark;
use crate::promised::{Promise, Promised};
use crate::refusals::Refused;
use crate::retention::Due;
use crate::state::State;
use crate::wal::Fatal;

/// Asks the recorder. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) uncovered_wait_ms_max: u64,
    pub(super) places: Arc<Semaphore>,
    pub(super) jobs: Sender<Queued>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(..)")
    }
}

impl Handle {
    /// Charges a batch in row order, records what it paid for, waits until that is durable, and
    /// gives back those rows. A batch without charges and probes is released without a record. If
    /// the caller goes away meanwhile, what was charged stays charged and recorded.
    pub async fn append<R: Send + 'static>(&self, batch: Batch<R>) -> Answer<R> {
        let mut payloads = Vec::with_capacity(batch.rows.len());
        let mut rows = Vec::with_capacity(batch.rows.len());
        for row in batch.rows {
            payloads.push(row.payload);
            rows.push(row.charges);
        }
        let ask = Ask {
            who: batch.who,
            scope: batch.scope,
            probes: batch.probes,
            rows,
        };
        match self.charge_and_wait(ask).await {
            Ok(paid) => {
                let released = Released::prefix(payloads, paid.rows);
                match paid.cut {
                    Some(refusal) => Answer::Cut { released, refusal },
                    None => Answer::Released(released),
                }
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// A batch beyond what a client may be shown before it has the receipts waits for its own; what
    /// allowed it must still be in force then.
    async fn charge_and_wait(&self, ask: Ask) -> Result<Paid, Refusal> {
        let (scope, grant) = (ask.scope.clone(), ask.who.grant);
        let paid = self.charge(ask).await?;
        if !paid.due.is_empty() {
            self.receipts(&paid.due).await?;
            self.still_allowed(&scope, grant)?;
        }
        Ok(paid)
    }

    /// Waits until what is due may be released.
    pub(crate) async fn receipts(&self, due: &[crate::promised::Due]) -> Result<(), Refusal> {
        match (self.shared.promised(), due.first()) {
            (Some(promised), _) => promised.wait(due).await,
            // A cap is in force, and nobody is there to acknowledge.
            (None, Some(due)) => Err(due.refused(0)),
            (None, None) => Ok(()),
        }
    }

    /// Whether what allowed a release is in force after it waited. An end of a grant moves the
    /// generation; that its time is over does not.
    fn still_allowed(&self, scope: &StatementScope, grant: Option<GrantId>) -> Result<(), Refusal> {
        scope.check(&self.shared.state())?;
        let Some(grant) = grant else { return Ok(()) };
        let until_ms = self
            .shared
            .state()
            .grants
            .get(&grant)
            .map(|it| it.grant.until_ms);
        if until_ms.is_none_or(|until_ms| self.shared.clock.wall_ms() >= until_ms) {
            let why = "has expired";
            return Err(Refusal::Grant { grant, why });
        }
        Ok(())
    }

    /// A batch that finds too much uncovered by witnesses waits for them, within its time.
    async fn charge(&self, ask: Ask) -> Result<Paid, Refusal> {
        let bytes = if ask.is_free() { 0 } else { ask.bytes_bound() };
        let ask = Arc::new(ask);
        let first = Arc::clone(&ask);
        match self.ask(bytes, |answer| Job::Append(first, answer)).await {
            Err(Refusal::Uncovered { .. }) => self.charge_when_covered(ask, bytes).await,
            answer => answer,
        }
    }

    async fn charge_when_covered(&self, ask: Arc<Ask>, bytes: usize) -> Result<Paid, Refusal> {
        let mut covered = self.shared.covered.subscribe();
        let wait = tokio::time::sleep(Duration::from_millis(self.uncovered_wait_ms_max));
        tokio::pin!(wait);
        loop {
            covered.borrow_and_update();
            let again = Arc::clone(&ask);
            match self.ask(bytes, |answer| Job::Append(again, answer)).await {
                Err(refusal @ Refusal::Uncovered { .. }) => tokio::select! {
                    () = &mut wait => return Err(refusal),
                    _ = covered.changed() => {}
                },
                answer => return answer,
            }
        }
    }

    /// Says that a quorum of witnesses has cosigned the first `roots` leaves of the root log.
    pub fn set_covered(&self, roots: u64) {
        self.shared
            .covered
            .send_if_modified(|covered| std::mem::replace(covered, roots.max(*covered)) < roots);
    }

    /// Says that nothing has to be derived again from the frames before `mark`: what came from them
    /// is durable.
    pub fn set_derived(&self, mark: Mark) {
        self.shared.set_derived(mark);
    }

    /// Says which clients get receipts. Counts once, before anything can be released.
    pub(crate) fn promise(&self, promises: &[Promise]) {
        let _ = self.shared.promised.set(Promised::new(promises));
    }

    /// Wakes whenever an entry of the client's log became durable; `None`: it gets no receipts.
    pub(crate) fn receipts_due(&self, client: ClientId) -> Option<watch::Receiver<u64>> {
        self.shared.promised()?.news(client)
    }

    /// Says that the client acknowledged the receipts of the first `entries` of its log.
    pub(crate) fn receipts_acknowledged(&self, client: ClientId, entries: u64) {
        if let Some(promised) = self.shared.promised() {
            promised.acknowledged(client, entries);
        }
    }

    /// Says that before the start `subjects` were released in the first `end` entries of a client's
    /// log, whose receipts are not acknowledged. Until then nothing of a client with a cap is released.
    pub(crate) fn backlog(&self, client: ClientId, end: u64, subjects: u64) {
        if let Some(promised) = self.shared.promised() {
            promised.backlog(client, end, subjects);
        }
    }

    /// A sync of what is derived failed: the process ends, as for one of the write-ahead log.
    pub(crate) fn fatal(&self, fatal: &Fatal) {
        self.shared.fatal(fatal);
    }

    /// How far the ledger is durable; wakes for each new leaf of the root log.
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.shared.durable.subscribe()
    }

    /// Records that a session was opened or closed, something was refused or found, or an approved
    /// officer's file is made; durable when it returns.
    ///
    /// # Errors
    /// If it could not be recorded, or is of a kind that only the recorder makes.
    pub async fn record(&self, log: LogId, body: Body) -> Result<Position, Refusal> {
        let body = Box::new(body);
        self.ask(0, |answer| Job::Record(log, body, answer)).await
    }

    /// Proposes a change. What does not loosen, and in the bootstrap everything, is in force when
    /// it returns.
    ///
    /// # Errors
    /// If the change makes no sense, or could not be recorded.
    pub async fn propose(
        &self,
        by: ActorId,
        what: Change,
    ) -> Result<(ChangeId, Progress), Refusal> {
        self.ask(0, |answer| Job::Propose(by, what, answer)).await
    }

    /// Adds an approver's signature over [`event::record::change_bytes`]; the second one puts the
    /// change in force.
    ///
    /// # Errors
    /// If it does not verify, its signer is no active approver or has signed already, or it could
    /// not be recorded.
    pub async fn approve(&self, change: ChangeId, approval: Approval) -> Result<Progress, Refusal> {
        self.ask(0, |answer| Job::Approve(change, approval, answer))
            .await
    }

    /// Withdraws an open proposal.
    ///
    /// # Errors
    /// If it is not open, or could not be recorded.
    pub async fn withdraw(&self, change: ChangeId, by: ActorId) -> Result<(), Refusal> {
        self.ask(0, |answer| Job::Withdraw(change, by, answer))
            .await
    }

    /// Notes a refusal, without waiting: the first five a second of an actor are recorded one by
    /// one, the rest together when the second ends. Each client that it concerns has it in its own
    /// log, too.
    pub fn refused(
        &self,
        who: Option<Who>,
        reason: RefusalReason,
        shape: Option<Digest>,
        terminal: Option<String>,
        clients: &[ClientId],
    ) {
        let now_ms = self.shared.clock.boot_ms();
        let grant = who.as_ref().and_then(|who| who.grant);
        let grant_of = grant.and_then(|grant| {
            let state = self.shared.state();
            state.grants.get(&grant).map(|grant| grant.grant.client)
        });
        let refused = Refused {
            who,
            reason,
            shape,
            terminal,
            clients,
            grant_of,
        };
        self.shared.lock_refusals().add(now_ms, &refused);
        if !self.shared.woken.swap(true, Ordering::AcqRel) {
            self.send(Job::Wake, 0, None);
        }
    }

    /// The state as of the last durable record.
    pub fn state(&self) -> Arc<State> {
        self.shared.state()
    }

    /// The state's generation: cheap, for every row.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// What may be destroyed of a client's lists now; `None`: all stay.
    pub fn lists_due(&self, client: ClientId) -> Option<Due> {
        let state = self.shared.state();
        let (clock, times) = (&self.shared.clock, &state.times);
        let elapsed_ms = times.start.map_or(0, |start| {
            let passed = clock.boot_ms().saturating_sub(start.boot_ms);
            start.elapsed_ms.saturating_add(passed)
        });
        let wall_ms = clock.wall_ms().max(times.wall_ms);
        state.lists_due(client, wall_ms, elapsed_ms.max(times.elapsed_ms))
    }

    /// A session number that this ledger has not seen.
    pub fn new_session(&self) -> SessionId {
        SessionId(self.shared.last_session.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether the ledger still takes records.
    pub fn is_alive(&self) -> bool {
        !self.shared.stopped.load(Ordering::Acquire)
    }

    /// Whether what allowed a file to leave is in force after it waited.
    pub(crate) fn still_carries(
        &self,
        client: ClientId,
        who: &Who,
        terminal: &Digest,
    ) -> Result<(), Refusal> {
        let (state, wall_ms) = (self.shared.state(), self.shared.clock.wall_ms());
        let stands = state.carry_stands(client, who, terminal, wall_ms);
        stands.map(|_| ()).map_err(Refusal::Change)
    }

    pub(crate) async fn ask<T>(
        &self,
        bytes: usize,
        job: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Job,
    ) -> Result<T, Refusal> {
        let gone = || Refusal::Unavailable("it was stopped".into());
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| gone())?;
        let (answer, answered) = oneshot::channel();
        self.send(job(answer), bytes, Some(place));
        // A recorder that is gone has dropped the other end.
        answered.await.map_err(|_| gone())?
    }

    pub(super) fn send(&self, job: Job, bytes: usize, place: Option<OwnedSemaphorePermit>) {
        // A recorder that is gone has dropped the receiver: the job's answer is dropped with it.
        let _ = self.jobs.send(Queued {
            job,
            bytes,
            _place: place,
        });
    }
}
