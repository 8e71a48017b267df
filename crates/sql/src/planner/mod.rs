//! The planner of one statement: its state, and the steps that all kinds of statement share.
//!
//! Invariants: each node of the tree is evaluated once, so that no site is made twice; a value
//! that may hold a cell is either allowed by name where it stands, or the statement is refused.

mod compare;
mod copy;
mod definition;
mod expression;
mod from;
mod function;
mod membership;
mod query;
mod scope;
mod session;
mod shape;
mod statement;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use event::{Mode, Sealing};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use crate::catalogue::Relation;
use crate::tree::{self, Constant};
use crate::types::{
    ClientOf, Edit, ParameterForm, ParameterUse, Part, RelationRef, Site, Use, Value,
};
use crate::{Catalogue, Refusal, SITES_MAX, SessionNames, Settings, VALUES_MAX};
use scope::{CellRef, Column, Columns, Val};
pub(crate) use statement::plan_statement;

type Result<T> = std::result::Result<T, Refusal>;

/// A CTE by name.
struct Cte {
    name: String,
    columns: Columns,
}

/// The state while one statement is planned.
pub(crate) struct Planner<'a> {
    catalogue: &'a Catalogue,
    settings: &'a Settings,
    names: &'a dyn SessionNames,
    /// The whole text, conforming.
    text: &'a str,
    /// Where the statement begins in it.
    base: usize,
    ctes: Vec<Cte>,
    sealed: bool,
    early: bool,
    sets: bool,
    sites: Vec<Site>,
    values: usize,
    edits: Vec<Edit>,
    relations: Vec<RelationRef>,
    /// `$n` by the byte where it stands: what it was made there.
    parameter_sites: BTreeMap<usize, (u16, ParameterForm, usize)>,
    /// Bytes of `$n` that say nothing about its type (IS NULL tests, clients).
    neutral: HashSet<usize>,
    /// Bytes of literals that became part of an edit.
    replaced: HashSet<usize>,
}

/// What a constant becomes when it meets a sealed column.
#[derive(Clone)]
struct Target {
    cell: Rc<CellRef>,
    purpose: Use,
}

impl<'a> Planner<'a> {
    fn new(
        text: &'a str,
        base: usize,
        catalogue: &'a Catalogue,
        settings: &'a Settings,
        names: &'a dyn SessionNames,
    ) -> Self {
        Self {
            catalogue,
            settings,
            names,
            text,
            base,
            ctes: Vec::new(),
            sealed: false,
            early: false,
            sets: false,
            sites: Vec::new(),
            values: 0,
            edits: Vec::new(),
            relations: Vec::new(),
            parameter_sites: BTreeMap::new(),
            neutral: HashSet::new(),
            replaced: HashSet::new(),
        }
    }

    /// The pinned relation or view that a path names, if it is one.
    fn pinned(&self, parts: &[String], node: &SyntaxNode) -> Result<Option<&'a Relation>> {
        let Some(name) = parts.last() else {
            return Ok(None);
        };
        let mut named = self.catalogue.named(name);
        let Some(first) = named.next() else {
            return Ok(None);
        };
        let schema = parts
            .len()
            .checked_sub(2)
            .and_then(|index| parts.get(index));
        let Some(second) = named.next() else {
            return Ok(Some(first));
        };
        let mut all = [first, second].into_iter().chain(named);
        if let Some(schema) = schema {
            return Ok(Some(
                all.find(|relation| relation.schema == *schema)
                    .unwrap_or(first),
            ));
        }
        if all.all(|other| other.columns == first.columns && other.client == first.client) {
            return Ok(Some(first));
        }
        let message = format!("several sealed relations are called \"{name}\"");
        Err(self.at(
            node,
            Refusal::new("42P09", message).hint("write the schema before its name"),
        ))
    }

    /// Notes that the statement names a pinned relation.
    fn note_relation(&mut self, parts: &[String], relation: &Relation, by_position: bool) -> usize {
        self.sealed = true;
        let quoted: Vec<String> = parts.iter().map(|part| tree::quote(part)).collect();
        let written = quoted.join(".");
        if let Some(index) = self
            .relations
            .iter()
            .position(|other| other.written == written)
        {
            if let Some(known) = self.relations.get_mut(index) {
                known.by_position |= by_position;
            }
            return index;
        }
        self.relations.push(RelationRef {
            written,
            pinned: (relation.schema.clone(), relation.name.clone()),
            view: relation.view,
            by_position,
        });
        self.relations.len() - 1
    }

    /// The columns of a pinned relation, as values.
    fn columns_of(&self, relation: &Relation, index: usize) -> Columns {
        let client = match relation.client {
            event::ClientSource::Fixed(client) => ClientOf::Number(client),
            _ => ClientOf::Scope,
        };
        let listed = relation.columns.iter().map(|column| {
            let cell = column.sealing.map(|sealing| {
                Rc::new(CellRef {
                    sealing,
                    relation: index,
                    relation_name: relation.name.clone(),
                    column: column.name.clone(),
                    client,
                })
            });
            let value = match cell {
                None => Val::Other,
                Some(cell) if column.passes_through => Val::Cell(cell),
                Some(cell) => Val::Holds(cell),
            };
            Column {
                name: Some(column.name.clone()),
                value,
            }
        });
        Columns {
            listed: listed.collect(),
            rest: None,
            in_order: true,
        }
    }

    /// Makes every literal and parameter of an expression a site. Not for searches over several
    /// clients, which need the comparison rewritten.
    fn seal(&mut self, node: &SyntaxNode, target: &Target) -> Result<()> {
        match node.kind() {
            SyntaxKind::LITERAL => self.seal_literal(node, target),
            SyntaxKind::PAREN_EXPR => match tree::expr(node) {
                Some(inner) => self.seal(&inner, target),
                None => Err(self.no_constant(node, target)),
            },
            SyntaxKind::CAST_EXPR => {
                self.text_cast(node, &target.cell)?;
                match tree::expr(node) {
                    Some(inner) => self.seal(&inner, target),
                    None => Err(self.no_constant(node, target)),
                }
            }
            SyntaxKind::CASE_EXPR => {
                for (_, result) in expression::branches(node) {
                    self.seal(&result, target)?;
                }
                Ok(())
            }
            SyntaxKind::CALL_EXPR => match function::sealed_through(node, target) {
                Some(arguments) => {
                    for argument in arguments {
                        self.seal(&argument, target)?;
                    }
                    Ok(())
                }
                None => Err(self.no_constant(node, target)),
            },
            _ => Err(self.no_constant(node, target)),
        }
    }

    fn seal_literal(&mut self, node: &SyntaxNode, target: &Target) -> Result<()> {
        match tree::constant(node).map_err(|refusal| self.at(node, refusal))? {
            Constant::Null | Constant::Default => Ok(()),
            Constant::Text(text) => {
                let site = self.site(node, target, Value::Literal(text), false)?;
                self.edit(node, vec![Part::Cells(site)]);
                Ok(())
            }
            Constant::Parameter(number) => {
                let site = self.site(node, target, Value::Parameter(number), false)?;
                self.parameter(node, number, ParameterForm::One, site);
                Ok(())
            }
            Constant::Integer(_) | Constant::Other => Err(self.no_constant(node, target)),
        }
    }

    /// Adds a site.
    fn site(
        &mut self,
        node: &SyntaxNode,
        target: &Target,
        value: Value,
        each_client: bool,
    ) -> Result<usize> {
        let cell = &target.cell;
        if matches!(target.purpose, Use::Write { .. })
            && self.settings.several_clients
            && cell.client == ClientOf::Scope
        {
            let message = format!("cannot tell which client's key seals {}", cell.label());
            let refusal = Refusal::new("0A000", message).hint(
                "write the client's number: its column in INSERT, or `client = ...` in WHERE; or narrow the session to one client",
            );
            return Err(self.about(node, cell, refusal));
        }
        self.values += match &value {
            Value::ListLiteral(values) => values.len(),
            _ => 1,
        };
        if self.values > VALUES_MAX || self.sites.len() >= SITES_MAX {
            let message =
                format!("more than {VALUES_MAX} values for sealed columns in one statement");
            return Err(self.at(
                node,
                Refusal::new("54000", message).hint("use COPY, or several statements"),
            ));
        }
        self.sites.push(Site {
            sealing: cell.sealing,
            relation: cell.relation,
            column: cell.column.clone(),
            purpose: target.purpose,
            value,
            client: cell.client,
            each_client,
        });
        Ok(self.sites.len() - 1)
    }

    /// Notes what a `$n` was made where it stands.
    fn parameter(&mut self, node: &SyntaxNode, number: u16, form: ParameterForm, site: usize) {
        self.parameter_sites
            .insert(tree::range(node).0, (number, form, site));
    }

    /// Replaces a node.
    fn edit(&mut self, node: &SyntaxNode, parts: Vec<Part>) {
        let (start, end) = tree::range(node);
        for literal in tree::tokens(node) {
            self.replaced.insert(tree::span(&literal).0);
        }
        self.edits.push(Edit {
            start: start - self.base,
            end: end - self.base,
            parts,
        });
    }

    /// Refuses a cast of something sealed to anything but text. The length of varchar(n) would cut
    /// cells.
    fn text_cast(&self, cast: &SyntaxNode, cell: &Rc<CellRef>) -> Result<()> {
        match cast_type(cast).as_deref() {
            Some("text" | "varchar") => Ok(()),
            _ => Err(self.cannot(cast, cell, "be cast to another type than text")),
        }
    }

    /// Reads `$n` uses together, and writes all other plain literals as `E'...'`.
    fn finish(&mut self, statement: &SyntaxNode) -> Result<Vec<ParameterUse>> {
        let mut uses: BTreeMap<u16, ParameterUse> = BTreeMap::new();
        for (number, form, site) in self.parameter_sites.values() {
            let known = uses.entry(*number).or_insert_with(|| ParameterUse {
                number: *number,
                form: *form,
                sites: Vec::new(),
            });
            let differs = known.form != *form
                || known
                    .sites
                    .first()
                    .is_some_and(|first| !self.alike(*first, *site));
            if differs {
                return Err(self.mixed(statement, *number, *site, "two different ways"));
            }
            known.sites.push(*site);
        }
        let literals: Vec<SyntaxNode> = statement
            .descendants()
            .filter(|node| node.kind() == SyntaxKind::LITERAL)
            .collect();
        for literal in &literals {
            let start = tree::range(literal).0;
            if self.parameter_sites.contains_key(&start) || self.neutral.contains(&start) {
                continue;
            }
            if let Constant::Parameter(number) = tree::constant(literal)?
                && let Some(site) = uses.get(&number).and_then(|known| known.sites.first())
            {
                return Err(self.mixed(literal, number, *site, "both sealed and plain"));
            }
        }
        if self.sealed {
            self.respell(&literals)?;
        }
        self.edits.sort_by_key(|edit| (edit.start, edit.end));
        Ok(uses.into_values().collect())
    }

    /// Literals mean the same under both settings of `standard_conforming_strings`.
    fn respell(&mut self, literals: &[SyntaxNode]) -> Result<()> {
        for literal in literals {
            if self.replaced.contains(&tree::range(literal).0) {
                continue;
            }
            let first = tree::tokens(literal).find(|token| !token.kind().is_trivia());
            let prefix = match first.map(|token| token.kind()) {
                Some(SyntaxKind::STRING) => "",
                Some(SyntaxKind::NATIONAL_STRING) => "NCHAR ",
                Some(SyntaxKind::UNICODE_ESC_STRING) => "",
                _ => continue,
            };
            let decoded = tree::constant(literal).map_err(|refusal| self.at(literal, refusal))?;
            if let Constant::Text(text) = decoded {
                self.edit(
                    literal,
                    vec![Part::Text(prefix.to_owned()), Part::Literal(text)],
                );
            }
        }
        Ok(())
    }

    fn alike(&self, one: usize, other: usize) -> bool {
        let (Some(one), Some(other)) = (self.sites.get(one), self.sites.get(other)) else {
            return false;
        };
        let same: fn(&Sealing) -> (u8, u16, bool) = |sealing| {
            (
                sealing.class.code(),
                sealing.domain.0,
                sealing.mode == Mode::Exact,
            )
        };
        same(&one.sealing) == same(&other.sealing) && one.client == other.client
    }

    fn mixed(&self, node: &SyntaxNode, number: u16, site: usize, how: &str) -> Refusal {
        let site = self.sites.get(site);
        let name = site.map_or("a sealed column", |site| site.column.as_str());
        let message =
            format!("parameter ${number} meets sealed column \"{name}\" and is used {how}");
        self.at(
            node,
            Refusal::new("0A000", message).hint("give it two parameters"),
        )
    }

    /// Adds where it happened.
    fn at(&self, node: &SyntaxNode, mut refusal: Refusal) -> Refusal {
        refusal
            .position
            .get_or_insert(tree::position(self.text, tree::range(node).0));
        refusal
    }

    /// Adds where it happened and to which column.
    fn about(&self, node: &SyntaxNode, cell: &Rc<CellRef>, mut refusal: Refusal) -> Refusal {
        refusal.column = Some(cell.label());
        self.at(node, refusal)
    }

    /// "sealed column x cannot ...", with what can be asked instead.
    fn cannot(&self, node: &SyntaxNode, cell: &Rc<CellRef>, what: &str) -> Refusal {
        let message = format!("sealed column {} cannot {what}", cell.label());
        let hint = match cell.sealing.mode {
            Mode::Exact => {
                "it can be read; compared by =, <>, IN, = ANY, IS [NOT] DISTINCT FROM; joined with columns of its domain; grouped, counted, tested for NULL"
            }
            Mode::Random => "it can only be read, counted and tested for NULL",
        };
        self.about(node, cell, Refusal::new("0A000", message).hint(hint))
    }

    fn no_constant(&self, node: &SyntaxNode, target: &Target) -> Refusal {
        let message = match target.purpose {
            Use::Search => {
                "be compared with this; only with string literals, parameters and cells of its domain"
            }
            Use::Write { .. } => {
                "be set to this; only to string literals, parameters, NULL, DEFAULT and cells like its own"
            }
        };
        self.cannot(node, &target.cell, message)
    }
}

/// The type that a cast names, folded, without its length being allowed: `text`, `varchar`, or
/// something else.
fn cast_type(cast: &SyntaxNode) -> Option<String> {
    let type_node = cast.children().find(|child| {
        matches!(
            child.kind(),
            SyntaxKind::PATH_TYPE | SyntaxKind::VARCHAR_TYPE | SyntaxKind::ARRAY_TYPE
        )
    })?;
    if tree::child(&type_node, SyntaxKind::ARG_LIST).is_some() {
        return None;
    }
    match type_node.kind() {
        SyntaxKind::VARCHAR_TYPE => {
            let national = tree::tokens(&type_node).any(|t| t.kind() == SyntaxKind::NATIONAL_KW);
            (!national).then(|| "varchar".to_owned())
        }
        SyntaxKind::ARRAY_TYPE => {
            let bounds = type_node
                .children()
                .filter(|c| c.kind() == SyntaxKind::ARRAY_BOUND)
                .count();
            let element = cast_type(&type_node)?;
            (bounds == 1).then(|| format!("{element}[]"))
        }
        _ => {
            let parts = tree::path(&type_node);
            match parts.as_slice() {
                [name] => Some(name.clone()),
                [schema, name] if schema == "pg_catalog" => Some(name.clone()),
                _ => None,
            }
        }
    }
}
