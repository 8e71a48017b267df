//! Detection while the gate serves: a planted customer that somebody looks up opens a case within a
//! second, the case suspends, people note, close and reopen it, and those outside are told.

// Everything here is a test.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout
)]

mod centre;
mod driver;
mod receiver;

use std::time::{Duration, Instant};

use centre::{Centre, DATABASE, DEADLINE, Plan, unlimited};
use receiver::until;
use serde_json::Value;

/// A centre with two clients, people of security, and this in its table `[watch]`.
async fn set_up(name: &'static str, watch: &str) -> Centre {
    let plan = Plan {
        name,
        clients: 2,
        customers: 30,
        canaries: 0,
        people: &[("tanaka", "operator", "1,2"), ("suzuki", "operator", "1,2")],
        numbers: unlimited(),
        limits: "",
        segment_bytes: 1 << 20,
    };
    let centre = Centre::set_up(&plan).await;
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n[watch]\n{watch}\n")).unwrap();
    centre
}

/// Cases as `sekisho case list` shows them.
async fn cases(centre: &Centre) -> Vec<Value> {
    let out = centre.run(&["case", "list", "--json"], "").await.unwrap();
    let read = |line| serde_json::from_str(line).unwrap();
    out.lines().map(read).collect()
}

/// Waits until there are so many cases.
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

async fn plant(centre: &Centre, client: &str, count: &str) -> Value {
    centre
        .json(&[
            "canary",
            "plant",
            "--client",
            client,
            "--count",
            count,
            "--database",
            DATABASE,
            "--table",
            "customers",
            "--next",
            "id",
        ])
        .await
}

/// Ids of the planted rows of client 1: no other test data has such.
async fn planted(centre: &Centre) -> Vec<i64> {
    let superuser = centre.postgres.connect(DATABASE).await.unwrap();
    let sql = "SELECT id FROM customers WHERE id > 2000030 OR (id > 1000030 AND id < 2000000)";
    let rows = superuser.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What a person is told for one customer: how many rows, or SQLSTATE and hint.
async fn look(centre: &Centre, login: &str, columns: &str, id: i64) -> Result<usize, String> {
    let driver = centre.connect(login).await;
    let sql = format!("SELECT {columns} FROM customers WHERE id = {id}");
    match driver.query(&sql, &[]).await {
        Ok(rows) => Ok(rows.len()),
        Err(error) => {
            let error = error.as_db_error().expect("an answer of the gate");
            Err(format!("{} {}", error.code().code(), error.message()))
        }
    }
}

fn as_approver<'a>(words: &[&'a str], login: &'a str) -> Vec<&'a str> {
    let mut all = words.to_vec();
    all.extend(["--as", login]);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_opens_a_case_within_a_second_and_suspends() {
    let mut centre = set_up("cases-canary", "response = \"suspend\"").await;
    centre.start().await;
    let said = centre.said();
    assert!(
        said.contains("[watch] of sekisho.toml is in force now"),
        "{said}"
    );
    plant(&centre, "c01", "3").await;
    let ids = planted(&centre).await;
    assert_eq!(ids.len(), 3);
    let listed = centre.json(&["canary", "list"]).await;
    assert_eq!(
        (&listed["client"], &listed["count"]),
        (&1.into(), &3.into())
    );

    // Others' customers are nobody's business here.
    assert_eq!(
        look(&centre, "tanaka", "name, phone", 1_000_001).await,
        Ok(1)
    );
    // Its row tag alone gives it away, though no telephone number is shown.
    assert_eq!(look(&centre, "tanaka", "name", ids[1]).await, Ok(1));
    let began = Instant::now();
    let refused = loop {
        match look(&centre, "tanaka", "name", 1_000_002).await {
            Err(refused) => break refused,
            Ok(_) => assert!(began.elapsed() < DEADLINE, "{}", centre.said()),
        }
    };
    println!("suspended after {:?}", began.elapsed());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(refused.starts_with("42501 case 1 suspends"), "{refused}");
    // What touches nothing sealed goes on, and so do others.
    assert_eq!(look(&centre, "tanaka", "id", 1_000_002).await, Ok(1));
    assert_eq!(look(&centre, "suzuki", "name", 1_000_003).await, Ok(1));

    let all = wait_for_cases(&centre, 1).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["login"], "tanaka");
    assert_eq!(all[0]["grave"], true);
    assert_eq!(all[0]["response"], "suspend");
    assert!(
        all[0]["detectors"]
            .as_array()
            .unwrap()
            .contains(&"canary".into())
    );
    assert_eq!(
        all[0]["clients"],
        serde_json::json!([1]),
        "in the client's log, too"
    );

    people_decide(&centre).await;

    // A restart replays, and records nothing again.
    let before = cases(&centre).await;
    centre.stop().await;
    centre.start().await;
    until("the replay is over", || {
        centre.said().contains("has taken all")
    })
    .await;
    let status = centre
        .json(&as_approver(&["watch", "status"], "approver-1"))
        .await;
    assert_eq!(status["live"]["others"], 0, "{status}");
    assert_eq!(cases(&centre).await, before);
    centre.kill().await;
    centre.start().await;
    until("the replay is over", || {
        centre.said().contains("has taken all")
    })
    .await;
    assert_eq!(cases(&centre).await, before);
    centre.stop().await;
}

/// Notes, the two people that it takes, and reopening.
async fn people_decide(centre: &Centre) {
    let note = ["case", "note", "1", "--text", "asked her: a wrong number"];
    centre.json(&as_approver(&note, "approver-1")).await;
    let close = [
        "case",
        "close",
        "1",
        "--reason",
        "explained",
        "--text",
        "ticket R-88",
    ];
    let asked = centre.json(&as_approver(&close, "approver-1")).await;
    assert_eq!(asked["closed"], false, "{asked}");
    let again = centre.run(&as_approver(&close, "approver-1"), "").await;
    assert!(again.unwrap_err().contains("a second person has to"));
    let refused = look(centre, "tanaka", "name", 1_000_002).await.unwrap_err();
    assert!(
        refused.starts_with("42501"),
        "one person is not enough: {refused}"
    );
    let closed = centre.json(&as_approver(&close, "approver-2")).await;
    assert_eq!(closed["closed"], true, "{closed}");
    assert_eq!(look(centre, "tanaka", "name", 1_000_002).await, Ok(1));

    let reopen = ["case", "reopen", "1", "--text", "no such ticket"];
    centre.json(&as_approver(&reopen, "approver-1")).await;
    let refused = look(centre, "tanaka", "name", 1_000_002).await.unwrap_err();
    assert!(refused.contains("case 1 suspends"), "{refused}");
    for approver in ["approver-1", "approver-2"] {
        centre.json(&as_approver(&close, approver)).await;
    }
    assert_eq!(look(centre, "tanaka", "name", 1_000_002).await, Ok(1));

    let shown = centre
        .json(&as_approver(&["case", "show", "1"], "approver-2"))
        .await;
    let records = shown["records"].as_array().unwrap();
    let texts: Vec<&str> = records
        .iter()
        .filter_map(|it| it["text"].as_str())
        .collect();
    assert_eq!(
        texts,
        [
            "asked her: a wrong number",
            "ticket R-88",
            "ticket R-88",
            "no such ticket",
            "ticket R-88",
            "ticket R-88"
        ]
    );
    assert_eq!(records[0]["kind"], "case");
    // The words are nowhere in clear.
    let log = centre.run(&["log", "--json"], "").await.unwrap();
    assert!(!log.contains("R-88") && log.contains("\"case-closed\""));
    for file in std::fs::read_dir(centre.dir.join("ledger/wal")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(4).any(|four| four == b"R-88"));
    }
}
