//! ErrorResponse and NoticeResponse: reading, editing, and building the gate's own.
//!
//! Invariant: fields are copied as they came, in their order, unless they are named in an edit.
//! Texts of the server may carry personal values, so `Debug` shows none of them.

use bytes::{BufMut, BytesMut};

use super::tag;
use crate::wire::{DecodeError, EncodeError, Reader, message, put_string, quiet_debug};

/// Field codes (PostgreSQL documentation, "Error and Notice Message Fields").
pub mod field {
    /// Severity, localised.
    pub const SEVERITY: u8 = b'S';
    /// Severity, never localised.
    pub const SEVERITY_PLAIN: u8 = b'V';
    /// SQLSTATE.
    pub const CODE: u8 = b'C';
    /// The message.
    pub const MESSAGE: u8 = b'M';
    /// Detail.
    pub const DETAIL: u8 = b'D';
    /// Hint.
    pub const HINT: u8 = b'H';
    /// Position in the statement: characters, from 1.
    pub const POSITION: u8 = b'P';
    /// Position in the internal statement.
    pub const INTERNAL_POSITION: u8 = b'p';
    /// The internal statement.
    pub const INTERNAL_QUERY: u8 = b'q';
    /// Context. In COPY it quotes the line that failed.
    pub const CONTEXT: u8 = b'W';
    /// Schema.
    pub const SCHEMA: u8 = b's';
    /// Table.
    pub const TABLE: u8 = b't';
    /// Column.
    pub const COLUMN: u8 = b'c';
    /// Data type.
    pub const DATA_TYPE: u8 = b'd';
    /// Constraint.
    pub const CONSTRAINT: u8 = b'n';
    /// Source file.
    pub const FILE: u8 = b'F';
    /// Source line.
    pub const LINE: u8 = b'L';
    /// Source routine.
    pub const ROUTINE: u8 = b'R';
}

/// An error or notice of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorResponse<'a>(&'a [u8]);

/// One field of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorField<'a> {
    /// What it is: a constant of [`field`], or one that this version does not know.
    pub code: u8,
    /// Its text.
    pub value: &'a [u8],
}

quiet_debug!(ErrorResponse, ErrorField);

impl<'a> ErrorResponse<'a> {
    /// Reads the body of an ErrorResponse or NoticeResponse.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("ErrorResponse", body);
        while reader.u8()? != 0 {
            reader.string()?;
        }
        reader.finish()?;
        Ok(Self(body))
    }

    /// The fields in order.
    pub fn fields(self) -> impl Iterator<Item = ErrorField<'a>> {
        let mut reader = Reader::new("ErrorResponse", self.0);
        std::iter::from_fn(move || match reader.u8() {
            Ok(code) if code != 0 => reader.string().ok().map(|value| ErrorField { code, value }),
            _ => None,
        })
    }

    /// The first field with this code.
    pub fn get(self, code: u8) -> Option<&'a [u8]> {
        self.fields()
            .find(|field| field.code == code)
            .map(|field| field.value)
    }

    /// The SQLSTATE; empty where the server gave none.
    pub fn code(self) -> &'a [u8] {
        self.get(field::CODE).unwrap_or_default()
    }

    /// The severity in English: `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, ...
    pub fn severity(self) -> &'a [u8] {
        self.get(field::SEVERITY_PLAIN)
            .or_else(|| self.get(field::SEVERITY))
            .unwrap_or_default()
    }

    /// The message.
    pub fn message(self) -> &'a [u8] {
        self.get(field::MESSAGE).unwrap_or_default()
    }

    /// The position in the statement, in characters from 1.
    pub fn position(self) -> Option<u32> {
        self.get(field::POSITION).and_then(parse_position)
    }

    /// Writes it as it is, with the type byte of an error or a notice.
    pub fn write(self, buf: &mut BytesMut, tag: u8) -> Result<(), EncodeError> {
        message(buf, tag, |buf| {
            buf.put_slice(self.0);
            Ok(())
        })
    }

    /// Writes it with changes.
    pub fn write_edited(
        self,
        buf: &mut BytesMut,
        tag: u8,
        mut edit: ErrorEdit<'_>,
    ) -> Result<(), EncodeError> {
        message(buf, tag, |buf| {
            for ErrorField { code, value } in self.fields() {
                if edit.drop.contains(&code) {
                    continue;
                }
                match (code, &mut edit.position) {
                    (field::POSITION, Some(map)) => {
                        if let Some(position) = parse_position(value).and_then(map) {
                            buf.put_u8(code);
                            put_string(buf, position.to_string().as_bytes())?;
                        }
                    }
                    _ => {
                        buf.put_u8(code);
                        put_string(buf, value)?;
                    }
                }
            }
            buf.put_u8(0);
            Ok(())
        })
    }
}

fn parse_position(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// What to change in an error on its way through.
#[derive(Default)]
pub struct ErrorEdit<'e> {
    /// Codes of the fields to leave out, such as `&[field::DETAIL]`.
    pub drop: &'e [u8],
    /// Maps the position in the rewritten statement back to the driver's own; `None` leaves the
    /// field out.
    pub position: Option<&'e mut dyn FnMut(u32) -> Option<u32>>,
}

impl std::fmt::Debug for ErrorEdit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErrorEdit")
            .field("drop", &self.drop.escape_ascii().to_string())
            .finish()
    }
}

/// How grave it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// A notice that warns.
    Warning,
    /// A notice.
    Notice,
}

impl Severity {
    /// The word in the message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }

    /// The type byte of the message that carries it.
    pub fn tag(self) -> u8 {
        match self {
            Self::Error | Self::Fatal => tag::ERROR_RESPONSE,
            Self::Warning | Self::Notice => tag::NOTICE_RESPONSE,
        }
    }
}

/// A SQLSTATE (PostgreSQL documentation, appendix A).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SqlState<'a>(pub &'a str);

impl SqlState<'static> {
    /// 08P01, protocol_violation.
    pub const PROTOCOL_VIOLATION: Self = Self("08P01");
    /// 0A000, feature_not_supported.
    pub const FEATURE_NOT_SUPPORTED: Self = Self("0A000");
    /// 22P05, untranslatable_character.
    pub const UNTRANSLATABLE_CHARACTER: Self = Self("22P05");
    /// 23514, check_violation.
    pub const CHECK_VIOLATION: Self = Self("23514");
    /// 26000, invalid_sql_statement_name.
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self("26000");
    /// 28000, invalid_authorization_specification.
    pub const INVALID_AUTHORIZATION: Self = Self("28000");
    /// 28P01, invalid_password.
    pub const INVALID_PASSWORD: Self = Self("28P01");
    /// 42501, insufficient_privilege.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self("42501");
    /// 53300, too_many_connections.
    pub const TOO_MANY_CONNECTIONS: Self = Self("53300");
    /// 53400, configuration_limit_exceeded.
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self("53400");
    /// 54000, program_limit_exceeded.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self("54000");
    /// 57014, query_canceled.
    pub const QUERY_CANCELED: Self = Self("57014");
    /// 57P01, admin_shutdown.
    pub const ADMIN_SHUTDOWN: Self = Self("57P01");
    /// 58000, system_error.
    pub const SYSTEM_ERROR: Self = Self("58000");
}

/// The longest text of one field that the gate writes, in bytes; longer ones are cut.
pub const ERROR_TEXT_BYTES_MAX: usize = 8_192;

/// An error or notice of the gate's own. Zero bytes in texts, which the protocol cannot carry,
/// are left out; texts above [`ERROR_TEXT_BYTES_MAX`] are cut. Texts never hold personal values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorFields<'a> {
    severity: Severity,
    code: SqlState<'a>,
    message: &'a str,
    detail: Option<&'a str>,
    hint: Option<&'a str>,
    position: Option<u32>,
}

impl<'a> ErrorFields<'a> {
    /// A message of this severity.
    pub fn new(severity: Severity, code: SqlState<'a>, message: &'a str) -> Self {
        Self {
            severity,
            code,
            message,
            detail: None,
            hint: None,
            position: None,
        }
    }

    /// An ERROR: the statement failed, the session goes on.
    pub fn error(code: SqlState<'a>, message: &'a str) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A FATAL error: the session ends.
    pub fn fatal(code: SqlState<'a>, message: &'a str) -> Self {
        Self::new(Severity::Fatal, code, message)
    }

    /// A NOTICE.
    pub fn notice(code: SqlState<'a>, message: &'a str) -> Self {
        Self::new(Severity::Notice, code, message)
    }

    /// Adds the detail.
    #[must_use]
    pub fn detail(mut self, detail: &'a str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Adds the hint.
    #[must_use]
    pub fn hint(mut self, hint: &'a str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Adds the position in the statement: characters, from 1.
    #[must_use]
    pub fn position(mut self, position: u32) -> Self {
        self.position = Some(position);
        self
    }

    /// Writes the ErrorResponse, or the NoticeResponse for a warning or notice.
    pub fn write(&self, buf: &mut BytesMut) {
        let start = buf.len();
        buf.put_u8(self.severity.tag());
        buf.put_i32(0);
        let mut put = |code: u8, text: &str| {
            let cut = text.get(..text.floor_char_boundary(ERROR_TEXT_BYTES_MAX));
            buf.put_u8(code);
            buf.extend(cut.unwrap_or(text).bytes().filter(|&byte| byte != 0));
            buf.put_u8(0);
        };
        put(field::SEVERITY, self.severity.name());
        put(field::SEVERITY_PLAIN, self.severity.name());
        put(field::CODE, self.code.0);
        put(field::MESSAGE, self.message);
        if let Some(detail) = self.detail {
            put(field::DETAIL, detail);
        }
        if let Some(hint) = self.hint {
            put(field::HINT, hint);
        }
        if let Some(position) = self.position {
            put(field::POSITION, &position.to_string());
        }
        buf.put_u8(0);
        crate::wire::patch_length(buf, start + 1)
            .expect("six fields of bounded texts are far below 2 GiB");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(buf: &[u8]) -> String {
        buf.escape_ascii().to_string()
    }

    #[test]
    fn own_errors_have_these_bytes() {
        let mut buf = BytesMut::new();
        ErrorFields::error(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "column \"phone\" is sealed",
        )
        .detail("LIKE cannot be asked of a sealed column")
        .hint("use = with a whole number")
        .position(8)
        .write(&mut buf);
        insta::assert_snapshot!(text(&buf), @r#"E\x00\x00\x00{SERROR\x00VERROR\x00C42501\x00Mcolumn \"phone\" is sealed\x00DLIKE cannot be asked of a sealed column\x00Huse = with a whole number\x00P8\x00\x00"#);
        buf.clear();
        ErrorFields::notice(SqlState("00000"), "cells stay sealed").write(&mut buf);
        insta::assert_snapshot!(text(&buf), @r#"N\x00\x00\x00/SNOTICE\x00VNOTICE\x00C00000\x00Mcells stay sealed\x00\x00"#);
        buf.clear();
        ErrorFields::fatal(SqlState::INVALID_PASSWORD, "login failed").write(&mut buf);
        insta::assert_snapshot!(text(&buf), @r#"E\x00\x00\x00(SFATAL\x00VFATAL\x00C28P01\x00Mlogin failed\x00\x00"#);
    }

    #[test]
    fn texts_are_cut_and_cleaned() {
        let mut buf = BytesMut::new();
        let long = "あ".repeat(ERROR_TEXT_BYTES_MAX);
        ErrorFields::error(SqlState("XX000"), &long)
            .detail("a\0b")
            .write(&mut buf);
        let error = ErrorResponse::decode(&buf[5..]).unwrap();
        assert_eq!(error.message().len(), ERROR_TEXT_BYTES_MAX / 3 * 3);
        assert_eq!(error.get(field::DETAIL), Some(&b"ab"[..]));
    }

    #[test]
    fn edits_drop_and_remap() {
        let body = b"SFEHLER\0VERROR\0C23514\0Mbad row\0DFailing row contains (090).\0P17\0zq\0\0";
        let error = ErrorResponse::decode(body).unwrap();
        assert_eq!(error.severity(), b"ERROR");
        assert_eq!(error.code(), b"23514");
        assert_eq!(error.position(), Some(17));
        let mut buf = BytesMut::new();
        let mut map = |position: u32| position.checked_sub(10);
        let edit = ErrorEdit {
            drop: &[field::DETAIL],
            position: Some(&mut map),
        };
        error
            .write_edited(&mut buf, tag::ERROR_RESPONSE, edit)
            .unwrap();
        insta::assert_snapshot!(text(&buf), @r#"E\x00\x00\x00*SFEHLER\x00VERROR\x00C23514\x00Mbad row\x00P7\x00zq\x00\x00"#);
        buf.clear();
        let mut gone = |_| None;
        let edit = ErrorEdit {
            drop: &[],
            position: Some(&mut gone),
        };
        error
            .write_edited(&mut buf, tag::ERROR_RESPONSE, edit)
            .unwrap();
        let edited = ErrorResponse::decode(&buf[5..]).unwrap();
        assert_eq!(edited.position(), None);
        assert_eq!(edited.fields().count(), error.fields().count() - 1);
    }

    #[test]
    fn unterminated_bodies_are_errors() {
        assert!(ErrorResponse::decode(b"").is_err());
        assert!(ErrorResponse::decode(b"SERROR\0").is_err());
        assert!(ErrorResponse::decode(b"SERROR").is_err());
        assert!(ErrorResponse::decode(b"SERROR\0\0x").is_err());
        assert!(ErrorResponse::decode(b"\0").is_ok());
    }

    #[test]
    fn debug_shows_no_text() {
        let error = ErrorResponse::decode(b"M090-1234-5678\0\0").unwrap();
        assert_eq!(
            format!("{error:?} {:?}", error.fields().next()),
            "ErrorResponse(..) Some(ErrorField(..))"
        );
    }
}
