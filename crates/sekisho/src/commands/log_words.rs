//! A record in plain words, and as JSON. Pure.

use event::record::{Body, Effects, Exposure, FindingKind, RefusalReason, Who};
use event::{ActorId, LogId};
use ledger::Entry;
use serde_json::{Map, Value, json as value};

use super::describe::{self, client_name, login};
use super::log::{About, Known};
use super::output::count;
use super::time;
use super::{case_words, terminal_words};

/// Longest shape in words, in characters; JSON has it whole.
const SHAPE_CHARS_MAX: usize = 160;

/// One line: when, where in which log, what. `about`: the proposal that the record ends.
pub fn words(known: &Known, entry: &Entry, body: &Body, about: Option<&About>) -> String {
    let log = format!("{}/{}", log_name(known, entry.log), entry.index);
    format!(
        "{}  {log:<14} {}",
        time::shown(entry.wall_ms),
        said(known, body, about)
    )
}

fn log_name(known: &Known, log: LogId) -> String {
    match log {
        LogId::Centre => "centre".to_owned(),
        LogId::Client(client) => client_name(&known.state, client),
    }
}

fn said(known: &Known, body: &Body, about: Option<&About>) -> String {
    let state = &known.state;
    match body {
        Body::Genesis { centre, .. } => format!("the ledger of {centre} begins"),
        Body::Started {
            version,
            tail_cut,
            wall_step_ms,
            ..
        } => {
            let cut = if *tail_cut > 0 {
                format!("; {tail_cut} torn bytes cut")
            } else {
                String::new()
            };
            let step = if *wall_step_ms == 0 {
                String::new()
            } else {
                format!("; clock stepped by {wall_step_ms} ms")
            };
            format!("Sekisho {version} started{cut}{step}")
        }
        Body::Stopped => "Sekisho stopped".to_owned(),
        Body::SessionOpened {
            who,
            terminal,
            database,
            tls,
        } => {
            let tls = if *tls { "TLS" } else { "no TLS" };
            format!(
                "{} logged in to {database} from {terminal} ({tls})",
                person(known, who)
            )
        }
        Body::SessionClosed { session } => format!("session {session} ended"),
        Body::Refused {
            who,
            reason,
            count,
            shape,
            terminal,
        } => {
            let who = who.as_ref().map_or_else(
                || {
                    terminal
                        .as_deref()
                        .map_or("somebody".to_owned(), |from| format!("somebody at {from}"))
                },
                |who| person(known, who),
            );
            let times = if *count == 1 {
                String::new()
            } else {
                format!(" {count} times")
            };
            let shape = shape
                .map(|shape| shape_words(known, &shape))
                .unwrap_or_default();
            format!("{who} was refused{times}: {}{shape}", reason_words(*reason))
        }
        Body::Shape { digest, text } => {
            format!("shape {}: {}", short(&digest.to_string()), cut(text))
        }
        Body::Exposure(exposure) => exposure_words(known, exposure),
        Body::Finding {
            who,
            kind,
            count,
            relation,
        } => {
            let relation = relation
                .as_ref()
                .map(|name| format!(" in {name}"))
                .unwrap_or_default();
            let finding = finding_words(*kind);
            format!(
                "FINDING, session of {}: {finding}{relation} ({count})",
                person(known, who)
            )
        }
        Body::Proposed { change, by, what } => {
            format!(
                "{} proposed change {change}: {}",
                login(state, *by),
                describe::title(state, what)
            )
        }
        Body::Approved { change, approval } => {
            format!("{} signed change {change}", login(state, approval.approver))
        }
        Body::InForce {
            change,
            loosens,
            bootstrap,
        } => {
            let about = about.map(|about| about.title.as_str()).unwrap_or_default();
            let how = match (bootstrap, loosens) {
                (true, _) => " (before there were two approvers)",
                (false, true) => " (two approvals)",
                (false, false) => "",
            };
            format!("change {change} is in force{how}: {about}")
        }
        Body::Withdrawn { change, by } => {
            let about = about.map(|about| about.title.as_str()).unwrap_or_default();
            format!("{} withdrew change {change}: {about}", login(state, *by))
        }
        Body::LogOpened { slot, .. } => format!("the log was opened (slot {slot} of the root log)"),
        Body::ClockStepped { step_ms } => {
            format!("the wall clock jumped by {step_ms} ms while Sekisho ran")
        }
        Body::Snapshot { sequence, .. } => {
            format!("a snapshot of what is before record {sequence}")
        }
        Body::Archived { segment, bytes, .. } => {
            format!("segment {segment} went into the archive ({bytes} bytes)")
        }
        Body::TimeStamped { size, .. } => {
            format!("a time stamp of the root log at {size} leaves was received")
        }
        Body::ListsDestroyed { before } => format!(
            "the fingerprint lists of months before {} are destroyed, by age",
            month(*before)
        ),
        Body::EntriesPruned {
            below,
            before,
            change,
        } => format!(
            "the entries before {below} are published no more, by age (months before {}, change {change})",
            month(*before)
        ),
        Body::Space { full: true } => {
            "THE DISK IS FULL: sealed reads and writes are refused".to_owned()
        }
        Body::Space { full: false } => "the disk has space again".to_owned(),
        Body::LossDeclared {
            generation, lost, ..
        } => format!("A LOSS IS DECLARED, the logs go on as generation {generation}: {lost}"),
        Body::ReceiptCap {
            subjects: Some(subjects),
        } => format!("at most {subjects} people are shown before their receipts are acknowledged"),
        Body::ReceiptCap { subjects: None } => {
            "any number of people is shown before their receipts are acknowledged".to_owned()
        }
        Body::OfficerFile { by } => {
            format!(
                "THE OFFICER'S FILE of this client was made by {}",
                login(state, *by)
            )
        }
        Body::Case { .. }
        | Body::CaseNoted { .. }
        | Body::CaseClosed { .. }
        | Body::CaseReopened { .. }
        | Body::Rebaselined { .. }
        | Body::Canary { .. }
        | Body::Calls { .. }
        | Body::Terminal { .. }
        | Body::Counters { .. } => case_words::record(state, body),
        Body::TerminalAsked { .. }
        | Body::TerminalReport { .. }
        | Body::TerminalEvidence { .. }
        | Body::TerminalHealth { .. } => terminal_words::record(state, body),
        Body::TerminalCopy { .. } => terminal_words::copy(known, body).0,
        Body::Unknown { kind, .. } => {
            format!("a record of kind {kind}, which this version does not know")
        }
    }
}

/// `2024-01` of 202401.
fn month(number: u32) -> String {
    format!("{}-{:02}", number / 100, number % 100)
}

pub fn person(known: &Known, who: &Who) -> String {
    let grant = who
        .grant
        .map(|grant| format!(", grant {grant}"))
        .unwrap_or_default();
    format!(
        "{} ({}, session {}{grant})",
        login(&known.state, who.actor),
        who.role,
        who.session
    )
}

fn exposure_words(known: &Known, exposure: &Exposure) -> String {
    let mut parts = Vec::new();
    if exposure.rows > 0 || !exposure.classes.is_empty() {
        let cells: Vec<String> = exposure
            .classes
            .iter()
            .map(|count| format!("{} {} {}", count.cells, count.class, count.outcome))
            .collect();
        let rows = count(exposure.rows, "row", "rows");
        parts.push(format!("saw {rows} ({})", cells.join(", ")));
    }
    if exposure.probes > 0 {
        parts.push(format!(
            "probed {}",
            count(exposure.probes, "value", "values")
        ));
    }
    if exposure.row_tags_disagree > 0 {
        let rows = count(exposure.row_tags_disagree, "row mixes", "rows mix");
        parts.push(format!("{rows} people"));
    }
    for (name, effects) in effects(exposure) {
        if effects.charged > 0 {
            let [hour, day, month, all] = effects.windows;
            parts.push(format!(
                "{name} +{} ({} new; hour {hour}, day {day}, 30 days {month}, all {all})",
                effects.charged, effects.newly_distinct
            ));
        }
    }
    if exposure.purpose.is_some() {
        parts.push("with a purpose".to_owned());
    }
    format!(
        "{} {}{}",
        person(known, &exposure.who),
        parts.join("; "),
        shape_words(known, &exposure.shape)
    )
}

fn effects(exposure: &Exposure) -> [(&'static str, Effects); 3] {
    [
        ("subjects", exposure.subjects),
        ("probes", exposure.probed),
        ("masked", exposure.masked),
    ]
}

fn shape_words(known: &Known, shape: &event::Digest) -> String {
    match known.shapes.get(shape) {
        Some(text) => format!("; by {}", cut(text)),
        None => format!("; by shape {}", short(&shape.to_string())),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn cut(text: &str) -> String {
    let mut out: String = text.chars().take(SHAPE_CHARS_MAX).collect();
    if text.chars().nth(SHAPE_CHARS_MAX).is_some() {
        out.push_str(" ...");
    }
    out
}

pub fn reason_words(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::SubjectBudget => "the budget of subjects ended",
        RefusalReason::ProbeBudget => "the budget of probes ended",
        RefusalReason::MaskedBudget => "the budget of masked values ended",
        RefusalReason::Policy => "the policy gives no right",
        RefusalReason::Grant => "the grant had ended or did not cover it",
        RefusalReason::Statement => "the statement cannot be done on sealed columns",
        RefusalReason::Pin => "the live schema differs from its pin, or there is none",
        RefusalReason::Value => "a value has no canonical form, or a cell does not verify",
        RefusalReason::Ledger => "the ledger could not record it",
        RefusalReason::Key => "a key is missing or destroyed",
        RefusalReason::Login => "the login failed",
        RefusalReason::Revoked => "rights changed under the session",
    }
}

fn finding_words(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::CellDoesNotVerify => "something that looks like a cell does not verify",
        FindingKind::CellOutOfPlace => {
            "a cell of another class or domain came out of a pinned column"
        }
        FindingKind::CellOutOfScope => "a cell of a client outside the session's scope came out",
        FindingKind::PinDiffers => "the live schema differs from its pin",
        FindingKind::UnexpectedCells => "cells came back where no sealed statement was sent",
    }
}

/// A word for machines: `SubjectBudget` becomes `subject-budget`.
pub fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The record as one JSON object.
pub fn json(known: &Known, entry: &Entry, body: &Body, about: Option<&About>) -> Value {
    let mut object = Map::new();
    object.insert("sequence".into(), entry.sequence.into());
    object.insert("time".into(), time::rfc3339(entry.wall_ms).into());
    object.insert("wall_ms".into(), entry.wall_ms.into());
    object.insert("log".into(), log_name(known, entry.log).into());
    object.insert("log_number".into(), entry.log.number().into());
    object.insert("index".into(), entry.index.into());
    let (kind, fields) = fields(known, body, about);
    object.insert("kind".into(), kind.into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

fn actor(known: &Known, actor: ActorId) -> Value {
    value!({"number": actor.0, "login": login(&known.state, actor)})
}

pub fn who_fields(known: &Known, who: &Who) -> Value {
    value!({
        "actor": who.actor.0, "login": login(&known.state, who.actor), "role": who.role.name(),
        "session": who.session.0, "grant": who.grant.map(|grant| grant.0),
    })
}

fn fields(known: &Known, body: &Body, about: Option<&About>) -> (&'static str, Value) {
    let state = &known.state;
    let shape_text = |shape: &event::Digest| known.shapes.get(shape).cloned();
    match body {
        Body::Genesis { centre, .. } => ("genesis", value!({"centre": centre})),
        Body::Started {
            version,
            tail_cut,
            elapsed_credit_ms,
            wall_step_ms,
            ..
        } => (
            "started",
            value!({"version": version, "tail_cut": tail_cut,
                "elapsed_credit_ms": elapsed_credit_ms, "wall_step_ms": wall_step_ms}),
        ),
        Body::Stopped => ("stopped", value!({})),
        Body::SessionOpened {
            who,
            terminal,
            database,
            tls,
        } => (
            "session-opened",
            value!({"who": who_fields(known, who), "terminal": terminal, "database": database, "tls": tls}),
        ),
        Body::SessionClosed { session } => ("session-closed", value!({"session": session.0})),
        Body::Refused {
            who,
            reason,
            count,
            shape,
            terminal,
        } => (
            "refused",
            value!({
                "who": who.as_ref().map(|who| who_fields(known, who)),
                "reason": kebab(&format!("{reason:?}")), "count": count, "terminal": terminal,
                "shape": shape.map(|shape| shape.to_string()),
                "shape_text": shape.as_ref().and_then(shape_text),
            }),
        ),
        Body::Shape { digest, text } => (
            "shape",
            value!({"digest": digest.to_string(), "text": text}),
        ),
        Body::Exposure(exposure) => ("exposure", exposure_fields(known, exposure)),
        Body::Finding {
            who,
            kind,
            count,
            relation,
        } => (
            "finding",
            value!({"who": who_fields(known, who), "finding": kebab(&format!("{kind:?}")),
                "count": count, "relation": relation}),
        ),
        Body::Proposed { change, by, what } => (
            "proposed",
            value!({"change": change.0, "by": actor(known, *by), "what": describe::json(state, what)}),
        ),
        Body::Approved { change, approval } => (
            "approved",
            value!({"change": change.0, "by": actor(known, approval.approver)}),
        ),
        Body::InForce {
            change,
            loosens,
            bootstrap,
        } => (
            "in-force",
            value!({"change": change.0, "loosens": loosens, "bootstrap": bootstrap,
                "what": about.map(|about| &about.title)}),
        ),
        Body::Withdrawn { change, by } => (
            "withdrawn",
            value!({"change": change.0, "by": actor(known, *by),
                "what": about.map(|about| &about.title)}),
        ),
        Body::LogOpened { slot, .. } => ("log-opened", value!({"slot": slot})),
        Body::ClockStepped { step_ms } => ("clock-stepped", value!({"step_ms": step_ms})),
        Body::Snapshot {
            fold,
            sequence,
            digest,
        } => (
            "snapshot",
            value!({"fold": fold, "before": sequence, "digest": digest.to_string()}),
        ),
        Body::Archived {
            segment,
            digest,
            bytes,
        } => (
            "archived",
            value!({"segment": segment, "digest": digest.to_string(), "bytes": bytes}),
        ),
        Body::TimeStamped { size, digest } => (
            "time-stamped",
            value!({"size": size, "digest": digest.to_string()}),
        ),
        Body::ListsDestroyed { before } => ("lists-destroyed", value!({"before": month(*before)})),
        Body::EntriesPruned {
            below,
            before,
            change,
        } => (
            "entries-pruned",
            value!({"below": below, "before": month(*before), "change": change.0}),
        ),
        Body::Space { full } => ("space", value!({"full": full})),
        Body::LossDeclared {
            generation,
            size,
            root,
            lost,
        } => (
            "loss-declared",
            value!({"generation": generation, "size": size, "root": root.to_string(), "lost": lost}),
        ),
        Body::ReceiptCap { subjects } => ("receipt-cap", value!({"subjects": subjects})),
        Body::OfficerFile { by } => ("officer-file", value!({"by": actor(known, *by)})),
        Body::Case { .. }
        | Body::CaseNoted { .. }
        | Body::CaseClosed { .. }
        | Body::CaseReopened { .. }
        | Body::Rebaselined { .. }
        | Body::Canary { .. }
        | Body::Calls { .. }
        | Body::Terminal { .. }
        | Body::Counters { .. } => case_words::fields(state, body),
        Body::TerminalAsked { .. }
        | Body::TerminalReport { .. }
        | Body::TerminalEvidence { .. }
        | Body::TerminalHealth { .. } => terminal_words::fields(state, body),
        Body::TerminalCopy { .. } => ("terminal-copy", terminal_words::copy(known, body).1),
        Body::Unknown { kind, critical } => {
            ("unknown", value!({"number": kind, "critical": critical}))
        }
    }
}

fn exposure_fields(known: &Known, exposure: &Exposure) -> Value {
    let classes = exposure.classes.iter().map(|count| {
        value!({"class": count.class.name(), "outcome": count.outcome.name(), "cells": count.cells})
    });
    let windows = |effects: Effects| {
        let [hour, day, month, all] = effects.windows;
        value!({"charged": effects.charged, "newly_distinct": effects.newly_distinct,
            "hour": hour, "day": day, "days_30": month, "all": all})
    };
    value!({
        "who": who_fields(known, &exposure.who),
        "rows": exposure.rows, "cells": classes.collect::<Vec<_>>(), "probes": exposure.probes,
        "row_tags_disagree": exposure.row_tags_disagree,
        "subjects": windows(exposure.subjects), "probed": windows(exposure.probed),
        "masked": windows(exposure.masked),
        "shape": exposure.shape.to_string(), "shape_text": known.shapes.get(&exposure.shape),
        "policy": exposure.policy.to_string(), "list": exposure.list.to_string(),
        "purpose": exposure.purpose.map(|purpose| purpose.to_string()),
    })
}
