//! The USB classes of each kind, as patterns that rules of other systems can say. The kinds of
//! [`crate::kind`] see more: report descriptors, names, vendors. A test holds the two together.

use crate::kind::Kind;
use crate::policy::{Policy, Rule};

/// Class, subclass and protocol of an interface; `None`: any.
pub(super) type Pattern = (u8, Option<u8>, Option<u8>);

const fn class(class: u8) -> Pattern {
    (class, None, None)
}

const fn sub(class: u8, subclass: u8) -> Pattern {
    (class, Some(subclass), None)
}

const fn full(class: u8, subclass: u8, protocol: u8) -> Pattern {
    (class, Some(subclass), Some(protocol))
}

/// The patterns of a kind that whoever sees only class numbers can tell. HID without the boot
/// protocol of a mouse may be a keyboard.
pub(super) fn patterns(kind: Kind) -> &'static [Pattern] {
    match kind {
        Kind::Hub => const { &[class(0x09)] },
        Kind::Keyboard => {
            const {
                &[
                    sub(0x03, 0x00),
                    full(0x03, 0x01, 0x00),
                    full(0x03, 0x01, 0x01),
                ]
            }
        }
        Kind::Pointer => const { &[full(0x03, 0x01, 0x02)] },
        // Not MIDI, which carries any bytes.
        Kind::Headset => const { &[sub(0x01, 0x00), sub(0x01, 0x01), sub(0x01, 0x02)] },
        Kind::SmartCard => const { &[class(0x0b)] },
        Kind::Storage => const { &[class(0x08)] },
        Kind::Phone => const { &[class(0x06), sub(0x02, 0x0b), sub(0xef, 0x01)] },
        Kind::Network => {
            const {
                &[
                    full(0x02, 0x02, 0xff),
                    sub(0x02, 0x06),
                    sub(0x02, 0x07),
                    sub(0x02, 0x0c),
                    sub(0x02, 0x0d),
                    sub(0x02, 0x0e),
                    full(0xe0, 0x01, 0x03),
                    sub(0xef, 0x04),
                ]
            }
        }
        Kind::Serial => {
            const {
                &[
                    sub(0x02, 0x01),
                    full(0x02, 0x02, 0x00),
                    full(0x02, 0x02, 0x01),
                    full(0x02, 0x02, 0x02),
                    full(0x02, 0x02, 0x03),
                    full(0x02, 0x02, 0x04),
                    full(0x02, 0x02, 0x05),
                    full(0x02, 0x02, 0x06),
                    full(0x02, 0x02, 0xfe),
                    sub(0x02, 0x03),
                    sub(0x02, 0x04),
                    sub(0x02, 0x05),
                    sub(0x02, 0x08),
                    sub(0x02, 0x09),
                    sub(0x02, 0x0a),
                ]
            }
        }
        Kind::Printer => const { &[class(0x07)] },
        Kind::Camera => const { &[class(0x0e), class(0x10)] },
        Kind::Bluetooth => const { &[full(0xe0, 0x01, 0x01), full(0xe0, 0x01, 0x04)] },
        Kind::Vendor => const { &[class(0xff)] },
        Kind::Other => {
            const {
                &[
                    sub(0x01, 0x03),
                    class(0x05),
                    class(0x0d),
                    class(0x0f),
                    class(0x11),
                    class(0x12),
                    class(0x13),
                    class(0x14),
                    class(0x3c),
                    class(0xdc),
                    class(0xfe),
                ]
            }
        }
    }
}

/// The data interface beside a network's or a modem's.
pub(super) const DATA: Pattern = class(0x0a);

/// The patterns of all kinds whose rule is `allow`, but for keyboards and pointers, which targets
/// treat apart.
pub(super) fn allowed(policy: &Policy) -> Vec<Pattern> {
    let is_apart = |kind: &Kind| matches!(kind, Kind::Keyboard | Kind::Pointer);
    let kinds: Vec<Kind> = Kind::ALL
        .iter()
        .copied()
        .filter(|kind| policy.rule(*kind) == Rule::Allow && !is_apart(kind))
        .collect();
    let mut all: Vec<Pattern> = kinds
        .iter()
        .flat_map(|kind| patterns(*kind))
        .copied()
        .collect();
    if kinds
        .iter()
        .any(|kind| matches!(kind, Kind::Network | Kind::Serial))
    {
        all.push(DATA);
    }
    all
}
