//! Passes connections from the guest's network to a port that listens on this machine alone.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};

/// Serves until it is killed.
pub(crate) fn serve(here: &str, there: &str) -> Result<()> {
    let listener = TcpListener::bind(here).with_context(|| format!("cannot listen at {here}"))?;
    for near in listener.incoming() {
        let near = near?;
        // Nobody is there: the connection ends.
        let Ok(far) = TcpStream::connect(there) else {
            continue;
        };
        pass(near.try_clone()?, far.try_clone()?);
        pass(far, near);
    }
    Ok(())
}

/// One direction, until its end.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // However it ends, both sides hear of it.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
