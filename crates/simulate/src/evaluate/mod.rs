//! How good detection is: a life with thefts goes through several judges at once, and what they say is
//! held against the truth.
//!
//! Invariants: a judge sees records and nothing else; a finding about a thief counts from the first
//! loss on, one before it is false like any other; each false case is closed after two weeks, so that
//! it hides no later one.

mod rules;

use std::collections::{BTreeMap, VecDeque};

use event::ActorId;
use watch::{CaseNumber, Detector, Record, Said, Settings, Watch};

use crate::calendar::DAY_MS;
use crate::theft::{Family, Thief};
use crate::world::{Life, Loss, Simulation, Sink};
use rules::Rule;

/// A case is looked at and closed after so long.
const CLOSED_AFTER_MS: u64 = 14 * DAY_MS;
/// A finding about nobody belongs to a theft that was so long ago.
const NOBODY_AFTER_MS: u64 = 2 * DAY_MS;
/// Places for detectors: their numbers, from 1.
pub const DETECTORS: usize = 13;

/// Who judges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judge {
    /// Sekisho's detectors, at so many cases a day for 1,000 actors.
    Watch(u32),
    /// More subjects in a day than the actor's mean and three standard deviations.
    Sigma,
    /// More subjects in a day than this.
    Fixed(u32),
}

/// A life, thefts and judges.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The life.
    pub life: Life,
    /// Who steals.
    pub thieves: Vec<Thief>,
    /// Who judges.
    pub judges: Vec<Judge>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How many records there were.
    pub records: u64,
    /// By judge, in their order.
    pub scores: Vec<Score>,
}

/// What one judge made of it.
#[derive(Clone, Default, Debug)]
pub struct Score {
    /// By gang.
    pub gangs: Vec<Gang>,
    /// Cases about nobody who had begun to steal.
    pub false_cases: u64,
    /// Of these, by the detector whose finding opened them; rules have place 0.
    pub false_by: [u64; DETECTORS],
    /// Records that were not counted.
    pub skipped: u64,
}

/// What one judge made of one gang.
#[derive(Clone, Copy, Default, Debug)]
pub struct Gang {
    /// When the first subject was lost, ms since the Unix epoch.
    pub began_ms: Option<u64>,
    /// Subjects lost until the end.
    pub lost: u64,
    /// The first finding about it.
    pub first: Option<First>,
    /// The first finding by detector.
    pub by: [Option<First>; DETECTORS],
    last_ms: u64,
}

/// A first finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct First {
    /// When, ms since the Unix epoch.
    pub at_ms: u64,
    /// Subjects lost before it.
    pub lost: u64,
    /// Whose; `None`: a rule's.
    pub detector: Option<Detector>,
}

impl Gang {
    /// The first finding if some detectors were not there. What they took of the alert budget stays
    /// taken.
    pub fn first_without(&self, left_out: &[Detector]) -> Option<First> {
        let others = self.by.iter().flatten();
        others
            .filter(|it| it.detector.is_none_or(|it| !left_out.contains(&it)))
            .min_by_key(|it| it.at_ms)
            .copied()
    }

    fn found(&mut self, first: First) {
        let place = first.detector.map_or(0, |it| it as usize);
        self.by[place].get_or_insert(first);
        self.first.get_or_insert(first);
    }
}

/// Runs a trial.
pub fn run(trial: &Trial) -> Outcome {
    let mut simulation = Simulation::new(trial.life, &trial.thieves);
    let mut court = Court::new(trial);
    simulation.run(&mut court);
    let records = court.records;
    let scores = court.benches.into_iter().map(Bench::finish).collect();
    Outcome { records, scores }
}

/// All judges, and the truth so far.
struct Court {
    records: u64,
    benches: Vec<Bench>,
}

/// One judge at work.
struct Bench {
    at: At,
    score: Score,
    gang_of: BTreeMap<ActorId, usize>,
    /// Whether findings about nobody are about the theft: it left no records.
    nobody: bool,
    /// Cases to close: when, and which.
    open: VecDeque<(u64, CaseNumber)>,
    said: Vec<Said>,
}

enum At {
    Watch(Box<Watch>),
    Rule(Rule),
}

impl Court {
    fn new(trial: &Trial) -> Self {
        let gangs = trial.thieves.iter().map(|it| it.gang + 1).max();
        let gang_of: BTreeMap<ActorId, usize> = trial
            .thieves
            .iter()
            .map(|it| (ActorId(it.seat + 1), it.gang as usize))
            .collect();
        let bench = |judge: &Judge| Bench {
            at: match *judge {
                Judge::Watch(cases_per_day) => At::Watch(Box::new(Watch::new(Settings {
                    cases_per_day,
                    ..Settings::default()
                }))),
                Judge::Sigma => At::Rule(Rule::sigma()),
                Judge::Fixed(most) => At::Rule(Rule::fixed(most)),
            },
            score: Score {
                gangs: vec![Gang::default(); gangs.unwrap_or(0) as usize],
                ..Score::default()
            },
            gang_of: gang_of.clone(),
            nobody: trial.thieves.iter().any(|it| it.family == Family::Gap),
            open: VecDeque::new(),
            said: Vec::new(),
        };
        Self {
            records: 0,
            benches: trial.judges.iter().map(bench).collect(),
        }
    }
}

impl Sink for Court {
    fn record(&mut self, record: &Record<'_>) {
        self.records += 1;
        for bench in &mut self.benches {
            bench.record(record);
        }
    }

    fn lost(&mut self, loss: &Loss<'_>) {
        for bench in &mut self.benches {
            if let Some(gang) = bench.score.gangs.get_mut(loss.gang as usize) {
                gang.began_ms.get_or_insert(loss.at_ms);
                gang.last_ms = loss.at_ms;
                gang.lost += loss.keys.len() as u64;
            }
        }
    }
}

impl Bench {
    fn record(&mut self, record: &Record<'_>) {
        match &mut self.at {
            At::Watch(watch) => {
                while let Some((at_ms, case)) = self.open.front()
                    && *at_ms <= record.at_ms
                {
                    watch.close(*case);
                    self.open.pop_front();
                }
                watch.step(record, &mut self.said);
                if !self.said.is_empty() {
                    self.judge(record.at_ms);
                }
            }
            At::Rule(rule) => {
                if let Some(actor) = rule.record(record) {
                    self.flagged(record.at_ms, actor);
                }
            }
        }
    }

    fn finish(mut self) -> Score {
        if let At::Watch(watch) = &mut self.at {
            watch.finish(&mut self.said);
            let skipped = watch.skipped();
            self.score.skipped = skipped.late
                + skipped.repeated
                + skipped.future
                + skipped.impossible
                + skipped.beyond;
            if let Some(last) = self.said.last() {
                let at_ms = last.finding.at_ms;
                self.judge(at_ms);
            }
        }
        self.score
    }

    /// Whose theft a finding is about.
    fn gang(&self, said: &Said, now_ms: u64) -> Option<usize> {
        let begun = |place: &usize| {
            let gang = self.score.gangs.get(*place);
            gang.is_some_and(|it| it.began_ms.is_some())
        };
        let named = said.finding.actor.iter().chain(&said.finding.others);
        let named = named
            .filter_map(|it| self.gang_of.get(it))
            .copied()
            .find(begun);
        let silence = said.finding.cause.detector() == Detector::Silence;
        let nobody = || {
            let recent =
                |it: &&Gang| it.began_ms.is_some() && it.last_ms + NOBODY_AFTER_MS >= now_ms;
            let gangs = self.score.gangs.iter();
            let latest = gangs.filter(recent).map(|it| it.last_ms).max()?;
            self.score.gangs.iter().position(|it| it.last_ms == latest)
        };
        named.or_else(|| (self.nobody && silence).then(nobody).flatten())
    }

    fn judge(&mut self, now_ms: u64) {
        for said in std::mem::take(&mut self.said) {
            let detector = said.finding.cause.detector();
            match self.gang(&said, now_ms) {
                Some(place) => {
                    let gang = &mut self.score.gangs[place];
                    gang.found(First {
                        at_ms: now_ms,
                        lost: gang.lost,
                        detector: Some(detector),
                    });
                }
                None if said.case.new => {
                    self.score.false_cases += 1;
                    self.score.false_by[detector as usize] += 1;
                    self.open
                        .push_back((now_ms + CLOSED_AFTER_MS, said.case.case));
                }
                None => {}
            }
        }
    }

    /// A rule speaks about an actor.
    fn flagged(&mut self, now_ms: u64, actor: ActorId) {
        let place = self.gang_of.get(&actor);
        let gang = place.and_then(|place| self.score.gangs.get_mut(*place));
        match gang.filter(|it| it.began_ms.is_some()) {
            Some(gang) => gang.found(First {
                at_ms: now_ms,
                lost: gang.lost,
                detector: None,
            }),
            None => {
                self.score.false_cases += 1;
                self.score.false_by[0] += 1;
            }
        }
    }
}
