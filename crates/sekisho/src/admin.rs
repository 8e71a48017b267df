//! Commands and the process that holds the ledger: over `admin.sock` when `serve` runs, else in the
//! command's own process, which takes the folder's lock.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64_simd::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::folder::Folder;
use crate::keys::{self, Lists};
use crate::people::{SigningKey, VerifierFile, random};
use crate::service::{Reply, Request, Service, Signed, now_ms};

/// Longest request, in bytes (a policy or a pin goes through whole).
const REQUEST_BYTES_MAX: u64 = 4 << 20;
/// How long a request may take to arrive.
const REQUEST_MS_MAX: u64 = 10_000;
/// Commands at once.
const COMMANDS_MAX: usize = 16;

/// Who makes a request, with the key that shows it.
pub struct Signer {
    /// The actor's number.
    pub actor: u32,
    /// His key.
    pub key: SigningKey,
}

/// Someone who carries out requests.
pub enum Office {
    /// A running `serve`.
    Remote(PathBuf, [u8; 16]),
    /// This process; the recorder is closed when it is dropped.
    Local(Box<Opened>),
}

/// An open installation.
pub struct Opened {
    /// What requests go to.
    pub service: Arc<Service>,
    /// The ledger.
    pub recorder: ledger::Recorder,
    /// The clients' keys.
    pub keyring: Arc<seal::Keyring>,
    /// The verifiers.
    pub verifiers: Arc<VerifierFile>,
}

/// Opens ledger and keys of a folder; takes its lock. Asks for the master key's passphrase.
pub fn open(folder: &Folder) -> Result<Opened> {
    open_keyring(folder, keys::open(&folder.path("keys"))?)
}

/// The same with a passphrase.
pub fn open_with(folder: &Folder, passphrase: &str) -> Result<Opened> {
    open_keyring(folder, keys::open_with(&folder.path("keys"), passphrase)?)
}

fn open_keyring(folder: &Folder, keyring: Arc<seal::Keyring>) -> Result<Opened> {
    let config = folder.config()?;
    let options = ledger::Options {
        segment_bytes: config.ledger.segment_bytes,
        hot_segments: config.ledger.hot_segments,
        policy_looser: Arc::new(policy_looser),
        uncovered_subjects_max: config
            .logs
            .witnesses
            .is_some()
            .then_some(config.logs.uncovered_subjects_max),
        uncovered_wait_ms_max: config.logs.uncovered_wait_ms_max,
        ..ledger::Options::default()
    };
    crate::watching::centre_keys(&keyring)?;
    let sealer = Arc::new(Lists(Arc::clone(&keyring)));
    let (recorder, _) = ledger::Recorder::open(&folder.ledger(), sealer, options)?;
    let verifiers = VerifierFile::open(&folder.path("secrets/verifiers.json"))?;
    let service = Service::new(
        recorder.handle(),
        Arc::clone(&keyring),
        Arc::clone(&verifiers),
        folder.ledger(),
    );
    Ok(Opened {
        service: Arc::new(service),
        recorder,
        keyring,
        verifiers,
    })
}

/// Whether a policy is looser than the one in force; one that cannot be read counts as looser.
pub fn policy_looser(
    in_force: Option<&ledger::state::PolicyText>,
    cedar: &str,
    masks: &str,
) -> bool {
    let Ok(new) = policy::Policy::parse(cedar, masks) else {
        return true;
    };
    match in_force {
        None => true,
        Some(text) => match policy::Policy::parse(&text.cedar, &text.masks) {
            Ok(old) => new.looser_than(&old),
            Err(_) => true,
        },
    }
}

impl Office {
    /// The process that holds the ledger of a folder.
    pub async fn of(folder: &Folder) -> Result<Self> {
        let socket = folder.path("admin.sock");
        if UnixStream::connect(&socket).await.is_ok() {
            return Ok(Self::Remote(socket, crate::reading::state(folder)?.ledger));
        }
        Ok(Self::Local(Box::new(open(folder)?)))
    }

    fn ledger(&self) -> [u8; 16] {
        match self {
            Self::Remote(_, ledger) => *ledger,
            Self::Local(opened) => opened.service.recorder().state().ledger,
        }
    }

    /// Makes a request and gives what came of it.
    pub async fn ask(&self, request: &Request, signer: Option<&Signer>) -> Result<Reply> {
        let body = serde_json::to_string(request)?;
        let at_ms = now_ms();
        let nonce = u64::from_be_bytes(random::<8>()?);
        let signature = signer.map(|signer| {
            let message = Signed::message(&self.ledger(), signer.actor, at_ms, nonce, &body);
            STANDARD.encode_to_string(signer.key.sign(&message))
        });
        let signed = Signed {
            actor: signer.map(|signer| signer.actor),
            at_ms,
            nonce,
            body,
            signature: signature.unwrap_or_default(),
        };
        let reply = match self {
            Self::Local(opened) => opened.service.carry_out(&signed).await,
            Self::Remote(socket, _) => send(socket, &signed).await?,
        };
        match reply.error {
            Some(error) => bail!("{error}"),
            None => Ok(reply),
        }
    }
}

/// How far a running `serve` is; `None` if none runs.
pub async fn ping(folder: &Folder) -> Option<u64> {
    let signed = Signed {
        actor: None,
        at_ms: now_ms(),
        nonce: 0,
        body: serde_json::to_string(&Request::Ping).ok()?,
        signature: String::new(),
    };
    send(&folder.path("admin.sock"), &signed)
        .await
        .ok()?
        .decisions
}

async fn send(socket: &Path, signed: &Signed) -> Result<Reply> {
    let gone = || {
        format!(
            "{}: the running `sekisho serve` does not answer",
            socket.display()
        )
    };
    let mut stream = UnixStream::connect(socket).await.with_context(gone)?;
    let mut line = serde_json::to_vec(signed)?;
    line.push(b'\n');
    stream.write_all(&line).await.with_context(gone)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .await
        .with_context(gone)?;
    serde_json::from_str(&answer).with_context(gone)
}

/// Serves commands at `admin.sock` until the task is ended.
pub async fn serve(folder: &Folder, service: Arc<Service>) -> Result<tokio::task::JoinHandle<()>> {
    let socket = folder.path("admin.sock");
    // The folder's lock is ours: what stands there is left over.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).with_context(|| socket.display().to_string())?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
    let places = Arc::new(tokio::sync::Semaphore::new(COMMANDS_MAX));
    Ok(tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                // A command that goes away or stalls loses its place, nothing else.
                let _ = answer(stream, &service).await;
                drop(place);
            });
        }
    }))
}

async fn answer(mut stream: UnixStream, service: &Service) -> Result<()> {
    let mut line = String::new();
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read.take(REQUEST_BYTES_MAX));
    tokio::time::timeout(
        Duration::from_millis(REQUEST_MS_MAX),
        read.read_line(&mut line),
    )
    .await??;
    let reply = match serde_json::from_str(&line) {
        Ok(signed) => service.carry_out(&signed).await,
        Err(error) => Reply {
            error: Some(format!("the request cannot be read: {error}")),
            ..Reply::default()
        },
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    Ok(())
}
