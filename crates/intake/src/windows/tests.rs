//! Event logs in all their forms, and hostile ones. `tests/data/windows.*` are made up.

use proptest::collection::vec;
use proptest::prelude::*;
use watch::{TerminalEvent, What};

use super::*;

const XML: &[u8] = include_bytes!("../../tests/data/windows.xml");
const JSON: &[u8] = include_bytes!("../../tests/data/windows.json");
const BEAT: &[u8] = include_bytes!("../../tests/data/winlogbeat.jsonl");
const POWERSHELL: &[u8] = include_bytes!("../../tests/data/powershell.json");

type Seen = (u64, String, Option<String>, TerminalEvent);

fn read(bytes: &[u8]) -> (Vec<Seen>, Summary) {
    let mut source = open(Cursor::new(bytes), 540).unwrap();
    let (mut names, mut taken) = (Names::default(), Taken::default());
    let mut seen = Vec::new();
    while source.next(&mut names, &mut taken).unwrap() {
        let record = taken.record();
        let What::Terminal {
            terminal,
            actor,
            event,
            bytes: 0,
        } = record.what
        else {
            panic!("{record:?}")
        };
        let actor = actor.map(|actor| names.actor_name(actor).into_owned());
        let terminal = names.terminal_name(terminal).into_owned();
        seen.push((record.at_ms, terminal, actor, event));
    }
    (seen, source.summary().clone())
}

const NOON_MS: u64 = 1_795_316_400_000;

fn seen(seconds: u64, actor: Option<&str>, event: TerminalEvent) -> Seen {
    let actor = actor.map(str::to_owned);
    (
        NOON_MS + seconds * 1000,
        "pc-17.example.test".to_owned(),
        actor,
        event,
    )
}

/// A device, a file written to it, one written to the disk, a refusal by policy and one by access
/// control, a device of the old kind.
fn expected() -> Vec<Seen> {
    vec![
        seen(0, None, TerminalEvent::MediaAttached),
        seen(60, Some("sato"), TerminalEvent::MediaWritten),
        seen(120, Some("sato"), TerminalEvent::FileWritten),
        seen(180, None, TerminalEvent::MediaRefused),
        seen(240, Some("sato"), TerminalEvent::MediaRefused),
        seen(300, None, TerminalEvent::MediaAttached),
    ]
}

#[test]
fn xml() {
    let (seen, summary) = read(XML);
    assert_eq!(seen, expected());
    let passed: Vec<_> = summary.passed_over.named().collect();
    assert_eq!(
        passed,
        [
            ("event 2100", 1),
            ("event 4624", 1),
            ("event 4663 of other objects", 1),
            ("event 4663 without writing", 1),
            ("event 6416 of other devices", 1),
        ]
    );
    // One without a time, one that is not well-formed.
    let skipped: Vec<_> = summary.skipped.keys().collect();
    assert_eq!(
        skipped,
        [
            &Reason::Form("a well-formed Event"),
            &Reason::Missing("TimeCreated")
        ]
    );
    assert_eq!(summary.lines, 13);
}

#[test]
fn xml_in_utf_16() {
    let text = std::str::from_utf8(XML).unwrap();
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(read(&bytes).0, expected());
}

#[test]
fn json_of_several_programs() {
    for (name, bytes) in [
        ("evtx_dump", JSON),
        ("winlogbeat", BEAT),
        ("powershell", POWERSHELL),
    ] {
        let (seen, summary) = read(bytes);
        let written = &expected()[..3];
        assert_eq!(seen, written, "{name}");
        assert_eq!(summary.skipped_lines(), 0, "{name}");
        assert_eq!(summary.passed_over.named().count(), 1, "{name}");
    }
}

#[test]
fn nothing_of_a_path_or_a_device_is_kept() {
    for bytes in [XML, JSON, BEAT, POWERSHELL] {
        let said = format!("{:?}", read(bytes));
        assert!(
            !said.contains("list.csv") && !said.contains("Generic Flash"),
            "{said}"
        );
    }
}

#[test]
fn evtx_as_windows_keeps_it() {
    let log = binary::log(&[
        binary::Given {
            id: 4663,
            task: 12_812,
            time: "2026-11-22T03:01:00.0000000Z",
            data: &[
                ("SubjectUserName", "Sato"),
                ("ObjectType", "File"),
                ("AccessMask", "0x2"),
            ],
        },
        binary::Given {
            id: 4624,
            task: 12_544,
            time: "2026-11-22T03:02:00.0000000Z",
            data: &[],
        },
    ]);
    let (found, summary) = read(&log);
    assert_eq!(found, [seen(60, Some("sato"), TerminalEvent::MediaWritten)]);
    assert_eq!(
        summary.passed_over.named().collect::<Vec<_>>(),
        [("event 4624", 1)]
    );
    assert_eq!(summary.skipped_lines(), 0);
    // From a stream, too.
    let mut source = open_stream(log.as_slice(), 540).unwrap();
    let (mut names, mut taken) = (Names::default(), Taken::default());
    assert!(source.next(&mut names, &mut taken).unwrap());
}

#[test]
fn what_is_no_event_log() {
    assert!(open(Cursor::new(b"hello"), 540).is_err());
    assert!(open(Cursor::new(b"ElfFile\0"), 540).is_err());
    assert_eq!(read(b"").0, []);
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        for start in [&b"<Event>"[..], b"{", b"ElfFile\0", b"\xff\xfe", b""] {
            let all = [start, &bytes].concat();
            let Ok(mut source) = open(Cursor::new(all), 540) else { continue };
            let (mut names, mut taken) = (Names::default(), Taken::default());
            while matches!(source.next(&mut names, &mut taken), Ok(true)) {}
            let summary = source.summary();
            prop_assert!(summary.lines >= summary.records + summary.skipped_lines());
        }
    }

    /// Real forms with some bytes changed.
    #[test]
    fn damaged_logs(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let log = binary::log(&[binary::Given {
            id: 4663,
            task: 12_812,
            time: "2026-11-22T03:01:00.0000000Z",
            data: &[("SubjectUserName", "Sato"), ("ObjectType", "File"), ("AccessMask", "0x2")],
        }]);
        // Of EVTX, where its structure is; the rest is padding.
        let structure = (4096..4096 + 512 + 1500).len();
        for (bytes, from, length) in [
            (XML, 0, XML.len()),
            (JSON, 0, JSON.len()),
            (&log, 4096, structure),
        ] {
            let mut bytes = bytes.to_vec();
            for (place, byte) in &changes {
                bytes[from + place.index(length)] = *byte;
            }
            let Ok(mut source) = open(Cursor::new(bytes), 540) else { continue };
            let (mut names, mut taken) = (Names::default(), Taken::default());
            while matches!(source.next(&mut names, &mut taken), Ok(true)) {}
        }
    }
}

/// Writes EVTX: enough of it for a log of one chunk, without templates (libevtx, "Windows XML Event
/// Log (EVTX) format").
mod binary {
    pub(super) struct Given {
        pub(super) id: u32,
        pub(super) task: u32,
        pub(super) time: &'static str,
        pub(super) data: &'static [(&'static str, &'static str)],
    }

    const CHUNK: usize = 65_536;
    const RECORDS_AT: usize = 512;

    pub(super) fn log(events: &[Given]) -> Vec<u8> {
        let mut chunk = vec![0; RECORDS_AT];
        let mut last = 0;
        for (number, event) in (1_u64..).zip(events) {
            last = chunk.len();
            record(&mut chunk, number, event);
        }
        let free = chunk.len();
        let count = events.len() as u64;
        chunk[..8].copy_from_slice(b"ElfChnk\0");
        for (at, value) in [(8, 1), (16, count), (24, 1), (32, count)] {
            chunk[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        for (at, value) in [(40, 128), (44, last as u32), (48, free as u32)] {
            chunk[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        chunk.resize(CHUNK, 0);
        let mut log = vec![0; 4096];
        log[..8].copy_from_slice(b"ElfFile\0");
        log[24..32].copy_from_slice(&(count + 1).to_le_bytes());
        log[32..36].copy_from_slice(&128_u32.to_le_bytes());
        log[36..42].copy_from_slice(&[1, 0, 3, 0, 0, 0x10]);
        log[42..44].copy_from_slice(&1_u16.to_le_bytes());
        // Without checksums.
        log[120] = 4;
        log.extend(chunk);
        log
    }

    fn record(chunk: &mut Vec<u8>, number: u64, event: &Given) {
        let start = chunk.len();
        chunk.extend(b"\x2a\x2a\0\0");
        chunk.extend([0; 4]);
        chunk.extend(number.to_le_bytes());
        chunk.extend(0x01d0_0000_0000_0000_u64.to_le_bytes());
        chunk.extend([0x0f, 1, 1, 0]);
        element(chunk, "Event", None, &mut |chunk| {
            element(chunk, "System", None, &mut |chunk| {
                leaf(chunk, "EventID", None, &event.id.to_string());
                leaf(chunk, "Task", None, &event.task.to_string());
                leaf(chunk, "Keywords", None, "0x8020000000000000");
                leaf(chunk, "TimeCreated", Some(("SystemTime", event.time)), "");
                leaf(chunk, "Computer", None, "PC-17.example.test");
            });
            element(chunk, "EventData", None, &mut |chunk| {
                for (name, value) in event.data {
                    leaf(chunk, "Data", Some(("Name", name)), value);
                }
            });
        });
        chunk.push(0);
        while !(chunk.len() - start + 4).is_multiple_of(8) {
            chunk.push(0);
        }
        let size = (chunk.len() - start + 4) as u32;
        chunk.extend(size.to_le_bytes());
        chunk[start + 4..start + 8].copy_from_slice(&size.to_le_bytes());
    }

    fn leaf(chunk: &mut Vec<u8>, name: &str, attribute: Option<(&str, &str)>, value: &str) {
        element(chunk, name, attribute, &mut |chunk| text(chunk, value));
    }

    fn element(
        chunk: &mut Vec<u8>,
        name: &str,
        attribute: Option<(&str, &str)>,
        inside: &mut dyn FnMut(&mut Vec<u8>),
    ) {
        chunk.push(if attribute.is_some() { 0x41 } else { 0x01 });
        let size = chunk.len();
        chunk.extend([0; 4]);
        named(chunk, name);
        if let Some((key, value)) = attribute {
            let list = chunk.len();
            chunk.extend([0; 4]);
            chunk.push(0x06);
            named(chunk, key);
            text(chunk, value);
            let length = (chunk.len() - list - 4) as u32;
            chunk[list..list + 4].copy_from_slice(&length.to_le_bytes());
        }
        chunk.push(0x02);
        inside(chunk);
        chunk.push(0x04);
        let length = (chunk.len() - size - 4) as u32;
        chunk[size..size + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// A name where it is first used.
    fn named(chunk: &mut Vec<u8>, name: &str) {
        let at = chunk.len() as u32 + 4;
        chunk.extend(at.to_le_bytes());
        chunk.extend([0; 4]);
        let hash = name.encode_utf16().fold(0_u32, |hash, unit| {
            hash.wrapping_mul(65_599).wrapping_add(unit.into())
        });
        chunk.extend((hash as u16).to_le_bytes());
        units(chunk, name);
        chunk.extend([0; 2]);
    }

    fn text(chunk: &mut Vec<u8>, value: &str) {
        chunk.extend([0x05, 0x01]);
        units(chunk, value);
    }

    fn units(chunk: &mut Vec<u8>, text: &str) {
        let units: Vec<u16> = text.encode_utf16().collect();
        chunk.extend((units.len() as u16).to_le_bytes());
        chunk.extend(units.into_iter().flat_map(u16::to_le_bytes));
    }
}
