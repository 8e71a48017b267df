//! Parameters: a Bind of a sealed statement, written with cells in place of values.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use event::record::RefusalReason as Reason;
use event::{ClientId, Plain};
use pgwire::frontend::{self, Bind};
use sql::ParameterForm;

use super::values::{RowTags, cells, clients_for, utf8};
use super::{Portal, Prepared};
use crate::arrays;
use crate::errors::GateError;
use crate::rights::Rights;

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
        let mut sealed = |text: &Plain<String>| {
            let clients = clients_for(site, text, rights, Some(&read))?;
            cells(site, &clients, text, rights, &mut tags, &mut asked)
        };
        let bound = match parameter.form {
            ParameterForm::One => {
                let cells = sealed(&utf8(value, &site.column)?)?;
                cells.into_iter().next().unwrap_or_default().into_bytes()
            }
            ParameterForm::AnyOfScope => arrays::of_cells(&sealed(&utf8(value, &site.column)?)?),
            ParameterForm::Array => {
                let binary = formats[index] == 1;
                array(parameter.number, value, binary, &mut sealed)?
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

/// The cells of one value.
type Seal<'a> = dyn FnMut(&Plain<String>) -> Result<Vec<String>, GateError> + 'a;

/// An array of text with cells in place of its elements.
fn array(
    number: u16,
    value: &[u8],
    binary: bool,
    sealed: &mut Seal<'_>,
) -> Result<Vec<u8>, GateError> {
    let elements = arrays::elements(value, binary).ok_or_else(|| {
        GateError::new("22P02", format!("parameter ${number} is no array of text"))
    })?;
    let mut all = Vec::with_capacity(elements.len());
    for element in elements {
        match element {
            None => all.push(None),
            Some(text) => all.extend(sealed(&text)?.into_iter().map(Some)),
        }
    }
    Ok(arrays::of_nullable_cells(&all))
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
