//! `sekisho case`: what detection found, and what people decided.

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use event::CloseReason;
use serde_json::{Value, json};

use super::desk::Desk;
use super::{Look, Sign, case_words, output, time};
use crate::reading;
use crate::service::{Reply, Request};
use crate::watching::desk::{Asked, summary};

/// What can be done with cases.
#[derive(Subcommand)]
pub enum Cases {
    /// Lists the cases, open ones first.
    #[command(after_help = "\
Examples:
  sekisho case list
  sekisho case list --open --json

A case holds the findings about one person, or about one thing that is nobody's. Grave ones
(many customers at once, a canary, a file after a list, silence, or about an administrator) take two
people to close.

Next: `sekisho case show N` shows what one rests on.")]
    List(List),
    /// Shows what a case rests on, and what was noted in it.
    #[command(after_help = "\
Example:
  sekisho case show 7 --as ito --key ito.key

Each finding names the records that it rests on by their sequence: `sekisho log --json` shows them.
Notes are encrypted in the ledger, so the command asks as a person: security, an administrator or an
approver.

Next: `sekisho case note 7 --text WORDS`, then `sekisho case close 7 --reason REASON --text WORDS`.")]
    Show(One),
    /// Notes something in a case, for the others.
    #[command(after_help = "\
Example:
  sekisho case note 7 --text 'asked her supervisor: no campaign that day' --as ito --key ito.key

The note stands in the ledger, encrypted, with your name. At most 1024 bytes; no customers' values.

Next: `sekisho case show 7`.")]
    Note(Words),
    /// Closes a case; a grave one when a second person says so too.
    #[command(after_help = "\
Examples:
  sekisho case close 7 --reason explained --text 'recall campaign of 12 May, ticket R-88' --as ito --key ito.key
  sekisho case close 7 --reason acted --text 'account withdrawn, client told' --as mori --key mori.key

Reasons: explained (the work was as it should be), false-alarm (the finding was wrong), acted (it was
what it looked like, and something was done), duplicate (another case holds it).
Nobody closes a case about himself. What was done because of it ends: a reason that is asked for,
lowered budgets, a suspension.

Next: `sekisho case list --open`.")]
    Close(Close),
    /// Opens a closed case again.
    #[command(after_help = "\
Example:
  sekisho case reopen 7 --text 'the ticket does not exist' --as mori --key mori.key

What was done because of the case is done again.")]
    Reopen(Words),
}

/// Which cases.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    look: Look,
    /// Open ones alone.
    #[arg(long)]
    open: bool,
}

/// One case.
#[derive(Args)]
pub struct One {
    #[command(flatten)]
    sign: Sign,
    /// Its number.
    case: u32,
}

/// One case, with words.
#[derive(Args)]
pub struct Words {
    #[command(flatten)]
    one: One,
    /// In words, at most 1024 bytes; kept encrypted.
    #[arg(long, value_name = "WORDS")]
    text: String,
}

/// A closing.
#[derive(Args)]
pub struct Close {
    #[command(flatten)]
    words: Words,
    /// Why.
    #[arg(long)]
    reason: Why,
}

/// Why a case is closed.
#[derive(Clone, Copy, ValueEnum)]
pub enum Why {
    /// The work was as it should be.
    Explained,
    /// The finding was wrong.
    FalseAlarm,
    /// It was what it looked like, and something was done.
    Acted,
    /// Another case holds it.
    Duplicate,
}

impl Why {
    fn name(self) -> &'static str {
        match self {
            Self::Explained => CloseReason::Explained.name(),
            Self::FalseAlarm => CloseReason::FalseAlarm.name(),
            Self::Acted => CloseReason::Acted.name(),
            Self::Duplicate => CloseReason::Duplicate.name(),
        }
    }
}

/// Does it.
pub async fn run(what: Cases) -> Result<()> {
    match what {
        Cases::List(given) => list(&given).await,
        Cases::Show(given) => show(&given).await,
        Cases::Note(given) => {
            let Words { one, text } = given;
            let asked = Asked::Note {
                case: one.case,
                text,
            };
            let (desk, reply) = ask(&one.sign, asked).await?;
            done(&desk, &reply, &format!("Noted in case {}.", one.case))
        }
        Cases::Close(given) => {
            let Words { one, text } = given.words;
            let asked = Asked::Close {
                case: one.case,
                reason: given.reason.name().to_owned(),
                text,
            };
            let (desk, reply) = ask(&one.sign, asked).await?;
            let closed = reply.data.as_ref().is_some_and(|it| it["closed"] == true);
            let words = if closed {
                format!("Case {} is closed.", one.case)
            } else {
                format!("Case {} waits for a second person.", one.case)
            };
            done(&desk, &reply, &words)
        }
        Cases::Reopen(given) => {
            let Words { one, text } = given;
            let asked = Asked::Reopen {
                case: one.case,
                text,
            };
            let (desk, reply) = ask(&one.sign, asked).await?;
            done(&desk, &reply, &format!("Case {} is open again.", one.case))
        }
    }
}

/// Asks as the person of `--as`.
pub(super) async fn ask(sign: &Sign, asked: Asked) -> Result<(Desk, Reply)> {
    let desk = Desk::open(sign)?;
    let reply = desk.ask(&Request::Detection { asked }).await?;
    Ok((desk, reply))
}

/// Says that it is done.
pub(super) fn done(desk: &Desk, reply: &Reply, words: &str) -> Result<()> {
    if desk.json() {
        return output::json(&reply.data.clone().unwrap_or_else(|| json!({})));
    }
    for note in &reply.notes {
        output::line(note)?;
    }
    output::line(words)
}

async fn list(given: &List) -> Result<()> {
    let state = reading::current(&given.look.at.folder()?).await?;
    let shown = |case: &ledger::cases::Case| !given.open || case.closed.is_none();
    let mut all: Vec<_> = state.cases.all.iter().filter(|it| shown(it.1)).collect();
    all.sort_by_key(|(number, case)| (case.closed.is_some(), std::cmp::Reverse(**number)));
    if given.look.json {
        for (number, case) in all {
            output::json(&summary(&state, *number, case))?;
        }
        return Ok(());
    }
    if all.is_empty() {
        return output::line(
            "There are no such cases; `sekisho watch status` says how far detection is.",
        );
    }
    let rows = all.into_iter().map(|(number, case)| {
        let detectors: Vec<&str> = case
            .detectors
            .iter()
            .map(|code| case_words::detector(*code))
            .collect();
        let how = match (&case.closed, case.asked) {
            (Some(closed), _) => format!("closed: {}", closed.reason.name()),
            (None, Some(_)) => "open, one person asks to close it".to_owned(),
            (None, None) if case.grave => "open, grave".to_owned(),
            (None, None) => "open".to_owned(),
        };
        vec![
            number.to_string(),
            case_words::about(&state, case.actor),
            detectors.join(", "),
            case.findings.to_string(),
            time::shown(case.opened_ms),
            how,
        ]
    });
    output::table(
        &["case", "about", "detectors", "findings", "opened", "state"],
        &rows.collect::<Vec<_>>(),
    )
}

async fn show(given: &One) -> Result<()> {
    let asked = Asked::Show { case: given.case };
    let (desk, reply) = ask(&given.sign, asked).await?;
    let data = reply.data.context("there was no answer")?;
    if desk.json() {
        return output::json(&data);
    }
    let case = &data["case"];
    let state = if case["open"] == true {
        "open"
    } else {
        "closed"
    };
    let about = case["login"].as_str().unwrap_or("nobody");
    output::line(format!(
        "Case {}, {state}, about {about}; response: {}{}",
        given.case,
        case["response"].as_str().unwrap_or_default(),
        if case["grave"] == true {
            "; closing it takes two people"
        } else {
            ""
        }
    ))?;
    for record in data["records"].as_array().into_iter().flatten() {
        one_record(record)?;
    }
    Ok(())
}

fn one_record(record: &Value) -> Result<()> {
    let words = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    output::line(format!("\n{}  {}", words("at"), words("says")))?;
    if let Some(text) = record["text"].as_str() {
        output::line(format!("  {text}"))?;
    }
    let finding = &record["record"]["finding"];
    for line in finding["arithmetic"].as_array().into_iter().flatten() {
        output::line(format!("  {}", line.as_str().unwrap_or_default()))?;
    }
    let numbers = |name: &str| -> Vec<u64> {
        let all = finding[name].as_array().into_iter().flatten();
        all.filter_map(Value::as_u64).collect()
    };
    let days: Vec<u32> = numbers("days")
        .into_iter()
        .filter_map(|count| u32::try_from(count).ok())
        .collect();
    if !days.is_empty() {
        output::line(format!("  by day: {}", watch::words::sparkline(&days)))?;
    }
    let rests_on = numbers("rests_on");
    if !rests_on.is_empty() {
        let all: Vec<String> = rests_on.iter().map(u64::to_string).collect();
        output::line(format!("  rests on records {}", all.join(", ")))?;
    }
    Ok(())
}
