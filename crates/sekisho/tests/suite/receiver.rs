//! A client's receiver of receipts: a real HTTPS server that can misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How it takes what it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// 200.
    Takes,
    /// This status, and nothing is kept.
    Refuses(u16),
    /// Reads, keeps, and never answers.
    KeepsAndHangs,
    /// Closes the connection at once.
    Gone,
}

/// What it shares with its thread.
struct Held {
    mood: Mutex<Mood>,
    /// Lines of all requests that were kept, in order.
    lines: Mutex<Vec<String>>,
    /// Requests that came, taken or not.
    asked: Mutex<u64>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    held: Arc<Held>,
    certificate: String,
}

impl Receiver {
    /// Listens at a free port with a certificate of its own, which `certificate` is written to.
    pub(crate) fn start(certificate: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(certificate, made.cert.pem()).unwrap();
        let pem = made.signing_key.serialize_pem();
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()];
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            held: Arc::new(Held {
                mood: Mutex::new(Mood::Takes),
                lines: Mutex::default(),
                asked: Mutex::default(),
            }),
            certificate: certificate.display().to_string(),
        };
        let (held, config) = (Arc::clone(&receiver.held), Arc::new(config));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (held, config) = (Arc::clone(&held), Arc::clone(&config));
                // A connection that breaks is the other side's business.
                std::thread::spawn(move || answer(stream.unwrap(), config, &held));
            }
        });
        receiver
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.held.mood.lock().unwrap() = mood;
    }

    /// The table of the configuration that names it.
    pub(crate) fn table(&self, client: &str, more: &str) -> String {
        format!(
            "\n[[logs.receipts]]\nclient = {client:?}\nurl = \"https://localhost:{}/receipts\"\n\
             root_certificates = {:?}\n{more}\n",
            self.port, self.certificate
        )
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.held.lines.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> u64 {
        *self.held.asked.lock().unwrap()
    }

    /// The indexes of what was kept.
    pub(crate) fn indexes(&self) -> Vec<u64> {
        let lines = self.lines();
        let index = |line: &String| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["index"].as_u64().unwrap()
        };
        lines.iter().map(index).collect()
    }
}

fn answer(stream: TcpStream, config: Arc<rustls::ServerConfig>, held: &Held) -> Option<()> {
    let mood = *held.mood.lock().unwrap();
    if mood == Mood::Gone {
        *held.asked.lock().unwrap() += 1;
        return None;
    }
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let tls = rustls::ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(rustls::StreamOwned::new(tls, stream));
    let (mut length, mut line) = (0, String::new());
    stream.read_line(&mut line).ok()?;
    assert_eq!(line, "POST /receipts HTTP/1.1\r\n");
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    *held.asked.lock().unwrap() += 1;
    let mood = *held.mood.lock().unwrap();
    if matches!(mood, Mood::Takes | Mood::KeepsAndHangs) {
        let text = String::from_utf8(body).unwrap();
        let mut lines = held.lines.lock().unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    let status = match mood {
        Mood::Takes => 200,
        Mood::Refuses(status) => status,
        Mood::KeepsAndHangs | Mood::Gone => {
            // Until the other side has had enough.
            let _ = stream.read(&mut [0]);
            return None;
        }
    };
    let answer = format!(
        "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let mut stream = stream.into_inner();
    stream.write_all(answer.as_bytes()).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
