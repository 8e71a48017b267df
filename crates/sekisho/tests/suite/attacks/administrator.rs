//! Attacks 18 and 21: the administrator alone, and what is not to stand in the ledger.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64_simd::STANDARD;
use event::ChangeId;
use event::record::change_bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio_postgres::NoTls;

use super::{Trial, one, simple};
use crate::centre::{Centre, DEADLINE, ENVIRONMENT_CANARY};
use crate::evidence::{Evidence, SHOWN_WITHIN};

pub(crate) async fn run(trial: &mut Trial) {
    alone(trial).await;
    forged(trial).await;
    as_somebody(trial).await;
    nothing_in_the_ledger(trial).await;
}

/// 18. Whatever he proposes that loosens waits.
async fn alone(trial: &mut Trial) {
    let numbers = trial.centre.dir.join("policy/more.toml");
    std::fs::write(&numbers, crate::centre::unlimited().to_toml()).unwrap();
    let numbers = numbers.display().to_string();
    let policy = trial.centre.dir.join("policy/open.cedar");
    std::fs::write(&policy, "permit (principal, action, resource);\n").unwrap();
    let policy = policy.display().to_string();
    let public = trial.centre.dir.join("people/admin.pub");
    let key = key(&trial.centre, "admin");
    let bytes = aws_lc_rs::signature::KeyPair::public_key(&key)
        .as_ref()
        .to_vec();
    std::fs::write(&public, STANDARD.encode_to_string(bytes)).unwrap();
    let public = public.display().to_string();
    let tries: [(&str, Vec<&str>); 9] = [
        (
            "raises every number",
            vec!["numbers", "propose", "--numbers", &numbers],
        ),
        (
            "opens the policy",
            vec!["policy", "propose", "--policy", &policy],
        ),
        (
            "adds an actor",
            vec![
                "actor",
                "add",
                "ghost",
                "--role",
                "supervisor",
                "--clients",
                "all",
            ],
        ),
        (
            "gives an operator more clients",
            vec!["actor", "set", "pager", "--clients", "all"],
        ),
        (
            "gives an operator another role",
            vec!["actor", "set", "pager", "--role", "supervisor"],
        ),
        (
            "gives himself a role that sees",
            vec![
                "actor",
                "set",
                "admin",
                "--role",
                "supervisor",
                "--clients",
                "all",
            ],
        ),
        (
            "gives an approver his own key",
            vec!["actor", "key", "approver-1", "--public-key", &public],
        ),
        (
            "makes a new code for somebody's account",
            vec!["actor", "code", "pager"],
        ),
        (
            "grants",
            vec![
                "grant", "request", "--actor", "pager", "--client", "1", "--what", "see",
                "--amount", "1000", "--hours", "1", "--ticket", "X",
            ],
        ),
    ];
    let before = in_force(&trial.centre);
    for (name, arguments) in tries {
        let mut all = arguments.clone();
        all.push("--json");
        let answer = trial.centre.run(&all, "").await;
        let waits = match &answer {
            Ok(out) => {
                let reply: Value =
                    serde_json::from_str(out.lines().last().unwrap_or("null")).unwrap();
                reply["in_force"] == false && reply["missing"] == 2
            }
            Err(_) => true,
        };
        let held = waits && in_force(&trial.centre) == before;
        let came = answer.unwrap_or_else(|error| error);
        trial.case("18", format!("the administrator {name}"), held, came.trim());
    }
}

/// What decides: numbers, policy, actors, grants and keys in force.
fn in_force(centre: &Centre) -> String {
    let mut evidence = Evidence::of(&centre.dir);
    evidence.read_on();
    let state = &evidence.state;
    format!(
        "{:?}{:?}{:?}{:?}{:?}",
        state.generation, state.numbers, state.policy, state.actors, state.grants
    )
}

fn key(centre: &Centre, login: &str) -> Ed25519KeyPair {
    let path = centre.dir.join(format!("people/{login}.key"));
    let text = std::fs::read_to_string(path).unwrap();
    let document = STANDARD
        .decode_to_vec(text.lines().nth(1).unwrap())
        .unwrap();
    Ed25519KeyPair::from_pkcs8(&document).unwrap()
}

/// A line at the command socket, and its answer.
async fn said(centre: &Centre, signed: &Value) -> Value {
    let mut stream = UnixStream::connect(centre.dir.join("admin.sock"))
        .await
        .unwrap();
    stream
        .write_all(format!("{signed}\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    let read = async { BufReader::new(stream).read_line(&mut answer).await };
    tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// 18. Approvals and requests that he makes himself.
async fn forged(trial: &mut Trial) {
    let centre = &trial.centre;
    let mut evidence = Evidence::of(&centre.dir);
    // The reader is behind by at most a heartbeat: what waits was proposed before.
    let deadline = std::time::Instant::now() + SHOWN_WITHIN;
    while evidence.state.proposals.is_empty() && std::time::Instant::now() < deadline {
        evidence.read_on();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (number, proposal) = evidence
        .state
        .proposals
        .iter()
        .next()
        .expect("a change waits");
    let (number, what, ledger) = (*number, proposal.what.clone(), evidence.state.ledger);
    let (admin, approver) = (key(centre, "admin"), key(centre, "approver-1"));
    let message = change_bytes(&ledger, number, &what);
    let other = change_bytes(&ledger, ChangeId(number.0 + 1), &what);
    let elsewhere = change_bytes(&[7; 16], number, &what);
    let sign = |key: &Ed25519KeyPair, message: &[u8]| STANDARD.encode_to_string(key.sign(message));
    let mut cases = Vec::new();
    for (name, approver, signature) in [
        ("his own signature as himself", 1, sign(&admin, &message)),
        (
            "his own signature as an approver",
            2,
            sign(&admin, &message),
        ),
        (
            "an approver's signature of another change",
            2,
            sign(&approver, &other),
        ),
        (
            "an approver's signature of another ledger",
            2,
            sign(&approver, &elsewhere),
        ),
        (
            "one approver's signature as the other's",
            3,
            sign(&approver, &message),
        ),
        ("no signature", 2, String::new()),
        ("zeros", 2, STANDARD.encode_to_string([0; 64])),
        ("an actor that is not", 999, sign(&approver, &message)),
    ] {
        let body = json!({"do": "approve", "change": number.0, "approver": approver, "signature": signature}).to_string();
        let signed =
            json!({"actor": null, "at_ms": now_ms(), "nonce": 1, "body": body, "signature": ""});
        let reply = said(centre, &signed).await;
        cases.push((format!("approves with {name}"), reply));
    }
    // The administrator's own requests: unsigned, another's name, another time, twice.
    let body = json!({"do": "add-client", "code": "forged", "name": "Forged"}).to_string();
    let signed = |actor: u32, at_ms: u64, nonce: u64, key: &Ed25519KeyPair| {
        let mut message = b"sekisho request v1\0".to_vec();
        message.extend_from_slice(&ledger);
        message.extend_from_slice(&actor.to_be_bytes());
        message.extend_from_slice(&at_ms.to_be_bytes());
        message.extend_from_slice(&nonce.to_be_bytes());
        message.extend_from_slice(body.as_bytes());
        let signature = STANDARD.encode_to_string(key.sign(&message));
        json!({"actor": actor, "at_ms": at_ms, "nonce": nonce, "body": body, "signature": signature})
    };
    let old = now_ms() - 3_600_000;
    for (name, request) in [
        (
            "an unsigned request",
            json!({"actor": null, "at_ms": now_ms(), "nonce": 2, "body": body, "signature": ""}),
        ),
        (
            "a request with no signature",
            json!({"actor": 1, "at_ms": now_ms(), "nonce": 3, "body": body, "signature": ""}),
        ),
        (
            "a request of an approver, who may not",
            signed(2, now_ms(), 4, &approver),
        ),
        (
            "a request in another's name",
            signed(2, now_ms(), 5, &admin),
        ),
        ("a request of an hour ago", signed(1, old, 6, &admin)),
        (
            "a request of an hour ahead",
            signed(1, now_ms() + 3_600_000, 7, &admin),
        ),
    ] {
        cases.push((name.to_owned(), said(centre, &request).await));
    }
    let once = json!({"do": "withdraw", "change": 999_999}).to_string();
    let mut message = b"sekisho request v1\0".to_vec();
    let at_ms = now_ms();
    message.extend_from_slice(&ledger);
    message.extend_from_slice(&1_u32.to_be_bytes());
    message.extend_from_slice(&at_ms.to_be_bytes());
    message.extend_from_slice(&8_u64.to_be_bytes());
    message.extend_from_slice(once.as_bytes());
    let request = json!({"actor": 1, "at_ms": at_ms, "nonce": 8, "body": once, "signature": sign(&admin, &message)});
    let first = said(centre, &request).await;
    let second = said(centre, &request).await;
    let text = |reply: &Value| reply["error"].as_str().unwrap_or_default().to_owned();
    let taken_once = !text(&first).contains("already") && text(&second).contains("already");
    for (name, reply) in cases {
        let held = !text(&reply).is_empty();
        trial.case(
            "18",
            format!("the administrator: {name}"),
            held,
            text(&reply),
        );
    }
    trial.case(
        "18",
        "the administrator: a request that was made, once more",
        taken_once,
        text(&second),
    );
}

/// 18. He reads as nobody.
async fn as_somebody(trial: &mut Trial) {
    for login in ["admin", "approver-1", "ghost", "nobody"] {
        let error = trial.centre.config(login).connect(NoTls).await.err();
        let code = error
            .as_ref()
            .and_then(|error| error.code())
            .map(|code| code.code().to_owned());
        trial.case(
            "18",
            format!("logs in as {login}"),
            code.as_deref() == Some("28P01"),
            format!("{code:?}"),
        );
    }
    let mut config = trial.centre.config("pager");
    config.password("correct horse battery staple");
    let error = config.connect(NoTls).await.err();
    let code = error
        .as_ref()
        .and_then(|error| error.code())
        .map(|code| code.code().to_owned());
    trial.case(
        "18",
        "logs in as an operator with another password",
        code.as_deref() == Some("28P01"),
        format!("{code:?}"),
    );
    // A verifier of his own in the file: the ledger has a commitment to the right one.
    let path = trial.centre.dir.join("secrets/verifiers.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let mut lines: Value = serde_json::from_str(&before).unwrap();
    let map = lines.as_object_mut().expect("the file is a map");
    let map = if map.values().all(Value::is_object) && map.len() > 1 {
        map
    } else {
        map.values_mut()
            .next()
            .and_then(Value::as_object_mut)
            .expect("it holds one")
    };
    let numbers: Vec<String> = map.keys().cloned().collect();
    let evidence = {
        let mut e = Evidence::of(&trial.centre.dir);
        e.read_on();
        e
    };
    let (writer, reader) = (
        evidence.actor("writer").0.to_string(),
        evidence.actor("reader").0.to_string(),
    );
    assert!(
        numbers.contains(&writer) && numbers.contains(&reader),
        "{numbers:?}"
    );
    let swapped = map[&writer].clone();
    map.insert(reader, swapped);
    std::fs::write(&path, lines.to_string()).unwrap();
    trial.centre.kill().await;
    trial.centre.start().await;
    let mut config = trial.centre.config("reader");
    config.password(crate::centre::password("writer"));
    let error = config.connect(NoTls).await.err();
    let held = error
        .as_ref()
        .and_then(|error| error.code())
        .is_some_and(|code| code.code() == "28P01");
    trial.case(
        "18",
        "puts a known password's verifier in another's place",
        held,
        format!("{error:?}"),
    );
    std::fs::write(&path, before).unwrap();
    trial.centre.kill().await;
    trial.centre.start().await;
}

/// 21. Texts of drivers that are no values stand nowhere in the ledger.
async fn nothing_in_the_ledger(trial: &mut Trial) {
    let word = |what: &str| format!("zzcanary21{what}");
    let (login, name) = (word("login"), word("application"));
    let mut config = trial.centre.config("reader");
    config.application_name(&name);
    let (driver, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let _ = trial.centre.config(&login).connect(NoTls).await;
    let whats = [
        "comment",
        "alias",
        "purpose",
        "column",
        "cursor",
        "prepared",
        "savepoint",
        "literal",
        "schema",
        "function",
        "setting",
        "refused",
    ];
    let w: Vec<String> = whats.iter().map(|what| word(what)).collect();
    one(&driver, &format!("SELECT 1 /* {} */", w[0])).await;
    let shown = one(&driver, &format!("SELECT {1}.name AS {2} /* {0} */ FROM customers AS {1} WHERE id = 1000001 AND '{3}' <> 'x' -- {0}", w[0], w[1], w[3], w[7])).await;
    assert!(trial.leaks(&shown), "the statement shows somebody: {shown}");
    for sql in [
        format!("SET sekisho.purpose TO '{}'", w[2]),
        "SELECT phone FROM customers WHERE id = 1000001".to_owned(),
        format!(
            "BEGIN; DECLARE {} CURSOR FOR SELECT name FROM customers WHERE id = 1000001; FETCH ALL FROM {}; SAVEPOINT {}; ROLLBACK",
            w[4], w[4], w[6]
        ),
        format!(
            "PREPARE {} AS SELECT name FROM customers WHERE id = 1000001; EXECUTE {}",
            w[5], w[5]
        ),
        format!("SELECT name FROM {}.customers", w[8]),
        format!("SELECT {}(name) FROM customers", w[9]),
        format!("SET sekisho.{} TO '{}'", w[10], w[10]),
        format!("SELECT name FROM customers WHERE phone LIKE '{}'", w[11]),
        format!(
            "SELECT id FROM customers WHERE email = '{}@example.jp'",
            w[11]
        ),
        format!("SELECT {} FROM customers", w[3]),
    ] {
        let _ = simple(&driver, &sql).await;
    }
    drop(driver);
    trial.centre.stop().await;
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(trial.centre.dir.join("ledger/wal")).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let log = trial.centre.run(&["log", "--json"], "").await.unwrap();
    let finder = |word: &str| {
        let word = word.as_bytes();
        bytes.windows(word.len()).any(|at| at == word)
            || log.as_bytes().windows(word.len()).any(|at| at == word)
    };
    let mut evidence = Evidence::of(&trial.centre.dir);
    let purpose = evidence.read_on().iter().any(|seen| {
        let purpose = seen.list.as_ref().and_then(|list| list.purpose.as_ref());
        purpose.is_some_and(|purpose| purpose.expose() == &w[2])
    });
    trial.case(
        "21",
        "(control) the purpose stands encrypted beside its record",
        purpose,
        purpose,
    );
    no_secrets(trial, &bytes);
    for word in w
        .iter()
        .chain([&login, &name, &ENVIRONMENT_CANARY.to_owned()])
    {
        trial.case("21", word, !finder(word), finder(word));
    }
    trial.centre.start().await;
}

/// 21. Nothing of a password's verifier, and no password, stands in the ledger.
fn no_secrets(trial: &mut Trial, ledger: &[u8]) {
    let path = trial.centre.dir.join("secrets/verifiers.json");
    let lines: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut secrets: Vec<Vec<u8>> = Vec::new();
    for line in lines.as_object().unwrap().values() {
        let texts = [&line["verifier"], &line["salt"]].map(|text| text.as_str().unwrap());
        // SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER (RFC 5803)
        for part in texts.iter().flat_map(|text| text.split(['$', ':'])) {
            if let Ok(bytes) = STANDARD.decode_to_vec(part)
                && bytes.len() >= 16
            {
                secrets.push(bytes);
                secrets.push(part.as_bytes().to_vec());
            }
        }
    }
    for login in ["suzuki", "writer", "reader", "pager"] {
        secrets.push(crate::centre::password(login).into_bytes());
    }
    let looked_for = secrets.len();
    let finder = aho_corasick::AhoCorasick::new(secrets).unwrap();
    let found = finder.find_iter(ledger).count();
    let held = found == 0 && looked_for > 50;
    let came = format!("{found} of {looked_for}");
    trial.case("21", "verifiers, their salts, passwords", held, came);
}
