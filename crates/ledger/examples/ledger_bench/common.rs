//! A ledger to measure on, and what its sessions ask for.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event::record::{Change, Who};
use event::{
    ActorId, Class, ClientId, Digest, Fingerprint, Outcome as Seen, Plain, Role, SessionId,
};
use fingerprint::{ListKey, open_list, seal_list};
use ledger::io::{DiskIo, Io, IoFile};
use ledger::{Answer, Batch, Charge, Folders, Handle, ListClosed, ListSealer, Row, StatementScope};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Clients of the measured ledger.
pub(crate) const CLIENTS: u32 = 20;
/// Its operators.
pub(crate) const OPERATORS: u32 = 40;
/// A segment's size, in bytes; the raw writes go round a file as long.
const RAW_BYTES: u64 = 16 << 20;

/// Encrypts as the gate does, under a key of client and month.
pub(crate) struct Sealer;

impl Sealer {
    fn key(client: ClientId, month: u32) -> ListKey {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&client.get().to_be_bytes());
        key[4..8].copy_from_slice(&month.to_be_bytes());
        ListKey::new(&key)
    }
}

impl ListSealer for Sealer {
    fn seal_list(
        &self,
        client: ClientId,
        month: u32,
        commitment: &Digest,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, ListClosed> {
        seal_list(&Self::key(client, month), &commitment.0, plaintext)
            .map_err(|error| ListClosed::Failed(error.to_string()))
    }

    fn open_list(
        &self,
        client: ClientId,
        month: u32,
        commitment: &Digest,
        sealed: &[u8],
    ) -> Result<Plain<Vec<u8>>, ListClosed> {
        open_list(&Self::key(client, month), &commitment.0, sealed)
            .map_err(|error| ListClosed::Failed(error.to_string()))
    }
}

/// Commits so far, and their bytes.
#[derive(Default)]
pub(crate) struct Commits {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Commits {
    pub(crate) fn so_far(&self) -> (u64, u64) {
        let count = self.count.load(Ordering::Relaxed);
        (count, self.bytes.load(Ordering::Relaxed))
    }

    /// Bytes of a commit since `before`, on average.
    pub(crate) fn bytes_since(&self, before: (u64, u64)) -> usize {
        let (count, bytes) = self.so_far();
        ((bytes - before.1) / (count - before.0).max(1)) as usize
    }
}

/// The disk, with the commits counted: a write and its fdatasync.
struct Counted {
    disk: DiskIo,
    commits: Arc<Commits>,
}

struct CountedFile {
    file: Box<dyn IoFile>,
    bytes: u64,
    commits: Arc<Commits>,
}

impl IoFile for CountedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_at(offset, bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.commits.count.fetch_add(1, Ordering::Relaxed);
        self.commits.bytes.fetch_add(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
        self.file.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        // The preparation of a segment.
        self.bytes = 0;
        self.file.sync_all()
    }
}

impl Io for Counted {
    fn create(&self, name: &str) -> io::Result<Box<dyn IoFile>> {
        Ok(Box::new(CountedFile {
            file: self.disk.create(name)?,
            bytes: 0,
            commits: Arc::clone(&self.commits),
        }))
    }

    fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.disk.read(name, bytes_max)
    }

    fn read_at(&self, name: &str, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        self.disk.read_at(name, offset, bytes)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

/// The folders of a ledger, its commits counted.
pub(crate) fn folders(folder: &Path, snapshots: bool) -> Outcome<(Folders, Arc<Commits>)> {
    let commits = Arc::new(Commits::default());
    let wal = Counted {
        disk: DiskIo::new(&folder.join("wal"))?,
        commits: Arc::clone(&commits),
    };
    let kept: Option<Arc<dyn Io>> = match snapshots {
        true => Some(Arc::new(DiskIo::new(&folder.join("snapshots"))?)),
        false => None,
    };
    let folders = Folders {
        wal: Arc::new(wal),
        snapshots: kept,
        archive: None,
    };
    Ok((folders, commits))
}

fn client(subject: u64) -> ClientId {
    ClientId::new(1 + (subject % u64::from(CLIENTS)) as u32).expect("from 1 to the last client")
}

/// Clients, operators, and budgets that never end; they are charged all the same.
pub(crate) async fn set_up(handle: &Handle) -> Outcome<()> {
    let free = budget::Limits {
        hour: None,
        day: None,
        month: None,
        all: None,
    };
    let mut numbers = budget::Numbers::default();
    numbers.client.subjects = free;
    if let Some(operator) = numbers.roles.get_mut(&Role::Operator) {
        operator.subjects = free;
        operator.subjects_per_client = free;
    }
    let mut changes = vec![Change::Numbers {
        toml: numbers.to_toml(),
    }];
    for number in 1..=CLIENTS {
        changes.push(Change::ClientAdded {
            client: client(u64::from(number - 1)),
            code: format!("c{number}"),
            name: format!("Client {number}"),
        });
    }
    for number in 1..=OPERATORS {
        changes.push(Change::ActorSet {
            actor: ActorId(number),
            login: format!("operator-{number}"),
            role: Role::Operator,
            clients: Vec::new(),
            active: true,
        });
    }
    for change in changes {
        handle.propose(ActorId(1), change).await?;
    }
    Ok(())
}

/// One session's work: batches of new subjects, three cells each.
#[derive(Clone)]
pub(crate) struct Work {
    handle: Handle,
    who: Who,
    scope: StatementScope,
    /// The next subject, of all sessions.
    subjects: Arc<AtomicU64>,
}

impl Work {
    pub(crate) fn new(handle: &Handle, subjects: &Arc<AtomicU64>) -> Self {
        let session = handle.new_session();
        Self {
            who: Who {
                actor: ActorId(1 + (session.0 % u64::from(OPERATORS)) as u32),
                role: Role::Operator,
                session,
                grant: None,
            },
            scope: StatementScope {
                shape: Arc::new((Digest([1; 32]), "select".into())),
                purpose: None,
                policy: Digest([2; 32]),
                generation: handle.generation(),
                order: event::record::Order::default(),
                terminal: None,
                purpose_ms: 0,
                found: None,
            },
            handle: handle.clone(),
            subjects: Arc::clone(subjects),
        }
    }

    pub(crate) fn session(&self) -> SessionId {
        self.who.session
    }

    fn batch(&self, rows: u64, client: ClientId) -> Batch<()> {
        let first = self.subjects.fetch_add(rows, Ordering::Relaxed);
        let rows = (first..first + rows).map(|subject| Row {
            charges: [Class::Name, Class::Phone, Class::Address]
                .map(|class| Charge {
                    client,
                    class,
                    outcome: Seen::Clear,
                    fingerprint: Fingerprint(subject),
                    weight: 1,
                    tag: subject,
                })
                .to_vec(),
            payload: (),
        });
        Batch {
            who: self.who.clone(),
            scope: self.scope.clone(),
            probes: Vec::new(),
            rows: rows.collect(),
        }
    }

    /// Appends a batch of so many new subjects of one client; gives how long the answer took.
    pub(crate) async fn append(&self, rows: u64) -> Duration {
        self.append_of(rows, client(self.subjects.load(Ordering::Relaxed)))
            .await
    }

    /// The same, of the first client.
    pub(crate) async fn append_first(&self, rows: u64) -> Duration {
        self.append_of(rows, client(0)).await
    }

    async fn append_of(&self, rows: u64, client: ClientId) -> Duration {
        let batch = self.batch(rows, client);
        let begun = Instant::now();
        let answer = self.handle.append(batch).await;
        let took = begun.elapsed();
        assert!(matches!(answer, Answer::Released(_)), "{answer:?}");
        took
    }
}

/// Writes as the ledger makes them and nothing else: into written zeros, one after the other.
pub(crate) struct Raw {
    file: File,
    offset: u64,
}

impl Raw {
    pub(crate) fn new(folder: &Path) -> Outcome<Self> {
        let file = File::create(folder.join("raw"))?;
        file.write_all_at(&vec![0; RAW_BYTES as usize], 0)?;
        file.sync_all()?;
        Ok(Self { file, offset: 0 })
    }

    pub(crate) fn syncs(&mut self, bytes: usize, count: u64) -> Outcome<Vec<Duration>> {
        let content = vec![1; bytes];
        let mut times = Vec::new();
        for _ in 0..count {
            if self.offset + bytes as u64 > RAW_BYTES {
                self.offset = 0;
            }
            let begun = Instant::now();
            self.file.write_all_at(&content, self.offset)?;
            self.file.sync_data()?;
            times.push(begun.elapsed());
            self.offset += bytes as u64;
        }
        Ok(times)
    }
}

/// The time that a share of all stayed below, in ms.
pub(crate) fn quantile_ms(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times
        .get(place)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// Prints a line of `name=value`.
pub(crate) fn say(values: &[(&str, f64)]) {
    let words: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    println!("{}", words.join(" "));
}
