//! The demo's stage: folder, people, clients, PostgreSQL, the gate as a process of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64_simd::STANDARD;
use demo_data::{Customer, Customers};
use event::record::{Change, Grant, GrantKind, change_bytes};
use event::{ActorId, ClientId, ClientSource, GrantId};
use futures_util::SinkExt;
use indicatif::{ProgressBar, ProgressStyle};
use postgres_embedded::{Binaries, create_database};
use tokio::process::{Child, Command};
use tokio_postgres::NoTls;

use crate::admin::{self, Office, Signer};
use crate::folder::Folder;
use crate::people::{SigningKey, verifier};
use crate::sealing::{self, Table};
use crate::service::{Reply, Request, Service, now_ms, propose_request};
use crate::{init, serve};

/// Clients of the case that are played: 59 of the 69 were private companies.
pub const CLIENTS: u32 = 59;
/// The database of the demo.
pub const DATABASE: &str = "callcentre";
/// Seed of the made-up customers.
const SEED: u64 = 20_231_017;

/// Everyone who works in the demo, with role and clients.
pub const ACTORS: [(&str, &str, &str); 4] = [
    ("tanaka", "operator", "1,2"),
    ("sato", "operator", "3,4"),
    ("suzuki", "maintainer", ""),
    ("mori", "importer", "all"),
];

/// What is played on.
pub struct Stage {
    /// The data folder.
    pub folder: Folder,
    /// The gate's port.
    pub port: u16,
    /// Passwords by login.
    pub passwords: BTreeMap<String, String>,
    /// Customers of each client.
    pub customers: u32,
    /// PostgreSQL's programs.
    pub binaries: Binaries,
    gate: Option<Child>,
    import_grants: BTreeMap<u32, u32>,
    next_grant: u32,
}

const TABLES: &str = "
CREATE TABLE customers (
  id bigint PRIMARY KEY,
  client_id integer NOT NULL,
  name text, kana text, address text, phone text, email text, birth_date text, note text,
  created timestamptz NOT NULL DEFAULT now(),
  UNIQUE (client_id, phone));
CREATE INDEX customers_by_client ON customers (client_id, id);
CREATE TABLE calls (
  id bigserial PRIMARY KEY, client_id integer NOT NULL, customer bigint,
  started timestamptz NOT NULL DEFAULT now(), topic text);";

/// A spinner or bar on standard error; hidden where that is no terminal.
pub fn bar(length: u64, message: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("  {msg:28} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    bar
}

impl Stage {
    /// Sets everything up, up to a serving gate with sealed customers behind it.
    pub async fn set_up(dir: &Path, port: u16, customers: u32) -> Result<Self> {
        let plan = init::Plan {
            centre: "Demo call centre",
            passphrase: "",
            embedded: true,
            segment_bytes: None,
            numbers: None,
        };
        let folder = init::init(dir, &plan).await?;
        let port = if port == 0 { free_port()? } else { port };
        let text = std::fs::read_to_string(folder.path("sekisho.toml"))?;
        let terminals = free_port()?;
        let text = text.replace("127.0.0.1:6432", &format!("127.0.0.1:{port}"));
        let text = format!("{text}\n[terminals]\nlisten = \"127.0.0.1:{terminals}\"\n");
        folder.write_secret("sekisho.toml", text.as_bytes())?;
        let mut say = |line: String| println!("  {line}");
        let opened = admin::open_with(&folder, "")?;
        let config = folder.config()?;
        let database = serve::database(&folder, &config, &mut say).await?;
        let server = database
            .server
            .as_ref()
            .context("the demo's server is embedded")?;
        let binaries = server.binaries().clone();
        let mut stage = Self {
            folder,
            port,
            passwords: BTreeMap::new(),
            customers,
            binaries,
            gate: None,
            import_grants: BTreeMap::new(),
            next_grant: 1,
        };
        stage.enrol(&opened.service).await?;
        create_database(server, DATABASE).await?;
        let mut owner = database
            .upstream
            .converse(&database.owner, DATABASE)
            .await?;
        owner.query(TABLES).await?;
        stage.pin(&opened.service, &mut owner).await?;
        drop(owner);
        if let Some(server) = database.server {
            server.stop().await?;
        }
        drop(opened);
        stage.start_gate().await?;
        stage.import().await?;
        Ok(stage)
    }

    /// Clients, people, and a grant for each client's import.
    async fn enrol(&mut self, service: &Service) -> Result<()> {
        let steps = u64::from(CLIENTS) * 2 + ACTORS.len() as u64;
        let bar = bar(steps, "clients and people");
        let by = ActorId(1);
        for number in 1..=CLIENTS {
            service
                .add_client(by, format!("c{number:02}"), format!("Client {number:02}"))
                .await?;
            bar.inc(1);
        }
        for (login, role, clients) in ACTORS {
            let clients: Vec<u32> = match clients {
                "all" => (1..=CLIENTS).collect(),
                list => list
                    .split(',')
                    .filter_map(|number| number.parse().ok())
                    .collect(),
            };
            let reply = service
                .add_actor(by, login.to_owned(), role, &clients, None)
                .await?;
            self.approve_here(service, &reply).await?;
            let code = self.code(service, login).await?;
            let password = STANDARD.encode_to_string(crate::people::random::<12>()?);
            service.enrol(login, &code, &verifier(&password)?).await?;
            self.folder
                .write_secret(&format!("people/{login}.password"), password.as_bytes())?;
            self.passwords.insert(login.to_owned(), password);
            bar.inc(1);
        }
        let importer = actor_number(service, "mori")?;
        for number in 1..=CLIENTS {
            let amount = u64::from(self.customers) * 2;
            let grant = self.grant(importer, number, GrantKind::Import, amount);
            self.import_grants.insert(number, self.next_grant - 1);
            let reply = service.propose(by, grant).await?;
            self.approve_here(service, &reply).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn code(&self, service: &Service, login: &str) -> Result<String> {
        service
            .new_code(ActorId(1), login)
            .await?
            .code
            .context("no code was made")
    }

    /// A grant for one hour.
    pub fn grant(&mut self, actor: u32, client: u32, what: GrantKind, amount: u64) -> Change {
        let grant = GrantId(self.next_grant);
        self.next_grant += 1;
        Change::Grant(Grant {
            grant,
            actor: ActorId(actor),
            client: client_id(client),
            what,
            amount,
            until_ms: now_ms() + 3_600_000,
            ticket: format!("DEMO-{}", grant.0),
        })
    }

    /// Both approvers sign a change in this process.
    async fn approve_here(&self, service: &Service, reply: &Reply) -> Result<()> {
        let Some(change) = reply.change.filter(|_| !reply.in_force) else {
            return Ok(());
        };
        for approver in [2, 3] {
            let (approver, signature) = self.sign(&service.recorder().state(), change, approver)?;
            service.approve(change, approver, &signature).await?;
        }
        Ok(())
    }

    /// An approver's signature on a change that waits.
    pub fn sign(&self, state: &ledger::State, change: u32, approver: u32) -> Result<(u32, String)> {
        let login = init::APPROVERS[approver as usize - 2];
        let key = SigningKey::load(&self.folder.path(&format!("people/{login}.key")))?;
        let number = event::ChangeId(change);
        let proposal = state
            .proposals
            .get(&number)
            .with_context(|| format!("change {change} does not wait"))?;
        let message = change_bytes(&state.ledger, number, &proposal.what);
        Ok((approver, STANDARD.encode_to_string(key.sign(&message))))
    }

    /// Proposes over the running gate's socket, as the administrator.
    pub async fn propose(&self, change: &Change) -> Result<Reply> {
        let signer = Signer {
            actor: 1,
            key: SigningKey::load(&self.folder.path("people/admin.key"))?,
        };
        Office::of(&self.folder)
            .await?
            .ask(&propose_request(change), Some(&signer))
            .await
    }

    /// Both approvers sign over the running gate's socket.
    pub async fn approve(&self, change: u32) -> Result<Reply> {
        let office = Office::of(&self.folder).await?;
        let mut last = Reply::default();
        let state = super::steps::state_with(self, change).await?;
        for approver in [2, 3] {
            let (approver, signature) = self.sign(&state, change, approver)?;
            last = office
                .ask(
                    &Request::Approve {
                        change,
                        approver,
                        signature,
                    },
                    None,
                )
                .await?;
        }
        Ok(last)
    }

    async fn pin(&self, service: &Service, owner: &mut gate::Conversation) -> Result<()> {
        let columns = [
            "name=name",
            "kana=kana",
            "address=address",
            "phone=phone:exact",
            "email=email:exact",
            "birth_date=birth-date",
            "note=free-text",
        ];
        let table = Table {
            schema: "public".to_owned(),
            name: "customers".to_owned(),
            columns: columns
                .iter()
                .map(|text| sealing::parse_column(text))
                .collect::<Result<_>>()?,
            client: ClientSource::Column("client_id".to_owned()),
        };
        let relation = sealing::prepare(owner, &table).await?;
        let pin = sealing::pin_with(None, DATABASE, relation);
        let reply = service.propose(ActorId(1), Change::Pin(pin)).await?;
        self.approve_here(service, &reply).await
    }

    /// Starts `sekisho serve` and waits until it lets people in.
    pub async fn start_gate(&mut self) -> Result<()> {
        let program = std::env::current_exe()?;
        let log = std::fs::File::create(self.folder.path("serve.log"))?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--dir")
            .arg(self.folder.root())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.gate = Some(child);
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            match self.connect("suzuki", "postgres").await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error)
                        .context("the gate does not come up; see serve.log in the demo's folder");
                }
                Err(_) => {}
            }
            let ended = self
                .gate
                .as_mut()
                .and_then(|gate| gate.try_wait().ok().flatten());
            if let Some(status) = ended {
                let log =
                    std::fs::read_to_string(self.folder.path("serve.log")).unwrap_or_default();
                bail!("`sekisho serve` ended ({status}):\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills the gate with SIGKILL.
    pub async fn kill_gate(&mut self) -> Result<()> {
        let mut gate = self.gate.take().context("no gate runs")?;
        gate.kill().await.context("the gate could not be killed")
    }

    /// Stops the gate in order.
    pub async fn stop_gate(&mut self) -> Result<()> {
        let Some(mut gate) = self.gate.take() else {
            return Ok(());
        };
        if let Some(pid) = gate
            .id()
            .and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()))
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let status = tokio::time::timeout(Duration::from_secs(60), gate.wait()).await??;
        ensure!(status.success(), "`sekisho serve` ended with {status}");
        Ok(())
    }

    /// A driver's connection through the gate.
    pub async fn connect(&self, login: &str, database: &str) -> Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(self.port)
            .user(login)
            .password(self.passwords.get(login).context("no such person")?)
            .dbname(database)
            .connect(NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A program of PostgreSQL, set to go through the gate as a person.
    pub fn tool(&self, name: &str, login: &str) -> Result<Command> {
        let path = self.binaries.tool(name).with_context(|| {
            format!(
                "there is no {name} in {}: install PostgreSQL's client programs of version {}",
                self.binaries.bin.display(),
                self.binaries.version.major
            )
        })?;
        let mut command = Command::new(path);
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", login)
            .env(
                "PGPASSWORD",
                self.passwords.get(login).context("no such person")?,
            )
            .env("PGSSLMODE", "disable");
        Ok(command)
    }

    /// The customers of a client, in the order of their ids.
    pub fn customers_of(&self, client: u32) -> impl Iterator<Item = Customer> {
        Customers::of_client(SEED, client).take(self.customers as usize)
    }

    /// The id of a customer: client and place.
    pub fn id(client: u32, place: usize) -> i64 {
        i64::from(client) * 1_000_000 + place as i64 + 1
    }

    /// Brings the customers in through the gate, each client under its grant.
    async fn import(&self) -> Result<()> {
        let bar = bar(
            u64::from(CLIENTS) * u64::from(self.customers),
            "customers, sealed",
        );
        let driver = self.connect("mori", DATABASE).await?;
        for client in 1..=CLIENTS {
            let grant = self.import_grants.get(&client).context("no grant")?;
            driver
                .batch_execute(&format!("SET sekisho.grant_id TO '{grant}'"))
                .await?;
            let sink = driver
                .copy_in("COPY customers (id, client_id, name, kana, address, phone, email, birth_date, note) FROM STDIN")
                .await
                .with_context(|| format!("the import of client {client}"))?;
            let mut sink = std::pin::pin!(sink);
            let mut rows = Vec::new();
            for (place, customer) in self.customers_of(client).enumerate() {
                row(&mut rows, client, place, &customer);
                if rows.len() > 32 << 10 {
                    sink.send(bytes::Bytes::from(std::mem::take(&mut rows)))
                        .await?;
                }
                bar.inc(1);
            }
            sink.send(bytes::Bytes::from(rows)).await?;
            let copied = sink
                .finish()
                .await
                .with_context(|| format!("the import of client {client}"))?;
            ensure!(
                copied == u64::from(self.customers),
                "client {client}: {copied} customers came in"
            );
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The server's folder: elsewhere when PostgreSQL's user cannot pass to ours.
    pub fn postgres(&self) -> PathBuf {
        postgres_embedded::folder_for(self.folder.root())
    }

    /// Where the demo's own files go.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }
}

/// One row of COPY data; the made-up values hold no tab, newline or backslash.
fn row(rows: &mut Vec<u8>, client: u32, place: usize, customer: &Customer) {
    let id = Stage::id(client, place);
    let note = customer.note.expose();
    let fields = [
        customer.name.expose().as_str(),
        customer.kana.expose(),
        customer.address.expose(),
        customer.phone.expose(),
        customer.email.expose(),
        customer.birth_date.expose(),
        if note.is_empty() { "\\N" } else { note },
    ];
    rows.extend_from_slice(format!("{id}\t{client}\t{}\n", fields.join("\t")).as_bytes());
}

/// A client's id.
pub fn client_id(number: u32) -> ClientId {
    ClientId::new(number).expect("the demo's clients are numbered from 1 to 59")
}

fn actor_number(service: &Service, login: &str) -> Result<u32> {
    let state = service.recorder().state();
    let found = state.actors.iter().find(|(_, actor)| actor.login == login);
    found
        .map(|(id, _)| id.0)
        .with_context(|| format!("there is no actor {login}"))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}
