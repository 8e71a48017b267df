//! Media: images that the guest sees as sticks, cards, discs and disks, and folders that it sees
//! as drives of a virtual desktop. Foreign ones have to come out of a run bit by bit as they went
//! in; what may be written to is named so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::outcome::Outcome;
use crate::tools;

const BYTES: usize = 16 << 20;
/// Where the one partition of a company medium begins; its token stands before.
const PARTITION: usize = 1 << 20;

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Not one byte may change.
    Foreign,
    /// Written to in controls; has to change, or nothing shows that writes would arrive.
    Control,
    /// The centre's own; written to by the broker alone.
    Company,
}

/// Name of the image, its owner, bytes of a sector.
const IMAGES: [(&str, Owner, u32); 8] = [
    ("boot", Owner::Foreign, 512),
    ("personal", Owner::Foreign, 512),
    ("card", Owner::Foreign, 512),
    ("disk", Owner::Foreign, 512),
    ("disc", Owner::Foreign, 2048),
    ("built-in-disc", Owner::Foreign, 2048),
    ("control", Owner::Control, 512),
    ("company", Owner::Company, 512),
];

/// Folders that the guest may mount.
const SHARES: [(&str, Owner); 3] = [
    ("share", Owner::Foreign),
    ("control-share", Owner::Control),
    ("phone", Owner::Foreign),
];

/// The media of one guest.
pub(crate) struct Media {
    folder: PathBuf,
    /// What images held before the guest ran.
    before: BTreeMap<&'static str, Vec<u8>>,
    shares: BTreeMap<&'static str, BTreeMap<PathBuf, Vec<u8>>>,
}

impl Media {
    /// Makes new media in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let text = folder.join("readme.txt");
        std::fs::write(&text, "hello\n")?;
        let mut before = BTreeMap::new();
        for (name, owner, sector) in IMAGES {
            let image = folder.join(format!("{name}.img"));
            let begins = match owner {
                Owner::Company => PARTITION,
                _ => 0,
            };
            std::fs::write(&image, table(begins))?;
            let mut format = tools::command("mkfs.vfat");
            format.args(["-S", &sector.to_string(), "-n", "VOLUME"]);
            format.arg(format!("--offset={}", begins / 512)).arg(&image);
            tools::output(format.arg(((BYTES - begins) / 1024).to_string()))?;
            let mut copy = tools::command("mcopy");
            copy.arg("-i").arg(format!("{}@@{begins}", image.display()));
            tools::output(copy.arg(&text).arg("::"))?;
            before.insert(name, std::fs::read(&image)?);
        }
        let mut shares = BTreeMap::new();
        for (name, _) in SHARES {
            let share = folder.join(name);
            std::fs::create_dir_all(&share)?;
            std::fs::write(share.join("readme.txt"), "hello\n")?;
            shares.insert(name, files(&share)?);
        }
        Ok(Self {
            folder: folder.to_owned(),
            before,
            shares,
        })
    }

    /// Names of the images, for QEMU: node `d_NAME` is `NAME.img`.
    pub(crate) fn images() -> impl Iterator<Item = &'static str> {
        IMAGES.iter().map(|(name, _, _)| *name)
    }

    /// The folder that holds all of it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Compares everything with what it was. `controls`: writing to control media was part of the
    /// run, and has to show; so was, with `gate`, what the broker writes.
    pub(crate) fn judge(
        &self,
        part: &str,
        (controls, gate): (bool, bool),
        outcome: &mut Outcome,
    ) -> Result<()> {
        for (name, owner, _) in IMAGES {
            let after = std::fs::read(self.folder.join(format!("{name}.img")))
                .with_context(|| format!("the image {name} is gone"))?;
            let before = self.before.get(name).map_or(&[][..], Vec::as_slice);
            let change = difference(before, &after);
            verdict(part, name, owner, change, (controls, gate), outcome);
        }
        for (name, owner) in SHARES {
            let after = files(&self.folder.join(name))?;
            let before = self.shares.get(name).cloned().unwrap_or_default();
            let change = (after != before).then(|| {
                let names: Vec<_> = after.keys().map(|it| it.display().to_string()).collect();
                format!("holds {}", names.join(", "))
            });
            verdict(part, name, owner, change, (controls, gate), outcome);
        }
        Ok(())
    }
}

fn verdict(
    part: &str,
    name: &str,
    owner: Owner,
    change: Option<String>,
    (controls, gate): (bool, bool),
    outcome: &mut Outcome,
) {
    match owner {
        Owner::Company if gate => outcome.check(
            format!("{part}/outside: what the broker writes to `{name}` arrives"),
            change.is_some(),
            &change.unwrap_or_default(),
        ),
        Owner::Foreign | Owner::Company => outcome.check(
            format!("{part}/outside: nothing was written to `{name}`"),
            change.is_none(),
            &change.unwrap_or_default(),
        ),
        Owner::Control if controls => outcome.check(
            format!("{part}/outside: control: writes to `{name}` arrive"),
            change.is_some(),
            &change.unwrap_or_default(),
        ),
        Owner::Control => {}
    }
}

/// An empty image; with one partition from `begins` on, if that is not its start (MBR).
fn table(begins: usize) -> Vec<u8> {
    let mut image = vec![0; BYTES];
    if begins > 0 {
        let sectors = |bytes: usize| u32::try_from(bytes / 512).unwrap_or(u32::MAX).to_le_bytes();
        // Type 0x0c: FAT32 with LBA; the old addresses say "beyond".
        let entry = [0, 0xfe, 0xff, 0xff, 0x0c, 0xfe, 0xff, 0xff];
        image[446..454].copy_from_slice(&entry);
        image[454..458].copy_from_slice(&sectors(begins));
        image[458..462].copy_from_slice(&sectors(BYTES - begins));
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
    }
    image
}

/// Where two images differ first, and in how many bytes.
fn difference(before: &[u8], after: &[u8]) -> Option<String> {
    if before.len() != after.len() {
        return Some(format!("{} bytes instead of {}", after.len(), before.len()));
    }
    let mut places = before
        .iter()
        .zip(after)
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(place, _)| place);
    let first = places.next()?;
    Some(format!(
        "{} bytes differ, the first at {first}",
        places.count() + 1
    ))
}

fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let content = if path.is_dir() {
            Vec::new()
        } else {
            std::fs::read(&path)?
        };
        let name = path.strip_prefix(folder).unwrap_or(&path).to_owned();
        found.insert(name, content);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn every_changed_byte_is_seen() {
        assert_eq!(difference(b"abc", b"abc"), None);
        let text = difference(b"abc", b"xbd").unwrap();
        assert_eq!(text, "2 bytes differ, the first at 0");
        assert!(difference(b"abc", b"ab").is_some());
    }
}
