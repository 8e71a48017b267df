//! A log of an asset-management product: CSV with a header, its columns by a mapping as in
//! docs/format/records.md, its words for what happened by [`super::Words`].

use std::io::BufRead;

use csv::ByteRecord;

use super::{Collector, Options, Told};
use crate::names::Name;
use crate::records::{Field, Rows, Value, Values, delimiter};
use crate::source::ReadError;
use crate::summary::{Note, Reason};
use crate::windows::event::is_person;

/// The fields that count.
const FIELDS: [Field; 4] = [Field::Time, Field::Terminal, Field::Event, Field::Actor];

pub(super) fn read(
    file: impl BufRead,
    options: &Options,
    collector: &mut Collector,
) -> Result<(), ReadError> {
    let mut reader = crate::decode::utf8(file)?;
    let delimiter = delimiter(reader.fill_buf()?);
    let mut rows = Rows::new(reader, delimiter);
    let mut row = ByteRecord::new();
    rows.next(&mut row)?;
    let columns: Vec<Vec<Field>> = row
        .iter()
        .map(|name| name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name))
        .map(|name| {
            options
                .mapping
                .fields(&String::from_utf8_lossy(name))
                .list()
        })
        .collect();
    let constants = || options.mapping.constants().map(|(field, _)| field);
    let has = |field: Field| {
        constants()
            .chain(columns.iter().flatten().copied())
            .any(|it| it == field)
    };
    for needed in &FIELDS[..3] {
        if !has(*needed) {
            return Err(ReadError::Form(format!(
                "its header has no column for `{}`; name its columns with --map (docs/terminal-evidence.md)",
                needed.name()
            )));
        }
    }
    let mut keys = Vec::new();
    while let Some(line) = rows.next(&mut row)? {
        let mut values = Values::new(&options.mapping, &mut keys);
        let mut is_text = true;
        for (value, fields) in row.iter().zip(&columns) {
            for field in fields.iter().filter(|field| FIELDS.contains(field)) {
                match std::str::from_utf8(value) {
                    Ok(text) => values.set(*field, Value::text(text), &mut keys),
                    Err(_) => is_text = false,
                }
            }
        }
        if values.twice {
            collector.evidence.summary.note(Note::Twice, line);
        }
        let told = match is_text {
            true => told(&values, options),
            false => Err(Reason::NotUtf8),
        };
        collector.take(line, told)?;
    }
    Ok(())
}

fn told(values: &Values<'_>, options: &Options) -> Result<Told, Reason> {
    let shown = |name: Name<'_>| match name {
        Name::Number(number) => number.to_string(),
        Name::Text(text) => text.to_owned(),
    };
    let at_ms = values.time(Field::Time, options.offset_minutes);
    let actor = values.name(Field::Actor)?.map(shown);
    let event = values.text(Field::Event)?;
    let event = event.ok_or(Reason::Missing(Field::Event.name()))?;
    let known = options.words.find(event).ok_or(Reason::UnknownKind)?;
    Ok(Told {
        at_ms: at_ms.and_then(|at_ms| at_ms.ok_or(Reason::Missing(Field::Time.name()))),
        terminal: shown(values.needed(Field::Terminal)?),
        actor: actor.filter(|actor| is_person(actor)),
        fact: known.ok_or_else(|| "other events".to_owned()),
    })
}
