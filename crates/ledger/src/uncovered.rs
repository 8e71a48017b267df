//! What was exposed and no quorum of witnesses has seen yet: its total is capped, over everyone
//! (design/ledger.md "Logs"), for it is what restoring a snapshot of the machine could erase.

use std::collections::VecDeque;

/// Subjects exposed, by the leaf of the root log that covers them.
#[derive(Default)]
pub(crate) struct Uncovered {
    /// (leaf, subjects), ascending; those that a quorum covers are taken out.
    leaves: VecDeque<(u64, u64)>,
    /// Their sum.
    sum: u64,
    /// Since the last leaf.
    open: u64,
}

impl Uncovered {
    /// Subjects were exposed.
    pub(crate) fn add(&mut self, subjects: u64) {
        self.open = self.open.saturating_add(subjects);
    }

    /// A leaf covers what came before it.
    pub(crate) fn root(&mut self, leaf: u64) {
        if self.open > 0 {
            self.leaves.push_back((leaf, self.open));
            self.sum = self.sum.saturating_add(self.open);
            self.open = 0;
        }
    }

    /// Subjects that no quorum has seen, when one has cosigned the first `covered` leaves.
    pub(crate) fn subjects(&mut self, covered: u64) -> u64 {
        while let Some(&(leaf, subjects)) = self.leaves.front()
            && leaf < covered
        {
            self.sum -= subjects;
            self.leaves.pop_front();
        }
        self.sum.saturating_add(self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_covers_what_came_before_it() {
        let mut uncovered = Uncovered::default();
        uncovered.add(5);
        uncovered.root(0);
        uncovered.root(1);
        uncovered.add(7);
        assert_eq!(uncovered.subjects(0), 12);
        assert_eq!(uncovered.subjects(1), 7);
        uncovered.root(2);
        assert_eq!(uncovered.subjects(2), 7);
        assert_eq!(uncovered.subjects(3), 0);
    }
}
