//! What must hold of cells as a whole: round trips, lengths, equality, and all that must not open.

use std::collections::BTreeSet;
use std::sync::Arc;

use event::{Class, ClientId, ClientSource, Domain, Mode, Sealing};
use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::cell::{CELL_PREFIX, HEADER_BYTES};
use crate::{
    CellHeader, ClientKeys, OpenError, SealError, SystemEntropy, cell_lengths, check_expression,
    value_bytes_max,
};

fn client(number: u32) -> ClientId {
    ClientId::new(number).unwrap()
}

/// The keys that the test vectors of docs/format/cell.md are made with.
fn keys(number: u32) -> ClientKeys {
    let lasting = Zeroizing::new([0x11; 32]);
    let epochs = [(1, Zeroizing::new([0x22; 32]))];
    ClientKeys::new(client(number), &lasting, &epochs, Arc::new(SystemEntropy)).unwrap()
}

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(Class::ALL)
}

/// A value that may be sealed in random mode.
fn value(class: Class) -> impl Strategy<Value = String> {
    let max = value_bytes_max(class, Mode::Random);
    prop_oneof![
        "[^\0]{0,12}",
        "[ぁ-んァ-ヶ一-龠0-9A-Z -]{0,60}",
        (0..=max).prop_map(|length| "x".repeat(length)),
    ]
    .prop_filter("within the class", move |value| value.len() <= max)
}

fn random_case() -> impl Strategy<Value = (Class, u16, u64, String)> {
    class().prop_flat_map(|class| (Just(class), any::<u16>(), any::<u64>(), value(class)))
}

/// A canonical value of an exact class.
fn exact_case() -> impl Strategy<Value = (Class, u16, String)> {
    let value = prop_oneof![
        "0[789]0[1-9][0-9]{7}".prop_map(|v| (Class::Phone, v)),
        "[a-z]{1,60}@[a-z]{1,60}\\.example".prop_map(|v| (Class::Email, v)),
        "[A-Z0-9-]{0,99}[0-9]".prop_map(|v| (Class::CustomerNumber, v)),
    ];
    (value, any::<u16>()).prop_map(|((class, value), domain)| (class, domain, value))
}

/// The cell's bytes, changed by `change`, as a cell again.
fn rewritten(cell: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let base64 = base64_simd::URL_SAFE_NO_PAD;
    let mut bytes = base64.decode_to_vec(&cell[CELL_PREFIX.len()..]).unwrap();
    change(&mut bytes);
    format!("{CELL_PREFIX}{}", base64.encode_to_string(&bytes))
}

proptest! {
    #[test]
    fn random_cells_open_as_they_were_sealed((class, domain, tag, value) in random_case()) {
        let keys = keys(5);
        let cell = keys.seal_random(class, Domain(domain), tag, &value).unwrap();
        let opened = keys.open(cell.as_bytes()).unwrap();
        prop_assert_eq!(opened.value.expose(), &value);
        prop_assert_eq!(opened.tag, tag);
        prop_assert_eq!(Some(opened.header), CellHeader::peek(cell.as_bytes()));
        prop_assert_eq!(opened.header, CellHeader {
            class, domain: Domain(domain), client: client(5), version: 1, epoch: 1, mode: Mode::Random,
        });
        let again = keys.seal_random(class, Domain(domain), tag, &value).unwrap();
        prop_assert_ne!(cell, again);
    }

    #[test]
    fn equal_canonical_values_give_equal_cells((class, domain, value) in exact_case()) {
        let keys = keys(5);
        let cell = keys.seal_exact(class, Domain(domain), &value).unwrap();
        let canonical = fingerprint::canonical(class, &value).unwrap();
        let again = keys.seal_exact(class, Domain(domain), &fingerprint::display(class, canonical.expose()));
        prop_assert_eq!(&cell, &again.unwrap());
        let opened = keys.open(cell.as_bytes()).unwrap();
        prop_assert_eq!(opened.value.expose(), canonical.expose());
        prop_assert_eq!((opened.tag, opened.header.mode), (0, Mode::Exact));
        // Nothing but the header and the key binds it: other client, domain, other cell throughout.
        let other_domain = keys.seal_exact(class, Domain(domain.wrapping_add(1)), &value).unwrap();
        let other_client = super::tests::keys(6).seal_exact(class, Domain(domain), &value).unwrap();
        let content = CELL_PREFIX.len() + HEADER_BYTES / 3 * 4;
        for other in [other_domain, other_client] {
            prop_assert_ne!(&cell[content..content + 16], &other[content..content + 16]);
            prop_assert_ne!(&cell[content + 16..], &other[content + 16..]);
        }
    }

    /// Attack 7.
    #[test]
    fn a_class_has_at_most_four_lengths(
        random in prop::collection::vec(random_case(), 1..20),
        exact in prop::collection::vec(exact_case(), 1..20),
    ) {
        let keys = keys(5);
        let mut seen = BTreeSet::new();
        for (class, domain, tag, value) in random {
            let cell = keys.seal_random(class, Domain(domain), tag, &value).unwrap();
            seen.insert((class, cell.len()));
        }
        for (class, domain, value) in exact {
            let cell = keys.seal_exact(class, Domain(domain), &value).unwrap();
            seen.insert((class, cell.len()));
        }
        for (class, length) in seen {
            let lengths: Vec<_> = cell_lengths(class).collect();
            prop_assert!(lengths.len() <= 4 && lengths.contains(&length));
        }
    }

    /// Attack 4.
    #[test]
    fn any_flipped_bit_closes_a_cell(
        (class, domain, tag, value) in random_case(), at: prop::sample::Index, bit in 0..8_u8,
    ) {
        let keys = keys(5);
        let cell = keys.seal_random(class, Domain(domain), tag, &value).unwrap();
        let other = rewritten(&cell, |bytes| {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        });
        prop_assert!(keys.open(other.as_bytes()).is_err());
        let mut text = cell.into_bytes();
        let at = at.index(text.len());
        text[at] ^= 1 << bit;
        prop_assert!(keys.open(&text).is_err());
    }

    #[test]
    fn hostile_bytes_are_an_error(bytes: Vec<u8>, text in "sealed:[A-Za-z0-9_-]{0,300}", fill: u8) {
        let keys = keys(5);
        prop_assert_eq!(keys.open(&bytes).unwrap_err(), OpenError::NotACell);
        prop_assert!(keys.open(text.as_bytes()).is_err());
        // A perfect header, and anything behind it.
        let cell = keys.seal_random(Class::Name, Domain(1), 0, "").unwrap();
        let other = rewritten(&cell, |bytes| bytes[HEADER_BYTES..].fill(fill));
        prop_assert_eq!(keys.open(other.as_bytes()).unwrap_err(), OpenError::DoesNotVerify);
    }
}

/// Attack 4: a cell that is relabelled opens nothing, also by whoever holds both clients' keys.
#[test]
fn relabelled_cells_do_not_open() {
    let phone = "090-1234-5678";
    for mode in [Mode::Random, Mode::Exact] {
        let cell = match mode {
            Mode::Random => keys(5).seal_random(Class::Phone, Domain(1), 9, phone),
            Mode::Exact => keys(5).seal_exact(Class::Phone, Domain(1), phone),
        }
        .unwrap();
        keys(5).open(cell.as_bytes()).unwrap();
        assert_eq!(
            keys(6).open(cell.as_bytes()).unwrap_err(),
            OpenError::OtherClient(client(5))
        );
        let open = |number, at: usize, byte| {
            let cell = rewritten(&cell, |bytes| bytes[at] = byte);
            keys(number).open(cell.as_bytes()).unwrap_err()
        };
        let never = OpenError::DoesNotVerify;
        assert_eq!(open(5, 0, Class::CustomerNumber.code()), never, "class");
        assert_eq!(open(5, 2, 2), never, "domain");
        assert_eq!(open(6, 5, 6), never, "client");
        assert_eq!(open(5, 6, 2), OpenError::NotACell, "version");
        assert_eq!(open(5, 7, 2), OpenError::NoKey(2), "epoch");
        let other = if mode == Mode::Exact {
            Mode::Random
        } else {
            Mode::Exact
        };
        assert_eq!(open(5, 8, other.code()), never, "mode");
    }
}

#[test]
fn values_that_are_not_sealed() {
    let keys = keys(5);
    for &class in Class::ALL {
        let max = value_bytes_max(class, Mode::Random);
        keys.seal_random(class, Domain(1), 0, &"x".repeat(max))
            .unwrap();
        let given = max + 1;
        assert_eq!(
            keys.seal_random(class, Domain(1), 0, &"x".repeat(given)),
            Err(SealError::TooLong { class, max, given })
        );
    }
    let seal = |value| {
        keys.seal_random(Class::FreeText, Domain(1), 0, value)
            .unwrap_err()
    };
    assert_eq!(seal("a\0"), SealError::Nul);
    assert_eq!(seal("sealed:abc"), SealError::LooksSealed);
    for (class, value) in [(Class::Phone, "不明"), (Class::Name, "山田")] {
        let error = keys.seal_exact(class, Domain(1), value).unwrap_err();
        assert!(matches!(error, SealError::NotCanonical(_)));
    }
    let long = format!("{}@{}.jp", "a".repeat(64), "b.".repeat(90) + "b");
    let cell = keys.seal_exact(Class::Email, Domain(1), &long).unwrap();
    assert_eq!(Some(cell.len()), cell_lengths(Class::Email).last());
}

#[test]
fn errors_and_debug_hold_no_value() {
    let keys = keys(5);
    let secret = "090-CANARY";
    let shown = [
        keys.seal_exact(Class::Phone, Domain(1), secret)
            .unwrap_err()
            .to_string(),
        format!("{:?}", keys.seal_exact(Class::Phone, Domain(1), secret)),
        format!("{keys:?}"),
        format!(
            "{:?}",
            keys.open(
                keys.seal_random(Class::Name, Domain(1), 0, secret)
                    .unwrap()
                    .as_bytes()
            )
        ),
    ];
    assert!(shown.iter().all(|text| !text.contains("CANARY")));
}

/// `(client, epoch, mode)` select a key each: what one opens, no other does.
#[test]
fn epochs_have_keys_of_their_own() {
    let lasting = Zeroizing::new([1; 32]);
    let (one, two) = ((1, Zeroizing::new([2; 32])), (2, Zeroizing::new([3; 32])));
    let make = |epochs: &[_]| ClientKeys::new(client(5), &lasting, epochs, Arc::new(SystemEntropy));
    let old = make(std::slice::from_ref(&one)).unwrap();
    let both = make(&[one.clone(), two.clone()]).unwrap();
    let new = make(std::slice::from_ref(&two)).unwrap();
    assert_eq!((old.epoch(), both.epoch()), (1, 2));
    let cell = old.seal_random(Class::Name, Domain(1), 0, "山田").unwrap();
    both.open(cell.as_bytes()).unwrap();
    assert_eq!(new.open(cell.as_bytes()).unwrap_err(), OpenError::NoKey(1));
    let cell = both.seal_random(Class::Name, Domain(1), 0, "山田").unwrap();
    assert_eq!(old.open(cell.as_bytes()).unwrap_err(), OpenError::NoKey(2));
    assert_eq!(
        old.fingerprint(Class::Name, "山田"),
        new.fingerprint(Class::Name, "山田"),
        "fingerprints outlive epochs"
    );
    assert!(make(&[]).is_none());
    assert!(make(&[two, one]).is_none());
    assert!(make(&[(0, Zeroizing::new([2; 32]))]).is_none());
}

/// The vectors of docs/format/cell.md, one a line of its code block.
#[test]
fn vectors_of_the_format_page() {
    let page = include_str!("../../../docs/format/cell.md");
    let mut checked = 0;
    for line in page.lines().filter(|line| line.starts_with("vector | ")) {
        let fields: Vec<_> = line.split(" | ").map(str::trim).collect();
        let [_, mode, class, domain, number, tag, nonce, value, cell] = fields[..] else {
            panic!("{line}");
        };
        let keys = keys(number.parse().unwrap());
        let class: Class = class.parse().unwrap();
        let domain = Domain(domain.parse().unwrap());
        let tag = u64::from_str_radix(tag, 16).unwrap();
        let made = match mode.parse().unwrap() {
            Mode::Exact => keys.seal_exact(class, domain, value),
            Mode::Random => {
                let mut bytes = [0; 12];
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&nonce[2 * at..2 * at + 2], 16).unwrap();
                }
                keys.seal(class, domain, Mode::Random, bytes, tag, value)
            }
        };
        assert_eq!(made.unwrap(), cell, "{line}");
        let opened = keys.open(cell.as_bytes()).unwrap();
        assert_eq!((opened.value.expose().as_str(), opened.tag), (value, tag));
        checked += 1;
    }
    assert!(checked >= 5, "the page's vectors were not found");
}

#[test]
fn check_expressions_quote_and_name_what_they_compare() {
    let sealing = Sealing {
        class: Class::Phone,
        domain: Domain(1),
        mode: Mode::Exact,
    };
    let text = check_expression("te\"l", &sealing, &ClientSource::Column("client id".into()));
    let cell = keys(0x01_02_03)
        .seal_exact(Class::Phone, Domain(1), "090-1234-5678")
        .unwrap();
    assert!(text.starts_with("\"te\"\"l\" IS NULL OR (pg_catalog.substr(\"te\"\"l\" COLLATE"));
    assert!(
        text.contains(&format!("1, 11) OPERATOR(pg_catalog.=) '{}'", &cell[..11])),
        "{text}"
    );
    assert!(text.contains("int4send(\"client id\"::pg_catalog.int4)"));
    let fixed = ClientSource::Fixed(client(0x01_02_03));
    let text = check_expression("tel", &sealing, &fixed);
    assert!(
        text.contains(&format!("1, 15) OPERATOR(pg_catalog.=) '{}'", &cell[..15])),
        "{text}"
    );
}
