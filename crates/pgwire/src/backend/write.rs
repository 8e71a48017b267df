//! Writers of the server's messages, for what the gate answers itself and what it rebuilds.
//!
//! Invariant: a writer that fails leaves the buffer as it was.

use bytes::{BufMut, BytesMut};

use super::{Authentication, Field, Message, TransactionStatus, tag};
use crate::wire::{
    EncodeError, bare, message, patch_length, put_counted, put_formats, put_oids, put_string,
    put_value,
};

/// Writes an Authentication request, or AuthenticationOk.
pub fn write_authentication(
    buf: &mut BytesMut,
    request: Authentication<'_>,
) -> Result<(), EncodeError> {
    let (code, data): (u32, &[u8]) = match &request {
        Authentication::Ok => (0, b""),
        Authentication::CleartextPassword => (3, b""),
        Authentication::Md5Password(salt) => (5, salt),
        Authentication::Sasl(mechanisms) => {
            return write_authentication_sasl(buf, mechanisms.iter());
        }
        Authentication::SaslContinue(data) => (11, data),
        Authentication::SaslFinal(data) => (12, data),
        Authentication::Other { code, data } => (*code, data),
    };
    message(buf, tag::AUTHENTICATION, |buf| {
        buf.put_u32(code);
        buf.put_slice(data);
        Ok(())
    })
}

/// Writes an AuthenticationSASL that offers these mechanisms, the preferred one first.
pub fn write_authentication_sasl<'m>(
    buf: &mut BytesMut,
    mechanisms: impl IntoIterator<Item = &'m [u8]>,
) -> Result<(), EncodeError> {
    message(buf, tag::AUTHENTICATION, |buf| {
        buf.put_u32(10);
        for mechanism in mechanisms {
            put_string(buf, mechanism)?;
        }
        buf.put_u8(0);
        Ok(())
    })
}

/// Writes a BackendKeyData.
pub fn write_backend_key_data(
    buf: &mut BytesMut,
    pid: i32,
    secret: &[u8],
) -> Result<(), EncodeError> {
    message(buf, tag::BACKEND_KEY_DATA, |buf| {
        buf.put_i32(pid);
        buf.put_slice(secret);
        Ok(())
    })
}

/// Writes a NegotiateProtocolVersion: protocol 3.`minor` is the newest that is spoken here, and
/// `options` are not known. The field holds the whole version number, as PostgreSQL writes it
/// and libpq reads it (SendNegotiateProtocolVersion), not the minor number alone.
pub fn write_negotiate_protocol_version<'o>(
    buf: &mut BytesMut,
    minor: u16,
    options: impl IntoIterator<Item = &'o [u8]>,
) -> Result<(), EncodeError> {
    message(buf, tag::NEGOTIATE_PROTOCOL_VERSION, |buf| {
        buf.put_u16(3);
        buf.put_u16(minor);
        buf.put_u16(0);
        put_counted(buf, options, put_string)
    })
}

/// Writes a ParameterStatus.
pub fn write_parameter_status(
    buf: &mut BytesMut,
    name: &[u8],
    value: &[u8],
) -> Result<(), EncodeError> {
    message(buf, tag::PARAMETER_STATUS, |buf| {
        put_string(buf, name)?;
        put_string(buf, value)
    })
}

/// Writes a ReadyForQuery.
pub fn write_ready_for_query(buf: &mut BytesMut, status: TransactionStatus) {
    buf.put_slice(&[tag::READY_FOR_QUERY, 0, 0, 0, 5, status.byte()]);
}

/// Writes a CommandComplete.
pub fn write_command_complete(buf: &mut BytesMut, command: &[u8]) -> Result<(), EncodeError> {
    message(buf, tag::COMMAND_COMPLETE, |buf| put_string(buf, command))
}

/// Writes a RowDescription.
pub fn write_row_description<'f>(
    buf: &mut BytesMut,
    fields: impl IntoIterator<Item = Field<'f>>,
) -> Result<(), EncodeError> {
    message(buf, tag::ROW_DESCRIPTION, |buf| {
        put_counted(buf, fields, |buf, field| {
            put_string(buf, field.name)?;
            buf.put_u32(field.table);
            buf.put_i16(field.attribute);
            buf.put_u32(field.type_oid);
            buf.put_i16(field.type_size);
            buf.put_i32(field.type_modifier);
            buf.put_i16(field.format);
            Ok(())
        })
    })
}

/// Writes a DataRow of these values.
pub fn write_data_row<'v>(
    buf: &mut BytesMut,
    values: impl IntoIterator<Item = Option<&'v [u8]>>,
) -> Result<(), EncodeError> {
    message(buf, tag::DATA_ROW, |buf| {
        put_counted(buf, values, put_value)
    })
}

/// Writes a DataRow value by value. Dropped before [`RowWriter::finish`], or after a failure, it
/// leaves the buffer as it was.
#[must_use = "a row counts only when it is finished"]
pub struct RowWriter<'b> {
    buf: &'b mut BytesMut,
    start: usize,
    count: u16,
    finished: bool,
}

impl std::fmt::Debug for RowWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowWriter({} values)", self.count)
    }
}

impl<'b> RowWriter<'b> {
    /// Begins a row at the end of `buf`.
    pub fn new(buf: &'b mut BytesMut) -> Self {
        let start = buf.len();
        buf.put_slice(&[tag::DATA_ROW, 0, 0, 0, 0, 0, 0]);
        Self {
            buf,
            start,
            count: 0,
            finished: false,
        }
    }

    /// Appends a value; `None` is NULL.
    #[inline]
    pub fn push(&mut self, value: Option<&[u8]>) -> Result<(), EncodeError> {
        self.count = self.count.checked_add(1).ok_or(EncodeError::TooMany)?;
        put_value(self.buf, value)
    }

    /// Ends the row.
    pub fn finish(mut self) -> Result<(), EncodeError> {
        patch_length(self.buf, self.start + 1)?;
        if let Some(field) = self.buf.get_mut(self.start + 5..self.start + 7) {
            field.copy_from_slice(&self.count.to_be_bytes());
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for RowWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.buf.truncate(self.start);
        }
    }
}

/// Writes a ParameterDescription.
pub fn write_parameter_description(
    buf: &mut BytesMut,
    types: impl IntoIterator<Item = u32>,
) -> Result<(), EncodeError> {
    message(buf, tag::PARAMETER_DESCRIPTION, |buf| put_oids(buf, types))
}

/// Writes a NotificationResponse.
pub fn write_notification_response(
    buf: &mut BytesMut,
    pid: i32,
    channel: &[u8],
    payload: &[u8],
) -> Result<(), EncodeError> {
    message(buf, tag::NOTIFICATION_RESPONSE, |buf| {
        buf.put_i32(pid);
        put_string(buf, channel)?;
        put_string(buf, payload)
    })
}

/// Writes a FunctionCallResponse.
pub fn write_function_call_response(
    buf: &mut BytesMut,
    value: Option<&[u8]>,
) -> Result<(), EncodeError> {
    message(buf, tag::FUNCTION_CALL_RESPONSE, |buf| {
        put_value(buf, value)
    })
}

/// Writes a CopyInResponse.
pub fn write_copy_in_response(
    buf: &mut BytesMut,
    format: u8,
    column_formats: impl IntoIterator<Item = i16>,
) -> Result<(), EncodeError> {
    copy_response(buf, tag::COPY_IN_RESPONSE, format, column_formats)
}

/// Writes a CopyOutResponse.
pub fn write_copy_out_response(
    buf: &mut BytesMut,
    format: u8,
    column_formats: impl IntoIterator<Item = i16>,
) -> Result<(), EncodeError> {
    copy_response(buf, tag::COPY_OUT_RESPONSE, format, column_formats)
}

fn copy_response(
    buf: &mut BytesMut,
    tag: u8,
    format: u8,
    column_formats: impl IntoIterator<Item = i16>,
) -> Result<(), EncodeError> {
    message(buf, tag, |buf| {
        buf.put_u8(format);
        put_formats(buf, column_formats)
    })
}

/// Writes a ParseComplete.
pub fn write_parse_complete(buf: &mut BytesMut) {
    bare(buf, tag::PARSE_COMPLETE);
}

/// Writes a BindComplete.
pub fn write_bind_complete(buf: &mut BytesMut) {
    bare(buf, tag::BIND_COMPLETE);
}

/// Writes a CloseComplete.
pub fn write_close_complete(buf: &mut BytesMut) {
    bare(buf, tag::CLOSE_COMPLETE);
}

/// Writes a NoData.
pub fn write_no_data(buf: &mut BytesMut) {
    bare(buf, tag::NO_DATA);
}

/// Writes a PortalSuspended.
pub fn write_portal_suspended(buf: &mut BytesMut) {
    bare(buf, tag::PORTAL_SUSPENDED);
}

/// Writes an EmptyQueryResponse.
pub fn write_empty_query_response(buf: &mut BytesMut) {
    bare(buf, tag::EMPTY_QUERY_RESPONSE);
}

impl Message<'_> {
    /// Writes the message again.
    pub fn write(&self, buf: &mut BytesMut) -> Result<(), EncodeError> {
        match *self {
            Self::Authentication(request) => write_authentication(buf, request)?,
            Self::BackendKeyData(key) => write_backend_key_data(buf, key.pid, key.secret)?,
            Self::BindComplete => write_bind_complete(buf),
            Self::CloseComplete => write_close_complete(buf),
            Self::CommandComplete(command) => write_command_complete(buf, command)?,
            Self::CopyBothResponse(r) => copy_response(
                buf,
                tag::COPY_BOTH_RESPONSE,
                r.format,
                r.column_formats.iter(),
            )?,
            Self::CopyData(data) => crate::frontend::write_copy_data(buf, data)?,
            Self::CopyDone => crate::frontend::write_copy_done(buf),
            Self::CopyInResponse(r) => {
                write_copy_in_response(buf, r.format, r.column_formats.iter())?
            }
            Self::CopyOutResponse(r) => {
                write_copy_out_response(buf, r.format, r.column_formats.iter())?
            }
            Self::DataRow(row) => write_data_row(buf, row.values)?,
            Self::EmptyQueryResponse => write_empty_query_response(buf),
            Self::ErrorResponse(error) => error.write(buf, tag::ERROR_RESPONSE)?,
            Self::FunctionCallResponse(value) => write_function_call_response(buf, value)?,
            Self::NegotiateProtocolVersion(negotiate) => {
                let minor = u16::try_from(negotiate.version & 0xffff).unwrap_or_default();
                write_negotiate_protocol_version(buf, minor, negotiate.options())?
            }
            Self::NoData => write_no_data(buf),
            Self::NoticeResponse(notice) => notice.write(buf, tag::NOTICE_RESPONSE)?,
            Self::NotificationResponse(n) => {
                write_notification_response(buf, n.pid, n.channel, n.payload)?
            }
            Self::ParameterDescription(types) => write_parameter_description(buf, types.iter())?,
            Self::ParameterStatus(s) => write_parameter_status(buf, s.name, s.value)?,
            Self::ParseComplete => write_parse_complete(buf),
            Self::PortalSuspended => write_portal_suspended(buf),
            Self::ReadyForQuery(status) => write_ready_for_query(buf, status),
            Self::RowDescription(rows) => write_row_description(buf, rows.fields())?,
        }
        Ok(())
    }
}
