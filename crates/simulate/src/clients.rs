//! The companies whose customers call: how many customers, how busy, which of them do not exist.

use event::ClientId;

use crate::calendar::Today;
use crate::random::{Rng, mix, named};

/// Customers of a client, in steps of equal ratio: few clients are large.
const POPULATIONS: [u64; 17] = [
    20_000, 26_670, 35_566, 47_427, 63_246, 84_340, 112_468, 149_979, 200_000, 266_704, 355_656,
    474_275, 632_456, 843_393, 1_124_683, 1_499_788, 2_000_000,
];
/// Calls by month, of a thousand; each client begins at another month.
const SEASONS: [u64; 12] = [
    1000, 950, 1150, 1200, 1050, 950, 1000, 900, 950, 1000, 1050, 1200,
];
/// Fictitious subjects: one of so many, but not more than so many a client.
const CANARY_OF: u64 = 1000;
const CANARIES_MAX: u64 = 200;
const CANARIES_MIN: u64 = 20;
/// Calls that come from people who call often, of a thousand.
const OFTEN_PERMILLE: u32 = 150;
/// In each half-year a client has one campaign of 2 to 6 weeks.
const CAMPAIGN_DAYS: u64 = 182;

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    /// Subjects have the numbers below this.
    pub(crate) population: u32,
    salt: u64,
    /// Every so manieth subject is fictitious, from `canary_offset` on; 0: none.
    canary_stride: u32,
    canary_offset: u32,
    /// Mean seconds of a call.
    pub(crate) talk_s: u64,
    open_weekends: bool,
    season: u64,
}

impl Client {
    /// The client with this place in the list.
    pub(crate) fn new(seed: u64, place: u32, canaries: bool) -> Self {
        let mut rng = Rng::of(&[seed, 1, u64::from(place)]);
        let band = rng.below(16) as usize;
        let population = rng.between(POPULATIONS[band], POPULATIONS[band + 1]);
        let planted = (population / CANARY_OF).clamp(CANARIES_MIN, CANARIES_MAX);
        let stride = if canaries { population / planted } else { 0 };
        Self {
            id: ClientId::new(place + 1).expect("a place is far below 2^24 - 1"),
            population: population as u32,
            salt: rng.next(),
            canary_stride: stride as u32,
            canary_offset: rng.below(stride) as u32,
            talk_s: rng.between(180, 480),
            open_weekends: rng.chance(600),
            season: rng.below(12),
        }
    }

    /// The key that records hold for a subject.
    pub(crate) fn key(&self, subject: u32) -> u64 {
        mix(self.salt ^ u64::from(subject).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Whether a subject is fictitious.
    pub(crate) fn is_canary(&self, subject: u32) -> bool {
        self.canary_stride > 0 && subject % self.canary_stride == self.canary_offset
    }

    /// The fictitious subjects.
    pub(crate) fn canaries(&self) -> impl Iterator<Item = u32> {
        let stride = if self.canary_stride == 0 {
            usize::MAX
        } else {
            self.canary_stride as usize
        };
        let end = if self.canary_stride == 0 {
            0
        } else {
            self.population
        };
        (self.canary_offset..end).step_by(stride)
    }

    /// Who calls: mostly anybody, sometimes one of those who call often (Zipf-like: each doubling of
    /// the rank is as likely). Fictitious people do not call.
    pub(crate) fn caller(&self, rng: &mut Rng) -> u32 {
        let population = u64::from(self.population);
        let among = if rng.chance(OFTEN_PERMILLE) {
            1 << rng.between(3, u64::from(population.ilog2()))
        } else {
            population
        };
        let subject = rng.below(among) as u32;
        if self.is_canary(subject) {
            (subject + 1) % self.population
        } else {
            subject
        }
    }

    /// Calls of the day, of a thousand on a usual day.
    pub(crate) fn load(&self, today: &Today) -> u64 {
        let season = SEASONS[((today.months() + self.season) % 12) as usize];
        let campaign = if self.campaign(today) { 2 } else { 1 };
        (today.load(self.open_weekends) * season / 1000 * campaign).max(100)
    }

    /// Whether a campaign doubles the calls.
    pub(crate) fn campaign(&self, today: &Today) -> bool {
        let day = today.number.max(0) as u64;
        let mut rng = Rng::of(&[self.salt, 2, day / CAMPAIGN_DAYS]);
        let from = rng.below(CAMPAIGN_DAYS - 42);
        let days = rng.between(14, 42);
        (from..from + days).contains(&(day % CAMPAIGN_DAYS))
    }

    /// A subject of a walk through all of them in an order that no one sees: the `n`th.
    pub(crate) fn scattered(&self, name: u64, n: u32) -> u32 {
        let population = u64::from(self.population);
        // Prime and larger than any population: no common divisor, so each subject once.
        let step = 2_147_483_647 % population;
        ((u64::from(n) * step + named(&[self.salt, name]) % population) % population) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Client;
    use crate::random::Rng;

    #[test]
    fn a_scattered_walk_meets_each_subject_once() {
        let client = Client::new(1, 0, true);
        let met: BTreeSet<u32> = (0..client.population)
            .map(|n| client.scattered(7, n))
            .collect();
        assert_eq!(met.len() as u32, client.population);
    }

    #[test]
    fn fictitious_people_do_not_call() {
        let client = Client::new(2, 3, true);
        let planted = client.canaries().count();
        assert!((20..=220).contains(&planted), "{planted}");
        assert!(client.canaries().all(|it| client.is_canary(it)));
        let mut rng = Rng::of(&[4]);
        assert!((0..100_000).all(|_| !client.is_canary(client.caller(&mut rng))));
        assert_eq!(Client::new(2, 3, false).canaries().count(), 0);
    }
}
