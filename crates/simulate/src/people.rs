//! Who works here: seats, the people who hold them one after the other, and their habits.

use event::{ActorId, Role};
use watch::TerminalId;

use crate::calendar::{Kind, Today};
use crate::random::{Rng, named};

/// Of 1,000 seats; the rest are operators. At least one of each.
const SUPERVISORS: u32 = 60;
const IMPORTERS: u32 = 20;
const MAINTAINERS: u32 = 15;
const ADMINISTRATORS: u32 = 5;
/// Clients that a person serves, and how often of 1,000 calls.
pub(crate) const SHARES: [u64; 3] = [750, 200, 50];
/// Subjects that a person has in mind for a call back.
const RING: usize = 32;
/// Days until a newcomer is as fast as the others.
const LEARNING_DAYS: u64 = 90;
/// A call takes so much less time each year, of 1,000: tools and people get better.
const FASTER_A_YEAR: u64 = 25;
/// Days between two chances of being on leave.
const LEAVE_EVERY: u64 = 45;

/// A place at work, and who holds it now.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) number: u32,
    pub(crate) role: Role,
    pub(crate) person: Person,
    /// How many held it before.
    turn: u64,
    /// Whether the person never leaves: a thief of the simulation.
    pub(crate) stays: bool,
    pub(crate) seen: Seen,
}

/// A person, with habits.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) actor: ActorId,
    /// First day; negative: here before the simulation began.
    joined: i64,
    /// Last day.
    pub(crate) leaves: i64,
    /// Places of the clients served, most often first.
    pub(crate) clients: [u16; 3],
    /// Own time of a call, of 1,000.
    talk_permille: u64,
    /// Mean seconds between calls on a usual day.
    pub(crate) idle_s: u64,
    /// Lookups without a call, of 1,000.
    pub(crate) no_call_permille: u32,
    /// Searches that find nobody, of 1,000.
    pub(crate) miss_permille: u32,
    /// Weekdays at work, bit 0 is Sunday.
    weekdays: u8,
    /// Seconds after midnight.
    pub(crate) from_s: u64,
    pub(crate) length_s: u64,
    pub(crate) terminal: TerminalId,
    /// (client, subject) of the last ones looked up.
    ring: [(u16, u32); RING],
    ring_at: usize,
    name: u64,
}

/// The seats of a centre: operators first.
pub(crate) fn roles(actors: u32) -> Vec<Role> {
    let of = |permille: u32| (actors * permille / 1000).max(1);
    let others = [
        (Role::Supervisor, of(SUPERVISORS)),
        (Role::Importer, of(IMPORTERS)),
        (Role::Maintainer, of(MAINTAINERS)),
        (Role::Administrator, of(ADMINISTRATORS)),
    ];
    let rest: u32 = others.iter().map(|(_, n)| n).sum();
    let mut roles = vec![Role::Operator; actors.saturating_sub(rest).max(1) as usize];
    for (role, n) in others {
        roles.extend((0..n).map(|_| role));
    }
    roles
}

impl Seat {
    /// At the first day: most people have been here for a while.
    pub(crate) fn new(seed: u64, number: u32, role: Role, clients: u32) -> Self {
        let actor = ActorId(number + 1);
        let mut person = Person::new(seed, (number, 0), role, actor, clients, 0);
        let before = Rng::of(&[seed, 3, u64::from(number)]).below(1500) as i64;
        person.joined -= before;
        person.leaves = person.leaves.max(before + 30) - before;
        Self {
            number,
            role,
            person,
            turn: 0,
            stays: false,
            seen: Seen::default(),
        }
    }

    /// The person left: another one comes on this day.
    pub(crate) fn replace(&mut self, seed: u64, actor: ActorId, clients: u32, day: i64) {
        self.turn += 1;
        let place = (self.number, self.turn);
        self.person = Person::new(seed, place, self.role, actor, clients, day);
        self.seen = Seen::default();
    }
}

impl Person {
    fn new(
        seed: u64,
        (seat, turn): (u32, u64),
        role: Role,
        actor: ActorId,
        clients: u32,
        day: i64,
    ) -> Self {
        let name = named(&[seed, 4, u64::from(seat), turn]);
        let mut rng = Rng::of(&[name]);
        let operator = role == Role::Operator;
        // A part-time worker in three; early, middle, late.
        let part = operator && rng.chance(330);
        let from_h = [8, 9, 12][rng.below(3) as usize];
        let (from_s, length_s) = if part {
            (rng.between(9, 17) * 3600, rng.between(4, 6) * 3600)
        } else {
            (from_h * 3600 + rng.below(2) * 1800, 8 * 3600 + 1800)
        };
        // Operators stay three years in the mean, others eight.
        let years = if operator { 3 } else { 8 };
        let home = u64::from(seat) * u64::from(clients) / 64 + rng.below(u64::from(clients));
        let client = |n: u64| (n % u64::from(clients)) as u16;
        Self {
            actor,
            joined: day,
            leaves: day + 60 + rng.wait(years * 365) as i64,
            clients: [
                client(home),
                client(home + rng.between(1, 3)),
                client(home + rng.between(1, 9)),
            ],
            talk_permille: rng.gamma(12, 1000).clamp(450, 2000),
            idle_s: rng.gamma(4, 240).clamp(60, 900),
            no_call_permille: rng.gamma(4, 30).clamp(10, 60) as u32,
            miss_permille: rng.gamma(12, 80).clamp(30, 160) as u32,
            weekdays: weekdays(&mut rng, operator, part),
            from_s,
            length_s,
            terminal: TerminalId(u64::from(seat) + 1),
            ring: [(u16::MAX, 0); RING],
            ring_at: 0,
            name,
        }
    }

    /// Whether a day finds the person at work.
    pub(crate) fn works(&self, today: &Today) -> bool {
        let mut rng = Rng::of(&[self.name, 5, u64::from(today.index)]);
        let usually = (self.weekdays >> today.weekday) & 1 == 1;
        let comes = match today.kind {
            Kind::NewYear => usually && rng.chance(300),
            Kind::Holiday | Kind::Obon => usually && rng.chance(650),
            // Somebody stands in for another one.
            _ => usually || rng.chance(30),
        };
        // Ill for a day.
        comes && !rng.chance(15) && !self.on_leave(i64::from(today.index))
    }

    /// The leave that covers a day: its first and its last.
    pub(crate) fn leave(&self, day: i64) -> Option<(i64, i64)> {
        let block = (day.max(0) as u64) / LEAVE_EVERY;
        let mut rng = Rng::of(&[self.name, 6, block]);
        let from = block * LEAVE_EVERY + rng.below(LEAVE_EVERY - 6);
        let until = from + rng.below(5);
        let taken = rng.chance(650);
        let day = day.max(0) as u64;
        (taken && (from..=until).contains(&day)).then_some((from as i64, until as i64))
    }

    fn on_leave(&self, day: i64) -> bool {
        self.leave(day).is_some()
    }

    /// Mean seconds of a call that takes `talk_s` in general, on a day.
    pub(crate) fn talk_s(&self, talk_s: u64, today: &Today) -> u64 {
        let here = (i64::from(today.index) - self.joined).max(0) as u64;
        let learning = 1000 + 500 * LEARNING_DAYS.saturating_sub(here) / LEARNING_DAYS;
        let years_permille = u64::from(today.index) * 1000 / 365;
        let drift = (1000 - (years_permille * FASTER_A_YEAR / 1000).min(300)).max(1);
        talk_s * self.talk_permille / 1000 * learning / 1000 * drift / 1000
    }

    /// Whose call is answered next: its client's place.
    pub(crate) fn serves(&self, rng: &mut Rng) -> u16 {
        let mut left = rng.below(1000);
        for (client, share) in self.clients.iter().zip(SHARES) {
            if left < share {
                return *client;
            }
            left -= share;
        }
        self.clients[0]
    }

    /// Keeps a subject in mind.
    pub(crate) fn remember(&mut self, client: u16, subject: u32) {
        self.ring[self.ring_at % RING] = (client, subject);
        self.ring_at += 1;
    }

    /// One of those looked up lately.
    pub(crate) fn recall(&self, rng: &mut Rng) -> Option<(u16, u32)> {
        let known = self.ring_at.min(RING) as u64;
        (known > 0).then(|| self.ring[rng.below(known) as usize])
    }
}

fn weekdays(rng: &mut Rng, operator: bool, part: bool) -> u8 {
    if !operator || rng.chance(550) {
        return if part { 0b010_1010 } else { 0b011_1110 };
    }
    // Weekends too: two other days are free.
    let free = rng.below(7);
    let mut days: u8 = 0b111_1111;
    days &= !(1 << free);
    days &= !(1 << ((free + rng.between(1, 3)) % 7));
    if part {
        days &= !(1 << ((free + rng.between(4, 6)) % 7));
    }
    days
}

/// Which subjects a person has been shown: one bit each, by client.
#[derive(Default, Debug)]
pub(crate) struct Seen(Vec<(u16, Vec<u64>)>);

impl Seen {
    /// Whether this is the first time.
    pub(crate) fn first(&mut self, client: u16, population: u32, subject: u32) -> bool {
        let place = match self.0.iter().position(|(it, _)| *it == client) {
            Some(place) => place,
            None => {
                self.0.push((client, vec![0; population as usize / 64 + 1]));
                self.0.len() - 1
            }
        };
        let word = &mut self.0[place].1[subject as usize / 64];
        let bit = 1 << (subject % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

#[cfg(test)]
mod tests {
    use event::Role;

    use super::{Seat, Seen, roles};
    use crate::calendar::Today;

    #[test]
    fn most_are_operators_and_each_role_is_held() {
        for actors in [10, 200, 1000] {
            let roles = roles(actors);
            assert_eq!(roles.len(), actors as usize);
            let of = |role| roles.iter().filter(|it| **it == role).count();
            assert!(of(Role::Operator) * 10 >= actors as usize * 6);
            for role in [
                Role::Supervisor,
                Role::Importer,
                Role::Maintainer,
                Role::Administrator,
            ] {
                assert!(of(role) >= 1);
            }
        }
    }

    #[test]
    fn people_work_some_220_days_a_year() {
        let mut days = 0;
        for number in 0..200 {
            let seat = Seat::new(9, number, Role::Operator, 12);
            days += (0..365)
                .filter(|day| seat.person.works(&Today::new(15_887, *day)))
                .count();
        }
        assert!((180..250).contains(&(days / 200)), "{}", days / 200);
    }

    #[test]
    fn a_subject_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.first(3, 100, 99));
        assert!(!seen.first(3, 100, 99));
        assert!(seen.first(4, 100, 99));
    }
}
