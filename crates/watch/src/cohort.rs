//! What is usual in a role: medians over its actors, and how a day was for all of them.

use std::collections::BTreeMap;

use event::{ClientId, Role};

use crate::actor::Actor;
use crate::history::History;
use crate::rise::Q8;

/// Actors that make a cohort.
const ACTORS_MIN: usize = 8;
/// Days that an actor needs to count in it.
const DAYS_MIN: u32 = 5;
/// The most that one's own may be, in tenths of the median deviation beyond the median. Three standard
/// deviations of a normal distribution are 4.4 median deviations; people's paces have a heavier tail,
/// so five of them: set on the calibration seeds.
const SHARE_MOST: u64 = 44;
const PACE_MOST: u64 = 75;
/// How a day was: subjects that are worth as much as what is leant on. A person's day is some 40.
const ROLE_WORTH: u64 = 40;
const HOME_WORTH: u64 = 120;
/// Its bounds, in 1/256.
const FACTOR_MIN: u64 = 64;
const FACTOR_MAX: u64 = 1_024;

/// What a role's actors have in the median, per unit in 1/65536; `None`: too few actors.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Priors {
    pub(crate) per_day: Option<Share>,
    pub(crate) per_call: Option<Share>,
    pub(crate) unexplained: Option<Share>,
    pub(crate) missed: Option<Share>,
}

/// A share, or a pace, that a role's actors have, per unit in 1/65536.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) median: u64,
    /// The most that one's own usual one may be: what others have, and not what a thief had from
    /// the first day on.
    pub(crate) most: u64,
}

/// A role.
#[derive(Debug)]
pub(crate) struct RoleState {
    pub(crate) history: History,
    pub(crate) priors: Priors,
}

/// All roles.
#[derive(Debug)]
pub(crate) struct Roles(BTreeMap<Role, RoleState>);

impl Roles {
    pub(crate) fn new() -> Self {
        let state = |role| RoleState {
            history: History::new(role),
            priors: Priors::default(),
        };
        Self(Role::ALL.iter().map(|&role| (role, state(role))).collect())
    }

    pub(crate) fn of(&mut self, role: Role) -> &mut RoleState {
        self.0.get_mut(&role).expect("every role has its state")
    }

    pub(crate) fn history(&self, role: Role) -> &History {
        &self.0.get(&role).expect("every role has its state").history
    }

    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut RoleState> {
        self.0.values_mut()
    }

    /// Looks at the medians anew.
    pub(crate) fn measure(&mut self, actors: &[Actor]) {
        for (&role, state) in &mut self.0 {
            let of = |usual: fn(&Actor) -> &crate::actor::Judged| {
                let members = actors.iter().filter(|it| it.role == role);
                let known = members.map(usual).filter(|it| it.usual.days >= DAYS_MIN);
                known.map(|it| it.usual.mean_with(None)).collect::<Vec<_>>()
            };
            state.priors = Priors {
                per_day: share(of(|it| &it.per_day), PACE_MOST),
                per_call: share(of(|it| &it.per_call), PACE_MOST),
                unexplained: share(of(|it| &it.unexplained), SHARE_MOST),
                missed: share(of(|it| &it.missed), SHARE_MOST),
            };
        }
    }
}

fn share(values: Vec<u64>, tenths: u64) -> Option<Share> {
    let middle = median(values.clone())?;
    let off = median(values.iter().map(|it| it.abs_diff(middle)).collect())?;
    let most = (middle + off * tenths / 10).max(middle * 3 / 2);
    Some(Share {
        median: middle,
        most,
    })
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    if values.len() < ACTORS_MIN {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable(middle).1)
}

/// How a day was for a cohort, counted over expected: for a role, and for those in it who work for the
/// same client.
#[derive(Default, Debug)]
pub(crate) struct Day(BTreeMap<(Role, Option<ClientId>), Sum>);

#[derive(Clone, Copy, Default, Debug)]
struct Sum {
    counted: u64,
    expected: Q8,
}

impl Day {
    pub(crate) fn add(&mut self, role: Role, home: Option<ClientId>, counted: u64, expected: Q8) {
        // Who is far beyond what is expected does not tell how the day was.
        let counted = counted.min((expected >> 8) * 2 + 4);
        let mut add = |key| {
            let sum = self.0.entry(key).or_default();
            sum.counted += counted;
            sum.expected += expected;
        };
        add((role, None));
        if home.is_some() {
            add((role, home));
        }
    }

    /// In 1/256, without the actor's own day. Few others tell little: the role's factor leans on 1,
    /// and that of those who work for the same client on the role's.
    pub(crate) fn factor(
        &self,
        role: Role,
        home: Option<ClientId>,
        counted: u64,
        expected: Q8,
    ) -> u64 {
        let counted = counted.min((expected >> 8) * 2 + 4);
        let of = |key, leans_on: u64, worth: u64| {
            let sum = self.0.get(&key).copied().unwrap_or_default();
            let counted = sum.counted.saturating_sub(counted) << 16;
            let expected = sum.expected.saturating_sub(expected);
            let factor = (counted + ((worth * leans_on) << 8)) / (expected + (worth << 8));
            factor.clamp(FACTOR_MIN, FACTOR_MAX)
        };
        let all = of((role, None), 256, ROLE_WORTH);
        match home {
            Some(_) => of((role, home), all, HOME_WORTH),
            None => all,
        }
    }
}
