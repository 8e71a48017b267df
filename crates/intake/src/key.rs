//! Keys of subjects: 64 bits that stand for a name, the same everywhere. docs/format/records.md.

/// The key of a text: FNV-1a (64 bits), then the finisher of MurmurHash3, so that all its bits look
/// random, as sketches need. A text of `#` and 16 hexadecimal digits is a key already.
pub fn of_text(text: &str) -> u64 {
    written(text).unwrap_or_else(|| hash(text.as_bytes()))
}

/// The key of a whole number: that of its digits.
pub fn of_number(number: i128) -> u64 {
    let mut digits = [0_u8; 40];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    hash(&digits[at..])
}

/// The key that a text of `#` and 16 hexadecimal digits is.
fn written(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('#')?;
    if digits.len() != 16 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computed by a program in another language.
    #[test]
    fn known_keys() {
        assert_eq!(of_text("cust-1"), 0x25f5_f1c7_1bba_ce45);
        assert_eq!(of_text(""), 0xefd0_1f60_ba99_2926);
        assert_eq!(of_number(17), 0xd827_3c40_ac76_f52c);
        assert_eq!(of_text("#25f5f1c71bbace45"), of_text("cust-1"));
        // One digit too few.
        assert_ne!(of_text("#25f5f1c71bbace4"), 0x025f_5f1c_71bb_ace4);
    }

    proptest! {
        #[test]
        fn numbers_are_their_digits(number: i64) {
            prop_assert_eq!(of_number(number.into()), of_text(&number.to_string()));
        }
    }
}
