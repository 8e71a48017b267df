//! What was found: distinct values of each class, in the form that fingerprints are made of.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use event::{Class, Plain};
use fingerprint::normalise;

use crate::Closed;

/// A value, ordered by its text. Wiped on drop, as `Plain` is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Value(Plain<String>);

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.expose().cmp(other.0.expose())
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

type Values = BTreeMap<Class, BTreeSet<Value>>;

/// The values of a file. Each is what `fingerprint::normalise` returns for its class, to be given to
/// `FingerprintKey::fingerprint_normalised`; none is there twice for a class.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Found {
    certain: Values,
    possible: Values,
}

impl Found {
    /// Values that are of their class by their form and place.
    pub fn certain(&self) -> impl Iterator<Item = (Class, &Plain<String>)> {
        each(&self.certain)
    }

    /// Fields which may be values of a class: only a comparison with fingerprints can tell.
    pub fn possible(&self) -> impl Iterator<Item = (Class, &Plain<String>)> {
        each(&self.possible)
    }

    /// How many values of a class are certain.
    #[cfg(test)]
    pub(crate) fn certain_of(&self, class: Class) -> usize {
        self.certain.get(&class).map_or(0, BTreeSet::len)
    }
}

fn each(values: &Values) -> impl Iterator<Item = (Class, &Plain<String>)> {
    values
        .iter()
        .flat_map(|(class, values)| values.iter().map(|value| (*class, &value.0)))
}

/// Whether the form of a value says what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sure {
    Certain,
    Possible,
}

/// Takes values while a file is looked into.
pub(crate) struct Collector {
    found: Found,
    /// Values that may still come.
    left: usize,
}

impl Collector {
    pub(crate) fn new(values_max: usize) -> Self {
        Self {
            found: Found::default(),
            left: values_max,
        }
    }

    /// Takes a value as it is written.
    pub(crate) fn take(&mut self, sure: Sure, class: Class, written: &str) -> Result<(), Closed> {
        let value = Value(normalise(class, written));
        if value.0.expose().is_empty() {
            return Ok(());
        }
        let values = match sure {
            Sure::Certain => &mut self.found.certain,
            Sure::Possible => &mut self.found.possible,
        };
        if values.entry(class).or_default().insert(value) {
            let left = self.left.checked_sub(1);
            self.left = left.ok_or(Closed::TooMuch { what: "values" })?;
        }
        Ok(())
    }

    /// What was found; a value that is certain is not possible besides.
    pub(crate) fn finish(mut self) -> Found {
        for (class, certain) in &self.found.certain {
            if let Some(possible) = self.found.possible.get_mut(class) {
                possible.retain(|value| !certain.contains(value));
            }
        }
        self.found.possible.retain(|_, values| !values.is_empty());
        self.found
    }
}
