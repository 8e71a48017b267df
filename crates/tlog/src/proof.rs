//! Offline proofs (C2SP tlog-proof, files `.tlog-proof`): that an entry is in a log whose head was
//! signed and witnessed, checked from one file, public keys and a policy.

use std::fmt;

use crate::checkpoint::{Checkpoint, OpenError, Opened};
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::merkle::{PROOF_HASHES_MAX, VerifyError, verify_inclusion};
use crate::note::{NOTE_BYTES_MAX, Note, NoteError};
use crate::policy::Policy;
use crate::text;

/// The first line.
const HEADER: &[u8] = b"c2sp.org/tlog-proof@v1";

/// The most extra data, in bytes before base64.
pub const EXTRA_BYTES_MAX: usize = 1024 * 1024;

/// The longest file.
pub const PROOF_BYTES_MAX: usize =
    NOTE_BYTES_MAX + EXTRA_BYTES_MAX.div_ceil(3) * 4 + PROOF_HASHES_MAX * 45 + 256;

/// A proof, not yet verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    /// Data of the application, NOT covered by any signature; empty if there is none.
    pub extra: Vec<u8>,
    /// The entry's index.
    pub index: u64,
    /// The inclusion proof.
    pub hashes: Vec<Hash>,
    /// The signed and cosigned head.
    pub checkpoint: Note,
}

/// Why bytes are no proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlogProofError {
    /// Longer than [`PROOF_BYTES_MAX`], or the extra data longer than [`EXTRA_BYTES_MAX`].
    #[error("the file is longer than any proof: {0} bytes")]
    TooLong(usize),
    /// Another first line.
    #[error("this is not a tlog-proof: the first line is not c2sp.org/tlog-proof@v1")]
    Header,
    /// The extra data is no base64, or empty.
    #[error("the proof's extra data is not base64")]
    Extra,
    /// No `index` line, or no number in it.
    #[error("the proof has no index line with a plain decimal number")]
    Index,
    /// A proof line is no hash.
    #[error("hash line {line} of the proof is not the base64 of a hash")]
    Hash {
        /// From 1.
        line: usize,
    },
    /// More than 63 hashes.
    #[error("the proof has more than 63 hashes")]
    TooManyHashes,
    /// No empty line before the checkpoint.
    #[error("the proof ends before its checkpoint")]
    CutOff,
    /// The checkpoint.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// Why a proof proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlogProofVerifyError {
    /// Its checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] OpenError),
    /// Too few witnesses.
    #[error("the checkpoint is not cosigned by enough witnesses of the policy")]
    Quorum,
    /// The inclusion proof.
    #[error(transparent)]
    Inclusion(#[from] VerifyError),
}

impl TlogProof {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is no proof.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(TlogProofError::TooLong(bytes.len()));
        }
        let (header, rest) = text::line(bytes).ok_or(TlogProofError::Header)?;
        if header != HEADER {
            return Err(TlogProofError::Header);
        }
        let (mut next, mut rest) = text::line(rest).ok_or(TlogProofError::Index)?;
        let mut extra = Vec::new();
        if let Some(base64) = next.strip_prefix(b"extra ") {
            extra = std::str::from_utf8(base64)
                .ok()
                .and_then(text::unbase64)
                .filter(|extra| !extra.is_empty())
                .ok_or(TlogProofError::Extra)?;
            if extra.len() > EXTRA_BYTES_MAX {
                return Err(TlogProofError::TooLong(bytes.len()));
            }
            (next, rest) = text::line(rest).ok_or(TlogProofError::Index)?;
        }
        let index = text::numbered(next, "index").ok_or(TlogProofError::Index)?;
        let (hashes, note) =
            text::read_hash_lines(rest, PROOF_HASHES_MAX).map_err(|error| match error {
                text::HashLinesError::NoHash(line) => TlogProofError::Hash { line },
                text::HashLinesError::TooMany => TlogProofError::TooManyHashes,
                text::HashLinesError::NoEnd => TlogProofError::CutOff,
            })?;
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: Note::parse(note)?,
        })
    }

    /// Checks that an entry with this leaf hash is in the log: the checkpoint is signed by one of
    /// `log_keys` under its own origin (0x01) and cosigned as the policy demands, and the inclusion
    /// proof leads to its root. Gives the checkpoint with all verified signatures; what the extra
    /// data says stays unproven.
    ///
    /// `log_keys` is often the policy's own list of logs; the policy's list is not looked at here.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(
        &self,
        leaf: &Hash,
        log_keys: &[VerifierKey],
        policy: &Policy,
    ) -> Result<ProvenHead, TlogProofVerifyError> {
        let witnesses = policy.witnesses().iter().map(|it| &it.key);
        let keys: Vec<VerifierKey> = log_keys.iter().chain(witnesses).cloned().collect();
        let Opened {
            checkpoint,
            signatures,
        } = Checkpoint::open(&self.checkpoint, &keys)?;
        if !policy.quorum_of(&signatures) {
            return Err(TlogProofVerifyError::Quorum);
        }
        verify_inclusion(
            leaf,
            self.index,
            checkpoint.size(),
            &self.hashes,
            &checkpoint.root(),
        )?;
        let times = signatures
            .iter()
            .filter_map(|it| Some((it.key.clone(), it.time?)));
        Ok(ProvenHead {
            cosigned: times.collect(),
            checkpoint,
        })
    }
}

/// The head under which an entry was proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvenHead {
    /// The log's checkpoint.
    pub checkpoint: Checkpoint,
    /// The witnesses' keys with the time, in seconds since 1970, of each one's cosignature.
    pub cosigned: Vec<(VerifierKey, u64)>,
}

impl fmt::Display for TlogProof {
    /// The file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("c2sp.org/tlog-proof@v1\n")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", text::base64(&self.extra))?;
        }
        let hashes = text::hash_lines(&self.hashes);
        write!(f, "index {}\n{hashes}\n{}", self.index, self.checkpoint)
    }
}
