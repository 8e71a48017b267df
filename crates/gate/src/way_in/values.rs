//! One value on its way in: whose key it needs, its cells, and what is asked for with it.

use std::collections::HashMap;

use event::record::RefusalReason as Reason;
use event::{ClientId, Mode, Plain, Sealing};
use seal::{CellHeader, ClientKeys, looks_sealed};
use sql::{ClientOf, Site, Use};

use super::Asked;
use crate::errors::GateError;
use crate::rights::Rights;

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
pub(super) fn clients_for(
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
        .because(Reason::Policy)
        .about(one));
    }
    Ok(vec![one])
}

/// The cells of one value, one for each client.
pub(super) fn cells(
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
    // As it is shown, however it was written.
    if place.search
        && primary
        && let Ok(canonical) = fingerprint::canonical(class, value.expose())
    {
        rights.sequence().saw(class, canonical.expose());
    }
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
