//! The key folder: clients' keys and the keys of fingerprint lists, loaded on demand.
//!
//! `clients/<number>.key`, `lists/<number>/<yyyymm>.key`; see docs/format/keys.md. Invariants: keys
//! are made once and never overwritten; what is kept in memory is bounded and dropped when idle.
//! A session takes one [`Arc<ClientKeys>`] per client, and no lock per cell. Calls that load or make
//! a key block on files.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event::ClientId;
use fingerprint::ListKey;

use crate::client::{ClientKeys, OfficerKeys, Secret};
use crate::entropy::{Entropy, SystemEntropy};
use crate::keyfile::{
    KeyError, client_bytes, fresh, line, make_folder, read, remove_files, replace, sync_folder,
    unwrap, wrap, write_new,
};
use crate::master::Master;

/// How many clients' keys are kept in memory; more in use at once are loaded each time.
pub const CLIENTS_CACHED_MAX: usize = 1_024;
/// How many list keys are kept in memory.
const LISTS_CACHED_MAX: usize = 1_024;
const CLIENT_LINE: &str = "sekisho client key 1";
/// In place of the keys, once they were destroyed.
const DESTROYED: &str = "destroyed";
/// Beside list keys: those before a month were destroyed.
const BEFORE: &str = "before";
const LISTS_LINE: &str = "sekisho list keys destroyed 1";
const LIST_LINE: &str = "sekisho list key 1";
/// In associated data: the slot of the lasting key, which no epoch has.
const LASTING: u8 = 0;

/// A month of the list keys: year x 100 + month, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Month(u32);

impl Month {
    /// `None` unless `1970 <= year <= 9999` and `1 <= month <= 12`.
    pub fn new(year: u32, month: u32) -> Option<Self> {
        ((1970..=9999).contains(&year) && (1..=12).contains(&month))
            .then_some(Self(year * 100 + month))
    }

    /// The month of a moment in ms since the Unix epoch; the last one after the year 9999.
    pub fn of_ms(unix_ms: u64) -> Self {
        // Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
        let days = (unix_ms / 86_400_000).min(2_932_896) as u32 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        Self((era * 400 + year + u32::from(month <= 2)) * 100 + month)
    }

    /// Year x 100 + month.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The key folder of one centre, open.
pub struct Keyring {
    folder: PathBuf,
    master: Master,
    entropy: Arc<dyn Entropy>,
    /// Protects the cache; held while a client's file is read, so that each is loaded once.
    clients: Mutex<Cache<ClientId, ClientKeys>>,
    /// As above, for list keys; held while one is made.
    lists: Mutex<Cache<(ClientId, Month), ListKey>>,
}

impl Keyring {
    /// Opens the key folder, and makes its folders where they are missing.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn open(folder: &Path, master: Master) -> Result<Self, KeyError> {
        Self::open_with(folder, master, Arc::new(SystemEntropy))
    }

    /// As [`Keyring::open`], with another source of random bytes.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn open_with(
        folder: &Path,
        master: Master,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyError> {
        make_folder(&folder.join("clients"))?;
        make_folder(&folder.join("lists"))?;
        Ok(Self {
            folder: folder.to_owned(),
            master,
            entropy,
            clients: Mutex::new(Cache::new(CLIENTS_CACHED_MAX)),
            lists: Mutex::new(Cache::new(LISTS_CACHED_MAX)),
        })
    }

    /// Whether a passphrase protects the master key.
    pub fn has_passphrase(&self) -> bool {
        self.master.has_passphrase()
    }

    /// Makes a client's keys: the lasting one and epoch 1. On disk when it returns.
    ///
    /// # Errors
    /// [`KeyError::Exists`] if the client has keys already; other [`KeyError`]s.
    pub fn create_client(&self, client: ClientId) -> Result<Arc<ClientKeys>, KeyError> {
        let entropy = &*self.entropy;
        let under = self.master.wrapping_key();
        let wrapped = |slot| {
            let key = fresh(entropy)?;
            wrap(under, &client_aad(client, slot), &key, entropy)
        };
        let text = format!(
            "{CLIENT_LINE}\nclient {client}\nlasting {}\nepoch 1 {}\n",
            wrapped(LASTING)?,
            wrapped(1)?
        );
        write_new(&self.client_path(client), &text)?;
        self.client(client)
    }

    /// A client's keys, from memory or loaded.
    ///
    /// # Errors
    /// [`KeyError::Missing`] for a client without keys; other [`KeyError`]s.
    pub fn client(&self, client: ClientId) -> Result<Arc<ClientKeys>, KeyError> {
        lock(&self.clients).get(client, || self.load_client(client))
    }

    /// All clients that have keys, ascending.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn clients(&self) -> Result<Vec<ClientId>, KeyError> {
        let folder = self.folder.join("clients");
        let mut clients = Vec::new();
        for entry in fs::read_dir(&folder).map_err(KeyError::io(&folder))? {
            let name = entry.map_err(KeyError::io(&folder))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".key"));
            clients.extend(number.and_then(parse_client));
        }
        clients.sort_unstable();
        Ok(clients)
    }

    /// The key of a client's lists of a month; made at its first use, and on disk before it is
    /// returned.
    ///
    /// # Errors
    /// [`KeyError`], also for a client without keys.
    pub fn list_key(&self, client: ClientId, month: Month) -> Result<Arc<ListKey>, KeyError> {
        if let Some(key) = lock(&self.lists).kept(&(client, month)) {
            return Ok(key);
        }
        let keys = self.client(client)?;
        lock(&self.lists).get((client, month), || match self.load_list(&keys, month) {
            Err(KeyError::Missing(path)) => {
                if let Some(before) = self.lists_before(client)?
                    && month < before
                {
                    return Err(KeyError::ListsDestroyed(client, before.number()));
                }
                self.create_list(&keys, month, &path)?;
                self.load_list(&keys, month)
            }
            result => result,
        })
    }

    /// Destroys a client's keys: what they sealed can never be read again. Its file says so from
    /// then on, so that no keys are made anew. May be repeated. Copies elsewhere are not reached.
    ///
    /// # Errors
    /// [`KeyError`], if not all of them are gone from the disk.
    pub fn destroy_client(&self, client: ClientId) -> Result<(), KeyError> {
        let text = format!("{CLIENT_LINE}\nclient {client}\n{DESTROYED}\n");
        let path = self.client_path(client);
        if read(&path).ok().as_deref() != Some(&text) {
            replace(&path, &text)?;
        }
        remove_files(&self.folder.join("lists").join(client.to_string()))?;
        lock(&self.clients).kept.remove(&client);
        lock(&self.lists).kept.retain(|(of, _), _| *of != client);
        Ok(())
    }

    /// Destroys a client's list keys of the months before one: those lists can never be read again,
    /// and no keys are made for such months any more. May be repeated. Copies elsewhere are not
    /// reached.
    ///
    /// # Errors
    /// [`KeyError`], if not all of them are gone from the disk.
    pub fn destroy_lists(&self, client: ClientId, before: Month) -> Result<(), KeyError> {
        // Held so that no key is made meanwhile.
        let mut lists = lock(&self.lists);
        let folder = self.list_folder(client);
        if self.lists_before(client)?.is_none_or(|done| done < before) {
            make_folder(&folder)?;
            let text = format!("{LISTS_LINE}\nclient {client}\nbefore {before}\n");
            replace(&folder.join(BEFORE), &text)?;
        }
        for month in self.list_months(client)? {
            if month < before {
                let path = self.list_path(client, month);
                fs::remove_file(&path).map_err(KeyError::io(&path))?;
            }
        }
        sync_folder(&folder)?;
        lists
            .kept
            .retain(|(of, month), _| *of != client || *month >= before);
        Ok(())
    }

    /// The months of a client's list keys, ascending.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn list_months(&self, client: ClientId) -> Result<Vec<Month>, KeyError> {
        let folder = self.list_folder(client);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(KeyError::io(&folder))?,
        };
        let mut months = Vec::new();
        for entry in entries {
            let name = entry.map_err(KeyError::io(&folder))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".key"));
            let number = number.and_then(|number| number.parse::<u32>().ok());
            months.extend(number.and_then(|number| Month::new(number / 100, number % 100)));
        }
        months.sort_unstable();
        Ok(months)
    }

    fn lists_before(&self, client: ClientId) -> Result<Option<Month>, KeyError> {
        lists_before(&self.folder, client)
    }

    fn list_folder(&self, client: ClientId) -> PathBuf {
        self.folder.join("lists").join(client.to_string())
    }

    /// The keys of a client's officer: they leave the system in a file that two approvers allowed.
    ///
    /// # Errors
    /// [`KeyError`], also for a client without keys.
    pub fn officer_keys(&self, client: ClientId) -> Result<OfficerKeys, KeyError> {
        let (lasting, _) = self.load_secrets(client)?;
        Ok(OfficerKeys::new(client, &lasting))
    }

    /// Drops keys from memory that nobody holds and nobody asked for during `idle_ms_max`. Called
    /// from time to time with a monotonic clock in ms.
    pub fn sweep(&self, now_ms: u64, idle_ms_max: u64) {
        lock(&self.clients).sweep(now_ms, idle_ms_max);
        lock(&self.lists).sweep(now_ms, idle_ms_max);
    }

    fn client_path(&self, client: ClientId) -> PathBuf {
        self.folder.join("clients").join(format!("{client}.key"))
    }

    fn load_client(&self, client: ClientId) -> Result<ClientKeys, KeyError> {
        let (lasting, epochs) = self.load_secrets(client)?;
        ClientKeys::new(client, &lasting, &epochs, self.entropy.clone()).ok_or_else(|| {
            KeyError::malformed(
                &self.client_path(client),
                "epochs from 1 in ascending order",
            )
        })
    }

    /// The lasting key and those of the epochs.
    fn load_secrets(&self, client: ClientId) -> Result<(Secret, Vec<(u8, Secret)>), KeyError> {
        let path = self.client_path(client);
        let text = read(&path)?;
        let mut lines = text.lines();
        first_lines(&mut lines, CLIENT_LINE, client, &path)?;
        let open = |slot, wrapped| {
            unwrap(
                self.master.wrapping_key(),
                &client_aad(client, slot),
                wrapped,
            )
            .ok_or_else(|| KeyError::DoesNotOpen(path.clone()))
        };
        let mut lines = lines.peekable();
        if lines.peek() == Some(&DESTROYED) {
            return Err(KeyError::Destroyed(client));
        }
        let lasting = open(LASTING, line(&mut lines, "lasting", &path)?)?;
        let mut epochs = Vec::new();
        while lines.peek().is_some() {
            let (epoch, wrapped) = line(&mut lines, "epoch", &path)?
                .split_once(' ')
                .and_then(|(epoch, wrapped)| Some((epoch.parse::<u8>().ok()?, wrapped)))
                .ok_or_else(|| KeyError::malformed(&path, "epoch, its number, its key"))?;
            epochs.push((epoch, open(epoch, wrapped)?));
        }
        Ok((lasting, epochs))
    }

    fn list_path(&self, client: ClientId, month: Month) -> PathBuf {
        self.list_folder(client).join(format!("{month}.key"))
    }

    fn load_list(&self, keys: &ClientKeys, month: Month) -> Result<ListKey, KeyError> {
        let client = keys.client();
        let path = self.list_path(client, month);
        let text = read(&path)?;
        let mut lines = text.lines();
        first_lines(&mut lines, LIST_LINE, client, &path)?;
        if line(&mut lines, "month", &path)? != month.to_string() {
            return Err(KeyError::malformed(&path, "the month of its name"));
        }
        let wrapped = line(&mut lines, "key", &path)?;
        let key = unwrap(keys.list_wrapping_key(), &list_aad(client, month), wrapped)
            .ok_or(KeyError::DoesNotOpen(path))?;
        Ok(ListKey::new(&key))
    }

    fn create_list(&self, keys: &ClientKeys, month: Month, path: &Path) -> Result<(), KeyError> {
        let client = keys.client();
        let key = fresh(&*self.entropy)?;
        let aad = list_aad(client, month);
        let wrapped = wrap(keys.list_wrapping_key(), &aad, &key, &*self.entropy)?;
        make_folder(path.parent().unwrap_or(&self.folder))?;
        let text = format!("{LIST_LINE}\nclient {client}\nmonth {month}\nkey {wrapped}\n");
        match write_new(path, &text) {
            // Another process was first: its key counts.
            Err(KeyError::Exists(_)) => Ok(()),
            result => result,
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

fn first_lines<'a>(
    lines: &mut impl Iterator<Item = &'a str>,
    first: &'static str,
    client: ClientId,
    path: &Path,
) -> Result<(), KeyError> {
    if !line(lines, first, path)?.is_empty() {
        return Err(KeyError::malformed(path, first));
    }
    if line(lines, "client", path)? != client.to_string() {
        return Err(KeyError::malformed(path, "the client of its name"));
    }
    Ok(())
}

fn parse_client(number: &str) -> Option<ClientId> {
    let client = ClientId::new(number.parse().ok()?)?;
    (client.to_string() == number).then_some(client)
}

fn client_aad(client: ClientId, slot: u8) -> Vec<u8> {
    [CLIENT_LINE.as_bytes(), &client_bytes(client), &[slot]].concat()
}

fn list_aad(client: ClientId, month: Month) -> Vec<u8> {
    let month = month.number().to_be_bytes();
    [LIST_LINE.as_bytes(), &client_bytes(client), &month].concat()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A cache is valid after every step, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first month whose list key of a client was not destroyed by age; `None`: none was.
///
/// # Errors
/// [`KeyError`], if the key folder does not say it soundly.
pub fn lists_before(folder: &Path, client: ClientId) -> Result<Option<Month>, KeyError> {
    let path = folder.join("lists").join(client.to_string()).join(BEFORE);
    let text = match read(&path) {
        Err(KeyError::Missing(_)) => return Ok(None),
        text => text?,
    };
    let mut lines = text.lines();
    first_lines(&mut lines, LISTS_LINE, client, &path)?;
    let month = line(&mut lines, "before", &path)?.parse::<u32>().ok();
    month
        .and_then(|number| Month::new(number / 100, number % 100))
        .map(Some)
        .ok_or_else(|| KeyError::malformed(&path, "before and a month"))
}

/// Values by key, shared with whoever asked; at most `max`.
struct Cache<K, V> {
    max: usize,
    /// The time of the last sweep in ms: when things asked for since then were asked for.
    now_ms: u64,
    kept: HashMap<K, Kept<V>>,
}

struct Kept<V> {
    value: Arc<V>,
    used_ms: u64,
}

impl<K: Copy + Eq + std::hash::Hash, V> Cache<K, V> {
    fn new(max: usize) -> Self {
        Self {
            max,
            now_ms: 0,
            kept: HashMap::new(),
        }
    }

    fn kept(&mut self, key: &K) -> Option<Arc<V>> {
        let kept = self.kept.get_mut(key)?;
        kept.used_ms = self.now_ms;
        Some(kept.value.clone())
    }

    fn get<E>(&mut self, key: K, load: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        if let Some(value) = self.kept(&key) {
            return Ok(value);
        }
        let value = Arc::new(load()?);
        if self.kept.len() >= self.max {
            let idle = self.kept.iter().filter(|(_, kept)| !kept.held());
            if let Some(&oldest) = idle.min_by_key(|(_, kept)| kept.used_ms).map(|(k, _)| k) {
                self.kept.remove(&oldest);
            }
        }
        if self.kept.len() < self.max {
            let kept = Kept {
                value: value.clone(),
                used_ms: self.now_ms,
            };
            self.kept.insert(key, kept);
        }
        Ok(value)
    }

    fn sweep(&mut self, now_ms: u64, idle_ms_max: u64) {
        self.now_ms = now_ms;
        self.kept.retain(|_, kept| {
            if kept.held() {
                kept.used_ms = now_ms;
            }
            now_ms.saturating_sub(kept.used_ms) < idle_ms_max
        });
    }
}

impl<V> Kept<V> {
    /// Whether anyone but the cache holds it.
    fn held(&self) -> bool {
        Arc::strong_count(&self.value) > 1
    }
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
