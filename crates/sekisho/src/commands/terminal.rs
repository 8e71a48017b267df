//! `sekisho terminal`: the machines that people work on, and what they let in.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use event::record::Change;
use event::{Digest, System};
use gate::terminal_number;
use ledger::State;
use ledger::terminals::{Standing, Terminal};
use serde_json::{Value, json};
use terminal::export::{Target, export};
use terminal::policy::{POLICY_BYTES_MAX, Policy};

use super::desk::Desk;
use super::{Look, Sign, diff, output, time};
use crate::reading;
use crate::service::propose_request;
use crate::terminals::certificate_pin;

/// What can be done with terminals.
#[derive(Subcommand)]
pub enum Terminals {
    /// Lists terminals, and machines that ask to be one.
    #[command(after_help = "\
Examples:
  sekisho terminal list
  sekisho terminal list --json

healthy: its agent proves that it refuses storage, or its evidence is fresh and agrees. A policy can
ask for that before anything is shown in clear (context.healthy, docs/terminals.md).

Next: `sekisho terminal show NAME` says what lacks.")]
    List(Look),
    /// Shows a terminal: what it lacks, and what it reported last.
    Show(Show),
    /// What a machine's agent needs to ask: `sekisho-post enroll ...`, ready to be typed there.
    Pin(Look),
    /// Makes a machine that asks a terminal. Two approvers sign it.
    #[command(after_help = "\
Examples:
  sekisho terminal approve 3f0c51d2
  sekisho terminal approve seat-12 --as admin
  sekisho terminal approve seat-13 --system windows --address 192.0.2.13

Compare the number with the one that `sekisho-post status` shows on that machine: it is its key. A
terminal of another system has no agent; its sessions are known by the address they come from, and
its health by evidence (`sekisho terminal evidence import`).

Next: `sekisho approve CHANGE`, by each approver.")]
    Approve(Approve),
    /// Takes a terminal out of use: its reports and sessions are not taken any more.
    Retire(Named),
    /// What terminals let in.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// What other systems wrote about their devices.
    #[command(subcommand)]
    Evidence(super::evidence::Evidence),
}

/// One terminal.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    look: Look,
    /// Its name, or at least eight digits of its number.
    terminal: String,
    /// Reports shown, newest last.
    #[arg(long, default_value_t = 10)]
    last: usize,
}

/// One terminal, to be changed.
#[derive(Args)]
pub struct Named {
    #[command(flatten)]
    sign: Sign,
    /// Its name, or at least eight digits of its number.
    terminal: String,
}

/// A machine that becomes a terminal.
#[derive(Args)]
pub struct Approve {
    #[command(flatten)]
    sign: Sign,
    /// Its name, or at least eight digits of its number; of one without an agent, its name.
    terminal: String,
    /// Another name than it calls itself.
    #[arg(long)]
    name: Option<String>,
    /// Its system: linux (with an agent), windows or macos (by evidence).
    #[arg(long, default_value = "linux")]
    system: System,
    /// The address its sessions come from, of one without an agent.
    #[arg(long)]
    address: Option<std::net::IpAddr>,
}

/// What can be done with the policy of terminals.
#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Shows the policy in force.
    Show(Look),
    /// Proposes a policy. Two approvers sign it; terminals take it when it is in force.
    #[command(after_help = "\
Example:
  sekisho terminal policy set terminal-policy.toml

What is not named is refused: docs/terminal-policy.md explains each line. A terminal that the policy
would lock out (no keyboard left) keeps the one before, and says so.")]
    Set(SetPolicy),
    /// Says whether a file is a policy, and what it means.
    Check(CheckPolicy),
    /// Writes the policy in force in the words of another system.
    #[command(after_help = "\
Examples:
  sekisho terminal policy export --to usbguard --out rules/
  sekisho terminal policy export --to windows-gpo --policy terminal-policy.toml --out gpo/

What the target cannot say is listed, and belongs in your plan: docs/terminal-export.md says what to do
about each. Applied to Windows and macOS it is untested.")]
    Export(ExportPolicy),
}

/// A policy in another system's words.
#[derive(Args)]
pub struct ExportPolicy {
    #[command(flatten)]
    look: Look,
    /// For which system: usbguard, windows-gpo, defender, intune or macos.
    #[arg(long)]
    to: Target,
    /// A policy's file, instead of what is in force.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The folder that the files go to; it is made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// A policy to be proposed.
#[derive(Args)]
pub struct SetPolicy {
    #[command(flatten)]
    sign: Sign,
    /// The file (TOML).
    file: PathBuf,
}

/// A policy to be read.
#[derive(Args)]
pub struct CheckPolicy {
    /// The file (TOML).
    file: PathBuf,
}

/// Does it.
pub async fn run(what: Terminals) -> Result<()> {
    match what {
        Terminals::List(look) => list(&look).await,
        Terminals::Show(show) => self::show(&show).await,
        Terminals::Pin(look) => pin(&look),
        Terminals::Approve(given) => approve(given).await,
        Terminals::Retire(given) => retire(&given).await,
        Terminals::Policy(PolicyCommand::Show(look)) => show_policy(&look).await,
        Terminals::Policy(PolicyCommand::Set(given)) => set_policy(given).await,
        Terminals::Policy(PolicyCommand::Check(given)) => check_policy(&given),
        Terminals::Policy(PolicyCommand::Export(given)) => export_policy(&given).await,
        Terminals::Evidence(given) => super::evidence::run(given).await,
    }
}

fn standing(terminal: &Terminal) -> &'static str {
    match terminal.standing {
        Standing::Waiting => "asks",
        Standing::Approved => "approved",
        Standing::Retired => "retired",
    }
}

fn health(terminal: &Terminal) -> String {
    match (terminal.standing, terminal.healthy) {
        (Standing::Approved, true) => "healthy".to_owned(),
        (Standing::Approved, false) => format!("NOT HEALTHY: {}", terminal.lacks.join("; ")),
        _ => String::new(),
    }
}

fn fields(of: &Digest, terminal: &Terminal) -> Value {
    json!({
        "terminal": terminal_number(of), "key": crate::serve::hex(&of.0), "name": terminal.name,
        "system": terminal.system.name(), "address": terminal.address, "standing": standing(terminal),
        "healthy": terminal.healthy, "lacks": terminal.lacks, "reported": terminal.reported,
        "said_at": time::rfc3339(terminal.said_ms),
    })
}

async fn list(look: &Look) -> Result<()> {
    let state = reading::current(&look.at.folder()?).await?;
    let all = &state.terminals.all;
    if look.json {
        return all
            .iter()
            .try_for_each(|(of, it)| output::json(&fields(of, it)));
    }
    if all.is_empty() {
        return output::line(
            "There are no terminals. `sekisho terminal pin` prints what a machine's agent needs to ask.",
        );
    }
    let rows = all.iter().map(|(of, it)| {
        vec![
            terminal_number(of),
            output::visible(&it.name),
            it.system.name().to_owned(),
            standing(it).to_owned(),
            time::shown(it.said_ms),
            health(it),
        ]
    });
    let headings = [
        "number",
        "name",
        "system",
        "standing",
        "last said",
        "health",
    ];
    output::table(&headings, &rows.collect::<Vec<_>>())
}

/// The one that a name, or the first digits of a number, means.
fn find<'a>(state: &'a State, given: &str) -> Result<(Digest, &'a Terminal)> {
    // A machine says its own name: digits are a number, whatever somebody is called.
    let digits = given.len() >= 8 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_it = |of: &Digest, it: &Terminal| match digits {
        true => crate::serve::hex(&of.0).starts_with(given),
        false => it.name == given,
    };
    let all = state.terminals.all.iter();
    let mut meant = all.filter(|(of, it)| is_it(of, it));
    match (meant.next(), meant.next()) {
        (Some((of, it)), None) => Ok((*of, it)),
        (None, _) => bail!("no terminal is called {given}; `sekisho terminal list` shows all"),
        _ => bail!("{given} is more than one terminal: give its number"),
    }
}

async fn show(given: &Show) -> Result<()> {
    let folder = given.look.at.folder()?;
    let state = reading::current(&folder).await?;
    let (of, terminal) = find(&state, &given.terminal)?;
    if given.look.json {
        output::json(&fields(&of, terminal))?;
    } else {
        output::line(format!(
            "{} {} ({}, {}), last said something {}",
            output::visible(&terminal.name),
            terminal_number(&of),
            terminal.system,
            standing(terminal),
            time::shown(terminal.said_ms)
        ))?;
        output::line(format!("key      {}", crate::serve::hex(&of.0)))?;
        if terminal.standing == Standing::Approved {
            output::line(format!(
                "health   {}",
                if terminal.healthy {
                    "healthy"
                } else {
                    "NOT HEALTHY"
                }
            ))?;
        }
        for lack in &terminal.lacks {
            output::line(format!("lacks    {}", output::visible(lack)))?;
        }
    }
    let records = reading::records(&folder)?;
    let own: Vec<_> = records
        .iter()
        .filter(|(_, body)| super::terminal_words::is_about(body, &of))
        .collect();
    for (entry, body) in own.iter().skip(own.len().saturating_sub(given.last)) {
        if given.look.json {
            let (kind, fields) = super::terminal_words::fields(&state, body);
            output::json(
                &json!({"at": time::rfc3339(entry.wall_ms), "kind": kind, "record": fields}),
            )?;
        } else {
            let said = super::terminal_words::record(&state, body);
            output::line(format!(
                "{}  {}",
                time::shown(entry.wall_ms),
                output::visible(&said)
            ))?;
        }
    }
    Ok(())
}

fn pin(look: &Look) -> Result<()> {
    let folder = look.at.folder()?;
    let config = folder.config()?;
    let pin = certificate_pin(&folder)?;
    let Some(address) = config.terminals.listen else {
        bail!(
            "the gate does not listen for terminals: set `listen = \"0.0.0.0:6433\"` under [terminals] in sekisho.toml and start it again"
        );
    };
    if look.json {
        return output::json(&json!({"gate": address, "pin": pin}));
    }
    let host = match address.ip().is_unspecified() {
        true => "HOST-OF-THE-GATE".to_owned(),
        false => address.ip().to_string(),
    };
    output::line(format!(
        "sekisho-post enroll --gate {host}:{} --pin {pin}",
        address.port()
    ))
}

async fn approve(given: Approve) -> Result<()> {
    let desk = Desk::open(&given.sign)?;
    let change = desk.find(|state| approval(state, &given)).await?;
    let reply = desk.ask(&propose_request(&change)).await?;
    desk.told(&reply, &format!("{} is a terminal.", given.terminal))
}

fn approval(state: &State, given: &Approve) -> Result<Change> {
    let address = given.address.map(|it| it.to_canonical().to_string());
    if given.system != System::Linux {
        let name = given.name.clone().unwrap_or_else(|| given.terminal.clone());
        return Ok(Change::Terminal {
            terminal: crate::terminals::nameless(&given.terminal),
            name,
            system: given.system,
            address: address.context("give --address: where its sessions come from")?,
            active: true,
        });
    }
    ensure!(
        address.is_none(),
        "--address is for terminals without an agent"
    );
    let (terminal, known) = find(state, &given.terminal)?;
    Ok(Change::Terminal {
        terminal,
        name: given.name.clone().unwrap_or_else(|| known.name.clone()),
        system: known.system,
        address: String::new(),
        active: true,
    })
}

async fn retire(given: &Named) -> Result<()> {
    let desk = Desk::open(&given.sign)?;
    let find = |state: &State| find(state, &given.terminal).map(|(of, it)| (of, it.clone()));
    let (terminal, known) = desk.find(find).await?;
    let change = Change::Terminal {
        terminal,
        name: known.name.clone(),
        system: known.system,
        address: known.address,
        active: false,
    };
    let reply = desk.ask(&propose_request(&change)).await?;
    desk.told(&reply, &format!("{} is no terminal any more.", known.name))
}

async fn show_policy(look: &Look) -> Result<()> {
    let state = reading::current(&look.at.folder()?).await?;
    let Some((digest, text)) = &state.terminals.policy else {
        return output::line(
            "No policy of terminals is in force, so none is healthy; `sekisho terminal policy set FILE` proposes one.",
        );
    };
    if look.json {
        return output::json(
            &json!({"digest": crate::serve::hex(&digest.0), "toml": text.as_str()}),
        );
    }
    output::line(text.trim_end())
}

/// A file that is a policy.
fn read_policy(path: &std::path::Path) -> Result<(Policy, String)> {
    let named = || path.display().to_string();
    let file = std::fs::File::open(path).with_context(named)?;
    let mut text = String::new();
    let most = POLICY_BYTES_MAX as u64 + 1;
    file.take(most)
        .read_to_string(&mut text)
        .with_context(named)?;
    let policy =
        Policy::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    Ok((policy, text))
}

async fn set_policy(given: SetPolicy) -> Result<()> {
    let (policy, _) = read_policy(&given.file)?;
    let toml = policy.canonical();
    let desk = Desk::open(&given.sign)?;
    let before = desk.state().await?.terminals.policy.clone();
    let before = before
        .map(|(_, text)| text.as_str().to_owned())
        .unwrap_or_default();
    let lines = diff::unified(&before, &toml);
    if lines.is_empty() && !desk.json() {
        return output::line("This policy is in force already.");
    }
    if !desk.json() {
        output::line("(- in force, + proposed)")?;
        lines.into_iter().try_for_each(output::line)?;
    }
    let reply = desk
        .ask(&propose_request(&Change::TerminalPolicy { toml }))
        .await?;
    desk.told(&reply, "The policy is in force; terminals take it now.")
}

fn check_policy(given: &CheckPolicy) -> Result<()> {
    let (policy, _) = read_policy(&given.file)?;
    output::line(policy.canonical().trim_end())?;
    output::line(format!("digest {}", crate::serve::hex(&policy.digest())))
}

async fn export_policy(given: &ExportPolicy) -> Result<()> {
    let policy = match &given.policy {
        Some(path) => read_policy(path)?.0,
        None => {
            let state = reading::current(&given.look.at.folder()?).await?;
            let in_force = state.terminals.policy.as_ref();
            let (_, text) =
                in_force.context("no policy of terminals is in force; give --policy FILE")?;
            Policy::parse(text)?
        }
    };
    let made = export(&policy, given.to);
    std::fs::create_dir_all(&given.out).with_context(|| given.out.display().to_string())?;
    for file in &made.files {
        let path = given.out.join(file.name);
        std::fs::write(&path, &file.bytes).with_context(|| path.display().to_string())?;
    }
    if given.look.json {
        let files: Vec<_> = made.files.iter().map(|it| it.name).collect();
        return output::json(
            &json!({"to": given.to.word(), "files": files, "cannot": made.cannot}),
        );
    }
    for file in &made.files {
        output::line(format!("wrote {}", given.out.join(file.name).display()))?;
    }
    if !given.to.is_tested() {
        output::line(format!(
            "What {} does with it was not tested here.",
            given.to.word()
        ))?;
    }
    if made.cannot.is_empty() {
        return Ok(());
    }
    output::line("Not said by it:")?;
    made.cannot
        .iter()
        .try_for_each(|it| output::line(format!("  {it}")))
}
