//! Queries: FROM, WHERE, target lists, set operations, WITH.

use std::rc::Rc;

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::function::combine;
use super::scope::{Column, Columns, Found, Item, Scope, Val, client_number};
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

/// A condition of a join.
struct Condition {
    node: SyntaxNode,
    /// Whether rows that do not meet it are left out.
    restricts: bool,
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
        self.from_and_where(node, from.as_ref(), &mut scope)?;
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

    /// Fills the scope from FROM (or USING), then judges WHERE.
    pub(super) fn from_and_where(
        &mut self,
        node: &SyntaxNode,
        from: Option<&SyntaxNode>,
        scope: &mut Scope<'_>,
    ) -> Result<()> {
        let mut conditions = Vec::new();
        for item in from.iter().flat_map(|from| from.children()) {
            self.from_item(&item, scope, &mut conditions)?;
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

    fn from_item(
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
    fn relation_item(&mut self, node: &SyntaxNode) -> Result<Item> {
        let parts = node
            .children()
            .find(|c| c.kind() == SyntaxKind::RELATION_NAME_REF)
            .map(|name| tree::path(&name))
            .unwrap_or_default();
        let alias = alias_of(node).or_else(|| parts.last().cloned());
        let names = tree::child(node, SyntaxKind::FROM_ALIAS).map(|a| column_names(&a));
        let names = names.unwrap_or_default();
        if let [name] = parts.as_slice() {
            if let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == *name) {
                let mut columns = cte.columns.clone();
                rename(&mut columns, &names);
                return Ok(item(alias, columns));
            }
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
                self.from_item(&child, scope, conditions)?;
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
            self.from_item(&left, scope, conditions)?;
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
                _ => self.from_item(&part, scope, conditions)?,
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
        if let (Some(row), Some(place)) = (row, sinks.client) {
            if let Some(node) = row.get(place) {
                client = self.client_of(node)?;
            }
        }
        let of_row = |target: &Option<Target>| {
            target.as_ref().map(|target| {
                let mut target = target.clone();
                if let Some(client) = client {
                    Rc::make_mut(&mut target.cell).client = client;
                }
                if let Use::Write { row } = &mut target.purpose {
                    if *row != Use::UPDATED {
                        *row = number;
                    }
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
                let value = match self.eval(&part, scope)? {
                    Val::Other | Val::Const => self.output(&part, columns).unwrap_or(Val::Other),
                    value => value,
                };
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

/// The alias that a FROM item is given.
fn alias_of(node: &SyntaxNode) -> Option<String> {
    let alias = tree::child(node, SyntaxKind::FROM_ALIAS)?;
    tree::child(&alias, SyntaxKind::TABLE_ALIAS).map(|name| tree::name(&name))
}

/// The names in a column list below a node.
fn column_names(node: &SyntaxNode) -> Vec<String> {
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
fn rename(columns: &mut Columns, names: &[String]) {
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
fn concatenated(items: &[Item]) -> Columns {
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
    if let Some(rest) = &more.rest {
        if columns.rest.as_deref().and_then(Val::sealed).is_none() {
            columns.rest = Some(rest.clone());
        }
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
