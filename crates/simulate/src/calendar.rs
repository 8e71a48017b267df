//! Days in Japan, roughly: weekdays, holidays, New Year, Obon.

/// A day, local.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Today {
    /// From the simulation's first day, from 0.
    pub(crate) index: u32,
    /// Since 1970-01-01.
    pub(crate) number: i64,
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
    /// 0 is Sunday.
    pub(crate) weekday: u32,
    pub(crate) kind: Kind,
    /// When it begins, ms since the Unix epoch.
    pub(crate) from_ms: u64,
}

/// How a day differs from a working day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Working,
    Weekend,
    Holiday,
    /// 29 December to 3 January.
    NewYear,
    /// 13 to 15 August.
    Obon,
}

/// Minutes that Japan's days are ahead of UTC.
pub(crate) const OFFSET_MINUTES: u64 = 540;
pub(crate) const DAY_MS: u64 = 86_400_000;

impl Today {
    /// The day with this index, of a simulation that begins with the day `first`, since 1970-01-01.
    pub(crate) fn new(first: i64, index: u32) -> Self {
        let number = first + i64::from(index);
        let (year, month, day) = event::calendar::civil(number);
        let (month, day) = (month as u32, day as u32);
        let weekday = (number + 4).rem_euclid(7) as u32;
        Self {
            index,
            number,
            year,
            month,
            day,
            weekday,
            kind: kind(year, month, day, weekday),
            from_ms: (number.max(1) as u64) * DAY_MS - OFFSET_MINUTES * 60_000,
        }
    }

    /// Calls of a thousand on a usual Wednesday.
    pub(crate) fn load(&self, open_weekends: bool) -> u64 {
        match self.kind {
            Kind::Working => [500, 1250, 1060, 1000, 970, 1010, 650][self.weekday as usize],
            Kind::Weekend if !open_weekends => 150,
            Kind::Weekend => 600,
            Kind::Holiday => 550,
            Kind::NewYear => 250,
            Kind::Obon => 700,
        }
    }

    /// Seconds after midnight as ms since the Unix epoch.
    pub(crate) fn at(&self, second: u64) -> u64 {
        self.from_ms + second * 1000
    }

    /// Months since the year 0.
    pub(crate) fn months(&self) -> u64 {
        (self.year.max(0) as u64) * 12 + u64::from(self.month) - 1
    }
}

fn kind(year: i64, month: u32, day: u32, weekday: u32) -> Kind {
    if matches!((month, day), (12, 29..) | (1, ..=3)) {
        Kind::NewYear
    } else if matches!((month, day), (8, 13..=15)) {
        Kind::Obon
    } else if holiday(year, month, day, weekday)
        || (weekday == 1 && day > 1 && holiday(year, month, day - 1, 0))
    {
        Kind::Holiday
    } else if matches!(weekday, 0 | 6) {
        Kind::Weekend
    } else {
        Kind::Working
    }
}

fn holiday(year: i64, month: u32, day: u32, weekday: u32) -> bool {
    let emperor = if year >= 2020 { (2, 23) } else { (12, 23) };
    let fixed = [
        (2, 11),
        (3, 20),
        (4, 29),
        (5, 3),
        (5, 4),
        (5, 5),
        (8, 11),
        (9, 23),
        (11, 3),
        (11, 23),
        emperor,
    ];
    // The second or third Monday.
    let monday = match month {
        1 | 10 => 8..=14,
        7 | 9 => 15..=21,
        _ => 0..=0,
    };
    fixed.contains(&(month, day)) || (weekday == 1 && monday.contains(&day))
}

#[cfg(test)]
mod tests {
    use super::{Kind, Today};

    #[test]
    fn days_are_what_they_were() {
        // 2013-07-01 was a Monday; 2020-02-29 a Saturday; 2023-05-03 a holiday; 2017-01-02 New Year.
        let monday = Today::new(15_887, 0);
        assert_eq!((monday.year, monday.month, monday.day), (2013, 7, 1));
        assert_eq!((monday.weekday, monday.kind), (1, Kind::Working));
        assert_eq!(monday.from_ms, 1_372_604_400_000);
        let leap = Today::new(18_321, 0);
        assert_eq!((leap.month, leap.day, leap.kind), (2, 29, Kind::Weekend));
        assert_eq!(Today::new(19_480, 0).kind, Kind::Holiday);
        assert_eq!(Today::new(17_168, 0).kind, Kind::NewYear);
    }
}
