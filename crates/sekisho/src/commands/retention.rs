//! `sekisho ledger retention`: how long fingerprint lists and published entries stay.

use anyhow::Result;
use clap::Args;
use event::record::Change;
use serde_json::json;

use super::desk::Desk;
use super::{Sign, describe, output};
use crate::reading;
use crate::service::propose_request;

/// How long.
#[derive(Args)]
pub struct RetentionGiven {
    #[command(flatten)]
    sign: Sign,
    /// Full months that a list stays after its own; 0: for ever.
    #[arg(long, value_name = "N")]
    months: Option<u32>,
    /// Full months that entries stay in published copies after their own; 0: for ever.
    #[arg(long, value_name = "N", conflicts_with = "months")]
    entry_months: Option<u32>,
}

/// Shows or proposes it.
pub async fn run(given: &RetentionGiven) -> Result<()> {
    let change = match (given.months, given.entry_months) {
        (Some(months), _) => Change::Retention { months },
        (None, Some(months)) => Change::EntryRetention { months },
        (None, None) => return show(given).await,
    };
    let desk = Desk::open(&given.sign)?;
    let reply = desk.ask(&propose_request(&change)).await?;
    desk.told(
        &reply,
        "It is in force; `sekisho serve` looks for what is too old once an hour.",
    )
}

async fn show(given: &RetentionGiven) -> Result<()> {
    let look = &given.sign.look;
    let state = reading::current(&look.at.folder()?).await?;
    if look.json {
        let destroyed = state.lists_destroyed.iter();
        let destroyed: Vec<_> = destroyed
            .map(|(client, before)| json!({"client": client.get(), "before": before}))
            .collect();
        let pruned = state.entries_pruned.iter().filter_map(|(client, all)| {
            let last = all.last()?;
            Some(json!({"client": client.get(), "below": last.below, "before": last.before}))
        });
        let pruned: Vec<_> = pruned.collect();
        return output::json(&json!({
            "months": state.retention_months, "destroyed": destroyed,
            "entry_months": state.entry_retention_months, "pruned": pruned,
        }));
    }
    output::line(format!(
        "In force: {}; {}.",
        describe::retention_in_force(&state),
        describe::entry_retention_in_force(&state)
    ))?;
    for (client, before) in &*state.lists_destroyed {
        let (year, month) = (before / 100, before % 100);
        output::line(format!(
            "Client {client}: the lists of months before {year}-{month:02} are destroyed."
        ))?;
    }
    for (client, all) in &*state.entries_pruned {
        if let Some(ledger::state::Pruned { below, before }) = all.last() {
            let (year, month) = (before / 100, before % 100);
            output::line(format!(
                "Client {client}: entries before {below}, of months before {year}-{month:02}, are published no more."
            ))?;
        }
    }
    Ok(())
}
