//! Which root leaves a quorum of witnesses has cosigned, and when. What is not covered could still be
//! erased unseen, so every interval is named. Pure.

use crate::key::KeyFile;
use crate::problem::{Problem, Problems};
use crate::time::{At, Span};

/// The fold over leaves and cosigned checkpoints.
pub(crate) struct Coverage {
    max_ms: u64,
    needed: bool,
    /// Wall clock of the first leaf that is not covered, and the log's size before it.
    pub(crate) pending: Option<(u64, u64)>,
    /// Root leaves covered, and when they were.
    pub(crate) covered: u64,
    pub(crate) covered_ms: u64,
}

impl Coverage {
    pub(crate) fn new(key_file: &KeyFile) -> Self {
        Self {
            max_ms: key_file.uncovered_ms_max,
            needed: !key_file.policy.needs_none(),
            pending: None,
            covered: 0,
            covered_ms: 0,
        }
    }

    /// A leaf; `before`: the log's size in the leaf before it.
    pub(crate) fn leaf(&mut self, wall_ms: u64, before: u64) {
        if self.needed && self.pending.is_none() {
            self.pending = Some((wall_ms, before));
        }
    }

    /// A quorum had cosigned all `size` leaves so far at `at_ms`; `now`: the log's size in the last.
    pub(crate) fn cosigned(&mut self, size: u64, at_ms: u64, now: u64, problems: &mut Problems) {
        if size <= self.covered {
            return;
        }
        if let Some((from, before)) = self.pending.take()
            && at_ms.saturating_sub(from) > self.max_ms
        {
            problems.add(Problem::Interval {
                from: At(from),
                to: At(at_ms),
                records: now.saturating_sub(before),
            });
        }
        self.covered = size;
        self.covered_ms = at_ms;
    }

    /// At the end. `strict`: too long without cosignatures is wrong, not only worth saying.
    pub(crate) fn finish(&self, now_ms: u64, size: u64, strict: bool, problems: &mut Problems) {
        let Some((since, before)) = self.pending else {
            return;
        };
        let age = Span(now_ms.saturating_sub(since));
        let records = size.saturating_sub(before);
        let since = At(since);
        problems.add(if strict && age.0 > self.max_ms {
            Problem::Uncovered {
                since,
                age,
                max: Span(self.max_ms),
                records,
            }
        } else {
            Problem::Pending {
                since,
                age,
                records,
            }
        });
    }
}
