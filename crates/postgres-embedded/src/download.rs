//! The last resort: the relocatable build of PostgreSQL that the crate `postgresql_embedded`
//! downloads (github.com/theseus-rs/postgresql-binaries), fetched by the machine's own `curl` or
//! `wget` and checked against a SHA-256 written here. That crate itself was measured and left out:
//! it brings about 60 further crates and minutes of build time for a case that is rare.
//!
//! Never: at compile time; a file whose checksum differs is deleted, not unpacked.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::folder;

/// The version that is downloaded.
const VERSION: &str = "18.4.0";

/// Platforms (architecture and system as Rust names them), the archive's target, its SHA-256.
const ARCHIVES: [(&str, &str, &str, &str); 4] = [
    (
        "x86_64",
        "linux",
        "x86_64-unknown-linux-gnu",
        "65c06cf318b9a57525d842d658d6d18cd461d12b3a89b57d6d8ed7cccbe2db53",
    ),
    (
        "aarch64",
        "linux",
        "aarch64-unknown-linux-gnu",
        "569984d426365c6ca3c197d2b3a999b73161ff1f3abc963824a8c3624620e5dd",
    ),
    (
        "x86_64",
        "macos",
        "x86_64-apple-darwin",
        "cbc38067a795d10bbddc730e61c835df0b351c36a7bd2544d388790fcf50aa4d",
    ),
    (
        "aarch64",
        "macos",
        "aarch64-apple-darwin",
        "1b68828f524b638a24918e258b173d0f16773547a0d3b83d9ba74473b61649f2",
    ),
];

/// How long the download may take; unpacking has the same again.
const DOWNLOAD_MAX: Duration = Duration::from_secs(600);

/// The greatest archive that is accepted, in bytes (curl only).
const ARCHIVE_BYTES_MAX: &str = "268435456";

/// The folders of programs that earlier runs left in the cache.
pub(crate) fn cached(cache: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cache) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("postgresql-")
        })
        .map(|entry| entry.path().join("bin"))
        .collect()
}

/// Downloads, checks and unpacks; gives the folder of programs. The error says why not.
pub(crate) async fn fetch(
    cache: &Path,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<PathBuf, String> {
    let here = (std::env::consts::ARCH, std::env::consts::OS);
    let (.., target, sha256) = ARCHIVES
        .into_iter()
        .find(|(arch, os, ..)| (*arch, *os) == here)
        .ok_or_else(|| format!("there is no build for {} {}", here.0, here.1))?;
    let name = format!("postgresql-{VERSION}-{target}");
    let url = format!(
        "https://github.com/theseus-rs/postgresql-binaries/releases/download/{VERSION}/{name}.tar.gz"
    );
    folder::make(cache, 0o755).map_err(|error| error.to_string())?;
    say(format!(
        "no PostgreSQL found; downloading {url} to {}",
        cache.display()
    ));
    let work = cache.join(format!("download-{}", std::process::id()));
    let done = fetch_into(&url, sha256, &work, &name, cache).await;
    // What is left of a failed attempt is of no use.
    let _ = std::fs::remove_dir_all(&work);
    done
}

async fn fetch_into(
    url: &str,
    sha256: &str,
    work: &Path,
    name: &str,
    cache: &Path,
) -> Result<PathBuf, String> {
    folder::make(work, 0o755).map_err(|error| error.to_string())?;
    let archive = work.join("archive.tar.gz");
    let mut curl = Command::new("curl");
    curl.args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--proto",
        "=https",
    ])
    .args([
        "--connect-timeout",
        "20",
        "--retry",
        "2",
        "--max-filesize",
        ARCHIVE_BYTES_MAX,
    ])
    .arg("--output")
    .arg(&archive)
    .arg(url);
    match run(curl).await {
        Ok(()) => {}
        Err(Failure::Missing) => {
            let mut wget = Command::new("wget");
            wget.args(["--quiet", "--timeout=20", "--tries=3", "--output-document"])
                .arg(&archive)
                .arg(url);
            run(wget).await.map_err(|failure| match failure {
                Failure::Missing => "neither `curl` nor `wget` is here".to_owned(),
                Failure::Failed(why) => why,
            })?;
        }
        Err(Failure::Failed(why)) => return Err(why),
    }
    unpack(&archive, sha256, work, name, cache).await
}

/// Checks an archive and moves its content into the cache, whole or not at all.
async fn unpack(
    archive: &Path,
    sha256: &str,
    work: &Path,
    name: &str,
    cache: &Path,
) -> Result<PathBuf, String> {
    let found = sha256_of(archive)
        .await
        .map_err(|error| error.to_string())?;
    if found != sha256 {
        return Err(format!(
            "its SHA-256 is {found}, not {sha256}; it was deleted"
        ));
    }
    let mut tar = Command::new("tar");
    tar.arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(work)
        .arg("--no-same-owner");
    run(tar).await.map_err(|failure| match failure {
        Failure::Missing => "`tar` is not here".to_owned(),
        Failure::Failed(why) => why,
    })?;
    let home = cache.join(name);
    if home.exists() {
        // It was there and did not run, or was made meanwhile.
        std::fs::remove_dir_all(&home).map_err(|error| error.to_string())?;
    }
    std::fs::rename(work.join(name), &home)
        .map_err(|error| format!("cannot move it to {}: {error}", home.display()))?;
    Ok(home.join("bin"))
}

enum Failure {
    Missing,
    Failed(String),
}

async fn run(mut command: Command) -> Result<(), Failure> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let name = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let output = tokio::time::timeout(DOWNLOAD_MAX, command.output())
        .await
        .map_err(|_| Failure::Failed(format!("{name} took longer than {DOWNLOAD_MAX:?}")))?
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Failure::Missing,
            _ => Failure::Failed(format!("{name}: {error}")),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(Failure::Failed(format!(
        "{name} failed ({}): {last}",
        output.status
    )))
}

async fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = tokio::fs::File::open(path).await?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
    }
    Ok(context
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::{ARCHIVES, cached, sha256_of, unpack};

    const NAME: &str = "postgresql-1.2.3-here";

    /// An archive of the form of the real ones, in a work folder of its own.
    fn archive(dir: &Path) -> (PathBuf, PathBuf) {
        let source = dir.join("source");
        std::fs::create_dir_all(source.join(NAME).join("bin")).unwrap();
        std::fs::write(source.join(NAME).join("bin/postgres"), "program").unwrap();
        let work = dir.join("work");
        std::fs::create_dir(&work).unwrap();
        let archive = work.join("archive.tar.gz");
        let done = Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(&source)
            .arg(NAME)
            .status()
            .unwrap();
        assert!(done.success());
        (archive, work)
    }

    #[tokio::test]
    async fn an_archive_with_the_right_checksum_is_cached() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, work) = archive(dir.path());
        let cache = dir.path().join("cache");
        std::fs::create_dir(&cache).unwrap();
        let sha256 = sha256_of(&archive).await.unwrap();
        let bin = unpack(&archive, &sha256, &work, NAME, &cache)
            .await
            .unwrap();
        assert!(bin.join("postgres").is_file());
        assert_eq!(cached(&cache), [bin]);
    }

    #[tokio::test]
    async fn another_checksum_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, work) = archive(dir.path());
        let why = unpack(&archive, ARCHIVES[0].3, &work, NAME, dir.path())
            .await
            .unwrap_err();
        assert!(why.contains("SHA-256"), "{why}");
        assert!(cached(dir.path()).is_empty());
    }
}
