//! Device control of Microsoft Defender for Endpoint: groups, rules, and the registry values that put
//! them in force.
//!
//! Published by Microsoft: "Device control policies in Microsoft Defender for Endpoint" (groups, rules,
//! entries, access masks), WindowsDefender.admx and the samples of github.com/microsoft/mdatp-devicecontrol.
//! It knows removable media, discs, portable devices and printers; everything else is another target's.

use super::feature::{Said, What};
use super::{File, HEADER, digest_line, uuid, xml};
use crate::kind::Kind;
use crate::policy::{Company, Model, Optical, Policy, Rule};
use crate::registry::{Registry, Value};

/// Bits of an access mask.
const READ: u32 = 1 | 8;
const WRITE: u32 = 2 | 16;
const EXECUTE: u32 = 4 | 32;
const PRINT: u32 = 64;
const ALL: u32 = READ | WRITE | EXECUTE;
/// `Options` of an `AuditDenied` entry: show it to whoever works there, and send an event.
const SHOW_AND_SEND: u32 = 3;
/// `DefaultEnforcement`.
const DENY_BY_DEFAULT: u32 = 2;

const DEFENDER: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows Defender";

/// A group of devices.
pub(super) struct Group {
    pub(super) name: &'static str,
    any: bool,
    /// Properties and their values.
    properties: Vec<(&'static str, String)>,
}

/// A rule: what may be done with devices of one group that are not in another.
pub(super) struct PolicyRule {
    pub(super) name: &'static str,
    included: &'static str,
    excluded: Option<&'static str>,
    allow: u32,
    deny: u32,
}

const MEDIA: &str = "Removable media and portable devices";
const DISCS: &str = "Optical discs";
const PRINTERS: &str = "Printers";
const USB_PRINTERS: &str = "USB printers";
const NAMED_PRINTERS: &str = "Allowed USB printers";

fn is_printer(model: &Model) -> bool {
    model.interfaces.iter().any(|[class, ..]| *class == 0x07)
}

fn refuses_printers(policy: &Policy) -> bool {
    policy.rule(Kind::Printer) == Rule::Refuse
}

pub(super) fn groups(policy: &Policy) -> Vec<Group> {
    let of = |name, any, properties: &[(&'static str, &str)]| Group {
        name,
        any,
        properties: properties
            .iter()
            .map(|(property, value)| (*property, (*value).to_owned()))
            .collect(),
    };
    let mut groups = vec![
        of(
            MEDIA,
            true,
            &[
                ("PrimaryId", "RemovableMediaDevices"),
                ("PrimaryId", "WpdDevices"),
            ],
        ),
        of(DISCS, true, &[("PrimaryId", "CdRomDevices")]),
    ];
    if refuses_printers(policy) {
        groups.push(of(PRINTERS, true, &[("PrimaryId", "PrinterDevices")]));
        groups.push(of(
            USB_PRINTERS,
            false,
            &[
                ("PrimaryId", "PrinterDevices"),
                ("PrinterConnectionId", "USB"),
            ],
        ));
        let named: Vec<_> = policy
            .allow
            .iter()
            .filter(|model| is_printer(model))
            .map(|model| {
                (
                    "VID_PID",
                    format!("{:04X}_{:04X}", model.vendor, model.product),
                )
            })
            .collect();
        if !named.is_empty() {
            groups.push(Group {
                name: NAMED_PRINTERS,
                any: true,
                properties: named,
            });
        }
    }
    groups
}

pub(super) fn rules(policy: &Policy) -> Vec<PolicyRule> {
    let rule = |name, included, excluded, allow, deny| PolicyRule {
        name,
        included,
        excluded,
        allow,
        deny,
    };
    let mut rules = vec![rule(
        "Media and portable devices are refused",
        MEDIA,
        None,
        0,
        ALL,
    )];
    rules.push(match policy.optical {
        Optical::Refuse => rule("Discs are refused", DISCS, None, 0, ALL),
        Optical::ReadOnly => rule("Discs are read", DISCS, None, READ, WRITE | EXECUTE),
    });
    if refuses_printers(policy) {
        let has_named = policy.allow.iter().any(is_printer);
        let named = has_named.then_some(NAMED_PRINTERS);
        rules.push(rule(
            "USB printers are refused",
            USB_PRINTERS,
            named,
            0,
            PRINT,
        ));
        rules.push(rule(
            "Other printers print",
            PRINTERS,
            Some(USB_PRINTERS),
            PRINT,
            0,
        ));
        if has_named {
            rules.push(rule(
                "Named USB printers print",
                NAMED_PRINTERS,
                None,
                PRINT,
                0,
            ));
        }
    }
    rules
}

/// `RemovableMediaDevices|CdRomDevices|...`: what it looks at.
pub(super) fn secured(policy: &Policy) -> &'static str {
    match refuses_printers(policy) {
        true => "RemovableMediaDevices|CdRomDevices|WpdDevices|PrinterDevices",
        false => "RemovableMediaDevices|CdRomDevices|WpdDevices",
    }
}

/// The id of a group or rule, in braces.
pub(super) fn id(of: &str) -> String {
    format!("{{{}}}", uuid(&format!("defender {of}")))
}

impl Group {
    /// `<Group>`.
    pub(super) fn xml(&self) -> String {
        let id = id(self.name);
        let name = xml(self.name);
        let kind = if self.any { "MatchAny" } else { "MatchAll" };
        let mut text = format!(
            "<Group Id=\"{id}\" Type=\"Device\">\n  <Name>{name}</Name>\n  \
             <MatchType>{kind}</MatchType>\n  <DescriptorIdList>\n"
        );
        for (property, value) in &self.properties {
            text.push_str(&format!("    <{property}>{}</{property}>\n", xml(value)));
        }
        text.push_str("  </DescriptorIdList>\n</Group>\n");
        text
    }
}

impl PolicyRule {
    /// `<PolicyRule>`.
    pub(super) fn xml(&self) -> String {
        let list = |tag, group: Option<&str>| match group {
            Some(group) => format!(
                "  <{tag}>\n    <GroupId>{}</GroupId>\n  </{tag}>\n",
                id(group)
            ),
            None => String::new(),
        };
        let mut text = format!(
            "<PolicyRule Id=\"{}\">\n  <Name>{}</Name>\n{}{}",
            id(self.name),
            xml(self.name),
            list("IncludedIdList", Some(self.included)),
            list("ExcludedIdList", self.excluded),
        );
        // Entries are evaluated in their order.
        let entries = [
            ("Allow", self.allow, 0),
            ("Deny", self.deny, 0),
            ("AuditDenied", self.deny, SHOW_AND_SEND),
        ];
        for (kind, mask, options) in entries {
            if mask != 0 {
                let entry = id(&format!("{} {kind}", self.name));
                text.push_str(&format!(
                    "  <Entry Id=\"{entry}\">\n    <Type>{kind}</Type>\n    \
                     <Options>{options}</Options>\n    <AccessMask>{mask}</AccessMask>\n  </Entry>\n"
                ));
            }
        }
        text.push_str("</PolicyRule>\n");
        text
    }
}

fn groups_xml(policy: &Policy) -> String {
    let all: String = groups(policy).iter().map(Group::xml).collect();
    format!("<Groups>\n{all}</Groups>\n")
}

fn rules_xml(policy: &Policy) -> String {
    let all: String = rules(policy).iter().map(PolicyRule::xml).collect();
    format!("<PolicyRules>\n{all}</PolicyRules>\n")
}

/// What the policy comes to in the registry; groups and rules stand there themselves.
pub(super) fn compiled(policy: &Policy) -> Registry {
    let mut registry = Registry::default();
    let control = format!(r"{DEFENDER}\Device Control");
    let one_line = |text: String| {
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        Value::Text(lines.concat())
    };
    registry.set(
        &format!(r"{DEFENDER}\Features"),
        "DeviceControlEnabled",
        Value::Dword(1),
    );
    registry.set(
        &control,
        "DefaultEnforcement",
        Value::Dword(DENY_BY_DEFAULT),
    );
    registry.set(
        &control,
        "SecuredDevicesConfiguration",
        Value::Text(secured(policy).to_owned()),
    );
    registry.set(
        &format!(r"{control}\Policy Groups"),
        "PolicyGroups",
        one_line(groups_xml(policy)),
    );
    registry.set(
        &format!(r"{control}\Policy Rules"),
        "PolicyRules",
        one_line(rules_xml(policy)),
    );
    registry
}

pub(super) fn files(policy: &Policy) -> Vec<File> {
    let digest = digest_line(policy);
    vec![
        File::text("groups.xml", groups_xml(policy)),
        File::text("rules.xml", rules_xml(policy)),
        File {
            name: "defender.reg",
            bytes: compiled(policy).to_reg(&[HEADER, &digest]),
        },
    ]
}

pub(super) fn say(policy: &Policy, what: &What<'_>) -> Said {
    match what {
        What::Kind(Kind::Storage, _) => Said::Wholly,
        What::Kind(Kind::Phone, _) => {
            Said::partly("files are denied; its network and its charging are not")
        }
        What::Kind(Kind::Printer, _) => Said::Wholly,
        What::Kind(_, Rule::Allow) => Said::Wholly,
        What::Kind(_, Rule::Refuse | Rule::Confirm) => Said::not(
            "Defender controls media, discs, portable devices and printers alone; windows-gpo prevents more",
        ),
        What::Unknown => Said::partly(
            "of media, discs, portable devices and printers what no rule names is denied; no other device is",
        ),
        What::Interfaces => Said::partly("Defender looks at volumes, not at interfaces"),
        What::Buses => {
            Said::partly("removable ones are denied; disks that are not removable are not")
        }
        What::Identity => Said::not("Defender judges a device that comes back as another one anew"),
        What::Company(Company::Refuse) => Said::Wholly,
        What::Company(Company::ReadOnly | Company::Broker) => Said::not(
            "Defender reads no token, and by serial numbers alone nothing is allowed: company media are denied like any other",
        ),
        What::Keys([]) => Said::Wholly,
        What::Keys(_) => Said::not("Defender reads no token"),
        What::Optical(_) => Said::Wholly,
        What::Model(model) if is_printer(model) && refuses_printers(policy) => {
            Said::partly("the printer is known by its numbers, whatever its interfaces")
        }
        What::Model(_) => Said::not("Defender does not control this sort of device"),
        What::Guard(_) => Said::not("there is no guard on Windows; evidence takes its place"),
        What::Heartbeat(_) | What::Queue(_) => {
            Said::not("there is no agent on Windows: evidence is imported")
        }
    }
}
