//! The same policy in other systems' words.
//!
//! Every target is asked about every [`Feature`] of the policy, and answers whether its files say it
//! wholly, in part or not at all; what is not wholly said is listed in [`Export::cannot`]. Where a
//! target has to choose, it refuses. Nothing here was tried on Windows or macOS: docs/terminal-export.md
//! says what was, and where each format is published.

mod classes;
mod defender;
mod feature;
mod gpo;
mod intune;
mod macos;
#[cfg(test)]
mod tests;
mod usbguard;

use std::fmt;
use std::str::FromStr;

use crate::policy::Policy;
use crate::{Digest, sha256};

use feature::Said;
pub use feature::{Feature, What, features};
pub(crate) use gpo::{LISTS, compiled};

/// A system that a policy is written for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// USBGuard's rules and the settings of its daemon.
    Usbguard,
    /// The registry of Windows, as group policy sets it.
    WindowsGpo,
    /// Device control of Microsoft Defender for Endpoint.
    Defender,
    /// The same and device installation, as settings of Intune.
    Intune,
    /// A profile and a declaration for macOS.
    Macos,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Usbguard,
        Self::WindowsGpo,
        Self::Defender,
        Self::Intune,
        Self::Macos,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Usbguard => "usbguard",
            Self::WindowsGpo => "windows-gpo",
            Self::Defender => "defender",
            Self::Intune => "intune",
            Self::Macos => "macos",
        }
    }

    /// Whether a test runs the system itself on what is written for it. The others are checked against
    /// the published formats alone.
    #[must_use]
    pub fn is_tested(self) -> bool {
        self == Self::Usbguard
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// No target has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no target; there are usbguard, windows-gpo, defender, intune and macos")]
pub struct UnknownTarget(pub String);

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(word: &str) -> Result<Self, UnknownTarget> {
        Self::ALL
            .into_iter()
            .find(|target| target.word() == word)
            .ok_or_else(|| UnknownTarget(word.to_owned()))
    }
}

/// A file to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Its name, without a folder.
    pub name: &'static str,
    /// What is in it; the registry's formats are UTF-16, all others UTF-8.
    pub bytes: Vec<u8>,
}

impl File {
    fn text(name: &'static str, text: String) -> Self {
        Self {
            name,
            bytes: text.into_bytes(),
        }
    }
}

/// A policy in a target's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// The files; docs/terminal-export.md says where they belong.
    pub files: Vec<File>,
    /// What they do not say, or not wholly: the feature's name, and what happens instead.
    pub cannot: Vec<String>,
}

/// Writes a policy for a target. The same policy gives the same bytes.
#[must_use]
pub fn export(policy: &Policy, target: Target) -> Export {
    let (files, say): (_, fn(&Policy, &What<'_>) -> Said) = match target {
        Target::Usbguard => (usbguard::files(policy), usbguard::say),
        Target::WindowsGpo => (gpo::files(policy), gpo::say),
        Target::Defender => (defender::files(policy), defender::say),
        Target::Intune => (intune::files(policy), intune::say),
        Target::Macos => (macos::files(policy), macos::say),
    };
    let cannot = features(policy)
        .into_iter()
        .filter_map(|feature| match say(policy, &feature.what) {
            Said::Wholly => None,
            Said::Partly(but) | Said::Not(but) => Some(format!("{}: {but}", feature.name)),
        })
        .collect();
    Export { files, cannot }
}

/// What a reader of a file should know.
const HEADER: &str =
    "Written by `sekisho terminal policy export`; a change here is lost with the next one.";

/// Says whose policy a file is.
fn digest_line(policy: &Policy) -> String {
    let digest: String = policy
        .digest()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("Policy SHA-256 {digest}")
}

/// A UUID of version 8 (RFC 9562 section 5.8) of what it stands for: the same in every export, so that
/// a management tool updates what is there instead of adding to it.
fn uuid(of: &str) -> String {
    let digest: Digest = sha256(format!("sekisho terminal export v1\0{of}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// A text inside XML.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
