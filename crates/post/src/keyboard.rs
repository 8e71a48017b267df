//! Confirmation of an unknown keyboard: a code is shown on the console, and typed on a keyboard that
//! is known, or, where there is none, on the new one while nobody else gets its keys.
//!
//! A device that types by itself cannot read the console. Nothing that is typed is kept or logged.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock::uptime_ms;
use crate::sysfs::{Sysfs, interface_of, read_text, usb_of};

/// Digits of a code: one guess in a million, and [`TRIES_MAX`] of them.
const DIGITS: usize = 6;
/// Wrong codes after which the device stays refused until it is plugged in again.
pub const TRIES_MAX: u32 = 3;
/// How long a code can be typed.
pub const TYPING_MS_MAX: u64 = 60_000;
/// How long a keyboard's event device may take to appear.
const NODE_MS_MAX: u64 = 3_000;
/// How often it is looked for further nodes, and whether anybody still waits.
const LOOK_MS: u64 = 100;
/// A keyboard brings a handful.
const NODES_MAX: usize = 64;
/// Events of one node that are taken before it is looked at the others.
const EVENTS_A_TURN_MAX: usize = 1024;
/// linux/input.h: `struct input_event` on 64-bit machines.
const EVENT_BYTES: usize = 24;
/// linux/input-event-codes.h.
const EV_KEY: u16 = 1;
const KEY_ENTER: [u16; 2] = [28, 96];
/// The digits' keys, in the row and in the block.
const KEY_DIGITS: [(u16, u8); 20] = [
    (2, 1),
    (3, 2),
    (4, 3),
    (5, 4),
    (6, 5),
    (7, 6),
    (8, 7),
    (9, 8),
    (10, 9),
    (11, 0),
    (79, 1),
    (80, 2),
    (81, 3),
    (75, 4),
    (76, 5),
    (77, 6),
    (71, 7),
    (72, 8),
    (73, 9),
    (82, 0),
];

/// How asking ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// The code was typed.
    pub typed: bool,
    /// Wrong codes before.
    pub wrong: u32,
}

/// What is typed, compared with the code at each Enter.
#[derive(Debug)]
struct Typing<'a> {
    code: &'a [u8],
    digits: Vec<u8>,
    wrong: u32,
}

impl Typing<'_> {
    /// Takes one event of the kernel; whether the code was typed.
    fn take(&mut self, event: &[u8; EVENT_BYTES]) -> bool {
        let [.., k0, k1, c0, c1, v0, v1, v2, v3] = *event;
        let (kind, key) = (u16::from_ne_bytes([k0, k1]), u16::from_ne_bytes([c0, c1]));
        // 1: pressed; not released or repeated.
        if kind != EV_KEY || i32::from_ne_bytes([v0, v1, v2, v3]) != 1 {
            return false;
        }
        if KEY_ENTER.contains(&key) {
            let right = self.digits == self.code;
            self.wrong += u32::from(!right && !self.digits.is_empty());
            self.digits.clear();
            return right;
        }
        match KEY_DIGITS.iter().find(|(it, _)| *it == key) {
            Some((_, digit)) if self.digits.len() < DIGITS => self.digits.push(*digit),
            // Anything else on the way: what was typed is not the code.
            _ => self.digits = vec![u8::MAX],
        }
        false
    }
}

/// A new code.
///
/// # Errors
/// The kernel has no randomness.
pub fn code() -> io::Result<Vec<u8>> {
    let mut random = [0; DIGITS * 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let digit = |four: &[u8]| {
        let number = four
            .iter()
            .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        u8::try_from(number % 10).unwrap_or(0)
    };
    Ok(random.chunks(4).map(digit).collect())
}

/// A code as it is shown.
#[must_use]
pub fn shown(code: &[u8]) -> String {
    code.iter().map(ToString::to_string).collect()
}

/// Shows a message on the console and on the screen that is in front.
pub fn show(message: &str) {
    let active = read_text(Path::new("/sys/class/tty/tty0/active")).unwrap_or_default();
    let front = (!active.is_empty() && active.bytes().all(|it| it.is_ascii_alphanumeric()))
        .then(|| Path::new("/dev").join(active));
    for path in [Some(PathBuf::from("/dev/console")), front]
        .into_iter()
        .flatten()
    {
        // A terminal that is stopped must not stop the agent.
        const O_NONBLOCK: i32 = 0o4000;
        const O_NOCTTY: i32 = 0o400;
        let open = OpenOptions::new()
            .write(true)
            .custom_flags(O_NONBLOCK | O_NOCTTY)
            .open(path);
        if let Ok(mut tty) = open {
            let _ = tty.write_all(message.as_bytes());
        }
    }
}

/// Event devices and where they hang (`../../devices/..`): the link's own text says it.
fn events(sysfs: &Sysfs) -> impl Iterator<Item = (PathBuf, String)> {
    let class = sysfs.path("class/input");
    sysfs
        .list("class/input")
        .into_iter()
        .filter(|name| name.starts_with("event"))
        .filter_map(move |name| Some((fs::read_link(class.join(&name)).ok()?, name)))
}

/// Whether an event device is of a keyboard with all digits that no program made.
fn is_keyboard(sysfs: &Sysfs, (path, name): &(PathBuf, String)) -> bool {
    let keys = format!("class/input/{name}/device/capabilities/key");
    !path.to_string_lossy().contains("/devices/virtual/")
        && read_text(&sysfs.path(&keys)).is_ok_and(|keys| {
            let lowest = keys.rsplit(' ').next().unwrap_or_default();
            let lowest = u64::from_str_radix(lowest, 16).unwrap_or(0);
            let digits = 0b1111_1111_1100;
            lowest & digits == digits
        })
}

/// The event devices of keyboards, those of the USB device `but` left out.
#[must_use]
pub fn keyboards(sysfs: &Sysfs, dev: &Path, but: &str) -> Vec<PathBuf> {
    events(sysfs)
        .filter(|(path, _)| interface_of(path, but).is_none())
        .filter(|event| is_keyboard(sysfs, event))
        .map(|(_, name)| dev.join("input").join(name))
        .collect()
}

/// All event devices that the kernel made of a USB device.
#[must_use]
pub fn nodes_below(sysfs: &Sysfs, dev: &Path, usb: &str) -> Vec<PathBuf> {
    events(sysfs)
        .filter(|(path, _)| interface_of(path, usb).is_some())
        .map(|(_, name)| dev.join("input").join(name))
        .collect()
}

/// Whether there is a keyboard that is not on USB.
#[must_use]
pub fn others(sysfs: &Sysfs) -> bool {
    events(sysfs).any(|event| usb_of(&event.0).is_none() && is_keyboard(sysfs, &event))
}

/// A code that is to be typed.
#[derive(Debug)]
pub struct Question<'a> {
    /// Its digits.
    pub code: &'a [u8],
    /// Nobody else gets anything of the nodes meanwhile.
    pub alone: bool,
    /// How long it can be typed.
    pub timeout_ms: u64,
    /// Nobody waits for the answer any more.
    pub over: &'a AtomicBool,
}

impl Question<'_> {
    /// Waits until the code was typed on one of the nodes that `look` names, too many wrong ones were,
    /// or the time is over. It is looked again and again: a device may bring further nodes later.
    ///
    /// # Errors
    /// There is no node, or one cannot be had.
    pub fn ask(&self, look: impl Fn() -> Vec<PathBuf>) -> io::Result<Answer> {
        let begun = uptime_ms();
        let mut nodes: BTreeMap<PathBuf, File> = BTreeMap::new();
        let mut typing = Typing {
            code: self.code,
            digits: Vec::new(),
            wrong: 0,
        };
        let (mut found, mut typed) = (false, false);
        while !typed && typing.wrong < TRIES_MAX && !self.over.load(Ordering::Acquire) {
            if self.alone || !found {
                self.open(&mut nodes, look())?;
            }
            let took = uptime_ms().saturating_sub(begun);
            if took >= self.timeout_ms || (found && nodes.is_empty()) {
                break;
            }
            if nodes.is_empty() && took >= NODE_MS_MAX {
                return Err(io::Error::other("there is no keyboard to type the code on"));
            }
            found |= !nodes.is_empty();
            // Short where no event says that there is a node.
            let wait = if found { LOOK_MS } else { 2 };
            wait_for(&nodes, wait.min(self.timeout_ms - took))?;
            nodes.retain(|_, file| {
                let (right, there) = take_all(file, &mut typing);
                typed |= right;
                there
            });
        }
        Ok(Answer {
            typed,
            wrong: typing.wrong,
        })
    }

    fn open(&self, nodes: &mut BTreeMap<PathBuf, File>, found: Vec<PathBuf>) -> io::Result<()> {
        const O_NONBLOCK: i32 = 0o4000;
        for node in found {
            if nodes.contains_key(&node) || nodes.len() >= NODES_MAX {
                continue;
            }
            let opened = OpenOptions::new()
                .read(true)
                .custom_flags(O_NONBLOCK)
                .open(&node);
            match opened {
                Ok(file) => {
                    if self.alone {
                        ioctls::grab(&file)?;
                    }
                    nodes.insert(node, file);
                }
                // The node comes after its folder, or it went.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn wait_for(nodes: &BTreeMap<PathBuf, File>, timeout_ms: u64) -> io::Result<()> {
    let mut ready: Vec<PollFd<'_>> = nodes
        .values()
        .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::try_from(timeout_ms).unwrap_or(PollTimeout::MAX);
    match poll(&mut ready, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes what waits in a node: whether the code was typed, and whether the node is still there.
fn take_all(mut file: &File, typing: &mut Typing<'_>) -> (bool, bool) {
    let mut event = [0; EVENT_BYTES];
    for _ in 0..EVENTS_A_TURN_MAX {
        match file.read(&mut event) {
            Ok(EVENT_BYTES) if typing.take(&event) => return (true, true),
            Ok(EVENT_BYTES) if typing.wrong >= TRIES_MAX => return (false, true),
            Ok(EVENT_BYTES) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Ok(_) | Err(_) => return (false, false),
        }
    }
    (false, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(key: u16, value: i32) -> [u8; EVENT_BYTES] {
        let mut event = [0; EVENT_BYTES];
        event[16..18].copy_from_slice(&EV_KEY.to_ne_bytes());
        event[18..20].copy_from_slice(&key.to_ne_bytes());
        event[20..24].copy_from_slice(&value.to_ne_bytes());
        event
    }

    fn typed(keys: &[u16], code: &[u8]) -> (bool, u32) {
        let mut typing = Typing {
            code,
            digits: Vec::new(),
            wrong: 0,
        };
        let right = keys
            .iter()
            .any(|key| typing.take(&press(*key, 1)) || typing.take(&press(*key, 0)));
        (right, typing.wrong)
    }

    #[test]
    fn codes() {
        let code = [1, 2, 3, 4, 5, 0];
        assert_eq!(typed(&[2, 3, 4, 5, 6, 11, 28], &code), (true, 0));
        assert_eq!(typed(&[79, 80, 81, 75, 76, 82, 96], &code), (true, 0));
        // Without Enter, too many digits, a letter between, a wrong one, then the right one.
        assert_eq!(typed(&[2, 3, 4, 5, 6, 11], &code), (false, 0));
        assert_eq!(typed(&[2, 2, 3, 4, 5, 6, 11, 28], &code), (false, 1));
        assert_eq!(typed(&[2, 3, 4, 30, 5, 6, 11, 28], &code), (false, 1));
        assert_eq!(typed(&[28, 2, 28, 2, 3, 4, 5, 6, 11, 28], &code), (true, 1));
    }

    /// A keyboard in a made-up tree: its event device below `place`.
    fn add(folder: &Path, place: &str, event: &str, keys: &str) {
        let path = folder.join(place).join(event);
        fs::create_dir_all(path.join("device/capabilities")).unwrap();
        fs::write(path.join("device/capabilities/key"), keys).unwrap();
        fs::create_dir_all(folder.join("class/input")).unwrap();
        std::os::unix::fs::symlink(path, folder.join("class/input").join(event)).unwrap();
    }

    #[test]
    fn all_nodes_below_a_new_keyboard_are_taken_and_it_is_not_its_own_witness() {
        let folder = tempfile::tempdir().unwrap();
        let (sysfs, dev) = (Sysfs::new(folder.path()), Path::new("/dev"));
        let new = "devices/pci0/usb1/1-5/1-5:1.0/0003:1.1.1/input";
        add(folder.path(), new, "event3", "fffffffffffffffe");
        let more = "devices/pci0/usb1/1-5/1-5:1.1/0003:1.1.2/input";
        add(folder.path(), more, "event4", "0");
        let names = |nodes: Vec<PathBuf>| -> Vec<String> {
            nodes.iter().map(|it| it.display().to_string()).collect()
        };
        assert_eq!(
            names(nodes_below(&sysfs, dev, "1-5")),
            ["/dev/input/event3", "/dev/input/event4"]
        );
        assert_eq!(names(keyboards(&sysfs, dev, "1-5")), Vec::<String>::new());
        assert!(!others(&sysfs));
        add(
            folder.path(),
            "devices/virtual/input/input9",
            "event9",
            "fffffffffffffffe",
        );
        assert!(!others(&sysfs), "a program's");
        add(
            folder.path(),
            "devices/platform/i8042/serio0/input/input1",
            "event0",
            "fffffffffffffffe",
        );
        assert!(others(&sysfs));
        assert_eq!(names(keyboards(&sysfs, dev, "1-5")), ["/dev/input/event0"]);
    }

    #[test]
    fn a_question_ends_when_nobody_waits_and_without_a_keyboard() {
        let over = AtomicBool::new(true);
        let mut question = Question {
            code: &[1, 2, 3, 4, 5, 6],
            alone: false,
            timeout_ms: 600_000,
            over: &over,
        };
        assert_eq!(question.ask(Vec::new).unwrap(), Answer::default());
        let still = AtomicBool::new(false);
        question.over = &still;
        assert!(question.ask(Vec::new).is_err());
    }

    #[test]
    fn codes_are_six_digits() {
        let code = code().unwrap();
        assert!(code.len() == DIGITS && code.iter().all(|it| *it < 10));
        assert_eq!(shown(&[0, 1, 2, 3, 4, 9]), "012349");
    }
}
