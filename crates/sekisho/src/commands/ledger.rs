//! `sekisho ledger`: the logs that leave the system, and what clients check them with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use event::ClientId;
use event::record::{Body, Change};
use ledger::State;
use ledger::logs::publish::checkpoint_path;
use ledger::logs::{DiskStore, Generation, KeyList, ListedKey, Mirror, Selection, Store, Tree};
use object_store::local::LocalFileSystem;
use serde_json::json;
use tlog::{Algorithm, Checkpoint, Note, VerifierKey};

use super::desk::Desk;
use super::officer::OfficerFile;
use super::{Look, Sign, desk, officer, output};
use crate::config::Config;
use crate::folder::{Folder, write_private};
use crate::service::propose_request;
use crate::{logs, reading};

/// Longest checkpoint with its signatures, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 64 << 10;
/// What clients are told: uncovered for longer than this is named, ms.
const UNCOVERED_MS_MAX: u64 = 3_600_000;
/// And leaves of the root log further apart than this, ms.
const HEARTBEAT_MS_MAX: u64 = 180_000;
/// And so many intervals without a time stamp.
const STAMPS_MISSED_MAX: u64 = 3;

/// What can be done with the logs.
#[derive(Subcommand)]
pub enum LedgerCommand {
    /// How far the logs are published.
    #[command(after_help = "Example:\n  sekisho ledger status --json")]
    Status(Look),
    /// Reads the archive of old segments again, and compares each file with its record.
    #[command(after_help = "\
Example:
  sekisho ledger archive --verify

Full segments of the write-ahead log are compressed into ledger/archive once all that is derived from
them is durable; their records are never deleted. Exit status 1 if a file is missing or was changed.")]
    Archive(super::archive::ArchiveGiven),
    /// Writes the file that a client checks its log with.
    #[command(after_help = "\
Example:
  sekisho ledger key-file acme --out acme.sekisho

It holds no secret. Hand it over once, in person or on paper: with it the client checks all that it
is given later, so it must not come by the same way.

Next: `sekisho ledger export acme --to DIR`; the client runs `sekisho-verify check`.")]
    KeyFile(KeyFile),
    /// Writes the file with which a client's officer opens its lists; needs two approvers.
    #[command(after_help = "\
Example:
  sekisho ledger officer-file acme --out acme.officer      # proposes it
  sekisho approve 17 --as ito --key ito.key                # two approvers
  sekisho ledger officer-file acme --out acme.officer      # writes it, once

With it the client finds out whether and by whom a person was seen, and reads purposes. It opens no
cell. It is never printed; the client's log says that it was made, and by whom.

Next: the officer runs `sekisho-verify report --officer acme.officer --person -`.")]
    OfficerFile(OfficerFile),
    /// Prints the root log's public keys: what a witness has to know.
    #[command(after_help = "\
Example:
  sekisho ledger vkey >> /var/lib/witness/logs

Next: the witness runs `sekisho-verify witness run`; name it in witnesses.policy, and that file in
[logs] of sekisho.toml.")]
    Vkey(Look),
    /// Makes a new log key, proposes it, and signs the list of log keys with the identity key.
    #[command(after_help = "\
Example, in this order:
  sekisho ledger rotate                                   # makes the key, proposes it
  sekisho approve 14 --as ito --key ito.key               # two approvers
  sekisho ledger keys --identity /media/safe/identity.key # lists it
  sekisho ledger keys --identity /media/safe/identity.key --retire 1   # when all have seen it

Both keys sign until the old one is retired; the origin of the logs stays.")]
    Rotate(Rotate),
    /// Signs the list of log keys with the identity key, which is kept elsewhere.
    #[command(after_help = "\
Example:
  sekisho ledger keys --identity /media/safe/identity.key
  sekisho ledger keys --identity /media/safe/identity.key --retire 1

Lists the keys that two approvers put in force. A retired key's file can be removed.")]
    Keys(KeysGiven),
    /// Declares that records were lost in a disaster: the logs go on under a new generation.
    #[command(after_help = "\
Example:
  sekisho ledger generation --checkpoint witness.note --lost 'records after 2026-11-20 03:00, disk failure'
  sekisho approve 15 --as ito --key ito.key        # two approvers, after asking the client officers

Only for a ledger that refuses to start because a checkpoint of ours is newer than it. The checkpoint
that a witness holds and what was lost stand in the ledger from then on; every client gets a new key
file, and its officer compares the old head with his own copy.")]
    Generation(GenerationGiven),
    /// How long fingerprint lists and published entries stay; shorter needs two approvers.
    #[command(after_help = "\
Example:
  sekisho ledger retention                       # what is in force
  sekisho ledger retention --months 36
  sekisho approve 16 --as ito --key ito.key      # two approvers

A list says which people a record is about. When its month is older than that, a record says so, and
the key of that client's month is destroyed. Records stay, and every proof still verifies.

--entry-months is for the entries of clients' logs as they are published: when they are older, a record
in that client's log says so, and their bundles leave ledger/logs and what [logs] publish names. Hash
tiles stay, so that every proof still verifies; the write-ahead log and its archive keep each record.
Clients keep what they have copied.")]
    Retention(super::retention::RetentionGiven),
    /// Copies a client's log, with all that is needed to check it, to a folder. Repeat it to bring
    /// the folder up to date.
    #[command(after_help = "\
Example:
  sekisho ledger export acme --to /srv/export/acme
  sekisho ledger export --centre --to /srv/export/audit

The folder can be carried, or served by any web server. Next: the client runs
`sekisho-verify check --key acme.sekisho --from DIR`.")]
    Export(Export),
}

/// A client's key file.
#[derive(Args)]
pub struct KeyFile {
    #[command(flatten)]
    look: Look,
    /// The client: code or number; without one, the file is for auditors of the centre's log.
    client: Option<String>,
    /// Where to [default: print it].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A copy.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    look: Look,
    /// The clients: codes or numbers.
    clients: Vec<String>,
    /// The centre's log too: for auditors.
    #[arg(long)]
    centre: bool,
    /// The folder; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// A new log key.
#[derive(Args)]
pub struct Rotate {
    #[command(flatten)]
    sign: Sign,
}

/// A list of log keys.
#[derive(Args)]
pub struct KeysGiven {
    #[command(flatten)]
    look: Look,
    /// The identity key's file.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// The number of a key that counts no more from now on.
    #[arg(long, value_name = "N")]
    retire: Option<u32>,
}

/// A declared loss.
#[derive(Args)]
pub struct GenerationGiven {
    #[command(flatten)]
    sign: Sign,
    /// The newest checkpoint of the root log that a witness holds.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// What was lost, in words.
    #[arg(long)]
    lost: String,
}

/// Does it.
pub async fn run(what: LedgerCommand) -> Result<()> {
    match what {
        LedgerCommand::Status(look) => status(&look).await,
        LedgerCommand::Archive(given) => super::archive::run(&given),
        LedgerCommand::Vkey(look) => vkey(&look).await,
        LedgerCommand::KeyFile(given) => key_file(&given).await,
        LedgerCommand::Retention(given) => super::retention::run(&given).await,
        LedgerCommand::Export(given) => export(&given).await,
        LedgerCommand::OfficerFile(given) => officer::run(&given).await,
        LedgerCommand::Rotate(given) => rotate(&given).await,
        LedgerCommand::Keys(given) => keys(&given).await,
        LedgerCommand::Generation(given) => generation(&given).await,
    }
}

/// The derived logs of a folder.
pub fn store(folder: &Folder) -> Result<DiskStore> {
    let place = folder.ledger().join("logs");
    DiskStore::new(&place).with_context(|| place.display().to_string())
}

fn checkpoint(store: &DiskStore, tree: Tree) -> Result<Option<Checkpoint>> {
    let path = checkpoint_path(tree);
    match store.read(&path, CHECKPOINT_BYTES_MAX) {
        Ok(bytes) => {
            let note = Note::parse(&bytes).with_context(|| path.clone())?;
            Ok(Some(Checkpoint::parse(note.text()).context(path)?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(path),
    }
}

async fn status(look: &Look) -> Result<()> {
    let folder = look.at.folder()?;
    let state = reading::current(&folder).await?;
    let store = store(&folder)?;
    let clients = state.clients.keys().map(|client| Tree::client(*client));
    let trees = [Tree::Root, Tree::Log(event::LogId::Centre)];
    let mut rows = Vec::new();
    for tree in trees.into_iter().chain(clients) {
        let Some(checkpoint) = checkpoint(&store, tree)? else {
            continue;
        };
        if look.json {
            output::json(&json!({
                "log": tree.to_string(), "origin": checkpoint.origin(),
                "size": checkpoint.size(), "root": checkpoint.root().to_string(),
            }))?;
        }
        rows.push(vec![
            tree.to_string(),
            checkpoint.size().to_string(),
            checkpoint.root().to_string(),
        ]);
    }
    let receivers = receipts(look, &folder, &state, &store)?;
    super::archive::status(&folder, look.json)?;
    if !look.json {
        match rows.is_empty() {
            true => output::line("Nothing is published yet; `sekisho serve` does it.")?,
            false => output::table(&["log", "entries", "root"], &rows)?,
        }
        if !receivers.is_empty() {
            output::line("")?;
            let head = ["receipts of client", "to", "acknowledged", "behind"];
            output::table(&head, &receivers)?;
        }
    }
    stamp_status(&store, look.json)
}

/// The newest time stamp, if there are any.
fn stamp_status(store: &DiskStore, json: bool) -> Result<()> {
    let index = ledger::logs::stamping::load(store)?;
    let (Some(newest), Some(size)) = (index.newest(), index.size()) else {
        return Ok(());
    };
    let now = crate::service::now_ms();
    let weakest = index.weakest(now);
    if json {
        return output::json(&json!({"timestamps": {
            "stamps": index.lines().len(), "newest_size": size, "newest_ms": newest.time_ms,
            "proven_until_ms": weakest,
        }}));
    }
    output::line(format!(
        "The newest time stamp, of {}, covers {size} root leaves; those that still prove something do \
         so until {} or longer.",
        super::time::shown(newest.time_ms),
        weakest.map_or("-".to_owned(), super::time::shown),
    ))
}

/// How far each receiver of receipts is, as of some seconds ago.
fn receipts(
    look: &Look,
    folder: &Folder,
    state: &State,
    store: &DiskStore,
) -> Result<Vec<Vec<String>>> {
    use ledger::logs::receipts::{acknowledged, shown_name};
    let mut rows = Vec::new();
    for given in folder.config()?.logs.receipts {
        let (client, _) = desk::client(state, &given.client).context("logs.receipts")?;
        let known = acknowledged(&folder.ledger(), client, &state.ledger).unwrap_or(0);
        let size = checkpoint(store, Tree::client(client))?.map_or(0, |it| it.size());
        let (to, behind) = (shown_name(given.url.as_str()), size.saturating_sub(known));
        if look.json {
            output::json(&json!({
                "receipts": client.get(), "to": to, "acknowledged": known, "behind": behind,
            }))?;
        }
        rows.push(vec![
            client.to_string(),
            to,
            known.to_string(),
            behind.to_string(),
        ]);
    }
    Ok(rows)
}

async fn vkey(look: &Look) -> Result<()> {
    let state = reading::current(&look.at.folder()?).await?;
    let generation = Generation {
        ledger: state.ledger,
        number: state.log_generation,
    };
    let origin = generation.origin(Tree::Root);
    for key in state.log_keys.iter() {
        let vkey = VerifierKey::new(&origin, Algorithm::Ed25519, *key)?.to_string();
        match look.json {
            true => output::json(&json!({"vkey": vkey}))?,
            false => output::line(vkey)?,
        }
    }
    Ok(())
}

/// The text of a client's key file; `None`: for auditors.
fn key_text(
    folder: &Folder,
    config: &Config,
    state: &State,
    client: Option<ClientId>,
) -> Result<String> {
    let whose = match client {
        None => "centre".to_owned(),
        Some(client) => {
            let code = state.clients.get(&client).map_or("", |client| &client.code);
            format!("client {client} {code}")
        }
    };
    let slot = match client {
        None => String::new(),
        Some(client) => format!("slot {}\n", reading::slot(folder, client)?),
    };
    Ok(format!(
        "sekisho client 1\nledger {}\n{whose}\ngeneration {}\n{slot}identity {}\nuncovered-ms-max \
         {UNCOVERED_MS_MAX}\nheartbeat-ms-max {HEARTBEAT_MS_MAX}\n{}\n{}",
        ledger::logs::places::hex(&state.ledger),
        state.log_generation,
        logs::identity_public(folder)?,
        timestamp_lines(folder, config)?,
        logs::witness_policy(folder, config)?,
    ))
}

/// The lines about time stamps in a key file; none without an authority.
fn timestamp_lines(folder: &Folder, config: &Config) -> Result<String> {
    let Some(roots) = logs::timestamp_roots(folder, config)? else {
        return Ok(String::new());
    };
    let max = config
        .logs
        .timestamp_interval_ms
        .saturating_mul(STAMPS_MISSED_MAX);
    let mut lines = format!("timestamp-ms-max {max}\n");
    for root in roots.certificates() {
        let root = base64_simd::STANDARD.encode_to_string(root);
        lines += &format!("timestamp-root {root}\n");
    }
    Ok(lines)
}

async fn key_file(given: &KeyFile) -> Result<()> {
    let folder = given.look.at.folder()?;
    let state = reading::current(&folder).await?;
    let client = given.client.as_deref();
    let client = client
        .map(|text| desk::client(&state, text).map(|(id, _)| id))
        .transpose()?;
    let text = key_text(&folder, &folder.config()?, &state, client)?;
    match &given.out {
        None => output::line(text.trim_end()),
        Some(path) => {
            write_private(path, text.as_bytes())?;
            output::line(format!(
                "{} is written. Hand it over by a way of its own, and say its first lines on the telephone.",
                path.display()
            ))
        }
    }
}

async fn rotate(given: &Rotate) -> Result<()> {
    let desk = Desk::open(&given.sign)?;
    let number = desk
        .find(|state| Ok(state.log_keys.len() as u32 + 1))
        .await?;
    let public_key = logs::new_log_key(&desk.folder, number)?;
    let change = Change::LogKey { number, public_key };
    let reply = desk.ask(&propose_request(&change)).await?;
    desk.told(
        &reply,
        &format!("Log key {number} signs, beside the one before."),
    )?;
    if desk.json() {
        return Ok(());
    }
    output::line("Then list it: sekisho ledger keys --identity FILE")
}

/// When each log key came into force, ms; the first one counts from the beginning.
fn since(folder: &Folder) -> Result<Vec<([u8; 32], u64)>> {
    let (mut proposed, mut since) = (BTreeMap::new(), Vec::new());
    for (entry, body) in reading::records(folder)? {
        match body {
            Body::Proposed {
                change,
                what: Change::LogKey { public_key, .. },
                ..
            } => {
                proposed.insert(change, public_key);
            }
            Body::InForce { change, .. } => {
                let from_ms = if since.is_empty() { 0 } else { entry.wall_ms };
                since.extend(proposed.remove(&change).map(|key| (key, from_ms)));
            }
            _ => {}
        }
    }
    Ok(since)
}

async fn keys(given: &KeysGiven) -> Result<()> {
    let folder = given.look.at.folder()?;
    let state = reading::current(&folder).await?;
    let identity = logs::identity(&given.identity, &state.ledger)?;
    let before = logs::list(&folder)?;
    let keys: Vec<ListedKey> = (1..)
        .zip(since(&folder)?)
        .map(|(number, (public, from_ms))| {
            let known = before.keys.iter().find(|key| key.number == number);
            ListedKey {
                number,
                public,
                from_ms: known.map_or(from_ms, |key| key.from_ms),
                until_ms: known.and_then(|key| key.until_ms),
            }
        })
        .collect();
    let mut list = KeyList {
        ledger: state.ledger,
        serial: before.serial + 1,
        keys,
    };
    if let Some(number) = given.retire {
        let last = list.keys.last().map(|key| key.number);
        ensure!(
            last != Some(number),
            "log key {number} is the newest one; it has to go on signing"
        );
        let key = list.keys.iter_mut().find(|key| key.number == number);
        let key = key.with_context(|| format!("there is no log key {number}"))?;
        key.until_ms.get_or_insert(crate::service::now_ms());
    }
    logs::publish_list(&folder, &list, &identity)?;
    if given.look.json {
        let keys = list.keys.iter().map(
            |key| json!({"number": key.number, "from_ms": key.from_ms, "until_ms": key.until_ms}),
        );
        return output::json(&json!({"serial": list.serial, "keys": keys.collect::<Vec<_>>()}));
    }
    output::line(format!(
        "The list of {} log keys is signed (serial {}).",
        list.keys.len(),
        list.serial
    ))
}

async fn generation(given: &GenerationGiven) -> Result<()> {
    let desk = Desk::open(&given.sign)?;
    let text = std::fs::read_to_string(&given.checkpoint)
        .with_context(|| given.checkpoint.display().to_string())?;
    let note = Note::parse(text.as_bytes())
        .with_context(|| format!("{}: is no signed note", given.checkpoint.display()))?;
    let checkpoint = Checkpoint::parse(note.text())
        .with_context(|| format!("{}: is no checkpoint", given.checkpoint.display()))?;
    let (number, origin) = desk
        .find(|state| {
            let now = Generation {
                ledger: state.ledger,
                number: state.log_generation,
            };
            Ok((state.log_generation + 1, now.origin(Tree::Root)))
        })
        .await?;
    ensure!(
        checkpoint.origin() == origin,
        "{}: is a checkpoint of {}, not of {origin}",
        given.checkpoint.display(),
        checkpoint.origin()
    );
    let change = Change::Generation {
        number,
        checkpoint: text,
        lost: given.lost.clone(),
    };
    let reply = desk.ask(&propose_request(&change)).await?;
    desk.told(&reply, &format!("The logs go on as generation {number}."))
}

async fn export(given: &Export) -> Result<()> {
    let folder = given.look.at.folder()?;
    let state = reading::current(&folder).await?;
    let clients: Vec<ClientId> = given
        .clients
        .iter()
        .map(|text| desk::client(&state, text).map(|(id, _)| id))
        .collect::<Result<_>>()?;
    ensure!(
        !clients.is_empty() || given.centre,
        "name at least one client, or --centre"
    );
    let selection = Selection {
        clients,
        centre: given.centre,
    };
    std::fs::create_dir_all(&given.to).with_context(|| given.to.display().to_string())?;
    let copied = copy_to_folder(&folder, &selection, &given.to).await?;
    if given.look.json {
        return output::json(&json!({"files": copied.files, "bytes": copied.bytes}));
    }
    output::line(format!(
        "{} files ({} bytes) are in {}.",
        copied.files,
        copied.bytes,
        given.to.display()
    ))
}

/// Brings a folder up to date.
pub async fn copy_to_folder(
    folder: &Folder,
    selection: &Selection,
    to: &Path,
) -> Result<ledger::logs::Copied> {
    let target = LocalFileSystem::new_with_prefix(to).with_context(|| to.display().to_string())?;
    let salt = folder.kept_secret(logs::SALT)?;
    let store: Arc<dyn Store> = Arc::new(store(folder)?);
    let mut mirror = Mirror::new(
        store,
        &salt,
        Arc::new(target),
        object_store::path::Path::default(),
    );
    let copied = mirror.copy(selection).await?;
    for &client in &selection.clients {
        logs::copy_list_keys(folder, client, &mut mirror).await?;
    }
    Ok(copied)
}
