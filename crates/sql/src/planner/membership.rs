//! `IN`: lists, and queries.

use event::Mode;
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::compare::{Comparison, Place, Side, inner_query};
use super::scope::{Scope, Val};
use super::{Planner, Result, Target};
use crate::Refusal;
use crate::tree::{self, Constant};
use crate::types::{Part, Use, Value};

impl Planner<'_> {
    /// `x [NOT] IN (...)`.
    pub(super) fn within(
        &mut self,
        node: &SyntaxNode,
        negated: bool,
        sides: (&SyntaxNode, &SyntaxNode),
        scope: &Scope<'_>,
    ) -> Result<Val> {
        if let Some(query) = inner_query(sides.1) {
            self.within_query(node, sides.0, &query, scope)?;
            return Ok(Val::Other);
        }
        let items = match sides.1.kind() {
            SyntaxKind::TUPLE_EXPR | SyntaxKind::PAREN_EXPR => tree::exprs(sides.1),
            _ => vec![sides.1.clone()],
        };
        let left = tree::bare(sides.0);
        if left.kind() == SyntaxKind::TUPLE_EXPR {
            return self.tuple_within(node, &left, &items, scope);
        }
        let left = Side {
            node: sides.0.clone(),
            value: self.eval(sides.0, scope)?,
        };
        let mut sides = Vec::with_capacity(items.len());
        for node in items {
            let value = self.eval(&node, scope)?;
            sides.push(Side { node, value });
        }
        self.member_of_list(node, negated, &left, &sides)?;
        Ok(Val::Other)
    }

    fn tuple_within(
        &mut self,
        node: &SyntaxNode,
        left: &SyntaxNode,
        items: &[SyntaxNode],
        scope: &Scope<'_>,
    ) -> Result<Val> {
        let mut columns = Vec::new();
        for part in tree::exprs(left) {
            columns.push(Side {
                value: self.eval(&part, scope)?,
                node: part,
            });
        }
        let place = Place {
            node,
            comparison: Comparison::Equal,
            rewritable: false,
        };
        for item in items {
            let parts = tree::exprs(&tree::bare(item));
            if parts.len() != columns.len() {
                match columns.iter().find_map(|column| column.value.sealed()) {
                    Some(cell) => return Err(self.unlike(item, cell)),
                    None => continue,
                }
            }
            for (column, part) in columns.iter().zip(parts) {
                let side = Side {
                    value: self.eval(&part, scope)?,
                    node: part,
                };
                if matches!((&column.value, &side.value), (Val::Const, Val::Cell(_))) {
                    return Err(self.not_both(node, &side.value));
                }
                self.meet(&place, column, &side)?;
            }
        }
        Ok(Val::Other)
    }

    /// A literal that would have to be sealed more than once.
    fn not_both(&self, node: &SyntaxNode, value: &Val) -> Refusal {
        match value.sealed() {
            Some(cell) => {
                let mut refusal = self.unlike(node, cell);
                refusal.hint =
                    Some("write one comparison for each column, joined by OR".to_owned());
                refusal
            }
            None => Refusal::new("0A000", "not possible beside sealed columns"),
        }
    }

    fn member_of_list(
        &mut self,
        node: &SyntaxNode,
        negated: bool,
        left: &Side,
        items: &[Side],
    ) -> Result<()> {
        let Val::Cell(cell) = &left.value else {
            return match (&left.value, items) {
                (Val::Const, [only]) if matches!(only.value, Val::Cell(_)) => self.meet(
                    &Place {
                        node,
                        comparison: Comparison::Equal,
                        rewritable: false,
                    },
                    left,
                    only,
                ),
                _ => match left
                    .value
                    .sealed()
                    .or(items.iter().find_map(|i| i.value.sealed()))
                {
                    Some(cell) => Err(self.not_both(node, &Val::Cell(cell.clone()))),
                    None => Ok(()),
                },
            };
        };
        self.exact(node, cell)?;
        let target = Target {
            cell: cell.clone(),
            purpose: Use::Search,
        };
        let mut parameters = Vec::new();
        let mut others = 0;
        for item in items {
            match &item.value {
                Val::Cell(other) => self.same(node, cell, other)?,
                Val::Const if self.each_client(cell) => {
                    let leaf = self.leaf(&item.node, &target)?;
                    if let Constant::Parameter(_) = tree::constant(&leaf)? {
                        parameters.push(leaf);
                        continue;
                    }
                }
                Val::Const => self.seal(&item.node, &target)?,
                Val::Holds(_) | Val::Other => return Err(self.unlike(&item.node, cell)),
            }
            others += 1;
        }
        if !self.each_client(cell) {
            return Ok(());
        }
        if parameters.is_empty() {
            for item in items.iter().filter(|item| matches!(item.value, Val::Const)) {
                let leaf = self.leaf(&item.node, &target)?;
                if let Constant::Text(text) = tree::constant(&leaf)? {
                    let site = self.site(&leaf, &target, Value::Literal(text), true)?;
                    self.edit(&item.node, vec![Part::Cells(site)]);
                }
            }
            return Ok(());
        }
        let name = self.simple_column(node, cell, &left.node)?;
        let parts = self.list_with_parameters(&name, negated, items, others > 0, &target)?;
        self.edit(node, parts);
        Ok(())
    }

    /// `(x IN (cells) OR x = ANY ($1) OR ...)`, or its negation.
    fn list_with_parameters(
        &mut self,
        name: &str,
        negated: bool,
        items: &[Side],
        some_literals: bool,
        target: &Target,
    ) -> Result<Vec<Part>> {
        let text = |text: &str| Part::Text(text.to_owned());
        let (within, quantified, join) = match negated {
            false => ("IN", "= ANY", " OR "),
            true => ("NOT IN", "<> ALL", " AND "),
        };
        let mut list = Vec::new();
        let mut rest = Vec::new();
        for item in items {
            if !matches!(item.value, Val::Const) {
                list.push(vec![Part::Text(item.node.text().to_string())]);
                continue;
            }
            let leaf = self.leaf(&item.node, target)?;
            match tree::constant(&leaf)? {
                Constant::Text(value) => {
                    let site = self.site(&leaf, target, Value::Literal(value), true)?;
                    list.push(vec![Part::Cells(site)]);
                }
                Constant::Parameter(_) => {
                    if let Some(parts) = self.cells_of_scope(&leaf, target)? {
                        rest.push(parts);
                    }
                }
                _ => list.push(vec![text("NULL")]),
            }
        }
        let mut parts = vec![text("(")];
        if some_literals {
            parts.push(text(&format!("{name} {within} (")));
            for (index, item) in list.into_iter().enumerate() {
                if index > 0 {
                    parts.push(text(", "));
                }
                parts.extend(item);
            }
            parts.push(text(")"));
        }
        for (index, parameter) in rest.into_iter().enumerate() {
            if some_literals || index > 0 {
                parts.push(text(join));
            }
            parts.push(text(&format!("{name} {quantified} (")));
            parts.extend(parameter);
            parts.push(text(")"));
        }
        parts.push(text(")"));
        Ok(parts)
    }

    /// `x IN (SELECT ...)` and `x = ANY (SELECT ...)`.
    pub(super) fn within_query(
        &mut self,
        node: &SyntaxNode,
        left: &SyntaxNode,
        query: &SyntaxNode,
        scope: &Scope<'_>,
    ) -> Result<()> {
        let bare = tree::bare(left);
        let lefts = match bare.kind() {
            SyntaxKind::TUPLE_EXPR => tree::exprs(&bare),
            _ => vec![left.clone()],
        };
        let mut sides = Vec::new();
        let mut sinks = Vec::new();
        for node in lefts {
            let value = self.eval(&node, scope)?;
            sinks.push(match &value {
                Val::Cell(cell) if cell.sealing.mode == Mode::Exact && !self.each_client(cell) => {
                    Some(Target {
                        cell: cell.clone(),
                        purpose: Use::Search,
                    })
                }
                _ => None,
            });
            sides.push(Side { node, value });
        }
        let wanted = sinks
            .iter()
            .any(Option::is_some)
            .then_some(sinks.as_slice());
        let columns = self.query_into(query, scope, wanted)?;
        if sides.iter().all(|side| side.value.sealed().is_none()) && columns.sealed().is_none() {
            return Ok(());
        }
        let place = Place {
            node,
            comparison: Comparison::Equal,
            rewritable: false,
        };
        for (index, side) in sides.iter().enumerate() {
            let listed = columns.listed.get(index).filter(|_| columns.in_order);
            match (&side.value, listed.map(|column| &column.value)) {
                (Val::Cell(_), Some(Val::Const)) if wanted.is_some() => {}
                (Val::Const, Some(value @ Val::Cell(_))) => {
                    let right = Side {
                        node: query.clone(),
                        value: value.clone(),
                    };
                    self.meet(&place, side, &right)?;
                }
                (Val::Cell(one), Some(Val::Cell(other))) => self.same(node, one, other)?,
                (left, right) => {
                    let sealed = left.sealed().or(right.and_then(Val::sealed));
                    if let Some(cell) = sealed.or(columns.sealed().filter(|_| right.is_none())) {
                        return Err(self.unlike(node, cell));
                    }
                }
            }
        }
        Ok(())
    }
}
