//! `cargo xtask bench watch`: a simulated life with thefts goes through the detectors, and what they
//! say is held against the truth (crate `simulate`, module `evaluate`).
//!
//! Thresholds are calibrated on one list of seeds and judged on another one: nobody changes a
//! threshold after a look at the second. Here are lives, tables and targets.

mod families;
mod insider;
mod speed;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use simulate::evaluate::{Judge, Outcome, Trial, run};
use simulate::{Family, Life};

use super::figures::Figure;
use super::{again_in_release, conclude};

/// Thresholds are chosen by these.
const CALIBRATION: [u64; 4] = [101, 102, 103, 104];
/// And judged by these.
const EVALUATION: [u64; 4] = [9001, 9002, 9003, 9004];

/// How to judge detection.
#[derive(Args)]
pub(crate) struct Options {
    /// A minute, to see that everything works; targets are shown and not judged
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// More seeds, people and years: an hour
    #[arg(long)]
    full: bool,
    /// Only this part
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
    /// Only this family of theft, as `sekisho simulate --theft` names it
    #[arg(long, value_name = "FAMILY", value_parser = family)]
    family: Option<Family>,
    /// Which lives: those that thresholds are chosen by, or those that they are judged by [default:
    /// evaluation, with --quick calibration]
    #[arg(long, value_name = "LIST")]
    seeds: Option<Seeds>,
    /// People [default: 100, with --quick 60, with --full 300]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(20..=10_000))]
    actors: Option<u32>,
    /// Speed: replay so many years, of 1000 people or --actors [default: a quarter of a year]
    #[arg(long, value_name = "YEARS", value_parser = clap::value_parser!(u32).range(1..=20))]
    years: Option<u32>,
    /// Lives that are simulated at the same time [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Write the figures that have targets to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What this program runs itself to measure memory
    #[arg(long, hide = true)]
    child: Option<speed::Child>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Families of theft, and false cases
    Families,
    /// False cases alone
    Honest,
    /// The most that somebody who knows everything can take
    Insider,
    /// Records a second, memory an actor
    Speed,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Seeds {
    Calibration,
    Evaluation,
}

fn family(name: &str) -> Result<Family, String> {
    let names = || Family::ALL.map(|it| it.to_string()).join(", ");
    Family::named(name).ok_or_else(|| format!("no such family; one of {}", names()))
}

/// How much is simulated.
struct Plan {
    seeds: Vec<u64>,
    actors: u32,
    days: u32,
    /// Thefts begin after so many quiet days.
    quiet_days: u32,
    gangs: u32,
    honest_actors: u32,
    insider_actors: u32,
    insider_days: u32,
    jobs: usize,
    judges: Vec<Judge>,
    judged: bool,
}

impl Plan {
    fn of(options: &Options) -> Self {
        let all = match options.seeds {
            Some(Seeds::Calibration) => CALIBRATION,
            None if options.quick => CALIBRATION,
            Some(Seeds::Evaluation) | None => EVALUATION,
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let pick = |quick, usual, full| match (options.quick, options.full) {
            (true, _) => quick,
            (_, true) => full,
            _ => usual,
        };
        Self {
            seeds: all.into_iter().take(pick(1, 2, 4) as usize).collect(),
            actors: options.actors.unwrap_or(pick(60, 100, 300)),
            days: pick(500, 800, 1500),
            quiet_days: pick(200, 365, 365),
            gangs: pick(4, 6, 10),
            honest_actors: pick(60, 250, 1000),
            insider_actors: pick(60, 100, 300),
            insider_days: pick(500, 3650, 3650),
            jobs: options.jobs.map_or(processors, usize::from),
            judges: families::judges(options.quick),
            judged: !options.quick,
        }
    }

    fn life(&self, seed: u64) -> Life {
        Life {
            seed,
            actors: self.actors,
            days: self.days,
            ..Life::default()
        }
    }
}

/// Judges in a release build; whether all targets were reached.
pub(super) fn prepare_and_run(options: &Options) -> Result<bool> {
    if cfg!(debug_assertions) {
        return Err(again_in_release(&["--package", "bench"]));
    }
    if let Some(child) = options.child {
        speed::run_child(child, options);
        return Ok(true);
    }
    let began = Instant::now();
    let plan = Plan::of(options);
    let wants = |part| options.only.is_none_or(|only| only == part);
    let mut figures: Vec<Figure> = Vec::new();
    if wants(Part::Speed) && options.family.is_none() {
        figures.extend(speed::measure(options, plan.judged)?);
    }
    if wants(Part::Families) || options.only == Some(Part::Honest) {
        let families = options.only != Some(Part::Honest);
        figures.extend(families::judge(&plan, options.family, families));
    }
    if wants(Part::Insider) && options.family.is_none() {
        figures.extend(insider::judge(&plan));
    }
    if figures.is_empty() {
        bail!("--family goes with `--only families`, or with no --only");
    }
    if !plan.judged {
        // No false case is a good figure, too.
        figures.iter_mut().for_each(|it| it.ok = !it.value.is_nan());
    }
    conclude(&figures, plan.judged, options.json.as_deref(), began)
}

/// Runs trials side by side; gives what came of them, in their order.
fn run_all(trials: &[Trial], jobs: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![None; trials.len()]);
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(trial) = trials.get(place) else {
                return;
            };
            let outcome = run(trial);
            eprint!(".");
            let mut done = done.lock().expect("no trial panics while it holds this");
            done[place] = Some(outcome);
        }
    };
    std::thread::scope(|scope| {
        (1..jobs).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    eprintln!();
    let done = done
        .into_inner()
        .expect("no trial panics while it holds this");
    done.into_iter()
        .map(|it| it.expect("each place was taken by one thread"))
        .collect()
}
