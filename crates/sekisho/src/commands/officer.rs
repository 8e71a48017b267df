//! `sekisho ledger officer-file`: the file with which a client's officer opens the lists of its log.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use event::record::Change;
use event::{ChangeId, ClientId};
use ledger::State;

use super::desk::Desk;
use super::{Sign, desk, output};
use crate::service::{Request, propose_request};

/// A client's officer's file.
#[derive(Args)]
pub struct OfficerFile {
    #[command(flatten)]
    sign: Sign,
    /// The client: code or number.
    client: String,
    /// Where to: a new file, which its owner alone can read.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// How far it is.
enum Stage {
    Approved,
    Waits(ChangeId),
    New,
}

/// Proposes it, or makes it once two approvers have signed.
pub async fn run(given: &OfficerFile) -> Result<()> {
    let out = std::path::absolute(&given.out).context("--out")?;
    let shown = out.display();
    ensure!(!out.exists(), "{shown}: exists; give a new file");
    let desk = Desk::open(&given.sign)?;
    let (client, stage) = desk
        .find(|state| {
            let (client, known) = desk::client(state, &given.client)?;
            Ok((client, stage(state, client, known.officer_file)))
        })
        .await?;
    match stage {
        Stage::Waits(change) => bail!(
            "change {change} waits for approvals: two approvers run `sekisho approve {change}`; then run this again"
        ),
        Stage::New => {
            let change = Change::OfficerFile { client };
            let reply = desk.ask(&propose_request(&change)).await?;
            desk.told(&reply, "It is approved.")?;
            if desk.json() {
                return Ok(());
            }
            output::line("Then run this again: it writes the file, once.")
        }
        Stage::Approved => {
            let request = Request::OfficerFile {
                client: client.get(),
                out: out.to_str().context("--out is not UTF-8")?.to_owned(),
            };
            let reply = desk.ask(&request).await?;
            let done = format!(
                "{shown} is written. Hand it to the client's officer in person, apart from the key file, and remove it here."
            );
            desk.told(&reply, &done)
        }
    }
}

fn stage(state: &State, client: ClientId, approved: bool) -> Stage {
    if approved {
        return Stage::Approved;
    }
    let asked = Change::OfficerFile { client };
    let mut open = state.proposals.iter();
    let waits = open.find(|(_, proposal)| proposal.what == asked);
    waits.map_or(Stage::New, |(number, _)| Stage::Waits(*number))
}
