//! What people ask this program: the state, what a policy would do, what becomes of a device, and
//! tokens of company media.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use terminal::decide::{Known, Present, TokenState, decide};
use terminal::descriptor;
use terminal::device::Device;
use terminal::explain::{Language, explain};
use terminal::policy::{self, Policy};
use terminal::token::{self, Medium, TOKEN_BYTES, TOKEN_OFFSET, Token};

use crate::block::{self, Owner};
use crate::clock::{now_ms, uptime_ms};
use crate::config::{Config, hex};
use crate::machine::Enrolled;
use crate::sysfs::Sysfs;

/// A heartbeat that is older than this says that the agent does not run.
const STALE_MS: u64 = 400_000;

/// The state as `sekisho-post status` shows it.
#[derive(Debug)]
pub struct Status {
    /// All of it.
    pub json: Value,
    /// For people.
    pub text: String,
    /// Whether the terminal would pass for healthy.
    pub healthy: bool,
}

/// The state: what the running agent wrote, and what the kernel says now.
///
/// # Errors
/// None of it can be read.
pub fn status(config: &Config, sysfs: &Sysfs) -> Result<Status> {
    let path = config.run.join("status.json");
    let shown: Option<Value> = fs::read(&path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let age = shown
        .as_ref()
        .and_then(|it| it["uptime_ms"].as_u64())
        .map(|at| uptime_ms().saturating_sub(at));
    let running = age.is_some_and(|age| age < STALE_MS);
    let hubs = sysfs.hubs();
    let open: Vec<String> = hubs
        .iter()
        .filter(|hub| hub.authorized_default != 0 || hub.interface_authorized_default != 0)
        .map(|hub| hub.name.clone())
        .collect();
    let usbcore = sysfs.usbcore_default();
    let closed = usbcore == 0 && open.is_empty();
    let heartbeat = shown.as_ref().map(|it| it["heartbeat"].clone());
    let guard = heartbeat.as_ref().map(|it| it["guard"].clone());
    let guarded = guard.as_ref().is_some_and(|it| it["Pinned"].is_object());
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<10} {value}\n"));
    line(
        "agent",
        match age {
            Some(age) if running => format!("runs; last heartbeat {} s ago", age / 1000),
            _ => "does not run, or cannot say so; what the kernel closed stays closed".to_owned(),
        },
    );
    line(
        "kernel",
        if closed {
            format!(
                "closed: usbcore and {} root hubs take no device by themselves",
                hubs.len()
            )
        } else {
            format!(
                "OPEN: usbcore.authorized_default={usbcore}; open hubs: {}",
                open.join(", ")
            )
        },
    );
    if let Some(it) = &shown {
        let guard = &it["heartbeat"]["guard"];
        line(
            "guard",
            match (
                guard["Pinned"].as_object(),
                guard["Missing"]["why"].as_str(),
            ) {
                (Some(pinned), _) => format!(
                    "{} programs pinned, {} attempts refused; without: {}",
                    pinned["programs"], pinned["refused"], it["guard_lacks"]
                ),
                (None, why) => format!("MISSING: {}", why.unwrap_or("no reason given")),
            },
        );
        line(
            "gate",
            match (it["gate"].as_str(), it["online"].as_bool()) {
                (Some(gate), Some(true)) => format!("{gate}: takes reports"),
                (Some(gate), _) => format!(
                    "{gate}: not reached; {} reports wait",
                    it["heartbeat"]["queue"]
                ),
                (None, _) => "none; enrol this terminal".to_owned(),
            },
        );
        for device in it["devices"].as_array().into_iter().flatten() {
            let part = |name: &str| device[name].as_str().unwrap_or_default().to_owned();
            line(
                &part("device"),
                format!("{} ({}) {}", part("outcome"), part("reason"), part("name")),
            );
        }
    }
    Ok(Status {
        healthy: running && closed && guarded,
        json: json!({
            "running": running,
            "closed": closed,
            "usbcore_default": usbcore,
            "open_hubs": open,
            "agent": shown,
        }),
        text,
    })
}

/// What a policy would do with the devices that are present.
///
/// # Errors
/// It is none, or it would lock everybody out; the message says what to do.
pub fn policy_check(path: &Path, config: &Config, sysfs: &Sysfs) -> Result<String> {
    let policy = read_policy(path)?;
    let enrolled = Enrolled::read(&config.state.join("enrolled.json"))?;
    let devices: Vec<Device> = sysfs
        .usb_devices()
        .iter()
        .filter_map(|name| sysfs.usb_device(name).ok())
        .collect();
    policy::check(&policy, &devices)?;
    let mut text = format!(
        "{}: valid, digest {}\n",
        path.display(),
        hex(&policy.digest())
    );
    for device in &devices {
        let known = known(&enrolled, &policy, &devices, device);
        let verdict = decide(device, &known, &policy);
        text.push_str(&explain(device, &verdict, language()));
        text.push('\n');
    }
    if devices.is_empty() {
        text.push_str("no USB device is present: nothing to try it on\n");
    }
    Ok(text)
}

/// What becomes of a device, and why: a name in sysfs (`1-5.1`, `mmcblk0`) or a file with the bytes of
/// a `descriptors` file.
///
/// # Errors
/// There is no such device, or its descriptors do not add up.
pub fn explain_device(what: &str, config: &Config, sysfs: &Sysfs) -> Result<String> {
    let policy = in_force(config)?;
    let enrolled = Enrolled::read(&config.state.join("enrolled.json"))?;
    let path = Path::new(what);
    let device = if crate::sysfs::is_usb_device(what) {
        sysfs.usb_device(what)?
    } else if let Some(disk) = sysfs.disk(what) {
        let system = sysfs.system_disks(
            &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            &fs::read_to_string("/proc/swaps").unwrap_or_default(),
        );
        let owner = sysfs.owner(&disk, &system, &|disk| enrolled.has_disk(disk));
        if owner != Owner::Foreign {
            return Ok(format!(
                "{what}: the machine's own ({owner:?}); it is left alone\n"
            ));
        }
        disk.device(owner)
    } else if path.exists() {
        let bytes = crate::sysfs::read_bytes(path)?;
        Device::usb("0-0", descriptor::parse(&bytes)?).named(what, "")
    } else {
        bail!(
            "{what} is no USB device (such as 1-5.1), no disk (such as mmcblk0) and no file with \
             descriptors; `ls /sys/bus/usb/devices /sys/block` lists what is there"
        );
    };
    let present: Vec<Device> = sysfs
        .usb_devices()
        .iter()
        .filter_map(|name| sysfs.usb_device(name).ok())
        .collect();
    let verdict = decide(
        &device,
        &known(&enrolled, &policy, &present, &device),
        &policy,
    );
    let mut text = explain(&device, &verdict, language());
    text.push('\n');
    for ruling in &verdict.rulings {
        text.push_str(&format!(
            "  interface {}: {} ({})\n",
            ruling.number, ruling.kind, ruling.reason
        ));
    }
    Ok(text)
}

fn known(enrolled: &Enrolled, policy: &Policy, present: &[Device], device: &Device) -> Known {
    let alone = Known {
        enrolled: enrolled.devices.clone(),
        ..Known::default()
    };
    Known {
        enrolled: enrolled.devices.clone(),
        present: present
            .iter()
            .filter(|it| it.key != device.key)
            .map(|it| Present::new(it, &decide(it, &alone, policy)))
            .collect(),
        token: TokenState::Unread,
        ..Known::default()
    }
}

fn language() -> Language {
    let set = |name| std::env::var(name).unwrap_or_default();
    if set("LC_ALL").starts_with("ja") || set("LANG").starts_with("ja") {
        Language::Japanese
    } else {
        Language::English
    }
}

fn read_policy(path: &Path) -> Result<Policy> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Policy::parse(&text).with_context(|| format!("{} is no policy", path.display()))
}

/// The policy that the agent would have in force now.
fn in_force(config: &Config) -> Result<Policy> {
    let taken = config.state.join("policy.toml");
    if taken.exists() {
        read_policy(&taken)
    } else if config.policy.exists() {
        read_policy(&config.policy)
    } else {
        Ok(Policy::standard())
    }
}

/// Makes a key that signs tokens; gives the public half, for the policy.
///
/// # Errors
/// The file is there already, or cannot be written.
pub fn token_key(path: &Path) -> Result<String> {
    ensure!(
        !path.exists(),
        "{} is there already: media signed with it would lose their tokens",
        path.display()
    );
    let random = aws_lc_rs::rand::SystemRandom::new();
    let key = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| no_randomness())?;
    crate::files::replace(path, key.as_ref())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(hex(pair(path)?.public_key().as_ref()))
}

fn no_randomness() -> anyhow::Error {
    anyhow::anyhow!("the system gives no randomness")
}

fn pair(path: &Path) -> Result<Ed25519KeyPair> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ed25519KeyPair::from_pkcs8(&bytes)
        .map_err(|error| anyhow::anyhow!("{} holds no key: {error}", path.display()))
}

/// A medium to be given a token, or looked at: a disk of this machine, by name.
struct OpenMedium {
    file: fs::File,
    serial: String,
    size: u64,
}

fn open_medium(name: &str, sysfs: &Sysfs, write: bool) -> Result<OpenMedium> {
    let disk = sysfs
        .disk(name)
        .with_context(|| format!("{name} is no disk; give a name as in /sys/block"))?;
    let serial = match &disk.usb {
        Some(usb) => sysfs.usb_device(usb)?.serial,
        None => disk.device(Owner::Foreign).serial,
    };
    ensure!(
        !serial.is_empty(),
        "{name} says no serial: a token cannot be bound to it"
    );
    let file = if write {
        ensure!(
            !disk.partitions.is_empty() && first_sector(sysfs, &disk) * 512 >= 1 << 20,
            "{name} has no partition, or one that begins before 1 MiB, where the token stands; make \
             one that begins there"
        );
        let path = Path::new("/dev").join(name);
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write to {name}; sign media where no agent runs"))?;
        // The node is this disk's: another open of the same name says so.
        block::open(Path::new("/dev"), name, disk.number)?;
        file
    } else {
        block::open(Path::new("/dev"), name, disk.number)?
    };
    Ok(OpenMedium {
        file,
        serial: serial.clone(),
        size: disk.size,
    })
}

fn first_sector(sysfs: &Sysfs, disk: &block::Disk) -> u64 {
    disk.partitions
        .iter()
        .filter_map(|(name, _)| {
            let path = sysfs
                .path("block")
                .join(&disk.name)
                .join(name)
                .join("start");
            crate::sysfs::read_text(&path).ok()?.parse().ok()
        })
        .min()
        .unwrap_or(u64::MAX / 512)
}

/// Writes a signed token onto a medium, outside of its partitions.
///
/// # Errors
/// The medium says no serial, is mounted from its first megabyte, or cannot be written.
pub fn token_make(name: &str, key: &Path, client: &str, days: u64, sysfs: &Sysfs) -> Result<Token> {
    let mut medium = open_medium(name, sysfs, true)?;
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| no_randomness())?;
    let token = Token {
        serial: medium.serial.clone(),
        size: medium.size,
        id,
        client: client.to_owned(),
        until_ms: now_ms() + days.saturating_mul(86_400_000),
    };
    let signature = pair(key)?.sign(&token.to_sign());
    let signature: &[u8; 64] = signature
        .as_ref()
        .try_into()
        .context("no Ed25519 signature")?;
    let bytes = token.block(signature)?;
    medium.file.seek(SeekFrom::Start(TOKEN_OFFSET))?;
    medium.file.write_all(&bytes)?;
    medium.file.sync_all()?;
    Ok(token)
}

/// The token of a medium, if a key of the policy signed it.
///
/// # Errors
/// Why it does not count.
pub fn token_check(name: &str, config: &Config, sysfs: &Sysfs) -> Result<Token> {
    let policy = in_force(config)?;
    let mut medium = open_medium(name, sysfs, false)?;
    let mut bytes = [0; TOKEN_BYTES];
    medium.file.seek(SeekFrom::Start(TOKEN_OFFSET))?;
    medium.file.read_exact(&mut bytes)?;
    let known = Medium {
        serial: &medium.serial,
        size: medium.size,
    };
    Ok(token::verify(&bytes, &policy.keys, known, now_ms())?)
}
