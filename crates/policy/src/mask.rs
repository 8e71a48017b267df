//! Masks: what remains of a value whose outcome is masked. Configured per class, in TOML.
//!
//! Invariants: a mask never shows a whole value; what it cannot take apart it hides whole; it cuts
//! between characters only.

mod address;
mod text;

use std::collections::BTreeMap;

use event::{Class, Plain};

pub(crate) use text::default_text;

use crate::PolicyError;

/// What stands for a value of which nothing is shown.
pub(crate) const HIDDEN: &str = "（伏字）";

/// The most characters that a mask can be told to keep at either end.
pub(crate) const KEEP_MAX: u8 = 16;

/// A mask of digits hides at least so many: 10^3 guesses.
const DIGITS_HIDDEN_MIN: usize = 3;

/// What a mask keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Keep {
    /// Nothing: `（伏字）`.
    Nothing,
    /// The first and last characters; one run of stars for the rest.
    Characters,
    /// The first and last digits, and everything that is no digit; a star for each other digit.
    Digits,
    /// The first characters of the local part, and the domain.
    Email,
    /// Prefecture and city.
    City,
    /// The year.
    Year,
}

impl Keep {
    /// All of them, by name.
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("nothing", Self::Nothing),
        ("characters", Self::Characters),
        ("digits", Self::Digits),
        ("email", Self::Email),
        ("city", Self::City),
        ("year", Self::Year),
    ];
}

/// The mask of one class.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mask {
    /// What it keeps.
    pub keep: Keep,
    /// Characters or digits kept at the start, at most 16.
    pub keep_first: u8,
    /// Characters or digits kept at the end, at most 16.
    pub keep_last: u8,
    /// How many stars stand for hidden characters, 1 to 8: never how many there were.
    pub stars: u8,
}

impl Mask {
    /// Keeps nothing.
    pub const NOTHING: Self = Self {
        keep: Keep::Nothing,
        keep_first: 0,
        keep_last: 0,
        stars: 1,
    };

    /// What it leaves of a value.
    pub fn apply(&self, value: &str) -> Plain<String> {
        let shown = match self.keep {
            Keep::Nothing => None,
            Keep::Characters => Some(self.characters(value)),
            Keep::Digits => self.digits(value),
            Keep::Email => self.email(value),
            Keep::City => address::city(value).map(str::to_owned),
            Keep::Year => year(value).map(str::to_owned),
        };
        // Whatever the shape: a mask that would show the value is none.
        Plain::new(
            shown
                .filter(|shown| shown != value)
                .unwrap_or_else(|| HIDDEN.to_owned()),
        )
    }

    fn stars(&self) -> String {
        "*".repeat(self.stars.clamp(1, 8).into())
    }

    /// The value's ends around stars; stars alone if the ends would be all of it.
    fn characters(&self, value: &str) -> String {
        let (first, last) = (usize::from(self.keep_first), usize::from(self.keep_last));
        let value = value.trim();
        let length = value.chars().count();
        if length <= first + last {
            return self.stars();
        }
        let mut shown: String = value.chars().take(first).collect();
        shown.push_str(&self.stars());
        shown.extend(value.chars().skip(length - last));
        shown
    }

    fn digits(&self, value: &str) -> Option<String> {
        let digits = value.chars().filter(|c| is_digit(*c)).count();
        let (first, last) = (usize::from(self.keep_first), usize::from(self.keep_last));
        // Letters among the digits are no telephone number: an extension, a name.
        if digits < DIGITS_HIDDEN_MIN || value.chars().any(char::is_alphabetic) {
            return None;
        }
        let (first, last) = if digits < first + last + DIGITS_HIDDEN_MIN {
            (0, 0)
        } else {
            (first, last)
        };
        let mut place = 0;
        let shown = value.chars().map(|c| {
            if !is_digit(c) {
                return c;
            }
            place += 1;
            if place <= first || place > digits - last {
                c
            } else {
                '*'
            }
        });
        Some(shown.collect())
    }

    fn email(&self, value: &str) -> Option<String> {
        let (local, domain) = value.rsplit_once('@')?;
        if local.is_empty() || domain.is_empty() {
            return None;
        }
        let local = Self {
            keep_last: 0,
            ..*self
        }
        .characters(local);
        Some(format!("{local}@{domain}"))
    }

    fn looser_than(&self, other: &Self) -> bool {
        let kept = |mask: &Self| match mask.keep {
            Keep::Characters | Keep::Digits => (mask.keep_first, mask.keep_last),
            Keep::Email => (mask.keep_first, 0),
            Keep::Nothing | Keep::City | Keep::Year => (0, 0),
        };
        let (mine, theirs) = (kept(self), kept(other));
        if self.keep == Keep::Nothing {
            return false;
        }
        self.keep != other.keep || mine.0 > theirs.0 || mine.1 > theirs.1
    }
}

/// The masks of all classes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Masks(BTreeMap<Class, Mask>);

impl Default for Masks {
    /// What `sekisho init` proposes.
    fn default() -> Self {
        let mask = |keep, keep_first, keep_last, stars| Mask {
            keep,
            keep_first,
            keep_last,
            stars,
        };
        Self(BTreeMap::from([
            (Class::Name, mask(Keep::Characters, 1, 0, 1)),
            (Class::Kana, mask(Keep::Characters, 1, 0, 1)),
            (Class::Address, mask(Keep::City, 0, 0, 1)),
            (Class::Phone, mask(Keep::Digits, 3, 4, 1)),
            (Class::Email, mask(Keep::Email, 1, 0, 3)),
            (Class::BirthDate, mask(Keep::Year, 0, 0, 1)),
            (Class::CustomerNumber, mask(Keep::Characters, 0, 3, 3)),
            (Class::FreeText, Mask::NOTHING),
        ]))
    }
}

impl Masks {
    /// Masks by class; a class without one shows nothing.
    pub fn new(masks: impl IntoIterator<Item = (Class, Mask)>) -> Self {
        Self(masks.into_iter().collect())
    }

    /// Reads masks. A class that is left out shows nothing.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        text::parse(text)
    }

    /// The canonical text; `parse` gives the same masks back.
    pub fn to_toml(&self) -> String {
        text::write(self)
    }

    /// The mask of a class.
    pub fn mask(&self, class: Class) -> &Mask {
        self.0.get(&class).unwrap_or(&Mask::NOTHING)
    }

    /// What a mask leaves of a value.
    pub fn apply(&self, class: Class, value: &str) -> Plain<String> {
        self.mask(class).apply(value)
    }

    /// Whether a class shows more than in `other`; another shape counts as more.
    pub fn looser_than(&self, other: &Self) -> bool {
        Class::ALL
            .iter()
            .any(|&class| self.mask(class).looser_than(other.mask(class)))
    }
}

/// Digits of any script.
fn is_digit(c: char) -> bool {
    c.is_numeric()
}

/// The eras since 1868, as they are written before a year.
const ERAS: [&str; 5] = ["明治", "大正", "昭和", "平成", "令和"];

/// The year at the start: of `1980-04-12`, `19800412`, `昭和55年4月12日`.
fn year(value: &str) -> Option<&str> {
    let value = value.trim_start();
    if ERAS.iter().any(|era| value.starts_with(era)) {
        let mut signs = value.char_indices().take(6);
        return signs
            .find(|&(_, c)| c == '年')
            .map(|(end, c)| &value[..end + c.len_utf8()]);
    }
    let year = value
        .get(..4)
        .filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))?;
    let plausible = year
        .parse::<u16>()
        .is_ok_and(|year| (1850..=2150).contains(&year));
    plausible.then_some(year)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(class: Class, value: &str) -> String {
        Masks::default().apply(class, value).expose().clone()
    }

    #[test]
    fn the_defaults_show_what_they_say() {
        for (class, value, shown) in [
            (Class::Phone, "090-5678-1234", "090-****-1234"),
            (Class::Phone, "03-1234-5678", "03-1***-5678"),
            (Class::Phone, "+819056781234", "+819*****1234"),
            (
                Class::Phone,
                "０９０−５６７８−１２３４",
                "０９０−****−１２３４",
            ),
            (Class::Phone, "123-4567", "***-****"),
            (Class::Phone, "090-1234-5678（息子）", HIDDEN),
            (Class::Phone, "11", HIDDEN),
            (Class::Name, "山田 太郎", "山*"),
            (Class::Name, "林", "*"),
            (Class::Name, "", "*"),
            (Class::Kana, "ヤマダ タロウ", "ヤ*"),
            (Class::Email, "abe@example.jp", "a***@example.jp"),
            (Class::Email, "a@example.jp", "***@example.jp"),
            (Class::Email, "no address", HIDDEN),
            (Class::Email, "@example.jp", HIDDEN),
            (
                Class::Address,
                "東京都千代田区丸の内1-9-1",
                "東京都千代田区",
            ),
            (Class::BirthDate, "1980-04-12", "1980"),
            (Class::BirthDate, "19800412", "1980"),
            (Class::BirthDate, "昭和55年4月12日", "昭和55年"),
            (Class::BirthDate, "04/12/1980", HIDDEN),
            (Class::BirthDate, "04121980", HIDDEN),
            (Class::CustomerNumber, "A-0012345", "***345"),
            (Class::CustomerNumber, "345", "***"),
            (Class::FreeText, "電話は息子へ", HIDDEN),
        ] {
            assert_eq!(masked(class, value), shown, "{class}");
        }
    }

    fn any_mask() -> impl Strategy<Value = Mask> {
        let keep = proptest::sample::select(Keep::ALL.map(|(_, keep)| keep).to_vec());
        (keep, 0..=KEEP_MAX, 0..=KEEP_MAX, 1..=8u8).prop_map(
            |(keep, keep_first, keep_last, stars)| Mask {
                keep,
                keep_first,
                keep_last,
                stars,
            },
        )
    }

    proptest! {
        #[test]
        fn a_mask_never_shows_the_whole_value(mask in any_mask(), value in "\\PC{0,40}") {
            let shown = mask.apply(&value);
            let trimmed = value.trim();
            if !trimmed.is_empty() && trimmed.chars().any(|c| c != '*') {
                prop_assert!(!shown.expose().contains(trimmed) || HIDDEN.contains(trimmed));
            }
        }

        #[test]
        fn a_mask_of_digits_hides_three_at_least(mask in any_mask(), value in "[0-9-]{0,20}") {
            let mask = Mask { keep: Keep::Digits, ..mask };
            let shown = mask.apply(&value).expose().chars().filter(|c| is_digit(*c)).count();
            let digits = value.chars().filter(|c| is_digit(*c)).count();
            prop_assert!(shown == 0 || digits - shown >= DIGITS_HIDDEN_MIN);
        }

        #[test]
        fn looser_is_any_greater_number(mask in any_mask(), first in 0..=KEEP_MAX) {
            let other = Mask { keep_first: first, ..mask };
            let counts = matches!(mask.keep, Keep::Characters | Keep::Digits | Keep::Email);
            prop_assert_eq!(mask.looser_than(&other), counts && mask.keep_first > first);
            prop_assert!(!Mask::NOTHING.looser_than(&mask));
            prop_assert_eq!(mask.looser_than(&Mask::NOTHING), mask.keep != Keep::Nothing);
        }
    }
}
