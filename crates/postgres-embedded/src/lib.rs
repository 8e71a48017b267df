//! A PostgreSQL server that Sekisho starts, owns and stops: native, private to one folder,
//! reachable by Unix socket or loopback only, `fsync` on, with a password of its own.
//!
//! Invariants:
//! - As root, nothing of PostgreSQL runs as root: an unprivileged user without supplementary
//!   groups owns the data folder ([`Server::is_isolated`]). A database superuser can run programs
//!   as that user, so nothing of the gate's may be readable by it.
//! - The server is our own child, not a daemon. What a killed owner left behind is stopped before
//!   a new server starts on the same folder; two owners at once are refused by a lock.
//! - Every wait has a named limit ([`Limits`]).
//!
//! Layout for `Options::folder = DIR/postgres` ([`folder_for`] chooses it):
//!
//! | path | owner | mode | holds |
//! |---|---|---|---|
//! | `DIR` | gate | 0711 | the gate's files, each 0600, and folders, each 0700 |
//! | `DIR/postgres` | gate | 0711 | only the following |
//! | `DIR/postgres/owner.lock` | gate | 0600 | the lock of the running owner |
//! | `DIR/postgres/start.log` | gate | 0600 | what the server said before its logger ran |
//! | `DIR/postgres/data` | server's user | 0700 | the database; `data/log` is the server's log |
//! | `DIR/postgres/run` | server's user | 0700 | the Unix socket |
//!
//! Never: fetches anything while compiling; touches another cluster of the machine; sets up
//! access from other machines.

mod binaries;
mod download;
mod error;
mod folder;
mod identity;
mod install;
#[cfg(target_os = "linux")]
mod orphan;
#[cfg(not(target_os = "linux"))]
mod orphan {
    //! Without `/proc` it cannot be told whose a process is; PostgreSQL's own lock file refuses a
    //! second server on the same data then.
    pub(crate) async fn stop(
        _data: &std::path::Path,
        _step_max: std::time::Duration,
    ) -> Result<(), crate::ServerError> {
        Ok(())
    }
}
mod password;
mod roles;
mod server;

pub use binaries::{Binaries, Source, VARIABLE, Version, default_cache, from_environment};
pub use error::{FindError, ServerError};
pub use folder::folder_for;
pub use password::Password;
pub use roles::{Credentials, Roles, UpstreamRole, create_database, create_roles};
pub use server::{Limits, Listen, Options, Port, Server};
