//! What a centre's ledger holds, with its lists opened by the clients' keys: read while the gate
//! writes, as `sekisho log` reads it.

use std::path::Path;
use std::time::Duration;

use event::record::{self, Body, Exposure};
use event::{ActorId, ClientId, LogId, Plain};
use ledger::list::{List, month};
use ledger::state::Meta;
use ledger::{Reader, State};
use seal::{Keyring, Master, Month};

/// What was recorded is waited for so long: a reader is a heartbeat of 60 s behind at most by the ledger's
/// own words, and on a disk that many tests write to that much later.
pub(crate) const SHOWN_WITHIN: Duration = Duration::from_secs(240);

/// A reader that goes on where it stopped.
pub(crate) struct Evidence {
    reader: Reader,
    pub(crate) keys: Keyring,
    /// The state after what was read.
    pub(crate) state: State,
}

/// One record.
pub(crate) struct Seen {
    pub(crate) log: LogId,
    pub(crate) body: Body,
    /// Of an exposure: its list, opened.
    pub(crate) list: Option<List>,
}

impl Seen {
    /// The client, exposure and list, if it is an exposure.
    pub(crate) fn exposure(&self) -> Option<(ClientId, &Exposure, &List)> {
        match (self.log, &self.body, &self.list) {
            (LogId::Client(client), Body::Exposure(exposure), Some(list)) => {
                Some((client, exposure, list))
            }
            _ => None,
        }
    }
}

impl Evidence {
    /// Of a data folder whose master key has no passphrase.
    pub(crate) fn of(dir: &Path) -> Self {
        let keys = dir.join("keys");
        let master = Master::load(&keys, "").expect("the master key opens");
        Self {
            reader: Reader::with_lists(&dir.join("ledger")).expect("there is a ledger"),
            keys: Keyring::open(&keys, master).expect("the keyring opens"),
            state: State::default(),
        }
    }

    /// The records since the last look that may be shown.
    pub(crate) fn read_on(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        while let Some(entry) = self.reader.next_entry().expect("the ledger verifies") {
            let body = record::decode(&entry.record).expect("the record is read");
            let meta = Meta {
                log: entry.log,
                sequence: entry.sequence,
                wall_ms: entry.wall_ms,
                elapsed_ms: entry.elapsed_ms,
            };
            self.state.apply(&meta, &body).expect("the record folds");
            let list = match (&body, entry.log) {
                (Body::Exposure(exposure), LogId::Client(client)) => {
                    Some(self.open(client, entry.wall_ms, exposure, &entry.attachment))
                }
                _ => None,
            };
            all.push(Seen {
                log: entry.log,
                body,
                list,
            });
        }
        all
    }

    fn open(&self, client: ClientId, wall_ms: u64, exposure: &Exposure, sealed: &[u8]) -> List {
        let month = month(wall_ms);
        let month = Month::new(month / 100, month % 100).expect("a record has a month");
        let key = self
            .keys
            .list_key(client, month)
            .expect("the list's key opens");
        let plain: Plain<Vec<u8>> = fingerprint::open_list(&key, &exposure.list.0, sealed)
            .expect("the list opens with its record's commitment");
        assert_eq!(ledger::list::commitment(plain.expose()), exposure.list);
        ledger::list::decode(plain.expose()).expect("the list is read")
    }

    /// Where it stands: what a check says that waited in vain.
    pub(crate) fn stands(&self) -> String {
        format!("{:?}", self.reader)
    }

    /// The number of an actor.
    pub(crate) fn actor(&self, login: &str) -> ActorId {
        let mut actors = self.state.actors.iter();
        let found = actors.find(|(_, actor)| actor.login == login);
        *found.unwrap_or_else(|| panic!("there is no {login}")).0
    }
}
