//! New subjects over a year, and over all time, against the cohort: what adaptive baselines learn
//! stands out here. Never resets by itself.

use std::collections::BTreeMap;

use event::{ClientId, Role};

use crate::actor::{Block, YEAR};
use crate::cases::Said;
use crate::finding::{Bits, Cause};
use crate::fixed::{log2, sqrt};
use crate::watch::Watch;

/// Actors that make a cohort.
const ACTORS_MIN: usize = 12;
/// Days at work from which on a year is judged.
const DAYS_MIN: u64 = 40;
/// Calls a day in the mean from which on they measure.
const CALLS_A_DAY: u64 = 5;
/// The least spread of a cohort, in 1/65536 octaves: an eighth.
const SPREAD_MIN: u64 = 8_192;

/// An actor's pace over a time.
struct Pace {
    place: usize,
    subjects: u64,
    units: u64,
    /// log2 of subjects a unit.
    log: i64,
}

impl Watch {
    /// The end of 28 days.
    pub(crate) fn end_block(&mut self, day: u32, said: &mut Vec<Said>) {
        for state in self.roles.all() {
            state.history.next_block();
        }
        for actor in &mut self.actors {
            let block = std::mem::take(&mut actor.block);
            actor.blocks.push(block);
            actor.ever.0 += u64::from(block.new);
            actor.ever.1 += u64::from(block.days);
            actor.ever.2 += u64::from(block.calls);
            if (day / 28).is_multiple_of(3) {
                actor.quarters.swap(0, 1);
                actor.quarters[0].clear();
            }
        }
        self.look_at_years(day, false, said);
        if (day / 28).is_multiple_of(6) {
            self.look_at_years(day, true, said);
        }
    }

    fn look_at_years(&mut self, day: u32, ever: bool, said: &mut Vec<Said>) {
        type Cohort = (Role, Option<ClientId>, bool);
        let mut cohorts: BTreeMap<Cohort, Vec<Pace>> = BTreeMap::new();
        for (place, actor) in self.actors.iter().enumerate() {
            let (subjects, days, calls) = match ever {
                true => actor.ever,
                false => sum(&actor.blocks.list()),
            };
            // Only those at work lately.
            if days < DAYS_MIN || actor.blocks.list().last().is_none_or(|it| it.days == 0) {
                continue;
            }
            let by_calls = calls >= days * CALLS_A_DAY;
            let units = if by_calls { calls } else { days };
            let pace = || Pace {
                place,
                subjects,
                units,
                log: log2(subjects.max(1) << 16) - log2(units.max(1)),
            };
            for home in [actor.home(), None] {
                let cohort = cohorts.entry((actor.role, home, by_calls)).or_default();
                cohort.push(pace());
            }
        }
        let mut found = Vec::new();
        for (_, paces) in cohorts {
            if paces.len() >= ACTORS_MIN {
                found.extend(outliers(&paces));
            }
        }
        found.sort_by_key(|(place, bits, ..)| (*place, std::cmp::Reverse(*bits)));
        found.dedup_by_key(|(place, ..)| *place);
        for (place, bits, subjects, median, highest) in found {
            if bits < self.cases.floor() {
                continue;
            }
            let days = if ever { 0 } else { 28 * YEAR as u32 };
            let cause = Cause::Ledger {
                subjects,
                days,
                median,
                highest,
            };
            let (sequence, at_ms) = (self.last_sequence.unwrap_or(0), self.end_of(day));
            let client = self.actors[place].home();
            let finding = self.finding(sequence, at_ms, place, client, bits, cause);
            self.say(finding, place, false, said);
        }
    }
}

fn sum(blocks: &[Block]) -> (u64, u64, u64) {
    let mut sum = (0, 0, 0);
    for block in blocks {
        sum.0 += u64::from(block.new);
        sum.1 += u64::from(block.days);
        sum.2 += u64::from(block.calls);
    }
    sum
}

/// Those far above the median: (place, surprise, subjects, the median for as much work, the most of
/// the others for it).
fn outliers(paces: &[Pace]) -> Vec<(usize, Bits, u64, u64, u64)> {
    let mut logs: Vec<i64> = paces.iter().map(|it| it.log).collect();
    logs.sort_unstable();
    let median = logs[logs.len() / 2];
    let mut off: Vec<u64> = logs.iter().map(|log| log.abs_diff(median)).collect();
    off.sort_unstable();
    // The median deviation times 1.4826 is a normal distribution's standard deviation.
    let middle = off[off.len() / 2] * 1_518 / 1_024;
    // Half of what the upper quarter shows: heavier tails than a normal one's.
    let upper = off[off.len() * 9 / 10] * 622 / 1_024;
    let spread = middle.max(upper).max(SPREAD_MIN);
    let of = |log: i64, units: u64| {
        // 2^(log - 16) per unit, by the nearest pace of the cohort.
        let near = paces
            .iter()
            .min_by_key(|it| (it.log.abs_diff(log), it.place));
        near.map_or(0, |it| it.subjects * units / it.units.max(1))
    };
    let mut found = Vec::new();
    for pace in paces {
        if pace.log <= median {
            continue;
        }
        // A counting error belongs to it: few subjects say little.
        let error = (94_548 / sqrt(pace.subjects.max(1)).max(1)).max(1);
        let spread = sqrt(spread * spread + error * error).max(1);
        let z = (pace.log.abs_diff(median) << 8) / spread;
        // -log2 of a normal tail, about: z^2 / (2 ln 2) + log2(z) + 1.3.
        // Set on the calibration seeds: cohorts' tails are lighter than what is allowed for.
        let bits = 512 + (z * z / 355) + (log2(z.max(256)) - (8 << 16)) as u64 / 256 + 333;
        let highest = logs.iter().rev().find(|&&log| log != pace.log).copied();
        found.push((
            pace.place,
            Bits(u32::try_from(bits).unwrap_or(u32::MAX).min(200 << 8)),
            pace.subjects,
            of(median, pace.units),
            of(highest.unwrap_or(median), pace.units),
        ));
    }
    found
}
