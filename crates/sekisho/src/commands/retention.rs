//! `sekisho ledger retention`: how long fingerprint lists stay.

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
}

/// Shows or proposes it.
pub async fn run(given: &RetentionGiven) -> Result<()> {
    let Some(months) = given.months else {
        let look = &given.sign.look;
        let state = reading::current(&look.at.folder()?).await?;
        if look.json {
            let destroyed = state.lists_destroyed.iter();
            let destroyed: Vec<_> = destroyed
                .map(|(client, before)| json!({"client": client.get(), "before": before}))
                .collect();
            return output::json(
                &json!({"months": state.retention_months, "destroyed": destroyed}),
            );
        }
        output::line(format!(
            "In force: {}.",
            describe::retention_in_force(&state)
        ))?;
        for (client, before) in &*state.lists_destroyed {
            let (year, month) = (before / 100, before % 100);
            output::line(format!(
                "Client {client}: the lists of months before {year}-{month:02} are destroyed."
            ))?;
        }
        return Ok(());
    };
    let desk = Desk::open(&given.sign)?;
    let reply = desk
        .ask(&propose_request(&Change::Retention { months }))
        .await?;
    desk.told(
        &reply,
        "It is in force; `sekisho serve` looks for what is too old once an hour.",
    )
}
