//! What a device is: values that a shell read from the system, bounded and without judgement.

use serde::{Deserialize, Serialize};

use crate::cbor::{coded, cut};
use crate::descriptor::Described;
use crate::{Digest, sha256};

/// Bytes of a device's key (its name in sysfs).
pub const KEY_BYTES_MAX: usize = 64;
/// Bytes of a device's name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a device's serial: a USB string has 126 UTF-16 units.
pub const SERIAL_BYTES_MAX: usize = 378;
/// Interfaces of a device, over all configurations and alternate settings.
pub const INTERFACES_MAX: usize = 512;

coded! {
    /// How a device is attached.
    Bus, "bus" {
        /// USB.
        Usb = 1, "usb";
        /// SD and MMC cards, eMMC.
        Mmc = 2, "mmc";
        /// NVMe, hot-plugged ones too (Thunderbolt, ExpressCard).
        Nvme = 3, "nvme";
        /// A drive of optical discs.
        Optical = 4, "optical";
        /// Any other disk: SATA, SCSI, a disk behind a USB bridge.
        Scsi = 5, "scsi";
        /// No hardware: 9p, FUSE, usbip, a drive redirected into a virtual desktop.
        Virtual = 6, "virtual";
        /// Paired by Bluetooth.
        Bluetooth = 7, "bluetooth";
    }
}

/// What a HID report descriptor says that the interface sends.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct HidUse {
    /// Usages of the keyboard page, or a keyboard or keypad as application.
    pub keyboard: bool,
    /// A mouse, pointer or digitiser.
    pub pointer: bool,
    /// Consumer, telephony or system control: volume, mute, hook.
    pub controls: bool,
    /// Anything else, vendor-defined pages among it.
    pub other: bool,
}

/// One alternate setting of one interface of one configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interface {
    /// bConfigurationValue.
    pub configuration: u8,
    /// bInterfaceNumber.
    pub number: u8,
    /// bAlternateSetting.
    pub alternate: u8,
    /// bInterfaceClass.
    pub class: u8,
    /// bInterfaceSubClass.
    pub subclass: u8,
    /// bInterfaceProtocol.
    pub protocol: u8,
    /// The interface's string, empty if it was not read.
    pub name: String,
    /// What its HID report descriptor says; `None`: not read, so nothing is known.
    pub report: Option<HidUse>,
}

impl Interface {
    /// Class, subclass and protocol.
    #[must_use]
    pub fn triple(&self) -> [u8; 3] {
        [self.class, self.subclass, self.protocol]
    }
}

/// A device as the shell found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// How it is attached.
    pub bus: Bus,
    /// Its name in sysfs, such as `1-5.1` or `mmcblk0`: the port, for USB.
    pub key: String,
    /// idVendor, 0 without one.
    pub vendor: u16,
    /// idProduct, 0 without one.
    pub product: u16,
    /// bcdDevice.
    pub version: u16,
    /// bDeviceClass, bDeviceSubClass, bDeviceProtocol; zeros where the bus has none.
    pub class: [u8; 3],
    /// The serial as the device says it: a claim, never a proof. Empty without one.
    pub serial: String,
    /// Its name for people.
    pub name: String,
    /// All interfaces of all configurations; empty where the bus has none.
    pub interfaces: Vec<Interface>,
    /// Part of the machine: the port says `fixed`, or the disk that the system runs from.
    pub built_in: bool,
    /// Key of the hub or controller that it hangs from.
    pub parent: Option<String>,
}

impl Device {
    /// A USB device at the port `key`, of what its descriptors say. Texts and place are added by
    /// [`Self::named`] and the public fields.
    #[must_use]
    pub fn usb(key: &str, described: Described) -> Self {
        Self {
            vendor: described.vendor,
            product: described.product,
            version: described.version,
            class: described.class,
            interfaces: described.interfaces,
            ..Self::plain(Bus::Usb, key)
        }
    }

    /// A device of a bus without descriptors: cards, disks, drives.
    #[must_use]
    pub fn plain(bus: Bus, key: &str) -> Self {
        Self {
            bus,
            key: clean(key, KEY_BYTES_MAX),
            vendor: 0,
            product: 0,
            version: 0,
            class: [0; 3],
            serial: String::new(),
            name: String::new(),
            interfaces: Vec::new(),
            built_in: false,
            parent: None,
        }
    }

    /// With name and serial, bounded and without control characters.
    #[must_use]
    pub fn named(mut self, name: &str, serial: &str) -> Self {
        self.name = clean(name, NAME_BYTES_MAX);
        self.serial = clean(serial, SERIAL_BYTES_MAX);
        self
    }

    /// What it is, wherever it is plugged in. A claim: everything in it can be imitated.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            bus: self.bus,
            vendor: self.vendor,
            product: self.product,
            version: self.version,
            class: self.class,
            serial: self.serial.clone(),
            interfaces: self.triples(),
        }
    }

    /// The distinct class triples of its interfaces, ascending.
    #[must_use]
    pub fn triples(&self) -> Vec<[u8; 3]> {
        let mut triples: Vec<_> = self.interfaces.iter().map(Interface::triple).collect();
        triples.sort_unstable();
        triples.dedup();
        triples
    }

    /// The digest by which the serial leaves the terminal (see [`serial_digest`]).
    #[must_use]
    pub fn serial_digest(&self, terminal: &Digest) -> Option<Digest> {
        (!self.serial.is_empty()).then(|| serial_digest(terminal, &self.serial))
    }
}

/// The claims of a device that stay the same when it is plugged in elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// How it is attached.
    pub bus: Bus,
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// bcdDevice.
    pub version: u16,
    /// The device's own class triple.
    pub class: [u8; 3],
    /// The serial that it claims.
    pub serial: String,
    /// Distinct class triples, ascending.
    pub interfaces: Vec<[u8; 3]>,
}

/// SHA-256 of `sekisho serial v1`, a zero byte, the terminal's id, the serial. Equal serials at one
/// terminal give equal digests; at two terminals they do not.
#[must_use]
pub fn serial_digest(terminal: &Digest, serial: &str) -> Digest {
    let mut bytes = b"sekisho serial v1\0".to_vec();
    bytes.extend_from_slice(terminal);
    bytes.extend_from_slice(serial.as_bytes());
    sha256(&bytes)
}

/// A text of a device, fit to be shown and stored: control characters become `?`, and it ends at
/// `max` bytes.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    let shown: String = text
        .chars()
        .take(max)
        .map(|it| {
            if it.is_control() || is_invisible(it) {
                '?'
            } else {
                it
            }
        })
        .collect();
    cut(shown.trim(), max).to_owned()
}

/// Characters that reorder or hide what stands beside them.
fn is_invisible(it: char) -> bool {
    matches!(it, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
