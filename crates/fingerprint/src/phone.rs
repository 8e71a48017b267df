//! Telephone numbers: any usual writing to E.164, and E.164 to the Japanese writing.
//!
//! A fast path without allocation for digits of either width and every hyphen people type; what
//! holds other characters is folded by NFKC once and tried again. Japanese numbers are checked by
//! length and kind (総務省 numbering plan); of other countries' only E.164's own rule is checked.
//! Judged by the `phonenumber` crate in tests.

use event::Plain;
use unicode_normalization::UnicodeNormalization;

use crate::area;

/// The longest writing that is looked at, in bytes.
const PHONE_BYTES_MAX: usize = 128;
/// The most digits of an E.164 number (ITU-T E.164 section 6).
const E164_DIGITS_MAX: usize = 15;
/// The fewest digits, country code included, that are taken for an international number.
const E164_DIGITS_MIN: usize = 7;

/// Hyphens, dashes and what is typed for them, after and before NFKC.
pub fn is_hyphen(c: char) -> bool {
    matches!(
        c,
        '-' | '\u{2010}'
            ..='\u{2015}' // hyphens, dashes, bars
            | '\u{2043}' // hyphen bullet
            | '\u{2212}' // minus
            | '\u{02d7}' // modifier minus
            | '\u{2500}' | '\u{2501}' // box drawings
            | '\u{30fc}' | '\u{ff70}' // prolonged sound marks
            | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' // small and full-width forms
    )
}

/// Characters without width that come along with copied text.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}' | '\u{00ad}')
}

/// What a character means in a telephone number.
enum Part {
    Digit(u8),
    Plus,
    Open,
    Close,
    Separator,
    Nothing,
    Other,
}

fn part(c: char) -> Part {
    match c {
        '0'..='9' => Part::Digit(c as u8 - b'0'),
        '０'..='９' => Part::Digit((c as u32 - '０' as u32) as u8),
        '+' | '＋' => Part::Plus,
        '(' | '（' => Part::Open,
        ')' | '）' => Part::Close,
        ' ' | '\u{3000}' | '\u{a0}' | '\t' | '.' | '．' => Part::Separator,
        c if is_hyphen(c) => Part::Separator,
        c if is_invisible(c) => Part::Nothing,
        _ => Part::Other,
    }
}

/// E.164 of a telephone number; `None` if it is not exactly one valid number.
pub(crate) fn canonical(value: &str) -> Option<Plain<String>> {
    if value.len() > PHONE_BYTES_MAX {
        return None;
    }
    let value = value.trim();
    match read(value) {
        Read::Number(number) => number,
        Read::Foreign => {
            let folded = Plain::new(value.nfkc().collect::<String>());
            match read(folded.expose().trim()) {
                Read::Number(number) => number,
                Read::Foreign => None,
            }
        }
    }
}

/// What one pass over the characters found.
enum Read {
    /// Read to the end; `None` is no valid number.
    Number(Option<Plain<String>>),
    /// A character that may become another by NFKC.
    Foreign,
}

fn read(value: &str) -> Read {
    let mut digits = [0_u8; E164_DIGITS_MAX + 1];
    let mut count = 0;
    let (mut plus, mut open, mut closed) = (false, false, false);
    // Digits before and inside of the one pair of parentheses.
    let (mut before, mut inside) = (0, 0);
    let mut ends_in_digit = false;
    for c in value.chars() {
        let part = part(c);
        let fine = match part {
            Part::Digit(digit) => {
                let room = count <= E164_DIGITS_MAX;
                if room {
                    digits[count] = digit;
                    count += 1;
                    inside += usize::from(open);
                }
                room
            }
            Part::Plus => !std::mem::replace(&mut plus, true) && count == 0 && !open && !closed,
            Part::Open => {
                before = count;
                !std::mem::replace(&mut open, true) && !closed
            }
            Part::Close => {
                closed = true;
                std::mem::replace(&mut open, false) && inside > 0
            }
            // A number starts with a digit, a plus or a parenthesis.
            Part::Separator => count > 0 || plus,
            Part::Nothing => continue,
            Part::Other => return Read::Foreign,
        };
        if !fine {
            return Read::Number(None);
        }
        ends_in_digit = matches!(part, Part::Digit(_));
    }
    if open || !ends_in_digit || count > E164_DIGITS_MAX {
        return Read::Number(None);
    }
    let trunk_in_parentheses = closed && inside == 1;
    Read::Number(if plus {
        international(&digits[..count], trunk_in_parentheses.then_some(before))
    } else if trunk_in_parentheses {
        None
    } else {
        match digits[..count].split_first() {
            Some((0, national)) => japanese(national),
            _ => None,
        }
    })
}

/// A number written with `+`. `trunk`: the place of a lone digit in parentheses, which has to be
/// the trunk prefix of +81 (0)90.
fn international(digits: &[u8], trunk: Option<usize>) -> Option<Plain<String>> {
    if let [8, 1, national @ ..] = digits {
        return match (national, trunk) {
            ([0, national @ ..], None | Some(2)) => japanese(national),
            (national, None) => japanese(national),
            _ => None,
        };
    }
    let fine = (E164_DIGITS_MIN..=E164_DIGITS_MAX).contains(&digits.len())
        && digits[0] != 0
        && trunk.is_none();
    fine.then(|| written("+", digits))
}

/// A Japanese number without its leading 0.
fn japanese(national: &[u8]) -> Option<Plain<String>> {
    let fine = match (national.len(), national) {
        // 050 IP telephony, 060 to 090 mobile; then 1 to 9.
        (10, [5..=9, 0, 1..=9, ..]) => true,
        // 020 pagers and data, 0800 free of charge.
        (10, [2, 0, ..] | [8, 0, 0, ..]) => true,
        // Area codes, 0120, 0570, 0990.
        (9, [1..=9, 1..=9, ..]) => true,
        _ => false,
    };
    fine.then(|| written("+81", national))
}

fn written(start: &str, digits: &[u8]) -> Plain<String> {
    let mut out = String::with_capacity(start.len() + digits.len());
    out.push_str(start);
    out.extend(digits.iter().map(|digit| char::from(b'0' + digit)));
    Plain::new(out)
}

/// The Japanese writing of a +81 number (`090-1234-5678`, `03-1234-5678`); others unchanged.
pub(crate) fn display(e164: &str) -> String {
    let Some(national) = e164.strip_prefix("+81") else {
        return e164.to_owned();
    };
    if !national.bytes().all(|b| b.is_ascii_digit()) {
        return e164.to_owned();
    }
    let Some((first, second)) = groups(national) else {
        return e164.to_owned();
    };
    let (area, rest) = national.split_at(first);
    let (exchange, line) = rest.split_at(second);
    format!("0{area}-{exchange}-{line}")
}

/// The lengths of the first two groups, without the leading 0; `None` for other lengths.
fn groups(national: &str) -> Option<(usize, usize)> {
    match national.len() {
        10 if national.starts_with("800") => Some((3, 3)),
        10 => Some((2, 4)),
        9 => {
            let area = area::code_digits(national);
            // Services (0120, 0570, 0990) are written 3-3-3, telephones end in four digits.
            if ["120", "570", "990"].contains(&&national[..3]) {
                Some((3, 3))
            } else {
                Some((area, 5 - area))
            }
        }
        _ => None,
    }
}
