//! The folder of the derived logs on the simulated disk.

use std::collections::BTreeMap;
use std::io;

use super::{Node, Sim, SimFile, Write, apply};
use crate::io::{Io, IoFile};
use crate::logs::Store;

/// The folder of the logs: what [`crate::logs::DiskStore`] does, in its steps.
#[derive(Clone)]
pub(crate) struct SimStore(pub(super) Sim);

impl SimStore {
    /// All files, by their paths.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.0.0.lock().unwrap();
        let names = disk.names.iter().filter_map(|(name, &node)| {
            let path = name.strip_prefix(self.0.1)?;
            Some((path.to_owned(), disk.nodes[node].content.clone()))
        });
        names.collect()
    }
}

impl Store for SimStore {
    fn read(&self, path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        Io::read(&self.0, path, bytes_max)
    }

    fn stage(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.create(&format!("{path}.new"))?.write_at(0, bytes)
    }

    fn publish(&self, path: &str) -> io::Result<()> {
        Io::rename(&self.0, &format!("{path}.new"), path)
    }

    fn append(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let sim = &self.0;
        let name = sim.name(path);
        let found = sim.look(|disk| Ok(disk.names.get(&name).copied()))?;
        let Some(node) = found else {
            return match at {
                0 => sim.create(path)?.write_at(0, bytes),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        };
        let cut = usize::try_from(at).unwrap();
        if sim.look(|disk| Ok(disk.nodes[node].content.len() < cut))? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        sim.step(
            Ok(()),
            |_| {},
            |disk| {
                disk.nodes[node].content.truncate(cut);
                disk.nodes[node].unsynced.push(Write::Cut(cut));
            },
        )?;
        let sim = sim.clone();
        SimFile { sim, node }.write_at(at, bytes)
    }

    fn hold(&self, path: &str, at: u64, head: &[u8], more: u64) -> io::Result<()> {
        let end = at + head.len() as u64 + more;
        let length = self.files().get(path).map_or(0, |file| file.len() as u64);
        if length >= end {
            return Ok(());
        }
        let zeros = usize::try_from(more).unwrap();
        self.append(path, at, &[head, &vec![0; zeros]].concat())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let folder = format!("{path}/");
        for name in self.files().keys().filter(|name| name.starts_with(&folder)) {
            Io::remove(&self.0, name)?;
        }
        Ok(())
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        if self.files().contains_key(path) {
            Io::remove(&self.0, path)?;
        }
        Ok(())
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        let files = self.files();
        let file = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.len() as u64)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let below = format!("{folder}/");
        let files = self.files();
        let names = files.keys().filter_map(|path| path.strip_prefix(&below));
        let plain = |name: &&str| !name.contains('/') && !name.ends_with(".new");
        Ok(names.filter(plain).map(str::to_owned).collect())
    }

    fn sync(&self) -> io::Result<()> {
        if self
            .0
            .look(|disk| Ok(disk.nodes.iter().any(Node::has_grown)))?
        {
            self.0.take_space()?;
        }
        self.0.step(
            Ok(()),
            |_| {},
            |disk| {
                let staged = disk.staged();
                if !disk.does_sync(staged) {
                    return;
                }
                // The logs may lie on a filesystem of their own: nothing else is synced with them.
                let ours = |name: &str| name.starts_with(self.0.1);
                for (_, &node) in disk.names.iter().filter(|(name, _)| ours(name)) {
                    disk.nodes[node].sync();
                }
                for change in std::mem::take(&mut disk.unsynced_names) {
                    if ours(change.name()) {
                        apply(&mut disk.durable_names, change);
                    } else {
                        disk.unsynced_names.push(change);
                    }
                }
            },
        )
    }
}
