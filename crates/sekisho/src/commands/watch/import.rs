//! `sekisho watch import`: access records of other systems to records that can be replayed.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use intake::heaviest::{Heaviest, Reader};
use intake::postgres::{Prefix, Says};
use intake::{Mapping, Merged, Names, Source, Taken};
use serde_json::json;
use watch::words::{clock, thousands};

use super::{bytes_bar, file, has_records, merged, offset, reader, shown, summaries, summary};
use crate::commands::output;

/// What to import.
#[derive(Args)]
pub struct Import {
    /// Files; several of one format are merged by time. `-`: standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What they are.
    #[arg(long, default_value = "records")]
    format: Format,
    /// Where the records go, as JSON lines.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Which columns are which fields (records): FIELD=COLUMN,... or FIELD:=TEXT.
    #[arg(long, value_name = "MAP")]
    map: Vec<Mapping>,
    /// Tables that hold personal data (pgaudit, csvlog); without any, all but PostgreSQL's own.
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,
    /// Whose customers' data it is (pgaudit, csvlog); without it, each database is a client.
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// log_line_prefix of PostgreSQL's ordinary log (pgaudit).
    #[arg(long, value_name = "PREFIX", default_value = "%m [%p] %q%u@%d ")]
    prefix: Prefix,
    /// What a read counts whose rows nobody counted (pgaudit, csvlog).
    #[arg(long, value_name = "N", default_value_t = 1)]
    unknown_rows: u32,
    /// How far the place's clocks are ahead of UTC: for its days, and for times without an offset.
    #[arg(long, value_name = "OFFSET", default_value = "+09:00", value_parser = offset, allow_hyphen_values = true)]
    offset: i32,
    /// How many of the heaviest readers to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    readers: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON lines or CSV of docs/format/records.md, or with --map.
    Records,
    /// pgAudit in PostgreSQL's csvlog or ordinary log.
    Pgaudit,
    /// PostgreSQL's csvlog with log_statement or log_min_duration_statement.
    Csvlog,
    /// Event logs of Windows: XML, JSON, EVTX.
    Windows,
}

/// Does it.
pub fn run(given: &Import) -> Result<()> {
    let bar = bytes_bar(&given.files)?;
    let mapping = merged(&given.map)?;
    let mut sources = Vec::new();
    for path in &given.files {
        let source = open(given, &mapping, path, &bar);
        sources.push(source.with_context(|| shown(path))?);
    }
    let mut sources = Merged::new(sources);
    let mut names = Names::default();
    let mut heaviest = Heaviest::new(given.offset);
    let records = write(given, &mut sources, &mut names, &mut heaviest)?;
    bar.finish_and_clear();
    let files = summaries(&given.files, &sources);
    let readers = heaviest.table(given.readers);
    if given.json {
        let files: Vec<_> = files
            .iter()
            .map(|(name, summary)| summary::file_json(name, summary))
            .collect();
        let readers: Vec<_> = readers.iter().map(|of| reader_json(of, &names)).collect();
        output::json(
            &json!({"out": given.out, "records": records, "files": files,
            "heaviest_readers": readers, "exposures_beyond": heaviest.beyond()}),
        )?;
    } else {
        for (name, of) in &files {
            summary::file(name, of, given.offset)?;
        }
        show(&readers, &names)?;
        if records > 0 {
            output::line(format!(
                "{} records are in {}. Next: `sekisho watch replay --import {1}`.",
                thousands(records),
                given.out.display()
            ))?;
        }
    }
    has_records(records, &files)
}

fn open<'a>(
    given: &Import,
    mapping: &Mapping,
    path: &std::path::Path,
    bar: &indicatif::ProgressBar,
) -> Result<Box<dyn Source + 'a>> {
    let offset_minutes = given.offset;
    let says = match given.format {
        Format::Records => {
            let options = intake::records::Options {
                mapping: mapping.clone(),
                offset_minutes,
            };
            return Ok(intake::records::open(reader(path, bar)?, options)?);
        }
        Format::Windows => {
            return Ok(match file(path, bar)? {
                Some(file) => intake::windows::open(file, offset_minutes)?,
                None => intake::windows::open_stream(reader(path, bar)?, offset_minutes)?,
            });
        }
        Format::Pgaudit => Says::Audit,
        Format::Csvlog => Says::Statements,
    };
    let options = intake::postgres::Options {
        prefix: given.prefix.clone(),
        tables: given
            .table
            .iter()
            .map(|table| table.to_lowercase())
            .collect(),
        client: given.client.clone(),
        unknown_rows: given.unknown_rows,
        offset_minutes,
        ..intake::postgres::Options::new(says)
    };
    Ok(intake::postgres::open(reader(path, bar)?, options)?)
}

/// Writes the records beside the file that is to be, which takes its place when it is whole.
fn write(
    given: &Import,
    sources: &mut Merged<'_>,
    names: &mut Names,
    heaviest: &mut Heaviest,
) -> Result<u64> {
    let written = || format!("{}: cannot be written", given.out.display());
    let mut beside = given.out.clone().into_os_string();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let mut out = BufWriter::new(fs::File::create(&beside).with_context(written)?);
    let mut taken = Taken::default();
    let mut line = String::new();
    let mut records = 0;
    loop {
        let more = sources.next(names, &mut taken);
        let more = more.map_err(|(at, error)| anyhow!("{}: {error}", shown(&given.files[at])))?;
        if !more {
            break;
        }
        // Numbered by the line that it will have.
        records += 1;
        let mut record = taken.record();
        record.sequence = records;
        heaviest.add(&record);
        line.clear();
        intake::records::write(&record, names, &mut line);
        out.write_all(line.as_bytes()).with_context(written)?;
    }
    out.flush().with_context(written)?;
    fs::rename(&beside, &given.out).with_context(written)?;
    Ok(records)
}

fn reader_json(reader: &Reader, names: &Names) -> serde_json::Value {
    json!({"actor": names.actor_name(reader.actor), "records": reader.records,
        "subjects": reader.subjects, "rows": reader.rows, "days": reader.days,
        "most_in_a_day": reader.most, "that_day": day(reader.most_day)})
}

fn day(number: u32) -> String {
    let date = clock(u64::from(number) * 86_400_000, 0);
    date.split(' ').next().unwrap_or_default().to_owned()
}

fn show(readers: &[Reader], names: &Names) -> Result<()> {
    if readers.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::line("The heaviest readers of the last year (subjects and rows as often as shown):")?;
    let row = |of: &Reader| {
        vec![
            names.actor_name(of.actor).into_owned(),
            thousands(of.records),
            thousands(of.subjects),
            thousands(of.rows),
            thousands(of.days.into()),
            thousands(of.most),
            day(of.most_day),
        ]
    };
    let rows: Vec<Vec<String>> = readers.iter().map(row).collect();
    output::table(
        &[
            "actor",
            "records",
            "subjects",
            "rows",
            "days",
            "most in a day",
            "that day",
        ],
        &rows,
    )?;
    output::line("")
}
