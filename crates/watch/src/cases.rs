//! Findings to cases, within one alert budget: what is rarest first, and what must not be dropped at
//! once.
//!
//! Invariant: findings about one actor are one case until it is closed.

use std::collections::BTreeMap;

use event::{ActorId, ClientId};

use crate::finding::{Bits, Detector, Finding};
use crate::fixed::log2;
use crate::settings::Settings;

/// A case's number, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CaseNumber(pub u32);

/// The case that a finding belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Its number.
    pub case: CaseNumber,
    /// About whom; `None`: about no actor.
    pub actor: Option<ActorId>,
    /// Whether this finding opened it; otherwise it joined it.
    pub new: bool,
}

/// What a record led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// What was found.
    pub finding: Finding,
    /// The case it belongs to. Findings below the alert budget are not said.
    pub case: Opened,
}

/// One case in 1/1,000,000.
const CASE: i64 = 1_000_000;
/// Surprise at which a finding is worth a case where one case a day for 1,000 actors may be opened:
/// set on the calibration seeds (docs/benchmarks.md).
const FLOOR: u32 = 11 << 8;
/// So much beyond the floor, a finding does not wait for the budget.
const OVERDRAW: u32 = 10 << 8;
/// Days of budget that are saved up.
const SAVED_DAYS: i64 = 3;
/// Findings that wait for the end of the day.
const WAITING_MAX: usize = 10_000;
/// Open cases about no actor.
const OPEN_MAX: usize = 10_000;

/// What a case about no actor is about.
type Thing = (Detector, Option<ClientId>, u64);

/// The cases.
#[derive(Debug)]
pub(crate) struct Cases {
    floor: Bits,
    a_day: i64,
    left: i64,
    next: u32,
    /// Worth a case, not urgent: opened at the end of the day, the rarest first.
    waiting: Vec<Finding>,
    /// Open cases about no actor.
    about_things: BTreeMap<Thing, CaseNumber>,
    /// Actors of open cases.
    about_actors: BTreeMap<CaseNumber, ActorId>,
}

impl Cases {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut cases = Self {
            floor: Bits(0),
            a_day: 0,
            left: CASE * SAVED_DAYS,
            next: 1,
            waiting: Vec::new(),
            about_things: BTreeMap::new(),
            about_actors: BTreeMap::new(),
        };
        cases.set(settings);
        cases
    }

    /// The budget from now on.
    pub(crate) fn set(&mut self, settings: &Settings) {
        let easier = log2(u64::from(settings.cases_per_day.max(1))) >> 8;
        let floor = i64::from(FLOOR) - easier;
        self.floor = Bits(floor.max(6 << 8) as u32);
        self.a_day = i64::from(settings.cases_per_day.max(1)) * CASE;
    }

    /// Surprise below which nothing is said.
    pub(crate) fn floor(&self) -> Bits {
        self.floor
    }

    /// Takes a finding about an actor without an open case, or about none. `at_once`: it is not
    /// ranked with others first.
    pub(crate) fn take(&mut self, finding: Finding, at_once: bool) -> Option<Said> {
        let kept = is_kept(finding.cause.detector());
        if finding.bits < self.floor && !kept {
            return None;
        }
        if finding.actor.is_none()
            && let Some(&case) = self.about_things.get(&thing(&finding))
        {
            return Some(joined(finding, case));
        }
        let urgent = at_once && (self.left >= CASE || finding.bits.0 >= self.floor.0 + OVERDRAW);
        if kept || urgent {
            return Some(self.open(finding));
        }
        let same = |it: &Finding| it.actor == finding.actor && finding.actor.is_some();
        if let Some(before) = self.waiting.iter_mut().find(|it| same(it)) {
            if before.bits < finding.bits {
                *before = finding;
            }
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.push(finding);
        }
        None
    }

    fn open(&mut self, finding: Finding) -> Said {
        if !is_kept(finding.cause.detector()) {
            // What is beyond the budget is not paid for by what comes later.
            self.left = (self.left - CASE).max(0);
        }
        let case = CaseNumber(self.next);
        self.next += 1;
        match finding.actor {
            Some(actor) => {
                self.about_actors.insert(case, actor);
            }
            None => {
                if self.about_things.len() == OPEN_MAX {
                    self.about_things.pop_first();
                }
                self.about_things.insert(thing(&finding), case);
            }
        }
        let case = Opened {
            case,
            actor: finding.actor,
            new: true,
        };
        Said { finding, case }
    }

    /// The end of a day with so many actors: the rarest of what waits, as far as the budget goes.
    pub(crate) fn end_day(&mut self, actors: usize) -> Vec<Said> {
        let a_day = (self.a_day * actors as i64 / 1_000).max(CASE);
        self.left = (self.left + a_day).min(a_day * SAVED_DAYS);
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by(|a, b| {
            b.bits
                .cmp(&a.bits)
                .then(a.actor.cmp(&b.actor))
                .then(a.sequence.cmp(&b.sequence))
        });
        let mut said = Vec::new();
        for finding in waiting {
            if self.left < CASE {
                break;
            }
            said.push(self.open(finding));
        }
        said
    }

    /// Closes; gives back about whom it was.
    pub(crate) fn close(&mut self, case: CaseNumber) -> Option<ActorId> {
        self.about_things.retain(|_, it| *it != case);
        self.about_actors.remove(&case)
    }
}

/// Whether a detector's findings are never dropped.
pub(crate) fn is_kept(detector: Detector) -> bool {
    matches!(
        detector,
        Detector::Chain | Detector::Silence | Detector::Canary
    )
}

pub(crate) fn joined(finding: Finding, case: CaseNumber) -> Said {
    let case = Opened {
        case,
        actor: finding.actor,
        new: false,
    };
    Said { finding, case }
}

fn thing(finding: &Finding) -> Thing {
    use crate::finding::Cause;
    use crate::record::Part;
    let of = match finding.cause {
        Cause::Silence { part, .. } => match part {
            None => 0,
            Some(Part::Gate) => 1,
            Some(Part::Source) => 2,
            Some(Part::Counters) => 5 << 32,
            Some(Part::Witness(number)) => (3 << 32) + u64::from(number),
            Some(Part::Calls(client)) => (4 << 32) + u64::from(client.get()),
            Some(Part::Terminal(terminal)) => terminal.0 | 1 << 63,
        },
        _ => 0,
    };
    (finding.cause.detector(), finding.client, of)
}
