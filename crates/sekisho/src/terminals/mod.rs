//! Terminals at the gate: their agents report here over mutual TLS, and pass sessions on.
//!
//! Invariants: a connection is whose key its handshake proved; what a terminal reported is
//! acknowledged when its record is durable; nobody is healthy but by a heartbeat read here, and no
//! longer than heartbeats come.

mod agent;
pub mod config;
mod copy;
mod frames;
pub mod posture;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use event::Digest;
use gate::Door;
use ledger::Handle;
use ledger::terminals::Standing;
use seal::Keyring;
use terminal::copy::ALPN_COPY;
use terminal::wire;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::config::TerminalsConfig;
use self::posture::Board;
use crate::admin::Opened;
use crate::folder::Folder;
use crate::watching::live;

pub use self::tls::certificate_pin;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What a connection of a terminal needs.
#[derive(Clone)]
struct Parts {
    handle: Handle,
    board: Arc<Board>,
    door: Door,
    /// Knows clients' fingerprints.
    keyring: Arc<Keyring>,
    /// Knows fictitious people.
    watch: Arc<live::Board>,
}

/// The listener for terminals; ends when it is dropped.
pub struct Listening {
    /// Where; `None`: nowhere, there are terminals by evidence alone.
    pub at: Option<std::net::SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Judges terminals, and listens for their agents where the configuration says so.
///
/// # Errors
/// If the place cannot be listened at, or the certificate is not usable.
pub async fn start(
    folder: &Folder,
    config: &TerminalsConfig,
    opened: &Opened,
    (door, watch): (Door, Arc<live::Board>),
) -> Result<Listening> {
    let handle = opened.recorder.handle();
    let board = Arc::new(Board::new(config.agents.clone()));
    let mut tasks = vec![tokio::spawn(posture::keep(
        Arc::clone(&board),
        handle.clone(),
    ))];
    let Some(address) = config.listen else {
        return Ok(Listening { at: None, tasks });
    };
    let acceptor = TlsAcceptor::from(tls::server(folder)?);
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("terminals.listen: cannot listen at {address}; is the port taken, or the address not this machine's?")
    })?;
    let at = listener.local_addr()?;
    let parts = Parts {
        handle,
        board,
        door,
        keyring: Arc::clone(&opened.keyring),
        watch,
    };
    let places = Arc::new(Semaphore::new(config.connections_max));
    tasks.push(tokio::spawn(accept(listener, acceptor, places, parts)));
    let at = Some(at);
    Ok(Listening { at, tasks })
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    places: Arc<Semaphore>,
    parts: Parts,
) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors, mostly: accepting again at once would spin.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let (acceptor, parts) = (acceptor.clone(), parts.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                serve(stream, &parts, place).await;
            }
        });
    }
}

/// What the agent wants, by the protocol that it named in its handshake.
async fn serve(stream: TlsStream<TcpStream>, parts: &Parts, place: OwnedSemaphorePermit) {
    let (_, connection) = stream.get_ref();
    let Some(of) = tls::who(connection) else {
        return;
    };
    match connection.alpn_protocol() {
        Some(wire::ALPN_TERMINAL) => agent::serve(stream, of, parts).await,
        Some(wire::ALPN_SESSION) if standing(&parts.handle, &of) == Some(Standing::Approved) => {
            // From here on it holds a session's place.
            drop(place);
            parts.door.serve(stream.into(), of).await;
        }
        Some(ALPN_COPY) if standing(&parts.handle, &of) == Some(Standing::Approved) => {
            copy::serve(stream, of, parts).await;
        }
        _ => {}
    }
}

/// What stands for the key of a terminal without an agent: SHA-256 of its name.
pub fn nameless(name: &str) -> Digest {
    let mut named = b"sekisho terminal without an agent\0".to_vec();
    named.extend_from_slice(name.as_bytes());
    Digest(terminal::sha256(&named))
}

/// Whether two names are one computer's: one of them may lack its domain.
pub fn same_computer(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let shortened = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    !one.is_empty() && !other.is_empty() && (shortened(&one, &other) || shortened(&other, &one))
}

fn standing(handle: &Handle, of: &Digest) -> Option<Standing> {
    let state = handle.state();
    state.terminals.all.get(of).map(|it| it.standing)
}
