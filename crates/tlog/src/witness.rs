//! What a witness is asked, decides and answers (C2SP tlog-witness, `add-checkpoint`), as values.
//! The HTTP around it, the store of what was cosigned, and the clock are the caller's.
//!
//! The order that keeps a witness honest: [`decide`], store [`Cosign::head`] durably and only if the
//! stored head is still the one that was decided on, then [`Cosign::sign`].

use crate::checkpoint::{Checkpoint, CheckpointError, TreeHead};
use crate::hash::{EMPTY_ROOT, Hash};
use crate::key::{Algorithm, Cosigner, TimeError, VerifierKey};
use crate::merkle::{PROOF_HASHES_MAX, VerifyError, verify_consistency};
use crate::note::{NOTE_BYTES_MAX, Note, NoteError, NoteSignature, NoteVerifyError};
use crate::text;

/// The longest request body: the size line, 63 hashes, an empty line and a note.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 + PROOF_HASHES_MAX * 45;

/// The content type of the answer 409.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// The body of `add-checkpoint`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the witness cosigned last, as the client thinks.
    pub old_size: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The new checkpoint with the log's signature.
    pub checkpoint: Note,
}

/// Why a body is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`REQUEST_BYTES_MAX`].
    #[error("the request is longer than any add-checkpoint: {0} bytes")]
    TooLong(usize),
    /// The first line is not `old` and a size.
    #[error("the request does not begin with `old` and a size")]
    OldSize,
    /// A proof line is no hash.
    #[error("proof line {line} is not the base64 of a hash")]
    Proof {
        /// From 1.
        line: usize,
    },
    /// More than 63 proof lines.
    #[error("the request has more than 63 proof lines")]
    ProofTooLong,
    /// No empty line before the checkpoint.
    #[error("the request ends before the checkpoint")]
    CutOff,
    /// The note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note's text.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl AddCheckpoint {
    /// The body to send.
    pub fn encode(&self) -> String {
        let proof = text::hash_lines(&self.proof);
        format!("old {}\n{proof}\n{}", self.old_size, self.checkpoint)
    }

    /// Reads a body. The checkpoint in it is not verified, not even as text: [`decide`] does that.
    ///
    /// # Errors
    /// If it is no request (answer 400).
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong(body.len()));
        }
        let (first, rest) = text::line(body).ok_or(RequestError::OldSize)?;
        let old_size = text::numbered(first, "old").ok_or(RequestError::OldSize)?;
        let (proof, note) =
            text::read_hash_lines(rest, PROOF_HASHES_MAX).map_err(|error| match error {
                text::HashLinesError::NoHash(line) => RequestError::Proof { line },
                text::HashLinesError::TooMany => RequestError::ProofTooLong,
                text::HashLinesError::NoEnd => RequestError::CutOff,
            })?;
        Ok(Self {
            old_size,
            proof,
            checkpoint: Note::parse(note)?,
        })
    }

    /// The log that the checkpoint names, to look up what is known of it. Not verified.
    ///
    /// # Errors
    /// If the note's text is no checkpoint (answer 400).
    pub fn origin(&self) -> Result<String, CheckpointError> {
        Checkpoint::parse(self.checkpoint.text()).map(|it| it.origin().to_owned())
    }
}

/// Why a witness does not cosign.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// 400: no request, or its checkpoint is no checkpoint.
    #[error(transparent)]
    Malformed(#[from] RequestError),
    /// 400: the old size is larger than the checkpoint's.
    #[error("the old size {old} is larger than the checkpoint's {new}")]
    OldLarger {
        /// The old size.
        old: u64,
        /// The checkpoint's.
        new: u64,
    },
    /// 404: no key is known for the log.
    #[error("this witness does not know the log")]
    UnknownLog,
    /// 403: no signature of a known key of the log, or a wrong one.
    #[error(transparent)]
    Signature(NoteVerifyError),
    /// 409: the witness cosigned another size last. Worth a second try from that size.
    #[error("the checkpoint cosigned last has size {known}")]
    Conflict {
        /// The size that it cosigned last; 0 if none.
        known: u64,
    },
    /// 422: the checkpoint does not continue the one cosigned last: a fork, or a wrong proof.
    #[error("the checkpoint does not continue the one cosigned last: {0}")]
    Inconsistent(VerifyError),
}

impl Refusal {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::OldLarger { .. } => 400,
            Self::Signature(_) => 403,
            Self::UnknownLog => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent(_) => 422,
        }
    }

    /// The body of the answer: after a conflict the known size, with [`SIZE_CONTENT_TYPE`].
    pub fn body(&self) -> String {
        match self {
            Self::Conflict { known } => format!("{known}\n"),
            other => format!("{other}\n"),
        }
    }
}

/// Reads the body of an answer 409: the size that the witness cosigned last.
pub fn parse_conflict(body: &[u8]) -> Option<u64> {
    let line = body.strip_suffix(b"\n")?;
    std::str::from_utf8(line).ok().and_then(text::decimal)
}

/// The permission to cosign one checkpoint: only [`decide`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosign {
    checkpoint: Checkpoint,
    text: String,
}

impl Cosign {
    /// What is to be cosigned.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What is to be stored, before anything is signed.
    pub fn head(&self) -> TreeHead {
        self.checkpoint.head()
    }

    /// The cosignature, at a time in seconds since 1970. Only after [`Cosign::head`] is durable.
    ///
    /// # Errors
    /// If the time cannot be one.
    pub fn sign(self, cosigner: &Cosigner, time: u64) -> Result<NoteSignature, TimeError> {
        cosigner.cosign(&self.text, time)
    }
}

/// Whether a witness cosigns: the whole of its judgement.
///
/// `known`: what it cosigned last for the request's [`AddCheckpoint::origin`], `None` if nothing
/// yet. `log_keys`: the keys (0x01) of all logs that it knows, each named by its log's origin.
///
/// # Errors
/// The refusal to answer with.
pub fn decide(
    request: &AddCheckpoint,
    known: Option<TreeHead>,
    log_keys: &[VerifierKey],
) -> Result<Cosign, Refusal> {
    let note = &request.checkpoint;
    let checkpoint = Checkpoint::parse(note.text()).map_err(RequestError::from)?;
    let of_log = |key: &&VerifierKey| {
        key.algorithm() == Algorithm::Ed25519 && key.name() == checkpoint.origin()
    };
    let keys: Vec<VerifierKey> = log_keys.iter().filter(of_log).cloned().collect();
    if keys.is_empty() {
        return Err(Refusal::UnknownLog);
    }
    note.verify(&keys).map_err(Refusal::Signature)?;
    let (old, new) = (request.old_size, checkpoint.size());
    if old > new {
        return Err(Refusal::OldLarger { old, new });
    }
    let known = known.unwrap_or(TreeHead {
        size: 0,
        root: EMPTY_ROOT,
    });
    if old != known.size {
        return Err(Refusal::Conflict { known: known.size });
    }
    // Of an empty tree the root must be the empty hash, of an equal size the root the same, and
    // from 0 the proof empty: all three are in here.
    verify_consistency(old, &known.root, new, &checkpoint.root(), &request.proof)
        .map_err(Refusal::Inconsistent)?;
    Ok(Cosign {
        checkpoint,
        text: note.text().to_owned(),
    })
}
