//! `log_line_prefix`: how the lines of PostgreSQL's ordinary log begin.

use std::str::FromStr;

/// Why a prefix is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPrefix {
    /// An escape that PostgreSQL does not have.
    #[error("log_line_prefix has no escape `%{0}`")]
    Escape(char),
    /// Two fields with nothing between them cannot be told apart.
    #[error("log_line_prefix has `%{0}` with nothing behind it to end it")]
    Together(char),
}

/// A part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Literal(String),
    /// What an escape stands for, by its letter.
    Field(char),
    /// `%q`: processes without a session stop here.
    Stop,
}

/// `log_line_prefix`, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prefix(Vec<Part>);

/// What stood in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Begun<'a> {
    pub(super) time: &'a str,
    pub(super) user: &'a str,
    pub(super) database: &'a str,
    pub(super) host: &'a str,
    pub(super) session: &'a str,
    pub(super) pid: &'a str,
    pub(super) state: &'a str,
}

impl Default for Prefix {
    /// Debian's: `%m [%p] %q%u@%d `.
    fn default() -> Self {
        let literal = |text: &str| Part::Literal(text.to_owned());
        Self(vec![
            Part::Field('m'),
            literal(" ["),
            Part::Field('p'),
            literal("] "),
            Part::Stop,
            Part::Field('u'),
            literal("@"),
            Part::Field('d'),
            literal(" "),
        ])
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let mut parts: Vec<Part> = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                push(&mut parts, letter);
                continue;
            }
            // A width: `%-10u`. Its spaces are trimmed from the value.
            let escape = letters.find(|c| !c.is_ascii_digit() && *c != '-');
            match escape.unwrap_or('%') {
                '%' => push(&mut parts, '%'),
                'q' => parts.push(Part::Stop),
                field if "audbrhLpPtmnieclsvxQ".contains(field) => {
                    if let Some(Part::Field(before)) = parts.last() {
                        return Err(BadPrefix::Together(*before));
                    }
                    parts.push(Part::Field(field));
                }
                other => return Err(BadPrefix::Escape(other)),
            }
        }
        Ok(Self(parts))
    }
}

fn push(parts: &mut Vec<Part>, letter: char) {
    match parts.last_mut() {
        Some(Part::Literal(text)) => text.push(letter),
        _ => parts.push(Part::Literal(letter.to_string())),
    }
}

impl Prefix {
    /// Whether lines say whose they are.
    pub fn names_users(&self) -> bool {
        self.0.contains(&Part::Field('u'))
    }

    /// Takes a line apart: what stood in its prefix, its severity, its message. `None`: it does not
    /// begin so.
    pub(super) fn split<'a>(&self, line: &'a str) -> Option<(Begun<'a>, &'a str, &'a str)> {
        let mut begun = Begun::default();
        let mut rest = line;
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Stop => {
                    // A background process has no more, and its severity comes at once.
                    if let Some((severity, message)) = severity(rest) {
                        return Some((begun, severity, message));
                    }
                }
                Part::Field(field) => {
                    let end = match parts.clone().find(|part| **part != Part::Stop) {
                        Some(Part::Literal(next)) => match times(*field) {
                            // A time has spaces and colons inside.
                            true => end_of_time(rest, next)?,
                            false => rest.find(next.as_str())?,
                        },
                        // The last one: up to the severity.
                        _ => rest.find(char::is_uppercase)?,
                    };
                    let (value, after) = rest.split_at(end);
                    begun.set(*field, value.trim());
                    rest = after;
                }
            }
        }
        let (severity, message) = severity(rest)?;
        Some((begun, severity, message))
    }
}

fn times(field: char) -> bool {
    matches!(field, 't' | 'm' | 's')
}

/// Where a time ends: at the first `next` behind its date, clock and zone.
fn end_of_time(text: &str, next: &str) -> Option<usize> {
    let mut spaces = text.match_indices(' ').map(|(at, _)| at);
    let zone = spaces.nth(1)? + 1;
    let ends = text.get(zone..)?.find(next)?;
    Some(zone + ends)
}

/// `LOG:  message`.
fn severity(text: &str) -> Option<(&str, &str)> {
    let (word, message) = text.split_once(":  ")?;
    let plain = !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    plain.then_some((word, message))
}

impl<'a> Begun<'a> {
    fn set(&mut self, field: char, value: &'a str) {
        match field {
            'm' | 't' => self.time = value,
            'u' => self.user = value,
            'd' => self.database = value,
            'h' => self.host = value,
            // `host(port)`.
            'r' => self.host = value.split('(').next().unwrap_or(value),
            'c' => self.session = value,
            'p' => self.pid = value,
            'e' => self.state = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes_are_taken_apart() {
        let debian = Prefix::default();
        assert_eq!("%m [%p] %q%u@%d ".parse(), Ok(debian.clone()));
        let line = "2026-11-23 16:50:20.229 JST [27968] sato@crm LOG:  AUDIT: SESSION,3";
        let (begun, severity, message) = debian.split(line).unwrap();
        assert_eq!(begun.time, "2026-11-23 16:50:20.229 JST");
        assert_eq!(
            (begun.pid, begun.user, begun.database),
            ("27968", "sato", "crm")
        );
        assert_eq!((severity, message), ("LOG", "AUDIT: SESSION,3"));
        let line = "2026-11-23 16:50:19.649 JST [27954] LOG:  database system is ready";
        let (begun, _, message) = debian.split(line).unwrap();
        assert_eq!((begun.user, message), ("", "database system is ready"));

        let own: Prefix = "%t:%-8r:%u@%d:[%p]:%c:%e:".parse().unwrap();
        let line = "2026-11-23 16:50:20 UTC:10.0.0.7(5432):sato@crm:[12]:6b03.6d:28P01:FATAL:  no";
        let (begun, severity, _) = own.split(line).unwrap();
        assert_eq!(begun.time, "2026-11-23 16:50:20 UTC");
        assert_eq!(
            (begun.host, begun.session, begun.state),
            ("10.0.0.7", "6b03.6d", "28P01")
        );
        assert_eq!(severity, "FATAL");
        assert!(own.names_users());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!("%y".parse::<Prefix>(), Err(BadPrefix::Escape('y')));
        assert_eq!("%u%d".parse::<Prefix>(), Err(BadPrefix::Together('u')));
        assert!(Prefix::default().split("\tselect 1").is_none());
        assert!(Prefix::default().split("").is_none());
    }

    proptest! {
        #[test]
        fn any_line(prefix in "[%a-z:\\[\\] -]{0,20}", line in "[A-Z:@\\[\\] 0-9山-]{0,60}") {
            let prefix = prefix.parse::<Prefix>().unwrap_or_default();
            let _ = prefix.split(&line);
        }
    }
}
