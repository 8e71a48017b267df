//! The fields of imported records.

use std::borrow::Cow;

macro_rules! fields {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A field.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub(crate) enum Field { $($variant),+ }

        impl Field {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn exactly(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    "subject_ids" => Some(Self::Keys),
                    _ => None,
                }
            }
        }
    };
}

fields! {
    Time = "time",
    Kind = "kind",
    Sequence = "sequence",
    Actor = "actor",
    Client = "client",
    Session = "session",
    Terminal = "terminal",
    Grant = "grant",
    Role = "role",
    Active = "active",
    From = "from",
    Until = "until",
    Subjects = "subjects",
    Rows = "rows",
    New = "new",
    Probes = "probes",
    Missed = "missed",
    Masked = "masked",
    Keys = "keys",
    Order = "order",
    OrderPairs = "order_pairs",
    OrderAscending = "order_ascending",
    OrderNear = "order_near",
    Shape = "shape",
    Amount = "amount",
    Reason = "reason",
    Finding = "finding",
    Count = "count",
    Subject = "subject",
    Event = "event",
    Bytes = "bytes",
    Accounted = "accounted",
    Part = "part",
    Witness = "witness",
    Missing = "missing",
}

impl Field {
    /// The field of a name: capitals, `-` and spaces make no difference.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::exactly(name).or_else(|| Self::exactly(&folded(name, '_')))
    }
}

/// A word in small letters, with one mark between its parts.
pub(crate) fn folded(word: &str, mark: char) -> Cow<'_, str> {
    let word = word.trim();
    let changes = |c: char| c.is_ascii_uppercase() || (matches!(c, '-' | '_' | ' ') && c != mark);
    if !word.contains(changes) {
        return Cow::Borrowed(word);
    }
    let fold = |c: char| match c {
        '-' | '_' | ' ' => mark,
        c => c.to_ascii_lowercase(),
    };
    Cow::Owned(word.chars().map(fold).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        for field in Field::ALL {
            assert_eq!(Field::find(field.name()), Some(*field));
            assert_eq!(Field::find(&field.name().to_uppercase()), Some(*field));
        }
        assert_eq!(Field::find(" Subject IDs "), Some(Field::Keys));
        assert_eq!(Field::find("order-pairs"), Some(Field::OrderPairs));
        assert_eq!(Field::find("subject name"), None);
    }
}
