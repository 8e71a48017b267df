//! "Did you mean": the known name that is nearest to a mistyped one. Pure.

/// ` did you mean NAME?`, or nothing if none is near.
pub fn hint<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let far = (given.chars().count() / 3).max(2);
    let near = known
        .map(|name| (distance(given, name), name))
        .filter(|(d, _)| *d <= far)
        .min();
    near.map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, hint};

    #[test]
    fn near_names() {
        assert_eq!(distance("sato", "saito"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(
            hint("opreator", ["admin", "operator"].into_iter()),
            "; did you mean operator?"
        );
        assert_eq!(hint("zzzzzz", ["admin"].into_iter()), "");
    }
}
