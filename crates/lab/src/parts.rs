//! What is shown, in which guest. A part is a shell script that runs in the guest; each can run
//! alone, and leaves the guest as it found it.

use crate::sabotage::Sabotage;

/// A part of the laboratory.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
}

/// Parts that share a guest, one after the other.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) parts: &'static [Part],
    /// Writes to control media are part of it.
    pub(crate) controls: bool,
    /// The real gate is behind it, and nothing is plugged in at its start.
    pub(crate) gate: bool,
}

macro_rules! part {
    ($name:literal) => {
        Part {
            name: $name,
            script: include_str!(concat!("../guest/parts/", $name, ".sh")),
        }
    };
}

/// PID 1 of every guest.
pub(crate) const INIT: &str = include_str!("../guest/init.sh");
/// What all parts use.
pub(crate) const FUNCTIONS: &str = include_str!("../guest/functions.sh");

/// All guests, in the order in which they run.
pub(crate) const GUESTS: [Guest; 6] = [
    Guest {
        name: "alone",
        parts: &[part!("controls")],
        controls: true,
        gate: false,
    },
    Guest {
        name: "usb",
        parts: &[
            part!("devices"),
            part!("controllers"),
            part!("composite"),
            part!("keyboard"),
        ],
        controls: false,
        gate: false,
    },
    Guest {
        name: "media",
        parts: &[part!("drives"), part!("disks")],
        controls: false,
        gate: false,
    },
    Guest {
        name: "agent",
        parts: &[part!("agent"), part!("policy"), part!("outage")],
        controls: false,
        gate: false,
    },
    Guest {
        name: "gate",
        parts: &[part!("gate")],
        controls: false,
        gate: true,
    },
    Guest {
        name: "speed",
        parts: &[part!("speed")],
        controls: false,
        gate: false,
    },
];

/// What shows that the checks can fail: a spoiled agent, and the part that has to notice.
pub(crate) const SABOTAGES: [(Sabotage, &str); 3] = [
    (Sabotage::NoParameter, "controllers"),
    (Sabotage::NoGuard, "drives"),
    (Sabotage::AllowAll, "controllers"),
];
