//! One event as XML.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event as Xml};

use super::event::Event;
use crate::summary::Reason;

/// Where in an event the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    System,
    Data,
}

/// Reads an `Event` element.
pub(super) fn event(bytes: &[u8]) -> Result<Event, Reason> {
    let wrong = Reason::Form("a well-formed Event");
    let text = std::str::from_utf8(bytes).map_err(|_| Reason::NotUtf8)?;
    let mut reader = Reader::from_str(text);
    let mut event = Event::default();
    let mut place = Place::Outside;
    // The field that is open, and its text so far.
    let mut open: Option<String> = None;
    let mut value = String::new();
    loop {
        match reader.read_event().map_err(|_| wrong)? {
            Xml::Start(tag) => {
                let name = local(&tag);
                match name.as_str() {
                    "System" => place = Place::System,
                    "EventData" | "UserData" => place = Place::Data,
                    _ => {}
                }
                created(&tag, &name, &mut event);
                requested(&tag, &name, &mut event);
                open = Some(attribute(&tag, "Name").unwrap_or(name));
                value.clear();
            }
            Xml::Empty(tag) => {
                let name = local(&tag);
                created(&tag, &name, &mut event);
                requested(&tag, &name, &mut event);
            }
            Xml::Text(text) => value.push_str(&text.decode().map_err(|_| wrong)?),
            Xml::CData(text) => value.push_str(&text.decode().map_err(|_| wrong)?),
            Xml::GeneralRef(entity) => {
                let entity = entity.decode().map_err(|_| wrong)?;
                // None of these is part of what is needed.
                value.push(if entity == "amp" { '&' } else { '?' });
            }
            Xml::End(_) => {
                if let Some(name) = open.take() {
                    match place {
                        Place::System => event.system(&name, &value),
                        Place::Data => event.data(&name, &value),
                        Place::Outside => {}
                    }
                }
            }
            Xml::Eof => return Ok(event),
            _ => {}
        }
    }
}

/// `TimeCreated SystemTime="..."`.
fn created(tag: &BytesStart<'_>, name: &str, event: &mut Event) {
    if name == "TimeCreated"
        && let Some(time) = attribute(tag, "SystemTime")
    {
        event.time = time;
    }
}

/// `Request major="..." minor="..."`.
fn requested(tag: &BytesStart<'_>, name: &str, event: &mut Event) {
    if name == "Request" {
        for (name, key) in [("major", "RequestMajor"), ("minor", "RequestMinor")] {
            if let Some(value) = attribute(tag, name) {
                event.data(key, &value);
            }
        }
    }
}

fn local(tag: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(tag.local_name().as_ref()).into_owned()
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(name).ok()??;
    Some(String::from_utf8_lossy(&attribute.value).into_owned())
}
