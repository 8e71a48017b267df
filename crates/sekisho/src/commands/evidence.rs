//! `sekisho terminal evidence`: what Windows, Defender and asset-management products wrote.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use base64_simd::STANDARD;
use clap::{Args, Subcommand};
use intake::Mapping;
use intake::evidence::{self, Kind, Options, Words};
use serde_json::json;

use super::desk::Desk;
use super::{Sign, output};
use crate::service::Request;
use crate::watching::desk::{Asked, GivenEvent};
use crate::watching::own::CALLS_MAX;

/// Longest file of settings, in bytes.
const SETTINGS_BYTES_MAX: u64 = 2 << 20;

/// What can be done with evidence.
#[derive(Subcommand)]
pub enum Evidence {
    /// Brings a file in: its events become records, and its terminals are judged by it.
    #[command(after_help = "\
Examples:
  sekisho terminal evidence import --kind windows security.evtx
  sekisho terminal evidence import --kind settings --terminal seat-13 policies.reg
  sekisho terminal evidence import --kind defender device-events.json
  sekisho terminal evidence import --kind csv log.csv --map terminal=PC,time=Date,event=Action \\
      --words 'refused=Blocked|Denied,attached=Inserted,other=*'

A terminal without an agent is healthy while its settings agree with the policy in force, and both they
and its newest event are less than a day old. How each is exported: docs/terminal-evidence.md.")]
    Import(Import),
}

/// What wrote a file.
#[derive(Clone, Copy)]
enum Given {
    Settings,
    Events(Kind),
}

impl FromStr for Given {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "settings" => Ok(Self::Settings),
            word => word.parse().map(Self::Events).map_err(|_| {
                format!(
                    "`{word}` is no kind of evidence; there are settings, windows, defender and csv"
                )
            }),
        }
    }
}

/// A file of evidence.
#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    sign: Sign,
    /// settings (an exported registry), windows (EVTX, XML, JSON), defender (JSON, CSV) or csv.
    #[arg(long)]
    kind: Given,
    /// Whose settings they are (settings).
    #[arg(long)]
    terminal: Option<String>,
    /// Which columns are which fields: time, terminal, event, actor (csv).
    #[arg(long, value_name = "FIELD=COLUMN,...")]
    map: Option<Mapping>,
    /// What the texts of `event` mean (csv).
    #[arg(long, value_name = "FACT=TEXT|TEXT,...")]
    words: Option<Words>,
    /// Minutes ahead of UTC of times without an offset.
    #[arg(long, default_value_t = 540, allow_negative_numbers = true)]
    offset_minutes: i32,
    /// The file.
    file: PathBuf,
}

/// Does it.
pub async fn run(what: Evidence) -> Result<()> {
    let Evidence::Import(given) = what;
    match given.kind {
        Given::Settings => settings(&given).await,
        Given::Events(kind) => events(&given, kind).await,
    }
}

async fn settings(given: &Import) -> Result<()> {
    let named = || given.file.display().to_string();
    let terminal = given.terminal.clone();
    let terminal = terminal.context("give --terminal NAME: whose settings they are")?;
    let length = std::fs::metadata(&given.file).with_context(named)?.len();
    anyhow::ensure!(
        length <= SETTINGS_BYTES_MAX,
        "{}: {length} bytes; at most {SETTINGS_BYTES_MAX}: export the keys that docs/terminal-evidence.md names",
        named()
    );
    let bytes = std::fs::read(&given.file).with_context(named)?;
    let desk = Desk::open(&given.sign)?;
    let asked = Asked::Evidence {
        terminal,
        settings: Some(STANDARD.encode_to_string(bytes)),
        events_until_ms: None,
    };
    let reply = desk.ask(&Request::Detection { asked }).await;
    let reply = reply.with_context(named)?;
    let data = reply.data.unwrap_or_default();
    if desk.json() {
        return output::json(&data);
    }
    let differences = data["differences"].as_array().cloned().unwrap_or_default();
    if differences.is_empty() {
        return output::line("The settings agree with the policy in force.");
    }
    output::line(format!(
        "The settings differ in {} places:",
        differences.len()
    ))?;
    differences
        .iter()
        .filter_map(|it| it.as_str())
        .try_for_each(|it| output::line(format!("  {}", output::visible(it))))
}

async fn events(given: &Import, kind: Kind) -> Result<()> {
    let named = || given.file.display().to_string();
    let file = BufReader::new(File::open(&given.file).with_context(named)?);
    let options = Options {
        mapping: given.map.clone().unwrap_or_default(),
        words: given.words.clone().unwrap_or_default(),
        offset_minutes: given.offset_minutes,
    };
    let found = evidence::read(file, kind, &options).with_context(named)?;
    let desk = Desk::open(&given.sign)?;
    let events: Vec<_> = found
        .pieces
        .iter()
        .filter_map(|piece| {
            Some(GivenEvent {
                terminal: piece.terminal.to_string(),
                login: piece.actor.as_deref().map(str::to_owned),
                event: piece.fact.event()?.name().to_owned(),
                bytes: 0,
                at_ms: piece.at_ms,
            })
        })
        .collect();
    for events in events.chunks(CALLS_MAX) {
        let events = events.to_vec();
        let asked = Asked::Terminals { events };
        desk.ask(&Request::Detection { asked }).await?;
    }
    let mut unknown = Vec::new();
    for (terminal, until_ms) in &found.newest {
        let asked = Asked::Evidence {
            terminal: terminal.to_string(),
            settings: None,
            events_until_ms: Some(*until_ms),
        };
        if let Err(why) = desk.ask(&Request::Detection { asked }).await {
            unknown.push(format!("{terminal}: {why:#}"));
        }
    }
    let (taken, skipped) = (events.len(), found.summary.skipped_lines());
    if desk.json() {
        return output::json(&json!({"events": taken, "terminals": found.newest.len(),
            "not_taken": unknown, "lines": found.summary.lines, "not_read": skipped}));
    }
    output::line(format!(
        "{taken} events of {} terminals are in the ledger; {skipped} of {} lines could not be read.",
        found.newest.len(),
        found.summary.lines
    ))?;
    for why in unknown {
        output::line(format!("Health not judged: {}", output::visible(&why)))?;
    }
    Ok(())
}
