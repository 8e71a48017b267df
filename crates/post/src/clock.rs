//! Clocks. Intervals are measured by the time since the kernel's start, which nobody can set and
//! which goes on in sleep; the wall clock is only written into reports.

use nix::time::{ClockId, clock_gettime};

/// Ms since the kernel's start, sleep included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn uptime_ms() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

/// Ms since 1970 UTC, by the machine's clock.
#[must_use]
pub fn now_ms() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> u64 {
    clock_gettime(clock)
        .map(|time| {
            let (seconds, nanos) = (time.tv_sec(), time.tv_nsec());
            u64::try_from(seconds).unwrap_or(0) * 1000
                + u64::try_from(nanos).unwrap_or(0) / 1_000_000
        })
        .unwrap_or(0)
}
