//! PostgreSQL's own counters, read live: what leaves sealed tables beside the gate opens a case of
//! silence; work through the gate does not.

use std::time::Instant;

use crate::centre::{Centre, DATABASE, DEADLINE, Plan, unlimited};
use event::record::Body;
use serde_json::Value;

/// Customers of each of two clients.
const CUSTOMERS: usize = 300;

async fn set_up() -> Centre {
    let plan = Plan {
        name: "counters",
        clients: 2,
        customers: CUSTOMERS,
        canaries: 0,
        people: &[("tanaka", "operator", "1,2"), ("suzuki", "maintainer", "")],
        numbers: unlimited(),
        limits: "",
        segment_bytes: 1 << 20,
    };
    let centre = Centre::set_up(&plan).await;
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n[watch]\ncounters_s = 1\n")).unwrap();
    centre
}

async fn looks(centre: &Centre) -> u64 {
    let status = ["watch", "status", "--as", "approver-1"];
    let status = centre.json(&status).await;
    let of = &status["counters"][0];
    assert_eq!(of["failed"], Value::Null, "{status}");
    of["looks"].as_u64().unwrap_or(0)
}

/// Waits for so many more looks.
async fn wait_for_looks(centre: &Centre, more: u64) {
    let (from, began) = (looks(centre).await, Instant::now());
    while looks(centre).await < from + more {
        assert!(began.elapsed() < DEADLINE, "{}", centre.said());
    }
}

async fn cases(centre: &Centre) -> Vec<Value> {
    let out = centre.run(&["case", "list", "--json"], "").await.unwrap();
    let read = |line| serde_json::from_str(line).unwrap();
    out.lines().map(read).collect()
}

async fn wait_for_cases(centre: &Centre, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let all = cases(centre).await;
        if all.len() >= count {
            return all;
        }
        assert!(began.elapsed() < DEADLINE, "{}", centre.said());
    }
}

/// What the ledger says was read, and accounted for.
fn counted(centre: &Centre) -> Vec<(u64, u64)> {
    let mut reader = ledger::Reader::open(&centre.dir.join("ledger")).unwrap();
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if let Ok(Body::Counters {
            rows, accounted, ..
        }) = event::record::decode(&entry.record)
        {
            all.push((rows, accounted));
        }
    }
    all
}

async fn read_beside_the_gate(centre: &Centre) {
    let superuser = centre.postgres.connect(DATABASE).await.unwrap();
    let rows = superuser.query("SELECT * FROM customers", &[]).await;
    assert_eq!(rows.unwrap().len(), 2 * CUSTOMERS);
}

/// Searches, a report, a whole backup, an index, a write: all through the gate.
async fn work(centre: &Centre) {
    let tanaka = centre.connect("tanaka").await;
    let seen = tanaka
        .query(
            "SELECT id, client_id, phone FROM customers WHERE id < 1000040",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(seen.len(), 39);
    for row in &seen {
        let (client, phone): (i32, String) = (row.get(1), row.get(2));
        let sql =
            format!("SELECT name FROM customers WHERE client_id = {client} AND phone = '{phone}'");
        assert_eq!(tanaka.query(&sql, &[]).await.unwrap().len(), 1);
    }
    tanaka
        .batch_execute("SELECT count(*) FROM customers; UPDATE customers SET note = note")
        .await
        .unwrap();
    let suzuki = centre.connect("suzuki").await;
    suzuki
        .batch_execute(
            "SET ROLE sekisho_owner; CREATE INDEX by_name ON customers (name); \
             REINDEX TABLE customers; ANALYZE customers; DROP INDEX by_name",
        )
        .await
        .unwrap();
    suzuki
        .batch_execute("BEGIN; SELECT count(name) FROM customers; SELECT * FROM customers; COMMIT")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_leave_beside_the_gate_open_a_case() {
    let mut centre = set_up().await;
    centre.start().await;
    wait_for_looks(&centre, 1).await;
    work(&centre).await;
    // What was done now is counted, and explains nothing of what comes later.
    wait_for_looks(&centre, 4).await;
    assert_eq!(cases(&centre).await, Vec::<Value>::new());
    let by_the_gate = counted(&centre);
    let rows: u64 = by_the_gate.iter().map(|it| it.0).sum();
    assert!(rows > 6 * CUSTOMERS as u64, "{by_the_gate:?}");

    read_beside_the_gate(&centre).await;
    let all = wait_for_cases(&centre, 1).await;
    assert_eq!(all[0]["detectors"], serde_json::json!(["silence"]));
    assert_eq!(
        (&all[0]["login"], &all[0]["grave"]),
        (&Value::Null, &true.into())
    );
    let shown = centre
        .json(&["case", "show", "1", "--as", "approver-1"])
        .await;
    println!("{shown}");
    let text = shown.to_string();
    assert!(
        text.contains("600 rows of sealed tables that did not pass"),
        "{text}"
    );

    let superuser = centre.postgres.connect(DATABASE).await.unwrap();
    superuser
        .batch_execute("SELECT pg_stat_reset()")
        .await
        .unwrap();
    drop(superuser);
    let all = wait_for_cases(&centre, 2).await;
    assert_eq!(all[1]["detectors"], serde_json::json!(["silence"]));

    // While the gate is down, too.
    centre.stop().await;
    let before = counted(&centre).len();
    read_beside_the_gate(&centre).await;
    centre.start().await;
    let began = Instant::now();
    loop {
        // Who reads a ledger beside its writer is behind it by a heartbeat.
        let all = counted(&centre);
        let since = &all[before..];
        let missing: u64 = since.iter().map(|it| it.0 - it.1).sum();
        if missing == 2 * CUSTOMERS as u64 {
            break;
        }
        assert!(
            missing == 0 && began.elapsed() < DEADLINE,
            "{missing} of {since:?}"
        );
        wait_for_looks(&centre, 1).await;
    }
    centre.stop().await;
}
