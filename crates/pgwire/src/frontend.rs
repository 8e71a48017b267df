//! What drivers send: borrowed decoders, and writers for the same messages.
//!
//! Invariants: texts are bytes, since their encoding is the session's; lists are checked whole
//! when they are decoded and walked lazily afterwards; counts are 16 bits unsigned, as
//! PostgreSQL reads them. Never here: what a statement means.

use bytes::{BufMut, BytesMut};

use crate::wire::{
    DecodeError, EncodeError, Formats, Oids, Reader, Values, bare, message, put_counted,
    put_formats, put_oids, put_string, put_value, quiet_debug,
};

/// Type bytes of messages from drivers.
pub mod tag {
    /// Bind.
    pub const BIND: u8 = b'B';
    /// Close.
    pub const CLOSE: u8 = b'C';
    /// CopyData, in both directions.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone, in both directions.
    pub const COPY_DONE: u8 = b'c';
    /// CopyFail.
    pub const COPY_FAIL: u8 = b'f';
    /// Describe.
    pub const DESCRIBE: u8 = b'D';
    /// Execute.
    pub const EXECUTE: u8 = b'E';
    /// Flush.
    pub const FLUSH: u8 = b'H';
    /// FunctionCall.
    pub const FUNCTION_CALL: u8 = b'F';
    /// Parse.
    pub const PARSE: u8 = b'P';
    /// PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse.
    pub const AUTHENTICATION: u8 = b'p';
    /// Query.
    pub const QUERY: u8 = b'Q';
    /// Sync.
    pub const SYNC: u8 = b'S';
    /// Terminate.
    pub const TERMINATE: u8 = b'X';
}

/// A message from a driver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A simple query: its text.
    Query(&'a [u8]),
    /// Prepares a statement.
    Parse(Parse<'a>),
    /// Makes a portal of a statement and its parameters.
    Bind(Bind<'a>),
    /// Asks for the shape of a statement or portal.
    Describe(Target<'a>),
    /// Runs a portal.
    Execute(Execute<'a>),
    /// Closes a statement or portal.
    Close(Target<'a>),
    /// Asks for what is pending.
    Flush,
    /// Ends a series of extended-protocol messages.
    Sync,
    /// A piece of COPY data.
    CopyData(&'a [u8]),
    /// The end of COPY data.
    CopyDone,
    /// Gives a COPY up: the reason.
    CopyFail(&'a [u8]),
    /// An answer to an authentication request. Which one, only the state of the login says: see
    /// [`decode_password`] and [`SaslInitialResponse::decode`]; a SASLResponse is the body.
    Authentication(&'a [u8]),
    /// Calls a function by its id.
    FunctionCall(FunctionCall<'a>),
    /// The driver leaves.
    Terminate,
}

quiet_debug!(
    Message,
    Parse,
    Bind,
    Target,
    Execute,
    FunctionCall,
    SaslInitialResponse
);

impl<'a> Message<'a> {
    /// Reads the body of the message with this type byte.
    pub fn decode(tag: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match tag {
            tag::QUERY => Self::Query(decode_query(body)?),
            tag::PARSE => Self::Parse(Parse::decode(body)?),
            tag::BIND => Self::Bind(Bind::decode(body)?),
            tag::DESCRIBE => Self::Describe(Target::decode("Describe", body)?),
            tag::EXECUTE => Self::Execute(Execute::decode(body)?),
            tag::CLOSE => Self::Close(Target::decode("Close", body)?),
            tag::FLUSH => empty("Flush", body, Self::Flush)?,
            tag::SYNC => empty("Sync", body, Self::Sync)?,
            tag::COPY_DATA => Self::CopyData(body),
            tag::COPY_DONE => empty("CopyDone", body, Self::CopyDone)?,
            tag::COPY_FAIL => Self::CopyFail(only_string("CopyFail", body)?),
            tag::AUTHENTICATION => Self::Authentication(body),
            tag::FUNCTION_CALL => Self::FunctionCall(FunctionCall::decode(body)?),
            tag::TERMINATE => empty("Terminate", body, Self::Terminate)?,
            tag => return Err(DecodeError::UnknownTag { tag }),
        })
    }
}

fn empty<T>(name: &'static str, body: &[u8], value: T) -> Result<T, DecodeError> {
    Reader::new(name, body).finish().map(|()| value)
}

fn only_string<'a>(name: &'static str, body: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let mut reader = Reader::new(name, body);
    let text = reader.string()?;
    reader.finish()?;
    Ok(text)
}

/// The text of a Query.
pub fn decode_query(body: &[u8]) -> Result<&[u8], DecodeError> {
    only_string("Query", body)
}

/// The password of a PasswordMessage.
pub fn decode_password(body: &[u8]) -> Result<&[u8], DecodeError> {
    only_string("Password", body)
}

/// Prepares a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Its text.
    pub sql: &'a [u8],
    /// Types of the first parameters; 0 leaves one to the server.
    pub types: Oids<'a>,
}

impl<'a> Parse<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Parse", body);
        let parse = Self {
            name: reader.string()?,
            sql: reader.string()?,
            types: reader.oids()?,
        };
        reader.finish()?;
        Ok(parse)
    }
}

/// Makes a portal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The statement's name.
    pub statement: &'a [u8],
    /// Formats of the parameters; their number fits that of the parameters.
    pub formats: Formats<'a>,
    /// The parameters; `None` is NULL.
    pub parameters: Values<'a>,
    /// Formats wanted of the result's columns.
    pub result_formats: Formats<'a>,
}

impl<'a> Bind<'a> {
    /// Reads a body. As in PostgreSQL, there are no parameter formats, one, or one each.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Bind", body);
        let (portal, statement) = (reader.string()?, reader.string()?);
        let formats = reader.formats()?;
        let count = reader.u16()?;
        let parameters = reader.values(count)?;
        if !formats.fits(parameters.len()) {
            return Err(reader.invalid("number of parameter formats"));
        }
        let result_formats = reader.formats()?;
        reader.finish()?;
        Ok(Self {
            portal,
            statement,
            formats,
            parameters,
            result_formats,
        })
    }
}

/// What Describe and Close name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a [u8]),
    /// A portal.
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Reads the body of a Describe or a Close.
    pub fn decode_body(body: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode("Describe or Close", body)
    }

    fn decode(name: &'static str, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(name, body);
        let (kind, text) = (reader.u8()?, reader.string()?);
        let target = match kind {
            b'S' => Self::Statement(text),
            b'P' => Self::Portal(text),
            _ => return Err(reader.invalid("kind")),
        };
        reader.finish()?;
        Ok(target)
    }

    fn put(self, buf: &mut BytesMut) -> Result<(), EncodeError> {
        let (kind, name) = match self {
            Self::Statement(name) => (b'S', name),
            Self::Portal(name) => (b'P', name),
        };
        buf.put_u8(kind);
        put_string(buf, name)
    }
}

/// Runs a portal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// The most rows to return; 0 or less for all.
    pub rows_max: i32,
}

impl<'a> Execute<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Execute", body);
        let execute = Self {
            portal: reader.string()?,
            rows_max: reader.i32()?,
        };
        reader.finish()?;
        Ok(execute)
    }
}

/// Calls a function by its id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// The function.
    pub function: u32,
    /// Formats of the arguments; their number fits that of the arguments.
    pub formats: Formats<'a>,
    /// The arguments; `None` is NULL.
    pub arguments: Values<'a>,
    /// The format wanted of the result.
    pub result_format: i16,
}

impl<'a> FunctionCall<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("FunctionCall", body);
        let function = reader.u32()?;
        let formats = reader.formats()?;
        let count = reader.u16()?;
        let arguments = reader.values(count)?;
        if !formats.fits(arguments.len()) {
            return Err(reader.invalid("number of argument formats"));
        }
        let result_format = reader.i16()?;
        reader.finish()?;
        Ok(Self {
            function,
            formats,
            arguments,
            result_format,
        })
    }
}

/// The first answer of a SASL login.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// The mechanism that the driver chose.
    pub mechanism: &'a [u8],
    /// Its first data; `None` where the driver sent none.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("SASLInitialResponse", body);
        let response = Self {
            mechanism: reader.string()?,
            data: reader.value()?,
        };
        reader.finish()?;
        Ok(response)
    }
}

/// Writes a Query.
pub fn write_query(buf: &mut BytesMut, sql: &[u8]) -> Result<(), EncodeError> {
    message(buf, tag::QUERY, |buf| put_string(buf, sql))
}

/// Writes a Parse.
pub fn write_parse(
    buf: &mut BytesMut,
    name: &[u8],
    sql: &[u8],
    types: impl IntoIterator<Item = u32>,
) -> Result<(), EncodeError> {
    message(buf, tag::PARSE, |buf| {
        put_string(buf, name)?;
        put_string(buf, sql)?;
        put_oids(buf, types)
    })
}

/// Writes a Bind.
pub fn write_bind<'v>(
    buf: &mut BytesMut,
    portal: &[u8],
    statement: &[u8],
    formats: impl IntoIterator<Item = i16>,
    parameters: impl IntoIterator<Item = Option<&'v [u8]>>,
    result_formats: impl IntoIterator<Item = i16>,
) -> Result<(), EncodeError> {
    message(buf, tag::BIND, |buf| {
        put_string(buf, portal)?;
        put_string(buf, statement)?;
        put_formats(buf, formats)?;
        put_counted(buf, parameters, put_value)?;
        put_formats(buf, result_formats)
    })
}

/// Writes a Describe.
pub fn write_describe(buf: &mut BytesMut, target: Target<'_>) -> Result<(), EncodeError> {
    message(buf, tag::DESCRIBE, |buf| target.put(buf))
}

/// Writes a Close.
pub fn write_close(buf: &mut BytesMut, target: Target<'_>) -> Result<(), EncodeError> {
    message(buf, tag::CLOSE, |buf| target.put(buf))
}

/// Writes an Execute; `rows_max` 0 for all rows.
pub fn write_execute(buf: &mut BytesMut, portal: &[u8], rows_max: i32) -> Result<(), EncodeError> {
    message(buf, tag::EXECUTE, |buf| {
        put_string(buf, portal)?;
        buf.put_i32(rows_max);
        Ok(())
    })
}

/// Writes a Flush.
pub fn write_flush(buf: &mut BytesMut) {
    bare(buf, tag::FLUSH);
}

/// Writes a Sync.
pub fn write_sync(buf: &mut BytesMut) {
    bare(buf, tag::SYNC);
}

/// Writes a Terminate.
pub fn write_terminate(buf: &mut BytesMut) {
    bare(buf, tag::TERMINATE);
}

/// Writes a CopyData, the same in both directions.
pub fn write_copy_data(buf: &mut BytesMut, data: &[u8]) -> Result<(), EncodeError> {
    message(buf, tag::COPY_DATA, |buf| {
        buf.put_slice(data);
        Ok(())
    })
}

/// Writes a CopyDone, the same in both directions.
pub fn write_copy_done(buf: &mut BytesMut) {
    bare(buf, tag::COPY_DONE);
}

/// Writes a CopyFail with its reason.
pub fn write_copy_fail(buf: &mut BytesMut, reason: &[u8]) -> Result<(), EncodeError> {
    message(buf, tag::COPY_FAIL, |buf| put_string(buf, reason))
}

/// Writes a PasswordMessage.
pub fn write_password(buf: &mut BytesMut, password: &[u8]) -> Result<(), EncodeError> {
    message(buf, tag::AUTHENTICATION, |buf| put_string(buf, password))
}

/// Writes a SASLInitialResponse.
pub fn write_sasl_initial_response(
    buf: &mut BytesMut,
    mechanism: &[u8],
    data: Option<&[u8]>,
) -> Result<(), EncodeError> {
    message(buf, tag::AUTHENTICATION, |buf| {
        put_string(buf, mechanism)?;
        put_value(buf, data)
    })
}

/// Writes a SASLResponse.
pub fn write_sasl_response(buf: &mut BytesMut, data: &[u8]) -> Result<(), EncodeError> {
    message(buf, tag::AUTHENTICATION, |buf| {
        buf.put_slice(data);
        Ok(())
    })
}

/// Writes a FunctionCall.
pub fn write_function_call<'v>(
    buf: &mut BytesMut,
    function: u32,
    formats: impl IntoIterator<Item = i16>,
    arguments: impl IntoIterator<Item = Option<&'v [u8]>>,
    result_format: i16,
) -> Result<(), EncodeError> {
    message(buf, tag::FUNCTION_CALL, |buf| {
        buf.put_u32(function);
        put_formats(buf, formats)?;
        put_counted(buf, arguments, put_value)?;
        buf.put_i16(result_format);
        Ok(())
    })
}

impl Message<'_> {
    /// Writes the message again.
    pub fn write(&self, buf: &mut BytesMut) -> Result<(), EncodeError> {
        match *self {
            Self::Query(sql) => write_query(buf, sql)?,
            Self::Parse(p) => write_parse(buf, p.name, p.sql, p.types.iter())?,
            Self::Bind(b) => write_bind(
                buf,
                b.portal,
                b.statement,
                b.formats.iter(),
                b.parameters,
                b.result_formats.iter(),
            )?,
            Self::Describe(target) => write_describe(buf, target)?,
            Self::Execute(e) => write_execute(buf, e.portal, e.rows_max)?,
            Self::Close(target) => write_close(buf, target)?,
            Self::Flush => write_flush(buf),
            Self::Sync => write_sync(buf),
            Self::CopyData(data) => write_copy_data(buf, data)?,
            Self::CopyDone => write_copy_done(buf),
            Self::CopyFail(reason) => write_copy_fail(buf, reason)?,
            Self::Authentication(data) => write_sasl_response(buf, data)?,
            Self::FunctionCall(call) => write_function_call(
                buf,
                call.function,
                call.formats.iter(),
                call.arguments,
                call.result_format,
            )?,
            Self::Terminate => write_terminate(buf),
        }
        Ok(())
    }
}
