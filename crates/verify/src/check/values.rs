//! Rereads what the records say, not only their hashes: that the log was opened rightly, that no
//! clock goes back, and that the numbers of each actor add up. Pure; memory grows with the actors.

use std::collections::BTreeMap;

use event::record::{Body, Effects, Exposure, decode};
use event::{ActorId, LogId};
use fingerprint::month;
use tlog::Hash;

use crate::entry::{Entry, Times};
use crate::key::KeyFile;
use crate::places::Tree;
use crate::problem::{Problem, Problems};
use crate::time::month_end_ms;

/// 28 days: lists stay at least so long.
const MONTH_MS: u64 = 28 * 24 * 60 * 60 * 1000;
/// Months whose lists are remembered: no retention is longer.
const LIST_MONTHS_MAX: usize = 1201;

/// What was read.
#[derive(Clone, Default, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Counts {
    /// Entries read.
    pub entries: u64,
    /// Exposures that released rows.
    pub exposures: u64,
    /// Exposures that only probed.
    pub probe_only: u64,
    /// Rows released.
    pub rows: u64,
    /// Probes.
    pub probes: u64,
    /// Refusals.
    pub refusals: u64,
    /// Fingerprint lists of months before this one (yyyymm) were destroyed by age, the log says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists_destroyed_before: Option<u32>,
    /// The newest minimum that the log declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Pruned>,
    /// Findings of the gate.
    pub findings: u64,
    /// Actors that appear.
    pub actors: u64,
    /// Records of other kinds.
    pub others: u64,
    /// Records of kinds that this version does not know.
    pub unknown: u64,
}

/// A declared minimum: by age, entries below it are published no more, but for the first bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Pruned {
    /// The first entry that stays.
    pub below: u64,
    /// Entries below are of months before this one, yyyymm.
    pub before: u32,
    /// The change in the centre's log that says how long entries stay.
    pub change: u32,
    /// The entry that declares it.
    pub index: u64,
    /// Its time, ms.
    pub at_ms: u64,
}

/// Is given what a log holds.
pub trait Visit {
    /// A record whose hash holds.
    fn record(&mut self, seen: &Seen<'_>);
    /// An entry that is published no more, and its leaf hash.
    fn absent(&mut self, index: u64, leaf: &Hash);
}

impl<F: FnMut(&Seen<'_>)> Visit for F {
    fn record(&mut self, seen: &Seen<'_>) {
        self(seen);
    }

    fn absent(&mut self, _: u64, _: &Hash) {}
}

/// Months whose first entries are remembered: more than a clock that goes right can show.
pub(super) const MONTHS_MAX: usize = 4096;

/// The fold over one log.
pub(crate) struct Values<'a> {
    key_file: &'a KeyFile,
    pub(crate) counts: Counts,
    /// All-time totals of each actor: subjects, probes, masked values.
    totals: BTreeMap<ActorId, [u64; 3]>,
    /// (kind, critical): how many, and the first.
    unknown: BTreeMap<(u16, bool), (u64, u64)>,
    last: Times,
    /// Elapsed time of the newest list of each month, ms; of the newest [`LIST_MONTHS_MAX`].
    lists: BTreeMap<u32, u64>,
    /// The first entry that was read of each month (yyyymm), ascending; and where the newest ends, ms.
    months: Vec<(u32, u64)>,
    month_end_ms: u64,
    /// The slot, from the entry that opens a client's log.
    pub(crate) slot: Option<u32>,
    /// When the log was opened.
    pub(crate) opened: Option<Times>,
    /// The newest declared loss: the generation that it began, leaves of the root log before.
    pub(crate) loss: Option<(u32, u64)>,
}

/// A record that was read.
pub struct Seen<'a> {
    /// Its place in the log.
    pub index: u64,
    /// Its times.
    pub times: Times,
    /// The entry's bytes, as hashed.
    pub bytes: &'a [u8],
    /// What it says.
    pub body: &'a Body,
}

/// Checks that times do not go back.
pub(crate) fn in_time(
    tree: Tree,
    index: u64,
    before: Times,
    after: Times,
    problems: &mut Problems,
) -> bool {
    use crate::time::At;
    if after.wall_ms < before.wall_ms {
        let (before, after) = (At(before.wall_ms), At(after.wall_ms));
        problems.add(Problem::TimeBack {
            tree,
            index,
            before,
            after,
        });
        return false;
    }
    if after.elapsed_ms < before.elapsed_ms {
        let (before, after) = (before.elapsed_ms, after.elapsed_ms);
        problems.add(Problem::ElapsedBack {
            tree,
            index,
            before,
            after,
        });
        return false;
    }
    true
}

impl<'a> Values<'a> {
    pub(crate) fn new(key_file: &'a KeyFile) -> Self {
        Self {
            key_file,
            counts: Counts::default(),
            totals: BTreeMap::new(),
            unknown: BTreeMap::new(),
            last: Times::default(),
            lists: BTreeMap::new(),
            months: Vec::new(),
            month_end_ms: 0,
            // The centre's log has slot 0 (docs/format/logs.md).
            slot: (key_file.log == LogId::Centre).then_some(0),
            opened: None,
            loss: None,
        }
    }

    /// Times of the newest entry that was read.
    pub(crate) fn last(&self) -> Times {
        self.last
    }

    /// Reads a sound entry.
    pub(crate) fn take(
        &mut self,
        index: u64,
        bytes: &[u8],
        visit: &mut dyn Visit,
        problems: &mut Problems,
    ) {
        let tree = self.key_file.tree();
        let unread = |why: String| Problem::Entry { tree, index, why };
        let entry = match Entry::parse(bytes) {
            Ok(entry) => entry,
            Err(error) => return problems.add(unread(error.to_string())),
        };
        in_time(tree, index, self.last, entry.times, problems);
        self.last = entry.times;
        if entry.times.wall_ms >= self.month_end_ms {
            self.begin_month(index, entry.times.wall_ms);
        }
        self.counts.entries += 1;
        let body = match decode(entry.record) {
            Ok(body) => body,
            Err(error) => return problems.add(unread(error.to_string())),
        };
        if index == 0 {
            self.first(&body, entry.times, problems);
        } else if matches!(body, Body::LogOpened { .. } | Body::Genesis { .. }) {
            let kind = body.kind().0;
            problems.add(Problem::Misplaced { index, kind });
        }
        self.count(index, &body, problems);
        visit.record(&Seen {
            index,
            times: entry.times,
            bytes,
            body: &body,
        });
    }

    fn first(&mut self, body: &Body, times: Times, problems: &mut Problems) {
        let tree = self.key_file.tree();
        self.opened = Some(times);
        let why = match (body, self.key_file.log) {
            (Body::Genesis { ledger, .. }, LogId::Centre)
            | (Body::LogOpened { ledger, .. }, LogId::Client(_))
                if *ledger != self.key_file.ledger =>
            {
                "it is of another ledger"
            }
            (Body::Genesis { .. }, LogId::Centre) => return,
            (Body::LogOpened { slot, .. }, LogId::Client(_))
                if self.key_file.slot.is_some_and(|named| named != *slot) =>
            {
                "it names another slot than your key file"
            }
            (Body::LogOpened { slot, .. }, LogId::Client(_)) => {
                self.slot = Some(*slot);
                return;
            }
            _ => "it is another kind of record",
        };
        let why = why.to_owned();
        problems.add(Problem::First { tree, why });
    }

    fn count(&mut self, index: u64, body: &Body, problems: &mut Problems) {
        let young = matches!(body, Body::ListsDestroyed { before } if !self.may_be_old(*before));
        let counts = &mut self.counts;
        match body {
            Body::Exposure(exposure) => {
                if exposure.rows > 0 {
                    counts.exposures += 1;
                } else {
                    counts.probe_only += 1;
                }
                counts.rows += u64::from(exposure.rows);
                counts.probes += u64::from(exposure.probes);
                self.exposure(index, exposure, problems);
                self.saw_list();
            }
            Body::TerminalCopy { .. } => self.saw_list(),
            // Retention is a month at least: a younger one was not too old then.
            Body::ListsDestroyed { before } if young => {
                let tree = self.key_file.tree();
                let why = format!(
                    "it says that lists before {before} were destroyed by age, when they were not old"
                );
                problems.add(Problem::Entry { tree, index, why });
            }
            Body::ListsDestroyed { before } => {
                counts.others += 1;
                counts.lists_destroyed_before = counts.lists_destroyed_before.max(Some(*before));
            }
            Body::EntriesPruned {
                below,
                before,
                change,
            } => {
                counts.others += 1;
                let pruned = Pruned {
                    below: *below,
                    before: *before,
                    change: change.0,
                    index,
                    at_ms: self.last.wall_ms,
                };
                self.minimum(pruned, problems);
            }
            Body::Refused { count, .. } => counts.refusals += u64::from(*count),
            Body::LossDeclared {
                generation,
                size,
                lost,
                ..
            } => {
                counts.others += 1;
                let (generation, size, lost) = (*generation, *size, crate::lang::plain(lost));
                self.loss = Some((generation, size));
                problems.add(Problem::LossDeclared {
                    index,
                    generation,
                    size,
                    lost,
                });
            }
            Body::Finding { count, .. } => counts.findings += u64::from(*count),
            Body::Unknown { kind, critical } => {
                counts.unknown += 1;
                self.unknown
                    .entry((*kind, *critical))
                    .or_insert((0, index))
                    .0 += 1;
            }
            _ => counts.others += 1,
        }
    }

    /// Whether a month has passed since the last list before a month, by the calendar and by the
    /// ledger's own time, which no clock that is put forward moves.
    fn may_be_old(&self, before: u32) -> bool {
        let newest = self.lists.range(..before).next_back();
        let measured = newest.is_none_or(|(_, elapsed_ms)| {
            self.last.elapsed_ms.saturating_sub(*elapsed_ms) >= MONTH_MS
        });
        before < month(self.last.wall_ms) && measured
    }

    fn begin_month(&mut self, index: u64, wall_ms: u64) {
        let month = month(wall_ms);
        if self.months.len() < MONTHS_MAX {
            self.months.push((month, index));
        }
        self.month_end_ms = month_end_ms(month);
    }

    /// A declared minimum: it only rises, lies before its record, and all below it was old.
    fn minimum(&mut self, pruned: Pruned, problems: &mut Problems) {
        let Pruned {
            below,
            before,
            index,
            ..
        } = pruned;
        let had = self.counts.pruned.map_or(0, |it| it.below);
        let young = self.months.iter().find(|(month, _)| *month >= before);
        let young = young.filter(|(_, first)| *first < below);
        let why = if below <= had {
            format!("it lowers the minimum from {had} to {below}")
        } else if below > index || !below.is_multiple_of(256) {
            format!("no minimum can be {below} here")
        } else if before >= month(self.last.wall_ms) {
            format!("it says that entries before {before} are old, when they were not")
        } else if let Some((month, first)) = young {
            format!(
                "it takes entries below {below} for older than {before}, but entry {first} is of {month}"
            )
        } else {
            self.counts.pruned = Some(pruned);
            return;
        };
        let tree = self.key_file.tree();
        problems.add(Problem::Entry { tree, index, why });
    }

    /// A list stands beside the record.
    fn saw_list(&mut self) {
        self.lists
            .insert(month(self.last.wall_ms), self.last.elapsed_ms);
        if self.lists.len() > LIST_MONTHS_MAX {
            self.lists.pop_first();
        }
    }

    fn exposure(&mut self, index: u64, exposure: &Exposure, problems: &mut Problems) {
        let actor = exposure.who.actor;
        let totals = self.totals.entry(actor).or_default();
        let kinds = [
            ("subjects", &exposure.subjects),
            ("probes", &exposure.probed),
            ("masked values", &exposure.masked),
        ];
        let mut found = None;
        for ((what, effects), total) in kinds.into_iter().zip(totals) {
            let granted = exposure.who.grant.is_some() && effects.windows == [0; 4];
            if let Some(why) = wrong_effects(effects, *total, granted) {
                found = found.or_else(|| Some(format!("{what}: {why}")));
            }
            *total = effects.windows[3].max(*total);
        }
        let nothing = exposure.rows == 0 && exposure.probes == 0;
        let charged = [&exposure.subjects, &exposure.probed, &exposure.masked]
            .iter()
            .any(|effects| effects.charged > 0);
        if nothing && charged {
            found = found.or_else(|| Some("nothing was released, yet it was charged".into()));
        }
        if let Some(why) = found {
            let actor = actor.0;
            problems.add(Problem::Effects { index, actor, why });
        }
    }

    /// At the end of the log.
    pub(crate) fn finish(&mut self, problems: &mut Problems) {
        self.counts.actors = self.totals.len() as u64;
        for (&(kind, critical), &(count, first)) in &self.unknown {
            problems.add(if critical {
                Problem::UnknownCritical { kind, count, first }
            } else {
                Problem::Unknown { kind, count, first }
            });
        }
    }
}

/// What does not add up, if anything. `before`: the actor's all-time total so far.
fn wrong_effects(effects: &Effects, before: u64, granted: bool) -> Option<String> {
    let Effects {
        charged,
        newly_distinct,
        windows,
    } = *effects;
    if newly_distinct > charged {
        return Some(format!("{newly_distinct} new of {charged} charged"));
    }
    // Under a grant there are no windows.
    if granted {
        return None;
    }
    if !windows.is_sorted() {
        let [hour, day, days30, all] = windows;
        return Some(format!(
            "an hour holds {hour}, a day {day}, 30 days {days30}, all time {all}"
        ));
    }
    if windows[3] < before {
        let after = windows[3];
        return Some(format!("the all-time total falls from {before} to {after}"));
    }
    if windows[3] < newly_distinct {
        let all = windows[3];
        return Some(format!(
            "{newly_distinct} are new, yet all time holds {all}"
        ));
    }
    None
}
