//! Canonical values of the exact classes.
//!
//! Invariants: `canonical(class, canonical(class, v)) == canonical(class, v)`, and
//! `canonical(class, display(class, c)) == c` for every canonical `c`. What has no canonical form
//! is refused and never guessed at.

use event::{Class, Plain};
use unicode_normalization::UnicodeNormalization;

use crate::phone;

/// The longest value that is looked at, in bytes; longer ones have no canonical form.
pub const VALUE_BYTES_MAX: usize = 1024;
/// The longest canonical e-mail address, in bytes (RFC 5321 section 4.5.3.1.3, without `<>`).
const EMAIL_BYTES_MAX: usize = 254;
/// The longest local part of an e-mail address, in bytes (RFC 5321 section 4.5.3.1.1).
const EMAIL_LOCAL_BYTES_MAX: usize = 64;
/// The longest canonical customer number, in bytes.
const CUSTOMER_NUMBER_BYTES_MAX: usize = 100;

/// Why a value has no canonical form. Never carries the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotCanonical {
    /// The class has no canonical form at all.
    #[error("values of class {0} have no canonical form: seal the column in random mode")]
    Class(Class),
    /// Empty, or spaces only.
    #[error("an empty value has no canonical form: write NULL")]
    Empty,
    /// Too long for its class.
    #[error("the value is longer than the {max} bytes that class {class} allows")]
    TooLong {
        /// The class.
        class: Class,
        /// The limit in bytes.
        max: usize,
    },
    /// A telephone number with other text in it, or with digits that no number has.
    #[error(
        "not one telephone number: write it like 090-1234-5678 or +81 90 1234 5678, \
         and remarks elsewhere"
    )]
    Phone,
    /// Not an e-mail address.
    #[error("not one e-mail address like name@example.jp")]
    Email,
    /// Not a customer number.
    #[error("not a customer number: letters, digits, spaces and - _ . / # with at least one digit")]
    CustomerNumber,
}

/// The canonical form of a value of an exact class.
///
/// - phone: E.164 (`+819012345678`). Japanese numbers in national or international writing, full
///   or half width, any hyphen; other countries' with `+` and country code.
/// - e-mail: NFKC, trimmed, lower case throughout.
/// - customer number: NFKC, trimmed, upper case; hyphens of any kind become `-` and runs of spaces
///   one space, and both are **kept**, since `1-23` and `12-3` may be two customers.
///
/// # Errors
/// [`NotCanonical`]: the class is not exact, or the value is not one value of it (不明,
/// `03-1234-5678(息子)`).
pub fn canonical(class: Class, value: &str) -> Result<Plain<String>, NotCanonical> {
    if !class.may_be_exact() {
        return Err(NotCanonical::Class(class));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(NotCanonical::TooLong {
            class,
            max: VALUE_BYTES_MAX,
        });
    }
    if value.trim().is_empty() {
        return Err(NotCanonical::Empty);
    }
    match class {
        Class::Phone => phone::canonical(value).ok_or(NotCanonical::Phone),
        Class::Email => email(value),
        Class::CustomerNumber => customer_number(value),
        _ => Err(NotCanonical::Class(class)),
    }
}

/// How a canonical value is shown when it is unsealed: Japanese telephone numbers as
/// `090-1234-5678`, other values as they are. Values that are not canonical come back unchanged.
pub fn display(class: Class, canonical: &str) -> String {
    match class {
        Class::Phone => phone::display(canonical),
        _ => canonical.to_owned(),
    }
}

/// NFKC and lower case, to the point where neither changes anything.
fn fold_lower(value: &str) -> Plain<String> {
    let nfkc = Plain::new(value.nfkc().collect::<String>());
    let lower = Plain::new(nfkc.expose().to_lowercase());
    Plain::new(lower.expose().nfkc().collect())
}

fn email(value: &str) -> Result<Plain<String>, NotCanonical> {
    let mut folded = if value.is_ascii() {
        Plain::new(value.to_ascii_lowercase())
    } else {
        fold_lower(value)
    };
    trim_in_place(&mut folded);
    let address = folded.expose();
    if address.len() > EMAIL_BYTES_MAX {
        return Err(NotCanonical::TooLong {
            class: Class::Email,
            max: EMAIL_BYTES_MAX,
        });
    }
    let (local, domain) = address.split_once('@').ok_or(NotCanonical::Email)?;
    // Some Japanese carriers gave out addresses with dots that RFC 5321 forbids: all dots pass.
    let local_fine = !local.is_empty()
        && local.len() <= EMAIL_LOCAL_BYTES_MAX
        && local
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
    let label_fine = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    if local_fine && domain.contains('.') && domain.split('.').all(label_fine) {
        Ok(folded)
    } else {
        Err(NotCanonical::Email)
    }
}

fn customer_number(value: &str) -> Result<Plain<String>, NotCanonical> {
    let upper = if value.is_ascii() {
        Plain::new(value.to_ascii_uppercase())
    } else {
        let nfkc = Plain::new(value.nfkc().collect::<String>());
        let upper = Plain::new(nfkc.expose().to_uppercase());
        Plain::new(upper.expose().nfkc().collect())
    };
    let mut out = Plain::new(String::with_capacity(upper.expose().len()));
    for c in upper.expose().trim().chars() {
        let number = out.expose_mut();
        let last = number.chars().next_back();
        // A prolonged sound mark is a letter of a kana word, and a hyphen after anything else.
        let after_kana =
            last.is_some_and(|l| matches!(l, '\u{30a1}'..='\u{30fe}' | '\u{3041}'..='\u{309f}'));
        match c {
            'ー' if after_kana => number.push(c),
            c if phone::is_hyphen(c) => number.push('-'),
            c if c.is_whitespace() => {
                if last != Some(' ') {
                    number.push(' ');
                }
            }
            c if c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '#') => number.push(c),
            _ => return Err(NotCanonical::CustomerNumber),
        }
    }
    let number = out.expose();
    if number.len() > CUSTOMER_NUMBER_BYTES_MAX {
        return Err(NotCanonical::TooLong {
            class: Class::CustomerNumber,
            max: CUSTOMER_NUMBER_BYTES_MAX,
        });
    }
    if !number.bytes().any(|b| b.is_ascii_digit()) {
        return Err(NotCanonical::CustomerNumber);
    }
    Ok(out)
}

fn trim_in_place(value: &mut Plain<String>) {
    let text = value.expose_mut();
    let end = text.trim_end().len();
    text.truncate(end);
    let start = text.len() - text.trim_start().len();
    text.drain(..start);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(class: Class, value: &str) -> Option<String> {
        canonical(class, value).ok().map(|v| v.expose().clone())
    }

    #[test]
    fn phones_that_are_one() {
        for value in [
            "090-1234-5678",
            "09012345678",
            "０９０−１２３４−５６７８",
            "０９０ー１２３４ー５６７８",
            "090ｰ1234ｰ5678",
            "090‐1234–5678",
            "(090)1234-5678",
            "090(1234)5678",
            "+81 90 1234 5678",
            "+81(0)90-1234-5678",
            "＋８１９０１２３４５６７８",
            "  090 1234 5678\u{3000}",
            "090.1234.5678",
            "090\u{200b}12345678",
        ] {
            assert_eq!(
                of(Class::Phone, value).as_deref(),
                Some("+819012345678"),
                "{value}"
            );
        }
        assert_eq!(
            of(Class::Phone, "(03) 1234-5678").as_deref(),
            Some("+81312345678")
        );
        assert_eq!(
            of(Class::Phone, "0120-123-456").as_deref(),
            Some("+81120123456")
        );
        assert_eq!(
            of(Class::Phone, "+1 212-555-0100").as_deref(),
            Some("+12125550100")
        );
    }

    #[test]
    fn phones_that_are_refused() {
        for value in [
            "不明",
            "03-1234-5678(息子)",
            "03-1234-5678 内線 12",
            "なし",
            "090-1234-567",
            "090-1234-56789",
            "110",
            "1234-5678",
            "81-90-1234-5678",
            "+81 90 1234 567",
            "+0 123 456 789",
            "+",
            "090-1234-5678 / 03-1234-5678",
            "090一1234一5678",
            "((03))1234-5678",
            "(03 1234-5678",
            "03)1234-5678",
            "090-1234-5678-",
            "00312345678",
            "+1234567890123456",
        ] {
            assert_eq!(
                canonical(Class::Phone, value).unwrap_err(),
                NotCanonical::Phone,
                "{value}"
            );
        }
        assert_eq!(
            canonical(Class::Phone, " \u{3000}").unwrap_err(),
            NotCanonical::Empty
        );
    }

    #[test]
    fn e_mail_addresses() {
        let one = Some("taro.yamada@example.co.jp");
        assert_eq!(
            of(Class::Email, " Taro.Yamada@Example.CO.JP ").as_deref(),
            one
        );
        assert_eq!(
            of(
                Class::Email,
                "ｔａｒｏ．ｙａｍａｄａ＠ｅｘａｍｐｌｅ．ｃｏ．ｊｐ"
            )
            .as_deref(),
            one
        );
        assert_eq!(
            of(Class::Email, "a..b.@docomo.ne.jp").as_deref(),
            Some("a..b.@docomo.ne.jp")
        );
        for value in [
            "不明",
            "taro@",
            "@example.jp",
            "a@b@example.jp",
            "taro@localhost",
            "taro yamada@example.jp",
            "taro@example..jp",
            "taro@example.jp(勤務先)",
            "<taro@example.jp>",
        ] {
            assert!(canonical(Class::Email, value).is_err(), "{value}");
        }
    }

    #[test]
    fn customer_numbers() {
        for (given, expected) in [
            (" ab-0012 ", "AB-0012"),
            ("ＡＢ－００１２", "AB-0012"),
            ("ABー0012", "AB-0012"),
            ("AB  0012", "AB 0012"),
            ("コーヒー12", "コーヒー12"),
            ("1-23", "1-23"),
        ] {
            assert_eq!(
                of(Class::CustomerNumber, given).as_deref(),
                Some(expected),
                "{given}"
            );
        }
        for value in ["不明", "ABC", "12;34", "12(旧)"] {
            assert!(canonical(Class::CustomerNumber, value).is_err(), "{value}");
        }
    }

    #[test]
    fn other_classes_have_none() {
        assert_eq!(
            canonical(Class::Name, "山田").unwrap_err(),
            NotCanonical::Class(Class::Name)
        );
    }

    /// Text that often is nearly a value of its class.
    fn near() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9０-９+＋() \u{3000}ー−-]{0,20}",
            "[a-zA-Zａ-ｚ0-9.@＠\u{130}ßﬀ-]{1,12}@[a-zA-Zß日本.\u{130}]{1,8}\\.jp",
            "[A-Za-z0-9Ａ-Ｚｱ-ﾝア-ンーßŉ\u{1f0} ./_#‐-]{0,30}",
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point_and_display_returns_to_it(value in near()) {
            for &class in Class::ALL {
                if let Ok(one) = canonical(class, &value) {
                    let again = canonical(class, one.expose());
                    prop_assert_eq!(again.as_ref().map(|v| v.expose()), Ok(one.expose()));
                    let shown = display(class, one.expose());
                    let back = canonical(class, &shown);
                    prop_assert_eq!(back.as_ref().map(|v| v.expose()), Ok(one.expose()));
                }
            }
        }
    }
}
