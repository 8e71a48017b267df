//! The master key: wraps the clients' keys, and is itself wrapped under a passphrase.
//!
//! For demo and trial; shares, PKCS#11 or a KMS are a later issue. Invariants: it is never written
//! unwrapped, and whether a passphrase protects it can always be told.

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::{hkdf, pbkdf2};
use base64_simd::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::client::{Secret, aead_key};
use crate::entropy::{Entropy, SystemEntropy};
use crate::keyfile::{KeyError, fresh, line, read, unwrap, wrap, write_new};

/// The master key's file in the key folder.
pub const MASTER_FILE: &str = "master.key";
const FIRST_LINE: &str = "sekisho master key 1";
/// PBKDF2 iterations of new files (OWASP 2023 for HMAC-SHA-256).
const ITERATIONS: u32 = 600_000;
/// Of files without a passphrase: there is nothing to stretch, and every start would wait for it.
const ITERATIONS_WITHOUT_PASSPHRASE: u32 = 1;
/// The most iterations that are accepted from a file, so that a bad file cannot stop the start.
const ITERATIONS_MAX: u32 = 20_000_000;
const SALT_BYTES: usize = 16;

/// The master key, unwrapped.
pub struct Master {
    /// Derived from the 32 bytes, which are not kept.
    wrapping: LessSafeKey,
    has_passphrase: bool,
}

impl Master {
    /// Makes a master key and writes it to `folder`, wrapped under the passphrase. An empty one is
    /// for demo and trial: `doctor` reports it.
    ///
    /// # Errors
    /// [`KeyError`], in particular [`KeyError::Exists`].
    pub fn create(folder: &Path, passphrase: &str) -> Result<Self, KeyError> {
        let iterations = if passphrase.is_empty() {
            ITERATIONS_WITHOUT_PASSPHRASE
        } else {
            ITERATIONS
        };
        Self::create_with(folder, passphrase, iterations, &SystemEntropy)
    }

    fn create_with(
        folder: &Path,
        passphrase: &str,
        iterations: u32,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyError> {
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt)?;
        let header = Header {
            iterations: NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN),
            salt,
            has_passphrase: !passphrase.is_empty(),
        };
        let text = header.text();
        let key = fresh(entropy)?;
        let wrapped = wrap(&header.key(passphrase), text.as_bytes(), &key, entropy)?;
        crate::keyfile::make_folder(folder)?;
        write_new(&folder.join(MASTER_FILE), &format!("{text}key {wrapped}\n"))?;
        Ok(Self::new(&key, header.has_passphrase))
    }

    /// Reads the master key of `folder`. With a passphrase it takes a fraction of a second on purpose.
    ///
    /// # Errors
    /// [`KeyError`]; a wrong passphrase is [`KeyError::DoesNotOpen`].
    pub fn load(folder: &Path, passphrase: &str) -> Result<Self, KeyError> {
        let path = folder.join(MASTER_FILE);
        let text = read(&path)?;
        let (header, wrapped) = Header::parse(&text, &path)?;
        let key = unwrap(&header.key(passphrase), header.text().as_bytes(), wrapped)
            .ok_or(KeyError::DoesNotOpen(path))?;
        Ok(Self::new(&key, header.has_passphrase))
    }

    /// Whether [`Master::load`] will need a passphrase: read from the file without opening it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn asks_passphrase(folder: &Path) -> Result<bool, KeyError> {
        let path = folder.join(MASTER_FILE);
        Ok(Header::parse(&read(&path)?, &path)?.0.has_passphrase)
    }

    /// Whether a passphrase protects the file. The answer is authenticated.
    pub fn has_passphrase(&self) -> bool {
        self.has_passphrase
    }

    pub(crate) fn wrapping_key(&self) -> &LessSafeKey {
        &self.wrapping
    }

    pub(crate) fn new(key: &Secret, has_passphrase: bool) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, FIRST_LINE.as_bytes()).extract(&**key);
        let mut wrapping = Zeroizing::new([0; 32]);
        prk.expand(&[b"client keys"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut *wrapping))
            .expect("HKDF gives up to 8,160 bytes");
        Self {
            wrapping: aead_key(&wrapping),
            has_passphrase,
        }
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(..)")
    }
}

/// All of the file but the wrapped key; its text is the associated data.
struct Header {
    iterations: NonZeroU32,
    salt: [u8; SALT_BYTES],
    has_passphrase: bool,
}

impl Header {
    fn text(&self) -> String {
        format!(
            "{FIRST_LINE}\nkdf pbkdf2-hmac-sha256 {}\nsalt {}\npassphrase {}\n",
            self.iterations,
            URL_SAFE_NO_PAD.encode_to_string(self.salt),
            if self.has_passphrase { "yes" } else { "no" }
        )
    }

    fn parse<'a>(text: &'a str, path: &Path) -> Result<(Self, &'a str), KeyError> {
        let mut lines = text.lines();
        if !line(&mut lines, FIRST_LINE, path)?.is_empty() {
            return Err(KeyError::malformed(path, FIRST_LINE));
        }
        let iterations = line(&mut lines, "kdf pbkdf2-hmac-sha256", path)?
            .parse::<NonZeroU32>()
            .ok()
            .filter(|iterations| iterations.get() <= ITERATIONS_MAX)
            .ok_or_else(|| KeyError::malformed(path, "1 to 20000000 iterations"))?;
        let salt = URL_SAFE_NO_PAD
            .decode_to_vec(line(&mut lines, "salt", path)?)
            .ok()
            .and_then(|salt| salt.try_into().ok())
            .ok_or_else(|| KeyError::malformed(path, "a salt of 16 bytes"))?;
        let has_passphrase = match line(&mut lines, "passphrase", path)? {
            "yes" => true,
            "no" => false,
            _ => return Err(KeyError::malformed(path, "passphrase yes or no")),
        };
        let header = Self {
            iterations,
            salt,
            has_passphrase,
        };
        Ok((header, line(&mut lines, "key", path)?))
    }

    /// The key that wraps the master key.
    fn key(&self, passphrase: &str) -> LessSafeKey {
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            self.iterations,
            &self.salt,
            passphrase.as_bytes(),
            &mut *key,
        );
        aead_key(&key)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    /// As [`Master::create`], fast.
    pub(crate) fn create(folder: &Path, passphrase: &str) -> Master {
        Master::create_with(folder, passphrase, 10, &SystemEntropy).unwrap()
    }

    #[test]
    fn only_its_passphrase_opens_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(create(folder.path(), "関所").has_passphrase());
        assert!(Master::asks_passphrase(folder.path()).unwrap());
        assert!(
            Master::load(folder.path(), "関所")
                .unwrap()
                .has_passphrase()
        );
        for wrong in ["", "関", "関所 "] {
            let error = Master::load(folder.path(), wrong).unwrap_err();
            assert!(matches!(error, KeyError::DoesNotOpen(_)), "{error}");
        }
    }

    #[test]
    fn an_empty_passphrase_is_reported_and_cannot_be_hidden() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!create(folder.path(), "").has_passphrase());
        assert!(!Master::load(folder.path(), "").unwrap().has_passphrase());
        let path = folder.path().join(MASTER_FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("passphrase no", "passphrase yes")).unwrap();
        let error = Master::load(folder.path(), "").unwrap_err();
        assert!(matches!(error, KeyError::DoesNotOpen(_)), "{error}");
    }

    #[test]
    fn it_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), "a");
        let error = Master::create_with(folder.path(), "b", 10, &SystemEntropy).unwrap_err();
        assert!(matches!(error, KeyError::Exists(_)), "{error}");
        Master::load(folder.path(), "a").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn bad_files_are_errors() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let error = Master::load(folder.path(), "").unwrap_err();
        assert!(matches!(error, KeyError::Missing(_)), "{error}");
        create(folder.path(), "");
        let path = folder.path().join(MASTER_FILE);
        let text = fs::read_to_string(&path).unwrap();
        for bad in [
            String::new(),
            "x".repeat(100_000),
            text.replace(" 1\n", " 2\n"),
            text.replace(" 10\n", " 4000000000\n"),
            text.replace(" 10\n", " 0\n"),
            text.replace("salt ", "salt A"),
        ] {
            fs::write(&path, bad).unwrap();
            let error = Master::load(folder.path(), "").unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
        }
        fs::write(&path, b"\xff\xfe").unwrap();
        let error = Master::load(folder.path(), "").unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Master::load(folder.path(), "").unwrap_err();
        assert!(
            matches!(error, KeyError::Exposed { mode: 0o640, .. }),
            "{error}"
        );
    }
}
