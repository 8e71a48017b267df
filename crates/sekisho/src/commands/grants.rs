//! `sekisho grant`: approved exceptions, and their end.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use event::GrantId;
use event::record::{Change, Grant, GrantKind};
use ledger::State;

use super::desk::{self, Desk};
use super::{Look, Sign, describe, output, time};
use crate::reading;
use crate::service::{Reply, now_ms, propose_request};

/// What can be done with grants.
#[derive(Subcommand)]
pub enum Grants {
    /// Proposes a grant; two approvers put it in force.
    #[command(after_help = "\
Examples:
  sekisho grant request --actor sato --client acme --what see --amount 500 --hours 1 --ticket T-81
  sekisho grant request --actor mori --client 2 --what import --amount 50000 --hours 8 --ticket T-82

see: so many subjects in clear beyond the budgets. import: so many values probed and sealed on the
way in. carry: so many people in files that the broker of a terminal writes to company media.
Administrators, security and supervisors may propose.

Next: two approvers `sekisho approve`; then the actor says in his session
  SET sekisho.grant_id = 'N'
or, of a grant to carry, on the terminal
  sekisho-post copy --grant N FILE")]
    Request(Ask),
    /// Lists the grants and how much of them is used.
    #[command(
        after_help = "Example:\n  sekisho grant list --json\n\nNext: `sekisho log --actor LOGIN` shows what was done with a grant."
    )]
    List(Look),
    /// Ends a grant before its time, at once.
    #[command(
        after_help = "Example:\n  sekisho grant end 3\n\nNeeds no approvals: it takes a right away."
    )]
    End(End),
}

/// What a grant allows.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Subjects seen in clear.
    See,
    /// Values brought in.
    Import,
    /// People in files on company media.
    Carry,
}

/// A grant that is asked for.
#[derive(Args)]
pub struct Ask {
    #[command(flatten)]
    sign: Sign,
    /// Who may use it.
    #[arg(long, value_name = "LOGIN")]
    actor: String,
    /// Of which client: code or number.
    #[arg(long)]
    client: String,
    /// What for.
    #[arg(long)]
    what: What,
    /// How many subjects, or values.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    amount: u64,
    /// For how long, from now.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=24 * 366))]
    hours: u64,
    /// Why: a ticket's or a call's id, 1 to 64 of A-Z a-z 0-9 - _ / .
    #[arg(long)]
    ticket: String,
}

/// Which grant.
#[derive(Args)]
pub struct End {
    #[command(flatten)]
    sign: Sign,
    /// Its number.
    grant: u32,
}

/// Does it.
pub async fn run(what: Grants) -> Result<()> {
    match what {
        Grants::Request(ask) => request(ask).await,
        Grants::List(look) => list(&look).await,
        Grants::End(end) => {
            let desk = Desk::open(&end.sign)?;
            let change = Change::GrantEnded {
                grant: GrantId(end.grant),
            };
            let reply = desk.ask(&propose_request(&change)).await?;
            desk.told(&reply, &format!("Grant {} has ended.", end.grant))
        }
    }
}

async fn request(ask: Ask) -> Result<()> {
    let desk = Desk::open(&ask.sign)?;
    let (actor, client, grant) = desk
        .find(|state| {
            let (actor, _) = desk::actor(state, &ask.actor)?;
            let (client, _) = desk::client(state, &ask.client)?;
            Ok((actor, client, next(state)))
        })
        .await?;
    let change = Change::Grant(Grant {
        grant,
        actor,
        client,
        what: match ask.what {
            What::See => GrantKind::See,
            What::Import => GrantKind::Import,
            What::Carry => GrantKind::Carry,
        },
        amount: ask.amount,
        until_ms: now_ms() + ask.hours * 3_600_000,
        ticket: ask.ticket.clone(),
    });
    let reply = Reply {
        number: Some(grant.0),
        ..desk.ask(&propose_request(&change)).await?
    };
    desk.told(&reply, &format!("Grant {grant} is in force."))?;
    if desk.json() {
        return Ok(());
    }
    let how = match ask.what {
        What::Carry => format!("sekisho-post copy --grant {grant} FILE"),
        What::See | What::Import => format!("SET sekisho.grant_id = '{grant}'"),
    };
    output::line(format!("Then {} uses it with: {how}", ask.actor))
}

/// The next number that neither a grant nor a proposal has.
fn next(state: &State) -> GrantId {
    let proposed = state
        .proposals
        .values()
        .filter_map(|proposal| match &proposal.what {
            Change::Grant(grant) => Some(grant.grant.0),
            _ => None,
        });
    GrantId(
        state
            .grants
            .keys()
            .map(|grant| grant.0)
            .chain(proposed)
            .max()
            .unwrap_or(0)
            + 1,
    )
}

async fn list(look: &Look) -> Result<()> {
    let state = reading::current(&look.at.folder()?).await?;
    let now = now_ms();
    let mut rows = Vec::new();
    for (id, one) in state.grants.iter() {
        let standing = if one.ended {
            "ended"
        } else if one.grant.until_ms <= now {
            "expired"
        } else if one.used >= one.grant.amount {
            "used up"
        } else {
            "in force"
        };
        if look.json {
            let mut value = describe::grant_json(&state, &one.grant);
            value["used"] = one.used.into();
            value["standing"] = standing.into();
            output::json(&value)?;
            continue;
        }
        rows.push(vec![
            id.to_string(),
            describe::granted(&state, &one.grant),
            format!("{} used", one.used),
            time::shown(one.grant.until_ms),
            one.grant.ticket.clone(),
            standing.to_owned(),
        ]);
    }
    if look.json {
        return Ok(());
    }
    if rows.is_empty() {
        return output::line("There are no grants; `sekisho grant request` proposes one.");
    }
    output::table(&["grant", "what", "", "until", "ticket", ""], &rows)
}
