//! `sekisho canary`: fictitious customers among a client's own.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use event::LogId;
use event::record::Body;
use serde_json::json;

use super::cases::{ask, done};
use super::describe::{client_name, login};
use super::{Look, Sign, desk, output, time};
use crate::reading;
use crate::sealing::parse_table;
use crate::watching::canary;
use crate::watching::desk::Asked;

/// What can be done with canaries.
#[derive(Subcommand)]
pub enum Canary {
    /// Makes fictitious customers and puts them among a client's own.
    #[command(after_help = "\
Example:
  sekisho canary plant --client acme --count 5 --database crm --table customers --next id

Nobody has a reason to look one up: whoever sees one without a call opens a case, at once. They are
made, sealed and inserted by the running `sekisho serve`; nobody is shown their values, and their
fingerprints stand in the client's log before they are in the database. Their telephone numbers look
like real ones and may by chance be somebody's: keep outbound campaigns from them.

--next counts on from the greatest number of a column (an id without a default), --set gives a plain
column a value, --leave leaves a sealed column NULL (made-up e-mail addresses are in example domains).

Next: `sekisho canary list`; `sekisho case list --open`.")]
    Plant(Plant),
    /// Lists what was planted when.
    #[command(
        after_help = "Example:\n  sekisho canary list --json\n\nWho they are is known to nobody: only their fingerprints are on record."
    )]
    List(Look),
}

/// What is to be planted.
#[derive(Args)]
pub struct Plant {
    #[command(flatten)]
    sign: Sign,
    /// Among whose customers: the client's code or number.
    #[arg(long)]
    client: String,
    /// How many.
    #[arg(long, default_value_t = 5)]
    count: u32,
    /// The database.
    #[arg(long)]
    database: String,
    /// The sealed table: `[SCHEMA.]TABLE`.
    #[arg(long)]
    table: String,
    /// A plain column that counts on from the greatest number there.
    #[arg(long, value_name = "COLUMN")]
    next: Vec<String>,
    /// A plain column and its value.
    #[arg(long, value_name = "COLUMN=VALUE")]
    set: Vec<String>,
    /// A sealed column that stays NULL.
    #[arg(long, value_name = "COLUMN")]
    leave: Vec<String>,
}

/// Does it.
pub async fn run(what: Canary) -> Result<()> {
    match what {
        Canary::Plant(given) => plant(given).await,
        Canary::List(look) => list(&look).await,
    }
}

async fn plant(given: Plant) -> Result<()> {
    let at = desk::Desk::open(&given.sign)?;
    let client = at
        .find(|state| desk::client(state, &given.client).map(|(id, _)| id))
        .await?;
    let (schema, table) = parse_table(&given.table);
    let pair = |text: &String| {
        let (column, value) = text
            .split_once('=')
            .with_context(|| format!("{text}: write COLUMN=VALUE"))?;
        Ok::<_, anyhow::Error>((column.to_owned(), value.to_owned()))
    };
    let asked = Asked::Plant(canary::Plant {
        client: client.get(),
        count: given.count,
        database: given.database,
        schema,
        table,
        next: given.next,
        set: given.set.iter().map(pair).collect::<Result<_>>()?,
        leave: given.leave,
    });
    let (at, reply) = ask(&given.sign, asked).await?;
    let planted = output::count(given.count, "canary is", "canaries are");
    done(
        &at,
        &reply,
        &format!("{planted} planted among the customers of client {client}."),
    )
}

async fn list(look: &Look) -> Result<()> {
    let folder = look.at.folder()?;
    let state = reading::current(&folder).await?;
    let mut rows = Vec::new();
    for (entry, body) in reading::records(&folder)? {
        let (LogId::Client(client), Body::Canary { count, by, .. }) = (entry.log, body) else {
            continue;
        };
        if look.json {
            output::json(&json!({
                "client": client.get(), "code": client_name(&state, client), "count": count,
                "at": time::rfc3339(entry.wall_ms), "by": by.0, "index": entry.index,
            }))?;
        }
        rows.push(vec![
            client_name(&state, client),
            count.to_string(),
            time::shown(entry.wall_ms),
            login(&state, by),
        ]);
    }
    if look.json {
        return Ok(());
    }
    if rows.is_empty() {
        return output::line("No canaries are planted; `sekisho canary plant --help` says how.");
    }
    output::table(&["client", "canaries", "planted", "by"], &rows)
}
