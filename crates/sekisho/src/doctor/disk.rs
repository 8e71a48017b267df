//! What the ledger's disk promises: room, and that what is synced stays.

use std::fs;
use std::path::Path;

use super::Check;
use crate::folder::Folder;

/// Less free space than this is a failure, in bytes: nothing is released once a disk is full.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// Less free space than this is worth a word, in bytes.
const FREE_BYTES_LOW: u64 = 2 << 30;
/// Mount options under which a sync promises nothing.
const EMPTY_PROMISES: [&str; 4] = ["nobarrier", "barrier=0", "volatile", "fsync=volatile"];

/// Space and kind of the ledger's file system.
pub(super) fn check(folder: &Folder) -> Vec<Check> {
    const OVERLAY: i64 = 0x794c_7630;
    const TMPFS: i64 = 0x0102_1994;
    const NFS: i64 = 0x6969;
    let path = folder.ledger();
    let Ok(at) = rustix::fs::statfs(&path) else {
        return vec![Check::fail(
            "disk",
            format!("{}: cannot be looked at", path.display()),
            "Is it there?",
        )];
    };
    // The fields' types differ from platform to platform.
    #[allow(clippy::unnecessary_cast, trivial_numeric_casts)]
    let (kind, free) = (
        at.f_type as i64,
        (at.f_bavail as u64).saturating_mul(at.f_bsize as u64),
    );
    let mut checks = Vec::new();
    let mib = free >> 20;
    checks.push(if free < FREE_BYTES_MIN {
        Check::fail(
            "disk space",
            format!("{mib} MiB free"),
            "Free some: nothing is released once the ledger cannot grow.",
        )
    } else if free < FREE_BYTES_LOW {
        Check::warn(
            "disk space",
            format!("{mib} MiB free"),
            "Give the ledger more room.",
        )
    } else {
        Check::ok("disk space", format!("{mib} MiB free"))
    });
    checks.push(match kind {
        TMPFS => Check::warn(
            "file system",
            "the ledger is on tmpfs: gone at the next boot",
            "Put the folder on a disk.",
        ),
        OVERLAY => Check::warn(
            "file system",
            "the ledger is on overlayfs: gone with the container",
            "Mount a volume for the folder.",
        ),
        NFS => Check::warn(
            "file system",
            "the ledger is on NFS: what is durable there depends on the server",
            "Use a local disk.",
        ),
        _ => Check::ok("file system", format!("type {kind:#x}")),
    });
    checks.extend(promises(&path));
    checks
}

/// Whether the mount's options let a sync return before anything is on the disk.
fn promises(path: &Path) -> Option<Check> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let (at, options) = mount_of(&mounts, &path)?;
    let empty = options
        .split(',')
        .find(|option| EMPTY_PROMISES.contains(option))?;
    Some(Check::fail(
        "file system",
        format!("{at} is mounted with {empty}: a power loss erases records that were released"),
        format!("Mount {at} without {empty}."),
    ))
}

/// The mount that holds a path, and all its options.
fn mount_of(mounts: &str, path: &Path) -> Option<(String, String)> {
    let mut best: Option<(String, String)> = None;
    for line in mounts.lines() {
        // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS
        let mut fields = line.split(' ');
        let (Some(at), Some(options)) = (fields.nth(4), fields.next()) else {
            continue;
        };
        let of_type = line
            .split(" - ")
            .nth(1)
            .and_then(|rest| rest.split(' ').nth(2));
        let at = at.replace("\\040", " ");
        // Of two on one place the later one covers the earlier.
        let longer = best
            .as_ref()
            .is_none_or(|(known, _)| at.len() >= known.len());
        if path.starts_with(&at) && longer {
            best = Some((at, format!("{options},{}", of_type.unwrap_or_default())));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 254:1 / /srv rw,relatime - ext4 /dev/vdb rw,nobarrier
23 22 254:2 / /srv/a\\040b rw,nosuid shared:1 - overlay overlay rw,volatile
";
        let at = |path: &str| mount_of(mounts, Path::new(path)).unwrap();
        assert_eq!(at("/home").0, "/");
        assert_eq!(
            at("/srv/ledger"),
            ("/srv".into(), "rw,relatime,rw,nobarrier".into())
        );
        assert_eq!(at("/srv/a b/ledger").1, "rw,nosuid,rw,volatile");
        assert_eq!(at("/srvx").0, "/");
    }
}
