//! `sekisho watch status` and `rebaseline`: how far live detection is, and whose pace is its usual one.

use anyhow::{Context, Result};
use clap::Args;

use super::cases::{ask, done};
use super::{Sign, output};
use crate::watching::desk::Asked;

/// Whose.
#[derive(Args)]
pub struct Rebaseline {
    #[command(flatten)]
    sign: Sign,
    /// The actor's login.
    login: String,
}

/// Takes an actor's pace so far as its usual one.
pub async fn rebaseline(given: &Rebaseline) -> Result<()> {
    let login = given.login.clone();
    let (desk, reply) = ask(&given.sign, Asked::Rebaseline { login }).await?;
    let finished = reply.data.as_ref().is_some_and(|it| it["done"] == true);
    let words = if finished {
        format!("The pace of {} so far is its usual one.", given.login)
    } else {
        format!("{} waits for a second person.", given.login)
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
            "Detection does not run: `sekisho serve` is not up, or watch.enabled = false".to_owned()
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
    output::line(format!(
        "{} open of {} cases. In force: {} a day for 1,000 people; response: {}.",
        data["open"],
        data["cases"],
        data["cases_per_day"],
        data["response"].as_str().unwrap_or_default()
    ))
}
