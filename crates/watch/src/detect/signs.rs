//! What the gate says itself: cells that somebody changed or moved, a schema that is not the pinned
//! one, values refused near sealed columns.

use event::Role;
use event::record::{FindingKind, RefusalReason};

use crate::cases::Said;
use crate::finding::{Bits, Cause, TamperKind};
use crate::record::{Record, What};
use crate::watch::Watch;

impl Watch {
    pub(crate) fn sign(&mut self, record: &Record<'_>, said: &mut Vec<Said>) {
        let day = self.open_day(record.at_ms);
        match record.what {
            What::Gate {
                actor,
                client,
                kind,
                count,
            } => {
                let Some(place) = self.touch(actor, Role::Operator, day) else {
                    return;
                };
                let (kind, bits) = match kind {
                    FindingKind::CellDoesNotVerify => (TamperKind::Cells, 20),
                    FindingKind::CellOutOfPlace => (TamperKind::Moved, 20),
                    // A statement over all clients brings cells of others.
                    FindingKind::CellOutOfScope => (TamperKind::Moved, 4),
                    FindingKind::PinDiffers => (TamperKind::Schema, 18),
                    // Nothing is opened of them; a tool that reads everything sees them, too.
                    FindingKind::UnexpectedCells => (TamperKind::Unexpected, 4),
                };
                let more = u64::from(count.max(1)).ilog2();
                let (bits, count) = (bits + more, u64::from(count));
                let cause = Cause::Tamper { kind, count };
                self.find(record, place, client, Bits(bits << 8), cause, said);
            }
            What::Refused {
                actor: Some(actor),
                client,
                reason: RefusalReason::SubjectBudget,
                ..
            } => {
                if let Some(place) = self.touch(actor, Role::Operator, day) {
                    self.budget_ended(record, place, day, client, said);
                }
            }
            What::Refused {
                actor: Some(actor),
                reason,
                count,
                ..
            } => {
                let near = matches!(
                    reason,
                    RefusalReason::Statement | RefusalReason::Value | RefusalReason::Pin
                );
                if near && let Some(place) = self.touch(actor, Role::Operator, day) {
                    self.actors[place].day(day).refused += u64::from(count);
                }
            }
            _ => {}
        }
    }
}
