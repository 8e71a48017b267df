//! Reading a ledger that may be written meanwhile: no lock, no keys.

use std::time::Duration;

use anyhow::{Context, Result};
use event::record::{self, Body};
use ledger::state::{Meta, State};
use ledger::{Entry, Reader};

use crate::folder::Folder;

/// The state after all durable records.
pub fn state(folder: &Folder) -> Result<State> {
    let mut state = State::default();
    let mut reader = Reader::open(&folder.ledger()).context("the ledger cannot be read")?;
    while let Some(entry) = reader.next_entry()? {
        fold(&mut state, &entry)?;
    }
    Ok(state)
}

/// A reader is behind a running `serve` by at most a heartbeat, a second: so often the ledger is
/// read again until it is as far as `serve` says it is.
const LOOKS_MAX: u32 = 15;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The state with everything that a running `serve` has answered for. Without one, as [`state`].
pub async fn current(folder: &Folder) -> Result<State> {
    let told = crate::admin::ping(folder).await;
    let mut looks = 0;
    loop {
        let state = state(folder)?;
        looks += 1;
        if told.is_none_or(|told| state.decisions >= told) || looks > LOOKS_MAX {
            return Ok(state);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What an entry says.
pub fn body(entry: &Entry) -> Result<Body> {
    record::decode(&entry.record)
        .with_context(|| format!("record {} cannot be read", entry.sequence))
}

/// Folds one entry.
pub fn fold(state: &mut State, entry: &Entry) -> Result<Body> {
    let body = body(entry)?;
    apply(state, entry, &body)?;
    Ok(body)
}

/// Folds one entry whose body was read.
pub fn apply(state: &mut State, entry: &Entry, body: &Body) -> Result<()> {
    let meta = Meta {
        log: entry.log,
        sequence: entry.sequence,
        wall_ms: entry.wall_ms,
        elapsed_ms: entry.elapsed_ms,
    };
    state
        .apply(&meta, body)
        .map_err(|error| anyhow::anyhow!("record {}: {error}", entry.sequence))
}

/// The slot of the root log that a client's log was given when it was opened.
pub fn slot(folder: &Folder, client: event::ClientId) -> Result<u32> {
    let log = event::LogId::Client(client);
    let mut reader = Reader::open(&folder.ledger()).context("the ledger cannot be read")?;
    while let Some(entry) = reader.next_entry()? {
        if entry.log == log
            && let Body::LogOpened { slot, .. } = body(&entry)?
        {
            return Ok(slot);
        }
    }
    anyhow::bail!("client {client} has no log yet")
}

/// All records of a ledger, in order.
pub fn records(folder: &Folder) -> Result<Vec<(Entry, Body)>> {
    let mut reader = Reader::open(&folder.ledger()).context("the ledger cannot be read")?;
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let body = body(&entry)?;
        all.push((entry, body));
    }
    Ok(all)
}
