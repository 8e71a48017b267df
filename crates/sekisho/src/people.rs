//! Credentials: password verifiers in a file of their own (they must not be in a log for ever),
//! with commitments in the ledger; Ed25519 keys of those who sign.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64_simd::{STANDARD, URL_SAFE_NO_PAD};
use event::{ActorId, Digest};
use pgwire::scram::Verifier;
use serde::{Deserialize, Serialize};

use crate::folder::write_private;

/// Iterations of new verifiers. PostgreSQL's default: what counts is the length of the password,
/// which `enrol` demands.
const ITERATIONS: u32 = 4_096;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// Shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 12;

/// One line of the file.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    /// base64, 16 bytes; salts the commitment.
    salt: String,
    verifier: String,
}

/// The file of verifiers. A line that the ledger has no commitment to does not count.
pub struct VerifierFile {
    path: PathBuf,
    /// Read at start and changed by enrolment; held for a look-up only.
    lines: Mutex<BTreeMap<u32, Line>>,
    recorder: Mutex<Option<ledger::Handle>>,
}

impl VerifierFile {
    /// Reads the file; a missing one is empty.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let lines = match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{}: is damaged; enrol anew", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Arc::new(Self {
            path: path.to_owned(),
            lines: Mutex::new(lines),
            recorder: Mutex::new(None),
        }))
    }

    /// From now on each line is compared with this ledger's commitments.
    pub fn compare_with(&self, recorder: ledger::Handle) {
        *self.recorder.lock().expect("no panic while it is held") = Some(recorder);
    }

    /// Whether the file has the line that the ledger's commitment is to.
    pub fn holds(&self, actor: ActorId, committed: &Digest) -> bool {
        let lines = self.lines.lock().expect("no panic while it is held");
        lines
            .get(&actor.0)
            .is_some_and(|line| commitment(line) == *committed)
    }

    /// Stores a verifier and gives the commitment to it.
    pub fn store(&self, actor: ActorId, verifier: &str) -> Result<Digest> {
        Verifier::from_str(verifier)
            .map_err(|_| anyhow::anyhow!("this is no SCRAM-SHA-256 verifier"))?;
        let salt = random::<SALT_BYTES>()?;
        let line = Line {
            salt: STANDARD.encode_to_string(salt),
            verifier: verifier.to_owned(),
        };
        let commitment = commitment(&line);
        let mut lines = self.lines.lock().expect("no panic while it is held");
        let mut changed = lines.clone();
        changed.insert(actor.0, line);
        write_private(&self.path, &serde_json::to_vec_pretty(&changed)?)?;
        *lines = changed;
        Ok(commitment)
    }
}

impl gate::Verifiers for VerifierFile {
    fn verifier(&self, actor: ActorId) -> Option<Verifier> {
        let line = self
            .lines
            .lock()
            .expect("no panic while it is held")
            .get(&actor.0)
            .cloned()?;
        let recorder = self
            .recorder
            .lock()
            .expect("no panic while it is held")
            .clone()?;
        let committed = recorder.state().actors.get(&actor)?.credential?;
        (committed == commitment(&line)).then_some(())?;
        Verifier::from_str(&line.verifier).ok()
    }
}

fn commitment(line: &Line) -> Digest {
    sha256(&[line.salt.as_bytes(), b"\n", line.verifier.as_bytes()])
}

/// SHA-256 of parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    Digest(bytes)
}

/// Random bytes.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random bytes"))?;
    Ok(bytes)
}

/// A verifier for a new password.
pub fn verifier(password: &str) -> Result<String> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        bail!("the password is shorter than {PASSWORD_CHARS_MIN} characters");
    }
    let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
    let verifier =
        Verifier::from_password(password.as_bytes(), &random::<SALT_BYTES>()?, iterations);
    Ok(verifier.to_text().to_string())
}

/// A one-time code for enrolment: 20 characters, about 120 bits.
pub fn one_time_code() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode_to_string(random::<15>()?))
}

/// The commitment to a one-time code that the ledger holds.
pub fn code_commitment(actor: ActorId, code: &str) -> Digest {
    sha256(&[
        b"sekisho enrolment 1\n",
        &actor.0.to_be_bytes(),
        code.as_bytes(),
    ])
}

/// A key that signs for a person: a file of one line, PKCS#8 in base64, under a header line.
pub struct SigningKey(Ed25519KeyPair);

const KEY_LINE: &str = "sekisho signing key 1";

impl SigningKey {
    /// Makes a key and its file.
    pub fn create(path: &Path) -> Result<Self> {
        if path.exists() {
            bail!("{}: exists; a key is never overwritten", path.display());
        }
        let document = Ed25519KeyPair::generate()
            .and_then(|key| key.to_pkcs8())
            .map_err(|_| anyhow::anyhow!("a key could not be made"))?;
        let text = format!(
            "{KEY_LINE}\n{}\n",
            STANDARD.encode_to_string(document.as_ref())
        );
        write_private(path, text.as_bytes())?;
        Self::load(path)
    }

    /// Reads a key's file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        let body = text
            .strip_prefix(KEY_LINE)
            .with_context(|| format!("{}: is no signing key of Sekisho", path.display()))?;
        let document = STANDARD
            .decode_to_vec(body.trim())
            .map_err(|_| anyhow::anyhow!("{}: is damaged", path.display()))?;
        let key = Ed25519KeyPair::from_pkcs8(&document)
            .map_err(|_| anyhow::anyhow!("{}: is damaged", path.display()))?;
        Ok(Self(key))
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        bytes
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.0.sign(message).as_ref());
        bytes
    }
}

/// Whether a signature is of this key.
pub fn verifies(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message, signature)
        .is_ok()
}
