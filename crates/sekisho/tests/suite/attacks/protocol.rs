//! Attack 15 and hostile bytes: whoever speaks the protocol by hand.

use std::collections::BTreeSet;

use bytes::BytesMut;
use pgwire::frontend;
use pgwire::startup::StartupPacket;

use super::Trial;
use super::wire::{
    Wire, bind_execute, code, flush, parse, query, rows, startup, sync, tags, together,
};
use crate::centre::{Centre, all_customers};

pub(crate) const BY_ID: &str = "SELECT phone FROM customers WHERE id = $1";

pub(crate) async fn run(trial: &mut Trial) {
    split_packets(trial).await;
    described_once(trial).await;
    state_across_sync(trial).await;
    errors_in_pipelines(trial).await;
    cancels(trial).await;
    rows_of_others(trial).await;
    before_login(trial).await;
    after_login(trial).await;
}

pub(crate) fn phone(id: i64) -> String {
    let client = u32::try_from(id / 1_000_000).unwrap();
    let all = all_customers(client, 100, 0);
    all[&id].phone.expose().clone()
}

async fn split_packets(trial: &mut Trial) {
    let whole = together(&[
        parse("s", BY_ID),
        bind_execute("s", Some("1000001")),
        sync(),
        query("SELECT phone FROM customers WHERE id = 1000002; SELECT 1"),
    ]);
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let close = {
        let mut out = BytesMut::new();
        frontend::write_close(&mut out, frontend::Target::Statement(b"s")).unwrap();
        together(&[out, sync()])
    };
    let mut answers = BTreeSet::new();
    for at in 0..=whole.len() {
        wire.send(&whole[..at]).await;
        tokio::task::yield_now().await;
        wire.send(&whole[at..]).await;
        let mut got = wire.until_ready().await;
        got.extend(wire.until_ready().await);
        answers.insert((tags(&got), rows(&got)));
        wire.ask(&close).await;
    }
    let right = (
        "12TDCZTDCTDCZ".to_owned(),
        vec![phone(1_000_001), phone(1_000_002), "1".to_owned()],
    );
    let held = answers == BTreeSet::from([right]);
    trial.case(
        "15",
        format!("a pipeline split at each of {} bytes", whole.len()),
        held,
        format!("{} different answers", answers.len()),
    );
    let mut slow = Wire::log_in_slowly(&trial.centre, "wire", 1).await;
    slow.send_in(&whole, 1).await;
    let mut got = slow.until_ready().await;
    got.extend(slow.until_ready().await);
    let held = answers.contains(&(tags(&got), rows(&got)));
    trial.case("15", "login and pipeline, byte by byte", held, tags(&got));
}

async fn described_once(trial: &mut Trial) {
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let mut parts = vec![parse("s", BY_ID)];
    let ids: Vec<i64> = (1..=12).map(|n| 1_000_000 + n).collect();
    parts.extend(
        ids.iter()
            .map(|id| bind_execute("s", Some(&id.to_string()))),
    );
    parts.push(sync());
    let got = wire.ask(&together(&parts)).await;
    let expected: Vec<String> = ids.iter().map(|id| phone(*id)).collect();
    trial.case(
        "15",
        "one Parse, twelve Binds in a pipeline",
        rows(&got) == expected,
        tags(&got),
    );
    // A search: each parameter is sealed anew, none is reused.
    let mut parts = vec![parse("p", "SELECT id FROM customers WHERE phone = $1")];
    parts.extend(ids.iter().map(|id| bind_execute("p", Some(&phone(*id)))));
    parts.push(sync());
    let got = wire.ask(&together(&parts)).await;
    let expected: Vec<String> = ids.iter().map(i64::to_string).collect();
    trial.case(
        "15",
        "one Parse of a search, twelve Binds",
        rows(&got) == expected,
        format!("{:?}", rows(&got)),
    );
}

async fn state_across_sync(trial: &mut Trial) {
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let mut portal = BytesMut::new();
    let all = "SELECT phone FROM customers WHERE client_id = 1 ORDER BY id";
    frontend::write_bind(&mut portal, b"q", b"s", [], [], []).unwrap();
    frontend::write_execute(&mut portal, b"q", 3).unwrap();
    let got = wire
        .ask(&together(&[parse("s", all), portal, sync()]))
        .await;
    let mut again = BytesMut::new();
    frontend::write_execute(&mut again, b"q", 3).unwrap();
    let after = wire.ask(&together(&[again, sync()])).await;
    let held = rows(&got).len() == 3 && code(&after).as_deref() == Some("34000");
    trial.case(
        "15",
        "a portal after Sync",
        held,
        format!("{:?}", code(&after)),
    );
    // A scope that comes in the same pipeline as what it is to judge.
    let scope = "SET sekisho.scope TO '2'";
    let parts = [
        query(scope),
        query("SELECT phone FROM customers WHERE id = 1000003"),
        query("SELECT phone FROM customers WHERE id = 2000003"),
    ];
    let mut got = wire.ask(&together(&parts)).await;
    got.extend(wire.until_ready().await);
    got.extend(wire.until_ready().await);
    let rows = rows(&got);
    let held = rows.len() == 2 && rows[0].starts_with("sealed:") && rows[1] == phone(2_000_003);
    trial.case(
        "15",
        "a scope set in the pipeline holds for what follows",
        held,
        format!("{} rows", rows.len()),
    );
    // The unnamed statement is what was parsed last, whoever planned it.
    let unnamed = |parameter| bind_execute("", parameter);
    let parts = [
        parse("", BY_ID),
        parse("", "SELECT 'plain'::text WHERE $1 <> ''"),
        unnamed(Some("2000001")),
        sync(),
    ];
    let got = wire.ask(&together(&parts)).await;
    let held = super::wire::rows(&got) == ["plain"];
    trial.case("15", "an unnamed statement parsed over", held, tags(&got));
}

async fn errors_in_pipelines(trial: &mut Trial) {
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let good = |name: &str| parse(name, BY_ID);
    for (name, bad) in [
        (
            "a refused Parse",
            parse("b", "SELECT id FROM customers WHERE phone LIKE '0%'"),
        ),
        (
            "a statement that PostgreSQL refuses",
            parse("b", "SELECT nothing FROM calls"),
        ),
        ("a Bind to no statement", bind_execute("nothing", Some("1"))),
        ("a Bind without its parameter", bind_execute("g", None)),
        (
            "a value that cannot be read",
            together(&[
                parse("v", "SELECT id FROM customers WHERE phone = $1"),
                bind_execute("v", Some("x")),
            ])[..]
                .into(),
        ),
    ] {
        let parts = [good("g"), bad, bind_execute("g", Some("1000004")), sync()];
        let got = wire.ask(&together(&parts)).await;
        let errors = got.iter().filter(|(tag, _)| *tag == b'E').count();
        let held = errors == 1 && rows(&got).is_empty() && tags(&got).ends_with("EZ");
        trial.case(
            "15",
            format!("{name} in a pipeline: nothing after it runs"),
            held,
            tags(&got),
        );
        let clean = {
            let mut out = BytesMut::new();
            for name in [&b"g"[..], b"b", b"v"] {
                frontend::write_close(&mut out, frontend::Target::Statement(name)).unwrap();
            }
            together(&[out, sync()])
        };
        wire.ask(&clean).await;
        let parts = [good(""), bind_execute("", Some("1000004")), sync()];
        let after = wire.ask(&together(&parts)).await;
        let held = rows(&after) == [phone(1_000_004)];
        trial.case(
            "15",
            format!("{name}: the session goes on"),
            held,
            tags(&after),
        );
    }
}

async fn cancel(centre: &Centre, pid: i32, secret: &[u8]) {
    let mut out = BytesMut::new();
    let secret = secret.to_vec();
    StartupPacket::Cancel { pid, secret }
        .write(&mut out)
        .unwrap();
    let mut wire = Wire::open(centre).await;
    wire.send(&out).await;
    assert!(wire.is_closed().await);
}

async fn cancels(trial: &mut Trial) {
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let parts = [
        parse("", BY_ID),
        bind_execute("", Some("1000005")),
        flush(),
        sync(),
        // Not all of them: the budget would end it, and whose rows come last is not known.
        query("SELECT phone FROM customers WHERE client_id = 1 AND id <= 1000060"),
        query("SELECT pg_sleep(0)"),
    ];
    let mut usable = true;
    for before in 0..=parts.len() {
        wire.send(&together(&parts[..before])).await;
        cancel(&trial.centre, wire.pid, &wire.secret).await;
        wire.send(&together(&parts[before..])).await;
        for _ in 0..3 {
            usable &= wire
                .until_ready()
                .await
                .last()
                .is_some_and(|last| last.0 == b'Z');
        }
        let after = wire
            .ask(&query("SELECT phone FROM customers WHERE id = 1000006"))
            .await;
        usable &= rows(&after) == [phone(1_000_006)];
    }
    trial.case(
        "15",
        "a cancel at each message: the session goes on, the next statement is not hit",
        usable,
        usable,
    );
    // Another's secret, guessed.
    let mut sleeper = Wire::log_in(&trial.centre, "wire").await;
    sleeper.send(&query("SELECT pg_sleep(1), 'slept'")).await;
    let mut wrong = sleeper.secret.clone();
    wrong[0] ^= 1;
    cancel(&trial.centre, sleeper.pid, &wrong).await;
    let got = sleeper.until_ready().await;
    trial.case(
        "15",
        "a cancel with a wrong secret",
        code(&got).is_none(),
        tags(&got),
    );
}

/// Eight sessions pipeline at once: each gets the rows that it asked for, in order.
async fn rows_of_others(trial: &mut Trial) {
    let mut tasks = tokio::task::JoinSet::new();
    for session in 0..8 {
        let mut wire = Wire::log_in(&trial.centre, "wire").await;
        tasks.spawn(async move {
            let ids: Vec<i64> = (1..=30)
                .map(|n| 1_000_001 + (n * 7 + session * 11) % 60)
                .collect();
            let mut parts = vec![parse("s", BY_ID)];
            for id in &ids {
                parts.push(bind_execute("s", Some(&id.to_string())));
                parts.push(sync());
            }
            wire.send(&together(&parts)).await;
            let mut got = Vec::new();
            for _ in &ids {
                got.extend(wire.until_ready().await);
            }
            let expected: Vec<String> = ids.iter().map(|id| phone(*id)).collect();
            let got_rows = rows(&got);
            if got_rows == expected {
                None
            } else {
                Some((tags(&got), code(&got), got_rows.len()))
            }
        });
    }
    let wrong: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    trial.case(
        "15",
        "eight sessions at once get their own rows",
        wrong.is_empty(),
        format!("{wrong:?}"),
    );
}

/// Resident memory of the gate, in KiB.
fn resident(centre: &Centre) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", centre.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What a hostile sender may make the gate hold, in KiB.
const GROWTH_KIB_MAX: u64 = 48 << 10;

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let next = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    next.take(bytes).collect()
}

async fn before_login(trial: &mut Trial) {
    let before = resident(&trial.centre);
    let user = startup(&[("user", "wire"), ("database", "callcentre")]);
    let sasl = |length: u32| {
        let mut bytes = user.clone();
        bytes.push(b'p');
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend(noise(1, 4_000));
        bytes
    };
    let mut tries: Vec<(String, Vec<u8>)> = (1..=100)
        .map(|n| ("noise".to_owned(), noise(n, n as usize * 3)))
        .collect();
    tries.extend([
        (
            "a length of 2 GiB".to_owned(),
            [&0x7fff_ffff_u32.to_be_bytes()[..], &noise(2, 100_000)].concat(),
        ),
        (
            "a length of 4 GiB".to_owned(),
            [&u32::MAX.to_be_bytes()[..], &noise(2, 100_000)].concat(),
        ),
        ("a length of 0".to_owned(), vec![0; 64]),
        ("a length of 5".to_owned(), vec![0, 0, 0, 5, 0, 3, 0, 0]),
        (
            "half a start-up packet".to_owned(),
            user[..user.len() / 2].to_vec(),
        ),
        (
            "a start-up packet without its end".to_owned(),
            user[..user.len() - 1].to_vec(),
        ),
        ("protocol 2".to_owned(), vec![0, 0, 0, 8, 0, 2, 0, 0]),
        (
            "noise after SSLRequest".to_owned(),
            [&[0, 0, 0, 8, 4, 210, 22, 47][..], &noise(3, 1_000)].concat(),
        ),
        (
            "a GSSENCRequest a hundred times".to_owned(),
            [0, 0, 0, 8, 4, 210, 22, 48].repeat(100),
        ),
        ("a password of 2 GiB".to_owned(), sasl(0x7fff_ffff)),
        ("a password of 3 bytes".to_owned(), sasl(3)),
        ("noise instead of SCRAM".to_owned(), sasl(3_000)),
        (
            "a Query before the login".to_owned(),
            [&user[..], &query("SELECT 1")].concat(),
        ),
        (
            "a cancel of nobody".to_owned(),
            vec![0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2],
        ),
    ]);
    let mut open = Vec::new();
    for (what, bytes) in &tries {
        let mut wire = Wire::open(&trial.centre).await;
        wire.send(bytes).await;
        if !wire.is_closed().await {
            open.push(what.as_str());
        }
    }
    trial.case(
        "15",
        format!(
            "{} hostile beginnings: each connection is closed",
            tries.len()
        ),
        open.is_empty(),
        format!("left open: {open:?}"),
    );
    // Two hundred that stall in the middle of it.
    let mut stalled = Vec::new();
    for n in 0..200 {
        let mut wire = Wire::open(&trial.centre).await;
        wire.send(&[&9_999_u32.to_be_bytes()[..], &noise(n, 9_000)].concat())
            .await;
        stalled.push(wire);
    }
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let alive = rows(&wire.ask(&query("SELECT 1")).await) == ["1"];
    let grown = resident(&trial.centre).saturating_sub(before);
    trial.case(
        "15",
        "memory bounded, and others log in meanwhile",
        alive && grown < GROWTH_KIB_MAX,
        format!("{grown} KiB more"),
    );
}

async fn after_login(trial: &mut Trial) {
    let before = resident(&trial.centre);
    let framed = |tag: u8, length: u32, body: usize| {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend(noise(u64::from(tag), body));
        bytes
    };
    let mut tries: Vec<(String, Vec<u8>)> = (1..=40)
        .map(|n| ("noise".to_owned(), noise(n * 31, n as usize * 20)))
        .collect();
    tries.extend([
        (
            "a Query of 2 GiB".to_owned(),
            framed(b'Q', 0x7fff_ffff, 8 << 20),
        ),
        (
            "a Parse of 2 GiB".to_owned(),
            framed(b'P', 0x7fff_ffff, 8 << 20),
        ),
        (
            "a Bind of 2 GiB".to_owned(),
            framed(b'B', 0x7fff_ffff, 8 << 20),
        ),
        (
            "a Describe of 2 GiB".to_owned(),
            framed(b'D', 0x7fff_ffff, 8 << 20),
        ),
        (
            "CopyData of 2 GiB outside a COPY".to_owned(),
            framed(b'd', 0x7fff_ffff, 8 << 20),
        ),
        ("a length of 0".to_owned(), framed(b'Q', 0, 10)),
        ("a length of 3".to_owned(), framed(b'Q', 3, 10)),
        (
            "a negative length".to_owned(),
            framed(b'Q', 0x8000_0000, 10),
        ),
        ("an unknown message".to_owned(), framed(b'z', 4, 0)),
        ("a password message".to_owned(), framed(b'p', 8, 4)),
        ("a Query without its end".to_owned(), framed(b'Q', 8, 4)),
        (
            "a Bind that lies about its counts".to_owned(),
            [&[b'B', 0, 0, 0, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0][..]].concat(),
        ),
    ]);
    let mut open = Vec::new();
    for (what, bytes) in &tries {
        let mut wire = Wire::log_in(&trial.centre, "wire").await;
        wire.send(bytes).await;
        // What can be no message is refused; of the others more could come.
        let broken = [
            "a length of 0",
            "a length of 3",
            "a negative length",
            "an unknown message",
        ];
        if broken.contains(&what.as_str()) && !wire.is_refused().await {
            open.push("(not refused)");
        }
        if !wire.is_closed().await {
            open.push(what.as_str());
        }
    }
    let mut wire = Wire::log_in(&trial.centre, "wire").await;
    let alive = rows(&wire.ask(&query("SELECT 1")).await) == ["1"];
    let grown = resident(&trial.centre).saturating_sub(before);
    trial.case(
        "15",
        format!(
            "{} hostile messages after login: an error or a closed connection",
            tries.len()
        ),
        open.is_empty() && alive,
        format!("left open: {open:?}"),
    );
    trial.case(
        "15",
        "memory bounded",
        grown < GROWTH_KIB_MAX,
        format!("{grown} KiB more"),
    );
    let panicked = trial.centre.said().contains("panicked");
    trial.case("15", "no panic", !panicked, trial.centre.said().len());
}
