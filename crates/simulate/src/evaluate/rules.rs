//! The two rules that anybody would write.

use event::ActorId;
use watch::{Record, What};

use super::CLOSED_AFTER_MS;
use crate::calendar::{DAY_MS, OFFSET_MINUTES};

/// Days at work before a mean says something.
const DAYS_MIN: u64 = 30;

/// A rule over the subjects that an actor is shown in a day without a grant.
pub(super) struct Rule {
    /// The most; `None`: the actor's mean and three standard deviations.
    most: Option<u32>,
    actors: Vec<Counts>,
    /// Of everybody: the measure of who has too few days of his own.
    all: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    day: u64,
    today: u64,
    /// Days before, the sum of their subjects, and of their squares.
    days: u64,
    sum: u64,
    squares: u64,
    /// A case is open until then.
    open_ms: u64,
}

impl Rule {
    pub(super) fn sigma() -> Self {
        Self {
            most: None,
            actors: Vec::new(),
            all: Counts::default(),
        }
    }

    pub(super) fn fixed(most: u32) -> Self {
        Self {
            most: Some(most),
            actors: Vec::new(),
            all: Counts::default(),
        }
    }

    /// Whom it opens a case about.
    pub(super) fn record(&mut self, record: &Record<'_>) -> Option<ActorId> {
        let What::Exposure(exposure) = record.what else {
            return None;
        };
        if exposure.subjects == 0 || exposure.grant.is_some() {
            return None;
        }
        let place = exposure.actor.0 as usize;
        if place >= self.actors.len() {
            self.actors.resize(place + 1, Counts::default());
        }
        let counts = &mut self.actors[place];
        let day = (record.at_ms + OFFSET_MINUTES * 60_000) / DAY_MS;
        if day != counts.day {
            self.all.today = counts.today;
            self.all.end_day();
            counts.end_day();
            counts.day = day;
        }
        counts.today += u64::from(exposure.subjects);
        let over = match self.most {
            Some(most) => counts.today > u64::from(most),
            None if counts.days < DAYS_MIN => self.all.beyond_three_sigma(counts.today),
            None => counts.beyond_three_sigma(counts.today),
        };
        if !over || record.at_ms < counts.open_ms {
            return None;
        }
        counts.open_ms = record.at_ms + CLOSED_AFTER_MS;
        Some(exposure.actor)
    }
}

impl Counts {
    fn end_day(&mut self) {
        if self.today > 0 {
            self.days += 1;
            self.sum += self.today;
            self.squares += self.today * self.today;
        }
        self.today = 0;
    }

    /// (x - mean)^2 > 9 variance, times the square of the days.
    fn beyond_three_sigma(&self, today: u64) -> bool {
        if self.days < DAYS_MIN {
            return false;
        }
        let (days, sum) = (u128::from(self.days), u128::from(self.sum));
        let Some(above) = (days * u128::from(today)).checked_sub(sum) else {
            return false;
        };
        above * above > 9 * (days * u128::from(self.squares) - sum * sum)
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn three_sigma_is_three_sigma() {
        let mut counts = Counts::default();
        // Mean 20, standard deviation 2.
        for n in 0..100 {
            counts.today = if n % 2 == 0 { 18 } else { 22 };
            counts.end_day();
        }
        assert!(!counts.beyond_three_sigma(26));
        assert!(counts.beyond_three_sigma(27));
        assert!(!Counts::default().beyond_three_sigma(1_000), "no days yet");
    }
}
