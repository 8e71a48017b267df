//! The simulation: day after day, records in the order of time.

use event::{ActorId, ClientId};
use watch::{Part, Record, What};

use crate::buffer::{Buffer, Item, Stolen};
use crate::calendar::{DAY_MS, Today};
use crate::clients::Client;
use crate::people::{Seat, roles};
use crate::theft::{Loot, Thief};
use crate::work::Scene;

/// A client for so many actors, but at least so many clients.
const ACTORS_A_CLIENT: u32 = 15;
const CLIENTS_MIN: u32 = 4;
/// The gate says so often that it lives.
const ALIVE_EVERY_S: u64 = 600;

/// What a life is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// Everything follows from it.
    pub seed: u64,
    /// Seats, 10 to 100,000; people come and go.
    pub actors: u32,
    /// How long.
    pub days: u32,
    /// The first day, since 1970-01-01.
    pub first_day: i64,
    /// Whether the telephone system's records come in.
    pub calls: bool,
    /// Whether fictitious subjects are planted.
    pub canaries: bool,
    /// Whether records say how many subjects were never shown to the actor before. The ledger's do;
    /// imported ones do not.
    pub exact_new: bool,
}

impl Default for Life {
    /// 200 people from 2013-07-01 for two years, with calls and canaries, as the ledger records it.
    fn default() -> Self {
        Self {
            seed: 1,
            actors: 200,
            days: 730,
            first_day: 15_887,
            calls: true,
            canaries: true,
            exact_new: true,
        }
    }
}

/// Subjects that a thief took.
#[derive(Clone, Copy, Debug)]
pub struct Loss<'a> {
    /// When, ms since the Unix epoch.
    pub at_ms: u64,
    /// Whose account.
    pub actor: ActorId,
    /// Which gang.
    pub gang: u32,
    /// Of which client.
    pub client: ClientId,
    /// Who; none of them twice from the same thief.
    pub keys: &'a [u64],
}

/// Takes what happens.
pub trait Sink {
    /// A record, in the order of time.
    fn record(&mut self, record: &Record<'_>);

    /// The truth about what the next record shows, or about what has no record.
    fn lost(&mut self, loss: &Loss<'_>) {
        let _ = loss;
    }
}

/// A life as it goes by.
#[derive(Debug)]
pub struct Simulation {
    life: Life,
    clients: Vec<Client>,
    seats: Vec<Seat>,
    loots: Vec<Loot>,
    /// Of each seat, the place in `loots`.
    thieves: Vec<Option<usize>>,
    day: u32,
    sequence: u64,
    next_actor: u32,
    buffer: Buffer,
    /// What of the day before happens after midnight.
    rest: Buffer,
    /// (time, place in the buffer): what is sorted.
    order: Vec<(u64, u32)>,
    keys: Vec<u64>,
    rows: u64,
    beside: u64,
}

impl Simulation {
    /// Before the first day. Thieves at seats that there are not are left out.
    pub fn new(life: Life, thieves: &[Thief]) -> Self {
        let count = (life.actors / ACTORS_A_CLIENT).max(CLIENTS_MIN);
        let clients: Vec<Client> = (0..count)
            .map(|place| Client::new(life.seed, place, life.canaries))
            .collect();
        let mut seats: Vec<Seat> = (0..)
            .zip(roles(life.actors))
            .map(|(number, role)| Seat::new(life.seed, number, role, count))
            .collect();
        let mut thief_at = vec![None; seats.len()];
        let mut loots: Vec<Loot> = Vec::new();
        for thief in thieves {
            let Some(seat) = seats.get_mut(thief.seat as usize) else {
                continue;
            };
            seat.stays = true;
            let gang = |it: &&Loot| it.thief.gang == thief.gang;
            let leader = loots.iter().find(gang).map(|it| it.thief.seat);
            let leader = leader.unwrap_or(thief.seat) as usize;
            let home = seats[leader].person.clients[0];
            thief_at[thief.seat as usize] = Some(loots.len());
            loots.push(Loot::new(life.seed, *thief, home, clients.len()));
        }
        Self {
            next_actor: seats.len() as u32 + 1,
            life,
            clients,
            seats,
            loots,
            thieves: thief_at,
            day: 0,
            sequence: 0,
            buffer: Buffer::default(),
            rest: Buffer::default(),
            order: Vec::new(),
            keys: Vec::new(),
            rows: 0,
            beside: 0,
        }
    }

    /// All days.
    pub fn run(&mut self, sink: &mut impl Sink) {
        while self.day(sink) {}
    }

    /// One more day; `false` after the last.
    pub fn day(&mut self, sink: &mut impl Sink) -> bool {
        if self.day >= self.life.days {
            return false;
        }
        let today = Today::new(self.life.first_day, self.day);
        std::mem::swap(&mut self.buffer, &mut self.rest);
        self.people(&today);
        self.work(&today);
        self.emit(today.from_ms + DAY_MS, sink);
        self.day += 1;
        true
    }

    /// Who is known, comes, goes, and is on leave.
    fn people(&mut self, today: &Today) {
        let (out, day) = (&mut self.buffer, i64::from(today.index));
        let clients = self.clients.len() as u32;
        if day == 0 {
            for client in &self.clients {
                for subject in client.canaries() {
                    let subject = client.key(subject);
                    let client = client.id;
                    out.push(today.from_ms, What::Canary { client, subject });
                }
            }
        }
        for seat in &mut self.seats {
            let mut known = |actor, role, active| {
                let what = What::Actor {
                    actor,
                    role,
                    active,
                };
                out.push(today.from_ms, what);
            };
            if day == 0 {
                known(seat.person.actor, seat.role, true);
            } else if seat.person.leaves < day && !seat.stays {
                known(seat.person.actor, seat.role, false);
                seat.replace(self.life.seed, ActorId(self.next_actor), clients, day);
                self.next_actor += 1;
                known(seat.person.actor, seat.role, true);
            }
            let leave = seat.person.leave(day);
            if let Some((_, until)) = leave.filter(|(from, _)| *from == day) {
                let away = What::Away {
                    actor: seat.person.actor,
                    from_ms: today.from_ms,
                    until_ms: today.from_ms + (until - day + 1) as u64 * DAY_MS,
                };
                out.push(today.from_ms, away);
            }
        }
    }

    fn work(&mut self, today: &Today) {
        let loads: Vec<u64> = self.clients.iter().map(|it| it.load(today)).collect();
        let mut scene = Scene {
            life: &self.life,
            clients: &self.clients,
            loads: &loads,
            today: *today,
            out: &mut self.buffer,
        };
        let mut shifts = vec![None; self.loots.len()];
        for (seat, thief) in self.seats.iter_mut().zip(&self.thieves) {
            let loot = thief.and_then(|place| self.loots.get_mut(place));
            let shift = scene.shift(seat, loot);
            if let Some(place) = thief {
                shifts[*place] = shift;
            }
        }
        scene.jobs(&self.seats);
        scene.alive();
        for (loot, shift) in self.loots.iter_mut().zip(&shifts) {
            let seat = &self.seats[loot.thief.seat as usize];
            scene.steal(seat, loot, shift.as_ref());
        }
    }

    /// Sorts what happens before `until_ms` and hands it out; keeps the rest.
    fn emit(&mut self, until_ms: u64, sink: &mut impl Sink) {
        let counted = What::Returned {
            rows: 0,
            accounted: 0,
        };
        self.buffer.push(until_ms - 1, counted);
        let buffer = std::mem::take(&mut self.buffer);
        self.order.clear();
        for (place, item) in (0..).zip(&buffer.items) {
            if item.at_ms < until_ms {
                self.order.push((item.at_ms, place));
            } else {
                self.rest.keep(item, &buffer.subjects);
            }
        }
        self.order.sort_unstable();
        let order = std::mem::take(&mut self.order);
        for (_, place) in &order {
            self.hand_out(&buffer.items[*place as usize], &buffer.subjects, sink);
        }
        self.order = order;
        self.buffer = buffer;
        self.buffer.items.clear();
        self.buffer.subjects.clear();
    }

    fn hand_out(&mut self, item: &Item, subjects: &[u32], sink: &mut impl Sink) {
        let mut what = item.what;
        self.keys.clear();
        if let What::Exposure(exposure) = &mut what {
            let client = &self.clients[item.client as usize];
            let (from, count) = (item.subjects.0 as usize, item.subjects.1 as usize);
            let seen = &mut self.seats[item.seat as usize].seen;
            let mut new = 0;
            for subject in &subjects[from..from + count] {
                self.keys.push(client.key(*subject));
                if self.life.exact_new {
                    new += u32::from(seen.first(item.client, client.population, *subject));
                }
            }
            exposure.new = self.life.exact_new.then_some(new);
            if item.stolen == Stolen::Unrecorded {
                self.beside += u64::from(exposure.rows);
            } else {
                self.rows += u64::from(exposure.rows);
            }
            if item.stolen != Stolen::No && count > 0 {
                let place = self.thieves[item.seat as usize];
                let gang = place.and_then(|place| self.loots.get(place));
                sink.lost(&Loss {
                    at_ms: item.at_ms,
                    actor: exposure.actor,
                    gang: gang.map_or(0, |it| it.thief.gang),
                    client: exposure.client,
                    keys: &self.keys,
                });
            }
        }
        if let What::Returned { rows, accounted } = &mut what {
            *accounted = std::mem::take(&mut self.rows);
            *rows = *accounted + std::mem::take(&mut self.beside);
        }
        if item.stolen == Stolen::Unrecorded {
            return;
        }
        self.sequence += 1;
        if item.stolen == Stolen::Erased {
            return;
        }
        let keys = &self.keys;
        let what = match what {
            What::Exposure(exposure) => What::Exposure(watch::Exposure { keys, ..exposure }),
            other => other,
        };
        sink.record(&Record {
            sequence: self.sequence,
            at_ms: item.at_ms,
            what,
        });
    }
}

impl Scene<'_> {
    /// What says that it lives.
    fn alive(&mut self) {
        for n in 0..DAY_MS / 1000 / ALIVE_EVERY_S {
            let what = What::Alive { part: Part::Gate };
            self.out.push(self.today.at(n * ALIVE_EVERY_S), what);
        }
        if self.life.calls {
            for client in self.clients {
                let part = Part::Calls(client.id);
                self.out
                    .push(self.today.at(22 * 3600), What::Alive { part });
            }
        }
    }
}

impl Buffer {
    /// Takes over an item of another buffer.
    fn keep(&mut self, item: &Item, subjects: &[u32]) {
        let (from, count) = (item.subjects.0 as usize, item.subjects.1 as usize);
        let kept = self.subjects.len() as u32;
        self.subjects
            .extend_from_slice(&subjects[from..from + count]);
        self.items.push(Item {
            subjects: (kept, item.subjects.1),
            ..*item
        });
    }
}
