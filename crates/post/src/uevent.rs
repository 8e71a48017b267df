//! What the kernel says about devices that come and go: the netlink socket of uevents, and its
//! text parsed.
//!
//! Only the kernel is believed: messages of other processes (udev repeats events on its own group,
//! root may send what it likes) carry a sender and are dropped. When the kernel had to drop
//! messages because the socket was full, [`Heard::Overflow`] says so, and everything present has to
//! be judged again.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, recvfrom,
    setsockopt, socket, sockopt,
};
use thiserror::Error;

/// The socket's buffer. A flood beyond it costs a scan of everything present, not a device missed.
const BUFFER_BYTES: usize = 4 << 20;
/// The kernel's messages are below 4 KiB (lib/kobject_uevent.c: UEVENT_BUFFER_SIZE 2048).
const MESSAGE_BYTES_MAX: usize = 8192;
/// More than fit into the buffer: a flood that does not end must not keep the agent from judging.
const DRAINED_MAX: usize = 1 << 17;
/// The kernel's group; udev speaks on the second one.
const GROUP_KERNEL: u32 = 1;

/// What happened to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It came.
    Add,
    /// It went.
    Remove,
    /// Its state changed: a medium was put in, a table was loaded.
    Change,
    /// A driver was bound, unbound, or the device was moved, brought on or off line.
    Other,
}

/// One message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    /// What happened.
    pub action: Action,
    /// The device's path below `/sys`, beginning with `/`, without `..`.
    pub path: String,
    /// The kernel's subsystem: `usb`, `block`, `hid`.
    pub subsystem: String,
    /// `usb_device`, `usb_interface`, `disk`, `partition`, or empty.
    pub devtype: String,
    /// The kernel's running number of events.
    pub number: u64,
}

impl Uevent {
    /// The last part of the path: the device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Why a message is no uevent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UeventError {
    /// It is not of the form `action@path`, or not ASCII text.
    #[error("a uevent without a readable header")]
    Header,
    /// The path leaves `/sys`, or differs from the header's.
    #[error("a uevent whose path is not below /sys")]
    Path,
    /// A field that is needed is missing or given twice.
    #[error("a uevent whose field {0} is missing or given twice")]
    Field(&'static str),
}

/// Parses a message as the kernel sends it: `add@/devices/..`, then `KEY=VALUE`, all ended by NUL.
///
/// # Errors
/// [`UeventError`] for everything else; a message is never half believed.
pub fn parse(message: &[u8]) -> Result<Uevent, UeventError> {
    let mut lines = message.split(|byte| *byte == 0);
    let header = lines.next().and_then(text).ok_or(UeventError::Header)?;
    let (verb, path) = header.split_once('@').ok_or(UeventError::Header)?;
    if !path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".") {
        return Err(UeventError::Path);
    }
    let mut fields: [(&'static str, Option<&str>); 4] = [
        ("DEVPATH", None),
        ("SUBSYSTEM", None),
        ("DEVTYPE", None),
        ("SEQNUM", None),
    ];
    for line in lines {
        let Some((key, value)) = text(line).and_then(|line| line.split_once('=')) else {
            continue;
        };
        if let Some((name, slot)) = fields.iter_mut().find(|(name, _)| *name == key) {
            if slot.is_some() {
                return Err(UeventError::Field(name));
            }
            *slot = Some(value);
        }
    }
    let [(_, again), (_, subsystem), (_, devtype), (_, number)] = fields;
    if again.is_some_and(|again| again != path) {
        return Err(UeventError::Path);
    }
    Ok(Uevent {
        action: match verb {
            "add" => Action::Add,
            "remove" => Action::Remove,
            "change" => Action::Change,
            _ => Action::Other,
        },
        path: path.to_owned(),
        subsystem: subsystem.ok_or(UeventError::Field("SUBSYSTEM"))?.to_owned(),
        devtype: devtype.unwrap_or_default().to_owned(),
        number: number
            .and_then(|number| number.parse().ok())
            .ok_or(UeventError::Field("SEQNUM"))?,
    })
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What a read of the socket brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message of the kernel.
    Event(Uevent),
    /// Messages were lost: judge everything present again.
    Overflow,
    /// A message of somebody else, or one that does not parse.
    Ignored,
    /// Nothing is waiting.
    Nothing,
}

/// The kernel's uevents.
#[derive(Debug)]
pub struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Opens the socket; what the kernel says from now on is kept until it is read.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> nix::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        // Beyond net.core.rmem_max only root may go; the smaller buffer overflows earlier, no more.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES)?;
        }
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP_KERNEL))?;
        Ok(Self { socket })
    }

    /// Reads one message, without waiting.
    ///
    /// # Errors
    /// What the kernel says, but for a lost message, which is [`Heard::Overflow`].
    pub fn read(&self) -> nix::Result<Heard> {
        let mut message = [0u8; MESSAGE_BYTES_MAX];
        match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut message) {
            Ok((length, sender)) => Ok(
                // The kernel's port is 0, and no process can have it.
                if sender.map(|sender| sender.pid()) != Some(0) {
                    Heard::Ignored
                } else {
                    message
                        .get(..length)
                        .and_then(|message| parse(message).ok())
                        .map_or(Heard::Ignored, Heard::Event)
                },
            ),
            Err(Errno::ENOBUFS) => Ok(Heard::Overflow),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Heard::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Throws away what is waiting: after a loss everything present is judged anyway.
    pub fn drain(&self) {
        let mut message = [0u8; MESSAGE_BYTES_MAX];
        for _ in 0..DRAINED_MAX {
            match recv(
                self.socket.as_raw_fd(),
                &mut message,
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STICK: &[u8] = b"add@/devices/pci0000:00/0000:00:04.0/usb1/1-5\0ACTION=add\0\
        DEVPATH=/devices/pci0000:00/0000:00:04.0/usb1/1-5\0SUBSYSTEM=usb\0MAJOR=189\0MINOR=4\0\
        DEVNAME=bus/usb/001/005\0DEVTYPE=usb_device\0PRODUCT=46f4/1/0\0SEQNUM=812\0";

    #[test]
    fn a_stick() {
        let event = parse(STICK).unwrap();
        assert_eq!(event.action, Action::Add);
        assert_eq!(event.name(), "1-5");
        assert_eq!(event.subsystem, "usb");
        assert_eq!(event.devtype, "usb_device");
        assert_eq!(event.number, 812);
    }

    #[test]
    fn what_is_no_uevent() {
        for (message, error) in [
            (&b""[..], UeventError::Header),
            (b"libudev\0", UeventError::Header),
            (b"add@devices\0SUBSYSTEM=usb\0SEQNUM=1\0", UeventError::Path),
            (
                b"add@/a/../../etc\0SUBSYSTEM=usb\0SEQNUM=1\0",
                UeventError::Path,
            ),
            (
                b"add@/a\0DEVPATH=/b\0SUBSYSTEM=usb\0SEQNUM=1\0",
                UeventError::Path,
            ),
            (b"add@/a\0SEQNUM=1\0", UeventError::Field("SUBSYSTEM")),
            (
                b"add@/a\0SUBSYSTEM=usb\0SEQNUM=x\0",
                UeventError::Field("SEQNUM"),
            ),
            (
                b"add@/a\0SUBSYSTEM=usb\0SUBSYSTEM=block\0SEQNUM=1\0",
                UeventError::Field("SUBSYSTEM"),
            ),
        ] {
            assert_eq!(
                parse(message),
                Err(error),
                "{}",
                String::from_utf8_lossy(message)
            );
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(message in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = parse(&message);
        }

        #[test]
        fn a_cut_or_flipped_message_stays_below_sys(at in 0..STICK.len(), flip in any::<u8>()) {
            let mut message = STICK.to_vec();
            message[at] ^= flip;
            if let Ok(event) = parse(&message) {
                prop_assert!(event.path.starts_with('/'));
                prop_assert!(!event.path.split('/').any(|part| part == ".."));
            }
            let _ = parse(&message[..at]);
        }

        #[test]
        fn what_the_kernel_writes_is_read(
            path in "(/[a-z0-9:.-]{1,12}x){1,6}", subsystem in "[a-z_]{1,12}", number in any::<u64>(),
        ) {
            let message = format!("remove@{path}\0DEVPATH={path}\0SUBSYSTEM={subsystem}\0SEQNUM={number}\0");
            let event = parse(message.as_bytes()).unwrap();
            prop_assert_eq!(event.path, path);
            prop_assert_eq!(event.subsystem, subsystem);
            prop_assert_eq!(event.number, number);
            prop_assert_eq!(event.action, Action::Remove);
        }
    }
}
