//! What PostgreSQL sends: forwarded in order, judged where it is the answer to a sealed statement.

use pgwire::backend::{self, ErrorEdit, ErrorResponse, Severity, field};
use pgwire::frame::{Frame, Step, next_frame};

use super::awaited::{Awaited, Show};
use super::{Engine, Fatal};
use crate::errors::{self, GateError};

impl Engine {
    pub(super) fn look_at_server(&mut self) -> Result<(), Fatal> {
        while self.output.has_room(&self.shared.limits) {
            if !self.server_step()? {
                break;
            }
        }
        Ok(())
    }

    fn server_step(&mut self) -> Result<bool, Fatal> {
        if self.through_to_driver > 0 {
            if !self.output.is_clear() {
                return Ok(false);
            }
            let n = self.through_to_driver.min(self.server_in.len());
            if n == 0 {
                return Ok(false);
            }
            let bytes = self.server_in.split_to(n);
            if !self.run_is_cut() {
                self.output.push(&bytes, true);
            }
            self.through_to_driver -= n;
            return Ok(true);
        }
        let limit = self.shared.limits.recognise_bytes_max;
        match next_frame(&self.server_in, limit).map_err(errors::server_protocol)? {
            Step::NeedMore { .. } => Ok(false),
            Step::Oversize { total, .. } => {
                // Too long to look into: ciphertext as it is. What is held goes first.
                self.close_answers();
                self.settle();
                if !self.output.is_clear() {
                    return Ok(false);
                }
                self.through_to_driver = total;
                self.tally.row();
                Ok(true)
            }
            Step::Frame(Frame { tag, total, .. }) => {
                let message = self.server_in.split_to(total);
                self.server_message(tag, &message)?;
                Ok(true)
            }
        }
    }

    fn server_message(&mut self, tag: u8, message: &[u8]) -> Result<(), Fatal> {
        let of_run = matches!(self.waiting.head(), Some(Awaited::Run));
        match tag {
            b'D' | b'd' if of_run => match tag {
                b'D' => self.run_row(message),
                _ => self.run_copy_row(message),
            },
            b'D' if matches!(self.waiting.head(), Some(Awaited::Check)) => {
                self.check_row(&message[5..]);
            }
            b'D' | b'd' => {
                self.output.push(message, false);
                self.notice_cells(message);
            }
            b'1' | b'2' | b'3' => self.completed(message),
            b't' => self.parameter_description(message)?,
            b'T' | b'n' => self.row_description(tag, message)?,
            b'C' | b's' | b'I' => self.statement_ended(message),
            b'E' => self.server_error(message)?,
            b'Z' => self.ready(message)?,
            b'S' => self.parameter_status(message)?,
            b'G' => self.copy_in_response(of_run, message)?,
            b'H' => {
                if of_run {
                    self.run_is_copy_out();
                }
                self.forward(message, of_run);
            }
            b'N' | b'A' => {
                // A function's notice may tell what a probe found, and nothing overtakes rows.
                self.close_answers();
                self.output.push(message, false);
            }
            b'c' if of_run => {
                // The end of the rows is an answer too.
                self.close_answers();
                self.forward(message, true);
            }
            _ => self.forward(message, of_run),
        }
        Ok(())
    }

    fn forward(&mut self, message: &[u8], of_run: bool) {
        if !(of_run && self.run_is_cut()) {
            self.output.push(message, of_run);
        }
    }

    /// ParseComplete, BindComplete, CloseComplete.
    fn completed(&mut self, message: &[u8]) {
        let hide = match self.waiting.pop() {
            Some(
                Awaited::Parse { hide, .. }
                | Awaited::Bind { hide, .. }
                | Awaited::Close { hide, .. },
            ) => hide,
            _ => false,
        };
        if !hide {
            self.output.push(message, false);
        }
    }

    /// What parameters a statement takes: those that became arrays are told as text.
    fn parameter_description(&mut self, message: &[u8]) -> Result<(), Fatal> {
        let Some(Awaited::Describe { of, .. }) = self.waiting.head() else {
            self.output.push(message, false);
            return Ok(());
        };
        let Some(prepared) = of.clone() else {
            self.output.push(message, false);
            return Ok(());
        };
        let types = backend::decode_parameter_description(&message[5..])
            .map_err(errors::server_protocol)?;
        let told = types
            .iter()
            .enumerate()
            .map(|(index, oid)| prepared.told_type(index, oid));
        backend::write_parameter_description(self.output.tail(false), told)
            .map_err(errors::server_protocol)?;
        Ok(())
    }

    /// RowDescription or NoData.
    fn row_description(&mut self, tag: u8, message: &[u8]) -> Result<(), Fatal> {
        let show = match self.waiting.head() {
            Some(Awaited::Describe { .. }) => match self.waiting.pop() {
                Some(Awaited::Describe { show, of }) => {
                    if let Some(prepared) = of {
                        prepared
                            .learn_columns(tag, &message[5..])
                            .map_err(errors::server_protocol)?;
                    }
                    show
                }
                _ => Show::All,
            },
            _ => Show::All,
        };
        let shown = match show {
            Show::All => true,
            Show::Rows => tag == b'T',
            Show::Nothing => false,
        };
        if shown {
            self.output.push(message, self.run.is_some());
        }
        Ok(())
    }

    /// CommandComplete, PortalSuspended, EmptyQueryResponse.
    fn statement_ended(&mut self, message: &[u8]) {
        match self.waiting.head() {
            Some(Awaited::Run) => {
                self.waiting.pop();
                self.copying_in = None;
                self.end_run(message, true);
            }
            Some(Awaited::Check) => {
                self.waiting.pop();
                self.check_ended();
            }
            Some(Awaited::Execute) => {
                self.waiting.pop();
                self.copying_plain = false;
                self.output.push(message, false);
            }
            _ => {
                self.copying_plain = false;
                self.output.push(message, false);
            }
        }
    }

    fn copy_in_response(&mut self, of_run: bool, message: &[u8]) -> Result<(), Fatal> {
        if !of_run {
            self.copying_plain = true;
            self.output.push(message, false);
        } else if !self.run_is_cut() {
            self.begin_copy_in();
            self.output.push(message, true);
        } else {
            // Cut before PostgreSQL came to it: it waits for data that will not come.
            pgwire::frontend::write_copy_fail(&mut self.to_server, b"refused by the gate")
                .map_err(errors::server_protocol)?;
        }
        Ok(())
    }

    fn server_error(&mut self, message: &[u8]) -> Result<(), Fatal> {
        let error = ErrorResponse::decode(&message[5..]).map_err(errors::server_protocol)?;
        let in_check = matches!(
            self.waiting.head(),
            Some(Awaited::Check | Awaited::Bind { hide: true, .. })
        );
        let prepared = match self.waiting.head() {
            Some(Awaited::Parse {
                of: Some(prepared), ..
            }) => Some(std::sync::Arc::clone(prepared)),
            _ => self
                .run_portal()
                .map(|portal| std::sync::Arc::clone(&portal.prepared)),
        };
        let failed = self.waiting.fail();
        for undo in failed.undo {
            self.undo(undo);
        }
        let skipped = failed.ran && failed.poison.is_some();
        if !failed.ends || skipped {
            self.skip_run(skipped);
        }
        self.copying_plain = false;
        if self.simple.is_none() && !failed.ends && !self.run_ends_by_itself() {
            self.skip_to_sync = true;
        }
        if let Some(poison) = failed.poison {
            if let Some(error) = poison {
                self.tell(&error);
            }
            return Ok(());
        }
        let mut told = bytes::BytesMut::new();
        if in_check && error.code() == b"26000" {
            // DEALLOCATE ALL or DISCARD ALL took the gate's statement away.
            self.check_prepared = false;
            errors::check_lost().write(&mut told, Severity::Error);
        } else {
            self.edit_error(error, prepared.as_deref(), &mut told)?;
        }
        if failed.ran {
            self.copying_in = None;
            self.end_run(&told, false);
        } else {
            self.output.push(&told, false);
        }
        Ok(())
    }

    /// Whether the run that an error ends is part of a simple Query (which sends its own Sync).
    fn run_ends_by_itself(&self) -> bool {
        self.simple.is_some()
    }

    /// PostgreSQL's own error, without what could carry a row, its position mapped back to the
    /// statement as the driver wrote it.
    fn edit_error(
        &self,
        error: ErrorResponse<'_>,
        prepared: Option<&crate::way_in::Prepared>,
        told: &mut bytes::BytesMut,
    ) -> Result<(), Fatal> {
        let sealed = prepared.is_some();
        // A refused row stands in the detail of a CHECK or NOT NULL violation.
        let drops = sealed && matches!(error.code(), b"23514" | b"23502");
        let mut map = |position: u32| {
            Some(prepared.map_or(position, |prepared| prepared.original_position(position)))
        };
        let edit = ErrorEdit {
            drop: if drops { &[field::DETAIL] } else { &[] },
            position: Some(&mut map),
        };
        error
            .write_edited(told, b'E', edit)
            .map_err(errors::server_protocol)?;
        Ok(())
    }

    fn ready(&mut self, message: &[u8]) -> Result<(), Fatal> {
        let status =
            backend::TransactionStatus::decode(&message[5..]).map_err(errors::server_protocol)?;
        self.transaction = status.byte();
        if self.transaction == b'I' {
            self.tally.hand_over();
        }
        self.copying_plain = false;
        self.utf8 = self.told_utf8;
        // Entries before it belong to messages that PostgreSQL skipped after an error.
        loop {
            match self.waiting.pop() {
                None | Some(Awaited::Sync | Awaited::Query) => break,
                Some(Awaited::Run) => {
                    self.run = None;
                    self.copying_in = None;
                }
                Some(
                    Awaited::Parse { undo, .. }
                    | Awaited::Bind { undo, .. }
                    | Awaited::Close { undo, .. },
                ) => self.undo(undo),
                Some(_) => {}
            }
        }
        if !self.keep_ready(message) {
            self.output.push(message, false);
        }
        Ok(())
    }

    fn parameter_status(&mut self, message: &[u8]) -> Result<(), Fatal> {
        let status =
            backend::ParameterStatus::decode(&message[5..]).map_err(errors::server_protocol)?;
        self.learn_parameter(status.name, status.value);
        self.close_answers();
        self.output.push(message, false);
        Ok(())
    }

    /// Takes note of a session parameter that the gate's reading depends on.
    pub(crate) fn learn_parameter(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"client_encoding" => {
                self.told_utf8 = value.eq_ignore_ascii_case(b"utf8");
                self.utf8 = self.told_utf8;
            }
            b"standard_conforming_strings" => self.standard_conforming_strings = value == b"on",
            _ => {}
        }
    }

    /// Cells in a statement that was taken for unsealed stay sealed, and the driver is told once.
    fn notice_cells(&mut self, message: &[u8]) {
        if !pgwire::contain::may_contain(message) {
            return;
        }
        self.tally.row();
        if self.unexpected_cells {
            return;
        }
        self.unexpected_cells = true;
        self.finding(event::record::FindingKind::UnexpectedCells, None);
        let notice = GateError::new("01000", "the result holds sealed values, which stay sealed")
            .detail("The statement names no sealed table, view or function that the gate knows.")
            .hint("Name the sealed table itself, or a view of it, in the statement.");
        notice.write(self.output.tail(false), Severity::Notice);
    }
}
