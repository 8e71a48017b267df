//! A proposed change in plain words, compared with what is in force: what an approver signs.

use std::fmt::Write as _;

use base64_simd::STANDARD;
use event::record::{Change, Grant, GrantKind};
use event::{ActorId, ClientId, ClientSource, Pin};
use ledger::State;
use serde_json::{Value, json};

use super::actors::client_codes;
use super::output::count;
use super::{diff, terminal_words, time};

/// What a change is about, in a few words.
pub fn title(state: &State, what: &Change) -> String {
    match what {
        Change::ClientAdded { client, code, name } => format!("client {client}: {code} ({name})"),
        Change::ActorSet {
            actor,
            login,
            role,
            active,
            ..
        } => match state.actors.get(actor) {
            None => format!("new actor {login} ({role})"),
            Some(_) if !active => format!("actor {login} may no longer log in or sign"),
            Some(_) => format!("changed rights of actor {login} ({role})"),
        },
        Change::Credential { actor, .. } => format!("password of {}", login(state, *actor)),
        Change::EnrolmentCode { actor, .. } => {
            format!("one-time code for {}", login(state, *actor))
        }
        Change::SigningKey { actor, .. } => format!("signing key of {}", login(state, *actor)),
        Change::Policy { .. } => "policy and masks".to_owned(),
        Change::Numbers { .. } => "numbers (budgets)".to_owned(),
        Change::Pin(pin) => {
            let tables = count(pin.relations.len(), "sealed table", "sealed tables");
            format!("pin of database {}: {tables}", pin.database)
        }
        Change::Grant(grant) => format!("grant {}: {}", grant.grant, granted(state, grant)),
        Change::GrantEnded { grant } => format!("end of grant {grant}"),
        Change::ClientKey { client, epoch } => {
            format!(
                "key of client {}, epoch {epoch}",
                client_name(state, *client)
            )
        }
        Change::LogKey { number, .. } => format!("log key {number}"),
        Change::Retention { months: 0 } => "fingerprint lists stay for ever".to_owned(),
        Change::Retention { months } => {
            format!("fingerprint lists are DESTROYED after {months} months")
        }
        Change::EntryRetention { months: 0 } => "entries stay published for ever".to_owned(),
        Change::EntryRetention { months } => {
            format!("entries are REMOVED from published copies after {months} months")
        }
        Change::ClientDestroyed { client } => {
            format!(
                "DESTRUCTION of all keys of client {}",
                client_name(state, *client)
            )
        }
        Change::Generation { number, .. } => {
            format!("generation {number} of the logs, after a loss of records")
        }
        Change::OfficerFile { client } => {
            format!("OFFICER'S FILE of client {}", client_name(state, *client))
        }
        Change::UncoveredCap { subjects } => {
            format!("{} seen before witnesses cosign", cap(*subjects))
        }
        Change::ReceiptCap { client, subjects } => format!(
            "{} of client {} shown before it has their receipts",
            cap(*subjects),
            client_name(state, *client)
        ),
        Change::Watch {
            cases_per_day,
            response,
        } => format!(
            "detection: {} for 1,000 actors; response: {}",
            count(*cases_per_day, "case a day", "cases a day"),
            response.name()
        ),
        Change::Terminal { .. } | Change::TerminalPolicy { .. } => terminal_words::change(what),
    }
}

/// What a change would do, line by line.
pub fn details(state: &State, what: &Change) -> Vec<String> {
    match what {
        Change::ActorSet { .. } => actor_lines(state, what),
        Change::SigningKey { actor, public_key } => {
            let mut lines = vec![format!(
                "new key:  {}",
                STANDARD.encode_to_string(public_key)
            )];
            let before = state.actors.get(actor).and_then(|actor| actor.signing_key);
            lines.extend(before.map(|key| format!("replaces: {}", STANDARD.encode_to_string(key))));
            lines
        }
        Change::Credential { .. } => {
            vec![
                "replaces the password that is in force, without a code that was made for it"
                    .to_owned(),
            ]
        }
        Change::EnrolmentCode { until_ms, .. } => {
            vec![format!(
                "whoever has the code sets the password, until {}",
                time::shown(*until_ms)
            )]
        }
        Change::Policy { cedar, masks } => {
            let before = state.policy.as_deref();
            let mut lines = file_diff("policy", before.map_or("", |text| &text.cedar), cedar);
            lines.extend(file_diff(
                "masks",
                before.map_or("", |text| &text.masks),
                masks,
            ));
            lines
        }
        Change::Numbers { toml } => file_diff(
            "numbers",
            state.numbers.as_deref().map_or("", String::as_str),
            toml,
        ),
        Change::Pin(pin) => {
            let before = state.pins.get(&pin.database);
            let before = before.map(|pin| pin_text(state, pin)).unwrap_or_default();
            let mut lines = vec!["(+ is new, - is gone, the rest is as in force)".to_owned()];
            lines.extend(diff::whole(&before, &pin_text(state, pin)));
            lines
        }
        Change::Grant(grant) => vec![
            granted(state, grant),
            format!(
                "until {}, ticket {}",
                time::shown(grant.until_ms),
                grant.ticket
            ),
        ],
        Change::LogKey { public_key, .. } => vec![format!(
            "new key:  {}",
            STANDARD.encode_to_string(public_key)
        )],
        Change::Retention { .. } => vec![
            format!("in force: {}", retention_in_force(state)),
            "destroyed lists never tell again WHO was seen; how many, by whom and when stays"
                .to_owned(),
        ],
        Change::EntryRetention { .. } => vec![
            format!("in force: {}", entry_retention_in_force(state)),
            "who did not copy them before can prove old entries, and reread them no more"
                .to_owned(),
            "records, hashes and proofs stay; each client's log says what went, and when"
                .to_owned(),
        ],
        Change::ClientDestroyed { .. } => vec![
            "its cells, fingerprints, lists and purposes can never be read again".to_owned(),
            "records and proofs stay; backups of the key folder could undo it: destroy them too"
                .to_owned(),
        ],
        Change::OfficerFile { .. } => vec![
            "one file with its fingerprint key and the key of its lists, for the client's officer"
                .to_owned(),
            "whoever has it reads purposes and finds out whom records are about; it opens no cell"
                .to_owned(),
        ],
        Change::UncoveredCap { .. } => cap_in_force(state.uncovered_cap),
        Change::ReceiptCap { client, .. } => {
            let known = state.clients.get(client);
            cap_in_force(known.and_then(|known| known.receipt_cap))
        }
        Change::Generation {
            checkpoint, lost, ..
        } => {
            let mut lines = vec![
                format!("lost: {lost}"),
                "newest known checkpoint:".to_owned(),
            ];
            lines.extend(checkpoint.lines().map(|line| format!("  {line}")));
            lines
        }
        Change::Watch { .. } => vec![format!(
            "in force: {} for 1,000 actors; response: {}",
            count(state.watch.cases_per_day, "case a day", "cases a day"),
            state.watch.response.name()
        )],
        Change::Terminal { .. } | Change::TerminalPolicy { .. } => {
            terminal_words::details(state, what)
        }
        Change::ClientAdded { .. } | Change::GrantEnded { .. } | Change::ClientKey { .. } => {
            Vec::new()
        }
    }
}

/// How many people.
fn cap(subjects: Option<u64>) -> String {
    match subjects {
        Some(subjects) => format!("at most {} are", count_people(subjects)),
        None => "ANY NUMBER OF PEOPLE are".to_owned(),
    }
}

fn count_people(subjects: u64) -> String {
    match subjects {
        1 => "1 person".to_owned(),
        _ => format!("{subjects} people"),
    }
}

/// A cap in force.
fn cap_in_force(subjects: Option<u64>) -> Vec<String> {
    let held = subjects.map_or("no cap".to_owned(), count_people);
    vec![
        format!("in force: {held}"),
        "asked for by sekisho.toml; so many could be seen and the record of it be lost or withheld"
            .to_owned(),
    ]
}

/// How long lists stay.
pub fn retention_in_force(state: &State) -> String {
    match state.retention_months {
        0 => "lists stay for ever".to_owned(),
        months => format!("lists stay for their month and {months} after it"),
    }
}

/// How long entries stay in published copies.
pub fn entry_retention_in_force(state: &State) -> String {
    match state.entry_retention_months {
        0 => "entries stay published for ever".to_owned(),
        months => format!("entries stay published for their month and {months} after it"),
    }
}

fn file_diff(name: &str, before: &str, after: &str) -> Vec<String> {
    let lines = diff::unified(before, after);
    if lines.is_empty() {
        return vec![format!("{name}: as in force")];
    }
    let head = format!("{name}: (- in force, + proposed)");
    std::iter::once(head).chain(lines).collect()
}

fn actor_lines(state: &State, what: &Change) -> Vec<String> {
    let Change::ActorSet {
        actor,
        login,
        role,
        clients,
        active,
    } = what
    else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    let mut line = |name: &str, before: Option<String>, after: String| match before {
        Some(before) if before == after => lines.push(format!("{name}: {after} (as before)")),
        Some(before) => lines.push(format!("{name}: {before} -> {after}")),
        None => lines.push(format!("{name}: {after}")),
    };
    let before = state.actors.get(actor);
    line(
        "login",
        before.map(|before| before.login.clone()),
        login.clone(),
    );
    line(
        "role",
        before.map(|before| before.role.to_string()),
        role.to_string(),
    );
    line(
        "active",
        before.map(|before| before.active.to_string()),
        active.to_string(),
    );
    let named = |clients: &[ClientId]| -> String {
        let all: Vec<String> = clients
            .iter()
            .map(|client| client_name(state, *client))
            .collect();
        if all.is_empty() {
            "none".to_owned()
        } else {
            all.join(", ")
        }
    };
    match before {
        None => lines.push(format!("clients: {}", named(clients))),
        Some(before) => {
            let more: Vec<_> = clients
                .iter()
                .filter(|c| !before.clients.contains(c))
                .copied()
                .collect();
            let less: Vec<_> = before
                .clients
                .iter()
                .filter(|c| !clients.contains(c))
                .copied()
                .collect();
            if more.is_empty() && less.is_empty() {
                lines.push(format!(
                    "clients: {} (as before)",
                    client_codes(state, clients)
                ));
            }
            if !more.is_empty() {
                lines.push(format!("clients + {}", named(&more)));
            }
            if !less.is_empty() {
                lines.push(format!("clients - {}", named(&less)));
            }
        }
    }
    lines
}

/// `sato sees up to 500 subjects of acme`.
pub fn granted(state: &State, grant: &Grant) -> String {
    let (who, client) = (login(state, grant.actor), client_name(state, grant.client));
    match grant.what {
        GrantKind::See => format!(
            "{who} sees up to {} subjects of {client} in clear",
            grant.amount
        ),
        GrantKind::Import => {
            format!("{who} brings in up to {} values for {client}", grant.amount)
        }
        GrantKind::Carry => format!(
            "{who} has files with up to {} people of {client} written to company media",
            grant.amount
        ),
    }
}

/// An actor's login, or its number.
pub fn login(state: &State, actor: ActorId) -> String {
    if actor == ActorId(0) {
        return "the settings".to_owned();
    }
    state
        .actors
        .get(&actor)
        .map_or_else(|| format!("actor {actor}"), |actor| actor.login.clone())
}

/// A client's code, or its number.
pub fn client_name(state: &State, client: ClientId) -> String {
    state
        .clients
        .get(&client)
        .map_or_else(|| format!("client {client}"), |client| client.code.clone())
}

/// A pin as text: a line for each table and column.
pub fn pin_text(state: &State, pin: &Pin) -> String {
    let mut text = String::new();
    for relation in &pin.relations {
        let client = match &relation.client {
            ClientSource::Column(column) => format!("client in column {column}"),
            ClientSource::Fixed(client) => format!("all rows of {}", client_name(state, *client)),
            ClientSource::Scope => "client by the session's scope".to_owned(),
        };
        let _ = writeln!(
            text,
            "table {}.{} ({client})",
            relation.schema, relation.name
        );
        for column in &relation.columns {
            let sealing = column.sealing.map_or_else(
                || "not sealed".to_owned(),
                |s| format!("SEALED {} {} domain {}", s.class, s.mode, s.domain),
            );
            let _ = writeln!(text, "  {} {}: {sealing}", column.name, column.type_name);
        }
    }
    text
}

/// A change as JSON.
pub fn json(state: &State, what: &Change) -> Value {
    let (kind, fields) = match what {
        Change::ClientAdded { client, code, name } => (
            "client-added",
            json!({"client": client.get(), "code": code, "name": name}),
        ),
        Change::ActorSet {
            actor,
            login,
            role,
            clients,
            active,
        } => (
            "actor-set",
            json!({"actor": actor.0, "login": login, "role": role.name(), "active": active,
                "clients": clients.iter().map(|client| client.get()).collect::<Vec<_>>()}),
        ),
        Change::Credential { actor, .. } => ("credential", json!({"actor": actor.0})),
        Change::EnrolmentCode {
            actor, until_ms, ..
        } => (
            "enrolment-code",
            json!({"actor": actor.0, "until": time::rfc3339(*until_ms)}),
        ),
        Change::SigningKey { actor, public_key } => (
            "signing-key",
            json!({"actor": actor.0, "public_key": STANDARD.encode_to_string(public_key)}),
        ),
        Change::Policy { cedar, masks } => ("policy", json!({"cedar": cedar, "masks": masks})),
        Change::Numbers { toml } => ("numbers", json!({"toml": toml})),
        Change::Pin(pin) => ("pin", pin_json(pin)),
        Change::Grant(grant) => ("grant", grant_json(state, grant)),
        Change::GrantEnded { grant } => ("grant-ended", json!({"grant": grant.0})),
        Change::ClientKey { client, epoch } => (
            "client-key",
            json!({"client": client.get(), "epoch": epoch}),
        ),
        Change::LogKey { number, public_key } => (
            "log-key",
            json!({"number": number, "public_key": STANDARD.encode_to_string(public_key)}),
        ),
        Change::Retention { months } => ("retention", json!({"months": months})),
        Change::EntryRetention { months } => ("entry-retention", json!({"months": months})),
        Change::ClientDestroyed { client } => ("client-destroyed", json!({"client": client.get()})),
        Change::OfficerFile { client } => ("officer-file", json!({"client": client.get()})),
        Change::UncoveredCap { subjects } => ("uncovered-cap", json!({"subjects": subjects})),
        Change::ReceiptCap { client, subjects } => (
            "receipt-cap",
            json!({"client": client.get(), "subjects": subjects}),
        ),
        Change::Watch {
            cases_per_day,
            response,
        } => (
            "watch",
            json!({"cases_per_day": cases_per_day, "response": response.name()}),
        ),
        Change::Terminal { .. } | Change::TerminalPolicy { .. } => {
            terminal_words::change_fields(what)
        }
        Change::Generation {
            number,
            checkpoint,
            lost,
        } => (
            "generation",
            json!({"number": number, "checkpoint": checkpoint, "lost": lost}),
        ),
    };
    json!({"kind": kind, "title": title(state, what), "change": fields})
}

/// A grant as JSON.
pub fn grant_json(state: &State, grant: &Grant) -> Value {
    let what = match grant.what {
        GrantKind::See => "see",
        GrantKind::Import => "import",
        GrantKind::Carry => "carry",
    };
    json!({
        "grant": grant.grant.0, "actor": grant.actor.0, "login": login(state, grant.actor),
        "client": grant.client.get(), "code": client_name(state, grant.client), "what": what,
        "amount": grant.amount, "until": time::rfc3339(grant.until_ms), "ticket": grant.ticket,
    })
}

fn pin_json(pin: &Pin) -> Value {
    let relations = pin.relations.iter().map(|relation| {
        let client = match &relation.client {
            ClientSource::Column(column) => json!({"column": column}),
            ClientSource::Fixed(client) => json!({"client": client.get()}),
            ClientSource::Scope => json!("scope"),
        };
        let columns = relation.columns.iter().map(|column| {
            let sealing = column.sealing.map(
                |s| json!({"class": s.class.name(), "mode": s.mode.name(), "domain": s.domain.0}),
            );
            json!({"name": column.name, "type": column.type_name, "sealed": sealing})
        });
        json!({"schema": relation.schema, "name": relation.name, "client": client,
            "columns": columns.collect::<Vec<_>>()})
    });
    json!({"database": pin.database, "relations": relations.collect::<Vec<_>>()})
}
