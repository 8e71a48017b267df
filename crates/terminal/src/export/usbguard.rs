//! USBGuard: `rules.conf` (usbguard-rules.conf(5)) and the daemon's settings (usbguard-daemon.conf(5)).
//!
//! It decides on whole devices, by numbers and interfaces; the first rule that matches counts. Needs
//! USBGuard 1.0 for `match-all`. The test `usbguard` runs its parser and its daemon on these files.

use std::fmt::Write as _;

use super::classes::{Pattern, allowed, patterns};
use super::feature::{Said, What};
use super::{File, HEADER, digest_line};
use crate::kind::Kind;
use crate::policy::{Company, GuardRule, Model, Optical, Policy, Rule};

/// The daemon's settings that the rules rely on.
const DAEMON: &str = "\
RuleFile=/etc/usbguard/rules.conf
ImplicitPolicyTarget=block
PresentDevicePolicy=apply-policy
PresentControllerPolicy=keep
InsertedDevicePolicy=apply-policy
AuthorizedDefault=none
RestoreControllerDeviceState=false
DeviceManagerBackend=uevent
IPCAllowedUsers=root
DeviceRulesWithPort=false
AuditBackend=FileAudit
AuditFilePath=/var/log/usbguard/usbguard-audit.log
HidePII=true
";

pub(super) fn files(policy: &Policy) -> Vec<File> {
    let daemon = format!("# {HEADER}\n# {}\n{DAEMON}", digest_line(policy));
    vec![
        File::text("rules.conf", rules(policy)),
        File::text("usbguard-daemon.conf", daemon),
    ]
}

fn rules(policy: &Policy) -> String {
    let mut text = format!("# {HEADER}\n# {}\n", digest_line(policy));
    let mut rule = |rule: String| writeln!(text, "{rule}").expect("a string takes it");
    for model in &policy.allow {
        rule(model_rule(model));
    }
    let mut may = allowed(policy);
    let mut asked = Vec::new();
    for kind in [Kind::Pointer, Kind::Keyboard] {
        match policy.rule(kind) {
            Rule::Allow => may.extend(patterns(kind)),
            Rule::Confirm => asked.push(kind),
            Rule::Refuse => {}
        }
    }
    if !may.is_empty() {
        rule(format!(
            "allow with-interface match-all {{ {} }}",
            set(&may)
        ));
    }
    // Nobody is asked: what is part of the machine, and the first one, so that somebody can work.
    for kind in asked {
        may.extend(patterns(kind));
        let (may, own) = (set(&may), set(patterns(kind)));
        rule(format!(
            "allow with-interface match-all {{ {may} }} with-connect-type \"hardwired\""
        ));
        rule(format!(
            "allow with-interface match-all {{ {may} }} if !allowed-matches(with-interface one-of {{ {own} }})"
        ));
    }
    rule("block".to_owned());
    text
}

fn model_rule(model: &Model) -> String {
    let interfaces: Vec<Pattern> = model
        .interfaces
        .iter()
        .map(|[class, subclass, protocol]| (*class, Some(*subclass), Some(*protocol)))
        .collect();
    format!(
        "allow id {:04x}:{:04x} with-interface match-all {{ {} }}",
        model.vendor,
        model.product,
        set(&interfaces)
    )
}

fn set(patterns: &[Pattern]) -> String {
    let shown: Vec<_> = patterns.iter().map(|it| pattern(*it)).collect();
    shown.join(" ")
}

/// `03:01:02`, `03:00:*`, `09:*:*`.
fn pattern((class, subclass, protocol): Pattern) -> String {
    let part = |it: Option<u8>| it.map_or("*".to_owned(), |it| format!("{it:02x}"));
    format!("{class:02x}:{}:{}", part(subclass), part(protocol))
}

pub(super) fn say(_: &Policy, what: &What<'_>) -> Said {
    match what {
        What::Kind(Kind::Keyboard, Rule::Confirm) => Said::partly(
            "USBGuard asks nobody: built-in keyboards and the first other one are allowed, any more are blocked",
        ),
        What::Kind(Kind::Pointer, Rule::Confirm) => Said::partly(
            "USBGuard asks nobody: built-in pointers and the first other one are allowed, any more are blocked",
        ),
        What::Kind(Kind::Pointer, Rule::Allow) => Said::partly(
            "USBGuard does not see what HID sends: a pointer without the boot protocol of a mouse counts as a keyboard",
        ),
        What::Kind(Kind::Headset, Rule::Allow) => Said::partly(
            "USBGuard does not see what HID sends: a headset with buttons counts as a keyboard; name its model in [[allow]]",
        ),
        What::Kind(..) | What::Unknown => Said::Wholly,
        What::Interfaces => Said::not(
            "USBGuard decides on whole devices: one interface that is refused blocks all of them",
        ),
        What::Buses => {
            Said::not("USBGuard knows USB alone: cards, NVMe and other drives stay open")
        }
        What::Identity => {
            Said::not("USBGuard remembers no device: one that comes back as another is judged anew")
        }
        What::Company(Company::Refuse) => Said::Wholly,
        What::Company(Company::ReadOnly | Company::Broker) => Said::not(
            "USBGuard reads no token and has no read-only: company media are blocked like any other",
        ),
        What::Keys([]) => Said::Wholly,
        What::Keys(_) => Said::not("USBGuard reads no token"),
        What::Optical(Optical::Refuse) => {
            Said::partly("USB drives are blocked; a drive of another bus stays open")
        }
        What::Optical(Optical::ReadOnly) => Said::not(
            "USBGuard has no read-only: USB drives are blocked, a drive of another bus stays open for writing",
        ),
        What::Model(_) => Said::partly("fewer interfaces than named pass, too"),
        What::Guard(GuardRule::Required | GuardRule::Wanted) => {
            Said::not("USBGuard does not guard what is mounted by other ways")
        }
        What::Heartbeat(_) | What::Queue(_) => {
            Said::not("USBGuard reports to no gate; only sekisho-post does")
        }
    }
}
