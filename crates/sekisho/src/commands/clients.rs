//! `sekisho client`: the companies whose customers' data is held.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::desk::Desk;
use super::{Look, Sign, output};
use crate::reading;
use crate::service::Request;

/// What can be done with clients.
#[derive(Subcommand)]
pub enum Clients {
    /// Adds a client: its number and its keys are made.
    #[command(after_help = "\
Example:
  sekisho client add acme --name 'ACME Insurance'

A client's code is 1 to 32 of a-z 0-9 and -. The client has keys of its own: destroying them makes
its customers' data unreadable for ever.

Next: `sekisho actor add` or `sekisho actor set` lets people touch the client.")]
    Add(Add),
    /// Lists the clients.
    #[command(
        after_help = "Example:\n  sekisho client list --json\n\nNext: `sekisho log --client CODE` shows what was seen of a client."
    )]
    List(Look),
}

/// A new client.
#[derive(Args)]
pub struct Add {
    #[command(flatten)]
    sign: Sign,
    /// Its code, in commands and in SET sekisho.scope.
    code: String,
    /// Its name.
    #[arg(long)]
    name: String,
}

/// Does it.
pub async fn run(what: Clients) -> Result<()> {
    match what {
        Clients::Add(add) => {
            let desk = Desk::open(&add.sign)?;
            let request = Request::AddClient {
                code: add.code.clone(),
                name: add.name,
            };
            let reply = desk.ask(&request).await?;
            let number = reply.number.unwrap_or_default();
            desk.told(
                &reply,
                &format!("Client {} is number {number}; its keys are made.", add.code),
            )
        }
        Clients::List(look) => list(&look).await,
    }
}

async fn list(look: &Look) -> Result<()> {
    let state = reading::current(&look.at.folder()?).await?;
    if look.json {
        for (id, client) in state.clients.iter() {
            output::json(&json!({
                "number": id.get(), "code": client.code, "name": client.name,
                "key_epoch": client.key_epoch, "destroyed": client.destroyed,
            }))?;
        }
        return Ok(());
    }
    if state.clients.is_empty() {
        return output::line("There are no clients yet; `sekisho client add` adds one.");
    }
    let rows = state.clients.iter().map(|(id, client)| {
        let key = match client.key_epoch {
            _ if client.destroyed => "destroyed".to_owned(),
            None => "none".to_owned(),
            Some(epoch) => format!("epoch {epoch}"),
        };
        vec![
            id.to_string(),
            client.code.clone(),
            client.name.clone(),
            key,
        ]
    });
    output::table(
        &["number", "code", "name", "key"],
        &rows.collect::<Vec<_>>(),
    )
}
