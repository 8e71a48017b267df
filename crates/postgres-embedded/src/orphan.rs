//! Stopping what a killed owner left behind.
//!
//! A process belongs to a database exactly if its working folder is the data folder: PostgreSQL
//! goes there at start, and so do the programs that its superuser runs from it. The process id in
//! `postmaster.pid` alone proves nothing, for ids are used again. Only called while the owner's
//! lock is held, so no process found here has a living owner.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use crate::ServerError;

/// How often is looked whether the processes are gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Stops every process of the database in `data`: first in order, then at once, then by force,
/// each for at most `step_max`. Removes the `postmaster.pid` of a server that is gone, whose id
/// another process may have by now.
pub(crate) async fn stop(data: &Path, step_max: Duration) -> Result<(), ServerError> {
    let pid_file = data.join("postmaster.pid");
    let postmaster = std::fs::read_to_string(&pid_file)
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse::<i32>().ok());
    // The postmaster takes its children along; a child without one gets the signal itself.
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        let all = processes_in(data);
        let alive = all
            .iter()
            .any(|pid| Some(pid.as_raw_nonzero().get()) == postmaster);
        for pid in all {
            let is_postmaster = Some(pid.as_raw_nonzero().get()) == postmaster;
            if signal == Signal::KILL || is_postmaster || !alive {
                send(pid, data, signal);
            }
        }
        let deadline = Instant::now() + step_max;
        while !processes_in(data).is_empty() && Instant::now() < deadline {
            sleep(LOOK_EVERY).await;
        }
    }
    if !processes_in(data).is_empty() {
        return Err(ServerError::Deadline {
            what: "end the server that a killed process left behind",
            limit: step_max,
        });
    }
    match std::fs::remove_file(&pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ServerError::file("remove", pid_file)(error))
        }
        _ => Ok(()),
    }
}

/// Signals the process if it is (still) one of the database's: the descriptor is taken first, so
/// that a process that gets the same id meanwhile is not hit.
fn send(pid: Pid, data: &Path, signal: Signal) {
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if works_in(pid.as_raw_nonzero().get(), data) {
        // It may have ended: then there is nothing to do.
        let _ = pidfd_send_signal(handle, signal);
    }
}

fn works_in(pid: i32, data: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}

/// The processes whose working folder is `data`, in no order.
fn processes_in(data: &Path) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| works_in(*pid, data))
        .filter_map(Pid::from_raw)
        .collect()
}
