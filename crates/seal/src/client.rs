//! The keys of one client, and what they do: seal, open, fingerprint.
//!
//! Built once, shared by all sessions of a client, used without locks. Invariants: a random cell's
//! nonce is fresh; an exact cell's nonce is a PRF of its canonical value under the key of client and
//! domain, so one nonce never serves two values; nothing of a plaintext leaves before its tag
//! verified; buffers that held plaintext are wiped or become the [`Plain`] that is returned.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64_simd::URL_SAFE_NO_PAD;
use event::{Class, ClientId, Domain, Fingerprint, Mode, Plain};
use fingerprint::{FingerprintKey, NotCanonical};
use zeroize::Zeroizing;

use crate::cell::{
    CELL_PREFIX, CELL_VERSION, CellHeader, HEADER_BYTES, NONCE_BYTES, ROW_TAG_BYTES, TAG_BYTES,
    looks_sealed, padded_lengths, plaintext_start, value_bytes_max,
};
use crate::entropy::{Entropy, EntropyError};

/// Domains below this have their PRF key computed once; others are derived at each use.
const DOMAINS_KEPT: usize = 64;
/// ISO/IEC 7816-4: the byte after the value; zeros follow.
const PADDING_START: u8 = 0x80;
/// The salt of HKDF-Extract; names the derivation that cell version 1 stands for.
const DERIVATION_SALT: &[u8] = b"sekisho client key 1";

/// Why a value was not sealed. Never carries the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// An exact class, but no canonical form.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// The value is too long for its class.
    #[error("a value of class {class} has at most {max} bytes, this one has {given}")]
    TooLong {
        /// The class.
        class: Class,
        /// The limit, in bytes of UTF-8.
        max: usize,
        /// What the value has.
        given: usize,
    },
    /// The value begins like a cell.
    #[error("the value begins with `sealed:`: a cell is never sealed again")]
    LooksSealed,
    /// PostgreSQL's text has no NUL.
    #[error("the value holds a NUL character")]
    Nul,
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Why a cell did not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Not the text of a cell.
    #[error("this is no cell")]
    NotACell,
    /// A cell of another client.
    #[error("the cell is of client {0}")]
    OtherClient(ClientId),
    /// The key of its epoch is not there any more.
    #[error("the key of epoch {0} is not there")]
    NoKey(u8),
    /// Altered, relabelled, or made with another key.
    #[error("the cell does not verify")]
    DoesNotVerify,
}

/// A cell that verified.
#[derive(Debug)]
pub struct Opened {
    /// Its header, now to be believed.
    pub header: CellHeader,
    /// The row tag; 0 for exact cells and for cells sealed by an UPDATE.
    pub tag: u64,
    /// The value; of exact cells in canonical form (see [`fingerprint::display`]).
    pub value: Plain<String>,
}

/// The 32 random bytes of which a branch of keys is derived.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// The keys of one client.
pub struct ClientKeys {
    client: ClientId,
    /// Never empty; ascending by epoch. The last one seals.
    epochs: Vec<EpochKeys>,
    fingerprint: FingerprintKey,
    /// Wraps the keys of fingerprint lists.
    lists: LessSafeKey,
    entropy: Arc<dyn Entropy>,
}

/// What a client's officer holds: opens its lists and fingerprints, and no cell.
pub struct OfficerKeys {
    /// Computes fingerprints.
    pub fingerprint: Zeroizing<[u8; 32]>,
    /// Unwraps the keys of its lists.
    pub lists: Zeroizing<[u8; 32]>,
}

impl OfficerKeys {
    pub(crate) fn new(client: ClientId, lasting: &Secret) -> Self {
        let root = Derivation::new(client, lasting);
        Self {
            fingerprint: root.derive(b"fingerprint", &[]),
            lists: root.derive(b"lists", &[]),
        }
    }
}

impl fmt::Debug for OfficerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfficerKeys(..)")
    }
}

/// The keys of one epoch of a client.
struct EpochKeys {
    epoch: u8,
    /// By class and mode, see [`EpochKeys::cell_key`]; `None` where a class has no exact mode.
    cells: Vec<Option<LessSafeKey>>,
    root: Derivation,
    /// PRF keys of the domains below [`DOMAINS_KEPT`], each computed at first use.
    nonces: Box<[OnceLock<hmac::Key>]>,
}

impl ClientKeys {
    /// `lasting` is for fingerprints and lists, each of `epochs` for the cells of that epoch, so
    /// that an epoch's key can be destroyed alone. `None` without epochs, or with one that is 0 or
    /// not greater than the one before it.
    pub(crate) fn new(
        client: ClientId,
        lasting: &Secret,
        epochs: &[(u8, Secret)],
        entropy: Arc<dyn Entropy>,
    ) -> Option<Self> {
        if epochs.is_empty() || epochs[0].0 == 0 || !epochs.is_sorted_by(|a, b| a.0 < b.0) {
            return None;
        }
        let officer = OfficerKeys::new(client, lasting);
        Some(Self {
            client,
            epochs: epochs
                .iter()
                .map(|(epoch, secret)| EpochKeys::new(client, *epoch, secret))
                .collect(),
            fingerprint: FingerprintKey::new(&officer.fingerprint),
            lists: aead_key(&officer.lists),
            entropy,
        })
    }

    /// Whose keys these are.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// The epoch that new cells are sealed in.
    pub fn epoch(&self) -> u8 {
        self.current().epoch
    }

    /// A row tag for the random cells of one new row: random, never 0.
    ///
    /// # Errors
    /// [`SealError::Entropy`].
    pub fn row_tag(&self) -> Result<u64, SealError> {
        let mut bytes = [0; ROW_TAG_BYTES];
        self.entropy.fill(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes).max(1))
    }

    /// Seals a value in random mode. `tag`: the row's tag, 0 in an UPDATE.
    ///
    /// # Errors
    /// [`SealError`]: too long, a NUL, begins with `sealed:`, no random bytes.
    pub fn seal_random(
        &self,
        class: Class,
        domain: Domain,
        tag: u64,
        value: &str,
    ) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        self.entropy.fill(&mut nonce)?;
        self.seal(class, domain, Mode::Random, nonce, tag, value)
    }

    /// Seals a value in exact mode: brings it to its canonical form (which is its own canonical
    /// form, so a canonical value may be given as well) and seals that. Equal canonical values of
    /// one class, domain and epoch give equal cells.
    ///
    /// # Errors
    /// [`SealError`]: no canonical form, too long.
    pub fn seal_exact(
        &self,
        class: Class,
        domain: Domain,
        value: &str,
    ) -> Result<String, SealError> {
        let canonical = fingerprint::canonical(class, value)?;
        let nonce = self
            .current()
            .exact_nonce(class, domain, canonical.expose());
        self.seal(class, domain, Mode::Exact, nonce, 0, canonical.expose())
    }

    /// Opens a whole cell of this client.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the content is released then.
    pub fn open(&self, cell: &[u8]) -> Result<Opened, OpenError> {
        let text = cell
            .strip_prefix(CELL_PREFIX.as_bytes())
            .ok_or(OpenError::NotACell)?;
        let header = CellHeader::of_text(text, cell.len()).ok_or(OpenError::NotACell)?;
        if header.client != self.client {
            return Err(OpenError::OtherClient(header.client));
        }
        let key = self
            .epochs
            .iter()
            .find(|keys| keys.epoch == header.epoch)
            .and_then(|keys| keys.cell_key(header.class, header.mode))
            .ok_or(OpenError::NoKey(header.epoch))?;
        let bytes = URL_SAFE_NO_PAD
            .decode_to_vec(text)
            .map_err(|_| OpenError::NotACell)?;
        // From here on it may hold plaintext: wiped unless it becomes the value.
        let mut bytes = Zeroizing::new(bytes);
        let content = HEADER_BYTES + NONCE_BYTES;
        let (head, sealed) = bytes.split_at_mut(content);
        let nonce = Nonce::try_assume_unique_for_key(&head[HEADER_BYTES..])
            .map_err(|_| OpenError::NotACell)?;
        let plaintext = key
            .open_in_place(nonce, Aad::from(&head[..HEADER_BYTES]), sealed)
            .map_err(|_| OpenError::DoesNotVerify)?;
        let (tag, value) = unpadded(header.mode, plaintext).ok_or(OpenError::DoesNotVerify)?;
        let (start, end) = (content + value.start, content + value.end);
        let mut bytes = std::mem::take(&mut *bytes);
        bytes.copy_within(start..end, 0);
        bytes[end - start..].fill(0);
        bytes.truncate(end - start);
        match String::from_utf8(bytes) {
            Ok(value) => Ok(Opened {
                header,
                tag,
                value: Plain::new(value),
            }),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(OpenError::DoesNotVerify)
            }
        }
    }

    /// The fingerprint of a value under this client's key; the value is normalised first.
    pub fn fingerprint(&self, class: Class, value: &str) -> Fingerprint {
        self.fingerprint.fingerprint(class, value)
    }

    /// The client's fingerprint key.
    pub fn fingerprint_key(&self) -> &FingerprintKey {
        &self.fingerprint
    }

    /// The key that wraps the keys of this client's lists.
    pub(crate) fn list_wrapping_key(&self) -> &LessSafeKey {
        &self.lists
    }

    fn current(&self) -> &EpochKeys {
        self.epochs.last().expect("`new` refuses an empty list")
    }

    /// `nonce` must be fresh (random) or the value's own (exact).
    pub(crate) fn seal(
        &self,
        class: Class,
        domain: Domain,
        mode: Mode,
        nonce: [u8; NONCE_BYTES],
        tag: u64,
        value: &str,
    ) -> Result<String, SealError> {
        let keys = self.current();
        let key = keys
            .cell_key(class, mode)
            .ok_or(NotCanonical::Class(class))?;
        let padded = padded_length(class, mode, value)?;
        let header = CellHeader {
            class,
            domain,
            client: self.client,
            version: CELL_VERSION,
            epoch: keys.epoch,
            mode,
        }
        .to_bytes();
        let content = HEADER_BYTES + NONCE_BYTES;
        let mut bytes = Vec::with_capacity(content + padded + TAG_BYTES);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&nonce);
        if mode == Mode::Random {
            bytes.extend_from_slice(&tag.to_be_bytes());
        }
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(PADDING_START);
        bytes.resize(content + padded, 0);
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(header),
                &mut bytes[content..],
            )
            .expect("a cell is shorter than AES-GCM's 64 GiB");
        bytes.extend_from_slice(tag.as_ref());
        let mut cell = String::with_capacity(CELL_PREFIX.len() + bytes.len() / 3 * 4);
        cell.push_str(CELL_PREFIX);
        URL_SAFE_NO_PAD.encode_append(&bytes, &mut cell);
        Ok(cell)
    }
}

impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKeys({})", self.client)
    }
}

impl EpochKeys {
    fn new(client: ClientId, epoch: u8, secret: &Secret) -> Self {
        let root = Derivation::new(client, secret);
        let mut cells = Vec::with_capacity(Class::ALL.len() * Mode::ALL.len());
        for &class in Class::ALL {
            for &mode in Mode::ALL {
                let used = mode == Mode::Random || class.may_be_exact();
                let parameters = [class.code(), mode.code(), epoch];
                cells.push(used.then(|| aead_key(&root.derive(b"cell", &parameters))));
            }
        }
        Self {
            epoch,
            cells,
            root,
            nonces: std::iter::repeat_with(OnceLock::new)
                .take(DOMAINS_KEPT)
                .collect(),
        }
    }

    fn cell_key(&self, class: Class, mode: Mode) -> Option<&LessSafeKey> {
        // Codes count from 1 without gaps; a test keeps it so.
        let place = usize::from(class.code() - 1) * Mode::ALL.len() + usize::from(mode.code() - 1);
        self.cells.get(place)?.as_ref()
    }

    /// The first 96 bits of HMAC-SHA-256(PRF key of the domain, class | canonical value).
    fn exact_nonce(&self, class: Class, domain: Domain, canonical: &str) -> [u8; NONCE_BYTES] {
        let derive = || {
            let [high, low] = domain.0.to_be_bytes();
            let key = self.root.derive(b"nonce", &[self.epoch, high, low]);
            hmac::Key::new(hmac::HMAC_SHA256, &*key)
        };
        let derived;
        let key = match self.nonces.get(usize::from(domain.0)) {
            Some(kept) => kept.get_or_init(derive),
            None => {
                derived = derive();
                &derived
            }
        };
        let mut context = hmac::Context::with_key(key);
        context.update(&[class.code()]);
        context.update(canonical.as_bytes());
        let tag = context.sign();
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&tag.as_ref()[..NONCE_BYTES]);
        nonce
    }
}

/// HKDF-SHA-256 from 32 random bytes of a client; `info` is label, client and parameters.
struct Derivation {
    client: ClientId,
    prk: hkdf::Prk,
}

impl Derivation {
    fn new(client: ClientId, secret: &Secret) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, DERIVATION_SALT);
        Self {
            client,
            prk: salt.extract(&**secret),
        }
    }

    fn derive(&self, label: &[u8], parameters: &[u8]) -> Secret {
        let client = self.client.get().to_be_bytes();
        let info = [label, &client[1..], parameters];
        let mut key = Zeroizing::new([0; 32]);
        self.prk
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut *key))
            .expect("HKDF gives up to 8,160 bytes");
        key
    }
}

pub(crate) fn aead_key(key: &Secret) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, &**key).expect("32 bytes are an AES-256 key");
    LessSafeKey::new(key)
}

/// The padded plaintext's length, after checking that the value may be sealed.
fn padded_length(class: Class, mode: Mode, value: &str) -> Result<usize, SealError> {
    if looks_sealed(value.as_bytes()) {
        return Err(SealError::LooksSealed);
    }
    if value.as_bytes().contains(&0) {
        return Err(SealError::Nul);
    }
    let needed = plaintext_start(mode) + value.len() + 1;
    padded_lengths(class)
        .iter()
        .copied()
        .find(|&padded| needed <= padded)
        .ok_or(SealError::TooLong {
            class,
            max: value_bytes_max(class, mode),
            given: value.len(),
        })
}

/// The row tag, and where the value stands in a plaintext.
fn unpadded(mode: Mode, plaintext: &[u8]) -> Option<(u64, std::ops::Range<usize>)> {
    let end = plaintext.iter().rposition(|&byte| byte != 0)?;
    if plaintext[end] != PADDING_START {
        return None;
    }
    let start = plaintext_start(mode);
    let tag = match mode {
        Mode::Random => u64::from_be_bytes(plaintext.get(..ROW_TAG_BYTES)?.try_into().ok()?),
        Mode::Exact => 0,
    };
    (start <= end).then_some((tag, start..end))
}
