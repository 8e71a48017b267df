//! Disks: whose they are, the read-only flag of the foreign ones, and what the guard is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use serde_json::json;
use terminal::decide::{self, Known, TokenState};
use terminal::report::Said;

use super::{Agent, Judged, Seen};
use crate::block::{self, Disk, Mount, Number, Owner, mounts};
use crate::fallback::Fallback;
use crate::guard::{Closed, Key};
use crate::log::say;
use crate::sysfs::{read_text, usb_of};

/// Magic numbers of filesystems without a disk (linux/magic.h and the filesystems' own), by type.
/// btrfs has no number of its own device either: it is judged by its source.
const MAGICS: [(&str, u64); 9] = [
    ("fuse", 0x6573_5546),
    ("virtiofs", 0x6573_5546),
    ("9p", 0x0102_1997),
    ("cifs", 0xff53_4d42),
    ("smb3", 0xfe53_4d42),
    ("nfs", 0x6969),
    ("vboxsf", 0x786f_4256),
    ("btrfs", 0x9123_683e),
    ("ceph", 0x00c3_6400),
];

impl Agent {
    /// Finds the disks that the system runs from; those found before stay.
    pub(super) fn find_system_disks(&mut self) {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let found = self
            .sysfs
            .system_disks(&read("/proc/self/mountinfo"), &read("/proc/swaps"));
        // Only at the first look: what is mounted on /home later is not the system.
        if self.system.is_empty() {
            self.system = found;
            self.system.extend(self.config.own_disks.iter().cloned());
            let usb = |name: &String| self.sysfs.disk(name)?.usb;
            self.system_usb = self.system.iter().filter_map(usb).collect();
        }
    }

    /// Judges a disk; a foreign one becomes read-only.
    pub(super) fn judge_disk(&mut self, name: &str, why: &str) {
        let Some(disk) = self.sysfs.disk(name) else {
            return self.disk_gone(name);
        };
        let owner = self.owner(&disk);
        let seen = Seen {
            owner,
            bus: disk.bus,
            usb: disk.usb.clone(),
            filled: disk.size > 0,
        };
        let before = self.disks.insert(name.to_owned(), seen);
        let before = before.map(|it| it.owner);
        if owner != Owner::Foreign {
            if before != Some(owner) || why == "partition" {
                self.own_changed();
            }
            // Only now: the guard lets nobody clear the flag of a foreign disk.
            if disk.read_only && self.config.read_only_flags && disk.is_flagged_by_the_agent() {
                let _ = self.set_read_only(&disk, false);
            }
            return;
        }
        // A flag that was set stays set: events of partitions and media only repeat it.
        let brokered = self.brokered.as_deref() == Some(name);
        let failed = if disk.read_only || brokered || !self.config.read_only_flags {
            None
        } else {
            let failed = self.set_read_only(&disk, true).err();
            if let Some(error) = &failed {
                self.open_disks
                    .insert(name.to_owned(), Some(error.to_string()));
            }
            failed
        };
        if before == Some(Owner::Foreign) && (disk.read_only || !self.config.read_only_flags) {
            return;
        }
        self.own_changed();
        // A disk behind what was judged to be none: the device goes, and the disk with it.
        if let Some(usb) = &disk.usb
            && !self.tokens.contains_key(usb)
        {
            self.hold_usb(usb);
        }
        let judged = self.judged_disk(&disk, TokenState::Unread);
        let read_only = self.sysfs.disk(name).is_some_and(|it| it.read_only);
        let more = [
            ("why", why.into()),
            ("usb", json!(disk.usb)),
            ("ro", read_only.into()),
            ("failed", json!(failed.map(|error| error.to_string()))),
        ];
        self.say_judged("disk", &judged, &more);
        // One behind USB was reported with its device.
        if disk.usb.is_none() {
            self.report_judged(&judged, why);
        }
        let asked = match &disk.usb {
            Some(key) => self.tokens.contains_key(key),
            None => judged.verdict.ask_token,
        };
        // Only of a medium that nobody can write to.
        if asked && read_only {
            self.read_token(&disk);
        }
    }

    /// The verdict on a foreign disk. What is behind USB was judged with its device, and counts here
    /// as a disk of its own that the policy does not name.
    pub(super) fn judged_disk(&self, disk: &Disk, token: TokenState) -> Judged {
        let device = disk.device(self.owner(disk));
        let known = Known {
            token,
            ..Known::default()
        };
        let verdict = match disk.usb.as_ref().and_then(|key| self.usb.get(key)) {
            Some(judged) => judged.verdict.clone(),
            None => decide::decide(&device, &known, &self.policy),
        };
        Judged { device, verdict }
    }

    pub(super) fn owner(&self, disk: &Disk) -> Owner {
        self.sysfs
            .owner(disk, &self.system, &|disk| self.enrolled.has_disk(disk))
    }

    fn set_read_only(&self, disk: &Disk, on: bool) -> io::Result<()> {
        let file = block::open(&self.dev, &disk.name, disk.number)?;
        ioctls::set_read_only(&file, on)?;
        match self.sysfs.disk(&disk.name) {
            Some(now) if now.read_only != on => Err(io::Error::other("the kernel kept the flag")),
            _ => Ok(()),
        }
    }

    pub(super) fn disk_gone(&mut self, name: &str) {
        if self.brokered.as_deref() == Some(name) {
            // Its number may be another disk's next.
            self.close_medium();
        }
        self.company_disks.remove(name);
        if let Some(Seen { owner, bus, .. }) = self.disks.remove(name) {
            if owner == Owner::Foreign {
                say(
                    "detached",
                    &[("bus", bus.word().into()), ("device", name.into())],
                );
                self.reporter.say(Said::Detached {
                    bus,
                    key: name.to_owned(),
                });
            }
            self.own_changed();
        }
    }

    /// Foreign disks that somebody made writable are closed again.
    pub(super) fn hold_disks(&mut self) {
        if !self.config.read_only_flags {
            return;
        }
        let foreign: Vec<String> = self
            .disks
            .iter()
            .filter(|(name, disk)| {
                disk.owner == Owner::Foreign && self.brokered.as_ref() != Some(name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in foreign {
            // One file a disk: this is done again and again.
            if self.sysfs.is_read_only(&name).unwrap_or(true) {
                self.open_disks.remove(&name);
                continue;
            }
            let Some(disk) = self.sysfs.disk(&name) else {
                continue;
            };
            let failed = self
                .set_read_only(&disk, true)
                .err()
                .map(|it| it.to_string());
            // A disk that cannot be closed is said once, and in every heartbeat.
            if self.open_disks.insert(name.clone(), failed.clone()) != Some(failed.clone()) {
                self.say_tampered(&name, "a foreign disk was writable", failed);
            }
        }
        let disks = &self.disks;
        self.open_disks.retain(|name, _| disks.contains_key(name));
    }

    /// Tells the guard what is the machine's own, and lets it refuse the rest.
    pub(super) fn own_changed(&mut self) {
        if self.guard.is_err() {
            return;
        }
        let own = self.own_keys();
        let (drivers, filesystems) = (self.closed_drivers(), self.closed_filesystems());
        let Ok(guard) = &mut self.guard else {
            return;
        };
        let told = guard.tell(&own, &drivers, &filesystems).and_then(|()| {
            if guard.is_on() {
                Ok(())
            } else {
                guard.switch_on()
            }
        });
        if let Err(error) = told {
            say("trouble", &[("what", format!("the guard: {error}").into())]);
        }
    }

    /// Watches the mounts of foreign disks; without a guard, also closes drives without a disk.
    pub(super) fn watch_mounts(&mut self) {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let (diskless, on_disks): (Vec<Mount>, Vec<Mount>) = mounts(&text)
            .into_iter()
            .partition(|mount| mount.number.major == 0);
        let place = |mount: Mount| (mount.number.kernel(), mount.at);
        let foreign = on_disks
            .into_iter()
            .filter(|mount| {
                self.sysfs
                    .disk_of(mount.number)
                    .and_then(|name| self.sysfs.disk(&name))
                    .is_some_and(|disk| self.owner(&disk) == Owner::Foreign)
            })
            .map(place)
            .collect();
        if let Some(watch) = &mut self.watch {
            watch.set(foreign);
        }
        // In early boot nobody knows yet what was mounted at enrolment.
        if self.guard.is_ok() || !self.config.read_only_flags {
            self.fallback = None;
            return;
        }
        let closed = diskless
            .into_iter()
            .filter(|mount| !self.enrolled.has_mount(mount))
            .filter(|mount| {
                let kind = mount.kind.split('.').next().unwrap_or_default();
                let mut kinds = self.config.closed_filesystems.iter();
                kinds.any(|it| it == kind)
            })
            .map(place)
            .collect();
        if self.fallback.is_none() {
            self.fallback = super::trouble(Fallback::start(super::THREAD_BYTES));
        }
        if let Some(fallback) = &mut self.fallback {
            fallback.set(closed);
        }
    }

    /// Says what was written on foreign media in spite of everything.
    pub(super) fn say_written(&mut self) {
        let Some(watch) = &self.watch else {
            return;
        };
        let programs = watch.written();
        if !programs.is_empty() {
            let what = format!("written to a foreign medium by {}", programs.join(", "));
            self.say_tampered("foreign medium", &what, None);
        }
    }

    fn own_keys(&self) -> BTreeSet<Key> {
        let mut own = BTreeSet::new();
        for disk in self.sysfs.disks() {
            if self.owner(&disk) == Owner::Foreign {
                continue;
            }
            own.insert(Key::Block(disk.number.kernel()));
            own.extend(
                disk.partitions
                    .iter()
                    .map(|(_, number)| Key::Block(number.kernel())),
            );
            // The other doors to the same disk.
            for folder in ["device/scsi_generic", "device/bsg"] {
                own.extend(numbers(&disk.path.join(folder)).map(|it| Key::Character(it.kernel())));
            }
            own.extend(
                disk.path
                    .parent()
                    .into_iter()
                    .flat_map(numbers)
                    .map(|it| Key::Character(it.kernel())),
            );
            if let Ok(text) = read_text(&disk.path.join("device/dev")) {
                own.extend(Number::parse(&text).map(|it| Key::Character(it.kernel())));
            }
        }
        own.extend(self.own_usb());
        own.extend(self.own_hidraw());
        own.extend(self.own_mounts());
        own
    }

    /// USB devices of which everything is allowed: programs may talk to them.
    fn own_usb(&self) -> impl Iterator<Item = Key> {
        self.usb
            .iter()
            .filter(|(_, judged)| {
                let rulings = &judged.verdict.rulings;
                !rulings.is_empty() && rulings.iter().all(|it| it.reason.allows())
            })
            .filter_map(|(key, _)| self.sysfs.usb_attribute(key, "dev").ok())
            .filter_map(|text| Some(Key::Character(Number::parse(&text)?.kernel())))
    }

    /// HID devices that programs may send bytes to: those that are not on USB, and those of devices that
    /// somebody vouches for. A pointer that is allowed as such is a stranger.
    fn own_hidraw(&self) -> impl Iterator<Item = Key> {
        self.sysfs
            .list("class/hidraw")
            .into_iter()
            .filter_map(|name| {
                let path = self.sysfs.path("class/hidraw").join(name);
                let path = fs::canonicalize(path).ok()?;
                let vouched = match usb_of(&path) {
                    None => true,
                    Some(usb) => self.usb.get(&usb).is_some_and(|judged| {
                        let mut rulings = judged.verdict.rulings.iter();
                        !judged.verdict.rulings.is_empty()
                            && rulings.all(|it| it.reason.is_vouched())
                    }),
                };
                let number = Number::parse(&read_text(&path.join("dev")).ok()?)?;
                vouched.then(|| Key::Character(number.kernel()))
            })
    }

    /// Filesystems without a number of a disk that may be written: those of the enrolment, and btrfs
    /// on the machine's own disks.
    fn own_mounts(&self) -> Vec<Key> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts(&text)
            .into_iter()
            .filter(|mount| mount.number.major == 0)
            .filter(|mount| {
                let own_source = || {
                    let number = block::node_number(mount.source.as_ref())?;
                    let disk = self.sysfs.disk(&self.sysfs.disk_of(number)?)?;
                    Some(self.owner(&disk) != Owner::Foreign)
                };
                self.enrolled.has_mount(mount)
                    || (mount.kind == "btrfs" && own_source().unwrap_or(false))
            })
            .map(|mount| Key::Anonymous(mount.number.kernel()))
            .collect()
    }

    fn closed_filesystems(&self) -> BTreeSet<u64> {
        MAGICS
            .iter()
            .filter(|(kind, _)| {
                *kind == "btrfs" || self.config.closed_filesystems.iter().any(|it| it == kind)
            })
            .map(|(_, magic)| *magic)
            .collect()
    }

    /// Drivers whose devices are other doors to disks or to USB devices, by major number.
    fn closed_drivers(&self) -> BTreeMap<u32, Closed> {
        let text = fs::read_to_string("/proc/devices").unwrap_or_default();
        text.lines()
            .take_while(|line| !line.starts_with("Block"))
            .filter_map(|line| {
                let (major, name) = line.trim().split_once(' ')?;
                let how = match name {
                    "usb_device" => Closed::Writing,
                    // Tapes, and what passes bytes to a HID device past its driver, also where it is open
                    // for reading alone.
                    "sg" | "bsg" | "nvme" | "nvme-generic" | "st" | "hidraw" => Closed::All,
                    _ => return None,
                };
                Some((major.parse().ok()?, how))
            })
            .collect()
    }
}

/// The numbers of the devices in a folder of sysfs.
fn numbers(folder: impl AsRef<std::path::Path>) -> impl Iterator<Item = Number> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("subsystem").exists())
        .filter(|entry| !entry.path().join("partition").exists())
        .filter_map(|entry| Number::parse(&read_text(&entry.path().join("dev")).ok()?))
}
