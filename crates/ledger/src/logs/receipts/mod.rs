//! Receipts, pushed to the clients that want them as their records become durable
//! (docs/format/receipt.md).
//!
//! The queue is the ledger itself: a receipt is a function of a durable entry, so all that is kept
//! beside it is how many were acknowledged (`receipts/N` in the ledger's folder). Nothing can be lost
//! with the process, memory is one request a receiver, and a receiver that is slow or gone holds up
//! nothing but itself.
//!
//! Invariants: in order, without a gap, at least once; what was acknowledged grows only after a 2xx
//! answer; the same entry gives the same receipt, however often it is sent.

mod cursor;
mod line;
mod push;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use event::record::Change;
use event::{ClientId, LogId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use self::cursor::CursorFile;
use self::push::Pusher;
use self::source::Source;
use super::follow::Follower;
use super::publish::Tail;
use super::serve::{Logs, blocking};
use super::store::DiskStore;
use crate::LedgerError;
use crate::core::changes::BY_SETTINGS;
use crate::frame::FrameKind;
use crate::io::{DiskIo, Io};
use crate::promised::Promise;
use crate::recorder::Handle;

pub use self::cursor::acknowledged;
pub use self::push::{check_url, shown_name};

/// Receivers of a ledger at most.
pub const RECEIVERS_MAX: usize = 256;

/// Where a client's receipts go.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Whose.
    pub client: ClientId,
    /// HTTPS, or HTTP to a loopback address ([`check_url`]).
    pub url: String,
    /// A checkpoint shows an entry at most so long after its time, ms.
    pub shown_ms: u64,
    /// So many of its subjects may be released before their receipts are acknowledged, the settings
    /// say; `None`: any number. In force is what the ledger's records say.
    pub before_release_above: Option<u64>,
    /// See [`Promise::wait_ms_max`].
    pub wait_ms_max: u64,
    /// Certificates (DER) that vouch for it, beside the machine's authorities.
    pub certificates: Vec<Vec<u8>>,
}

/// A log key that is here, with the span in which it counts.
pub struct SpanKey {
    /// Ed25519.
    pub seed: Zeroizing<[u8; 32]>,
    /// From here, ms since the Unix epoch.
    pub from_ms: u64,
    /// And before here; `None`: still.
    pub until_ms: Option<u64>,
}

impl std::fmt::Debug for SpanKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpanKey({}..{:?})", self.from_ms, self.until_ms)
    }
}

/// The log keys of the signed list that are here, oldest first.
pub type SpanKeys = dyn Fn() -> Result<Vec<SpanKey>, LedgerError> + Send + Sync;

/// How receipts are pushed.
#[derive(Clone)]
pub struct ReceiptSetup {
    /// To whom; at most one a client.
    pub receivers: Vec<Receiver>,
    /// Where keys come from.
    pub keys: Arc<SpanKeys>,
    /// Hears that a receiver is gone, or back.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
}

impl std::fmt::Debug for ReceiptSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptSetup({})", self.receivers.len())
    }
}

/// The receivers of a running ledger.
pub struct Receipts {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receipts({})", self.tasks.len())
    }
}

impl Receipts {
    /// Goes on where each receiver was. To be called once, before anything can be released.
    ///
    /// # Errors
    /// [`LedgerError::Unkept`]; if the ledger cannot be read.
    pub async fn start(
        folder: &Path,
        handle: &Handle,
        logs: &Logs,
        setup: ReceiptSetup,
    ) -> Result<Self, LedgerError> {
        cap(handle, &setup).await?;
        let stop = watch::channel(false).0;
        let mut tasks = Vec::new();
        if setup.receivers.is_empty() {
            return Ok(Self { stop, tasks });
        }
        let open = |error| LedgerError::io("open the ledger's folder", error);
        let io: Arc<dyn Io> = Arc::new(DiskIo::new(&folder.join("wal")).map_err(open)?);
        let (frames, derived, durable) = (Arc::clone(&io), logs.derived(), handle.durable());
        let mark = durable.borrow().mark;
        let ends = blocking(move || ends(frames, derived, mark)).await?;
        let roots = push::machine_roots();
        let mut pushers = Vec::new();
        for receiver in setup.receivers {
            let client = receiver.client;
            let end = ends.get(&LogId::Client(client)).copied().unwrap_or(0);
            let file = CursorFile::new(folder, client, handle.state().ledger);
            let begun = file.begin(handle.state().log_generation, end, &*setup.say)?;
            let source = Source::new(
                Arc::clone(&io),
                Arc::new(DiskStore::new(&folder.join("logs")).map_err(open)?),
                client,
                (logs.tail(), handle.durable()),
            );
            let (keys, say) = (Arc::clone(&setup.keys), Arc::clone(&setup.say));
            let pusher = Pusher::new(
                receiver,
                (source, file),
                handle.clone(),
                (keys, say),
                &roots,
            );
            pushers.push((client, pusher.at(begun, end)));
        }
        let promises: Vec<Promise> = pushers.iter().map(|(_, pusher)| pusher.promise()).collect();
        handle.promise(&promises);
        for (client, pusher) in pushers {
            if let Some(news) = handle.receipts_due(client) {
                tasks.push(tokio::spawn(pusher.run(
                    news,
                    logs.tail(),
                    stop.subscribe(),
                )));
            }
        }
        Ok(Self { stop, tasks })
    }

    /// Sends what is durable by now to the receivers that take it, and ends. To be called after the
    /// recorder was closed.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Puts the caps of the settings in force that are tighter than the record's. Those that are looser,
/// or whose receiver is gone from the settings, wait for their signatures.
async fn cap(handle: &Handle, setup: &ReceiptSetup) -> Result<(), LedgerError> {
    let state = handle.state();
    for (&client, known) in &*state.clients {
        let mut receivers = setup.receivers.iter();
        let subjects = receivers
            .find(|receiver| receiver.client == client)
            .and_then(|receiver| receiver.before_release_above);
        if known.receipt_cap == subjects {
            continue;
        }
        let what = Change::ReceiptCap { client, subjects };
        let mut open = state.proposals.iter();
        let change = match open.find(|(_, proposal)| proposal.what == what) {
            Some((change, _)) => *change,
            None => match handle
                .propose(BY_SETTINGS, what)
                .await
                .map_err(LedgerError::Refused)?
            {
                (change, crate::Progress::Waiting { .. }) => change,
                _ => continue,
            },
        };
        let held = known.receipt_cap.unwrap_or(0);
        (setup.say)(format!(
            "receipts of client {client}: the settings loosen or drop before_release_above; {held} is in force until two approvers sign change {change}"
        ));
    }
    Ok(())
}

/// How many entries each log has.
fn ends(
    io: Arc<dyn Io>,
    derived: Tail,
    durable: crate::frame::Mark,
) -> Result<BTreeMap<LogId, u64>, LedgerError> {
    let mut ends = (*derived.sizes).clone();
    let mut follower = Follower::from(io, derived.at);
    follower.frames(durable, &mut |frame, _| {
        if frame.head.kind == FrameKind::Record {
            ends.insert(frame.head.log, frame.head.index + 1);
        }
        Ok::<bool, LedgerError>(false)
    })?;
    Ok(ends)
}
