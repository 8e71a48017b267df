//! Entries of a log: rows of csvlog, or lines with a prefix and what follows them.

use std::io::BufRead;

use csv::ByteRecord;

use super::prefix::{Begun, Prefix};
use crate::LINE_BYTES_MAX;
use crate::lines::{Line, Lines};
use crate::records::Rows;
use crate::source::ReadError;
use crate::summary::Reason;

/// Fields that csvlog has in every version since 9.0.
const COLUMNS_MIN: usize = 22;

/// What is needed of an entry.
#[derive(Debug)]
pub(super) struct LogEntry<'a> {
    pub(super) time: &'a str,
    pub(super) user: &'a str,
    pub(super) database: &'a str,
    /// Without the port.
    pub(super) host: &'a str,
    pub(super) pid: &'a str,
    pub(super) session: &'a str,
    pub(super) severity: &'a str,
    /// SQLSTATE.
    pub(super) state: &'a str,
    pub(super) message: &'a str,
}

impl LogEntry<'_> {
    /// Its severity as a word that may be shown.
    pub(super) fn severity_word(&self) -> &'static str {
        match self.severity {
            "LOG" => "other LOG lines",
            "ERROR" => "ERROR lines",
            "FATAL" => "FATAL lines",
            "WARNING" => "WARNING lines",
            "STATEMENT" | "DETAIL" | "HINT" | "CONTEXT" | "QUERY" | "LOCATION" => {
                "lines beside another"
            }
            _ => "other lines",
        }
    }
}

/// Entries one by one.
pub(super) enum Entries<R> {
    Table {
        rows: Rows<R>,
        row: ByteRecord,
        texts: Vec<String>,
    },
    Lines {
        lines: Lines<R>,
        prefix: Prefix,
        /// The line that begins the next entry.
        begun: Option<(u64, String)>,
        /// The entry that is given out.
        given: String,
        /// Whether it was longer than it may be.
        too_long: bool,
    },
}

type Next<'a> = Option<(u64, Result<LogEntry<'a>, Reason>)>;

impl<R: BufRead> Entries<R> {
    /// csvlog is seen from its first line: it has commas where it should.
    pub(super) fn open(mut reader: R, prefix: &Prefix) -> Result<Self, ReadError> {
        let begin = String::from_utf8_lossy(reader.fill_buf()?).into_owned();
        let line = begin.lines().next().unwrap_or("");
        let is_table = prefix.split(line).is_none() && line.split(',').count() >= COLUMNS_MIN;
        Ok(if is_table {
            Self::Table {
                rows: Rows::new(reader, b','),
                row: ByteRecord::new(),
                texts: Vec::new(),
            }
        } else {
            Self::Lines {
                lines: Lines::new(reader),
                prefix: prefix.clone(),
                begun: None,
                given: String::new(),
                too_long: false,
            }
        })
    }

    /// The next entry and its line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Next<'_>, ReadError> {
        match self {
            Self::Table { rows, row, texts } => {
                let Some(line) = rows.next(row)? else {
                    return Ok(None);
                };
                if row.len() < COLUMNS_MIN {
                    return Ok(Some((line, Err(Reason::Form("a row of csvlog")))));
                }
                // Statements may be in any encoding; what is needed of them is not.
                texts.clear();
                let needed = [0, 1, 2, 3, 4, 5, 11, 12, 13];
                let text = |at: usize| String::from_utf8_lossy(row.get(at).unwrap_or_default());
                texts.extend(needed.map(text).map(|text| text.into_owned()));
                let [
                    time,
                    user,
                    database,
                    pid,
                    from,
                    session,
                    severity,
                    state,
                    message,
                ] = texts.as_slice()
                else {
                    return Ok(Some((line, Err(Reason::Form("a row of csvlog")))));
                };
                let host = from
                    .rsplit_once(':')
                    .map_or(from.as_str(), |(host, _)| host);
                let entry = LogEntry {
                    time,
                    user,
                    database,
                    host,
                    pid,
                    session,
                    severity,
                    state,
                    message,
                };
                Ok(Some((line, Ok(entry))))
            }
            Self::Lines {
                lines,
                prefix,
                begun,
                given,
                too_long,
            } => {
                let Some(line) = gather(lines, prefix, begun, given, too_long)? else {
                    return Ok(None);
                };
                if *too_long {
                    return Ok(Some((line, Err(Reason::TooLong))));
                }
                let Some((begun, severity, message)) = prefix.split(given) else {
                    let form = "a line that begins as log_line_prefix says";
                    return Ok(Some((line, Err(Reason::Form(form)))));
                };
                Ok(Some((line, Ok(of_prefix(begun, severity, message)))))
            }
        }
    }
}

fn of_prefix<'a>(begun: Begun<'a>, severity: &'a str, message: &'a str) -> LogEntry<'a> {
    LogEntry {
        time: begun.time,
        user: begun.user,
        database: begun.database,
        host: begun.host,
        pid: begun.pid,
        session: begun.session,
        severity,
        state: begun.state,
        message,
    }
}

/// Puts an entry together: a line, and those after it that begin with a tab.
fn gather<R: BufRead>(
    lines: &mut Lines<R>,
    prefix: &Prefix,
    begun: &mut Option<(u64, String)>,
    given: &mut String,
    too_long: &mut bool,
) -> Result<Option<u64>, ReadError> {
    given.clear();
    *too_long = false;
    let mut first = begun.take().map(|(number, text)| {
        *given = text;
        number
    });
    while let Some(line) = lines.next()? {
        let (number, bytes) = match line {
            Line::Read(number, bytes) => (number, bytes),
            Line::TooLong(number) => {
                *too_long = true;
                first.get_or_insert(number);
                continue;
            }
        };
        if bytes.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        let follows = first.is_some() && (text.starts_with('\t') || is_lone(prefix, given, &text));
        if !follows {
            if first.is_some() {
                *begun = Some((number, text.into_owned()));
                return Ok(first);
            }
            first = Some(number);
            given.push_str(&text);
        } else if given.len() + text.len() < LINE_BYTES_MAX {
            given.push('\n');
            given.push_str(&text);
        } else {
            *too_long = true;
        }
    }
    Ok(first)
}

/// Some collectors drop the tab: a line without a prefix behind one that has an open quotation mark
/// goes on with it.
fn is_lone(prefix: &Prefix, before: &str, text: &str) -> bool {
    let open = before.bytes().filter(|byte| *byte == b'"').count() % 2 == 1;
    open && prefix.split(text).is_none()
}
