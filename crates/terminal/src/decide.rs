//! What a device may do on a terminal.
//!
//! Judged interface by interface; of one number the worst configuration and alternate setting counts.
//! A device's own words (numbers, serial, name) never allow storage, and of two readings the more
//! dangerous counts. The last keyboard or pointer that was built-in or known is never refused.
//!
//! The shell decides about all devices anew when one goes away, a code is typed, a token or a report
//! descriptor is read, or a policy is taken.

use serde::Serialize;

use crate::cbor::coded;
use crate::device::{Bus, Device, Identity, Interface};
use crate::kind::{Kind, kind, kinds, of_device};
use crate::policy::{Company, Optical, Policy, Rule};
use crate::token::{Token, TokenError};

/// Two devices of different kinds on one port within this time are one that changes its face: a hand
/// needs longer.
pub const SWITCH_MS_MAX: u64 = 3_000;

coded! {
    /// What becomes of a device.
    Outcome, "outcome" {
        /// Nothing of it works.
        Refuse = 1, "refuse";
        /// It can be read.
        ReadOnly = 2, "read-only";
        /// It can be read; the broker alone writes.
        Broker = 3, "broker";
        /// What is allowed of its interfaces works.
        Allow = 4, "allow";
    }
}

coded! {
    /// Why.
    Reason, "reason" {
        /// The policy allows the kind.
        Allowed = 1, "allowed";
        /// Part of the machine.
        BuiltIn = 2, "built-in";
        /// It was in use when the terminal was enrolled.
        Known = 3, "known";
        /// Without it nobody could work: the last of its kind, built-in or known.
        LastOne = 4, "last-one";
        /// Its code was typed.
        Confirmed = 5, "confirmed";
        /// The policy names the model.
        Model = 6, "model";
        /// It carries a valid token.
        Company = 7, "company";
        /// The policy lets discs be read.
        Disc = 8, "disc";
        /// The policy refuses the kind, or does not name it.
        Refused = 20, "refused";
        /// A keyboard or pointer that waits for its code.
        Unconfirmed = 21, "unconfirmed";
        /// It was something else a moment ago.
        Switched = 22, "switched";
        /// It says nothing about itself.
        Nothing = 23, "nothing";
        /// What it says about itself cannot be read.
        Unreadable = 24, "unreadable";
        /// Storage beside other functions in one device.
        Hidden = 25, "hidden";
        /// Its token was not looked at yet.
        TokenUnread = 26, "token-unread";
        /// It carries no token.
        TokenMissing = 27, "token-missing";
        /// It carries a token that does not count: copied, expired, not signed by the company.
        TokenBad = 28, "token-bad";
        /// What the device as a whole claims to be is refused.
        Whole = 29, "whole";
        /// The kernel made something of it that it did not say it was.
        Beyond = 30, "beyond";
    }
}

impl Reason {
    /// Whether it lets something work.
    #[must_use]
    pub fn allows(self) -> bool {
        self.code() < Self::Refused.code()
    }

    /// Whether somebody vouches for this very device, more than for its kind.
    #[must_use]
    pub fn is_vouched(self) -> bool {
        matches!(
            self,
            Self::BuiltIn | Self::Known | Self::LastOne | Self::Confirmed | Self::Model
        )
    }
}

/// What is known of a medium's token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TokenState {
    /// Nobody looked.
    #[default]
    Unread,
    /// What [`crate::token::verify`] said.
    Read(Result<Token, TokenError>),
}

/// What was on the same port before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its identity.
    pub identity: Identity,
    /// Its kinds ([`kinds`]).
    pub kinds: Vec<Kind>,
    /// Whether a report descriptor of it was never read, so that its kinds are a guess.
    pub unread: bool,
    /// How long ago it went away, in ms of a clock that never goes back.
    pub gone_ms: u64,
}

/// Another device that works, or some of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its identity.
    pub identity: Identity,
    /// Kinds of those of its interfaces that work.
    pub kinds: Vec<Kind>,
}

impl Present {
    /// Of a device after what was decided about it.
    #[must_use]
    pub fn new(device: &Device, verdict: &Verdict) -> Self {
        Self {
            identity: device.identity(),
            kinds: verdict
                .rulings
                .iter()
                .filter(|it| it.reason.allows())
                .map(|it| it.kind)
                .collect(),
        }
    }
}

/// What the shell knows beside the device itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Devices in use when the terminal was enrolled. One entry lets one device be known.
    pub enrolled: Vec<Identity>,
    /// Devices, by key and identity, whose code was typed; forgotten when they go away.
    pub confirmed: Vec<(String, Identity)>,
    /// Devices that are present and of which something works, without this one.
    pub present: Vec<Present>,
    /// The medium's token.
    pub token: TokenState,
    /// What was on the same port before.
    pub before: Option<Before>,
    /// Interfaces of which the kernel made more than they said: a driver of another kind has one
    /// ([`crate::driver::fits`]), keys come from a pointer, a disk is behind it.
    pub beyond: Vec<u8>,
    /// A keyboard is there that is not on USB: PS/2, the one of a portable computer.
    pub other_keyboard: bool,
}

/// The judgement on one interface number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ruling {
    /// bInterfaceNumber.
    pub number: u8,
    /// What it is for, at worst.
    pub kind: Kind,
    /// Why it works or does not.
    pub reason: Reason,
}

/// The judgement on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What becomes of it.
    pub outcome: Outcome,
    /// What it is, at worst.
    pub kind: Kind,
    /// Why; of several reasons the one for the gravest refusal.
    pub reason: Reason,
    /// By interface number, ascending; empty where the bus has none.
    pub rulings: Vec<Ruling>,
    /// A code should be asked for; then decide again with it in [`Known::confirmed`].
    pub ask_confirmation: bool,
    /// No known keyboard is there: the code is typed on the new one, whose keys nobody else gets
    /// meanwhile.
    pub confirm_on_itself: bool,
    /// The medium may be looked at for a token, while nothing can write to it; then decide again.
    pub ask_token: bool,
    /// Interfaces whose HID report descriptor was not read and which therefore count as keyboards.
    /// It can be read while no driver is bound; then decide again, before asking for a code.
    pub unread: Vec<u8>,
}

impl Verdict {
    /// Interface numbers and whether each works.
    #[must_use]
    pub fn interfaces(&self) -> Vec<(u8, bool)> {
        self.rulings
            .iter()
            .map(|it| (it.number, it.reason.allows()))
            .collect()
    }

    fn whole(kind: Kind, reason: Reason, outcome: Outcome) -> Self {
        Self {
            outcome,
            kind,
            reason,
            rulings: Vec::new(),
            ask_confirmation: false,
            confirm_on_itself: false,
            ask_token: false,
            unread: Vec::new(),
        }
    }
}

/// The verdict on a device whose descriptors could not be read.
#[must_use]
pub fn unreadable() -> Verdict {
    Verdict::whole(Kind::Other, Reason::Unreadable, Outcome::Refuse)
}

/// What the device may do.
#[must_use]
pub fn decide(device: &Device, known: &Known, policy: &Policy) -> Verdict {
    match device.bus {
        Bus::Usb | Bus::Bluetooth => by_interface(device, known, policy),
        Bus::Optical => match policy.optical {
            Optical::ReadOnly => Verdict::whole(Kind::Storage, Reason::Disc, Outcome::ReadOnly),
            Optical::Refuse => Verdict::whole(Kind::Storage, Reason::Refused, Outcome::Refuse),
        },
        Bus::Virtual => Verdict::whole(Kind::Storage, Reason::Refused, Outcome::Refuse),
        Bus::Mmc | Bus::Nvme | Bus::Scsi if device.built_in => {
            Verdict::whole(Kind::Storage, Reason::BuiltIn, Outcome::Allow)
        }
        Bus::Mmc | Bus::Nvme | Bus::Scsi => {
            let (reason, outcome) = medium(device, known, policy);
            Verdict {
                ask_token: reason == Reason::TokenUnread,
                ..Verdict::whole(Kind::Storage, reason, outcome)
            }
        }
    }
}

fn by_interface(device: &Device, known: &Known, policy: &Policy) -> Verdict {
    if device.interfaces.is_empty() {
        return Verdict::whole(Kind::Other, Reason::Nothing, Outcome::Refuse);
    }
    let judge = Judge::new(device, known, policy);
    let mut rulings: Vec<Ruling> = Vec::new();
    for interface in &device.interfaces {
        let ruling = judge.interface(interface);
        match rulings.iter_mut().find(|it| it.number == ruling.number) {
            Some(it) if gravity(&ruling) > gravity(it) => *it = ruling,
            Some(_) => {}
            None => rulings.push(ruling),
        }
    }
    rulings.sort_by_key(|it| it.number);
    let first = rulings.iter().max_by_key(|it| gravity(it));
    let (kind, reason) = first.map_or((Kind::Other, Reason::Nothing), |it| (it.kind, it.reason));
    let asks = rulings.iter().any(|it| it.reason == Reason::Unconfirmed);
    let unread = judge.unread(&rulings);
    Verdict {
        outcome: judge.outcome(&rulings),
        kind,
        reason,
        ask_confirmation: asks,
        confirm_on_itself: asks && !known.other_keyboard && !judge.someone_has(Kind::Keyboard),
        ask_token: rulings.iter().any(|it| it.reason == Reason::TokenUnread),
        rulings,
        unread,
    }
}

/// Refusals before permissions, and among them what would carry data before the rest.
/// A total order: the device's own order never decides.
fn gravity(ruling: &Ruling) -> (bool, u8, u8, u8) {
    let kind = match ruling.kind {
        Kind::Storage => 9,
        Kind::Phone => 8,
        Kind::Network => 7,
        Kind::Serial => 6,
        Kind::Bluetooth => 5,
        Kind::Vendor => 4,
        Kind::Other => 3,
        Kind::Keyboard => 2,
        Kind::Printer | Kind::Camera | Kind::Pointer => 1,
        Kind::Hub | Kind::Headset | Kind::SmartCard => 0,
    };
    (
        !ruling.reason.allows(),
        kind,
        ruling.reason.code(),
        ruling.kind.code(),
    )
}

/// A storage medium by its token; a serial is never enough.
fn medium(device: &Device, known: &Known, policy: &Policy) -> (Reason, Outcome) {
    let outcome = match policy.company {
        Company::Refuse => return (Reason::Refused, Outcome::Refuse),
        Company::ReadOnly => Outcome::ReadOnly,
        Company::Broker => Outcome::Broker,
    };
    match &known.token {
        TokenState::Unread => (Reason::TokenUnread, Outcome::Refuse),
        TokenState::Read(Ok(token)) if token.serial == device.serial => (Reason::Company, outcome),
        TokenState::Read(Err(TokenError::Missing)) => (Reason::TokenMissing, Outcome::Refuse),
        TokenState::Read(_) => (Reason::TokenBad, Outcome::Refuse),
    }
}

/// One device in its circumstances.
struct Judge<'a> {
    device: &'a Device,
    known: &'a Known,
    policy: &'a Policy,
    is_known: bool,
    confirmed: bool,
    model: bool,
    switched: bool,
    /// Storage and nothing else.
    only_storage: bool,
    whole: Option<Kind>,
}

impl<'a> Judge<'a> {
    fn new(device: &'a Device, known: &'a Known, policy: &'a Policy) -> Self {
        let identity = device.identity();
        let kinds = kinds(device);
        let count = |others: &mut dyn Iterator<Item = Identity>| {
            others.filter(|it| *it == identity).count()
        };
        // An entry that is in use elsewhere makes no second device known.
        let is_known = count(&mut known.enrolled.iter().cloned())
            > count(&mut known.present.iter().map(|it| it.identity.clone()));
        // What was never read cannot have been something else: the very same device is no other one.
        let same = |it: &Before| it.kinds == kinds || (it.unread && it.identity == identity);
        let switched = known
            .before
            .as_ref()
            .is_some_and(|it| it.gone_ms <= SWITCH_MS_MAX && !same(it));
        Self {
            confirmed: known
                .confirmed
                .iter()
                .any(|(key, it)| *key == device.key && *it == identity),
            model: policy.model(device).is_some(),
            only_storage: kinds == [Kind::Storage],
            whole: of_device(device),
            device,
            known,
            policy,
            is_known,
            switched,
        }
    }

    /// Whether another device that is allowed sends keys or moves the pointer.
    fn someone_has(&self, role: Kind) -> bool {
        self.known.present.iter().any(|it| it.kinds.contains(&role))
    }

    fn interface(&self, interface: &Interface) -> Ruling {
        let kind = kind(self.device, interface);
        let mut reason = self.reason(kind);
        let input = matches!(kind, Kind::Keyboard | Kind::Pointer);
        let trusted = self.device.built_in || self.is_known;
        if self.switched && !(input && self.device.built_in) {
            reason = Reason::Switched;
        }
        if reason.allows() && self.whole_is_refused() && !(input && trusted) {
            reason = Reason::Whole;
        }
        if !self.known.beyond.is_empty() {
            reason = Reason::Beyond;
        }
        // An interface that turned out to be something else is nobody's keyboard.
        let honest = !self.known.beyond.contains(&interface.number);
        if !reason.allows() && input && trusted && honest && !self.someone_has(kind) {
            reason = Reason::LastOne;
        }
        Ruling {
            number: interface.number,
            kind,
            reason,
        }
    }

    fn whole_is_refused(&self) -> bool {
        self.whole.is_some_and(|kind| !self.reason(kind).allows())
    }

    fn reason(&self, kind: Kind) -> Reason {
        let trusted = || {
            if self.device.built_in {
                Some(Reason::BuiltIn)
            } else if self.is_known {
                Some(Reason::Known)
            } else {
                None
            }
        };
        if kind == Kind::Storage {
            return if self.only_storage {
                medium(self.device, self.known, self.policy).0
            } else {
                Reason::Hidden
            };
        }
        if kind == Kind::Phone {
            return Reason::Refused;
        }
        if kind == Kind::Hub && self.device.built_in {
            return Reason::BuiltIn;
        }
        if self.model {
            return Reason::Model;
        }
        match self.policy.rule(kind) {
            Rule::Refuse => Reason::Refused,
            Rule::Allow => Reason::Allowed,
            Rule::Confirm if self.confirmed => Reason::Confirmed,
            Rule::Confirm => trusted().unwrap_or(Reason::Unconfirmed),
        }
    }

    fn outcome(&self, rulings: &[Ruling]) -> Outcome {
        if rulings.iter().any(|it| it.reason == Reason::Company) {
            return medium(self.device, self.known, self.policy).1;
        }
        if rulings.iter().any(|it| it.reason.allows()) {
            Outcome::Allow
        } else {
            Outcome::Refuse
        }
    }

    /// Interfaces on which a report descriptor could still change the ruling.
    fn unread(&self, rulings: &[Ruling]) -> Vec<u8> {
        let mut out: Vec<u8> = self
            .device
            .interfaces
            .iter()
            .filter(|it| it.class == 3 && it.report.is_none())
            .map(|it| it.number)
            .filter(|number| {
                rulings.iter().any(|it| {
                    it.number == *number
                        && matches!(
                            it.reason,
                            Reason::Unconfirmed
                                | Reason::Refused
                                | Reason::Allowed
                                | Reason::Switched
                        )
                })
            })
            .collect();
        out.sort_unstable();
        out.dedup();
        out
    }
}

#[cfg(test)]
pub(crate) mod tests;
