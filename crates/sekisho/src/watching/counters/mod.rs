//! PostgreSQL's own counters, read beside the gate: rows that left sealed tables past it.
//!
//! Invariants: nothing here is between a driver and PostgreSQL; PostgreSQL is asked before the gate's own
//! account is taken, so that what is counted there has been accounted for here; a look that fails takes
//! nothing. The counters of an orderly end are kept in a file, so that what is read while the gate is
//! down is missed, too.
//!
//! Never: a row of a table. Only statistics are asked for.

mod compare;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use event::record::Body;
use event::{LogId, Pin};
use gate::{Tally, Upstream, UpstreamLogin};
use ledger::Handle;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::compare::{Account, Compared, Counter, Seen};
use super::live::Board;
use crate::folder;

/// PostgreSQL tells what a session read within so long.
const LAG: Duration = Duration::from_secs(1);
/// A look may take so long.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// A look is recorded after so long, also if nothing was read: that somebody looks is on record, and
/// detection's day ends where nothing else happens.
const RECORDED_WITHIN: Duration = Duration::from_secs(3600);
/// Databases that are looked at.
const DATABASES_MAX: usize = 1_000;
/// The longest file of counters, bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The newest look at a database.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Look {
    /// Looks so far.
    pub looks: u64,
    /// Rows that PostgreSQL read since the look before.
    pub rows: u64,
    /// Of these, so many are accounted for.
    pub accounted: u64,
    /// Why the newest one failed.
    pub failed: Option<String>,
}

/// What it needs.
pub struct Setup {
    /// PostgreSQL.
    pub upstream: Upstream,
    /// The account that looks at the catalogue.
    pub login: UpstreamLogin,
    /// What went through the gate.
    pub tally: Arc<Tally>,
    /// The ledger.
    pub handle: Handle,
    /// What others see of it.
    pub board: Arc<Board>,
    /// Between two looks.
    pub every: Duration,
    /// Where the counters are kept.
    pub file: PathBuf,
    /// Hears what a person should know.
    pub say: Arc<dyn Fn(String) + Send + Sync>,
}

/// The task.
#[derive(Debug)]
pub struct Counting {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Counting {
    /// Begins.
    pub fn start(setup: Setup) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(setup, stopped));
        Self { stop, task }
    }

    /// Looks once more, when all sessions have ended, and keeps what it saw.
    pub async fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn run(setup: Setup, mut stopped: oneshot::Receiver<()>) {
    let mut accounts = kept(&setup);
    let mut recorded = BTreeMap::new();
    // Whoever kills the gate leaves none behind: what its last sessions read is not known then.
    let _ = std::fs::remove_file(&setup.file);
    loop {
        look_at_all(&setup, &mut accounts, &mut recorded).await;
        let stop = tokio::select! {
            _ = &mut stopped => true,
            () = tokio::time::sleep(setup.every) => false,
        };
        if stop {
            break;
        }
    }
    look_at_all(&setup, &mut accounts, &mut recorded).await;
    if let Err(error) = keep(&setup, &accounts) {
        (setup.say)(format!("{error:#}"));
    }
}

type Accounts = BTreeMap<String, Account>;
/// When each database's newest look was recorded.
type Recorded = BTreeMap<String, Option<Instant>>;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    databases: Accounts,
}

/// The version of the file.
const FILE_VERSION: u32 = 1;

fn kept(setup: &Setup) -> Accounts {
    let read = || -> Option<File> {
        let length = std::fs::metadata(&setup.file).ok()?.len();
        let bytes = (length <= FILE_BYTES_MAX).then(|| std::fs::read(&setup.file).ok())??;
        serde_json::from_slice(&bytes).ok()
    };
    let file = read().filter(|file| file.version == FILE_VERSION);
    if file.is_none() && !setup.handle.state().pins.is_empty() {
        (setup.say)(
            "PostgreSQL's counters are compared from now on: those of an orderly end are not there"
                .to_owned(),
        );
    }
    file.map(|file| file.databases).unwrap_or_default()
}

fn keep(setup: &Setup, accounts: &Accounts) -> Result<()> {
    let databases = serde_json::to_value(accounts)?;
    let bytes =
        serde_json::to_vec(&serde_json::json!({"version": FILE_VERSION, "databases": databases}))?;
    folder::write_private(&setup.file, &bytes)
}

async fn look_at_all(setup: &Setup, accounts: &mut Accounts, recorded: &mut Recorded) {
    let state = setup.handle.state();
    for (database, pin) in state.pins.iter().take(DATABASES_MAX) {
        let account = accounts.entry(database.clone()).or_default();
        let recorded = recorded.entry(database.clone()).or_insert(None);
        let look = tokio::time::timeout(LOOK_MAX, look(setup, account, recorded, pin)).await;
        let looked = look.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in a minute")));
        let mut board = setup.board.counters();
        let shown = board.entry(database.clone()).or_default();
        match looked {
            Ok(compared) => {
                shown.looks += 1;
                (shown.rows, shown.accounted) = (compared.rows, compared.accounted);
                shown.failed = None;
            }
            Err(error) => {
                let error = format!("{error:#}");
                if shown.failed.as_ref() != Some(&error) {
                    (setup.say)(format!(
                        "PostgreSQL's counters of {database} cannot be read: {error}"
                    ));
                }
                shown.failed = Some(error);
            }
        }
    }
}

async fn look(
    setup: &Setup,
    account: &mut Account,
    recorded: &mut Option<Instant>,
    pin: &Pin,
) -> Result<Compared> {
    let mut conversation = setup.upstream.converse(&setup.login, &pin.database).await?;
    let rows = conversation.query(&query(pin)).await?;
    let seen = seen(&rows).context("PostgreSQL's counters are no numbers")?;
    // What it has counted, its sessions have handed over by then.
    tokio::time::sleep(LAG).await;
    let passed = setup.tally.take(&pin.database);
    let Some(compared) = account.look(seen, passed) else {
        return Ok(Compared::default());
    };
    let lately = recorded.is_some_and(|at| at.elapsed() < RECORDED_WITHIN);
    if compared == Compared::default() && lately {
        return Ok(compared);
    }
    let body = Body::Counters {
        database: pin.database.clone(),
        rows: compared.rows,
        accounted: compared.accounted,
        set_back: compared.set_back,
    };
    let done = setup.handle.record(LogId::Centre, body).await;
    done.context("they are not recorded")?;
    *recorded = Some(Instant::now());
    Ok(compared)
}

/// What PostgreSQL counts for the pinned tables, their partitions and indexes, and what writes that
/// look rows of them up: foreign keys, updates and deletes. Rows: kind, name, part, oid, count, size.
fn query(pin: &Pin) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let names = pin.relations.iter();
    let names: Vec<String> = names
        .map(|it| format!("({}, {})", quoted(&it.schema), quoted(&it.name)))
        .collect();
    let names = if names.is_empty() {
        "(NULL, NULL)".to_owned()
    } else {
        names.join(", ")
    };
    format!(
        "WITH RECURSIVE t(oid) AS ( \
           SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE (n.nspname, c.relname) IN ({names}) \
           UNION SELECT i.inhrelid FROM t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid), \
         r AS (SELECT c.oid, n.nspname || '.' || c.relname AS name, c.reltuples \
           FROM t JOIN pg_catalog.pg_class c ON c.oid = t.oid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace) \
         SELECT 'read', name, '', oid, pg_catalog.pg_stat_get_tuples_returned(oid) \
             + pg_catalog.pg_stat_get_tuples_fetched(oid), \
           greatest(reltuples::bigint, pg_catalog.pg_stat_get_live_tuples(oid), 0) FROM r \
         UNION ALL SELECT 'read', r.name, c.relname, c.oid, pg_catalog.pg_stat_get_tuples_fetched(c.oid), 0 \
           FROM r JOIN pg_catalog.pg_index x ON x.indrelid = r.oid \
           JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid \
         UNION ALL SELECT 'write', name, '', oid, pg_catalog.pg_stat_get_tuples_updated(oid) \
             + pg_catalog.pg_stat_get_tuples_deleted(oid), 0 FROM r \
         UNION ALL SELECT 'write', k.oid::text, k.conname, k.conrelid, \
             pg_catalog.pg_stat_get_tuples_inserted(k.conrelid) \
             + pg_catalog.pg_stat_get_tuples_updated(k.conrelid), 0 \
           FROM pg_catalog.pg_constraint k JOIN r ON r.oid = k.confrelid WHERE k.contype = 'f' \
         UNION ALL SELECT 'reset', coalesce(stats_reset::text, ''), '', 0, 0, 0 \
           FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()"
    )
}

fn seen(rows: &[Vec<Option<String>>]) -> Option<Seen> {
    let mut seen = Seen::default();
    for row in rows {
        let [
            Some(kind),
            Some(name),
            Some(part),
            Some(oid),
            Some(count),
            Some(size),
        ] = row.as_slice()
        else {
            return None;
        };
        let counter = Counter {
            oid: oid.parse().ok()?,
            count: count.parse().ok()?,
        };
        match kind.as_str() {
            "read" => {
                let size: u64 = size.parse().ok()?;
                seen.size = seen.size.saturating_add(size);
                let of = seen.reads.entry(name.clone()).or_default();
                of.insert(part.clone(), counter);
            }
            "write" => drop(seen.writes.insert(format!("{name} {part}"), counter)),
            _ => seen.set_back.clone_from(name),
        }
    }
    Some(seen)
}
