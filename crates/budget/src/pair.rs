//! One (actor, client): its sets, and what each group of them holds.

use std::sync::Arc;

use event::{ActorId, ClientId};

use crate::set::Set;
use crate::{Item, Kind, Level, SetKind};

pub(crate) const SETS: usize = 12;
const GROUPS: usize = 4;
pub(crate) const TAGS: usize = 8;
pub(crate) const PROBES: usize = 9;
pub(crate) const PRIMARY_PROBES: usize = 10;
pub(crate) const MASKED: usize = 11;

/// What each window holds, for each group.
pub(crate) type Held = [[u64; 4]; GROUPS];

/// The groups of sets: a group holds the maximum over its sets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Subjects,
    Probes,
    PrimaryProbes,
    Masked,
}

impl Group {
    pub(crate) fn of_set(set: usize) -> Self {
        match set {
            PROBES => Self::Probes,
            PRIMARY_PROBES => Self::PrimaryProbes,
            MASKED => Self::Masked,
            _ => Self::Subjects,
        }
    }
}

impl Kind {
    pub(crate) fn group(self, level: Level) -> Group {
        match (self, level) {
            (Self::Subjects, _) => Group::Subjects,
            (Self::Probes, Level::Actor) => Group::PrimaryProbes,
            (Self::Probes, _) => Group::Probes,
            (Self::Masked, _) => Group::Masked,
        }
    }
}

/// One (actor, client).
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) actor: ActorId,
    pub(crate) client: ClientId,
    /// The minute that `held` and the sets are of.
    pub(crate) now: u32,
    pub(crate) held: Held,
    /// Shared with a copy of the state that is being written down.
    pub(crate) sets: [Option<Arc<Set>>; SETS],
}

impl Pair {
    pub(crate) fn set(&mut self, index: usize) -> &mut Set {
        let now = self.now;
        let set = Arc::make_mut(self.sets[index].get_or_insert_default());
        set.advance(now);
        set
    }

    /// Whether a set remembers a key.
    pub(crate) fn holds(&self, set: usize, key: u64) -> bool {
        let set = self.sets.get(set).and_then(Option::as_ref);
        set.is_some_and(|set| set.holds(key))
    }

    pub(crate) fn advance(&mut self, now: u32) {
        self.now = now;
        self.sets
            .iter_mut()
            .flatten()
            .for_each(|set| Arc::make_mut(set).advance(now));
        self.held = self.maxima();
    }

    pub(crate) fn maxima(&self) -> Held {
        self.maxima_of(Set::held)
    }

    pub(crate) fn held_at(&self, now: u32) -> Held {
        self.maxima_of(|set| set.held_at(now))
    }

    fn maxima_of(&self, held_by: impl Fn(&Set) -> [u64; 4]) -> Held {
        let mut maxima = Held::default();
        for (index, set) in self.sets.iter().enumerate() {
            let Some(set) = set else { continue };
            let group = &mut maxima[Group::of_set(index) as usize];
            group
                .iter_mut()
                .zip(held_by(set))
                .for_each(|(max, held)| *max = held.max(*max));
        }
        maxima
    }

    /// Raises what the group of a set holds to what the set holds, and gives back by how much.
    pub(crate) fn raise(&mut self, set: usize) -> [u64; 4] {
        let Some(held_by_set) = self.sets[set].as_ref().map(|set| set.held()) else {
            return [0; 4];
        };
        let mut growth = [0; 4];
        let held = &mut self.held[Group::of_set(set) as usize];
        for ((held, now), grown) in held.iter_mut().zip(held_by_set).zip(&mut growth) {
            *grown = now.saturating_sub(*held);
            *held += *grown;
        }
        growth
    }
}

/// The set and the key of an item.
pub(crate) fn place(item: &Item) -> (usize, u64) {
    match item.kind {
        SetKind::Clear(class) => (usize::from(class.code() - 1), item.fingerprint),
        SetKind::RowTag => (TAGS, item.fingerprint),
        SetKind::Probe { .. } => (PROBES, item.fingerprint),
        // One set for all classes; the class is told apart by a bijection of the key.
        SetKind::Masked(class) => {
            let salt = u64::from(class.code()).wrapping_mul(0xd6e8_feb8_6659_fd93);
            (MASKED, item.fingerprint.wrapping_add(salt))
        }
    }
}
