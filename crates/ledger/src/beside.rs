//! Records of detection, and what travels encrypted beside them: texts of cases, fingerprints of
//! fictitious subjects, calls.
//!
//! Invariants: what is beside a record is committed to in it, with a salt; a finding and its copies in
//! clients' logs lie in one commit; whether it joins a case or opens one is decided by the recorder.

use aws_lc_rs::rand;
use event::Response;
use event::record::{Body, CaseFinding};
use event::{Class, ClientId, Digest, LogId, Plain};
use fingerprint::{ListEntry, encode_list};
use tokio::sync::oneshot;

use crate::batch::{Position, Refusal};
use crate::charge;
use crate::core::{Answer, Core, Job, encode};
use crate::frame::frame_bytes;
use crate::list::{self, ListClosed, PURPOSE_BYTES_MAX, SALT_BYTES};
use crate::promised::Due;
use crate::recorder::Handle;

/// Under whose keys the centre's own texts are encrypted: those of cases about no client, or several.
pub const CENTRE_KEYS: u32 = ClientId::MAX;
/// Most bytes beside one record.
pub const BESIDE_BYTES_MAX: usize = 256 << 10;

/// What travels beside a record.
#[derive(Debug)]
pub enum Beside {
    /// A text, at most [`PURPOSE_BYTES_MAX`] bytes.
    Text(Plain<String>),
    /// Fingerprints, by the code of their set.
    Keys(Vec<ListEntry>),
    /// A text, and fingerprints.
    Both(Plain<String>, Vec<ListEntry>),
    /// Bytes whose form their kind of record says.
    Bytes(Plain<Vec<u8>>),
}

impl Beside {
    fn plaintext(&self, salt: &[u8; SALT_BYTES]) -> Result<Plain<Vec<u8>>, Refusal> {
        let none = || std::iter::empty::<ListEntry>();
        let text = match self {
            Self::Text(text) | Self::Both(text, _) => text.expose().len(),
            _ => 0,
        };
        if text > PURPOSE_BYTES_MAX {
            return Err(Refusal::TooLarge {
                what: "a text",
                bytes: text,
                limit: PURPOSE_BYTES_MAX,
            });
        }
        let plaintext = match self {
            Self::Text(text) => encode_list(salt, Some(text), none(), none()),
            Self::Both(text, keys) => encode_list(salt, Some(text), none(), keys.iter().copied()),
            Self::Keys(keys) => encode_list(salt, None, none(), keys.iter().copied()),
            Self::Bytes(bytes) => {
                let mut all = Plain::new(salt.to_vec());
                all.expose_mut().extend_from_slice(bytes.expose());
                all
            }
        };
        let bytes = plaintext.expose().len();
        if bytes > BESIDE_BYTES_MAX {
            return Err(Refusal::TooLarge {
                what: "what is beside a record",
                bytes,
                limit: BESIDE_BYTES_MAX,
            });
        }
        Ok(plaintext)
    }
}

/// A record with something beside it.
#[derive(Debug)]
pub struct Noted {
    /// In which log.
    pub log: LogId,
    /// Copies of the record alone, in these clients' logs.
    pub copies: Vec<ClientId>,
    /// The record; its commitment is filled in.
    pub body: Body,
    /// What is beside it.
    pub beside: Beside,
    /// Under whose keys; `None`: the centre's.
    pub keys: Option<ClientId>,
}

/// A finding for a case.
#[derive(Debug)]
pub struct Found {
    /// The case that it belongs to, if that is still open.
    pub join: Option<u32>,
    /// As it stands in the centre's log.
    pub finding: CaseFinding,
    /// As it stands in clients' logs.
    pub copies: Vec<(ClientId, CaseFinding)>,
    /// Whether closing its case takes two people.
    pub grave: bool,
    /// What is to be done about it.
    pub response: Response,
}

/// The commitment of a record that has something beside it.
fn commitment(body: &mut Body) -> Option<&mut Digest> {
    match body {
        Body::CaseNoted { text, .. }
        | Body::CaseClosed { text, .. }
        | Body::CaseReopened { text, .. } => Some(text),
        Body::Canary { list, .. } | Body::Calls { list, .. } | Body::TerminalCopy { list, .. } => {
            Some(list)
        }
        _ => None,
    }
}

impl Core {
    pub(crate) fn record_noted(&mut self, mut noted: Noted) -> Result<Position, Refusal> {
        self.alive()?;
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt)
            .map_err(|_| Refusal::Unavailable("the system gave no random bytes".into()))?;
        let plaintext = noted.beside.plaintext(&salt)?;
        let digest = list::commitment(plaintext.expose());
        let kind = noted.body.kind().0;
        *commitment(&mut noted.body).ok_or(Refusal::NotYours(kind))? = digest;
        let bytes = encode(&noted.body)?;
        let copies = noted.copies.len() * frame_bytes(bytes.len(), 0);
        let beside = list::bytes_bound(plaintext.expose().len(), 0);
        self.make_room(frame_bytes(bytes.len(), beside) + copies)?;
        let now = self.now();
        let keys = noted.keys.or_else(|| ClientId::new(CENTRE_KEYS));
        let client = keys.ok_or(Refusal::NotYours(kind))?;
        let destroyed = |client| {
            self.state
                .clients
                .get(client)
                .is_some_and(|it| it.destroyed)
        };
        if destroyed(&client) {
            let why = ListClosed::Destroyed;
            return Err(Refusal::Key { client, why });
        }
        let sealed = self
            .sealer
            .seal_list(client, list::month(now.0), &digest, plaintext.expose())
            .map_err(|why| Refusal::Key { client, why })?;
        let position = self.push(noted.log, &noted.body, &bytes, &sealed, now)?;
        for client in noted.copies {
            self.push(LogId::Client(client), &noted.body, &bytes, &[], now)?;
        }
        Ok(position)
    }

    /// The record of a file that may leave, and the receipt that it waits for.
    pub(crate) fn record_copy(&mut self, noted: Noted) -> Result<(Position, Option<Due>), Refusal> {
        self.check_covered(charge::let_out(&noted.body), true)?;
        let (log, body) = (noted.log, noted.body.clone());
        let position = self.record_noted(noted)?;
        let due = match log {
            LogId::Client(client) => self.due(client, position.index, &body),
            LogId::Centre => None,
        };
        Ok((position, due))
    }

    pub(crate) fn record_found(&mut self, found: Found) -> Result<(u32, Position), Refusal> {
        self.alive()?;
        let joins = |number: &u32| {
            let case = self.state.cases.all.get(number);
            case.is_some_and(|it| it.closed.is_none() && it.actor == found.finding.actor)
        };
        let join = found.join.filter(joins);
        let case = join.unwrap_or(self.state.cases.last().saturating_add(1));
        let (grave, response, new) = (found.grave, found.response, join.is_none());
        let body = |finding| Body::Case {
            case,
            new,
            finding,
            grave,
            response,
        };
        let mut records = vec![(LogId::Centre, body(found.finding))];
        for (client, finding) in found.copies {
            // A finding can name a client that there is not.
            if self.state.clients.contains_key(&client) {
                records.push((LogId::Client(client), body(finding)));
            }
        }
        let mut room = 0;
        let mut encoded = Vec::with_capacity(records.len());
        for (log, body) in records {
            let bytes = encode(&body)?;
            room += frame_bytes(bytes.len(), 0);
            encoded.push((log, body, bytes));
        }
        self.make_room(room)?;
        let now = self.now();
        let mut first = None;
        for (log, body, bytes) in encoded {
            let position = self.push(log, &body, &bytes, &[], now)?;
            first.get_or_insert(position);
        }
        let position = first.expect("a finding stands in the centre's log");
        Ok((case, position))
    }
}

impl Handle {
    /// Records something with a text, fingerprints or calls beside it; durable when it returns.
    ///
    /// # Errors
    /// If the fold does not take it, it is too long, or could not be recorded.
    pub async fn record_noted(&self, noted: Noted) -> Result<Position, Refusal> {
        self.with_core(|core| core.record_noted(noted)).await
    }

    /// Records that a file may be written to a company medium, within what may leave before witnesses and
    /// the client have seen it; what allowed it must still be in force when they have.
    ///
    /// # Errors
    /// If the fold does not take it, too much waits to be seen, or it could not be recorded.
    pub async fn record_copy(&self, noted: Noted) -> Result<Position, Refusal> {
        let body = noted.body.clone();
        let (position, due) = self.with_core(|core| core.record_copy(noted)).await?;
        if let Some(due) = due {
            let client = due.client;
            self.receipts(&[due]).await?;
            if let Body::TerminalCopy { who, terminal, .. } = &body {
                self.still_carries(client, who, terminal)?;
            }
        }
        Ok(position)
    }

    /// Records a finding: it joins its case, or opens one. Gives the case's number.
    ///
    /// # Errors
    /// If it could not be recorded.
    pub async fn record_found(&self, found: Found) -> Result<(u32, Position), Refusal> {
        self.with_core(|core| core.record_found(found)).await
    }

    /// Which of these values of a client, by their fingerprints, were shown in clear to anybody; what
    /// grants paid for is not remembered.
    ///
    /// # Errors
    /// If the recorder has ended.
    pub async fn were_shown(
        &self,
        client: ClientId,
        values: Vec<(Class, u64)>,
    ) -> Result<Vec<bool>, Refusal> {
        self.with_core(move |core| {
            let shown = |(class, key): &(Class, u64)| core.budgets.was_shown(client, *class, *key);
            Ok(values.iter().map(shown).collect())
        })
        .await
    }

    async fn with_core<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask(0, |answer: oneshot::Sender<Result<T, Refusal>>| {
            Job::Do(Box::new(move |core| {
                let done = work(core);
                let told: Answer = Box::new(move |failed| {
                    // Who asked may have gone.
                    let _ = answer.send(failed.map_or(done, Err));
                });
                told
            }))
        })
        .await
    }
}
