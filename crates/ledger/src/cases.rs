//! Cases as a fold: which there are, who may see nothing in clear meanwhile, and who closed them.
//!
//! Invariants: a case is opened, joined, closed and reopened in the centre's log, and its copies in
//! clients' logs change nothing but where it stands; a grave one is closed by two people, and none by
//! whom it is about; what is done about somebody ends when every case that asks for it is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use event::record::{Body, CaseFinding};
use event::{ActorId, ClientId, LogId};
use event::{CloseReason, Response};

use crate::snapshot::bytes::{Put, Take};
use crate::state::{FoldError, Meta, State};

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// By whom.
    pub by: ActorId,
    /// Who had asked for it, of a grave one.
    pub asked: Option<ActorId>,
    /// Why.
    pub reason: CloseReason,
    /// When, ms since the Unix epoch.
    pub at_ms: u64,
}

/// A case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Case {
    /// About whom; `None`: about no actor.
    pub actor: Option<ActorId>,
    /// In whose logs it stands too.
    pub clients: BTreeSet<ClientId>,
    /// Codes of the detectors that spoke.
    pub detectors: BTreeSet<u8>,
    /// Findings.
    pub findings: u32,
    /// The greatest surprise of one, in 1/256 bits.
    pub bits: u32,
    /// When it was opened, ms since the Unix epoch.
    pub opened_ms: u64,
    /// When the newest finding was recorded, ms since the Unix epoch.
    pub newest_ms: u64,
    /// Whether closing it takes two people.
    pub grave: bool,
    /// What is done about it while it is open.
    pub response: Response,
    /// Who asked to close it, of a grave one.
    pub asked: Option<ActorId>,
    /// How it ended.
    pub closed: Option<Closed>,
}

/// What open cases ask to be done about an actor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Held {
    /// The first case because of which it sees nothing in clear.
    suspends: Option<u32>,
    /// The first case that lowers its budgets.
    lowers: Option<u32>,
    /// The case that asks for a reason, and since when, ms since the Unix epoch.
    asks: Option<(u32, u64)>,
}

/// All cases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cases {
    /// By number, from 1.
    pub all: BTreeMap<u32, Case>,
    /// What is done about actors. Follows from `all`.
    held: BTreeMap<ActorId, Held>,
    /// Whose pace somebody asked to take as the usual one, and who.
    pub rebaselines: BTreeMap<ActorId, ActorId>,
}

impl Cases {
    /// The case because of which an actor sees nothing in clear.
    pub fn suspends(&self, actor: ActorId) -> Option<u32> {
        self.held.get(&actor)?.suspends
    }

    /// Who sees nothing in clear.
    pub fn suspended(&self) -> impl Iterator<Item = ActorId> {
        let held = self.held.iter();
        held.filter(|it| it.1.suspends.is_some()).map(|it| *it.0)
    }

    /// The case that lowers an actor's budgets.
    pub fn lowers(&self, actor: ActorId) -> Option<u32> {
        self.held.get(&actor)?.lowers
    }

    /// The case that asks an actor for a reason, and since when, ms since the Unix epoch.
    pub fn asks(&self, actor: ActorId) -> Option<(u32, u64)> {
        self.held.get(&actor)?.asks
    }

    /// The greatest number of a case; 0: there is none.
    pub fn last(&self) -> u32 {
        self.all.keys().next_back().copied().unwrap_or(0)
    }

    fn case(&mut self, number: u32) -> Result<&mut Case, FoldError> {
        self.all
            .get_mut(&number)
            .ok_or_else(|| format!("there is no case {number}"))
    }

    fn hold(&mut self, actor: Option<ActorId>) {
        let Some(actor) = actor else { return };
        let mut held = Held::default();
        for (&number, case) in &self.all {
            if case.actor != Some(actor) || case.closed.is_some() {
                continue;
            }
            match case.response {
                Response::Nothing => {}
                Response::AskReason => {
                    let since_ms = held.asks.map_or(0, |(_, since_ms)| since_ms);
                    held.asks = Some((number, case.newest_ms.max(since_ms)));
                }
                Response::LowerBudget => {
                    held.lowers.get_or_insert(number);
                }
                Response::Suspend => {
                    held.suspends.get_or_insert(number);
                }
            }
        }
        if held == Held::default() {
            self.held.remove(&actor);
        } else {
            self.held.insert(actor, held);
        }
    }

    fn found(
        &mut self,
        (number, new): (u32, bool),
        finding: &CaseFinding,
        (grave, response): (bool, Response),
        wall_ms: u64,
    ) -> Result<(), FoldError> {
        if new {
            if number != self.last().saturating_add(1) {
                return Err(format!("case {number} is out of order"));
            }
            let case = Case {
                actor: finding.actor,
                opened_ms: wall_ms,
                ..Case::default()
            };
            self.all.insert(number, case);
        }
        let case = self.case(number)?;
        if case.closed.is_some() || case.actor != finding.actor {
            return Err(format!("case {number} takes no such finding"));
        }
        case.findings = case.findings.saturating_add(1);
        case.detectors.insert(finding.detector);
        case.bits = case.bits.max(finding.bits);
        case.newest_ms = wall_ms;
        case.grave |= grave;
        case.response = case.response.max(response);
        // Whoever asked did not know of this one.
        case.asked = None;
        let actor = case.actor;
        self.hold(actor);
        Ok(())
    }

    fn closed(
        &mut self,
        number: u32,
        by: ActorId,
        asked: Option<ActorId>,
        (reason, at_ms): (CloseReason, u64),
    ) -> Result<(), FoldError> {
        let case = self.case(number)?;
        if case.closed.is_some() {
            return Err(format!("case {number} is closed already"));
        }
        if case.actor == Some(by) {
            return Err(format!(
                "case {number} is about actor {by}, who may not close it"
            ));
        }
        match (case.grave, asked) {
            (true, None) => {
                case.asked = Some(by);
                return Ok(());
            }
            (true, Some(first)) if case.asked != Some(first) || first == by => {
                return Err(format!("case {number} takes two people to close"));
            }
            (false, Some(_)) => return Err(format!("one person closes case {number}")),
            _ => {}
        }
        case.asked = None;
        case.closed = Some(Closed {
            by,
            asked,
            reason,
            at_ms,
        });
        let actor = case.actor;
        self.hold(actor);
        Ok(())
    }

    fn reopened(&mut self, number: u32, by: ActorId) -> Result<(), FoldError> {
        let case = self.case(number)?;
        if case.closed.take().is_none() {
            return Err(format!("case {number} is open"));
        }
        if case.actor == Some(by) {
            return Err(format!("case {number} is about actor {by}"));
        }
        let actor = case.actor;
        self.hold(actor);
        Ok(())
    }

    fn rebaselined(
        &mut self,
        actor: ActorId,
        by: ActorId,
        asked: Option<ActorId>,
    ) -> Result<(), FoldError> {
        if by == actor {
            return Err(format!(
                "actor {actor} may not say what is usual for itself"
            ));
        }
        match asked {
            None => {
                self.rebaselines.insert(actor, by);
                Ok(())
            }
            Some(first) if first != by && self.rebaselines.get(&actor) == Some(&first) => {
                self.rebaselines.remove(&actor);
                Ok(())
            }
            Some(_) => Err("it takes two people to rebaseline an actor".into()),
        }
    }
}

impl State {
    /// Folds a record of a case.
    pub(crate) fn apply_case(&mut self, meta: &Meta, body: &Body) -> Result<(), FoldError> {
        let cases = Arc::make_mut(&mut self.cases);
        if let LogId::Client(client) = meta.log {
            // A copy.
            if let Body::Case { case, .. } = body {
                cases.case(*case)?.clients.insert(client);
            }
            return Ok(());
        }
        match body {
            Body::Case {
                case,
                new,
                finding,
                grave,
                response,
            } => cases.found((*case, *new), finding, (*grave, *response), meta.wall_ms),
            Body::CaseNoted { case, .. } => cases.case(*case).map(|_| ()),
            Body::CaseClosed {
                case,
                by,
                asked,
                reason,
                ..
            } => cases.closed(*case, *by, *asked, (*reason, meta.wall_ms)),
            Body::CaseReopened { case, by, .. } => cases.reopened(*case, *by),
            Body::Rebaselined { actor, by, asked } => cases.rebaselined(*actor, *by, *asked),
            _ => Ok(()),
        }
    }
}

pub(crate) fn put(out: &mut Vec<u8>, cases: &Cases) {
    let Cases {
        all,
        held: _,
        rebaselines,
    } = cases;
    out.count(all.len());
    for (number, case) in all {
        out.u32(*number);
        put_case(out, case);
    }
    out.count(rebaselines.len());
    for (actor, by) in rebaselines {
        out.u32(actor.0);
        out.u32(by.0);
    }
}

fn put_case(out: &mut Vec<u8>, case: &Case) {
    let Case {
        actor,
        clients,
        detectors,
        findings,
        bits,
        opened_ms,
        newest_ms,
        grave,
        response,
        asked,
        closed,
    } = case;
    out.option(*actor, |out, actor| out.u32(actor.0));
    out.count(clients.len());
    clients.iter().for_each(|client| out.u32(client.get()));
    out.count(detectors.len());
    detectors.iter().for_each(|detector| out.u8(*detector));
    out.u32(*findings);
    out.u32(*bits);
    out.u64(*opened_ms);
    out.u64(*newest_ms);
    out.bool(*grave);
    out.u8(*response as u8);
    out.option(*asked, |out, by| out.u32(by.0));
    out.option(*closed, |out, closed| {
        out.u32(closed.by.0);
        out.option(closed.asked, |out, by| out.u32(by.0));
        out.u8(closed.reason as u8);
        out.u64(closed.at_ms);
    });
}

pub(crate) fn take(from: &mut Take<'_>) -> Option<Cases> {
    let all = from.list(|from| Some((from.u32()?, take_case(from)?)))?;
    let rebaselines = from.list(|from| Some((ActorId(from.u32()?), ActorId(from.u32()?))))?;
    let mut cases = Cases {
        all: all.into_iter().collect(),
        held: BTreeMap::new(),
        rebaselines: rebaselines.into_iter().collect(),
    };
    let actors: BTreeSet<_> = cases.all.values().map(|case| case.actor).collect();
    actors.into_iter().for_each(|actor| cases.hold(actor));
    Some(cases)
}

fn take_case(from: &mut Take<'_>) -> Option<Case> {
    let actor = |from: &mut Take<'_>| from.u32().map(ActorId);
    Some(Case {
        actor: from.option(actor)?,
        clients: from
            .list(|from| ClientId::new(from.u32()?))?
            .into_iter()
            .collect(),
        detectors: from.list(Take::u8)?.into_iter().collect(),
        findings: from.u32()?,
        bits: from.u32()?,
        opened_ms: from.u64()?,
        newest_ms: from.u64()?,
        grave: from.bool()?,
        response: Response::from_code(from.u8()?)?,
        asked: from.option(actor)?,
        closed: from.option(|from| {
            Some(Closed {
                by: ActorId(from.u32()?),
                asked: from.option(actor)?,
                reason: CloseReason::from_code(from.u8()?)?,
                at_ms: from.u64()?,
            })
        })?,
    })
}
