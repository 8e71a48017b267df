//! What a client's own report answers, from the log of a real centre: what was refused, and whether
//! and by whom a person was seen.

use std::os::unix::fs::PermissionsExt;

use crate::centre::{Centre, Plan, all_customers, unlimited};
use crate::verifier::Client;

async fn set_up(name: &'static str) -> (Centre, tempfile::TempDir) {
    let plan = Plan {
        name,
        clients: 2,
        customers: 20,
        canaries: 0,
        people: &[("tanaka", "operator", "1,2")],
        numbers: unlimited(),
        limits: "",
        segment_bytes: 1 << 20,
    };
    (Centre::set_up(&plan).await, tempfile::tempdir().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_search_stands_in_the_report_of_each_client_it_concerns() {
    let (mut centre, folder) = set_up("answers-refused").await;
    centre.start().await;
    let driver = centre.connect("tanaka").await;
    // Both clients are in scope.
    let search = "SELECT id FROM customers WHERE name LIKE '%a%'";
    for _ in 0..8 {
        driver.simple_query(search).await.unwrap_err();
    }
    // Client 2 alone is; then client 1 is asked for beside it.
    driver
        .simple_query("SET sekisho.scope TO 'c02'")
        .await
        .unwrap();
    for _ in 0..3 {
        driver.simple_query(search).await.unwrap_err();
    }
    let other = "SELECT id FROM customers WHERE client_id = 1 AND phone = '090-1234-5678'";
    driver.simple_query(other).await.unwrap_err();
    drop(driver);
    centre.stop().await;
    for (code, statement, policy) in [("c01", 8, 1), ("c02", 11, 0)] {
        let client = Client::new(&centre, folder.path(), code).await;
        client.export(&centre).await;
        let said = client.report(&[], "");
        let count = |reason: &str| said["refusals"][reason].as_u64().unwrap_or(0);
        assert_eq!(
            (count("statement"), count("policy")),
            (statement, policy),
            "{code}: {said:#}"
        );
        assert_eq!(said["total"]["refusals"], statement + policy);
        let lines = said["lines"].as_array().unwrap();
        let refused: u64 = lines
            .iter()
            .filter(|line| line["role"] == "operator")
            .map(|line| line["refusals"].as_u64().unwrap())
            .sum();
        assert_eq!(refused, statement + policy, "by whom: {said:#}");
    }
    // For the centre each stands once, with the count of what was asked.
    let log = centre.run(&["log", "--json"], "").await.unwrap();
    let refused = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|record| record["kind"] == "refused");
    let counts = refused.map(|record| record["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 12, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_officers_file_tells_whether_and_by_whom_a_person_was_seen() {
    let (mut centre, folder) = set_up("answers-officer").await;
    centre.start().await;
    let driver = centre.connect("tanaka").await;
    let sql = "SELECT name, phone FROM customers WHERE id = 1000003";
    assert!(driver.simple_query(sql).await.unwrap().len() > 1);
    drop(driver);
    let client = Client::new(&centre, folder.path(), "c01").await;

    // One approval gives nothing, and nobody makes it without them.
    let path = folder.path().join("c01.officer");
    let out = path.display().to_string();
    let make = ["ledger", "officer-file", "c01", "--out", &out];
    let asked = centre.json(&make).await;
    let change = asked["change"].to_string();
    let approve = |approver| ["approve", &change, "--as", approver, "--yes"];
    centre.json(&approve("approver-1")).await;
    let refused = centre.run(&make, "").await.unwrap_err();
    assert!(refused.contains("waits for approvals"), "{refused}");
    assert!(!path.exists());
    centre.json(&approve("approver-2")).await;
    let taken = folder.path().join("taken");
    std::fs::write(&taken, "x").unwrap();
    let there = taken.display().to_string();
    let onto = ["ledger", "officer-file", "c01", "--out", &there];
    let refused = centre.run(&onto, "").await.unwrap_err();
    assert!(refused.contains("exists"), "{refused}");
    let said = centre.run(&make, "").await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secrets: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("fingerprint ")
                .or(line.strip_prefix("lists "))
        })
        .collect();
    assert_eq!(secrets.len(), 2, "two keys");
    let shown = said + &centre.said();
    assert!(secrets.iter().all(|key| !shown.contains(key)));

    // The approval is used up.
    let second = folder.path().join("second").display().to_string();
    let again = ["ledger", "officer-file", "c01", "--out", &second];
    let asked = centre.json(&again).await;
    assert_eq!(asked["in_force"], false, "{asked}");
    assert!(!folder.path().join("second").exists());

    centre.stop().await;
    client.export(&centre).await;
    let (exit, said) = client.verify("check", &[], "");
    assert_eq!(exit, 0, "{said:#}");
    let people = all_customers(1, 20, 0);
    let ask = |number: i64| {
        let person = people[&(1_000_000 + number)].phone.expose();
        let officer = ["--officer", &out, "--person", "-"];
        client.report(&officer, &format!("phone={person}\n"))["person"].clone()
    };
    let seen = ask(3);
    let sightings = seen["seen"].as_array().unwrap();
    assert!(
        seen["lists_closed"].as_array().unwrap().is_empty(),
        "{seen:#}"
    );
    // Imported by one, seen by another.
    let by_operator = |it: &&serde_json::Value| it["role"] == "operator";
    let operators: Vec<_> = sightings.iter().filter(by_operator).collect();
    assert_eq!(operators.len(), 1, "{seen:#}");
    assert_eq!(operators[0]["how"], "clear");
    let other = ask(4);
    let others = other["seen"].as_array().unwrap();
    assert!(
        !others.iter().any(|it| it["role"] == "operator"),
        "{other:#}"
    );

    // The client's report and its log say that the file was made.
    let made = client.report(&[], "")["officer_files"].clone();
    assert_eq!(made.as_array().map(Vec::len), Some(1), "{made}");
    let log = centre
        .run(&["log", "--client", "c01", "--json"], "")
        .await
        .unwrap();
    let made = log.lines().filter(|line| line.contains("\"officer-file\""));
    assert_eq!(made.count(), 1, "{log}");
}
