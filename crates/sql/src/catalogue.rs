//! What is sealed in one database, every name that may reach it, and the scan for those names.
//!
//! Invariant: the scan has no false negatives. A sealed column cannot be reached without the name
//! of its relation, of a view on it or of a function that names it; so those are looked for, and
//! what may hide a name (`U&`, undecodable bytes, code in strings) is a hit of its own.

use std::collections::{HashMap, HashSet};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use event::{ClientSource, Pin, Sealing};

/// A view that shows something sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// All its columns, in order.
    pub columns: Vec<ViewColumn>,
    /// How the client of a row is known, by the view's own columns.
    pub client: ClientSource,
}

/// A column of a view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewColumn {
    /// Its name.
    pub name: String,
    /// The sealing of what it shows, if that is sealed.
    pub sealing: Option<Sealing>,
    /// Whether it is a plain pass-through of a sealed column: it can be compared and written.
    /// Otherwise it can only be read.
    pub passes_through: bool,
}

/// A pinned relation or a view, as the planner sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relation {
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<ViewColumn>,
    /// How the client of a row is known.
    pub client: ClientSource,
    /// Whether it is a view.
    pub view: bool,
}

impl Relation {
    /// The place (from 0) and description of a column.
    pub fn column(&self, name: &str) -> Option<(usize, &ViewColumn)> {
        self.columns
            .iter()
            .enumerate()
            .find(|(_, column)| column.name == name)
    }

    /// Whether any column is sealed.
    pub fn is_sealed(&self) -> bool {
        self.columns.iter().any(|column| column.sealing.is_some())
    }
}

/// What is sealed in one database, and every name that may reach it.
#[derive(Clone, Debug)]
pub struct Catalogue {
    relations: Vec<Relation>,
    by_name: HashMap<String, Vec<usize>>,
    functions: Vec<String>,
    /// Names of pinned relations, their columns, and sealed functions.
    pinned_words: HashSet<String>,
    /// `None`: the automaton could not be built, and everything counts as a hit.
    scan: Option<AhoCorasick>,
    /// Patterns below are names.
    names_end: usize,
    /// Patterns from here on count inside words too.
    words_end: usize,
}

/// What makes a statement worth parsing although no sealed name is seen in it: Unicode-escaped
/// names, code in strings, prepared statements and cursors by name, and changes of how statements
/// are read. Whole words.
const WORDS: &[&str] = &[
    "execute",
    "fetch",
    "move",
    "do",
    "call",
    "function",
    "procedure",
    "set_config",
    "client_encoding",
    "standard_conforming_strings",
    "names",
    "discard",
    "deallocate",
    "reset",
    "authorization",
];

/// The same, anywhere.
const ANYWHERE: &[&str] = &["u&\"", "sekisho"];

impl Catalogue {
    /// From the pin in force, the views that show something pinned, and the names (without
    /// schema) of functions whose bodies name something sealed.
    pub fn new(pin: &Pin, views: Vec<View>, functions: Vec<String>) -> Self {
        let mut relations: Vec<Relation> = pin
            .relations
            .iter()
            .map(|relation| Relation {
                schema: relation.schema.clone(),
                name: relation.name.clone(),
                columns: relation
                    .columns
                    .iter()
                    .map(|column| ViewColumn {
                        name: column.name.clone(),
                        sealing: column.sealing,
                        passes_through: true,
                    })
                    .collect(),
                client: relation.client.clone(),
                view: false,
            })
            .collect();
        relations.extend(views.into_iter().map(|view| Relation {
            schema: view.schema,
            name: view.name,
            columns: view.columns,
            client: view.client,
            view: true,
        }));
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, relation) in relations.iter().enumerate() {
            by_name
                .entry(relation.name.clone())
                .or_default()
                .push(index);
        }
        let mut words: Vec<String> = by_name.keys().chain(&functions).cloned().collect();
        let quoted: Vec<String> = words
            .iter()
            .filter(|name| name.contains('"'))
            .map(|name| name.replace('"', "\"\""))
            .collect();
        words.extend(quoted);
        words.retain(|name| !name.is_empty());
        let names_end = words.len();
        words.extend(WORDS.iter().map(|word| (*word).to_owned()));
        let words_end = words.len();
        words.extend(ANYWHERE.iter().map(|word| (*word).to_owned()));
        let pinned_words = relations
            .iter()
            .flat_map(|relation| {
                let columns = relation.columns.iter().map(|column| column.name.clone());
                columns.chain([relation.name.clone()])
            })
            .chain(functions.iter().cloned())
            .collect();
        let scan = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&words)
            .ok();
        Self {
            relations,
            by_name,
            functions,
            pinned_words,
            scan,
            names_end,
            words_end,
        }
    }

    /// Whether the statement may name something sealed, and so has to be planned. Never wrong
    /// when it says no. Does not allocate.
    pub fn mentions(&self, statement: &[u8]) -> bool {
        let Some(scan) = &self.scan else { return true };
        let hit = scan.find_overlapping_iter(statement).any(|found| {
            found.pattern().as_usize() >= self.words_end
                || is_word(statement, found.start(), found.end())
        });
        hit || std::str::from_utf8(statement).is_err()
    }

    /// Whether a text names a pinned relation, a view or a sealed function.
    pub(crate) fn names(&self, text: &[u8]) -> bool {
        let Some(scan) = &self.scan else { return true };
        scan.find_overlapping_iter(text).any(|found| {
            let hides = found.pattern().as_usize() == self.words_end;
            hides
                || (found.pattern().as_usize() < self.names_end
                    && is_word(text, found.start(), found.end()))
        })
    }

    /// Whether a text that does not parse may reach something sealed all the same.
    pub(crate) fn may_reach(&self, text: &str) -> bool {
        let hides = |lexeme: crate::lex::Lexeme| {
            text.get(lexeme.start..lexeme.end)
                .is_some_and(|word| word.eq_ignore_ascii_case("execute"))
        };
        self.names(text.as_bytes()) || crate::lex::Lexer::new(text, true).any(hides)
    }

    /// Whether a name may stand in a shape.
    pub(crate) fn is_pinned_word(&self, name: &str) -> bool {
        self.pinned_words.contains(name)
    }

    /// A pinned relation or view by schema and name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.named(name).find(|relation| relation.schema == schema)
    }

    /// The pinned relations and views of a name, in all schemas.
    pub fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Relation> + 'a {
        self.by_name
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|index| self.relations.get(*index))
    }

    /// All pinned relations and views.
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// Whether a function of this name (without schema) names something sealed in its body.
    pub fn is_sealed_function(&self, name: &str) -> bool {
        self.functions.iter().any(|function| function == name)
    }
}

/// Names this long may be followed by more: PostgreSQL cuts them off.
const CUT_BYTES: usize = 60;

/// Whether a match is a whole identifier.
fn is_word(text: &[u8], start: usize, end: usize) -> bool {
    let inner = |byte: Option<&u8>| {
        byte.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || *b >= 0x80)
    };
    let before = start.checked_sub(1).and_then(|index| text.get(index));
    let cut = end - start >= CUT_BYTES;
    !inner(before) && (cut || !inner(text.get(end)))
}
