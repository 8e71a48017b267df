//! Definitions and maintenance (DDL), DO and CREATE FUNCTION: forwarded, unless a literal in them
//! could carry a value to a sealed column.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::function::is_text;
use super::scope::Scope;
use super::session::holds_literal;
use super::{Planner, Result};
use crate::Refusal;
use crate::tree::{self, Constant};

/// What a constraint has to be called for literals beside a sealed column to be allowed.
const SEALING_CONSTRAINT: &str = "sekisho_";

impl Planner<'_> {
    /// Any statement that defines or maintains something.
    pub(super) fn definition(&mut self, node: &SyntaxNode) -> Result<()> {
        let mut queries = Vec::new();
        outermost_queries(node, &mut queries);
        let before = self.sites.len();
        for query in &queries {
            self.query(query, &Scope::default(), None)?;
        }
        if let (true, Some(query)) = (self.sites.len() > before, queries.first()) {
            let literal = self.sites.get(before..).unwrap_or_default();
            let column = literal.first().map_or("", |site| site.column.as_str());
            let message =
                format!("a definition cannot hold a value for sealed column \"{column}\"");
            let refusal = Refusal::new("0A000", message)
                .hint("compare it in the statements that use the view or table");
            return Err(self.at(query, refusal));
        }
        self.named_relations(node, &queries)?;
        if self.sealed {
            for literal in node
                .descendants()
                .filter(|n| n.kind() == SyntaxKind::LITERAL)
            {
                if !queries
                    .iter()
                    .any(|query| literal.ancestors().any(|above| above == *query))
                {
                    self.literal_in_definition(node, &literal)?;
                }
            }
        }
        Ok(())
    }

    /// Pinned relations that a definition names, wherever its grammar lets it.
    fn named_relations(&mut self, node: &SyntaxNode, queries: &[SyntaxNode]) -> Result<()> {
        for path in node.descendants() {
            let outermost = path
                .parent()
                .is_none_or(|parent| parent.kind() != path.kind());
            let of_path =
                matches!(path.kind(), SyntaxKind::PATH | SyntaxKind::PATH_REF) && outermost;
            if !of_path
                || queries
                    .iter()
                    .any(|query| path.ancestors().any(|above| above == *query))
            {
                continue;
            }
            let mut parts = tree::path(&path);
            if self.pinned(&parts, &path)?.is_none() {
                // COMMENT ON COLUMN public.customers.phone
                parts.pop();
            }
            if let Some(relation) = self.pinned(&parts, &path)? {
                self.note_relation(&parts, relation, false);
            }
        }
        Ok(())
    }

    /// A literal may stand in a sealing constraint, in a comment, or in a clause that names no
    /// sealed column.
    fn literal_in_definition(&self, statement: &SyntaxNode, literal: &SyntaxNode) -> Result<()> {
        if !tree::tokens(literal).any(|token| is_text(token.kind()))
            || statement.kind() == SyntaxKind::COMMENT_ON
        {
            return Ok(());
        }
        for above in literal.ancestors() {
            let name = tree::child(&above, SyntaxKind::CONSTRAINT_NAME);
            let name = name.or_else(|| {
                tree::child(&above, SyntaxKind::CONSTRAINT_NAME_CLAUSE)
                    .and_then(|clause| tree::child(&clause, SyntaxKind::CONSTRAINT_NAME))
            });
            if name.is_some_and(|name| tree::name(&name).starts_with(SEALING_CONSTRAINT)) {
                return Ok(());
            }
            if above == *statement {
                break;
            }
        }
        let clause = literal
            .ancestors()
            .find(|above| is_clause(above) || above == statement);
        let Some(clause) = clause else { return Ok(()) };
        match self.sealed_name(&clause) {
            None => Ok(()),
            Some(column) => {
                let message =
                    format!("a literal beside sealed column \"{column}\" in a definition");
                let refusal = Refusal::new("0A000", message)
                    .hint("literals are allowed in CHECK constraints named sekisho_..., in comments, and in clauses that name no sealed column");
                Err(self.at(literal, refusal))
            }
        }
    }

    /// A sealed column that is named below a node, or a whole row that has one.
    fn sealed_name(&self, node: &SyntaxNode) -> Option<String> {
        node.descendants().find_map(|part| {
            let name = match part.kind() {
                SyntaxKind::LITERAL => compared_text(&part)?,
                SyntaxKind::NAME_REF
                | SyntaxKind::COLUMN_NAME
                | SyntaxKind::COLUMN_NAME_REF
                | SyntaxKind::PATH_SEGMENT
                | SyntaxKind::PATH_SEGMENT_REF => tree::name(&part),
                _ => return None,
            };
            let sealed = self.catalogue.relations().iter().any(|relation| {
                relation
                    .column(&name)
                    .is_some_and(|(_, column)| column.sealing.is_some())
            });
            let row = is_whole_row(&part)
                && (matches!(name.as_str(), "new" | "old")
                    || self.catalogue.named(&name).next().is_some());
            (sealed || row).then_some(name)
        })
    }

    /// DO, CREATE FUNCTION and CREATE PROCEDURE.
    pub(super) fn code(&mut self, node: &SyntaxNode) -> Result<()> {
        self.early = true;
        for literal in node
            .descendants()
            .filter(|n| n.kind() == SyntaxKind::LITERAL)
        {
            let constant =
                tree::constant(&literal).map_err(|refusal| self.at(&literal, refusal))?;
            let Constant::Text(body) = constant else {
                continue;
            };
            if self.catalogue.names(body.expose().as_bytes()) {
                self.sealed = true;
                if holds_literal(body.expose()) {
                    return Err(self.code_refused(&literal));
                }
            }
        }
        let before = self.relations.len();
        self.named_relations(node, &[])?;
        for item in node.descendants() {
            let of_query = matches!(
                item.kind(),
                SyntaxKind::RELATION_NAME_REF
                    | SyntaxKind::RELATION_NAME
                    | SyntaxKind::TABLE_NAME_REF
            );
            if of_query && self.relations.len() > before && body_literals(node) {
                return Err(self.code_refused(&item));
            }
        }
        Ok(())
    }

    fn code_refused(&self, node: &SyntaxNode) -> Refusal {
        let refusal = Refusal::new(
            "0A000",
            "code that names a sealed relation cannot hold literals",
        )
        .hint("pass values as arguments that are cells, or send the statements themselves");
        self.at(node, refusal)
    }
}

/// A literal that takes part in an operation may be the name of a field: `new.row->>'phone'`.
fn compared_text(literal: &SyntaxNode) -> Option<String> {
    literal
        .ancestors()
        .find(|above| above.kind() == SyntaxKind::BIN_EXPR)?;
    match tree::constant(literal) {
        Ok(Constant::Text(text)) => Some(text.expose().clone()),
        _ => None,
    }
}

/// Whether a name stands alone in an expression, so that it may be a whole row.
fn is_whole_row(node: &SyntaxNode) -> bool {
    let parent = node.parent().map(|parent| parent.kind());
    node.kind() == SyntaxKind::NAME_REF
        && !matches!(parent, Some(SyntaxKind::FIELD_EXPR | SyntaxKind::CALL_EXPR))
}

/// Whether a body in SQL's own grammar holds a literal.
fn body_literals(node: &SyntaxNode) -> bool {
    let bodies = node
        .descendants()
        .filter(|n| matches!(n.kind(), SyntaxKind::ATOMIC_BODY | SyntaxKind::RETURN_STMT));
    bodies
        .flat_map(|body| tree::tokens(&body))
        .any(|token| is_text(token.kind()))
}

/// Parts of a definition that a literal belongs to.
fn is_clause(node: &SyntaxNode) -> bool {
    matches!(
        node.kind(),
        SyntaxKind::COLUMN
            | SyntaxKind::CHECK_CONSTRAINT
            | SyntaxKind::EXCLUDE_CONSTRAINT
            | SyntaxKind::WHERE_CLAUSE
            | SyntaxKind::WITH_PARAMS
            | SyntaxKind::ATTRIBUTE_LIST
            | SyntaxKind::PARTITION_OF
            | SyntaxKind::ALTER_COLUMN
            | SyntaxKind::ADD_COLUMN
            | SyntaxKind::ADD_CONSTRAINT
            | SyntaxKind::PARTITION_ITEM
    )
}

/// The queries below a node that are in no other query or expression.
fn outermost_queries(node: &SyntaxNode, out: &mut Vec<SyntaxNode>) {
    for child in node.children() {
        let dml = matches!(
            child.kind(),
            SyntaxKind::INSERT | SyntaxKind::UPDATE | SyntaxKind::DELETE | SyntaxKind::MERGE
        );
        if tree::is_query(&child) || dml {
            out.push(child);
        } else if !tree::is_expr(&child) {
            outermost_queries(&child, out);
        }
    }
}
