//! The few text forms that all of the formats share: decimal numbers and base64.

use base64_simd::STANDARD;

use crate::hash::Hash;

/// Sizes, indexes and times are at most this, as in Go's implementations (a signed 64-bit number);
/// tlog-cosignature says so of times. A proof then has at most 63 hashes.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// ASCII decimal without leading zeros, at most [`SIZE_MAX`].
pub(crate) fn decimal(given: &str) -> Option<u64> {
    let digits = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (given.len() > 1 && given.starts_with('0')) {
        return None;
    }
    given.parse().ok().filter(|number| *number <= SIZE_MAX)
}

/// Standard base64 with padding (RFC 4648 section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode_to_string(bytes)
}

/// Canonical base64 only: base64-simd refuses missing padding, stray bits and white space, and the
/// tests of notes, keys and damaged examples keep that so.
pub(crate) fn unbase64(given: &str) -> Option<Vec<u8>> {
    STANDARD.decode_to_vec(given).ok()
}

/// The line that `bytes` begin with, without its newline, and what follows it.
pub(crate) fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// A line `word number`: the number.
pub(crate) fn numbered(line: &[u8], word: &str) -> Option<u64> {
    let number = line.strip_prefix(word.as_bytes())?.strip_prefix(b" ")?;
    std::str::from_utf8(number).ok().and_then(decimal)
}

/// Hashes, one a line.
pub(crate) fn hash_lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| format!("{hash}\n")).collect()
}

/// Why lines are no hashes.
pub(crate) enum HashLinesError {
    /// This line is none, from 1.
    NoHash(usize),
    /// There are more than allowed.
    TooMany,
    /// No empty line follows.
    NoEnd,
}

/// Reads hashes, one a line, up to an empty line; gives them and what follows it.
pub(crate) fn read_hash_lines(
    bytes: &[u8],
    most: usize,
) -> Result<(Vec<Hash>, &[u8]), HashLinesError> {
    let mut hashes = Vec::new();
    let mut rest = bytes;
    loop {
        let (here, others) = line(rest).ok_or(HashLinesError::NoEnd)?;
        rest = others;
        if here.is_empty() {
            return Ok((hashes, rest));
        }
        if hashes.len() == most {
            return Err(HashLinesError::TooMany);
        }
        let hash = std::str::from_utf8(here)
            .ok()
            .and_then(|it| it.parse().ok());
        hashes.push(hash.ok_or(HashLinesError::NoHash(hashes.len() + 1))?);
    }
}

/// A control character below U+0020 other than the newline: never in a signed note.
pub(crate) fn is_control(given: char) -> bool {
    given < '\u{20}' && given != '\n'
}

/// A name of a key: not empty, no Unicode space, no plus, no control character.
pub(crate) fn is_key_name(given: &str) -> bool {
    !given.is_empty()
        && !given
            .chars()
            .any(|it| it.is_whitespace() || it == '+' || is_control(it))
}
