//! A whole Debian for the guest: its own init, udev and boot files on a disk of its own, so that the
//! package, its unit and its hook are tried as on a terminal.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::kernel::Kernel;
use crate::tools;

/// What a terminal has that the agent's package counts on.
const PACKAGES: &str =
    "systemd-sysv,udev,kmod,initramfs-tools,busybox,zstd,grub2-common,grub-pc-bin,iproute2,procps";
/// The guest's disk; what is not written to takes no room outside.
const DISK: u64 = 2 << 30;
/// Folders of drivers that no part needs: copying them takes longest.
const LEFT_OUT: [&str; 6] = [
    "kernel/drivers/gpu",
    "kernel/drivers/infiniband",
    "kernel/drivers/media",
    "kernel/drivers/net/ethernet",
    "kernel/drivers/net/wireless",
    "kernel/sound",
];
/// Options of the kernel for the laboratory, as whoever runs the terminal would set them.
pub(crate) const OPTIONS: &str =
    "console=ttyS0 loglevel=4 panic=-1 mitigations=off tsc=reliable no_timer_check";
/// Runs the part's script once the system is up, on the line to the host.
const UNIT: &str = "[Unit]\nAfter=multi-user.target\n[Service]\nType=idle\nExecStart=/bin/bash /lab/boot.sh\nStandardInput=tty\nStandardOutput=tty\nStandardError=append:/lab/errors\nTTYPath=/dev/ttyS1\n[Install]\nWantedBy=multi-user.target\n";
const NETWORK: &str =
    "[Match]\nDriver=virtio_net\n[Network]\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\n";
/// Modules of the first file system: a terminal's disk, and what may be plugged in when it starts.
const MODULES: &str =
    "ext4\nvirtio_pci\nvirtio_blk\nxhci_pci\nusb_storage\nuas\nsd_mod\nvfat\nusbhid\nhid_generic\n";

/// Waits for a keyboard before the root file system is looked for, as a disk with a passphrase does; not for ever.
const ASKS: &str = r#"#!/bin/sh
[ "$1" != prereqs ] || exit 0
for _ in $(seq 40); do
	grep -q 'USB Keyboard' /proc/bus/input/devices && break
	sleep 1
done
# A disk is looked for a second after its stick came.
sleep 4
{
	cut -d' ' -f1 /proc/uptime
	grep USB /proc/bus/input/devices
	ls /sys/block
} >/run/passphrase
"#;

/// A disk with the system on it, for one guest.
pub(crate) struct System {
    disk: PathBuf,
    folder: PathBuf,
    version: String,
}

/// What a start of the guest needs.
pub(crate) struct Boot {
    pub(crate) disk: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) options: String,
}

impl System {
    /// A copy in `folder` of the system in `cache`, which is made when there is none yet.
    pub(crate) fn make(cache: &Path, kernel: &Kernel, folder: &Path) -> Result<Self> {
        // Another source, another system.
        let mut hasher = DefaultHasher::new();
        include_str!("system.rs").hash(&mut hasher);
        let kept = format!("system-{}-{:016x}.ext2", kernel.version, hasher.finish());
        let kept = cache.join(kept);
        if !kept.exists() {
            installed(cache, kernel, &kept)?;
        }
        let disk = folder.join("system.img");
        tools::output(
            tools::command("cp")
                .arg("--sparse=always")
                .args([&kept, &disk]),
        )?;
        Ok(Self {
            disk,
            folder: folder.to_owned(),
            version: kernel.version.clone(),
        })
    }

    /// Puts a file into the folder `/lab` of a system that does not run.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let from = self.folder.join("put");
        fs::write(&from, content)?;
        fs::set_permissions(&from, fs::Permissions::from_mode(0o755))?;
        self.debugfs(&format!("write {} /lab/{name}", from.display()))?;
        fs::remove_file(from)?;
        Ok(())
    }

    /// What the system itself made for its next start: the first file system, and the options in the
    /// entry of its boot loader; at its first start, before it has any, those of its installation.
    pub(crate) fn boot(&self, first: bool) -> Result<Boot> {
        let initramfs = self.folder.join("initramfs");
        let loader = self.folder.join("grub.cfg");
        self.take(&format!("/boot/initrd.img-{}", self.version), &initramfs)?;
        let options = if first {
            format!("root=/dev/vda ro {OPTIONS}")
        } else {
            self.take("/boot/grub/grub.cfg", &loader)?;
            let entries = fs::read_to_string(&loader)?;
            let line = entries
                .lines()
                .find_map(|line| line.trim().strip_prefix("linux"));
            // The image, then its options.
            let words = line.context("the boot loader has no entry")?;
            words
                .split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        Ok(Boot {
            disk: self.disk.clone(),
            initramfs,
            options,
        })
    }

    fn take(&self, path: &str, to: &Path) -> Result<()> {
        let _ = fs::remove_file(to);
        self.debugfs(&format!("dump {path} {}", to.display()))?;
        // It says nothing of what it did not find.
        let bytes = fs::metadata(to).map_or(0, |it| it.len());
        ensure!(bytes > 0, "the system has no {path}");
        Ok(())
    }

    fn debugfs(&self, request: &str) -> Result<()> {
        let mut debugfs = tools::command("debugfs");
        debugfs.args(["-w", "-R", request]).arg(&self.disk);
        tools::output(&mut debugfs).map(|_| ())
    }
}

/// Installs Debian from its packages. Nothing of it runs outside but its packages' own scripts.
fn installed(cache: &Path, kernel: &Kernel, to: &Path) -> Result<()> {
    println!("installing a Debian for the guest (about a minute)");
    let extra = cache.join("system");
    if extra.exists() {
        fs::remove_dir_all(&extra)?;
    }
    for (path, text) in [
        ("etc/systemd/system/lab.service", UNIT),
        ("etc/systemd/network/lab.network", NETWORK),
        ("etc/initramfs-tools/modules", MODULES),
        ("etc/fstab", "/dev/vda / ext4 rw 0 1\n"),
        ("etc/hostname", "seat-1\n"),
        ("etc/initramfs-tools/scripts/local-top/passphrase", ASKS),
    ] {
        let file = extra.join(path);
        fs::create_dir_all(file.parent().context("a path with a folder")?)?;
        fs::write(&file, text)?;
        // A script of the first file system has to be one that can be run.
        fs::set_permissions(
            &file,
            fs::Permissions::from_mode(if text.starts_with("#!") { 0o755 } else { 0o644 }),
        )?;
    }
    fs::create_dir_all(extra.join("lab"))?;
    let version = &kernel.version;
    let boot = kernel.folder.join("boot");
    let modules = kernel.folder.join("lib/modules").join(version);
    let left_out: String = LEFT_OUT
        .iter()
        .map(|it| format!(" \"$1\"/usr/lib/modules/{version}/{it}"))
        .collect();
    let hooks = [
        format!("copy-in {0}/etc {0}/lab /", extra.display()),
        format!(
            "copy-in {0}/vmlinuz-{version} {0}/config-{version} /boot",
            boot.display()
        ),
        // As an installation of the boot loader does.
        "mkdir -p \"$1\"/usr/lib/modules \"$1\"/boot/grub".to_owned(),
        format!("copy-in {} /usr/lib/modules", modules.display()),
        format!("rm -rf{left_out}"),
"sed -i -e 's/^MODULES=.*/MODULES=list/' -e 's/^COMPRESS=.*/COMPRESS=zstd/' \"$1\"/etc/initramfs-tools/initramfs.conf".to_owned(),
        "echo COMPRESSLEVEL=1 >>\"$1\"/etc/initramfs-tools/initramfs.conf".to_owned(),
        format!("printf 'GRUB_CMDLINE_LINUX_DEFAULT=\"{OPTIONS}\"\\n' >>\"$1\"/etc/default/grub"),
        format!("chroot \"$1\" depmod {version}"),
        format!("chroot \"$1\" update-initramfs -c -k {version}"),
        "chroot \"$1\" systemctl enable lab.service systemd-networkd.service".to_owned(),
        "chroot \"$1\" systemctl mask systemd-networkd-wait-online.service serial-getty@ttyS0.service".to_owned(),
    ];
    let made = to.with_extension("new.ext2");
    let mut install = tools::command("mmdebstrap");
    install
        // One that fails ends its whole group.
        .process_group(0)
        .args(["--quiet", "--variant=minbase", "--include", PACKAGES])
        .args(["--aptopt=Acquire::Languages \"none\""]);
    for path in ["doc", "locale", "man"] {
        install.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}/*"));
    }
    for hook in &hooks {
        install.arg(format!("--customize-hook={hook}"));
    }
    tools::output(install.arg(tools::codename()?).arg(&made))?;
    // genext2fs leaves no room, and knows no journal.
    fs::File::options().write(true).open(&made)?.set_len(DISK)?;
    for (program, arguments) in [
        ("tune2fs", &["-j"][..]),
        ("e2fsck", &["-f", "-y"]),
        ("resize2fs", &[]),
    ] {
        let mut command = tools::command(program);
        command.args(arguments).arg(&made);
        let ended = command
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        // 1: e2fsck mended something.
        ensure!(
            matches!(ended.status.code(), Some(0 | 1)),
            "{program}: {}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }
    fs::rename(made, to)?;
    Ok(())
}
