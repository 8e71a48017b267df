//! How long the agent takes from an event of the kernel until it has said what it decided.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// A refusal has to be decided within this.
const DECIDED_MS_MAX: u32 = 5;

/// An agent that used no processor for so long is idle.
const IDLE: Duration = Duration::from_millis(50);
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Starts the agent, lets the kernel repeat the event of a device that is present, and waits for
/// the agent's line about it, which it writes when the kernel was told. What was measured is a
/// line for the host.
pub(crate) fn measure(device: &str, rounds: &str, program: &[&str]) -> Result<()> {
    let rounds: usize = rounds.parse().context("rounds")?;
    let [name, arguments @ ..] = program else {
        anyhow::bail!("no program");
    };
    let mut agent = Command::new(name)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let output = agent.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output).lines();
    let measured = rounds_of(device, rounds, agent.id(), &mut lines);
    agent.kill()?;
    agent.wait()?;
    let mut took = measured?;
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!(
        "@note|from event to decision, {rounds} events: median {:.2} ms, p90 {:.2} ms, longest {:.2} ms",
        at(50),
        at(90),
        at(100)
    );
    println!(
        "@number|a refusal is decided after its event, p99|{:.3}|ms|{DECIDED_MS_MAX}",
        at(99)
    );
    Ok(())
}

fn rounds_of(
    device: &str,
    rounds: usize,
    agent: u32,
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
) -> Result<Vec<Duration>> {
    let mut until = |words: &[&str]| -> Result<()> {
        for line in lines.by_ref() {
            let line = line?;
            if words.iter().all(|word| line.contains(word)) {
                return Ok(());
            }
        }
        anyhow::bail!("the agent ended")
    };
    until(&["\"event\":\"ready\""])?;
    let uevent = format!("/sys/bus/usb/devices/{device}/uevent");
    let key = format!("\"device\":\"{device}\"");
    let mut took = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        idle(agent)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(&uevent)
            .with_context(|| format!("cannot open {uevent}"))?;
        let begun = Instant::now();
        file.write_all(b"add")
            .with_context(|| format!("cannot write {uevent}"))?;
        until(&["\"event\":\"attached\"", &key, "\"outcome\":\"refuse\""])?;
        took.push(begun.elapsed());
    }
    ensure!(!took.is_empty(), "no rounds");
    Ok(took)
}

/// Prints the nanoseconds of a processor in which a file of the kernel is opened, read and closed: what an
/// idle agent mostly does. The same outside of the guest says how slow its processor is.
pub(crate) fn yardstick() -> Result<()> {
    const ROUNDS: u32 = 20_000;
    let used = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = |time: rustix::time::Timespec| time.tv_sec * 1_000_000_000 + time.tv_nsec;
    let begun = used();
    for _ in 0..ROUNDS {
        fs::read("/proc/self/stat")?;
    }
    println!("{}", (nanos(used()) - nanos(begun)) / i64::from(ROUNDS));
    Ok(())
}

/// Waits until the agent has done what follows a decision (reports, the guard's maps): a device
/// comes while it is idle.
fn idle(agent: u32) -> Result<()> {
    let end = Instant::now() + IDLE_MAX;
    let busy = || fs::read_to_string(format!("/proc/{agent}/schedstat"));
    let mut before = busy()?;
    while Instant::now() < end {
        std::thread::sleep(IDLE);
        let now = busy()?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
    anyhow::bail!("the agent is never idle")
}
