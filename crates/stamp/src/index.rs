//! The list of a ledger's tokens, `root/timestamps/index` (docs/format/logs.md "Time stamps"), and
//! which of them still prove something.
//!
//! A token proves nothing by itself once its authority's certificate has ended. It still does if the
//! index with its line was stamped *again* before that, and that token still proves something.

use std::fmt;
use std::fmt::Write as _;

use crate::error::IndexError;

/// Where the index stands among a ledger's logs.
pub const INDEX: &str = "root/timestamps/index";
/// The longest index, in bytes: more than fifty years of a token an hour.
pub const INDEX_BYTES_MAX: u64 = 64 << 20;
/// Renewals in an index; one is made when an authority's key is replaced.
pub const AGAIN_MAX: usize = 4096;

/// What a token is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The root log's checkpoint of so many leaves, as it stands in its note.
    Checkpoint(u64),
    /// The index up to this line: so many lines.
    Index(u64),
}

impl Over {
    /// The token's file.
    pub fn token(self) -> String {
        match self {
            Self::Checkpoint(size) => format!("root/timestamps/{size}.tsr"),
            Self::Index(lines) => format!("root/timestamps/{lines}.again.tsr"),
        }
    }

    /// The file of the stamped checkpoint.
    pub fn note(self) -> Option<String> {
        match self {
            Self::Checkpoint(size) => Some(format!("root/timestamps/{size}.note")),
            Self::Index(_) => None,
        }
    }
}

/// A line of the index: a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// What it is over.
    pub over: Over,
    /// Its time, ms since the Unix epoch.
    pub time_ms: u64,
    /// The end of its authority's certificate, ms since the Unix epoch.
    pub until_ms: u64,
    /// SHA-256 of its file.
    pub digest: [u8; 32],
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, number) = match self.over {
            Over::Checkpoint(size) => ("stamp", size),
            Over::Index(lines) => ("again", lines),
        };
        write!(f, "{word} {number} {} {} ", self.time_ms, self.until_ms)?;
        self.digest
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_char('\n')
    }
}

impl Line {
    /// A line without its newline.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let word = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let over = match word {
            "stamp" => Over::Checkpoint(number()?),
            "again" => Over::Index(number()?),
            _ => return None,
        };
        let (time_ms, until_ms) = (number()?, number()?);
        let hex = words
            .next()
            .filter(|hex| hex.len() == 64 && hex.is_ascii())?;
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
        }
        let line = Self {
            over,
            time_ms,
            until_ms,
            digest,
        };
        // One way to write it.
        (line.to_string().strip_suffix('\n') == Some(text)).then_some(line)
    }
}

/// An index.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Index {
    lines: Vec<Line>,
    renewals: usize,
}

impl Index {
    /// Reads a whole index.
    ///
    /// # Errors
    /// At the first line that is none, or goes back: sizes ascend, times do not go back, a renewal is
    /// over exactly the lines before it.
    pub fn parse(text: &str) -> Result<Self, IndexError> {
        let mut index = Self::default();
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let line = line.strip_suffix('\n').and_then(Line::parse);
            index.push(line.ok_or(IndexError::Line(number))?)?;
        }
        Ok(index)
    }

    /// Appends a line.
    ///
    /// # Errors
    /// As [`Index::parse`].
    pub fn push(&mut self, line: Line) -> Result<(), IndexError> {
        let number = self.lines.len() + 1;
        let later = self
            .lines
            .last()
            .is_none_or(|it| it.time_ms <= line.time_ms);
        let ordered = match line.over {
            Over::Checkpoint(size) => self.size().is_none_or(|before| before < size),
            Over::Index(lines) => lines == self.lines.len() as u64 && lines > 0,
        };
        if !later || !ordered {
            return Err(IndexError::Order(number));
        }
        if matches!(line.over, Over::Index(_)) {
            if self.renewals == AGAIN_MAX {
                return Err(IndexError::TooMany(number));
            }
            self.renewals += 1;
        }
        self.lines.push(line);
        Ok(())
    }

    /// Its lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The newest token over a checkpoint.
    pub fn newest(&self) -> Option<&Line> {
        let mut newest_first = self.lines.iter().rev();
        newest_first.find(|it| matches!(it.over, Over::Checkpoint(_)))
    }

    /// Leaves in the newest checkpoint that was stamped.
    pub fn size(&self) -> Option<u64> {
        self.newest().map(|it| match it.over {
            Over::Checkpoint(size) | Over::Index(size) => size,
        })
    }

    /// Until when each line's token proves something, ms since the Unix epoch.
    pub fn proven_until(&self) -> Vec<u64> {
        let mut until = vec![0; self.lines.len()];
        // Renewals after the line, the newest first: their times, and until when they prove.
        let mut renewals: Vec<(u64, u64)> = Vec::new();
        for (at, line) in self.lines.iter().enumerate().rev() {
            let renewed = renewals
                .iter()
                .filter(|(time_ms, _)| *time_ms <= line.until_ms)
                .map(|(_, until_ms)| *until_ms);
            until[at] = renewed.fold(line.until_ms, u64::max);
            if matches!(line.over, Over::Index(_)) {
                renewals.push((line.time_ms, until[at]));
            }
        }
        until
    }

    /// The first end among the tokens that still prove something; `None` if none does.
    pub fn weakest(&self, now_ms: u64) -> Option<u64> {
        let until = self.proven_until().into_iter();
        until.filter(|until_ms| *until_ms > now_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    fn line(over: Over, day: u64, until: u64) -> Line {
        Line {
            over,
            time_ms: day * DAY,
            until_ms: until * DAY,
            digest: [day as u8; 32],
        }
    }

    fn index(lines: &[Line]) -> Result<Index, IndexError> {
        Index::parse(&lines.iter().map(Line::to_string).collect::<String>())
    }

    #[test]
    fn what_is_written_is_read() {
        let lines = [
            line(Over::Checkpoint(3), 1, 100),
            line(Over::Index(1), 1, 200),
            line(Over::Checkpoint(9), 2, 200),
        ];
        let read = index(&lines).unwrap();
        assert_eq!(read.lines(), lines);
        assert_eq!(read.size(), Some(9));
        assert_eq!(index(&[]).unwrap().size(), None);
        assert_eq!(Over::Checkpoint(3).token(), "root/timestamps/3.tsr");
        assert_eq!(Over::Index(3).token(), "root/timestamps/3.again.tsr");
        let text = lines[0].to_string();
        for bad in [
            text.trim_end().to_owned(),
            text.replace("stamp", "Stamp"),
            text.replace(" 3 ", " 03 "),
            text.replace("01", "0A"),
            text.replace("01", "é"),
            text.replace(' ', "  "),
            "\n".to_owned(),
        ] {
            assert_eq!(Index::parse(&bad), Err(IndexError::Line(1)), "{bad}");
        }
    }

    #[test]
    fn nothing_goes_back() {
        let first = line(Over::Checkpoint(3), 5, 100);
        for second in [
            line(Over::Checkpoint(3), 6, 100),
            line(Over::Checkpoint(9), 4, 100),
            line(Over::Index(2), 6, 100),
            line(Over::Index(0), 6, 100),
        ] {
            assert_eq!(index(&[first, second]), Err(IndexError::Order(2)));
        }
        assert_eq!(
            index(&[line(Over::Index(0), 6, 100)]),
            Err(IndexError::Order(1))
        );
    }

    #[test]
    fn renewals_carry_on_only_if_they_came_in_time() {
        let ends = |lines: &[Line]| -> Vec<u64> {
            let until = index(lines).unwrap().proven_until();
            until.into_iter().map(|ms| ms / DAY).collect()
        };
        let (old, new) = (
            line(Over::Checkpoint(1), 10, 100),
            line(Over::Checkpoint(2), 90, 300),
        );
        assert_eq!(ends(&[old, new]), [100, 300]);
        assert_eq!(ends(&[old, new, line(Over::Index(2), 91, 300)]), [300; 3]);
        // Too late for the first one.
        let late = [old, new, line(Over::Index(2), 101, 300)];
        assert_eq!(ends(&late), [100, 300, 300]);
        // Twice in time; and the second one too late.
        let first = line(Over::Index(2), 91, 300);
        assert_eq!(
            ends(&[old, new, first, line(Over::Index(3), 299, 900)]),
            [900; 4]
        );
        assert_eq!(
            ends(&[old, new, first, line(Over::Index(3), 301, 900)]),
            [300, 300, 300, 900]
        );
        let all = index(&[old, new]).unwrap();
        assert_eq!(all.weakest(50 * DAY), Some(100 * DAY));
        assert_eq!(all.weakest(100 * DAY), Some(300 * DAY));
        assert_eq!(all.weakest(300 * DAY), None);
    }
}
