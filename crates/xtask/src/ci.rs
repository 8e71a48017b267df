//! The steps of CI.
#![allow(clippy::print_stdout)] // a command's output

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::rules;

/// Tests as their runners count them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

type Step = (&'static str, fn(&mut Count) -> Result<()>);

const STEPS: [Step; 6] = [
    ("format", |_| program("cargo", &["fmt", "--all", "--check"])),
    ("lints", |_| {
        program(
            "cargo",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        )
    }),
    ("rules", |count| {
        rules::check(&root())?;
        count.passed += 1;
        Ok(())
    }),
    ("tests", |count| {
        tests(count, "cargo", &["test", "--workspace", "--no-fail-fast"])
    }),
    ("drivers", drivers),
    // Speed is measured on an idle machine, not here.
    ("lab", |count| {
        build()?;
        let lab = std::env::current_exe()?.with_file_name("lab");
        let lab = lab.to_str().context("the folder's name is no text")?;
        tests(count, lab, &["post", "--skip", "speed"])
    }),
];

/// Real drivers, directly at PostgreSQL (which judges the tests) and through the gate.
fn drivers(count: &mut Count) -> Result<()> {
    build()?;
    let direct = tests(count, "tests/drivers/run.sh", &["direct"]);
    tests(count, "tests/drivers/run.sh", &["gate"])?;
    direct
}

/// The same targets as the tests: others would build the dependencies with other features again.
fn build() -> Result<()> {
    program("cargo", &["build", "--workspace", "--all-targets"])
}

/// Runs the steps; success if all were.
pub(crate) fn run(only: &[String]) -> ExitCode {
    let mut count = Count::default();
    let mut failed = Vec::new();
    for name in only {
        if !STEPS.iter().any(|(step, _)| step == name) {
            let names = STEPS.map(|(name, _)| name).join(", ");
            println!("there is no step `{name}`; there are {names}");
            return ExitCode::from(2);
        }
    }
    for (name, step) in STEPS {
        if !only.is_empty() && !only.iter().any(|it| it == name) {
            continue;
        }
        println!("== {name}");
        let begin = Instant::now();
        let result = step(&mut count);
        let took = begin.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("== {name}: ok, {took:.1} s"),
            Err(error) => {
                println!("== {name}: FAILED, {took:.1} s: {error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        println!("failed steps: {}", failed.join(", "));
    }
    println!(
        "{} passed, {} failed, {} skipped",
        count.passed, count.failed, count.skipped
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The workspace's folder.
fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn program(name: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(name)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        bail!("{name} {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

/// Runs a program whose lines tell of tests, shows and counts them.
fn tests(count: &mut Count, name: &str, arguments: &[&str]) -> Result<()> {
    let path = if name.contains('/') {
        root().join(name)
    } else {
        name.into()
    };
    let mut child = Command::new(path)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let output = child.stdout.take().context("no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count.add(counted(&line));
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{name} {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

/// What a line says: `test result: ok. 3 passed; 0 failed; 1 ignored; ...` of the test runner,
/// `ok NAME` and `not ok NAME` of the drivers.
fn counted(line: &str) -> Count {
    let mut count = Count::default();
    if let Some((_, numbers)) = line
        .strip_prefix("test result: ")
        .and_then(|it| it.split_once(". "))
    {
        for part in numbers.split("; ") {
            let (number, what) = part.split_once(' ').unwrap_or(("0", ""));
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => count.passed = number,
                "failed" => count.failed = number,
                "ignored" => count.skipped = number,
                _ => {}
            }
        }
    } else if line.starts_with("ok ") {
        count.passed = 1;
    } else if line.starts_with("not ok ") {
        count.failed = 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{Count, counted};

    #[test]
    fn lines_of_test_runners_are_counted() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.10s";
        assert_eq!(
            counted(line),
            Count {
                passed: 3,
                failed: 2,
                skipped: 1
            }
        );
        assert_eq!(counted("ok psycopg cancel").passed, 1);
        assert_eq!(counted("not ok psycopg cancel").failed, 1);
        assert_eq!(counted("okay"), Count::default());
    }
}
