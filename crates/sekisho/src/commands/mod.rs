//! The commands of `sekisho`, one file an idea.
//!
//! Invariants: what a command shows comes from the ledger, never from the files that propose; what
//! it changes goes through [`crate::admin::Office`] as a signed request; output has neither
//! personal values nor control characters of someone else's text.

pub mod actors;
pub mod approve;
pub mod archive;
pub mod calls;
pub mod canary;
pub mod case_words;
pub mod cases;
pub mod clients;
pub mod describe;
pub mod desk;
pub mod diff;
pub mod evidence;
pub mod explain;
pub mod grants;
pub mod keys;
pub mod ledger;
pub mod log;
pub mod log_words;
pub mod nearest;
pub mod officer;
pub mod output;
pub mod retention;
pub mod rules;
pub mod seal;
pub mod simulate;
pub mod terminal;
pub mod terminal_words;
pub mod time;
pub mod watch;
pub mod watching;

use std::path::PathBuf;

use clap::Args;

use crate::cli::At;

/// What every command takes.
#[derive(Args)]
pub struct Look {
    #[command(flatten)]
    pub at: At,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a command takes that changes something.
#[derive(Args)]
pub struct Sign {
    #[command(flatten)]
    pub look: Look,
    /// Who makes this change.
    #[arg(long = "as", value_name = "LOGIN", default_value = crate::init::ADMINISTRATOR)]
    pub login: String,
    /// The file of that person's signing key [default: DIR/people/LOGIN.key].
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}
