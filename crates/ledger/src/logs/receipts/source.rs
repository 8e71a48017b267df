//! A client's durable entries in order: out of the published bundles, and what is newer out of the
//! write-ahead log. So a receiver that is far behind reads its own log and nothing else, however old
//! the segments are; only what is published no more it reads from there.

use std::io::ErrorKind;
use std::sync::Arc;

use event::{ClientId, LogId};
use tlog::{Bundle, TILE_WIDTH};
use tokio::sync::watch;

use crate::LedgerError;
use crate::frame::{Frame, FrameKind};
use crate::io::Io;
use crate::logs::follow::Follower;
use crate::logs::places::Tree;
use crate::logs::publish::Tail;
use crate::logs::sequence::entry_bytes;
use crate::logs::store::Store;
use crate::recorder::Durable;

/// Longest bundle, in bytes: 256 entries of 65,535 with their lengths.
const BUNDLE_BYTES_MAX: u64 = 256 * (65_535 + 2);

/// Takes an entry with its index; says whether it takes more.
pub(super) type Take<'a> = dyn FnMut(u64, &[u8]) -> Result<bool, LedgerError> + 'a;

pub(super) struct Source {
    io: Arc<dyn Io>,
    store: Arc<dyn Store>,
    client: ClientId,
    tail: watch::Receiver<Option<Tail>>,
    durable: watch::Receiver<Durable>,
    follower: Option<Follower>,
    /// The follower began at the first frame: bundles before are not needed.
    replays: bool,
}

/// What came of a bundle.
enum Given {
    More,
    Enough,
    /// It is not there.
    Pruned,
}

impl Source {
    pub(super) fn new(
        io: Arc<dyn Io>,
        store: Arc<dyn Store>,
        client: ClientId,
        (tail, durable): (watch::Receiver<Option<Tail>>, watch::Receiver<Durable>),
    ) -> Self {
        Self {
            io,
            store,
            client,
            tail,
            durable,
            follower: None,
            replays: false,
        }
    }

    /// Whether there is anything to read: something was published since the start.
    pub(super) fn is_ready(&self) -> bool {
        self.tail.borrow().is_some()
    }

    /// Gives the entries from `next` on, which follows the last one that was taken before.
    pub(super) fn entries(&mut self, next: u64, take: &mut Take<'_>) -> Result<(), LedgerError> {
        let done = self.try_entries(next, take);
        if done.is_err() {
            // It may have passed an entry that was not taken.
            self.follower = None;
        }
        done
    }

    /// The same for a look: what is given may be asked for again.
    pub(super) fn peek(&mut self, next: u64, take: &mut Take<'_>) -> Result<(), LedgerError> {
        let done = self.try_entries(next, take);
        self.follower = None;
        done
    }

    fn try_entries(&mut self, next: u64, take: &mut Take<'_>) -> Result<(), LedgerError> {
        let durable = self.durable.borrow().mark;
        let Some(tail) = self.tail.borrow().clone() else {
            return Ok(());
        };
        let log = LogId::Client(self.client);
        let size = tail.sizes.get(&log).copied().unwrap_or(0);
        let mut next = next;
        self.replays &= self.follower.is_some();
        while next < size && !self.replays {
            match self.bundle(&mut next, size, take)? {
                Given::Enough => return Ok(()),
                Given::More => {}
                Given::Pruned => {
                    // The write-ahead log and its archive keep what is published no more.
                    self.follower = Some(Follower::new(Arc::clone(&self.io)));
                    self.replays = true;
                }
            }
        }
        if !self.replays && self.follower.as_ref().is_none_or(|it| it.at() < tail.at) {
            self.follower = Some(Follower::from(Arc::clone(&self.io), tail.at));
        }
        let Some(follower) = &mut self.follower else {
            return Ok(());
        };
        follower.frames(durable, &mut |frame: &Frame<'_>, _| {
            let head = &frame.head;
            if head.kind != FrameKind::Record || head.log != log || head.index < next {
                return Ok(false);
            }
            if head.index > next {
                let what = format!(
                    "entry {} of {} where {next} is due",
                    head.index,
                    Tree::Log(log)
                );
                let sequence = head.sequence;
                return Err(LedgerError::Fold { sequence, what });
            }
            next += 1;
            let entry = entry_bytes(head.wall_ms, head.elapsed_ms, frame.record);
            take(head.index, &entry).map(|more| !more)
        })
    }

    /// Gives the entries of the bundle of `next` in a log of `size`.
    fn bundle(&self, next: &mut u64, size: u64, take: &mut Take<'_>) -> Result<Given, LedgerError> {
        let tree = Tree::client(self.client);
        let first = *next;
        let damaged = || {
            LedgerError::Setting(format!(
                "the bundle of entry {first} of {tree} is damaged; stop, and remove that file and logs/heads/state: it is derived again (never all of logs/: lists stand only there)"
            ))
        };
        let bundle = Bundle::holding(first, size).ok_or_else(damaged)?;
        let read = |bundle: Bundle| {
            let path = format!("{}{bundle}", tree.folder());
            match self.store.read(&path, BUNDLE_BYTES_MAX) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                bytes => bytes
                    .map(Some)
                    .map_err(|error| LedgerError::io(format!("read {path}"), error)),
            }
        };
        // It may have become full since.
        let bytes = match read(bundle)? {
            None if bundle.is_partial() => read(bundle.full())?,
            found => found,
        };
        let Some(bytes) = bytes else {
            return Ok(Given::Pruned);
        };
        let place = (first % u64::from(TILE_WIDTH)) as usize;
        let end = size.min(first - place as u64 + u64::from(TILE_WIDTH));
        let mut entries = tlog::bundle::entries(&bytes).skip(place);
        while *next < end {
            let entry = entries.next().and_then(Result::ok).ok_or_else(damaged)?;
            let index = *next;
            *next += 1;
            if !take(index, entry)? {
                return Ok(Given::Enough);
            }
        }
        Ok(Given::More)
    }
}
