//! Times: RFC 3339 and its near relatives to ms since the Unix epoch, and back.

use event::calendar::{civil, days};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// Reads `2026-11-22T10:00:00.250+09:00`: a space for the `T`, no seconds, no fraction, `Z` or
/// `+0900` or `+09` will do. Without an offset, `offset_minutes` ahead of UTC. `None`: it is none, or
/// lies before 1970.
pub fn read(text: &str, offset_minutes: i32) -> Option<u64> {
    let (local, zone) = clock(text.trim())?;
    let ahead = match zone {
        "" => i64::from(offset_minutes) * MINUTE_MS,
        zone => offset(zone)?,
    };
    u64::try_from(local - ahead).ok()
}

/// The date and the clock of a text, as ms since 1970 where the clock hangs, and what follows them.
pub fn clock(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    let year = digits(bytes, 0, 4)?;
    let month = digits(bytes, 5, 2)?;
    let day = digits(bytes, 8, 2)?;
    let separator = bytes[4];
    if !matches!(separator, b'-' | b'/') || bytes[7] != separator {
        return None;
    }
    let days = days(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let start = days * DAY_MS;
    if bytes.len() == 10 {
        return Some((start, ""));
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') || bytes.get(13) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (digits(bytes, 11, 2)?, digits(bytes, 14, 2)?);
    let (ms, rest) = match bytes.get(16) {
        Some(b':') => seconds(bytes)?,
        _ => (0, 16),
    };
    // A leap second counts as the second before it.
    if hour > 23 || minute > 59 || ms > 60_999 {
        return None;
    }
    let clock = (hour * 60 + minute) * MINUTE_MS + ms.min(59_999);
    Some((start + clock, text.get(rest..)?.trim_start()))
}

/// Seconds and their fraction in ms, and where they end.
fn seconds(bytes: &[u8]) -> Option<(i64, usize)> {
    let whole = digits(bytes, 17, 2)? * 1000;
    if !matches!(bytes.get(19), Some(b'.' | b',')) {
        return Some((whole, 19));
    }
    let fraction = &bytes[20..];
    let length = fraction
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if length == 0 {
        return None;
    }
    let ms = (0..3).fold(0, |ms, at| {
        let digit = fraction[..length].get(at).map_or(0, |byte| byte - b'0');
        ms * 10 + i64::from(digit)
    });
    Some((whole + ms, 20 + length))
}

/// An offset, in ms ahead of UTC: `Z`, `UTC`, `GMT`, `JST`, `+09:00`, `+0900`, `+09`. Other
/// abbreviations mean different things in different places.
pub fn offset(zone: &str) -> Option<i64> {
    match zone {
        "Z" | "z" | "UTC" | "GMT" => return Some(0),
        "JST" => return Some(540 * MINUTE_MS),
        _ => {}
    }
    let bytes = zone.as_bytes();
    let sign = match bytes.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = digits(bytes, 1, 2)?;
    let minutes = match bytes.len() {
        3 => 0,
        5 => digits(bytes, 3, 2)?,
        6 if bytes[3] == b':' => digits(bytes, 4, 2)?,
        _ => return None,
    };
    let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
    Some(sign * minutes * MINUTE_MS)
}

/// `2026-11-22T01:00:00.250Z`; `None` after the year 9999.
pub fn rfc3339(unix_ms: u64) -> Option<String> {
    let ms = i64::try_from(unix_ms).ok()?;
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    if year > 9999 {
        return None;
    }
    let of_day = ms.rem_euclid(DAY_MS);
    let (minutes, ms) = (of_day / MINUTE_MS, of_day % MINUTE_MS);
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        minutes / 60,
        minutes % 60,
        ms / 1000,
        ms % 1000
    ))
}

/// A number of so many ASCII digits.
fn digits(bytes: &[u8], at: usize, length: usize) -> Option<i64> {
    bytes.get(at..at + length)?.iter().try_fold(0, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ways_of_writing_one_moment() {
        for text in [
            "2023-11-15T07:13:20.250+09:00",
            "2023-11-14T22:13:20.25Z",
            "2023-11-14t22:13:20.250999z",
            "2023-11-14 22:13:20.250 UTC",
            "2023-11-15 07:13:20.250 JST",
            "2023-11-15 07:13:20.250",
            " 2023/11/15 07:13:20,250 ",
            "2023-11-14 19:13:20.250-0300",
            "2023-11-15 07:13:20.250+09",
        ] {
            assert_eq!(read(text, 540), Some(1_700_000_000_250), "{text}");
        }
        assert_eq!(read("1970-01-01", 0), Some(0));
        assert_eq!(read("1970-01-01T00:01", 0), Some(60_000));
        assert_eq!(
            read("2016-12-31T23:59:60Z", 0),
            read("2016-12-31T23:59:59.999Z", 0)
        );
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2023",
            "2023-02-29",
            "2023-13-01T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T23:60:00Z",
            "2023-11-14T23:00:61Z",
            "2023-11-14T23:00:00.Z",
            "2023-11-14T23:00:00 EST",
            "2023-11-14T23:00:00+25:00",
            "2023-11/14",
            "14-11-2023 00:00:00",
            "1969-12-31T23:59:59Z",
            "２０２３-11-14",
        ] {
            assert_eq!(read(text, 540), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn moments_come_back(ms in 0_u64..253_402_300_800_000, offset in -720_i32..840) {
            let text = rfc3339(ms).unwrap();
            prop_assert_eq!(read(&text, offset), Some(ms));
            // The same clock without its offset is that of the place.
            let local = read(text.trim_end_matches('Z'), offset);
            prop_assert_eq!(local, u64::try_from(ms as i64 - i64::from(offset) * 60_000).ok());
        }

        #[test]
        fn any_text(text in "\\PC{0,40}", offset: i32) {
            let _ = read(&text, offset);
        }

        #[test]
        fn almost_times(text in "[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}[:.,Z+0-9]{0,12}") {
            let _ = read(&text, 0);
        }
    }

    #[test]
    fn far_away() {
        assert_eq!(rfc3339(u64::MAX), None);
        assert_eq!(rfc3339(253_402_300_800_000), None);
    }
}
