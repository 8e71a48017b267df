//! The gate's view of one terminal's reports: each continues the one before, or it is said why not.
//!
//! A fold without clock or storage: [`Chain`] is what the gate keeps (its records give it back), and
//! `take` is given the gate's time.

use std::collections::VecDeque;

use crate::heartbeat::{Guard, Heartbeat};
use crate::report::{Report, Said, digest};
use crate::wire::Hello;
use crate::{Digest, Malformed};

/// How far a terminal's clock may be from the gate's, and how far it may be moved within one boot.
pub const CLOCK_MS_MAX: u64 = 5 * 60 * 1000;
/// Digests of the last reports that are kept, to tell a repeated report from a forged one.
pub const RECENT_MAX: usize = 256;

/// What was taken of one terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Sequence number of the last report; 0: none yet.
    sequence: u64,
    /// Its digest; zeros: none yet.
    last: Digest,
    /// Digests of the last reports, oldest first; ends with `last`.
    recent: VecDeque<Digest>,
    /// The last report's times; what contradictions are held against.
    seen: Option<Seen>,
    /// Boot and uptime at the connection's Hello: what was made later comes at once.
    live: Option<([u8; 16], u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    boot: [u8; 16],
    uptime_ms: u64,
    /// Clock less uptime at the boot's first report: the moment of the boot.
    booted_ms: i128,
    refused: u64,
    attached: u64,
    guarded: u64,
    unclean_ends: u64,
    /// The last report said that the agent ends.
    stopped: bool,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It continues the chain. It has to be durable before it is acknowledged.
    New {
        /// The report.
        report: Box<Report>,
        /// What in it contradicts what was said before.
        contradictions: Vec<Contradiction>,
        /// It was made during this connection. Only a live heartbeat says how the terminal is now.
        live: bool,
    },
    /// The same report was taken before; acknowledge again.
    Again,
}

/// Why a report does not continue the chain. The connection ends; each is a finding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No report.
    #[error("the report cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// Reports are missing.
    #[error("report {expected} is missing; {found} came")]
    Gap {
        /// The next in order.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Two histories.
    #[error("report {0} differs from the one that was taken, or follows another one")]
    Fork(u64),
    /// A report from far back.
    #[error("report {0} was acknowledged long ago")]
    Replay(u64),
    /// The terminal forgot its history: installed again, or put back to an old state.
    #[error("the terminal wants to continue at report {next}; {taken} were taken")]
    Forgot {
        /// Where it wants to go on.
        next: u64,
        /// The last that was taken.
        taken: u64,
    },
    /// The terminal's clock is away from the gate's.
    #[error("the terminal's clock is {0} ms away from the gate's")]
    Clock(i64),
}

/// Something that cannot be true together with what was said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Contradiction {
    /// Another boot, and nobody said that the agent started.
    #[error("another boot without a start of the agent")]
    BootWithoutStart,
    /// The first report of all is no start.
    #[error("the first report is no start of the agent")]
    FirstNotStarted,
    /// The heartbeat names another boot than its report.
    #[error("the heartbeat is of another boot than its report")]
    BootOfHeartbeat,
    /// The time since the start went back within a boot.
    #[error("the time since the start went back")]
    UptimeBack,
    /// A counter went down within a boot.
    #[error("the counter `{0}` went down within a boot")]
    CounterDown(&'static str),
    /// The clock was moved within a boot, by ms.
    #[error("the clock was moved by {0} ms")]
    ClockMoved(i64),
    /// The clock of a live report is away from the gate's, by ms.
    #[error("the clock is {0} ms away from the gate's")]
    ClockAway(i64),
    /// A report from the future.
    #[error("the report is {0} ms in the future")]
    Future(i64),
    /// The agent started again without an end, and calls it clean.
    #[error("a start that calls the end before clean, and there was none")]
    EndNotSaid,
    /// Reports after the agent said that it ends, without a start.
    #[error("a report after the agent's end")]
    AfterEnd,
}

impl Chain {
    /// The last report that was taken; 0: none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Its digest; zeros: none.
    #[must_use]
    pub fn last(&self) -> Digest {
        self.last
    }

    /// The chain after reports that the gate's records hold: the last one's number, and the digests
    /// of the last ones, oldest first ([`Self::recent`]). What was contradicted across the restart is
    /// not seen.
    #[must_use]
    pub fn resume(sequence: u64, recent: impl IntoIterator<Item = Digest>) -> Self {
        let mut chain = Self {
            sequence,
            ..Self::default()
        };
        for digest in recent {
            chain.remember(digest);
        }
        chain
    }

    /// Digests of the last reports, oldest first, at most [`RECENT_MAX`].
    pub fn recent(&self) -> impl Iterator<Item = &Digest> {
        self.recent.iter()
    }

    fn remember(&mut self, digest: Digest) {
        self.last = digest;
        self.recent.push_back(digest);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// The digest of the report with this number, while it is remembered; zeros for number 0.
    fn digest_of(&self, sequence: u64) -> Option<Digest> {
        let back = usize::try_from(self.sequence.checked_sub(sequence)?).ok()?;
        if sequence == 0 && back <= self.recent.len() {
            return Some([0; 32]);
        }
        let at = self.recent.len().checked_sub(back.saturating_add(1))?;
        self.recent.get(at).copied()
    }

    /// Whether what the agent says at the start of a connection fits what was taken. From here on
    /// reports that were made after it are live.
    ///
    /// # Errors
    /// The terminal forgot reports, has another history, or a clock that is away.
    pub fn hello(&mut self, hello: &Hello, now_ms: u64) -> Result<(), ChainError> {
        self.live = None;
        let before = hello.next.checked_sub(1).unwrap_or(u64::MAX);
        if before > self.sequence {
            return Err(ChainError::Gap {
                expected: self.sequence.saturating_add(1),
                found: hello.next,
            });
        }
        match self.digest_of(before) {
            Some(digest) if digest == hello.last => {}
            Some(_) => return Err(ChainError::Fork(before)),
            None => {
                return Err(ChainError::Forgot {
                    next: hello.next,
                    taken: self.sequence,
                });
            }
        }
        let away = between(hello.at_ms, now_ms);
        if away.unsigned_abs() > CLOCK_MS_MAX {
            return Err(ChainError::Clock(away));
        }
        self.live = Some((hello.boot, hello.uptime_ms));
        Ok(())
    }

    /// Takes a report's bytes.
    ///
    /// # Errors
    /// It does not continue the chain; the chain is as it was.
    pub fn take(&mut self, bytes: &[u8], now_ms: u64) -> Result<Taken, ChainError> {
        let report = Report::decode(bytes)?;
        let digest = digest(bytes);
        if report.sequence <= self.sequence {
            return match self.digest_of(report.sequence) {
                Some(it) if it == digest && report.sequence > 0 => Ok(Taken::Again),
                Some(_) => Err(ChainError::Fork(report.sequence)),
                None => Err(ChainError::Replay(report.sequence)),
            };
        }
        // Greater than another u64: one more does not overflow.
        if report.sequence != self.sequence + 1 {
            return Err(ChainError::Gap {
                expected: self.sequence + 1,
                found: report.sequence,
            });
        }
        if report.before != self.last {
            return Err(ChainError::Fork(report.sequence));
        }
        let (contradictions, live) = self.hold(&report, now_ms);
        self.sequence = report.sequence;
        self.remember(digest);
        Ok(Taken::New {
            report: Box::new(report),
            contradictions,
            live,
        })
    }

    fn hold(&mut self, report: &Report, now_ms: u64) -> (Vec<Contradiction>, bool) {
        let mut out = Vec::new();
        let started = matches!(report.body, Said::Started { .. });
        if self.sequence == 0 && !started {
            out.push(Contradiction::FirstNotStarted);
        }
        let live = self
            .live
            .is_some_and(|(boot, uptime_ms)| boot == report.boot && report.uptime_ms >= uptime_ms);
        let ahead = between(report.at_ms, now_ms);
        if ahead > CLOCK_MS_MAX.cast_signed() {
            out.push(Contradiction::Future(ahead));
        } else if live && ahead < -CLOCK_MS_MAX.cast_signed() {
            out.push(Contradiction::ClockAway(ahead));
        }
        let booted_ms = i128::from(report.at_ms) - i128::from(report.uptime_ms);
        let mut seen = match self.seen.take() {
            Some(seen) => {
                seen.lives(report, started, &mut out);
                if seen.boot == report.boot {
                    seen.within_boot(report, booted_ms, started, &mut out)
                } else {
                    Seen::new(report, booted_ms)
                }
            }
            None => Seen::new(report, booted_ms),
        };
        seen.stopped = matches!(report.body, Said::Stopping);
        if let Said::Heartbeat(heartbeat) = &report.body {
            if heartbeat.boot != report.boot {
                out.push(Contradiction::BootOfHeartbeat);
            }
            seen.count(heartbeat, &mut out);
        }
        self.seen = Some(seen);
        (out, live)
    }
}

impl Seen {
    fn new(report: &Report, booted_ms: i128) -> Self {
        Self {
            boot: report.boot,
            uptime_ms: report.uptime_ms,
            booted_ms,
            refused: 0,
            attached: 0,
            guarded: 0,
            unclean_ends: 0,
            stopped: false,
        }
    }

    /// The agent's lives: a start at each boot, an end before a start that calls it clean.
    fn lives(&self, report: &Report, started: bool, out: &mut Vec<Contradiction>) {
        if self.boot != report.boot && !started {
            out.push(Contradiction::BootWithoutStart);
        } else if self.stopped && !started {
            out.push(Contradiction::AfterEnd);
        }
        if matches!(report.body, Said::Started { clean: true, .. }) && !self.stopped {
            out.push(Contradiction::EndNotSaid);
        }
    }

    fn within_boot(
        mut self,
        report: &Report,
        booted_ms: i128,
        started: bool,
        out: &mut Vec<Contradiction>,
    ) -> Self {
        if report.uptime_ms < self.uptime_ms {
            out.push(Contradiction::UptimeBack);
        }
        self.uptime_ms = report.uptime_ms;
        let moved = booted_ms - self.booted_ms;
        if moved.unsigned_abs() > u128::from(CLOCK_MS_MAX) {
            out.push(Contradiction::ClockMoved(clamp(moved)));
            self.booted_ms = booted_ms;
        }
        if started {
            // A new life may load the guard anew.
            self.guarded = 0;
        }
        self
    }

    fn count(&mut self, heartbeat: &Heartbeat, out: &mut Vec<Contradiction>) {
        let mut down = |name, before: &mut u64, now: u64| {
            if now < *before {
                out.push(Contradiction::CounterDown(name));
            }
            *before = now;
        };
        down("refused", &mut self.refused, heartbeat.refused);
        down("attached", &mut self.attached, heartbeat.attached);
        down(
            "unclean ends",
            &mut self.unclean_ends,
            heartbeat.unclean_ends.into(),
        );
        if let Guard::Pinned { refused, .. } = heartbeat.guard {
            down("guard", &mut self.guarded, refused);
        }
    }
}

fn between(a: u64, b: u64) -> i64 {
    clamp(i128::from(a) - i128::from(b))
}

fn clamp(ms: i128) -> i64 {
    i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
