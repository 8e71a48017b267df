//! A folder in memory that forgets what was not synced and fails where it is told to.
//!
//! Files and names are durable apart: a write is durable after its file's sync, a creation, rename
//! or removal after the folder's. A fault at step n fails that operation, with its effect kept or
//! not, and everything after it: the process is taken to have ended there.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use crate::frame::{self, Found, SegmentHeader};
use crate::io::{Io, IoFile};

pub(crate) use store::SimStore;

/// What a disk can tear.
const SECTOR: usize = 512;

/// What is left after a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crash {
    /// Only what was synced.
    Lost,
    /// Everything, as when the process alone was killed.
    Kept,
    /// What was synced, and all names: of files that were not synced too, with what they hold on disk.
    Names,
    /// As [`Crash::Names`], and of the rest the content of this one file.
    One(&'static str),
    /// What was synced, and of the rest some sectors and a first part of the names.
    Torn(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// Counted from 0 over creations, writes, syncs, renames and removals.
    pub(crate) step: u64,
    /// Whether the failed operation happened all the same.
    pub(crate) persisted: bool,
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Move(String, String),
    Remove(String),
}

impl NameChange {
    fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Move(name, _) | Self::Remove(name) => name,
        }
    }
}

#[derive(Clone)]
enum Write {
    Bytes(usize, Vec<u8>),
    Cut(usize),
}

#[derive(Clone, Default)]
struct Node {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync.
    unsynced: Vec<Write>,
}

impl Node {
    fn sync(&mut self) {
        self.durable = self.content.clone();
        self.unsynced.clear();
    }

    /// The frames that were written since the last sync.
    fn commit(&self) -> Vec<String> {
        let seed = SegmentHeader::decode(&self.content).unwrap().seed();
        let mut frames = Vec::new();
        for write in &self.unsynced {
            let Write::Bytes(_, bytes) = write else {
                continue;
            };
            let mut at = 0;
            while let Found::Frame(frame) = frame::look(&bytes[at..], seed) {
                at += frame.len;
                let record = event::record::decode(frame.record);
                let debug = record.map_or_else(|_| "Root".into(), |body| format!("{body:?}"));
                let word = debug.split(|c: char| !c.is_alphanumeric()).next();
                frames.push(word.unwrap().to_owned());
            }
        }
        frames
    }

    fn has_grown(&self) -> bool {
        self.durable.len() < self.content.len()
    }
}

/// A sync that a process asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Synced {
    pub(crate) step: u64,
    /// The file or folder, what is committed, or what waits for the sync of everything.
    pub(crate) what: String,
}

#[derive(Clone, Default)]
struct Disk {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    steps: u64,
    fault: Option<Fault>,
    down: bool,
    full: bool,
    /// Steps that take space and still find some; `None`: all do.
    space: Option<u64>,
    lies: bool,
    /// The number of a sync that says that it worked and does nothing.
    drops: Option<usize>,
    /// All syncs, of folders too.
    asked: Vec<Synced>,
    syncs: u64,
}

impl Disk {
    /// Counts a sync; whether it does what it says.
    fn does_sync(&mut self, what: String) -> bool {
        let number = self.asked.len();
        // Its step was counted already.
        let step = self.steps - 1;
        self.asked.push(Synced { step, what });
        !self.lies && self.drops != Some(number)
    }

    fn start_anew(&mut self) {
        (self.fault, self.down, self.steps) = (None, false, 0);
        (self.drops, self.asked) = (None, Vec::new());
    }

    /// A file's name; for a commit what it consists of.
    fn about(&self, node: usize) -> String {
        let mut names = self.names.iter();
        let named = names.find(|(_, it)| **it == node);
        let name = named.map_or("a file without name", |(name, _)| name);
        if name.ends_with(".wal") {
            return format!("{name}: {}", self.nodes[node].commit().join(" "));
        }
        name.to_owned()
    }

    /// What waits for its name.
    fn staged(&self) -> String {
        let staged = self.names.keys().filter_map(|name| {
            let (_, name) = name.strip_suffix(".new")?.rsplit_once('/')?;
            Some(name)
        });
        let staged: BTreeSet<&str> = staged.collect();
        format!("all for {}", Vec::from_iter(staged).join(" and "))
    }
}

/// One of its folders; the prefix of its names.
#[derive(Clone, Default)]
pub(crate) struct Sim(Arc<Mutex<Disk>>, &'static str);

impl Sim {
    pub(crate) fn with_fault(fault: Fault) -> Self {
        let sim = Self::default();
        sim.set_fault(fault);
        sim
    }

    /// The folder of the snapshots on the same disk.
    pub(crate) fn snapshots(&self) -> Self {
        Self(Arc::clone(&self.0), "snapshots/")
    }

    /// The folder of the logs on the same disk.
    pub(crate) fn logs(&self) -> SimStore {
        SimStore(Self(Arc::clone(&self.0), "logs/"))
    }

    /// The folder of the archive on the same disk.
    pub(crate) fn archive(&self) -> Self {
        Self(Arc::clone(&self.0), "archive/")
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.1)
    }

    /// The plain name, if it is in this folder.
    fn plain<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.1).filter(|name| !name.contains('/'))
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.0.lock().unwrap().fault = Some(fault);
    }

    /// Syncs say that they worked and do nothing.
    pub(crate) fn lie(&self) {
        self.0.lock().unwrap().lies = true;
    }

    /// The sync of this number says that it worked and does nothing.
    pub(crate) fn drop_sync(&self, number: usize) {
        self.0.lock().unwrap().drops = Some(number);
    }

    /// All syncs so far, of folders too.
    pub(crate) fn asked(&self) -> Vec<Synced> {
        self.0.lock().unwrap().asked.clone()
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    /// After so many further steps that take space there is none, whatever `free_bytes` says.
    pub(crate) fn set_space(&self, steps: Option<u64>) {
        self.0.lock().unwrap().space = steps;
    }

    /// Steps that take space and still find some.
    pub(crate) fn space(&self) -> Option<u64> {
        self.0.lock().unwrap().space
    }

    /// Takes space for one step.
    fn take_space(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        match &mut disk.space {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.0.lock().unwrap().steps
    }

    /// Syncs of files so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.0.lock().unwrap().syncs
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let disk = self.0.lock().unwrap();
        disk.nodes[disk.names[&self.name(name)]].content.clone()
    }

    /// Changes a file's bytes on disk behind everybody's back.
    pub(crate) fn alter(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.0.lock().unwrap();
        let node = disk.names[&self.name(name)];
        let node = &mut disk.nodes[node];
        change(&mut node.content);
        node.durable = node.content.clone();
    }

    /// The disk after a crash, in another machine.
    pub(crate) fn after(&self, crash: Crash) -> Self {
        let mut disk = self.0.lock().unwrap().clone();
        let mut dice = match crash {
            Crash::Torn(seed) => Dice(seed),
            _ => Dice(0),
        };
        let kept_names = match crash {
            Crash::Lost => 0,
            Crash::Kept | Crash::Names | Crash::One(_) => disk.unsynced_names.len(),
            Crash::Torn(_) => dice.below(disk.unsynced_names.len() + 1),
        };
        let changes: Vec<_> = disk.unsynced_names.drain(..).take(kept_names).collect();
        for change in changes {
            apply(&mut disk.durable_names, change);
        }
        disk.names = disk.durable_names.clone();
        let one = match crash {
            Crash::One(name) => disk.names.get(name).copied(),
            _ => None,
        };
        for (number, node) in disk.nodes.iter_mut().enumerate() {
            match crash {
                _ if one == Some(number) => node.durable = node.content.clone(),
                Crash::Lost | Crash::Names | Crash::One(_) => {}
                Crash::Kept => node.durable = node.content.clone(),
                Crash::Torn(_) => {
                    for change in std::mem::take(&mut node.unsynced) {
                        match change {
                            Write::Bytes(at, bytes) => {
                                tear(&mut node.durable, at, &bytes, &mut dice);
                            }
                            Write::Cut(at) if dice.below(2) == 0 => node.durable.truncate(at),
                            Write::Cut(_) => {}
                        }
                    }
                }
            }
            node.content = node.durable.clone();
            node.unsynced.clear();
        }
        disk.start_anew();
        Self(Arc::new(Mutex::new(disk)), self.1)
    }

    /// The same machine with a new process: what was written is still seen, and what was not
    /// synced is still not durable.
    pub(crate) fn restarted(&self) -> Self {
        let mut disk = self.0.lock().unwrap().clone();
        disk.start_anew();
        Self(Arc::new(Mutex::new(disk)), self.1)
    }

    /// Does one step, or fails it.
    fn step<T>(
        &self,
        full: io::Result<T>,
        half: impl FnOnce(&mut Disk),
        whole: impl FnOnce(&mut Disk) -> T,
    ) -> io::Result<T> {
        let mut disk = self.0.lock().unwrap();
        let failed = || io::Error::other("the simulated disk failed");
        if disk.down {
            return Err(failed());
        }
        let step = disk.steps;
        disk.steps += 1;
        match disk.fault {
            Some(fault) if fault.step == step => {
                disk.down = true;
                if fault.persisted {
                    whole(&mut disk);
                } else {
                    half(&mut disk);
                }
                Err(failed())
            }
            _ if disk.full => match full {
                Err(error) => Err(error),
                Ok(_) => Ok(whole(&mut disk)),
            },
            _ => Ok(whole(&mut disk)),
        }
    }

    fn look<T>(&self, see: impl FnOnce(&Disk) -> io::Result<T>) -> io::Result<T> {
        let disk = self.0.lock().unwrap();
        if disk.down {
            return Err(io::Error::other("the simulated disk failed"));
        }
        see(&disk)
    }
}

/// Keeps about half the sectors of a write.
fn tear(durable: &mut Vec<u8>, at: usize, bytes: &[u8], dice: &mut Dice) {
    let mut from = 0;
    while from < bytes.len() {
        let to = (from + SECTOR - (at + from) % SECTOR).min(bytes.len());
        if dice.below(2) == 0 {
            write(durable, at + from, &bytes[from..to]);
        }
        from = to;
    }
}

fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn apply(names: &mut BTreeMap<String, usize>, change: NameChange) {
    match change {
        NameChange::Set(name, node) => {
            names.insert(name, node);
        }
        NameChange::Move(from, to) => {
            if let Some(node) = names.remove(&from) {
                names.insert(to, node);
            }
        }
        NameChange::Remove(name) => {
            names.remove(&name);
        }
    }
}

/// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

impl Io for Sim {
    fn create(&self, name: &str) -> io::Result<Box<dyn IoFile>> {
        self.take_space()?;
        let node = self.step(
            Err(io::ErrorKind::StorageFull.into()),
            |_| {},
            |disk| {
                let node = disk.nodes.len();
                disk.nodes.push(Node::default());
                disk.names.insert(self.name(name), node);
                disk.unsynced_names
                    .push(NameChange::Set(self.name(name), node));
                node
            },
        )?;
        Ok(Box::new(SimFile {
            sim: self.clone(),
            node,
        }))
    }

    fn read(&self, name: &str, _bytes_max: u64) -> io::Result<Vec<u8>> {
        self.look(|disk| match disk.names.get(&self.name(name)) {
            Some(&node) => Ok(disk.nodes[node].content.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    fn read_at(&self, name: &str, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let content = self.read(name, u64::MAX)?;
        let rest = content.get(offset as usize..).unwrap_or_default();
        Ok(rest[..rest.len().min(bytes as usize)].to_vec())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.look(|disk| {
            let names = disk.names.keys().filter_map(|name| self.plain(name));
            Ok(names.map(str::to_owned).collect())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.take_space()?;
        let change = NameChange::Move(self.name(from), self.name(to));
        self.step(
            Ok(()),
            |_| {},
            |disk| {
                apply(&mut disk.names, change.clone());
                disk.unsynced_names.push(change.clone());
            },
        )
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let change = NameChange::Remove(self.name(name));
        self.step(
            Ok(()),
            |_| {},
            |disk| {
                apply(&mut disk.names, change.clone());
                disk.unsynced_names.push(change.clone());
            },
        )
    }

    fn sync_folder(&self) -> io::Result<()> {
        if self.look(|disk| Ok(!disk.unsynced_names.is_empty()))? {
            self.take_space()?;
        }
        self.step(
            Ok(()),
            |_| {},
            |disk| {
                if !disk.does_sync(format!("folder {}", self.1)) {
                    return;
                }
                for change in std::mem::take(&mut disk.unsynced_names) {
                    if self.plain(change.name()).is_some() {
                        apply(&mut disk.durable_names, change);
                    } else {
                        disk.unsynced_names.push(change);
                    }
                }
            },
        )
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.look(|disk| Ok(if disk.full { 0 } else { 1 << 40 }))
    }
}

struct SimFile {
    sim: Sim,
    node: usize,
}

impl IoFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let node = self.node;
        let grows = |disk: &Disk| Ok(disk.nodes[node].content.len() < at + bytes.len());
        if self.sim.look(grows)? {
            self.sim.take_space()?;
        }
        let put = |disk: &mut Disk, bytes: &[u8]| {
            let node = &mut disk.nodes[node];
            write(&mut node.content, at, bytes);
            node.unsynced.push(Write::Bytes(at, bytes.to_vec()));
        };
        self.sim.step(
            Ok(()),
            |disk| put(disk, &bytes[..bytes.len() / 2]),
            |disk| put(disk, bytes),
        )
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        let node = self.node;
        // Space is allocated late, as filesystems do; what lies in it already needs none.
        let grown = |disk: &Disk| Ok(disk.nodes[node].has_grown());
        if self.sim.look(grown)? {
            self.sim.take_space()?;
        }
        self.sim.step(
            Ok(()),
            // After a failed sync the pages count as clean: a later sync would not write them.
            |disk| disk.nodes[node].unsynced.clear(),
            |disk| {
                disk.syncs += 1;
                let about = disk.about(node);
                if disk.does_sync(about) {
                    disk.nodes[node].sync();
                }
            },
        )
    }
}
