//! Statements and what the planner makes of them, one file a subject. A file is a list of
//! statements, each ended by a line `--`; the plans are snapshots.

use std::sync::Arc;

use super::{catalogue, describe, settings};
use crate::{NoNames, SessionNames, Settings, Statement, plan};

fn judge(corpus: &str, settings: &Settings, names: &dyn SessionNames) -> String {
    let mut out = String::new();
    for text in corpus
        .split("\n--\n")
        .map(str::trim_end)
        .filter(|text| !text.is_empty())
    {
        out.push_str(text);
        out.push('\n');
        out.push_str(&describe(text, settings, names));
        out.push_str("\n\n");
    }
    out
}

macro_rules! corpus {
    ($($name:ident $file:literal $several:literal),+ $(,)?) => { $(
        #[test]
        fn $name() {
            let corpus = include_str!(concat!("corpus/", $file, ".sql"));
            insta::assert_snapshot!(judge(corpus, &settings($several), &NoNames));
        }
    )+ };
}

corpus!(
    search_one_client "search" false,
    search_several_clients "search" true,
    reading "reading" false,
    writing_one_client "writing" false,
    writing_several_clients "writing" true,
    copying "copying" false,
    definitions "definitions" false,
    sessions "sessions" false,
    tools "tools" false,
    strings "strings" false,
);

/// A session that prepared `by_phone`, and has a sealed cursor `c`.
struct Session(Arc<Statement>);

impl SessionNames for Session {
    fn prepared(&self, name: &str) -> Option<Arc<Statement>> {
        (name == "by_phone").then(|| self.0.clone())
    }

    fn cursor_is_sealed(&self, name: &str) -> bool {
        name == "c"
    }
}

fn session(several: bool) -> Session {
    let text = "PREPARE by_phone AS SELECT name FROM customers WHERE phone = $1 AND id <> $2";
    let script = plan(text, &catalogue(), &settings(several), &NoNames).unwrap();
    Session(Arc::new(script.statements.into_iter().next().unwrap()))
}

#[test]
fn executing_one_client() {
    let corpus = include_str!("corpus/executing.sql");
    insta::assert_snapshot!(judge(corpus, &settings(false), &session(false)));
}

#[test]
fn executing_several_clients() {
    let corpus = include_str!("corpus/executing.sql");
    insta::assert_snapshot!(judge(corpus, &settings(true), &session(true)));
}

#[test]
fn strings_that_do_not_conform() {
    let corpus = include_str!("corpus/strings.sql");
    let settings = Settings {
        standard_conforming_strings: false,
        ..settings(false)
    };
    insta::assert_snapshot!(judge(corpus, &settings, &NoNames));
}
