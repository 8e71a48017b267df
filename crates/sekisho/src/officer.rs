//! The officer's file (docs/format/logs.md): the keys that open a client's lists and fingerprints, on
//! their way out of the system.
//!
//! Invariants: two approvers allowed it, once; it is on record, in the client's own log, before a key
//! is in the file; the keys go into that file and nowhere else: not into a reply, not to a terminal.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64_simd::URL_SAFE_NO_PAD;
use event::record::Body;
use event::{ActorId, ClientId, LogId};
use ledger::logs::places::hex;
use seal::{Keyring, OfficerKeys};
use zeroize::Zeroizing;

/// Makes a client's officer's file.
pub async fn make(
    recorder: &ledger::Handle,
    keyring: &Arc<Keyring>,
    by: ActorId,
    client: ClientId,
    out: &str,
) -> Result<()> {
    let state = recorder.state();
    let known = state.clients.get(&client);
    ensure!(
        known.is_some_and(|known| known.officer_file),
        "no officer's file of client {client} is approved; each needs two approvers anew"
    );
    let out = PathBuf::from(out);
    ensure!(out.is_absolute(), "{}: is no absolute path", out.display());
    let (keyring, ledger) = (Arc::clone(keyring), state.ledger);
    let (path, file, keys) = tokio::task::spawn_blocking(move || {
        let keys = keyring.officer_keys(client)?;
        // Whether it can be written is known before the approval is used up.
        create(&out).map(|file| (out, file, keys))
    })
    .await??;
    let body = Body::OfficerFile { by };
    if let Err(refusal) = recorder.record(LogId::Client(client), body).await {
        let _ = fs::remove_file(&path);
        return Err(refusal.into());
    }
    let text = text(&ledger, client, &keys);
    tokio::task::spawn_blocking(move || write(file, &path, &text)).await?
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{}: cannot be made", path.display()))
}

/// Into the file that was made: its name may be another's by now.
fn write(mut file: File, path: &Path, text: &str) -> Result<()> {
    let mut written = || -> std::io::Result<()> {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    written().with_context(|| {
        format!(
            "{}: cannot be written; remove it, and let two approvers sign anew",
            path.display()
        )
    })
}

fn text(ledger: &[u8; 16], client: ClientId, keys: &OfficerKeys) -> Zeroizing<String> {
    // Long enough for all of it: no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(&format!(
        "sekisho officer 1\nledger {}\nclient {client}\n",
        hex(ledger)
    ));
    for (word, key) in [("fingerprint", &keys.fingerprint), ("lists", &keys.lists)] {
        text.push_str(word);
        text.push(' ');
        URL_SAFE_NO_PAD.encode_append(key.as_slice(), &mut *text);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// Whoever takes the file's name before the keys are written gets none, and loses nothing.
    #[test]
    fn keys_go_into_the_file_that_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let [path, moved, other] = ["officer", "moved", "other"].map(|it| folder.path().join(it));
        let file = create(&path).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(create(&path).is_err(), "it is nobody's file before");
        fs::rename(&path, &moved).unwrap();
        fs::write(&other, "of someone").unwrap();
        symlink(&other, &path).unwrap();
        write(file, &path, "keys").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "keys");
        assert_eq!(fs::read_to_string(&other).unwrap(), "of someone");
        assert!(create(&path).is_err(), "nor is a link followed");
    }
}
