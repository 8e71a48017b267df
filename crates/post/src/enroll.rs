//! Enrolment: the terminal gets a key, remembers the gate, and remembers what is part of the machine.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use terminal::decide::{Known, decide};
use terminal::device::Device;
use terminal::policy::Policy;
use terminal::{Digest, decide};

use crate::block::{Owner, mounts};
use crate::config::{Config, Gate};
use crate::machine::{Enrolled, known_disk};
use crate::sysfs::Sysfs;
use crate::tls::Identity;

/// Where the gate is: the configuration's word, or what enrolment wrote.
///
/// # Errors
/// The file is there and cannot be read.
pub fn gate(config: &Config) -> io::Result<Option<Gate>> {
    if config.gate.is_some() {
        return Ok(config.gate.clone());
    }
    match fs::read(config.state.join("gate.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the machine calls itself.
#[must_use]
pub fn machine_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    terminal::device::clean(&name, terminal::wire::TERMINAL_NAME_BYTES_MAX)
}

/// What enrolment came to.
#[derive(Debug)]
pub struct Enrolment {
    /// The terminal's id: what the gate knows it by.
    pub id: Digest,
    /// What is remembered of the machine.
    pub enrolled: Enrolled,
    /// Devices that are present and not remembered, with the reason.
    pub left_out: Vec<(Device, decide::Verdict)>,
}

/// Enrols this terminal: what is plugged in now and is no storage, and the disks that are no foreign
/// medium, count as its own from now on.
///
/// # Errors
/// The state cannot be written.
pub fn enroll(config: &Config, sysfs: &Sysfs, gate: Option<&Gate>) -> Result<Enrolment> {
    let state = &config.state;
    fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    let identity = Identity::open(state)?;
    let policy = Policy::standard();
    let mut enrolled = Enrolled::default();
    let mut left_out = Vec::new();
    for name in sysfs.usb_devices() {
        let Ok(device) = sysfs.usb_device(&name) else {
            continue;
        };
        // As if it were known: a keyboard is, storage is not.
        let known = Known {
            enrolled: vec![device.identity()],
            ..Known::default()
        };
        let verdict = decide(&device, &known, &policy);
        if verdict.reason.allows() {
            enrolled.devices.push(device.identity());
        } else {
            left_out.push((device, verdict));
        }
    }
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let system = sysfs.system_disks(&mountinfo, &swaps);
    for disk in sysfs.disks() {
        // Cards, sticks and discs are media even when they are in at enrolment.
        let fixed = matches!(
            disk.bus,
            terminal::device::Bus::Nvme | terminal::device::Bus::Scsi
        );
        if fixed || sysfs.owner(&disk, &system, &|_| false) == Owner::System {
            enrolled.disks.push(known_disk(&disk));
        }
    }
    enrolled.filesystems = mounts(&mountinfo)
        .into_iter()
        .filter(|mount| mount.number.major == 0)
        .filter(|mount| config.closed_filesystems.contains(&kind(&mount.kind)))
        .map(|mount| (mount.kind, mount.source, mount.at))
        .collect();
    write(&state.join("enrolled.json"), &enrolled)?;
    if let Some(gate) = gate {
        write(&state.join("gate.json"), gate)?;
    }
    Ok(Enrolment {
        id: identity.id,
        enrolled,
        left_out,
    })
}

/// `fuse` of `fuse.portal`.
fn kind(kind: &str) -> String {
    kind.split('.').next().unwrap_or_default().to_owned()
}

fn write(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value)?;
    crate::files::replace(path, &text).with_context(|| format!("cannot write {}", path.display()))
}
