//! Queries: FROM, WHERE, target lists, set operations, WITH.

use std::rc::Rc;

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::function::combine;
use super::scope::{Column, Columns, Item, Scope, Val};
use super::{Cte, Planner, Result, Target};
use crate::tree::{self, Constant};
use crate::types::{ClientOf, Use};

/// What the columns of a query's result are put into.
#[derive(Clone, Copy)]
pub(super) struct Sinks<'s> {
    /// By place.
    pub(super) targets: &'s [Option<Target>],
    /// The place of the column that holds the client.
    pub(super) client: Option<usize>,
}

impl Planner<'_> {
    /// A query whose result columns are compared with `targets`.
    pub(super) fn query_into(
        &mut self,
        node: &SyntaxNode,
        scope: &Scope<'_>,
        targets: Option<&[Option<Target>]>,
    ) -> Result<Columns> {
        self.query(
            node,
            scope,
            targets.map(|targets| Sinks {
                targets,
                client: None,
            }),
        )
    }

    /// Any query, or a data-modifying statement in WITH.
    pub(super) fn query(
        &mut self,
        node: &SyntaxNode,
        scope: &Scope<'_>,
        sinks: Option<Sinks<'_>>,
    ) -> Result<Columns> {
        let ctes = self.ctes.len();
        self.with_clause(node, scope)?;
        let columns = match node.kind() {
            SyntaxKind::SELECT | SyntaxKind::SELECT_INTO => self.select(node, scope, sinks),
            SyntaxKind::VALUES => self.values(node, scope, sinks),
            SyntaxKind::COMPOUND_SELECT => self.compound(node, scope, sinks, None),
            SyntaxKind::TABLE => self.table(node, scope),
            SyntaxKind::PAREN_SELECT | SyntaxKind::PAREN_EXPR => {
                self.paren_query(node, scope, sinks)
            }
            SyntaxKind::INSERT => self.insert(node, scope),
            SyntaxKind::UPDATE => self.update(node, scope),
            SyntaxKind::DELETE => self.delete(node, scope),
            SyntaxKind::MERGE => self.merge(node, scope),
            _ => {
                self.generic(node, scope)?;
                Ok(Columns::unknown())
            }
        };
        self.ctes.truncate(ctes);
        columns
    }

    fn with_clause(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<()> {
        let Some(clause) = tree::child(node, SyntaxKind::WITH_CLAUSE) else {
            return Ok(());
        };
        let recursive = tree::has_token(&clause, SyntaxKind::RECURSIVE_KW);
        for table in clause
            .children()
            .filter(|c| c.kind() == SyntaxKind::WITH_TABLE)
        {
            let name = tree::child(&table, SyntaxKind::CTE_NAME).map(|n| tree::name(&n));
            let name = name.unwrap_or_default();
            let names = column_names(&table);
            let query = table.children().find(|c| {
                tree::is_query(c)
                    || matches!(
                        c.kind(),
                        SyntaxKind::INSERT
                            | SyntaxKind::UPDATE
                            | SyntaxKind::DELETE
                            | SyntaxKind::MERGE
                    )
            });
            let Some(query) = query else { continue };
            let mut columns = if recursive && query.kind() == SyntaxKind::COMPOUND_SELECT {
                let ctes = self.ctes.len();
                self.with_clause(&query, scope)?;
                let columns = self.compound(&query, scope, None, Some((&name, &names)))?;
                self.ctes.truncate(ctes);
                columns
            } else {
                self.query(&query, scope, None)?
            };
            rename(&mut columns, &names);
            for extra in [SyntaxKind::SEARCH_CLAUSE, SyntaxKind::CYCLE_CLAUSE] {
                if let (Some(clause), Some(cell)) = (tree::child(&table, extra), columns.sealed()) {
                    return Err(self.cannot(
                        &clause,
                        cell,
                        "be part of a query with SEARCH or CYCLE",
                    ));
                }
            }
            self.ctes.push(Cte { name, columns });
        }
        Ok(())
    }

    fn select(
        &mut self,
        node: &SyntaxNode,
        parent: &Scope<'_>,
        sinks: Option<Sinks<'_>>,
    ) -> Result<Columns> {
        let mut scope = parent.child();
        let from = tree::child(node, SyntaxKind::FROM_CLAUSE);
        self.read_from_and_where(node, from.as_ref(), &mut scope)?;
        let mut distinct = None;
        let mut columns = Columns {
            in_order: true,
            ..Columns::default()
        };
        if let Some(clause) = tree::child(node, SyntaxKind::SELECT_CLAUSE) {
            distinct = tree::child(&clause, SyntaxKind::DISTINCT_CLAUSE);
            if let Some(list) = tree::child(&clause, SyntaxKind::TARGET_LIST) {
                columns = self.targets(&list, &scope, sinks)?;
            }
        }
        if let Some(distinct) = distinct {
            match tree::child(&distinct, SyntaxKind::DISTINCT_ON) {
                Some(on) => self.grouped(&on, &columns, &scope)?,
                None => self.made_distinct(&distinct, &columns)?,
            }
        }
        for clause in node.children() {
            match clause.kind() {
                SyntaxKind::GROUP_BY_CLAUSE => self.grouped(&clause, &columns, &scope)?,
                SyntaxKind::HAVING_CLAUSE
                | SyntaxKind::WINDOW_CLAUSE
                | SyntaxKind::FILTER_CLAUSE => self.generic(&clause, &scope)?,
                _ => {}
            }
        }
        self.tail(node, &columns, &scope)?;
        Ok(columns)
    }

    /// ORDER BY, LIMIT, OFFSET, FETCH.
    fn tail(&mut self, node: &SyntaxNode, columns: &Columns, scope: &Scope<'_>) -> Result<()> {
        for clause in node.children() {
            match clause.kind() {
                SyntaxKind::ORDER_BY_CLAUSE => self.ordered(&clause, columns, scope)?,
                SyntaxKind::LIMIT_CLAUSE | SyntaxKind::OFFSET_CLAUSE | SyntaxKind::FETCH_CLAUSE => {
                    self.generic(&clause, scope)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A target list, RETURNING included.
    pub(super) fn targets(
        &mut self,
        list: &SyntaxNode,
        scope: &Scope<'_>,
        sinks: Option<Sinks<'_>>,
    ) -> Result<Columns> {
        let mut columns = Columns {
            in_order: true,
            ..Columns::default()
        };
        let targets: Vec<SyntaxNode> = list
            .children()
            .filter(|c| c.kind() == SyntaxKind::TARGET)
            .collect();
        let written: Vec<SyntaxNode> = targets.iter().filter_map(tree::expr).collect();
        let no_star = written.len() == targets.len() && !written.iter().any(is_star);
        let row = sinks.map(|sinks| self.row_targets(sinks, no_star.then_some(&written), 0));
        let row = row.transpose()?;
        for target in &targets {
            let Some(expr) = tree::expr(target) else {
                expand(&mut columns, &concatenated(&scope.items), !scope.merged);
                continue;
            };
            if is_star(&expr) {
                self.expand_item(&expr, scope, &mut columns)?;
                continue;
            }
            let place = columns.listed.len();
            let sink = row
                .as_ref()
                .filter(|_| columns.in_order)
                .and_then(|row| row.get(place));
            let value = match sink {
                Some(Some(sink)) => self.assign(&expr, sink, scope)?,
                _ => self.eval(&expr, scope)?,
            };
            columns.listed.push(Column {
                name: output_name(target, &expr),
                value,
            });
        }
        Ok(columns)
    }

    /// `a.*`, `(row).*`.
    fn expand_item(
        &mut self,
        expr: &SyntaxNode,
        scope: &Scope<'_>,
        columns: &mut Columns,
    ) -> Result<()> {
        let alias = tree::expr(expr).map(|base| super::function::call_path(&tree::bare(&base)));
        let item = alias.and_then(|parts| parts.last().and_then(|alias| scope.item(alias)));
        match item {
            Some(item) => expand(columns, &item.columns, true),
            None => {
                let held = self.eval(expr, scope)?;
                let rest = Columns {
                    listed: Vec::new(),
                    rest: Some(Box::new(held.held())),
                    in_order: false,
                };
                expand(columns, &rest, false);
            }
        }
        Ok(())
    }

    /// The sinks of one row, with the client that the row itself names.
    pub(super) fn row_targets(
        &mut self,
        sinks: Sinks<'_>,
        row: Option<&Vec<SyntaxNode>>,
        number: u32,
    ) -> Result<Vec<Option<Target>>> {
        let mut client = None;
        if let (Some(row), Some(place)) = (row, sinks.client)
            && let Some(node) = row.get(place)
        {
            client = self.client_of(node)?;
        }
        let of_row = |target: &Option<Target>| {
            target.as_ref().map(|target| {
                let mut target = target.clone();
                if let Some(client) = client {
                    Rc::make_mut(&mut target.cell).client = client;
                }
                if let Use::Write { row } = &mut target.purpose
                    && *row != Use::UPDATED
                {
                    *row = number;
                }
                target
            })
        };
        Ok(sinks.targets.iter().map(of_row).collect())
    }

    fn values(
        &mut self,
        node: &SyntaxNode,
        scope: &Scope<'_>,
        sinks: Option<Sinks<'_>>,
    ) -> Result<Columns> {
        let mut columns = Columns {
            in_order: true,
            ..Columns::default()
        };
        let list = tree::child(node, SyntaxKind::ROW_LIST);
        let rows = list.iter().flat_map(|list| list.children());
        for (number, row) in rows.filter(|c| c.kind() == SyntaxKind::ROW).enumerate() {
            let written = tree::exprs(&row);
            let number = u32::try_from(number).unwrap_or(u32::MAX - 1);
            let targets = sinks.map(|sinks| self.row_targets(sinks, Some(&written), number));
            let targets = targets.transpose()?;
            for (place, expr) in written.iter().enumerate() {
                let sink = targets.as_ref().and_then(|targets| targets.get(place));
                let value = match sink {
                    Some(Some(sink)) => self.assign(expr, sink, scope)?,
                    _ => self.eval(expr, scope)?,
                };
                match columns.listed.get_mut(place) {
                    Some(known) => known.value = combine(&[known.value.clone(), value]),
                    None => {
                        let name = Some(format!("column{}", place + 1));
                        columns.listed.push(Column { name, value });
                    }
                }
            }
        }
        self.tail(node, &columns, scope)?;
        Ok(columns)
    }

    fn table(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Columns> {
        let Some(name) = tree::child(node, SyntaxKind::RELATION_NAME) else {
            return Ok(Columns::unknown());
        };
        let columns = self.relation_item(&name)?.columns;
        self.tail(node, &columns, scope)?;
        Ok(columns)
    }

    fn paren_query(
        &mut self,
        node: &SyntaxNode,
        scope: &Scope<'_>,
        sinks: Option<Sinks<'_>>,
    ) -> Result<Columns> {
        let inner = node
            .children()
            .find(|c| tree::is_query(c) || c.kind() == SyntaxKind::PAREN_EXPR);
        let Some(inner) = inner else {
            self.generic(node, scope)?;
            return Ok(Columns::unknown());
        };
        let columns = self.query(&inner, scope, sinks)?;
        self.tail(node, &columns, scope)?;
        Ok(columns)
    }

    fn compound(
        &mut self,
        node: &SyntaxNode,
        scope: &Scope<'_>,
        sinks: Option<Sinks<'_>>,
        recursive: Option<(&str, &[String])>,
    ) -> Result<Columns> {
        let mut sides = node
            .children()
            .filter(|c| tree::is_query(c) || c.kind() == SyntaxKind::PAREN_EXPR);
        let (Some(left), Some(right)) = (sides.next(), sides.next()) else {
            self.generic(node, scope)?;
            return Ok(Columns::unknown());
        };
        let left = self.query(&left, scope, sinks)?;
        if let Some((name, names)) = recursive {
            let mut columns = left.clone();
            rename(&mut columns, names);
            self.ctes.push(Cte {
                name: name.to_owned(),
                columns,
            });
        }
        let right = self.query(&right, scope, sinks)?;
        if recursive.is_some() {
            self.ctes.pop();
        }
        let columns = united(left, &right);
        let all = node.children().any(|operator| {
            operator.kind() == SyntaxKind::UNION
                && tree::child(&operator, SyntaxKind::ALL).is_some()
        });
        if !all {
            self.made_distinct(node, &columns)?;
        }
        self.tail(node, &columns, scope)?;
        Ok(columns)
    }

    /// Rows are compared whole: random cells would never be equal.
    fn made_distinct(&self, node: &SyntaxNode, columns: &Columns) -> Result<()> {
        let rest = columns.rest.as_deref();
        for value in columns
            .listed
            .iter()
            .map(|column| &column.value)
            .chain(rest)
        {
            match value {
                Val::Cell(cell) => self.exact(node, cell)?,
                Val::Holds(cell) => {
                    return Err(self.cannot(node, cell, "be made distinct in this form"));
                }
                Val::Const | Val::Other => {}
            }
        }
        Ok(())
    }

    /// GROUP BY and DISTINCT ON: exact columns, by name, place or alias.
    fn grouped(&mut self, clause: &SyntaxNode, columns: &Columns, scope: &Scope<'_>) -> Result<()> {
        for child in clause.children() {
            if !tree::is_expr(&child) {
                self.grouped(&child, columns, scope)?;
                continue;
            }
            let bare = tree::bare(&child);
            let parts = match bare.kind() {
                SyntaxKind::TUPLE_EXPR => tree::exprs(&bare),
                _ => vec![bare],
            };
            for part in parts {
                let value = self.group(&part, columns, scope)?;
                match value {
                    Val::Cell(cell) => self.exact(&part, &cell)?,
                    Val::Holds(cell) => {
                        return Err(self.cannot(&part, &cell, "be grouped in this form"));
                    }
                    Val::Const | Val::Other => {}
                }
            }
        }
        Ok(())
    }

    /// GROUP BY looks for a column of FROM first, then for one of the result.
    fn group(&mut self, part: &SyntaxNode, columns: &Columns, scope: &Scope<'_>) -> Result<Val> {
        if part.kind() == SyntaxKind::NAME_REF
            && let Some(value @ (Val::Cell(_) | Val::Holds(_))) =
                scope.unqualified(&tree::name(part))
        {
            return Ok(value);
        }
        match self.output(part, columns) {
            Some(value) => Ok(value),
            None => self.eval(part, scope),
        }
    }

    fn ordered(&mut self, clause: &SyntaxNode, columns: &Columns, scope: &Scope<'_>) -> Result<()> {
        for sort in clause
            .descendants()
            .filter(|n| n.kind() == SyntaxKind::SORT_BY)
        {
            let Some(expr) = tree::expr(&sort) else {
                continue;
            };
            let bare = tree::bare(&expr);
            let value = match self.output(&bare, columns) {
                Some(value) => value,
                None => self.eval(&bare, scope)?,
            };
            if let Some(cell) = value.sealed() {
                return Err(self.cannot(&expr, cell, "be ordered"));
            }
        }
        Ok(())
    }

    /// What an output column, named or numbered, holds.
    fn output(&self, node: &SyntaxNode, columns: &Columns) -> Option<Val> {
        match node.kind() {
            SyntaxKind::NAME_REF => {
                let name = tree::name(node);
                let mut listed = columns.listed.iter();
                listed
                    .find(|c| c.name.as_deref() == Some(&name))
                    .map(|c| c.value.clone())
            }
            SyntaxKind::LITERAL => match tree::constant(node) {
                Ok(Constant::Integer(_)) if !columns.in_order => Some(columns.row()),
                Ok(Constant::Integer(place)) => {
                    let place = usize::try_from(place).ok()?.checked_sub(1)?;
                    columns.listed.get(place).map(|column| column.value.clone())
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// An item about which nothing else is known.
pub(super) fn item(alias: Option<String>, mut columns: Columns) -> Item {
    // A constant under a name can no longer be sealed where it stands.
    for column in &mut columns.listed {
        if matches!(column.value, Val::Const) {
            column.value = Val::Other;
        }
    }
    Item {
        alias,
        columns,
        client_column: None,
        client: ClientOf::Scope,
        pinned: false,
    }
}

/// The names in a column list below a node.
pub(super) fn column_names(node: &SyntaxNode) -> Vec<String> {
    let list = node.children().find(|c| {
        matches!(
            c.kind(),
            SyntaxKind::COLUMN_LIST | SyntaxKind::COLUMN_DEF_LIST
        )
    });
    let names = list.iter().flat_map(|list| list.descendants());
    names
        .filter(|n| n.kind() == SyntaxKind::COLUMN_NAME)
        .map(|n| tree::name(&n))
        .collect()
}

/// Gives columns the names of an alias list.
pub(super) fn rename(columns: &mut Columns, names: &[String]) {
    if names.is_empty() {
        return;
    }
    if !columns.in_order {
        let held = columns.row();
        *columns = Columns {
            listed: Vec::new(),
            rest: Some(Box::new(held)),
            in_order: false,
        };
        return;
    }
    for (column, name) in columns.listed.iter_mut().zip(names) {
        column.name = Some(name.clone());
    }
}

/// The columns of several items, one after the other.
pub(super) fn concatenated(items: &[Item]) -> Columns {
    let mut all = Columns {
        in_order: true,
        ..Columns::default()
    };
    for item in items {
        expand(&mut all, &item.columns, true);
    }
    all
}

fn expand(columns: &mut Columns, more: &Columns, in_order: bool) {
    columns.listed.extend(more.listed.iter().cloned());
    columns.in_order &= in_order && more.in_order && more.rest.is_none();
    if let Some(rest) = &more.rest
        && columns.rest.as_deref().and_then(Val::sealed).is_none()
    {
        columns.rest = Some(rest.clone());
    }
}

/// The columns of a UNION and the like.
fn united(left: Columns, right: &Columns) -> Columns {
    if !left.in_order || !right.in_order {
        let held = combine(&[left.row(), right.row()]).held();
        let rest = if held.sealed().is_some() {
            held
        } else {
            Val::Other
        };
        return Columns {
            listed: Vec::new(),
            rest: Some(Box::new(rest)),
            in_order: false,
        };
    }
    let mut columns = left;
    for (column, other) in columns.listed.iter_mut().zip(&right.listed) {
        column.value = combine(&[column.value.clone(), other.value.clone()]);
    }
    columns
}

fn is_star(expr: &SyntaxNode) -> bool {
    expr.kind() == SyntaxKind::FIELD_EXPR && tree::has_token(expr, SyntaxKind::STAR)
}

/// The name of an output column; `None`: PostgreSQL makes one up.
fn output_name(target: &SyntaxNode, expr: &SyntaxNode) -> Option<String> {
    if let Some(alias) = tree::child(target, SyntaxKind::AS_NAME) {
        return tree::child(&alias, SyntaxKind::COLUMN_NAME).map(|name| tree::name(&name));
    }
    let mut node = tree::bare(expr);
    while matches!(node.kind(), SyntaxKind::CAST_EXPR | SyntaxKind::COLLATE) {
        node = tree::bare(&tree::expr(&node)?);
    }
    match node.kind() {
        SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR => super::function::call_path(&node).pop(),
        SyntaxKind::CALL_EXPR => {
            let callee = node.children().next().filter(tree::is_expr)?;
            super::function::call_path(&callee).pop()
        }
        _ => None,
    }
}
