//! A file that is to go to a company medium: somebody confirms it, its bytes come here, are looked into,
//! judged and recorded; then its terminal's broker may write them.
//!
//! Invariants: a file that may be written is on record before its broker hears so; what cannot be looked
//! into is refused; bytes and values are dropped here, and only fingerprints of them stay.

use std::sync::LazyLock;
use std::time::Duration;

use event::record::{Body, ClassCount, RefusalReason, Who};
use event::{Class, ClientId, Digest, LogId, Octets, Outcome, Plain};
use fingerprint::ListEntry;
use ledger::Refusal;
use ledger::beside::{Beside, Noted};
use scan::{Found, Limits};
use seal::ClientKeys;
use terminal::copy::{
    CODE_ALPHABET, CODE_LETTERS, CONFIRM_MS_MAX, FILE_BYTES_MAX, FromBroker, Offer, ToBroker,
};
use terminal::report::TEXT_BYTES_MAX;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::Parts;
use super::frames::Frames;

/// The offer comes within this time.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Each part of the file within this, and all of it within that.
const PART_MAX: Duration = Duration::from_secs(10);
const FILE_MAX: Duration = Duration::from_secs(300);
/// How long one waits while others' files are looked into.
const PLACE_MAX: Duration = Duration::from_secs(60);
/// Files that are held and looked into at once, each [`FILE_BYTES_MAX`] at most.
static FILES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(2));
/// Values that a record can tell of.
const VALUES_MAX: usize = 25_000;
/// Values that the recorder looks up at once; sessions wait meanwhile.
const LOOKED_UP_MAX: usize = 1_000;

/// What is said about a file.
struct Judgement {
    refused: Option<(RefusalReason, String)>,
    classes: Vec<ClassCount>,
    subjects: u64,
    keys: Vec<ListEntry>,
}

impl Judgement {
    fn refused(reason: RefusalReason, why: impl Into<String>) -> Self {
        Self {
            refused: Some((reason, why.into())),
            classes: Vec::new(),
            subjects: 0,
            keys: Vec::new(),
        }
    }
}

struct Broker(Frames);

/// Serves one copy.
pub(super) async fn serve(stream: TlsStream<TcpStream>, of: Digest, parts: &Parts) {
    let mut broker = Broker(Frames::new(stream));
    // Gone, or speaks something else: nothing was promised.
    let _ = copy(&mut broker, of, parts).await;
}

async fn copy(broker: &mut Broker, of: Digest, parts: &Parts) -> std::io::Result<()> {
    let FromBroker::Offer(offer) = timeout(ANSWER_MAX, broker.message()).await?? else {
        return Ok(());
    };
    let client = match begin(&offer, of, parts) {
        Ok(client) => client,
        Err(why) => return broker.refuse(why).await,
    };
    let Some(confirmed) = parts.door.copies().wait(of, &offer.code) else {
        return broker.refuse("too many copies wait; try again").await;
    };
    let Some(mut who) = broker.confirmed(confirmed).await? else {
        return broker.refuse("nobody confirmed it in time").await;
    };
    who.grant = Some(event::GrantId(offer.grant));
    let judgement = match judged(broker, &who, (of, client), &offer, parts).await? {
        Ok(judgement) => judgement,
        Err((reason, why)) => Judgement::refused(reason, why),
    };
    let answer = record(judgement, who, of, client, &offer, parts).await;
    broker.send(&answer).await
}

/// Takes the file and looks into it, where its grant could pay for it; or the refusal.
async fn judged(
    broker: &mut Broker,
    who: &Who,
    (of, client): (Digest, ClientId),
    offer: &Offer,
    parts: &Parts,
) -> std::io::Result<Result<Judgement, (RefusalReason, String)>> {
    let state = parts.handle.state();
    if let Err(why) = state.may_carry(client, who, &of, 0, crate::service::now_ms()) {
        return Ok(Err((RefusalReason::Grant, why)));
    }
    let Ok(Ok(_place)) = timeout(PLACE_MAX, FILES.acquire()).await else {
        let why = "other files are being looked into; try again".to_owned();
        return Ok(Err((RefusalReason::Ledger, why)));
    };
    broker.send(&ToBroker::Confirmed).await?;
    let file = timeout(FILE_MAX, broker.file(offer.bytes)).await??;
    Ok(Ok(judge(file, &offer.name, client, parts).await))
}

/// What can be said before anybody is asked; the recorder looks at all of it once more.
fn begin(offer: &Offer, of: Digest, parts: &Parts) -> Result<ClientId, &'static str> {
    let state = parts.handle.state();
    let is_code = offer.code.len() == CODE_LETTERS
        && offer.code.bytes().all(|it| CODE_ALPHABET.contains(&it));
    if !is_code {
        return Err("this is no code");
    }
    if offer.name.is_empty() {
        return Err("the file has no name");
    }
    if offer.bytes > FILE_BYTES_MAX {
        return Err("the file is too large: 64 MiB at most");
    }
    if !state.terminals.is_healthy(&of) {
        return Err("this terminal is not healthy; `sekisho-post status` says what lacks");
    }
    let mut clients = state.clients.iter();
    let client = clients.find(|(_, it)| it.code == offer.client);
    let (client, _) = client.ok_or("the medium is for a client that the gate does not know")?;
    Ok(*client)
}

/// Looks into the file.
async fn judge(file: Plain<Vec<u8>>, name: &str, client: ClientId, parts: &Parts) -> Judgement {
    // The name is written to the medium, too.
    let name = Plain::new(name.to_owned());
    let look = move || {
        let limits = Limits::default();
        let name = scan::look(name.expose().as_bytes(), &limits)?;
        scan::look(file.expose(), &limits).map(|found| [found, name])
    };
    let found = match tokio::task::spawn_blocking(look).await {
        Ok(Ok(found)) => found,
        Ok(Err(closed)) => return Judgement::refused(RefusalReason::Value, closed.to_string()),
        Err(_) => return Judgement::refused(RefusalReason::Value, "it could not be looked into"),
    };
    let Ok(keys) = parts.keyring.client(client) else {
        return Judgement::refused(RefusalReason::Key, "the client's keys are gone");
    };
    let Ok(mut values) = known(&found, client, &keys, parts).await else {
        return Judgement::refused(RefusalReason::Ledger, "the ledger does not answer");
    };
    values.sort_unstable();
    values.dedup();
    let mut judgement = counted(&values);
    let planted = values
        .iter()
        .any(|(_, key)| parts.watch.is_planted(client, *key));
    judgement.refused = if values.len() > VALUES_MAX {
        let why = format!("more than {VALUES_MAX} personal values are in it");
        Some((RefusalReason::Value, why))
    } else if planted {
        let why = "a fictitious person is in it, whom nobody has a reason to know";
        Some((RefusalReason::Policy, why.to_owned()))
    } else if !parts.watch.status().caught_up {
        let why = "detection has not read the whole ledger yet; try again";
        Some((RefusalReason::Ledger, why.to_owned()))
    } else {
        None
    };
    judgement
}

/// Fingerprints of what is a personal value for certain, and of what may be one and was shown before.
async fn known(
    found: &[Found],
    client: ClientId,
    keys: &ClientKeys,
    parts: &Parts,
) -> Result<Vec<(Class, u64)>, Refusal> {
    let print = |(class, value): (Class, &Plain<String>)| {
        let of = keys.fingerprint_key();
        (class, of.fingerprint_normalised(class, value.expose()).0)
    };
    let mut values: Vec<_> = found.iter().flat_map(Found::certain).map(print).collect();
    let possible: Vec<_> = found.iter().flat_map(Found::possible).map(print).collect();
    for some in possible.chunks(LOOKED_UP_MAX) {
        let shown = parts.handle.were_shown(client, some.to_vec()).await?;
        // A fictitious person may never have been shown.
        let known = |(value, shown): &(&(Class, u64), bool)| {
            *shown || parts.watch.is_planted(client, value.1)
        };
        let known = some.iter().zip(shown).filter(known);
        values.extend(known.map(|(value, _)| *value));
    }
    Ok(values)
}

/// What distinct values come to.
fn counted(values: &[(Class, u64)]) -> Judgement {
    let count = |class: Class| {
        let cells = values.iter().filter(|(of, _)| *of == class).count();
        ClassCount {
            class,
            outcome: Outcome::Clear,
            cells: u32::try_from(cells).unwrap_or(u32::MAX),
        }
    };
    let mut classes: Vec<_> = Class::ALL.iter().copied().map(count).collect();
    classes.retain(|it| it.cells > 0);
    let subjects = classes.iter().map(|it| u64::from(it.cells)).max();
    let entry = |(class, key): &(Class, u64)| ListEntry {
        code: class.code(),
        key: *key,
        weight: 1,
    };
    Judgement {
        refused: None,
        subjects: subjects.unwrap_or(0),
        classes,
        keys: values.iter().take(VALUES_MAX).map(entry).collect(),
    }
}

/// Records the judgement; what the broker hears is what is on record.
async fn record(
    mut judgement: Judgement,
    who: Who,
    terminal: Digest,
    client: ClientId,
    offer: &Offer,
    parts: &Parts,
) -> ToBroker {
    let noted = |judgement: &Judgement| Noted {
        log: LogId::Client(client),
        copies: Vec::new(),
        body: Body::TerminalCopy {
            who: who.clone(),
            terminal,
            medium: Octets(offer.medium.to_vec()),
            bytes: offer.bytes,
            classes: judgement.classes.clone(),
            subjects: judgement.subjects,
            refused: judgement.refused.as_ref().map(|(reason, _)| *reason),
            list: Digest([0; 32]),
        },
        beside: Beside::Both(Plain::new(offer.name.clone()), judgement.keys.clone()),
        keys: Some(client),
    };
    if judgement.refused.is_none() {
        match parts.handle.record_copy(noted(&judgement)).await {
            Ok(_) => return answer(judgement),
            // What the ledger says of the grant, of the terminal, of the person.
            Err(Refusal::Change(why)) => judgement.refused = Some((RefusalReason::Grant, why)),
            Err(refusal) => {
                judgement.refused = Some((RefusalReason::Ledger, refusal.to_string()));
            }
        }
    }
    // A refusal that could not be recorded refuses all the same.
    let _ = parts.handle.record_noted(noted(&judgement)).await;
    answer(judgement)
}

fn answer(judgement: Judgement) -> ToBroker {
    let findings = judgement.classes.iter();
    let may = judgement.refused.is_none();
    let mut why = judgement.refused.map_or(String::new(), |(_, why)| why);
    why.truncate(why.floor_char_boundary(TEXT_BYTES_MAX));
    ToBroker::Judged {
        may,
        why,
        subjects: judgement.subjects,
        findings: findings.map(|it| (it.class.code(), it.cells)).collect(),
    }
}

impl Broker {
    async fn refuse(&mut self, why: &str) -> std::io::Result<()> {
        let answer = Judgement::refused(RefusalReason::Policy, why);
        self.send(&self::answer(answer)).await
    }

    /// Waits for the person; `None`: nobody came. An error if the broker goes away before.
    async fn confirmed(
        &mut self,
        confirmed: tokio::sync::oneshot::Receiver<Who>,
    ) -> std::io::Result<Option<Who>> {
        let wait = timeout(Duration::from_millis(CONFIRM_MS_MAX), confirmed);
        tokio::select! {
            who = wait => Ok(who.ok().and_then(Result::ok)),
            // It has nothing to say now.
            _ = self.message() => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }

    async fn file(&mut self, bytes: u64) -> std::io::Result<Plain<Vec<u8>>> {
        let bytes = usize::try_from(bytes).map_err(std::io::Error::other)?;
        // In one piece from the beginning: growing would leave copies behind.
        let mut file = Plain::new(Vec::with_capacity(bytes));
        while file.expose().len() < bytes {
            let FromBroker::Part(part) = timeout(PART_MAX, self.message()).await?? else {
                return Err(std::io::ErrorKind::InvalidData.into());
            };
            let part = Plain::new(part);
            let left = bytes - file.expose().len();
            if part.expose().is_empty() || part.expose().len() > left {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            file.expose_mut().extend_from_slice(part.expose());
        }
        Ok(file)
    }

    async fn send(&mut self, message: &ToBroker) -> std::io::Result<()> {
        self.0.send(&message.encode()).await
    }

    async fn message(&mut self) -> std::io::Result<FromBroker> {
        self.0.next(FromBroker::decode).await
    }
}
