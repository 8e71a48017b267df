//! What refuses writing to drives without a disk (FUSE, 9p, CIFS) where the kernel has no guard: fanotify
//! asks before a file is opened.
//!
//! It is less than the guard. It is asked about opened files alone: folders, names and empty files can be
//! made, and whatever is there can be removed. It fails open when its process ends, and closed when it
//! stands still. It begins some milliseconds after a drive was mounted.
//!
//! A thread of its own answers, because the kernel opens each file for it, through whoever serves the
//! drive, and that may take for ever.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, OFlag};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};

use crate::wake::Bell;

/// What the kernel says of a thread that does not wait.
const RUNNING: &str = "running";
/// When and how often it is looked at again, until it does.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOKS_MAX: usize = 2000;

/// Mounts: number of the superblock and place.
pub type Mounts = BTreeSet<(u32, String)>;

/// What the agent's thread holds of it.
#[derive(Debug)]
pub struct Fallback {
    mounts: Sender<Mounts>,
    told: Mounts,
    bell: Bell,
    refused: Arc<AtomicU64>,
    complete: Arc<AtomicBool>,
}

impl Fallback {
    /// Asks the kernel for a group, and starts the thread.
    ///
    /// # Errors
    /// What the kernel says: it lacks permission events, or the process the right.
    pub fn start(stack: usize) -> io::Result<Self> {
        let group = Fanotify::init(
            // A question that finds no place in a bounded queue would be answered with yes.
            InitFlags::FAN_CLASS_CONTENT
                | InitFlags::FAN_REPORT_TID
                | InitFlags::FAN_UNLIMITED_QUEUE
                | InitFlags::FAN_CLOEXEC
                | InitFlags::FAN_NONBLOCK,
            EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC,
        )?;
        let (mounts, inbox) = channel();
        let fallback = Self {
            mounts,
            told: Mounts::new(),
            bell: Bell::new()?,
            refused: Arc::default(),
            complete: Arc::new(AtomicBool::new(true)),
        };
        let thread = Thread {
            group,
            marked: Mounts::new(),
            inbox,
            bell: fallback.bell.clone(),
            refused: Arc::clone(&fallback.refused),
            complete: Arc::clone(&fallback.complete),
        };
        std::thread::Builder::new()
            .name("fallback".to_owned())
            .stack_size(stack)
            .spawn(move || thread.run())?;
        Ok(fallback)
    }

    /// Files on these mounts are opened for reading alone from now on, and those on no others.
    pub fn set(&mut self, mounts: Mounts) {
        if mounts != self.told {
            self.told.clone_from(&mounts);
            self.complete.store(false, Ordering::Release);
            // The thread ends with this value alone.
            let _ = self.mounts.send(mounts);
            self.bell.ring();
        }
    }

    /// Whether it is asked about all of them.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// How often it refused since this was asked last.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.swap(0, Ordering::AcqRel)
    }
}

impl Drop for Fallback {
    fn drop(&mut self) {
        // The thread finds that nobody sends any more.
        let (closed, _) = channel();
        self.mounts = closed;
        self.bell.ring();
    }
}

/// The thread's own.
struct Thread {
    group: Fanotify,
    marked: Mounts,
    inbox: Receiver<Mounts>,
    bell: Bell,
    refused: Arc<AtomicU64>,
    complete: Arc<AtomicBool>,
}

impl Thread {
    fn run(mut self) {
        loop {
            let mut ready = [
                PollFd::new(self.group.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
            ];
            // An interrupted wait is a turn with nothing to do.
            let _ = poll(&mut ready, PollTimeout::NONE);
            self.answer();
            self.bell.clear();
            loop {
                match self.inbox.try_recv() {
                    Ok(mounts) => self.mark(mounts),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        }
    }

    fn mark(&mut self, mounts: Mounts) {
        let mark = |flags, at: &str| {
            self.group.mark(
                flags | MarkFlags::FAN_MARK_FILESYSTEM,
                MaskFlags::FAN_OPEN_PERM,
                AT_FDCWD,
                Some(Path::new(at)),
            )
        };
        // A mark is the file system's: it stays until the last place where that is mounted went.
        let stays = |device: &u32| mounts.iter().any(|(it, _)| it == device);
        let gone: Vec<_> = self.marked.difference(&mounts).cloned().collect();
        for (_, at) in gone.iter().filter(|(device, _)| !stays(device)) {
            // Mostly it went with its file system, and this may meet the one below: that is marked again.
            let _ = mark(MarkFlags::FAN_MARK_REMOVE, at);
            self.marked.clear();
        }
        let new = mounts.difference(&self.marked);
        let failed: BTreeSet<&(u32, String)> = new
            .filter(|(_, at)| mark(MarkFlags::FAN_MARK_ADD, at).is_err())
            .collect();
        self.complete.store(failed.is_empty(), Ordering::Release);
        self.marked = mounts
            .iter()
            .filter(|mount| !failed.contains(mount))
            .cloned()
            .collect();
    }

    fn answer(&self) {
        while let Ok(events) = self.group.read_events() {
            if events.is_empty() {
                return;
            }
            for event in &events {
                let Some(file) = event.fd() else { continue };
                let reads = call(event.pid()).is_ok_and(|call| only_reads(&call));
                if !reads {
                    self.refused.fetch_add(1, Ordering::AcqRel);
                }
                let response = if reads {
                    Response::FAN_ALLOW
                } else {
                    Response::FAN_DENY
                };
                // Whoever asked may be gone.
                let _ = self
                    .group
                    .write_response(FanotifyResponse::new(file, response));
            }
        }
    }
}

/// What a thread that waits for an answer called. It may be asked before it has begun to wait: then nobody
/// can read its registers yet.
fn call(thread: i32) -> io::Result<String> {
    let path = format!("/proc/{thread}/syscall");
    let mut call = fs::read_to_string(&path)?;
    for _ in 0..LOOKS_MAX {
        if call.trim_end() != RUNNING {
            break;
        }
        std::thread::sleep(LOOK_AGAIN);
        call = fs::read_to_string(&path)?;
    }
    Ok(call)
}

/// Whether a thread that waits for an answer opens a file for reading and nothing else, by its line in
/// `/proc/TID/syscall`: the number and the arguments of its system call, from its registers, which it cannot
/// change meanwhile. Flags in its memory could be (openat2), so such calls are refused, and so is whatever
/// is not known: the calls of 32-bit programs, rings.
fn only_reads(call: &str) -> bool {
    let mut words = call.split_ascii_whitespace();
    let number: Option<libc::c_long> = words.next().and_then(|it| it.parse().ok());
    let arguments: Vec<&str> = words.collect();
    let flags = match number {
        // A program that is started is read.
        Some(libc::SYS_execve | libc::SYS_execveat) => return true,
        #[cfg(target_arch = "x86_64")]
        Some(libc::SYS_open) => arguments.get(1),
        Some(libc::SYS_openat) => arguments.get(2),
        _ => None,
    };
    let flags = flags
        .and_then(|it| u64::from_str_radix(it.strip_prefix("0x")?, 16).ok())
        .map(|it| {
            // The kernel takes the lower half of the register.
            let [a, b, c, d, ..] = it.to_le_bytes();
            OFlag::from_bits_retain(i32::from_le_bytes([a, b, c, d]))
        });
    flags.is_some_and(|it| {
        it & OFlag::O_ACCMODE == OFlag::O_RDONLY && !it.intersects(OFlag::O_CREAT | OFlag::O_TRUNC)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn only_what_is_known_to_read_does() {
        for (call, reads) in [
            // openat: read-only, with and without O_CLOEXEC
            (
                "257 0xffffff9c 0x7ffd12 0x0 0x0 0x0 0x0 0x7ffe 0x7f11",
                true,
            ),
            (
                "257 0xffffff9c 0x7ffd12 0x80000 0x0 0x0 0x0 0x7ffe 0x7f11",
                true,
            ),
            (
                "257 0xffffff9c 0x7ffd12 0xdead00080000 0x0 0x0 0x0 0x7ffe 0x7f11",
                true,
            ),
            // for writing, appending, both
            (
                "257 0xffffff9c 0x7ffd12 0x1 0x0 0x0 0x0 0x7ffe 0x7f11",
                false,
            ),
            (
                "257 0xffffff9c 0x7ffd12 0x401 0x0 0x0 0x0 0x7ffe 0x7f11",
                false,
            ),
            (
                "257 0xffffff9c 0x7ffd12 0x2 0x0 0x0 0x0 0x7ffe 0x7f11",
                false,
            ),
            (
                "257 0xffffff9c 0x7ffd12 0x3 0x0 0x0 0x0 0x7ffe 0x7f11",
                false,
            ),
            // read-only, and cut or made
            (
                "257 0xffffff9c 0x7ffd12 0x200 0x0 0x0 0x0 0x7ffe 0x7f11",
                false,
            ),
            (
                "257 0xffffff9c 0x7ffd12 0x40 0x0 0x0 0x0 0x7ffe 0x7f11",
                false,
            ),
            // open, creat, execve, openat2, io_uring_enter, openat of a 32-bit program
            ("2 0x7ffd12 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f11", true),
            ("2 0x7ffd12 0x241 0x1b6 0x0 0x0 0x0 0x7ffe 0x7f11", false),
            ("85 0x7ffd12 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f11", false),
            ("59 0x7ffd12 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f11", true),
            (
                "437 0xffffff9c 0x7ffd12 0x7ffd20 0x18 0x0 0x0 0x7ffe 0x7f11",
                false,
            ),
            ("426 0x3 0x1 0x0 0x0 0x0 0x0 0x7ffe 0x7f11", false),
            (
                "295 0xffffff9c 0x7ffd12 0x0 0x0 0x0 0x0 0x7ffe 0x7f11",
                false,
            ),
            // What the kernel writes of threads that run or make no call
            (RUNNING, false),
            ("-1 0x7ffe 0x7f11", false),
            ("257", false),
            ("", false),
        ] {
            assert_eq!(only_reads(call), reads, "{call}");
        }
    }
}
