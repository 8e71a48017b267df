//! Records of cases and of detection in plain words, and as JSON. Pure.

use event::record::{Body, CaseFinding};
use event::{ActorId, ClientId};
use ledger::State;
use serde_json::{Value, json};
use watch::words::{self, Language, Names};
use watch::{Bits, Cause, Detector, Finding, TerminalId};

use super::describe::{client_name, login};
use super::output::count;
use super::time;

/// The name of a detector by its code.
pub fn detector(code: u8) -> &'static str {
    Detector::from_code(code).map_or("unknown", Detector::name)
}

/// Whom a case is about.
pub fn about(state: &State, actor: Option<ActorId>) -> String {
    actor.map_or_else(|| "nobody".to_owned(), |actor| login(state, actor))
}

/// Names that people know.
struct Known<'a>(&'a State);

impl Names for Known<'_> {
    fn actor(&self, actor: ActorId) -> String {
        login(self.0, actor)
    }
    fn client(&self, client: ClientId) -> String {
        client_name(self.0, client)
    }
    fn terminal(&self, terminal: TerminalId) -> String {
        format!("{:016x}", terminal.0)
    }
}

/// Numbers alone, for who is told outside.
struct Numbers<'a>(&'a State);

impl Names for Numbers<'_> {
    fn actor(&self, actor: ActorId) -> String {
        format!("actor {actor}")
    }
    fn client(&self, client: ClientId) -> String {
        client_name(self.0, client)
    }
    fn terminal(&self, terminal: TerminalId) -> String {
        format!("{:016x}", terminal.0)
    }
}

/// As the detector said it; `None`: by a detector or version that this program does not know.
pub fn said(finding: &CaseFinding) -> Option<Finding> {
    let detector = Detector::from_code(finding.detector)?;
    Some(Finding {
        sequence: finding.cause.unwrap_or(0),
        at_ms: finding.at_ms,
        actor: finding.actor,
        others: finding.others.clone(),
        client: finding.client,
        bits: Bits(finding.bits),
        cause: Cause::from_numbers(detector, finding.version, &finding.numbers)?,
        rests_on: finding.rests_on.clone(),
        days: finding.days.clone(),
    })
}

/// A finding in one sentence.
pub fn sentence(state: &State, finding: &CaseFinding) -> String {
    in_words(finding, &Known(state))
}

/// A finding in one sentence, people by number.
pub fn sentence_outside(state: &State, finding: &CaseFinding) -> String {
    in_words(finding, &Numbers(state))
}

/// How it was come by, line by line.
pub fn arithmetic(state: &State, finding: &CaseFinding) -> Vec<String> {
    let told = said(finding).map(|it| words::arithmetic(&it, &Known(state), Language::English));
    told.unwrap_or_default()
}

fn in_words(finding: &CaseFinding, names: &dyn Names) -> String {
    match said(finding) {
        Some(finding) => words::sentence(&finding, names, Language::English),
        None => format!(
            "detector {} of another version: {:?}",
            finding.detector, finding.numbers
        ),
    }
}

/// Such a record in words; empty for others.
pub fn record(state: &State, body: &Body) -> String {
    match body {
        Body::Case {
            case,
            new,
            finding,
            response,
            ..
        } => {
            let how = if *new { "CASE {} IS OPENED" } else { "case {}" };
            let how = how.replace("{}", &case.to_string());
            let then = match response {
                event::Response::Nothing => "",
                event::Response::AskReason => "; it is asked for a reason",
                event::Response::LowerBudget => "; its budgets are a tenth",
                event::Response::Suspend => "; what it sees in clear is suspended",
            };
            format!("{how}: {}{then}", sentence(state, finding))
        }
        Body::CaseNoted { case, by, .. } => {
            format!("{} noted something in case {case}", login(state, *by))
        }
        Body::CaseClosed {
            case,
            by,
            asked,
            reason,
            ..
        } => {
            let by = login(state, *by);
            let reason = reason.name();
            let known = state.cases.all.get(case);
            let closed = known.is_none_or(|case| case.closed.is_some());
            match asked {
                Some(first) => format!(
                    "{} and {by} closed case {case}: {reason}",
                    login(state, *first)
                ),
                None if closed => format!("{by} closed case {case}: {reason}"),
                None => format!("{by} asks to close case {case}: {reason}; a second person has to"),
            }
        }
        Body::CaseReopened { case, by, .. } => {
            format!("{} reopened case {case}", login(state, *by))
        }
        Body::Rebaselined { actor, by, asked } => {
            let (actor, by) = (login(state, *actor), login(state, *by));
            match asked {
                Some(first) => format!(
                    "{} and {by} took the pace of {actor} as its usual one",
                    login(state, *first)
                ),
                None => format!("{by} asks to take the pace of {actor} as its usual one"),
            }
        }
        Body::Canary { count: n, by, .. } => format!(
            "{} commits to {}",
            login(state, *by),
            count(
                *n,
                "fingerprint of planted subjects",
                "fingerprints of planted subjects"
            )
        ),
        Body::Calls { count: n, by, .. } => {
            let calls = count(*n, "call record", "call records");
            format!("{calls} brought in by {}", login(state, *by))
        }
        Body::Terminal {
            terminal: name,
            actor,
            said,
            bytes,
            at_ms,
        } => format!(
            "terminal {name}: {} ({}, {bytes} bytes, {})",
            said.name(),
            about(state, *actor),
            time::shown(*at_ms)
        ),
        Body::Counters {
            database,
            rows,
            accounted,
            set_back,
        } => format!(
            "PostgreSQL counted {rows} rows from sealed tables of {database}; the gate accounts for {accounted}{}",
            if *set_back {
                "; its counters were set back"
            } else {
                ""
            }
        ),
        _ => String::new(),
    }
}

fn actor(state: &State, actor: ActorId) -> Value {
    json!({"actor": actor.0, "login": login(state, actor)})
}

/// A finding as JSON.
pub fn finding(state: &State, finding: &CaseFinding) -> Value {
    let others = finding.others.iter();
    json!({
        "detector": detector(finding.detector), "says": sentence(state, finding),
        "arithmetic": arithmetic(state, finding),
        "actor": finding.actor.map(|it| actor(state, it)),
        "others": others.map(|it| actor(state, *it)).collect::<Vec<_>>(),
        "client": finding.client.map(ClientId::get),
        "bits": f64::from(finding.bits) / 256.0, "numbers": finding.numbers,
        "version": finding.version, "cause": finding.cause,
        "at": time::rfc3339(finding.at_ms), "rests_on": finding.rests_on, "days": finding.days,
    })
}

/// Such a record as JSON: its kind and fields.
pub fn fields(state: &State, body: &Body) -> (&'static str, Value) {
    match body {
        Body::Case {
            case,
            new,
            finding: found,
            grave,
            response,
        } => (
            "case",
            json!({"case": case, "new": new, "grave": grave, "response": response.name(),
                "finding": finding(state, found)}),
        ),
        Body::CaseNoted { case, by, text } => (
            "case-noted",
            json!({"case": case, "by": actor(state, *by), "text": text.to_string()}),
        ),
        Body::CaseClosed {
            case,
            by,
            asked,
            reason,
            text,
        } => (
            "case-closed",
            json!({"case": case, "by": actor(state, *by), "reason": reason.name(),
                "asked": asked.map(|it| actor(state, it)), "text": text.to_string()}),
        ),
        Body::CaseReopened { case, by, text } => (
            "case-reopened",
            json!({"case": case, "by": actor(state, *by), "text": text.to_string()}),
        ),
        Body::Rebaselined {
            actor: of,
            by,
            asked,
        } => (
            "rebaselined",
            json!({"of": actor(state, *of), "by": actor(state, *by),
                "asked": asked.map(|it| actor(state, it))}),
        ),
        Body::Canary { count, by, list } => (
            "canary",
            json!({"count": count, "by": actor(state, *by), "list": list.to_string()}),
        ),
        Body::Calls { count, by, list } => (
            "calls",
            json!({"count": count, "by": actor(state, *by), "list": list.to_string()}),
        ),
        Body::Terminal {
            terminal: name,
            actor: who,
            said,
            bytes,
            at_ms,
        } => (
            "terminal",
            json!({"terminal": name, "actor": who.map(|it| actor(state, it)),
                "said": said.name(), "bytes": bytes, "at": time::rfc3339(*at_ms)}),
        ),
        Body::Counters {
            database,
            rows,
            accounted,
            set_back,
        } => (
            "counters",
            json!({"database": database, "rows": rows, "accounted": accounted,
                "set_back": set_back}),
        ),
        _ => ("other", Value::Null),
    }
}

/// Whether an actor did it, or it is about him.
pub fn concerns(body: &Body, of: ActorId) -> bool {
    match body {
        Body::Case { finding, .. } => finding.actor == Some(of) || finding.others.contains(&of),
        Body::CaseNoted { by, .. }
        | Body::CaseClosed { by, .. }
        | Body::CaseReopened { by, .. }
        | Body::Canary { by, .. } => *by == of,
        Body::Rebaselined { actor, by, .. } => *actor == of || *by == of,
        Body::Terminal { actor, .. } => *actor == Some(of),
        _ => false,
    }
}
