//! Group policy of Windows: the values that RemovableStorage.admx, DeviceInstallation.admx and
//! TerminalServer.admx set, as a text for `reg import` and as `Registry.pol`.
//!
//! Published by Microsoft: the policy CSPs ADMX_RemovableStorage, DeviceInstallation and
//! ADMX_TerminalServer name each key and value; "Standard USB Identifiers" the compatible IDs. Classes
//! that USB assigned are prevented by compatible ID, so that what was installed before is prevented, too.

use super::classes::{DATA, Pattern, allowed, patterns};
use super::feature::{Said, What};
use super::{File, HEADER, digest_line};
use crate::kind::Kind;
use crate::policy::{Company, GuardRule, Model, Optical, Policy, Rule};
use crate::registry::{Registry, Value};

const STORAGE: &str =
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\RemovableStorageDevices";
const INSTALL: &str =
    r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions";
const DENY: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions\DenyDeviceIDs";
const ALLOW: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions\AllowDeviceIDs";
const ALLOW_INSTANCES: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions\AllowInstanceIDs";
const REMOTE: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services";

/// Keys whose values are lists: which of them there are counts, not under which numbers. What is on a
/// list of exceptions and not in the policy opens something.
pub(crate) const LISTS: [(&str, bool); 3] = [(DENY, false), (ALLOW, true), (ALLOW_INSTANCES, true)];

/// Classes of removable storage whose three kinds of access are denied.
const DENIED: [&str; 5] = [
    "{53f5630d-b6bf-11d0-94f2-00a0c91efb8b}", // removable disks
    "{53f56311-b6bf-11d0-94f2-00a0c91efb8b}", // floppy disks
    "{53f5630b-b6bf-11d0-94f2-00a0c91efb8b}", // tapes
    "{6AC27878-A6FA-4155-BA85-F98F491D4F33}", // portable devices
    "{F33FDC04-D1AC-4E8E-9A30-19BBD4B108AE}", // portable devices, the other interface
];
const DISCS: &str = "{53f56308-b6bf-11d0-94f2-00a0c91efb8b}";

/// Compatible IDs that Microsoft's own descriptors give beside the class.
const NAMED: [(Kind, &[&str]); 2] = [
    (Kind::Phone, &[r"USB\MS_COMP_MTP"]),
    (Kind::Network, &[r"USB\MS_COMP_RNDIS"]),
];

/// What a policy comes to in the registry of a terminal.
pub(crate) fn compiled(policy: &Policy) -> Registry {
    let mut registry = Registry::default();
    let mut set = |key: &str, name: &str, on: bool| {
        registry.set(key, name, Value::Dword(on.into()));
    };
    set(STORAGE, "Deny_All", policy.optical == Optical::Refuse);
    for class in DENIED {
        for access in ["Deny_Read", "Deny_Write", "Deny_Execute"] {
            set(&format!(r"{STORAGE}\{class}"), access, true);
        }
    }
    let discs = format!(r"{STORAGE}\{DISCS}");
    set(&discs, "Deny_Read", policy.optical == Optical::Refuse);
    set(&discs, "Deny_Write", true);
    set(&discs, "Deny_Execute", true);
    // Drives and devices of whoever works on it from afar.
    set(REMOTE, "fDisableCdm", true);
    set(REMOTE, "fDisablePNPRedir", true);
    set(INSTALL, "AllowDenyLayered", true);
    set(INSTALL, "DenyDeviceIDs", true);
    set(INSTALL, "DenyDeviceIDsRetroactive", true);
    let allow = allowed_ids(policy);
    set(INSTALL, "AllowDeviceIDs", !allow.is_empty());
    for (key, ids) in [(DENY, denied_ids(policy)), (ALLOW, allow)] {
        for (number, id) in (1..).zip(ids) {
            registry.set(key, &format!("{number}"), Value::Text(id));
        }
    }
    registry
}

/// Compatible IDs that are prevented: each pattern of a kind that is refused.
pub(super) fn denied_ids(policy: &Policy) -> Vec<String> {
    let mut ids: Vec<String> = refused(policy).into_iter().map(compatible).collect();
    for (kind, named) in NAMED {
        if policy.rule(kind) == Rule::Refuse {
            ids.extend(named.iter().map(|id| (*id).to_owned()));
        }
    }
    ids
}

fn refused(policy: &Policy) -> Vec<Pattern> {
    let kinds = Kind::ALL
        .iter()
        .filter(|kind| policy.rule(**kind) == Rule::Refuse);
    let mut all: Vec<Pattern> = kinds.flat_map(|kind| patterns(*kind)).copied().collect();
    if !allowed(policy).contains(&DATA) {
        all.push(DATA);
    }
    all.sort_unstable();
    all
}

/// Hardware IDs that are allowed: models that nothing prevents.
pub(super) fn allowed_ids(policy: &Policy) -> Vec<String> {
    let models = policy.allow.iter();
    let mut ids: Vec<String> = models
        .filter(|model| !is_prevented(policy, model))
        .map(|model| format!(r"USB\VID_{:04X}&PID_{:04X}", model.vendor, model.product))
        .collect();
    ids.dedup();
    ids
}

/// Whether an interface of a model has a compatible ID that is prevented.
fn is_prevented(policy: &Policy, model: &Model) -> bool {
    let refused = refused(policy);
    model.interfaces.iter().any(|[class, subclass, protocol]| {
        refused.iter().any(|(c, s, p)| {
            c == class && s.is_none_or(|s| s == *subclass) && p.is_none_or(|p| p == *protocol)
        })
    })
}

/// `USB\Class_02&SubClass_02&Prot_FF`.
fn compatible((class, subclass, protocol): Pattern) -> String {
    let mut id = format!(r"USB\Class_{class:02X}");
    if let Some(subclass) = subclass {
        id.push_str(&format!("&SubClass_{subclass:02X}"));
    }
    if let Some(protocol) = protocol {
        id.push_str(&format!("&Prot_{protocol:02X}"));
    }
    id
}

pub(super) fn files(policy: &Policy) -> Vec<File> {
    let registry = compiled(policy);
    let digest = digest_line(policy);
    let lists = LISTS.map(|(key, _)| key);
    vec![
        File {
            name: "sekisho.reg",
            bytes: registry.to_reg(&[HEADER, &digest]),
        },
        File {
            name: "Registry.pol",
            bytes: registry.to_pol(&lists),
        },
    ]
}

pub(super) fn say(policy: &Policy, what: &What<'_>) -> Said {
    match what {
        What::Kind(Kind::Keyboard | Kind::Pointer, Rule::Confirm) => {
            Said::not("Windows asks nobody: they are allowed")
        }
        What::Kind(Kind::Storage, _) => Said::partly(
            "a disk that Windows does not take for removable is prevented by USB's class alone",
        ),
        What::Kind(Kind::Phone, _) => Said::partly(
            "a telephone that speaks by its vendor's own class is prevented as `vendor`, not as a telephone",
        ),
        What::Kind(..) => Said::Wholly,
        What::Unknown => Said::partly(
            "classes that USB assigned are prevented; of others, Windows has no driver of its own",
        ),
        What::Interfaces => Said::partly(
            "each interface of a composite device is installed for itself, but none of them by its report descriptor",
        ),
        What::Buses => Said::partly(
            "removable ones are denied, drives redirected from afar too; NVMe and SATA that are plugged in are not",
        ),
        What::Identity => Said::not("Windows judges a device that comes back as another one anew"),
        What::Company(Company::Refuse) => Said::Wholly,
        What::Company(Company::ReadOnly | Company::Broker) => {
            Said::not("Windows reads no token: company media are denied like any other")
        }
        What::Keys([]) => Said::Wholly,
        What::Keys(_) => Said::not("Windows reads no token"),
        What::Optical(_) => Said::Wholly,
        What::Model(model) if is_prevented(policy, model) => Said::not(
            "Windows prevents by device ID before it allows by device ID, and the class is refused: \
             allow the instance by hand in `Allow installation of devices that match any of these device instance IDs`",
        ),
        What::Model(_) => Said::partly("Windows allows the numbers whatever the interfaces"),
        What::Guard(GuardRule::Required | GuardRule::Wanted) => {
            Said::not("there is no guard on Windows; evidence takes its place")
        }
        What::Heartbeat(_) | What::Queue(_) => {
            Said::not("there is no agent on Windows: evidence is imported")
        }
    }
}
