//! The client's own answer: who saw how many of my customers, when, by which right. Folded from the
//! records while they are verified; shown only if the whole log holds.

mod cases;
mod html;
mod person;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use event::record::{Body, Exposure, RefusalReason, Who};
use event::{ActorId, GrantId, Outcome, Role};

use crate::check::{CheckError, Checked, Question, Seen, check};
use crate::entry::Times;
use crate::key::{KeyFile, OfficerFile};
use crate::places::{Tree, hex};
use crate::problem::{Problem, Severity};
use crate::time::{At, Date, Offset};

pub use person::{How, Person, PersonAnswer, PersonError, Sighting};

/// Names of actors, by number.
pub type Names = BTreeMap<u32, String>;

/// Of which days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// The first day, counted from 1970-01-01; `None`: from the log's first on.
    pub since: Option<u64>,
    /// The last day, included; `None`: to the log's end.
    pub until: Option<u64>,
    /// What a day is.
    pub offset: Offset,
}

/// By which right something was done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Right {
    /// Within the budget of a role.
    Role(Role),
    /// Under a grant.
    Grant(GrantId),
}

/// One actor on one day by one right.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Line {
    /// Records of exposures and probes.
    pub records: u64,
    /// Rows released.
    pub rows: u64,
    /// Subjects that were charged: distinct within the budget's windows.
    pub subjects: u64,
    /// Of these, never seen before by this actor.
    pub new: u64,
    /// Cells in clear.
    pub clear: u64,
    /// Cells masked.
    pub masked: u64,
    /// Values searched for or written.
    pub probes: u64,
    /// Refusals.
    pub refusals: u64,
    /// Findings of the gate.
    pub findings: u64,
}

/// A session's sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// Whose.
    pub actor: ActorId,
    /// First and last record in the period.
    pub span: (At, At),
    /// Its numbers.
    pub line: Line,
}

/// Files for company media of one person under one grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Files {
    /// The first and the last one, ms.
    #[serde(rename = "span_ms")]
    pub span: (At, At),
    /// Files that might be written.
    pub let_out: u64,
    /// Their bytes.
    pub bytes: u64,
    /// People in them; who is in two counts twice.
    pub people: u64,
    /// Files that might not.
    pub refused: u64,
}

/// The key of a line.
pub type LineKey = (u64, ActorId, Right);

/// The fold.
#[derive(Clone, Debug)]
pub struct Report {
    period: Period,
    lines: BTreeMap<LineKey, Line>,
    sessions: BTreeMap<u64, Session>,
    refusals: BTreeMap<u8, u64>,
    /// Refusals before login or counted together, by day.
    nobody: BTreeMap<u64, u64>,
    actors: BTreeSet<ActorId>,
    /// When the officer's file was made, and by whom.
    officer_files: Vec<(At, ActorId)>,
    /// Files for company media, by whom and under which grant.
    files: BTreeMap<(ActorId, Option<GrantId>), Files>,
    /// From when on at most how many people are shown before their receipts are acknowledged.
    receipt_caps: Vec<(At, Option<u64>)>,
    cases: cases::Cases,
    total: Line,
}

/// A report on a log that was verified.
#[derive(Clone, Debug)]
pub struct Verified<'a> {
    /// Whose.
    pub key_file: &'a KeyFile,
    /// What was found; nothing that is wrong.
    pub checked: &'a Checked,
    /// The numbers.
    pub report: Report,
    /// About one person, if it was asked.
    pub person: Option<PersonAnswer>,
    /// Names of actors.
    pub names: &'a Names,
}

/// Why there is no report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReportError {
    /// The log is not what it must be.
    #[error("the log is not verified, so nothing is reported")]
    NotVerified,
    /// The period lies before the log's first entry.
    #[error("your log begins on {first}: it says nothing of the time before, up to {until}")]
    Before {
        /// The log's first day.
        first: Date,
        /// The period's last day.
        until: Date,
    },
    /// The period lies after the log's newest leaf.
    #[error("your copy ends on {last}: it says nothing of the time from {since} on")]
    After {
        /// The last day that is covered.
        last: Date,
        /// The period's first day.
        since: Date,
    },
}

impl ReportError {
    /// A sentence.
    pub fn say(&self, lang: crate::lang::Lang) -> String {
        use crate::lang::Lang;
        match (self, lang) {
            (_, Lang::En) => self.to_string(),
            (Self::NotVerified, Lang::Ja) => "ログを検証できないため、報告しません".into(),
            (Self::Before { first, until }, Lang::Ja) => {
                format!("ログは {first} に始まります。{until} までのことは分かりません")
            }
            (Self::After { last, since }, Lang::Ja) => {
                format!("写しは {last} までです。{since} からのことは分かりません")
            }
        }
    }
}

impl Period {
    /// Whether a time lies in it.
    pub fn holds(&self, times: Times) -> bool {
        let day = self.offset.day(At(times.wall_ms));
        self.since.is_none_or(|since| since <= day) && self.until.is_none_or(|until| day <= until)
    }
}

fn right(who: &Who) -> Right {
    who.grant.map_or(Right::Role(who.role), Right::Grant)
}

impl Line {
    fn exposure(exposure: &Exposure) -> Self {
        let cells = |outcome| {
            let of = exposure.classes.iter().filter(|it| it.outcome == outcome);
            of.map(|it| u64::from(it.cells)).sum()
        };
        Self {
            records: 1,
            rows: u64::from(exposure.rows),
            subjects: exposure.subjects.charged,
            new: exposure.subjects.newly_distinct,
            clear: cells(Outcome::Clear),
            masked: cells(Outcome::Masked),
            probes: u64::from(exposure.probes),
            ..Self::default()
        }
    }

    fn add(&mut self, other: &Self) {
        let all = [
            (&mut self.records, other.records),
            (&mut self.rows, other.rows),
            (&mut self.subjects, other.subjects),
            (&mut self.new, other.new),
            (&mut self.clear, other.clear),
            (&mut self.masked, other.masked),
            (&mut self.probes, other.probes),
            (&mut self.refusals, other.refusals),
            (&mut self.findings, other.findings),
        ];
        for (sum, more) in all {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Report {
    /// Of a period.
    pub fn new(period: Period) -> Self {
        Self {
            period,
            lines: BTreeMap::new(),
            sessions: BTreeMap::new(),
            refusals: BTreeMap::new(),
            nobody: BTreeMap::new(),
            actors: BTreeSet::new(),
            officer_files: Vec::new(),
            receipt_caps: Vec::new(),
            files: BTreeMap::new(),
            cases: cases::Cases::default(),
            total: Line::default(),
        }
    }

    /// Takes a record.
    pub fn visit(&mut self, seen: &Seen<'_>) {
        if !self.period.holds(seen.times) {
            return;
        }
        match seen.body {
            Body::Exposure(exposure) => {
                self.take(seen.times, &exposure.who, &Line::exposure(exposure));
            }
            Body::Refused {
                who, reason, count, ..
            } => {
                let refusals = u64::from(*count);
                *self.refusals.entry(*reason as u8).or_default() += refusals;
                let line = Line {
                    refusals,
                    ..Line::default()
                };
                match who {
                    Some(who) => self.take(seen.times, who, &line),
                    None => {
                        let day = self.period.offset.day(At(seen.times.wall_ms));
                        *self.nobody.entry(day).or_default() += refusals;
                        self.total.add(&line);
                    }
                }
            }
            Body::Finding { who, count, .. } => {
                let line = Line {
                    findings: u64::from(*count),
                    ..Line::default()
                };
                self.take(seen.times, who, &line);
            }
            Body::OfficerFile { by } => {
                self.officer_files.push((At(seen.times.wall_ms), *by));
            }
            Body::TerminalCopy {
                who,
                bytes,
                subjects,
                refused,
                ..
            } => {
                let at = At(seen.times.wall_ms);
                let files = self.files.entry((who.actor, who.grant)).or_insert(Files {
                    span: (at, at),
                    let_out: 0,
                    bytes: 0,
                    people: 0,
                    refused: 0,
                });
                files.span.1 = at;
                if refused.is_some() {
                    files.refused += 1;
                } else {
                    files.let_out += 1;
                    files.bytes = files.bytes.saturating_add(*bytes);
                    files.people = files.people.saturating_add(*subjects);
                }
                self.actors.insert(who.actor);
            }
            Body::ReceiptCap { subjects } => {
                self.receipt_caps.push((At(seen.times.wall_ms), *subjects));
            }
            body => self.cases.visit(At(seen.times.wall_ms), body),
        }
    }

    fn take(&mut self, times: Times, who: &Who, line: &Line) {
        let at = At(times.wall_ms);
        let key = (self.period.offset.day(at), who.actor, right(who));
        self.lines.entry(key).or_default().add(line);
        let session = self.sessions.entry(who.session.0).or_insert(Session {
            actor: who.actor,
            span: (at, at),
            line: Line::default(),
        });
        session.span.1 = at;
        session.line.add(line);
        self.actors.insert(who.actor);
        self.total.add(line);
    }

    /// The lines, by day, actor and right.
    pub fn lines(&self) -> &BTreeMap<LineKey, Line> {
        &self.lines
    }

    /// The sum of all lines.
    pub fn total(&self) -> &Line {
        &self.total
    }
}

impl<'a> Verified<'a> {
    /// The report, if the log holds and reaches the period.
    ///
    /// # Errors
    /// If not.
    pub fn new(
        key_file: &'a KeyFile,
        checked: &'a Checked,
        report: Report,
        person: Option<PersonAnswer>,
        names: &'a Names,
    ) -> Result<Self, ReportError> {
        if !checked.is_verified() {
            return Err(ReportError::NotVerified);
        }
        let period = report.period;
        let (first, last) = (checked.summary.first_ms, checked.summary.newest_ms);
        if let (Some(first), Some(until)) = (first, period.until) {
            let first = period.offset.day(At(first));
            if until < first {
                let (first, until) = (Date::of_day(first), Date::of_day(until));
                return Err(ReportError::Before { first, until });
            }
        }
        if let (Some(last), Some(since)) = (last, period.since) {
            let last = period.offset.day(At(last));
            if last < since {
                let (last, since) = (Date::of_day(last), Date::of_day(since));
                return Err(ReportError::After { last, since });
            }
        }
        Ok(Self {
            key_file,
            checked,
            report,
            person,
            names,
        })
    }

    fn day(&self, at: u64) -> u64 {
        self.report.period.offset.day(At(at))
    }

    /// The first and last day that the report can speak of.
    fn days(&self) -> (Date, Date) {
        let summary = &self.checked.summary;
        let period = self.report.period;
        let first = summary.first_ms.map_or(0, |at| self.day(at));
        let last = summary.newest_ms.map_or(first, |at| self.day(at));
        let since = period.since.unwrap_or(first).max(first);
        let until = period.until.unwrap_or(last).min(last);
        (Date::of_day(since), Date::of_day(until))
    }

    /// Intervals in the period for which something cannot be vouched for.
    fn doubts(&self) -> Vec<&Problem> {
        let within = |from: At, to: At| {
            let (first, last) = (self.day(from.0), self.day(to.0));
            let period = self.report.period;
            period.since.is_none_or(|since| last >= since)
                && period.until.is_none_or(|until| first <= until)
        };
        let found = self.checked.problems.found().iter();
        found
            .filter(|problem| match problem {
                Problem::Interval { from, to, .. } | Problem::Gap { from, to, .. } => {
                    within(*from, *to)
                }
                problem => problem.severity() == Severity::Notice,
            })
            .collect()
    }

    /// `actor 12`, with the name if it is known.
    fn actor(&self, actor: ActorId) -> String {
        match self.names.get(&actor.0) {
            Some(name) => format!("{} {name}", actor.0),
            None => actor.0.to_string(),
        }
    }

    /// For programs.
    pub fn json(&self, lang: crate::lang::Lang) -> serde_json::Value {
        use serde_json::{Value, json};
        let report = &self.report;
        let (since, until) = self.days();
        let with = |line: &Line, more: Value| {
            let mut value = json!(line);
            if let (Value::Object(map), Value::Object(more)) = (&mut value, more) {
                map.extend(more);
            }
            value
        };
        let name = |actor: &ActorId| self.names.get(&actor.0);
        let lines: Vec<Value> = report
            .lines
            .iter()
            .map(|((day, actor, right), line)| {
                let (role, grant) = match right {
                    Right::Role(role) => (Some(role.name()), None),
                    Right::Grant(grant) => (None, Some(grant.0)),
                };
                with(
                    line,
                    json!({ "day": Date::of_day(*day).to_string(), "actor": actor.0,
                                   "name": name(actor), "role": role, "grant": grant }),
                )
            })
            .collect();
        let sessions: Vec<Value> = report
            .sessions
            .iter()
            .map(|(number, it)| {
                with(
                    &it.line,
                    json!({ "session": number, "actor": it.actor.0,
                    "name": name(&it.actor), "from_ms": it.span.0, "to_ms": it.span.1 }),
                )
            })
            .collect();
        let officer_files: Vec<Value> = report
            .officer_files
            .iter()
            .map(|(at, by)| json!({ "at_ms": at, "actor": by.0, "name": name(by) }))
            .collect();
        let receipt_caps: Vec<Value> = report
            .receipt_caps
            .iter()
            .map(|(at, subjects)| json!({ "at_ms": at, "subjects": subjects }))
            .collect();
        let files: Vec<Value> = report
            .files
            .iter()
            .map(|((actor, grant), files)| {
                json!({ "actor": actor.0, "name": name(actor), "grant": grant.map(|it| it.0),
                        "files": files })
            })
            .collect();
        let more = self.checked.problems.more();
        let more: serde_json::Map<String, Value> = more
            .map(|(code, more)| (code.to_owned(), more.into()))
            .collect();
        let doubts: Vec<Value> = self.doubts().iter().map(|it| it.json(lang)).collect();
        let refusals: BTreeMap<&str, u64> = report
            .refusals
            .iter()
            .map(|(reason, count)| (reason_name(*reason), *count))
            .collect();
        json!({
            "verified": true,
            "exit": 0,
            "ledger": hex(&self.key_file.ledger),
            "generation": self.key_file.generation,
            "log": Tree::Log(self.key_file.log),
            "code": self.key_file.code,
            "since": since.to_string(),
            "until": until.to_string(),
            "utc_offset": report.period.offset.to_string(),
            "checked": self.checked.summary,
            "total": report.total,
            "actors": report.actors.len(),
            "lines": lines,
            "sessions": sessions,
            "refusals": refusals,
            "officer_files": officer_files,
            "receipt_caps": receipt_caps,
            "files": files,
            "cases": report.cases.json(),
            "doubts": doubts,
            "more": more,
            "person": self.person.as_ref().map(PersonAnswer::json),
        })
    }
}

/// The name of a reason in JSON.
fn reason_name(code: u8) -> &'static str {
    match code {
        it if it == RefusalReason::SubjectBudget as u8 => "subject-budget",
        it if it == RefusalReason::ProbeBudget as u8 => "probe-budget",
        it if it == RefusalReason::MaskedBudget as u8 => "masked-budget",
        it if it == RefusalReason::Policy as u8 => "policy",
        it if it == RefusalReason::Grant as u8 => "grant",
        it if it == RefusalReason::Statement as u8 => "statement",
        it if it == RefusalReason::Pin as u8 => "pin",
        it if it == RefusalReason::Value as u8 => "value",
        it if it == RefusalReason::Ledger as u8 => "ledger",
        it if it == RefusalReason::Key as u8 => "key",
        it if it == RefusalReason::Login as u8 => "login",
        _ => "revoked",
    }
}

/// A checked log with what was folded on the way.
pub type Made = (Checked, Report, Option<PersonAnswer>);

/// Verifies a log and folds the report on the way; neither counts unless all of the log holds.
///
/// # Errors
/// If there is no such log.
pub fn make(
    question: Question<'_>,
    period: Period,
    person: Option<(Person, &OfficerFile)>,
) -> Result<Made, CheckError> {
    let mut report = Report::new(period);
    let (key_file, store) = (question.key_file, question.store);
    let mut search = person
        .map(|(person, officer)| person::Search::new(person, officer, key_file, store, period));
    let checked = check(question, &mut |seen| {
        report.visit(seen);
        if let Some(search) = &mut search {
            search.visit(seen);
        }
    })?;
    Ok((checked, report, search.map(person::Search::finish)))
}
