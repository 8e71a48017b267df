//! Attacks 1 to 3 and 7a: the superuser of the database with a valid login at the gate, and with
//! the database itself in his hands.

use std::collections::BTreeSet;

use event::record::Body;
use futures_util::{SinkExt, StreamExt};
use tokio_postgres::Client;

use super::wire::{Wire, startup};
use super::{Answer, Trial, one, simple, texts, trap};
use crate::centre::{DATABASE, DEADLINE, all_customers};
use crate::evidence::{Evidence, SHOWN_WITHIN};

pub(crate) async fn run(trial: &mut Trial) {
    every_way_out(trial).await;
    guessing(trial).await;
    playing_with_the_schema(trial).await;
    through_the_operating_system(trial).await;
}

/// 1. Every way out of a database.
async fn every_way_out(trial: &mut Trial) {
    let driver = trial.centre.connect("suzuki").await;
    for sql in [
        "SELECT * FROM customers",
        "TABLE customers",
        "SELECT c FROM customers c",
        "SELECT to_jsonb(c) FROM customers c",
        "SELECT row_to_json(c)::text::json FROM customers c",
        "SELECT array_agg(phone) FROM customers",
        "SELECT string_agg(v, ',') FROM (SELECT unnest(array_agg(phone)) v FROM customers) x",
        "SELECT reverse(phone), upper(name), md5(phone) FROM customers",
        "SELECT convert_to(phone, 'UTF8') FROM customers",
        "SELECT encode(phone::bytea, 'hex') FROM customers",
        "SELECT substr(phone, 8) FROM customers",
        "SELECT query_to_xml('SELECT * FROM customers', true, false, '')",
        "SELECT table_to_xml('customers', true, false, '')",
        "SELECT lo_from_bytea(0, convert_to((SELECT string_agg(name, ',') FROM customers), 'UTF8'))",
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM customers; COMMIT; FETCH ALL FROM c; CLOSE c",
        "CREATE VIEW v AS SELECT phone AS p FROM customers; SELECT p FROM v; DROP VIEW v",
        "CREATE TABLE copied AS SELECT * FROM customers; SELECT * FROM copied; DROP TABLE copied",
        "CREATE FUNCTION steal() RETURNS SETOF text LANGUAGE sql AS 'SELECT name FROM customers'; SELECT steal(); DROP FUNCTION steal()",
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM customers LOOP RAISE NOTICE '%', r; END LOOP; END $$",
        "DO $$ BEGIN RAISE EXCEPTION '%', (SELECT string_agg(name, ',') FROM customers); END $$",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT phone FROM customers WHERE phone IS NOT NULL",
        "ANALYZE customers; SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'customers'",
        "SELECT stavalues1, stavalues2 FROM pg_statistic WHERE starelid = 'customers'::regclass",
        "SELECT query FROM pg_stat_activity",
        "SELECT pg_read_binary_file(pg_relation_filepath('customers'))",
        "SELECT pg_read_file(pg_current_logfile())",
        "SELECT pg_read_binary_file('pg_wal/' || name) FROM pg_ls_waldir() LIMIT 1",
        "INSERT INTO customers (id, client_id, name) SELECT -id, client_id, name FROM customers RETURNING *; DELETE FROM customers WHERE id < 0",
        "UPDATE customers SET id = id RETURNING *",
        "SET sekisho.scope TO '1'; SELECT name FROM customers",
        "SET ROLE sekisho_operator; SELECT name, phone FROM customers",
        "SET SESSION AUTHORIZATION sekisho_operator; SELECT name, phone FROM customers",
    ] {
        let answer = simple(&driver, sql).await;
        let held = !trial.leaks(texts(&answer).join("\n"));
        trial.case("1", sql, held, told(&answer));
        let clean = "ROLLBACK; RESET SESSION AUTHORIZATION; RESET ROLE";
        let _ = simple(&driver, clean).await;
        let _ = simple(&driver, "RESET sekisho.scope").await;
    }
    for sql in [
        "COPY customers TO STDOUT",
        "COPY customers TO STDOUT (FORMAT binary)",
        "COPY (SELECT json_agg(c) FROM customers c) TO STDOUT (FORMAT csv)",
    ] {
        let mut got = Vec::new();
        if let Ok(data) = driver.copy_out(sql).await {
            let mut data = std::pin::pin!(data);
            while let Some(Ok(bytes)) = data.next().await {
                got.extend_from_slice(&bytes);
            }
        }
        let held = !trial.leaks(&got);
        trial.case("1", sql, held, format!("{} bytes", got.len()));
    }
    let mut wire = Wire::open(&trial.centre).await;
    let parameters = [("user", "suzuki"), ("replication", "database")];
    wire.send(&startup(&parameters)).await;
    let code = super::wire::code(&wire.until_ready().await);
    let held = code.as_deref() == Some("0A000");
    trial.case("1", "replication", held, format!("{code:?}"));
}

pub(crate) fn told(answer: &Answer) -> String {
    match answer {
        Ok(rows) => {
            let cells = texts(answer)
                .iter()
                .filter(|t| t.contains("sealed:"))
                .count();
            format!("{} rows, {cells} texts with cells", rows.len())
        }
        Err(code) => format!("refused, {code}"),
    }
}

/// 2. A number that is there and one that is not must be told apart by nothing.
async fn guessing(trial: &mut Trial) {
    let driver = trial.centre.connect("suzuki").await;
    let mut evidence = Evidence::of(&trial.centre.dir);
    evidence.read_on();
    let customer = all_customers(1, 1, 0).remove(&1_000_001).unwrap();
    let there = customer.phone.expose().clone();
    let not_there = "090-1111-2222".to_owned();
    assert_ne!(there, not_there);
    let tries = [
        "SELECT id FROM customers WHERE phone = '{}'",
        "SELECT id FROM customers WHERE phone IN ('{}')",
        "SELECT id FROM customers WHERE phone = ANY ('{\"{}\"}')",
        "SELECT id FROM customers WHERE phone IS NOT DISTINCT FROM '{}'",
        "SELECT count(*) FROM customers GROUP BY phone HAVING phone = '{}'",
        "SELECT c.id FROM customers c JOIN (VALUES ('{}')) v(p) ON c.phone = v.p",
        "BEGIN; INSERT INTO customers (id, client_id, phone) VALUES (9, 1, '{}'); ROLLBACK",
        "INSERT INTO customers (id, client_id, phone) VALUES (9, 1, '{}') ON CONFLICT DO NOTHING RETURNING id",
        "UPDATE customers SET phone = '{}' WHERE id = -1",
        "DELETE FROM customers WHERE phone = '{}' RETURNING id",
        "MERGE INTO customers c USING (SELECT '{}' p) n ON c.phone = n.p WHEN MATCHED THEN DO NOTHING",
        "PREPARE g AS SELECT id FROM customers WHERE phone = '{}'; EXECUTE g; DEALLOCATE g",
        "DO $$ BEGIN PERFORM 1 FROM customers WHERE phone = '{}'; END $$",
    ];
    for try_ in tries {
        let mut came = BTreeSet::new();
        for number in [&there, &not_there] {
            let answer = simple(&driver, &try_.replace("{}", number)).await;
            came.insert(match answer {
                Ok(rows) => format!("{} rows", rows.len()),
                Err(code) => code,
            });
            let _ = simple(&driver, "ROLLBACK").await;
        }
        // The gate's own refusal: an error of the session, the same for both, would hide that none came.
        let refused = |code: &String| code == "42501" || code == "0A000";
        let held = came.len() == 1 && came.iter().all(refused);
        trial.case("2", try_, held, format!("{came:?}"));
    }
    let bound = "SELECT id FROM customers WHERE phone = $1";
    let error = driver.query(bound, &[&there]).await.err();
    let code = error
        .as_ref()
        .and_then(|e| e.code())
        .map(|code| code.code().to_owned());
    trial.case(
        "2",
        "the number as a parameter",
        code.as_deref() == Some("42501"),
        format!("{code:?}"),
    );
    let rows = format!("9\t1\t{there}\n");
    let copied = tokio::time::timeout(DEADLINE, copy_in(&driver, &rows)).await;
    let copied = copied.unwrap_or(Ok(0));
    let _ = simple(&driver, "DELETE FROM customers WHERE id = 9").await;
    trial.case(
        "2",
        "the number by COPY",
        copied.is_err(),
        format!("{copied:?}"),
    );
    // Each try is a record, and none an exposure.
    let suzuki = evidence.actor("suzuki");
    let deadline = std::time::Instant::now() + SHOWN_WITHIN;
    let (mut refused, mut exposed) = (0, 0);
    while refused < 2 * tries.len() as u32 && std::time::Instant::now() < deadline {
        for seen in evidence.read_on() {
            match &seen.body {
                Body::Refused {
                    who: Some(who),
                    count,
                    ..
                } if who.actor == suzuki && seen.log == event::LogId::Centre => refused += count,
                Body::Exposure(exposure) if exposure.who.actor == suzuki => exposed += 1,
                _ => {}
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let held = exposed == 0 && refused >= 2 * tries.len() as u32;
    let stands = evidence.stands();
    let came = format!("{refused} refusals recorded, {exposed} exposures; {stands}");
    trial.case("2", "each try is a record", held, came);
}

async fn copy_in(driver: &Client, rows: &str) -> Result<u64, String> {
    let code = |error: tokio_postgres::Error| {
        error
            .code()
            .map_or("lost".to_owned(), |code| code.code().to_owned())
    };
    let sink = driver
        .copy_in("COPY customers (id, client_id, phone) FROM STDIN")
        .await
        .map_err(code)?;
    let mut sink = std::pin::pin!(sink);
    sink.send(bytes::Bytes::from(rows.to_owned()))
        .await
        .map_err(code)?;
    sink.finish().await.map_err(code)
}

/// Attack 3. What stands in the table's place, or around it, gets cells or nothing. The server's
/// files are searched when all is done.
async fn playing_with_the_schema(trial: &mut Trial) {
    let postgres = trial.centre.postgres.connect(DATABASE).await.unwrap();
    let like = "(LIKE public.customers)";
    let check = "(SELECT conname FROM pg_constraint WHERE conrelid = 'customers'::regclass AND contype = 'c' AND conname LIKE '%name%' LIMIT 1)";
    // What is done with the database beside the gate, what the writer does, and how it is undone.
    let tries: [(&str, String, &str, &str); 9] = [
        (
            "a table of that name first in the writer's search_path",
            format!("CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC; CREATE TABLE evil.customers {like}; GRANT ALL ON evil.customers TO PUBLIC; ALTER ROLE sekisho_operator SET search_path = evil, public"),
            "",
            "ALTER ROLE sekisho_operator RESET search_path; DROP SCHEMA evil CASCADE",
        ),
        (
            "a temporary table of that name in the writer's session",
            String::new(),
            "CREATE TEMP TABLE customers (id bigint, client_id int, name text, phone text)",
            "",
        ),
        (
            "a rule that copies new rows",
            "CREATE RULE r AS ON INSERT TO customers DO ALSO INSERT INTO calls (client_id, topic) VALUES (NEW.client_id, NEW.name || NEW.phone); GRANT ALL ON calls TO PUBLIC".to_owned(),
            "",
            "DROP RULE r ON customers",
        ),
        (
            "a trigger that copies and raises new rows",
            "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO calls (client_id, topic) VALUES (1, NEW.name || NEW.phone); RAISE WARNING '% %', NEW.name, NEW.phone; RETURN NEW; END $$; CREATE TRIGGER t BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION spy()".to_owned(),
            "",
            "DROP TRIGGER t ON customers; DROP FUNCTION spy()",
        ),
        (
            "a renamed column in a sealed one's place",
            "ALTER TABLE customers RENAME name TO name_; ALTER TABLE customers ADD name text".to_owned(),
            "",
            "ALTER TABLE customers DROP name; ALTER TABLE customers RENAME name_ TO name",
        ),
        (
            "a dropped CHECK",
            format!("DO $$ DECLARE d text; BEGIN SELECT pg_get_constraintdef(oid) INTO d FROM pg_constraint WHERE conrelid = 'customers'::regclass AND conname = {check}; CREATE TABLE kept AS SELECT {check}::text AS name, d AS def; EXECUTE format('ALTER TABLE customers DROP CONSTRAINT %I', {check}); END $$"),
            "",
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE customers ADD CONSTRAINT %I %s', name, def) FROM kept); DROP TABLE kept; END $$",
        ),
        (
            "another type under a sealed column",
            "ALTER TABLE customers ALTER name TYPE varchar".to_owned(),
            "",
            "ALTER TABLE customers ALTER name TYPE text",
        ),
        (
            "a view in the table's place",
            "ALTER TABLE customers RENAME TO hidden; CREATE TABLE open (id bigint, client_id int, name text, phone text); CREATE VIEW customers AS SELECT * FROM open; GRANT ALL ON open, customers TO PUBLIC".to_owned(),
            "",
            "DROP VIEW customers; DROP TABLE open; ALTER TABLE hidden RENAME TO customers",
        ),
        (
            "functions and operators redefined before pg_catalog",
            "CREATE SCHEMA fake; GRANT ALL ON SCHEMA fake TO PUBLIC; CREATE FUNCTION fake.substr(text, int, int) RETURNS text LANGUAGE sql AS 'SELECT $1'; CREATE FUNCTION fake.format_type(oid, int) RETURNS text LANGUAGE sql AS $$ SELECT 'text' $$; ALTER ROLE sekisho_operator SET search_path = fake, pg_catalog, public".to_owned(),
            "",
            "ALTER ROLE sekisho_operator RESET search_path; DROP SCHEMA fake CASCADE",
        ),
    ];
    for (n, (name, set, session, undo)) in (1..).zip(tries) {
        postgres
            .batch_execute(&set)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (person, phone) = trap(n);
        let writer = trial.centre.connect("writer").await;
        if !session.is_empty() {
            simple(&writer, session).await.unwrap();
        }
        let came = every_write(&writer, n, &person, &phone).await;
        drop(writer);
        // Where it lies now, whatever it is called.
        let mut stored = Vec::new();
        for table in ["calls", "customers", "hidden", "open", "evil.customers"] {
            let all = format!("SELECT t::text FROM {table} t");
            stored.extend(texts(&simple(&postgres, &all).await));
        }
        // Where the table is no more what its pin says, nothing is written at all.
        let pinned = ["a rule", "a trigger", "functions"];
        let differs = !pinned.iter().any(|other| name.starts_with(other));
        // 42P09: the gate has looked at the catalogue meanwhile, and knows two of that name.
        let refused = |code: &Option<String>| matches!(code.as_deref(), Some("55000" | "42P09"));
        let held = !trial.leaks(stored.join("\n")) && came.iter().all(|c| refused(c) == differs);
        trial.case("3", name, held, format!("{came:?}"));
        postgres
            .batch_execute(undo)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        // What the gate has learnt of the catalogue meanwhile is forgotten when it looks again.
        let writer = trial.centre.connect("writer").await;
        let deadline = std::time::Instant::now() + DEADLINE;
        while let Err(code) = simple(&writer, "SELECT id FROM customers LIMIT 1").await {
            assert!(std::time::Instant::now() < deadline, "{code}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    postgres
        .batch_execute("DELETE FROM customers WHERE id < 1000000")
        .await
        .unwrap();
}

/// The errors of every kind of statement that writes, in one try.
async fn every_write(writer: &Client, n: u32, person: &str, phone: &str) -> [Option<String>; 4] {
    let insert = format!(
        "INSERT INTO customers (id, client_id, name, phone) VALUES ({}, 1, '{person}', '{phone}')",
        500 + n
    );
    let update = format!(
        "UPDATE customers SET name = '{person}' WHERE id = {}",
        500 + n
    );
    let bound = "INSERT INTO customers (id, client_id, name) VALUES ($1, 1, $2)";
    let bound = writer.execute(bound, &[&i64::from(600 + n), &person]).await;
    let rows = format!("{}\t1\t080-9{n:03}-0000\n", 700 + n);
    [
        simple(writer, &insert).await.err(),
        simple(writer, &update).await.err(),
        bound.err().map(|error| {
            let code = error.code().map(|code| code.code().to_owned());
            code.unwrap_or_else(|| "lost".to_owned())
        }),
        copy_in(writer, &rows).await.err(),
    ]
}

/// 7a. Programs and files as the server's user: neither the gate's folder nor its memory.
async fn through_the_operating_system(trial: &mut Trial) {
    let driver = trial.centre.connect("suzuki").await;
    let program = |command: &str| format!("COPY calls (topic) FROM PROGRAM $p${command}$p$");
    let works = simple(&driver, "COPY calls (client_id) FROM PROGRAM 'echo 1'").await;
    let isolated = trial.centre.postgres.is_isolated();
    // Where he can run programs the rest means something; where he cannot, that is the countermeasure.
    trial.case(
        "7a",
        "programs of the server run just where the server is another user",
        works.is_ok() == isolated,
        told(&works),
    );
    let pid = trial.centre.pid();
    let dir = trial.centre.dir.clone();
    let wal = std::fs::read_dir(dir.join("ledger/wal"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut paths: Vec<_> = [
        "keys/master.key",
        "keys/clients/1.key",
        "secrets/verifiers.json",
        "secrets/upstream.toml",
        "people/admin.key",
        "people/approver-1.key",
        "sekisho.toml",
        "tls/key.pem",
    ]
    .iter()
    .map(|name| dir.join(name))
    .collect();
    paths.push(wal.path());
    for path in &paths {
        assert!(path.is_file(), "{}", path.display());
        let shown = path.strip_prefix(&dir).unwrap().display().to_string();
        let by_program = simple(&driver, &program(&format!("cat {}", path.display()))).await;
        let by_function = simple(
            &driver,
            &format!("SELECT pg_read_binary_file('{}')", path.display()),
        )
        .await;
        let held = by_program.is_err() && by_function.is_err();
        trial.case(
            "7a",
            format!("the gate's {shown}"),
            held,
            format!("{}; {}", told(&by_program), told(&by_function)),
        );
    }
    for (what, command) in [
        ("the gate's environment", format!("cat /proc/{pid}/environ")),
        ("the gate's memory", format!("exec 3< /proc/{pid}/mem")),
        (
            "the gate's memory map",
            format!("head -c1 /proc/{pid}/maps | grep ."),
        ),
        (
            "the gate's open files",
            format!("ls /proc/{pid}/fd/ | grep ."),
        ),
        ("a signal to the gate", format!("kill -9 {pid}")),
        (
            "the gate's folder, listed",
            format!("ls {}/keys", dir.display()),
        ),
        (
            "the command socket",
            format!("test -w {}/admin.sock", dir.display()),
        ),
    ] {
        let answer = simple(&driver, &program(&command)).await;
        trial.case("7a", what, answer.is_err(), told(&answer));
    }
    let alive = one(&driver, "SELECT 1").await == "1" && trial.centre.pid() == pid;
    trial.case("7a", "the gate lives", alive, pid);
}
