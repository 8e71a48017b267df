//! Our own programs for the guest: built with the C library linked in, so that nothing else has
//! to be there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tools;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds a program of the workspace, statically linked, and gives its file.
pub(crate) fn build(package: &str, program: &str, profile: &str) -> Result<PathBuf> {
    let target_folder = folder()?;
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--package", package])
        .args(["--bin", program, "--profile", profile, "--target", TARGET])
        .env("CARGO_TARGET_DIR", &target_folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo build of {program} ended with {status}");
    }
    let file = target_folder.join(TARGET).join(profile).join(program);
    std::fs::metadata(&file).with_context(|| format!("cargo made no {}", file.display()))?;
    Ok(file)
}

/// Builds the gate's program for this machine, as the workspace's tests do: nothing is built twice.
pub(crate) fn gate() -> Result<PathBuf> {
    let target_folder = folder()?;
    let status = Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--all-targets",
        ])
        .env("CARGO_TARGET_DIR", &target_folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo build of the workspace ended with {status}");
    }
    Ok(target_folder.join("debug/sekisho"))
}

/// Builds the agent's package and gives its file.
pub(crate) fn package() -> Result<PathBuf> {
    let mut deb = Command::new("cargo");
    deb.args(["xtask", "deb"])
        .env("CARGO_TARGET_DIR", folder()?)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let printed = String::from_utf8(tools::output(&mut deb)?)?;
    let file = printed.lines().next_back().context("no package was made")?;
    Ok(PathBuf::from(file.trim()))
}

/// Compiles the guard, which the agent loads into the kernel, and gives its file.
pub(crate) fn guard(folder: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../post/bpf/guard.bpf.c");
    let object = folder.join("guard.bpf.o");
    let mut clang = tools::command("clang-14|clang");
    clang
        .args(["-O2", "-g", "-target", "bpf"])
        .args(["-I/usr/include/x86_64-linux-gnu", "-Wall", "-c"])
        .arg(source)
        .arg("-o")
        .arg(&object);
    tools::output(&mut clang)?;
    Ok(object)
}

/// Cargo's target folder: two above the folder of this program.
pub(crate) fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program")?;
    program
        .ancestors()
        .nth(2)
        .map(Path::to_owned)
        .context("this program is not in cargo's target folder")
}
