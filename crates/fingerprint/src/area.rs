//! Lengths of Japanese area codes, for writing numbers with hyphens.

/// Digits of the area code of a nine-digit national number, without the leading 0: 1 to 4.
pub(crate) fn code_digits(national: &str) -> usize {
    match national.as_bytes() {
        [b'3' | b'6', ..] => 1,
        _ => 2,
    }
}
