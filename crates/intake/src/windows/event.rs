//! An event, whatever form it came in.

use watch::TerminalEvent;

use crate::evidence::Fact;
use crate::summary::Reason;
use crate::time;

/// `Task` of the auditing of removable storage.
const REMOVABLE_STORAGE: u32 = 12_812;
/// Bits of an access mask that write: WriteData, AppendData.
const WRITES: u64 = 0x6;
/// The bit of `Keywords` of an audit that failed.
const AUDIT_FAILURE: u64 = 0x0010_0000_0000_0000;

/// IRP_MJ_PNP, IRP_MN_REMOVE_DEVICE: the last that a driver hears of a device.
const REMOVED: (u64, u64) = (27, 2);

/// What is needed of an event.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(super) id: u32,
    /// As it stands there: RFC 3339, or `/Date(ms)/`.
    pub(super) time: String,
    pub(crate) computer: String,
    pub(super) task: u32,
    /// Whether what was tried was refused.
    pub(super) failed: bool,
    /// SubjectUserName.
    pub(crate) user: String,
    /// ObjectType.
    pub(super) object_type: String,
    /// AccessMask, or what AccessList comes to.
    pub(super) access: u64,
    /// ClassName of a device.
    pub(super) class: String,
    /// What a driver was asked for: major and minor function of an IRP.
    pub(super) request: (u64, u64),
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
            "RequestMajor" => self.request.0 = number(value),
            "RequestMinor" => self.request.1 = number(value),
            _ => {}
        }
    }

    /// What it means for detection; what to count it as, if nothing.
    pub(super) fn meaning(&self) -> Result<TerminalEvent, String> {
        let fact = self.fact()?;
        fact.event().ok_or_else(|| format!("event {}", self.id))
    }

    /// What it says; what to count it as, if nothing here.
    pub(crate) fn fact(&self) -> Result<Fact, String> {
        let writes = self.access & WRITES != 0;
        let removable = self.task == REMOVABLE_STORAGE;
        let class = &self.class;
        match self.id {
            4656 if removable && self.failed => Ok(Fact::Refused),
            4663 if self.object_type != "File" => Err("event 4663 of other objects".to_owned()),
            4663 if !writes => Err("event 4663 without writing".to_owned()),
            4663 if removable => Ok(Fact::Written),
            4663 => Ok(Fact::FileWritten),
            6416 if is_storage(class) => Ok(Fact::Attached),
            6416 => Err("event 6416 of other devices".to_owned()),
            6423 => Ok(Fact::Refused),
            2003 => Ok(Fact::Attached),
            2102 if self.request == REMOVED => Ok(Fact::Detached),
            0 => Err("events without an EventID".to_owned()),
            other => Err(format!("event {other}")),
        }
    }

    /// Whether its user is somebody.
    pub(crate) fn is_of_a_person(&self) -> bool {
        is_person(&self.user)
    }

    /// Its time, ms since the Unix epoch.
    pub(crate) fn at_ms(&self, offset_minutes: i32) -> Result<u64, Reason> {
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

/// Whether an account is somebody's: no machine's, no service's.
pub(crate) fn is_person(user: &str) -> bool {
    let services = [
        "-",
        "system",
        "local service",
        "network service",
        "anonymous logon",
    ];
    let user = user.to_lowercase();
    !user.is_empty() && !user.ends_with('$') && !services.contains(&user.as_str())
}

/// Whether devices of a class hold files.
pub(crate) fn is_storage(class: &str) -> bool {
    let classes = ["diskdrive", "wpd", "cdrom", "floppydisk"];
    classes.iter().any(|it| it.eq_ignore_ascii_case(class))
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
