//! The door for drivers on this terminal: what connects here is carried to the gate over TLS with
//! the terminal's key, so that the gate knows from which terminal a session comes. The bytes are not
//! looked at.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::poll::PollFlags;
use rustls::ClientConfig;

use crate::clock::uptime_ms;
use crate::connection::{Connection, Got};
use crate::log::say;

/// Sessions at once; one more waits in the listener's queue.
const SESSIONS_MAX: usize = 64;
/// A session without a byte either way ends after so long: more than a shift, and less than for ever.
pub const IDLE_MS_MAX: u64 = 12 * 3600 * 1000;
/// How often it is looked whether it is over.
const WAIT_MS_MAX: u64 = 60_000;
/// What is read from a driver at once, and what waits to be written to it at most.
const BUFFER_BYTES: usize = 64 << 10;

/// The listener and where its connections go.
pub struct Tunnel {
    /// Bound to an address of this machine.
    pub listener: TcpListener,
    /// `host:port` of the gate.
    pub address: String,
    /// TLS with the protocol of sessions.
    pub config: Arc<ClientConfig>,
    /// A session in which no byte moves for so long ends; [`IDLE_MS_MAX`].
    pub idle_ms_max: u64,
}

impl Tunnel {
    /// Accepts for as long as the process lives.
    pub fn run(self) {
        let open = Arc::new(AtomicUsize::new(0));
        for driver in self.listener.incoming() {
            let Ok(driver) = driver else {
                // Out of descriptors: those who are here have to go first.
                std::thread::sleep(std::time::Duration::from_millis(100));
                continue;
            };
            if open.load(Ordering::Acquire) >= SESSIONS_MAX {
                say("tunnel", &[("refused", "too many sessions at once".into())]);
                continue;
            }
            open.fetch_add(1, Ordering::AcqRel);
            let (address, config) = (self.address.clone(), self.config.clone());
            let idle_ms_max = self.idle_ms_max;
            let counted = Counted(open.clone());
            let started = std::thread::Builder::new()
                .name("session".to_owned())
                .stack_size(256 << 10)
                .spawn(move || {
                    let _counted = counted;
                    if let Err(error) = carry(&driver, &address, config, idle_ms_max) {
                        say("tunnel", &[("ended", error.to_string().into())]);
                    }
                    let _ = driver.shutdown(Shutdown::Both);
                });
            if let Err(error) = started {
                say("tunnel", &[("refused", error.to_string().into())]);
            }
        }
    }
}

/// Counts a session out, however its thread ends or does not start.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Carries bytes both ways until both sides ended, or nothing moves any more. Waits for what can go on
/// and nothing else, so that a side that does not read costs nothing.
fn carry(
    driver: &TcpStream,
    address: &str,
    config: Arc<ClientConfig>,
    idle_ms_max: u64,
) -> io::Result<()> {
    const GONE: PollFlags = PollFlags::POLLERR
        .union(PollFlags::POLLHUP)
        .union(PollFlags::POLLNVAL);
    let mut gate = Connection::open(address, config)?;
    driver.set_nodelay(true)?;
    driver.set_nonblocking(true)?;
    let (mut to_gate, mut to_driver) = (Vec::new(), Vec::new());
    let (mut driver_ended, mut gate_ended, mut said_end) = (false, false, false);
    let mut moved_ms = uptime_ms();
    loop {
        if !driver_ended && to_gate.is_empty() {
            driver_ended = read_some(driver, &mut to_gate)?;
        }
        let mut moved = !to_gate.is_empty();
        let taken = gate.write(&to_gate)?;
        to_gate.drain(..taken);
        if driver_ended && to_gate.is_empty() && !said_end {
            gate.end();
            said_end = true;
        }
        gate.turn()?;
        while !gate_ended && to_driver.len() < BUFFER_BYTES {
            match gate.read(&mut to_driver)? {
                Got::Some => moved = true,
                Got::Nothing => break,
                Got::End => gate_ended = true,
            }
        }
        moved |= write_some(driver, &mut to_driver)?;
        if gate_ended && to_driver.is_empty() {
            return Ok(());
        }
        let now = uptime_ms();
        if moved {
            moved_ms = now;
        } else if now.saturating_sub(moved_ms) >= idle_ms_max {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing was said for hours",
            ));
        }
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, !driver_ended && to_gate.is_empty());
        events.set(PollFlags::POLLOUT, !to_driver.is_empty());
        let room = to_driver.len() < BUFFER_BYTES && !gate_ended;
        let ready = gate.wait_for(
            room,
            &[(driver.as_fd(), events)],
            WAIT_MS_MAX.min(idle_ms_max),
        )?;
        // Both directions are closed: nothing that is still to be carried would arrive.
        let gone = ready.iter().any(|it| it.intersects(GONE));
        if gone && !events.contains(PollFlags::POLLIN) {
            return Ok(());
        }
    }
}

fn read_some(mut from: &TcpStream, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; BUFFER_BYTES / 4];
    match from.read(&mut buffer) {
        Ok(0) => Ok(true),
        Ok(count) => {
            into.extend_from_slice(buffer.get(..count).unwrap_or_default());
            Ok(false)
        }
        Err(error) if is_later(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether something was taken.
fn write_some(mut to: &TcpStream, from: &mut Vec<u8>) -> io::Result<bool> {
    let before = from.len();
    while !from.is_empty() {
        match to.write(from) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                from.drain(..count);
            }
            Err(error) if is_later(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(from.len() < before)
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
