//! What is done every second and every heartbeat: counters are read back from the kernel, and
//! everything that keeps storage out is looked at again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use terminal::decide::Outcome;
use terminal::device::Bus;
use terminal::heartbeat::{self, BlockState, Heartbeat, HubState};
use terminal::kind::Kind;
use terminal::report::{Channel, Said};
use terminal::{Digest, sha256};

use super::{Agent, OTHERS, Seen};
use crate::block::Owner;
use crate::clock::uptime_ms;
use crate::fallback::Fallback;
use crate::fanotify::Watch;
use crate::guard::CHANNELS;
use crate::log::say;

/// Without a gate heartbeats are this far apart: they would only fill the queue.
const ALONE_MS: u64 = 300_000;
/// How often the kernel's files are looked at again; most changes by somebody else are heard at once.
const HOLD_MS: u64 = 2_000;
/// The agent's own program is a few megabytes.
const PROGRAM_BYTES_MAX: u64 = 64 << 20;

/// Where it is kept what was told of what the guard refused; gone with the next start, like the guard.
const TOLD: &str = "told.json";

/// How often the guard refused, by channel.
pub(super) type Counts = [u64; CHANNELS.len()];
/// The same by channel and device, for the devices that were refused last.
pub(super) type Details = BTreeMap<(usize, u64), u64>;

/// What was told of that.
#[derive(Serialize, Deserialize)]
struct Told {
    counted: Counts,
    detailed: Vec<((usize, u64), u64)>,
}

impl Agent {
    pub(super) fn tick(&mut self) {
        self.reporter.retry();
        self.usb_late();
        self.count_refused();
        self.tokens_late();
        self.say_written();
        if uptime_ms().saturating_sub(self.held_ms) >= HOLD_MS {
            self.held_ms = uptime_ms();
            self.close_kernel(OTHERS);
            self.hold_guard();
            self.hold_everything();
            self.hold_disks();
        }
        let now = uptime_ms();
        let every = if self.reporter.is_online() {
            self.heartbeat_ms
        } else {
            ALONE_MS
        };
        self.beat_if_present_changed();
        let wanted = self.online_before != self.reporter.is_online();
        self.online_before = self.reporter.is_online();
        if wanted || now.saturating_sub(self.beaten_ms) >= every {
            self.beat();
        }
        self.reporter.save();
    }

    /// Reports the state, as the kernel has it now.
    pub(super) fn beat(&mut self) {
        self.beaten_ms = uptime_ms();
        let heartbeat = self.heartbeat();
        self.show(&heartbeat);
        self.reporter.say(Said::Heartbeat(Box::new(heartbeat)));
    }

    /// Refused devices that are plugged in and that data could be carried away with, and foreign
    /// disks that are no company media, behind a USB device that was judged to be none among them. A drive of discs that is part of no USB device is none: it
    /// is there with and without a disc, and nothing is written in it.
    fn present(&self) -> u32 {
        let devices = self.usb.values().filter(|judged| {
            judged
                .verdict
                .rulings
                .iter()
                .any(|it| !it.reason.allows() && it.kind.carries_data())
                || (judged.verdict.rulings.is_empty() && judged.verdict.outcome == Outcome::Refuse)
        });
        let disks = self.disks.iter().filter(|(name, disk)| {
            disk.owner == Owner::Foreign
                && matches!(disk.bus, Bus::Mmc | Bus::Nvme | Bus::Scsi | Bus::Usb)
                && disk.filled
                && !self.company_disks.contains(*name)
                && !self.counts_with_its_device(disk)
        });
        u32::try_from(devices.count() + disks.count()).unwrap_or(u32::MAX)
    }

    /// Whether a disk is behind a USB device that is storage itself: company media, or refused and
    /// counted.
    fn counts_with_its_device(&self, disk: &Seen) -> bool {
        let device = disk.usb.as_ref().and_then(|usb| self.usb.get(usb));
        device.is_some_and(|judged| {
            let rulings = &judged.verdict.rulings;
            rulings.iter().any(|it| it.kind == Kind::Storage)
        })
    }

    /// Reports at once that something that carries data came or went: the gate stops showing
    /// plaintext by it.
    pub(super) fn beat_if_present_changed(&mut self) {
        let present = self.present();
        if present != self.present_before {
            self.present_before = present;
            self.beat();
        }
    }

    /// The state, read back from the kernel.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        let hubs = self.sysfs.hubs().into_iter().map(|hub| HubState {
            name: hub.name,
            authorized_default: hub.authorized_default,
            interface_authorized_default: hub.interface_authorized_default,
        });
        let blocks = self
            .sysfs
            .disks()
            .into_iter()
            // Loop devices that nothing is behind.
            .filter(|disk| disk.size > 0 || disk.bus != Bus::Virtual)
            .map(|disk| BlockState {
                foreign: self.owner(&disk) == Owner::Foreign,
                ro: disk.read_only,
                brokered: self.brokered.as_ref() == Some(&disk.name),
                name: disk.name,
            });
        let guard = match &self.guard {
            Ok(guard) if guard.is_on() => heartbeat::Guard::Pinned {
                programs: guard.attached(),
                refused: guard.counts().iter().sum(),
            },
            Ok(_) => heartbeat::Guard::Missing {
                why: "it is attached but was switched off".to_owned(),
            },
            Err(why) => heartbeat::Guard::Missing { why: why.clone() },
        };
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut heartbeat = Heartbeat {
            policy: self.policy.digest(),
            agent: self.program,
            boot: self.reporter.boot,
            kernel: format!("Linux {}", release.trim()),
            usbcore_default: self.sysfs.usbcore_default(),
            hubs: hubs.collect(),
            blocks: blocks.collect(),
            unlisted: 0,
            guard,
            fanotify: self.watch.as_ref().is_some_and(Watch::is_complete)
                && (self.guard.is_ok()
                    || self.fallback.as_ref().is_some_and(Fallback::is_complete)),
            refused: self.reporter.counters.refused,
            attached: self.reporter.counters.attached,
            queue: u32::try_from(self.reporter.waiting()).unwrap_or(u32::MAX),
            unclean_ends: self.reporter.counters.unclean_ends,
            present: self.present(),
        };
        heartbeat.fit();
        heartbeat
    }

    /// Shows the state to `sekisho-post status`.
    fn show(&self, heartbeat: &Heartbeat) {
        let devices: Vec<Value> = self
            .usb
            .values()
            .map(|judged| {
                json!({
                    "device": judged.device.key,
                    "name": judged.device.name,
                    "outcome": judged.verdict.outcome.word(),
                    "reason": judged.verdict.reason.word(),
                })
            })
            .collect();
        let lacks = self
            .guard
            .as_ref()
            .map_or(Vec::new(), |it| it.lacks.clone());
        let status = json!({
            "uptime_ms": uptime_ms(),
            "terminal": crate::config::hex(&self.reporter.terminal),
            "online": self.reporter.is_online(),
            "gate": self.gate.as_ref().map(|gate| gate.address.clone()),
            "heartbeat": heartbeat,
            "guard_lacks": lacks,
            "devices": devices,
        });
        let path = self.config.run.join("status.json");
        let text = status.to_string();
        if let Err(error) = crate::files::replace(&path, text.as_bytes()) {
            say(
                "trouble",
                &[("what", format!("{}: {error}", path.display()).into())],
            );
        }
    }

    /// Says what the guard, or what stands in for it, refused since the last look.
    pub(super) fn count_refused(&mut self) {
        let fallback = self.fallback.as_ref().map_or(0, Fallback::refused);
        if fallback > 0 {
            self.reporter.counters.refused += fallback;
            self.say_refused("fallback", String::new(), fallback);
        }
        let Ok(guard) = &self.guard else {
            return;
        };
        let counts = guard.counts();
        if counts == self.counted {
            return;
        }
        let mut details = guard.refused();
        let counted = std::mem::replace(&mut self.counted, counts);
        // Replaced whole: what the kernel forgot is forgotten here.
        let detailed = std::mem::replace(&mut self.detailed, details.clone());
        for (key, count) in &mut details {
            *count = count.saturating_sub(detailed.get(key).copied().unwrap_or(0));
        }
        details.retain(|_, count| *count > 0);
        for (index, channel) in CHANNELS.iter().enumerate() {
            let new = |counts: &[u64]| counts.get(index).copied().unwrap_or(0);
            let mut left = new(&counts).saturating_sub(new(&counted));
            self.reporter.counters.refused += left;
            let of_channel: Vec<(String, u64)> = details
                .iter()
                .filter(|((it, _), _)| *it == index)
                .map(|((_, key), count)| (self.name_of(*key), *count))
                .collect();
            for (key, count) in of_channel {
                left = left.saturating_sub(count);
                self.say_refused(channel, key, count);
            }
            // What was pushed out of the list of devices still counts.
            if left > 0 {
                self.say_refused(channel, String::new(), left);
            }
        }
        let told = Told {
            counted: self.counted,
            detailed: self.detailed.clone().into_iter().collect(),
        };
        // Where it cannot be written, the next agent tells it once more.
        let bytes = serde_json::to_vec(&told).map_err(io::Error::other);
        let path = self.config.run.join(TOLD);
        super::trouble(bytes.and_then(|bytes| crate::files::replace(&path, &bytes)));
    }

    /// Another guard than the one that was looked at has counted from its start.
    pub(super) fn count_anew(&mut self) {
        let Ok(guard) = &self.guard else {
            return;
        };
        let counts = guard.counts();
        if counts
            .iter()
            .zip(&self.counted)
            .any(|(now, before)| now < before)
        {
            (self.counted, self.detailed) = Default::default();
        }
    }

    /// What an agent before this one has told of what the guard refused; none if that is not known: all is
    /// told again.
    pub(super) fn told_refused(&self) -> (Counts, Details) {
        let read = fs::read(self.config.run.join(TOLD)).ok();
        let told = read.and_then(|bytes| serde_json::from_slice::<Told>(&bytes).ok());
        told.map_or_else(Default::default, |told| {
            (told.counted, told.detailed.into_iter().collect())
        })
    }

    fn say_refused(&mut self, channel: &str, key: String, count: u64) {
        say(
            "refused",
            &[
                ("channel", channel.into()),
                ("device", key.as_str().into()),
                ("count", count.into()),
            ],
        );
        let channel = match channel {
            "device-write" | "generic" => Channel::Raw,
            "control" => Channel::Writable,
            "mount" | "remount" => Channel::Mount,
            "entry" | "attribute" => Channel::Entry,
            "usbfs" => Channel::Usbfs,
            _ => Channel::Write,
        };
        self.reporter.say(Said::Refused {
            channel,
            key,
            count,
        });
    }

    /// The name in sysfs of a key of the guard.
    fn name_of(&self, key: u64) -> String {
        let dev = key & 0xffff_ffff;
        let (major, minor) = (dev >> 20, dev & 0xf_ffff);
        let folder = match key >> 32 {
            0 => "dev/block",
            1 => "dev/char",
            _ => return format!("filesystem {major}:{minor}"),
        };
        fs::canonicalize(self.sysfs.path(folder).join(format!("{major}:{minor}")))
            .ok()
            .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .unwrap_or_else(|| format!("{major}:{minor}"))
    }
}

/// SHA-256 of the running program's file.
pub(super) fn program() -> io::Result<Digest> {
    let path = Path::new("/proc/self/exe");
    if fs::metadata(path)?.len() > PROGRAM_BYTES_MAX {
        return Err(io::Error::other("longer than any agent"));
    }
    Ok(sha256(&fs::read(path)?))
}
