//! What the server sends: borrowed decoders, and writers for the same messages.
//!
//! Invariants: a DataRow is checked once and walked without allocating; texts are bytes, since
//! their encoding is the session's. Errors and notices are in [`error`].

mod error;
mod write;

pub use error::{
    ERROR_TEXT_BYTES_MAX, ErrorEdit, ErrorField, ErrorFields, ErrorResponse, Severity, SqlState,
    field,
};
pub use write::*;

use crate::wire::{DecodeError, Formats, Oids, Reader, Values, quiet_debug};

/// Type bytes of messages from the server.
pub mod tag {
    /// Authentication requests and AuthenticationOk.
    pub const AUTHENTICATION: u8 = b'R';
    /// BackendKeyData.
    pub const BACKEND_KEY_DATA: u8 = b'K';
    /// BindComplete.
    pub const BIND_COMPLETE: u8 = b'2';
    /// CloseComplete.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// CommandComplete.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// CopyBothResponse (replication).
    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    /// CopyData, in both directions.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone, in both directions.
    pub const COPY_DONE: u8 = b'c';
    /// CopyInResponse.
    pub const COPY_IN_RESPONSE: u8 = b'G';
    /// CopyOutResponse.
    pub const COPY_OUT_RESPONSE: u8 = b'H';
    /// DataRow.
    pub const DATA_ROW: u8 = b'D';
    /// EmptyQueryResponse.
    pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
    /// ErrorResponse.
    pub const ERROR_RESPONSE: u8 = b'E';
    /// FunctionCallResponse.
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    /// NegotiateProtocolVersion.
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    /// NoData.
    pub const NO_DATA: u8 = b'n';
    /// NoticeResponse.
    pub const NOTICE_RESPONSE: u8 = b'N';
    /// NotificationResponse.
    pub const NOTIFICATION_RESPONSE: u8 = b'A';
    /// ParameterDescription.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// ParameterStatus.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// ParseComplete.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// PortalSuspended.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// ReadyForQuery.
    pub const READY_FOR_QUERY: u8 = b'Z';
    /// RowDescription.
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// A message from the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A request of the login, or its end.
    Authentication(Authentication<'a>),
    /// The session's cancel key.
    BackendKeyData(BackendKeyData<'a>),
    /// Bind was done.
    BindComplete,
    /// Close was done.
    CloseComplete,
    /// A statement is done: its command tag.
    CommandComplete(&'a [u8]),
    /// COPY data to and from the driver follows (replication).
    CopyBothResponse(CopyResponse<'a>),
    /// A piece of COPY data.
    CopyData(&'a [u8]),
    /// The end of COPY data.
    CopyDone,
    /// COPY data from the driver is awaited.
    CopyInResponse(CopyResponse<'a>),
    /// COPY data to the driver follows.
    CopyOutResponse(CopyResponse<'a>),
    /// A row.
    DataRow(DataRow<'a>),
    /// The query string was empty.
    EmptyQueryResponse,
    /// An error.
    ErrorResponse(ErrorResponse<'a>),
    /// A function's result.
    FunctionCallResponse(Option<&'a [u8]>),
    /// The newest version and the options that are not known.
    NegotiateProtocolVersion(NegotiateProtocolVersion<'a>),
    /// A statement without rows was described.
    NoData,
    /// A notice.
    NoticeResponse(ErrorResponse<'a>),
    /// A NOTIFY of some session.
    NotificationResponse(Notification<'a>),
    /// Types of a statement's parameters.
    ParameterDescription(Oids<'a>),
    /// A setting's value.
    ParameterStatus(ParameterStatus<'a>),
    /// Parse was done.
    ParseComplete,
    /// The row limit of an Execute was reached.
    PortalSuspended,
    /// The server awaits the next query.
    ReadyForQuery(TransactionStatus),
    /// The shape of the rows that follow.
    RowDescription(RowDescription<'a>),
}

quiet_debug!(
    Message,
    Authentication,
    BackendKeyData,
    CopyResponse,
    DataRow,
    NegotiateProtocolVersion,
    Notification,
    ParameterStatus,
    RowDescription,
);

impl<'a> Message<'a> {
    /// Reads the body of the message with this type byte.
    pub fn decode(tag: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let empty = |name, value| Reader::new(name, body).finish().map(|()| value);
        Ok(match tag {
            tag::AUTHENTICATION => Self::Authentication(Authentication::decode(body)?),
            tag::BACKEND_KEY_DATA => Self::BackendKeyData(BackendKeyData::decode(body)?),
            tag::BIND_COMPLETE => empty("BindComplete", Self::BindComplete)?,
            tag::CLOSE_COMPLETE => empty("CloseComplete", Self::CloseComplete)?,
            tag::COMMAND_COMPLETE => Self::CommandComplete(decode_command_complete(body)?),
            tag::COPY_BOTH_RESPONSE => Self::CopyBothResponse(CopyResponse::decode(body)?),
            tag::COPY_DATA => Self::CopyData(body),
            tag::COPY_DONE => empty("CopyDone", Self::CopyDone)?,
            tag::COPY_IN_RESPONSE => Self::CopyInResponse(CopyResponse::decode(body)?),
            tag::COPY_OUT_RESPONSE => Self::CopyOutResponse(CopyResponse::decode(body)?),
            tag::DATA_ROW => Self::DataRow(DataRow::decode(body)?),
            tag::EMPTY_QUERY_RESPONSE => empty("EmptyQueryResponse", Self::EmptyQueryResponse)?,
            tag::ERROR_RESPONSE => Self::ErrorResponse(ErrorResponse::decode(body)?),
            tag::FUNCTION_CALL_RESPONSE => {
                let mut reader = Reader::new("FunctionCallResponse", body);
                let value = reader.value()?;
                reader.finish()?;
                Self::FunctionCallResponse(value)
            }
            tag::NEGOTIATE_PROTOCOL_VERSION => {
                Self::NegotiateProtocolVersion(NegotiateProtocolVersion::decode(body)?)
            }
            tag::NO_DATA => empty("NoData", Self::NoData)?,
            tag::NOTICE_RESPONSE => Self::NoticeResponse(ErrorResponse::decode(body)?),
            tag::NOTIFICATION_RESPONSE => Self::NotificationResponse(Notification::decode(body)?),
            tag::PARAMETER_DESCRIPTION => {
                Self::ParameterDescription(decode_parameter_description(body)?)
            }
            tag::PARAMETER_STATUS => Self::ParameterStatus(ParameterStatus::decode(body)?),
            tag::PARSE_COMPLETE => empty("ParseComplete", Self::ParseComplete)?,
            tag::PORTAL_SUSPENDED => empty("PortalSuspended", Self::PortalSuspended)?,
            tag::READY_FOR_QUERY => Self::ReadyForQuery(TransactionStatus::decode(body)?),
            tag::ROW_DESCRIPTION => Self::RowDescription(RowDescription::decode(body)?),
            tag => return Err(DecodeError::UnknownTag { tag }),
        })
    }
}

/// The command tag of a CommandComplete, such as `INSERT 0 1`.
pub fn decode_command_complete(body: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new("CommandComplete", body);
    let tag = reader.string()?;
    reader.finish()?;
    Ok(tag)
}

/// The types of a ParameterDescription.
pub fn decode_parameter_description(body: &[u8]) -> Result<Oids<'_>, DecodeError> {
    let mut reader = Reader::new("ParameterDescription", body);
    let types = reader.oids()?;
    reader.finish()?;
    Ok(types)
}

/// The shape of rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RowDescription<'a> {
    count: u16,
    bytes: &'a [u8],
}

/// The shape of one column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// The column's name.
    pub name: &'a [u8],
    /// The table it was read from; 0 where it was computed.
    pub table: u32,
    /// The attribute's number in that table; 0 where it was computed.
    pub attribute: i16,
    /// The type.
    pub type_oid: u32,
    /// The type's size in bytes; negative where it varies.
    pub type_size: i16,
    /// The type's modifier; -1 for none.
    pub type_modifier: i32,
    /// 0 text, 1 binary; 0 also in a Describe of a statement, where it is not known yet.
    pub format: i16,
}

impl<'a> RowDescription<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("RowDescription", body);
        let count = reader.u16()?;
        let bytes = body.get(2..).unwrap_or_default();
        for _ in 0..count {
            Field::read(&mut reader)?;
        }
        reader.finish()?;
        Ok(Self { count, bytes })
    }

    /// How many columns.
    pub fn len(self) -> usize {
        usize::from(self.count)
    }

    /// Whether there is no column.
    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The columns in order.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        let mut reader = Reader::new("RowDescription", self.bytes);
        (0..self.count).map_while(move |_| Field::read(&mut reader).ok())
    }
}

impl<'a> Field<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: reader.string()?,
            table: reader.u32()?,
            attribute: reader.i16()?,
            type_oid: reader.u32()?,
            type_size: reader.i16()?,
            type_modifier: reader.i32()?,
            format: reader.i16()?,
        })
    }
}

/// A row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DataRow<'a> {
    /// The columns' values; `None` is NULL.
    pub values: Values<'a>,
}

impl<'a> DataRow<'a> {
    /// Reads a body: one pass over the lengths, no allocation.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("DataRow", body);
        let count = reader.u16()?;
        let values = reader.values(count)?;
        reader.finish()?;
        Ok(Self { values })
    }
}

/// Where a session stands, as ReadyForQuery says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionStatus {
    /// `I`: in no transaction.
    Idle,
    /// `T`: in a transaction.
    InTransaction,
    /// `E`: in a transaction that failed.
    Failed,
}

impl TransactionStatus {
    /// Reads the body of a ReadyForQuery.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("ReadyForQuery", body);
        let status = match reader.u8()? {
            b'I' => Self::Idle,
            b'T' => Self::InTransaction,
            b'E' => Self::Failed,
            _ => return Err(reader.invalid("transaction status")),
        };
        reader.finish()?;
        Ok(status)
    }

    /// The byte in ReadyForQuery.
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// A setting's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// The setting.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> ParameterStatus<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("ParameterStatus", body);
        let status = Self {
            name: reader.string()?,
            value: reader.string()?,
        };
        reader.finish()?;
        Ok(status)
    }
}

/// The session's cancel key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// The server's process id.
    pub pid: i32,
    /// The secret: 4 bytes in protocol 3.0, up to 256 in 3.2.
    pub secret: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("BackendKeyData", body);
        let (pid, secret) = (reader.i32()?, reader.rest());
        if !(4..=256).contains(&secret.len()) {
            return Err(reader.invalid("secret length"));
        }
        Ok(Self { pid, secret })
    }
}

/// A NOTIFY.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Notification<'a> {
    /// The process id of the session that notified.
    pub pid: i32,
    /// The channel.
    pub channel: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Notification<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("NotificationResponse", body);
        let notification = Self {
            pid: reader.i32()?,
            channel: reader.string()?,
            payload: reader.string()?,
        };
        reader.finish()?;
        Ok(notification)
    }
}

/// How COPY data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// 0 for text and csv, 1 for binary.
    pub format: u8,
    /// Formats of the columns.
    pub column_formats: Formats<'a>,
}

impl<'a> CopyResponse<'a> {
    /// Reads the body of a CopyInResponse, CopyOutResponse or CopyBothResponse.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("CopyResponse", body);
        let response = Self {
            format: reader.u8()?,
            column_formats: reader.formats()?,
        };
        if response.format > 1 {
            return Err(reader.invalid("format"));
        }
        reader.finish()?;
        Ok(response)
    }
}

/// The newest version that the server speaks, and what it does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// The version as in a start-up packet: major * 65,536 + minor.
    pub version: u32,
    options: &'a [u8],
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("NegotiateProtocolVersion", body);
        let (version, count) = (reader.u32()?, reader.u32()?);
        let options = body.get(8..).unwrap_or_default();
        for _ in 0..count {
            reader.string()?;
        }
        reader.finish()?;
        Ok(Self { version, options })
    }

    /// The options that the server does not know.
    pub fn options(self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader::new("NegotiateProtocolVersion", self.options);
        std::iter::from_fn(move || reader.string().ok())
    }
}

/// A request of the login.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// The login succeeded.
    Ok,
    /// The password in clear is wanted.
    CleartextPassword,
    /// An MD5 of the password with this salt is wanted.
    Md5Password([u8; 4]),
    /// SASL is wanted, with one of these mechanisms.
    Sasl(Mechanisms<'a>),
    /// The next step of SASL.
    SaslContinue(&'a [u8]),
    /// The last step of SASL.
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI and others, by their code.
    Other {
        /// The code.
        code: u32,
        /// What follows it.
        data: &'a [u8],
    },
}

/// Names of SASL mechanisms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mechanisms<'a>(&'a [u8]);

impl<'a> Mechanisms<'a> {
    /// The names, in the server's order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader::new("AuthenticationSASL", self.0);
        std::iter::from_fn(move || reader.string().ok().filter(|name| !name.is_empty()))
    }
}

impl<'a> Authentication<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Authentication", body);
        let request = match reader.u32()? {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => Self::Md5Password(reader.bytes4()?),
            10 => {
                let names = body.get(4..).unwrap_or_default();
                while !reader.string()?.is_empty() {}
                Self::Sasl(Mechanisms(names))
            }
            11 => Self::SaslContinue(reader.rest()),
            12 => Self::SaslFinal(reader.rest()),
            code => Self::Other {
                code,
                data: reader.rest(),
            },
        };
        reader.finish()?;
        Ok(request)
    }
}
