//! FROM, WHERE and joins: which names a query sees, and whose its rows are.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::query::{column_names, concatenated, item, rename};
use super::scope::{Columns, Found, Item, Scope, Val, client_number};
use super::{Planner, Result};
use crate::tree::{self, Constant};
use crate::types::ClientOf;

/// A condition of a join.
struct Condition {
    node: SyntaxNode,
    /// Whether rows that do not meet it are left out.
    restricts: bool,
}

impl Planner<'_> {
    /// Fills the scope from FROM (or USING), then judges WHERE.
    pub(super) fn read_from_and_where(
        &mut self,
        node: &SyntaxNode,
        from: Option<&SyntaxNode>,
        scope: &mut Scope<'_>,
    ) -> Result<()> {
        let mut conditions = Vec::new();
        for item in from.iter().flat_map(|from| from.children()) {
            self.add_from_item(&item, scope, &mut conditions)?;
        }
        let clause = tree::child(node, SyntaxKind::WHERE_CLAUSE).and_then(|c| tree::expr(&c));
        let conditions_of_client = conditions
            .iter()
            .filter(|condition| condition.restricts)
            .map(|condition| condition.node.clone())
            .chain(clause.clone());
        for condition in conditions_of_client.collect::<Vec<_>>() {
            self.find_clients(&condition, scope)?;
        }
        for condition in &conditions {
            self.plain(&condition.node, scope)?;
        }
        if let Some(clause) = clause {
            self.plain(&clause, scope)?;
        }
        Ok(())
    }

    /// `client = 5` in a top-level AND says whose the rows of a relation are.
    fn find_clients(&mut self, condition: &SyntaxNode, scope: &mut Scope<'_>) -> Result<()> {
        let node = tree::bare(condition);
        if node.kind() != SyntaxKind::BIN_EXPR {
            return Ok(());
        }
        let sides = tree::exprs(&node);
        let [left, right] = sides.as_slice() else {
            return Ok(());
        };
        if tree::has_token(&node, SyntaxKind::AND_KW) {
            self.find_clients(left, scope)?;
            return self.find_clients(right, scope);
        }
        if !tree::has_token(&node, SyntaxKind::EQ) {
            return Ok(());
        }
        for (column, constant) in [(left, right), (right, left)] {
            let Some(index) = client_item(&tree::bare(column), scope) else {
                continue;
            };
            let Some(client) = self.client_of(constant)? else {
                continue;
            };
            if let Some(item) = scope.items.get_mut(index) {
                item.set_client(client);
            }
        }
        Ok(())
    }

    /// The client that a literal or parameter names.
    pub(super) fn client_of(&mut self, node: &SyntaxNode) -> Result<Option<ClientOf>> {
        let mut node = tree::bare(node);
        while node.kind() == SyntaxKind::CAST_EXPR {
            match tree::expr(&node) {
                Some(inner) => node = tree::bare(&inner),
                None => return Ok(None),
            }
        }
        if node.kind() != SyntaxKind::LITERAL {
            return Ok(None);
        }
        Ok(
            match tree::constant(&node).map_err(|refusal| self.at(&node, refusal))? {
                Constant::Integer(number) => client_number(number),
                Constant::Text(text) => text.expose().trim().parse().ok().and_then(client_number),
                Constant::Parameter(number) => Some(ClientOf::Parameter(number)),
                _ => None,
            },
        )
    }

    fn add_from_item(
        &mut self,
        node: &SyntaxNode,
        scope: &mut Scope<'_>,
        conditions: &mut Vec<Condition>,
    ) -> Result<()> {
        match node.kind() {
            SyntaxKind::JOIN_EXPR => self.join(node, scope, conditions),
            SyntaxKind::RELATION_FROM_ITEM => {
                let item = self.relation_item(node)?;
                if let Some(sample) = tree::child(node, SyntaxKind::TABLESAMPLE_CLAUSE) {
                    self.generic(&sample, scope)?;
                }
                scope.items.push(item);
                Ok(())
            }
            SyntaxKind::PAREN_FROM_ITEM => self.paren_item(node, scope, conditions),
            SyntaxKind::FUNCTION_FROM_ITEM
            | SyntaxKind::EXPR_FROM_ITEM
            | SyntaxKind::ROWS_FROM_ITEM => {
                let mut held = Val::Other;
                let mut calls = tree::exprs(node);
                for argument in node
                    .children()
                    .filter(|c| c.kind() == SyntaxKind::ROWS_FROM_ARG)
                {
                    calls.extend(tree::exprs(&argument));
                }
                let mut name = None;
                for call in calls {
                    let value = self.eval(&call, scope)?;
                    name = call
                        .children()
                        .next()
                        .and_then(|c| super::function::call_path(&c).pop());
                    if let Some(cell) = value.sealed() {
                        held = Val::Holds(cell.clone());
                    }
                }
                let columns = Columns {
                    listed: Vec::new(),
                    rest: Some(Box::new(held)),
                    in_order: false,
                };
                scope.items.push(item(alias_of(node).or(name), columns));
                Ok(())
            }
            kind if tree::is_expr(node) || kind == SyntaxKind::JSON_TABLE_FROM_ITEM => {
                self.generic(node, scope)?;
                scope.items.push(item(alias_of(node), Columns::unknown()));
                Ok(())
            }
            _ => {
                self.generic(node, scope)?;
                scope.items.push(item(alias_of(node), Columns::unknown()));
                Ok(())
            }
        }
    }

    /// A relation, a view, or a CTE.
    pub(super) fn relation_item(&mut self, node: &SyntaxNode) -> Result<Item> {
        let parts = node
            .children()
            .find(|c| c.kind() == SyntaxKind::RELATION_NAME_REF)
            .map(|name| tree::path(&name))
            .unwrap_or_default();
        let alias = alias_of(node).or_else(|| parts.last().cloned());
        let names = tree::child(node, SyntaxKind::FROM_ALIAS).map(|a| column_names(&a));
        let names = names.unwrap_or_default();
        if let [name] = parts.as_slice()
            && let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == *name)
        {
            let mut columns = cte.columns.clone();
            rename(&mut columns, &names);
            return Ok(item(alias, columns));
        }
        let Some(relation) = self.pinned(&parts, node)? else {
            return Ok(item(alias, Columns::unknown()));
        };
        let index = self.note_relation(&parts, relation, !names.is_empty());
        let mut columns = self.columns_of(relation, index);
        rename(&mut columns, &names);
        let client_column = match &relation.client {
            event::ClientSource::Column(name) => {
                let place = relation.column(name).map(|(place, _)| place);
                place
                    .and_then(|place| names.get(place))
                    .or(Some(name))
                    .cloned()
            }
            _ => None,
        };
        Ok(Item {
            client_column,
            pinned: true,
            ..item(alias, columns)
        })
    }

    fn paren_item(
        &mut self,
        node: &SyntaxNode,
        scope: &mut Scope<'_>,
        conditions: &mut Vec<Condition>,
    ) -> Result<()> {
        let alias = alias_of(node);
        let names = tree::child(node, SyntaxKind::FROM_ALIAS).map(|a| column_names(&a));
        let names = names.unwrap_or_default();
        let lateral = tree::has_token(node, SyntaxKind::LATERAL_KW);
        let Some(inner) = node.children().find(|c| {
            matches!(c.kind(), SyntaxKind::PAREN_SELECT | SyntaxKind::PAREN_EXPR)
                || tree::is_query(c)
        }) else {
            return Ok(());
        };
        if inner.kind() == SyntaxKind::PAREN_EXPR && super::compare::inner_query(&inner).is_none() {
            let start = scope.items.len();
            for child in inner.children() {
                self.add_from_item(&child, scope, conditions)?;
            }
            if let Some(alias) = alias {
                let hidden: Vec<Item> = scope.items.drain(start..).collect();
                let mut columns = concatenated(&hidden);
                columns.in_order &= !scope.merged;
                rename(&mut columns, &names);
                scope.items.push(item(Some(alias), columns));
            }
            return Ok(());
        }
        let outside = Scope::default();
        let outer = if lateral {
            &*scope
        } else {
            scope.parent.unwrap_or(&outside)
        };
        let mut columns = self.query(&inner, outer, None)?;
        rename(&mut columns, &names);
        scope.items.push(item(alias, columns));
        Ok(())
    }

    fn join(
        &mut self,
        node: &SyntaxNode,
        scope: &mut Scope<'_>,
        conditions: &mut Vec<Condition>,
    ) -> Result<()> {
        let start = scope.items.len();
        let Some(join) = tree::child(node, SyntaxKind::JOIN) else {
            return self.generic(node, scope);
        };
        for left in node.children().filter(|c| c.kind() != SyntaxKind::JOIN) {
            self.add_from_item(&left, scope, conditions)?;
        }
        let middle = scope.items.len();
        let mut inner = true;
        let mut on = Vec::new();
        for part in join.children() {
            match part.kind() {
                SyntaxKind::JOIN_INNER | SyntaxKind::JOIN_CROSS => {}
                SyntaxKind::JOIN_LEFT | SyntaxKind::JOIN_RIGHT | SyntaxKind::JOIN_FULL => {
                    inner = false
                }
                SyntaxKind::JOIN_USING_CLAUSE => self.join_using(&part, scope, start, middle)?,
                SyntaxKind::ON_CLAUSE => on.extend(tree::expr(&part)),
                _ => self.add_from_item(&part, scope, conditions)?,
            }
        }
        conditions.extend(on.into_iter().map(|node| Condition {
            node,
            restricts: inner,
        }));
        if tree::has_token(&join, SyntaxKind::NATURAL_KW) {
            let items = scope.items.get(start..).unwrap_or_default();
            if let Some(cell) = items.iter().find_map(|item| item.columns.sealed()) {
                return Err(self.cannot(
                    &join,
                    cell,
                    "be part of a NATURAL JOIN; write JOIN ... USING",
                ));
            }
            scope.merged = true;
        }
        Ok(())
    }

    fn join_using(
        &mut self,
        clause: &SyntaxNode,
        scope: &mut Scope<'_>,
        start: usize,
        middle: usize,
    ) -> Result<()> {
        scope.merged = true;
        let names = clause
            .descendants()
            .filter(|n| n.kind() == SyntaxKind::COLUMN_NAME_REF);
        for node in names {
            let name = tree::name(&node);
            let find = |items: Option<&[Item]>| {
                items
                    .unwrap_or_default()
                    .iter()
                    .find_map(|item| match item.column(&name) {
                        Found::Value(value) => Some(value),
                        _ => None,
                    })
            };
            let left = find(scope.items.get(start..middle));
            let right = find(scope.items.get(middle..));
            match (left, right) {
                (Some(Val::Cell(one)), Some(Val::Cell(other))) => self.same(&node, &one, &other)?,
                (left, right) => {
                    let sealed = [&left, &right].into_iter().flatten().find_map(Val::sealed);
                    if let Some(cell) = sealed {
                        let what = "be joined with a column that is not sealed like it";
                        return Err(self.cannot(&node, cell, what));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The item whose client column an expression is.
fn client_item(node: &SyntaxNode, scope: &Scope<'_>) -> Option<usize> {
    match node.kind() {
        SyntaxKind::NAME_REF => {
            let name = tree::name(node);
            let mut places = scope
                .items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.client_column.as_deref() == Some(&name));
            let (place, _) = places.next()?;
            places.next().is_none().then_some(place)
        }
        SyntaxKind::FIELD_EXPR => {
            let parts = super::function::call_path(node);
            let [.., alias, column] = parts.as_slice() else {
                return None;
            };
            scope.items.iter().position(|item| {
                item.alias.as_ref() == Some(alias) && item.client_column.as_ref() == Some(column)
            })
        }
        _ => None,
    }
}

/// The alias that a FROM item is given.
fn alias_of(node: &SyntaxNode) -> Option<String> {
    let alias = tree::child(node, SyntaxKind::FROM_ALIAS)?;
    tree::child(&alias, SyntaxKind::TABLE_ALIAS).map(|name| tree::name(&name))
}
