//! `/sys`: what the kernel knows about devices, and the few files by which it is told to keep them
//! off.
//!
//! The folder is a value so that logic can be tested over a copy; what the files do is the kernel's
//! and is tested in the laboratory.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Attributes are text of less than a page.
const ATTRIBUTE_BYTES_MAX: usize = 4096;
/// Descriptors are bounded by the kernel at 64 KiB a configuration.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Names of devices are short; a longer one is a mistake of ours or a trick.
const NAME_BYTES_MAX: usize = 128;

/// Where the kernel's folders are.
#[derive(Debug, Clone)]
pub struct Sysfs {
    root: PathBuf,
}

/// A root hub's two defaults, as read back from the kernel. -1: unreadable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// `usb1`.
    pub name: String,
    /// Whether a new device is authorised by itself: 0 when closed.
    pub authorized_default: i8,
    /// Whether an interface of an authorised device is: 0 when closed.
    pub interface_authorized_default: i8,
}

/// What closing the kernel came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closing {
    /// The parameter and the hubs' files that were changed from another value.
    pub changed: Vec<String>,
    /// Files that could not be written or read back otherwise, with the reason.
    pub failed: Vec<String>,
    /// Interfaces of root hubs that were given back to their driver.
    pub bound: Vec<String>,
}

/// An interface of a configured USB device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbInterface {
    /// `1-5:1.0`.
    pub name: String,
    /// bInterfaceNumber.
    pub number: u8,
    /// Class, subclass, protocol.
    pub class: (u8, u8, u8),
    /// Whether the kernel lets a driver bind.
    pub authorized: bool,
    /// The driver that has it.
    pub driver: Option<String>,
}

impl Sysfs {
    /// The kernel's own folder, `/sys`, or a test's.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A path below the root.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below.trim_start_matches('/'))
    }

    /// Closes the kernel to new devices: the parameter that new controllers inherit (docks,
    /// Thunderbolt, usbip), then every root hub. What was read back counts, not what was written.
    #[must_use]
    pub fn close(&self) -> Closing {
        let mut closing = Closing::default();
        self.set_zero(
            &self.path("module/usbcore/parameters/authorized_default"),
            "usbcore.authorized_default",
            &mut closing,
        );
        for name in self.root_hubs() {
            let failed = closing.failed.len();
            for file in ["authorized_default", "interface_authorized_default"] {
                let path = self.usb(&name).join(file);
                self.set_zero(&path, &format!("{name}/{file}"), &mut closing);
            }
            if closing.failed.len() == failed {
                closing.bound.extend(self.bind_root_hub(&name));
            }
        }
        closing
    }

    /// A closed root hub's own interface is authorised and bound. Where the hub was closed before the
    /// kernel made that interface it is neither, and nothing that is plugged in behind it is ever seen.
    /// Gives the interface if that was so.
    fn bind_root_hub(&self, hub: &str) -> Option<String> {
        let bus = hub.strip_prefix("usb")?;
        let name = format!("{bus}-0:1.0");
        let interface = self.usb(&name);
        if !interface.exists() || interface.join("driver").exists() {
            return None;
        }
        // The kernel may be about to bind it itself; where nobody can, the next look tries again.
        let _ = write_text(&interface.join("authorized"), "1");
        let bound = write_text(&self.path("bus/usb/drivers/hub/bind"), &name);
        bound.is_ok().then_some(name)
    }

    fn set_zero(&self, path: &Path, name: &str, closing: &mut Closing) {
        let before = read_text(path).ok();
        if before.as_deref() == Some("0") {
            return;
        }
        let written = write_text(path, "0");
        match (written, read_text(path)) {
            (Ok(()), Ok(now)) if now == "0" => closing.changed.push(name.to_owned()),
            (Ok(()), Ok(now)) => closing.failed.push(format!("{name} is {now}, not 0")),
            (Err(error), _) | (Ok(()), Err(error)) => {
                closing.failed.push(format!("{name}: {error}"));
            }
        }
    }

    /// The parameter `authorized_default` of usbcore, -2 if there is none or it is unreadable. (-1
    /// is the kernel's own value for "wired devices only".)
    #[must_use]
    pub fn usbcore_default(&self) -> i8 {
        read_text(&self.path("module/usbcore/parameters/authorized_default"))
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(-2)
    }

    /// The root hubs' defaults, as the kernel has them now.
    #[must_use]
    pub fn hubs(&self) -> Vec<Hub> {
        let value = |path: PathBuf| {
            read_text(&path)
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or(-1)
        };
        self.root_hubs()
            .into_iter()
            .map(|name| Hub {
                authorized_default: value(self.usb(&name).join("authorized_default")),
                interface_authorized_default: value(
                    self.usb(&name).join("interface_authorized_default"),
                ),
                name,
            })
            .collect()
    }

    fn root_hubs(&self) -> Vec<String> {
        self.list("bus/usb/devices")
            .into_iter()
            .filter(|name| is_root_hub(name))
            .collect()
    }

    /// The names of USB devices that are present, root hubs and interfaces left out, the nearest to
    /// the root first.
    #[must_use]
    pub fn usb_devices(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .list("bus/usb/devices")
            .into_iter()
            .filter(|name| is_usb_device(name))
            .collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    /// A USB device's folder.
    #[must_use]
    pub fn usb(&self, name: &str) -> PathBuf {
        self.path("bus/usb/devices").join(name)
    }

    /// The bytes of a USB device's `descriptors`: all configurations, readable before the device is
    /// authorised.
    ///
    /// # Errors
    /// The device is gone, or there are more bytes than any device may have.
    pub fn usb_descriptors(&self, name: &str) -> io::Result<Vec<u8>> {
        read_bytes(&self.usb(name).join("descriptors"))
    }

    /// An attribute of a USB device, as text, trimmed; what is no UTF-8 is replaced.
    ///
    /// # Errors
    /// The device is gone, or has no such attribute.
    pub fn usb_attribute(&self, name: &str, attribute: &str) -> io::Result<String> {
        read_text(&self.usb(name).join(attribute))
    }

    /// Whether the kernel has authorised a USB device.
    ///
    /// # Errors
    /// The device is gone.
    pub fn usb_authorized(&self, name: &str) -> io::Result<bool> {
        Ok(self.usb_attribute(name, "authorized")? != "0")
    }

    /// Whether the kernel's driver for whole devices has a USB device, or is about to: what is written
    /// to the device waits for it from then on.
    #[must_use]
    pub fn usb_is_bound(&self, name: &str) -> bool {
        self.usb(name).join("driver").exists()
    }

    /// Authorises a USB device, or takes its authorisation back: the kernel then unbinds every
    /// driver. The device's file is read back.
    ///
    /// # Errors
    /// The device is gone, or keeps its state.
    pub fn usb_authorize(&self, name: &str, on: bool) -> io::Result<()> {
        let path = self.usb(name).join("authorized");
        write_text(&path, if on { "1" } else { "0" })?;
        if (read_text(&path)? == "1") == on {
            Ok(())
        } else {
            Err(io::Error::other("the kernel kept the device's state"))
        }
    }

    /// The interfaces of a USB device's active configuration; none before it is authorised.
    #[must_use]
    pub fn usb_interfaces(&self, name: &str) -> Vec<UsbInterface> {
        let prefix = format!("{name}:");
        let mut found: Vec<UsbInterface> = self
            .list("bus/usb/devices")
            .into_iter()
            .filter(|it| it.starts_with(&prefix))
            .filter_map(|it| self.usb_interface(&it))
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn usb_interface(&self, name: &str) -> Option<UsbInterface> {
        let folder = self.usb(name);
        let hex = |file: &str| {
            let text = read_text(&folder.join(file)).ok()?;
            u8::from_str_radix(&text, 16).ok()
        };
        Some(UsbInterface {
            number: hex("bInterfaceNumber")?,
            class: (
                hex("bInterfaceClass")?,
                hex("bInterfaceSubClass")?,
                hex("bInterfaceProtocol")?,
            ),
            authorized: read_text(&folder.join("authorized")).is_ok_and(|text| text == "1"),
            driver: fs::read_link(folder.join("driver"))
                .ok()
                .and_then(|link| Some(link.file_name()?.to_str()?.to_owned())),
            name: name.to_owned(),
        })
    }

    /// Lets drivers have an interface, or tears them off it.
    ///
    /// # Errors
    /// The interface is gone, or keeps its state.
    pub fn interface_authorize(&self, name: &str, on: bool) -> io::Result<()> {
        let path = self.usb(name).join("authorized");
        write_text(&path, if on { "1" } else { "0" })?;
        if (read_text(&path)? == "1") == on {
            Ok(())
        } else {
            Err(io::Error::other("the kernel kept the interface's state"))
        }
    }

    /// Gives an interface to the first driver that takes it: of these, by name, so that no other one
    /// can have it; of all that are loaded, with `None`. Authorising alone gives it to nobody.
    ///
    /// That none takes it is no failure: nothing works, nothing is open.
    pub fn usb_bind(&self, interface: &str, drivers: Option<impl Iterator<Item = &'static str>>) {
        let Some(drivers) = drivers else {
            let _ = write_text(&self.path("bus/usb/drivers_probe"), interface);
            return;
        };
        for driver in drivers {
            let file = self.path("bus/usb/drivers").join(driver).join("bind");
            if write_text(&file, interface).is_ok() {
                return;
            }
        }
    }

    /// What of a class (`input`, `sound`) hangs from the interfaces of a USB device: interface number
    /// and folder.
    #[must_use]
    pub fn below_usb(&self, class: &str, usb: &str) -> Vec<(u8, PathBuf)> {
        let class = format!("class/{class}");
        self.list(&class)
            .into_iter()
            .map(|name| self.path(&class).join(name))
            // The link's own text is the way: this is asked again and again.
            .filter_map(|path| Some((interface_of(&fs::read_link(&path).ok()?, usb)?, path)))
            .collect()
    }

    /// Whether HID drivers bind by themselves to what appears.
    ///
    /// # Errors
    /// The kernel has no HID devices loaded.
    pub fn hid_autoprobe(&self, on: bool) -> io::Result<()> {
        write_text(
            &self.path("bus/hid/drivers_autoprobe"),
            if on { "1" } else { "0" },
        )
    }

    /// Whether a HID device belongs to a USB device.
    #[must_use]
    pub fn hid_is_below(&self, hid: &str, usb: &str) -> bool {
        fs::canonicalize(self.path("bus/hid/devices").join(hid))
            .is_ok_and(|path| path.iter().any(|part| part == usb))
    }

    /// Asks the kernel to find a driver for a HID device that has none.
    pub fn hid_bind(&self, hid: &str) {
        if !self
            .path("bus/hid/devices")
            .join(hid)
            .join("driver")
            .exists()
        {
            // No driver for it is no failure.
            let _ = write_text(&self.path("bus/hid/drivers_probe"), hid);
        }
    }

    /// Whether the driver that reads HID report descriptors is there.
    #[must_use]
    pub fn reads_reports(&self) -> bool {
        self.path("bus/usb/drivers/usbhid").exists() && self.path("bus/hid").exists()
    }

    /// The names in a folder below the root, sorted; none if it is not there.
    #[must_use]
    pub fn list(&self, below: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(below))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.len() <= NAME_BYTES_MAX)
            .collect();
        names.sort();
        names
    }
}

/// The number of the interface of a USB device that a folder is below: 2 of `../1-5:1.2/..`.
#[must_use]
pub fn interface_of(path: &Path, usb: &str) -> Option<u8> {
    path.iter()
        .filter_map(|part| part.to_str()?.strip_prefix(usb)?.strip_prefix(':'))
        .find_map(|part| part.rsplit_once('.')?.1.parse().ok())
}

/// The USB device that a folder is in or below, the nearest.
#[must_use]
pub fn usb_of(path: &Path) -> Option<String> {
    path.iter()
        .filter_map(|part| part.to_str())
        .rfind(|part| is_usb_device(part))
        .map(str::to_owned)
}

/// `usb1`.
fn is_root_hub(name: &str) -> bool {
    name.strip_prefix("usb")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `1-5`, `1-5.1.4`: a bus and ports, and nothing that could leave the folder.
#[must_use]
pub fn is_usb_device(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= NAME_BYTES_MAX
        && name
            .split_once('-')
            .is_some_and(|(bus, ports)| digits(bus) && ports.split('.').all(digits))
}

/// An attribute's text, trimmed; what is no UTF-8 is replaced. The kernel gives all of one at the first
/// read.
///
/// # Errors
/// What the system says, or more than any attribute holds.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut page = [0; ATTRIBUTE_BYTES_MAX];
    let length = fs::File::open(path)?.read(&mut page)?;
    if length == page.len() {
        return Err(io::Error::other("longer than an attribute of the kernel"));
    }
    Ok(String::from_utf8_lossy(&page[..length]).trim().to_owned())
}

/// A file's bytes.
///
/// # Errors
/// What the system says, or more than any attribute holds.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("a longer file than the kernel writes"));
    }
    Ok(bytes)
}

/// Writes an attribute in one call, as the kernel wants it; never makes a file.
pub(crate) fn write_text(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["1-5", "12-5.1.4"] {
            assert!(is_usb_device(name), "{name}");
        }
        for name in [
            "usb1", "1-5:1.0", "1-", "-1", "1-0:1.0", "1-5/..", "1-5.", "", "..",
        ] {
            assert!(!is_usb_device(name), "{name}");
        }
        assert!(is_root_hub("usb12") && !is_root_hub("usb") && !is_root_hub("usb1x"));
    }

    #[test]
    fn closing_writes_what_is_open_and_names_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let sysfs = Sysfs::new(folder.path());
        let make = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        make("module/usbcore/parameters/authorized_default", "1\n");
        make("bus/usb/devices/usb1/authorized_default", "1\n");
        make("bus/usb/devices/usb1/interface_authorized_default", "0\n");
        make("bus/usb/devices/usb2/authorized_default", "0\n");
        make("bus/usb/devices/1-1/authorized", "1\n");
        // Of a hub that was closed before its own interface was there.
        make("bus/usb/devices/1-0:1.0/authorized", "0\n");
        make("bus/usb/devices/2-0:1.0/authorized", "0\n");
        make("bus/usb/drivers/hub/bind", "");
        let closing = sysfs.close();
        // A test's file keeps what follows the written byte; the kernel's does not.
        assert_eq!(
            closing.changed,
            ["usbcore.authorized_default", "usb1/authorized_default"]
        );
        assert_eq!(closing.failed.len(), 1, "{closing:?}");
        assert!(closing.failed[0].starts_with("usb2/interface_authorized_default: "));
        assert_eq!(sysfs.usbcore_default(), 0);
        assert_eq!(
            sysfs.hubs()[1],
            Hub {
                name: "usb2".into(),
                authorized_default: 0,
                interface_authorized_default: -1
            }
        );
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
        assert_eq!(read("bus/usb/devices/1-0:1.0/authorized").trim(), "1");
        assert_eq!(read("bus/usb/drivers/hub/bind"), "1-0:1.0");
        assert_eq!(closing.bound, ["1-0:1.0"], "the other could not be closed");
        fs::create_dir(folder.path().join("bus/usb/devices/1-0:1.0/driver")).unwrap();
        assert_eq!(sysfs.close().bound, Vec::<String>::new());
        assert_eq!(sysfs.close().changed, Vec::<String>::new());
    }

    #[test]
    fn authorising_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let sysfs = Sysfs::new(folder.path());
        let device = folder.path().join("bus/usb/devices/1-1");
        fs::create_dir_all(&device).unwrap();
        assert!(
            sysfs.usb_authorize("1-1", true).is_err(),
            "no such file is made"
        );
        fs::write(device.join("authorized"), "1").unwrap();
        sysfs.usb_authorize("1-1", false).unwrap();
        assert!(!sysfs.usb_authorized("1-1").unwrap());
        assert_eq!(sysfs.usb_devices(), ["1-1"]);
    }
}
