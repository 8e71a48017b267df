//! The authority behind HTTP (RFC 3161 section 3.4), and what may go wrong there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::Authority;

/// How it answers.
#[derive(Clone, Debug)]
pub enum Mode {
    /// As it should.
    Honest,
    /// With this status.
    Status(u16),
    /// Takes the request and hangs up.
    Gone,
    /// With these bytes, whatever is asked.
    Always(Vec<u8>),
}

/// A server in a thread of its own, which lives as long as the process.
pub struct Server {
    /// Its address.
    pub url: String,
    mode: Arc<Mutex<Mode>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    pub fn new(authority: Arc<Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tsa", listener.local_addr().unwrap());
        let mode = Arc::new(Mutex::new(Mode::Honest));
        let asked = Arc::new(AtomicUsize::new(0));
        let server = Self {
            url,
            mode: Arc::clone(&mode),
            asked: Arc::clone(&asked),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let how = mode.lock().unwrap().clone();
                asked.fetch_add(1, Ordering::SeqCst);
                // Whoever asked may be gone.
                let _ = serve(&authority, stream, how);
            }
        });
        server
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Connections so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(authority: &Authority, mut stream: TcpStream, how: Mode) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut length, mut is_query) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap_or(0);
        }
        is_query |= line == "content-type: application/timestamp-query";
        if line.is_empty() {
            break;
        }
    }
    let mut request = vec![0; length];
    reader.read_exact(&mut request)?;
    let (status, body) = match how {
        Mode::Gone => return Ok(()),
        Mode::Status(status) => (status, Vec::new()),
        Mode::Always(bytes) => (200, bytes),
        Mode::Honest if is_query => (200, authority.answer(&request)),
        Mode::Honest => (415, Vec::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/timestamp-reply\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}
