//! Refusals on their way into the ledger: the first few a second of an actor at once, the rest as
//! one record with a count. Refusing must not be a way to flood. Pure.
//!
//! Each stands once in the centre's log, and once more in the log of each client that it concerns:
//! the clients of the statement's scope, or the one that the refusal is about. A copy says what the
//! original does but for a grant for another client, so a client learns nothing of others.
//!
//! Invariant: no refusal is lost, and memory is bounded by [`ACTORS_MAX`], [`HELD_MAX`] and
//! [`READY_MAX`]: past them refusals are counted together, without their actor.

use std::collections::BTreeMap;

use event::record::{Body, RefusalReason, Who};
use event::{ActorId, ClientId, Digest, LogId};

/// Refusals of an actor in a second that are recorded one by one.
pub(crate) const AT_ONCE_MAX: u32 = 5;
/// Clients whose copies are recorded one by one; if it concerns more, all are counted together.
pub(crate) const AT_ONCE_CLIENTS_MAX: usize = 8;
/// Actors that are counted apart.
pub(crate) const ACTORS_MAX: usize = 4096;
/// Counts of actors, reasons and logs at once.
pub(crate) const HELD_MAX: usize = 1 << 16;
/// Records that wait for the recorder.
pub(crate) const READY_MAX: usize = 1024;

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct Refused<'a> {
    /// Who; `None` before login.
    pub(crate) who: Option<Who>,
    pub(crate) reason: RefusalReason,
    pub(crate) shape: Option<Digest>,
    /// Before login.
    pub(crate) terminal: Option<String>,
    /// Whom it concerns, each once.
    pub(crate) clients: &'a [ClientId],
    /// Whose the grant in `who` is.
    pub(crate) grant_of: Option<ClientId>,
}

/// Refusals that have no record yet.
#[derive(Default)]
pub(crate) struct Refusals {
    actors: BTreeMap<Option<ActorId>, Seconds>,
    /// Counts over all actors.
    held: usize,
    ready: Vec<(LogId, Body)>,
}

/// What one actor was refused lately.
#[derive(Default)]
struct Seconds {
    /// The second in which `at_once` counts.
    second: u64,
    at_once: u32,
    held: BTreeMap<(LogId, RefusalReason), Held>,
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
    pub(crate) fn add(&mut self, now_ms: u64, refused: &Refused<'_>) {
        let second = now_ms / 1000;
        let mut actor = refused.who.as_ref().map(|who| who.actor);
        if self.actors.len() >= ACTORS_MAX && !self.actors.contains_key(&actor) {
            actor = None;
        }
        let seconds = self.actors.entry(actor).or_default();
        if seconds.second != second {
            seconds.second = second;
            seconds.at_once = 0;
        }
        let records = 1 + refused.clients.len();
        let fits = self.ready.len() + records <= READY_MAX;
        let mut at_once = fits && seconds.at_once < AT_ONCE_MAX;
        if at_once {
            seconds.at_once += 1;
        }
        self.note(second, actor, LogId::Centre, refused, at_once);
        at_once &= refused.clients.len() <= AT_ONCE_CLIENTS_MAX;
        for client in refused.clients {
            self.note(second, actor, LogId::Client(*client), refused, at_once);
        }
    }

    fn note(
        &mut self,
        second: u64,
        actor: Option<ActorId>,
        log: LogId,
        refused: &Refused<'_>,
        at_once: bool,
    ) {
        let (reason, shape) = (refused.reason, refused.shape);
        let (who, terminal) = (refused.who_in(log), refused.terminal.clone());
        if at_once {
            let body = Body::Refused {
                who,
                reason,
                count: 1,
                shape,
                terminal,
            };
            self.ready.push((log, body));
            return;
        }
        let key = (log, reason);
        let known = |of: &Seconds| of.held.contains_key(&key);
        let full = self.held >= HELD_MAX && !self.actors.get(&actor).is_some_and(known);
        let actor = actor.filter(|_| !full);
        let seconds = self.actors.entry(actor).or_default();
        if let Some(held) = seconds.held.get_mut(&key) {
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
            seconds.held.insert(key, held);
            self.held += 1;
        }
    }

    /// Whether anything waits, now or for the end of its second.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.actors.values().all(|seconds| seconds.held.is_empty())
    }

    /// What is to be recorded now, and in which log: refusals noted one by one, and counts whose
    /// second has ended.
    pub(crate) fn take(&mut self, now_ms: u64) -> Vec<(LogId, Body)> {
        let mut taken = std::mem::take(&mut self.ready);
        let now = now_ms / 1000;
        self.actors.retain(|_, seconds| {
            seconds.held.retain(|&(log, reason), held| {
                if held.since_second >= now {
                    return true;
                }
                let body = Body::Refused {
                    who: held.who.take(),
                    reason,
                    count: held.count,
                    shape: held.shape,
                    terminal: held.terminal.take(),
                };
                taken.push((log, body));
                self.held -= 1;
                false
            });
            !seconds.held.is_empty() || seconds.second >= now
        });
        taken
    }
}

impl Refused<'_> {
    /// As a log says it.
    fn who_in(&self, log: LogId) -> Option<Who> {
        let mut who = self.who.clone();
        if let (LogId::Client(client), Some(who)) = (log, &mut who) {
            who.grant = who.grant.filter(|_| self.grant_of == Some(client));
        }
        who
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

    fn refused(actor: u32, clients: &[ClientId]) -> Refused<'_> {
        Refused {
            who: who(actor),
            reason: RefusalReason::Policy,
            shape: None,
            terminal: None,
            clients,
            grant_of: None,
        }
    }

    fn clients(numbers: std::ops::RangeInclusive<u32>) -> Vec<ClientId> {
        numbers.filter_map(ClientId::new).collect()
    }

    fn count_in(bodies: &[(LogId, Body)], log: LogId) -> u64 {
        let of = bodies.iter().filter(|(it, _)| *it == log);
        of.map(|(_, body)| match body {
            Body::Refused { count, .. } => u64::from(*count),
            _ => 0,
        })
        .sum()
    }

    fn count(bodies: &[(LogId, Body)]) -> u64 {
        count_in(bodies, LogId::Centre)
    }

    #[test]
    fn one_actor_in_one_second() {
        let mut refusals = Refusals::default();
        for _ in 0..1000 {
            refusals.add(5_100, &refused(1, &[]));
        }
        assert_eq!(refusals.take(5_900).len(), 5);
        assert!(!refusals.is_empty());
        let rest = refusals.take(6_000);
        assert_eq!((rest.len(), count(&rest)), (1, 995));
        assert!(refusals.is_empty());
        refusals.add(6_001, &refused(1, &[]));
        assert_eq!(refusals.take(6_001).len(), 1);
    }

    #[test]
    fn a_flood_of_actors_is_bounded_and_counted() {
        let mut refusals = Refusals::default();
        for actor in 0..20_000 {
            refusals.add(1_000, &refused(actor, &[]));
        }
        assert!(refusals.actors.len() <= ACTORS_MAX + 1 && refusals.ready.len() <= READY_MAX);
        assert_eq!(count(&refusals.take(u64::MAX)), 20_000);
        assert!(refusals.actors.is_empty());
    }

    #[test]
    fn each_client_that_it_concerns_has_its_copy() {
        let (few, many) = (clients(1..=2), clients(1..=59));
        let mut refusals = Refusals::default();
        refusals.add(1_000, &refused(1, &few));
        let taken = refusals.take(1_000);
        let logs: Vec<LogId> = taken.iter().map(|(log, _)| *log).collect();
        let of = |client| LogId::Client(client);
        assert_eq!(logs, [LogId::Centre, of(few[0]), of(few[1])]);
        // One that concerns many is no way to flood: their copies are counted together.
        for _ in 0..100 {
            refusals.add(2_000, &refused(1, &many));
        }
        assert_eq!(refusals.take(2_000).len(), 5);
        let rest = refusals.take(3_000);
        assert_eq!((rest.len(), count(&rest)), (60, 95));
        assert!(
            many.iter()
                .all(|client| count_in(&rest, of(*client)) == 100)
        );
        assert!(refusals.is_empty() && refusals.held == 0);
    }

    #[test]
    fn memory_is_bounded_whomever_it_concerns() {
        let many = clients(1..=1_000);
        let mut refusals = Refusals::default();
        for actor in 1..=200 {
            refusals.add(1_000, &refused(actor, &many));
        }
        assert!(refusals.held <= HELD_MAX + 1 + many.len());
        assert!(refusals.ready.len() <= READY_MAX);
        let taken = refusals.take(u64::MAX);
        let all = many
            .iter()
            .map(|client| count_in(&taken, LogId::Client(*client)));
        assert!(all.chain([count(&taken)]).all(|count| count == 200));
    }

    #[test]
    fn a_grant_is_told_to_its_client_alone() {
        let both = clients(1..=2);
        let mut refusals = Refusals::default();
        let mut it = refused(1, &both);
        it.grant_of = Some(both[1]);
        it.who.as_mut().unwrap().grant = Some(event::GrantId(7));
        refusals.add(1_000, &it);
        let told: Vec<bool> = refusals
            .take(1_000)
            .iter()
            .map(|(_, body)| match body {
                Body::Refused { who: Some(who), .. } => who.grant.is_some(),
                _ => panic!("{body:?}"),
            })
            .collect();
        assert_eq!(told, [true, false, true]);
    }

    proptest! {
        #[test]
        fn none_is_lost(adds in proptest::collection::vec(
            (0_u64..4000, 0_u32..3, any::<bool>(), 0_u32..12), 0..200)
        ) {
            let mut refusals = Refusals::default();
            let (mut taken, mut now) = (Vec::new(), 0);
            let mut due = [0_u64; 12];
            for (passed, actor, take, concerned) in &adds {
                now += passed / 10;
                refusals.add(now, &refused(*actor, &clients(1..=*concerned)));
                due.iter_mut().take(*concerned as usize).for_each(|due| *due += 1);
                if *take {
                    taken.extend(refusals.take(now));
                }
            }
            taken.extend(refusals.take(u64::MAX));
            prop_assert_eq!(count(&taken), adds.len() as u64);
            for (client, due) in clients(1..=12).into_iter().zip(due) {
                prop_assert_eq!(count_in(&taken, LogId::Client(client)), due);
            }
        }
    }
}
