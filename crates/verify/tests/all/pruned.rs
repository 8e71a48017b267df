//! Old entries that are published no more: by a minimum that the log declares, or missing.

use event::record::Body;
use event::{ChangeId, SessionId};
use serde_json::Value;
use verify::check::{Checked, Question, check};
use verify::entry::Times;
use verify::lang::Lang;
use verify::places;
use verify::state::Remembered;
use verify::store::Memory;

use crate::answers::{KEY, LOG, folder};
use crate::papers::{receipt, write_files};
use crate::producer::{START_MS, World, bundle_path, entry, own, tile_path};
use crate::web::{code, err, out, run};

const RECORDS: u64 = 900;
/// Entries of April are old then: 2026-06-10.
const LATER_MS: u64 = 70 * 86_400_000;
const MAY: u32 = 202_605;

/// A world whose log declares minimums, one after the other, when its entries are old.
fn declaring(minimums: &[(u64, u32)]) -> World {
    let mut world = World::new(RECORDS, 60);
    for (at, &(below, before)) in minimums.iter().enumerate() {
        let wall_ms = START_MS + LATER_MS + at as u64 * 1_000;
        let times = Times {
            wall_ms,
            elapsed_ms: wall_ms - START_MS,
        };
        let change = ChangeId(17);
        let body = Body::EntriesPruned {
            below,
            before,
            change,
        };
        world.logs[1].entries.push(entry(times, &body));
    }
    world.leaf(START_MS + LATER_MS + 10_000);
    world
}

fn size(world: &World) -> u64 {
    world.logs[1].entries.len() as u64
}

/// Its files, without the bundles with these entries.
fn without(world: &World, entries: &[u64]) -> Memory {
    let mut files = world.publish();
    for &entry in entries {
        let path = bundle_path(own(), entry, size(world));
        files.0.remove(&path).unwrap();
    }
    files
}

fn look(world: &World, files: &Memory, remembered: Option<&Remembered>) -> Checked {
    let question = Question {
        key_file: &world.key_file(),
        store: files,
        remembered,
        whole: false,
        now_ms: world.now_ms(),
        current: true,
    };
    check(question, &mut |_| {}).unwrap()
}

fn said(checked: &Checked) -> String {
    let found = checked.problems.found().iter();
    let ours = found.filter(|it| !matches!(it.code(), "gap" | "interval"));
    let lines: Vec<String> = ours
        .map(|it| format!("{}: {}", it.code(), it.say(Lang::En)))
        .collect();
    lines.join("\n")
}

#[test]
fn what_a_minimum_covers_is_proven_by_its_hashes() {
    let world = declaring(&[(256, MAY), (768, MAY)]);
    let whole = look(&world, &world.publish(), None);
    assert_eq!(said(&whole), "");
    let pruned = whole.summary.records.pruned.unwrap();
    assert_eq!((pruned.below, pruned.before, pruned.change), (768, MAY, 17));
    assert_eq!(pruned.index, RECORDS + 1);
    assert_eq!(whole.summary.unread, 0);

    let files = without(&world, &[256, 512]);
    let checked = look(&world, &files, None);
    assert!(checked.is_verified(), "{}", said(&checked));
    assert_eq!(
        said(&checked),
        "pruned: 512 entries of your log (from 256 on, before 768) could not be reread: by age they \
         are published no more, as entry 901 of 2026-06-10 00:00:01 UTC declares (months before \
         2026-05; two approvers signed change 17 of the centre's log, which says for how long); \
         their hashes are proven, what they say is counted nowhere here"
    );
    let summary = &checked.summary;
    assert_eq!((summary.entries, summary.unread), (size(&world), 512));
    assert_eq!(summary.records.entries, size(&world) - 512);
    // The same tree as with all of them, now and remembered.
    let (whole, checked) = (whole.remember.unwrap(), checked.remember.unwrap());
    assert_eq!(whole.own.root, checked.own.root);
    assert!(look(&world, &files, Some(&whole)).is_verified());
    // A copy that has some of them counts what it has.
    let some = look(&world, &without(&world, &[512]), None);
    assert_eq!(some.summary.unread, 256);
}

/// Entries of this month are taken along under an honest month: none of them can be read, and the
/// root leaves tell.
#[test]
fn young_entries_are_not_taken_along() {
    let mut world = World::new(300, 60);
    for n in 0..600 {
        let wall_ms = START_MS + LATER_MS + n * 1_000;
        let times = Times {
            wall_ms,
            elapsed_ms: wall_ms - START_MS,
        };
        let session = SessionId(n);
        let body = Body::SessionClosed { session };
        world.logs[1].entries.push(entry(times, &body));
        if n % 60 == 0 {
            world.leaf(wall_ms);
        }
    }
    let wall_ms = START_MS + LATER_MS + 700_000;
    let times = Times {
        wall_ms,
        elapsed_ms: wall_ms - START_MS,
    };
    let body = Body::EntriesPruned {
        below: 768,
        before: MAY,
        change: ChangeId(17),
    };
    world.logs[1].entries.push(entry(times, &body));
    world.leaf(wall_ms + 1_000);
    let checked = look(&world, &without(&world, &[256, 512]), None);
    assert!(!checked.is_verified());
    let says = said(&checked);
    assert!(says.contains("are of 202606 or later"), "{says}");
}

#[test]
fn what_no_minimum_covers_is_missing() {
    // Declared by nobody.
    let nobody = declaring(&[]);
    let checked = look(&nobody, &without(&nobody, &[256]), None);
    assert!(!checked.is_verified() && checked.remember.is_none());
    let missing = |number: &str| {
        format!("missing: client/1/tile/entries/{number} is missing: what it holds was not checked")
    };
    assert_eq!(said(&checked), missing("001"));
    // Above the minimum; and the first, which says whose log it is.
    let world = declaring(&[(512, MAY)]);
    let checked = look(&world, &without(&world, &[256, 512]), None);
    assert!(!checked.is_verified());
    let says = said(&checked);
    assert!(says.starts_with(&missing("002")), "{says}");
    assert!(says.contains("pruned: 256 entries"), "{says}");
    assert!(!says.contains("entries/001"), "{says}");
    let checked = look(&world, &without(&world, &[0]), None);
    assert!(said(&checked).contains(&missing("000")));
    // A partial bundle.
    let checked = look(&world, &without(&world, &[RECORDS]), None);
    assert!(said(&checked).contains(&missing("003.p/133")));
    // A bundle without its tile proves nothing.
    let mut files = without(&world, &[256]);
    let tile = tile_path(own(), 0, 256, size(&world));
    files.0.remove(&tile).unwrap();
    assert!(!look(&world, &files, None).is_verified());
}

#[test]
fn below_a_minimum_nothing_may_be_altered() {
    let world = declaring(&[(512, MAY)]);
    let mut files = world.publish();
    let path = bundle_path(own(), 300, size(&world));
    *files.0.get_mut(&path).unwrap().last_mut().unwrap() ^= 1;
    assert!(said(&look(&world, &files, None)).contains("altered: entry 511 of client/1"));
    // Or its hash, when it is not there any more.
    let mut files = without(&world, &[256]);
    let tile = tile_path(own(), 0, 300, size(&world));
    files.0.get_mut(&tile).unwrap()[44 * 32] ^= 1;
    let checked = look(&world, &files, None);
    let says = said(&checked);
    assert!(!checked.is_verified());
    assert!(says.contains("tile: client/1/tile/1/000"), "{says}");
    // Or the entries put into another log, with all its tiles and the checkpoint signed anew.
    let mut other = world.clone();
    *other.logs[1].entries[300].last_mut().unwrap() ^= 1;
    let mut forged = without(&other, &[256]);
    let honest = world.publish();
    for (path, bytes) in &honest.0 {
        if path.starts_with("root/") || path.starts_with("client/1/slots/") {
            forged.0.insert(path.clone(), bytes.clone());
        }
    }
    let says = said(&look(&world, &forged, None));
    assert!(
        says.contains("split-view: ") || says.contains("diverges: "),
        "{says}"
    );
}

#[test]
fn a_minimum_that_cannot_be_is_wrong() {
    let all: [(&[(u64, u32)], &str); 6] = [
        (
            &[(512, MAY), (256, MAY)],
            "it lowers the minimum from 512 to 256",
        ),
        (
            &[(512, MAY), (512, MAY)],
            "it lowers the minimum from 512 to 512",
        ),
        (&[(300, MAY)], "no minimum can be 300 here"),
        (&[(1024, MAY)], "no minimum can be 1024 here"),
        (
            &[(512, 202_606)],
            "it says that entries before 202606 are old, when they were not",
        ),
        (
            &[(512, 202_604)],
            "it takes entries below 512 for older than 202604, but entry 0 is of 202604",
        ),
    ];
    for (minimums, says) in all {
        let world = declaring(minimums);
        let is = said(&look(&world, &world.publish(), None));
        assert!(is.contains(says), "{minimums:?}: {is}");
    }
    // And then it excuses nothing.
    let world = declaring(&[(512, 202_604)]);
    let is = said(&look(&world, &without(&world, &[256]), None));
    assert!(is.contains("missing: client/1/tile/entries/001"), "{is}");
}

#[test]
fn the_program_tells_what_could_not_be_reread() {
    let world = declaring(&[(512, MAY)]);
    let folder = folder(&without(&world, &[256]));
    let at = world.now_ms().to_string();
    let check = |more: &[&str]| {
        let all = [&["check"][..], &KEY, &LOG, &["--at-ms", &at], more].concat();
        run(folder.path(), &all)
    };
    let given = check(&[]);
    assert_eq!(code(&given), 0, "{}{}", out(&given), err(&given));
    assert!(out(&given).contains("of these, 256 by their hashes alone"));
    assert!(out(&given).contains("as entry 900 of 2026-06-10 00:00:00 UTC declares"));
    let ja = out(&check(&["--lang", "ja"]));
    assert!(
        ja.contains("256 件は、保存期間の経過により公開されなくなったため"),
        "{ja}"
    );
    let json: Value = serde_json::from_str(&out(&check(&["--json"]))).unwrap();
    assert_eq!(json["checked"]["unread"], 256);
    assert_eq!(json["checked"]["records"]["pruned"]["below"], 512);
    let problems = json["problems"].as_array().unwrap();
    let pruned = problems.iter().find(|it| it["code"] == "pruned").unwrap();
    assert_eq!(
        (&pruned["count"], &pruned["index"]),
        (&256.into(), &900.into())
    );
    // A report counts what could be read, and says so.
    let report = |more: &[&str]| {
        let given = run(folder.path(), &[&["report"][..], &KEY, &LOG, more].concat());
        assert_eq!(code(&given), 0, "{}", err(&given));
        out(&given)
    };
    let text = report(&[]);
    assert!(
        text.contains("256 old ones are published no more"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&report(&["--json"])).unwrap();
    assert!(json["more"].is_object());
    let doubts = json["doubts"].as_array().unwrap();
    assert!(doubts.iter().any(|it| it["code"] == "pruned"));
    // A receipt for such an entry is compared by its hash.
    let mut forged = world.clone();
    *forged.logs[1].entries[400].last_mut().unwrap() ^= 1;
    for (world, exit) in [(&world, 0), (&forged, 1)] {
        let line = receipt(world, 400, START_MS + 1).clone();
        let line = serde_json::to_string(&line).unwrap();
        std::fs::write(folder.path().join("receipts"), line).unwrap();
        let base = [&["receipts", "--receipts", "receipts"][..], &KEY, &LOG].concat();
        let given = run(folder.path(), &base);
        assert_eq!(code(&given), exit, "{}", out(&given));
        assert_eq!(out(&given).contains("1 receipts hold"), exit == 0);
    }
}

#[test]
fn a_copy_keeps_what_it_has_and_does_not_ask_for_what_is_gone() {
    let world = declaring(&[(512, MAY)]);
    let folder = folder(&world.publish());
    let copy = |to: &str| {
        run(
            folder.path(),
            &[&["copy", "--to", to][..], &KEY, &LOG].concat(),
        )
    };
    assert_eq!(code(&copy("old")), 0);
    let log = folder.path().join("log");
    let gone = "client/1/tile/entries/001";
    std::fs::remove_file(log.join(gone)).unwrap();
    // Without a word of the server, a file that has to be there is not.
    let given = copy("new");
    assert_eq!(code(&given), 3);
    assert!(err(&given).contains("client/1/tile/entries/001 is missing there"));
    let mut told = Memory::default();
    told.0.insert(places::minimum(own()), b"512\n".to_vec());
    write_files(&log, &told);
    let given = copy("new");
    assert_eq!(code(&given), 0, "{}", err(&given));
    assert!(out(&given).contains("1 bundles of old entries are published no more"));
    let given = copy("old");
    assert_eq!(code(&given), 0, "{}", err(&given));
    assert!(!out(&given).contains("published no more"));
    assert!(folder.path().join("old").join(gone).is_file());
    for (place, unread) in [("old", None), ("new", Some(256))] {
        let at = world.now_ms().to_string();
        let given = run(
            folder.path(),
            &[
                &["check", "--json", "--at-ms", &at, "--from", place][..],
                &KEY,
            ]
            .concat(),
        );
        let json: Value = serde_json::from_str(&out(&given)).unwrap();
        assert_eq!(json["verified"], true, "{}", out(&given));
        assert_eq!(json["checked"]["unread"].as_u64(), unread);
    }
}
