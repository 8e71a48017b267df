//! Finding the programs of a PostgreSQL server, in a fixed order: configured, named in the
//! environment, installed, cached by an earlier run, installed now by apt-get, downloaded. A folder counts only if `postgres`,
//! `initdb` and `pg_ctl` run there as the user that the server will run as.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::identity::Identity;
use crate::{FindError, download, install};

/// Major versions that Sekisho works with.
const MAJOR: std::ops::RangeInclusive<u16> = 14..=18;

/// The environment variable that names a folder of programs where the configuration names none:
/// the demo has no configuration of its own.
pub const VARIABLE: &str = "SEKISHO_POSTGRESQL";

/// How long `--version` may take.
const VERSION_MAX: Duration = Duration::from_secs(10);

/// A version of PostgreSQL: 15.18 is major 15, minor 18.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// Major version.
    pub major: u16,
    /// Minor version; 0 for a development version.
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    fn parse(line: &str) -> Option<Self> {
        let number = line
            .split_once("(PostgreSQL) ")?
            .1
            .split_whitespace()
            .next()?;
        let digits = |text: &str| -> Option<u16> {
            let end = text
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len());
            text[..end].parse().ok()
        };
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        Some(Self {
            major: digits(major)?,
            minor: digits(minor)?,
        })
    }
}

/// Where the programs came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// The configuration names them.
    Configured,
    /// The environment names them.
    Environment,
    /// They were installed on this machine.
    Installed,
    /// An earlier run downloaded them.
    Cached,
    /// `apt-get install postgresql` was run now.
    AptGet,
    /// They were downloaded now.
    Downloaded,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "named in the configuration",
            Self::Environment => "named in SEKISHO_POSTGRESQL",
            Self::Installed => "installed on this machine",
            Self::Cached => "downloaded by an earlier run",
            Self::AptGet => "installed now by apt-get",
            Self::Downloaded => "downloaded now",
        })
    }
}

/// The programs of a PostgreSQL server. `Display` is the line to print about the choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binaries {
    /// The folder with `postgres`, `initdb`, `pg_ctl`; symbolic links resolved.
    pub bin: PathBuf,
    /// The server's version.
    pub version: Version,
    /// Where they came from.
    pub source: Source,
}

impl fmt::Display for Binaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PostgreSQL {} in {} ({})",
            self.version,
            self.bin.display(),
            self.source
        )
    }
}

/// The folder for downloaded programs: `/var/cache/sekisho` as root (the server's user must reach
/// it), else `sekisho` in `$XDG_CACHE_HOME` or `~/.cache`.
pub fn default_cache() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/cache/sekisho");
    }
    let home = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    home("XDG_CACHE_HOME")
        .or_else(|| home("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("sekisho")
}

impl Binaries {
    /// Finds a server, or makes one available. `cache` is where an earlier run put a download and
    /// a new one goes ([`default_cache`]). `say` gets a line before anything slow is begun.
    ///
    /// # Errors
    /// [`FindError::Configured`] if `configured` or [`VARIABLE`] is given and unusable; [`FindError::Nothing`]
    /// with what was tried.
    pub async fn find(
        configured: Option<&Path>,
        cache: &Path,
        say: &mut (dyn FnMut(String) + Send),
    ) -> Result<Self, FindError> {
        let identity =
            Identity::choose().or_else(|error| match rustix::process::geteuid().is_root() {
                // apt-get brings the user `postgres` along.
                true if install::possible() => Ok(Identity::Ours),
                _ => Err(FindError::Identity(Box::new(error))),
            })?;
        if let Some((path, named)) = named(configured) {
            return probe(&path, named, &identity)
                .await
                .map_err(|why| FindError::Configured { path, named, why });
        }
        let mut tried = Vec::new();
        match best(installed(), Source::Installed, &identity).await {
            Ok(found) => return Ok(found),
            Err(why) => tried.push(format!("installed: {why}")),
        }
        match best(download::cached(cache), Source::Cached, &identity).await {
            Ok(found) => return Ok(found),
            Err(why) => tried.push(format!("in {}: {why}", cache.display())),
        }
        match install::apt_get(say).await {
            Ok(()) => {
                let identity =
                    Identity::choose().map_err(|error| FindError::Identity(Box::new(error)))?;
                match best(installed(), Source::AptGet, &identity).await {
                    Ok(found) => return Ok(found),
                    Err(why) => tried.push(format!("apt-get install postgresql: then {why}")),
                }
            }
            Err(why) => tried.push(format!("apt-get install postgresql: {why}")),
        }
        match download::fetch(cache, say).await {
            Ok(bin) => match probe(&bin, Source::Downloaded, &identity).await {
                Ok(found) => return Ok(found),
                Err(why) => tried.push(format!("download: {} does not run: {why}", bin.display())),
            },
            Err(why) => tried.push(format!("download: {why}")),
        }
        Err(FindError::Nothing { tried })
    }

    /// Another program of the same installation (`psql`, `pg_dump`), if it is there.
    pub fn tool(&self, name: &str) -> Option<PathBuf> {
        Some(self.bin.join(name)).filter(|path| path.is_file())
    }
}

/// The folder that was named, and by whom; the configuration rules.
fn named(configured: Option<&Path>) -> Option<(PathBuf, Source)> {
    match configured {
        Some(path) => Some((path.to_path_buf(), Source::Configured)),
        None => from_environment().map(|path| (path, Source::Environment)),
    }
}

/// The folder that [`VARIABLE`] names; empty counts as not set.
pub fn from_environment() -> Option<PathBuf> {
    std::env::var_os(VARIABLE)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The folders where a package manager may have put a server: PATH, then the usual places.
fn installed() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for (parent, prefix, rest) in [
        ("/usr/lib/postgresql", "", "bin"),       // Debian, Ubuntu, Gentoo
        ("/usr/local/lib/postgresql", "", "bin"), // built there by hand
        ("/usr", "pgsql-", "bin"),                // the packages of postgresql.org for Red Hat
        ("/usr/libexec", "postgresql", ""),       // Alpine
        ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew
        ("/usr/local/opt", "postgresql@", "bin"),
    ] {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        folders.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
                .map(|entry| entry.path().join(rest)),
        );
    }
    folders
}

/// The usable folder with the highest version; of equal ones the first in order of path.
async fn best(
    folders: Vec<PathBuf>,
    source: Source,
    identity: &Identity,
) -> Result<Binaries, String> {
    let resolved: BTreeSet<PathBuf> = folders
        .into_iter()
        // `postgres` itself is resolved: a link in PATH leads to the folder with the rest.
        .filter_map(|folder| folder.join("postgres").canonicalize().ok())
        .filter_map(|program| program.parent().map(Path::to_path_buf))
        .collect();
    let mut found: Option<Binaries> = None;
    let mut problems = Vec::new();
    for folder in resolved {
        match probe(&folder, source, identity).await {
            Ok(it) if found.as_ref().is_none_or(|best| best.version < it.version) => {
                found = Some(it);
            }
            Ok(_) => {}
            Err(why) => problems.push(format!("{}: {why}", folder.display())),
        }
    }
    found.ok_or_else(|| match problems.is_empty() {
        true => "none".to_owned(),
        false => problems.join("; "),
    })
}

/// Whether a folder's programs run, and of what version they are.
async fn probe(folder: &Path, source: Source, identity: &Identity) -> Result<Binaries, String> {
    let bin = folder
        .join("postgres")
        .canonicalize()
        .ok()
        .and_then(|program| program.parent().map(Path::to_path_buf))
        .ok_or_else(|| "no `postgres` in it".to_owned())?;
    let mut version = None;
    for program in ["postgres", "initdb", "pg_ctl"] {
        let mut command = Command::new(bin.join(program));
        identity.apply(&mut command);
        command
            .arg("--version")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(VERSION_MAX, command.output())
            .await
            .map_err(|_| format!("`{program} --version` took longer than {VERSION_MAX:?}"))?
            .map_err(|error| format!("`{program}` does not run: {error}"))?;
        if !output.status.success() {
            return Err(format!("`{program} --version` failed ({})", output.status));
        }
        let said = Version::parse(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| format!("`{program} --version` does not answer as PostgreSQL's"))?;
        if *version.get_or_insert(said) != said {
            return Err(format!("`{program}` is of another version than `postgres`"));
        }
    }
    match version {
        Some(version) if MAJOR.contains(&version.major) => Ok(Binaries {
            bin,
            version,
            source,
        }),
        Some(version) => Err(format!("version {version} is not in 14 to 18")),
        None => Err("no version".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use super::{Binaries, Source, Version, best, probe};
    use crate::FindError;
    use crate::identity::Identity;

    fn version(major: u16, minor: u16) -> Version {
        Version { major, minor }
    }

    /// A folder of scripts that answer `--version`, reachable by the server's user.
    fn fake(dir: &Path, name: &str, answers: [&str; 3]) -> PathBuf {
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
        let bin = dir.join(name);
        fs::create_dir(&bin).unwrap();
        for (program, answer) in ["postgres", "initdb", "pg_ctl"].iter().zip(answers) {
            let path = bin.join(program);
            fs::write(&path, format!("#!/bin/sh\necho '{program} {answer}'\n")).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        bin
    }

    #[test]
    fn versions_are_read() {
        let parse = |text| Version::parse(text);
        assert_eq!(
            parse("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(version(15, 18))
        );
        assert_eq!(parse("initdb (PostgreSQL) 18beta1"), Some(version(18, 0)));
        assert_eq!(parse("pg_ctl (PostgreSQL) 14.0"), Some(version(14, 0)));
        assert_eq!(parse("MariaDB 11.4"), None);
        assert_eq!(parse("postgres (PostgreSQL) "), None);
        assert_eq!(parse("postgres (PostgreSQL) x.y"), None);
    }

    #[tokio::test]
    async fn the_highest_allowed_version_wins() {
        let dir = tempfile::tempdir().unwrap();
        let is = |text: &'static str| [text; 3];
        let folders = vec![
            fake(dir.path(), "a", is("(PostgreSQL) 14.9")),
            fake(dir.path(), "b", is("(PostgreSQL) 17.2")),
            fake(dir.path(), "c", is("(PostgreSQL) 19.0")),
            fake(dir.path(), "d", is("(PostgreSQL) 9.6")),
            dir.path().join("missing"),
        ];
        let identity = Identity::choose().unwrap();
        let found = best(folders, Source::Installed, &identity).await.unwrap();
        assert_eq!(
            (found.version, found.bin),
            (version(17, 2), dir.path().join("b"))
        );
    }

    #[tokio::test]
    async fn unusable_folders_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::choose().unwrap();
        let good = "(PostgreSQL) 16.1";
        let other = fake(dir.path(), "other", [good, "(PostgreSQL) 15.1", good]);
        let alien = fake(dir.path(), "alien", ["1.0", good, good]);
        let missing = fake(dir.path(), "missing", [good; 3]);
        fs::remove_file(missing.join("pg_ctl")).unwrap();
        let failing = fake(dir.path(), "failing", [good; 3]);
        fs::write(failing.join("initdb"), "#!/bin/sh\nexit 3\n").unwrap();
        for (folder, expected) in [
            (other, "another version"),
            (alien, "does not answer"),
            (missing, "`pg_ctl` does not run"),
            (failing, "failed"),
            (dir.path().join("nowhere"), "no `postgres`"),
        ] {
            let why = probe(&folder, Source::Configured, &identity)
                .await
                .unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[tokio::test]
    async fn a_wrong_configured_path_is_refused_without_fallback() {
        let dir = tempfile::tempdir().unwrap();
        let mut said = Vec::new();
        let error = Binaries::find(Some(dir.path()), dir.path(), &mut |line| said.push(line))
            .await
            .unwrap_err();
        assert!(matches!(error, FindError::Configured { .. }), "{error}");
        assert!(said.is_empty());
    }
}
