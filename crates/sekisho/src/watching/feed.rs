//! The ledger's records into detection, one after the other: live and in a replay the same.
//!
//! Invariant: what detection is told depends on the records and on the lists that are left alone. A
//! record of the ledger may be several of detection's: each has the ledger's sequence, shifted by
//! [`PARTS_BITS`], and its place among them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use anyhow::{Context, Result};
use budget::SetKind;
use event::record::Body;
use event::{Class, ClientId, LogId};
use ledger::list::List;
use ledger::state::Meta;
use ledger::{Entry, ListSealer, State};
use watch::{Record, Said, Watch, What};

use super::adapt::{self, Adapter};
use super::own;

/// Bits of a sequence that tell the parts of one record of the ledger.
pub const PARTS_BITS: u32 = 16;

/// Numbers of customers that are remembered with what they were shown as.
const ALIASES_MAX: usize = 1 << 18;

/// What a customer's telephone or customer number was shown as: a call names the number, an exposure
/// often the row tag. Learnt from exposures of one customer; the oldest are forgotten.
#[derive(Default)]
struct Aliases {
    known: HashMap<(ClientId, u64), u64>,
    order: VecDeque<(ClientId, u64)>,
}

impl Aliases {
    fn learn(&mut self, client: ClientId, list: &List, key: u64) {
        let numbers = list.rows.iter().filter(|entry| {
            matches!(
                entry.0,
                SetKind::Clear(Class::Phone | Class::CustomerNumber)
            )
        });
        for (_, number, _) in numbers.chain(&list.probes) {
            let place = (client, *number);
            if *number == key || self.known.insert(place, key).is_some() {
                continue;
            }
            self.order.push_back(place);
            if self.order.len() > ALIASES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    /// A call about whom it was shown as.
    fn told(&self, call: watch::Call) -> watch::Call {
        let shown = |number: u64| {
            let place = (call.client, number);
            self.known.get(&place).copied().unwrap_or(number)
        };
        watch::Call {
            subject: call.subject.map(shown),
            ..call
        }
    }
}

/// The ledger's sequence of a record that detection names.
pub fn ledger_sequence(of_detection: u64) -> u64 {
    of_detection >> PARTS_BITS
}

/// Detection over a ledger.
pub struct Feed {
    lists: Arc<dyn ListSealer>,
    adapter: Adapter,
    /// A buffer for an exposure's keys.
    keys: Vec<u64>,
    aliases: Aliases,
    /// As of the last record.
    pub state: State,
    /// The fold.
    pub watch: Watch,
    /// Parts beyond what a sequence can tell; none that this program writes.
    pub left_out: u64,
}

impl Feed {
    /// Before the first record.
    pub fn new(lists: Arc<dyn ListSealer>, settings: watch::Settings) -> Self {
        Self {
            adapter: Adapter::default(),
            keys: Vec::new(),
            aliases: Aliases::default(),
            lists,
            state: State::default(),
            watch: Watch::new(settings),
            left_out: 0,
        }
    }

    /// Takes the next record; adds what it led to, and gives its content.
    ///
    /// # Errors
    /// If it cannot be read, or the fold does not take it.
    pub fn take(&mut self, entry: &Entry, said: &mut Vec<Said>) -> Result<Body> {
        let body = crate::reading::body(entry)?;
        let Self {
            lists,
            adapter,
            keys,
            aliases,
            watch,
            left_out,
            state,
        } = self;
        let mut part = 0_u64;
        let mut step = |at_ms, what: What<'_>| {
            if part >> PARTS_BITS != 0 {
                *left_out += 1;
                return;
            }
            let sequence = entry.sequence << PARTS_BITS | part;
            part += 1;
            let record = Record {
                sequence,
                at_ms,
                what,
            };
            watch.step(&record, said);
        };
        let mut own = |at_ms, what: What<'_>| match what {
            What::Call(call) => step(at_ms, What::Call(aliases.told(call))),
            what => step(at_ms, what),
        };
        if !own::give(&**lists, entry, &body, &mut own)? {
            let list = adapt::open_list(&**lists, entry, &body).map_err(anyhow::Error::msg)?;
            let record = adapter.adapt(state, entry, &body, list.as_ref(), keys);
            step(record.at_ms, record.what);
            if let (Some(list), LogId::Client(client), [key]) = (&list, entry.log, &keys[..]) {
                aliases.learn(client, list, *key);
            }
        }
        let meta = Meta {
            log: entry.log,
            sequence: entry.sequence,
            wall_ms: entry.wall_ms,
            elapsed_ms: entry.elapsed_ms,
        };
        self.state
            .apply(&meta, &body)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("record {}", entry.sequence))?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use event::ActorId;

    use super::*;

    #[test]
    fn a_call_is_about_whom_was_shown() {
        let client = ClientId::new(1).unwrap();
        let list = |phone, tag| List {
            probes: vec![(SetKind::Probe { primary: true }, phone, 1)],
            rows: vec![
                (SetKind::RowTag, tag, 1),
                (SetKind::Clear(Class::Name), 7, 1),
            ],
            purpose: None,
        };
        let mut aliases = Aliases::default();
        let call = |subject| watch::Call {
            actor: ActorId(1),
            client,
            subject,
            from_ms: 1,
            until_ms: 2,
        };
        aliases.learn(client, &list(50, 90), 90);
        assert_eq!(aliases.told(call(Some(50))).subject, Some(90));
        assert_eq!(
            aliases.told(call(Some(7))).subject,
            Some(7),
            "a name is many people's"
        );
        assert_eq!(aliases.told(call(None)).subject, None);
        for number in 0..=ALIASES_MAX as u64 {
            aliases.learn(client, &list(1000 + number, 1), 1);
        }
        assert_eq!(aliases.told(call(Some(50))).subject, Some(50), "forgotten");
        assert_eq!(aliases.order.len(), ALIASES_MAX);
        assert_eq!(aliases.known.len(), ALIASES_MAX);
    }
}
