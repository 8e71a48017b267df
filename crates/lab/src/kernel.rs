//! Debian's kernel: downloaded and unpacked, never installed, and kept for the next run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::tools;

/// Loaded by the guest's init, in this order (each after what it needs).
const AT_START: [&str; 27] = [
    "xhci_pci",
    "usb_storage",
    "uas",
    "sd_mod",
    "sr_mod",
    "usbhid",
    "hid_generic",
    "evdev",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "cdc_ether",
    "rndis_host",
    "cdc_acm",
    "ftdi_sio",
    "nvme",
    "sdhci_pci",
    "mmc_block",
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "fuse",
    "isofs",
    "udf",
    "loop",
    "virtio_net",
    "ahci",
];

/// Loaded by parts that need them: controllers without hardware, and gadgets.
const LATER: [&str; 6] = [
    "vhci-hcd",
    "dummy_hcd",
    "usb_f_mass_storage",
    "usb_f_hid",
    "usb_f_rndis",
    "usb_f_printer",
];

/// Needs an instruction that the emulated processor lacks; the plain form is loaded beside it.
const SKIPPED: &str = "crct10dif-pclmul";

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// As in `uname -r`.
    pub(crate) version: String,
    /// The uncompressed image: QEMU starts it directly, and the guest is spared the unpacking.
    pub(crate) image: PathBuf,
    /// The package, unpacked.
    pub(crate) folder: PathBuf,
}

/// A kernel module and its file.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

impl Kernel {
    /// The kernel in `cache`, fetched with `apt-get download` when there is none yet.
    pub(crate) fn get(cache: &Path) -> Result<Self> {
        let folder = cache.join("kernel");
        if !folder.join("done").exists() {
            fetch(cache, &folder)?;
            std::fs::write(folder.join("done"), "")?;
        }
        let version = only_entry(&folder.join("lib/modules"))?;
        Ok(Self {
            image: folder.join("vmlinux"),
            version,
            folder,
        })
    }

    /// The modules that init loads, in order.
    pub(crate) fn at_start(&self) -> Result<Vec<Module>> {
        let mut modules: Vec<Module> = Vec::new();
        for name in AT_START {
            for module in self.with_needs(name)? {
                if modules.iter().all(|it| it.name != module.name) {
                    modules.push(module);
                }
            }
        }
        Ok(modules)
    }

    /// Each module that parts load, with what it needs before it.
    pub(crate) fn later(&self) -> Result<Vec<(&'static str, Vec<Module>)>> {
        LATER
            .iter()
            .map(|name| Ok((*name, self.with_needs(name)?)))
            .collect()
    }

    /// A module and those it needs, these first.
    fn with_needs(&self, name: &str) -> Result<Vec<Module>> {
        let mut modprobe = tools::command("modprobe");
        modprobe.arg("-d").arg(&self.folder);
        modprobe.args(["-S", &self.version, "--show-depends", name]);
        let printed = String::from_utf8(tools::output(&mut modprobe)?)?;
        Ok(printed
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "))
            .map(|file| PathBuf::from(file.trim()))
            .map(|file| Module {
                name: stem(&file),
                file,
            })
            .filter(|module| module.name != SKIPPED)
            .collect())
    }
}

fn stem(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn fetch(cache: &Path, folder: &Path) -> Result<()> {
    // The cloud flavour has no USB; the plain one is the default of Debian's metapackage.
    let mut depends = tools::command("apt-cache");
    depends.args(["depends", "linux-image-amd64"]);
    let printed = String::from_utf8(tools::output(&mut depends)?)?;
    let package = printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|it| it.starts_with("linux-image-"))
        .context("apt knows no kernel image; run apt-get update")?
        .to_owned();
    println!("fetching {package}");
    let downloads = cache.join("downloads");
    std::fs::create_dir_all(&downloads)?;
    tools::output(
        tools::command("apt-get")
            .args(["-q", "download", &package])
            .current_dir(&downloads),
    )?;
    let archive = downloads.join(only_entry(&downloads)?);
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    tools::output(
        tools::command("dpkg-deb")
            .arg("-x")
            .args([&archive, folder]),
    )?;
    std::fs::remove_file(archive)?;
    let version = only_entry(&folder.join("lib/modules"))?;
    tools::output(tools::command("depmod").arg("-b").arg(folder).arg(&version))?;
    let packed = std::fs::read(folder.join(format!("boot/vmlinuz-{version}")))?;
    std::fs::write(folder.join("vmlinux"), unpacked(&packed, folder)?)?;
    Ok(())
}

/// The ELF image inside a `bzImage`: the xz stream after its loader.
fn unpacked(packed: &[u8], folder: &Path) -> Result<Vec<u8>> {
    const XZ: &[u8] = b"\xfd7zXZ\0";
    let begin = packed
        .windows(XZ.len())
        .position(|it| it == XZ)
        .context("the kernel is not packed with xz")?;
    let stream = folder.join("vmlinux.xz");
    std::fs::write(&stream, &packed[begin..])?;
    // What follows the stream belongs to the loader.
    let image = tools::output(
        tools::command("xz")
            .args(["-dc", "--single-stream"])
            .arg(&stream),
    )?;
    std::fs::remove_file(stream)?;
    ensure!(
        image.starts_with(b"\x7fELF"),
        "the kernel's image is no ELF"
    );
    Ok(image)
}

fn only_entry(folder: &Path) -> Result<String> {
    let names: Vec<String> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|it| it.ok()?.file_name().into_string().ok())
        .collect();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        _ => bail!(
            "{} holds {} entries, not one",
            folder.display(),
            names.len()
        ),
    }
}
