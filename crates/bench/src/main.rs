//! `cargo xtask bench gate`: the gate beside PgBouncer and PostgreSQL alone, in one run.
//! `cargo xtask bench ledger`: the ledger beside a raw fdatasync (`ledger.rs`).
//! `cargo xtask bench watch`: the detectors against a simulated life with thefts (`watch/`).
//!
//! Everything is set up in a folder that is removed at the end, also after Ctrl-C. The ways are
//! measured in short rounds, one after the other, in an order that rotates; what is judged is the
//! median over the rounds of a ratio within one round, so that a machine that is busy for a while
//! slows both sides of it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command's output

mod figures;
mod folder;
mod ledger;
mod pgbench;
mod search;
mod stage;
mod watch;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use self::figures::Figure;
use self::stage::Stage;

/// Measures speed beside what one would use otherwise; exit status 1 if a target is missed.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    what: Bench,
}

/// What can be measured.
#[derive(Subcommand)]
enum Bench {
    /// The gate beside PgBouncer and PostgreSQL alone
    #[command(after_help = "\
Examples:
  cargo xtask bench gate
  cargo xtask bench gate --quick --json figures.json

Needs PostgreSQL with pgbench and PgBouncer (Debian: apt-get install postgresql pgbouncer).
Writes below /var/tmp unless --dir says otherwise: the disk under it is what is measured.")]
    Gate(Options),
    /// The ledger beside a raw fdatasync of the same write size, and sekisho-verify
    #[command(after_help = "\
Examples:
  cargo xtask bench ledger
  cargo xtask bench ledger --quick --json figures.json
  cargo xtask bench ledger --entries 10000000

Writes below /var/tmp unless --dir says otherwise: the disk under it is what is measured.")]
    Ledger(ledger::Options),
    /// The detectors against simulated thefts, beside the two rules that anybody would write
    #[command(after_help = "\
Examples:
  cargo xtask bench watch
  cargo xtask bench watch --quick --json figures.json
  cargo xtask bench watch --only families --family constant-20 --seeds calibration
  cargo xtask bench watch --only speed --years 10
  cargo xtask bench watch --full

What is simulated, and why: docs/simulate.md.")]
    Watch(watch::Options),
}

/// How to measure the gate.
#[derive(Args)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Only this part
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
    /// What is built for debugging: to see that it works
    #[arg(long, requires = "quick")]
    debug: bool,
}

/// How to measure anything.
#[derive(Args)]
struct Common {
    /// Some seconds, to see that everything works; targets are shown and not judged
    #[arg(long)]
    quick: bool,
    /// Rounds; in each of them every way is measured [default: 15, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Write the figures that have targets to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The folder in which a temporary one is made; not on a memory file system
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Common {
    /// How many rounds.
    fn rounds(&self) -> u16 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 15 })
    }
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Statements that touch nothing sealed
    Pgbench,
    /// Exact searches of sealed customers
    Search,
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    /// Whether targets are judged.
    judged: bool,
    pgbench_scale: u32,
    /// Transactions of one run of pgbench, all connections together.
    transactions: usize,
    customers: usize,
    /// Searches of one session in a round, each way.
    searches: usize,
}

impl Plan {
    fn of(options: &Common) -> Self {
        Self {
            rounds: options.rounds().into(),
            judged: !options.quick,
            pgbench_scale: if options.quick { 1 } else { 5 },
            transactions: if options.quick { 1_600 } else { 12_800 },
            customers: if options.quick { 500 } else { 5_000 },
            searches: if options.quick { 50 } else { 200 },
        }
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        Bench::Gate(options) => prepare_and_run(&options),
        Bench::Ledger(options) => ledger::prepare_and_run(&options),
        Bench::Watch(options) => watch::prepare_and_run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn prepare_and_run(options: &Options) -> Result<bool> {
    if cfg!(debug_assertions) && !options.debug {
        return Err(again_in_release(&["--workspace"]));
    }
    let sekisho = built("sekisho")?;
    // One thread: with more, the measuring program would take more from the two that it measures.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(gate(options, &sekisho))
}

/// A program of the same build.
fn built(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure!(
        program.is_file(),
        "{}: missing; `cargo build --release --workspace --bins --examples` makes it",
        program.display()
    );
    Ok(program)
}

/// Builds `what` in release and becomes that build of this program; gives the error.
fn again_in_release(what: &[&str]) -> anyhow::Error {
    let go = || -> Result<std::convert::Infallible> {
        println!("building in release");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release"])
            .args(what)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cargo build ended with {status}");
        let debug = std::env::current_exe()?;
        let target = debug
            .parent()
            .and_then(Path::parent)
            .context("no target folder")?;
        let release = target.join("release/bench");
        let error = Command::new(&release)
            .args(std::env::args_os().skip(1))
            .exec();
        Err(error).with_context(|| release.display().to_string())
    };
    match go() {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn gate(options: &Options, sekisho: &Path) -> Result<bool> {
    let began = Instant::now();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut stage = Stage::new(options.common.dir.as_deref(), sekisho)?;
    let measured = tokio::select! {
        measured = measure(&mut stage, options) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
    };
    let logs = measured.as_ref().err().map(|_| stage.logs());
    stage.clear().await?;
    let figures = match measured {
        Ok(figures) => figures,
        Err(error) => bail!("{error:#}{}", logs.unwrap_or_default()),
    };
    let judged = !options.common.quick;
    conclude(&figures, judged, options.common.json.as_deref(), began)
}

/// Prints the figures and writes them to a file; whether all targets were reached.
fn conclude(figures: &[Figure], judged: bool, json: Option<&Path>, began: Instant) -> Result<bool> {
    println!("\ntargets");
    for figure in figures {
        println!("  {figure}");
    }
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_vec_pretty(figures)?)
            .with_context(|| path.display().to_string())?;
    }
    let missed = figures.iter().filter(|figure| !figure.ok).count();
    let verdict = match (judged, missed) {
        (false, _) => "too short to judge by".to_owned(),
        (true, 0) => "all targets reached".to_owned(),
        (true, missed) => format!("{missed} of {} targets missed", figures.len()),
    };
    println!("{verdict} ({:.0} s)", began.elapsed().as_secs_f64());
    Ok(missed == 0)
}

async fn measure(stage: &mut Stage, options: &Options) -> Result<Vec<Figure>> {
    let plan = Plan::of(&options.common);
    stage.set_up(&plan).await?;
    let mut figures = Vec::new();
    if options.only != Some(Part::Search) {
        figures.extend(pgbench::measure(stage, &plan).await?);
    }
    if options.only != Some(Part::Pgbench) {
        figures.extend(search::measure(stage, &plan).await?);
    }
    Ok(figures)
}
