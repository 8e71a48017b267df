//! Records and changes of terminals in words and as fields.

use event::Digest;
use event::record::{Body, Change};
use gate::terminal_number;
use ledger::State;
use serde_json::{Map, Value, json};
use terminal::report::Said;

use super::log::Known;
use super::log_words;

/// A terminal as people know it.
pub fn named(state: &State, of: &Digest) -> String {
    match state.terminals.all.get(of) {
        Some(known) => format!("{} ({})", known.name, terminal_number(of)),
        None => terminal_number(of),
    }
}

/// A record in words.
pub fn record(state: &State, body: &Body) -> String {
    match body {
        Body::TerminalAsked {
            terminal,
            name,
            system,
        } => format!(
            "{name} ({system}) asks to be terminal {}",
            terminal_number(terminal)
        ),
        Body::TerminalReport {
            terminal, report, ..
        } => {
            let said = terminal::report::Report::decode(&report.0).map_or_else(
                |error| format!("something unreadable: {error}"),
                |report| said(&report.body),
            );
            format!("terminal {}: {said}", named(state, terminal))
        }
        Body::TerminalEvidence {
            terminal,
            settings_at_ms,
            differences,
            events_until_ms,
            ..
        } => {
            let settings = settings_at_ms.map(|at_ms| {
                let at = super::time::shown(at_ms);
                format!("settings of {at} differ from the policy in {differences} places")
            });
            let events =
                events_until_ms.map(|at_ms| format!("events until {}", super::time::shown(at_ms)));
            let parts: Vec<_> = settings.into_iter().chain(events).collect();
            format!(
                "evidence of terminal {}: {}",
                named(state, terminal),
                parts.join("; ")
            )
        }
        Body::TerminalHealth {
            terminal,
            healthy: true,
            ..
        } => format!("terminal {} is healthy", named(state, terminal)),
        Body::TerminalHealth {
            terminal, lacks, ..
        } => format!(
            "terminal {} is not healthy: {}",
            named(state, terminal),
            lacks.join("; ")
        ),
        _ => String::new(),
    }
}

/// A record's name and fields.
pub fn fields(state: &State, body: &Body) -> (&'static str, Value) {
    match body {
        Body::TerminalAsked {
            terminal,
            name,
            system,
        } => (
            "terminal-asked",
            json!({"terminal": terminal_number(terminal), "name": name, "system": system.name()}),
        ),
        Body::TerminalReport {
            terminal,
            since,
            sequence,
            report,
        } => (
            "terminal-report",
            json!({"terminal": terminal_number(terminal), "name": name(state, terminal),
                "since": since, "sequence": sequence,
                "said": terminal::report::Report::decode(&report.0).ok().map(|it| said(&it.body))}),
        ),
        Body::TerminalEvidence {
            terminal,
            by,
            settings_at_ms,
            policy,
            differences,
            events_until_ms,
        } => (
            "terminal-evidence",
            json!({"terminal": terminal_number(terminal), "name": name(state, terminal), "by": by.0,
                "settings_at": settings_at_ms.map(super::time::rfc3339),
                "policy": crate::serve::hex(&policy.0), "differences": differences,
                "events_until": events_until_ms.map(super::time::rfc3339)}),
        ),
        Body::TerminalHealth {
            terminal,
            healthy,
            lacks,
        } => (
            "terminal-health",
            json!({"terminal": terminal_number(terminal), "name": name(state, terminal),
                "healthy": healthy, "lacks": lacks}),
        ),
        _ => ("other", Value::Null),
    }
}

/// A file that the broker was given, in words, and as fields.
pub fn copy(known: &Known, body: &Body) -> (String, Value) {
    let Body::TerminalCopy {
        who,
        terminal,
        medium,
        bytes,
        classes,
        subjects,
        refused,
        list,
    } = body
    else {
        return (String::new(), Value::Null);
    };
    let found: Vec<String> = classes
        .iter()
        .map(|it| format!("{} {}", it.cells, it.class))
        .collect();
    let found = match found.is_empty() {
        true => "no personal value".to_owned(),
        false => format!("{subjects} people: {}", found.join(", ")),
    };
    let became = match refused {
        None => "may be written to a company medium".to_owned(),
        Some(reason) => format!(
            "MAY NOT be carried out: {}",
            log_words::reason_words(*reason)
        ),
    };
    let words = format!(
        "{} had a file of {bytes} bytes judged at terminal {} ({found}): it {became}",
        log_words::person(known, who),
        named(&known.state, terminal)
    );
    let classes: Map<String, Value> = classes
        .iter()
        .map(|it| (it.class.name().to_owned(), it.cells.into()))
        .collect();
    let fields = json!({"who": log_words::who_fields(known, who),
        "terminal": terminal_number(terminal), "name": name(&known.state, terminal),
        "medium": crate::serve::hex(&medium.0), "bytes": bytes, "found": classes,
        "subjects": subjects, "list": list.to_string(),
        "refused": refused.map(|it| log_words::kebab(&format!("{it:?}")))});
    (words, fields)
}

/// What a report says, in words.
fn said(said: &Said) -> String {
    match said {
        Said::Started { version, clean } => {
            let before = if *clean {
                ""
            } else {
                "; its last life ended without a word"
            };
            format!("agent {version} started{before}")
        }
        Said::Attached(device) => format!(
            "{} {:04x}:{:04x} {} plugged in at {}: {:?}, {}",
            device.kind,
            device.vendor,
            device.product,
            device.name,
            device.key,
            device.outcome,
            device.reason
        ),
        Said::Detached { key, .. } => format!("{key} was taken out"),
        Said::Refused {
            channel,
            key,
            count,
        } => {
            format!("{} refused on {key} ({channel:?})", count_of(*count))
        }
        Said::Written {
            grant,
            files,
            bytes,
            findings,
            ..
        } => {
            let found: u64 = findings.iter().map(|(_, count)| u64::from(*count)).sum();
            format!(
                "the broker wrote {files} files, {bytes} bytes with {found} personal values, to company media under grant {grant}"
            )
        }
        Said::PolicyTaken { .. } => "a new policy is in force there".to_owned(),
        Said::PolicyRejected { why, .. } => format!("a policy was not taken: {why}"),
        Said::Lost { count } => format!("{count} reports were dropped: the queue was full"),
        Said::Overflow => {
            "events of the kernel were lost; everything was looked at anew".to_owned()
        }
        Said::Tampered { what } => format!("TAMPERED: {what}"),
        Said::Heartbeat(heartbeat) => format!(
            "heartbeat: {} hubs, {} disks, {} refused so far, kernel {}",
            heartbeat.hubs.len(),
            heartbeat.blocks.len(),
            heartbeat.refused,
            heartbeat.kernel
        ),
        Said::Stopping => "the agent ends on purpose".to_owned(),
    }
}

fn count_of(count: u64) -> String {
    super::output::count(count, "attempt", "attempts")
}

/// Whether a record is about a terminal.
pub fn is_about(body: &Body, of: &Digest) -> bool {
    matches!(body, Body::TerminalAsked { terminal, .. }
        | Body::TerminalReport { terminal, .. }
        | Body::TerminalEvidence { terminal, .. }
        | Body::TerminalCopy { terminal, .. }
        | Body::TerminalHealth { terminal, .. } if terminal == of)
}

fn name(state: &State, of: &Digest) -> Option<String> {
    state.terminals.all.get(of).map(|known| known.name.clone())
}

/// A change in one line.
pub fn change(what: &Change) -> String {
    match what {
        Change::Terminal {
            terminal,
            name,
            system,
            address,
            active,
        } => {
            let at = match address.as_str() {
                "" => String::new(),
                address => format!(", whose sessions come from {address}"),
            };
            let number = terminal_number(terminal);
            match active {
                true => format!("{name} ({number}, {system}{at}) is a terminal"),
                false => format!("{name} ({number}) is no terminal any more"),
            }
        }
        Change::TerminalPolicy { toml } => {
            format!("policy of terminals, {} lines", toml.lines().count())
        }
        _ => String::new(),
    }
}

/// What a change would do, line by line.
pub fn details(state: &State, what: &Change) -> Vec<String> {
    match what {
        Change::TerminalPolicy { toml } => {
            let before = state
                .terminals
                .policy
                .as_ref()
                .map(|(_, text)| text.as_str());
            super::diff::unified(before.unwrap_or_default(), toml)
        }
        _ => Vec::new(),
    }
}

/// A change's name and fields.
pub fn change_fields(what: &Change) -> (&'static str, Value) {
    match what {
        Change::Terminal {
            terminal,
            name,
            system,
            address,
            active,
        } => (
            "terminal",
            json!({"terminal": terminal_number(terminal), "name": name, "system": system.name(),
                "address": address, "active": active}),
        ),
        Change::TerminalPolicy { toml } => ("terminal-policy", json!({"toml": toml})),
        _ => ("other", Value::Null),
    }
}
