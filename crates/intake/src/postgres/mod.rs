//! Logs of PostgreSQL: its csvlog, and what the extension pgAudit writes into csvlog or the ordinary
//! log.
//!
//! Invariants: of a statement's text the first words say what kind it is, and whether it names a table
//! that was asked for; nothing of it is kept, counted by name or shown. Rows are those that pgAudit
//! counted (`pgaudit.log_rows`); where nobody counted, a read is one of unknown size, and noted as such.

mod audit;
mod entry;
mod prefix;
mod statement;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::BufRead;

use event::ClientId;
use event::record::RefusalReason;
use watch::{Exposure, Order, Record, What};

use crate::key;
use crate::names::{Name, Names};
use crate::source::{ReadError, Source, Taken};
use crate::summary::{Note, Reason, Summary};
use crate::time;
use entry::{Entries, LogEntry};
pub use prefix::{BadPrefix, Prefix};
use statement::Kind;

/// Sessions of which the last statement is remembered, so that a join is not counted twice.
const SESSIONS_MAX: usize = 1 << 16;

/// What in the log says who read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    /// pgAudit's lines.
    Audit,
    /// PostgreSQL's own (`log_statement`, `log_min_duration_statement`).
    Statements,
}

/// How a log of PostgreSQL is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// What says who read.
    pub says: Says,
    /// `log_line_prefix` of the ordinary log.
    pub prefix: Prefix,
    /// Tables that hold personal data, with or without their schema, in small letters; none: all but
    /// PostgreSQL's own.
    pub tables: Vec<String>,
    /// The client whose customers' data it is; `None`: each database is one.
    pub client: Option<String>,
    /// What a read counts of which nobody counted the rows.
    pub unknown_rows: u32,
    /// Minutes that times are ahead of UTC whose zone says nothing.
    pub offset_minutes: i32,
}

impl Options {
    /// The usual: Debian's `log_line_prefix`, each database a client, Japan.
    pub fn new(says: Says) -> Self {
        Self {
            says,
            prefix: Prefix::default(),
            tables: Vec::new(),
            client: None,
            unknown_rows: 1,
            offset_minutes: 540,
        }
    }
}

/// Records of a log.
///
/// # Errors
/// If it cannot be read.
pub fn open<'a>(
    reader: impl BufRead + 'a,
    options: Options,
) -> Result<Box<dyn Source + 'a>, ReadError> {
    let entries = Entries::open(reader, &options.prefix)?;
    Ok(Box::new(Log {
        entries,
        reading: Reading {
            options,
            statements: HashMap::new(),
            names_relations: false,
            summary: Summary::default(),
        },
    }))
}

struct Log<R> {
    entries: Entries<R>,
    reading: Reading,
}

/// What is made of entries.
struct Reading {
    options: Options,
    /// The last statement of each session that counted.
    statements: HashMap<u64, u64>,
    /// pgAudit names relations (`pgaudit.log_relation`): what names none then reads none.
    names_relations: bool,
    summary: Summary,
}

impl<R: BufRead> Source for Log<R> {
    fn next(&mut self, names: &mut Names, taken: &mut Taken) -> Result<bool, ReadError> {
        while let Some((line, entry)) = self.entries.next()? {
            let summary = &mut self.reading.summary;
            summary.lines += 1;
            let record = entry.and_then(|entry| self.reading.record(&entry, line, names));
            match record {
                Ok(Some(record)) => {
                    self.reading.summary.record(record.at_ms);
                    taken.keys.clear();
                    taken.set(record);
                    return Ok(true);
                }
                Ok(None) => {}
                Err(reason) => self.reading.summary.skip(reason, line),
            }
        }
        Ok(false)
    }

    fn summary(&self) -> &Summary {
        &self.reading.summary
    }
}

impl Reading {
    /// The record that an entry is; `None`: it is not about access.
    fn record(
        &mut self,
        entry: &LogEntry<'_>,
        line: u64,
        names: &mut Names,
    ) -> Result<Option<Record<'static>>, Reason> {
        let message = entry.message;
        let what = if let Some(payload) = message.strip_prefix("AUDIT: ") {
            match self.options.says {
                Says::Audit => self.audited(entry, payload, line, names)?,
                Says::Statements => self.pass("lines of pgAudit"),
            }
        } else if message.starts_with("connection authorized:") {
            self.opened(entry, names)?
        } else if message.starts_with("disconnection:") {
            match Name::of(entry.session) {
                Some(session) => Some(What::SessionClosed {
                    session: names.session(session),
                }),
                None => self.pass("ends of sessions without a session id"),
            }
        } else if entry.severity == "FATAL" && entry.state.starts_with("28") {
            self.refused(entry, RefusalReason::Login, names)?
        } else if entry.severity == "ERROR" && entry.state == "42501" {
            self.refused(entry, RefusalReason::Policy, names)?
        } else {
            match (self.options.says, statement::of(message)) {
                (Says::Statements, Some(text)) => self.stated(entry, text, line, names)?,
                _ => self.pass(entry.severity_word()),
            }
        };
        let Some(what) = what else { return Ok(None) };
        let at_ms = self.time(entry.time, line)?;
        Ok(Some(Record {
            sequence: line,
            at_ms,
            what,
        }))
    }

    fn pass(&mut self, what: &str) -> Option<What<'static>> {
        self.summary.passed_over.add(what);
        None
    }

    /// What a line of pgAudit is.
    fn audited(
        &mut self,
        entry: &LogEntry<'_>,
        payload: &str,
        line: u64,
        names: &mut Names,
    ) -> Result<Option<What<'static>>, Reason> {
        let audit = audit::read(payload).ok_or(Reason::Form("a line of pgAudit"))?;
        self.names_relations |= !audit.object.is_empty();
        if audit.class != "READ" {
            return Ok(self.pass(match audit.class.as_ref() {
                "WRITE" => "pgAudit WRITE",
                "DDL" => "pgAudit DDL",
                "ROLE" => "pgAudit ROLE",
                "FUNCTION" => "pgAudit FUNCTION",
                "MISC" | "MISC_SET" => "pgAudit MISC",
                _ => "pgAudit, other classes",
            }));
        }
        if audit.command == "PREPARE" {
            return Ok(self.pass("pgAudit PREPARE"));
        }
        let counts = audit.command == "SELECT";
        let known = match (counts, audit.object.is_empty()) {
            (true, false) => self.is_asked_for(&audit.object, &audit.object_type),
            (true, true) if self.names_relations => false,
            // Without a relation, the text has to say which one it is.
            _ => self.names_a_table(&audit.statement),
        };
        if !known {
            return Ok(self.pass("reads of other relations"));
        }
        // A join has a line for each relation, and COPY of a query one for the query.
        let session = key::of_text(match entry.session {
            "" => entry.pid,
            session => session,
        });
        if self.statements.get(&session) == Some(&audit.statement_id) {
            return Ok(self.pass("further lines of a statement"));
        }
        if self.statements.len() >= SESSIONS_MAX {
            self.statements.clear();
        }
        self.statements.insert(session, audit.statement_id);
        let rows = audit.rows.filter(|_| counts);
        if rows == Some(0) {
            return Ok(self.pass("reads that found nothing"));
        }
        self.shown(entry, rows, line, names).map(Some)
    }

    /// What a statement in PostgreSQL's own lines is.
    fn stated(
        &mut self,
        entry: &LogEntry<'_>,
        text: &str,
        line: u64,
        names: &mut Names,
    ) -> Result<Option<What<'static>>, Reason> {
        if statement::kind(text) != Kind::Reads {
            return Ok(self.pass("statements that read nothing"));
        }
        if !self.names_a_table(text) {
            return Ok(self.pass("reads of other relations"));
        }
        self.shown(entry, None, line, names).map(Some)
    }

    /// Whether a relation that pgAudit names was asked for.
    fn is_asked_for(&self, object: &str, object_type: &str) -> bool {
        let object = object.to_lowercase();
        if self.options.tables.is_empty() {
            let own = ["pg_catalog.", "information_schema.", "pg_toast."];
            return !own.iter().any(|schema| object.starts_with(schema))
                && object_type != "SEQUENCE"
                && object_type != "INDEX";
        }
        let short = object.rsplit('.').next().unwrap_or(&object);
        let tables = &self.options.tables;
        tables
            .iter()
            .any(|table| *table == object || table == short)
    }

    /// Whether a statement names a table that was asked for; with none asked for, anything but
    /// PostgreSQL's own.
    fn names_a_table(&self, text: &str) -> bool {
        if self.options.tables.is_empty() {
            return statement::reads_a_table(text);
        }
        let tables = self.options.tables.iter();
        tables
            .map(|table| table.rsplit('.').next().unwrap_or(table))
            .any(|table| statement::has_word(text, table))
    }

    fn shown(
        &mut self,
        entry: &LogEntry<'_>,
        rows: Option<u64>,
        line: u64,
        names: &mut Names,
    ) -> Result<What<'static>, Reason> {
        let actor = names.actor(Name::of(entry.user).ok_or(Reason::Missing("user name"))?)?;
        let client = self.client(entry, names)?;
        let rows = match rows {
            Some(rows) => u32::try_from(rows).unwrap_or(u32::MAX),
            None => {
                self.summary.note(Note::RowsUnknown, line);
                self.options.unknown_rows
            }
        };
        Ok(What::Exposure(Exposure {
            actor,
            role: names.role(actor, None),
            session: Name::of(entry.session).map(|session| names.session(session)),
            client,
            grant: None,
            rows,
            subjects: rows,
            new: None,
            masked: 0,
            probes: 0,
            missed: None,
            order: Order::default(),
            shape: 0,
            keys: &[],
        }))
    }

    fn client(&self, entry: &LogEntry<'_>, names: &mut Names) -> Result<ClientId, Reason> {
        let client = self.options.client.as_deref().unwrap_or(entry.database);
        names.client(Name::of(client).ok_or(Reason::Missing("database name"))?)
    }

    fn opened(
        &mut self,
        entry: &LogEntry<'_>,
        names: &mut Names,
    ) -> Result<Option<What<'static>>, Reason> {
        let (Some(user), Some(session)) = (Name::of(entry.user), Name::of(entry.session)) else {
            return Ok(self.pass("logins without a session id"));
        };
        let actor = names.actor(user)?;
        Ok(Some(What::SessionOpened {
            actor,
            role: names.role(actor, None),
            session: names.session(session),
            terminal: names.terminal(Name::of(entry.host).unwrap_or(Name::Text("unknown"))),
        }))
    }

    fn refused(
        &mut self,
        entry: &LogEntry<'_>,
        reason: RefusalReason,
        names: &mut Names,
    ) -> Result<Option<What<'static>>, Reason> {
        let actor = Name::of(entry.user).map(|user| names.actor(user));
        Ok(Some(What::Refused {
            actor: actor.transpose()?,
            client: None,
            reason,
            count: 1,
        }))
    }

    fn time(&mut self, text: &str, line: u64) -> Result<u64, Reason> {
        let offset = self.options.offset_minutes;
        if let Some(at_ms) = time::read(text, offset) {
            return Ok(at_ms);
        }
        // An abbreviation that means different things in different places.
        let wrong = Reason::Wrong("time");
        let (local_ms, zone) = time::clock(text.trim()).ok_or(wrong)?;
        if zone.is_empty() || !zone.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong);
        }
        self.summary.note(Note::UnknownZone, line);
        u64::try_from(local_ms - i64::from(offset) * 60_000).map_err(|_| wrong)
    }
}
