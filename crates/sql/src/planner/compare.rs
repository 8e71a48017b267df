//! Comparisons with sealed columns, and their rewriting over several clients.
//!
//! Over one client a literal becomes its cell where it stands. Over several, `=` becomes
//! `= ANY (cells)`, `<>` becomes `<> ALL (cells)`, an IN list is made longer, and IS [NOT]
//! DISTINCT FROM is spelled out.

use std::rc::Rc;

use event::Mode;
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::scope::{CellRef, Scope, Val};
use super::{Planner, Result, Target, cast_type};
use crate::Refusal;
use crate::lex;
use crate::tree::{self, Constant};
use crate::types::{ClientOf, ParameterForm, Part, Use, Value};

/// A comparison that works on whole cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    NotDistinct,
    Distinct,
}

/// One side of a comparison.
pub(super) struct Side {
    pub(super) node: SyntaxNode,
    pub(super) value: Val,
}

/// A comparison where it stands.
pub(super) struct Place<'n> {
    pub(super) node: &'n SyntaxNode,
    pub(super) comparison: Comparison,
    /// Whether the comparison may be written in another form.
    pub(super) rewritable: bool,
}

impl Planner<'_> {
    pub(super) fn compare(
        &mut self,
        node: &SyntaxNode,
        comparison: Comparison,
        sides: (&SyntaxNode, &SyntaxNode),
        scope: &Scope<'_>,
        rewritable: bool,
    ) -> Result<Val> {
        let (left, right) = (tree::bare(sides.0), tree::bare(sides.1));
        if left.kind() == SyntaxKind::TUPLE_EXPR && right.kind() == SyntaxKind::TUPLE_EXPR {
            let (lefts, rights) = (tree::exprs(&left), tree::exprs(&right));
            if lefts.len() == rights.len() {
                for (left, right) in lefts.iter().zip(&rights) {
                    self.compare(node, comparison, (left, right), scope, false)?;
                }
                return Ok(Val::Other);
            }
        }
        if let Some(quantified) = quantifier(&right) {
            return self.quantified(node, comparison, &left, &quantified, scope);
        }
        let left = Side {
            node: sides.0.clone(),
            value: self.eval(sides.0, scope)?,
        };
        let right = Side {
            node: sides.1.clone(),
            value: self.eval(sides.1, scope)?,
        };
        self.meet(
            &Place {
                node,
                comparison,
                rewritable,
            },
            &left,
            &right,
        )?;
        Ok(Val::Other)
    }

    pub(super) fn meet(&mut self, place: &Place<'_>, left: &Side, right: &Side) -> Result<()> {
        match (&left.value, &right.value) {
            (Val::Cell(cell), Val::Const) => self.search(place, cell, left, right, true),
            (Val::Const, Val::Cell(cell)) => self.search(place, cell, right, left, false),
            (Val::Cell(one), Val::Cell(other)) => self.same(place.node, one, other),
            (Val::Cell(cell) | Val::Holds(cell), _) | (_, Val::Cell(cell) | Val::Holds(cell)) => {
                Err(self.unlike(place.node, cell))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn unlike(&self, node: &SyntaxNode, cell: &Rc<CellRef>) -> Refusal {
        self.cannot(
            node,
            cell,
            "be compared with this; only with string literals, parameters and cells of its domain",
        )
    }

    /// Refuses to compare cells that cannot be equal.
    pub(super) fn same(
        &self,
        node: &SyntaxNode,
        one: &Rc<CellRef>,
        other: &Rc<CellRef>,
    ) -> Result<()> {
        self.exact(node, one)?;
        self.exact(node, other)?;
        if one.sealing.class == other.sealing.class && one.sealing.domain == other.sealing.domain {
            return Ok(());
        }
        let what = format!(
            "be compared with {}: their class or domain differs",
            other.label()
        );
        Err(self.cannot(node, one, &what))
    }

    /// Refuses to compare random cells.
    pub(super) fn exact(&self, node: &SyntaxNode, cell: &Rc<CellRef>) -> Result<()> {
        match cell.sealing.mode {
            Mode::Exact => Ok(()),
            Mode::Random => Err(self.cannot(node, cell, "be compared, grouped or made distinct")),
        }
    }

    /// Whether a search for this column needs a cell for each client of the scope.
    pub(super) fn each_client(&self, cell: &CellRef) -> bool {
        self.settings.several_clients && cell.client == ClientOf::Scope
    }

    fn search(
        &mut self,
        place: &Place<'_>,
        cell: &Rc<CellRef>,
        column: &Side,
        constant: &Side,
        column_left: bool,
    ) -> Result<()> {
        self.exact(place.node, cell)?;
        let target = Target {
            cell: cell.clone(),
            purpose: Use::Search,
        };
        if !self.each_client(cell) {
            return self.seal(&constant.node, &target);
        }
        let leaf = self.leaf(&constant.node, &target)?;
        let Some(list) = self.cells_of_scope(&leaf, &target)? else {
            return Ok(());
        };
        if !place.rewritable {
            return Err(self.only_one_client(place.node, cell));
        }
        let (word, plain) = match place.comparison {
            Comparison::Equal => ("ANY", true),
            Comparison::NotEqual => ("ALL", true),
            Comparison::NotDistinct => ("ANY", false),
            Comparison::Distinct => ("ALL", false),
        };
        if plain && column_left {
            let mut parts = vec![Part::Text(format!("{word} ("))];
            parts.extend(list);
            parts.push(Part::Text(")".to_owned()));
            self.edit(&constant.node, parts);
            return Ok(());
        }
        let name = self.simple_column(place.node, cell, &column.node)?;
        let null = match tree::constant(&leaf)? {
            Constant::Parameter(number) => Some(format!("${number}::text[] IS NULL")),
            _ => None,
        };
        self.edit(place.node, spelled_out(place.comparison, &name, list, null));
        Ok(())
    }

    /// The literal under parentheses and casts to text.
    pub(super) fn leaf(&self, node: &SyntaxNode, target: &Target) -> Result<SyntaxNode> {
        let mut node = tree::bare(node);
        while node.kind() == SyntaxKind::CAST_EXPR {
            self.text_cast(&node, &target.cell)?;
            match tree::expr(&node) {
                Some(inner) => node = tree::bare(&inner),
                None => break,
            }
        }
        match node.kind() {
            SyntaxKind::LITERAL => Ok(node),
            _ => Err(self.only_one_client(&node, &target.cell)),
        }
    }

    pub(super) fn only_one_client(&self, node: &SyntaxNode, cell: &Rc<CellRef>) -> Refusal {
        let what = "be compared in this form over several clients";
        let mut refusal = self.cannot(node, cell, what);
        refusal.hint = Some(
            "write the column, the operator, then one literal or parameter; or equate the client's column; or narrow the session to one client"
                .to_owned(),
        );
        refusal
    }

    /// The array of a literal's cells, one for each client. `None`: it is NULL.
    pub(super) fn cells_of_scope(
        &mut self,
        leaf: &SyntaxNode,
        target: &Target,
    ) -> Result<Option<Vec<Part>>> {
        match tree::constant(leaf).map_err(|refusal| self.at(leaf, refusal))? {
            Constant::Null | Constant::Default => Ok(None),
            Constant::Text(text) => {
                let site = self.site(leaf, target, Value::Literal(text), true)?;
                Ok(Some(array_of(site)))
            }
            Constant::Parameter(number) => {
                let site = self.site(leaf, target, Value::Parameter(number), true)?;
                self.parameter(leaf, number, ParameterForm::AnyOfScope, site);
                Ok(Some(vec![Part::Text(format!("${number}::text[]"))]))
            }
            Constant::Integer(_) | Constant::Other => Err(self.no_constant(leaf, target)),
        }
    }

    /// The text of a plain column reference, for an operand that has to be written twice.
    pub(super) fn simple_column(
        &self,
        node: &SyntaxNode,
        cell: &Rc<CellRef>,
        column: &SyntaxNode,
    ) -> Result<String> {
        let column = tree::bare(column);
        let simple = match column.kind() {
            SyntaxKind::NAME_REF => true,
            SyntaxKind::FIELD_EXPR => column
                .descendants()
                .skip(1)
                .all(|part| matches!(part.kind(), SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR)),
            _ => false,
        };
        if simple {
            Ok(column.text().to_string())
        } else {
            Err(self.only_one_client(node, cell))
        }
    }

    /// `x = ANY (...)`, `x <> ALL (...)`.
    fn quantified(
        &mut self,
        node: &SyntaxNode,
        comparison: Comparison,
        left: &SyntaxNode,
        quantified: &Quantified,
        scope: &Scope<'_>,
    ) -> Result<Val> {
        if let Some(query) = &quantified.query {
            self.within_query(node, left, query, scope)?;
            return Ok(Val::Other);
        }
        let value = self.eval(left, scope)?;
        let array = self.eval(&quantified.inner, scope)?;
        match (&value, &array) {
            (Val::Cell(cell), Val::Const) => {
                self.exact(node, cell)?;
                let usual = (comparison == Comparison::Equal) != quantified.all;
                if self.each_client(cell) && !usual {
                    return Err(self.only_one_client(node, cell));
                }
                let target = Target {
                    cell: cell.clone(),
                    purpose: Use::Search,
                };
                self.seal_array(&quantified.inner, &target)?;
            }
            (Val::Cell(one), Val::Holds(other)) => self.same(node, one, other)?,
            (Val::Const, Val::Holds(cell)) if !self.each_client(cell) => {
                self.exact(node, cell)?;
                self.seal(
                    left,
                    &Target {
                        cell: cell.clone(),
                        purpose: Use::Search,
                    },
                )?;
            }
            (one, other) => {
                if let Some(cell) = one.sealed().or(other.sealed()) {
                    return Err(self.unlike(node, cell));
                }
            }
        }
        Ok(Val::Other)
    }

    /// Seals the elements of an array that is written out, or is a parameter.
    pub(super) fn seal_array(&mut self, node: &SyntaxNode, target: &Target) -> Result<()> {
        let each_client = self.each_client(&target.cell);
        let mut inner = tree::bare(node);
        while inner.kind() == SyntaxKind::CAST_EXPR {
            if !matches!(cast_type(&inner).as_deref(), Some("text[]" | "varchar[]")) {
                return Err(self.cannot(
                    &inner,
                    &target.cell,
                    "be compared with an array of another type than text[]",
                ));
            }
            match tree::expr(&inner) {
                Some(next) => inner = tree::bare(&next),
                None => return Err(self.no_constant(node, target)),
            }
        }
        if inner.kind() == SyntaxKind::ARRAY_EXPR {
            for element in tree::exprs(&inner) {
                if each_client {
                    let leaf = self.leaf(&element, target)?;
                    match tree::constant(&leaf)? {
                        Constant::Text(text) => {
                            let site = self.site(&leaf, target, Value::Literal(text), true)?;
                            self.edit(&element, vec![Part::Cells(site)]);
                        }
                        Constant::Null => {}
                        _ => return Err(self.only_one_client(&element, &target.cell)),
                    }
                } else {
                    self.seal(&element, target)?;
                }
            }
            return Ok(());
        }
        if inner.kind() != SyntaxKind::LITERAL {
            return Err(self.no_constant(node, target));
        }
        match tree::constant(&inner).map_err(|refusal| self.at(node, refusal))? {
            Constant::Null => Ok(()),
            Constant::Parameter(number) => {
                let value = Value::ArrayParameter(number);
                let site = self.site(&inner, target, value, each_client)?;
                self.parameter(&inner, number, ParameterForm::Array, site);
                Ok(())
            }
            Constant::Text(text) => {
                let Some(elements) = lex::array_elements(text.expose()) else {
                    let what = "be compared with this array; write it as {a,b} or ARRAY['a', 'b']";
                    return Err(self.cannot(node, &target.cell, what));
                };
                let site = self.site(&inner, target, Value::ListLiteral(elements), each_client)?;
                self.edit(node, array_of(site));
                Ok(())
            }
            _ => Err(self.no_constant(node, target)),
        }
    }
}

fn array_of(site: usize) -> Vec<Part> {
    vec![
        Part::Text("ARRAY[".to_owned()),
        Part::Cells(site),
        Part::Text("]::text[]".to_owned()),
    ]
}

/// A comparison with the column's name written out. `null` is the test for a parameter that may
/// be NULL.
fn spelled_out(
    comparison: Comparison,
    name: &str,
    list: Vec<Part>,
    null: Option<String>,
) -> Vec<Part> {
    let text = |text: String| Part::Text(text);
    let (before, after) = match (comparison, null) {
        (Comparison::Equal, _) => (format!("{name} = ANY ("), ")".to_owned()),
        (Comparison::NotEqual, _) => (format!("{name} <> ALL ("), ")".to_owned()),
        (Comparison::NotDistinct, None) => (
            format!("({name} = ANY ("),
            format!(") AND {name} IS NOT NULL)"),
        ),
        (Comparison::Distinct, None) => {
            (format!("({name} <> ALL ("), format!(") OR {name} IS NULL)"))
        }
        (Comparison::NotDistinct, Some(null)) => (
            format!(
                "CASE WHEN {null} THEN {name} IS NULL ELSE {name} IS NOT NULL AND {name} = ANY ("
            ),
            ") END".to_owned(),
        ),
        (Comparison::Distinct, Some(null)) => (
            format!(
                "CASE WHEN {null} THEN {name} IS NOT NULL ELSE {name} IS NULL OR {name} <> ALL ("
            ),
            ") END".to_owned(),
        ),
    };
    let mut parts = vec![text(before)];
    parts.extend(list);
    parts.push(text(after));
    parts
}

/// What stands in ANY, SOME or ALL.
struct Quantified {
    all: bool,
    query: Option<SyntaxNode>,
    inner: SyntaxNode,
}

fn quantifier(node: &SyntaxNode) -> Option<Quantified> {
    if node.kind() != SyntaxKind::CALL_EXPR {
        return None;
    }
    let function = node.children().find(|child| {
        matches!(
            child.kind(),
            SyntaxKind::ANY_FN | SyntaxKind::SOME_FN | SyntaxKind::ALL_FN
        )
    })?;
    let inner = function
        .children()
        .find(|c| tree::is_expr(c) || tree::is_query(c))?;
    let query = if tree::is_query(&inner) {
        Some(inner.clone())
    } else {
        inner_query(&inner)
    };
    Some(Quantified {
        all: function.kind() == SyntaxKind::ALL_FN,
        query,
        inner,
    })
}

/// The query in parentheses, if there is one.
pub(super) fn inner_query(node: &SyntaxNode) -> Option<SyntaxNode> {
    let mut node = node.clone();
    while node.kind() == SyntaxKind::PAREN_EXPR {
        let child = node
            .children()
            .find(|child| tree::is_query(child) || tree::is_expr(child))?;
        if tree::is_query(&child) {
            return Some(child);
        }
        node = child;
    }
    None
}
