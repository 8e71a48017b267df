//! Whose a disk is, over a copy of sysfs: the system's, the enrolment's, what is stacked on them,
//! and everything else, which is foreign.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use post::block::{Mount, Number, Owner, mounts};
use post::machine::{Enrolled, known_disk};
use post::sysfs::Sysfs;
use proptest::prelude::*;
use terminal::device::Bus;

struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for place in ["block", "class/block", "dev/block"] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        Self { folder }
    }

    fn sysfs(&self) -> Sysfs {
        Sysfs::new(self.folder.path())
    }

    /// A disk below `place`, with partitions.
    fn disk(&self, place: &str, name: &str, number: &str, partitions: &[(&str, &str)]) {
        let path = self.folder.path().join(place).join(name);
        self.block(&path, number);
        symlink(&path, self.folder.path().join("block").join(name)).unwrap();
        for (partition, number) in partitions {
            let path = path.join(partition);
            self.block(&path, number);
            fs::write(path.join("partition"), "1\n").unwrap();
        }
    }

    fn block(&self, path: &Path, number: &str) {
        fs::create_dir_all(path.join("slaves")).unwrap();
        fs::write(path.join("dev"), format!("{number}\n")).unwrap();
        fs::write(path.join("ro"), "0\n").unwrap();
        fs::write(path.join("size"), "2048\n").unwrap();
        symlink(path, self.folder.path().join("dev/block").join(number)).unwrap();
        let name = path.file_name().unwrap();
        symlink(path, self.folder.path().join("class/block").join(name)).unwrap();
    }

    fn stack(&self, upper: &str, lower: &str) {
        let slaves = self.folder.path().join("block").join(upper).join("slaves");
        let lower_path = self.folder.path().join("class/block").join(lower);
        symlink(fs::canonicalize(lower_path).unwrap(), slaves.join(lower)).unwrap();
    }
}

/// A disk with LVM on a partition, a stick behind a hub, a card, a disk of the enrolment.
fn machine() -> Machine {
    let machine = Machine::new();
    let pci = "devices/pci0000:00";
    machine.disk(
        &format!("{pci}/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block"),
        "sda",
        "8:0",
        &[("sda1", "8:1"), ("sda2", "8:2")],
    );
    machine.disk(
        &format!("{pci}/0000:00:14.0/usb1/1-5/1-5.1/1-5.1:1.0/host6/target6:0:0/6:0:0:0/block"),
        "sdb",
        "8:16",
        &[("sdb1", "8:17")],
    );
    machine.disk(
        &format!("{pci}/0000:00:1c.0/mmc_host/mmc0/mmc0:0001/block"),
        "mmcblk0",
        "179:0",
        &[],
    );
    machine.disk(
        &format!("{pci}/0000:02:00.0/nvme/nvme0"),
        "nvme0n1",
        "259:0",
        &[],
    );
    for (name, number) in [
        ("dm-0", "253:0"),
        ("dm-1", "253:1"),
        ("dm-2", "253:2"),
        ("loop0", "7:0"),
    ] {
        machine.disk("devices/virtual/block", name, number, &[]);
    }
    machine.stack("dm-0", "sda2");
    machine.stack("dm-1", "sda1");
    machine.stack("dm-1", "sdb1");
    machine
}

const MOUNTINFO: &str = "\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
30 22 8:17 / /media/USB\\040STICK rw,nosuid - vfat /dev/sdb1 rw,utf8
31 22 0:45 / /mnt/share rw - 9p share rw,trans=virtio
no mount at all
";

#[test]
fn owners() {
    let machine = machine();
    let sysfs = machine.sysfs();
    let system = sysfs.system_disks(MOUNTINFO, "Filename Type Size Used Priority\n");
    let expected: BTreeSet<String> = ["dm-0", "sda"].map(str::to_owned).into();
    assert_eq!(system, expected, "through the layers, and no stick");
    let enrolled = Enrolled {
        disks: vec![known_disk(&sysfs.disk("nvme0n1").unwrap())],
        ..Enrolled::default()
    };
    let owner = |name: &str| {
        let disk = sysfs.disk(name).unwrap();
        sysfs.owner(&disk, &system, &|it| enrolled.has_disk(it))
    };
    for (name, whose) in [
        ("sda", Owner::System),
        ("dm-0", Owner::System),
        ("nvme0n1", Owner::BuiltIn),
        ("loop0", Owner::Virtual),
        ("sdb", Owner::Foreign),
        ("mmcblk0", Owner::Foreign),
        // On a foreign disk, and on nothing.
        ("dm-1", Owner::Foreign),
        ("dm-2", Owner::Foreign),
    ] {
        assert_eq!(owner(name), whose, "{name}");
    }
    // Another disk in the same slot is not the one of the enrolment.
    fs::write(machine.folder.path().join("block/nvme0n1/size"), "4096\n").unwrap();
    assert_eq!(
        sysfs.owner(&sysfs.disk("nvme0n1").unwrap(), &system, &|it| enrolled
            .has_disk(it)),
        Owner::Foreign
    );
}

#[test]
fn stacks_that_end_nowhere_are_foreign() {
    let machine = machine();
    machine.stack("dm-2", "dm-2");
    let sysfs = machine.sysfs();
    let disk = sysfs.disk("dm-2").unwrap();
    let system = BTreeSet::from(["sda".to_owned()]);
    assert_eq!(sysfs.owner(&disk, &system, &|_| false), Owner::Foreign);
}

#[test]
fn what_a_disk_says() {
    let machine = machine();
    let sysfs = machine.sysfs();
    let stick = sysfs.disk("sdb").unwrap();
    assert_eq!(stick.usb.as_deref(), Some("1-5.1"));
    assert_eq!(stick.bus, Bus::Usb);
    assert_eq!(stick.size, 1 << 20);
    assert_eq!(
        stick.partitions,
        [(
            "sdb1".to_owned(),
            Number {
                major: 8,
                minor: 17
            }
        )]
    );
    assert_eq!(stick.number.kernel(), 8 << 20 | 16);
    assert_eq!(sysfs.disk("mmcblk0").unwrap().bus, Bus::Mmc);
    assert_eq!(sysfs.disk("nvme0n1").unwrap().bus, Bus::Nvme);
    for name in ["", "..", "../block", "sdb/sdb1", "sdz"] {
        assert!(sysfs.disk(name).is_none(), "{name}");
    }
    assert_eq!(
        sysfs
            .disk_of(Number {
                major: 8,
                minor: 17
            })
            .as_deref(),
        Some("sdb")
    );
}

#[test]
fn a_disk_is_the_same_at_the_next_start() {
    let pci = "devices/pci0000:00/0000:00:1f.2";
    // Another number of the port and the host, the same port of the controller.
    let known = |ata: &str, host: u32, port: &str, serial: &str| {
        let machine = Machine::new();
        let below = format!("{pci}/{ata}/host{host}/target{host}:0:0/{host}:0:0:0");
        machine.disk(&format!("{below}/block"), "sda", "8:0", &[]);
        let root = machine.folder.path();
        let ports = root.join(pci).join(ata).join("ata_port").join(ata);
        fs::create_dir_all(&ports).unwrap();
        fs::write(ports.join("port_no"), port).unwrap();
        symlink(root.join(&below), root.join("block/sda/device")).unwrap();
        let page = [b"\0\x80\0\x14", format!("{serial:>20}").as_bytes()].concat();
        fs::write(root.join(&below).join("vpd_pg80"), page).unwrap();
        let mut known = known_disk(&machine.sysfs().disk("sda").unwrap());
        // The test's own folder.
        let at = known.place.find("/devices/").unwrap();
        known.place.drain(..at);
        known
    };
    let enrolled = known("ata1", 0, "1", "S4EV1");
    assert_eq!(enrolled.serial, "S4EV1");
    assert_eq!(known("ata5", 4, "1", "S4EV1"), enrolled);
    assert_ne!(known("ata2", 1, "2", "S4EV1"), enrolled, "another port");
    assert_ne!(known("ata1", 0, "1", "S4EV2"), enrolled, "another disk");
}

/// The kernel shows an NVMe disk that several controllers may reach below none of them.
#[test]
fn an_nvme_disk_with_several_ways_is_hardware() {
    let machine = Machine::new();
    let root = machine.folder.path();
    let subsystem = "devices/virtual/nvme-subsystem/nvme-subsys0";
    machine.disk(subsystem, "nvme0n1", "259:0", &[]);
    let controller = root.join("devices/pci0000:00/0000:02:00.0/nvme/nvme0");
    fs::create_dir_all(&controller).unwrap();
    symlink(&controller, root.join(subsystem).join("nvme0")).unwrap();
    let sysfs = machine.sysfs();
    let disk = sysfs.disk("nvme0n1").unwrap();
    assert_eq!(disk.bus, Bus::Nvme);
    let known = known_disk(&disk);
    assert!(known.place.ends_with("/0000:02:00.0/nvme"), "{known:?}");
    let enrolled = Enrolled {
        disks: vec![known],
        ..Enrolled::default()
    };
    let owner = |enrolled: &Enrolled| {
        let none = BTreeSet::new();
        sysfs.owner(&disk, &none, &|it| enrolled.has_disk(it))
    };
    assert_eq!(owner(&enrolled), Owner::BuiltIn);
    assert_eq!(owner(&Enrolled::default()), Owner::Foreign);
}

#[test]
fn mountinfo() {
    let found = mounts(MOUNTINFO);
    assert_eq!(found.len(), 3);
    assert_eq!(
        found[1],
        Mount {
            number: Number {
                major: 8,
                minor: 17
            },
            at: "/media/USB STICK".to_owned(),
            kind: "vfat".to_owned(),
            source: "/dev/sdb1".to_owned(),
            writable: true,
        }
    );
}

proptest! {
    #[test]
    fn hostile_mountinfo_never_panics(text in "(\\PC|\\\\|\n| |:|-){0,400}") {
        let _ = mounts(&text);
    }
}
