//! Messages to and from the gate.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::ClientConfig;
use terminal::copy::{FromBroker, PART_BYTES_MAX, ToBroker};
use terminal::wire;

use super::JUDGE_MS_MAX;
use crate::clock::uptime_ms;
use crate::connection::{Connection, Got};

/// The connection on which one file is offered.
pub(super) struct Talk {
    connection: Connection,
    incoming: Vec<u8>,
}

impl Talk {
    pub(super) fn open(address: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        Ok(Self {
            connection: Connection::open(address, config)?,
            incoming: Vec::new(),
        })
    }

    pub(super) fn send(&mut self, message: &FromBroker) -> io::Result<()> {
        let frame = wire::frame(&message.encode()).map_err(io::Error::other)?;
        let end = uptime_ms() + JUDGE_MS_MAX;
        let mut rest = frame.as_slice();
        while !rest.is_empty() || !self.connection.is_sent() {
            let taken = self.connection.write(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            self.connection.turn()?;
            if !self.connection.is_sent() {
                self.connection.wait(&[], 1000)?;
                self.connection.turn()?;
            }
            if uptime_ms() >= end {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    pub(super) fn send_file(&mut self, file: &mut File) -> io::Result<()> {
        let mut part = vec![0; PART_BYTES_MAX];
        loop {
            let read = file.read(&mut part)?;
            if read == 0 {
                return file.rewind();
            }
            let part = part.get(..read).unwrap_or_default();
            self.send(&FromBroker::Part(part.to_vec()))?;
        }
    }

    /// The next message; given up when the person's program goes away.
    pub(super) fn hear(
        &mut self,
        limit_ms: u64,
        person: Option<&UnixStream>,
    ) -> io::Result<ToBroker> {
        let end = uptime_ms() + limit_ms;
        loop {
            self.connection.turn()?;
            let got = self.connection.read(&mut self.incoming)?;
            let message = wire::unframe(&self.incoming).map_err(io::Error::other)?;
            if let Some((message, taken)) = message {
                let message = ToBroker::decode(message).map_err(io::Error::other)?;
                self.incoming.drain(..taken);
                return Ok(message);
            }
            match got {
                Got::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                Got::Some => continue,
                Got::Nothing => {}
            }
            let left = end.saturating_sub(uptime_ms());
            if left == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let others: Vec<_> = person.iter().map(|it| it.as_fd()).collect();
            // It has nothing more to say: what can be read is its end.
            if self
                .connection
                .wait(&others, left.min(1000))?
                .contains(&true)
            {
                return Err(io::Error::other("whoever asked went away"));
            }
        }
    }
}
