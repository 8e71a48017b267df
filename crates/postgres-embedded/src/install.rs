//! `apt-get install postgresql` on Debian and its kin, as root.
//!
//! Debian's package makes and starts a cluster `main`. It is told not to by a file in
//! `createcluster.d`, which is there only while apt-get runs; existing clusters are not touched.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long apt-get may take, for each of its two runs.
const APT_GET_MAX: Duration = Duration::from_secs(600);

const APT_GET: &str = "/usr/bin/apt-get";

/// Whether this is Debian or its kin and we are root.
pub(crate) fn possible() -> bool {
    rustix::process::geteuid().is_root() && Path::new(APT_GET).exists()
}

/// Installs the distribution's PostgreSQL. The error says why not.
pub(crate) async fn apt_get(say: &mut (dyn FnMut(String) + Send)) -> Result<(), String> {
    if !Path::new(APT_GET).exists() {
        return Err("no apt-get here".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("only root may; run it yourself, or let an administrator".to_owned());
    }
    say("no PostgreSQL found; installing Debian's: apt-get install postgresql".to_owned());
    let _no_main = NoMainCluster::write(Path::new("/etc/postgresql-common/createcluster.d"))?;
    // Old lists may do; the installation says so if not.
    let updated = run(&["update"]).await;
    run(&["install", "-y", "--no-install-recommends", "postgresql"])
        .await
        .map_err(|why| updated.err().unwrap_or(why))
}

async fn run(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(APT_GET);
    command
        .args([
            "-q",
            "-o",
            "DPkg::Lock::Timeout=120",
            "-o",
            "Dpkg::Use-Pty=0",
        ])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(APT_GET_MAX, command.output())
        .await
        .map_err(|_| format!("apt-get took longer than {APT_GET_MAX:?}"))?
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said
        .lines()
        .find(|line| line.starts_with("E:"))
        .unwrap_or("it failed")
        .to_owned())
}

/// The file that keeps Debian's package from making a cluster; gone when dropped.
struct NoMainCluster {
    file: PathBuf,
    made: Vec<PathBuf>,
}

impl NoMainCluster {
    fn write(folder: &Path) -> Result<Self, String> {
        let made = folder
            .ancestors()
            .take_while(|ancestor| !ancestor.exists())
            .map(Path::to_path_buf)
            .collect();
        let file = folder.join("sekisho.conf");
        std::fs::create_dir_all(folder)
            .and_then(|()| {
                std::fs::write(
                    &file,
                    "# only while Sekisho installs\ncreate_main_cluster = false\n",
                )
            })
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        Ok(Self { file, made })
    }
}

impl Drop for NoMainCluster {
    fn drop(&mut self) {
        // Best effort; a folder that meanwhile holds other files stays.
        let _ = std::fs::remove_file(&self.file);
        for folder in &self.made {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NoMainCluster;

    #[test]
    fn the_drop_in_is_there_only_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("postgresql-common/createcluster.d");
        let guard = NoMainCluster::write(&folder).unwrap();
        let text = std::fs::read_to_string(folder.join("sekisho.conf")).unwrap();
        assert!(text.contains("\ncreate_main_cluster = false\n"));
        drop(guard);
        assert!(!dir.path().join("postgresql-common").exists());

        std::fs::create_dir_all(&folder).unwrap();
        drop(NoMainCluster::write(&folder).unwrap());
        assert!(folder.exists(), "what was there before stays");
    }
}
