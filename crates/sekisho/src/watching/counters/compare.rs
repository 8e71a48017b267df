//! PostgreSQL's counters of sealed tables against what the gate accounts for. Pure.
//!
//! What PostgreSQL 14 to 18 count as read (`seq_tup_read`, `idx_tup_fetch`), as measured: SELECT, COPY,
//! pg_dump, cursors, bitmap scans, also in transactions that are rolled back; the rows that an UPDATE,
//! a DELETE or the check of a foreign key looks up; CREATE INDEX, REINDEX, CLUSTER and VACUUM FULL, once
//! or several times the table. ANALYZE, VACUUM and pg_basebackup: nothing. So four things account for
//! rows: those that passed the gate; those that were written, as counted beside; what passed before and
//! PostgreSQL had not told yet; and what a statement of the gate may read without passing it.
//!
//! That last one is learnt by shape: what a report reads, nobody knows, so a statement of a shape that
//! is not known explains any read. A shape that was sent often while next to nothing was read beyond
//! what passed is narrow, and explains next to nothing: a search by an index. So the day's searches do
//! not hide a list that somebody takes beside the gate.

use std::collections::{BTreeMap, HashMap, VecDeque};

use event::Digest;
use gate::Passed;
use serde::{Deserialize, Serialize};

/// A narrow statement reads so many rows that do not pass, on average.
const NARROW_ROWS: u64 = 10;
/// A shape is narrow when it was sent so often in so many looks.
const NARROW_TIMES: u64 = 20;
const NARROW_LOOKS: u32 = 3;
/// A statement that is not reads the sealed tables so often at most: REINDEX reads once for each index.
const READS_MAX: u64 = 16;
/// Looks after which what passed and was not counted is given up: PostgreSQL 14 tells what an idle
/// session read when it does something again.
const CREDIT_LOOKS: usize = 12;
/// Shapes that are remembered; past it all are learnt anew.
const SHAPES_MAX: usize = 1 << 14;

/// A counter of a table or an index, or of what writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counter {
    /// Its object: another one may have taken the name.
    pub oid: u32,
    /// What it says.
    pub count: u64,
}

/// What PostgreSQL says of a database's sealed tables.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Rows read, of each table, by itself (an empty name) and by each of its indexes.
    pub reads: BTreeMap<String, BTreeMap<String, Counter>>,
    /// Rows written that look up rows of sealed tables.
    pub writes: BTreeMap<String, Counter>,
    /// Rows in the sealed tables, as PostgreSQL estimates.
    pub size: u64,
    /// When the database's counters were set back last, in PostgreSQL's words.
    pub set_back: String,
}

/// What a look came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Compared {
    /// Rows that PostgreSQL read.
    pub rows: u64,
    /// Of these, so many are accounted for; more, if more passed.
    pub accounted: u64,
    /// Whether counters were set back.
    pub set_back: bool,
}

#[derive(Clone, Copy, Default, Debug)]
struct Shape {
    times: u64,
    looks: u32,
}

impl Shape {
    fn is_narrow(self) -> bool {
        self.times >= NARROW_TIMES && self.looks >= NARROW_LOOKS
    }
}

/// The account of one database.
#[derive(Default, Debug, Serialize, Deserialize)]
pub struct Account {
    seen: Option<Seen>,
    /// What passed and was not counted, of the newest looks.
    credit: VecDeque<u64>,
    /// Statements of the look before: what they read may be counted in this one.
    #[serde(skip)]
    before: Passed,
    /// Whether that look had next to nothing beyond what passed.
    #[serde(skip)]
    quiet: bool,
    #[serde(skip)]
    shapes: HashMap<Digest, Shape>,
}

impl Account {
    /// Takes what PostgreSQL says and what passed since the look before; `None`: there was none.
    pub fn look(&mut self, seen: Seen, passed: Passed) -> Option<Compared> {
        let size = seen.size;
        let before = self.seen.replace(seen);
        let now = self.seen.as_ref()?;
        let Some(before) = before else {
            self.before = passed;
            return None;
        };
        let mut set_back = before.set_back != now.set_back;
        let mut rows = 0;
        for (table, counters) in &now.reads {
            // A table that is newly pinned was read before as well.
            if let Some(known) = before.reads.get(table) {
                rows += grown(known, counters, &mut set_back);
            }
        }
        let known: BTreeMap<_, _> = before.writes.clone();
        let writes = now.writes.iter().filter(|it| known.contains_key(it.0));
        let writes: BTreeMap<_, _> = writes.map(|(name, it)| (name.clone(), *it)).collect();
        let written = grown(&known, &writes, &mut set_back);
        let mut beyond = rows.saturating_sub(passed.rows.saturating_add(written));
        beyond -= self.spend(beyond);
        self.keep(passed.rows.saturating_sub(rows).min(size));
        let explained = self.explained(&passed, size).min(beyond);
        let unexplained = beyond - explained;
        self.learn(&passed, beyond, unexplained);
        self.before = passed;
        Some(Compared {
            rows,
            accounted: rows - unexplained,
            set_back,
        })
    }

    /// Uses up what passed before, the oldest first.
    fn spend(&mut self, wanted: u64) -> u64 {
        let mut spent = 0;
        for credit in &mut self.credit {
            let part = (wanted - spent).min(*credit);
            *credit -= part;
            spent += part;
        }
        spent
    }

    fn keep(&mut self, rows: u64) {
        if self.credit.len() == CREDIT_LOOKS {
            self.credit.pop_front();
        }
        self.credit.push_back(rows);
    }

    /// What the statements of this look and of the one before may have read besides.
    fn explained(&self, passed: &Passed, size: u64) -> u64 {
        let all = size.saturating_mul(READS_MAX).max(NARROW_ROWS);
        let of = |passed: &Passed| {
            let shapes = passed.statements.iter().map(|(shape, times)| {
                let known = self.shapes.get(shape).copied().unwrap_or_default();
                times.saturating_mul(if known.is_narrow() { NARROW_ROWS } else { all })
            });
            let others = passed.others.saturating_mul(all);
            shapes.fold(others, u64::saturating_add)
        };
        of(passed).saturating_add(of(&self.before))
    }

    /// The look before, and this one, in which what it read is counted at the latest, tell of its
    /// statements whether they are narrow.
    fn learn(&mut self, passed: &Passed, beyond: u64, unexplained: u64) {
        let times = |passed: &Passed| passed.statements.values().sum::<u64>();
        let sent = times(passed).saturating_add(times(&self.before));
        let quiet = beyond <= sent.saturating_mul(NARROW_ROWS);
        if unexplained > 0 {
            // Told once; then the plan of a statement may have changed, which is learnt again.
            for shape in passed
                .statements
                .keys()
                .chain(self.before.statements.keys())
            {
                self.shapes.remove(shape);
            }
        } else if quiet && self.quiet {
            if self.shapes.len() > SHAPES_MAX {
                self.shapes.clear();
            }
            for (shape, times) in &self.before.statements {
                let known = self.shapes.entry(*shape).or_default();
                known.times = known.times.saturating_add(*times);
                known.looks = known.looks.saturating_add(1);
            }
        }
        self.quiet = quiet;
    }
}

/// By how much counters grew. One that is less than before was set back, unless its object is another
/// one: an index that was made anew.
fn grown(
    before: &BTreeMap<String, Counter>,
    now: &BTreeMap<String, Counter>,
    set_back: &mut bool,
) -> u64 {
    let mut sum = 0_u64;
    for (name, counter) in now {
        let known = before.get(name);
        let grown = match known.and_then(|known| counter.count.checked_sub(known.count)) {
            Some(grown) => grown,
            None => {
                *set_back |= known.is_some_and(|known| known.oid == counter.oid);
                counter.count
            }
        };
        sum = sum.saturating_add(grown);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 5_000;

    fn seen(table: u64, index: u64) -> Seen {
        let counter = |oid, count| Counter { oid, count };
        let of = BTreeMap::from([
            (String::new(), counter(1, table)),
            ("phone".to_owned(), counter(2, index)),
        ]);
        Seen {
            reads: BTreeMap::from([("public.customers".to_owned(), of)]),
            writes: BTreeMap::from([("public.customers".to_owned(), counter(1, 0))]),
            size: SIZE,
            set_back: String::new(),
        }
    }

    fn shape(number: u8) -> Digest {
        Digest([number; 32])
    }

    fn passed(rows: u64, statements: &[(u8, u64)]) -> Passed {
        let statements = statements.iter().map(|&(of, times)| (shape(of), times));
        Passed {
            rows,
            statements: statements.collect(),
            others: 0,
        }
    }

    fn missing(compared: Option<Compared>) -> u64 {
        let compared = compared.unwrap();
        compared.rows.saturating_sub(compared.accounted)
    }

    /// An account after so many looks of searches by an index.
    fn learnt(looks: u64) -> (Account, u64) {
        let mut account = Account::default();
        assert_eq!(account.look(seen(0, 0), passed(0, &[])), None);
        for look in 1..=looks {
            let compared = account.look(seen(0, look * 50), passed(50, &[(1, 50)]));
            assert_eq!(missing(compared), 0, "{compared:?}");
        }
        (account, looks * 50)
    }

    #[test]
    fn a_list_taken_beside_searches_is_missed_once_they_are_known() {
        let (mut account, index) = learnt(1);
        let taken = account.look(seen(SIZE, index + 50), passed(50, &[(1, 50)]));
        assert_eq!(missing(taken), 0, "a search may read all as yet");
        let (mut account, index) = learnt(6);
        let taken = account.look(seen(SIZE, index + 50), passed(50, &[(1, 50)]));
        assert_eq!(missing(taken), SIZE - 100 * NARROW_ROWS);
        // Whatever nobody sent is missing at once.
        let mut account = Account::default();
        account.look(seen(0, 0), passed(0, &[]));
        let taken = account.look(seen(SIZE, 0), passed(0, &[]));
        assert_eq!(missing(taken), SIZE);
    }

    #[test]
    fn reports_and_whole_reads_of_small_tables_explain_themselves() {
        let (mut account, index) = learnt(6);
        // A report, which passes one row and reads all.
        let report = account.look(seen(SIZE, index), passed(1, &[(2, 1)]));
        assert_eq!(missing(report), 0);
        // One that is counted late.
        account.look(seen(SIZE, index), passed(1, &[(2, 1)]));
        let late = account.look(seen(2 * SIZE, index), passed(0, &[]));
        assert_eq!(missing(late), 0);
        let later = account.look(seen(3 * SIZE, index), passed(0, &[]));
        assert_eq!(missing(later), SIZE);
        // Searches that read the whole table each time never become narrow.
        let mut account = Account::default();
        account.look(seen(0, 0), passed(0, &[]));
        for look in 1..50 {
            let compared = account.look(seen(look * 60 * 500, 0), passed(60, &[(1, 60)]));
            assert_eq!(missing(compared), 0);
        }
    }

    /// What passed first and is counted later is no credit for ever, nor beyond the tables' size.
    #[test]
    fn what_passed_before_is_used_up_once() {
        let mut account = Account::default();
        account.look(seen(0, 0), passed(0, &[]));
        assert_eq!(
            account
                .look(seen(0, 0), passed(9 * SIZE, &[]))
                .unwrap()
                .rows,
            0
        );
        assert_eq!(missing(account.look(seen(3_000, 0), passed(0, &[]))), 0);
        assert_eq!(missing(account.look(seen(9_000, 0), passed(0, &[]))), 4_000);
        account.look(seen(9_000, 0), passed(SIZE, &[]));
        for _ in 0..CREDIT_LOOKS {
            account.look(seen(9_000, 0), passed(0, &[]));
        }
        assert_eq!(
            missing(account.look(seen(10_000, 0), passed(0, &[]))),
            1_000
        );
    }

    #[test]
    fn what_is_written_looks_rows_up() {
        let mut account = Account::default();
        account.look(seen(0, 0), passed(0, &[]));
        let mut now = seen(0, 700);
        now.writes.values_mut().for_each(|it| it.count = 600);
        // A foreign key that is new brings what was written before it.
        let old = Counter {
            oid: 9,
            count: 1 << 40,
        };
        now.writes.insert("calls".into(), old);
        assert_eq!(missing(account.look(now, passed(0, &[]))), 100);
    }

    #[test]
    fn counters_that_were_set_back_are_told() {
        let (mut account, index) = learnt(1);
        let compared = account.look(seen(30, 0), passed(0, &[])).unwrap();
        assert!(compared.set_back && index > 0);
        assert_eq!(compared.rows, 30, "what was counted since");
        let mut again = seen(30, 0);
        again.set_back = "2026-11-23".to_owned();
        assert!(
            account
                .look(again.clone(), passed(0, &[]))
                .unwrap()
                .set_back
        );
        // An index that was made anew counts from 0, or on; a new table was read before.
        let of = again.reads.get_mut("public.customers").unwrap();
        of.insert("phone".to_owned(), Counter { oid: 3, count: 0 });
        account.look(again.clone(), passed(0, &[]));
        let of = again.reads.get_mut("public.customers").unwrap();
        of.insert("phone".to_owned(), Counter { oid: 3, count: 7 });
        account.look(again.clone(), passed(0, &[]));
        let of = again.reads.get_mut("public.customers").unwrap();
        of.insert("phone".to_owned(), Counter { oid: 4, count: 2 });
        let more = again.reads["public.customers"].clone();
        again.reads.insert("public.more".to_owned(), more);
        let compared = account.look(again, passed(0, &[])).unwrap();
        assert_eq!((compared.rows, compared.set_back), (2, false));
    }
}
