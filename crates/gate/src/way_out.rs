//! Rows on their way out: whole cells are recognised, judged, and opened or left as they are.
//!
//! Invariants: only what is inside a cell that verifies decides whose and of what class a value is
//! (invariant 4); what is in doubt stays sealed (invariant 2); an opened value leaves this module
//! only inside [`Verdict::Opened`], together with what it costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::record::{FindingKind, RefusalReason as Reason};
use event::{Class, Mode, Outcome, Sealing};
use ledger::Charge;
use pgwire::backend::{DataRow, write_data_row};
use pgwire::contain::{self, each_cell};
use pgwire::copy::{CopyFormat, rewrite_row};
use seal::CellHeader;

use crate::catalogue::Known;
use crate::errors::GateError;
use crate::rights::Rights;
use crate::way_in::Portal;

/// What becomes of a row.
pub(crate) enum Verdict {
    /// No cell in it is opened.
    AsItIs,
    /// Opened: the whole message, and what it costs.
    Opened {
        message: Vec<u8>,
        charges: Vec<Charge>,
    },
    /// The policy refuses it.
    Refused(GateError),
}

/// How one column may carry cells.
#[derive(Clone, Copy, Debug)]
struct Carrier {
    container: Option<contain::Kind>,
    /// If it comes straight from a pinned column: what its cells have to be.
    expected: Option<Sealing>,
}

/// The judge of one statement's rows.
pub(crate) struct Judge {
    carriers: Option<Vec<Carrier>>,
    pinned: Arc<BTreeMap<(u32, i16), Sealing>>,
    copy_format: Option<CopyFormat>,
    copying: bool,
    findings: BTreeMap<FindingKind, u32>,
}

impl Judge {
    pub(crate) fn new(portal: &Portal, known: &Known) -> Self {
        let copy_format = match &portal.prepared.statement().kind {
            sql::Kind::CopyOut(copy) => crate::copy_format::of(&copy.format),
            _ => None,
        };
        Self {
            carriers: None,
            pinned: Arc::clone(known.pinned_attributes()),
            copy_format,
            copying: false,
            findings: BTreeMap::new(),
        }
    }

    pub(crate) fn copying_out(&mut self) {
        self.copying = true;
    }

    pub(crate) fn take_findings(&mut self) -> BTreeMap<FindingKind, u32> {
        std::mem::take(&mut self.findings)
    }

    /// A DataRow, header included.
    pub(crate) fn row(&mut self, rights: &mut Rights, portal: &Portal, message: &[u8]) -> Verdict {
        if rights.opens_nothing() || !contain::may_contain(message) {
            return Verdict::AsItIs;
        }
        let Ok(row) = DataRow::decode(&message[5..]) else {
            return Verdict::AsItIs;
        };
        let carriers = match self.carriers.take() {
            Some(carriers) => carriers,
            None => self.carriers_of(portal),
        };
        let mut opener = Opener::new(rights, &mut self.findings);
        let mut fields: Vec<Option<Vec<u8>>> = Vec::with_capacity(row.values.len());
        for (index, value) in row.values.iter().enumerate() {
            let carrier = carriers.get(index).copied();
            fields.push(match (value, carrier) {
                (Some(value), Some(carrier)) => opener.value(value, carrier),
                _ => None,
            });
        }
        self.carriers = Some(carriers);
        let Opener {
            charges, refused, ..
        } = opener;
        if let Some(error) = refused {
            wipe(fields);
            return Verdict::Refused(error);
        }
        if charges.is_empty() {
            return Verdict::AsItIs;
        }
        let mut out = bytes::BytesMut::with_capacity(message.len());
        let values = row
            .values
            .iter()
            .zip(&fields)
            .map(|(value, field)| field.as_deref().or(value));
        let written = write_data_row(&mut out, values);
        wipe(fields);
        match written {
            Ok(()) => Verdict::Opened {
                message: out.into(),
                charges,
            },
            Err(_) => Verdict::AsItIs,
        }
    }

    /// A CopyData of COPY TO STDOUT, header included: one row.
    pub(crate) fn copy_row(&mut self, rights: &mut Rights, message: &[u8]) -> Verdict {
        let Some(format) = &self.copy_format else {
            return Verdict::AsItIs;
        };
        if !self.copying || rights.opens_nothing() || !contain::may_contain(message) {
            return Verdict::AsItIs;
        }
        let body = &message[5..];
        let end = body.len()
            - body
                .iter()
                .rev()
                .take_while(|b| matches!(b, b'\n' | b'\r'))
                .count();
        let mut opener = Opener::new(rights, &mut self.findings);
        let rewritten = rewrite_row(&body[..end], format, |_, value| {
            let value = value?;
            opener.value(
                value,
                Carrier {
                    container: Some(contain::Kind::Guess),
                    expected: None,
                },
            )
        });
        let Opener {
            charges, refused, ..
        } = opener;
        if let Some(error) = refused {
            return Verdict::Refused(error);
        }
        match rewritten {
            Ok(Some(mut row)) if !charges.is_empty() => {
                row.extend_from_slice(&body[end..]);
                let mut out = bytes::BytesMut::with_capacity(row.len() + 5);
                let written = pgwire::frontend::write_copy_data(&mut out, &row);
                zeroize::Zeroize::zeroize(&mut row);
                match written {
                    Ok(()) => Verdict::Opened {
                        message: out.into(),
                        charges,
                    },
                    Err(_) => Verdict::AsItIs,
                }
            }
            _ => Verdict::AsItIs,
        }
    }

    fn carriers_of(&self, portal: &Portal) -> Vec<Carrier> {
        let Some(columns) = portal.prepared.columns() else {
            return Vec::new();
        };
        columns
            .iter()
            .enumerate()
            .map(|(index, column)| Carrier {
                container: contain::Kind::of(column.type_oid, portal.format(index)),
                expected: self.pinned.get(&(column.table, column.attribute)).copied(),
            })
            .collect()
    }
}

fn wipe(fields: Vec<Option<Vec<u8>>>) {
    for mut field in fields.into_iter().flatten() {
        zeroize::Zeroize::zeroize(&mut field);
    }
}

/// Opens the cells of one row, and counts what they cost.
struct Opener<'a> {
    rights: &'a mut Rights,
    findings: &'a mut BTreeMap<FindingKind, u32>,
    charges: Vec<Charge>,
    refused: Option<GateError>,
}

impl<'a> Opener<'a> {
    fn new(rights: &'a mut Rights, findings: &'a mut BTreeMap<FindingKind, u32>) -> Self {
        Self {
            rights,
            findings,
            charges: Vec::new(),
            refused: None,
        }
    }

    /// A value with its cells opened; `None` if none was.
    fn value(&mut self, value: &[u8], carrier: Carrier) -> Option<Vec<u8>> {
        let container = carrier.container?;
        let expected = if container == contain::Kind::Text {
            carrier.expected
        } else {
            None
        };
        each_cell(container, value, |cell| self.cell(cell, expected))
    }

    fn cell(&mut self, cell: &[u8], expected: Option<Sealing>) -> Option<Vec<u8>> {
        let header = CellHeader::peek(cell)?;
        if expected.is_some_and(|e| (header.class, header.domain) != (e.class, e.domain)) {
            self.found(FindingKind::CellOutOfPlace);
            return None;
        }
        if !self.rights.scope().holds(header.client) {
            self.found(FindingKind::CellOutOfScope);
            return None;
        }
        let outcome = self.rights.outcome(header.client, header.class);
        match outcome {
            Outcome::Sealed => return None,
            Outcome::Refused => {
                let refused = || refused(header.class).about(header.client);
                self.refused.get_or_insert_with(refused);
                return None;
            }
            Outcome::Masked | Outcome::Clear => {}
        }
        let keys = match self.rights.keys(header.client) {
            Ok(keys) => keys,
            Err(error) => {
                self.refused.get_or_insert(error);
                return None;
            }
        };
        let Ok(opened) = keys.open(cell) else {
            self.found(FindingKind::CellDoesNotVerify);
            return None;
        };
        if outcome == Outcome::Clear {
            let sequence = self.rights.sequence();
            sequence.saw(header.class, opened.value.expose());
        }
        let rules = self.rights.rules();
        let weight = match header.class {
            Class::FreeText => rules.numbers.free_text_weight(opened.value.expose().len()),
            _ => 1,
        };
        self.charges.push(Charge {
            client: header.client,
            class: header.class,
            outcome,
            fingerprint: keys.fingerprint(header.class, opened.value.expose()),
            weight,
            tag: opened.tag,
        });
        let shown = match header.mode {
            Mode::Exact => {
                event::Plain::new(fingerprint::display(header.class, opened.value.expose()))
            }
            Mode::Random => opened.value,
        };
        Some(match outcome {
            Outcome::Masked => rules
                .policy
                .masks()
                .apply(header.class, shown.expose())
                .expose()
                .clone()
                .into_bytes(),
            _ => shown.expose().clone().into_bytes(),
        })
    }

    fn found(&mut self, kind: FindingKind) {
        let count = self.findings.entry(kind).or_insert(0);
        *count = count.saturating_add(1);
    }
}

fn refused(class: Class) -> GateError {
    GateError::new(
        "42501",
        format!("the policy refuses values of class {class}"),
    )
    .hint("Leave the column out, or ask for the right.")
    .because(Reason::Policy)
}
