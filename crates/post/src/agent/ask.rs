//! Questions that take a while: a code typed by a person, a token read from a medium. A thread asks
//! and leaves a note; meanwhile everything stays refused.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use terminal::decide::{Reason, TokenState, Verdict};
use terminal::driver;
use terminal::kind::Kind;
use terminal::report::{Channel, Said};
use terminal::token::{self, Medium, TOKEN_BYTES, TOKEN_OFFSET, TokenError};

use super::{Agent, Judged};
use crate::block::{self, Disk, Number};
use crate::broker::Asked;
use crate::clock::{now_ms, uptime_ms};
use crate::keyboard::{self, Answer, Question, TYPING_MS_MAX};
use crate::link::News;
use crate::log::say;

/// How long a medium may take to appear and to be read.
const TOKEN_MS_MAX: u64 = 20_000;
/// Interfaces of one device whose report descriptors are looked for. Each look waits for the device.
const LOOKS_MAX: usize = 6;
/// How long they may take together; there is no further one then.
const LOOKS_MS_MAX: u64 = 2_000;
/// What took longer is not looked at again at this port for so long: what hangs there is a keyboard.
const SLOW_MS: u64 = 600_000;
/// Ports that are remembered as slow.
const SLOW_MAX: usize = 256;

/// What another thread has to say to the agent's.
#[derive(Debug)]
pub(super) enum Note {
    /// From the gate.
    News(News),
    /// A person typed, or did not; with the number of the question.
    Answer(u64, Answer),
    /// What stands where a token would be.
    Token(String, io::Result<Vec<u8>>),
    /// From the broker's thread.
    Asked(Asked),
}

/// A question that is open: ends with this value.
#[derive(Debug)]
pub(super) struct Asking {
    /// The device whose code is asked for.
    pub(super) key: String,
    /// Which question: an answer to another one counts for nothing.
    pub(super) number: u64,
    /// Set when nobody waits any more.
    pub(super) over: Arc<AtomicBool>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
    }
}

impl Agent {
    pub(super) fn on_note(&mut self, note: Note) {
        match note {
            Note::News(news) => self.on_news(news),
            Note::Answer(number, answer) => self.on_answer(number, answer),
            Note::Token(disk, block) => self.on_token(&disk, block),
            Note::Asked(asked) => self.on_asked(asked),
        }
    }

    /// Whether a device's report descriptors can be read and have not been.
    pub(super) fn may_read_reports(&self, name: &str, verdict: &Verdict) -> bool {
        !verdict.unread.is_empty()
            && !self.looked.contains(name)
            && self
                .slow
                .get(name)
                .is_none_or(|until| uptime_ms() >= *until)
            && self.sysfs.reads_reports()
    }

    /// Reads the HID report descriptors of a device while none of its keys reaches anybody: the
    /// kernel's HID drivers do not bind by themselves meanwhile.
    pub(super) fn read_reports(&mut self, name: &str, verdict: &Verdict) {
        let started = uptime_ms();
        let late = || uptime_ms().saturating_sub(started) > LOOKS_MS_MAX;
        if self.sysfs.hid_autoprobe(false).is_err() {
            // No HID driver is loaded: nothing can be read, and nothing works.
            return;
        }
        let _ = self.sysfs.usb_authorize(name, true);
        let mut interfaces = self.sysfs.usb_interfaces(name);
        interfaces.retain(|it| verdict.unread.contains(&it.number));
        for interface in interfaces.iter().take(LOOKS_MAX) {
            if late() {
                break;
            }
            let _ = self.sysfs.interface_authorize(&interface.name, true);
            self.sysfs
                .usb_bind(&interface.name, Some(["usbhid"].into_iter()));
        }
        let now = uptime_ms();
        self.slow.retain(|_, until| now < *until);
        if late() && self.slow.len() < SLOW_MAX {
            self.slow.insert(name.to_owned(), now + SLOW_MS);
            say(
                "slow",
                &[("device", name.into()), ("ms", (now - started).into())],
            );
        }
    }

    /// Lets HID drivers bind by themselves again, to all others that came meanwhile too.
    pub(super) fn reports_read(&self, name: &str) {
        let _ = self.sysfs.hid_autoprobe(true);
        self.bind_others(name);
    }

    /// Lets HID drivers have what is not below this USB device.
    pub(super) fn bind_others(&self, name: &str) {
        for hid in self.sysfs.list("bus/hid/devices") {
            if !self.sysfs.hid_is_below(&hid, name) {
                self.sysfs.hid_bind(&hid);
            }
        }
    }

    /// Asks for the code of an unknown keyboard or pointer; one device at a time.
    pub(super) fn ask_code(&mut self, judged: &Judged) {
        let key = judged.device.key.clone();
        if self.asking.is_some() || self.refused_code.contains(&key) {
            return;
        }
        let Ok(code) = keyboard::code() else {
            return;
        };
        let alone = judged.verdict.confirm_on_itself;
        let name = &judged.device.name;
        let shown = keyboard::shown(&code);
        say(
            "confirm",
            &[
                ("device", key.as_str().into()),
                ("name", name.as_str().into()),
                ("code", shown.as_str().into()),
                ("on_itself", alone.into()),
            ],
        );
        keyboard::show(&format!(
            "\r\n*** sekisho-post: a new keyboard or pointer, {key} ({name}).\r\n\
             *** If you plugged it in, type {shown} and Enter on {}. It stays off otherwise.\r\n\
             *** 新しいキーボードまたはマウスが接続されました。自分で接続した場合のみ、\
             {shown} と Enter を入力してください。\r\n",
            if alone { "it" } else { "the old keyboard" },
        ));
        if alone {
            self.open_for_code(judged);
        }
        let (sysfs, dev) = (self.sysfs.clone(), self.dev.clone());
        let (notes, bell) = (self.notes.clone(), self.bell.clone());
        self.asked += 1;
        let number = self.asked;
        let over = Arc::new(AtomicBool::new(false));
        self.asking = Some(Asking {
            key: key.clone(),
            number,
            over: over.clone(),
        });
        let started = super::spawn("code", move || {
            let question = Question {
                code: &code,
                alone,
                timeout_ms: TYPING_MS_MAX,
                over: &over,
            };
            // Never on the new one unless nobody else gets its keys.
            let look = || {
                if alone {
                    keyboard::nodes_below(&sysfs, &dev, &key)
                } else {
                    keyboard::keyboards(&sysfs, &dev, &key)
                }
            };
            let answer = question.ask(look).unwrap_or_default();
            let _ = notes.send(Note::Answer(number, answer));
            bell.ring();
        });
        if started.is_err() {
            self.asking = None;
        }
    }

    /// Whether a device's code is asked for now.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        self.asking.as_ref().is_some_and(|it| it.key == name)
    }

    /// Lets one interface of the new keyboard work for the code alone: the asking thread takes all that
    /// it sends.
    fn open_for_code(&self, judged: &Judged) {
        let name = &judged.device.key;
        let unconfirmed = |kind: Kind| {
            let mut rulings = judged.verdict.rulings.iter();
            rulings.find(|it| it.reason == Reason::Unconfirmed && it.kind == kind)
        };
        let Some(ruling) = unconfirmed(Kind::Keyboard).or_else(|| unconfirmed(Kind::Pointer))
        else {
            return;
        };
        let _ = self.sysfs.usb_authorize(name, true);
        for interface in self.sysfs.usb_interfaces(name) {
            let asked = interface.number == ruling.number;
            let _ = self.sysfs.interface_authorize(&interface.name, asked);
            if asked {
                self.sysfs.usb_bind(&interface.name, driver::wanted(ruling));
            }
        }
    }

    fn on_answer(&mut self, number: u64, answer: Answer) {
        let Some(asking) = self.asking.take_if(|it| it.number == number) else {
            return;
        };
        let key = asking.key.as_str();
        say(
            "confirmed",
            &[
                ("device", key.into()),
                ("typed", answer.typed.into()),
                ("wrong", answer.wrong.into()),
            ],
        );
        if answer.wrong > 0 {
            self.reporter.counters.refused += u64::from(answer.wrong);
            self.reporter.say(Said::Refused {
                channel: Channel::Code,
                key: key.to_owned(),
                count: u64::from(answer.wrong),
            });
        }
        // What is at this port now is what was asked for: leaving ends the question.
        let Some(judged) = self.usb.get(key) else {
            return;
        };
        if answer.typed {
            self.confirmed
                .push((key.to_owned(), judged.device.identity()));
        } else {
            self.refused_code.insert(key.to_owned());
        }
        self.judge_usb(key, "code");
        self.ask_next();
    }

    /// Asks for the code of the next one that waits.
    pub(super) fn ask_next(&mut self) {
        let waiting = self
            .usb
            .values()
            .find(|it| it.verdict.ask_confirmation && !self.refused_code.contains(&it.device.key))
            .cloned();
        if let Some(judged) = waiting {
            self.ask_code(&judged);
        }
    }

    /// Lets a medium behind USB be looked at for a token, while the guard keeps everybody from
    /// writing to it. Without a guard it stays refused.
    pub(super) fn ask_token(&mut self, name: &str, verdict: &Verdict) {
        if !self.guard.as_ref().is_ok_and(crate::guard::Guard::is_on) {
            return;
        }
        self.tokens
            .insert(name.to_owned(), uptime_ms() + TOKEN_MS_MAX);
        let _ = self.sysfs.usb_authorize(name, true);
        for interface in self.sysfs.usb_interfaces(name) {
            let mut rulings = verdict.rulings.iter();
            let storage = rulings
                .find(|it| it.number == interface.number && it.reason == Reason::TokenUnread);
            if let Some(ruling) = storage {
                let _ = self.sysfs.interface_authorize(&interface.name, true);
                self.sysfs.usb_bind(&interface.name, driver::wanted(ruling));
            }
        }
    }

    /// Reads what stands where a token would be, in a thread: a medium may never answer.
    pub(super) fn read_token(&self, disk: &Disk) {
        let (dev, name, number) = (self.dev.clone(), disk.name.clone(), disk.number);
        let (notes, bell) = (self.notes.clone(), self.bell.clone());
        let started = super::spawn("token", move || {
            let block = read_block(&dev, &name, number);
            let _ = notes.send(Note::Token(name, block));
            bell.ring();
        });
        if let Err(error) = started {
            say("trouble", &[("what", format!("{error:#}").into())]);
        }
    }

    fn on_token(&mut self, name: &str, block: io::Result<Vec<u8>>) {
        let Some(disk) = self.sysfs.disk(name) else {
            return;
        };
        let usb = disk
            .usb
            .as_ref()
            .and_then(|key| self.usb.get(key))
            .map(|judged| judged.device.clone());
        let device = usb.unwrap_or_else(|| disk.device(self.owner(&disk)));
        let medium = Medium {
            serial: &device.serial,
            size: disk.size,
        };
        let found = match &block {
            Ok(block) => token::verify(block, &self.policy.keys, medium, now_ms()),
            Err(_) => Err(TokenError::Missing),
        };
        say(
            "token",
            &[
                ("disk", name.into()),
                ("valid", found.is_ok().into()),
                ("client", json!(found.as_ref().ok().map(|it| &it.client))),
                (
                    "reason",
                    json!(found.as_ref().err().map(ToString::to_string)),
                ),
            ],
        );
        if disk.usb.is_none() && found.is_ok() {
            self.company_disks.insert(name.to_owned());
        }
        let state = TokenState::Read(found);
        if disk.usb.is_some() {
            self.tokens.remove(&device.key);
            self.token_states.insert(device.key.clone(), state.clone());
            self.judge_usb_token(&device.key, "token", state);
        } else {
            let judged = self.judged_disk(&disk, state);
            self.say_judged("disk", &judged, &[("why", "token".into())]);
            self.report_judged(&judged, "token");
        }
    }

    /// Media that did not answer in time are refused.
    pub(super) fn tokens_late(&mut self) {
        let now = uptime_ms();
        let late: Vec<String> = self
            .tokens
            .iter()
            .filter(|(_, end)| now >= **end)
            .map(|(key, _)| key.clone())
            .collect();
        for key in late {
            self.tokens.remove(&key);
            let state = TokenState::Read(Err(TokenError::Missing));
            self.judge_usb_token(&key, "token", state);
        }
    }
}

fn read_block(dev: &std::path::Path, name: &str, number: Number) -> io::Result<Vec<u8>> {
    let mut file = block::open(dev, name, number)?;
    file.seek(SeekFrom::Start(TOKEN_OFFSET))?;
    let mut block = vec![0; TOKEN_BYTES];
    file.read_exact(&mut block)?;
    Ok(block)
}
