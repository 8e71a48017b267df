//! Checkpoints (C2SP tlog-checkpoint): the signed head of a log.

use std::fmt;

use crate::hash::Hash;
use crate::key::{Algorithm, SigningKey, VerifierKey};
use crate::note::{Note, NoteError, NoteVerifyError, Verified};
use crate::text::{self, SIZE_MAX};

/// The size and root of a log, without its origin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TreeHead {
    /// How many entries.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// The text of a checkpoint.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Checkpoint {
    origin: String,
    head: TreeHead,
    extensions: Vec<String>,
}

/// Why a text is no checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines, or the last one does not end.
    #[error("a checkpoint has at least three lines, each ended by a newline")]
    Lines,
    /// An empty origin, or one with a control character.
    #[error("the checkpoint's origin is empty or has a control character")]
    Origin,
    /// Not a decimal number without leading zeros, at most [`SIZE_MAX`].
    #[error("the checkpoint's size is not a plain decimal number below 2^63")]
    Size,
    /// Not the base64 of a hash.
    #[error("the checkpoint's root is not the base64 of a 32-byte hash")]
    Root,
    /// An empty extension line, or one with a control character.
    #[error("line {line} of the checkpoint is empty or has a control character")]
    Extension {
        /// From 1.
        line: usize,
    },
}

/// Why a note is not a checkpoint of a known log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Its signatures.
    #[error(transparent)]
    Signature(#[from] NoteVerifyError),
    /// Its text.
    #[error(transparent)]
    Text(#[from] CheckpointError),
    /// Signed by known keys, but by none of the log that it names.
    #[error("the checkpoint of {0} is not signed by a known key of that log")]
    OtherLog(String),
}

/// A checkpoint with verified signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened<'k> {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// All signatures of known keys, the log's among them.
    pub signatures: Vec<Verified<'k>>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    ///
    /// # Errors
    /// If the origin cannot be one or the size is past [`SIZE_MAX`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if !is_line(origin) {
            return Err(CheckpointError::Origin);
        }
        if size > SIZE_MAX {
            return Err(CheckpointError::Size);
        }
        Ok(Self {
            origin: origin.to_owned(),
            head: TreeHead { size, root },
            extensions: Vec::new(),
        })
    }

    /// Adds a line that is signed with the rest. Monitors do not check it (tlog-checkpoint advises
    /// against it).
    ///
    /// # Errors
    /// If the line is empty or has a control character or newline.
    pub fn with_extension(mut self, line: &str) -> Result<Self, CheckpointError> {
        if !is_line(line) {
            return Err(CheckpointError::Extension {
                line: 4 + self.extensions.len(),
            });
        }
        self.extensions.push(line.to_owned());
        Ok(self)
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// If it is no checkpoint.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text
            .strip_suffix('\n')
            .ok_or(CheckpointError::Lines)?
            .split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        let size = text::decimal(size).ok_or(CheckpointError::Size)?;
        let root = root.parse().map_err(|_| CheckpointError::Root)?;
        let it = Self::new(origin, size, root)?;
        lines.try_fold(it, Self::with_extension)
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries.
    pub fn size(&self) -> u64 {
        self.head.size
    }

    /// The root of the tree over them.
    pub fn root(&self) -> Hash {
        self.head.root
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        self.head
    }

    /// Further lines.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// A note with this text, signed by the log's keys (two while keys rotate).
    ///
    /// # Errors
    /// If the note would be too long.
    pub fn sign(&self, keys: &[&SigningKey]) -> Result<Note, NoteError> {
        let text = self.to_string();
        let signatures = keys.iter().map(|key| key.sign(&text)).collect();
        Note::new(&text, signatures)
    }

    /// The checkpoint in a note, if a known key of the log that it names has signed it: one of type
    /// 0x01 whose name is the origin. Cosignatures by the known keys of witnesses come with it.
    ///
    /// # Errors
    /// If it is not so signed, a known key's signature is wrong, or the text is no checkpoint.
    pub fn open<'k>(note: &Note, keys: &'k [VerifierKey]) -> Result<Opened<'k>, OpenError> {
        let signatures = note.verify(keys)?;
        let checkpoint = Self::parse(note.text())?;
        let of_log = |it: &Verified<'_>| {
            it.key.algorithm() == Algorithm::Ed25519 && it.key.name() == checkpoint.origin
        };
        if !signatures.iter().any(of_log) {
            return Err(OpenError::OtherLog(checkpoint.origin));
        }
        Ok(Opened {
            checkpoint,
            signatures,
        })
    }
}

impl fmt::Display for Checkpoint {
    /// The text of the note.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size(), self.root())?;
        self.extensions
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn is_line(given: &str) -> bool {
    !given.is_empty() && !given.chars().any(|it| it == '\n' || text::is_control(it))
}
