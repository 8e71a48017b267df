//! An exact search that brings one customer: a plain table directly and through PgBouncer, a sealed
//! table through the gate (three cells, clear, recorded before they are released), and beside them
//! a raw fdatasync of as many bytes as the ledger writes for one search.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio_postgres::{Client, NoTls, Statement};

use super::Plan;
use super::figures::{Bound, Figure, Spread};
use super::stage::{CLIENT, DATABASE, Found, Stage, Way};

/// Sessions at once, where throughput is measured.
const SESSIONS: usize = 32;
/// How long all sessions search in one round, each way.
const RUN: Duration = Duration::from_secs(1);
/// Raw writes beside each run.
const RUN_SYNCS: usize = 100;
/// What is taken of them: one of the quick ones, for on a busy machine the usual one waits for a
/// processor, which would lower the bound for the gate.
const RAW_QUANTILE: f64 = 0.1;
/// Bytes of the file for raw writes; as a segment of the ledger.
const RAW_BYTES: u64 = 16 << 20;
/// Searches before anything is measured, by which the size of a record is found.
const WARM_UP: usize = 100;
/// What the gate may add to a search beside its record, in ms.
const ADDED_MS_MAX: f64 = 0.3;
/// So many raw writes may its record take.
const RAW_SHARE_MAX: f64 = 1.5;
/// Searches for each of the others, to see what detection adds.
const DETECTION_SEARCHES: usize = 10;
/// What detection may add to p50 and p99: nothing that can be measured. A search that is slow for
/// another reason is likelier to meet it, which p99 shows.
const DETECTION_MAX: [f64; 2] = [1.02, 1.1];
/// At many sessions one write carries the records of at least so many searches.
const SHARED_WRITES_MIN: f64 = 8.0;

/// Measures latency, then throughput.
pub(super) async fn measure(stage: &Stage, plan: &Plan) -> Result<Vec<Figure>> {
    let mut sessions = Vec::new();
    for way in Way::ALL {
        sessions.push(Searcher::connect(stage, way).await?);
    }
    let record_bytes = record_bytes(stage, &mut sessions[Way::Gate as usize]).await?;
    let mut raw = Raw::new(stage.folder(), record_bytes)?;
    println!("\nthe ledger writes {record_bytes} bytes for a search");
    let latency = latency(plan, &mut sessions, &mut raw).await?;
    let detection = detection(stage, plan, &mut sessions[Way::Gate as usize]).await?;
    drop(sessions);
    let throughput = throughput(stage, plan, &mut raw).await?;
    let mut figures = vec![latency, throughput];
    figures.extend(detection);
    Ok(figures)
}

/// Bytes that the write-ahead log grows by for one search.
async fn record_bytes(stage: &Stage, gate: &mut Searcher) -> Result<usize> {
    // The first record of a statement's shape carries the shape.
    gate.search().await?;
    let before = stage.ledger_bytes()?;
    for _ in 0..WARM_UP {
        gate.search().await?;
    }
    let bytes = (stage.ledger_bytes()? - before) as usize / WARM_UP;
    ensure!(bytes > 0, "the ledger did not grow: nothing was recorded");
    Ok(bytes)
}

async fn latency(plan: &Plan, sessions: &mut [Searcher], raw: &mut Raw) -> Result<Figure> {
    let mut p50s: [Vec<f64>; 3] = Default::default();
    let mut raw_p50s = Vec::new();
    for round in 0..plan.rounds {
        let mut times: [Vec<Duration>; 3] = Default::default();
        let mut raw_times = Vec::new();
        for turn in 0..plan.searches {
            for way in Way::in_round(round + turn) {
                times[way as usize].push(sessions[way as usize].search().await?);
            }
            // In turn with the ledger's own writes: many at once are slower on some disks.
            raw_times.push(raw.sync()?);
        }
        for (p50s, times) in p50s.iter_mut().zip(times) {
            p50s.push(quantile_ms(times, 0.5));
        }
        raw_p50s.push(quantile_ms(raw_times, 0.5));
    }
    let [direct, pgbouncer, gate] = &p50s;
    let bounds: Vec<f64> = direct
        .iter()
        .zip(&raw_p50s)
        .map(|(direct, raw)| direct + RAW_SHARE_MAX * raw + ADDED_MS_MAX)
        .collect();
    let rows = [
        ("direct, plain", direct),
        ("PgBouncer, plain", pgbouncer),
        ("raw fdatasync", &raw_p50s),
        ("gate, sealed", &gate.clone()),
        ("bound", &bounds),
    ];
    println!(
        "\nexact search, one session, p50 in ms: median [quarters] of {} rounds of {} searches",
        plan.rounds, plan.searches
    );
    for (name, values) in rows {
        println!("{name:>18}  {:.3}", Spread::of(values.iter().copied()));
    }
    Ok(Figure::ratio(
        format!(
            "exact search p50: gate / (direct + {RAW_SHARE_MAX} raw fdatasync + {ADDED_MS_MAX} ms)"
        ),
        Spread::of_ratios(gate, &bounds),
        Bound::AtMost,
        1.0,
        plan.judged,
    ))
}

/// Searches through the gate, all of them against those during which detection's thread did not run:
/// what detection adds. It cannot be switched off, and need not be: it looks twenty times a second, and
/// what the kernel counts of its thread tells which searches it met.
async fn detection(stage: &Stage, plan: &Plan, gate: &mut Searcher) -> Result<[Figure; 2]> {
    let (mut all_ms, mut alone_ms): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
    let (mut met, mut searches) = (0, 0);
    for _ in 0..plan.rounds {
        let (mut all, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..plan.searches * DETECTION_SEARCHES {
            let before = stage.detection()?;
            let took = gate.search().await?;
            let after = stage.detection()?;
            all.push(took);
            if before == after && !before.0 {
                alone.push(took);
            }
        }
        searches += all.len();
        met += all.len() - alone.len();
        ensure!(!alone.is_empty(), "detection ran during each search");
        for (place, share) in [0.5, 0.99].into_iter().enumerate() {
            all_ms[place].push(quantile_ms(all.clone(), share));
            alone_ms[place].push(quantile_ms(alone.clone(), share));
        }
    }
    println!(
        "\nexact search through the gate, one session, in ms; detection's thread ran during {met} of {searches}"
    );
    let names = ["p50", "p99"];
    let figures = [0, 1].map(|place| {
        let (all, alone) = (&all_ms[place], &alone_ms[place]);
        for (name, values) in [("with detection", all), ("without", alone)] {
            let spread = Spread::of(values.iter().copied());
            println!("{:>18}  {} {spread:.3}", name, names[place]);
        }
        Figure::ratio(
            format!("exact search {}: with detection / without", names[place]),
            Spread::of_ratios(all, alone),
            Bound::AtMost,
            DETECTION_MAX[place],
            plan.judged,
        )
    });
    Ok(figures)
}

async fn throughput(stage: &Stage, plan: &Plan, raw: &mut Raw) -> Result<Figure> {
    let mut crowds = Vec::new();
    for way in Way::ALL {
        let mut crowd = Vec::new();
        for number in 0..SESSIONS {
            let mut searcher = Searcher::connect(stage, way).await?;
            // Each begins with a customer of its own.
            searcher.next = number * stage.customers().len() / SESSIONS;
            searcher.search().await?;
            crowd.push(searcher);
        }
        crowds.push(crowd);
    }
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut raws = Vec::new();
    let mut gate_us = Vec::new();
    for round in 0..plan.rounds {
        for way in Way::in_round(round) {
            let crowd = std::mem::take(&mut crowds[way as usize]);
            let before = stage.gate_time()?;
            let (searches, rate, crowd) = run(crowd).await?;
            if way == Way::Gate {
                let took = stage.gate_time()?.saturating_sub(before);
                gate_us.push(took.as_secs_f64() * 1e6 / f64::from(searches));
            }
            rates[way as usize].push(rate);
            crowds[way as usize] = crowd;
        }
        let times = (0..RUN_SYNCS).map(|_| raw.sync());
        raws.push(quantile_ms(times.collect::<Result<_>>()?, RAW_QUANTILE));
    }
    let [direct, pgbouncer, gate] = &rates;
    let bounds: Vec<f64> = direct
        .iter()
        .zip(&raws)
        .map(|(direct, raw_ms)| (SHARED_WRITES_MIN * 1e3 / raw_ms).min(direct / 2.0))
        .collect();
    println!(
        "\nexact search, {SESSIONS} sessions, searches a second: median [quarters] of {} rounds of {} s",
        plan.rounds,
        RUN.as_secs()
    );
    let rows = [
        ("direct, plain", direct),
        ("PgBouncer, plain", pgbouncer),
        ("gate, sealed", gate),
        ("bound", &bounds),
    ];
    for (name, values) in rows {
        println!("{name:>18}  {:.0}", Spread::of(values.iter().copied()));
    }
    println!(
        "{:>18}  {:.3} ms",
        "raw fdatasync",
        Spread::of(raws.iter().copied())
    );
    println!(
        "{:>18}  {:.0} us of processor time a search",
        "gate",
        Spread::of(gate_us)
    );
    Ok(Figure::ratio(
        format!(
            "exact search, {SESSIONS} sessions: gate / min({SHARED_WRITES_MIN} / raw fdatasync, half of direct)"
        ),
        Spread::of_ratios(gate, &bounds),
        Bound::AtLeast,
        1.0,
        plan.judged,
    ))
}

/// Searches, searches a second of all together, and they again.
async fn run(crowd: Vec<Searcher>) -> Result<(u32, f64, Vec<Searcher>)> {
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut searcher in crowd {
        tasks.spawn(async move {
            let mut count = 0_u32;
            while begin.elapsed() < RUN {
                searcher.search().await?;
                count += 1;
            }
            anyhow::Ok((count, searcher))
        });
    }
    let mut crowd = Vec::new();
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        let (searches, searcher) = done??;
        count += searches;
        crowd.push(searcher);
    }
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    Ok((count, rate, crowd))
}

/// A session that searches customers by their telephone numbers, one after the other.
struct Searcher {
    way: Way,
    driver: Client,
    statement: Statement,
    customers: std::sync::Arc<[Found]>,
    next: usize,
}

impl Searcher {
    async fn connect(stage: &Stage, way: Way) -> Result<Self> {
        let door = stage.door(way)?;
        let (driver, connection) = door
            .config(DATABASE)
            .connect(NoTls)
            .await
            .with_context(|| format!("{way}: cannot connect"))?;
        // It ends with the driver; an error there is seen by the driver's own calls.
        tokio::spawn(connection);
        let table = way.table();
        let text = format!(
            "SELECT name, kana, phone FROM {table} WHERE client_id = {CLIENT} AND phone = $1"
        );
        let statement = driver
            .prepare(&text)
            .await
            .with_context(|| format!("{way}: {text}"))?;
        Ok(Self {
            way,
            driver,
            statement,
            customers: stage.customers(),
            next: 0,
        })
    }

    /// One search; what it brings is compared with what was put in.
    async fn search(&mut self) -> Result<Duration> {
        let customer = &self.customers[self.next % self.customers.len()];
        // A step without a common factor with the count: neighbours in time are none on disk.
        self.next += 1_009;
        let begin = Instant::now();
        let rows = self
            .driver
            .query(&self.statement, &[&customer.phone])
            .await
            .with_context(|| format!("{}: a search failed", self.way))?;
        let took = begin.elapsed();
        let right = rows.len() == 1
            && rows[0].get::<_, &str>(0) == customer.name
            && rows[0].get::<_, &str>(1) == customer.kana
            && rows[0].get::<_, &str>(2) == customer.phone;
        ensure!(right, "{}: the search did not bring the customer", self.way);
        Ok(took)
    }
}

/// Writes as the ledger makes them, and nothing else: into zeroed space, one after the other.
struct Raw {
    file: File,
    record: Vec<u8>,
    offset: u64,
}

impl Raw {
    fn new(folder: &Path, bytes: usize) -> Result<Self> {
        let file = File::create(folder.join("raw"))?;
        file.write_all_at(&vec![0; RAW_BYTES as usize], 0)?;
        file.sync_all()?;
        Ok(Self {
            file,
            record: vec![1; bytes],
            offset: 0,
        })
    }

    fn sync(&mut self) -> Result<Duration> {
        if self.offset + self.record.len() as u64 > RAW_BYTES {
            self.offset = 0;
        }
        let begin = Instant::now();
        self.file.write_all_at(&self.record, self.offset)?;
        self.file.sync_data()?;
        self.offset += self.record.len() as u64;
        Ok(begin.elapsed())
    }
}

fn quantile_ms(mut times: Vec<Duration>, share: f64) -> f64 {
    times.sort_unstable();
    times
        .get((times.len() as f64 * share) as usize)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
