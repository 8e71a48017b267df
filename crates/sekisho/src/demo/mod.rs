//! `sekisho demo`: the case, step by step.

mod audit;
mod search;
mod stage;
mod steps;
mod watching;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use self::stage::Stage;

/// What the demo can be told.
#[derive(Args)]
pub struct Options {
    /// The folder of the demo's data; it must not exist or be empty [default: a fresh one in the
    /// system's folder for temporary files].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Made-up customers of each of the 59 clients.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub customers_per_client: u32,
    /// Leave when the case was played; exit status 1 if any step went wrong.
    #[arg(long)]
    pub exit: bool,
    /// Only set the stage (clients, people, sealed customers, a serving gate), and stay up.
    #[arg(long, conflicts_with_all = ["exit", "json"])]
    pub stage_only: bool,
    /// Write the table of steps to a file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The gate's port; 0 takes a free one.
    #[arg(long, default_value_t = 6432)]
    pub port: u16,
}

/// What one step tried, and what came of it.
#[derive(Debug, Serialize)]
pub struct Step {
    /// What was tried.
    pub tried: String,
    /// What the driver got.
    pub came_out: String,
    /// What stands in the ledger.
    pub recorded: String,
    /// Whether it went as it has to.
    pub ok: bool,
}

/// The table of steps.
#[derive(Default)]
pub struct Told {
    steps: Vec<(String, Step)>,
}

impl Told {
    /// Plays one step and tells it.
    async fn run(&mut self, name: &str, step: impl Future<Output = Result<Step>>) {
        let step = step.await;
        self.add(name, step);
    }

    fn add(&mut self, name: &str, step: Result<Step>) {
        let step = step.unwrap_or_else(|error| Step {
            tried: String::new(),
            came_out: format!("the step failed: {error:#}"),
            recorded: String::new(),
            ok: false,
        });
        let number = self.steps.len() + 1;
        let mark = if step.ok { "ok   " } else { "WRONG" };
        println!("\n{number}. {name}\n   {mark}  tried:    {}", step.tried);
        println!(
            "          came out: {}\n          recorded: {}",
            step.came_out, step.recorded
        );
        self.steps.push((name.to_owned(), step));
    }

    fn all_ok(&self) -> bool {
        self.steps.iter().all(|(_, step)| step.ok)
    }

    fn json(&self) -> serde_json::Value {
        let steps = self
            .steps
            .iter()
            .map(|(name, step)| (name.clone(), serde_json::json!(step)));
        serde_json::Value::Object(steps.collect())
    }
}

/// Plays it.
pub async fn run(options: Options) -> Result<ExitCode> {
    let began = Instant::now();
    let dir = options.dir.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("sekisho-demo-{}", std::process::id()))
    });
    println!(
        "Sekisho plays the case on a PostgreSQL of its own, in {}\n",
        dir.display()
    );
    let mut stage = Stage::set_up(&dir, options.port, options.customers_per_client).await?;
    println!(
        "  {} clients with {} made-up customers each, sealed on the way in ({:.0} s)",
        stage::CLIENTS,
        options.customers_per_client,
        began.elapsed().as_secs_f64()
    );
    if options.stage_only {
        stay(&stage).await?;
        stage.stop_gate().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut told = Told::default();
    steps::play(&mut stage, &mut told).await?;
    let ok = told.all_ok();
    let good = told.steps.iter().filter(|(_, step)| step.ok).count();
    println!(
        "\n{good} of {} steps went as they have to ({:.0} s).",
        told.steps.len(),
        began.elapsed().as_secs_f64()
    );
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&told.json())?)
            .with_context(|| path.display().to_string())?;
    }
    if !options.exit {
        stay(&stage).await?;
    }
    stage.stop_gate().await?;
    if options.exit && options.dir.is_none() {
        // PostgreSQL's folder may be elsewhere.
        for folder in [stage.postgres(), dir] {
            std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says how to connect, and waits for Ctrl-C.
async fn stay(stage: &Stage) -> Result<()> {
    println!("\nThe gate stays up. Connect as:");
    for (login, role, clients) in stage::ACTORS {
        let password = stage.passwords.get(login).map_or("", String::as_str);
        let of = if clients.is_empty() {
            String::new()
        } else {
            format!(", clients {clients}")
        };
        println!(
            "  PGPASSWORD='{password}' psql 'host=127.0.0.1 port={} user={login} dbname={}'   # {role}{of}",
            stage.port,
            stage::DATABASE
        );
    }
    println!(
        "\nTry: SELECT name, phone FROM customers LIMIT 3;   SET sekisho.scope TO '2';\n\
         The records: sekisho log --dir {0}\nCtrl-C ends it; the folder {0} stays.",
        stage.folder.root().display()
    );
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = term.recv() => {}
    }
    Ok(())
}
