//! `sekisho key`: destroying a client's keys.

use anyhow::Result;
use clap::{Args, Subcommand};
use event::record::Change;

use super::desk::Desk;
use super::{Sign, desk, output};
use crate::service::propose_request;

/// What can be done with keys.
#[derive(Subcommand)]
pub enum Keys {
    /// Destroys a client's keys for ever: cells, fingerprints, lists and purposes become unreadable.
    #[command(after_help = "\
Example:
  sekisho key destroy acme
  sekisho approve 31 --as ito --key ito.key        # two approvers

Records stay, and every proof still verifies: who saw how many is known, whom is not.
What could undo it: backups of the folder keys/ (and of this machine) that hold the client's key, with
the master key's passphrase. Destroy those copies, too; until then the destruction is pending there.")]
    Destroy(Destroy),
}

/// Whose.
#[derive(Args)]
pub struct Destroy {
    #[command(flatten)]
    sign: Sign,
    /// The client: code or number.
    client: String,
}

/// Does it.
pub async fn run(what: Keys) -> Result<()> {
    let Keys::Destroy(given) = what;
    let desk = Desk::open(&given.sign)?;
    let client = desk
        .find(|state| desk::client(state, &given.client).map(|(id, _)| id))
        .await?;
    let change = Change::ClientDestroyed { client };
    let reply = desk.ask(&propose_request(&change)).await?;
    desk.told(
        &reply,
        &format!("The keys of client {client} are destroyed."),
    )?;
    if desk.json() {
        return Ok(());
    }
    output::line(format!(
        "Then destroy, too, every backup of {}/clients/{client}.key: with the master key it could undo this.",
        desk.folder.path("keys").display()
    ))
}
