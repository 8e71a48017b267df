//! A driver's start: TLS, the start-up packet, SCRAM with the actor's own login.
//!
//! Invariants: the bytes before login are bounded and time-limited; an unknown account answers
//! like a known one with a wrong password; no password is kept or passed on; off loopback nothing
//! is asked for before TLS stands.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use event::record::RefusalReason as Reason;
use event::{ActorId, Digest, Role};
use pgwire::backend::{self, Authentication, Severity};
use pgwire::frame::{Frame, Step, next_frame};
use pgwire::frontend::SaslInitialResponse;
use pgwire::scram::{self, Verifier};
use pgwire::startup::{StartupPacket, StartupStep, next_startup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::errors::GateError;
use crate::net::Stream;
use crate::shared::{Shared, is_local};

/// A driver that has proven who it is.
pub(crate) struct LoggedIn {
    pub(crate) stream: Stream,
    pub(crate) actor: ActorId,
    pub(crate) login: String,
    pub(crate) role: Role,
    pub(crate) terminal: String,
    /// The terminal that it is, if it is known.
    pub(crate) terminal_id: Option<Digest>,
    /// Its agent passes the session on.
    pub(crate) passed_on: bool,
    pub(crate) database: String,
    /// Start-up parameters for PostgreSQL, without user and database.
    pub(crate) parameters: Vec<(String, String)>,
    /// `sekisho.*` settings given at start-up.
    pub(crate) settings: Vec<(String, String)>,
}

/// What a connection turned out to be.
pub(crate) enum Start {
    LoggedIn(Box<LoggedIn>),
    /// A cancel request: which session.
    Cancel {
        pid: i32,
        secret: u32,
        stream: Stream,
    },
    /// It was refused, or went away.
    Over,
}

/// A fresh connection.
pub(crate) enum Fresh {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
    /// What a terminal's agent passes on: it has proven its key.
    Terminal(Box<TlsStream<TcpStream>>, Digest),
}

/// Longest message of a login, in bytes.
const LOGIN_BYTES_MAX: usize = 16 << 10;
/// Requests for encryption before the start-up packet: one for GSSAPI, one for TLS.
const REQUESTS_MAX: usize = 3;

struct Door {
    shared: Arc<Shared>,
    stream: Stream,
    read: BytesMut,
    terminal: String,
    terminal_id: Option<Digest>,
    /// A terminal's agent passes it on.
    passed_on: bool,
}

/// A terminal's number: the first 16 bytes of its digest, in hexadecimal digits.
pub fn terminal_number(of: &Digest) -> String {
    of.0[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Talks to a fresh connection until it has logged in or is refused.
pub(crate) async fn start(shared: Arc<Shared>, fresh: Fresh) -> std::io::Result<Start> {
    let passed_on = matches!(fresh, Fresh::Terminal(..));
    let (stream, terminal, terminal_id) = match fresh {
        Fresh::Tcp(stream, peer) => {
            stream.set_nodelay(true)?;
            let address = peer.ip().to_canonical().to_string();
            let known = shared.recorder.state().terminals.at_address(&address);
            (Stream::Tcp(stream), address, known)
        }
        Fresh::Unix(stream) => (Stream::Unix(stream), "unix".to_owned(), None),
        Fresh::Terminal(stream, of) => (Stream::Tls(stream), terminal_number(&of), Some(of)),
    };
    let mut door = Door {
        shared,
        stream,
        read: BytesMut::new(),
        terminal,
        terminal_id,
        passed_on,
    };
    for _ in 0..=REQUESTS_MAX {
        match door.packet().await? {
            None => return Ok(Start::Over),
            Some(StartupPacket::Cancel { pid, secret }) => {
                let secret = <[u8; 4]>::try_from(secret.as_slice()).map_or(0, u32::from_be_bytes);
                return Ok(Start::Cancel {
                    pid,
                    secret,
                    stream: door.stream,
                });
            }
            Some(StartupPacket::GssEncRequest) => door.stream.write_all(b"N").await?,
            Some(StartupPacket::SslRequest) => {
                let Some(next) = door.secure().await? else {
                    return Ok(Start::Over);
                };
                door = next;
            }
            Some(StartupPacket::Startup {
                major,
                minor,
                parameters,
            }) => {
                return door.log_in(major, minor, parameters).await;
            }
        }
    }
    Ok(Start::Over)
}

impl Door {
    async fn packet(&mut self) -> std::io::Result<Option<StartupPacket>> {
        loop {
            match next_startup(&self.read) {
                Ok(StartupStep::Packet { packet, total }) => {
                    self.read.advance(total);
                    return Ok(Some(packet));
                }
                Ok(StartupStep::NeedMore { .. }) => {}
                Err(error) => {
                    self.refuse(&GateError::new("08P01", error.to_string()))
                        .await?;
                    return Ok(None);
                }
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Answers SSLRequest.
    async fn secure(mut self) -> std::io::Result<Option<Self>> {
        // Bytes sent ahead of encryption could be slipped in by someone on the way.
        if !self.read.is_empty() {
            self.refuse(&GateError::new(
                "08P01",
                "unencrypted data after SSLRequest",
            ))
            .await?;
            return Ok(None);
        }
        let (Some(tls), Stream::Tcp(_)) = (&self.shared.tls, &self.stream) else {
            self.stream.write_all(b"N").await?;
            return Ok(Some(self));
        };
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&tls.config));
        self.stream.write_all(b"S").await?;
        let Stream::Tcp(stream) = self.stream else {
            return Ok(None);
        };
        let stream = acceptor.accept(stream).await?;
        Ok(Some(Self {
            stream: Stream::Tls(Box::new(stream.into())),
            ..self
        }))
    }

    async fn refuse(&mut self, error: &GateError) -> std::io::Result<()> {
        let mut out = BytesMut::new();
        error.write(&mut out, Severity::Fatal);
        self.stream.write_all(&out).await?;
        self.stream.shutdown().await
    }

    async fn log_in(
        mut self,
        major: u16,
        minor: u16,
        given: Vec<(String, String)>,
    ) -> std::io::Result<Start> {
        if let Err(error) = self.check_start(major, &given) {
            self.refuse(&error).await?;
            return Ok(Start::Over);
        }
        self.negotiate(minor, &given).await?;
        let mut named: HashMap<&str, &str> = given
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let login = named.remove("user").unwrap_or_default().to_owned();
        let database = named
            .remove("database")
            .map_or_else(|| login.clone(), str::to_owned);
        if !self.shared.may_try(&self.terminal) {
            let error = GateError::new("28000", "too many failed logins from this address")
                .hint("Wait a minute. The limit is `login_failures_per_minute_max`.");
            self.refuse(&error).await?;
            return Ok(Start::Over);
        }
        let Some((actor, role)) = self.authenticate(&login).await? else {
            return Ok(Start::Over);
        };
        let mut parameters = Vec::new();
        let mut settings = Vec::new();
        for (name, value) in given {
            match name.as_str() {
                "user" | "database" => {}
                name if name.starts_with("_pq_.") => {}
                name if name.starts_with("sekisho.") => settings.push((name.to_owned(), value)),
                "options" => {
                    let rest = take_settings(&value, &mut settings);
                    if !rest.is_empty() {
                        parameters.push(("options".to_owned(), rest));
                    }
                }
                _ => parameters.push((name, value)),
            }
        }
        parameters.push(("database".to_owned(), database.clone()));
        Ok(Start::LoggedIn(Box::new(LoggedIn {
            stream: self.stream,
            actor,
            login,
            role,
            terminal: self.terminal,
            terminal_id: self.terminal_id,
            passed_on: self.passed_on,
            database,
            parameters,
            settings,
        })))
    }

    fn check_start(&self, major: u16, given: &[(String, String)]) -> Result<(), GateError> {
        if major != 3 {
            return Err(
                GateError::new("08P01", format!("protocol {major} is not spoken here"))
                    .hint("Use a driver that speaks PostgreSQL's protocol 3."),
            );
        }
        if !is_local(&self.terminal) && !self.stream.is_tls() {
            return Err(
                GateError::new("28000", "TLS is required from other machines")
                    .hint("Connect with sslmode=verify-full and the gate's certificate."),
            );
        }
        let replication = given.iter().find(|(name, _)| name == "replication");
        if replication.is_some_and(|(_, v)| !matches!(v.as_str(), "false" | "off" | "no" | "0")) {
            return Err(
                GateError::new("0A000", "replication does not go through the gate")
                    .hint("Connect replicas to PostgreSQL itself: what they carry is sealed."),
            );
        }
        Ok(())
    }

    /// Protocol 3.2 and unknown protocol options are negotiated down.
    async fn negotiate(&mut self, minor: u16, given: &[(String, String)]) -> std::io::Result<()> {
        let options: Vec<&[u8]> = given
            .iter()
            .filter(|(name, _)| name.starts_with("_pq_."))
            .map(|(name, _)| name.as_bytes())
            .collect();
        if minor == 0 && options.is_empty() {
            return Ok(());
        }
        let mut out = BytesMut::new();
        backend::write_negotiate_protocol_version(&mut out, 0, options)
            .map_err(std::io::Error::other)?;
        self.stream.write_all(&out).await
    }

    /// SCRAM. `None`: it was refused.
    async fn authenticate(&mut self, login: &str) -> std::io::Result<Option<(ActorId, Role)>> {
        let state = self.shared.recorder.state();
        let known = state
            .actors
            .iter()
            .find(|(_, actor)| actor.login == login && actor.active)
            .map(|(id, actor)| (*id, actor.role));
        let verifier = known.and_then(|(id, _)| self.shared.verifiers.verifier(id));
        let allowed = known.filter(|(_, role)| self.shared.logins.contains_key(role));
        let known_verifier = verifier.is_some() && allowed.is_some();
        let verifier = verifier.filter(|_| known_verifier).unwrap_or_else(|| {
            let iterations = NonZeroU32::new(4_096).unwrap_or(NonZeroU32::MIN);
            Verifier::mock(&self.shared.mock_secret, login, iterations)
        });
        match self.scram(verifier).await? {
            Ok(proof) if known_verifier => {
                let mut out = BytesMut::new();
                backend::write_authentication(&mut out, Authentication::SaslFinal(&proof))
                    .and_then(|()| backend::write_authentication(&mut out, Authentication::Ok))
                    .map_err(std::io::Error::other)?;
                self.stream.write_all(&out).await?;
                Ok(allowed)
            }
            Ok(_) => self.wrong(login).await.map(|()| None),
            Err(error) if error.is_proof() => self.wrong(login).await.map(|()| None),
            Err(error) => {
                self.shared.failed(&self.terminal);
                self.refuse(&GateError::new("08P01", error.to_string()))
                    .await?;
                Ok(None)
            }
        }
    }

    async fn wrong(&mut self, login: &str) -> std::io::Result<()> {
        self.shared.failed(&self.terminal);
        self.shared
            .recorder
            .refused(None, Reason::Login, None, Some(self.terminal.clone()), &[]);
        let shown: String = login.chars().take(63).collect();
        let error = GateError::new(
            "28P01",
            format!("password authentication failed for user \"{shown}\""),
        )
        .hint(
            "Log in as the actor that `sekisho actor` knows, with the password that you enrolled.",
        );
        self.refuse(&error).await
    }

    async fn scram(&mut self, verifier: Verifier) -> std::io::Result<Result<Vec<u8>, LoginError>> {
        let end_point = match (&self.stream, &self.shared.tls) {
            // What an agent passes on is under the agent's TLS, not the driver's.
            (Stream::Tls(_), Some(tls)) if !self.passed_on => Some(tls.end_point.clone()),
            _ => None,
        };
        let mut out = BytesMut::new();
        let mechanisms = scram::Server::mechanisms(end_point.is_some());
        backend::write_authentication_sasl(&mut out, mechanisms.iter().map(|m| m.as_bytes()))
            .map_err(std::io::Error::other)?;
        self.stream.write_all(&out).await?;
        let mut nonce = [0; scram::NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| std::io::Error::other("no random bytes"))?;
        let mut server = scram::Server::new(verifier, &nonce, end_point);
        let Some(message) = self.message().await? else {
            return Ok(Err(LoginError::Protocol));
        };
        let Ok(initial) = SaslInitialResponse::decode(&message[5..]) else {
            return Ok(Err(LoginError::Protocol));
        };
        let mechanism = String::from_utf8_lossy(initial.mechanism).into_owned();
        let challenge = match server.first(&mechanism, initial.data.unwrap_or_default()) {
            Ok(challenge) => challenge,
            Err(error) => return Ok(Err(LoginError::Scram(error))),
        };
        out.clear();
        backend::write_authentication(&mut out, Authentication::SaslContinue(&challenge))
            .map_err(std::io::Error::other)?;
        self.stream.write_all(&out).await?;
        let Some(message) = self.message().await? else {
            return Ok(Err(LoginError::Protocol));
        };
        Ok(server.last(&message[5..]).map_err(LoginError::Scram))
    }

    /// The next message of the login; `None`: not one that belongs here.
    async fn message(&mut self) -> std::io::Result<Option<BytesMut>> {
        loop {
            match next_frame(&self.read, LOGIN_BYTES_MAX) {
                Ok(Step::Frame(Frame {
                    tag: b'p', total, ..
                })) => {
                    return Ok(Some(self.read.split_to(total)));
                }
                Ok(Step::NeedMore { .. }) => {}
                _ => return Ok(None),
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("unexpected message during login")]
    Protocol,
    #[error(transparent)]
    Scram(scram::ScramError),
}

impl LoginError {
    fn is_proof(&self) -> bool {
        matches!(self, Self::Scram(error) if !error.is_protocol_violation())
    }
}

/// Takes `-c sekisho.NAME=VALUE` out of the start-up options, which are separated by spaces, with
/// `\` before a space or backslash that belongs to a value.
fn take_settings(options: &str, settings: &mut Vec<(String, String)>) -> String {
    let mut words: Vec<String> = vec![String::new()];
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        let word = words.last_mut().expect("there is always a last word");
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_ascii_whitespace() => words.push(String::new()),
            c => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    let mut rest: Vec<String> = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (flag, setting) = match word.as_str() {
            "-c" => (true, words.next().unwrap_or_default()),
            other => match other
                .strip_prefix("-c")
                .or_else(|| other.strip_prefix("--"))
            {
                Some(setting) => (true, setting.to_owned()),
                None => (false, word.clone()),
            },
        };
        match setting.split_once('=') {
            Some((name, value)) if flag && name.starts_with("sekisho.") => {
                settings.push((name.to_owned(), value.to_owned()));
            }
            _ if flag => rest.extend(["-c".to_owned(), setting]),
            _ => rest.push(setting),
        }
    }
    let quoted: Vec<String> = rest
        .iter()
        .map(|word| word.replace('\\', "\\\\").replace(' ', "\\ "))
        .collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::take_settings;

    #[test]
    fn settings_are_taken_out_of_options() {
        let mut settings = Vec::new();
        let rest = take_settings(
            r"-c sekisho.scope=3 -c search_path=a\ b --sekisho.purpose=x\ y -csekisho.grant_id=1 -e",
            &mut settings,
        );
        assert_eq!(rest, r"-c search_path=a\ b -e");
        let names: Vec<&str> = settings.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["sekisho.scope", "sekisho.purpose", "sekisho.grant_id"]
        );
        assert_eq!(settings[1].1, "x y");
    }
}
