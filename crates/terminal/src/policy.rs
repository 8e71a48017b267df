//! What a terminal may use: TOML (`docs/terminal-policy.md`), read whole or not at all, with one
//! canonical text whose digest terminals report. What is not named is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::device::{Device, INTERFACES_MAX};
use crate::kind::{Kind, kind, kinds};
use crate::{Digest, sha256};

/// Bytes of a policy's text.
pub const POLICY_BYTES_MAX: usize = 32 * 1024;
/// Models in `[[allow]]`.
pub const MODELS_MAX: usize = 256;
/// Keys that sign company media.
pub const KEYS_MAX: usize = 16;
/// Bytes of a model's reason.
pub const WHY_BYTES_MAX: usize = 200;
/// Seconds between heartbeats: a lost terminal is a finding within a minute.
pub const HEARTBEAT_S: std::ops::RangeInclusive<u32> = 2..=30;
/// Hours for which evidence of a terminal without an agent counts.
pub const EVIDENCE_H: std::ops::RangeInclusive<u32> = 1..=168;
/// The same where a policy says nothing.
const EVIDENCE_H_STANDARD: u32 = 24;
/// Bytes of reports that wait on the terminal's disk.
pub const QUEUE_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=1 << 30;

/// What the policy says about a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Never.
    Refuse,
    /// Built-in and known ones; another one after a code was typed on a known keyboard.
    Confirm,
    /// Always.
    Allow,
}

/// What company media may be used for. A company medium has a valid token ([`crate::token`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Company {
    /// Nothing.
    #[default]
    Refuse,
    /// To be read.
    ReadOnly,
    /// To be read, and to be written by the broker alone.
    Broker,
}

/// What optical discs may be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optical {
    /// Nothing.
    #[default]
    Refuse,
    /// To be read.
    ReadOnly,
}

/// Whether a terminal needs a guard to be healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardRule {
    /// Without one it is unhealthy.
    #[default]
    Required,
    /// Without one fanotify must watch.
    Wanted,
}

/// A model that is allowed by its numbers and interfaces. Numbers can be imitated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Model {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// Class triples of all its interfaces, ascending, each once: no more and no fewer.
    pub interfaces: Vec<[u8; 3]>,
    /// Why it is allowed.
    pub why: String,
}

impl Model {
    /// Whether the device claims to be this model, with exactly these interfaces.
    #[must_use]
    pub fn is(&self, device: &Device) -> bool {
        device.vendor == self.vendor
            && device.product == self.product
            && device.triples() == self.interfaces
    }
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Rules of the kinds that are named and not refused.
    pub devices: BTreeMap<Kind, Rule>,
    /// Company media.
    pub company: Company,
    /// Public keys (Ed25519) that sign tokens of company media, ascending.
    pub keys: Vec<[u8; 32]>,
    /// Optical discs in a drive that is no USB device.
    pub optical: Optical,
    /// Models, ascending.
    pub allow: Vec<Model>,
    /// Whether a guard is needed.
    pub guard: GuardRule,
    /// Seconds between heartbeats.
    pub heartbeat_s: u32,
    /// Bytes of reports that wait on the terminal's disk.
    pub queue_bytes_max: u64,
    /// Hours for which evidence of a terminal without an agent counts; the gate's alone.
    pub evidence_h: u32,
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too long.
    #[error("the policy has {0} bytes; at most {POLICY_BYTES_MAX} are read")]
    TooLong(usize),
    /// No TOML, a key that is not known, a value of the wrong type.
    #[error("the policy cannot be read: {0}")]
    Toml(String),
    /// Another version.
    #[error("policy version {0} is not known; this program reads version 1")]
    Version(u32),
    /// A kind that does not exist.
    #[error("[devices] names `{0}`, which is no kind of device; see docs/terminal-policy.md")]
    Kind(String),
    /// A rule that this kind cannot have.
    #[error("[devices] {kind} = \"{rule}\" is not possible: {instead}")]
    Rule {
        /// The kind.
        kind: Kind,
        /// The rule.
        rule: String,
        /// What to do.
        instead: &'static str,
    },
    /// A key of company media that is none.
    #[error("[storage] keys: `{0}` is no Ed25519 public key of 64 hexadecimal digits")]
    Key(String),
    /// Company media without keys.
    #[error("[storage] company = \"{0}\" needs at least one key in [storage] keys")]
    NoKeys(&'static str),
    /// A model that says too little or too much.
    #[error("[[allow]] {vendor:04x}:{product:04x}: {what}")]
    Model {
        /// Its vendor.
        vendor: u16,
        /// Its product.
        product: u16,
        /// What is wrong.
        what: String,
    },
    /// A number out of its range, or a list that is too long.
    #[error("{0}")]
    Range(String),
}

/// A policy under which nobody could work on the terminal any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy would lock everybody out: {role} {device} ({name}) {because}")]
pub struct LockOut {
    /// The device's key.
    pub device: String,
    /// Its name.
    pub name: String,
    /// Keyboard or pointer: the last of its kind that would go.
    pub role: Kind,
    /// What refuses it.
    pub because: Because,
}

/// What would refuse the last keyboard or pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Because {
    /// The rule of its kind.
    #[error("is refused by [devices]; allow or confirm its kind, or name the model in [[allow]]")]
    Rule,
    /// The hub that it hangs from.
    #[error("hangs from hub {0}, which is refused; allow hubs, or name the model in [[allow]]")]
    Hub(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default)]
    devices: BTreeMap<String, String>,
    #[serde(default)]
    storage: TextStorage,
    #[serde(default)]
    allow: Vec<TextModel>,
    #[serde(default)]
    terminal: TextTerminal,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextStorage {
    #[serde(default)]
    company: Company,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    optical: Optical,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextModel {
    vendor: u16,
    product: u16,
    interfaces: Vec<String>,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TextTerminal {
    guard: GuardRule,
    heartbeat_s: u32,
    queue_bytes_max: u64,
    evidence_h: u32,
}

impl Default for TextTerminal {
    fn default() -> Self {
        Self {
            guard: GuardRule::Required,
            heartbeat_s: 20,
            queue_bytes_max: 8 * 1024 * 1024,
            evidence_h: EVIDENCE_H_STANDARD,
        }
    }
}

/// The policy of a terminal that was given none yet.
pub const STANDARD: &str = "\
version = 1

[devices]
hub = \"allow\"
keyboard = \"confirm\"
pointer = \"allow\"
headset = \"allow\"
smart-card = \"allow\"
";

impl Policy {
    /// The policy of a terminal that was given none yet: what one works with, and nothing that
    /// stores.
    #[must_use]
    pub fn standard() -> Self {
        Self::parse(STANDARD).expect("a test reads this constant")
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// Anything unknown, doubtful or out of range; the message says what to do.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong(text.len()));
        }
        let text: Text =
            toml::from_str(text).map_err(|error| PolicyError::Toml(error.to_string()))?;
        if text.version != 1 {
            return Err(PolicyError::Version(text.version));
        }
        let keys = keys(&text.storage)?;
        let terminal = text.terminal;
        if !HEARTBEAT_S.contains(&terminal.heartbeat_s) {
            return Err(range(
                "[terminal] heartbeat_s",
                terminal.heartbeat_s,
                &HEARTBEAT_S,
            ));
        }
        if !EVIDENCE_H.contains(&terminal.evidence_h) {
            return Err(range(
                "[terminal] evidence_h",
                terminal.evidence_h,
                &EVIDENCE_H,
            ));
        }
        if !QUEUE_BYTES.contains(&terminal.queue_bytes_max) {
            return Err(range(
                "[terminal] queue_bytes_max",
                terminal.queue_bytes_max,
                &QUEUE_BYTES,
            ));
        }
        Ok(Self {
            devices: rules(&text.devices)?,
            company: text.storage.company,
            keys,
            optical: text.storage.optical,
            allow: models(&text.allow)?,
            guard: terminal.guard,
            heartbeat_s: terminal.heartbeat_s,
            queue_bytes_max: terminal.queue_bytes_max,
            evidence_h: terminal.evidence_h,
        })
    }

    /// What it says about a kind. Storage and telephones have no rule here: refused.
    #[must_use]
    pub fn rule(&self, kind: Kind) -> Rule {
        self.devices.get(&kind).copied().unwrap_or(Rule::Refuse)
    }

    /// The model that allows the device by its numbers and interfaces.
    #[must_use]
    pub fn model(&self, device: &Device) -> Option<&Model> {
        self.allow.iter().find(|it| it.is(device))
    }

    /// The one text that says this policy, every key written out. Reads back as the same policy.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = "version = 1\n\n[devices]\n".to_owned();
        for (kind, rule) in &self.devices {
            line(&mut out, kind.word(), quoted(rule.word()));
        }
        out.push_str("\n[storage]\n");
        line(&mut out, "company", quoted(self.company.word()));
        let keys: Vec<String> = self.keys.iter().map(|it| quoted(&hex(it))).collect();
        line(&mut out, "keys", format!("[{}]", keys.join(", ")));
        line(&mut out, "optical", quoted(self.optical.word()));
        for model in &self.allow {
            out.push_str("\n[[allow]]\n");
            line(&mut out, "vendor", format!("0x{:04x}", model.vendor));
            line(&mut out, "product", format!("0x{:04x}", model.product));
            let triples: Vec<String> = model
                .interfaces
                .iter()
                .map(|it| quoted(&triple(*it)))
                .collect();
            line(&mut out, "interfaces", format!("[{}]", triples.join(", ")));
            line(
                &mut out,
                "why",
                toml::Value::String(model.why.clone()).to_string(),
            );
        }
        out.push_str("\n[terminal]\n");
        line(&mut out, "guard", quoted(self.guard.word()));
        line(&mut out, "heartbeat_s", self.heartbeat_s.to_string());
        line(
            &mut out,
            "queue_bytes_max",
            self.queue_bytes_max.to_string(),
        );
        // Later than the others: a policy that does not change it has the digest that it had.
        if self.evidence_h != EVIDENCE_H_STANDARD {
            line(&mut out, "evidence_h", self.evidence_h.to_string());
        }
        out
    }

    /// SHA-256 of the canonical text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(self.canonical().as_bytes())
    }
}

/// Refuses a policy under which no keyboard or no pointer of those present would work any more.
/// `devices`: those in use, and the hubs they hang from. A terminal without keyboard is not locked.
///
/// # Errors
/// The first device that would be the last.
pub fn check(policy: &Policy, devices: &[Device]) -> Result<(), LockOut> {
    for role in [Kind::Keyboard, Kind::Pointer] {
        let mut last = None;
        for device in devices.iter().filter(|it| has(it, role)) {
            match obstacle(policy, devices, device, role) {
                None => {
                    last = None;
                    break;
                }
                Some(because) => {
                    last.get_or_insert(LockOut {
                        device: device.key.clone(),
                        name: device.name.clone(),
                        role,
                        because,
                    });
                }
            }
        }
        if let Some(lock_out) = last {
            return Err(lock_out);
        }
    }
    Ok(())
}

/// Whether people may be using it as a keyboard or pointer. A HID interface that was not read counts
/// by its boot protocol here: taken for a keyboard, a mouse would hide that the last one goes.
fn has(device: &Device, role: Kind) -> bool {
    device.interfaces.iter().any(|it| {
        if it.class == 3 && it.report.is_none() {
            matches!(
                (it.protocol, role),
                (1, Kind::Keyboard) | (2, Kind::Pointer)
            )
        } else {
            kind(device, it) == role
        }
    })
}

/// What would refuse a device that is present and therefore known.
fn obstacle(policy: &Policy, devices: &[Device], device: &Device, role: Kind) -> Option<Because> {
    if policy.rule(role) == Rule::Refuse && policy.model(device).is_none() {
        return Some(Because::Rule);
    }
    let mut below = device;
    // A path has as many hubs as there are devices at most: a loop ends.
    for _ in 0..devices.len() {
        let hub = devices
            .iter()
            .find(|it| below.parent.as_ref() == Some(&it.key))?;
        let allowed =
            hub.built_in || policy.rule(Kind::Hub) == Rule::Allow || policy.model(hub).is_some();
        if kinds(hub).contains(&Kind::Hub) && !allowed {
            return Some(Because::Hub(hub.key.clone()));
        }
        below = hub;
    }
    None
}

fn rules(text: &BTreeMap<String, String>) -> Result<BTreeMap<Kind, Rule>, PolicyError> {
    let mut out = BTreeMap::new();
    for (kind, rule) in text {
        let kind = Kind::from_word(kind).ok_or_else(|| PolicyError::Kind(kind.clone()))?;
        let fail = |instead| PolicyError::Rule {
            kind,
            rule: rule.clone(),
            instead,
        };
        let rule = match rule.as_str() {
            "refuse" => Rule::Refuse,
            "confirm" => Rule::Confirm,
            "allow" => Rule::Allow,
            _ => return Err(fail("write \"refuse\", \"confirm\" or \"allow\"")),
        };
        match (kind, rule) {
            (_, Rule::Refuse) => continue,
            (Kind::Storage, _) => return Err(fail("[storage] says what company media may do")),
            (Kind::Phone, _) => return Err(fail("telephones are always refused")),
            (Kind::Vendor | Kind::Other, _) => {
                return Err(fail("name the model in [[allow]], with its interfaces"));
            }
            (Kind::Keyboard | Kind::Pointer, _) | (_, Rule::Allow) => {}
            (_, Rule::Confirm) => return Err(fail("only keyboard and pointer are confirmed")),
        }
        out.insert(kind, rule);
    }
    Ok(out)
}

fn keys(storage: &TextStorage) -> Result<Vec<[u8; 32]>, PolicyError> {
    if storage.keys.len() > KEYS_MAX {
        return Err(PolicyError::Range(format!(
            "[storage] keys: at most {KEYS_MAX}"
        )));
    }
    if storage.company != Company::Refuse && storage.keys.is_empty() {
        return Err(PolicyError::NoKeys(storage.company.word()));
    }
    let mut keys = BTreeSet::new();
    for text in &storage.keys {
        keys.insert(unhex(text).ok_or_else(|| PolicyError::Key(text.clone()))?);
    }
    Ok(keys.into_iter().collect())
}

fn models(text: &[TextModel]) -> Result<Vec<Model>, PolicyError> {
    if text.len() > MODELS_MAX {
        return Err(PolicyError::Range(format!(
            "[[allow]]: at most {MODELS_MAX} models"
        )));
    }
    let mut out: Vec<Model> = Vec::new();
    for it in text {
        let model = model(it).map_err(|what| PolicyError::Model {
            vendor: it.vendor,
            product: it.product,
            what,
        })?;
        out.push(model);
    }
    out.sort();
    let same = |a: &Model, b: &Model| {
        (a.vendor, a.product, &a.interfaces) == (b.vendor, b.product, &b.interfaces)
    };
    if let Some(pair) = out.windows(2).find(|pair| same(&pair[0], &pair[1])) {
        return Err(PolicyError::Model {
            vendor: pair[0].vendor,
            product: pair[0].product,
            what: "named twice with the same interfaces; remove one".to_owned(),
        });
    }
    Ok(out)
}

fn model(text: &TextModel) -> Result<Model, String> {
    if text.interfaces.is_empty() || text.interfaces.len() > INTERFACES_MAX {
        return Err("interfaces: list all of its interfaces, such as \"03:01:01\"".to_owned());
    }
    if text.why.trim().is_empty() || text.why.len() > WHY_BYTES_MAX {
        return Err(format!("why: say why, in at most {WHY_BYTES_MAX} bytes"));
    }
    let mut interfaces = BTreeSet::new();
    for word in &text.interfaces {
        let triple = untriple(word).ok_or_else(|| {
            format!("interfaces: `{word}` is no class, subclass and protocol such as \"03:01:01\"")
        })?;
        if matches!(triple[0], 0x06 | 0x08) {
            return Err(format!(
                "interfaces: `{word}` stores or is a telephone; numbers are no proof for those"
            ));
        }
        interfaces.insert(triple);
    }
    Ok(Model {
        vendor: text.vendor,
        product: text.product,
        interfaces: interfaces.into_iter().collect(),
        why: text.why.clone(),
    })
}

fn range<T: std::fmt::Display>(
    what: &str,
    is: T,
    may: &std::ops::RangeInclusive<T>,
) -> PolicyError {
    let (low, high) = (may.start(), may.end());
    PolicyError::Range(format!("{what} = {is}: {low} to {high} is possible"))
}

fn line(out: &mut String, key: &str, value: String) {
    writeln!(out, "{key} = {value}").expect("a string takes what is written into it");
}

fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

/// `03:01:01`.
#[must_use]
pub fn triple([class, subclass, protocol]: [u8; 3]) -> String {
    format!("{class:02x}:{subclass:02x}:{protocol:02x}")
}

fn untriple(word: &str) -> Option<[u8; 3]> {
    let mut parts = word.split(':').map(|part| {
        (part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit()))
            .then(|| u8::from_str_radix(part, 16).ok())
            .flatten()
    });
    let out = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

macro_rules! words {
    ($($name:ident { $($variant:ident = $word:literal),+ })+) => { $(
        impl $name {
            /// Its name in policies.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    )+ };
}
words! {
    Rule { Refuse = "refuse", Confirm = "confirm", Allow = "allow" }
    Company { Refuse = "refuse", ReadOnly = "read-only", Broker = "broker" }
    Optical { Refuse = "refuse", ReadOnly = "read-only" }
    GuardRule { Required = "required", Wanted = "wanted" }
}

#[cfg(test)]
mod tests;
