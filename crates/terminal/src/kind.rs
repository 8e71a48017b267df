//! What an interface is for. Classes are USB's (usb.org, "Defined Class Codes"); whoever binds a driver
//! goes by the same numbers, so a lie here buys nothing but the wrong driver.
//!
//! Doubt goes to the more dangerous kind: an HID interface whose report descriptor was not read is a
//! keyboard.

use crate::cbor::coded;
use crate::device::{Bus, Device, HidUse, Interface};

coded! {
    /// What an interface or a whole device is for.
    Kind, "kind" {
        /// A hub.
        Hub = 1, "hub";
        /// Sends keys.
        Keyboard = 2, "keyboard";
        /// Moves the pointer.
        Pointer = 3, "pointer";
        /// Sound, with the buttons that belong to it.
        Headset = 4, "headset";
        /// A reader of smart cards.
        SmartCard = 5, "smart-card";
        /// Anything with blocks or files: sticks, disks, cards, discs, redirected drives.
        Storage = 6, "storage";
        /// A telephone, camera or player: MTP, PTP, debugging, synchronisation.
        Phone = 7, "phone";
        /// A network: RNDIS, CDC-ECM, NCM, EEM, MBIM.
        Network = 8, "network";
        /// A modem or serial port (CDC-ACM).
        Serial = 9, "serial";
        /// A printer.
        Printer = 10, "printer";
        /// Video.
        Camera = 11, "camera";
        /// A Bluetooth adapter.
        Bluetooth = 12, "bluetooth";
        /// A class of the vendor's own.
        Vendor = 13, "vendor";
        /// Anything else.
        Other = 14, "other";
    }
}

impl Kind {
    /// Whether data can be carried away with it.
    #[must_use]
    pub fn carries_data(self) -> bool {
        matches!(
            self,
            Self::Storage | Self::Phone | Self::Network | Self::Serial
        )
    }

    /// By its name in policies.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.word() == word)
    }
}

/// What the interface of the device is for.
#[must_use]
pub fn kind(device: &Device, interface: &Interface) -> Kind {
    match interface.class {
        0x01 if has_midi(device) => Kind::Other,
        0x01 => Kind::Headset,
        0x02 => communication(interface),
        0x03 => hid(device, interface.protocol, interface.report),
        0x06 => Kind::Phone,
        0x07 => Kind::Printer,
        0x08 => Kind::Storage,
        0x09 => Kind::Hub,
        0x0a => data(device, interface),
        0x0b => Kind::SmartCard,
        0x0e | 0x10 => Kind::Camera,
        0xe0 => wireless(interface),
        0xef => miscellaneous(interface),
        0xff => vendor(device, interface),
        _ => Kind::Other,
    }
}

/// The kinds of everything that a device has, each once, ascending. Without interfaces: a disk is
/// storage, anything else is unknown.
#[must_use]
pub fn kinds(device: &Device) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = match device.bus {
        Bus::Mmc | Bus::Nvme | Bus::Optical | Bus::Scsi | Bus::Virtual => vec![Kind::Storage],
        Bus::Usb | Bus::Bluetooth => device
            .interfaces
            .iter()
            .map(|it| kind(device, it))
            .chain(of_device(device))
            .collect(),
    };
    if kinds.is_empty() {
        kinds.push(Kind::Other);
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// What the device's own class adds to its interfaces: most devices leave it to them (USB 2.0, 9.6.1).
#[must_use]
pub fn of_device(device: &Device) -> Option<Kind> {
    let [class, subclass, protocol] = device.class;
    match class {
        // Said by each interface; 02 and ef only announce that there are several.
        0x00 | 0x02 | 0xef => None,
        _ => Some(kind(
            device,
            &Interface {
                configuration: 0,
                number: 0,
                alternate: 0,
                class,
                subclass,
                protocol,
                name: String::new(),
                report: None,
            },
        )),
    }
}

/// CDC 1.2, table 4, and the subclasses that came later.
fn communication(it: &Interface) -> Kind {
    match (it.subclass, it.protocol) {
        // RNDIS hides as a modem with the vendor's protocol.
        (0x02, 0xff) => Kind::Network,
        (0x01..=0x05, _) => Kind::Serial,
        (0x06 | 0x07 | 0x0c | 0x0d | 0x0e, _) => Kind::Network,
        // OBEX: files.
        (0x0b, _) => Kind::Phone,
        (0x08..=0x0a, _) => Kind::Serial,
        _ => Kind::Other,
    }
}

/// CDC data belongs to the communication interface beside it; alone, to nothing known.
fn data(device: &Device, it: &Interface) -> Kind {
    let beside: Vec<Kind> = device
        .interfaces
        .iter()
        .filter(|other| other.configuration == it.configuration)
        .filter_map(|other| match other.class {
            0x02 => Some(communication(other)),
            0xe0 => Some(wireless(other)),
            0xef => Some(miscellaneous(other)),
            _ => None,
        })
        .collect();
    [Kind::Phone, Kind::Network, Kind::Serial]
        .into_iter()
        .find(|kind| beside.contains(kind))
        .unwrap_or(Kind::Other)
}

fn wireless(it: &Interface) -> Kind {
    match (it.subclass, it.protocol) {
        (0x01, 0x01 | 0x04) => Kind::Bluetooth,
        (0x01, 0x03) => Kind::Network, // RNDIS
        _ => Kind::Other,
    }
}

fn miscellaneous(it: &Interface) -> Kind {
    match it.subclass {
        0x01 => Kind::Phone,   // ActiveSync, Palm Sync
        0x04 => Kind::Network, // RNDIS
        _ => Kind::Other,
    }
}

/// MIDI carries any bytes, both ways. The driver for sound makes such a port of an interface that the
/// control interface names, also of one of the vendor's class, and whether or not it is authorised: so
/// none of the sound of such a device counts as sound.
fn has_midi(device: &Device) -> bool {
    let midi = |it: &Interface| matches!(it.class, 0x01 | 0xff) && it.subclass == 0x03;
    let sound = device.interfaces.iter().any(|it| it.class == 0x01);
    sound && device.interfaces.iter().any(midi)
}

fn hid(device: &Device, protocol: u8, report: Option<HidUse>) -> Kind {
    let Some(said) = report else {
        return Kind::Keyboard;
    };
    // The boot protocol is spoken whatever the report descriptor says (HID 1.11, appendix F).
    if said.keyboard || protocol == 1 {
        Kind::Keyboard
    } else if said.pointer || protocol == 2 {
        Kind::Pointer
    } else if said.controls {
        if device.interfaces.iter().any(|it| it.class == 0x01) && !has_midi(device) {
            Kind::Headset
        } else {
            Kind::Keyboard
        }
    } else {
        Kind::Other
    }
}

/// Telephones that hide behind the vendor's class: MTP is recognised by its string or by
/// Android's and Apple's numbers.
fn vendor(device: &Device, it: &Interface) -> Kind {
    let name = it.name.to_ascii_uppercase();
    let said = ["MTP", "PTP", "ANDROID", "ADB", "FASTBOOT", "IPHONE", "IPAD"]
        .iter()
        .any(|word| name.contains(word));
    let numbers = match (it.subclass, it.protocol) {
        (0x42, 0x01 | 0x03) => true, // Android's debugging and boot loader
        (0xfe, 0x02) | (0xfd, 0x01) => device.vendor == 0x05ac, // Apple's multiplexer, tethering
        (0xff, 0x00) => device.vendor == 0x18d1, // Android's MTP
        _ => false,
    };
    // Android's accessory protocol: a program on the telephone at the other end.
    let accessory = device.vendor == 0x18d1 && (0x2d00..=0x2d05).contains(&device.product);
    if said || numbers || accessory {
        Kind::Phone
    } else {
        Kind::Vendor
    }
}
