//! Clients that are promised receipts: what was released of each and not acknowledged yet. Its total
//! is capped over the client, like what no witness has seen ([`crate::uncovered`]), so that a read in
//! small batches gains nothing.
//!
//! Invariants: a batch within the cap, or whose own receipt was acknowledged, is released; any other
//! waits in its session's task, never on the recorder's thread, and is refused in the end. Its record
//! stays: what a driver received is a subset of what is recorded.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::ClientId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::batch::Refusal;

/// What a client that gets receipts is promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promise {
    /// The client.
    pub client: ClientId,
    /// How long a batch beyond it waits, ms.
    pub wait_ms_max: u64,
}

/// A record that releases subjects of a client with a cap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Due {
    pub(crate) client: ClientId,
    /// In the client's log.
    pub(crate) index: u64,
    pub(crate) subjects: u64,
    /// The cap in force.
    pub(crate) limit: u64,
}

impl Due {
    /// Nobody acknowledged so many.
    pub(crate) fn refused(&self, waiting: u64) -> Refusal {
        Refusal::Unacknowledged {
            client: self.client,
            waiting,
            limit: self.limit,
        }
    }
}

/// All promises of a ledger.
pub(crate) struct Promised(BTreeMap<ClientId, Owed>);

/// One client's.
struct Owed {
    promise: Promise,
    /// Entries of its log that are durable, from the first one after the promise on. Set by the
    /// recorder.
    durable: watch::Sender<u64>,
    /// Entries whose receipts are acknowledged: all before this index. Set by the receiver's task.
    acknowledged: watch::Sender<u64>,
    /// Held for a look. `None`: what was released before the start is not counted yet.
    unacknowledged: Mutex<Option<Unacknowledged>>,
}

/// Released, and not acknowledged when looked at last: subjects by index.
#[derive(Default)]
struct Unacknowledged {
    by_index: BTreeMap<u64, u64>,
    sum: u64,
}

impl Promised {
    pub(crate) fn new(promises: &[Promise]) -> Self {
        let owed = |&promise: &Promise| {
            let owed = Owed {
                promise,
                durable: watch::channel(0).0,
                acknowledged: watch::channel(0).0,
                unacknowledged: Mutex::default(),
            };
            (promise.client, owed)
        };
        Self(promises.iter().map(owed).collect())
    }

    /// Whether this client gets receipts.
    pub(crate) fn holds(&self, client: ClientId) -> bool {
        self.0.contains_key(&client)
    }

    /// So many entries of the client's log are durable.
    pub(crate) fn durable(&self, client: ClientId, entries: u64) {
        if let Some(owed) = self.0.get(&client) {
            owed.durable.send_replace(entries);
        }
    }

    /// Wakes whenever an entry of the client's log became durable.
    pub(crate) fn news(&self, client: ClientId) -> Option<watch::Receiver<u64>> {
        Some(self.0.get(&client)?.durable.subscribe())
    }

    /// Counts what was released before the start: `subjects` in the entries before `end`.
    pub(crate) fn backlog(&self, client: ClientId, end: u64, subjects: u64) {
        let Some(owed) = self.0.get(&client) else {
            return;
        };
        let counted = owed
            .lock()
            .get_or_insert_default()
            .add(end.checked_sub(1), subjects);
        debug_assert!(counted, "entries before the end have no batch that waits");
        // Those who wait for it look again.
        owed.acknowledged.send_modify(|_| {});
    }

    /// Receipts of all entries before `entries` are acknowledged.
    pub(crate) fn acknowledged(&self, client: ClientId, entries: u64) {
        if let Some(owed) = self.0.get(&client) {
            owed.acknowledged.send_if_modified(|before| {
                let news = *before < entries;
                *before = entries.max(*before);
                news
            });
        }
    }

    /// Waits until all of a batch may be released.
    ///
    /// # Errors
    /// [`Refusal::Unacknowledged`] when the time is over.
    pub(crate) async fn wait(&self, dues: &[Due]) -> Result<(), Refusal> {
        let began = Instant::now();
        for (place, due) in dues.iter().enumerate() {
            let admitted = match self.0.get(&due.client) {
                Some(owed) => owed.wait(due, began).await,
                None => Err(due.refused(0)),
            };
            if let Err(refusal) = admitted {
                self.forget(&dues[..place]);
                return Err(refusal);
            }
        }
        Ok(())
    }
}

impl Promised {
    /// Nothing of the batch is released.
    fn forget(&self, dues: &[Due]) {
        for due in dues {
            if let Some(owed) = self.0.get(&due.client) {
                owed.forget(due.index);
            }
        }
    }
}

impl Owed {
    fn lock(&self) -> MutexGuard<'_, Option<Unacknowledged>> {
        self.unacknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self, due: &Due, began: Instant) -> Result<(), Refusal> {
        let mut acknowledged = self.acknowledged.subscribe();
        let until = began + Duration::from_millis(self.promise.wait_ms_max);
        loop {
            let entries = *acknowledged.borrow_and_update();
            let Err(waiting) = self.admit(due, entries) else {
                return Ok(());
            };
            if timeout_at(until, acknowledged.changed()).await.is_err() {
                return Err(due.refused(waiting));
            }
        }
    }

    /// Counts a release if it may be; otherwise how many subjects wait for their acknowledgement.
    fn admit(&self, due: &Due, acknowledged: u64) -> Result<(), u64> {
        if due.index < acknowledged {
            return Ok(());
        }
        let mut held = self.lock();
        let Some(held) = held.as_mut() else {
            return Err(0);
        };
        held.forget_before(acknowledged);
        if held.sum.saturating_add(due.subjects) > due.limit {
            return Err(held.sum);
        }
        held.add(Some(due.index), due.subjects);
        Ok(())
    }

    fn forget(&self, index: u64) {
        if let Some(held) = self.lock().as_mut()
            && let Some(subjects) = held.by_index.remove(&index)
        {
            held.sum -= subjects;
        }
    }
}

impl Unacknowledged {
    /// `false` if the index is there already.
    fn add(&mut self, index: Option<u64>, subjects: u64) -> bool {
        let (Some(index), true) = (index, subjects > 0) else {
            return true;
        };
        self.sum = self.sum.saturating_add(subjects);
        self.by_index.insert(index, subjects).is_none()
    }

    fn forget_before(&mut self, index: u64) {
        while let Some(first) = self.by_index.first_entry()
            && *first.key() < index
        {
            self.sum -= first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> ClientId {
        ClientId::new(number).unwrap()
    }

    fn promised() -> Promised {
        let promise = |number| Promise {
            client: client(number),
            wait_ms_max: 20,
        };
        Promised::new(&[promise(1), promise(2)])
    }

    fn due(of: u32, index: u64, subjects: u64) -> Vec<Due> {
        vec![Due {
            client: client(of),
            index,
            subjects,
            limit: 10,
        }]
    }

    #[tokio::test]
    async fn so_many_go_and_the_next_waits_for_its_own_receipt() {
        let promised = promised();
        let refused = Refusal::Unacknowledged {
            client: client(1),
            waiting: 10,
            limit: 10,
        };
        promised.backlog(client(1), 5, 0);
        assert_eq!(promised.wait(&due(1, 5, 7)).await, Ok(()));
        assert_eq!(promised.wait(&due(1, 6, 3)).await, Ok(()));
        // Slices gain nothing.
        let one = due(1, 7, 1);
        assert_eq!(promised.wait(&one).await, Err(refused));
        let wait = promised.wait(&one);
        let acknowledge = async { promised.acknowledged(client(1), 8) };
        assert_eq!(tokio::join!(wait, acknowledge).0, Ok(()));
        // All before it are acknowledged with it.
        assert_eq!(promised.wait(&due(1, 8, 10)).await, Ok(()));
        // One that is larger than the cap waits for its own, and does not count afterwards.
        promised.acknowledged(client(1), 10);
        assert_eq!(promised.wait(&due(1, 9, 99)).await, Ok(()));
        assert_eq!(promised.wait(&due(1, 10, 10)).await, Ok(()));
    }

    #[tokio::test]
    async fn what_was_released_before_the_start_counts() {
        let promised = promised();
        let first = due(1, 20, 4);
        assert!(promised.wait(&first).await.is_err(), "not counted yet");
        promised.backlog(client(1), 20, 7);
        assert!(promised.wait(&first).await.is_err());
        assert_eq!(promised.wait(&due(1, 21, 3)).await, Ok(()));
        promised.acknowledged(client(1), 20);
        assert_eq!(promised.wait(&first).await, Ok(()));
    }

    #[tokio::test]
    async fn a_batch_of_two_clients_goes_whole_or_not_at_all() {
        let promised = promised();
        promised.backlog(client(1), 0, 0);
        promised.backlog(client(2), 3, 10);
        let mut both = due(1, 0, 10);
        both.extend(due(2, 3, 1));
        assert!(promised.wait(&both).await.is_err());
        assert_eq!(promised.wait(&due(1, 1, 10)).await, Ok(()));
        assert!(
            promised.wait(&due(3, 0, 1)).await.is_err(),
            "a cap, and nobody to acknowledge"
        );
    }
}
