//! A day at work: operators answer calls and look up who calls; supervisors listen in.

use event::{Role, SessionId};
use watch::{Call, TerminalId, What};

use crate::Life;
use crate::buffer::{Buffer, Desk, Stolen, Way};
use crate::calendar::Today;
use crate::clients::Client;
use crate::people::{Person, Seat};
use crate::random::Rng;
use crate::theft::{Family, Loot, SWAPPED_PERMILLE};

/// Calls by hour of the day, of a thousand.
const HOURS: [u64; 24] = [
    300, 300, 300, 300, 300, 300, 400, 500, 700, 1050, 1200, 1150, 950, 1050, 1000, 950, 900, 950,
    950, 850, 700, 500, 400, 300,
];
/// Of 1,000 calls: without a lookup; back to somebody looked up lately; about a second person, and of
/// these a third; looked at again before the end.
const INQUIRY_PERMILLE: u32 = 60;
const BACK_PERMILLE: u32 = 50;
const SECOND_PERMILLE: u32 = 120;
const THIRD_PERMILLE: u32 = 250;
const AGAIN_PERMILLE: u32 = 80;
/// After a search that finds nobody, so many of 1,000 are given up.
const GIVEN_UP_PERMILLE: u32 = 100;
/// Of 1,000 calls the telephone system knows about whom.
const KNOWN_PERMILLE: u32 = 650;
/// Of 1,000 looks of a supervisor, so many are calls of his own; at the others he listens in.
const ESCALATED_PERMILLE: u32 = 400;
/// Seconds between two looks of a supervisor.
const SUPERVISOR_EVERY_S: u64 = 1500;
/// Of 1,000 days at another desk; or with a new login after lunch; or that end early.
const OTHER_DESK_PERMILLE: u32 = 50;
const SECOND_LOGIN_PERMILLE: u32 = 300;
const EARLY_PERMILLE: u32 = 20;
/// Desks for whoever comes.
const OTHER_DESKS: u64 = 1_000_000;

/// What a day needs.
pub(crate) struct Scene<'a> {
    pub(crate) life: &'a Life,
    pub(crate) clients: &'a [Client],
    /// Of each client, the load of the day.
    pub(crate) loads: &'a [u64],
    pub(crate) today: Today,
    pub(crate) out: &'a mut Buffer,
}

/// A day that somebody was at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift {
    pub(crate) desk: Desk,
    pub(crate) from_ms: u64,
    pub(crate) until_ms: u64,
    /// Subjects shown in own work.
    pub(crate) looked: u32,
    /// The session before lunch, if it was another one, and when lunch began.
    morning: Option<(SessionId, u64)>,
}

impl Shift {
    /// The desk with the session of a time.
    pub(crate) fn desk_at(&self, at_ms: u64) -> Desk {
        match self.morning {
            Some((session, until_ms)) if at_ms < until_ms => Desk {
                session,
                ..self.desk
            },
            _ => self.desk,
        }
    }
}

impl Scene<'_> {
    /// A session's number: named by day, seat, and which of the day's.
    pub(crate) fn session(&self, seat: u32, nth: u64) -> SessionId {
        SessionId((u64::from(self.today.index) << 32) + (u64::from(seat) << 4) + nth + 1)
    }

    pub(crate) fn open(&mut self, at_ms: u64, desk: &Desk, terminal: TerminalId) {
        self.out.push(
            at_ms,
            What::SessionOpened {
                actor: desk.actor,
                role: desk.role,
                session: desk.session,
                terminal,
            },
        );
    }

    pub(crate) fn close(&mut self, at_ms: u64, desk: &Desk) {
        let session = desk.session;
        self.out.push(at_ms, What::SessionClosed { session });
    }

    /// The day of whoever sits here; `None`: not at work.
    pub(crate) fn shift(&mut self, seat: &mut Seat, loot: Option<&mut Loot>) -> Option<Shift> {
        if !seat.person.works(&self.today) {
            return None;
        }
        let (seed, day) = (self.life.seed, u64::from(self.today.index));
        let mut rng = Rng::of(&[seed, 7, u64::from(seat.number), day]);
        let person = &mut seat.person;
        let from_s = (person.from_s + rng.below(900)).saturating_sub(600);
        let early = if rng.chance(EARLY_PERMILLE) { 2 } else { 1 };
        let until_s = person.from_s + person.length_s / early + rng.wait(300).min(3600);
        let terminal = if rng.chance(OTHER_DESK_PERMILLE) {
            TerminalId(OTHER_DESKS + rng.below(u64::from(self.life.actors) / 4 + 1))
        } else {
            person.terminal
        };
        let mut desk = Desk::new(seat.number, seat.role, person, self.session(seat.number, 0));
        let (from_ms, until_ms) = (self.today.at(from_s), self.today.at(until_s) + 999);
        let lunch = (from_s + until_s) / 2 / 1800 * 1800;
        let hours = Hours {
            from_s,
            lunch: if until_s - from_s > 6 * 3600 {
                lunch..lunch + 3600
            } else {
                0..0
            },
            until_s,
        };
        self.open(from_ms, &desk, terminal);
        let mut morning = None;
        if hours.lunch.end > 0 && rng.chance(SECOND_LOGIN_PERMILLE) {
            let lunch_ms = self.today.at(hours.lunch.end);
            self.close(lunch_ms - 1, &desk);
            morning = Some((desk.session, lunch_ms));
            desk.session = self.session(seat.number, 1);
            self.open(lunch_ms, &desk, terminal);
        }
        let first = self.out.items.len();
        match seat.role {
            Role::Operator => self.answer(person, &desk, &hours, loot, &mut rng),
            Role::Supervisor => self.supervise(person, &desk, &hours, &mut rng),
            _ => {}
        }
        let mut shift = Shift {
            desk,
            from_ms,
            until_ms,
            looked: 0,
            morning,
        };
        for item in &mut self.out.items[first..] {
            if item.stolen == Stolen::No {
                shift.looked += item.subjects.1;
            }
            if let What::Exposure(exposure) = &mut item.what {
                exposure.session = Some(shift.desk_at(item.at_ms).session);
            }
        }
        self.close(until_ms, &desk);
        Some(shift)
    }

    /// Calls, one after the other.
    fn answer(
        &mut self,
        person: &mut Person,
        desk: &Desk,
        hours: &Hours,
        mut loot: Option<&mut Loot>,
        rng: &mut Rng,
    ) {
        // Some days are better than others.
        let idle_s = person.idle_s * rng.gamma(20, 1000) / 1000;
        let day = self.today.index;
        let mut loot = loot.take_if(|it| it.begun(day));
        let family = loot.as_ref().map(|it| it.thief.family);
        let careful = matches!(family, Some(Family::Insider(_)));
        let mut at_s = hours.from_s + 60;
        loop {
            let place = person.serves(rng);
            let load = self.loads[place as usize] * HOURS[(at_s / 3600 % 24) as usize] / 1000;
            at_s = hours.after_lunch(at_s + rng.wait(idle_s * 1000 / load.max(50)));
            let client = &self.clients[place as usize];
            let talk_s = 30 + rng.gamma(3, person.talk_s(client.talk_s, &self.today));
            if at_s + talk_s > hours.until_s {
                return;
            }
            if family == Some(Family::NoCalls) && rng.chance(SWAPPED_PERMILLE) {
                if let Some(loot) = loot.as_deref_mut() {
                    self.take_one(self.today.at(at_s), desk, loot, rng);
                }
            } else {
                self.call(person, desk, place, (at_s, talk_s), rng);
            }
            at_s += talk_s + 20 + rng.wait(45);
            if rng.chance(person.no_call_permille) && !careful {
                self.without_call(person, desk, place, self.today.at(at_s - 10), rng);
            }
        }
    }

    /// A call and its lookups.
    fn call(
        &mut self,
        person: &mut Person,
        desk: &Desk,
        place: u16,
        (from_s, talk_s): (u64, u64),
        rng: &mut Rng,
    ) {
        let back = rng.chance(BACK_PERMILLE);
        let (place, subject) = match person.recall(rng).filter(|_| back) {
            Some(known) => known,
            None => (place, self.clients[place as usize].caller(rng)),
        };
        let end_ms = self.today.at(from_s + talk_s) + rng.below(1000);
        let from_ms = self.today.at(from_s) + rng.below(1000);
        if !rng.chance(INQUIRY_PERMILLE) {
            let mut at_ms = from_ms + rng.between(10_000, 30_000);
            let mut others = u32::from(rng.chance(SECOND_PERMILLE));
            others += u32::from(others > 0 && rng.chance(THIRD_PERMILLE));
            self.search(person, desk, (place, subject), at_ms, rng);
            for _ in 0..others {
                at_ms = (at_ms + rng.between(15_000, 60_000)).min(end_ms);
                let other = self.clients[place as usize].caller(rng);
                self.search(person, desk, (place, other), at_ms, rng);
            }
            if rng.chance(AGAIN_PERMILLE) {
                let later_ms = at_ms.max(from_ms + talk_s * 750).min(end_ms);
                self.search(person, desk, (place, subject), later_ms, rng);
            }
        }
        if self.life.calls {
            self.out.push(
                end_ms,
                What::Call(Call {
                    actor: desk.actor,
                    client: self.clients[place as usize].id,
                    subject: rng
                        .chance(KNOWN_PERMILLE)
                        .then(|| self.clients[place as usize].key(subject)),
                    from_ms,
                    until_ms: end_ms,
                }),
            );
        }
    }

    /// One search, sometimes after one that finds nobody.
    fn search(
        &mut self,
        person: &mut Person,
        desk: &Desk,
        (place, subject): (u16, u32),
        at_ms: u64,
        rng: &mut Rng,
    ) {
        let client = (place, self.clients[place as usize].id);
        if rng.chance(person.miss_permille) {
            self.out
                .look(at_ms, desk, client, (Way::Search, 1), &[], rng);
            if rng.chance(GIVEN_UP_PERMILLE) {
                return;
            }
        }
        let later_ms = at_ms + rng.between(1000, 9000);
        self.out
            .look(later_ms, desk, client, (Way::Search, 1), &[subject], rng);
        person.remember(place, subject);
    }

    /// A lookup that no call explains: a matter of before, or the wrong person.
    fn without_call(
        &mut self,
        person: &mut Person,
        desk: &Desk,
        place: u16,
        at_ms: u64,
        rng: &mut Rng,
    ) {
        let before = rng.chance(500);
        let (place, subject) = match person.recall(rng).filter(|_| before) {
            Some(known) => known,
            None => (place, self.clients[place as usize].caller(rng)),
        };
        let client = (place, self.clients[place as usize].id);
        self.out
            .look(at_ms, desk, client, (Way::Search, 1), &[subject], rng);
    }

    /// A supervisor takes over calls, and listens in to others'.
    fn supervise(&mut self, person: &mut Person, desk: &Desk, hours: &Hours, rng: &mut Rng) {
        let others = self.out.items.len() as u64;
        let every_s = SUPERVISOR_EVERY_S * person.idle_s / 240;
        let mut at_s = hours.from_s;
        loop {
            at_s = hours.after_lunch(at_s + 60 + rng.wait(every_s));
            let talk_s = 60 + rng.wait(300);
            if at_s + talk_s > hours.until_s {
                return;
            }
            if rng.chance(ESCALATED_PERMILLE) {
                let place = person.serves(rng);
                self.call(person, desk, place, (at_s, talk_s), rng);
                at_s += talk_s;
            } else if let Some((place, subject, at_ms)) = self.overheard(others, hours, rng) {
                let client = (place, self.clients[place as usize].id);
                self.out
                    .look(at_ms, desk, client, (Way::Search, 1), &[subject], rng);
            }
        }
    }

    /// About whom an operator talks while the supervisor is here.
    fn overheard(&self, others: u64, hours: &Hours, rng: &mut Rng) -> Option<(u16, u32, u64)> {
        (0..8).find_map(|_| {
            let item = self.out.items.get(rng.below(others) as usize)?;
            let here = self.today.at(hours.from_s + 60)..self.today.at(hours.until_s - 60);
            let single = item.subjects.1 == 1 && item.stolen == Stolen::No;
            (single && here.contains(&item.at_ms)).then(|| {
                let subject = self.out.subjects[item.subjects.0 as usize];
                (item.client, subject, item.at_ms + rng.between(5000, 40_000))
            })
        })
    }

    /// A thief looks up one person.
    pub(crate) fn take_one(&mut self, at_ms: u64, desk: &Desk, loot: &mut Loot, rng: &mut Rng) {
        self.take(
            at_ms,
            &desk.stealing(Stolen::Yes),
            loot,
            (Way::Search, 1),
            rng,
        );
    }

    /// A thief is shown at most `most` people by one statement; gives how many.
    pub(crate) fn take(
        &mut self,
        at_ms: u64,
        desk: &Desk,
        loot: &mut Loot,
        (way, most): (Way, u32),
        rng: &mut Rng,
    ) -> u32 {
        let mut subjects = Vec::with_capacity(most as usize);
        let place = loot.take(self.clients, most, &mut subjects);
        let client = (place, self.clients[place as usize].id);
        let probes = if way == Way::List { 0 } else { most };
        self.out
            .look(at_ms, desk, client, (way, probes), &subjects, rng);
        subjects.len() as u32
    }
}

/// Seconds after midnight.
struct Hours {
    from_s: u64,
    lunch: std::ops::Range<u64>,
    until_s: u64,
}

impl Hours {
    fn after_lunch(&self, at_s: u64) -> u64 {
        if self.lunch.contains(&at_s) {
            self.lunch.end
        } else {
            at_s
        }
    }
}
