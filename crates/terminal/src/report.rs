//! What a terminal reports: one hash chain over everything it ever said, so that nothing can be left
//! out, changed or said twice without being seen (`docs/format/terminal.md`).

use crate::cbor::{In, Out, canonical, coded, cut};
use crate::decide::{Outcome, Reason, Verdict};
use crate::device::{Bus, Device, KEY_BYTES_MAX};
use crate::heartbeat::Heartbeat;
use crate::kind::Kind;
use crate::{Digest, Malformed, sha256};

/// Bytes of a report.
pub const REPORT_BYTES_MAX: usize = 4096;
/// Bytes of a device's name in a report.
pub const REPORT_NAME_BYTES_MAX: usize = 64;
/// Interfaces that a report lists; more are counted.
pub const PARTS_MAX: usize = 32;
/// Bytes of a version, a name, a reason.
pub const TEXT_BYTES_MAX: usize = 256;
/// Classes of personal data that a scan names.
pub const FINDINGS_MAX: usize = 16;

coded! {
    /// How something was attempted.
    Channel, "channel" {
        /// A file opened for writing on a foreign medium.
        Write = 1, "write";
        /// A foreign disk opened for writing.
        Raw = 2, "raw";
        /// A file or folder made, renamed or removed on a foreign medium.
        Entry = 3, "entry";
        /// A foreign medium mounted, or mounted again, for writing.
        Mount = 4, "mount";
        /// A disk's `ro` flag taken away.
        Writable = 5, "writable";
        /// An unauthorised device opened through usbfs.
        Usbfs = 6, "usbfs";
        /// A device, hub or controller authorised by somebody else.
        Authorise = 7, "authorise";
        /// A wrong code for a keyboard.
        Code = 8, "code";
        /// A file given to the broker.
        Broker = 9, "broker";
    }
}

/// One interface in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// bInterfaceNumber.
    pub number: u8,
    /// Class, subclass, protocol of its worst setting.
    pub triple: [u8; 3],
    /// What it is for.
    pub kind: Kind,
    /// Why it works or does not.
    pub reason: Reason,
}

/// A device in a report: enough to recognise it, and no serial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How it is attached.
    pub bus: Bus,
    /// Its name in sysfs.
    pub key: String,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// bcdDevice.
    pub version: u16,
    /// The salted digest of its serial ([`crate::device::serial_digest`]).
    pub serial: Option<Digest>,
    /// Its name.
    pub name: String,
    /// Part of the machine.
    pub built_in: bool,
    /// Its interfaces, refused ones first.
    pub parts: Vec<Part>,
    /// Interfaces that found no place.
    pub more: u16,
    /// What becomes of it.
    pub outcome: Outcome,
    /// What it is, at worst.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
}

impl Summary {
    /// Of a device and what was decided about it, on the terminal with this id.
    #[must_use]
    pub fn new(device: &Device, verdict: &Verdict, terminal: &Digest) -> Self {
        let mut rulings = verdict.rulings.clone();
        rulings.sort_by_key(|it| it.reason.allows());
        let more = rulings.len().saturating_sub(PARTS_MAX);
        rulings.truncate(PARTS_MAX);
        let part = |it: &crate::decide::Ruling| Part {
            number: it.number,
            triple: device
                .interfaces
                .iter()
                .filter(|other| other.number == it.number)
                .find(|other| crate::kind::kind(device, other) == it.kind)
                .map_or([0; 3], crate::device::Interface::triple),
            kind: it.kind,
            reason: it.reason,
        };
        Self {
            bus: device.bus,
            key: cut(&device.key, KEY_BYTES_MAX).to_owned(),
            vendor: device.vendor,
            product: device.product,
            version: device.version,
            serial: device.serial_digest(terminal),
            name: cut(&device.name, REPORT_NAME_BYTES_MAX).to_owned(),
            built_in: device.built_in,
            parts: rulings.iter().map(part).collect(),
            more: u16::try_from(more).unwrap_or(u16::MAX),
            outcome: verdict.outcome,
            kind: verdict.kind,
            reason: verdict.reason,
        }
    }

    fn put(&self, out: &mut Out) {
        out.array(13).uint(self.bus.code()).text(&self.key);
        out.uint(self.vendor).uint(self.product).uint(self.version);
        out.option(self.serial.as_ref(), |out, it| {
            out.bytes(it);
        });
        out.text(&self.name).flag(self.built_in);
        out.list(&self.parts, |out, it| {
            out.array(4)
                .uint(it.number)
                .bytes(&it.triple)
                .uint(it.kind.code())
                .uint(it.reason.code());
        });
        out.uint(self.more).uint(self.outcome.code());
        out.uint(self.kind.code()).uint(self.reason.code());
    }

    fn get(from: &mut In<'_>) -> Result<Self, Malformed> {
        from.array(13, "device")?;
        Ok(Self {
            bus: Bus::from_code(from.uint("bus")?)?,
            key: from.text(KEY_BYTES_MAX, "key")?,
            vendor: from.uint("vendor")?,
            product: from.uint("product")?,
            version: from.uint("device version")?,
            serial: from.option("serial", |from| from.fixed("serial"))?,
            name: from.text(REPORT_NAME_BYTES_MAX, "name")?,
            built_in: from.flag("built-in")?,
            parts: from.list(PARTS_MAX, "parts", |from| {
                from.array(4, "part")?;
                Ok(Part {
                    number: from.uint("number")?,
                    triple: from.fixed("triple")?,
                    kind: Kind::from_code(from.uint("kind")?)?,
                    reason: Reason::from_code(from.uint("reason")?)?,
                })
            })?,
            more: from.uint("more")?,
            outcome: Outcome::from_code(from.uint("outcome")?)?,
            kind: Kind::from_code(from.uint("kind")?)?,
            reason: Reason::from_code(from.uint("reason")?)?,
        })
    }
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The agent started; the first report of each of its lives.
    Started {
        /// Its version.
        version: String,
        /// Whether the report before this one is [`Said::Stopping`].
        clean: bool,
    },
    /// A device came, or was there, and was judged. Again when it is judged anew.
    Attached(Box<Summary>),
    /// A device went.
    Detached {
        /// How it was attached.
        bus: Bus,
        /// Its name in sysfs.
        key: String,
    },
    /// Attempts were refused since the last such report.
    Refused {
        /// How it was tried.
        channel: Channel,
        /// On what: a name in sysfs.
        key: String,
        /// How often.
        count: u64,
    },
    /// The broker wrote to company media.
    Written {
        /// The grant that allowed it.
        grant: u64,
        /// The token's number of the medium.
        medium: [u8; 16],
        /// Files.
        files: u32,
        /// Bytes.
        bytes: u64,
        /// Personal values found, by class (code of a cell's class) and number.
        findings: Vec<(u8, u32)>,
    },
    /// A policy is in force.
    PolicyTaken {
        /// Its digest.
        digest: Digest,
    },
    /// A policy was not taken; the one before stays in force.
    PolicyRejected {
        /// SHA-256 of the text that came.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// Reports were dropped because the queue was full. Dropped ones have no sequence number.
    Lost {
        /// How many.
        count: u64,
    },
    /// The kernel's events were lost; everything was looked at anew.
    Overflow,
    /// Something that keeps storage out was changed by somebody else, and put back.
    Tampered {
        /// What.
        what: String,
    },
    /// The state of the terminal.
    Heartbeat(Box<Heartbeat>),
    /// The agent ends on purpose.
    Stopping,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// 1 for a terminal's first report; then one more each, for ever.
    pub sequence: u64,
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// The agent's clock, ms since 1970 UTC.
    pub at_ms: u64,
    /// Ms since the kernel's start, sleep included (CLOCK_BOOTTIME).
    pub uptime_ms: u64,
    /// SHA-256 of the report before, as encoded; zeros for the first.
    pub before: Digest,
    /// What it says.
    pub body: Said,
}

impl Report {
    /// The deterministic bytes, at most [`REPORT_BYTES_MAX`]. These are hashed and sent.
    ///
    /// # Errors
    /// A text, list or the whole is longer than its limit.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let bytes = self.bytes();
        // Reading it back checks each limit by the one code that knows them.
        if Self::decode(&bytes)? != *self {
            return Err(Malformed::NotCanonical);
        }
        Ok(bytes)
    }

    /// Reads a report.
    ///
    /// # Errors
    /// Anything but the deterministic encoding of a report that this program knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > REPORT_BYTES_MAX {
            return Err(Malformed::TooLong {
                what: "report",
                max: REPORT_BYTES_MAX,
            });
        }
        let mut from = In::new(bytes);
        let length = from.length(7, "report")?;
        match from.uint::<u64>("version")? {
            1 if length == 7 => {}
            1 => return Err(Malformed::Field("report")),
            other => return Err(Malformed::Version(other)),
        }
        let report = Self {
            sequence: from.uint("sequence")?,
            boot: from.fixed("boot")?,
            at_ms: from.uint("time")?,
            uptime_ms: from.uint("uptime")?,
            before: from.fixed("before")?,
            body: Said::get(&mut from)?,
        };
        canonical(bytes, report, Self::bytes)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Out::new();
        out.array(7).uint(1u8).uint(self.sequence).bytes(&self.boot);
        out.uint(self.at_ms)
            .uint(self.uptime_ms)
            .bytes(&self.before);
        self.body.put(&mut out);
        out.done()
    }
}

/// The digest that the next report carries in `before`.
#[must_use]
pub fn digest(encoded: &[u8]) -> Digest {
    sha256(encoded)
}

impl Said {
    fn put(&self, out: &mut Out) {
        match self {
            Self::Started { version, clean } => {
                out.array(3).uint(1u8).text(version).flag(*clean);
            }
            Self::Attached(summary) => {
                out.array(2).uint(2u8);
                summary.put(out);
            }
            Self::Detached { bus, key } => {
                out.array(3).uint(3u8).uint(bus.code()).text(key);
            }
            Self::Refused {
                channel,
                key,
                count,
            } => {
                out.array(4)
                    .uint(4u8)
                    .uint(channel.code())
                    .text(key)
                    .uint(*count);
            }
            Self::Written {
                grant,
                medium,
                files,
                bytes,
                findings,
            } => {
                out.array(6)
                    .uint(5u8)
                    .uint(*grant)
                    .bytes(medium)
                    .uint(*files)
                    .uint(*bytes);
                out.list(findings, |out, (class, count)| {
                    out.array(2).uint(*class).uint(*count);
                });
            }
            Self::PolicyTaken { digest } => {
                out.array(2).uint(6u8).bytes(digest);
            }
            Self::PolicyRejected { digest, why } => {
                out.array(3).uint(7u8).bytes(digest).text(why);
            }
            Self::Lost { count } => {
                out.array(2).uint(8u8).uint(*count);
            }
            Self::Overflow => {
                out.array(1).uint(9u8);
            }
            Self::Tampered { what } => {
                out.array(2).uint(10u8).text(what);
            }
            Self::Heartbeat(heartbeat) => {
                out.array(2).uint(11u8);
                heartbeat.put(out);
            }
            Self::Stopping => {
                out.array(1).uint(12u8);
            }
        }
    }

    fn get(from: &mut In<'_>) -> Result<Self, Malformed> {
        let length = from.length(6, "body")?;
        let code = from.uint::<u64>("kind of report")?;
        Ok(match (code, length) {
            (1, 3) => Self::Started {
                version: from.text(TEXT_BYTES_MAX, "version")?,
                clean: from.flag("clean")?,
            },
            (2, 2) => Self::Attached(Box::new(Summary::get(from)?)),
            (3, 3) => Self::Detached {
                bus: Bus::from_code(from.uint("bus")?)?,
                key: from.text(KEY_BYTES_MAX, "key")?,
            },
            (4, 4) => Self::Refused {
                channel: Channel::from_code(from.uint("channel")?)?,
                key: from.text(KEY_BYTES_MAX, "key")?,
                count: from.uint("count")?,
            },
            (5, 6) => Self::Written {
                grant: from.uint("grant")?,
                medium: from.fixed("medium")?,
                files: from.uint("files")?,
                bytes: from.uint("bytes")?,
                findings: from.list(FINDINGS_MAX, "findings", |from| {
                    from.array(2, "finding")?;
                    Ok((from.uint("class")?, from.uint("count")?))
                })?,
            },
            (6, 2) => Self::PolicyTaken {
                digest: from.fixed("digest")?,
            },
            (7, 3) => Self::PolicyRejected {
                digest: from.fixed("digest")?,
                why: from.text(TEXT_BYTES_MAX, "why")?,
            },
            (8, 2) => Self::Lost {
                count: from.uint("count")?,
            },
            (9, 1) => Self::Overflow,
            (10, 2) => Self::Tampered {
                what: from.text(TEXT_BYTES_MAX, "what")?,
            },
            (11, 2) => Self::Heartbeat(Box::new(Heartbeat::get(from)?)),
            (12, 1) => Self::Stopping,
            (1..=12, _) => return Err(Malformed::Field("body")),
            _ => {
                return Err(Malformed::Code {
                    what: "kind of report",
                    code,
                });
            }
        })
    }
}

/// `text`, cut to what a report's text takes.
#[must_use]
pub fn short(text: &str) -> String {
    cut(text, TEXT_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests;
