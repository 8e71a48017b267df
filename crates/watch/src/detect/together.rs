//! Several actors whose exposures add up: each rises a little over what is usual, none enough to be
//! told alone. Rises of independent actors multiply; the choice among all groups of the cohort is
//! paid for.

use std::collections::BTreeMap;

use event::{ClientId, Role};

use crate::cases::Said;
use crate::finding::{Bits, Cause, Finding, OTHERS_MAX};
use crate::fixed::log2;
use crate::sketch::Theta;
use crate::watch::Watch;

/// Actors of a group.
const GROUP_MAX: usize = 8;
/// The least that one adds.
const EACH_MIN: Bits = Bits(5 << 8);

/// Actors whose counts rise, by place, and how surprising that is.
type Risen = Vec<(Bits, u32)>;

impl Watch {
    pub(crate) fn look_together(&mut self, day: u32, said: &mut Vec<Said>) {
        let mut cohorts: BTreeMap<(Role, ClientId), (u64, Risen)> = BTreeMap::new();
        for (place, actor) in self.actors.iter().enumerate() {
            let (Some(home), None) = (actor.home(), actor.case) else {
                continue;
            };
            let cohort = cohorts.entry((actor.role, home)).or_default();
            cohort.0 += 1;
            let bits = actor
                .unexplained
                .rise
                .bits()
                .max(actor.per_call.surprise_of_pace())
                .max(actor.per_day.surprise_of_pace());
            if bits >= EACH_MIN {
                cohort.1.push((bits, place as u32));
            }
        }
        for ((_, client), (actors, mut risen)) in cohorts {
            if risen.len() < 2 {
                continue;
            }
            risen.sort_unstable_by_key(|&(bits, place)| (std::cmp::Reverse(bits), place));
            if let Some((bits, group)) = best(actors, &risen)
                && bits >= self.cases.floor()
            {
                let places: Vec<usize> = risen[..group].iter().map(|it| it.1 as usize).collect();
                self.say_together(day, client, bits, &places, said);
            }
        }
    }

    fn say_together(
        &mut self,
        day: u32,
        client: ClientId,
        bits: Bits,
        places: &[usize],
        said: &mut Vec<Said>,
    ) {
        let mut union = Theta::default();
        let (mut days, mut excess, mut expected) = (0, 0, 0);
        let mut others = Vec::new();
        let mut rests_on = Vec::new();
        for &place in places {
            let actor = &self.actors[place];
            actor.quarters.iter().for_each(|it| union.merge(it));
            let rises = [
                &actor.unexplained.rise,
                &actor.per_call.rise,
                &actor.per_day.rise,
            ];
            if let Some(rise) = rises.into_iter().max_by_key(|it| it.bits()) {
                days = days.max(rise.days);
                excess += rise.excess();
                expected += rise.expected >> 8;
            }
            others.push(actor.id);
            rests_on.extend(actor.rests_on.list().into_iter().rev().take(2));
        }
        others.sort_unstable();
        rests_on.sort_unstable();
        let subjects = if union.count() == 0 {
            excess
        } else {
            union.count().min(excess)
        };
        let first = places[0];
        let cause = Cause::Together {
            actors: places.len() as u32,
            subjects,
            expected,
            days,
        };
        let (sequence, at_ms) = (self.last_sequence.unwrap_or(0), self.end_of(day));
        let mut finding: Finding = self.finding(sequence, at_ms, first, Some(client), bits, cause);
        others.retain(|&it| Some(it) != finding.actor);
        others.truncate(OTHERS_MAX);
        (finding.others, finding.rests_on) = (others, rests_on);
        self.say(finding, first, false, said);
    }
}

/// The most surprising group: its size and its surprise, less the choice of so many out of all.
fn best(actors: u64, risen: &[(Bits, u32)]) -> Option<(Bits, usize)> {
    let (mut sum, mut choice) = (0_i64, 0_i64);
    let mut best = None;
    for (place, (bits, _)) in risen.iter().take(GROUP_MAX).enumerate() {
        sum += i64::from(bits.0);
        choice += log2(actors.saturating_sub(place as u64)) - log2(place as u64 + 1);
        let left = sum - (choice >> 8);
        if place > 0 && best.is_none_or(|(most, _)| left > most) {
            best = Some((left, place + 1));
        }
    }
    best.map(|(bits, group)| (Bits(bits.max(0) as u32), group))
}
