//! Link and tunnel against a real TLS server in this process: pins, replays, windows, cuts.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use post::connection::Connection;
use post::link::{Link, News, Reports};
use post::queue::{Queue, Stamp};
use post::tls::Identity;
use post::tunnel::{IDLE_MS_MAX, Tunnel};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use terminal::report::{Report, Said};
use terminal::sha256;
use terminal::wire::{
    ALPN_SESSION, ALPN_TERMINAL, FromAgent, FromGate, Hello, Standing, frame, unframe,
};

/// Nothing here takes longer; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes every certificate and remembers its key, as the gate does.
#[derive(Debug)]
struct Anybody {
    provider: Arc<rustls::crypto::CryptoProvider>,
    keys: Mutex<Vec<Vec<u8>>>,
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.keys.lock().unwrap().push(certificate.to_vec());
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        panic!("TLS 1.2 is not spoken")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

struct Server {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    verifier: Arc<Anybody>,
    pin: [u8; 32],
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

impl Server {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["gate.invalid".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(Anybody {
            provider: provider.clone(),
            keys: Mutex::new(Vec::new()),
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(
                vec![made.cert.der().clone()],
                PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
            )
            .unwrap();
        config.alpn_protocols = vec![ALPN_TERMINAL.to_vec(), ALPN_SESSION.to_vec()];
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            config: Arc::new(config),
            verifier,
            pin: sha256(made.cert.der()),
        }
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    fn accept(&self) -> Stream {
        let (tcp, _) = self.listener.accept().unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        StreamOwned::new(ServerConnection::new(self.config.clone()).unwrap(), tcp)
    }
}

fn say(stream: &mut Stream, message: &FromGate) {
    stream
        .write_all(&frame(&message.encode()).unwrap())
        .unwrap();
    stream.flush().unwrap();
}

fn hear(stream: &mut Stream, read: &mut Vec<u8>) -> FromAgent {
    loop {
        if let Some((message, taken)) = unframe(read).unwrap() {
            let message = FromAgent::decode(message).unwrap();
            read.drain(..taken);
            return message;
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the agent ended");
        read.extend_from_slice(&buffer[..count]);
    }
}

fn hello(stream: &mut Stream, read: &mut Vec<u8>) -> Hello {
    match hear(stream, read) {
        FromAgent::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

fn welcome(acknowledged: u64) -> FromGate {
    FromGate::Welcome {
        standing: Standing::Approved,
        acknowledged,
        heartbeat_ms: 20_000,
        policy: [0; 32],
    }
}

struct Agent {
    _folder: tempfile::TempDir,
    reports: Arc<Reports>,
    identity: Arc<Identity>,
    news: Receiver<News>,
    tell: Sender<News>,
}

impl Agent {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(&folder.path().join("queue"), 1 << 20).unwrap();
        let (tell, news) = channel();
        Self {
            reports: Arc::new(Reports::new(queue).unwrap()),
            identity: Arc::new(Identity::open(folder.path()).unwrap()),
            _folder: folder,
            news,
            tell,
        }
    }

    fn push(&self, count: u64) {
        for at in 0..count {
            let stamp = Stamp {
                boot: [1; 16],
                at_ms: at,
                uptime_ms: at,
            };
            let said = Said::Tampered {
                what: at.to_string(),
            };
            self.reports.queue().push(stamp, said).unwrap().unwrap();
        }
        self.reports.ring();
    }

    fn start(&self, address: String, pin: [u8; 32]) {
        let tell = self.tell.clone();
        let link = Link {
            address,
            pin,
            name: "seat-12".to_owned(),
            boot: [1; 16],
            identity: self.identity.clone(),
            reports: self.reports.clone(),
            tell: Box::new(move |news| tell.send(news).unwrap_or(())),
        };
        std::thread::spawn(move || link.run());
    }

    fn until(&self, what: &str, is: impl Fn(&Queue) -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        while !is(&self.reports.queue()) {
            assert!(std::time::Instant::now() < end, "never: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn reports_go_out_in_order_and_are_kept_until_they_are_acknowledged() {
    let server = Server::new();
    let agent = Agent::new();
    agent.push(100);
    agent.start(server.address(), server.pin);
    let (mut stream, mut read) = (server.accept(), Vec::new());
    let first = hello(&mut stream, &mut read);
    assert_eq!((first.next, first.last), (1, [0; 32]));
    assert_eq!(first.name, "seat-12");
    // What was acknowledged in another life is not sent again.
    say(&mut stream, &welcome(3));
    let mut before = None;
    for sequence in 4..=20 {
        let FromAgent::Report(bytes) = hear(&mut stream, &mut read) else {
            panic!("no report");
        };
        let report = Report::decode(&bytes).unwrap();
        assert_eq!(report.sequence, sequence);
        assert!(before.is_none_or(|it| it == report.before));
        before = Some(sha256(&bytes));
    }
    say(&mut stream, &FromGate::Ack { sequence: 10 });
    agent.until("10 acknowledged", |it| it.waiting() == 90);
    // The network goes: everything after 10 comes again.
    stream.sock.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    let (mut stream, mut read) = (server.accept(), Vec::new());
    assert_eq!(hello(&mut stream, &mut read).next, 11);
    say(&mut stream, &welcome(10));
    for sequence in 11..=100 {
        let FromAgent::Report(bytes) = hear(&mut stream, &mut read) else {
            panic!("no report");
        };
        assert_eq!(Report::decode(&bytes).unwrap().sequence, sequence);
        say(&mut stream, &FromGate::Ack { sequence });
    }
    agent.until("all acknowledged", |it| it.waiting() == 0);
    // A policy comes in, and a new report goes out at once.
    say(
        &mut stream,
        &FromGate::Policy {
            text: "version = 1".to_owned(),
        },
    );
    agent.push(1);
    assert!(matches!(hear(&mut stream, &mut read), FromAgent::Report(_)));
    let news: Vec<News> = std::iter::from_fn(|| agent.news.recv_timeout(PATIENCE).ok())
        .take(3)
        .collect();
    assert_eq!(news[0], News::Welcome(Standing::Approved, 20_000));
    assert_eq!(news[2], News::Policy("version = 1".to_owned()));
    // The gate was shown the terminal's certificate both times.
    assert_eq!(server.verifier.keys.lock().unwrap().len(), 2);
}

#[test]
fn a_terminal_that_waits_sends_nothing_and_another_certificate_gets_nothing() {
    let server = Server::new();
    let agent = Agent::new();
    agent.push(5);
    agent.start(server.address(), server.pin);
    let (mut stream, mut read) = (server.accept(), Vec::new());
    hello(&mut stream, &mut read);
    say(
        &mut stream,
        &FromGate::Welcome {
            standing: Standing::Waiting,
            acknowledged: 0,
            heartbeat_ms: 20_000,
            policy: [0; 32],
        },
    );
    assert_eq!(
        agent.news.recv_timeout(PATIENCE).unwrap(),
        News::Welcome(Standing::Waiting, 20_000)
    );
    let mut byte = [0; 1];
    stream
        .sock
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    assert!(stream.read(&mut byte).is_err(), "nothing may come");
    assert_eq!(agent.reports.queue().waiting(), 5);

    let config = agent.identity.client([9; 32], ALPN_TERMINAL).unwrap();
    let address = server.address();
    let other = std::thread::spawn(move || Connection::open(&address, config));
    let mut stream = server.accept();
    let _ = stream.read(&mut byte);
    let error = other.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn the_tunnel_carries_both_ways_and_ends_with_its_sides() {
    let server = Server::new();
    let agent = Agent::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let door = listener.local_addr().unwrap();
    let tunnel = Tunnel {
        listener,
        address: server.address(),
        config: agent.identity.client(server.pin, ALPN_SESSION).unwrap(),
        idle_ms_max: IDLE_MS_MAX,
    };
    std::thread::spawn(move || tunnel.run());
    let echo = std::thread::spawn(move || {
        let mut stream = server.accept();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(ALPN_SESSION));
        all.reverse();
        stream.write_all(&all).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        all.len()
    });
    let mut driver = TcpStream::connect(door).unwrap();
    driver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let mut writer = driver.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    driver.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert_eq!(echo.join().unwrap(), sent.len());
    back.reverse();
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
}

/// A tunnel, its gate, and a driver that has connected.
fn tunnel(idle_ms_max: u64) -> (Server, TcpStream) {
    let server = Server::new();
    let agent = Agent::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let door = listener.local_addr().unwrap();
    let tunnel = Tunnel {
        listener,
        address: server.address(),
        config: agent.identity.client(server.pin, ALPN_SESSION).unwrap(),
        idle_ms_max,
    };
    std::thread::spawn(move || tunnel.run());
    let driver = TcpStream::connect(door).unwrap();
    driver.set_read_timeout(Some(PATIENCE)).unwrap();
    (server, driver)
}

#[test]
fn a_session_in_which_nothing_is_said_ends() {
    let (server, mut driver) = tunnel(200);
    let gate = std::thread::spawn(move || {
        let mut stream = server.accept();
        // The tunnel goes without a word; what matters is that it goes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert_eq!(driver.read_to_end(&mut Vec::new()).unwrap(), 0);
    gate.join().unwrap();
}

/// Ticks of a processor that the threads of sessions have used.
fn session_ticks() -> u64 {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter(|stat| stat.contains("(session)"))
        .map(|stat| {
            // proc(5): utime and stime are the 12th and 13th after the name.
            let after = stat.rsplit(')').next().unwrap();
            let ticks = after.split_whitespace().skip(11).take(2);
            ticks.map(|it| it.parse::<u64>().unwrap()).sum::<u64>()
        })
        .sum()
}

#[test]
fn a_driver_that_does_not_read_costs_no_processor() {
    let (server, driver) = tunnel(IDLE_MS_MAX);
    let mut stream = server.accept();
    stream.sock.set_nonblocking(true).unwrap();
    // Until nothing more fits on the way, for a while.
    let mut full = 0;
    while full < 20 {
        let taken = stream.write(&[0; 16 << 10]).unwrap_or(0);
        full = if taken > 0 { 0 } else { full + 1 };
        if taken == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let _ = stream.sock.shutdown(Shutdown::Write);
    let before = session_ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = session_ticks() - before;
    assert!(used < 10, "{used} of 100 ticks");
    drop(driver);
}

#[test]
fn an_identity_stays() {
    let folder = tempfile::tempdir().unwrap();
    let first = Identity::open(folder.path()).unwrap().id;
    assert_eq!(Identity::open(folder.path()).unwrap().id, first);
    std::fs::write(folder.path().join("terminal.key"), b"no key").unwrap();
    assert!(Identity::open(folder.path()).is_err());
}
