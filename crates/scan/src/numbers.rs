//! Telephone numbers and dates within a line: groups of digits, and what may join them.

use event::{Class, Plain};
use fingerprint::{canonical, is_hyphen, is_invisible, normalise};

use crate::fields::Span;
use crate::found::Sure;

/// Most groups of a telephone number: `+81 (0)90 12 34 56`.
const GROUPS_MAX: usize = 6;
/// Groups of a number that people write; with more it may as well be a row of a table.
const GROUPS_USUAL: usize = 3;
/// Most digits of a number (ITU-T E.164 section 6), and of one after its 0.
const DIGITS_MAX: usize = 15;
const NATIONAL_DIGITS_MAX: usize = 11;
/// Digits from which on a number of another country is certain: shorter ones may be sums.
const FOREIGN_DIGITS_MIN: usize = 10;
/// Longest joint of two groups of a telephone number, in characters: `) - `.
const JOINT_CHARS_MAX: usize = 4;
const ERA_NAMES: [&str; 5] = ["明治", "大正", "昭和", "平成", "令和"];
const ERA_LETTERS: &str = "MTSHRmtshrＭＴＳＨＲ";

/// Digits in a row: a range of the line's bytes, and how many they are.
#[derive(Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
    digits: usize,
}

/// Telephone numbers and dates of a line, in its order. Dates are possible only.
pub(crate) fn find(line: &str, spans: &mut Vec<Span>) {
    let groups = groups(line);
    let mut phone_end = 0;
    for at in 0..groups.len() {
        if groups[at].start >= phone_end
            && let Some(span) = phone(line, &groups[at..], spans)
        {
            phone_end = span.end;
            spans.push(span);
        }
        spans.extend(date(line, &groups[at..]));
    }
}

/// The digit of either width.
pub(crate) fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => Some(c as u8 - b'0'),
        '０'..='９' => Some((c as u32 - '０' as u32) as u8),
        _ => None,
    }
}

fn groups(line: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (start, c) in line.char_indices() {
        if digit(c).is_none() {
            continue;
        }
        let end = start + c.len_utf8();
        match groups.last_mut() {
            Some(last) if last.end == start => {
                last.end = end;
                last.digits += 1;
            }
            _ => groups.push(Group {
                start,
                end,
                digits: 1,
            }),
        }
    }
    groups
}

/// The telephone number that begins with the first group. Shorter readings of a number of another
/// country go to `others`.
fn phone(line: &str, groups: &[Group], others: &mut Vec<Span>) -> Option<Span> {
    let first = groups.first()?;
    let before = line[..first.start].chars().next_back();
    let plus = before.is_some_and(|c| matches!(c, '+' | '＋'));
    let zero = line[first.start..].chars().next().and_then(digit) == Some(0);
    if !plus && (!zero || first.digits < 2) {
        return None;
    }
    let mut number = Plain::new(String::with_capacity(DIGITS_MAX + 1));
    if plus {
        number.expose_mut().push('+');
    }
    let digits_max = if plus {
        DIGITS_MAX
    } else {
        NATIONAL_DIGITS_MAX
    };
    let mut digits = 0;
    let mut longest: Option<Span> = None;
    for (at, group) in groups.iter().take(GROUPS_MAX).enumerate() {
        digits += group.digits;
        let joined = at == 0 || is_joint(&line[groups[at - 1].end..group.start]);
        // What follows a number of another country may be one of its own.
        // It has no plus, or it would not be joined: this goes one step deep.
        let own = || longest.is_some() && phone(line, &groups[at..], &mut Vec::new()).is_some();
        if !joined || digits > digits_max || own() {
            break;
        }
        let written = line[group.start..group.end].chars().filter_map(digit);
        let written = written.map(|digit| char::from(b'0' + digit));
        number.expose_mut().extend(written);
        if canonical(Class::Phone, number.expose()).is_err() {
            continue;
        }
        let foreign = plus && !number.expose().starts_with("+81");
        let usual = if foreign {
            digits >= FOREIGN_DIGITS_MIN
        } else {
            plus || at < GROUPS_USUAL
        };
        let sure = if usual && stands_alone(line, first.start, group.end) {
            Sure::Certain
        } else {
            Sure::Possible
        };
        let start = first.start - before.filter(|_| plus).map_or(0, char::len_utf8);
        let span = Span {
            start,
            end: group.end,
            class: Class::Phone,
            sure,
            value: Some(number.clone()),
        };
        if !foreign {
            return Some(span);
        }
        others.extend(longest.replace(span).map(|shorter| Span {
            sure: Sure::Possible,
            ..shorter
        }));
    }
    longest
}

fn is_joint(between: &str) -> bool {
    let mut shown = 0;
    between.chars().all(|c| {
        if is_invisible(c) {
            return true;
        }
        shown += 1;
        let may = matches!(
            c,
            ' ' | '\u{3000}' | '\u{a0}' | '.' | '．' | '(' | ')' | '（' | '）'
        );
        shown <= JOINT_CHARS_MAX && (may || is_hyphen(c))
    })
}

/// Whether a number is no part of something longer: of `978-4-06-…`, `10.03.…`, of a hash.
fn stands_alone(line: &str, start: usize, end: usize) -> bool {
    let linked = |first: Option<char>, second: Option<char>| match (first, second) {
        (Some(link), Some(other)) if is_hyphen(link) || link == '.' => digit(other).is_some(),
        (Some(letter), _) => letter.is_ascii_hexdigit(),
        _ => false,
    };
    let mut before = line[..start].chars().rev();
    let mut after = line[end..].chars();
    !linked(before.next(), before.next()) && !linked(after.next(), after.next())
}

/// The date that begins with the first group: `1980-1-2`, `1980年1月2日`, `昭和55.1.2`, `S55/1/2`.
fn date(line: &str, groups: &[Group]) -> Option<Span> {
    let [first, second, ..] = groups else {
        return None;
    };
    let before = &line[..first.start];
    // The first year of an era has no digit: 令和元年5月1日.
    let (start, end) = if let Some(era) = before.strip_suffix("元年") {
        date_joint(&line[first.end..second.start])?;
        (era_start(era)?, second.end)
    } else {
        let third = groups.get(2)?;
        date_joint(&line[first.end..second.start])?;
        date_joint(&line[second.end..third.start])?;
        match first.digits {
            4 => (first.start, third.end),
            1 | 2 => (era_start(before.trim_end())?, third.end),
            _ => return None,
        }
    };
    let rest = &line[end..];
    let end = end + rest.strip_prefix('日').map_or(0, |_| '日'.len_utf8());
    is_date(&line[start..end]).then_some(Span {
        start,
        end,
        class: Class::BirthDate,
        sure: Sure::Possible,
        value: None,
    })
}

fn date_joint(between: &str) -> Option<()> {
    let mut chars = between.trim().chars();
    let c = chars.next()?;
    let joint = matches!(c, '年' | '月' | '/' | '／' | '.' | '．') || is_hyphen(c);
    (joint && chars.next().is_none() && between.len() <= 8).then_some(())
}

/// Where the era at the end of a text begins.
fn era_start(text: &str) -> Option<usize> {
    if let Some(before) = ERA_NAMES.iter().find_map(|name| text.strip_suffix(name)) {
        return Some(before.len());
    }
    let before = text.strip_suffix(|c| ERA_LETTERS.contains(c))?;
    let word = before.ends_with(|c: char| c.is_ascii_alphanumeric());
    (!word).then_some(before.len())
}

/// Whether a text is a date that the fingerprint reads as one.
pub(crate) fn is_date(text: &str) -> bool {
    let date = normalise(Class::BirthDate, text);
    let date = date.expose();
    date.len() == 8
        && date.bytes().all(|b| b.is_ascii_digit())
        && ("1868".."2100").contains(&&date[..4])
        && ("01".."13").contains(&&date[4..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<(Class, Sure, String)> {
        let mut spans = Vec::new();
        find(line, &mut spans);
        let value = |span: &Span| normalise(span.class, span.written(line)).expose().clone();
        spans
            .iter()
            .map(|span| (span.class, span.sure, value(span)))
            .collect()
    }

    #[test]
    fn telephone_numbers_that_are_certain() {
        for written in [
            "090-1234-5678",
            "09012345678",
            "０９０ー１２３４ー５６７８",
            "090−1234‐5678",
            "(090) 1234-5678",
            "090(1234)5678",
            "（０９０）１２３４−５６７８",
            "+81 90 1234 5678",
            "+81(0)90-1234-5678",
            "+81 090-1234-5678",
            "(+81) 90-1234-5678",
            "＋８１９０１２３４５６７８",
            "090 - 1234 - 5678",
            "090.1234.5678",
            "090\u{200b}1234\u{200b}5678",
        ] {
            for line in [
                written.to_owned(),
                format!("電話{written}です"),
                format!("TEL:{written}"),
                format!("12 {written} 34"),
            ] {
                let one = (Class::Phone, Sure::Certain, "+819012345678".to_owned());
                assert_eq!(found(&line), [one], "{line}");
            }
        }
    }

    #[test]
    fn several_telephone_numbers() {
        let line = "090-1234-5678 03-1234-5678/0120-123-456 +1 212-555-0100 050-1234-5678";
        let numbers: Vec<String> = found(line)
            .into_iter()
            .filter(|it| it.1 == Sure::Certain)
            .map(|it| it.2)
            .collect();
        assert_eq!(
            numbers,
            [
                "+819012345678",
                "+81312345678",
                "+81120123456",
                "+12125550100",
                "+815012345678"
            ]
        );
    }

    #[test]
    fn digits_that_are_no_telephone_number() {
        for line in [
            "1090123456789",
            "090123456789",
            "090-1234-567",
            "1234-5678",
            "00312345678",
            "0.3123456789",
            "0 3 1 2 3 4 5 6 7 8",
            "090,1234,5678",
            "090\t1234\t5678",
            "1+23",
            "4012 8888 8888 1881",
        ] {
            assert_eq!(found(line), [], "{line}");
        }
        for line in [
            "12-03-1234-5678",
            "03-1234-5678-99",
            "a0312345678f",
            "01 23 45 67 89",
            "1+2345678",
        ] {
            assert!(
                found(line).iter().any(|it| it.1 == Sure::Possible),
                "{line}"
            );
            assert!(
                found(line).iter().all(|it| it.1 == Sure::Possible),
                "{line}"
            );
        }
    }

    #[test]
    fn dates_are_possible() {
        for written in [
            "1980-01-02",
            "1980/1/2",
            "１９８０年１月２日",
            "1980年 1月 2日",
            "昭和55年1月2日",
            "昭和 55年1月2日",
            "S55.1.2",
            "Ｓ５５．１．２",
        ] {
            let one = (Class::BirthDate, Sure::Possible, "19800102".to_owned());
            assert_eq!(found(&format!("生年月日 {written}生")), [one], "{written}");
        }
        let first = (Class::BirthDate, Sure::Possible, "20190501".to_owned());
        assert_eq!(found("令和元年5月1日"), [first]);
        for line in [
            "1980-13-01",
            "80-1-2",
            "10.0.0.1",
            "CLASS55.1.2",
            "元年5月1日",
            "3000-01-01",
        ] {
            assert_eq!(found(line), [], "{line}");
        }
    }
}
