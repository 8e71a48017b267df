//! The devices of this machine as values to be judged, and what was there when it was enrolled.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use terminal::descriptor::{self, DescriptorError};
use terminal::device::{Device, HidUse, Identity};
use thiserror::Error;

use crate::block::{Disk, Mount, Owner};
use crate::sysfs::{Sysfs, read_bytes, read_text};

/// A terminal has a few dozen devices.
const ENROLLED_BYTES_MAX: u64 = 1 << 20;

/// Why a USB device cannot be described; it is refused.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// It is gone, or the kernel says less than it should.
    #[error("cannot read the descriptors of {0}: {1}")]
    Read(String, io::Error),
    /// Its descriptors do not add up.
    #[error("the descriptors of {0} are not valid: {1}")]
    Descriptors(String, DescriptorError),
}

/// A disk that was in the machine at enrolment: the same place, serial and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDisk {
    /// The place: the path of the disk's controller or slot in sysfs.
    pub place: String,
    /// What it called itself.
    pub serial: String,
    /// Bytes.
    pub size: u64,
}

/// What was there at enrolment (`enrolled.json`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enrolled {
    /// USB devices that the policy allows, or asks to confirm.
    pub devices: Vec<Identity>,
    /// Disks.
    pub disks: Vec<KnownDisk>,
    /// Filesystems without a disk: type, source, place.
    pub filesystems: BTreeSet<(String, String, String)>,
}

impl Enrolled {
    /// Reads the file; nothing is known without one.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
            Ok(meta) if meta.len() > ENROLLED_BYTES_MAX => {
                return Err(io::Error::other("longer than any list of devices"));
            }
            Ok(_) => {}
        }
        serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
    }

    /// Whether a disk was there, in this place.
    #[must_use]
    pub fn has_disk(&self, disk: &Disk) -> bool {
        self.disks.contains(&known_disk(disk))
    }

    /// Whether a filesystem was mounted there, from there.
    #[must_use]
    pub fn has_mount(&self, mount: &Mount) -> bool {
        self.filesystems
            .contains(&(mount.kind.clone(), mount.source.clone(), mount.at.clone()))
    }
}

/// A disk as it is remembered.
#[must_use]
pub fn known_disk(disk: &Disk) -> KnownDisk {
    let paths = disk.controllers();
    let own = disk.path.parent().and_then(Path::parent);
    let places: BTreeSet<String> = match own {
        Some(own) if paths.is_empty() => [place(own)].into(),
        _ => paths.iter().map(|path| place(path)).collect(),
    };
    KnownDisk {
        place: places.into_iter().collect::<Vec<_>>().join(" "),
        serial: disk.device(Owner::Foreign).serial,
        size: disk.size,
    }
}

/// A place in sysfs without the numbers that the kernel gives in the order in which it finds things:
/// those of hosts, controllers and cards. Slots, ports, channels, targets and units stay.
fn place(path: &Path) -> String {
    let mut parts = Vec::new();
    let mut above = PathBuf::new();
    for part in path.iter().filter_map(|part| part.to_str()) {
        above.push(part);
        let numbered = |kind: &&str| {
            part.strip_prefix(*kind)
                .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
        };
        let kind = ["host", "target", "nvme", "mmc", "ata", "virtio"]
            .into_iter()
            .find(numbered);
        match kind {
            // The controller's own number of the port.
            Some("ata") => {
                let port = above.join("ata_port").join(part).join("port_no");
                parts.extend(read_text(&port).ok().map(|it| format!("port{it}")));
            }
            Some(_) => {}
            None => parts.push(without_host(part)),
        }
    }
    parts.join("/")
}

/// `0:1:5` of `7:0:1:5`, `end_device-1` of `end_device-7:1`: the host's number comes first.
fn without_host(part: &str) -> String {
    let numbers = |text: &str| {
        !text.is_empty()
            && text
                .split(':')
                .all(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
    };
    let (kind, address) = match part.rsplit_once('-') {
        Some((kind, address)) if ["end_device", "port", "expander"].contains(&kind) => {
            (format!("{kind}-"), address)
        }
        _ => (String::new(), part),
    };
    match address.split_once(':') {
        Some((_, rest)) if numbers(address) && (!kind.is_empty() || rest.contains(':')) => {
            format!("{kind}{rest}")
        }
        _ => part.to_owned(),
    }
}

impl Sysfs {
    /// A USB device, with what its HID report descriptors say where they were read.
    ///
    /// # Errors
    /// [`DeviceError`]; whoever cannot be described is refused.
    pub fn usb_device(&self, name: &str) -> Result<Device, DeviceError> {
        let bytes = self
            .usb_descriptors(name)
            .map_err(|error| DeviceError::Read(name.to_owned(), error))?;
        let described = descriptor::parse(&bytes)
            .map_err(|error| DeviceError::Descriptors(name.to_owned(), error))?;
        let text = |file| self.usb_attribute(name, file).unwrap_or_default();
        let mut device = Device::usb(name, described).named(&text("product"), &text("serial"));
        device.built_in = self.is_fixed(name);
        device.parent = parent(name);
        for interface in &mut device.interfaces {
            if interface.class == 3 {
                interface.report = self.hid_use(&format!(
                    "{name}:{}.{}",
                    interface.configuration, interface.number
                ));
            }
        }
        Ok(device)
    }

    /// Whether the device is part of the machine: so every port on the way to it has to say. Of the
    /// ports of a controller the firmware says it; what a hub says of its own ports is the hub's claim,
    /// which counts as far as the hub itself is part of the machine.
    fn is_fixed(&self, name: &str) -> bool {
        let fixed = |step: &str| {
            self.usb_attribute(step, "removable")
                .is_ok_and(|it| it == "fixed")
        };
        let mut step = name;
        while fixed(step) {
            match step.rsplit_once('.') {
                Some((hub, _)) => step = hub,
                None => return true,
            }
        }
        false
    }

    /// The HID devices that the kernel made of a USB interface: names such as `0003:046D:C31C.0001`.
    #[must_use]
    pub fn hid_devices(&self, interface: &str) -> Vec<String> {
        self.list(&format!("bus/usb/devices/{interface}"))
            .into_iter()
            .filter(|name| name.starts_with("0003:"))
            .collect()
    }

    /// What an interface's report descriptor says; `None` if the kernel has not read it yet, or if
    /// it cannot be understood: then nothing is known, and the worst is assumed.
    fn hid_use(&self, interface: &str) -> Option<HidUse> {
        let [name] = self.hid_devices(interface).try_into().ok()?;
        let path = self.usb(interface).join(name).join("report_descriptor");
        descriptor::report(&read_bytes(&path).ok()?).ok()
    }
}

/// The hub that a USB device hangs from: `1-5` of `1-5.1`, `usb1` of `1-5`.
fn parent(name: &str) -> Option<String> {
    match name.rsplit_once('.') {
        Some((hub, _)) => Some(hub.to_owned()),
        None => name.split_once('-').map(|(bus, _)| format!("usb{bus}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device below hubs; each step says what its port is.
    fn built_in(steps: &[(&str, &str)]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        for (name, removable) in steps {
            let device = folder.path().join("bus/usb/devices").join(name);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("removable"), format!("{removable}\n")).unwrap();
        }
        Sysfs::new(folder.path()).is_fixed(steps.last().unwrap().0)
    }

    #[test]
    fn what_an_external_hub_says_of_its_ports_makes_nothing_built_in() {
        assert!(built_in(&[("1-5", "fixed")]));
        assert!(built_in(&[("1-5", "fixed"), ("1-5.1", "fixed")]));
        assert!(!built_in(&[("1-5", "removable"), ("1-5.1", "fixed")]));
        assert!(!built_in(&[
            ("1-5", "unknown"),
            ("1-5.1", "fixed"),
            ("1-5.1.2", "fixed")
        ]));
        assert!(!built_in(&[("1-5", "fixed"), ("1-5.1", "removable")]));
        assert!(!built_in(&[("1-5.1", "fixed")]), "its hub is not there");
    }

    #[test]
    fn places_are_the_same_at_every_start() {
        for (path, expected) in [
            (
                "/devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0",
                "//devices/pci0000:00/0000:00:1f.2/0:0:0",
            ),
            (
                "/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:1/0:0:1:4",
                "//devices/pci0000:00/0000:00:1f.2/0:1:4",
            ),
            (
                "/devices/pci0000:00/0000:03:00.0/host7/port-7:1/end_device-7:1/target7:0:1/7:0:1:0",
                "//devices/pci0000:00/0000:03:00.0/port-1/end_device-1/0:1:0",
            ),
            (
                "/devices/pci0000:00/0000:02:00.0/nvme",
                "//devices/pci0000:00/0000:02:00.0/nvme",
            ),
        ] {
            assert_eq!(place(Path::new(path)), expected);
        }
    }

    #[test]
    fn parents() {
        assert_eq!(parent("1-5.1.2").as_deref(), Some("1-5.1"));
        assert_eq!(parent("1-5.1").as_deref(), Some("1-5"));
        assert_eq!(parent("12-5").as_deref(), Some("usb12"));
    }
}
