//! Evidence of terminals that Sekisho's agent does not guard: what Windows, Defender's device control
//! and asset-management products wrote about devices, as [`Piece`]s (docs/terminal-evidence.md).
//!
//! [`read`] takes one file whole. Beside the pieces it says, for every terminal, how far its log goes:
//! a log in which nothing happened is evidence, too. Of a path, a device's name or serial nothing is
//! kept.
//!
//! Fuzz targets: [`read`] with each [`Kind`]; [`Words`] by its `FromStr`.

mod defender;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Seek};
use std::str::FromStr;

use watch::TerminalEvent;

use crate::Mapping;
use crate::names::Name;
use crate::source::ReadError;
use crate::summary::{Reason, Summary};
use crate::windows;
pub use words::{BadWords, Words};

/// Most pieces of a file.
pub const PIECES_MAX: usize = 1_000_000;
/// Most terminals of a file.
pub const TERMINALS_MAX: usize = 100_000;

/// What wrote a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// An event log of Windows: EVTX, XML or JSON.
    Windows,
    /// DeviceEvents of Defender's advanced hunting: JSON or CSV.
    Defender,
    /// A log of an asset-management product: CSV, by a mapping.
    Csv,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Windows, Self::Defender, Self::Csv];

    /// Its name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Defender => "defender",
            Self::Csv => "csv",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// No kind of evidence has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no kind of evidence; there are windows, defender and csv")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fact {
    /// A medium, a drive or a telephone was attached.
    Attached,
    /// It went away.
    Detached,
    /// A device or an access to it was refused.
    Refused,
    /// Something was written to a medium.
    Written,
    /// A file was written elsewhere.
    FileWritten,
}

impl Fact {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Attached,
        Self::Detached,
        Self::Refused,
        Self::Written,
        Self::FileWritten,
    ];

    /// Its name in mappings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Detached => "detached",
            Self::Refused => "refused",
            Self::Written => "written",
            Self::FileWritten => "file-written",
        }
    }

    /// What it is to detection; `None`: nothing.
    pub fn event(self) -> Option<TerminalEvent> {
        match self {
            Self::Attached => Some(TerminalEvent::MediaAttached),
            Self::Detached => None,
            Self::Refused => Some(TerminalEvent::MediaRefused),
            Self::Written => Some(TerminalEvent::MediaWritten),
            Self::FileWritten => Some(TerminalEvent::FileWritten),
        }
    }
}

/// One thing that happened on a terminal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Piece {
    /// When, ms since the Unix epoch.
    pub at_ms: u64,
    /// The terminal's name in small letters, at most [`crate::NAME_BYTES_MAX`] bytes.
    pub terminal: Box<str>,
    /// Who was logged in there, in small letters; `None`: unknown, a machine or a service.
    pub actor: Option<Box<str>>,
    /// What.
    pub fact: Fact,
    /// The line of the file, or the event's number in an EVTX log.
    pub line: u64,
}

/// What a file comes to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// What happened, in the order of the file.
    pub pieces: Vec<Piece>,
    /// Of each terminal the time of its newest event, also of events that are no piece.
    pub newest: BTreeMap<Box<str>, u64>,
    /// What became of its lines.
    pub summary: Summary,
}

/// How a file is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which columns are which fields (`csv`): `time`, `terminal`, `event`, `actor`.
    pub mapping: Mapping,
    /// What the texts of `event` mean (`csv`).
    pub words: Words,
    /// Minutes that times without an offset are ahead of UTC.
    pub offset_minutes: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mapping: Mapping::default(),
            words: Words::default(),
            offset_minutes: 540,
        }
    }
}

/// Reads a file.
///
/// # Errors
/// If it cannot be read, is not of its kind, or holds more than [`PIECES_MAX`] pieces. What cannot be
/// read in it is counted and passed over.
pub fn read(
    file: impl BufRead + Seek,
    kind: Kind,
    options: &Options,
) -> Result<Evidence, ReadError> {
    read_within(file, kind, options, PIECES_MAX)
}

fn read_within(
    file: impl BufRead + Seek,
    kind: Kind,
    options: &Options,
    pieces_max: usize,
) -> Result<Evidence, ReadError> {
    let mut collector = Collector {
        evidence: Evidence::default(),
        pieces_max,
    };
    match kind {
        Kind::Windows => {
            let mut events = windows::events(file)?;
            while let Some((line, event)) = events.next()? {
                let told = event.map(|event| Told {
                    at_ms: event.at_ms(options.offset_minutes),
                    terminal: event.computer.clone(),
                    actor: event.is_of_a_person().then(|| event.user.clone()),
                    fact: event.fact(),
                });
                collector.take(line, told)?;
            }
        }
        Kind::Defender => defender::read(file, options.offset_minutes, &mut collector)?,
        Kind::Csv => table::read(file, options, &mut collector)?,
    }
    Ok(collector.evidence)
}

/// What a line says.
struct Told {
    at_ms: Result<u64, Reason>,
    terminal: String,
    actor: Option<String>,
    /// What it says; or what to count it as, if nothing here.
    fact: Result<Fact, String>,
}

/// Gathers what lines say, within the limits.
struct Collector {
    evidence: Evidence,
    pieces_max: usize,
}

impl Collector {
    /// Takes a line.
    fn take(&mut self, line: u64, told: Result<Told, Reason>) -> Result<(), ReadError> {
        let evidence = &mut self.evidence;
        evidence.summary.lines += 1;
        let piece = told.and_then(|told| evidence.piece(line, told));
        match piece {
            Ok(Some(_)) if evidence.pieces.len() >= self.pieces_max => {
                return Err(ReadError::Form(format!(
                    "it holds more than {} events of devices; give it in parts",
                    self.pieces_max
                )));
            }
            Ok(Some(piece)) => {
                evidence.summary.record(piece.at_ms);
                evidence.pieces.push(piece);
            }
            Ok(None) => {}
            Err(reason) => evidence.summary.skip(reason, line),
        }
        Ok(())
    }
}

impl Evidence {
    fn piece(&mut self, line: u64, told: Told) -> Result<Option<Piece>, Reason> {
        let terminal = name(&told.terminal);
        if let (Ok(at_ms), Some(terminal)) = (told.at_ms, &terminal) {
            self.reached(terminal, at_ms)?;
        }
        let fact = match told.fact {
            Ok(fact) => fact,
            Err(passed) => {
                self.summary.passed_over.add(&passed);
                return Ok(None);
            }
        };
        Ok(Some(Piece {
            at_ms: told.at_ms?,
            terminal: terminal.ok_or(Reason::Missing("terminal"))?,
            actor: told.actor.as_deref().and_then(name),
            fact,
            line,
        }))
    }

    /// The log of a terminal goes so far at least.
    fn reached(&mut self, terminal: &str, at_ms: u64) -> Result<(), Reason> {
        if let Some(newest) = self.newest.get_mut(terminal) {
            *newest = at_ms.max(*newest);
            return Ok(());
        }
        if self.newest.len() >= TERMINALS_MAX {
            return Err(Reason::TooManyNames("terminal"));
        }
        self.newest.insert(terminal.into(), at_ms);
        Ok(())
    }
}

/// A name in small letters; `None`: empty or too long.
fn name(text: &str) -> Option<Box<str>> {
    let text = text.trim().to_lowercase();
    Name::of(&text)?;
    Some(text.into())
}
