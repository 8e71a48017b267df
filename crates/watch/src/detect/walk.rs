//! Subjects taken in order: walked through by key, page, alphabet or telephone number, however slowly;
//! and values guessed in order.

use crate::cases::Said;
use crate::finding::Cause;
use crate::record::{Exposure, Record};
use crate::watch::{DAY_MS, Watch};

impl Watch {
    pub(crate) fn look_at_order(
        &mut self,
        record: &Record<'_>,
        place: usize,
        exposure: &Exposure<'_>,
        said: &mut Vec<Said>,
    ) {
        if exposure.order.pairs == 0 {
            return;
        }
        let steps = &mut self.actors[place].order;
        steps.add(&exposure.order, exposure.subjects == 0, record.at_ms);
        let bits = steps.bits();
        if bits < self.cases.floor() {
            return;
        }
        let days = (record.at_ms.saturating_sub(steps.since_ms) / DAY_MS) as u32 + 1;
        // Mostly values that found nobody: guesses.
        let cause = if steps.blind * 2 > steps.pairs {
            Cause::Guess {
                probes: steps.pairs,
                missed: steps.blind,
                usual_permille: 0,
                days,
            }
        } else {
            Cause::Walk {
                steps: steps.pairs,
                ascending: steps.ascending,
                near: steps.near,
                days,
            }
        };
        self.find(record, place, Some(exposure.client), bits, cause, said);
    }
}
