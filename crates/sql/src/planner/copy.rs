//! COPY.

use event::ClientSource;
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::scope::Scope;
use super::{Planner, Result};
use crate::Refusal;
use crate::tree::{self, Constant};
use crate::types::{CopyClient, CopyFormat, CopyIn, CopyOptions, CopyOut, Kind};

impl Planner<'_> {
    pub(super) fn copy(&mut self, node: &SyntaxNode) -> Result<Kind> {
        let format = self.copy_options(node)?;
        let from = tree::child(node, SyntaxKind::COPY_FROM);
        let direction = from
            .clone()
            .or_else(|| tree::child(node, SyntaxKind::COPY_TO));
        let program = direction
            .as_ref()
            .and_then(|direction| tree::child(direction, SyntaxKind::COPY_PROGRAM));
        let outside = Scope::default();
        if let Some(query) = tree::child(node, SyntaxKind::COPY_QUERY) {
            for inner in query.children() {
                self.query(&inner, &outside, None)?;
            }
        }
        let table = tree::child(node, SyntaxKind::COPY_TABLE);
        let kind = match (&table, &from) {
            (Some(table), Some(_)) => {
                let copy = self.copy_in(table, format)?;
                if copy.relation.is_some() {
                    self.check_copy_in(node, &copy, program.is_some())?;
                }
                Kind::CopyIn(copy)
            }
            (Some(table), None) => {
                let parts = table_path(table);
                if let Some(relation) = self.pinned(&parts, table)? {
                    self.note_relation(&parts, relation, false);
                }
                Kind::CopyOut(CopyOut {
                    stdout: program.is_none(),
                    format,
                })
            }
            (None, _) => Kind::CopyOut(CopyOut {
                stdout: program.is_none(),
                format,
            }),
        };
        if program.is_some() {
            self.early = true;
        }
        if let (Some(clause), true) = (tree::child(node, SyntaxKind::WHERE_CLAUSE), self.sealed) {
            let refusal = Refusal::new(
                "0A000",
                "COPY ... WHERE is not possible on a sealed relation",
            );
            return Err(self.at(&clause, refusal.hint("leave out rows before they are sent")));
        }
        Ok(kind)
    }

    fn copy_in(&mut self, table: &SyntaxNode, format: CopyOptions) -> Result<CopyIn> {
        let parts = table_path(table);
        let list = tree::child(table, SyntaxKind::COLUMN_REF_LIST);
        let mut names: Vec<String> = list
            .iter()
            .flat_map(|list| list.children())
            .filter(|c| c.kind() == SyntaxKind::COLUMN_NAME_REF)
            .map(|c| tree::name(&c))
            .collect();
        let Some(relation) = self.pinned(&parts, table)? else {
            let columns = vec![None; names.len()];
            return Ok(CopyIn {
                relation: None,
                column_names: names,
                columns,
                client: CopyClient::Scope,
                format,
            });
        };
        if list.is_none() {
            names = relation
                .columns
                .iter()
                .map(|column| column.name.clone())
                .collect();
        }
        let mut columns = Vec::with_capacity(names.len());
        for name in &names {
            let Some((_, column)) = relation.column(name) else {
                let message = format!("the pin has no column \"{name}\" in this sealed relation");
                return Err(self.at(table, Refusal::new("42703", message)));
            };
            if column.sealing.is_some() && !column.passes_through {
                let message = format!(
                    "sealed column {}.{name} cannot be written through this view",
                    relation.name
                );
                return Err(self.at(table, Refusal::new("0A000", message)));
            }
            columns.push(column.sealing);
        }
        let client = match &relation.client {
            ClientSource::Fixed(client) => CopyClient::Fixed(*client),
            ClientSource::Scope => CopyClient::Scope,
            ClientSource::Column(name) => {
                let field = names.iter().position(|other| other == name);
                field.map_or(CopyClient::Scope, CopyClient::Field)
            }
        };
        let index = self.note_relation(&parts, relation, list.is_none());
        Ok(CopyIn {
            relation: Some(index),
            column_names: names,
            columns,
            client,
            format,
        })
    }

    /// COPY into a sealed relation: rows have to come through the gate in a form it reads.
    fn check_copy_in(&self, node: &SyntaxNode, copy: &CopyIn, from_file: bool) -> Result<()> {
        let refuse = |message: &str, hint: &str| {
            Err(self.at(
                node,
                Refusal::new("0A000", message.to_owned()).hint(hint.to_owned()),
            ))
        };
        if from_file {
            return refuse(
                "COPY into a sealed relation from a file or program of the server would bypass the gate",
                "use COPY ... FROM STDIN (in psql: \\copy)",
            );
        }
        if copy.format.format == CopyFormat::Binary {
            return refuse(
                "binary COPY into a sealed relation is not possible",
                "use the text or CSV format",
            );
        }
        if copy.format.unusual {
            return refuse(
                "COPY into a sealed relation knows only FORMAT, DELIMITER, NULL, QUOTE, ESCAPE, HEADER, FREEZE, ENCODING 'UTF8'",
                "leave out other options",
            );
        }
        if self.settings.several_clients
            && copy.client == CopyClient::Scope
            && copy.columns.iter().any(Option::is_some)
        {
            return refuse(
                "cannot tell which client's key seals the rows of this COPY",
                "copy the client's column too, or narrow the session to one client",
            );
        }
        Ok(())
    }

    fn copy_options(&self, node: &SyntaxNode) -> Result<CopyOptions> {
        let mut given: Vec<(String, Option<String>)> = Vec::new();
        if tree::child(node, SyntaxKind::COPY_TABLE)
            .is_some_and(|table| tree::has_token(&table, SyntaxKind::BINARY_KW))
        {
            given.push(("format".to_owned(), Some("binary".to_owned())));
        }
        for option in node.descendants() {
            match option.kind() {
                SyntaxKind::COPY_OPTION => {
                    let key = tree::child(&option, SyntaxKind::COPY_OPTION_KEY);
                    let key = key.map(|key| tree::name(&key)).unwrap_or_default();
                    given.push((key, self.option_value(&option)?));
                }
                SyntaxKind::COPY_LEGACY_OPTION => {
                    let mut words = tree::tokens(&option).filter(|token| !token.kind().is_trivia());
                    let key = words
                        .next()
                        .map(|t| t.text().to_ascii_lowercase())
                        .unwrap_or_default();
                    given.push(match key.as_str() {
                        "binary" | "csv" | "json" => ("format".to_owned(), Some(key)),
                        _ => (key, self.option_value(&option)?),
                    });
                }
                _ => {}
            }
        }
        read_options(&given).map_err(|refusal| self.at(node, refusal))
    }

    fn option_value(&self, option: &SyntaxNode) -> Result<Option<String>> {
        if let Some(literal) = option
            .descendants()
            .find(|n| n.kind() == SyntaxKind::LITERAL)
        {
            let constant =
                tree::constant(&literal).map_err(|refusal| self.at(&literal, refusal))?;
            return Ok(Some(match constant {
                Constant::Text(text) => text.expose().clone(),
                _ => literal.text().to_string().to_ascii_lowercase(),
            }));
        }
        let value = tree::child(option, SyntaxKind::COPY_OPTION_VALUE);
        Ok(value.map(|value| value.text().to_string().trim().to_ascii_lowercase()))
    }
}

/// COPY's options with their defaults.
fn read_options(given: &[(String, Option<String>)]) -> Result<CopyOptions> {
    let mut options = CopyOptions::default();
    let value = |key: &str| {
        given
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_deref())
    };
    match value("format") {
        Some(Some("csv")) => {
            options.format = CopyFormat::Csv;
            options.delimiter = b',';
            options.null = String::new();
        }
        Some(Some("binary")) => options.format = CopyFormat::Binary,
        None | Some(Some("text")) => {}
        Some(_) => options.unusual = true,
    }
    let mut escape = None;
    for (key, value) in given {
        let text = value.as_deref();
        match (key.as_str(), text) {
            ("format" | "freeze", _) => {}
            ("delimiter", Some(text)) => options.delimiter = one_byte(text)?,
            ("quote", Some(text)) => options.quote = one_byte(text)?,
            ("escape", Some(text)) => escape = Some(one_byte(text)?),
            ("null", Some(text)) => options.null = text.to_owned(),
            ("header", None) => options.header = true,
            ("header", Some("match")) => (options.header, options.header_match) = (true, true),
            ("header", Some(text)) => options.header = !matches!(text, "false" | "off" | "0"),
            ("encoding", Some(text)) => {
                let name: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
                options.unusual |=
                    !matches!(name.to_ascii_lowercase().as_str(), "utf8" | "unicode");
            }
            _ => options.unusual = true,
        }
    }
    options.escape = escape.unwrap_or(options.quote);
    Ok(options)
}

fn one_byte(text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Refusal::new(
            "0A000",
            "a COPY delimiter, quote or escape has to be one byte",
        )),
    }
}

fn table_path(table: &SyntaxNode) -> Vec<String> {
    tree::child(table, SyntaxKind::TABLE_NAME_REF)
        .map(|name| tree::path(&name))
        .unwrap_or_default()
}
