//! The witness over real HTTP: its answers, two at once, killed and started again, lied to.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tlog::witness::AddCheckpoint;
use tlog::{
    Checkpoint, Hash, MemoryTree, Note, SigningKey, VerifierKey, leaf_hash, parse_signatures,
};
use ureq::Agent;
use verify::witness::{make_key, origin_hex};

const ORIGIN: &str = "sekisho/07070707070707070707070707070707/1/root";

struct Running {
    child: Child,
    url: String,
    agent: Agent,
}

impl Running {
    fn new(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sekisho-verify"))
            .args(["witness", "run", "--listen", "127.0.0.1:0", "--dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        let config = Agent::config_builder().http_status_as_error(false).build();
        Self {
            child,
            url,
            agent: config.new_agent(),
        }
    }

    fn post(&self, body: &[u8]) -> (u16, String, String) {
        let url = format!("{}/add-checkpoint", self.url);
        let mut response = self.agent.post(&url).send(body).unwrap();
        let kind = response.headers().get("content-type").unwrap();
        let kind = kind.to_str().unwrap().to_owned();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), text, kind)
    }

    fn get(&self, origin: &str) -> (u16, String) {
        let url = format!("{}/checkpoint/{}", self.url, origin_hex(origin));
        let mut response = self.agent.get(&url).call().unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A log of numbered leaves.
fn tree(size: u64, salt: u8) -> MemoryTree {
    let leaf = |i: u64| leaf_hash(&[&i.to_be_bytes()[..], &[salt]].concat());
    MemoryTree::new((0..size).map(leaf).collect())
}

fn key(origin: &str, seed: u8) -> SigningKey {
    SigningKey::new(origin, &[seed; 32]).unwrap()
}

fn note(key: &SigningKey, size: u64, root: Hash) -> Note {
    let checkpoint = Checkpoint::new(key.verifier().name(), size, root).unwrap();
    checkpoint.sign(&[key]).unwrap()
}

fn ask(tree: &MemoryTree, old: u64, key: &SigningKey) -> Vec<u8> {
    let request = AddCheckpoint {
        old_size: old,
        proof: tree.consistency(old).unwrap(),
        checkpoint: note(key, tree.size(), tree.root()),
    };
    request.encode().into_bytes()
}

fn folder() -> (tempfile::TempDir, VerifierKey) {
    let folder = tempfile::tempdir().unwrap();
    let verifier = make_key(folder.path(), "example.com/witness").unwrap();
    let logs = format!("# logs\n\n{}\n", key(ORIGIN, 1).verifier());
    std::fs::write(folder.path().join("logs"), logs).unwrap();
    (folder, verifier)
}

#[test]
fn it_answers_by_the_protocol() {
    let (folder, verifier) = folder();
    let witness = Running::new(folder.path());
    let log = key(ORIGIN, 1);
    assert_eq!(witness.get(ORIGIN).0, 404);

    // 200, with a cosignature that verifies and has a time.
    let (status, lines, _) = witness.post(&ask(&tree(5, 0), 0, &log));
    assert_eq!(status, 200, "{lines}");
    let mut cosigned = note(&log, 5, tree(5, 0).root());
    for line in parse_signatures(&lines).unwrap() {
        cosigned.add(line).unwrap();
    }
    let keys = [log.verifier().clone(), verifier];
    let opened = Checkpoint::open(&cosigned, &keys).unwrap();
    let time = opened.signatures.iter().find_map(|it| it.time).unwrap();
    assert!(time > 1_700_000_000);
    // The newest checkpoint that it cosigned, with the log's signature.
    let (status, text) = witness.get(ORIGIN);
    assert_eq!(status, 200);
    let shown = Note::parse(text.as_bytes()).unwrap();
    let opened = Checkpoint::open(&shown, &keys[..1]).unwrap();
    assert_eq!(opened.checkpoint.size(), 5);

    // 409 with the size; then from there.
    let (status, text, kind) = witness.post(&ask(&tree(9, 0), 3, &log));
    assert_eq!((status, text.as_str()), (409, "5\n"));
    assert_eq!(kind, "text/x.tlog.size");
    assert_eq!(witness.post(&ask(&tree(9, 0), 5, &log)).0, 200);
    // The same again is cosigned again.
    assert_eq!(witness.post(&ask(&tree(9, 0), 9, &log)).0, 200);
    // 404: a log that it does not know. 403: a key that it does not know.
    let other = key("example.com/other", 1);
    assert_eq!(witness.post(&ask(&tree(9, 0), 0, &other)).0, 404);
    assert_eq!(witness.post(&ask(&tree(10, 0), 9, &key(ORIGIN, 2))).0, 403);
    // 422: a fork of the same size, and a fork that grew.
    assert_eq!(witness.post(&ask(&tree(9, 1), 9, &log)).0, 422);
    assert_eq!(witness.post(&ask(&tree(12, 1), 9, &log)).0, 422);
    // 400: no request; an old size above the new one. 413 too long.
    assert_eq!(witness.post(b"hello").0, 400);
    let request = AddCheckpoint {
        old_size: 9,
        proof: Vec::new(),
        checkpoint: note(&log, 5, tree(5, 0).root()),
    };
    assert_eq!(witness.post(request.encode().as_bytes()).0, 400);
    assert_eq!(witness.post(&vec![b'a'; 70_000]).0, 413);
    // Nothing of all that changed what it holds.
    assert!(witness.get(ORIGIN).1.contains("\n9\n"));
    // A new log key counts without a new start.
    let logs = folder.path().join("logs");
    let more = format!(
        "{}{}\n",
        std::fs::read_to_string(&logs).unwrap(),
        key(ORIGIN, 2).verifier()
    );
    std::fs::write(&logs, more).unwrap();
    assert_eq!(witness.post(&ask(&tree(10, 0), 9, &key(ORIGIN, 2))).0, 200);
}

#[test]
fn of_many_at_once_no_two_forks_are_cosigned() {
    let (folder, _) = folder();
    let witness = Running::new(folder.path());
    assert_eq!(witness.post(&ask(&tree(5, 0), 0, &key(ORIGIN, 1))).0, 200);
    let results: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16_u64)
            .map(|i| {
                let witness = &witness;
                scope.spawn(move || {
                    // Each continues the five leaves in another way.
                    let common = tree(5, 0);
                    let mut leaves: Vec<Hash> = (0..5_u64)
                        .map(|i| leaf_hash(&[&i.to_be_bytes()[..], &[0]].concat()))
                        .collect();
                    assert_eq!(MemoryTree::new(leaves.clone()).root(), common.root());
                    leaves.push(leaf_hash(&i.to_be_bytes()));
                    let fork = MemoryTree::new(leaves);
                    witness.post(&ask(&fork, 5, &key(ORIGIN, 1))).0
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(
        results.iter().filter(|status| **status == 200).count(),
        1,
        "{results:?}"
    );
    assert_eq!(
        results.iter().filter(|status| **status == 409).count(),
        15,
        "{results:?}"
    );
}

#[test]
fn killed_at_any_moment_it_remembers_what_it_cosigned() {
    let (folder, _) = folder();
    let log = key(ORIGIN, 1);
    let mut cosigned = 0;
    for round in 1..=12_u64 {
        let mut witness = Running::new(folder.path());
        // What was cosigned is remembered; what was not may be.
        let (status, text) = witness.get(ORIGIN);
        let known = match status {
            404 => 0,
            _ => {
                let note = Note::parse(text.as_bytes()).unwrap();
                Checkpoint::parse(note.text()).unwrap().size()
            }
        };
        assert!(known >= cosigned, "{known} {cosigned}");
        // A fork of anything it cosigned is refused.
        if known > 0 {
            assert_eq!(witness.post(&ask(&tree(known, 9), known, &log)).0, 422);
        }
        for step in 1..=round {
            let (old, new) = (known + step - 1, known + step);
            assert_eq!(witness.post(&ask(&tree(new, 0), old, &log)).0, 200);
            cosigned = new;
        }
        // Killed while a request is under way.
        let url = format!("{}/add-checkpoint", witness.url);
        let body = ask(&tree(cosigned + 1, 0), cosigned, &log);
        let agent = witness.agent.clone();
        let thread = std::thread::spawn(move || {
            agent
                .post(&url)
                .send(&body[..])
                .is_ok_and(|it| it.status() == 200)
        });
        witness.child.kill().unwrap();
        witness.child.wait().unwrap();
        cosigned += u64::from(thread.join().unwrap());
    }
}

#[test]
fn two_on_one_folder_are_refused_and_a_key_that_others_can_read() {
    use crate::web::{code, err, run};
    let (folder, _) = folder();
    let witness = Running::new(folder.path());
    let path = folder.path().to_str().unwrap();
    let second = run(
        folder.path(),
        &["witness", "run", "--dir", path, "--listen", "127.0.0.1:0"],
    );
    assert_eq!(code(&second), 2);
    assert!(
        err(&second).contains("in use by another witness"),
        "{}",
        err(&second)
    );
    drop(witness);
    // An existing key is never replaced.
    let again = run(
        folder.path(),
        &["witness", "key", "--dir", path, "--name", "example.com/w"],
    );
    assert_eq!(code(&again), 2);
    let shown = run(folder.path(), &["witness", "show", "--dir", path]);
    assert_eq!(code(&shown), 0);
    assert!(crate::web::out(&shown).starts_with("example.com/witness+"));
    assert!(!crate::web::out(&shown).contains("PRIVATE"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = folder.path().join("witness.key");
        assert_eq!(
            std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = run(folder.path(), &["witness", "run", "--dir", path]);
        assert_eq!(code(&refused), 2);
        assert!(
            err(&refused).contains("can be read by others"),
            "{}",
            err(&refused)
        );
    }
}

#[test]
fn damaged_memory_stops_a_start() {
    use crate::web::{code, err, run};
    let (folder, _) = folder();
    drop({
        let witness = Running::new(folder.path());
        assert_eq!(witness.post(&ask(&tree(5, 0), 0, &key(ORIGIN, 1))).0, 200);
        witness
    });
    let head = folder.path().join("heads").join(origin_hex(ORIGIN));
    std::fs::write(&head, "").unwrap();
    let path = folder.path().to_str().unwrap();
    let refused = run(folder.path(), &["witness", "run", "--dir", path]);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("what was remembered is damaged"),
        "{}",
        err(&refused)
    );
}
