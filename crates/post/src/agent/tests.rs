//! The agent over a made-up sysfs: what it tells the kernel, and what it notices afterwards.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use terminal::decide::{Outcome, Reason};

use super::ask::{Asking, Note};
use super::*;
use crate::keyboard::Answer;
use crate::link::News;

const KEYBOARD: &str = "1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe";
const MOUSE: &str = "1f0000 0 0 0 0";
/// HID 1.11, appendix E.10: buttons and two axes.
const MOUSE_REPORT: [u8; 18] = [
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x09, 0x30, 0x75, 0x08, 0x81, 0x06,
    0xc0, 0xc0,
];
/// HID 1.11, appendix B.1: the modifiers.
const KEYBOARD_REPORT: [u8; 21] = [
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01,
    0x75, 0x01, 0x81, 0x02, 0xc0,
];
const SOUND: [[u8; 3]; 2] = [[1, 1, 0], [1, 2, 0]];
const CARD_READER: [[u8; 3]; 1] = [[0x0b, 0, 0]];

struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for place in [
            "block",
            "bus/hid/devices",
            "bus/usb/devices",
            "class/input",
            "class/sound",
        ] {
            fs::create_dir_all(tree.at(place)).unwrap();
        }
        for driver in ["hub", "snd-usb-audio", "usbhid", "usb-storage", "uas"] {
            tree.write(&format!("bus/usb/drivers/{driver}/bind"), "");
        }
        tree.write("bus/usb/drivers_probe", "");
        tree.write("bus/hid/drivers_autoprobe", "1");
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("sys").join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// A device at `1-5`, with one interface of each class.
    fn plug(&self, classes: &[[u8; 3]]) {
        let mut interfaces = Vec::new();
        for (number, [class, subclass, protocol]) in classes.iter().enumerate() {
            let number = u8::try_from(number).unwrap();
            interfaces.extend([9, 4, number, 0, 0, *class, *subclass, *protocol, 0]);
            let name = format!("1-5:1.{number}");
            for (file, value) in [
                ("bInterfaceNumber", number),
                ("bInterfaceClass", *class),
                ("bInterfaceSubClass", *subclass),
                ("bInterfaceProtocol", *protocol),
            ] {
                self.write(&format!("{DEVICE}/{name}/{file}"), format!("{value:02x}"));
            }
            self.write(&format!("{DEVICE}/{name}/authorized"), "0");
            let link = self.at("bus/usb/devices").join(&name);
            symlink(self.at(DEVICE).join(&name), link).unwrap();
        }
        let count = u8::try_from(classes.len()).unwrap();
        let length = u8::try_from(9 + interfaces.len()).unwrap();
        let mut descriptors = vec![
            18, 1, 0, 2, 0, 0, 0, 64, 0x34, 0x12, 0x78, 0x56, 0, 1, 0, 0, 0, 1,
        ];
        descriptors.extend([9, 2, length, 0, count, 1, 0, 0x80, 50]);
        descriptors.extend(interfaces);
        self.write(&format!("{DEVICE}/descriptors"), descriptors);
        self.write(&format!("{DEVICE}/authorized"), "0");
        symlink(self.at(DEVICE), self.at("bus/usb/devices/1-5")).unwrap();
    }

    fn bind(&self, interface: &str, driver: &str) {
        let driver = self.at("bus/usb/drivers").join(driver);
        symlink(driver, self.at(DEVICE).join(interface).join("driver")).unwrap();
    }

    /// An entry of a class below an interface.
    fn add(&self, class: &str, place: &str) -> PathBuf {
        let path = self.at(DEVICE).join(place);
        fs::create_dir_all(&path).unwrap();
        let name = path.file_name().unwrap();
        symlink(&path, self.at("class").join(class).join(name)).unwrap();
        path
    }

    fn input(&self, place: &str, keys: &str) -> PathBuf {
        let path = self.add("input", place);
        fs::create_dir_all(path.join("capabilities")).unwrap();
        fs::write(path.join("capabilities/key"), keys).unwrap();
        path
    }

    fn disk(&self, name: &str) {
        let path = format!("{DEVICE}/1-5:1.0/host6/target6:0:0/6:0:0:0/block/{name}");
        for (file, text) in [("dev", "8:16"), ("ro", "0"), ("size", "2048")] {
            self.write(&format!("{path}/{file}"), text);
        }
        symlink(self.at(&path), self.at("block").join(name)).unwrap();
    }

    fn agent(&self) -> Agent {
        self.agent_with(|_| {})
    }

    /// Keyboards are refused: nobody is asked for a code on the console of whoever runs the tests.
    fn agent_with(&self, change: impl FnOnce(&mut Config)) -> Agent {
        let folder = self.folder.path();
        let policy = folder.join("policy.toml");
        let rules =
            "hub = \"allow\"\npointer = \"allow\"\nheadset = \"allow\"\nsmart-card = \"allow\"";
        fs::write(&policy, format!("version = 1\n[devices]\n{rules}\n")).unwrap();
        fs::create_dir_all(folder.join("state")).unwrap();
        let mut config = Config {
            policy,
            state: folder.join("state"),
            run: folder.join("run"),
            guard: PathBuf::new(),
            ..Config::default()
        };
        change(&mut config);
        Agent::new(config, Sysfs::new(folder.join("sys")), folder.join("dev")).unwrap()
    }
}

const DEVICE: &str = "devices/pci0000:00/usb1/1-5";

fn verdict(agent: &Agent) -> (Outcome, Reason) {
    let verdict = &agent.usb["1-5"].verdict;
    (verdict.outcome, verdict.reason)
}

#[track_caller]
fn refused(tree: &Tree, agent: &Agent) {
    assert_eq!(verdict(agent), (Outcome::Refuse, Reason::Beyond));
    assert_eq!(tree.read(&format!("{DEVICE}/authorized")), "0");
}

#[test]
fn a_driver_is_bound_by_its_name() {
    let tree = Tree::new();
    tree.plug(&SOUND);
    let mut agent = tree.agent();
    agent.judge_usb("1-5", "event");
    assert_eq!(verdict(&agent), (Outcome::Allow, Reason::Allowed));
    assert_eq!(tree.read("bus/usb/drivers/snd-usb-audio/bind"), "1-5:1.1");
    assert_eq!(
        tree.read("bus/usb/drivers_probe"),
        "",
        "nobody else was asked"
    );
}

#[test]
fn a_device_that_a_driver_of_another_kind_has_is_refused_until_it_goes() {
    let tree = Tree::new();
    tree.plug(&SOUND);
    let mut agent = tree.agent();
    agent.judge_usb("1-5", "event");
    tree.bind("1-5:1.0", "snd-usb-audio");
    agent.hold_usb("1-5");
    assert_eq!(verdict(&agent), (Outcome::Allow, Reason::Allowed));
    // The driver came later than the device.
    tree.bind("1-5:1.1", "ums-realtek");
    agent.hold_usb("1-5");
    refused(&tree, &agent);
    fs::remove_file(tree.at(DEVICE).join("1-5:1.1/driver")).unwrap();
    agent.judge_usb("1-5", "policy");
    refused(&tree, &agent);
    agent.usb_gone("1-5");
    agent.judge_usb("1-5", "event");
    assert_eq!(verdict(&agent), (Outcome::Allow, Reason::Allowed));
    // It was there before the device was judged.
    agent.usb_gone("1-5");
    tree.bind("1-5:1.1", "ftdi_sio");
    agent.judge_usb("1-5", "present");
    refused(&tree, &agent);
}

#[test]
fn a_pointer_that_gets_keys_is_refused() {
    let tree = Tree::new();
    tree.plug(&[[3, 1, 2]]);
    let hid = "1-5:1.0/0003:1234:5678.0001";
    tree.write(&format!("{DEVICE}/{hid}/report_descriptor"), MOUSE_REPORT);
    let mut agent = tree.agent();
    agent.judge_usb("1-5", "event");
    assert_eq!(verdict(&agent), (Outcome::Allow, Reason::Allowed));
    let input = tree.input(&format!("{hid}/input/input3"), MOUSE);
    agent.hold_usb_of(&input.join("event3"));
    assert_eq!(verdict(&agent), (Outcome::Allow, Reason::Allowed));
    let input = tree.input(&format!("{hid}/input/input4"), KEYBOARD);
    agent.hold_usb_of(Path::new(&input));
    refused(&tree, &agent);
}

/// Linux 6.1 shows a report descriptor when a driver has the device: before, the class counts.
#[test]
fn a_pointer_whose_report_says_keys_is_judged_as_a_keyboard() {
    for enrolled in [false, true] {
        let tree = Tree::new();
        tree.plug(&[[3, 1, 2]]);
        let hid = "1-5:1.0/0003:1234:5678.0001";
        let report = format!("{DEVICE}/{hid}/report_descriptor");
        tree.write(&report, "");
        let mut agent = tree.agent();
        agent.judge_usb("1-5", "event");
        assert_eq!(verdict(&agent), (Outcome::Allow, Reason::Allowed));
        if enrolled {
            let identity = agent.usb["1-5"].device.identity();
            agent.enrolled.devices.push(identity);
        }
        tree.write(&report, KEYBOARD_REPORT);
        let input = tree.input(&format!("{hid}/input/input3"), KEYBOARD);
        agent.hold_usb_of(&input);
        let (expected, authorised) = if enrolled {
            ((Outcome::Allow, Reason::LastOne), "1")
        } else {
            ((Outcome::Refuse, Reason::Refused), "0")
        };
        assert_eq!(verdict(&agent), expected);
        assert_eq!(tree.read(&format!("{DEVICE}/authorized")), authorised);
    }
}

#[test]
fn sound_that_becomes_a_midi_port_is_refused() {
    let tree = Tree::new();
    tree.plug(&SOUND);
    let mut agent = tree.agent();
    agent.judge_usb("1-5", "event");
    let card = tree.add("sound", "1-5:1.0/sound/card1/pcmC1D0p");
    agent.hold_usb_of(&card);
    assert_eq!(verdict(&agent), (Outcome::Allow, Reason::Allowed));
    let card = tree.add("sound", "1-5:1.0/sound/card1/midiC1D0");
    agent.hold_usb_of(&card);
    refused(&tree, &agent);
}

#[test]
fn a_disk_behind_what_is_no_storage_counts_and_takes_the_device_away() {
    let tree = Tree::new();
    tree.plug(&CARD_READER);
    let mut agent = tree.agent();
    agent.judge_usb("1-5", "event");
    assert_eq!(verdict(&agent), (Outcome::Allow, Reason::Allowed));
    tree.disk("sdb");
    agent.judge_disk("sdb", "event");
    refused(&tree, &agent);
    assert_eq!(agent.heartbeat().present, 1);
}

#[test]
fn early_boot_sets_no_read_only_flag() {
    let tree = Tree::new();
    tree.plug(&CARD_READER);
    tree.disk("sdb");
    // There is no node, so setting the flag fails, which is remembered.
    let mut agent = tree.agent();
    agent.judge_disk("sdb", "event");
    assert!(agent.open_disks.contains_key("sdb"));
    let mut agent = tree.agent_with(|config| config.read_only_flags = false);
    agent.judge_disk("sdb", "event");
    agent.hold_disks();
    assert!(agent.open_disks.is_empty());
}

#[test]
fn the_same_policy_again_changes_nothing() {
    let tree = Tree::new();
    let mut agent = tree.agent();
    let read = || ("1-5".to_owned(), TokenState::Unread);
    agent.token_states.extend([read()]);
    let same = agent.policy.canonical();
    agent.on_news(News::Policy(same.clone()));
    assert!(
        agent.token_states.contains_key("1-5"),
        "it was read under this very policy"
    );
    let other = same.replace("heartbeat_s = 20", "heartbeat_s = 10");
    agent.on_news(News::Policy(other));
    assert_eq!(agent.policy.heartbeat_s, 10);
    assert!(agent.token_states.is_empty());
}

/// What the kernel says about the tree's device.
fn event(action: Action, devtype: &str, name: &str) -> Uevent {
    Uevent {
        action,
        path: format!("/devices/usb1/{name}"),
        subsystem: "usb".to_owned(),
        devtype: devtype.to_owned(),
        number: 1,
    }
}

#[test]
fn the_kernel_looks_at_a_device_first() {
    let tree = Tree::new();
    tree.plug(&[[3, 1, 2]]);
    let mut agent = tree.agent();
    let device = |action| event(action, "usb_device", "1-5");
    agent.on_event(&device(Action::Add));
    assert!(agent.usb.is_empty(), "its driver has not begun");
    agent.on_event(&event(Action::Add, "usb_interface", "1-5:1.0"));
    assert!(agent.usb.is_empty());
    agent.on_event(&device(Action::Other));
    assert!(agent.usb.contains_key("1-5"));
    // And who has no driver at all is judged at the next tick.
    agent.on_event(&device(Action::Remove));
    agent.on_event(&device(Action::Add));
    agent.usb_late();
    assert!(agent.usb.contains_key("1-5"));
    agent.on_event(&device(Action::Remove));
    tree.write(&format!("{DEVICE}/driver/bind"), "");
    agent.on_event(&device(Action::Add));
    assert!(agent.usb.contains_key("1-5"), "it has begun");
}

#[test]
fn a_device_that_the_kernel_sets_up_anew_works_again() {
    let tree = Tree::new();
    tree.plug(&[[9, 0, 0]]);
    let mut agent = tree.agent();
    agent.judge_usb("1-5", "event");
    assert_eq!(verdict(&agent).0, Outcome::Allow);
    let interface = format!("{DEVICE}/1-5:1.0/authorized");
    assert_eq!(tree.read(&interface), "1");
    tree.write(&interface, "0");
    agent.on_event(&event(Action::Add, "usb_interface", "1-5:1.0"));
    assert_eq!(tree.read(&interface), "1");
}

#[test]
fn of_a_device_with_many_interfaces_a_few_are_looked_at() {
    let tree = Tree::new();
    tree.plug(&[[3, 0, 0]; 9]);
    let mut agent = tree.agent();
    agent.judge_usb("1-5", "event");
    assert_eq!(verdict(&agent).0, Outcome::Refuse);
    let looked = (0..9)
        .filter(|number| tree.read(&format!("{DEVICE}/1-5:1.{number}/authorized")) == "1")
        .count();
    assert_eq!(looked, 6);
    assert_eq!(tree.read("bus/hid/drivers_autoprobe"), "1");
    // A port that was slow is not looked at again by plugging in again.
    let verdict = agent.usb["1-5"].verdict.clone();
    agent.looked.clear();
    assert!(agent.may_read_reports("1-5", &verdict));
    agent.slow.insert("1-5".to_owned(), u64::MAX);
    assert!(!agent.may_read_reports("1-5", &verdict));
}

#[test]
fn an_answer_counts_for_its_question_alone() {
    let tree = Tree::new();
    tree.plug(&CARD_READER);
    let mut agent = tree.agent();
    agent.judge_usb("1-5", "event");
    let over = Arc::new(AtomicBool::new(false));
    agent.asking = Some(Asking {
        key: "1-5".to_owned(),
        number: 7,
        over: over.clone(),
    });
    let typed = Answer {
        typed: true,
        wrong: 0,
    };
    agent.on_note(Note::Answer(6, typed));
    assert!(agent.confirmed.is_empty() && agent.asks_for("1-5"));
    agent.usb_gone("1-5");
    assert!(agent.asking.is_none() && over.load(Ordering::Acquire));
    agent.judge_usb("1-5", "event");
    agent.on_note(Note::Answer(7, typed));
    assert!(agent.confirmed.is_empty(), "it was another device's");
}
