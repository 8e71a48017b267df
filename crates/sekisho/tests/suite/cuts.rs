//! A statement that is cut at its third row leaves PostgreSQL as an error of PostgreSQL's own would:
//! the same transaction status, the same tables, cursors, locks and settings, in every shape that a
//! statement can have. The control of each shape is the same shape with a division by zero.

use crate::driver::{one, simple};
use crate::stage::Stage;
use futures_util::{StreamExt, future};
use tokio_postgres::Client;

/// SQLSTATE of a budget that ended.
const CUT: &str = "53400";
/// SQLSTATE of a division by zero.
const ERROR: &str = "22012";

#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    /// One simple Query; its rows before the error are not counted by this driver.
    Simple,
    /// Parse, Bind, Execute, Sync.
    Extended,
    /// A portal that is fetched row by row.
    Portal,
    /// COPY TO STDOUT.
    Copy,
    /// Extended, with a COMMIT already behind it in the pipeline.
    Pipelined,
}

struct Shape {
    name: &'static str,
    before: &'static [&'static str],
    /// `{}` is the column whose third value is not released, or that cannot be computed.
    statement: &'static str,
    how: How,
    after: &'static [&'static str],
}

const fn shape(name: &'static str, how: How, statement: &'static str) -> Shape {
    Shape {
        name,
        before: &[],
        statement,
        how,
        after: &[],
    }
}

const BEGIN: &[&str] = &[
    "BEGIN",
    "INSERT INTO calls (client_id, topic) VALUES (3, 'of a cut')",
    "SET LOCAL work_mem = '5MB'",
    "SELECT pg_advisory_xact_lock(7)",
];
const ROLLBACK: &[&str] = &["ROLLBACK"];

fn shapes() -> Vec<Shape> {
    use How::{Copy, Extended, Pipelined, Portal, Simple};
    let in_transaction = |name, how, statement| Shape {
        name,
        before: BEGIN,
        statement,
        how,
        after: ROLLBACK,
    };
    vec![
        shape(
            "SELECT, simple",
            Simple,
            "SELECT {} FROM customers WHERE client_id = 3",
        ),
        shape(
            "SELECT, extended",
            Extended,
            "SELECT {} FROM customers WHERE client_id = 3",
        ),
        shape(
            "UNION ALL",
            Simple,
            "SELECT {} FROM customers WHERE client_id = 3 UNION ALL SELECT {} FROM customers WHERE client_id = 3",
        ),
        shape(
            "UPDATE RETURNING",
            Simple,
            "UPDATE customers SET created = '2001-01-01' WHERE client_id = 3 RETURNING {}",
        ),
        shape(
            "UPDATE RETURNING, extended",
            Extended,
            "UPDATE customers SET created = '2001-01-01' WHERE client_id = 3 RETURNING {}",
        ),
        shape(
            "DELETE RETURNING",
            Simple,
            "DELETE FROM customers WHERE client_id = 3 RETURNING {}",
        ),
        shape(
            "INSERT RETURNING",
            Extended,
            "INSERT INTO customers (id, client_id, name, created) SELECT id + 900000, client_id, name, '2001-01-01' FROM customers WHERE client_id = 3 RETURNING {}",
        ),
        shape(
            "DELETE in WITH",
            Simple,
            "WITH gone AS (DELETE FROM customers WHERE client_id = 3 RETURNING id, name) SELECT {} FROM gone",
        ),
        shape(
            "INSERT in WITH",
            Simple,
            "WITH w AS (INSERT INTO calls (client_id) VALUES (3) RETURNING id AS call) SELECT {}, call FROM customers, w WHERE client_id = 3",
        ),
        shape(
            "a function that inserts",
            Extended,
            "SELECT note_call(client_id), {} FROM customers WHERE client_id = 3",
        ),
        shape(
            "several statements",
            Simple,
            "INSERT INTO calls (client_id, topic) VALUES (3, 'kept?'); SELECT {} FROM customers WHERE client_id = 3; INSERT INTO calls (client_id) VALUES (3)",
        ),
        shape(
            "several statements, COMMIT last",
            Simple,
            "BEGIN; INSERT INTO calls (client_id) VALUES (3); SELECT {} FROM customers WHERE client_id = 3; COMMIT",
        ),
        shape(
            "COMMIT before",
            Simple,
            "BEGIN; INSERT INTO calls (client_id) VALUES (3); COMMIT; SELECT {} FROM customers WHERE client_id = 3",
        ),
        shape(
            "a cursor, FETCH ALL",
            Simple,
            "BEGIN; DECLARE k CURSOR FOR SELECT {} FROM customers WHERE client_id = 3; FETCH ALL FROM k; COMMIT",
        ),
        Shape {
            name: "a cursor, FETCH by FETCH",
            before: &[
                "BEGIN",
                "DECLARE k CURSOR FOR SELECT {} FROM customers WHERE client_id = 3",
                "INSERT INTO calls (client_id) VALUES (3)",
            ],
            statement: "FETCH 50 FROM k",
            how: Extended,
            after: ROLLBACK,
        },
        shape(
            "COPY TO STDOUT",
            Copy,
            "COPY (SELECT {} FROM customers WHERE client_id = 3) TO STDOUT",
        ),
        in_transaction(
            "SELECT in a transaction",
            Simple,
            "SELECT {} FROM customers WHERE client_id = 3",
        ),
        in_transaction(
            "extended in a transaction",
            Extended,
            "SELECT {} FROM customers WHERE client_id = 3",
        ),
        in_transaction(
            "COPY in a transaction",
            Copy,
            "COPY (SELECT {} FROM customers WHERE client_id = 3) TO STDOUT",
        ),
        shape(
            "a portal, row by row",
            Portal,
            "SELECT {} FROM customers WHERE client_id = 3",
        ),
        in_transaction(
            "COMMIT in the pipeline",
            Pipelined,
            "SELECT {} FROM customers WHERE client_id = 3",
        ),
        Shape {
            name: "a savepoint",
            before: &[
                "BEGIN",
                "INSERT INTO calls (client_id) VALUES (3)",
                "SAVEPOINT s",
                "INSERT INTO calls (client_id) VALUES (3)",
            ],
            statement: "SELECT {} FROM customers WHERE client_id = 3",
            how: Simple,
            after: &[
                "ROLLBACK TO s",
                "INSERT INTO calls (client_id) VALUES (3)",
                "COMMIT",
            ],
        },
        Shape {
            name: "a savepoint released in vain",
            before: &[
                "BEGIN",
                "SAVEPOINT s",
                "INSERT INTO calls (client_id) VALUES (3)",
            ],
            statement: "SELECT {} FROM customers WHERE client_id = 3",
            how: Extended,
            after: &["RELEASE s", "COMMIT"],
        },
    ]
}

/// What can be seen of a session and the tables after a statement failed.
#[derive(PartialEq, Debug)]
struct State {
    code: Option<String>,
    status: char,
    /// SQLSTATE of each statement afterwards.
    after: Vec<Option<String>>,
    calls: i64,
    customers: String,
    changed: String,
    cursors: String,
    locks: String,
    work_mem: String,
}

#[tokio::test]
async fn a_cut_is_an_error_like_postgresqls_own() {
    let stage = Stage::start();
    let owner = stage.connect("suzuki", "callcentre").await;
    owner
        .batch_execute(
            "CREATE FUNCTION note_call(client integer) RETURNS integer LANGUAGE sql AS \
             'INSERT INTO calls (client_id) VALUES (client) RETURNING 1'",
        )
        .await
        .unwrap();
    let mut wrong = Vec::new();
    for shape in shapes() {
        eprintln!("{}", shape.name);
        let (control, _) = run(&stage, &owner, &shape, "1 / (id - id)", None).await;
        let (cut, rows) = run(&stage, &owner, &shape, "name", Some(2)).await;
        assert_eq!(control.code.as_deref(), Some(ERROR), "{}", shape.name);
        if cut.code.as_deref() != Some(CUT) {
            wrong.push(format!("{}: {:?}", shape.name, cut.code));
        }
        let whole = matches!(shape.how, How::Extended | How::Copy | How::Portal);
        if whole && rows != 2 {
            wrong.push(format!("{}: {rows} rows before the cut", shape.name));
        }
        let cut = State {
            code: control.code.clone(),
            ..cut
        };
        if cut != control {
            wrong.push(format!("{}: {cut:?}\ncontrol: {control:?}", shape.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn run(
    stage: &Stage,
    owner: &Client,
    shape: &Shape,
    column: &str,
    amount: Option<u32>,
) -> (State, usize) {
    let calls: i64 = one(owner, "SELECT count(*) FROM calls")
        .await
        .parse()
        .unwrap();
    let mut driver = match amount {
        Some(amount) => stage.with_grant("sato", 3, amount).await,
        None => stage.connect("sato", "callcentre").await,
    };
    for sql in shape.before {
        simple(&driver, &sql.replace("{}", column)).await.unwrap();
    }
    let sql = shape.statement.replace("{}", column);
    let (rows, code) = match shape.how {
        How::Simple => (0, simple(&driver, &sql).await.err()),
        How::Extended => extended(&driver, &sql).await,
        How::Copy => copy(&driver, &sql).await,
        How::Portal => portal(&mut driver, &sql).await,
        How::Pipelined => {
            let (result, _) =
                future::join(extended(&driver, &sql), simple(&driver, "COMMIT")).await;
            result
        }
    };
    let status = status(&driver).await;
    let mut after = Vec::new();
    for sql in shape.after {
        after.push(simple(&driver, sql).await.err());
    }
    if after.is_empty() && status != 'I' {
        simple(&driver, "ROLLBACK").await.unwrap();
    }
    let count = async |sql: &str| one(&driver, sql).await;
    let state = State {
        code,
        status,
        after,
        calls: one(owner, "SELECT count(*) FROM calls")
            .await
            .parse::<i64>()
            .unwrap()
            - calls,
        customers: count("SELECT count(*) FROM customers").await,
        changed: count("SELECT count(*) FROM customers WHERE created = '2001-01-01'").await,
        cursors: count("SELECT count(*) FROM pg_cursors WHERE statement LIKE '%customers%'").await,
        locks: count("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").await,
        work_mem: count("SHOW work_mem").await,
    };
    (state, rows)
}

/// I: idle, T: in a transaction, E: in a failed one.
async fn status(driver: &Client) -> char {
    match simple(driver, "SAVEPOINT probe; RELEASE probe").await {
        Ok(_) => 'T',
        Err(code) if code == "25P01" => 'I',
        Err(code) if code == "25P02" => 'E',
        Err(code) => panic!("SAVEPOINT: {code}"),
    }
}

fn code_of(error: &tokio_postgres::Error) -> String {
    error
        .code()
        .map_or_else(|| format!("lost: {error}"), |code| code.code().to_owned())
}

async fn extended(driver: &Client, sql: &str) -> (usize, Option<String>) {
    let rows = match driver.query_raw(sql, Vec::<String>::new()).await {
        Ok(rows) => rows,
        Err(error) => return (0, Some(code_of(&error))),
    };
    let mut rows = std::pin::pin!(rows);
    let mut count = 0;
    while let Some(row) = rows.next().await {
        match row {
            Ok(_) => count += 1,
            Err(error) => return (count, Some(code_of(&error))),
        }
    }
    (count, None)
}

async fn copy(driver: &Client, sql: &str) -> (usize, Option<String>) {
    let stream = match driver.copy_out(sql).await {
        Ok(stream) => stream,
        Err(error) => return (0, Some(code_of(&error))),
    };
    let mut stream = std::pin::pin!(stream);
    let mut lines = 0;
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(bytes) => lines += bytes.iter().filter(|byte| **byte == b'\n').count(),
            Err(error) => return (lines, Some(code_of(&error))),
        }
    }
    (lines, None)
}

/// Fetches row by row, in a transaction of the driver's own.
async fn portal(driver: &mut Client, sql: &str) -> (usize, Option<String>) {
    let transaction = driver.transaction().await.unwrap();
    simple(
        transaction.client(),
        "INSERT INTO calls (client_id) VALUES (3)",
    )
    .await
    .unwrap();
    let portal = match transaction.bind(sql, &[]).await {
        Ok(portal) => portal,
        Err(error) => return (0, Some(code_of(&error))),
    };
    let mut rows = 0;
    for _ in 0..5 {
        match transaction.query_portal(&portal, 1).await {
            Ok(more) => rows += more.len(),
            Err(error) => {
                assert_eq!(status(transaction.client()).await, 'E');
                transaction.rollback().await.unwrap();
                return (rows, Some(code_of(&error)));
            }
        }
    }
    (rows, None)
}
