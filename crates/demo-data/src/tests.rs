use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{Customer, Customers};

fn fields(customer: &Customer) -> [&str; 9] {
    [
        &customer.number,
        &customer.name,
        &customer.kana,
        &customer.postal_code,
        &customer.address,
        &customer.phone,
        &customer.email,
        &customer.birth_date,
        &customer.note,
    ]
    .map(|value| value.expose().as_str())
}

fn is_phone(text: &str) -> bool {
    phonenumber::parse(Some(phonenumber::country::JP), text).is_ok_and(|it| it.is_valid())
}

#[test]
fn the_same_seed_gives_the_same_customers_for_ever() {
    // FNV-1a over all values of 2,000 customers.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for customer in Customers::new(69).take(2_000) {
        for byte in fields(&customer).join("\t").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(
        hash, DIGEST,
        "demos and tests that quote a customer would change"
    );
    assert_ne!(
        Customers::of_client(1, 1).next(),
        Customers::of_client(1, 2).next()
    );
    assert_ne!(
        Customers::of_client(1, 1).next(),
        Customers::of_client(2, 1).next()
    );
}

const DIGEST: u64 = 9_014_115_850_147_514_183;

#[test]
fn what_must_be_unique_is() {
    let customers: Vec<Customer> = Customers::new(7).take(120_000).collect();
    for field in [0, 5, 6] {
        let different: HashSet<&str> = customers.iter().map(|it| fields(it)[field]).collect();
        assert_eq!(different.len(), customers.len(), "field {field}");
    }
}

#[test]
fn surnames_come_by_their_bearers() {
    let mut count: HashMap<String, u32> = HashMap::new();
    for customer in Customers::new(3).take(50_000) {
        let surname = customer.name.expose().split(' ').next().unwrap().to_owned();
        *count.entry(surname).or_default() += 1;
    }
    // 1,887,000 of 99,576,500 bearers: 947 of 50,000, standard deviation 31.
    let satou = count["佐藤"];
    assert!((800..1_100).contains(&satou), "{satou}");
    assert!(count["佐藤"] > count["奈良"] * 10);
}

#[test]
fn values_have_their_form() {
    for customer in Customers::new(11).take(3_000) {
        let [
            number,
            name,
            kana,
            postal_code,
            address,
            phone,
            email,
            birth_date,
            _,
        ] = fields(&customer);
        assert!(number.len() == 8 && number.bytes().all(|it| it.is_ascii_digit()));
        assert_eq!(name.split(' ').count(), 2);
        assert!(
            kana.chars()
                .all(|it| ('ァ'..='ヺ').contains(&it) || " ー".contains(it)),
            "{kana}"
        );
        assert!(postal_code.len() == 8 && &postal_code[3..4] == "-");
        assert!(address.contains(['都', '道', '府', '県']));
        assert!(is_phone(phone), "{phone}");
        let (user, domain) = email.split_once('@').unwrap();
        assert!(
            user.bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'.')
        );
        assert!(!user.starts_with('.') && !user.contains(".."), "{email}");
        assert!(["example.jp", "example.com", "example.net"].contains(&domain));
        assert!(("1930-01-01"..="2007-12-31").contains(&birth_date));
    }
}

#[test]
fn some_have_landlines() {
    let landlines = Customers::new(5)
        .take(1_000)
        .filter(|it| !["070", "080", "090"].contains(&&it.phone.expose()[..3]))
        .count();
    assert!((50..300).contains(&landlines), "{landlines}");
}

#[test]
fn no_customer_is_taken_for_a_canary() {
    for customer in Customers::new(13).take(20_000) {
        let text = fields(&customer).join("\t");
        assert!(!text.contains("金糸雀") && !text.contains("カナリア") && !text.contains("canary"));
        assert!(!customer.phone.expose().starts_with("080-9"));
        assert!(!customer.number.expose().starts_with('9'));
        assert!(customer.birth_date.expose().as_str() >= "1930");
    }
}

proptest! {
    #[test]
    fn canaries_differ_and_are_valid(a in 0..10_000_000_u32, b in 0..10_000_000_u32) {
        let (one, other) = (Customer::canary(a), Customer::canary(b));
        prop_assert!(is_phone(one.phone.expose()));
        for field in [0, 1, 2, 4, 5, 6, 8] {
            prop_assert_eq!(fields(&one)[field] == fields(&other)[field], a == b);
        }
    }

    #[test]
    fn nothing_shows_in_debug(seed: u64) {
        let customer = Customers::new(seed).next().unwrap();
        let debug = format!("{customer:?}");
        for value in fields(&customer).into_iter().filter(|it| !it.is_empty()) {
            prop_assert!(!debug.contains(value));
        }
    }
}
