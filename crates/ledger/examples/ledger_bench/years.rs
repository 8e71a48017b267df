//! How long a ledger of ten years takes to start: filled under a clock that runs through ten years,
//! stopped in the middle of work, and opened with nothing in the page cache.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ledger::clock::{Clock, SystemClock};
use ledger::logs::{LogKeys, Logs, Setup};
use ledger::{Handle, Options, Recorder, Report, SNAPSHOT_BYTES};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::common::{Outcome, Sealer, Work, folders, say, set_up};

const YEARS_MS: u64 = 3_652 * 86_400_000;
/// Appends at once while it is filled.
const SESSIONS: u64 = 512;
/// Of what is written before the next snapshot is due, what lies behind the last one.
const TAIL_BYTES: u64 = SNAPSHOT_BYTES / 10 * 9;

/// Ten years that end now, by as much an append.
struct TenYears {
    begin_ms: u64,
    passed_ms: AtomicU64,
}

impl Clock for TenYears {
    fn wall_ms(&self) -> u64 {
        self.begin_ms + self.boot_ms()
    }

    fn boot_ms(&self) -> u64 {
        self.passed_ms.load(Ordering::Relaxed)
    }

    fn boot_id(&self) -> [u8; 16] {
        [1; 16]
    }
}

/// Writes so many records, each of a new subject with three cells, without snapshots.
pub(crate) fn fill(folder: &Path, records: u64) -> Outcome<()> {
    let options = Options::default();
    Recorder::create(folder, "Bench", &options)?;
    let (folders, _) = folders(folder, false)?;
    let clock = Arc::new(TenYears {
        begin_ms: SystemClock::new()?.wall_ms() - YEARS_MS,
        passed_ms: AtomicU64::new(0),
    });
    let years = Arc::clone(&clock);
    let (recorder, _) = Recorder::start(folders, Arc::new(Sealer), clock, options, None)?;
    let runtime = Runtime::new()?;
    let handle = recorder.handle();
    runtime.block_on(set_up(&handle))?;
    let subjects = Arc::default();
    let begun = Instant::now();
    let (turns, step_ms) = (records.div_ceil(SESSIONS), YEARS_MS / records.max(1));
    let tasks: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let (work, years) = (Work::new(&handle, &subjects), Arc::clone(&years));
            runtime.spawn(async move {
                for _ in 0..turns {
                    years.passed_ms.fetch_add(step_ms, Ordering::Relaxed);
                    work.append(1).await;
                }
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task)?;
    }
    recorder.close();
    say(&[("fill_s", begun.elapsed().as_secs_f64())]);
    Ok(())
}

fn logs(runtime: &Runtime, folder: &Path, handle: &Handle) -> Outcome<Logs> {
    let setup = Setup {
        salt: Zeroizing::new([9; 32]),
        keys: Arc::new(|_| Ok(LogKeys::new(vec![Zeroizing::new([4; 32])]))),
        witnesses: None,
        authority: None,
        say: Arc::new(|line| println!("said {line}")),
    };
    let mut progress = |_, _| {};
    Ok(runtime.block_on(Logs::start(folder, handle.clone(), setup, &mut progress))?)
}

fn open(folder: &Path) -> Outcome<(Recorder, Report, Duration)> {
    let begun = Instant::now();
    let (recorder, report) = Recorder::open(folder, Arc::new(Sealer), Options::default())?;
    Ok((recorder, report, begun.elapsed()))
}

/// The first start, which replays everything, derives all logs and takes a snapshot; then as much
/// work as there may be behind a snapshot, and no orderly end.
pub(crate) fn tail(folder: &Path) -> Outcome<()> {
    let runtime = Runtime::new()?;
    let (recorder, report, replay) = open(folder)?;
    let begun = Instant::now();
    let started = logs(&runtime, folder, &recorder.handle())?;
    let derive = begun.elapsed();
    recorder.close();
    runtime.block_on(started.finish())?;
    let (recorder, _, _) = open(folder)?;
    let handle = recorder.handle();
    let started = logs(&runtime, folder, &handle)?;
    // Other subjects than those of before.
    let subjects = Arc::new(AtomicU64::new(1 << 40));
    let before = handle.durable().borrow().mark;
    let works: Vec<Work> = (0..SESSIONS)
        .map(|_| Work::new(&handle, &subjects))
        .collect();
    let bytes = || {
        let now = handle.durable().borrow().mark;
        let segments = u64::from(now.segment - before.segment);
        segments * u64::from(ledger::SEGMENT_BYTES) + u64::from(now.offset)
    };
    while bytes() < u64::from(before.offset) + TAIL_BYTES {
        let tasks: Vec<_> = works
            .iter()
            .map(|work| {
                let work = work.clone();
                runtime.spawn(async move {
                    for _ in 0..8 {
                        work.append(1).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task)?;
        }
    }
    let mut published = started.progress();
    let roots = handle.durable().borrow().roots;
    runtime.block_on(published.wait_for(|it| it.published >= roots))?;
    say(&[
        ("records", report.records as f64),
        ("replay_s", replay.as_secs_f64()),
        ("derive_s", derive.as_secs_f64()),
    ]);
    std::process::exit(0)
}

/// Starts as `serve` does, and ends as it would when it is killed.
pub(crate) fn start(folder: &Path) -> Outcome<()> {
    forget(folder)?;
    let runtime = Runtime::new()?;
    let begun = Instant::now();
    let (recorder, report, opened) = open(folder)?;
    let _logs = logs(&runtime, folder, &recorder.handle())?;
    let took = begun.elapsed();
    if report.snapshot.is_none() {
        return Err("it started without a snapshot".into());
    }
    say(&[
        ("start_s", took.as_secs_f64()),
        ("open_s", opened.as_secs_f64()),
        ("records", report.records as f64),
        ("replayed", report.replayed as f64),
    ]);
    std::process::exit(0)
}

/// Takes the folder's files out of the page cache.
fn forget(folder: &Path) -> Outcome<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget(&entry.path())?;
        } else {
            let file = File::open(entry.path())?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}
