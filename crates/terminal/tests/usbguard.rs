//! USBGuard, which nobody here wrote, judges the same devices by the rules that a policy is exported to:
//! its parser takes every rules file, and its daemon, which is shown the devices of `tests/devices` by
//! umockdev, decides on each. Where it decides otherwise, [`EXPLAINED`] says why; a difference that is
//! not there is red, one that no longer occurs, too.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout
)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use terminal::decide::{Known, Present, decide, unreadable};
use terminal::descriptor::{parse, report};
use terminal::device::Device;
use terminal::export::{Target, export};
use terminal::policy::Policy;

/// The policy that devices are judged by.
const POLICY: &str = r#"
version = 1
[devices]
hub = "allow"
keyboard = "confirm"
pointer = "allow"
headset = "allow"
smart-card = "allow"
[[allow]]
vendor = 0x0403
product = 0x6001
interfaces = ["ff:ff:ff"]
why = "the cash drawer"
[[allow]]
vendor = 0x1209
product = 0x0001
interfaces = ["ff:00:00", "03:00:00"]
why = "the console"
"#;

/// What of a device works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Works {
    All,
    Parts,
    Nothing,
}

impl fmt::Display for Works {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all of it",
            Self::Parts => "parts of it",
            Self::Nothing => "nothing",
        })
    }
}

use Works::{All, Nothing, Parts};

const HID: &str = "USBGuard does not see what HID sends: without the boot protocol of a mouse it counts as a keyboard";
const WHOLE: &str = "USBGuard decides on whole devices";

/// Each difference: the device, what works by our verdict and by USBGuard's, and why. The same table
/// is in docs/terminal-export.md.
const EXPLAINED: [(&str, Works, Works, &str); 10] = [
    (
        "headset-of-vendor-class",
        Nothing,
        All,
        "USBGuard does not look at the class of the device itself",
    ),
    ("headset-that-types", Parts, Nothing, WHOLE),
    ("headset-with-buttons", All, Nothing, HID),
    ("headset-with-storage", Parts, Nothing, WHOLE),
    (
        "keyboard, the only one",
        Nothing,
        All,
        "USBGuard asks for no code: the first keyboard works, or nobody could work",
    ),
    ("mouse-with-macros", Parts, Nothing, WHOLE),
    (
        "named-with-less",
        Nothing,
        All,
        "USBGuard takes a named model with fewer interfaces, too",
    ),
    ("pointer-without-boot-protocol", All, Nothing, HID),
    ("two-configurations", Parts, Nothing, WHOLE),
    ("webcam", Parts, Nothing, WHOLE),
];

/// A device as it is in `tests/devices`.
struct Fixture {
    name: String,
    product: String,
    serial: String,
    connect: String,
    descriptors: Vec<u8>,
    names: BTreeMap<u8, String>,
    reports: BTreeMap<u8, Vec<u8>>,
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/devices");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // The keyboard that is part of the machine is the first that the daemon sees.
    paths.sort_by_key(|path| (!path.ends_with("keyboard-built-in.txt"), path.clone()));
    paths.iter().map(|path| fixture(path)).collect()
}

fn fixture(path: &Path) -> Fixture {
    let mut fixture = Fixture {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        product: String::new(),
        serial: String::new(),
        connect: String::new(),
        descriptors: Vec::new(),
        names: BTreeMap::new(),
        reports: BTreeMap::new(),
    };
    for line in fs::read_to_string(path).unwrap().lines() {
        let (word, rest) = line.split_once(' ').unwrap();
        let numbered = || {
            let (number, rest) = rest.split_once(' ').unwrap();
            (number.parse().unwrap(), rest)
        };
        match word {
            "#" => {}
            "name" => fixture.product = rest.to_owned(),
            "serial" => fixture.serial = rest.replace('-', ""),
            "connect" => fixture.connect = rest.to_owned(),
            "descriptors" => fixture.descriptors.extend(unhex(rest)),
            "interface" => {
                let (number, name) = numbered();
                fixture.names.insert(number, name.to_owned());
            }
            "report" => {
                let (number, bytes) = numbered();
                fixture.reports.insert(number, unhex(bytes));
            }
            other => panic!("{}: {other}", path.display()),
        }
    }
    fixture
}

impl Fixture {
    /// As the agent would see it; `None`: its descriptors cannot be read.
    fn device(&self, key: &str) -> Option<Device> {
        let mut device = Device::usb(key, parse(&self.descriptors).ok()?);
        for interface in &mut device.interfaces {
            let number = interface.number;
            interface.report = self.reports.get(&number).map(|it| report(it).unwrap());
            interface.name = self.names.get(&number).cloned().unwrap_or_default();
        }
        device.built_in = self.connect == "hardwired";
        Some(device.named(&self.product, &self.serial))
    }

    /// What works by our verdict, beside the devices that are present.
    fn ours(&self, policy: &Policy, present: &[Present]) -> Works {
        let known = Known {
            present: present.to_vec(),
            ..Known::default()
        };
        let device = self.device("1-9");
        let verdict = device.map_or_else(unreadable, |it| decide(&it, &known, policy));
        let works: Vec<bool> = verdict
            .interfaces()
            .iter()
            .map(|(_, works)| *works)
            .collect();
        match (works.iter().any(|it| *it), works.iter().all(|it| *it)) {
            (true, true) => All,
            (true, false) => Parts,
            (false, _) => Nothing,
        }
    }

    /// As umockdev's description of it.
    fn mocked(&self, port: usize) -> String {
        let address = port + 1;
        let id = |at: usize| {
            let bytes = self.descriptors.get(at..at + 2).unwrap();
            format!("{:02x}{:02x}", bytes[1], bytes[0])
        };
        let hex: String = self
            .descriptors
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        format!(
            "P: {HUB}/1-{port}\nN: bus/usb/001/{address:03}={hex}\nE: BUSNUM=001\n\
             E: DEVNAME=/dev/bus/usb/001/{address:03}\nE: DEVNUM={address:03}\nE: DEVTYPE=usb_device\n\
             E: SUBSYSTEM=usb\nA: authorized=0\nA: idVendor={}\nA: idProduct={}\nA: product={}\n\
             A: serial={}\nA: speed=480\nA: port/connect_type={}\nH: descriptors={hex}\n\n",
            id(8),
            id(10),
            self.product,
            self.serial,
            self.connect,
        )
    }
}

const HUB: &str = "/devices/pci0000:00/0000:00:14.0/usb1";
/// The controller and its root hub.
const CONTROLLER: &str = "P: /devices/pci0000:00/0000:00:14.0\nE: SUBSYSTEM=pci\nA: class=0x0c0330\n\n\
P: /devices/pci0000:00/0000:00:14.0/usb1\n\
N: bus/usb/001/001=12010002090001406B1D020015040302010109021900010100E0000904000001090000000705810304000C\n\
E: BUSNUM=001\nE: DEVNAME=/dev/bus/usb/001/001\nE: DEVNUM=001\nE: DEVTYPE=usb_device\nE: SUBSYSTEM=usb\n\
A: authorized=1\nA: authorized_default=0\nA: idVendor=1d6b\nA: idProduct=0002\nA: product=xHCI\nA: serial=0\n\
A: speed=480\n\
H: descriptors=12010002090001406B1D020015040302010109021900010100E0000904000001090000000705810304000C\n\n";

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("usbguard-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("devices")).unwrap();
        Self(path)
    }

    /// Writes a file as USBGuard wants it: for its owner alone.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const MISSING: &str = "it is missing; on Debian: apt-get install usbguard umockdev";

/// What the daemon lets work, by port, once it has judged as many devices as there are. Its own
/// settings are the exported ones, but for where things are and how it sees devices.
fn theirs(policy: &Policy, name: &str, devices: &[&Fixture]) -> Vec<Works> {
    let folder = Folder::new(name);
    let files = export(policy, Target::Usbguard).files;
    let file = |name: &str| &files.iter().find(|file| file.name == name).unwrap().bytes;
    let rules = folder.write("rules.conf", file("rules.conf"));
    let audit = folder.0.join("audit.log");
    let mut settings = String::from_utf8(file("usbguard-daemon.conf").clone()).unwrap();
    for (key, value) in [
        ("RuleFile", rules.to_str().unwrap()),
        ("AuditFilePath", audit.to_str().unwrap()),
        ("DeviceManagerBackend", "umockdev"),
    ] {
        let line = settings
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap()
            .to_owned();
        settings = settings.replace(&line, &format!("{key}={value}"));
    }
    let settings = folder.write("usbguard-daemon.conf", settings.as_bytes());
    let mut mocked = CONTROLLER.to_owned();
    for (port, fixture) in (1..).zip(devices) {
        mocked.push_str(&fixture.mocked(port));
    }
    folder.write("devices/all.umockdev", mocked.as_bytes());
    let log = fs::File::create(folder.0.join("daemon.log")).unwrap();
    let child = Command::new("umockdev-wrapper")
        .args(["/usr/sbin/usbguard-daemon", "-k", "-P", "-c"])
        .arg(&settings)
        .env("USBGUARD_UMOCKDEV_DEVICEDIR", folder.0.join("devices"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("umockdev-wrapper: {error}; {MISSING}"));
    let mut running = Running(child);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let audit = fs::read_to_string(&audit).unwrap_or_default();
        let judged: Vec<Option<Works>> = (1..=devices.len())
            .map(|port| judged(&audit, port))
            .collect();
        // It judges them in their order. One whose descriptors it cannot read it leaves alone: switched off.
        if judged.last().is_some_and(Option::is_some) {
            let unread = |fixture: &Fixture| parse(&fixture.descriptors).is_err();
            let judged = judged.into_iter().zip(devices);
            return judged
                .map(|(works, fixture)| match works {
                    Some(works) => works,
                    None if unread(fixture) => Nothing,
                    None => panic!("{} was not judged", fixture.name),
                })
                .collect();
        }
        let ended = running.0.try_wait().unwrap();
        if ended.is_some() || Instant::now() > deadline {
            let said = fs::read_to_string(folder.0.join("daemon.log")).unwrap();
            let judged = judged.iter().flatten().count();
            panic!("the daemon judged {judged} devices (ended: {ended:?}):\n{said}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The newest target of a port in the daemon's audit log.
fn judged(audit: &str, port: usize) -> Option<Works> {
    let device = format!("device.system_name='{HUB}/1-{port}'");
    let lines = audit.lines().filter(|line| line.contains(&device));
    let target = lines
        .filter_map(|line| line.split("target.new='").nth(1))
        .filter_map(|rest| rest.split('\'').next())
        .next_back()?;
    match target {
        "allow" => Some(All),
        "block" => Some(Nothing),
        other => panic!("{other}: {audit}"),
    }
}

#[test]
fn usbguard_judges_as_we_do_or_it_is_explained() {
    let policy = Policy::parse(POLICY).unwrap();
    let fixtures = fixtures();
    let all: Vec<&Fixture> = fixtures.iter().collect();
    let built_in = fixtures[0].device("1-1").unwrap();
    let built_in = Present::new(&built_in, &decide(&built_in, &Known::default(), &policy));
    let mut judged: Vec<(String, Works, Works)> = Vec::new();
    for (fixture, theirs) in all.iter().zip(theirs(&policy, "all", &all)) {
        let present: &[Present] = match fixture.name.as_str() {
            "keyboard-built-in" => &[],
            _ => std::slice::from_ref(&built_in),
        };
        judged.push((fixture.name.clone(), fixture.ours(&policy, present), theirs));
    }
    let keyboard = all.iter().find(|it| it.name == "keyboard").unwrap();
    let alone = theirs(&policy, "alone", &[keyboard]);
    judged.push((
        "keyboard, the only one".to_owned(),
        keyboard.ours(&policy, &[]),
        alone[0],
    ));
    for (name, ours, theirs) in &judged {
        println!("{name}: ours {ours}, USBGuard {theirs}");
    }
    // Both kinds of verdicts occur, or nothing was compared.
    assert!(judged.iter().filter(|(.., theirs)| *theirs == All).count() >= 8);
    judged.retain(|(_, ours, theirs)| ours != theirs);
    judged.sort_by(|a, b| a.0.cmp(&b.0));
    let explained: Vec<_> = EXPLAINED
        .iter()
        .map(|(name, ours, theirs, _)| ((*name).to_owned(), *ours, *theirs))
        .collect();
    assert_eq!(judged, explained, "found, and explained");
}

#[test]
fn the_differences_are_documented() {
    let page = include_str!("../../../docs/terminal-export.md");
    for (name, ours, theirs, why) in EXPLAINED {
        let row = format!("| {name} | {ours} | {theirs} | {why} |");
        assert!(page.contains(&row), "docs/terminal-export.md lacks\n{row}");
    }
}

/// Every rule and value of a policy gives rules that Debian's parser takes; one that is broken it
/// does not take.
#[test]
fn the_parser_takes_the_rules() {
    let folder = Folder::new("parser");
    let takes = |rules: &[u8]| {
        let file = folder.write("rules.conf", rules);
        let output = Command::new("usbguard-rule-parser")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("usbguard-rule-parser: {error}; {MISSING}"));
        output.status.success()
    };
    let kinds = [
        "hub",
        "keyboard",
        "pointer",
        "headset",
        "smart-card",
        "network",
        "serial",
        "printer",
        "camera",
        "bluetooth",
    ];
    let mut policies = vec![Policy::standard(), Policy::parse(POLICY).unwrap()];
    for kind in kinds {
        for rule in ["allow", "confirm"] {
            let text = format!("version = 1\n[devices]\n{kind} = \"{rule}\"\n");
            policies.extend(Policy::parse(&text).ok());
        }
    }
    policies.push(Policy::parse("version = 1").unwrap());
    assert!(policies.len() > kinds.len() + 3);
    for policy in policies {
        let rules = export(&policy, Target::Usbguard).files.remove(0).bytes;
        assert!(takes(&rules), "{}", String::from_utf8_lossy(&rules));
    }
    assert!(!takes(b"allow with-interface match-all { 03:*:01 }\n"));
}
