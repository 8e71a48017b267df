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
    /// Shapes whose rows are rows of one sealed table.
    of_one_table: HashSet<Digest>,
    /// Keys of fictitious subjects.
    planted: HashSet<(ClientId, u64)>,
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

    /// A fictitious subject was planted: where a list has its key, so have the record's keys.
    pub fn plant(&mut self, client: ClientId, subject: u64) {
        if self.planted.len() < KNOWN_MAX {
            self.planted.insert((client, subject));
        }
    }

    /// Keys of fictitious subjects.
    pub fn planted(&self) -> &HashSet<(ClientId, u64)> {
        &self.planted
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
                self.planted_keys(client, list, keys);
                What::Exposure(self.exposure(state, exposure, client, keys))
            }
            (
                Body::TerminalCopy {
                    who,
                    subjects,
                    refused,
                    ..
                },
                LogId::Client(client),
            ) => {
                if refused.is_none() {
                    subject_keys(list, keys);
                }
                self.planted_keys(client, list, keys);
                match refused {
                    // Whoever has a fictitious person in a file has seen one.
                    Some(reason) if keys.is_empty() => What::Refused {
                        actor: Some(who.actor),
                        client: Some(client),
                        reason: *reason,
                        count: 1,
                    },
                    _ => What::Exposure(carried(who, client, *subjects, keys)),
                }
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

    /// Rows of an exposure whose cells were sealed in different rows: what PostgreSQL was told moved
    /// them. Of a join or an aggregate that is as it should be.
    pub fn moved(&self, exposure: &Exposure) -> Option<u32> {
        let moved = exposure.row_tags_disagree;
        (moved > 0 && self.of_one_table.contains(&exposure.shape)).then_some(moved)
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

    /// A subject has one key in `keys`; a fictitious one has those by which it is known.
    fn planted_keys(&self, client: ClientId, list: Option<&List>, keys: &mut Vec<u64>) {
        if self.planted.is_empty() {
            return;
        }
        let shown = list.iter().flat_map(|list| &list.rows);
        let open = shown.filter(|it| matches!(it.0, SetKind::RowTag | SetKind::Clear(_)));
        let before = keys.len();
        for (_, key, _) in open {
            if self.planted.contains(&(client, *key)) && !keys[..before].contains(key) {
                keys.push(*key);
            }
        }
        keys[before..].sort_unstable();
        keys.dedup();
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
                if is_of_one_table(text) && self.of_one_table.len() < KNOWN_MAX {
                    self.of_one_table.insert(*digest);
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

/// A file for a company medium, as an exposure that its grant paid for: whoever is in it was shown
/// before.
fn carried<'a>(who: &Who, client: ClientId, subjects: u64, keys: &'a [u64]) -> watch::Exposure<'a> {
    watch::Exposure {
        actor: who.actor,
        role: who.role,
        session: Some(who.session),
        client,
        grant: who.grant,
        rows: 0,
        subjects: short(subjects),
        new: Some(0),
        masked: 0,
        probes: 0,
        missed: Some(0),
        order: Order::default(),
        shape: 0,
        keys,
    }
}

/// The commitment to the fingerprints beside a record of who was shown.
fn list_of(body: &Body) -> Option<&Digest> {
    match body {
        Body::Exposure(exposure) => Some(&exposure.list),
        Body::TerminalCopy { list, .. } => Some(list),
        _ => None,
    }
}

/// Opens what stands beside an exposure, or a file; `None`: it is none, or nothing stands there any more.
///
/// # Errors
/// If it is there and does not open.
pub fn open_list(
    sealer: &dyn ListSealer,
    entry: &Entry,
    body: &Body,
) -> Result<Option<List>, String> {
    let (list, LogId::Client(client)) = (list_of(body), entry.log) else {
        return Ok(None);
    };
    let Some(commitment) = list else {
        return Ok(None);
    };
    if entry.attachment.is_empty() {
        return Ok(None);
    }
    let month = list::month(entry.wall_ms);
    match sealer.open_list(client, month, commitment, &entry.attachment) {
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

/// Whether a shape's rows are rows of one pinned table, one each: a SELECT without a join, a
/// subquery or a function before its FROM, or a COPY of a table. In doubt it is none.
fn is_of_one_table(shape: &str) -> bool {
    if let Some(copied) = shape.strip_prefix("COPY ") {
        return !copied.trim_start().starts_with('(');
    }
    let Some((shown, rest)) = shape.split_once(" FROM ") else {
        return false;
    };
    let words = |text: &str| -> Vec<String> {
        let apart = |c: char| !c.is_alphanumeric() && c != '_' && c != '"';
        text.split(apart).map(str::to_owned).collect()
    };
    let several = |word: &String| {
        let combines = [
            "FROM",
            "JOIN",
            "SELECT",
            "UNION",
            "INTERSECT",
            "EXCEPT",
            "GROUP",
        ];
        combines.contains(&word.as_str())
    };
    let ends = |word: &&str| !["WHERE", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR"].contains(word);
    let from: Vec<&str> = rest.split(' ').take_while(ends).collect();
    let from = from.join(" ");
    let pinned = |word: &String| word.starts_with(|c: char| c.is_lowercase() || c == '"');
    shown.starts_with("SELECT ")
        && !shown.contains('(')
        && !from.contains([',', '('])
        && words(&from).iter().any(pinned)
        && !words(rest).iter().any(several)
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
mod tests;
