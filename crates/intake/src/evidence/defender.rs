//! DeviceEvents of Defender's advanced hunting, as the API answers (`{"Results": [...]}`), as the
//! streaming API writes (`{"records": [{"properties": ...}]}`), row by row, or as CSV.
//!
//! | `ActionType` | is |
//! |---|---|
//! | PnpDeviceConnected of a class that holds files, UsbDriveMounted | attached |
//! | UsbDriveUnmounted | detached |
//! | PnpDeviceBlocked | refused |
//! | RemovableStoragePolicyTriggered, verdict Deny | refused |
//! | RemovableStoragePolicyTriggered, verdict Allow, access Write | written |
//! | RemovableStorageFileEvent | written |

use std::io::BufRead;

use csv::ByteRecord;
use serde_json::{Map, Value};

use super::{Collector, Fact, Told};
use crate::records::{Rows, delimiter};
use crate::source::ReadError;
use crate::summary::Reason;
use crate::time;
use crate::windows::chunks::{Chunk, Chunks};
use crate::windows::event::{is_person, is_storage};

/// Names of the lists of rows in answers.
const LISTS: [&str; 3] = ["Results", "results", "records"];
/// Names of the columns that count.
const TIME: &[&str] = &["Timestamp", "TimeGenerated"];
const TERMINAL: &[&str] = &["DeviceName"];
const ACTION: &[&str] = &["ActionType"];
const ACTOR: &[&str] = &["AccountName", "InitiatingProcessAccountName"];
const MORE: &[&str] = &["AdditionalFields"];

pub(super) fn read(
    file: impl BufRead,
    offset_minutes: i32,
    collector: &mut Collector,
) -> Result<(), ReadError> {
    let mut reader = crate::decode::utf8(file)?;
    let begin = reader.fill_buf()?;
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    match begin.trim_ascii_start().first() {
        Some(b'{' | b'[') | None => {
            // The rows of an answer, however long it is, are read one by one.
            if let Some(at) = list_begins(reader.fill_buf()?) {
                reader.consume(at);
            }
            let mut chunks = Chunks::new(reader, Chunk::Json);
            while let Some((line, bytes)) = chunks.next()? {
                of_json(bytes, line, offset_minutes, collector)?;
            }
            Ok(())
        }
        Some(_) => of_csv(reader, offset_minutes, collector),
    }
}

/// Where in the beginning of an answer its list of rows begins, behind the colon.
fn list_begins(begin: &[u8]) -> Option<usize> {
    let mut ends = LISTS.iter().filter_map(|name| {
        let name = format!("\"{name}\"");
        let at = memchr(begin, name.as_bytes())? + name.len();
        let rest = begin[at..].trim_ascii_start().strip_prefix(b":")?;
        let rest = rest.trim_ascii_start();
        rest.starts_with(b"[").then(|| begin.len() - rest.len())
    });
    ends.next()
}

fn memchr(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn of_json(
    bytes: Option<&[u8]>,
    line: u64,
    offset_minutes: i32,
    collector: &mut Collector,
) -> Result<(), ReadError> {
    let value = bytes.ok_or(Reason::TooLong).and_then(|bytes| {
        let text = std::str::from_utf8(bytes).map_err(|_| Reason::NotUtf8)?;
        serde_json::from_str::<Value>(text).map_err(|_| Reason::NotJson)
    });
    let value = match value {
        Ok(value) => value,
        Err(reason) => return collector.take(line, Err(reason)),
    };
    let list = LISTS.iter().find_map(|name| value.get(name)?.as_array());
    let rows = list.map_or(std::slice::from_ref(&value), Vec::as_slice);
    for row in rows {
        let row = row.get("properties").unwrap_or(row);
        let told = match row.as_object() {
            Some(row) => Ok(of_row(&|names| field(row, names), offset_minutes)),
            None => Err(Reason::NotJson),
        };
        collector.take(line, told)?;
    }
    Ok(())
}

/// The first of these fields that says something, as a text; an object as JSON.
fn field(row: &Map<String, Value>, names: &[&str]) -> String {
    let texts = names.iter().filter_map(|name| match row.get(*name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        object @ Value::Object(_) => Some(object.to_string()),
        _ => None,
    });
    texts.into_iter().next().unwrap_or_default()
}

fn of_csv(
    mut reader: impl BufRead,
    offset_minutes: i32,
    collector: &mut Collector,
) -> Result<(), ReadError> {
    let delimiter = delimiter(reader.fill_buf()?);
    let mut rows = Rows::new(reader, delimiter);
    let mut header = ByteRecord::new();
    rows.next(&mut header)?;
    let names: Vec<String> = header
        .iter()
        .map(|name| name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name))
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    if !names.iter().any(|name| ACTION.contains(&name.as_str())) {
        return Err(ReadError::Form(
            "it is neither JSON nor CSV with a column `ActionType`".to_owned(),
        ));
    }
    let mut row = ByteRecord::new();
    while let Some(line) = rows.next(&mut row)? {
        let fields: Result<Vec<&str>, Reason> = row
            .iter()
            .map(|field| std::str::from_utf8(field).map_err(|_| Reason::NotUtf8))
            .collect();
        let told = fields.map(|fields| {
            let get = |wanted: &[&str]| {
                let found = wanted.iter().filter_map(|wanted| {
                    let at = names.iter().position(|name| name == wanted)?;
                    fields.get(at).filter(|text| !text.trim().is_empty())
                });
                found
                    .into_iter()
                    .next()
                    .map_or_else(String::new, |text| (*text).to_owned())
            };
            of_row(&get, offset_minutes)
        });
        collector.take(line, told)?;
    }
    Ok(())
}

fn of_row(get: &dyn Fn(&[&str]) -> String, offset_minutes: i32) -> Told {
    let at = get(TIME);
    let at_ms = match at.as_str() {
        "" => Err(Reason::Missing("Timestamp")),
        text => time::read(text, offset_minutes).ok_or(Reason::Wrong("Timestamp")),
    };
    let actor = get(ACTOR);
    Told {
        at_ms,
        terminal: get(TERMINAL),
        actor: is_person(&actor).then_some(actor),
        fact: fact(&get(ACTION), &get(MORE)),
    }
}

/// What an action is; what to count it as, if nothing here.
fn fact(action: &str, more: &str) -> Result<Fact, String> {
    let more: Value = serde_json::from_str(more).unwrap_or_default();
    let said = |name: &str| more.get(name).and_then(Value::as_str).unwrap_or_default();
    match action.to_ascii_lowercase().as_str() {
        "pnpdeviceconnected" if is_storage(said("ClassName")) => Ok(Fact::Attached),
        "pnpdeviceconnected" => Err("PnpDeviceConnected of other devices".to_owned()),
        "usbdrivemounted" => Ok(Fact::Attached),
        "usbdriveunmounted" => Ok(Fact::Detached),
        "pnpdeviceblocked" => Ok(Fact::Refused),
        "removablestoragefileevent" => Ok(Fact::Written),
        "removablestoragepolicytriggered" => {
            let verdict = said("RemovableStoragePolicyVerdict").to_ascii_lowercase();
            let access = said("RemovableStorageAccess").to_ascii_lowercase();
            if verdict.contains("deny") || verdict.contains("denied") {
                Ok(Fact::Refused)
            } else if access.contains("write") {
                Ok(Fact::Written)
            } else {
                Err("device control without writing".to_owned())
            }
        }
        "" => Err("rows without an ActionType".to_owned()),
        _ => Err(action.to_owned()),
    }
}
