//! Values on their way in: literals, parameters and COPY fields become cells before anything of
//! them is sent.
//!
//! Invariants: a value for a sealed column leaves this module only as a cell, or not at all; a
//! value that is a cell already has to verify, in the class, domain, mode and client of its place;
//! every value for which an exact cell is computed is remembered as a probe ([`Asked`]).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use event::record::RefusalReason as Reason;
use event::{Class, ClientId, Digest, Fingerprint, Mode, Plain, Sealing};
use pgwire::frontend::{self, Bind};
use seal::{CellHeader, ClientKeys, looks_sealed};
use sql::{ClientOf, Kind, ParameterForm, Site, Statement, Use};

use crate::arrays;
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

/// Row tags of one statement's rows.
#[derive(Default)]
pub(crate) struct RowTags(HashMap<u32, u64>);

impl RowTags {
    pub(crate) fn of(&mut self, row: u32, keys: &ClientKeys) -> Result<u64, GateError> {
        if row == Use::UPDATED {
            return Ok(0);
        }
        if let Some(tag) = self.0.get(&row) {
            return Ok(*tag);
        }
        let tag = keys.row_tag().map_err(|error| seal_error(&error, None))?;
        self.0.insert(row, tag);
        Ok(tag)
    }
}

/// The clients whose keys a value at a site needs. A role that moves cells needs none: it may hand
/// in cells that verify, and nothing else.
fn clients_for(
    site: &Site,
    value: &Plain<String>,
    rights: &mut Rights,
    parameter: Option<&dyn Fn(u16) -> Result<ClientId, GateError>>,
) -> Result<Vec<ClientId>, GateError> {
    if !rights.moves_cells() {
        return clients_of(site, rights, parameter);
    }
    if looks_sealed(value.expose().as_bytes()) {
        return Ok(Vec::new());
    }
    Err(rights.only_cells(&site.column, site.sealing.class))
}

/// The clients whose keys a site needs. `parameter`: the client number that `$n` holds.
fn clients_of(
    site: &Site,
    rights: &Rights,
    parameter: Option<&dyn Fn(u16) -> Result<ClientId, GateError>>,
) -> Result<Vec<ClientId>, GateError> {
    let scope = rights.scope().clients();
    let one = match site.client {
        ClientOf::Number(client) => client,
        ClientOf::Parameter(number) => match parameter {
            Some(read) => read(number)?,
            None if scope.len() == 1 => scope[0],
            None => {
                return Err(GateError::new(
                    "0A000",
                    format!(
                        "the value for sealed column {} is a literal, but its client is parameter ${number}",
                        site.column
                    ),
                )
                .hint("Give both as parameters, or SET sekisho.scope to one client.")
                .because(Reason::Statement));
            }
        },
        ClientOf::Scope if site.purpose == Use::Search && site.each_client => {
            return Ok(scope.to_vec());
        }
        ClientOf::Scope if scope.len() == 1 => scope[0],
        ClientOf::Scope => {
            return Err(GateError::new(
                "0A000",
                format!(
                    "the statement does not say whose value for sealed column {} is",
                    site.column
                ),
            )
            .detail(format!(
                "The session's scope holds {} clients.",
                scope.len()
            ))
            .hint("SET sekisho.scope to one client, or name the client column in the statement.")
            .because(Reason::Statement));
        }
    };
    if !rights.scope().holds(one) {
        return Err(GateError::new(
            "42501",
            format!("client {one} is not in the session's scope"),
        )
        .hint("SET sekisho.scope names some of your clients, DEFAULT all of them; `sekisho actor list` shows which are yours.")
        .because(Reason::Policy));
    }
    Ok(vec![one])
}

/// The cells of one value, one for each client.
pub(crate) fn cells(
    site: &Site,
    clients: &[ClientId],
    value: &Plain<String>,
    rights: &mut Rights,
    tags: &mut RowTags,
    asked: &mut Vec<Asked>,
) -> Result<Vec<String>, GateError> {
    let row = match site.purpose {
        Use::Write { row } => row,
        Use::Search => Use::UPDATED,
    };
    let place = Place {
        sealing: site.sealing,
        column: &site.column,
        search: site.purpose == Use::Search,
    };
    if looks_sealed(value.expose().as_bytes()) {
        verify(&place, clients, value.expose().as_bytes(), rights)?;
        return Ok(vec![value.expose().clone()]);
    }
    let mut cells = Vec::with_capacity(clients.len());
    for (index, &client) in clients.iter().enumerate() {
        let keys = rights.keys(client)?;
        let tag = match site.sealing.mode {
            Mode::Random => tags.of(row, &keys)?,
            Mode::Exact => 0,
        };
        cells.push(seal_one(
            &place,
            client,
            &keys,
            tag,
            index == 0,
            value,
            rights,
            asked,
        )?);
    }
    Ok(cells)
}

/// Where a value goes.
pub(crate) struct Place<'a> {
    pub(crate) sealing: Sealing,
    pub(crate) column: &'a str,
    pub(crate) search: bool,
}

/// One cell of one value.
#[allow(clippy::too_many_arguments)]
pub(crate) fn seal_one(
    place: &Place<'_>,
    client: ClientId,
    keys: &ClientKeys,
    tag: u64,
    primary: bool,
    value: &Plain<String>,
    rights: &mut Rights,
    asked: &mut Vec<Asked>,
) -> Result<String, GateError> {
    let Sealing {
        class,
        domain,
        mode,
    } = place.sealing;
    rights.demand(client, class, place.search, place.column)?;
    let (cell, probe) = match mode {
        Mode::Random => (keys.seal_random(class, domain, tag, value.expose()), None),
        Mode::Exact => {
            let cell = keys.seal_exact(class, domain, value.expose());
            (cell, Some(keys.fingerprint(class, value.expose())))
        }
    };
    let cell = cell.map_err(|error| seal_error(&error, Some(place.column)))?;
    asked.push(Asked {
        client,
        class,
        probe,
        primary,
        search: place.search,
    });
    Ok(cell)
}

/// A cell that was handed in: it has to be one for this place, and to verify.
pub(crate) fn verify(
    place: &Place<'_>,
    clients: &[ClientId],
    cell: &[u8],
    rights: &mut Rights,
) -> Result<ClientId, GateError> {
    let refused = |why: &str| {
        GateError::new(
            "22023",
            format!("the cell handed in for column {} {why}", place.column),
        )
        .hint("Only whole cells that Sekisho sealed for this class, domain and client are taken.")
        .because(Reason::Value)
    };
    let header = CellHeader::peek(cell).ok_or_else(|| refused("is no whole cell"))?;
    let Sealing {
        class,
        domain,
        mode,
    } = place.sealing;
    if (header.class, header.domain, header.mode) != (class, domain, mode) {
        return Err(refused("is of another class, domain or mode"));
    }
    let moves_cells = rights.moves_cells();
    if !moves_cells && !clients.contains(&header.client) {
        return Err(refused("is of another client"));
    }
    let keys = if moves_cells {
        rights.keys_of_any(header.client)?
    } else {
        rights.keys(header.client)?
    };
    keys.open(cell).map_err(|_| refused("does not verify"))?;
    Ok(header.client)
}

fn seal_error(error: &seal::SealError, column: Option<&str>) -> GateError {
    let of = column
        .map(|name| format!(" for sealed column {name}"))
        .unwrap_or_default();
    GateError::new("22023", format!("a value{of} cannot be sealed: {error}")).because(Reason::Value)
}

/// Binds a sealed statement: writes the Bind with cells in place of values.
pub(crate) fn bind(
    prepared: Arc<Prepared>,
    bind: &Bind<'_>,
    rights: &mut Rights,
    out: &mut BytesMut,
) -> Result<Portal, GateError> {
    if *rights.scope() != prepared.scope {
        return Err(GateError::new(
            "55000",
            "the session's scope changed since the statement was prepared",
        )
        .hint("Prepare the statement again after SET sekisho.scope."));
    }
    let given: Vec<Option<&[u8]>> = bind.parameters.iter().collect();
    let mut formats: Vec<i16> = (0..given.len())
        .map(|index| bind.formats.of(index).unwrap_or(0))
        .collect();
    let mut replaced: HashMap<usize, Vec<u8>> = HashMap::new();
    let mut asked = Vec::new();
    let mut tags = RowTags::default();
    let statement = Arc::clone(&prepared.statement);
    for parameter in &statement.parameters {
        let index = usize::from(parameter.number) - 1;
        let Some(Some(value)) = given.get(index) else {
            continue;
        };
        let Some(site) = parameter
            .sites
            .first()
            .and_then(|site| statement.sites.get(*site))
        else {
            continue;
        };
        let read = |number: u16| client_parameter(&given, &formats, number);
        let binary = formats[index] == 1;
        let bound = match parameter.form {
            ParameterForm::One | ParameterForm::AnyOfScope => {
                let text = utf8(value, &site.column)?;
                let clients = clients_for(site, &text, rights, Some(&read))?;
                let cells = cells(site, &clients, &text, rights, &mut tags, &mut asked)?;
                match parameter.form {
                    ParameterForm::One => cells.into_iter().next().unwrap_or_default().into_bytes(),
                    _ => arrays::of_cells(&cells),
                }
            }
            ParameterForm::Array => {
                let elements = arrays::elements(value, binary).ok_or_else(|| {
                    GateError::new(
                        "22P02",
                        format!("parameter ${} is no array of text", parameter.number),
                    )
                })?;
                let mut all = Vec::with_capacity(elements.len());
                for element in elements {
                    match element {
                        None => all.push(None),
                        Some(text) => {
                            let clients = clients_for(site, &text, rights, Some(&read))?;
                            let some = cells(site, &clients, &text, rights, &mut tags, &mut asked)?;
                            all.extend(some.into_iter().map(Some));
                        }
                    }
                }
                arrays::of_nullable_cells(&all)
            }
        };
        formats[index] = 0;
        replaced.insert(index, bound);
    }
    let values = given
        .iter()
        .enumerate()
        .map(|(index, value)| replaced.get(&index).map(Vec::as_slice).or(*value));
    frontend::write_bind(
        out,
        bind.portal,
        bind.statement,
        formats.iter().copied(),
        values,
        bind.result_formats.iter(),
    )
    .map_err(|error| {
        GateError::new(
            "54000",
            format!("the statement with its cells does not fit: {error}"),
        )
    })?;
    Ok(Portal {
        name: bind.portal.to_vec(),
        prepared,
        asked,
        result_formats: bind.result_formats.iter().collect(),
    })
}

/// A client's number in a parameter, in text or as a binary integer.
fn client_parameter(
    given: &[Option<&[u8]>],
    formats: &[i16],
    number: u16,
) -> Result<ClientId, GateError> {
    let index = usize::from(number) - 1;
    let value = given.get(index).copied().flatten();
    let read = value.and_then(|value| {
        if formats.get(index) == Some(&1) {
            match *value {
                [a, b] => u32::try_from(i16::from_be_bytes([a, b])).ok(),
                [a, b, c, d] => u32::try_from(i32::from_be_bytes([a, b, c, d])).ok(),
                [a, b, c, d, e, f, g, h] => {
                    u32::try_from(i64::from_be_bytes([a, b, c, d, e, f, g, h])).ok()
                }
                _ => None,
            }
        } else {
            std::str::from_utf8(value).ok()?.trim().parse().ok()
        }
    });
    read.and_then(ClientId::new).ok_or_else(|| {
        GateError::new(
            "22023",
            format!("parameter ${number} has to be a client's number"),
        )
        .because(Reason::Value)
    })
}

pub(crate) fn utf8(value: &[u8], column: &str) -> Result<Plain<String>, GateError> {
    String::from_utf8(value.to_vec())
        .map(Plain::new)
        .map_err(|_| {
            GateError::new(
                "22021",
                format!("a value for sealed column {column} is not valid UTF-8"),
            )
            .because(Reason::Value)
        })
}

/// An asked value as the ledger charges it; `None` for random cells, which are no probes.
pub(crate) fn probe_of(asked: Asked) -> Option<ledger::Probe> {
    Some(ledger::Probe {
        client: asked.client,
        class: asked.class,
        fingerprint: asked.probe?,
        primary: asked.primary,
        as_exposure: false,
    })
}
