//! `sekisho seal`: the columns of a new or empty table become sealed ones (type, CHECK), and the
//! table's shape becomes a pin that waits for two approvals.

use anyhow::{Context, Result, bail, ensure};
use event::{ClientSource, Domain, Mode, Pin, PinnedColumn, PinnedRelation, Sealing};
use gate::Conversation;

/// A table that is to be sealed.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns that are to be sealed.
    pub columns: Vec<(String, Sealing)>,
    /// How a row's client is known.
    pub client: ClientSource,
}

/// Reads `COLUMN=CLASS[:MODE[:DOMAIN]]`: mode `random` by default, the domain by default the
/// class's own.
pub fn parse_column(text: &str) -> Result<(String, Sealing)> {
    let (column, rest) = text.split_once('=').with_context(|| {
        format!("{text}: write COLUMN=CLASS[:MODE[:DOMAIN]], as in phone=phone:exact")
    })?;
    let mut parts = rest.split(':');
    let class: event::Class = parts.next().unwrap_or_default().parse()?;
    let mode = parts.next().map_or(Ok(Mode::Random), str::parse)?;
    let domain = match parts.next() {
        None => u16::from(class.code()),
        Some(number) => number
            .parse()
            .with_context(|| format!("{text}: the domain is a number from 1 to 65535"))?,
    };
    ensure!(parts.next().is_none(), "{text}: too many parts");
    ensure!(domain > 0, "{text}: domain 0 is none");
    ensure!(
        mode == Mode::Random || class.may_be_exact(),
        "{text}: class {class} may not be exact: equality would show how frequent a value is. Exact are: phone, email, customer-number"
    );
    Ok((
        column.to_owned(),
        Sealing {
            class,
            domain: Domain(domain),
            mode,
        },
    ))
}

/// Reads `[SCHEMA.]TABLE`.
pub fn parse_table(text: &str) -> (String, String) {
    match text.split_once('.') {
        Some((schema, name)) => (schema.to_owned(), name.to_owned()),
        None => ("public".to_owned(), text.to_owned()),
    }
}

/// Changes the table in one transaction, and gives its new shape.
pub async fn prepare(conversation: &mut Conversation, table: &Table) -> Result<PinnedRelation> {
    let qualified = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
    let live = columns(conversation, table).await?;
    ensure!(!live.is_empty(), "{qualified}: there is no such table");
    for (column, _) in &table.columns {
        let Some((_, kind)) = live.iter().find(|(name, _)| name == column) else {
            bail!("{qualified}: has no column {column}");
        };
        let textual = kind == "text" || kind.starts_with("character varying");
        ensure!(
            textual,
            "{qualified}.{column}: is of type {kind}; sealed columns are text"
        );
    }
    let some = conversation
        .query(&format!("SELECT 1 FROM ONLY {qualified} LIMIT 1"))
        .await?;
    ensure!(
        some.is_empty(),
        "{qualified}: holds rows; this version seals new or empty tables only"
    );
    let mut statements = vec!["BEGIN".to_owned()];
    for (column, sealing) in &table.columns {
        let name = quoted(&sealing.constraint_name(column));
        let check = seal::check_expression(column, sealing, &table.client);
        statements.push(format!(
            "ALTER TABLE {qualified} ALTER COLUMN {} TYPE text",
            quoted(column)
        ));
        statements.push(format!(
            "ALTER TABLE {qualified} DROP CONSTRAINT IF EXISTS {name}"
        ));
        statements.push(format!(
            "ALTER TABLE {qualified} ADD CONSTRAINT {name} CHECK ({check})"
        ));
    }
    statements.push("COMMIT".to_owned());
    conversation
        .query(&statements.join(";\n"))
        .await
        .with_context(|| format!("{qualified}: could not be changed"))?;
    let live = columns(conversation, table).await?;
    Ok(PinnedRelation {
        schema: table.schema.clone(),
        name: table.name.clone(),
        columns: live
            .into_iter()
            .map(|(name, type_name)| PinnedColumn {
                sealing: table
                    .columns
                    .iter()
                    .find(|(column, _)| *column == name)
                    .map(|(_, s)| *s),
                name,
                type_name,
            })
            .collect(),
        client: table.client.clone(),
    })
}

/// A database's pin with this relation in it.
pub fn pin_with(before: Option<&Pin>, database: &str, relation: PinnedRelation) -> Pin {
    let mut pin = before.cloned().unwrap_or(Pin {
        database: database.to_owned(),
        relations: Vec::new(),
    });
    pin.relations.retain(|r| {
        (r.schema.as_str(), r.name.as_str()) != (relation.schema.as_str(), relation.name.as_str())
    });
    pin.relations.push(relation);
    pin.relations
        .sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    pin
}

/// Names and types of the live columns.
async fn columns(conversation: &mut Conversation, table: &Table) -> Result<Vec<(String, String)>> {
    let rows = conversation
        .query(&format!(
            "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) \
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relname = {} AND c.relkind IN ('r', 'p') \
             AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            literal(&table.schema),
            literal(&table.name)
        ))
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let mut row = row.into_iter();
            Some((row.next()??, row.next()??))
        })
        .collect())
}

/// An identifier in quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal, under standard_conforming_strings.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
