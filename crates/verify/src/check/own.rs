//! The client's (or centre's) own log while it is read beside the root log.

use tlog::{Bundle, Hash, TILE_WIDTH};

use super::reader::LogReader;
use super::values::{Values, Visit, in_time};
use crate::entry::Times;
use crate::places::{self, Tree};
use crate::problem::{Problem, Problems};
use crate::state::Head;
use crate::time::{At, Month};

/// Reads the log up to what each root leaf says of it.
pub(crate) struct Own<'a, 'v> {
    pub(crate) reader: LogReader<'a>,
    pub(crate) values: Values<'a>,
    visit: &'v mut dyn Visit,
    tree: Tree,
    head: tlog::TreeHead,
    /// What was remembered, until reading has come there.
    mark: Option<Head>,
    /// It was seen in an earlier generation.
    pub(crate) former: bool,
    /// The newest root leaf that was compared, and its times: what follows is not older.
    floor: Option<(u64, Times)>,
    /// The largest size at which the tree was the one that a root leaf commits to.
    agreed: u64,
    run: Option<Run>,
    cut_off: bool,
    /// Entries that could not be reread, by a declared minimum.
    pub(crate) unread: u64,
}

/// Missing bundles that are said one by one, or counted.
const ABSENT_NAMED_MAX: usize = 1 << 16;

/// Root leaves in a row that commit to another tree.
struct Run {
    first: u64,
    last: u64,
    count: u64,
    size: u64,
}

impl<'a, 'v> Own<'a, 'v> {
    pub(crate) fn new(
        reader: LogReader<'a>,
        values: Values<'a>,
        visit: &'v mut dyn Visit,
        (tree, head): (Tree, tlog::TreeHead),
        mark: Option<Head>,
    ) -> Self {
        Self {
            reader,
            values,
            visit,
            tree,
            head,
            mark,
            former: false,
            floor: None,
            agreed: 0,
            run: None,
            cut_off: false,
            unread: 0,
        }
    }

    /// Reads until so many entries were read. `false`: they cannot be had.
    pub(crate) fn advance(&mut self, to: u64, problems: &mut Problems) -> bool {
        self.at_mark(problems);
        while self.reader.size() < to {
            let Some(read) = self.reader.next(problems) else {
                return false;
            };
            let index = read.index;
            if read.absent {
                self.visit.absent(index, &read.hash);
            }
            if let Some(entry) = read.entry {
                let before = self.values.last();
                self.values.take(index, entry, self.visit, problems);
                let now = self.values.last();
                if let Some((leaf, floor)) = self.floor
                    && before != now
                    && !not_after(floor, now)
                {
                    problems.add(Problem::OutOfOrder { leaf, index });
                    self.floor = None;
                }
            }
            self.at_mark(problems);
        }
        true
    }

    fn at_mark(&mut self, problems: &mut Problems) {
        if let Some(mark) = &self.mark
            && mark.size == self.reader.size()
        {
            if mark.root != self.reader.root() {
                problems.add(match self.former {
                    true => Problem::Former { had: mark.size },
                    false => Problem::Rewritten {
                        tree: self.tree,
                        size: mark.size,
                    },
                });
            }
            self.mark = None;
        }
    }

    /// Compares with what root leaf `leaf` says: so many entries, this root.
    pub(crate) fn compare(
        &mut self,
        leaf: u64,
        times: Times,
        (size, root): (u64, Hash),
        problems: &mut Problems,
    ) {
        if size > self.head.size {
            if !self.cut_off {
                self.cut_off = true;
                problems.add(Problem::CutOff {
                    leaf,
                    has: self.head.size,
                    committed: size,
                });
            }
            return;
        }
        if self.reader.size() > size || !self.advance(size, problems) {
            return;
        }
        if size > 0 && !not_after(self.values.last(), times) {
            let index = size - 1;
            problems.add(Problem::OutOfOrder { leaf, index });
        }
        self.floor = Some((leaf, times));
        if self.reader.root() == root {
            self.end_run(problems);
            self.agreed = size;
        } else {
            let run = self.run.get_or_insert(Run {
                first: leaf,
                last: leaf,
                count: 0,
                size,
            });
            run.last = leaf;
            run.count += 1;
        }
    }

    /// A leaf commits to this tree again: those between did not.
    fn end_run(&mut self, problems: &mut Problems) {
        if let Some(run) = self.run.take() {
            problems.add(Problem::SplitView {
                first: run.first,
                last: run.last,
                count: run.count,
                size: run.size,
            });
        }
    }

    /// Reads the rest; compares with the signed head.
    pub(crate) fn finish(&mut self, problems: &mut Problems) {
        self.advance(self.head.size, problems);
        let signed = self.reader.is_whole() && self.reader.root() == self.head.root;
        if self.reader.is_whole() && !signed {
            problems.add(Problem::Root {
                tree: self.tree,
                size: self.head.size,
            });
        }
        if signed {
            self.end_run(problems);
        } else if let Some(run) = self.run.take() {
            problems.add(Problem::Diverges {
                leaf: run.first,
                from: self.agreed,
                to: run.size,
            });
        }
        self.absent(problems);
        self.values.finish(problems);
    }

    /// Says which entries could not be reread: by a declared minimum, or missing.
    fn absent(&mut self, problems: &mut Problems) {
        let Some(absent) = self.reader.absent() else {
            return;
        };
        let pruned = self.values.counts.pruned;
        let minimum = pruned.map_or(0, |it| it.below);
        for number in absent.not_below(minimum).take(ABSENT_NAMED_MAX) {
            if let Some(bundle) = Bundle::new(number, TILE_WIDTH) {
                let path = places::tiles(self.tree, bundle);
                problems.add(Problem::Missing { path });
            }
        }
        if absent.is_over() {
            let path = format!("{}/tile/entries", self.tree);
            problems.add(Problem::Missing { path });
        }
        if let (Some(pruned), Some((first, count))) = (pruned, absent.below(minimum)) {
            self.unread = count;
            problems.add(Problem::Pruned {
                count,
                first,
                below: pruned.below,
                before: Month(pruned.before),
                change: pruned.change,
                index: pruned.index,
                at: At(pruned.at_ms),
            });
        }
    }

    /// How many entries the log's checkpoint says it has.
    pub(crate) fn head_size(&self) -> u64 {
        self.head.size
    }

    /// Whether the log must be in a leaf of these times: it was opened before.
    pub(crate) fn was_open(&self, times: Times) -> bool {
        // By either clock: a log that says it was opened later has to say so by both.
        let opened = self.values.opened;
        opened.is_some_and(|opened| !not_after(times, opened))
    }
}

fn not_after(before: Times, after: Times) -> bool {
    before.wall_ms <= after.wall_ms && before.elapsed_ms <= after.elapsed_ms
}

/// The fold over the root leaves' own times.
pub(crate) struct Heart {
    last: Option<Times>,
    gap_ms_max: u64,
}

impl Heart {
    pub(crate) fn new(last: Option<Times>, gap_ms_max: u64) -> Self {
        Self { last, gap_ms_max }
    }

    pub(crate) fn beat(&mut self, leaf: u64, times: Times, problems: &mut Problems) {
        if let Some(last) = self.last {
            in_time(Tree::Root, leaf, last, times, problems);
            if times.wall_ms.saturating_sub(last.wall_ms) > self.gap_ms_max {
                problems.add(Problem::Gap {
                    leaf,
                    from: At(last.wall_ms),
                    to: At(times.wall_ms),
                });
            }
        }
        self.last = Some(times);
    }

    pub(crate) fn last(&self) -> Option<Times> {
        self.last
    }
}
