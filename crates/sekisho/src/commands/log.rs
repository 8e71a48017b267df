//! `sekisho log`: the ledger for people. Reads while it is written, without its lock or any key.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use event::record::{Body, Change};
use event::{ActorId, Digest, LogId};
use ledger::logs::SaltKey;
use ledger::{Entry, Reader, State};

use super::log_words::{json, words};
use super::{Look, case_words, describe, desk, output, time};
use crate::folder::write_private;
use crate::reading;
use crate::service::now_ms;

/// How often a followed ledger is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// What to show.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Log {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    look: Look,
    /// Only the log of this client: code or number.
    #[arg(long)]
    client: Option<String>,
    /// Only what this actor did, or what was done to his account.
    #[arg(long, value_name = "LOGIN")]
    actor: Option<String>,
    /// From when: 2h, 30m, 7d (ago), or 2026-11-22T10:00 (UTC+09:00 unless it says another).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Until when.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the last N of them.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Go on as records are written, until Ctrl-C.
    #[arg(long, conflicts_with = "until")]
    follow: bool,
}

/// What else can be done with records.
#[derive(Subcommand)]
enum What {
    /// Writes the proof of one record: a text file that an outsider checks with the client's key
    /// file and no network.
    #[command(after_help = "\
Example:
  sekisho log --client acme --json | tail -1        # shows the index
  sekisho log proof --client acme --index 1207 --out seen.proof

Next: `sekisho-verify proof seen.proof --key acme.sekisho`.")]
    Proof(Proof),
}

/// One record.
#[derive(Args)]
struct Proof {
    #[command(flatten)]
    look: Look,
    /// The client whose log it is in: code or number; without one, the centre's log.
    #[arg(long)]
    client: Option<String>,
    /// The record's index in that log.
    #[arg(long)]
    index: u64,
    /// Where to [default: print it].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What is known when a record is shown: the state just after it, and the shapes so far.
pub struct Known {
    /// The state.
    pub state: State,
    /// Texts of shapes.
    pub shapes: BTreeMap<Digest, String>,
}

/// The proposal that a record ends.
pub struct About {
    /// What it was about, in a few words, as of before.
    pub title: String,
    what: Change,
}

/// Which records are shown.
struct Filter {
    log: Option<LogId>,
    actor: Option<ActorId>,
    since_ms: u64,
    until_ms: u64,
}

/// Shows them.
pub async fn run(given: Log) -> Result<()> {
    if let Some(What::Proof(given)) = &given.what {
        return proof(given).await;
    }
    let folder = given.look.at.folder()?;
    let filter = filter(&given, &reading::current(&folder).await?)?;
    let mut reader = Reader::open(&folder.ledger()).context("the ledger cannot be read")?;
    let mut known = Known {
        state: State::default(),
        shapes: BTreeMap::new(),
    };
    let mut last = VecDeque::new();
    while let Some(entry) = reader.next_entry()? {
        let Some(text) = taken(&mut known, &filter, &entry, given.look.json)? else {
            continue;
        };
        match given.last {
            None => show(&text)?,
            Some(n) => {
                last.push_back(text);
                if last.len() > n {
                    last.pop_front();
                }
            }
        }
    }
    for text in &last {
        show(text)?;
    }
    if given.follow {
        follow(&mut reader, &mut known, &filter, given.look.json).await
    } else {
        Ok(())
    }
}

async fn proof(given: &Proof) -> Result<()> {
    let folder = given.look.at.folder()?;
    let state = reading::current(&folder).await?;
    let client = given.client.as_deref();
    let log = match client.map(|text| desk::client(&state, text)).transpose()? {
        Some((client, _)) => LogId::Client(client),
        None => LogId::Centre,
    };
    let store = super::ledger::store(&folder)?;
    let secret = folder.kept_secret(crate::logs::SALT)?;
    let salt = SaltKey::new(&secret);
    let at = (log, given.index);
    let kept = || kept_entry(&folder, at);
    let text = ledger::logs::proof::entry_proof(&store, &salt, at, &kept)?;
    match &given.out {
        None => output::line(text.trim_end()),
        Some(path) => {
            write_private(path, text.as_bytes())?;
            output::line(format!("{} is written.", path.display()))
        }
    }
}

/// The entry of a record, out of the write-ahead log and its archive.
fn kept_entry(
    folder: &crate::folder::Folder,
    (log, index): (LogId, u64),
) -> Result<Option<Vec<u8>>, ledger::LedgerError> {
    let mut reader = Reader::open(&folder.ledger())?;
    while let Some(entry) = reader.next_entry()? {
        if (entry.log, entry.index) == (log, index) {
            let bytes =
                ledger::logs::sequence::entry_bytes(entry.wall_ms, entry.elapsed_ms, &entry.record);
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

async fn follow(reader: &mut Reader, known: &mut Known, filter: &Filter, json: bool) -> Result<()> {
    let mut end = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = &mut end => return Ok(()),
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
        }
        while let Some(entry) = reader.next_entry()? {
            if let Some(text) = taken(known, filter, &entry, json)? {
                show(&text)?;
            }
        }
    }
}

/// A record as text: words or JSON.
enum Text {
    Words(String),
    Json(serde_json::Value),
}

fn show(text: &Text) -> Result<()> {
    match text {
        Text::Words(words) => output::line(words),
        Text::Json(value) => output::json(value),
    }
}

fn filter(given: &Log, state: &State) -> Result<Filter> {
    let now = now_ms();
    let client = given
        .client
        .as_deref()
        .map(|text| desk::client(state, text))
        .transpose()?;
    let actor = given
        .actor
        .as_deref()
        .map(|login| desk::actor(state, login))
        .transpose()?;
    let at = |text: &Option<String>| {
        text.as_deref()
            .map(|text| time::read(text, now))
            .transpose()
    };
    Ok(Filter {
        log: client.map(|(id, _)| LogId::Client(id)),
        actor: actor.map(|(id, _)| id),
        since_ms: at(&given.since)?.unwrap_or(0),
        until_ms: at(&given.until)?.unwrap_or(u64::MAX),
    })
}

/// Folds a record; its text if it is to be shown.
fn taken(known: &mut Known, filter: &Filter, entry: &Entry, as_json: bool) -> Result<Option<Text>> {
    // What ends a proposal is told by what it was about: looked up before it goes.
    let before = match reading::body(entry)? {
        Body::InForce { change, .. } | Body::Withdrawn { change, .. } => {
            let proposal = known.state.proposals.get(&change);
            proposal.map(|proposal| About {
                title: describe::title(&known.state, &proposal.what),
                what: proposal.what.clone(),
            })
        }
        _ => None,
    };
    let body = reading::fold(&mut known.state, entry)?;
    if let Body::Shape { digest, text } = &body {
        known.shapes.insert(*digest, text.clone());
    }
    let about = before.as_ref();
    // A client's log holds copies of the refusals and cases that concern it.
    let copied = matches!(
        body,
        Body::Refused { .. }
            | Body::Case { .. }
            | Body::CaseNoted { .. }
            | Body::CaseClosed { .. }
            | Body::CaseReopened { .. }
    );
    let copy = copied && entry.log != LogId::Centre;
    let shown = filter.log.map_or(!copy, |log| log == entry.log)
        && filter
            .actor
            .is_none_or(|actor| concerns(known, &body, about, actor))
        && (filter.since_ms..=filter.until_ms).contains(&entry.wall_ms);
    Ok(shown.then(|| {
        if as_json {
            Text::Json(json(known, entry, &body, about))
        } else {
            Text::Words(words(known, entry, &body, about))
        }
    }))
}

/// Whether an actor did it, or it is about him.
fn concerns(known: &Known, body: &Body, about: Option<&About>, actor: ActorId) -> bool {
    let change = |number| {
        known
            .state
            .proposals
            .get(number)
            .map(|proposal| &proposal.what)
    };
    match body {
        Body::SessionOpened { who, .. } | Body::Finding { who, .. } => who.actor == actor,
        Body::Exposure(exposure) => exposure.who.actor == actor,
        Body::OfficerFile { by } => *by == actor,
        Body::TerminalCopy { who, .. } => who.actor == actor,
        Body::Refused { who, .. } => who.as_ref().is_some_and(|who| who.actor == actor),
        Body::Proposed { by, what, .. } => *by == actor || touches(what, actor),
        Body::Approved {
            change: number,
            approval,
        } => approval.approver == actor || change(number).is_some_and(|what| touches(what, actor)),
        Body::Withdrawn { by, .. } => {
            *by == actor || about.is_some_and(|about| touches(&about.what, actor))
        }
        Body::InForce { .. } => about.is_some_and(|about| touches(&about.what, actor)),
        Body::Case { .. }
        | Body::CaseNoted { .. }
        | Body::CaseClosed { .. }
        | Body::CaseReopened { .. }
        | Body::Rebaselined { .. }
        | Body::Canary { .. }
        | Body::Calls { .. }
        | Body::Terminal { .. }
        | Body::Counters { .. } => case_words::concerns(body, actor),
        Body::TerminalAsked { .. }
        | Body::TerminalReport { .. }
        | Body::TerminalHealth { .. }
        | Body::TerminalEvidence { .. }
        | Body::SessionClosed { .. }
        | Body::Genesis { .. }
        | Body::Started { .. }
        | Body::Stopped
        | Body::Shape { .. }
        | Body::LogOpened { .. }
        | Body::ClockStepped { .. }
        | Body::Snapshot { .. }
        | Body::Archived { .. }
        | Body::TimeStamped { .. }
        | Body::Space { .. }
        | Body::LossDeclared { .. }
        | Body::ListsDestroyed { .. }
        | Body::ReceiptCap { .. }
        | Body::EntriesPruned { .. }
        | Body::Unknown { .. } => false,
    }
}

fn touches(what: &Change, of: ActorId) -> bool {
    match what {
        Change::ActorSet { actor, .. }
        | Change::Credential { actor, .. }
        | Change::EnrolmentCode { actor, .. }
        | Change::SigningKey { actor, .. } => *actor == of,
        Change::Grant(grant) => grant.actor == of,
        _ => false,
    }
}
