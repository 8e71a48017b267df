//! The guard: BPF LSM programs (`bpf/guard.bpf.c`) that refuse writes to foreign storage, pinned so
//! that they outlive the agent.
//!
//! Programs that are pinned already are taken over, never attached twice; those of another version
//! of the file are attached first and the old ones let go afterwards, so that there is no moment
//! without a guard. The maps stay through both: counts continue.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::Lsm;
use aya::programs::links::{FdLink, PinnedLink};
use aya::{Btf, Ebpf, EbpfLoader};
use nix::mount::{MsFlags, mount};
use terminal::sha256;
use thiserror::Error;

use crate::config::hex;

/// The folder of the maps; another layout gets another name.
const MAPS: &str = "maps-1";
/// A compiled guard is about 130 KiB.
const OBJECT_BYTES_MAX: u64 = 4 << 20;

/// A program of the guard and the hook it is for.
#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    hook: &'static str,
    /// The first Linux that has the hook, where that is later than 6.1.
    since: Option<&'static str>,
    /// The program for the hook's other form: one of the two is enough.
    or: Option<&'static str>,
}

const fn hook(name: &'static str, hook: &'static str) -> Program {
    Program {
        name,
        hook,
        since: None,
        or: None,
    }
}

/// Every program of guard.bpf.c.
const PROGRAMS: [Program; 21] = [
    hook("guard_open", "file_open"),
    hook("guard_held", "file_permission"),
    hook("guard_map", "mmap_file"),
    hook("guard_control", "file_ioctl"),
    Program {
        since: Some("6.8"),
        ..hook("guard_control32", "file_ioctl_compat")
    },
    hook("guard_mount", "sb_set_mnt_opts"),
    hook("guard_mount_call", "sb_mount"),
    hook("guard_remount", "sb_remount"),
    hook("guard_create", "inode_create"),
    hook("guard_mkdir", "inode_mkdir"),
    hook("guard_rmdir", "inode_rmdir"),
    hook("guard_unlink", "inode_unlink"),
    hook("guard_symlink", "inode_symlink"),
    hook("guard_link", "inode_link"),
    hook("guard_mknod", "inode_mknod"),
    hook("guard_rename", "inode_rename"),
    Program {
        or: Some("guard_setattr_idmap"),
        ..hook("guard_setattr", "inode_setattr")
    },
    Program {
        or: Some("guard_setattr"),
        ..hook("guard_setattr_idmap", "inode_setattr")
    },
    hook("guard_setxattr", "inode_setxattr"),
    hook("guard_removexattr", "inode_removexattr"),
    Program {
        since: Some("6.2"),
        ..hook("guard_set_acl", "inode_set_acl")
    },
];

/// Programs that every supported kernel takes: with fewer the guard is incomplete.
pub const PROGRAMS_MIN: u16 = 18;

/// Names of what is refused, in the order of `counts` in guard.bpf.c.
pub const CHANNELS: [&str; 10] = [
    "file-write",
    "device-write",
    "control",
    "mount",
    "remount",
    "entry",
    "attribute",
    "held",
    "usbfs",
    "generic",
];

/// What a key of the maps stands for: the number's upper half in guard.bpf.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A block device, or the superblock on it.
    Block(u32),
    /// A character device.
    Character(u32),
    /// A superblock without a device.
    Anonymous(u32),
}

impl Key {
    fn number(self) -> u64 {
        match self {
            Self::Block(dev) => u64::from(dev),
            Self::Character(dev) => 1 << 32 | u64::from(dev),
            Self::Anonymous(dev) => 2 << 32 | u64::from(dev),
        }
    }
}

/// How much the devices of a character driver are refused that are not the machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// To be written: usbfs.
    Writing = 1,
    /// To be opened at all: what passes commands through to a disk.
    All = 2,
}

/// Why there is no guard.
#[derive(Debug, Error)]
pub enum GuardError {
    /// The kernel does not ask BPF programs.
    #[error(
        "the kernel runs without the security module `bpf` (it has: {0}); add it to lsm= on the kernel's command line"
    )]
    Lsm(String),
    /// No type information, or an object that is none.
    #[error("{0}")]
    Unusable(String),
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing could be attached.
    #[error("no program could be attached: {0}")]
    Refused(String),
}

/// The guard, attached and pinned.
pub struct Guard {
    /// Programs attached.
    pub programs: u16,
    /// Hooks that are not guarded, and why.
    pub lacks: Vec<String>,
    /// Whether the programs were there before.
    pub taken_over: bool,
    links: PathBuf,
    settings: Array<MapData, u64>,
    own: HashMap<MapData, u64, u64>,
    broker: HashMap<MapData, u64, u64>,
    drivers: HashMap<MapData, u64, u64>,
    filesystems: HashMap<MapData, u64, u64>,
    counts: Array<MapData, u64>,
    refused: HashMap<MapData, u64, u64>,
    /// Foreign devices that a process may write to, with the process.
    brokers: BTreeMap<u64, u64>,
    /// What the maps were told: own, drivers, filesystems.
    told: Option<[BTreeMap<u64, u64>; 3]>,
}

impl Guard {
    /// Attaches the guard of the file `object`, or takes over the one that is pinned. It refuses
    /// nothing before [`Self::switch_on`].
    ///
    /// # Errors
    /// [`GuardError`]: what the kernel or the machine lacks.
    pub fn attach(object: &Path, pins: &Path) -> Result<Self, GuardError> {
        needs_lsm()?;
        let file = |path: &Path| {
            let path = path.display().to_string();
            move |source| GuardError::File { path, source }
        };
        let bytes = read(object).map_err(file(object))?;
        prepare(pins)?;
        let digest = sha256(&bytes);
        let name = format!("links-{}", hex(digest.get(..8).unwrap_or_default()));
        let links = pins.join(&name);
        let maps = pins.join(MAPS);
        fs::create_dir_all(&maps).map_err(file(&maps))?;
        let complete = is_complete(&maps, &links);
        let mut failed = BTreeMap::new();
        if !complete {
            // What an interrupted start left is let go only after new programs are attached. The
            // kernel takes no names with a dot here.
            let fresh = pins.join(format!("{name}-new"));
            let _ = fs::remove_dir_all(&fresh);
            fs::create_dir_all(&fresh).map_err(file(&fresh))?;
            failed = load(&bytes, &maps, &fresh)?;
            let _ = fs::remove_dir_all(&links);
            fs::rename(&fresh, &links).map_err(file(&links))?;
        }
        for other in folders(pins) {
            if other.starts_with("links-") && other != name {
                let _ = fs::remove_dir_all(pins.join(other));
            }
        }
        let mut guard = Self::open(&maps, links, &failed, complete)?;
        if !complete {
            let programs = u64::from(guard.programs);
            guard.settings.set(1, programs, 0).map_err(unusable)?;
        }
        Ok(guard)
    }

    fn open(
        maps: &Path,
        links: PathBuf,
        failed: &BTreeMap<&str, String>,
        taken_over: bool,
    ) -> Result<Self, GuardError> {
        let attached = pinned(&links);
        Ok(Self {
            programs: u16::try_from(attached.len()).unwrap_or(u16::MAX),
            lacks: lacks(&attached, failed),
            taken_over,
            links,
            settings: array(maps, "settings")?,
            own: table(maps, "own")?,
            broker: table(maps, "broker")?,
            drivers: table(maps, "drivers")?,
            filesystems: table(maps, "filesystems")?,
            counts: array(maps, "counts")?,
            refused: HashMap::try_from(Map::LruHashMap(map(maps, "refused")?)).map_err(unusable)?,
            brokers: BTreeMap::new(),
            told: None,
        })
    }

    /// What is not any more as it was left, read back from the kernel.
    #[must_use]
    pub fn tampered(&self) -> Option<&'static str> {
        if self.attached() < self.programs {
            return Some("somebody took programs off");
        }
        // What was never told has nothing to be measured by.
        let told = self.told.as_ref()?;
        if !self.is_on() {
            return Some("somebody switched it off");
        }
        // Of these only the keys count, and keys alone are read in half the calls.
        let keys = [(&self.own, &told[0]), (&self.filesystems, &told[2])];
        let same_keys = |(map, told): &(&HashMap<MapData, u64, u64>, &BTreeMap<u64, u64>)| {
            let keys: BTreeSet<u64> = map.keys().flatten().collect();
            keys.iter().eq(told.keys())
        };
        let same = |(map, told): &(&HashMap<MapData, u64, u64>, &BTreeMap<u64, u64>)| {
            map.iter().flatten().collect::<BTreeMap<_, _>>() == **told
        };
        let all = [(&self.drivers, &told[1]), (&self.broker, &self.brokers)];
        let held = keys.iter().all(same_keys) && all.iter().all(same);
        (!held).then_some("somebody told it otherwise")
    }

    /// Lets the programs refuse. What is the machine's own has to be known before.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn switch_on(&mut self) -> Result<(), GuardError> {
        self.settings
            .set(0, 1, 0)
            .map_err(|error| GuardError::Unusable(error.to_string()))
    }

    /// Says what is the machine's own: everything else is foreign; which character drivers are closed,
    /// by their major number, and which filesystems without a device, by their magic number. New ones
    /// come in before old ones go.
    ///
    /// # Errors
    /// What the kernel says; a map is then as it was, or fuller.
    pub fn tell(
        &mut self,
        own: &BTreeSet<Key>,
        drivers: &BTreeMap<u32, Closed>,
        filesystems: &BTreeSet<u64>,
    ) -> Result<(), GuardError> {
        let told = [
            own.iter().map(|key| (key.number(), 1)).collect(),
            drivers
                .iter()
                .map(|(major, how)| (u64::from(*major), *how as u64))
                .collect(),
            filesystems.iter().map(|magic| (*magic, 1)).collect(),
        ];
        let [own, drivers, filesystems] = &told;
        sync(&mut self.drivers, drivers)?;
        sync(&mut self.filesystems, filesystems)?;
        sync(&mut self.own, own)?;
        // An agent that was killed while it wrote left its number there.
        sync(&mut self.broker, &self.brokers)?;
        self.told = Some(told);
        Ok(())
    }

    /// Lets one process write to one device; as [`this_process`] names it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_broker(&mut self, key: Key, process: u64) -> Result<(), GuardError> {
        self.brokers.insert(key.number(), process);
        sync(&mut self.broker, &self.brokers)
    }

    /// Lets nobody write to any foreign device.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn close_brokers(&mut self) -> Result<(), GuardError> {
        self.brokers.clear();
        sync(&mut self.broker, &self.brokers)
    }

    /// How often each channel was refused since the guard was first pinned, as the kernel counts.
    #[must_use]
    pub fn counts(&self) -> [u64; CHANNELS.len()] {
        let mut counts = [0; CHANNELS.len()];
        for (index, count) in (0..).zip(&mut counts) {
            *count = self.counts.get(&index, 0).unwrap_or_default();
        }
        counts
    }

    /// The same by channel (index in [`CHANNELS`]) and device (the map's key), for the devices that
    /// were refused last.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<(usize, u64), u64> {
        self.refused
            .iter()
            .flatten()
            .map(|(key, count)| {
                let channel = usize::try_from(key >> 48).unwrap_or(usize::MAX);
                ((channel, key & 0xffff_ffff_ffff), count)
            })
            .collect()
    }

    /// The programs that are still attached and pinned, read back from the kernel: whoever unpins
    /// one is seen here.
    #[must_use]
    pub fn attached(&self) -> u16 {
        u16::try_from(pinned(&self.links).len()).unwrap_or(u16::MAX)
    }

    /// Whether the programs refuse, read back from the kernel.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.settings.get(&0, 0).is_ok_and(|mode| mode == 1)
    }
}

fn unusable(error: impl std::fmt::Display) -> GuardError {
    GuardError::Unusable(error.to_string())
}

/// Programs attach without an error where nobody asks them: the list of active modules decides.
fn needs_lsm() -> Result<(), GuardError> {
    let path = Path::new("/sys/kernel/security/lsm");
    if !path.exists() {
        // In early boot nobody has mounted it yet.
        let _ = mount(
            Some("securityfs"),
            "/sys/kernel/security",
            Some("securityfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            None::<&str>,
        );
    }
    let list = fs::read_to_string(path).map_err(|source| GuardError::File {
        path: path.display().to_string(),
        source,
    })?;
    if list.trim().split(',').any(|module| module == "bpf") {
        Ok(())
    } else {
        Err(GuardError::Lsm(list.trim().to_owned()))
    }
}

fn read(object: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(object)?.len() > OBJECT_BYTES_MAX {
        return Err(io::Error::other("longer than any guard"));
    }
    fs::read(object)
}

/// Makes the folder of the pins, with the filesystem for it.
fn prepare(pins: &Path) -> Result<(), GuardError> {
    let file = |source| GuardError::File {
        path: pins.display().to_string(),
        source,
    };
    let parent = pins.parent().unwrap_or(pins);
    let mounted = nix::sys::statfs::statfs(parent)
        .is_ok_and(|it| it.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC);
    if !mounted {
        mount(
            Some("bpf"),
            parent,
            Some("bpf"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            None::<&str>,
        )
        .map_err(|error| file(error.into()))?;
    }
    fs::create_dir_all(pins).map_err(file)
}

/// Whether as many programs are pinned as were attached when the file was loaded first.
fn is_complete(maps: &Path, links: &Path) -> bool {
    let attached = array(maps, "settings").and_then(|it| it.get(&1, 0).map_err(unusable));
    attached.is_ok_and(|attached| attached > 0 && pinned(links).len() as u64 >= attached)
}

/// The hooks without a program, and why.
fn lacks(attached: &[String], failed: &BTreeMap<&str, String>) -> Vec<String> {
    let has = |name: &str| attached.iter().any(|it| it == name);
    PROGRAMS
        .iter()
        .filter(|program| !has(program.name) && !program.or.is_some_and(has))
        .map(|program| {
            let since = program
                .since
                .map(|since| format!(" (since Linux {since})"))
                .unwrap_or_default();
            let why = failed.get(program.name).map_or("not attached", |it| it);
            format!("{}{since}: {why}", program.hook)
        })
        .collect()
}

/// Loads and attaches every program that the kernel takes; names those that it does not.
fn load(
    bytes: &[u8],
    maps: &Path,
    links: &Path,
) -> Result<BTreeMap<&'static str, String>, GuardError> {
    let btf = Btf::from_sys_fs().map_err(|error| {
        GuardError::Unusable(format!("the kernel has no type information (BTF): {error}"))
    })?;
    let mut object = EbpfLoader::new()
        .btf(Some(&btf))
        .default_map_pin_directory(maps)
        .load(bytes)
        .map_err(unusable)?;
    let failed: BTreeMap<&str, String> = PROGRAMS
        .into_iter()
        .filter_map(|program| {
            let error = attach(&mut object, &btf, program, links).err()?;
            Some((program.name, error))
        })
        .collect();
    if failed.len() == PROGRAMS.len() {
        return Err(GuardError::Refused(lacks(&[], &failed).join("; ")));
    }
    Ok(failed)
}

fn attach(object: &mut Ebpf, btf: &Btf, program: Program, links: &Path) -> Result<(), String> {
    let loaded: &mut Lsm = object
        .program_mut(program.name)
        .ok_or("the object has no such program")?
        .try_into()
        .map_err(text)?;
    loaded.load(program.hook, btf).map_err(text)?;
    let link = loaded.attach().map_err(text)?;
    let link: FdLink = loaded.take_link(link).map_err(text)?.into();
    link.pin(links.join(program.name)).map_err(text)?;
    Ok(())
}

/// The first line of an error and of its cause: the verifier's log is pages long.
fn text(error: impl std::error::Error) -> String {
    let first = |error: &dyn std::error::Error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    };
    match error.source() {
        Some(source) => format!("{}: {}", first(&error), first(source)),
        None => first(&error),
    }
}

/// The names of pinned links that the kernel still has.
fn pinned(links: &Path) -> Vec<String> {
    folders(links)
        .into_iter()
        .filter(|name| PinnedLink::from_pin(links.join(name)).is_ok())
        .collect()
}

fn folders(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn map(maps: &Path, name: &str) -> Result<MapData, GuardError> {
    MapData::from_pin(maps.join(name)).map_err(unusable)
}

fn array(maps: &Path, name: &str) -> Result<Array<MapData, u64>, GuardError> {
    Array::try_from(Map::Array(map(maps, name)?)).map_err(unusable)
}

fn table(maps: &Path, name: &str) -> Result<HashMap<MapData, u64, u64>, GuardError> {
    HashMap::try_from(Map::HashMap(map(maps, name)?)).map_err(unusable)
}

fn sync(
    map: &mut HashMap<MapData, u64, u64>,
    wanted: &BTreeMap<u64, u64>,
) -> Result<(), GuardError> {
    let present: BTreeMap<u64, u64> = map.iter().flatten().collect();
    for (key, value) in wanted {
        if present.get(key) != Some(value) {
            map.insert(key, value, 0).map_err(unusable)?;
        }
    }
    for key in present.keys().filter(|key| !wanted.contains_key(key)) {
        map.remove(key).map_err(unusable)?;
    }
    Ok(())
}
/// This process as the guard knows one: its start in hundredths of a second since the kernel's, and below
/// that its id, which alone may come again for another process.
///
/// # Errors
/// `/proc` is not there, or says something else than the kernel does.
pub fn this_process() -> std::io::Result<u64> {
    /// "starttime" of proc(5), counted from what follows the name.
    const STARTED: usize = 19;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
    let started = rest.split_whitespace().nth(STARTED);
    let started: Option<u64> = started.and_then(|it| it.parse().ok());
    let started = started.ok_or_else(|| std::io::Error::other("/proc/self/stat has no start"))?;
    Ok(started << 32 | u64::from(std::process::id()))
}
