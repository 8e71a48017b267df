//! Signed notes (C2SP signed-note): a text and the signatures of those who stand behind it.
//!
//! Parsing is strict and canonical: what parses encodes to the same bytes. A text means nothing
//! until [`Note::verify`] has said whose it is.

use std::fmt;

use crate::key::{NAME_BYTES_MAX, VerifierKey};
use crate::text;

/// The longest note, in bytes, signatures included.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// The most signatures of a note.
pub const SIGNATURES_MAX: usize = 100;

/// A text and its signatures, not yet verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A signature line.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub key_id: u32,
    /// What follows the id: for Ed25519 64 bytes, for a cosignature the time before them.
    pub bytes: Vec<u8>,
}

/// Why bytes are no note.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("a note has at most 65536 bytes, this one has {0}")]
    TooLong(usize),
    /// Not UTF-8, or with a control character other than the newline.
    #[error("the note is not plain UTF-8 text at byte {at}")]
    Characters {
        /// Where.
        at: usize,
    },
    /// The text does not end in a newline.
    #[error("the note's text does not end in a newline")]
    TextEnd,
    /// No empty line between text and signatures, or nothing behind it.
    #[error("the note has no signatures: expected an empty line and signature lines")]
    Unsigned,
    /// The last line does not end.
    #[error("the note's last line does not end in a newline")]
    CutOff,
    /// More than [`SIGNATURES_MAX`].
    #[error("the note has more than 100 signatures")]
    TooManySignatures,
    /// A line that is no signature.
    #[error("signature line {line} is not an em dash, a name and base64 of at least five bytes")]
    Signature {
        /// From 1, counted from the empty line.
        line: usize,
    },
}

/// Why a note's text is not to be believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoteVerifyError {
    /// No signature of a known key.
    #[error("the note is not signed by any of the known keys")]
    Unknown,
    /// A signature of a known key that does not verify.
    #[error("the signature of {name}+{key_id:08x} does not verify: the note was altered")]
    Bad {
        /// The key's name.
        name: String,
        /// The key's id.
        key_id: u32,
    },
    /// Two different known keys with the same name and id.
    #[error("two known keys are called {name}+{key_id:08x}: remove one of them")]
    Ambiguous {
        /// The keys' name.
        name: String,
        /// The keys' id.
        key_id: u32,
    },
}

/// A signature that verifies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified<'k> {
    /// Of this key.
    pub key: &'k VerifierKey,
    /// The time of a cosignature, in seconds since 1970; `None` for a plain signature.
    pub time: Option<u64>,
}

impl Note {
    /// A note; with no signature it encodes to something that does not parse yet.
    ///
    /// # Errors
    /// If the text cannot be one.
    pub fn new(text: &str, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        check_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::TextEnd);
        }
        let mut it = Self {
            text: text.to_owned(),
            signatures: Vec::with_capacity(signatures.len()),
        };
        it.check_length()?;
        for signature in signatures {
            it.add(signature)?;
        }
        Ok(it)
    }

    /// The length of the first one of notes that follow each other with nothing between: to behind
    /// the last of its lines that begin with a dash, or to the end. Whether it is a note, only
    /// [`Note::parse`] tells.
    pub fn first_length(bytes: &[u8]) -> usize {
        let (mut at, mut signatures) = (0, false);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let signature = line.starts_with("— ".as_bytes());
            if signatures && !signature {
                return at;
            }
            signatures |= signature;
            at += line.len();
        }
        at
    }

    /// Where after the first byte a line begins that is `first`, a note's first: to go on behind one
    /// that is damaged. `first` ends with its newline.
    pub fn next_beginning(bytes: &[u8], first: &str) -> Option<usize> {
        let line = [b"\n", first.as_bytes()].concat();
        let at = bytes.windows(line.len()).position(|it| it == line)?;
        Some(at + 1)
    }

    /// Reads a note.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let given = std::str::from_utf8(bytes).map_err(|error| NoteError::Characters {
            at: error.valid_up_to(),
        })?;
        check_characters(given)?;
        let empty = given.rfind("\n\n").ok_or(NoteError::Unsigned)?;
        let (text, signatures) = (&given[..=empty], &given[empty + 2..]);
        Ok(Self {
            text: text.to_owned(),
            signatures: parse_signatures(signatures)?,
        })
    }

    /// The text, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, not verified.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature in place of an older one of the same name and key id.
    ///
    /// # Errors
    /// If it cannot be one, or is one too many; the note is left as it was.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let line = self.signatures.len() + 1;
        if !signature.is_valid() {
            return Err(NoteError::Signature { line });
        }
        let before = self.signatures.clone();
        self.signatures
            .retain(|it| it.key_id != signature.key_id || it.name != signature.name);
        self.signatures.push(signature);
        self.check_length()
            .inspect_err(|_| self.signatures = before)
    }

    fn check_length(&self) -> Result<(), NoteError> {
        if self.signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        let lines: usize = self.signatures.iter().map(NoteSignature::encoded).sum();
        let length = self.text.len() + 1 + lines;
        if length > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong(length));
        }
        Ok(())
    }

    /// Checks all signatures of known keys; those of unknown keys are ignored.
    ///
    /// # Errors
    /// If none is of a known key, or one of a known key does not verify.
    pub fn verify<'k>(
        &self,
        keys: &'k [VerifierKey],
    ) -> Result<Vec<Verified<'k>>, NoteVerifyError> {
        let mut found = Vec::new();
        for signature in &self.signatures {
            let (name, key_id) = (&signature.name, signature.key_id);
            let mut known = keys.iter().filter(|key| key.signed(signature));
            let Some(key) = known.next() else {
                continue;
            };
            if known.any(|other| other != key) {
                return Err(NoteVerifyError::Ambiguous {
                    name: name.clone(),
                    key_id,
                });
            }
            let Some(time) = key.check(&self.text, &signature.bytes) else {
                return Err(NoteVerifyError::Bad {
                    name: name.clone(),
                    key_id,
                });
            };
            found.push(Verified { key, time });
        }
        if found.is_empty() {
            return Err(NoteVerifyError::Unknown);
        }
        Ok(found)
    }
}

impl fmt::Display for Note {
    /// The whole note, as it is stored and sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.text, encode_signatures(&self.signatures))
    }
}

impl NoteSignature {
    fn is_valid(&self) -> bool {
        text::is_key_name(&self.name) && self.name.len() <= NAME_BYTES_MAX && !self.bytes.is_empty()
    }

    /// The length of its line.
    fn encoded(&self) -> usize {
        "— ".len() + self.name.len() + 1 + (4 + self.bytes.len()).div_ceil(3) * 4 + 1
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, base64) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = text::unbase64(base64)?;
        let (id, bytes) = bytes.split_first_chunk()?;
        let it = Self {
            name: name.to_owned(),
            key_id: u32::from_be_bytes(*id),
            bytes: bytes.to_vec(),
        };
        it.is_valid().then_some(it)
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key_id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bytes);
        write!(f, "— {} {}", self.name, text::base64(&bytes))
    }
}

/// Signature lines, each with its newline: what a witness answers.
pub fn encode_signatures(signatures: &[NoteSignature]) -> String {
    signatures.iter().map(|it| format!("{it}\n")).collect()
}

/// Reads one or more signature lines, such as a witness's answer.
///
/// # Errors
/// If a line is none, or there are none, or too many.
pub fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    if lines.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLong(lines.len()));
    }
    if lines.is_empty() {
        return Err(NoteError::Unsigned);
    }
    let lines = lines.strip_suffix('\n').ok_or(NoteError::CutOff)?;
    let mut found = Vec::new();
    for (line, it) in (1..).zip(lines.split('\n')) {
        if line > SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        found.push(NoteSignature::parse(it).ok_or(NoteError::Signature { line })?);
    }
    Ok(found)
}

fn check_characters(given: &str) -> Result<(), NoteError> {
    match given.char_indices().find(|(_, it)| text::is_control(*it)) {
        Some((at, _)) => Err(NoteError::Characters { at }),
        None => Ok(()),
    }
}
