//! Time: the wall clock for people, elapsed time for budgets.
//!
//! Elapsed time is a ledger's own: it starts at 0 with the first record and grows with
//! CLOCK_BOOTTIME (suspend counts). Over a restart it grows by BOOTTIME's difference within the
//! same boot, otherwise by the wall clock's step forward, which is recorded, and is credited at
//! most once in an hour of elapsed time: setting the clock forward a day frees no budget.
//!
//! Invariant: neither time goes back in a ledger, whatever the clocks do.

use std::time::{SystemTime, UNIX_EPOCH};

/// Elapsed time between two credits of the wall clock's step, in ms.
pub const CREDIT_INTERVAL_MS: u64 = 60 * 60 * 1000;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// ms since the Unix epoch.
    fn wall_ms(&self) -> u64;
    /// ms since the machine started, suspend included.
    fn boot_ms(&self) -> u64;
    /// The kernel's id of this boot.
    fn boot_id(&self) -> [u8; 16];
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    boot_id: [u8; 16],
}

impl SystemClock {
    /// Reads the boot id.
    ///
    /// # Errors
    /// If the kernel does not tell its boot id.
    pub fn new() -> std::io::Result<Self> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&digits, 16)
            .map(|id| Self {
                boot_id: id.to_be_bytes(),
            })
            .map_err(std::io::Error::other)
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    fn boot_ms(&self) -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
        seconds.saturating_mul(1000).saturating_add(millis)
    }

    fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }
}

/// What the ledger's last frames say about time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LastTimes {
    /// Wall clock of the last frame, ms.
    pub wall_ms: u64,
    /// Elapsed time of the last frame, ms.
    pub elapsed_ms: u64,
    /// Boot id, BOOTTIME and elapsed time of the last start; `None` in a new ledger.
    pub start: Option<StartTimes>,
    /// Elapsed time at the end of the last credit.
    pub credited_at_ms: Option<u64>,
    /// How much of elapsed time was credited, ms: what is left was measured, whatever the wall clock
    /// was set to.
    pub credited_ms: u64,
}

/// What a `Started` record says about time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartTimes {
    /// The boot.
    pub boot_id: [u8; 16],
    /// CLOCK_BOOTTIME then, ms.
    pub boot_ms: u64,
    /// Elapsed time then, ms.
    pub elapsed_ms: u64,
}

/// What a restart did to time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resumed {
    /// Elapsed time now, ms.
    pub elapsed_ms: u64,
    /// The wall clock's step that was credited, ms; 0 within the same boot.
    pub credit_ms: u64,
    /// The wall clock's step that was not credited, ms; negative: it went back.
    pub wall_step_ms: i64,
}

/// Elapsed time over a restart.
pub fn resume(last: &LastTimes, wall_ms: u64, boot_id: [u8; 16], boot_ms: u64) -> Resumed {
    let Some(start) = last.start else {
        return Resumed {
            elapsed_ms: last.elapsed_ms,
            credit_ms: 0,
            wall_step_ms: 0,
        };
    };
    let step = difference(wall_ms, last.wall_ms);
    if start.boot_id == boot_id && boot_ms >= start.boot_ms {
        let elapsed_ms = start
            .elapsed_ms
            .saturating_add(boot_ms - start.boot_ms)
            .max(last.elapsed_ms);
        let passed = difference(elapsed_ms, last.elapsed_ms);
        return Resumed {
            elapsed_ms,
            credit_ms: 0,
            wall_step_ms: step.saturating_sub(passed),
        };
    }
    let due = last
        .credited_at_ms
        .is_none_or(|at| last.elapsed_ms.saturating_sub(at) >= CREDIT_INTERVAL_MS);
    match u64::try_from(step) {
        Ok(credit_ms) if due => Resumed {
            elapsed_ms: last.elapsed_ms.saturating_add(credit_ms),
            credit_ms,
            wall_step_ms: 0,
        },
        _ => Resumed {
            elapsed_ms: last.elapsed_ms,
            credit_ms: 0,
            wall_step_ms: step,
        },
    }
}

fn difference(a: u64, b: u64) -> i64 {
    if a >= b {
        i64::try_from(a - b).unwrap_or(i64::MAX)
    } else {
        i64::try_from(b - a).map_or(i64::MIN, |step| -step)
    }
}

/// The times of this run: both only grow.
pub(crate) struct Times {
    clock: std::sync::Arc<dyn Clock>,
    /// Elapsed time and BOOTTIME at the start of this run.
    elapsed_at_start_ms: u64,
    boot_at_start_ms: u64,
    wall_ms: u64,
    elapsed_ms: u64,
    /// Wall clock and BOOTTIME when a step was looked for last.
    looked: (u64, u64),
}

impl Times {
    pub(crate) fn new(
        clock: std::sync::Arc<dyn Clock>,
        last: &LastTimes,
        resumed: &Resumed,
        boot_ms: u64,
    ) -> Self {
        let looked = (clock.wall_ms(), clock.boot_ms());
        Self {
            clock,
            looked,
            elapsed_at_start_ms: resumed.elapsed_ms,
            boot_at_start_ms: boot_ms,
            wall_ms: last.wall_ms,
            elapsed_ms: resumed.elapsed_ms,
        }
    }

    /// How far the wall clock went beyond BOOTTIME since this was asked last, if by more than
    /// `allowed` ms.
    pub(crate) fn step(&mut self, allowed: i64) -> Option<i64> {
        let now = (self.clock.wall_ms(), self.clock.boot_ms());
        let wall = difference(now.0, self.looked.0);
        let step = wall.saturating_sub(difference(now.1, self.looked.1));
        self.looked = now;
        (step.abs() > allowed).then_some(step)
    }

    /// (wall, elapsed) now, in ms.
    pub(crate) fn now(&mut self) -> (u64, u64) {
        let passed = self.clock.boot_ms().saturating_sub(self.boot_at_start_ms);
        let elapsed = self.elapsed_at_start_ms.saturating_add(passed);
        self.elapsed_ms = self.elapsed_ms.max(elapsed);
        self.wall_ms = self.wall_ms.max(self.clock.wall_ms());
        (self.wall_ms, self.elapsed_ms)
    }
}
