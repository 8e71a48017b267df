//! Whose rights the server runs with.
//!
//! As root: the user `postgres`, else `sekisho-postgres`, else `nobody`. Never root. The standard
//! library drops all supplementary groups when a child of root is given another uid.

use std::os::unix::fs::chown;
use std::path::Path;

use tokio::process::Command;

use crate::ServerError;

/// The users that are looked for, best first.
const USERS: [&str; 3] = ["postgres", "sekisho-postgres", "nobody"];

/// The server's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// We are no root: the server shares our uid.
    Ours,
    /// We are root: the server is another user.
    Other { name: String, uid: u32, gid: u32 },
}

impl Identity {
    /// Chooses the user.
    pub(crate) fn choose() -> Result<Self, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::from_passwd(&passwd).ok_or_else(|| ServerError::NoUser {
            tried: USERS.join(", "),
        })
    }

    fn from_passwd(passwd: &str) -> Option<Self> {
        USERS.iter().find_map(|wanted| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| name == wanted)?;
                let uid = fields.nth(1)?.parse().ok().filter(|uid| *uid != 0)?;
                let gid = fields.next()?.parse().ok().filter(|gid| *gid != 0)?;
                Some(Self::Other {
                    name: name.to_owned(),
                    uid,
                    gid,
                })
            })
        })
    }

    /// Whether the server's user is another than ours.
    pub(crate) fn is_isolated(&self) -> bool {
        matches!(self, Self::Other { .. })
    }

    /// The user's name, for messages.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Ours => "(same as ours)",
            Self::Other { name, .. } => name,
        }
    }

    /// Makes a program run as the user, with nothing of our environment: no secrets, no `PG*`.
    pub(crate) fn apply(&self, command: &mut Command) {
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/bin:/bin");
        command.stdin(std::process::Stdio::null());
        // Anywhere that the user may be: initdb and postgres look at the folder they start in.
        command.current_dir("/");
        if let Self::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
    }

    /// Hands a file or folder to the user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), ServerError> {
        match self {
            Self::Ours => Ok(()),
            Self::Other { uid, gid, .. } => {
                chown(path, Some(*uid), Some(*gid)).map_err(ServerError::file("chown", path))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    fn name(passwd: &str) -> Option<String> {
        Identity::from_passwd(passwd).map(|it| it.name().to_owned())
    }

    #[test]
    fn the_best_user_is_chosen_and_never_root() {
        let nobody = "nobody:x:65534:65534::/:/bin/false\n";
        let postgres = "postgres:x:101:104::/var/lib/postgresql:/bin/bash\n";
        assert_eq!(
            name(&format!("{nobody}{postgres}")).as_deref(),
            Some("postgres")
        );
        assert_eq!(name(nobody).as_deref(), Some("nobody"));
        assert_eq!(name("postgres:x:0:0::/:/bin/sh\n"), None);
        assert_eq!(name("postgres:x:7:0::/:/bin/sh\n"), None);
        assert_eq!(name("postgres\n::::\npostgres:x:y:z\n"), None);
    }
}
