//! Programs that nobody here wrote check our logs: Go's `sumdb/tlog` and `sumdb/note`, and pymerkle.

// Everything here is a test.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use event::record::{Body, Change};
use event::{ActorId, ClientId, Digest, LogId, Plain, SessionId};
use ledger::logs::{Generation, LogKeys, Logs, Setup, Tree};
use ledger::{ListClosed, ListSealer, Options, Recorder};
use tlog::{Frontier, SigningKey, leaf_hash};
use zeroize::Zeroizing;

const ENTRIES: u64 = 70_000;
const SEED: [u8; 32] = [3; 32];

struct NoLists;

impl ListSealer for NoLists {
    fn seal_list(
        &self,
        _client: ClientId,
        _month: u32,
        _commitment: &Digest,
        _plaintext: &[u8],
    ) -> Result<Vec<u8>, ListClosed> {
        Err(ListClosed::Failed("there are none".into()))
    }

    fn open_list(
        &self,
        _client: ClientId,
        _month: u32,
        _commitment: &Digest,
        _sealed: &[u8],
    ) -> Result<Plain<Vec<u8>>, ListClosed> {
        Err(ListClosed::Failed("there are none".into()))
    }
}

/// A ledger with one client whose log has a little more than [`ENTRIES`] entries; its id.
async fn write_ledger(folder: &Path) -> [u8; 16] {
    let options = Options::default();
    Recorder::create(folder, "Judged", &options).unwrap();
    let (recorder, _) = Recorder::open(folder, Arc::new(NoLists), options).unwrap();
    let handle = recorder.handle();
    let client = ClientId::new(1).unwrap();
    let added = Change::ClientAdded {
        client,
        code: "one".into(),
        name: "One".into(),
    };
    handle.propose(ActorId(1), added).await.unwrap();
    let setup = Setup {
        salt: Zeroizing::new([9; 32]),
        keys: Arc::new(|_| Ok(LogKeys::new(vec![Zeroizing::new(SEED)]))),
        witnesses: None,
        authority: None,
        say: Arc::new(|line| panic!("{line}")),
    };
    let logs = Logs::start(folder, recorder.handle(), setup, &mut |_, _| {})
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64 {
        let handle = handle.clone();
        tasks.spawn(async move {
            for session in (task..ENTRIES).step_by(64) {
                let body = Body::SessionClosed {
                    session: SessionId(session),
                };
                handle.record(LogId::Client(client), body).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let ledger = handle.state().ledger;
    recorder.close();
    logs.finish().await.unwrap();
    ledger
}

fn run(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}; `.ci/run` installs it"))
}

fn build_judge(folder: &Path) -> PathBuf {
    let program = folder.join("checklog");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges/checklog.go");
    let output = run(Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(source)
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOFLAGS", "")
        .env("GOCACHE", folder.join("cache")));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    program
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A bundle with its entries changed.
fn alter_entries(path: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    alter(path, |bytes| {
        let found = tlog::bundle::entries(bytes).map(|entry| entry.unwrap().to_vec());
        let mut entries: Vec<Vec<u8>> = found.collect();
        change(&mut entries);
        bytes.clear();
        for entry in entries {
            tlog::bundle::append(bytes, &entry).unwrap();
        }
    });
}

type Mutation = (&'static str, fn(&Path));

const MUTATIONS: [Mutation; 11] = [
    ("a byte of an entry", |log| {
        alter(&log.join("tile/entries/100"), |bytes| bytes[30] ^= 1);
    }),
    ("an entry dropped", |log| {
        alter_entries(&log.join("tile/entries/017"), |entries| {
            entries.remove(3);
        });
    }),
    ("two entries swapped", |log| {
        alter_entries(&log.join("tile/entries/017"), |entries| entries.swap(3, 4));
    }),
    ("an entry in another's place", |log| {
        alter_entries(&log.join("tile/entries/017"), |entries| {
            entries[9] = entries[8].clone();
        });
    }),
    ("a bundle cut off", |log| {
        alter(&log.join("tile/entries/200"), |bytes| {
            bytes.truncate(bytes.len() - 1);
        });
    }),
    ("a bundle missing", |log| {
        fs::remove_file(log.join("tile/entries/201")).unwrap();
    }),
    ("a leaf hash in a tile", |log| {
        alter(&log.join("tile/0/050"), |bytes| bytes[320] ^= 0x80);
    }),
    ("a hash in an upper tile", |log| {
        alter(&log.join("tile/1/000"), |bytes| bytes[64] ^= 1);
    }),
    ("a smaller size in the checkpoint", |log| {
        alter(&log.join("checkpoint"), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let size = text.lines().nth(1).unwrap();
            let less = (size.parse::<u64>().unwrap() - 1).to_string();
            *bytes = text.replacen(size, &less, 1).into_bytes();
        });
    }),
    ("another root in the checkpoint", |log| {
        alter(&log.join("checkpoint"), |bytes| {
            let line = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let at = line.map(|(at, _)| at).nth(1).unwrap() + 1;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        });
    }),
    ("the checkpoint of the centre's log", |log| {
        let other = log.parent().unwrap().parent().unwrap();
        fs::copy(other.join("centre/checkpoint"), log.join("checkpoint")).unwrap();
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn go_accepts_our_log_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = write_ledger(&folder.path().join("ledger")).await;
    let judge = build_judge(folder.path());
    let generation = Generation { ledger, number: 1 };
    let origin = generation.origin(Tree::client(ClientId::new(1).unwrap()));
    let vkey = SigningKey::new(&origin, &SEED)
        .unwrap()
        .verifier()
        .to_string();
    let logs = folder.path().join("ledger/logs");
    let output = run(Command::new(&judge).arg(logs.join("client/1")).arg(&vkey));
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{errors}");
    // The one that opened the log, too.
    assert!(said.contains(&format!("{} entries", ENTRIES + 1)), "{said}");
    for (name, mutate) in MUTATIONS {
        let altered = folder.path().join("altered");
        let log = altered.join("client/1");
        copy(&logs.join("client/1"), &log);
        copy(&logs.join("centre"), &altered.join("centre"));
        mutate(&log);
        let output = run(Command::new(&judge).arg(&log).arg(&vkey));
        assert_eq!(output.status.code(), Some(1), "{name} was accepted");
        fs::remove_dir_all(altered).unwrap();
    }
}

#[test]
fn pymerkle_has_our_roots() {
    let folder = tempfile::tempdir().unwrap();
    let venv = folder.path().join("venv");
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    assert!(made.status.success(), "{made:?}");
    let installed =
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "pymerkle==6.1.0"]));
    assert!(installed.status.success(), "{installed:?}");
    let (mut entries, mut heads) = (Vec::new(), String::new());
    let mut frontier = Frontier::new();
    for number in 0_u32..1_500 {
        let entry = number.to_be_bytes().repeat((number % 90) as usize);
        entries.extend_from_slice(&(entry.len() as u32).to_be_bytes());
        entries.extend_from_slice(&entry);
        frontier.push(leaf_hash(&entry));
        let root = frontier.root();
        let root: String = root.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        if number % 7 == 0 || number < 70 {
            heads += &format!("{} {root}\n", frontier.size());
        }
    }
    let (data, lines) = (folder.path().join("entries"), folder.path().join("heads"));
    fs::write(&data, entries).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges/check.py");
    let python = venv.join("bin/python");
    let judge = || run(Command::new(&python).arg(&script).arg(&data).arg(&lines));
    fs::write(&lines, &heads).unwrap();
    let output = judge();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // It can refuse.
    let last = heads.trim_end().rfind(' ').unwrap() + 1;
    let digit = if heads.as_bytes()[last] == b'0' {
        "1"
    } else {
        "0"
    };
    heads.replace_range(last..=last, digit);
    fs::write(&lines, &heads).unwrap();
    assert!(!judge().status.success());
}
