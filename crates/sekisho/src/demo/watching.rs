//! Detection: what it said while the operator paged, and what it would have said in the case's ten
//! years, simulated and replayed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use event::record::{Body, CaseFinding};
use event::{ActorId, ClientId};
use indicatif::ProgressBar;
use simulate::{Family, Life, Loss, Simulation, Sink, cast};
use watch::words::{Language, Names, arithmetic, sentence};
use watch::{Detector, Record, Said, Settings, TerminalId, Watch};

use super::Step;
use super::stage::{Stage, bar};
use super::steps::{actor, records, shown};
use crate::commands::case_words;

const DAYS: u32 = 3_650;
const DAY_MS: u64 = 24 * 3_600_000;
/// Enough for a cohort, few enough for seconds.
const ACTORS: u32 = 24;
/// People work for a while before the thefts begin.
const THEFTS_FROM: u32 = 60;
const SEED: u64 = 2_013;

/// Ten years, and what is said of them.
struct Years {
    watch: Watch,
    said: Vec<Said>,
    thief: ActorId,
    /// When the first subject was taken, ms.
    began_ms: Option<u64>,
    lost: u64,
    nights: u64,
    last_ms: u64,
    records: u64,
    /// The thief's findings by detector: day of the first one, and subjects taken until then.
    first: BTreeMap<Detector, (u64, u64)>,
    opened: Option<(u64, String)>,
    false_cases: u64,
}

impl Sink for Years {
    fn record(&mut self, record: &Record<'_>) {
        self.records += 1;
        self.watch.step(record, &mut self.said);
        for said in self.said.drain(..) {
            let finding = &said.finding;
            let theirs = finding.actor.is_none_or(|actor| actor == self.thief);
            let Some(began_ms) = self.began_ms.filter(|_| theirs) else {
                self.false_cases += u64::from(said.case.new);
                continue;
            };
            let day = finding.at_ms.saturating_sub(began_ms) / DAY_MS + 1;
            let detector = finding.cause.detector();
            self.first.entry(detector).or_insert((day, self.lost));
            if said.case.new && self.opened.is_none() {
                let text = sentence(finding, &Numbers(None), Language::English);
                self.opened = Some((self.lost, text));
            }
        }
    }

    fn lost(&mut self, loss: &Loss<'_>) {
        self.began_ms.get_or_insert(loss.at_ms);
        self.nights += u64::from(loss.at_ms > self.last_ms + DAY_MS / 2);
        self.last_ms = loss.at_ms;
        self.lost += loss.keys.len() as u64;
    }
}

/// Numbers, where nobody has a name as in the simulation; else the one whom it is about.
struct Numbers<'a>(Option<&'a str>);

impl Names for Numbers<'_> {
    fn actor(&self, actor: ActorId) -> String {
        self.0
            .map_or_else(|| format!("actor {actor}"), str::to_owned)
    }
    fn client(&self, client: ClientId) -> String {
        client.to_string()
    }
    fn terminal(&self, terminal: TerminalId) -> String {
        format!("terminal {:x}", terminal.0)
    }
}

/// The case that was opened while an operator read what the budget gives, within seconds.
pub(super) async fn noticed(stage: &Stage, login: &str, since_ms: u64) -> Result<Step> {
    let who = ActorId(actor(stage, login)?);
    let read = || -> Result<Option<(u64, u32, CaseFinding)>> {
        let all = records(stage, since_ms)?.into_iter();
        Ok(all
            .filter_map(|(entry, body)| match body {
                Body::Case { case, finding, .. } if finding.actor == Some(who) => {
                    Some((entry.wall_ms, case, finding))
                }
                _ => None,
            })
            .next())
    };
    let found = shown(read, Option::is_some).await?;
    let (at_ms, case, finding) = found.context("no case was opened")?;
    let said = case_words::said(&finding).context("a finding of another version")?;
    let names = Numbers(Some(login));
    let why = arithmetic(&said, &names, Language::English).join("; ");
    Ok(Step {
        tried: format!("what detection says of {login}"),
        came_out: format!(
            "case {case}: {}",
            sentence(&said, &names, Language::English)
        ),
        recorded: format!(
            "the case, {} ms after the read that it is about; {why}",
            at_ms.saturating_sub(finding.at_ms)
        ),
        ok: finding.detector == Detector::Burst as u8,
    })
}

/// Plays ten years.
pub(super) async fn replay() -> Result<Step> {
    let years = tokio::task::spawn_blocking(|| play(&bar(u64::from(DAYS), "ten years")))
        .await
        .context("ten years")??;
    let (until, sentence) = years.opened.context("no case was opened in ten years")?;
    let by: Vec<String> = years
        .first
        .iter()
        .map(|(detector, (day, lost))| format!("{} on day {day} ({lost} taken)", detector.name()))
        .collect();
    // The first act: one night's list is 93,000.
    let ok = until < 93_000 && years.nights > 100;
    Ok(Step {
        tried: format!(
            "{} thefts over ten years, {} people, by an administrator; {} records of {ACTORS} people replayed",
            years.nights, years.lost, years.records
        ),
        came_out: format!("a case after {until} people of the first night: {sentence}"),
        recorded: format!(
            "{}; {} cases about others in ten years",
            by.join(", "),
            years.false_cases
        ),
        ok,
    })
}

fn play(bar: &ProgressBar) -> Result<Years> {
    let life = Life {
        seed: SEED,
        actors: ACTORS,
        days: DAYS,
        ..Life::default()
    };
    let thieves = cast(SEED, ACTORS, Family::Case, 1, THEFTS_FROM);
    let thief = thieves.first().context("nobody to steal")?;
    let mut years = Years {
        watch: Watch::new(Settings::default()),
        said: Vec::new(),
        thief: ActorId(thief.seat + 1),
        began_ms: None,
        lost: 0,
        nights: 0,
        last_ms: 0,
        records: 0,
        first: BTreeMap::new(),
        opened: None,
        false_cases: 0,
    };
    let mut simulation = Simulation::new(life, &thieves);
    while simulation.day(&mut years) {
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(years)
}
