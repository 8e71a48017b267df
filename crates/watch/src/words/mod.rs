//! Findings in plain words: one catalogue, two languages.
//!
//! [`sentence`] is what a manager reads, [`arithmetic`] how it was come by, [`sparkline`] the small
//! chart beside it. A new [`Cause`] does not compile without its words. Nothing here decides anything.

mod english;
mod japanese;
mod number;
#[cfg(test)]
mod tests;

use event::{ActorId, ClientId};

use crate::finding::{Cause, Finding};
use crate::record::TerminalId;

/// The languages.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese.
    Japanese,
}

/// What stands for numbers.
pub trait Names {
    /// An actor's login.
    fn actor(&self, actor: ActorId) -> String;
    /// A client's name.
    fn client(&self, client: ClientId) -> String;
    /// A terminal's address or name.
    fn terminal(&self, terminal: TerminalId) -> String;
    /// Minutes that the place's clocks are ahead of UTC.
    fn offset_minutes(&self) -> i32 {
        540
    }
}

/// A finding with the names in it.
struct Told<'a> {
    finding: &'a Finding,
    names: &'a dyn Names,
}

impl Told<'_> {
    fn actor(&self) -> Option<String> {
        self.finding.actor.map(|actor| self.names.actor(actor))
    }

    fn client(&self) -> Option<String> {
        self.finding.client.map(|client| self.names.client(client))
    }

    /// The others whom it concerns.
    fn others(&self, between: &str) -> String {
        let others = self.finding.others.iter();
        let others: Vec<String> = others.map(|actor| self.names.actor(*actor)).collect();
        others.join(between)
    }

    fn clock(&self, unix_ms: u64) -> String {
        number::clock(unix_ms, self.names.offset_minutes())
    }
}

/// What was found, in one sentence with the numbers in it.
pub fn sentence(finding: &Finding, names: &dyn Names, language: Language) -> String {
    let told = Told { finding, names };
    match language {
        Language::English => english::sentence(&told),
        Language::Japanese => japanese::sentence(&told),
    }
}

/// How it was come by, in two or three lines: what was counted, against what, how surprising it is.
pub fn arithmetic(finding: &Finding, names: &dyn Names, language: Language) -> Vec<String> {
    let told = Told { finding, names };
    match language {
        Language::English => english::arithmetic(&told),
        Language::Japanese => japanese::arithmetic(&told),
    }
}

/// Date and clock of a place, `2026-11-22 18:43`, so many minutes ahead of UTC.
pub fn clock(unix_ms: u64, offset_minutes: i32) -> String {
    number::clock(unix_ms, offset_minutes)
}

/// `41,200`.
pub fn thousands(number: u64) -> String {
    number::thousands(number)
}

/// Counts as a row of bars, from nothing (`·`) to the greatest (`█`).
pub fn sparkline(counts: &[u32]) -> String {
    const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let max = u64::from(counts.iter().copied().max().unwrap_or(0)).max(1);
    let bar = |count: &u32| BARS[(u64::from(*count) * 8).div_ceil(max) as usize];
    counts.iter().map(bar).collect()
}

/// Whether a cause is told whatever the budget of cases.
fn always(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Chain { .. } | Cause::Silence { .. } | Cause::Canary { .. }
    )
}
