//! `sekisho serve`: the gate over an open installation, its PostgreSQL, and its commands.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use event::Role;
use gate::{Address, Gate, Listen, Parts, ServerTls, Stopper, Upstream, UpstreamLogin};
use postgres_embedded::{Binaries, Password, Roles, Server, UpstreamRole};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use crate::admin::{self, Opened};
use crate::config::Config;
use crate::folder::Folder;
use crate::terminals::Listening;
use crate::watching::counters::{self, Counting};

/// PostgreSQL, as the gate and the commands use it.
pub struct Database {
    /// The embedded server, if there is one; stopped when dropped.
    pub server: Option<Server>,
    /// Where it is.
    pub upstream: Upstream,
    /// Accounts by role of actors.
    pub logins: HashMap<Role, UpstreamLogin>,
    /// The account that owns sealed tables.
    pub owner: UpstreamLogin,
    /// The account that looks at the catalogue.
    pub catalogue: UpstreamLogin,
}

/// A gate that serves.
pub struct Running {
    /// Where it listens.
    pub places: Vec<Listen>,
    /// Where terminals' agents connect.
    pub terminals: Listening,
    /// Stops it.
    pub stopper: Stopper,
    /// What goes through it from sealed tables.
    pub tally: Arc<gate::Tally>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    commands: tokio::task::JoinHandle<()>,
}

/// Starts or names PostgreSQL.
pub async fn database(
    folder: &Folder,
    config: &Config,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<Database> {
    if config.postgresql.embedded {
        embedded(folder, config, say).await
    } else {
        external(folder, config)
    }
}

async fn embedded(
    folder: &Folder,
    config: &Config,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<Database> {
    let cache = postgres_embedded::default_cache();
    let binaries = Binaries::find(config.postgresql.binaries.as_deref(), &cache, say).await?;
    say(format!(
        "PostgreSQL {} from {} ({})",
        binaries.version,
        binaries.bin.display(),
        binaries.source
    ));
    let place = postgres_embedded::folder_for(folder.root());
    let secret = folder.path("secrets/postgres");
    if place.join("data").exists() && !secret.exists() {
        bail!(
            "{}: is missing, and the database in {} was made with it; restore it from the backup of secrets/",
            secret.display(),
            place.display()
        );
    }
    let password = Password::new(hex(&folder.secret("secrets/postgres")?));
    let options = postgres_embedded::Options {
        binaries,
        folder: place,
        listen: postgres_embedded::Listen::Socket,
        password,
        settings: Vec::new(),
        limits: postgres_embedded::Limits::default(),
    };
    let server = Server::start(options).await?;
    let mut client = server.connect("postgres").await?;
    let roles = postgres_embedded::create_roles(&mut client, server.is_isolated()).await?;
    let login = |role: UpstreamRole| of_role(&roles, role);
    let logins = [
        (Role::Operator, UpstreamRole::Operator),
        (Role::Supervisor, UpstreamRole::Operator),
        (Role::Maintainer, UpstreamRole::Maintainer),
        (Role::Importer, UpstreamRole::Importer),
    ];
    let logins = logins
        .into_iter()
        .map(|(role, account)| Ok((role, login(account)?)))
        .collect::<Result<_>>()?;
    let socket = server
        .socket_dir()
        .join(format!(".s.PGSQL.{}", server.port()));
    Ok(Database {
        upstream: Upstream {
            address: Address::Unix(socket),
            tls: None,
            connect_ms_max: config.limits.upstream_ms_max,
        },
        logins,
        owner: login(UpstreamRole::Owner)?,
        catalogue: login(UpstreamRole::Catalogue)?,
        server: Some(server),
    })
}

fn of_role(roles: &Roles, role: UpstreamRole) -> Result<UpstreamLogin> {
    let password = roles.password(role).context("a role has no password")?;
    Ok(UpstreamLogin {
        user: role.name().to_owned(),
        password: Zeroizing::new(password.expose().to_owned()),
    })
}

fn external(folder: &Folder, config: &Config) -> Result<Database> {
    let postgresql = &config.postgresql;
    let host = postgresql
        .host
        .clone()
        .context("postgresql.host is missing")?;
    let port = postgresql.port.unwrap_or(5432);
    let path = folder.path("secrets/upstream.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: cannot be read; write a line `account = \"password\"` for each account of [postgresql.users]", path.display()))?;
    let passwords: HashMap<String, String> = toml::from_str(&text).map_err(|_| {
        anyhow::anyhow!("{}: is no list of `account = \"password\"`", path.display())
    })?;
    let login = |name: &str| -> Result<UpstreamLogin> {
        let user = postgresql
            .users
            .get(name)
            .with_context(|| format!("postgresql.users.{name} is missing"))?;
        let password = passwords
            .get(user)
            .with_context(|| format!("{}: no password for {user}", path.display()))?;
        Ok(UpstreamLogin {
            user: user.clone(),
            password: Zeroizing::new(password.clone()),
        })
    };
    let mut logins = HashMap::new();
    for role in Role::ALL {
        if postgresql.users.contains_key(role.name()) {
            logins.insert(*role, login(role.name())?);
        }
    }
    let address = if host.starts_with('/') {
        Address::Unix(Path::new(&host).join(format!(".s.PGSQL.{port}")))
    } else {
        Address::Tcp(host, port)
    };
    let tls = postgresql
        .root_certificates
        .as_deref()
        .map(client_tls)
        .transpose()?;
    Ok(Database {
        server: None,
        upstream: Upstream {
            address,
            tls,
            connect_ms_max: config.limits.upstream_ms_max,
        },
        logins,
        owner: login("owner")?,
        catalogue: login("catalogue")?,
    })
}

fn client_tls(path: &Path) -> Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).with_context(|| path.display().to_string())?
    {
        roots
            .add(certificate?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(Arc::new(
        rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    ))
}

fn server_tls(folder: &Folder) -> Result<ServerTls> {
    let path = folder.path("tls/certificate.pem");
    let unusable = |path: &Path| {
        format!(
            "{}: is unusable; put a certificate and its key (PEM) in tls/, or listen.tls = false on loopback",
            path.display()
        )
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect)
        .with_context(|| unusable(&path))?;
    let first = chain
        .first()
        .with_context(|| format!("{}: holds no certificate", path.display()))?;
    let end_point = pgwire::scram::tls_server_end_point(first).with_context(|| {
        format!(
            "{}: has no channel binding; use an ECDSA or RSA certificate with SHA-256",
            path.display()
        )
    })?;
    let path = folder.path("tls/key.pem");
    let key = PrivateKeyDer::from_pem_file(&path).with_context(|| unusable(&path))?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("tls: certificate and key do not belong together")?;
    Ok(ServerTls {
        config: Arc::new(config),
        end_point,
    })
}

/// Starts the gate over an open installation.
pub async fn start(
    folder: &Folder,
    config: &Config,
    opened: &Opened,
    database: &Database,
    watch: Arc<crate::watching::live::Board>,
) -> Result<Running> {
    opened
        .service
        .use_database(database.upstream.clone(), database.owner.clone());
    let parts = Parts {
        limits: config.limits.clone(),
        recorder: opened.recorder.handle(),
        keyring: Arc::clone(&opened.keyring),
        verifiers: Arc::clone(&opened.verifiers) as Arc<dyn gate::Verifiers>,
        upstream: database.upstream.clone(),
        tls: if config.listen.tls {
            Some(server_tls(folder)?)
        } else {
            None
        },
        mock_secret: folder.secret("secrets/mock")?,
        logins: database.logins.clone(),
        catalogue_login: database.catalogue.clone(),
    };
    let gate = Gate::new(parts).map_err(anyhow::Error::msg)?;
    let stopper = gate.stopper();
    let beside = (gate.door(), watch);
    let terminals = crate::terminals::start(folder, &config.terminals, opened, beside).await?;
    let tally = gate.tally();
    let places = config.places(folder.root());
    for place in &places {
        if let Listen::Unix(path) = place {
            // The folder's lock is ours: what stands there is left over.
            let _ = std::fs::remove_file(path);
        }
    }
    let wanted: Vec<String> = places.iter().map(named).collect();
    let (sender, bound) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        gate.serve(&places, |bound| {
            let _ = sender.send(bound);
        })
        .await
    });
    let Ok(places) = bound.await else {
        match task.await? {
            Err(error) => {
                bail!(
                    "cannot listen at {}: {error}; is another gate running, the port taken, or the address not this machine's?",
                    wanted.join(", ")
                )
            }
            Ok(()) => bail!("the gate ended at once"),
        }
    };
    let commands = admin::serve(folder, Arc::clone(&opened.service)).await?;
    Ok(Running {
        places,
        terminals,
        stopper,
        tally,
        task,
        commands,
    })
}

impl Running {
    /// Waits until it has stopped.
    pub async fn ended(self) -> Result<()> {
        let ended = self.task.await?;
        self.commands.abort();
        ended.context("the gate failed")
    }
}

/// The whole command.
pub async fn serve(folder: &Folder) -> Result<()> {
    let config = folder.config()?;
    let opened = admin::open(folder)?;
    for line in crate::doctor::at_start(folder, &opened) {
        eprintln!("sekisho: {line}");
    }
    let mut say = |line: String| eprintln!("sekisho: {line}");
    opened.service.destroy_keys().await?;
    let told = Arc::new(|line: String| eprintln!("sekisho: {line}"));
    let handle = opened.recorder.handle();
    let logs = crate::logs::start(folder, &config, handle.clone(), told.clone()).await?;
    let receipts = crate::receipts::start(folder, &config, &handle, &logs, told.clone()).await?;
    // Only a ledger that continues what was published and promised may destroy anything.
    let lists = crate::retention::keep(folder, handle.clone(), &opened.keyring, told.clone());
    let copies = crate::logs::publish(folder, &config, handle, told.clone())?;
    let database = database(folder, &config, &mut say).await?;
    // Before we listen: who waits for that may stop us at once.
    let signals = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let told_too = told.clone();
    let watch = crate::watching::start(folder, &config, &opened, told).await?;
    let running = start(folder, &config, &opened, &database, watch.board()).await?;
    tokio::spawn(stop_on_signals(running.stopper.clone(), signals));
    let counting = Counting::start(counters::Setup {
        upstream: database.upstream.clone(),
        login: database.catalogue.clone(),
        tally: Arc::clone(&running.tally),
        handle: opened.recorder.handle(),
        board: watch.board(),
        every: Duration::from_secs(config.watch.counters_s),
        file: folder.path("counters.json"),
        say: told_too,
    });
    for place in &running.places {
        say(format!("listening at {}", named(place)));
    }
    if let Some(at) = running.terminals.at {
        say(format!("listening for terminals at {at}"));
    }
    let ended = until_ended(running, database.server, counting).await;
    lists.abort();
    watch.finish().await;
    // Closes the recorder: its last record is published, too.
    drop(opened);
    let published = logs.finish().await;
    receipts.finish().await;
    published?;
    if let Some(copies) = copies {
        copies.abort();
    }
    say("stopped".to_owned());
    ended
}

/// Serves until the gate has stopped, or the embedded server ended by itself: without it the gate
/// answers nobody, so the command fails and whoever watches services starts it again.
async fn until_ended(running: Running, server: Option<Server>, counting: Counting) -> Result<()> {
    let Some(mut server) = server else {
        let ended = running.ended().await;
        counting.finish().await;
        return ended;
    };
    let stopper = running.stopper.clone();
    let mut gate = std::pin::pin!(running.ended());
    let status = tokio::select! {
        ended = &mut gate => {
            counting.finish().await;
            server.stop().await?;
            return ended;
        }
        status = server.ended() => status?,
    };
    stopper.now();
    gate.await?;
    bail!(
        "the embedded PostgreSQL ended by itself ({status}); its log is in {}; start `sekisho serve` again",
        server.log_dir().display()
    )
}

fn named(place: &Listen) -> String {
    match place {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => path.display().to_string(),
    }
}

/// SIGTERM or SIGINT drains; a second one stops now.
async fn stop_on_signals(stopper: Stopper, (mut term, mut int): (Signal, Signal)) {
    let mut first = true;
    loop {
        tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
        if first {
            eprintln!("sekisho: stopping; sessions end with their transaction (again: now)");
            stopper.drain();
        } else {
            stopper.now();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        first = false;
    }
}

/// Bytes in hexadecimal digits: the password of the embedded server.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
