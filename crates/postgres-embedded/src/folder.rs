//! Where the server's folder can be, and its layout.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::ServerError;
use crate::identity::Identity;

/// The folder for the server of the gate's folder `dir`: `dir/postgres`, unless we are root and
/// the server's user cannot pass through to it (a checkout below `/root`); then
/// `/var/lib/sekisho/postgres-HASH`, the same at every call for the same `dir`.
pub fn folder_for(dir: &Path) -> PathBuf {
    let near = dir.join("postgres");
    match Identity::choose() {
        Ok(Identity::Other { uid, gid, .. }) if blocked(&near, uid, gid).is_some() => {
            let hash = aws_lc_rs::digest::digest(
                &aws_lc_rs::digest::SHA256,
                std::path::absolute(dir)
                    .as_deref()
                    .unwrap_or(dir)
                    .as_os_str()
                    .as_encoded_bytes(),
            );
            let name: String = hash
                .as_ref()
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            Path::new("/var/lib/sekisho").join(format!("postgres-{name}"))
        }
        _ => near,
    }
}

/// The first existing folder above `path` that the user may not pass through.
pub(crate) fn blocked(path: &Path, uid: u32, gid: u32) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let mut above: Vec<&Path> = absolute.ancestors().skip(1).collect();
    above.reverse();
    above
        .into_iter()
        .find(|folder| {
            fs::metadata(folder).is_ok_and(|meta| {
                let shift = if meta.uid() == uid {
                    6
                } else if meta.gid() == gid {
                    3
                } else {
                    0
                };
                meta.mode() >> shift & 1 == 0
            })
        })
        .map(Path::to_path_buf)
}

/// The paths below the server's folder.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) folder: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) start_log: PathBuf,
}

/// `sun_path` holds 108 bytes with its zero on Linux, 104 elsewhere.
const SOCKET_PATH_BYTES_MAX: usize = 103;

impl Layout {
    /// Makes the folders, or mends their modes and owners.
    pub(crate) fn prepare(folder: &Path, identity: &Identity) -> Result<Self, ServerError> {
        let folder = std::path::absolute(folder)
            .map_err(ServerError::file("find the absolute path of", folder))?;
        make(&folder, 0o711)?;
        let folder = folder
            .canonicalize()
            .map_err(ServerError::file("resolve the path of", &folder))?;
        if let Identity::Other { name, uid, gid } = identity
            && let Some(path) = blocked(&folder.join("data"), *uid, *gid)
        {
            return Err(ServerError::NotTraversable {
                path,
                user: name.clone(),
            });
        }
        let layout = Self {
            data: folder.join("data"),
            run: folder.join("run"),
            lock: folder.join("owner.lock"),
            start_log: folder.join("start.log"),
            folder,
        };
        make(&layout.run, 0o700)?;
        identity.own(&layout.run)?;
        Ok(layout)
    }

    /// The folder of the Unix socket: `run`, unless its path is too long for a socket; then a new
    /// private folder below the system's temporary folder, to be removed at the end.
    pub(crate) fn socket_folder(
        &self,
        port: u16,
        identity: &Identity,
    ) -> Result<SocketFolder, ServerError> {
        let name = format!(".s.PGSQL.{port}");
        if self.run.as_os_str().len() + 1 + name.len() <= SOCKET_PATH_BYTES_MAX {
            return Ok(SocketFolder {
                path: self.run.clone(),
                temporary: false,
            });
        }
        let random = crate::Password::random()
            .map_err(ServerError::file("name a folder in", std::env::temp_dir()))?;
        let path = std::env::temp_dir().join(format!("sekisho-{}", &random.expose()[..16]));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(ServerError::file("create", &path))?;
        let made = SocketFolder {
            path,
            temporary: true,
        };
        identity.own(&made.path)?;
        Ok(made)
    }
}

/// The folder of the Unix socket.
#[derive(Debug)]
pub(crate) struct SocketFolder {
    pub(crate) path: PathBuf,
    temporary: bool,
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        if self.temporary {
            // Best effort: at worst an empty private folder stays in the temporary folder.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes a folder, or gives an existing one the mode; missing parents are made with 0711.
pub(crate) fn make(path: &Path, mode: u32) -> Result<(), ServerError> {
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(parent)
            .map_err(ServerError::file("create", parent))?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(ServerError::file("create", path)(error)),
    }
    // Also for a new one: the umask may have taken bits.
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(ServerError::file("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::{blocked, make};

    #[test]
    fn a_closed_parent_is_named() {
        let dir = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .unwrap();
        let closed = dir.path().join("closed");
        make(&closed, 0o700).unwrap();
        assert_eq!(
            blocked(&closed.join("in/it"), 4_000_000, 4_000_000),
            Some(closed.clone())
        );
        make(&closed, 0o711).unwrap();
        assert_eq!(blocked(&closed.join("in/it"), 4_000_000, 4_000_000), None);
    }
}
