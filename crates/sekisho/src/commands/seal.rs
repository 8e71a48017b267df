//! `sekisho seal`: the columns of a new or empty table become sealed ones. The running `serve`
//! carries it out, which alone knows the password of PostgreSQL's owning account; without one, this
//! command starts or names PostgreSQL itself.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Args;

use super::desk::{self, Desk};
use super::{Sign, output};
use crate::admin::Office;
use crate::service::Request;
use crate::{sealing, serve};

/// A table that is to be sealed.
#[derive(Args)]
pub struct Seal {
    #[command(flatten)]
    sign: Sign,
    /// The database.
    #[arg(long, value_name = "DB")]
    database: String,
    /// The table; without a schema, public.
    #[arg(long, value_name = "[SCHEMA.]TABLE")]
    table: String,
    /// A column and how it is sealed; may be given several times.
    #[arg(
        long = "column",
        value_name = "COL=CLASS[:MODE[:DOMAIN]]",
        required = true
    )]
    columns: Vec<String>,
    /// The column that holds a row's client number.
    #[arg(long, value_name = "COL", conflicts_with = "client")]
    client_column: Option<String>,
    /// The client whose all rows are: code or number.
    #[arg(long)]
    client: Option<String>,
}

/// Does it.
pub async fn run(given: Seal) -> Result<()> {
    for column in &given.columns {
        sealing::parse_column(column)?;
    }
    let desk = Desk::open(&given.sign)?;
    let client = match &given.client {
        Some(text) => Some(
            desk.find(|state| desk::client(state, text).map(|(id, _)| id))
                .await?
                .get(),
        ),
        None => None,
    };
    let (schema, table) = sealing::parse_table(&given.table);
    let request = Request::Seal {
        database: given.database.clone(),
        schema,
        table,
        columns: given.columns.clone(),
        client_column: given.client_column.clone(),
        client,
    };
    // Who may not sign is told before anything is started.
    desk.signer().await?;
    let database = match desk.office().await? {
        Office::Remote(..) => None,
        Office::Local(opened) => {
            let config = desk.folder.config()?;
            let mut say = |line: String| {
                // Progress: where nobody reads it, nothing is lost.
                let _ = writeln!(std::io::stderr(), "sekisho: {line}");
            };
            let database = serve::database(&desk.folder, &config, &mut say).await?;
            opened
                .service
                .use_database(database.upstream.clone(), database.owner.clone());
            Some(database)
        }
    };
    let reply = desk.ask(&request).await;
    if let Some(server) = database.and_then(|database| database.server) {
        server
            .stop()
            .await
            .context("the embedded PostgreSQL did not stop")?;
    }
    let reply = reply?;
    desk.told(
        &reply,
        "The pin is in force: the gate seals and opens these columns now.",
    )?;
    if desk.json() || reply.in_force {
        return Ok(());
    }
    output::line(
        "Until then do not write to the table: its CHECK constraints refuse plain values, but only\n\
         after PostgreSQL has seen them.",
    )
}
