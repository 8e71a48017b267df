//! What people ask of detection, carried out by the process that holds the ledger: notes, closings,
//! what a case rests on, calls, fictitious subjects.
//!
//! Invariants: who asks has signed for it ([`crate::service`]); nobody closes, reopens or rebaselines
//! what is about himself; texts and numbers that were called leave here only encrypted.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use event::record::Body;
use event::{ActorId, Class, ClientId, Digest, LogId, Plain, Role};
use event::{CloseReason, System, TerminalEvent};
use ledger::beside::{Beside, CENTRE_KEYS, Noted};
use ledger::cases::Case;
use ledger::list::month;
use ledger::terminals::Standing;
use ledger::{Entry, ListSealer, State, Tail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::canary;
use super::own::{CALLS_MAX, encode_calls};
use crate::commands::{case_words, time};
use crate::keys::Lists;
use crate::service::{Reply, Service};

/// Longest name of a terminal, in bytes.
const TERMINAL_BYTES_MAX: usize = 256;

/// A personal value on its way to the process that seals it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal(pub String);

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(..)")
    }
}

/// A call, as it is brought in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenCall {
    /// The actor's login.
    pub login: String,
    /// The telephone number that was called or called, or the customer's number.
    pub about: Option<Personal>,
    /// Whether `about` is the customer's number.
    pub is_customer_number: bool,
    /// It began, ms since the Unix epoch.
    pub from_ms: u64,
    /// It ended, ms since the Unix epoch.
    pub until_ms: u64,
}

/// What a terminal, or its system, said.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenEvent {
    /// Its address or name, as sessions have it.
    pub terminal: String,
    /// The login of who was there, if known.
    pub login: Option<String>,
    /// What, by name.
    pub event: String,
    /// Bytes concerned; 0: unknown or none.
    pub bytes: u64,
    /// When, ms since the Unix epoch.
    pub at_ms: u64,
}

/// What can be asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Asked {
    /// What a case rests on, and what was noted.
    Show {
        /// Which.
        case: u32,
    },
    /// A note.
    Note {
        /// Which.
        case: u32,
        /// What.
        text: String,
    },
    /// A case is to be closed.
    Close {
        /// Which.
        case: u32,
        /// Why, by name.
        reason: String,
        /// In words.
        text: String,
    },
    /// A closed case is to be open again.
    Reopen {
        /// Which.
        case: u32,
        /// Why.
        text: String,
    },
    /// An actor's pace so far is its usual one.
    Rebaseline {
        /// Whose login.
        login: String,
    },
    /// How far detection is.
    Status,
    /// Fictitious subjects are to be planted.
    Plant(canary::Plant),
    /// What terminals said.
    Terminals {
        /// The events, at most [`CALLS_MAX`].
        events: Vec<GivenEvent>,
    },
    /// What the system of a terminal without an agent wrote.
    Evidence {
        /// Its name.
        terminal: String,
        /// Its settings: an exported registry, base64.
        settings: Option<String>,
        /// The newest event of its logs, ms since the Unix epoch.
        events_until_ms: Option<u64>,
    },
    /// Records of calls.
    Calls {
        /// Of which client.
        client: u32,
        /// The calls, at most [`CALLS_MAX`].
        calls: Vec<GivenCall>,
    },
}

impl Asked {
    /// Who may ask.
    pub fn roles(&self) -> &'static [Role] {
        match self {
            Self::Calls { .. } | Self::Terminals { .. } | Self::Evidence { .. } => {
                &[Role::Administrator, Role::Security, Role::Supervisor]
            }
            Self::Plant(_) => &[Role::Administrator, Role::Security],
            _ => &[Role::Security, Role::Administrator, Role::Approver],
        }
    }
}

/// Carries it out for `by`.
pub async fn carry_out(service: &Service, by: ActorId, asked: Asked) -> Result<Reply> {
    match asked {
        Asked::Show { case } => show(service, case).await,
        Asked::Note { case, text } => note(service, by, case, text).await,
        Asked::Close { case, reason, text } => close(service, by, case, &reason, text).await,
        Asked::Reopen { case, text } => reopen(service, by, case, text).await,
        Asked::Rebaseline { login } => rebaseline(service, by, &login).await,
        Asked::Status => Ok(status(service)),
        Asked::Plant(plant) => canary::plant(service, by, plant).await,
        Asked::Terminals { events } => terminals(service, &events).await,
        Asked::Evidence {
            terminal,
            settings,
            events_until_ms,
        } => {
            evidence(
                service,
                by,
                (&terminal, settings.as_deref()),
                events_until_ms,
            )
            .await
        }
        Asked::Calls { client, calls } => bring_in(service, by, client, &calls).await,
    }
}

fn known(state: &State, number: u32) -> Result<&Case> {
    let case = state.cases.all.get(&number);
    case.with_context(|| format!("there is no case {number}; `sekisho case list` shows them"))
}

fn text(text: String) -> Result<Beside> {
    ensure!(!text.trim().is_empty(), "say why in words: --text");
    Ok(Beside::Text(Plain::new(text)))
}

/// A record of a case with words beside it, and a copy in each log where the case stands.
fn noted(state: &State, case: &Case, body: Body, beside: Beside) -> Noted {
    let mut clients = case.clients.iter().copied();
    let only = clients.next().filter(|_| clients.next().is_none());
    let destroyed = |client: &ClientId| state.clients.get(client).is_some_and(|it| it.destroyed);
    Noted {
        log: LogId::Centre,
        copies: case.clients.iter().copied().collect(),
        body,
        beside,
        keys: only.filter(|client| !destroyed(client)),
    }
}

async fn note(service: &Service, by: ActorId, number: u32, words: String) -> Result<Reply> {
    let state = service.recorder().state();
    let case = known(&state, number)?;
    let body = Body::CaseNoted {
        case: number,
        by,
        text: Digest([0; 32]),
    };
    let noted = noted(&state, case, body, text(words)?);
    service.recorder().record_noted(noted).await?;
    Ok(Reply::default())
}

async fn close(
    service: &Service,
    by: ActorId,
    number: u32,
    reason: &str,
    words: String,
) -> Result<Reply> {
    let reason: CloseReason = reason.parse()?;
    let state = service.recorder().state();
    let case = known(&state, number)?;
    ensure!(case.closed.is_none(), "case {number} is closed already");
    let asked = case.asked.filter(|_| case.grave);
    ensure!(
        asked != Some(by),
        "you have asked to close case {number} already; a second person has to"
    );
    let body = Body::CaseClosed {
        case: number,
        by,
        asked,
        reason,
        text: Digest([0; 32]),
    };
    let noted = noted(&state, case, body, text(words)?);
    service.recorder().record_noted(noted).await?;
    let closed = asked.is_some() || !case.grave;
    let notes = if closed {
        Vec::new()
    } else {
        vec![format!(
            "Case {number} is a grave one: a second person closes it with the same command."
        )]
    };
    Ok(Reply {
        notes,
        data: Some(json!({"case": number, "closed": closed})),
        ..Reply::default()
    })
}

async fn reopen(service: &Service, by: ActorId, number: u32, words: String) -> Result<Reply> {
    let state = service.recorder().state();
    let case = known(&state, number)?;
    let body = Body::CaseReopened {
        case: number,
        by,
        text: Digest([0; 32]),
    };
    let noted = noted(&state, case, body, text(words)?);
    service.recorder().record_noted(noted).await?;
    Ok(Reply::default())
}

async fn rebaseline(service: &Service, by: ActorId, login: &str) -> Result<Reply> {
    let state = service.recorder().state();
    let (actor, _) = crate::commands::desk::actor(&state, login)?;
    let first = state.cases.rebaselines.get(&actor).copied();
    let asked = first.filter(|first| *first != by);
    let body = Body::Rebaselined { actor, by, asked };
    service.recorder().record(LogId::Centre, body).await?;
    let notes = match asked {
        Some(_) => Vec::new(),
        None => vec!["A second person has to say so with the same command.".to_owned()],
    };
    Ok(Reply {
        notes,
        data: Some(json!({"actor": actor.0, "done": asked.is_some()})),
        ..Reply::default()
    })
}

fn status(service: &Service) -> Reply {
    let state = service.recorder().state();
    let open = state
        .cases
        .all
        .values()
        .filter(|case| case.closed.is_none());
    let live = service.board().map(|board| {
        let status = board.status();
        let skipped = status.skipped;
        json!({
            "records": status.records, "caught_up": status.caught_up, "waiting": status.waiting,
            "others": status.others, "forgotten_canaries": status.forgotten, "closed_lists": status.closed, "failed": status.failed,
            "skipped": {"late": skipped.late, "repeated": skipped.repeated,
                "future": skipped.future, "impossible": skipped.impossible},
        })
    });
    let counters = service.board().map(|board| {
        let looks = board.counters();
        let shown = looks.iter().map(|(database, it)| {
            json!({"database": database, "looks": it.looks, "rows": it.rows,
                "accounted": it.accounted, "failed": it.failed})
        });
        shown.collect::<Vec<_>>()
    });
    Reply {
        data: Some(json!({
            "running": live.is_some(), "live": live, "cases": state.cases.all.len(),
            "counters": counters, "open": open.count(), "cases_per_day": state.watch.cases_per_day,
            "response": state.watch.response.name(),
        })),
        ..Reply::default()
    }
}

/// Kinds of records that belong to cases, by their first bytes: `0: kind` of two bytes.
fn may_be_of_a_case(entry: &Entry) -> bool {
    entry.log == LogId::Centre && matches!(entry.record.get(1..4), Some([0, 0x18, 26..=29]))
}

async fn show(service: &Service, number: u32) -> Result<Reply> {
    let handle = service.recorder();
    let state = handle.state();
    let case = known(&state, number)?;
    let durable = handle.durable().borrow().mark;
    let folder = service.ledger().to_owned();
    let mut records: Vec<(Entry, Body)> = tokio::task::spawn_blocking(move || {
        let mut tail = Tail::new(&folder);
        let mut all = Vec::new();
        tail.entries(durable, usize::MAX, &mut |entry: Entry| {
            if may_be_of_a_case(&entry) {
                let body = crate::reading::body(&entry)?;
                if of_case(&body) == Some(number) {
                    all.push((entry, body));
                }
            }
            Ok::<_, anyhow::Error>(())
        })?;
        Ok::<_, anyhow::Error>(all)
    })
    .await??;
    let lists = Lists(Arc::clone(service.keyring()));
    let items: Vec<Value> = records
        .drain(..)
        .map(|(entry, body)| item(&state, case, &lists, &entry, &body))
        .collect();
    Ok(Reply {
        data: Some(json!({"case": summary(&state, number, case), "records": items})),
        ..Reply::default()
    })
}

fn of_case(body: &Body) -> Option<u32> {
    match body {
        Body::Case { case, .. }
        | Body::CaseNoted { case, .. }
        | Body::CaseClosed { case, .. }
        | Body::CaseReopened { case, .. } => Some(*case),
        _ => None,
    }
}

fn item(state: &State, case: &Case, lists: &Lists, entry: &Entry, body: &Body) -> Value {
    let (kind, fields) = case_words::fields(state, body);
    let text = match body {
        Body::CaseNoted { text, .. }
        | Body::CaseClosed { text, .. }
        | Body::CaseReopened { text, .. } => words(case, lists, entry, text),
        _ => None,
    };
    json!({
        "sequence": entry.sequence, "index": entry.index, "at": time::rfc3339(entry.wall_ms),
        "kind": kind, "says": case_words::record(state, body), "text": text, "record": fields,
    })
}

/// The words beside a record: under the centre's keys, or those of a client that the case is about.
fn words(case: &Case, lists: &Lists, entry: &Entry, commitment: &Digest) -> Option<String> {
    let centre = ClientId::new(CENTRE_KEYS);
    let mut keys = centre.into_iter().chain(case.clients.iter().copied());
    let month = month(entry.wall_ms);
    let plaintext = keys.find_map(|client| {
        let opened = lists.open_list(client, month, commitment, &entry.attachment);
        opened.ok()
    })?;
    let text = ledger::list::decode(plaintext.expose())?.purpose?;
    Some(text.expose().clone())
}

/// A case in a few fields.
pub fn summary(state: &State, number: u32, case: &Case) -> Value {
    let login = |actor: ActorId| state.actors.get(&actor).map(|it| it.login.clone());
    let detectors = case
        .detectors
        .iter()
        .map(|code| case_words::detector(*code));
    json!({
        "case": number, "open": case.closed.is_none(),
        "actor": case.actor.map(|actor| actor.0), "login": case.actor.and_then(login),
        "clients": case.clients.iter().map(|client| client.get()).collect::<Vec<_>>(),
        "detectors": detectors.collect::<Vec<_>>(), "findings": case.findings,
        "bits": case.bits / 256, "opened": time::rfc3339(case.opened_ms),
        "newest": time::rfc3339(case.newest_ms), "grave": case.grave,
        "response": case.response.name(), "asked": case.asked.map(|actor| actor.0),
        "closed": case.closed.map(|closed| json!({
            "by": closed.by.0, "asked": closed.asked.map(|it| it.0),
            "reason": closed.reason.name(), "at": time::rfc3339(closed.at_ms),
        })),
    })
}

async fn terminals(service: &Service, given: &[GivenEvent]) -> Result<Reply> {
    ensure!(
        given.len() <= CALLS_MAX,
        "{} events at once; at most {CALLS_MAX}",
        given.len()
    );
    let state = service.recorder().state();
    for event in given {
        let said: TerminalEvent = event.event.parse()?;
        ensure!(
            !event.terminal.is_empty() && event.terminal.len() <= TERMINAL_BYTES_MAX,
            "a terminal's name has 1 to {TERMINAL_BYTES_MAX} bytes"
        );
        ensure!(
            event.at_ms <= state.times.wall_ms.max(crate::service::now_ms()),
            "{}: an event of the future; set the terminal's clock",
            time::rfc3339(event.at_ms)
        );
        let login = event.login.as_deref();
        let actor = login.and_then(|login| crate::commands::desk::actor(&state, login).ok());
        let body = Body::Terminal {
            terminal: event.terminal.clone(),
            actor: actor.map(|(actor, _)| actor),
            said,
            bytes: event.bytes,
            at_ms: event.at_ms,
        };
        service.recorder().record(LogId::Centre, body).await?;
    }
    Ok(Reply {
        data: Some(json!({"taken": given.len()})),
        ..Reply::default()
    })
}

/// Compares a terminal's settings with the policy in force, and records how far its evidence goes.
async fn evidence(
    service: &Service,
    by: ActorId,
    (name, settings): (&str, Option<&str>),
    events_until_ms: Option<u64>,
) -> Result<Reply> {
    let state = service.recorder().state();
    let terminals = &state.terminals;
    let mut known = terminals.all.iter().filter(|(_, it)| {
        it.standing == Standing::Approved
            && it.system != System::Linux
            && crate::terminals::same_computer(&it.name, name)
    });
    let (of, found) = known.next().with_context(|| {
        format!("no terminal without an agent is called {name}; `sekisho terminal approve {name} --system windows --address ADDRESS`")
    })?;
    ensure!(
        known.next().is_none(),
        "{name} may be more than one terminal: give its whole name"
    );
    let policy = crate::terminals::posture::policy(terminals)
        .context("no policy of terminals is in force: `sekisho terminal policy set FILE`")?;
    let now_ms = crate::service::now_ms();
    ensure!(
        events_until_ms
            .is_none_or(|until_ms| until_ms <= now_ms + terminal::evidence::AHEAD_MS_MAX),
        "its newest event is of the future; set the terminal's clock"
    );
    let (mut settings_at_ms, mut differences) = (None, Vec::new());
    if let Some(settings) = settings {
        let bytes = base64_simd::STANDARD
            .decode_to_vec(settings)
            .context("settings are no base64")?;
        let checked = terminal::evidence::check(&bytes, &policy)?;
        let (Some(computer), Some(at_ms)) =
            (&checked.origin.computer, checked.origin.applied_at_ms)
        else {
            bail!(
                "the export says neither whose nor of when it is: export the two keys that docs/terminal-evidence.md names with it"
            );
        };
        ensure!(
            crate::terminals::same_computer(computer, &found.name),
            "these are the settings of {computer}, not of {}",
            found.name
        );
        ensure!(
            at_ms <= now_ms + terminal::evidence::AHEAD_MS_MAX,
            "its settings were applied in the future; set the terminal's clock"
        );
        settings_at_ms = Some(at_ms);
        differences = checked.differences;
    }
    let body = Body::TerminalEvidence {
        terminal: *of,
        by,
        settings_at_ms,
        policy: Digest(policy.digest()),
        differences: u32::try_from(differences.len()).unwrap_or(u32::MAX),
        events_until_ms,
    };
    service.recorder().record(LogId::Centre, body).await?;
    let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
    Ok(Reply {
        data: Some(json!({"settings_at_ms": settings_at_ms, "differences": differences})),
        ..Reply::default()
    })
}

async fn bring_in(
    service: &Service,
    by: ActorId,
    client: u32,
    given: &[GivenCall],
) -> Result<Reply> {
    let state = service.recorder().state();
    let client = ClientId::new(client)
        .filter(|client| state.clients.contains_key(client))
        .with_context(|| format!("there is no client {client}"))?;
    ensure!(
        given.len() <= CALLS_MAX,
        "{} calls at once; at most {CALLS_MAX}",
        given.len()
    );
    let keys = service.keyring().client(client)?;
    let mut calls = Vec::with_capacity(given.len());
    let (mut unknown, mut own) = (0_u64, 0_u64);
    for call in given {
        let found = crate::commands::desk::actor(&state, &call.login);
        let Ok((actor, _)) = found else {
            unknown += 1;
            continue;
        };
        if actor == by {
            own += 1;
            continue;
        }
        if call.until_ms < call.from_ms {
            bail!("a call of {} ends before it begins", call.login);
        }
        let class = if call.is_customer_number {
            Class::CustomerNumber
        } else {
            Class::Phone
        };
        let about = call.about.as_ref();
        calls.push(watch::Call {
            actor,
            client,
            subject: about.map(|about| keys.fingerprint(class, &about.0).0),
            from_ms: call.from_ms,
            until_ms: call.until_ms,
        });
    }
    if !calls.is_empty() {
        let body = Body::Calls {
            count: u32::try_from(calls.len()).unwrap_or(u32::MAX),
            by,
            list: Digest([0; 32]),
        };
        let noted = Noted {
            log: LogId::Client(client),
            copies: Vec::new(),
            body,
            beside: Beside::Bytes(encode_calls(&calls)),
            keys: Some(client),
        };
        service.recorder().record_noted(noted).await?;
    }
    Ok(Reply {
        data: Some(json!({"taken": calls.len(), "unknown": unknown, "own": own})),
        ..Reply::default()
    })
}
