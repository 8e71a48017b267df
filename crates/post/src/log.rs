//! What the agent says to whoever watches it: one JSON object a line, the event's name first.

use std::io::Write;

use serde_json::{Map, Value};

/// Writes one line: `{"event": .., ..}`. A log that cannot be written stops nothing.
pub fn say(event: &str, fields: &[(&str, Value)]) {
    let mut line = Map::new();
    line.insert("event".to_owned(), event.into());
    for (name, value) in fields {
        line.insert((*name).to_owned(), value.clone());
    }
    let mut text = Value::Object(line).to_string();
    text.push('\n');
    // One write a line: lines of threads do not mix.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
