//! `cargo xtask fuzz`: runs each target of `fuzz/` for a while, from its committed seeds.
//!
//! What the fuzzer finds of new inputs goes to `fuzz/target/corpus`, outside the repository; an input
//! that breaks a target goes to `fuzz/artifacts`. Coverage needs flags of the nightly compiler, which
//! RUSTC_BOOTSTRAP lets the stable one take.
#![allow(clippy::print_stdout)] // a command's output

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Runs the targets; success if none broke.
pub(crate) fn run(seconds: u32, only: &[String]) -> ExitCode {
    match all(seconds, only) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("broken: {}", failed.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The targets that broke.
fn all(seconds: u32, only: &[String]) -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let targets = targets(&folder)?;
    if let Some(name) = only.iter().find(|it| !targets.contains(it)) {
        bail!(
            "there is no target `{name}`; there are {}",
            targets.join(", ")
        );
    }
    install()?;
    let mut failed = Vec::new();
    for target in targets {
        if !only.is_empty() && !only.contains(&target) {
            continue;
        }
        println!("== {target}");
        let begin = Instant::now();
        let ok = one(&folder, &target, seconds)?;
        let took = begin.elapsed().as_secs_f64();
        println!(
            "== {target}: {}, {took:.1} s",
            if ok { "ok" } else { "BROKEN" }
        );
        if !ok {
            failed.push(target);
        }
    }
    Ok(failed)
}

/// Names of the targets, ascending.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for entry in
        std::fs::read_dir(folder.join("fuzz_targets")).context("cannot list fuzz_targets")?
    {
        let path = entry?.path();
        if let (Some("rs"), Some(name)) = (
            path.extension().and_then(|it| it.to_str()),
            path.file_stem().and_then(|it| it.to_str()),
        ) {
            out.push(name.to_owned());
        }
    }
    out.sort();
    Ok(out)
}

/// cargo-fuzz, if it is missing.
fn install() -> Result<()> {
    let there = Command::new("cargo")
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    if there.success() {
        return Ok(());
    }
    println!("== installing cargo-fuzz");
    let installed = Command::new("cargo")
        .args(["install", "--locked", "cargo-fuzz"])
        .status()
        .context("cannot run cargo")?;
    if !installed.success() {
        bail!("cargo-fuzz cannot be installed; see above");
    }
    Ok(())
}

/// Whether the target bore everything.
fn one(folder: &Path, target: &str, seconds: u32) -> Result<bool> {
    let found = folder.join("target/corpus").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let seeds: PathBuf = folder.join("corpus").join(target);
    if !seeds.is_dir() {
        bail!("{} is missing: each target has seeds", seeds.display());
    }
    let status = Command::new("cargo")
        .args(["fuzz", "run", "--fuzz-dir"])
        .arg(folder)
        .arg(target)
        .args([&found, &seeds])
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .env("RUSTC_BOOTSTRAP", "1")
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run cargo fuzz run {target}"))?;
    Ok(status.success())
}
