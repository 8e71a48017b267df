//! What a terminal proves about itself, and whether that is enough.
//!
//! Everything in a heartbeat is read back from the kernel when it is made, never remembered.

use serde::Serialize;

use crate::cbor::{In, Out, cut};
use crate::{Digest, Malformed};

/// Hubs that a heartbeat names; more are counted in [`Heartbeat::unlisted`].
pub const HUBS_MAX: usize = 40;
/// Block devices that a heartbeat names; more are counted in [`Heartbeat::unlisted`].
pub const BLOCKS_MAX: usize = 48;
/// Programs that a complete guard has on Linux 6.1; later kernels have hooks for more.
pub const GUARD_PROGRAMS: u16 = 19;
/// Bytes of a hub's or block device's name.
pub const PART_BYTES_MAX: usize = 32;
/// Bytes of the kernel's name.
pub const KERNEL_BYTES_MAX: usize = 128;
/// Bytes of a reason.
pub const WHY_BYTES_MAX: usize = 256;

/// A root hub or hub as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HubState {
    /// Its name in sysfs.
    pub name: String,
    /// `authorized_default`: 0 refuses devices, 1 takes them, 2 takes internal ones, -1 is usbcore's.
    pub authorized_default: i8,
    /// `interface_authorized_default`: 0 refuses interfaces.
    pub interface_authorized_default: i8,
}

/// A block device as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockState {
    /// Its name in sysfs.
    pub name: String,
    /// It was not part of the machine.
    pub foreign: bool,
    /// The kernel's `ro` flag.
    pub ro: bool,
    /// Company media that only the broker may write: the guard refuses everybody else.
    pub brokered: bool,
}

/// The BPF guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Guard {
    /// Its programs are attached and pinned: they work without a process.
    Pinned {
        /// How many programs.
        programs: u16,
        /// What they refused since they were loaded.
        refused: u64,
    },
    /// There is none.
    Missing {
        /// Why: the kernel lacks it, the file is missing, loading failed.
        why: String,
    },
}

/// The state of a terminal, read back from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heartbeat {
    /// Digest of the policy in force ([`crate::policy::Policy::digest`]).
    pub policy: Digest,
    /// SHA-256 of the running agent's program file.
    pub agent: Digest,
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// Name and version of the kernel.
    pub kernel: String,
    /// `/sys/module/usbcore/parameters/authorized_default`: what a hub that comes later starts with.
    pub usbcore_default: i8,
    /// All hubs.
    pub hubs: Vec<HubState>,
    /// All block devices.
    pub blocks: Vec<BlockState>,
    /// Hubs and block devices that found no place above.
    pub unlisted: u32,
    /// The BPF guard.
    pub guard: Guard,
    /// Whether fanotify watches foreign mounts.
    pub fanotify: bool,
    /// Attempts refused in this boot: by decision and by guard. Survives restarts of the agent.
    pub refused: u64,
    /// Devices seen in this boot. Survives restarts of the agent.
    pub attached: u64,
    /// Reports that wait to be sent, this one not among them.
    pub queue: u32,
    /// Ends of the agent in this boot that it did not announce.
    pub unclean_ends: u32,
    /// Refused devices that are plugged in and that data could be carried away with
    /// ([`crate::kind::Kind::carries_data`]), and foreign disks that are no company media.
    pub present: u32,
}

/// What the gate holds a heartbeat against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The policy that the terminal was given.
    pub policy: Digest,
    /// Programs that are known; empty: any.
    pub agents: Vec<Digest>,
    /// Whether a guard must be pinned.
    pub guard_required: bool,
    /// Programs that a complete guard has.
    pub guard_programs: u16,
    /// Unannounced ends that are borne in one boot.
    pub unclean_ends_max: u32,
    /// How long ago the heartbeat came, by the gate's clock.
    pub age_ms: u64,
    /// How old it may be.
    pub age_ms_max: u64,
}

/// Whether a terminal proves that it refuses storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Health {
    /// It does.
    Healthy,
    /// It does not; every lack is named.
    Unhealthy(Vec<Lack>),
}

impl Health {
    /// Whether nothing is lacking.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        *self == Self::Healthy
    }
}

/// One thing that a healthy terminal has and this one lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Lack {
    /// The last heartbeat is too old.
    #[error("the last heartbeat came {age_ms} ms ago; at most {age_ms_max} are allowed")]
    Silent {
        /// Its age.
        age_ms: u64,
        /// The limit.
        age_ms_max: u64,
    },
    /// Another policy is in force.
    #[error("another policy is in force than the one it was given")]
    Policy,
    /// An unknown program reports.
    #[error("the agent's program is none of the known ones")]
    Agent,
    /// New controllers would take devices.
    #[error("usbcore's authorized_default is {0}, not 0: a new controller takes every device")]
    UsbcoreDefault(i8),
    /// A hub takes devices.
    #[error("hub {name} takes devices: authorized_default is {value}, not 0")]
    HubOpen {
        /// The hub.
        name: String,
        /// Its flag.
        value: i8,
    },
    /// A hub takes interfaces.
    #[error("hub {name} takes interfaces: interface_authorized_default is {value}, not 0")]
    InterfacesOpen {
        /// The hub.
        name: String,
        /// Its flag.
        value: i8,
    },
    /// A foreign disk can be written.
    #[error("the foreign disk {0} can be written")]
    Writable(String),
    /// There are hubs or disks that the heartbeat could not name.
    #[error("{0} hubs or disks are not listed")]
    Unlisted(u32),
    /// There is no guard.
    #[error("the guard is missing: {0}")]
    GuardMissing(String),
    /// The guard is incomplete.
    #[error("the guard has {have} programs, not {want}")]
    GuardIncomplete {
        /// Programs found.
        have: u16,
        /// Programs of a complete guard.
        want: u16,
    },
    /// Nothing watches writes.
    #[error("neither guard nor fanotify watches foreign mounts")]
    Unwatched,
    /// Something is plugged in that data could be carried away with.
    #[error("{0} refused devices that could carry data away are plugged in: take them out")]
    Present(u32),
    /// The agent ended too often.
    #[error("the agent ended {0} times in this boot without saying so")]
    UncleanEnds(u32),
}

impl Heartbeat {
    /// Whether another heartbeat says the same, but for how many reports wait.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let queue = other.queue;
        Self {
            queue,
            ..self.clone()
        } == *other
    }

    /// Bounds names and lists to what a report takes. What is open stays listed first; what is left
    /// out is counted in `unlisted`.
    pub fn fit(&mut self) {
        self.hubs
            .sort_by_key(|it| it.authorized_default == 0 && it.interface_authorized_default == 0);
        self.blocks.sort_by_key(|it| !it.foreign || it.ro);
        let over =
            self.hubs.len().saturating_sub(HUBS_MAX) + self.blocks.len().saturating_sub(BLOCKS_MAX);
        self.unlisted = self
            .unlisted
            .saturating_add(u32::try_from(over).unwrap_or(u32::MAX));
        self.hubs.truncate(HUBS_MAX);
        self.blocks.truncate(BLOCKS_MAX);
        let short = |text: &mut String, max| *text = cut(text, max).to_owned();
        self.hubs
            .iter_mut()
            .for_each(|it| short(&mut it.name, PART_BYTES_MAX));
        self.blocks
            .iter_mut()
            .for_each(|it| short(&mut it.name, PART_BYTES_MAX));
        short(&mut self.kernel, KERNEL_BYTES_MAX);
        if let Guard::Missing { why } = &mut self.guard {
            short(why, WHY_BYTES_MAX);
        }
    }

    pub(crate) fn put(&self, out: &mut Out) {
        out.array(15)
            .bytes(&self.policy)
            .bytes(&self.agent)
            .bytes(&self.boot);
        out.text(&self.kernel).int(self.usbcore_default.into());
        out.list(&self.hubs, |out, it| {
            out.array(3)
                .text(&it.name)
                .int(it.authorized_default.into())
                .int(it.interface_authorized_default.into());
        });
        out.list(&self.blocks, |out, it| {
            out.array(4)
                .text(&it.name)
                .flag(it.foreign)
                .flag(it.ro)
                .flag(it.brokered);
        });
        out.uint(self.unlisted);
        match &self.guard {
            Guard::Missing { why } => out.array(1).text(why),
            Guard::Pinned { programs, refused } => out.array(2).uint(*programs).uint(*refused),
        };
        out.flag(self.fanotify)
            .uint(self.refused)
            .uint(self.attached);
        out.uint(self.queue)
            .uint(self.unclean_ends)
            .uint(self.present);
    }

    pub(crate) fn get(from: &mut In<'_>) -> Result<Self, Malformed> {
        from.array(15, "heartbeat")?;
        Ok(Self {
            policy: from.fixed("policy")?,
            agent: from.fixed("agent")?,
            boot: from.fixed("boot")?,
            kernel: from.text(KERNEL_BYTES_MAX, "kernel")?,
            usbcore_default: from.int("usbcore default")?,
            hubs: from.list(HUBS_MAX, "hubs", |from| {
                from.array(3, "hub")?;
                Ok(HubState {
                    name: from.text(PART_BYTES_MAX, "hub name")?,
                    authorized_default: from.int("hub default")?,
                    interface_authorized_default: from.int("hub interface default")?,
                })
            })?,
            blocks: from.list(BLOCKS_MAX, "blocks", |from| {
                from.array(4, "block")?;
                Ok(BlockState {
                    name: from.text(PART_BYTES_MAX, "block name")?,
                    foreign: from.flag("foreign")?,
                    ro: from.flag("ro")?,
                    brokered: from.flag("brokered")?,
                })
            })?,
            unlisted: from.uint("unlisted")?,
            guard: match from.length(2, "guard")? {
                1 => Guard::Missing {
                    why: from.text(WHY_BYTES_MAX, "guard why")?,
                },
                2 => Guard::Pinned {
                    programs: from.uint("guard programs")?,
                    refused: from.uint("guard refused")?,
                },
                _ => return Err(Malformed::Field("guard")),
            },
            fanotify: from.flag("fanotify")?,
            refused: from.uint("refused")?,
            attached: from.uint("attached")?,
            queue: from.uint("queue")?,
            unclean_ends: from.uint("unclean ends")?,
            present: from.uint("present")?,
        })
    }
}

/// Whether the terminal of this heartbeat proves that it refuses storage.
#[must_use]
pub fn health(heartbeat: &Heartbeat, expected: &Expected) -> Health {
    let mut lacks = Vec::new();
    if expected.age_ms > expected.age_ms_max {
        lacks.push(Lack::Silent {
            age_ms: expected.age_ms,
            age_ms_max: expected.age_ms_max,
        });
    }
    if heartbeat.policy != expected.policy {
        lacks.push(Lack::Policy);
    }
    if !expected.agents.is_empty() && !expected.agents.contains(&heartbeat.agent) {
        lacks.push(Lack::Agent);
    }
    if heartbeat.usbcore_default != 0 {
        lacks.push(Lack::UsbcoreDefault(heartbeat.usbcore_default));
    }
    for hub in &heartbeat.hubs {
        if hub.authorized_default != 0 {
            lacks.push(Lack::HubOpen {
                name: hub.name.clone(),
                value: hub.authorized_default,
            });
        }
        if hub.interface_authorized_default != 0 {
            lacks.push(Lack::InterfacesOpen {
                name: hub.name.clone(),
                value: hub.interface_authorized_default,
            });
        }
    }
    let guard = guard(heartbeat, expected, &mut lacks);
    for block in heartbeat.blocks.iter().filter(|it| it.foreign && !it.ro) {
        if !(block.brokered && guard) {
            lacks.push(Lack::Writable(block.name.clone()));
        }
    }
    if heartbeat.unlisted > 0 {
        lacks.push(Lack::Unlisted(heartbeat.unlisted));
    }
    if heartbeat.present > 0 {
        lacks.push(Lack::Present(heartbeat.present));
    }
    if heartbeat.unclean_ends > expected.unclean_ends_max {
        lacks.push(Lack::UncleanEnds(heartbeat.unclean_ends));
    }
    if lacks.is_empty() {
        Health::Healthy
    } else {
        Health::Unhealthy(lacks)
    }
}

/// Whether a complete guard is pinned; what lacks is added.
fn guard(heartbeat: &Heartbeat, expected: &Expected, lacks: &mut Vec<Lack>) -> bool {
    match &heartbeat.guard {
        Guard::Pinned { programs, .. } if *programs >= expected.guard_programs => true,
        Guard::Pinned { programs, .. } => {
            lacks.push(Lack::GuardIncomplete {
                have: *programs,
                want: expected.guard_programs,
            });
            false
        }
        Guard::Missing { why } => {
            if expected.guard_required {
                lacks.push(Lack::GuardMissing(why.clone()));
            } else if !heartbeat.fanotify {
                lacks.push(Lack::Unwatched);
            }
            false
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A heartbeat that lacks nothing of [`expected`].
    pub(crate) fn healthy() -> Heartbeat {
        Heartbeat {
            policy: [1; 32],
            agent: [2; 32],
            boot: [3; 16],
            kernel: "Linux 6.1.0-31-amd64".to_owned(),
            usbcore_default: 0,
            hubs: vec![HubState {
                name: "usb1".to_owned(),
                authorized_default: 0,
                interface_authorized_default: 0,
            }],
            blocks: vec![
                BlockState {
                    name: "vda".to_owned(),
                    foreign: false,
                    ro: false,
                    brokered: false,
                },
                BlockState {
                    name: "mmcblk0".to_owned(),
                    foreign: true,
                    ro: true,
                    brokered: false,
                },
            ],
            unlisted: 0,
            guard: Guard::Pinned {
                programs: 9,
                refused: 3,
            },
            fanotify: true,
            refused: 4,
            attached: 5,
            queue: 0,
            unclean_ends: 0,
            present: 0,
        }
    }

    fn expected() -> Expected {
        Expected {
            policy: [1; 32],
            agents: vec![[9; 32], [2; 32]],
            guard_required: true,
            guard_programs: 9,
            unclean_ends_max: 1,
            age_ms: 20_000,
            age_ms_max: 45_000,
        }
    }

    fn lacks(change: impl FnOnce(&mut Heartbeat), expect: impl FnOnce(&mut Expected)) -> Vec<Lack> {
        let (mut heartbeat, mut expected) = (healthy(), expected());
        change(&mut heartbeat);
        expect(&mut expected);
        match health(&heartbeat, &expected) {
            Health::Healthy => Vec::new(),
            Health::Unhealthy(lacks) => {
                assert!(!lacks.is_empty());
                lacks
            }
        }
    }

    #[test]
    fn nothing_lacks() {
        assert_eq!(lacks(|_| {}, |_| {}), []);
        assert!(health(&healthy(), &expected()).is_healthy());
        // Any program, if none is named; as many unclean ends as are borne.
        assert_eq!(lacks(|it| it.agent = [7; 32], |it| it.agents.clear()), []);
        assert_eq!(lacks(|it| it.unclean_ends = 1, |_| {}), []);
        assert_eq!(lacks(|_| {}, |it| it.age_ms = 45_000), []);
        // The broker's medium, as long as the guard is there.
        assert_eq!(
            lacks(
                |it| (it.blocks[1].ro, it.blocks[1].brokered) = (false, true),
                |_| {}
            ),
            []
        );
        // A guard that is only wanted, and fanotify instead.
        let missing = |it: &mut Heartbeat| {
            it.guard = Guard::Missing {
                why: "no LSM".to_owned(),
            }
        };
        assert_eq!(lacks(missing, |it| it.guard_required = false), []);
    }

    #[test]
    fn each_lack_is_named() {
        let hub = "usb1".to_owned();
        assert_eq!(
            lacks(|_| {}, |it| it.age_ms = 45_001),
            [Lack::Silent {
                age_ms: 45_001,
                age_ms_max: 45_000
            }]
        );
        assert_eq!(lacks(|it| it.policy = [8; 32], |_| {}), [Lack::Policy]);
        assert_eq!(lacks(|it| it.agent = [8; 32], |_| {}), [Lack::Agent]);
        for value in [1, 2, -1] {
            assert_eq!(
                lacks(|it| it.usbcore_default = value, |_| {}),
                [Lack::UsbcoreDefault(value)]
            );
            assert_eq!(
                lacks(|it| it.hubs[0].authorized_default = value, |_| {}),
                [Lack::HubOpen {
                    name: hub.clone(),
                    value
                }]
            );
        }
        assert_eq!(
            lacks(|it| it.hubs[0].interface_authorized_default = 1, |_| {}),
            [Lack::InterfacesOpen {
                name: hub,
                value: 1
            }]
        );
        assert_eq!(
            lacks(|it| it.blocks[1].ro = false, |_| {}),
            [Lack::Writable("mmcblk0".to_owned())]
        );
        assert_eq!(lacks(|it| it.unlisted = 2, |_| {}), [Lack::Unlisted(2)]);
        assert_eq!(lacks(|it| it.present = 2, |_| {}), [Lack::Present(2)]);
        assert_eq!(
            lacks(|it| it.unclean_ends = 2, |_| {}),
            [Lack::UncleanEnds(2)]
        );
    }

    #[test]
    fn lacks_of_the_guard() {
        let missing = |it: &mut Heartbeat| {
            it.guard = Guard::Missing {
                why: "no LSM".to_owned(),
            }
        };
        assert_eq!(
            lacks(missing, |_| {}),
            [Lack::GuardMissing("no LSM".to_owned())]
        );
        let neither = |it: &mut Heartbeat| {
            missing(it);
            it.fanotify = false;
        };
        assert_eq!(
            lacks(neither, |it| it.guard_required = false),
            [Lack::Unwatched]
        );
        let some = |it: &mut Heartbeat| {
            it.guard = Guard::Pinned {
                programs: 8,
                refused: 0,
            }
        };
        let incomplete = || Lack::GuardIncomplete { have: 8, want: 9 };
        assert_eq!(lacks(some, |_| {}), [incomplete()]);
        // Without a complete guard nobody keeps others from the broker's medium.
        let open = |it: &mut Heartbeat| {
            some(it);
            (it.blocks[1].ro, it.blocks[1].brokered) = (false, true);
        };
        assert_eq!(
            lacks(open, |_| {}),
            [incomplete(), Lack::Writable("mmcblk0".to_owned())]
        );
    }

    /// The largest heartbeat of a terminal with more hubs and disks than are listed.
    pub(crate) fn greatest() -> Heartbeat {
        let mut heartbeat = healthy();
        let name = "n".repeat(PART_BYTES_MAX * 2);
        heartbeat.hubs = vec![
            HubState {
                name: name.clone(),
                authorized_default: 0,
                interface_authorized_default: 0,
            };
            HUBS_MAX + 3
        ];
        heartbeat.hubs[HUBS_MAX + 2].authorized_default = -1;
        heartbeat.blocks = vec![
            BlockState {
                name,
                foreign: true,
                ro: true,
                brokered: false,
            };
            BLOCKS_MAX + 4
        ];
        heartbeat.blocks[BLOCKS_MAX + 3].ro = false;
        heartbeat.kernel = "関".repeat(KERNEL_BYTES_MAX);
        heartbeat.guard = Guard::Missing {
            why: "w".repeat(WHY_BYTES_MAX + 1),
        };
        (heartbeat.refused, heartbeat.attached) = (u64::MAX, u64::MAX);
        (heartbeat.queue, heartbeat.unclean_ends) = (u32::MAX, u32::MAX);
        heartbeat.fit();
        heartbeat
    }

    #[test]
    fn what_is_left_out_is_counted_and_what_is_open_is_not_left_out() {
        let heartbeat = greatest();
        assert_eq!(heartbeat.unlisted, 7);
        assert_eq!(heartbeat.hubs[0].authorized_default, -1);
        assert!(!heartbeat.blocks[0].ro);
        assert_eq!(
            (heartbeat.hubs.len(), heartbeat.blocks.len()),
            (HUBS_MAX, BLOCKS_MAX)
        );
        assert_eq!(heartbeat.kernel.len(), 126);
    }
}
