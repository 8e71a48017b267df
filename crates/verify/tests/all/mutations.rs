//! Every way to cheat that we know of, each found and named with its place.

use event::record::Body;
use verify::check::{CheckError, Checked, Question, check};
use verify::entry::Times;
use verify::key::KeyFile;
use verify::lang::Lang;
use verify::places::{self, Tree};
use verify::problem::Severity;
use verify::state::Remembered;
use verify::store::Memory;

use crate::producer::{LEAF_MS, START_MS, World, entry, own, write_tiles};
use crate::ways::{How, altered, mutations};

pub(crate) const RECORDS: u64 = 3000;
pub(crate) const LEAVES: u64 = 700;

fn ask(world: &World, files: &Memory, remembered: Option<&Remembered>) -> Checked {
    ask_at(world, files, remembered, world.now_ms()).unwrap()
}

fn ask_at(
    world: &World,
    files: &Memory,
    remembered: Option<&Remembered>,
    now_ms: u64,
) -> Result<Checked, CheckError> {
    let question = Question {
        key_file: &world.key_file(),
        store: files,
        remembered,
        whole: false,
        now_ms,
        current: true,
    };
    check(question, &mut |_| {})
}

fn said(checked: &Checked) -> String {
    let lines = checked.problems.found().iter();
    let lines: Vec<String> = lines
        .map(|it| format!("{}: {}", it.code(), it.say(Lang::En)))
        .collect();
    lines.join("\n")
}

#[test]
fn an_honest_log_is_verified() {
    let world = World::new(RECORDS, LEAVES);
    let files = world.publish();
    let checked = ask(&world, &files, None);
    assert_eq!(said(&checked), "");
    assert!(checked.is_verified());
    let summary = &checked.summary;
    assert_eq!((summary.entries, summary.root_leaves), (RECORDS, LEAVES));
    assert_eq!(summary.slots, LEAVES - 2);
    assert_eq!(summary.cosigned, LEAVES.div_ceil(6));
    assert_eq!(summary.covered, LEAVES);
    assert_eq!(summary.records.entries, RECORDS);
    assert!(summary.records.refusals > 50 && summary.records.rows > 3000);

    // Again, with what was remembered: nothing of the root log is read twice.
    let remembered = checked.remember.unwrap();
    let mut again = world.clone();
    again.leaf(world.now_ms());
    let more = again.publish();
    let mut fewer = more.clone();
    // Old root tiles and slots are gone, as far as what stays does not need them.
    fewer.0.retain(|path, _| {
        let old =
            path.starts_with("client/1/slots/000") || path.starts_with("root/tile/entries/000");
        !old
    });
    let checked = ask(&again, &fewer, Some(&remembered));
    assert_eq!(said(&checked), "");
    assert_eq!(checked.summary.root_from, LEAVES);
    assert_eq!(checked.summary.slots, 1);
}

#[test]
fn an_auditor_checks_the_centres_log() {
    let world = World::new(300, 40);
    let files = world.publish();
    let key_file = verify::key::KeyFile::parse(&world.key_text("centre")).unwrap();
    let question = Question {
        key_file: &key_file,
        store: &files,
        remembered: None,
        whole: false,
        now_ms: world.now_ms(),
        current: true,
    };
    let checked = check(question, &mut |_| {}).unwrap();
    assert_eq!(said(&checked), "");
    assert_eq!(checked.summary.slots, 40);
}

#[test]
fn every_mutation_is_found_and_named() {
    let honest = World::new(RECORDS, LEAVES);
    let files = honest.publish();
    let remembered = ask(&honest, &files, None).remember.unwrap();
    let all = mutations();
    assert!(all.len() >= 45, "{}", all.len());
    let mut failed = Vec::new();
    for mutation in &all {
        let checked = match mutation.how {
            How::Files(change) => {
                let mut files = files.clone();
                change(&honest, &mut files);
                ask(&honest, &files, None)
            }
            How::World(change) => {
                let mut world = honest.clone();
                change(&mut world);
                let now = world.now_ms();
                ask_at(&honest, &world.publish(), None, now).unwrap()
            }
            How::RememberedWorld(change) => {
                let mut world = honest.clone();
                change(&mut world);
                ask(&honest, &world.publish(), Some(&remembered))
            }
        };
        let said = said(&checked);
        if said.is_empty() || !said.contains(mutation.says) {
            failed.push(format!(
                "{}: expected `{}` in\n{said}\n",
                mutation.name, mutation.says
            ));
        }
        let wrong = checked.problems.worst() >= Some(Severity::Incomplete);
        assert_eq!(checked.remember.is_some(), !wrong, "{}", mutation.name);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The same tiles without rebuilding anything else: the root says it.
#[test]
fn rebuilt_tiles_alone_do_not_help() {
    let world = World::new(600, 60);
    let mut files = world.publish();
    let entries = altered(&world, 100);
    write_tiles(&mut files, own(), &entries);
    let checked = ask(&world, &files, None);
    assert!(
        said(&checked).contains("tile: client/1/tile/0/000"),
        "{}",
        said(&checked)
    );
}

/// An older log is one thing that is wrong, not many.
#[test]
fn an_older_copy_is_said_once() {
    let world = World::new(600, 60);
    let remembered = ask(&world, &world.publish(), None).remember.unwrap();
    let mut older = world.clone();
    let sizes = older.leaves[39].sizes.clone();
    older.leaves.truncate(40);
    older.kept.retain(|it| it.0 <= 40);
    for (log, size) in older.logs.iter_mut().zip(sizes) {
        log.entries.truncate(size as usize);
        log.lists.retain(|it| it.0 < size);
    }
    let checked = ask(&world, &older.publish(), Some(&remembered));
    let mut codes: Vec<_> = checked
        .problems
        .found()
        .iter()
        .map(|it| it.code())
        .collect();
    codes.dedup();
    assert_eq!(codes, ["shorter", "silent"], "{}", said(&checked));
}

#[test]
fn rotated_keys_count_in_their_span_only() {
    let world = World::new(600, 60);
    assert!(ask(&world, &world.publish(), None).is_verified());
    // As if key 1 had been taken out of use before what it signed.
    let mut shown = world.clone();
    shown.keys[0].until_ms = Some(START_MS + 20 * LEAF_MS);
    shown.keys[1].from_ms = START_MS + 20 * LEAF_MS;
    let mut files = world.publish();
    let keys = shown.publish().0["keys"].clone();
    files.0.insert("keys".into(), keys);
    let said = said(&ask(&world, &files, None));
    assert!(
        said.contains("key-span: the checkpoint of root with 25 entries"),
        "{said}"
    );
}

#[test]
fn what_is_no_log_or_another_one() {
    let world = World::new(300, 30);
    let files = world.publish();
    let asked = |files: &Memory| ask_at(&world, files, None, world.now_ms()).map(|_| ());
    assert_eq!(asked(&Memory::default()), Err(CheckError::NotALog));
    let mut other = files.clone();
    other.0.remove("client/1/checkpoint");
    assert_eq!(asked(&other), Err(CheckError::NotYours(own())));
    let mut keys = String::from_utf8(files.0["keys"].clone()).unwrap();
    keys = keys.replace("07070707070707070707070707070707", &"a".repeat(32));
    let mut other = files.clone();
    other.0.insert("keys".into(), keys.into_bytes());
    assert_eq!(asked(&other), Err(CheckError::OtherLedger("a".repeat(32))));
}

#[test]
fn silence_and_a_clock_from_the_future_are_said() {
    let world = World::new(300, 30);
    let files = world.publish();
    let at = |now| said(&ask_at(&world, &files, None, now).unwrap());
    let later = at(world.now_ms() + 600_000);
    assert!(later.contains("silent: nothing was heard since"), "{later}");
    let earlier = at(START_MS - 3_600_000);
    assert!(earlier.contains("future: root leaf 29 says"), "{earlier}");
}

/// Whoever holds a log key can sign an empty log, or one that no root leaf commits to.
#[test]
fn what_nothing_commits_to_is_never_verified() {
    let world = World::new(300, 30);
    let honest = world.publish();
    let wall = world.now_ms();
    for tree in [Tree::Root, own()] {
        let mut files = honest.clone();
        let note = world.sign(tree, 0, tlog::EMPTY_ROOT, wall).to_string();
        files.0.insert(places::checkpoint(tree), note.into_bytes());
        let checked = ask(&world, &files, None);
        assert!(!checked.is_verified() && checked.remember.is_none());
        assert!(said(&checked).contains("no-entries"), "{}", said(&checked));
    }
    let invented = |opened_ms: Option<u64>, committed: bool| {
        let mut world = world.clone();
        for leaf in &mut world.leaves {
            leaf.sizes[1] = 0;
            leaf.forged_root = committed.then_some(tlog::EMPTY_ROOT);
        }
        for entry in &mut world.logs[1].entries {
            if let Some(wall_ms) = opened_ms {
                entry[1..9].copy_from_slice(&wall_ms.to_be_bytes());
            }
            entry[9..17].fill(0xff);
        }
        ask(&world, &world.publish(), None)
    };
    for (opened_ms, committed, says) in [
        (None, false, "slot-absent"),
        (Some(wall + 1_000), false, "uncommitted"),
        (Some(wall + 86_400_000), false, "ahead"),
        (Some(wall + 1_000), true, "slot-empty"),
    ] {
        let checked = invented(opened_ms, committed);
        assert!(!checked.is_verified() && checked.remember.is_none());
        assert!(said(&checked).contains(says), "{}", said(&checked));
    }
}

/// After a generation that was seen, its loss is declared, and as large as what is missing.
#[test]
fn a_loss_is_declared_and_not_understated() {
    let world = World::new(300, 30);
    let mut former = ask(&world, &world.publish(), None).remember.unwrap();
    former.generation = 0;
    let undeclared = ask(&world, &world.publish(), Some(&former));
    assert!(!undeclared.is_verified() && undeclared.remember.is_none());
    assert!(said(&undeclared).contains("loss-undeclared"));
    let declared = |size: u64, lost: &str| {
        let mut world = world.clone();
        let wall_ms = world.now_ms();
        let body = Body::LossDeclared {
            generation: 1,
            size,
            root: event::Digest([7; 32]),
            lost: lost.to_owned(),
        };
        let times = Times {
            wall_ms,
            elapsed_ms: wall_ms - START_MS,
        };
        world.logs[1].entries.push(entry(times, &body));
        world.leaf(wall_ms);
        ask(&world, &world.publish(), Some(&former))
    };
    let said_of = |size, lost| said(&declared(size, lost));
    assert!(said_of(29, "x").contains("loss-understated"));
    // What was written there cannot act on a terminal or look like another line.
    let honest = declared(30, "fire\u{1b}[2J\nVERIFIED\u{202e}");
    assert!(honest.is_verified(), "{}", said(&honest));
    let text = said(&honest);
    assert!(
        text.contains("fire\u{fffd}[2J\u{fffd}VERIFIED\u{fffd}"),
        "{text}"
    );
}

/// The key file names the log's slot: another one is not believed.
#[test]
fn the_slot_is_the_key_files() {
    let world = World::new(300, 30);
    let files = world.publish();
    let with = |slot: u32| {
        let text = world.key_text("client 1 acme");
        let text = text.replace("generation 1\n", &format!("generation 1\nslot {slot}\n"));
        let question = Question {
            key_file: &KeyFile::parse(&text).unwrap(),
            store: &files,
            remembered: None,
            whole: false,
            now_ms: world.now_ms(),
            current: true,
        };
        check(question, &mut |_| {}).unwrap()
    };
    assert!(with(1).is_verified(), "{}", said(&with(1)));
    assert!(
        said(&with(2)).contains("another slot"),
        "{}",
        said(&with(2))
    );
}
