//! Function calls: which carry cells whole, which are harmless, which are neither.

use std::rc::Rc;

use event::{Class, Domain, Mode, Sealing};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::compare::Comparison;
use super::scope::{CellRef, Scope, Val};
use super::{Planner, Result, Target};
use crate::tree;
use crate::types::ClientOf;

/// Functions whose result carries whole cells of their arguments.
const CONTAINERS: &[&str] = &[
    "array_agg",
    "array_append",
    "array_cat",
    "array_prepend",
    "array_to_json",
    "first_value",
    "json_agg",
    "json_array_elements",
    "json_array_elements_text",
    "json_build_array",
    "json_build_object",
    "json_each",
    "json_each_text",
    "json_object_agg",
    "json_strip_nulls",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_agg",
    "jsonb_strip_nulls",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "row_to_json",
    "to_json",
    "to_jsonb",
    "unnest",
    "row",
];

/// Functions that only count or measure what holds cells.
const COUNTERS: &[&str] = &[
    "count",
    "num_nulls",
    "num_nonnulls",
    "array_length",
    "cardinality",
    "json_array_length",
    "grouping",
    "jsonb_array_length",
    "pg_column_size",
];

/// Built-in functions that write nothing and tell nobody: probes may ride along with them.
const HARMLESS: &[&str] = &[
    "abs",
    "age",
    "array_length",
    "array_position",
    "array_remove",
    "array_to_string",
    "avg",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "ceil",
    "ceiling",
    "char_length",
    "clock_timestamp",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "current_database",
    "current_date",
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_timestamp",
    "current_user",
    "date_part",
    "date_trunc",
    "dense_rank",
    "encode",
    "every",
    "extract",
    "floor",
    "format",
    "format_type",
    "gen_random_uuid",
    "generate_series",
    "generate_subscripts",
    "greatest",
    "has_schema_privilege",
    "has_table_privilege",
    "initcap",
    "jsonb_set",
    "least",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_interval",
    "max",
    "md5",
    "min",
    "mod",
    "mode",
    "now",
    "ntile",
    "nullif",
    "num_nonnulls",
    "num_nulls",
    "obj_description",
    "octet_length",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "pg_column_size",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_indexdef",
    "pg_get_viewdef",
    "pg_table_is_visible",
    "position",
    "power",
    "random",
    "rank",
    "regexp_matches",
    "regexp_replace",
    "regexp_split_to_array",
    "regexp_split_to_table",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "rpad",
    "rtrim",
    "session_user",
    "sign",
    "split_part",
    "sqrt",
    "starts_with",
    "statement_timestamp",
    "stddev",
    "string_agg",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "sum",
    "timezone",
    "to_char",
    "to_date",
    "to_number",
    "to_timestamp",
    "transaction_timestamp",
    "translate",
    "trim",
    "trunc",
    "upper",
    "variance",
    "version",
    "width_bucket",
];

impl Planner<'_> {
    /// A CALL_EXPR.
    pub(super) fn call(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Result<Val> {
        let Some(callee) = node.children().next() else {
            return Ok(Val::Other);
        };
        if !tree::is_expr(&callee) {
            return self.special(node, &callee, scope);
        }
        let parts = call_path(&callee);
        let name = match parts.as_slice() {
            [name] => name.as_str(),
            [schema, name] if schema == "pg_catalog" => name.as_str(),
            [.., name] => {
                self.early = true;
                if self.catalogue.is_sealed_function(name) {
                    name.as_str()
                } else {
                    ""
                }
            }
            [] => "",
        };
        let arguments: Vec<SyntaxNode> = tree::child(node, SyntaxKind::ARG_LIST)
            .map(|list| {
                list.children()
                    .filter(|c| c.kind() == SyntaxKind::ARG)
                    .collect()
            })
            .unwrap_or_default();
        let value = self.called(node, name, &arguments, scope)?;
        for clause in node.children() {
            match clause.kind() {
                SyntaxKind::FILTER_CLAUSE | SyntaxKind::OVER_CLAUSE => {
                    self.generic(&clause, scope)?
                }
                SyntaxKind::WITHIN_CLAUSE => self.generic(&clause, scope)?,
                _ => {}
            }
        }
        Ok(value)
    }

    fn called(
        &mut self,
        node: &SyntaxNode,
        name: &str,
        arguments: &[SyntaxNode],
        scope: &Scope<'_>,
    ) -> Result<Val> {
        let inner: Vec<SyntaxNode> = arguments.iter().filter_map(argument).collect();
        for argument in arguments {
            if let Some(order) = tree::child(argument, SyntaxKind::ORDER_BY_CLAUSE) {
                self.generic(&order, scope)?;
            }
        }
        if name == "nullif" && inner.len() == 2 {
            let (Some(one), Some(other)) = (inner.first(), inner.last()) else {
                return Ok(Val::Other);
            };
            return self.nullif(node, one, other, scope);
        }
        let mut values = Vec::with_capacity(inner.len());
        for argument in &inner {
            values.push(self.eval(argument, scope)?);
        }
        if self.catalogue.is_sealed_function(name) {
            return self.sealed_function(node, name, &values);
        }
        let distinct = tree::child(node, SyntaxKind::ARG_LIST)
            .is_some_and(|list| tree::child(&list, SyntaxKind::DISTINCT).is_some());
        let sealed = values.iter().find_map(Val::sealed).cloned();
        if let (true, Some(cell)) = (distinct, &sealed) {
            if !matches!(values.first(), Some(Val::Cell(_))) {
                return Err(self.cannot(node, cell, "be made distinct in this form"));
            }
            self.exact(node, cell)?;
        }
        if name == "coalesce" {
            return Ok(combine(&values));
        }
        if CONTAINERS.contains(&name) {
            return Ok(sealed.map_or(Val::Other, Val::Holds));
        }
        if let (Some(cell), false) = (&sealed, COUNTERS.contains(&name)) {
            let what = match name {
                "min" | "max" => "be ordered, so it has no min or max".to_owned(),
                "" => "be an argument of this function".to_owned(),
                _ => format!("be an argument of function {name}"),
            };
            return Err(self.cannot(node, cell, &what));
        }
        self.sets |= name == "set_config";
        if !HARMLESS.contains(&name) && !COUNTERS.contains(&name) {
            self.early = true;
        }
        Ok(Val::Other)
    }

    fn nullif(
        &mut self,
        node: &SyntaxNode,
        one: &SyntaxNode,
        other: &SyntaxNode,
        scope: &Scope<'_>,
    ) -> Result<Val> {
        let bare = tree::bare(one);
        if matches!(bare.kind(), SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR) {
            self.compare(node, Comparison::Equal, (one, other), scope, false)?;
            return self.eval(&bare, scope);
        }
        let (left, right) = (self.eval(one, scope)?, self.eval(other, scope)?);
        match (left.sealed(), right.sealed()) {
            (None, None) => Ok(combine(&[left, right])),
            (Some(cell), _) | (_, Some(cell)) => {
                Err(self.cannot(node, cell, "be compared in this form of NULLIF"))
            }
        }
    }

    /// A call of a function whose body names something sealed.
    fn sealed_function(&mut self, node: &SyntaxNode, name: &str, values: &[Val]) -> Result<Val> {
        self.sealed = true;
        self.early = true;
        if values.iter().any(|value| matches!(value, Val::Const))
            && tree::tokens(node).any(|token| is_text(token.kind()))
        {
            return Err(self.values_in_clear(node, name));
        }
        Ok(Val::Holds(Rc::new(CellRef {
            sealing: Sealing {
                class: Class::FreeText,
                domain: Domain(0),
                mode: Mode::Random,
            },
            relation: usize::MAX,
            relation_name: "function".to_owned(),
            column: name.to_owned(),
            client: ClientOf::Scope,
        })))
    }

    /// A call that has a grammar of its own: EXISTS, SUBSTRING, JSON_OBJECT, ...
    fn special(
        &mut self,
        node: &SyntaxNode,
        function: &SyntaxNode,
        scope: &Scope<'_>,
    ) -> Result<Val> {
        match function.kind() {
            SyntaxKind::EXISTS_FN => {
                for query in function.children().filter(tree::is_query) {
                    self.query_into(&query, scope, None)?;
                }
            }
            _ => self.generic(node, scope)?,
        }
        Ok(Val::Other)
    }
}

/// Strings and parameters.
pub(super) fn is_text(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::STRING
            | SyntaxKind::ESC_STRING
            | SyntaxKind::UNICODE_ESC_STRING
            | SyntaxKind::NATIONAL_STRING
            | SyntaxKind::DOLLAR_QUOTED_STRING
            | SyntaxKind::POSITIONAL_PARAM
    )
}

/// The value of COALESCE and CASE.
pub(super) fn combine(values: &[Val]) -> Val {
    let mut cells = values.iter().filter_map(Val::sealed);
    let Some(first) = cells.next() else {
        let constant = values.iter().all(|value| matches!(value, Val::Const));
        return if constant { Val::Const } else { Val::Other };
    };
    let whole = values.iter().all(|value| match value {
        Val::Cell(cell) => cell.sealing == first.sealing && cell.client == first.client,
        _ => false,
    });
    if whole {
        Val::Cell(first.clone())
    } else {
        Val::Holds(first.clone())
    }
}

/// The expression of an ARG.
fn argument(node: &SyntaxNode) -> Option<SyntaxNode> {
    tree::expr(node)
        .or_else(|| tree::child(node, SyntaxKind::NAMED_ARG).and_then(|n| tree::expr(&n)))
}

/// The name parts of what is called.
pub(super) fn call_path(callee: &SyntaxNode) -> Vec<String> {
    callee
        .descendants()
        .filter(|part| part.kind() == SyntaxKind::NAME_REF)
        .map(|part| tree::name(&part))
        .collect()
}

/// The arguments of COALESCE (and, for exact columns, NULLIF), through which sealing is pushed.
pub(super) fn sealed_through(node: &SyntaxNode, target: &Target) -> Option<Vec<SyntaxNode>> {
    let callee = node.children().next().filter(tree::is_expr)?;
    let parts = call_path(&callee);
    let through = match parts
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["coalesce"] => true,
        ["nullif"] => target.cell.sealing.mode == Mode::Exact,
        _ => false,
    };
    let list = tree::child(node, SyntaxKind::ARG_LIST).filter(|_| through)?;
    Some(list.children().filter_map(|node| argument(&node)).collect())
}
