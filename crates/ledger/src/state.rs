//! The state: a pure fold over the records. The same records give the same state, live or replayed.
//!
//! Invariant: nothing looser comes into force without valid signatures of two different active
//! approvers, except before the ledger first has two approvers with keys (the bootstrap: `sekisho
//! init` and the enrolment of the first two); such changes are marked in their record. The fold
//! checks the signatures again and stops at a record that breaks this.
//!
//! Maps are shared between versions of the state: a new version copies what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::Response;
use event::record::{Approval, Body, Change, Exposure, Grant, GrantKind, Who};
use event::{ActorId, ChangeId, ClientId, Digest, GrantId, LogId, Pin, Role, SessionId};

use crate::cases::Cases;
use crate::clock::{LastTimes, StartTimes};
use crate::terminals::Terminals;

mod changes;

/// Signatures that a looser change needs.
pub const APPROVALS: usize = 2;

/// A client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// The newest epoch of its key; `None`: no key yet.
    pub key_epoch: Option<u8>,
    /// Its keys were destroyed.
    pub destroyed: bool,
    /// An officer's file was approved that is not made yet.
    pub officer_file: bool,
    /// So many of its subjects may be released before their receipts are acknowledged; `None`: any
    /// number.
    pub receipt_cap: Option<u64>,
}

/// An actor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// The login name.
    pub login: String,
    /// The role.
    pub role: Role,
    /// The clients it may touch, ascending.
    pub clients: Vec<ClientId>,
    /// Whether it may log in.
    pub active: bool,
    /// Commitment to its credential.
    pub credential: Option<Digest>,
    /// A code for enrolment that was not used yet.
    pub enrolment: Option<Enrolment>,
    /// Its signing key (Ed25519).
    pub signing_key: Option<[u8; 32]>,
}

/// A one-time code for enrolment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enrolment {
    /// Commitment to the code.
    pub commitment: Digest,
    /// Until when, ms since the Unix epoch.
    pub until_ms: u64,
}

/// The policy in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyText {
    /// SHA-256 of the change's canonical bytes.
    pub digest: Digest,
    /// Cedar text.
    pub cedar: String,
    /// Masks.
    pub masks: String,
}

/// A grant and its use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantUse {
    /// The grant.
    pub grant: Grant,
    /// Units used.
    pub used: u64,
    /// Ended before its time.
    pub ended: bool,
}

/// The newest segment that was archived; all before it were, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastArchived {
    /// Its number.
    pub segment: u32,
    /// SHA-256 of its archive's file.
    pub digest: Digest,
}

/// A change that is neither in force nor withdrawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// Who proposed.
    pub by: ActorId,
    /// What.
    pub what: Change,
    /// Signatures so far, one an approver, each verified.
    pub approvals: Vec<Approval>,
}

/// Where and when a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Its log.
    pub log: LogId,
    /// Its place among all records.
    pub sequence: u64,
    /// The wall clock, ms since the Unix epoch.
    pub wall_ms: u64,
    /// Elapsed time, ms.
    pub elapsed_ms: u64,
}

/// A declared minimum of a client's log (C2SP tlog-tiles).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// Entries from here on stay in published copies.
    pub below: u64,
    /// Those below are of months before this one, yyyymm (UTC).
    pub before: u32,
}

/// What the records say so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// The ledger's id.
    pub ledger: [u8; 16],
    /// The centre's name.
    pub centre: String,
    /// Grows with every change that comes into force and could alter a decision already made; not
    /// with new clients, actors, grants, passwords and keys.
    pub generation: u64,
    /// Clients.
    pub clients: Arc<BTreeMap<ClientId, Client>>,
    /// Actors, inactive ones too.
    pub actors: Arc<BTreeMap<ActorId, Actor>>,
    /// The policy in force.
    pub policy: Option<Arc<PolicyText>>,
    /// The numbers in force: canonical TOML.
    pub numbers: Option<Arc<String>>,
    /// Pins in force, by database.
    pub pins: Arc<BTreeMap<String, Arc<Pin>>>,
    /// Grants, also those used up or ended.
    pub grants: Arc<BTreeMap<GrantId, GrantUse>>,
    /// Open proposals.
    pub proposals: Arc<BTreeMap<ChangeId, Proposal>>,
    /// Slots of the root log that are taken: the centre's, and one a client's log that was opened.
    pub slots: u32,
    /// The generation of the logs, from 1.
    pub log_generation: u32,
    /// Public keys that signed or sign the logs, in order.
    pub log_keys: Arc<Vec<[u8; 32]>>,
    /// The greatest number of a change.
    pub last_change: u32,
    /// Records about changes, cases and terminals so far: what people decide by. Only grows, so it says
    /// how far one reader's state is beside another's.
    pub decisions: u64,
    /// The greatest number of a session.
    pub last_session: u64,
    /// Whether the ledger has had two approvers with keys: from then on looser changes need them.
    pub bootstrapped: bool,
    /// Months that lists stay after their own; 0: for ever.
    pub retention_months: u32,
    /// The first month (yyyymm) whose lists stay, of clients whose older ones are destroyed.
    pub lists_destroyed: Arc<BTreeMap<ClientId, u32>>,
    /// Of each client and month (yyyymm) with lists that are not destroyed: the day of measured time
    /// ([`LastTimes::credited_ms`]) by which its last one was recorded.
    pub lists: Arc<BTreeMap<(ClientId, u32), u32>>,
    /// So many subjects may be exposed in all before a quorum of witnesses has seen it; `None`: any
    /// number.
    pub uncovered_cap: Option<u64>,
    /// Records that changes in force brought along and that are not there yet, in order: they lie in
    /// one commit with the change, and what a crash left out of it is recorded at the next start.
    pub owed: Arc<Vec<(LogId, Body)>>,
    /// Months that entries stay in published copies after their own; 0: for ever.
    pub entry_retention_months: u32,
    /// The change that says so; 0: none does.
    pub entry_retention_change: ChangeId,
    /// Minimums of clients' logs, oldest first.
    pub entries_pruned: Arc<BTreeMap<ClientId, Vec<Pruned>>>,
    /// What was archived.
    pub archived: Option<LastArchived>,
    /// What the last records say about time.
    pub times: LastTimes,
    /// Cases.
    pub cases: Arc<Cases>,
    /// What detection does.
    pub watch: WatchInForce,
    /// Terminals.
    pub terminals: Arc<Terminals>,
}

/// What is in force about detection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchInForce {
    /// Cases a day for 1,000 actors.
    pub cases_per_day: u32,
    /// What is done about a case about an actor.
    pub response: Response,
}

impl Default for WatchInForce {
    fn default() -> Self {
        Self {
            cases_per_day: 1,
            response: Response::Nothing,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            ledger: [0; 16],
            centre: String::new(),
            generation: 0,
            clients: Arc::default(),
            actors: Arc::default(),
            policy: None,
            numbers: None,
            pins: Arc::default(),
            grants: Arc::default(),
            proposals: Arc::default(),
            slots: 1,
            log_generation: 1,
            log_keys: Arc::default(),
            last_change: 0,
            decisions: 0,
            last_session: 0,
            bootstrapped: false,
            retention_months: 0,
            lists_destroyed: Arc::default(),
            lists: Arc::default(),
            uncovered_cap: None,
            owed: Arc::default(),
            entry_retention_months: 0,
            entry_retention_change: ChangeId(0),
            entries_pruned: Arc::default(),
            archived: None,
            times: LastTimes::default(),
            cases: Arc::default(),
            watch: WatchInForce::default(),
            terminals: Arc::default(),
        }
    }
}

/// A record that cannot be folded.
pub type FoldError = String;

impl State {
    /// Folds one record. On an error the state is not to be used any more.
    ///
    /// # Errors
    /// If the record contradicts those before it, or is critical and unknown.
    pub fn apply(&mut self, meta: &Meta, body: &Body) -> Result<(), FoldError> {
        self.times.wall_ms = meta.wall_ms;
        self.times.elapsed_ms = meta.elapsed_ms;
        if (meta.sequence == 0) != matches!(body, Body::Genesis { .. }) {
            return Err("the first record, and no other, is the genesis".into());
        }
        self.decisions += u64::from(matches!(
            body,
            Body::Proposed { .. }
                | Body::Approved { .. }
                | Body::InForce { .. }
                | Body::Withdrawn { .. }
                | Body::OfficerFile { .. }
                | Body::Case { .. }
                | Body::CaseNoted { .. }
                | Body::CaseClosed { .. }
                | Body::CaseReopened { .. }
                | Body::Rebaselined { .. }
                | Body::TerminalAsked { .. }
                | Body::TerminalEvidence { .. }
                | Body::TerminalReport { .. }
                | Body::TerminalHealth { .. }
                | Body::TerminalCopy { .. }
        ));
        match body {
            Body::Genesis { centre, ledger } => {
                self.centre.clone_from(centre);
                self.ledger = *ledger;
            }
            Body::Started {
                boot_id,
                boot_ms,
                elapsed_credit_ms,
                ..
            } => {
                self.times.start = Some(StartTimes {
                    boot_id: *boot_id,
                    boot_ms: *boot_ms,
                    elapsed_ms: meta.elapsed_ms,
                });
                Arc::make_mut(&mut self.terminals).forget_health();
                if *elapsed_credit_ms > 0 {
                    self.times.credited_at_ms = Some(meta.elapsed_ms);
                    let credited = self.times.credited_ms.saturating_add(*elapsed_credit_ms);
                    self.times.credited_ms = credited;
                }
            }
            Body::SessionOpened { who, .. } => self.saw_session(who.session),
            Body::Exposure(exposure) => {
                self.saw_session(exposure.who.session);
                if let Some(grant) = exposure.who.grant {
                    self.use_grant(grant, meta.log, exposure)?;
                }
                self.saw_list(meta);
            }
            Body::Proposed { change, by, what } => self.proposed(*change, *by, what)?,
            Body::Approved { change, approval } => self.approved(*change, approval)?,
            Body::InForce {
                change,
                loosens,
                bootstrap,
            } => self.in_force(*change, *loosens, *bootstrap)?,
            Body::Withdrawn { change, .. } => {
                Arc::make_mut(&mut self.proposals)
                    .remove(change)
                    .ok_or_else(|| format!("change {change} is not open"))?;
            }
            Body::Unknown {
                kind,
                critical: true,
            } => {
                return Err(format!(
                    "kind {kind} is critical and unknown to this version; use a newer one"
                ));
            }
            Body::LogOpened { ledger, slot } => {
                if *slot != self.slots || *ledger != self.ledger || meta.log == LogId::Centre {
                    return Err(format!("slot {} is due", self.slots));
                }
                self.settled(meta.log, body)?;
                self.slots += 1;
            }
            Body::LossDeclared { .. } | Body::ReceiptCap { .. } => self.settled(meta.log, body)?,
            Body::Archived {
                segment, digest, ..
            } => self.archived(meta.log, *segment, *digest)?,
            Body::ListsDestroyed { before } => {
                self.destroyed_lists(meta, *before)?;
            }
            Body::EntriesPruned {
                below,
                before,
                change,
            } => {
                let (below, before) = (*below, *before);
                self.pruned_entries(meta, Pruned { below, before }, *change)?;
            }
            Body::OfficerFile { .. } => self.officer_file_made(meta.log)?,
            Body::Case { .. }
            | Body::CaseNoted { .. }
            | Body::CaseClosed { .. }
            | Body::CaseReopened { .. }
            | Body::Rebaselined { .. } => self.apply_case(meta, body)?,
            Body::TerminalAsked { .. }
            | Body::TerminalReport { .. }
            | Body::TerminalEvidence { .. }
            | Body::TerminalHealth { .. } => self.apply_terminal(meta, body)?,
            Body::TerminalCopy {
                who,
                terminal,
                subjects,
                refused,
                ..
            } => {
                self.saw_list(meta);
                if refused.is_none() {
                    self.carried(meta, who, terminal, *subjects)?;
                }
            }
            Body::Stopped
            | Body::ClockStepped { .. }
            | Body::Snapshot { .. }
            | Body::TimeStamped { .. }
            | Body::Space { .. }
            | Body::SessionClosed { .. }
            | Body::Refused { .. }
            | Body::Shape { .. }
            | Body::Finding { .. }
            | Body::Canary { .. }
            | Body::Calls { .. }
            | Body::Terminal { .. }
            | Body::Counters { .. }
            | Body::Unknown { .. } => {}
        }
        Ok(())
    }

    /// A record is there that a change brought along.
    fn settled(&mut self, log: LogId, body: &Body) -> Result<(), FoldError> {
        let mut owed = self.owed.iter();
        let place = owed.position(|(of, owed)| *of == log && owed == body);
        let place = place.ok_or("no change in force brings this record along")?;
        Arc::make_mut(&mut self.owed).remove(place);
        Ok(())
    }

    fn archived(&mut self, log: LogId, segment: u32, digest: Digest) -> Result<(), FoldError> {
        let due = self.archived.map_or(0, |last| last.segment).checked_add(1);
        if due != Some(segment) || log != LogId::Centre {
            return Err(format!("segment {segment} is archived out of order"));
        }
        self.archived = Some(LastArchived { segment, digest });
        Ok(())
    }

    /// An approval is good for one file.
    fn officer_file_made(&mut self, log: LogId) -> Result<(), FoldError> {
        let client = match log {
            LogId::Client(client) => Arc::make_mut(&mut self.clients).get_mut(&client),
            LogId::Centre => None,
        };
        let approved = client.is_some_and(|client| std::mem::take(&mut client.officer_file));
        match approved {
            true => Ok(()),
            false => Err("no officer's file of this client waits to be made".into()),
        }
    }

    fn saw_session(&mut self, session: SessionId) {
        self.last_session = self.last_session.max(session.0);
    }

    fn use_grant(
        &mut self,
        grant: GrantId,
        log: LogId,
        exposure: &Exposure,
    ) -> Result<(), FoldError> {
        let used = Arc::make_mut(&mut self.grants)
            .get_mut(&grant)
            .ok_or_else(|| format!("grant {grant} does not exist"))?;
        if log != LogId::Client(used.grant.client) {
            // Probes (or rows) of other clients in the same statement: budgets paid for them.
            return Ok(());
        }
        used.used = used.used.saturating_add(match used.grant.what {
            GrantKind::See => exposure.subjects.charged,
            GrantKind::Import => exposure.probed.charged,
            // Files pay for it alone.
            GrantKind::Carry => 0,
        });
        Ok(())
    }

    /// The grant by which a file may be written to a company medium, whatever is in it: one that covers
    /// the client, its own actor's, at a terminal that has proven that it refuses everything else.
    ///
    /// # Errors
    /// Why not.
    pub fn carry_stands(
        &self,
        client: ClientId,
        who: &Who,
        terminal: &Digest,
        wall_ms: u64,
    ) -> Result<&GrantUse, FoldError> {
        if !self.terminals.is_healthy(terminal) {
            return Err("the terminal is not healthy".into());
        }
        let known = self.actors.get(&who.actor).filter(|it| it.active);
        let known = known.ok_or("the account may not be used any more")?;
        if self.cases.suspends(who.actor).is_some() {
            return Err("the person's clear outcome is suspended by a case".into());
        }
        let grant = who.grant.ok_or("there is no grant")?;
        let used = self.grants.get(&grant);
        let used = used.ok_or_else(|| format!("grant {grant} does not exist"))?;
        let of = &used.grant;
        let why = if of.what != GrantKind::Carry {
            "is for something else"
        } else if of.actor != who.actor {
            "is another actor's"
        } else if of.client != client {
            "is for another client"
        } else if !known.clients.contains(&client) {
            "is for a client that is not the person's any more"
        } else if used.ended {
            "was ended"
        } else if wall_ms >= of.until_ms {
            "has expired"
        } else {
            return Ok(used);
        };
        Err(format!("grant {grant} {why}"))
    }

    /// The same with so many subjects in it; at least one has to be left.
    ///
    /// # Errors
    /// Why not.
    pub fn may_carry(
        &self,
        client: ClientId,
        who: &Who,
        terminal: &Digest,
        subjects: u64,
        wall_ms: u64,
    ) -> Result<GrantId, FoldError> {
        let used = self.carry_stands(client, who, terminal, wall_ms)?;
        let (grant, left) = (
            used.grant.grant,
            used.grant.amount.saturating_sub(used.used),
        );
        if left == 0 {
            return Err(format!("grant {grant} is used up"));
        }
        if subjects > left {
            return Err(format!(
                "grant {grant} has {left} people left, the file {subjects}"
            ));
        }
        Ok(grant)
    }

    /// A file may be written to a company medium.
    fn carried(
        &mut self,
        meta: &Meta,
        who: &Who,
        terminal: &Digest,
        subjects: u64,
    ) -> Result<(), FoldError> {
        let LogId::Client(client) = meta.log else {
            return Err("a file is of a client".into());
        };
        let grant = self.may_carry(client, who, terminal, subjects, meta.wall_ms)?;
        if let Some(used) = Arc::make_mut(&mut self.grants).get_mut(&grant) {
            used.used += subjects;
        }
        Ok(())
    }
}
