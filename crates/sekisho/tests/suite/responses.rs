//! What a case does to the person it is about: asked for a reason, less budget; and cells that somebody
//! moved in the database.

use std::time::Instant;

use crate::centre::{Centre, DATABASE, DEADLINE, Plan};
use serde_json::Value;
use tokio_postgres::Client;

/// Customers of the client.
const CUSTOMERS: usize = 40;

async fn set_up() -> Centre {
    let plan = Plan {
        name: "responses",
        clients: 1,
        customers: CUSTOMERS,
        canaries: 0,
        people: &[
            ("tanaka", "operator", "1"),
            ("suzuki", "operator", "1"),
            ("sato", "operator", "1"),
        ],
        // An operator may have 60 customers an hour of a client.
        numbers: budget::Numbers::default(),
        limits: "",
        segment_bytes: 1 << 20,
    };
    Centre::set_up(&plan).await
}

async fn respond(centre: &mut Centre, response: &str) {
    let path = centre.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.split("\n[watch]").next().unwrap().to_owned();
    std::fs::write(
        &path,
        format!("{text}\n[watch]\nresponse = \"{response}\"\n"),
    )
    .unwrap();
    centre.start().await;
    let said = centre.said();
    assert!(
        said.contains("[watch] of sekisho.toml is in force now"),
        "{said}"
    );
}

async fn look(driver: &Client, columns: &str, id: i64) -> Result<usize, String> {
    let sql = format!("SELECT {columns} FROM customers WHERE id = {id}");
    match driver.query(&sql, &[]).await {
        Ok(rows) => Ok(rows.len()),
        Err(error) => {
            let error = error.as_db_error().expect("an answer of the gate");
            Err(format!(
                "{} {} {} {}",
                error.code().code(),
                error.message(),
                error.detail().unwrap_or_default(),
                error.hint().unwrap_or_default()
            ))
        }
    }
}

/// Plants one, and gives its id.
async fn plant(centre: &Centre) -> i64 {
    let arguments = ["canary", "plant", "--client", "c01", "--count", "1"];
    let place = [
        "--database",
        DATABASE,
        "--table",
        "customers",
        "--next",
        "id",
    ];
    centre.json(&[&arguments[..], &place[..]].concat()).await;
    let superuser = centre.postgres.connect(DATABASE).await.unwrap();
    let sql = "SELECT max(id) FROM customers";
    superuser.query_one(sql, &[]).await.unwrap().get(0)
}

async fn cases(centre: &Centre) -> Vec<Value> {
    let out = centre.run(&["case", "list", "--json"], "").await.unwrap();
    let read = |line| serde_json::from_str(line).unwrap();
    let mut all: Vec<Value> = out.lines().map(read).collect();
    all.sort_by_key(|case| case["case"].as_u64());
    all
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

async fn close(centre: &Centre, case: &str) {
    let words = ["--reason", "explained", "--text", "ticket R-1"];
    for approver in ["approver-1", "approver-2"] {
        let close = ["case", "close", case, "--as", approver];
        centre.json(&[&close[..], &words[..]].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_asks_for_a_reason_or_lowers_budgets() {
    let mut centre = set_up().await;
    respond(&mut centre, "ask-reason").await;
    let canary = plant(&centre).await;
    let tanaka = centre.connect("tanaka").await;
    tanaka
        .batch_execute("SET sekisho.purpose = 'call 1'")
        .await
        .unwrap();
    assert_eq!(look(&tanaka, "name", canary).await, Ok(1));
    let all = wait_for_cases(&centre, 1).await;
    assert_eq!(all[0]["response"], "ask-reason");
    // The purpose that it had before is no answer; what is not sealed goes on, and so do others.
    let refused = look(&tanaka, "name", 1_000_001).await.unwrap_err();
    assert!(
        refused.starts_with("42501 case 1 asks for a reason"),
        "{refused}"
    );
    assert!(refused.contains("SET sekisho.purpose"), "{refused}");
    assert_eq!(look(&tanaka, "id", 1_000_001).await, Ok(1));
    let searched = tanaka
        .query(
            "SELECT id FROM customers WHERE phone = '090-1234-5678'",
            &[],
        )
        .await;
    assert!(searched.is_err(), "a search asks, too");
    let suzuki = centre.connect("suzuki").await;
    assert_eq!(look(&suzuki, "name", 1_000_001).await, Ok(1));
    tanaka
        .batch_execute("SET sekisho.purpose = 'call 2'")
        .await
        .unwrap();
    assert_eq!(look(&tanaka, "name", 1_000_001).await, Ok(1));
    // Each session is asked, until people have closed the case.
    let again = centre.connect("tanaka").await;
    assert!(look(&again, "name", 1_000_002).await.is_err());
    close(&centre, "1").await;
    assert_eq!(look(&again, "name", 1_000_002).await, Ok(1));

    centre.stop().await;
    respond(&mut centre, "lower-budget").await;
    let suzuki = centre.connect("suzuki").await;
    assert_eq!(look(&suzuki, "name", canary).await, Ok(1));
    let all = wait_for_cases(&centre, 2).await;
    assert_eq!(all[1]["response"], "lower-budget");
    // Two people so far, of six.
    for id in 1_000_002..=1_000_005 {
        assert_eq!(look(&suzuki, "name", id).await, Ok(1));
    }
    let refused = look(&suzuki, "name", 1_000_006).await.unwrap_err();
    assert!(
        refused.starts_with("53400 budget ended: 6 customers"),
        "{refused}"
    );
    assert!(refused.contains("Case 2 lowers it"), "{refused}");
    close(&centre, "2").await;
    assert_eq!(look(&suzuki, "name", 1_000_006).await, Ok(1));

    moved(&centre).await;
    centre.stop().await;
}

/// Cells of two rows are exchanged in the database: whoever reads them is not to blame.
async fn moved(centre: &Centre) {
    let superuser = centre.postgres.connect(DATABASE).await.unwrap();
    let exchange = "UPDATE customers c SET name = o.name FROM customers o \
                    WHERE (c.id, o.id) IN ((1000011, 1000012), (1000012, 1000011))";
    superuser.batch_execute(exchange).await.unwrap();
    let sato = centre.connect("sato").await;
    let joined = "SELECT a.name, b.birth_date FROM customers a JOIN customers b \
                  ON b.id = a.id + 1 WHERE a.id = 1000020";
    assert_eq!(sato.query(joined, &[]).await.unwrap().len(), 1);
    assert_eq!(look(&sato, "name, birth_date", 1_000_011).await, Ok(1));
    let all = wait_for_cases(centre, 3).await;
    assert_eq!(
        all[2]["detectors"],
        serde_json::json!(["tamper"]),
        "{all:?}"
    );
    assert_eq!(all[2]["response"], "none");
    let shown = ["case", "show", "3", "--as", "approver-1"];
    let shown = centre.json(&shown).await.to_string();
    assert!(
        shown.contains("somebody moved them past the gate"),
        "{shown}"
    );
    // A replay of the ledger says the same.
    let replayed = ["watch", "replay", "--lists", "--json"];
    let replayed = centre.run(&replayed, "").await.unwrap();
    let tampered = replayed
        .lines()
        .filter(|it| it.contains("\"detector\":\"tamper\""));
    assert_eq!(tampered.count(), 1, "{replayed}");
}
