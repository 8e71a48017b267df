//! Times for people: the centre's wall clock, UTC+09:00. Pure.

use anyhow::{Context, Result, bail};
use event::calendar::{civil, days};

/// The offset that times are shown in and, without another one, read in.
const OFFSET_MS: i64 = 9 * 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// `2026-11-22 18:43:01 +09:00`, from ms since the Unix epoch.
pub fn shown(unix_ms: u64) -> String {
    let (year, month, day, seconds) = parts(unix_ms);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +09:00")
}

/// `2026-11-22T18:43:01.250+09:00` (RFC 3339).
pub fn rfc3339(unix_ms: u64) -> String {
    let (year, month, day, seconds) = parts(unix_ms);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let ms = unix_ms % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+09:00")
}

/// The hour of the centre's wall clock.
pub fn hour(unix_ms: u64) -> u8 {
    u8::try_from(parts(unix_ms).3 / 3600).unwrap_or(0)
}

fn parts(unix_ms: u64) -> (i64, i64, i64, i64) {
    let local = i64::try_from(unix_ms)
        .unwrap_or(i64::MAX - OFFSET_MS)
        .saturating_add(OFFSET_MS);
    let (year, month, day) = civil(local.div_euclid(DAY_MS));
    (year, month, day, local.rem_euclid(DAY_MS) / 1000)
}

/// Reads `2h`, `30m`, `45s`, `7d` (so long ago) or `2026-11-22[T10:00[:30][Z|+09:00]]`; ms since
/// the Unix epoch.
pub fn read(text: &str, now_ms: u64) -> Result<u64> {
    let wrong = || format!("{text}: no time; write 2h, 30m or 7d (ago), or 2026-11-22T10:00");
    if let Some(ago) = ago_ms(text) {
        return Ok(now_ms.saturating_sub(ago));
    }
    point(text).with_context(wrong)
}

/// A length such as `2h`, in ms.
fn ago_ms(text: &str) -> Option<u64> {
    let unit = match text.as_bytes().last()? {
        b's' => 1_000,
        b'm' => 60_000,
        b'h' => 3_600_000,
        b'd' => 86_400_000,
        _ => return None,
    };
    text.get(..text.len() - 1)?
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)
}

fn point(text: &str) -> Result<u64> {
    let (date, rest) = match text.split_once(['T', ' ']) {
        Some((date, rest)) => (date, Some(rest)),
        None => (text, None),
    };
    let date: Vec<i64> = date.split('-').map(str::parse).collect::<Result<_, _>>()?;
    let &[year, month, day] = date.as_slice() else {
        bail!("a date has three parts")
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        bail!("there is no such day");
    }
    let days = days(year, month, day);
    if civil(days) != (year, month, day) {
        bail!("there is no such day");
    }
    let (clock, offset) = match rest {
        None => ("00:00", OFFSET_MS),
        Some(rest) => with_offset(rest)?,
    };
    let clock: Vec<i64> = clock.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let (hour, minute, second) = match *clock.as_slice() {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => bail!("a clock has hours and minutes"),
    };
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
        bail!("there is no such time of day");
    }
    let ms = days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 - offset;
    Ok(u64::try_from(ms)?)
}

fn with_offset(text: &str) -> Result<(&str, i64)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Ok((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Ok((text.trim_end(), OFFSET_MS));
    };
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset[1..]
        .split_once(':')
        .context("an offset is written +09:00")?;
    let (hours, minutes): (i64, i64) = (hours.parse()?, minutes.parse()?);
    if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
        bail!("there is no such offset");
    }
    Ok((clock.trim_end(), sign * (hours * 60 + minutes) * 60_000))
}

#[cfg(test)]
mod tests {
    use super::{read, rfc3339, shown};

    #[test]
    fn known_days() {
        assert_eq!(shown(0), "1970-01-01 09:00:00 +09:00");
        assert_eq!(rfc3339(1_700_000_000_250), "2023-11-15T07:13:20.250+09:00");
    }

    #[test]
    fn times_are_read() {
        assert_eq!(read("2h", 10_000_000).unwrap(), 2_800_000);
        let at = read("2023-11-15T07:13:20", 0).unwrap();
        assert_eq!(at, 1_700_000_000_000);
        assert_eq!(read("2023-11-14T22:13:20Z", 0).unwrap(), at);
        assert_eq!(read("2023-11-14 19:13:20-03:00", 0).unwrap(), at);
        assert_eq!(read("2024-02-29", 0).unwrap() % 86_400_000, 15 * 3_600_000);
        for wrong in [
            "",
            "h",
            "2023-02-29",
            "2023-13-01",
            "yesterday",
            "2023-01-01T25:00",
            "１h",
        ] {
            assert!(read(wrong, 0).is_err(), "{wrong}");
        }
    }
}
