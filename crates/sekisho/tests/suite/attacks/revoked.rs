//! Attacks 11 and 23: whoever lost his right in the middle of something, and a flood of logins.

use std::time::Instant;

use event::record::Body;
use futures_util::StreamExt;
use tokio_postgres::NoTls;

use super::{Answer, Trial, simple};
use crate::evidence::{Evidence, SHOWN_WITHIN, Seen};

/// Rows of the long read; all of one customer, so that no budget ends it.
const ROWS: usize = 300_000;
/// Logins of the flood.
const LOGINS: usize = 200;

pub(crate) async fn run(trial: &mut Trial) {
    in_the_middle_of_a_copy(trial).await;
    between_two_fetches(trial).await;
    flood_of_logins(trial).await;
}

async fn revoke(trial: &Trial, login: &str) {
    let done = trial
        .centre
        .json(&["actor", "set", login, "--active", "false"])
        .await;
    assert_eq!(done["in_force"].as_bool(), Some(true), "{done}");
}

/// Records until the one that put a revocation in force, and those after it.
async fn around_the_revocation(evidence: &mut Evidence) -> (Vec<Seen>, Vec<Seen>) {
    let end = Instant::now() + SHOWN_WITHIN;
    let (mut before, mut after, mut found) = (Vec::new(), Vec::new(), false);
    // A record written after the end of the read shows that all of the read's are shown.
    while Instant::now() < end {
        for seen in evidence.read_on() {
            if found {
                after.push(seen);
            } else {
                found = matches!(seen.body, Body::InForce { .. });
                before.push(seen);
            }
        }
        let closed = |seen: &Seen| matches!(seen.body, Body::SessionClosed { .. });
        if found && after.iter().any(closed) {
            return (before, after);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the revocation is not shown");
}

async fn in_the_middle_of_a_copy(trial: &mut Trial) {
    let mut evidence = Evidence::of(&trial.centre.dir);
    evidence.read_on();
    let driver = trial.centre.connect("leaver").await;
    let sql = format!(
        "COPY (SELECT c.name FROM customers c, generate_series(1, {ROWS}) WHERE c.id = 1000001) TO STDOUT"
    );
    let stream = driver.copy_out(&sql).await.unwrap();
    let mut stream = std::pin::pin!(stream);
    let (mut rows, mut code) = (0, None);
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(_) => rows += 1,
            Err(error) => {
                code = error.code().map(|code| code.code().to_owned());
                break;
            }
        }
        if rows == 100 {
            revoke(trial, "leaver").await;
        }
    }
    let stopped = rows < ROWS && matches!(code.as_deref(), Some("40001" | "42501"));
    trial.case(
        "11",
        "revoked in the middle of a COPY",
        stopped,
        format!("{rows} of {ROWS} rows, then {code:?}"),
    );
    let again = simple(&driver, "SELECT name FROM customers WHERE id = 1000001").await;
    refused(trial, "another statement of the same session", &again);
    drop(driver);
    let (before, after) = around_the_revocation(&mut evidence).await;
    let exposures = |all: &[Seen]| all.iter().filter(|seen| seen.exposure().is_some()).count();
    trial.case(
        "11",
        "nothing is recorded, and so released, after the revocation",
        exposures(&before) > 0 && exposures(&after) == 0,
        format!("{} before, {} after", exposures(&before), exposures(&after)),
    );
    let login = trial.centre.config("leaver").connect(NoTls).await;
    trial.case("11", "a new login", login.is_err(), login.is_err());
}

fn refused(trial: &mut Trial, name: &str, answer: &Answer) {
    let held = matches!(answer.as_ref().err().map(String::as_str), Some("42501"));
    trial.case("11", name, held, format!("{answer:?}"));
}

async fn between_two_fetches(trial: &mut Trial) {
    let driver = trial.centre.connect("holder").await;
    for sql in [
        "BEGIN",
        "DECLARE k CURSOR WITH HOLD FOR SELECT name FROM customers WHERE client_id = 1 ORDER BY id",
        "COMMIT",
        "PREPARE p AS SELECT name FROM customers WHERE id = 1000001",
    ] {
        simple(&driver, sql).await.unwrap();
    }
    let first = simple(&driver, "FETCH 2 FROM k").await.unwrap();
    assert!(trial.leaks(first[0][0].as_deref().unwrap()), "he may");
    revoke(trial, "holder").await;
    for (name, sql) in [
        ("FETCH from a held cursor", "FETCH 2 FROM k"),
        ("EXECUTE of a prepared statement", "EXECUTE p"),
    ] {
        let answer = simple(&driver, sql).await;
        refused(trial, name, &answer);
    }
}

/// 23. They are refused, do not fill the ledger, and sealed reads go on.
async fn flood_of_logins(trial: &mut Trial) {
    let mut evidence = Evidence::of(&trial.centre.dir);
    evidence.read_on();
    let driver = trial.centre.connect("reader").await;
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..LOGINS {
        let mut config = trial.centre.config("wire");
        config.password("wrong").user(format!("nobody-{}", n % 7));
        flood.spawn(async move { config.connect(NoTls).await.is_err() });
    }
    let mut reads = 0;
    while !flood.is_empty() {
        let sql = "SELECT name FROM customers WHERE id = 1000001";
        assert_eq!(simple(&driver, sql).await.unwrap().len(), 1);
        reads += 1;
        while let Some(refused) = flood.try_join_next() {
            assert!(refused.unwrap(), "a wrong password");
        }
    }
    trial.case(
        "23",
        "sealed reads go on in a flood of logins",
        reads > 0,
        reads,
    );
    let (mut records, mut counted) = (0, 0);
    let end = Instant::now() + SHOWN_WITHIN;
    while counted < LOGINS && Instant::now() < end {
        for seen in evidence.read_on() {
            if let Body::Refused { count, .. } = seen.body {
                records += 1;
                counted += count as usize;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    trial.case(
        "23",
        "they are all counted, in few records",
        counted >= LOGINS && records * 2 < LOGINS,
        format!("{counted} in {records} records"),
    );
}
