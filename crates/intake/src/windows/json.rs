//! One event as JSON, in the forms in which programs write it.

use serde_json::{Map, Value};

use super::event::Event;
use crate::summary::Reason;

/// Fields of events in the order of their `Properties`, which PowerShell writes without names.
const PROPERTIES: [(u32, &[&str]); 4] = [
    (
        4663,
        &[
            "",
            "SubjectUserName",
            "",
            "",
            "",
            "ObjectType",
            "",
            "",
            "AccessList",
            "AccessMask",
        ],
    ),
    (4656, &["", "SubjectUserName", "", "", "", "ObjectType"]),
    (
        6416,
        &["", "SubjectUserName", "", "", "", "", "", "ClassName"],
    ),
    (
        6423,
        &["", "SubjectUserName", "", "", "", "", "", "ClassName"],
    ),
];

/// Reads an object.
pub(super) fn event_of(bytes: &[u8]) -> Result<Event, Reason> {
    let text = std::str::from_utf8(bytes).map_err(|_| Reason::NotUtf8)?;
    let value: Value = serde_json::from_str(text).map_err(|_| Reason::NotJson)?;
    event(&value).ok_or(Reason::NotJson)
}

/// An event of a JSON object; `None`: it is no object.
pub(super) fn event(value: &Value) -> Option<Event> {
    let object = value.as_object()?;
    let mut event = Event::default();
    if let Some(inner) = object.get("Event").and_then(Value::as_object) {
        of_xml(inner, &mut event);
    } else if let Some(inner) = object.get("winlog").and_then(Value::as_object) {
        of_beat(object, inner, &mut event);
    } else if let Some(system) = object.get("System").and_then(Value::as_object) {
        system_of_xml(system, &mut event);
        data_of_xml(object, &mut event);
    } else {
        flat(object, &mut event);
    }
    Some(event)
}

/// The form of evtx_dump and others: XML turned into JSON.
fn of_xml(inner: &Map<String, Value>, event: &mut Event) {
    if let Some(system) = inner.get("System").and_then(Value::as_object) {
        system_of_xml(system, event);
    }
    data_of_xml(inner, event);
}

fn system_of_xml(system: &Map<String, Value>, event: &mut Event) {
    for name in ["EventID", "Computer", "Task", "Keywords"] {
        event.system(name, &text(system.get(name)));
    }
    let created = system.get("TimeCreated");
    let attributes = created.and_then(|it| it.get("#attributes").or(Some(it)));
    let time = attributes.and_then(|it| it.get("SystemTime").or_else(|| it.get("@SystemTime")));
    event.time = text(time.or(created));
}

fn data_of_xml(inner: &Map<String, Value>, event: &mut Event) {
    request_of_xml(inner, event);
    let data = inner.get("EventData").and_then(Value::as_object);
    for (name, value) in data.into_iter().flatten() {
        event.data(name, &text(Some(value)));
        // `"Data": [{"@Name": ..., "#text": ...}]`.
        for item in value.as_array().into_iter().flatten() {
            let name = item.get("@Name").or_else(|| item.get("Name"));
            event.data(&text(name), &text(Some(item)));
        }
    }
}

/// What a driver was asked for: `"UserData": {"UMDFHostDeviceRequest": {"Request": ...}}`.
fn request_of_xml(inner: &Map<String, Value>, event: &mut Event) {
    let data = inner.get("UserData").and_then(Value::as_object);
    let parts = data.into_iter().flat_map(Map::values);
    let requests = parts.filter_map(|part| part.get("Request"));
    for request in requests {
        let attributes = request.get("#attributes").unwrap_or(request);
        for (name, key) in [("major", "RequestMajor"), ("minor", "RequestMinor")] {
            let value = attributes.get(name);
            let value = value.or_else(|| attributes.get(format!("@{name}")));
            event.data(key, &text(value));
        }
    }
}

/// Winlogbeat.
fn of_beat(object: &Map<String, Value>, inner: &Map<String, Value>, event: &mut Event) {
    event.system("EventID", &text(inner.get("event_id")));
    event.system("Computer", &text(inner.get("computer_name")));
    event.time = text(object.get("@timestamp"));
    let keywords = inner.get("keywords").and_then(Value::as_array);
    event.failed =
        keywords.is_some_and(|all| all.iter().any(|it| text(Some(it)) == "Audit Failure"));
    if text(inner.get("task")) == "Removable Storage" {
        event.system("Task", "12812");
    }
    let data = inner.get("event_data").and_then(Value::as_object);
    for (name, value) in data.into_iter().flatten() {
        event.data(name, &text(Some(value)));
    }
}

/// All fields beside each other: NXLog, PowerShell.
fn flat(object: &Map<String, Value>, event: &mut Event) {
    let first = |names: &[&str]| {
        let found = names.iter().find_map(|name| object.get(*name));
        text(found)
    };
    event.system("EventID", &first(&["EventID", "Id", "EventId"]));
    event.system("Computer", &first(&["Computer", "MachineName", "Hostname"]));
    event.system("Task", &first(&["Task", "TaskCategory"]));
    event.system("Keywords", &first(&["Keywords"]));
    event.time = first(&["TimeCreated", "EventTime", "@timestamp"]);
    for (name, value) in object {
        event.data(name, &text(Some(value)));
    }
    let properties = object.get("Properties").and_then(Value::as_array);
    let names = PROPERTIES.iter().find(|(id, _)| *id == event.id);
    if let (Some(properties), Some((_, names))) = (properties, names) {
        for (name, property) in names.iter().zip(properties) {
            event.data(name, &text(property.get("Value").or(Some(property))));
        }
    }
}

/// A value as a text: a number's digits, the text of an element with attributes.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Object(object)) => match object.get("#text").or_else(|| object.get("value")) {
            Some(inner @ (Value::String(_) | Value::Number(_))) => text(Some(inner)),
            _ => String::new(),
        },
        _ => String::new(),
    }
}
