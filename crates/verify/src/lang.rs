//! The two languages of what is printed.

use std::str::FromStr;

/// A language.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Japanese.
    Ja,
}

impl Lang {
    /// One of two texts.
    pub fn pick<T>(self, en: T, ja: T) -> T {
        match self {
            Self::En => en,
            Self::Ja => ja,
        }
    }

    /// The language of the environment: the first of LC_ALL, LC_MESSAGES and LANG that is set.
    pub fn of_environment(read: impl Fn(&str) -> Option<String>) -> Self {
        let value = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| read(name).filter(|value| !value.is_empty()));
        match value {
            Some(value) if value.starts_with("ja") => Self::Ja,
            _ => Self::En,
        }
    }
}

impl FromStr for Lang {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "en" => Ok(Self::En),
            "ja" => Ok(Self::Ja),
            _ => Err("expected ja or en".into()),
        }
    }
}

/// A text that others wrote, on one line and without what a terminal acts on or hides.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if acts(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Output as a terminal may have it: lines stay.
pub fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.chars().any(|c| acts(c) && c != '\n') {
        return text.into();
    }
    text.split('\n')
        .map(plain)
        .collect::<Vec<_>>()
        .join("\n")
        .into()
}

/// Control characters, and those that turn or hide what follows.
fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    c.is_control() || turns
}
