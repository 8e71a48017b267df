//! The link to the gate: reports go out in order and are kept until the gate has them on its disk;
//! policies come in. It reconnects for ever, slower and slower.
//!
//! One thread of its own, so that a network that stalls holds up nothing that enforces. What it
//! sends is decided by the gate's acknowledgements alone: sending twice is harmless, leaving out is
//! seen.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use terminal::Digest;
use terminal::wire::{
    ALPN_TERMINAL, FRAME_BYTES_MAX, FromAgent, FromGate, Hello, Standing, frame, unframe,
};

use crate::clock::{now_ms, uptime_ms};
use crate::connection::{Connection, Got};
use crate::log::say;
use crate::queue::Queue;
use crate::tls::Identity;
use crate::wake::Bell;

/// Reports that are under way without an acknowledgement.
const WINDOW: u64 = 32;
/// Without an acknowledgement for what is under way, the connection is given up.
const SILENCE_MS_MAX: u64 = 20_000;
/// A terminal that waits for approval asks again.
const WAITING_MS: u64 = 15_000;
/// The first pause before connecting again, and the longest.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 1_000..=60_000;

/// The queue as the agent and the link share it.
#[derive(Debug)]
pub struct Reports {
    queue: Mutex<Queue>,
    /// Rung when a report was pushed.
    bell: Bell,
    /// Whether the gate takes reports now.
    online: AtomicBool,
}

impl Reports {
    /// Around a queue.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn new(queue: Queue) -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::new(queue),
            bell: Bell::new()?,
            online: AtomicBool::new(false),
        })
    }

    /// The queue. A thread that panicked left it whole: it is changed after the disk has it.
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to send.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Whether the gate takes reports now.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }
}

/// What the gate said that concerns the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// What this terminal is to the gate, and how often it wants a heartbeat.
    Welcome(Standing, u32),
    /// A policy to take.
    Policy(String),
}

/// All that the link needs.
pub struct Link {
    /// `host:port`.
    pub address: String,
    /// The gate's certificate.
    pub pin: Digest,
    /// What the terminal calls itself.
    pub name: String,
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// The terminal's key.
    pub identity: Arc<Identity>,
    /// What is sent.
    pub reports: Arc<Reports>,
    /// Where news go.
    pub tell: Box<dyn Fn(News) + Send>,
}

/// A conversation with the gate.
struct Talk {
    connection: Connection,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// The last report that was sent.
    sent: u64,
    /// Whether the gate takes reports.
    approved: bool,
    /// When something was last heard that went on.
    progress_ms: u64,
    /// When the terminal asks again whether it was approved.
    ask_again_ms: Option<u64>,
}

impl Link {
    /// Talks to the gate, for as long as the process lives.
    pub fn run(self) {
        let mut pause = *PAUSE_MS.start();
        loop {
            let started = uptime_ms();
            let mut welcomed = false;
            let ended = self.talk(&mut welcomed);
            self.reports.online.store(false, Ordering::Relaxed);
            if let Err(error) = ended {
                let error = if error.kind() == io::ErrorKind::UnexpectedEof {
                    io::Error::other("the gate ended the connection without a word")
                } else {
                    error
                };
                say(
                    "link",
                    &[
                        ("state", "down".into()),
                        ("reason", error.to_string().into()),
                    ],
                );
            }
            if welcomed && uptime_ms().saturating_sub(started) > *PAUSE_MS.end() {
                pause = *PAUSE_MS.start();
            }
            // Terminals that lost one gate at one moment do not come back at one moment.
            let spread = u64::from(self.identity.id.first().copied().unwrap_or(0)) * pause / 1024;
            std::thread::sleep(Duration::from_millis(pause + spread));
            pause = if welcomed {
                *PAUSE_MS.start()
            } else {
                (pause * 2).min(*PAUSE_MS.end())
            };
        }
    }

    fn talk(&self, welcomed: &mut bool) -> io::Result<()> {
        let config = self
            .identity
            .client(self.pin, ALPN_TERMINAL)
            .map_err(io::Error::other)?;
        let mut talk = Talk {
            connection: Connection::open(&self.address, config)?,
            incoming: Vec::new(),
            outgoing: self.hello()?,
            sent: 0,
            approved: false,
            progress_ms: uptime_ms(),
            ask_again_ms: None,
        };
        loop {
            self.fill(&mut talk)?;
            talk.flush()?;
            let reading = [self.reports.bell.as_fd()];
            if talk.connection.wait(&reading, 1000)?.contains(&true) {
                self.reports.bell.clear();
            }
            talk.connection.turn()?;
            let end = talk.receive()?;
            while let Some(message) = talk.next()? {
                *welcomed |= matches!(message, FromGate::Welcome { .. });
                self.take(&mut talk, message);
            }
            let now = uptime_ms();
            if end || talk.ask_again_ms.is_some_and(|at| now >= at) {
                return Ok(());
            }
            let waits = !talk.approved || talk.sent > self.acknowledged();
            let silent = now.saturating_sub(talk.progress_ms);
            if waits && talk.ask_again_ms.is_none() && silent > SILENCE_MS_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the gate does not acknowledge",
                ));
            }
        }
    }

    fn hello(&self) -> io::Result<Vec<u8>> {
        let (next, last) = self.reports.queue().oldest();
        let hello = FromAgent::Hello(Hello {
            name: self.name.clone(),
            boot: self.boot,
            next,
            last,
            at_ms: now_ms(),
            uptime_ms: uptime_ms(),
        });
        frame(&hello.encode()).map_err(io::Error::other)
    }

    fn acknowledged(&self) -> u64 {
        let queue = self.reports.queue();
        queue.next() - 1 - queue.waiting()
    }

    /// Puts reports on their way, as far as the window goes.
    fn fill(&self, talk: &mut Talk) -> io::Result<()> {
        if !talk.approved {
            return Ok(());
        }
        let reports = {
            let queue = self.reports.queue();
            let acknowledged = queue.next() - 1 - queue.waiting();
            let room = (acknowledged + WINDOW).saturating_sub(talk.sent);
            if room == 0 || talk.sent + 1 >= queue.next() {
                return Ok(());
            }
            queue.after(talk.sent, usize::try_from(room).unwrap_or(1))?
        };
        if talk.sent == self.acknowledged() {
            talk.progress_ms = uptime_ms();
        }
        for (sequence, bytes) in reports {
            let message = FromAgent::Report(bytes).encode();
            talk.outgoing
                .extend(frame(&message).map_err(io::Error::other)?);
            talk.sent = sequence;
        }
        Ok(())
    }

    fn take(&self, talk: &mut Talk, message: FromGate) {
        talk.progress_ms = uptime_ms();
        match message {
            FromGate::Welcome {
                standing,
                acknowledged,
                heartbeat_ms,
                ..
            } => {
                let next = {
                    let mut queue = self.reports.queue();
                    queue.acknowledge(acknowledged);
                    queue.next()
                };
                if acknowledged >= next {
                    say(
                        "link",
                        &[
                            ("state", "forgot".into()),
                            ("acknowledged", acknowledged.into()),
                        ],
                    );
                }
                talk.sent = acknowledged;
                talk.approved = standing == Standing::Approved;
                if !talk.approved {
                    talk.ask_again_ms = Some(uptime_ms() + WAITING_MS);
                }
                self.reports.online.store(talk.approved, Ordering::Relaxed);
                say(
                    "link",
                    &[("state", format!("{standing:?}").to_lowercase().into())],
                );
                (self.tell)(News::Welcome(standing, heartbeat_ms));
            }
            FromGate::Policy { text } => (self.tell)(News::Policy(text)),
            FromGate::Ack { sequence } => self.reports.queue().acknowledge(sequence),
        }
    }
}

impl Talk {
    fn flush(&mut self) -> io::Result<()> {
        let taken = self.connection.write(&self.outgoing)?;
        self.outgoing.drain(..taken);
        self.connection.turn()
    }

    /// Takes what came; whether the gate ended.
    fn receive(&mut self) -> io::Result<bool> {
        while self.incoming.len() <= 4 + FRAME_BYTES_MAX {
            match self.connection.read(&mut self.incoming)? {
                Got::Some => {}
                Got::Nothing => return Ok(false),
                Got::End => return Ok(true),
            }
        }
        Ok(false)
    }

    fn next(&mut self) -> io::Result<Option<FromGate>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let Some((message, taken)) = unframe(&self.incoming).map_err(invalid)? else {
            return Ok(None);
        };
        let message = FromGate::decode(message).map_err(invalid)?;
        self.incoming.drain(..taken);
        Ok(Some(message))
    }
}
