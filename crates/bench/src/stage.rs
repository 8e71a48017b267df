//! What is measured on: a PostgreSQL, a PgBouncer and a gate of their own in one temporary folder.
//!
//! All three ways are TCP on loopback without TLS, towards the driver and towards PostgreSQL.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use demo_data::Customers;
use futures_util::SinkExt;
use postgres_embedded::{
    Binaries, Listen, Options, Password, Port, Roles, Server, UpstreamRole, create_database,
    create_roles,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_postgres::NoTls;

use super::Plan;
use super::folder::GateFolder;

/// The database of all tables.
pub(super) const DATABASE: &str = "bench";
/// The number of the client whose the customers are.
pub(super) const CLIENT: u32 = 1;
/// Who searches.
pub(super) const OPERATOR: &str = "sato";
/// Seed of the made-up customers.
const SEED: u64 = 20_231_017;
/// How long a program may take to let anyone in.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long a program may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);

/// A way to PostgreSQL. Its number is its place in lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Direct,
    PgBouncer,
    Gate,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Direct, Self::PgBouncer, Self::Gate];

    /// All ways in the order of a round: each comes first as often as the others.
    pub(super) fn in_round(round: usize) -> [Self; 3] {
        let mut ways = Self::ALL;
        ways.rotate_left(round % Self::ALL.len());
        ways
    }

    /// The table of customers: sealed behind the gate, plain otherwise.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Direct | Self::PgBouncer => "plain",
            Self::Gate => "customers",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::PgBouncer => "PgBouncer",
            Self::Gate => "gate",
        })
    }
}

/// Where a driver connects.
pub(super) struct Door {
    port: u16,
    user: String,
    password: Password,
}

impl Door {
    pub(super) fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(&self.user)
            .password(self.password.expose())
            .dbname(database);
        config
    }

    /// The same for PostgreSQL's own programs.
    pub(super) fn environment(&self, command: &mut Command) {
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGPASSWORD", self.password.expose())
            .env("PGSSLMODE", "disable")
            .env("PGGSSENCMODE", "disable");
    }
}

/// A customer as put in and as searches have to bring it.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) kana: String,
    pub(super) phone: String,
}

/// Everything that runs. [`Stage::clear`] ends it.
pub(super) struct Stage {
    customers: Arc<[Found]>,
    doors: Vec<Door>,
    gate: Option<Child>,
    pgbouncer: Option<Child>,
    server: Option<Server>,
    gate_folder: GateFolder,
    /// The embedded server's folder; not always below `dir`.
    server_folder: PathBuf,
    dir: TempDir,
}

impl Stage {
    /// Makes the folder; nothing runs yet.
    pub(super) fn new(parent: Option<&Path>, sekisho: &Path) -> Result<Self> {
        let dir = temporary(parent)?;
        Ok(Self {
            customers: Arc::new([]),
            doors: Vec::new(),
            gate: None,
            pgbouncer: None,
            server: None,
            gate_folder: GateFolder::new(sekisho, dir.path().join("gate")),
            server_folder: postgres_embedded::folder_for(dir.path()),
            dir,
        })
    }

    /// Starts everything and fills the tables.
    pub(super) async fn set_up(&mut self, plan: &Plan) -> Result<()> {
        let pgbouncer = pgbouncer_program()?;
        self.customers = customers(plan.customers);
        let roles = self.start_postgresql().await?;
        self.make_tables(plan).await?;
        let server_port = self.server()?.port();
        let account = |role| -> Result<Password> {
            Ok(roles
                .password(role)
                .context("a role has no password")?
                .clone())
        };
        let operator = |port| -> Result<Door> {
            Ok(Door {
                port,
                user: UpstreamRole::Operator.name().to_owned(),
                password: account(UpstreamRole::Operator)?,
            })
        };
        let (pgbouncer_port, gate_port) = (free_port()?, free_port()?);
        self.doors = vec![operator(server_port)?, operator(pgbouncer_port)?];
        self.start_pgbouncer(&pgbouncer).await?;
        let password = self
            .gate_folder
            .make(gate_port, server_port, &roles)
            .await?;
        self.doors.push(Door {
            port: gate_port,
            user: OPERATOR.to_owned(),
            password,
        });
        self.gate_folder.seal(Way::Gate.table()).await?;
        self.start_gate().await?;
        for way in [Way::Direct, Way::Gate] {
            self.fill(way).await?;
        }
        let admin = self.server()?.connect(DATABASE).await?;
        // Each by itself: VACUUM takes no company.
        for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
            admin.batch_execute(statement).await.context(statement)?;
        }
        self.tell(&pgbouncer).await
    }

    async fn start_postgresql(&mut self) -> Result<Roles> {
        let cache = postgres_embedded::default_cache();
        let mut say = |line: String| println!("{line}");
        let binaries = Binaries::find(None, &cache, &mut say).await?;
        let options = Options {
            binaries,
            folder: self.server_folder.clone(),
            listen: Listen::Loopback(Port::Free),
            password: Password::random()?,
            settings: Vec::new(),
            limits: postgres_embedded::Limits::default(),
        };
        let server = self.server.insert(Server::start(options).await?);
        let mut admin = server.connect("postgres").await?;
        let roles = create_roles(&mut admin, server.is_isolated()).await?;
        create_database(server, DATABASE).await?;
        Ok(roles)
    }

    /// pgbench's tables, and the customers' in two forms, made by the role that may seal them.
    async fn make_tables(&self, plan: &Plan) -> Result<()> {
        let server = self.server()?;
        let output = self
            .tool("pgbench")?
            .args(["-i", "-q", "-s", &plan.pgbench_scale.to_string()])
            .arg(server.connection_string(DATABASE).expose())
            .stdin(Stdio::null())
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pgbench -i: {said}");
        let mut statements = format!(
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}; SET ROLE {};",
            UpstreamRole::Operator,
            UpstreamRole::Owner
        );
        for way in [Way::Direct, Way::Gate] {
            statements.push_str(&format!(
                "CREATE TABLE {} (id bigint PRIMARY KEY, client_id integer NOT NULL,
                 name text, kana text, phone text, UNIQUE (client_id, phone));",
                way.table()
            ));
        }
        let admin = server.connect(DATABASE).await?;
        admin.batch_execute(&statements).await?;
        Ok(())
    }

    async fn start_pgbouncer(&mut self, program: &Path) -> Result<()> {
        let server = self.server()?;
        let door = self.door(Way::PgBouncer)?;
        let folder = self.dir.path().join("pgbouncer");
        std::fs::create_dir(&folder)?;
        let (config, users) = (folder.join("pgbouncer.ini"), folder.join("users"));
        let text = format!(
            "[databases]\n{DATABASE} = host=127.0.0.1 port={} dbname={DATABASE}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = session\n\
             default_pool_size = 100\nmax_client_conn = 200\n\
             client_tls_sslmode = disable\nserver_tls_sslmode = disable\n\
             log_connections = 0\nlog_disconnections = 0\n",
            server.port(),
            door.port,
            users.display()
        );
        write_private(&config, &text)?;
        write_private(
            &users,
            &format!("\"{}\" \"{}\"\n", door.user, door.password.expose()),
        )?;
        let mut command = Command::new(program);
        if server.is_isolated() {
            // PgBouncer refuses to run as root.
            command.args(["-u", server.user()]);
            let owner = std::fs::metadata(server.data_dir())?;
            for path in [&folder, &config, &users] {
                std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))?;
            }
        }
        let log = std::fs::File::create(self.dir.path().join("pgbouncer.log"))?;
        let child = command
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot run pgbouncer")?;
        self.pgbouncer = Some(child);
        self.wait_for(Way::PgBouncer).await
    }

    async fn start_gate(&mut self) -> Result<()> {
        let log = std::fs::File::create(self.dir.path().join("gate.log"))?;
        let child = self
            .gate_folder
            .command()
            .arg("serve")
            .arg("--dir")
            .arg(self.gate_folder.dir())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run sekisho")?;
        self.gate = Some(child);
        self.wait_for(Way::Gate).await
    }

    /// Waits until a way lets the operator in.
    async fn wait_for(&mut self, way: Way) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            let config = self.door(way)?.config(DATABASE);
            match config.connect(NoTls).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("{way} does not come up"));
                }
                Err(_) => {}
            }
            let child = match way {
                Way::Direct => None,
                Way::PgBouncer => self.pgbouncer.as_mut(),
                Way::Gate => self.gate.as_mut(),
            };
            if let Some(status) = child.and_then(|child| child.try_wait().ok().flatten()) {
                bail!("{way} ended with {status}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Brings the customers in by COPY.
    async fn fill(&self, way: Way) -> Result<()> {
        let (driver, connection) = self.door(way)?.config(DATABASE).connect(NoTls).await?;
        tokio::spawn(connection);
        let copy = format!(
            "COPY {} (id, client_id, name, kana, phone) FROM STDIN",
            way.table()
        );
        let sink = driver
            .copy_in(copy.as_str())
            .await
            .with_context(|| format!("{way}: {copy}"))?;
        let mut sink = std::pin::pin!(sink);
        for (id, found) in self.customers.iter().enumerate() {
            let Found { name, kana, phone } = found;
            let row = format!("{id}\t{CLIENT}\t{name}\t{kana}\t{phone}\n");
            sink.feed(bytes::Bytes::from(row)).await?;
        }
        let copied = sink
            .finish()
            .await
            .with_context(|| format!("{way}: {copy}"))?;
        ensure!(
            copied == self.customers.len() as u64,
            "{way}: {copied} customers came in"
        );
        Ok(())
    }

    /// Prints what is measured on what.
    async fn tell(&self, pgbouncer: &Path) -> Result<()> {
        let said = Command::new(pgbouncer).arg("--version").output().await?;
        let said = String::from_utf8_lossy(&said.stdout);
        println!(
            "{}; PostgreSQL {}; {}; in {}",
            processors(),
            self.server()?.binaries().version,
            said.lines().next().unwrap_or("PgBouncer"),
            self.dir.path().display()
        );
        println!("TCP on loopback, no TLS, SCRAM, everywhere; PgBouncer pools by session");
        Ok(())
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("PostgreSQL does not run")
    }

    /// A way's door.
    pub(super) fn door(&self, way: Way) -> Result<&Door> {
        self.doors
            .get(way as usize)
            .with_context(|| format!("{way} does not run"))
    }

    /// A program of PostgreSQL's, killed when it is dropped.
    pub(super) fn tool(&self, name: &str) -> Result<Command> {
        let binaries = self.server()?.binaries();
        let path = binaries.tool(name).with_context(|| {
            format!(
                "there is no {name} in {}; on Debian: apt-get install postgresql-contrib",
                binaries.bin.display()
            )
        })?;
        let mut command = Command::new(path);
        command.kill_on_drop(true);
        Ok(command)
    }

    /// The customers that are there.
    pub(super) fn customers(&self) -> Arc<[Found]> {
        Arc::clone(&self.customers)
    }

    /// The folder, on the disk that the ledger is on.
    pub(super) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Processor time that the gate has taken so far, by the scheduler's own count of its threads.
    pub(super) fn gate_time(&self) -> Result<Duration> {
        let gate = self.gate.as_ref().and_then(Child::id);
        let gate = gate.context("the gate does not run")?;
        let mut nanoseconds = 0;
        for thread in std::fs::read_dir(format!("/proc/{gate}/task"))? {
            let counts = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let running = counts
                .split(' ')
                .next()
                .and_then(|ns| ns.parse::<u64>().ok());
            nanoseconds += running.context("the kernel keeps no schedstat")?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Whether detection's thread runs now, and how often and how long it has.
    pub(super) fn detection(&self) -> Result<(bool, String)> {
        let gate = self.gate.as_ref().and_then(Child::id);
        let gate = gate.context("the gate does not run")?;
        for thread in std::fs::read_dir(format!("/proc/{gate}/task"))? {
            let thread = thread?.path();
            if std::fs::read_to_string(thread.join("comm"))?.trim() != "watch" {
                continue;
            }
            let state = std::fs::read_to_string(thread.join("stat"))?;
            let running = state
                .rsplit(") ")
                .next()
                .is_some_and(|it| it.starts_with('R'));
            // Time on a processor, time it waited for one, and how often it was let on.
            return Ok((running, std::fs::read_to_string(thread.join("schedstat"))?));
        }
        anyhow::bail!("the gate has no thread `watch`")
    }

    /// Bytes written to the ledger's segments so far; what is prepared there are zeros.
    pub(super) fn ledger_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.gate_folder.dir().join("ledger/wal"))? {
            let content = std::fs::read(entry?.path())?;
            let end = content.iter().rposition(|byte| *byte != 0);
            bytes += end.map_or(0, |last| last as u64 + 1);
        }
        Ok(bytes)
    }

    /// What the programs said, for an error.
    pub(super) fn logs(&self) -> String {
        let mut all = String::new();
        for name in ["gate.log", "pgbouncer.log"] {
            let text = std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(10).collect();
            for line in last.into_iter().rev() {
                all.push_str(&format!("\n  {name}: {line}"));
            }
        }
        all
    }

    /// Stops everything and removes the folder.
    pub(super) async fn clear(mut self) -> Result<()> {
        for mut child in [self.gate.take(), self.pgbouncer.take()]
            .into_iter()
            .flatten()
        {
            stop(&mut child).await;
        }
        if let Some(server) = self.server.take() {
            server.stop().await?;
        }
        if self.server_folder.exists() {
            remove(&self.server_folder).await?;
        }
        let path = self.dir.keep();
        remove(&path).await
    }
}

/// Asks a program to end, and ends it.
async fn stop(child: &mut Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // It may just have ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(STOP_MAX, child.wait()).await.is_err() {
        // Then by force; that fails only where it has ended.
        let _ = child.kill().await;
    }
}

/// Removes a folder in which an interrupted program may still be writing for a moment.
async fn remove(path: &Path) -> Result<()> {
    let deadline = Instant::now() + STOP_MAX;
    loop {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| path.display().to_string());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Writes a file that its owner alone reads.
pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| path.display().to_string())
}

/// A temporary folder below `parent`, which is on a disk.
pub(super) fn temporary(parent: Option<&Path>) -> Result<TempDir> {
    let usual = Path::new("/var/tmp");
    let parent = match parent {
        Some(parent) => parent.to_owned(),
        None if usual.is_dir() => usual.to_owned(),
        None => std::env::temp_dir(),
    };
    ensure!(
        !is_memory(&parent)?,
        "{}: is kept in memory, where fdatasync costs nothing; --dir names a folder on a disk",
        parent.display()
    );
    tempfile::Builder::new()
        .prefix("sekisho-bench-")
        // PostgreSQL's user passes through.
        .permissions(std::fs::Permissions::from_mode(0o711))
        .tempdir_in(&parent)
        .with_context(|| parent.display().to_string())
}

/// The processors: how many, and of what kind.
pub(super) fn processors() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kind = about
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{count} x {kind}")
}

/// Whether a folder is on a memory file system.
fn is_memory(folder: &Path) -> Result<bool> {
    /// linux/magic.h
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    let about = rustix::fs::statfs(folder).with_context(|| folder.display().to_string())?;
    Ok(about.f_type == TMPFS_MAGIC)
}

fn customers(count: usize) -> Arc<[Found]> {
    Customers::of_client(SEED, CLIENT)
        .take(count)
        .map(|customer| Found {
            name: customer.name.expose().clone(),
            kana: customer.kana.expose().clone(),
            phone: customer.phone.expose().clone(),
        })
        .collect()
}

/// PgBouncer in PATH, or where Debian puts it.
fn pgbouncer_program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join("pgbouncer"))
        .find(|path| path.is_file())
        .context("there is no pgbouncer; on Debian: apt-get install pgbouncer")
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}
