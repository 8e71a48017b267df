//! Hiragana in Latin letters, for e-mail addresses: Hepburn without long marks.

const PAIRS: [(&str, &str); 36] = [
    ("きゃ", "kya"),
    ("きゅ", "kyu"),
    ("きょ", "kyo"),
    ("しゃ", "sha"),
    ("しゅ", "shu"),
    ("しょ", "sho"),
    ("ちゃ", "cha"),
    ("ちゅ", "chu"),
    ("ちょ", "cho"),
    ("にゃ", "nya"),
    ("にゅ", "nyu"),
    ("にょ", "nyo"),
    ("ひゃ", "hya"),
    ("ひゅ", "hyu"),
    ("ひょ", "hyo"),
    ("みゃ", "mya"),
    ("みゅ", "myu"),
    ("みょ", "myo"),
    ("りゃ", "rya"),
    ("りゅ", "ryu"),
    ("りょ", "ryo"),
    ("ぎゃ", "gya"),
    ("ぎゅ", "gyu"),
    ("ぎょ", "gyo"),
    ("じゃ", "ja"),
    ("じゅ", "ju"),
    ("じょ", "jo"),
    ("びゃ", "bya"),
    ("びゅ", "byu"),
    ("びょ", "byo"),
    ("ぴゃ", "pya"),
    ("ぴゅ", "pyu"),
    ("ぴょ", "pyo"),
    ("ぢゃ", "ja"),
    ("ぢゅ", "ju"),
    ("ぢょ", "jo"),
];

/// ぁ (U+3041) to ん (U+3093), in the order of Unicode.
const SINGLES: [&str; 83] = [
    "a", "a", "i", "i", "u", "u", "e", "e", "o", "o", "ka", "ga", "ki", "gi", "ku", "gu", "ke",
    "ge", "ko", "go", "sa", "za", "shi", "ji", "su", "zu", "se", "ze", "so", "zo", "ta", "da",
    "chi", "ji", "tsu", "tsu", "zu", "te", "de", "to", "do", "na", "ni", "nu", "ne", "no", "ha",
    "ba", "pa", "hi", "bi", "pi", "fu", "bu", "pu", "he", "be", "pe", "ho", "bo", "po", "ma", "mi",
    "mu", "me", "mo", "ya", "ya", "yu", "yu", "yo", "yo", "ra", "ri", "ru", "re", "ro", "wa", "wa",
    "i", "e", "o", "n",
];

/// The romanisation; what is no hiragana is left out.
pub(crate) fn of(hiragana: &str) -> String {
    let mut text = String::with_capacity(hiragana.len());
    let mut rest = hiragana;
    let mut doubled = false;
    while let Some(first) = rest.chars().next() {
        let (syllable, length) = match PAIRS.iter().find(|(kana, _)| rest.starts_with(kana)) {
            Some((kana, latin)) => (*latin, kana.len()),
            None => {
                let index = u32::from(first).wrapping_sub(0x3041) as usize;
                (
                    SINGLES.get(index).copied().unwrap_or_default(),
                    first.len_utf8(),
                )
            }
        };
        rest = &rest[length..];
        if first == 'っ' {
            doubled = true;
            continue;
        }
        if doubled {
            text.push_str(match syllable.as_bytes().first() {
                Some(b'c') => "t",
                Some(_) => &syllable[..1],
                None => "",
            });
            doubled = false;
        }
        text.push_str(syllable);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn known_names() {
        for (kana, latin) in [
            ("さとう", "satou"),
            ("しんいち", "shinichi"),
            ("きょうこ", "kyouko"),
            ("はっとり", "hattori"),
            ("ほった", "hotta"),
            ("まっちゃ", "matcha"),
            ("じゅんぺい", "junpei"),
            ("つづき", "tsuzuki"),
            ("わたなべ", "watanabe"),
            ("をん", "on"),
            ("っ", ""),
            ("ー漢", ""),
        ] {
            assert_eq!(of(kana), latin);
        }
    }
}
