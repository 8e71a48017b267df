//! Proofs and receipts: what is handed to others.

use serde_json::Value;
use verify::store::Memory;

use crate::answers::{KEY, LOG, WORLD, folder};
use crate::papers::{proof_text, receipt, root_proof};
use crate::producer::{LEAF_MS, START_MS, bundle_path};
use crate::web::{code, err, out, run};

#[test]
fn the_proof_of_one_record() {
    let folder = folder(&Memory::default());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let text = proof_text(&WORLD.0, &WORLD.1, 123, 50);
    let prove = |name: &str, more: &[&str]| {
        run(folder.path(), &[&["proof", name][..], &KEY, more].concat())
    };
    write("one.proof", &text);
    let given = prove("one.proof", &[]);
    assert_eq!(code(&given), 0, "{}", err(&given));
    insta::assert_snapshot!("proof_en", out(&given));
    insta::assert_snapshot!("proof_ja", out(&prove("one.proof", &["--lang", "ja"])));
    let json: Value = serde_json::from_str(&out(&prove("one.proof", &["--json"]))).unwrap();
    assert_eq!(
        (&json["verified"], &json["entry"]),
        (&Value::Bool(true), &123.into())
    );
    // From before the keys rotated.
    write("old.proof", &proof_text(&WORLD.0, &WORLD.1, 10, 12));
    assert_eq!(code(&prove("old.proof", &[])), 0);

    // Every line altered: never accepted.
    let lines: Vec<&str> = text.lines().collect();
    for at in 0..lines.len() {
        let mut altered: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let line = &mut altered[at];
        let middle = line
            .char_indices()
            .nth(line.chars().count() / 2)
            .map_or(0, |it| it.0);
        let old = line[middle..].chars().next();
        let new = if old == Some('A') { 'B' } else { 'A' };
        match old {
            Some(old) => line.replace_range(middle..middle + old.len_utf8(), &new.to_string()),
            None => line.push('A'),
        }
        write("bad.proof", &(altered.join("\n") + "\n"));
        let given = prove("bad.proof", &[]);
        assert!(matches!(code(&given), 1 | 2), "line {at}: {}", out(&given));
    }
    // Another client's key, another's slot, and what is no proof.
    write("nine.sekisho", &WORLD.0.key_text("client 9 nobody"));
    let given = run(
        folder.path(),
        &["proof", "one.proof", "--key", "nine.sekisho"],
    );
    assert_eq!(code(&given), 2);
    assert!(
        err(&given).contains("the proof is of log client/1"),
        "{}",
        err(&given)
    );
    write("bad.proof", &text.replace("slot 1 ", "slot 2 "));
    assert_eq!(code(&prove("bad.proof", &[])), 1);
    write("bad.proof", "hello\n");
    assert_eq!(code(&prove("bad.proof", &[])), 2);
}

#[test]
fn a_plain_proof_of_a_root_leaf() {
    let folder = folder(&WORLD.1);
    let leaf = {
        let bytes = &WORLD.1.0[&bundle_path(verify::places::Tree::Root, 50, 60)];
        let mut all = tlog::bundle::entries(bytes).map(|it| it.unwrap().to_vec());
        all.nth(50).unwrap()
    };
    let proof = root_proof(&WORLD.1, 50, 60, leaf).to_string();
    std::fs::write(folder.path().join("root.tlog-proof"), &proof).unwrap();
    let keys = ["--keys", "log/keys"];
    let given = run(
        folder.path(),
        &[&["proof", "root.tlog-proof"][..], &KEY, &keys].concat(),
    );
    assert_eq!(code(&given), 0, "{}", err(&given));
    assert!(
        out(&given).contains("leaf 50 of the root log"),
        "{}",
        out(&given)
    );
    let without = run(
        folder.path(),
        &[&["proof", "root.tlog-proof"][..], &KEY].concat(),
    );
    assert_eq!(code(&without), 2);
    std::fs::write(
        folder.path().join("bad"),
        proof.replace("index 50", "index 51"),
    )
    .unwrap();
    let given = run(
        folder.path(),
        &[&["proof", "bad"][..], &KEY, &keys].concat(),
    );
    assert_eq!(code(&given), 1);
}

#[test]
fn receipts_hold_or_are_broken_promises() {
    let folder = folder(&WORLD.1);
    let (world, end) = (&WORLD.0, START_MS + 59 * LEAF_MS);
    let mut longer = world.clone();
    let more: Vec<Vec<u8>> = (0..2)
        .map(|_| longer.logs[1].entries[399].clone())
        .collect();
    longer.logs[1].entries.extend(more);
    let with = |index: u64, change: fn(&mut verify::receipt::Receipt)| {
        let mut it = receipt(world, index, end);
        change(&mut it);
        it
    };
    let all = [
        receipt(world, 5, end),
        receipt(world, 300, end),
        receipt(&longer, 400, end + 60_000),
        receipt(&longer, 401, end),
        with(6, |it| it.signature = it.signature.replace('A', "B")),
        with(7, |it| it.log = it.log.replace("client/1", "client/2")),
        {
            // Signed, for an entry that is not there.
            let mut forged = world.clone();
            *forged.logs[1].entries[8].last_mut().unwrap() ^= 1;
            receipt(&forged, 8, end)
        },
    ];
    let lines: Vec<String> = all
        .iter()
        .map(|it| serde_json::to_string(it).unwrap())
        .collect();
    std::fs::write(folder.path().join("receipts"), lines.join("\n") + "\n\n").unwrap();
    let base = [&["receipts", "--receipts", "receipts"][..], &KEY, &LOG].concat();
    let given = run(folder.path(), &base);
    assert_eq!(code(&given), 1, "{}", err(&given));
    // How old the log is depends on when this runs.
    let lasting = |given: &std::process::Output| {
        let text = out(given);
        let lines = text.lines();
        let lines = lines.filter(|it| !it.contains(" ago") && !it.contains("前）までの"));
        lines.map(|it| format!("{it}\n")).collect::<String>()
    };
    assert!(out(&given).contains("[old]"));
    insta::assert_snapshot!("receipts_en", lasting(&given));
    let ja = run(folder.path(), &[&base[..], &["--lang", "ja"]].concat());
    insta::assert_snapshot!("receipts_ja", lasting(&ja));
    let json = out(&run(folder.path(), &[&base[..], &["--json"]].concat()));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["overdue"][0]["entry"], 400);
    assert_eq!(json["notices"][0]["code"], "old");
    assert!(json["more"].is_object());
    // Nothing is wrong, and a promise is overdue: not everything was checked.
    std::fs::write(folder.path().join("receipts"), &lines[2]).unwrap();
    let given = run(folder.path(), &base);
    assert_eq!(code(&given), 3, "{}", out(&given));
    // Far ahead it is not due.
    let ahead = receipt(&longer, 400, u64::MAX);
    let ahead = serde_json::to_string(&ahead).unwrap();
    std::fs::write(folder.path().join("receipts"), ahead).unwrap();
    let given = run(folder.path(), &base);
    assert_eq!(code(&given), 0, "{}", out(&given));
    assert!(out(&given).contains("1 are not due yet, 0 are overdue"));
    std::fs::write(folder.path().join("receipts"), &lines[0]).unwrap();
    let given = run(folder.path(), &[&base[..], &["--json"]].concat());
    assert_eq!(code(&given), 0);
    assert!(out(&given).contains("\"held\": 1"));
    std::fs::write(folder.path().join("receipts"), "x").unwrap();
    assert_eq!(code(&run(folder.path(), &base)), 2);
}
