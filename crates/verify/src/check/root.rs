//! Reading the root log: each leaf against the own log, the kept checkpoints, the clock.

use tlog::TreeHead;

use super::cosigned::{Cosigned, Kept};
use super::levels::Levels;
use super::own::Own;
use super::reader::LogReader;
use super::slots::SlotReader;
use super::values::MONTHS_MAX;
use super::{Check, Question, unsigned_head};
use crate::entry::{RootLeaf, SlotProof, Times};
use crate::places::{self, NOTE_BYTES_MAX, Tree};
use crate::problem::Problem;

impl Check<'_> {
    /// Reads the root log from where the last look ended.
    pub(super) fn root_log(
        &mut self,
        head: TreeHead,
        newest: Option<&Cosigned>,
        own: &mut Own<'_, '_>,
    ) -> Option<Levels> {
        let Question {
            key_file,
            store,
            remembered,
            now_ms,
            ..
        } = self.question;
        let mark = remembered.filter(|it| it.root.size <= head.size);
        if mark.is_none() && remembered.is_some() {
            // An older log is shown, which is said already: it is read for itself.
            self.forget();
        }
        let before = mark.filter(|_| !self.question.whole);
        let resumed = before.and_then(|it| Levels::resume(it.root.size, &it.peaks));
        let from = before
            .filter(|_| resumed.is_some())
            .map_or(0, |it| it.root.size);
        self.summary.root_from = from;
        let mut reader = LogReader::new(store, Tree::Root, head, resumed);
        let mut slots = SlotReader::new(store, key_file.tree(), head.size);
        let root_keys = std::mem::take(&mut self.root_keys);
        let mut kept = None;
        loop {
            if let Some(mark) = mark
                && reader.size() == mark.root.size
                && reader.root() != mark.root.root
            {
                let size = mark.root.size;
                let tree = Tree::Root;
                self.problems.add(Problem::Rewritten { tree, size });
            }
            let Some(read) = reader.next(&mut self.problems) else {
                break;
            };
            let index = read.index;
            let Some(leaf) = read.entry else { continue };
            // Read before, in the same bundle.
            if index < from {
                continue;
            }
            let leaf = match RootLeaf::parse(leaf) {
                Ok(leaf) => leaf,
                Err(error) => {
                    let (tree, why) = (Tree::Root, error.to_string());
                    self.problems.add(Problem::Entry { tree, index, why });
                    continue;
                }
            };
            let kept = kept.get_or_insert_with(|| {
                let since = before.map_or(leaf.times.wall_ms, |it| it.leaf.wall_ms);
                Kept::new(store, key_file, &root_keys, (since, now_ms), from)
            });
            self.leaf(index, &leaf, &mut slots, own);
            while let Some(cosigned) = kept.up_to(index + 1, &mut self.problems) {
                self.kept(&cosigned, &reader, leaf.times);
            }
        }
        if let Some(kept) = kept {
            self.beyond(kept, head.size);
        }
        self.root_signed(head, newest, &reader);
        self.summary.root_leaves = reader.size();
        reader.is_whole().then(|| reader.levels().clone())
    }

    fn leaf(
        &mut self,
        index: u64,
        leaf: &RootLeaf,
        slots: &mut SlotReader<'_>,
        own: &mut Own<'_, '_>,
    ) {
        self.heart.beat(index, leaf.times, &mut self.problems);
        if leaf.slots < self.slots {
            let (had, has) = (self.slots, leaf.slots);
            self.problems.add(Problem::SlotsShrank {
                leaf: index,
                had,
                has,
            });
        }
        self.slots = self.slots.max(leaf.slots);
        self.coverage.leaf(leaf.times.wall_ms, self.slot.0);
        let Some((size, root)) = self.slot_of(index, leaf, slots, own) else {
            return;
        };
        let (had, has) = (self.slot.0, size);
        if has < had {
            let leaf = index;
            self.problems.add(Problem::SlotShrank { leaf, had, has });
            return;
        }
        let month = fingerprint::month(leaf.times.wall_ms);
        if self.at_month.len() < MONTHS_MAX {
            self.at_month.entry(month).or_insert(has);
        }
        if has > had {
            self.slot = (has, leaf.times.wall_ms);
        }
        let own_size = own.head_size();
        if size == own_size {
            let wall = leaf.times.wall_ms;
            self.at_head = Some((self.at_head.map_or(wall, |it| it.0), wall));
        }
        own.compare(index, leaf.times, (size, root), &mut self.problems);
    }

    /// What a leaf says of the log, if it is proven.
    fn slot_of(
        &mut self,
        index: u64,
        leaf: &RootLeaf,
        slots: &mut SlotReader<'_>,
        own: &Own<'_, '_>,
    ) -> Option<(u64, tlog::Hash)> {
        let bytes = slots.get(index, &mut self.problems)?;
        let leaf_index = index;
        if bytes.is_empty() {
            if self.slot.0 > 0 || own.was_open(leaf.times) {
                self.problems.add(Problem::SlotAbsent { leaf: leaf_index });
            }
            return None;
        }
        let proof = match SlotProof::parse(bytes) {
            Ok(proof) => proof,
            Err(error) => {
                let why = error.to_string();
                let leaf = leaf_index;
                self.problems.add(Problem::SlotUnread { leaf, why });
                return None;
            }
        };
        // Without the log's first entry nobody knows its slot; that is said already.
        let slot = own.values.slot?;
        let log = self.question.key_file.log.number();
        if !proof.holds(leaf, slot, log) {
            self.problems.add(Problem::SlotProof { leaf: leaf_index });
            return None;
        }
        if proof.size == 0 {
            self.problems.add(Problem::SlotEmpty { leaf: leaf_index });
            return None;
        }
        self.summary.slots += 1;
        Some((proof.size, proof.root))
    }

    /// A kept checkpoint of as many leaves as were read.
    fn kept(&mut self, cosigned: &Cosigned, reader: &LogReader<'_>, leaf: Times) {
        let size = cosigned.size;
        if size != reader.size() {
            let path = cosigned.path.clone();
            self.problems.add(Problem::CosignedOrder { path, size });
            return;
        }
        if cosigned.root != reader.root() {
            self.problems.add(Problem::Forked { size });
            return;
        }
        self.summary.cosigned += 1;
        self.in_span(
            Tree::Root,
            size,
            &cosigned.signers,
            (leaf.wall_ms, leaf.wall_ms),
            false,
        );
        match cosigned.quorum_ms {
            Some(at) => self
                .coverage
                .cosigned(size, at, self.slot.0, &mut self.problems),
            None if self.question.key_file.policy.needs_none() => {}
            None => self.problems.add(Problem::NoQuorum { size }),
        }
    }

    /// Kept checkpoints of more leaves than are shown.
    fn beyond(&mut self, mut kept: Kept<'_>, has: u64) {
        let mut largest = None;
        while let Some(cosigned) = kept.up_to(u64::MAX, &mut self.problems) {
            largest = Some(cosigned.size).max(largest);
        }
        let Some(size) = largest else { return };
        // A server may have published more while this was read.
        let path = places::checkpoint(Tree::Root);
        let again = self.question.store.read(&path, NOTE_BYTES_MAX);
        let now = again.ok().flatten().and_then(|note| unsigned_head(&note));
        if now.is_none_or(|now| now.size < size) {
            self.problems.add(Problem::WitnessedMore { size, has });
        }
    }

    /// The newest root checkpoint against what was read.
    fn root_signed(&mut self, head: TreeHead, newest: Option<&Cosigned>, reader: &LogReader<'_>) {
        if reader.is_whole() && reader.root() != head.root {
            self.problems.add(Problem::Root {
                tree: Tree::Root,
                size: head.size,
            });
            return;
        }
        let Some(newest) = newest.filter(|_| reader.is_whole()) else {
            return;
        };
        if let Some(leaf) = self.heart.last() {
            let wall = (leaf.wall_ms, leaf.wall_ms);
            self.in_span(Tree::Root, head.size, &newest.signers, wall, false);
        }
        if let Some(at) = newest.quorum_ms {
            self.coverage
                .cosigned(head.size, at, self.slot.0, &mut self.problems);
        }
    }
}
