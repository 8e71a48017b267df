//! What became of the lines of a source: counts by reason, with the first lines of each.

use std::collections::BTreeMap;
use std::fmt;

/// Most line numbers that are kept for a reason.
pub const FIRST_LINES: usize = 5;
/// Most different names that are counted one by one.
pub const TALLY_MAX: usize = 40;
/// Longest name that is counted as it stands, in bytes.
const TALLY_NAME_MAX: usize = 40;

/// Why a line gave no record. Names fields, never what stands in them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// Not one JSON object.
    NotJson,
    /// Longer than [`crate::LINE_BYTES_MAX`].
    TooLong,
    /// Not what every line of its format is.
    Form(&'static str),
    /// A kind of record that is not known.
    UnknownKind,
    /// A field that its kind needs.
    Missing(&'static str),
    /// A field that is of another form: no time, no count, no word of its list.
    Wrong(&'static str),
    /// A count that is too great.
    TooGreat(&'static str),
    /// More than [`crate::NAMES_MAX`] different names.
    TooManyNames(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => write!(
                f,
                "not UTF-8 (of Shift_JIS: convert it with `iconv -f CP932 -t UTF-8` first)"
            ),
            Self::NotJson => write!(f, "not one JSON object on the line"),
            Self::TooLong => write!(f, "longer than {} MiB", crate::LINE_BYTES_MAX >> 20),
            Self::Form(what) => write!(f, "not {what}"),
            Self::UnknownKind => write!(f, "of a kind that is not known"),
            Self::Missing(field) => write!(f, "without `{field}`"),
            Self::Wrong(field) => write!(f, "`{field}` has another form than it should"),
            Self::TooGreat(field) => write!(f, "`{field}` is too great a number"),
            Self::TooManyNames(field) => write!(
                f,
                "`{field}` is a new name, and there are {} already",
                crate::NAMES_MAX
            ),
        }
    }
}

/// What was taken in another way than it stands there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Note {
    /// A role that is not known, taken as if there were none.
    UnknownRole,
    /// A field that a line gives twice; the first counts.
    Twice,
    /// A read of which nobody counted the rows.
    RowsUnknown,
    /// A time zone's abbreviation that is not known.
    UnknownZone,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownRole => "the role is not known: taken as if there were none",
            Self::Twice => "a field stands there twice: the first counts",
            Self::RowsUnknown => {
                "a read whose rows nobody counted (COPY, a cursor, or no pgaudit.log_rows): \
                 --unknown-rows says what it counts"
            }
            Self::UnknownZone => "the time zone is not known: taken as --offset",
        })
    }
}

/// How often, and where first.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Places {
    /// How often.
    pub count: u64,
    /// The first lines, ascending; at most [`FIRST_LINES`].
    pub first: Vec<u64>,
}

impl Places {
    fn add(&mut self, line: u64) {
        self.count += 1;
        if self.first.len() < FIRST_LINES {
            self.first.push(line);
        }
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.first.iter().map(u64::to_string).collect();
        let more = if self.count > self.first.len() as u64 {
            ", ..."
        } else {
            ""
        };
        let word = if self.count == 1 { "line" } else { "lines" };
        write!(f, "{} ({word} {}{more})", self.count, lines.join(", "))
    }
}

/// Counts by name, of bounded size.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    named: BTreeMap<Box<str>, u64>,
    others: u64,
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, name: &str) {
        self.add_many(name, 1);
    }

    /// Counts several. A name that does not look like a word of a program is not kept: it may be
    /// anything.
    pub fn add_many(&mut self, name: &str, times: u64) {
        if let Some(count) = self.named.get_mut(name) {
            *count += times;
            return;
        }
        let plain = !name.is_empty()
            && name.len() <= TALLY_NAME_MAX
            && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b' ')
            });
        if plain && self.named.len() < TALLY_MAX {
            self.named.insert(name.into(), times);
        } else {
            self.others += times;
        }
    }

    /// The names with their counts.
    pub fn named(&self) -> impl Iterator<Item = (&str, u64)> {
        self.named.iter().map(|(name, count)| (&**name, *count))
    }

    /// How many were not kept by name.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others == 0
    }
}

/// What became of the lines of a source.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Lines (or events) that were read and not empty.
    pub lines: u64,
    /// Records that came of them.
    pub records: u64,
    /// Lines that are not about access, and say so themselves; counted by what they are.
    pub passed_over: Tally,
    /// Lines that gave no record though they should.
    pub skipped: BTreeMap<Reason, Places>,
    /// Kinds that are not known, by name.
    pub unknown_kinds: Tally,
    /// Fields that are not known, by name.
    pub ignored_fields: Tally,
    /// What was taken in another way than it stands there.
    pub notes: BTreeMap<Note, Places>,
    /// Times of the first and of the last record, ms since the Unix epoch.
    pub times: Option<(u64, u64)>,
}

impl Summary {
    /// A line gave no record.
    pub fn skip(&mut self, reason: Reason, line: u64) {
        self.skipped.entry(reason).or_default().add(line);
    }

    /// A line was taken in another way.
    pub fn note(&mut self, note: Note, line: u64) {
        self.notes.entry(note).or_default().add(line);
    }

    /// A record came of a line.
    pub fn record(&mut self, at_ms: u64) {
        self.records += 1;
        let (first, last) = self.times.unwrap_or((at_ms, at_ms));
        self.times = Some((first.min(at_ms), last.max(at_ms)));
    }

    /// How many lines gave no record though they should.
    pub fn skipped_lines(&self) -> u64 {
        self.skipped.values().map(|places| places.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_named() {
        let mut summary = Summary::default();
        for line in 3..20 {
            summary.skip(Reason::Missing("actor"), line);
        }
        summary.skip(Reason::NotJson, 1);
        let said: Vec<String> = summary
            .skipped
            .iter()
            .map(|(reason, places)| format!("{reason}: {places}"))
            .collect();
        assert_eq!(
            said,
            [
                "not one JSON object on the line: 1 (line 1)",
                "without `actor`: 17 (lines 3, 4, 5, 6, 7, ...)"
            ]
        );
    }

    #[test]
    fn names_that_may_be_anything_are_not_kept() {
        let mut tally = Tally::default();
        for name in ["note", "note", "山田", "090-1234-5678", "", "a\u{1b}b"] {
            tally.add(name);
        }
        assert_eq!(tally.named().collect::<Vec<_>>(), [("note", 2)]);
        assert_eq!(tally.others(), 4);
        for n in 0..1000 {
            tally.add(&format!("f{n}"));
        }
        assert_eq!(tally.named().count(), TALLY_MAX);
    }
}
