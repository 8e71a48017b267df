//! What a replay or an import came to, for people and as JSON.

use std::collections::BTreeMap;

use anyhow::Result;
use intake::{Summary, Tally};
use serde_json::{Map, Value, json};
use watch::words::{clock, thousands};
use watch::{Detector, Skipped};

use crate::commands::output;
use crate::watching::replay::{CaseSum, Outcome};
use crate::watching::show::detector;

/// Of a ledger.
pub(super) fn of_ledger(outcome: &Outcome, as_json: bool, offset_minutes: i32) -> Result<()> {
    if as_json {
        return output::json(&json!({ "summary": figures(outcome) }));
    }
    cases(outcome, offset_minutes)?;
    output::line(format!(
        "{} records of the ledger.",
        thousands(outcome.records)
    ))?;
    not_counted(outcome.skipped)?;
    if let Some((count, why)) = &outcome.closed {
        output::line(format!(
            "{} lists that should open do not; the first: {why}",
            thousands(*count)
        ))?;
    }
    Ok(())
}

/// Of imported records.
pub(super) fn of_import(
    outcome: &Outcome,
    files: &[(String, &Summary)],
    as_json: bool,
    offset_minutes: i32,
) -> Result<()> {
    if as_json {
        let mut figures = figures(outcome);
        let files = files.iter().map(|(name, summary)| file_json(name, summary));
        figures.insert("files".to_owned(), files.collect());
        return output::json(&json!({ "summary": figures }));
    }
    cases(outcome, offset_minutes)?;
    for (name, summary) in files {
        file(name, summary, offset_minutes)?;
    }
    not_counted(outcome.skipped)
}

/// The cases as a table.
fn cases(outcome: &Outcome, offset_minutes: i32) -> Result<()> {
    if outcome.cases.is_empty() {
        output::line("Nothing was found.")?;
        return output::line("");
    }
    let row = |(number, case): (&u32, &CaseSum)| {
        vec![
            number.to_string(),
            clock(case.opened_ms, offset_minutes),
            match case.name.as_str() {
                "" => "-".to_owned(),
                name => name.to_owned(),
            },
            by_detector(&case.findings),
            clock(case.last_ms, offset_minutes),
        ]
    };
    let rows: Vec<Vec<String>> = outcome.cases.iter().map(row).collect();
    output::table(&["case", "opened", "about", "findings", "last"], &rows)?;
    output::line("")
}

fn by_detector(findings: &BTreeMap<Detector, u64>) -> String {
    let one = |(of, count): (&Detector, &u64)| match count {
        1 => detector(*of).to_owned(),
        count => format!("{} {}", detector(*of), thousands(*count)),
    };
    findings.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Why detection did not count records, in words.
fn reasons(skipped: Skipped) -> [(&'static str, u64); 5] {
    [
        ("late", skipped.late),
        ("repeated", skipped.repeated),
        ("future", skipped.future),
        ("impossible", skipped.impossible),
        ("beyond", skipped.beyond),
    ]
}

fn not_counted(skipped: Skipped) -> Result<()> {
    for (reason, count) in reasons(skipped) {
        let why = match reason {
            "late" => "older than the newest before them by more than two days",
            "repeated" => "with a number that came before",
            "future" => "far ahead of all others",
            "impossible" => "with numbers that cannot be",
            _ => "of more actors than are watched",
        };
        if count > 0 {
            output::line(format!("  not counted: {} {why}", thousands(count)))?;
        }
    }
    Ok(())
}

fn figures(outcome: &Outcome) -> Map<String, Value> {
    let case = |(number, case): (&u32, &CaseSum)| {
        let findings: Map<String, Value> = case
            .findings
            .iter()
            .map(|(of, count)| (detector(*of).to_owned(), (*count).into()))
            .collect();
        json!({"case": number, "opened_ms": case.opened_ms, "last_ms": case.last_ms,
            "actor": case.about.map(|_| &case.name), "findings": findings})
    };
    let skipped: Map<String, Value> = reasons(outcome.skipped)
        .into_iter()
        .map(|(reason, count)| (reason.to_owned(), count.into()))
        .collect();
    let mut figures = Map::new();
    figures.insert("fold".to_owned(), watch::FOLD_VERSION.into());
    figures.insert("records".to_owned(), outcome.records.into());
    figures.insert("findings".to_owned(), outcome.findings.into());
    figures.insert("cases".to_owned(), outcome.cases.iter().map(case).collect());
    figures.insert("not_counted".to_owned(), skipped.into());
    if let Some((count, _)) = outcome.closed {
        figures.insert("lists_closed".to_owned(), count.into());
    }
    figures
}

/// What became of a file's lines.
pub(super) fn file(name: &str, summary: &Summary, offset_minutes: i32) -> Result<()> {
    let mut text = format!(
        "{name}: {} of {}",
        plural(summary.records, "record", "records"),
        plural(summary.lines, "line", "lines")
    );
    if let Some((first, last)) = summary.times {
        text += &format!(
            ", {} to {}",
            clock(first, offset_minutes),
            clock(last, offset_minutes)
        );
    }
    output::line(text)?;
    for (reason, places) in &summary.skipped {
        output::line(format!("  skipped, {reason}: {places}"))?;
    }
    tally("of kinds that are not known", &summary.unknown_kinds)?;
    for (note, places) in &summary.notes {
        output::line(format!("  {note}: {places}"))?;
    }
    tally("ignored fields", &summary.ignored_fields)?;
    tally("not about access", &summary.passed_over)
}

fn plural(count: u64, one: &str, more: &str) -> String {
    format!(
        "{} {}",
        thousands(count),
        if count == 1 { one } else { more }
    )
}

fn tally(what: &str, tally: &Tally) -> Result<()> {
    if tally.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = tally
        .named()
        .map(|(name, count)| format!("{name} {}", thousands(count)))
        .collect();
    if tally.others() > 0 {
        named.push(format!("others {}", thousands(tally.others())));
    }
    output::line(format!("  {what}: {}", named.join(", ")))
}

/// The same as JSON.
pub(super) fn file_json(name: &str, summary: &Summary) -> Value {
    let places = |places: &intake::Places| json!({"count": places.count, "first": places.first});
    let skipped: Map<String, Value> = summary
        .skipped
        .iter()
        .map(|(reason, at)| (reason.to_string(), places(at)))
        .collect();
    let notes: Map<String, Value> = summary
        .notes
        .iter()
        .map(|(note, at)| (note.to_string(), places(at)))
        .collect();
    json!({
        "file": name, "lines": summary.lines, "records": summary.records,
        "first_ms": summary.times.map(|times| times.0), "last_ms": summary.times.map(|times| times.1),
        "skipped": skipped, "unknown_kinds": tally_json(&summary.unknown_kinds), "notes": notes,
        "ignored_fields": tally_json(&summary.ignored_fields),
        "passed_over": tally_json(&summary.passed_over),
    })
}

fn tally_json(tally: &Tally) -> Value {
    let mut object: Map<String, Value> = tally
        .named()
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect();
    if tally.others() > 0 {
        object.insert("(others)".to_owned(), tally.others().into());
    }
    object.into()
}
