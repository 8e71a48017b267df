//! Durable appends beside a raw fdatasync of the same write size: 64 sessions that wait, an open
//! loop at half of what is asked of them, and single appends beside a large read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ledger::clock::SystemClock;
use ledger::{Handle, Options, Recorder};
use tokio::runtime::Runtime;

use crate::common::{Commits, Outcome, Raw, Sealer, Work, folders, quantile_ms, say, set_up};

/// Sessions that wait for their answers.
const SESSIONS: u64 = 64;
/// What is asked of them at most, appends a second.
const RATE_MAX: f64 = 20_000.0;
/// So many raw writes may a commit take.
const RAW_SHARE: f64 = 1.5;
/// Rows of one batch of a large read, as the gate's default.
const READ_ROWS: u64 = 1024;
/// Batches of a session on their way, as in the gate.
const READ_BATCHES: usize = 2;
/// What the large read brings a second: 9 million rows in a minute and a half.
const READ_ROWS_PER_S: u64 = 100_000;

struct Stage {
    runtime: Runtime,
    handle: Handle,
    commits: Arc<Commits>,
    subjects: Arc<AtomicU64>,
    raw: Raw,
    /// Bytes of a commit under 64 sessions, in the open loop, and of single appends.
    bytes: [usize; 3],
}

/// Prints a line for each round; `appends`: how many in each part of it.
pub(crate) fn measure(folder: &Path, rounds: u64, appends: u64) -> Outcome<()> {
    let options = Options::default();
    Recorder::create(folder, "Bench", &options)?;
    let (folders, commits) = folders(folder, true)?;
    let clock = Arc::new(SystemClock::new()?);
    let (recorder, _) = Recorder::start(folders, Arc::new(Sealer), clock, options, None)?;
    let runtime = Runtime::new()?;
    let handle = recorder.handle();
    runtime.block_on(set_up(&handle))?;
    let mut stage = Stage {
        runtime,
        handle,
        commits,
        subjects: Arc::default(),
        raw: Raw::new(folder)?,
        bytes: [4096; 3],
    };
    // Finds the sizes of commits.
    stage.waiting(appends.min(2000))?;
    stage.open(1000.0, appends.min(1000))?;
    stage.single(appends.min(500))?;
    for _ in 0..rounds {
        stage.round(appends)?;
    }
    recorder.close();
    Ok(())
}

impl Stage {
    fn round(&mut self, appends: u64) -> Outcome<()> {
        let syncs = (appends / 8).max(100);
        let mut raw = self.raw.syncs(self.bytes[0], syncs)?;
        let rate = self.waiting(appends)?;
        raw.extend(self.raw.syncs(self.bytes[0], syncs)?);
        let raw_ms = quantile_ms(&mut raw, 0.5);
        let due = RATE_MAX.min(SESSIONS as f64 * 1e3 / (RAW_SHARE * raw_ms));

        let mut open_raw = self.raw.syncs(self.bytes[1], syncs)?;
        let mut open = self.open(due / 2.0, appends)?;
        open_raw.extend(self.raw.syncs(self.bytes[1], syncs)?);

        let single = appends / 8;
        let mut alone = self.single(single)?;
        let (mut beside, rows) = self.beside(single, Some(READ_ROWS_PER_S))?;
        alone.extend(self.single(single)?);
        let (mut flooded, flood) = self.beside(single, None)?;
        say(&[
            ("raw_ms", raw_ms),
            ("commit_bytes", self.bytes[0] as f64),
            ("due_per_s", due),
            ("appends_per_s", rate),
            ("open_raw_p50_ms", quantile_ms(&mut open_raw, 0.5)),
            ("open_raw_p99_ms", quantile_ms(&mut open_raw, 0.99)),
            ("open_commit_bytes", self.bytes[1] as f64),
            ("open_p50_ms", quantile_ms(&mut open, 0.5)),
            ("open_p99_ms", quantile_ms(&mut open, 0.99)),
            ("alone_ms", quantile_ms(&mut alone, 0.5)),
            ("beside_ms", quantile_ms(&mut beside, 0.5)),
            ("read_rows_per_s", rows),
            ("flooded_ms", quantile_ms(&mut flooded, 0.5)),
            ("flood_rows_per_s", flood),
        ]);
        Ok(())
    }

    fn work(&self) -> Work {
        Work::new(&self.handle, &self.subjects)
    }

    /// All sessions append, each when its last append was answered; gives appends a second.
    fn waiting(&mut self, appends: u64) -> Outcome<f64> {
        let before = self.commits.so_far();
        let turns = (appends / SESSIONS).max(1);
        let begun = Instant::now();
        let tasks: Vec<_> = (0..SESSIONS)
            .map(|_| {
                let work = self.work();
                self.runtime.spawn(async move {
                    for _ in 0..turns {
                        work.append(1).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            self.runtime.block_on(task)?;
        }
        let rate = (turns * SESSIONS) as f64 / begun.elapsed().as_secs_f64();
        self.bytes[0] = self.commits.bytes_since(before);
        Ok(rate)
    }

    /// Appends at even distances, whether those before were answered or not; gives the times from
    /// when each was due.
    fn open(&mut self, per_s: f64, appends: u64) -> Outcome<Vec<Duration>> {
        let before = self.commits.so_far();
        let works: Vec<Work> = (0..SESSIONS).map(|_| self.work()).collect();
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for (turn, work) in (0..appends).zip(works.iter().cycle()) {
            let due = begun + Duration::from_secs_f64(turn as f64 / per_s);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let work = work.clone();
            tasks.push(self.runtime.spawn(async move {
                work.append(1).await;
                due.elapsed()
            }));
        }
        let mut times = Vec::new();
        for task in tasks {
            times.push(self.runtime.block_on(task)?);
        }
        self.bytes[1] = self.commits.bytes_since(before);
        Ok(times)
    }

    /// One session appends, one after the other.
    fn single(&mut self, appends: u64) -> Outcome<Vec<Duration>> {
        let before = self.commits.so_far();
        let work = self.work();
        let times = self.runtime.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..appends {
                times.push(work.append(1).await);
            }
            times
        });
        let times = self.runtime.block_on(times)?;
        self.bytes[2] = self.commits.bytes_since(before);
        Ok(times)
    }

    /// The same while another session reads everything, at most so many rows a second; and how many
    /// they were.
    fn beside(&mut self, appends: u64, per_s: Option<u64>) -> Outcome<(Vec<Duration>, f64)> {
        let stop = Arc::new(AtomicBool::new(false));
        let rows = Arc::new(AtomicU64::new(0));
        let reader = self.work();
        let begun = Instant::now();
        let readers: Vec<_> = (0..READ_BATCHES)
            .map(|_| {
                let (reader, stop, rows) = (reader.clone(), Arc::clone(&stop), Arc::clone(&rows));
                self.runtime.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let read = rows.fetch_add(READ_ROWS, Ordering::Relaxed);
                        if let Some(per_s) = per_s {
                            let due = Duration::from_secs_f64(read as f64 / per_s as f64);
                            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
                        }
                        reader.append_first(READ_ROWS).await;
                    }
                })
            })
            .collect();
        let times = self.single(appends)?;
        let rate = rows.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            self.runtime.block_on(reader)?;
        }
        Ok((times, rate))
    }
}
