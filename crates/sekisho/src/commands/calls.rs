//! `sekisho calls`: records of the telephone system, which explain exposures.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::desk::Desk;
use super::{Sign, desk, output};
use crate::service::Request;
use crate::watching::desk::{Asked, GivenCall, Personal};
use crate::watching::own::CALLS_MAX;

/// What can be done with records of calls.
#[derive(Subcommand)]
pub enum Calls {
    /// Brings in records of calls: JSON lines, or CSV with a header.
    #[command(after_help = "\
Example:
  sekisho calls import calls.jsonl --as ito --key ito.key

A line for each call:
  {\"actor\":\"sato\",\"client\":\"acme\",\"phone\":\"090-1234-5678\",\"from\":\"2026-11-22T10:00:00+09:00\",\"until\":\"2026-11-22T10:04:10+09:00\"}
`phone` may be `customer_number` instead, or lack; times are RFC 3339 or milliseconds since 1970 UTC.
CSV has the same names in its header.

Numbers become fingerprints under the client's key, and stand in the client's log, encrypted. A line
that cannot be read is counted, told, and left out. Bring in a file once: twice counts twice.

Next: `sekisho watch status`.")]
    Import(Import),
}

/// A file.
#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    sign: Sign,
    /// The file.
    file: PathBuf,
    /// Minutes ahead of UTC of times without an offset.
    #[arg(long, default_value_t = 540, allow_negative_numbers = true)]
    offset_minutes: i32,
}

/// Lines that are told with what is wrong.
const TOLD_MAX: usize = 5;

/// Does it.
pub async fn run(what: Calls) -> Result<()> {
    let Calls::Import(given) = what;
    let text = std::fs::read_to_string(&given.file)
        .with_context(|| format!("{}: cannot be read", given.file.display()))?;
    let desk = Desk::open(&given.sign)?;
    let state = desk.state().await?;
    let mut by_client: BTreeMap<u32, Vec<GivenCall>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, fields) in lines(&text)? {
        let call = fields.and_then(|fields| {
            let (client, call) = call(&fields, given.offset_minutes)?;
            let (client, _) = desk::client(&state, &client)?;
            Ok((client.get(), call))
        });
        match call {
            Ok((client, call)) => by_client.entry(client).or_default().push(call),
            Err(error) => wrong.push(format!("line {number}: {error:#}")),
        }
    }
    let (mut taken, mut unknown, mut own) = (0_u64, 0_u64, 0_u64);
    for (client, calls) in by_client {
        for calls in calls.chunks(CALLS_MAX) {
            let asked = Asked::Calls {
                client,
                calls: calls.to_vec(),
            };
            let reply = desk.ask(&Request::Detection { asked }).await?;
            let data = reply.data.unwrap_or_default();
            taken += data["taken"].as_u64().unwrap_or(0);
            unknown += data["unknown"].as_u64().unwrap_or(0);
            own += data["own"].as_u64().unwrap_or(0);
        }
    }
    if desk.json() {
        return output::json(
            &json!({"taken": taken, "unknown_actors": unknown, "own": own,
            "wrong": wrong.len(), "first_wrong": wrong.iter().take(TOLD_MAX).collect::<Vec<_>>()}),
        );
    }
    for line in wrong.iter().take(TOLD_MAX) {
        output::line(line)?;
    }
    output::line(format!(
        "{taken} calls are in the ledger; {unknown} are of people that Sekisho does not know, {} lines could not be read.{}",
        wrong.len(),
        match own {
            0 => String::new(),
            own => format!(" {own} are your own: somebody else brings them in."),
        }
    ))
}

/// A line's number, and its fields or what is wrong with it.
pub(super) type Line = (usize, Result<Map<String, Value>>);

/// The lines of a file, with their numbers.
pub(super) fn lines(text: &str) -> Result<Vec<Line>> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        let lines = (1..).zip(text.lines());
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let read = |line: &str| {
            // What is wrong is told without the line, which may hold a telephone number.
            serde_json::from_str(line).map_err(|_| anyhow::anyhow!("is no JSON object"))
        };
        return Ok(lines.map(|(number, line)| (number, read(line))).collect());
    }
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().context("the file has no header")?;
    let names: Vec<String> = header.iter().map(str::to_lowercase).collect();
    ensure!(
        names.iter().any(|name| name == "actor"),
        "the file is neither JSON lines nor CSV whose header names actor and the other fields"
    );
    let read = |record: csv::StringRecord| {
        ensure!(
            record.len() == names.len(),
            "has {} values, the header {}",
            record.len(),
            names.len()
        );
        let pairs = names.iter().zip(&record);
        let pairs = pairs.filter(|(_, value)| !value.is_empty());
        Ok(pairs
            .map(|(name, value)| (name.clone(), Value::from(value)))
            .collect())
    };
    let mut all = Vec::new();
    for record in reader.records() {
        let record = record.context("the file is no CSV")?;
        let line = record.position().map_or(0, csv::Position::line);
        all.push((usize::try_from(line).unwrap_or(usize::MAX), read(record)));
    }
    Ok(all)
}

/// A call of a line's fields, and its client.
fn call(fields: &Map<String, Value>, offset_minutes: i32) -> Result<(String, GivenCall)> {
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let needed = |name: &str| text(name).with_context(|| format!("lacks {name}"));
    let time = |name: &str| {
        let given = needed(name)?;
        let number = given.parse().ok();
        number
            .or_else(|| intake::time::read(&given, offset_minutes))
            .with_context(|| format!("{name} is no time"))
    };
    let (from_ms, until_ms) = (time("from")?, time("until")?);
    if until_ms < from_ms {
        bail!("ends before it begins");
    }
    let customer_number = text("customer_number");
    let is_customer_number = customer_number.is_some();
    let call = GivenCall {
        login: needed("actor")?,
        about: customer_number.or_else(|| text("phone")).map(Personal),
        is_customer_number,
        from_ms,
        until_ms,
    };
    Ok((needed("client")?, call))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<(String, GivenCall), String>> {
        let all = lines(text).unwrap();
        let read = |fields: Result<Map<String, Value>>| {
            fields
                .and_then(|fields| call(&fields, 540))
                .map_err(|error| format!("{error:#}"))
        };
        all.into_iter().map(|(_, fields)| read(fields)).collect()
    }

    #[test]
    fn json_lines_and_csv_say_the_same() {
        let json = "{\"actor\":\"sato\",\"client\":\"acme\",\"phone\":\"090-1234-5678\",\
                    \"from\":\"2026-11-22T10:00:00+09:00\",\"until\":1795309450000}\n\nnot json\n{}\n";
        let csv = "actor,client,phone,from,until\n\
                   sato,acme,090-1234-5678,2026-11-22T10:00:00,1795309450000\nsato,acme\n";
        let (json, csv) = (read(json), read(csv));
        for all in [&json, &csv] {
            let (client, call) = all[0].as_ref().unwrap();
            assert_eq!((client.as_str(), call.login.as_str()), ("acme", "sato"));
            assert_eq!(
                (call.from_ms, call.until_ms),
                (1_795_309_200_000, 1_795_309_450_000)
            );
            assert_eq!(call.about.as_ref().unwrap().0, "090-1234-5678");
        }
        assert_eq!(json[1].as_ref().unwrap_err(), "is no JSON object");
        assert_eq!(json[2].as_ref().unwrap_err(), "lacks from");
        assert_eq!(csv[1].as_ref().unwrap_err(), "has 2 values, the header 5");
        assert!(lines("x,y\n1,2\n").is_err());
    }
}
