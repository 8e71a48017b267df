//! What a plan is made of.
//!
//! Invariants: a [`Site`] is either a literal that [`Statement::render`] replaces, or a parameter
//! that one [`ParameterUse`] describes. [`Statement::relations`] lists every pinned relation and
//! view that the statement names; `sealed` is true if there is one, or a sealed function.

use std::sync::Arc;

use event::{ClientId, Plain, Sealing};

/// What of the session the plan depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The server's `standard_conforming_strings` at the time the statement will run.
    pub standard_conforming_strings: bool,
    /// Whether the session's scope holds more than one client.
    pub several_clients: bool,
    /// Whether the role may hand in only cells that verify: no probes, no seals. The plan is the
    /// same; the gate refuses sites whose values are no cells.
    pub cells_only: bool,
    /// Deepest nesting that is planned, in tokens; above [`crate::DEPTH_MAX`] counts as that.
    pub depth_max: usize,
}

/// What earlier statements of the session left behind. `Sync`, since a deeply nested text is
/// planned on a thread with a stack for it.
pub trait SessionNames: Sync {
    /// A prepared statement, by SQL PREPARE or by the protocol's Parse. `None`: not known to be
    /// sealed.
    fn prepared(&self, name: &str) -> Option<Arc<Statement>>;
    /// Whether a cursor of this name reads something sealed.
    fn cursor_is_sealed(&self, name: &str) -> bool;
}

/// A session that has left nothing behind.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoNames;

impl SessionNames for NoNames {
    fn prepared(&self, _: &str) -> Option<Arc<Statement>> {
        None
    }

    fn cursor_is_sealed(&self, _: &str) -> bool {
        false
    }
}

/// A planned text: its statements in order. Empty statements are left out.
#[derive(Clone, Debug)]
pub struct Script {
    /// The statements.
    pub statements: Vec<Statement>,
}

/// One planned statement. Owns its text, so that a session can keep it as prepared.
#[derive(Clone)]
pub struct Statement {
    /// Its text as given, without a trailing semicolon, comments around it left out.
    pub text: String,
    /// Where `text` begins in the whole text, in characters from 0.
    pub offset: usize,
    /// What it does.
    pub kind: Kind,
    /// Whether it names (or fetches, or executes) something sealed, and so is a barrier.
    pub sealed: bool,
    /// Literals and parameters that have to become cells, in the order in which they were judged.
    pub sites: Vec<Site>,
    /// Pinned relations and views it names, each once.
    pub relations: Vec<RelationRef>,
    /// The `$n` that have sites, ascending.
    pub parameters: Vec<ParameterUse>,
    /// Its probes have to be durable before it goes out: more than 16 probed values, a function
    /// that is not known to be harmless, a write elsewhere.
    pub early: bool,
    /// It calls `set_config`, so that settings may differ after it.
    pub sets: bool,
    /// Keywords in upper case, pinned identifiers as they are, other identifiers `_`, literals
    /// `?`, `$n` kept, no comments, single spaces.
    pub shape: String,
    pub(crate) edits: Vec<Edit>,
    /// Bytes of `text` that the gate put in (an `E` before a literal), ascending.
    pub(crate) inserted: Vec<usize>,
}

/// What a statement does.
#[derive(Clone, Debug)]
pub enum Kind {
    /// SELECT, VALUES, TABLE.
    Select,
    /// SELECT ... INTO, CREATE TABLE AS.
    SelectInto,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE (only where nothing sealed is named).
    Merge,
    /// COPY ... FROM STDIN.
    CopyIn(CopyIn),
    /// COPY ... TO.
    CopyOut(CopyOut),
    /// PREPARE. The inner statement's parameters become sites when it is executed; the sites here
    /// are those of its literals.
    Prepare {
        /// Its name, folded.
        name: String,
        /// What is prepared.
        inner: Box<Statement>,
    },
    /// EXECUTE.
    Execute {
        /// The name of the prepared statement, folded.
        name: String,
    },
    /// DEALLOCATE; `None` is ALL.
    Deallocate(Option<String>),
    /// DECLARE CURSOR.
    DeclareCursor {
        /// Its name, folded.
        name: String,
        /// WITH HOLD.
        hold: bool,
    },
    /// FETCH or MOVE.
    Fetch {
        /// The cursor's name, folded.
        cursor: String,
    },
    /// CLOSE; `None` is ALL.
    CloseCursor(Option<String>),
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT (of the transaction).
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint,
    /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED.
    TwoPhase,
    /// SET.
    Set {
        /// The parameter, folded, dotted as written.
        name: String,
        /// One value as a string; `None`: DEFAULT, FROM CURRENT, or no single value.
        value: Option<String>,
        /// LOCAL.
        local: bool,
    },
    /// RESET; the parameter folded, or `all`.
    Reset {
        /// The parameter.
        name: String,
    },
    /// SHOW.
    Show {
        /// The parameter, folded.
        name: String,
    },
    /// DISCARD.
    Discard,
    /// EXPLAIN (with or without ANALYZE) of what `inner` holds.
    Explain {
        /// Whether the statement is run.
        analyze: bool,
    },
    /// LISTEN, UNLISTEN.
    Listen,
    /// NOTIFY.
    Notify,
    /// Definitions and maintenance: CREATE, ALTER, DROP, COMMENT, GRANT, VACUUM, LOCK, ...
    Ddl,
    /// DO, CALL.
    Do,
    /// Anything else, or a text that does not parse and names nothing sealed.
    Other,
}

/// A literal or a parameter that has to become a cell (or, if it is one already, to verify).
#[derive(Clone, Debug)]
pub struct Site {
    /// How the column it meets is sealed.
    pub sealing: Sealing,
    /// Index into [`Statement::relations`].
    pub relation: usize,
    /// The column's name as pinned.
    pub column: String,
    /// What for.
    pub purpose: Use,
    /// What it is.
    pub value: Value,
    /// Whose key.
    pub client: ClientOf,
    /// Whether `render` wants one cell for each client of the scope (a search over several).
    pub each_client: bool,
}

/// What a value is sealed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// To be stored.
    Write {
        /// Which row of the statement's VALUES, from 0. Random cells of one row share a row tag.
        /// UPDATE: [`Use::UPDATED`], which takes row tag zero.
        row: u32,
    },
    /// To be compared.
    Search,
}

impl Use {
    /// The row number of values that an UPDATE (or DO UPDATE) sets.
    pub const UPDATED: u32 = u32::MAX;
}

/// What stands at a site. NULL is never a site.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string literal, decoded.
    Literal(Plain<String>),
    /// `$n`.
    Parameter(u16),
    /// An array literal such as `'{a,b}'`, decoded; `None` is NULL.
    ListLiteral(Vec<Option<Plain<String>>>),
    /// `$n` that holds an array.
    ArrayParameter(u16),
}

/// Whose key a site needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientOf {
    /// The session's scope says it: one client for a write, all of them for a search.
    Scope,
    /// The statement or the pin says it.
    Number(ClientId),
    /// `$n` holds its number.
    Parameter(u16),
}

/// A pinned relation or view that a statement names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelationRef {
    /// As written in the statement, schema included if given, quoted: fit for `to_regclass`.
    pub written: String,
    /// The schema and name of the pinned relation or view that it was planned as. Names are
    /// matched in every schema: that this is the one meant is for the live session to tell.
    pub pinned: (String, String),
    /// Whether it is a view.
    pub view: bool,
    /// Whether the plan rests on the order of its columns (INSERT or COPY without a list, `*`
    /// into a write, column aliases).
    pub by_position: bool,
}

/// How a `$n` has to be bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParameterUse {
    /// n, from 1.
    pub number: u16,
    /// How.
    pub form: ParameterForm,
    /// Its sites, at least one; all of one sealing, client and purpose class.
    pub sites: Vec<usize>,
}

/// How a `$n` has to be bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParameterForm {
    /// By one cell, type text.
    One,
    /// Rendered as `= ANY ($n)`: declared `text[]`, bound to an array of one cell a client; NULL
    /// stays NULL. The driver is told `text`.
    AnyOfScope,
    /// `text[]`: each element becomes its cell, or over several clients its cells.
    Array,
}

/// COPY ... FROM STDIN into a relation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyIn {
    /// Index into [`Statement::relations`]; `None`: nothing sealed.
    pub relation: Option<usize>,
    /// The names of the fields, in order.
    pub column_names: Vec<String>,
    /// How each field is sealed.
    pub columns: Vec<Option<Sealing>>,
    /// How the client of a row is known.
    pub client: CopyClient,
    /// How rows are written.
    pub format: CopyOptions,
}

/// How the client of a row that is copied in is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyClient {
    /// The field with this index holds its number.
    Field(usize),
    /// All rows are of one client.
    Fixed(ClientId),
    /// The session's scope says it.
    Scope,
}

/// COPY ... TO.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyOut {
    /// Whether rows come to the driver (TO STDOUT); else they go to a file of the server.
    pub stdout: bool,
    /// How rows are written.
    pub format: CopyOptions,
}

/// The format of COPY data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyFormat {
    /// Tab-separated, with backslashes.
    Text,
    /// Comma-separated.
    Csv,
    /// Binary.
    Binary,
}

/// The options of COPY, defaults filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyOptions {
    /// The format.
    pub format: CopyFormat,
    /// Between fields.
    pub delimiter: u8,
    /// What NULL is written as.
    pub null: String,
    /// Around fields, in CSV.
    pub quote: u8,
    /// Before a quote, in CSV.
    pub escape: u8,
    /// Whether the first line is a header.
    pub header: bool,
    /// Whether the header has to match the column names (HEADER MATCH).
    pub header_match: bool,
    /// FORCE_NULL, FORCE_NOT_NULL, DEFAULT, ENCODING other than UTF-8 or ON_ERROR is given, so
    /// that rows may mean something else than they seem to.
    pub unusual: bool,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            format: CopyFormat::Text,
            delimiter: b'\t',
            null: "\\N".to_owned(),
            quote: b'"',
            escape: b'"',
            header: false,
            header_match: false,
            unusual: false,
        }
    }
}

/// A statement with cells in place of its literals.
#[derive(Clone)]
pub struct Rendered {
    /// The text to send.
    pub text: String,
    /// (byte in `text`, byte in the statement's text) where copied pieces begin, ascending, and
    /// whether the piece is a copy.
    pub(crate) pieces: Vec<(usize, usize, bool)>,
    pub(crate) source: String,
    pub(crate) offset: usize,
    pub(crate) inserted: Vec<usize>,
}

/// A change to the text, by bytes of [`Statement::text`]. Ranges do not overlap.
#[derive(Clone)]
pub(crate) struct Edit {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) parts: Vec<Part>,
}

/// A piece of a replacement.
#[derive(Clone)]
pub(crate) enum Part {
    /// Text as it is.
    Text(String),
    /// A string literal of the statement that is no site, decoded: written as `E'...'`. It may be
    /// personal all the same.
    Literal(Plain<String>),
    /// The cells of a site as literals, separated by commas.
    Cells(usize),
}

impl std::fmt::Debug for Statement {
    /// Leaves the text out: it may hold personal values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statement")
            .field("kind", &self.kind)
            .field("sealed", &self.sealed)
            .field("sites", &self.sites)
            .field("relations", &self.relations)
            .field("parameters", &self.parameters)
            .field("early", &self.early)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
