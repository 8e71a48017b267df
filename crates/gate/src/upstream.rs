//! The gate as a driver of PostgreSQL: connecting, logging in by credentials of its own, and the
//! few statements that it runs itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pgwire::backend::{self, Authentication, ErrorResponse, Message};
use pgwire::frame::{Frame, Step, next_frame};
use pgwire::frontend;
use pgwire::startup::StartupPacket;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::net::Stream;
use crate::shared::{Address, UpstreamLogin};

/// PostgreSQL, as the configuration names it.
#[derive(Clone)]
pub struct Upstream {
    /// Where it listens.
    pub address: Address,
    /// TLS with verification; `None`: none, for loopback and Unix sockets.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Connecting and logging in together, in ms.
    pub connect_ms_max: u64,
}

/// Why PostgreSQL could not be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It could not be reached.
    #[error("PostgreSQL cannot be reached at {0}: {1}")]
    Unreachable(String, std::io::Error),
    /// It did not answer in time.
    #[error("PostgreSQL at {0} did not answer within {1} ms")]
    Late(String, u64),
    /// It refused; its own words.
    #[error("PostgreSQL refused: {message}")]
    Refused {
        /// The whole ErrorResponse.
        response: Vec<u8>,
        /// Its message.
        message: String,
    },
    /// It speaks something else, or wants an authentication that the gate does not do.
    #[error("PostgreSQL at login: {0}")]
    Protocol(String),
}

/// A session at PostgreSQL, logged in and idle.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) stream: Stream,
    /// ParameterStatus messages of the login.
    pub(crate) parameters: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) pid: i32,
    pub(crate) secret: Vec<u8>,
    /// Bytes read beyond the login.
    pub(crate) rest: BytesMut,
    /// NoticeResponse messages of the login.
    pub(crate) notices: Vec<u8>,
}

/// Longest message that is taken while logging in, in bytes.
const LOGIN_BYTES_MAX: usize = 64 << 10;

impl Upstream {
    fn name(&self) -> String {
        match &self.address {
            Address::Tcp(host, port) => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// Connects and logs in.
    pub(crate) async fn connect(
        &self,
        login: &UpstreamLogin,
        parameters: &[(String, String)],
    ) -> Result<Connected, UpstreamError> {
        let limit = Duration::from_millis(self.connect_ms_max);
        timeout(limit, self.connect_now(login, parameters))
            .await
            .unwrap_or_else(|_| Err(UpstreamError::Late(self.name(), self.connect_ms_max)))
    }

    async fn open(&self) -> Result<(Stream, Option<Vec<u8>>), UpstreamError> {
        let unreachable = |error| UpstreamError::Unreachable(self.name(), error);
        let (host, port) = match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                return Ok((Stream::Unix(stream), None));
            }
            Address::Tcp(host, port) => (host, *port),
        };
        let mut stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(config) = &self.tls else {
            return Ok((Stream::Tcp(stream), None));
        };
        let mut request = BytesMut::new();
        StartupPacket::SslRequest
            .write(&mut request)
            .map_err(protocol)?;
        stream.write_all(&request).await.map_err(unreachable)?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await.map_err(unreachable)?;
        if answer != *b"S" {
            return Err(UpstreamError::Protocol(
                "TLS is configured, but the server offers none".to_owned(),
            ));
        }
        let name = ServerName::try_from(host.clone()).map_err(protocol)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name, stream).await.map_err(unreachable)?;
        let end_point = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|certificate| pgwire::scram::tls_server_end_point(certificate));
        Ok((Stream::Tls(Box::new(stream.into())), end_point))
    }

    async fn connect_now(
        &self,
        login: &UpstreamLogin,
        parameters: &[(String, String)],
    ) -> Result<Connected, UpstreamError> {
        let (stream, end_point) = self.open().await?;
        let mut talk = Talk {
            stream,
            read: BytesMut::new(),
            name: self.name(),
        };
        let mut all = vec![("user".to_owned(), login.user.clone())];
        all.extend(parameters.iter().cloned());
        let mut out = BytesMut::new();
        StartupPacket::Startup {
            major: 3,
            minor: 0,
            parameters: all,
        }
        .write(&mut out)
        .map_err(protocol)?;
        talk.send(&out).await?;
        talk.authenticate(login, end_point).await?;
        talk.begin().await
    }

    /// Sends a CancelRequest and waits until PostgreSQL has closed its connection: only then is
    /// the next statement of the session safe from it.
    pub(crate) async fn cancel(&self, pid: i32, secret: Vec<u8>) -> Result<(), UpstreamError> {
        let limit = Duration::from_millis(self.connect_ms_max);
        let cancel = async {
            let (mut stream, _) = self.open().await?;
            let mut out = BytesMut::new();
            StartupPacket::Cancel { pid, secret }
                .write(&mut out)
                .map_err(protocol)?;
            stream.write_all(&out).await.map_err(protocol)?;
            let mut end = [0; 64];
            while stream.read(&mut end).await.map_err(protocol)? > 0 {}
            Ok(())
        };
        timeout(limit, cancel)
            .await
            .unwrap_or_else(|_| Err(UpstreamError::Late(self.name(), self.connect_ms_max)))
    }
}

fn protocol(error: impl std::fmt::Display) -> UpstreamError {
    UpstreamError::Protocol(error.to_string())
}

/// A conversation, message by message.
struct Talk {
    stream: Stream,
    read: BytesMut,
    name: String,
}

impl Talk {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), UpstreamError> {
        let broken = |error| UpstreamError::Unreachable(self.name.clone(), error);
        self.stream.write_all(bytes).await.map_err(broken)?;
        let broken = |error| UpstreamError::Unreachable(self.name.clone(), error);
        self.stream.flush().await.map_err(broken)
    }

    /// The next message, header included.
    async fn receive(&mut self) -> Result<BytesMut, UpstreamError> {
        loop {
            match next_frame(&self.read, LOGIN_BYTES_MAX).map_err(protocol)? {
                Step::Frame(Frame { total, .. }) => return Ok(self.read.split_to(total)),
                Step::Oversize { .. } => return Err(protocol("a message is too long")),
                Step::NeedMore { .. } => {}
            }
            let n = self.stream.read_buf(&mut self.read).await;
            let n = n.map_err(|error| UpstreamError::Unreachable(self.name.clone(), error))?;
            if n == 0 {
                let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(UpstreamError::Unreachable(self.name.clone(), error));
            }
        }
    }

    async fn authenticate(
        &mut self,
        login: &UpstreamLogin,
        end_point: Option<Vec<u8>>,
    ) -> Result<(), UpstreamError> {
        let mut scram: Option<ScramSha256> = None;
        loop {
            let message = self.receive().await?;
            let (tag, body) = (message[0], &message[5..]);
            if tag == b'E' {
                return Err(refused(&message));
            }
            if tag == b'v' || tag == b'N' {
                continue;
            }
            if tag != b'R' {
                return Err(protocol(format!("unexpected message 0x{tag:02x}")));
            }
            let mut out = BytesMut::new();
            match Authentication::decode(body).map_err(protocol)? {
                Authentication::Ok => return Ok(()),
                Authentication::Sasl(mechanisms) => {
                    let offers = |name: &str| mechanisms.iter().any(|m| m == name.as_bytes());
                    let (mechanism, binding) = match &end_point {
                        Some(data) if offers(SCRAM_SHA_256_PLUS) => (
                            SCRAM_SHA_256_PLUS,
                            ChannelBinding::tls_server_end_point(data.clone()),
                        ),
                        Some(_) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
                        None => (SCRAM_SHA_256, ChannelBinding::unsupported()),
                    };
                    if !offers(mechanism) {
                        return Err(protocol("the server offers no SCRAM-SHA-256"));
                    }
                    let client = ScramSha256::new(login.password.as_bytes(), binding);
                    frontend::write_sasl_initial_response(
                        &mut out,
                        mechanism.as_bytes(),
                        Some(client.message()),
                    )
                    .map_err(protocol)?;
                    scram = Some(client);
                }
                Authentication::SaslContinue(data) => {
                    let client = scram
                        .as_mut()
                        .ok_or_else(|| protocol("SASL out of order"))?;
                    client.update(data).map_err(protocol)?;
                    frontend::write_sasl_response(&mut out, client.message()).map_err(protocol)?;
                }
                Authentication::SaslFinal(data) => {
                    let client = scram
                        .as_mut()
                        .ok_or_else(|| protocol("SASL out of order"))?;
                    client.finish(data).map_err(protocol)?;
                    continue;
                }
                _ => {
                    return Err(protocol(
                        "the server wants another authentication than SCRAM-SHA-256 (set password_encryption and pg_hba.conf to scram-sha-256)",
                    ));
                }
            }
            self.send(&out).await?;
        }
    }

    async fn begin(mut self) -> Result<Connected, UpstreamError> {
        let mut parameters = Vec::new();
        let (mut pid, mut secret) = (0, Vec::new());
        let mut notices = Vec::new();
        loop {
            let message = self.receive().await?;
            match Message::decode(message[0], &message[5..]).map_err(protocol)? {
                Message::ParameterStatus(status) => {
                    parameters.push((status.name.to_vec(), status.value.to_vec()));
                }
                Message::BackendKeyData(key) => (pid, secret) = (key.pid, key.secret.to_vec()),
                Message::ReadyForQuery(_) => break,
                Message::ErrorResponse(_) => return Err(refused(&message)),
                Message::NoticeResponse(_) => notices.extend_from_slice(&message),
                _ => {}
            }
        }
        Ok(Connected {
            stream: self.stream,
            parameters,
            pid,
            secret,
            rest: self.read,
            notices,
        })
    }
}

fn refused(message: &[u8]) -> UpstreamError {
    let text = ErrorResponse::decode(&message[5..])
        .map(|error| String::from_utf8_lossy(error.message()).into_owned())
        .unwrap_or_default();
    UpstreamError::Refused {
        response: message.to_vec(),
        message: text,
    }
}

impl Connected {
    /// Runs one statement of the gate's own; rows as text.
    pub(crate) async fn query(
        &mut self,
        sql: &str,
    ) -> Result<Vec<Vec<Option<String>>>, UpstreamError> {
        let mut out = BytesMut::new();
        frontend::write_query(&mut out, sql.as_bytes()).map_err(protocol)?;
        self.stream.write_all(&out).await.map_err(protocol)?;
        self.stream.flush().await.map_err(protocol)?;
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            let (tag, total) = match next_frame(&self.rest, 64 << 20).map_err(protocol)? {
                Step::Frame(Frame { tag, total, .. }) => (tag, total),
                Step::Oversize { .. } => return Err(protocol("a message is too long")),
                Step::NeedMore { .. } => {
                    if self
                        .stream
                        .read_buf(&mut self.rest)
                        .await
                        .map_err(protocol)?
                        == 0
                    {
                        return Err(protocol("the connection was closed"));
                    }
                    continue;
                }
            };
            let message = self.rest.split_to(total);
            match tag {
                b'D' => {
                    let row = backend::DataRow::decode(&message[5..]).map_err(protocol)?;
                    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                    rows.push(row.values.iter().map(|value| value.map(text)).collect());
                }
                b'E' => failed = Some(refused(&message)),
                b'Z' => break,
                _ => {}
            }
        }
        failed.map_or(Ok(rows), Err)
    }
}

/// A conversation of Sekisho's own with PostgreSQL, for commands.
#[derive(Debug)]
pub struct Conversation(Connected);

impl Upstream {
    /// Logs in to a database.
    ///
    /// # Errors
    /// If PostgreSQL cannot be reached or refuses.
    pub async fn converse(
        &self,
        login: &UpstreamLogin,
        database: &str,
    ) -> Result<Conversation, UpstreamError> {
        let parameters = [
            ("database".to_owned(), database.to_owned()),
            ("application_name".to_owned(), "sekisho".to_owned()),
            ("client_encoding".to_owned(), "UTF8".to_owned()),
            (
                "options".to_owned(),
                "-c standard_conforming_strings=on".to_owned(),
            ),
        ];
        Ok(Conversation(self.connect(login, &parameters).await?))
    }
}

impl Conversation {
    /// Runs a simple Query; rows as text. Never give it personal values: PostgreSQL may log it.
    ///
    /// # Errors
    /// PostgreSQL's own, or a lost connection.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, UpstreamError> {
        self.0.query(sql).await
    }
}
