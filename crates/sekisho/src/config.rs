//! `sekisho.toml`: read whole or not at all. Errors name file, line, what is wrong, what is allowed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use event::Role;
use gate::{Limits, Listen};
use serde::{Deserialize, Serialize};

use crate::terminals::config::TerminalsConfig;
use crate::watching::config::{self as watch, WatchConfig};

/// What `logs.receipts.shown_ms` may be.
const SHOWN_MS: RangeInclusive<u64> = 5_000..=86_400_000;
/// What `logs.receipts.wait_ms_max` may be.
const RECEIPT_WAIT_MS: RangeInclusive<u64> = 0..=600_000;
/// What `logs.receipts.before_release_above` may be.
const BEFORE_RELEASE_ABOVE: RangeInclusive<u64> = 0..=10_000_000;

/// The configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The centre's name; it stands in the ledger's first record.
    pub centre: String,
    /// Where drivers connect.
    #[serde(default)]
    pub listen: ListenConfig,
    /// PostgreSQL.
    #[serde(default)]
    pub postgresql: PostgresConfig,
    /// The ledger.
    #[serde(default)]
    pub ledger: LedgerConfig,
    /// The logs that leave the system.
    #[serde(default)]
    pub logs: LogsConfig,
    /// Detection.
    #[serde(default)]
    pub watch: WatchConfig,
    /// Terminals.
    #[serde(default)]
    pub terminals: TerminalsConfig,
    /// The gate's limits.
    #[serde(default)]
    pub limits: Limits,
}

/// Where drivers connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// Addresses and ports.
    pub tcp: Vec<SocketAddr>,
    /// Paths of Unix sockets, relative to the folder.
    pub unix: Vec<PathBuf>,
    /// Offer TLS (required off loopback), with `tls/certificate.pem` and `tls/key.pem`.
    pub tls: bool,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            tcp: vec![([127, 0, 0, 1], 6432).into()],
            unix: Vec::new(),
            tls: true,
        }
    }
}

/// PostgreSQL.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresConfig {
    /// `true`: Sekisho starts, owns and stops a server of its own.
    pub embedded: bool,
    /// The folder of the server's programs, for the embedded server; empty: looked for.
    pub binaries: Option<PathBuf>,
    /// Host name or address, or the folder of a Unix socket when it begins with `/`.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// A file with the certificates (PEM) that vouch for the server; required off loopback.
    pub root_certificates: Option<PathBuf>,
    /// PostgreSQL's accounts by role of actors, and `owner` and `catalogue`; passwords stand in
    /// `secrets/upstream.toml`.
    pub users: BTreeMap<String, String>,
}

/// The ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// Size of a segment of the write-ahead log, in bytes.
    pub segment_bytes: u32,
    /// Segments that stay as they are before the oldest one is compressed into the archive.
    pub hot_segments: u32,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            segment_bytes: ledger::SEGMENT_BYTES,
            hot_segments: ledger::archive::HOT_SEGMENTS,
        }
    }
}

/// The logs that leave the system.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// The policy of witnesses (C2SP tlog-policy), relative to the folder; none: nobody cosigns.
    pub witnesses: Option<PathBuf>,
    /// Subjects exposed in all before a quorum of witnesses has seen it.
    pub uncovered_subjects_max: u64,
    /// How long a sealed read waits for the witnesses before it is refused, ms.
    pub uncovered_wait_ms_max: u64,
    /// Where copies go once a minute: a folder, or `s3://BUCKET/PREFIX` (credentials in AWS_...).
    pub publish: Option<String>,
    /// The S3-compatible server, if it is not AWS.
    pub publish_endpoint: Option<String>,
    /// The time stamp authority (RFC 3161), http or https; none: checkpoints are not stamped.
    pub timestamps: Option<String>,
    /// A file with the certificates (PEM) to trust for it, relative to the folder.
    pub timestamp_roots: Option<PathBuf>,
    /// How often the newest root checkpoint is stamped, ms.
    pub timestamp_interval_ms: u64,
    /// Stamps are stamped again so long before the authority's certificate ends, days.
    pub timestamp_renew_days: u32,
    /// Where receipts go, at most one place a client.
    pub receipts: Vec<ReceiptsConfig>,
}

/// Where a client's receipts go.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptsConfig {
    /// The client: code or number.
    pub client: String,
    /// `https://...`, or `http://` with a loopback address.
    pub url: ReceiverUrl,
    /// Certificates (PEM) that vouch for it beside the machine's authorities, relative to the folder.
    pub root_certificates: Option<PathBuf>,
    /// A checkpoint shows an entry at most so long after its time: the promise, ms.
    #[serde(default = "shown_ms")]
    pub shown_ms: u64,
    /// Subjects that may be released before their receipts are acknowledged; none: any number.
    pub before_release_above: Option<u64>,
    /// How long a sealed read beyond that waits for its receipt before it is refused, ms.
    #[serde(default = "receipt_wait_ms_max")]
    pub wait_ms_max: u64,
}

fn shown_ms() -> u64 {
    60_000
}

fn receipt_wait_ms_max() -> u64 {
    10_000
}

/// The URL of a receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReceiverUrl(String);

impl ReceiverUrl {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReceiverUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        ledger::logs::receipts::check_url(&url)?;
        Ok(Self(url))
    }
}

impl From<ReceiverUrl> for String {
    fn from(url: ReceiverUrl) -> Self {
        url.0
    }
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            witnesses: None,
            uncovered_subjects_max: 10_000,
            uncovered_wait_ms_max: 10_000,
            publish: None,
            publish_endpoint: None,
            timestamps: None,
            timestamp_roots: None,
            timestamp_interval_ms: 3_600_000,
            timestamp_renew_days: 30,
            receipts: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "{}: cannot be read; `sekisho init` writes one",
                path.display()
            )
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| located(path, &text, &error))?;
        config.check().with_context(|| path.display().to_string())?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if self.centre.trim().is_empty() {
            bail!("centre: is empty; give the centre's name");
        }
        if self.listen.tcp.is_empty() && self.listen.unix.is_empty() {
            bail!("listen: neither tcp nor unix; allowed: at least one address or path");
        }
        if let Some(address) = self.listen.tcp.iter().find(|a| !a.ip().is_loopback())
            && !self.listen.tls
        {
            bail!("listen.tcp: {address} is not loopback; listen.tls has to be true there");
        }
        let (least, most) = (ledger::SEGMENT_BYTES_MIN, ledger::SEGMENT_BYTES_MAX);
        let size = self.ledger.segment_bytes;
        if !(least..=most).contains(&size) || !size.is_multiple_of(4096) {
            bail!("ledger.segment_bytes: {size}; allowed: {least} to {most}, a multiple of 4096");
        }
        let (least, stay) = (ledger::archive::HOT_SEGMENTS_MIN, self.ledger.hot_segments);
        if stay < least {
            bail!("ledger.hot_segments: {stay}; allowed: {least} or more");
        }
        let depth = self.limits.statement_depth_max;
        if !(10..=sql::DEPTH_MAX).contains(&depth) {
            bail!(
                "limits.statement_depth_max: {depth}; allowed: 10 to {}",
                sql::DEPTH_MAX
            );
        }
        self.check_timestamps()?;
        self.check_receipts()?;
        self.watch.check()?;
        self.terminals.check()?;
        self.check_postgresql()
    }

    fn check_timestamps(&self) -> Result<()> {
        let logs = &self.logs;
        let Some(url) = &logs.timestamps else {
            return Ok(());
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            bail!("logs.timestamps: {url:?}; allowed: an address of the form http://HOST/PATH");
        }
        if logs.timestamp_roots.is_none() {
            bail!(
                "logs.timestamp_roots: missing; name a file with the certificates (PEM) to trust for {url}"
            );
        }
        if logs.timestamp_interval_ms < 1000 {
            bail!(
                "logs.timestamp_interval_ms: {}; allowed: at least 1000",
                logs.timestamp_interval_ms
            );
        }
        Ok(())
    }

    fn check_receipts(&self) -> Result<()> {
        let most = ledger::logs::receipts::RECEIVERS_MAX;
        let all = &self.logs.receipts;
        if all.len() > most {
            bail!("logs.receipts: {} tables; allowed: {most}", all.len());
        }
        for (place, given) in all.iter().enumerate() {
            let client = &given.client;
            if all[..place].iter().any(|before| before.client == *client) {
                bail!("logs.receipts: client {client:?} twice; allowed: one table a client");
            }
            let numbers = [
                ("shown_ms", given.shown_ms, SHOWN_MS),
                ("wait_ms_max", given.wait_ms_max, RECEIPT_WAIT_MS),
                (
                    "before_release_above",
                    given.before_release_above.unwrap_or(0),
                    BEFORE_RELEASE_ABOVE,
                ),
            ];
            for (name, given, allowed) in numbers {
                let (least, most) = allowed.clone().into_inner();
                if !allowed.contains(&given) {
                    bail!(
                        "logs.receipts.{name}: {given} (client {client:?}); allowed: {least} to {most}"
                    );
                }
            }
        }
        Ok(())
    }

    fn check_postgresql(&self) -> Result<()> {
        let postgresql = &self.postgresql;
        if postgresql.embedded {
            if postgresql.host.is_some() || postgresql.port.is_some() {
                bail!("postgresql: embedded = true and a host or port; allowed: one of them");
            }
            return Ok(());
        }
        let Some(host) = &postgresql.host else {
            bail!("postgresql: neither embedded = true nor host; allowed: one of them");
        };
        let local =
            host.starts_with('/') || matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if !local && postgresql.root_certificates.is_none() {
            bail!(
                "postgresql.root_certificates: missing; TLS with verification is required to {host}"
            );
        }
        for name in postgresql.users.keys() {
            if !matches!(name.as_str(), "owner" | "catalogue") && name.parse::<Role>().is_err() {
                bail!(
                    "postgresql.users.{name}: no such role; allowed: owner, catalogue, {}",
                    role_names()
                );
            }
        }
        for name in ["owner", "catalogue"] {
            if !postgresql.users.contains_key(name) {
                bail!(
                    "postgresql.users.{name}: missing; it is PostgreSQL's account for the gate's own work"
                );
            }
        }
        Ok(())
    }

    /// Where the gate listens; `folder` resolves relative paths.
    pub fn places(&self, folder: &Path) -> Vec<Listen> {
        let tcp = self.listen.tcp.iter().copied().map(Listen::Tcp);
        tcp.chain(
            self.listen
                .unix
                .iter()
                .map(|path| Listen::Unix(folder.join(path))),
        )
        .collect()
    }
}

fn role_names() -> String {
    Role::ALL
        .iter()
        .map(|role| role.name())
        .collect::<Vec<_>>()
        .join(", ")
}

fn located(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error
        .span()
        .map_or("", |span| &text[..span.start.min(text.len())]);
    let line = before.matches('\n').count() + 1;
    let message = error.message();
    // The message of the standard library shows no form.
    let form = match message.contains("socket address") {
        true => "; write an address and a port, like 127.0.0.1:6432",
        false => "",
    };
    anyhow::anyhow!("{}:{line}: {message}{form}", path.display())
}

/// The file that `sekisho init` writes.
pub fn template(centre: &str, embedded: bool) -> String {
    let limits = toml::to_string(&Limits::default()).unwrap_or_default();
    let limits: String = limits.lines().map(|line| format!("# {line}\n")).collect();
    let postgresql = if embedded {
        "# Sekisho starts, owns and stops a PostgreSQL of its own below this folder.\n\
         # For production name your own server instead, on another machine:\n\
         #   embedded = false\n\
         #   host = \"db.example.jp\"\n\
         #   port = 5432\n\
         #   root_certificates = \"/etc/ssl/db-ca.pem\"     # TLS with verification, required off loopback\n\
         # and PostgreSQL's accounts for each role of actors (passwords in secrets/upstream.toml):\n\
         #   [postgresql.users]\n\
         #   owner = \"sekisho_owner\"            # owns the sealed tables; used by `sekisho seal`\n\
         #   catalogue = \"sekisho_catalogue\"    # looks at pg_catalog\n\
         #   operator = \"sekisho_operator\"\n\
         #   maintainer = \"sekisho_maintainer\"\n\
         embedded = true\n\
         # The folder of postgres and initdb; without it they are looked for, and the choice is printed.\n\
         # binaries = \"/usr/lib/postgresql/15/bin\"\n"
    } else {
        "embedded = false\nhost = \"localhost\"\nport = 5432\n\n[postgresql.users]\nowner = \"sekisho_owner\"\n\
         catalogue = \"sekisho_catalogue\"\noperator = \"sekisho_operator\"\nsupervisor = \"sekisho_operator\"\n\
         maintainer = \"sekisho_maintainer\"\nimporter = \"sekisho_importer\"\n"
    };
    format!(
        "# Sekisho's configuration. Read at start; a file that is wrong anywhere is refused whole.\n\
         # Policy and numbers are not here: they are records of the ledger, changed by\n\
         # `sekisho policy propose` and `sekisho numbers propose`, and looser ones by two approvers.\n\n\
         # The centre's name; it stands in the ledger's first record.\n\
         centre = {centre:?}\n\n\
         [listen]\n\
         # Where drivers connect. Off loopback TLS is required.\n\
         tcp = [\"127.0.0.1:6432\"]\n\
         # unix = [\"gate.sock\"]\n\
         # Offer TLS with tls/certificate.pem and tls/key.pem.\n\
         tls = true\n\n\
         [postgresql]\n{postgresql}\n\
         [ledger]\n\
         # Bytes in a segment of the write-ahead log.\n\
         # segment_bytes = {segment}\n\
         # Segments that stay as they are; older ones are compressed into ledger/archive, and kept.\n\
         # hot_segments = {hot}\n\n\
         [logs]\n\
         # Witnesses and their quorum (C2SP tlog-policy), a file below this folder:\n\
         # witnesses = \"witnesses.policy\"\n\
         # People exposed in all before a quorum has cosigned it; then sealed reads wait so long (ms).\n\
         # (More than what is in force waits for two approvers; so does what drops it.)\n\
         # uncovered_subjects_max = 10000\n\
         # uncovered_wait_ms_max = 10000\n\
         # Where copies of all logs go once a minute: a folder or an S3-compatible store.\n\
         # publish = \"s3://bucket/prefix\"\n\
         # publish_endpoint = \"https://s3.example.jp\"\n\
         # A time stamp authority (RFC 3161) that is asked so often (ms) for the newest root checkpoint,\n\
         # and a file below this folder with the certificates (PEM) to trust for it:\n\
         # timestamps = \"http://timestamp.example.jp\"\n\
         # timestamp_roots = \"timestamp-roots.pem\"\n\
         # timestamp_interval_ms = 3600000\n\
         # Stamps are stamped again so many days before the authority's certificate ends.\n\
         # timestamp_renew_days = 30\n\
         # A client that wants it gets a receipt of each record of its log at once; and, if it says so,\n\
         # no more than so many of its people are shown before it has their receipts (as above):\n\
         # [[logs.receipts]]\n\
         # client = \"acme\"\n\
         # url = \"https://acme.example/receipts\"\n\
         # root_certificates = \"acme-ca.pem\"     # beside the machine's authorities\n\
         # shown_ms = 60000                       # a checkpoint shows a record so soon\n\
         # before_release_above = 1000\n\
         # wait_ms_max = 10000                    # then a sealed read waits so long\n\n\
         {watch}\n\
         # Every limit of the gate, with its default.\n\
         [limits]\n{limits}",
        watch = watch::TEMPLATE,
        segment = ledger::SEGMENT_BYTES,
        hot = ledger::archive::HOT_SEGMENTS,
    )
}

#[cfg(test)]
mod tests {
    use super::{Config, template};

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sekisho.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_init_writes_is_read() {
        for embedded in [true, false] {
            load(&template("Demo \"Centre\"", embedded)).unwrap();
        }
    }

    #[test]
    fn receivers_are_checked() {
        let with = |lines: &str| {
            let rest = "[postgresql]\nembedded = true\n";
            load(&format!("centre = \"x\"\n{rest}[[logs.receipts]]\n{lines}"))
        };
        let one = "client = \"acme\"\nurl = \"https://acme.example/r\"\n";
        let config = with(one).unwrap();
        assert_eq!(config.logs.receipts[0].shown_ms, 60_000);
        let plain = one.replace("https", "http");
        let bad = with(&plain).unwrap_err();
        assert!(
            bad.contains("sekisho.toml:6:") && bad.contains("allowed: https://"),
            "{bad}"
        );
        let twice = format!("{one}[[logs.receipts]]\n{one}");
        assert!(with(&twice).unwrap_err().contains("one table a client"));
        for (line, allowed) in [
            ("shown_ms = 10", "5000 to 86400000"),
            ("wait_ms_max = 9999999", "0 to 600000"),
            ("before_release_above = 99999999", "0 to 10000000"),
            ("befor_release_above = 1", "before_release_above"),
        ] {
            let bad = with(&format!("{one}{line}\n")).unwrap_err();
            assert!(bad.contains(allowed), "{bad}");
        }
    }

    #[test]
    fn errors_name_line_and_what_is_allowed() {
        let bad = load("centre = \"x\"\n[listen]\ntcpp = []\n").unwrap_err();
        assert!(
            bad.contains("sekisho.toml:3:") && bad.contains("tcpp"),
            "{bad}"
        );
        let bad =
            load("centre = \"x\"\n[listen]\ntcp = [\"0.0.0.0:1\"]\ntls = false\n").unwrap_err();
        assert!(bad.contains("0.0.0.0:1"), "{bad}");
        let bad = load("centre = \"x\"\n[ledger]\nhot_segments = 1\n").unwrap_err();
        assert!(bad.contains("hot_segments: 1; allowed: 2 or more"), "{bad}");
        for (line, says) in [
            (
                "timestamps = \"ftp://x\"",
                "allowed: an address of the form http",
            ),
            ("timestamps = \"http://x\"", "logs.timestamp_roots: missing"),
        ] {
            let text = format!("centre = \"x\"\n[postgresql]\nembedded = true\n[logs]\n{line}\n");
            let bad = load(&text).unwrap_err();
            assert!(bad.contains(says), "{bad}");
        }
        let bad = load("centre = \"x\"\n").unwrap_err();
        assert!(bad.contains("embedded"), "{bad}");
        let bad = load("centre = \"x\"\n[listen]\ntcp = [\"localhost:6432\"]\n").unwrap_err();
        assert!(
            bad.contains("sekisho.toml:3:") && bad.contains("like 127.0.0.1:6432"),
            "{bad}"
        );
    }
}
