//! USB devices: judged, the kernel told, and looked at again: what the kernel made of a device must
//! not be more than it said. All of it can be done twice.

use std::io;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use terminal::decide::{
    self, Before, Known, Outcome, Present, Reason, Ruling, SWITCH_MS_MAX, TokenState, Verdict,
};
use terminal::device::{Bus, Device};
use terminal::driver;
use terminal::kind::{Kind, kinds};
use terminal::report::{Channel, Said, Summary};

use super::{Agent, Judged};
use crate::block::Owner;
use crate::clock::uptime_ms;
use crate::keyboard;
use crate::log::say;
use crate::sysfs::{interface_of, read_text};

/// Ports whose last device is remembered.
const GONE_MAX: usize = 256;

impl Agent {
    /// A device came. The kernel says so before its own driver for whole devices looks at it, and that
    /// driver sets a device that is authorised by then up: once more, if we were faster, and all that
    /// was decided about its interfaces is undone. So nothing is done before it has begun.
    pub(super) fn usb_came(&mut self, name: &str) {
        if self.sysfs.usb_is_bound(name) {
            self.judge_usb(name, "event");
        } else {
            self.unbound.insert(name.to_owned());
        }
    }

    /// The kernel's driver for whole devices has it.
    pub(super) fn usb_bound(&mut self, name: &str) {
        if self.unbound.remove(name) {
            self.judge_usb(name, "event");
        }
    }

    /// Devices that no driver took are judged all the same; called at every tick.
    pub(super) fn usb_late(&mut self) {
        for name in std::mem::take(&mut self.unbound) {
            self.judge_usb(&name, "event");
        }
    }

    /// Judges a device that is present, and does what was decided.
    pub(super) fn judge_usb(&mut self, name: &str, why: &str) {
        let token = self.token_states.get(name).cloned().unwrap_or_default();
        self.judge_usb_token(name, why, token);
    }

    /// The same, when its token was read.
    pub(super) fn judge_usb_token(&mut self, name: &str, why: &str, token: TokenState) {
        let started = Instant::now();
        let was = match self.sysfs.usb_authorized(name) {
            Ok(was) => was,
            // It went while the event waited.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.usb_gone(name),
            Err(_) => true,
        };
        let mut judged = self.verdict(name, token);
        let reads = self.may_read_reports(name, &judged.verdict);
        if reads {
            self.looked.insert(name.to_owned());
            self.read_reports(name, &judged.verdict);
            judged = self.verdict(name, TokenState::default());
        }
        let mut failed = self.enforce(name, &judged.verdict);
        if reads {
            self.reports_read(name);
        }
        if self.turned_out(name, &judged.verdict) {
            judged = self.verdict(name, TokenState::default());
            failed = self.enforce(name, &judged.verdict);
        }
        let decided_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let more = [
            ("why", why.into()),
            ("was_authorised", was.into()),
            (
                "authorised",
                self.sysfs.usb_authorized(name).is_ok_and(|it| it).into(),
            ),
            ("failed", json!(failed)),
            ("us", decided_us.into()),
        ];
        self.say_judged("attached", &judged, &more);
        self.report_judged(&judged, why);
        let before = self.usb.insert(name.to_owned(), judged.clone());
        // Only what works is the machine's own to the guard.
        let worked = before.is_some_and(|it| it.verdict.outcome != Outcome::Refuse);
        if worked || judged.verdict.outcome != Outcome::Refuse {
            self.own_changed();
        }
        if judged.verdict.ask_confirmation {
            self.ask_code(&judged);
        }
        if judged.verdict.ask_token {
            self.ask_token(name, &judged.verdict);
        }
    }

    /// Reports a device that came or was judged anew.
    pub(super) fn report_judged(&mut self, judged: &Judged, why: &str) {
        let counters = &mut self.reporter.counters;
        if why == "event" {
            counters.attached += 1;
            counters.refused += u64::from(judged.verdict.outcome == Outcome::Refuse);
        }
        let summary = Summary::new(&judged.device, &judged.verdict, &self.reporter.terminal);
        self.reporter.say(Said::Attached(Box::new(summary)));
    }

    /// The device as it is now, and the verdict. Reads HID report descriptors that are needed.
    fn verdict(&self, name: &str, token: TokenState) -> Judged {
        let Ok(device) = self.sysfs.usb_device(name) else {
            let mut device = Device::plain(Bus::Usb, name);
            device.name = "unreadable".to_owned();
            return Judged {
                device,
                verdict: decide::unreadable(),
            };
        };
        if self.holds_system(&device.key) {
            // Never taken away: whoever started the machine from it would lose the machine.
            let mut disk = Device::plain(Bus::Scsi, name).named(&device.name, &device.serial);
            disk.built_in = true;
            let verdict = decide::decide(&disk, &Known::default(), &self.policy);
            return Judged { device, verdict };
        }
        let known = self.known(&device, token);
        let verdict = decide::decide(&device, &known, &self.policy);
        Judged { device, verdict }
    }

    /// Whether the system runs from a disk behind this device.
    fn holds_system(&self, key: &str) -> bool {
        self.system_usb
            .iter()
            .any(|usb| usb == key || usb.starts_with(&format!("{key}.")))
    }

    fn known(&self, device: &Device, token: TokenState) -> Known {
        let now = uptime_ms();
        Known {
            enrolled: self.enrolled.devices.clone(),
            confirmed: self.confirmed.clone(),
            present: self
                .usb
                .iter()
                .filter(|(key, judged)| {
                    **key != device.key && judged.verdict.outcome != Outcome::Refuse
                })
                .map(|(_, judged)| Present::new(&judged.device, &judged.verdict))
                .collect(),
            token,
            beyond: self
                .beyond
                .get(&device.key)
                .map(|it| it.iter().copied().collect())
                .unwrap_or_default(),
            other_keyboard: keyboard::others(&self.sysfs),
            before: self.gone.get(&device.key).map(|(before, at)| Before {
                gone_ms: now.saturating_sub(*at),
                ..before.clone()
            }),
        }
    }

    /// Tells the kernel; what it did not do is given back.
    fn enforce(&self, name: &str, verdict: &Verdict) -> Vec<String> {
        if verdict.rulings.is_empty() && verdict.outcome != Outcome::Refuse {
            return Vec::new();
        }
        let mut failed = Vec::new();
        let mut note = |what: String, result: io::Result<()>| {
            if let Err(error) = result {
                failed.push(format!("{what}: {error}"));
            }
        };
        let works = verdict.rulings.iter().any(|it| it.reason.allows());
        let authorized = self.sysfs.usb_authorized(name).unwrap_or(true);
        if !works {
            if authorized {
                note(name.to_owned(), self.sysfs.usb_authorize(name, false));
            }
            return failed;
        }
        if !authorized {
            note(name.to_owned(), self.sysfs.usb_authorize(name, true));
        }
        // All of them first: a driver of sound or networks takes several together.
        let mut open = Vec::new();
        for interface in self.sysfs.usb_interfaces(name) {
            // An interface that nobody judged is refused.
            let ruling = allowing(verdict, interface.number);
            if interface.authorized != ruling.is_some() {
                note(
                    interface.name.clone(),
                    self.sysfs
                        .interface_authorize(&interface.name, ruling.is_some()),
                );
            }
            open.extend(ruling.map(|ruling| (interface, ruling)));
        }
        for (interface, ruling) in open {
            if interface.driver.is_none() {
                self.sysfs
                    .usb_bind(&interface.name, driver::wanted(&ruling));
            }
            for hid in self.sysfs.hid_devices(&interface.name) {
                self.sysfs.hid_bind(&hid);
            }
        }
        failed
    }

    /// Something about a device's interfaces changed: what was decided is still what is.
    pub(super) fn hold_usb(&mut self, name: &str) {
        if self.tokens.contains_key(name) || self.asks_for(name) {
            // Open for a question, until it is answered.
            return;
        }
        let Some(judged) = self.usb.get(name) else {
            // Its own turn comes.
            if !self.unbound.contains(name) {
                self.judge_usb(name, "interface");
            }
            return;
        };
        // The driver that reads report descriptors came later than the device.
        let verdict = judged.verdict.clone();
        if self.may_read_reports(name, &verdict) {
            return self.judge_usb(name, "driver");
        }
        if self.turned_out(name, &verdict) {
            return self.judge_usb(name, "turned out");
        }
        if self.opened(name, &verdict) {
            self.say_tampered(name, "somebody authorised what was refused", None);
            self.reporter.say(Said::Refused {
                channel: Channel::Authorise,
                key: name.to_owned(),
                count: 1,
            });
            self.judge_usb(name, "tampered");
        }
    }

    /// The kernel made an interface: of a device that it set up anew, what is allowed is shut.
    pub(super) fn hold_open(&mut self, name: &str) {
        let Some(judged) = self.usb.get(name) else {
            return;
        };
        if self.tokens.contains_key(name) || self.asks_for(name) {
            return;
        }
        let interfaces = self.sysfs.usb_interfaces(name);
        let mut shut = interfaces.iter().filter(|it| !it.authorized);
        if shut.any(|it| allowing(&judged.verdict, it.number).is_some()) {
            self.judge_usb(name, "set up anew");
        }
    }

    /// Whether the kernel has something open that the verdict refuses.
    fn opened(&self, name: &str, verdict: &Verdict) -> bool {
        if verdict.rulings.is_empty() && verdict.outcome != Outcome::Refuse {
            return false;
        }
        if !verdict.rulings.iter().any(|it| it.reason.allows()) {
            return self.sysfs.usb_authorized(name).is_ok_and(|it| it);
        }
        self.sysfs
            .usb_interfaces(name)
            .iter()
            .any(|it| it.authorized && allowing(verdict, it.number).is_none())
    }

    /// Whether the device turned out to be something else, so that it has to be judged again: the kernel
    /// made more of it than it said, which is remembered until it goes away, or its report descriptor
    /// could be read only now and says keys.
    pub(super) fn turned_out(&mut self, name: &str, verdict: &Verdict) -> bool {
        if !verdict.rulings.iter().any(|it| it.reason.allows()) {
            return false;
        }
        let mut beyond = self.seen_beyond(name, verdict);
        let keys = self.unforeseen_keys(name, verdict);
        let mut said = false;
        if !keys.is_empty() {
            // A keyboard that says that it is one is judged as one.
            let now = self.verdict(name, TokenState::default()).verdict.rulings;
            for number in keys {
                if now
                    .iter()
                    .any(|it| it.number == number && it.kind == Kind::Keyboard)
                {
                    said = true;
                } else {
                    beyond.push((number, "the keys of a keyboard".to_owned()));
                }
            }
        }
        let mut new = false;
        for (number, what) in beyond {
            let known = self.beyond.entry(name.to_owned()).or_default();
            if known.insert(number) {
                new = true;
                say(
                    "beyond",
                    &[
                        ("device", name.into()),
                        ("interface", number.into()),
                        ("what", what.into()),
                    ],
                );
            }
        }
        new || said
    }

    /// Drivers of another kind, MIDI ports, disks.
    fn seen_beyond(&self, name: &str, verdict: &Verdict) -> Vec<(u8, String)> {
        let mut found = Vec::new();
        for interface in self.sysfs.usb_interfaces(name) {
            let ruling = allowing(verdict, interface.number);
            if let (Some(ruling), Some(driver)) = (ruling, interface.driver)
                && !driver::fits(&ruling, &driver)
            {
                found.push((interface.number, format!("the driver {driver}")));
            }
        }
        if !is_model(verdict) {
            for (number, port) in self.sysfs.below_usb("sound", name) {
                let port = port.file_name().unwrap_or_default().to_string_lossy();
                if port.starts_with("midi") {
                    found.push((number, "a MIDI port".to_owned()));
                }
            }
        }
        if !allows(verdict, Kind::Storage) {
            found.extend(
                self.foreign_disks_below(name)
                    .map(|(number, disk)| (number, format!("the disk {disk}"))),
            );
        }
        found
    }

    /// Interfaces that work, and not as a keyboard's, and send letters or digits.
    fn unforeseen_keys(&self, name: &str, verdict: &Verdict) -> Vec<u8> {
        if is_model(verdict) || allows(verdict, Kind::Keyboard) {
            return Vec::new();
        }
        self.sysfs
            .below_usb("input", name)
            .into_iter()
            .filter(|(number, _)| allowing(verdict, *number).is_some())
            .filter(|(_, input)| {
                read_text(&input.join("capabilities/key")).is_ok_and(|keys| driver::writes(&keys))
            })
            .map(|(number, _)| number)
            .collect()
    }

    fn foreign_disks_below<'a>(&'a self, usb: &'a str) -> impl Iterator<Item = (u8, String)> + 'a {
        self.disks
            .iter()
            .filter(|(_, disk)| disk.owner == Owner::Foreign)
            .filter_map(move |(name, _)| {
                let disk = self.sysfs.disk(name)?;
                Some((interface_of(&disk.path, usb)?, name.clone()))
            })
    }

    /// Something appeared in this folder: if it is of a USB device, that is looked at again.
    pub(super) fn hold_usb_of(&mut self, path: &Path) {
        if let Some(usb) = crate::sysfs::usb_of(path).filter(|it| self.usb.contains_key(it)) {
            self.hold_usb(&usb);
        }
    }

    /// Looks at every device once more; called at every tick.
    pub(super) fn hold_everything(&mut self) {
        let names: Vec<String> = self.usb.keys().cloned().collect();
        for name in names {
            self.hold_usb(&name);
        }
    }

    /// A device went away.
    pub(super) fn usb_gone(&mut self, name: &str) {
        self.unbound.remove(name);
        let Some(judged) = self.usb.remove(name) else {
            return;
        };
        self.confirmed.retain(|(key, _)| key != name);
        self.beyond.remove(name);
        self.refused_code.remove(name);
        self.tokens.remove(name);
        self.token_states.remove(name);
        self.looked.remove(name);
        let now = uptime_ms();
        self.gone
            .retain(|_, (_, at)| now.saturating_sub(*at) <= SWITCH_MS_MAX);
        if self.gone.len() < GONE_MAX {
            let before = Before {
                identity: judged.device.identity(),
                kinds: kinds(&judged.device),
                unread: !judged.verdict.unread.is_empty(),
                gone_ms: 0,
            };
            self.gone.insert(name.to_owned(), (before, now));
        }
        say(
            "detached",
            &[("bus", Value::from("usb")), ("device", name.into())],
        );
        self.reporter.say(Said::Detached {
            bus: Bus::Usb,
            key: judged.device.key,
        });
        self.own_changed();
        if self.asks_for(name) {
            self.asking = None;
            self.ask_next();
        }
    }
}

/// The ruling on an interface, if it lets it work.
fn allowing(verdict: &Verdict, number: u8) -> Option<Ruling> {
    let mut rulings = verdict.rulings.iter();
    rulings
        .find(|it| it.number == number && it.reason.allows())
        .copied()
}

/// Whether some interface of the kind works.
fn allows(verdict: &Verdict, kind: Kind) -> bool {
    let mut rulings = verdict.rulings.iter();
    rulings.any(|it| it.kind == kind && it.reason.allows())
}

/// Whether the policy names the model: then it may be what it is.
fn is_model(verdict: &Verdict) -> bool {
    verdict.rulings.iter().any(|it| it.reason == Reason::Model)
}
