//! Families of theft: who steals, how, and which findings would name the cause.

use std::fmt;

use event::Role;
use watch::Detector;

use crate::clients::Client;
use crate::people::roles;
use crate::random::{Rng, named};

/// People taken in one night of the case: 9.28 million in ten years, about once a month.
pub(crate) const CASE_A_NIGHT: u32 = 93_000;
/// What a maintenance window's grant allows, and what is taken in it.
pub(crate) const WINDOW_GRANTED: u32 = 500;
pub(crate) const WINDOW_TAKEN: u32 = 5_000;
/// People taken in one night without a log.
pub(crate) const GAP_A_NIGHT: u32 = 3_000;
/// A day, each of two colluders.
const COLLUDER_A_DAY: u32 = 20;
/// A day, the second person on an account.
pub(crate) const SECOND_A_DAY: u32 = 20;
/// A day, in order.
const WALK_A_DAY: u32 = 20;
/// Values guessed a day, and how many of ten find somebody.
pub(crate) const GUESSES_A_DAY: u32 = 150;
pub(crate) const GUESSED_OF_TEN: u32 = 3;
/// Of 1,000 calls, so many are not answered and somebody is looked up instead.
pub(crate) const SWAPPED_PERMILLE: u32 = 250;
/// A ramp rises by so much of the own pace a working day, of 1,000, and ends at this.
const RAMP_PERMILLE: u32 = 10;
const RAMP_MAX_PERMILLE: u32 = 3000;

/// A way to steal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// The case itself: once a month, in one night, 93,000 people, by somebody with full rights, at
    /// the maintenance terminal, to a file, to removable media.
    Case,
    /// An operator, so many more people each working day.
    Constant(u32),
    /// An operator, 1 % more of the own pace each working day.
    Ramp,
    /// An operator who knows all thresholds: so many people of a thousand working days, from the first
    /// day, within the pattern of work, and without any other lookup that no call explains.
    Insider(u32),
    /// A second person on an operator's account, at another terminal, at the same time.
    SharedAccount,
    /// A maintainer with a grant for 500 in a maintenance window, who takes 5,000, once a month.
    Window,
    /// Two operators, each from another client.
    ColludersClients,
    /// Two operators, each half of one client's list.
    ColludersList,
    /// Once a month 3,000 in a night of which no records are left; by turns the records are cut out of
    /// the numbering, or never were made.
    Gap,
    /// An operator, 100 a day from the first day on: there is no honest past.
    Poisoned,
    /// An operator who answers a quarter fewer calls and looks up people instead.
    NoCalls,
    /// An operator who goes through the customer numbers, 20 a day.
    Walk,
    /// An operator who tries numbers in sequence, 150 a day; three of ten find somebody.
    Guess,
}

impl Family {
    /// Those with a name on the command line. Insiders have another one for each rate.
    pub const ALL: [Self; 16] = [
        Self::Case,
        Self::Constant(5),
        Self::Constant(20),
        Self::Constant(100),
        Self::Constant(4000),
        Self::Ramp,
        Self::Insider(2000),
        Self::SharedAccount,
        Self::Window,
        Self::ColludersClients,
        Self::ColludersList,
        Self::Gap,
        Self::Poisoned,
        Self::NoCalls,
        Self::Walk,
        Self::Guess,
    ];

    /// The family with this name, as its display writes it.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(a_day) = name.strip_prefix("constant-") {
            return a_day.parse().ok().map(Self::Constant);
        }
        Self::ALL.into_iter().find(|it| it.to_string() == name)
    }

    /// The detectors whose finding names the cause.
    pub fn causes(self) -> &'static [Detector] {
        use Detector::{
            Balance, Burst, Canary, Chain, Guess, Identity, Ledger, Silence, Step, Together, Walk,
        };
        match self {
            Self::Case => &[Burst, Chain],
            Self::Constant(1000..) | Self::Window => &[Burst],
            Self::Constant(_) | Self::Ramp | Self::Insider(_) | Self::Poisoned => {
                &[Burst, Step, Ledger, Balance, Canary]
            }
            Self::SharedAccount => &[Identity, Step, Balance, Canary],
            Self::ColludersClients | Self::ColludersList => {
                &[Together, Step, Ledger, Balance, Canary]
            }
            Self::Gap => &[Silence],
            Self::NoCalls => &[Balance, Canary],
            Self::Walk => &[Walk, Step, Ledger, Balance, Canary],
            Self::Guess => &[Guess, Walk],
        }
    }

    /// How many people a gang has.
    pub fn parts(self) -> u32 {
        match self {
            Self::ColludersClients | Self::ColludersList => 2,
            _ => 1,
        }
    }

    fn roles(self) -> &'static [Role] {
        match self {
            Self::Case | Self::Gap => &[Role::Administrator, Role::Maintainer],
            Self::Window => &[Role::Maintainer],
            _ => &[Role::Operator],
        }
    }

    /// People taken on the working day after `worked` others, by somebody whose own work showed `own`.
    pub(crate) fn a_day(self, worked: u32, own: u32) -> u32 {
        match self {
            Self::Constant(a_day) => a_day,
            Self::Poisoned => 100,
            Self::Ramp => own * (RAMP_PERMILLE * worked).min(RAMP_MAX_PERMILLE) / 1000,
            Self::Insider(permille) => {
                let until = |days: u32| u64::from(permille) * u64::from(days) / 1000;
                (until(worked + 1) - until(worked)) as u32
            }
            Self::ColludersClients | Self::ColludersList => COLLUDER_A_DAY,
            Self::Walk => WALK_A_DAY,
            _ => 0,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Constant(a_day) => return write!(f, "constant-{a_day}"),
            Self::Case => "case",
            Self::Ramp => "ramp",
            Self::Insider(_) => "insider",
            Self::SharedAccount => "shared-account",
            Self::Window => "window",
            Self::ColludersClients => "colluders-clients",
            Self::ColludersList => "colluders-list",
            Self::Gap => "gap",
            Self::Poisoned => "poisoned",
            Self::NoCalls => "no-calls",
            Self::Walk => "walk",
            Self::Guess => "guess",
        };
        f.pad(name)
    }
}

/// One who steals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thief {
    /// How.
    pub family: Family,
    /// At which seat; the actor of seat `n` is `n + 1`, and stays from the first day to the last.
    pub seat: u32,
    /// The first day of it, from 0.
    pub from_day: u32,
    /// With whom: thieves of one gang share what they want.
    pub gang: u32,
    /// Which part of the gang, from 0.
    pub part: u32,
}

/// Chooses thieves of one family: so many gangs, or as many as there are seats for; each begins 12
/// days after the one before.
pub fn cast(seed: u64, actors: u32, family: Family, gangs: u32, from_day: u32) -> Vec<Thief> {
    let seats: Vec<u32> = (0..)
        .zip(roles(actors))
        .filter(|(_, role)| family.roles().contains(role))
        .map(|(seat, _)| seat)
        .collect();
    let parts = family.parts();
    let gangs = gangs.min(seats.len() as u32 / parts);
    let begin = Rng::of(&[seed, 8]).below(seats.len() as u64) as usize;
    let apart = seats.len() / (gangs * parts).max(1) as usize;
    (0..gangs * parts)
        .map(|n| Thief {
            family,
            seat: seats[(begin + n as usize * apart) % seats.len()],
            from_day: if family == Family::Poisoned || matches!(family, Family::Insider(_)) {
                0
            } else {
                from_day + n / parts * 12
            },
            gang: n / parts,
            part: n % parts,
        })
        .collect()
}

/// What a thief has taken, and takes next.
#[derive(Debug)]
pub(crate) struct Loot {
    pub(crate) thief: Thief,
    /// The client being taken.
    client: u16,
    /// Of which so many are taken.
    taken: u32,
    /// Working days, or nights, of theft so far.
    pub(crate) acts: u32,
    name: u64,
}

impl Loot {
    /// `home`: the client that the gang's first member serves most.
    pub(crate) fn new(seed: u64, thief: Thief, home: u16, clients: usize) -> Self {
        let apart = thief.family == Family::ColludersClients;
        let further = if apart { thief.part } else { 0 };
        Self {
            thief,
            client: (home + further as u16) % clients as u16,
            taken: 0,
            acts: 0,
            name: named(&[seed, 9, u64::from(thief.gang), u64::from(further)]),
        }
    }

    /// Whether this is a day of theft.
    pub(crate) fn begun(&self, day: u32) -> bool {
        day >= self.thief.from_day
    }

    /// The day of the month on which a monthly theft happens.
    pub(crate) fn monthly(&self) -> u32 {
        1 + (self.name % 28) as u32
    }

    /// Next subjects, at most `most`, all of one client, none twice; gives the client.
    pub(crate) fn take(&mut self, clients: &[Client], most: u32, into: &mut Vec<u32>) -> u16 {
        let list = self.thief.family == Family::ColludersList;
        let (parts, part) = if list { (2, self.thief.part) } else { (1, 0) };
        into.clear();
        if self.taken * parts + part >= clients[self.client as usize].population {
            self.client = (self.client + 1) % clients.len() as u16;
            self.taken = 0;
        }
        let client = &clients[self.client as usize];
        while (into.len() as u32) < most && self.taken * parts + part < client.population {
            let n = self.taken * parts + part;
            into.push(match self.thief.family {
                Family::Walk | Family::Guess => {
                    let begin = self.name % u64::from(client.population);
                    ((begin + u64::from(n)) % u64::from(client.population)) as u32
                }
                _ => client.scattered(self.name, n),
            });
            self.taken += 1;
        }
        self.client
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, cast};

    #[test]
    fn names_are_read_as_they_are_written() {
        for family in Family::ALL {
            assert_eq!(Family::named(&family.to_string()), Some(family));
        }
        assert_eq!(Family::named("constant-7"), Some(Family::Constant(7)));
        assert_eq!(Family::named("honest"), None);
    }

    #[test]
    fn thieves_sit_apart() {
        for family in Family::ALL {
            let thieves = cast(1, 200, family, 6, 400);
            assert!(!thieves.is_empty());
            let mut seats: Vec<u32> = thieves.iter().map(|it| it.seat).collect();
            seats.sort_unstable();
            seats.dedup();
            assert_eq!(seats.len(), thieves.len(), "{family}");
        }
    }

    #[test]
    fn an_insiders_fractions_add_up() {
        let family = Family::Insider(250);
        assert_eq!((0..1000).map(|day| family.a_day(day, 30)).sum::<u32>(), 250);
    }
}
