//! Receipts of an installation: who gets them, and the keys that sign them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ledger::logs::{Logs, ReceiptSetup, Receipts, Receiver, SpanKey};
use ledger::{LedgerError, State};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::commands::desk;
use crate::config::{Config, ReceiptsConfig};
use crate::folder::Folder;
use crate::logs;

/// Pushes receipts from now on. To be called before anything can be released.
pub async fn start(
    folder: &Folder,
    config: &Config,
    handle: &ledger::Handle,
    logs: &Logs,
    say: Arc<dyn Fn(String) + Send + Sync>,
) -> Result<Receipts> {
    let state = handle.state();
    let given = config.logs.receipts.iter();
    let receivers: Vec<Receiver> = given
        .map(|given| receiver(folder, &state, given))
        .collect::<Result<_>>()?;
    for (place, one) in receivers.iter().enumerate() {
        ensure!(
            !receivers[..place].iter().any(|it| it.client == one.client),
            "logs.receipts: client {} twice; allowed: one table a client",
            one.client
        );
    }
    let place = folder.clone();
    let setup = ReceiptSetup {
        receivers,
        keys: Arc::new(move || span_keys(&place)),
        say,
    };
    Ok(Receipts::start(&folder.ledger(), handle, logs, setup).await?)
}

fn receiver(folder: &Folder, state: &State, given: &ReceiptsConfig) -> Result<Receiver> {
    let (client, _) = desk::client(state, &given.client).context("logs.receipts")?;
    let certificates = match &given.root_certificates {
        None => Vec::new(),
        Some(path) => certificates(&folder.path(&path.to_string_lossy()))?,
    };
    Ok(Receiver {
        client,
        url: given.url.as_str().to_owned(),
        shown_ms: given.shown_ms,
        before_release_above: given.before_release_above,
        wait_ms_max: given.wait_ms_max,
        certificates,
    })
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>> {
    let unusable = || {
        format!(
            "{}: is unusable; logs.receipts.root_certificates names certificates (PEM)",
            path.display()
        )
    };
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(unusable)?;
    ensure!(!found.is_empty(), unusable());
    Ok(found.iter().map(|it| it.as_ref().to_vec()).collect())
}

/// The log keys of the signed list whose seeds are here.
fn span_keys(folder: &Folder) -> Result<Vec<SpanKey>, LedgerError> {
    let list = logs::list(folder).map_err(|error| LedgerError::Setting(format!("{error:#}")))?;
    let mut keys = Vec::new();
    for key in list.keys {
        let Ok(bytes) = fs::read(folder.path(&logs::seed_name(key.number))) else {
            continue;
        };
        if let Some(seed) = logs::own_seed(bytes, &key.public) {
            keys.push(SpanKey {
                seed,
                from_ms: key.from_ms,
                until_ms: key.until_ms,
            });
        }
    }
    Ok(keys)
}
