//! The program: its answers in both languages, its exit codes, and what bad input gets.

use std::path::Path;
use std::sync::LazyLock;

use event::record::Body;
use serde_json::Value;
use verify::entry::Times;
use verify::store::Memory;

use crate::papers::write_files;
use crate::producer::{START_MS, World, bundle_path, entry, own, phone};
use crate::web::{Web, code, err, out, run, run_with};

pub(crate) static WORLD: LazyLock<(World, Memory)> = LazyLock::new(|| {
    let world = World::new(400, 60);
    let files = world.publish();
    (world, files)
});

/// A folder with the log in `log` and the key file `acme.sekisho`.
pub(crate) fn folder(files: &Memory) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_files(&folder.path().join("log"), files);
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("acme.sekisho", WORLD.0.key_text("client 1 acme"));
    write("acme.officer", World::officer_text());
    folder
}

fn now() -> String {
    WORLD.0.now_ms().to_string()
}

pub(crate) const KEY: [&str; 2] = ["--key", "acme.sekisho"];
pub(crate) const LOG: [&str; 2] = ["--from", "log"];

fn check(folder: &Path, more: &[&str]) -> std::process::Output {
    let now = now();
    let all = [&["check"][..], &KEY, &["--at-ms", &now], more].concat();
    run(folder, &all)
}

#[test]
fn a_log_that_holds() {
    let folder = folder(&WORLD.1);
    let en = check(folder.path(), &LOG);
    assert_eq!(code(&en), 0, "{}{}", out(&en), err(&en));
    insta::assert_snapshot!("check_en", out(&en));
    assert!(folder.path().join("acme.sekisho.state").is_file());
    let ja = check(
        folder.path(),
        &["--from", "log", "--lang", "ja", "--state", "other.state"],
    );
    insta::assert_snapshot!("check_ja", out(&ja));
    // The second look remembers the first.
    let json = check(folder.path(), &["--from", "log", "--json"]);
    assert_eq!(code(&json), 0);
    insta::assert_snapshot!("check_json", out(&json));
}

#[test]
fn a_log_that_does_not_hold() {
    let mut files = WORLD.1.clone();
    let bundle = files.0.get_mut(&bundle_path(own(), 100, 400)).unwrap();
    *bundle.last_mut().unwrap() ^= 1;
    let folder = folder(&files);
    let en = check(folder.path(), &LOG);
    assert_eq!(code(&en), 1);
    insta::assert_snapshot!("wrong_en", out(&en));
    let ja = check(folder.path(), &["--from", "log", "--lang", "ja"]);
    insta::assert_snapshot!("wrong_ja", out(&ja));
    // Nothing is remembered of it.
    assert!(!folder.path().join("acme.sekisho.state").exists());
    let json = check(folder.path(), &["--from", "log", "--json"]);
    let json: Value = serde_json::from_str(&out(&json)).unwrap();
    assert_eq!(json["verified"], false);
    assert_eq!(json["problems"][0]["code"], "altered");
    assert_eq!(json["problems"][0]["index"], 255);
    // And no report.
    let report = run(folder.path(), &[&["report"][..], &KEY, &LOG].concat());
    assert_eq!(code(&report), 1);
    assert!(!out(&report).contains("Who saw"), "{}", out(&report));
    let to = run(
        folder.path(),
        &[
            &["report", "--out", "r.html", "--format", "html"][..],
            &KEY,
            &LOG,
        ]
        .concat(),
    );
    assert_eq!(code(&to), 1);
    assert!(!folder.path().join("r.html").exists());
}

#[test]
fn bad_input_gets_a_sentence_and_a_code() {
    let folder = folder(&WORLD.1);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let other = World {
        identity: [99; 32],
        ..World::new(300, 20)
    };
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("other.sekisho", &other.key_text("client 1 acme"));
    write("client2.sekisho", &WORLD.0.key_text("client 9 nobody"));
    let strange = WORLD
        .0
        .key_text("client 1 acme")
        .replace(&"07".repeat(16), &"08".repeat(16));
    write("strange.sekisho", &strange);
    write("cut.sekisho", &WORLD.0.key_text("client 1 acme")[..200]);
    let asked = |key: &str, from: &str| {
        let given = run(folder.path(), &["check", "--key", key, "--from", from]);
        (code(&given), err(&given) + &out(&given))
    };
    for (key, from, exit, says) in [
        ("acme.sekisho", "empty", 2, "there is no log here"),
        ("acme.sekisho", "nowhere", 2, "there is no such folder"),
        (
            "acme.sekisho",
            "http://127.0.0.1:1/",
            3,
            "could not be read",
        ),
        ("acme.sekisho", "https://", 2, "is no address"),
        ("nofile", "log", 2, "nofile"),
        ("log/keys", "log", 2, "this is not a key file"),
        ("cut.sekisho", "log", 2, "of the key file: expected"),
        ("other.sekisho", "log", 1, "not signed by the identity"),
        (
            "client2.sekisho",
            "log",
            2,
            "there is no client/9/checkpoint here",
        ),
        ("strange.sekisho", "log", 2, "line 5 of the key file"),
    ] {
        let (given, text) = asked(key, from);
        assert!(text.contains(says), "{key} {from}: {text}");
        assert_eq!(given, exit, "{key} {from}: {text}");
    }
    // Arguments.
    assert_eq!(code(&run(folder.path(), &["check"])), 2);
    assert_eq!(code(&run(folder.path(), &["check", "--lang", "fr"])), 2);
    // A state file that is none, or another log's.
    write("x.state", "{}");
    let given = check(folder.path(), &["--from", "log", "--state", "x.state"]);
    assert_eq!(code(&given), 2);
    assert!(
        err(&given).contains("this is not a state file"),
        "{}",
        err(&given)
    );
    // As JSON too.
    let given = run(
        folder.path(),
        &[
            "check",
            "--json",
            "--key",
            "acme.sekisho",
            "--from",
            "empty",
        ],
    );
    let json: Value = serde_json::from_str(&out(&given)).unwrap();
    assert_eq!(
        (&json["verified"], &json["exit"]),
        (&Value::Bool(false), &2.into())
    );
}

#[test]
fn a_record_of_a_later_version_is_said() {
    use verify::entry::Entry;
    let mut world = WORLD.0.clone();
    for (index, critical) in [(350, 0xf4), (360, 0xf5)] {
        let times = Entry::parse(&world.logs[1].entries[index]).unwrap().times;
        // Kind 999, version 1.
        let record = [0xa3, 0x00, 0x19, 0x03, 0xe7, 0x01, 0x01, 0x02, critical];
        world.logs[1].entries[index] = Entry::encode(times, &record);
    }
    let folder = folder(&world.publish());
    let given = check(folder.path(), &LOG);
    assert_eq!(code(&given), 0, "{}", out(&given));
    assert!(
        out(&given).contains("1 records are of kind 999"),
        "{}",
        out(&given)
    );
    assert!(
        out(&given).contains("marks as critical (first: entry 360)"),
        "{}",
        out(&given)
    );
}

#[test]
fn help_teaches() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["check", "proof", "report", "receipts", "copy", "witness"] {
        let help = run(folder.path(), &[command, "--help"]);
        assert_eq!(code(&help), 0);
        assert!(out(&help).contains("Exit codes"), "{command}");
    }
}

#[test]
fn a_copy_goes_on_where_it_was_and_works_unplugged() {
    let mut older = WORLD.0.clone();
    older.leaves.truncate(45);
    let sizes = older.leaves[44].sizes.clone();
    for (log, size) in older.logs.iter_mut().zip(sizes) {
        log.entries.truncate(size as usize);
        log.lists.retain(|it| it.0 < size);
    }
    older.kept.retain(|it| it.0 <= 45);
    let web = Web::new(older.publish());
    let folder = folder(&Memory::default());
    let url = web.url();
    let copy = || {
        run(
            folder.path(),
            &[
                "copy",
                "--key",
                "acme.sekisho",
                "--from",
                &url,
                "--to",
                "copy",
            ],
        )
    };

    // A truncated download: nothing half written, and it goes on.
    *web.cut.lock().unwrap() = Some("client/1/tile/entries/000".into());
    let given = copy();
    assert_eq!(code(&given), 3, "{}{}", out(&given), err(&given));
    assert!(
        !folder
            .path()
            .join("copy/client/1/tile/entries/000")
            .exists()
    );
    assert!(!folder.path().join("copy/root/checkpoint").exists());
    *web.cut.lock().unwrap() = None;
    assert_eq!(code(&copy()), 0);
    let at = (older.now_ms()).to_string();
    let checked = run(
        folder.path(),
        &[
            "check",
            "--key",
            "acme.sekisho",
            "--from",
            "copy",
            "--at-ms",
            &at,
        ],
    );
    assert_eq!(code(&checked), 0, "{}", out(&checked));

    // The log grows; only what is new is asked for.
    *web.files.lock().unwrap() = WORLD.1.clone();
    web.asked.lock().unwrap().clear();
    let given = copy();
    assert_eq!(code(&given), 0, "{}", err(&given));
    let asked = web.asked.lock().unwrap().clone();
    // What was full is not asked for again, but for the root log's partial bundle.
    let entries = asked
        .iter()
        .filter(|path| path.contains("tile/entries/000"));
    assert_eq!(entries.count(), 1);
    let newest = "client/1/tile/entries/001.p/144";
    assert_eq!(asked.iter().filter(|path| *path == newest).count(), 1);
    assert!(!asked.iter().any(|path| path == "root/cosigned/20260331"));
    let checked = check(folder.path(), &["--from", "copy"]);
    assert_eq!(code(&checked), 0, "{}", out(&checked));
    let direct = check(folder.path(), &["--from", &url, "--state", "s"]);
    assert_eq!(code(&direct), 0, "{}", out(&direct));

    // An older log is shown: nothing is changed.
    *web.files.lock().unwrap() = older.publish();
    let given = copy();
    assert_eq!(code(&given), 1);
    assert!(
        err(&given).contains("an older log is shown"),
        "{}",
        err(&given)
    );
    // Forged keys: nothing is fetched.
    let other = World {
        identity: [99; 32],
        ..WORLD.0.clone()
    };
    *web.files.lock().unwrap() = other.publish();
    assert_eq!(code(&copy()), 1);
    drop(web);
    assert_eq!(code(&check(folder.path(), &["--from", "copy"])), 0);
}

#[test]
fn a_truncated_download_is_incomplete() {
    let web = Web::new(WORLD.1.clone());
    *web.cut.lock().unwrap() = Some("client/1/tile/entries/000".into());
    let folder = folder(&Memory::default());
    let given = check(folder.path(), &["--from", &web.url()]);
    assert_eq!(code(&given), 3, "{}", out(&given));
    assert!(
        out(&given).contains("client/1/tile/entries/000 could not be read"),
        "{}",
        out(&given)
    );
    assert!(!folder.path().join("acme.sekisho.state").exists());
}

#[test]
fn the_report() {
    let folder = folder(&WORLD.1);
    std::fs::write(folder.path().join("names.csv"), "4,佐藤 <b>\n9,Tanaka\n").unwrap();
    let report = |more: &[&str]| {
        let all = [&["report"][..], &KEY, &LOG, &["--names", "names.csv"], more].concat();
        let given = run(folder.path(), &all);
        assert_eq!(code(&given), 0, "{}{}", out(&given), err(&given));
        // How old the copy is depends on today.
        let lines = out(&given);
        let lines = lines
            .lines()
            .filter(|it| !it.contains(" ago") && !it.contains("前）までの"));
        lines.map(|it| format!("{it}\n")).collect::<String>()
    };
    insta::assert_snapshot!("report_en", report(&[]));
    insta::assert_snapshot!("report_ja", report(&["--lang", "ja"]));
    let html = report(&["--format", "html", "--lang", "ja"]);
    assert!(!html.contains("<b>") && html.contains("&lt;b&gt;"));
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"));
    insta::assert_snapshot!("report_html", html);
    let json = report(&["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let sum = |field: &str| -> u64 {
        let lines = json["lines"].as_array().unwrap().iter();
        lines.map(|it| it[field].as_u64().unwrap()).sum()
    };
    assert_eq!(sum("rows"), json["total"]["rows"].as_u64().unwrap());
    assert_eq!(
        sum("rows"),
        json["checked"]["records"]["rows"].as_u64().unwrap()
    );
    assert_eq!(
        sum("refusals"),
        json["refusals"]["subject-budget"].as_u64().unwrap()
    );
    assert!(
        json["lines"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["grant"] == 3)
    );
}

#[test]
fn a_report_for_a_time_without_log() {
    let folder = folder(&WORLD.1);
    let report = |more: &[&str]| {
        let all = [&["report"][..], &KEY, &LOG, more].concat();
        let given = run(folder.path(), &all);
        (code(&given), out(&given) + &err(&given))
    };
    let (exit, text) = report(&["--until", "2026-03-01"]);
    assert_eq!(exit, 2);
    assert!(text.contains("your log begins on 2026-04-01"), "{text}");
    let (exit, text) = report(&["--since", "2026-05-01"]);
    assert_eq!(exit, 2);
    assert!(text.contains("your copy ends on 2026-04-01"), "{text}");
    let (exit, text) = report(&["--since", "2026-01-01", "--until", "2026-12-31"]);
    assert_eq!(exit, 0);
    assert!(text.contains("says nothing of the time before"), "{text}");
    assert!(
        text.contains("Asked up to 2026-12-31: your copy ends on 2026-04-01"),
        "{text}"
    );
}

/// The lists of a month were destroyed, and the log says so: told, and nothing is wrong.
#[test]
fn lists_that_were_destroyed_by_age_are_told_and_no_fault() {
    // When they were not old, no such record is believed.
    // Nor when the clock alone says so.
    for (later_ms, measured_ms) in [(0, 0), (70 * 86_400_000, 27 * 86_400_000)] {
        let (_folder, given) = destroyed(later_ms, measured_ms);
        assert_eq!(code(&given), 1, "{}{}", out(&given), err(&given));
        assert!(out(&given).contains("when they were not old"));
    }
    let (folder, _) = destroyed(70 * 86_400_000, 29 * 86_400_000);
    std::fs::remove_file(folder.path().join("log/client/1/lists/202604.key")).unwrap();
    std::fs::remove_file(folder.path().join("log/client/1/lists/000")).unwrap();
    let at = (WORLD.0.now_ms() + 70 * 86_400_000 + 5_000).to_string();
    let asked = |more: &[&str]| {
        run(
            folder.path(),
            &[&["check"][..], &KEY, &["--at-ms", &at], more].concat(),
        )
    };
    let given = asked(&LOG);
    assert_eq!(code(&given), 0, "{}{}", out(&given), err(&given));
    assert!(
        out(&given).contains("months before 2026-05"),
        "{}",
        out(&given)
    );
    let given = asked(&["--from", "log", "--json"]);
    assert!(out(&given).contains("202605"), "{}", out(&given));
    let json = person_json(folder.path(), "phone=090-9999-0001", &[]);
    let closed = json["person"]["lists_closed"].as_array().unwrap();
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!(closed[0]["why"], "by-age");
}

/// The honest world with a record, so much later by the clock and in measured time, that the lists
/// before May were destroyed; and what the program says of it.
fn destroyed(later_ms: u64, measured_ms: u64) -> (tempfile::TempDir, std::process::Output) {
    let mut world = World::new(400, 60);
    let wall_ms = world.now_ms() + later_ms;
    let times = Times {
        wall_ms,
        elapsed_ms: world.now_ms() + measured_ms - START_MS,
    };
    let body = Body::ListsDestroyed { before: 202_605 };
    world.logs[1].entries.push(entry(times, &body));
    world.leaf(wall_ms);
    let folder = folder(&world.publish());
    let at = world.now_ms().to_string();
    let given = run(
        folder.path(),
        &[&["check"][..], &KEY, &["--at-ms", &at], &LOG].concat(),
    );
    (folder, given)
}

/// Customers whose telephone numbers were shown or searched for, by the lists of the honest world.
fn seen_customers() -> (u64, u64) {
    let folder = folder(&WORLD.1);
    let mut found = (None, None);
    for customer in 0..5000 {
        let person = format!("phone={}", phone(customer));
        let json = person_json(folder.path(), &person, &[]);
        let times = json["person"]["seen"].as_array().unwrap().len();
        match times {
            0 => found.1 = found.1.or(Some(customer)),
            _ => found.0 = found.0.or(Some(customer)),
        }
        if let (Some(seen), Some(unseen)) = found {
            return (seen, unseen);
        }
    }
    panic!("all were seen, or none");
}

fn person_json(folder: &Path, person: &str, more: &[&str]) -> Value {
    let base = [
        "report",
        "--officer",
        "acme.officer",
        "--person",
        "-",
        "--json",
    ];
    let all = [&base[..], &KEY, &LOG, more].concat();
    let given = run_with(folder, &all, &format!("{person}\n"));
    assert_eq!(code(&given), 0, "{}{}", out(&given), err(&given));
    let value = person.split_once('=').unwrap().1;
    assert!(!out(&given).contains(value) && !err(&given).contains(value));
    serde_json::from_str(&out(&given)).unwrap()
}

#[test]
fn whether_and_by_whom_a_person_was_seen() {
    let (seen, unseen) = seen_customers();
    let folder = folder(&WORLD.1);
    let json = person_json(folder.path(), &format!("phone={}", phone(seen)), &[]);
    let person = &json["person"];
    assert!(person["lists_closed"].as_array().unwrap().is_empty());
    assert!(person["lists_opened"].as_u64().unwrap() > 300);
    let first = &person["seen"][0];
    assert!(first["actor"].as_u64().unwrap() > 0 && first["at_ms"].as_u64().unwrap() > START_MS);
    // Any way of writing it.
    let wide: String = phone(seen)
        .chars()
        .map(|it| {
            it.to_digit(10)
                .map_or('－', |it| char::from_u32('０' as u32 + it).unwrap())
        })
        .collect();
    let again = person_json(folder.path(), &format!("phone={wide}"), &[]);
    assert_eq!(again["person"]["seen"], person["seen"]);
    let nobody = person_json(folder.path(), &format!("phone={}", phone(unseen)), &[]);
    assert_eq!(nobody["person"]["seen"].as_array().unwrap().len(), 0);

    // In words.
    let base = ["report", "--officer", "acme.officer", "--person", "-"];
    let all = [&base[..], &KEY, &LOG].concat();
    let text = out(&run_with(
        folder.path(),
        &all,
        &format!("phone={}", phone(seen)),
    ));
    assert!(text.contains("The person asked for (by phone)"), "{text}");

    // Without the month's key, or with altered lists: unknown, and said.
    std::fs::remove_file(folder.path().join("log/client/1/lists/202604.key")).unwrap();
    let json = person_json(folder.path(), &format!("phone={}", phone(seen)), &[]);
    assert_eq!(json["person"]["lists_opened"], 0);
    assert_eq!(json["person"]["lists_closed"][0]["why"], "no-key");
    let mut files = WORLD.1.clone();
    *files
        .0
        .get_mut("client/1/lists/000")
        .unwrap()
        .last_mut()
        .unwrap() ^= 1;
    let folder = self::folder(&files);
    let json = person_json(folder.path(), &format!("phone={}", phone(seen)), &[]);
    assert_eq!(json["person"]["lists_closed"][0]["why"], "does-not-open");
    assert_eq!(json["person"]["lists_closed"][0]["lists"], 1);

    // Another client's officer, and what is no person: the value is not in the sentence.
    let officer = World::officer_text().replace("client 1", "client 2");
    std::fs::write(folder.path().join("other.officer"), officer).unwrap();
    let other = [
        "report",
        "--officer",
        "other.officer",
        "--person",
        "phone=1",
    ];
    let given = run(folder.path(), &[&other[..], &KEY, &LOG].concat());
    assert_eq!(code(&given), 2);
    let wrong = run_with(folder.path(), &all, "telephone=090-9999-0001");
    assert_eq!(code(&wrong), 2);
    assert!(!err(&wrong).contains("9999"), "{}", err(&wrong));
}
