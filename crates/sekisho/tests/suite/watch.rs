//! `sekisho watch`, run as a person would: imported records, logs of other systems, a ledger.

use std::path::Path;
use std::process::Output;

use crate::program::sekisho;
use serde_json::Value;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../intake/tests/data");

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn good(arguments: &[&str]) -> String {
    let out = sekisho(arguments, "");
    assert!(out.status.success(), "{arguments:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

fn bad(arguments: &[&str], status: i32) -> String {
    let out = sekisho(arguments, "");
    assert_eq!(
        out.status.code(),
        Some(status),
        "{arguments:?}: {}",
        text(&out.stdout)
    );
    text(&out.stderr)
}

fn lines(out: &Output) -> Vec<Value> {
    let text = text(&out.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Half a year of thirty operators, and one night in which one of them takes 40,000 people.
fn half_a_year(to: &Path) {
    use std::fmt::Write;

    const DAY_MS: u64 = 86_400_000;
    // 2025-11-03, a Monday, 09:00 in Japan.
    const MONDAY_MS: u64 = 1_762_128_000_000;
    let mut out = String::new();
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for day in (0..180).filter(|day| day % 7 < 5) {
        for minute in 0..540 {
            let at_ms = MONDAY_MS + day * DAY_MS + minute * 60_000;
            let (actor, subjects) = (random(30), 1 + random(3));
            let client = ["acme", "beta"][actor as usize % 2];
            writeln!(out, r#"{{"time":{at_ms},"actor":"op{actor}","client":"{client}","subjects":{subjects}}}"#).unwrap();
        }
    }
    for second in 0..40 {
        let at_ms = MONDAY_MS + 180 * DAY_MS + 12 * 3_600_000 + second * 9_000;
        writeln!(
            out,
            r#"{{"time":{at_ms},"actor":"op7","client":"beta","subjects":1000}}"#
        )
        .unwrap();
    }
    out.push_str("broken\n{\"time\":1,\"kind\":\"lunch\"}\n");
    std::fs::write(to, out).unwrap();
}

#[test]
fn a_night_in_half_a_year_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let past = folder.path().join("past.jsonl");
    half_a_year(&past);
    let past = past.to_str().unwrap();

    let out = sekisho(&["watch", "replay", "--json", "--import", past], "");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = lines(&out);
    let (summary, findings) = said.split_last().unwrap();
    let burst = &findings[0];
    assert_eq!(
        (&burst["actor"], &burst["client"]),
        (&"op7".into(), &"beta".into())
    );
    assert_eq!(
        (&burst["detector"], &burst["opens"]),
        (&"burst".into(), &true.into())
    );
    assert!(burst["sentence"].as_str().unwrap().starts_with("op7: "));
    assert!(
        burst["cause"]["subjects"].as_u64().unwrap() <= 2000,
        "{burst}"
    );
    assert!(
        findings.iter().all(|it| it["actor"] == "op7"),
        "{findings:?}"
    );
    let summary = &summary["summary"];
    let file = &summary["files"][0];
    assert_eq!(
        file["lines"].as_u64().unwrap(),
        file["records"].as_u64().unwrap() + 2
    );
    assert_eq!(file["unknown_kinds"]["lunch"], 1);
    assert_eq!(summary["records"], file["records"]);

    // The same bytes again, and from standard input but for the name.
    let again = sekisho(&["watch", "replay", "--json", "--import", past], "");
    assert!(again.stdout == out.stdout);
    let content = std::fs::read_to_string(past).unwrap();
    let piped = sekisho(&["watch", "replay", "--json", "--import", "-"], &content);
    assert_eq!(lines(&piped)[..findings.len()], findings[..]);

    // In words, in both languages.
    let words = good(&["watch", "replay", "--import", past]);
    assert!(words.contains("opens case 1  burst\n  op7: "), "{words}");
    assert!(
        words.contains("no grant") && words.contains("surprise:"),
        "{words}"
    );
    assert!(
        words.contains("skipped, not one JSON object on the line: 1 (line "),
        "{words}"
    );
    assert!(words.chars().any(|c| c == '█'), "{words}");
    let words = good(&["watch", "replay", "--language", "ja", "--import", past]);
    assert!(words.contains("担当者 op7: 委託元 beta の "), "{words}");
}

#[test]
fn an_import_says_the_same_and_who_read_most() {
    let folder = tempfile::tempdir().unwrap();
    let past = folder.path().join("past.jsonl");
    half_a_year(&past);
    let (past, out) = (past.to_str().unwrap(), folder.path().join("records.jsonl"));
    let to = out.to_str().unwrap();
    let told = good(&["watch", "import", past, "--out", to, "--readers", "2"]);
    let table: Vec<&str> = told
        .lines()
        .skip_while(|line| !line.starts_with("actor"))
        .take_while(|line| !line.is_empty())
        .collect();
    assert_eq!(table.len(), 3, "{told}");
    assert!(
        table[1].starts_with("op7") && table[1].contains("40,0"),
        "{told}"
    );
    assert!(told.contains("--import"), "{told}");

    let findings = |path: &str| {
        let said = lines(&sekisho(
            &["watch", "replay", "--json", "--import", path],
            "",
        ));
        said[..said.len() - 1].to_vec()
    };
    assert_eq!(findings(to), findings(past));
    assert!(!folder.path().join("records.jsonl.part").exists());
}

#[test]
fn logs_of_other_systems() {
    let folder = tempfile::tempdir().unwrap();
    let to = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = |name: &str| format!("{DATA}/{name}");
    let (audited, terminals) = (to("audited.jsonl"), to("terminals.jsonl"));
    let log = data("postgresql.log");
    let arguments = [
        "watch",
        "import",
        &log,
        "--format",
        "pgaudit",
        "--prefix",
        "%m [%p] %q%u@%d %h ",
        "--client",
        "acme",
        "--out",
        &audited,
        "--json",
    ];
    let told: Value = serde_json::from_str(&good(&arguments)).unwrap();
    assert_eq!(told["heaviest_readers"][0]["actor"], "suzuki");
    assert_eq!(told["heaviest_readers"][0]["subjects"], 251);
    assert_eq!(told["files"][0]["skipped"], serde_json::json!({}));
    let table = data("postgresql.csv");
    let told = good(&[
        "watch",
        "import",
        &table,
        "--format",
        "csvlog",
        "--out",
        &to("plain.jsonl"),
    ]);
    assert!(told.contains("a read whose rows nobody counted"), "{told}");
    assert!(told.contains("not about access: "), "{told}");
    let xml = data("windows.xml");
    good(&[
        "watch", "import", &xml, "--format", "windows", "--out", &terminals,
    ]);
    // Together, and nothing of a statement or a path in them.
    let said = sekisho(
        &[
            "watch", "replay", "--json", "--import", &audited, &terminals,
        ],
        "",
    );
    assert_eq!(
        lines(&said).last().unwrap()["summary"]["files"][1]["records"],
        6
    );
    for path in [&audited, &terminals] {
        let content = std::fs::read_to_string(path).unwrap().to_lowercase();
        for secret in ["select", "0900000", "list.csv", "flash"] {
            assert!(!content.contains(secret), "{secret} in {path}");
        }
    }
}

#[test]
fn calls_with_a_mapping() {
    let folder = tempfile::tempdir().unwrap();
    let (calls, out) = (
        folder.path().join("calls.csv"),
        folder.path().join("calls.jsonl"),
    );
    let csv = "start;end;agent;queue\n2026-11-22 10:00;2026-11-22 10:04;sato;acme\n";
    std::fs::write(&calls, csv).unwrap();
    let (calls, to) = (calls.to_str().unwrap(), out.to_str().unwrap());
    let map = "kind:=call,time=start,until=end,actor=agent,client=queue";
    good(&["watch", "import", calls, "--map", map, "--out", to]);
    let record: Value = serde_json::from_str(&std::fs::read_to_string(to).unwrap()).unwrap();
    assert_eq!(
        (&record["kind"], &record["actor"]),
        (&"call".into(), &"sato".into())
    );
    assert_eq!(record["until"], "2026-11-22T01:04:00.000Z");
    // The place's clocks.
    good(&[
        "watch", "import", calls, "--map", map, "--offset", "-03:30", "--out", to,
    ]);
    let record: Value = serde_json::from_str(&std::fs::read_to_string(to).unwrap()).unwrap();
    assert_eq!(record["until"], "2026-11-22T13:34:00.000Z");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, words) = (file("empty", ""), file("words", "{\"time\":\"soon\"}\n"));
    let table = file("table.csv", "a,b\n1,2\n");
    let (out, gone) = (folder.path().join("out"), folder.path().join("gone"));
    let (out, gone) = (out.to_str().unwrap(), gone.to_str().unwrap());
    for (arguments, part) in [
        (vec!["replay", "--import", &gone], "gone"),
        (
            vec!["replay", "--import", &empty],
            "no record could be read",
        ),
        (vec!["replay", "--import", &words], "docs/format/records.md"),
        (vec!["replay", "--import", &table], "--map"),
        (
            vec!["replay", "--import", folder.path().to_str().unwrap()],
            "is a folder",
        ),
        (vec!["replay", "--dir", &gone], "no Sekisho folder"),
        (
            vec!["import", &words, "--format", "windows", "--out", &out],
            "nothing there is about access",
        ),
    ] {
        let arguments: Vec<&str> = std::iter::once("watch").chain(arguments).collect();
        let said = bad(&arguments, 1);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    for (arguments, part) in [
        (
            vec!["replay", "--import", &words, "--map", "acter=x"],
            "`acter` is no field",
        ),
        (vec!["replay", "--map", "actor=x"], "--import"),
        (
            vec!["replay", "--offset", "9", "--import", &words],
            "+09:00",
        ),
        (
            vec!["import", &words, "--out", &out, "--prefix", "%y"],
            "no escape",
        ),
    ] {
        let arguments: Vec<&str> = std::iter::once("watch").chain(arguments).collect();
        let said = bad(&arguments, 2);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

#[test]
fn a_ledger_is_replayed_with_and_without_its_lists() {
    let folder = tempfile::tempdir().unwrap();
    let centre = folder.path().join("centre");
    let centre = centre.to_str().unwrap();
    good(&["init", "--no-passphrase", centre]);
    let told = good(&["watch", "replay", "--dir", centre]);
    assert!(
        told.contains("Nothing was found.") && told.contains("records of the ledger"),
        "{told}"
    );
    let as_json = good(&["watch", "replay", "--dir", centre, "--json"]);
    let summary: Value = serde_json::from_str(&as_json).unwrap();
    assert!(
        summary["summary"]["records"].as_u64().unwrap() > 3,
        "{as_json}"
    );
    assert_eq!(
        good(&["watch", "replay", "--dir", centre, "--json", "--lists"]),
        as_json
    );
}
