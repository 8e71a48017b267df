//! The lists, parsed once. A line that is no line of its list is left out; a test says there is
//! none.

use std::sync::LazyLock;

pub(crate) struct Town {
    /// Seven digits.
    pub(crate) postal_code: &'static str,
    pub(crate) prefecture: &'static str,
    pub(crate) city: &'static str,
    pub(crate) town: &'static str,
    pub(crate) has_chome: bool,
}

/// Kanji and hiragana.
pub(crate) type Name = (&'static str, &'static str);

pub(crate) struct Tables {
    surnames: Vec<Name>,
    /// Bearers of this surname and all before it.
    bearers_to_here: Vec<u64>,
    pub(crate) given_male: Vec<Name>,
    pub(crate) given_female: Vec<Name>,
    pub(crate) towns: Vec<Town>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut sum = 0;
    let (surnames, bearers_to_here) = lines(include_str!("../data/surnames.tsv"))
        .filter_map(|[kanji, kana, bearers]| {
            sum += bearers.parse::<u64>().ok()?;
            Some(((kanji, kana), sum))
        })
        .unzip();
    Tables {
        surnames,
        bearers_to_here,
        given_male: names(include_str!("../data/given_male.tsv")),
        given_female: names(include_str!("../data/given_female.tsv")),
        towns: lines(include_str!("../data/towns.tsv"))
            .filter(|[postal_code, ..]: &[&str; 6]| {
                postal_code.len() == 7 && postal_code.is_ascii()
            })
            .map(|[postal_code, prefecture, city, town, has_chome, _]| Town {
                postal_code,
                prefecture,
                city,
                town,
                has_chome: has_chome == "1",
            })
            .collect(),
    }
});

/// The lines below the heading that have `N` fields.
fn lines<const N: usize>(text: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    text.lines()
        .skip(1)
        .filter_map(|line| line.split('\t').collect::<Vec<_>>().try_into().ok())
}

fn names(text: &'static str) -> Vec<Name> {
    lines(text).map(|[kanji, kana]| (kanji, kana)).collect()
}

impl Tables {
    pub(crate) fn get() -> &'static Self {
        &TABLES
    }

    /// All bearers of all surnames.
    pub(crate) fn bearers(&self) -> u64 {
        self.bearers_to_here.last().copied().unwrap_or(0)
    }

    /// The surname of a bearer, counted from 0.
    pub(crate) fn surname(&self, bearer: u64) -> Name {
        let index = self
            .bearers_to_here
            .partition_point(|to_here| *to_here <= bearer);
        self.surnames[index.min(self.surnames.len() - 1)]
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tables")
    }
}

#[cfg(test)]
mod tests {
    use super::Tables;

    #[test]
    fn every_line_of_the_lists_is_used() {
        let count = |text: &str| text.lines().count() - 1;
        let tables = Tables::get();
        assert_eq!(
            tables.surnames.len(),
            count(include_str!("../data/surnames.tsv"))
        );
        assert_eq!(
            tables.given_male.len(),
            count(include_str!("../data/given_male.tsv"))
        );
        assert_eq!(
            tables.given_female.len(),
            count(include_str!("../data/given_female.tsv"))
        );
        assert_eq!(tables.towns.len(), count(include_str!("../data/towns.tsv")));
    }
}
