//! The way from a text to its plan.

use squawk_syntax::SyntaxKind;

use crate::planner::plan_statement;
use crate::types::{Kind, Statement};
use crate::{Catalogue, DEPTH_MAX, Refusal, Script, SessionNames, Settings, lex, tree};

/// Plans a text of one or more statements. A syntax error anywhere refuses the whole text, unless
/// the text names nothing sealed: then it comes back as one statement of [`Kind::Other`].
///
/// # Errors
/// A [`Refusal`] if a statement cannot be done on sealed columns, cannot be understood, or passes
/// a limit.
pub fn plan(
    text: &str,
    catalogue: &Catalogue,
    settings: &Settings,
    names: &dyn SessionNames,
) -> Result<Script, Refusal> {
    let (conforming, inserted) = lex::conform(text, settings.standard_conforming_strings);
    let located = |mut refusal: Refusal| {
        refusal.position = refusal.position.map(|position| {
            let byte = byte_of(&conforming, position);
            position - inserted.iter().filter(|at| **at < byte).count()
        });
        refusal
    };
    let bounded = match tree::bounded(&conforming, settings.depth_max.min(DEPTH_MAX)) {
        Ok(bounded) => bounded,
        Err(_) if !catalogue.may_reach(text) => {
            return Ok(Script {
                statements: vec![unparsed(text)],
            });
        }
        Err(refusal) => return Err(located(refusal)),
    };
    let work = || planned(text, &bounded, &inserted, catalogue, settings, names);
    let result = if bounded.depth > SHALLOW_LEVELS {
        with_stack(work)
    } else {
        work()
    };
    result.map_err(located)
}

/// Texts nested deeper than this are planned on a stack of their own, in levels. In a debug build
/// a level takes up to 16 KiB, and a runtime's worker has 2 MiB.
const SHALLOW_LEVELS: usize = 60;
/// That stack, in bytes: twice what the deepest text that is let through was seen to need.
const STACK_BYTES: usize = 16 << 20;

/// Runs recursive work on a thread that has the stack for it.
fn with_stack<T: Send>(work: impl FnOnce() -> Result<T, Refusal> + Send) -> Result<T, Refusal> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work);
        let result = thread.ok().and_then(|thread| thread.join().ok());
        result.unwrap_or_else(|| {
            Err(Refusal::new(
                "54001",
                "statement names something sealed and is nested too deeply",
            ))
        })
    })
}

/// The plan of a text whose nesting is bounded.
fn planned(
    text: &str,
    bounded: &tree::Bounded<'_>,
    inserted: &[usize],
    catalogue: &Catalogue,
    settings: &Settings,
    names: &dyn SessionNames,
) -> Result<Script, Refusal> {
    let conforming = bounded.text;
    let root = match tree::parse(bounded) {
        Ok(root) => root,
        Err(_) if !catalogue.may_reach(text) => {
            return Ok(Script {
                statements: vec![unparsed(text)],
            });
        }
        Err(refusal) => return Err(refusal),
    };
    let mut statements = Vec::new();
    for node in root
        .children()
        .filter(|node| node.kind() != SyntaxKind::EMPTY_STMT)
    {
        let mut statement = plan_statement(conforming, &node, catalogue, settings, names)?;
        let start = tree::range(&node).0;
        let before = inserted.iter().filter(|at| **at < start).count();
        let characters = conforming.get(..start).unwrap_or_default().chars().count();
        statement.offset = characters - before;
        let end = start + statement.text.len();
        let own = inserted.iter().filter(|at| (start..end).contains(*at));
        statement.inserted = own.map(|at| at - start).collect();
        statements.push(statement);
    }
    Ok(Script { statements })
}

/// The byte of a character's position (from 1).
fn byte_of(text: &str, position: usize) -> usize {
    text.char_indices()
        .nth(position.saturating_sub(1))
        .map_or(text.len(), |(byte, _)| byte)
}

/// A text that names nothing sealed and that only the server understands, if anyone.
fn unparsed(text: &str) -> Statement {
    Statement {
        text: text.to_owned(),
        offset: 0,
        kind: set_names(text).unwrap_or(Kind::Other),
        sealed: false,
        sites: Vec::new(),
        relations: Vec::new(),
        parameters: Vec::new(),
        early: false,
        sets: false,
        shape: "?".to_owned(),
        edits: Vec::new(),
        inserted: Vec::new(),
    }
}

/// `SET NAMES 'UTF8'`, which the parser does not know.
fn set_names(text: &str) -> Option<Kind> {
    let words: Vec<&str> = lex::Lexer::new(text, true)
        .filter(|lexeme| lexeme.token != lex::Token::Comment)
        .filter_map(|lexeme| text.get(lexeme.start..lexeme.end))
        .collect();
    let [set, rest @ ..] = words.as_slice() else {
        return None;
    };
    let (local, rest) = match rest {
        [scope, rest @ ..] if scope.eq_ignore_ascii_case("local") => (true, rest),
        [scope, rest @ ..] if scope.eq_ignore_ascii_case("session") => (false, rest),
        rest => (false, rest),
    };
    let [names, rest @ ..] = rest else {
        return None;
    };
    if !set.eq_ignore_ascii_case("set") || !names.eq_ignore_ascii_case("names") {
        return None;
    }
    let value = match rest {
        [value] | [value, ";"] if !value.eq_ignore_ascii_case("default") => {
            Some(value.trim_matches('\'').to_owned())
        }
        _ => None,
    };
    Some(Kind::Set {
        name: "client_encoding".to_owned(),
        value,
        local,
    })
}
