//! Copies of the logs: a folder for a client, or any S3-compatible store. Incremental and
//! repeatable: what is there is not written again; checkpoints come last, the client's before the
//! root log's, so that a reader always finds what a checkpoint promises.
//!
//! A mirror that prunes follows the declared minimums; one that does not (an export) keeps what it
//! has. Neither asks for bundles that are published no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use stamp::{INDEX, Line, Over};
use tlog::{Bundle, Checkpoint, Note, Tile};

use super::places::{Tree, number_path};
use super::publish::checkpoint_path;
use super::sequence::{minimum_path, pruned_bundles};
use super::slots::{LEAVES_PER_BUNDLE, SaltKey, SlotProver};
use super::store::Store;
use crate::LedgerError;
use crate::list::sha256;
use event::{ClientId, Digest, LogId};

/// Longest derived file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 32;

/// What is copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// Clients whose logs are copied, with their lists and slot proofs.
    pub clients: Vec<ClientId>,
    /// The centre's log too.
    pub centre: bool,
}

/// Files written, and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Copies from a ledger's derived logs.
pub struct Mirror {
    store: Arc<dyn Store>,
    to: Arc<dyn ObjectStore>,
    /// Folders before every path.
    prefix: Path,
    salt: SaltKey,
    copied: Copied,
    /// The first month whose list key stays at the other end, by client; looked at once.
    months: BTreeMap<ClientId, u32>,
    /// Whether bundles below a declared minimum go there, too.
    prunes: bool,
    /// The minimum up to which they went, by client.
    pruned: BTreeMap<ClientId, u64>,
    /// What stands there, of files that are looked at again and again: their digests.
    there: BTreeMap<String, Digest>,
    /// So many of the oldest days of cosigned checkpoints stand there as they will stay.
    days: usize,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mirror({:?})", self.copied)
    }
}

impl Mirror {
    /// From the derived logs of a ledger to a store.
    pub fn new(
        store: Arc<dyn Store>,
        salt: &[u8; 32],
        to: Arc<dyn ObjectStore>,
        prefix: Path,
    ) -> Self {
        Self {
            store,
            to,
            prefix,
            salt: SaltKey::new(salt),
            copied: Copied::default(),
            months: BTreeMap::new(),
            prunes: false,
            pruned: BTreeMap::new(),
            there: BTreeMap::new(),
            days: 0,
        }
    }

    /// Removes there what is published no more.
    #[must_use]
    pub fn pruning(self) -> Self {
        Self {
            prunes: true,
            ..self
        }
    }

    /// What was written since the last copy began.
    pub fn copied(&self) -> Copied {
        self.copied
    }

    /// Copies what is new of a selection.
    ///
    /// # Errors
    /// If nothing is published yet, or a file cannot be read or written. What was written stays,
    /// and no checkpoint promises what was not.
    pub async fn copy(&mut self, selection: &Selection) -> Result<Copied, LedgerError> {
        self.copied = Copied::default();
        // The root log's first: the clients' logs are then at least as far.
        let (root, root_note) = self.checkpoint(Tree::Root)?.ok_or_else(|| {
            LedgerError::Setting("nothing is published yet; run `sekisho serve`".into())
        })?;
        let had = self.tree(Tree::Root, &root).await?;
        self.whole_changed("keys").await?;
        self.cosigned().await?;
        self.stamps(root.size()).await?;
        let clients = selection.clients.iter().copied().map(LogId::Client);
        let centre = selection.centre.then_some(LogId::Centre);
        for log in clients.chain(centre) {
            self.log(log, had, root.size()).await?;
        }
        self.put(&checkpoint_path(Tree::Root), root_note).await?;
        Ok(self.copied)
    }

    /// A log with the lists beside it and its slot proofs. `had`: leaves of the root log that were
    /// there before.
    async fn log(&mut self, log: LogId, had: u64, leaves: u64) -> Result<(), LedgerError> {
        let tree = Tree::Log(log);
        // Before the checkpoint: that one has the records of what is gone.
        let minimum = match log {
            LogId::Client(client) => Some(client).zip(self.minimum(client)?),
            LogId::Centre => None,
        };
        let Some((checkpoint, note)) = self.checkpoint(tree)? else {
            return Ok(());
        };
        let before = self.tree(tree, &checkpoint).await?;
        let first = before / LEAVES_PER_BUNDLE;
        for bundle in first..checkpoint.size().div_ceil(LEAVES_PER_BUNDLE) {
            self.if_there(&format!("{}lists/{}", tree.folder(), number_path(bundle)))
                .await?;
        }
        // A log whose copy was begun later than the root log's gets all its slot proofs.
        let had = if before > 0 { had } else { 0 };
        self.slots(log, had, leaves).await?;
        self.put(&checkpoint_path(tree), note).await?;
        match minimum {
            Some((client, minimum)) => self.prune(client, minimum).await,
            None => Ok(()),
        }
    }

    /// A client's declared minimum, if bundles are gone by it. The last of them goes when a checkpoint
    /// that has its record was published.
    fn minimum(&self, client: ClientId) -> Result<Option<u64>, LedgerError> {
        let Some(minimum) = self.declared(client)? else {
            return Ok(None);
        };
        let folder = Tree::client(client).folder();
        let last = pruned_bundles(0, minimum).next_back();
        let there = last.is_some_and(|it| self.store.length(&format!("{folder}{it}")).is_ok());
        Ok((!there).then_some(minimum))
    }

    fn declared(&self, client: ClientId) -> Result<Option<u64>, LedgerError> {
        let path = minimum_path(client);
        let Some(bytes) = self.read(&path)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let number = text.trim_end().parse().ok();
        number
            .map(Some)
            .ok_or_else(|| LedgerError::Setting(format!("{path} is no number")))
    }

    /// Tells the minimum there, and removes what is below it.
    async fn prune(&mut self, client: ClientId, minimum: u64) -> Result<(), LedgerError> {
        let text = format!("{minimum}\n").into_bytes();
        self.put_changed(&minimum_path(client), text).await?;
        let known = self.pruned.get(&client).copied();
        if !self.prunes || known == Some(minimum) {
            return Ok(());
        }
        let folder = Tree::client(client).folder();
        let mut gone = Vec::new();
        for bundle in pruned_bundles(known.unwrap_or(0), minimum).rev() {
            let path = format!("{folder}{bundle}");
            // They go in ascending order: below one that is gone all are, but where copies were
            // interrupted.
            if known.is_none() && bundle.index() > 1 && !self.is_there(&path).await? {
                break;
            }
            gone.push(path);
        }
        for path in gone.iter().rev() {
            match self.to.delete(&self.place(path)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed("remove", path, &error)),
            }
        }
        self.pruned.insert(client, minimum);
        Ok(())
    }

    async fn is_there(&self, path: &str) -> Result<bool, LedgerError> {
        match self.to.head(&self.place(path)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("look for", path, &error)),
        }
    }

    /// A log's slot proofs for leaves that are new there.
    async fn slots(&mut self, log: LogId, had: u64, leaves: u64) -> Result<(), LedgerError> {
        let folder = format!("{}slots/", Tree::Log(log).folder());
        for bundle in had / LEAVES_PER_BUNDLE..leaves.div_ceil(LEAVES_PER_BUNDLE) {
            let width = (leaves - bundle * LEAVES_PER_BUNDLE).min(LEAVES_PER_BUNDLE) as u16;
            let Some(named) = Bundle::new(bundle, width) else {
                continue;
            };
            let proofs =
                SlotProver::new(&*self.store, &self.salt).bundle(log.number(), bundle, width)?;
            let name = named.to_string();
            let name = name.trim_start_matches("tile/entries/");
            self.put(&format!("{folder}{name}"), proofs).await?;
        }
        Ok(())
    }

    /// The tiles and bundles of a log up to its size `now`; gives the size that the copy had before.
    async fn tree(&mut self, tree: Tree, now: &Checkpoint) -> Result<u64, LedgerError> {
        let (origin, size) = (now.origin(), now.size());
        let had = self.size_there(tree, origin).await?.min(size);
        let folder = tree.folder();
        for tile in Tile::grown(had, size) {
            let full = format!("{folder}{}", tile.full());
            let bytes = self.either(&format!("{folder}{tile}"), &full, |bytes| {
                bytes.truncate(tile.bytes());
            })?;
            let bytes = bytes.ok_or_else(|| missing(&full))?;
            self.put(&format!("{folder}{tile}"), bytes).await?;
        }
        for bundle in Bundle::grown(had, size) {
            let full = format!("{folder}{}", bundle.full());
            let bytes = self.either(&format!("{folder}{bundle}"), &full, |bytes| {
                first_entries(bytes, bundle.width());
            })?;
            let Some(bytes) = bytes else {
                if self.is_pruned(tree, bundle)? {
                    continue;
                }
                return Err(missing(&full));
            };
            self.put(&format!("{folder}{bundle}"), bytes).await?;
        }
        Ok(had)
    }

    /// Whether a bundle is published no more, by its client's declared minimum.
    fn is_pruned(&self, tree: Tree, bundle: Bundle) -> Result<bool, LedgerError> {
        let Tree::Log(LogId::Client(client)) = tree else {
            return Ok(false);
        };
        let minimum = self.declared(client)?.unwrap_or(0);
        let last = pruned_bundles(0, minimum).next_back();
        Ok(bundle.index() > 0 && last.is_some_and(|last| bundle.index() <= last.index()))
    }

    /// A partial file, or what it has become, cut; `None`: neither is there.
    fn either(
        &self,
        partial: &str,
        full: &str,
        cut: impl Fn(&mut Vec<u8>),
    ) -> Result<Option<Vec<u8>>, LedgerError> {
        if let Some(bytes) = self.read(partial)? {
            return Ok(Some(bytes));
        }
        let mut bytes = self.read(full)?;
        if let Some(bytes) = &mut bytes {
            cut(bytes);
        }
        Ok(bytes)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        match self.store.read(path, FILE_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LedgerError::io(format!("read {path}"), error)),
        }
    }

    fn checkpoint(&self, tree: Tree) -> Result<Option<(Checkpoint, Vec<u8>)>, LedgerError> {
        let path = checkpoint_path(tree);
        let Some(bytes) = self.read(&path)? else {
            return Ok(None);
        };
        parse(&bytes)
            .map(|checkpoint| Some((checkpoint, bytes)))
            .ok_or_else(|| LedgerError::Setting(format!("{path} is no checkpoint")))
    }

    /// A copy of another generation is written anew.
    async fn size_there(&self, tree: Tree, origin: &str) -> Result<u64, LedgerError> {
        let bytes = self.get(&checkpoint_path(tree)).await?;
        Ok(bytes
            .and_then(|bytes| parse(&bytes))
            .filter(|checkpoint| checkpoint.origin() == origin)
            .map_or(0, |checkpoint| checkpoint.size()))
    }

    async fn whole(&mut self, path: &str) -> Result<(), LedgerError> {
        let bytes = self.read(path)?.ok_or_else(|| missing(path))?;
        self.put(path, bytes).await
    }

    async fn whole_changed(&mut self, path: &str) -> Result<(), LedgerError> {
        let bytes = self.read(path)?.ok_or_else(|| missing(path))?;
        self.put_changed(path, bytes).await
    }

    async fn if_there(&mut self, path: &str) -> Result<(), LedgerError> {
        match self.read(path)? {
            Some(bytes) => self.put(path, bytes).await,
            None => Ok(()),
        }
    }

    /// The days of cosigned checkpoints. They only grow, and but for the last two not any more: of
    /// those before it is enough that they are as long there as here, which is asked once.
    async fn cosigned(&mut self) -> Result<(), LedgerError> {
        const FOLDER: &str = "root/cosigned";
        let names = self.store.list(FOLDER);
        let names = names.map_err(|error| LedgerError::io(format!("list {FOLDER}"), error))?;
        let (before, last) = names.split_at(names.len().saturating_sub(2));
        if self.days < before.len() {
            let found = self.to.list_with_delimiter(Some(&self.place(FOLDER))).await;
            let found = found.map_err(|error| failed("list", FOLDER, &error))?;
            let lengths: BTreeMap<&str, u64> = found
                .objects
                .iter()
                .filter_map(|it| Some((it.location.filename()?, it.size)))
                .collect();
            for name in before {
                let path = format!("{FOLDER}/{name}");
                if self.store.length(&path).ok().as_ref() != lengths.get(name.as_str()) {
                    self.whole(&path).await?;
                }
            }
            self.days = before.len();
        }
        for name in last {
            self.whole_changed(&format!("{FOLDER}/{name}")).await?;
        }
        Ok(())
    }

    /// Time stamps of at most so many leaves that are not there yet; the index, which names them,
    /// last.
    async fn stamps(&mut self, leaves: u64) -> Result<(), LedgerError> {
        let index = super::stamping::load(&*self.store)?;
        let promised = |line: &&Line| !matches!(line.over, Over::Checkpoint(size) if size > leaves);
        let lines: Vec<&Line> = index.lines().iter().take_while(promised).collect();
        let text: String = lines.iter().map(ToString::to_string).collect();
        let there = self.get(INDEX).await?.unwrap_or_default();
        if there.starts_with(text.as_bytes()) {
            return Ok(());
        }
        let had = match text.as_bytes().starts_with(&there) {
            true => there.iter().filter(|byte| **byte == b'\n').count(),
            false => 0,
        };
        for line in &lines[had..] {
            self.whole(&line.over.token()).await?;
            if let Some(note) = line.over.note() {
                self.whole(&note).await?;
            }
        }
        self.put(INDEX, text.into_bytes()).await
    }

    fn place(&self, path: &str) -> Path {
        path.split('/')
            .fold(self.prefix.clone(), |place, part| place.join(part))
    }

    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let failed = |error: object_store::Error| failed("read", path, &error);
        match self.to.get(&self.place(path)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes one file more, unless it stands there with the same bytes.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub async fn put_changed(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), LedgerError> {
        let digest = sha256(&bytes);
        let known = match self.there.get(path) {
            Some(known) => Some(*known),
            None => self.get(path).await?.map(|there| sha256(&there)),
        };
        if known != Some(digest) {
            self.put(path, bytes).await?;
        }
        self.there.insert(path.to_owned(), digest);
        Ok(())
    }

    /// Writes one file more.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn put(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), LedgerError> {
        self.copied.files += 1;
        self.copied.bytes += bytes.len() as u64;
        self.to
            .put(&self.place(path), PutPayload::from(bytes))
            .await
            .map(|_| ())
            .map_err(|error| failed("write", path, &error))
    }

    /// Removes a client's wrapped list keys of the months (yyyymm) before one.
    ///
    /// # Errors
    /// If they cannot be listed or removed.
    pub async fn remove_list_keys(
        &mut self,
        client: ClientId,
        before: u32,
    ) -> Result<(), LedgerError> {
        if self.months.get(&client) == Some(&before) {
            return Ok(());
        }
        let path = format!("{}lists", Tree::client(client).folder());
        let found = self
            .to
            .list_with_delimiter(Some(&self.place(&path)))
            .await
            .map_err(|error| failed("list", &path, &error))?;
        for object in found.objects {
            let name = object.location.filename().unwrap_or_default();
            if key_month(name).is_some_and(|month| month < before) {
                let removed = self.to.delete(&object.location).await;
                removed.map_err(|error| failed("remove", name, &error))?;
            }
        }
        self.months.insert(client, before);
        Ok(())
    }
}

/// The month in the name of a wrapped list key.
fn key_month(name: &str) -> Option<u32> {
    name.strip_suffix(".key")?.parse().ok()
}

fn missing(path: &str) -> LedgerError {
    LedgerError::Setting(format!("{path} is missing"))
}

fn failed(what: &str, path: &str, error: &object_store::Error) -> LedgerError {
    LedgerError::io(
        format!("{what} {path}"),
        std::io::Error::other(error.to_string()),
    )
}

fn parse(bytes: &[u8]) -> Option<Checkpoint> {
    Checkpoint::parse(Note::parse(bytes).ok()?.text()).ok()
}

/// Cuts a bundle to its first entries.
fn first_entries(bytes: &mut Vec<u8>, width: u16) {
    let lengths = tlog::bundle::entries(bytes)
        .take(usize::from(width))
        .map_while(Result::ok)
        .map(|entry| entry.len() + 2);
    let end = lengths.sum();
    bytes.truncate(end);
}
