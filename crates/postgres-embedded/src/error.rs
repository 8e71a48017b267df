//! What can go wrong, with what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::Source;

/// No PostgreSQL server was found or made available.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The named folder is no installation of PostgreSQL. Nothing else is tried then.
    #[error(
        "{path} ({named}) holds no usable PostgreSQL: {why}; name a folder with `postgres`, `initdb` and \
         `pg_ctl` of version 14 to 18 (for example /usr/lib/postgresql/15/bin)",
        path = path.display()
    )]
    Configured {
        /// The folder as named.
        path: PathBuf,
        /// Where it was named.
        named: Source,
        /// What is missing.
        why: String,
    },
    /// Everything was tried.
    #[error(
        "no PostgreSQL server (version 14 to 18) is to be had:\n  {tried}\ninstall one (Debian, \
         Ubuntu: apt-get install postgresql), or name the folder of its programs in \
         sekisho.toml ([postgresql] binaries) or in SEKISHO_POSTGRESQL",
        tried = tried.join("\n  ")
    )]
    Nothing {
        /// One line for each source: what was tried and what came of it.
        tried: Vec<String>,
    },
    /// No user to run the server as.
    #[error(transparent)]
    Identity(Box<ServerError>),
}

/// The server could not be started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An operation on a file.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Running as root with no unprivileged user.
    #[error(
        "PostgreSQL refuses to run as root and this machine has none of the users {tried}; create \
         one (useradd --system sekisho-postgres)"
    )]
    NoUser {
        /// The names that were looked for.
        tried: String,
    },
    /// The server's user cannot reach the folder.
    #[error(
        "the user `{user}`, which runs PostgreSQL, cannot pass through {path}: chmod o+x it, or \
         choose a data folder elsewhere",
        path = path.display()
    )]
    NotTraversable {
        /// The folder in the way.
        path: PathBuf,
        /// The server's user.
        user: String,
    },
    /// Another process owns the server of this folder.
    #[error("{path} is in use by another Sekisho process; stop it first", path = path.display())]
    Owned {
        /// The folder.
        path: PathBuf,
    },
    /// The database was made by another major version.
    #[error(
        "the database in {path} was made by PostgreSQL {found}, the server found is version \
         {server}; name the programs of version {found} in the configuration, or migrate with \
         pg_dump",
        path = path.display()
    )]
    MajorVersion {
        /// The data folder.
        path: PathBuf,
        /// Major version of the data.
        found: String,
        /// Major version of the programs.
        server: u16,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// Which.
        program: &'static str,
        /// How.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// The port is taken.
    #[error("port {port} of 127.0.0.1 is in use by another program; choose another or stop it")]
    PortTaken {
        /// Which.
        port: u16,
    },
    /// The server ended while it was starting.
    #[error("PostgreSQL ended while starting ({status}): {output}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        output: String,
    },
    /// A limit of time passed.
    #[error("PostgreSQL took longer than {limit:?} to {what}")]
    Deadline {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The server answered, but not as wanted.
    #[error("PostgreSQL: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// An identifier that this crate does not pass on.
    #[error("`{0}` is no name for a database here: 1 to 63 of a-z 0-9 _, a letter first")]
    Name(String),
}

impl ServerError {
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
