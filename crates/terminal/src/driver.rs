//! Which drivers of Linux go with which kind, and what an input device may send.
//!
//! Linux binds most drivers by class, but some by vendor and product alone, whatever the classes say:
//! whoever claims the numbers of an old card reader and the class of a mouse gets a disk. So the shell
//! binds by name what belongs to the kind, and looks afterwards at what is bound.

use crate::decide::{Reason, Ruling};
use crate::kind::Kind;

/// What a program that talks to an interface by usbfs is to the kernel.
const PROGRAM: &str = "usbfs";
/// Drivers that end in a disk; those of `usb-storage` for single models begin with `ums-`.
const STORAGE: [&str; 5] = ["usb-storage", "uas", "rtsx_usb", "vub300", "ushc"];

/// The drivers that an interface may have, the wanted first; `None`: any that ends in no disk.
#[must_use]
pub fn drivers(ruling: &Ruling) -> Option<&'static [&'static str]> {
    if ruling.reason == Reason::Model && ruling.kind != Kind::Storage {
        return None;
    }
    Some(match ruling.kind {
        Kind::Hub => &["hub"],
        Kind::Keyboard => &["usbhid"],
        // Touchpads of portable computers have drivers of their own.
        Kind::Pointer => &["usbhid", "bcm5974", "appletouch", "synaptics_usb"],
        Kind::Headset => &["snd-usb-audio", "usbhid"],
        Kind::SmartCard => &[PROGRAM],
        Kind::Storage => &["uas", "usb-storage"],
        Kind::Network => &[
            "cdc_ether",
            "cdc_ncm",
            "cdc_mbim",
            "cdc_eem",
            "cdc_subset",
            "rndis_host",
        ],
        Kind::Serial => &["cdc_acm"],
        Kind::Printer => &["usblp", PROGRAM],
        Kind::Camera => &["uvcvideo"],
        Kind::Bluetooth => &["btusb", "ath3k"],
        Kind::Phone | Kind::Vendor | Kind::Other => return None,
    })
}

/// Those of them that the kernel is asked to bind: programs come by themselves.
pub fn wanted(ruling: &Ruling) -> Option<impl Iterator<Item = &'static str>> {
    drivers(ruling).map(|it| it.iter().copied().filter(|it| *it != PROGRAM))
}

/// Whether a driver that has the interface goes with what was decided about it.
#[must_use]
pub fn fits(ruling: &Ruling, driver: &str) -> bool {
    match drivers(ruling) {
        Some(drivers) => drivers.contains(&driver),
        None => !STORAGE.contains(&driver) && !driver.starts_with("ums-"),
    }
}

/// Whether an input device can write: it has a letter or a digit. `keys` is `capabilities/key` of
/// sysfs: words of 64 bits in hexadecimal, the lowest last. The keys of sound, calls and media, and
/// the buttons of pointers, are none of these.
#[must_use]
pub fn writes(keys: &str) -> bool {
    // linux/input-event-codes.h: digits 2-11, letters 16-25, 30-38, 44-50; the block 71-82.
    const LOW: u64 = 0x3ff << 2 | 0x3ff << 16 | 0x1ff << 30 | 0x7f << 44;
    const BLOCK: u64 = 0b111 << 7 | 0b111 << 11 | 0b1111 << 15;
    let mut words = keys
        .split_whitespace()
        .rev()
        .map(|word| u64::from_str_radix(word, 16).unwrap_or(u64::MAX));
    let mut next = || words.next().unwrap_or(0);
    next() & LOW != 0 || next() & BLOCK != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(kind: Kind, reason: Reason) -> Ruling {
        Ruling {
            number: 0,
            kind,
            reason,
        }
    }

    #[test]
    fn a_driver_goes_with_its_kind_alone() {
        let allowed = |kind| ruling(kind, Reason::Allowed);
        for (kind, driver) in [
            (Kind::Keyboard, "usbhid"),
            (Kind::Pointer, "usbhid"),
            (Kind::Headset, "snd-usb-audio"),
            (Kind::Headset, "usbhid"),
            (Kind::Hub, "hub"),
            (Kind::SmartCard, "usbfs"),
            (Kind::Vendor, "ch341"),
        ] {
            assert!(fits(&allowed(kind), driver), "{kind:?} {driver}");
        }
        for kind in Kind::ALL.iter().filter(|it| **it != Kind::Storage) {
            for driver in ["usb-storage", "uas", "ums-realtek", "rtsx_usb"] {
                assert!(!fits(&allowed(*kind), driver), "{kind:?} {driver}");
                let model = ruling(*kind, Reason::Model);
                assert!(!fits(&model, driver), "the model of {kind:?}: {driver}");
            }
        }
        for kind in [
            Kind::Keyboard,
            Kind::Pointer,
            Kind::Headset,
            Kind::SmartCard,
        ] {
            for driver in ["ftdi_sio", "asix", "r8152", "cdc_acm", "usbtest"] {
                assert!(!fits(&allowed(kind), driver), "{kind:?} {driver}");
            }
        }
        assert!(!fits(&allowed(Kind::Keyboard), "usbfs"));
        assert!(fits(&ruling(Kind::Network, Reason::Model), "r8152"));
        assert_eq!(wanted(&allowed(Kind::SmartCard)).unwrap().next(), None);
    }

    #[test]
    fn what_can_write() {
        for keys in [
            // A USB keyboard, one letter, one digit, a digit of the block.
            "1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe",
            "40000000",
            "4",
            "80 0",
            "no number",
        ] {
            assert!(writes(keys), "{keys}");
        }
        for keys in [
            "",
            "0",
            // A mouse, and the consumer control of a common keyboard: Enter, Esc, media.
            "1f0000 0 0 0 0",
            "3f000301ff 0 0 483ffff17aff32d bfd4444600000000 1 130c730b17c000 267bfad9415fed 9e168000004400 10000002",
        ] {
            assert!(!writes(keys), "{keys}");
        }
    }
}
