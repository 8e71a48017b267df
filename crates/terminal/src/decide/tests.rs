use proptest::prelude::*;

use super::*;
use crate::device::HidUse;
use crate::policy::{Model, check};

const KEYS: HidUse = HidUse {
    keyboard: true,
    pointer: false,
    controls: false,
    other: false,
};
const BUTTONS: HidUse = HidUse {
    keyboard: false,
    pointer: false,
    controls: true,
    other: true,
};
const POINTS: HidUse = HidUse {
    keyboard: false,
    pointer: true,
    controls: false,
    other: false,
};

pub(crate) fn interface(number: u8, [class, subclass, protocol]: [u8; 3]) -> Interface {
    Interface {
        configuration: 1,
        number,
        alternate: 0,
        class,
        subclass,
        protocol,
        name: String::new(),
        report: None,
    }
}

fn hid(number: u8, protocol: u8, report: HidUse) -> Interface {
    Interface {
        report: Some(report),
        ..interface(number, [3, u8::from(protocol > 0), protocol])
    }
}

pub(crate) fn device(key: &str, interfaces: &[Interface]) -> Device {
    Device {
        vendor: 0x1234,
        product: 0x5678,
        interfaces: interfaces.to_vec(),
        ..Device::plain(Bus::Usb, key)
    }
}

fn keyboard(key: &str) -> Device {
    device(key, &[hid(0, 1, KEYS)])
}

/// A device of which everything works.
fn working(device: &Device) -> Present {
    Present {
        identity: device.identity(),
        kinds: kinds(device),
    }
}

fn policy(text: &str) -> Policy {
    Policy::parse(&format!("version = 1\n{text}")).unwrap()
}

/// All that `[devices]` can allow.
fn open() -> Policy {
    let kinds = "hub keyboard pointer headset smart-card network serial printer camera bluetooth";
    let rules: String = kinds
        .split(' ')
        .map(|it| format!("{it} = \"allow\"\n"))
        .collect();
    policy(&format!("[devices]\n{rules}"))
}

fn brokered() -> Policy {
    policy(&format!(
        "[storage]\ncompany = \"broker\"\nkeys = [\"{}\"]",
        "07".repeat(32)
    ))
}

fn token(serial: &str) -> Token {
    Token {
        serial: serial.to_owned(),
        size: 8_000_000_000,
        id: [1; 16],
        client: "acme".to_owned(),
        until_ms: u64::MAX,
    }
}

fn judge(device: &Device, policy: &Policy) -> Verdict {
    decide(device, &Known::default(), policy)
}

#[track_caller]
fn refused(device: &Device, known: &Known, policy: &Policy, kind: Kind, reason: Reason) {
    let verdict = decide(device, known, policy);
    assert_eq!(
        (verdict.outcome, verdict.kind, verdict.reason),
        (Outcome::Refuse, kind, reason),
        "{verdict:?}"
    );
    assert!(verdict.interfaces().iter().all(|(_, works)| !works));
}

#[test]
fn each_kind_is_recognised_and_refused_where_the_policy_does_not_name_it() {
    let cases: &[(&[[u8; 3]], Kind)] = &[
        (&[[8, 6, 0x50]], Kind::Storage),
        (&[[8, 6, 0x62]], Kind::Storage),
        (&[[8, 1, 0x50]], Kind::Storage),
        (&[[8, 2, 0x50]], Kind::Storage),
        (&[[8, 4, 0]], Kind::Storage),
        (&[[8, 0xff, 0xff]], Kind::Storage),
        (&[[6, 1, 1]], Kind::Phone),
        (&[[0xff, 0x42, 1]], Kind::Phone),
        (&[[2, 0x0b, 0]], Kind::Phone),
        (&[[0xef, 1, 1]], Kind::Phone),
        (&[[2, 2, 0xff], [0x0a, 0, 0]], Kind::Network),
        (&[[0xe0, 1, 3], [0x0a, 0, 0]], Kind::Network),
        (&[[0xef, 4, 1], [0x0a, 0, 0]], Kind::Network),
        (&[[2, 6, 0], [0x0a, 0, 0]], Kind::Network),
        (&[[2, 0x0d, 0], [0x0a, 0, 1]], Kind::Network),
        (&[[2, 0x0c, 7]], Kind::Network),
        (&[[2, 0x0e, 0], [0x0a, 0, 2]], Kind::Network),
        (&[[2, 2, 1], [0x0a, 0, 0]], Kind::Serial),
        (&[[0x0a, 0, 0]], Kind::Other),
        (&[[0xff, 0xff, 0xff]], Kind::Vendor),
        (&[[9, 0, 0]], Kind::Hub),
        (&[[1, 1, 0], [1, 2, 0]], Kind::Headset),
        (&[[0x0b, 0, 0]], Kind::SmartCard),
        (&[[7, 1, 2]], Kind::Printer),
        (&[[0x0e, 1, 0], [0x0e, 2, 0]], Kind::Camera),
        (&[[0xe0, 1, 1]], Kind::Bluetooth),
        (&[[0x11, 0, 0]], Kind::Other),
        (&[[0xfe, 1, 1]], Kind::Other),
        (&[[0xdc, 1, 1]], Kind::Other),
        (&[[0x42, 0, 0]], Kind::Other),
        (&[[3, 1, 1]], Kind::Keyboard),
        (&[[3, 0, 0]], Kind::Keyboard),
    ];
    let closed = policy("");
    for (triples, kind) in cases {
        let interfaces: Vec<_> = (0..)
            .zip(*triples)
            .map(|(n, it)| interface(n, *it))
            .collect();
        let device = device("1-1", &interfaces);
        assert_eq!(kinds(&device), [*kind], "{triples:02x?}");
        refused(&device, &Known::default(), &closed, *kind, Reason::Refused);
        // Even the most open policy has no rule for what stores or is unknown.
        let verdict = judge(&device, &open());
        let never = matches!(
            kind,
            Kind::Storage | Kind::Phone | Kind::Vendor | Kind::Other
        );
        assert_eq!(verdict.outcome == Outcome::Refuse, never, "{triples:02x?}");
    }
}

#[test]
fn a_telephone_behind_the_vendors_class_is_recognised() {
    let mut mtp = device("1-1", &[interface(0, [0xff, 0xff, 0])]);
    assert_eq!(kinds(&mtp), [Kind::Vendor]);
    mtp.interfaces[0].name = "MTP".to_owned();
    assert_eq!(kinds(&mtp), [Kind::Phone]);
    mtp.interfaces[0].name.clear();
    mtp.vendor = 0x18d1;
    assert_eq!(kinds(&mtp), [Kind::Phone]);
    let mut apple = device("1-1", &[interface(0, [0xff, 0xfe, 2])]);
    assert_eq!(kinds(&apple), [Kind::Vendor]);
    apple.vendor = 0x05ac;
    assert_eq!(kinds(&apple), [Kind::Phone]);
    let mut accessory = device("1-1", &[interface(0, [0xff, 0xff, 0xff])]);
    (accessory.vendor, accessory.product) = (0x18d1, 0x2d00);
    assert_eq!(kinds(&accessory), [Kind::Phone]);
    // Not even by its numbers.
    let mut policy = policy("");
    policy.allow = vec![Model {
        vendor: 0x18d1,
        product: 0x2d00,
        interfaces: vec![[0xff, 0xff, 0xff]],
        why: "a test".to_owned(),
    }];
    refused(
        &accessory,
        &Known::default(),
        &policy,
        Kind::Phone,
        Reason::Refused,
    );
}

#[test]
fn a_keyboard_with_hidden_storage_keeps_its_keys_and_loses_its_storage() {
    let both = device("1-2", &[hid(0, 1, KEYS), interface(1, [8, 6, 0x50])]);
    let verdict = judge(&both, &open());
    assert_eq!(verdict.outcome, Outcome::Allow);
    assert_eq!(verdict.interfaces(), [(0, true), (1, false)]);
    assert_eq!(
        (verdict.kind, verdict.reason),
        (Kind::Storage, Reason::Hidden)
    );
    // No token makes storage beside other functions the company's.
    let known = Known {
        token: TokenState::Read(Ok(token(""))),
        ..Known::default()
    };
    assert_eq!(decide(&both, &known, &brokered()).outcome, Outcome::Refuse);
}

#[test]
fn an_unknown_keyboard_waits_for_its_code_and_a_known_or_built_in_one_does_not() {
    let policy = Policy::standard();
    let new = keyboard("1-3");
    let verdict = judge(&new, &policy);
    assert_eq!(
        (verdict.outcome, verdict.reason),
        (Outcome::Refuse, Reason::Unconfirmed)
    );
    assert!(verdict.ask_confirmation && verdict.confirm_on_itself);
    let mut other = keyboard("1-1");
    other.product = 1;
    let mut known = Known {
        present: vec![working(&other)],
        ..Known::default()
    };
    let verdict = decide(&new, &known, &policy);
    assert!(verdict.ask_confirmation && !verdict.confirm_on_itself);
    known.confirmed = vec![("1-3".to_owned(), new.identity())];
    let verdict = decide(&new, &known, &policy);
    assert_eq!(
        (verdict.outcome, verdict.reason),
        (Outcome::Allow, Reason::Confirmed)
    );
    assert!(!verdict.ask_confirmation);
    // The code counts for the port and the device that it was typed for.
    assert!(decide(&keyboard("1-4"), &known, &policy).ask_confirmation);
    let more = device("1-3", &[hid(0, 1, KEYS), hid(1, 0, BUTTONS)]);
    assert!(decide(&more, &known, &policy).ask_confirmation);

    let mut built_in = keyboard("1-8");
    built_in.built_in = true;
    assert_eq!(judge(&built_in, &policy).reason, Reason::BuiltIn);
    known = Known {
        enrolled: vec![new.identity()],
        ..Known::default()
    };
    assert_eq!(decide(&new, &known, &policy).reason, Reason::Known);
    // A second one with the same claims is a stranger while the first is there.
    known.present = vec![working(&keyboard("1-1"))];
    assert_eq!(decide(&new, &known, &policy).reason, Reason::Unconfirmed);
}

#[test]
fn a_hid_interface_whose_report_descriptor_was_not_read_is_a_keyboard() {
    let policy = Policy::standard();
    let mut mouse = device("1-3", &[interface(0, [3, 1, 2])]);
    let verdict = judge(&mouse, &policy);
    assert_eq!(
        (verdict.kind, verdict.unread.as_slice()),
        (Kind::Keyboard, &[0][..])
    );
    assert_eq!(verdict.outcome, Outcome::Refuse);
    mouse.interfaces[0].report = Some(POINTS);
    let verdict = judge(&mouse, &policy);
    assert_eq!(
        (verdict.kind, verdict.outcome),
        (Kind::Pointer, Outcome::Allow)
    );
    assert!(verdict.unread.is_empty());
    // A mouse by its protocol whose report descriptor types.
    mouse.interfaces[0].report = Some(KEYS);
    assert_eq!(judge(&mouse, &policy).reason, Reason::Unconfirmed);
    // One that says the boot protocol of keyboards is one, whatever its descriptor says.
    let boot = device("1-3", &[hid(0, 1, POINTS)]);
    assert_eq!(judge(&boot, &policy).kind, Kind::Keyboard);
}

#[test]
fn a_headset_has_its_buttons_and_no_keys() {
    let policy = Policy::standard();
    let sound = [interface(0, [1, 1, 0]), interface(1, [1, 2, 0])];
    let with = |it: Interface| device("1-3", &[&sound[..], &[it]].concat());
    let verdict = judge(&with(hid(2, 0, BUTTONS)), &policy);
    assert_eq!(
        (verdict.outcome, verdict.kind),
        (Outcome::Allow, Kind::Headset)
    );
    assert!(verdict.interfaces().iter().all(|(_, works)| *works));
    for keys in [hid(2, 0, KEYS), interface(2, [3, 0, 0])] {
        let verdict = judge(&with(keys), &policy);
        assert_eq!(verdict.interfaces(), [(0, true), (1, true), (2, false)]);
        assert_eq!(
            (verdict.kind, verdict.reason),
            (Kind::Keyboard, Reason::Unconfirmed)
        );
        assert!(verdict.ask_confirmation);
    }
    // Buttons alone type: volume keys of a keyboard, or a presenter.
    assert_eq!(
        kinds(&device("1-3", &[hid(0, 0, BUTTONS)])),
        [Kind::Keyboard]
    );
    let vendor = HidUse {
        other: true,
        ..HidUse::default()
    };
    assert_eq!(kinds(&device("1-3", &[hid(0, 0, vendor)])), [Kind::Other]);
}

#[test]
fn of_alternate_settings_and_configurations_the_worst_counts() {
    let mut worse = interface(0, [8, 6, 0x50]);
    worse.alternate = 1;
    let alternate = device("1-3", &[interface(0, [1, 1, 0]), worse.clone()]);
    let verdict = judge(&alternate, &open());
    assert_eq!(verdict.interfaces(), [(0, false)]);
    assert_eq!(verdict.outcome, Outcome::Refuse);
    (worse.alternate, worse.configuration) = (0, 2);
    for order in [
        [interface(0, [1, 1, 0]), worse.clone()],
        [worse, interface(0, [1, 1, 0])],
    ] {
        let verdict = judge(&device("1-3", &order), &open());
        assert_eq!(
            (verdict.outcome, verdict.kind),
            (Outcome::Refuse, Kind::Storage)
        );
    }
}

#[test]
fn what_a_device_claims_to_be_as_a_whole_counts_too() {
    let mut camera = device("1-3", &[interface(0, [0x0e, 1, 0])]);
    let policy = policy("[devices]\ncamera = \"allow\"\nkeyboard = \"confirm\"");
    camera.class = [0xef, 2, 1];
    assert_eq!(judge(&camera, &policy).outcome, Outcome::Allow);
    camera.class = [0xff, 0, 0];
    refused(
        &camera,
        &Known::default(),
        &policy,
        Kind::Camera,
        Reason::Whole,
    );
    let mut built_in = keyboard("1-1");
    built_in.class = [0xff, 0, 0];
    built_in.built_in = true;
    assert_eq!(judge(&built_in, &policy).outcome, Outcome::Allow);
    built_in.built_in = false;
    assert_eq!(judge(&built_in, &policy).outcome, Outcome::Refuse);
}

#[test]
fn a_device_that_changes_its_face_is_refused() {
    let policy = open();
    let before = |it: &Device, gone_ms| Known {
        before: Some(Before {
            identity: it.identity(),
            kinds: kinds(it),
            unread: false,
            gone_ms,
        }),
        ..Known::default()
    };
    let stick = device("1-3", &[interface(0, [8, 6, 0x50])]);
    let keys = keyboard("1-3");
    let known = before(&stick, SWITCH_MS_MAX);
    refused(&keys, &known, &policy, Kind::Keyboard, Reason::Switched);
    // A hand is slower; and the same kind again is no change.
    assert_eq!(
        decide(&keys, &before(&stick, SWITCH_MS_MAX + 1), &policy).outcome,
        Outcome::Allow
    );
    assert_eq!(
        decide(&keys, &before(&keys, 10), &policy).outcome,
        Outcome::Allow
    );
    let both = device("1-3", &[hid(0, 1, KEYS), interface(1, [8, 6, 0x50])]);
    let verdict = decide(&both, &before(&keys, 10), &policy);
    assert_eq!(
        (verdict.outcome, verdict.reason),
        (Outcome::Refuse, Reason::Switched)
    );
    // The only keyboard, known, is not refused even then.
    let mut known = before(&stick, 10);
    known.enrolled = vec![keys.identity()];
    assert_eq!(decide(&keys, &known, &policy).reason, Reason::LastOne);
    let mut other = keyboard("1-1");
    other.product = 2;
    known.present = vec![working(&other)];
    assert_eq!(decide(&keys, &known, &policy).reason, Reason::Switched);
}

/// A mouse that comes back before its report descriptor was read counts as a keyboard until it is: it
/// is read, and nothing has changed.
#[test]
fn a_mouse_that_comes_back_at_once_is_read_before_it_is_refused() {
    let policy = open();
    let mouse = device("1-3", &[hid(0, 2, POINTS)]);
    let unread = device("1-3", &[interface(0, [3, 1, 2])]);
    let mut known = Known {
        before: Some(Before {
            identity: mouse.identity(),
            kinds: kinds(&mouse),
            unread: false,
            gone_ms: 10,
        }),
        ..Known::default()
    };
    let verdict = decide(&unread, &known, &policy);
    assert_eq!(
        (verdict.outcome, verdict.reason),
        (Outcome::Refuse, Reason::Switched)
    );
    assert_eq!(verdict.unread, [0], "its descriptor would clear it");
    assert_eq!(decide(&mouse, &known, &policy).outcome, Outcome::Allow);
    // It went before it was read: what it was is not known, and it is the very same.
    known.before = known.before.map(|it| Before {
        kinds: kinds(&unread),
        unread: true,
        ..it
    });
    assert_eq!(decide(&mouse, &known, &policy).outcome, Outcome::Allow);
    let keys = keyboard("1-3");
    known.before = known.before.map(|it| Before {
        kinds: vec![Kind::Storage],
        ..it
    });
    refused(&keys, &known, &policy, Kind::Keyboard, Reason::Switched);
}

#[test]
fn what_turns_out_to_be_more_than_it_said_is_refused_whole() {
    let policy = open();
    let mouse = device("1-3", &[hid(0, 2, POINTS), interface(1, [1, 1, 0])]);
    let mut known = Known {
        beyond: vec![1],
        ..Known::default()
    };
    refused(&mouse, &known, &policy, Kind::Pointer, Reason::Beyond);
    // The only keyboard stays, but for what is none of it.
    let mut built_in = device("1-1", &[hid(0, 1, KEYS), hid(1, 1, KEYS)]);
    built_in.built_in = true;
    let verdict = decide(&built_in, &known, &policy);
    assert_eq!(verdict.interfaces(), [(0, true), (1, false)]);
    known.beyond = vec![0];
    let mut only = keyboard("1-1");
    only.built_in = true;
    refused(&only, &known, &policy, Kind::Keyboard, Reason::Beyond);
}

#[test]
fn midi_is_no_headset() {
    let sound = [interface(0, [1, 1, 0]), interface(1, [1, 2, 0])];
    for midi in [[1, 3, 0], [0xff, 3, 0]] {
        let both = device("1-3", &[&sound[..], &[interface(2, midi)]].concat());
        let verdict = judge(&both, &open());
        assert_eq!(verdict.outcome, Outcome::Refuse, "{verdict:?}");
        assert_eq!(verdict.rulings[0].kind, Kind::Other);
    }
    let buttons = device("1-3", &[interface(0, [1, 3, 0]), hid(1, 0, BUTTONS)]);
    assert_eq!(kinds(&buttons), [Kind::Keyboard, Kind::Other]);
}

#[test]
fn a_code_is_typed_on_the_keyboard_that_is_there() {
    let policy = Policy::standard();
    let new = keyboard("1-3");
    let mut known = Known::default();
    assert!(decide(&new, &known, &policy).confirm_on_itself);
    known.other_keyboard = true;
    let verdict = decide(&new, &known, &policy);
    assert!(verdict.ask_confirmation && !verdict.confirm_on_itself);
}

#[test]
fn storage_needs_a_token_and_a_serial_is_never_enough() {
    let policy = brokered();
    let stick = device("1-3", &[interface(0, [8, 6, 0x50])]).named("Stick", "CORP1");
    let mut known = Known {
        // The company's stick was there at enrolment: the same serial again proves nothing.
        enrolled: vec![stick.identity()],
        ..Known::default()
    };
    let verdict = decide(&stick, &known, &policy);
    assert_eq!(
        (verdict.outcome, verdict.reason),
        (Outcome::Refuse, Reason::TokenUnread)
    );
    assert!(verdict.ask_token);
    for (error, reason) in [
        (TokenError::Missing, Reason::TokenMissing),
        (TokenError::Signature, Reason::TokenBad),
        (TokenError::Serial, Reason::TokenBad),
        (TokenError::Size, Reason::TokenBad),
        (TokenError::Expired, Reason::TokenBad),
    ] {
        known.token = TokenState::Read(Err(error));
        refused(&stick, &known, &policy, Kind::Storage, reason);
        assert!(!decide(&stick, &known, &policy).ask_token);
    }
    known.token = TokenState::Read(Ok(token("OTHER")));
    refused(&stick, &known, &policy, Kind::Storage, Reason::TokenBad);
    known.token = TokenState::Read(Ok(token("CORP1")));
    let verdict = decide(&stick, &known, &policy);
    assert_eq!(
        (verdict.outcome, verdict.reason),
        (Outcome::Broker, Reason::Company)
    );
    assert_eq!(verdict.interfaces(), [(0, true)]);
    let mut read_only = policy.clone();
    read_only.company = Company::ReadOnly;
    assert_eq!(
        decide(&stick, &known, &read_only).outcome,
        Outcome::ReadOnly
    );
    read_only.company = Company::Refuse;
    refused(&stick, &known, &read_only, Kind::Storage, Reason::Refused);
}

#[test]
fn what_is_not_usb() {
    let closed = policy("");
    for bus in [Bus::Mmc, Bus::Nvme, Bus::Scsi] {
        let mut disk = Device::plain(bus, "x").named("Disk", "D1");
        refused(
            &disk,
            &Known::default(),
            &closed,
            Kind::Storage,
            Reason::Refused,
        );
        assert!(judge(&disk, &brokered()).ask_token);
        let known = Known {
            token: TokenState::Read(Ok(token("D1"))),
            ..Known::default()
        };
        assert_eq!(decide(&disk, &known, &brokered()).outcome, Outcome::Broker);
        disk.built_in = true;
        assert_eq!(judge(&disk, &closed).outcome, Outcome::Allow);
    }
    let mut optical = Device::plain(Bus::Optical, "sr0");
    optical.built_in = true;
    refused(
        &optical,
        &Known::default(),
        &closed,
        Kind::Storage,
        Reason::Refused,
    );
    let readable = policy("[storage]\noptical = \"read-only\"");
    assert_eq!(judge(&optical, &readable).outcome, Outcome::ReadOnly);
    let mut drive = Device::plain(Bus::Virtual, "9p");
    drive.built_in = true;
    refused(
        &drive,
        &Known::default(),
        &brokered(),
        Kind::Storage,
        Reason::Refused,
    );
    let nothing = device("1-1", &[]);
    refused(
        &nothing,
        &Known::default(),
        &open(),
        Kind::Other,
        Reason::Nothing,
    );
    assert_eq!(unreadable().outcome, Outcome::Refuse);
}

#[test]
fn a_model_is_allowed_by_its_numbers_and_exactly_its_interfaces() {
    let text =
        "[[allow]]\nvendor = 0x1234\nproduct = 0x5678\ninterfaces = [\"ff:00:00\"]\nwhy = \"x\"";
    let policy = policy(text);
    let own = device("1-3", &[interface(0, [0xff, 0, 0])]);
    assert_eq!(judge(&own, &policy).reason, Reason::Model);
    let more = device(
        "1-3",
        &[interface(0, [0xff, 0, 0]), interface(1, [0xff, 0, 1])],
    );
    refused(
        &more,
        &Known::default(),
        &policy,
        Kind::Vendor,
        Reason::Refused,
    );
    let storage = device(
        "1-3",
        &[interface(0, [0xff, 0, 0]), interface(1, [8, 6, 0x50])],
    );
    assert_eq!(judge(&storage, &policy).outcome, Outcome::Refuse);
    let mut other = own.clone();
    other.product = 1;
    refused(
        &other,
        &Known::default(),
        &policy,
        Kind::Vendor,
        Reason::Refused,
    );
}

#[test]
fn the_last_known_keyboard_stays_under_every_policy() {
    let closed = policy("");
    let mut keys = keyboard("1-1");
    keys.built_in = true;
    assert_eq!(judge(&keys, &closed).reason, Reason::LastOne);
    keys.built_in = false;
    let known = Known {
        enrolled: vec![keys.identity()],
        ..Known::default()
    };
    assert_eq!(decide(&keys, &known, &closed).reason, Reason::LastOne);
    // Another device whose keys are refused does not count: nobody could type on it.
    let headset = device("1-2", &[interface(0, [1, 1, 0]), hid(1, 0, KEYS)]);
    let sound = policy("[devices]\nheadset = \"allow\"");
    let present = Present::new(&headset, &judge(&headset, &sound));
    assert_eq!(present.kinds, [Kind::Headset]);
    let mut beside = known.clone();
    beside.present.push(present);
    assert_eq!(decide(&keys, &beside, &sound).reason, Reason::LastOne);
    // A stranger does not become the last one.
    refused(
        &keys,
        &Known::default(),
        &closed,
        Kind::Keyboard,
        Reason::Refused,
    );
    let mut hub = device("1-1", &[interface(0, [9, 0, 0])]);
    hub.built_in = true;
    hub.class = [9, 0, 1];
    assert_eq!(judge(&hub, &closed).outcome, Outcome::Allow);
}

#[test]
fn the_gravest_refusal_is_the_reason() {
    let all = device(
        "1-1",
        &[
            hid(0, 1, KEYS),
            interface(1, [0xff, 0, 0]),
            interface(2, [6, 1, 1]),
            interface(3, [8, 6, 0x50]),
            interface(4, [1, 1, 0]),
        ],
    );
    let verdict = judge(&all, &Policy::standard());
    assert_eq!(
        (verdict.kind, verdict.reason),
        (Kind::Storage, Reason::Hidden)
    );
    assert_eq!(verdict.outcome, Outcome::Allow);
    let works: Vec<bool> = verdict.interfaces().iter().map(|it| it.1).collect();
    assert_eq!(works, [false, false, false, false, true]);
}

fn any_report() -> impl Strategy<Value = Option<HidUse>> {
    proptest::option::of(
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(keyboard, pointer, controls, other)| HidUse {
                keyboard,
                pointer,
                controls,
                other,
            },
        ),
    )
}

fn any_interface() -> impl Strategy<Value = Interface> {
    let class = prop_oneof![
        proptest::sample::select(vec![
            1_u8, 2, 3, 6, 7, 8, 9, 0x0a, 0x0b, 0x0e, 0xe0, 0xef, 0xff
        ]),
        any::<u8>(),
    ];
    (
        (1_u8..3, 0_u8..4, 0_u8..2),
        class,
        0_u8..4,
        0_u8..4,
        any_report(),
    )
        .prop_map(
            |((configuration, number, alternate), class, subclass, protocol, report)| Interface {
                configuration,
                number,
                alternate,
                class,
                subclass,
                protocol,
                name: String::new(),
                report: report.filter(|_| class == 3),
            },
        )
}

pub(crate) fn any_device() -> impl Strategy<Value = Device> {
    let class = proptest::sample::select(vec![[0, 0, 0], [0xef, 2, 1], [9, 0, 0], [0xff, 0, 0]]);
    let interfaces = proptest::collection::vec(any_interface(), 0..8);
    (
        proptest::sample::select(Bus::ALL),
        interfaces,
        class,
        any::<bool>(),
        "[A-Z]{0,3}",
    )
        .prop_map(|(bus, interfaces, class, built_in, serial)| Device {
            bus,
            interfaces,
            class,
            built_in,
            serial,
            ..Device::plain(bus, "1-1")
        })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(vec![policy(""), Policy::standard(), open(), brokered()])
}

proptest! {
    /// Whatever the device says and whatever the policy: storage works only with the token of its
    /// own serial, or as the machine's own disk; unknown classes and telephones never do.
    #[test]
    fn nothing_that_carries_data_away_works(
        device in any_device(), policy in any_policy(), enrolled: bool, has_token: bool, before: bool,
    ) {
        let known = Known {
            enrolled: if enrolled { vec![device.identity()] } else { vec![] },
            token: if has_token {
                TokenState::Read(Ok(token(&device.serial)))
            } else {
                TokenState::Unread
            },
            before: before.then(|| Before {
                identity: device.identity(),
                kinds: vec![Kind::Printer],
                unread: false,
                gone_ms: 1,
            }),
            ..Known::default()
        };
        let verdict = decide(&device, &known, &policy);
        for ruling in &verdict.rulings {
            let carries = matches!(ruling.kind, Kind::Phone | Kind::Vendor | Kind::Other);
            prop_assert!(!(carries && ruling.reason.allows()), "{:?}", ruling);
            let stores = device.interfaces.iter().any(|it| it.number == ruling.number && it.class == 8);
            prop_assert!(
                !(stores && ruling.reason.allows()) || ruling.reason == Reason::Company && has_token,
                "{:?}", ruling
            );
            // One ruling a number, and none that no interface has.
            prop_assert_eq!(verdict.rulings.iter().filter(|it| it.number == ruling.number).count(), 1);
        }
        if matches!(verdict.outcome, Outcome::Broker | Outcome::ReadOnly) {
            prop_assert!(has_token || device.bus == Bus::Optical);
            prop_assert_eq!(kinds(&device), [Kind::Storage]);
        }
        let works = verdict.rulings.iter().any(|it| it.reason.allows());
        prop_assert!(verdict.rulings.is_empty() || works == (verdict.outcome != Outcome::Refuse));
        if verdict.ask_token {
            prop_assert_eq!(verdict.outcome, Outcome::Refuse);
        }
    }

    /// The order in which a device lists its interfaces is the device's choice and changes nothing.
    #[test]
    fn order_does_not_matter(device in any_device(), policy in any_policy()) {
        let mut turned = device.clone();
        turned.interfaces.reverse();
        prop_assert_eq!(judge(&device, &policy), judge(&turned, &policy));
    }

    /// Adding an interface to a device never makes another one work that did not.
    #[test]
    fn more_interfaces_open_nothing(device in any_device(), more in any_interface(), policy in any_policy()) {
        prop_assume!(more.class != 1);
        let before = judge(&device, &policy);
        let mut larger = device.clone();
        larger.interfaces.push(more);
        for (number, works) in judge(&larger, &policy).interfaces() {
            let old = before.interfaces().into_iter().find(|it| it.0 == number);
            prop_assert!(!works || old.is_none_or(|it| it.1), "{}", number);
        }
    }

    /// A policy that passes the check lets one keyboard and one pointer of those present work after
    /// the devices are plugged in again one by one, in any order.
    #[test]
    fn a_checked_policy_locks_nobody_out(
        devices in proptest::collection::vec(any_device(), 1..4), policy in any_policy(),
    ) {
        let devices: Vec<Device> = (1..)
            .zip(devices)
            .map(|(at, it)| Device { key: format!("1-{at}"), bus: Bus::Usb, class: [0; 3], ..it })
            .collect();
        prop_assume!(check(&policy, &devices).is_ok());
        let mut known = Known {
            enrolled: devices.iter().map(Device::identity).collect(),
            ..Known::default()
        };
        for device in &devices {
            let verdict = decide(device, &known, &policy);
            if verdict.outcome == Outcome::Allow {
                known.present.push(Present::new(device, &verdict));
            }
        }
        let keys = |it: &Device| {
            // Not of a device whose keyboard shares a number with something refused.
            it.interfaces.iter().all(|one| crate::kind::kind(it, one) == Kind::Keyboard)
                && !it.interfaces.is_empty()
        };
        if devices.iter().any(keys) {
            prop_assert!(known.present.iter().any(|it| it.kinds.contains(&Kind::Keyboard)));
        }
    }
}
