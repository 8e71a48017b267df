use proptest::prelude::*;

use super::*;
use crate::device::{Bus, Device, clean};

/// A device descriptor and configurations, each with a value and descriptors.
pub(crate) fn descriptors(class: [u8; 3], configurations: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let [class, subclass, protocol] = class;
    let mut out = vec![18, 1, 0, 2, class, subclass, protocol, 64];
    out.extend([0x6d, 0x04, 0x1c, 0xc3, 0x49, 0x01, 1, 2, 0]);
    out.push(u8::try_from(configurations.len()).unwrap());
    for (value, body) in configurations {
        let total = u16::try_from(9 + body.len()).unwrap().to_le_bytes();
        out.extend([9, 2, total[0], total[1], 1, *value, 0, 0xa0, 50]);
        out.extend(body);
    }
    out
}

pub(crate) fn setting(number: u8, alternate: u8, [class, subclass, protocol]: [u8; 3]) -> Vec<u8> {
    vec![9, 4, number, alternate, 1, class, subclass, protocol, 0]
}

const HID: [u8; 9] = [9, 0x21, 0x10, 1, 0, 1, 0x22, 63, 0];
const ENDPOINT: [u8; 7] = [7, 5, 0x81, 3, 8, 0, 10];

/// HID 1.11, appendix B.1: a keyboard with lights.
const KEYBOARD: [u8; 63] = [
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01,
    0x75, 0x01, 0x95, 0x08, 0x81, 0x02, 0x95, 0x01, 0x75, 0x08, 0x81, 0x01, 0x95, 0x05, 0x75, 0x01,
    0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02, 0x95, 0x01, 0x75, 0x03, 0x91, 0x01, 0x95, 0x06,
    0x75, 0x08, 0x15, 0x00, 0x25, 0x65, 0x05, 0x07, 0x19, 0x00, 0x29, 0x65, 0x81, 0x00, 0xc0,
];

/// HID 1.11, appendix B.2: a mouse of three buttons.
const MOUSE: [u8; 50] = [
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29, 0x03,
    0x15, 0x00, 0x25, 0x01, 0x95, 0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x05, 0x81, 0x01,
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x02, 0x81, 0x06,
    0xc0, 0xc0,
];

fn said(keyboard: bool, pointer: bool, controls: bool, other: bool) -> HidUse {
    HidUse {
        keyboard,
        pointer,
        controls,
        other,
    }
}

#[test]
fn a_composite_device_with_two_configurations() {
    let first = [
        setting(0, 0, [3, 1, 1]),
        HID.to_vec(),
        ENDPOINT.to_vec(),
        setting(1, 0, [8, 6, 0x50]),
        setting(1, 1, [8, 6, 0x62]),
    ]
    .concat();
    let bytes = descriptors([0, 0, 0], &[(1, first), (2, setting(0, 0, [2, 2, 0xff]))]);
    let described = parse(&bytes).unwrap();
    assert_eq!(
        (described.vendor, described.product, described.version),
        (0x046d, 0xc31c, 0x0149)
    );
    let found: Vec<_> = described
        .interfaces
        .iter()
        .map(|it| (it.configuration, it.number, it.alternate, it.triple()))
        .collect();
    assert_eq!(
        found,
        [
            (1, 0, 0, [3, 1, 1]),
            (1, 1, 0, [8, 6, 0x50]),
            (1, 1, 1, [8, 6, 0x62]),
            (2, 0, 0, [2, 2, 0xff]),
        ]
    );
    let device = Device::usb("1-5", described);
    assert_eq!((device.bus, device.key.as_str()), (Bus::Usb, "1-5"));
    assert_eq!(device.triples().len(), 4);
}

#[test]
fn what_does_not_add_up_is_refused() {
    let good = descriptors([0, 0, 0], &[(1, setting(0, 0, [3, 1, 1]))]);
    assert!(parse(&good).is_ok());
    for length in 0..good.len() {
        assert!(parse(&good[..length]).is_err(), "{length} bytes");
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        parse(&bytes)
    };
    assert_eq!(with(0, 17), Err(DescriptorError::Length(0)));
    assert_eq!(with(1, 2), Err(DescriptorError::Place(0)));
    let two = DescriptorError::Configurations {
        announced: 2,
        found: 1,
    };
    assert_eq!(with(17, 2), Err(two));
    assert_eq!(with(18, 8), Err(DescriptorError::Length(18)));
    assert_eq!(with(19, 4), Err(DescriptorError::Place(18)));
    // The configuration's total length, the interface's length and kind.
    assert_eq!(with(20, 19), Err(DescriptorError::Short(18)));
    assert_eq!(with(20, 8), Err(DescriptorError::Length(18)));
    assert_eq!(with(20, 0), Err(DescriptorError::Length(18)));
    assert_eq!(with(27, 0), Err(DescriptorError::Length(27)));
    assert_eq!(with(27, 1), Err(DescriptorError::Length(27)));
    assert_eq!(with(27, 8), Err(DescriptorError::Length(27)));
    assert_eq!(with(27, 10), Err(DescriptorError::Short(27)));
    assert_eq!(with(28, 1), Err(DescriptorError::Place(27)));
    assert_eq!(with(28, 2), Err(DescriptorError::Place(27)));
    assert_eq!(
        parse(&[0; DESCRIPTORS_BYTES_MAX + 1]).unwrap_err(),
        DescriptorError::TooLong(DESCRIPTORS_BYTES_MAX + 1)
    );
    // No configuration at all: nothing is known.
    assert!(parse(&descriptors([0; 3], &[])).is_err());
}

#[test]
fn interfaces_are_bounded() {
    let many = |count: usize| {
        let body: Vec<u8> = (0..count).flat_map(|_| setting(0, 0, [1, 2, 0])).collect();
        parse(&descriptors([0; 3], &[(1, body)]))
    };
    assert_eq!(
        many(INTERFACES_MAX).unwrap().interfaces.len(),
        INTERFACES_MAX
    );
    assert_eq!(many(INTERFACES_MAX + 1), Err(DescriptorError::Interfaces));
}

#[test]
fn report_descriptors_of_common_devices() {
    assert_eq!(report(&KEYBOARD), Ok(said(true, false, false, false)));
    assert_eq!(report(&MOUSE), Ok(said(false, true, false, false)));
    // A headset: consumer control and telephony.
    let headset = [
        0x05, 0x0c, 0x09, 0x01, 0xa1, 0x01, 0x09, 0xe9, 0x09, 0xea, 0x75, 1, 0x95, 2, 0x81, 2,
        0xc0, 0x05, 0x0b, 0x09, 0x05, 0xa1, 0x01, 0x09, 0x20, 0x81, 2, 0xc0,
    ];
    assert_eq!(report(&headset), Ok(said(false, false, true, false)));
    let vendor = [
        0x06, 0x00, 0xff, 0x09, 0x01, 0xa1, 0x01, 0x09, 0x02, 0x81, 2, 0xc0,
    ];
    assert_eq!(report(&vendor), Ok(said(false, false, false, true)));
    let gamepad = [
        0x05, 0x01, 0x09, 0x05, 0xa1, 0x01, 0x09, 0x30, 0x81, 2, 0xc0,
    ];
    assert_eq!(report(&gamepad), Ok(said(false, false, false, true)));
    assert_eq!(report(&[]), Ok(HidUse::default()));
}

#[test]
fn keys_are_found_wherever_they_hide() {
    // In a mouse's collection.
    let mut mouse = MOUSE.to_vec();
    mouse.truncate(48);
    mouse.extend([0x05, 0x07, 0x19, 0, 0x29, 0x65, 0x81, 0, 0xc0, 0xc0]);
    assert!(report(&mouse).unwrap().keyboard);
    // By a usage that carries its page, by a page of four bytes, after push and pop.
    let own_page = [
        0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x0b, 4, 0, 7, 0, 0x81, 2, 0xc0,
    ];
    assert!(report(&own_page).unwrap().keyboard);
    assert!(
        report(&[0x07, 7, 0, 0, 0, 0x09, 4, 0x81, 2])
            .unwrap()
            .keyboard
    );
    assert!(
        report(&[0x05, 7, 0xa4, 0x05, 1, 0xb4, 0x09, 4, 0x81, 2])
            .unwrap()
            .keyboard
    );
    // A keypad, and a keyboard by its collection alone.
    for usage in [6, 7] {
        assert!(
            report(&[0x05, 1, 0x09, usage, 0xa1, 1, 0xc0])
                .unwrap()
                .keyboard
        );
        assert!(
            report(&[0x0b, usage, 0, 1, 0, 0xa1, 1, 0xc0])
                .unwrap()
                .keyboard
        );
    }
}

#[test]
fn items_that_make_no_sense_are_refused() {
    for (bytes, error) in [
        (&[0xfe, 0, 0][..], DescriptorError::Item(0)),
        (&[0xb4], DescriptorError::Item(0)),
        (&[0xc0], DescriptorError::Item(0)),
        (&[0xa1, 1], DescriptorError::Short(2)),
        (&[0x05], DescriptorError::Short(0)),
        (&[0x07, 0, 0, 1, 0], DescriptorError::Item(0)),
    ] {
        assert_eq!(report(bytes), Err(error), "{bytes:02x?}");
    }
    assert!(report(&[0xa4; PUSHED_MAX + 1]).is_err());
    assert!(report(&[0xa0; DEPTH_MAX + 1]).is_err());
    let long = vec![0x14; REPORT_DESCRIPTOR_BYTES_MAX + 1];
    assert_eq!(report(&long), Err(DescriptorError::TooLong(long.len())));
    assert!(report(&long[1..]).is_ok());
}

#[test]
fn texts_of_devices_are_bounded_and_harmless() {
    assert_eq!(
        clean(" Ultra\nFit\u{1b}[31m\u{202e}x ", 64),
        "Ultra?Fit?[31m?x"
    );
    assert_eq!(clean(&"関".repeat(100), 10), "関関関");
    assert_eq!(clean("", 10), "");
}

proptest! {
    #[test]
    fn hostile_descriptors_give_errors_or_stay_bounded(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        header: bool,
    ) {
        let bytes = if header {
            let mut all = descriptors([0; 3], &[(1, vec![])]);
            all.truncate(18);
            all.extend(bytes);
            all
        } else {
            bytes
        };
        if let Ok(described) = parse(&bytes) {
            prop_assert!(described.interfaces.len() * 9 < bytes.len());
        }
        let _ = report(&bytes);
    }

    /// Descriptors that are well formed but for one byte: an error, or what the byte says.
    #[test]
    fn one_wrong_byte(at in 0_usize..60, byte: u8) {
        let body = [setting(0, 0, [3, 1, 1]), HID.to_vec(), ENDPOINT.to_vec()].concat();
        let mut bytes = descriptors([0; 3], &[(1, body)]);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(described) = parse(&bytes) {
            prop_assert!(described.interfaces.len() <= 3);
        }
    }

    /// No items before or after it hide a keyboard.
    #[test]
    fn a_keyboard_stays_one(
        before in proptest::collection::vec(any::<u8>(), 0..40),
        after in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [before.as_slice(), &KEYBOARD, &after].concat();
        // Bytes before may swallow the first items as their data; not more than four bytes.
        if let (Ok(said), true) = (report(&bytes), report(&before).is_ok()) {
            prop_assert!(said.keyboard);
        }
    }

    #[test]
    fn texts_never_exceed_their_limit(text: String, max in 0_usize..200) {
        prop_assert!(clean(&text, max).len() <= max);
    }
}
