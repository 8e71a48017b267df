//! Event logs of Windows: what terminals say about files and media.
//!
//! XML (`wevtutil qe ... /f:xml`, the Event Viewer), JSON (`evtx_dump`, Winlogbeat, PowerShell's
//! `ConvertTo-Json`) and EVTX. Of a path or a device's name nothing is kept.
//!
//! | event | is |
//! |---|---|
//! | 4663, File System, write access | `file-written` |
//! | 4663, Removable Storage, write access | `media-written` |
//! | 4656, Removable Storage, refused | `media-refused` |
//! | 6416, a disk, a portable device or a drive | `media-attached` |
//! | 6423 | `media-refused` |
//! | 2003 of DriverFrameworks-UserMode | `media-attached` |
//!
//! 2102 of DriverFrameworks-UserMode ends the removal of a device, which only [`crate::evidence`]
//! keeps; 2100 and other requests of it say that a device was switched on or off: passed over.

pub(crate) mod chunks;
pub(crate) mod event;
mod evtx;
mod json;
#[cfg(test)]
mod tests;
mod xml;

use std::io::{BufRead, Cursor, Read, Seek};

use crate::names::{Name, Names};
use crate::source::{ReadError, Source, Taken};
use crate::summary::{Reason, Summary};
use chunks::{Chunk, Chunks};
use event::Event;

/// How EVTX begins.
const EVTX_MAGIC: &[u8] = b"ElfFile\0";

/// Records of a file that can be read from any place: XML, JSON or EVTX, as its first bytes say.
/// Times without an offset are so many minutes ahead of UTC.
///
/// # Errors
/// If it cannot be read.
pub fn open<'a>(
    file: impl BufRead + Seek + 'a,
    offset_minutes: i32,
) -> Result<Box<dyn Source + 'a>, ReadError> {
    Ok(Log::of(events(file)?, offset_minutes))
}

/// The same of a stream; EVTX is read into memory first, at most [`STREAM_BYTES_MAX`] of it.
///
/// # Errors
/// If it cannot be read, or is EVTX and too long.
pub fn open_stream<'a>(
    mut stream: impl BufRead + 'a,
    offset_minutes: i32,
) -> Result<Box<dyn Source + 'a>, ReadError> {
    let events = if stream.fill_buf()?.starts_with(EVTX_MAGIC) {
        let mut bytes = Vec::new();
        stream.take(STREAM_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > STREAM_BYTES_MAX {
            return Err(ReadError::Form(format!(
                "EVTX of more than {} MiB; give it as a file",
                STREAM_BYTES_MAX >> 20
            )));
        }
        Box::new(evtx::Evtx::open(Cursor::new(bytes))?)
    } else {
        text_events(stream)?
    };
    Ok(Log::of(events, offset_minutes))
}

/// Most bytes of EVTX that are taken from a stream.
pub const STREAM_BYTES_MAX: u64 = 256 << 20;

/// An event with its line or number; what cannot be read is a reason.
pub(crate) type Numbered = (u64, Result<Event, Reason>);

/// Events, one after the other.
pub(crate) trait Events {
    /// The next one; `None` at the end.
    fn next(&mut self) -> Result<Option<Numbered>, ReadError>;
}

/// Events of a file that can be read from any place.
pub(crate) fn events<'a>(
    mut file: impl BufRead + Seek + 'a,
) -> Result<Box<dyn Events + 'a>, ReadError> {
    if file.fill_buf()?.starts_with(EVTX_MAGIC) {
        return Ok(Box::new(evtx::Evtx::open(file)?));
    }
    text_events(file)
}

fn text_events<'a>(reader: impl BufRead + 'a) -> Result<Box<dyn Events + 'a>, ReadError> {
    let mut reader = crate::decode::utf8(reader)?;
    let begin = reader.fill_buf()?;
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    let chunk = match begin.trim_ascii_start().first() {
        Some(b'<') => Chunk::Xml,
        Some(b'{' | b'[') | None => Chunk::Json,
        Some(_) => {
            return Err(ReadError::Form(
                "it is neither XML nor JSON nor EVTX".to_owned(),
            ));
        }
    };
    Ok(Box::new(Text {
        chunks: Chunks::new(reader, chunk),
        chunk,
    }))
}

/// Events in a text.
struct Text<R> {
    chunks: Chunks<R>,
    chunk: Chunk,
}

impl<R: BufRead> Events for Text<R> {
    fn next(&mut self) -> Result<Option<Numbered>, ReadError> {
        let Some((line, bytes)) = self.chunks.next()? else {
            return Ok(None);
        };
        let event = bytes
            .ok_or(Reason::TooLong)
            .and_then(|bytes| match self.chunk {
                Chunk::Xml => xml::event(bytes),
                Chunk::Json => json::event_of(bytes),
            });
        Ok(Some((line, event)))
    }
}

/// Events as records.
struct Log<'a> {
    events: Box<dyn Events + 'a>,
    offset_minutes: i32,
    summary: Summary,
}

impl<'a> Log<'a> {
    fn of(events: Box<dyn Events + 'a>, offset_minutes: i32) -> Box<dyn Source + 'a> {
        Box::new(Self {
            events,
            offset_minutes,
            summary: Summary::default(),
        })
    }
}

impl Source for Log<'_> {
    fn next(&mut self, names: &mut Names, taken: &mut Taken) -> Result<bool, ReadError> {
        while let Some((line, event)) = self.events.next()? {
            let (offset, summary) = (self.offset_minutes, &mut self.summary);
            if take(event, line, offset, names, summary, taken) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn summary(&self) -> &Summary {
        &self.summary
    }
}

/// Makes a record of an event; `false`: it gives none, and was counted.
fn take(
    event: Result<Event, Reason>,
    line: u64,
    offset_minutes: i32,
    names: &mut Names,
    summary: &mut Summary,
    taken: &mut Taken,
) -> bool {
    summary.lines += 1;
    match event.and_then(|event| record(&event, line, offset_minutes, names, summary)) {
        Ok(Some(record)) => {
            summary.record(record.at_ms);
            taken.keys.clear();
            taken.set(record);
            true
        }
        Ok(None) => false,
        Err(reason) => {
            summary.skip(reason, line);
            false
        }
    }
}

fn record(
    event: &Event,
    line: u64,
    offset_minutes: i32,
    names: &mut Names,
    summary: &mut Summary,
) -> Result<Option<watch::Record<'static>>, Reason> {
    let what = match event.meaning() {
        Ok(what) => what,
        Err(passed) => {
            summary.passed_over.add(&passed);
            return Ok(None);
        }
    };
    let at_ms = event.at_ms(offset_minutes)?;
    let computer = event.computer.to_lowercase();
    let terminal = Name::of(&computer).ok_or(Reason::Missing("Computer"))?;
    let user = event.user.to_lowercase();
    let actor = match Name::of(&user) {
        Some(user) if event.is_of_a_person() => Some(names.actor(user)?),
        _ => None,
    };
    Ok(Some(watch::Record {
        sequence: line,
        at_ms,
        what: watch::What::Terminal {
            terminal: names.terminal(terminal),
            actor,
            event: what,
            bytes: 0,
        },
    }))
}
