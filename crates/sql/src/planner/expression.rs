//! Expressions: what each may hold, and that nothing sealed stands where it cannot.

use squawk_syntax::ast::{self, AstNode, BinOp};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::compare::{Comparison, inner_query};
use super::function::combine;
use super::scope::{Found, Scope, Val};
use super::{Planner, Result, cast_type};
use crate::Refusal;
use crate::tree;

/// Names that are no columns.
const FUNCTIONS_WITHOUT_PARENTHESES: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];

impl Planner<'_> {
    /// What an expression may hold. Visits each node below it once.
    pub(super) fn eval(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        match node.kind() {
            SyntaxKind::LITERAL => Ok(Val::Const),
            SyntaxKind::NAME_REF => self.column(node, scope),
            SyntaxKind::FIELD_EXPR => self.field(node, scope),
            SyntaxKind::PAREN_EXPR => self.paren(node, scope),
            SyntaxKind::BIN_EXPR => self.binary(node, scope),
            SyntaxKind::CALL_EXPR => self.call(node, scope),
            SyntaxKind::CAST_EXPR => self.cast(node, scope),
            SyntaxKind::CASE_EXPR => self.case(node, scope),
            SyntaxKind::ARRAY_EXPR => self.array(node, scope),
            SyntaxKind::TUPLE_EXPR => {
                let mut row = Val::Other;
                for part in tree::exprs(node) {
                    let value = self.eval(&part, scope)?;
                    if let (Val::Other, Some(cell)) = (&row, value.sealed()) {
                        row = Val::Holds(cell.clone());
                    }
                }
                Ok(row)
            }
            SyntaxKind::INDEX_EXPR => {
                let mut parts = tree::exprs(node).into_iter();
                let Some(base) = parts.next() else {
                    return Ok(Val::Other);
                };
                let value = self.eval(&base, scope)?;
                for index in parts {
                    self.plain(&index, scope)?;
                }
                Ok(match value {
                    Val::Const => Val::Other,
                    other => other.held(),
                })
            }
            SyntaxKind::COLLATE => match tree::expr(node) {
                Some(inner) => self.eval(&inner, scope),
                None => Ok(Val::Other),
            },
            SyntaxKind::POSTFIX_EXPR => self.postfix(node, scope),
            _ => {
                self.generic(node, scope)?;
                Ok(Val::Other)
            }
        }
    }

    /// Evaluates an expression that must not hold anything sealed.
    pub(super) fn plain(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<()> {
        let value = self.eval(node, scope)?;
        match value.sealed() {
            Some(cell) => Err(self.cannot(node, cell, "be used in this place")),
            None => Ok(()),
        }
    }

    /// Evaluates all expressions and queries below a node of any kind; nothing sealed may stand in
    /// them, except grouping and partitioning by exact columns.
    pub(super) fn generic(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<()> {
        let operation = operation(node);
        for child in node.children() {
            if tree::is_expr(&child) {
                let value = self.eval(&child, scope)?;
                match (&value, node.kind()) {
                    (Val::Cell(cell), SyntaxKind::PARTITION_BY_CLAUSE) => {
                        self.exact(&child, cell)?
                    }
                    _ => {
                        if let Some(cell) = value.sealed() {
                            return Err(self.cannot(&child, cell, &operation));
                        }
                    }
                }
            } else if tree::is_query(&child) {
                let columns = self.query_into(&child, scope, None)?;
                if let Some(cell) = columns.sealed() {
                    return Err(self.cannot(&child, cell, &operation));
                }
            } else {
                self.generic(&child, scope)?;
            }
        }
        Ok(())
    }

    fn paren(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        if let Some(query) = inner_query(node) {
            let columns = self.query_into(&query, scope, None)?;
            return Ok(match columns.listed.first() {
                Some(column) if columns.in_order => match &column.value {
                    Val::Const => Val::Other,
                    value => value.clone(),
                },
                _ => columns.row(),
            });
        }
        match tree::expr(node) {
            Some(inner) => self.eval(&inner, scope),
            None => {
                self.generic(node, scope)?;
                Ok(Val::Other)
            }
        }
    }

    /// A name without qualifier.
    fn column(&self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        let name = tree::name(node);
        if let Some(value) = scope.unqualified(&name) {
            return Ok(value);
        }
        let first = tree::tokens(node).next();
        match first.filter(|_| !FUNCTIONS_WITHOUT_PARENTHESES.contains(&name.as_str())) {
            None => Ok(Val::Other),
            Some(_) => {
                let message = format!("column \"{name}\" does not exist");
                let refusal = Refusal::new("42703", message)
                    .detail("By the pin, nothing in FROM has it; the statement was not sent.");
                Err(self.at(node, refusal))
            }
        }
    }

    /// `a.b`, `schema.a.b`, `(row).b`, `a.*`.
    fn field(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        let Some(base) = tree::expr(node) else {
            return Ok(Val::Other);
        };
        let whole = tree::has_token(node, SyntaxKind::STAR);
        let field = node
            .children()
            .filter(|c| c.kind() == SyntaxKind::NAME_REF)
            .last();
        let field = field.filter(|_| !whole).map(|field| tree::name(&field));
        let parts = match base.kind() {
            SyntaxKind::NAME_REF => vec![tree::name(&base)],
            SyntaxKind::FIELD_EXPR => super::function::call_path(&base),
            _ => Vec::new(),
        };
        if let (Some(alias), Some(field)) = (parts.last(), &field)
            && let Some(item) = scope.item(alias)
        {
            return match item.column(field) {
                Found::Value(value) => Ok(value),
                Found::Nothing => Ok(item.columns.row()),
                Found::NotPinned => {
                    let message = format!(
                        "relation \"{alias}\" is sealed and its pin has no column \"{field}\""
                    );
                    let refusal = Refusal::new("42703", message)
                        .hint("`sekisho doctor` shows how the live schema differs from its pin");
                    Err(self.at(node, refusal))
                }
            };
        }
        if let (Some(alias), true) = (parts.last(), whole) {
            return Ok(scope
                .item(alias)
                .map_or(Val::Other, |item| item.columns.row()));
        }
        if let Some(alias) = parts.last()
            && scope.item(alias).is_none()
            && self.catalogue.named(alias).next().is_some()
        {
            let message = format!("invalid reference to FROM-clause entry for table \"{alias}\"");
            let refusal =
                Refusal::new("42P01", message).hint("write the alias that FROM gives the table");
            return Err(self.at(node, refusal));
        }
        if base.kind() == SyntaxKind::PAREN_EXPR {
            let inner = tree::bare(&base);
            if let (SyntaxKind::NAME_REF, Some(field)) = (inner.kind(), &field)
                && let Some(item) = scope.item(&tree::name(&inner))
                && let Found::Value(value) = item.column(field)
            {
                return Ok(value);
            }
        }
        Ok(match self.eval(&base, scope)? {
            Val::Const => Val::Other,
            value => value.held(),
        })
    }

    fn binary(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        let Some(binary) = ast::BinExpr::cast(node.clone()) else {
            return Ok(Val::Other);
        };
        let (Some(left), Some(right)) = (binary.lhs(), binary.rhs()) else {
            self.generic(node, scope)?;
            return Ok(Val::Other);
        };
        let sides = (left.syntax(), right.syntax());
        match binary.op() {
            Some(BinOp::Eq(_)) => self.compare(node, Comparison::Equal, sides, scope, true),
            Some(BinOp::Neq(_) | BinOp::Neqb(_)) => {
                self.compare(node, Comparison::NotEqual, sides, scope, true)
            }
            Some(BinOp::IsNotDistinctFrom(_)) => {
                self.compare(node, Comparison::NotDistinct, sides, scope, true)
            }
            Some(BinOp::IsDistinctFrom(_)) => {
                self.compare(node, Comparison::Distinct, sides, scope, true)
            }
            Some(BinOp::In(_)) => self.within(node, false, sides, scope),
            Some(BinOp::NotIn(_)) => self.within(node, true, sides, scope),
            Some(BinOp::Is(_) | BinOp::IsNot(_)) => self.null_test(node, sides, scope),
            Some(BinOp::And(_) | BinOp::Or(_)) => {
                self.plain(sides.0, scope)?;
                self.plain(sides.1, scope)?;
                Ok(Val::Other)
            }
            Some(BinOp::OperatorCall(call)) => match operator_name(call.syntax()).as_str() {
                "=" => self.compare(node, Comparison::Equal, sides, scope, false),
                "<>" | "!=" => self.compare(node, Comparison::NotEqual, sides, scope, false),
                _ => self.operator(node, sides, scope),
            },
            _ => self.operator(node, sides, scope),
        }
    }

    /// Any operator that is no comparison of whole cells.
    fn operator(
        &mut self,
        node: &SyntaxNode,
        sides: (&SyntaxNode, &SyntaxNode),
        scope: &Scope<'_>,
    ) -> Result<Val> {
        let written: String = node
            .children_with_tokens()
            .filter(|part| part.as_node().is_none_or(|inner| !tree::is_expr(inner)))
            .filter(|part| !part.kind().is_trivia())
            .map(|part| part.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let left = self.eval(sides.0, scope)?;
        let right = self.eval(sides.1, scope)?;
        if let (Val::Holds(_), None, "->" | "->>" | "#>" | "#>>") =
            (&left, right.sealed(), written.as_str())
        {
            return Ok(left);
        }
        match left.sealed().or(right.sealed()) {
            Some(cell) => {
                let what = format!("be used with {}", written.to_uppercase());
                Err(self.cannot(node, cell, &what))
            }
            None => Ok(Val::Other),
        }
    }

    /// `x IS [NOT] NULL`, TRUE, ...: always possible.
    fn null_test(
        &mut self,
        node: &SyntaxNode,
        sides: (&SyntaxNode, &SyntaxNode),
        scope: &Scope<'_>,
    ) -> Result<Val> {
        let value = self.eval(sides.0, scope)?;
        let null = tree::has_token(sides.1, SyntaxKind::NULL_KW);
        match value.sealed() {
            Some(cell) if !null => {
                Err(self.cannot(node, cell, "be tested for this; only for NULL"))
            }
            _ => {
                if null {
                    self.neutral_parameter(sides.0);
                }
                Ok(Val::Other)
            }
        }
    }

    fn postfix(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        let null = tree::has_token(node, SyntaxKind::ISNULL_KW)
            || tree::has_token(node, SyntaxKind::NOTNULL_KW);
        let Some(inner) = tree::expr(node) else {
            return Ok(Val::Other);
        };
        if null {
            self.eval(&inner, scope)?;
            self.neutral_parameter(&inner);
        } else {
            self.plain(&inner, scope)?;
        }
        Ok(Val::Other)
    }

    /// A `$n` that is only tested for NULL may be sealed elsewhere.
    fn neutral_parameter(&mut self, node: &SyntaxNode) {
        let mut node = tree::bare(node);
        while node.kind() == SyntaxKind::CAST_EXPR {
            if !matches!(cast_type(&node).as_deref(), Some("text" | "varchar")) {
                return;
            }
            // Over several clients the parameter is an array; a cast to text keeps NULL as NULL.
            match tree::expr(&node) {
                Some(inner) => node = tree::bare(&inner),
                None => return,
            }
        }
        if node.kind() == SyntaxKind::LITERAL {
            self.neutral.insert(tree::range(&node).0);
        }
    }

    fn cast(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        let Some(inner) = tree::expr(node) else {
            return Ok(Val::Other);
        };
        let value = self.eval(&inner, scope)?;
        let to = cast_type(node);
        match &value {
            Val::Cell(cell) => match to.as_deref() {
                Some("text" | "varchar") => Ok(value),
                _ => Err(self.cannot(node, cell, "be cast to another type than text")),
            },
            Val::Holds(cell) => match to.as_deref() {
                Some("text" | "varchar" | "json" | "jsonb" | "text[]" | "varchar[]") => Ok(value),
                _ => Err(self.cannot(node, cell, "be cast to another type than text")),
            },
            Val::Const => match to.as_deref() {
                Some("text" | "varchar" | "text[]" | "varchar[]") => Ok(Val::Const),
                _ => Ok(Val::Other),
            },
            Val::Other => Ok(Val::Other),
        }
    }

    fn case(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        let operand = tree::expr(node);
        let mut results = Vec::new();
        for (condition, result) in branches(node) {
            match (&operand, &condition) {
                (Some(operand), Some(condition)) => {
                    let bare = tree::bare(operand);
                    if matches!(bare.kind(), SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR) {
                        let sides = (&bare, condition);
                        self.compare(condition, Comparison::Equal, sides, scope, false)?;
                    } else {
                        self.plain(condition, scope)?;
                    }
                }
                (None, Some(condition)) => self.plain(condition, scope)?,
                (_, None) => {}
            }
            results.push(self.eval(&result, scope)?);
        }
        if let Some(operand) = operand {
            let bare = tree::bare(&operand);
            if !matches!(bare.kind(), SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR) {
                self.plain(&operand, scope)?;
            }
        }
        Ok(combine(&results))
    }

    fn array(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        if let Some(query) = node.children().find(tree::is_query) {
            return Ok(self.query_into(&query, scope, None)?.row());
        }
        let mut held = None;
        let mut constant = true;
        for part in tree::exprs(node) {
            let value = self.eval(&part, scope)?;
            constant &= matches!(value, Val::Const);
            held = held.or(value.sealed().cloned());
        }
        Ok(match held {
            Some(cell) => Val::Holds(cell),
            None if constant => Val::Const,
            None => Val::Other,
        })
    }
}

/// The (condition, result) pairs of a CASE; ELSE has no condition.
pub(super) fn branches(case: &SyntaxNode) -> Vec<(Option<SyntaxNode>, SyntaxNode)> {
    let mut out = Vec::new();
    for list in case.children() {
        match list.kind() {
            SyntaxKind::WHEN_CLAUSE_LIST => {
                for when in list
                    .children()
                    .filter(|c| c.kind() == SyntaxKind::WHEN_CLAUSE)
                {
                    if let [condition, result] = tree::exprs(&when).as_slice() {
                        out.push((Some(condition.clone()), result.clone()));
                    }
                }
            }
            SyntaxKind::ELSE_CLAUSE => out.extend(tree::expr(&list).map(|result| (None, result))),
            _ => {}
        }
    }
    out
}

/// The operator in OPERATOR(schema.op).
fn operator_name(call: &SyntaxNode) -> String {
    tree::tokens(call)
        .filter(|token| {
            !token.kind().is_trivia()
                && token
                    .text()
                    .bytes()
                    .all(|byte| b"+-*/<>=~!@#%^&|`?".contains(&byte))
        })
        .map(|token| token.text().to_owned())
        .collect()
}

/// What a clause does, for a refusal.
fn operation(node: &SyntaxNode) -> String {
    match node.kind() {
        SyntaxKind::SORT_BY | SyntaxKind::ORDER_BY_CLAUSE => "be ordered".to_owned(),
        SyntaxKind::BETWEEN_EXPR => "be used with BETWEEN".to_owned(),
        SyntaxKind::SUBSTRING_FN | SyntaxKind::SUBSTRING_FROM_FOR | SyntaxKind::SUBSTRING_EXPRS => {
            "be an argument of function substring".to_owned()
        }
        _ => "be used in this place".to_owned(),
    }
}
