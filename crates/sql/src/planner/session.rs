//! Statements about the session: prepared statements, cursors, settings.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::{Planner, Result, Target, cast_type};
use crate::Refusal;
use crate::lex;
use crate::tree::{self, Constant};
use crate::types::{ClientOf, Edit, Kind, ParameterForm, ParameterUse, Part, Site, Statement};

impl Planner<'_> {
    /// EXECUTE: its arguments become what the prepared statement's parameters have to be.
    pub(super) fn execute(&mut self, node: &SyntaxNode) -> Result<Kind> {
        let name = named(node, SyntaxKind::PREPARED_STATEMENT_REF);
        let Some(prepared) = self
            .names
            .prepared(&name)
            .filter(|prepared| prepared.sealed)
        else {
            return Ok(Kind::Execute { name });
        };
        self.sealed = true;
        self.early |= prepared.early;
        self.relations.clone_from(&prepared.relations);
        let prepared = match &prepared.kind {
            Kind::Prepare { inner, .. } => (**inner).clone(),
            _ => (*prepared).clone(),
        };
        let arguments: Vec<SyntaxNode> = tree::child(node, SyntaxKind::ARG_LIST)
            .map(|list| {
                list.children()
                    .filter_map(|argument| tree::expr(&argument))
                    .collect()
            })
            .unwrap_or_default();
        for parameter in &prepared.parameters {
            let argument = usize::from(parameter.number).checked_sub(1);
            let site = parameter
                .sites
                .first()
                .and_then(|site| prepared.sites.get(*site));
            let (Some(argument), Some(site)) =
                (argument.and_then(|place| arguments.get(place)), site)
            else {
                continue;
            };
            self.argument(argument, site, parameter.form, &arguments)?;
        }
        Ok(Kind::Execute { name })
    }

    fn argument(
        &mut self,
        node: &SyntaxNode,
        site: &Site,
        form: ParameterForm,
        arguments: &[SyntaxNode],
    ) -> Result<()> {
        let client = match site.client {
            ClientOf::Parameter(number) => {
                let place = usize::from(number).checked_sub(1);
                match place.and_then(|place| arguments.get(place)) {
                    Some(argument) => self.client_of(argument)?.unwrap_or(ClientOf::Scope),
                    None => ClientOf::Scope,
                }
            }
            client => client,
        };
        let relation_name = self
            .relations
            .get(site.relation)
            .map(|relation| relation.pinned.1.clone())
            .unwrap_or_default();
        let cell = super::scope::CellRef {
            sealing: site.sealing,
            relation: site.relation,
            relation_name,
            column: site.column.clone(),
            client,
        };
        let target = Target {
            cell: std::rc::Rc::new(cell),
            purpose: site.purpose,
        };
        match form {
            ParameterForm::One => self.seal(node, &target),
            ParameterForm::Array => self.seal_array(node, &target),
            ParameterForm::AnyOfScope => {
                let leaf = self.leaf(node, &target)?;
                if let Some(list) = self.cells_of_scope(&leaf, &target)? {
                    self.edit(node, list);
                }
                Ok(())
            }
        }
    }

    /// PREPARE, after its inner statement was planned with this planner's state.
    pub(super) fn prepared(
        &mut self,
        node: &SyntaxNode,
        inner: &SyntaxNode,
        kind: Kind,
        parameters: Vec<ParameterUse>,
    ) -> Result<Kind> {
        self.declared_types(node, &parameters)?;
        let (start, end) = tree::range(inner);
        let (start, end) = (start - self.base, end - self.base);
        let edits = self
            .edits
            .iter()
            .filter(|edit| edit.start >= start && edit.end <= end);
        let statement = Statement {
            text: inner.text().to_string(),
            offset: 0,
            kind,
            sealed: self.sealed,
            sites: self.sites.clone(),
            relations: self.relations.clone(),
            parameters,
            early: self.early,
            sets: self.sets,
            shape: self.shape(inner),
            edits: edits
                .map(|edit| Edit {
                    start: edit.start - start,
                    end: edit.end - start,
                    parts: edit.parts.clone(),
                })
                .collect(),
            inserted: Vec::new(),
        };
        Ok(Kind::Prepare {
            name: named(node, SyntaxKind::PREPARED_STATEMENT),
            inner: Box::new(statement),
        })
    }

    /// The declared types of parameters that become cells: text, or arrays of it.
    fn declared_types(&mut self, node: &SyntaxNode, parameters: &[ParameterUse]) -> Result<()> {
        let Some(list) = tree::child(node, SyntaxKind::PARAM_LIST) else {
            return Ok(());
        };
        let declared: Vec<SyntaxNode> = list
            .children()
            .filter(|c| c.kind() == SyntaxKind::PARAM)
            .collect();
        for parameter in parameters {
            let place = usize::from(parameter.number).checked_sub(1);
            let Some(node) = place.and_then(|place| declared.get(place)) else {
                continue;
            };
            let is = cast_type(node);
            let wanted: &[&str] = match parameter.form {
                ParameterForm::One | ParameterForm::AnyOfScope => &["text", "varchar", "unknown"],
                ParameterForm::Array => &["text[]", "varchar[]", "unknown"],
            };
            if !is.as_deref().is_some_and(|is| wanted.contains(&is)) {
                let message = format!(
                    "parameter ${} meets a sealed column and has to be of type text",
                    parameter.number
                );
                return Err(self.at(node, Refusal::new("0A000", message)));
            }
            match parameter.form {
                ParameterForm::AnyOfScope => self.edit(node, vec![Part::Text("text[]".to_owned())]),
                _ if is.as_deref() == Some("unknown") => {}
                _ => {}
            }
        }
        self.edits.sort_by_key(|edit| (edit.start, edit.end));
        Ok(())
    }

    pub(super) fn set(&mut self, node: &SyntaxNode) -> Result<Kind> {
        let local = tree::child(node, SyntaxKind::LOCAL_SCOPE).is_some();
        let Some(target) = node.children().find(|c| {
            !matches!(
                c.kind(),
                SyntaxKind::LOCAL_SCOPE | SyntaxKind::SESSION_SCOPE
            )
        }) else {
            return Ok(Kind::Other);
        };
        let name = match target.kind() {
            SyntaxKind::SET_CONFIG => setting(&target),
            SyntaxKind::SET_TIME_ZONE => "timezone".to_owned(),
            SyntaxKind::SET_SCHEMA_VALUE => "search_path".to_owned(),
            _ => return Ok(Kind::Other),
        };
        let values: Vec<SyntaxNode> = target
            .descendants()
            .filter(|n| {
                matches!(
                    n.kind(),
                    SyntaxKind::LITERAL | SyntaxKind::CONFIG_VALUE_NAME
                )
            })
            .collect();
        let value = match values.as_slice() {
            [only] => self.setting_value(only)?,
            _ => None,
        };
        Ok(Kind::Set { name, value, local })
    }

    fn setting_value(&self, node: &SyntaxNode) -> Result<Option<String>> {
        if node.kind() == SyntaxKind::CONFIG_VALUE_NAME {
            return Ok(Some(tree::name(node)));
        }
        Ok(
            match tree::constant(node).map_err(|refusal| self.at(node, refusal))? {
                Constant::Text(text) => Some(text.expose().clone()),
                Constant::Default | Constant::Null | Constant::Parameter(_) => None,
                Constant::Integer(_) | Constant::Other => {
                    Some(node.text().to_string().to_ascii_lowercase())
                }
            },
        )
    }
}

/// The folded name in a child of a kind.
pub(super) fn named(node: &SyntaxNode, kind: SyntaxKind) -> String {
    tree::child(node, kind)
        .map(|name| tree::name(&name))
        .unwrap_or_default()
}

/// The dotted name of a setting, folded.
pub(super) fn setting(node: &SyntaxNode) -> String {
    let name = node
        .descendants()
        .find(|n| n.kind() == SyntaxKind::CONFIG_PARAMETER_REF);
    let name = name
        .map(|name| tree::path(&name).join("."))
        .unwrap_or_default();
    if name.is_empty() {
        let words = tree::tokens(node).filter(|token| !token.kind().is_trivia());
        let words: Vec<String> = words
            .skip(1)
            .map(|t| t.text().to_ascii_lowercase())
            .collect();
        return match words
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["time", "zone"] => "timezone".to_owned(),
            [first, ..] => first.trim_end_matches(';').to_owned(),
            [] => String::new(),
        };
    }
    name.to_ascii_lowercase()
}

/// Whether a text of code holds a string literal.
pub(super) fn holds_literal(code: &str) -> bool {
    lex::Lexer::new(code, true).any(|lexeme| {
        !matches!(
            lexeme.token,
            lex::Token::Word | lex::Token::Quoted | lex::Token::Comment | lex::Token::Other(_)
        )
    })
}
