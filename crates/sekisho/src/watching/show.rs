//! A finding for people, and as JSON (docs/format/findings.md). Pure.

use serde_json::{Map, Value, json};
use watch::words::{self, Language, Names};
use watch::{
    Cause, Detector, Finding, IdentityKind, Part, Said, TamperKind, TerminalEvent, Window,
};

/// Records that a line names; the rest are counted.
const RECORDS_MAX: usize = 6;

/// The word for a detector.
pub fn detector(detector: Detector) -> &'static str {
    match detector {
        Detector::Burst => "burst",
        Detector::Step => "step",
        Detector::Ledger => "ledger",
        Detector::Walk => "walk",
        Detector::Guess => "guess",
        Detector::Tamper => "tamper",
        Detector::Chain => "chain",
        Detector::Together => "together",
        Detector::Identity => "identity",
        Detector::Silence => "silence",
        Detector::Canary => "canary",
        Detector::Balance => "balance",
    }
}

/// A finding in several lines: when and in which case, the sentence, how it was come by, its days,
/// what it rests on.
pub fn words(said: &Said, names: &dyn Names, language: Language) -> String {
    let finding = &said.finding;
    let number = said.case.case.0;
    let case = match (language, said.case.new) {
        (Language::English, true) => format!("opens case {number}"),
        (Language::English, false) => format!("case {number}"),
        (Language::Japanese, true) => format!("案件 {number} 開始"),
        (Language::Japanese, false) => format!("案件 {number}"),
    };
    let mut out = format!(
        "{}  {case}  {}\n  {}\n",
        words::clock(finding.at_ms, names.offset_minutes()),
        detector(finding.cause.detector()),
        words::sentence(finding, names, language),
    );
    for line in words::arithmetic(finding, names, language) {
        out += &format!("    {line}\n");
    }
    let (days, records) = match language {
        Language::English => ("by day", "rests on records"),
        Language::Japanese => ("日ごと", "根拠の記録"),
    };
    if !finding.days.is_empty() {
        out += &format!("    {days}: {}\n", words::sparkline(&finding.days));
    }
    if !finding.rests_on.is_empty() {
        out += &format!("    {records}: {}\n", rests_on(finding));
    }
    out
}

fn rests_on(finding: &Finding) -> String {
    let beyond = finding.rests_on.len().saturating_sub(RECORDS_MAX);
    let shown: Vec<String> = finding.rests_on[beyond..]
        .iter()
        .map(u64::to_string)
        .collect();
    match beyond {
        0 => shown.join(", "),
        _ => format!("... {} (+{beyond})", shown.join(", ")),
    }
}

/// A finding as one JSON object.
pub fn json(said: &Said, names: &dyn Names, language: Language) -> Value {
    let finding = &said.finding;
    let others = finding.others.iter().map(|actor| names.actor(*actor));
    let mut object = Map::new();
    let mut put = |field: &str, value: Value| object.insert(field.to_owned(), value);
    put("sequence", finding.sequence.into());
    put("time", intake::time::rfc3339(finding.at_ms).into());
    put("at_ms", finding.at_ms.into());
    put("case", said.case.case.0.into());
    put("opens", said.case.new.into());
    put("detector", detector(finding.cause.detector()).into());
    put(
        "actor",
        finding.actor.map(|actor| names.actor(actor)).into(),
    );
    put("others", others.collect::<Vec<_>>().into());
    put(
        "client",
        finding.client.map(|client| names.client(client)).into(),
    );
    // A multiple of 1/256: exact, and so the same everywhere.
    put("bits", (f64::from(finding.bits.0) / 256.0).into());
    put("cause", cause(&finding.cause, names));
    put("sentence", words::sentence(finding, names, language).into());
    put(
        "arithmetic",
        words::arithmetic(finding, names, language).into(),
    );
    put("days", finding.days.clone().into());
    put("rests_on", finding.rests_on.clone().into());
    Value::Object(object)
}

/// The numbers of a cause.
fn cause(cause: &Cause, names: &dyn Names) -> Value {
    match *cause {
        Cause::Burst {
            window,
            subjects,
            minutes,
            usual_max,
            granted,
        } => json!({"window": match window {
                Window::Session => "session",
                Window::Hour => "hour",
                Window::Day => "day",
            }, "subjects": subjects, "minutes": minutes, "usual_max": usual_max, "granted": granted}),
        Cause::Step {
            subjects,
            days,
            expected,
        } => json!({"subjects": subjects, "days": days, "expected": expected}),
        Cause::Ledger {
            subjects,
            days,
            median,
            highest,
        } => json!({"subjects": subjects, "days": days, "median": median, "highest": highest}),
        Cause::Walk {
            steps,
            ascending,
            near,
            days,
        } => json!({"steps": steps, "ascending": ascending, "near": near, "days": days}),
        Cause::Guess {
            probes,
            missed,
            usual_permille,
            days,
        } => {
            json!({"probes": probes, "missed": missed, "usual_permille": usual_permille, "days": days})
        }
        Cause::Tamper { kind, count } => json!({"kind": match kind {
                TamperKind::Cells => "cells",
                TamperKind::Moved => "moved",
                TamperKind::Schema => "schema",
                TamperKind::Unexpected => "unexpected",
                TamperKind::Literals => "literals",
            }, "count": count}),
        Cause::Chain {
            subjects,
            event,
            terminal,
            bytes,
            minutes,
        } => json!({"subjects": subjects, "event": match event {
                TerminalEvent::FileWritten => "file-written",
                TerminalEvent::MediaAttached => "media-attached",
                TerminalEvent::MediaRefused => "media-refused",
                TerminalEvent::MediaWritten => "media-written",
                TerminalEvent::Sent => "sent",
            }, "terminal": names.terminal(terminal), "bytes": bytes, "minutes": minutes}),
        Cause::Together {
            actors,
            subjects,
            expected,
            days,
        } => json!({"actors": actors, "subjects": subjects, "expected": expected, "days": days}),
        Cause::Identity { kind, count } => json!({"kind": match kind {
                IdentityKind::Terminals => "terminals",
                IdentityKind::Hours => "hours",
                IdentityKind::Away => "away",
                IdentityKind::Left => "left",
            }, "count": count}),
        Cause::Silence {
            part: silent,
            from_ms,
            until_ms,
            missing,
        } => json!({"part": silent.map(|silent| part(silent, names)),
            "from_ms": from_ms, "until_ms": until_ms, "missing": missing}),
        Cause::Canary { count } => json!({"count": count}),
        Cause::Balance {
            unexplained,
            subjects,
            usual_permille,
            days,
        } => json!({"unexplained": unexplained, "subjects": subjects,
            "usual_permille": usual_permille, "days": days}),
    }
}

fn part(part: Part, names: &dyn Names) -> String {
    match part {
        Part::Gate => "gate".to_owned(),
        Part::Witness(number) => format!("witness {number}"),
        Part::Terminal(terminal) => format!("terminal {}", names.terminal(terminal)),
        Part::Calls(client) => format!("calls {}", names.client(client)),
        Part::Source => "source".to_owned(),
        Part::Counters => "counters".to_owned(),
    }
}
