//! Who read most in the last year of what was imported.

use std::collections::{BTreeMap, HashMap};

use event::ActorId;
use watch::{Record, What};

/// Days that count, back from the newest record.
pub const DAYS: u32 = 365;
/// Most (actor, day) that are held.
const HELD_MAX: usize = 4 << 20;

/// A jump ahead that the next record has to confirm, in days.
const JUMP_DAYS: u32 = 32;

const DAY_MS: i64 = 86_400_000;

/// One actor's year.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reader {
    /// Who.
    pub actor: ActorId,
    /// Exposures.
    pub records: u64,
    /// Subjects shown in them; the same one may be among them again and again.
    pub subjects: u64,
    /// Rows.
    pub rows: u64,
    /// Days with any.
    pub days: u32,
    /// Most subjects in one day.
    pub most: u64,
    /// That day, since 1970-01-01, in the place's own time.
    pub most_day: u32,
}

#[derive(Clone, Copy, Default, Debug)]
struct Day {
    records: u32,
    subjects: u64,
    rows: u64,
}

/// An exposure.
#[derive(Clone, Copy, Debug)]
struct Seen {
    day: u32,
    actor: ActorId,
    subjects: u64,
    rows: u64,
}

/// Counts exposures by actor and day.
#[derive(Debug)]
pub struct Heaviest {
    offset_minutes: i32,
    newest: u32,
    actors: HashMap<ActorId, BTreeMap<u32, Day>>,
    held: usize,
    /// An exposure far ahead that the next one may confirm.
    ahead: Option<Seen>,
    /// Exposures that were not counted.
    beyond: u64,
}

impl Heaviest {
    /// Nobody yet; days are so many minutes ahead of UTC.
    pub fn new(offset_minutes: i32) -> Self {
        Self {
            offset_minutes,
            newest: 0,
            actors: HashMap::new(),
            held: 0,
            ahead: None,
            beyond: 0,
        }
    }

    /// Counts a record.
    pub fn add(&mut self, record: &Record<'_>) {
        let What::Exposure(exposure) = record.what else {
            return;
        };
        let local = i64::try_from(record.at_ms)
            .unwrap_or(i64::MAX)
            .saturating_add(i64::from(self.offset_minutes) * 60_000);
        let seen = Seen {
            day: u32::try_from(local.div_euclid(DAY_MS).max(0)).unwrap_or(u32::MAX),
            actor: exposure.actor,
            subjects: exposure.subjects.into(),
            rows: exposure.rows.into(),
        };
        // A day far ahead has to be confirmed by the next record, or one wrong clock would end the
        // year of all others.
        if self.newest > 0 && seen.day > self.newest.saturating_add(JUMP_DAYS) {
            match self.ahead.take() {
                Some(before) if before.day.abs_diff(seen.day) <= 1 => self.count(before),
                before => {
                    self.beyond += u64::from(before.is_some());
                    self.ahead = Some(seen);
                    return;
                }
            }
        }
        self.count(seen);
    }

    fn count(&mut self, seen: Seen) {
        self.newest = self.newest.max(seen.day);
        if self.newest - seen.day >= DAYS {
            return;
        }
        if self.held >= HELD_MAX {
            self.forget();
        }
        let days = self.actors.entry(seen.actor).or_default();
        if self.held >= HELD_MAX && !days.contains_key(&seen.day) {
            self.beyond += 1;
            return;
        }
        let before = days.len();
        let of = days.entry(seen.day).or_default();
        of.records = of.records.saturating_add(1);
        of.subjects = of.subjects.saturating_add(seen.subjects);
        of.rows = of.rows.saturating_add(seen.rows);
        self.held += days.len() - before;
    }

    /// Days before the last year go.
    fn forget(&mut self) {
        let first = self.newest.saturating_sub(DAYS - 1);
        self.actors.retain(|_, days| {
            *days = days.split_off(&first);
            !days.is_empty()
        });
        self.held = self.actors.values().map(BTreeMap::len).sum();
    }

    /// Those with most subjects, the heaviest first.
    pub fn table(&mut self, readers_max: usize) -> Vec<Reader> {
        self.forget();
        let mut table: Vec<Reader> = self
            .actors
            .iter()
            .map(|(actor, days)| {
                let sum = |of: fn(&Day) -> u64| {
                    days.values()
                        .fold(0_u64, |sum, day| sum.saturating_add(of(day)))
                };
                // Of days with equally many, the first one.
                let most = days
                    .iter()
                    .max_by_key(|(day, of)| (of.subjects, u32::MAX - **day));
                Reader {
                    actor: *actor,
                    records: sum(|day| day.records.into()),
                    subjects: sum(|day| day.subjects),
                    rows: sum(|day| day.rows),
                    days: u32::try_from(days.len()).unwrap_or(u32::MAX),
                    most: most.map_or(0, |(_, of)| of.subjects),
                    most_day: most.map_or(0, |(day, _)| *day),
                }
            })
            .collect();
        table.sort_by_key(|reader| {
            (
                std::cmp::Reverse((reader.subjects, reader.rows, reader.records)),
                reader.actor,
            )
        });
        table.truncate(readers_max);
        table
    }

    /// Exposures that were not counted: of a time far ahead of all others, or of too many actors and
    /// days.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use event::{ClientId, Role};
    use watch::{Exposure, Order};

    use super::*;

    fn shown(day: u64, actor: u32, subjects: u32) -> Record<'static> {
        Record {
            sequence: 0,
            at_ms: day * DAY_MS as u64,
            what: What::Exposure(Exposure {
                actor: ActorId(actor),
                role: Role::Operator,
                session: None,
                client: ClientId::new(1).unwrap(),
                grant: None,
                rows: 2 * subjects,
                subjects,
                new: None,
                masked: 0,
                probes: 0,
                missed: None,
                order: Order::default(),
                shape: 0,
                keys: &[],
            }),
        }
    }

    #[test]
    fn the_last_year_counts() {
        let mut heaviest = Heaviest::new(540);
        // The first one is more than a year before the last one.
        for (day, actor, subjects) in [
            (1, 1, 9000),
            (100, 1, 5),
            (101, 2, 30),
            (101, 2, 7),
            // Nobody confirms this one.
            (9000, 9, 9000),
            (300, 2, 37),
            (301, 4, 0),
            (366, 3, 1),
            (367, 4, 0),
        ] {
            heaviest.add(&shown(day, actor, subjects));
        }
        heaviest.add(&Record {
            sequence: 0,
            at_ms: u64::MAX,
            what: What::Tick,
        });
        let table = heaviest.table(2);
        let second = Reader {
            actor: ActorId(1),
            records: 1,
            subjects: 5,
            rows: 10,
            days: 1,
            most: 5,
            most_day: 100,
        };
        let first = Reader {
            actor: ActorId(2),
            records: 3,
            subjects: 74,
            rows: 148,
            days: 2,
            most: 37,
            most_day: 101,
        };
        assert_eq!(table, [first, second]);
        assert_eq!(heaviest.beyond(), 1);
    }

    #[test]
    fn far_times_do_no_harm() {
        let mut heaviest = Heaviest::new(i32::MIN);
        for day in [0, 5_000_000_000, u64::MAX / DAY_MS as u64] {
            heaviest.add(&shown(day, 1, 1));
        }
        assert_eq!(heaviest.table(9).len(), 1);
    }
}
