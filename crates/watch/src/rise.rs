//! A sustained rise of counts over what is expected: a CUSUM of likelihood ratios of negative
//! binomial counts (Page 1954; for over-dispersed counts Hoehle and Paul 2008), over several sizes of
//! rise at once. Each of them is an e-detector (Shin, Ramdas and Rinaldo 2023): where the expectation
//! is right, one of `b` bits is reached by chance at most once in `2^b` days on average.

use crate::finding::Bits;
use crate::fixed::log2;

/// Counts per unit in 1/256.
pub(crate) type Q8 = u64;

/// Sizes of a rise, in 1/256 of what is expected: 1.25, 1.5, 2, 4, 16 times.
const FACTORS: [u64; 5] = [320, 384, 512, 1024, 4096];
/// log2 of their number, in 1/65536: the price of trying them all.
const PRICE: i64 = 152_170;
/// The most that one day can add, in 1/65536 bits: a rise is sustained, a single day is a burst.
const DAY_MAX: i64 = 7 << 16;
/// The most it can reach.
const MAX: i64 = 120 << 16;

/// More in a day is a burst; so all sums fit.
const COUNT_MAX: u64 = 1 << 18;
const EXPECTED_MAX: Q8 = 1 << 27;

/// The rise of one count.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Rise {
    /// log2 of each size's statistic, in 1/65536; never below 0.
    logs: [i32; FACTORS.len()],
    /// Days since it began.
    pub(crate) days: u32,
    /// What was counted since.
    pub(crate) counted: u64,
    /// What was expected since, in 1/256.
    pub(crate) expected: Q8,
    /// Units it was counted in since.
    pub(crate) units: u64,
}

impl Rise {
    /// A day's count, of how many units, what was expected, and the dispersion: the variance is
    /// `expected + expected^2 dispersion`; both in 1/256.
    pub(crate) fn add(&mut self, count: u64, units: u64, expected: Q8, dispersion: Q8) {
        let (count, expected) = (count.min(COUNT_MAX), expected.clamp(16, EXPECTED_MAX));
        // The size of the negative binomial, in 1/256.
        let size = 65_536 / dispersion.max(2);
        let mut best = 0;
        for (log, factor) in self.logs.iter_mut().zip(FACTORS) {
            let risen = (expected * factor) >> 8;
            let spread = log2(size + risen) - log2(size + expected);
            let gain = log2(risen) - log2(expected) - spread;
            let ratio = count as i64 * gain - ((size as i64 * spread) >> 8);
            let next = (i64::from(*log) + ratio.min(DAY_MAX)).clamp(0, MAX);
            *log = next as i32;
            best = best.max(next);
        }
        if best == 0 {
            *self = Self::default();
            return;
        }
        self.days += 1;
        self.counted += count;
        self.units += units;
        self.expected += expected;
    }

    /// How surprising it is now.
    pub(crate) fn bits(&self) -> Bits {
        let best = self.logs.iter().copied().max().unwrap_or(0);
        Bits(((i64::from(best) - PRICE).max(0) >> 8) as u32)
    }

    /// What was counted beyond what was expected.
    pub(crate) fn excess(&self) -> u64 {
        self.counted.saturating_sub(self.expected >> 8)
    }
}

/// How a day teaches what is usual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lesson {
    /// Whether a rise is suspected: it teaches little.
    pub(crate) slow: bool,
    /// How the day was for all, in 1/256: what it makes is not the actor's own.
    pub(crate) factor: u64,
    /// Days of which the mean is made at most.
    pub(crate) memory: u32,
}

impl Lesson {
    /// A day like any other.
    pub(crate) const PLAIN: Self = Self {
        slow: false,
        factor: 256,
        memory: Usual::MEMORY,
    };
}

/// What is usual for one count: a mean per unit and how much days differ from it, learnt slowly, from
/// days that are not themselves in a rise.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Usual {
    /// Mean per unit, in 1/65536.
    mean: u64,
    /// Days it was learnt from, at most [`Usual::MEMORY`].
    pub(crate) days: u32,
    /// Sum of squared expectations, and of squared differences less the expectation: their ratio is
    /// the dispersion. Both fade.
    squares: u64,
    excess: i64,
}

impl Usual {
    /// Days after which half is forgotten, about.
    pub(crate) const MEMORY: u32 = 80;
    /// Days that the cohort's mean is worth.
    const PRIOR_DAYS: u64 = 5;
    /// Dispersion before there are days, in 1/256, and the days that it is worth.
    const DISPERSION: u64 = 16;
    const DISPERSION_DAYS: u64 = 15;
    const DISPERSION_MIN: u64 = 4;
    const DISPERSION_MAX: u64 = 1024;

    /// What is expected of so many units, in 1/256, where the cohort has `prior` per unit (in 1/65536).
    pub(crate) fn expected(&self, units: u64, prior: Option<u64>) -> Q8 {
        self.mean_with(prior).saturating_mul(units) >> 8
    }

    /// The mean per unit in 1/65536, the cohort's for the first days.
    pub(crate) fn mean_with(&self, prior: Option<u64>) -> u64 {
        let days = u64::from(self.days);
        match prior {
            Some(prior) => {
                (self.mean * days + prior * Self::PRIOR_DAYS) / (days + Self::PRIOR_DAYS)
            }
            None => self.mean,
        }
    }

    /// In 1/256.
    pub(crate) fn dispersion(&self, expected: Q8) -> Q8 {
        let expected = expected.min(EXPECTED_MAX);
        let square = ((expected * expected) >> 8).max(1) * Self::DISPERSION_DAYS;
        let excess = self.excess.max(0) as u64 + ((square * Self::DISPERSION) >> 8);
        ((excess << 8) / (self.squares + square).max(1))
            .clamp(Self::DISPERSION_MIN, Self::DISPERSION_MAX)
    }

    /// Learns from a day.
    pub(crate) fn learn(&mut self, count: u64, units: u64, expected: Q8, lesson: Lesson) {
        if units == 0 {
            return;
        }
        let (count, expected) = (count.min(COUNT_MAX), expected.min(EXPECTED_MAX));
        // An extraordinary day teaches no more than one that is half as much again.
        let count_q8 = match self.days {
            0 => count << 8,
            _ => (count << 8).min(expected + expected / 2 + 768),
        };
        // What stays of the factor keeps the level of all from drifting away from what is counted.
        let factor = (lesson.factor * 15 + 256) / 16;
        let target = ((count_q8 << 16) / (units * factor).max(1)) as i64;
        self.days = (self.days + 1).min(Self::MEMORY);
        let days = self.days.min(lesson.memory);
        let weight = i64::from(days) * if lesson.slow { 4 } else { 1 };
        let mean = self.mean as i64;
        self.mean = (mean + (target - mean) / weight).max(0) as u64;
        let difference = count_q8.abs_diff(expected).min(2 * expected + 256);
        self.squares += (expected * expected) >> 8;
        self.excess += ((difference * difference) >> 8) as i64 - expected as i64;
        self.squares -= self.squares / 128;
        self.excess -= self.excess / 128;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_makes_no_rise_and_a_third_more_does() {
        let mut rise = Rise::default();
        for day in 0..300_u64 {
            rise.add(60 + (day * 7) % 13 - 6, 1, 60 << 8, 16);
        }
        assert!(rise.bits() < Bits(4 << 8), "{rise:?}");
        let days = (1..)
            .find(|_| {
                rise.add(80, 1, 60 << 8, 16);
                rise.bits() > Bits(15 << 8)
            })
            .unwrap();
        assert!((5..60).contains(&days), "{days}");
        assert!(rise.excess() > 100);
    }

    #[test]
    fn one_wild_day_is_no_rise() {
        let mut rise = Rise::default();
        rise.add(5_000, 1, 60 << 8, 16);
        assert!(rise.bits() < Bits(8 << 8));
    }

    #[test]
    fn the_mean_is_learnt_slowly() {
        let mut usual = Usual::default();
        for _ in 0..100 {
            let expected = usual.expected(1, None);
            usual.learn(60, 1, expected, Lesson::PLAIN);
        }
        assert!((59..=61).contains(&(usual.expected(1, None) >> 8)));
        for _ in 0..10 {
            let expected = usual.expected(1, None);
            usual.learn(6_000, 1, expected, Lesson::PLAIN);
        }
        assert!((usual.expected(1, None) >> 8) < 70);
        let mut usual = Usual::default();
        for day in 0..200 {
            // Half as much at weekends, as for all.
            let (count, factor) = if day % 7 < 5 { (60, 256) } else { (30, 128) };
            let lesson = Lesson {
                factor,
                ..Lesson::PLAIN
            };
            usual.learn(count, 1, 60 * factor, lesson);
        }
        assert!((57..=61).contains(&(usual.expected(1, None) >> 8)));
    }
}
