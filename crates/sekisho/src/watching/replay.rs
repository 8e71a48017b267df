//! Records through detection, from a ledger or from files: the same fold as live.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use event::ActorId;
use intake::{Merged, Taken};
use ledger::{ListSealer, Reader};
use watch::words::Names;
use watch::{Detector, Said, Settings, Skipped, Watch};

use super::feed::Feed;
use super::names::{OfImport, OfLedger};
use crate::folder::Folder;

/// Records between two reports of how far it is.
const REPORT_EVERY: u64 = 1 << 14;

/// What a case came to.
#[derive(Clone, Debug)]
pub struct CaseSum {
    /// When it was opened, ms since the Unix epoch.
    pub opened_ms: u64,
    /// When something was last found, ms since the Unix epoch.
    pub last_ms: u64,
    /// About whom.
    pub about: Option<ActorId>,
    /// His name.
    pub name: String,
    /// Findings of each detector.
    pub findings: BTreeMap<Detector, u64>,
}

/// What a replay came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Records that were given to detection.
    pub records: u64,
    /// Of these, not counted by it.
    pub skipped: Skipped,
    /// Findings that were said.
    pub findings: u64,
    /// Cases, by number.
    pub cases: BTreeMap<u32, CaseSum>,
    /// Lists that should have opened and did not, and why the first one did not.
    pub closed: Option<(u64, String)>,
}

/// Where findings go, with the names for their numbers.
pub type Tell<'a> = &'a mut dyn FnMut(&Said, &dyn Names) -> Result<()>;
/// Is told how many records there were so far.
pub type Report<'a> = &'a dyn Fn(u64);

struct Replay<'a> {
    said: Vec<Said>,
    outcome: Outcome,
    tell: Tell<'a>,
    report: Report<'a>,
}

impl<'a> Replay<'a> {
    fn new(tell: Tell<'a>, report: Report<'a>) -> Self {
        Self {
            said: Vec::new(),
            outcome: Outcome::default(),
            tell,
            report,
        }
    }

    fn count(&mut self) {
        self.outcome.records += 1;
        if self.outcome.records.is_multiple_of(REPORT_EVERY) {
            (self.report)(self.outcome.records);
        }
    }

    /// Tells what was found.
    fn told(&mut self, names: &dyn Names) -> Result<()> {
        for said in self.said.drain(..) {
            (self.tell)(&said, names)?;
            self.outcome.findings += 1;
            let at_ms = said.finding.at_ms;
            let case = self
                .outcome
                .cases
                .entry(said.case.case.0)
                .or_insert_with(|| CaseSum {
                    opened_ms: at_ms,
                    last_ms: at_ms,
                    about: said.case.actor,
                    name: said
                        .case
                        .actor
                        .map_or_else(String::new, |actor| names.actor(actor)),
                    findings: BTreeMap::new(),
                });
            case.last_ms = case.last_ms.max(at_ms);
            *case
                .findings
                .entry(said.finding.cause.detector())
                .or_default() += 1;
        }
        Ok(())
    }
}

/// Replays imported records. `failed` names the source that cannot be read on.
pub fn import(
    sources: &mut Merged<'_>,
    settings: Settings,
    failed: &dyn Fn(usize) -> String,
    tell: Tell<'_>,
    report: Report<'_>,
) -> Result<Outcome> {
    let mut names = intake::Names::default();
    let mut taken = Taken::default();
    let mut watch = Watch::new(settings);
    let mut replay = Replay::new(tell, report);
    let offset_minutes = settings.offset_minutes;
    loop {
        let more = sources.next(&mut names, &mut taken);
        if !more.map_err(|(at, error)| anyhow::anyhow!("{}: {error}", failed(at)))? {
            break;
        }
        watch.step(&taken.record(), &mut replay.said);
        replay.count();
        if !replay.said.is_empty() {
            replay.told(&OfImport {
                names: &names,
                offset_minutes,
            })?;
        }
    }
    watch.finish(&mut replay.said);
    replay.told(&OfImport {
        names: &names,
        offset_minutes,
    })?;
    replay.outcome.skipped = watch.skipped();
    Ok(replay.outcome)
}

/// Replays a ledger as detection follows it live; with `lists`, what stands beside records is opened.
pub fn ledger(
    folder: &Folder,
    lists: Option<Arc<dyn ListSealer>>,
    settings: Settings,
    tell: Tell<'_>,
    report: Report<'_>,
) -> Result<Outcome> {
    let path = folder.ledger();
    let reader = match lists {
        Some(_) => Reader::with_lists(&path),
        None => Reader::open(&path),
    };
    let mut reader = reader.context("the ledger cannot be read")?;
    let mut feed = Feed::new(lists, settings);
    let mut replay = Replay::new(tell, report);
    let offset_minutes = settings.offset_minutes;
    let names = |feed: &Feed, replay: &mut Replay<'_>| {
        replay.told(&OfLedger {
            state: &feed.state,
            adapter: &feed.adapter,
            offset_minutes,
        })
    };
    while let Some(entry) = reader.next_entry()? {
        feed.take(&entry, &mut replay.said)?;
        replay.count();
        if !replay.said.is_empty() {
            names(&feed, &mut replay)?;
        }
    }
    feed.finish(&mut replay.said);
    names(&feed, &mut replay)?;
    replay.outcome.skipped = feed.watch.skipped();
    replay.outcome.closed = feed.closed;
    Ok(replay.outcome)
}
