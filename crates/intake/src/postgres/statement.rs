//! What kind of statement a text is, from its first words. No grammar: a statement that only seems to
//! read is counted, one that hides its reading behind a function is not.

/// What a statement does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It returns rows.
    Reads,
    /// It does something else.
    Other,
}

/// The statement in a message of PostgreSQL: `statement: ...`, `execute NAME: ...`, also after
/// `duration: N ms  `.
pub(super) fn of(message: &str) -> Option<&str> {
    let message = match message.strip_prefix("duration: ") {
        Some(rest) => rest.split_once(" ms  ")?.1,
        None => message,
    };
    if let Some(text) = message.strip_prefix("statement: ") {
        return Some(text);
    }
    let (_, text) = message.strip_prefix("execute ")?.split_once(": ")?;
    Some(text)
}

/// What it does.
pub(super) fn kind(text: &str) -> Kind {
    let text = after_comments(text);
    let first = text
        .split(|c: char| !c.is_ascii_alphabetic())
        .find(|word| !word.is_empty())
        .unwrap_or("");
    let is = |word: &str| first.eq_ignore_ascii_case(word);
    if is("select") || is("table") || is("fetch") {
        return Kind::Reads;
    }
    if is("with") {
        let writes = ["insert", "update", "delete", "merge"];
        return match writes.iter().any(|word| has_word(text, word)) {
            true => Kind::Other,
            false => Kind::Reads,
        };
    }
    if is("copy") && has_word(text, "to") {
        return Kind::Reads;
    }
    Kind::Other
}

/// A text without the comments and brackets that it begins with.
fn after_comments(text: &str) -> &str {
    let mut text = text.trim_start_matches(['(', ' ', '\t', '\r', '\n']);
    loop {
        let rest = if let Some(rest) = text.strip_prefix("--") {
            rest.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(rest) = text.strip_prefix("/*") {
            rest.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            return text;
        };
        text = rest.trim_start_matches(['(', ' ', '\t', '\r', '\n']);
    }
}

/// Whether a text has a word, in whatever letters.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    text.split(|c| !part(c))
        .any(|found| found.len() == word.len() && found.eq_ignore_ascii_case(word))
}

/// Whether a statement reads from something that is not PostgreSQL's own.
pub(super) fn reads_a_table(text: &str) -> bool {
    let own = ["pg_catalog", "information_schema"];
    let from = ["from", "table", "copy", "fetch", "declare"];
    from.iter().any(|word| has_word(text, word)) && !own.iter().any(|word| has_word(text, word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds_of_statements() {
        for text in [
            "select * from t",
            "  /* hint */ -- x\n SELECT 1",
            "(select 1) union (select 2)",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "table t",
            "COPY t TO STDOUT",
            "fetch 100 from c",
        ] {
            assert_eq!(kind(text), Kind::Reads, "{text}");
        }
        for text in [
            "",
            "-- select",
            "/* select",
            "insert into t select * from u",
            "with x as (delete from t returning *) select * from x",
            "copy t from stdin",
            "begin; select 1",
            "selection",
        ] {
            assert_eq!(kind(text), Kind::Other, "{text}");
        }
        assert!(reads_a_table("select * from customers"));
        assert!(!reads_a_table("select 1"));
        assert!(!reads_a_table("select * from pg_catalog.pg_class"));
        assert!(has_word("select \"Customers\".id", "customers"));
        assert!(!has_word("select customers_old", "customers"));
    }

    #[test]
    fn statements_in_messages() {
        assert_eq!(of("statement: select 1"), Some("select 1"));
        assert_eq!(of("execute <unnamed>: select 1"), Some("select 1"));
        assert_eq!(
            of("duration: 0.1 ms  execute p/c: select 1"),
            Some("select 1")
        );
        assert_eq!(
            of("duration: 0.1 ms  statement: select 1"),
            Some("select 1")
        );
        assert_eq!(of("duration: 0.1 ms"), None);
        assert_eq!(of("duration: 0.1 ms  parse p: select 1"), None);
        assert_eq!(of("checkpoint complete"), None);
    }

    proptest! {
        #[test]
        fn any_text(text in "[-/*( selctSELCT;\\PC]{0,60}") {
            let _ = (of(&text), kind(&text), reads_a_table(&text));
        }
    }
}
