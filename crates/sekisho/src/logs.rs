//! The logs of an installation: the keys that sign them, the witnesses, where they are published.
//!
//! ```text
//! offline/identity.key      signs the list of log keys; to be kept elsewhere
//! secrets/identity.pub      its public half
//! secrets/log-N.key         seeds of log keys
//! secrets/salt              the salt secret
//! witnesses.policy          witnesses and quorum (C2SP tlog-policy), named by [logs] witnesses
//! ledger/logs/              what is derived and published
//! ```

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use ledger::LedgerError;
use ledger::logs::{Authority, KeyList, ListedKey, LogKeys, Logs, Setup, Witnesses, places};
use tlog::SigningKey;
use tlog::policy::Policy;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::folder::{Folder, write_private};

/// The identity key's file.
pub const IDENTITY: &str = "offline/identity.key";
/// The salt secret's file.
pub const SALT: &str = "secrets/salt";
const IDENTITY_PUBLIC: &str = "secrets/identity.pub";
/// How often the logs are copied where they are published.
const PUBLISH_EVERY: std::time::Duration = std::time::Duration::from_secs(60);
/// And after a failure.
const PUBLISH_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);
/// Keys that sign at once: the one in force, and the one before while it is handed over.
const SIGNING_MAX: usize = 2;

/// Makes the identity key and the first log key; gives the log key's public half.
pub fn create_keys(folder: &Folder, ledger: &[u8; 16]) -> Result<[u8; 32]> {
    let seed = Zeroizing::new(crate::people::random::<32>()?);
    let identity = SigningKey::new(&places::identity_name(ledger), &seed)?;
    write_private(&folder.path(IDENTITY), identity.encode().as_bytes())?;
    let public = identity.verifier().to_string();
    folder.write_secret(IDENTITY_PUBLIC, public.as_bytes())?;
    folder.secret(SALT)?;
    let log_key = new_log_key(folder, 1)?;
    let list = KeyList {
        ledger: *ledger,
        serial: 1,
        keys: vec![ListedKey {
            number: 1,
            public: log_key,
            from_ms: 0,
            until_ms: None,
        }],
    };
    publish_list(folder, &list, &identity)?;
    Ok(log_key)
}

/// Makes log key `number`; gives its public half.
pub fn new_log_key(folder: &Folder, number: u32) -> Result<[u8; 32]> {
    public_of(&folder.secret(&seed_name(number))?)
}

/// The file of a log key's seed.
pub fn seed_name(number: u32) -> String {
    format!("secrets/log-{number}.key")
}

fn public_of(seed: &[u8; 32]) -> Result<[u8; 32]> {
    Ok(*SigningKey::new("sekisho", seed)?.verifier().public())
}

/// Signs a list of log keys and puts it where the logs are published.
pub fn publish_list(folder: &Folder, list: &KeyList, identity: &SigningKey) -> Result<()> {
    let note = list.sign(identity)?;
    let logs = folder.ledger().join("logs");
    fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
    write_private(&logs.join("keys"), note.as_bytes())
}

/// The list in force.
pub fn list(folder: &Folder) -> Result<KeyList> {
    let path = folder.ledger().join("logs/keys");
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "{}: cannot be read; `sekisho ledger keys` signs it anew",
            path.display()
        )
    })?;
    text.split_once("\n\n")
        .and_then(|(text, _)| KeyList::parse(&format!("{text}\n")))
        .with_context(|| format!("{}: is no list of log keys", path.display()))
}

/// The identity key, from its file.
pub fn identity(path: &Path, ledger: &[u8; 16]) -> Result<SigningKey> {
    let text = Zeroizing::new(
        fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?,
    );
    let key = SigningKey::parse(text.trim())
        .with_context(|| format!("{}: is no signing key", path.display()))?;
    ensure!(
        key.verifier().name() == places::identity_name(ledger),
        "{}: is the identity key of another ledger",
        path.display()
    );
    Ok(key)
}

/// The public half of the identity key, as a vkey.
pub fn identity_public(folder: &Folder) -> Result<String> {
    let path = folder.path(IDENTITY_PUBLIC);
    fs::read_to_string(&path)
        .map(|text| text.trim().to_owned())
        .with_context(|| {
            format!(
                "{}: cannot be read; restore it from a backup",
                path.display()
            )
        })
}

/// The text of the witness policy; without one, no cosignature is needed.
pub fn witness_policy(folder: &Folder, config: &Config) -> Result<String> {
    let Some(path) = &config.logs.witnesses else {
        return Ok("quorum none\n".to_owned());
    };
    let path = folder.path(&path.to_string_lossy());
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "{}: cannot be read; logs.witnesses names a policy of witnesses (C2SP tlog-policy)",
            path.display()
        )
    })?;
    let policy = Policy::parse(text.as_bytes()).with_context(|| path.display().to_string())?;
    if let Some(silent) = policy.witnesses().iter().find(|it| it.url.is_none()) {
        bail!(
            "{}: witness {} has no URL, so it cannot be asked; allowed: witness NAME VKEY URL",
            path.display(),
            silent.name
        );
    }
    ensure!(
        policy.logs().is_empty(),
        "{}: has a log line; allowed: witness, group and quorum lines",
        path.display()
    );
    Ok(text)
}

/// The witnesses of the configuration; `None`: it names none.
pub fn witnesses(folder: &Folder, config: &Config) -> Result<Option<Arc<Witnesses>>> {
    if config.logs.witnesses.is_none() {
        return Ok(None);
    }
    let policy = Policy::parse(witness_policy(folder, config)?.as_bytes())?;
    Ok(Some(Arc::new(Witnesses::new(policy))))
}

/// The certificates to trust for time stamps; `None`: no authority is configured.
pub fn timestamp_roots(folder: &Folder, config: &Config) -> Result<Option<stamp::Roots>> {
    let logs = &config.logs;
    let (Some(_), Some(path)) = (&logs.timestamps, &logs.timestamp_roots) else {
        return Ok(None);
    };
    let path = folder.path(&path.to_string_lossy());
    let pem = fs::read(&path).with_context(|| {
        format!(
            "{}: cannot be read; logs.timestamp_roots names the certificates (PEM) to trust",
            path.display()
        )
    })?;
    let roots = stamp::Roots::from_pem(&pem).with_context(|| path.display().to_string())?;
    Ok(Some(roots))
}

/// The time stamp authority of the configuration; `None`: it names none.
fn authority(folder: &Folder, config: &Config) -> Result<Option<Arc<Authority>>> {
    const DAY_MS: u64 = 86_400_000;
    let logs = &config.logs;
    let (Some(url), Some(roots)) = (&logs.timestamps, timestamp_roots(folder, config)?) else {
        return Ok(None);
    };
    let ahead_ms = u64::from(logs.timestamp_renew_days) * DAY_MS;
    let interval_ms = logs.timestamp_interval_ms;
    Ok(Some(Arc::new(Authority::new(
        url,
        roots,
        interval_ms,
        ahead_ms,
    ))))
}

/// The seed in a file's bytes, if it is that of this public key.
pub fn own_seed(bytes: Vec<u8>, public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(bytes);
    let seed = <[u8; 32]>::try_from(&bytes[..]).ok().map(Zeroizing::new)?;
    public_of(&seed)
        .is_ok_and(|it| it == *public)
        .then_some(seed)
}

/// The seeds of the newest log keys in force that are here, oldest first.
fn signing_keys(folder: &Folder, publics: &[[u8; 32]]) -> Result<LogKeys, LedgerError> {
    let mut seeds = Vec::new();
    for (number, public) in (1_u32..).zip(publics) {
        let Ok(bytes) = fs::read(folder.path(&seed_name(number))) else {
            continue;
        };
        seeds.push(own_seed(bytes, public).ok_or_else(|| {
            LedgerError::Setting(format!(
                "{} is not the log key that the ledger names; restore it from a backup",
                seed_name(number)
            ))
        })?);
    }
    if seeds.is_empty() {
        return Err(LedgerError::Setting(
            "no log key is here (secrets/log-N.key); restore it from a backup".into(),
        ));
    }
    let old = seeds.len().saturating_sub(SIGNING_MAX);
    Ok(LogKeys::new(seeds.split_off(old)))
}

/// Derives and publishes the logs of an open ledger from now on.
pub async fn start(
    folder: &Folder,
    config: &Config,
    handle: ledger::Handle,
    say: Arc<dyn Fn(String) + Send + Sync>,
) -> Result<Logs> {
    let place = folder.clone();
    let setup = Setup {
        salt: folder.kept_secret(SALT)?,
        keys: Arc::new(move |publics| signing_keys(&place, publics)),
        witnesses: witnesses(folder, config)?,
        authority: authority(folder, config)?,
        say: Arc::clone(&say),
    };
    let mut told = std::time::Instant::now();
    let mut progress = |leaves: u64, of: u64| {
        if told.elapsed().as_secs() >= 2 {
            told = std::time::Instant::now();
            say(format!("deriving the logs: {leaves} of {of} leaves"));
        }
    };
    Ok(Logs::start(&folder.ledger(), handle, setup, &mut progress).await?)
}

/// Copies a client's wrapped list keys: they open only with what the client officer holds.
pub async fn copy_list_keys(
    folder: &Folder,
    client: event::ClientId,
    mirror: &mut ledger::logs::Mirror,
) -> Result<()> {
    let place = folder.path(&format!("keys/lists/{client}"));
    let entries = match fs::read_dir(&place) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| place.display().to_string())?,
    };
    let to = ledger::logs::Tree::client(client).folder();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".key") && !name.starts_with('.') {
            let bytes = fs::read(entry.path()).with_context(|| name.clone())?;
            mirror
                .put_changed(&format!("{to}lists/{name}"), bytes)
                .await?;
        }
    }
    if let Some(before) = seal::lists_before(&folder.path("keys"), client)? {
        mirror.remove_list_keys(client, before.number()).await?;
    }
    Ok(())
}

/// A store that logs are copied to: a folder, or `s3://BUCKET/PREFIX` with credentials in AWS_...
fn target(
    config: &Config,
    to: &str,
) -> Result<(Arc<dyn object_store::ObjectStore>, object_store::path::Path)> {
    let Some(rest) = to.strip_prefix("s3://") else {
        fs::create_dir_all(to).with_context(|| to.to_owned())?;
        let folder = object_store::local::LocalFileSystem::new_with_prefix(to)?;
        return Ok((Arc::new(folder), object_store::path::Path::default()));
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let mut builder = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(endpoint) = &config.logs.publish_endpoint {
        let plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(plain);
    }
    let store = builder
        .build()
        .with_context(|| format!("logs.publish = {to:?}"))?;
    Ok((Arc::new(store), object_store::path::Path::from(prefix)))
}

/// Copies all logs where `[logs] publish` says, now and then once a minute, until it is dropped.
pub fn publish(
    folder: &Folder,
    config: &Config,
    handle: ledger::Handle,
    say: Arc<dyn Fn(String) + Send + Sync>,
) -> Result<Option<tokio::task::JoinHandle<()>>> {
    let Some(to) = config.logs.publish.clone() else {
        return Ok(None);
    };
    let (store, prefix) = target(config, &to)?;
    let from: Arc<dyn ledger::logs::Store> = Arc::new(crate::commands::ledger::store(folder)?);
    let salt = folder.kept_secret(SALT)?;
    let mut mirror = ledger::logs::Mirror::new(from, &salt, store, prefix).pruning();
    let folder = folder.clone();
    Ok(Some(tokio::spawn(async move {
        let mut failed = false;
        // The first leaf is published within a second or two.
        let mut wait = PUBLISH_AGAIN;
        loop {
            tokio::time::sleep(wait).await;
            let clients: Vec<_> = handle.state().clients.keys().copied().collect();
            let done = copy_all(&folder, &mut mirror, clients).await;
            match &done {
                Err(error) => say(format!("the logs cannot be copied to {to}: {error:#}")),
                Ok(()) if failed => say(format!("the logs are copied to {to} again")),
                Ok(()) => {}
            }
            failed = done.is_err();
            wait = if failed { PUBLISH_AGAIN } else { PUBLISH_EVERY };
        }
    })))
}

async fn copy_all(
    folder: &Folder,
    mirror: &mut ledger::logs::Mirror,
    clients: Vec<event::ClientId>,
) -> Result<()> {
    let selection = ledger::logs::Selection {
        clients,
        centre: true,
    };
    mirror.copy(&selection).await?;
    for client in selection.clients {
        copy_list_keys(folder, client, mirror).await?;
    }
    Ok(())
}
