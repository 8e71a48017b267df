//! EVTX: event logs as Windows keeps them, chunk by chunk of 64 KiB.

use std::collections::VecDeque;
use std::io::{Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use evtx::{EvtxChunkData, EvtxParser, IntoIterChunks, ParserSettings};

use super::{Events, Numbered, json};
use crate::source::ReadError;
use crate::summary::Reason;

/// A log.
pub(super) struct Evtx<R: Read + Seek> {
    chunks: IntoIterChunks<R>,
    settings: Arc<ParserSettings>,
    /// Events of the chunk that was read last, with their numbers.
    events: VecDeque<Numbered>,
    /// The number of the newest event; of one that cannot be read, that of the one before.
    number: u64,
}

impl<R: Read + Seek> Evtx<R> {
    pub(super) fn open(reader: R) -> Result<Self, ReadError> {
        let parser = EvtxParser::from_read_seek(reader)
            .map_err(|error| ReadError::Form(format!("its EVTX header cannot be read: {error}")))?;
        Ok(Self {
            chunks: parser.into_chunks(),
            settings: Arc::new(ParserSettings::default().num_threads(1)),
            events: VecDeque::new(),
            number: 0,
        })
    }

    /// Reads the events of the next chunk; `false` at the end.
    fn fill(&mut self) -> bool {
        let broken = Err(Reason::Form("a readable chunk of EVTX"));
        // A panic of the parser on hostile bytes costs a chunk.
        let chunks = &mut self.chunks;
        let Ok(next) = catch_unwind(AssertUnwindSafe(|| chunks.next())) else {
            self.events.push_back((self.number, broken));
            return false;
        };
        let Some(chunk) = next else { return false };
        let settings = &self.settings;
        let mut number = self.number;
        let read = chunk
            .map(|chunk| catch_unwind(AssertUnwindSafe(|| read(chunk, settings, &mut number))));
        match read {
            Ok(Ok(Some(events))) => self.events.extend(events),
            _ => self.events.push_back((self.number, broken)),
        }
        self.number = number;
        true
    }
}

/// The events of a chunk; `None`: it is none.
fn read(
    mut chunk: EvtxChunkData,
    settings: &Arc<ParserSettings>,
    number: &mut u64,
) -> Option<Vec<Numbered>> {
    let mut chunk = chunk.parse(Arc::clone(settings)).ok()?;
    let mut events = Vec::new();
    for record in chunk.iter() {
        let record = record.and_then(|record| {
            *number = record.event_record_id;
            record.into_json_value()
        });
        let event = match record {
            Ok(record) => json::event(&record.data).ok_or(Reason::Form("a readable event of EVTX")),
            Err(_) => Err(Reason::Form("a readable event of EVTX")),
        };
        events.push((*number, event));
    }
    Some(events)
}

impl<R: Read + Seek> Events for Evtx<R> {
    fn next(&mut self) -> Result<Option<Numbered>, ReadError> {
        loop {
            if let Some(next) = self.events.pop_front() {
                return Ok(Some(next));
            }
            if !self.fill() && self.events.is_empty() {
                return Ok(None);
            }
        }
    }
}
