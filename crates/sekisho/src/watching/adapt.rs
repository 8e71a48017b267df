//! The ledger's records as detection sees them: one [`watch::Record`] for each, with its sequence.
//!
//! Invariant: a pure fold over entries, state and lists, so that a replay sees what the gate saw live.
//! What does not concern detection is a tick of its time.

use std::collections::{BTreeMap, HashSet};

use budget::SetKind;
use event::record::{Body, Change, Exposure, GrantKind, Who};
use event::{Class, ClientId, Digest, LogId};
use ledger::list::{self, List};
use ledger::{Entry, ListClosed, ListSealer, State};
use watch::{Order, Part, Record, TerminalId, What};

/// Shapes that write, and names of terminals, that are remembered.
const KNOWN_MAX: usize = 1 << 20;

/// What it takes to understand a record besides the state: what earlier records said.
#[derive(Debug, Default)]
pub struct Adapter {
    /// Shapes of statements that write: their probes look for nobody.
    writing: HashSet<Digest>,
    /// Addresses of terminals, for people.
    terminals: BTreeMap<TerminalId, String>,
    /// Time of the last record, ms since the Unix epoch, and whether it was a stop in order.
    last: Option<(u64, bool)>,
}

impl Adapter {
    /// The address of a terminal; `None`: never seen here.
    pub fn terminal(&self, terminal: TerminalId) -> Option<&str> {
        self.terminals.get(&terminal).map(String::as_str)
    }

    /// A record of the ledger. `state` is that before it; `list` is what stood beside it, where it
    /// could be opened; `keys` is a buffer for the record's keys.
    pub fn adapt<'a>(
        &mut self,
        state: &State,
        entry: &Entry,
        body: &Body,
        list: Option<&List>,
        keys: &'a mut Vec<u64>,
    ) -> Record<'a> {
        keys.clear();
        let what = match (body, entry.log) {
            (Body::Exposure(exposure), LogId::Client(client)) => {
                subject_keys(list, keys);
                What::Exposure(self.exposure(state, exposure, client, keys))
            }
            _ => self.other(state, entry, body),
        };
        self.last = Some((entry.wall_ms, matches!(body, Body::Stopped)));
        Record {
            sequence: entry.sequence,
            at_ms: entry.wall_ms,
            what,
        }
    }

    fn exposure<'a>(
        &self,
        state: &State,
        exposure: &Exposure,
        client: ClientId,
        keys: &'a [u64],
    ) -> watch::Exposure<'a> {
        let who = &exposure.who;
        // What a grant to see paid for is counted without sets: what is new is not known.
        let granted = who.grant.and_then(|grant| state.grants.get(&grant));
        let counted = granted.is_none_or(|of| of.grant.what != GrantKind::See);
        watch::Exposure {
            actor: who.actor,
            role: who.role,
            session: Some(who.session),
            client,
            // A grant to see pays for who is shown, one to import for probes; nothing else.
            grant: who.grant.filter(|_| {
                let kind = granted.map(|of| of.grant.what);
                match exposure.subjects.charged {
                    0 => kind == Some(GrantKind::Import),
                    _ => kind == Some(GrantKind::See),
                }
            }),
            rows: exposure.rows,
            subjects: short(exposure.subjects.charged),
            new: counted.then(|| short(exposure.subjects.newly_distinct)),
            masked: short(exposure.masked.charged),
            probes: exposure.probes,
            missed: exposure.order.missed.or_else(|| self.missed(exposure)),
            order: Order {
                pairs: exposure.order.pairs,
                ascending: exposure.order.ascending,
                near: exposure.order.near,
            },
            shape: shape(&exposure.shape),
            keys,
        }
    }

    /// Probes that found nobody: all, if a search showed nothing. Of several that showed something,
    /// it is not known which did.
    fn missed(&self, exposure: &Exposure) -> Option<u32> {
        if self.writing.contains(&exposure.shape) {
            return Some(0);
        }
        match (exposure.probes, exposure.rows) {
            (probes, 0) => Some(probes),
            (0 | 1, _) => Some(0),
            _ => None,
        }
    }

    fn other(&mut self, state: &State, entry: &Entry, body: &Body) -> What<'static> {
        let log_client = match entry.log {
            LogId::Centre => None,
            LogId::Client(client) => Some(client),
        };
        match body {
            Body::SessionOpened { who, terminal, .. } => self.opened(who, terminal),
            Body::SessionClosed { session } => What::SessionClosed { session: *session },
            // A client's log has a copy of each refusal about it.
            Body::Refused {
                who, reason, count, ..
            } if log_client.is_none() => What::Refused {
                actor: who.as_ref().map(|who| who.actor),
                client: None,
                reason: *reason,
                count: *count,
            },
            Body::Finding {
                who, kind, count, ..
            } => What::Gate {
                actor: who.actor,
                client: log_client,
                kind: *kind,
                count: *count,
            },
            Body::Shape { digest, text } => {
                let writes = !text.trim_start().to_ascii_uppercase().starts_with("SELECT");
                if writes && self.writing.len() < KNOWN_MAX {
                    self.writing.insert(*digest);
                }
                What::Tick
            }
            Body::InForce { change, .. } => {
                let proposal = state.proposals.get(change);
                proposal.map_or(What::Tick, |proposal| changed(&proposal.what))
            }
            Body::Started { .. } => match self.last {
                // It ended in another way than in order.
                Some((from_ms, false)) => gap(from_ms, entry.wall_ms),
                _ => What::Alive { part: Part::Gate },
            },
            Body::Stopped => What::Stopped { part: Part::Gate },
            Body::LossDeclared { .. } if log_client.is_none() => gap(
                self.last.map_or(entry.wall_ms, |last| last.0),
                entry.wall_ms,
            ),
            Body::ListsDestroyed { .. } => {
                log_client.map_or(What::Tick, |client| What::ListsDestroyed { client })
            }
            _ => What::Tick,
        }
    }

    fn opened(&mut self, who: &Who, address: &str) -> What<'static> {
        let terminal = super::own::terminal(address);
        if self.terminals.len() < KNOWN_MAX {
            self.terminals
                .entry(terminal)
                .or_insert_with(|| address.to_owned());
        }
        What::SessionOpened {
            actor: who.actor,
            role: who.role,
            session: who.session,
            terminal,
        }
    }
}

/// Opens what stands beside an exposure; `None`: it is none, or nothing stands there any more.
///
/// # Errors
/// If it is there and does not open.
pub fn open_list(
    sealer: &dyn ListSealer,
    entry: &Entry,
    body: &Body,
) -> Result<Option<List>, String> {
    let (Body::Exposure(exposure), LogId::Client(client)) = (body, entry.log) else {
        return Ok(None);
    };
    if entry.attachment.is_empty() {
        return Ok(None);
    }
    let month = list::month(entry.wall_ms);
    match sealer.open_list(client, month, &exposure.list, &entry.attachment) {
        Ok(plaintext) => match list::decode(plaintext.expose()) {
            Some(list) => Ok(Some(list)),
            None => Err(format!("record {}: its list is malformed", entry.sequence)),
        },
        Err(ListClosed::Destroyed) => Ok(None),
        Err(ListClosed::Failed(why)) => Err(format!(
            "record {}: its list does not open: {why}",
            entry.sequence
        )),
    }
}

/// What a change in force means for detection.
fn changed(what: &Change) -> What<'static> {
    match what {
        Change::ActorSet {
            actor,
            role,
            active,
            ..
        } => What::Actor {
            actor: *actor,
            role: *role,
            active: *active,
        },
        Change::Grant(grant) => What::Granted {
            grant: grant.grant,
            actor: grant.actor,
            client: grant.client,
            amount: grant.amount,
            until_ms: grant.until_ms,
        },
        Change::GrantEnded { grant } => What::GrantEnded { grant: *grant },
        Change::ClientDestroyed { client } => What::ListsDestroyed { client: *client },
        _ => What::Tick,
    }
}

fn gap(from_ms: u64, until_ms: u64) -> What<'static> {
    What::Gap {
        part: Part::Gate,
        from_ms,
        until_ms,
        missing: 0,
    }
}

/// Units as detection counts them.
fn short(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A shape's number: the first 8 bytes of its digest.
fn shape(digest: &Digest) -> u64 {
    digest
        .0
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// Keys of the subjects of a list: of the row tags and the classes in clear, those of whichever has
/// most, as budgets count; of several, the row tags or the first class. So one subject has one key in
/// a list, though another one in a list of other columns.
fn subject_keys(list: Option<&List>, keys: &mut Vec<u64>) {
    let Some(list) = list else { return };
    let kinds = std::iter::once(SetKind::RowTag)
        .chain(Class::ALL.iter().map(|class| SetKind::Clear(*class)));
    let mut best = (0, None);
    for kind in kinds {
        of_kind(list, kind, keys);
        if keys.len() > best.0 {
            best = (keys.len(), Some(kind));
        }
    }
    match best.1 {
        Some(kind) => of_kind(list, kind, keys),
        None => keys.clear(),
    }
}

/// The different keys of a kind, ascending.
fn of_kind(list: &List, kind: SetKind, keys: &mut Vec<u64>) {
    keys.clear();
    let rows = list.rows.iter().filter(|entry| entry.0 == kind);
    keys.extend(rows.map(|entry| entry.1));
    keys.sort_unstable();
    keys.dedup();
}

#[cfg(test)]
mod tests {
    use event::record::{Effects, RefusalReason};
    use event::{ActorId, ChangeId, GrantId, Role, SessionId};

    use super::*;

    fn who(grant: Option<u32>) -> Who {
        Who {
            actor: ActorId(7),
            role: Role::Operator,
            session: SessionId(3),
            grant: grant.map(GrantId),
        }
    }

    fn client() -> ClientId {
        ClientId::new(5).unwrap()
    }

    fn entry(sequence: u64, log: LogId) -> Entry {
        Entry {
            sequence,
            log,
            index: 0,
            wall_ms: sequence * 1000,
            elapsed_ms: 0,
            record: Vec::new(),
            attachment: Vec::new(),
        }
    }

    fn exposure(grant: Option<u32>, rows: u32, probes: u32, shape: u8) -> Body {
        let effects = |charged, newly_distinct| Effects {
            charged,
            newly_distinct,
            windows: [0; 4],
        };
        Body::Exposure(Exposure {
            who: who(grant),
            rows,
            classes: Vec::new(),
            probes,
            row_tags_disagree: 0,
            subjects: effects(40, 30),
            probed: effects(2, 2),
            masked: effects(u64::MAX, 0),
            shape: Digest([shape; 32]),
            policy: Digest([0; 32]),
            list: Digest([0; 32]),
            purpose: None,
            order: event::record::Order::default(),
        })
    }

    /// What records of the centre's log, or of a client's, become, one after the other.
    fn adapted(state: &State, bodies: &[(LogId, Body)]) -> Vec<String> {
        let mut adapter = Adapter::default();
        let mut keys = Vec::new();
        let mut said = Vec::new();
        for (sequence, (log, body)) in (1..).zip(bodies) {
            let record = adapter.adapt(state, &entry(sequence, *log), body, None, &mut keys);
            assert_eq!((record.sequence, record.at_ms), (sequence, sequence * 1000));
            said.push(format!("{:?}", record.what));
        }
        said
    }

    #[test]
    fn exposures_count_as_they_were_charged() {
        let mut adapter = Adapter::default();
        let list = List {
            probes: vec![(SetKind::Probe { primary: true }, 9, 1)],
            rows: vec![
                (SetKind::Clear(Class::Phone), 11, 1),
                (SetKind::RowTag, 4, 1),
                (SetKind::Clear(Class::Name), 12, 1),
                (SetKind::RowTag, 2, 1),
                (SetKind::RowTag, 4, 1),
                (SetKind::Masked(Class::Phone), 13, 1),
                (SetKind::Clear(Class::Phone), 10, 1),
            ],
            purpose: None,
        };
        let mut keys = vec![99];
        let log = LogId::Client(client());
        let state = State::default();
        let body = exposure(Some(1), 2, 2, 1);
        let record = adapter.adapt(&state, &entry(8, log), &body, Some(&list), &mut keys);
        let What::Exposure(shown) = record.what else {
            panic!("{record:?}")
        };
        assert_eq!(
            (shown.actor, shown.client, shown.rows),
            (ActorId(7), client(), 2)
        );
        assert_eq!((shown.subjects, shown.new), (40, Some(30)));
        assert_eq!(
            (shown.masked, shown.probes, shown.missed),
            (u32::MAX, 2, None)
        );
        assert_eq!(
            (shown.keys, shown.shape),
            (&[2, 4][..], 0x0101_0101_0101_0101)
        );

        let list = List {
            rows: list.rows[..1].to_vec(),
            ..list
        };
        let body = exposure(None, 0, 2, 1);
        let record = adapter.adapt(&state, &entry(9, log), &body, Some(&list), &mut keys);
        let What::Exposure(shown) = record.what else {
            panic!("{record:?}")
        };
        assert_eq!((shown.keys, shown.missed), (&[11][..], Some(2)));
    }

    #[test]
    fn what_writes_misses_nothing() {
        let log = LogId::Client(client());
        let shape = |text: &str| Body::Shape {
            digest: Digest([1; 32]),
            text: text.to_owned(),
        };
        for (text, missed) in [
            ("select phone from t", "Some(1)"),
            ("INSERT INTO t", "Some(0)"),
        ] {
            let said = adapted(
                &State::default(),
                &[(LogId::Centre, shape(text)), (log, exposure(None, 0, 1, 1))],
            );
            assert!(said[1].contains(&format!("missed: {missed}")), "{said:?}");
        }
    }

    #[test]
    fn an_end_that_was_none_is_a_gap() {
        let started = Body::Started {
            version: String::new(),
            tail_cut: 0,
            elapsed_credit_ms: 0,
            wall_step_ms: 0,
            boot_id: [0; 16],
            boot_ms: 0,
        };
        let bodies = [started.clone(), Body::Stopped, started.clone(), started];
        let said = adapted(&State::default(), &bodies.map(|body| (LogId::Centre, body)));
        assert_eq!(
            said,
            [
                "Alive { part: Gate }",
                "Stopped { part: Gate }",
                "Alive { part: Gate }",
                "Gap { part: Gate, from_ms: 3000, until_ms: 4000, missing: 0 }"
            ]
        );
    }

    #[test]
    fn refusals_count_once_and_changes_when_in_force() {
        let refused = Body::Refused {
            who: Some(who(None)),
            reason: RefusalReason::Policy,
            count: 3,
            shape: None,
            terminal: None,
        };
        let mut state = State::default();
        let proposal = ledger::state::Proposal {
            by: ActorId(1),
            what: Change::ActorSet {
                actor: ActorId(7),
                login: "sato".to_owned(),
                role: Role::Supervisor,
                clients: Vec::new(),
                active: false,
            },
            approvals: Vec::new(),
        };
        std::sync::Arc::make_mut(&mut state.proposals).insert(ChangeId(1), proposal);
        let in_force = |number| Body::InForce {
            change: ChangeId(number),
            loosens: true,
            bootstrap: false,
        };
        let said = adapted(
            &state,
            &[
                (LogId::Centre, refused.clone()),
                (LogId::Client(client()), refused),
                (LogId::Centre, in_force(1)),
                (LogId::Centre, in_force(2)),
            ],
        );
        assert_eq!(
            said,
            [
                "Refused { actor: Some(ActorId(7)), client: None, reason: Policy, count: 3 }",
                "Tick",
                "Actor { actor: ActorId(7), role: Supervisor, active: false }",
                "Tick"
            ]
        );
    }
}
