//! Made-up customers for the demo and for tests: names by their real frequency, towns by
//! population, valid telephone numbers. No customer is a real person; a telephone number may by
//! chance be in use, so nothing here may ever be dialled or written to.
//!
//! Invariants: the same seed gives the same customers for ever (a test holds a digest); the
//! telephone numbers, e-mail addresses and customer numbers of one [`Customers`] are all
//! different; no customer has a value of a canary.
//!
//! Never: I/O, clocks, other randomness than the seed.

mod notes;
mod romaji;
mod tables;

use event::Plain;

use crate::tables::{Tables, Town};

/// A made-up customer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Customer {
    /// The client's number for the customer: 8 digits.
    pub number: Plain<String>,
    /// Surname and given name, one space between: 佐藤 亮夫.
    pub name: Plain<String>,
    /// The name's reading in full-width katakana: サトウ アキオ.
    pub kana: Plain<String>,
    /// Postal code: 060-0001.
    pub postal_code: Plain<String>,
    /// Postal address without the code, from the prefecture on.
    pub address: Plain<String>,
    /// Telephone number as people write it: 090-1234-5678, 03-1234-5678.
    pub phone: Plain<String>,
    /// E-mail address, in a domain that is reserved for examples.
    pub email: Plain<String>,
    /// Date of birth: 1987-06-05.
    pub birth_date: Plain<String>,
    /// What a call centre notes about a customer; may be empty.
    pub note: Plain<String>,
}

/// The canaries there are room for.
const CANARIES_MAX: u32 = 10_000_000;

impl Customer {
    /// The `n`th canary: a fictitious subject whose every value (but the postal code and the
    /// birth date) holds a text that no customer of [`Customers`] has, so that it can be searched for in
    /// any bytes. `n` counts modulo 10,000,000.
    pub fn canary(n: u32) -> Self {
        let n = n % CANARIES_MAX;
        let day = n % 28 + 1;
        let month = n / 28 % 12 + 1;
        let year = 1901 + n / (28 * 12) % 20;
        Self {
            number: Plain::new(format!("9{n:07}")),
            name: Plain::new(format!("金糸雀 {}", kanji_number(n))),
            kana: Plain::new(format!("カナリア {}", kana_number(n))),
            postal_code: Plain::new("100-0000".to_owned()),
            address: Plain::new(format!("東京都千代田区金糸雀町{n}番地")),
            phone: Plain::new(format!("080-9{:03}-{:04}", n / 10_000, n % 10_000)),
            email: Plain::new(format!("kanaria{n:07}@canary.example.jp")),
            birth_date: Plain::new(format!("{year:04}-{month:02}-{day:02}")),
            note: Plain::new(format!("金糸雀の覚え書き{n:07}。探す理由のない人。")),
        }
    }
}

fn digits_as(n: u32, words: [&str; 10]) -> String {
    n.to_string()
        .bytes()
        .map(|digit| words[usize::from(digit - b'0')])
        .collect()
}

fn kanji_number(n: u32) -> String {
    digits_as(
        n,
        ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"],
    )
}

fn kana_number(n: u32) -> String {
    let words = [
        "レイ",
        "イチ",
        "ニ",
        "サン",
        "ヨン",
        "ゴ",
        "ロク",
        "ナナ",
        "ハチ",
        "キュウ",
    ];
    digits_as(n, words)
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end` - 1; the bias, below 2^-32 for the sizes here, does not matter.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// One of a list that is not empty.
    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }
}

/// Mobile numbers: 070 and 090 with 1 to 9 behind, 080 with 1 to 8 (9 is the canaries').
const MOBILE_BLOCKS: [&str; 26] = [
    "0701", "0702", "0703", "0704", "0705", "0706", "0707", "0708", "0709", "0801", "0802", "0803",
    "0804", "0805", "0806", "0807", "0808", "0901", "0902", "0903", "0904", "0905", "0906", "0907",
    "0908", "0909",
];
const MOBILE_COUNT: u64 = MOBILE_BLOCKS.len() as u64 * 10_000_000;

/// Area codes by prefecture, with the first digit of the local number; others than these have
/// mobiles only.
const AREAS: [(&str, &str, u8); 12] = [
    ("北海道", "011", 2),
    ("宮城県", "022", 2),
    ("東京都", "03", 3),
    ("千葉県", "043", 2),
    ("神奈川県", "045", 3),
    ("埼玉県", "048", 6),
    ("愛知県", "052", 7),
    ("大阪府", "06", 6),
    ("京都府", "075", 3),
    ("兵庫県", "078", 3),
    ("広島県", "082", 2),
    ("福岡県", "092", 7),
];

/// Local numbers an area code has here.
const LANDLINE_COUNT: u64 = 1_000_000;

/// An endless supply of customers of one client.
#[derive(Clone, Debug)]
pub struct Customers {
    random: SplitMix,
    /// How many were given out.
    count: u64,
    /// Where the sequence of telephone numbers begins.
    phone_offset: u64,
    tables: &'static Tables,
}

impl Customers {
    /// Customers that depend on `seed` alone.
    pub fn new(seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let phone_offset = random.next();
        Self {
            random,
            count: 0,
            phone_offset,
            tables: Tables::get(),
        }
    }

    /// Customers of one of many clients.
    pub fn of_client(seed: u64, client: u32) -> Self {
        Self::new(SplitMix(seed ^ (u64::from(client) << 32)).next())
    }

    /// A number of its own for each `index`: multiplication by a number without a common factor is
    /// a permutation of the residues.
    fn phone(&mut self, index: u64, prefecture: &str) -> String {
        // Without the factors of the counts: 2, 5, 13.
        const STEP: u64 = 387_420_491;
        let area = AREAS.iter().find(|(name, ..)| *name == prefecture);
        if let Some((_, code, first)) = area
            && index < LANDLINE_COUNT
            && self.random.below(100) < 22
        {
            let local = (index * STEP + self.phone_offset % LANDLINE_COUNT) % LANDLINE_COUNT;
            // 03 and 06 have eight local digits, the others seven.
            return match code.len() {
                2 => format!(
                    "{code}-{first}{:03}-{:04}",
                    local / 1_000,
                    local % 1_000 * 10 + index % 10
                ),
                _ => format!("{code}-{first}{:02}-{:04}", local / 10_000, local % 10_000),
            };
        }
        let number = ((u128::from(index) * u128::from(STEP)
            + u128::from(self.phone_offset % MOBILE_COUNT))
            % u128::from(MOBILE_COUNT)) as u64;
        let block = MOBILE_BLOCKS[(number / 10_000_000) as usize];
        let rest = number % 10_000_000;
        format!(
            "{}-{}{:03}-{:04}",
            &block[..3],
            &block[3..],
            rest / 10_000,
            rest % 10_000
        )
    }

    fn address(&mut self, town: &Town) -> String {
        let random = &mut self.random;
        let mut address = format!("{}{}{}", town.prefecture, town.city, town.town);
        if town.has_chome {
            address.push_str(&format!("{}丁目", random.below(7) + 1));
        }
        address.push_str(&format!(
            "{}-{}",
            random.below(40) + 1,
            random.below(25) + 1
        ));
        if random.below(100) < 45 {
            let first = random.pick(&["メゾン", "コーポ", "グランド", "サン", "パーク", "ハイツ"]);
            let last = random.pick(&["桜", "青葉", "若草", "富士見", "緑", "光", "本町", "ひばり"]);
            let room = (random.below(12) + 1) * 100 + random.below(9) + 1;
            address.push_str(&format!(" {first}{last}{room}号室"));
        }
        address
    }

    /// Grown-ups by about the shares of the ages in Japan, at the beginning of 2026.
    fn birth_date(&mut self) -> String {
        // Years of birth that begin a group, and its share in percent.
        const GROUPS: [(u64, u64); 8] = [
            (1930, 3),
            (1940, 12),
            (1950, 15),
            (1960, 17),
            (1970, 18),
            (1980, 14),
            (1990, 13),
            (2000, 8),
        ];
        let mut rest = self.random.below(100);
        let mut decade = 1970;
        for (begin, share) in GROUPS {
            if rest < share {
                decade = begin;
                break;
            }
            rest -= share;
        }
        let year = decade + self.random.below(if decade == 2000 { 8 } else { 10 });
        let month = self.random.below(12) + 1;
        let days = match month {
            2 if year.is_multiple_of(4) => 29, // 1930 to 2007: no century that is no leap year
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        format!("{year:04}-{month:02}-{:02}", self.random.below(days) + 1)
    }
}

impl Iterator for Customers {
    type Item = Customer;

    fn next(&mut self) -> Option<Customer> {
        let index = self.count;
        self.count += 1;
        let tables = self.tables;
        let (surname, surname_kana) = tables.surname(self.random.below(tables.bearers()));
        let given = match self.random.below(2) {
            0 => self.random.pick(&tables.given_female),
            _ => self.random.pick(&tables.given_male),
        };
        let town = self.random.pick(&tables.towns);
        let phone = self.phone(index, town.prefecture);
        let domain = *self
            .random
            .pick(&["example.jp", "example.jp", "example.com", "example.net"]);
        // The number makes it unique within the client.
        let email = format!(
            "{}.{}{}@{domain}",
            romaji::of(given.1),
            romaji::of(surname_kana),
            index + 1
        );
        let address = self.address(town);
        let birth_date = self.birth_date();
        let note = notes::note(&mut self.random);
        Some(Customer {
            // Below 90,000,000, where the canaries begin.
            number: Plain::new(format!("{:08}", 10_000_001 + index % 79_999_999)),
            name: Plain::new(format!("{surname} {}", given.0)),
            kana: Plain::new(format!("{} {}", katakana(surname_kana), katakana(given.1))),
            postal_code: Plain::new(format!(
                "{}-{}",
                &town.postal_code[..3],
                &town.postal_code[3..]
            )),
            address: Plain::new(address),
            phone: Plain::new(phone),
            email: Plain::new(email),
            birth_date: Plain::new(birth_date),
            note: Plain::new(note),
        })
    }
}

/// Hiragana to katakana; the rest stays.
fn katakana(hiragana: &str) -> String {
    hiragana
        .chars()
        .map(|c| match c {
            'ぁ'..='ゖ' => char::from_u32(u32::from(c) + 0x60).unwrap_or(c),
            _ => c,
        })
        .collect()
}

#[cfg(test)]
mod tests;
