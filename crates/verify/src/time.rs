//! Times as people write and read them. UTC unless an offset is said.

use std::fmt;
use std::str::FromStr;

use event::calendar;

const DAY_MS: u64 = 86_400_000;

/// A wall-clock time, ms since the Unix epoch. Shown in UTC, to the second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct At(pub u64);

/// A span of time in ms, shown in its two largest units.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct Span(pub u64);

/// A month, yyyymm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct Month(pub u32);

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 100, self.0 % 100)
    }
}

/// The moment at which a month (yyyymm, UTC) is over, ms.
pub(crate) fn month_end_ms(month: u32) -> u64 {
    let next = if month % 100 == 12 { 89 } else { 1 };
    let next = u64::from(month) + next;
    let first = Date {
        year: next / 100,
        month: next % 100,
        day: 1,
    };
    first.to_day().unwrap_or(0).saturating_mul(DAY_MS)
}

/// A civil date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Date {
    /// The year.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
}

/// Hours and minutes ahead of UTC, in minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offset(i32);

/// Not `YYYY-MM-DD`, or not an offset such as `+09:00`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {0}")]
pub struct TimeError(&'static str);

impl Date {
    /// The date of a day counted from 1970-01-01.
    pub fn of_day(day: u64) -> Self {
        // Times are u64 milliseconds: there are fewer days.
        let (year, month, day) = calendar::civil(day.min(1 << 40) as i64);
        Self {
            year: year as u64,
            month: month as u64,
            day: day as u64,
        }
    }

    /// Days since 1970-01-01; `None` before it.
    pub fn to_day(self) -> Option<u64> {
        let year = i64::try_from(self.year)
            .ok()
            .filter(|year| *year < 1 << 40)?;
        u64::try_from(calendar::days(year, self.month as i64, self.day as i64)).ok()
    }

    /// As eight digits, such as in names of files.
    pub fn compact(self) -> String {
        format!("{:04}{:02}{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let error = TimeError("a date such as 2026-04-01");
        let mut parts = text.splitn(3, '-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| part.parse::<u64>().ok())?
        };
        let date = (|| {
            Some(Self {
                year: next(4)?,
                month: next(2)?,
                day: next(2)?,
            })
        })()
        .ok_or(error)?;
        let real = (1..=12).contains(&date.month)
            && (1..=31).contains(&date.day)
            && date.to_day().map(Self::of_day) == Some(date);
        if real { Ok(date) } else { Err(error) }
    }
}

impl Offset {
    /// No offset.
    pub const UTC: Self = Self(0);

    /// Minutes ahead of UTC.
    pub fn minutes(self) -> i32 {
        self.0
    }

    /// The local day of a time, counted from 1970-01-01.
    pub fn day(self, at: At) -> u64 {
        self.local(at) / DAY_MS
    }

    /// The moment at which a local day begins; `None` before 1970.
    pub fn midnight(self, day: u64) -> Option<At> {
        day.checked_mul(DAY_MS)?
            .checked_add_signed(-i64::from(self.0) * 60_000)
            .map(At)
    }

    fn local(self, at: At) -> u64 {
        at.0.saturating_add_signed(i64::from(self.0) * 60_000)
    }

    /// The local time of day, `HH:MM:SS`.
    pub fn clock(self, at: At) -> String {
        let seconds = self.local(at) % DAY_MS / 1000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
    }

    /// The local date and time of day.
    pub fn show(self, at: At) -> String {
        format!("{} {}", Date::of_day(self.day(at)), self.clock(at))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl FromStr for Offset {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let error = TimeError("an offset from UTC such as +09:00");
        let (sign, rest) = match text.split_at_checked(1).ok_or(error)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return Err(error),
        };
        let (hours, minutes) = rest.split_once(':').ok_or(error)?;
        let number = |text: &str, max: i32| {
            let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<i32>().ok().filter(|_| plain)?;
            (number <= max).then_some(number)
        };
        match (number(hours, 14), number(minutes, 59)) {
            (Some(hours), Some(minutes)) => Ok(Self(sign * (hours * 60 + minutes))),
            _ => Err(error),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} UTC", Offset::UTC.show(*self))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, _, _) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        assert_eq!(At(0).to_string(), "1970-01-01 00:00:00 UTC");
        assert_eq!(At(1_709_251_199_000).to_string(), "2024-02-29 23:59:59 UTC");
        for day in (0..60_000).step_by(13) {
            assert_eq!(Date::of_day(day).to_day(), Some(day));
        }
        assert_eq!("2024-02-29".parse::<Date>().unwrap().to_day(), Some(19_782));
        for bad in [
            "2023-02-29",
            "2024-13-01",
            "2024-1-01",
            "24-01-01",
            "x",
            "1969-12-31",
        ] {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
        let japan: Offset = "+09:00".parse().unwrap();
        assert_eq!(japan.show(At(0)), "1970-01-01 09:00:00");
        assert_eq!(japan.midnight(1), Some(At(15 * 3_600_000)));
        assert_eq!(japan.to_string(), "+09:00");
        assert!("09:00".parse::<Offset>().is_err());
        assert_eq!(Span(90_061_000).to_string(), "1 d 1 h");
        for month in [197_001, 202_402, 202_412] {
            let end = month_end_ms(month);
            assert_eq!(fingerprint::month(end - 1), month);
            assert!(fingerprint::month(end) > month);
        }
        assert_eq!(Span(61_000).to_string(), "1 min 1 s");
    }
}
