//! Changes on their way into force: proposed, signed, withdrawn, and what each brings along.

use budget::Numbers;
use event::record::{Approval, Body, Change};
use event::{ActorId, ChangeId, LogId};

use super::{Core, Progress, SMALL_BYTES, encode};
use crate::batch::Refusal;
use crate::change;
use crate::frame::frame_bytes;
use crate::state::APPROVALS;

impl Core {
    pub(super) fn propose(
        &mut self,
        by: ActorId,
        what: Change,
    ) -> Result<(ChangeId, Progress), Refusal> {
        self.alive()?;
        let (wall_ms, _) = self.now();
        change::check(&self.state, &what, wall_ms).map_err(Refusal::Change)?;
        let change = ChangeId(self.state.last_change.saturating_add(1));
        let loosens = self.loosens(&what);
        let proposed = Body::Proposed { change, by, what };
        let bytes = encode(&proposed)?;
        self.make_room(frame_bytes(bytes.len(), 0) + SMALL_BYTES)?;
        self.put(LogId::Centre, &proposed)?;
        let bootstrap = loosens && !self.state.bootstrapped;
        if loosens && !bootstrap {
            let waiting = Progress::Waiting {
                approvals: 0,
                needed: APPROVALS,
            };
            return Ok((change, waiting));
        }
        let progress = self.in_force(change, loosens, bootstrap)?;
        Ok((change, progress))
    }

    pub(super) fn approve(
        &mut self,
        change: ChangeId,
        approval: Approval,
    ) -> Result<Progress, Refusal> {
        self.alive()?;
        self.state
            .verify_approval(change, &approval)
            .map_err(Refusal::Change)?;
        self.make_room(2 * SMALL_BYTES)?;
        self.put(LogId::Centre, &Body::Approved { change, approval })?;
        let approvals = self.state.approvals_held(change);
        if approvals < APPROVALS {
            return Ok(Progress::Waiting {
                approvals,
                needed: APPROVALS,
            });
        }
        let (wall_ms, _) = self.now();
        // What was true when it was proposed may have changed: then it stays open, to be withdrawn.
        if let Some(proposal) = self.state.proposals.get(&change) {
            change::check(&self.state, &proposal.what, wall_ms).map_err(Refusal::Change)?;
        }
        self.in_force(change, true, false)
    }

    pub(super) fn withdraw(&mut self, change: ChangeId, by: ActorId) -> Result<(), Refusal> {
        self.alive()?;
        if !self.state.proposals.contains_key(&change) {
            return Err(Refusal::Change(format!("change {change} is not open")));
        }
        self.put(LogId::Centre, &Body::Withdrawn { change, by })
            .map(|_| ())
    }

    fn in_force(
        &mut self,
        change: ChangeId,
        loosens: bool,
        bootstrap: bool,
    ) -> Result<Progress, Refusal> {
        let body = Body::InForce {
            change,
            loosens,
            bootstrap,
        };
        let opens = self.log_to_open(change);
        self.declare_loss(change)?;
        self.put(LogId::Centre, &body)?;
        if let Some((log, opened)) = opens {
            self.put(log, &opened)?;
        }
        Ok(Progress::InForce {
            generation: self.state.generation,
        })
    }

    /// A client that comes into force has a log from then on.
    fn log_to_open(&self, change: ChangeId) -> Option<(LogId, Body)> {
        match self.state.proposals.get(&change)?.what {
            Change::ClientAdded { client, .. } => {
                let (ledger, slot) = (self.state.ledger, self.state.slots);
                Some((LogId::Client(client), Body::LogOpened { ledger, slot }))
            }
            _ => None,
        }
    }

    /// A loss is told in every log that there is.
    fn declare_loss(&mut self, change: ChangeId) -> Result<(), Refusal> {
        let proposal = self.state.proposals.get(&change);
        let Some(Change::Generation {
            number,
            checkpoint,
            lost,
        }) = proposal.map(|proposal| &proposal.what)
        else {
            return Ok(());
        };
        let (size, root) =
            change::declared_head(&self.state, checkpoint).map_err(Refusal::Change)?;
        let declared = Body::LossDeclared {
            generation: *number,
            size,
            root,
            lost: lost.clone(),
        };
        let clients: Vec<_> = self.state.clients.keys().copied().collect();
        for log in clients
            .into_iter()
            .map(LogId::Client)
            .chain([LogId::Centre])
        {
            self.put(log, &declared)?;
        }
        Ok(())
    }

    fn loosens(&self, what: &Change) -> bool {
        change::loosens(&self.state, what)
            || match what {
                Change::Policy { cedar, masks } => {
                    (self.options.policy_looser)(self.state.policy.as_deref(), cedar, masks)
                }
                Change::Numbers { toml } => {
                    Numbers::parse(toml).map_or(true, |new| new.looser_than(&self.numbers))
                }
                _ => false,
            }
    }
}
