//! State and cursor as bytes of a snapshot. Each field is named: one that is added does not compile
//! until it is written here, and then [`super::FOLD_VERSION`] grows.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::record::{
    Approval, Change, decode, decode_change, decode_pin, encode, encode_change, encode_pin,
};
use event::{ActorId, ChangeId, ClientId, Digest, GrantId, LogId, Role};

use super::bytes::{Put, Take};
use crate::cases;
use crate::clock::{LastTimes, StartTimes};
use crate::list::sha256;
use crate::recover::Cursor;
use crate::state::{
    Actor, Client, Enrolment, GrantUse, LastArchived, PolicyText, Proposal, Pruned, State,
    WatchInForce,
};
use crate::terminals;

pub(super) fn put_cursor(out: &mut Vec<u8>, cursor: &Cursor) {
    let Cursor {
        sequence,
        indexes,
        roots,
        wall_ms,
        elapsed_ms,
    } = cursor;
    out.u64(*sequence);
    out.u64(*roots);
    out.u64(*wall_ms);
    out.u64(*elapsed_ms);
    out.count(indexes.len());
    for (log, index) in indexes {
        out.u32(log.number());
        out.u64(*index);
    }
}

pub(super) fn take_cursor(from: &mut Take<'_>) -> Option<Cursor> {
    Some(Cursor {
        sequence: from.u64()?,
        roots: from.u64()?,
        wall_ms: from.u64()?,
        elapsed_ms: from.u64()?,
        indexes: map(from.list(|from| Some((LogId::from_number(from.u32()?)?, from.u64()?)))?)?,
    })
}

/// A map from entries that ascend.
fn map<K: Ord, V>(entries: Vec<(K, V)>) -> Option<BTreeMap<K, V>> {
    let ascend = entries.is_sorted_by(|(before, _), (after, _)| before < after);
    ascend.then(|| entries.into_iter().collect())
}

pub(super) fn put_state(out: &mut Vec<u8>, state: &State) {
    let State {
        ledger,
        centre,
        generation,
        clients,
        actors,
        policy,
        numbers,
        pins,
        grants,
        proposals,
        slots,
        log_generation,
        log_keys,
        last_change,
        decisions,
        last_session,
        bootstrapped,
        retention_months,
        lists_destroyed,
        lists,
        uncovered_cap,
        owed,
        entry_retention_months,
        entry_retention_change,
        entries_pruned,
        archived,
        times,
        cases,
        watch,
        terminals,
    } = state;
    out.extend_from_slice(ledger);
    out.bytes(centre.as_bytes());
    out.u64(*generation);
    out.u32(*slots);
    out.u32(*log_generation);
    out.u32(*last_change);
    out.u64(*decisions);
    out.u64(*last_session);
    out.bool(*bootstrapped);
    out.u32(*retention_months);
    out.count(lists_destroyed.len());
    for (client, before) in &**lists_destroyed {
        out.u32(client.get());
        out.u32(*before);
    }
    out.count(lists.len());
    for ((client, month), day) in &**lists {
        out.u32(client.get());
        out.u32(*month);
        out.u32(*day);
    }
    out.option(*uncovered_cap, Vec::u64);
    out.count(owed.len());
    for (log, body) in &**owed {
        out.u32(log.number());
        // What the fold owes was made by it, and is of a kind that it knows.
        out.bytes(&encode(body).unwrap_or_default());
    }
    out.u32(*entry_retention_months);
    out.u32(entry_retention_change.0);
    out.count(entries_pruned.len());
    for (client, all) in &**entries_pruned {
        out.u32(client.get());
        out.count(all.len());
        for Pruned { below, before } in all {
            out.u64(*below);
            out.u32(*before);
        }
    }
    out.option(*archived, |out, last| {
        out.u32(last.segment);
        out.extend_from_slice(&last.digest.0);
    });
    put_times(out, times);
    out.option(policy.as_ref(), |out, policy| {
        let PolicyText {
            digest: _,
            cedar,
            masks,
        } = &**policy;
        out.bytes(cedar.as_bytes());
        out.bytes(masks.as_bytes());
    });
    out.option(numbers.as_ref(), |out, toml| out.bytes(toml.as_bytes()));
    out.count(log_keys.len());
    log_keys.iter().for_each(|key| out.extend_from_slice(key));
    out.count(clients.len());
    for (number, client) in &**clients {
        put_client(out, *number, client);
    }
    out.count(actors.len());
    for (number, actor) in &**actors {
        put_actor(out, *number, actor);
    }
    out.count(pins.len());
    pins.values().for_each(|pin| out.bytes(&encode_pin(pin)));
    out.count(grants.len());
    for GrantUse { grant, used, ended } in grants.values() {
        out.bytes(&encode_change(&Change::Grant(grant.clone())));
        out.u64(*used);
        out.bool(*ended);
    }
    out.count(proposals.len());
    for (number, proposal) in &**proposals {
        put_proposal(out, *number, proposal);
    }
    cases::put(out, cases);
    out.u32(watch.cases_per_day);
    out.u8(watch.response as u8);
    terminals::put(out, terminals);
}

fn take_pruned(from: &mut Take<'_>) -> Option<Pruned> {
    Some(Pruned {
        below: from.u64()?,
        before: from.u32()?,
    })
}

pub(super) fn take_state(from: &mut Take<'_>) -> Option<State> {
    Some(State {
        ledger: from.array()?,
        centre: from.text()?,
        generation: from.u64()?,
        slots: from.u32()?,
        log_generation: from.u32()?,
        last_change: from.u32()?,
        decisions: from.u64()?,
        last_session: from.u64()?,
        bootstrapped: from.bool()?,
        retention_months: from.u32()?,
        lists_destroyed: Arc::new(map(
            from.list(|from| Some((ClientId::new(from.u32()?)?, from.u32()?)))?
        )?),
        lists: Arc::new(map(from.list(|from| {
            Some(((ClientId::new(from.u32()?)?, from.u32()?), from.u32()?))
        })?)?),
        uncovered_cap: from.option(Take::u64)?,
        owed: Arc::new(from.list(|from| {
            Some((
                LogId::from_number(from.u32()?)?,
                decode(from.bytes()?).ok()?,
            ))
        })?),
        entry_retention_months: from.u32()?,
        entry_retention_change: ChangeId(from.u32()?),
        entries_pruned: Arc::new(map(
            from.list(|from| Some((ClientId::new(from.u32()?)?, from.list(take_pruned)?)))?
        )?),
        archived: from.option(|from| {
            Some(LastArchived {
                segment: from.u32()?,
                digest: Digest(from.array()?),
            })
        })?,
        times: take_times(from)?,
        policy: from.option(take_policy)?,
        numbers: from.option(|from| from.text().map(Arc::new))?,
        log_keys: Arc::new(from.list(Take::array)?),
        clients: Arc::new(map(from.list(take_client)?)?),
        actors: Arc::new(map(from.list(take_actor)?)?),
        pins: Arc::new(map(from.list(|from| {
            let pin = decode_pin(from.bytes()?).ok()?;
            Some((pin.database.clone(), Arc::new(pin)))
        })?)?),
        grants: Arc::new(map(from.list(take_grant)?)?),
        proposals: Arc::new(map(from.list(take_proposal)?)?),
        cases: Arc::new(cases::take(from)?),
        watch: WatchInForce {
            cases_per_day: from.u32()?,
            response: event::Response::from_code(from.u8()?)?,
        },
        terminals: Arc::new(terminals::take(from)?),
    })
}

fn put_times(out: &mut Vec<u8>, times: &LastTimes) {
    let LastTimes {
        wall_ms,
        elapsed_ms,
        start,
        credited_at_ms,
        credited_ms,
    } = times;
    out.u64(*wall_ms);
    out.u64(*elapsed_ms);
    out.option(*start, |out, start| {
        let StartTimes {
            boot_id,
            boot_ms,
            elapsed_ms,
        } = start;
        out.extend_from_slice(&boot_id);
        out.u64(boot_ms);
        out.u64(elapsed_ms);
    });
    out.option(*credited_at_ms, Vec::u64);
    out.u64(*credited_ms);
}

fn take_times(from: &mut Take<'_>) -> Option<LastTimes> {
    Some(LastTimes {
        wall_ms: from.u64()?,
        elapsed_ms: from.u64()?,
        start: from.option(|from| {
            Some(StartTimes {
                boot_id: from.array()?,
                boot_ms: from.u64()?,
                elapsed_ms: from.u64()?,
            })
        })?,
        credited_at_ms: from.option(Take::u64)?,
        credited_ms: from.u64()?,
    })
}

fn take_policy(from: &mut Take<'_>) -> Option<Arc<PolicyText>> {
    let (cedar, masks) = (from.text()?, from.text()?);
    let change = Change::Policy { cedar, masks };
    let digest = sha256(&encode_change(&change));
    let Change::Policy { cedar, masks } = change else {
        return None;
    };
    Some(Arc::new(PolicyText {
        digest,
        cedar,
        masks,
    }))
}

fn put_client(out: &mut Vec<u8>, number: ClientId, client: &Client) {
    let Client {
        code,
        name,
        key_epoch,
        destroyed,
        officer_file,
        receipt_cap,
    } = client;
    out.u32(number.get());
    out.bytes(code.as_bytes());
    out.bytes(name.as_bytes());
    out.option(*key_epoch, Vec::u8);
    out.bool(*destroyed);
    out.bool(*officer_file);
    out.option(*receipt_cap, Vec::u64);
}

fn take_client(from: &mut Take<'_>) -> Option<(ClientId, Client)> {
    let number = ClientId::new(from.u32()?)?;
    let client = Client {
        code: from.text()?,
        name: from.text()?,
        key_epoch: from.option(Take::u8)?,
        destroyed: from.bool()?,
        officer_file: from.bool()?,
        receipt_cap: from.option(Take::u64)?,
    };
    Some((number, client))
}

fn put_actor(out: &mut Vec<u8>, number: ActorId, actor: &Actor) {
    let Actor {
        login,
        role,
        clients,
        active,
        credential,
        enrolment,
        signing_key,
    } = actor;
    out.u32(number.0);
    out.bytes(login.as_bytes());
    out.u8(role.code());
    out.count(clients.len());
    clients.iter().for_each(|client| out.u32(client.get()));
    out.bool(*active);
    out.option(*credential, |out, digest| out.extend_from_slice(&digest.0));
    out.option(*enrolment, |out, enrolment| {
        let Enrolment {
            commitment,
            until_ms,
        } = enrolment;
        out.extend_from_slice(&commitment.0);
        out.u64(until_ms);
    });
    out.option(*signing_key, |out, key| out.extend_from_slice(&key));
}

fn take_actor(from: &mut Take<'_>) -> Option<(ActorId, Actor)> {
    let number = ActorId(from.u32()?);
    let actor = Actor {
        login: from.text()?,
        role: Role::from_code(from.u8()?)?,
        clients: from.list(|from| ClientId::new(from.u32()?))?,
        active: from.bool()?,
        credential: from.option(|from| from.array().map(Digest))?,
        enrolment: from.option(|from| {
            Some(Enrolment {
                commitment: Digest(from.array()?),
                until_ms: from.u64()?,
            })
        })?,
        signing_key: from.option(Take::array)?,
    };
    Some((number, actor))
}

fn take_grant(from: &mut Take<'_>) -> Option<(GrantId, GrantUse)> {
    let Ok(Change::Grant(grant)) = decode_change(from.bytes()?) else {
        return None;
    };
    let used = GrantUse {
        used: from.u64()?,
        ended: from.bool()?,
        grant,
    };
    Some((used.grant.grant, used))
}

fn put_proposal(out: &mut Vec<u8>, number: ChangeId, proposal: &Proposal) {
    let Proposal {
        by,
        what,
        approvals,
    } = proposal;
    out.u32(number.0);
    out.u32(by.0);
    out.bytes(&encode_change(what));
    out.count(approvals.len());
    for Approval {
        approver,
        signature,
    } in approvals
    {
        out.u32(approver.0);
        out.extend_from_slice(signature);
    }
}

fn take_proposal(from: &mut Take<'_>) -> Option<(ChangeId, Proposal)> {
    let number = ChangeId(from.u32()?);
    let proposal = Proposal {
        by: ActorId(from.u32()?),
        what: decode_change(from.bytes()?).ok()?,
        approvals: from.list(|from| {
            Some(Approval {
                approver: ActorId(from.u32()?),
                signature: from.array()?,
            })
        })?,
    };
    Some((number, proposal))
}
