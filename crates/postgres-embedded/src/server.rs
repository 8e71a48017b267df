//! The server's life: start, ready, stop.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::folder::{Layout, SocketFolder};
use crate::identity::Identity;
use crate::{Binaries, Password, ServerError, orphan};

/// The name of the server's superuser, which is Sekisho's own.
const SUPERUSER: &str = "sekisho";

/// The number in the socket's name where there is no TCP port.
const SOCKET_PORT: u16 = 5432;

/// How often a free port is looked for anew when another program was quicker.
const FREE_PORT_TRIES_MAX: u32 = 5;

/// How often is looked whether the server is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Bytes of a log that an error quotes.
const LOG_TAIL_BYTES_MAX: usize = 2_000;

/// Settings that keep statements and parameters out of the server's log (design/postgres.md), for
/// the server and again for each role.
pub(crate) const LOG_SETTINGS: [(&str, &str); 6] = [
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
];

/// Settings of the server that a caller may override.
const DEFAULTS: [(&str, &str); 1] = [("max_connections", "200")];

/// Settings that nobody overrides: the command line stands above ALTER SYSTEM.
const FIXED: [(&str, &str); 13] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("password_encryption", "scram-sha-256"),
    ("unix_socket_permissions", "0700"),
    ("lc_messages", "C"),
    ("logging_collector", "on"),
    ("log_destination", "stderr"),
    ("log_directory", "log"),
    // A file for each day of the month, written over a month later.
    ("log_filename", "server-%d.log"),
    ("log_file_mode", "0600"),
    ("log_rotation_age", "1d"),
    ("log_rotation_size", "0"),
    ("log_truncate_on_rotation", "on"),
];

/// A TCP port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// Any that is free.
    Free,
    /// This one.
    Fixed(u16),
}

/// Where the server listens. It always listens on a Unix socket of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listen {
    /// The Unix socket only.
    Socket,
    /// Also 127.0.0.1.
    Loopback(Port),
}

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Making a new database cluster.
    pub initdb_max: Duration,
    /// Becoming ready, recovery after a crash included.
    pub ready_max: Duration,
    /// Each step of stopping: in order, at once, by force.
    pub stop_max: Duration,
    /// Connecting.
    pub connect_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            initdb_max: Duration::from_secs(120),
            ready_max: Duration::from_secs(120),
            stop_max: Duration::from_secs(20),
            connect_max: Duration::from_secs(10),
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The programs.
    pub binaries: Binaries,
    /// The server's own folder ([`crate::folder_for`]); made if it is not there.
    pub folder: PathBuf,
    /// Where it listens.
    pub listen: Listen,
    /// The password of the superuser `sekisho`. It is set when the database is made; keep it with
    /// the gate's keys, a later start needs the same.
    pub password: Password,
    /// Further settings of PostgreSQL, name and value. Those of the log, of fsync and of the
    /// addresses cannot be overridden.
    pub settings: Vec<(String, String)>,
    /// How long things may take.
    pub limits: Limits,
}

/// A running server. [`Server::stop`] stops it in order; when dropped, it is told to stop at once
/// (nothing that was committed is lost).
#[derive(Debug)]
pub struct Server {
    /// The postmaster.
    child: Child,
    options: Options,
    layout: Layout,
    identity: Identity,
    socket: SocketFolder,
    port: u16,
    tcp: bool,
    /// Locked as long as we own the server; other processes try it.
    _lock: File,
}

impl Server {
    /// Starts the server, making its database first where there is none, and waits until it is
    /// ready. A server that a killed process left behind in the folder is stopped before.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running then.
    pub async fn start(options: Options) -> Result<Self, ServerError> {
        let identity = Identity::choose()?;
        let layout = Layout::prepare(&options.folder, &identity)?;
        let lock = lock(&layout)?;
        orphan::stop(&layout.data, options.limits.stop_max).await?;
        if layout.data.join("PG_VERSION").exists() {
            check_major(&layout, &options.binaries)?;
        } else {
            initdb(&options, &layout, &identity).await?;
        }
        let mut tries = 0;
        let (child, socket, port) = loop {
            tries += 1;
            let port = match options.listen {
                Listen::Socket => SOCKET_PORT,
                Listen::Loopback(Port::Fixed(port)) => port,
                Listen::Loopback(Port::Free) => free_port()?,
            };
            let socket = layout.socket_folder(port, &identity)?;
            let mut child = spawn(&options, &layout, &identity, &socket, port)?;
            match wait_ready(&mut child, &layout, port, options.limits.ready_max).await {
                Ok(()) => break (child, socket, port),
                Err(ServerError::PortTaken { .. })
                    if options.listen == Listen::Loopback(Port::Free)
                        && tries < FREE_PORT_TRIES_MAX => {}
                Err(error) => {
                    end(&mut child, options.limits.stop_max).await?;
                    return Err(error);
                }
            }
        };
        let tcp = options.listen != Listen::Socket;
        let server = Self {
            child,
            options,
            layout,
            identity,
            socket,
            port,
            tcp,
            _lock: lock,
        };
        // The password is proven now rather than at the first use.
        match server.connect("postgres").await {
            Ok(_) => Ok(server),
            Err(error) => {
                server.stop().await?;
                Err(error)
            }
        }
    }

    /// Whether the server's programs run as another user than we do, so that whoever is superuser
    /// in the database reads none of our files and memory.
    pub fn is_isolated(&self) -> bool {
        self.identity.is_isolated()
    }

    /// The name of the user that the server runs as, for messages.
    pub fn user(&self) -> &str {
        self.identity.name()
    }

    /// The folder of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket.path
    }

    /// The port, also in the name of the Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The TCP address, if it listens on one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp
            .then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.layout.data
    }

    /// The folder of the server's logs.
    pub fn log_dir(&self) -> PathBuf {
        self.layout.data.join("log")
    }

    /// The programs it runs from.
    pub fn binaries(&self) -> &Binaries {
        &self.options.binaries
    }

    /// The process id of the postmaster, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How our own connections reach it: as superuser over the Unix socket.
    pub fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.socket.path)
            .port(self.port)
            .user(SUPERUSER)
            .password(self.options.password.expose())
            .dbname(database)
            .application_name("sekisho")
            .connect_timeout(self.options.limits.connect_max);
        config
    }

    /// The same for other programs, in libpq's form. It holds the password: never print it.
    pub fn connection_string(&self, database: &str) -> Password {
        let quote = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        Password::new(format!(
            "host='{}' port={} user={SUPERUSER} password='{}' dbname='{}'",
            quote(&self.socket.path.to_string_lossy()),
            self.port,
            quote(self.options.password.expose()),
            quote(database),
        ))
    }

    /// Connects as superuser. The connection lives as long as the client.
    ///
    /// # Errors
    /// [`ServerError::Database`], [`ServerError::Deadline`].
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, ServerError> {
        let config = self.config(database);
        let limit = self.options.limits.connect_max;
        let (client, connection) = timeout(limit, config.connect(tokio_postgres::NoTls))
            .await
            .map_err(|_| ServerError::Deadline {
                what: "let us in",
                limit,
            })??;
        // Ends with the client; an error there is seen by the client's own calls.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Waits until the server has ended by itself or was killed.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn ended(&mut self) -> Result<ExitStatus, ServerError> {
        self.child
            .wait()
            .await
            .map_err(ServerError::file("wait for", &self.layout.data))
    }

    /// Stops the server: in order, with what is in progress rolled back; after
    /// [`Limits::stop_max`] at once; then by force.
    ///
    /// # Errors
    /// [`ServerError::Deadline`] if it does not even end by force.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        end(&mut self.child, self.options.limits.stop_max).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The immediate shutdown: children end too, the next start recovers. SIGKILL would leave
        // them. After `stop` there is no id any more.
        signal(&self.child, Signal::QUIT);
    }
}

/// Signals our own child; it cannot be another process, for it was not waited for yet.
fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
    {
        // It may just have ended.
        let _ = kill_process(pid, signal);
    }
}

async fn end(child: &mut Child, step_max: Duration) -> Result<(), ServerError> {
    for step in [Signal::INT, Signal::QUIT, Signal::KILL] {
        signal(child, step);
        if timeout(step_max, child.wait()).await.is_ok() {
            return Ok(());
        }
    }
    Err(ServerError::Deadline {
        what: "end",
        limit: step_max,
    })
}

/// Takes the owner's lock. It goes with the process, however that ends.
fn lock(layout: &Layout) -> Result<File, ServerError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&layout.lock)
        .map_err(ServerError::file("open", &layout.lock))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServerError::Owned {
            path: layout.folder.clone(),
        }),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(ServerError::file("lock", &layout.lock)(error))
        }
    }
}

fn check_major(layout: &Layout, binaries: &Binaries) -> Result<(), ServerError> {
    let path = layout.data.join("PG_VERSION");
    let found = std::fs::read_to_string(&path).map_err(ServerError::file("read", &path))?;
    let found = found.trim();
    if found != binaries.version.major.to_string() {
        return Err(ServerError::MajorVersion {
            path: layout.data.clone(),
            found: found.to_owned(),
            server: binaries.version.major,
        });
    }
    Ok(())
}

/// Makes the database beside its place and moves it there whole.
async fn initdb(
    options: &Options,
    layout: &Layout,
    identity: &Identity,
) -> Result<(), ServerError> {
    let new = layout.folder.join("data.new");
    match std::fs::remove_dir_all(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(ServerError::file("remove", new)(error));
        }
        _ => {}
    }
    // An empty folder of that name may be moved over, another may not.
    crate::folder::make(&new, 0o700)?;
    identity.own(&new)?;
    let secret = SecretFile::write(layout.run.join("password"), &options.password, identity)?;
    let mut command = Command::new(options.binaries.bin.join("initdb"));
    identity.apply(&mut command);
    command
        .args([
            "--encoding=UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
            "--data-checksums",
        ])
        .arg(format!("--username={SUPERUSER}"))
        .arg(option_with_path("--pwfile=", &secret.0))
        .arg(option_with_path("--pgdata=", &new))
        .kill_on_drop(true);
    let limit = options.limits.initdb_max;
    let output = timeout(limit, command.output())
        .await
        .map_err(|_| ServerError::Deadline {
            what: "make a new database",
            limit,
        })?
        .map_err(ServerError::file(
            "run",
            options.binaries.bin.join("initdb"),
        ))?;
    if !output.status.success() {
        return Err(ServerError::Program {
            program: "initdb",
            status: output.status,
            output: tail(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    std::fs::rename(&new, &layout.data).map_err(ServerError::file("move to", &layout.data))?;
    File::open(&layout.folder)
        .and_then(|folder| folder.sync_all())
        .map_err(ServerError::file("sync", &layout.folder))
}

fn option_with_path(option: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(option);
    text.push(path);
    text
}

/// A password in a file that only the server's user reads, gone when dropped.
struct SecretFile(PathBuf);

impl SecretFile {
    fn write(path: PathBuf, secret: &Password, identity: &Identity) -> Result<Self, ServerError> {
        // Of an initdb that was killed.
        let _ = std::fs::remove_file(&path);
        let file = Self(path);
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&file.0)
            .and_then(|mut it| writeln!(it, "{}", secret.expose()))
            .map_err(ServerError::file("write", &file.0))?;
        identity.own(&file.0)?;
        Ok(file)
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        // It holds the superuser's password, in a folder that only the server's user enters.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn free_port() -> Result<u16, ServerError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ServerError::file("find a free port on", "127.0.0.1"))
}

fn spawn(
    options: &Options,
    layout: &Layout,
    identity: &Identity,
    socket: &SocketFolder,
    port: u16,
) -> Result<Child, ServerError> {
    let start_log = File::create(&layout.start_log)
        .and_then(|file| {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
            Ok((file.try_clone()?, file))
        })
        .map_err(ServerError::file("write", &layout.start_log))?;
    let mut command = Command::new(options.binaries.bin.join("postgres"));
    identity.apply(&mut command);
    command.arg("-D").arg(&layout.data);
    let given = options
        .settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    // The last one of a name counts.
    for (name, value) in DEFAULTS
        .into_iter()
        .chain(given)
        .chain(FIXED)
        .chain(LOG_SETTINGS)
    {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    let addresses = if options.listen == Listen::Socket {
        ""
    } else {
        "127.0.0.1"
    };
    command
        .arg("-c")
        .arg(format!("listen_addresses={addresses}"));
    command.arg("-c").arg(format!("port={port}"));
    // A list, in which a quoted element may hold commas and spaces.
    let path = socket.path.to_string_lossy().replace('"', "\"\"");
    command
        .arg("-c")
        .arg(format!("unix_socket_directories=\"{path}\""));
    command
        .stdout(Stdio::from(start_log.0))
        .stderr(Stdio::from(start_log.1))
        // A Ctrl-C at the terminal is for the gate, which stops the server when it is done.
        .process_group(0)
        .spawn()
        .map_err(ServerError::file(
            "run",
            options.binaries.bin.join("postgres"),
        ))
}

/// Waits until the server says in its `postmaster.pid` that it is ready.
async fn wait_ready(
    child: &mut Child,
    layout: &Layout,
    port: u16,
    limit: Duration,
) -> Result<(), ServerError> {
    let deadline = Instant::now() + limit;
    let pid = child.id().map(|id| id.to_string());
    while Instant::now() < deadline {
        let ended = child
            .try_wait()
            .map_err(ServerError::file("wait for", &layout.data))?;
        if let Some(status) = ended {
            let output = last_log(layout);
            return Err(match output.contains("could not bind") {
                true => ServerError::PortTaken { port },
                false => ServerError::Ended { status, output },
            });
        }
        // Line 1 is the process id, line 8 the state.
        let text = std::fs::read_to_string(layout.data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        let first = lines.next().map(str::trim);
        if first == pid.as_deref() && lines.nth(6).is_some_and(|state| state.starts_with("ready")) {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    Err(ServerError::Deadline {
        what: "become ready",
        limit,
    })
}

/// The ends of what the server said before its logger ran and after.
fn last_log(layout: &Layout) -> String {
    let newest = std::fs::read_dir(layout.data.join("log"))
        .into_iter()
        .flatten()
        .flatten()
        .max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok())
        .map(|entry| entry.path());
    let mut said = String::new();
    for path in [Some(layout.start_log.clone()), newest]
        .into_iter()
        .flatten()
    {
        let bytes = std::fs::read(path).unwrap_or_default();
        said.push_str(&tail(&String::from_utf8_lossy(&bytes)));
        said.push('\n');
    }
    said.trim().to_owned()
}

fn tail(text: &str) -> String {
    let text = text.trim_end();
    let mut start = text.len().saturating_sub(LOG_TAIL_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}
