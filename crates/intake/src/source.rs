//! Sources of records, one or several together.

use std::io;

use watch::{Record, What};

use crate::names::Names;
use crate::summary::Summary;

/// Why a source cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes do not come.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not what it was said to be.
    #[error("{0}")]
    Form(String),
}

/// A record with its keys: a buffer that a source fills again and again.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The record without its keys.
    record: Record<'static>,
    /// The keys of an exposure's subjects.
    pub(crate) keys: Vec<u64>,
}

impl Default for Taken {
    fn default() -> Self {
        Self {
            record: Record {
                sequence: 0,
                at_ms: 0,
                what: What::Tick,
            },
            keys: Vec::new(),
        }
    }
}

impl Taken {
    /// The record.
    pub fn record(&self) -> Record<'_> {
        let mut record = self.record;
        if let What::Exposure(exposure) = &mut record.what {
            exposure.keys = &self.keys;
        }
        record
    }

    /// Puts a record in place of the one before; its keys are those in `self.keys`.
    pub(crate) fn set(&mut self, record: Record<'static>) {
        self.record = record;
    }
}

/// Something that records are read from.
pub trait Source {
    /// The next record; `false` at the end.
    ///
    /// # Errors
    /// [`ReadError`]: there is no way on. Lines that cannot be read are counted and passed over.
    fn next(&mut self, names: &mut Names, taken: &mut Taken) -> Result<bool, ReadError>;

    /// What became of its lines so far.
    fn summary(&self) -> &Summary;
}

/// Several sources, merged by the times of their next records. Among several, records are numbered
/// anew from 1; one alone keeps its numbers.
pub struct Merged<'a> {
    sources: Vec<Box<dyn Source + 'a>>,
    /// The next record of each source; `None`: it is at its end.
    heads: Vec<Option<Taken>>,
    started: bool,
    sequence: u64,
}

impl<'a> Merged<'a> {
    /// Of sources, in the order of which records of the same time come.
    pub fn new(sources: Vec<Box<dyn Source + 'a>>) -> Self {
        Self {
            heads: sources.iter().map(|_| Some(Taken::default())).collect(),
            sources,
            started: false,
            sequence: 0,
        }
    }

    /// What became of each source's lines, in the order in which they were given.
    pub fn summaries(&self) -> impl Iterator<Item = &Summary> {
        self.sources.iter().map(|source| source.summary())
    }

    /// The next record; `false` at the end of all.
    ///
    /// # Errors
    /// The place of the source that cannot be read on, and why.
    pub fn next(
        &mut self,
        names: &mut Names,
        taken: &mut Taken,
    ) -> Result<bool, (usize, ReadError)> {
        if !self.started {
            for at in 0..self.sources.len() {
                self.fill(at, names)?;
            }
            self.started = true;
        }
        let heads = self.heads.iter().enumerate();
        let first = heads
            .filter_map(|(at, head)| head.as_ref().map(|head| (head.record.at_ms, at)))
            .min();
        let Some((_, at)) = first else {
            return Ok(false);
        };
        if let Some(head) = &mut self.heads[at] {
            std::mem::swap(head, taken);
        }
        self.fill(at, names)?;
        if self.sources.len() > 1 {
            self.sequence += 1;
            taken.record.sequence = self.sequence;
        }
        Ok(true)
    }

    fn fill(&mut self, at: usize, names: &mut Names) -> Result<(), (usize, ReadError)> {
        let Some(head) = &mut self.heads[at] else {
            return Ok(());
        };
        if !self.sources[at]
            .next(names, head)
            .map_err(|error| (at, error))?
        {
            self.heads[at] = None;
        }
        Ok(())
    }
}
