//! What a policy says, in parts small enough that a target can say each of them or not.

use crate::kind::Kind;
use crate::policy::{Company, GuardRule, Model, Optical, Policy, Rule};

/// A part of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feature<'a> {
    /// How the policy's text calls it; what cannot be said begins with it.
    pub name: String,
    /// What it says.
    pub what: What<'a>,
}

/// What a part of a policy says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What<'a> {
    /// What becomes of a kind.
    Kind(Kind, Rule),
    /// What nobody named is refused.
    Unknown,
    /// Each interface is decided for itself: a keyboard works, the storage beside it does not.
    Interfaces,
    /// Storage that is no USB device: cards, NVMe, SATA, redirected and virtual drives.
    Buses,
    /// A device that comes back as another one is refused.
    Identity,
    /// What company media may be used for.
    Company(Company),
    /// Who signs tokens of company media.
    Keys(&'a [[u8; 32]]),
    /// What optical discs may be used for.
    Optical(Optical),
    /// A model that is allowed by its numbers.
    Model(&'a Model),
    /// Whether a guard in the kernel is needed.
    Guard(GuardRule),
    /// How often a terminal says that it is well, seconds.
    Heartbeat(u32),
    /// How many bytes of reports wait for the gate.
    Queue(u64),
}

/// What a target says of a feature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// Its files say it.
    Wholly,
    /// Its files say less, or more; this is what happens.
    Partly(String),
    /// Its files do not say it.
    Not(String),
}

impl Said {
    pub(super) fn partly(but: &str) -> Self {
        Self::Partly(but.to_owned())
    }

    pub(super) fn not(but: &str) -> Self {
        Self::Not(but.to_owned())
    }
}

/// All parts of a policy; what no text can change is among them.
#[must_use]
pub fn features(policy: &Policy) -> Vec<Feature<'_>> {
    let feature = |name: &str, what| Feature {
        name: name.to_owned(),
        what,
    };
    let mut all: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| Feature {
            name: format!("[devices] {}", kind.word()),
            what: What::Kind(*kind, policy.rule(*kind)),
        })
        .collect();
    all.push(feature("unknown devices", What::Unknown));
    all.push(feature("single interfaces", What::Interfaces));
    all.push(feature("storage that is no USB device", What::Buses));
    all.push(feature("changed identities", What::Identity));
    all.push(feature("[storage] company", What::Company(policy.company)));
    all.push(feature("[storage] keys", What::Keys(&policy.keys)));
    all.push(feature("[storage] optical", What::Optical(policy.optical)));
    for model in &policy.allow {
        let triples: Vec<_> = model
            .interfaces
            .iter()
            .map(|it| crate::policy::triple(*it))
            .collect();
        all.push(Feature {
            name: format!(
                "[[allow]] {:04x}:{:04x} ({})",
                model.vendor,
                model.product,
                triples.join(" ")
            ),
            what: What::Model(model),
        });
    }
    all.push(feature("[terminal] guard", What::Guard(policy.guard)));
    all.push(feature(
        "[terminal] heartbeat_s",
        What::Heartbeat(policy.heartbeat_s),
    ));
    all.push(feature(
        "[terminal] queue_bytes_max",
        What::Queue(policy.queue_bytes_max),
    ));
    all
}
