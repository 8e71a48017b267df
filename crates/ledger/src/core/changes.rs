//! Changes on their way into force: proposed, signed, withdrawn, and what each brings along.

use budget::Numbers;
use event::record::{Approval, Body, Change};
use event::{ActorId, ChangeId, LogId};

use super::{Core, Progress, SMALL_BYTES, encode};
use crate::batch::Refusal;
use crate::change;
use crate::frame::frame_bytes;
use crate::space::RESERVE;
use crate::state::APPROVALS;

/// Who proposes what the settings ask for; actors are numbered from 1.
pub(crate) const BY_SETTINGS: ActorId = ActorId(0);

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
        let bootstrap = loosens && !self.state.bootstrapped;
        let waits = loosens && !bootstrap;
        let brings = match waits {
            true => 0,
            false => self.bytes_brought(&what)?,
        };
        let proposed = Body::Proposed { change, by, what };
        let bytes = encode(&proposed)?;
        self.make_room_for(frame_bytes(bytes.len(), 0) + SMALL_BYTES, brings)?;
        self.put(LogId::Centre, &proposed)?;
        if waits {
            let waiting = Progress::Waiting {
                approvals: 0,
                needed: APPROVALS,
            };
            return Ok((change, waiting));
        }
        let progress = self.in_force(change, loosens, bootstrap)?;
        Ok((change, progress))
    }

    /// Proposes what the settings ask for, in the program's name. What is looser than the record
    /// waits for its signatures: gives its number then, also if it was proposed before.
    pub(super) fn ask_for(&mut self, what: &Change) -> Result<Option<ChangeId>, Refusal> {
        let mut open = self.state.proposals.iter();
        if let Some((change, _)) = open.find(|(_, proposal)| proposal.what == *what) {
            return Ok(Some(*change));
        }
        let (change, progress) = self.propose(BY_SETTINGS, what.clone())?;
        Ok(matches!(progress, Progress::Waiting { .. }).then_some(change))
    }

    pub(super) fn approve(
        &mut self,
        change: ChangeId,
        approval: Approval,
    ) -> Result<Progress, Refusal> {
        self.alive()?;
        let proposal = self.state.proposals.get(&change);
        let known = proposal.is_some_and(|it| it.approvals.contains(&approval));
        // A crash, or what was not true then, may have left a change that everyone signed.
        let again = known && self.state.approvals_held(change) >= APPROVALS;
        if !again {
            self.state
                .verify_approval(change, &approval)
                .map_err(Refusal::Change)?;
        }
        // One that makes no sense any more is found below.
        let brings = proposal.map_or(Ok(0), |it| self.bytes_brought(&it.what));
        self.make_room_for(2 * SMALL_BYTES, brings.unwrap_or(0))?;
        if !again {
            self.put(LogId::Centre, &Body::Approved { change, approval })?;
        }
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
        self.put(LogId::Centre, &body)?;
        self.settle()?;
        Ok(Progress::InForce {
            generation: self.state.generation,
        })
    }

    /// Adds what changes in force brought along.
    pub(super) fn settle(&mut self) -> Result<(), Refusal> {
        while let Some((log, body)) = self.state.owed.first().cloned() {
            self.put(log, &body)?;
        }
        Ok(())
    }

    /// Room for records and what they bring along, so that a crash leaves all or nothing of it but for
    /// a torn write. What is more than a segment takes is begun in an empty one.
    fn make_room_for(&mut self, bytes: usize, brings: usize) -> Result<(), Refusal> {
        let most = self.wal.capacity() - RESERVE;
        self.make_room((bytes + brings).min(most.max(bytes)))
            .map(|_| ())
    }

    /// Bytes of frames that a change brings along.
    fn bytes_brought(&self, what: &Change) -> Result<usize, Refusal> {
        let brings = change::brings(&self.state, what).map_err(Refusal::Change)?;
        let frames = brings
            .iter()
            .map(|(_, body)| Ok(frame_bytes(encode(body)?.len(), 0)));
        frames.sum()
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
