//! Block devices: which belong to the machine, which are foreign, and the kernel's read-only flag.
//!
//! Everything is foreign until it is shown to be the machine's own: the disks that the system runs
//! from, what was remembered at enrolment, and what is stacked on those alone. A disk of the system
//! is never made read-only.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use terminal::device::{Bus, Device};

use crate::sysfs::{Sysfs, read_bytes, read_text, usb_of};

/// A stack of device mapper and md is a few layers; a longer chain is a loop or a trick.
const LAYERS_MAX: usize = 16;
/// Where the system itself lives: the disks below these are never closed.
const SYSTEM_MOUNTS: [&str; 6] = ["/", "/boot", "/boot/efi", "/usr", "/var", "/home"];

/// A block device's number, as the kernel keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    /// The driver's part.
    pub major: u32,
    /// The device's part.
    pub minor: u32,
}

impl Number {
    /// `8:16`, as sysfs and mountinfo write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }

    /// The kernel's own encoding of a `dev_t`: 12 and 20 bits.
    #[must_use]
    pub fn kernel(self) -> u32 {
        (self.major << 20) | (self.minor & 0xf_ffff)
    }
}

/// A whole disk, or what behaves as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `sda`, `mmcblk0`, `dm-0`.
    pub name: String,
    /// Its number.
    pub number: Number,
    /// Its folder in sysfs, links resolved.
    pub path: PathBuf,
    /// How it is attached.
    pub bus: Bus,
    /// The USB device that it hangs from.
    pub usb: Option<String>,
    /// The kernel's read-only flag.
    pub read_only: bool,
    /// Bytes.
    pub size: u64,
    /// Its partitions.
    pub partitions: Vec<(String, Number)>,
    /// The disks below it, of which it is made: device mapper, md.
    pub slaves: Vec<String>,
}

/// Why a disk is the machine's own, or that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The system runs from it.
    System,
    /// It was there at enrolment.
    BuiltIn,
    /// Memory, or a file or disk that is judged by itself.
    Virtual,
    /// None of these.
    Foreign,
}

impl Sysfs {
    /// All whole disks.
    #[must_use]
    pub fn disks(&self) -> Vec<Disk> {
        self.list("block")
            .into_iter()
            .filter_map(|name| self.disk(&name))
            .collect()
    }

    /// One whole disk; `None` if it is gone.
    #[must_use]
    pub fn disk(&self, name: &str) -> Option<Disk> {
        if name.contains('/') || name.starts_with('.') {
            return None;
        }
        let path = fs::canonicalize(self.path("block").join(name)).ok()?;
        let number = Number::parse(&read_text(&path.join("dev")).ok()?)?;
        let (bus, usb) = bus(&path, name);
        Some(Disk {
            number,
            bus,
            usb,
            read_only: read_text(&path.join("ro")).is_ok_and(|text| text == "1"),
            size: read_text(&path.join("size"))
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .map_or(0, |sectors| sectors.saturating_mul(512)),
            partitions: partitions(&path),
            slaves: names(&path.join("slaves")),
            name: name.to_owned(),
            path,
        })
    }

    /// A whole disk's read-only flag.
    ///
    /// # Errors
    /// The disk is gone.
    pub fn is_read_only(&self, name: &str) -> io::Result<bool> {
        Ok(read_text(&self.path("block").join(name).join("ro"))? == "1")
    }

    /// The whole disk of a block device's number: of a partition the disk it is on.
    #[must_use]
    pub fn disk_of(&self, number: Number) -> Option<String> {
        let link = self
            .path("dev/block")
            .join(format!("{}:{}", number.major, number.minor));
        let path = fs::canonicalize(link).ok()?;
        let whole = if path.join("partition").exists() {
            path.parent()?
        } else {
            &path
        };
        Some(whole.file_name()?.to_str()?.to_owned())
    }

    /// Names of the disks that the system runs from: below the mounts of [`SYSTEM_MOUNTS`] and below
    /// active swap, through every layer of device mapper and md.
    #[must_use]
    pub fn system_disks(&self, mountinfo: &str, swaps: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for mount in mounts(mountinfo) {
            if SYSTEM_MOUNTS.contains(&mount.at.as_str()) {
                // btrfs and overlay have anonymous numbers; the source names the device.
                let disk = self
                    .disk_of(mount.number)
                    .or_else(|| self.disk_of(node_number(Path::new(&mount.source))?));
                found.extend(disk);
            }
        }
        for line in swaps.lines().skip(1) {
            let path = Path::new(line.split_whitespace().next().unwrap_or_default());
            found.extend(node_number(path).and_then(|number| self.disk_of(number)));
        }
        for _ in 0..LAYERS_MAX {
            let below: BTreeSet<String> = found
                .iter()
                .filter_map(|name| self.disk(name))
                .flat_map(|disk| disk.slaves)
                .filter_map(|slave| self.whole(&slave))
                .collect();
            let before = found.len();
            found.extend(below);
            if found.len() == before {
                break;
            }
        }
        found
    }

    /// The whole disk of a name below `slaves`, which may be a partition's.
    fn whole(&self, name: &str) -> Option<String> {
        if self.path("block").join(name).exists() {
            return Some(name.to_owned());
        }
        let path = fs::canonicalize(self.path("class/block").join(name)).ok()?;
        Some(path.parent()?.file_name()?.to_str()?.to_owned())
    }

    /// Whose a disk is. `system` and `built_in` are names of disks.
    #[must_use]
    pub fn owner(
        &self,
        disk: &Disk,
        system: &BTreeSet<String>,
        built_in: &dyn Fn(&Disk) -> bool,
    ) -> Owner {
        self.owner_below(disk, system, built_in, 0)
    }

    fn owner_below(
        &self,
        disk: &Disk,
        system: &BTreeSet<String>,
        built_in: &dyn Fn(&Disk) -> bool,
        depth: usize,
    ) -> Owner {
        if system.contains(&disk.name) {
            return Owner::System;
        }
        if !is_virtual(&disk.path) {
            return if built_in(disk) {
                Owner::BuiltIn
            } else {
                Owner::Foreign
            };
        }
        // Memory and files: what is written there stays on disks that are judged themselves.
        if ["loop", "ram", "zram"]
            .iter()
            .any(|kind| disk.name.starts_with(kind))
        {
            return Owner::Virtual;
        }
        let own = |name: &String| {
            self.whole(name)
                .and_then(|name| self.disk(&name))
                .is_some_and(|below| {
                    self.owner_below(&below, system, built_in, depth + 1) != Owner::Foreign
                })
        };
        if depth < LAYERS_MAX && !disk.slaves.is_empty() && disk.slaves.iter().all(own) {
            Owner::Virtual
        } else {
            Owner::Foreign
        }
    }
}

impl Disk {
    /// Whether a read-only flag that it has may be the agent's: a loop device is made with its own.
    pub(crate) fn is_flagged_by_the_agent(&self) -> bool {
        !["loop", "ram", "zram"]
            .iter()
            .any(|kind| self.name.starts_with(kind))
    }

    /// The first of these files of its folder that says something.
    fn text(&self, files: &[&str]) -> String {
        files
            .iter()
            .filter_map(|file| read_text(&self.path.join(file)).ok())
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }

    /// What it calls itself. SCSI and SATA disks say it in a page of vital product data (SPC-4, 7.8.15:
    /// four bytes, then text).
    fn serial(&self) -> String {
        let said = self.text(&["device/serial", "serial"]);
        if !said.is_empty() {
            return said;
        }
        let page = read_bytes(&self.path.join("device/vpd_pg80")).unwrap_or_default();
        let said = String::from_utf8_lossy(page.get(4..).unwrap_or_default());
        match said.trim_matches(|it: char| it.is_whitespace() || it == '\0') {
            "" => self.text(&["device/wwid", "wwid"]),
            said => said.to_owned(),
        }
    }

    /// The controllers of an NVMe disk that the kernel lets be reached by several: their folders.
    pub(crate) fn controllers(&self) -> Vec<PathBuf> {
        if !is_multipath(&self.path) {
            return Vec::new();
        }
        let subsystem = self.path.parent().unwrap_or(&self.path);
        names(subsystem)
            .into_iter()
            .filter(|name| {
                name.strip_prefix("nvme").is_some_and(|rest| {
                    !rest.is_empty() && rest.bytes().all(|it| it.is_ascii_digit())
                })
            })
            .filter_map(|name| fs::canonicalize(subsystem.join(name)).ok())
            .filter_map(|path| Some(path.parent()?.to_owned()))
            .collect()
    }

    /// The disk as a device to be judged; for one behind USB the USB device is judged instead.
    #[must_use]
    pub fn device(&self, owner: Owner) -> Device {
        let name = self.text(&["device/name", "device/model"]);
        let mut device = Device::plain(self.bus, &self.name).named(&name, &self.serial());
        device.built_in = matches!(owner, Owner::System | Owner::BuiltIn);
        device.parent = self
            .usb
            .clone()
            .or_else(|| self.path.parent()?.file_name()?.to_str().map(str::to_owned));
        device
    }
}

/// A line of /proc/self/mountinfo, as far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The superblock's number; major 0 if no block device is behind it.
    pub number: Number,
    /// Where it is mounted.
    pub at: String,
    /// The filesystem's type.
    pub kind: String,
    /// What is mounted: a device's path or a name.
    pub source: String,
    /// Whether the superblock may be written.
    pub writable: bool,
}

/// The mounts of a mountinfo text; lines that do not parse are left out.
#[must_use]
pub fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(2);
            let number = Number::parse(left.next()?)?;
            let at = unescape(left.nth(1)?);
            let mut right = right.split(' ');
            Some(Mount {
                number,
                at,
                kind: right.next()?.to_owned(),
                source: unescape(right.next()?),
                writable: right.next()?.split(',').any(|option| option == "rw"),
            })
        })
        .collect()
}

/// Octal escapes of blanks and backslashes, as the kernel writes them.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let code = escape
            .get(1..4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = escape.get(4..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = escape.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

/// The number of the block device at a path.
pub(crate) fn node_number(path: &Path) -> Option<Number> {
    let meta = fs::metadata(path).ok()?;
    meta.file_type()
        .is_block_device()
        .then(|| split(meta.rdev()))
}

/// The two parts of a `dev_t` of user space.
#[must_use]
pub fn split(rdev: u64) -> Number {
    let (major, minor) = (nix::sys::stat::major(rdev), nix::sys::stat::minor(rdev));
    Number {
        major: u32::try_from(major).unwrap_or(u32::MAX),
        minor: u32::try_from(minor).unwrap_or(u32::MAX),
    }
}

/// Opens a disk's node for reading, whether or not a medium is in, and makes sure that the node is
/// this disk's: `/dev` is a folder in which root may make what it likes.
///
/// # Errors
/// There is no such node, or it is another device's.
pub fn open(dev: &Path, name: &str, number: Number) -> io::Result<fs::File> {
    const O_NONBLOCK: i32 = 0o4000;
    let node = dev.join(name.replace('!', "/"));
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(&node)?;
    let meta = file.metadata()?;
    if !meta.file_type().is_block_device() || split(meta.rdev()) != number {
        return Err(io::Error::other(format!(
            "{} is not the block device {}:{}",
            node.display(),
            number.major,
            number.minor
        )));
    }
    Ok(file)
}

/// An NVMe disk with several ways to it hangs from no one controller, and yet is hardware.
fn is_multipath(path: &Path) -> bool {
    path.to_string_lossy()
        .contains("/devices/virtual/nvme-subsystem/")
}

fn is_virtual(path: &Path) -> bool {
    path.to_string_lossy().contains("/devices/virtual/") && !is_multipath(path)
}

fn bus(path: &Path, name: &str) -> (Bus, Option<String>) {
    let usb = usb_of(path);
    let text = path.to_string_lossy();
    let bus = if is_virtual(path) {
        Bus::Virtual
    } else if name.starts_with("sr") {
        Bus::Optical
    } else if usb.is_some() {
        Bus::Usb
    } else if text.contains("/mmc_host/") {
        Bus::Mmc
    } else if text.contains("/nvme") {
        Bus::Nvme
    } else {
        Bus::Scsi
    };
    (bus, usb)
}

fn partitions(path: &Path) -> Vec<(String, Number)> {
    names(path)
        .into_iter()
        .filter_map(|name| {
            let folder = path.join(&name);
            if !folder.join("partition").exists() {
                return None;
            }
            let number = Number::parse(&read_text(&folder.join("dev")).ok()?)?;
            Some((name, number))
        })
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
