//! Records a second of a processor, and memory an actor. Each measurement is a process of its own:
//! the simulation alone, then with the detectors behind it; the difference is theirs.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use simulate::{Life, Simulation, Sink};
use watch::{Record, Said, Settings, Watch};

use super::super::figures::{Bound, Figure};
use super::super::ledger::looked_at;
use super::Options;

/// Records that are replayed in a second of a processor.
const REPLAYED_PER_S_MIN: f64 = 500_000.0;
/// Records that are simulated in a second of a processor.
const SIMULATED_PER_S_MIN: f64 = 2_000_000.0;
/// Minutes for ten years of 1,000 people.
const TEN_YEARS_MINUTES_MAX: f64 = 5.0;
/// Detectors' KiB an actor.
const STATE_KIB_MAX: f64 = 100.0;
const ACTORS: u32 = 1000;
const DAYS: u32 = 92;

/// What a child measures.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Child {
    /// The simulation alone
    Simulate,
    /// With detectors
    Replay,
}

struct Alone(u64);

impl Sink for Alone {
    fn record(&mut self, record: &Record<'_>) {
        self.0 += u64::from(record.sequence > 0);
    }
}

struct Behind {
    records: u64,
    watch: Watch,
    said: Vec<Said>,
    findings: usize,
}

impl Sink for Behind {
    fn record(&mut self, record: &Record<'_>) {
        self.records += 1;
        self.watch.step(record, &mut self.said);
        self.findings += self.said.len();
        self.said.clear();
    }
}

fn life(options: &Options) -> Life {
    Life {
        seed: 77,
        actors: options
            .actors
            .unwrap_or(if options.quick { 100 } else { ACTORS }),
        days: options.years.map_or(DAYS, |years| years * 365),
        ..Life::default()
    }
}

/// Runs in a child: prints records, seconds of a processor, and the most memory, in KiB.
pub(super) fn run_child(child: Child, options: &Options) {
    let mut simulation = Simulation::new(life(options), &[]);
    let records = match child {
        Child::Simulate => {
            let mut sink = Alone(0);
            simulation.run(&mut sink);
            sink.0
        }
        Child::Replay => {
            let mut sink = Behind {
                records: 0,
                watch: Watch::new(Settings::default()),
                said: Vec::new(),
                findings: 0,
            };
            simulation.run(&mut sink);
            sink.records
        }
    };
    let (memory_kib, processor_s) = looked_at(std::process::id()).unwrap_or_default();
    println!("{records} {processor_s} {memory_kib}");
}

struct Measured {
    records: f64,
    processor_s: f64,
    memory_kib: f64,
}

fn measured(child: &str, options: &Options) -> Result<Measured> {
    let life = life(options);
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["watch", "--child", child]);
    command.args(["--actors", &life.actors.to_string()]);
    if let Some(years) = options.years {
        command.args(["--years", &years.to_string()]);
    }
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "a child ended with {}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    let mut values = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || values.next().context("a child said too little");
    Ok(Measured {
        records: next()??,
        processor_s: next()??,
        memory_kib: next()??,
    })
}

/// Measures; gives the figures.
pub(super) fn measure(options: &Options, judged: bool) -> Result<Vec<Figure>> {
    let life = life(options);
    let (actors, days) = (f64::from(life.actors), f64::from(life.days));
    let alone = measured("simulate", options)?;
    let behind = measured("replay", options)?;
    let watch_s = behind.processor_s - alone.processor_s;
    let state_kib = (behind.memory_kib - alone.memory_kib) / actors;
    println!(
        "\n{actors} people, {days} days, {} records: simulated in {:.1} s of a processor, judged in {watch_s:.1} s; \
         {:.0} MiB, of them detectors {:.0} MiB",
        alone.records,
        alone.processor_s,
        behind.memory_kib / 1024.0,
        (behind.memory_kib - alone.memory_kib) / 1024.0
    );
    let ten_years = 1000.0 / actors * 3652.0 / days * watch_s / 60.0;
    let how = if days >= 3650.0 { "" } else { ", by extension" };
    let figure =
        |name: String, value, bound, target| Figure::of(name, value, bound, target, judged);
    Ok(vec![
        figure(
            "simulated records a second of a processor".to_owned(),
            (alone.records / alone.processor_s, "/s"),
            Bound::AtLeast,
            SIMULATED_PER_S_MIN,
        ),
        figure(
            "replayed records a second of a processor".to_owned(),
            (behind.records / watch_s, "/s"),
            Bound::AtLeast,
            REPLAYED_PER_S_MIN,
        ),
        figure(
            format!("ten years of 1,000 people are replayed in{how}"),
            (ten_years, " min"),
            Bound::AtMost,
            TEN_YEARS_MINUTES_MAX,
        ),
        figure(
            format!("detectors' memory an actor after {days} days"),
            (state_kib, " KiB"),
            Bound::AtMost,
            STATE_KIB_MAX,
        ),
    ])
}
