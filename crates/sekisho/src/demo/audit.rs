//! The client checks its log with `sekisho-verify`, a program that shares no code with the gate; the
//! administrator rewrites it in three ways, and each is found and named.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::Step;
use super::stage::Stage;

/// The client that checks: the one whose read was cut off by SIGKILL.
const CLIENT: &str = "4";

/// What the client has: its key file, and the folder that it is given.
pub(super) struct Auditor {
    program: PathBuf,
    folder: PathBuf,
}

impl Auditor {
    /// Makes the key file and hands it over.
    pub(super) async fn new(stage: &Stage) -> Result<Self> {
        let auditor = Self {
            program: program().await?,
            folder: stage.folder.path("client-4"),
        };
        std::fs::create_dir_all(&auditor.folder)?;
        let key = auditor.key().display().to_string();
        sekisho(stage, &["ledger", "key-file", CLIENT, "--out", &key]).await?;
        Ok(auditor)
    }

    fn key(&self) -> PathBuf {
        self.folder.join("client.sekisho")
    }

    fn copy(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Brings the client's copy up to date.
    async fn export(&self, stage: &Stage) -> Result<()> {
        let copy = self.copy().display().to_string();
        sekisho(stage, &["ledger", "export", CLIENT, "--to", &copy]).await
    }

    /// Exit status and what was found.
    async fn check(&self) -> Result<(i32, Value)> {
        let output = Command::new(&self.program)
            .arg("check")
            .arg("--key")
            .arg(self.key())
            .arg("--from")
            .arg(self.copy())
            .args(["--json", "--lang", "en"])
            .output()
            .await
            .with_context(|| self.program.display().to_string())?;
        let found = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok((output.status.code().unwrap_or(-1), found))
    }

    /// What is wrong, in the checker's words; empty if nothing is.
    async fn wrong(&self) -> Result<String> {
        let (status, found) = self.check().await?;
        let problems = found["problems"].as_array().cloned().unwrap_or_default();
        let wrong = problems
            .iter()
            .filter(|problem| problem["severity"] == "wrong");
        let says: Vec<&str> = wrong
            .filter_map(|problem| problem["says"].as_str())
            .collect();
        ensure!(
            (status == 1) != says.is_empty(),
            "exit status {status} and {} problems",
            says.len()
        );
        Ok(match says[..] {
            [] => String::new(),
            [only] => only.to_owned(),
            [first, ..] => format!("{first} (and {} more)", says.len() - 1),
        })
    }
}

/// Runs a command of this program on the stage's folder.
async fn sekisho(stage: &Stage, arguments: &[&str]) -> Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .arg("--dir")
        .arg(stage.folder.root())
        .output()
        .await?;
    if !output.status.success() {
        bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// `sekisho-verify`: beside this program; from a clone, cargo builds it there.
async fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name("sekisho-verify");
    let Some(cargo) = std::env::var_os("CARGO") else {
        ensure!(
            program.is_file(),
            "{}: is missing; install sekisho-verify beside sekisho, or run the demo with cargo",
            program.display()
        );
        return Ok(program);
    };
    println!("\n  cargo builds sekisho-verify, the client's own program");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--bin", "sekisho-verify"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if let Some(folder) = std::env::var_os("CARGO_MANIFEST_DIR") {
        build.current_dir(Path::new(&folder).join("../.."));
    }
    ensure!(
        build.status().await?.success(),
        "sekisho-verify could not be built"
    );
    ensure!(
        program.is_file(),
        "{}: is missing after the build; is CARGO_TARGET_DIR another one?",
        program.display()
    );
    Ok(program)
}

/// The client checks what it is given.
pub(super) async fn check(stage: &Stage, auditor: &Auditor) -> Result<Step> {
    // The record of the last step is published within a second.
    let mut last = (0, Value::Null);
    for _ in 0..40 {
        auditor.export(stage).await?;
        last = auditor.check().await?;
        if last.0 == 0 && last.1["checked"]["records"]["exposures"].as_u64() > Some(0) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    let (status, found) = last;
    let checked = &found["checked"];
    let exposures = checked["records"]["exposures"].as_u64().unwrap_or_default();
    Ok(Step {
        tried: "client 4 runs sekisho-verify on its log, with its key file alone".to_owned(),
        came_out: if status == 0 {
            "verified: nothing is wrong".to_owned()
        } else {
            format!("exit status {status}: {}", found["problems"])
        },
        recorded: format!(
            "{} entries, {exposures} exposures of {} rows, proved in {} leaves of the root log",
            checked["entries"], checked["records"]["rows"], checked["root_leaves"]
        ),
        ok: status == 0 && exposures > 0,
    })
}

/// The administrator alters one record, drops one, and restores yesterday's files.
pub(super) async fn rewrite(stage: &Stage, auditor: &Auditor) -> Result<Step> {
    let (copy, yesterday) = (auditor.copy(), auditor.folder.join("yesterday"));
    copy_folder(&copy, &yesterday)?;
    let driver = stage.connect("sato", super::stage::DATABASE).await?;
    driver
        .simple_query("SELECT name FROM customers WHERE client_id = 4 ORDER BY id LIMIT 1")
        .await?;
    let before = auditor.check().await?.1["checked"]["entries"].as_u64();
    for _ in 0..40 {
        auditor.export(stage).await?;
        let (status, found) = auditor.check().await?;
        if status == 0 && found["checked"]["entries"].as_u64() > before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    let today = auditor.folder.join("today");
    copy_folder(&copy, &today)?;
    let mut found = Vec::new();
    for what in ["altered", "dropped", "restored"] {
        std::fs::remove_dir_all(&copy)?;
        match what {
            "restored" => copy_folder(&yesterday, &copy)?,
            _ => {
                copy_folder(&today, &copy)?;
                change_records(&copy, what == "dropped")?;
            }
        }
        found.push((what, auditor.wrong().await?));
    }
    std::fs::remove_dir_all(&copy)?;
    copy_folder(&today, &copy)?;
    let after = auditor.wrong().await?;
    let named: Vec<String> = found
        .iter()
        .map(|(what, says)| format!("{what}: {says}"))
        .collect();
    Ok(Step {
        tried: "one record is altered, one dropped, yesterday's files restored".to_owned(),
        came_out: named.join("\n                    "),
        recorded: "the true files verify again".to_owned(),
        ok: after.is_empty() && found.iter().all(|(_, says)| !says.is_empty()),
    })
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Changes a byte of the newest record in the newest bundle, or leaves it out.
fn change_records(copy: &Path, drop: bool) -> Result<()> {
    let path = newest_bundle(&copy.join("client").join(CLIENT).join("tile/entries"))?;
    let bytes = std::fs::read(&path)?;
    let mut entries: Vec<Vec<u8>> = tlog::bundle::entries(&bytes)
        .map(|entry| entry.map(<[u8]>::to_vec))
        .collect::<Result<_, _>>()?;
    if drop {
        entries.pop();
    } else {
        let record = entries.last_mut().context("the log is empty")?;
        let byte = record.last_mut().context("a record has bytes")?;
        *byte ^= 1;
    }
    let mut changed = Vec::new();
    for entry in entries {
        tlog::bundle::append(&mut changed, &entry)?;
    }
    std::fs::write(&path, changed).with_context(|| path.display().to_string())
}

/// The widest of the partial bundles.
fn newest_bundle(folder: &Path) -> Result<PathBuf> {
    let mut widest: Option<(u64, u32, PathBuf)> = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some(number) = name.strip_suffix(".p").and_then(|n| n.parse().ok()) else {
            continue;
        };
        for partial in std::fs::read_dir(&path)? {
            let partial = partial?.path();
            let width = partial
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let width = width.unwrap_or_default();
            if widest
                .as_ref()
                .is_none_or(|(n, w, _)| (number, width) > (*n, *w))
            {
                widest = Some((number, width, partial));
            }
        }
    }
    let (_, _, path) = widest.context("there is no partial bundle")?;
    Ok(path)
}
