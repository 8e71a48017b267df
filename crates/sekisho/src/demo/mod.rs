//! `sekisho demo`: the case, step by step.

mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use self::stage::Stage;

/// What the demo can be told.
#[derive(Args)]
pub struct Options {
    /// The folder of the demo's data; it must not exist or be empty [default: a fresh one in the
    /// system's folder for temporary files].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Made-up customers of each of the 59 clients.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub customers_per_client: u32,
    /// Leave when the case was played; exit status 1 if any step went wrong.
    #[arg(long)]
    pub exit: bool,
    /// Write the table of steps to a file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The gate's port; 0 takes a free one.
    #[arg(long, default_value_t = 6432)]
    pub port: u16,
}

/// Plays it.
pub async fn run(options: Options) -> Result<ExitCode> {
    let dir = options.dir.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("sekisho-demo-{}", std::process::id())));
    let mut stage = Stage::set_up(&dir, options.port, options.customers_per_client).await?;
    stage.stop_gate().await?;
    Ok(ExitCode::SUCCESS)
}
