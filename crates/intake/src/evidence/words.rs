//! What a product calls what happened: `attached=接続|USB接続,refused=禁止,other=*`.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::Fact;

/// Why words are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWords {
    /// It has another form.
    #[error(
        "`{0}` gives no word its texts; write FACT=TEXT or FACT=TEXT|TEXT, with commas in between"
    )]
    Form(String),
    /// There is no such word.
    #[error(
        "`{0}` is no word; there are attached, detached, refused, written, file-written and other"
    )]
    Word(String),
    /// A text is given twice.
    #[error("`{0}` is given twice")]
    Twice(String),
}

/// What the texts of a column mean. A text that is not given is one of the words itself, or not known.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Words {
    /// By the text in small letters; `None`: it is passed over.
    texts: BTreeMap<String, Option<Fact>>,
    /// Whether all other texts are passed over (`other=*`).
    others: bool,
}

impl Words {
    /// What a text means: `Some(None)` is passed over, `None` is not known.
    pub(super) fn find(&self, text: &str) -> Option<Option<Fact>> {
        let text = text.trim().to_lowercase();
        if let Some(fact) = self.texts.get(&text) {
            return Some(*fact);
        }
        let own = Fact::ALL.into_iter().find(|fact| fact.word() == text);
        match own {
            Some(fact) => Some(Some(fact)),
            None => self.others.then_some(None),
        }
    }
}

impl FromStr for Words {
    type Err = BadWords;

    fn from_str(text: &str) -> Result<Self, BadWords> {
        let mut words = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let form = || BadWords::Form(part.trim().to_owned());
            let (word, texts) = part.split_once('=').ok_or_else(form)?;
            let word = word.trim();
            let fact = match Fact::ALL.into_iter().find(|fact| fact.word() == word) {
                Some(fact) => Some(fact),
                None if word == "other" => None,
                None => return Err(BadWords::Word(word.to_owned())),
            };
            for text in texts.split('|') {
                let text = text.trim().to_lowercase();
                match text.as_str() {
                    "" => return Err(form()),
                    "*" if fact.is_none() => words.others = true,
                    _ => {
                        if words.texts.insert(text.clone(), fact).is_some() {
                            return Err(BadWords::Twice(text));
                        }
                    }
                }
            }
        }
        Ok(words)
    }
}
