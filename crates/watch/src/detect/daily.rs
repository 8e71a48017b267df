//! What is judged when a day is over: new subjects against the actor's own pace, subjects without a
//! call, probes that find nobody, refused statements.

use event::ClientId;

use crate::actor::{Actor, Judged};
use crate::cases::Said;
use crate::cohort::{self, Priors, Share};
use crate::day::Explained;
use crate::finding::{Bits, Cause, Window};
use crate::rise::{Lesson, Q8, Rise, Usual};
use crate::watch::Watch;

/// Calls in a day from which on pace is measured by them.
const CALLS_MIN: u64 = 5;
/// Days of one's own without a cohort after which a count is judged.
const OWN_DAYS: u32 = 10;
/// Days in which somebody new may still grow to the cohort's pace.
const NEW_DAYS: u32 = 60;
/// Days of which a newcomer's pace is made: it rises while he learns.
const NEW_MEMORY: u32 = 20;
/// A rise of pace is less rare than its likelihood says, since people's habits change: set on the
/// calibration seeds.
const STEP_LESS: u32 = 2 << 8;
/// Surprise from which on a day teaches slowly.
const SUSPECT: Bits = Bits(6 << 8);

/// A day that is over.
pub(crate) struct Outcome {
    pub(crate) new: u64,
    explained: Explained,
    probes: u64,
    missed: u64,
    refused: u64,
    /// Hours with exposures.
    hours: u64,
}

impl Outcome {
    /// Whether calls measure the day's pace.
    fn by_calls(&self) -> bool {
        self.explained.calls >= CALLS_MIN
    }

    /// What pace is measured by: calls, else hours at work.
    fn units(&self) -> u64 {
        if self.by_calls() {
            self.explained.calls
        } else {
            self.hours.max(1)
        }
    }

    /// New subjects that are expected of the actor's own pace, in 1/256: bounded by the cohort's
    /// spread, since who stole from the first day on has no honest past; and as it is.
    pub(crate) fn expected(&self, actor: &Actor, priors: &Priors) -> (Q8, Q8) {
        let (judged, prior) = match self.by_calls() {
            true => (&actor.per_call, priors.per_call),
            false => (&actor.per_day, priors.per_day),
        };
        let own = judged.usual.mean_with(prior.map(|it| it.median));
        let bounded = match prior {
            Some(prior) if judged.is_new() => own.max(prior.median).min(prior.most),
            Some(prior) => own.min(prior.most),
            None => own,
        };
        let of = |mean: u64| mean.saturating_mul(self.units()) >> 8;
        (of(bounded), of(own))
    }
}

impl Actor {
    /// The end of a day.
    pub(crate) fn end_day(&mut self, number: u32, covered: impl Fn(ClientId) -> bool) -> Outcome {
        let day = &mut self.days[number as usize % 2];
        let explained = day.explain(covered);
        let outcome = Outcome {
            new: day.new,
            explained,
            probes: day.probes,
            missed: day.missed,
            refused: day.refused,
            hours: u64::from(day.hours.count_ones()),
        };
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let (subjects, unexplained) = (day.subjects, explained.unexplained);
        if subjects > 0 || day.granted > 0 {
            self.shown_by_day.push(count(subjects));
            self.unexplained_by_day.push(count(unexplained));
        }
        self.block.new = self.block.new.saturating_add(count(outcome.new));
        self.block.days += u32::from(subjects > 0);
        self.block.calls = self.block.calls.saturating_add(count(explained.calls));
        // Swaps of terminals fade.
        self.swaps -= self.swaps / 32;
        outcome
    }

    /// What others of the role tell of it: nothing, once two people said that its own is usual.
    pub(crate) fn heeds(&self, priors: Priors) -> Priors {
        if self.vouched {
            return Priors::default();
        }
        priors
    }
}

/// One count of a day, and what is expected of it.
struct Counted {
    count: u64,
    units: u64,
    /// It is judged by this, in 1/256,
    expected: Q8,
    /// and learnt by this.
    own: Q8,
}

impl Judged {
    /// Judges and learns.
    fn judge(&mut self, counted: &Counted, ready: bool, lesson: Lesson) {
        let Counted {
            count,
            units,
            expected,
            own,
        } = *counted;
        if units == 0 {
            return;
        }
        let dispersion = self.usual.dispersion(own);
        if ready {
            self.rise.add(count, units, expected, dispersion);
        }
        let slow = self.rise.bits() >= SUSPECT;
        self.usual
            .learn(count, units, own, Lesson { slow, ..lesson });
    }

    /// The same of a count whose own usual is what is expected.
    fn judge_share(&mut self, count: u64, units: u64, expected: Q8, ready: bool) {
        let counted = Counted {
            count,
            units,
            expected,
            own: expected,
        };
        self.judge(&counted, ready, Lesson::PLAIN);
    }

    /// Whether it still grows to the cohort's.
    fn is_new(&self) -> bool {
        self.usual.days < NEW_DAYS
    }

    /// How surprising a rise of pace is.
    pub(crate) fn surprise_of_pace(&self) -> Bits {
        Bits(self.rise.bits().0.saturating_sub(STEP_LESS))
    }

    fn ready<T>(&self, prior: Option<T>) -> bool {
        prior.is_some() || self.usual.days >= OWN_DAYS
    }

    /// A share: what is expected of so many, the own one bounded by the cohort's.
    fn share(&self, units: u64, prior: Option<Share>, least: Q8) -> Q8 {
        let mean = self.usual.mean_with(prior.map(|it| it.median));
        let mean = prior.map_or(mean, |prior| mean.min(prior.most));
        (mean.saturating_mul(units) >> 8).max(least)
    }
}

impl Watch {
    pub(crate) fn judge_actor(
        &mut self,
        day: u32,
        place: usize,
        outcome: &Outcome,
        cohort: &cohort::Day,
        said: &mut Vec<Said>,
    ) {
        let actor = &mut self.actors[place];
        let state = self.roles.of(actor.role);
        let priors = actor.heeds(state.priors);
        let today = &actor.days[day as usize % 2];
        if !today.found {
            state.history.add(Window::Day, today.subjects);
        }
        let (expected, own) = outcome.expected(actor, &priors);
        let factor = cohort.factor(actor.role, actor.home(), outcome.new, expected);
        let (by_calls, units) = (outcome.by_calls(), outcome.units());
        let is_at_work = outcome.new > 0 || by_calls;
        let (pace, prior, other) = match by_calls {
            true => (&mut actor.per_call, priors.per_call, &mut actor.per_day),
            false => (&mut actor.per_day, priors.per_day, &mut actor.per_call),
        };
        other.rise = Rise::default();
        if is_at_work {
            let counted = Counted {
                count: outcome.new,
                units,
                expected: (expected * factor) >> 8,
                own: (own * factor) >> 8,
            };
            let memory = if pace.is_new() {
                NEW_MEMORY
            } else {
                Usual::MEMORY
            };
            let lesson = Lesson {
                factor,
                memory,
                ..Lesson::PLAIN
            };
            pace.judge(&counted, pace.ready(prior), lesson);
        }
        let explained = outcome.explained;
        let expected = actor
            .unexplained
            .share(explained.subjects, priors.unexplained, 64);
        let ready = actor.unexplained.ready(priors.unexplained);
        actor
            .unexplained
            .judge_share(explained.unexplained, explained.subjects, expected, ready);
        let expected = actor.missed.share(outcome.probes, priors.missed, 64);
        let ready = actor.missed.ready(priors.missed);
        actor
            .missed
            .judge_share(outcome.missed, outcome.probes, expected, ready);
        let expected = actor.refused.usual.expected(1, None).max(512);
        let any = u64::from(is_at_work || outcome.refused > 0);
        actor
            .refused
            .judge_share(outcome.refused, any, expected, true);
        self.say_of_day(day, place, by_calls, said);
    }

    fn say_of_day(&mut self, day: u32, place: usize, by_calls: bool, said: &mut Vec<Said>) {
        let actor = &self.actors[place];
        let priors = self.roles.of(actor.role).priors;
        let permille = |judged: &Judged, prior: Option<Share>| {
            let mean = prior
                .map(|it| it.median)
                .unwrap_or_else(|| judged.usual.mean_with(None));
            u32::try_from((mean * 1_000) >> 16)
                .unwrap_or(1_000)
                .min(1_000)
        };
        let pace = if by_calls {
            &actor.per_call
        } else {
            &actor.per_day
        };
        let unexplained = &actor.unexplained;
        let missed = &actor.missed;
        let causes = [
            (
                pace.surprise_of_pace(),
                Cause::Step {
                    subjects: pace.rise.counted,
                    days: pace.rise.days,
                    expected: pace.rise.expected >> 8,
                },
            ),
            (
                unexplained.rise.bits(),
                Cause::Balance {
                    unexplained: unexplained.rise.counted,
                    subjects: unexplained.rise.units,
                    usual_permille: permille(unexplained, priors.unexplained),
                    days: unexplained.rise.days,
                },
            ),
            (
                missed.rise.bits(),
                Cause::Guess {
                    probes: missed.rise.units,
                    missed: missed.rise.counted,
                    usual_permille: permille(missed, priors.missed),
                    days: missed.rise.days,
                },
            ),
            (
                actor.refused.rise.bits(),
                Cause::Tamper {
                    kind: crate::finding::TamperKind::Literals,
                    count: actor.refused.rise.counted,
                },
            ),
        ];
        let client = actor.home();
        for (bits, cause) in causes {
            if bits >= self.cases.floor() {
                let (sequence, at_ms) = (self.last_sequence.unwrap_or(0), self.end_of(day));
                let finding = self.finding(sequence, at_ms, place, client, bits, cause);
                self.say(finding, place, false, said);
            }
        }
    }

    /// What is usual in a role is looked at anew.
    pub(crate) fn end_windows(&mut self) {
        for state in self.roles.all() {
            state.history.measure();
        }
    }
}
