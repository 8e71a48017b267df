//! `sekisho approve` and `sekisho withdraw`.
//!
//! Invariant: what is signed is read from the ledger by this command itself, and shown before: no
//! running process can show one change and get a signature for another.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, ensure};
use base64_simd::STANDARD;
use clap::Args;
use event::record::change_bytes;
use event::{ChangeId, Role};
use ledger::State;
use ledger::state::{APPROVALS, Proposal};
use serde_json::json;

use super::desk::{self, Desk};
use super::{Sign, describe, output};
use crate::reading;
use crate::service::Request;

/// Approves a change.
#[derive(Args)]
pub struct Approve {
    #[command(flatten)]
    sign: Sign,
    /// The change's number; without it, what waits is listed.
    change: Option<u32>,
    /// Sign without asking.
    #[arg(long)]
    yes: bool,
}

/// Withdraws a change.
#[derive(Args)]
pub struct Withdraw {
    #[command(flatten)]
    sign: Sign,
    /// The change's number.
    change: u32,
}

/// Lists, or shows, asks and signs.
pub async fn run(given: Approve) -> Result<()> {
    let Some(number) = given.change.map(ChangeId) else {
        return list(&given).await;
    };
    if given.sign.look.json && !given.yes {
        // To look at: nothing is asked, nothing signed.
        let state = reading::current(&given.sign.look.at.folder()?).await?;
        return output::json(&as_json(&state, number, open(&state, number)?));
    }
    let desk = Desk::open(&given.sign)?;
    desk.find(|state| open(state, number).map(|_| ())).await?;
    let signer = desk.signer().await?;
    // Read anew, from the ledger itself, whatever the office says.
    let state = reading::current(&desk.folder).await?;
    let proposal = open(&state, number)?;
    let login = &given.sign.login;
    let (id, known) = desk::actor(&state, login)?;
    ensure!(
        known.role == Role::Approver,
        "{login} is {}; approvers sign changes",
        known.role
    );
    let signed = proposal
        .approvals
        .iter()
        .any(|approval| approval.approver == id);
    ensure!(
        !signed,
        "{login} has signed change {number} already; another approver has to"
    );
    if !given.sign.look.json {
        show(&state, number, proposal)?;
    }
    if !given.yes && !confirmed()? {
        return output::line("Nothing was signed.");
    }
    let signature = signer
        .key
        .sign(&change_bytes(&state.ledger, number, &proposal.what));
    let request = Request::Approve {
        change: number.0,
        approver: id.0,
        signature: STANDARD.encode_to_string(signature),
    };
    let reply = desk.office().await?.ask(&request, None).await?;
    desk.told(&reply, &format!("Change {number} is in force."))
}

/// Takes a proposal back, or rejects it.
pub async fn withdraw(given: Withdraw) -> Result<()> {
    let desk = Desk::open(&given.sign)?;
    desk.find(|state| open(state, ChangeId(given.change)).map(|_| ()))
        .await?;
    let reply = desk
        .ask(&Request::Withdraw {
            change: given.change,
        })
        .await?;
    if desk.json() {
        return output::json(&reply);
    }
    output::line(format!("Change {} is withdrawn.", given.change))
}

fn open(state: &State, number: ChangeId) -> Result<&Proposal> {
    state.proposals.get(&number).with_context(|| {
        let why = if number.0 > 0 && number.0 <= state.last_change {
            "is in force or withdrawn already"
        } else {
            "does not exist"
        };
        format!("change {number} {why}; `sekisho approve` lists what waits")
    })
}

async fn list(given: &Approve) -> Result<()> {
    let folder = given.sign.look.at.folder()?;
    let state = reading::current(&folder).await?;
    if given.sign.look.json {
        for (number, proposal) in state.proposals.iter() {
            output::json(&as_json(&state, *number, proposal))?;
        }
        return Ok(());
    }
    if state.proposals.is_empty() {
        return output::line("Nothing waits for approval.");
    }
    let rows = state.proposals.iter().map(|(number, proposal)| {
        vec![
            number.to_string(),
            describe::title(&state, &proposal.what),
            describe::login(&state, proposal.by),
            format!("{} of {APPROVALS}", state.approvals_held(*number)),
        ]
    });
    output::table(
        &["change", "what", "proposed by", "signed"],
        &rows.collect::<Vec<_>>(),
    )?;
    output::line(format!(
        "\nAn approver looks at one and signs it: sekisho approve N --as LOGIN --key FILE --dir {}",
        folder.root().display()
    ))
}

fn signers(state: &State, proposal: &Proposal) -> Vec<String> {
    let approvals = proposal.approvals.iter();
    approvals
        .map(|approval| describe::login(state, approval.approver))
        .collect()
}

fn show(state: &State, number: ChangeId, proposal: &Proposal) -> Result<()> {
    let by = describe::login(state, proposal.by);
    output::line(format!(
        "Change {number}: {}",
        describe::title(state, &proposal.what)
    ))?;
    let signed = signers(state, proposal);
    let signed = if signed.is_empty() {
        "nobody".to_owned()
    } else {
        signed.join(", ")
    };
    output::line(format!("proposed by {by}; signed so far by {signed}\n"))?;
    for line in describe::details(state, &proposal.what) {
        output::line(format!("  {line}"))?;
    }
    output::line("")
}

fn as_json(state: &State, number: ChangeId, proposal: &Proposal) -> serde_json::Value {
    json!({
        "number": number.0, "by": describe::login(state, proposal.by),
        "signed": signers(state, proposal), "approvals": state.approvals_held(number),
        "needed": APPROVALS, "what": describe::json(state, &proposal.what),
        "details": describe::details(state, &proposal.what),
    })
}

fn confirmed() -> Result<bool> {
    let mut out = std::io::stderr().lock();
    write!(out, "sign? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
