//! `sekisho watch`: detection over the past, and access records of other systems.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use intake::{Mapping, Merged};
use ledger::ListSealer;
use watch::words::Language;
use watch::{Said, Settings};

use super::{Look, Sign, output, watching};
use crate::watching::replay::{self, Outcome};
use crate::watching::show;

mod import;
mod summary;

/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What can be done with detection.
#[derive(Subcommand)]
pub enum WatchCommand {
    /// Runs the past through detection: the ledger, or imported records.
    #[command(after_help = "\
Examples:
  sekisho watch replay --dir /srv/sekisho
  sekisho watch replay --import accesses.jsonl calls.csv --json
  sekisho watch replay --import calls.csv --map 'kind:=call,time=start,actor=agent,client=queue'

Says each finding with its arithmetic, the records that it rests on and its days, then the cases and
what was not counted. The same records and settings give the same output, byte for byte. The format of
imported records: docs/format/records.md; of --json: docs/format/findings.md.

Exit status 0: done, whatever was found. 1: something cannot be read on, or there is no record at all.
2: wrong arguments.")]
    Replay(Replay),
    /// Turns access records of other systems into records that can be replayed, and says who read most.
    #[command(after_help = "\
Examples:
  sekisho watch import postgresql.csv --format pgaudit --table customers --out past.jsonl
  sekisho watch import postgresql.log --format pgaudit --prefix '%m [%p] %q%u@%d %h ' --out past.jsonl
  sekisho watch import security.evtx --format windows --out terminals.jsonl
  sekisho watch import calls.csv --map 'kind:=call,time=start,actor=agent,client=queue' --out calls.jsonl

Nothing of a statement's text, of a file's path or of a value is kept. What cannot be read is counted by
reason, with its first lines. What each format gives: docs/import.md.

Next: `sekisho watch replay --import past.jsonl calls.jsonl`.

Exit status 0: done, though lines may have been skipped. 1: something cannot be read on, or there is no
record at all. 2: wrong arguments.")]
    Import(import::Import),
    /// Says how far detection is, and what is in force.
    #[command(after_help = "\
Example:
  sekisho watch status --as ito --key ito.key

Detection runs inside `sekisho serve` and follows the ledger from the disk. After a start it replays
everything; cases that are in the ledger are not opened again.
What is in force is set in table [watch] of sekisho.toml; looser takes two approvers.

Next: `sekisho case list --open`.")]
    Status(Sign),
    /// Takes an actor's pace so far as its usual one; two people have to say so.
    #[command(after_help = "\
Example:
  sekisho watch rebaseline sato --as ito --key ito.key
  sekisho watch rebaseline sato --as mori --key mori.key

For a person who has other work from now on. What was counted over a year begins anew, so a thief
would like it: it is a record, it takes two people, and none of them is the one it is about.")]
    Rebaseline(watching::Rebaseline),
    /// Brings in what terminals said: files, media, network.
    #[command(after_help = "\
Example:
  sekisho watch terminals terminals.jsonl --as ito --key ito.key

JSON lines, or CSV with a header, with the fields of docs/format/records.md for a terminal:
  {\"time\":\"2026-11-22T10:31:00+09:00\",\"terminal\":\"10.0.3.17\",\"event\":\"media-written\",\"actor\":\"sato\",\"bytes\":41200000}
Events: file-written, media-attached, media-refused, media-written, sent. A terminal has the address
that its sessions have (`sekisho log`). What is older than two days is counted as late.

Next: `sekisho case list --open`.")]
    Terminals(watching::Terminals),
}

/// What detection is told, and how it speaks.
#[derive(Args)]
struct Told {
    /// Cases a day for 1,000 actors.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    cases_per_day: u32,
    /// How far the place's clocks are ahead of UTC: for its days, and for times without an offset.
    #[arg(long, value_name = "OFFSET", default_value = "+09:00", value_parser = offset, allow_hyphen_values = true)]
    offset: i32,
    /// The language of the findings.
    #[arg(long, default_value = "en")]
    language: Tongue,
}

impl Told {
    fn settings(&self) -> Settings {
        Settings {
            cases_per_day: self.cases_per_day,
            offset_minutes: self.offset,
        }
    }
}

/// A language.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tongue {
    /// English.
    En,
    /// Japanese.
    Ja,
}

impl From<Tongue> for Language {
    fn from(tongue: Tongue) -> Self {
        match tongue {
            Tongue::En => Self::English,
            Tongue::Ja => Self::Japanese,
        }
    }
}

/// `+09:00`, in minutes.
fn offset(text: &str) -> Result<i32, String> {
    let minutes = intake::time::offset(text).map(|ms| ms / 60_000);
    minutes
        .filter(|minutes| minutes.abs() <= 14 * 60)
        .and_then(|minutes| i32::try_from(minutes).ok())
        .ok_or_else(|| "write it like +09:00".to_owned())
}

/// What to replay.
#[derive(Args)]
pub struct Replay {
    #[command(flatten)]
    look: Look,
    /// Files of records instead of the ledger; `-`: standard input.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "lists")]
    import: Vec<PathBuf>,
    /// Which columns of the files are which fields: FIELD=COLUMN,... or FIELD:=TEXT.
    #[arg(long, value_name = "MAP", requires = "import")]
    map: Vec<Mapping>,
    /// Open the lists beside the ledger's records with the master key: overlaps between people and
    /// canaries are seen only so.
    #[arg(long)]
    lists: bool,
    #[command(flatten)]
    told: Told,
}

/// Does it.
pub async fn run(what: WatchCommand) -> Result<()> {
    match what {
        WatchCommand::Replay(given) => replay(&given),
        WatchCommand::Import(given) => import::run(&given),
        WatchCommand::Status(sign) => watching::status(&sign).await,
        WatchCommand::Rebaseline(given) => watching::rebaseline(&given).await,
        WatchCommand::Terminals(given) => watching::terminals(&given).await,
    }
}

fn replay(given: &Replay) -> Result<()> {
    let language = Language::from(given.told.language);
    let as_json = given.look.json;
    let bar = match given.import.as_slice() {
        [] => spinner(),
        files => bytes_bar(files)?,
    };
    let mut tell = |said: &Said, names: &dyn watch::words::Names| -> Result<()> {
        bar.suspend(|| match as_json {
            true => output::json(&show::json(said, names, language)),
            false => output::line(show::words(said, names, language)),
        })
    };
    let settings = given.told.settings();
    if given.import.is_empty() {
        let outcome = replay_ledger(given, settings, &bar, &mut tell)?;
        return summary::of_ledger(&outcome, as_json, given.told.offset);
    }
    let mapping = merged(&given.map)?;
    let mut sources = Vec::new();
    for path in &given.import {
        let options = intake::records::Options {
            mapping: mapping.clone(),
            offset_minutes: given.told.offset,
        };
        let source = intake::records::open(reader(path, &bar)?, options);
        sources.push(source.with_context(|| shown(path))?);
    }
    let mut sources = Merged::new(sources);
    let name = |at: usize| shown(&given.import[at]);
    let outcome = replay::import(&mut sources, settings, &name, &mut tell, &|_| {})?;
    bar.finish_and_clear();
    let files = summaries(&given.import, &sources);
    summary::of_import(&outcome, &files, as_json, given.told.offset)?;
    has_records(outcome.records, &files)
}

fn replay_ledger(
    given: &Replay,
    settings: Settings,
    bar: &ProgressBar,
    tell: replay::Tell<'_>,
) -> Result<Outcome> {
    let folder = given.look.at.folder()?;
    let lists = match given.lists {
        true => {
            let keys = crate::keys::open(&folder.path("keys"))?;
            Some(Arc::new(crate::keys::Lists(keys)) as Arc<dyn ListSealer>)
        }
        false => None,
    };
    let report = |records| bar.set_position(records);
    let outcome = replay::ledger(&folder, lists, settings, tell, &report)?;
    bar.finish_and_clear();
    ensure!(outcome.records > 0, "the ledger has no record yet");
    Ok(outcome)
}

/// The name of a file in what is said about it.
fn shown(path: &Path) -> String {
    match is_stdin(path) {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}

/// The files with what became of their lines.
fn summaries<'a>(paths: &[PathBuf], sources: &'a Merged<'_>) -> Vec<(String, &'a intake::Summary)> {
    let names = paths.iter().map(|path| shown(path));
    names.zip(sources.summaries()).collect()
}

/// How many records there were; how many there are is not known.
fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message("records of the ledger");
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {human_pos} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// No record at all is a mistake in the arguments rather than a quiet past.
fn has_records(records: u64, files: &[(String, &intake::Summary)]) -> Result<()> {
    if records > 0 {
        return Ok(());
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let skipped = files.iter().any(|(_, summary)| summary.skipped_lines() > 0);
    let empty = files.iter().all(|(_, summary)| summary.lines == 0);
    if skipped || empty {
        bail!("{names}: no record could be read; docs/format/records.md says what one looks like");
    }
    bail!("{names}: nothing there is about access; docs/import.md says what each format gives")
}

/// Several `--map` are one.
fn merged(given: &[Mapping]) -> Result<Mapping> {
    let mut all = Mapping::default();
    for mapping in given {
        all = all.with(mapping).context("--map")?;
    }
    Ok(all)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A bar over the bytes of files; without a length if one is not known.
fn bytes_bar(files: &[PathBuf]) -> Result<ProgressBar> {
    let mut length = Some(0);
    for path in files {
        if is_stdin(path) {
            length = None;
            continue;
        }
        let of = std::fs::metadata(path).with_context(|| path.display().to_string())?;
        ensure!(!of.is_dir(), "{}: is a folder", path.display());
        length = length.filter(|_| of.is_file()).map(|sum| sum + of.len());
    }
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    if let Ok(style) = ProgressStyle::with_template(
        "  {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
    ) {
        bar.set_style(style);
    }
    Ok(bar)
}

/// The bytes of a file, or of standard input, counted.
fn reader(path: &Path, bar: &ProgressBar) -> Result<Box<dyn BufRead>> {
    Ok(match file(path, bar)? {
        Some(file) => Box::new(file),
        None => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            bar.wrap_read(io::stdin()),
        )),
    })
}

/// The bytes of a file, counted; `None`: it is standard input.
fn file(path: &Path, bar: &ProgressBar) -> Result<Option<impl BufRead + Seek + 'static>> {
    if is_stdin(path) {
        return Ok(None);
    }
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let counted = bar.wrap_read(file);
    Ok(Some(BufReader::with_capacity(BUFFER_BYTES, counted)))
}
