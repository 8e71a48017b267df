//! A day of theft, laid over a day of life.

use watch::{Part, TerminalEvent, TerminalId, What};

use crate::buffer::{Desk, Stolen, Way};
use crate::jobs::BATCH;
use crate::people::Seat;
use crate::random::Rng;
use crate::theft::{
    CASE_A_NIGHT, Family, GAP_A_NIGHT, GUESSED_OF_TEN, GUESSES_A_DAY, Loot, SECOND_A_DAY,
    WINDOW_GRANTED, WINDOW_TAKEN,
};
use crate::work::{Scene, Shift};

/// The terminal that everybody who maintains uses.
const MAINTENANCE_TERMINAL: TerminalId = TerminalId(800_000);
/// Terminals of the second person on an account, by seat.
const SECOND_TERMINALS: u64 = 900_000;
/// From so many a day on, a list on the screen shows more than one.
const LISTS_FROM: u32 = 1000;
const LIST_ROWS: u32 = 50;
const GUESSES_A_STATEMENT: u32 = 10;
/// A night's theft begins at this second after midnight.
const NIGHT_S: u64 = 2 * 3600;
/// Seconds that a night without a log has.
pub(crate) const GAP_S: u64 = 3 * 3600;

impl Scene<'_> {
    /// What a thief does on a day; `shift`: the day's own work, if any.
    pub(crate) fn steal(&mut self, seat: &Seat, loot: &mut Loot, shift: Option<&Shift>) {
        if !loot.begun(self.today.index) {
            return;
        }
        let name = [
            self.life.seed,
            12,
            u64::from(seat.number),
            u64::from(self.today.index),
        ];
        let mut rng = Rng::of(&name);
        match loot.thief.family {
            Family::Case | Family::Window | Family::Gap => {
                if self.today.day == loot.monthly() {
                    self.night(seat, loot, &mut rng);
                    loot.acts += 1;
                }
            }
            family => {
                if let Some(shift) = shift {
                    self.daily(family, seat, loot, shift, &mut rng);
                    loot.acts += 1;
                }
            }
        }
    }

    fn night(&mut self, seat: &Seat, loot: &mut Loot, rng: &mut Rng) {
        match loot.thief.family {
            Family::Case => self.carry_off(seat, loot, rng),
            Family::Window => {
                let mut subjects = Vec::new();
                // The grant is for the client whose turn it is.
                let place = loot.take(self.clients, 0, &mut subjects);
                let desk = self.window(seat, place, NIGHT_S, u64::from(WINDOW_GRANTED));
                let at_ms = self.today.at(NIGHT_S + 300);
                let at_ms = self.bulk(at_ms, &desk, loot, WINDOW_GRANTED, rng);
                let desk = desk.stealing(Stolen::Yes);
                let more = WINDOW_TAKEN - WINDOW_GRANTED;
                let at_ms = self.bulk(at_ms, &desk, loot, more, rng);
                self.close(at_ms + 60_000, &desk);
            }
            _ => self.unseen(seat, loot, rng),
        }
    }

    /// The case: a list to a file, and to a stick.
    fn carry_off(&mut self, seat: &Seat, loot: &mut Loot, rng: &mut Rng) {
        let desk = self.night_desk(seat).stealing(Stolen::Yes);
        self.open(self.today.at(NIGHT_S), &desk, MAINTENANCE_TERMINAL);
        let at_ms = self.today.at(NIGHT_S + 300);
        let at_ms = self.bulk(at_ms, &desk, loot, CASE_A_NIGHT, rng);
        let events = [
            (120_000, TerminalEvent::FileWritten),
            (600_000, TerminalEvent::MediaAttached),
            (720_000, TerminalEvent::MediaWritten),
        ];
        for (after_ms, event) in events {
            self.out.push(
                at_ms + after_ms,
                What::Terminal {
                    terminal: MAINTENANCE_TERMINAL,
                    actor: Some(desk.actor),
                    event,
                    bytes: u64::from(CASE_A_NIGHT) * 120,
                },
            );
        }
        self.close(at_ms + 900_000, &desk);
    }

    /// A night of which the ledger holds nothing.
    fn unseen(&mut self, seat: &Seat, loot: &mut Loot, rng: &mut Rng) {
        let erased = loot.acts.is_multiple_of(2);
        let how = if erased {
            Stolen::Erased
        } else {
            Stolen::Unrecorded
        };
        let desk = self.night_desk(seat).stealing(how);
        let from_ms = self.today.at(NIGHT_S);
        let until_ms = from_ms + GAP_S * 1000;
        self.bulk(from_ms + 600_000, &desk, loot, GAP_A_NIGHT, rng);
        if erased {
            self.out.push(
                until_ms,
                What::Gap {
                    part: Part::Source,
                    from_ms,
                    until_ms,
                    missing: u64::from(GAP_A_NIGHT.div_ceil(BATCH)),
                },
            );
        } else {
            let quiet = from_ms..until_ms;
            self.out
                .items
                .retain(|it| it.stolen == Stolen::Unrecorded || !quiet.contains(&it.at_ms));
        }
    }

    fn night_desk(&self, seat: &Seat) -> Desk {
        let session = self.session(seat.number, 15);
        Desk::new(seat.number, seat.role, &seat.person, session)
    }

    /// So many people in batches of a few seconds each; gives when it ended.
    fn bulk(
        &mut self,
        mut at_ms: u64,
        desk: &Desk,
        loot: &mut Loot,
        people: u32,
        rng: &mut Rng,
    ) -> u64 {
        let mut left = people;
        while left > 0 {
            left -= self.take(at_ms, desk, loot, (Way::List, left.min(BATCH)), rng);
            at_ms += rng.between(5000, 15_000);
        }
        at_ms
    }

    fn daily(
        &mut self,
        family: Family,
        seat: &Seat,
        loot: &mut Loot,
        shift: &Shift,
        rng: &mut Rng,
    ) {
        match family {
            Family::SharedAccount => self.second_person(seat, loot, shift, rng),
            Family::Guess => self.guess(loot, shift, rng),
            _ => {
                let mut left = family.a_day(loot.acts, shift.looked);
                let way = if family == Family::Walk {
                    Way::Sequence
                } else {
                    Way::Search
                };
                let mut times = Vec::new();
                while left > 0 {
                    let rows = if left >= LISTS_FROM { LIST_ROWS } else { 1 };
                    let rows = if matches!(family, Family::Constant(LISTS_FROM..)) {
                        LIST_ROWS.min(left)
                    } else {
                        rows
                    };
                    times.push((rng.between(shift.from_ms + 60_000, shift.until_ms), rows));
                    left -= rows;
                }
                // In order, so that a walk goes up.
                times.sort_unstable();
                for (at_ms, rows) in times {
                    let desk = shift.desk_at(at_ms).stealing(Stolen::Yes);
                    let way = if rows > 1 { Way::List } else { way };
                    self.take(at_ms, &desk, loot, (way, rows), rng);
                }
            }
        }
    }

    /// Somebody else on the account, at the same time.
    fn second_person(&mut self, seat: &Seat, loot: &mut Loot, shift: &Shift, rng: &mut Rng) {
        let session = self.session(seat.number, 2);
        let desk = Desk {
            session,
            ..shift.desk
        };
        let (from_ms, until_ms) = (shift.from_ms + 1_800_000, shift.until_ms - 1_800_000);
        let terminal = TerminalId(SECOND_TERMINALS + u64::from(seat.number));
        self.open(from_ms, &desk, terminal);
        for _ in 0..SECOND_A_DAY {
            let at_ms = rng.between(from_ms + 1000, until_ms - 1000);
            self.take_one(at_ms, &desk, loot, rng);
        }
        self.close(until_ms, &desk);
    }

    /// Numbers in sequence, ten a statement.
    fn guess(&mut self, loot: &mut Loot, shift: &Shift, rng: &mut Rng) {
        let from_ms = rng.between(shift.from_ms + 60_000, shift.until_ms - 3_600_000);
        let mut subjects = Vec::new();
        for n in 0..GUESSES_A_DAY / GUESSES_A_STATEMENT {
            let at_ms = from_ms + u64::from(n) * 120_000 + rng.below(60_000);
            let desk = shift.desk_at(at_ms).stealing(Stolen::Yes);
            let place = loot.take(self.clients, GUESSED_OF_TEN, &mut subjects);
            let client = (place, self.clients[place as usize].id);
            let way = (Way::Sequence, GUESSES_A_STATEMENT);
            self.out.look(at_ms, &desk, client, way, &subjects, rng);
        }
    }
}
