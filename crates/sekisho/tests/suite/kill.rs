//! Invariant 1: kill the process at any moment, and what any driver received is a subset of what
//! the ledger holds. Real drivers, a real PostgreSQL, SIGKILL, small segments. And SIGTERM.
//!
//! Each round compares with the records of that round alone, row by row, so that a subject who was
//! recorded earlier covers nothing. Recovery must always succeed, budgets must be after each start
//! exactly what all lists so far add up to, and a grant must have paid for all that came under it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::centre::{Centre, DEADLINE, Plan, all_customers, unlimited};
use crate::evidence::{Evidence, Seen};
use event::{ActorId, Class, ClientId, GrantId};
use futures_util::{Stream, StreamExt};
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

/// Kills while drivers read.
const KILLS: usize = 200;
const CLIENTS: u32 = 4;
const CUSTOMERS: usize = 300;
/// Small, so that a round writes over the end of some.
const SEGMENT_BYTES: u32 = 64 << 10;
/// A batch's record has to fit into a segment. A drain that waited for its end would take an hour.
const LIMITS: &str = "batch_rows_max = 32\ndrain_ms_max = 3600000\n";

/// How a driver reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    Simple,
    Json,
    Extended,
    Portal,
    Cursor,
    Copy,
    Search,
    /// Everything at once, paid by a grant.
    Granted,
}

/// Who reads how.
const READERS: [(&str, Way, u32); 8] = [
    ("simple", Way::Simple, 1),
    ("json", Way::Json, 2),
    ("extended", Way::Extended, 3),
    ("portal", Way::Portal, 4),
    ("cursor", Way::Cursor, 1),
    ("copy", Way::Copy, 2),
    ("search", Way::Search, 3),
    ("granted", Way::Granted, 4),
];

/// What a driver got in one round.
struct Got {
    login: &'static str,
    way: Way,
    client: u32,
    /// Telephone number and name of each row, as they came.
    rows: Vec<(String, String)>,
    /// Numbers whose search was answered, hit or miss.
    searched: Vec<String>,
    /// The kill came between two rows of one statement.
    torn: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_what_was_received_is_recorded() {
    let people: Vec<(&str, &str, &str)> = READERS
        .iter()
        .map(|(login, _, _)| (*login, "operator", "all"))
        .collect();
    let plan = Plan {
        name: "kill",
        clients: CLIENTS,
        customers: CUSTOMERS,
        canaries: 0,
        people: &people,
        numbers: unlimited(),
        limits: LIMITS,
        segment_bytes: SEGMENT_BYTES,
    };
    let mut centre = Centre::set_up(&plan).await;
    kill_loop(&mut centre).await;
    drains(&mut centre).await;
    stops_now(&mut centre).await;
}

async fn kill_loop(centre: &mut Centre) {
    let mut random = Random::new();
    let grant = centre.grant("granted", 4, "see", 1_000_000_000).await;
    let mut judge = Judge::new(centre, GrantId(u32::try_from(grant).unwrap()));
    let began = Instant::now();
    let mut starts = Vec::new();
    let mut while_starting = 0;
    let mut round = 0;
    while round < KILLS {
        if random.below(8) == 0 {
            // While it recovers: the next start has to recover from that too.
            centre.spawn();
            let typical: u64 = starts.last().map_or(20_000, |start: &Duration| {
                u64::try_from(start.as_micros()).unwrap()
            });
            tokio::time::sleep(Duration::from_micros(random.below(typical))).await;
            centre.kill().await;
            while_starting += 1;
            continue;
        }
        starts.push(centre.start().await);
        judge.compare();
        let got = one_round(centre, &mut random, grant).await;
        judge.take(got);
        round += 1;
    }
    starts.push(centre.start().await);
    judge.compare();
    centre.stop().await;
    starts.sort_unstable();
    println!(
        "{KILLS} kills under load and {while_starting} while starting, in {:.0} s; a start took {:?} (median), {:?} (longest)",
        began.elapsed().as_secs_f64(),
        starts[starts.len() / 2],
        starts[starts.len() - 1],
    );
    judge.sum_up(centre);
}

/// Drivers read, the gate is killed at a random moment, and each tells what it got.
async fn one_round(centre: &mut Centre, random: &mut Random, grant: u64) -> Vec<Got> {
    let answers = Arc::new(AtomicUsize::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for (login, way, client) in READERS {
        let reader = Reading {
            got: Got {
                login,
                way,
                client,
                rows: Vec::new(),
                searched: Vec::new(),
                torn: false,
            },
            answers: Arc::clone(&answers),
            random: Random(random.next()),
            grant,
        };
        readers.spawn(reader.run(centre.config(login)));
    }
    let enough = usize::try_from(random.below(800)).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while answers.load(Ordering::Relaxed) < enough {
        assert!(Instant::now() < deadline, "no answers: {}", centre.said());
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    tokio::time::sleep(Duration::from_micros(random.below(5_000))).await;
    centre.kill().await;
    let all = tokio::time::timeout(DEADLINE, readers.join_all()).await;
    all.expect("a driver whose gate was killed hears of it")
}

/// One driver in one round.
struct Reading {
    got: Got,
    answers: Arc<AtomicUsize>,
    random: Random,
    grant: u64,
}

impl Reading {
    /// Reads until the gate is gone.
    async fn run(mut self, config: tokio_postgres::Config) -> Got {
        let error = match config.connect(NoTls).await {
            Ok((client, connection)) => {
                let connection = tokio::spawn(connection);
                let error = self.read(client).await;
                let _ = connection.await;
                error
            }
            Err(error) => error,
        };
        // Nothing but the kill may end it.
        assert!(
            error.as_db_error().is_none(),
            "{:?}: {error:?}",
            self.got.way
        );
        self.got
    }

    async fn read(&mut self, mut client: Client) -> Error {
        let set = match self.got.way {
            Way::Granted => format!("SET sekisho.grant_id TO '{}'", self.grant),
            _ => format!("SET sekisho.scope TO '{}'", self.got.client),
        };
        if let Err(error) = client.batch_execute(&set).await {
            return error;
        }
        loop {
            let before = self.got.rows.len();
            let step = match self.got.way {
                Way::Simple | Way::Json => self.simple(&client).await,
                Way::Extended | Way::Granted => self.extended(&client).await,
                Way::Portal => self.portal(&mut client).await,
                Way::Cursor => self.cursor(&client).await,
                Way::Copy => self.copy(&client).await,
                Way::Search => self.search(&client).await,
            };
            if let Err(error) = step {
                self.got.torn = self.got.rows.len() > before;
                return error;
            }
        }
    }

    /// Where a statement begins, and how many rows it takes.
    fn place(&mut self) -> (i64, i64) {
        let base = i64::from(self.got.client) * 1_000_000;
        let first = base + self.random.below(CUSTOMERS as u64 - 20).cast_signed();
        (first, 1 + self.random.below(40).cast_signed())
    }

    fn columns(&mut self, columns: &str) -> String {
        let (first, rows) = self.place();
        let client = self.got.client;
        format!(
            "SELECT {columns} FROM customers WHERE client_id = {client} AND id > {first} ORDER BY id LIMIT {rows}"
        )
    }

    fn received(&mut self, phone: &str, name: &str) {
        self.got.rows.push((phone.to_owned(), name.to_owned()));
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    async fn simple(&mut self, client: &Client) -> Result<(), Error> {
        let json = self.got.way == Way::Json;
        let columns = if json {
            "json_build_object('p', phone, 'n', name)"
        } else {
            "phone, name"
        };
        let sql = self.columns(columns);
        self.simple_rows(client, &sql).await.map(drop)
    }

    /// Rows of a simple Query, as they come.
    async fn simple_rows(&mut self, client: &Client, sql: &str) -> Result<usize, Error> {
        let messages = client.simple_query_raw(sql).await?;
        let mut messages = std::pin::pin!(messages);
        let mut rows = 0;
        while let Some(message) = messages.next().await {
            let SimpleQueryMessage::Row(row) = message? else {
                continue;
            };
            rows += 1;
            if row.len() == 1 {
                let json: serde_json::Value = serde_json::from_str(row.get(0).unwrap()).unwrap();
                self.received(json["p"].as_str().unwrap(), json["n"].as_str().unwrap());
            } else {
                self.received(row.get(0).unwrap(), row.get(1).unwrap());
            }
        }
        Ok(rows)
    }

    async fn extended(&mut self, client: &Client) -> Result<(), Error> {
        let (first, rows) = match self.got.way {
            Way::Granted => (0, i64::MAX),
            _ => self.place(),
        };
        let sql = format!(
            "SELECT phone, name FROM customers WHERE client_id = {} AND id > $1 ORDER BY id LIMIT $2",
            self.got.client
        );
        let rows = client.query_raw(&sql, [first, rows]).await?;
        self.typed_rows(rows).await.map(drop)
    }

    async fn typed_rows(
        &mut self,
        rows: impl Stream<Item = Result<tokio_postgres::Row, Error>>,
    ) -> Result<usize, Error> {
        let mut rows = std::pin::pin!(rows);
        let mut count = 0;
        while let Some(row) = rows.next().await {
            let row = row?;
            self.received(row.get(0), row.get(1));
            count += 1;
        }
        Ok(count)
    }

    /// A portal, two rows at a time.
    async fn portal(&mut self, client: &mut Client) -> Result<(), Error> {
        let sql = self.columns("phone, name");
        let transaction = client.transaction().await?;
        let portal = transaction.bind(&sql, &[]).await?;
        loop {
            let rows = transaction.query_portal_raw(&portal, 2).await?;
            if self.typed_rows(rows).await? == 0 {
                break;
            }
        }
        transaction.commit().await
    }

    /// A cursor, three rows at a time.
    async fn cursor(&mut self, client: &Client) -> Result<(), Error> {
        let sql = self.columns("phone, name");
        client
            .batch_execute(&format!("BEGIN; DECLARE c NO SCROLL CURSOR FOR {sql}"))
            .await?;
        while self.simple_rows(client, "FETCH 3 FROM c").await? > 0 {}
        client.batch_execute("COMMIT").await
    }

    async fn copy(&mut self, client: &Client) -> Result<(), Error> {
        let sql = self.columns("phone, name");
        let data = client.copy_out(&format!("COPY ({sql}) TO STDOUT")).await?;
        let mut data = std::pin::pin!(data);
        while let Some(line) = data.next().await {
            let line = line?;
            let line = std::str::from_utf8(&line).unwrap().trim_end();
            let (phone, name) = line.split_once('\t').unwrap();
            self.received(phone, name);
        }
        Ok(())
    }

    /// A search by number; half of them find nobody.
    async fn search(&mut self, client: &Client) -> Result<(), Error> {
        let n = self.random.below(CUSTOMERS as u64 * 2);
        let number = match known_phone(self.got.client, n) {
            Some(known) => known.to_owned(),
            None => format!("090-{:04}-{n:04}", 1_000 + self.random.below(8_000)),
        };
        let sql = "SELECT phone, name FROM customers WHERE phone = $1";
        let rows = client.query_raw(sql, [&number]).await?;
        self.typed_rows(rows).await?;
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.got.searched.push(number);
        Ok(())
    }
}

/// The `n`th customer's number, if there are as many.
fn known_phone(client: u32, n: u64) -> Option<&'static str> {
    static PHONES: std::sync::OnceLock<Vec<Vec<String>>> = std::sync::OnceLock::new();
    let phones = PHONES.get_or_init(|| {
        let of = |client| all_customers(client, CUSTOMERS, 0).into_values();
        let phones = |client| of(client).map(|c| c.phone.expose().clone()).collect();
        (1..=CLIENTS).map(phones).collect()
    });
    let one = phones[client as usize - 1].get(usize::try_from(n).unwrap());
    one.map(String::as_str)
}

/// Compares what was received with what was recorded.
struct Judge {
    evidence: Evidence,
    grant: GrantId,
    /// What drivers got since the last comparison.
    pending: Vec<Got>,
    /// What budgets have to hold: by actor, client and set.
    sets: BTreeMap<(ActorId, ClientId), BTreeMap<u8, BTreeSet<u64>>>,
    /// Names by telephone number: what is true.
    truth: BTreeMap<String, String>,
    rows: BTreeMap<Way, usize>,
    torn: BTreeMap<Way, usize>,
    searched: usize,
    /// Rows that were recorded and did not arrive any more.
    recorded_only: usize,
}

impl Judge {
    fn new(centre: &Centre, grant: GrantId) -> Self {
        let mut evidence = Evidence::of(&centre.dir);
        evidence.read_on();
        let all = (1..=CLIENTS).flat_map(|client| all_customers(client, CUSTOMERS, 0));
        let truth = all.map(|(_, c)| (c.phone.expose().clone(), c.name.expose().clone()));
        Self {
            evidence,
            grant,
            pending: Vec::new(),
            sets: BTreeMap::new(),
            truth: truth.collect(),
            rows: BTreeMap::new(),
            torn: BTreeMap::new(),
            searched: 0,
            recorded_only: 0,
        }
    }

    fn take(&mut self, got: Vec<Got>) {
        self.pending.extend(got);
    }

    /// How much of the grant is used.
    fn used(&self) -> u64 {
        let grant = self.evidence.state.grants.get(&self.grant);
        grant.map_or(0, |grant| grant.used)
    }

    /// The gate has recovered: everything that was received is in the records since the last time.
    fn compare(&mut self) {
        let mut recorded: BTreeMap<(ActorId, ClientId, Class, u64), usize> = BTreeMap::new();
        let mut probed: BTreeMap<(ActorId, ClientId, u64), usize> = BTreeMap::new();
        let used_before = self.used();
        for seen in self.evidence.read_on() {
            let Some((client, exposure, list)) = seen.exposure() else {
                continue;
            };
            let actor = exposure.who.actor;
            for (kind, fingerprint, _) in &list.rows {
                if let budget::SetKind::Clear(class) = kind {
                    *recorded
                        .entry((actor, client, *class, *fingerprint))
                        .or_default() += 1;
                }
            }
            for (_, fingerprint, _) in &list.probes {
                *probed.entry((actor, client, *fingerprint)).or_default() += 1;
            }
            self.add_up(&seen);
        }
        let mut under_grant = 0;
        for got in std::mem::take(&mut self.pending) {
            if got.way == Way::Granted {
                under_grant += got.rows.len() as u64;
            }
            self.rows_are_recorded(&got, &mut recorded);
            self.probes_are_recorded(&got, &mut probed);
            *self.rows.entry(got.way).or_default() += got.rows.len();
            *self.torn.entry(got.way).or_default() += usize::from(got.torn);
            self.searched += got.searched.len();
        }
        let left = recorded
            .iter()
            .filter(|((_, _, class, _), _)| *class == Class::Phone);
        self.recorded_only += left.map(|(_, count)| count).sum::<usize>();
        let paid = self.used() - used_before;
        assert!(under_grant <= paid, "{under_grant} rows, {paid} paid");
    }

    /// Budgets are what all lists so far add up to: nothing is lost in a restart.
    fn add_up(&mut self, seen: &Seen) {
        let (client, exposure, list) = seen.exposure().expect("it is one");
        if exposure.who.grant.is_some() {
            return;
        }
        let sets = self.sets.entry((exposure.who.actor, client)).or_default();
        for (kind, fingerprint, _) in list.probes.iter().chain(&list.rows) {
            let code = match kind {
                budget::SetKind::Probe { .. } => 0x40,
                kind => kind.code(),
            };
            sets.entry(code).or_default().insert(*fingerprint);
        }
        let most = |of: fn(u8) -> bool| {
            let sizes = sets.iter().filter(|(code, _)| of(**code));
            sizes.map(|(_, set)| set.len() as u64).max().unwrap_or(0)
        };
        assert_eq!(
            exposure.subjects.windows[3],
            most(|code| code <= 0x10),
            "subjects of {:?} in all",
            exposure.who
        );
        assert_eq!(
            exposure.probed.windows[3],
            most(|code| code == 0x40),
            "probes of {:?} in all",
            exposure.who
        );
    }

    fn rows_are_recorded(
        &self,
        got: &Got,
        recorded: &mut BTreeMap<(ActorId, ClientId, Class, u64), usize>,
    ) {
        let actor = self.evidence.actor(got.login);
        let client = ClientId::new(got.client).unwrap();
        let keys = self.evidence.keys.client(client).unwrap();
        for (phone, name) in &got.rows {
            assert_eq!(self.truth.get(phone), Some(name), "{:?}", got.way);
            let fingerprint = keys.fingerprint(Class::Phone, phone).0;
            let place = (actor, client, Class::Phone, fingerprint);
            let count = recorded.entry(place).or_default();
            assert!(
                *count > 0,
                "{:?}: customer {fingerprint:016x} of client {client} was received and is not in the ledger",
                got.way
            );
            *count -= 1;
            let name = keys.fingerprint(Class::Name, name).0;
            assert!(recorded.contains_key(&(actor, client, Class::Name, name)));
        }
    }

    fn probes_are_recorded(
        &self,
        got: &Got,
        probed: &mut BTreeMap<(ActorId, ClientId, u64), usize>,
    ) {
        let actor = self.evidence.actor(got.login);
        let client = ClientId::new(got.client).unwrap();
        let keys = self.evidence.keys.client(client).unwrap();
        for number in &got.searched {
            let fingerprint = keys.fingerprint(Class::Phone, number).0;
            let count = probed.entry((actor, client, fingerprint)).or_default();
            assert!(*count > 0, "a search was answered and is not in the ledger");
            *count -= 1;
        }
    }

    /// The loop did what it is for.
    fn sum_up(&self, centre: &Centre) {
        let wal = std::fs::read_dir(centre.dir.join("ledger/wal")).unwrap();
        let segments = wal.count();
        println!(
            "rows received {:?}; cut between rows {:?}; searches {}; {} rows recorded that did not arrive; {segments} segments",
            self.rows, self.torn, self.searched, self.recorded_only
        );
        for (_, way, _) in READERS {
            assert!(self.rows[&way] > KILLS, "{way:?} hardly read");
        }
        assert!(self.torn.values().sum::<usize>() > KILLS / 4);
        assert!(self.searched > KILLS);
        assert!(
            self.recorded_only > 0,
            "no kill fell between record and release"
        );
        assert!(segments > KILLS / 4, "{segments} segments");
    }
}

/// SIGTERM: idle sessions end, transactions end first, nobody new comes in.
async fn drains(centre: &mut Centre) {
    centre.start().await;
    let (_idle, idle_ended) = centre.connect_both("simple").await;
    let (busy, busy_ended) = centre.connect_both("extended").await;
    let busy_ended = tokio::spawn(busy_ended);
    let sql = "SELECT phone FROM customers WHERE client_id = 3 ORDER BY id LIMIT 7";
    busy.batch_execute("BEGIN").await.unwrap();
    assert_eq!(busy.query(sql, &[]).await.unwrap().len(), 7);
    centre.terminate();
    let ended = tokio::time::timeout(DEADLINE, idle_ended).await;
    let ended = ended.expect("an idle session is ended").unwrap_err();
    assert_eq!(ended.code().unwrap().code(), "57P01");
    assert!(centre.config("copy").connect(NoTls).await.is_err());
    // The transaction goes on to its end.
    assert_eq!(busy.query(sql, &[]).await.unwrap().len(), 7);
    busy.batch_execute("COMMIT").await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, busy_ended).await;
    let ended = ended.expect("it ends after its transaction").unwrap();
    assert_eq!(ended.unwrap_err().code().unwrap().code(), "57P01");
    let status = centre.ended().await;
    assert!(status.success(), "{status}: {}", centre.said());
    let mut evidence = Evidence::of(&centre.dir);
    let last = evidence.read_on().pop().expect("there are records");
    assert_eq!(last.body, event::record::Body::Stopped);
}

/// A second SIGTERM does not wait for the transaction.
async fn stops_now(centre: &mut Centre) {
    centre.start().await;
    let (_idle, idle_ended) = centre.connect_both("simple").await;
    let (busy, busy_ended) = centre.connect_both("extended").await;
    let busy_ended = tokio::spawn(busy_ended);
    busy.batch_execute("BEGIN").await.unwrap();
    let rows = busy
        .query(
            "SELECT phone FROM customers WHERE client_id = 3 LIMIT 7",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 7);
    centre.terminate();
    let ended = tokio::time::timeout(DEADLINE, idle_ended).await;
    assert!(ended.expect("the first one is heard").is_err());
    assert_eq!(busy.query("SELECT 1", &[]).await.unwrap().len(), 1);
    centre.terminate();
    let status = centre.ended().await;
    assert!(status.success(), "{status}: {}", centre.said());
    let _ = busy_ended.await;
    assert!(busy.query("SELECT 1", &[]).await.is_err());
    let mut evidence = Evidence::of(&centre.dir);
    let last = evidence.read_on().pop().expect("there are records");
    assert_eq!(last.body, event::record::Body::Stopped);
}

/// Random numbers by a printed seed (SplitMix64, Steele, Lea and Flood, OOPSLA 2014); set
/// SEKISHO_KILL_SEED to use it again.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = match std::env::var("SEKISHO_KILL_SEED") {
            Ok(text) => text.parse().expect("SEKISHO_KILL_SEED is a number"),
            Err(_) => {
                let since = std::time::UNIX_EPOCH.elapsed().unwrap();
                u64::try_from(since.as_micros()).unwrap()
            }
        };
        println!("SEKISHO_KILL_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
