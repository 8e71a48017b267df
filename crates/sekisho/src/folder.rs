//! The data folder: where everything of one installation stands.
//!
//! ```text
//! DIR/sekisho.toml          the configuration
//! DIR/policy/               proposed policy, masks and numbers, as files to edit
//! DIR/keys/                 the master key and the clients' keys, wrapped
//! DIR/secrets/              credentials for PostgreSQL, password verifiers, the mock secret
//! DIR/people/               private keys that `init` made for the first people; hand them over
//! DIR/tls/                  the gate's certificate and its key
//! DIR/ledger/               the write-ahead log, and the logs that are derived from it
//! DIR/offline/              the identity key that `init` made; to be kept elsewhere
//! DIR/admin.sock            commands against a running `serve`
//! DIR/postgres/             the embedded server, readable by its own user alone
//! ```
//! DIR itself is 0711, so that PostgreSQL's user can pass to its folder; everything else is 0700
//! or 0600.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use zeroize::Zeroizing;

use crate::config::Config;

/// A data folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// An existing folder.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.join("sekisho.toml").is_file() {
            bail!(
                "{}: no Sekisho folder (no sekisho.toml); `sekisho init {0}` makes one",
                root.display()
            );
        }
        let root = root
            .canonicalize()
            .with_context(|| root.display().to_string())?;
        Ok(Self { root })
    }

    /// A new folder with its subfolders. Refuses one that holds anything.
    pub fn create(root: &Path) -> Result<Self> {
        if root.exists()
            && fs::read_dir(root)
                .with_context(|| root.display().to_string())?
                .next()
                .is_some()
        {
            bail!(
                "{}: is not empty; give a folder that does not exist or is empty",
                root.display()
            );
        }
        fs::create_dir_all(root).with_context(|| root.display().to_string())?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o711))?;
        let folder = Self {
            root: root.canonicalize()?,
        };
        for name in [
            "policy", "keys", "secrets", "people", "tls", "ledger", "offline",
        ] {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(folder.root.join(name))?;
        }
        Ok(folder)
    }

    /// A path below it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration.
    pub fn config(&self) -> Result<Config> {
        Config::load(&self.path("sekisho.toml"))
    }

    /// The folder of the ledger.
    pub fn ledger(&self) -> PathBuf {
        self.path("ledger")
    }

    /// Writes a file that nobody else may read: to a temporary one, synced, renamed.
    pub fn write_secret(&self, name: &str, content: &[u8]) -> Result<()> {
        write_private(&self.path(name), content)
    }

    /// A secret of 32 bytes that has to be there.
    pub fn kept_secret(&self, name: &str) -> Result<Zeroizing<[u8; 32]>> {
        let path = self.path(name);
        let bytes = Zeroizing::new(fs::read(&path).with_context(|| {
            format!(
                "{}: cannot be read; restore it from a backup",
                path.display()
            )
        })?);
        let secret = <[u8; 32]>::try_from(&bytes[..]);
        secret
            .map(Zeroizing::new)
            .map_err(|_| anyhow::anyhow!("{}: is not 32 bytes long", path.display()))
    }

    /// A secret of 32 random bytes, made at first use.
    pub fn secret(&self, name: &str) -> Result<[u8; 32]> {
        let path = self.path(name);
        if path.exists() {
            return Ok(*self.kept_secret(name)?);
        }
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no random bytes"))?;
        self.write_secret(name, &secret)?;
        Ok(secret)
    }
}

/// Writes a file with mode 0600: to a temporary one beside it, synced, renamed, the folder synced.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().context("a file has a folder")?;
    let name = path
        .file_name()
        .context("a file has a name")?
        .to_string_lossy();
    let temporary = parent.join(format!(".{name}.new"));
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(parent)?.sync_all()
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}

/// The default folder of commands: `SEKISHO_DIR`, or `sekisho` here.
pub fn default_folder() -> PathBuf {
    std::env::var_os("SEKISHO_DIR").map_or_else(|| PathBuf::from("sekisho"), PathBuf::from)
}
