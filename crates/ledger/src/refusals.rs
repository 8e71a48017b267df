//! Refusals on their way into the ledger: the first few a second of an actor at once, the rest as
//! one record with a count. Refusing must not be a way to flood. Pure.
//!
//! Invariant: no refusal is lost, and memory is bounded by [`ACTORS_MAX`] and [`READY_MAX`]:
//! past them refusals are counted together, without their actor.

use std::collections::BTreeMap;

use event::record::{Body, RefusalReason, Who};
use event::{ActorId, Digest};

/// Refusals of an actor in a second that are recorded one by one.
pub(crate) const AT_ONCE_MAX: u32 = 5;
/// Actors that are counted apart.
pub(crate) const ACTORS_MAX: usize = 4096;
/// Records that wait for the recorder.
pub(crate) const READY_MAX: usize = 1024;

/// Refusals that have no record yet.
#[derive(Default)]
pub(crate) struct Refusals {
    actors: BTreeMap<Option<ActorId>, Seconds>,
    ready: Vec<Body>,
}

/// What one actor was refused lately.
#[derive(Default)]
struct Seconds {
    /// The second in which `at_once` counts.
    second: u64,
    at_once: u32,
    held: BTreeMap<RefusalReason, Held>,
}

/// Refusals for one reason that are counted together.
struct Held {
    since_second: u64,
    who: Option<Who>,
    shape: Option<Digest>,
    terminal: Option<String>,
    count: u32,
}

impl Refusals {
    /// Notes a refusal. What two refusals do not share is left out of their common record.
    pub(crate) fn add(
        &mut self,
        now_ms: u64,
        who: Option<Who>,
        reason: RefusalReason,
        shape: Option<Digest>,
        terminal: Option<String>,
    ) {
        let second = now_ms / 1000;
        let mut actor = who.as_ref().map(|who| who.actor);
        if self.actors.len() >= ACTORS_MAX && !self.actors.contains_key(&actor) {
            actor = None;
        }
        let seconds = self.actors.entry(actor).or_default();
        if seconds.second != second {
            seconds.second = second;
            seconds.at_once = 0;
        }
        if seconds.at_once < AT_ONCE_MAX && self.ready.len() < READY_MAX {
            seconds.at_once += 1;
            self.ready.push(Body::Refused {
                who,
                reason,
                count: 1,
                shape,
                terminal,
            });
            return;
        }
        if let Some(held) = seconds.held.get_mut(&reason) {
            held.count = held.count.saturating_add(1);
            keep_if_same(&mut held.who, who);
            keep_if_same(&mut held.shape, shape);
            keep_if_same(&mut held.terminal, terminal);
        } else {
            let held = Held {
                since_second: second,
                who,
                shape,
                terminal,
                count: 1,
            };
            seconds.held.insert(reason, held);
        }
    }

    /// Whether anything waits, now or for the end of its second.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.actors.values().all(|seconds| seconds.held.is_empty())
    }

    /// What is to be recorded now: refusals noted one by one, and counts whose second has ended.
    pub(crate) fn take(&mut self, now_ms: u64) -> Vec<Body> {
        let mut taken = std::mem::take(&mut self.ready);
        let now = now_ms / 1000;
        self.actors.retain(|_, seconds| {
            seconds.held.retain(|&reason, held| {
                if held.since_second >= now {
                    return true;
                }
                taken.push(Body::Refused {
                    who: held.who.take(),
                    reason,
                    count: held.count,
                    shape: held.shape,
                    terminal: held.terminal.take(),
                });
                false
            });
            !seconds.held.is_empty() || seconds.second >= now
        });
        taken
    }
}

fn keep_if_same<T: PartialEq>(kept: &mut Option<T>, other: Option<T>) {
    if *kept != other {
        *kept = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn who(actor: u32) -> Option<Who> {
        (actor > 0).then(|| Who {
            actor: ActorId(actor),
            role: event::Role::Operator,
            session: event::SessionId(u64::from(actor)),
            grant: None,
        })
    }

    fn count(bodies: &[Body]) -> u64 {
        bodies
            .iter()
            .map(|body| match body {
                Body::Refused { count, .. } => u64::from(*count),
                _ => 0,
            })
            .sum()
    }

    #[test]
    fn one_actor_in_one_second() {
        let mut refusals = Refusals::default();
        for _ in 0..1000 {
            refusals.add(5_100, who(1), RefusalReason::Policy, None, None);
        }
        assert_eq!(refusals.take(5_900).len(), 5);
        assert!(!refusals.is_empty());
        let rest = refusals.take(6_000);
        assert_eq!((rest.len(), count(&rest)), (1, 995));
        assert!(refusals.is_empty());
        refusals.add(6_001, who(1), RefusalReason::Policy, None, None);
        assert_eq!(refusals.take(6_001).len(), 1);
    }

    #[test]
    fn a_flood_of_actors_is_bounded_and_counted() {
        let mut refusals = Refusals::default();
        for actor in 0..20_000 {
            refusals.add(1_000, who(actor), RefusalReason::Policy, None, None);
        }
        assert!(refusals.actors.len() <= ACTORS_MAX + 1 && refusals.ready.len() <= READY_MAX);
        assert_eq!(count(&refusals.take(u64::MAX)), 20_000);
        assert!(refusals.actors.is_empty());
    }

    proptest! {
        #[test]
        fn none_is_lost(adds in proptest::collection::vec((0_u64..4000, 0_u32..3, any::<bool>()), 0..200)) {
            let mut refusals = Refusals::default();
            let (mut taken, mut now) = (0, 0);
            for (passed, actor, take) in &adds {
                now += passed / 10;
                refusals.add(now, who(*actor), RefusalReason::Policy, None, None);
                if *take {
                    taken += count(&refusals.take(now));
                }
            }
            taken += count(&refusals.take(u64::MAX));
            prop_assert_eq!(taken, adds.len() as u64);
        }
    }
}
