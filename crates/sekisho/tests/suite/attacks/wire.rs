//! The protocol by hand: a connection that sends what it likes and keeps what it gets.

use std::time::Duration;

use bytes::BytesMut;
use pgwire::backend::{Authentication, Message};
use pgwire::frame::{Frame, Step, next_frame};
use pgwire::frontend;
use pgwire::startup::StartupPacket;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::centre::{Centre, DATABASE, DEADLINE, password};

/// One message as it came.
pub(crate) type Raw = (u8, Vec<u8>);

pub(crate) struct Wire {
    stream: TcpStream,
    read: BytesMut,
    pub(crate) pid: i32,
    pub(crate) secret: Vec<u8>,
    /// What came during the login.
    pub(crate) greeting: Vec<u8>,
}

impl Wire {
    /// A fresh connection that has said nothing.
    pub(crate) async fn open(centre: &Centre) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", centre.port))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: BytesMut::new(),
            pid: 0,
            secret: Vec::new(),
            greeting: Vec::new(),
        }
    }

    pub(crate) async fn log_in(centre: &Centre, login: &str) -> Self {
        Self::log_in_slowly(centre, login, usize::MAX).await
    }

    /// Logs in with so many bytes in a packet.
    pub(crate) async fn log_in_slowly(centre: &Centre, login: &str, bytes: usize) -> Self {
        let mut wire = Self::open(centre).await;
        let mut out = BytesMut::new();
        let parameter = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        StartupPacket::Startup {
            major: 3,
            minor: 0,
            parameters: vec![parameter("user", login), parameter("database", DATABASE)],
        }
        .write(&mut out)
        .unwrap();
        wire.send_in(&out, bytes).await;
        let mut scram = ScramSha256::new(password(login).as_bytes(), ChannelBinding::unsupported());
        loop {
            let (tag, body) = wire.message().await.expect("the login goes on");
            out.clear();
            wire.greeting.extend_from_slice(&body);
            match Message::decode(tag, &body).unwrap() {
                Message::Authentication(Authentication::Sasl(_)) => {
                    let mechanism = SCRAM_SHA_256.as_bytes();
                    let first = scram.message();
                    frontend::write_sasl_initial_response(&mut out, mechanism, Some(first))
                        .unwrap();
                }
                Message::Authentication(Authentication::SaslContinue(data)) => {
                    scram.update(data).unwrap();
                    frontend::write_sasl_response(&mut out, scram.message()).unwrap();
                }
                Message::Authentication(Authentication::SaslFinal(data)) => {
                    scram.finish(data).unwrap();
                }
                Message::BackendKeyData(key) => {
                    (wire.pid, wire.secret) = (key.pid, key.secret.to_vec());
                }
                Message::ReadyForQuery(_) => return wire,
                Message::ErrorResponse(error) => panic!("{login}: {error:?}"),
                _ => {}
            }
            wire.send_in(&out, bytes).await;
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The gate may have closed already: what it said then is read.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The same in pieces; a piece is a packet of its own.
    pub(crate) async fn send_in(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.send(piece).await;
            if size < usize::MAX {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The next message; `None`: the connection was closed.
    pub(crate) async fn message(&mut self) -> Option<Raw> {
        loop {
            match next_frame(&self.read, 64 << 20).expect("the gate sends whole messages") {
                Step::Frame(Frame { tag, total, .. }) => {
                    let message = self.read.split_to(total);
                    return Some((tag, message[5..].to_vec()));
                }
                Step::Oversize { .. } => panic!("a message of more than 64 MiB"),
                Step::NeedMore { .. } => {}
            }
            let read = tokio::time::timeout(DEADLINE, self.stream.read_buf(&mut self.read)).await;
            match read.expect("the gate answers or closes") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Everything up to ReadyForQuery, or to the end of the connection.
    pub(crate) async fn until_ready(&mut self) -> Vec<Raw> {
        self.until(b'Z').await
    }

    /// Everything up to a message of this tag, or an error after which it will not come, or to the
    /// end of the connection.
    pub(crate) async fn until(&mut self, last: u8) -> Vec<Raw> {
        let mut all = Vec::new();
        while let Some(message) = self.message().await {
            let over = message.0 == last || (message.0 == b'E' && last != b'Z');
            all.push(message);
            if over {
                break;
            }
        }
        all
    }

    /// Sends, and gives what comes up to ReadyForQuery.
    pub(crate) async fn ask(&mut self, bytes: &[u8]) -> Vec<Raw> {
        self.send(bytes).await;
        self.until_ready().await
    }

    /// Whether the gate says an error and closes without being told that nothing more comes.
    pub(crate) async fn is_refused(&mut self) -> bool {
        let mut error = false;
        while let Some((tag, _)) = self.message().await {
            error |= tag == b'E';
        }
        error
    }

    /// Says that nothing more comes, and reads to the end. `false`: the gate kept it open.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let _ = self.stream.shutdown().await;
        let read = async {
            let mut scratch = vec![0; 64 << 10];
            while let Ok(n) = self.stream.read(&mut scratch).await {
                if n == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read)
            .await
            .is_ok()
    }
}

/// A start-up packet of protocol 3.0.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let parameters = parameters
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    StartupPacket::Startup {
        major: 3,
        minor: 0,
        parameters: parameters.collect(),
    }
    .write(&mut out)
    .unwrap();
    out.to_vec()
}

/// A Query.
pub(crate) fn query(sql: &str) -> BytesMut {
    let mut out = BytesMut::new();
    frontend::write_query(&mut out, sql.as_bytes()).unwrap();
    out
}

/// Parse of a named statement.
pub(crate) fn parse(name: &str, sql: &str) -> BytesMut {
    let mut out = BytesMut::new();
    frontend::write_parse(&mut out, name.as_bytes(), sql.as_bytes(), []).unwrap();
    out
}

/// Bind (to the unnamed portal), Describe, Execute.
pub(crate) fn bind_execute(name: &str, parameter: Option<&str>) -> BytesMut {
    let mut out = BytesMut::new();
    let parameters = parameter.map(|text| Some(text.as_bytes()));
    frontend::write_bind(&mut out, b"", name.as_bytes(), [], parameters, []).unwrap();
    frontend::write_describe(&mut out, frontend::Target::Portal(b"")).unwrap();
    frontend::write_execute(&mut out, b"", 0).unwrap();
    out
}

pub(crate) fn sync() -> BytesMut {
    let mut out = BytesMut::new();
    frontend::write_sync(&mut out);
    out
}

pub(crate) fn flush() -> BytesMut {
    let mut out = BytesMut::new();
    frontend::write_flush(&mut out);
    out
}

pub(crate) fn together(parts: &[BytesMut]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.iter().copied()).collect()
}

/// Tags of messages, as text.
pub(crate) fn tags(messages: &[Raw]) -> String {
    messages.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// The status in the last ReadyForQuery: `I`, `T` or `E`.
pub(crate) fn status(messages: &[Raw]) -> Option<char> {
    let ready = messages.iter().rev().find(|(tag, _)| *tag == b'Z');
    ready.and_then(|(_, body)| body.first().map(|status| char::from(*status)))
}

/// The SQLSTATE of the first error.
pub(crate) fn code(messages: &[Raw]) -> Option<String> {
    messages
        .iter()
        .find(|(tag, _)| *tag == b'E')
        .map(|(tag, body)| match Message::decode(*tag, body).unwrap() {
            Message::ErrorResponse(error) => String::from_utf8_lossy(error.code()).into_owned(),
            _ => unreachable!("its tag says so"),
        })
}

/// First columns of the rows.
pub(crate) fn rows(messages: &[Raw]) -> Vec<String> {
    let rows = messages.iter().filter(|(tag, _)| *tag == b'D');
    rows.map(|(_, body)| {
        let row = pgwire::backend::DataRow::decode(body).unwrap();
        let first = row.values.iter().next().flatten();
        String::from_utf8_lossy(first.unwrap_or_default()).into_owned()
    })
    .collect()
}
