//! The state of all budgets in parts, to write it down and read it back: for each set what it
//! counts, which names nobody, and apart from it the keys it remembers, which are fingerprints.
//!
//! Invariants: parts come in one order; what was read back behaves as what was written down; parts
//! that no state has are an error, never a panic. A set whose keys are gone keeps its counts, and
//! counts every key as new: never less than before.

use event::{ActorId, ClientId};

use crate::Budgets;
use crate::pair::SETS;
use crate::set::{Last, Set};

/// Which set of an (actor, client): its number is never given to another (docs/format/snapshot.md).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SetId {
    /// Whose subjects.
    pub client: ClientId,
    /// Who saw them.
    pub actor: ActorId,
    /// 0 to 7: classes in clear; 8 row tags; 9 probes; 10 primary probes; 11 masked.
    pub number: u8,
}

/// What a set counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetCounts {
    /// Which set.
    pub id: SetId,
    /// The minute (elapsed) that it is of.
    pub minute: u32,
    /// Units of all time.
    pub all: u64,
    /// (minute, units whose last release it is), ascending, of the 30 days before.
    pub minutes: Vec<(u32, u64)>,
}

/// A key that a set remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// The fingerprint or row tag, or for masked values one made from class and fingerprint.
    pub key: u64,
    /// The minute of its last release.
    pub minute: u32,
    /// Its units.
    pub weight: u32,
}

/// Parts that no state of budgets has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("set {} of actor {} and client {} is not one that budgets have", .0.number, .0.actor, .0.client)]
pub struct NotRestored(pub SetId);

impl Budgets {
    /// The latest minute it was asked for.
    pub fn minute(&self) -> u32 {
        self.now()
    }

    /// What all sets count that are not empty, by client, actor and number.
    pub fn counts(&self) -> impl Iterator<Item = SetCounts> {
        let mut pairs: Vec<_> = self.pairs().iter().collect();
        pairs.sort_unstable_by_key(|pair| (pair.client, pair.actor));
        pairs.into_iter().flat_map(|pair| {
            (0_u8..).zip(&pair.sets).filter_map(|(number, set)| {
                let set = set.as_ref().filter(|set| set.held()[3] > 0)?;
                let id = SetId {
                    client: pair.client,
                    actor: pair.actor,
                    number,
                };
                Some(SetCounts {
                    id,
                    minute: pair.now,
                    all: set.held()[3],
                    minutes: set.minutes().collect(),
                })
            })
        })
    }

    /// The keys that a set remembers, ascending.
    pub fn remembered(&self, id: SetId) -> Vec<Remembered> {
        let set = self
            .pair_of(id.actor, id.client)
            .and_then(|pair| pair.sets.get(usize::from(id.number))?.as_ref());
        let keys = set.map(|set| set.remembered()).unwrap_or_default();
        keys.into_iter()
            .map(|(key, Last { minute, weight })| Remembered {
                key,
                minute,
                weight,
            })
            .collect()
    }
}

/// Builds a state from its parts.
#[derive(Debug)]
pub struct Restore(Budgets);

impl Restore {
    /// Begins with what [`Budgets::minute`] said.
    pub fn new(entries_max: u64, minute: u32) -> Self {
        let mut budgets = Budgets::new(entries_max);
        budgets.set_now(minute);
        Self(budgets)
    }

    /// Adds what a set counts.
    ///
    /// # Errors
    /// If no set can count that, or it is there already.
    pub fn counts(&mut self, counts: &SetCounts) -> Result<(), NotRestored> {
        let id = counts.id;
        let bad = NotRestored(id);
        let number = usize::from(id.number);
        if number >= SETS || counts.all == 0 || counts.minute > self.0.now() {
            return Err(bad);
        }
        let pair = self.0.pair_for(id.actor, id.client, counts.minute);
        if pair.now != counts.minute || pair.sets[number].is_some() {
            return Err(bad);
        }
        let set = Set::holding(counts.minute, counts.all, &counts.minutes).ok_or(bad)?;
        pair.sets[number] = Some(set.into());
        Ok(())
    }

    /// Adds keys that a set remembers; its counts came before.
    ///
    /// # Errors
    /// If it has none of these counts, or remembers one of these keys.
    pub fn remembered(&mut self, id: SetId, keys: &[Remembered]) -> Result<(), NotRestored> {
        let keys: Vec<_> = keys
            .iter()
            .map(
                |&Remembered {
                     key,
                     minute,
                     weight,
                 }| (key, Last { minute, weight }),
            )
            .collect();
        self.0
            .set_for(id.actor, id.client, usize::from(id.number))
            .and_then(|set| set.remember(&keys))
            .ok_or(NotRestored(id))
    }

    /// The state, with its sums.
    ///
    /// # Errors
    /// If a set remembers more than it counts.
    pub fn finish(mut self) -> Result<Budgets, NotRestored> {
        for pair in self.0.pairs() {
            for (number, set) in (0_u8..).zip(&pair.sets) {
                if !set.as_ref().is_none_or(|set| set.is_sound()) {
                    return Err(NotRestored(SetId {
                        client: pair.client,
                        actor: pair.actor,
                        number,
                    }));
                }
            }
        }
        self.0.sum_up();
        Ok(self.0)
    }
}
