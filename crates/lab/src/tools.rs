//! Programs of the machine that the laboratory runs on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program (or another that does as well), and the package of Debian that brings it.
const NEEDED: [(&str, &str); 14] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("cpio", "cpio"),
    ("modprobe", "kmod"),
    ("clang-14|clang", "clang"),
    ("xz", "xz-utils"),
    ("dpkg-deb", "dpkg"),
    ("psql", "postgresql"),
    ("mmdebstrap", "mmdebstrap"),
    ("genext2fs", "genext2fs"),
    ("debugfs", "e2fsprogs"),
    ("/usr/include/bpf/bpf_helpers.h", "libbpf-dev"),
];

/// Installs what is missing where that is possible: as root on Debian and its kin.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(name, _)| find(name).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find("apt-get").is_none() || !rustix::process::geteuid().is_root() {
        bail!(
            "missing for the laboratory; as root on Debian: apt-get install {}",
            missing.join(" ")
        );
    }
    println!("installing {}", missing.join(" "));
    let mut install = Command::new("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-y", "--no-install-recommends", "install"])
        .args(&missing);
    output(&mut install)?;
    Ok(())
}

/// A program on the path or where Debian keeps those of root, or a file by its full path; of several
/// names the first that is there.
pub(crate) fn find(names: &str) -> Option<PathBuf> {
    names.split('|').find_map(find_one)
}

fn find_one(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|it| it.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|it| it.is_file())
}

/// Which Debian this is.
pub(crate) fn codename() -> Result<String> {
    let release = std::fs::read_to_string("/etc/os-release").context("this is no Debian")?;
    release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(str::to_owned)
        .context("/etc/os-release names no release")
}

/// A command by the name of a program that [`ensure`] looked for.
pub(crate) fn command(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| name.into()))
}

/// Runs a command to its end and gives what it printed; the error says what it complained of.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}
