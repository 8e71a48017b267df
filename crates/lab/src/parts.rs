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
    pub(crate) base: Base,
}

/// What a guest consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// A kernel, a shell and the agent; media are there at its start.
    Bare,
    /// The same, with the real gate behind it; nothing is plugged in at its start.
    Gate,
    /// A whole Debian with a disk, the real gate behind it. It is started as often as said, with a
    /// keyboard, and from the second time on with a stick.
    System { starts: u32 },
}

macro_rules! part {
    ($name:literal) => {
        Part {
            name: $name,
            script: include_str!(concat!("../guest/parts/", $name, ".sh")),
        }
    };
}

/// PID 1 of every guest that is no whole system.
pub(crate) const INIT: &str = include_str!("../guest/init.sh");
/// What runs the part of one that is.
pub(crate) const BOOT: &str = include_str!("../guest/boot.sh");
/// What all parts use.
pub(crate) const FUNCTIONS: &str = include_str!("../guest/functions.sh");

/// All guests, in the order in which they run.
pub(crate) const GUESTS: [Guest; 7] = [
    // The longest: the others run beside it.
    Guest {
        name: "system",
        parts: &[part!("system")],
        controls: false,
        base: Base::System { starts: 3 },
    },
    Guest {
        name: "alone",
        parts: &[part!("controls")],
        controls: true,
        base: Base::Bare,
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
        base: Base::Bare,
    },
    Guest {
        name: "media",
        parts: &[part!("drives"), part!("disks")],
        controls: false,
        base: Base::Bare,
    },
    Guest {
        name: "agent",
        parts: &[part!("agent"), part!("policy"), part!("outage")],
        controls: false,
        base: Base::Bare,
    },
    Guest {
        name: "gate",
        parts: &[part!("gate")],
        controls: false,
        base: Base::Gate,
    },
    Guest {
        name: "speed",
        parts: &[part!("speed")],
        controls: false,
        base: Base::Bare,
    },
];

/// What shows that the checks can fail: a spoiled agent, and the part that has to notice.
pub(crate) const SABOTAGES: [(Sabotage, &str); 3] = [
    (Sabotage::NoParameter, "controllers"),
    (Sabotage::NoGuard, "drives"),
    (Sabotage::AllowAll, "controllers"),
];
