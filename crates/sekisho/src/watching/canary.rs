//! Canaries: fictitious subjects among a client's own, whom nobody has a reason to look up.
//!
//! Invariants: their fingerprints and row tags are in the client's log before they are in the
//! database; their values are made, sealed and forgotten in this process, so nobody knows whom to
//! avoid, whoever ran the command included; PostgreSQL gets cells alone.

use anyhow::{Context, Result, bail, ensure};
use event::record::Body;
use event::{ActorId, Class, ClientId, ClientSource, Digest, LogId, Mode, PinnedRelation, Plain};
use fingerprint::ListEntry;
use ledger::beside::{Beside, Noted};
use seal::ClientKeys;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::sealing::{literal, quoted};
use crate::service::{Reply, Service};

/// Canaries planted at once at most.
const PLANTED_MAX: u32 = 500;
/// The code of a row tag's set in a list.
const ROW_TAG: u8 = 0x10;

/// What is to be planted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plant {
    /// Among whose.
    pub client: u32,
    /// How many.
    pub count: u32,
    /// The database.
    pub database: String,
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Columns that count on from the greatest number there.
    pub next: Vec<String>,
    /// Columns with a fixed value.
    pub set: Vec<(String, String)>,
    /// Sealed columns that stay NULL.
    pub leave: Vec<String>,
}

/// Plants them.
pub async fn plant(service: &Service, by: ActorId, plant: Plant) -> Result<Reply> {
    let state = service.recorder().state();
    let client = ClientId::new(plant.client)
        .filter(|client| state.clients.contains_key(client))
        .with_context(|| format!("there is no client {}", plant.client))?;
    ensure!(
        (1..=PLANTED_MAX).contains(&plant.count),
        "{} canaries at once; allowed: 1 to {PLANTED_MAX}",
        plant.count
    );
    let pin = state
        .pins
        .get(&plant.database)
        .with_context(|| format!("database {} has no pin in force", plant.database))?;
    let relation = pin
        .relations
        .iter()
        .find(|it| it.schema == plant.schema && it.name == plant.table)
        .with_context(|| format!("{}.{} is no sealed table", plant.schema, plant.table))?;
    for column in plant.next.iter().chain(plant.set.iter().map(|it| &it.0)) {
        let known = relation.column(column);
        let (_, known) = known.with_context(|| format!("there is no column {column}"))?;
        ensure!(known.sealing.is_none(), "column {column} is sealed");
    }
    let keys = service.keyring().client(client)?;
    let mut made = demo_data::Customers::new(u64::from_be_bytes(crate::people::random::<8>()?));
    let mut entries = Vec::new();
    let mut statements = vec!["BEGIN".to_owned()];
    for place in 0..plant.count {
        let customer = made.next().context("there are no more made-up customers")?;
        let (columns, tag) = sealed(relation, &plant, &keys, &customer, &mut entries)?;
        ensure!(
            tag || columns.iter().any(|(_, unique, _)| *unique),
            "{}.{}: has no sealed column by which one person is known; seal a telephone number, e-mail address, customer number or name",
            plant.schema,
            plant.table
        );
        statements.push(insert(relation, &plant, client, place, &columns)?);
    }
    statements.push("COMMIT".to_owned());
    // Before they are anywhere.
    let noted = Noted {
        log: LogId::Client(client),
        copies: Vec::new(),
        body: Body::Canary {
            count: plant.count,
            by,
            list: Digest([0; 32]),
        },
        beside: Beside::Keys(entries),
        keys: Some(client),
    };
    service.recorder().record_noted(noted).await?;
    let mut conversation = service.converse(&plant.database).await?;
    conversation
        .query(&statements.join(";\n"))
        .await
        .with_context(|| {
            format!(
                "{}.{}: they were not planted; what is on record of them harms nothing; try again",
                plant.schema, plant.table
            )
        })?;
    Ok(Reply {
        data: Some(json!({"client": client.get(), "planted": plant.count})),
        ..Reply::default()
    })
}

/// A column of a canary: its name, whether its value is nearly unique, its cell.
type Column = (String, bool, String);

/// The cells of one canary, and whether they share a row tag. Adds what it will be known by.
fn sealed(
    relation: &PinnedRelation,
    plant: &Plant,
    keys: &ClientKeys,
    customer: &demo_data::Customer,
    entries: &mut Vec<ListEntry>,
) -> Result<(Vec<Column>, bool)> {
    let tag = keys.row_tag()?;
    let mut tagged = false;
    let mut columns = Vec::new();
    for column in &relation.columns {
        let Some(sealing) = column.sealing else {
            continue;
        };
        let value = value(customer, sealing.class);
        if value.expose().is_empty() || plant.leave.contains(&column.name) {
            continue;
        }
        let cell = match sealing.mode {
            Mode::Random => {
                tagged = true;
                keys.seal_random(sealing.class, sealing.domain, tag, value.expose())
            }
            Mode::Exact => keys.seal_exact(sealing.class, sealing.domain, value.expose()),
        };
        let cell = cell.with_context(|| format!("column {}", column.name))?;
        let unique = sealing.class.may_be_exact();
        if unique {
            entries.push(ListEntry {
                code: sealing.class.code(),
                key: keys.fingerprint(sealing.class, value.expose()).0,
                weight: 1,
            });
        }
        columns.push((column.name.clone(), unique, cell));
    }
    if tagged {
        entries.push(ListEntry {
            code: ROW_TAG,
            key: tag,
            weight: 1,
        });
    }
    Ok((columns, tagged))
}

fn value(customer: &demo_data::Customer, class: Class) -> &Plain<String> {
    match class {
        Class::Name => &customer.name,
        Class::Kana => &customer.kana,
        Class::Address => &customer.address,
        Class::Phone => &customer.phone,
        Class::Email => &customer.email,
        Class::BirthDate => &customer.birth_date,
        Class::CustomerNumber => &customer.number,
        Class::FreeText => &customer.note,
    }
}

/// The statement that inserts one canary.
fn insert(
    relation: &PinnedRelation,
    plant: &Plant,
    client: ClientId,
    place: u32,
    sealed: &[Column],
) -> Result<String> {
    let table = format!("{}.{}", quoted(&relation.schema), quoted(&relation.name));
    let mut columns: Vec<(String, String)> = sealed
        .iter()
        .map(|(name, _, cell)| (quoted(name), literal(cell)))
        .collect();
    match &relation.client {
        ClientSource::Column(name) => columns.push((quoted(name), client.to_string())),
        ClientSource::Fixed(fixed) if *fixed == client => {}
        ClientSource::Fixed(fixed) => bail!("{table}: its rows are client {fixed}'s"),
        ClientSource::Scope => {}
    }
    for (name, text) in &plant.set {
        columns.push((quoted(name), literal(text)));
    }
    for name in &plant.next {
        let name = quoted(name);
        // A little apart from each other, as rows are that come in one by one.
        let step = u64::from(place) % 3 + 1;
        let next = format!("(SELECT coalesce(max({name}), 0) + {step} FROM {table})");
        columns.push((name, next));
    }
    let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    Ok(format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        names.join(", "),
        values.join(", ")
    ))
}
