//! The start's side of the recorder: folds the frames that recovery verified into state, budgets
//! and the set of known shapes. Live, [`crate::core`] does the same record by record.

use std::collections::HashSet;
use std::sync::Arc;

use budget::{Budgets, Numbers};
use event::Digest;
use event::record::{self, Body};

use crate::LedgerError;
use crate::frame::{Frame, FrameKind};
use crate::list::ListSealer;
use crate::snapshot::{Loaded, counts_as_change};
use crate::state::{Meta, State};

/// Digests of shapes that are remembered; past it they are forgotten and recorded again.
const SHAPES_MAX: usize = 1 << 20;

/// Numbers that came into force between two states.
pub(crate) fn numbers_changed(before: &State, after: &State) -> Option<Result<Numbers, String>> {
    let text = after.numbers.as_ref()?;
    let same = before
        .numbers
        .as_ref()
        .is_some_and(|old| Arc::ptr_eq(old, text));
    (!same).then(|| Numbers::parse(text).map_err(|error| error.to_string()))
}

/// Numbers before any came into force: nobody has any budget.
fn no_numbers() -> Numbers {
    Numbers {
        roles: std::collections::BTreeMap::new(),
        ..Numbers::default()
    }
}

/// What the start folds the records into.
pub(crate) struct Replay {
    pub(crate) state: State,
    pub(crate) budgets: Budgets,
    pub(crate) numbers: Numbers,
    /// Shapes that have a record.
    pub(crate) shapes: Arc<HashSet<Digest>>,
    pub(crate) lists_destroyed: u64,
    /// Records folded here.
    pub(crate) records: u64,
    /// One of them is a reason for a snapshot.
    pub(crate) changed: bool,
    sealer: Arc<dyn ListSealer>,
}

impl Replay {
    pub(crate) fn new(sealer: Arc<dyn ListSealer>) -> Self {
        let numbers = no_numbers();
        Self {
            state: State::default(),
            budgets: Budgets::new(numbers.entries_max),
            numbers,
            shapes: Arc::default(),
            sealer,
            lists_destroyed: 0,
            records: 0,
            changed: false,
        }
    }

    /// Goes on from a snapshot.
    pub(crate) fn from(loaded: Loaded, sealer: Arc<dyn ListSealer>) -> Self {
        Self {
            state: loaded.fold.state,
            budgets: loaded.fold.budgets,
            numbers: loaded.numbers.unwrap_or_else(no_numbers),
            shapes: loaded.fold.shapes,
            lists_destroyed: loaded.parts_destroyed,
            ..Self::new(sealer)
        }
    }

    /// Folds a frame.
    pub(crate) fn frame(&mut self, frame: &Frame<'_>) -> Result<(), LedgerError> {
        if frame.head.kind == FrameKind::Root {
            return Ok(());
        }
        let sequence = frame.head.sequence;
        self.record(frame)
            .map_err(|what| LedgerError::Fold { sequence, what })
    }

    fn record(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        let head = &frame.head;
        let body = record::decode(frame.record).map_err(|error| error.to_string())?;
        let meta = Meta {
            log: head.log,
            sequence: head.sequence,
            wall_ms: head.wall_ms,
            elapsed_ms: head.elapsed_ms,
        };
        self.records += 1;
        self.changed |= counts_as_change(&body);
        let before = self.state.clone();
        self.state.apply(&meta, &body)?;
        if let Some(numbers) = numbers_changed(&before, &self.state) {
            self.numbers = numbers?;
            self.budgets.set_entries_max(self.numbers.entries_max);
        }
        match &body {
            Body::Shape { digest, .. } => remember(&mut self.shapes, *digest),
            Body::Exposure(exposure) => {
                let opened = crate::charge::replay(
                    &mut self.budgets,
                    &*self.sealer,
                    &self.state,
                    &meta,
                    exposure,
                    (frame.left_out == 0).then_some(frame.attachment),
                )?;
                self.lists_destroyed += u64::from(!opened);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Remembers that a shape has its record.
pub(crate) fn remember(shapes: &mut Arc<HashSet<Digest>>, digest: Digest) {
    let shapes = Arc::make_mut(shapes);
    if shapes.len() >= SHAPES_MAX {
        shapes.clear();
    }
    shapes.insert(digest);
}
