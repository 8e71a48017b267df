//! Files for company media at a real gate: confirmed in a session, looked into, judged, recorded.

use std::time::{Duration, Instant};

use terminal::copy::{ALPN_COPY, CODE_LETTERS, FromBroker, Offer, PART_BYTES_MAX, ToBroker};
use terminal::report::Said;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::stage::Stage;
use crate::terminals::{Frames, SOON, Seat, asks_and_is_approved, heartbeat, sign, until};
use crate::verifier::Client as Verifier;

/// What the gate said of a file.
#[derive(Debug)]
struct Judged {
    may: bool,
    why: String,
    subjects: u64,
    findings: Vec<(u8, u32)>,
}

/// The broker of a terminal.
struct Broker(Frames);

impl Broker {
    async fn send(&mut self, message: &FromBroker) {
        self.0.send(&message.encode()).await;
    }

    async fn hear(&mut self) -> Option<ToBroker> {
        let message = self.0.hear().await?;
        Some(ToBroker::decode(&message).unwrap())
    }
}

fn judged(message: Option<ToBroker>) -> Judged {
    match message {
        Some(ToBroker::Judged {
            may,
            why,
            subjects,
            findings,
        }) => Judged {
            may,
            why,
            subjects,
            findings,
        },
        other => panic!("{other:?} instead of a judgement"),
    }
}

struct Room<'a> {
    seat: &'a Seat,
    code: u32,
    client: String,
}

impl Room<'_> {
    /// Offers a file, and has it confirmed in a session.
    async fn copy(&mut self, session: &Client, grant: u32, file: &[u8]) -> Judged {
        self.named(session, grant, ("list.csv", file)).await
    }

    async fn named(&mut self, session: &Client, grant: u32, (name, file): (&str, &[u8])) -> Judged {
        self.code += 1;
        // Letters alone: the alphabet has neither 0 nor 1.
        let code: String = (0..CODE_LETTERS)
            .map(|at| char::from(b'A' + u8::try_from(self.code >> (2 * at) & 3).unwrap()))
            .collect();
        let mut broker = Broker(self.seat.frames(ALPN_COPY).await);
        let offer = Offer {
            code: code.clone(),
            grant,
            client: self.client.clone(),
            medium: [7; 16],
            bytes: file.len() as u64,
            name: name.to_owned(),
        };
        broker.send(&FromBroker::Offer(offer)).await;
        let said = async {
            let began = Instant::now();
            // The gate may not have read the offer yet.
            while say(session, &code).await.is_err() {
                assert!(began.elapsed() < SOON, "nobody waits for {code}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            broker.hear().await
        };
        let first = timeout(SOON, said).await.expect("the gate goes on");
        if first != Some(ToBroker::Confirmed) {
            return judged(first);
        }
        for part in file.chunks(PART_BYTES_MAX) {
            broker.send(&FromBroker::Part(part.to_vec())).await;
        }
        judged(broker.hear().await)
    }

    /// What the gate says at once.
    async fn offered(&self, client: &str, bytes: u64) -> Judged {
        let mut broker = Broker(self.seat.frames(ALPN_COPY).await);
        let offer = Offer {
            code: "ABCDEFGH".to_owned(),
            grant: 1,
            client: client.to_owned(),
            medium: [7; 16],
            bytes,
            name: "list.csv".to_owned(),
        };
        broker.send(&FromBroker::Offer(offer)).await;
        judged(broker.hear().await)
    }
}

async fn say(session: &Client, code: &str) -> Result<(), String> {
    let sql = format!("SET sekisho.copy = '{code}'");
    let said = session.batch_execute(&sql).await;
    said.map_err(|error| {
        let error = error.as_db_error().expect("an answer of the gate");
        format!("{} {}", error.code().code(), error.message())
    })
}

async fn rows(session: &Client, sql: &str) -> Vec<(String, String)> {
    let answer = session.simple_query(sql).await.unwrap();
    let text = |row: &tokio_postgres::SimpleQueryRow, at| row.get(at).unwrap_or("").to_owned();
    answer
        .iter()
        .filter_map(|it| match it {
            SimpleQueryMessage::Row(row) => Some((text(row, 0), text(row, 1))),
            _ => None,
        })
        .collect()
}

fn carry(stage: &Stage, amount: &str) -> u32 {
    let asked = stage.command(&[
        "grant", "request", "--actor", "tanaka", "--client", "1", "--what", "carry", "--amount",
        amount, "--hours", "1", "--ticket", "T-1",
    ]);
    sign(stage, &asked);
    let grant = asked["grant"].as_u64().or_else(|| asked["number"].as_u64());
    u32::try_from(grant.expect("the grant's number")).unwrap()
}

/// The records of files, oldest first.
fn on_record(stage: &Stage) -> Vec<serde_json::Value> {
    let mut reader = ledger::Reader::open(&stage.dir.join("ledger")).unwrap();
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let body = event::record::decode(&entry.record).unwrap();
        if let event::record::Body::TerminalCopy {
            who,
            subjects,
            refused,
            bytes,
            ..
        } = body
        {
            all.push(serde_json::json!([
                who.grant.map(|it| it.0),
                bytes,
                subjects,
                refused.map(|it| format!("{it:?}"))
            ]));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_leaves_only_under_a_grant_and_on_record() {
    let stage = Stage::start();
    let mut seat = Seat::new(&stage);
    let mut agent = asks_and_is_approved(&stage, &mut seat).await;
    let started = Said::Started {
        version: "1".into(),
        clean: false,
    };
    agent.report(&mut seat, started).await;
    agent.report(&mut seat, heartbeat(0, 0)).await;
    until(&stage, "healthy", |it| it["healthy"] == true).await;
    let session = seat.session(&stage, "tanaka").await.unwrap();
    let grant = carry(&stage, "3");
    let shown = "SELECT name, phone FROM customers WHERE client_id = 1 ORDER BY id LIMIT 2";
    let people = rows(&session, shown).await;
    assert!(stage.holds_plaintext(people[0].0.as_bytes()));
    let list: String = people
        .iter()
        .map(|(name, phone)| format!("{name},{phone}\r\n"))
        .collect();
    let mut room = Room {
        seat: &seat,
        code: 0,
        client: "c01".to_owned(),
    };

    // Two people whom he was shown, by name and number: two of his three.
    let first = room.copy(&session, grant, list.as_bytes()).await;
    assert!(first.may, "{first:?}");
    assert_eq!(first.subjects, 2);
    assert!(
        first.findings.contains(&(1, 2)) && first.findings.contains(&(4, 2)),
        "{first:?}"
    );
    // In the encoding of another program, they are the same two: more than is left.
    let (sjis, _, _) = encoding_rs::SHIFT_JIS.encode(&list);
    let again = room.copy(&session, grant, &sjis).await;
    assert!(
        !again.may && again.why.contains("1 people left"),
        "{again:?}"
    );
    assert_eq!(again.subjects, 2);
    let picture = room
        .copy(&session, grant, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        .await;
    assert!(
        !picture.may && picture.why.contains("neither text"),
        "{picture:?}"
    );
    let empty = room.copy(&session, grant, b"nobody is in this one\n").await;
    assert!(empty.may && empty.subjects == 0, "{empty:?}");

    // What stands in the name goes to the medium, too.
    let in_its_name = (&*format!("{}.csv", people[0].1), &b""[..]);
    let named = room.named(&session, grant, in_its_name).await;
    assert!(named.may && named.subjects == 1, "{named:?}");
    let used_up = room.copy(&session, grant, b"nobody\n").await;
    assert!(used_up.why.contains("used up"), "{used_up:?}");

    others_are_refused(&stage, &mut room, grant).await;
    a_fictitious_person_is_recognised(&stage, &mut room, &session).await;

    let log = std::process::Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .args(["log", "--client", "c01", "--actor", "tanaka", "--dir"])
        .arg(&stage.dir)
        .output()
        .unwrap();
    let log = String::from_utf8(log.stdout).unwrap();
    for words in [
        "(2 people: 2 name, 2 phone): it may be written to a company medium",
        "(2 people: 2 name, 2 phone): it MAY NOT be carried out: the grant",
        "(no personal value): it MAY NOT be carried out: a value",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }

    the_client_reads_it_in_its_report(&stage, grant);

    drop(room);
    agent.report(&mut seat, heartbeat(1, 1)).await;
    let room = Room {
        seat: &seat,
        code: 0,
        client: String::new(),
    };
    let unhealthy = room.offered("acme", 1).await;
    assert!(unhealthy.why.contains("not healthy"), "{unhealthy:?}");
    let bytes = std::fs::read_dir(stage.dir.join("ledger/wal")).unwrap();
    for file in bytes {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!stage.holds_plaintext(&bytes));
    }
}

async fn others_are_refused(stage: &Stage, room: &mut Room<'_>, grant: u32) {
    // Not through the terminal that shows the code.
    let elsewhere = stage.connect("tanaka", "callcentre").await;
    let error = say(&elsewhere, "ABCDEFGH").await.unwrap_err();
    assert!(error.starts_with("22023"), "{error}");
    let suzuki = room.seat.session(stage, "suzuki").await.unwrap();
    let another = room.copy(&suzuki, grant, b"nobody\n").await;
    assert!(another.why.contains("another actor"), "{another:?}");
    let none = room.copy(&suzuki, 999, b"nobody\n").await;
    assert!(none.why.contains("does not exist"), "{none:?}");
    let unknown = room.offered("no-such-client", 1).await;
    assert!(unknown.why.contains("does not know"), "{unknown:?}");
    let large = room.offered(&room.client, (64 << 20) + 1).await;
    assert!(large.why.contains("too large"), "{large:?}");

    let expected = serde_json::json!([
        [grant, 2, null],
        [grant, 2, "Grant"],
        [grant, 0, "Value"],
        [grant, 0, null],
        [grant, 1, null],
        [grant, 0, "Grant"],
        [grant, 0, "Grant"],
        [999, 0, "Grant"],
    ]);
    let began = Instant::now();
    loop {
        // Who reads beside the writer is behind it by a heartbeat.
        let all = on_record(stage);
        let told: Vec<_> = all.iter().map(|it| [&it[0], &it[2], &it[3]]).collect();
        if serde_json::json!(told) == expected {
            break;
        }
        assert!(began.elapsed() < SOON, "{told:?}");
    }
}

/// Somebody who steals the whole list has the people in it that there are not.
async fn a_fictitious_person_is_recognised(stage: &Stage, room: &mut Room<'_>, session: &Client) {
    let last = "SELECT id, '' FROM customers WHERE client_id = 1 ORDER BY id DESC LIMIT 1";
    let before = rows(session, last).await[0].0.clone();
    stage.command(&[
        "canary",
        "plant",
        "--client",
        "1",
        "--count",
        "1",
        "--database",
        "callcentre",
        "--table",
        "customers",
        "--next",
        "id",
    ]);
    let sql = format!("SELECT name, phone FROM customers WHERE client_id = 1 AND id > {before}");
    let planted = rows(session, &sql).await;
    assert_eq!(planted.len(), 1);
    let grant = carry(stage, "1000");
    let file = format!("made up,090-1234-5678\n{},{}\n", planted[0].0, planted[0].1);
    let found = room.copy(session, grant, file.as_bytes()).await;
    assert!(!found.may, "{found:?}");
    assert!(found.why.contains("fictitious"), "{found:?}");
    let began = Instant::now();
    while !on_record(stage).iter().any(|it| it[3] == "Policy") {
        assert!(began.elapsed() < SOON, "it is not on record");
    }
}

/// From the published log alone, by a program that trusts nobody here.
fn the_client_reads_it_in_its_report(stage: &Stage, grant: u32) {
    let began = Instant::now();
    loop {
        let folder = tempfile::tempdir().unwrap();
        let client = Verifier::of_stage(stage, folder.path(), "c01");
        let said = client.report(&[], "");
        let files = said["files"].as_array().unwrap();
        let let_out = |it: &serde_json::Value| it["files"]["let_out"].as_u64() > Some(0);
        let of = |it: &&serde_json::Value| it["grant"] == grant && let_out(it);
        if let Some(of) = files.iter().find(of)
            && files.len() == 4
        {
            // Two people, nobody, one in a name; too many, a picture, used up.
            let told = [
                &of["files"]["let_out"],
                &of["files"]["people"],
                &of["files"]["refused"],
            ];
            assert_eq!(told, [&3, &3, &3], "{said:#}");
            return;
        }
        assert!(began.elapsed() < SOON, "{said:#}");
    }
}
