//! The ledger's records into detection, one after the other: live and in a replay the same.
//!
//! Invariant: what detection is told depends on the records and on the lists that are left alone. A
//! record of the ledger may be several of detection's: each has the ledger's sequence, shifted by
//! [`PARTS_BITS`], and its place among them; what is said has the ledger's sequences again. Records of
//! cases are no input, but that people closed a case is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use anyhow::Result;
use budget::SetKind;
use event::record::{Body, CaseFinding, FindingKind};
use event::{ActorId, Class, ClientId, LogId};
use ledger::list::List;
use ledger::{Entry, ListSealer, State};
use watch::{CaseNumber, Finding, Record, Said, Watch, What};

use super::adapt::{self, Adapter};
use super::own;
use crate::reading;

/// Bits of a sequence that tell the parts of one record of the ledger.
const PARTS_BITS: u32 = 16;

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

/// What identifies a finding: the record at which it was said, the detector, and whom it is about.
pub type Key = (u64, u8, Option<ActorId>, Option<ClientId>, Vec<u64>);

/// A finding that is said and was not found in the ledger yet.
pub struct Waiting {
    /// What was said.
    pub said: Said,
    /// Its record is made, and was not read yet.
    pub recorded: bool,
}

/// Detection over a ledger.
pub struct Feed {
    /// Opens what stands beside records; `None`: nothing is opened.
    lists: Option<Arc<dyn ListSealer>>,
    /// What earlier records said.
    pub adapter: Adapter,
    /// A buffer for an exposure's keys.
    keys: Vec<u64>,
    aliases: Aliases,
    /// As of the last record.
    pub state: State,
    /// The fold.
    pub watch: Watch,
    /// What is said and not in the ledger so far.
    pub waiting: BTreeMap<Key, Waiting>,
    /// Detection's cases by number, and what they are in the ledger.
    pub numbers: BTreeMap<CaseNumber, u32>,
    /// Findings in the ledger that this version does not say: of another version or other settings.
    pub others: u64,
    /// Lists that should have opened and did not, and why the first one did not.
    pub closed: Option<(u64, String)>,
    /// Fictitious subjects that are not known any more: their lists were destroyed.
    pub forgotten: u64,
    /// Parts beyond what a sequence can tell; none that this program writes.
    pub left_out: u64,
}

impl Feed {
    /// Before the first record.
    pub fn new(lists: Option<Arc<dyn ListSealer>>, settings: watch::Settings) -> Self {
        Self {
            lists,
            adapter: Adapter::default(),
            keys: Vec::new(),
            aliases: Aliases::default(),
            state: State::default(),
            watch: Watch::new(settings),
            waiting: BTreeMap::new(),
            numbers: BTreeMap::new(),
            others: 0,
            closed: None,
            forgotten: 0,
            left_out: 0,
        }
    }

    /// Takes the next record; adds what it led to, and gives its content.
    ///
    /// # Errors
    /// If it cannot be read, or the fold does not take it.
    pub fn take(&mut self, entry: &Entry, said: &mut Vec<Said>) -> Result<Body> {
        let body = reading::body(entry)?;
        let before = said.len();
        if let Err(why) = self.step(entry, &body, said) {
            // One list that does not open must not end detection; it is told.
            self.closed.get_or_insert((0, format!("{why:#}"))).0 += 1;
        }
        for said in &mut said[before..] {
            of_the_ledger(&mut said.finding);
            let waiting = Waiting {
                said: said.clone(),
                recorded: false,
            };
            self.waiting.insert(key(&said.finding), waiting);
        }
        let in_force = self.state.watch.cases_per_day;
        reading::apply(&mut self.state, entry, &body)?;
        if self.state.watch.cases_per_day != in_force {
            // From here on, and never for what was before: the past is folded as it was.
            let cases_per_day = self.state.watch.cases_per_day;
            self.watch.set_cases_per_day(cases_per_day);
        }
        if entry.log == LogId::Centre {
            self.decided(&body);
        }
        Ok(body)
    }

    /// Ends the day of the newest record, at the end of a replay.
    pub fn finish(&mut self, said: &mut Vec<Said>) {
        let before = said.len();
        self.watch.finish(said);
        for said in &mut said[before..] {
            of_the_ledger(&mut said.finding);
        }
    }

    /// What the record says, to detection.
    fn step(&mut self, entry: &Entry, body: &Body, said: &mut Vec<Said>) -> Result<()> {
        let Self {
            lists,
            adapter,
            keys,
            aliases,
            state,
            watch,
            left_out,
            forgotten,
            ..
        } = self;
        let mut planted = 0;
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
            What::Canary { client, subject } => {
                planted += 1;
                adapter.plant(client, subject);
                step(at_ms, What::Canary { client, subject });
            }
            what => step(at_ms, what),
        };
        if own::give(lists.as_deref(), entry, body, &mut own)? {
            // Each has several keys; without its list none.
            if let (Body::Canary { count, .. }, 0, Some(_)) = (body, planted, &lists) {
                *forgotten += u64::from(*count);
            }
            return Ok(());
        }
        let opened = match lists {
            Some(lists) => adapt::open_list(&**lists, entry, body),
            None => Ok(None),
        };
        let (list, closed) = match opened {
            Ok(list) => (list, None),
            Err(why) => (None, Some(why)),
        };
        let record = adapter.adapt(state, entry, body, list.as_ref(), keys);
        step(record.at_ms, record.what);
        if let (Body::Exposure(exposure), LogId::Client(client)) = (body, entry.log)
            && let Some(count) = adapter.moved(exposure)
        {
            let moved = What::Gate {
                actor: exposure.who.actor,
                client: Some(client),
                kind: FindingKind::CellOutOfPlace,
                count,
            };
            step(entry.wall_ms, moved);
        }
        if let (Some(list), LogId::Client(client), [key]) = (&list, entry.log, &keys[..]) {
            aliases.learn(client, list, *key);
        }
        closed.map_or(Ok(()), |why| Err(anyhow::Error::msg(why)))
    }

    /// What the ledger says of cases.
    fn decided(&mut self, body: &Body) {
        match body {
            Body::Case { case, finding, .. } => match self.waiting.remove(&key_of(finding)) {
                Some(waited) => {
                    self.numbers.insert(waited.said.case.case, *case);
                }
                None => self.others += 1,
            },
            Body::CaseClosed { case, .. } => {
                let cases = &self.state.cases.all;
                if cases.get(case).is_some_and(|it| it.closed.is_some()) {
                    let own = self.numbers.iter().filter(|(_, number)| *number == case);
                    own.for_each(|(number, _)| self.watch.close(*number));
                }
            }
            _ => {}
        }
    }
}

/// Gives a finding the ledger's sequences.
fn of_the_ledger(finding: &mut Finding) {
    finding.sequence >>= PARTS_BITS;
    for sequence in &mut finding.rests_on {
        *sequence >>= PARTS_BITS;
    }
    finding.rests_on.dedup();
}

fn key(finding: &Finding) -> Key {
    (
        finding.sequence,
        finding.cause.detector().code(),
        finding.actor,
        finding.client,
        finding.cause.numbers().1,
    )
}

fn key_of(finding: &CaseFinding) -> Key {
    (
        finding.cause.unwrap_or(u64::MAX),
        finding.detector,
        finding.actor,
        finding.client,
        finding.numbers.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in force later changes nothing of what was said before.
    #[test]
    fn the_past_is_folded_as_it_was() {
        let mut feed = Feed::new(None, watch::Settings::default());
        let bodies = [
            Body::Genesis {
                centre: "Kansai".into(),
                ledger: [1; 16],
            },
            Body::Proposed {
                change: event::ChangeId(1),
                by: ActorId(1),
                what: event::record::Change::Watch {
                    cases_per_day: 7,
                    response: event::Response::Nothing,
                },
            },
            Body::InForce {
                change: event::ChangeId(1),
                loosens: false,
                bootstrap: false,
            },
        ];
        let mut a_day = Vec::new();
        for (sequence, body) in (0..).zip(&bodies) {
            let entry = Entry {
                sequence,
                log: LogId::Centre,
                index: sequence,
                wall_ms: 1_800_000_000_000 + sequence,
                elapsed_ms: sequence,
                record: event::record::encode(body).unwrap(),
                attachment: Vec::new(),
            };
            feed.take(&entry, &mut Vec::new()).unwrap();
            a_day.push(feed.watch.settings().cases_per_day);
        }
        assert_eq!(a_day, [1, 1, 7]);
    }

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
