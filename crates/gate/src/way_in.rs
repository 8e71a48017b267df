//! Values on their way in: literals, parameters and COPY fields become cells before anything of
//! them is sent.
//!
//! Invariants: a value for a sealed column leaves this module only as a cell, or not at all; a
//! value that is a cell already has to verify, in the class, domain, mode and client of its place;
//! every value for which an exact cell is computed is remembered as a probe ([`Asked`]).

mod binding;
mod values;

use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use event::record::RefusalReason as Reason;
use event::{Class, ClientId, Digest, Fingerprint};
use pgwire::frontend;
use sql::{Kind, ParameterForm, Statement};

pub(crate) use self::binding::bind;
pub(crate) use self::values::{Place, RowTags, probe_of, seal_one, utf8, verify};
use self::values::{cells, clients_for};
use crate::catalogue::Known;
use crate::engine::Setting;
use crate::errors::GateError;
use crate::rights::{Rights, Scope};

const OID_TEXT: u32 = 25;
const OID_TEXT_ARRAY: u32 = 1009;

/// What PostgreSQL tells about a result column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) type_oid: u32,
    pub(crate) table: u32,
    pub(crate) attribute: i16,
}

/// A value that was probed for a client, and what it needs a right for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) client: ClientId,
    pub(crate) class: Class,
    /// `None`: a random cell, which is no probe.
    pub(crate) probe: Option<Fingerprint>,
    pub(crate) primary: bool,
    pub(crate) search: bool,
}

/// What a statement does to the session when it succeeds.
#[derive(Clone, Debug, Default)]
pub(crate) enum Effect {
    #[default]
    None,
    Setting(Setting),
    /// Whether the encoding is UTF-8 from now on.
    Encoding(bool),
    /// PREPARE.
    Keep(String, Arc<Prepared>),
    /// DEALLOCATE.
    Drop(Option<String>),
    OpenCursor(String),
    CloseCursor(Option<String>),
    /// RESET ALL, or DISCARD, which takes statements and cursors away as well.
    Reset {
        statements: bool,
    },
    /// The schema may have changed.
    Schema,
}

/// A sealed statement, its literals sealed.
#[derive(Debug)]
pub(crate) struct Prepared {
    statement: Arc<Statement>,
    rendered: Rendered,
    types: Vec<u32>,
    asked: Vec<Asked>,
    scope: Scope,
    shape: Arc<(Digest, String)>,
    pub(crate) effect: Effect,
    columns: OnceLock<Arc<[Column]>>,
}

/// The text that is sent.
enum Rendered {
    /// As the planner wrote it.
    Planned(sql::Rendered),
    /// The gate's own, in place of a statement whose value is not for PostgreSQL.
    Own(String),
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rendered(..)")
    }
}

/// A portal of a sealed statement.
#[derive(Debug)]
pub(crate) struct Portal {
    pub(crate) name: Vec<u8>,
    pub(crate) prepared: Arc<Prepared>,
    asked: Vec<Asked>,
    result_formats: Vec<i16>,
}

/// What became of a text.
pub(crate) enum Planned {
    /// Nothing of it concerns the gate.
    Plain,
    Sealed(Box<Prepared>),
}

impl Prepared {
    pub(crate) fn write_parse(&self, buf: &mut BytesMut, name: &[u8]) {
        let text = match &self.rendered {
            Rendered::Planned(rendered) => rendered.text.as_str(),
            Rendered::Own(text) => text,
        };
        frontend::write_parse(buf, name, text.as_bytes(), self.types.iter().copied())
            .expect("a rendered statement is shorter than a message");
    }

    /// Whether its probes look for somebody.
    pub(crate) fn searches(&self) -> bool {
        matches!(self.statement.kind, Kind::Select)
    }

    pub(crate) fn early(&self) -> bool {
        self.statement.early
    }

    pub(crate) fn shape(&self) -> &Arc<(Digest, String)> {
        &self.shape
    }

    pub(crate) fn statement(&self) -> &Arc<Statement> {
        &self.statement
    }

    pub(crate) fn columns(&self) -> Option<&Arc<[Column]>> {
        self.columns.get()
    }

    /// Keeps what RowDescription (`tag` T) or NoData says.
    pub(crate) fn learn_columns(&self, tag: u8, body: &[u8]) -> Result<(), pgwire::DecodeError> {
        let columns: Arc<[Column]> = if tag == b'T' {
            pgwire::backend::RowDescription::decode(body)?
                .fields()
                .map(|f| Column {
                    type_oid: f.type_oid,
                    table: f.table,
                    attribute: f.attribute,
                })
                .collect()
        } else {
            Arc::new([])
        };
        // The first description stands: a type that changes later makes cells stay sealed.
        let _ = self.columns.set(columns);
        Ok(())
    }

    /// The type that the driver is told for parameter `index` (from 0).
    pub(crate) fn told_type(&self, index: usize, oid: u32) -> u32 {
        let hidden = self.statement.parameters.iter().any(|parameter| {
            usize::from(parameter.number) == index + 1
                && parameter.form == ParameterForm::AnyOfScope
        });
        if hidden { OID_TEXT } else { oid }
    }

    /// Maps an error's position in the sent text to one in the driver's.
    pub(crate) fn original_position(&self, position: u32) -> u32 {
        match &self.rendered {
            Rendered::Planned(rendered) => {
                u32::try_from(rendered.original_position(position as usize)).unwrap_or(position)
            }
            Rendered::Own(_) => position,
        }
    }

    /// Relations whose live shape has to equal the pin before the statement may write.
    pub(crate) fn checks(&self, known: &Known) -> Vec<(String, event::PinnedRelation)> {
        let writes = matches!(
            self.statement.kind,
            Kind::Insert | Kind::Update | Kind::CopyIn(_)
        );
        if !writes {
            return Vec::new();
        }
        let relations = self
            .statement
            .relations
            .iter()
            .filter(|relation| !relation.view);
        relations
            .filter_map(|relation| {
                let pinned = known.pinned(&relation.pinned.0, &relation.pinned.1)?;
                Some((relation.written.clone(), pinned.clone()))
            })
            .collect()
    }
}

impl Portal {
    /// A statement whose values are all literals.
    pub(crate) fn of_literals(prepared: Arc<Prepared>) -> Self {
        Self {
            name: Vec::new(),
            prepared,
            asked: Vec::new(),
            result_formats: Vec::new(),
        }
    }

    /// Everything that was asked for.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &Asked> {
        self.prepared.asked.iter().chain(&self.asked)
    }

    /// The format of result column `index`: 0 text, 1 binary.
    pub(crate) fn format(&self, index: usize) -> i16 {
        match self.result_formats.as_slice() {
            [] => 0,
            [all] => *all,
            each => each.get(index).copied().unwrap_or(0),
        }
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.prepared.scope
    }
}

/// Seals the literals of a planned statement.
pub(crate) fn prepare(
    statement: Statement,
    types: &[u32],
    rights: &mut Rights,
    effect: Effect,
) -> Result<Prepared, GateError> {
    let mut asked = Vec::new();
    let mut tags = RowTags::default();
    let rendered = if let Some(text) = own_text(&statement, &effect) {
        Rendered::Own(text)
    } else {
        Rendered::Planned(statement.render(|site, value| {
            let clients = clients_for(site, value, rights, None)?;
            cells(site, &clients, value, rights, &mut tags, &mut asked)
        })?)
    };
    let mut types = types.to_vec();
    for parameter in &statement.parameters {
        let index = usize::from(parameter.number) - 1;
        let wanted = match parameter.form {
            ParameterForm::One => OID_TEXT,
            ParameterForm::AnyOfScope | ParameterForm::Array => OID_TEXT_ARRAY,
        };
        if types.len() <= index {
            types.resize(index + 1, 0);
        }
        let given = types[index];
        if !may_be_declared(given, parameter.form) {
            return Err(GateError::new(
                "42804",
                format!(
                    "parameter ${} meets a sealed column, but is declared as another type",
                    parameter.number
                ),
            )
            .hint("Declare it as text (or text[]), or leave its type open.")
            .because(Reason::Statement));
        }
        types[index] = wanted;
    }
    let shape = crate::shape::shape(&statement.shape);
    Ok(Prepared {
        statement: Arc::new(statement),
        rendered,
        types,
        asked,
        scope: rights.scope().clone(),
        shape,
        effect,
        columns: OnceLock::new(),
    })
}

/// What goes to PostgreSQL in place of a setting that is the gate's: what is no secret as it is, so
/// that SHOW tells it.
fn own_text(statement: &Statement, effect: &Effect) -> Option<String> {
    let (Effect::Setting(setting), Kind::Set { name, .. }) = (effect, &statement.kind) else {
        return None;
    };
    let shown = match setting {
        Setting::Scope(scope) => {
            let numbers: Vec<String> = scope.clients().iter().map(ToString::to_string).collect();
            numbers.join(",")
        }
        Setting::Grant(grant) => grant.map(|grant| grant.to_string()).unwrap_or_default(),
        Setting::Purpose(purpose) => if purpose.is_some() { "given" } else { "" }.to_owned(),
        Setting::Copy(_) => "confirmed".to_owned(),
    };
    Some(format!("SET {name} TO '{shown}'"))
}

/// Unknown, text and varchar; arrays of them where an array is wanted.
fn may_be_declared(oid: u32, form: ParameterForm) -> bool {
    match form {
        ParameterForm::Array => matches!(oid, 0 | OID_TEXT_ARRAY | 1015),
        ParameterForm::One | ParameterForm::AnyOfScope => matches!(oid, 0 | OID_TEXT | 705 | 1043),
    }
}
