//! Masks as TOML: reading with places, writing with comments.

use std::fmt::Write as _;

use event::Class;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{KEEP_MAX, Keep, Mask, Masks};
use crate::PolicyError;

const KEYS: [&str; 4] = ["keep", "keep_first", "keep_last", "stars"];

const HEAD: &str = "\
# What a masked value shows, for each class. A class that is left out shows nothing.
#   keep = \"nothing\"      （伏字）
#   keep = \"characters\"   keep_first and keep_last characters around `stars` stars: 山*
#   keep = \"digits\"       keep_first and keep_last digits, what is no digit: 090-****-1234
#   keep = \"email\"        keep_first characters of the local part, the domain: a***@example.jp
#   keep = \"city\"         prefecture and city
#   keep = \"year\"         the year
# A value that a mask would show whole, or cannot take apart, is hidden whole.
# Showing more comes into force only with the signatures of two approvers.
";

pub(crate) fn default_text() -> String {
    write(&Masks::default())
}

pub(super) fn write(masks: &Masks) -> String {
    let mut out = String::from(HEAD);
    for (class, mask) in &masks.0 {
        let keep = Keep::ALL.iter().find(|(_, keep)| *keep == mask.keep);
        let keep = keep.map_or("nothing", |(name, _)| name);
        let _ = write!(out, "\n[{class}]\nkeep = \"{keep}\"\n");
        let _ = write!(
            out,
            "keep_first = {}\nkeep_last = {}\n",
            mask.keep_first, mask.keep_last
        );
        let _ = writeln!(out, "stars = {}", mask.stars);
    }
    out
}

pub(super) fn parse(text: &str) -> Result<Masks, PolicyError> {
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        error_at(
            text,
            at,
            error.message(),
            "TOML as `sekisho init` writes it",
        )
    })?;
    let classes = Class::ALL
        .iter()
        .map(|class| class.name())
        .collect::<Vec<_>>()
        .join(", ");
    let masks = root.get_ref().iter().map(|(name, value)| {
        let class: Class = name.get_ref().parse().map_err(|_| {
            let problem = format!("there is no class `{}`", name.get_ref());
            error_at(text, name.span().start, problem, classes.as_str())
        })?;
        let DeValue::Table(table) = value.get_ref() else {
            let allowed = format!("keys {}", KEYS.join(", "));
            return Err(error_at(
                text,
                value.span().start,
                "is not a table",
                allowed,
            ));
        };
        Ok((class, mask(text, name.span().start, table)?))
    });
    masks.collect::<Result<_, _>>().map(Masks)
}

fn mask(text: &str, at: usize, table: &DeTable<'_>) -> Result<Mask, PolicyError> {
    if let Some(key) = table
        .keys()
        .find(|key| !KEYS.contains(&key.get_ref().as_ref()))
    {
        let problem = format!("unknown key `{}`", key.get_ref());
        return Err(error_at(text, key.span().start, problem, KEYS.join(", ")));
    }
    let names = Keep::ALL.map(|(name, _)| name).join(", ");
    let Some(keep) = table.get("keep") else {
        return Err(error_at(text, at, "`keep` is missing", names));
    };
    let known = Keep::ALL
        .into_iter()
        .find(|(name, _)| matches!(keep.get_ref(), DeValue::String(text) if text == name));
    let Some((_, kept)) = known else {
        return Err(error_at(
            text,
            keep.span().start,
            "`keep` is none of the shapes",
            names,
        ));
    };
    Ok(Mask {
        keep: kept,
        keep_first: number(text, table, "keep_first", 0, 0, KEEP_MAX)?,
        keep_last: number(text, table, "keep_last", 0, 0, KEEP_MAX)?,
        stars: number(text, table, "stars", 1, 1, 8)?,
    })
}

fn number(
    text: &str,
    table: &DeTable<'_>,
    key: &str,
    default: u8,
    min: u8,
    max: u8,
) -> Result<u8, PolicyError> {
    let Some(value) = table.get(key) else {
        return Ok(default);
    };
    whole(value)
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| {
            let problem = format!("`{key}` is not such a number");
            let allowed = format!("a whole number from {min} to {max}");
            error_at(text, value.span().start, problem, allowed)
        })
}

fn whole(value: &Spanned<DeValue<'_>>) -> Option<u8> {
    let DeValue::Integer(integer) = value.get_ref() else {
        return None;
    };
    u8::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn error_at(
    text: &str,
    byte: usize,
    problem: impl Into<String>,
    allowed: impl Into<String>,
) -> PolicyError {
    PolicyError::at("masks", text, byte, problem, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_gives_the_masks_back() {
        let masks = Masks::default();
        assert_eq!(parse(&write(&masks)), Ok(masks));
        assert_eq!(*parse("").unwrap().mask(Class::Phone), Mask::NOTHING);
    }

    #[test]
    fn errors_name_line_column_and_what_is_allowed() {
        for (text, line, column, allowed) in [
            ("[phnoe]\nkeep = \"digits\"", 1, 2, "kana"),
            ("[phone]\nkeep = \"all\"", 2, 8, "digits"),
            ("[phone]\nkeep_first = 3", 1, 2, "digits"),
            (
                "[phone]\nkeep = \"digits\"\nkeep_first = 17",
                3,
                14,
                "0 to 16",
            ),
            ("[phone]\nkeep = \"digits\"\nkept = 1", 3, 1, "keep_first"),
            ("phone = 3", 1, 9, "keep_first"),
            ("[phone", 1, 7, "sekisho init"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                (error.line, error.column),
                (line, column),
                "{text}: {error}"
            );
            assert!(error.allowed.contains(allowed), "{text}: {error}");
        }
    }
}
