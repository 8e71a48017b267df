//! The broker: a file comes from a person on this terminal, the gate judges its bytes, and what may be
//! written is written to the company medium, by this process alone.
//!
//! Invariants: what is written are the bytes that the gate judged, taken once into a file that nobody
//! else can open; the medium is open to this process while it writes and to nobody else ever; whatever
//! fails, it is closed again. Runs in a thread of its own: the agent's opens and closes.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use aws_lc_rs::rand;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use terminal::copy::{
    CODE_ALPHABET, CODE_LETTERS, CONFIRM_MS_MAX, FILE_BYTES_MAX, FromBroker, NAME_BYTES_MAX, Offer,
    ToBroker,
};
use terminal::token::{self, TOKEN_BYTES, TOKEN_OFFSET};

use self::talk::Talk;
use crate::clock::{now_ms, uptime_ms};
use crate::log::say;

mod talk;

/// The socket's name in the folder of the running state.
pub const SOCKET: &str = "copy.sock";
/// A request's line.
const REQUEST_BYTES_MAX: u64 = 4096;
/// The person's program has so long for each part of the file.
const FILE_WAIT: Duration = Duration::from_secs(10);
/// And for all of it.
const TAKE_MS_MAX: u64 = 60_000;
/// The gate has so long to judge.
const JUDGE_MS_MAX: u64 = 300_000;
/// The agent's own thread has so long to answer.
const AGENT_WAIT: Duration = Duration::from_secs(20);
/// What media are formatted with.
const FILESYSTEMS: [&str; 3] = ["vfat", "exfat", "ext4"];

/// What a person asks for: one line of JSON; the bytes follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The grant that is to pay for it.
    pub grant: u32,
    /// The file's name on the medium.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// What the person is told: one line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Told {
    /// To be said in a session through this terminal.
    Confirm {
        /// The code.
        code: String,
    },
    /// Somebody said it.
    Confirmed,
    /// It is on the medium.
    Written {
        /// Bytes.
        bytes: u64,
        /// People in it.
        subjects: u64,
    },
    /// It may be on the medium, whole or in part.
    Uncertain {
        /// What went wrong.
        why: String,
    },
    /// It is not.
    Refused {
        /// Why.
        why: String,
    },
}

/// A company medium that the broker may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// The disk's name.
    pub disk: String,
    /// Code of the client whose data may be on it.
    pub client: String,
    /// The token's number.
    pub id: [u8; 16],
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The grant that paid for it.
    pub grant: u32,
    /// The medium's number.
    pub medium: [u8; 16],
    /// Bytes.
    pub bytes: u64,
    /// Values by class.
    pub findings: Vec<(u8, u32)>,
}

/// A medium that is open to this process.
#[derive(Debug)]
pub struct Opened {
    /// The node of what is mounted.
    pub node: File,
    /// The node of the whole disk.
    pub disk: File,
    /// The serial, as the device says it.
    pub serial: String,
    /// Its size in bytes, as the kernel has it.
    pub size: u64,
    /// Keys that sign company media.
    pub keys: Vec<[u8; 32]>,
}

/// What the broker asks of the agent's thread, with where the answer goes.
#[derive(Debug)]
pub enum Asked {
    /// The medium that is plugged in.
    Medium(Sender<Result<Medium, String>>),
    /// This one to be opened for this process.
    Open(Medium, Sender<Result<Opened, String>>),
    /// To be closed again.
    Close(String, Sender<Result<(), String>>),
    /// To be reported.
    Written(Written),
    /// So many files were refused: to be reported.
    Refused(u64),
}

/// Why a file is not, or may not be, on the medium.
enum Failure {
    /// Nothing was written.
    Refused(String),
    /// It was judged, and nothing was written.
    Before(String),
    /// It may be there.
    After(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// What the broker needs.
pub struct Broker {
    /// Bound in the folder of the running state.
    pub listener: UnixListener,
    /// Where the medium is mounted, for this process alone.
    pub place: PathBuf,
    /// `host:port` of the gate.
    pub address: String,
    /// TLS with the protocol of copies.
    pub config: Arc<ClientConfig>,
    /// Asks the agent's thread.
    pub ask: Box<dyn Fn(Asked) + Send>,
}

/// Binds the socket that everybody on this terminal may use: a code that is said in a session decides.
///
/// # Errors
/// What the system says.
pub fn listen(run: &Path) -> io::Result<UnixListener> {
    let path = run.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

impl Broker {
    /// Serves one copy after the other, for as long as the process lives.
    pub fn run(self) {
        // What is mounted here is seen by this thread alone; what is unmounted elsewhere leaves here too.
        let apart = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| {
            let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
            mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        });
        let mut refusals = Refusals::default();
        for person in self.listener.incoming() {
            let Ok(person) = person else {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            let copied = match apart {
                Ok(()) => self.copy(&person),
                Err(error) => Err(Failure::Before(format!(
                    "the broker cannot mount apart: {error}"
                ))),
            };
            let told = match copied {
                Ok(told) => told,
                Err(Failure::Refused(why)) => {
                    if let Some(count) = refusals.one_more(uptime_ms()) {
                        say("copy", &[("refused", why.as_str().into())]);
                        (self.ask)(Asked::Refused(count));
                    }
                    Told::Refused { why }
                }
                Err(Failure::Before(why)) => Told::Refused { why },
                Err(Failure::After(why)) => Told::Uncertain { why },
            };
            // Whoever asked may have gone.
            let _ = tell(&person, &told);
        }
    }

    fn copy(&self, person: &UnixStream) -> Result<Told, Failure> {
        person
            .set_write_timeout(Some(FILE_WAIT))
            .map_err(words("nobody waits for it"))?;
        let (request, mut file) = self.take(person).map_err(words("the file did not come"))?;
        let medium = self.answer(Asked::Medium)?;
        let code = code().map_err(words("no code"))?;
        let offer = Offer {
            code: code.clone(),
            grant: request.grant,
            client: medium.client.clone(),
            medium: medium.id,
            bytes: request.bytes,
            name: request.name.clone(),
        };
        let mut gate = Talk::open(&self.address, self.config.clone())
            .map_err(words("the gate is not reached"))?;
        let lost = words("the gate was lost");
        gate.send(&FromBroker::Offer(offer)).map_err(lost)?;
        tell(person, &Told::Confirm { code }).map_err(words("nobody waits for it"))?;
        let limit = CONFIRM_MS_MAX + JUDGE_MS_MAX;
        match gate.hear(limit, Some(person)).map_err(lost)? {
            ToBroker::Confirmed => {}
            ToBroker::Judged { why, .. } => return Err(why.into()),
        }
        tell(person, &Told::Confirmed).map_err(words("nobody waits for it"))?;
        gate.send_file(&mut file).map_err(lost)?;
        let (subjects, findings) = match gate.hear(JUDGE_MS_MAX, None).map_err(lost)? {
            ToBroker::Judged {
                may: true,
                subjects,
                findings,
                ..
            } => (subjects, findings),
            ToBroker::Judged { why, .. } => return Err(why.into()),
            ToBroker::Confirmed => return Err("the gate did not judge it".to_owned().into()),
        };
        let written = self.write(&medium, &request, &mut file);
        if !matches!(written, Err(Failure::Before(_))) {
            // Also what may be there in part.
            (self.ask)(Asked::Written(Written {
                grant: request.grant,
                medium: medium.id,
                bytes: request.bytes,
                findings,
            }));
        }
        written.map(|()| Told::Written {
            bytes: request.bytes,
            subjects,
        })
    }

    /// Takes the request, and the bytes into a file without a name: what is judged and what is written
    /// are the same ones, whoever changes the person's file meanwhile.
    fn take(&self, person: &UnixStream) -> io::Result<(Request, File)> {
        let until_ms = uptime_ms() + TAKE_MS_MAX;
        let mut from = BufReader::new(Until { person, until_ms });
        let mut line = Vec::new();
        from.by_ref()
            .take(REQUEST_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        // What serde says would repeat it.
        let request: Request = serde_json::from_slice(&line)
            .map_err(|_| io::Error::other("this is no request of this version"))?;
        if !is_name(&request.name) {
            return Err(io::Error::other("the name is none for a file"));
        }
        if request.bytes > FILE_BYTES_MAX {
            return Err(io::Error::other("it is larger than 64 MiB"));
        }
        let path = self.place.join(format!(".{}", code()?));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        let taken = io::copy(&mut from.take(request.bytes), &mut file)?;
        if taken != request.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.rewind()?;
        Ok((request, file))
    }

    fn answer<T>(
        &self,
        asked: impl FnOnce(Sender<Result<T, String>>) -> Asked,
    ) -> Result<T, String> {
        let (sender, answer) = channel();
        (self.ask)(asked(sender));
        let answer = answer.recv_timeout(AGENT_WAIT);
        answer.map_err(|_| "the agent does not answer".to_owned())?
    }

    /// Writes the file; the medium is closed again whatever happens.
    fn write(&self, medium: &Medium, request: &Request, file: &mut File) -> Result<(), Failure> {
        let open = self.answer(|to| Asked::Open(medium.clone(), to));
        let written = match &open {
            Ok(open) => is_still(medium, open)
                .and_then(|()| self.mount(&open.node))
                .map_err(Failure::Before)
                .and_then(|()| self.mounted(&request.name, file)),
            Err(why) => Err(Failure::Before(why.clone())),
        };
        let closed = self.answer(|to| Asked::Close(medium.disk.clone(), to));
        written.and(closed.map_err(Failure::After))
    }

    fn mount(&self, node: &File) -> Result<(), String> {
        let source = format!("/proc/self/fd/{}", node.as_fd().as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let mut failed = None;
        for kind in FILESYSTEMS {
            let mounted = mount(
                Some(source.as_str()),
                &self.place,
                Some(kind),
                flags,
                None::<&str>,
            );
            // The first reason that is more than "another filesystem" tells most.
            match mounted {
                Ok(()) => return Ok(()),
                Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENODEV) => {}
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        Err(match failed {
            Some(nix::errno::Errno::EBUSY) => {
                "the medium is mounted; unmount it and try again".to_owned()
            }
            Some(error) => format!("the medium cannot be mounted: {error}"),
            None => "the medium has no filesystem that is known: vfat, exfat, ext4".to_owned(),
        })
    }

    fn mounted(&self, name: &str, file: &mut File) -> Result<(), Failure> {
        let path = self.place.join(name);
        // Nothing that is there is written over.
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let written = match made {
            Ok(mut to) => {
                let written = io::copy(file, &mut to).and_then(|_| to.sync_all());
                if written.is_err() {
                    drop(to);
                    let _ = std::fs::remove_file(&path);
                }
                let words = words("the medium cannot be written");
                written.map_err(|error| Failure::After(words(error)))
            }
            Err(error) => {
                let words = words("the file cannot be made on the medium");
                Err(Failure::Before(words(error)))
            }
        };
        let unmounted = umount2(&self.place, MntFlags::empty())
            .map_err(|error| Failure::After(format!("the medium cannot be unmounted: {error}")));
        written.and(unmounted)
    }
}

/// Whether this is the medium that was judged: its token stands on it now, and counts.
fn is_still(medium: &Medium, open: &Opened) -> Result<(), String> {
    let mut block = [0; TOKEN_BYTES];
    open.disk
        .read_exact_at(&mut block, TOKEN_OFFSET)
        .map_err(words("the medium cannot be read"))?;
    let here = token::Medium {
        serial: &open.serial,
        size: open.size,
    };
    let token = token::verify(&block, &open.keys, here, now_ms());
    let token = token.map_err(|error| error.to_string())?;
    match token.id == medium.id && token.client == medium.client {
        true => Ok(()),
        false => Err("the medium was changed".to_owned()),
    }
}

/// Refusals that are reported at most once a second.
#[derive(Default)]
struct Refusals {
    waiting: u64,
    told_ms: Option<u64>,
}

impl Refusals {
    /// One more; how many are to be reported now, if any.
    fn one_more(&mut self, now_ms: u64) -> Option<u64> {
        self.waiting += 1;
        let now = self.told_ms.is_none_or(|at| now_ms >= at + 1000);
        now.then(|| {
            self.told_ms = Some(now_ms);
            std::mem::take(&mut self.waiting)
        })
    }
}

/// A person's bytes, up to a time.
struct Until<'a> {
    person: &'a UnixStream,
    until_ms: u64,
}

impl Read for Until<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.until_ms.saturating_sub(uptime_ms());
        if left == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let wait = FILE_WAIT.min(Duration::from_millis(left));
        self.person.set_read_timeout(Some(wait))?;
        let mut person = self.person;
        person.read(into)
    }
}

fn tell(mut person: &UnixStream, told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told).map_err(io::Error::other)?;
    line.push(b'\n');
    person.write_all(&line)
}

/// An error with what it means.
fn words(what: &'static str) -> impl Fn(io::Error) -> String + Copy {
    move |error| format!("{what}: {error}")
}

fn code() -> io::Result<String> {
    let mut bytes = [0; CODE_LETTERS];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the kernel has no randomness"))?;
    let letter = |byte: &u8| char::from(CODE_ALPHABET[usize::from(byte % 32)]);
    Ok(bytes.iter().map(letter).collect())
}

/// Whether a name is one file's, in this folder and no other.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name != "."
        && name != ".."
        && !name
            .chars()
            .any(|it| it == '/' || it == '\\' || it.is_control())
}

/// Hands a file to the broker; `hear` is told how it goes on. The last thing told is
/// [`Told::Written`], [`Told::Uncertain`] or [`Told::Refused`].
///
/// # Errors
/// The file cannot be read, or there is no agent.
pub fn hand_over(
    run: &Path,
    grant: u32,
    path: &Path,
    mut hear: impl FnMut(&Told),
) -> io::Result<Told> {
    let name = path.file_name().and_then(|it| it.to_str());
    let name = name.ok_or_else(|| io::Error::other("the file's name is no text"))?;
    let mut file = File::open(path)?;
    let request = Request {
        grant,
        name: name.to_owned(),
        bytes: file.metadata()?.len(),
    };
    let mut agent = UnixStream::connect(run.join(SOCKET))?;
    let mut line = serde_json::to_vec(&request).map_err(io::Error::other)?;
    line.push(b'\n');
    agent.write_all(&line)?;
    // An answer may come before all of it was taken.
    let sent = io::copy(&mut (&mut file).take(request.bytes), &mut agent);
    for line in BufReader::new(&agent).lines() {
        let told: Told = serde_json::from_str(&line?).map_err(io::Error::other)?;
        hear(&told);
        if !matches!(told, Told::Confirm { .. } | Told::Confirmed) {
            return Ok(told);
        }
    }
    sent?;
    Err(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for name in ["list.csv", "名簿 2026.xlsx", ".hidden"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a\nb"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(!is_name(&"x".repeat(256)));
    }

    #[test]
    fn refusals_are_counted_and_told_once_a_second() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.one_more(5), Some(1));
        assert_eq!(refusals.one_more(6), None);
        assert_eq!(refusals.one_more(900), None);
        assert_eq!(refusals.one_more(1005), Some(3));
    }

    #[test]
    fn codes_are_what_the_gate_takes() {
        let code = code().unwrap();
        assert_eq!(code.len(), CODE_LETTERS);
        assert!(code.bytes().all(|it| CODE_ALPHABET.contains(&it)));
        assert_ne!(code, self::code().unwrap());
    }

    /// What the broker takes is what was handed over, and its answer arrives.
    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker {
            listener: listen(folder.path()).unwrap(),
            place: folder.path().to_owned(),
            address: String::new(),
            config: crate::tls::Identity::open(folder.path())
                .and_then(|it| it.client([0; 32], terminal::copy::ALPN_COPY))
                .unwrap(),
            ask: Box::new(|_| {}),
        };
        let path = folder.path().join("list.csv");
        std::fs::write(&path, "made up\n".repeat(10_000)).unwrap();
        let run = folder.path().to_owned();
        let person = std::thread::spawn(move || hand_over(&run, 3, &path, |_| {}));
        let (stream, _) = broker.listener.accept().unwrap();
        let (request, mut file) = broker.take(&stream).unwrap();
        assert_eq!((request.grant, request.bytes), (3, 80_000));
        let mut bytes = String::new();
        file.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 80_000);
        let why = "made up".to_owned();
        tell(&stream, &Told::Refused { why: why.clone() }).unwrap();
        assert_eq!(person.join().unwrap().unwrap(), Told::Refused { why });

        // Less than was said is no file.
        let mut short = UnixStream::connect(folder.path().join(SOCKET)).unwrap();
        short
            .write_all(b"{\"grant\":1,\"name\":\"a\",\"bytes\":9}\nonly")
            .unwrap();
        drop(short);
        let (stream, _) = broker.listener.accept().unwrap();
        assert!(broker.take(&stream).is_err());
    }
}
