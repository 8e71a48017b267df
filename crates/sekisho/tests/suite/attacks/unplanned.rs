//! Invariant 2 end to end: what cannot be planned on sealed columns is refused before it is sent.
//!
//! Tried twice: at PostgreSQL, where each try has to end with the gate's own error; and at a server
//! that keeps every byte it is sent ([`heard`]), where no plain value may be among them.

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use pgwire::frontend;

use super::protocol::{BY_ID, phone};
use super::wire::{Wire, bind_execute, code, parse, query, rows, status, sync, tags, together};
use super::{Trial, one, simple, texts, trap};
use crate::centre::DATABASE;

/// In which the gate has looked at the catalogue again.
const LOOKED: std::time::Duration = std::time::Duration::from_secs(20);

pub(crate) async fn run(trial: &mut Trial) {
    in_disguise(trial).await;
    other_encodings(trial).await;
    too_long(trial).await;
    another_scope(trial).await;
    function_calls(trial).await;
    functions_that_reach_sealed_columns(trial).await;
    without_a_pin(trial).await;
}

/// Statements with plain values that look sealed, or stand where no value is looked for; and the
/// error of each, if it has to have one.
fn tries(person: &str, phone: &str) -> Vec<(&'static str, String, Option<&'static str>)> {
    let encoded = base64_simd::URL_SAFE_NO_PAD.encode_to_string(person.as_bytes());
    let update = |set: &str| format!("UPDATE customers SET {set} WHERE id = -1");
    let find = |condition: &str| format!("SELECT id FROM customers WHERE {condition}");
    let not = Some("0A000");
    vec![
        (
            "sealed: and base64 of a name",
            format!(
                "INSERT INTO customers (id, client_id, name) VALUES (701, 1, 'sealed:{encoded}')"
            ),
            Some("22023"),
        ),
        (
            "a name in an expression",
            format!(
                "INSERT INTO customers (id, client_id, name) VALUES (702, 1, lower('{person}'))"
            ),
            not,
        ),
        (
            "a name by a subselect",
            format!(
                "INSERT INTO customers (id, client_id, name) SELECT 703, 1, v FROM (VALUES ('{person}')) x(v)"
            ),
            not,
        ),
        (
            "a name by concatenation",
            update(&format!("name = 'x' || '{person}'")),
            not,
        ),
        (
            "a name by CASE",
            update(&format!("name = CASE WHEN true THEN '{person}' END")),
            None,
        ),
        (
            "a name in a column that is not in the pin",
            update(&format!("nickname = '{person}'")),
            Some("42703"),
        ),
        (
            "a name beside a column that is not in the pin",
            find(&format!("nickname = '{person}'")),
            Some("42703"),
        ),
        (
            "a name by a table's name that FROM hides",
            format!("SELECT c.id FROM customers c WHERE customers.name = '{person}'"),
            Some("42P01"),
        ),
        (
            "a name in LIKE",
            find(&format!("name LIKE '{person}%'")),
            not,
        ),
        (
            "a number in LIKE",
            find(&format!("phone LIKE '{phone}%'")),
            not,
        ),
        (
            "a number in an order",
            find(&format!("phone > '{phone}'")),
            not,
        ),
        (
            "a number in a cast",
            find(&format!("phone = '{phone}'::varchar(20)")),
            not,
        ),
        (
            "a number in a collation",
            find(&format!("phone = '{phone}' COLLATE \"C\"")),
            not,
        ),
        (
            "a number in an index",
            format!("CREATE INDEX ON customers (id) WHERE phone = '{phone}'"),
            not,
        ),
        (
            "a number in a function",
            find(&format!("md5(phone) = md5('{phone}')")),
            not,
        ),
        (
            "a number after a change of the encoding",
            format!(
                "SET client_encoding TO 'SJIS'; {}",
                find(&format!("phone = '{phone}'"))
            ),
            not,
        ),
        (
            "a name in MERGE",
            format!(
                "MERGE INTO customers c USING (SELECT 1 AS id) n ON c.id = -n.id WHEN MATCHED THEN UPDATE SET name = '{person}'"
            ),
            not,
        ),
        (
            "a name in code",
            format!("DO $$ BEGIN UPDATE customers SET name = '{person}' WHERE id = -1; END $$"),
            not,
        ),
        (
            "a name in a function's body",
            format!(
                "CREATE FUNCTION named() RETURNS void LANGUAGE sql AS 'UPDATE customers SET name = ''{person}'' WHERE id = -1'"
            ),
            not,
        ),
        (
            "a name as a column's default",
            format!("ALTER TABLE customers ALTER name SET DEFAULT '{person}'"),
            not,
        ),
        (
            "a name in a view",
            format!("CREATE VIEW named AS SELECT id FROM customers WHERE name = '{person}'"),
            not,
        ),
        (
            "a name under a table's name in Unicode escapes",
            format!("UPDATE U&\"\\0063ustomers\" SET name = '{person}' WHERE id = -1"),
            None,
        ),
        (
            "a name in what does not parse",
            format!("UPDATE customers SET name = '{person}' WHERE ("),
            Some("42601"),
        ),
    ]
}

/// 3. At PostgreSQL. Its files are searched for the values when all is done.
async fn in_disguise(trial: &mut Trial) {
    let writer = trial.centre.connect("writer").await;
    let (person, phone) = trap(40);
    for (name, sql, expected) in tries(&person, &phone) {
        let answer = simple(&writer, &sql).await;
        let _ = simple(&writer, "RESET client_encoding").await;
        let came = answer.as_ref().err().map(String::as_str);
        let held = !trial.leaks(texts(&answer).join("\n")) && came == expected;
        trial.case("3", name, held, format!("{came:?}"));
    }
    let postgres = trial.centre.postgres.connect(DATABASE).await.unwrap();
    postgres
        .batch_execute("DELETE FROM customers WHERE id < 1000000")
        .await
        .unwrap();
}

/// 14. In another encoding than UTF-8 nothing sealed runs, whenever it was planned.
async fn other_encodings(trial: &mut Trial) {
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let named = "SELECT phone FROM customers WHERE id = 1000001";
    wire.ask(&together(&[parse("s", BY_ID), sync()])).await;
    wire.ask(&query(&format!("PREPARE p AS {named}"))).await;
    let set = "SET client_encoding TO 'SJIS'";
    let mut copy_in = query("COPY customers (id, client_id, name) FROM STDIN");
    frontend::write_copy_done(&mut copy_in);
    wire.ask(&query(set)).await;
    for (name, bytes) in [
        ("a statement", query(named).to_vec()),
        (
            "a Parse",
            together(&[parse("", named), bind_execute("", None), sync()]),
        ),
        (
            "a Bind to what was parsed before",
            together(&[bind_execute("s", Some("1000001")), sync()]),
        ),
        (
            "EXECUTE of what was prepared before",
            query("EXECUTE p").to_vec(),
        ),
        (
            "COPY out",
            query("COPY customers (phone) TO STDOUT").to_vec(),
        ),
        ("COPY in", copy_in.to_vec()),
    ] {
        let got = wire.ask(&bytes).await;
        let held = code(&got).as_deref() == Some("0A000") && !trial.leaks(together_bytes(&got));
        trial.case(
            "14",
            format!("{name} in Shift_JIS"),
            held,
            format!("{} {:?}", tags(&got), code(&got)),
        );
    }
    let plain = wire.ask(&query("SELECT 1")).await;
    let back = wire.ask(&query("RESET client_encoding")).await;
    let after = wire.ask(&query(named)).await;
    let held = rows(&plain) == ["1"] && code(&back).is_none() && rows(&after) == [phone(1_000_001)];
    trial.case(
        "14",
        "what is not sealed runs, and after a RESET all does",
        held,
        tags(&after),
    );
    // A SET that an error takes back, in either direction, without a word of PostgreSQL.
    wire.ask(&query(&format!("{set}; SELECT 1 / 0"))).await;
    let goes_on = wire.ask(&query(named)).await;
    wire.ask(&query(set)).await;
    wire.ask(&query("SET client_encoding TO 'UTF8'; SELECT 1 / 0"))
        .await;
    let still = wire.ask(&query(named)).await;
    wire.ask(&query("RESET client_encoding")).await;
    let held = rows(&goes_on) == [phone(1_000_001)] && code(&still).as_deref() == Some("0A000");
    trial.case(
        "14",
        "a SET that is rolled back leaves what was before",
        held,
        format!("{} {:?}", tags(&goes_on), code(&still)),
    );
    // 表 ends with a backslash in Shift_JIS.
    let mut hidden = format!("{set}; SELECT '").into_bytes();
    hidden.extend_from_slice(b"\x95\x5c'; UPDATE customers SET name = 'x' WHERE id = -1 --'");
    let got = wire.ask(&query_bytes(&hidden)).await;
    let held = code(&got).as_deref() == Some("22021");
    trial.case(
        "14",
        "a statement that is not UTF-8",
        held,
        format!("{:?}", code(&got)),
    );
}

fn together_bytes(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
    messages.iter().flat_map(|(_, body)| body.clone()).collect()
}

fn query_bytes(sql: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    frontend::write_query(&mut out, sql).unwrap();
    out
}

/// A statement, and a Bind, longer than what is looked into.
fn long(person: &str) -> [(&'static str, Vec<u8>); 3] {
    let room = " ".repeat(1 << 20);
    let sql = format!("UPDATE customers SET name = '{person}' WHERE id = -1{room}");
    let note = format!("{person}{room}");
    let update = parse("", "UPDATE customers SET note = $1 WHERE id = -1");
    [
        ("a Query", query(&sql).to_vec()),
        (
            "a Parse",
            together(&[parse("", &sql), bind_execute("", None), sync()]),
        ),
        (
            "a Bind",
            together(&[update, bind_execute("", Some(&note)), sync()]),
        ),
    ]
}

async fn too_long(trial: &mut Trial) {
    let mut wire = Wire::log_in(&trial.centre, "writer").await;
    for (name, bytes) in long(&trap(42).0) {
        let got = wire.ask(&bytes).await;
        let after = wire.ask(&query("SELECT 1")).await;
        let held = code(&got).as_deref() == Some("54000") && rows(&after) == ["1"];
        trial.case(
            "15",
            format!("{name} with a name that is too long to look into"),
            held,
            format!("{} {:?}", tags(&got), code(&got)),
        );
    }
}

/// What was planned for one scope does not run in another.
async fn another_scope(trial: &mut Trial) {
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let search = "SELECT phone FROM customers WHERE phone = $1";
    wire.ask(&together(&[parse("s", search), sync()])).await;
    wire.ask(&query("SET sekisho.scope TO '2'")).await;
    let got = wire
        .ask(&together(&[
            bind_execute("s", Some(&phone(1_000_003))),
            sync(),
        ]))
        .await;
    let held = code(&got).as_deref() == Some("55000");
    trial.case(
        "15",
        "a statement bound in another scope",
        held,
        format!("{:?}", code(&got)),
    );
    wire.ask(&query("RESET sekisho.scope")).await;
    let mut bound = BytesMut::new();
    frontend::write_bind(&mut bound, b"q", b"t", [], [Some(&b"1000003"[..])], []).unwrap();
    let mut execute = BytesMut::new();
    frontend::write_execute(&mut execute, b"q", 0).unwrap();
    let got = wire
        .ask(&together(&[
            parse("t", BY_ID),
            bound,
            parse("", "SET sekisho.scope TO '2'"),
            bind_execute("", None),
            execute,
            sync(),
        ]))
        .await;
    let held = code(&got).as_deref() == Some("55000") && status(&got) == Some('I');
    trial.case(
        "15",
        "a portal executed in another scope",
        held,
        format!("{} {:?}", tags(&got), code(&got)),
    );
}

/// A function called by its number, without a statement.
async fn function_calls(trial: &mut Trial) {
    let maintainer = trial.centre.connect("suzuki").await;
    let define = "CREATE FUNCTION taken(text) RETURNS text LANGUAGE sql AS 'SELECT $1'";
    simple(&maintainer, define).await.unwrap();
    let own = one(&maintainer, "SELECT 'taken'::regproc::oid").await;
    let builtin = one(
        &maintainer,
        "SELECT 'pg_catalog.length(text)'::regprocedure::oid",
    )
    .await;
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let call = |oid: &str| {
        let mut out = BytesMut::new();
        let name = trap(43).0;
        let arguments = [Some(name.as_bytes())];
        frontend::write_function_call(&mut out, oid.parse().unwrap(), [], arguments, 0).unwrap();
        out
    };
    let passes = wire.ask(&call(&builtin)).await;
    let got = wire.ask(&call(&own)).await;
    let after = wire.ask(&query("SELECT 1")).await;
    let held = code(&got).as_deref() == Some("0A000") && rows(&after) == ["1"];
    trial.case(
        "15",
        "one's own function by its number",
        held,
        format!("{} {:?}", tags(&got), code(&got)),
    );
    trial.case(
        "15",
        "(control) PostgreSQL's own",
        tags(&passes) == "VZ",
        tags(&passes),
    );
    simple(&maintainer, "DROP FUNCTION taken(text)")
        .await
        .unwrap();
}

/// Functions whose bodies search for what they are given, which the gate cannot seal there.
async fn functions_that_reach_sealed_columns(trial: &mut Trial) {
    let maintainer = trial.centre.connect("suzuki").await;
    for define in [
        "CREATE FUNCTION found(text) RETURNS bigint LANGUAGE sql AS 'SELECT id FROM customers WHERE phone = $1'",
        "CREATE PROCEDURE find(text) LANGUAGE sql AS 'UPDATE customers SET id = id WHERE phone = $1'",
    ] {
        simple(&maintainer, define).await.unwrap();
    }
    let writer = trial.centre.connect("writer").await;
    let number = trap(44).1;
    for (name, sql) in [
        ("a function", format!("SELECT found('{number}')")),
        ("a procedure", format!("CALL find('{number}')")),
    ] {
        // Known to the gate when it has looked at the catalogue.
        let deadline = std::time::Instant::now() + LOOKED;
        let mut answer = simple(&writer, &sql).await;
        while answer.is_ok() && std::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            answer = simple(&writer, &sql).await;
        }
        let held = answer == Err("0A000".to_owned());
        trial.case(
            "3",
            format!("a number given to {name} that searches for it"),
            held,
            format!("{answer:?}"),
        );
    }
    for undo in ["DROP FUNCTION found(text)", "DROP PROCEDURE find(text)"] {
        simple(&maintainer, undo).await.unwrap();
    }
}

/// A restored copy, which nobody has pinned: cells stay cells, and nothing is searched or sealed.
async fn without_a_pin(trial: &mut Trial) {
    let postgres = trial.centre.postgres.connect(DATABASE).await.unwrap();
    let cell = one(&postgres, "SELECT phone FROM customers WHERE id = 1000001").await;
    postgres
        .batch_execute("CREATE DATABASE restored")
        .await
        .unwrap();
    let restored = trial.centre.postgres.connect("restored").await.unwrap();
    restored
        .batch_execute(&format!(
            "CREATE TABLE customers (id bigint, client_id int, name text, phone text); GRANT ALL ON customers TO PUBLIC; INSERT INTO customers VALUES (1, 1, NULL, '{cell}')"
        ))
        .await
        .unwrap();
    let mut config = trial.centre.config("reader");
    config.dbname("restored");
    let (driver, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let shown = one(&driver, "SELECT phone FROM customers").await;
    trial.case(
        "3",
        "read in a database without a pin",
        shown == cell,
        &shown,
    );
    let number = phone(1_000_001);
    for (name, sql) in [
        (
            "a search",
            format!("SELECT id FROM customers WHERE phone = '{number}'"),
        ),
        (
            "a write",
            format!("UPDATE customers SET phone = '{number}'"),
        ),
    ] {
        let answer = simple(&driver, &sql).await;
        let held = answer == Err("42501".to_owned());
        trial.case(
            "3",
            format!("{name} in a database without a pin"),
            held,
            format!("{answer:?}"),
        );
    }
}

/// What a server in PostgreSQL's place was sent.
pub(crate) type Heard = Arc<Mutex<Vec<u8>>>;

/// Every try once more, at a server that keeps what it hears.
pub(crate) async fn heard(trial: &mut Trial, heard: &Heard) {
    let (person, number) = trap(41);
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, sql, _) in tries(&person, &number) {
        let extended = [parse("", &sql), bind_execute("", None), sync()];
        all.push((name.to_owned(), query(&sql).to_vec()));
        all.push((format!("{name}, by Parse"), together(&extended)));
    }
    for (name, sql) in [
        (
            "a parameter in LIKE",
            "SELECT id FROM customers WHERE phone LIKE $1",
        ),
        (
            "a parameter beside a column that is not exact",
            "SELECT id FROM customers WHERE name = $1",
        ),
        (
            "a parameter in a function",
            "UPDATE customers SET name = lower($1)",
        ),
        (
            "a parameter that is sealed and plain",
            "UPDATE customers SET name = $1 WHERE $1 <> ''",
        ),
        (
            "a parameter in what does not parse",
            "UPDATE customers SET name = $1 WHERE (",
        ),
    ] {
        let parts = [parse("", sql), bind_execute("", Some(&person)), sync()];
        all.push((format!("{name}, in one packet"), together(&parts)));
    }
    all.extend(long(&person).map(|(name, bytes)| (format!("{name} that is too long"), bytes)));
    let mut copy = query("COPY customers (id, client_id, name) FROM STDIN (FORMAT binary)");
    frontend::write_copy_data(&mut copy, format!("1\t1\t{person}\n").as_bytes()).unwrap();
    frontend::write_copy_done(&mut copy);
    all.push((
        "the rows of a COPY that is refused".to_owned(),
        copy.to_vec(),
    ));
    let insert = format!(
        "INSERT INTO customers (id, client_id, name, phone) VALUES (1, 1, '{person}', '{number}')"
    );
    all.push((
        "(control) an INSERT that is not refused".to_owned(),
        query(&insert).to_vec(),
    ));
    for (name, bytes) in all {
        let mut wire = Wire::log_in(&trial.centre, "reader").await;
        heard.lock().unwrap().clear();
        wire.ask(&bytes).await;
        // Its answer shows that what was sent before was heard.
        let last = wire.ask(&query("SELECT 'heard'")).await;
        let got = heard.lock().unwrap().clone();
        let has = |word: &[u8]| got.windows(word.len()).any(|at| at == word);
        let held = !trial.leaks(&got)
            && has(b"SELECT 'heard'")
            && (!name.starts_with("(control)") || has(b"sealed:"));
        trial.case(
            "3",
            format!("heard by the server: {name}"),
            held,
            format!("{} bytes, {}", got.len(), tags(&last)),
        );
    }
}
