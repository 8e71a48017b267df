//! The payload of a line of pgAudit: comma-separated, quoted where it has to be.
//!
//! `SESSION,7,1,READ,SELECT,TABLE,public.customers,"select ...",<not logged>,1`: type, statement,
//! substatement, class, command, type of the object, object, statement's text, parameters, and with
//! `pgaudit.log_rows` the rows.

use std::borrow::Cow;

/// What is needed of it.
#[derive(Debug)]
pub(super) struct Audit<'a> {
    pub(super) statement_id: u64,
    pub(super) class: Cow<'a, str>,
    pub(super) command: Cow<'a, str>,
    pub(super) object_type: Cow<'a, str>,
    pub(super) object: Cow<'a, str>,
    pub(super) statement: Cow<'a, str>,
    /// `None`: not logged.
    pub(super) rows: Option<u64>,
}

/// Reads it; `None`: it is none.
pub(super) fn read(payload: &str) -> Option<Audit<'_>> {
    let mut fields = Fields(Some(payload));
    let kind = fields.next()?;
    if !matches!(&*kind, "SESSION" | "OBJECT") {
        return None;
    }
    let statement_id = fields.next()?.parse().ok()?;
    let _substatement = fields.next()?;
    let (class, command) = (fields.next()?, fields.next()?);
    let (object_type, object) = (fields.next()?, fields.next()?);
    let statement = fields.next()?;
    let _parameters = fields.next()?;
    let rows = match fields.next() {
        Some(rows) => Some(rows.trim().parse().ok()?),
        None => None,
    };
    Some(Audit {
        statement_id,
        class,
        command,
        object_type,
        object,
        statement,
        rows,
    })
}

/// Fields of a line of comma-separated values.
struct Fields<'a>(Option<&'a str>);

impl<'a> Iterator for Fields<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Cow<'a, str>> {
        let text = self.0?;
        let Some(quoted) = text.strip_prefix('"') else {
            let (field, rest) = match text.split_once(',') {
                Some((field, rest)) => (field, Some(rest)),
                None => (text, None),
            };
            self.0 = rest;
            return Some(Cow::Borrowed(field));
        };
        // The end: a quotation mark that no other one follows.
        let mut at = 0;
        let mut doubled = false;
        loop {
            let Some(mark) = quoted[at..].find('"') else {
                // It has no end: the text goes to the end of the line.
                self.0 = None;
                return Some(Cow::Borrowed(quoted));
            };
            at += mark + 1;
            if !quoted[at..].starts_with('"') {
                break;
            }
            doubled = true;
            at += 1;
        }
        let field = &quoted[..at - 1];
        self.0 = quoted[at..].strip_prefix(',');
        Some(if doubled {
            Cow::Owned(field.replace("\"\"", "\""))
        } else {
            Cow::Borrowed(field)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_split() {
        let fields = |text| Fields(Some(text)).collect::<Vec<_>>();
        assert_eq!(
            fields("a,,\"b, \"\"c\"\"\n\",d"),
            ["a", "", "b, \"c\"\n", "d"]
        );
        assert_eq!(fields("\"\",\"x"), ["", "x"]);
        assert_eq!(fields("\"a\"b,c"), ["a"]);
    }

    #[test]
    fn lines_are_read() {
        let audit =
            read("SESSION,7,1,READ,SELECT,TABLE,public.customers,\"select \"\"name\"\", 1\",<not logged>,12").unwrap();
        assert_eq!((audit.statement_id, audit.rows), (7, Some(12)));
        assert_eq!((&*audit.class, &*audit.command), ("READ", "SELECT"));
        assert_eq!(&*audit.statement, "select \"name\", 1");
        // Without pgaudit.log_rows.
        let audit = read("OBJECT,1,1,READ,SELECT,,,<previously logged>,<previously logged>");
        assert_eq!(audit.unwrap().rows, None);
        assert!(read("SESSION,x,1,READ,SELECT,,,a,b").is_none());
        assert!(read("SESSION,1,1,READ").is_none());
        assert!(read("SESSION,1,1,READ,SELECT,,,a,b,many").is_none());
    }

    proptest! {
        #[test]
        fn any_text(text in "[\"a,0-9\\PC]{0,60}") {
            let _ = read(&text);
            let _ = read(&format!("SESSION,1,1,READ,SELECT,{text}"));
        }
    }
}
