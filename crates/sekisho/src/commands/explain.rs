//! `sekisho explain`: what the gate would do with a statement, and why, from the ledger alone.
//!
//! Never: a connection to PostgreSQL, a record, a value of the statement in the output.

use anyhow::{Context, Result, bail};
use clap::Args;
use event::{Class, ClientId, Pin, Role};
use gate::Rules;
use ledger::State;
use ledger::state::Actor;
use policy::{Circumstances, ClientTable};
use serde_json::{Value, json};
use sql::{Catalogue, ClientOf, Kind, NoNames, Refusal, Settings, Site, Statement, Use};

use super::output::count;
use super::{Look, describe, desk, nearest, output, time};
use crate::reading;
use crate::service::now_ms;

/// What to explain.
#[derive(Args)]
pub struct Explain {
    #[command(flatten)]
    look: Look,
    /// The database [default: the one that has a pin].
    #[arg(long, value_name = "DB")]
    database: Option<String>,
    /// As whom; without it only the plan is shown.
    #[arg(long = "as", value_name = "LOGIN")]
    login: Option<String>,
    /// The session's scope, as in SET sekisho.scope [default: all clients of the actor].
    #[arg(long, value_name = "CLIENTS", requires = "login")]
    scope: Option<String>,
    /// As if the session had given a purpose.
    #[arg(long)]
    purpose: bool,
    /// As if the session came through a healthy terminal.
    #[arg(long)]
    healthy: bool,
    /// The statement, or several; `-` reads them from standard input.
    statement: String,
}

/// Who asks, with his scope.
struct Asker<'a> {
    id: event::ActorId,
    actor: &'a Actor,
    scope: Vec<ClientId>,
}

/// Explains it.
pub async fn run(given: &Explain) -> Result<bool> {
    let state = reading::current(&given.look.at.folder()?).await?;
    let (database, pin) = pin(&state, given.database.as_deref())?;
    let asker = asker(&state, given)?;
    let text = match given.statement.as_str() {
        "-" => std::io::read_to_string(std::io::stdin())?,
        text => text.to_owned(),
    };
    let catalogue = Catalogue::new(&pin, Vec::new(), Vec::new());
    let settings = Settings {
        depth_max: given.look.at.folder()?.config()?.limits.statement_depth_max,
        standard_conforming_strings: true,
        several_clients: asker.as_ref().is_none_or(|asker| asker.scope.len() > 1),
        cells_only: asker
            .as_ref()
            .is_some_and(|asker| asker.actor.role == Role::Maintainer),
    };
    let planned = if catalogue.mentions(text.as_bytes()) {
        Some(sql::plan(&text, &catalogue, &settings, &NoNames))
    } else {
        None
    };
    let tables = asker
        .as_ref()
        .map(|asker| tables(&state, asker, given))
        .transpose()?;
    let pinned = state.pins.contains_key(&database);
    if given.look.json {
        output::json(&as_json(
            &database,
            pinned,
            planned.as_ref(),
            asker.as_ref(),
            tables.as_deref(),
        ))?;
    } else {
        say(&state, &database, pinned, planned.as_ref(), &text)?;
        if let (Some(asker), Some(tables)) = (&asker, &tables) {
            let classes = classes(&pin, planned.as_ref());
            say_rights(&state, asker, tables, &classes)?;
        }
    }
    Ok(!matches!(planned, Some(Err(_))))
}

fn pin(state: &State, given: Option<&str>) -> Result<(String, Pin)> {
    let mut names = state.pins.keys();
    let database = match given {
        Some(name) => name.to_owned(),
        None => match (names.next(), names.next()) {
            (Some(name), None) => name.clone(),
            (None, _) => bail!(
                "no database has a pin in force, so every statement passes as it is; `sekisho seal` makes one"
            ),
            _ => {
                let all: Vec<&str> = state.pins.keys().map(String::as_str).collect();
                bail!(
                    "several databases have pins: give --database, one of {}",
                    all.join(", ")
                )
            }
        },
    };
    if let Some(pin) = state.pins.get(&database) {
        return Ok((database, (**pin).clone()));
    }
    if state.pins.is_empty() {
        bail!("database {database} has no pin in force; `sekisho seal` makes one");
    }
    let near = nearest::hint(&database, state.pins.keys().map(String::as_str));
    let all: Vec<&str> = state.pins.keys().map(String::as_str).collect();
    bail!(
        "database {database} has no pin{near} (there are pins of: {})",
        all.join(", ")
    )
}

fn asker<'a>(state: &'a State, given: &Explain) -> Result<Option<Asker<'a>>> {
    let Some(login) = given.login.as_deref() else {
        return Ok(None);
    };
    let (id, actor) = desk::actor(state, login)?;
    let scope = match given.scope.as_deref() {
        None => actor.clients.clone(),
        Some(text) => desk::clients(state, text)?,
    };
    if let Some(other) = scope.iter().find(|client| !actor.clients.contains(client)) {
        bail!(
            "{} is not a client of {login}",
            describe::client_name(state, *other)
        );
    }
    Ok(Some(Asker { id, actor, scope }))
}

/// The policy's decisions for each client of the scope.
fn tables(
    state: &State,
    asker: &Asker<'_>,
    given: &Explain,
) -> Result<Vec<(ClientId, ClientTable)>> {
    let rules = Rules::of(state)
        .map_err(anyhow::Error::msg)
        .context("the rules in force")?;
    let actor = policy::Actor {
        id: asker.id,
        role: asker.actor.role,
        clients: asker.actor.clients.clone(),
    };
    let circumstances = Circumstances {
        tls: true,
        local: true,
        terminal: "127.0.0.1".to_owned(),
        purpose: given.purpose,
        grant: false,
        healthy: given.healthy,
        hour: time::hour(now_ms()),
    };
    let table = |client: &ClientId| (*client, rules.policy.table(&actor, *client, &circumstances));
    Ok(asker.scope.iter().map(table).collect())
}

/// The classes that the statement names, or all sealed ones.
fn classes(pin: &Pin, planned: Option<&Result<sql::Script, Refusal>>) -> Vec<Class> {
    let named = |schema: &str, name: &str| match planned {
        Some(Ok(script)) => script
            .statements
            .iter()
            .flat_map(|statement| &statement.relations)
            .any(|relation| relation.pinned.0 == schema && relation.pinned.1 == name),
        _ => true,
    };
    let mut classes: Vec<Class> = pin
        .relations
        .iter()
        .filter(|relation| named(&relation.schema, &relation.name))
        .flat_map(|relation| relation.columns.iter().filter_map(|column| column.sealing))
        .map(|sealing| sealing.class)
        .collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

fn say(
    state: &State,
    database: &str,
    pinned: bool,
    planned: Option<&Result<sql::Script, Refusal>>,
    text: &str,
) -> Result<()> {
    if !pinned {
        output::line(format!("Database {database} has no pin."))?;
    }
    match planned {
        None => output::line(
            "Forwarded as it is: it names nothing sealed.\n\
             (Views and functions over sealed tables are known only to the running gate.)",
        ),
        Some(Err(refusal)) => say_refusal(refusal, text),
        Some(Ok(script)) => {
            if script.statements.is_empty() {
                return output::line("There is no statement in it.");
            }
            let several = script.statements.len() > 1;
            for (at, statement) in script.statements.iter().enumerate() {
                if several {
                    output::line(format!("Statement {}:", at + 1))?;
                }
                say_statement(state, statement)?;
            }
            output::line(
                "(Views and functions over sealed tables are known only to the running gate.)",
            )
        }
    }
}

fn say_refusal(refusal: &Refusal, text: &str) -> Result<()> {
    output::line(format!(
        "Refused before it is sent: {} (SQLSTATE {})",
        refusal.message, refusal.code
    ))?;
    if let Some(position) = refusal.position {
        let (line, caret) = caret(text, position);
        output::line(format!("  {line}\n  {caret}"))?;
    }
    if let Some(detail) = &refusal.detail {
        output::line(format!("Detail: {detail}"))?;
    }
    if let Some(hint) = &refusal.hint {
        output::line(format!("Hint: {hint}"))?;
    }
    Ok(())
}

/// The line of a character's position (from 1), and a caret below the place.
fn caret(text: &str, position: usize) -> (String, String) {
    let before: String = text.chars().take(position.saturating_sub(1)).collect();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let blank = |c: char| {
        if c == '\t' {
            "\t"
        } else if c.is_ascii() {
            " "
        } else {
            "\u{3000}"
        }
    };
    let mut caret: String = before[start..].chars().map(blank).collect();
    caret.push('^');
    (line.to_owned(), caret)
}

fn say_statement(state: &State, statement: &Statement) -> Result<()> {
    if !statement.sealed {
        return output::line(
            own_work(&statement.kind).unwrap_or("Forwarded as it is: it names nothing sealed."),
        );
    }
    output::line(format!(
        "{}: names something sealed, so it is sent alone, and what",
        kind(&statement.kind)
    ))?;
    output::line("comes after it waits until its rows are judged and recorded (barrier).")?;
    for relation in &statement.relations {
        let (schema, name) = &relation.pinned;
        let what = if relation.view { "view" } else { "table" };
        output::line(format!(
            "  {what} {schema}.{name}: compared with its pin before it runs"
        ))?;
    }
    for site in &statement.sites {
        output::line(format!("  {}", site_words(state, statement, site)))?;
    }
    if let Kind::CopyIn(copy) = &statement.kind {
        for (name, sealing) in copy.column_names.iter().zip(&copy.columns) {
            if let Some(sealing) = sealing {
                output::line(format!(
                    "  field {name}: sealed as {} {}",
                    sealing.class, sealing.mode
                ))?;
            }
        }
    }
    let probes = probes(statement);
    if probes > 0 {
        let when = if statement.early {
            "recorded before it is sent"
        } else {
            "recorded with its answer, before that is released"
        };
        let values = count(probes, "value is", "values are");
        output::line(format!(
            "  {values} probed: charged to the budget of probes, {when}"
        ))?;
    }
    output::line(format!("  recorded shape: {}", statement.shape))
}

fn own_work(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Set { name, .. } | Kind::Reset { name } if name.starts_with("sekisho.") => {
            Some("Not forwarded: the gate answers it itself.")
        }
        _ => None,
    }
}

fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Select => "SELECT",
        Kind::SelectInto => "SELECT INTO",
        Kind::Insert => "INSERT",
        Kind::Update => "UPDATE",
        Kind::Delete => "DELETE",
        Kind::Merge => "MERGE",
        Kind::CopyIn(_) => "COPY FROM",
        Kind::CopyOut(_) => "COPY TO",
        Kind::Prepare { .. } => "PREPARE",
        Kind::Execute { .. } => "EXECUTE",
        Kind::DeclareCursor { .. } => "DECLARE CURSOR",
        Kind::Fetch { .. } => "FETCH",
        Kind::Explain { .. } => "EXPLAIN",
        Kind::Ddl => "definition or maintenance",
        _ => "statement",
    }
}

/// Values that are probed: searched, or written to exact columns.
fn probes(statement: &Statement) -> usize {
    let probed = statement.sites.iter().filter(|site| is_probe(site));
    probed
        .map(|site| match &site.value {
            sql::Value::ListLiteral(values) => values.iter().flatten().count(),
            _ => 1,
        })
        .sum()
}

fn is_probe(site: &Site) -> bool {
    site.purpose == Use::Search || site.sealing.mode == event::Mode::Exact
}

fn value_words(value: &sql::Value) -> String {
    match value {
        sql::Value::Literal(_) => "a literal".to_owned(),
        sql::Value::Parameter(n) => format!("${n}"),
        sql::Value::ListLiteral(values) => format!("an array of {}", values.len()),
        sql::Value::ArrayParameter(n) => format!("the elements of ${n}"),
    }
}

fn site_words(state: &State, statement: &Statement, site: &Site) -> String {
    let table = statement
        .relations
        .get(site.relation)
        .map_or("?", |relation| &relation.pinned.1);
    let what = match site.purpose {
        Use::Search => "searched in",
        Use::Write { row: Use::UPDATED } => "set in",
        Use::Write { .. } => "stored in",
    };
    let client = match site.client {
        ClientOf::Scope if site.each_client => "one for each client in scope".to_owned(),
        ClientOf::Scope => "key of the client in scope".to_owned(),
        ClientOf::Number(client) => format!("key of {}", describe::client_name(state, client)),
        ClientOf::Parameter(n) => format!("key of the client in ${n}"),
    };
    format!(
        "{} becomes a cell, {what} {table}.{} ({}, {}), {client}",
        value_words(&site.value),
        site.column,
        site.sealing.class,
        site.sealing.mode,
    )
}

fn say_rights(
    state: &State,
    asker: &Asker<'_>,
    tables: &[(ClientId, ClientTable)],
    classes: &[Class],
) -> Result<()> {
    let actor = asker.actor;
    let active = if actor.active {
        ""
    } else {
        ", not active: may not log in"
    };
    output::line(format!("\nAs {} ({}{active}):", actor.login, actor.role))?;
    if tables.is_empty() {
        return output::line("  no client in scope: everything sealed stays sealed");
    }
    // Clients with the same rights stand together.
    let mut groups: Vec<(ClientTable, Vec<ClientId>)> = Vec::new();
    for (client, table) in tables {
        match groups.iter_mut().find(|(other, _)| other == table) {
            Some((_, clients)) => clients.push(*client),
            None => groups.push((*table, vec![*client])),
        }
    }
    for (table, clients) in &groups {
        output::line(format!(
            "  of {}:",
            super::actors::client_codes(state, clients)
        ))?;
        for class in classes {
            let yes = |may: bool| if may { "yes" } else { "no" };
            output::line(format!(
                "    {class:<16} {:<8} search {:<4} write {}",
                table.outcome(*class).name(),
                yes(table.may_search(*class)),
                yes(table.may_write(*class)),
            ))?;
        }
    }
    output::line("  (over TLS, from this machine, without a grant; budgets come on top)")
}

fn as_json(
    database: &str,
    pinned: bool,
    planned: Option<&Result<sql::Script, Refusal>>,
    asker: Option<&Asker<'_>>,
    tables: Option<&[(ClientId, ClientTable)]>,
) -> Value {
    let plan = match planned {
        None => json!({"does": "forward", "sealed": false}),
        Some(Err(refusal)) => json!({
            "does": "refuse", "code": refusal.code, "message": refusal.message,
            "detail": refusal.detail, "hint": refusal.hint, "position": refusal.position,
            "column": refusal.column,
        }),
        Some(Ok(script)) => json!({
            "does": if script.statements.iter().any(|s| s.sealed) { "barrier" } else { "forward" },
            "statements": script.statements.iter().map(statement_json).collect::<Vec<_>>(),
        }),
    };
    let rights = asker.zip(tables).map(|(asker, tables)| {
        let clients = tables.iter().map(|(client, table)| {
            let classes = Class::ALL.iter().map(|class| {
                let rights = json!({"outcome": table.outcome(*class).name(),
                    "search": table.may_search(*class), "write": table.may_write(*class)});
                (class.name().to_owned(), rights)
            });
            json!({"client": client.get(), "classes": Value::Object(classes.collect())})
        });
        json!({"login": asker.actor.login, "role": asker.actor.role.name(),
            "active": asker.actor.active, "clients": clients.collect::<Vec<_>>()})
    });
    json!({"database": database, "pinned": pinned, "views_known": false, "plan": plan, "rights": rights})
}

fn statement_json(statement: &Statement) -> Value {
    let sites = statement.sites.iter().map(|site| {
        let relation = statement
            .relations
            .get(site.relation)
            .map(|r| r.pinned.1.as_str());
        json!({
            "value": value_words(&site.value), "relation": relation, "column": site.column,
            "class": site.sealing.class.name(), "mode": site.sealing.mode.name(),
            "use": if site.purpose == Use::Search { "search" } else { "write" },
            "probe": is_probe(site), "each_client": site.each_client,
        })
    });
    let relations = statement.relations.iter().map(|relation| {
        json!({"schema": relation.pinned.0, "name": relation.pinned.1, "view": relation.view})
    });
    json!({
        "kind": kind(&statement.kind), "sealed": statement.sealed, "early": statement.early,
        "probes": probes(statement), "relations": relations.collect::<Vec<_>>(),
        "sites": sites.collect::<Vec<_>>(), "shape": statement.shape,
    })
}

#[cfg(test)]
mod tests {
    use super::caret;

    #[test]
    fn the_caret_stands_below_the_place() {
        let (line, mark) = caret("SELECT 1;\nSELECT 山 LIKE", 20);
        assert_eq!(
            (line.as_str(), mark.as_str()),
            ("SELECT 山 LIKE", "       \u{3000} ^")
        );
        assert_eq!(caret("", 5), (String::new(), "^".to_owned()));
    }
}
