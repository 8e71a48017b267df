//! `sekisho simulate`: a centre's life, with a theft or without, as records that can be replayed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use intake::{Names, records};
use serde_json::json;
use simulate::{Family, Life, Loss, Simulation, Sink, Thief, cast};
use watch::Record;
use watch::words::thousands;

use super::output;

/// What to simulate.
#[derive(Args)]
pub struct Simulate {
    /// People at work at any time.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    actors: u32,
    /// Days.
    #[arg(long, value_name = "N", default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    days: u32,
    /// Everything follows from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A theft: case, constant-N (N people a day), ramp, insider, shared-account, window,
    /// colluders-clients, colluders-list, gap, poisoned, no-calls, walk, guess.
    #[arg(long, value_name = "FAMILY", value_parser = family)]
    theft: Option<Family>,
    /// The day on which the theft begins, from 0 [default: the middle].
    #[arg(long, value_name = "DAY", requires = "theft")]
    from_day: Option<u32>,
    /// Without the telephone system's records.
    #[arg(long)]
    no_calls: bool,
    /// Without fictitious subjects.
    #[arg(long)]
    no_canaries: bool,
    /// Where the records go, as JSON lines; `-`: standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where the truth about the theft goes, as JSON lines: when, whose account, of which client, how
    /// many, and how many in all.
    #[arg(long, value_name = "FILE", requires = "theft")]
    truth: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn family(name: &str) -> Result<Family, String> {
    Family::named(name).ok_or_else(|| {
        let names = Family::ALL.map(|it| it.to_string()).join(", ");
        format!("no such family; one of {names}")
    })
}

/// Does it.
pub fn run(given: &Simulate) -> Result<()> {
    let from_day = given.from_day.unwrap_or(given.days / 2);
    ensure!(
        given.theft.is_none() || from_day < given.days,
        "the theft begins on day {from_day} and the simulation ends before; give an earlier --from-day"
    );
    let life = Life {
        seed: given.seed,
        actors: given.actors,
        days: given.days,
        calls: !given.no_calls,
        canaries: !given.no_canaries,
        ..Life::default()
    };
    let thieves: Vec<Thief> = given
        .theft
        .map(|family| cast(given.seed, given.actors, family, 1, from_day))
        .unwrap_or_default();
    let mut lines = Lines {
        out: created(&given.out)?,
        truth: given.truth.as_deref().map(created).transpose()?,
        names: Names::default(),
        text: String::new(),
        records: 0,
        lost: 0,
        thieves: BTreeSet::new(),
        failed: None,
    };
    let mut simulation = Simulation::new(life, &thieves);
    while lines.failed.is_none() && simulation.day(&mut lines) {}
    lines.finish().context("cannot write the records")?;
    lines.say(given)
}

fn created(path: &Path) -> Result<Box<dyn Write>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufWriter::new(io::stdout().lock())));
    }
    let file = File::create(path).with_context(|| path.display().to_string())?;
    Ok(Box::new(BufWriter::with_capacity(1 << 18, file)))
}

/// Records on their way to a file.
struct Lines {
    out: Box<dyn Write>,
    truth: Option<Box<dyn Write>>,
    names: Names,
    text: String,
    records: u64,
    lost: u64,
    thieves: BTreeSet<u32>,
    /// The first thing that went wrong; nothing is written after it.
    failed: Option<io::Error>,
}

impl Sink for Lines {
    fn record(&mut self, record: &Record<'_>) {
        if self.failed.is_some() {
            return;
        }
        self.records += 1;
        self.text.clear();
        records::write(record, &self.names, &mut self.text);
        self.failed = self.out.write_all(self.text.as_bytes()).err();
    }

    fn lost(&mut self, loss: &Loss<'_>) {
        let count = loss.keys.len() as u64;
        self.lost += count;
        self.thieves.insert(loss.actor.0);
        let Some(truth) = self.truth.as_mut().filter(|_| self.failed.is_none()) else {
            return;
        };
        let line = json!({"time": loss.at_ms, "actor": loss.actor.0, "client": loss.client.get(),
                          "lost": count, "in_all": self.lost});
        self.failed = writeln!(truth, "{line}").err();
    }
}

impl Lines {
    fn finish(&mut self) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.out.flush()?;
        self.truth.as_mut().map_or(Ok(()), Write::flush)
    }

    fn say(&self, given: &Simulate) -> Result<()> {
        // The records went to standard output: nothing else does.
        if given.out.as_os_str() == "-" {
            return Ok(());
        }
        if given.json {
            return output::json(&json!({"out": given.out, "records": self.records,
                "lost": self.lost, "thieves": self.thieves}));
        }
        output::line(format!(
            "{} records of {} people and {} days are in {}.",
            thousands(self.records),
            given.actors,
            given.days,
            given.out.display()
        ))?;
        if !self.thieves.is_empty() {
            let thieves: Vec<String> = self.thieves.iter().map(u32::to_string).collect();
            output::line(format!(
                "Actor {} took {} people's data.",
                thieves.join(" and "),
                thousands(self.lost)
            ))?;
        }
        output::line(format!(
            "\nNext: `sekisho watch replay --import {}`.",
            given.out.display()
        ))
    }
}
