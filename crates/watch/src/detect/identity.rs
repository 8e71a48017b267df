//! One account, several people: in use on two terminals by turns, for more hours than one person
//! works, while its actor is on leave, or after its actor left.

use crate::cases::Said;
use crate::finding::{Bits, Cause, IdentityKind};
use crate::record::Record;
use crate::watch::{MINUTE_MS, Session, Watch};

/// From one terminal to another and back within so long.
const SWAP_MS: u64 = 20 * MINUTE_MS;
/// Hours with exposures in a day that one person may have.
const HOURS_MAX: u32 = 14;

impl Watch {
    pub(crate) fn look_at_identity(
        &mut self,
        record: &Record<'_>,
        place: usize,
        day: u32,
        subjects: u64,
        session: Option<Session>,
        said: &mut Vec<Said>,
    ) {
        let actor = &mut self.actors[place];
        if let Some(Session { terminal }) = session {
            let here = Some((terminal, record.at_ms));
            let same = |it: Option<(_, u64)>| it.is_some_and(|(known, _)| known == terminal);
            if same(actor.last_terminal) {
                actor.last_terminal = here;
            } else {
                // Back where it was a moment ago: nobody moves so.
                let back = actor
                    .before_terminal
                    .is_some_and(|(it, at)| it == terminal && at + SWAP_MS > record.at_ms);
                actor.before_terminal = actor.last_terminal;
                actor.last_terminal = here;
                if back {
                    actor.swaps = (actor.swaps + 256).min(1 << 16);
                    actor.days[day as usize % 2].swaps += 1;
                }
            }
        }
        if subjects == 0 {
            return;
        }
        let hours = actor.days[day as usize % 2].hours.count_ones();
        let found = if actor.active == Some(false) {
            Some((Bits(26 << 8), IdentityKind::Left, subjects))
        } else if actor.is_away(record.at_ms) {
            let today = actor.days[day as usize % 2].subjects;
            let bits = (4 + today.min(20) as u32 * 2) << 8;
            Some((Bits(bits), IdentityKind::Away, today))
        } else if actor.swaps > 0 {
            let bits = Bits(actor.swaps * 3);
            Some((bits, IdentityKind::Terminals, u64::from(actor.swaps / 256)))
        } else if hours > HOURS_MAX {
            let bits = Bits((12 + (hours - HOURS_MAX) * 4) << 8);
            Some((bits, IdentityKind::Hours, u64::from(hours)))
        } else {
            None
        };
        let Some((bits, kind, count)) = found.filter(|it| it.0 >= self.cases.floor()) else {
            return;
        };
        self.find(
            record,
            place,
            None,
            bits,
            Cause::Identity { kind, count },
            said,
        );
    }
}
