//! A gate that serves, with real PostgreSQL behind it and a real driver before it: cuts, and
//! what an honest user expects.

use std::collections::BTreeSet;

use crate::driver::{one, simple};
use crate::stage::Stage;
use futures_util::{SinkExt, StreamExt};

#[tokio::test]
async fn the_gate_with_real_postgresql() {
    let stage = Stage::start();
    searches(&stage).await;
    writes(&stage).await;
    refusals(&stage).await;
    unsealed(&stage).await;
    nothing_leaked(&stage);
}

/// Exact search in every way that works, and what it finds.
async fn searches(stage: &Stage) {
    let driver = stage.connect("tanaka", "callcentre").await;
    simple(&driver, "SET sekisho.scope TO '1'").await.unwrap();
    assert_eq!(one(&driver, "SHOW sekisho.scope").await, "1");
    let phone = one(
        &driver,
        "SELECT phone FROM customers WHERE client_id = 1 AND id = 1000001",
    )
    .await;
    assert!(phone.starts_with('0') && phone.contains('-'), "{phone}");
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let wide: String = digits
        .chars()
        .map(|c| char::from_u32(c as u32 - 48 + '０' as u32).unwrap())
        .collect();
    for spelled in [&phone, &digits, &wide] {
        for sql in [
            format!("SELECT id FROM customers WHERE phone = '{spelled}'"),
            format!("SELECT id FROM customers WHERE phone IN ('{spelled}', '080-1111-2222')"),
            format!("SELECT id FROM customers WHERE phone = ANY (ARRAY['{spelled}'])"),
            format!("SELECT id FROM customers WHERE phone IS NOT DISTINCT FROM '{spelled}'"),
            format!(
                "SELECT c.id FROM customers c JOIN customers d ON c.phone = d.phone WHERE d.phone = '{spelled}'"
            ),
            format!(
                "WITH x AS (SELECT id, phone FROM customers) SELECT id FROM x WHERE phone = '{spelled}'"
            ),
        ] {
            assert_eq!(one(&driver, &sql).await, "1000001", "{sql}");
        }
        let rows = driver
            .query("SELECT id FROM customers WHERE phone = $1", &[spelled])
            .await
            .unwrap();
        assert_eq!(rows.len(), 1);
    }
    // Over several clients the same statement finds the same person.
    simple(&driver, "SET sekisho.scope TO DEFAULT")
        .await
        .unwrap();
    let rows = driver
        .query("SELECT id FROM customers WHERE phone = $1", &[&phone])
        .await
        .unwrap();
    assert!(rows.iter().any(|row| row.get::<_, i64>(0) == 1_000_001));
    // Containers carry cells whole.
    for sql in [
        "SELECT row_to_json(c) FROM customers c WHERE client_id = 1 AND id = 1000001",
        "SELECT json_build_object('p', phone) FROM customers WHERE client_id = 1 AND id = 1000001",
        "SELECT array_agg(phone) FROM customers WHERE client_id = 1 AND id = 1000001",
        "SELECT c FROM customers c WHERE client_id = 1 AND id = 1000001",
    ] {
        let shown = one(&driver, sql).await;
        assert!(shown.contains(&phone), "{sql}: {shown}");
    }
    assert_eq!(
        one(
            &driver,
            "SELECT count(*) FROM customers WHERE phone IS NULL AND client_id = 1"
        )
        .await,
        "0"
    );
}

/// Values go in sealed, as literals, parameters and COPY, and come back as they were.
async fn writes(stage: &Stage) {
    let driver = stage.connect("tanaka", "callcentre").await;
    simple(&driver, "SET sekisho.scope TO '1'").await.unwrap();
    simple(&driver, "INSERT INTO customers (id, client_id, name, phone) VALUES (1, 1, '新規 花子', '03-1111-2222'), (2, 1, NULL, DEFAULT)").await.unwrap();
    let none: Option<String> = None;
    driver
        .execute(
            "INSERT INTO customers (id, client_id, name, phone, note) VALUES ($1, $2, $3, $4, $5)",
            &[&3i64, &1i32, &"二人 目子", &"(03) 3333-4444", &none],
        )
        .await
        .unwrap();
    driver
        .execute(
            "UPDATE customers SET phone = $1 WHERE id = 2 AND client_id = 1",
            &[&"06-5555-6666"],
        )
        .await
        .unwrap();
    let copy = driver
        .copy_in("COPY customers (id, client_id, name, email) FROM STDIN (FORMAT csv)")
        .await
        .unwrap();
    let mut copy = std::pin::pin!(copy);
    copy.send(bytes::Bytes::from_static(
        "4,1,\"引用, 太\"\"郎\",COPY@Example.JP\n".as_bytes(),
    ))
    .await
    .unwrap();
    assert_eq!(copy.finish().await.unwrap(), 1);
    let rows = simple(
        &driver,
        "SELECT id, name, phone, email FROM customers WHERE id < 10 AND client_id = 1 ORDER BY id",
    )
    .await
    .unwrap();
    let shown: Vec<String> = rows
        .into_iter()
        .map(|row| {
            row.into_iter()
                .map(|v| v.unwrap_or_else(|| "-".to_owned()))
                .collect::<Vec<_>>()
                .join(" | ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "1 | 新規 花子 | 03-1111-2222 | -",
            "2 | - | 06-5555-6666 | -",
            "3 | 二人 目子 | 03-3333-4444 | -",
            "4 | 引用, 太\"郎 | - | copy@example.jp",
        ]
    );
    let twice = simple(
        &driver,
        "INSERT INTO customers (id, client_id, phone) VALUES (5, 1, '０３１１１１２２２２')",
    )
    .await;
    assert_eq!(
        twice,
        Err("23505".to_owned()),
        "one number, however it is spelled"
    );
    simple(
        &driver,
        "DELETE FROM customers WHERE id < 10 AND client_id = 1",
    )
    .await
    .unwrap();
}

/// What cannot be asked of a sealed column is an error that leaves the session usable.
async fn refusals(stage: &Stage) {
    let driver = stage.connect("tanaka", "callcentre").await;
    simple(&driver, "SET sekisho.scope TO '1'").await.unwrap();
    for (sql, code) in [
        ("SELECT id FROM customers WHERE phone LIKE '090%'", "0A000"),
        ("SELECT id FROM customers ORDER BY phone", "0A000"),
        ("SELECT id FROM customers WHERE phone < '0'", "0A000"),
        ("SELECT upper(name) FROM customers", "0A000"),
        ("SELECT name || '様' FROM customers", "0A000"),
        ("SELECT id FROM customers WHERE name = '山田 太郎'", "0A000"),
        ("SELECT phone::bigint FROM customers", "0A000"),
        ("SELECT min(phone) FROM customers", "0A000"),
        ("SELECT id FROM customers WHERE phone = '不明'", "22023"),
        (
            "SELECT id FROM customers WHERE phone = 'sealed:AAAA'",
            "22023",
        ),
        (
            "INSERT INTO customers (id, client_id, phone) VALUES (9, 1, '03-1234-5678(息子)')",
            "22023",
        ),
        (
            "INSERT INTO customers (id, client_id, name) SELECT id, client_id, topic FROM calls",
            "0A000",
        ),
        (
            "INSERT INTO customers (id, client_id, name) VALUES (9, 3, '他社 の人')",
            "42501",
        ),
        ("SET sekisho.scope TO '3'", "22023"),
        ("SET sekisho.nothing TO '3'", "22023"),
        (
            "MERGE INTO customers c USING calls k ON c.id = k.id WHEN MATCHED THEN UPDATE SET name = 'x'",
            "0A000",
        ),
        ("SELECT nothing FROM customers", "42703"),
        ("SELECT FROM WHERE customers", "42601"),
    ] {
        assert_eq!(simple(&driver, sql).await, Err(code.to_owned()), "{sql}");
        assert_eq!(one(&driver, "SELECT 1").await, "1", "after {sql}");
    }
    // Inside a transaction it behaves as an error of PostgreSQL's own.
    simple(&driver, "BEGIN").await.unwrap();
    assert_eq!(
        simple(&driver, "SELECT upper(name) FROM customers").await,
        Err("0A000".to_owned())
    );
    assert_eq!(simple(&driver, "SELECT 1").await, Err("25P02".to_owned()));
    simple(&driver, "ROLLBACK").await.unwrap();
    // A multi-statement string with a refusal has no effect at all.
    assert_eq!(
        simple(
            &driver,
            "INSERT INTO calls (client_id) VALUES (77); SELECT upper(name) FROM customers"
        )
        .await,
        Err("0A000".to_owned())
    );
    assert_eq!(
        one(&driver, "SELECT count(*) FROM calls WHERE client_id = 77").await,
        "0"
    );
}

/// What touches nothing sealed passes.
async fn unsealed(stage: &Stage) {
    let driver = stage.connect("tanaka", "callcentre").await;
    assert_eq!(
        simple(&driver, "SELECT 1; SELECT 2; SELECT 3")
            .await
            .unwrap()
            .len(),
        3
    );
    assert_eq!(simple(&driver, "SELEC 1").await, Err("42601".to_owned()));
    driver.batch_execute("BEGIN; INSERT INTO calls (client_id, topic) VALUES (1, 'x'); SAVEPOINT s; ROLLBACK TO s; COMMIT").await.unwrap();
    let rows = driver
        .query("SELECT topic FROM calls WHERE client_id = $1", &[&1i32])
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    // Longer than what the gate looks into, and than its buffers.
    assert_eq!(
        one(&driver, "SELECT repeat('x', 40000000)").await.len(),
        40_000_000
    );
    let copy = driver
        .copy_in("COPY calls (client_id, topic) FROM STDIN")
        .await
        .unwrap();
    let mut copy = std::pin::pin!(copy);
    for n in 0..1_000 {
        copy.send(bytes::Bytes::from(format!("2\ttopic {n}\n")))
            .await
            .unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), 1_000);
    let out = driver
        .copy_out("COPY (SELECT topic FROM calls WHERE client_id = 2) TO STDOUT")
        .await
        .unwrap();
    let bytes: usize = out
        .map(|chunk| chunk.unwrap().len())
        .fold(0, |sum, n| async move { sum + n })
        .await;
    assert!(bytes > 8_000);
    // Fifty at once on one connection: the driver pipelines them.
    let driver = std::sync::Arc::new(driver);
    let mut many = tokio::task::JoinSet::new();
    for n in 0..50i32 {
        let driver = std::sync::Arc::clone(&driver);
        many.spawn(async move {
            driver
                .query_one("SELECT $1::int + 1", &[&n])
                .await
                .unwrap()
                .get::<_, i32>(0)
                - n
        });
    }
    assert!(
        many.join_all()
            .await
            .into_iter()
            .all(|difference| difference == 1)
    );
    let cancel = driver.cancel_token();
    let slow = driver.simple_query("SELECT pg_sleep(60)");
    let (slow, _) = tokio::join!(slow, async {
        loop {
            let other = stage.connect("suzuki", "callcentre").await;
            let sleeps = one(
                &other,
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'",
            )
            .await;
            if sleeps != "0" {
                break;
            }
        }
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    });
    assert_eq!(slow.unwrap_err().code().unwrap().code(), "57014");
    assert_eq!(
        one(&driver, "SELECT 1").await,
        "1",
        "the cancel hits nothing else"
    );
}

/// No plaintext in the server's files and logs, nor in the ledger; canaries in places that are not
/// values neither.
fn nothing_leaked(stage: &Stage) {
    for folder in ["postgres/data", "ledger"] {
        let mut files = BTreeSet::from([stage.dir.join(folder)]);
        let mut looked_at = 0;
        while let Some(path) = files.pop_first() {
            if path.is_dir() {
                files.extend(
                    std::fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else if let Ok(bytes) = std::fs::read(&path) {
                looked_at += 1;
                assert!(!stage.holds_plaintext(&bytes), "{}", path.display());
            }
        }
        assert!(looked_at > 0, "{folder}");
    }
}
