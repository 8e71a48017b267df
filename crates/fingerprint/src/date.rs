//! Dates of birth for fingerprints: any usual Japanese writing to `yyyymmdd`.

/// First year of each era minus one, by its name and its letter (folded to lower case).
const ERAS: [(&str, &str, u32); 5] = [
    ("明治", "m", 1867),
    ("大正", "t", 1911),
    ("昭和", "s", 1925),
    ("平成", "h", 1988),
    ("令和", "r", 2018),
];

/// `yyyymmdd` of a folded date (no spaces, NFKC, lower case): `1980-01-02`, `1980/1/2`,
/// `1980年1月2日`, `19800102`, `昭和55年1月2日`, `s55.1.2`. `None` for anything else.
pub(crate) fn normalise(folded: &str) -> Option<String> {
    let (first, rest) = ERAS
        .iter()
        .find_map(|(name, letter, first)| {
            let rest = folded
                .strip_prefix(name)
                .or_else(|| folded.strip_prefix(letter))?;
            Some((*first, rest))
        })
        .unwrap_or((0, folded));
    let (year, month, day) = match rest.strip_prefix('元') {
        Some(rest) if first > 0 => month_day(rest).map(|(m, d)| (1, m, d))?,
        _ if first == 0 && rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_digit()) => {
            let number: u32 = rest.parse().ok()?;
            (number / 10_000, number / 100 % 100, number % 100)
        }
        _ => {
            let (year, rest) = number(rest, if first == 0 { 4 } else { 2 })?;
            month_day(rest).map(|(m, d)| (year, m, d))?
        }
    };
    let fine = (first > 0 || year >= 1000)
        && year > 0
        && (1..=12).contains(&month)
        && (1..=31).contains(&day);
    fine.then(|| format!("{:04}{month:02}{day:02}", first + year))
}

/// Month and day, and nothing after them but 日.
fn month_day(rest: &str) -> Option<(u32, u32)> {
    let (month, rest) = number(separated(rest, '年')?, 2)?;
    let (day, rest) = number(separated(rest, '月')?, 2)?;
    matches!(rest, "" | "日").then_some((month, day))
}

fn separated(rest: &str, word: char) -> Option<&str> {
    rest.strip_prefix(|c| c == word || matches!(c, '/' | '.') || crate::phone::is_hyphen(c))
}

/// A number of at most `digits_max` digits, and what follows it.
fn number(text: &str, digits_max: usize) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    if end > digits_max {
        return None;
    }
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn writings_of_one_day() {
        for text in [
            "1980-01-02",
            "1980/1/2",
            "1980.1.2",
            "1980年1月2日",
            "1980年01月02",
            "19800102",
            "昭和55年1月2日",
            "s55.1.2",
            "s55/01/02",
        ] {
            assert_eq!(normalise(text).as_deref(), Some("19800102"), "{text}");
        }
        assert_eq!(normalise("令和元年5月1日").as_deref(), Some("20190501"));
        assert_eq!(normalise("平成1年1月8日").as_deref(), Some("19890108"));
    }

    #[test]
    fn what_is_no_date_is_left_alone() {
        for text in [
            "",
            "不明",
            "1980",
            "1980-13-01",
            "1980-00-01",
            "80-1-2",
            "198001021",
            "元年1月1日",
            "s0.1.1",
            "1980-01-02頃",
            "99999999999-1-1",
            "昭和",
            "昭和元",
        ] {
            assert_eq!(normalise(text), None, "{text}");
        }
    }
}
