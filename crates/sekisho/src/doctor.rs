//! `sekisho doctor`: what a new user gets wrong, and what to do.
//!
//! Invariants: changes nothing, takes no lock, asks for no passphrase; each check says what it saw,
//! and what to do when that is not well.

mod certificate;
mod disk;
mod live;
mod logs;
mod stamps;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use event::Role;
use gate::Listen;
use ledger::State;
use serde_json::json;
use tokio::net::{TcpListener, UnixStream};

use crate::admin::Opened;
use crate::commands::{Look, output};
use crate::config::Config;
use crate::folder::Folder;
use crate::init::APPROVERS;
use crate::people::VerifierFile;
use crate::reading;
use crate::service::now_ms;

/// How far the last record may lie in the future, in ms.
const AHEAD_MS_MAX: u64 = 5_000;

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Well.
    Ok,
    /// Works, but not as in production.
    Warn,
    /// Does not work, or is not safe.
    Fail,
}

/// A check.
#[derive(Debug)]
pub struct Check {
    name: &'static str,
    level: Level,
    saw: String,
    todo: Option<String>,
}

impl Check {
    fn ok(name: &'static str, saw: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Ok,
            saw: saw.into(),
            todo: None,
        }
    }

    fn warn(name: &'static str, saw: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Warn,
            saw: saw.into(),
            todo: Some(todo.into()),
        }
    }

    fn fail(name: &'static str, saw: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Fail,
            saw: saw.into(),
            todo: Some(todo.into()),
        }
    }
}

/// What a start says aloud.
pub fn at_start(folder: &Folder, opened: &Opened) -> Vec<String> {
    let mut lines = Vec::new();
    if !opened.keyring.has_passphrase() {
        lines.push("the master key has no passphrase: for demo and trial only".to_owned());
    }
    if APPROVERS
        .iter()
        .any(|name| folder.path(&format!("people/{name}.key")).exists())
    {
        lines.push(
            "the approvers' keys still lie in people/: hand each to its approver and remove it here".to_owned(),
        );
    }
    if folder.path(crate::logs::IDENTITY).exists() {
        lines.push(logs::IDENTITY_LEFT.to_owned());
    }
    lines
}

/// Checks; false if one failed.
pub async fn run(look: &Look) -> Result<bool> {
    let folder = look.at.folder()?;
    let running = UnixStream::connect(folder.path("admin.sock")).await.is_ok();
    let mut checks = Vec::new();
    let config = match folder.config() {
        Ok(config) => {
            checks.push(Check::ok("configuration", "sekisho.toml is read"));
            Some(config)
        }
        Err(error) => {
            checks.push(Check::fail(
                "configuration",
                format!("{error:#}"),
                "Correct that line.",
            ));
            None
        }
    };
    checks.push(modes(&folder));
    checks.push(master(&folder));
    checks.push(approver_keys(&folder));
    let state = match reading::current(&folder).await {
        Ok(state) => {
            let (clients, actors) = (state.clients.len(), state.actors.len());
            checks.push(Check::ok(
                "ledger",
                format!(
                    "verifies from the first record to the last: {clients} clients, {actors} actors"
                ),
            ));
            Some(state)
        }
        Err(error) => {
            let todo =
                "Stop `serve`, keep the folder as it is, and restore the segment from a copy.";
            checks.push(Check::fail("ledger", format!("{error:#}"), todo));
            None
        }
    };
    if let Some(state) = &state {
        checks.extend(in_force(&folder, state));
        checks.push(clock(state));
    }
    checks.extend(disk::check(&folder));
    checks.push(logs::identity(&folder));
    if let Some(config) = &config {
        checks.extend(certificate::check(&folder, config));
        checks.extend(stamps::check(&folder, config, now_ms()));
        checks.extend(ports(&folder, config, running).await);
        checks.push(logs::witnesses(&folder, config).await);
        checks.extend(logs::published(&folder, running));
        let none = State::default();
        checks.extend(live::check(&folder, config, state.as_ref().unwrap_or(&none), running).await);
    }
    checks.push(if running {
        Check::ok("service", "`sekisho serve` runs and answers at admin.sock")
    } else {
        Check::ok("service", "`sekisho serve` does not run")
    });
    report(look, &checks)
}

fn report(look: &Look, checks: &[Check]) -> Result<bool> {
    for check in checks {
        let level = match check.level {
            Level::Ok => "OK",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        if look.json {
            output::json(
                &json!({"check": check.name, "level": level, "saw": check.saw, "todo": check.todo}),
            )?;
            continue;
        }
        output::line(format!("{level:<5} {:<15} {}", check.name, check.saw))?;
        if let Some(todo) = &check.todo {
            output::line(format!("{:22}-> {todo}", ""))?;
        }
    }
    Ok(checks.iter().all(|check| check.level != Level::Fail))
}

/// Whether others may look into the folders (what is below a closed folder is closed), or write
/// beside them.
fn modes(folder: &Folder) -> Check {
    let open = |path: &Path, bits: u32| {
        fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & bits != 0)
    };
    let names = [
        "policy",
        "keys",
        "secrets",
        "people",
        "tls",
        "ledger",
        "sekisho.toml",
        "admin.sock",
    ];
    let mut wrong: Vec<&str> = names
        .into_iter()
        .filter(|name| open(&folder.path(name), 0o077))
        .collect();
    // PostgreSQL's user passes through the folder itself: 0711.
    if open(folder.root(), 0o066) {
        wrong.insert(0, ".");
    }
    if wrong.is_empty() {
        return Check::ok(
            "file modes",
            "nobody else may read or write the folder's files",
        );
    }
    let root = folder.root().display();
    let mut todo = vec![format!("chmod 711 {root}")];
    todo.extend(
        wrong
            .iter()
            .filter(|name| **name != ".")
            .map(|name| format!("chmod -R go= {root}/{name}")),
    );
    Check::fail(
        "file modes",
        format!("others may use {} in {root}", wrong.join(", ")),
        todo.join(" && "),
    )
}

fn master(folder: &Folder) -> Check {
    match seal::Master::asks_passphrase(&folder.path("keys")) {
        Ok(true) => Check::ok("master key", "a passphrase protects it"),
        Ok(false) => Check::warn(
            "master key",
            "it has no passphrase: whoever copies keys/ opens everything",
            "For trial only. For real data, `sekisho init` a folder with a passphrase.",
        ),
        Err(error) => Check::fail(
            "master key",
            error.to_string(),
            "Restore keys/ from its copy: nothing opens without it.",
        ),
    }
}

fn approver_keys(folder: &Folder) -> Check {
    let names = fs::read_dir(folder.path("people")).map(|entries| {
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.ends_with(".key"))
            .collect::<Vec<_>>()
    });
    let mut left: Vec<String> = names.unwrap_or_default();
    left.retain(|name| *name != format!("{}.key", crate::init::ADMINISTRATOR));
    if left.is_empty() {
        return Check::ok("people", "no approver's key lies here");
    }
    left.sort();
    Check::warn(
        "people",
        format!(
            "people/ holds {}: who reads it signs as that person",
            left.join(", ")
        ),
        "Hand each key to its owner and remove it here.",
    )
}

/// What is in force, and the files that have to agree with it.
fn in_force(folder: &Folder, state: &State) -> Vec<Check> {
    let mut checks = Vec::new();
    let approvers = state
        .actors
        .values()
        .filter(|actor| actor.active && actor.role == Role::Approver && actor.signing_key.is_some())
        .count();
    checks.push(if approvers >= ledger::state::APPROVALS {
        Check::ok("approvers", format!("{approvers} with keys"))
    } else {
        let todo = "`sekisho actor add --role approver`, then `sekisho actor key`.";
        Check::fail(
            "approvers",
            format!("{approvers} with keys; two are needed"),
            todo,
        )
    });
    checks.push(match gate::Rules::of(state) {
        Ok(_) if state.policy.is_some() && state.numbers.is_some() => {
            Check::ok("rules", "policy and numbers in force are read")
        }
        Ok(_) => Check::fail(
            "rules",
            "no policy or no numbers in force",
            "`sekisho policy propose`, `sekisho numbers propose`.",
        ),
        Err(error) => Check::fail(
            "rules",
            error,
            "Use the version that put them in force, or newer.",
        ),
    });
    checks.extend(drafts(folder, state));
    checks.push(client_keys(folder, state));
    checks.push(verifiers(folder, state));
    checks
}

/// Files below policy/ that say something else than the records.
fn drafts(folder: &Folder, state: &State) -> Option<Check> {
    let text = |name: &str| fs::read_to_string(folder.path(name)).ok();
    let policy = state.policy.as_deref();
    // Compared in canonical form; a file that is wrong is compared as it is.
    let numbers = text("policy/numbers.toml")
        .map(|text| budget::Numbers::parse(&text).map_or(text, |numbers| numbers.to_toml()));
    let differs: Vec<&str> = [
        (
            "policy/policy.cedar",
            text("policy/policy.cedar"),
            policy.map(|text| text.cedar.clone()),
        ),
        (
            "policy/masks.toml",
            text("policy/masks.toml"),
            policy.map(|text| text.masks.clone()),
        ),
        (
            "policy/numbers.toml",
            numbers,
            state.numbers.as_deref().cloned(),
        ),
    ]
    .iter()
    .filter(|(_, file, record)| file.is_some() && file != record)
    .map(|(name, _, _)| *name)
    .collect();
    (!differs.is_empty()).then(|| {
        Check::warn(
            "drafts",
            format!("{} is not what is in force: records rule, files propose", differs.join(", ")),
            "`sekisho policy propose` or `sekisho numbers propose`, or `... show` to see what is in force.",
        )
    })
}

fn client_keys(folder: &Folder, state: &State) -> Check {
    let file = |id: &event::ClientId| folder.path(&format!("keys/clients/{id}.key"));
    let missing: Vec<&str> = state
        .clients
        .iter()
        .filter(|(id, client)| client.key_epoch.is_some() && !file(id).is_file())
        .map(|(_, client)| client.code.as_str())
        .collect();
    if missing.is_empty() {
        return Check::ok("client keys", format!("{} there", state.clients.len()));
    }
    Check::fail(
        "client keys",
        format!(
            "no key file for {}: their data cannot be opened",
            missing.join(", ")
        ),
        "Restore keys/clients/ from its copy. (Destroyed on purpose: then this is as it should be.)",
    )
}

fn verifiers(folder: &Folder, state: &State) -> Check {
    let file = match VerifierFile::open(&folder.path("secrets/verifiers.json")) {
        Ok(file) => file,
        Err(error) => {
            return Check::fail(
                "passwords",
                format!("{error:#}"),
                "Restore it, or `sekisho actor code` for each actor.",
            );
        }
    };
    let committed = state
        .actors
        .iter()
        .filter_map(|(id, actor)| Some((id, actor, actor.credential?)));
    let wrong: Vec<&str> = committed
        .filter(|(id, _, credential)| !file.holds(**id, credential))
        .map(|(_, actor, _)| actor.login.as_str())
        .collect();
    if wrong.is_empty() {
        return Check::ok("passwords", "verifiers agree with the ledger's commitments");
    }
    Check::fail(
        "passwords",
        format!(
            "secrets/verifiers.json does not agree with the ledger for {}: they cannot log in",
            wrong.join(", ")
        ),
        "Restore the file, or make new codes with `sekisho actor code`.",
    )
}

fn clock(state: &State) -> Check {
    let (last, now) = (state.times.wall_ms, now_ms());
    if last > now + AHEAD_MS_MAX {
        let seconds = (last - now) / 1000;
        return Check::fail(
            "clock",
            format!("the last record lies {seconds} s in the future"),
            "Set this machine's clock, and keep it with NTP.",
        );
    }
    Check::ok("clock", crate::commands::time::shown(now))
}

/// Whether each place to listen at is ours or free.
async fn ports(folder: &Folder, config: &Config, running: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for place in config.places(folder.root()) {
        let Listen::Tcp(address) = place else {
            continue;
        };
        if address.port() == 0 {
            continue;
        }
        checks.push(match (running, TcpListener::bind(address).await) {
            (false, Ok(_)) => Check::ok("port", format!("{address} is free")),
            (false, Err(error)) => Check::fail(
                "port",
                format!("{address}: {error}"),
                "Another program has it: choose another in sekisho.toml, [listen] tcp.",
            ),
            (true, Err(_)) => Check::ok("port", format!("{address} is in use while `serve` runs")),
            (true, Ok(_)) => Check::warn(
                "port",
                format!("`serve` runs, but nobody listens at {address}"),
                "Start `serve` again: sekisho.toml was changed since.",
            ),
        });
    }
    checks
}
