//! Watches mounted foreign media: that something was written there in spite of everything has to be
//! known. It refuses nothing; the guard and the read-only flag do.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

/// Writes that are told apart; the rest of a burst is one more of the same.
const WRITES_A_TURN_MAX: usize = 64;

/// The watch.
#[derive(Debug)]
pub struct Watch {
    group: Fanotify,
    /// Mounts that are watched: number of the superblock and place.
    marked: BTreeSet<(u32, String)>,
    /// Foreign mounts that could not be watched.
    unmarked: BTreeSet<String>,
}

impl Watch {
    /// Asks the kernel for a group.
    ///
    /// # Errors
    /// What the kernel says: it lacks fanotify, or the process the right.
    pub fn open() -> nix::Result<Self> {
        let group = Fanotify::init(
            InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK,
            EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC,
        )?;
        Ok(Self {
            group,
            marked: BTreeSet::new(),
            unmarked: BTreeSet::new(),
        })
    }

    /// Watches these foreign mounts (number of the superblock, place), and no others.
    pub fn set(&mut self, foreign: BTreeSet<(u32, String)>) {
        // The mark of a filesystem goes with its superblock.
        self.marked.retain(|it| foreign.contains(it));
        self.unmarked.clear();
        for mount in foreign {
            if self.marked.contains(&mount) {
                continue;
            }
            let marked = self.group.mark(
                MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM,
                MaskFlags::FAN_MODIFY | MaskFlags::FAN_CLOSE_WRITE,
                AT_FDCWD,
                Some(Path::new(&mount.1)),
            );
            match marked {
                Ok(()) => {
                    self.marked.insert(mount);
                }
                Err(_) => {
                    self.unmarked.insert(mount.1);
                }
            }
        }
    }

    /// Whether every foreign mount is watched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unmarked.is_empty()
    }

    /// The programs that wrote since the last look, and how often. Names of files stay here: they may
    /// be somebody's.
    #[must_use]
    pub fn written(&self) -> Vec<String> {
        let mut programs = BTreeSet::new();
        for _ in 0..WRITES_A_TURN_MAX {
            let Ok(events) = self.group.read_events() else {
                break;
            };
            if events.is_empty() {
                break;
            }
            for event in events {
                let program = fs::read_link(format!("/proc/{}/exe", event.pid()))
                    .ok()
                    .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
                // The descriptor of a lost event is none: the queue was full.
                let lost = event.fd().is_none_or(|fd| fd.as_raw_fd() < 0);
                programs.insert(match (lost, program) {
                    (true, _) => "more than can be told".to_owned(),
                    (false, Some(program)) => program,
                    (false, None) => "a program that ended".to_owned(),
                });
            }
        }
        programs.into_iter().collect()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}
