//! `sekisho ledger`: the logs that leave the system, and what clients check them with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use event::ClientId;
use ledger::State;
use ledger::logs::publish::checkpoint_path;
use ledger::logs::{DiskStore, Mirror, Selection, Store, Tree};
use object_store::local::LocalFileSystem;
use serde_json::json;
use tlog::{Checkpoint, Note};

use super::{Look, desk, output};
use crate::config::Config;
use crate::folder::{Folder, write_private};
use crate::{logs, reading};

/// Longest checkpoint with its signatures, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 64 << 10;
/// What clients are told: uncovered for longer than this is named, ms.
const UNCOVERED_MS_MAX: u64 = 3_600_000;
/// And leaves of the root log further apart than this, ms.
const HEARTBEAT_MS_MAX: u64 = 180_000;

/// What can be done with the logs.
#[derive(Subcommand)]
pub enum LedgerCommand {
    /// How far the logs are published.
    #[command(after_help = "Example:\n  sekisho ledger status --json")]
    Status(Look),
    /// Writes the file that a client checks its log with.
    #[command(after_help = "\
Example:
  sekisho ledger key-file acme --out acme.sekisho

It holds no secret. Hand it over once, in person or on paper: with it the client checks all that it
is given later, so it must not come by the same way.

Next: `sekisho ledger export acme --to DIR`; the client runs `sekisho-verify check`.")]
    KeyFile(KeyFile),
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

/// Does it.
pub async fn run(what: LedgerCommand) -> Result<()> {
    match what {
        LedgerCommand::Status(look) => status(&look).await,
        LedgerCommand::KeyFile(given) => key_file(&given).await,
        LedgerCommand::Export(given) => export(&given).await,
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
    if look.json {
        return Ok(());
    }
    if rows.is_empty() {
        return output::line("Nothing is published yet; `sekisho serve` does it.");
    }
    output::table(&["log", "entries", "root"], &rows)
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
    Ok(format!(
        "sekisho client 1\nledger {}\n{whose}\ngeneration {}\nidentity {}\nuncovered-ms-max \
         {UNCOVERED_MS_MAX}\nheartbeat-ms-max {HEARTBEAT_MS_MAX}\n\n{}",
        ledger::logs::places::hex(&state.ledger),
        state.log_generation,
        logs::identity_public(folder)?,
        logs::witness_policy(folder, config)?,
    ))
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
