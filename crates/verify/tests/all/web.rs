//! A server of files in memory, and the program itself.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use verify::store::Memory;

/// Serves files; one thread a connection, one request a connection.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    pub(crate) files: Arc<Mutex<Memory>>,
    /// Paths that were asked for.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    /// Bodies are cut off at this path.
    pub(crate) cut: Arc<Mutex<Option<String>>>,
}

impl Web {
    pub(crate) fn new(files: Memory) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let it = Self {
            address: listener.local_addr().unwrap(),
            files: Arc::new(Mutex::new(files)),
            asked: Arc::default(),
            cut: Arc::default(),
        };
        let (files, asked, cut) = (it.files.clone(), it.asked.clone(), it.cut.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (files, asked, cut) = (files.clone(), asked.clone(), cut.clone());
                std::thread::spawn(move || {
                    let _ = answer(stream, &files, &asked, &cut);
                });
            }
        });
        it
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn answer(
    mut stream: TcpStream,
    files: &Mutex<Memory>,
    asked: &Mutex<Vec<String>>,
    cut: &Mutex<Option<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|it| !it.is_empty()))
    {}
    let path = first.split(' ').nth(1).unwrap_or("/")[1..].to_owned();
    asked.lock().unwrap().push(path.clone());
    let body = files.lock().unwrap().0.get(&path).cloned();
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    let half = cut.lock().unwrap().as_deref() == Some(&path);
    stream.write_all(if half { &body[..length / 2] } else { &body })
}

/// Runs the program in a folder.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    run_with(folder, arguments, "")
}

pub(crate) fn run_with(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sekisho-verify"))
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
