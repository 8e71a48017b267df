//! What can be wrong with a log, each with its place, in two languages.
//!
//! A problem is *wrong* (the log is not what it must be), *incomplete* (something could not be had,
//! so that nothing can be said of it) or a *notice* (nothing is proven wrong; the client should know).

use serde_json::{Map, Value};

use crate::lang::Lang;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The client should know.
    Notice,
    /// Not checked, because it could not be had.
    Incomplete,
    /// The log is not what it must be.
    Wrong,
}

macro_rules! problems {
    ($(
        $(#[$doc:meta])*
        $severity:ident $name:ident { $($field:ident: $ty:ty),* } $code:literal $en:literal $ja:literal
    )+) => {
        /// A problem and where it is.
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "the sentences say what the fields are")]
        pub enum Problem { $($(#[$doc])* $name { $($field: $ty),* }),+ }

        impl Problem {
            /// How bad it is.
            pub fn severity(&self) -> Severity {
                match self { $(Self::$name { .. } => Severity::$severity),+ }
            }

            /// Its name in JSON; never changed.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code),+ }
            }

            /// A sentence.
            #[allow(unused_variables, reason = "a language may leave a field unsaid")]
            pub fn say(&self, lang: Lang) -> String {
                match (self, lang) {
                    $(
                        (Self::$name { $($field),* }, Lang::En) => format!($en),
                        (Self::$name { $($field),* }, Lang::Ja) => format!($ja),
                    )+
                }
            }

            pub(super) fn fields(&self, map: &mut Map<String, Value>) {
                match self {
                    $(Self::$name { $($field),* } => {
                        let _ = &map;
                        $(map.insert(stringify!($field).to_owned(), serde_json::json!($field));)*
                    })+
                }
            }
        }
    };
}

mod words;

pub use words::Problem;

impl Problem {
    /// As an object: code, severity, the sentence, and the place's fields.
    pub fn json(&self, lang: Lang) -> Value {
        let mut map = Map::new();
        map.insert("code".into(), self.code().into());
        map.insert("severity".into(), serde_json::json!(self.severity()));
        map.insert("says".into(), self.say(lang).into());
        self.fields(&mut map);
        Value::Object(map)
    }
}

/// Of one code so many are kept; the rest is counted.
const KEPT_MAX: usize = 8;
/// The same of intervals and losses, which are promised by name.
const NAMED_MAX: usize = 4096;

/// What was found, bounded.
#[derive(Clone, Default, Debug)]
pub struct Problems {
    found: Vec<Problem>,
    more: Vec<(&'static str, Severity, u64)>,
}

impl Problems {
    /// Notes a problem.
    pub fn add(&mut self, problem: Problem) {
        let code = problem.code();
        let max = match problem {
            Problem::Interval { .. }
            | Problem::Gap { .. }
            | Problem::StampGap { .. }
            | Problem::LossDeclared { .. } => NAMED_MAX,
            _ => KEPT_MAX,
        };
        if self.found.iter().filter(|it| it.code() == code).count() < max {
            self.found.push(problem);
            return;
        }
        match self.more.iter_mut().find(|it| it.0 == code) {
            Some(more) => more.2 += 1,
            None => self.more.push((code, problem.severity(), 1)),
        }
    }

    /// Those that were kept, in the order in which they were found.
    pub fn found(&self) -> &[Problem] {
        &self.found
    }

    /// How many more there are of a code.
    pub fn more(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.more.iter().map(|it| (it.0, it.2))
    }

    /// The worst; `None` if there are none.
    pub fn worst(&self) -> Option<Severity> {
        self.found.iter().map(Problem::severity).max()
    }

    /// How many are so bad.
    pub fn count(&self, severity: Severity) -> u64 {
        let kept = self
            .found
            .iter()
            .filter(|it| it.severity() == severity)
            .count() as u64;
        let more = self.more.iter().filter(|it| it.1 == severity);
        kept + more.map(|it| it.2).sum::<u64>()
    }
}
