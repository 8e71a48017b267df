//! JSON lines.

use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Options;
use super::build;
use super::field::Field;
use super::mapping::{Mapping, Targets};
use super::value::{Value, Values};
use crate::lines::{Line, Lines};
use crate::names::Names;
use crate::source::{ReadError, Source, Taken};
use crate::summary::{Note, Reason, Summary, Tally};

/// Records of JSON lines.
pub(super) struct JsonLines<R> {
    lines: Lines<R>,
    options: Options,
    summary: Summary,
}

impl<R: BufRead> JsonLines<R> {
    pub(super) fn new(reader: R, options: Options) -> Self {
        Self {
            lines: Lines::new(reader),
            options,
            summary: Summary::default(),
        }
    }
}

impl<R: BufRead> Source for JsonLines<R> {
    fn next(&mut self, names: &mut Names, taken: &mut Taken) -> Result<bool, ReadError> {
        while let Some(line) = self.lines.next()? {
            let (number, line) = match line {
                Line::Read(number, line) => (number, line),
                Line::TooLong(number) => {
                    self.summary.lines += 1;
                    self.summary.skip(Reason::TooLong, number);
                    continue;
                }
            };
            // An array with an object a line is as good.
            let line = line.trim_ascii();
            let line = line.strip_suffix(b",").unwrap_or(line);
            if matches!(line, b"" | b"[" | b"]") || line.starts_with(b"//") {
                continue;
            }
            self.summary.lines += 1;
            taken.keys.clear();
            let record = parse(
                line,
                &self.options.mapping,
                &mut self.summary,
                &mut taken.keys,
            )
            .and_then(|values| {
                if values.twice {
                    self.summary.note(Note::Twice, number);
                }
                let mut line = build::Line {
                    values: &values,
                    keys: taken.keys.len(),
                    number,
                    offset_minutes: self.options.offset_minutes,
                    names,
                    summary: &mut self.summary,
                };
                line.record()
            });
            match record {
                Ok(record) => {
                    self.summary.record(record.at_ms);
                    taken.set(record);
                    return Ok(true);
                }
                Err(reason) => self.summary.skip(reason, number),
            }
        }
        Ok(false)
    }

    fn summary(&self) -> &Summary {
        &self.summary
    }
}

fn parse<'a>(
    line: &'a [u8],
    mapping: &'a Mapping,
    summary: &mut Summary,
    keys: &mut Vec<u64>,
) -> Result<Values<'a>, Reason> {
    let text = std::str::from_utf8(line).map_err(|_| Reason::NotUtf8)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let object = Object {
        mapping,
        ignored: &mut summary.ignored_fields,
        keys,
    };
    let values = object.deserialize(&mut deserializer);
    let values = values.map_err(|_| Reason::NotJson)?;
    deserializer.end().map_err(|_| Reason::NotJson)?;
    Ok(values)
}

/// Reads an object's fields without storing what is not needed.
struct Object<'a, 's> {
    mapping: &'a Mapping,
    ignored: &'s mut Tally,
    keys: &'s mut Vec<u64>,
}

impl<'a> DeserializeSeed<'a> for Object<'a, '_> {
    type Value = Values<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Values<'a>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'a, '_> {
    type Value = Values<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Values<'a>, A::Error> {
        let mut values = Values::new(self.mapping, self.keys);
        while let Some(targets) = map.next_key_seed(Name {
            mapping: self.mapping,
            ignored: self.ignored,
        })? {
            match targets {
                Targets::None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Targets::One(Field::Keys) if !values.has(Field::Keys) => {
                    let value = map.next_value_seed(KeyList(self.keys))?;
                    values.set(Field::Keys, value, self.keys);
                }
                Targets::One(Field::Order) if !values.has(Field::Order) => {
                    let value = map.next_value_seed(OrderParts {
                        values: &mut values,
                        keys: self.keys,
                    })?;
                    values.set(Field::Order, value, self.keys);
                }
                Targets::One(field) => {
                    values.set(field, map.next_value_seed(Scalar)?, self.keys);
                }
                Targets::Several(fields) => {
                    let value = map.next_value_seed(Scalar)?;
                    for field in fields {
                        values.set(*field, value.clone(), self.keys);
                    }
                }
            }
        }
        Ok(values)
    }
}

/// The name of a field.
struct Name<'a, 's> {
    mapping: &'a Mapping,
    ignored: &'s mut Tally,
}

impl<'de, 'a> DeserializeSeed<'de> for Name<'a, '_> {
    type Value = Targets<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Targets<'a>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a, '_> {
    type Value = Targets<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Targets<'a>, E> {
        let targets = self.mapping.fields(name);
        if targets == Targets::None {
            self.ignored.add(name);
        }
        Ok(targets)
    }
}

/// A value that is no list and no object.
struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Whole numbers up to here are exact as floating-point numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

impl<'de> Visitor<'de> for Scalar {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
            return Ok(Value::Integer(number as i128));
        }
        Ok(Value::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::text(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(match text.trim() {
            "" => Value::Absent,
            text => Value::Text(Cow::Owned(text.to_owned())),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

/// A list of keys, or one. Gives what stands for them: [`Value::Bool`] for a list that was taken.
struct KeyList<'s>(&'s mut Vec<u64>);

impl<'de> DeserializeSeed<'de> for KeyList<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeyList<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        Scalar.visit_u64(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
        Scalar.visit_i64(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
        Scalar.visit_f64(number)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Scalar.visit_borrowed_str(text)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Scalar.visit_str(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        let mut whole = true;
        while let Some(element) = list.next_element_seed(Scalar)? {
            match element.key() {
                Some(key) => self.0.push(key),
                None => whole = false,
            }
        }
        Ok(if whole {
            Value::Bool(true)
        } else {
            Value::Other
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value<'de>, A::Error> {
        Scalar.visit_map(map)
    }
}

/// `{"pairs":..,"ascending":..,"near":..}`.
struct OrderParts<'s, 'a> {
    values: &'s mut Values<'a>,
    keys: &'s mut Vec<u64>,
}

impl<'a> DeserializeSeed<'a> for OrderParts<'_, 'a> {
    type Value = Value<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Value<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for OrderParts<'_, 'a> {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `pairs`, `ascending`, `near`")
    }

    fn visit_unit<E>(self) -> Result<Value<'a>, E> {
        Ok(Value::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'a>, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value<'a>, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<'a>, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'a>, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value<'a>, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, list: A) -> Result<Value<'a>, A::Error> {
        Scalar.visit_seq(list)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Value<'a>, A::Error> {
        while let Some(name) = map.next_key::<Cow<'a, str>>()? {
            let field = match &*name {
                "pairs" => Field::OrderPairs,
                "ascending" => Field::OrderAscending,
                "near" => Field::OrderNear,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            self.values
                .set(field, map.next_value_seed(Scalar)?, self.keys);
        }
        Ok(Value::Bool(true))
    }
}
