//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::commands::actors::Actors;
use crate::commands::clients::Clients;
use crate::commands::grants::Grants;
use crate::commands::ledger::LedgerCommand;
use crate::commands::rules::{NumbersCommand, PolicyCommand};
use crate::commands::watch::WatchCommand;
use crate::commands::{
    Look, actors, approve, clients, explain, grants, log, output, rules, seal, simulate,
};
use crate::folder::{Folder, default_folder};
use crate::{demo, doctor, init, keys, serve};

/// Keeps personal data held in call-centre systems from being carried out of the door, and proves
/// it: PostgreSQL holds only ciphertext, and every exposure is on record before it is released.
#[derive(Parser)]
#[command(name = "sekisho", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The folder that a command works on.
#[derive(Args)]
pub struct At {
    /// The data folder that `sekisho init` made [default: $SEKISHO_DIR, else ./sekisho].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl At {
    /// Opens it.
    pub fn folder(&self) -> Result<Folder> {
        Folder::open(&self.dir.clone().unwrap_or_else(default_folder))
    }
}

#[derive(Subcommand)]
enum Command {
    /// Plays the case on an embedded PostgreSQL, step by step, and stays up to try it by hand.
    Demo(demo::Options),
    /// Makes a data folder: configuration, policy, keys, certificate, ledger.
    #[command(after_help = "\
Examples:
  sekisho init /srv/sekisho --centre 'Kansai Call Centre'
  sekisho init trial --no-passphrase

The passphrase of the master key is asked for (twice), or read from SEKISHO_PASSPHRASE.

Next: read /srv/sekisho/sekisho.toml, then `sekisho doctor` and `sekisho serve`.")]
    Init(Init),
    /// Runs the gate.
    #[command(after_help = "\
Example:
  sekisho serve --dir /srv/sekisho

SIGTERM or Ctrl-C drains: sessions end with their transaction; a second one stops now.

Next: `psql 'host=127.0.0.1 port=6432 user=LOGIN dbname=DB'`; `sekisho log --follow` shows what is
recorded.")]
    Serve(At),
    /// The companies whose customers' data is held.
    #[command(subcommand)]
    Client(Clients),
    /// The people who work on the system, by name.
    #[command(subcommand)]
    Actor(Actors),
    /// Approved exceptions: so many subjects, for so long.
    #[command(subcommand)]
    Grant(Grants),
    /// Shows what waits for approval; signs one change with an approver's own key.
    #[command(after_help = "\
Examples:
  sekisho approve
  sekisho approve 12 --as ito --key ito.key

Shows in plain words what the change would do, read from the ledger, and asks before it signs.
What gives anyone more needs the signatures of two approvers.

Next: `sekisho log --last 5` shows the record; `sekisho withdraw N` takes a proposal back.")]
    Approve(approve::Approve),
    /// Takes a proposed change back, or rejects it.
    #[command(
        after_help = "Example:\n  sekisho withdraw 12\n\nAdministrators, security and supervisors may. Next: `sekisho approve` lists what still waits."
    )]
    Withdraw(approve::Withdraw),
    /// Who may see, search and write: what is in force, and proposals.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Budgets: what is in force, and proposals.
    #[command(subcommand)]
    Numbers(NumbersCommand),
    /// Prepares columns of a new or empty table: type, CHECK constraint, pin.
    #[command(after_help = "\
Example:
  sekisho seal --database crm --table customer --client-column client_id \\
    --column name=name --column phone=phone:exact --column email=email:exact

Classes: name, kana, address, phone, email, birth-date, customer-number, free-text.
Modes: random (equal values give different cells) and exact (can be searched; phone, email,
customer-number). Columns of one domain can be compared with each other; each class has its own.
Without --client-column and --client the session's scope says whose a row is.

Next: two approvers `sekisho approve` the pin; from then on the gate seals and opens them.")]
    Seal(seal::Seal),
    /// Shows the ledger: who saw what, and every change.
    #[command(after_help = "\
Examples:
  sekisho log --since 2h
  sekisho log --client acme --actor sato --json
  sekisho log --since 2026-11-22T09:00 --until 2026-11-22T18:00
  sekisho log --last 20 --follow

Times are UTC+09:00. There are no personal values in it.")]
    Log(log::Log),
    /// Cases: what detection found, for people to decide.
    #[command(subcommand)]
    Case(crate::commands::cases::Cases),
    /// Fictitious customers, whom nobody has a reason to look up.
    #[command(subcommand)]
    Canary(crate::commands::canary::Canary),
    /// The machines that people work on: which are healthy, and what they let in.
    #[command(subcommand)]
    Terminal(crate::commands::terminal::Terminals),
    /// Records of calls, which explain why customers were looked at.
    #[command(subcommand)]
    Calls(crate::commands::calls::Calls),
    /// Keys of clients.
    #[command(subcommand)]
    Key(crate::commands::keys::Keys),
    /// The logs that leave the system: what clients and auditors check.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Mass processing and slow thefts, found in the ledger and in access records of other systems.
    #[command(subcommand)]
    Watch(WatchCommand),
    /// A call centre's life, with a theft or without, as records that can be replayed.
    #[command(after_help = "\
Examples:
  sekisho simulate --out honest.jsonl
  sekisho simulate --theft case --out case.jsonl --truth truth.jsonl
  sekisho simulate --theft constant-20 --actors 1000 --days 1095 --from-day 365 --out slow.jsonl
  sekisho simulate --theft walk --out - | sekisho watch replay --import -

The same settings give the same records. What is simulated, and why: docs/simulate.md.
Some 50 records a day and person, 300 bytes each.

Next: `sekisho watch replay --import FILE` says what the detectors make of it.")]
    Simulate(simulate::Simulate),
    /// Says what the gate would do with a statement, and why.
    #[command(after_help = "\
Examples:
  sekisho explain \"SELECT name FROM customer WHERE phone = '090-1234-5678'\"
  sekisho explain --as sato --scope acme \"UPDATE customer SET phone = $1 WHERE id = 5\"

Looks at the ledger alone, so views and functions over sealed tables are not known to it.
Exit status 1 if the gate would refuse.")]
    Explain(explain::Explain),
    /// Checks what goes wrong most, and says what to do.
    #[command(after_help = "\
Example:
  sekisho doctor --dir /srv/sekisho

Run it while `sekisho serve` runs, too: then it compares the pins with the live schema.
Exit status 1 if a check failed.")]
    Doctor(Look),
}

#[derive(Args)]
struct Init {
    /// The folder; it must not exist or be empty.
    folder: PathBuf,
    /// The centre's name.
    #[arg(long, default_value = "Call centre")]
    centre: String,
    /// Use an existing PostgreSQL (named in sekisho.toml) instead of an embedded one.
    #[arg(long)]
    external: bool,
    /// Leave the master key without a passphrase: for trial only.
    #[arg(long)]
    no_passphrase: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command line.
pub async fn run() -> Result<ExitCode> {
    match dispatch(Cli::parse().command).await {
        // Whoever read our output has seen enough, as in `sekisho log | head`.
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(options) => return demo::run(options).await,
        Command::Init(init) => run_init(init).await?,
        Command::Serve(at) => serve::serve(&at.folder()?).await?,
        Command::Client(what) => clients::run(what).await?,
        Command::Actor(what) => actors::run(what).await?,
        Command::Grant(what) => grants::run(what).await?,
        Command::Approve(given) => approve::run(given).await?,
        Command::Withdraw(given) => approve::withdraw(given).await?,
        Command::Policy(what) => rules::policy(what).await?,
        Command::Numbers(what) => rules::numbers(what).await?,
        Command::Seal(given) => seal::run(given).await?,
        Command::Log(given) => log::run(given).await?,
        Command::Case(what) => crate::commands::cases::run(what).await?,
        Command::Canary(what) => crate::commands::canary::run(what).await?,
        Command::Terminal(what) => crate::commands::terminal::run(what).await?,
        Command::Calls(what) => crate::commands::calls::run(what).await?,
        Command::Key(what) => crate::commands::keys::run(what).await?,
        Command::Ledger(what) => crate::commands::ledger::run(what).await?,
        Command::Watch(what) => crate::commands::watch::run(what).await?,
        Command::Simulate(given) => simulate::run(&given)?,
        Command::Explain(given) => return Ok(status(explain::run(&given).await?)),
        Command::Doctor(look) => return Ok(status(doctor::run(&look).await?)),
    }
    Ok(ExitCode::SUCCESS)
}

fn status(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn run_init(given: Init) -> Result<()> {
    let passphrase = if given.no_passphrase {
        event::Plain::new(String::new())
    } else {
        keys::new_passphrase()?
    };
    let plan = init::Plan {
        centre: &given.centre,
        passphrase: passphrase.expose(),
        embedded: !given.external,
        segment_bytes: None,
        numbers: None,
    };
    let folder = init::init(&given.folder, &plan).await?;
    let dir = folder.root().display();
    if given.json {
        return output::json(&serde_json::json!({"dir": folder.root()}));
    }
    output::line(format!(
        "{dir} is ready.\n\n\
         people/{}.key and people/{}.key sign as approvers: give each to a person who is\n\
         no administrator, and remove them here. people/{}.key signs the administrator's commands.\n\n\
         Next: edit {dir}/sekisho.toml, then `sekisho serve --dir {dir}`, then\n\
         `sekisho client add`, `sekisho actor add`, `sekisho seal` (each has --help).",
        init::APPROVERS[0],
        init::APPROVERS[1],
        init::ADMINISTRATOR,
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_do_not_clash() {
        super::Cli::command().debug_assert();
    }
}
