//! Receipts as a client gets them: pushed over HTTPS while the gate serves, whatever its receiver
//! does, and matched against its log with `sekisho-verify`.

use std::path::Path;
use std::time::Instant;

use crate::centre::{Centre, DEADLINE, Plan, unlimited};
use crate::receiver::{Mood, Receiver, until};
use serde_json::Value;
use tokio::process::Command;

/// A centre with two clients, and a receiver of the first one's receipts.
async fn set_up(name: &'static str, more: &str) -> (Centre, Receiver, tempfile::TempDir) {
    let plan = Plan {
        name,
        clients: 2,
        customers: 40,
        canaries: 0,
        people: &[("tanaka", "operator", "1,2")],
        numbers: unlimited(),
        limits: "",
        segment_bytes: 1 << 20,
    };
    let centre = Centre::set_up(&plan).await;
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(&folder.path().join("receiver.pem"));
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + &receiver.table("c01", more)).unwrap();
    (centre, receiver, folder)
}

/// Reads customers of a client: how many came, or the SQLSTATE.
async fn read(centre: &Centre, client: i64, first: i64, count: i64) -> Result<usize, String> {
    let driver = centre.connect("tanaka").await;
    let from = client * 1_000_000 + first;
    let sql = format!(
        "SELECT name, phone FROM customers WHERE id >= {from} AND id < {}",
        from + count
    );
    let mut came = 0;
    // The extended protocol, so that what came before an error counts.
    let rows = driver.query_raw(&sql, std::iter::empty::<i32>()).await;
    let mut rows = std::pin::pin!(rows.map_err(|error| code(&error))?);
    while let Some(row) = futures_next(&mut rows).await {
        match row {
            Ok(_) => came += 1,
            Err(error) => return Err(code(&error)),
        }
    }
    Ok(came)
}

async fn futures_next<S: futures_util::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

fn code(error: &tokio_postgres::Error) -> String {
    let code = error.code().map(|code| code.code().to_owned());
    code.unwrap_or_else(|| format!("lost: {error}"))
}

/// Entries of client 1's log, published or not.
fn entries(centre: &Centre) -> u64 {
    let mut reader = ledger::Reader::open(&centre.dir.join("ledger")).unwrap();
    let mut count = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        count += u64::from(entry.log.number() == 1);
    }
    count
}

/// Waits until the receiver has kept every receipt of the log, without a gap.
async fn all_kept(centre: &Centre, receiver: &Receiver) {
    let began = Instant::now();
    loop {
        let mut kept = receiver.indexes();
        kept.sort_unstable();
        kept.dedup();
        let due: Vec<u64> = (0..entries(centre)).collect();
        if kept.len() >= due.len() {
            // What the reader does not show yet was pushed already: durable counts, not shown.
            assert!(kept.starts_with(&due), "{kept:?}");
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{kept:?}: {}", centre.said());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn status(centre: &Centre) -> Value {
    let out = centre
        .run(&["ledger", "status", "--json"], "")
        .await
        .unwrap();
    let mut lines = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|said| said.get("receipts").is_some()).unwrap()
}

/// Matches what the receiver kept against a fresh export: exit status and JSON.
async fn matched(centre: &Centre, receiver: &Receiver, folder: &Path, name: &str) -> (i32, Value) {
    let place = |what: &str| folder.join(format!("{name}-{what}")).display().to_string();
    let (key, copy, receipts) = (place("key"), place("copy"), place("receipts"));
    centre
        .run(&["ledger", "key-file", "c01", "--out", &key], "")
        .await
        .unwrap();
    centre
        .run(&["ledger", "export", "c01", "--to", &copy], "")
        .await
        .unwrap();
    std::fs::write(&receipts, receiver.lines().join("\n")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_sekisho")).with_file_name("sekisho-verify");
    let output = Command::new(program)
        .args(["receipts", "--key", &key, "--from", &copy])
        .args(["--receipts", &receipts, "--json", "--lang", "en"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text + &errors));
    (output.status.code().unwrap(), value)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receipt_arrives_whatever_the_receiver_does() {
    let (mut centre, receiver, folder) = set_up("receipts-push", "").await;
    centre.start().await;
    assert_eq!(read(&centre, 1, 1, 3).await, Ok(3));
    all_kept(&centre, &receiver).await;

    // It fails, redirects, hangs up: the gate serves on, and the operator is told once.
    for mood in [Mood::Refuses(500), Mood::Refuses(302), Mood::Gone] {
        receiver.is(mood);
        let asked = receiver.asked();
        assert_eq!(read(&centre, 1, 5, 7).await, Ok(7), "{mood:?}");
        until("it is asked", || receiver.asked() > asked).await;
        let kept = receiver.lines().len();
        until("the operator is told", || {
            centre.said().contains("does not take them")
        })
        .await;
        assert_eq!(receiver.lines().len(), kept);
        receiver.is(Mood::Takes);
        all_kept(&centre, &receiver).await;
    }
    until("the operator is told", || {
        centre.said().contains("takes them again")
    })
    .await;
    assert!(centre.said().contains("answered with status 500"));
    assert!(
        !centre.said().contains("/receipts"),
        "a path may hold a secret"
    );

    // It takes them and never says so; the gate dies between the two. They are sent again, the same
    // bytes.
    receiver.is(Mood::KeepsAndHangs);
    let before = receiver.lines();
    assert_eq!(read(&centre, 1, 20, 2).await, Ok(2));
    until("they are kept", || receiver.lines().len() > before.len()).await;
    centre.kill().await;
    let unanswered = receiver.lines()[before.len()..].to_vec();
    receiver.is(Mood::Gone);
    centre.start().await;
    assert_eq!(read(&centre, 1, 25, 2).await, Ok(2));
    receiver.is(Mood::Takes);
    until("what was not answered is sent again", || {
        let again = &receiver.lines()[before.len() + unanswered.len()..];
        unanswered.iter().all(|line| again.contains(line))
    })
    .await;
    centre.stop().await;
    all_kept(&centre, &receiver).await;
    let said = status(&centre).await;
    assert_eq!((&said["receipts"], &said["behind"]), (&1.into(), &0.into()));
    let (exit, said) = matched(&centre, &receiver, folder.path(), "true").await;
    assert_eq!(exit, 0, "{said:#}");
    assert_eq!(said["held"].as_u64(), Some(receiver.lines().len() as u64));

    // A receiver that nobody can reach: how far behind it is, is shown.
    receiver.is(Mood::Gone);
    centre.start().await;
    assert_eq!(read(&centre, 1, 30, 2).await, Ok(2));
    centre.stop().await;
    let said = status(&centre).await;
    assert!(said["behind"].as_u64().unwrap() > 0, "{said:#}");
}

/// Promises that the log breaks: an administrator restores yesterday's ledger.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_ledger_breaks_promises() {
    let (mut centre, receiver, folder) = set_up("receipts-back", "").await;
    centre.start().await;
    assert_eq!(read(&centre, 1, 1, 3).await, Ok(3));
    centre.stop().await;
    let (ledger, yesterday) = (centre.dir.join("ledger"), folder.path().join("yesterday"));
    copy(&ledger, &yesterday);
    centre.start().await;
    for number in 10..15 {
        assert_eq!(read(&centre, 1, number, 1).await, Ok(1));
    }
    centre.stop().await;
    all_kept(&centre, &receiver).await;
    let (exit, said) = matched(&centre, &receiver, folder.path(), "true").await;
    assert_eq!(exit, 0, "{said:#}");

    // What the client acknowledged is not in it: it does not start by itself.
    let cursor = std::fs::read(ledger.join("receipts/1")).unwrap();
    std::fs::remove_dir_all(&ledger).unwrap();
    copy(&yesterday, &ledger);
    std::fs::write(ledger.join("receipts/1"), cursor).unwrap();
    centre.spawn();
    assert!(!centre.ended().await.success(), "it started");
    let said = centre.said();
    assert!(said.contains("client 1 acknowledged receipts"), "{said}");

    // Restored whole it starts, and the client's receipts say what it is.
    std::fs::remove_dir_all(&ledger).unwrap();
    copy(&yesterday, &ledger);
    let kept = receiver.lines().len();
    centre.start().await;
    assert_eq!(read(&centre, 1, 30, 1).await, Ok(1));
    until("the new ones are pushed", || receiver.lines().len() > kept).await;
    centre.stop().await;
    let (exit, said) = matched(&centre, &receiver, folder.path(), "false").await;
    assert_eq!(exit, 1, "{said:#}");
    let codes: Vec<&str> = said["wrong"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["code"].as_str().unwrap())
        .collect();
    assert!(codes.contains(&"other-entry"), "{said:#}");
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(done.unwrap().success());
}

/// `before_release_above`: so much is shown without its receipts, and no more, in slices or at once.
#[tokio::test(flavor = "multi_thread")]
async fn so_many_are_shown_before_their_receipts_arrive() {
    let more = "before_release_above = 5\nwait_ms_max = 300";
    let (mut centre, receiver, _folder) = set_up("receipts-cap", more).await;
    centre.start().await;
    // While it takes them, reads of any size pass, from the second on in which the logs are there.
    passes(&centre).await;
    all_kept(&centre, &receiver).await;

    receiver.is(Mood::Gone);
    assert_eq!(read(&centre, 1, 1, 3).await, Ok(3));
    assert_eq!(read(&centre, 1, 11, 20).await, Err("57P03".into()));
    let mut slices = 0;
    let stopped = loop {
        match read(&centre, 1, 31 + slices, 1).await {
            Ok(came) => slices += came as i64,
            Err(code) => break code,
        }
        assert!(slices < 9, "nothing stops at the cap");
    };
    assert_eq!(
        (stopped.as_str(), slices),
        ("57P03", 2),
        "{}",
        centre.said()
    );
    // Others are not held up, nor what touches nothing sealed.
    assert_eq!(read(&centre, 2, 1, 20).await, Ok(20));
    let driver = centre.connect("tanaka").await;
    driver
        .simple_query("SELECT count(*) FROM customers WHERE client_id = 1")
        .await
        .unwrap();
    drop(driver);
    let error = refused(&centre).await;
    assert!(
        error.contains("not acknowledged the receipts of 5 people"),
        "{error}"
    );

    // A restart does not give more.
    centre.kill().await;
    centre.start().await;
    let began = Instant::now();
    loop {
        let error = refused(&centre).await;
        if !error.contains("receipts of 0 people") {
            break;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "what was released is not counted: {error}"
        );
    }

    receiver.is(Mood::Takes);
    passes(&centre).await;
    // What was refused is on record: its receipts arrive, too.
    all_kept(&centre, &receiver).await;
    centre.stop().await;

    // Nor does the file: what is looser, or drops the receiver, waits for two approvers.
    receiver.is(Mood::Gone);
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let dropped = text.split("[[logs.receipts]]").next().unwrap();
    std::fs::write(&path, dropped).unwrap();
    centre.start().await;
    assert_eq!(read(&centre, 1, 1, 1).await, Err("57P03".into()));
    centre.stop().await;
    let looser = text.replace("before_release_above = 5", "before_release_above = 500");
    std::fs::write(&path, looser).unwrap();
    centre.start().await;
    let said = centre.said();
    let (_, change) = said
        .rsplit_once("until two approvers sign change ")
        .unwrap();
    let change = change.split_whitespace().next().unwrap().to_owned();
    for approver in ["approver-1", "approver-2"] {
        assert_eq!(read(&centre, 1, 1, 20).await, Err("57P03".into()));
        centre
            .json(&["approve", &change, "--as", approver, "--yes"])
            .await;
    }
    passes(&centre).await;
    centre.stop().await;
}

/// Reads of any size of client 1 pass.
async fn passes(centre: &Centre) {
    let began = Instant::now();
    while read(centre, 1, 1, 30).await != Ok(30) {
        assert!(began.elapsed() < DEADLINE, "{}", centre.said());
    }
}

/// What a driver is told for one customer of client 1.
async fn refused(centre: &Centre) -> String {
    let driver = centre.connect("tanaka").await;
    let sql = "SELECT name FROM customers WHERE id = 1000001";
    let error = driver.query(sql, &[]).await.unwrap_err();
    let error = error.as_db_error().expect("an answer of the gate");
    assert_eq!(error.code().code(), "57P03", "{error:?}");
    assert!(error.hint().unwrap().contains("receiver of receipts"));
    error.message().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_nobody_is_told_at_the_start() {
    let (mut centre, _receiver, _folder) = set_up("receipts-nobody", "").await;
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("client = \"c01\"", "client = \"c91\"")).unwrap();
    centre.spawn();
    assert!(!centre.ended().await.success(), "it started");
    let said = centre.said();
    assert!(
        said.contains("logs.receipts: there is no client c91"),
        "{said}"
    );
}
