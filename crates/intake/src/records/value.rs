//! Values of fields as they stand in a line.

use std::borrow::Cow;

use super::field::Field;
use super::mapping::Mapping;
use crate::key;
use crate::names::Name;
use crate::summary::Reason;
use crate::time;

/// A value.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    /// Not there, null, or empty.
    #[default]
    Absent,
    /// A whole number.
    Integer(i128),
    /// Yes or no.
    Bool(bool),
    /// A text, trimmed, not empty.
    Text(Cow<'a, str>),
    /// Anything that no field can be.
    Other,
}

impl<'a> Value<'a> {
    /// Of a text.
    pub(crate) fn text(text: &'a str) -> Self {
        match text.trim() {
            "" => Self::Absent,
            text => Self::Text(Cow::Borrowed(text)),
        }
    }

    /// As a whole number; a text of digits is one, and `3.0`, as statistics programs write it.
    fn integer(&self) -> Option<i128> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => {
                let whole = match text.split_once('.') {
                    Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole,
                    _ => text,
                };
                let digits = whole.strip_prefix('-').unwrap_or(whole);
                (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
                    .then(|| whole.parse().ok())
                    .flatten()
            }
            _ => None,
        }
    }

    /// As the key of a subject.
    pub(crate) fn key(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => Some(key::of_number(*number)),
            Self::Text(text) => Some(key::of_text(text)),
            _ => None,
        }
    }
}

/// The values of one line.
pub(crate) struct Values<'a> {
    slots: [Value<'a>; Field::ALL.len()],
    /// Whether a field came twice.
    pub(crate) twice: bool,
}

impl<'a> Values<'a> {
    /// What a mapping gives every record. `keys` gets what it says of them.
    pub(crate) fn new(mapping: &'a Mapping, keys: &mut Vec<u64>) -> Self {
        let mut values = Self {
            slots: [const { Value::Absent }; Field::ALL.len()],
            twice: false,
        };
        for (field, text) in mapping.constants() {
            values.set(field, Value::text(text), keys);
        }
        values
    }

    /// Takes a value of a field; the first one that is not absent counts.
    pub(crate) fn set(&mut self, field: Field, value: Value<'a>, keys: &mut Vec<u64>) {
        if value == Value::Absent {
            return;
        }
        let slot = &mut self.slots[field as usize];
        if *slot != Value::Absent {
            self.twice = true;
            return;
        }
        if field == Field::Keys {
            match &value {
                Value::Text(text) => keys.extend(
                    text.split([' ', ';', '|'])
                        .filter(|part| !part.is_empty())
                        .map(key::of_text),
                ),
                value => keys.extend(value.key()),
            }
        }
        *slot = value;
    }

    /// The value of a field.
    pub(crate) fn get(&self, field: Field) -> &Value<'a> {
        &self.slots[field as usize]
    }

    /// Whether there is one.
    pub(crate) fn has(&self, field: Field) -> bool {
        *self.get(field) != Value::Absent
    }

    /// A count below 2^64.
    pub(crate) fn count(&self, field: Field) -> Result<Option<u64>, Reason> {
        let value = self.get(field);
        if *value == Value::Absent {
            return Ok(None);
        }
        let number = value.integer().filter(|number| *number >= 0);
        let number = number.ok_or(Reason::Wrong(field.name()))?;
        match u64::try_from(number) {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(Reason::TooGreat(field.name())),
        }
    }

    /// A count below 2^32.
    pub(crate) fn count32(&self, field: Field) -> Result<Option<u32>, Reason> {
        let short = |count| u32::try_from(count).map_err(|_| Reason::TooGreat(field.name()));
        self.count(field)?.map(short).transpose()
    }

    /// A time.
    pub(crate) fn time(&self, field: Field, offset_minutes: i32) -> Result<Option<u64>, Reason> {
        let value = self.get(field);
        match value {
            Value::Absent => Ok(None),
            Value::Text(text) if value.integer().is_none() => time::read(text, offset_minutes)
                .map(Some)
                .ok_or(Reason::Wrong(field.name())),
            _ => self.count(field),
        }
    }

    /// A name.
    pub(crate) fn name(&self, field: Field) -> Result<Option<Name<'_>>, Reason> {
        match self.get(field) {
            Value::Absent => Ok(None),
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(number) => Ok(Some(Name::Number(number))),
                Err(_) => Err(Reason::Wrong(field.name())),
            },
            Value::Text(text) => match Name::of(text) {
                Some(name) => Ok(Some(name)),
                None => Err(Reason::Wrong(field.name())),
            },
            Value::Bool(_) | Value::Other => Err(Reason::Wrong(field.name())),
        }
    }

    /// A name that has to be there.
    pub(crate) fn needed(&self, field: Field) -> Result<Name<'_>, Reason> {
        self.name(field)?.ok_or(Reason::Missing(field.name()))
    }

    /// A text.
    pub(crate) fn text(&self, field: Field) -> Result<Option<&str>, Reason> {
        match self.get(field) {
            Value::Absent => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => Err(Reason::Wrong(field.name())),
        }
    }

    /// Yes or no.
    pub(crate) fn yes(&self, field: Field) -> Result<Option<bool>, Reason> {
        match self.get(field) {
            Value::Absent => Ok(None),
            Value::Bool(yes) => Ok(Some(*yes)),
            Value::Integer(0) => Ok(Some(false)),
            Value::Integer(1) => Ok(Some(true)),
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Ok(Some(true)),
                "false" | "no" | "0" => Ok(Some(false)),
                _ => Err(Reason::Wrong(field.name())),
            },
            Value::Integer(_) | Value::Other => Err(Reason::Wrong(field.name())),
        }
    }
}
