//! Which columns of a file are which fields: `actor=agent,kind:=call`.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::field::{Field, folded};

/// Why a mapping is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMapping {
    /// It has another form.
    #[error(
        "`{0}` is no part of a mapping; write FIELD=COLUMN, or FIELD:=TEXT for the same text in every record"
    )]
    Form(String),
    /// The field is not known.
    #[error("`{given}` is no field; fields: {known}")]
    Field {
        /// What was given.
        given: String,
        /// All fields.
        known: String,
    },
    /// The field is given twice.
    #[error("`{0}` is given twice")]
    Twice(&'static str),
}

/// Which columns of a file are which fields, and what is the same in every record.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Mapping {
    columns: BTreeMap<String, Vec<Field>>,
    constants: BTreeMap<Field, String>,
}

impl Mapping {
    /// Adds what another one says.
    ///
    /// # Errors
    /// If both name a field.
    pub fn with(mut self, other: &Self) -> Result<Self, BadMapping> {
        for (column, fields) in &other.columns {
            for field in fields {
                self.column(*field, column)?;
            }
        }
        for (field, text) in &other.constants {
            self.constant(*field, text)?;
        }
        Ok(self)
    }

    fn names(&self, field: Field) -> bool {
        self.constants.contains_key(&field)
            || self.columns.values().any(|fields| fields.contains(&field))
    }

    fn column(&mut self, field: Field, column: &str) -> Result<(), BadMapping> {
        if self.names(field) {
            return Err(BadMapping::Twice(field.name()));
        }
        let column = folded(column, '_').into_owned();
        self.columns.entry(column).or_default().push(field);
        Ok(())
    }

    fn constant(&mut self, field: Field, text: &str) -> Result<(), BadMapping> {
        if self.names(field) {
            return Err(BadMapping::Twice(field.name()));
        }
        self.constants.insert(field, text.to_owned());
        Ok(())
    }

    /// The fields that a column is; none: it is ignored.
    pub(crate) fn fields(&self, column: &str) -> Targets<'_> {
        if self.columns.is_empty() && self.constants.is_empty() {
            return Field::find(column).map_or(Targets::None, Targets::One);
        }
        if let Some(fields) = self.columns.get(&*folded(column, '_')) {
            return match fields.as_slice() {
                [one] => Targets::One(*one),
                several => Targets::Several(several),
            };
        }
        match Field::find(column) {
            Some(field) if !self.names(field) => Targets::One(field),
            _ => Targets::None,
        }
    }

    /// What is the same in every record.
    pub(crate) fn constants(&self) -> impl Iterator<Item = (Field, &str)> {
        self.constants
            .iter()
            .map(|(field, text)| (*field, text.as_str()))
    }

    /// The columns that it names, in small letters.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }
}

/// The fields that a column is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Targets<'a> {
    None,
    One(Field),
    Several(&'a [Field]),
}

impl Targets<'_> {
    /// As a list.
    pub(crate) fn list(self) -> Vec<Field> {
        match self {
            Self::None => Vec::new(),
            Self::One(field) => vec![field],
            Self::Several(fields) => fields.to_vec(),
        }
    }
}

impl FromStr for Mapping {
    type Err = BadMapping;

    fn from_str(text: &str) -> Result<Self, BadMapping> {
        let mut mapping = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (field, given) = part
                .split_once('=')
                .ok_or_else(|| BadMapping::Form(part.to_owned()))?;
            let (field, is_constant) = match field.strip_suffix(':') {
                Some(field) => (field, true),
                None => (field, false),
            };
            let given = given.trim();
            let field = Field::find(field).ok_or_else(|| BadMapping::Field {
                given: field.to_owned(),
                known: Field::ALL
                    .iter()
                    .map(|it| it.name())
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
            if given.is_empty() {
                return Err(BadMapping::Form(part.to_owned()));
            }
            if is_constant {
                mapping.constant(field, given)?;
            } else {
                mapping.column(field, given)?;
            }
        }
        Ok(mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_the_fields_they_are_given() {
        let mapping: Mapping = "kind:=call, time=Start Time,from=start_time,actor=agent"
            .parse()
            .unwrap();
        assert_eq!(mapping.fields("agent"), Targets::One(Field::Actor));
        assert_eq!(
            mapping.fields("start time"),
            Targets::Several(&[Field::Time, Field::From])
        );
        assert_eq!(mapping.fields("client"), Targets::One(Field::Client));
        // A field that is mapped is known by no other name.
        for ignored in ["actor", "time", "kind", "note"] {
            assert_eq!(mapping.fields(ignored), Targets::None, "{ignored}");
        }
        assert_eq!(
            mapping.constants().collect::<Vec<_>>(),
            [(Field::Kind, "call")]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bad = |text: &str| text.parse::<Mapping>().unwrap_err().to_string();
        assert!(bad("actor").contains("`actor` is no part"));
        assert!(bad("actor=").contains("FIELD=COLUMN"));
        assert!(bad("acter=x").starts_with("`acter` is no field; fields: time, kind"));
        assert_eq!(bad("actor=a,actor:=b"), "`actor` is given twice");
    }
}
