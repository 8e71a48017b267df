//! Work in bulk that is allowed: deliveries and mailings, imports, maintenance windows. Each has a
//! grant, and most of it what a detector without grants would call a theft.

use event::{GrantId, Role};
use watch::{TerminalEvent, What};

use crate::buffer::{Desk, Way};
use crate::people::Seat;
use crate::random::Rng;
use crate::work::Scene;

/// Of 1,000 clients and months: a delivery or mailing; an import.
const DELIVERY_PERMILLE: u32 = 600;
const IMPORT_PERMILLE: u32 = 400;
/// Of 1,000 deliveries a supervisor makes so many.
const BY_SUPERVISOR_PERMILLE: u32 = 250;
/// Subjects of one batch of a statement.
pub(crate) const BATCH: u32 = 500;
/// What a delivery holds at most.
const DELIVERY_MAX: u64 = 20_000;
/// What a maintenance window's grant allows.
const MAINTENANCE_GRANTED: u64 = 500;
/// Grants of one day have numbers with this distance to those of the next.
const GRANTS_A_DAY: u32 = 4096;

/// What is granted.
struct Wanted {
    place: u16,
    amount: u64,
    /// Seconds after midnight.
    from_s: u64,
    until_s: u64,
}

impl Scene<'_> {
    /// All of the day.
    pub(crate) fn jobs(&mut self, seats: &[Seat]) {
        for place in 0..self.clients.len() as u16 {
            for (kind, permille) in [(0, DELIVERY_PERMILLE), (1, IMPORT_PERMILLE)] {
                let name = [
                    self.life.seed,
                    10,
                    u64::from(place),
                    self.today.months(),
                    kind,
                ];
                let mut rng = Rng::of(&name);
                let day = rng.between(3, 26) as u32;
                if rng.chance(permille) && day == self.today.day {
                    self.job(seats, place, kind == 1, &mut rng);
                }
            }
        }
        for seat in seats.iter().filter(|it| it.role == Role::Maintainer) {
            let name = [
                self.life.seed,
                11,
                u64::from(seat.number),
                self.today.months(),
            ];
            let mut rng = Rng::of(&name);
            if rng.between(1, 28) as u32 == self.today.day && self.free(seat) {
                self.maintain(seat, &mut rng);
            }
        }
    }

    fn free(&self, seat: &Seat) -> bool {
        seat.person.leave(i64::from(self.today.index)).is_none()
    }

    /// A delivery, or an import, by somebody who is here.
    fn job(&mut self, seats: &[Seat], place: u16, import: bool, rng: &mut Rng) {
        let role = if !import && rng.chance(BY_SUPERVISOR_PERMILLE) {
            Role::Supervisor
        } else {
            Role::Importer
        };
        let able: Vec<&Seat> = seats
            .iter()
            .filter(|it| it.role == role && self.free(it))
            .collect();
        let Some(seat) = able.get(rng.below(able.len() as u64) as usize) else {
            return;
        };
        let population = u64::from(self.clients[place as usize].population);
        let from_s = rng.between(10 * 3600, 15 * 3600);
        let most = rng.between(population / 200, population / 20);
        let wanted = Wanted {
            place,
            amount: most.clamp(200, DELIVERY_MAX),
            from_s,
            until_s: from_s + 6 * 3600,
        };
        let nth = 4 + u64::from(place) % 6 * 2 + u64::from(import);
        let desk = self.granted(seat, u32::from(place) * 2 + u32::from(import), nth, &wanted);
        if import {
            self.import(&desk, &wanted, rng);
        } else {
            self.deliver(seat, &desk, &wanted, rng);
        }
    }

    /// The grant of an hour before, and the session.
    fn granted(&mut self, seat: &Seat, number: u32, nth: u64, wanted: &Wanted) -> Desk {
        let session = self.session(seat.number, nth);
        let grant = GrantId(1 + self.today.index * GRANTS_A_DAY + number);
        self.out.push(
            self.today.at(wanted.from_s - 1200),
            What::Granted {
                grant,
                actor: seat.person.actor,
                client: self.clients[wanted.place as usize].id,
                amount: wanted.amount,
                until_ms: self.today.at(wanted.until_s),
            },
        );
        let desk = Desk::new(seat.number, seat.role, &seat.person, session).under(grant);
        self.open(
            self.today.at(wanted.from_s - 60),
            &desk,
            seat.person.terminal,
        );
        desk
    }

    /// A list of customers, fictitious ones among them, written to a file; half are sent.
    fn deliver(&mut self, seat: &Seat, desk: &Desk, wanted: &Wanted, rng: &mut Rng) {
        let client = &self.clients[wanted.place as usize];
        let (id, population) = (client.id, u64::from(client.population));
        let total = wanted.amount * rng.between(600, 1000) / 1000;
        let first = rng.below(population);
        // Every few of the customers: those who fit.
        let apart = rng.between(1, (population / total.max(1)).max(1));
        let mut at_ms = self.today.at(wanted.from_s);
        let mut left = total as u32;
        let mut n = 0;
        while left > 0 {
            let batch = left.min(BATCH);
            let subjects: Vec<u32> = (n..n + u64::from(batch))
                .map(|n| ((first + n * apart) % population) as u32)
                .collect();
            self.out.look(
                at_ms,
                desk,
                (wanted.place, id),
                (Way::List, 0),
                &subjects,
                rng,
            );
            n += u64::from(batch);
            left -= batch;
            at_ms += rng.between(500, 4000);
        }
        let mut event = |after_ms, event| {
            self.out.push(
                at_ms + after_ms,
                What::Terminal {
                    terminal: seat.person.terminal,
                    actor: Some(desk.actor),
                    event,
                    bytes: total * 180,
                },
            );
        };
        event(60_000, TerminalEvent::FileWritten);
        if rng.chance(500) {
            event(600_000, TerminalEvent::Sent);
        }
        self.close(at_ms + 900_000, desk);
    }

    /// New customers: their numbers are probed, most find nobody, and the file is sorted.
    fn import(&mut self, desk: &Desk, wanted: &Wanted, rng: &mut Rng) {
        let id = self.clients[wanted.place as usize].id;
        let mut at_ms = self.today.at(wanted.from_s);
        let mut left = (wanted.amount * rng.between(600, 1000) / 1000) as u32;
        while left > 0 {
            let batch = left.min(BATCH);
            let client = (wanted.place, id);
            self.out
                .look(at_ms, desk, client, (Way::Sequence, batch), &[], rng);
            left -= batch;
            at_ms += rng.between(1000, 5000);
        }
        self.close(at_ms + 60_000, desk);
    }

    /// A window in the night: some rows are looked at to see that a change worked.
    fn maintain(&mut self, seat: &Seat, rng: &mut Rng) {
        let place = rng.below(self.clients.len() as u64) as u16;
        let wanted = Wanted {
            place,
            amount: MAINTENANCE_GRANTED,
            from_s: 1800 + rng.below(3600),
            until_s: 5 * 3600,
        };
        let number = GRANTS_A_DAY / 2 + seat.number % (GRANTS_A_DAY / 2);
        let desk = self.granted(seat, number, 3, &wanted);
        let client = (place, self.clients[place as usize].id);
        let mut at_s = wanted.from_s;
        for _ in 0..rng.between(2, 8) {
            at_s += 60 + rng.wait(900);
            let shown = rng.between(1, 50);
            let subjects: Vec<u32> = (0..shown)
                .map(|_| self.clients[place as usize].caller(rng))
                .collect();
            if at_s < wanted.until_s {
                let at_ms = self.today.at(at_s);
                self.out
                    .look(at_ms, &desk, client, (Way::List, 0), &subjects, rng);
            }
        }
        self.close(self.today.at(at_s.min(wanted.until_s) + 600), &desk);
    }

    /// A grant of a maintenance window for a thief.
    pub(crate) fn window(&mut self, seat: &Seat, place: u16, from_s: u64, amount: u64) -> Desk {
        let wanted = Wanted {
            place,
            amount,
            from_s,
            until_s: from_s + 4 * 3600,
        };
        let number = GRANTS_A_DAY - 1 - seat.number % 64;
        self.granted(seat, number, 14, &wanted)
    }
}
