//! Many subjects shown on a terminal, then a file, then removable media or the network.

use std::collections::BTreeMap;

use event::ActorId;

use crate::cases::Said;
use crate::finding::{Bits, Cause, Finding};
use crate::record::{Record, TerminalId, What};
use crate::watch::{HOUR_MS, MINUTE_MS, Watch};
use event::TerminalEvent;

/// Terminals that are remembered; the one that was silent for longest goes first.
const TERMINALS_MAX: usize = 1 << 16;
/// So many subjects in so long are many.
const MANY: u64 = 100;
const WITHIN_MS: u64 = 12 * HOUR_MS;

/// What was shown where.
#[derive(Debug, Default)]
pub(crate) struct Terminals(BTreeMap<TerminalId, Shown>);

#[derive(Clone, Copy, Debug)]
struct Shown {
    actor: Option<ActorId>,
    subjects: u64,
    first_ms: u64,
    last_ms: u64,
    /// A file was written after it.
    file: bool,
}

impl Terminals {
    pub(crate) fn show(&mut self, terminal: TerminalId, actor: ActorId, at_ms: u64, subjects: u64) {
        let shown = self.of(terminal, at_ms);
        if at_ms > shown.first_ms + WITHIN_MS {
            // What was shown longer ago fades by half.
            shown.subjects /= 2;
            shown.first_ms = at_ms - WITHIN_MS / 2;
        }
        shown.actor = Some(actor);
        shown.subjects += subjects;
        shown.last_ms = at_ms;
    }

    fn of(&mut self, terminal: TerminalId, at_ms: u64) -> &mut Shown {
        if self.0.len() == TERMINALS_MAX && !self.0.contains_key(&terminal) {
            let oldest = self.0.iter().min_by_key(|(id, it)| (it.last_ms, **id));
            if let Some(oldest) = oldest.map(|(&id, _)| id) {
                self.0.remove(&oldest);
            }
        }
        self.0.entry(terminal).or_insert(Shown {
            actor: None,
            subjects: 0,
            first_ms: at_ms,
            last_ms: at_ms,
            file: false,
        })
    }
}

impl Watch {
    pub(crate) fn on_terminal(&mut self, record: &Record<'_>, said: &mut Vec<Said>) {
        let What::Terminal {
            terminal,
            actor,
            event,
            bytes,
        } = record.what
        else {
            return;
        };
        let shown = self.terminals.of(terminal, record.at_ms);
        if record.at_ms > shown.last_ms + WITHIN_MS {
            (shown.subjects, shown.file) = (0, false);
        }
        let who = actor.or(shown.actor);
        let bits = match event {
            TerminalEvent::FileWritten => {
                shown.file |= shown.subjects >= MANY;
                0
            }
            TerminalEvent::MediaAttached | TerminalEvent::MediaRefused => 16,
            TerminalEvent::MediaWritten | TerminalEvent::Sent => 24 + 8 * u32::from(shown.file),
        };
        if bits == 0 || shown.subjects < MANY {
            return;
        }
        let cause = Cause::Chain {
            subjects: shown.subjects,
            event,
            terminal,
            bytes,
            minutes: record.at_ms.saturating_sub(shown.first_ms) / MINUTE_MS,
        };
        let bits = Bits(bits << 8);
        match who.and_then(|actor| self.place(actor)) {
            Some(place) => self.find(record, place, None, bits, cause, said),
            None => {
                let finding = Finding {
                    sequence: record.sequence,
                    at_ms: record.at_ms,
                    actor: who,
                    others: Vec::new(),
                    client: None,
                    bits,
                    cause,
                    rests_on: vec![record.sequence],
                    days: Vec::new(),
                };
                self.say_about_thing(finding, said);
            }
        }
    }
}
