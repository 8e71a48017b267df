//! The steps of the case. Each looks at what the driver really got, and at what was recorded.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use event::record::{Body, Change, Exposure, GrantKind, RefusalReason};
use event::{Class, LogId, Outcome};
use futures_util::StreamExt;
use ledger::ListSealer;
use tokio_postgres::SimpleQueryMessage;

use super::audit::{self, Auditor};
use super::search::Values;
use super::stage::{CLIENTS, DATABASE, Stage, client_id};
use super::{Step, Told, watching};
use crate::service::now_ms;

/// Every step, in order.
pub async fn play(stage: &mut Stage, told: &mut Told) -> Result<()> {
    let all = (1..=CLIENTS).flat_map(|client| stage.customers_of(client).collect::<Vec<_>>());
    let values = Values::new(all)?;
    told.run("the caller is looked up", caller(stage)).await;
    told.run(
        "the database is backed up and restored",
        backup(stage, &values),
    )
    .await;
    told.run(
        "the administrator of the database takes the list",
        take_list(stage, &values),
    )
    .await;
    told.run("he guesses telephone numbers", guess(stage)).await;
    let since_ms = now_ms();
    told.run("an operator pages through a client", paging(stage))
        .await;
    told.run(
        "a case is opened while he reads",
        watching::noticed(stage, "tanaka", since_ms),
    )
    .await;
    told.run("the administrator alone raises a budget", alone(stage))
        .await;
    let granted = grant(stage).await;
    told.add("two approvers sign a grant", granted);
    let killed = kill(stage).await;
    told.add("the gate is killed in the middle of a read", killed);
    let auditor = Auditor::new(stage).await?;
    told.run("the client checks its log", audit::check(stage, &auditor))
        .await;
    told.run(
        "the administrator rewrites the log",
        audit::rewrite(stage, &auditor),
    )
    .await;
    told.run("the case's ten years are replayed", watching::replay())
        .await;
    Ok(())
}

/// Records since a moment, of an actor.
pub(super) fn records(stage: &Stage, since_ms: u64) -> Result<Vec<(ledger::Entry, Body)>> {
    let mut all = crate::reading::records(&stage.folder)?;
    all.retain(|(entry, _)| entry.wall_ms >= since_ms);
    Ok(all)
}

fn exposures(stage: &Stage, since_ms: u64, actor: u32) -> Result<Vec<(ledger::Entry, Exposure)>> {
    let all = records(stage, since_ms)?.into_iter();
    Ok(all
        .filter_map(|(entry, body)| match body {
            Body::Exposure(exposure) if exposure.who.actor.0 == actor => Some((entry, exposure)),
            _ => None,
        })
        .collect())
}

/// Refusals recorded since a moment, by reason. The recorder gathers those of a second.
async fn refusals(
    stage: &Stage,
    since_ms: u64,
    reasons: &[RefusalReason],
    at_least: u32,
) -> Result<u32> {
    let mut count = 0;
    for _ in 0..40 {
        count = records(stage, since_ms)?
            .iter()
            // The clients' logs hold copies.
            .filter(|(entry, _)| entry.log == LogId::Centre)
            .map(|(_, body)| match body {
                Body::Refused { reason, count, .. } if reasons.contains(reason) => *count,
                _ => 0,
            })
            .sum();
        if count >= at_least {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(count)
}

/// Reads until what is looked for is there. A reader sees a record when the log tells that it was
/// durable, at most a second after the driver got its rows.
pub(super) async fn shown<T>(
    mut read: impl FnMut() -> Result<T>,
    there: impl Fn(&T) -> bool,
) -> Result<T> {
    for _ in 0..60 {
        let read = read()?;
        if there(&read) {
            return Ok(read);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    read()
}

/// The state once a change waits in it.
pub(super) async fn state_with(stage: &Stage, change: u32) -> Result<ledger::State> {
    let waits = |state: &ledger::State| state.proposals.contains_key(&event::ChangeId(change));
    shown(|| crate::reading::state(&stage.folder), waits).await
}

pub(super) fn actor(stage: &Stage, login: &str) -> Result<u32> {
    let state = crate::reading::state(&stage.folder)?;
    let found = state
        .actors
        .iter()
        .find(|(_, actor)| actor.login == login)
        .map(|(id, _)| id.0);
    found.with_context(|| format!("there is no {login}"))
}

/// An operator looks a caller up by telephone number.
async fn caller(stage: &Stage) -> Result<Step> {
    let since = now_ms();
    let driver = stage.connect("tanaka", DATABASE).await?;
    let customer = stage
        .customers_of(1)
        .nth(4)
        .context("client 1 has customers")?;
    let wide: String = customer
        .phone
        .expose()
        .chars()
        .map(|c| {
            c.to_digit(10)
                .and_then(|d| char::from_u32('０' as u32 + d))
                .unwrap_or('−')
        })
        .collect();
    let rows = driver
        .query(
            "SELECT name, phone, address, birth_date FROM customers WHERE phone = $1",
            &[&wide],
        )
        .await?;
    let [row] = rows.as_slice() else {
        anyhow::bail!("{} rows came instead of one", rows.len())
    };
    let name: String = row.get(0);
    let phone: String = row.get(1);
    let birth: String = row.get(3);
    let tanaka = actor(stage, "tanaka")?;
    let found =
        |recorded: &Vec<(ledger::Entry, Exposure)>| recorded.iter().any(|(_, e)| e.rows == 1);
    let recorded = shown(|| exposures(stage, since, tanaka), found).await?;
    let one = recorded.iter().find(|(_, exposure)| exposure.rows == 1);
    let (entry, exposure) = one.context("the exposure is not in the ledger")?;
    let right = name == *customer.name.expose()
        && phone == *customer.phone.expose()
        && birth != *customer.birth_date.expose();
    Ok(Step {
        tried: format!("WHERE phone = '{wide}', in full-width digits"),
        came_out: format!("one customer in clear: {name}, {phone}, born {birth} (masked)"),
        recorded: format!(
            "client {} log, record {}: {} subject, {} probes over the scope, {} cells",
            entry.log.number(),
            entry.index,
            exposure.subjects.charged,
            recorded.iter().map(|(_, e)| e.probes).sum::<u32>(),
            exposure.classes.iter().map(|c| c.cells).sum::<u32>(),
        ),
        ok: right && entry.log == LogId::Client(client_id(1)),
    })
}

/// A maintainer dumps, restores and reindexes, and sees nothing.
async fn backup(stage: &Stage, values: &Values) -> Result<Step> {
    let since = now_ms();
    let dump = stage.scratch("backup.dump");
    run(stage
        .tool("pg_dump", "suzuki")?
        .args(["-Fc", "-Z0", "-d", DATABASE, "-f"])
        .arg(&dump))
    .await?;
    let bytes = std::fs::read(&dump)?;
    let driver = stage.connect("suzuki", "postgres").await?;
    driver.batch_execute("CREATE DATABASE restored").await?;
    run(stage
        .tool("pg_restore", "suzuki")?
        .args([
            "--no-owner",
            "--no-privileges",
            "--exit-on-error",
            "-d",
            "restored",
        ])
        .arg(&dump))
    .await?;
    run(stage.tool("reindexdb", "suzuki")?.args(["-d", "restored"])).await?;
    let restored = stage.connect("suzuki", "restored").await?;
    let count: i64 = restored
        .query_one("SELECT count(*) FROM customers", &[])
        .await?
        .get(0);
    let whole = i64::from(CLIENTS) * i64::from(stage.customers);
    let found = values.found_in(&bytes);
    let seen = exposures(stage, since, actor(stage, "suzuki")?)?.len();
    Ok(Step {
        tried: "pg_dump, pg_restore into a second database, reindexdb".to_owned(),
        came_out: format!(
            "{count} of {whole} customers restored; {found} plaintext values in {:.1} MB of dump",
            bytes.len() as f64 / 1e6
        ),
        recorded: format!("his sessions; {seen} exposures, since he got none"),
        ok: found == 0 && count == whole && seen == 0,
    })
}

async fn run(command: &mut tokio::process::Command) -> Result<()> {
    let output = command.output().await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "{}: {}",
        command.as_std().get_program().display(),
        error.trim()
    );
    Ok(())
}

/// The maintainer with full rights on the database tries to take the list.
async fn take_list(stage: &Stage, values: &Values) -> Result<Step> {
    let since = now_ms();
    let driver = stage.connect("suzuki", DATABASE).await?;
    let tries = [
        "SELECT * FROM customers",
        "COPY customers TO STDOUT",
        "BEGIN; DECLARE c CURSOR FOR SELECT * FROM customers; FETCH ALL FROM c; COMMIT",
        "SELECT row_to_json(c) FROM customers c",
        "SELECT reverse(phone) FROM customers",
        "CREATE FUNCTION names() RETURNS SETOF text LANGUAGE sql AS 'SELECT name FROM customers'",
        "SELECT names()",
        "CREATE FUNCTION steal() RETURNS text LANGUAGE sql AS 'SELECT string_agg(reverse(phone), chr(10)) FROM customers'",
        "SELECT steal()",
        "SELECT pg_read_binary_file(pg_relation_filepath('customers'))",
        "SELECT most_common_vals FROM pg_stats WHERE tablename = 'customers'",
        "SELECT query FROM pg_stat_activity",
    ];
    let mut got = Vec::new();
    let (mut answered, mut refused) = (0, 0);
    for sql in tries {
        match driver.simple_query(sql).await {
            Ok(messages) => {
                answered += 1;
                for message in messages {
                    let SimpleQueryMessage::Row(row) = message else {
                        continue;
                    };
                    for index in 0..row.len() {
                        got.extend_from_slice(row.get(index).unwrap_or_default().as_bytes());
                        got.push(b'\n');
                    }
                }
            }
            Err(_) => {
                refused += 1;
                let _ = driver.simple_query("ROLLBACK").await;
            }
        }
    }
    // simple_query does not show COPY data.
    let stream = driver.copy_out("COPY customers TO STDOUT").await?;
    let mut stream = std::pin::pin!(stream);
    while let Some(bytes) = stream.next().await {
        got.extend_from_slice(&bytes?);
    }
    let found = values.found_in(&got);
    let stored = values.found_in(&files(&stage.postgres().join("data"))?);
    let cells = memchr::memmem::find_iter(&got, b"sealed:").count();
    let seen = exposures(stage, since, actor(stage, "suzuki")?)?.len();
    Ok(Step {
        tried: format!(
            "{} ways: SELECT, COPY, cursor, row_to_json, reverse, functions, files",
            tries.len()
        ),
        came_out: format!(
            "{answered} answered, {refused} refused; {cells} cells, {found} plaintext values; {stored} in the server's files and logs"
        ),
        recorded: format!(
            "{} refusals; {seen} exposures",
            refusals(
                stage,
                since,
                &[RefusalReason::Statement, RefusalReason::Policy],
                1
            )
            .await?
        ),
        ok: found == 0 && stored == 0 && seen == 0 && cells > 0,
    })
}

/// All bytes below a folder.
fn files(folder: &std::path::Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Ok(content) = std::fs::read(entry.path()) {
                bytes.extend_from_slice(&content);
                bytes.push(0);
            }
        }
    }
    Ok(bytes)
}

/// He guesses: a thousand numbers, by search, by INSERT and rollback, by unique violation.
async fn guess(stage: &Stage) -> Result<Step> {
    let since = now_ms();
    let driver = stage.connect("suzuki", DATABASE).await?;
    // Half of them are real.
    let real = stage
        .customers_of(1)
        .take(500)
        .map(|customer| customer.phone.expose().clone());
    let mut numbers: Vec<String> = real.collect();
    for n in 0..1_000 - numbers.len() {
        numbers.push(format!("090-{:04}-{:04}", n / 7, n * 13 % 10_000));
    }
    let bar = super::stage::bar(3_000, "guesses");
    let mut answers = BTreeSet::new();
    for number in &numbers {
        let tries = [
            format!("SELECT 1 FROM customers WHERE phone = '{number}'"),
            format!(
                "BEGIN; INSERT INTO customers (id, client_id, phone) VALUES (1, 1, '{number}'); ROLLBACK"
            ),
            format!(
                "INSERT INTO customers (id, client_id, phone) VALUES (2, 1, '{number}') ON CONFLICT DO NOTHING"
            ),
        ];
        for sql in &tries {
            answers.insert(match driver.simple_query(sql).await {
                Ok(_) => "an answer".to_owned(),
                Err(error) => error
                    .code()
                    .map_or("lost".to_owned(), |code| code.code().to_owned()),
            });
            let _ = driver.simple_query("ROLLBACK").await;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let recorded = refusals(
        stage,
        since,
        &[RefusalReason::Policy, RefusalReason::Statement],
        3_000,
    )
    .await?;
    Ok(Step {
        tried: "1,000 numbers, 500 of them real: search, INSERT and ROLLBACK, ON CONFLICT"
            .to_owned(),
        came_out: format!(
            "the same for each: {}",
            answers.iter().cloned().collect::<Vec<_>>().join(", ")
        ),
        recorded: format!("{recorded} refusals"),
        ok: answers.len() == 1 && !answers.contains("an answer") && recorded >= 3_000,
    })
}

/// An operator pages through a client's customers, then tries it with ids that lie.
async fn paging(stage: &Stage) -> Result<Step> {
    let since = now_ms();
    let driver = stage.connect("tanaka", DATABASE).await?;
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for page in 0..1_000 {
        let sql = format!(
            "SELECT name, phone FROM customers WHERE client_id = 1 ORDER BY id LIMIT 7 OFFSET {}",
            page * 7
        );
        if read(&driver, &sql, 1, &mut seen, &mut errors).await? {
            break;
        }
    }
    let first = seen.len();
    let mut second = BTreeSet::new();
    read(
        &driver,
        "SELECT 1 AS customer_id, phone FROM customers WHERE client_id = 2",
        1,
        &mut second,
        &mut errors,
    )
    .await?;
    let recorded = refusals(stage, since, &[RefusalReason::SubjectBudget], 2).await?;
    // 60 an hour for one client, 80 over all; the caller of the first step is among them.
    let ok = (first == 60 || stage.customers < 60)
        && second.len() <= 20
        && recorded >= 1
        && !errors.is_empty();
    Ok(Step {
        tried: "pages of 7, then SELECT 1 AS customer_id, phone".to_owned(),
        came_out: format!(
            "{first} customers of client 1, {} of client 2, then: {}",
            second.len(),
            errors.first().cloned().unwrap_or_default()
        ),
        recorded: format!("{recorded} refusals by the budget"),
        ok,
    })
}

/// Reads column `column` until the end or an error; true if there was one, or no row.
async fn read(
    driver: &tokio_postgres::Client,
    sql: &str,
    column: usize,
    seen: &mut BTreeSet<String>,
    errors: &mut Vec<String>,
) -> Result<bool> {
    let rows = driver.query_raw(sql, Vec::<String>::new()).await?;
    let mut rows = std::pin::pin!(rows);
    let mut any = false;
    while let Some(row) = rows.next().await {
        match row {
            Ok(row) => {
                any = true;
                seen.insert(row.get(column));
            }
            Err(error) => {
                errors.push(
                    error
                        .as_db_error()
                        .map_or_else(|| error.to_string(), |e| e.message().to_owned()),
                );
                return Ok(true);
            }
        }
    }
    Ok(!any)
}

/// The administrator alone raises a number, signs as an approver.
async fn alone(stage: &Stage) -> Result<Step> {
    let mut numbers = budget::Numbers::default();
    numbers.entries_max += 1;
    let reply = stage
        .propose(&Change::Numbers {
            toml: numbers.to_toml(),
        })
        .await?;
    let change = reply.change.context("no change was made")?;
    let before = state_with(stage, change).await?;
    // He signs with his own key, in an approver's name.
    let key = crate::people::SigningKey::load(&stage.folder.path("people/admin.key"))?;
    let number = event::ChangeId(change);
    let what = &before
        .proposals
        .get(&number)
        .context("the change does not wait")?
        .what;
    let message = event::record::change_bytes(&before.ledger, number, what);
    let signature = base64_simd::STANDARD.encode_to_string(key.sign(&message));
    let office = crate::admin::Office::of(&stage.folder).await?;
    let forged = office
        .ask(
            &crate::service::Request::Approve {
                change,
                approver: 2,
                signature,
            },
            None,
        )
        .await;
    let after = crate::reading::state(&stage.folder)?;
    Ok(Step {
        tried: "propose greater numbers; sign them himself in an approver's name".to_owned(),
        came_out: format!(
            "{} approvals are missing; the forged one: {}",
            reply.missing,
            forged
                .as_ref()
                .err()
                .map_or("taken".to_owned(), ToString::to_string)
        ),
        recorded: format!("change {change}, waiting"),
        ok: !reply.in_force && forged.is_err() && after.numbers == before.numbers,
    })
}

/// Two approvers sign a grant; it works within its bounds and ends.
async fn grant(stage: &mut Stage) -> Result<Step> {
    let sato = actor(stage, "sato")?;
    let amount = u64::from(stage.customers / 2).min(500);
    let change = stage.grant(sato, 3, GrantKind::See, amount);
    let Change::Grant(granted) = &change else {
        anyhow::bail!("no grant was made")
    };
    let number = granted.grant;
    let proposed = stage.propose(&change).await?;
    let driver = stage.connect("sato", DATABASE).await?;
    let early = driver
        .batch_execute(&format!("SET sekisho.grant_id TO {number}"))
        .await
        .is_err();
    let approved = stage
        .approve(proposed.change.context("no change was made")?)
        .await?;
    driver
        .batch_execute(&format!("SET sekisho.grant_id TO {number}"))
        .await?;
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    let sql = "SELECT name, phone FROM customers WHERE client_id = 3 ORDER BY id";
    read(&driver, sql, 1, &mut seen, &mut errors).await?;
    let mut again = BTreeSet::new();
    read(&driver, sql, 1, &mut again, &mut errors).await?;
    let used_of = |state: &ledger::State| state.grants.get(&number).map_or(0, |grant| grant.used);
    let used = used_of(
        &shown(
            || crate::reading::state(&stage.folder),
            |state| used_of(state) >= amount,
        )
        .await?,
    );
    Ok(Step {
        tried: format!(
            "a grant for {amount} subjects of client 3, one hour; then everything, twice"
        ),
        came_out: format!(
            "{} customers, then {}; {}",
            seen.len(),
            again.len(),
            errors.first().cloned().unwrap_or_default()
        ),
        recorded: format!("grant {number}: {used} of {amount} used"),
        ok: early
            && approved.in_force
            && seen.len() as u64 == amount
            && again.is_empty()
            && used == amount
            && errors.len() == 2,
    })
}

/// SIGKILL in the middle of a large permitted read: whatever the driver got is in the ledger.
async fn kill(stage: &mut Stage) -> Result<Step> {
    let since = now_ms();
    let sato = actor(stage, "sato")?;
    let amount = u64::from(stage.customers);
    let change = stage.grant(sato, 4, GrantKind::See, amount);
    let Change::Grant(granted) = &change else {
        anyhow::bail!("no grant was made")
    };
    let number = granted.grant;
    let proposed = stage.propose(&change).await?;
    stage
        .approve(proposed.change.context("no change was made")?)
        .await?;
    let driver = stage.connect("sato", DATABASE).await?;
    driver
        .batch_execute(&format!("SET sekisho.grant_id TO {number}"))
        .await?;
    let mut received = BTreeSet::new();
    {
        let rows = driver
            .query_raw(
                "SELECT name, phone FROM customers WHERE client_id = 4",
                Vec::<String>::new(),
            )
            .await?;
        let mut rows = std::pin::pin!(rows);
        let mut killed = false;
        while let Some(Ok(row)) = rows.next().await {
            received.insert(row.get::<_, String>(1));
            if !killed && received.len() as u64 * 3 > amount {
                stage.kill_gate().await?;
                killed = true;
            }
        }
        ensure!(killed, "the read ended before a third of it was seen");
    }
    stage.start_gate().await?;
    let recorded = subjects(stage, since, sato, 4)?;
    let keys = crate::keys::open_with(&stage.folder.path("keys"), "")?.client(client_id(4))?;
    let missing = received
        .iter()
        .filter(|phone| !recorded.contains(&keys.fingerprint(Class::Phone, phone).0))
        .count();
    Ok(Step {
        tried: format!("{amount} customers are read; SIGKILL after a third; restart"),
        came_out: format!("the driver got {} customers", received.len()),
        recorded: format!(
            "{} subjects in the ledger; {missing} of those received are missing",
            recorded.len()
        ),
        ok: missing == 0 && !received.is_empty(),
    })
}

/// Fingerprints of telephone numbers in the exposures of an actor: what his lists hold, opened with
/// the client's list keys.
fn subjects(stage: &Stage, since_ms: u64, actor: u32, client: u32) -> Result<BTreeSet<u64>> {
    let lists = crate::keys::Lists(crate::keys::open_with(&stage.folder.path("keys"), "")?);
    let mut all = BTreeSet::new();
    for (entry, exposure) in exposures(stage, since_ms, actor)? {
        if entry.log != LogId::Client(client_id(client)) || entry.attachment.is_empty() {
            continue;
        }
        let month = ledger::list::month(entry.wall_ms);
        let plain = lists.open_list(client_id(client), month, &exposure.list, &entry.attachment)?;
        let list = ledger::list::decode(plain.expose()).context("a list cannot be read")?;
        let phones = list
            .rows
            .iter()
            .filter(|(kind, _, _)| *kind == budget::SetKind::Clear(Class::Phone));
        all.extend(phones.map(|(_, fingerprint, _)| *fingerprint));
        let clear = exposure
            .classes
            .iter()
            .any(|count| count.outcome == Outcome::Clear);
        ensure!(
            clear || exposure.rows == 0,
            "an exposure without clear cells"
        );
    }
    Ok(all)
}
