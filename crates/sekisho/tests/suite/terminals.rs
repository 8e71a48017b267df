//! Terminals at a real gate: asking, two approvers, reports over mutual TLS, sessions that agents pass
//! on, and what health decides, up to the running cursor that stops.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use terminal::heartbeat::{GUARD_PROGRAMS, Guard, Heartbeat, HubState};
use terminal::policy::Policy;
use terminal::report::{Report, Said};
use terminal::wire::{self, FromAgent, FromGate, Hello, Standing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::stage::Stage;

/// Everything has to happen within this time.
pub(crate) const SOON: Duration = Duration::from_secs(60);
const BOOT: [u8; 16] = [9; 16];
pub(crate) const POLICY: &str = "version = 1\n[devices]\nhub = \"allow\"\nkeyboard = \"confirm\"\npointer = \"allow\"\n[terminal]\nguard = \"required\"\nheartbeat_s = 2\n";

/// Takes the gate by the digest of its certificate, as an agent does.
#[derive(Debug)]
struct Pinned(Vec<u8>, Arc<CryptoProvider>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        assert_eq!(
            terminal::sha256(end_entity).to_vec(),
            self.0,
            "another gate"
        );
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 alone")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.1.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

/// A terminal: its key, and its history of reports.
pub(crate) struct Seat {
    at: String,
    pin: Vec<u8>,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    next: u64,
    last: [u8; 32],
    since: Instant,
}

impl Seat {
    pub(crate) fn new(stage: &Stage) -> Self {
        let told = stage.command(&["terminal", "pin"]);
        let made = rcgen::generate_simple_self_signed(vec!["seat".to_owned()]).unwrap();
        let pin = told["pin"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&pin[2 * at..2 * at + 2], 16).unwrap();
        Self {
            at: told["gate"].as_str().unwrap().to_owned(),
            pin: (0..32).map(byte).collect(),
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
            next: 1,
            last: [0; 32],
            since: Instant::now(),
        }
    }

    fn uptime_ms(&self) -> u64 {
        1_000_000 + u64::try_from(self.since.elapsed().as_millis()).unwrap()
    }

    pub(crate) async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(self.pin.clone(), provider)))
            .with_client_auth_cert(vec![self.certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(&self.at).await.unwrap();
        let name = ServerName::try_from("gate").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }

    pub(crate) async fn frames(&self, alpn: &[u8]) -> Frames {
        Frames {
            stream: self.connect(alpn).await,
            read: Vec::new(),
        }
    }

    async fn agent(&self) -> Agent {
        let mut agent = Agent(self.frames(wire::ALPN_TERMINAL).await);
        let hello = Hello {
            name: "seat-7".into(),
            boot: BOOT,
            next: self.next,
            last: self.last,
            at_ms: now_ms(),
            uptime_ms: self.uptime_ms(),
        };
        agent.send(&FromAgent::Hello(hello)).await;
        agent
    }

    /// The next report, made and counted.
    fn report(&mut self, body: Said) -> Vec<u8> {
        let report = Report {
            sequence: self.next,
            boot: BOOT,
            at_ms: now_ms(),
            uptime_ms: self.uptime_ms(),
            before: self.last,
            body,
        };
        let bytes = report.encode().unwrap();
        (self.next, self.last) = (self.next + 1, terminal::sha256(&bytes));
        bytes
    }

    /// A session of PostgreSQL's protocol through the agent's door.
    pub(crate) async fn session(
        &self,
        stage: &Stage,
        login: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let password =
            std::fs::read_to_string(stage.dir.join(format!("people/{login}.password"))).unwrap();
        let stream = self.connect(wire::ALPN_SESSION).await;
        let (client, connection) = tokio_postgres::Config::new()
            .user(login)
            .password(password)
            .dbname("callcentre")
            .connect_raw(stream, NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// Messages in frames, on a connection of a terminal.
pub(crate) struct Frames {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Frames {
    pub(crate) async fn send(&mut self, message: &[u8]) {
        let frame = wire::frame(message).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The gate's next message; `None`: it closed the connection.
    pub(crate) async fn hear(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((message, taken)) = wire::unframe(&self.read).unwrap() {
                let message = message.to_vec();
                self.read.drain(..taken);
                return Some(message);
            }
            let read = timeout(SOON, self.stream.read_buf(&mut self.read)).await;
            if read.expect("the gate answers").unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}

pub(crate) struct Agent(Frames);

impl Agent {
    async fn send(&mut self, message: &FromAgent) {
        self.0.send(&message.encode()).await;
    }

    async fn hear(&mut self) -> Option<FromGate> {
        let message = self.0.hear().await?;
        Some(FromGate::decode(&message).unwrap())
    }

    async fn standing(&mut self) -> Standing {
        match self.hear().await {
            Some(FromGate::Welcome { standing, .. }) => standing,
            other => panic!("{other:?} instead of a welcome"),
        }
    }

    /// Sends a report and waits until it is durable.
    pub(crate) async fn report(&mut self, seat: &mut Seat, body: Said) {
        let bytes = seat.report(body);
        self.send(&FromAgent::Report(bytes)).await;
        loop {
            match self.hear().await {
                Some(FromGate::Ack { sequence }) if sequence + 1 == seat.next => return,
                Some(_) => {}
                None => panic!("the gate closed the connection"),
            }
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A heartbeat of a terminal that lacks nothing, but for what is plugged in.
pub(crate) fn heartbeat(present: u32, refused: u64) -> Said {
    Said::Heartbeat(Box::new(Heartbeat {
        policy: Policy::parse(POLICY).unwrap().digest(),
        agent: [3; 32],
        boot: BOOT,
        kernel: "Linux 6.1".into(),
        usbcore_default: 0,
        hubs: vec![HubState {
            name: "usb1".into(),
            authorized_default: 0,
            interface_authorized_default: 0,
        }],
        blocks: Vec::new(),
        unlisted: 0,
        guard: Guard::Pinned {
            programs: GUARD_PROGRAMS,
            refused: 0,
        },
        fanotify: true,
        refused,
        attached: 0,
        queue: 0,
        unclean_ends: 0,
        present,
    }))
}

pub(crate) fn sign(stage: &Stage, asked: &serde_json::Value) {
    let change = asked["change"].as_u64().expect("a change").to_string();
    for approver in ["approver-1", "approver-2"] {
        stage.command(&["approve", &change, "--as", approver, "--yes"]);
    }
}

/// Whether a session sees names in clear.
pub(crate) async fn sees(stage: &Stage, session: &Client) -> bool {
    let sql = "SELECT name FROM customers WHERE client_id = 1 AND id = 1000001";
    let rows = session.simple_query(sql).await.unwrap();
    let mut shown = rows.iter().filter_map(|it| match it {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let shown = shown.next().expect("a row");
    stage.holds_plaintext(shown.as_bytes())
}

pub(crate) async fn until(
    stage: &Stage,
    what: &str,
    mut is_so: impl FnMut(&serde_json::Value) -> bool,
) {
    let deadline = Instant::now() + SOON;
    loop {
        let told = stage.command(&["terminal", "list"]);
        if is_so(&told) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {told}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_healthy_terminal_shows_anything_in_clear() {
    let stage = Stage::start();
    let mut seat = Seat::new(&stage);
    let mut agent = asks_and_is_approved(&stage, &mut seat).await;
    needs_health(&stage);

    let here = stage.connect("tanaka", "callcentre").await;
    assert!(!sees(&stage, &here).await, "not through a terminal");
    let there = seat.session(&stage, "tanaka").await.unwrap();
    assert!(!sees(&stage, &there).await, "no heartbeat yet");

    let started = Said::Started {
        version: "1".into(),
        clean: false,
    };
    agent.report(&mut seat, started).await;
    agent.report(&mut seat, heartbeat(0, 0)).await;
    until(&stage, "healthy", |it| it["healthy"] == true).await;
    assert!(sees(&stage, &there).await, "healthy");
    assert!(!sees(&stage, &here).await, "another place is as it was");

    psql_logs_in_through_an_agent(&stage, &seat).await;
    a_stick_stops_a_running_cursor(&stage, &mut seat, &mut agent, &there).await;
    silence_is_noticed(&stage, &mut seat, agent, &there).await;
    a_copy_of_the_key_is_noticed(&stage, &mut seat).await;

    let asked = stage.command(&["terminal", "retire", "seat-7"]);
    assert_eq!(asked["in_force"], true, "one person takes away");
    assert!(seat.session(&stage, "tanaka").await.is_err(), "retired");
    assert_eq!(seat.agent().await.standing().await, Standing::Retired);
}

pub(crate) async fn asks_and_is_approved(stage: &Stage, seat: &mut Seat) -> Agent {
    let mut agent = seat.agent().await;
    assert_eq!(agent.standing().await, Standing::Waiting);
    let told = stage.command(&["terminal", "list"]);
    assert_eq!(
        (&told["standing"], &told["name"]),
        (&"asks".into(), &"seat-7".into())
    );
    assert!(
        seat.session(stage, "tanaka").await.is_err(),
        "nobody approved it"
    );

    let policy = stage.dir.join("terminal-policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let asked = stage.command(&["terminal", "policy", "set", policy.to_str().unwrap()]);
    sign(stage, &asked);
    let asked = stage.command(&["terminal", "approve", "seat-7"]);
    assert_eq!(asked["in_force"], false, "two approvers sign");
    sign(stage, &asked);
    assert_eq!(agent.standing().await, Standing::Approved);
    match agent.hear().await {
        Some(FromGate::Policy { text }) => {
            assert_eq!(Policy::parse(&text), Policy::parse(POLICY));
        }
        other => panic!("{other:?} instead of the policy"),
    }
    agent
}

/// Nothing is shown in clear but through a healthy terminal, from here on.
pub(crate) fn needs_health(stage: &Stage) {
    let path = stage.dir.join("policy/policy.cedar");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("\nforbid (principal, action == Action::\"see_clear\", resource) unless { context.healthy };\n");
    std::fs::write(&path, text).unwrap();
    let asked = stage.command(&["policy", "propose"]);
    assert_eq!(asked["in_force"], true, "it only takes away: {asked}");
}

/// libpq refuses channel binding where it sees no TLS of its own.
async fn psql_logs_in_through_an_agent(stage: &Stage, seat: &Seat) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let password = std::fs::read_to_string(stage.dir.join("people/tanaka.password")).unwrap();
    let sql = "SELECT name FROM customers WHERE client_id = 1 AND id = 1000001";
    let psql = tokio::process::Command::new("psql")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "tanaka",
            "-d",
            "callcentre",
        ])
        .args(["-At", "-c", sql])
        .env("PGPASSWORD", password.trim_end())
        .output();
    let pass_on = async {
        loop {
            let (mut driver, _) = listener.accept().await.unwrap();
            let mut session = seat.connect(wire::ALPN_SESSION).await;
            let _ = tokio::io::copy_bidirectional(&mut driver, &mut session).await;
        }
    };
    let output = tokio::select! {
        output = psql => output.expect("psql runs"),
        () = pass_on => unreachable!("it goes on"),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(stage.holds_plaintext(&output.stdout), "{error}");
}

async fn a_stick_stops_a_running_cursor(
    stage: &Stage,
    seat: &mut Seat,
    agent: &mut Agent,
    session: &Client,
) {
    session
        .batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT name FROM customers WHERE client_id = 1 ORDER BY id")
        .await
        .unwrap();
    let first = session.query("FETCH 2 FROM c", &[]).await.unwrap();
    let name: String = first[0].get(0);
    assert!(stage.holds_plaintext(name.as_bytes()));

    agent.report(seat, heartbeat(1, 1)).await;
    let told = stage.command(&["terminal", "list"]);
    assert_eq!(told["healthy"], false);
    assert!(
        told["lacks"][0].as_str().unwrap().contains("plugged in"),
        "{told}"
    );
    if let Ok(rows) = session.query("FETCH 2 FROM c", &[]).await {
        let name: String = rows[0].get(0);
        assert!(
            !stage.holds_plaintext(name.as_bytes()),
            "shown beside a stick"
        );
    }
    session.batch_execute("ROLLBACK").await.unwrap();
    assert!(!sees(stage, session).await, "beside a stick");

    agent.report(seat, heartbeat(0, 1)).await;
    assert!(sees(stage, session).await, "it was taken out");
}

async fn silence_is_noticed(stage: &Stage, seat: &mut Seat, agent: Agent, session: &Client) {
    drop(agent);
    let said = |it: &serde_json::Value| {
        let lack = it["lacks"][0].as_str().unwrap_or_default();
        it["healthy"] == false && lack.starts_with("no heartbeat")
    };
    until(stage, "silent", said).await;
    assert!(!sees(stage, session).await, "silent");
    // A connection alone is no sign of life, and what waited on its disk does not tell how it is now.
    let mut agent = seat.agent().await;
    assert_eq!(agent.standing().await, Standing::Approved);
    assert!(!sees(stage, session).await, "connected, and silent");
    // It speaks, and everything is well again.
    agent.report(seat, heartbeat(0, 1)).await;
    assert!(sees(stage, session).await, "it is back");
}

/// Two machines with one key cannot both go on.
async fn a_copy_of_the_key_is_noticed(stage: &Stage, seat: &mut Seat) {
    let (next, last) = (seat.next, seat.last);
    let mut first = seat.agent().await;
    first.report(seat, heartbeat(0, 2)).await;
    (seat.next, seat.last) = (next, last);
    let mut copy = seat.agent().await;
    let bytes = seat.report(heartbeat(0, 3));
    copy.send(&FromAgent::Report(bytes)).await;
    while copy.hear().await.is_some() {}
    until(stage, "contradicts", |it| {
        let lack = it["lacks"][0].as_str().unwrap_or_default();
        it["healthy"] == false && lack.contains("contradict")
    })
    .await;
}
