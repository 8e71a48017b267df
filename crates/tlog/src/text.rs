//! The few text forms that all of the formats share: decimal numbers and base64.

use base64_simd::STANDARD;

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

/// Canonical base64 only: what encodes to the same text again.
pub(crate) fn unbase64(given: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode_to_vec(given).ok()?;
    (base64(&bytes) == given).then_some(bytes)
}

/// The first line, without its newline, and what follows it; `None` if no newline is there.
pub(crate) fn line(given: &str) -> Option<(&str, &str)> {
    given.split_once('\n')
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
