//! One statement: what kind it is, and which part of the planner judges it.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::scope::Scope;
use super::session::{named, setting};
use super::{Planner, Result};
use crate::tree;
use crate::types::{Kind, Statement};
use crate::{Catalogue, PROBES_RIDING_MAX, Refusal, SessionNames, Settings};

/// Plans one statement of a text. `text` is the whole text with conforming strings.
pub(crate) fn plan_statement(
    text: &str,
    node: &SyntaxNode,
    catalogue: &Catalogue,
    settings: &Settings,
    names: &dyn SessionNames,
) -> Result<Statement> {
    let (start, end) = tree::range(node);
    let semicolon = node
        .children_with_tokens()
        .filter(|element| element.kind() == SyntaxKind::SEMICOLON)
        .last();
    let end = semicolon.map_or(end, |token| usize::from(token.text_range().start()));
    let own = text.get(start..end).unwrap_or_default().trim_end();
    let mut planner = Planner::new(text, start, catalogue, settings, names);
    let mut parameters = Vec::new();
    let kind = if catalogue.mentions(own.as_bytes()) {
        let kind = planner.kind(node, true)?;
        parameters = planner.finish(node)?;
        match (kind, prepared_statement(node)) {
            (Kind::Prepare { inner, .. }, Some(query)) => {
                let parameters = std::mem::take(&mut parameters);
                planner.prepared(node, &query, inner.kind, parameters)?
            }
            (kind, _) => kind,
        }
    } else {
        planner.kind(node, false)?
    };
    planner.early |= planner.values > PROBES_RIDING_MAX;
    Ok(Statement {
        text: own.to_owned(),
        offset: 0,
        kind,
        sealed: planner.sealed,
        shape: planner.shape(node),
        early: planner.early,
        sets: planner.sets,
        sites: planner.sites,
        relations: planner.relations,
        parameters,
        edits: if planner.sealed {
            planner.edits
        } else {
            Vec::new()
        },
        inserted: Vec::new(),
    })
}

/// The query that PREPARE prepares.
fn prepared_statement(node: &SyntaxNode) -> Option<SyntaxNode> {
    if node.kind() != SyntaxKind::PREPARE {
        return None;
    }
    node.children().find(is_plannable)
}

fn is_plannable(node: &SyntaxNode) -> bool {
    tree::is_query(node)
        || matches!(
            node.kind(),
            SyntaxKind::INSERT | SyntaxKind::UPDATE | SyntaxKind::DELETE | SyntaxKind::MERGE
        )
}

impl Planner<'_> {
    /// What a statement does. `deep`: it may name something sealed, so that all of it is judged.
    fn kind(&mut self, node: &SyntaxNode, deep: bool) -> Result<Kind> {
        if is_plannable(node) {
            if deep {
                self.query(node, &Scope::default(), None)?;
            }
            return Ok(plannable_kind(node));
        }
        if let Some(kind) = transaction_kind(node) {
            return Ok(kind);
        }
        match node.kind() {
            SyntaxKind::COPY => self.copy(node),
            SyntaxKind::PREPARE => self.prepare(node, deep),
            SyntaxKind::EXECUTE => self.execute(node),
            SyntaxKind::EXPLAIN => self.explain(node, deep),
            SyntaxKind::DECLARE => {
                if let (Some(query), true) = (node.children().find(tree::is_query), deep) {
                    self.query(&query, &Scope::default(), None)?;
                }
                let hold = tree::child(node, SyntaxKind::WITH_HOLD).is_some();
                Ok(Kind::DeclareCursor {
                    name: named(node, SyntaxKind::CURSOR),
                    hold,
                })
            }
            SyntaxKind::FETCH | SyntaxKind::MOVE => {
                let cursor = named(node, SyntaxKind::CURSOR_REF);
                self.sealed |= self.names.cursor_is_sealed(&cursor);
                Ok(Kind::Fetch { cursor })
            }
            SyntaxKind::SET => self.set(node),
            SyntaxKind::DO => {
                self.code(node)?;
                Ok(Kind::Do)
            }
            SyntaxKind::CALL => self.call_procedure(node),
            SyntaxKind::CREATE_FUNCTION | SyntaxKind::CREATE_PROCEDURE => {
                self.code(node)?;
                Ok(Kind::Ddl)
            }
            SyntaxKind::CREATE_TABLE_AS => self.table_as(node, deep),
            _ => match simple_kind(node) {
                Some(kind) => Ok(kind),
                None if deep => {
                    self.definition(node)?;
                    Ok(Kind::Ddl)
                }
                None => Ok(Kind::Ddl),
            },
        }
    }

    fn prepare(&mut self, node: &SyntaxNode, deep: bool) -> Result<Kind> {
        let Some(query) = prepared_statement(node) else {
            return Ok(Kind::Other);
        };
        if deep {
            self.query(&query, &Scope::default(), None)?;
        }
        let inner = Statement {
            text: query.text().to_string(),
            offset: 0,
            kind: plannable_kind(&query),
            sealed: false,
            sites: Vec::new(),
            relations: Vec::new(),
            parameters: Vec::new(),
            early: false,
            sets: false,
            shape: String::new(),
            edits: Vec::new(),
            inserted: Vec::new(),
        };
        let name = named(node, SyntaxKind::PREPARED_STATEMENT);
        Ok(Kind::Prepare {
            name,
            inner: Box::new(inner),
        })
    }

    fn explain(&mut self, node: &SyntaxNode, deep: bool) -> Result<Kind> {
        let inner = node.children().find(|child| {
            is_plannable(child)
                || matches!(
                    child.kind(),
                    SyntaxKind::EXECUTE | SyntaxKind::DECLARE | SyntaxKind::CREATE_TABLE_AS
                )
        });
        match (inner, deep) {
            (Some(inner), true) => {
                self.kind(&inner, true)?;
            }
            (None, true) => self.definition(node)?,
            (_, false) => {}
        }
        let mode = node.children().filter(|child| {
            matches!(
                child.kind(),
                SyntaxKind::EXPLAIN_ANALYZE | SyntaxKind::EXPLAIN_OPTION_LIST
            )
        });
        let analyze = mode.flat_map(|mode| tree::tokens(&mode)).any(|token| {
            matches!(
                token.text().to_ascii_lowercase().as_str(),
                "analyze" | "analyse"
            )
        });
        Ok(Kind::Explain { analyze })
    }

    fn table_as(&mut self, node: &SyntaxNode, deep: bool) -> Result<Kind> {
        for inner in node.children().filter(|_| deep) {
            if inner.kind() == SyntaxKind::EXECUTE {
                self.execute(&inner)?;
            } else if tree::is_query(&inner) {
                self.query(&inner, &Scope::default(), None)?;
            }
        }
        Ok(Kind::SelectInto)
    }

    fn call_procedure(&mut self, node: &SyntaxNode) -> Result<Kind> {
        self.early = true;
        let parts = tree::child(node, SyntaxKind::PROCEDURE_NAME_REF);
        let name = parts
            .and_then(|parts| tree::path(&parts).pop())
            .unwrap_or_default();
        let list = tree::child(node, SyntaxKind::ARG_LIST);
        if self.catalogue.is_sealed_function(&name) {
            self.sealed = true;
            let mut tokens = list.iter().flat_map(tree::tokens);
            if tokens.any(|token| super::function::is_text(token.kind())) {
                return Err(self.values_in_clear(node, &name));
            }
        }
        if let Some(list) = list {
            self.generic(&list, &Scope::default())?;
        }
        Ok(Kind::Do)
    }

    /// A sealed function that is given values.
    pub(super) fn values_in_clear(&self, node: &SyntaxNode, name: &str) -> Refusal {
        let message = format!("function {name} reaches sealed columns and takes values in clear");
        let refusal = Refusal::new("0A000", message)
            .hint("write the statement itself, so that the gate can seal its values");
        self.at(node, refusal)
    }
}

fn plannable_kind(node: &SyntaxNode) -> Kind {
    match node.kind() {
        SyntaxKind::INSERT => Kind::Insert,
        SyntaxKind::UPDATE => Kind::Update,
        SyntaxKind::DELETE => Kind::Delete,
        SyntaxKind::MERGE => Kind::Merge,
        SyntaxKind::SELECT_INTO => Kind::SelectInto,
        _ => Kind::Select,
    }
}

fn transaction_kind(node: &SyntaxNode) -> Option<Kind> {
    Some(match node.kind() {
        SyntaxKind::BEGIN => Kind::Begin,
        SyntaxKind::COMMIT_TRANSACTION => Kind::Commit,
        SyntaxKind::ROLLBACK_TRANSACTION => Kind::Rollback,
        SyntaxKind::SAVEPOINT_CREATE
        | SyntaxKind::RELEASE_SAVEPOINT
        | SyntaxKind::ROLLBACK_TO_SAVEPOINT => Kind::Savepoint,
        SyntaxKind::PREPARE_TRANSACTION
        | SyntaxKind::COMMIT_PREPARED
        | SyntaxKind::ROLLBACK_PREPARED => Kind::TwoPhase,
        _ => return None,
    })
}

/// Kinds that read nothing of the catalogue.
fn simple_kind(node: &SyntaxNode) -> Option<Kind> {
    let all = || tree::tokens(node).any(|token| token.kind() == SyntaxKind::ALL_KW);
    Some(match node.kind() {
        SyntaxKind::DEALLOCATE => {
            Kind::Deallocate((!all()).then(|| named(node, SyntaxKind::PREPARED_STATEMENT_REF)))
        }
        SyntaxKind::CLOSE => {
            Kind::CloseCursor((!all()).then(|| named(node, SyntaxKind::CURSOR_REF)))
        }
        SyntaxKind::RESET => Kind::Reset {
            name: if all() {
                "all".to_owned()
            } else {
                setting(node)
            },
        },
        SyntaxKind::RESET_ROLE => Kind::Reset {
            name: "role".to_owned(),
        },
        SyntaxKind::RESET_SESSION_AUTH => Kind::Reset {
            name: "session_authorization".to_owned(),
        },
        SyntaxKind::SHOW => Kind::Show {
            name: setting(node),
        },
        SyntaxKind::DISCARD => Kind::Discard,
        SyntaxKind::LISTEN | SyntaxKind::UNLISTEN => Kind::Listen,
        SyntaxKind::NOTIFY => Kind::Notify,
        SyntaxKind::SET_ROLE => Kind::Set {
            name: "role".to_owned(),
            value: None,
            local: tree::child(node, SyntaxKind::LOCAL_SCOPE).is_some(),
        },
        SyntaxKind::SET_SESSION_AUTH => Kind::Set {
            name: "session_authorization".to_owned(),
            value: None,
            local: tree::child(node, SyntaxKind::LOCAL_SCOPE).is_some(),
        },
        SyntaxKind::SET_TRANSACTION
        | SyntaxKind::SET_CONSTRAINTS
        | SyntaxKind::CHECKPOINT
        | SyntaxKind::LOAD => Kind::Other,
        _ => return None,
    })
}
