//! Frames of a terminal's connection.

use std::io;
use std::time::Duration;

use terminal::{Malformed, wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// An answer is taken by the terminal within this time.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// A connection that carries frames both ways.
pub(super) struct Frames {
    stream: TlsStream<TcpStream>,
    /// What was read of the next one.
    read: Vec<u8>,
}

impl Frames {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Sends a message's bytes.
    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let frame = wire::frame(message).map_err(io::Error::other)?;
        timeout(WRITE_MAX, async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        })
        .await?
    }

    /// The next message. Cancelling it loses nothing.
    pub(super) async fn next<T>(
        &mut self,
        decode: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> io::Result<T> {
        loop {
            let message = wire::unframe(&self.read).map_err(io::Error::other)?;
            if let Some((message, taken)) = message {
                let message = decode(message).map_err(io::Error::other)?;
                self.read.drain(..taken);
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
