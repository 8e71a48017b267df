//! `sekisho-post`: keeps storage off this terminal, and reports every attempt.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people prints"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use post::agent::Agent;
use post::broker::{Told, hand_over};
use post::commands;
use post::config::{Config, Gate, hex, pin};
use post::enroll::{enroll, machine_name};
use post::sysfs::Sysfs;

/// Keeps storage off this terminal by kernel state, and reports every attempt.
///
/// Sticks, cards, discs, telephones, network and serial adapters are refused; keyboard, pointer,
/// headset and smart card work. It holds while the agent is stopped, killed or replaced.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = AFTER)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Set up a terminal:
  sekisho-post enroll --gate gate.example:7433 --pin <64 hexadecimal digits>
  systemctl enable --now sekisho-post
Then, at the gate: sekisho terminal approve <id that enroll printed>

What would happen?
  sekisho-post policy check new.toml   a policy, tried on what is plugged in
  sekisho-post explain 1-5.1           one device, and why
  sekisho-post status                  what the kernel and the agent say now";

#[derive(Subcommand)]
enum Command {
    /// Close the kernel, judge every device that is there, then every one that comes.
    ///
    /// Says one JSON object a line. SIGHUP reads the policy again; a broken one, or one that would
    /// lock everybody out, changes nothing and is said.
    Run {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show whether the kernel is closed, the guard is pinned, and what each device may do.
    ///
    /// Ends with status 1 if the terminal would not pass for healthy.
    Status {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Policies.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Say what becomes of a device, and why.
    Explain {
        /// Its name in sysfs (1-5.1, mmcblk0), or a file with the bytes of a `descriptors` file.
        #[arg(value_name = "DEVICE")]
        device: String,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Give this terminal a key, remember the gate, and remember what belongs to the machine.
    ///
    /// Keyboards, pointers and disks that are there now count as known from now on: look at the
    /// list that is printed, and unplug what does not belong here before.
    Enroll {
        /// The gate's listener for terminals. Without it only the machine is remembered.
        #[arg(long, value_name = "HOST:PORT", requires = "pin")]
        gate: Option<String>,
        /// SHA-256 of the gate's certificate, as `sekisho terminal` prints it.
        #[arg(long, value_name = "HEX", requires = "gate")]
        pin: Option<String>,
        /// What the terminal calls itself; the machine's name if it is not given.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Tokens that make a medium the company's.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Have a file written to the company medium that is plugged in, under a grant to carry.
    ///
    /// The gate looks into the file: what is in it is recorded, and fictitious people, too many people,
    /// or what cannot be looked into (images, PDF, passwords) refuse it. A code is shown that the
    /// grant's owner says in a session through this terminal.
    #[command(after_help = "Example:\n  sekisho-post copy --grant 12 delivery-note.csv")]
    Copy {
        /// The grant (`sekisho grant request --what carry`).
        #[arg(long, value_name = "N")]
        grant: u32,
        /// The file; on the medium it has the same name.
        file: PathBuf,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Try a policy on the devices that are plugged in; nothing is changed.
    Check {
        /// The policy.
        file: PathBuf,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make the key that signs tokens. Keep it where no agent runs; its public half goes into the
    /// policy ([storage] keys).
    Key {
        /// The file to make.
        file: PathBuf,
    },
    /// Write a token onto a medium, outside of its partitions.
    Make {
        /// The medium's name in /sys/block, such as sdb.
        #[arg(long, value_name = "NAME")]
        medium: String,
        /// The signing key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Code of the client whose data may be on it.
        #[arg(long)]
        client: String,
        /// Days until it expires.
        #[arg(long, default_value_t = 90)]
        days: u64,
    },
    /// Say whether a medium carries a token that counts.
    Check {
        /// The medium's name in /sys/block, such as sdb.
        #[arg(long, value_name = "NAME")]
        medium: String,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(clap::Args)]
struct ConfigFile {
    /// The agent's settings [default: /etc/sekisho-post/agent.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn read(&self) -> Result<Config> {
        Ok(Config::read(self.config.as_deref())?)
    }
}

fn main() -> ExitCode {
    match work(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sekisho-post: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(command: Command) -> Result<ExitCode> {
    let sysfs = Sysfs::new("/sys");
    match command {
        Command::Run { config } => {
            let config = config.read()?;
            std::fs::create_dir_all(&config.state)
                .with_context(|| format!("cannot make {}", config.state.display()))?;
            Agent::new(config, sysfs, "/dev".into())?.run()?;
        }
        Command::Status { json, config } => {
            let status = commands::status(&config.read()?, &sysfs)?;
            if json {
                println!("{:#}", status.json);
            } else {
                print!("{}", status.text);
            }
            return Ok(if status.healthy {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Policy(PolicyCommand::Check { file, config }) => {
            print!(
                "{}",
                commands::policy_check(&file, &config.read()?, &sysfs)?
            );
        }
        Command::Explain { device, config } => {
            print!(
                "{}",
                commands::explain_device(&device, &config.read()?, &sysfs)?
            );
        }
        Command::Enroll {
            gate,
            pin: digest,
            name,
            config,
        } => {
            let gate = gate
                .zip(digest)
                .map(|(address, pin)| Gate { address, pin, name });
            enrolled(&config.read()?, &sysfs, gate.as_ref())?;
        }
        Command::Token(command) => tokens(command, &sysfs)?,
        Command::Copy {
            grant,
            file,
            config,
        } => copy(&config.read()?, grant, &file)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn enrolled(config: &Config, sysfs: &Sysfs, gate: Option<&Gate>) -> Result<()> {
    if let Some(gate) = gate {
        ensure!(
            pin(&gate.pin).is_some(),
            "--pin: expected the 64 hexadecimal digits of a SHA-256 digest"
        );
        ensure!(
            gate.address.contains(':'),
            "--gate: expected HOST:PORT, not {}",
            gate.address
        );
    }
    let enrolment = enroll(config, sysfs, gate)?;
    let name = gate.and_then(|gate| gate.name.clone());
    println!("terminal   {}", name.unwrap_or_else(machine_name));
    println!("id         {}", hex(&enrolment.id));
    println!(
        "known      {} USB devices, {} disks, {} mounts",
        enrolment.enrolled.devices.len(),
        enrolment.enrolled.disks.len(),
        enrolment.enrolled.filesystems.len()
    );
    for device in &enrolment.enrolled.devices {
        println!("           {:04x}:{:04x}", device.vendor, device.product);
    }
    for (device, verdict) in &enrolment.left_out {
        println!(
            "not known  {} {}: {}",
            device.key, device.name, verdict.reason
        );
    }
    match gate {
        Some(gate) => println!(
            "next       at the gate {}: sekisho terminal approve {}",
            gate.address,
            hex(&enrolment.id)
        ),
        None => println!("next       give --gate and --pin to report to a gate"),
    }
    Ok(())
}

fn copy(config: &Config, grant: u32, file: &Path) -> Result<()> {
    let told = hand_over(&config.run, grant, file, |told| match told {
        Told::Confirm { code } => println!(
            "In a session through this terminal, as the one whose grant it is:\n\n  SET sekisho.copy = '{code}';\n\nwaiting"
        ),
        Told::Confirmed => println!("confirmed; the gate looks into it"),
        Told::Written { .. } | Told::Uncertain { .. } | Told::Refused { .. } => {}
    });
    let told = told.with_context(|| {
        format!(
            "{}: cannot be handed to the broker; does the agent run, with a gate?",
            file.display()
        )
    })?;
    match told {
        Told::Written { bytes, subjects } => {
            println!("written: {bytes} bytes with {subjects} people; it is on record");
            Ok(())
        }
        Told::Uncertain { why } => bail!(
            "{}: it may be on the medium, whole or in part, and is reported as written: {why}",
            file.display()
        ),
        Told::Refused { why } => bail!("{}: not written: {why}", file.display()),
        Told::Confirm { .. } | Told::Confirmed => bail!("the agent ended in the middle"),
    }
}

fn tokens(command: TokenCommand, sysfs: &Sysfs) -> Result<()> {
    match command {
        TokenCommand::Key { file } => {
            let public = commands::token_key(&file)?;
            println!(
                "keep {} secret; for the policy:\n\n[storage]\nkeys = [\"{public}\"]",
                file.display()
            );
        }
        TokenCommand::Make {
            medium,
            key,
            client,
            days,
        } => {
            let token = commands::token_make(&medium, &key, &client, days, sysfs)?;
            println!(
                "{medium} is a medium of client {}: token {}, {days} days",
                token.client,
                hex(&token.id)
            );
        }
        TokenCommand::Check { medium, config } => {
            let token = commands::token_check(&medium, &config.read()?, sysfs)?;
            println!(
                "{medium}: valid, client {}, token {}",
                token.client,
                hex(&token.id)
            );
        }
    }
    Ok(())
}
