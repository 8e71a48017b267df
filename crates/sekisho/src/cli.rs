//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::folder::{Folder, default_folder};
use crate::{demo, init, keys, serve};

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
    Init(Init),
    /// Runs the gate.
    Serve(At),
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
}

/// Runs the command line.
pub async fn run() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Demo(options) => demo::run(options).await,
        Command::Init(init) => {
            run_init(init).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve(at) => {
            serve::serve(&at.folder()?).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn run_init(given: Init) -> Result<()> {
    let passphrase = if given.no_passphrase {
        event::Plain::new(String::new())
    } else {
        keys::passphrase("A passphrase for the master key: ")?
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
    println!(
        "{dir} is ready.\n\n\
         people/{}.key and people/{}.key sign as approvers: give each to a person who is\n\
         no administrator, and remove them here. people/{}.key signs the administrator's commands.\n\n\
         Next: edit {dir}/sekisho.toml, then `sekisho serve --dir {dir}`, then\n\
         `sekisho client add`, `sekisho actor add`, `sekisho seal` (each has --help).",
        init::APPROVERS[0], init::APPROVERS[1], init::ADMINISTRATOR,
    );
    Ok(())
}
