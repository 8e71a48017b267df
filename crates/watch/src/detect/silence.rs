//! What should speak and does not: a part's heartbeat, the records of a whole place in its working
//! hours, a client's calls; and rows that PostgreSQL returned and the gate never saw.

use std::collections::BTreeMap;

use event::ClientId;

use crate::cases::Said;
use crate::finding::{Bits, Cause, Finding};
use crate::record::{Part, Record, What};
use crate::watch::{DAY_MS, HOUR_MS, MINUTE_MS, Watch};

/// Parts that are remembered.
const PARTS_MAX: usize = 1 << 16;
/// A part that was heard so often is missed.
const HEARD_MIN: u32 = 8;
/// And is silent after so many of its usual pauses, or so long at least.
const PAUSES: u64 = 5;
const SILENT_MS: u64 = 3 * MINUTE_MS;
/// A stop without its record, and without records that are missing, matters from so long on.
const GAP_MS: u64 = 10 * MINUTE_MS;
/// Exposures an hour from which on their lack is told.
const USUAL_MIN: u64 = 20;
/// Weeks that an hour of the week is learnt from at least.
const WEEKS_MIN: u32 = 3;
const WEEK: usize = 7 * 24;
/// Rows beyond what the gate passed that counters may err by: so many, and one in a hundred.
const ROWS_SLACK: u64 = 100;
/// Days with calls from which on their lack is told, on a day with so many exposures.
const CALL_DAYS_MIN: u32 = 8;
const CALL_DAYS_MAX: u32 = 16;
const SHOWN_MIN: u32 = 20;

/// What speaks.
#[derive(Debug)]
pub(crate) struct Parts {
    heard: BTreeMap<Part, Heard>,
    /// No part is silent before, ms.
    next_ms: u64,
    /// Exposures of the hour that is under way, of the one before.
    hour: u64,
    now: u64,
    before: u64,
    /// What is usual in each hour of a week: in 1/256, and from how many weeks.
    usual: Vec<(u64, u32)>,
    /// Days with calls of each client, a few.
    calls: BTreeMap<ClientId, u32>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            heard: BTreeMap::new(),
            next_ms: u64::MAX,
            hour: 0,
            now: 0,
            before: 0,
            usual: vec![(0, 0); WEEK],
            calls: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at_ms: u64,
    times: u32,
    /// The usual pause, ms.
    pause_ms: u64,
    told: bool,
}

impl Heard {
    fn silent_from(&self) -> u64 {
        let known = self.times >= HEARD_MIN && !self.told;
        let pause = (self.pause_ms * PAUSES).max(SILENT_MS);
        if known {
            self.at_ms.saturating_add(pause)
        } else {
            u64::MAX
        }
    }
}

impl Parts {
    pub(crate) fn alive(&mut self, part: Part, at_ms: u64) {
        if self.heard.len() == PARTS_MAX && !self.heard.contains_key(&part) {
            return;
        }
        let heard = self.heard.entry(part).or_insert(Heard {
            at_ms,
            times: 0,
            pause_ms: 0,
            told: false,
        });
        let pause = at_ms.saturating_sub(heard.at_ms);
        heard.times = heard.times.saturating_add(1);
        if heard.times > 1 && !heard.told {
            heard.pause_ms = match heard.times {
                2 => pause,
                _ => (heard.pause_ms * 7 + pause) / 8,
            };
        }
        (heard.at_ms, heard.told) = (at_ms, false);
        self.next_ms = self.next_ms.min(heard.silent_from());
    }

    /// Silence is expected from now on.
    pub(crate) fn stopped(&mut self, part: Part) {
        self.heard.remove(&part);
        if part == Part::Gate {
            self.before = 0;
        }
    }

    /// Somebody was shown somebody.
    pub(crate) fn exposure(&mut self) {
        self.now += 1;
    }

    /// A client's day is over: whether its calls were expected, and lack.
    fn end_calls(&mut self, client: ClientId, calls: u32, shown: u32) -> bool {
        let days = self.calls.entry(client).or_default();
        if calls > 0 {
            *days = (*days + 1).min(CALL_DAYS_MAX);
            return false;
        }
        let lack = *days >= CALL_DAYS_MIN && shown >= SHOWN_MIN;
        if lack {
            *days -= 1;
        }
        lack
    }

    /// The hours that are over: what they had against what is usual.
    fn roll(&mut self, at_ms: u64) -> Option<(u64, u64, u64)> {
        let hour = at_ms / HOUR_MS;
        if self.hour == 0 {
            self.hour = hour;
        }
        let mut found = None;
        let mut steps = 0;
        while self.hour < hour {
            let place = (self.hour % WEEK as u64) as usize;
            let (usual, weeks) = self.usual[place];
            let told = weeks >= WEEKS_MIN && usual >= USUAL_MIN << 8;
            // The hour before tells that people are at work.
            let before = self.usual[(place + WEEK - 1) % WEEK].0;
            let at_work = self.before << 9 > before && self.before > 0;
            if told && self.now == 0 && at_work {
                let from = self.hour * HOUR_MS;
                found = found.or(Some((from, from + HOUR_MS, usual >> 8)));
                // The hour after is told only together with people at work again.
                self.before = 0;
            } else {
                self.before = self.now;
            }
            let now = self.now << 8;
            let weight = u64::from(weeks.min(7)) + 1;
            let next = (usual * (weight - 1) + now) / weight;
            self.usual[place] = (next, weeks.saturating_add(1));
            self.now = 0;
            self.hour += 1;
            steps += 1;
            if steps == 2 * WEEK {
                self.hour = hour;
            }
        }
        found
    }
}

impl Watch {
    pub(crate) fn look_for_silence(&mut self, record: &Record<'_>, said: &mut Vec<Said>) {
        if record.at_ms / HOUR_MS != self.parts.hour
            && let Some((from_ms, until_ms, missing)) = self.parts.roll(record.at_ms)
        {
            let cause = Cause::Silence {
                part: Some(Part::Source),
                from_ms,
                until_ms,
                missing,
            };
            self.tell(record.sequence, record.at_ms, cause, said);
        }
        if record.at_ms < self.parts.next_ms {
            return;
        }
        let mut silent = Vec::new();
        let mut next_ms = u64::MAX;
        for (&part, heard) in &mut self.parts.heard {
            if record.at_ms >= heard.silent_from() {
                heard.told = true;
                silent.push((part, heard.at_ms));
            }
            next_ms = next_ms.min(heard.silent_from());
        }
        self.parts.next_ms = next_ms;
        for (part, from_ms) in silent {
            let cause = Cause::Silence {
                part: Some(part),
                from_ms,
                until_ms: record.at_ms,
                missing: 0,
            };
            self.tell(record.sequence, record.at_ms, cause, said);
        }
    }

    /// A day is over: clients whose calls lack.
    pub(crate) fn look_for_calls(
        &mut self,
        day: u32,
        calls: &BTreeMap<ClientId, u32>,
        shown: &BTreeMap<ClientId, u32>,
        said: &mut Vec<Said>,
    ) {
        for &client in calls.keys() {
            self.parts.end_calls(client, calls[&client], 0);
        }
        for (&client, &shown) in shown {
            if calls.contains_key(&client) || !self.parts.end_calls(client, 0, shown) {
                continue;
            }
            let until_ms = self.end_of(day);
            let cause = Cause::Silence {
                part: Some(Part::Calls(client)),
                from_ms: until_ms - DAY_MS,
                until_ms,
                missing: 0,
            };
            self.tell(self.last_sequence.unwrap_or(0), until_ms, cause, said);
        }
    }

    /// Gaps, and rows beyond what the gate passed.
    pub(crate) fn missing(&mut self, record: &Record<'_>, said: &mut Vec<Said>) {
        match record.what {
            What::Gap {
                part,
                from_ms,
                until_ms,
                missing,
            } if missing > 0 || until_ms - from_ms >= GAP_MS || part == Part::Counters => {
                let part = Some(part);
                let cause = Cause::Silence {
                    part,
                    from_ms,
                    until_ms,
                    missing,
                };
                self.tell(record.sequence, record.at_ms, cause, said);
            }
            What::Returned { rows, accounted } => {
                let missing = rows.saturating_sub(accounted);
                if missing > ROWS_SLACK + accounted / 100 {
                    let cause = Cause::Silence {
                        part: None,
                        from_ms: record.at_ms,
                        until_ms: record.at_ms,
                        missing,
                    };
                    self.tell(record.sequence, record.at_ms, cause, said);
                }
            }
            _ => {}
        }
    }

    fn tell(&mut self, sequence: u64, at_ms: u64, cause: Cause, said: &mut Vec<Said>) {
        let finding = Finding {
            sequence,
            at_ms,
            actor: None,
            others: Vec::new(),
            client: match cause {
                Cause::Silence {
                    part: Some(Part::Calls(client)),
                    ..
                } => Some(client),
                _ => None,
            },
            bits: Bits(20 << 8),
            cause,
            rests_on: vec![sequence],
            days: Vec::new(),
        };
        self.say_about_thing(finding, said);
    }
}
