//! Changes in the fold: proposed, approved, in force. Whoever may loosen is looked at again for each record,
//! in every replay.

use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use event::record::{Approval, Change, change_bytes, encode_change};
use event::{ActorId, ChangeId, Role};

use super::{
    APPROVALS, Actor, Client, Enrolment, FoldError, GrantUse, PolicyText, Proposal, State,
    WatchInForce,
};
use crate::change;
use crate::list::sha256;

impl State {
    pub(super) fn proposed(
        &mut self,
        number: ChangeId,
        by: ActorId,
        what: &Change,
    ) -> Result<(), FoldError> {
        if number.0 != self.last_change.saturating_add(1) {
            return Err(format!("change {number} is out of order"));
        }
        self.last_change = number.0;
        let proposal = Proposal {
            by,
            what: what.clone(),
            approvals: Vec::new(),
        };
        Arc::make_mut(&mut self.proposals).insert(number, proposal);
        Ok(())
    }

    pub(super) fn approved(
        &mut self,
        number: ChangeId,
        approval: &Approval,
    ) -> Result<(), FoldError> {
        self.verify_approval(number, approval)?;
        if let Some(proposal) = Arc::make_mut(&mut self.proposals).get_mut(&number) {
            proposal.approvals.push(approval.clone());
        }
        Ok(())
    }

    /// Whether an approval counts: an open change, an active approver who has not signed it yet,
    /// and a signature that verifies with the key the ledger has of him.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify_approval(&self, number: ChangeId, approval: &Approval) -> Result<(), FoldError> {
        let proposal = self
            .proposals
            .get(&number)
            .ok_or_else(|| format!("change {number} is not open"))?;
        let approver = approval.approver;
        if proposal.approvals.iter().any(|a| a.approver == approver) {
            return Err(format!(
                "actor {approver} has signed change {number} already"
            ));
        }
        if self.signature_holds(number, &proposal.what, approval) {
            Ok(())
        } else {
            Err(format!(
                "the signature of actor {approver} on change {number} does not verify, or it is no active approver with a key"
            ))
        }
    }

    fn signature_holds(&self, number: ChangeId, what: &Change, approval: &Approval) -> bool {
        self.approver_key(approval.approver).is_some_and(|key| {
            UnparsedPublicKey::new(&ED25519, key)
                .verify(
                    &change_bytes(&self.ledger, number, what),
                    &approval.signature,
                )
                .is_ok()
        })
    }

    fn approver_key(&self, actor: ActorId) -> Option<[u8; 32]> {
        let actor = self.actors.get(&actor)?;
        (actor.active && actor.role == Role::Approver)
            .then_some(actor.signing_key)
            .flatten()
    }

    /// How many signatures of a change still hold: approvers may have been withdrawn since.
    pub fn approvals_held(&self, number: ChangeId) -> usize {
        self.proposals.get(&number).map_or(0, |proposal| {
            proposal
                .approvals
                .iter()
                .filter(|approval| self.signature_holds(number, &proposal.what, approval))
                .count()
        })
    }

    pub(super) fn in_force(
        &mut self,
        number: ChangeId,
        loosens: bool,
        bootstrap: bool,
    ) -> Result<(), FoldError> {
        let Some(proposal) = self.proposals.get(&number) else {
            return Err(format!("change {number} is not open"));
        };
        let loosens = loosens || change::loosens(self, &proposal.what);
        if bootstrap && self.bootstrapped {
            return Err(format!(
                "change {number} claims the bootstrap, which has ended"
            ));
        }
        if loosens && !bootstrap && self.approvals_held(number) < APPROVALS {
            return Err(format!("change {number} loosens and lacks two approvals"));
        }
        let what = proposal.what.clone();
        Arc::make_mut(&mut self.proposals).remove(&number);
        let brings = change::brings(self, &what)?;
        if !brings.is_empty() {
            Arc::make_mut(&mut self.owed).extend(brings);
        }
        self.generation += u64::from(self.alters_decisions(&what));
        self.enact(&what);
        if matches!(what, Change::EntryRetention { .. }) {
            self.entry_retention_change = number;
        }
        let approvers = self
            .actors
            .keys()
            .filter(|&&actor| self.approver_key(actor).is_some())
            .count();
        self.bootstrapped |= approvers >= APPROVALS;
        Ok(())
    }

    /// Whether something that was decided before a change might be decided otherwise after it.
    fn alters_decisions(&self, what: &Change) -> bool {
        match what {
            Change::ClientAdded { .. }
            | Change::Credential { .. }
            | Change::EnrolmentCode { .. }
            | Change::SigningKey { .. }
            | Change::LogKey { .. }
            | Change::Generation { .. }
            | Change::Retention { .. }
            | Change::EntryRetention { .. }
            | Change::OfficerFile { .. }
            | Change::UncoveredCap { .. }
            | Change::ReceiptCap { .. }
            | Change::Watch { .. }
            // A terminal's own change moves its epoch; health under a new policy is told by heartbeats.
            | Change::Terminal { .. }
            | Change::TerminalPolicy { .. }
            | Change::Grant(_) => false,
            Change::ActorSet { actor, .. } => self.actors.contains_key(actor),
            _ => true,
        }
    }

    fn actor_mut(&mut self, actor: ActorId) -> Option<&mut Actor> {
        Arc::make_mut(&mut self.actors).get_mut(&actor)
    }

    /// Puts a checked change in force.
    fn enact(&mut self, what: &Change) {
        match what {
            Change::ClientAdded { client, code, name } => {
                let added = Client {
                    code: code.clone(),
                    name: name.clone(),
                    key_epoch: None,
                    destroyed: false,
                    officer_file: false,
                    receipt_cap: None,
                };
                Arc::make_mut(&mut self.clients).insert(*client, added);
            }
            Change::ActorSet {
                actor,
                login,
                role,
                clients,
                active,
            } => {
                let before = self.actors.get(actor);
                let set = Actor {
                    login: login.clone(),
                    role: *role,
                    clients: clients.clone(),
                    active: *active,
                    credential: before.and_then(|before| before.credential),
                    enrolment: before.and_then(|before| before.enrolment),
                    signing_key: before.and_then(|before| before.signing_key),
                };
                Arc::make_mut(&mut self.actors).insert(*actor, set);
            }
            Change::Credential { actor, commitment } => {
                if let Some(actor) = self.actor_mut(*actor) {
                    actor.credential = Some(*commitment);
                    actor.enrolment = None;
                }
            }
            Change::EnrolmentCode {
                actor,
                commitment,
                until_ms,
            } => {
                if let Some(actor) = self.actor_mut(*actor) {
                    actor.enrolment = Some(Enrolment {
                        commitment: *commitment,
                        until_ms: *until_ms,
                    });
                }
            }
            Change::SigningKey { actor, public_key } => {
                if let Some(actor) = self.actor_mut(*actor) {
                    actor.signing_key = Some(*public_key);
                }
            }
            Change::Policy { cedar, masks } => {
                self.policy = Some(Arc::new(PolicyText {
                    digest: sha256(&encode_change(what)),
                    cedar: cedar.clone(),
                    masks: masks.clone(),
                }));
            }
            Change::Numbers { toml } => self.numbers = Some(Arc::new(toml.clone())),
            Change::Pin(pin) => {
                Arc::make_mut(&mut self.pins).insert(pin.database.clone(), Arc::new(pin.clone()));
            }
            Change::Grant(grant) => {
                let granted = GrantUse {
                    grant: grant.clone(),
                    used: 0,
                    ended: false,
                };
                Arc::make_mut(&mut self.grants).insert(grant.grant, granted);
            }
            Change::GrantEnded { grant } => {
                if let Some(grant) = Arc::make_mut(&mut self.grants).get_mut(grant) {
                    grant.ended = true;
                }
            }
            Change::ClientKey { client, epoch } => {
                if let Some(client) = Arc::make_mut(&mut self.clients).get_mut(client) {
                    client.key_epoch = Some(*epoch);
                }
            }
            Change::LogKey { public_key, .. } => {
                Arc::make_mut(&mut self.log_keys).push(*public_key);
            }
            Change::ClientDestroyed { client } => {
                if let Some(client) = Arc::make_mut(&mut self.clients).get_mut(client) {
                    client.destroyed = true;
                    client.officer_file = false;
                }
            }
            Change::OfficerFile { client } => {
                if let Some(client) = Arc::make_mut(&mut self.clients).get_mut(client) {
                    client.officer_file = true;
                }
            }
            Change::Retention { months } => self.retention_months = *months,
            Change::UncoveredCap { subjects } => self.uncovered_cap = *subjects,
            Change::ReceiptCap { client, subjects } => {
                if let Some(client) = Arc::make_mut(&mut self.clients).get_mut(client) {
                    client.receipt_cap = *subjects;
                }
            }
            Change::EntryRetention { months } => self.entry_retention_months = *months,
            Change::Watch {
                cases_per_day,
                response,
            } => {
                self.watch = WatchInForce {
                    cases_per_day: *cases_per_day,
                    response: *response,
                };
            }
            Change::Generation { number, .. } => self.log_generation = *number,
            Change::Terminal { .. } | Change::TerminalPolicy { .. } => self.enact_terminal(what),
        }
    }
}
