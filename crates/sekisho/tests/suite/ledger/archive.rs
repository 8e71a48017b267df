//! Old segments move into the archive, old lists go: what is read and proved stays.

use std::sync::Arc;
use std::time::Instant;

use event::{ClientId, Digest, Plain};
use ledger::clock::{Clock, SystemClock};
use ledger::io::DiskIo;
use ledger::{ListClosed, ListSealer};
use serde_json::Value;

use super::{Client, PLAN, copy, look_up, refuses_to_start, set_up, verify};
use crate::centre::{Centre, DEADLINE, Plan, unlimited};

/// Waits until `what` holds of the ledger's segments.
async fn segments(centre: &Centre, what: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let said = centre.json(&["ledger", "archive"]).await;
        if what(&said["segments"]) {
            return said["segments"].clone();
        }
        assert!(began.elapsed() < DEADLINE, "{said}\n{}", centre.said());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The log's records, one JSON object a line.
async fn records(centre: &Centre) -> Vec<String> {
    let text = centre.run(&["log", "--json"], "").await.unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Full segments move into the archive; the log reads as before, everything is derived from it
/// again, the client's checks hold, and a file that is missing is named.
#[tokio::test(flavor = "multi_thread")]
async fn old_segments_are_archived_and_read_as_before() {
    let plan = Plan {
        name: "ledger-archive",
        numbers: unlimited(),
        segment_bytes: 32 << 10,
        ..PLAN
    };
    let mut centre = Centre::set_up(&plan).await;
    let folder = tempfile::tempdir().unwrap();
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("[ledger]\n", "[ledger]\nhot_segments = 2\n");
    std::fs::write(&path, text).unwrap();
    let client = Client::new(&centre, folder.path(), "c01").await;
    centre.start().await;
    let driver = centre.connect("tanaka").await;
    for number in 0..200 {
        let id = 1_000_000 + number % 40;
        let sql = format!("SELECT name, phone FROM customers WHERE id = {id}");
        driver.simple_query(&sql).await.unwrap();
    }
    drop(driver);
    centre.stop().await;
    // A snapshot at each stop: what is before both of them may go.
    for number in [1, 2] {
        centre.start().await;
        look_up(&centre, number).await;
        centre.stop().await;
    }
    let before = records(&centre).await;
    centre.start().await;
    look_up(&centre, 3).await;
    let moved = segments(&centre, |now| now["archived"].as_u64() >= Some(1));
    moved.await;
    centre.stop().await;

    let after = records(&centre).await;
    assert!(after.starts_with(&before), "the log reads as before");
    let verified = centre.json(&["ledger", "archive", "--verify"]).await;
    assert!(verified["sound"].as_u64() >= Some(1), "{verified}");
    client.export(&centre).await;
    client.holds();

    // Nothing but the archive, the segments and the lists: everything else is derived again.
    let ledger = centre.dir.join("ledger");
    for gone in [
        "snapshots",
        "logs/heads",
        "logs/root/tile",
        "logs/client/1/tile",
    ] {
        std::fs::remove_dir_all(ledger.join(gone)).unwrap();
    }
    centre.start().await;
    look_up(&centre, 4).await;
    centre.stop().await;
    client.export(&centre).await;
    client.holds();

    // One file of it is missing: named, and the start from a snapshot goes on.
    let first = ledger.join("archive/0000000001.zst");
    let bytes = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let said = centre.run(&["ledger", "archive", "--verify"], "").await;
    let said = said.unwrap_err();
    assert!(said.contains("0000000001.zst is missing"), "{said}");
    let said = centre.run(&["log"], "").await.unwrap_err();
    assert!(said.contains("segment 1 "), "{said}");
    centre.start().await;
    let said = centre.said();
    assert!(said.contains("archived segments are missing"), "{said}");
    centre.stop().await;
    std::fs::write(&first, bytes).unwrap();
    centre.json(&["ledger", "archive", "--verify"]).await;
    let status = centre.run(&["ledger", "status"], "").await.unwrap();
    assert!(status.contains("in the archive"), "{status}");
}

/// `$LIB` is the loader's own word for lib/x86_64-linux-gnu and the like.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";
const DAY_MS: u64 = 86_400_000;

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}

/// The machine's clocks a hundred days on, in the same boot.
struct Later(SystemClock);

impl Clock for Later {
    fn wall_ms(&self) -> u64 {
        self.0.wall_ms() + 100 * DAY_MS
    }
    fn boot_ms(&self) -> u64 {
        self.0.boot_ms() + 100 * DAY_MS
    }
    fn boot_id(&self) -> [u8; 16] {
        self.0.boot_id()
    }
}

/// Opens no list: a replay counts by effects.
struct Closed;

impl ListSealer for Closed {
    fn seal_list(&self, _: ClientId, _: u32, _: &Digest, _: &[u8]) -> Result<Vec<u8>, ListClosed> {
        Err(ListClosed::Destroyed)
    }
    fn open_list(
        &self,
        _: ClientId,
        _: u32,
        _: &Digest,
        _: &[u8],
    ) -> Result<Plain<Vec<u8>>, ListClosed> {
        Err(ListClosed::Destroyed)
    }
}

/// The ledger runs a hundred days on, for a moment: so much it has measured then.
fn age(centre: &Centre) {
    let wal = DiskIo::new(&centre.dir.join("ledger/wal")).unwrap();
    let folders = ledger::Folders {
        wal: Arc::new(wal),
        snapshots: None,
        archive: None,
    };
    let clock = Arc::new(Later(SystemClock::new().unwrap()));
    let options = ledger::Options::default();
    let (recorder, _) =
        ledger::Recorder::start(folders, Arc::new(Closed), clock, options, None).unwrap();
    recorder.close();
}

/// A month of retention is in force, and one customer was looked up before.
async fn with_retention(centre: &mut Centre) {
    centre.start().await;
    look_up(centre, 1).await;
    let asked = centre.json(&["ledger", "retention", "--months", "1"]).await;
    assert_eq!(asked["in_force"], Value::Bool(false), "{asked}");
    let change = asked["change"].to_string();
    for approver in ["approver-1", "approver-2"] {
        let approve = ["approve", &change, "--as", approver, "--yes"];
        centre.json(&approve).await;
    }
    let said = centre.json(&["ledger", "retention"]).await;
    assert_eq!(said["months"], 1, "{said}");
    centre.stop().await;
}

/// The months whose list keys client 1 has.
fn months(centre: &Centre) -> Vec<String> {
    let names = std::fs::read_dir(centre.dir.join("keys/lists/1")).unwrap();
    let mut names: Vec<_> = names
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until none of these months has its key.
async fn are_destroyed(centre: &Centre, old: &[String]) {
    let began = Instant::now();
    while months(centre).iter().any(|name| old.contains(name)) {
        let (now, said) = (months(centre), centre.said());
        assert!(began.elapsed() < DEADLINE, "{now:?} {said}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Two approvers put a retention of lists in force; a clock that is put forward destroys nothing; a
/// hundred measured days later the old lists are gone, the client's log says so, every proof holds,
/// and the budgets can be replayed without them.
#[tokio::test(flavor = "multi_thread")]
async fn old_lists_are_destroyed_and_the_log_says_so() {
    let (mut centre, folder) = set_up("ledger-retention").await;
    let client = Client::new(&centre, folder.path(), "c01").await;
    with_retention(&mut centre).await;
    let old = months(&centre);
    assert!(
        !old.is_empty() && old.iter().all(|name| name.ends_with(".key")),
        "{old:?}"
    );

    let later = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME", "+100d"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    centre.start_with(&later).await;
    let began = Instant::now();
    while !centre.said().contains("are old by the clock only") {
        assert!(began.elapsed() < DEADLINE, "{}", centre.said());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    centre.stop().await;
    // Detection may have something to say in the new month.
    let now = months(&centre);
    assert!(old.iter().all(|month| now.contains(month)), "{now:?}");

    age(&centre);
    centre.start_with(&later).await;
    are_destroyed(&centre, &old).await;
    look_up(&centre, 2).await;
    centre.stop().await;
    assert!(
        centre.said().contains("are destroyed, by age"),
        "{}",
        centre.said()
    );
    let now = months(&centre);
    assert!(now.len() == 2 && now[1] == "before", "{now:?}");

    client.export(&centre).await;
    let at = (now_ms() + 100 * DAY_MS).to_string();
    let check = [
        "check",
        "--key",
        &client.key,
        "--from",
        &client.copy,
        "--at-ms",
        &at,
    ];
    let (status, said) = verify(&check);
    assert_eq!(status, 0, "{said:#}");
    assert!(
        said.to_string().contains("lists_destroyed_before"),
        "{said:#}"
    );

    // Without a snapshot: what was destroyed counts by its effects.
    std::fs::remove_dir_all(centre.dir.join("ledger/snapshots")).unwrap();
    centre.start_with(&later).await;
    look_up(&centre, 3).await;
    centre.stop().await;
}

/// A write-ahead log out of an old backup does not continue what was published: it destroys nothing,
/// however old its lists are.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_ledger_destroys_no_lists() {
    let (mut centre, folder) = set_up("ledger-restored").await;
    with_retention(&mut centre).await;
    age(&centre);
    let old = months(&centre);
    let parts = ["ledger/wal", "ledger/snapshots", "keys"];
    std::fs::create_dir(folder.path().join("ledger")).unwrap();
    for part in parts {
        copy(&centre.dir.join(part), &folder.path().join(part));
    }
    centre.start().await;
    are_destroyed(&centre, &old).await;
    look_up(&centre, 2).await;
    centre.stop().await;

    for part in parts {
        std::fs::remove_dir_all(centre.dir.join(part)).unwrap();
        copy(&folder.path().join(part), &centre.dir.join(part));
    }
    let said = refuses_to_start(&mut centre).await;
    assert!(!said.contains("destroyed"), "{said}");
    assert_eq!(months(&centre), old);
}
