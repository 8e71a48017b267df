//! What a driver is told, with SQLSTATE, message, detail and hint. Never a personal value.

use bytes::BytesMut;
use pgwire::backend::{ErrorFields, Severity, SqlState};

/// An error that the gate makes.
#[derive(Clone, Debug)]
pub(crate) struct GateError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) position: Option<u32>,
    /// What it is in the ledger; `None`: nothing was refused that concerns sealed data.
    pub(crate) reason: Option<event::record::RefusalReason>,
    /// Whose data it is about; `None`: of all clients in scope.
    pub(crate) client: Option<event::ClientId>,
}

use event::record::RefusalReason as Reason;

impl GateError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            reason: None,
            client: None,
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// It is about this client's data alone.
    pub(crate) fn about(mut self, client: event::ClientId) -> Self {
        self.client = Some(client);
        self
    }

    /// Writes it as an ErrorResponse (or, for [`Severity::Notice`] and the like, a NoticeResponse).
    pub(crate) fn write(&self, buf: &mut BytesMut, severity: Severity) {
        let mut fields = ErrorFields::new(severity, SqlState(self.code), &self.message);
        if let Some(detail) = &self.detail {
            fields = fields.detail(detail);
        }
        if let Some(hint) = &self.hint {
            fields = fields.hint(hint);
        }
        if let Some(position) = self.position {
            fields = fields.position(position);
        }
        fields.write(buf);
    }
}

impl From<sql::Refusal> for GateError {
    fn from(refusal: sql::Refusal) -> Self {
        Self {
            code: refusal.code,
            message: refusal.message,
            detail: refusal.detail,
            hint: refusal.hint,
            position: refusal.position.and_then(|p| u32::try_from(p).ok()),
            reason: Some(Reason::Statement),
            client: None,
        }
    }
}

pub(crate) fn too_long(what: &str, limit_name: &str, limit: usize) -> GateError {
    GateError::new("54000", format!("{what} is longer than {limit} bytes")).hint(format!(
        "The limit is `{limit_name}` in the gate's configuration, table [limits]."
    ))
}

pub(crate) fn too_many_prepared(limit: usize) -> GateError {
    GateError::new(
        "54000",
        format!("this session keeps {limit} sealed statements prepared already"),
    )
    .hint("Close prepared statements, or raise `prepared_max` in table [limits].")
}

/// A search for more values than the role may ask for in one statement.
pub(crate) fn too_many_searched(searched: u32, most: u32) -> GateError {
    GateError::new(
        "54000",
        format!("the statement searches for {searched} values in sealed columns; {most} at most"),
    )
    .hint("The role's `statement_probes_max` is this number. Ask in parts.")
    .because(Reason::Statement)
}

/// A COPY TO STDOUT in a form in which rows are not opened.
pub(crate) fn copy_format() -> GateError {
    GateError::new(
        "0A000",
        "COPY from a sealed relation opens its values in the formats text and csv only, without \
         unusual options",
    )
    .hint("Leave out FORMAT binary, FORCE_QUOTE and the like.")
    .because(Reason::Statement)
}

pub(crate) fn function_call() -> GateError {
    GateError::new(
        "0A000",
        "the protocol's function call is not possible through the gate",
    )
    .hint("Call the function in a SELECT.")
}

pub(crate) fn not_utf8() -> GateError {
    GateError::new("22021", "a statement on sealed tables is not valid UTF-8")
        .hint("SET client_encoding TO 'UTF8' before statements on sealed tables.")
        .because(Reason::Statement)
}

pub(crate) fn encoding() -> GateError {
    GateError::new(
        "0A000",
        "sealed tables can be used only with client_encoding UTF8",
    )
    .hint("SET client_encoding TO 'UTF8' (and wait for its answer) first.")
    .because(Reason::Statement)
}

pub(crate) fn several_in_parse() -> GateError {
    GateError::new(
        "42601",
        "cannot insert multiple commands into a prepared statement",
    )
}

pub(crate) fn driver_protocol(error: impl std::fmt::Display) -> GateError {
    GateError::new("08P01", format!("invalid message from the driver: {error}"))
}

pub(crate) fn server_protocol(error: impl std::fmt::Display) -> GateError {
    GateError::new("08P01", format!("invalid message from PostgreSQL: {error}"))
}

pub(crate) fn unexpected_message(tag: u8) -> GateError {
    GateError::new(
        "08P01",
        format!("unexpected message of type 0x{tag:02x} from the driver"),
    )
}

pub(crate) fn driver_message_too_long(tag: u8) -> GateError {
    GateError::new("08P01", format!("message of type 0x{tag:02x} is too long"))
}

pub(crate) fn pin_differs(relation: &str) -> GateError {
    GateError::new("55000", format!("relation {relation} differs from its pin; nothing was written"))
        .detail("The live table's columns or CHECK constraints are not those that two approvers signed.")
        .hint("`sekisho doctor` shows the difference; a changed schema is pinned with `sekisho seal` and two approvals.")
        .because(Reason::Pin)
}

pub(crate) fn check_lost() -> GateError {
    GateError::new(
        "55000",
        "the gate's comparison of the live schema was deallocated; nothing was written",
    )
    .hint("Run the statement again.")
}
