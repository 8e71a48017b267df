//! Which changes make sense, and which loosen. Pure.
//!
//! Looser is: more people, rights, clients, keys or grants. Of policies only their own crate can
//! tell, and of numbers `budget`: for those the record's flag says it, set by the recorder when the
//! change was proposed ([`crate::Options::policy_looser`]).

use event::record::{Body, Change};
use event::{ClientId, Digest, LogId, Pin, Role};
use tlog::{Algorithm, Checkpoint, Note, VerifierKey};

use crate::logs::{Generation, Tree};
use crate::retention::MONTHS_MAX;
use crate::state::State;
use crate::terminals;

/// Most cases a day for 1,000 actors.
const CASES_PER_DAY_MAX: u32 = 1000;
/// Longest display name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Whether a change gives anyone more than is in force, as far as the records alone tell.
pub(crate) fn loosens(state: &State, what: &Change) -> bool {
    match what {
        Change::ClientAdded { .. }
        | Change::GrantEnded { .. }
        | Change::ClientKey { .. }
        | Change::Policy { .. }
        | Change::Numbers { .. } => false,
        Change::ActorSet {
            actor,
            login,
            role,
            clients,
            active,
        } => match state.actors.get(actor) {
            _ if !active => false,
            None => true,
            Some(before) => {
                !before.active
                    || before.login != *login
                    || before.role != *role
                    || clients
                        .iter()
                        .any(|client| !before.clients.contains(client))
            }
        },
        // The first credential uses up a code that was made for it; a later one is a reset.
        Change::Credential { actor, .. } => state
            .actors
            .get(actor)
            .is_none_or(|actor| actor.enrolment.is_none()),
        Change::EnrolmentCode { actor, .. } => state
            .actors
            .get(actor)
            .is_none_or(|actor| actor.credential.is_some() || actor.role == Role::Approver),
        // Evidence goes sooner.
        Change::Retention { months } => {
            let before = state.retention_months;
            shorter(before, *months)
        }
        Change::UncoveredCap { subjects } => is_looser(state.uncovered_cap, *subjects),
        Change::ReceiptCap { client, subjects } => {
            let before = state.clients.get(client).and_then(|it| it.receipt_cap);
            is_looser(before, *subjects)
        }
        Change::EntryRetention { months } => shorter(state.entry_retention_months, *months),
        // Fewer cases are seen, or less is done about them.
        Change::Watch {
            cases_per_day,
            response,
        } => *cases_per_day < state.watch.cases_per_day || *response < state.watch.response,
        // Not looser in the sense of seeing more, but never one person's decision.
        Change::LogKey { .. } | Change::ClientDestroyed { .. } | Change::Generation { .. } => true,
        Change::Terminal { .. } | Change::TerminalPolicy { .. } => {
            terminals::loosens(&state.terminals, what)
        }
        Change::SigningKey { .. }
        | Change::Pin(_)
        | Change::Grant(_)
        | Change::OfficerFile { .. } => true,
    }
}

/// Whether a cap is looser than one before; `None`: there is none.
fn is_looser(before: Option<u64>, after: Option<u64>) -> bool {
    before.is_some_and(|before| after.is_none_or(|after| after > before))
}

/// The records that a change brings along when it comes into force on this state, and their logs.
///
/// # Errors
/// If the change makes no sense here.
pub(crate) fn brings(state: &State, what: &Change) -> Result<Vec<(LogId, Body)>, String> {
    Ok(match what {
        // A client that comes into force has a log from then on.
        Change::ClientAdded { client, .. } => {
            let opens = |(_, body): &&(LogId, Body)| matches!(body, Body::LogOpened { .. });
            let before = state.owed.iter().filter(opens).count();
            let slot = u32::try_from(before).map_or(u32::MAX, |it| state.slots.saturating_add(it));
            let ledger = state.ledger;
            vec![(LogId::Client(*client), Body::LogOpened { ledger, slot })]
        }
        // A loss is told in every log that there is.
        Change::Generation {
            number,
            checkpoint,
            lost,
        } => {
            let (size, root) = declared_head(state, checkpoint)?;
            let declared = Body::LossDeclared {
                generation: *number,
                size,
                root,
                lost: lost.clone(),
            };
            let clients = state.clients.keys().copied().map(LogId::Client);
            let logs = clients.chain([LogId::Centre]);
            logs.map(|log| (log, declared.clone())).collect()
        }
        Change::ReceiptCap { client, subjects } => {
            let subjects = *subjects;
            vec![(LogId::Client(*client), Body::ReceiptCap { subjects })]
        }
        _ => Vec::new(),
    })
}

/// Whether evidence goes sooner. Months; 0: never.
fn shorter(before: u32, after: u32) -> bool {
    after > 0 && (before == 0 || after < before)
}

/// Whether a change can come into force at all.
///
/// # Errors
/// What is wrong with it, in words for its proposer.
pub(crate) fn check(state: &State, what: &Change, wall_ms: u64) -> Result<(), String> {
    match what {
        Change::ClientAdded { client, code, name } => {
            text(
                "a client's code",
                code,
                32,
                "a-z 0-9 -",
                |c| matches!(c, 'a'..='z' | '0'..='9' | '-'),
            )?;
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(format!("a client's name has 1 to {NAME_BYTES_MAX} bytes"));
            }
            unless(state.clients.contains_key(client), || {
                format!("client {client} exists")
            })?;
            unless(client.get() == crate::beside::CENTRE_KEYS, || {
                format!("client number {client} stands for the centre's own keys")
            })?;
            let taken = state.clients.values().any(|client| client.code == *code);
            unless(taken, || format!("there is a client with code {code}"))
        }
        Change::ActorSet {
            actor,
            login,
            clients,
            ..
        } => {
            text(
                "a login",
                login,
                63,
                "a-z 0-9 . _ -",
                |c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'),
            )?;
            unless(actor.0 == 0, || "actors are numbered from 1".into())?;
            let taken = state
                .actors
                .iter()
                .any(|(id, other)| id != actor && other.login == *login);
            unless(taken, || format!("there is an actor {login}"))?;
            unless(!clients.is_sorted_by(|a, b| a < b), || {
                "an actor's clients are listed in ascending order".into()
            })?;
            clients
                .iter()
                .try_for_each(|client| known_client(state, *client))
        }
        Change::Credential { actor, .. } => {
            let actor = known_actor(state, *actor)?;
            let late = actor.enrolment.is_some_and(|code| code.until_ms < wall_ms);
            unless(late && actor.credential.is_none(), || {
                "the enrolment code has expired".into()
            })
        }
        Change::EnrolmentCode { actor, .. } => known_actor(state, *actor).map(|_| ()),
        Change::SigningKey { actor, .. } => {
            let role = known_actor(state, *actor)?.role;
            let signs = matches!(
                role,
                Role::Approver | Role::Administrator | Role::Security | Role::Supervisor
            );
            unless(!signs, || format!("a {role} has no signing key"))
        }
        Change::Policy { .. } => Ok(()),
        Change::Numbers { toml } => budget::Numbers::parse(toml)
            .map(|_| ())
            .map_err(|error| error.to_string()),
        Change::Pin(pin) => check_pin(state, pin),
        Change::Grant(grant) => {
            unless(state.grants.contains_key(&grant.grant), || {
                format!("grant {} exists", grant.grant)
            })?;
            known_client(state, grant.client)?;
            unless(!known_actor(state, grant.actor)?.active, || {
                format!("actor {} is not active", grant.actor)
            })?;
            text("a ticket", &grant.ticket, 64, "A-Z a-z 0-9 - _ / .", |c| {
                c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.')
            })
        }
        Change::GrantEnded { grant } => unless(!state.grants.contains_key(grant), || {
            format!("there is no grant {grant}")
        }),
        Change::ClientKey { client, .. } => unless(destroyed_client(state, *client)?, || {
            format!("the keys of client {client} were destroyed")
        }),
        Change::LogKey { number, public_key } => {
            unless(*number != state.log_keys.len() as u32 + 1, || {
                format!("log key {} is due", state.log_keys.len() + 1)
            })?;
            unless(state.log_keys.contains(public_key), || {
                "this log key was used before".into()
            })
        }
        Change::ClientDestroyed { client } => unless(destroyed_client(state, *client)?, || {
            format!("the keys of client {client} are destroyed already")
        }),
        Change::OfficerFile { client } => {
            unless(destroyed_client(state, *client)?, || {
                format!("the keys of client {client} were destroyed")
            })?;
            let waits = state.clients.get(client).is_some_and(|it| it.officer_file);
            unless(waits, || {
                format!("an officer's file of client {client} is approved and not made yet")
            })
        }
        Change::Retention { months } => {
            unless(*months > MONTHS_MAX, || {
                format!("lists stay for 1 to {MONTHS_MAX} months, or 0: for ever")
            })?;
            unless(*months == state.retention_months, || {
                "this retention is in force".into()
            })
        }
        Change::UncoveredCap { subjects } => unless(*subjects == state.uncovered_cap, || {
            "this cap is in force".into()
        }),
        Change::ReceiptCap { client, subjects } => {
            known_client(state, *client)?;
            let before = state.clients.get(client).and_then(|it| it.receipt_cap);
            unless(*subjects == before, || "this cap is in force".into())
        }
        Change::EntryRetention { months } => {
            unless(*months > MONTHS_MAX, || {
                format!("entries stay for 1 to {MONTHS_MAX} months, or 0: for ever")
            })?;
            unless(*months == state.entry_retention_months, || {
                "this retention is in force".into()
            })
        }
        Change::Watch { cases_per_day, .. } => {
            unless(!(1..=CASES_PER_DAY_MAX).contains(cases_per_day), || {
                format!("there are 1 to {CASES_PER_DAY_MAX} cases a day for 1,000 actors")
            })
        }
        Change::Generation {
            number,
            checkpoint,
            lost,
        } => {
            unless(*number != state.log_generation + 1, || {
                format!("generation {} is due", state.log_generation + 1)
            })?;
            declared_head(state, checkpoint)?;
            unless(lost.is_empty(), || "say what was lost".into())
        }
        Change::Terminal { .. } | Change::TerminalPolicy { .. } => {
            terminals::check(&state.terminals, what)
        }
    }
}

/// Size and root of the root log in a checkpoint that declares a loss: one of ours, of the generation
/// that ends.
///
/// # Errors
/// If it is none, in words for its proposer.
pub(crate) fn declared_head(state: &State, checkpoint: &str) -> Result<(u64, Digest), String> {
    let origin = Generation {
        ledger: state.ledger,
        number: state.log_generation,
    }
    .origin(Tree::Root);
    let keys = state.log_keys.iter();
    let keys: Vec<_> = keys
        .filter_map(|key| VerifierKey::new(&origin, Algorithm::Ed25519, *key).ok())
        .collect();
    let opened = Note::parse(checkpoint.as_bytes())
        .map_err(|error| error.to_string())
        .and_then(|note| {
            Checkpoint::open(&note, &keys)
                .map(|it| it.checkpoint)
                .map_err(|e| e.to_string())
        });
    let checkpoint = opened
        .map_err(|error| format!("this is no checkpoint of {origin} that we signed: {error}"))?;
    Ok((checkpoint.size(), Digest(checkpoint.root().0)))
}

fn check_pin(state: &State, pin: &Pin) -> Result<(), String> {
    let names = |r: &event::PinnedRelation| (r.schema.clone(), r.name.clone());
    unless(
        !pin.relations.is_sorted_by(|a, b| names(a) < names(b)),
        || "a pin lists relations by schema and name, each once".into(),
    )?;
    for relation in &pin.relations {
        if let event::ClientSource::Fixed(client) = relation.client {
            known_client(state, client)?;
        }
        for column in &relation.columns {
            let forbidden = column.sealing.is_some_and(|sealing| {
                sealing.mode == event::Mode::Exact && !sealing.class.may_be_exact()
            });
            unless(forbidden, || {
                format!("column {} may not be exact", column.name)
            })?;
        }
    }
    Ok(())
}

fn known_client(state: &State, client: ClientId) -> Result<(), String> {
    unless(!state.clients.contains_key(&client), || {
        format!("there is no client {client}")
    })
}

/// Whether its keys were destroyed.
fn destroyed_client(state: &State, client: ClientId) -> Result<bool, String> {
    known_client(state, client)?;
    Ok(state
        .clients
        .get(&client)
        .is_some_and(|client| client.destroyed))
}

fn known_actor(state: &State, actor: event::ActorId) -> Result<&crate::state::Actor, String> {
    state
        .actors
        .get(&actor)
        .ok_or_else(|| format!("there is no actor {actor}"))
}

fn text(
    what: &str,
    given: &str,
    max: usize,
    characters: &str,
    allowed: fn(char) -> bool,
) -> Result<(), String> {
    if given.is_empty() || given.len() > max || !given.chars().all(allowed) {
        return Err(format!("{what} has 1 to {max} of {characters}"));
    }
    Ok(())
}

fn unless(wrong: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if wrong { Err(why()) } else { Ok(()) }
}
