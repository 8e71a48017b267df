//! COPY ... FROM STDIN into a sealed relation: rows are split out of the driver's stream, their
//! fields sealed, and sent on when the probes among them are recorded.

use event::{ClientId, Plain, Sealing};
use ledger::{Answer, Batch, Probe, Row};
use pgwire::copy::{CopyFormat, RowKind, RowSplitter, decode_row, encode_row};
use pgwire::frontend;
use sql::{CopyClient, CopyIn, Kind};

use super::Engine;
use super::output::{Held, Ticket};
use crate::errors::GateError;
use crate::way_in::{self, Asked, Place, RowTags};

use event::record::RefusalReason as Reason;

/// Rows whose probes are recorded together.
const ROWS_PER_BATCH: usize = 1_024;

/// A COPY FROM under way.
pub(super) struct CopyingIn {
    plan: CopyIn,
    format: CopyFormat,
    splitter: RowSplitter,
    /// Sealed rows that wait for company.
    rows: Vec<Row<Held>>,
    asked: Vec<Asked>,
    /// Rows whose probes are being recorded.
    asking: Option<Ticket>,
    /// The driver said CopyDone.
    done: bool,
    /// The data's own end marker came: PostgreSQL reads no further, so what follows is dropped.
    ended: bool,
    /// Every row of it was sealed.
    dry: bool,
    line: u64,
}

impl CopyingIn {
    /// Whether more of the driver's data may be looked at.
    pub(super) fn has_room(&self) -> bool {
        self.asking.is_none()
    }
}

impl Engine {
    /// PostgreSQL is ready for the data.
    pub(super) fn begin_copy_in(&mut self) {
        let Some(portal) = self.run_portal() else {
            return;
        };
        let Kind::CopyIn(plan) = &portal.prepared.statement().kind else {
            return;
        };
        let started = crate::copy_format::of(&plan.format)
            .ok_or_else(|| {
                GateError::new("0A000", "this COPY format is not possible on a sealed table")
                    .hint("Use the text or csv format without FORCE_NULL, FORCE_NOT_NULL, DEFAULT, ENCODING or ON_ERROR.")
                    .because(Reason::Statement)
            })
            .and_then(|format| {
                let limit = self.shared.limits.copy_row_bytes_max;
                let splitter = RowSplitter::new(&format, limit).map_err(|error| copy_error(&error, 0))?;
                Ok(CopyingIn {
                    plan: plan.clone(),
                    format,
                    splitter,
                    rows: Vec::new(),
                    asked: Vec::new(),
                    asking: None,
                    done: false,
                    ended: false,
                    dry: false,
                    line: 0,
                })
            });
        match started {
            Ok(copying) => self.copying_in = Some(copying),
            Err(error) => self.cut_copy(error),
        }
    }

    /// CopyData, CopyDone or CopyFail of the driver.
    pub(super) fn copy_in_message(&mut self, tag: u8, message: &[u8]) {
        match tag {
            b'f' => {
                self.copying_in = None;
                self.to_server.extend_from_slice(message);
                frontend::write_flush(&mut self.to_server);
                return;
            }
            b'c' => {
                if let Some(copying) = &mut self.copying_in {
                    copying.done = true;
                }
            }
            _ => {
                let pushed = match &mut self.copying_in {
                    Some(copying) if copying.ended => Ok(()),
                    Some(copying) => copying
                        .splitter
                        .push(&message[5..])
                        .map_err(|e| copy_error(&e, copying.line)),
                    None => Ok(()),
                };
                if let Err(error) = pushed {
                    self.cut_copy(error);
                    return;
                }
            }
        }
        self.copy_in_rows();
    }

    /// Seals what is whole; asks for what is enough, or sends what asks for nothing.
    fn copy_in_rows(&mut self) {
        loop {
            let Some(mut copying) = self.copying_in.take() else {
                return;
            };
            let sealed = self.seal_rows(&mut copying);
            let full = copying.rows.len() >= ROWS_PER_BATCH;
            self.copying_in = Some(copying);
            if let Err(error) = sealed {
                self.cut_copy(error);
                return;
            }
            self.copy_in_flush();
            let waits = self
                .copying_in
                .as_ref()
                .is_none_or(|copying| copying.asking.is_some());
            if waits || !full {
                return;
            }
        }
    }

    fn seal_rows(&mut self, copying: &mut CopyingIn) -> Result<(), GateError> {
        while copying.rows.len() < ROWS_PER_BATCH {
            let CopyingIn {
                splitter,
                plan,
                format,
                asked,
                rows,
                line,
                done,
                ended,
                dry,
                ..
            } = copying;
            if *ended {
                *dry = *done;
                break;
            }
            let row = match splitter
                .next_row()
                .map_err(|error| copy_error(&error, *line))?
            {
                Some(row) => row,
                None if *done => match splitter
                    .finish()
                    .map_err(|error| copy_error(&error, *line))?
                {
                    Some(row) => row,
                    None => {
                        *dry = true;
                        break;
                    }
                },
                None => break,
            };
            *line += 1;
            let mut out = Vec::with_capacity(row.line.len() + 256);
            match row.kind {
                RowKind::Data => {
                    let fields =
                        decode_row(row.line, format).map_err(|error| copy_error(&error, *line))?;
                    let sealed = self.seal_fields(plan, fields, *line, asked)?;
                    encode_row(&sealed, format, &mut out);
                }
                RowKind::Header => out.extend_from_slice(row.line),
                RowKind::End => {
                    *ended = true;
                    break;
                }
            }
            out.extend_from_slice(if row.end.is_empty() { b"\n" } else { row.end });
            let mut message = bytes::BytesMut::with_capacity(out.len() + 5);
            frontend::write_copy_data(&mut message, &out)
                .map_err(|error| copy_error(&error, *line))?;
            rows.push(Row {
                charges: Vec::new(),
                payload: Held::new(message.into()),
            });
        }
        Ok(())
    }

    fn seal_fields(
        &mut self,
        plan: &CopyIn,
        mut fields: Vec<Option<Vec<u8>>>,
        line: u64,
        asked: &mut Vec<Asked>,
    ) -> Result<Vec<Option<Vec<u8>>>, GateError> {
        if fields.len() != plan.columns.len() {
            return Err(GateError::new(
                "22P04",
                format!(
                    "COPY line {line} has {} fields, {} are wanted",
                    fields.len(),
                    plan.columns.len()
                ),
            )
            .because(Reason::Value));
        }
        let clients = self.copy_clients(plan, &fields, line)?;
        let mut tags = RowTags::default();
        for (index, (field, sealing)) in fields.iter_mut().zip(&plan.columns).enumerate() {
            let (Some(value), Some(sealing)) = (field.as_mut(), sealing) else {
                continue;
            };
            let column = plan.column_names.get(index).map_or("", String::as_str);
            let place = Place {
                sealing: *sealing,
                column,
                search: false,
            };
            let cell = self
                .copy_cell(&place, *sealing, &clients, value, &mut tags, asked)
                .map_err(|error| GateError {
                    message: format!("{}, COPY line {line}", error.message),
                    ..error
                })?;
            zeroize::Zeroize::zeroize(value);
            *field = Some(cell);
        }
        Ok(fields)
    }

    fn copy_cell(
        &mut self,
        place: &Place<'_>,
        sealing: Sealing,
        clients: &[ClientId],
        value: &[u8],
        tags: &mut RowTags,
        asked: &mut Vec<Asked>,
    ) -> Result<Vec<u8>, GateError> {
        if seal::looks_sealed(value) {
            way_in::verify(place, clients, value, &mut self.rights)?;
            return Ok(value.to_vec());
        }
        let &[client] = clients else {
            return Err(GateError::new(
                "42501",
                format!(
                    "only cells can be copied into column {} by this role",
                    place.column
                ),
            )
            .hint("A maintainer moves cells: copy what COPY TO or pg_dump gave.")
            .because(Reason::Policy));
        };
        let keys = self.rights.keys(client)?;
        let tag = match sealing.mode {
            event::Mode::Random => tags.of(0, &keys)?,
            event::Mode::Exact => 0,
        };
        let text: Plain<String> = way_in::utf8(value, place.column)?;
        way_in::seal_one(
            place,
            client,
            &keys,
            tag,
            true,
            &text,
            &mut self.rights,
            asked,
        )
        .map(String::into_bytes)
    }

    /// Whose row it is. For a role that moves cells, the cells themselves say it.
    fn copy_clients(
        &self,
        plan: &CopyIn,
        fields: &[Option<Vec<u8>>],
        line: u64,
    ) -> Result<Vec<ClientId>, GateError> {
        if self.rights.moves_cells() {
            return Ok(Vec::new());
        }
        let client = match plan.client {
            CopyClient::Fixed(client) => Some(client),
            CopyClient::Field(index) => fields
                .get(index)
                .and_then(Option::as_deref)
                .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok())
                .and_then(ClientId::new),
            CopyClient::Scope => match self.rights.scope().clients() {
                [one] => Some(*one),
                _ => None,
            },
        };
        match client {
            Some(client) if self.rights.scope().holds(client) => Ok(vec![client]),
            Some(client) => Err(GateError::new(
                "42501",
                format!("COPY line {line}: client {client} is not in the session's scope"),
            )
            .because(Reason::Policy)
            .about(client)),
            None => Err(GateError::new(
                "22023",
                format!("COPY line {line} does not say whose it is"),
            )
            .hint("Copy the client column too, or SET sekisho.scope to one client.")
            .because(Reason::Value)),
        }
    }

    /// Asks the ledger for rows that are sealed: they go on when their probes are recorded and what
    /// allowed them is still in force.
    fn copy_in_flush(&mut self) {
        let Some(copying) = &mut self.copying_in else {
            return;
        };
        if copying.asking.is_some() {
            return;
        }
        if copying.rows.is_empty() {
            self.copy_in_done();
            return;
        }
        let probes: Vec<Probe> = copying
            .asked
            .drain(..)
            .filter_map(way_in::probe_of)
            .collect();
        let rows = std::mem::take(&mut copying.rows);
        let Some(portal) = self.run_portal() else {
            return;
        };
        let batch = Batch {
            who: self.rights.who(&self.person),
            scope: self.rights.statement_scope(portal.prepared.shape()),
            probes,
            rows,
        };
        let ticket = self.output.ask_aside(batch);
        if let Some(copying) = &mut self.copying_in {
            copying.asking = Some(ticket);
        }
    }

    /// After the last row: CopyDone.
    fn copy_in_done(&mut self) {
        let over = self.copying_in.as_ref().is_some_and(|c| c.done && c.dry);
        if over {
            self.copying_in = None;
            // The Flush behind Execute was read as a part of the data, and ignored.
            frontend::write_copy_done(&mut self.to_server);
            frontend::write_flush(&mut self.to_server);
        }
    }

    /// Whether an answer is for the COPY data.
    pub(super) fn copy_in_asked(&self, ticket: Ticket) -> bool {
        self.copying_in
            .as_ref()
            .is_some_and(|copying| copying.asking == Some(ticket))
    }

    /// The ledger answered for rows of the COPY.
    pub(super) fn copy_in_answered(&mut self, answer: Answer<Held>) {
        if let Some(copying) = &mut self.copying_in {
            copying.asking = None;
        }
        let error = match answer {
            Answer::Released(released) => {
                for row in released.into_rows() {
                    self.to_server.extend_from_slice(row.expose_sealed());
                }
                self.copy_in_rows();
                return;
            }
            Answer::Cut { refusal, .. } => crate::refusals::budget(&refusal, &self.person),
            Answer::Refused(refusal) => crate::refusals::ledger(&refusal),
        };
        self.cut_copy(error);
    }
}

fn copy_error(error: &dyn std::fmt::Display, line: u64) -> GateError {
    GateError::new("22P04", format!("COPY data near line {line}: {error}")).because(Reason::Value)
}
