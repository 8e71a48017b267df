//! One set of an (actor, client): distinct keys by the minute of their last release, and what each
//! sliding window holds of them.
//!
//! Invariant: `held[w]` is the sum of the weights whose last release is in window `w` at `now`;
//! `held[All]` is the sum of all. A release of minute `m` is in a window of `W` minutes while
//! `now - m <= W`: minutes are truncated, so this errs by less than a minute, to the strict side.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::Window;

const HOUR: u32 = 60;
pub(crate) const MONTH: u32 = 30 * 24 * 60;
/// The most a set may hold when it is read back: sums over sets cannot overflow.
const ALL_MAX: u64 = 1 << 48;
const LENGTHS: [u32; 3] = [HOUR, 24 * 60, MONTH];

/// Fingerprints are outputs of a PRF whose key no attacker of the table has: nothing is gained by
/// a keyed hash. One multiplication spreads test values too.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

pub(crate) type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

/// A key's last release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Last {
    pub(crate) minute: u32,
    pub(crate) weight: u32,
}

/// All that a set remembers, ordered: for comparing states.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Content {
    last: Vec<(u64, Last)>,
    minutes: Vec<(u32, u64)>,
    pub(crate) all: u64,
}

/// What a release did, enough to undo it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Released {
    /// The key's last release before; `None`: never, or not remembered.
    before: Option<Last>,
    /// The weight it has now.
    weight: u32,
    /// Whether the key is remembered.
    pub(crate) stored: bool,
    /// Units that at least one window grew by: those that the shortest did not hold.
    pub(crate) charged: u32,
    /// Of these, never released before.
    pub(crate) newly: u32,
}

impl Released {
    /// Whether the set remembers one key more than before.
    pub(crate) fn remembered_more(&self) -> bool {
        self.stored && self.before.is_none()
    }
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Set {
    /// The minute that `held` is of.
    now: u32,
    held: [u64; 4],
    /// Shared with a copy of the state that is being written down; copied when it next changes.
    last: Arc<KeyMap<u64, Last>>,
    /// (minute, weight whose last release it is), ascending, of the last 30 days; at most 43,201.
    minutes: VecDeque<(u32, u64)>,
}

impl Set {
    /// What each window holds, as of the last [`Set::advance`].
    pub(crate) fn held(&self) -> [u64; 4] {
        self.held
    }

    /// How many keys it remembers.
    /// Whether it remembers the key.
    pub(crate) fn holds(&self, key: u64) -> bool {
        self.last.contains_key(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.last.len()
    }

    /// Moves time on; never back.
    pub(crate) fn advance(&mut self, now: u32) {
        if now <= self.now {
            return;
        }
        for (held, length) in self.held.iter_mut().zip(LENGTHS) {
            let from = self.now.saturating_sub(length);
            let to = now.saturating_sub(length);
            let start = self.minutes.partition_point(|&(minute, _)| minute < from);
            *held -= self
                .minutes
                .range(start..)
                .take_while(|&&(minute, _)| minute < to)
                .map(|&(_, weight)| weight)
                .sum::<u64>();
        }
        while self
            .minutes
            .front()
            .is_some_and(|&(minute, _)| minute < now.saturating_sub(MONTH))
        {
            self.minutes.pop_front();
        }
        self.now = now;
    }

    /// What each window will hold at `now`, without moving time.
    pub(crate) fn held_at(&self, now: u32) -> [u64; 4] {
        let now = now.max(self.now);
        let mut held = [0, 0, 0, self.held[Window::All as usize]];
        for (held, length) in held.iter_mut().zip(LENGTHS) {
            let start = self
                .minutes
                .partition_point(|&(m, _)| m < now.saturating_sub(length));
            *held = self.minutes.range(start..).map(|&(_, weight)| weight).sum();
        }
        held
    }

    /// Releases a key at `now`, the minute of the last [`Set::advance`]. A key that is not
    /// remembered and, with `remember` off, will not be, counts as new each time.
    pub(crate) fn release(&mut self, key: u64, weight: u32, remember: bool) -> Released {
        let now = self.now;
        if !remember && !self.last.contains_key(&key) {
            return self.release_unknown(weight, false);
        }
        let keys = Arc::make_mut(&mut self.last);
        let Some(last) = keys.get_mut(&key) else {
            keys.insert(
                key,
                Last {
                    minute: now,
                    weight,
                },
            );
            return self.release_unknown(weight, true);
        };
        let before = *last;
        let weight = weight.max(before.weight);
        let newly = weight - before.weight;
        *last = Last {
            minute: now,
            weight,
        };
        let charged = if now - before.minute <= HOUR {
            newly
        } else {
            weight
        };
        if before.minute != now || newly > 0 {
            for (held, length) in self.held.iter_mut().zip(LENGTHS) {
                let grows = if now - before.minute <= length {
                    newly
                } else {
                    weight
                };
                *held += u64::from(grows);
            }
            self.held[Window::All as usize] += u64::from(newly);
            self.take(before.minute, u64::from(before.weight));
            self.add_now(u64::from(weight));
        }
        Released {
            before: Some(before),
            weight,
            stored: true,
            charged,
            newly,
        }
    }

    /// Undoes the latest release that was not undone yet.
    pub(crate) fn undo(&mut self, key: u64, released: Released) {
        let now = self.now;
        let weight = released.weight;
        self.take(now, u64::from(weight));
        let Some(before) = released.before else {
            if released.stored {
                Arc::make_mut(&mut self.last).remove(&key);
            }
            self.held
                .iter_mut()
                .for_each(|held| *held -= u64::from(weight));
            return;
        };
        Arc::make_mut(&mut self.last).insert(key, before);
        for (held, length) in self.held.iter_mut().zip(LENGTHS) {
            let grew = if now - before.minute <= length {
                released.newly
            } else {
                weight
            };
            *held -= u64::from(grew);
        }
        self.held[Window::All as usize] -= u64::from(released.newly);
        if before.minute >= now.saturating_sub(MONTH)
            && let Ok(place) = self
                .minutes
                .binary_search_by_key(&before.minute, |&(m, _)| m)
        {
            self.minutes[place].1 += u64::from(before.weight);
        }
    }

    /// Counts a key that was not remembered before.
    fn release_unknown(&mut self, weight: u32, stored: bool) -> Released {
        self.held
            .iter_mut()
            .for_each(|held| *held += u64::from(weight));
        self.add_now(u64::from(weight));
        Released {
            before: None,
            weight,
            stored,
            charged: weight,
            newly: weight,
        }
    }

    fn add_now(&mut self, weight: u64) {
        match self.minutes.back_mut() {
            Some((minute, sum)) if *minute == self.now => *sum += weight,
            _ => self.minutes.push_back((self.now, weight)),
        }
    }

    /// Takes weight out of a minute; those older than 30 days are no longer kept.
    fn take(&mut self, minute: u32, weight: u64) {
        if let Some((back, sum)) = self.minutes.back_mut()
            && *back == minute
        {
            *sum -= weight;
        } else if let Ok(place) = self.minutes.binary_search_by_key(&minute, |&(m, _)| m) {
            self.minutes[place].1 -= weight;
        }
    }

    /// (minute, weight) of the last 30 days, ascending, none empty.
    pub(crate) fn minutes(&self) -> impl Iterator<Item = (u32, u64)> {
        let from = self.now.saturating_sub(MONTH);
        self.minutes
            .iter()
            .copied()
            .filter(move |&(minute, weight)| weight > 0 && minute >= from)
    }

    /// All it remembers, by key.
    pub(crate) fn remembered(&self) -> Vec<(u64, Last)> {
        let mut all: Vec<_> = self.last.iter().map(|(&key, &last)| (key, last)).collect();
        all.sort_unstable_by_key(|&(key, _)| key);
        all
    }

    /// A set that holds so much, and remembers no key. `None` if no set can hold that: its minutes
    /// do not ascend, lie outside of the 30 days before `now`, or weigh more than all.
    pub(crate) fn holding(now: u32, all: u64, minutes: &[(u32, u64)]) -> Option<Self> {
        let from = now.saturating_sub(MONTH);
        let mut sum = 0_u64;
        let mut after = None;
        for &(minute, weight) in minutes {
            let sound = minute >= from && minute <= now && weight > 0 && after < Some(minute);
            sum = sum.checked_add(weight).filter(|_| sound)?;
            after = Some(minute);
        }
        if sum > all || all > ALL_MAX {
            return None;
        }
        let mut set = Self {
            now,
            held: [0, 0, 0, all],
            last: Arc::default(),
            minutes: minutes.iter().copied().collect(),
        };
        set.held = set.held_at(now);
        Some(set)
    }

    /// Remembers keys again, all at once. `None` if they weigh more than what the set holds of
    /// their minutes, or one of them comes twice.
    pub(crate) fn remember(&mut self, keys: &[(u64, Last)]) -> Option<()> {
        let last = Arc::make_mut(&mut self.last);
        last.reserve(keys.len());
        for &(key, release) in keys {
            let sound = release.weight > 0 && release.minute <= self.now;
            if !sound || last.insert(key, release).is_some() {
                return None;
            }
        }
        Some(())
    }

    /// Whether what it remembers fits what it holds.
    pub(crate) fn is_sound(&self) -> bool {
        let from = self.now.saturating_sub(MONTH);
        let mut left: Vec<(u32, u64)> = self.minutes.iter().copied().collect();
        let mut all = self.held[Window::All as usize];
        self.last.values().all(|last| {
            let weight = u64::from(last.weight);
            let Some(rest) = all.checked_sub(weight) else {
                return false;
            };
            all = rest;
            if last.minute < from {
                return true;
            }
            let Ok(place) = left.binary_search_by_key(&last.minute, |&(minute, _)| minute) else {
                return false;
            };
            let rest = left[place].1.checked_sub(weight);
            left[place].1 = rest.unwrap_or(0);
            rest.is_some()
        })
    }

    /// All it remembers, ordered: for comparing states.
    pub(crate) fn content(&self) -> Content {
        Content {
            last: self.remembered(),
            minutes: self.minutes().collect(),
            all: self.held[Window::All as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_with_one_at(minute: u32) -> Set {
        let mut set = Set::default();
        set.advance(minute);
        set.release(1, 1, true);
        set
    }

    #[test]
    fn a_window_holds_a_release_for_its_minutes_and_not_one_more() {
        for (index, length) in LENGTHS.into_iter().enumerate() {
            let mut set = set_with_one_at(100);
            set.advance(100 + length);
            assert_eq!(set.held()[index], 1, "{length} minutes later");
            set.advance(101 + length);
            assert_eq!(set.held()[index], 0, "{length} + 1 minutes later");
            assert_eq!(set.held()[3], 1);
        }
    }

    #[test]
    fn a_second_release_begins_the_window_anew() {
        let mut set = set_with_one_at(0);
        set.advance(60);
        assert_eq!(set.release(1, 1, true).charged, 0);
        assert_eq!(set.held(), [1, 1, 1, 1]);
        set.advance(120);
        assert_eq!(set.held(), [1, 1, 1, 1]);
        set.advance(121);
        let released = set.release(1, 1, true);
        assert_eq!((released.charged, released.newly), (1, 0));
        assert_eq!(set.held(), [1, 1, 1, 1]);
    }

    #[test]
    fn a_greater_weight_counts_for_the_difference() {
        let mut set = set_with_one_at(5);
        let released = set.release(1, 4, true);
        assert_eq!((released.charged, released.newly), (3, 3));
        assert_eq!(set.held(), [4; 4]);
        set.release(1, 2, true);
        assert_eq!(set.held(), [4; 4]);
        set.undo(1, released);
        assert_eq!(set.held(), [1; 4]);
    }

    #[test]
    fn a_key_that_is_not_remembered_counts_each_time() {
        let mut set = Set::default();
        for times in 1..=3 {
            set.release(8, 1, false);
            assert_eq!(set.held(), [times; 4]);
        }
        assert_eq!(set.len(), 0);
    }

    #[test]
    fn looking_ahead_agrees_with_moving_on() {
        let mut set = set_with_one_at(10);
        set.advance(50);
        set.release(2, 3, true);
        for now in [50, 70, 71, 110, 111, 1450, 1451, 43_211, 50_000] {
            let ahead = set.held_at(now);
            let mut moved = set.clone();
            moved.advance(now);
            assert_eq!(ahead, moved.held(), "at {now}");
        }
    }
}
