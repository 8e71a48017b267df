//! Windows has no agent of ours: a terminal there is well as long as what it wrote itself is fresh and
//! agrees with the policy.
//!
//! [`compare`] holds the registry that was exported from it (docs/terminal-evidence.md) against what
//! [`Target::WindowsGpo`](crate::export::Target::WindowsGpo) compiles the policy to. [`Evidence`] keeps
//! what was last seen, [`fresh`] judges it. All of it is what a machine says about itself, imported
//! by hand or by a script: it finds a machine that was forgotten or misconfigured, not one whose
//! administrator forges its exports.
//!
//! Fuzz target: [`check`], which reads an export and compares it.

use std::collections::BTreeSet;

use crate::Digest;
use crate::export::{LISTS, compiled};
use crate::policy::Policy;
use crate::registry::{BadExport, Registry, Value};

/// Most differences that are named.
pub const DIFFERENCES_MAX: usize = 100;
/// How old evidence may be unless it is said otherwise: a day.
pub const AGE_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// How far a terminal's clock may be ahead of the gate's.
pub const AHEAD_MS_MAX: u64 = 10 * 60 * 1000;

/// Where a terminal's registry is not what the policy comes to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Difference {
    /// A value is not there.
    #[error("{key}: `{name}` is missing; it should be {expected}")]
    Missing {
        /// The key.
        key: String,
        /// The value's name.
        name: String,
        /// What it should hold.
        expected: String,
    },
    /// A value holds something else.
    #[error("{key}: `{name}` is {found}; it should be {expected}")]
    Other {
        /// The key.
        key: String,
        /// The value's name.
        name: String,
        /// What it should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// A list of devices to be prevented lacks one.
    #[error("{key}: {entry} is not on the list")]
    NotListed {
        /// The list's key.
        key: String,
        /// What lacks.
        entry: String,
    },
    /// A list of exceptions has one that the policy does not know.
    #[error("{key}: {entry} is on the list, and not in the policy")]
    Opened {
        /// The list's key.
        key: String,
        /// What is too much.
        entry: String,
    },
}

/// Where an exported registry is not what the policy comes to; none: it agrees. The first
/// [`DIFFERENCES_MAX`] are given.
#[must_use]
pub fn compare(found: &Registry, policy: &Policy) -> Vec<Difference> {
    let compiled = compiled(policy);
    let is_list = |key: &str| LISTS.iter().any(|(list, _)| list.eq_ignore_ascii_case(key));
    let mut differences = Vec::new();
    for (key, name, value) in compiled.iter().filter(|(key, ..)| !is_list(key)) {
        let (key, name, expected) = (key.to_owned(), name.to_owned(), value.shown());
        match found.get(&key, &name) {
            Some(same) if same == value => {}
            Some(other) => differences.push(Difference::Other {
                key,
                name,
                expected,
                found: other.shown(),
            }),
            // Nothing there is the same as an exception that is switched off.
            None if *value == Value::Dword(0) => {}
            None => differences.push(Difference::Missing {
                key,
                name,
                expected,
            }),
        }
    }
    for (list, opens) in LISTS {
        let (should, is) = (entries(&compiled, list), entries(found, list));
        let key = || list.to_owned();
        if opens {
            differences.extend(is.difference(&should).map(|entry| Difference::Opened {
                key: key(),
                entry: Value::Text(entry.clone()).shown(),
            }));
        } else {
            differences.extend(should.difference(&is).map(|entry| Difference::NotListed {
                key: key(),
                entry: Value::Text(entry.clone()).shown(),
            }));
        }
    }
    differences.truncate(DIFFERENCES_MAX);
    differences
}

/// The texts of a list, whose numbers do not matter, in capitals.
fn entries(registry: &Registry, key: &str) -> BTreeSet<String> {
    registry
        .of_key(key)
        .filter_map(|(_, value)| match value {
            Value::Text(text) => Some(text.to_uppercase()),
            _ => None,
        })
        .collect()
}

/// What an export says of the machine that it is from.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The machine's name in small letters, if the export holds it.
    pub computer: Option<String>,
    /// When Windows last applied group policy, ms since the Unix epoch, if the export holds it. An
    /// old export that is shown again still says its old time.
    pub applied_at_ms: Option<u64>,
}

/// `ActiveComputerName` of [MS-RRP]'s host.
const COMPUTER: &str =
    r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName";
/// Where Windows keeps when the machine's policy was last applied, as two halves of a FILETIME.
const APPLIED: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Group Policy\State\Machine\Extension-List\{00000000-0000-0000-0000-000000000000}";

/// Reads who and when from an export.
#[must_use]
pub fn origin(registry: &Registry) -> Origin {
    let half = |name: &str| registry.dword(APPLIED, name).map(u64::from);
    let applied = half("startTimeHi").zip(half("startTimeLo"));
    let name = registry.text(COMPUTER, "ComputerName").map(str::trim);
    Origin {
        computer: name.filter(|name| !name.is_empty()).map(str::to_lowercase),
        applied_at_ms: applied.and_then(|(high, low)| of_filetime(high << 32 | low)),
    }
}

/// A FILETIME (units of 100 ns since 1601) in ms since the Unix epoch.
fn of_filetime(units: u64) -> Option<u64> {
    const UNIX_EPOCH_MS: u64 = 11_644_473_600_000;
    (units / 10_000).checked_sub(UNIX_EPOCH_MS)
}

/// What an export comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Whose it is, and of when.
    pub origin: Origin,
    /// Where it disagrees.
    pub differences: Vec<Difference>,
}

/// Reads an export and compares it.
///
/// # Errors
/// [`BadExport`]: it is none.
pub fn check(export: &[u8], policy: &Policy) -> Result<Checked, BadExport> {
    let registry = Registry::read(export)?;
    Ok(Checked {
        origin: origin(&registry),
        differences: compare(&registry, policy),
    })
}

/// What was last seen of a terminal. A fold over what was imported: what is older than what is known
/// changes nothing.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Evidence {
    registry: Option<Seen>,
    events_until_ms: Option<u64>,
}

/// The newest export of a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    at_ms: u64,
    /// Of the policy that it was compared with.
    policy: Digest,
    differences: u32,
}

impl Evidence {
    /// An export was compared. `at_ms`: when policy was applied there, or without that when it was
    /// imported.
    pub fn registry(&mut self, at_ms: u64, policy: Digest, differences: u32) {
        if self
            .registry
            .as_ref()
            .is_none_or(|seen| seen.at_ms <= at_ms)
        {
            self.registry = Some(Seen {
                at_ms,
                policy,
                differences,
            });
        }
    }

    /// Events were imported, the newest of that time.
    pub fn events(&mut self, until_ms: u64) {
        self.events_until_ms = self.events_until_ms.max(Some(until_ms));
    }
}

/// How old evidence may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Of the registry and of the newest event, ms.
    pub age_ms_max: u64,
    /// How far a time may lie ahead, ms.
    pub ahead_ms_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            age_ms_max: AGE_MS_MAX,
            ahead_ms_max: AHEAD_MS_MAX,
        }
    }
}

/// A sort of evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// The exported registry.
    Registry,
    /// Event logs, device control's events or a product's log.
    Events,
}

impl std::fmt::Display for Sort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Registry => "registry",
            Self::Events => "event log",
        })
    }
}

/// What a Windows terminal lacks to be healthy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stale {
    /// Nothing was imported yet.
    #[error("no {0} was imported yet")]
    Never(Sort),
    /// What was imported is too old.
    #[error("the newest {sort} is {age_ms} ms old; at most {age_ms_max} are allowed")]
    Old {
        /// Which.
        sort: Sort,
        /// Its age.
        age_ms: u64,
        /// The bound.
        age_ms_max: u64,
    },
    /// It is of the future: a clock is wrong, or a time was made up.
    #[error("the newest {sort} is {ahead_ms} ms ahead of the gate's clock")]
    Ahead {
        /// Which.
        sort: Sort,
        /// How far.
        ahead_ms: u64,
    },
    /// The registry was compared with a policy that is no longer in force.
    #[error("the registry was compared with another policy than the one in force; import it anew")]
    OtherPolicy,
    /// The registry does not agree.
    #[error("the registry differs from the policy in {0} places")]
    Differs(u32),
}

/// Judges the evidence of a terminal: healthy, or everything that it lacks. `policy` is the digest of the
/// policy in force.
///
/// # Errors
/// What it lacks; never empty.
pub fn fresh(
    evidence: &Evidence,
    policy: &Digest,
    now_ms: u64,
    bounds: &Bounds,
) -> Result<(), Vec<Stale>> {
    let seen = evidence.registry.as_ref();
    let times = [
        (Sort::Registry, seen.map(|seen| seen.at_ms)),
        (Sort::Events, evidence.events_until_ms),
    ];
    let mut lacks: Vec<Stale> = times
        .into_iter()
        .filter_map(|(sort, at_ms)| stale(sort, at_ms, now_ms, bounds))
        .collect();
    if let Some(seen) = seen {
        if seen.policy != *policy {
            lacks.push(Stale::OtherPolicy);
        } else if seen.differences > 0 {
            lacks.push(Stale::Differs(seen.differences));
        }
    }
    if lacks.is_empty() { Ok(()) } else { Err(lacks) }
}

fn stale(sort: Sort, at_ms: Option<u64>, now_ms: u64, bounds: &Bounds) -> Option<Stale> {
    let Some(at_ms) = at_ms else {
        return Some(Stale::Never(sort));
    };
    let (age_ms, ahead_ms) = (now_ms.saturating_sub(at_ms), at_ms.saturating_sub(now_ms));
    let age_ms_max = bounds.age_ms_max;
    if age_ms > age_ms_max {
        Some(Stale::Old {
            sort,
            age_ms,
            age_ms_max,
        })
    } else if ahead_ms > bounds.ahead_ms_max {
        Some(Stale::Ahead { sort, ahead_ms })
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
