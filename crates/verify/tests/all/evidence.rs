//! A copy that meets a fork: what is signed is kept, whichever of the two it is.

use std::path::Path;
use std::process::Output;

use verify::places;
use verify::store::Memory;

use crate::answers::{KEY, LOG, WORLD, folder};
use crate::papers::write_files;
use crate::producer::{LEAF_MS, START_MS, World};
use crate::ways::altered;
use crate::web::{code, err, out, run};

fn copy(folder: &Path) -> Output {
    run(
        folder,
        &[&["copy", "--to", "copy"][..], &KEY, &LOG].concat(),
    )
}

/// All files of the copy.
fn all(folder: &Path) -> Memory {
    fn walk(place: &Path, name: &str, into: &mut Memory) {
        for entry in std::fs::read_dir(place).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{name}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{path}/"), into);
            } else {
                into.0.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut files = Memory::default();
    walk(&folder.join("copy"), "", &mut files);
    files
}

fn serve(folder: &Path, files: &Memory) {
    std::fs::remove_dir_all(folder.join("log")).unwrap();
    write_files(&folder.join("log"), files);
}

/// What was there is there, byte for byte; gives the paths that are new.
fn kept(before: &Memory, after: &Memory) -> Vec<String> {
    for (path, bytes) in &before.0 {
        assert!(after.0.get(path) == Some(bytes), "{path} was changed");
    }
    let new = after.0.keys().filter(|it| !before.0.contains_key(*it));
    new.cloned().collect()
}

#[test]
fn a_checkpoint_that_does_not_continue_the_copys_is_kept_beside() {
    let folder = folder(&WORLD.1);
    assert_eq!(code(&copy(folder.path())), 0);
    let before = all(folder.path());
    // The root log and the own log rewritten, and grown.
    let mut both = WORLD.0.clone();
    both.logs[1].entries = altered(&WORLD.0, 40);
    both.leaf(WORLD.0.now_ms());
    // As many leaves and entries as before, and others.
    let mut same = WORLD.0.clone();
    same.leaves[30].slots = 128;
    // The own log alone.
    let honest = WORLD.0.publish();
    let mut own = both.publish();
    for (path, bytes) in honest.0.iter().filter(|it| it.0.starts_with("root/")) {
        own.0.insert(path.clone(), bytes.clone());
    }
    let cases = [
        (both.publish(), "root/checkpoint.forked-61-"),
        (same.publish(), "root/checkpoint.forked-60-"),
        (own, "client/1/checkpoint.forked-400-"),
    ];
    let mut seen = before;
    for (files, beside) in cases {
        serve(folder.path(), &files);
        for again in [false, true] {
            let given = copy(folder.path());
            assert_eq!(code(&given), 1, "{}", out(&given));
            assert!(
                err(&given).contains("the log was forked"),
                "{}",
                err(&given)
            );
            let after = all(folder.path());
            let new = kept(&seen, &after);
            assert_eq!(new.len(), usize::from(!again), "{new:?}");
            assert!(new.iter().all(|it| it.starts_with(beside)), "{new:?}");
            if let Some(path) = new.first() {
                let theirs = path.split(".forked").next().unwrap();
                assert_eq!(after.0[path], files.0[theirs]);
            }
            seen = after;
        }
    }
    // The honest log goes on.
    let mut longer = WORLD.0.clone();
    longer.leaf(WORLD.0.now_ms());
    serve(folder.path(), &longer.publish());
    let given = copy(folder.path());
    assert_eq!(code(&given), 0, "{}", err(&given));
    assert_ne!(
        all(folder.path()).0["root/checkpoint"],
        seen.0["root/checkpoint"]
    );
}

#[test]
fn what_only_grows_is_not_exchanged() {
    let day = places::cosigned(START_MS / 86_400_000);
    let files = WORLD.1.clone();
    let folder = folder(&files);
    assert_eq!(code(&copy(folder.path())), 0);
    let before = all(folder.path());
    // The first of the cosigned checkpoints taken out.
    let mut shorter = WORLD.0.clone();
    shorter.kept.remove(0);
    let mut exchanged = files.clone();
    let others = shorter.publish().0[&day].clone();
    exchanged.0.insert(day.clone(), others.clone());
    serve(folder.path(), &exchanged);
    let given = copy(folder.path());
    assert_eq!(code(&given), 1, "{}{}", out(&given), err(&given));
    assert!(out(&given).contains(&format!("CONTRADICTION: {day} may only grow")));
    let after = all(folder.path());
    let new = kept(&before, &after);
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(new[0].starts_with(&format!("{day}.other-")));
    assert_eq!(after.0[&new[0]], others);
    // Lists and the list of keys, too.
    let mut exchanged = files.clone();
    exchanged.0.get_mut("client/1/lists/001").unwrap()[9] ^= 1;
    let mut older = WORLD.0.clone();
    older.serial -= 1;
    exchanged
        .0
        .insert("keys".into(), older.publish().0["keys"].clone());
    serve(folder.path(), &exchanged);
    let given = copy(folder.path());
    assert_eq!(code(&given), 1, "{}", err(&given));
    let new = kept(&after, &all(folder.path()));
    assert_eq!(new.len(), 2, "{new:?}");
    assert!(new[0].starts_with("client/1/lists/001.other-"));
    assert!(new[1].starts_with("keys.other-"));
    // What is shorter there now is kept as well, and nothing is said of it.
    let mut cut = files.clone();
    let half = cut.0[&day].len() / 2;
    cut.0.get_mut(&day).unwrap().truncate(half);
    serve(folder.path(), &cut);
    let given = copy(folder.path());
    assert_eq!(code(&given), 0, "{}", out(&given));
    kept(&before, &all(folder.path()));
}

#[test]
fn cosignatures_of_the_same_checkpoint_are_put_together() {
    let mut files = WORLD.1.clone();
    let folder = folder(&files);
    assert_eq!(code(&copy(folder.path())), 0);
    let before = all(folder.path());
    let mut bare = WORLD.0.clone();
    bare.newest_cosigned = false;
    let note = bare.publish().0["root/checkpoint"].clone();
    assert_ne!(note, before.0["root/checkpoint"]);
    files.0.insert("root/checkpoint".into(), note);
    serve(folder.path(), &files);
    assert_eq!(code(&copy(folder.path())), 0);
    let after = all(folder.path());
    let lines = |files: &Memory| {
        let text = String::from_utf8(files.0["root/checkpoint"].clone()).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&before), lines(&after));
}

#[test]
fn a_new_generation_is_copied_into_a_folder_of_its_own() {
    let folder = folder(&WORLD.1);
    assert_eq!(code(&copy(folder.path())), 0);
    let before = all(folder.path());
    let next = World {
        generation: 2,
        ..WORLD.0.clone()
    };
    let mut longer = next.clone();
    longer.leaf(START_MS + 61 * LEAF_MS);
    serve(folder.path(), &longer.publish());
    std::fs::write(
        folder.path().join("acme.sekisho"),
        next.key_text("client 1 acme"),
    )
    .unwrap();
    let given = copy(folder.path());
    assert_eq!(code(&given), 2, "{}", err(&given));
    assert!(err(&given).contains("into a folder of its own"));
    assert!(kept(&before, &all(folder.path())).is_empty());
}
