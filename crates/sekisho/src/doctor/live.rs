//! PostgreSQL as it is: reachable, of a version that is known, quiet in its log, and shaped as the
//! pins say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use event::{Pin, PinnedRelation};
use gate::{Address, Conversation, Upstream, UpstreamLogin};
use ledger::State;
use zeroize::Zeroizing;

use super::Check;
use crate::config::Config;
use crate::folder::Folder;
use crate::sealing::{literal, quoted};
use crate::serve;

const NAME: &str = "PostgreSQL";
const LOGS: &str = "server's log";
const PIN: &str = "pin";
/// Major versions that are supported.
const VERSIONS: std::ops::RangeInclusive<u32> = 14..=18;
/// What keeps values of refused statements out of the server's log.
const QUIET: &[(&str, &str)] = &[
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
];

/// Where PostgreSQL is, and who owns sealed tables there.
struct Place {
    upstream: Upstream,
    owner: UpstreamLogin,
}

pub(super) async fn check(
    folder: &Folder,
    config: &Config,
    state: &State,
    running: bool,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let place = if config.postgresql.embedded {
        embedded(folder, config, running, &mut checks)
    } else {
        external(folder, config, &mut checks).await
    };
    let Some(place) = place else {
        if !state.pins.is_empty() {
            checks.push(Check::warn(
                PIN,
                "not compared with the live schema",
                "Run doctor again while PostgreSQL runs.",
            ));
        }
        return checks;
    };
    for pin in state.pins.values() {
        checks.extend(pinned(&place, pin).await);
    }
    if state.pins.is_empty() {
        let todo = "`sekisho seal` prepares a table; until then nothing is protected.";
        checks.push(Check::warn(
            PIN,
            "no database has a pin: every statement passes as it is",
            todo,
        ));
    }
    checks
}

/// The embedded server's programs, isolation, and place while it runs.
fn embedded(
    folder: &Folder,
    config: &Config,
    running: bool,
    checks: &mut Vec<Check>,
) -> Option<Place> {
    checks.push(match programs(config.postgresql.binaries.as_deref()) {
        Some(path) => Check::ok(NAME, format!("embedded, programs in {}", path.display())),
        None => Check::warn(
            NAME,
            "embedded, but no server is installed",
            "`serve` installs or downloads one; or install the package postgresql.",
        ),
    });
    let todo = "In production name a server on another machine in sekisho.toml, [postgresql].";
    checks.push(if rustix::process::geteuid().is_root() {
        Check::warn("isolation", "the server runs on this machine, as a user of its own", todo)
    } else {
        Check::warn("isolation", "the server shares our user, so its superuser could read our files; maintainers are no superusers", todo)
    });
    if !running {
        return None;
    }
    let data = postgres_embedded::folder_for(folder.root()).join("data");
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    // Line 4 is the port, line 5 the folder of the socket.
    let lines: Vec<&str> = pid.lines().map(str::trim).collect();
    let (Some(port), Some(run)) = (lines.get(3), lines.get(4)) else {
        checks.push(Check::fail(
            NAME,
            "the embedded server does not run",
            "Start `sekisho serve` again, and look at what it said and at the log in postgres/data/log.",
        ));
        return None;
    };
    let password = folder.secret("secrets/postgres").ok()?;
    Some(Place {
        upstream: Upstream {
            address: Address::Unix(Path::new(run).join(format!(".s.PGSQL.{port}"))),
            tls: None,
            connect_ms_max: config.limits.upstream_ms_max,
        },
        owner: UpstreamLogin {
            user: "sekisho".to_owned(),
            password: Zeroizing::new(serve::hex(&password)),
        },
    })
}

/// The folder of an installed server's programs. Nothing is run, installed or downloaded.
fn programs(configured: Option<&Path>) -> Option<PathBuf> {
    let named = configured.map(Path::to_owned);
    if let Some(path) = named.or_else(postgres_embedded::from_environment) {
        return path.join("postgres").is_file().then_some(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let packages = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let cached = std::fs::read_dir(postgres_embedded::default_cache())
        .into_iter()
        .flatten()
        .flatten();
    let folders = packages.chain(cached).map(|entry| entry.path().join("bin"));
    let mut all = folders.chain(std::env::split_paths(&path));
    all.find(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())
}

/// Each account logs in, and its sessions keep values out of the log.
async fn external(folder: &Folder, config: &Config, checks: &mut Vec<Check>) -> Option<Place> {
    let mut say = |_: String| {};
    let database = match serve::database(folder, config, &mut say).await {
        Ok(database) => database,
        Err(error) => {
            let todo = "Correct [postgresql] in sekisho.toml or secrets/upstream.toml.";
            checks.push(Check::fail(NAME, format!("{error:#}"), todo));
            return None;
        }
    };
    let mut accounts: BTreeMap<String, UpstreamLogin> = BTreeMap::new();
    let logins = database
        .logins
        .values()
        .chain([&database.owner, &database.catalogue]);
    accounts.extend(logins.map(|login| (login.user.clone(), login.clone())));
    let mut usable = true;
    for (user, login) in &accounts {
        match database.upstream.converse(login, "postgres").await {
            Ok(mut conversation) => checks.extend(account(user, &mut conversation).await),
            Err(error) => {
                usable &= *user != database.owner.user;
                let todo = "Is the server up, and are account, password and pg_hba.conf right?";
                checks.push(Check::fail(NAME, format!("as {user}: {error}"), todo));
            }
        }
    }
    usable.then_some(Place {
        upstream: database.upstream,
        owner: database.owner,
    })
}

async fn account(user: &str, conversation: &mut Conversation) -> Vec<Check> {
    let mut checks = Vec::new();
    let version = conversation.query("SHOW server_version_num").await;
    let version = version
        .ok()
        .and_then(|rows| rows.into_iter().flatten().flatten().next());
    let major = version
        .and_then(|text| text.parse::<u32>().ok())
        .map(|number| number / 10_000);
    checks.push(match major {
        Some(major) if VERSIONS.contains(&major) => {
            Check::ok(NAME, format!("{user} logs in; version {major}"))
        }
        Some(major) => Check::fail(NAME, format!("version {major}"), "Use PostgreSQL 14 to 18."),
        None => Check::fail(
            NAME,
            format!("{user}: its version cannot be read"),
            "Is this PostgreSQL?",
        ),
    });
    let names: Vec<String> = QUIET.iter().map(|(name, _)| literal(name)).collect();
    let asked = format!(
        "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ({})",
        names.join(",")
    );
    match conversation.query(&asked).await {
        Ok(rows) => checks.extend(quiet(user, &pairs(rows))),
        Err(error) => checks.push(Check::warn(
            LOGS,
            format!("{user}: {error}"),
            "Look at pg_settings by hand.",
        )),
    }
    checks
}

fn pairs(rows: Vec<Vec<Option<String>>>) -> BTreeMap<String, String> {
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        Some((row.next()??, row.next()??))
    };
    rows.into_iter().filter_map(pair).collect()
}

fn quiet(user: &str, settings: &BTreeMap<String, String>) -> Option<Check> {
    let loud: Vec<String> = QUIET
        .iter()
        .filter(|(name, value)| settings.get(*name).is_some_and(|found| found != value))
        .map(|(name, value)| format!("ALTER ROLE {} SET {name} = '{value}';", quoted(user)))
        .collect();
    if loud.is_empty() {
        return Some(Check::ok(LOGS, format!("quiet for {user}")));
    }
    let todo = format!("As superuser: {}", loud.join(" "));
    Some(Check::fail(
        LOGS,
        format!("PostgreSQL would log statements or values of {user}"),
        todo,
    ))
}

/// A database's tables against its pin.
async fn pinned(place: &Place, pin: &Pin) -> Vec<Check> {
    let mut conversation = match place.upstream.converse(&place.owner, &pin.database).await {
        Ok(conversation) => conversation,
        Err(error) => {
            let todo = "Is the database there, and may the owning account connect?";
            return vec![Check::fail(
                PIN,
                format!("database {}: {error}", pin.database),
                todo,
            )];
        }
    };
    let mut checks = Vec::new();
    for relation in &pin.relations {
        let name = format!("{} {}.{}", pin.database, relation.schema, relation.name);
        let differs = match compare(&mut conversation, relation).await {
            Ok(differs) => differs,
            Err(error) => vec![error.to_string()],
        };
        checks.push(if differs.is_empty() {
            Check::ok(PIN, format!("{name} is as pinned"))
        } else {
            Check::fail(
                PIN,
                format!("{name} differs: {}", differs.join("; ")),
                "Find out who changed it. Put it back, or `sekisho seal` and two approvals.",
            )
        });
        for column in &relation.columns {
            if column
                .sealing
                .is_some_and(|s| s.mode == event::Mode::Exact && !s.class.may_be_exact())
            {
                let saw = format!("{name}.{} is exact, and its class may not be", column.name);
                checks.push(Check::fail(
                    PIN,
                    saw,
                    "Seal it as random: equality shows frequencies.",
                ));
            }
        }
    }
    checks
}

/// What differs between a table and its pin: columns, and CHECK constraints with their expressions.
async fn compare(
    conversation: &mut Conversation,
    relation: &PinnedRelation,
) -> anyhow::Result<Vec<String>> {
    let (schema, name) = (literal(&relation.schema), literal(&relation.name));
    let table = format!(
        "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relname = {name} AND c.relkind IN ('r', 'p')"
    );
    let live = conversation
        .query(&format!(
            "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) \
             FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped \
             AND a.attrelid IN (SELECT c.oid FROM {table}) ORDER BY a.attnum"
        ))
        .await?;
    if live.is_empty() {
        return Ok(vec!["there is no such table".to_owned()]);
    }
    let live: Vec<(String, String)> = live
        .into_iter()
        .filter_map(|row| {
            let mut row = row.into_iter();
            Some((row.next()??, row.next()??))
        })
        .collect();
    let mut differs = columns(relation, &live);
    let is_live = |name: &String| live.iter().any(|(live, _)| live == name);
    if !relation.columns.iter().all(|column| is_live(&column.name)) {
        return Ok(differs);
    }
    let found = pairs(
        conversation
            .query(&format!(
                "SELECT k.conname, pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k \
                 WHERE k.contype = 'c' AND k.conname LIKE 'sekisho\\_%' \
                 AND k.conrelid IN (SELECT c.oid FROM {table})"
            ))
            .await?,
    );
    let wanted = wanted_checks(conversation, relation).await?;
    for (name, definition) in &wanted {
        match found.get(name) {
            None => differs.push(format!("CHECK {name} is missing")),
            Some(live) if live != definition => {
                differs.push(format!("CHECK {name} tests something else"))
            }
            Some(_) => {}
        }
    }
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        differs.push(format!("CHECK {name} is not of the pin"));
    }
    Ok(differs)
}

fn columns(relation: &PinnedRelation, live: &[(String, String)]) -> Vec<String> {
    let mut differs = Vec::new();
    for column in &relation.columns {
        match live.iter().find(|(name, _)| *name == column.name) {
            None => differs.push(format!("column {} is gone", column.name)),
            Some((_, kind)) if *kind != column.type_name => {
                differs.push(format!(
                    "column {} is {kind}, pinned as {}",
                    column.name, column.type_name
                ));
            }
            Some(_) => {}
        }
    }
    for (name, _) in live
        .iter()
        .filter(|(name, _)| relation.column(name).is_none())
    {
        differs.push(format!("column {name} is new"));
    }
    let order = relation
        .columns
        .iter()
        .map(|c| &c.name)
        .eq(live.iter().map(|(name, _)| name));
    if differs.is_empty() && !order {
        differs.push("the columns are in another order".to_owned());
    }
    differs
}

/// The constraints as PostgreSQL itself writes them: made on a temporary copy of the table's shape,
/// read, and rolled back.
async fn wanted_checks(
    conversation: &mut Conversation,
    relation: &PinnedRelation,
) -> anyhow::Result<BTreeMap<String, String>> {
    let qualified = format!("{}.{}", quoted(&relation.schema), quoted(&relation.name));
    let mut script = format!("BEGIN; CREATE TEMP TABLE sekisho_doctor (LIKE {qualified});");
    for column in &relation.columns {
        if let Some(sealing) = &column.sealing {
            let check = seal::check_expression(&column.name, sealing, &relation.client);
            let name = quoted(&sealing.constraint_name(&column.name));
            script.push_str(&format!(
                "ALTER TABLE pg_temp.sekisho_doctor ADD CONSTRAINT {name} CHECK ({check});"
            ));
        }
    }
    script.push_str(
        "SELECT conname, pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint \
         WHERE conrelid = 'pg_temp.sekisho_doctor'::pg_catalog.regclass AND contype = 'c'",
    );
    let rows = conversation.query(&script).await;
    conversation.query("ROLLBACK").await?;
    Ok(pairs(rows?))
}

#[cfg(test)]
mod tests {
    use super::{columns, quiet};
    use event::{ClientSource, PinnedColumn, PinnedRelation};

    #[test]
    fn differences_are_named() {
        let column = |name: &str| PinnedColumn {
            name: name.to_owned(),
            type_name: "text".to_owned(),
            sealing: None,
        };
        let relation = PinnedRelation {
            schema: "public".to_owned(),
            name: "customer".to_owned(),
            columns: vec![column("a"), column("b")],
            client: ClientSource::Scope,
        };
        let live = |names: &[(&str, &str)]| -> Vec<(String, String)> {
            names
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()))
                .collect()
        };
        assert!(columns(&relation, &live(&[("a", "text"), ("b", "text")])).is_empty());
        let differs = columns(&relation, &live(&[("a", "integer"), ("c", "text")]));
        assert_eq!(
            differs,
            [
                "column a is integer, pinned as text",
                "column b is gone",
                "column c is new"
            ]
        );
        let differs = columns(&relation, &live(&[("b", "text"), ("a", "text")]));
        assert_eq!(differs, ["the columns are in another order"]);
    }

    #[test]
    fn a_loud_log_is_a_failure() {
        let settings = [("log_statement".to_owned(), "all".to_owned())].into();
        let check = quiet("op", &settings).unwrap();
        assert!(check.todo.unwrap().contains("SET log_statement = 'none'"));
    }
}
