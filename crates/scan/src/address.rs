//! Postal addresses within a cell.

use std::ops::Range;

use fingerprint::is_hyphen;

use crate::found::Sure;
use crate::numbers::digit;

/// 都道府県 in the order of JIS X 0401.
#[rustfmt::skip]
const PREFECTURES: [&str; 47] = [
    "北海道", "青森県", "岩手県", "宮城県", "秋田県", "山形県", "福島県", "茨城県", "栃木県", "群馬県",
    "埼玉県", "千葉県", "東京都", "神奈川県", "新潟県", "富山県", "石川県", "福井県", "山梨県", "長野県",
    "岐阜県", "静岡県", "愛知県", "三重県", "滋賀県", "京都府", "大阪府", "兵庫県", "奈良県", "和歌山県",
    "鳥取県", "島根県", "岡山県", "広島県", "山口県", "徳島県", "香川県", "愛媛県", "高知県", "福岡県",
    "佐賀県", "長崎県", "熊本県", "大分県", "宮崎県", "鹿児島県", "沖縄県",
];
/// Characters after a prefecture within which its municipality ends.
const MUNICIPALITY_CHARS_MAX: usize = 16;
/// The longest cell that is an address as a whole, in bytes.
const CELL_BYTES_MAX: usize = 360;
/// The longest address within other text, in characters.
const WITHIN_CHARS_MAX: usize = 60;

/// The address in a cell that was trimmed: its place in it, and whether it is certain. At most one:
/// the caller asks again for what comes after.
pub(crate) fn find(cell: &str) -> Option<(Range<usize>, Sure)> {
    // Without one of these nothing below is an address.
    let marks = |c| {
        matches!(
            c,
            '都' | '道' | '府' | '県' | '市' | '区' | '町' | '村' | '郡' | '〒'
        )
    };
    if !cell.contains(marks) && postal_code(cell).is_none() {
        return None;
    }
    let after_code = postal_code(cell);
    let address = &cell[after_code.unwrap_or(0)..];
    let start = cell.len() - address.len();
    let whole = cell.len() <= CELL_BYTES_MAX && !cell.contains('。');
    if whole {
        let begins = PREFECTURES.iter().any(|it| address.starts_with(it));
        if begins && has_municipality(address) {
            return Some((start..cell.len(), Sure::Certain));
        }
        let named = address.chars().filter(|&c| is_kanji(c)).count() >= 2;
        if after_code.is_some() && named {
            return Some((start..cell.len(), Sure::Certain));
        }
    }
    if let Some(range) = within(cell) {
        return Some((range, Sure::Certain));
    }
    let numbered = address.contains(|c| digit(c).is_some()) && has_municipality(address);
    (whole && numbered).then_some((start..cell.len(), Sure::Possible))
}

/// The length of a postal code and the spaces after it, at the start of a text.
fn postal_code(text: &str) -> Option<usize> {
    let mut rest = text.strip_prefix('〒').unwrap_or(text).trim_start();
    for (digits, hyphen) in [(3, true), (4, false)] {
        for _ in 0..digits {
            rest = rest.strip_prefix(|c| digit(c).is_some())?;
        }
        if hyphen {
            rest = rest.strip_prefix(is_hyphen)?;
        }
    }
    let more = rest.starts_with(|c| digit(c).is_some() || is_hyphen(c));
    (!more).then(|| text.len() - rest.trim_start().len())
}

fn is_kanji(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

fn has_municipality(address: &str) -> bool {
    // The first character may be one of them: 市川市.
    let mut chars = address.chars().skip(1).take(MUNICIPALITY_CHARS_MAX);
    chars.any(|c| matches!(c, '市' | '区' | '町' | '村' | '郡'))
}

/// An address within other text: from a prefecture to the last number of what follows.
fn within(cell: &str) -> Option<Range<usize>> {
    let ends = cell.match_indices(['都', '道', '府', '県']);
    let mut starts = ends.filter_map(|(at, last)| {
        let text = &cell[..at + last.len()];
        let prefecture = PREFECTURES.iter().find(|it| text.ends_with(**it))?;
        Some(text.len() - prefecture.len())
    });
    starts.find_map(|start| {
        let address = &cell[start..];
        let ends = |c: char| {
            matches!(
                c,
                '。' | '、' | '「' | '」' | '(' | ')' | '（' | '）' | '：'
            )
        };
        let end = address
            .char_indices()
            .enumerate()
            .find(|(count, (_, c))| *count >= WITHIN_CHARS_MAX || ends(*c))
            .map_or(address.len(), |(_, (at, _))| at);
        let address = &address[..end];
        let numbers = |c| digit(c).is_some() || matches!(c, '号' | '番' | '室' | '階');
        address.chars().find_map(digit)?;
        let (at, last) = address.rmatch_indices(numbers).next()?;
        has_municipality(address).then_some(start..start + at + last.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cell: &str) -> Option<(&str, Sure)> {
        find(cell).map(|(range, sure)| (&cell[range], sure))
    }

    #[test]
    fn addresses() {
        for cell in [
            "東京都千代田区霞が関1-2-3",
            "北海道札幌市中央区北一条西2丁目",
            "神奈川県横浜市西区金糸雀町５番地 コーポ沢101号室",
            "京都府京都市中京区",
        ] {
            assert_eq!(found(cell), Some((cell, Sure::Certain)));
            for code in [
                "〒100-0001 ",
                "100-0001 ",
                "〒１００ー０００１\u{3000}",
                "〒 100−0001",
            ] {
                let with_code = format!("{code}{cell}");
                assert_eq!(
                    found(&with_code),
                    Some((cell, Sure::Certain)),
                    "{with_code}"
                );
            }
        }
        let short = "千代田区霞が関1-2-3";
        assert_eq!(
            found("100-0001 千代田区霞が関1-2-3"),
            Some((short, Sure::Certain))
        );
        assert_eq!(found(short), Some((short, Sure::Possible)));
    }

    #[test]
    fn addresses_within_text() {
        let text = "お客様は東京都港区金糸雀町4-2-8にお住まいです。";
        assert_eq!(
            found(text),
            Some(("東京都港区金糸雀町4-2-8", Sure::Certain))
        );
        let text = "山田 太郎 大阪府大阪市北区金糸雀町1丁目2番3号";
        assert_eq!(
            found(text),
            Some(("大阪府大阪市北区金糸雀町1丁目2番3号", Sure::Certain))
        );
    }

    #[test]
    fn what_is_no_address() {
        for cell in [
            "",
            "東京都",
            "東京都知事選挙",
            "100-0001",
            "第1章",
            "町内会",
            "123-45678 山田",
            "2024年の東京都の人口",
        ] {
            assert_eq!(found(cell), None, "{cell}");
        }
    }
}
