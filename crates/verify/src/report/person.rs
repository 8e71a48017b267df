//! Whether and by whom one person was seen: the client officer's keys open the lists beside the
//! exposures, and beside files for company media, and the person's fingerprint is looked for. A list that does not open is counted, with
//! why: what it held is unknown. The person's value is never shown or kept.

use std::collections::BTreeMap;

use event::record::{Body, Who};
use event::{Class, Digest, Fingerprint, Plain};
use fingerprint::{ListKey, commitment, decode_list, month, open_list, open_month_key};
use serde_json::{Value, json};
use tlog::Bundle;

use super::{Period, Right, right};
use crate::check::Seen;
use crate::key::{KeyFile, OfficerFile};
use crate::places::{self, LISTS_BYTES_MAX, NOTE_BYTES_MAX, Tree};
use crate::store::Store;
use crate::time::At;

/// Sightings kept; more are counted.
const SIGHTINGS_MAX: usize = 10_000;

/// How a person was met.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The value was shown.
    Clear,
    /// A part of it was.
    Masked,
    /// It was searched for or written.
    Probed,
    /// It stood in a file that might be written to a company medium.
    Filed,
    /// It stood in one that might not.
    Refused,
}

/// Once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The record.
    pub index: u64,
    /// When.
    pub at: At,
    /// Who.
    pub actor: event::ActorId,
    /// The session.
    pub session: u64,
    /// By which right.
    pub right: Right,
    /// How.
    pub how: How,
}

/// Whom to look for.
#[derive(Debug)]
pub struct Person {
    class: Class,
    fingerprint: Fingerprint,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersonAnswer {
    /// The class of the value that was given.
    pub class: Class,
    /// Each time, in order.
    pub sightings: Vec<Sighting>,
    /// More than were kept.
    pub more: u64,
    /// Lists that were opened and searched.
    pub opened: u64,
    /// Lists that were not: by month and why, how many, and how many rows they are about.
    pub closed: BTreeMap<(u32, &'static str), (u64, u64)>,
}

/// Not `CLASS=VALUE`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "expected CLASS=VALUE, such as phone=090-1234-5678; classes: name, kana, address, phone, email, birth-date, customer-number"
)]
pub struct PersonError;

impl Person {
    /// From `CLASS=VALUE`.
    ///
    /// # Errors
    /// If it is not; the value is not in the error.
    pub fn parse(given: &Plain<String>, officer: &OfficerFile) -> Result<Self, PersonError> {
        let (class, value) = given.expose().split_once('=').ok_or(PersonError)?;
        let class: Class = class.parse().map_err(|_| PersonError)?;
        if value.trim().is_empty() {
            return Err(PersonError);
        }
        Ok(Self {
            class,
            fingerprint: officer.fingerprint.fingerprint(class, value),
        })
    }

    fn met(&self, code: u8, key: u64) -> Option<How> {
        let class = self.class.code();
        let how = match code {
            it if it == class => How::Clear,
            it if it == 0x20 | class => How::Masked,
            0x40 | 0x41 => How::Probed,
            _ => return None,
        };
        (key == self.fingerprint.0).then_some(how)
    }
}

/// The lists beside a bundle by entry, or why there are none.
type Beside = Result<BTreeMap<u8, Vec<u8>>, &'static str>;

/// Looks through the lists as the log is read.
pub(crate) struct Search<'a> {
    pub(crate) person: Person,
    officer: &'a OfficerFile,
    store: &'a dyn Store,
    tree: Tree,
    period: Period,
    months: BTreeMap<u32, Result<ListKey, &'static str>>,
    /// Beside one bundle.
    beside: Option<(u64, Beside)>,
    /// The log says that lists before this month were destroyed by age; 0: it does not.
    destroyed_before: u32,
    answer: PersonAnswer,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        person: Person,
        officer: &'a OfficerFile,
        key_file: &KeyFile,
        store: &'a dyn Store,
        period: Period,
    ) -> Self {
        let class = person.class;
        Self {
            person,
            officer,
            store,
            tree: key_file.tree(),
            period,
            months: BTreeMap::new(),
            beside: None,
            destroyed_before: 0,
            answer: PersonAnswer {
                class,
                sightings: Vec::new(),
                more: 0,
                opened: 0,
                closed: BTreeMap::new(),
            },
        }
    }

    pub(crate) fn visit(&mut self, seen: &Seen<'_>) {
        if let Body::ListsDestroyed { before } = seen.body {
            self.destroyed_before = self.destroyed_before.max(*before);
        }
        let (who, list, rows, in_file) = match seen.body {
            Body::Exposure(it) => (&it.who, &it.list, u64::from(it.rows), None),
            Body::TerminalCopy {
                who,
                list,
                subjects,
                refused,
                ..
            } => {
                let how = refused.map_or(How::Filed, |_| How::Refused);
                (who, list, *subjects, Some(how))
            }
            _ => return,
        };
        if !self.period.holds(seen.times) {
            return;
        }
        let month = month(seen.times.wall_ms);
        match self.open(seen.index, month, list) {
            Ok(list) => {
                self.answer.opened += 1;
                self.look(seen, (who, in_file), &list);
            }
            Err(why) => {
                let closed = self.answer.closed.entry((month, why)).or_default();
                closed.0 += 1;
                closed.1 += rows;
            }
        }
    }

    fn look(
        &mut self,
        seen: &Seen<'_>,
        (who, in_file): (&Who, Option<How>),
        list: &fingerprint::ListContent,
    ) {
        let entries = list.probes.iter().chain(&list.rows);
        let mut found: Vec<How> = entries
            .filter_map(|entry| self.person.met(entry.code, entry.key))
            .map(|how| in_file.unwrap_or(how))
            .collect();
        found.sort_unstable();
        found.dedup();
        for how in found {
            if self.answer.sightings.len() >= SIGHTINGS_MAX {
                self.answer.more += 1;
                continue;
            }
            self.answer.sightings.push(Sighting {
                index: seen.index,
                at: At(seen.times.wall_ms),
                actor: who.actor,
                session: who.session.0,
                right: right(who),
                how,
            });
        }
    }

    fn open(
        &mut self,
        index: u64,
        month: u32,
        list: &Digest,
    ) -> Result<fingerprint::ListContent, &'static str> {
        let number = index >> 8;
        if self.beside.as_ref().is_none_or(|it| it.0 != number) {
            let lists = self.lists(number);
            self.beside = Some((number, lists));
        }
        let (store, tree, officer) = (self.store, self.tree, self.officer);
        let key = self
            .months
            .entry(month)
            .or_insert_with(|| month_key(store, tree, officer, month));
        let key = key.as_ref().map_err(|why| *why)?;
        let beside = self.beside.as_ref().map(|it| &it.1);
        let lists = beside.ok_or("missing")?.as_ref().map_err(|why| *why)?;
        let sealed = lists.get(&((index & 0xff) as u8)).ok_or("missing")?;
        let plain = open_list(key, &list.0, sealed).map_err(|_| "does-not-open")?;
        if commitment(plain.expose()) != *list {
            return Err("other-list");
        }
        let list = decode_list(plain.expose()).ok_or("unknown-version")?;
        let known = |code: u8| matches!(code, 0x01..=0x08 | 0x10 | 0x21..=0x28 | 0x40 | 0x41);
        let all = list.probes.iter().chain(&list.rows);
        if !all.into_iter().all(|entry| known(entry.code)) {
            return Err("unknown-version");
        }
        Ok(list)
    }

    /// The lists beside a bundle.
    fn lists(&self, number: u64) -> Beside {
        let bundle = Bundle::new(number, 256).ok_or("missing")?;
        let path = places::lists(self.tree, bundle);
        let bytes = self.store.read(&path, LISTS_BYTES_MAX);
        let bytes = bytes.map_err(|_| "unreadable")?.ok_or("missing")?;
        let mut found = BTreeMap::new();
        let mut rest = &bytes[..];
        while let Some((&index, after)) = rest.split_first() {
            let taken = after.split_first_chunk::<4>().and_then(|(length, after)| {
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                after.split_at_checked(length)
            });
            // What came before a cut still counts.
            let Some((list, after)) = taken else { break };
            found.insert(index, list.to_vec());
            rest = after;
        }
        Ok(found)
    }

    pub(crate) fn finish(mut self) -> PersonAnswer {
        // What the log says was destroyed is not missed; what it does not say is.
        let closed = std::mem::take(&mut self.answer.closed);
        for ((month, why), (lists, rows)) in closed {
            let by_age = month < self.destroyed_before && matches!(why, "no-key" | "missing");
            let why = if by_age { "by-age" } else { why };
            let sum = self.answer.closed.entry((month, why)).or_default();
            sum.0 += lists;
            sum.1 += rows;
        }
        self.answer
    }
}

fn month_key(
    store: &dyn Store,
    tree: Tree,
    officer: &OfficerFile,
    month: u32,
) -> Result<ListKey, &'static str> {
    let found = store.read(&places::month_key(tree, month), NOTE_BYTES_MAX);
    let bytes = found.map_err(|_| "unreadable")?.ok_or("no-key")?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "bad-key")?;
    open_month_key(&officer.lists, officer.client, month, text).map_err(|_| "bad-key")
}

impl PersonAnswer {
    pub(super) fn json(&self) -> Value {
        let sightings: Vec<Value> = self
            .sightings
            .iter()
            .map(|it| {
                let (role, grant) = match it.right {
                    Right::Role(role) => (Some(role.name()), None),
                    Right::Grant(grant) => (None, Some(grant.0)),
                };
                json!({ "entry": it.index, "at_ms": it.at, "actor": it.actor.0,
                        "session": it.session, "role": role, "grant": grant, "how": it.how })
            })
            .collect();
        let closed: Vec<Value> = self
            .closed
            .iter()
            .map(|((month, why), (lists, rows))| {
                json!({ "month": month, "why": why, "lists": lists, "rows": rows })
            })
            .collect();
        json!({
            "class": self.class.name(),
            "seen": sightings,
            "more": self.more,
            "lists_opened": self.opened,
            "lists_closed": closed,
        })
    }
}
