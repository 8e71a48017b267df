use proptest::prelude::*;

use super::*;
use crate::decide::tests::{any_device, device, interface};
use crate::decide::{Known, decide};
use crate::heartbeat::tests::{greatest, healthy};
use crate::policy::Policy;

fn report(body: Said) -> Report {
    Report {
        sequence: 7,
        boot: [1; 16],
        at_ms: 1_795_000_000_000,
        uptime_ms: 60_000,
        before: [2; 32],
        body,
    }
}

fn attached() -> Said {
    let device = device("1-5", &[interface(0, [8, 6, 0x50])]).named("Ultra Fit", "4C530001");
    let verdict = decide(&device, &Known::default(), &Policy::standard());
    Said::Attached(Box::new(Summary::new(&device, &verdict, &[3; 32])))
}

/// One of each kind, by the names that docs/format/terminal.md uses.
fn each() -> Vec<(&'static str, Said)> {
    vec![
        (
            "started",
            Said::Started {
                version: "0.1.0".to_owned(),
                clean: true,
            },
        ),
        ("attached", attached()),
        (
            "detached",
            Said::Detached {
                bus: Bus::Usb,
                key: "1-5".to_owned(),
            },
        ),
        (
            "refused",
            Said::Refused {
                channel: Channel::Raw,
                key: "sda".to_owned(),
                count: 12,
            },
        ),
        (
            "written",
            Said::Written {
                grant: 4,
                medium: [5; 16],
                files: 2,
                bytes: 1_000_000,
                findings: vec![(1, 20), (3, 1)],
            },
        ),
        ("policy-taken", Said::PolicyTaken { digest: [6; 32] }),
        (
            "policy-rejected",
            Said::PolicyRejected {
                digest: [7; 32],
                why: "unknown field `x`".to_owned(),
            },
        ),
        ("lost", Said::Lost { count: 3 }),
        ("overflow", Said::Overflow),
        (
            "tampered",
            Said::Tampered {
                what: "usb1 authorized_default".to_owned(),
            },
        ),
        ("heartbeat", Said::Heartbeat(Box::new(healthy()))),
        ("stopping", Said::Stopping),
    ]
}

#[test]
fn each_reads_back_as_documented() {
    let page = include_str!("../../../../docs/format/terminal.md");
    for (at, (name, body)) in (1_u8..).zip(each()) {
        let report = report(body);
        let bytes = report.encode().unwrap();
        assert_eq!(Report::decode(&bytes), Ok(report));
        let hex: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
        let vector = page
            .split(&format!("vector:{name}\n"))
            .nth(1)
            .and_then(|it| it.split("```").next())
            .map(|it| it.split_whitespace().collect::<String>());
        assert_eq!(vector.as_deref(), Some(hex.as_str()), "{name}, kind {at}");
    }
}

#[test]
fn serials_leave_the_terminal_only_as_salted_digests() {
    let bytes = report(attached()).encode().unwrap();
    assert!(!bytes.windows(8).any(|it| it == b"4C530001"));
    let device = device("1-5", &[]).named("", "4C530001");
    let one = device.serial_digest(&[3; 32]);
    assert!(one.is_some() && one == device.serial_digest(&[3; 32]));
    assert_ne!(one, device.serial_digest(&[4; 32]));
    assert_eq!(device.clone().named("", "").serial_digest(&[3; 32]), None);
}

#[test]
fn other_encodings_and_unknown_kinds_are_refused() {
    let bytes = report(Said::Lost { count: 3 }).encode().unwrap();
    for length in 0..bytes.len() {
        assert!(Report::decode(&bytes[..length]).is_err());
    }
    assert!(Report::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    // The count 3 in two bytes.
    let mut longer = bytes.clone();
    longer.pop();
    longer.extend([0x18, 3]);
    assert_eq!(Report::decode(&longer), Err(Malformed::NotCanonical));
    let mut newer = bytes.clone();
    newer[1] = 2;
    assert_eq!(Report::decode(&newer), Err(Malformed::Version(2)));
    let mut other = bytes;
    let code = other.len() - 2;
    other[code] = 13;
    assert_eq!(
        Report::decode(&other),
        Err(Malformed::Code {
            what: "kind of report",
            code: 13
        })
    );
    // An array of 2^64 - 1 entries allocates nothing.
    let mut huge = report(Said::Overflow).encode().unwrap();
    huge.truncate(huge.len() - 2);
    huge.extend([0x9b, 255, 255, 255, 255, 255, 255, 255, 255]);
    assert!(matches!(
        Report::decode(&huge),
        Err(Malformed::TooLong { .. })
    ));
}

#[test]
fn the_greatest_reports_fit_and_greater_ones_are_not_made() {
    let bytes = report(Said::Heartbeat(Box::new(greatest())))
        .encode()
        .unwrap();
    assert!(bytes.len() <= REPORT_BYTES_MAX, "{} bytes", bytes.len());
    let interfaces: Vec<_> = (0..=255).map(|it| interface(it, [255, 255, 255])).collect();
    let big = device(&"k".repeat(100), &interfaces).named(&"関".repeat(100), &"s".repeat(400));
    let verdict = decide(&big, &Known::default(), &Policy::standard());
    let summary = Summary::new(&big, &verdict, &[3; 32]);
    assert_eq!((summary.parts.len(), summary.more), (PARTS_MAX, 224));
    assert!(report(Said::Attached(Box::new(summary))).encode().is_ok());
    let long = Said::Tampered {
        what: "x".repeat(TEXT_BYTES_MAX + 1),
    };
    assert!(matches!(
        report(long).encode(),
        Err(Malformed::TooLong { .. })
    ));
    let cut = Said::Tampered {
        what: short(&"関".repeat(TEXT_BYTES_MAX)),
    };
    assert!(report(cut).encode().is_ok());
    let mut heartbeat = greatest();
    heartbeat.hubs.push(heartbeat.hubs[0].clone());
    assert!(
        report(Said::Heartbeat(Box::new(heartbeat)))
            .encode()
            .is_err()
    );
}

#[test]
fn what_is_refused_is_listed_first() {
    let mut interfaces: Vec<_> = (0..40).map(|it| interface(it, [1, 1, 0])).collect();
    interfaces.push(interface(200, [8, 6, 0x50]));
    let big = device("1-1", &interfaces);
    let verdict = decide(&big, &Known::default(), &Policy::standard());
    let summary = Summary::new(&big, &verdict, &[3; 32]);
    assert_eq!(
        (summary.parts[0].number, summary.parts[0].triple),
        (200, [8, 6, 0x50])
    );
    assert_eq!(summary.more, 9);
}

proptest! {
    #[test]
    fn any_device_is_reported(device in any_device(), sequence: u64, at_ms: u64, uptime_ms: u64) {
        let verdict = decide(&device, &Known::default(), &Policy::standard());
        let body = Said::Attached(Box::new(Summary::new(&device, &verdict, &[3; 32])));
        let report = Report { sequence, at_ms, uptime_ms, ..report(body) };
        let bytes = report.encode().unwrap();
        prop_assert_eq!(Report::decode(&bytes), Ok(report));
    }

    #[test]
    fn hostile_bytes_give_errors(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(report) = Report::decode(&bytes) {
            prop_assert_eq!(report.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn a_changed_byte_never_reads_as_the_same(which in 0_usize..12, at in 0_usize..400, byte: u8) {
        let report = report(each()[which].1.clone());
        let mut bytes = report.encode().unwrap();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert_ne!(Report::decode(&bytes), Ok(report));
    }
}
