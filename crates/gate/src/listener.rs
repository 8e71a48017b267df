//! Accepting connections, cancelling, stopping.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use event::Digest;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;

use crate::catalogue::Catalogues;
use crate::copies::Copies;
use crate::login::{self, Fresh, Start};
use crate::session;
use crate::shared::{Parts, Shared};

/// How long the end of a cancelling connection may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A place to listen at.
#[derive(Clone, Debug)]
pub enum Listen {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket; the path must not exist.
    Unix(PathBuf),
}

/// A gate that is ready to serve.
pub struct Gate {
    shared: Arc<Shared>,
    stop: watch::Receiver<Stop>,
    stopper: Stopper,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    No,
    /// No new sessions; those under way finish their transaction.
    Drain,
    Now,
}

/// Stops a gate.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<watch::Sender<Stop>>);

impl Stopper {
    /// No new sessions; each session ends when it is idle, or after `drain_ms_max`.
    pub fn drain(&self) {
        self.0.send_if_modified(|stop| {
            let changes = *stop == Stop::No;
            if changes {
                *stop = Stop::Drain;
            }
            changes
        });
    }

    /// Ends everything at once. Nothing that was released is without its record.
    pub fn now(&self) {
        self.0.send_replace(Stop::Now);
    }
}

/// Where sessions come in that somebody else accepted.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

impl Door {
    /// Copies to company media that wait to be confirmed in a session.
    pub fn copies(&self) -> Copies {
        self.0.copies.clone()
    }

    /// Serves a session of the terminal that has proven its key, as one from the network: the stream
    /// speaks PostgreSQL's protocol. Waits for a place.
    pub async fn serve(&self, stream: TlsStream<TcpStream>, terminal: Digest) {
        if !self.0.is_draining.load(Ordering::Acquire) {
            serve(&self.0, Fresh::Terminal(Box::new(stream), terminal)).await;
        }
    }
}

impl Gate {
    /// Checks what is in force and makes a gate of its parts.
    ///
    /// # Errors
    /// If policy or numbers in force cannot be read.
    pub fn new(parts: Parts) -> Result<Self, String> {
        let (sender, stop) = watch::channel(Stop::No);
        Ok(Self {
            shared: Shared::new(parts)?,
            stop,
            stopper: Stopper(Arc::new(sender)),
        })
    }

    /// What stops it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Where sessions come in that terminals' agents pass on.
    pub fn door(&self) -> Door {
        Door(Arc::clone(&self.shared))
    }

    /// What went through from sealed tables, to be compared with what PostgreSQL counted.
    pub fn tally(&self) -> Arc<crate::Tally> {
        Arc::clone(&self.shared.tally)
    }

    /// Sessions at the moment.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.load(Ordering::Relaxed)
    }

    /// Binds the places; `ready` is told the addresses, then sessions are served until it is
    /// stopped.
    ///
    /// # Errors
    /// If a place cannot be listened at, or is off loopback without TLS.
    pub async fn serve(
        self,
        places: &[Listen],
        ready: impl FnOnce(Vec<Listen>),
    ) -> std::io::Result<()> {
        let mut bound = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for place in places {
            match place {
                Listen::Tcp(address) => {
                    if !address.ip().is_loopback() && self.shared.tls.is_none() {
                        return Err(std::io::Error::new(
                            std::io::ErrorKind::InvalidInput,
                            format!("{address} is not loopback: TLS is required there"),
                        ));
                    }
                    let listener = TcpListener::bind(address).await?;
                    bound.push(Listen::Tcp(listener.local_addr()?));
                    tasks.spawn(accept_tcp(Arc::clone(&self.shared), listener));
                }
                Listen::Unix(path) => {
                    let listener = UnixListener::bind(path)?;
                    bound.push(Listen::Unix(path.clone()));
                    tasks.spawn(accept_unix(Arc::clone(&self.shared), listener));
                }
            }
        }
        tasks.spawn(Catalogues::keep_fresh(Arc::clone(&self.shared)));
        ready(bound);
        self.wait(tasks).await;
        Ok(())
    }

    async fn wait(self, mut accepting: tokio::task::JoinSet<()>) {
        let mut stop = self.stop;
        let stopped = stop.wait_for(|stop| *stop != Stop::No).await;
        drop(stopped);
        accepting.abort_all();
        self.shared.is_draining.store(true, Ordering::Release);
        let deadline = Instant::now() + Duration::from_millis(self.shared.limits.drain_ms_max);
        while self.shared.sessions.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            self.shared.draining.notify_waiters();
            let soon = Duration::from_millis(50);
            if timeout(soon, stop.wait_for(|stop| *stop == Stop::Now))
                .await
                .is_ok()
            {
                break;
            }
        }
    }
}

async fn accept_tcp(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => serve(&shared, Fresh::Tcp(stream, peer)).await,
            Err(_) => breathe().await,
        }
    }
}

async fn accept_unix(shared: Arc<Shared>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(&shared, Fresh::Unix(stream)).await,
            Err(_) => breathe().await,
        }
    }
}

/// Out of file descriptors, mostly: accepting again at once would spin.
async fn breathe() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Waits for a place (full means that the listen queue fills), then serves on a task of its own.
async fn serve(shared: &Arc<Shared>, fresh: Fresh) {
    let Ok(place) = Arc::clone(&shared.places).acquire_owned().await else {
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let limit = Duration::from_millis(shared.limits.login_ms_max);
        match timeout(limit, login::start(Arc::clone(&shared), fresh)).await {
            Ok(Ok(Start::LoggedIn(driver))) => {
                let _entered = shared.entered();
                session::serve(shared, *driver).await;
            }
            Ok(Ok(Start::Cancel {
                pid,
                secret,
                mut stream,
            })) => {
                let key = (pid, secret);
                let known = shared
                    .cancels
                    .lock()
                    .expect("no panic while it is held")
                    .get(&key)
                    .cloned();
                if let Some((pid, secret)) = known {
                    let _ = shared.upstream.cancel(pid, secret).await;
                }
                // In TLS a driver takes an end without a word for an attack, and its cancel for lost.
                let _ = timeout(CLOSE_MAX, stream.shutdown()).await;
            }
            Ok(Ok(Start::Over) | Err(_)) | Err(_) => {}
        }
        drop(place);
    });
}
