//! The ledger as its users see it: a client checks its log with the real `sekisho-verify`, witnesses
//! cosign, and an administrator who rewrites, drops, restores or withholds is found (attacks 19, 20
//! and 22 of the design).

mod archive;
mod disaster;
mod s3;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use crate::centre::{Centre, DEADLINE, Plan, free_port, unlimited};
use crate::verifier::{self, Client, verify};
use serde_json::Value;
use tokio::process::{Child, Command};

const PLAN: Plan<'_> = Plan {
    name: "ledger",
    clients: 2,
    customers: 40,
    canaries: 0,
    people: &[("tanaka", "operator", "1,2")],
    numbers: budget::Numbers {
        entries_max: 0,
        free_text_bytes_per_subject: 1,
        client: budget::ClientNumbers {
            subjects: budget::Limits::ZERO,
            probes: budget::Limits::ZERO,
            masked: budget::Limits::ZERO,
        },
        roles: std::collections::BTreeMap::new(),
    },
    limits: "",
    segment_bytes: 1 << 20,
};

/// Looks one customer of client 1 up, by his number.
async fn look_up(centre: &Centre, number: i64) {
    let driver = centre.connect("tanaka").await;
    let sql = format!(
        "SELECT name, phone FROM customers WHERE id = {}",
        1_000_000 + number
    );
    let rows = driver.simple_query(&sql).await.unwrap();
    assert!(rows.len() > 1, "there is such a customer");
}

async fn set_up(name: &'static str) -> (Centre, tempfile::TempDir) {
    let plan = Plan {
        name,
        numbers: unlimited(),
        ..PLAN
    };
    (Centre::set_up(&plan).await, tempfile::tempdir().unwrap())
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(done.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_checks_its_log_and_finds_what_was_done_to_it() {
    let (mut centre, folder) = set_up("ledger-check").await;
    let client = Client::new(&centre, folder.path(), "c01").await;
    centre.start().await;
    look_up(&centre, 1).await;
    centre.stop().await;
    client.export(&centre).await;
    client.holds();
    let yesterday = folder.path().join("yesterday");
    copy(Path::new(&client.copy), &yesterday);

    centre.start().await;
    for number in 2..12 {
        look_up(&centre, number).await;
    }
    centre.stop().await;
    client.export(&centre).await;
    client.holds();

    // One record, proved to an outsider without a network.
    let proof = folder.path().join("seen.proof").display().to_string();
    let made = [
        "log", "proof", "--client", "c01", "--index", "3", "--out", &proof,
    ];
    centre.run(&made, "").await.unwrap();
    let (status, said) = verify(&["proof", &proof, "--key", &client.key]);
    assert_eq!(status, 0, "{said:#}");

    // The report counts those eleven.
    let report = ["report", "--key", &client.key, "--from", &client.copy];
    let (status, said) = verify(&report);
    assert_eq!(status, 0, "{said:#}");
    assert!(said.to_string().contains("\"operator\""), "{said:#}");

    // The administrator restores yesterday's files.
    let whole = folder.path().join("whole");
    copy(Path::new(&client.copy), &whole);
    let restore = |from: &Path| {
        std::fs::remove_dir_all(&client.copy).unwrap();
        copy(from, Path::new(&client.copy));
    };
    restore(&yesterday);
    let said = client.is_wrong("yesterday's files");
    assert!(
        said.to_string().contains("older") || said.to_string().contains("smaller"),
        "{said:#}"
    );

    // He alters one record, or drops one.
    restore(&whole);
    let entries = newest_bundle(Path::new(&client.copy));
    let bytes = std::fs::read(&entries).unwrap();
    let mut altered = bytes.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    std::fs::write(&entries, altered).unwrap();
    client.is_wrong("an altered record");
    let kept: Vec<Vec<u8>> = tlog::bundle::entries(&bytes)
        .map(|entry| entry.unwrap().to_vec())
        .enumerate()
        .filter(|(place, _)| *place != 4)
        .map(|(_, entry)| entry)
        .collect();
    let mut dropped = Vec::new();
    for entry in kept {
        tlog::bundle::append(&mut dropped, &entry).unwrap();
    }
    std::fs::write(&entries, dropped).unwrap();
    client.is_wrong("a dropped record");
    restore(&whole);
    client.holds();

    // Another's key file opens nothing.
    let other = folder.path().join("c02.sekisho").display().to_string();
    centre
        .run(&["ledger", "key-file", "c02", "--out", &other], "")
        .await
        .unwrap();
    let (status, _) = verify(&["check", "--key", &other, "--from", &client.copy]);
    assert_ne!(status, 0);
}

fn newest_bundle(copy: &Path) -> PathBuf {
    let folder = copy.join("client/1/tile/entries/000.p");
    let widest = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .max_by_key(|name| name.parse::<u32>().unwrap());
    folder.join(widest.unwrap())
}

/// A witness of the client's own.
struct Witness {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Witness {
    async fn new(centre: &Centre, folder: &Path, name: &str) -> (Self, String) {
        let witness = Self {
            folder: folder.join(name),
            port: free_port(),
            child: None,
        };
        let output = Command::new(verifier::program())
            .args(["witness", "key", "--name", name, "--dir"])
            .arg(&witness.folder)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        let vkey = said
            .split_whitespace()
            .find(|word| word.starts_with(name) && word.contains('+'))
            .unwrap_or_else(|| panic!("no vkey in {said}"));
        let logs = centre.run(&["ledger", "vkey"], "").await.unwrap();
        std::fs::write(witness.folder.join("logs"), logs).unwrap();
        let line = format!("witness {name} {vkey} http://127.0.0.1:{}\n", witness.port);
        (witness, line)
    }

    async fn start(&mut self) {
        let child = Command::new(verifier::program())
            .args([
                "witness",
                "run",
                "--listen",
                &format!("127.0.0.1:{}", self.port),
                "--dir",
            ])
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
            assert!(began.elapsed() < DEADLINE, "the witness is not up");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }
}

/// Adds witnesses to the configuration.
fn name_witnesses(centre: &Centre, policy: &str, numbers: &str) {
    std::fs::write(centre.dir.join("witnesses.policy"), policy).unwrap();
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.split("[logs]").next().unwrap().to_owned();
    let logs = format!("\n[logs]\nwitnesses = \"witnesses.policy\"\n{numbers}");
    std::fs::write(path, text + &logs).unwrap();
}

/// Waits until the published checkpoint of the root log has a cosignature of that witness.
async fn cosigned(centre: &Centre, name: &str) {
    let began = Instant::now();
    let path = centre.dir.join("ledger/logs/root/checkpoint");
    loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.contains(&format!("— {name} ")) {
            return;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "no cosignature: {text}\n{}",
            centre.said()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// `serve` ends by itself, and says why.
async fn refuses_to_start(centre: &mut Centre) -> String {
    centre.spawn();
    let status = centre.ended().await;
    assert!(!status.success(), "it started");
    centre.said()
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_bind_the_centre() {
    let (mut centre, folder) = set_up("ledger-witness").await;
    let (mut witness, line) = Witness::new(&centre, folder.path(), "client.example/w").await;
    let policy = format!("{line}quorum client.example/w\n");
    name_witnesses(
        &centre,
        &policy,
        "uncovered_subjects_max = 5\nuncovered_wait_ms_max = 8000\n",
    );
    witness.start().await;
    centre.start().await;
    let client = Client::new(&centre, folder.path(), "c01").await;
    let ledger = centre.dir.join("ledger");
    let backup = folder.path().join("backup");
    for number in 1..4 {
        look_up(&centre, number).await;
    }
    cosigned(&centre, "client.example/w").await;
    centre.stop().await;
    copy(&ledger, &backup);
    client.export(&centre).await;
    let said = client.holds();
    assert!(!said.to_string().contains("names no witness"), "{said:#}");

    // While the witness is gone, so much is exposed and no more; the rest of the work goes on.
    centre.start().await;
    look_up(&centre, 4).await;
    cosigned(&centre, "client.example/w").await;
    witness.kill().await;
    let driver = centre.connect("tanaka").await;
    let mut seen = 0;
    let refused = loop {
        let sql = format!("SELECT name FROM customers WHERE id = {}", 1_000_010 + seen);
        match driver.simple_query(&sql).await {
            Ok(_) => seen += 1,
            Err(error) => break error,
        }
        assert!(seen < 20, "nothing stops at the cap");
    };
    let refused = refused
        .as_db_error()
        .expect("an answer of the gate")
        .clone();
    assert_eq!(refused.code().code(), "57P03", "{refused:?}");
    assert!((4..=6).contains(&seen), "{seen}");
    // Nor is a restart a way to expose as much again.
    drop(driver);
    centre.stop().await;
    centre.start().await;
    let driver = centre.connect("tanaka").await;
    let again = driver
        .simple_query("SELECT name FROM customers WHERE id = 1000038")
        .await;
    assert_eq!(
        again.unwrap_err().code().map(|code| code.code().to_owned()),
        Some("57P03".to_owned())
    );
    driver
        .simple_query("SELECT count(*) FROM calls")
        .await
        .unwrap();
    driver
        .simple_query("SELECT count(*) FROM customers")
        .await
        .unwrap();
    witness.start().await;
    let began = Instant::now();
    while driver
        .simple_query("SELECT name FROM customers WHERE id = 1000039")
        .await
        .is_err()
    {
        assert!(
            began.elapsed() < DEADLINE,
            "it does not go on: {}",
            centre.said()
        );
    }
    drop(driver);
    cosigned(&centre, "client.example/w").await;
    centre.stop().await;

    // The machine is restored from a snapshot: everything of ours is older, the witness knows better.
    let newer = folder.path().join("newer");
    std::fs::rename(&ledger, &newer).unwrap();
    copy(&backup, &ledger);
    let said = refuses_to_start(&mut centre).await;
    assert!(said.contains("old copy was restored"), "{said}");
    assert!(said.contains("client.example/w"), "{said}");

    // The write-ahead log alone is restored: our own checkpoint knows better.
    std::fs::remove_dir_all(&ledger).unwrap();
    copy(&newer, &ledger);
    std::fs::remove_dir_all(ledger.join("wal")).unwrap();
    copy(&backup.join("wal"), &ledger.join("wal"));
    witness.kill().await;
    let said = refuses_to_start(&mut centre).await;
    assert!(said.contains("old copy was restored"), "{said}");

    // With the true one it goes on.
    std::fs::remove_dir_all(&ledger).unwrap();
    copy(&newer, &ledger);
    witness.start().await;
    centre.start().await;
    centre.stop().await;
    client.export(&centre).await;
    client.holds();
}

/// Answers every request alike.
async fn answering(port: u16, status: &'static str, body: &'static str) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut request = vec![0; 64 << 10];
                let _ = stream.read(&mut request).await;
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: text/x.tlog.size\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
}

/// Leaves under the root log's checkpoint, and whether that witness has cosigned it.
fn shown(centre: &Centre, name: &str) -> (u64, bool) {
    let path = centre.dir.join("ledger/logs/root/checkpoint");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let size = text.lines().nth(1).map_or(0, |size| size.parse().unwrap());
    (size, text.contains(&format!("— {name} ")))
}

/// A witness that takes a request and never answers, and one that gives a signature that is not its
/// own: reads go on, others cosign, and the checkpoint that is shown never gets older.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_wrong_witness_stops_nothing() {
    let (mut centre, folder) = set_up("ledger-slow").await;
    let (mut honest, first) = Witness::new(&centre, folder.path(), "honest.example/w").await;
    let (slow, second) = Witness::new(&centre, folder.path(), "slow.example/w").await;
    let (wrong, third) = Witness::new(&centre, folder.path(), "wrong.example/w").await;
    let policy = format!("{first}{second}{third}quorum honest.example/w\n");
    name_witnesses(&centre, &policy, "");
    honest.start().await;
    let signature = "— wrong.example/w AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    answering(wrong.port, "200 OK", signature).await;
    // Nobody accepts: the kernel takes the connection and the request.
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", slow.port))
        .await
        .unwrap();
    centre.start().await;
    let client = Client::new(&centre, folder.path(), "c01").await;
    let mut last = 0;
    for number in 1..=4 {
        look_up(&centre, number).await;
        let (before, began) = (last, Instant::now());
        loop {
            let (size, cosigned) = shown(&centre, "honest.example/w");
            assert!(size >= last, "{size} leaves are shown after {last}");
            last = size;
            if size > before && cosigned {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "{}", centre.said());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        client.export(&centre).await;
        client.holds();
    }
    let said = centre.said();
    assert!(said.contains("slow.example/w (cannot be reached"), "{said}");
    assert!(said.contains("wrong.example/w (gave no valid"), "{said}");
    centre.stop().await;
    drop(silent);
    client.export(&centre).await;
    client.holds();
}

/// A witness that claims a size, or answers nonsense, stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_lying_witness_stops_nothing() {
    let (mut centre, folder) = set_up("ledger-liar").await;
    let (mut honest, first) = Witness::new(&centre, folder.path(), "honest.example/w").await;
    let (liar, second) = Witness::new(&centre, folder.path(), "liar.example/w").await;
    let policy = format!("{first}{second}quorum honest.example/w\n");
    name_witnesses(&centre, &policy, "");
    honest.start().await;
    answering(liar.port, "409 Conflict", "999999999\n").await;
    centre.start().await;
    look_up(&centre, 1).await;
    cosigned(&centre, "honest.example/w").await;
    let began = Instant::now();
    while !centre.said().contains("liar.example/w") {
        assert!(began.elapsed() < DEADLINE, "{}", centre.said());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    centre.stop().await;
    centre.start().await;
    look_up(&centre, 2).await;
    centre.stop().await;
    let client = Client::new(&centre, folder.path(), "c01").await;
    client.export(&centre).await;
    client.holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_keys_are_destroyed() {
    let (mut centre, folder) = set_up("ledger-keys").await;
    let client = Client::new(&centre, folder.path(), "c01").await;
    centre.start().await;
    look_up(&centre, 1).await;

    // A second log key, under the offline identity key; the origin stays.
    let identity = centre
        .dir
        .join("offline/identity.key")
        .display()
        .to_string();
    centre.approved(&["ledger", "rotate"]).await;
    centre
        .json(&["ledger", "keys", "--identity", &identity])
        .await;
    look_up(&centre, 2).await;
    centre.stop().await;
    client.export(&centre).await;
    client.holds();
    centre
        .json(&["ledger", "keys", "--identity", &identity, "--retire", "1"])
        .await;
    centre.start().await;
    look_up(&centre, 3).await;

    // Two approvers destroy the client's keys: nothing of it is read any more, by nobody.
    let asked = centre.json(&["key", "destroy", "c01"]).await;
    let change = asked["change"].to_string();
    assert_eq!(
        asked["in_force"],
        Value::Bool(false),
        "one person destroys nothing"
    );
    let key = centre.dir.join("keys/clients/1.key");
    assert!(std::fs::read_to_string(&key).unwrap().contains("lasting"));
    for approver in ["approver-1", "approver-2"] {
        centre
            .json(&["approve", &change, "--as", approver, "--yes"])
            .await;
    }
    assert!(
        std::fs::read_to_string(&key)
            .unwrap()
            .ends_with("destroyed\n")
    );
    let lists = centre.dir.join("keys/lists/1");
    assert_eq!(std::fs::read_dir(lists).unwrap().count(), 0);
    let driver = centre.connect("tanaka").await;
    let rows = driver
        .simple_query("SELECT name FROM customers WHERE id = 1000001")
        .await;
    let clear = rows.is_ok_and(|rows| {
        rows.iter().any(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                !row.get(0).unwrap_or_default().starts_with("sealed:")
            }
            _ => false,
        })
    });
    assert!(!clear, "a cell of a destroyed client was opened");
    let others = driver
        .simple_query("SELECT name FROM customers WHERE id = 2000001")
        .await;
    assert!(others.is_ok(), "{others:?}");
    drop(driver);
    centre.stop().await;
    centre.start().await;
    centre.stop().await;
    client.export(&centre).await;
    client.holds();
}
