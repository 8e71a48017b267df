//! `sekisho actor`: the people who work on the system, by name, and their credentials.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use base64_simd::STANDARD;
use clap::{Args, Subcommand};
use event::Role;
use event::record::Change;
use ledger::State;
use serde_json::json;

use super::desk::{self, Desk};
use super::{Look, Sign, output};
use crate::folder::write_private;
use crate::people::{self, SigningKey};
use crate::reading;
use crate::service::{Request, now_ms, propose_request};
use crate::{admin, keys};

/// What can be done with actors.
#[derive(Subcommand)]
pub enum Actors {
    /// Proposes a new actor; two approvers put him in force.
    #[command(after_help = "\
Examples:
  sekisho actor add sato --role operator --clients acme,2
  sekisho actor add tanaka --role maintainer --clients all
  sekisho actor add ito --role approver

Roles: operator, supervisor, maintainer, administrator, security, auditor, client-officer,
approver, importer. A person has one account, and an account one person.

Next: two approvers `sekisho approve`; then `sekisho actor code` for who logs in, and
`sekisho actor key` for who signs.")]
    Add(Add),
    /// Lists the actors.
    #[command(
        after_help = "Example:\n  sekisho actor list\n\nNext: `sekisho actor set` changes one."
    )]
    List(Look),
    /// Makes a one-time code; with it the actor sets his own password.
    #[command(after_help = "\
Example:
  sekisho actor code sato

The code holds for 7 days and for one use. Hand it to the person, not to a colleague. A new code
for somebody who has a password already needs two approvals.

Next: the person runs `sekisho actor enrol sato --code CODE`.")]
    Code(Named),
    /// Proposes the public key that an actor signs with; two approvers put it in force.
    #[command(after_help = "\
Example, with a key that `sekisho actor keygen ito.key` made on the person's own machine:
  sekisho actor key ito --public-key ito.key.pub

Next: two approvers `sekisho approve` it.")]
    Key(Key),
    /// Proposes a change of an actor: role, clients, or whether he may log in.
    #[command(after_help = "\
Examples:
  sekisho actor set sato --clients acme
  sekisho actor set sato --active false

What takes rights away is in force at once, also in sessions that are open; what gives more waits
for two approvers.")]
    Set(Set),
    /// Sets a password with a one-time code. Only a verifier leaves this command, no password.
    #[command(after_help = "\
Example:
  sekisho actor enrol sato --code 4fJk...
  printf '%s\\n' \"$PASSWORD\" | sekisho actor enrol sato --code 4fJk...

Asks for the password twice, without echo; reads one line where there is no terminal. A password
has at least 12 characters.

Next: log in, for instance `psql 'host=127.0.0.1 port=6432 user=sato dbname=...'`.")]
    Enrol(Enrol),
    /// Makes a signing key: FILE (private) and FILE.pub (public).
    #[command(after_help = "\
Example, on the person's own machine:
  sekisho actor keygen ito.key

The private key never leaves that person. Next: an administrator proposes the public key with
`sekisho actor key ito --public-key ito.key.pub`.")]
    Keygen(Keygen),
}

/// A new actor.
#[derive(Args)]
pub struct Add {
    #[command(flatten)]
    sign: Sign,
    /// The login name: 1 to 63 of a-z 0-9 . _ -
    #[arg(value_name = "LOGIN")]
    new: String,
    /// What the person does.
    #[arg(long)]
    role: Role,
    /// The clients he may touch: codes or numbers with commas between them, or `all` there are now.
    #[arg(long, default_value = "")]
    clients: String,
    /// The key he signs with, for approvers: base64, or a file that holds it.
    #[arg(long, value_name = "FILE|BASE64")]
    public_key: Option<String>,
}

/// An actor by name.
#[derive(Args)]
pub struct Named {
    #[command(flatten)]
    sign: Sign,
    /// Whose.
    #[arg(value_name = "LOGIN")]
    of: String,
}

/// A public key.
#[derive(Args)]
pub struct Key {
    #[command(flatten)]
    sign: Sign,
    /// Whose.
    #[arg(value_name = "LOGIN")]
    of: String,
    /// Base64, or a file that holds it.
    #[arg(long, value_name = "FILE|BASE64")]
    public_key: String,
}

/// A change of an actor.
#[derive(Args)]
pub struct Set {
    #[command(flatten)]
    sign: Sign,
    /// Whose.
    #[arg(value_name = "LOGIN")]
    of: String,
    /// Another role.
    #[arg(long)]
    role: Option<Role>,
    /// All the clients he may touch from now on.
    #[arg(long)]
    clients: Option<String>,
    /// Whether he may log in and sign.
    #[arg(long, value_name = "true|false")]
    active: Option<bool>,
}

/// A first password.
#[derive(Args)]
pub struct Enrol {
    #[command(flatten)]
    look: Look,
    /// Who.
    #[arg(value_name = "LOGIN")]
    of: String,
    /// The one-time code.
    #[arg(long, allow_hyphen_values = true)]
    code: String,
}

/// A new key.
#[derive(Args)]
pub struct Keygen {
    /// The file to make.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub async fn run(what: Actors) -> Result<()> {
    match what {
        Actors::Add(given) => add(given).await,
        Actors::List(look) => list(&look).await,
        Actors::Code(named) => code(named).await,
        Actors::Key(given) => key(given).await,
        Actors::Set(given) => set(given).await,
        Actors::Enrol(given) => enrol(given).await,
        Actors::Keygen(given) => keygen(&given),
    }
}

async fn add(given: Add) -> Result<()> {
    let key = given
        .public_key
        .as_deref()
        .map(desk::public_key)
        .transpose()?;
    let desk = Desk::open(&given.sign)?;
    let clients = desk
        .find(|state| desk::clients(state, &given.clients))
        .await?;
    let request = Request::AddActor {
        login: given.new.clone(),
        role: given.role.name().to_owned(),
        clients: clients.iter().map(|client| client.get()).collect(),
        key: key.map(|key| STANDARD.encode_to_string(key)),
    };
    let reply = desk.ask(&request).await?;
    desk.told(
        &reply,
        &format!("Actor {} ({}) is in force.", given.new, given.role),
    )?;
    if desk.json() {
        return Ok(());
    }
    match (&reply.code, given.role) {
        (Some(code), _) => output::line(enrolment(&given.new, code)),
        (None, Role::Approver) if key.is_none() => output::line(format!(
            "Then: `sekisho actor key {} --public-key ...`.",
            given.new
        )),
        (None, Role::Approver) => Ok(()),
        (None, _) => output::line(format!(
            "Then: `sekisho actor code {}` makes a one-time code.",
            given.new
        )),
    }
}

fn enrolment(login: &str, code: &str) -> String {
    format!(
        "One-time code: {code}\n{login} sets a password with it within 7 days:\n  sekisho actor enrol {login} --code {code}"
    )
}

async fn code(given: Named) -> Result<()> {
    let desk = Desk::open(&given.sign)?;
    desk.find(|state| desk::actor(state, &given.of).map(|_| ()))
        .await?;
    let reply = desk
        .ask(&Request::Code {
            login: given.of.clone(),
        })
        .await?;
    if desk.json() {
        return output::json(&reply);
    }
    let code = reply.code.clone().unwrap_or_default();
    if !reply.in_force {
        output::line("This is a reset, or a code for an approver, so it needs approvals first.")?;
        desk.told(&reply, "")?;
    }
    output::line(enrolment(&given.of, &code))
}

async fn key(given: Key) -> Result<()> {
    let public_key = desk::public_key(&given.public_key)?;
    let desk = Desk::open(&given.sign)?;
    let (actor, role) = desk
        .find(|state| desk::actor(state, &given.of).map(|(id, actor)| (id, actor.role)))
        .await?;
    ensure!(
        people_who_sign(role),
        "{} is {role}; keys belong to approvers, administrators, security and supervisors",
        given.of
    );
    let reply = desk
        .ask(&propose_request(&Change::SigningKey { actor, public_key }))
        .await?;
    desk.told(
        &reply,
        &format!("{} signs with this key from now on.", given.of),
    )
}

fn people_who_sign(role: Role) -> bool {
    matches!(
        role,
        Role::Approver | Role::Administrator | Role::Security | Role::Supervisor
    )
}

async fn set(given: Set) -> Result<()> {
    ensure!(
        given.role.is_some() || given.clients.is_some() || given.active.is_some(),
        "nothing to change; give --role, --clients or --active"
    );
    let desk = Desk::open(&given.sign)?;
    let change = desk.find(|state| changed(state, &given)).await?;
    let reply = desk.ask(&propose_request(&change)).await?;
    desk.told(&reply, &format!("{} is changed.", given.of))
}

fn changed(state: &State, given: &Set) -> Result<Change> {
    let (actor, known) = desk::actor(state, &given.of)?;
    let clients = given
        .clients
        .as_deref()
        .map(|text| desk::clients(state, text))
        .transpose()?;
    Ok(Change::ActorSet {
        actor,
        login: known.login.clone(),
        role: given.role.unwrap_or(known.role),
        clients: clients.unwrap_or_else(|| known.clients.clone()),
        active: given.active.unwrap_or(known.active),
    })
}

async fn enrol(given: Enrol) -> Result<()> {
    use std::io::IsTerminal;
    let folder = given.look.at.folder()?;
    let password = keys::ask_hidden("New password: ")?;
    if std::io::stdin().is_terminal() {
        let again = keys::ask_hidden("Again: ")?;
        ensure!(
            password == again,
            "the two passwords differ; nothing was changed"
        );
    }
    let verifier = people::verifier(password.expose())?;
    let office = admin::Office::of(&folder).await?;
    let request = Request::Enrol {
        login: given.of.clone(),
        code: given.code,
        verifier,
    };
    let reply = office.ask(&request, None).await?;
    if given.look.json {
        return output::json(&reply);
    }
    output::line(format!("{} can log in with this password.", given.of))
}

fn keygen(given: &Keygen) -> Result<()> {
    let key = SigningKey::create(&given.file)?;
    let public = STANDARD.encode_to_string(key.public());
    let mut name = given.file.clone().into_os_string();
    name.push(".pub");
    let path = PathBuf::from(name);
    write_private(&path, format!("{public}\n").as_bytes())?;
    if given.json {
        return output::json(
            &json!({"public_key": public, "file": given.file, "public_file": path}),
        );
    }
    output::line(format!(
        "{} is the private key: keep it. {} is the public key:\n{public}",
        given.file.display(),
        path.display()
    ))
}

async fn list(look: &Look) -> Result<()> {
    let state = reading::current(&look.at.folder()?).await?;
    let now = now_ms();
    let mut rows = Vec::new();
    for (id, actor) in state.actors.iter() {
        let waiting = actor.enrolment.is_some_and(|code| code.until_ms >= now);
        if look.json {
            output::json(&json!({
                "number": id.0, "login": actor.login, "role": actor.role.name(),
                "clients": actor.clients.iter().map(|client| client.get()).collect::<Vec<_>>(),
                "active": actor.active, "password": actor.credential.is_some(),
                "code_waits": waiting,
                "public_key": actor.signing_key.map(|key| STANDARD.encode_to_string(key)),
            }))?;
            continue;
        }
        let credential = match (actor.credential.is_some(), waiting) {
            (true, false) => "password",
            (true, true) => "password, new code",
            (false, true) => "code given",
            (false, false) => "",
        };
        let signs = if actor.signing_key.is_some() {
            "signs"
        } else {
            ""
        };
        let active = if actor.active { "" } else { "not active" };
        let notes: Vec<&str> = [credential, signs, active]
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect();
        rows.push(vec![
            id.to_string(),
            actor.login.clone(),
            actor.role.to_string(),
            client_codes(&state, &actor.clients),
            notes.join(", "),
        ]);
    }
    if look.json {
        return Ok(());
    }
    output::table(&["number", "login", "role", "clients", ""], &rows)?;
    let waiting = state.proposals.values();
    let waiting = waiting
        .filter(|proposal| matches!(proposal.what, Change::ActorSet { .. }))
        .count();
    if waiting > 0 {
        output::line(format!(
            "{waiting} more wait for approvals: `sekisho approve` lists them."
        ))?;
    }
    Ok(())
}

/// Clients as codes; many of them as a number.
pub fn client_codes(state: &State, clients: &[event::ClientId]) -> String {
    const SHOWN_MAX: usize = 6;
    if clients.is_empty() {
        return "none".to_owned();
    }
    if clients.len() == state.clients.len() && clients.len() > 1 {
        return format!("all {}", clients.len());
    }
    let code = |id| {
        state
            .clients
            .get(id)
            .map_or_else(|| format!("{id}"), |client| client.code.clone())
    };
    let mut text: Vec<String> = clients.iter().take(SHOWN_MAX).map(code).collect();
    if clients.len() > SHOWN_MAX {
        text.push(format!("and {} more", clients.len() - SHOWN_MAX));
    }
    text.join(", ")
}
