//! Telephone numbers, judged by `phonenumber` (libphonenumber's rules and metadata), which nobody
//! here wrote.

use event::Class;
use fingerprint::{canonical, display};
use phonenumber::{Mode, country::Id::JP};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

/// What the judge makes of it: E.164, and whether it calls that valid. It reads full-width text
/// only after NFKC, and trips over a hyphen that follows many digits after a plus.
fn judged(value: &str) -> Option<(String, bool)> {
    let value = value.nfkc().collect::<String>().replace(['-', '.'], " ");
    let number = phonenumber::parse(Some(JP), value).ok()?;
    let e164 = number.format().mode(Mode::E164).to_string();
    Some((e164, phonenumber::is_valid(&number)))
}

fn ours(value: &str) -> Option<String> {
    canonical(Class::Phone, value)
        .ok()
        .map(|v| v.expose().clone())
}

/// Japanese numbers as people write them, many of them wrong.
fn written() -> impl Strategy<Value = String> {
    let hyphen = || prop::sample::select(vec!["", "-", "－", "−", " ", "‐", "."]);
    let start = prop::sample::select(vec!["0", "０", "+81", "+81 ", "+81-0", "+81(0)"]);
    let middle = prop_oneof![
        "[1-9][0-9]{0,3}",
        prop::sample::select(vec!["90", "80", "70", "50", "120", "800", "570", "3", "6"])
            .prop_map(str::to_owned),
    ];
    (
        start,
        middle,
        hyphen(),
        "[0-9]{1,4}",
        hyphen(),
        "[0-9]{3,4}",
    )
        .prop_map(|(start, area, h1, exchange, h2, line)| {
            format!("{start}{area}{h1}{exchange}{h2}{line}")
        })
}

/// What the judge calls valid and we take. Its `is_valid` matches patterns at the start only, so
/// lengths are checked here: nine digits, ten where the second is 0. Left out on purpose: personal
/// numbers (060 and seven digits), and what cannot be dialled from abroad.
fn taken(e164: &str) -> bool {
    match e164.strip_prefix("+81").map(str::as_bytes) {
        Some(national @ [b'1'..=b'9', b'0', ..]) => national.len() == 10,
        Some(national @ [b'1'..=b'9', ..]) => national.len() == 9,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1_000)
    })]

    /// What we accept, it reads as the same number; what it calls valid, we accept.
    #[test]
    fn japanese_numbers(value in written()) {
        let (ours, judged) = (ours(&value), judged(&value));
        if let Some(ours) = &ours {
            prop_assert_eq!(Some(ours), judged.as_ref().map(|(e164, _)| e164));
        }
        if let Some((e164, true)) = judged && taken(&e164) {
            prop_assert_eq!(ours, Some(e164));
        }
    }

    #[test]
    fn other_countries(value in "\\+(1|44|86|82|886|61)[ -]?[1-9][0-9]{1,3}[ -]?[0-9]{3}[ -]?[0-9]{3,5}") {
        if let Some((e164, true)) = judged(&value) {
            prop_assert_eq!(ours(&value), Some(e164));
        }
    }
}

/// Every prefix of five digits, with the exchange digits that follow it: hyphens where
/// libphonenumber puts them, for numbers it calls valid.
#[test]
fn grouping() {
    let mut compared = 0;
    for prefix in (11_000..100_000).step_by(23) {
        let e164 = format!("+81{prefix}{}", 2_345);
        let Some((_, true)) = judged(&e164) else {
            continue;
        };
        if !taken(&e164) {
            continue;
        }
        let Ok(number) = phonenumber::parse(None, &e164) else {
            continue;
        };
        let expected = number.format().mode(Mode::National).to_string();
        assert_eq!(display(Class::Phone, &e164), expected, "{e164}");
        compared += 1;
    }
    assert!(compared > 1_000, "{compared}");
    for (e164, shown) in [
        ("+819012345678", "090-1234-5678"),
        ("+815012345678", "050-1234-5678"),
        ("+81120123456", "0120-123-456"),
        ("+818001234567", "0800-123-4567"),
        ("+81570012345", "0570-012-345"),
        ("+81312345678", "03-1234-5678"),
        ("+81612345678", "06-1234-5678"),
        ("+81452123456", "045-212-3456"),
        ("+81126712345", "01267-1-2345"),
        ("+12125550100", "+12125550100"),
    ] {
        assert_eq!(display(Class::Phone, e164), shown);
    }
}
