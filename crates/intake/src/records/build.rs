//! Values of a line to a record.

use event::record::{FindingKind, RefusalReason};
use event::{ActorId, ClientId, Role};
use watch::{Call, Exposure, Order, Part, Record, TerminalEvent, What};

use super::field::{Field, folded};
use super::value::{Value, Values};
use crate::names::Names;
use crate::summary::{Note, Reason, Summary};

/// The words of `reason`.
pub(super) const REASONS: [(&str, RefusalReason); 12] = [
    ("subject-budget", RefusalReason::SubjectBudget),
    ("probe-budget", RefusalReason::ProbeBudget),
    ("masked-budget", RefusalReason::MaskedBudget),
    ("policy", RefusalReason::Policy),
    ("grant", RefusalReason::Grant),
    ("statement", RefusalReason::Statement),
    ("pin", RefusalReason::Pin),
    ("value", RefusalReason::Value),
    ("ledger", RefusalReason::Ledger),
    ("key", RefusalReason::Key),
    ("login", RefusalReason::Login),
    ("revoked", RefusalReason::Revoked),
];

/// The words of `finding`.
pub(super) const FINDINGS: [(&str, FindingKind); 5] = [
    ("cell-does-not-verify", FindingKind::CellDoesNotVerify),
    ("cell-out-of-place", FindingKind::CellOutOfPlace),
    ("cell-out-of-scope", FindingKind::CellOutOfScope),
    ("pin-differs", FindingKind::PinDiffers),
    ("unexpected-cells", FindingKind::UnexpectedCells),
];

/// The words of `event`.
pub(super) const EVENTS: [(&str, TerminalEvent); 5] = [
    ("file-written", TerminalEvent::FileWritten),
    ("media-attached", TerminalEvent::MediaAttached),
    ("media-refused", TerminalEvent::MediaRefused),
    ("media-written", TerminalEvent::MediaWritten),
    ("sent", TerminalEvent::Sent),
];

/// What a line becomes a record with.
pub(super) struct Line<'a, 'v> {
    pub(super) values: &'a Values<'v>,
    /// How many keys it gave.
    pub(super) keys: usize,
    pub(super) number: u64,
    pub(super) offset_minutes: i32,
    pub(super) names: &'a mut Names,
    pub(super) summary: &'a mut Summary,
}

impl Line<'_, '_> {
    /// The record, without its keys.
    pub(super) fn record(&mut self) -> Result<Record<'static>, Reason> {
        let at_ms = self.time(Field::Time)?;
        let at_ms = at_ms.ok_or(Reason::Missing(Field::Time.name()))?;
        let sequence = self.values.count(Field::Sequence)?.unwrap_or(self.number);
        let what = self.what(at_ms)?;
        Ok(Record {
            sequence,
            at_ms,
            what,
        })
    }

    fn what(&mut self, at_ms: u64) -> Result<What<'static>, Reason> {
        let values = self.values;
        let kind = values.text(Field::Kind)?.unwrap_or("exposure");
        let count = || values.count32(Field::Count).map(|count| count.unwrap_or(1));
        Ok(match &*folded(kind, '-') {
            "exposure" => What::Exposure(self.exposure()?),
            "call" => What::Call(self.call(at_ms)?),
            "session-opened" => {
                let actor = self.actor()?;
                What::SessionOpened {
                    actor,
                    role: self.role(actor)?,
                    session: self.names.session(values.needed(Field::Session)?),
                    terminal: self.names.terminal(values.needed(Field::Terminal)?),
                }
            }
            "session-closed" => What::SessionClosed {
                session: self.names.session(values.needed(Field::Session)?),
            },
            "actor" => {
                let actor = self.actor()?;
                What::Actor {
                    actor,
                    role: self.role(actor)?,
                    active: values.yes(Field::Active)?.unwrap_or(true),
                }
            }
            "away" => What::Away {
                actor: self.actor()?,
                from_ms: self.time(Field::From)?.unwrap_or(at_ms),
                until_ms: self.until()?,
            },
            "granted" => What::Granted {
                grant: self.names.grant(values.needed(Field::Grant)?)?,
                actor: self.actor()?,
                client: self.client()?,
                amount: values
                    .count(Field::Amount)?
                    .ok_or(Reason::Missing(Field::Amount.name()))?,
                until_ms: self.until()?,
            },
            "grant-ended" => What::GrantEnded {
                grant: self.names.grant(values.needed(Field::Grant)?)?,
            },
            "refused" => What::Refused {
                actor: self.optional_actor()?,
                client: self.optional_client()?,
                reason: self.word(Field::Reason, &REASONS)?,
                count: count()?,
            },
            "gate" => What::Gate {
                actor: self.actor()?,
                client: self.optional_client()?,
                kind: self.word(Field::Finding, &FINDINGS)?,
                count: count()?,
            },
            "canary" => What::Canary {
                client: self.client()?,
                subject: self
                    .key(Field::Subject)?
                    .ok_or(Reason::Missing(Field::Subject.name()))?,
            },
            "terminal" => What::Terminal {
                terminal: self.names.terminal(values.needed(Field::Terminal)?),
                actor: self.optional_actor()?,
                event: self.word(Field::Event, &EVENTS)?,
                bytes: values.count(Field::Bytes)?.unwrap_or(0),
            },
            "returned" => What::Returned {
                rows: values
                    .count(Field::Rows)?
                    .ok_or(Reason::Missing(Field::Rows.name()))?,
                accounted: values
                    .count(Field::Accounted)?
                    .ok_or(Reason::Missing(Field::Accounted.name()))?,
            },
            "alive" => What::Alive { part: self.part()? },
            "stopped" => What::Stopped { part: self.part()? },
            "gap" => What::Gap {
                part: self.part()?,
                from_ms: self
                    .time(Field::From)?
                    .ok_or(Reason::Missing(Field::From.name()))?,
                until_ms: self.time(Field::Until)?.unwrap_or(at_ms),
                missing: values.count(Field::Missing)?.unwrap_or(0),
            },
            "rebaselined" => What::Rebaselined {
                actor: self.actor()?,
            },
            "lists-destroyed" => What::ListsDestroyed {
                client: self.client()?,
            },
            "tick" => What::Tick,
            _ => {
                self.summary.unknown_kinds.add(kind);
                return Err(Reason::UnknownKind);
            }
        })
    }

    fn exposure(&mut self) -> Result<Exposure<'static>, Reason> {
        let values = self.values;
        let actor = self.actor()?;
        let client = self.client()?;
        let rows = values.count32(Field::Rows)?;
        let probes = values.count32(Field::Probes)?;
        let masked = values.count32(Field::Masked)?;
        let subjects = match (values.count32(Field::Subjects)?, values.has(Field::Keys)) {
            (Some(subjects), _) => subjects,
            (None, true) => {
                u32::try_from(self.keys).map_err(|_| Reason::TooGreat(Field::Keys.name()))?
            }
            (None, false) => match rows {
                Some(rows) => rows,
                None if probes.is_some() || masked.is_some() => 0,
                None => return Err(Reason::Missing(Field::Subjects.name())),
            },
        };
        if *values.get(Field::Keys) == Value::Other {
            return Err(Reason::Wrong(Field::Keys.name()));
        }
        let session = values.name(Field::Session)?;
        Ok(Exposure {
            actor,
            role: self.role(actor)?,
            session: session.map(|name| self.names.session(name)),
            client,
            grant: match values.name(Field::Grant)? {
                Some(name) => Some(self.names.grant(name)?),
                None => None,
            },
            rows: rows.unwrap_or(0),
            subjects,
            new: values.count32(Field::New)?,
            masked: masked.unwrap_or(0),
            probes: probes.unwrap_or(0),
            missed: values.count32(Field::Missed)?,
            order: self.order()?,
            shape: self.key(Field::Shape)?.unwrap_or(0),
            keys: &[],
        })
    }

    fn order(&self) -> Result<Order, Reason> {
        if *self.values.get(Field::Order) == Value::Other {
            return Err(Reason::Wrong(Field::Order.name()));
        }
        let count = |field| self.values.count32(field).map(|count| count.unwrap_or(0));
        Ok(Order {
            pairs: count(Field::OrderPairs)?,
            ascending: count(Field::OrderAscending)?,
            near: count(Field::OrderNear)?,
        })
    }

    fn call(&mut self, at_ms: u64) -> Result<Call, Reason> {
        let from_ms = self.time(Field::From)?.unwrap_or(at_ms);
        Ok(Call {
            actor: self.actor()?,
            client: self.client()?,
            subject: self.key(Field::Subject)?,
            from_ms,
            until_ms: self.time(Field::Until)?.unwrap_or(from_ms),
        })
    }

    fn part(&mut self) -> Result<Part, Reason> {
        let values = self.values;
        let part = values.text(Field::Part)?.unwrap_or("source");
        Ok(match &*folded(part, '-') {
            "gate" => Part::Gate,
            "source" => Part::Source,
            "counters" => Part::Counters,
            "witness" => Part::Witness(
                values
                    .count32(Field::Witness)?
                    .ok_or(Reason::Missing(Field::Witness.name()))?,
            ),
            "terminal" => Part::Terminal(self.names.terminal(values.needed(Field::Terminal)?)),
            "calls" => Part::Calls(self.client()?),
            _ => return Err(Reason::Wrong(Field::Part.name())),
        })
    }

    fn time(&self, field: Field) -> Result<Option<u64>, Reason> {
        self.values.time(field, self.offset_minutes)
    }

    fn until(&self) -> Result<u64, Reason> {
        self.time(Field::Until)?
            .ok_or(Reason::Missing(Field::Until.name()))
    }

    fn actor(&mut self) -> Result<ActorId, Reason> {
        self.names.actor(self.values.needed(Field::Actor)?)
    }

    fn optional_actor(&mut self) -> Result<Option<ActorId>, Reason> {
        let name = self.values.name(Field::Actor)?;
        name.map(|name| self.names.actor(name)).transpose()
    }

    fn client(&mut self) -> Result<ClientId, Reason> {
        self.names.client(self.values.needed(Field::Client)?)
    }

    fn optional_client(&mut self) -> Result<Option<ClientId>, Reason> {
        let name = self.values.name(Field::Client)?;
        name.map(|name| self.names.client(name)).transpose()
    }

    fn key(&self, field: Field) -> Result<Option<u64>, Reason> {
        match self.values.get(field) {
            Value::Absent => Ok(None),
            value => value.key().map(Some).ok_or(Reason::Wrong(field.name())),
        }
    }

    /// The actor's role: the one given, or else the one given last.
    fn role(&mut self, actor: ActorId) -> Result<Role, Reason> {
        let given = match self.values.text(Field::Role)? {
            None => None,
            Some(text) => {
                let role = folded(text, '-').parse().ok();
                if role.is_none() {
                    self.summary.note(Note::UnknownRole, self.number);
                }
                role
            }
        };
        Ok(self.names.role(actor, given))
    }

    fn word<T: Copy>(&self, field: Field, words: &[(&str, T)]) -> Result<T, Reason> {
        let given = self.values.text(field)?;
        let given = folded(given.ok_or(Reason::Missing(field.name()))?, '-');
        let found = words.iter().find(|(word, _)| *word == given);
        found
            .map(|(_, meant)| *meant)
            .ok_or(Reason::Wrong(field.name()))
    }
}
