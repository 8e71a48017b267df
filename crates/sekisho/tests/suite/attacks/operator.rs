//! Attacks 8 to 10: an operator who wants more people than his budget.

use std::collections::BTreeSet;

use event::record::Body;
use tokio_postgres::Client;

use super::{Answer, BUDGET, CUSTOMERS, PROBES, SUBJECTS, Trial, one, simple, texts};
use crate::centre::{CUSTOMER_COLUMNS, all_customers};
use crate::evidence::{Evidence, SHOWN_WITHIN};

pub(crate) async fn run(trial: &mut Trial) {
    more_people(trial).await;
    spoofed_ids(trial).await;
    three_at_once(trial).await;
    one_unit_left(trial).await;
    guessing_within_the_budget(trial).await;
    a_mask_solved(trial).await;
}

/// Distinct people in what was shown, by telephone number and by name.
#[derive(Default)]
struct People {
    phones: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl People {
    fn look(&mut self, client: u32, answer: &str) {
        for customer in all_customers(client, CUSTOMERS, 0).into_values() {
            for (value, set) in [
                (&customer.phone, &mut self.phones),
                (&customer.name, &mut self.names),
            ] {
                if answer.contains(value.expose().as_str()) {
                    set.insert(value.expose().clone());
                }
            }
        }
    }

    fn most(&self) -> u64 {
        self.phones.len().max(self.names.len()) as u64
    }
}

/// What of a statement's rows comes before its error counts too: simple queries hide it.
async fn all_texts(driver: &Client, sql: &str) -> (String, Option<String>) {
    use futures_util::StreamExt;
    let mut got = String::new();
    let messages = driver.simple_query_raw(sql).await.unwrap();
    let mut messages = std::pin::pin!(messages);
    while let Some(message) = messages.next().await {
        match message {
            Ok(tokio_postgres::SimpleQueryMessage::Row(row)) => {
                for index in 0..row.len() {
                    got.push_str(row.get(index).unwrap_or_default());
                    got.push('\n');
                }
            }
            Ok(_) => {}
            Err(error) => {
                let code = error.code().map(|code| code.code().to_owned());
                return (got, Some(code.unwrap_or_else(|| "lost".to_owned())));
            }
        }
    }
    (got, None)
}

/// 8. Whatever the SQL, the same people and no more.
async fn more_people(trial: &mut Trial) {
    let driver = trial.centre.connect("pager").await;
    let mut people = People::default();
    let mut ended = None;
    for page in 0..20 {
        let sql = format!(
            "SELECT name, phone FROM customers WHERE client_id = 1 ORDER BY id LIMIT 7 OFFSET {}",
            page * 7
        );
        let (got, error) = all_texts(&driver, &sql).await;
        people.look(1, &got);
        if error.is_some() {
            ended = error;
            break;
        }
    }
    let held = people.phones.len() as u64 == SUBJECTS && ended.as_deref() == Some(BUDGET);
    trial.case(
        "8",
        "paging",
        held,
        format!("{} people, then {ended:?}", people.most()),
    );
    for (name, sql) in [
        (
            "a join with itself",
            "SELECT b.name, b.phone FROM customers a JOIN customers b ON a.phone = b.phone AND b.client_id = 1 ORDER BY b.id DESC",
        ),
        (
            "another id as customer",
            "SELECT 1 AS customer_id, phone FROM customers WHERE client_id = 1 ORDER BY id DESC",
        ),
        (
            "aliases",
            "SELECT x.a AS id FROM (SELECT phone AS a, id FROM customers WHERE client_id = 1) x ORDER BY x.id DESC",
        ),
        (
            "array_agg",
            "SELECT array_agg(phone) FROM customers WHERE client_id = 1",
        ),
        (
            "json",
            "SELECT json_agg(c) FROM customers c WHERE client_id = 1 AND id > 1000050",
        ),
        (
            "rows",
            "SELECT c FROM customers c WHERE client_id = 1 ORDER BY id DESC",
        ),
        (
            "a cursor",
            "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT name FROM customers WHERE client_id = 1 ORDER BY id DESC; COMMIT; FETCH ALL FROM c",
        ),
        (
            "RETURNING",
            "UPDATE customers SET id = id WHERE client_id = 1 AND id > 1000040 RETURNING name",
        ),
        (
            "a common table expression",
            "WITH x AS MATERIALIZED (SELECT name FROM customers WHERE client_id = 1) SELECT * FROM x",
        ),
        (
            "a table of one's own",
            "CREATE TEMP TABLE mine AS SELECT name, phone FROM customers WHERE client_id = 1; SELECT m.name, c.id FROM mine m, customers c WHERE c.id = 1000001",
        ),
        (
            "PREPARE and EXECUTE",
            "PREPARE p AS SELECT phone FROM customers WHERE client_id = 1 ORDER BY id DESC; EXECUTE p",
        ),
        (
            "another purpose and scope",
            "SET sekisho.purpose TO 'call 7'; SET sekisho.scope TO '1'; SELECT name FROM customers ORDER BY id DESC",
        ),
        (
            "UNION of one column",
            "SELECT name FROM customers WHERE id = 1000090 UNION ALL SELECT phone FROM customers WHERE id = 1000091",
        ),
    ] {
        let (got, error) = all_texts(&driver, sql).await;
        people.look(1, &got);
        let _ = simple(&driver, "ROLLBACK").await;
        let held = people.most() <= SUBJECTS;
        trial.case(
            "8",
            name,
            held,
            format!("{} people, {error:?}", people.most()),
        );
    }
    let data = driver
        .copy_out(
            "COPY (SELECT phone FROM customers WHERE client_id = 1 ORDER BY id DESC) TO STDOUT",
        )
        .await;
    if let Ok(data) = data {
        use futures_util::StreamExt;
        let mut data = std::pin::pin!(data);
        while let Some(Ok(line)) = data.next().await {
            people.look(1, &String::from_utf8_lossy(&line));
        }
    }
    trial.case("8", "COPY", people.most() <= SUBJECTS, people.most());
    // A view that a maintainer made for him, gone through the gate so that it is known.
    let maintainer = trial.centre.connect("suzuki").await;
    simple(&maintainer, "CREATE VIEW shown AS SELECT id, name, phone FROM customers; GRANT SELECT ON shown TO PUBLIC").await.unwrap();
    let (got, error) = all_texts(&driver, "SELECT name FROM shown ORDER BY id DESC").await;
    people.look(1, &got);
    simple(&maintainer, "DROP VIEW shown").await.unwrap();
    trial.case(
        "8",
        "a view",
        people.most() <= SUBJECTS,
        format!("{} people, {error:?}", people.most()),
    );
    // The other client's budget is what his own leaves: five.
    let driver = trial.centre.connect("pager").await;
    let mut others = People::default();
    let (got, error) = all_texts(
        &driver,
        "SELECT name, phone FROM customers WHERE client_id = 2 ORDER BY id",
    )
    .await;
    others.look(2, &got);
    let held = others.phones.len() == 5 && error.as_deref() == Some(BUDGET);
    trial.case(
        "8",
        "another client",
        held,
        format!("{} people, {error:?}", others.most()),
    );
}

/// 8. Whatever stands in the row beside the cells, and under whatever name.
///
/// With a whole budget each, so that only the people in the cells can end it.
async fn spoofed_ids(trial: &mut Trial) {
    for (login, name, sql) in [
        (
            "spoofer",
            "one id for all customers, from the start",
            "SELECT 1 AS customer_id, 1 AS id, phone FROM customers WHERE client_id = 1 ORDER BY customers.id",
        ),
        (
            "spoofer2",
            "another client's number for all customers, from the start",
            "SELECT 2 AS client_id, phone FROM customers WHERE customers.client_id = 1 ORDER BY customers.id",
        ),
    ] {
        let driver = trial.centre.connect(login).await;
        let (got, error) = all_texts(&driver, sql).await;
        let mut people = People::default();
        people.look(1, &got);
        let held = people.most() == SUBJECTS && error.as_deref() == Some(BUDGET);
        trial.case(
            "8",
            name,
            held,
            format!("{} people, then {error:?}", people.most()),
        );
    }
}

/// 8. Columns of different people in one row undercount by the number of classes at most.
async fn three_at_once(trial: &mut Trial) {
    let driver = trial.centre.connect("mixer").await;
    let sql = "SELECT a.name, b.phone FROM customers a JOIN customers b ON b.id = a.id + 50 WHERE a.client_id = 1 AND a.id <= 1000050 ORDER BY a.id";
    let (got, error) = all_texts(&driver, sql).await;
    let mut people = People::default();
    people.look(1, &got);
    let (names, phones) = (people.names.len() as u64, people.phones.len() as u64);
    let held = names <= SUBJECTS && phones <= SUBJECTS && error.as_deref() == Some(BUDGET);
    trial.case(
        "8",
        "names of some beside numbers of others",
        held,
        format!("{names} names, {phones} numbers, {error:?}"),
    );
}

/// 9. One unit is left: 64 sessions, disconnects and a restart get one.
async fn one_unit_left(trial: &mut Trial) {
    let driver = trial.centre.connect("racer").await;
    let sql = format!(
        "SELECT phone FROM customers WHERE client_id = 1 ORDER BY id LIMIT {}",
        SUBJECTS - 1
    );
    assert_eq!(
        simple(&driver, &sql).await.unwrap().len() as u64,
        SUBJECTS - 1
    );
    let mut sessions = Vec::new();
    for _ in 0..64 {
        sessions.push(trial.centre.connect("racer").await);
    }
    let mut race = tokio::task::JoinSet::new();
    for (n, session) in sessions.into_iter().enumerate() {
        race.spawn(async move {
            let sql = format!("SELECT phone FROM customers WHERE id = {}", 1_000_030 + n);
            let answer = simple(&session, &sql).await;
            (answer, session)
        });
    }
    let (mut got, mut ends, mut open) = (0, 0, Vec::new());
    while let Some(one) = race.join_next().await {
        let (answer, session) = one.unwrap();
        open.push(session);
        match answer {
            Ok(rows) => got += rows.len(),
            Err(code) => ends += usize::from(code == BUDGET),
        }
    }
    trial.case(
        "9",
        "64 sessions for one unit",
        got == 1 && ends == 63,
        format!("{got} got it, {ends} budget ends"),
    );
    drop(open);
    let again = |answer: &Answer| answer.as_ref().err().map(String::as_str) == Some(BUDGET);
    let driver = trial.centre.connect("racer").await;
    let answer = simple(&driver, "SELECT phone FROM customers WHERE id = 1000099").await;
    trial.case(
        "9",
        "after all of them disconnected",
        again(&answer),
        format!("{answer:?}"),
    );
    // Half a result read, then gone: what was on its way is charged.
    trial.centre.kill().await;
    trial.centre.start().await;
    let driver = trial.centre.connect("racer").await;
    let answer = simple(&driver, "SELECT phone FROM customers WHERE id = 1000098").await;
    trial.case(
        "9",
        "after SIGKILL and a restart",
        again(&answer),
        format!("{answer:?}"),
    );
    trial.centre.stop().await;
    trial.centre.start().await;
    let driver = trial.centre.connect("racer").await;
    let answer = simple(&driver, "SELECT phone FROM customers WHERE id = 1000097").await;
    trial.case(
        "9",
        "after a stop and a start",
        again(&answer),
        format!("{answer:?}"),
    );
    let known = simple(&driver, "SELECT phone FROM customers WHERE id = 1000001").await;
    trial.case(
        "9",
        "who was seen is seen again",
        known.is_ok(),
        known.is_ok(),
    );
}

/// 10. Searching has a budget, hit or miss, and each is recorded.
async fn guessing_within_the_budget(trial: &mut Trial) {
    let mut evidence = Evidence::of(&trial.centre.dir);
    evidence.read_on();
    let driver = trial.centre.connect("guesser").await;
    // Many in one statement cost as many, and are bounded.
    let many = |count: u64| {
        let list: Vec<String> = (0..count).map(|n| format!("'090-5555-{n:04}'")).collect();
        format!(
            "SELECT id FROM customers WHERE phone IN ({})",
            list.join(", ")
        )
    };
    let at_once = 16;
    let too_many = simple(&driver, &many(at_once + 1)).await;
    trial.case(
        "10",
        "17 numbers in one statement",
        too_many == Err("54000".to_owned()),
        format!("{too_many:?}"),
    );
    simple(&driver, &many(at_once)).await.unwrap();
    let (mut answered, mut ended) = (0, None);
    for n in 0..PROBES * 2 {
        let sql = format!("SELECT id FROM customers WHERE phone = '090-4444-{n:04}'");
        match simple(&driver, &sql).await {
            Ok(_) => answered += 1,
            Err(code) => {
                ended = Some(code);
                break;
            }
        }
    }
    answered += at_once;
    let held = answered <= PROBES && ended.as_deref() == Some(BUDGET);
    trial.case(
        "10",
        "16 numbers in one statement, then one by one",
        held,
        format!("{answered} answered, then {ended:?}"),
    );
    let guesser = evidence.actor("guesser");
    let deadline = std::time::Instant::now() + SHOWN_WITHIN;
    let mut probes = 0;
    while probes < answered && std::time::Instant::now() < deadline {
        for seen in evidence.read_on() {
            if let Body::Exposure(exposure) = &seen.body
                && exposure.who.actor == guesser
            {
                probes += u64::from(exposure.probes);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    trial.case(
        "10",
        "each search is recorded, hit or miss",
        probes >= answered,
        format!("{probes} probes recorded"),
    );
    for (name, sql) in [
        (
            "by writing",
            "INSERT INTO customers (id, client_id, phone) VALUES (801, 1, '090-4444-9999')",
        ),
        (
            "by ON CONFLICT",
            "INSERT INTO customers (id, client_id, phone) VALUES (801, 1, '090-4444-9999') ON CONFLICT DO NOTHING RETURNING id",
        ),
        (
            "by a join",
            "SELECT c.id FROM customers c JOIN (VALUES ('090-4444-9999')) v(p) ON c.phone = v.p",
        ),
        (
            "by e-mail",
            "SELECT id FROM customers WHERE email = 'nobody@example.jp'",
        ),
    ] {
        let answer = simple(&driver, sql).await;
        trial.case(
            "10",
            format!("more guesses {name}"),
            answer.is_err(),
            format!("{answer:?}"),
        );
    }
}

/// 10. Where numbers are masked, a search that confirms one costs a subject.
async fn a_mask_solved(trial: &mut Trial) {
    let policy = std::fs::read_to_string(trial.centre.dir.join("policy/policy.cedar")).unwrap();
    let masked = format!(
        "{policy}\nforbid (principal in Role::\"operator\", action == Action::\"see_clear\", resource == Class::\"phone\");\n\
         permit (principal in Role::\"operator\", action == Action::\"see_masked\", resource == Class::\"phone\");\n"
    );
    let path = trial.centre.dir.join("policy/masked.cedar");
    std::fs::write(&path, masked).unwrap();
    let path = path.display().to_string();
    trial
        .centre
        .approved(&["policy", "propose", "--policy", &path])
        .await;
    let driver = trial.centre.connect("mask").await;
    let shown = one(&driver, "SELECT phone FROM customers WHERE id = 1000001").await;
    let customer = all_customers(1, 1, 0).remove(&1_000_001).unwrap();
    let held = shown.contains('*') && shown != *customer.phone.expose();
    trial.case("10", "a masked number", held, &shown);
    let (mut answered, mut ended) = (0_u64, None);
    for n in 0..PROBES {
        let sql = format!("SELECT id FROM customers WHERE phone = '090-{n:04}-7777'")
            .replace("090-0", "090-1");
        match simple(&driver, &sql).await {
            Ok(_) => answered += 1,
            Err(code) => {
                ended = Some(code);
                break;
            }
        }
    }
    let held = answered <= SUBJECTS && ended.as_deref() == Some(BUDGET);
    trial.case(
        "10",
        "a mask solved by searching costs subjects",
        held,
        format!("{answered} answered, then {ended:?}"),
    );
    let answer = simple(
        &driver,
        &format!("SELECT {CUSTOMER_COLUMNS} FROM customers WHERE id = 1000002"),
    )
    .await;
    let number = all_customers(1, 2, 0).remove(&1_000_002).unwrap();
    let clear = texts(&answer)
        .iter()
        .any(|text| text == number.phone.expose());
    trial.case("10", "the number itself", !clear, answer.is_ok());
    let path = trial
        .centre
        .dir
        .join("policy/policy.cedar")
        .display()
        .to_string();
    trial
        .centre
        .approved(&["policy", "propose", "--policy", &path])
        .await;
}
