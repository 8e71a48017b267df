//! Attack 4: genuine cells where they do not belong, and cells that are not genuine.

use event::record::{Body, FindingKind};
use event::{Class, ClientId};
use tokio_postgres::Client;

use super::maintainer::told;
use super::{CUSTOMERS, Trial, one, simple, texts};
use crate::centre::{CUSTOMER_COLUMNS, DATABASE, DEADLINE, all_customers};
use crate::evidence::{Evidence, SHOWN_WITHIN};

pub(crate) async fn run(trial: &mut Trial) {
    moved_cells(trial).await;
}

/// 4. Cells swapped, replayed, injected, altered.
async fn moved_cells(trial: &mut Trial) {
    let maintainer = trial.centre.connect("suzuki").await;
    let of = |column: &str, id: i64| format!("SELECT {column} FROM customers WHERE id = {id}");
    let phone = one(&maintainer, &of("phone", 1_000_001)).await;
    let name = one(&maintainer, &of("name", 1_000_001)).await;
    let foreign = one(&maintainer, &of("phone", 3_000_001)).await;
    let birth = one(&maintainer, &of("birth_date", 1_000_001)).await;
    assert!(
        [&phone, &name, &foreign, &birth]
            .iter()
            .all(|cell| cell.starts_with("sealed:"))
    );
    let update = |cell: &str| format!("UPDATE customers SET phone = '{cell}' WHERE id = 1000001");
    let other_bit = flipped(&phone, phone_bits(&phone) - 1);
    // He moves cells of all clients: that each has its row is kept by the CHECK.
    for (what, cell, code) in [
        ("a cell of another class written", name.as_str(), "22023"),
        ("a cell of another client written", &foreign, "23514"),
        (
            "a cell cut short written",
            &phone[..phone.len() - 4],
            "22023",
        ),
        ("a cell with another last bit written", &other_bit, "22023"),
    ] {
        let answer = simple(&maintainer, &update(cell)).await;
        let held = answer == Err(code.to_owned());
        trial.case("4", what, held, told(&answer));
    }
    // Beside the gate he writes what he likes.
    let postgres = trial.centre.postgres.connect(DATABASE).await.unwrap();
    postgres
        .batch_execute("CREATE TABLE baits (id serial, bait text); GRANT ALL ON baits TO PUBLIC")
        .await
        .unwrap();
    let mut baits: Vec<String> = (0..phone_bits(&phone))
        .map(|bit| flipped(&phone, bit))
        .collect();
    let altered = baits.len();
    baits.extend((0..phone_bits(&name)).map(|bit| flipped(&name, bit)));
    baits.push(foreign.clone());
    for bait in &baits {
        postgres
            .execute("INSERT INTO baits (bait) VALUES ($1)", &[bait])
            .await
            .unwrap();
    }
    let reader = trial.centre.connect("reader").await;
    let beside = "SELECT b.bait FROM baits b, customers c WHERE c.id = 1000001 ORDER BY b.id";
    let answer = simple(&reader, beside).await;
    let opened = texts(&answer)
        .iter()
        .filter(|text| !text.starts_with("sealed:"))
        .count();
    let held = opened == 0 && texts(&answer).len() == baits.len();
    trial.case(
        "4",
        format!("{altered} cells with one bit changed, and a foreign one, in a result"),
        held,
        format!("{opened} opened"),
    );
    let answer = simple(&reader, "SELECT bait FROM baits").await;
    let opened = texts(&answer)
        .iter()
        .filter(|text| !text.starts_with("sealed:"))
        .count();
    trial.case(
        "4",
        "the same where no sealed table is named",
        opened == 0,
        format!("{opened} opened"),
    );
    injected_row(trial, &postgres, &reader).await;
    postgres.batch_execute("DROP TABLE baits").await.unwrap();
    out_of_place(trial, &postgres, &birth).await;
}

/// A genuine cell of a class that is masked, in the column of one that is not.
async fn out_of_place(trial: &mut Trial, postgres: &Client, birth: &str) {
    let mut evidence = Evidence::of(&trial.centre.dir);
    evidence.read_on();
    postgres
        .batch_execute(&format!(
            "DO $$ DECLARE c record; BEGIN
               SELECT conname, pg_get_constraintdef(oid) AS def INTO c FROM pg_constraint
                 WHERE conrelid = 'customers'::regclass AND contype = 'c' AND conname LIKE '%name%';
               EXECUTE format('ALTER TABLE customers DROP CONSTRAINT %I', c.conname);
               INSERT INTO customers (id, client_id, name) VALUES (1500002, 1, '{birth}');
               EXECUTE format('ALTER TABLE customers ADD CONSTRAINT %I %s NOT VALID', c.conname, c.def);
             END $$"
        ))
        .await
        .unwrap();
    let driver = trial.centre.connect("mover").await;
    let place = "SELECT name FROM customers WHERE id = 1500002";
    let customer = all_customers(1, 1, 0).remove(&1_000_001).unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    // A gate that looked at the catalogue while there was no CHECK gives it as its own class has it.
    let shown = loop {
        let shown = one(&driver, place).await;
        let clear = shown == *customer.birth_date.expose();
        if shown == birth || clear || std::time::Instant::now() > deadline {
            break shown;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let own = "SELECT birth_date FROM customers WHERE id = 1000001";
    let masked = one(&driver, own).await;
    let held = shown == birth && masked != *customer.birth_date.expose();
    let came = format!("{shown}; in its own column {masked}");
    trial.case(
        "4",
        "a masked class in the column of a clear one",
        held,
        came,
    );
    let mover = evidence.actor("mover");
    let deadline = std::time::Instant::now() + SHOWN_WITHIN;
    let mut found = false;
    while !found && std::time::Instant::now() < deadline {
        found = evidence.read_on().iter().any(|seen| {
            matches!(&seen.body, Body::Finding { who, kind: FindingKind::CellOutOfPlace, .. } if who.actor == mover)
        });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    trial.case("4", "it is a finding", found, found);
    postgres
        .batch_execute(
            "DELETE FROM customers WHERE id = 1500002;
             DO $$ DECLARE c name; BEGIN
               FOR c IN SELECT conname FROM pg_constraint
                 WHERE conrelid = 'customers'::regclass AND NOT convalidated
               LOOP EXECUTE format('ALTER TABLE customers VALIDATE CONSTRAINT %I', c); END LOOP;
             END $$",
        )
        .await
        .unwrap();
}

/// A genuine cell in a row of somebody else: recorded as whom it shows, so the row accuses nobody.
async fn injected_row(trial: &mut Trial, postgres: &Client, reader: &Client) {
    let mut evidence = Evidence::of(&trial.centre.dir);
    evidence.read_on();
    postgres
        .batch_execute(&format!(
            "INSERT INTO customers ({CUSTOMER_COLUMNS}) SELECT 1500001, 1, a.name, NULL, b.email, NULL, NULL FROM customers a, customers b WHERE a.id = 1000050 AND b.id = 1000051"
        ))
        .await
        .unwrap();
    let answer = simple(
        reader,
        "SELECT name, email FROM customers WHERE id = 1500001",
    )
    .await;
    let customers = all_customers(1, CUSTOMERS, 0);
    let client = ClientId::new(1).unwrap();
    let keys = evidence.keys.client(client).unwrap();
    let shown = &customers[&1_000_050];
    let name = keys.fingerprint(Class::Name, shown.name.expose()).0;
    let mut seen = false;
    let deadline = std::time::Instant::now() + SHOWN_WITHIN;
    while !seen && std::time::Instant::now() < deadline {
        seen = evidence.read_on().iter().any(|one| {
            one.exposure().is_some_and(|(_, _, list)| {
                list.rows.iter().any(|(kind, key, _)| {
                    *kind == budget::SetKind::Clear(Class::Name) && *key == name
                })
            })
        });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let right = texts(&answer).first() == Some(shown.name.expose());
    trial.case(
        "4",
        "a row made of two people's cells: recorded as whom it shows",
        seen && right,
        told(&answer),
    );
    postgres
        .batch_execute("DELETE FROM customers WHERE id = 1500001")
        .await
        .unwrap();
}

fn decoded(cell: &str) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(&cell["sealed:".len()..])
        .unwrap()
}

fn phone_bits(cell: &str) -> usize {
    decoded(cell).len() * 8
}

/// A cell with one bit changed.
fn flipped(cell: &str, bit: usize) -> String {
    let mut bytes = decoded(cell);
    bytes[bit / 8] ^= 1 << (bit % 8);
    format!(
        "sealed:{}",
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
    )
}
