//! The logs while the ledger runs: each new leaf of the root log is derived, published, and shown to
//! the witnesses. Two tasks: one derives and publishes, one asks for cosignatures and writes the root
//! log's checkpoint; so a slow witness holds up nothing but that checkpoint.
//!
//! Invariant: at start nothing is published, and the gate does not open, before what we and the
//! witnesses published is found to be a prefix of what is derived.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tlog::{Algorithm, Note, VerifierKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::keys::LogKeys;
use super::places::{Generation, Tree};
use super::publish::{Published, Publisher, Tail, Tiles};
use super::stamping::{Authority, Ready, Stamper};
use super::store::{DiskStore, Store, Vital};
use super::witness::{Cosigned, Witnesses};
use crate::LedgerError;
use crate::archive::Segments;
use crate::io::Io;
use crate::recorder::{Durable, Handle};

/// After a failure it is tried again so much later, in ms.
const RETRY_MS: u64 = 1_000;

/// The seeds that go with the public keys in force, oldest first.
pub type KeySource = dyn Fn(&[[u8; 32]]) -> Result<LogKeys, LedgerError> + Send + Sync;

/// How a ledger's logs are published.
#[derive(Clone)]
pub struct Setup {
    /// The salt secret.
    pub salt: zeroize::Zeroizing<[u8; 32]>,
    /// Where the seeds of log keys come from.
    pub keys: Arc<KeySource>,
    /// The witnesses, if there are any.
    pub witnesses: Option<Arc<Witnesses>>,
    /// The time stamp authority, if there is one.
    pub authority: Option<Arc<Authority>>,
    /// Hears what a person should know: a witness is gone or back, publishing failed.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Setup(..)")
    }
}

/// How far the logs are.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Leaves of the root log that are published.
    pub published: u64,
    /// Leaves that a quorum of witnesses has cosigned.
    pub covered: u64,
    /// Witnesses that did not cosign the newest leaf, and why.
    pub missing: Vec<(String, String)>,
    /// What failed last, until it works again.
    pub failed: Option<String>,
}

/// The logs of a running ledger.
pub struct Logs {
    office: Arc<Office>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logs(..)")
    }
}

struct Office {
    handle: Handle,
    setup: Setup,
    io: Arc<dyn Io>,
    store: Arc<dyn Store>,
    ledger: [u8; 16],
    /// Held while deriving.
    publisher: Mutex<Publisher>,
    newest: watch::Sender<Option<Published>>,
    /// The newest root checkpoint to be stamped: by a quorum cosigned, if there are witnesses.
    ready: watch::Sender<Option<Ready>>,
    /// Up to where what is derived is published; `None`: nothing was since the start.
    tail: watch::Sender<Option<Tail>>,
    /// The minute of the checkpoint that was kept last.
    kept_minute: AtomicU64,
    /// So many kept ones of the day are damaged.
    kept_damaged: AtomicU64,
    progress: watch::Sender<Progress>,
}

impl Logs {
    /// Derives what is missing, checks it against every checkpoint that we signed and can find, and
    /// goes on publishing. `progress` hears how many leaves are derived, of how many.
    ///
    /// # Errors
    /// [`LedgerError::Rollback`] and [`LedgerError::Fork`]; if files cannot be read or written.
    pub async fn start(
        folder: &Path,
        handle: Handle,
        setup: Setup,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, LedgerError> {
        let open = |error| LedgerError::io("open the folder of the logs", error);
        let io: Arc<dyn Io> = Arc::new(Segments::without_lists(folder));
        let store = Arc::new(DiskStore::new(&folder.join("logs")).map_err(open)?);
        let fatal = handle.clone();
        let store: Arc<dyn Store> = Arc::new(Vital::new(store, move |error| fatal.fatal(error)));
        let ledger = handle.state().ledger;
        let durable = *handle.durable().borrow();
        let mut publisher =
            Publisher::open(Arc::clone(&io), Arc::clone(&store), ledger, &setup.salt)
                .leaving_root();
        publisher.derive(durable, &mut |leaves| progress(leaves, durable.roots))?;
        // Partial tiles may be gone; the check needs them.
        publisher.write_root()?;
        let office = Arc::new(Office {
            handle,
            setup,
            io,
            store,
            ledger,
            publisher: Mutex::new(publisher),
            newest: watch::channel(None).0,
            ready: watch::channel(None).0,
            tail: watch::channel(None).0,
            kept_minute: AtomicU64::new(0),
            kept_damaged: AtomicU64::new(0),
            progress: watch::channel(Progress::default()).0,
        });
        let checked = Arc::clone(&office);
        blocking(move || checked.check()).await?;
        let stop = watch::channel(false).0;
        let mut tasks = vec![
            tokio::spawn(Arc::clone(&office).publish_each(stop.subscribe())),
            tokio::spawn(Arc::clone(&office).cosign_each(stop.subscribe())),
        ];
        if let Some(authority) = &office.setup.authority {
            let stamper = Stamper::new(
                Arc::clone(authority),
                office.handle.clone(),
                Arc::clone(&office.store),
                Arc::clone(&office.setup.say),
                office.ready.subscribe(),
            );
            tasks.push(tokio::spawn(stamper.run(stop.subscribe())));
        }
        Ok(Self {
            office,
            stop,
            tasks,
        })
    }

    /// How far the logs are; wakes when that changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.office.progress.subscribe()
    }

    /// The newest that was published.
    pub fn newest(&self) -> watch::Receiver<Option<Published>> {
        self.office.newest.subscribe()
    }

    /// Up to where what is derived is published; `None`: nothing was since the start.
    pub(crate) fn tail(&self) -> watch::Receiver<Option<Tail>> {
        self.office.tail.subscribe()
    }

    /// Up to where the logs are derived.
    pub(crate) fn derived(&self) -> Tail {
        self.office.lock().tail()
    }

    /// Publishes what is durable by now, asks the witnesses once more, and ends. To be called after
    /// the recorder was closed.
    ///
    /// # Errors
    /// If it cannot be written: the next start derives it again.
    pub async fn finish(self) -> Result<(), LedgerError> {
        // The tasks hold receivers while they live.
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
        let office = self.office;
        blocking(move || {
            office.advance()?;
            office.cosign_newest();
            office.lock().save()
        })
        .await
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| LedgerError::Setting(format!("a task ended: {error}")))?
}

impl Office {
    fn lock(&self) -> std::sync::MutexGuard<'_, Publisher> {
        self.publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn generation(&self) -> Generation {
        Generation {
            ledger: self.ledger,
            number: self.handle.state().log_generation,
        }
    }

    /// The public keys of the root log, as witnesses' checkpoints may be signed.
    fn root_keys(&self) -> Vec<VerifierKey> {
        let origin = self.generation().origin(Tree::Root);
        let state = self.handle.state();
        let keys = state.log_keys.iter();
        keys.filter_map(|key| VerifierKey::new(&origin, Algorithm::Ed25519, *key).ok())
            .collect()
    }

    /// What was published is a prefix of what is derived.
    fn check(&self) -> Result<(), LedgerError> {
        let origin = self.generation().origin(Tree::Root);
        let publisher = self.lock();
        if let Some(ours) = publisher.published()?
            && ours.origin() == origin
        {
            publisher.check_prefix(&ours)?;
        }
        let Some(witnesses) = &self.setup.witnesses else {
            return Ok(());
        };
        match witnesses.newest(&origin, &self.root_keys()) {
            Some((name, checkpoint, _)) => publisher.check_prefix(&checkpoint).inspect_err(|_| {
                (self.setup.say)(format!(
                    "witness {name} holds a checkpoint of ours with {} leaves",
                    checkpoint.size()
                ));
            }),
            None => Ok(()),
        }
    }

    async fn publish_each(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut durable = self.handle.durable();
        let mut retry = false;
        loop {
            let again = tokio::time::sleep(std::time::Duration::from_millis(RETRY_MS));
            tokio::select! {
                changed = durable.changed() => if changed.is_err() { return },
                _ = stop.changed() => return,
                () = again, if retry => {}
            }
            let office = Arc::clone(&self);
            retry = blocking(move || office.advance()).await.is_err();
        }
    }

    /// Publishes the newest durable leaf.
    fn advance(&self) -> Result<(), LedgerError> {
        let done = self.try_advance();
        self.progress.send_if_modified(|progress| {
            let failed = done.as_ref().err().map(ToString::to_string);
            let news = progress.failed != failed;
            if news {
                (self.setup.say)(match &failed {
                    Some(error) => format!("the logs cannot be published: {error}"),
                    None => "the logs are published again".to_owned(),
                });
            }
            progress.failed = failed;
            if let Ok(Some(published)) = &done {
                progress.published = published.leaf.index + 1;
            }
            news || matches!(done, Ok(Some(_)))
        });
        if let Some(published) = done? {
            self.newest.send_replace(Some(published));
        }
        Ok(())
    }

    fn try_advance(&self) -> Result<Option<Published>, LedgerError> {
        let durable: Durable = *self.handle.durable().borrow();
        let mut publisher = self.lock();
        if publisher.is_broken() {
            let (io, store) = (Arc::clone(&self.io), Arc::clone(&self.store));
            *publisher = Publisher::open(io, store, self.ledger, &self.setup.salt).leaving_root();
        }
        let keys = (self.setup.keys)(&self.handle.state().log_keys)?;
        let published = publisher.advance(durable, &self.generation(), &keys)?;
        self.handle.set_derived(publisher.derived());
        if published.is_some() {
            self.tail.send_replace(Some(publisher.tail()));
        }
        Ok(published)
    }

    async fn cosign_each(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut newest = self.newest.subscribe();
        loop {
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                _ = stop.changed() => return,
            }
            newest.borrow_and_update();
            let office = Arc::clone(&self);
            let done = tokio::task::spawn_blocking(move || office.cosign_newest()).await;
            if done.is_err() {
                return;
            }
        }
    }

    /// Asks the witnesses for the newest leaf, writes the root log's checkpoint.
    fn cosign_newest(&self) {
        let Some(newest) = self.newest.borrow().clone() else {
            return;
        };
        let size = newest.leaf.index + 1;
        let (note, cosigned) = match &self.setup.witnesses {
            None => (newest.root, None),
            Some(witnesses) => {
                let cosigned = self.ask(witnesses, &newest.root, size);
                (cosigned.note.clone(), Some(cosigned))
            }
        };
        let written = self.write_root(&note, cosigned.as_ref());
        if written.is_ok() && cosigned.as_ref().is_none_or(|it| it.quorum) {
            let (wall_ms, note) = (newest.leaf.wall_ms, note.to_string());
            self.ready
                .send_replace(Some(Ready::new(size, wall_ms, note)));
        }
        if let Some(cosigned) = cosigned {
            if cosigned.quorum && written.is_ok() {
                self.handle.set_covered(size);
            }
            self.tell(size, &cosigned);
        }
        if let Err(error) = written {
            (self.setup.say)(error.to_string());
        }
    }

    fn ask(&self, witnesses: &Witnesses, note: &Note, size: u64) -> Cosigned {
        let prover = |old: u64, new: u64| {
            let tiles = Tiles::new(&*self.store, Tree::Root, size);
            tlog::consistency_proof(tiles, old, new).map_err(|error| error.to_string())
        };
        witnesses.cosign(note, size, &prover)
    }

    /// The checkpoint with its cosignatures; kept for the minute if a quorum has cosigned it.
    fn write_root(&self, note: &Note, cosigned: Option<&Cosigned>) -> Result<(), LedgerError> {
        let bytes = note.to_string();
        super::cosigned::write_root(&*self.store, &bytes)?;
        let first_s = cosigned.filter(|it| it.quorum).and_then(|it| it.first_s);
        let Some(first_s) = first_s else {
            return Ok(());
        };
        if self.kept_minute.swap(first_s / 60, Ordering::Relaxed) == first_s / 60 {
            return Ok(());
        }
        let damaged = super::cosigned::keep(&*self.store, first_s, &bytes)?;
        if self.kept_damaged.swap(damaged, Ordering::Relaxed) < damaged {
            (self.setup.say)(format!(
                "{damaged} of the day's cosigned checkpoints (ledger/logs/root/cosigned) are damaged; they stay as they are: put the file back from a copy of it"
            ));
        }
        Ok(())
    }

    fn tell(&self, size: u64, cosigned: &Cosigned) {
        let missing: Vec<(String, String)> = cosigned
            .missing
            .iter()
            .map(|(name, error)| (name.clone(), error.to_string()))
            .collect();
        self.progress.send_modify(|progress| {
            let names = |list: &[(String, String)]| -> Vec<String> {
                list.iter().map(|(name, _)| name.clone()).collect()
            };
            if names(&progress.missing) != names(&missing) {
                (self.setup.say)(match missing.is_empty() {
                    true => "all witnesses cosign".to_owned(),
                    false => format!("witnesses that do not cosign: {}", listed(&missing)),
                });
            }
            progress.missing = missing;
            if cosigned.quorum {
                progress.covered = size;
            }
        });
    }
}

fn listed(missing: &[(String, String)]) -> String {
    let each: Vec<String> = missing
        .iter()
        .map(|(name, why)| format!("{name} ({why})"))
        .collect();
    each.join(", ")
}
