//! The pin: the recorded shape of a database's sealed tables.

use crate::{Class, ClientId, Domain, Mode};

/// How a column is sealed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sealing {
    /// The kind of value.
    pub class: Class,
    /// Which columns it may be compared with.
    pub domain: Domain,
    /// Random or exact.
    pub mode: Mode,
}

/// How the gate knows whose a row of a relation is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientSource {
    /// A column of the relation holds the client's number.
    Column(String),
    /// All rows are of one client.
    Fixed(ClientId),
    /// Nothing in the row says it: the session's scope has to be one client.
    Scope,
}

/// A column of a sealed relation, in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinnedColumn {
    /// Its name, as in `pg_attribute.attname` (not quoted).
    pub name: String,
    /// Its type as `format_type` gives it, for instance `bigint` or `character varying(4000)`.
    pub type_name: String,
    /// `None`: not sealed.
    pub sealing: Option<Sealing>,
}

/// A sealed relation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinnedRelation {
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// All live columns, in order of `attnum`, dropped ones left out.
    pub columns: Vec<PinnedColumn>,
    /// Whose its rows are.
    pub client: ClientSource,
}

/// The pin of one database, put in force by two approvers like a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// The database's name.
    pub database: String,
    /// Its sealed relations, ordered by (schema, name).
    pub relations: Vec<PinnedRelation>,
}

impl PinnedRelation {
    /// The place (from 0) and description of a column.
    pub fn column(&self, name: &str) -> Option<(usize, &PinnedColumn)> {
        self.columns
            .iter()
            .enumerate()
            .find(|(_, column)| column.name == name)
    }
}

impl Sealing {
    /// The name of the CHECK constraint that declares a column sealed:
    /// `sekisho_<class>_<mode>_<domain>_<column>`, `-` written as `_`, cut to 63 bytes by PostgreSQL's rule.
    pub fn constraint_name(&self, column: &str) -> String {
        let mut name = format!(
            "sekisho_{}_{}_{}_{}",
            self.class, self.mode, self.domain, column
        )
        .replace('-', "_");
        let mut end = name.len().min(63);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name
    }
}
