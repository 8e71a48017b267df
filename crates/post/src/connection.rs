//! One TLS connection to the gate, driven by `poll`: no runtime, one thread.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use crate::clock::uptime_ms;

/// How long a connection may take to be made, TLS included.
const CONNECT_MS_MAX: u64 = 10_000;
/// TLS data that waits to be sent; more is only taken when some of it is gone.
const SEND_BYTES_MAX: usize = 256 << 10;
/// What is read at once.
const READ_BYTES: usize = 16 << 10;

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Connection {
    tcp: TcpStream,
    tls: ClientConnection,
}

/// What became of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// Bytes were added.
    Some,
    /// Nothing is there now.
    Nothing,
    /// The peer ended, properly.
    End,
}

impl Connection {
    /// Connects and shakes hands, within a time.
    ///
    /// # Errors
    /// What the network or TLS says; a wrong certificate among it.
    pub fn open(address: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        let end = uptime_ms() + CONNECT_MS_MAX;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the gate's name has no address");
        let mut tcp = None;
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, Duration::from_millis(CONNECT_MS_MAX / 2)) {
                Ok(stream) => {
                    tcp = Some(stream);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let tcp = tcp.ok_or(last)?;
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        // The certificate is pinned; the name decides nothing, and none is told to the network.
        let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut connection = Self { tcp, tls };
        connection.tls.set_buffer_limit(Some(SEND_BYTES_MAX));
        while connection.tls.is_handshaking() {
            let left = end.saturating_sub(uptime_ms());
            if left == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the gate did not finish the TLS handshake in time",
                ));
            }
            connection.wait(&[], left)?;
            connection.turn()?;
        }
        Ok(connection)
    }

    /// Waits until the connection can go on, one of `others` can be read, or the time is over; says
    /// which of `others` can be read.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self, others: &[BorrowedFd<'_>], timeout_ms: u64) -> io::Result<Vec<bool>> {
        let others: Vec<_> = others.iter().map(|it| (*it, PollFlags::POLLIN)).collect();
        let ready = self.wait_for(true, &others, timeout_ms)?;
        Ok(ready.into_iter().map(|it| !it.is_empty()).collect())
    }

    /// The same, for these events of others, and with the peer's bytes only where there is room for
    /// them. Says what came of others, their ends and errors too.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait_for(
        &self,
        reading: bool,
        others: &[(BorrowedFd<'_>, PollFlags)],
        timeout_ms: u64,
    ) -> io::Result<Vec<PollFlags>> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, reading && self.tls.wants_read());
        events.set(PollFlags::POLLOUT, self.tls.wants_write());
        let mut ready: Vec<_> = others
            .iter()
            .map(|(fd, events)| PollFd::new(*fd, *events))
            .collect();
        // A socket without events still says that it was torn down, again and again: not asked.
        if !events.is_empty() {
            ready.push(PollFd::new(self.tcp.as_fd(), events));
        }
        let timeout = PollTimeout::try_from(timeout_ms.min(60_000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(ready
            .iter()
            .take(others.len())
            .map(|it| it.revents().unwrap_or(PollFlags::empty()))
            .collect())
    }

    /// Moves bytes between the socket and TLS, as far as it goes without waiting. Whether the peer's
    /// side has ended is said by [`Self::read`].
    ///
    /// # Errors
    /// What the network or TLS says.
    pub fn turn(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.tls.wants_read() {
            match self.tls.read_tls(&mut self.tcp) {
                Ok(_) => {
                    if let Err(error) = self.tls.process_new_packets() {
                        // The alert that says why.
                        let _ = self.tls.write_tls(&mut self.tcp);
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what was decrypted, at most one buffer.
    ///
    /// # Errors
    /// The peer ended without saying so: what it sent may be cut off.
    pub fn read(&mut self, into: &mut Vec<u8>) -> io::Result<Got> {
        let mut buffer = [0; READ_BYTES];
        match self.tls.reader().read(&mut buffer) {
            Ok(0) => Ok(Got::End),
            Ok(count) => {
                into.extend_from_slice(buffer.get(..count).unwrap_or_default());
                Ok(Got::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Takes bytes to be sent, as many as there is room for.
    ///
    /// # Errors
    /// TLS refuses.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tls.writer().write(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn end(&mut self) {
        self.tls.send_close_notify();
    }

    /// Whether everything was handed to the network.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        !self.tls.wants_write()
    }
}
