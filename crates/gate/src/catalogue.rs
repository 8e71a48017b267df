//! The live catalogue of each database: its pin, and the views and functions that reach what is
//! pinned, looked up from PostgreSQL and kept fresh.
//!
//! Invariant: the pin's names are always in the catalogue, whatever PostgreSQL says; what is looked
//! up only adds names. On the way out nothing here is trusted to say whose a value is.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use event::{Class, ClientSource, Domain, Mode, Pin, PinnedRelation, Sealing};
use sql::{Catalogue, View, ViewColumn};

use crate::errors::GateError;
use crate::shared::{Shared, UpstreamLogin};
use crate::upstream::{Connected, UpstreamError};

/// A look-up older than this is made again.
const FRESH: Duration = Duration::from_secs(5);
/// How long a key that nobody holds or asks for stays in memory, in ms.
const KEYS_IDLE_MS_MAX: u64 = 10 * 60 * 1_000;
/// Databases that are kept.
const DATABASES_MAX: usize = 1_000;

/// All databases' catalogues.
pub(crate) struct Catalogues {
    login: UpstreamLogin,
    databases: Mutex<HashMap<String, Arc<Live>>>,
}

/// One database's.
pub(crate) struct Live {
    database: String,
    known: ArcSwap<Known>,
    stale: AtomicBool,
    looking: tokio::sync::Mutex<()>,
}

/// What is known of a database.
pub(crate) struct Known {
    pin: Pin,
    /// Whether this database has a pin of its own; one without (a restored copy) goes by the names
    /// of all pins, and gives nothing back clear.
    pinned: bool,
    catalogue: Catalogue,
    attributes: Arc<BTreeMap<(u32, i16), Sealing>>,
    generation: u64,
    at: Instant,
}

impl Catalogues {
    pub(crate) fn new(login: UpstreamLogin) -> Self {
        Self {
            login,
            databases: Mutex::default(),
        }
    }

    /// The catalogue of a database, looked up if it is not fresh.
    pub(crate) async fn of(&self, shared: &Shared, database: &str) -> Result<Arc<Live>, GateError> {
        let live = {
            let mut databases = self.databases.lock().expect("no panic while it is held");
            if databases.len() >= DATABASES_MAX && !databases.contains_key(database) {
                databases.clear();
            }
            Arc::clone(databases.entry(database.to_owned()).or_insert_with(|| {
                Arc::new(Live {
                    database: database.to_owned(),
                    known: ArcSwap::from_pointee(Known::nothing()),
                    stale: AtomicBool::new(true),
                    looking: tokio::sync::Mutex::new(()),
                })
            }))
        };
        live.refresh(shared, &self.login)
            .await
            .map_err(|error| upstream_error(&error))?;
        Ok(live)
    }

    /// Looks again at every database in use, until the gate stops.
    pub(crate) async fn keep_fresh(shared: Arc<Shared>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let begin = Instant::now();
        loop {
            tick.tick().await;
            let elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
            shared.keyring.sweep(elapsed_ms, KEYS_IDLE_MS_MAX);
            let all: Vec<Arc<Live>> = {
                let mut databases = shared
                    .catalogues
                    .databases
                    .lock()
                    .expect("no panic while it is held");
                // One reference is the map's own: nobody uses it any more.
                databases.retain(|_, live| Arc::strong_count(live) > 1);
                databases.values().cloned().collect()
            };
            for live in all {
                // A failure leaves what was known; sessions notice a lost PostgreSQL themselves.
                let _ = live.refresh(&shared, &shared.catalogues.login).await;
            }
        }
    }
}

impl Known {
    fn nothing() -> Self {
        let pin = Pin {
            database: String::new(),
            relations: Vec::new(),
        };
        Self {
            catalogue: Catalogue::new(&pin, Vec::new(), Vec::new()),
            pin,
            pinned: false,
            attributes: Arc::default(),
            generation: u64::MAX,
            at: Instant::now(),
        }
    }
}

impl Live {
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn known(&self) -> Arc<Known> {
        self.known.load_full()
    }

    /// A statement that may have changed the schema went through.
    pub(crate) fn stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    async fn refresh(&self, shared: &Shared, login: &UpstreamLogin) -> Result<(), UpstreamError> {
        if self.is_fresh(shared) {
            return Ok(());
        }
        let _one = self.looking.lock().await;
        if self.is_fresh(shared) {
            return Ok(());
        }
        self.stale.store(false, Ordering::Release);
        let generation = shared.recorder.generation();
        let (pin, pinned) = pin_of(&shared.recorder.state(), &self.database);
        let parameters = [
            ("database".to_owned(), self.database.clone()),
            ("application_name".to_owned(), "sekisho".to_owned()),
            ("client_encoding".to_owned(), "UTF8".to_owned()),
            (
                "options".to_owned(),
                "-c search_path=pg_catalog -c standard_conforming_strings=on".to_owned(),
            ),
        ];
        let looked = async {
            let mut connected = shared.upstream.connect(login, &parameters).await?;
            look(&mut connected, &pin).await
        };
        match looked.await {
            Ok((views, functions, attributes)) => {
                self.known.store(Arc::new(Known {
                    catalogue: Catalogue::new(&pin, views, functions),
                    pin,
                    pinned,
                    attributes: Arc::new(attributes),
                    generation,
                    at: Instant::now(),
                }));
                Ok(())
            }
            Err(error) => {
                self.stale.store(true, Ordering::Release);
                Err(error)
            }
        }
    }

    fn is_fresh(&self, shared: &Shared) -> bool {
        let known = self.known.load();
        !self.stale.load(Ordering::Acquire)
            && known.generation == shared.recorder.generation()
            && known.at.elapsed() < FRESH
    }
}

impl Known {
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned
    }

    pub(crate) fn pinned(&self, schema: &str, name: &str) -> Option<&PinnedRelation> {
        if !self.pinned {
            return None;
        }
        self.pin
            .relations
            .iter()
            .find(|r| r.schema == schema && r.name == name)
    }

    pub(crate) fn pinned_attributes(&self) -> &Arc<BTreeMap<(u32, i16), Sealing>> {
        &self.attributes
    }
}

/// A database's pin; for one without, the relations of all pins, and false.
fn pin_of(state: &ledger::State, database: &str) -> (Pin, bool) {
    if let Some(pin) = state.pins.get(database) {
        return ((**pin).clone(), true);
    }
    let mut relations: Vec<PinnedRelation> = Vec::new();
    for relation in state.pins.values().flat_map(|pin| &pin.relations) {
        if !relations
            .iter()
            .any(|r| r.schema == relation.schema && r.name == relation.name)
        {
            relations.push(relation.clone());
        }
    }
    (
        Pin {
            database: database.to_owned(),
            relations,
        },
        false,
    )
}

type Looked = (Vec<View>, Vec<String>, BTreeMap<(u32, i16), Sealing>);

async fn look(connected: &mut Connected, pin: &Pin) -> Result<Looked, UpstreamError> {
    if pin.relations.is_empty() {
        return Ok((Vec::new(), Vec::new(), BTreeMap::new()));
    }
    let attributes = look_at_attributes(connected, pin).await?;
    let views = look_at_views(connected, pin).await?;
    let functions = look_at_functions(connected, pin, &views).await?;
    Ok((views, functions, attributes))
}

/// The places of pinned columns in the live tables: what a plain result column names.
async fn look_at_attributes(
    connected: &mut Connected,
    pin: &Pin,
) -> Result<BTreeMap<(u32, i16), Sealing>, UpstreamError> {
    let rows = connected
        .query(
            "SELECT n.nspname, c.relname, a.attname, c.oid, a.attnum \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_attribute a ON a.attrelid = c.oid \
             JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'c' \
               AND k.conname LIKE 'sekisho\\_%' AND k.conkey @> ARRAY[a.attnum] \
             WHERE a.attnum > 0 AND NOT a.attisdropped",
        )
        .await?;
    let mut attributes = BTreeMap::new();
    for row in rows {
        let [
            Some(schema),
            Some(name),
            Some(column),
            Some(oid),
            Some(number),
        ] = row.as_slice()
        else {
            continue;
        };
        let sealing = pin
            .relations
            .iter()
            .find(|r| r.schema == *schema && r.name == *name)
            .and_then(|r| r.column(column))
            .and_then(|(_, column)| column.sealing);
        if let (Some(sealing), Ok(oid), Ok(number)) = (sealing, oid.parse(), number.parse()) {
            attributes.insert((oid, number), sealing);
        }
    }
    Ok(attributes)
}

/// Views that rest on pinned relations, directly or through other views, in order of dependence.
async fn look_at_views(connected: &mut Connected, pin: &Pin) -> Result<Vec<View>, UpstreamError> {
    let names = quoted_names(pin.relations.iter().map(|r| r.name.as_str()));
    let rows = connected
        .query(&format!(
            "WITH RECURSIVE v(oid, depth) AS ( \
               SELECT c.oid, 0 FROM pg_class c WHERE c.relname IN ({names}) AND c.relkind IN ('r','p','v','m','f') \
               UNION \
               SELECT r.ev_class, v.depth + 1 FROM v JOIN pg_depend d ON d.refobjid = v.oid \
                 AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_rewrite'::regclass \
               JOIN pg_rewrite r ON r.oid = d.objid WHERE r.ev_class <> v.oid AND v.depth < 32) \
             SELECT n.nspname, c.relname, max(v.depth), \
               (SELECT string_agg(CASE WHEN t.typcategory IN ('S','A','U','C','P') THEN 't ' ELSE 'p ' END || a.attname, E'\\n' ORDER BY a.attnum) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
             FROM v JOIN pg_class c ON c.oid = v.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('v','m') GROUP BY 1, 2, 4 ORDER BY 3"
        ))
        .await?;
    let mut views: Vec<View> = Vec::new();
    for row in rows {
        let [Some(schema), Some(name), _, Some(columns)] = row.as_slice() else {
            continue;
        };
        views.push(view_of(schema, name, columns));
    }
    Ok(views)
}

/// A view as the planner sees it: columns that can hold text may show something sealed, and can be
/// read, but not compared or written through the view; its other columns are plain.
fn view_of(schema: &str, name: &str, columns: &str) -> View {
    let columns = columns
        .split('\n')
        .filter_map(|line| line.split_once(' '))
        .map(|(kind, name)| ViewColumn {
            name: name.to_owned(),
            sealing: (kind == "t").then_some(UNKNOWN_SEALING),
            passes_through: false,
        })
        .collect();
    View {
        schema: schema.to_owned(),
        name: name.to_owned(),
        columns,
        client: ClientSource::Scope,
    }
}

/// What a view's column may show: some class, not to be compared with anything.
const UNKNOWN_SEALING: Sealing = Sealing {
    class: Class::FreeText,
    domain: Domain(0),
    mode: Mode::Random,
};

/// Functions whose source names something pinned.
async fn look_at_functions(
    connected: &mut Connected,
    pin: &Pin,
    views: &[View],
) -> Result<Vec<String>, UpstreamError> {
    let names = pin
        .relations
        .iter()
        .map(|r| r.name.as_str())
        .chain(views.iter().map(|v| v.name.as_str()));
    let patterns: Vec<String> = names
        .map(|name| format!("p.prosrc ILIKE '%{}%' ESCAPE '~'", like_quoted(name)))
        .collect();
    let rows = connected
        .query(&format!(
            "SELECT DISTINCT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prorettype <> 'trigger'::regtype AND ({})",
            patterns.join(" OR ")
        ))
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect())
}

fn quoted_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names
        .map(|name| format!("'{}'", name.replace('\'', "''")))
        .collect();
    quoted.join(",")
}

fn like_quoted(name: &str) -> String {
    name.replace('~', "~~")
        .replace('%', "~%")
        .replace('_', "~_")
        .replace('\'', "''")
}

fn upstream_error(error: &UpstreamError) -> GateError {
    GateError::new("08006", error.to_string())
        .hint("`sekisho doctor` looks at the connection to PostgreSQL.")
}
