//! The light normaliser: the form of a value that its fingerprint is made of.
//!
//! It makes one of what people write differently without meaning anything by it, so that the same
//! person counts once and a suspect list is recognised. Invariants: pure; a fixed point
//! (`normalise(c, normalise(c, v)) == normalise(c, v)`); linear in the value. Any change of a result
//! is a new [`NORMALISER_VERSION`], and fingerprints of both count for one longest window.

use event::{Class, Plain};
use unicode_normalization::UnicodeNormalization;

use crate::phone::{is_hyphen, is_invisible};
use crate::{canonical, date, variants};

/// Version of [`normalise`]; part of every fingerprint.
pub const NORMALISER_VERSION: u8 = 1;

/// Passes after which a value is taken as it is; hostile text settles in a few, other text in two.
const PASSES_MAX: usize = 16;
/// Parts of addresses that separate numbers, longest first.
const SEPARATORS: [&str; 5] = ["丁目", "番地", "号室", "番", "号"];

/// The light form of a value:
///
/// - NFKC, lower case, hiragana as katakana, variant characters folded ([`variants`]);
/// - spaces, control and invisible characters, variation selectors out;
/// - 丁目, 番地, 番, 号, 号室, の and hyphens between digits become one `-`, elsewhere they go (after
///   kana a hyphen is a prolonged sound mark); kanji numerals before 丁目 become digits;
/// - telephone numbers as E.164, e-mail addresses canonical, customer numbers without hyphens, dates
///   of birth as `yyyymmdd`, where they can be read.
pub fn normalise(class: Class, value: &str) -> Plain<String> {
    match class {
        Class::Phone | Class::Email => {
            if let Ok(one) = canonical(class, value) {
                return one;
            }
        }
        Class::BirthDate => {
            if let Some(date) = date::normalise(fold(value).expose()) {
                return Plain::new(date);
            }
        }
        Class::CustomerNumber => return customer_number(value),
        _ => {}
    }
    let text = settled(value);
    match class {
        // What became readable only now (and so would be read the second time).
        Class::Phone | Class::Email => canonical(class, text.expose()).unwrap_or(text),
        Class::BirthDate => date::normalise(text.expose()).map_or(text, Plain::new),
        _ => text,
    }
}

/// Folds and structures until nothing changes.
fn settled(value: &str) -> Plain<String> {
    let mut text = fold(value);
    for _ in 0..PASSES_MAX {
        let mut next = structured(text.expose());
        if !next.expose().chars().all(is_simple) {
            next = fold(next.expose());
        }
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// A customer number, canonical where it can be, without hyphens.
fn customer_number(value: &str) -> Plain<String> {
    let mut text = Plain::new(value.to_owned());
    for _ in 0..PASSES_MAX {
        let one = canonical(Class::CustomerNumber, text.expose());
        let settled = settled(one.as_ref().unwrap_or(&text).expose());
        let mut next = Plain::new(String::with_capacity(settled.expose().len()));
        let characters = settled.expose().chars().filter(|&c| !is_hyphen(c));
        next.expose_mut().extend(characters);
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// Whether [`simple`] is all that folding does to a character, whatever stands around it: such text
/// needs no NFKC, and stays so when characters are taken out.
fn is_simple(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x7f'
            | '\u{2010}'..='\u{2015}' | '\u{2212}' // hyphens
            | '\u{3000}' | '\u{3005}' // space, 々
            | '\u{3041}'..='\u{3096}' | '\u{309d}' | '\u{309e}' // hiragana
            | '\u{30a1}'..='\u{30fe}' // katakana
            | '\u{4e00}'..='\u{9fff}' // kanji
            | '\u{ff01}'..='\u{ff5e}' // full-width ASCII
    )
}

/// The form of a simple character; `None`: it goes.
fn simple(c: char) -> Option<char> {
    let c = match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        _ => c,
    };
    match c {
        _ if is_dropped(c) => None,
        'A'..='Z' => Some(c.to_ascii_lowercase()),
        '\u{4e00}'.. => Some(variants::fold(c)),
        _ => Some(katakana(c)),
    }
}

/// Hiragana as katakana, small ヵ and ヶ as カ and ケ (霞ヶ関, 霞ケ関).
fn katakana(c: char) -> char {
    match c {
        '\u{3041}'..='\u{3096}' | '\u{309d}' | '\u{309e}' => {
            katakana(char::from_u32(c as u32 + 0x60).unwrap_or(c))
        }
        'ヵ' => 'カ',
        'ヶ' => 'ケ',
        _ => c,
    }
}

fn is_dropped(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || is_invisible(c)
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// One pass of NFKC, case, kana, variants; without spaces.
fn fold(value: &str) -> Plain<String> {
    let mut out = Plain::new(String::with_capacity(value.len()));
    if value.chars().all(is_simple) {
        out.expose_mut().extend(value.chars().filter_map(simple));
        return out;
    }
    let folded = value
        .nfkc()
        .filter(|&c| !is_dropped(c))
        .flat_map(char::to_lowercase)
        .map(|c| variants::fold(katakana(c)))
        .nfkc();
    out.expose_mut().extend(folded);
    out
}

/// One pass over folded text that brings numbers and what separates them to one form.
fn structured(text: &str) -> Plain<String> {
    let mut out = Plain::new(String::with_capacity(text.len()));
    let mut last = None;
    // A separator after a digit: written only if a digit follows.
    let mut pending = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let written = out.expose_mut();
        let after_digit = last.is_some_and(|c: char| c.is_ascii_digit());
        if let Some((number, length)) = chome(rest) {
            if after_digit {
                written.push('-');
            }
            written.push_str(&number.to_string());
            (last, pending) = (Some('0'), true);
            rest = &rest[length..];
            continue;
        }
        if after_digit && let Some(length) = separator(rest) {
            pending = true;
            rest = &rest[length..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        let kept = if !is_hyphen(c) {
            if pending && c.is_ascii_digit() {
                written.push('-');
            }
            pending = false;
            c
        } else if c == 'ー' || last.is_some_and(|c| matches!(c, '\u{30a1}'..='\u{30fe}')) {
            'ー'
        } else {
            continue;
        };
        written.push(kept);
        last = Some(kept);
    }
    out
}

/// The length of what separates numbers, at the start of what follows a digit.
fn separator(rest: &str) -> Option<usize> {
    let first = rest.chars().next()?;
    if is_hyphen(first) {
        return Some(first.len_utf8());
    }
    if let Some(after) = rest.strip_prefix('ノ') {
        let digit = after.starts_with(|c: char| c.is_ascii_digit());
        return digit.then_some('ノ'.len_utf8());
    }
    SEPARATORS
        .iter()
        .find(|word| rest.starts_with(**word))
        .map(|word| word.len())
}

/// A kanji numeral from 1 to 99 and 丁目, and the length of both.
fn chome(rest: &str) -> Option<(u32, usize)> {
    let digit = |c| {
        let place = "一二三四五六七八九".chars().position(|d| d == c)?;
        Some(place as u32 + 1)
    };
    // A numeral has one to three characters of three bytes.
    let follows = |end: &usize| rest.get(*end..).is_some_and(|r| r.starts_with("丁目"));
    let end = [3, 6, 9].into_iter().find(follows)?;
    let mut numeral = rest[..end].chars();
    let number = match (numeral.next()?, numeral.next(), numeral.next()) {
        ('十', None, None) => 10,
        ('十', Some(ones), None) => 10 + digit(ones)?,
        (tens, Some('十'), None) => digit(tens)? * 10,
        (tens, Some('十'), Some(ones)) => digit(tens)? * 10 + digit(ones)?,
        (ones, None, None) => digit(ones)?,
        _ => return None,
    };
    Some((number, end + "丁目".len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(class: Class, values: &[&str]) -> String {
        let one = normalise(class, values[0]);
        for value in values {
            assert_eq!(normalise(class, value).expose(), one.expose(), "{value}");
        }
        one.expose().clone()
    }

    #[test]
    fn names_and_kana() {
        let one = same(
            Class::Name,
            &["山田 太郎", "山田\u{3000}太郎", "山田太郎", " 山田 太郎\t"],
        );
        assert_eq!(one, "山田太郎");
        same(
            Class::Name,
            &["髙﨑 邊", "高崎 邉", "高崎辺", "高崎辺\u{e0101}"],
        );
        let one = same(
            Class::Kana,
            &["やまだ たろう", "ヤマダ タロウ", "ﾔﾏﾀﾞ ﾀﾛｳ", "ﾔﾏﾀﾞﾀﾛｳ"],
        );
        assert_eq!(one, "ヤマダタロウ");
        let one = same(Class::Kana, &["オーノ", "おーの", "ｵｰﾉ", "オ-ノ", "オ―ノ"]);
        assert_eq!(one, "オーノ");
        assert_ne!(one, same(Class::Kana, &["オノ"]));
    }

    #[test]
    fn addresses() {
        let one = same(
            Class::Address,
            &[
                "東京都千代田区霞が関1-2-3",
                "東京都千代田区霞が関１−２−３",
                "東京都 千代田区 霞が関１丁目２番３号",
                "東京都千代田区霞が関一丁目2番地3",
                "東京都千代田区霞が関1ー2ー3",
                "東京都千代田区霞が関1丁目2-3号",
                "東京都千代田区霞が関1丁目2番地の3",
            ],
        );
        assert_eq!(one, "東京都千代田区霞ガ関1-2-3");
        same(Class::Address, &["霞ヶ関", "霞ケ関"]);
        let one = same(
            Class::Address,
            &[
                "3-4 コーポ澤101号室",
                "3番4号コーポ沢101",
                "３ー４　コーポ沢１０１号",
            ],
        );
        assert_eq!(one, "3-4コーポ沢101");
        assert_eq!(same(Class::Address, &["十二丁目3", "12-3"]), "12-3");
        assert_ne!(
            same(Class::Address, &["1-23"]),
            same(Class::Address, &["12-3"])
        );
        // Numerals of a place's name stay.
        assert_eq!(same(Class::Address, &["三番町5", "三番町 5"]), "三番町5");
    }

    #[test]
    fn numbers_mail_and_dates() {
        let one = same(
            Class::Phone,
            &[
                "090-1234-5678",
                "+81 90 1234 5678",
                "０９０１２３４５６７８",
            ],
        );
        assert_eq!(one, "+819012345678");
        // No canonical form, a fingerprint all the same.
        same(
            Class::Phone,
            &["03-1234-5678(息子)", "03-1234-5678（息子）"],
        );
        same(Class::Email, &["Taro@Example.jp", "ｔａｒｏ@example.jp "]);
        same(
            Class::CustomerNumber,
            &["AB-0012", "ab0012", "ＡＢ‐００ １２"],
        );
        let one = same(
            Class::BirthDate,
            &["1980-01-02", "昭和５５年１月２日", "S55.1.2", "1980/1/2"],
        );
        assert_eq!(one, "19800102");
    }

    /// Text made of what the rules look at.
    fn near() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "丁目", "番地", "番", "号", "号室", "の", "ノ", "-", "ー", "−", "一", "三", "十",
                "丁", "目", "1", "２", "ｱ", "ﾞ", "゛", "\u{3099}", "か", "ワ", " ", "\u{3000}",
                "\u{200b}", "髙", "İ", "ß", "S", "元", "年", "月", "日", "昭和", "@", ".", "㍻",
                "①", "ᄀ", "ᅡ", "\u{301}", "(", "+",
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ];
        prop_oneof![
            prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat()),
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn normalised_is_a_fixed_point(value in near()) {
            for &class in Class::ALL {
                let once = normalise(class, &value);
                let twice = normalise(class, once.expose());
                prop_assert_eq!(twice.expose(), once.expose(), "{}", class);
            }
        }

        #[test]
        fn a_value_and_its_canonical_form_are_one(value in near()) {
            for &class in Class::ALL {
                if let Ok(one) = canonical(class, &value) {
                    let (one, other) = (normalise(class, one.expose()), normalise(class, &value));
                    prop_assert_eq!(one.expose(), other.expose(), "{}", class);
                }
            }
        }

        /// The short way is the long way.
        #[test]
        fn simple_characters_fold_as_others_do(c in any::<char>()) {
            if is_simple(c) {
                let long: String = c.to_string().nfkc().filter(|&c| !is_dropped(c))
                    .flat_map(char::to_lowercase).map(|c| variants::fold(katakana(c))).nfkc().collect();
                prop_assert_eq!(simple(c).map(String::from).unwrap_or_default(), long);
            }
        }
    }
}
