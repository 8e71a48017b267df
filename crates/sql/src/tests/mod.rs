//! The corpus of statements with their plans, and properties of the planner.

mod corpus_test;
mod properties;

use event::{
    Class, ClientId, ClientSource, Domain, Mode, Pin, PinnedColumn, PinnedRelation, Plain, Sealing,
};

use crate::{
    Catalogue, ClientOf, DEPTH_MAX, Kind, ParameterForm, Refusal, SessionNames, Settings, Site,
    Statement, Use, Value, View, ViewColumn, plan,
};

pub(super) fn sealing(class: Class, domain: u16, mode: Mode) -> Option<Sealing> {
    Some(Sealing {
        class,
        domain: Domain(domain),
        mode,
    })
}

fn column(name: &str, type_name: &str, sealing: Option<Sealing>) -> PinnedColumn {
    PinnedColumn {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        sealing,
    }
}

/// Three sealed tables, a view of one, and a function that reads one.
pub(super) fn catalogue() -> Catalogue {
    let phone = sealing(Class::Phone, 1, Mode::Exact);
    let relation = |schema: &str, name: &str, columns, client| PinnedRelation {
        schema: schema.to_owned(),
        name: name.to_owned(),
        columns,
        client,
    };
    let pin = Pin {
        database: "crm".to_owned(),
        relations: vec![
            relation(
                "public",
                "calls",
                vec![
                    column("id", "bigint", None),
                    column("caller", "text", phone),
                    column("note", "text", sealing(Class::FreeText, 0, Mode::Random)),
                ],
                ClientSource::Scope,
            ),
            relation(
                "public",
                "customers",
                vec![
                    column("id", "bigint", None),
                    column("client_id", "integer", None),
                    column("name", "text", sealing(Class::Name, 0, Mode::Random)),
                    column("phone", "text", phone),
                    column("email", "text", sealing(Class::Email, 2, Mode::Exact)),
                    column("status", "text", None),
                ],
                ClientSource::Column("client_id".to_owned()),
            ),
            relation(
                "vip",
                "Gold Members",
                vec![column("phone", "text", phone)],
                ClientSource::Fixed(ClientId::new(7).unwrap()),
            ),
        ],
    };
    let view = View {
        schema: "public".to_owned(),
        name: "callers".to_owned(),
        columns: vec![
            ViewColumn {
                name: "tel".to_owned(),
                sealing: phone,
                passes_through: true,
            },
            ViewColumn {
                name: "either".to_owned(),
                sealing: phone,
                passes_through: false,
            },
            ViewColumn {
                name: "n".to_owned(),
                sealing: None,
                passes_through: false,
            },
        ],
        client: ClientSource::Scope,
    };
    Catalogue::new(&pin, vec![view], vec!["find_customer".to_owned()])
}

pub(super) fn settings(several_clients: bool) -> Settings {
    Settings {
        standard_conforming_strings: true,
        several_clients,
        cells_only: false,
        depth_max: DEPTH_MAX,
    }
}

/// Prints a refusal, a plan and its rendering on a few lines.
pub(super) fn describe(text: &str, settings: &Settings, names: &dyn SessionNames) -> String {
    match plan(text, &catalogue(), settings, names) {
        Err(refusal) => describe_refusal(&refusal),
        Ok(script) => script
            .statements
            .iter()
            .map(describe_statement)
            .collect::<Vec<_>>()
            .join("\n;\n"),
    }
}

fn describe_refusal(refusal: &Refusal) -> String {
    let position = refusal
        .position
        .map_or(String::new(), |position| format!(" @{position}"));
    format!("  REFUSED {} {}{position}", refusal.code, refusal.message)
}

fn describe_statement(statement: &Statement) -> String {
    let kind = match &statement.kind {
        Kind::Prepare { name, inner } => format!("Prepare {name} {:?}", inner.parameters),
        kind => format!("{kind:?}"),
    };
    let flag = |set: bool, name: &str| {
        if set {
            format!(" {name}")
        } else {
            String::new()
        }
    };
    let mut lines = vec![format!(
        "  {kind}{}{}{}",
        flag(statement.sealed, "sealed"),
        flag(statement.early, "early"),
        flag(statement.sets, "sets"),
    )];
    if !statement.sealed {
        return lines.join("\n");
    }
    let relations: Vec<String> = statement
        .relations
        .iter()
        .map(|r| format!("{}{}", r.written, flag(r.by_position, "by position")))
        .collect();
    lines.push(format!("  on {}", relations.join(", ")));
    for (index, site) in statement.sites.iter().enumerate() {
        lines.push(format!("  {index}: {}", describe_site(site)));
    }
    for parameter in &statement.parameters {
        let form = match parameter.form {
            ParameterForm::One => "one",
            ParameterForm::AnyOfScope => "any of scope",
            ParameterForm::Array => "array",
        };
        lines.push(format!(
            "  ${}: {form}, sites {:?}",
            parameter.number, parameter.sites
        ));
    }
    lines.push(format!("  > {}", render(statement).replace('\n', "\n    ")));
    lines.push(format!("  # {}", statement.shape));
    lines.join("\n")
}

fn describe_site(site: &Site) -> String {
    let purpose = match site.purpose {
        Use::Search => "search".to_owned(),
        Use::Write { row: Use::UPDATED } => "write, update".to_owned(),
        Use::Write { row } => format!("write, row {row}"),
    };
    let value = match &site.value {
        Value::Literal(value) => format!("'{}'", value.expose()),
        Value::Parameter(number) => format!("${number}"),
        Value::ArrayParameter(number) => format!("${number}[]"),
        Value::ListLiteral(values) => {
            let values: Vec<&str> = values
                .iter()
                .map(|v| v.as_ref().map_or("NULL", |v| v.expose().as_str()))
                .collect();
            format!("{values:?}")
        }
    };
    let client = match site.client {
        ClientOf::Scope => "scope".to_owned(),
        ClientOf::Number(client) => client.to_string(),
        ClientOf::Parameter(number) => format!("${number}"),
    };
    let each = if site.each_client {
        ", each client"
    } else {
        ""
    };
    format!(
        "{} {}.{} {value} {purpose}, client {client}{each}",
        site.sealing.class, site.relation, site.column
    )
}

/// Renders with made-up cells: two for each value over several clients.
pub(super) fn render(statement: &Statement) -> String {
    let cell = |site: &Site, value: &Plain<String>| {
        let one = format!("<{}>", value.expose());
        let cells = if site.each_client {
            vec![one.clone(), format!("{one}2")]
        } else {
            vec![one]
        };
        Ok::<_, ()>(cells)
    };
    statement.render(cell).unwrap().text
}
