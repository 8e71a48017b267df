//! A centre to test on: a data folder that the program's own commands set up, in front of a
//! PostgreSQL that outlives the gate, and the gate as a process that can be killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use budget::Numbers;
use demo_data::{Customer, Customers};
use futures_util::SinkExt;
use postgres_embedded::{Binaries, Password, Roles, Server, UpstreamRole};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio_postgres::{Client, Connection, NoTls, Socket, tls::NoTlsStream};

use crate::program::{self, unused_path};

/// Seed of the made-up customers.
const SEED: u64 = 20_231_017;
/// The database.
pub(crate) const DATABASE: &str = "callcentre";
/// The columns of its sealed table.
pub(crate) const CUSTOMER_COLUMNS: &str = "id, client_id, name, phone, email, birth_date, note";
/// How long anything may take before it counts as hanging.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

const TABLES: &str = "
CREATE TABLE customers (
  id bigint PRIMARY KEY,
  client_id integer NOT NULL,
  name text, phone text, email text, birth_date text, note text,
  UNIQUE (client_id, phone));
CREATE INDEX customers_by_client ON customers (client_id, id);
CREATE TABLE calls (id bigserial PRIMARY KEY, client_id integer NOT NULL, topic text);";

/// What a centre is made of.
pub(crate) struct Plan<'a> {
    /// A word for its folder.
    pub(crate) name: &'a str,
    pub(crate) clients: u32,
    /// Made-up customers of each client.
    pub(crate) customers: usize,
    /// Canaries of each client, besides.
    pub(crate) canaries: u32,
    /// Login, role, clients.
    pub(crate) people: &'a [(&'a str, &'a str, &'a str)],
    /// The numbers that come into force after the import.
    pub(crate) numbers: Numbers,
    /// Lines for the table `[limits]`.
    pub(crate) limits: &'a str,
    pub(crate) segment_bytes: u32,
}

/// A person's open connection that tells how it ended.
pub(crate) type Driver = (Client, Connection<Socket, NoTlsStream>);

pub(crate) struct Centre {
    /// Everything; removed at the end.
    root: PathBuf,
    /// The data folder.
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) postgres: Server,
    /// PostgreSQL's accounts.
    pub(crate) roles: Roles,
    gate: Option<Child>,
}

impl Centre {
    /// Sets everything up but the gate, which is not running afterwards.
    pub(crate) async fn set_up(plan: &Plan<'_>) -> Self {
        let root = unused_path(plan.name);
        std::fs::create_dir_all(&root).expect("a folder can be made");
        let (postgres, roles) = start_postgresql(&root).await;
        let port = free_port();
        let mut centre = Self {
            dir: root.join("centre"),
            root,
            port,
            postgres,
            roles,
            gate: None,
        };
        let made = sekisho(
            &[
                "init",
                "--external",
                "--no-passphrase",
                &centre.dir.display().to_string(),
            ],
            "",
        )
        .await;
        assert!(made.is_ok(), "{made:?}");
        let host = centre.postgres.socket_dir().display().to_string();
        centre.configure(
            plan.limits,
            plan.segment_bytes,
            &host,
            centre.postgres.port(),
        );
        for number in 1..=plan.clients {
            let name = format!("Client {number:02}");
            centre
                .json(&["client", "add", &format!("c{number:02}"), "--name", &name])
                .await;
        }
        centre.enrol("import", "importer", "all").await;
        for (login, role, clients) in plan.people {
            centre.enrol(login, role, clients).await;
        }
        centre.make_table().await;
        centre.import(plan).await;
        let path = centre.root.join("numbers.toml");
        std::fs::write(&path, plan.numbers.to_toml()).expect("a file can be written");
        let path = path.display().to_string();
        centre
            .approved(&["numbers", "propose", "--numbers", &path])
            .await;
        centre
    }

    /// Writes the configuration; `host` and `port` are PostgreSQL's.
    pub(crate) fn configure(&self, limits: &str, segment_bytes: u32, host: &str, port: u16) {
        let mut text = format!(
            "centre = \"Kansai\"\n[listen]\ntcp = [\"127.0.0.1:{}\"]\n\
             [postgresql]\nhost = \"{host}\"\nport = {port}\n[postgresql.users]\n",
            self.port
        );
        let mut passwords = String::new();
        for (name, role) in [
            ("operator", UpstreamRole::Operator),
            ("supervisor", UpstreamRole::Operator),
            ("maintainer", UpstreamRole::Maintainer),
            ("importer", UpstreamRole::Importer),
            ("owner", UpstreamRole::Owner),
            ("catalogue", UpstreamRole::Catalogue),
        ] {
            let password = self.roles.password(role).expect("the role was made");
            writeln!(text, "{name} = \"{role}\"").expect("a string takes it");
            if name != "supervisor" {
                writeln!(passwords, "{role} = \"{}\"", password.expose())
                    .expect("a string takes it");
            }
        }
        write!(
            text,
            "[ledger]\nsegment_bytes = {segment_bytes}\n[limits]\n{limits}"
        )
        .expect("a string takes it");
        for (name, text) in [("sekisho.toml", text), ("secrets/upstream.toml", passwords)] {
            std::fs::write(self.dir.join(name), text).expect("a file can be written");
        }
    }

    /// An actor that can log in.
    async fn enrol(&self, login: &str, role: &str, clients: &str) {
        self.approved(&["actor", "add", login, "--role", role, "--clients", clients])
            .await;
        let code = self.json(&["actor", "code", login]).await;
        let code = code["code"].as_str().expect("there is a code").to_owned();
        let enrol = ["actor", "enrol", login, "--code", &code];
        let done = self.run(&enrol, &format!("{}\n", password(login))).await;
        assert!(done.is_ok(), "{done:?}");
    }

    /// The sealed table, by `sekisho seal`.
    async fn make_table(&self) {
        postgres_embedded::create_database(&self.postgres, DATABASE)
            .await
            .expect("the database can be made");
        let superuser = self
            .postgres
            .connect(DATABASE)
            .await
            .expect("PostgreSQL lets us in");
        superuser
            .batch_execute(&format!("SET ROLE sekisho_owner; {TABLES}"))
            .await
            .expect("the tables can be made");
        let mut seal = vec!["seal", "--database", DATABASE, "--table", "customers"];
        seal.extend(["--client-column", "client_id"]);
        for column in [
            "name=name",
            "phone=phone:exact",
            "email=email:exact",
            "birth_date=birth-date",
            "note=free-text",
        ] {
            seal.extend(["--column", column]);
        }
        self.approved(&seal).await;
    }

    /// All customers, through the gate, each client under a grant.
    async fn import(&mut self, plan: &Plan<'_>) {
        let amount = (plan.customers + plan.canaries as usize) * 2;
        let mut grants = Vec::new();
        for client in 1..=plan.clients {
            grants.push(self.grant("import", client, "import", amount as u64).await);
        }
        self.start().await;
        let driver = self.connect("import").await;
        for (client, grant) in (1..).zip(grants) {
            driver
                .batch_execute(&format!("SET sekisho.grant_id TO '{grant}'"))
                .await
                .expect("the grant is in force");
            let sink = driver
                .copy_in(&format!("COPY customers ({CUSTOMER_COLUMNS}) FROM STDIN"))
                .await
                .expect("the import begins");
            let mut sink = std::pin::pin!(sink);
            let mut rows = String::new();
            for (id, customer) in all_customers(client, plan.customers, plan.canaries) {
                writeln!(
                    rows,
                    "{id}\t{client}\t{}\t{}\t{}\t{}\t{}",
                    customer.name.expose(),
                    customer.phone.expose(),
                    customer.email.expose(),
                    customer.birth_date.expose(),
                    if customer.note.expose().is_empty() {
                        "\\N"
                    } else {
                        customer.note.expose()
                    }
                )
                .expect("a string takes it");
            }
            sink.send(bytes::Bytes::from(rows))
                .await
                .expect("it is sent");
            sink.finish().await.expect("the import ends");
        }
        drop(driver);
        self.stop().await;
    }

    /// Starts the gate and waits until it listens. Gives how long that took.
    pub(crate) async fn start(&mut self) -> Duration {
        self.start_with(&[]).await
    }

    /// The same with more in its environment.
    pub(crate) async fn start_with(&mut self, environment: &[(&str, &str)]) -> Duration {
        let began = Instant::now();
        self.spawn_with(environment);
        loop {
            let address = ("127.0.0.1", self.port);
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return began.elapsed();
            }
            let ended = self.gate.as_mut().and_then(|gate| gate.try_wait().ok()?);
            assert!(ended.is_none(), "`serve` ended: {}", self.said());
            assert!(began.elapsed() < DEADLINE, "not up: {}", self.said());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Starts the gate, and waits for nothing.
    pub(crate) fn spawn(&mut self) {
        self.spawn_with(&[]);
    }

    fn spawn_with(&mut self, environment: &[(&str, &str)]) {
        let log = std::fs::File::create(self.root.join("serve.log")).expect("a log can be made");
        let gate = Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .args(["serve", "--dir"])
            .arg(&self.dir)
            .env("SEKISHO_TEST_CANARY", ENVIRONMENT_CANARY)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        self.gate = Some(gate);
    }

    /// What the gate said.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.root.join("serve.log")).unwrap_or_default()
    }

    /// The gate's process.
    pub(crate) fn pid(&self) -> u32 {
        let gate = self.gate.as_ref().expect("a gate runs");
        gate.id().expect("it was not waited for")
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        let mut gate = self.gate.take().expect("a gate runs");
        gate.kill().await.expect("it can be killed");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).expect("it has an id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("it can be signalled");
    }

    /// Waits until the gate has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut gate = self.gate.take().expect("a gate runs");
        let ended = tokio::time::timeout(DEADLINE, gate.wait()).await;
        ended
            .expect("the gate ends in time")
            .expect("it can be waited for")
    }

    /// Stops the gate in order.
    pub(crate) async fn stop(&mut self) {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "{status}: {}", self.said());
    }

    pub(crate) fn config(&self, login: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(login)
            .password(password(login))
            .dbname(DATABASE);
        config
    }

    pub(crate) async fn connect(&self, login: &str) -> Client {
        let (client, connection) = self.connect_both(login).await;
        tokio::spawn(connection);
        client
    }

    pub(crate) async fn connect_both(&self, login: &str) -> Driver {
        let connected = self.config(login).connect(NoTls).await;
        connected.unwrap_or_else(|error| panic!("{login}: {error:?}"))
    }

    /// A grant in force; gives its number.
    pub(crate) async fn grant(&self, login: &str, client: u32, what: &str, amount: u64) -> u64 {
        let (client, amount) = (client.to_string(), amount.to_string());
        let asked = self
            .approved(&[
                "grant", "request", "--actor", login, "--client", &client, "--what", what,
                "--amount", &amount, "--hours", "24", "--ticket", "TEST",
            ])
            .await;
        asked["number"].as_u64().expect("the grant has a number")
    }

    /// A change that both approvers sign.
    pub(crate) async fn approved(&self, arguments: &[&str]) -> Value {
        let asked = self.json(arguments).await;
        let in_force = asked["in_force"].as_bool().expect("it says so");
        if !in_force {
            let change = asked["change"].to_string();
            for approver in ["approver-1", "approver-2"] {
                self.json(&["approve", &change, "--as", approver, "--yes"])
                    .await;
            }
        }
        asked
    }

    /// What a command prints that has to succeed: its last line, as JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let out = self.run(&all, "").await;
        let out = out.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        let last = out.lines().last().unwrap_or("null");
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// A command: its output, or what it said when it failed.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let dir = self.dir.display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["--dir", &dir]);
        sekisho(&all, input).await
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        // Gate and PostgreSQL are told to end when their fields are dropped.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// In the gate's environment.
pub(crate) const ENVIRONMENT_CANARY: &str = "canary-of-the-environment-5167";

pub(crate) fn password(login: &str) -> String {
    format!("correct horse battery {login}")
}

/// A command of the program, while the gate serves: its output, or what it said when it failed.
async fn sekisho(arguments: &[&str], input: &str) -> Result<String, String> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let input = input.to_owned();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        program::sekisho(&arguments, &input)
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

async fn start_postgresql(root: &Path) -> (Server, Roles) {
    let mut say = |line: String| println!("{line}");
    let cache = postgres_embedded::default_cache();
    let binaries = Binaries::find(None, &cache, &mut say)
        .await
        .expect("PostgreSQL's programs are there");
    let postgres = Server::start(postgres_embedded::Options {
        binaries,
        folder: postgres_embedded::folder_for(root),
        listen: postgres_embedded::Listen::Socket,
        password: Password::random().expect("the system gives random bytes"),
        settings: Vec::new(),
        limits: postgres_embedded::Limits::default(),
    })
    .await
    .expect("PostgreSQL starts");
    let mut superuser = postgres.connect("postgres").await.expect("it lets us in");
    let roles = postgres_embedded::create_roles(&mut superuser, postgres.is_isolated())
        .await
        .expect("the accounts can be made");
    (postgres, roles)
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A client's customers and canaries, by id.
pub(crate) fn all_customers(
    client: u32,
    customers: usize,
    canaries: u32,
) -> BTreeMap<i64, Customer> {
    let base = i64::from(client) * 1_000_000;
    let made_up = Customers::of_client(SEED, client).take(customers);
    let made_up = made_up
        .enumerate()
        .map(|(n, customer)| (base + n as i64 + 1, customer));
    let canary = |n: u32| {
        (
            base + 900_000 + i64::from(n),
            Customer::canary(client * 1_000 + n),
        )
    };
    made_up.chain((1..=canaries).map(canary)).collect()
}

/// Numbers that nobody meets.
pub(crate) fn unlimited() -> Numbers {
    let mut numbers = Numbers::default();
    let none = budget::Limits {
        hour: None,
        day: None,
        month: None,
        all: None,
    };
    numbers.client.subjects = none;
    numbers.client.probes = none;
    numbers.client.masked = none;
    for role in numbers.roles.values_mut() {
        if role.statement_probes_max == 0 {
            continue;
        }
        for limits in [
            &mut role.subjects_per_client,
            &mut role.subjects,
            &mut role.probes_per_client,
            &mut role.probes,
            &mut role.masked_per_client,
            &mut role.masked,
        ] {
            *limits = none;
        }
    }
    numbers
}
