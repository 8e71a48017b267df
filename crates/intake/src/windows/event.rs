//! An event, whatever form it came in.

use watch::TerminalEvent;

use crate::summary::Reason;
use crate::time;

/// `Task` of the auditing of removable storage.
const REMOVABLE_STORAGE: u32 = 12_812;
/// Bits of an access mask that write: WriteData, AppendData.
const WRITES: u64 = 0x6;
/// The bit of `Keywords` of an audit that failed.
const AUDIT_FAILURE: u64 = 0x0010_0000_0000_0000;

/// What is needed of an event.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Event {
    pub(super) id: u32,
    /// As it stands there: RFC 3339, or `/Date(ms)/`.
    pub(super) time: String,
    pub(super) computer: String,
    pub(super) task: u32,
    /// Whether what was tried was refused.
    pub(super) failed: bool,
    /// SubjectUserName.
    pub(super) user: String,
    /// ObjectType.
    pub(super) object_type: String,
    /// AccessMask, or what AccessList comes to.
    pub(super) access: u64,
    /// ClassName of a device.
    pub(super) class: String,
}

impl Event {
    /// Takes a field of `System`.
    pub(super) fn system(&mut self, name: &str, value: &str) {
        let value = value.trim();
        match name {
            "EventID" => self.id = value.parse().unwrap_or(0),
            "Computer" => self.computer = value.to_owned(),
            "Task" => self.task = value.parse().unwrap_or(0),
            "Keywords" => self.failed = number(value) & AUDIT_FAILURE != 0,
            _ => {}
        }
    }

    /// Takes a field of `EventData`.
    pub(super) fn data(&mut self, name: &str, value: &str) {
        let value = value.trim();
        match name {
            "SubjectUserName" => self.user = value.to_owned(),
            "ObjectType" => self.object_type = value.to_owned(),
            "ClassName" => self.class = value.to_owned(),
            "AccessMask" => self.access |= number(value),
            // %%4417: WriteData, %%4418: AppendData.
            "AccessList" if value.contains("%%4417") || value.contains("%%4418") => {
                self.access |= WRITES;
            }
            _ => {}
        }
    }

    /// What it means; what to count it as, if nothing here.
    pub(super) fn meaning(&self) -> Result<TerminalEvent, String> {
        let writes = self.access & WRITES != 0;
        let removable = self.task == REMOVABLE_STORAGE;
        let class = self.class.to_ascii_lowercase();
        match self.id {
            4656 if removable && self.failed => Ok(TerminalEvent::MediaRefused),
            4663 if self.object_type != "File" => Err("event 4663 of other objects".to_owned()),
            4663 if !writes => Err("event 4663 without writing".to_owned()),
            4663 if removable => Ok(TerminalEvent::MediaWritten),
            4663 => Ok(TerminalEvent::FileWritten),
            6416 => match class.as_str() {
                "diskdrive" | "wpd" | "cdrom" | "floppydisk" => Ok(TerminalEvent::MediaAttached),
                _ => Err("event 6416 of other devices".to_owned()),
            },
            6423 => Ok(TerminalEvent::MediaRefused),
            2003 => Ok(TerminalEvent::MediaAttached),
            0 => Err("events without an EventID".to_owned()),
            other => Err(format!("event {other}")),
        }
    }

    /// Whether its user is somebody: no machine's account, no service.
    pub(super) fn is_of_a_person(&self) -> bool {
        let services = [
            "-",
            "system",
            "local service",
            "network service",
            "anonymous logon",
        ];
        let user = self.user.to_lowercase();
        !user.is_empty() && !user.ends_with('$') && !services.contains(&user.as_str())
    }

    /// Its time, ms since the Unix epoch.
    pub(super) fn at_ms(&self, offset_minutes: i32) -> Result<u64, Reason> {
        if self.time.is_empty() {
            return Err(Reason::Missing("TimeCreated"));
        }
        let date = self.time.strip_prefix("/Date(");
        let at_ms = match date.and_then(|date| date.strip_suffix(")/")) {
            Some(ms) => ms.parse().ok(),
            None => time::read(&self.time, offset_minutes),
        };
        at_ms.ok_or(Reason::Wrong("TimeCreated"))
    }
}

/// `0x8010000000000000`, `32`, `-9218868437227405312`; anything else is 0.
pub(super) fn number(text: &str) -> u64 {
    let text = text.trim();
    match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap_or(0),
        None => match text.parse::<u64>() {
            Ok(number) => number,
            Err(_) => text.parse::<i64>().map_or(0, i64::cast_unsigned),
        },
    }
}
