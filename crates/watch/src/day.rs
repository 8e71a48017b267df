//! One actor's day while it is not over, and which of its exposures calls explain.

use event::ClientId;

use crate::record::{Call, Exposure};

/// Exposures and calls of a day that are matched; beyond it all are without explanation.
const ENTRIES_MAX: usize = 2_048;
/// An exposure belongs to a call from so long before it to so long after it.
const BEFORE_MS: u64 = 300_000;
const AFTER_MS: u64 = 900_000;

/// A day.
#[derive(Clone, Debug, Default)]
pub(crate) struct Day {
    /// Its number since 1970; 0: none.
    pub(crate) number: u32,
    /// Subjects shown, grants left out.
    pub(crate) subjects: u64,
    /// Of these, new to the actor.
    pub(crate) new: u64,
    /// Subjects shown by grants.
    pub(crate) granted: u64,
    /// Values probed of which it is known whether they found somebody.
    pub(crate) probes: u64,
    /// Of these, found nobody.
    pub(crate) missed: u64,
    /// Statements that were refused near sealed columns.
    pub(crate) refused: u64,
    /// Hours with exposures, a bit each.
    pub(crate) hours: u32,
    /// From terminal to terminal and back within minutes.
    pub(crate) swaps: u32,
    /// When the first subject beyond grants was shown, ms.
    pub(crate) first_ms: u64,
    /// Windows that were found already: no history.
    pub(crate) found: bool,
    shown: Vec<Shown>,
    calls: Vec<Call>,
    /// Subjects shown beyond [`ENTRIES_MAX`].
    beyond: u64,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    at_ms: u64,
    client: ClientId,
    /// 0: not known.
    key: u64,
    count: u32,
}

/// What calls say of a day.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Explained {
    /// Subjects shown of clients whose calls are known.
    pub(crate) subjects: u64,
    /// Of these, without a call.
    pub(crate) unexplained: u64,
    /// Calls.
    pub(crate) calls: u64,
}

impl Day {
    pub(crate) fn begin(&mut self, number: u32) {
        let (mut shown, mut calls) = (
            std::mem::take(&mut self.shown),
            std::mem::take(&mut self.calls),
        );
        shown.clear();
        calls.clear();
        *self = Self {
            number,
            shown,
            calls,
            ..Self::default()
        };
    }

    /// Subjects beyond grants.
    pub(crate) fn show(&mut self, at_ms: u64, exposure: &Exposure<'_>, subjects: u64) {
        let entry = |key, count| Shown {
            at_ms,
            client: exposure.client,
            key,
            count,
        };
        let known = (exposure.keys.len() as u64).min(subjects);
        for &key in exposure.keys.iter().take(known as usize) {
            if self.shown.len() == ENTRIES_MAX {
                self.beyond += 1;
            } else if !self.is_shown(exposure.client, key) {
                self.shown.push(entry(key, 1));
            }
        }
        let rest = subjects - known;
        if rest == 0 {
        } else if self.shown.len() == ENTRIES_MAX {
            self.beyond += rest;
        } else {
            let count = u32::try_from(rest).unwrap_or(u32::MAX);
            self.shown.push(entry(0, count));
        }
    }

    /// Whether it was shown a moment ago; what was shown long before is dropped when the day ends.
    fn is_shown(&self, client: ClientId, key: u64) -> bool {
        let mut last = self.shown.iter().rev().take(8);
        last.any(|it| it.key == key && it.client == client)
    }

    pub(crate) fn call(&mut self, call: Call) {
        if self.calls.len() < ENTRIES_MAX {
            self.calls.push(call);
        }
    }

    /// Matches exposures with calls: a call explains one subject, its own or, where none is known,
    /// the first one shown in its time. `covered`: clients whose calls are known at all.
    pub(crate) fn explain(&mut self, covered: impl Fn(ClientId) -> bool) -> Explained {
        let calls = self.calls.len() as u64;
        self.shown.retain(|shown| covered(shown.client));
        let mut subjects = if self.shown.is_empty() {
            0
        } else {
            self.beyond
        };
        let mut unexplained = subjects;
        self.calls
            .sort_unstable_by_key(|call| (call.client, call.subject, call.from_ms, call.until_ms));
        // A subject counts once a day, with its first time.
        self.shown
            .sort_unstable_by_key(|shown| (shown.client, shown.key, shown.at_ms));
        self.shown.dedup_by(|later, first| {
            later.key != 0 && later.key == first.key && later.client == first.client
        });
        let mut open = Vec::with_capacity(self.shown.len());
        for shown in &self.shown {
            subjects += u64::from(shown.count);
            let of = |call: &Call| (call.client, call.subject);
            let own = (shown.client, Some(shown.key));
            if shown.key == 0 || self.calls.binary_search_by_key(&own, of).is_err() {
                open.push(*shown);
            }
        }
        open.sort_unstable_by_key(|shown| shown.at_ms);
        unexplained += self.without_call(&open);
        Explained {
            subjects,
            unexplained,
            calls,
        }
    }

    /// Of what has no call of its own subject, in order of time: how much lies in no other call.
    fn without_call(&self, open: &[Shown]) -> u64 {
        let mut calls: Vec<(Call, bool)> = self.calls.iter().map(|&call| (call, false)).collect();
        calls.sort_unstable_by_key(|(call, _)| (call.from_ms, call.until_ms));
        let (mut unexplained, mut begin) = (0, 0);
        for shown in open {
            let over = |call: &Call| call.until_ms.saturating_add(AFTER_MS) < shown.at_ms;
            while calls
                .get(begin)
                .is_some_and(|(call, spent)| *spent || over(call))
            {
                begin += 1;
            }
            let mut left = shown.count;
            for (call, spent) in &mut calls[begin..] {
                if left == 0 || call.from_ms > shown.at_ms.saturating_add(BEFORE_MS) {
                    break;
                }
                let about = call.subject.is_none() || shown.key == 0;
                if !*spent && !over(call) && about && call.client == shown.client {
                    *spent = true;
                    left -= 1;
                }
            }
            unexplained += u64::from(left);
        }
        unexplained
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Order;
    use event::{ActorId, Role};

    const MINUTE: u64 = 60_000;

    fn client() -> ClientId {
        ClientId::new(1).unwrap()
    }

    fn show(day: &mut Day, minute: u64, keys: &[u64], subjects: u64) {
        let exposure = Exposure {
            actor: ActorId(1),
            role: Role::Operator,
            session: None,
            client: client(),
            grant: None,
            rows: 1,
            subjects: 1,
            new: None,
            masked: 0,
            probes: 1,
            missed: None,
            order: Order::default(),
            shape: 0,
            keys,
        };
        day.show(minute * MINUTE, &exposure, subjects);
    }

    fn call(day: &mut Day, minute: u64, subject: Option<u64>) {
        day.call(Call {
            actor: ActorId(1),
            client: client(),
            subject,
            from_ms: minute * MINUTE,
            until_ms: (minute + 3) * MINUTE,
        });
    }

    fn of(day: &mut Day) -> (u64, u64) {
        let explained = day.explain(|_| true);
        (explained.subjects, explained.unexplained)
    }

    #[test]
    fn a_call_explains_its_own_subject_or_the_first_in_its_time() {
        let mut day = Day::default();
        call(&mut day, 100, Some(7));
        call(&mut day, 200, None);
        show(&mut day, 101, &[7], 1);
        show(&mut day, 102, &[8], 1);
        show(&mut day, 199, &[9], 1);
        show(&mut day, 201, &[10], 1);
        show(&mut day, 400, &[7], 1);
        assert_eq!(of(&mut day), (4, 2), "8 and 10; 7 counts once");
    }

    #[test]
    fn without_keys_times_match() {
        let mut day = Day::default();
        call(&mut day, 100, Some(7));
        show(&mut day, 101, &[], 1);
        show(&mut day, 102, &[], 2);
        show(&mut day, 300, &[], 1);
        assert_eq!(of(&mut day), (4, 3));
    }

    #[test]
    fn what_does_not_fit_is_unexplained() {
        let mut day = Day::default();
        for minute in 0..1_000 {
            show(
                &mut day,
                minute,
                &[minute * 3 + 1, minute * 3 + 2, minute * 3 + 3],
                3,
            );
        }
        assert_eq!(of(&mut day), (3_000, 3_000));
    }
}
