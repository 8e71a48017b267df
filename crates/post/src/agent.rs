//! The agent: closes the kernel, judges what is there, then what comes.
//!
//! Everything it enforces is kernel state, so that killing or stopping it opens nothing. One thread
//! judges; what it does is idempotent, and after lost events, at a start and with a new policy it
//! judges everything that is present again by the same functions.

mod ask;
mod beat;
mod disks;
mod medium;
mod rules;
mod usb;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::{Value, json};
use terminal::Digest;
use terminal::copy::ALPN_COPY;
use terminal::decide::{Before, TokenState, Verdict};
use terminal::device::{Bus, Device, Identity as Claims};
use terminal::policy::Policy;
use terminal::report::Said;
use terminal::wire::ALPN_SESSION;

use self::ask::{Asking, Note};
use crate::block::Owner;
use crate::broker::Broker;
use crate::clock::uptime_ms;
use crate::config::{Config, Gate, hex, pin};
use crate::fallback::Fallback;
use crate::fanotify::Watch;
use crate::guard::Guard;
use crate::link::Link;
use crate::log::say;
use crate::machine::Enrolled;
use crate::reporter::{Reporter, short};
use crate::sysfs::{Closing, Sysfs};
use crate::tls::Identity;
use crate::tunnel::{IDLE_MS_MAX, Tunnel};
use crate::uevent::{Action, Heard, Uevent, Uevents};
use crate::wake::Bell;

/// How often counters are read and files of the kernel are checked.
const TICK_MS: u16 = 1000;
/// What the tick calls a change that nobody here made.
const OTHERS: &str = "changed by somebody";
/// How long an ending agent waits for the gate.
const STOP_MS_MAX: u64 = 1500;
/// Stacks of threads that only carry bytes.
const THREAD_BYTES: usize = 512 << 10;
/// Events that are handled before anything else gets its turn.
const EVENTS_A_TURN_MAX: usize = 256;
/// The same of notes from other threads.
const NOTES_A_TURN_MAX: usize = 64;

/// A USB device that is present, and what was decided about it.
#[derive(Debug, Clone)]
struct Judged {
    device: Device,
    verdict: Verdict,
}

/// A disk that is present: looked up at every tick, so nothing is read for it.
#[derive(Debug, Clone)]
struct Seen {
    owner: Owner,
    bus: Bus,
    /// The USB device that it hangs from.
    usb: Option<String>,
    /// Whether there is a medium in it.
    filled: bool,
}

/// The agent's state. Owned by its one thread.
pub struct Agent {
    config: Config,
    sysfs: Sysfs,
    dev: PathBuf,
    enrolled: Enrolled,
    policy: Policy,
    /// USB devices that are present, by key.
    usb: BTreeMap<String, Judged>,
    /// What went away, by key: identity switching is seen by it. Bounded by [`Self::forget`].
    gone: BTreeMap<String, (Before, u64)>,
    /// Devices whose code was typed.
    confirmed: Vec<(String, Claims)>,
    /// USB devices that came and that the kernel has not given to its own driver yet.
    unbound: BTreeSet<String>,
    /// Disks that are present, by name, as the kernel's last event about them found them.
    disks: BTreeMap<String, Seen>,
    /// Foreign disks whose read-only flag could not be set, and why; said once each.
    open_disks: BTreeMap<String, Option<String>>,
    /// The disks that the system runs from; only grows within a life: a system disk never becomes
    /// foreign because somebody unmounted something.
    system: BTreeSet<String>,
    /// The USB devices that those hang from.
    system_usb: BTreeSet<String>,
    guard: Result<Guard, String>,
    watch: Option<Watch>,
    /// Where there is no guard.
    fallback: Option<Fallback>,
    /// What the guard had counted when it was last looked at.
    counted: beat::Counts,
    /// The same by channel and device.
    detailed: beat::Details,
    reporter: Reporter,
    gate: Option<Gate>,
    /// SHA-256 of this program.
    program: Digest,
    /// The question for a code that is open.
    asking: Option<Asking>,
    /// How many questions there were.
    asked: u64,
    /// Interfaces of present devices of which the kernel made more than they said, by device.
    beyond: BTreeMap<String, BTreeSet<u8>>,
    /// Ports whose devices took too long to say what they are, until when.
    slow: BTreeMap<String, u64>,
    /// Whether the guard was attached once and cannot be put back.
    guard_lost: bool,
    /// Devices whose code was not typed; asked again when they are plugged in again.
    refused_code: BTreeSet<String>,
    /// USB devices that are looked at for a token, with the end of the patience.
    tokens: BTreeMap<String, u64>,
    /// What was read on USB media that are present; forgotten with another policy.
    token_states: BTreeMap<String, TokenState>,
    /// USB devices whose report descriptors were looked for.
    looked: BTreeSet<String>,
    /// Where threads leave notes; `bell` is rung for them.
    notes: Sender<Note>,
    inbox: Option<Receiver<Note>>,
    bell: Bell,
    /// How often the gate, or else the policy, wants a heartbeat.
    heartbeat_ms: u64,
    /// When the last one was made.
    beaten_ms: u64,
    /// When the kernel's files were looked at last.
    held_ms: u64,
    /// Foreign disks with a valid token, behind no USB device.
    company_disks: BTreeSet<String>,
    /// The company medium that the broker writes to just now.
    brokered: Option<String>,
    /// How many devices that carry data the last look found.
    present_before: u32,
    /// Whether the gate took reports at the last tick.
    online_before: bool,
}

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    On,
    Stop,
}

impl Agent {
    /// Reads what is known and attaches the guard. Nothing was judged yet.
    ///
    /// # Errors
    /// What is known cannot be read. A policy that is missing or broken is no error: the last good
    /// one, or the standard policy, is in force, and it is said.
    pub fn new(config: Config, sysfs: Sysfs, dev: PathBuf) -> Result<Self> {
        // Before anything that may wait: a disk, randomness in early boot.
        let closing = sysfs.close();
        let enrolled = Enrolled::read(&config.state.join("enrolled.json"))
            .context("cannot read what was enrolled")?;
        let gate = crate::enroll::gate(&config).context("cannot read where the gate is")?;
        fs::create_dir_all(&config.run)
            .with_context(|| format!("cannot make {}", config.run.display()))?;
        let policy = Policy::standard();
        // Without a key nothing is reported; what refuses needs none.
        let identity = gate
            .as_ref()
            .and_then(|_| trouble(Identity::open(&config.state)));
        let reporter = Reporter::open(
            &config.state,
            &config.run,
            policy.queue_bytes_max,
            identity.map_or([0; 32], |it| it.id),
        );
        let (notes, inbox) = std::sync::mpsc::channel();
        let mut agent = Self {
            asking: None,
            asked: 0,
            beyond: BTreeMap::new(),
            slow: BTreeMap::new(),
            guard_lost: false,
            refused_code: BTreeSet::new(),
            tokens: BTreeMap::new(),
            token_states: BTreeMap::new(),
            looked: BTreeSet::new(),
            notes,
            inbox: Some(inbox),
            bell: Bell::new()?,
            detailed: BTreeMap::new(),
            program: beat::program().unwrap_or([0; 32]),
            heartbeat_ms: u64::from(policy.heartbeat_s) * 1000,
            beaten_ms: 0,
            held_ms: 0,
            online_before: false,
            reporter,
            gate,
            policy,
            usb: BTreeMap::new(),
            gone: BTreeMap::new(),
            unbound: BTreeSet::new(),
            confirmed: Vec::new(),
            disks: BTreeMap::new(),
            open_disks: BTreeMap::new(),
            company_disks: BTreeSet::new(),
            brokered: None,
            present_before: 0,
            system: BTreeSet::new(),
            system_usb: BTreeSet::new(),
            watch: None,
            fallback: None,
            guard: Err("not attached yet".to_owned()),
            counted: beat::Counts::default(),
            config,
            sysfs,
            dev,
            enrolled,
        };
        agent.say_closed("start", &closing);
        agent.first_policy();
        Ok(agent)
    }

    /// Works until it is told to stop.
    ///
    /// # Errors
    /// The kernel's sockets cannot be opened.
    pub fn run(mut self) -> Result<()> {
        let signals = signals()?;
        // Before anything is judged: what comes from now on waits in the socket.
        let uevents = Uevents::open().context("cannot listen to the kernel's uevents")?;
        self.close_kernel("start");
        say(
            "started",
            &[
                ("version", env!("CARGO_PKG_VERSION").into()),
                ("policy", hex(&self.policy.digest()).into()),
            ],
        );
        self.attach_guard();
        match Watch::open() {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => say("trouble", &[("what", format!("fanotify: {error}").into())]),
        }
        // An agent that was killed while it looked at a keyboard left it off: keyboards that are known
        // would stay dead.
        let _ = self.sysfs.hid_autoprobe(true);
        self.judge_everything("present");
        self.bind_others("");
        trouble(self.start_link());
        let inbox = self.inbox.take().context("the agent runs once")?;
        let bell = self.bell.clone();
        self.beat();
        say("ready", &[("uptime_ms", uptime_ms().into())]);
        let mounts = fs::File::open("/proc/self/mountinfo").context("cannot watch the mounts")?;
        self.watch_mounts();
        let mut next_tick = uptime_ms() + u64::from(TICK_MS);
        loop {
            let wait = next_tick.saturating_sub(uptime_ms());
            let wait = u16::try_from(wait).unwrap_or(TICK_MS).min(TICK_MS);
            let mut ready = [
                PollFd::new(uevents.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(mounts.as_fd(), PollFlags::POLLPRI),
                PollFd::new(bell.as_fd(), PollFlags::POLLIN),
            ];
            // An interrupted wait is a turn with nothing to do.
            let _ = poll(&mut ready, PollTimeout::from(wait));
            let [events, signal, mounted, rung] =
                ready.map(|it| it.revents().is_some_and(|events| !events.is_empty()));
            if events {
                self.hear(&uevents);
            }
            if mounted {
                self.own_changed();
                self.watch_mounts();
            }
            if rung {
                bell.clear();
                let notes = inbox.try_iter().take(NOTES_A_TURN_MAX);
                let taken = notes.map(|note| self.on_note(note)).count();
                // What is left has its turn after the kernel's events.
                if taken == NOTES_A_TURN_MAX {
                    bell.ring();
                }
            }
            if signal && self.signal(&signals) == Turn::Stop {
                return Ok(());
            }
            if events || rung {
                self.beat_if_present_changed();
            }
            if uptime_ms() >= next_tick {
                self.tick();
                next_tick = uptime_ms() + u64::from(TICK_MS);
            }
        }
    }

    fn hear(&mut self, uevents: &Uevents) {
        for _ in 0..EVENTS_A_TURN_MAX {
            match uevents.read() {
                Ok(Heard::Event(event)) => self.on_event(&event),
                Ok(Heard::Ignored) => {}
                Ok(Heard::Nothing) => return,
                Ok(Heard::Overflow) => {
                    // What is dropped here is present, and judged below.
                    uevents.drain();
                    say("overflow", &[]);
                    self.reporter.say(Said::Overflow);
                    self.close_kernel("overflow");
                    self.judge_everything("overflow");
                }
                Err(error) => {
                    say("trouble", &[("what", format!("uevents: {error}").into())]);
                    return;
                }
            }
        }
    }

    fn on_event(&mut self, event: &Uevent) {
        let name = event.name();
        match (
            event.subsystem.as_str(),
            event.devtype.as_str(),
            event.action,
        ) {
            ("usb", "usb_device", Action::Add) if name.starts_with("usb") => {
                self.close_kernel("new controller");
            }
            ("usb", "usb_device", Action::Add) => self.usb_came(name),
            ("usb", "usb_device", Action::Other) => self.usb_bound(name),
            ("usb", "usb_device", Action::Remove) => self.usb_gone(name),
            ("usb", "usb_interface", Action::Add | Action::Other) => {
                if let Some((device, _)) = name.split_once(':') {
                    if device.ends_with("-0") {
                        self.close_kernel("new controller");
                    }
                    self.hold_usb(device);
                    if event.action == Action::Add {
                        self.hold_open(device);
                    }
                }
            }
            ("block", "disk", Action::Add | Action::Change) => self.judge_disk(name, "event"),
            ("block", "disk", Action::Remove) => self.disk_gone(name),
            ("block", "partition", _) => {
                let disk = event.path.rsplit('/').nth(1).unwrap_or_default().to_owned();
                self.judge_disk(&disk, "partition");
            }
            ("input" | "hid" | "sound", _, Action::Add | Action::Other) => {
                self.hold_usb_of(Path::new(&event.path));
            }
            (
                "scsi_generic" | "bsg" | "nvme" | "nvme-generic" | "hidraw",
                _,
                Action::Add | Action::Remove,
            ) => self.own_changed(),
            _ => {}
        }
    }

    /// Judges everything that is present; used at the start, after lost events, with a new policy.
    fn judge_everything(&mut self, why: &str) {
        self.find_system_disks();
        let present = self.sysfs.usb_devices();
        let gone: Vec<String> = self
            .usb
            .keys()
            .filter(|key| !present.contains(key))
            .cloned()
            .collect();
        for key in gone {
            self.usb_gone(&key);
        }
        for name in present {
            if self.sysfs.usb_is_bound(&name) {
                self.judge_usb(&name, why);
            } else {
                self.unbound.insert(name);
            }
        }
        let disks: Vec<String> = self.sysfs.list("block");
        self.disks.retain(|name, _| disks.contains(name));
        for name in disks {
            self.judge_disk(&name, why);
        }
        self.own_changed();
    }

    /// Closes the kernel to new devices, and says what was open.
    fn close_kernel(&mut self, why: &str) {
        let closing = self.sysfs.close();
        self.say_closed(why, &closing);
    }

    fn say_closed(&mut self, why: &str, closing: &Closing) {
        if why == OTHERS && !closing.changed.is_empty() {
            let what = format!(
                "opened by somebody, closed again: {}",
                closing.changed.join(", ")
            );
            self.say_tampered("usbcore", &what, None);
        }
        if *closing != Closing::default() {
            say(
                "closed",
                &[
                    ("why", why.into()),
                    ("changed", json!(closing.changed)),
                    ("bound", json!(closing.bound)),
                    ("failed", json!(closing.failed)),
                ],
            );
        }
    }

    fn load_guard(&mut self) {
        self.guard = if self.config.guard.as_os_str().is_empty() {
            Err("no guard is configured".to_owned())
        } else {
            Guard::attach(&self.config.guard, &self.config.pins).map_err(|error| error.to_string())
        };
    }

    /// Puts the guard back if somebody took a program off, switched it off or told it something else.
    fn hold_guard(&mut self) {
        let what = match &self.guard {
            Ok(guard) => match guard.tampered() {
                Some(what) => what,
                None => return,
            },
            Err(_) if self.guard_lost => "it is still off",
            Err(_) => return,
        };
        self.load_guard();
        self.count_anew();
        self.own_changed();
        let failed = self.guard.as_ref().err().cloned();
        // What cannot be put back is said once, and in every heartbeat.
        if !(self.guard_lost && failed.is_some()) {
            self.say_tampered("guard", what, failed.clone());
            self.guard_lost = failed.is_some();
            self.watch_mounts();
            self.beat();
        }
    }

    fn attach_guard(&mut self) {
        self.load_guard();
        // What was refused while no agent lived is told as well.
        (self.counted, self.detailed) = self.told_refused();
        self.count_anew();
        match &self.guard {
            Ok(guard) => say(
                "guard",
                &[
                    ("programs", guard.programs.into()),
                    ("taken_over", guard.taken_over.into()),
                    ("lacks", json!(guard.lacks)),
                ],
            ),
            Err(why) => say(
                "guard",
                &[("programs", 0.into()), ("missing", why.as_str().into())],
            ),
        }
    }

    fn signal(&mut self, signals: &SignalFd) -> Turn {
        while let Ok(Some(info)) = signals.read_signal() {
            if i32::try_from(info.ssi_signo) == Ok(Signal::SIGHUP as i32) {
                self.reload_policy();
            } else {
                say("stopping", &[]);
                self.count_refused();
                self.reporter.stop();
                self.let_go();
                return Turn::Stop;
            }
        }
        Turn::On
    }

    /// Starts the threads that talk to the gate; without a gate there are none.
    fn start_link(&mut self) -> Result<()> {
        let (Some(gate), Some(reports)) = (&self.gate, self.reporter.reports()) else {
            return Ok(());
        };
        let identity = Arc::new(Identity::open(&self.config.state)?);
        let pin = pin(&gate.pin).context("the gate's pin is no digest")?;
        if let Some(tunnel) = &self.config.tunnel {
            let listener = TcpListener::bind(tunnel.listen)
                .with_context(|| format!("cannot listen on {}", tunnel.listen));
            let config = identity.client(pin, ALPN_SESSION)?;
            // A port that is taken must not keep the reports from going out.
            if let Some(listener) = trouble(listener) {
                let tunnel = Tunnel {
                    listener,
                    address: gate.address.clone(),
                    config,
                    idle_ms_max: IDLE_MS_MAX,
                };
                spawn("tunnel", move || tunnel.run())?;
            }
        }
        self.start_broker(gate, &identity, pin);
        let (notes, bell) = (self.notes.clone(), self.bell.clone());
        let link = Link {
            address: gate.address.clone(),
            pin,
            name: gate
                .name
                .clone()
                .unwrap_or_else(crate::enroll::machine_name),
            boot: self.reporter.boot,
            identity,
            reports,
            tell: Box::new(move |news| {
                // Nobody listens any more: the process ends.
                let _ = notes.send(Note::News(news));
                bell.ring();
            }),
        };
        spawn("link", move || link.run())
    }

    /// Starts the thread that copies to company media.
    fn start_broker(&self, gate: &Gate, identity: &Identity, pin: Digest) {
        let listener = crate::broker::listen(&self.config.run)
            .with_context(|| format!("cannot listen in {}", self.config.run.display()));
        let place = self.config.run.join("medium");
        let ready = listener.and_then(|listener| {
            fs::create_dir_all(&place)?;
            Ok((listener, identity.client(pin, ALPN_COPY)?))
        });
        // Without it nothing is copied; what is refused stays refused.
        let Some((listener, config)) = trouble(ready) else {
            return;
        };
        let (notes, bell) = (self.notes.clone(), self.bell.clone());
        let broker = Broker {
            listener,
            place,
            address: gate.address.clone(),
            config,
            ask: Box::new(move |asked| {
                let _ = notes.send(Note::Asked(asked));
                bell.ring();
            }),
        };
        trouble(spawn("broker", move || broker.run()));
    }

    /// Gives the link a moment to say that the agent ends; what is not said waits in the queue.
    fn let_go(&self) {
        let end = uptime_ms() + STOP_MS_MAX;
        while self.reporter.is_online() && self.reporter.waiting() > 0 && uptime_ms() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Something that keeps storage out was changed by somebody else.
    fn say_tampered(&mut self, device: &str, what: &str, failed: Option<String>) {
        say(
            "tampered",
            &[
                ("device", device.into()),
                ("what", what.into()),
                ("failed", json!(failed)),
            ],
        );
        self.reporter.say(Said::Tampered {
            what: short(&format!("{device}: {what}")),
        });
    }

    /// What the log says about a judged device.
    fn say_judged(&self, event: &str, judged: &Judged, more: &[(&str, Value)]) {
        let Judged { device, verdict } = judged;
        let kinds: Vec<&str> = terminal::kind::kinds(device)
            .into_iter()
            .map(terminal::kind::Kind::word)
            .collect();
        let interfaces: Vec<String> = device
            .interfaces
            .iter()
            .map(|it| terminal::policy::triple(it.triple()))
            .collect();
        let mut fields = vec![
            ("bus", device.bus.word().into()),
            ("device", device.key.as_str().into()),
            (
                "id",
                format!("{:04x}:{:04x}", device.vendor, device.product).into(),
            ),
            ("name", device.name.as_str().into()),
            ("kinds", json!(kinds)),
            ("interfaces", json!(interfaces)),
            ("outcome", verdict.outcome.word().into()),
            ("reason", verdict.reason.word().into()),
        ];
        fields.extend(more.iter().map(|(name, value)| (*name, value.clone())));
        say(event, &fields);
    }
}

/// What is wanted, or the log says why not.
fn trouble<T, E: Into<anyhow::Error>>(result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            say("trouble", &[("what", format!("{:#}", error.into()).into())]);
            None
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(THREAD_BYTES)
        .spawn(work)
        .with_context(|| format!("cannot start the thread `{name}`"))?;
    Ok(())
}

fn signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT] {
        set.add(signal);
    }
    // Threads that start later inherit it: the loop alone gets signals.
    set.thread_block().context("cannot block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("cannot take signals")
}

#[cfg(test)]
mod tests;
