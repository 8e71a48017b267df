//! Detection while the gate serves: a planted customer that somebody looks up opens a case within a
//! second, the case suspends, people note, close and reopen it, and those outside are told.

use std::time::{Duration, Instant};

use crate::centre::{Centre, DATABASE, DEADLINE, Plan, unlimited};
use crate::receiver::until;
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

/// What a command says that reads the ledger from the disk, when it says this too: it is behind a
/// running gate by up to a second.
async fn said_by(centre: &Centre, arguments: &[&str], word: &str) -> String {
    let began = Instant::now();
    loop {
        let out = centre.run(arguments, "").await.unwrap();
        if out.contains(word) {
            return out;
        }
        assert!(began.elapsed() < DEADLINE, "{out}");
    }
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
    let listed = said_by(&centre, &["canary", "list", "--json"], "c01").await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
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

/// Exposures in the ledger.
fn exposures(centre: &Centre) -> Vec<event::record::Exposure> {
    let mut reader = ledger::Reader::open(&centre.dir.join("ledger")).unwrap();
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if let Ok(event::record::Body::Exposure(exposure)) = event::record::decode(&entry.record) {
            all.push(exposure);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_set_and_bring_in() {
    let mut centre = set_up("cases-set", "cases_per_day = 3").await;
    centre.start().await;
    looser_waits(&mut centre).await;

    let file = centre.dir.join("calls.csv");
    let calls = "actor,client,phone,from,until\n\
                 tanaka,c01,090-1234-5678,2026-11-22T10:00:00,2026-11-22T10:04:00\n\
                 nobody,1,,2026-11-22T10:00:00,2026-11-22T10:04:00\n\
                 tanaka,c02,,2026-11-22T10:00:00,2026-11-22T09:04:00\n\
                 admin,c01,,2026-11-22T10:00:00,2026-11-22T10:04:00\n";
    std::fs::write(&file, calls).unwrap();
    let file = file.display().to_string();
    let done = centre.json(&["calls", "import", &file]).await;
    assert_eq!(
        (&done["taken"], &done["unknown_actors"]),
        (&1.into(), &1.into()),
        "{done}"
    );
    assert_eq!(done["first_wrong"][0], "line 4: ends before it begins");
    assert_eq!(done["own"], 1, "nobody explains himself: {done}");
    let log = said_by(&centre, &["log", "--json", "--client", "1"], "\"calls\"").await;
    assert!(log.contains("\"calls\"") && !log.contains("1234"), "{log}");

    let file = centre.dir.join("terminals.jsonl");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let time = now.unwrap().as_millis();
    let event = format!(
        "{{\"time\":{time},\"terminal\":\"127.0.0.1\",\"event\":\"media-refused\",\"actor\":\"tanaka\"}}\n\
         {{\"time\":{time},\"terminal\":\"127.0.0.1\",\"event\":\"waved\"}}\n"
    );
    std::fs::write(&file, event).unwrap();
    let file = file.display().to_string();
    let done = centre.json(&["watch", "terminals", &file]).await;
    assert_eq!(
        (&done["taken"], &done["wrong"]),
        (&1.into(), &1.into()),
        "{done}"
    );

    let rebaseline = ["watch", "rebaseline", "tanaka"];
    let asked = centre.json(&as_approver(&rebaseline, "approver-1")).await;
    assert_eq!(asked["done"], false, "{asked}");
    let done = centre.json(&as_approver(&rebaseline, "approver-2")).await;
    assert_eq!(done["done"], true, "{done}");
    let himself = centre.run(&["watch", "rebaseline", "admin"], "").await;
    assert!(himself.unwrap_err().contains("usual for itself"));

    // A search from number to number that finds nobody, and one that finds somebody.
    let driver = centre.connect("tanaka").await;
    let before = exposures(&centre).len();
    for last in 1..=4 {
        let sql = format!("SELECT name FROM customers WHERE phone = '090-1234-567{last}'");
        assert!(driver.query(&sql, &[]).await.unwrap().is_empty());
    }
    let seen = driver
        .query("SELECT phone, id FROM customers WHERE id = 1000004", &[])
        .await
        .unwrap();
    let phone: String = seen[0].get(0);
    let sql = format!("SELECT id FROM customers WHERE client_id = 1 AND phone = '{phone}'");
    assert_eq!(driver.query(&sql, &[]).await.unwrap().len(), 1);
    drop(driver);
    centre.stop().await;
    let all = exposures(&centre);
    // One for each client in scope, of each search.
    let new = &all[before..];
    let sum =
        |of: fn(&event::record::Order) -> u32| -> u32 { new.iter().map(|it| of(&it.order)).sum() };
    assert_eq!(sum(|order| order.near), 3, "{new:#?}");
    let pairs = sum(|order| order.pairs);
    assert!((3..=4).contains(&pairs), "{new:#?}");
    assert!(sum(|order| order.ascending) >= 3, "{new:#?}");
    let missed = new.iter().filter(|it| it.order.missed == Some(1)).count();
    assert_eq!(missed, 8, "{new:#?}");
    // Found, though nothing of him was shown.
    assert_eq!(new.last().unwrap().order.missed, Some(0), "{new:#?}");
}

/// More cases are in force at once, fewer wait for two approvers.
async fn looser_waits(centre: &mut Centre) {
    let in_force = async |centre: &Centre| {
        let status = centre
            .json(&as_approver(&["watch", "status"], "approver-1"))
            .await;
        status["cases_per_day"].as_u64().unwrap()
    };
    assert_eq!(in_force(centre).await, 3);
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("cases_per_day = 3", "cases_per_day = 2"),
    )
    .unwrap();
    for _ in 0..2 {
        centre.stop().await;
        centre.start().await;
        assert!(
            centre.said().contains("IS LOOSER than what is in force"),
            "{}",
            centre.said()
        );
        assert_eq!(in_force(centre).await, 3);
    }
    let waiting = centre.run(&["approve", "--json"], "").await.unwrap();
    let waiting: Vec<&str> = waiting.lines().collect();
    assert_eq!(waiting.len(), 1, "proposed once: {waiting:?}");
    let change: Value = serde_json::from_str(waiting[0]).unwrap();
    let number = change["number"].to_string();
    for approver in ["approver-1", "approver-2"] {
        centre
            .json(&["approve", &number, "--as", approver, "--yes"])
            .await;
    }
    assert_eq!(in_force(centre).await, 2);
}
