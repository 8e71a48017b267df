//! Numbers as people read them. Integers only.

use crate::finding::Bits;

/// `41,200`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How many times `of` goes into `number`, with one decimal below ten; `None` if `of` is 0.
pub(super) fn times(number: u64, of: u64) -> Option<String> {
    if of == 0 {
        return None;
    }
    let tenths = u128::from(number) * 10 / u128::from(of);
    Some(if tenths < 100 {
        format!("{}.{}", tenths / 10, tenths % 10)
    } else {
        thousands(u64::try_from(tenths / 10).unwrap_or(u64::MAX))
    })
}

/// So many of a thousand, as a percentage with one decimal.
pub(super) fn percent(permille: u64) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}

/// `part` of a thousand of `whole`.
pub(super) fn permille(part: u64, whole: u64) -> u64 {
    match whole {
        0 => 0,
        whole => u64::try_from(u128::from(part) * 1000 / u128::from(whole)).unwrap_or(u64::MAX),
    }
}

/// Bytes in a unit that fits: `3.2 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    for (unit, name) in UNITS {
        if bytes >= unit {
            return format!("{}.{} {name}", bytes / unit, bytes % unit / (unit / 10));
        }
    }
    format!("{bytes} B")
}

/// Date and clock, `2026-11-22 18:43`, so many minutes ahead of UTC.
pub(super) fn clock(unix_ms: u64, offset_minutes: i32) -> String {
    // Of u64 milliseconds there are few enough minutes.
    let local = (unix_ms / 60_000) as i64 + i64::from(offset_minutes);
    let (day, minute) = (local.div_euclid(1440), local.rem_euclid(1440));
    let (year, month, date) = event::calendar::civil(day);
    format!(
        "{year:04}-{month:02}-{date:02} {:02}:{:02}",
        minute / 60,
        minute % 60
    )
}

/// Bits with one decimal.
pub(super) fn bits(bits: Bits) -> String {
    let tenths = u64::from(bits.0) * 10 / 256;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// 2^(1/2), 2^(1/4), ... 2^(1/256), times 2^32.
const ROOTS: [u128; 8] = [
    6_074_000_999,
    5_107_605_667,
    4_683_695_047,
    4_485_121_743,
    4_389_014_833,
    4_341_736_423,
    4_318_288_543,
    4_306_612_133,
];
/// Whole bits up to which the number itself is said.
const EXACT_BITS: u32 = 60;

/// One in how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chance {
    /// So many, rounded to two digits.
    OneIn(u64),
    /// Ten to this power.
    PowerOfTen(u64),
}

/// What bits of surprise say: one in 2^bits.
pub(super) fn chance(bits: Bits) -> Chance {
    let (whole, part) = (bits.0 >> 8, bits.0 & 0xff);
    if whole >= EXACT_BITS {
        // log10(2) = 0.30103.
        return Chance::PowerOfTen(u64::from(bits.0) * 30_103 / 25_600_000);
    }
    let mut number = 1_u128 << 32;
    for (at, root) in ROOTS.iter().enumerate() {
        if (part >> (7 - at)) & 1 == 1 {
            number = (number * root) >> 32;
        }
    }
    let number = u64::try_from((number << whole) >> 32).unwrap_or(u64::MAX);
    Chance::OneIn(rounded(number))
}

/// To two digits.
fn rounded(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    (number + unit / 2) / unit * unit
}

/// A number in words from a list of units, the greatest first: `3.1 billion`.
pub(super) fn in_units(number: u64, units: &[(u64, &str)]) -> String {
    for (unit, name) in units {
        if number >= *unit {
            let (whole, tenth) = (number / unit, number % unit / (unit / 10));
            return if whole < 10 && tenth > 0 {
                format!("{whole}.{tenth}{name}")
            } else {
                format!("{}{name}", thousands(whole))
            };
        }
    }
    thousands(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(41_200), "41,200");
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(times(41_200, 310).as_deref(), Some("132"));
        assert_eq!(times(31, 10).as_deref(), Some("3.1"));
        assert_eq!(times(u64::MAX, 1), Some(thousands(u64::MAX)));
        assert_eq!(times(1, 0), None);
        assert_eq!(
            (bytes(999).as_str(), bytes(3_250_000).as_str()),
            ("999 B", "3.2 MB")
        );
        assert_eq!(clock(1_700_000_000_000, 540), "2023-11-15 07:13");
        assert_eq!(percent(permille(1, 3)), "33.3%");
        assert_eq!(bits(Bits(256 * 20 + 128)), "20.5");
    }

    #[test]
    fn chances() {
        assert_eq!(chance(Bits(0)), Chance::OneIn(1));
        assert_eq!(chance(Bits(256 * 10)), Chance::OneIn(1000));
        assert_eq!(chance(Bits(256 * 10 + 128)), Chance::OneIn(1400));
        assert_eq!(
            chance(Bits(256 * 40 + 255)),
            Chance::OneIn(2_200_000_000_000)
        );
        assert_eq!(chance(Bits(256 * 60)), Chance::PowerOfTen(18));
        assert_eq!(chance(Bits(u32::MAX)), Chance::PowerOfTen(5_050_445));
        let units = [(1_000_000, " million"), (1_000, " thousand")];
        assert_eq!(in_units(2_200_000_000, &units), "2,200 million");
        assert_eq!(in_units(3_100, &units), "3.1 thousand");
        assert_eq!(in_units(31_000, &units), "31 thousand");
        assert_eq!(in_units(310, &units), "310");
    }
}
