//! Retention of fingerprint lists and published entries by age, as the ledger's records say
//! (`ledger::retention`).
//!
//! Invariant: the record comes first. After a crash between record, keys and files the next round
//! does the rest.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use event::record::Body;
use event::{ClientId, LogId};
use seal::{Keyring, Month};

use crate::folder::Folder;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(3600);

/// What a round did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Clients that have new records of it, with the first month that stays.
    pub destroyed: Vec<(ClientId, u32)>,
    /// Clients with lists that are too old by the clock alone, with the first month that would stay.
    pub kept: Vec<(ClientId, u32)>,
}

/// Destroys what is too old, now and once an hour, until it is dropped.
pub fn keep(
    folder: &Folder,
    recorder: ledger::Handle,
    keyring: &Arc<Keyring>,
    say: Arc<dyn Fn(String) + Send + Sync>,
) -> tokio::task::JoinHandle<()> {
    let (ledger, keyring) = (folder.ledger(), Arc::clone(keyring));
    tokio::spawn(async move {
        let mut told = Vec::new();
        loop {
            match apply(&ledger, &recorder, &keyring).await {
                Ok(done) => {
                    for (client, before) in done.destroyed {
                        say(format!(
                            "the fingerprint lists of client {client} of months before {before} are destroyed, by age"
                        ));
                    }
                    for (client, before) in done.kept.iter().filter(|it| !told.contains(*it)) {
                        say(format!(
                            "the fingerprint lists of client {client} of months before {before} are old by the clock only: they stay until the ledger has measured that time itself"
                        ));
                    }
                    told = done.kept;
                }
                Err(error) => say(format!(
                    "fingerprint lists that are too old are not destroyed: {error:#}; it is tried again"
                )),
            }
            match prune(&ledger, &recorder, crate::service::now_ms()).await {
                Ok(done) => {
                    for (client, below) in done {
                        say(format!(
                            "the entries of client {client} before {below} are published no more, by age"
                        ));
                    }
                }
                Err(error) => say(format!(
                    "entries that are too old stay published: {error:#}; it is tried again"
                )),
            }
            tokio::time::sleep(EVERY).await;
        }
    })
}

/// Destroys what is too old now.
pub async fn apply(
    ledger: &std::path::Path,
    recorder: &ledger::Handle,
    keyring: &Arc<Keyring>,
) -> Result<Done> {
    let mut done = Done::default();
    let clients: Vec<ClientId> = recorder.state().clients.keys().copied().collect();
    for client in clients {
        let Some(due) = recorder.lists_due(client) else {
            continue;
        };
        if is_too_old(recorder, keyring, client, due.before)? {
            let before = due.before;
            let body = Body::ListsDestroyed { before };
            recorder.record(LogId::Client(client), body).await?;
            done.destroyed.push((client, before));
        }
        if due.by_clock > due.before && is_too_old(recorder, keyring, client, due.by_clock)? {
            done.kept.push((client, due.by_clock));
        }
    }
    let destroyed = Arc::clone(&recorder.state().lists_destroyed);
    if destroyed.is_empty() {
        return Ok(done);
    }
    let pruned = Arc::clone(&recorder.state().entries_pruned);
    let (keyring, ledger) = (Arc::clone(keyring), ledger.to_owned());
    let work = move || -> Result<()> {
        for (&client, &before) in &*destroyed {
            if let Some(month) = Month::new(before / 100, before % 100) {
                keyring.destroy_lists(client, month)?;
            }
        }
        ledger::retention::remove_lists(&ledger, &destroyed, &pruned)?;
        Ok(())
    };
    tokio::task::spawn_blocking(work).await??;
    Ok(done)
}

/// Declares what is too old to stay published at a time, ms since the Unix epoch, in the logs of the
/// clients whose it is; gives them with their new minimums. The logs' publisher removes it.
pub async fn prune(
    ledger: &std::path::Path,
    recorder: &ledger::Handle,
    now_ms: u64,
) -> Result<Vec<(ClientId, u64)>> {
    let state = recorder.state();
    let Some(before) = state.entries_stay_from(now_ms) else {
        return Ok(Vec::new());
    };
    let mut done = Vec::new();
    for &client in state.clients.keys() {
        let (place, minimum) = (ledger.to_owned(), state.minimum(client));
        let look = move || ledger::retention::prunable(&place, client, minimum, before);
        if let Some(below) = tokio::task::spawn_blocking(look).await?? {
            let body = Body::EntriesPruned {
                below,
                before,
                change: state.entry_retention_change,
            };
            recorder.record(LogId::Client(client), body).await?;
            done.push((client, below));
        }
    }
    Ok(done)
}

/// Whether a client has a list key of a month before one, and no record that such are destroyed.
fn is_too_old(
    recorder: &ledger::Handle,
    keyring: &Keyring,
    client: ClientId,
    before: u32,
) -> Result<bool> {
    let state = recorder.state();
    let done = state.lists_destroyed.get(&client).copied().unwrap_or(0);
    let gone = state.clients.get(&client).is_none_or(|it| it.destroyed);
    if gone || done >= before {
        return Ok(false);
    }
    let oldest = keyring.list_months(client)?.first().copied();
    Ok(oldest.is_some_and(|month| month.number() < before))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};

    use event::ActorId;
    use event::record::Change;
    use ledger::clock::Clock;
    use ledger::io::DiskIo;
    use ledger::{Folders, Options, Reader, Recorder};

    use super::*;
    use crate::keys::Lists;

    /// 2026-04-15.
    const APRIL_MS: u64 = 1_776_211_200_000;

    struct At(AtomicU64);

    impl Clock for At {
        fn wall_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
        fn boot_ms(&self) -> u64 {
            5_000
        }
        fn boot_id(&self) -> [u8; 16] {
            [1; 16]
        }
    }

    #[tokio::test]
    async fn a_record_comes_first_and_then_the_keys_go() {
        let place = tempfile::tempdir().unwrap();
        let ledger = place.path().join("ledger");
        let master = seal::Master::create(&place.path().join("keys"), "").unwrap();
        let keyring = Arc::new(Keyring::open(&place.path().join("keys"), master).unwrap());
        let folders = Folders {
            wal: Arc::new(DiskIo::new(&ledger.join("wal")).unwrap()),
            snapshots: None,
            archive: None,
        };
        let options = Options::default();
        Recorder::create(&ledger, "Centre", &options).unwrap();
        let sealer = Arc::new(Lists(Arc::clone(&keyring)));
        let clock = Arc::new(At(AtomicU64::new(APRIL_MS + 400 * 86_400_000)));
        let (recorder, _) = Recorder::start(folders, sealer, clock.clone(), options, None).unwrap();
        let handle = recorder.handle();
        let clients = [1, 2].map(|number| ClientId::new(number).unwrap());
        for client in clients {
            let (code, name) = (format!("c{client}"), format!("C {client}"));
            let added = Change::ClientAdded { client, code, name };
            handle.propose(ActorId(1), added).await.unwrap();
            keyring.create_client(client).unwrap();
        }
        let month = |number: u32| Month::new(number / 100, number % 100).unwrap();
        for number in [202_601, 202_602, 202_705] {
            keyring.list_key(clients[0], month(number)).unwrap();
        }
        keyring.list_key(clients[1], month(202_705)).unwrap();
        let apply = || async { apply(&ledger, &handle, &keyring).await.unwrap().destroyed };
        // By default nothing goes.
        assert_eq!(apply().await, []);
        let retention = Change::Retention { months: 15 };
        handle.propose(ActorId(1), retention).await.unwrap();
        // 2027-05 less 15 months: 2026-02 stays.
        assert_eq!(apply().await, [(clients[0], 202_602)]);
        assert_eq!(
            keyring.list_months(clients[0]).unwrap(),
            [month(202_602), month(202_705)]
        );
        assert!(keyring.list_key(clients[0], month(202_601)).is_err());
        assert_eq!(apply().await, [], "once");
        let due = BTreeMap::from([(clients[0], 202_602)]);
        assert_eq!(*handle.state().lists_destroyed, due);
        drop(recorder);
        let mut reader = Reader::open(&ledger).unwrap();
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            if let Ok(Body::ListsDestroyed { before }) = event::record::decode(&entry.record) {
                found.push((entry.log, before));
            }
        }
        assert_eq!(found, [(LogId::Client(clients[0]), 202_602)]);
    }
}
