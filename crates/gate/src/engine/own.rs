//! Messages that the gate sends on its own account, under names that no driver can guess (a
//! driver that had a statement of that name could make a poison harmless).

use bytes::BytesMut;
use pgwire::frontend;

/// Compares the live shape of a relation with its pin: one text, written as
/// [`expected_shape`] writes it. Everything is qualified, since the session's search path may name
/// a schema before `pg_catalog`.
const CHECK_SQL: &str = "SELECT n.nspname OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) c.relname \
 OPERATOR(pg_catalog.||) '|' OPERATOR(pg_catalog.||) pg_catalog.replace(c.relkind::pg_catalog.text, 'p', 'r') OPERATOR(pg_catalog.||) '|' OPERATOR(pg_catalog.||) \
 (SELECT pg_catalog.string_agg(a.attname OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) \
  pg_catalog.format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum USING OPERATOR(pg_catalog.<)) \
  FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped) OPERATOR(pg_catalog.||) '|' OPERATOR(pg_catalog.||) \
 COALESCE((SELECT pg_catalog.string_agg(k.conname::pg_catalog.text, ',' ORDER BY k.conname::pg_catalog.text COLLATE pg_catalog.\"C\" USING OPERATOR(pg_catalog.<)) \
  FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid \
  AND k.contype OPERATOR(pg_catalog.=) 'c' AND k.convalidated \
  AND pg_catalog.starts_with(k.conname::pg_catalog.text, 'sekisho_')), '') \
 FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n \
 WHERE n.oid OPERATOR(pg_catalog.=) c.relnamespace \
 AND c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)";

const TEXT_OID: u32 = 25;

/// The gate's own names in one session.
#[derive(Debug)]
pub(crate) struct Own {
    check: Vec<u8>,
    poison: BytesMut,
}

impl Own {
    /// `secret`: random, never told to the driver.
    pub(crate) fn new(secret: u64) -> Self {
        let nowhere = format!("sekisho:none:{secret:016x}");
        let mut poison = BytesMut::new();
        frontend::write_bind(&mut poison, b"", nowhere.as_bytes(), [], [], [])
            .expect("a Bind without parameters fits a message");
        Self {
            check: format!("sekisho:check:{secret:016x}").into_bytes(),
            poison,
        }
    }

    /// A Bind to a statement that does not exist: PostgreSQL answers error 26000.
    pub(super) fn write_poison(&self, buf: &mut BytesMut) {
        buf.extend_from_slice(&self.poison);
    }

    /// Prepares the comparison. Whether PostgreSQL still has it from before is not always known,
    /// so it is closed first.
    pub(super) fn write_prepare_check(&self, buf: &mut BytesMut) {
        frontend::write_close(buf, frontend::Target::Statement(&self.check))
            .and_then(|()| {
                frontend::write_parse(buf, &self.check, CHECK_SQL.as_bytes(), [TEXT_OID])
            })
            .expect("the text fits a message");
    }

    /// Runs the comparison of one relation, as written in a statement.
    pub(super) fn write_check(&self, buf: &mut BytesMut, written: &str) {
        let portal = &self.check;
        frontend::write_bind(buf, portal, &self.check, [], [Some(written.as_bytes())], [])
            .and_then(|()| frontend::write_execute(buf, portal, 0))
            .and_then(|()| frontend::write_close(buf, frontend::Target::Portal(portal)))
            .expect("a name fits a message");
    }
}

/// What the comparison gives for a relation that is as pinned.
pub(crate) fn expected_shape(relation: &event::PinnedRelation) -> String {
    let columns: Vec<String> = relation
        .columns
        .iter()
        .map(|c| format!("{} {}", c.name, c.type_name))
        .collect();
    let mut checks: Vec<String> = relation
        .columns
        .iter()
        .filter_map(|c| c.sealing.map(|sealing| sealing.constraint_name(&c.name)))
        .collect();
    checks.sort();
    format!(
        "{}.{}|r|{}|{}",
        relation.schema,
        relation.name,
        columns.join(","),
        checks.join(",")
    )
}
