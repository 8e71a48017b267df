//! `cargo xtask bench ledger`: durable appends beside a raw fdatasync of the same write size,
//! checkpoints and cosignatures, tiles, `sekisho-verify`, and the start of an old ledger.
//!
//! What measures are release examples of the crates, each in a process and a folder of its own
//! (`ledger_bench`, `generate`); here are rounds, ratios and targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::figures::{Bound, Figure, Spread};
use super::{Common, again_in_release, built, conclude, stage};

/// Durable appends a second that are asked for where the disk allows it.
const APPENDS_PER_S: f64 = 20_000.0;
/// What the ledger may add to its write, in ms, at p50.
const ADDED_MS_MAX: f64 = 0.3;
/// So many raw writes may an append take at p50, and at p99.
const RAW_SHARE_P50: f64 = 1.5;
const RAW_SHARE_P99: f64 = 3.0;
/// By so much may a search be slower beside a large read.
const BESIDE_MAX: f64 = 1.2;
/// An append is in a cosigned checkpoint within so many ms.
const COSIGNED_MS_MAX: f64 = 1000.0;
/// Bytes of tiles beyond the entries, an entry.
const TILE_BYTES_MAX: f64 = 40.0;
/// Entries that `sekisho-verify` checks in a second of a processor.
const VERIFIED_PER_S_MIN: f64 = 500_000.0;
/// Its memory at ten times the entries; some of it is the same whatever is checked.
const MEMORY_GROWTH_MAX: f64 = 1.25;
/// Seconds that an old ledger takes to start.
const START_S_MAX: f64 = 10.0;
/// Starts that are measured.
const STARTS: usize = 3;
/// Ticks of /proc's processor times in a second (USER_HZ, on all of Linux's common platforms).
const TICKS_PER_S: f64 = 100.0;

/// How to measure the ledger.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Only this part
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
    /// Entries that sekisho-verify checks [default: 1000000, with --quick 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    entries: Option<u64>,
    /// Records of ten years [default: 5000000, with --quick 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10_000..=200_000_000))]
    records: Option<u64>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable appends
    Appends,
    /// Checkpoints, cosignatures, tiles
    Checkpoints,
    /// sekisho-verify
    Verify,
    /// The start of an old ledger
    Start,
}

/// Programs, the folder, and how much is measured.
struct Bench {
    ledger_bench: PathBuf,
    generate: PathBuf,
    verify: PathBuf,
    folder: tempfile::TempDir,
    judged: bool,
    rounds: u16,
    entries: u64,
    records: u64,
}

/// Measures in a release build; whether all targets were reached.
pub(super) fn prepare_and_run(options: &Options) -> Result<bool> {
    if cfg!(debug_assertions) {
        return Err(again_in_release(&["--workspace", "--bins", "--examples"]));
    }
    let common = &options.common;
    let quick = common.quick;
    let bench = Bench {
        ledger_bench: built("examples/ledger_bench")?,
        generate: built("examples/generate")?,
        verify: built("sekisho-verify")?,
        folder: stage::temporary(common.dir.as_deref())?,
        judged: !quick,
        rounds: common.rounds(),
        entries: options
            .entries
            .unwrap_or(if quick { 20_000 } else { 1_000_000 }),
        records: options
            .records
            .unwrap_or(if quick { 20_000 } else { 5_000_000 }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    let figures = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            measured = bench.measure(options.only) => measured,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminated.recv() => bail!("terminated"),
        }
    })?;
    conclude(&figures, bench.judged, common.json.as_deref(), began)
}

impl Bench {
    async fn measure(&self, only: Option<Part>) -> Result<Vec<Figure>> {
        let place = self.folder.path().display();
        println!("{}; in {place}", stage::processors());
        let mut figures = Vec::new();
        let wanted = |part| only.is_none_or(|only| only == part);
        if wanted(Part::Appends) {
            figures.extend(self.appends().await?);
        }
        if wanted(Part::Checkpoints) {
            figures.extend(self.checkpoints().await?);
        }
        if wanted(Part::Verify) {
            figures.extend(self.verify().await?);
        }
        if wanted(Part::Start) {
            figures.push(self.start().await?);
        }
        Ok(figures)
    }

    /// An empty folder for a part.
    fn place(&self, name: &str) -> Result<PathBuf> {
        let place = self.folder.path().join(name);
        std::fs::create_dir_all(&place)?;
        Ok(place)
    }

    async fn appends(&self) -> Result<Vec<Figure>> {
        let (folder, rounds) = (self.place("appends")?, self.rounds.to_string());
        let appends = if self.judged { "8000" } else { "1000" };
        let said = self
            .ledger(&["rates", &show(&folder), &rounds, appends])
            .await?;
        std::fs::remove_dir_all(&folder)?;
        println!(
            "\ndurable appends: median [quarters] of {} rounds of {appends}; raw: fdatasync of as many bytes",
            said.len()
        );
        let rows = [
            ("raw p50, ms", "raw_ms", 3),
            ("bytes of a commit, 64 sessions", "commit_bytes", 0),
            ("appends a second, 64 sessions", "appends_per_s", 0),
            ("bound", "due_per_s", 0),
            ("bytes of a commit, open loop", "open_commit_bytes", 0),
            ("raw p50 beside it, ms", "open_raw_p50_ms", 3),
            ("raw p99 beside it, ms", "open_raw_p99_ms", 3),
            ("open loop p50, ms", "open_p50_ms", 3),
            ("open loop p99, ms", "open_p99_ms", 3),
            ("one session p50, ms", "alone_ms", 3),
            ("beside a large read, ms", "beside_ms", 3),
            ("that read, rows a second", "read_rows_per_s", 0),
            ("beside all it can, ms", "flooded_ms", 3),
            ("that, rows a second", "flood_rows_per_s", 0),
        ];
        for (words, name, digits) in rows {
            let spread = Spread::of(values(&said, name)?);
            println!("{words:>32}  {spread:.digits$}");
        }
        let ratio = |over: &str, under: &dyn Fn(&Said) -> Option<f64>| -> Result<Spread> {
            let ratios: Option<Vec<f64>> = said
                .iter()
                .map(|said| Some(said.get(over)? / under(said)?))
                .collect();
            Ok(Spread::of(ratios.context("a value is missing")?))
        };
        let p50_bound =
            |said: &Said| Some(RAW_SHARE_P50 * said.get("open_raw_p50_ms")? + ADDED_MS_MAX);
        let p99_bound = |said: &Said| Some(RAW_SHARE_P99 * said.get("open_raw_p99_ms")?);
        Ok(vec![
            self.ratio(
                &format!("64 sessions: appends / min({APPENDS_PER_S}, 64 / ({RAW_SHARE_P50} raw))"),
                ratio("appends_per_s", &|said| said.get("due_per_s").copied())?,
                Bound::AtLeast,
                1.0,
            ),
            self.ratio(
                &format!("open loop p50 / ({RAW_SHARE_P50} raw p50 + {ADDED_MS_MAX} ms)"),
                ratio("open_p50_ms", &p50_bound)?,
                Bound::AtMost,
                1.0,
            ),
            self.ratio(
                &format!("open loop p99 / {RAW_SHARE_P99} raw p99"),
                ratio("open_p99_ms", &p99_bound)?,
                Bound::AtMost,
                1.0,
            ),
            self.ratio(
                "one session's p50 beside a large read / alone",
                ratio("beside_ms", &|said| said.get("alone_ms").copied())?,
                Bound::AtMost,
                BESIDE_MAX,
            ),
        ])
    }

    async fn checkpoints(&self) -> Result<Vec<Figure>> {
        let folder = self.place("checkpoints")?;
        let seconds = if self.judged { "60" } else { "5" };
        let verify = show(&self.verify);
        let said = self
            .ledger(&["shown", &show(&folder), seconds, &verify])
            .await?;
        std::fs::remove_dir_all(&folder)?;
        let get = |name: &str| one(&said, name);
        println!(
            "\nfrom an append to the checkpoint that covers it, {seconds} s of 1000 appends a second, ms\n\
             {:>32}  p50 {:.0}  p99 {:.0}\n{:>32}  p50 {:.0}  p99 {:.0}  longest {:.0}",
            "published",
            get("published_p50_ms")?,
            get("published_p99_ms")?,
            "cosigned by a witness",
            get("cosigned_p50_ms")?,
            get("cosigned_p99_ms")?,
            get("cosigned_max_ms")?,
        );
        Ok(vec![
            self.value(
                "an append is in a cosigned checkpoint, p99",
                (get("cosigned_p99_ms")?, " ms"),
                Bound::AtMost,
                COSIGNED_MS_MAX,
            ),
            self.value(
                "tiles beyond the entries, an entry",
                (get("tile_bytes_per_entry")?, " bytes"),
                Bound::AtMost,
                TILE_BYTES_MAX,
            ),
        ])
    }

    async fn verify(&self) -> Result<Vec<Figure>> {
        println!("\nsekisho-verify check of a log that it has not seen");
        let small = self.checked(self.entries / 10).await?;
        let large = self.checked(self.entries).await?;
        Ok(vec![
            self.value(
                "sekisho-verify: entries a second of a processor",
                (large.per_s, "/s"),
                Bound::AtLeast,
                VERIFIED_PER_S_MIN,
            ),
            self.ratio(
                "sekisho-verify: memory at ten times the entries / before",
                Spread::of([large.memory_kib / small.memory_kib]),
                Bound::AtMost,
                MEMORY_GROWTH_MAX,
            ),
        ])
    }

    async fn checked(&self, entries: u64) -> Result<Checked> {
        let folder = self.place("log")?;
        let output = Command::new(&self.generate)
            .args([&show(&folder), &entries.to_string()])
            .kill_on_drop(true)
            .output()
            .await?;
        let text = String::from_utf8(output.stdout)?;
        let mut words = text.split_whitespace();
        ensure!(
            output.status.success() && words.next() == Some("sekisho-verify"),
            "generate: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let begun = Instant::now();
        let mut child = Command::new(&self.verify)
            .args(words)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().context("sekisho-verify ended at once")?;
        let (mut memory_kib, mut processor_s) = (0.0, 0.0);
        let status = loop {
            if let Some((memory, processor)) = looked_at(pid) {
                (memory_kib, processor_s) = (memory, processor);
            }
            if let Some(status) = child.try_wait()? {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let took = begun.elapsed().as_secs_f64();
        ensure!(status.success(), "sekisho-verify ended with {status}");
        std::fs::remove_dir_all(&folder)?;
        // What ended between two looks is not seen: then it was all the time there was.
        let processor_s = f64::max(processor_s, 1.0 / TICKS_PER_S);
        println!(
            "{entries:>12} entries  {took:.2} s, {processor_s:.2} s of a processor, {:.0} MiB at most",
            memory_kib / 1024.0
        );
        Ok(Checked {
            per_s: entries as f64 / processor_s,
            memory_kib,
        })
    }

    async fn start(&self) -> Result<Figure> {
        let folder = self.place("years")?;
        let place = show(&folder);
        let fill = self
            .ledger(&["fill", &place, &self.records.to_string()])
            .await?;
        let tail = self.ledger(&["tail", &place]).await?;
        println!(
            "\nten years in {} records of new subjects: written in {:.0} s; first start: replayed in {:.1} s, logs derived in {:.1} s",
            self.records,
            one(&fill, "fill_s")?,
            one(&tail, "replay_s")?,
            one(&tail, "derive_s")?,
        );
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.extend(self.ledger(&["start", &place]).await?);
        }
        std::fs::remove_dir_all(&folder)?;
        let took = Spread::of(values(&starts, "start_s")?);
        println!(
            "{:>32}  {took:.2} s, of them the ledger {:.2}; {:.0} of {:.0} records replayed",
            "a start after a kill",
            Spread::of(values(&starts, "open_s")?).median,
            one(&starts, "replayed")?,
            one(&starts, "records")?,
        );
        Ok(self.value(
            "a start with ten years of records",
            (took.median, " s"),
            Bound::AtMost,
            START_S_MAX,
        ))
    }

    fn ratio(&self, name: &str, ratio: Spread, bound: Bound, target: f64) -> Figure {
        Figure::ratio(name.to_owned(), ratio, bound, target, self.judged)
    }

    fn value(&self, name: &str, value: (f64, &'static str), bound: Bound, target: f64) -> Figure {
        Figure::of(name.to_owned(), value, bound, target, self.judged)
    }

    /// Runs `ledger_bench`; gives its lines.
    async fn ledger(&self, arguments: &[&str]) -> Result<Vec<Said>> {
        let output = Command::new(&self.ledger_bench)
            .args(arguments)
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success(),
            "ledger_bench {}: {}\n{text}",
            arguments.first().unwrap_or(&""),
            output.status
        );
        Ok(text.lines().filter_map(pairs).collect())
    }
}

/// A check of `sekisho-verify`.
struct Checked {
    per_s: f64,
    memory_kib: f64,
}

/// What a line says.
type Said = BTreeMap<String, f64>;

fn pairs(line: &str) -> Option<Said> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    line.split(' ').map(pair).collect()
}

fn values(said: &[Said], name: &str) -> Result<Vec<f64>> {
    let values: Option<Vec<f64>> = said.iter().map(|said| said.get(name).copied()).collect();
    values.with_context(|| format!("ledger_bench did not say {name}"))
}

fn one(said: &[Said], name: &str) -> Result<f64> {
    let last = said.last().and_then(|said| said.get(name));
    last.copied()
        .with_context(|| format!("ledger_bench did not say {name}"))
}

/// The most memory that a process had so far, in KiB, and its processor time, in s.
pub(super) fn looked_at(pid: u32) -> Option<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold anything; what follows it begins with the third field.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks =
        |field: usize| -> Option<f64> { fields.split_whitespace().nth(field - 3)?.parse().ok() };
    Some((
        memory.parse().ok()?,
        (ticks(14)? + ticks(15)?) / TICKS_PER_S,
    ))
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::{looked_at, pairs};

    #[test]
    fn lines_of_pairs_are_read_and_others_are_not() {
        let said = pairs("a=1 b=2.5").unwrap();
        assert_eq!((said["a"], said["b"]), (1.0, 2.5));
        assert!(pairs("said a witness is gone").is_none());
    }

    #[test]
    fn this_process_has_memory_and_took_time() {
        let (memory, processor) = looked_at(std::process::id()).unwrap();
        assert!(memory > 100.0 && processor >= 0.0);
    }
}
