//! Evidence in all its forms, and hostile one. `tests/data/*` is made up.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const XML: &[u8] = include_bytes!("../../tests/data/windows.xml");
const REMOVED: &[u8] = include_bytes!("../../tests/data/removed.xml");
const DEFENDER: &[u8] = include_bytes!("../../tests/data/defender.json");
const NOON_MS: u64 = 1_795_316_400_000;

fn evidence(bytes: &[u8], kind: Kind, options: &Options) -> Evidence {
    read(Cursor::new(bytes), kind, options).unwrap()
}

/// Seconds after noon, the actor, what.
fn short(evidence: &Evidence) -> Vec<(u64, Option<&str>, Fact)> {
    let pieces = evidence.pieces.iter();
    pieces
        .map(|piece| {
            (
                (piece.at_ms - NOON_MS) / 1000,
                piece.actor.as_deref(),
                piece.fact,
            )
        })
        .collect()
}

#[test]
fn event_logs() {
    let evidence = evidence(XML, Kind::Windows, &Options::default());
    assert_eq!(
        short(&evidence),
        [
            (0, None, Fact::Attached),
            (60, Some("sato"), Fact::Written),
            (120, Some("sato"), Fact::FileWritten),
            (180, None, Fact::Refused),
            (240, Some("sato"), Fact::Refused),
            (300, None, Fact::Attached),
        ]
    );
    // Up to the newest event, which is no piece.
    let newest: Vec<_> = evidence
        .newest
        .iter()
        .map(|(name, at)| (&**name, *at))
        .collect();
    assert_eq!(newest, [("pc-17.example.test", NOON_MS + 301_000)]);
    assert_eq!(evidence.summary.skipped_lines(), 2);
    let said = format!("{evidence:?}");
    assert!(
        !said.contains("list.csv") && !said.contains("Generic Flash"),
        "{said}"
    );
}

/// As XML and as evtx_dump writes it: the request 27, 2 ends a removal, the ones before it are no news.
#[test]
fn removals() {
    let of_xml = evidence(REMOVED, Kind::Windows, &Options::default());
    assert_eq!(
        short(&of_xml),
        [(0, None, Fact::Attached), (9, None, Fact::Detached)]
    );
    let json = r##"{"Event":{"System":{"EventID":2102,"Computer":"PC-17","TimeCreated":{"#attributes":
        {"SystemTime":"2026-11-22T03:00:09Z"}}},"UserData":{"UMDFHostDeviceRequest":{"#attributes":
        {"instance":"x"},"Request":{"#attributes":{"major":27,"minor":2}},"Status":0}}}}"##;
    let of_json = evidence(json.as_bytes(), Kind::Windows, &Options::default());
    assert_eq!(short(&of_json), [(9, None, Fact::Detached)]);
}

fn expected_of_defender() -> Vec<(u64, Option<&'static str>, Fact)> {
    vec![
        (0, None, Fact::Attached),
        (10, Some("sato"), Fact::Refused),
        (20, Some("sato"), Fact::Written),
        (30, None, Fact::Refused),
        (40, None, Fact::Attached),
        (50, None, Fact::Detached),
        (60, Some("sato"), Fact::Written),
    ]
}

/// The answer of the API; the same rows one a line, streamed, and as CSV.
#[test]
fn device_control() {
    let options = Options::default();
    let answer = evidence(DEFENDER, Kind::Defender, &options);
    assert_eq!(short(&answer), expected_of_defender());
    let passed: Vec<_> = answer.summary.passed_over.named().collect();
    assert_eq!(
        passed,
        [
            ("PnpDeviceConnected of other devices", 1),
            ("ScreenshotTaken", 1),
            ("device control without writing", 1),
        ]
    );
    assert_eq!(answer.newest.len(), 1);
    assert_eq!(answer.newest["pc-17.example.test"], NOON_MS + 80_123);
    assert_eq!(answer.summary.skipped_lines(), 1);
    let json: serde_json::Value = serde_json::from_slice(DEFENDER).unwrap();
    let rows = json["Results"].as_array().unwrap();
    let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let by_line = evidence(lines.join("\n").as_bytes(), Kind::Defender, &options);
    assert_eq!(short(&by_line), expected_of_defender());
    let streamed: Vec<String> = lines
        .iter()
        .map(|row| format!("{{\"properties\":{row}}}"))
        .collect();
    let records = format!("{{\"records\":[{}]}}", streamed.join(","));
    let streamed = evidence(records.as_bytes(), Kind::Defender, &options);
    assert_eq!(short(&streamed), expected_of_defender());
    let mut csv = "Timestamp,DeviceName,ActionType,AccountName,AdditionalFields\r\n".to_owned();
    for row in rows {
        for name in [
            "Timestamp",
            "DeviceName",
            "ActionType",
            "AccountName",
            "AdditionalFields",
        ] {
            let text = match &row[name] {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => String::new(),
                object => object.to_string(),
            };
            csv.push_str(&format!("\"{}\",", text.replace('"', "\"\"")));
        }
        csv.push_str("\r\n");
    }
    let of_csv = evidence(csv.as_bytes(), Kind::Defender, &options);
    assert_eq!(short(&of_csv), expected_of_defender());
    let said = format!("{answer:?}");
    assert!(!said.contains("Cruzer") && !said.contains("4C53"), "{said}");
}

const PRODUCT: &str = "日時,コンピュータ名,ユーザー名,操作,詳細\n\
2026/11/22 12:00:00,PC-17,Sato,USB接続,Cruzer\n\
2026/11/22 12:00:10,PC-17,Sato,書込,list.csv\n\
2026/11/22 12:00:20,PC-17,SYSTEM,使用禁止,Cruzer\n\
2026/11/22 12:00:30,PC-17,Sato,印刷,list.csv\n\
2026/11/22 12:00:40,,Sato,USB接続,Cruzer\n\
昨日,PC-17,Sato,USB接続,Cruzer\n";

fn product(words: &str) -> Options {
    Options {
        mapping: "time=日時,terminal=コンピュータ名,actor=ユーザー名,event=操作"
            .parse()
            .unwrap(),
        words: words.parse().unwrap(),
        ..Options::default()
    }
}

#[test]
fn logs_of_products() {
    let options = product("attached=USB接続|接続,written=書込,refused=使用禁止,other=*");
    let read = evidence(PRODUCT.as_bytes(), Kind::Csv, &options);
    let expected = [
        (0, Some("sato"), Fact::Attached),
        (10, Some("sato"), Fact::Written),
        (20, None, Fact::Refused),
    ];
    assert_eq!(short(&read), expected);
    assert_eq!(read.newest["pc-17"], NOON_MS + 30_000);
    let passed: Vec<_> = read.summary.passed_over.named().collect();
    assert_eq!(passed, [("other events", 1)]);
    let skipped: Vec<_> = read.summary.skipped.keys().collect();
    assert_eq!(
        skipped,
        [&Reason::Missing("terminal"), &Reason::Wrong("time")]
    );
    // A word that nobody gave is not passed over in silence.
    let options = product("attached=USB接続,written=書込,refused=使用禁止");
    let read = evidence(PRODUCT.as_bytes(), Kind::Csv, &options);
    assert_eq!(read.summary.skipped[&Reason::UnknownKind].count, 1);
    // UTF-16, as such products write it, too.
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(PRODUCT.encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(short(&evidence(&bytes, Kind::Csv, &options)), expected);
}

#[test]
fn what_is_not_of_its_kind() {
    let error = |bytes: &[u8], kind| {
        let read = read(Cursor::new(bytes), kind, &Options::default());
        read.unwrap_err().to_string()
    };
    assert!(error(b"hello", Kind::Windows).contains("neither XML nor JSON"));
    assert!(error(b"a,b\n1,2\n", Kind::Defender).contains("`ActionType`"));
    assert!(error(b"time,event\n", Kind::Csv).contains("`terminal`"));
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let bad = |text: &str| text.parse::<Words>().unwrap_err().to_string();
    assert!(bad("attached").starts_with("`attached` gives no word"));
    assert!(bad("atached=x").starts_with("`atached` is no word"));
    assert_eq!(bad("attached=x,refused=X"), "`x` is given twice");
    assert!(bad("attached=x|").starts_with("`attached=x|` gives"));
}

#[test]
fn too_many_pieces_are_an_error() {
    let line = "2026-11-22T03:00:00Z,pc-17,attached\n";
    let text = format!("time,terminal,event\n{}", line.repeat(5));
    let read = |max| read_within(Cursor::new(&text), Kind::Csv, &Options::default(), max);
    assert_eq!(read(5).unwrap().pieces.len(), 5);
    let error = read(4).unwrap_err().to_string();
    assert!(
        error.contains("more than 4 events") && error.contains("in parts"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        let options = product("attached=USB接続,other=*");
        for start in [&b""[..], b"{\"Results\":[", b"<Event>", b"ActionType\n", PRODUCT.as_bytes()] {
            let all = [start, &bytes].concat();
            for kind in Kind::ALL {
                let Ok(read) = read(Cursor::new(&all), kind, &options) else { continue };
                let summary = &read.summary;
                prop_assert!(summary.lines >= summary.records + summary.skipped_lines());
            }
        }
    }

    #[test]
    fn damaged_files(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        for (bytes, kind) in [
            (REMOVED, Kind::Windows),
            (DEFENDER, Kind::Defender),
            (PRODUCT.as_bytes(), Kind::Csv),
        ] {
            let mut bytes = bytes.to_vec();
            for (place, byte) in &changes {
                let at = place.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = read(Cursor::new(bytes), kind, &product("attached=USB接続"));
        }
    }

    #[test]
    fn any_words(text in "\\PC{0,40}") {
        let _ = text.parse::<Words>();
    }
}
