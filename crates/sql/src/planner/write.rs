//! INSERT, UPDATE, DELETE, MERGE: values on their way into sealed columns.

use std::rc::Rc;

use event::ClientSource;
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::expression::branches;
use super::query::{Sinks, item};
use super::scope::{Column, Columns, Item, Scope, Val};
use super::{Planner, Result, Target};
use crate::Refusal;
use crate::catalogue::Relation;
use crate::tree;
use crate::types::{ClientOf, Use};

impl<'a> Planner<'a> {
    /// Puts an expression into a sealed column (or compares it with one, where the target says
    /// so): constants in it become sites, cells in it have to be like the column's.
    pub(super) fn assign(
        &mut self,
        node: &SyntaxNode,
        target: &Target,
        scope: &Scope<'_>,
    ) -> Result<Val> {
        match node.kind() {
            SyntaxKind::LITERAL => {
                self.seal_literal(node, target)?;
                Ok(Val::Const)
            }
            SyntaxKind::PAREN_EXPR => {
                if let Some(query) = super::compare::inner_query(node) {
                    let sinks = [Some(target.clone())];
                    let columns = self.query_into(&query, scope, Some(&sinks))?;
                    let value = columns.listed.first().filter(|_| columns.in_order);
                    let value = value.map_or(Val::Other, |column| column.value.clone());
                    return self.fits(node, value, target);
                }
                match tree::expr(node) {
                    Some(inner) => self.assign(&inner, target, scope),
                    None => Err(self.no_constant(node, target)),
                }
            }
            SyntaxKind::CAST_EXPR => {
                self.text_cast(node, &target.cell)?;
                match tree::expr(node) {
                    Some(inner) => self.assign(&inner, target, scope),
                    None => Err(self.no_constant(node, target)),
                }
            }
            SyntaxKind::COLLATE => match tree::expr(node) {
                Some(inner) => self.assign(&inner, target, scope),
                None => Err(self.no_constant(node, target)),
            },
            SyntaxKind::CASE_EXPR => self.assign_case(node, target, scope),
            SyntaxKind::CALL_EXPR => self.assign_call(node, target, scope),
            _ => {
                let value = self.eval(node, scope)?;
                let value = if matches!(value, Val::Const) {
                    Val::Other
                } else {
                    value
                };
                self.fits(node, value, target)
            }
        }
    }

    fn assign_case(
        &mut self,
        node: &SyntaxNode,
        target: &Target,
        scope: &Scope<'_>,
    ) -> Result<Val> {
        if let Some(operand) = tree::expr(node) {
            self.plain(&operand, scope)?;
        }
        for (condition, result) in branches(node) {
            if let Some(condition) = condition {
                self.plain(&condition, scope)?;
            }
            self.assign(&result, target, scope)?;
        }
        Ok(Val::Const)
    }

    fn assign_call(
        &mut self,
        node: &SyntaxNode,
        target: &Target,
        scope: &Scope<'_>,
    ) -> Result<Val> {
        if let Some(arguments) = super::function::sealed_through(node, target) {
            for argument in arguments {
                self.assign(&argument, target, scope)?;
            }
            return Ok(Val::Const);
        }
        let value = self.eval(node, scope)?;
        let value = if matches!(value, Val::Const) {
            Val::Other
        } else {
            value
        };
        self.fits(node, value, target)
    }

    /// Whether a value that is no constant may go where the target says.
    fn fits(&self, node: &SyntaxNode, value: Val, target: &Target) -> Result<Val> {
        if target.purpose == Use::Search {
            return Ok(value);
        }
        match &value {
            Val::Const => Ok(value),
            Val::Cell(cell) if cell.sealing == target.cell.sealing => Ok(value),
            Val::Cell(cell) | Val::Holds(cell) => {
                let what = format!(
                    "be set from {}: class, domain or mode differs",
                    cell.label()
                );
                Err(self.cannot(node, &target.cell, &what))
            }
            Val::Other => Err(self.no_constant(node, target)),
        }
    }

    /// The target of a data-modifying statement, if it is pinned.
    fn written(
        &mut self,
        node: &SyntaxNode,
        parts: &[String],
        by_position: bool,
    ) -> Result<Option<(&'a Relation, usize)>> {
        let Some(relation) = self.pinned(parts, node)? else {
            return Ok(None);
        };
        let index = self.note_relation(parts, relation, by_position);
        Ok(Some((relation, index)))
    }

    fn target_item(
        &mut self,
        node: &SyntaxNode,
        parts: &[String],
        by_position: bool,
    ) -> Result<(Item, Option<&'a Relation>)> {
        let alias = node
            .children()
            .find(|c| {
                matches!(
                    c.kind(),
                    SyntaxKind::OPTIONAL_AS_ALIAS | SyntaxKind::REQUIRED_AS_ALIAS
                )
            })
            .and_then(|alias| tree::child(&alias, SyntaxKind::TABLE_ALIAS))
            .map(|name| tree::name(&name))
            .or_else(|| parts.last().cloned());
        Ok(match self.written(node, parts, by_position)? {
            None => (item(alias, Columns::unknown()), None),
            Some((relation, index)) => {
                let client_column = match &relation.client {
                    ClientSource::Column(name) => Some(name.clone()),
                    _ => None,
                };
                let columns = self.columns_of(relation, index);
                (
                    Item {
                        client_column,
                        pinned: true,
                        ..item(alias, columns)
                    },
                    Some(relation),
                )
            }
        })
    }

    pub(super) fn insert(&mut self, node: &SyntaxNode, parent: &Scope<'_>) -> Result<Columns> {
        let parts = tree::child(node, SyntaxKind::RELATION_NAME_REF)
            .map(|name| tree::path(&name))
            .unwrap_or_default();
        let list = tree::child(node, SyntaxKind::COLUMN_TARGET_LIST);
        let (target, relation) = self.target_item(node, &parts, list.is_none())?;
        let names = self.written_columns(list.as_ref(), relation)?;
        let targets = self.column_targets(node, &names, &target, 0)?;
        let client = names
            .iter()
            .position(|name| target.client_column.as_ref() == Some(name));
        if let (Some(list), Some(target)) = (&list, targets.iter().flatten().next())
            && has_accessor(list)
        {
            return Err(self.cannot(list, &target.cell, "be set in part"));
        }
        let before = self.sites.len();
        let source = node.children().find(tree::is_query);
        if let Some(source) = &source {
            let sinks = Sinks {
                targets: &targets,
                client,
            };
            let columns = self.query(source, parent, relation.map(|_| sinks))?;
            if relation.is_some() {
                self.fill(source, &columns, &targets)?;
            }
        }
        // A row that conflicts is taken to be of the client that all new rows are of.
        let mut target = target;
        let mut clients = self
            .sites
            .get(before..)
            .unwrap_or_default()
            .iter()
            .map(|s| s.client);
        if let Some(client) = clients.next()
            && clients.all(|other| other == client)
            && target.client_column.is_some()
        {
            target.set_client(client);
        }
        let mut scope = parent.child();
        scope.items.push(target.clone());
        if let Some(conflict) = tree::child(node, SyntaxKind::ON_CONFLICT_CLAUSE) {
            self.on_conflict(&conflict, &target, &scope)?;
        }
        self.returning(node, &scope)
    }

    /// The names of the columns that an INSERT fills.
    fn written_columns(
        &mut self,
        list: Option<&SyntaxNode>,
        relation: Option<&Relation>,
    ) -> Result<Vec<String>> {
        let Some(list) = list else {
            let columns = relation.iter().flat_map(|relation| &relation.columns);
            return Ok(columns.map(|column| column.name.clone()).collect());
        };
        Ok(list
            .children()
            .filter(|c| c.kind() == SyntaxKind::COLUMN_TARGET)
            .map(|target| column_name(&target))
            .collect())
    }

    /// How each of the named columns of a pinned relation is sealed.
    fn column_targets(
        &mut self,
        node: &SyntaxNode,
        names: &[String],
        target: &Item,
        row: u32,
    ) -> Result<Vec<Option<Target>>> {
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            out.push(self.column_target(node, name, target, row)?);
        }
        Ok(out)
    }

    fn column_target(
        &mut self,
        node: &SyntaxNode,
        name: &str,
        target: &Item,
        row: u32,
    ) -> Result<Option<Target>> {
        if !target.pinned {
            return Ok(None);
        }
        let mut listed = target.columns.listed.iter();
        match listed.find(|column| column.name.as_deref() == Some(name)) {
            Some(Column {
                value: Val::Cell(cell),
                ..
            }) => Ok(Some(Target {
                cell: cell.clone(),
                purpose: Use::Write { row },
            })),
            Some(Column {
                value: Val::Holds(cell),
                ..
            }) => Err(self.cannot(node, cell, "be written through this view")),
            Some(_) => Ok(None),
            None => {
                let message = format!("the pin has no column \"{name}\" in this sealed relation");
                Err(self.at(node, Refusal::new("42703", message)))
            }
        }
    }

    /// Whether the columns of an INSERT's source fit: those that sinks did not reach too.
    fn fill(
        &mut self,
        source: &SyntaxNode,
        columns: &Columns,
        targets: &[Option<Target>],
    ) -> Result<()> {
        for (place, target) in targets.iter().enumerate() {
            let listed = columns.listed.get(place);
            match (target, listed) {
                (Some(target), Some(column)) if columns.in_order => {
                    self.fits(source, column.value.clone(), target)?;
                }
                (Some(_), None) if columns.in_order => {}
                (Some(target), _) => return Err(self.no_constant(source, target)),
                (None, Some(column)) if columns.in_order => {
                    if let Some(cell) = column.value.sealed() {
                        return Err(self.cannot(
                            source,
                            cell,
                            "be stored in a column that is not sealed like it",
                        ));
                    }
                }
                (None, _) => {}
            }
        }
        Ok(())
    }

    fn on_conflict(
        &mut self,
        conflict: &SyntaxNode,
        target: &Item,
        scope: &Scope<'_>,
    ) -> Result<()> {
        let mut inner = scope.child();
        let mut excluded = target.clone();
        excluded.alias = Some("excluded".to_owned());
        inner.items.push(excluded);
        for part in conflict.children() {
            match part.kind() {
                SyntaxKind::CONFLICT_ON_INDEX => {
                    for node in part
                        .descendants()
                        .filter(|n| n.kind() == SyntaxKind::CONFLICT_INDEX_ITEM)
                    {
                        for expr in tree::exprs(&node) {
                            match self.eval(&expr, scope)? {
                                Val::Cell(cell) => self.exact(&expr, &cell)?,
                                Val::Holds(cell) => {
                                    return Err(self.cannot(&expr, &cell, "be used in this place"));
                                }
                                Val::Const | Val::Other => {}
                            }
                        }
                    }
                    if let Some(clause) = tree::child(&part, SyntaxKind::WHERE_CLAUSE) {
                        self.generic(&clause, scope)?;
                    }
                }
                SyntaxKind::CONFLICT_DO_UPDATE_SET => {
                    let mut own = target.clone();
                    if let Some(clause) = tree::child(&part, SyntaxKind::SET_CLAUSE) {
                        own.alias.clone_from(&target.alias);
                        self.set_clause(&clause, &own, &inner)?;
                    }
                    if let Some(clause) = tree::child(&part, SyntaxKind::WHERE_CLAUSE) {
                        self.generic(&clause, &inner)?;
                    }
                }
                _ => self.generic(&part, &inner)?,
            }
        }
        Ok(())
    }

    /// `SET a = ..., (b, c) = (...)`.
    fn set_clause(&mut self, clause: &SyntaxNode, target: &Item, scope: &Scope<'_>) -> Result<()> {
        let columns: Vec<SyntaxNode> = clause
            .descendants()
            .filter(|n| {
                matches!(
                    n.kind(),
                    SyntaxKind::SET_SINGLE_COLUMN | SyntaxKind::SET_MULTIPLE_COLUMNS
                )
            })
            .collect();
        let client = self.client_set(&columns, target)?;
        for column in &columns {
            let mut names = Vec::new();
            for target_node in column
                .descendants()
                .filter(|n| n.kind() == SyntaxKind::COLUMN_TARGET)
            {
                names.push(column_name(&target_node));
            }
            let mut targets = self.column_targets(column, &names, target, Use::UPDATED)?;
            for target in targets.iter_mut().flatten() {
                if let Some(client) = client {
                    Rc::make_mut(&mut target.cell).client = client;
                }
            }
            if let (Some(target), true) = (targets.iter().flatten().next(), has_accessor(column)) {
                return Err(self.cannot(column, &target.cell, "be set in part"));
            }
            if column.kind() == SyntaxKind::SET_SINGLE_COLUMN {
                let value = tree::child(column, SyntaxKind::SET_EXPR).and_then(|v| tree::expr(&v));
                if let Some(value) = value {
                    self.set_one(&value, targets.first().and_then(Option::as_ref), scope)?;
                }
                continue;
            }
            if let Some(query) = column.children().find(tree::is_query) {
                let sinks = Sinks {
                    targets: &targets,
                    client: None,
                };
                let columns = self.query(&query, scope, Some(sinks))?;
                self.fill(&query, &columns, &targets)?;
                continue;
            }
            let list = tree::child(column, SyntaxKind::SET_EXPR_LIST);
            let values = list.iter().flat_map(|list| list.children());
            for (place, value) in values
                .filter(|c| c.kind() == SyntaxKind::SET_EXPR)
                .enumerate()
            {
                if let Some(value) = tree::expr(&value) {
                    self.set_one(&value, targets.get(place).and_then(Option::as_ref), scope)?;
                }
            }
        }
        Ok(())
    }

    fn set_one(
        &mut self,
        value: &SyntaxNode,
        target: Option<&Target>,
        scope: &Scope<'_>,
    ) -> Result<()> {
        match target {
            Some(target) => self.assign(value, target, scope).map(|_| ()),
            None => match self.eval(value, scope)?.sealed() {
                Some(cell) => Err(self.cannot(
                    value,
                    cell,
                    "be stored in a column that is not sealed like it",
                )),
                None => Ok(()),
            },
        }
    }

    /// The client that `SET client = ...` moves rows to.
    fn client_set(&mut self, columns: &[SyntaxNode], target: &Item) -> Result<Option<ClientOf>> {
        for column in columns
            .iter()
            .filter(|c| c.kind() == SyntaxKind::SET_SINGLE_COLUMN)
        {
            let name = tree::child(column, SyntaxKind::COLUMN_TARGET).map(|t| column_name(&t));
            if name.is_some() && name == target.client_column {
                let value = tree::child(column, SyntaxKind::SET_EXPR).and_then(|v| tree::expr(&v));
                if let Some(value) = value {
                    return self.client_of(&value);
                }
            }
        }
        Ok(None)
    }

    pub(super) fn update(&mut self, node: &SyntaxNode, parent: &Scope<'_>) -> Result<Columns> {
        let parts = tree::child(node, SyntaxKind::RELATION_NAME)
            .map(|name| tree::path(&name))
            .unwrap_or_default();
        let (target, _) = self.target_item(node, &parts, false)?;
        let mut scope = parent.child();
        scope.items.push(target);
        let from = tree::child(node, SyntaxKind::FROM_CLAUSE);
        self.read_from_and_where(node, from.as_ref(), &mut scope)?;
        if let Some(portion) = tree::child(node, SyntaxKind::FOR_PORTION_OF) {
            self.generic(&portion, &scope)?;
        }
        let target = scope.items.first().cloned();
        if let (Some(clause), Some(target)) = (tree::child(node, SyntaxKind::SET_CLAUSE), target) {
            self.set_clause(&clause, &target, &scope)?;
        }
        self.returning(node, &scope)
    }

    pub(super) fn delete(&mut self, node: &SyntaxNode, parent: &Scope<'_>) -> Result<Columns> {
        let parts = tree::child(node, SyntaxKind::RELATION_NAME)
            .map(|name| tree::path(&name))
            .unwrap_or_default();
        let (target, _) = self.target_item(node, &parts, false)?;
        let mut scope = parent.child();
        scope.items.push(target);
        let using = tree::child(node, SyntaxKind::USING_CLAUSE);
        self.read_from_and_where(node, using.as_ref(), &mut scope)?;
        self.returning(node, &scope)
    }

    /// MERGE: refused by name as soon as it names anything sealed.
    pub(super) fn merge(&mut self, node: &SyntaxNode, _: &Scope<'_>) -> Result<Columns> {
        for name in node.descendants().filter(|n| {
            matches!(
                n.kind(),
                SyntaxKind::TABLE_NAME_REF | SyntaxKind::RELATION_NAME_REF
            )
        }) {
            if let Some(relation) = self.pinned(&tree::path(&name), &name)? {
                let message = format!("MERGE is not possible on sealed relation {}", relation.name);
                let refusal = Refusal::new("0A000", message)
                    .hint("use INSERT ... ON CONFLICT, or UPDATE and INSERT");
                return Err(self.at(&name, refusal));
            }
        }
        Ok(Columns::unknown())
    }

    fn returning(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Columns> {
        let Some(clause) = tree::child(node, SyntaxKind::RETURNING_CLAUSE) else {
            return Ok(Columns {
                in_order: true,
                ..Columns::default()
            });
        };
        let mut hidden = scope.child();
        if let Some(target) = scope.items.first() {
            for (kind, usual) in [
                (SyntaxKind::RETURNING_OLD, "old"),
                (SyntaxKind::RETURNING_NEW, "new"),
            ] {
                let alias = clause.descendants().find(|n| n.kind() == kind);
                let alias = alias.and_then(|n| tree::child(&n, SyntaxKind::TABLE_ALIAS));
                let alias = alias.map_or_else(|| usual.to_owned(), |name| tree::name(&name));
                hidden.items.push(Item {
                    alias: Some(alias),
                    ..target.clone()
                });
            }
        }
        let mut inner = hidden.child();
        inner.items.clone_from(&scope.items);
        inner.merged = scope.merged;
        match tree::child(&clause, SyntaxKind::TARGET_LIST) {
            Some(list) => self.targets(&list, &inner, None),
            None => Ok(Columns::default()),
        }
    }
}

/// Whether a SET or INSERT writes to an element of a column: `a[1]`, `a.b`.
fn has_accessor(node: &SyntaxNode) -> bool {
    let mut targets = node
        .descendants()
        .filter(|n| n.kind() == SyntaxKind::COLUMN_TARGET);
    targets.any(|target| {
        target
            .children()
            .any(|c| c.kind() != SyntaxKind::COLUMN_NAME_REF)
    })
}

/// The column that a COLUMN_TARGET names.
fn column_name(target: &SyntaxNode) -> String {
    tree::child(target, SyntaxKind::COLUMN_NAME_REF)
        .map(|n| tree::name(&n))
        .unwrap_or_default()
}
