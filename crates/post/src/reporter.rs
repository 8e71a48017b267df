//! Where the agent's reports go, and the counters of this boot.
//!
//! The counters live in a folder that is emptied at boot: they survive the agent, not the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use terminal::Digest;
use terminal::report::Said;

use crate::clock::{now_ms, uptime_ms};
use crate::link::Reports;
use crate::log::say;
use crate::queue::{Queue, QueueError, Stamp};

/// What was counted in this boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Attempts refused.
    pub refused: u64,
    /// Devices seen.
    pub attached: u64,
    /// Ends of the agent that it did not announce.
    pub unclean_ends: u32,
    /// Whether an agent runs, or ended without saying so.
    pub running: bool,
}

/// Takes reports.
pub struct Reporter {
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// SHA-256 of the terminal's public key; zeros before it has one.
    pub terminal: Digest,
    /// What was counted in this boot.
    pub counters: Counters,
    written: Counters,
    run: PathBuf,
    folder: PathBuf,
    bytes_max: u64,
    reports: Option<Arc<Reports>>,
    /// Reports that came while there was no queue.
    lost: u64,
}

impl Reporter {
    /// Opens the queue in `state` and the counters in `run`, and says that the agent started.
    #[must_use]
    pub fn open(state: &Path, run: &Path, bytes_max: u64, terminal: Digest) -> Self {
        let counters: Counters = fs::read(run.join("counters.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let unclean = counters.running;
        let mut reporter = Self {
            boot: boot_id(),
            terminal,
            counters: Counters {
                running: true,
                unclean_ends: counters.unclean_ends + u32::from(unclean),
                ..counters
            },
            written: Counters::default(),
            run: run.to_owned(),
            folder: state.join("queue"),
            bytes_max,
            reports: None,
            lost: 0,
        };
        reporter.retry();
        // A machine that ended took the agent with it: that is no end of the agent's own.
        let same_boot = reporter.reports.as_ref().is_some_and(|reports| {
            let queue = reports.queue();
            queue
                .found()
                .is_some_and(|it| it.boot == reporter.boot && it.body != Said::Stopping)
        });
        reporter.say(Said::Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clean: !unclean && !same_boot,
        });
        reporter.save();
        reporter
    }

    /// Opens the queue if it could not be opened before.
    pub fn retry(&mut self) {
        if self.reports.is_some() {
            return;
        }
        let mut opened = Queue::open(&self.folder, self.bytes_max);
        let changed = match &opened {
            Err(error @ QueueError::Changed { .. }) => Some(error.to_string()),
            _ => None,
        };
        if changed.is_some() {
            opened = Queue::open(&self.folder, self.bytes_max);
        }
        match opened
            .map_err(|error| error.to_string())
            .and_then(|queue| Reports::new(queue).map_err(|error| error.to_string()))
        {
            Ok(reports) => self.reports = Some(Arc::new(reports)),
            Err(error) => say("trouble", &[("what", error.into())]),
        }
        if let Some(what) = changed {
            say("tampered", &[("what", what.as_str().into())]);
            self.say(Said::Tampered { what: short(&what) });
        }
    }

    /// The queue, as the link shares it.
    #[must_use]
    pub fn reports(&self) -> Option<Arc<Reports>> {
        self.reports.clone()
    }

    /// Puts a report into the queue. What is lost is counted, there or here.
    pub fn say(&mut self, said: Said) {
        let Some(reports) = &self.reports else {
            self.lost += 1;
            return;
        };
        let stamp = Stamp {
            boot: self.boot,
            at_ms: now_ms(),
            uptime_ms: uptime_ms(),
        };
        let mut queue = reports.queue();
        let before = queue.lost();
        if self.lost > 0 {
            let lost = Said::Lost { count: self.lost };
            if matches!(queue.push(stamp, lost), Ok(Some(_))) {
                self.lost = 0;
            }
        }
        match queue.push(stamp, said) {
            Ok(Some(_)) => {}
            Ok(None) => {
                if before == 0 {
                    say(
                        "trouble",
                        &[(
                            "what",
                            "the queue has no room: reports are lost and counted".into(),
                        )],
                    );
                }
            }
            Err(error) => {
                self.lost += 1;
                say("trouble", &[("what", error.to_string().into())]);
            }
        }
        drop(queue);
        reports.ring();
    }

    /// Another bound of the queue, with another policy.
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
        if let Some(reports) = &self.reports {
            reports.queue().set_bytes_max(bytes_max);
        }
    }

    /// Reports that wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.reports
            .as_ref()
            .map_or(0, |reports| reports.queue().waiting())
    }

    /// Whether the gate takes reports now.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.reports
            .as_ref()
            .is_some_and(|reports| reports.is_online())
    }

    /// Writes the counters, if they changed.
    pub fn save(&mut self) {
        if self.counters == self.written {
            return;
        }
        let text = serde_json::to_vec(&self.counters).unwrap_or_default();
        let path = self.run.join("counters.json");
        match crate::files::replace(&path, &text) {
            Ok(()) => self.written = self.counters.clone(),
            Err(error) => say(
                "trouble",
                &[("what", format!("{}: {error}", path.display()).into())],
            ),
        }
    }

    /// Says that the agent ends on purpose.
    pub fn stop(&mut self) {
        self.say(Said::Stopping);
        self.counters.running = false;
        self.save();
    }
}

/// A text as long as a report takes.
#[must_use]
pub fn short(text: &str) -> String {
    terminal::device::clean(text, terminal::report::TEXT_BYTES_MAX)
}

/// The kernel's boot id; zeros without /proc.
fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.trim().chars().filter(|it| *it != '-').collect();
    let mut id = [0; 16];
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = digits
            .get(2 * at..2 * at + 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .unwrap_or(0);
    }
    id
}
