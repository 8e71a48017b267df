//! Records to bytes and back: docs/format/record.md, docs/format/record.cddl.
//!
//! Invariants: one record has one encoding, and only that one decodes; a kind or version that is
//! not known decodes to [`Body::Unknown`]; numbers of kinds, versions and keys are never reused.
//! Never: a panic or unbounded memory, whatever the bytes.

use minicbor::Encoder;

use super::cbor::{
    Decoder, Fields, MapReader, Out, Value, array, array_of, check, malformed, wrote,
};
use super::{
    Approval, Body, CaseFinding, Change, ClassCount, Effects, Exposure, FindingKind, Grant,
    GrantKind, Order, RefusalReason, Who,
};
use crate::{ChangeId, ClientSource, Pin, PinnedColumn, PinnedRelation, Sealing};

/// The longest record, in bytes: with its times an entry of a log has at most 65,535
/// (docs/format/logs.md).
pub const BYTES_MAX: usize = 65_518;

/// The version of every kind so far.
const VERSION: u8 = 1;
/// The version of an exposure with an [`Order`].
const ORDERED: u8 = 2;

/// A record that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It would be longer than [`BYTES_MAX`].
    #[error("record of {bytes} bytes is too long; at most 65518")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A kind this version does not know is kept as stored, never written again.
    #[error("record of unknown kind {kind} cannot be written")]
    Unknown {
        /// The kind.
        kind: u16,
    },
}

/// Bytes that are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`BYTES_MAX`].
    #[error("record of {bytes} bytes is too long; at most 65518")]
    TooLong {
        /// The length.
        bytes: usize,
    },
    /// Not CBOR, or not in its deterministic form (RFC 8949 section 4.2.1).
    #[error("record is not deterministic CBOR at byte {at}")]
    NotCanonical {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// Something else stands where the kind of record asks for `what`.
    #[error("record lacks {what} before byte {at}")]
    Malformed {
        /// Where, in bytes from the start.
        at: usize,
        /// What was expected.
        what: &'static str,
    },
}

/// The record's bytes: a map with `0: kind, 1: version, 2: critical` and the kind's own fields.
///
/// # Errors
/// If it is longer than [`BYTES_MAX`], or of an unknown kind.
pub fn encode(body: &Body) -> Result<Vec<u8>, EncodeError> {
    let mut fields = Fields::new();
    let (kind, critical) = body.kind();
    if matches!(body, Body::Unknown { .. }) {
        return Err(EncodeError::Unknown { kind });
    }
    fields.put(0, &kind);
    fields.put(1, &version(body));
    fields.put(2, &critical);
    put_body(body, &mut fields);
    let mut out = Encoder::new(Vec::new());
    fields.finish(&mut out);
    let bytes = out.into_writer();
    if bytes.len() > BYTES_MAX {
        return Err(EncodeError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// The inverse of [`encode`]; other encodings of the same values are refused.
///
/// # Errors
/// If the bytes are not the one encoding of a record.
pub fn decode(bytes: &[u8]) -> Result<Body, DecodeError> {
    within(bytes)?;
    let read = read(bytes);
    // What was read to its end was in its one encoding; of the rest nobody has looked at all.
    if matches!(read, Err(_) | Ok(Body::Unknown { .. })) {
        check(bytes)?;
    }
    read
}

fn read(bytes: &[u8]) -> Result<Body, DecodeError> {
    let mut from = Decoder::new(bytes);
    let body = read_body(&mut from)?;
    if matches!(body, Body::Unknown { .. }) || from.is_at_end() {
        Ok(body)
    } else {
        Err(malformed(&from, "its end"))
    }
}

fn read_body(from: &mut Decoder<'_>) -> Result<Body, DecodeError> {
    let mut map = MapReader::new(from)?;
    let kind: u16 = map.get(0)?;
    let version: u8 = map.get(1)?;
    let critical: bool = map.get(2)?;
    if version != VERSION && (kind, version) != (EXPOSURE, ORDERED) {
        return Ok(Body::Unknown { kind, critical });
    }
    let Some(mut body) = get_body(kind, &mut map)? else {
        return Ok(Body::Unknown { kind, critical });
    };
    if let (ORDERED, Body::Exposure(exposure)) = (version, &mut body) {
        exposure.order = map.get(15)?;
        if exposure.order == Order::default() {
            return Err(malformed(map.from, "an order, or version 1"));
        }
    }
    if body.kind().1 != critical {
        return Err(malformed(map.from, "its kind's critical bit"));
    }
    map.finish().map(|()| body)
}

/// What says nothing about order is as it was before there were orders.
fn version(body: &Body) -> u8 {
    match body {
        Body::Exposure(exposure) if exposure.order != Order::default() => ORDERED,
        _ => VERSION,
    }
}

/// A record's kind, by its first bytes alone; `None` if they are no record's.
pub fn kind(bytes: &[u8]) -> Option<u16> {
    let mut from = Decoder::new(bytes);
    from.map().ok()?;
    (from.u8().ok()? == 0).then(|| from.u16().ok()).flatten()
}

fn within(bytes: &[u8]) -> Result<(), DecodeError> {
    match bytes.len() {
        bytes if bytes > BYTES_MAX => Err(DecodeError::TooLong { bytes }),
        _ => Ok(()),
    }
}

fn value_bytes(value: &impl Value) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    value.put(&mut out);
    out.into_writer()
}

fn value_from<T: Value>(bytes: &[u8]) -> Result<T, DecodeError> {
    within(bytes)?;
    check(bytes)?;
    T::get(&mut Decoder::new(bytes))
}

/// A change's canonical bytes, as they stand in its proposal.
pub fn encode_change(change: &Change) -> Vec<u8> {
    value_bytes(change)
}

/// The inverse of [`encode_change`].
///
/// # Errors
/// If the bytes are not the one encoding of a change.
pub fn decode_change(bytes: &[u8]) -> Result<Change, DecodeError> {
    value_from(bytes)
}

/// A pin's canonical bytes.
pub fn encode_pin(pin: &Pin) -> Vec<u8> {
    value_bytes(pin)
}

/// The inverse of [`encode_pin`].
///
/// # Errors
/// If the bytes are not the one encoding of a pin.
pub fn decode_pin(bytes: &[u8]) -> Result<Pin, DecodeError> {
    value_from(bytes)
}

/// What an approver signs with Ed25519: `sekisho change v1`, a zero byte, the ledger's id (16
/// bytes), the change's number (4 bytes, big endian), the change's canonical bytes. So a signature
/// holds for one change of one ledger.
pub fn change_bytes(ledger: &[u8; 16], number: ChangeId, change: &Change) -> Vec<u8> {
    let mut bytes = b"sekisho change v1\0".to_vec();
    bytes.extend_from_slice(ledger);
    bytes.extend_from_slice(&number.0.to_be_bytes());
    bytes.extend_from_slice(&encode_change(change));
    bytes
}

/// Kinds: number, critical bit (folding over it unread would be wrong), fields with their keys.
macro_rules! bodies {
    ($($kind:literal $critical:literal $name:ident { $($key:literal $field:ident),* })+) => {
        impl Body {
            /// The kind's number, and whether a program that does not know the kind must stop.
            pub fn kind(&self) -> (u16, bool) {
                match self {
                    $(Self::$name { .. } => ($kind, $critical),)+
                    Self::Exposure(_) => (EXPOSURE, true),
                    Self::Unknown { kind, critical } => (*kind, *critical),
                }
            }
        }

        fn put_body(body: &Body, fields: &mut Fields) {
            match body {
                $(Body::$name { $($field),* } => { $(fields.put($key, $field);)* })+
                Body::Exposure(exposure) => put_exposure(exposure, fields),
                Body::Unknown { .. } => {}
            }
        }

        /// `None`: the kind is not known.
        fn get_body(kind: u16, map: &mut MapReader<'_, '_>) -> Result<Option<Body>, DecodeError> {
            Ok(Some(match kind {
                $($kind => Body::$name { $($field: map.get($key)?),* },)+
                EXPOSURE => Body::Exposure(get_exposure(map)?),
                _ => return Ok(None),
            }))
        }
    };
}

const EXPOSURE: u16 = 8;

bodies! {
    1 true Genesis { 3 centre, 4 ledger }
    2 true Started { 3 version, 4 tail_cut, 5 elapsed_credit_ms, 6 wall_step_ms, 7 boot_id, 8 boot_ms }
    3 false Stopped {}
    4 false SessionOpened { 3 who, 4 terminal, 5 database, 6 tls }
    5 false SessionClosed { 3 session }
    6 false Refused { 3 who, 4 reason, 5 count, 6 shape, 7 terminal }
    7 false Shape { 3 digest, 4 text }
    9 false Finding { 3 who, 4 kind, 5 count, 6 relation }
    10 true Proposed { 3 change, 4 by, 5 what }
    11 true Approved { 3 change, 4 approval }
    12 true InForce { 3 change, 4 loosens, 5 bootstrap }
    13 true Withdrawn { 3 change, 4 by }
    14 true LogOpened { 3 ledger, 4 slot }
    15 false ClockStepped { 3 step_ms }
    16 false Snapshot { 3 fold, 4 sequence, 5 digest }
    17 false Archived { 3 segment, 4 digest, 5 bytes }
    18 false TimeStamped { 3 size, 4 digest }
    19 false Space { 3 full }
    20 false LossDeclared { 3 generation, 4 size, 5 root, 6 lost }
    21 false ListsDestroyed { 3 before }
    22 true OfficerFile { 3 by }
    23 false ReceiptCap { 3 subjects }
    24 false EntriesPruned { 3 below, 4 before, 5 change }
    26 true Case { 3 case, 4 new, 5 finding, 6 grave, 7 response }
    27 false CaseNoted { 3 case, 4 by, 5 text }
    28 true CaseClosed { 3 case, 4 by, 5 asked, 6 reason, 7 text }
    29 true CaseReopened { 3 case, 4 by, 5 text }
    30 false Rebaselined { 3 actor, 4 by, 5 asked }
    31 false Canary { 3 count, 4 by, 5 list }
    32 false Calls { 3 count, 4 list, 5 by }
    33 false Terminal { 3 terminal, 4 actor, 5 said, 6 bytes, 7 at_ms }
    34 false Counters { 3 database, 4 rows, 5 accounted, 6 set_back }
    35 true TerminalAsked { 3 terminal, 4 name, 5 system }
    36 true TerminalReport { 3 terminal, 4 since, 5 sequence, 6 report }
    37 true TerminalHealth { 3 terminal, 4 healthy, 5 lacks }
    38 true TerminalEvidence {
        3 terminal, 4 by, 5 settings_at_ms, 6 policy, 7 differences, 8 events_until_ms
    }
    39 true TerminalCopy {
        3 who, 4 terminal, 5 medium, 6 bytes, 7 classes, 8 subjects, 9 refused, 10 list
    }
}

fn put_exposure(exposure: &Exposure, fields: &mut Fields) {
    fields.put(3, &exposure.who);
    fields.put(4, &exposure.rows);
    fields.put(5, &exposure.classes);
    fields.put(6, &exposure.probes);
    fields.put(7, &exposure.row_tags_disagree);
    fields.put(8, &exposure.subjects);
    fields.put(9, &exposure.probed);
    fields.put(10, &exposure.masked);
    fields.put(11, &exposure.shape);
    fields.put(12, &exposure.policy);
    fields.put(13, &exposure.list);
    fields.put(14, &exposure.purpose);
    if exposure.order != Order::default() {
        fields.put(15, &exposure.order);
    }
}

fn get_exposure(map: &mut MapReader<'_, '_>) -> Result<Exposure, DecodeError> {
    Ok(Exposure {
        who: map.get(3)?,
        rows: map.get(4)?,
        classes: map.get(5)?,
        probes: map.get(6)?,
        row_tags_disagree: map.get(7)?,
        subjects: map.get(8)?,
        probed: map.get(9)?,
        masked: map.get(10)?,
        shape: map.get(11)?,
        policy: map.get(12)?,
        list: map.get(13)?,
        purpose: map.get(14)?,
        order: Order::default(),
    })
}

/// Changes are maps: `0: kind`, then the kind's fields. `Pin` and `Grant` hold their value at key 1.
macro_rules! changes {
    ($($kind:literal $name:ident { $($key:literal $field:ident),+ })+; $($tkind:literal $tname:ident)+) => {
        impl Value for Change {
            fn put(&self, out: &mut Out) {
                let mut fields = Fields::new();
                match self {
                    $(Self::$name { $($field),+ } => {
                        fields.put(0, &($kind as u8));
                        $(fields.put($key, $field);)+
                    })+
                    $(Self::$tname(value) => {
                        fields.put(0, &($tkind as u8));
                        fields.put(1, value);
                    })+
                }
                fields.finish(out);
            }

            fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                let mut map = MapReader::new(from)?;
                let kind: u8 = map.get(0)?;
                let change = match kind {
                    $($kind => Self::$name { $($field: map.get($key)?),+ },)+
                    $($tkind => Self::$tname(map.get(1)?),)+
                    _ => return Err(malformed(map.from, "a kind of change")),
                };
                map.finish().map(|()| change)
            }
        }
    };
}

changes! {
    1 ClientAdded { 1 client, 2 code, 3 name }
    2 ActorSet { 1 actor, 2 login, 3 role, 4 clients, 5 active }
    3 Credential { 1 actor, 2 commitment }
    4 EnrolmentCode { 1 actor, 2 commitment, 3 until_ms }
    5 SigningKey { 1 actor, 2 public_key }
    6 Policy { 1 cedar, 2 masks }
    7 Numbers { 1 toml }
    10 GrantEnded { 1 grant }
    11 ClientKey { 1 client, 2 epoch }
    12 LogKey { 1 number, 2 public_key }
    13 ClientDestroyed { 1 client }
    14 Generation { 1 number, 2 checkpoint, 3 lost }
    15 OfficerFile { 1 client }
    16 Retention { 1 months }
    17 UncoveredCap { 1 subjects }
    18 ReceiptCap { 1 client, 2 subjects }
    19 EntryRetention { 1 months }
    20 Watch { 1 cases_per_day, 2 response }
    21 Terminal { 1 terminal, 2 name, 3 system, 4 address, 5 active }
    22 TerminalPolicy { 1 toml };
    8 Pin
    9 Grant
}

/// Structures are arrays, their fields in order.
macro_rules! arrays {
    ($($ty:ident [$count:literal] { $($field:ident),+ })+) => {$(
        impl Value for $ty {
            fn put(&self, out: &mut Out) {
                wrote(out.array($count).map(|_| ()));
                $(self.$field.put(out);)+
            }
            fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                array_of(from, $count)?;
                Ok(Self { $($field: Value::get(from)?),+ })
            }
        }
    )+};
}

arrays! {
    Who [4] { actor, role, session, grant }
    ClassCount [3] { class, outcome, cells }
    Order [4] { pairs, ascending, near, missed }
    CaseFinding [11] {
        detector, actor, others, client, bits, version, numbers, cause, at_ms, rests_on, days
    }
    Grant [7] { grant, actor, client, what, amount, until_ms, ticket }
    Approval [2] { approver, signature }
    Sealing [3] { class, domain, mode }
    PinnedColumn [3] { name, type_name, sealing }
    PinnedRelation [4] { schema, name, columns, client }
    Pin [2] { database, relations }
}

impl Value for Effects {
    fn put(&self, out: &mut Out) {
        wrote(out.array(6).map(|_| ()));
        self.charged.put(out);
        self.newly_distinct.put(out);
        self.windows.iter().for_each(|window| window.put(out));
    }
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        array_of(from, 6)?;
        let (charged, newly_distinct) = (Value::get(from)?, Value::get(from)?);
        let mut windows = [0; 4];
        for window in &mut windows {
            *window = Value::get(from)?;
        }
        Ok(Self {
            charged,
            newly_distinct,
            windows,
        })
    }
}

impl Value for ClientSource {
    fn put(&self, out: &mut Out) {
        match self {
            Self::Column(name) => {
                wrote(out.array(2).map(|_| ()));
                1_u8.put(out);
                name.put(out);
            }
            Self::Fixed(client) => {
                wrote(out.array(2).map(|_| ()));
                2_u8.put(out);
                client.put(out);
            }
            Self::Scope => {
                wrote(out.array(1).map(|_| ()));
                3_u8.put(out);
            }
        }
    }
    fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = array(from)?;
        let kind: u8 = Value::get(from)?;
        match (kind, count) {
            (1, 2) => Value::get(from).map(Self::Column),
            (2, 2) => Value::get(from).map(Self::Fixed),
            (3, 1) => Ok(Self::Scope),
            _ => Err(malformed(from, "a client source")),
        }
    }
}

macro_rules! numbered {
    ($($ty:ident $what:literal { $($variant:ident),+ })+) => {$(
        impl Value for $ty {
            fn put(&self, out: &mut Out) { (*self as u8).put(out) }
            fn get(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                let code: u8 = Value::get(from)?;
                $(if code == Self::$variant as u8 { return Ok(Self::$variant); })+
                Err(malformed(from, $what))
            }
        }
    )+};
}

numbered! {
    RefusalReason "a reason" {
        SubjectBudget, ProbeBudget, MaskedBudget, Policy, Grant, Statement, Pin, Value, Ledger,
        Key, Login, Revoked
    }
    FindingKind "a kind of finding" {
        CellDoesNotVerify, CellOutOfPlace, CellOutOfScope, PinDiffers, UnexpectedCells
    }
    GrantKind "a kind of grant" { See, Import, Carry }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
