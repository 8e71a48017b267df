//! Terminals as a fold: which there are, what they reported last, and which are healthy.
//!
//! Invariants: a terminal is one by a change in force (two approvers), never by asking; reports are taken
//! in their order, each once, each linked to the one before; nobody is healthy that has not said so
//! since this ledger was started; a terminal's `epoch` moves whenever a decision that was made for one
//! of its sessions might be another now.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::record::{Body, Change};
use event::{Digest, LogId, System};

use crate::list::sha256;
use crate::snapshot::bytes::{Put, Take};
use crate::state::{FoldError, Meta, State};

/// Machines that may ask to be terminals and wait for an answer.
pub const WAITING_MAX: usize = 256;
/// Longest name of a terminal, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest report, in bytes.
pub const REPORT_BYTES_MAX: usize = 4096;
/// Phrases about what lacks, and bytes of one.
const LACKS_MAX: usize = 32;
const LACK_BYTES_MAX: usize = 200;

/// Whether a machine is a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It asked.
    Waiting,
    /// It is one.
    Approved,
    /// It was one.
    Retired,
}

/// A terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terminal {
    /// Its name.
    pub name: String,
    /// Its system.
    pub system: System,
    /// Sessions from this address are its own, of one without an agent; else empty.
    pub address: String,
    /// Whether it is one.
    pub standing: Standing,
    /// Whether everything that has to be proven is.
    pub healthy: bool,
    /// What lacks.
    pub lacks: Vec<String>,
    /// Moves with what decides about its sessions.
    pub epoch: u64,
    /// Its newest report; 0: none yet.
    pub reported: u64,
    /// SHA-256 of that report; zeros: none yet.
    pub head: Digest,
    /// When it asked, or said something last, ms since the Unix epoch.
    pub said_ms: u64,
    /// What is known of the settings of one without an agent.
    pub settings: Option<Settings>,
    /// The newest event of its logs, ms since the Unix epoch.
    pub events_until_ms: Option<u64>,
}

/// The settings of a terminal without an agent, as they were compared with a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// When they were applied there, ms since the Unix epoch.
    pub at_ms: u64,
    /// SHA-256 of that policy.
    pub policy: Digest,
    /// Places in which they differ.
    pub differences: u32,
}

/// All terminals, and what they let in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terminals {
    /// By SHA-256 of the public key, or of the name where there is no agent.
    pub all: BTreeMap<Digest, Terminal>,
    /// The policy in force: its SHA-256 and its text.
    pub policy: Option<(Digest, Arc<String>)>,
}

impl Terminals {
    /// The terminal without an agent whose sessions come from this address.
    pub fn at_address(&self, address: &str) -> Option<Digest> {
        let is_it = |terminal: &Terminal| {
            terminal.standing == Standing::Approved && terminal.address == address
        };
        let mut all = self.all.iter();
        all.find(|(_, it)| !address.is_empty() && is_it(it))
            .map(|(terminal, _)| *terminal)
    }

    /// What decisions for a terminal's sessions rest on; `None`: it is no terminal.
    pub fn epoch(&self, terminal: &Digest) -> Option<u64> {
        self.all.get(terminal).map(|it| it.epoch)
    }

    /// Whether a terminal is approved and healthy.
    pub fn is_healthy(&self, terminal: &Digest) -> bool {
        let known = self.all.get(terminal);
        known.is_some_and(|it| it.standing == Standing::Approved && it.healthy)
    }

    /// Nobody has said anything yet since the start.
    pub(crate) fn forget_health(&mut self) {
        for terminal in self.all.values_mut().filter(|it| it.healthy) {
            terminal.healthy = false;
            terminal.epoch += 1;
            terminal.lacks = vec!["no report since the start".to_owned()];
        }
    }

    fn known(&mut self, terminal: &Digest) -> Result<&mut Terminal, FoldError> {
        let known = self.all.get_mut(terminal);
        known.ok_or_else(|| "this terminal never asked to be one".to_owned())
    }

    fn asked(
        &mut self,
        of: Digest,
        name: &str,
        system: System,
        at_ms: u64,
    ) -> Result<(), FoldError> {
        let waiting = |it: &&Terminal| it.standing == Standing::Waiting;
        let full = self.all.values().filter(waiting).count() >= WAITING_MAX;
        match self.all.get_mut(&of) {
            Some(known) if known.standing != Standing::Waiting => {
                return Err("this terminal is known already".into());
            }
            Some(known) => {
                known.name = name.to_owned();
                known.said_ms = at_ms;
            }
            None if full => return Err(format!("{WAITING_MAX} terminals wait for an answer")),
            None => {
                self.all.insert(of, fresh(name, system, at_ms));
            }
        }
        Ok(())
    }

    fn reported(
        &mut self,
        of: &Digest,
        (since, sequence): (u64, u64),
        report: &[u8],
        at_ms: u64,
    ) -> Result<(), FoldError> {
        let known = self.known(of)?;
        if known.standing != Standing::Approved {
            return Err("only reports of approved terminals are taken".into());
        }
        if since != known.reported + 1 || sequence < since {
            return Err(format!(
                "report {} of this terminal is due",
                known.reported + 1
            ));
        }
        known.reported = sequence;
        known.head = sha256(report);
        known.said_ms = at_ms;
        Ok(())
    }

    fn health(&mut self, of: &Digest, healthy: bool, lacks: &[String]) -> Result<(), FoldError> {
        let known = self.known(of)?;
        if healthy && (known.standing != Standing::Approved || !lacks.is_empty()) {
            return Err("only an approved terminal that lacks nothing is healthy".into());
        }
        known.epoch += u64::from(known.healthy != healthy);
        known.healthy = healthy;
        known.lacks = lacks.to_vec();
        Ok(())
    }

    fn evidence(
        &mut self,
        of: &Digest,
        settings: Option<Settings>,
        events_until_ms: Option<u64>,
        at_ms: u64,
    ) -> Result<(), FoldError> {
        let known = self.known(of)?;
        if known.standing != Standing::Approved || known.system == System::Linux {
            return Err("evidence is taken of approved terminals without an agent".into());
        }
        // What is older than what is known changes nothing.
        if let Some(mut new) = settings
            && known.settings.is_none_or(|it| it.at_ms <= new.at_ms)
        {
            // Of one moment there is one truth, and it is the worse one.
            if let Some(it) = known.settings
                && (it.at_ms, it.policy) == (new.at_ms, new.policy)
            {
                new.differences = new.differences.max(it.differences);
            }
            known.settings = Some(new);
        }
        known.events_until_ms = known.events_until_ms.max(events_until_ms);
        known.said_ms = at_ms;
        Ok(())
    }

    fn set(&mut self, of: Digest, set: Terminal) {
        let before = self.all.get(&of);
        // Whoever was no terminal before begins a history of reports.
        let goes_on = before.filter(|it| it.standing == Standing::Approved);
        let kept = Terminal {
            epoch: before.map_or(0, |it| it.epoch) + 1,
            reported: goes_on.map_or(0, |it| it.reported),
            head: goes_on.map_or(Digest([0; 32]), |it| it.head),
            ..set
        };
        self.all.insert(of, kept);
    }
}

fn fresh(name: &str, system: System, at_ms: u64) -> Terminal {
    Terminal {
        name: name.to_owned(),
        system,
        address: String::new(),
        standing: Standing::Waiting,
        healthy: false,
        lacks: Vec::new(),
        epoch: 0,
        reported: 0,
        head: Digest([0; 32]),
        said_ms: at_ms,
        settings: None,
        events_until_ms: None,
    }
}

/// Whether a text is a terminal's name: what fits a line of a table.
fn is_name(name: &str) -> bool {
    let fits = |c: char| !c.is_control() && !c.is_whitespace();
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits)
}

impl State {
    /// Folds a record of a terminal.
    pub(crate) fn apply_terminal(&mut self, meta: &Meta, body: &Body) -> Result<(), FoldError> {
        if meta.log != LogId::Centre {
            return Err("terminals speak in the centre's log".into());
        }
        let terminals = Arc::make_mut(&mut self.terminals);
        match body {
            Body::TerminalAsked {
                terminal,
                name,
                system,
            } => {
                if !is_name(name) {
                    return Err(format!(
                        "a terminal's name has 1 to {NAME_BYTES_MAX} bytes without spaces"
                    ));
                }
                terminals.asked(*terminal, name, *system, meta.wall_ms)
            }
            Body::TerminalReport {
                terminal,
                since,
                sequence,
                report,
            } => {
                if report.0.len() > REPORT_BYTES_MAX {
                    return Err(format!("a report has at most {REPORT_BYTES_MAX} bytes"));
                }
                terminals.reported(terminal, (*since, *sequence), &report.0, meta.wall_ms)
            }
            Body::TerminalEvidence {
                terminal,
                settings_at_ms,
                policy,
                differences,
                events_until_ms,
                ..
            } => {
                let settings = settings_at_ms.map(|at_ms| Settings {
                    at_ms,
                    policy: *policy,
                    differences: *differences,
                });
                terminals.evidence(terminal, settings, *events_until_ms, meta.wall_ms)
            }
            Body::TerminalHealth {
                terminal,
                healthy,
                lacks,
            } => {
                if lacks.len() > LACKS_MAX || lacks.iter().any(|it| it.len() > LACK_BYTES_MAX) {
                    return Err(format!("at most {LACKS_MAX} phrases say what lacks"));
                }
                terminals.health(terminal, *healthy, lacks)
            }
            _ => Ok(()),
        }
    }

    /// Puts a checked change of terminals in force.
    pub(crate) fn enact_terminal(&mut self, what: &Change) {
        let said_ms = self.times.wall_ms;
        let terminals = Arc::make_mut(&mut self.terminals);
        match what {
            Change::Terminal {
                terminal,
                name,
                system,
                address,
                active,
            } => {
                let (standing, lack) = match active {
                    true => (Standing::Approved, "no report yet"),
                    false => (Standing::Retired, "retired"),
                };
                let set = Terminal {
                    address: address.clone(),
                    standing,
                    lacks: vec![lack.to_owned()],
                    ..fresh(name, *system, said_ms)
                };
                terminals.set(*terminal, set);
            }
            Change::TerminalPolicy { toml } => {
                terminals.policy = Some((sha256(toml.as_bytes()), Arc::new(toml.clone())));
            }
            _ => {}
        }
    }
}

/// Whether a change gives a machine more.
pub(crate) fn loosens(terminals: &Terminals, what: &Change) -> bool {
    match what {
        Change::Terminal { active: false, .. } => false,
        Change::Terminal {
            terminal,
            name,
            system,
            address,
            ..
        } => terminals.all.get(terminal).is_none_or(|it| {
            it.standing != Standing::Approved
                || (&it.name, it.system, &it.address) != (name, *system, address)
        }),
        _ => true,
    }
}

/// Whether a change of terminals makes sense.
///
/// # Errors
/// What is wrong with it, in words for its proposer.
pub(crate) fn check(terminals: &Terminals, what: &Change) -> Result<(), String> {
    match what {
        Change::Terminal {
            terminal,
            name,
            system,
            address,
            active,
        } => {
            if !is_name(name) {
                return Err(format!(
                    "a terminal's name has 1 to {NAME_BYTES_MAX} bytes without spaces"
                ));
            }
            let known = terminals.all.get(terminal);
            if *system == System::Linux && known.is_none() {
                return Err("this terminal never asked: run `sekisho-post enroll` there".into());
            }
            if *system == System::Linux && !address.is_empty() {
                return Err(
                    "a terminal with an agent is known by its key, not by an address".into(),
                );
            }
            if !active && known.is_none_or(|it| it.standing == Standing::Retired) {
                return Err("this terminal is none".into());
            }
            let other = |(of, it): (&Digest, &Terminal)| {
                of != terminal && it.standing == Standing::Approved && it.name == *name
            };
            if *active && terminals.all.iter().any(other) {
                return Err(format!("another terminal is called {name}"));
            }
            let taken = terminals.at_address(address);
            if *active && taken.is_some_and(|it| it != *terminal) {
                return Err(format!("another terminal has the address {address}"));
            }
            Ok(())
        }
        Change::TerminalPolicy { toml } => {
            let digest = sha256(toml.as_bytes());
            if terminals
                .policy
                .as_ref()
                .is_some_and(|(it, _)| *it == digest)
            {
                return Err("this policy of terminals is in force".into());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

pub(crate) fn put(out: &mut Vec<u8>, terminals: &Terminals) {
    let Terminals { all, policy } = terminals;
    out.option(policy.as_ref(), |out, (_, text)| out.bytes(text.as_bytes()));
    out.count(all.len());
    for (of, terminal) in all {
        let Terminal {
            name,
            system,
            address,
            standing,
            healthy,
            lacks,
            epoch,
            reported,
            head,
            said_ms,
            settings,
            events_until_ms,
        } = terminal;
        out.extend_from_slice(&of.0);
        out.bytes(name.as_bytes());
        out.u8(*system as u8);
        out.bytes(address.as_bytes());
        out.u8(*standing as u8);
        out.bool(*healthy);
        out.count(lacks.len());
        lacks.iter().for_each(|lack| out.bytes(lack.as_bytes()));
        out.u64(*epoch);
        out.u64(*reported);
        out.extend_from_slice(&head.0);
        out.u64(*said_ms);
        out.option(*settings, |out, settings| {
            out.u64(settings.at_ms);
            out.extend_from_slice(&settings.policy.0);
            out.u32(settings.differences);
        });
        out.option(*events_until_ms, |out, until_ms| out.u64(until_ms));
    }
}

pub(crate) fn take(from: &mut Take<'_>) -> Option<Terminals> {
    let policy = from.option(Take::text)?;
    let all = from.list(|from| Some((Digest(from.array()?), take_terminal(from)?)))?;
    Some(Terminals {
        all: all.into_iter().collect(),
        policy: policy.map(|text| (sha256(text.as_bytes()), Arc::new(text))),
    })
}

fn take_terminal(from: &mut Take<'_>) -> Option<Terminal> {
    Some(Terminal {
        name: from.text()?,
        system: System::from_code(from.u8()?)?,
        address: from.text()?,
        standing: match from.u8()? {
            0 => Standing::Waiting,
            1 => Standing::Approved,
            2 => Standing::Retired,
            _ => return None,
        },
        healthy: from.bool()?,
        lacks: from.list(Take::text)?,
        epoch: from.u64()?,
        reported: from.u64()?,
        head: Digest(from.array()?),
        said_ms: from.u64()?,
        settings: from.option(|from| {
            Some(Settings {
                at_ms: from.u64()?,
                policy: Digest(from.array()?),
                differences: from.u32()?,
            })
        })?,
        events_until_ms: from.option(Take::u64)?,
    })
}
