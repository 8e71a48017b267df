//! `sekisho watch status`, `rebaseline`, `terminals`: how far live detection is, whose pace is its usual
//! one, and what terminals said.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use event::TerminalEvent;
use serde_json::{Map, Value, json};

use super::cases::{ask, done};
use super::desk::Desk;
use super::{Sign, calls, output};
use crate::service::Request;
use crate::watching::desk::{Asked, GivenEvent};
use crate::watching::own::CALLS_MAX;

/// Whose.
#[derive(Args)]
pub struct Rebaseline {
    #[command(flatten)]
    sign: Sign,
    /// The actor's login.
    #[arg(value_name = "LOGIN")]
    actor: String,
}

/// A file of what terminals said.
#[derive(Args)]
pub struct Terminals {
    #[command(flatten)]
    sign: Sign,
    /// The file.
    file: PathBuf,
    /// Minutes ahead of UTC of times without an offset.
    #[arg(long, default_value_t = 540, allow_negative_numbers = true)]
    offset_minutes: i32,
}

/// Brings it in.
pub async fn terminals(given: &Terminals) -> Result<()> {
    let text = std::fs::read_to_string(&given.file)
        .with_context(|| format!("{}: cannot be read", given.file.display()))?;
    let (mut events, mut wrong) = (Vec::new(), Vec::new());
    for (number, fields) in calls::lines(&text)? {
        match fields.and_then(|fields| event(&fields, given.offset_minutes)) {
            Ok(event) => events.push(event),
            Err(error) => wrong.push(format!("line {number}: {error:#}")),
        }
    }
    let desk = Desk::open(&given.sign)?;
    for events in events.chunks(CALLS_MAX) {
        let events = events.to_vec();
        let asked = Asked::Terminals { events };
        desk.ask(&Request::Detection { asked }).await?;
    }
    if desk.json() {
        return output::json(&json!({"taken": events.len(), "wrong": wrong.len()}));
    }
    for line in wrong.iter().take(5) {
        output::line(line)?;
    }
    output::line(format!(
        "{} events are in the ledger; {} lines could not be read.",
        events.len(),
        wrong.len()
    ))
}

fn event(fields: &Map<String, Value>, offset_minutes: i32) -> Result<GivenEvent> {
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let needed = |name: &str| text(name).with_context(|| format!("lacks {name}"));
    let time = needed("time")?;
    let at_ms = time.parse().ok();
    let at_ms = at_ms.or_else(|| intake::time::read(&time, offset_minutes));
    let bytes = text("bytes").map(|bytes| bytes.parse().context("bytes is no number"));
    let event = needed("event")?;
    event.parse::<TerminalEvent>()?;
    Ok(GivenEvent {
        terminal: needed("terminal")?,
        login: text("actor"),
        event,
        bytes: bytes.transpose()?.unwrap_or(0),
        at_ms: at_ms.context("time is no time")?,
    })
}

/// Takes an actor's pace so far as its usual one.
pub async fn rebaseline(given: &Rebaseline) -> Result<()> {
    let login = given.actor.clone();
    let (desk, reply) = ask(&given.sign, Asked::Rebaseline { login }).await?;
    let finished = reply.data.as_ref().is_some_and(|it| it["done"] == true);
    let words = if finished {
        format!("The pace of {} so far is its usual one.", given.actor)
    } else {
        format!("{} waits for a second person.", given.actor)
    };
    done(&desk, &reply, &words)
}

/// Says how far detection is.
pub async fn status(sign: &Sign) -> Result<()> {
    let (desk, reply) = ask(sign, Asked::Status).await?;
    let data = reply.data.context("there was no answer")?;
    if desk.json() {
        return output::json(&data);
    }
    let live = &data["live"];
    let number = |name: &str| live[name].as_u64().unwrap_or(0);
    output::line(match (data["running"] == true, live["failed"].as_str()) {
        (false, _) => {
            "Detection does not run: it is part of `sekisho serve`, which is not up".to_owned()
        }
        (true, Some(failed)) => format!("DETECTION STANDS STILL: {failed}"),
        (true, None) if live["caught_up"] == true => {
            format!("Detection has taken all {} records.", number("records"))
        }
        (true, None) => format!("Detection replays: {} records so far.", number("records")),
    })?;
    if number("others") > 0 {
        output::line(format!(
            "{} findings in the ledger are of another version or other settings.",
            number("others")
        ))?;
    }
    if number("forgotten_canaries") > 0 {
        output::line(format!(
            "{} PLANTED CUSTOMERS ARE NOT RECOGNISED ANY MORE: their lists were destroyed by age. Plant new ones: `sekisho canary plant`.",
            number("forgotten_canaries")
        ))?;
    }
    let skipped = &live["skipped"];
    for (name, why) in [
        ("late", "came too late"),
        ("repeated", "came twice"),
        ("future", "are from the future"),
        ("impossible", "have numbers that cannot be"),
    ] {
        let count = skipped[name].as_u64().unwrap_or(0);
        if count > 0 {
            output::line(format!("{count} records were not counted: they {why}."))?;
        }
    }
    for of in data["counters"].as_array().into_iter().flatten() {
        let database = of["database"].as_str().unwrap_or_default();
        output::line(match of["failed"].as_str() {
            Some(failed) => format!("POSTGRESQL'S COUNTERS of {database} CANNOT BE READ: {failed}"),
            None => format!(
                "PostgreSQL's counters of {database}: {} looks; at the newest {} rows were read, {} accounted for.",
                of["looks"], of["rows"], of["accounted"]
            ),
        })?;
    }
    output::line(format!(
        "{} open of {} cases. In force: {} a day for 1,000 people; response: {}.",
        data["open"],
        data["cases"],
        data["cases_per_day"],
        data["response"].as_str().unwrap_or_default()
    ))
}
