//! Time stamps of a real authority (`openssl ts`) over made-up logs, and what can be done to them.

use base64_simd::STANDARD;
use stamp::{INDEX, Index, Line, Over, Roots, Token, request, sha256};
use verify::check::{Checked, Question, check};
use verify::key::KeyFile;
use verify::lang::Lang;
use verify::places::{self, Tree};
use verify::stamps::{self, Stamped};
use verify::state::Remembered;
use verify::store::Memory;
use verify::time::At;

use crate::authority::{Authority, EC, Plan, USUAL};
use crate::producer::{LEAF_MS, LEDGER, START_MS, World};

const DAY_MS: u64 = 86_400_000;
/// The authority's first signer: its certificate ends soon.
const SHORT: Plan = Plan {
    key: EC,
    days: 30,
    ..USUAL
};
const LONG: Plan = Plan {
    key: EC,
    days: 3650,
    ..USUAL
};
/// Sizes of the root log that are stamped; the last one by the second signer.
const SIZES: [u64; 3] = [7, 31, 55];

fn clock(ms: u64) -> String {
    At(ms).to_string().replace(" UTC", "")
}

/// The wall clock of the last of so many leaves.
fn wall(size: u64) -> u64 {
    START_MS + (size - 1) * LEAF_MS
}

/// A log with its stamps.
struct Rig {
    dir: tempfile::TempDir,
    world: World,
    authority: Authority,
    roots: Roots,
    files: Memory,
    lines: Vec<Line>,
}

/// The checkpoint of so many leaves, as it was kept.
fn note(files: &Memory, generation: u32, size: u64) -> String {
    let origin = format!("{}\n", places::origin(&LEDGER, generation, Tree::Root));
    let days = files
        .0
        .iter()
        .filter(|it| it.0.starts_with("root/cosigned/"));
    let text: String = days.map(|it| String::from_utf8_lossy(it.1)).collect();
    let mut notes = text
        .split(&origin)
        .filter(|it| it.starts_with(&format!("{size}\n")));
    format!("{origin}{}", notes.next().unwrap())
}

impl Rig {
    fn new() -> Self {
        let world = World::new(300, 60);
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new_at(dir.path(), SHORT, Some(clock(START_MS)));
        let mut it = Self {
            roots: Roots::from_pem(&authority.root()).unwrap(),
            files: world.publish(),
            dir,
            world,
            authority,
            lines: Vec::new(),
        };
        for size in &SIZES[..2] {
            it.stamp(*size);
        }
        it.authority.sign_with(LONG, "root");
        it.stamp(SIZES[2]);
        it
    }

    fn stamp(&mut self, size: u64) {
        let text = note(&self.files, self.world.generation, size);
        self.stamp_text(size, text, wall(size) + 2_000);
    }

    fn stamp_text(&mut self, size: u64, note: String, at_ms: u64) {
        let over = Over::Checkpoint(size);
        self.add(over, note.as_bytes(), at_ms);
        self.files.0.insert(over.note().unwrap(), note.into_bytes());
    }

    /// Stamps the index again.
    fn renew(&mut self, at_ms: u64) {
        let text = self.text();
        self.add(Over::Index(self.lines.len() as u64), text.as_bytes(), at_ms);
    }

    fn add(&mut self, over: Over, bytes: &[u8], at_ms: u64) {
        self.authority.set_clock(clock(at_ms));
        let digest = sha256(bytes);
        let token = self.authority.answer(&request(&digest, 7));
        let stamp = Token::parse(&token).unwrap();
        let stamp = stamp.check(&digest, Some(7), &self.roots).unwrap();
        assert_eq!(stamp.time_ms / 1000, at_ms / 1000);
        self.lines.push(Line {
            over,
            time_ms: stamp.time_ms,
            until_ms: stamp.until_ms,
            digest: sha256(&token),
        });
        self.files.0.insert(over.token(), token);
        self.list();
    }

    fn text(&self) -> String {
        self.lines.iter().map(Line::to_string).collect()
    }

    /// Writes the index.
    fn list(&mut self) {
        self.files.0.insert(INDEX.into(), self.text().into_bytes());
    }

    /// Puts another token in, and lists it, so that only the token itself is wrong.
    fn exchange(&mut self, number: usize, token: Vec<u8>) {
        self.lines[number].digest = sha256(&token);
        self.files.0.insert(self.lines[number].over.token(), token);
        self.list();
    }

    fn file(&mut self, path: &str) -> &mut Vec<u8> {
        self.files.0.get_mut(path).unwrap()
    }

    fn look_at(
        &self,
        now_ms: u64,
        remembered: Option<&Remembered>,
        roots: Option<&Roots>,
    ) -> (Checked, Option<Stamped>) {
        look(
            &self.world.key_file(),
            &self.files,
            (now_ms, remembered),
            roots,
        )
    }

    fn look(&self) -> (Checked, Option<Stamped>) {
        self.look_at(self.world.now_ms(), None, Some(&self.roots))
    }

    fn says(&self) -> String {
        said(&self.look().0)
    }
}

fn look(
    key_file: &KeyFile,
    files: &Memory,
    (now_ms, remembered): (u64, Option<&Remembered>),
    roots: Option<&Roots>,
) -> (Checked, Option<Stamped>) {
    let question = Question {
        key_file,
        store: files,
        remembered,
        whole: false,
        now_ms,
        current: false,
    };
    let mut checked = check(question, &mut |_| {}).unwrap();
    let stamped = stamps::check(question, roots, &mut checked);
    (checked, stamped)
}

fn said(checked: &Checked) -> String {
    let lines = checked.problems.found().iter();
    let lines = lines.filter(|it| it.code() != "old" && it.code() != "pending");
    let lines: Vec<String> = lines
        .map(|it| format!("{}: {}", it.code(), it.say(Lang::En)))
        .collect();
    lines.join("\n")
}

#[test]
fn honest_stamps_prove_existence() {
    let mut rig = Rig::new();
    let (checked, stamped) = rig.look();
    assert_eq!(said(&checked), "");
    let stamped = stamped.unwrap();
    assert_eq!((stamped.stamps, stamped.checked), (3, 3));
    assert!(stamped.authority.contains("Test TSA"), "{stamped:?}");
    let proven = stamped.proven.unwrap();
    assert_eq!((proven.leaves, proven.at_ms), (55, wall(55) + 2_000));
    // A second look reads the newest again, and what is new.
    let remembered = checked.remember.unwrap();
    let now = rig.world.now_ms();
    let again = rig.look_at(now, Some(&remembered), Some(&rig.roots));
    assert_eq!(said(&again.0), "");
    assert_eq!(again.1.unwrap().checked, 1);
    rig.renew(wall(59));
    let again = rig.look_at(now, Some(&remembered), Some(&rig.roots));
    assert_eq!(said(&again.0), "");
    assert_eq!(again.1.unwrap().checked, 2);
    // What was seen may not change.
    let mut other = rig.lines.clone();
    other.remove(0);
    other.pop();
    std::mem::swap(&mut rig.lines, &mut other);
    rig.list();
    let again = rig.look_at(now, Some(&remembered), Some(&rig.roots));
    assert!(
        said(&again.0).starts_with("stamps-rewritten"),
        "{}",
        said(&again.0)
    );
    assert_eq!(again.0.remember, None);
    rig.files.0.remove(INDEX);
    let again = rig.look_at(now, Some(&remembered), Some(&rig.roots));
    assert!(
        said(&again.0).starts_with("stamps-rewritten"),
        "{}",
        said(&again.0)
    );
}

#[test]
fn without_roots_it_says_that_nothing_was_checked() {
    let rig = Rig::new();
    let (checked, stamped) = rig.look_at(rig.world.now_ms(), None, None);
    assert_eq!(stamped, None);
    assert!(
        said(&checked).starts_with("stamps-unchecked: 3 time stamps"),
        "{}",
        said(&checked)
    );
    assert!(checked.is_verified());
}

#[test]
fn what_ends_is_said_unless_it_was_renewed_in_time() {
    let mut rig = Rig::new();
    let later = START_MS + 40 * DAY_MS;
    let (checked, stamped) = rig.look_at(later, None, Some(&rig.roots));
    let says = said(&checked);
    let expected =
        "stamps-expired: 2 time stamps prove nothing any more (the first is root/timestamps/7.tsr)";
    assert!(says.starts_with(expected), "{says}");
    assert!(checked.is_verified());
    assert_eq!(stamped.unwrap().proven.unwrap().leaves, 55);
    let (checked, stamped) = rig.look_at(START_MS + 5000 * DAY_MS, None, Some(&rig.roots));
    assert!(
        said(&checked).starts_with("stamps-expired: 3"),
        "{}",
        said(&checked)
    );
    assert_eq!(stamped.unwrap().proven, None);
    rig.renew(wall(59));
    assert_eq!(said(&rig.look_at(later, None, Some(&rig.roots)).0), "");
    // The renewal is over the index as it was: another line before it, and it is over something else.
    rig.lines[0].time_ms -= 1000;
    rig.list();
    let says = rig.says();
    assert!(
        says.contains("stamp-token: the time stamp root/timestamps/3.again.tsr"),
        "{says}"
    );
    assert!(
        says.contains("stamp-listed: the time stamp root/timestamps/7.tsr"),
        "{says}"
    );
}

#[test]
fn a_renewal_that_came_too_late_proves_nothing() {
    let mut rig = Rig::new();
    rig.renew(START_MS + 35 * DAY_MS);
    let says = said(
        &rig.look_at(START_MS + 40 * DAY_MS, None, Some(&rig.roots))
            .0,
    );
    assert!(says.starts_with("stamps-expired: 2"), "{says}");
}

#[test]
fn every_forgery_is_named() {
    type Change = fn(&mut Rig);
    let all: [(&str, Change, &str); 11] = [
        (
            "an edited token",
            |rig| {
                let mut token = rig.file("root/timestamps/31.tsr").clone();
                *token.last_mut().unwrap() ^= 1;
                rig.exchange(1, token);
            },
            "stamp-token: the time stamp root/timestamps/31.tsr does not count: its signature does not verify",
        ),
        (
            "swapped tokens",
            |rig| {
                let first = rig.file("root/timestamps/7.tsr").clone();
                let second = std::mem::replace(rig.file("root/timestamps/31.tsr"), first);
                *rig.file("root/timestamps/7.tsr") = second;
            },
            "stamp-token: the time stamp root/timestamps/7.tsr does not count: it stamps something else",
        ),
        (
            "a token with its note of another size",
            |rig| {
                for kind in ["tsr", "note"] {
                    let other = rig.file(&format!("root/timestamps/7.{kind}")).clone();
                    *rig.file(&format!("root/timestamps/31.{kind}")) = other;
                }
            },
            "stamp-listed: the time stamp root/timestamps/31.tsr",
        ),
        (
            "the same, listed",
            |rig| {
                for kind in ["tsr", "note"] {
                    let other = rig.file(&format!("root/timestamps/7.{kind}")).clone();
                    *rig.file(&format!("root/timestamps/31.{kind}")) = other;
                }
                let over = rig.lines[1].over;
                rig.lines[1] = Line {
                    over,
                    ..rig.lines[0]
                };
                rig.list();
            },
            "stamp-note: root/timestamps/31.note, the checkpoint that was stamped, does not count: it is of 7 leaves",
        ),
        (
            "another authority of the same name",
            |rig| {
                let dir = rig.dir.path().join("other");
                let at = clock(wall(31) + 2_000);
                let other = Authority::new_at(&dir, LONG, Some(at));
                let digest = sha256(rig.file("root/timestamps/31.note"));
                let token = other.answer(&request(&digest, 7));
                rig.exchange(1, token);
            },
            "stamp-token: the time stamp root/timestamps/31.tsr does not count: its authority is not one of those to trust",
        ),
        (
            "a checkpoint of another history",
            |rig| {
                let size = SIZES[2] + 1;
                let forged = rig
                    .world
                    .sign(Tree::Root, size, tlog::Hash([9; 32]), wall(size));
                rig.stamp_text(size, forged.to_string(), wall(size) + 2_000);
            },
            "stamp-forked: root/timestamps/56.note",
        ),
        (
            "a checkpoint of somebody else's",
            |rig| {
                let size = SIZES[2] + 1;
                let mut other = rig.world.clone();
                other.keys[0].seed = [99; 32];
                other.keys[1].seed = [99; 32];
                let forged = other.sign(Tree::Root, size, tlog::Hash([9; 32]), wall(size));
                rig.stamp_text(size, forged.to_string(), wall(size) + 2_000);
            },
            "stamp-note: root/timestamps/56.note",
        ),
        (
            "a log that was written later than it says",
            |rig| {
                let text = note(&rig.files, 1, SIZES[2]);
                rig.lines.pop();
                rig.stamp_text(SIZES[2], text, wall(SIZES[2]) + 3_600_000);
            },
            "stamp-time: root/timestamps/55.tsr: the authority says 2026-04-01 01:09:00 UTC, the log itself 2026-04-01 00:09:00 UTC",
        ),
        (
            "a line of the index that says another end",
            |rig| {
                rig.lines[0].until_ms += DAY_MS;
                rig.list();
            },
            "stamp-listed: the time stamp root/timestamps/7.tsr",
        ),
        (
            "a damaged index",
            |rig| {
                rig.file(INDEX)[0] = b'X';
            },
            "stamp-index: root/timestamps/index is damaged: line 1",
        ),
        (
            "a token that is withheld",
            |rig| {
                rig.files.0.remove("root/timestamps/31.tsr");
            },
            "missing: root/timestamps/31.tsr is missing",
        ),
    ];
    for (name, change, says) in all {
        let mut rig = Rig::new();
        change(&mut rig);
        let (checked, stamped) = rig.look();
        assert!(said(&checked).contains(says), "{name}: {}", said(&checked));
        assert_eq!((checked.remember, stamped), (None, None), "{name}");
    }
}

/// An older copy, with stamps of what it lacks.
#[test]
fn a_log_that_was_cut_off_below_a_stamp_is_named() {
    let rig = Rig::new();
    let mut older = rig.world.clone();
    let sizes = older.leaves[39].sizes.clone();
    older.leaves.truncate(40);
    older.kept.retain(|it| it.0 <= 40);
    for (log, size) in older.logs.iter_mut().zip(sizes) {
        log.entries.truncate(size as usize);
        log.lists.retain(|it| it.0 < size);
    }
    let mut files = older.publish();
    let stamps = rig
        .files
        .0
        .iter()
        .filter(|it| it.0.starts_with("root/timestamps/"));
    files
        .0
        .extend(stamps.map(|(path, bytes)| (path.clone(), bytes.clone())));
    let now = older.now_ms();
    let (checked, _) = look(&older.key_file(), &files, (now, None), Some(&rig.roots));
    let expected = "stamped-more: root/timestamps/55.tsr: an authority stamped a root log of 55 leaves, but only 40";
    assert!(said(&checked).contains(expected), "{}", said(&checked));
}

#[test]
fn a_key_file_promises_stamps() {
    let rig = Rig::new();
    let mut lines = "timestamp-ms-max 240000\n".to_owned();
    for root in rig.roots.certificates() {
        lines += &format!("timestamp-root {}\n", STANDARD.encode_to_string(root));
    }
    let text = rig.world.key_text("client 1 acme");
    let text = text.replace(
        "heartbeat-ms-max 180000\n",
        &format!("heartbeat-ms-max 180000\n{lines}"),
    );
    let key_file = KeyFile::parse(&text).unwrap();
    let promised = key_file.timestamps.clone().unwrap();
    assert_eq!((promised.ms_max, &promised.roots), (240_000, &rig.roots));
    let now = rig.world.now_ms();
    let (checked, _) = look(&key_file, &rig.files, (now, None), Some(&promised.roots));
    assert_eq!(said(&checked), "");
    // The newest one is withheld.
    let mut fewer = rig.files.clone();
    let index: String = rig.lines[..2].iter().map(Line::to_string).collect();
    assert!(Index::parse(&index).is_ok());
    fewer.0.insert(INDEX.into(), index.into_bytes());
    let (checked, _) = look(&key_file, &fewer, (now, None), Some(&promised.roots));
    assert!(
        said(&checked).starts_with("unstamped: no authority has stamped"),
        "{}",
        said(&checked)
    );
    // One between is missing: the time without is named, once.
    let index: String = [0, 2].map(|at| rig.lines[at].to_string()).concat();
    fewer.0.insert(INDEX.into(), index.into_bytes());
    let (checked, _) = look(&key_file, &fewer, (now, None), Some(&promised.roots));
    assert_eq!(
        said(&checked),
        "stamp-gap: no authority stamped the root log from 2026-04-01 00:01:02 UTC to 2026-04-01 \
         00:09:02 UTC, for 8 min 0 s; at least every 4 min 0 s is promised"
    );
    let seen = checked.remember.unwrap();
    let (checked, _) = look(&key_file, &fewer, (now, Some(&seen)), Some(&promised.roots));
    assert_eq!(said(&checked), "");
    fewer.0.remove(INDEX);
    let (checked, _) = look(&key_file, &fewer, (now, None), Some(&promised.roots));
    assert!(
        said(&checked).starts_with("never-stamped"),
        "{}",
        said(&checked)
    );
    // Roots were given, and nothing was promised: that there are no stamps is said, too.
    let silent = rig.world.key_file();
    let (checked, _) = look(&silent, &fewer, (now, None), Some(&promised.roots));
    assert!(
        said(&checked).starts_with("stamps-absent: --timestamp-roots was given"),
        "{}",
        said(&checked)
    );
    assert_eq!(said(&look(&silent, &fewer, (now, None), None).0), "");
    for bad in [
        "timestamp-ms-max x\n",
        "timestamp-ms-max 240000\n\n",
        "timestamp-ms-max 240000\ntimestamp-root AAAA\n",
    ] {
        let text = text.replace(&lines, bad);
        assert!(KeyFile::parse(&text).is_err(), "{bad}");
    }
}

/// Stamps over root logs of the generation before are counted, compared with nothing, and prove
/// nothing of this log; those of this one do, and nothing excuses one of a generation to come.
#[test]
fn stamps_of_an_earlier_generation_are_told_apart() {
    let mut rig = Rig::new();
    let first = rig.files.clone();
    let next = World {
        generation: 2,
        ..World::new(320, 80)
    };
    let stamps = first
        .0
        .iter()
        .filter(|it| it.0.starts_with("root/timestamps/"));
    let mut files = next.publish();
    for (path, bytes) in stamps {
        files.0.insert(path.clone(), bytes.clone());
    }
    (rig.files, rig.world) = (files, next);
    let (checked, stamped) = rig.look();
    assert_eq!(
        said(&checked),
        "stamps-of-before: 3 time stamps are over root logs of an earlier generation: their \
         checkpoints were not compared with this log"
    );
    assert!(checked.is_verified());
    assert_eq!(stamped.unwrap().proven, None);
    // The root log has outgrown them: it is stamped again.
    rig.stamp(67);
    let (checked, stamped) = rig.look();
    assert!(
        said(&checked).starts_with("stamps-of-before: 3 "),
        "{}",
        said(&checked)
    );
    assert_eq!(stamped.unwrap().proven.unwrap().leaves, 67);
    // By what it says of itself alone: a stamp of this generation over another log is no such thing.
    let mut other = rig.world.clone();
    other.leaves[10].slots = 128;
    let forged = note(&other.publish(), 2, 73);
    rig.stamp_text(73, forged, wall(73) + 2_000);
    let says = rig.says();
    assert!(
        says.contains("stamp-forked: root/timestamps/73.note"),
        "{says}"
    );
    // Nor is one of a later generation, seen with the key file of an earlier.
    let mut earlier = Rig::new();
    let later = note(&rig.files, 2, 61);
    earlier.lines.pop();
    earlier.stamp_text(59, later, wall(61) + 2_000);
    let says = earlier.says();
    assert!(
        says.contains("stamp-note: root/timestamps/59.note"),
        "{says}"
    );
}
