//! `sekisho policy` and `sekisho numbers`: files propose, records rule.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use event::record::Change;
use serde_json::json;

use super::desk::Desk;
use super::{Look, Sign, diff, output};
use crate::folder::Folder;
use crate::reading;
use crate::service::propose_request;

/// What can be done with the policy.
#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Prints the policy and the masks that are in force.
    #[command(
        after_help = "Example:\n  sekisho policy show\n\nNext: edit DIR/policy/policy.cedar, then `sekisho policy propose`."
    )]
    Show(Look),
    /// Proposes policy and masks from files; looser anywhere, two approvers have to sign.
    #[command(after_help = "\
Example:
  $EDITOR sekisho/policy/policy.cedar && sekisho policy propose

The files are read whole or not at all; an error names its line. What is tighter everywhere is in
force at once, also in sessions that are open.

Next: two approvers `sekisho approve`, which shows them the difference.")]
    Propose(ProposePolicy),
}

/// What can be done with the numbers.
#[derive(Subcommand)]
pub enum NumbersCommand {
    /// Prints the numbers (budgets) that are in force.
    #[command(
        after_help = "Example:\n  sekisho numbers show\n\nNext: edit DIR/policy/numbers.toml, then `sekisho numbers propose`."
    )]
    Show(Look),
    /// Proposes numbers from a file; if any is greater, two approvers have to sign.
    #[command(after_help = "\
Example:
  $EDITOR sekisho/policy/numbers.toml && sekisho numbers propose

What is smaller everywhere is in force at once.

Next: two approvers `sekisho approve`, which shows them the difference.")]
    Propose(ProposeNumbers),
}

/// A policy in files.
#[derive(Args)]
pub struct ProposePolicy {
    #[command(flatten)]
    sign: Sign,
    /// The rules in Cedar [default: DIR/policy/policy.cedar].
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The masks [default: DIR/policy/masks.toml].
    #[arg(long, value_name = "FILE")]
    masks: Option<PathBuf>,
}

/// Numbers in a file.
#[derive(Args)]
pub struct ProposeNumbers {
    #[command(flatten)]
    sign: Sign,
    /// The file [default: DIR/policy/numbers.toml].
    #[arg(long, value_name = "FILE")]
    numbers: Option<PathBuf>,
}

/// Does it.
pub async fn policy(what: PolicyCommand) -> Result<()> {
    match what {
        PolicyCommand::Show(look) => show_policy(&look).await,
        PolicyCommand::Propose(given) => propose_policy(given).await,
    }
}

/// Does it.
pub async fn numbers(what: NumbersCommand) -> Result<()> {
    match what {
        NumbersCommand::Show(look) => show_numbers(&look).await,
        NumbersCommand::Propose(given) => propose_numbers(given).await,
    }
}

async fn show_policy(look: &Look) -> Result<()> {
    let state = reading::current(&look.at.folder()?).await?;
    let text = state
        .policy
        .as_deref()
        .context("no policy is in force: nothing is permitted")?;
    if look.json {
        let digest = text.digest.to_string();
        return output::json(&json!({"digest": digest, "cedar": text.cedar, "masks": text.masks}));
    }
    output::line(format!("// Policy in force, digest {}\n", text.digest))?;
    output::line(&text.cedar)?;
    output::line("// Masks in force (as in masks.toml)\n")?;
    output::line(&text.masks)
}

async fn show_numbers(look: &Look) -> Result<()> {
    let state = reading::current(&look.at.folder()?).await?;
    let text = state
        .numbers
        .as_deref()
        .context("no numbers are in force: every budget is zero")?;
    if look.json {
        let value: serde_json::Value =
            toml::from_str(text).context("the numbers in force cannot be read")?;
        return output::json(&value);
    }
    output::line(text)
}

fn read(folder: &Folder, given: Option<&Path>, usual: &str) -> Result<(PathBuf, String)> {
    let path = given.map_or_else(|| folder.path(usual), Path::to_owned);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok((path, text))
}

async fn propose_policy(given: ProposePolicy) -> Result<()> {
    let folder = given.sign.look.at.folder()?;
    let (policy_path, cedar) = read(&folder, given.policy.as_deref(), "policy/policy.cedar")?;
    let (masks_path, masks) = read(&folder, given.masks.as_deref(), "policy/masks.toml")?;
    policy::Policy::parse(&cedar, &masks).map_err(|error| {
        let path = if error.part == "masks" {
            &masks_path
        } else {
            &policy_path
        };
        anyhow::anyhow!("{}: {error}", path.display())
    })?;
    let desk = Desk::open(&given.sign)?;
    let same = desk
        .state()
        .await?
        .policy
        .as_deref()
        .is_some_and(|text| text.cedar == cedar && text.masks == masks);
    if same && !desk.json() {
        return output::line("These files are what is in force already.");
    }
    let reply = desk
        .ask(&propose_request(&Change::Policy { cedar, masks }))
        .await?;
    desk.told(
        &reply,
        "The policy is in force: nothing in it is looser than before.",
    )
}

async fn propose_numbers(given: ProposeNumbers) -> Result<()> {
    let folder = given.sign.look.at.folder()?;
    let (path, text) = read(&folder, given.numbers.as_deref(), "policy/numbers.toml")?;
    let numbers = budget::Numbers::parse(&text)
        .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    let toml = numbers.to_toml();
    let desk = Desk::open(&given.sign)?;
    let before = desk
        .state()
        .await?
        .numbers
        .as_deref()
        .cloned()
        .unwrap_or_default();
    let lines = diff::unified(&before, &toml);
    if lines.is_empty() && !desk.json() {
        return output::line("This file is what is in force already.");
    }
    if !desk.json() {
        output::line("(- in force, + proposed)")?;
        for line in lines {
            output::line(line)?;
        }
    }
    let reply = desk
        .ask(&propose_request(&Change::Numbers { toml }))
        .await?;
    desk.told(
        &reply,
        "The numbers are in force: none is greater than before.",
    )
}
